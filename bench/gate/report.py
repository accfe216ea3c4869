"""Reports of the gate: terminal, Markdown and JUnit XML."""

import re
from collections.abc import Mapping, Sequence
from xml.etree import ElementTree

import pandas as pd
from rich.markup import escape
from rich.table import Table

from ..cells import markdown_cell
from .check import Finding, verdict

VERDICTS = {0: "passed", 1: "REGRESSED", 2: "could not tell"}
"""Exit status -> what it means."""
WORDS = {"passed": "passed", "regressed": "REGRESSED", "unclear": "could not tell", "waived": "waived"}
ILLEGAL = re.compile(r"[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")
"""Characters that XML 1.0 cannot hold."""


def describe(finding: Finding) -> str:
    """Return a finding's numbers and what they mean, as one line."""
    parts = []
    if finding.difference is not None:
        parts.append(f"{finding.baseline:.4g} to {finding.value:.4g}, difference {finding.difference:+.4g}")
    elif finding.value is not None:
        parts.append(f"{finding.value:.4g}")
    if finding.low is not None and finding.high is not None:
        parts.append(f"[{finding.low:+.4g}, {finding.high:+.4g}]" if finding.difference is not None
                     else f"[{finding.low:.4g}, {finding.high:.4g}]")  # fmt: skip
    if finding.p is not None:
        parts.append(f"McNemar p = {finding.p:.4f}")
    if finding.needed is not None:
        parts.append(f"about {finding.needed} prompts would tell")
    if finding.reason:
        parts.append(finding.reason)
    return "; ".join(parts)


def make_table(title: str, findings: Sequence[Finding]) -> Table:
    """Return a rich table of the findings."""
    table = Table(title=escape(title), title_justify="left", title_style="bold", box=None, pad_edge=False)
    for column in ("rule", "verdict", "what was seen"):
        table.add_column(column)
    styles = {"regressed": "red", "unclear": "yellow", "waived": "cyan"}
    for finding in findings:
        table.add_row(
            escape(name_finding(finding)),
            WORDS[finding.state],
            escape(describe(finding)),
            style=styles.get(finding.state, ""),
        )
    return table


def to_lines(findings: Sequence[Finding]) -> list[str]:
    """Return one line of plain text for each finding."""
    return [f"{WORDS[finding.state]}: {name_finding(finding)} ({describe(finding)})" for finding in findings]


def name_finding(finding: Finding) -> str:
    """Return a finding's rule, with the concept where it is about one."""
    return f"{finding.rule}: {finding.concept}" if finding.concept else finding.rule


def name_verdict(findings: Sequence[Finding]) -> str:
    """Return the verdict on all rules together, in words."""
    return VERDICTS[verdict(list(findings))]


def to_junit(title: str, findings: Sequence[Finding], facts: Mapping[str, str] | None = None) -> str:
    """Return JUnit XML, one test case for each finding: unclear ones are errors, waived ones are skipped.

    facts: what was compared, as properties.
    """
    count = {state: sum(f.state == state for f in findings) for state in WORDS}
    suite = ElementTree.Element(
        "testsuite",
        name=_clean(title),
        tests=str(len(findings)),
        failures=str(count["regressed"]),
        errors=str(count["unclear"]),
        skipped=str(count["waived"]),
    )
    properties = ElementTree.SubElement(suite, "properties")
    for name, value in {"verdict": name_verdict(findings), **(facts or {})}.items():
        ElementTree.SubElement(properties, "property", name=name, value=_clean(value))
    tags = {"regressed": "failure", "unclear": "error", "waived": "skipped"}
    for finding in findings:
        case = ElementTree.SubElement(
            suite, "testcase", classname=_clean(title), name=_clean(name_finding(finding))
        )
        if finding.state in tags:
            ElementTree.SubElement(case, tags[finding.state], message=_clean(describe(finding)))
    ElementTree.indent(suite)
    return ElementTree.tostring(suite, encoding="unicode", xml_declaration=True) + "\n"


def _clean(text: str) -> str:
    return ILLEGAL.sub("\ufffd", text)


def to_markdown(
    title: str,
    findings: Sequence[Finding],
    worst: pd.DataFrame,
    images: Sequence[tuple[str, str]] = (),
    facts: Mapping[str, str] | None = None,
) -> str:
    """Return the summary as Markdown. worst: prompts that got worse; images: files (before, after) of each.

    The files are named, not shown: a job's summary is not stored with them. facts: what was
    compared.
    """
    lines = [f"# {markdown_cell(title)}", "", f"**Verdict: {name_verdict(findings)}**", ""]
    lines += [f"- {name}: {markdown_cell(value)}" for name, value in (facts or {}).items()]
    lines += ["", "| rule | verdict | what was seen |", "|---|---|---|"]
    for finding in findings:
        mark = f"**{WORDS[finding.state]}**" if finding.state != "passed" else "passed"
        lines.append(
            f"| {markdown_cell(name_finding(finding))} | {mark} | {markdown_cell(describe(finding))} |"
        )
    if len(worst):
        lines += ["", "## Prompts that got worse", ""]
        heading = "| prompt | before | after |" + (" images, in the report's folder |" if images else "")
        lines += [heading, "|---|---|---|" + ("---|" if images else "")]
        for number, row in enumerate(worst.to_dict("records")):
            cells = f"| {markdown_cell(str(row['prompt']))} | {row['before']:.3g} | {row['after']:.3g} |"
            if images:
                cells += f" `{images[number][0]}`, `{images[number][1]}` |"
            lines.append(cells)
    return "\n".join(lines) + "\n"

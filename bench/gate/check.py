"""Check a candidate against a policy: each rule passes, has regressed, or is unclear on these images."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from datetime import date
from typing import Literal

import numpy as np
import pandas as pd

from ..checking.recomputed import SHARES, recompute
from ..metrics.differences import bounds_of
from ..metrics.paired import KEYS, images_equal, pair, paired_interval, score
from ..metrics.rows import fill_answers, is_failed
from ..stats.compare import mcnemar
from ..types import Value
from .needed import needed_for_difference, needed_for_share
from .policy import WEIGHTS, Policy, Rule, Waiver
from .weights import Change

SETTINGS_SHOWN = 5
"""Differences between two models' settings that a finding names."""
State = Literal["passed", "regressed", "unclear", "waived"]
FLAGS = ("collapse", "collapse_images", "collapse_variance")
"""Values without an interval, which are compared with a limit directly."""


@dataclass(frozen=True)
class Side:
    """One model's point: its values, and its item rows."""

    name: str
    values: dict[str, Value]
    items: pd.DataFrame


def make_side(name: str, values: Mapping[str, Value], items: pd.DataFrame) -> Side:
    """Return one side of the comparison. Shares and intervals are computed again from the item rows."""
    found = recompute(items, None)
    return Side(name, {n: found[n] if n in SHARES and n in found else v for n, v in values.items()}, items)


@dataclass(frozen=True)
class Finding:
    """The finding of a rule. low, high: interval of `value`, or of `difference` for a rule about it.

    needed: estimated number of prompts that would decide an unclear rule. p: exact McNemar test between the
    two models, for scores of 0 and 1. reason: why there is no number, or the waiver's reason.
    """

    rule: str
    metric: str
    state: State
    concept: str = ""
    value: float | None = None
    baseline: float | None = None
    difference: float | None = None
    low: float | None = None
    high: float | None = None
    prompts: int = 0
    needed: int | None = None
    p: float | None = None
    reason: str = ""


def check(
    policy: Policy, baseline: Side, candidate: Side, today: date, weights: Change | str = "not compared"
) -> list[Finding]:
    """Return a finding for each rule (for each concept of a rule per concept), waivers applied.

    weights: how far the two models' lie apart, or why that is not known. Raises UserError where the two were
    not asked for the same images.
    """
    pair(baseline.items, candidate.items)
    found: list[Finding] = []
    for rule in policy.rules:
        if rule.metric == WEIGHTS:
            found.append(_judge_weights(rule, weights))
        else:
            found += _apply(rule, policy.level, baseline, candidate)
    policy.check_concepts([(finding.rule, finding.concept) for finding in found])
    return [_waive(finding, policy.waivers, today) for finding in found]


def _judge_weights(rule: Rule, weights: Change | str) -> Finding:
    finding = Finding(rule.text, rule.metric, "unclear")
    if isinstance(weights, str):
        return replace(finding, reason=weights)
    same = weights.share <= rule.limit[1] and not weights.settings
    state: State = "passed" if same else "regressed"
    reason = f"{weights.differ} of {weights.tensors} tensors differ"
    if weights.differ:
        reason += f", {weights.tensor} the most"
    if weights.settings:
        more = (
            f" and {len(weights.settings) - SETTINGS_SHOWN} more" if weights.settings[SETTINGS_SHOWN:] else ""
        )
        reason += f"; {'; '.join(weights.settings[:SETTINGS_SHOWN])}{more}"
    return replace(finding, state=state, value=weights.share, reason=reason)


def _apply(rule: Rule, level: float, baseline: Side, candidate: Side) -> Iterator[Finding]:
    name, limit = rule.limit
    if name in ("at_least", "at_most"):
        yield _absolute(rule, name, limit, candidate)
        return
    before, after = (score(rule.metric, side.items) for side in (baseline, candidate))
    same = images_equal(baseline.items, candidate.items)
    scored = _rows_scored(rule.metric, candidate.items)
    failed = _rows_failed(baseline.items) | _rows_failed(candidate.items)
    if rule.per == "all":
        yield _relative(rule, level, before[scored], after[scored], same, failed[scored])
        return
    kind = str(candidate.items["target_kind"].iloc[0])
    concepts = candidate.items.set_index(KEYS)[f"asked_{kind}"]
    for concept in sorted(set(concepts[scored]) - {""}):
        rows = concepts[scored].index[concepts[scored] == concept]
        part = _relative(rule, level, before[rows], after[rows], same, failed[rows])
        yield replace(part, concept=concept)


def _rows_scored(metric: str, items: pd.DataFrame) -> pd.Index:
    """Return the images that a metric scores, whether the judge answered for them or not."""
    return score(metric, fill_answers(items)).dropna().index


def _rows_failed(items: pd.DataFrame) -> pd.Series:
    """Return whether each image has pixels that are not finite, indexed by prompt and sample."""
    return pd.Series(is_failed(items), index=pd.MultiIndex.from_frame(items[KEYS])).sort_index()


def _absolute(rule: Rule, name: str, limit: float, candidate: Side) -> Finding:
    found = candidate.values.get(rule.metric)
    finding = Finding(rule.text, rule.metric, "unclear")
    if found is None or found.value is None:
        reason = "not measured" if found is None else str(found.missing)
        return replace(finding, reason=reason)
    low, high = found.low, found.high
    if rule.metric in FLAGS:  # a fact about these images, without an interval
        low = high = found.value
    finding = replace(finding, value=found.value, low=low, high=high, prompts=found.n)
    if low is None or high is None:
        return replace(finding, reason="has no interval, so nothing can be shown")
    if name == "at_least":
        state: State = "passed" if low >= limit else "regressed" if high < limit else "unclear"
    else:
        state = "passed" if high <= limit else "regressed" if low > limit else "unclear"
    needed = needed_for_share(found.value, limit, name) if state == "unclear" else None
    return replace(finding, state=state, needed=needed)


def _relative(
    rule: Rule, level: float, first: pd.Series, second: pd.Series, same: bool, failed: pd.Series
) -> Finding:
    """Judge a rule about the paired difference second - first, prompt by prompt."""
    finding = Finding(rule.text, rule.metric, "unclear")
    name, limit = rule.limit
    if first.empty:
        return replace(finding, reason="no image is scored by this metric")
    if failed.any():
        text = f"{int(failed.sum())} of {failed.size} images have pixels that are not finite"
        return replace(finding, reason=text)
    if first.isna().any() or second.isna().any():
        return replace(finding, reason="the judge failed on an image, so the pairs are not whole")
    is_size = name == "change_at_most"
    change = (second - first).abs() if is_size else second - first
    differences = change.groupby(level=0).mean().to_numpy()
    bounds = bounds_of(rule.metric, first.to_numpy(), change.to_numpy(), is_size)
    low, high = paired_interval(differences, level, same, bounds)
    mean = float(differences.mean())
    sign = 1.0 if name == "drop_at_most" else -1.0
    margin, worst, best = limit + sign * mean, *sorted((sign * low, sign * high))
    state: State = "passed" if worst >= -limit else "regressed" if best < -limit else "unclear"
    return replace(
        finding,
        state=state,
        value=float(second.mean()),
        baseline=float(first.mean()),
        difference=mean,
        low=low,
        high=high,
        prompts=len(differences),
        needed=needed_for_difference(differences, margin, high - low, limit, level)
        if state == "unclear"
        else None,
        p=_mcnemar(first, second),
    )


def _mcnemar(first: pd.Series, second: pd.Series) -> float | None:
    """Return the exact test on the first image of each prompt, None where scores are not 0 and 1."""
    values = pd.concat([first, second], axis=1, keys=["first", "second"])
    one = values.groupby(level=0).first()
    if not np.isin(one.to_numpy(), (0.0, 1.0)).all():
        return None
    return mcnemar(one["first"], one["second"])


def _waive(finding: Finding, waivers: list[Waiver], today: date) -> Finding:
    """Return a finding with its waiver, if it has one; an expired waiver does not change the verdict."""
    if finding.state == "passed":
        return finding
    for waiver in waivers:
        if (waiver.rule, waiver.concept) == (finding.rule, finding.concept):
            who = f"waived by {waiver.owner} until {waiver.expires}: {waiver.reason}"
            if not waiver.is_over(today):
                return replace(finding, state="waived", reason=who)
            both = filter(None, (finding.reason, f"the waiver has expired ({who})"))
            return replace(finding, reason="; ".join(both))
    return finding


def worst_prompts(metric: str, baseline: Side, candidate: Side, most: int = 10) -> pd.DataFrame:
    """Return the prompts that lost most: prompt_id, prompt, sample, seed, before, after; worst first."""
    before, after = (score(metric, side.items) for side in (baseline, candidate))
    change = (after - before).dropna()
    lost = change[change < 0].sort_values(kind="stable").head(most)
    known = candidate.items.set_index(KEYS)
    table = known.loc[lost.index, ["prompt", "seed"]].assign(
        before=before[lost.index], after=after[lost.index]
    )
    return table.reset_index()


def verdict(findings: list[Finding]) -> int:
    """Return 0 where every rule passed or is waived, 1 where one has regressed, 2 where one is unclear."""
    states = {finding.state for finding in findings}
    return 1 if "regressed" in states else 2 if "unclear" in states else 0

"""`check`: its options and action. Exit status 0, 1, 2 or 3."""

import argparse
import sys
from pathlib import Path
from typing import Any

from ..errors import UserError
from .common import add_output, add_places, open_console, read_program, read_world

ERROR = 3
"""Exit status where nothing was judged; 0: passed, 1: regressed, 2: undecided."""


def check_candidate(options: argparse.Namespace) -> int:
    """Check a candidate and write the reports; a user's mistake is one line and status 3."""
    try:
        return _check(options)
    except UserError as error:
        print(f"unlearnbench: {error}", file=sys.stderr)
    except Exception as error:  # any other error is no verdict either
        text = " ".join(f"{type(error).__name__}: {error}".split())
        print(f"unlearnbench: check: nothing was judged, for an error of its own: {text}", file=sys.stderr)
    return ERROR


def _check(options: argparse.Namespace) -> int:
    from ... import check
    from ..gate.report import make_table, name_verdict

    found = check(
        options.baseline,
        options.candidate,
        options.policy,
        baseline_model=options.baseline_model,
        point=options.point,
        candidate_point=options.candidate_point,
        out=options.out,
        device=options.device,
        threads=options.threads,
        store=options.store,
        world=read_world(options),
        _program=read_program(options),
    )
    findings = list(found.findings)
    open_console().print(make_table(found.title, findings))
    print(f"verdict: {name_verdict(findings)}")
    for row in found.worst.to_dict("records"):
        print(f"worse ({row['metric']} {row['before']:.3g} to {row['after']:.3g}): {row['prompt']}")
    if options.out:
        print(f"reports: {options.out / 'summary.md'}, {options.out / 'junit.xml'}")
    return found.verdict


def add_check(commands: Any) -> None:
    parser = commands.add_parser("check", help="gate a model update: baseline, candidate, policy")
    parser.add_argument("--baseline", type=Path, required=True, help="a record (CELL.json)")
    parser.add_argument("--candidate", required=True, help="a record, or a model as `evaluate` takes it")
    parser.add_argument(
        "--policy", required=True, help="a TOML file of rules and waivers, or an example's name"
    )
    parser.add_argument(
        "--baseline-model", metavar="MODEL", help="its diffusers folder, for rules on weights"
    )
    parser.add_argument("--point", help="label of the baseline's point (default: its last)")
    parser.add_argument("--candidate-point", help="label of the candidate's point (default: its last)")
    add_places(parser, "--base-model")
    add_output(parser)
    parser.set_defaults(run=check_candidate)

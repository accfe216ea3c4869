"""What the subcommands about boards do: compare, choose, simulate, make the page."""

import argparse
import sys
from pathlib import Path

from .cli_commands import suites_folder
from .errors import UserError


def compare_methods(options: argparse.Namespace) -> int:
    """Print every method's AVA and its paired difference to a rival."""
    from rich.console import Console

    from ..leaderboard.board import collect, duel, summarise
    from ..leaderboard.load import load
    from ..leaderboard.terminal import make_board_table, make_duel_table

    results = collect(entry for folder in options.records for entry in load(folder))
    methods = sorted({row.method for row in results})
    if options.rival not in methods:
        raise UserError(f"--rival {options.rival}: no records of it; methods: {', '.join(methods) or 'none'}")
    console = Console() if sys.stdout.isatty() else Console(width=120)
    lines = summarise(results)
    console.print(make_board_table(lines))
    for line in lines:
        for reason in line.lacking:
            print(f"missing: {line.method} on {reason}")
    duels = duel(results, options.rival)
    if duels:
        console.print(make_duel_table(duels))
    else:
        print("No method shares two concepts with the rival: nothing to compare.")
    return 0


def choose_configurations(options: argparse.Namespace) -> int:
    """Choose each method's configurations on tuning records and write the file that the suite reads."""
    from rich.console import Console

    from ..leaderboard.choose import PLACEBO, choose
    from ..leaderboard.load import load
    from ..leaderboard.terminal import make_choice_table
    from .plan import find_suite

    suite = find_suite(options.suite, suites_folder())
    rows = {row.name: row.tuned for row in suite.methods if row.tuned and row.name != PLACEBO}
    if suite.choice is None or not rows:
        raise UserError(f"--suite {options.suite}: takes no choice; name a suite with `tuned` methods")
    choice = choose(load(options.records), rows)
    path = options.out or suites_folder() / suite.choice
    path.write_text(choice.model_dump_json(indent=1) + "\n", encoding="utf-8")
    Console().print(make_choice_table(choice))
    print(f"chosen: {path}")
    return 0


def show_coverage(options: argparse.Namespace) -> int:
    """Simulate suites of known truth and print how often the intervals hold it."""
    from rich.console import Console

    from ..leaderboard.terminal import make_coverage_table
    from .progress import show_progress
    from .stats.coverage import TRUTHS, measure_all

    if options.suites < 1:
        raise UserError(f"--suites {options.suites}: must be at least 1")
    names = list(TRUTHS)
    with show_progress("simulated", len(names)) as advance:
        found = measure_all(options.suites, lambda name: advance(names.index(name), name))
    Console().print(make_coverage_table(found))
    return 0


def build_page(records: Path, out: Path | None) -> Path:
    """Make the page of a folder of records and print its table."""
    from rich.console import Console

    from ..leaderboard.load import load
    from ..leaderboard.page import build
    from ..leaderboard.rank import rows
    from ..leaderboard.terminal import make_result_tables

    page = build(records, out or records / "leaderboard")
    console = Console() if sys.stdout.isatty() else Console(width=120)
    for table in make_result_tables(rows(load(records))):
        console.print(table)
    return page


def make_leaderboard(options: argparse.Namespace) -> int:
    """Make the page and exports of a folder of records."""
    if not options.records.is_dir():
        raise UserError(f"{options.records}: no such folder of records; make one with: unlearnbench run")
    print(f"leaderboard: {build_page(options.records, options.out)}")
    return 0

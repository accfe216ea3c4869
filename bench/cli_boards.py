"""What the subcommands about boards do: compare, choose, simulate, make the page."""

import argparse
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from .cli_commands import open_console, suites_folder
from .errors import UserError
from .files import write_file


def compare_methods(options: argparse.Namespace) -> int:
    """Print every method's AVA and its paired difference to a rival."""
    from ..leaderboard.board import collect, duel, list_worlds, summarise
    from ..leaderboard.load import load_together
    from ..leaderboard.terminal import make_board_table, make_duel_table

    loaded = load_together(options.records)
    worlds = list_worlds(loaded)
    if len(worlds) > 1:
        said = f"compare: records of {' and '.join(worlds)}"
        raise UserError(f"{said}: no AVA is of two worlds or base models; compare each")
    results = collect(loaded)
    methods = sorted({row.method for row in results})
    if options.rival not in methods:
        raise UserError(f"--rival {options.rival}: no records of it; methods: {', '.join(methods) or 'none'}")
    console = open_console()
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
    write_file(path, choice.model_dump_json(indent=1) + "\n")
    Console().print(make_choice_table(choice))
    print(f"chosen: {path}")
    return 0


def show_coverage(options: argparse.Namespace) -> int:
    """Simulate suites of known truth and print how often the intervals hold it."""
    from rich.console import Console

    from ..leaderboard.terminal import make_coverage_table, make_share_table
    from .progress import show_progress
    from .stats.coverage import TRUTHS, measure_all
    from .stats.share_coverage import list_truths, measure_shares

    if options.suites < 1:
        raise UserError(f"--suites {options.suites}: must be at least 1")
    names = list(TRUTHS)
    with show_progress("simulated", len(names)) as advance:
        found = measure_all(options.suites, lambda name: advance(names.index(name), name))
    console = Console()
    console.print(make_coverage_table(found))
    console.print(make_share_table(measure_shares(list_truths(), options.suites)))
    return 0


def build_page(folders: Sequence[Path], out: Path | None) -> Path:
    """Make the page of folders of records and print its table."""
    from ..leaderboard.load import load_together
    from ..leaderboard.page import write_pages

    loaded = load_together(folders)
    page = write_pages(loaded, folders, out or folders[0] / "leaderboard")
    console = open_console()
    for table in _tables(loaded):
        console.print(table)
    return page


def _tables(loaded: Sequence[Any]) -> list[Any]:
    """Return the board's tables where there are several concepts, else the task's own."""
    from ..leaderboard.board import collect, duel, list_worlds, summarise
    from ..leaderboard.rank import rows
    from ..leaderboard.terminal import make_board_table, make_duel_table, make_result_tables

    results = collect(loaded)
    if len({row.task for row in results}) < 2 or len(list_worlds(loaded)) > 1:
        return make_result_tables(rows(loaded))
    duels = duel(results)
    return [make_board_table(summarise(results)), *([make_duel_table(duels)] if duels else [])]


def make_leaderboard(options: argparse.Namespace) -> int:
    """Make the page and exports of folders of records."""
    _check_folders(options.records)
    page = build_page(options.records, options.out)
    if options.eval_results:
        from ..leaderboard.eval_results import write_eval_results
        from ..leaderboard.load import load_together

        folder = write_eval_results(
            load_together(options.records), options.eval_results, options.source, page.parent
        )
        print(f"eval results: {folder}")
    print(f"leaderboard: {page}")
    return 0


def make_site(options: argparse.Namespace) -> int:
    """Build the static site of folders of records."""
    from ..leaderboard.site import build_site

    _check_folders(options.records)
    print(f"site: {build_site(options.records, options.out)}")
    return 0


def _check_folders(folders: Sequence[Path]) -> None:
    for folder in folders:
        if not folder.is_dir():
            raise UserError(f"{folder}: no such folder of records; make one with: unlearnbench run")

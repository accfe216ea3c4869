"""`leaderboard`, `site`, `compare`, `choose` and `coverage`: their options and actions."""

import argparse
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from ..errors import UserError
from ..files import write_file
from ..running.catalog import suites_folder
from .common import open_console


def compare_methods(options: argparse.Namespace) -> int:
    """Print every method's headline and its paired difference to a rival."""
    from ..._records import compare_entries
    from ...leaderboard.pages.terminal import make_board_table, make_comparison_table
    from ...leaderboard.ranking.declared import find_headline
    from ..records.load import load_together

    loaded = load_together(options.records)
    if (options.by or find_headline(loaded)) == "H":
        return _compare_by_h(loaded, options.rival)
    lines, comparisons = compare_entries(loaded, options.rival)
    console = open_console()
    console.print(make_board_table(lines))
    for line in lines:
        for reason in line.lacking:
            print(f"missing: {line.method} on {reason}")
    if comparisons:
        console.print(make_comparison_table(comparisons))
    else:
        print("No method shares two concepts with the rival: nothing to compare.")
    return 0


def _compare_by_h(loaded: Sequence[Any], rival: str) -> int:
    from ...leaderboard.pages.h_tables import make_h_comparison_table, make_h_table
    from ...leaderboard.ranking.board import find_row
    from ...leaderboard.ranking.h_score import collect_h, compare_h, find_complete, summarise_h

    results = collect_h(loaded)
    lines, complete = summarise_h(results), find_complete(results)
    console = open_console()
    console.print(make_h_table(lines, complete))
    for line in lines:
        for reason in line.lacking:
            print(f"missing: {line.method} on {reason}")
    rival = find_row(complete, rival)
    compared = compare_h(results, [(name, rival) for name in sorted(complete)])
    if compared:
        console.print(make_h_comparison_table(compared))
    else:
        print(f"No method is compared with {rival}: both must have H on all of the board's concepts.")
    return 0


def choose_configurations(options: argparse.Namespace) -> int:
    """Choose each method's configurations on tuning records and write the file that the suite reads."""
    from ...leaderboard.pages.terminal import make_choice_table
    from ...leaderboard.ranking.choose import PLACEBO, choose
    from ..planning.plan import find_suite
    from ..records.load import load

    suite = find_suite(options.suite, suites_folder())
    rows = {row.name: row.tuned for row in suite.methods if row.tuned and row.name != PLACEBO}
    if suite.choice is None or not rows:
        raise UserError(f"--suite {options.suite}: takes no choice; name a suite with `tuned` methods")
    loaded = load(options.records)
    choice = choose(loaded, rows, _list_configs(loaded[0].record.suite))
    path = options.out or suite.folder / suite.choice
    write_file(path, choice.model_dump_json(indent=1) + "\n")
    open_console().print(make_choice_table(choice))
    print(f"chosen: {path}")
    return 0


def _list_configs(suite: str) -> list[tuple[str, dict[str, Any]]]:
    """Return the methods of a shipped suite with their complete configurations, in its order."""
    from ..planning.plan import read_suite, resolve_presets
    from ..registry import Entry
    from ..running.catalog import registry

    path, methods = suites_folder() / f"{suite}.toml", registry("methods")
    if not path.is_file():
        return []
    found = resolve_presets(read_suite(path), methods).methods

    def complete(entry: Entry, config: dict[str, Any]) -> dict[str, Any]:
        return dict(json.loads(entry.load_config()(**config).model_dump_json()))

    return [(row.name, complete(methods[row.name], row.config)) for row in found if row.name in methods]


def show_coverage(options: argparse.Namespace) -> int:
    """Simulate boards of known truth and print how the number's candidates, intervals and tests perform."""
    from ...leaderboard.pages import simulated
    from ...leaderboard.pages.terminal import make_share_table
    from ..progress import show_progress
    from ..stats import coverage
    from ..stats.share_coverage import list_truths, measure_shares

    if options.suites < 2:
        raise UserError(f"--suites {options.suites}: must be at least 2")
    console, board = open_console(), coverage.Board()
    held: dict[coverage.Board, coverage.Held] = {}
    with show_progress("simulated", len(coverage.PAIRS) + len(coverage.GRID)) as advance:
        for done, (name, pair) in enumerate(coverage.PAIRS.items()):
            advance(done, name)
            judged = coverage.judge_candidates(pair, board, options.suites)
            judged["VA at equal UA (truth: its reach)"] = coverage.judge_equal_ua(pair, board, options.suites)
            console.print(simulated.make_candidates_table(f"{name}: {board.concepts} concepts", judged))
        for done, place in enumerate(coverage.GRID):
            advance(len(coverage.PAIRS) + done, f"{place.concepts} concepts")
            held[place] = coverage.hold(place, options.suites)
    console.print(simulated.make_extremes_table(coverage.value_extremes(board, options.suites)))
    trials = [coverage.Board(concepts, runs=runs) for concepts, runs in ((12, 3), (24, 2), (24, 3), (40, 2))]
    power = {trial: coverage.measure_power(trial, options.suites) for trial in trials}
    console.print(simulated.make_power_table(power))
    shares = make_share_table(measure_shares(list_truths(), options.suites))
    for table in [*simulated.make_held_tables(held), shares]:
        console.print(table)
    error = (0.95 * 0.05 / options.suites) ** 0.5
    print(f"{options.suites} suites each: a coverage of .95 and a size of .05 are sure to ±{error:.3f}")
    return 0


def build_page(folders: Sequence[Path], out: Path | None) -> Path:
    """Make the page of folders of records and print its table."""
    from ...leaderboard.pages.contents import read_contents
    from ...leaderboard.studies.sequences import holds_sequences

    if holds_sequences(folders[0]):
        return _build_sequences(folders, out)
    return _write_page(read_contents(folders), out or folders[0] / "leaderboard")


def _build_sequences(folders: Sequence[Path], out: Path | None) -> Path:
    """Make the page of a folder of sequences and print its table."""
    from ...leaderboard.studies.sequences import collect_sequences, load_sequences
    from ...leaderboard.studies.sequences_page import build_sequences, make_sequence_table

    loaded = [entry for folder in folders for entry in load_sequences(folder)]
    page = build_sequences(loaded, out or folders[0] / "leaderboard")
    console = open_console()
    for sequence in collect_sequences(loaded):
        console.print(make_sequence_table(sequence))
    return page


def _write_page(contents: Any, target: Path) -> Path:
    from ...leaderboard.pages import site

    page = site.build_page(contents, target)
    console = open_console()
    for table in _tables(contents):
        console.print(table)
    return page


def _tables(contents: Any) -> list[Any]:
    """Return the board's tables where there are several concepts, else the tasks' own."""
    from ...leaderboard.pages.terminal import make_board_table, make_comparison_table, make_result_tables
    from ...leaderboard.ranking.board import compare_with_rival, summarise

    if contents.board is None:
        return make_result_tables(contents.rows)
    if contents.board[1].headline == "H":
        from ...leaderboard.pages.h_tables import make_h_tables

        return make_h_tables(contents.board[0], contents.board[1])
    results = contents.board[0].results
    comparisons = compare_with_rival(results)
    return [
        make_board_table(summarise(results)),
        *([make_comparison_table(comparisons)] if comparisons else []),
    ]


def make_leaderboard(options: argparse.Namespace) -> int:
    """Make the page and exports of folders of records."""
    from ...leaderboard.pages.contents import read_contents
    from ...leaderboard.studies.sequences import holds_sequences

    _check_folders(options.records)
    if holds_sequences(options.records[0]):
        if options.eval_results:
            raise UserError("--eval-results: a sequence is no result of a single task")
        print(f"leaderboard: {_build_sequences(options.records, options.out)}")
        return 0
    contents = read_contents(options.records)
    page = _write_page(contents, options.out or options.records[0] / "leaderboard")
    if options.eval_results:
        from ...leaderboard.pages.eval_results import write_eval_results

        folder = write_eval_results(contents.records, options.eval_results, options.source, page.parent)
        print(f"eval results: {folder}")
    print(f"leaderboard: {page}")
    return 0


def make_site(options: argparse.Namespace) -> int:
    """Build the static site of folders of records."""
    from ...leaderboard.pages.contents import read_contents
    from ...leaderboard.pages.site import build_site

    _check_folders(options.records)
    print(f"site: {build_site(read_contents(options.records), options.out)}")
    return 0


def show_nearby(options: argparse.Namespace) -> int:
    """Print what forgetting did near the target of each record; write all numbers where asked to."""
    from ...leaderboard.studies.nearby import measure_nearby
    from ...leaderboard.studies.nearby_tables import make_nearby_tables, to_csv
    from ..records.layout import find_records
    from ..records.load import load_one
    from ..running.catalog import open_world, task_registry

    known, far, found = task_registry(), {}, []
    for path in find_records(options.records):
        entry = load_one(path)
        task = entry.record.task.id
        if task not in far:
            far[task] = open_world(known[task].file.world).distances(known[task])
        near = measure_nearby(entry, far[task])
        if near is None:
            print(f"missing: {path.name}: no item rows")
        else:
            found.append(near)
    console = open_console()
    for table in make_nearby_tables(found):
        console.print(table)
    if options.out:
        write_file(options.out, to_csv(found))
        print(f"nearby: {options.out}")
    return 0


def _check_folders(folders: Sequence[Path]) -> None:
    for folder in folders:
        if not folder.is_dir():
            raise UserError(f"{folder}: no such folder of records; make one with: unlearnbench run")


def add_boards(commands: Any) -> None:
    """Add the commands that work on existing records."""
    leaderboard = commands.add_parser("leaderboard", help="make the page and its exports from records")
    leaderboard.add_argument(
        "records", type=Path, nargs="*", default=[Path("runs/demo")], help="folders of records (runs/demo)"
    )
    leaderboard.add_argument(
        "--out", type=Path, help="folder of the page (default: leaderboard/ in the first)"
    )
    leaderboard.add_argument(
        "--eval-results", metavar="DATASET", help="also write Hub YAML, for this dataset id"
    )
    leaderboard.add_argument("--source", metavar="URL", help="what the YAML names as its source")
    leaderboard.set_defaults(run=make_leaderboard)
    site = commands.add_parser("site", help="build the static leaderboard site from records")
    site.add_argument("records", type=Path, nargs="+", metavar="RESULTS", help="folders of records")
    site.add_argument("--out", type=Path, required=True, help="folder of the site")
    site.set_defaults(run=make_site)
    nearby = commands.add_parser(
        "nearby", help="what forgetting did near the target: by distance, leakage, replacement"
    )
    nearby.add_argument("records", type=Path, nargs="+", metavar="RECORD", help="records or folders of them")
    nearby.add_argument("--out", type=Path, metavar="CSV", help="file for all numbers")
    nearby.set_defaults(run=show_nearby)
    compare = commands.add_parser(
        "compare", help="compare methods over concepts: AVA or H, and paired differences"
    )
    compare.add_argument("records", type=Path, nargs="+", help="folders of records")
    compare.add_argument("--rival", default="gradient_sum", help="method that the others are compared with")
    compare.add_argument("--by", choices=("AVA", "H"), help="the number compared (the records' headline)")
    compare.set_defaults(run=compare_methods)
    choose = commands.add_parser("choose", help="choose configurations on records of tuning concepts")
    choose.add_argument("records", type=Path, help="folder of the tuning suite's records")
    choose.add_argument("--suite", default="emoji", help="suite whose tuned methods are chosen")
    choose.add_argument("--out", type=Path, help="file to write (default: the suite's own)")
    choose.set_defaults(run=choose_configurations)
    coverage = commands.add_parser(
        "coverage", help="simulate whether the board's number, intervals and tests hold"
    )
    coverage.add_argument("--suites", type=int, default=300, help="suites simulated for each truth (300)")
    coverage.set_defaults(run=show_coverage)

"""`steps` and `transfer`: questions to a board's records beyond its ranking."""

import argparse
from pathlib import Path
from typing import Any

from ...errors import UserError
from ...files import write_file
from ..common import open_console


def show_steps(options: argparse.Namespace) -> int:
    """Print how often each method's training steps raised neither loss; write all runs where asked to."""
    from ....leaderboard.studies.steps import measure_steps, steps_to_csv, summarise_steps
    from ....leaderboard.studies.study_tables import make_steps_table
    from ...records.layout import find_records
    from ...records.record import read_record

    records = [read_record(path) for path in find_records(options.records)]
    found = [shares for shares in map(measure_steps, records) if shares is not None]
    if not found:
        raise UserError(
            f"{options.records[0]}: no record has the inner products of its steps: trained methods with "
            "`diagnostics` log them, such as balanced and gradient_sum"
        )
    open_console().print(make_steps_table(summarise_steps(found)))
    if len(found) < len(records):
        print(f"{len(records) - len(found)} of {len(records)} records log no inner products")
    if options.out:
        write_file(options.out, steps_to_csv(found))
        print(f"steps: {options.out}")
    return 0


def show_transfer(options: argparse.Namespace) -> int:
    """Print the rank correlation of a board's H with published tables, over the methods that both have."""
    from ....leaderboard.ranking.h_score import collect_h, summarise_h
    from ....leaderboard.studies.study_tables import make_transfer_table
    from ....leaderboard.studies.transfer import measure_transfers
    from ...records.load import load_together

    lines = summarise_h(collect_h(load_together(options.records)))
    open_console().print(make_transfer_table(measure_transfers({line.method: line.h for line in lines})))
    return 0


def add_studies(commands: Any) -> None:
    steps = commands.add_parser("steps", help="how often training steps raised neither loss, by method")
    steps.add_argument("records", type=Path, nargs="+", metavar="RECORD", help="records or folders of them")
    steps.add_argument("--out", type=Path, metavar="CSV", help="file for the numbers of every run")
    steps.set_defaults(run=show_steps)
    transfer = commands.add_parser("transfer", help="rank correlation of a board with published tables")
    transfer.add_argument("records", type=Path, nargs="+", help="folders of a board's records")
    transfer.set_defaults(run=show_transfer)

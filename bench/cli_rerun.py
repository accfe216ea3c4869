"""What `rerun` does: repeat a record's cell in a store of its own and say whether the numbers agree."""

import argparse
import re
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

from .cli_commands import make_runner, open_console, registry, task_registry
from .errors import UserError
from .statements import make_statement, write_statement

DEVICE = re.compile(r"cpu|mps|cuda(:\d{1,2})?")
MOST_THREADS = 1024
ERROR = 3
"""Exit status where nothing was compared; 0 agrees, 1 differs, 2 could not tell."""


def rerun_record(options: argparse.Namespace) -> int:
    """Repeat a record and compare; a user's mistake is one line and status 3."""
    try:
        return _rerun(options)
    except UserError as error:
        print(f"unlearnbench: {error}", file=sys.stderr)
        return ERROR


def _rerun(options: argparse.Namespace) -> int:
    from ..leaderboard.agreement import VERDICTS, compare_records
    from ..leaderboard.load import load_one
    from ..leaderboard.terminal_checks import make_agreement_table
    from .cli_statements import home

    if options.margin < 0:
        raise UserError(f"--margin {options.margin}: must be at least 0")
    claimed = load_one(options.record)
    if claimed.record.status != "ok" or claimed.items is None:
        raise UserError(f"{options.record}: status: the run failed; there is nothing to repeat")
    outcome = _run(claimed, options)
    if outcome.state == "failed":
        from .records import read_record

        raise UserError(f"{options.record.name}: the re-run failed: {read_record(outcome.path).error}")
    again = load_one(outcome.path)
    agreement = compare_records(claimed, again, options.margin)
    open_console().print(make_agreement_table(agreement))
    said = _statement(claimed, again, agreement, options.margin)
    print(f"re-run record: {outcome.path}")
    print(f"{agreement.verdict}; {agreement.same_images:.1%} of the images are the same, pixel by pixel")
    if agreement.same_versions and any(number.state != "equal" for number in agreement.numbers):
        print(
            "The versions are the same, so equal numbers were to be expected: look at threads and processor."
        )
    print(f"statement: {write_statement(said, home(options.record))}")
    return VERDICTS[agreement.verdict]


def _run(claimed: Any, options: argparse.Namespace) -> Any:
    from .cli_submit import make_known
    from .repeat import find_cell

    record, known = claimed.record, make_known(options)
    folder = options.out or Path("runs") / "rerun"
    # nothing that the first run left behind may answer for the second one
    options.store = options.store or folder / "store"
    options.device = options.device or _device(record)
    options.threads = options.threads or _threads(record)
    tasks = task_registry(options.world_folder)
    task = tasks[record.task.id]
    runner = make_runner(options, folder, {task.file.world})
    cell = find_cell(
        record,
        claimed.items,
        tasks,
        registry("methods"),
        runner.worlds[task.file.world],
        known.find_suite(record.suite.partition("-draw-")[0]),
        options.model,
    )
    if cell.row.name == "retrain":
        where = runner.worlds[task.file.world].retrained_pipeline(cell.task)
        cell = replace(cell, models=(str(where),))
    [outcome] = runner.run([cell])
    return outcome


def _device(record: Any) -> str | None:
    """Return the device that a record says it was made on: anybody may have written it."""
    device = record.environment.get("device")
    if device is not None and not (isinstance(device, str) and DEVICE.fullmatch(device)):
        raise UserError(f"{record.cell}.json: environment.device: {device!a:.40} is none; give --device")
    return device


def _threads(record: Any) -> int | None:
    threads = record.environment.get("threads")
    whole = isinstance(threads, int) and not isinstance(threads, bool)
    if threads is not None and not (whole and 1 <= threads <= MOST_THREADS):
        raise UserError(f"{record.cell}.json: environment.threads: {threads!a:.40} is none; give --threads")
    return threads


def _statement(claimed: Any, again: Any, agreement: Any, margin: float) -> Any:
    from .cli_statements import about

    values = {
        **about(claimed),
        "by": "unlearnbench rerun",
        "rerun": again.digest,
        "verdict": agreement.verdict,
        "margin": margin,
        "same_versions": agreement.same_versions,
        "numbers": [number.model_dump(mode="json") for number in agreement.numbers],
    }
    return make_statement("rerun", values, "rerun")

"""`rerun`, `retract` and `report-attack`: options, and what they do.

Each appends a statement about a record.
"""

import argparse
import re
import sys
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from ..errors import UserError
from ..planning.plan import MOST_THREADS
from ..running.catalog import registry
from ..running.session import make_runner, open_tasks
from .common import AddOptions, open_console, read_session, read_world

DEVICE = re.compile(r"cpu|mps|cuda(:\d{1,2})?")
ERROR = 3
"""Exit status where nothing was compared; 0: agrees, 1: differs, 2: undecided."""


def retract_record(options: argparse.Namespace) -> int:
    """Append a retraction of a record, or name the record that replaces it."""
    from ..records.statements import check_successor, make_statement, refuse_second, write_statement

    entry = _load(options.record)
    refuse_second(entry.digest, home(options.record))
    said = {**about(entry), "by": options.by, "reason": options.reason}
    statement = make_statement("retracted", said, "retract")
    if options.successor is not None:
        successor = _load(options.successor)
        if successor.digest == entry.digest:
            raise UserError(f"--successor {options.successor}: is the record itself")
        if home(options.successor) != home(options.record):
            raise UserError(f"--successor {options.successor}: must lie in the folder of the record")
        check_successor(entry.record, successor.record)
        statement = make_statement("superseded", {**said, "successor": successor.digest}, "retract")
    print(f"{statement.kind}: {write_statement(statement, home(options.record))}")
    return 0


def add_attack(options: argparse.Namespace) -> int:
    """Append UA under a stronger attack; refused where it would raise the record's UA."""
    from ..records.statements import check_attack, make_statement, write_statement
    from ..stats.intervals import wilson

    entry = _load(options.record)
    record = entry.record
    labels = [point.label for point in record.points]
    if not labels or (options.point is not None and options.point not in labels):
        raise UserError(f"--point {options.point}: {options.record.name} has the points {', '.join(labels)}")
    point = record.points[-1 if options.point is None else labels.index(options.point)]
    if not 0 <= options.ua <= 1 or options.images < 1:
        raise UserError(
            f"--ua {options.ua}, --images {options.images}: a share in [0, 1] of at least one image"
        )
    low, high = wilson(options.ua * options.images, options.images)
    said = {"by": options.by, "attack": options.attack, "point": point.index, "link": options.link}
    ua = {"value": options.ua, "low": low, "high": high, "n": options.images}
    statement = make_statement("external", {**about(entry), **said, "ua": ua}, "attack")
    check_attack(statement, record)
    print(f"attack: {write_statement(statement, home(options.record))}")
    return 0


def _load(path: Path) -> Any:
    from ..records.load import load_one

    return load_one(path)


def about(entry: Any) -> dict[str, str]:
    """Return the fields that every statement about a record has, and today's date."""
    today = datetime.now(UTC).date().isoformat()
    return {"about": entry.digest, "cell": entry.record.cell, "date": today}


def home(path: Path) -> Path:
    """Return the folder of a record's suite: claimed records are one folder deeper."""
    from ..records.statements import CLAIMED

    folder = path.resolve().parent
    return folder.parent if folder.name == CLAIMED else folder


def rerun_record(options: argparse.Namespace) -> int:
    """Repeat a record and compare; a user's mistake gives one line and status 3."""
    try:
        return _rerun(options)
    except UserError as error:
        print(f"unlearnbench: {error}", file=sys.stderr)
        return ERROR


def _rerun(options: argparse.Namespace) -> int:
    from ...leaderboard.pages.terminal import make_agreement_table
    from ..checking.agreement import VERDICTS, compare_records
    from ..records.load import load_one
    from ..records.statements import write_statement

    if options.margin < 0:
        raise UserError(f"--margin {options.margin}: must be at least 0")
    claimed = load_one(options.record)
    if claimed.record.status != "ok" or claimed.items is None:
        raise UserError(f"{options.record}: status: the run failed; there is nothing to repeat")
    outcome = _repeat(claimed, options)
    if outcome.state == "failed":
        from ..records.record import read_record

        raise UserError(f"{options.record.name}: the re-run failed: {read_record(outcome.path).error}")
    again = load_one(outcome.path)
    agreement = compare_records(claimed, again, options.margin)
    open_console().print(make_agreement_table(agreement))
    said = _state_rerun(claimed, again, agreement, options.margin)
    print(f"re-run record: {outcome.path}")
    print(f"{agreement.verdict}; {agreement.same_images:.1%} of the images are the same, pixel by pixel")
    if agreement.same_versions and any(number.state != "equal" for number in agreement.numbers):
        print(
            "The versions are the same, so equal numbers were to be expected: look at threads and processor."
        )
    print(f"statement: {write_statement(said, home(options.record))}")
    return VERDICTS[agreement.verdict]


def _repeat(claimed: Any, options: argparse.Namespace) -> Any:
    from ..models.device.precision import recorded_dtype

    folder = options.out or Path("runs") / "rerun"
    session = replace(
        read_session(options),
        # a fresh store: nothing of the first run may be reused
        store=options.store or folder / "store",
        device=options.device or recorded_device(claimed.record),
        threads=options.threads or recorded_threads(claimed.record),
        dtype=recorded_dtype(claimed.record.sampling, options.record),
    )
    runner, cell = restore_cell(claimed, options.record, options, session, folder)
    [outcome] = runner.run([cell])
    return outcome


def restore_cell(
    claimed: Any, path: Path, options: argparse.Namespace, session: Any, folder: Path
) -> tuple[Any, Any]:
    """Return a runner and the cell of a record, made of the record's fields; folder: of new records."""
    from ..checking.known import make_known
    from ..checking.repeat import find_cell
    from ..records.chosen import refuse_inline

    record, known = claimed.record, make_known(read_world(options))
    refuse_inline(path, record)
    tasks = open_tasks(read_world(options))
    task = tasks[record.task.id]
    runner = make_runner(session, folder, {task.file.world})
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
    return runner, cell


def recorded_device(record: Any) -> str | None:
    """Return the device that a record says it was made on: anybody may have written it."""
    device = record.environment.get("device")
    if device is not None and not (isinstance(device, str) and DEVICE.fullmatch(device)):
        raise UserError(f"{record.cell}.json: environment.device: {device!a:.40} is none; give --device")
    return device


def recorded_threads(record: Any) -> int | None:
    threads = record.environment.get("threads")
    whole = isinstance(threads, int) and not isinstance(threads, bool)
    if threads is not None and not (whole and 1 <= threads <= MOST_THREADS):
        raise UserError(f"{record.cell}.json: environment.threads: {threads!a:.40} is none; give --threads")
    return threads


def _state_rerun(claimed: Any, again: Any, agreement: Any, margin: float) -> Any:
    from ..records.statements import make_statement

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


def add_rerun(commands: Any, add_output: AddOptions, add_places: AddOptions) -> None:
    rerun = commands.add_parser("rerun", help="repeat a record: 0 agrees, 1 differs, 2 could not tell")
    rerun.add_argument("record", type=Path, help="the record that is repeated (CELL.json)")
    rerun.add_argument(
        "--model", nargs="+", default=[], help="of `evaluate` records: the models that they name"
    )
    rerun.add_argument("--margin", type=float, default=0.02, help="difference that is no difference (0.02)")
    add_places(rerun, "--base-model")
    add_output(rerun)
    rerun.set_defaults(run=rerun_record)


def add_statements(commands: Any) -> None:
    retract = commands.add_parser("retract", help="take a record back, or replace it by another")
    retract.add_argument("record", type=Path, help="the record (CELL.json); it stays where it is")
    retract.add_argument("--reason", required=True)
    retract.add_argument("--by", required=True, help="who says so")
    retract.add_argument("--successor", type=Path, help="the record that replaces it")
    retract.set_defaults(run=retract_record)
    attack = commands.add_parser(
        "report-attack", help="add somebody's stronger attack, which lowers a record's UA"
    )
    attack.add_argument("record", type=Path, help="the record of the attacked model (CELL.json)")
    attack.add_argument("--attack", required=True, help="its name and version")
    attack.add_argument("--ua", type=float, required=True, help="UA under the attack, in [0, 1]")
    attack.add_argument("--images", type=int, required=True, help="how many images it was measured on")
    attack.add_argument("--point", help="label of the attacked point (default: the last)")
    attack.add_argument("--by", required=True, help="who ran it")
    attack.add_argument("--link", default="", help="where attack and images are described (https)")
    attack.set_defaults(run=add_attack)

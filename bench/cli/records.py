"""`validate`, `submit`, `pack` and `pool`: their options and actions."""

import argparse
import sys
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any

from ..errors import UserError
from ..files import write_file
from ..store import content_key
from .common import FAILED, AddOptions, open_console, read_world
from .statements import add_rerun, add_statements

if TYPE_CHECKING:
    from ..measuring.pool import Row
    from ..running.pooling import StoredImages


def validate_records(options: argparse.Namespace) -> int:
    """Check records, folders of them and submissions; print failures. Return 0: all passed, 1: one failed."""
    from ..checking.beside import check_beside, check_record
    from ..checking.known import make_known
    from ..records.layout import (
        find_apart,
        find_attacked,
        find_record_tables,
        find_records,
        find_statements,
        find_strays,
        find_tables,
        is_statement,
    )

    known, submissions = (
        make_known(read_world(options)),
        [path for path in options.paths if path.suffix == ".zip"],
    )
    found: dict[Path, list[Any]] = {}
    for path in submissions:
        if not path.is_file():
            raise UserError(f"{path}: no such submission")
        found |= _validate_submission(path, known)
    rest = [path for path in options.paths if path not in submissions]
    tables = {path: [check_beside(path)] for path in find_record_tables(rest)}
    if broken := {path: checks for path, checks in tables.items() if checks[0].state == "failed"}:
        return _show_checks(broken, 0)  # which records such a table holds is not known
    paths = [found for path in rest for found in find_apart(path) or [path]]
    said = [path for path in paths if path.suffix == ".json" and path.is_file() and is_statement(path)]
    rest = [path for path in paths if path not in said]
    records = list(dict.fromkeys([*find_records(rest), *find_attacked(rest)]))
    for path in records:
        found[path] = check_record(path, known)
    count = len(found)
    others = [*said, *find_tables(records), *find_statements(records), *find_strays(paths, records)]
    for path in dict.fromkeys(others):
        found[path] = tables.get(path) or [check_beside(path)]
    return _show_checks(found, count)


def _show_checks(found: "dict[Path, list[Any]]", count: int) -> int:
    """Print checks and what failed, and return the exit code. count: of records, which come first."""
    from ...leaderboard.pages.terminal import make_check_table

    beside = len(found) - count
    open_console().print(make_check_table(found))
    for path, checks in found.items():
        for check in checks:
            if check.state != "passed":
                print(f"{check.state}: {path.name}: {check.name}: {check.detail}")
    failed = sum(any(check.state == "failed" for check in checks) for checks in found.values())
    further = f" and {beside} file{'s' * (beside > 1)} beside them" if beside else ""
    print(f"{count} record{'s' * (count != 1)}{further}, {failed} failed")
    return FAILED if failed else 0


def _validate_submission(path: Path, known: Any) -> dict[Path, list[Any]]:
    from ..checking.validate import Check, validate
    from ..records.bundle import unpack

    with TemporaryDirectory() as scratch:
        try:
            records = unpack(path, Path(scratch))
        except UserError as error:
            return {path: [Check("files", "failed", str(error))]}
        return {path / record.name: validate(record, known) for record in records}


def pack_records(options: argparse.Namespace) -> int:
    """Pack records into one file; nothing is written where one of them fails its checks."""
    from ..checking.known import make_known
    from ..checking.validate import validate
    from ..records.bundle import pack
    from ..records.layout import find_records

    if options.out.suffix != ".zip":
        raise UserError(f"--out {options.out}: a submission's name ends in .zip")
    known, paths = make_known(read_world(options)), find_records(options.records)
    failed = 0
    for path in paths:
        for check in validate(path, known):
            if check.state == "failed":
                failed += 1
                print(f"failed: {path.name}: {check.name}: {check.detail}")
    if failed:
        print("nothing was packed")
        return FAILED
    submission = pack(paths, options.out)
    images = sum(packed.images for packed in submission.records)
    print(f"claimed: {len(submission.records)} records of {images} images: {options.out}")
    return 0


def pack_folder(options: argparse.Namespace) -> int:
    """Move the item rows of a folder's records, and of its attacked ones, into a table, then delete their
    files; with --records their JSON, too.

    Before a new table replaces the old one, it is read back and checked to hold every record; files are
    deleted last. If the command is killed, nothing is lost, and the same command continues.
    """
    from ..records.packed.packing import pack_json
    from ..records.packed.record_table import RECORDS
    from ..records.statements import ATTACKED, list_records

    homes = [options.folder]
    if list_records(options.folder / ATTACKED):
        homes.append(options.folder / ATTACKED)
    for home in homes:
        _pack_rows(home, is_required=home == options.folder and not options.records)
    for home in homes if options.records else ():
        count, before, after = pack_json(home)
        print(f"{home / RECORDS}: {count} records; {before:,} -> {after:,} bytes")
    return 0


def _pack_rows(folder: Path, is_required: bool) -> None:
    """Move item rows into a folder's table. is_required: a folder without any is an error."""
    from ..records.packed.packing import (
        choose_rows,
        count_bytes,
        list_sheets,
        read_folder,
        verify_table,
        write_sums,
    )
    from ..records.rows import stamp, write_table
    from ..records.sheets import SUMS
    from ..records.untrusted import TABLE

    found, target = read_folder(folder), folder / TABLE
    before = count_bytes(folder)
    chosen, listed = choose_rows(found), list_sheets(folder)
    if not chosen and not is_required:
        return
    if not chosen:
        raise UserError(f"{folder}: no record in it has item rows to pack")
    with TemporaryDirectory() as place:
        scratch = Path(place) / TABLE
        write_table({rows.record.cell: rows.table for rows in chosen}, scratch)
        verify_table(scratch, chosen)
        content = scratch.read_bytes()
    if not target.exists() or target.read_bytes() != content:
        write_file(target, content)
    for rows in chosen:
        if rows.own is not None and stamp(rows.own[0]) == rows.own[1]:  # unless rewritten meanwhile
            rows.own[0].unlink()
    write_sums(folder, listed)
    apart = sorted({rows.record.cell for rows in found} - {rows.record.cell for rows in chosen})
    for cell in apart:
        print(f"left as it is: {cell}.parquet: its columns are not of the types that the table has")
    if listed:
        print(f"{folder / SUMS}: the digests of {len(listed)} contact sheets")
    print(f"{target}: the item rows of {len(chosen)} records; {before:,} -> {count_bytes(folder):,} bytes")


def pool_folder(options: argparse.Namespace) -> int:
    """Write the pooled distances next to the records; return 1 where images were missing, 0 otherwise.

    Raises UserError, and leaves existing values, where nothing could be pooled.
    """
    from ..measuring.pool import read_pooled
    from ..progress import show_progress
    from ..running.keys import pool_key
    from ..running.pooling import StoredImages, make_row, open_store, read_rows, world_of
    from ..running.session import choose_device, open_tasks, open_worlds, set_threads
    from ..store import default_folder

    by_row = read_rows(options.folder)
    name, device = world_of(options.folder, by_row), choose_device(None)
    set_threads(None)
    world = open_worlds({name}, read_world(options), device)[name]
    store = open_store(options.store or default_folder())
    place = StoredImages(world, open_tasks(read_world(options)), store, device)
    runs = [run for found in by_row.values() for run in found]
    place.check(runs)
    key = pool_key((run.origin.record.key for run in runs), [world])
    there = read_pooled(options.folder)
    if there is not None and there.key == key:
        print(f"{options.folder}: its pooled values are of these very records; nothing to do")
        return 0
    rows, done = {}, 0
    with show_progress("pooled images", sum(len(run.rows) for run in runs)) as advance:
        for name, found in by_row.items():
            parts = []
            for run in found:
                parts.append(place.take(run))
                done += len(run.rows)
                advance(done, name)
            rows[name] = make_row(found, parts)
    return _finish_pool(options.folder, key, rows, there, place)


def _finish_pool(folder: Path, key: str, rows: "dict[str, Row]", there: Any, place: "StoredImages") -> int:
    from ..measuring.pool import KD, make_pooled, write_pooled
    from ..metrics.features import LITE0, reason_without

    lacking, asked = place.lacking, place.asked
    said = f"{lacking} of {asked} images are not in the store as the records name them; `unlearnbench run` "
    said += "draws them again"
    if lacking == asked:  # most likely other versions of the libraries, which are part of an image's key
        raise UserError(f"{folder}: {said}")
    if lacking:
        key = content_key({"lacking": lacking, "key": key})  # pooled again once the images are there
    pooled = make_pooled(key, rows, there)
    path = write_pooled(folder, pooled)
    for metric, values in pooled.by_metric.items():
        numbers = sum(value.value is not None for value in values.values())
        print(f"{path}: {metric} of {numbers} rows, missing for {len(values) - numbers}")
    if KD not in pooled.by_metric:
        print(f"{KD}: {reason_without(LITE0)}")
    if lacking:
        print(said, file=sys.stderr)
    return FAILED if lacking else 0


def add_submissions(commands: Any, add_output: AddOptions, add_places: AddOptions) -> None:
    """Add validate, submit, pack, pool, rerun, retract and report-attack to the command line."""
    validate = commands.add_parser("validate", help="check records and submissions: 0 good, 1 one fails")
    validate.add_argument("paths", type=Path, nargs="+", help="records, folders of them, submissions (.zip)")
    add_places(validate, "--base-model")
    validate.set_defaults(run=validate_records)
    submit = commands.add_parser("submit", help="pack records into one file, marked as claimed")
    submit.add_argument("records", type=Path, nargs="+", help="records (CELL.json) or folders of them")
    submit.add_argument("--out", type=Path, required=True, help="file to write (.zip)")
    add_places(submit, "--base-model")
    submit.set_defaults(run=pack_records)
    pack = commands.add_parser("pack", help="keep the item rows of a folder's records in one table")
    pack.add_argument("folder", type=Path, help="folder of records, such as results/emoji")
    pack.add_argument("--records", action="store_true", help="keep their JSON in one table, too")
    pack.set_defaults(run=pack_folder)
    pool = commands.add_parser("pool", help="FD and KD of all concepts' images, from records and store")
    pool.add_argument("folder", type=Path, help="folder of records, such as results/emoji")
    pool.add_argument("--store", type=Path, help="folder of the cache that holds the images")
    add_places(pool, "--base-model")
    pool.set_defaults(run=pool_folder)
    add_rerun(commands, add_output, add_places)
    add_statements(commands)


def add_prune(commands: Any) -> None:
    parser = commands.add_parser("prune", help="remove the least recently used entries of a store")
    parser.add_argument("--store", type=Path, help="its folder (default: in the user's cache folder)")
    parser.add_argument(
        "--limit", type=float, default=20.0, metavar="GIB", help="size to cut it to (default 20)"
    )
    parser.set_defaults(run=prune_store)


def prune_store(options: argparse.Namespace) -> int:
    """Cut a store to a size; a run never does so, since others may use the store."""
    from ..store import Store, default_folder

    if not 0 <= options.limit < float("inf"):
        raise UserError(f"--limit {options.limit:g}: must be a size in GiB of at least 0")
    folder = options.store or default_folder()
    if not folder.is_dir():
        raise UserError(f"--store {folder}: there is no such folder")
    dropped = Store(folder).prune(round(options.limit * 2**30))
    print(f"{folder}: {dropped / 2**30:.2f} GiB removed")
    return 0

"""A dry run counts only what is still to be done: records here, or in a folder to resume from, are not."""

from collections.abc import Callable
from pathlib import Path

from unlearnbench.bench.planning.plan import Cell
from unlearnbench.bench.records.record import read_record, record_digest
from unlearnbench.bench.records.statements import Retracted, write_statement
from unlearnbench.bench.running.dry_run import leave_out_done
from unlearnbench.bench.running.runner import Runner


def test_records_that_count_as_done_are_left_out(
    make_runner: Callable[..., Runner], make_cell: Callable[..., Cell], tmp_path: Path
) -> None:
    done, open_ = make_cell(), make_cell(method="placebo", steps=1, checkpoints=[1])
    there = make_runner(folder=tmp_path / "there")
    there.run([done])
    assert leave_out_done(there, [done, open_]) == ([open_], {there.folder: 1})
    elsewhere = make_runner(folder=tmp_path / "new")
    assert leave_out_done(elsewhere, [done, open_]) == ([done, open_], {})
    assert leave_out_done(elsewhere, [done, open_], there.folder) == ([open_], {there.folder: 1})
    assert not elsewhere.folder.exists()  # nothing was copied
    record = read_record(there.path_of(done))
    said = Retracted(
        kind="retracted",
        about=record_digest(record),
        cell=record.cell,
        by="Ada",
        date="2026-01-01",
        reason="wrong",
    )
    write_statement(said, there.folder)
    assert leave_out_done(make_runner(folder=tmp_path / "new"), [done], there.folder) == ([done], {})

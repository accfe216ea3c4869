"""A cell on its way: what of the machine it is keyed and computed by."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
import torch

from unlearnbench.bench.errors import UserError
from unlearnbench.bench.planning.plan import read_suite
from unlearnbench.bench.records.record import name_entry, read_record
from unlearnbench.bench.running.cell_run import CellRun
from unlearnbench.bench.running.keys import cell_key, train_key
from unlearnbench.bench.running.runner import Runner
from unlearnbench.bench.running.session import set_threads

SMALL = {"steps": 1, "checkpoints": [1], "batch": 2}


def _with_threads(cell: Any, threads: int | None) -> Any:
    return replace(cell, suite=cell.suite.model_copy(update={"threads": threads}))


def test_a_suites_own_number_of_threads_is_keyed_in_place_of_the_machines(
    make_runner: Callable[..., Runner], make_cell: Any
) -> None:
    runner, cell = make_runner(), make_cell(method="finetune", **SMALL)
    stated = _with_threads(cell, 2)
    keys = {}
    for machine in (1, 2, 4):
        runner.threads = machine
        keys[machine] = [runner.train_key(cell), runner.train_key(stated), runner.cell_key(stated)]
    assert keys[1][1:] == keys[2][1:] == keys[4][1:]  # wherever the suite runs
    assert len({keys[machine][0] for machine in keys}) == 3  # no number stated: the machine's counts
    assert keys[2][0] == keys[2][1]  # a suite that states what was in use makes nothing stale
    assert runner.train_key(_with_threads(cell, 3)) != keys[1][1]


def test_a_suites_own_number_of_threads_is_used_and_recorded(
    make_runner: Callable[..., Runner], make_cell: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    runner, used, recorded = make_runner(), [], []

    def look(run: CellRun) -> None:
        used.append(torch.get_num_threads())
        raise RuntimeError("enough seen")

    monkeypatch.setattr(CellRun, "manifest", property(look))  # the first that a cell computes
    try:
        for threads in (2, None):  # the next suite, which states none, is back at the machine's number
            [outcome] = runner.run([_with_threads(make_cell(), threads)])
            recorded.append(read_record(outcome.path).environment["threads"])
    finally:
        set_threads(1)
    assert used == recorded == [2, 1]


@pytest.mark.parametrize(
    ("threads", "said"), [("0", "greater than or equal to 1"), ("99999", "less than"), ('"all"', "integer")]
)
def test_a_suites_number_of_threads_is_one(tmp_path: Any, threads: str, said: str) -> None:
    suite = tmp_path / "s.toml"
    suite.write_text(
        f'name = "s"\nthreads = {threads}\ntasks = ["classes/cat-face@tiny"]\n[[methods]]\nname = "none"\n'
    )
    with pytest.raises(UserError, match=rf"s\.toml: threads: .*{said}"):
        read_suite(suite)


def test_another_dtype_is_in_the_keys_and_opens_the_models(
    make_runner: Callable[..., Runner], make_cell: Any
) -> None:
    runner, cell = make_runner(), make_cell(method="finetune", **SMALL)
    world, on = runner.worlds["tiny"], (runner.device, runner.threads)
    plain = [runner.train_key(cell), runner.cell_key(cell)]
    assert plain == [train_key(cell, world, *on), cell_key(cell, world, runner.metrics, *on)]
    half = make_runner()
    half.dtype = "bfloat16"
    run = CellRun(half, cell)
    assert run.train_key not in plain
    assert run.key not in plain
    assert run._holder().dtype == torch.bfloat16
    assert next(run._holder().open().unet.parameters()).dtype == torch.bfloat16  # type: ignore[attr-defined]


def test_a_record_holds_its_suites_headline_and_declaration(
    make_runner: Callable[..., Runner], make_cell: Any
) -> None:
    runner, cell = make_runner(), make_cell()
    plain = CellRun(runner, cell).assemble()
    assert not {"headline", "declaration"} & plain.model_dump().keys()
    change = {"headline": "H", "declaration_sha256": "a" * 64}
    ranked = replace(cell, suite=cell.suite.model_copy(update=change))
    found = CellRun(runner, ranked).assemble()
    assert (found.headline, found.declaration) == ("H", "a" * 64)
    assert runner.train_key(ranked) == runner.train_key(cell)
    assert runner.cell_key(ranked) != runner.cell_key(cell)
    # a record says by what it was declared when it was measured: a later text makes no other record of it
    later = replace(ranked, suite=ranked.suite.model_copy(update={"declaration_sha256": "b" * 64}))
    assert runner.cell_key(later) == runner.cell_key(ranked)


def test_a_label_makes_a_row_of_its_own(make_runner: Callable[..., Runner], make_cell: Any) -> None:
    runner, cell = make_runner(), make_cell(method="finetune", **SMALL)
    plain = CellRun(runner, cell).assemble()
    assert "label" not in plain.method.model_dump()
    labelled = replace(cell, row=cell.row.model_copy(update={"label": "paper"}))
    record = CellRun(runner, labelled).assemble()
    assert (name_entry(plain), name_entry(record)) == ("finetune", "finetune (paper)")
    assert plain.cell.rsplit(".", 2)[0] == record.cell.rsplit(".", 2)[0]
    assert plain.cell != record.cell  # one folder holds both
    assert runner.train_key(labelled) == runner.train_key(cell)
    assert runner.cell_key(labelled) != runner.cell_key(cell)


def test_a_record_in_half_precision_says_what_flips_in_float32(
    make_runner: Callable[..., Runner], make_cell: Any, tmp_path: Any
) -> None:
    runner, half = (make_runner(folder=tmp_path / name) for name in ("full", "half"))
    half.dtype = "bfloat16"
    cell = make_cell(method="finetune", **SMALL)
    [plain], [found] = runner.run([cell]), half.run([cell])
    full, record = read_record(plain.path), read_record(found.path)
    assert (full.sampling["dtype"], record.sampling["dtype"]) == ("torch.float32", "torch.bfloat16")
    assert (full.status, record.status, record.error) == ("ok", "ok", None)
    assert full.precision is None
    assert record.precision is not None
    size = cell.suite.sizes
    asked = size.forget * size.forget_samples + size.retain_same + size.retain_other + size.retain_given
    assert record.precision.images == min(12, size.forget * size.forget_samples) + min(
        12, asked - size.forget * size.forget_samples
    )
    assert 0 <= record.precision.flips <= record.precision.images
    assert record.points[0].fingerprint != full.points[0].fingerprint  # of other weights
    assert half.scorer.drawn > 0
    again = make_runner(folder=tmp_path / "again")
    again.dtype = "bfloat16"
    [repeated] = again.run([cell])
    assert repeated.drawn == 0  # those in float32 are kept, too
    assert read_record(repeated.path).precision == record.precision

"""The runner: resume, unchanged cells, failures, keys that miss, corrupt entries."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from unlearnbench.bench.cli.main import main
from unlearnbench.bench.errors import UserError
from unlearnbench.bench.measuring.pool import read_pooled
from unlearnbench.bench.metrics.fd import frechet_from_features
from unlearnbench.bench.models.generators import Sampling
from unlearnbench.bench.models.sampling import Request, decode_png, image_key
from unlearnbench.bench.planning.tasks import Task
from unlearnbench.bench.records.packed.record_table import read_bytes
from unlearnbench.bench.records.record import read_items, read_record, record_digest
from unlearnbench.bench.records.sheets import check_whole
from unlearnbench.bench.running.catalog import registry
from unlearnbench.bench.running.cell_run import CellRun
from unlearnbench.bench.running.keys import train_key
from unlearnbench.bench.running.runner import Runner

SMALL = {"steps": 2, "checkpoints": [1, 2], "batch": 4}


def test_a_second_run_changes_nothing_and_draws_nothing(
    make_runner: Callable[..., Runner], make_cell: Any
) -> None:
    cells = [make_cell(), make_cell(method="finetune", **SMALL)]
    first = make_runner().run(cells)
    before = [o.path.read_bytes() for o in first]
    again = make_runner().run(cells)
    assert [o.state for o in again] == ["unchanged", "unchanged"]
    assert [o.path.read_bytes() for o in again] == before
    assert main(["pack", str(first[0].path.parent)]) == 0  # item rows in the folder's one table
    assert not first[0].path.with_suffix(".parquet").exists()
    assert [o.state for o in make_runner().run(cells)] == ["unchanged", "unchanged"]
    assert main(["pack", str(first[0].path.parent), "--records"]) == 0
    assert not first[0].path.exists()
    assert [o.state for o in make_runner().run(cells)] == ["unchanged", "unchanged"]
    assert make_runner().pending(cells) == []
    runner = make_runner()
    runner.threads = 2  # another key
    with pytest.raises(UserError, match="a packed record is never replaced; give another --out"):
        runner.pending(cells)
    [failed] = runner.run(cells[:1])
    assert (failed.state, failed.path.exists()) == ("failed", False)
    assert read_bytes(failed.path) == before[0]


@pytest.mark.parametrize("packed", [None, [], ["--records"]], ids=["loose", "items", "records"])
def test_a_run_resumes_from_another_folder_and_draws_nothing_of_it(
    make_runner: Callable[..., Runner],
    make_cell: Any,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    packed: list[str] | None,
) -> None:
    """As on another machine, whose store is empty; the other folder is not changed."""
    cells = [make_cell(), make_cell(method="finetune", **SMALL)]
    [base, trained] = make_runner(folder=tmp_path / "published").run(cells)
    own = {path: path.read_bytes() for path in (base.path, trained.path)}
    if packed is not None:
        assert main(["pack", str(tmp_path / "published"), *packed]) == 0
    assert base.path.exists() == (packed != ["--records"])
    before = {p: p.read_bytes() for p in (tmp_path / "published").rglob("*") if p.is_file()}
    monkeypatch.setattr("unlearnbench.bench.running.cell_run.train_points", pytest.fail)
    monkeypatch.setattr("unlearnbench.bench.models.points.open_pipeline", pytest.fail)
    said: list[str] = []
    runner = make_runner(folder=tmp_path / "mine", store=tmp_path / "empty", say=said.append)
    other = make_cell(method="finetune", seed=9, **SMALL)
    taken = runner.resume([*cells, other], tmp_path / "published")
    assert taken == cells, said
    assert "2 records count as done; 0 have another suite or key" in said[-1]
    again = runner.run(cells)
    assert [(o.state, o.drawn) for o in again] == [("unchanged", 0)] * 2
    for found, first in zip(again, (base, trained), strict=True):
        assert found.path.read_bytes() == own[first.path]
        check_whole(found.path, read_record(found.path))
    assert {p: p.read_bytes() for p in (tmp_path / "published").rglob("*") if p.is_file()} == before
    assert runner.pending([*cells, other]) == [other]
    assert runner.resume([*cells, other], tmp_path / "published") == cells  # their images are still not here
    assert runner.resume(cells, tmp_path / "mine") == []  # its own folder


def test_only_whole_records_of_the_same_key_count_as_done(
    make_runner: Callable[..., Runner], make_cell: Any, tmp_path: Path
) -> None:
    cell = make_cell()
    [first] = make_runner(folder=tmp_path / "published").run([cell])
    said: list[str] = []
    runner = make_runner(folder=tmp_path / "mine", say=said.append)
    runner.threads = 2  # another key
    assert runner.resume([cell], first.path.parent) == []
    assert "0 records count as done; 1 have another suite or key: not taken" in said[-1]
    runner.threads = 1
    other = replace(cell, suite=cell.suite.model_copy(update={"name": "other"}))
    assert (runner.cell_key(other), runner.resume([other], first.path.parent)) == (runner.cell_key(cell), [])
    first.path.with_suffix(".parquet").unlink()
    assert runner.resume([cell], first.path.parent) == []
    with pytest.raises(UserError, match=r"--resume .*nowhere: no such folder of records"):
        runner.resume([cell], tmp_path / "nowhere")


def test_a_withdrawn_record_does_not_count_as_done(
    make_runner: Callable[..., Runner], make_cell: Any, tmp_path: Path
) -> None:
    cell = make_cell()
    [first] = make_runner(folder=tmp_path / "published").run([cell])
    asked = ["retract", str(first.path), "--reason", "wrong judge", "--by", "tests"]
    assert main(asked) == 0
    assert make_runner(folder=tmp_path / "mine").resume([cell], first.path.parent) == []


def test_a_lost_record_is_made_again_without_drawing_or_training(
    make_runner: Callable[..., Runner], make_cell: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    cell = make_cell(method="finetune", **SMALL)
    [first] = make_runner().run([cell])
    digest = record_digest(read_record(first.path))
    first.path.unlink()
    runner = make_runner()
    monkeypatch.setattr("unlearnbench.bench.running.cell_run.train_points", pytest.fail)
    monkeypatch.setattr(
        "unlearnbench.bench.models.points.open_pipeline", pytest.fail
    )  # no diffusion model is opened
    [again] = runner.run([cell])
    assert again.state == "measured"
    assert again.drawn == 0
    assert record_digest(read_record(again.path)) == digest


def test_corrupt_store_entries_are_made_again(
    make_runner: Callable[..., Runner], make_cell: Any, tmp_path: Path
) -> None:
    cell, said, store = make_cell(method="finetune", **SMALL), [], tmp_path / "own-store"
    [first] = make_runner(store=store).run([cell])
    record = read_record(first.path)
    items = read_items(first.path, record)
    assert items is not None
    # the images of both points, and the base model's of the last one's prompts: these were told to nobody
    assert first.drawn == len(items) + int((items["point"] == 1).sum())
    digest = record_digest(record)
    first.path.unlink()
    for kind in ("images", "deltas", "manifests"):
        victim = sorted(p for p in (store / kind).rglob("*") if p.is_file())[0]
        victim.write_bytes(victim.read_bytes()[:-1] + b"x")
    [again] = make_runner(store=store, say=said.append).run([cell])
    assert again.state == "measured"
    assert record_digest(read_record(again.path)) == digest
    assert sum("is corrupt" in line for line in said) >= 2


def test_a_record_that_does_not_read_is_measured_again(
    make_runner: Callable[..., Runner], make_cell: Any
) -> None:
    said: list[str] = []
    [first] = make_runner().run([make_cell()])
    digest = record_digest(read_record(first.path))
    first.path.write_text("{ broken")
    [again] = make_runner(say=said.append).run([make_cell()])
    assert again.state == "measured"
    assert str(first.path) in said[0]
    assert record_digest(read_record(again.path)) == digest


def test_a_failing_cell_is_recorded_and_the_others_go_on(
    make_runner: Callable[..., Runner], make_cell: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    def explode(*arguments: Any) -> None:
        raise FloatingPointError("training diverged")

    monkeypatch.setattr("unlearnbench.methods.balanced.unlearn", explode)
    outcomes = make_runner().run([make_cell(method="balanced", seed=7, **SMALL), make_cell()])
    assert [o.state for o in outcomes] == [
        "failed",
        "unchanged" if outcomes[1].state == "unchanged" else "measured",
    ]
    record = read_record(outcomes[0].path)
    assert record.status == "failed"
    assert record.error == "FloatingPointError: training diverged"
    assert record.points == []
    assert "Traceback" in (outcomes[0].path.parent / "failures" / f"{record.cell}.txt").read_text()


def test_a_method_that_saves_no_point_fails(
    make_runner: Callable[..., Runner], make_cell: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("unlearnbench.methods.balanced.unlearn", lambda *arguments: None)
    [outcome] = make_runner().run([make_cell(method="balanced", seed=8, **SMALL)])
    assert "saved no point" in str(read_record(outcome.path).error)


def test_every_field_of_a_cell_changes_its_training_key(
    make_runner: Callable[..., Runner], make_cell: Any
) -> None:
    runner = make_runner()
    cell = make_cell(method="finetune", **SMALL)
    on = [runner.device, runner.threads]
    world = runner.worlds["tiny"]
    assert train_key(cell, world, *on) == runner.train_key(cell)
    assert train_key(cell, world, "cpu", 2) != train_key(cell, world, "cpu", 1)
    assert train_key(cell, world, "cuda", 2) == train_key(cell, world, "cuda", 1)
    keys = [runner.train_key(cell)]
    concept = cell.task.concept
    changed = [
        make_cell(method="finetune", seed=1, **SMALL),
        make_cell(method="finetune", **SMALL | {"rate": 2e-4}),
        make_cell(method="gradient_sum", **SMALL),
        make_cell("celebrities/santa-claus@tiny", "finetune", **SMALL),
    ]
    keys += [runner.train_key(c) for c in changed]
    for update in ({"anchor": "house"}, {"given": {"subject": ["house"]}}, {"targets": ["dog face"]}):
        task = Task(cell.task.id, cell.task.file, concept.model_copy(update=update), cell.task.suite_targets)
        keys.append(runner.train_key(type(cell)(cell.suite, task, cell.row, cell.entry, cell.seed)))
    narrow = cell.suite.model_copy(update={"data": "narrow"})
    keys.append(runner.train_key(type(cell)(narrow, cell.task, cell.row, cell.entry, cell.seed)))
    runner.threads += 1
    keys.append(runner.train_key(cell))
    assert len(set(keys)) == len(keys)


def test_base_and_point_rows_are_paired_by_prompt_and_noise(
    make_runner: Callable[..., Runner], make_cell: Any
) -> None:
    base, tuned = make_runner().run([make_cell(), make_cell(method="finetune", **SMALL)])
    rows = [read_items(o.path, read_record(o.path)) for o in (base, tuned)]
    assert rows[0] is not None
    assert rows[1] is not None
    columns = ["prompt_id", "sample", "seed", "prompt", "half"]
    first = rows[1][rows[1].point == 0]
    assert rows[0][columns].values.tolist() == first[columns].values.tolist()


def test_metric_versions_are_part_of_the_key(make_runner: Callable[..., Runner], make_cell: Any) -> None:
    runner, cell = make_runner(), make_cell()
    before = runner.cell_key(cell)
    metrics = registry("metrics")
    entry = metrics["UA"]
    metrics._entries["UA"] = type(entry)(**{**vars(entry), "version": entry.version + 1})
    runner.metrics = metrics
    assert runner.cell_key(cell) != before


def test_a_new_target_of_the_world_changes_the_keys_of_references_too(
    make_runner: Callable[..., Runner], make_cell: Any
) -> None:
    """No retain prompt shows a target of any task: with another one the prompts are others."""
    runner, cell = make_runner(), make_cell()
    task = replace(cell.task, suite_targets=cell.task.suite_targets | {"robot"})
    assert runner.cell_key(replace(cell, task=task)) != runner.cell_key(cell)


def test_fd_is_pooled_over_concepts_from_the_shown_points(
    make_runner: Callable[..., Runner],
    make_cell: Any,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    tasks = ("classes/cat-face@tiny", "celebrities/santa-claus@tiny")
    shown = {"shown": 2}
    cells = []
    for task in tasks:
        cell = make_cell(task=task, method="finetune", **SMALL)
        cells += [make_cell(task=task), replace(cell, row=cell.row.model_copy(update=shown))]
    runner = make_runner()
    runner.run(cells)
    runner.pool(cells)
    few = read_pooled(runner.folder)
    assert few is not None
    assert "FD would be bias" in str(few.fd["none"].missing)  # a dozen images are far too few
    monkeypatch.setattr("unlearnbench.bench.measuring.pool.IMAGES_PER_FEATURE", 0)
    (runner.folder / "pooled" / "fd.json").unlink()
    runner.pool(cells)
    found = read_pooled(runner.folder)
    assert found is not None
    assert set(found.fd) == {"none", "finetune"}
    world, parts = registry("worlds")["tiny"].load()(), []
    for cell in cells[1::2]:
        record = read_record(runner.folder / f"{cell.stem}.json")
        items = read_items(runner.folder / f"{cell.stem}.json", record)
        assert items is not None
        last = items[(items["point"] == 1) & (items["split"] == "retain") & ~items["given"].astype(bool)]
        images = [_image(runner, record.points[1].fingerprint, row) for row in last.to_dict("records")]
        parts.append(
            (world.open_judge(cell.task).judge(np.stack(images)).features, world.reference(cell.task))
        )
    length = min(len(reference) for _, reference in parts)
    expected = frechet_from_features(
        np.concatenate([drawn for drawn, _ in parts]),
        np.concatenate([reference[:length] for _, reference in parts]),
    )
    assert found.fd["finetune"].value == pytest.approx(expected, rel=1e-6)
    before = (runner.folder / "pooled" / "fd.json").read_bytes()
    monkeypatch.setattr(CellRun, "_score", pytest.fail)
    make_runner().pool(cells)  # equal records: nothing is read again
    assert (runner.folder / "pooled" / "fd.json").read_bytes() == before
    # `pool` makes the same of records and store, and says so
    command = ["pool", str(runner.folder), "--store", str(runner.store.folder)]
    assert main(command) == 0
    assert "nothing to do" in capsys.readouterr().out
    (runner.folder / "pooled" / "fd.json").unlink()
    assert main(command) == 0
    again = read_pooled(runner.folder)
    assert again is not None
    assert (again.key, again.made_from, set(again.fd)) == (found.key, found.made_from, set(found.fd))
    for name, value in found.fd.items():
        assert again.fd[name].value == pytest.approx(value.value, rel=1e-6)


def _image(runner: Runner, fingerprint: str, row: dict[str, Any]) -> np.ndarray:
    """Return a row's image from the store."""
    world = registry("worlds")["tiny"].load()()
    sampling = Sampling(world.steps, world.guidance, world.pixels, world.pixels)
    request = Request(row["prompt"], row["seed"])
    stored = runner.store.get("images", image_key(fingerprint, sampling, "torch.float32", "cpu", request))
    assert stored is not None
    return decode_png(stored)

"""Pixels that are not finite are failures: what is measured on them is missing, never forgotten."""

import sys
from collections.abc import Callable
from dataclasses import replace
from datetime import date
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch

from unlearnbench.bench.cli.main import main
from unlearnbench.bench.gate.check import Side, check, verdict
from unlearnbench.bench.gate.policy import Policy
from unlearnbench.bench.models.generators import Generator, Sampling, open_pipeline
from unlearnbench.bench.models.sampling import Request, draw_batch
from unlearnbench.bench.records.record import (
    Record,
    items_digest,
    read_items,
    read_record,
    record_digest,
    write_record,
)
from unlearnbench.bench.running.catalog import registry
from unlearnbench.bench.running.runner import Runner

from ..methods.tiny import build_pipeline

FORGET = ("UA", "UA_other", "UA_nothing", "in_prompt", "collapse", "collapse_images", "collapse_variance")
RETAIN = ("VA", "VA_given", "IRA", "AS", "AS_delta", "AS_chance", "KID", "KID_base")


@pytest.fixture(scope="module")
def base() -> Path:
    return Path(registry("worlds")["tiny"].load()().pipeline_folder)


@pytest.fixture(scope="module")
def nan_word(base: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The tiny world's model with a NaN in the embedding of each word that names its target alone."""
    pipeline = open_pipeline(base, "cpu")
    cat, dog = pipeline.tokenizer(
        ["a cat face on a red background", "a dog face on a red background"]
    ).input_ids
    words = pipeline.text_encoder.get_input_embeddings().weight
    for token in set(cat) - set(dog):
        words.data[token, 0] = float("nan")
    folder = tmp_path_factory.mktemp("nan") / "nan-word"
    pipeline.save_pretrained(folder)
    return folder


@pytest.fixture(scope="module")
def nan_weights(base: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The tiny world's model with a NaN in its denoiser: every image fails."""
    pipeline = open_pipeline(base, "cpu")
    name = next(n for n, _ in pipeline.unet.named_parameters() if "mid_block" in n and n.endswith("weight"))
    dict(pipeline.unet.named_parameters())[name].data.view(-1)[0] = float("nan")
    folder = tmp_path_factory.mktemp("nan") / "nan-weights"
    pipeline.save_pretrained(folder)
    return folder


def _evaluate(runner: Runner, cell: Any, model: str) -> tuple[Path, Record, pd.DataFrame]:
    row = cell.row.model_copy(update={"name": "mine", "config": {"model": Path(model).name}})
    [outcome] = runner.run([replace(cell, row=row, models=(model,))])
    record = read_record(outcome.path)
    assert record.status == "ok", record.error
    items = read_items(outcome.path, record)
    assert items is not None
    return outcome.path, record, items


def test_a_model_that_fails_on_the_targets_prompts_forgets_nothing(
    make_runner: Callable[..., Runner], make_cell: Any, nan_word: Path, tmp_path: Path
) -> None:
    said: list[str] = []
    runner = make_runner(store=tmp_path / "store", say=said.append)
    path, record, items = _evaluate(runner, make_cell(), str(nan_word))
    [point] = record.points
    forget = (items["split"] == "forget").to_numpy()
    failed = (items["image_sha256"] == "").to_numpy()
    assert (failed == forget).all()
    assert point.failed_images == forget.sum()
    text = f"{failed.sum()} of {forget.sum()} images have pixels that are not finite"
    assert any("images have pixels that are not finite" in line for line in said)
    for name in FORGET:
        assert point.values[name].value is None, name
        assert "images have pixels that are not finite" in str(point.values[name].missing), name
    assert point.values["UA"].missing == text
    for name in RETAIN:  # these sets hold no failed image
        assert point.values[name].value is not None, name
    for column in (
        "found_subject",
        "found_style",
        "found_background",
        "target_found",
        "alignment",
        "flatness",
    ):
        assert items.loc[failed, column].isna().all(), column
        assert column == "target_found" or items.loc[~failed, column].notna().all(), column
    assert main(["validate", str(path.parent)]) == 0

    path.unlink()
    again = make_runner(folder=path.parent, store=tmp_path / "store")
    [outcome] = again.run([_cell_of(make_cell(), nan_word)])
    assert outcome.drawn == 0  # the store remembers the failures
    assert record_digest(read_record(path)) == record_digest(record)


def _cell_of(cell: Any, model: Path) -> Any:
    row = cell.row.model_copy(update={"name": "mine", "config": {"model": model.name}})
    return replace(cell, row=row, models=(str(model),))


def test_a_run_that_was_broken_gives_what_an_unbroken_one_gives(
    make_runner: Callable[..., Runner], make_cell: Any, nan_word: Path, tmp_path: Path
) -> None:
    store = tmp_path / "store"
    path, record, _ = _evaluate(make_runner(store=store), make_cell(), str(nan_word))
    images = sorted(p for p in (store / "images").rglob("*") if p.is_file())
    for image in images[::2]:
        image.unlink()
    path.unlink()
    _, again, _ = _evaluate(make_runner(folder=path.parent, store=store), make_cell(), str(nan_word))
    assert record_digest(again) == record_digest(record)


def test_a_model_that_fails_on_every_prompt_has_no_value(
    make_runner: Callable[..., Runner], make_cell: Any, nan_weights: Path, tmp_path: Path
) -> None:
    path, record, items = _evaluate(make_runner(store=tmp_path / "store"), make_cell(), str(nan_weights))
    [point] = record.points
    assert point.failed_images == len(items)
    assert {name for name, value in point.values.items() if value.value is not None} == set()
    assert main(["validate", str(path.parent)]) == 0


def test_readers_of_records_and_stores_cope(
    make_runner: Callable[..., Runner], make_cell: Any, nan_word: Path, tmp_path: Path
) -> None:
    store, folder = tmp_path / "store", tmp_path / "records"
    make_runner(folder=folder, store=store).run([make_cell()])
    path, _, _ = _evaluate(make_runner(folder=folder, store=store), make_cell(), str(nan_word))
    out = tmp_path / "site"
    assert main(["site", str(folder), "--out", str(out)]) == 0
    assert main(["leaderboard", str(folder)]) == 0
    asked = ["label", str(path), "--who", "N N", "--store", str(store), "--out", str(tmp_path / "l.json")]
    assert main(asked) == 2  # nobody is asked about an image that failed


@pytest.mark.parametrize("policy", ["brand-safety", "legal-removal", "research", "model-update"])
def test_check_cannot_tell(
    policy: str, make_runner: Callable[..., Runner], make_cell: Any, nan_word: Path, tmp_path: Path
) -> None:
    folder = tmp_path / "records"
    [first] = make_runner(folder=folder).run([make_cell()])
    path, _, _ = _evaluate(make_runner(folder=folder), make_cell(), str(nan_word))
    rules = tmp_path / "policy.toml"
    rules.write_text('name = "t"\n[[rules]]\nmetric = "UA"\nat_least = 0.5\n')
    command = ["check", "--baseline", str(first.path), "--candidate", str(path), "--store", str(tmp_path)]
    assert main([*command, "--policy", str(rules)]) == 2
    assert main([*command, "--policy", policy]) in (1, 2)


@pytest.mark.parametrize("metric", ["UA", "VA", "IRA", "in_prompt", "AS"])
def test_images_that_fail_on_both_sides_are_no_pairs(
    metric: str, make_runner: Callable[..., Runner], make_cell: Any
) -> None:
    """Left out, they would let a model pass on what is left."""
    [outcome] = make_runner().run([make_cell()])
    record = read_record(outcome.path)
    items = read_items(outcome.path, record)
    assert items is not None
    items = items.reset_index(drop=True)
    split = "forget" if metric in ("UA", "in_prompt") else "retain"
    lost = items.index[(items["split"] == split) & ~items["given"].astype(bool)][:1]
    for column in ("found_subject", "found_style", "found_background", "target_found"):
        items[column] = items[column].astype(object)
        items.loc[lost, column] = None
    items.loc[lost, ["alignment", "alignment_shuffled", "flatness"]] = np.nan
    items.loc[lost, "image_sha256"] = ""
    sides = [Side(name, dict(record.points[0].values), items) for name in ("before", "after")]
    found = check(
        Policy.model_validate({"name": "t", "rules": [{"metric": metric, "drop_at_most": 0.5}]}),
        *sides,
        today=date(2026, 1, 1),
    )
    assert verdict(found) == 2
    assert "images have pixels that are not finite" in found[0].reason


SETTINGS = Sampling(steps=2, guidance=2.0, height=16, width=16)


@pytest.mark.parametrize("bad", [float("nan"), float("inf"), float("-inf")])
def test_a_decoder_that_overflows_fails_its_image_alone(bad: float, tmp_path: Path) -> None:
    """The pipeline clamps what it decodes to [0, 1]: an overflow would look white or black."""
    pipeline = build_pipeline(tmp_path)
    pipeline.unet.eval()
    decode = pipeline.vae.decode

    def overflow(latents: torch.Tensor, *arguments: Any, **named: Any) -> Any:
        found = decode(latents, *arguments, **named)
        found[0][1, 0, 3, 4] = bad
        return found

    requests = [Request("a cat", seed) for seed in range(3)]
    sound = draw_batch(Generator(pipeline, SETTINGS, "f"), requests)
    pipeline.vae.decode = overflow
    images = draw_batch(Generator(pipeline, SETTINGS, "f"), requests)
    assert [image is None for image in images] == [False, True, False]
    assert np.array_equal(images[0], sound[0])
    assert np.array_equal(images[2], sound[2])
    assert "postprocess" not in vars(pipeline.image_processor)


FUNCTIONS = """
import numpy as np

def nothing(prompts, seeds):
    return None

def nan(prompts, seeds):
    return np.full((len(prompts), 32, 32, 3), np.nan)

def fewer(prompts, seeds):
    return [np.zeros((32, 32, 3), np.uint8)] * (len(prompts) - 1)

def holes(prompts, seeds):
    return [None] * len(prompts)

def outside(prompts, seeds):
    return np.full((len(prompts), 32, 32, 3), 7.0, np.float32)

def signed(prompts, seeds):
    return np.full((len(prompts), 32, 32, 3), -1, np.int16)
"""


@pytest.mark.parametrize("name", ["nothing", "nan", "fewer", "holes", "outside", "signed"])
def test_a_function_that_gives_no_images_is_refused(
    name: str,
    make_runner: Callable[..., Runner],
    make_cell: Any,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    module = f"bad_images_{name}"
    (tmp_path / f"{module}.py").write_text(FUNCTIONS)
    monkeypatch.syspath_prepend(str(tmp_path))
    model = f"{module}:{name}"
    row = make_cell().row.model_copy(update={"name": "mine", "config": {"model": name}})
    [outcome] = make_runner().run([replace(make_cell(), row=row, models=(model,))])
    sys.modules.pop(module, None)
    record = read_record(outcome.path)
    assert record.status == "failed"
    assert str(record.error).startswith("UserError:")
    assert f"{model}: gave " in str(record.error)


def test_a_constant_image_is_judged_and_counts_for_the_collapse_check(
    make_runner: Callable[..., Runner], make_cell: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "constant_images.py").write_text(
        "import numpy as np\n\ndef red(prompts, seeds):\n"
        "    return [np.full((32, 32, 3), (255, 0, 0), np.uint8) for _ in prompts]\n"
    )
    monkeypatch.syspath_prepend(str(tmp_path))
    _, record, items = _evaluate(make_runner(), make_cell(), "constant_images:red")
    [point] = record.points
    assert point.failed_images == 0
    assert items["found_subject"].notna().all()
    assert point.values["UA"].value is not None
    assert point.values["collapse"].value == 0.0


def test_what_trains_on_images_that_fail_is_refused(tmp_path: Path, nan_weights: Path) -> None:
    out = tmp_path / "out"
    command = ["unlearn", "--model", str(nan_weights), "--concept", "cat face", "--method", "finetune"]
    assert main([*command, "--out", str(out), "--images", "2"]) == 2
    assert not out.exists()


CONTRADICTIONS: dict[str, Callable[[pd.DataFrame, Any], None]] = {
    "an answer": lambda items, lost: items.__setitem__(
        "found_subject", items["found_subject"].astype(object).mask(lost, "dog face")
    ),
    "a flatness": lambda items, lost: items.__setitem__("flatness", items["flatness"].mask(lost, 0.2)),
    "a cosine": lambda items, lost: items.__setitem__("alignment", items["alignment"].mask(lost, 0.2)),
    "no flatness of an image that is there": lambda items, lost: items.__setitem__(
        "flatness", items["flatness"].where(lost, np.nan)
    ),
}


@pytest.mark.parametrize("name", CONTRADICTIONS)
def test_contradictory_rows_are_refused(
    name: str, make_runner: Callable[..., Runner], make_cell: Any, nan_word: Path, tmp_path: Path, capsys: Any
) -> None:
    path, record, items = _evaluate(make_runner(folder=tmp_path / "r"), make_cell(), str(nan_word))
    CONTRADICTIONS[name](items, items["image_sha256"] == "")
    forged = record.model_copy(update={"items_sha256": items_digest(items)})
    write_record(forged, items, path.with_suffix(".webp").read_bytes(), path.parent)
    assert main(["validate", str(path.parent)]) == 1
    assert "items:" in capsys.readouterr().out


def test_a_record_that_counts_its_failures_wrongly_is_refused(
    make_runner: Callable[..., Runner], make_cell: Any, nan_word: Path, tmp_path: Path, capsys: Any
) -> None:
    path, record, _ = _evaluate(make_runner(folder=tmp_path / "r"), make_cell(), str(nan_word))
    points = [record.points[0].model_copy(update={"failed_images": 1})]
    write_record(record.model_copy(update={"points": points}), None, None, path.parent)
    assert main(["validate", str(path.parent)]) == 1
    assert "failed_images" in capsys.readouterr().out

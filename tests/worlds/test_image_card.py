"""What a made world carries, what of it is measured and refused, and what its export leaves alone."""

import json
import re
import shutil
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from safetensors.torch import load_file, save_file

from unlearnbench.bench.cli.main import main
from unlearnbench.bench.errors import UserError
from unlearnbench.bench.judges.image_classifier import ClassifierNetwork, ImageJudge, open_judge
from unlearnbench.bench.planning.tasks import PromptSizes
from unlearnbench.bench.running.catalog import task_registry
from unlearnbench.bench.worlds import emoji as emoji_package
from unlearnbench.bench.worlds.images import pretrain as pretraining
from unlearnbench.bench.worlds.images import spec as specs
from unlearnbench.bench.worlds.images import world as worlds
from unlearnbench.bench.worlds.images.data import LabelledImages, Part
from unlearnbench.bench.worlds.images.spec import SETTINGS, ClassCaptioner, load_settings

CLASSES = ["disc", "open ring", "square"]
EMOJI_DATA = Path(emoji_package.__file__).with_name("data")


def test_how_much_garbage_the_judge_names_is_measured_and_shown(
    made: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    negatives = json.loads((made / "world.json").read_text())["classifier"]["garbage"]
    kinds = negatives["by_kind"]
    assert {kind for kind in kinds if kind.endswith("in pixels")} == {
        f"{kind}, in pixels" for kind in ("noise", "blank", "blobs", "shuffled")
    }
    assert {kind for kind in kinds if kind.endswith("in latents")} == {
        f"{kind}, in latents"
        for kind in ("blobs", "noise", "saturated", "buried in noise", "shuffled", "inverted")
    }
    assert {kind: row["images"] for kind, row in kinds.items()} == {
        kind: 1 if kind == "blank, in pixels" else 3 for kind in kinds
    }
    hits = sum(row["named"] * row["images"] for row in kinds.values())
    assert negatives["images"] == 28
    assert negatives["named"] * 28 == pytest.approx(hits, abs=1e-3)
    assert main(["quality", str(made), "--images", "3", "--threads", "1"]) == 0
    shown = capsys.readouterr().out
    assert re.search(rf"garbage that its judge names +{negatives['named']:.4f} .* 28 ", shown)
    assert "buried in noise, in latents" in shown


def test_what_the_judge_names_in_garbage_is_counted_by_kind(monkeypatch: pytest.MonkeyPatch) -> None:
    """A judge that names what is bright, of one image dark and of two images bright."""
    images = {
        "dark, in pixels": torch.zeros(1, 3, 16, 16, dtype=torch.uint8),
        "bright, in pixels": torch.full((2, 3, 16, 16), 255, dtype=torch.uint8),
    }
    monkeypatch.setattr(pretraining, "negative_kinds", lambda *_: images)
    network = ClassifierNetwork(16, 2, 8)
    card = {"version": 1, "pixels": 16, "classes": ["a", "b"], "temperature": 1.0, "threshold": 0.5}
    judge = ImageJudge(card, network)

    def bright(x: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        level = x.mean((1, 2, 3))
        return torch.stack([9 * level, 0 * level, 0 * level], 1), level[:, None]

    monkeypatch.setattr(network, "judge", bright)
    spec = load_settings(SETTINGS, "x", ["a", "b"])
    part = Part(torch.zeros(4, 3, 16, 16, dtype=torch.uint8), torch.tensor([0, 1, 0, 1]))
    recipe = SimpleNamespace(spec=spec, data=LabelledImages("idx", ["a", "b"], part, part), autoencoder=None)
    measured = pretraining.measure_negatives(recipe, judge, part)  # type: ignore[arg-type]
    assert measured == {
        "named": 0.666667,
        "images": 3,
        "by_kind": {
            "dark, in pixels": {"named": 0.0, "images": 1},
            "bright, in pixels": {"named": 1.0, "images": 2},
        },
    }


def test_a_made_world_keeps_the_words_that_it_was_trained_in(
    made: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    task = task_registry(made)["classes/disc@shapes"]
    sizes = PromptSizes(forget=4, retain_same=4)
    before, words = worlds.open_folder(made).prompts(task, sizes), ClassCaptioner(CLASSES).words
    inputs = worlds.open_folder(made).inputs(task)
    edited = words.model_copy(update={"evaluation": ["a sculpture of {s}"], "train": ["a sculpture: {n}"]})
    monkeypatch.setattr(specs, "load_wordings", lambda: edited)
    assert worlds.open_folder(made).prompts(task, sizes) == before
    assert worlds.open_folder(made).inputs(task) == inputs
    # a card of an earlier version holds no wordings: the package's count, and stand in every key
    for part in ("tasks.json", "world.json"):
        (tmp_path / part).write_bytes((made / part).read_bytes())
    card = json.loads((made / "world.json").read_text())
    (tmp_path / "world.json").write_text(json.dumps({k: v for k, v in card.items() if k != "captions"}))
    older = worlds.open_folder(tmp_path)
    assert older.prompts(task, sizes)[0].text == "a sculpture of a disc"
    assert older.inputs(task) == inputs | {"captions": edited.model_dump()}


def test_a_folder_that_holds_no_made_world_is_one_line(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["quality", str(EMOJI_DATA / "tiny")]) == 2
    said = capsys.readouterr().err
    assert f"{EMOJI_DATA / 'tiny' / 'world.json'}: pixels: Field required" in said
    assert "needed: a world that `pretrain images` made" in said
    (tmp_path / "world.json").write_text('{"world": ')
    for command in (["quality", str(tmp_path)], ["run", "--world-folder", str(tmp_path)]):
        assert main(command) == 2
        said = capsys.readouterr().err
        assert f"{tmp_path / 'world.json'}: (top level): Invalid JSON" in said
        assert len(said.strip().splitlines()) == 1


def test_a_pipeline_finds_the_made_world_beside_it(made: Path) -> None:
    found = worlds.world_of_pipeline(made / "pipeline")
    assert found is not None
    assert (found.id, found.folder, found.steps) == ("shapes@1", made, 2)
    assert worlds.world_of_pipeline(made / "judges") is None
    assert worlds.world_of_pipeline(made) is None
    assert worlds.world_of_pipeline(made / "absent" / "pipeline") is None
    assert worlds.world_of_pipeline(EMOJI_DATA / "tiny" / "pipeline") is None


def test_a_world_is_written_in_place_of_itself_alone(
    made: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    root, out = made.parents[1], tmp_path / "out"
    command = ["pretrain", "images", "--data", str(root / "data"), "--work", str(root), "--threads", "1"]
    command += ["--settings", str(root / "small.toml"), "--out", str(out), "--name"]
    shutil.copytree(EMOJI_DATA / "tiny", out)
    assert main([*command, "shapes"]) == 2
    assert f"--out {out}: is there already and is no world that" in capsys.readouterr().err
    assert {p.name for p in out.iterdir()} == {p.name for p in (EMOJI_DATA / "tiny").iterdir()}
    shutil.rmtree(out)
    shutil.copytree(made, out)
    assert main([*command, "forms"]) == 2
    assert f"--out {out}: holds the world shapes, not forms" in capsys.readouterr().err
    (out / "suite.toml").unlink()
    (tmp_path / "out.tmp").mkdir()
    (tmp_path / "out.tmp" / "mine").touch()
    assert main([*command, "shapes"]) == 0
    assert (out / "suite.toml").read_bytes() == (made / "suite.toml").read_bytes()
    assert json.loads((out / "world.json").read_text()) == json.loads((made / "world.json").read_text())
    assert (tmp_path / "out.tmp" / "mine").is_file()
    assert sorted(p.name for p in tmp_path.iterdir()) == ["out", "out.tmp"]


@pytest.mark.parametrize("fault", ["lacking", "other shape", "unknown"])
def test_a_judge_of_which_weights_lack_is_refused(made: Path, tmp_path: Path, fault: str) -> None:
    (tmp_path / "classifier.json").write_bytes((made / "judges" / "classifier.json").read_bytes())
    weights = load_file(made / "judges" / "classifier.safetensors")
    assert not any("num_batches_tracked" in name for name in weights)
    save_file(weights, tmp_path / "classifier.safetensors")
    open_judge(tmp_path)
    if fault == "unknown":
        weights["tail.bias"] = torch.zeros(1)
    elif fault == "other shape":
        weights["head.weight"] = weights["head.weight"][:2].clone()
    else:
        del weights["head.weight"]
    save_file(weights, tmp_path / "classifier.safetensors")
    name = "tail.bias" if fault == "unknown" else "head.weight"
    with pytest.raises(UserError, match=rf"classifier\.safetensors: not this .*{name}") as caught:
        open_judge(tmp_path)
    assert "\n" not in str(caught.value)

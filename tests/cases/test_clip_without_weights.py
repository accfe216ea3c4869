"""A judge's CLIP without weights is refused before anything is drawn, and `doctor` says what is missing."""

import json
import shutil
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import open_clip
import pytest
import torch
from safetensors.torch import load_file, save_file, save_model

from unlearnbench.bench.cli.main import main
from unlearnbench.bench.errors import UserError
from unlearnbench.bench.judges.packages import Package
from unlearnbench.bench.judges.zero_shot import ClipScorer
from unlearnbench.bench.models.clip import check_clip
from unlearnbench.bench.models.hub import Source
from unlearnbench.bench.running.catalog import registry

from ..methods.tiny import build_pipeline

CONFIG: dict[str, Any] = {
    "model_cfg": {
        "embed_dim": 16,
        "vision_cfg": {"image_size": 32, "layers": 1, "width": 16, "head_width": 8, "patch_size": 16},
        "text_cfg": {"context_length": 77, "vocab_size": 49408, "width": 16, "heads": 2, "layers": 1},
    },
    "preprocess_cfg": {"mean": [0.48, 0.46, 0.41], "std": [0.27, 0.26, 0.28]},
}
WEIGHTS = "open_clip_model.safetensors"
ID = "laion/CLIP-ViT-B-32-laion2B-s34B-b79K"


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a tiny model and a tiny open_clip model."""
    root = tmp_path_factory.mktemp("made")
    (root / "tokenizer").mkdir()
    build_pipeline(root / "tokenizer").save_pretrained(root / "model")
    (root / "clip").mkdir()
    (root / "clip" / "open_clip_config.json").write_text(json.dumps(CONFIG))
    torch.manual_seed(0)
    save_model(open_clip.CLIP(**CONFIG["model_cfg"]), str(root / "clip" / WEIGHTS))
    return root


@pytest.fixture
def clip(made: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(made / "clip", tmp_path / "clip"))


def _doctor(made: Path, clip: Path | str, capsys: pytest.CaptureFixture[str]) -> tuple[int, str]:
    places = ["--model", str(made / "model"), "--clip", str(clip)]
    status = main(["doctor", "--task", "classes/tench@sd14", *places])
    return status, capsys.readouterr().out


def _change(clip: Path, change: Callable[[dict[str, torch.Tensor]], Any]) -> None:
    tensors = load_file(clip / WEIGHTS)
    change(tensors)
    save_file(tensors, clip / WEIGHTS)


def _pickle(clip: Path) -> None:
    torch.save(load_file(clip / WEIGHTS), clip / "open_clip_pytorch_model.bin")
    (clip / WEIGHTS).unlink()


def _configure(clip: Path, part: str, **values: Any) -> None:
    config = json.loads((clip / "open_clip_config.json").read_text())
    config["model_cfg"][part] |= values
    (clip / "open_clip_config.json").write_text(json.dumps(config))


DAMAGES: dict[str, tuple[Callable[[Path], Any], str]] = {
    "no weights": (lambda c: (c / WEIGHTS).unlink(), "has no weights"),
    "no configuration": (lambda c: (c / "open_clip_config.json").unlink(), "no open_clip_config"),
    "configuration is a list": (lambda c: (c / "open_clip_config.json").write_text("[]"), "holds a list"),
    "configuration is empty": (lambda c: (c / "open_clip_config.json").write_text("{}"), "model_cfg"),
    "truncated": (lambda c: (c / WEIGHTS).write_bytes((c / WEIGHTS).read_bytes()[:-9]), "not a whole"),
    "empty": (lambda c: (c / WEIGHTS).write_bytes(b""), "not a whole"),
    "dangling": (
        lambda c: ((c / WEIGHTS).unlink(), (c / WEIGHTS).symlink_to("../blobs/1a.incomplete")),
        "is missing|has no weights",
    ),
    "pickled": (_pickle, "weights are opened only from .safetensors"),
    "a tensor lost": (lambda c: _change(c, lambda t: t.pop("ln_final.bias")), "ln_final.bias: not in both"),
    "a tensor more": (lambda c: _change(c, lambda t: t.update(x=torch.zeros(1))), "x: not in both"),
    "of another width": (lambda c: _configure(c, "text_cfg", width=32), "has the shape"),
    "of another depth": (lambda c: _configure(c, "vision_cfg", layers=2), "not in both"),
    "for larger images": (lambda c: _configure(c, "vision_cfg", image_size=64), "positional_embedding"),
    "for longer prompts": (lambda c: _configure(c, "text_cfg", context_length=99), "positional_embedding"),
    "a part of the hub's": (lambda c: _configure(c, "text_cfg", hf_model_name="a/b"), "hf_model_name"),
    "of another kind": (
        lambda c: save_file({f"model.{i}.weight": torch.zeros(2) for i in range(9)}, c / WEIGHTS),
        "clip",
    ),
}


@pytest.mark.parametrize("damage", DAMAGES)
def test_a_clip_that_is_not_whole_is_refused(clip: Path, damage: str) -> None:
    change, said = DAMAGES[damage]
    change(clip)
    with pytest.raises(UserError, match=said) as raised:
        ClipScorer(clip)
    assert str(clip) in str(raised.value)
    assert "\n" not in str(raised.value)


def test_a_whole_clip_holds_its_file(clip: Path) -> None:
    assert check_clip(clip) == clip / WEIGHTS
    state = ClipScorer(clip).model.state_dict()
    assert all(torch.equal(state[name], tensor) for name, tensor in load_file(clip / WEIGHTS).items())


def test_nothing_is_drawn_for_a_judge_without_weights(
    made: Path, clip: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (clip / WEIGHTS).unlink()
    places = ["--clip", str(clip), "--data", str(tmp_path), "--out", str(tmp_path / "r")]
    command = ["run", "--task", "classes/tench@sd14", "--method", "none", "--model", str(made / "model")]
    status = main([*command, *places, "--sampling-steps", "1", "--store", str(tmp_path / "s")])
    assert status != 0
    assert "has no weights" in capsys.readouterr().err
    assert not list((tmp_path / "s").glob("images/*/*"))
    assert not list((tmp_path / "r").glob("*.json"))


def test_doctor_names_what_is_not_whole(made: Path, clip: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert _doctor(made, clip, capsys)[0] == 0
    (clip / WEIGHTS).unlink()
    status, said = _doctor(made, clip, capsys)
    assert status == 1
    assert "has no weights" in said
    assert "1 of 2 missing" in said


def test_doctor_names_a_model_that_is_not_whole(
    made: Path, clip: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    shutil.copytree(made / "model", tmp_path / "model")
    weights = tmp_path / "model" / "vae" / "diffusion_pytorch_model.safetensors"
    weights.write_bytes(weights.read_bytes()[:-8])
    status, said = _doctor(tmp_path, clip, capsys)
    assert status == 1
    assert "NOT WHOLE" in said
    assert "vae/diffusion_pytorch_model.safetensors: not a whole" in said


def _cache(root: Path, clip: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Lay a folder out as the hub's cache does, and return its snapshot."""
    place = root / "hub" / f"models--{ID.replace('/', '--')}"
    snapshot = place / "snapshots" / "1a2b3c"
    snapshot.mkdir(parents=True)
    (place / "refs").mkdir()
    (place / "blobs").mkdir()
    (place / "refs" / "main").write_text("1a2b3c")
    for path in clip.iterdir():
        shutil.copy(path, place / "blobs" / path.name)
        (snapshot / path.name).symlink_to(Path("../../blobs") / path.name)
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(root / "hub"))
    return snapshot


@pytest.mark.parametrize("state", ["whole", "without weights", "half fetched"])
def test_a_snapshot_in_the_hubs_cache_is_whole_or_missing(
    made: Path,
    clip: Path,
    tmp_path: Path,
    state: str,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    snapshot = _cache(tmp_path, clip, monkeypatch)
    if state == "without weights":
        (snapshot / WEIGHTS).unlink()
    elif state == "half fetched":
        blob = snapshot.parent.parent / "blobs" / WEIGHTS
        blob.rename(blob.with_name(f"{WEIGHTS}.incomplete"))
    status, said = _doctor(made, ID, capsys)
    assert (status == 0) == (state == "whole"), said
    assert ("NOT WHOLE" in said) == (state != "whole")


def test_weights_that_a_package_or_the_user_brings_are_whole(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.syspath_prepend(tmp_path)
    (tmp_path / "hollow_package").mkdir()
    (tmp_path / "hollow_package" / "__init__.py").write_text("")
    package = Package("judge", "hollow_package", "", False, "nudity", "nudenet")
    assert package.folder is not None
    assert "320n.onnx: not there" in package.fault
    (tmp_path / "hollow_package" / "320n.onnx").write_bytes(b"half")
    assert "sha256 differs" in package.fault
    assert "hollow_package" not in sys.modules


@pytest.mark.parametrize("judge", ["resnet50@1", "unlearncanvas@1"])
def test_a_judges_own_files_are_whole(tmp_path: Path, judge: str) -> None:
    from unlearnbench.bench.judges.packages import judge_sources

    name = judge.partition("@")[0]
    (tmp_path / name).mkdir()
    files = {"resnet50": ["model"], "unlearncanvas": ["style", "object"]}[name]
    for file in files:
        save_file({"a": torch.zeros(9)}, tmp_path / name / f"{file}.safetensors")

    def faults() -> list[str]:
        return [source.fault for source in judge_sources(judge, tmp_path) if source.fault]

    assert faults() == []
    path = tmp_path / name / f"{files[0]}.safetensors"
    path.write_bytes(path.read_bytes()[:-4])
    assert len(faults()) == 1
    assert "not a whole" in faults()[0]
    path.unlink()
    torch.save({"a": torch.zeros(99)}, tmp_path / name / f"{files[0]}.pth")
    pickled = tmp_path / name / f"{files[0]}.pth"
    pickled.write_bytes(pickled.read_bytes()[:-30])
    assert len(faults()) == 1


def test_cleanfids_archive_is_whole(made: Path, clip: Path, tmp_path: Path) -> None:
    network = torch.jit.script(torch.nn.Linear(2, 2))
    torch.jit.save(network, str(tmp_path / "inception-2015-12-05.pt"))
    world = registry("worlds")["sd14"].load()()
    placed = world.placed(source=made / "model", clip=clip, data=tmp_path)
    assert placed.digest
    path = tmp_path / "inception-2015-12-05.pt"
    path.write_bytes(path.read_bytes()[:-30])
    with pytest.raises(UserError, match=r"inception-2015-12-05\.pt: not a whole torch file"):
        _ = world.placed(source=made / "model", clip=clip, data=tmp_path).digest


def test_a_source_without_a_check_has_no_fault(tmp_path: Path) -> None:
    assert Source("a thing", str(tmp_path), hub=False).fault == ""


@pytest.mark.parametrize("world", ["tiny"])
def test_an_embedded_worlds_judges_are_whole(world: str, tmp_path: Path) -> None:
    from unlearnbench.bench.judges.clip import load_clip
    from unlearnbench.bench.judges.emoji import open_judge

    folder = registry("worlds")[world].load()().folder
    shutil.copytree(folder / "judges", tmp_path / "judges")
    open_judge(tmp_path / "judges")
    load_clip(tmp_path / "judges" / "clip")
    for path, opens in (
        (tmp_path / "judges" / "detector.safetensors", lambda: open_judge(tmp_path / "judges")),
        (tmp_path / "judges" / "clip" / "model.safetensors", lambda: load_clip(tmp_path / "judges" / "clip")),
    ):
        tensors = load_file(path)
        tensors.pop(next(name for name in sorted(tensors) if name.endswith("weight")))
        save_file(tensors, path)
        with pytest.raises(UserError, match="not in the file"):
            opens()

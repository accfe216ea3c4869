"""Folders whose parts are links: the digest covers what a library opens, wherever it lies."""

import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from unlearnbench.bench.cli.main import main
from unlearnbench.bench.errors import UserError
from unlearnbench.bench.models.digests import files_digest, known_digest, list_files
from unlearnbench.bench.models.generators import open_pipeline
from unlearnbench.bench.models.outside import model_digest
from unlearnbench.bench.records.record import read_record
from unlearnbench.bench.running.catalog import registry
from unlearnbench.bench.worlds.emoji.world import EmojiWorld
from unlearnbench.bench.worlds.images.data import read_images

Make = Callable[[str, str], Path]


@pytest.fixture
def base(tmp_path: Path) -> Path:
    world = registry("worlds")["tiny"].load()()
    return Path(shutil.copytree(world.pipeline_folder, tmp_path / "base"))


@pytest.fixture
def broken(base: Path, tmp_path: Path) -> Path:
    """The base with noise in its UNet."""
    pipeline = open_pipeline(base, "cpu")
    generator = torch.Generator().manual_seed(0)
    for weight in pipeline.unet.parameters():
        spread = weight.data.std().nan_to_num(0)
        weight.data += 0.5 * spread * torch.randn(weight.shape, generator=generator)
    pipeline.save_pretrained(tmp_path / "broken")
    return tmp_path / "broken"


@pytest.fixture
def linked(base: Path, tmp_path: Path) -> Callable[[str, Path], Path]:
    """Return make(name, model): a folder of links to the base's components and to a model's UNet."""

    def make(name: str, model: Path) -> Path:
        folder = tmp_path / name
        folder.mkdir()
        shutil.copy(base / "model_index.json", folder)
        for part in ("vae", "text_encoder", "tokenizer", "scheduler"):
            (folder / part).symlink_to(base / part)
        (folder / "unet").symlink_to(model / "unet")
        return folder

    return make


def test_a_linked_unet_is_measured_as_itself(base: Path, broken: Path, linked: Any, tmp_path: Path) -> None:
    first, second = linked("A", base), linked("B", broken)
    out, store = tmp_path / "records", tmp_path / "store"
    values = {}
    for model in (first, second, broken):
        command = ["evaluate", "--model", str(model), "--task", "classes/cat-face@tiny", "--threads", "1"]
        assert main([*command, "--out", str(out), "--store", str(store)]) == 0
        [record] = [r for r in map(read_record, out.glob("*.json")) if r.method.name == model.name]
        values[model.name] = (record.points[0].values["UA"].value, record.points[0].values["VA"].value)
    assert values["B"] == values["broken"]
    assert values["A"] != values["B"]


def test_links_tell_models_apart_and_copies_do_not(base: Path, broken: Path, linked: Any) -> None:
    first, second = linked("A", base), linked("B", broken)
    assert model_digest(str(first)) == files_digest(str(base))  # what lies behind a link counts, not the link
    assert model_digest(str(second)) != model_digest(str(first))
    before = known_digest(str(second))
    config = broken / "unet" / "config.json"
    config.write_text(config.read_text(encoding="utf-8") + "\n", encoding="utf-8")
    assert known_digest(str(second)) != before  # a change behind the link is seen in the same process


def test_links_within_links_and_links_to_files_are_followed(tmp_path: Path) -> None:
    real, plain, folder = (tmp_path / name for name in ("real", "plain", "linked"))
    for place in (real / "deep", plain / "a" / "deep"):
        place.mkdir(parents=True)
        (place / "x.json").write_text("1")
    (tmp_path / "hop").symlink_to(real)
    folder.mkdir()
    (folder / "a").symlink_to(tmp_path / "hop")
    assert files_digest(str(folder)) == files_digest(str(plain))
    (real / "deep" / "x.json").unlink()
    (tmp_path / "elsewhere.json").write_text("2")
    (real / "deep" / "x.json").symlink_to(tmp_path / "elsewhere.json")
    (plain / "a" / "deep" / "x.json").write_text("2")
    assert files_digest(str(folder)) == files_digest(str(plain))


def test_what_cannot_be_digested_is_refused_by_name(base: Path) -> None:
    (base / "unet" / "self").symlink_to(base)
    with pytest.raises(UserError, match=r"unet/self: a link that leads back") as raised:
        files_digest(str(base))
    assert "\n" not in str(raised.value)
    (base / "unet" / "self").unlink()
    (base / "unet" / "extra.safetensors").symlink_to("/nowhere/extra.safetensors")
    with pytest.raises(UserError, match=r"extra\.safetensors: a link to nothing"):
        known_digest(str(base))
    (base / "unet" / "extra.safetensors").unlink()
    os.mkfifo(base / "unet" / "pipe.json")
    with pytest.raises(UserError, match=r"pipe\.json: neither a file nor a folder"):
        files_digest(str(base))


def test_what_no_library_reads_changes_no_digest(base: Path) -> None:
    before = files_digest(str(base))
    (base / ".cache" / "huggingface" / "download").mkdir(parents=True)
    (base / ".cache" / "huggingface" / "download" / "x.metadata").write_text("123")
    (base / "unet" / "x.bin").symlink_to("/nowhere/x.bin")
    assert files_digest(str(base)) == before
    (base / ".cache" / "other").mkdir()
    (base / ".cache" / "other" / "y").write_text("1")
    assert files_digest(str(base)) != before


def test_a_folder_link_that_loops_is_one_line_of_evaluate(
    base: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (base / "unet" / "again").symlink_to(base / "unet")
    command = ["evaluate", "--model", str(base), "--task", "classes/cat-face@tiny", "--threads", "1"]
    assert main([*command, "--out", str(tmp_path / "r"), "--store", str(tmp_path / "s")]) != 0
    said = capsys.readouterr().err.strip()
    assert "again: a link that leads back" in said
    assert len(said.splitlines()) == 1


def test_linked_reference_folders_hold_images(tmp_path: Path) -> None:
    world = registry("worlds")["sd14"].load()().placed(data=tmp_path / "data")
    (tmp_path / "data" / "reference").mkdir(parents=True)
    (tmp_path / "far" / "dogs").mkdir(parents=True)
    for number in range(2):
        Image.new("RGB", (8, 8), (number, 0, 0)).save(tmp_path / "far" / "dogs" / f"{number}.png")
    (tmp_path / "data" / "reference" / "dogs").symlink_to(tmp_path / "far" / "dogs")
    assert [path.name for path in world._reference_files] == ["0.png", "1.png"]
    assert [path.parent.name for path in world._reference_files] == ["dogs", "dogs"]


def test_linked_class_folders_hold_images(tmp_path: Path) -> None:
    for number, name in enumerate(("black", "bright")):
        (tmp_path / "far" / name / "more").mkdir(parents=True)
        for image in range(3):
            pixels = np.full((8, 8, 3), 250 * number, dtype=np.uint8)
            Image.fromarray(pixels).save(tmp_path / "far" / name / "more" / f"{image}.png")
    (tmp_path / "data" / "bright").mkdir(parents=True)
    (tmp_path / "data" / "black").symlink_to(tmp_path / "far" / "black")
    (tmp_path / "data" / "bright" / "in").symlink_to(tmp_path / "far" / "bright" / "more")
    found = read_images(tmp_path / "data", 8)
    assert found.classes == ["black", "bright"]
    assert len(found.train) + len(found.test) == 6


def test_a_world_of_links_keeps_its_digest(tmp_path: Path) -> None:
    tiny = registry("worlds")["tiny"].load()()
    (tmp_path / "world").mkdir()
    for entry in tiny.folder.iterdir():
        (tmp_path / "world" / entry.name).symlink_to(entry)
    linked = EmojiWorld(tiny.spec, tmp_path / "world")
    assert linked.digest == tiny.digest
    assert len(list_files(linked.folder)) == len(list_files(tiny.folder))

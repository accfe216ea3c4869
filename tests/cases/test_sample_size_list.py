"""A denoiser's `sample_size` is a number, two numbers, or unsaid; anything else is one line."""

import json
import shutil
from pathlib import Path
from typing import Any

import pytest

from unlearnbench.bench.cli.main import main
from unlearnbench.bench.errors import UserError
from unlearnbench.bench.models.generators import open_pipeline
from unlearnbench.bench.models.reading import read_cells, read_size
from unlearnbench.bench.running.catalog import registry

from ..methods.families import build_family
from ..methods.tiny import build_pipeline

ABSENT = object()
WRONG: list[Any] = [
    [],
    [8],
    [8, 8, 8],
    0,
    -8,
    [8, 0],
    [8, -8],
    "8",
    "large",
    8.5,
    8.0,
    True,
    {"height": 8},
    [[8, 8]],
]


@pytest.fixture(scope="module")
def saved(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("sd")
    (root / "tokenizer").mkdir()
    build_pipeline(root / "tokenizer").save_pretrained(root / "model")
    return root / "model"


def _folder(saved: Path, tmp_path: Path, value: Any) -> Path:
    folder = Path(shutil.copytree(saved, tmp_path / "model"))
    path = folder / "unet" / "config.json"
    config = json.loads(path.read_text(encoding="utf-8")) | {"sample_size": value}
    if value is ABSENT:
        del config["sample_size"]
    path.write_text(json.dumps(config), encoding="utf-8")
    return folder


@pytest.mark.parametrize(
    ("value", "size"), [(8, (16, 16)), ([8, 8], (16, 16)), ([8, 12], (16, 24)), ([12, 8], (24, 16))]
)
def test_a_size_is_height_and_width(saved: Path, tmp_path: Path, value: Any, size: tuple[int, int]) -> None:
    pipeline = open_pipeline(_folder(saved, tmp_path, value), "cpu")
    assert read_size(pipeline, "m") == size
    image = pipeline("a", num_inference_steps=1, output_type="np").images[0]
    assert image.shape[:2] == size  # as its own call draws unasked


@pytest.mark.parametrize("value", WRONG, ids=repr)
def test_another_value_is_refused(saved: Path, tmp_path: Path, value: Any) -> None:
    folder = _folder(saved, tmp_path, value)
    with pytest.raises(UserError, match=r"unet/config\.json: sample_size"):
        read_size(open_pipeline(folder, "cpu"), str(folder))
    world = registry("worlds")["sd14"].load()().placed(source=folder)
    with pytest.raises(UserError, match=r"unet/config\.json: sample_size"):
        _ = world.pixels


@pytest.mark.parametrize("value", [None, ABSENT], ids=["null", "absent"])
def test_an_unsaid_size_asks_for_one(saved: Path, tmp_path: Path, value: Any) -> None:
    folder = _folder(saved, tmp_path, value)
    with pytest.raises(UserError, match="--image-size"):
        read_size(open_pipeline(folder, "cpu"), str(folder))
    world = registry("worlds")["sd14"].load()().placed(source=folder)
    assert world.pixels == world.side
    assert world.placed(image_size=24).pixels == 24


def test_a_world_draws_squares_alone(saved: Path, tmp_path: Path) -> None:
    world = registry("worlds")["sd14"].load()()
    assert world.placed(source=_folder(saved, tmp_path, [8, 8])).pixels == 16
    shutil.rmtree(tmp_path / "model")
    with pytest.raises(UserError, match="no square"):
        _ = world.placed(source=_folder(saved, tmp_path, [8, 12])).pixels


@pytest.mark.parametrize(("value", "side"), [([8, 8], (16, 16)), ([8, 12], (16, 24))])
def test_unlearn_draws_at_that_size(saved: Path, tmp_path: Path, value: Any, side: tuple[int, int]) -> None:
    command = ["unlearn", "--model", str(_folder(saved, tmp_path, value)), "--concept", "cat"]
    small = ["--images", "2", "--sampling-steps", "1", "--set", "steps=1", "--threads", "1"]
    assert main([*command, *small, "--out", str(tmp_path / "out")]) == 0
    done = json.loads((tmp_path / "out" / "unlearning.json").read_text(encoding="utf-8"))
    assert (done["sampling"]["height"], done["sampling"]["width"]) == side


@pytest.mark.parametrize("value", [None, 0, "8"])
def test_unlearn_says_it_in_one_line(
    saved: Path, tmp_path: Path, value: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    command = ["unlearn", "--model", str(_folder(saved, tmp_path, value)), "--concept", "cat"]
    assert main([*command, "--out", str(tmp_path / "out")]) != 0
    said = capsys.readouterr().err.strip()
    assert "sample_size" in said
    assert len(said.splitlines()) == 1


def test_flux_says_its_size_itself(tmp_path: Path) -> None:
    pipeline = build_family("flux", tmp_path)
    assert read_size(pipeline, "m") == (128 * pipeline.vae_scale_factor,) * 2
    assert read_cells((4, 5), "x") == (4, 5)

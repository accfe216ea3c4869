"""The methods on the page for outsiders: each runs, is put back in another process, and opens as a folder."""

import importlib
import json
import re
import shutil
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from diffusers import DiffusionPipeline

from unlearnbench.bench.errors import UserError
from unlearnbench.bench.models.generators import Generator
from unlearnbench.bench.models.outside import check_there
from unlearnbench.bench.models.points import ModelHolder
from unlearnbench.bench.registry import Entry
from unlearnbench.bench.running.catalog import registry
from unlearnbench.bench.unlearning import load_model
from unlearnbench.bench.unlearning.tool import UnlearnRequest, unlearn_model

from .families import build_family
from .redraw import SAMPLING, Saved, hash_images, redraw
from .saved import Trained, save_point

PAGE = Path(__file__).resolve().parents[2] / "methods" / "README.md"
EXAMPLES: dict[str, str] = dict(
    re.findall(r"<!-- example: (\w+) -->\n```python\n(.*?)```", PAGE.read_text(), re.DOTALL)
)
KINDS = ("trained", "closed_form", "text_encoder", "sampling_time", "adapter")
ACTING = ("sampling_time", "adapter")


@pytest.fixture(scope="module")
def plugin(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """The examples as an installed package: method `example_KIND` each."""
    folder = tmp_path_factory.mktemp("plugin")
    package, info = folder / "pageexamples", folder / "pageexamples-0.1.dist-info"
    package.mkdir()
    info.mkdir()
    (package / "__init__.py").write_text("")
    for name, text in EXAMPLES.items():
        (package / f"{name}.py").write_text(text)
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: pageexamples\nVersion: 0.1\n")
    named = "\n".join(f"example_{name} = pageexamples.{name}" for name in EXAMPLES)
    (info / "entry_points.txt").write_text(f"[unlearnbench.methods]\n{named}\n")
    sys.path.insert(0, str(folder))
    importlib.invalidate_caches()
    yield folder
    sys.path.remove(str(folder))
    for name in [name for name in sys.modules if name.partition(".")[0] == "pageexamples"]:
        del sys.modules[name]


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("base")
    build_family("sd", tmp_path_factory.mktemp("tokens")).save_pretrained(folder)
    return folder


@pytest.fixture(scope="module")
def entries(plugin: Path) -> dict[str, Entry]:
    found = registry("methods")
    return {name: found[f"example_{name}"] for name in KINDS}


@pytest.fixture(scope="module")
def points(
    entries: dict[str, Entry], base: Path, tmp_path_factory: pytest.TempPathFactory
) -> dict[str, Trained]:
    """A point of each kind, and one of `sampling_time` with another strength."""
    made = {n: save_point(entries[n], base, tmp_path_factory.mktemp(n)) for n in KINDS}
    folder = tmp_path_factory.mktemp("strong")
    return made | {"strong": save_point(entries["sampling_time"], base, folder, strength=2.0)}


@pytest.fixture(scope="module")
def plain(base: Path) -> tuple[str, list[str]]:
    """Fingerprint and images of the base."""
    generator = ModelHolder(str(base), SAMPLING, "cpu").generator("", None)
    return generator.fingerprint, hash_images(generator)


def test_the_page_shows_every_kind() -> None:
    assert set(EXAMPLES) == set(KINDS)


@pytest.fixture(scope="module")
def folders(
    entries: dict[str, Entry], base: Path, tmp_path_factory: pytest.TempPathFactory
) -> dict[str, Path]:
    """What `unlearn` writes by each kind."""
    found = {}
    for name in KINDS:
        config = {} if name in ("closed_form", "sampling_time") else {"steps": 1}
        order = UnlearnRequest(
            str(base), "cat", f"example_{name}", anchor="dog", images=2, config=config, steps=2, image_size=16
        )
        found[name] = unlearn_model(order, tmp_path_factory.mktemp(name) / "out")
    return found


@pytest.fixture(scope="module")
def redrawn(points: dict[str, Trained], folders: dict[str, Path], plugin: Path) -> dict[str, dict[str, Any]]:
    """All points and folders (`KIND folder`) as one other process draws them."""
    saved = {name: trained.saved for name, trained in points.items()}
    saved |= {f"{name} folder": Saved(str(folder)) for name, folder in folders.items()}
    return dict(zip(saved, redraw(list(saved.values()), [plugin]), strict=True))


def test_each_kind_draws_the_same_in_another_process(
    points: dict[str, Trained], plain: tuple[str, list[str]], redrawn: dict[str, dict[str, Any]]
) -> None:
    for name, trained in points.items():
        assert redrawn[name]["fingerprint"] == trained.point.fingerprint, name
        assert redrawn[name]["images"] == trained.images, name
        assert all(image != old for image, old in zip(trained.images, plain[1], strict=True)), name
    prints = [plain[0], *(trained.point.fingerprint for trained in points.values())]
    assert len(set(prints)) == len(prints)  # no two share an image in the store


def test_one_holder_sets_points_of_all_kinds_in_turn(
    points: dict[str, Trained], plain: tuple[str, list[str]]
) -> None:
    """A text encoder, a steering or an adapter of one point reaches no other, nor the base."""
    holder = ModelHolder(points["trained"].saved.model, SAMPLING, "cpu")
    for trained in [*points.values(), *reversed(points.values())]:
        payload = Path(trained.saved.payload).read_bytes()
        assert hash_images(holder.generator(trained.saved.delta, payload)) == trained.images
    generator = holder.generator("", None)
    assert (generator.fingerprint, hash_images(generator)) == plain


def test_a_delta_holds_what_is_declared(points: dict[str, Trained]) -> None:
    parts = {name: sorted(trained.delta.weights) for name, trained in points.items()}
    assert parts == {
        "trained": ["unet"],
        "closed_form": ["unet"],
        "text_encoder": ["text_encoder"],
        "sampling_time": [],
        "adapter": [],
        "strong": [],
    }
    assert set(points["sampling_time"].delta.tensors) == {"encoder_hidden_states"}
    assert points["sampling_time"].point.distance is None
    assert (points["text_encoder"].point.distance or 0) > 0
    assert points["trained"].delta.applied is None


@pytest.mark.parametrize("kind", KINDS)
def test_each_kind_is_a_folder_that_is_opened_whole(
    kind: str, folders: dict[str, Path], plain: tuple[str, list[str]], redrawn: dict[str, dict[str, Any]]
) -> None:
    out, acts = folders[kind], kind in ACTING
    assert (out / "apply.json").exists() == acts
    pipeline, bare = load_model(out), DiffusionPipeline.from_pretrained(str(out))
    for opened in (pipeline, bare):
        opened.set_progress_bar_config(disable=True)
    images, without = (hash_images(Generator(opened, SAMPLING, "")) for opened in (pipeline, bare))
    assert images == redrawn[f"{kind} folder"]["images"]  # a plain call draws what is measured
    assert set(images).isdisjoint(plain[1])
    assert without == (plain[1] if acts else images)
    assert ("load_model" in (out / "README.md").read_text()) == acts
    pipeline.unlearning.close()
    assert hash_images(Generator(pipeline, SAMPLING, "")) == without


def test_no_image_is_drawn_for_a_method_that_needs_none(
    base: Path, plugin: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("unlearnbench.bench.unlearning.drawn._draw", lambda *_: pytest.fail("drawn"))
    order = UnlearnRequest(str(base), "cat", "example_closed_form", images=2, image_size=16)
    out = unlearn_model(order, tmp_path / "out")
    assert "needs no training images" in (out / "README.md").read_text()
    with pytest.raises(pytest.fail.Exception, match="drawn"):
        unlearn_model(replace(order, method="example_trained"), tmp_path / "other")


def test_diffusers_warns_of_a_folder_whose_weights_are_not_the_model(
    folders: dict[str, Path], tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    out = shutil.copytree(folders["sampling_time"], tmp_path / "out")
    DiffusionPipeline.from_pretrained(str(out))
    assert "unlearning.load_model" in caplog.text
    with pytest.raises(UserError, match="name the base model"):
        unlearn_model(UnlearnRequest(str(out), "cat", "example_trained"), tmp_path / "again")


def _damage(out: Path, what: str) -> None:
    said = json.loads((out / "apply.json").read_text())
    changes: dict[str, dict[str, Any]] = {
        "version": {"version": 7},
        "method": {"method": "uce"},
        "unknown": {"method": "nobodys"},
        "setting": {"config": {"strenght": 1}},
        "type": {"version": "1"},
    }
    if what in changes:
        (out / "apply.json").write_text(json.dumps(said | changes[what]))
    else:
        (out / what).unlink()


@pytest.mark.parametrize(
    ("what", "told"),
    [
        ("version", "version: example_sampling_time 7; here is version 1"),
        ("method", "method: uce does not act"),
        ("unknown", "no method named 'nobodys'"),
        ("setting", "config: strenght"),
        ("type", "version: needed: int"),
        ("apply.json", "apply.json is missing"),
        ("apply.safetensors", "apply.safetensors: is missing"),
    ],
)
def test_a_folder_whose_method_cannot_act_is_refused(
    folders: dict[str, Path], tmp_path: Path, what: str, told: str
) -> None:
    out = shutil.copytree(folders["sampling_time"], tmp_path / "out")
    _damage(out, what)
    with pytest.raises(UserError, match=re.escape(told)) as error:
        check_there(str(out))
    assert "\n" not in str(error.value)


def test_steering_needs_prompts(folders: dict[str, Path]) -> None:
    pipeline = load_model(folders["sampling_time"])
    with pytest.raises(UserError, match="prompt_embeds"):
        pipeline(prompt_embeds=torch.zeros(1, 16, 32), num_inference_steps=1, guidance_scale=1.0)

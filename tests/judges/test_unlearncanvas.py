"""UnlearnCanvas' judge: its preprocessing, its files of weights, and its metrics beside the protocol's."""

import os
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import timm
import torch
from PIL import Image
from safetensors.torch import save_file
from torchvision import transforms

from unlearnbench.bench.errors import UserError
from unlearnbench.bench.judges.unlearncanvas import (
    ARCHITECTURE,
    OBJECTS,
    SIDE,
    STYLES,
    CanvasJudge,
    open_network,
    prepare,
    read_weights,
)
from unlearnbench.bench.measuring.items import build_items, describe_pixels
from unlearnbench.bench.measuring.requests import ImageRequest
from unlearnbench.bench.metrics import cra, ira, ua
from unlearnbench.bench.planning.tasks import PromptSizes, Task
from unlearnbench.bench.running.catalog import task_registry
from unlearnbench.bench.types import View
from unlearnbench.bench.worlds.hub.crossed import cross_prompts

SMALL = "vit_tiny_patch16_224"
NAMES = {"style": ("Van_Gogh", "Mosaic", "Rust", "Seed_Images"), "subject": ("Cats", "Dogs", "Sea")}


class _Scorer:
    def embed_images(self, images: np.ndarray) -> np.ndarray:
        return np.zeros((len(images), 2), dtype=np.float32)


class _Network(torch.nn.Module):
    """Answers with the number that one channel's mean says; its logits are infinite where that is white."""

    def __init__(self, outputs: int, channel: int) -> None:
        super().__init__()
        self.outputs, self.channel = outputs, channel

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        assert x.shape[1:] == (3, SIDE, SIDE)
        value = ((x[:, self.channel].mean((1, 2)) + 1) * 127.5).round().long()
        logits = torch.nn.functional.one_hot(value.clamp(max=self.outputs - 1), self.outputs).float()
        logits[value == 255] = float("nan")
        return logits


def test_the_preprocessing_is_torchvisions() -> None:
    theirs = transforms.Compose(
        [transforms.Resize((SIDE, SIDE)), transforms.ToTensor(), transforms.Normalize([0.5], [0.5])]
    )
    for shape in ((512, 512, 3), (300, 400, 3), (64, 48, 3)):
        image = np.random.default_rng(0).integers(0, 256, shape, dtype=np.uint8)
        wanted = theirs(Image.fromarray(image)).permute(1, 2, 0).numpy()
        np.testing.assert_allclose(prepare(image), wanted, atol=1e-5)


def test_each_image_has_the_likeliest_style_and_object() -> None:
    judge = CanvasJudge(_Scorer(), _Network(51, 0), _Network(20, 1))
    images = np.zeros((20, 8, 8, 3), dtype=np.uint8)
    for i in range(20):
        images[i, ..., 0], images[i, ..., 1] = 50 - i, i
    images[3, ..., 0] = 255
    found = judge.judge(images, batch=7).found
    assert found["style"][0] == "Winter"
    assert found["style"][12] == "Seed_Images"  # alphabetical, between Rust and Sketch
    assert list(found["style"].isna()) == [i == 3 for i in range(20)]  # no number is no answer
    assert list(found["subject"]) == list(OBJECTS)
    assert set(found["background"]) == {""}


def test_the_networks_are_of_the_stated_architecture() -> None:
    with torch.device("meta"):
        network = timm.create_model(ARCHITECTURE, pretrained=False, num_classes=len(STYLES))
    assert tuple(network.head.weight.shape) == (51, 1024)
    assert len(OBJECTS) == 20
    assert list(STYLES) == sorted(STYLES)
    assert list(OBJECTS) == sorted(OBJECTS)


@pytest.fixture(scope="module")
def network() -> Any:
    torch.manual_seed(0)
    return timm.create_model(SMALL, pretrained=False, num_classes=20).eval()


def _save(content: Any, path: Path) -> Path:
    torch.save(content, path)
    return path


def test_both_kinds_of_file_give_the_same_network(network: Any, tmp_path: Path) -> None:
    state = network.state_dict()
    save_file(
        {name: tensor.contiguous() for name, tensor in state.items()}, str(tmp_path / "object.safetensors")
    )
    kept = {"epoch": 3, "model_state_dict": state, "loss": torch.tensor(0.5)}
    files = [
        tmp_path / "object.safetensors",
        _save(kept, tmp_path / "object.pth"),
        _save(state, tmp_path / "bare.pth"),
    ]
    x = torch.randn(2, 3, SIDE, SIDE, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        wanted = network(x)
        for file in files:
            torch.testing.assert_close(open_network(file, OBJECTS, SMALL).eval()(x), wanted)


class _Runs:
    """A pickle that runs code when it is read."""

    def __init__(self, proof: Path) -> None:
        self.proof = proof

    def __reduce__(self) -> Any:
        return os.mkdir, (str(self.proof),)


def test_a_malformed_file_is_one_clear_line(network: Any, tmp_path: Path) -> None:
    state = network.state_dict()
    lacking = {name: tensor for name, tensor in state.items() if name != "norm.bias"}
    (tmp_path / "text.safetensors").write_text("no weights")
    (tmp_path / "text.pth").write_text("no weights")
    cases = {
        _save(
            {"model_state_dict": state, "x": _Runs(tmp_path / "ran")}, tmp_path / "code.pth"
        ): "more than tensors",
        _save({"model_state_dict": [1, 2]}, tmp_path / "list.pth"): "not tensors by name",
        _save({"model_state_dict": lacking}, tmp_path / "lacking.pth"): "norm.bias",
        _save(
            {"model_state_dict": state | {"head.weight": torch.zeros(51, 192)}}, tmp_path / "head.pth"
        ): "20 names",
        _save({"weights": state["head.weight"]}, tmp_path / "other.pth"): "head.weight: shape none",
        tmp_path / "text.safetensors": "not a safetensors file",
        tmp_path / "text.pth": "text.pth: ",
        tmp_path / "absent.pth": "absent.pth: ",
    }
    for path, part in cases.items():
        with pytest.raises(UserError) as caught:
            open_network(path, OBJECTS, SMALL)
        assert str(caught.value).startswith(f"{path}: ")
        assert part in str(caught.value)
        assert "\n" not in str(caught.value)
    assert not (tmp_path / "ran").exists()
    assert set(read_weights(tmp_path / "lacking.pth")) == set(lacking)


def _task(kind: str, target: str, given: list[str]) -> Task:
    """Return a shipped task cut down to NAMES and two seeds."""
    family, other = ("styles", "subject") if kind == "style" else ("classes", "style")
    task = next(
        t
        for t in task_registry().values()
        if t.id == f"{family}/{target.lower().replace('_', '-')}@unlearncanvas"
    )
    crossed = task.file.crossed.model_copy(update={"names": list(NAMES[other]), "seeds": [188, 288]})  # type: ignore[union-attr]
    file = task.file.model_copy(update={"names": list(NAMES[kind]), "crossed": crossed})
    return Task(task.id, file, task.concept.model_copy(update={"given": {kind: given}}), task.suite_targets)


def _verdicts(image_requests: list[ImageRequest], seed: int) -> pd.DataFrame:
    """Return made-up answers, half of them right."""
    rng = np.random.default_rng(seed)
    rows = []
    for image_request in image_requests:
        right = rng.random(2) < 0.5
        rows.append(
            {
                kind: image_request.prompt.asked[kind] if ok else str(rng.choice(NAMES[kind]))
                for kind, ok in zip(("style", "subject"), right, strict=True)
            }
            | {"background": ""}
        )
    return pd.DataFrame(rows)


def _protocol(
    kind: str, target: str, image_requests: list[ImageRequest], found: pd.DataFrame
) -> tuple[float, float, float]:
    """Return UA, IRA and CRA in the protocol's words, from predictions by style, object and seed."""
    other = "subject" if kind == "style" else "style"
    told = {
        (a.prompt.asked["style"], a.prompt.asked["subject"], a.prompt.seed): {
            "style": found["style"][i],
            "subject": found["subject"][i],
        }
        for i, a in enumerate(image_requests)
    }
    position = {"style": 0, "subject": 1}
    aimed = {key: v for key, v in told.items() if key[position[kind]] == target}
    kept = {key: v for key, v in told.items() if key[position[kind]] != target}

    def accuracy(images: dict[Any, Any], what: str) -> float:
        return sum(v[what] == key[position[what]] for key, v in images.items()) / len(images)

    return 1 - accuracy(aimed, kind), accuracy(kept, kind), accuracy(kept, other)


@pytest.mark.parametrize(
    ("kind", "target", "given"), [("style", "Van_Gogh", "Mosaic"), ("subject", "Cats", "Dogs")]
)
def test_the_metrics_are_the_protocols(kind: str, target: str, given: str) -> None:
    sizes = PromptSizes(forget=99, forget_samples=1, retain_same=99, retain_given=99)
    for held in ([], [given]):
        prompts = cross_prompts(_task(kind, target, held), sizes)
        assert len(prompts) == 4 * 3 * 2  # every pair with both seeds
        image_requests = [ImageRequest(prompt, 0, int(prompt.seed or 0)) for prompt in prompts]
        found = _verdicts(image_requests, 4)
        pixels = describe_pixels(np.zeros((len(image_requests), 4, 4, 3), dtype=np.uint8))
        items = build_items(image_requests, pixels, found, None, None)
        values = {}
        for module in (ua, ira, cra):
            values |= module.METRIC.reduce(module.METRIC.per_item(items), View(items))
        wanted = _protocol(kind, target, image_requests, found)
        assert 0 < min(wanted) <= max(wanted) < 1
        assert values["UA"].value == pytest.approx(wanted[0])
        for name, protocol in zip(("IRA", "CRA"), wanted[1:], strict=True):
            parts = [values[key] for key in (name, f"{name}_given") if values[key].value is not None]
            assert len(parts) == 1 + len(held)
            # the protocol does not tell given concepts apart: its number is the mean over the images of both
            pooled = sum(v.value * v.n for v in parts) / sum(v.n for v in parts)  # type: ignore[operator]
            assert pooled == pytest.approx(protocol)

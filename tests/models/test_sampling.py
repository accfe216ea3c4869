"""Seeds, keys, batches: what an image depends on, and what it does not."""

from collections.abc import Sequence
from contextlib import nullcontext
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from diffusers.pipelines.stable_diffusion.safety_checker import StableDiffusionSafetyChecker
from transformers import CLIPConfig, CLIPImageProcessor

from unlearnbench.bench.models import sampling as module
from unlearnbench.bench.models.generators import Generator, Sampling, open_pipeline
from unlearnbench.bench.models.sampling import (
    Drawing,
    Request,
    decode_png,
    draw_batch,
    encode_png,
    image_key,
    micro_batch,
    noise_seed,
)
from unlearnbench.bench.store import Store

from ..methods.tiny import build_pipeline

SETTINGS = Sampling(steps=4, guidance=2.0, height=8, width=8)


def _key(**change: Any) -> str:
    fields: dict[str, Any] = {
        "fingerprint": "f",
        "sampling": SETTINGS,
        "dtype": "torch.float32",
        "device": "cpu",
        "request": Request("a cat", 1),
    }
    return image_key(**(fields | change))


CHANGES: list[dict[str, Any]] = [
    {"fingerprint": "g"},
    {"sampling": Sampling(5, 2.0, 8, 8)},
    {"sampling": Sampling(4, 2.5, 8, 8)},
    {"sampling": Sampling(4, 2.0, 16, 8)},
    {"sampling": Sampling(4, 2.0, 8, 16)},
    {"sampling": Sampling(4, 2.0, 8, 8, "ugly")},
    {"dtype": "torch.float16"},
    {"device": "cuda"},
    {"request": Request("a dog", 1)},
    {"request": Request("a cat", 2)},
    {"request": Request("a cat", 1, 3.0)},
]


@pytest.mark.parametrize("change", CHANGES)
def test_every_field_changes_the_key(change: dict[str, Any]) -> None:
    assert _key(**change) != _key()


def test_a_prompts_own_guidance_is_its_key() -> None:
    """An image drawn for one protocol is another's where both name the same scale."""
    assert _key(request=Request("a cat", 1, SETTINGS.guidance)) == _key()
    assert _key(request=Request("a cat", 1, 2.5)) == _key(sampling=Sampling(4, 2.5, 8, 8))


@pytest.mark.parametrize("package", ["torch", "diffusers", "transformers"])
def test_library_versions_and_the_noise_version_change_the_key(
    package: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = _key()
    monkeypatch.setattr(module, "NOISE_VERSION", module.NOISE_VERSION + 1)
    assert _key() != before
    monkeypatch.undo()
    real = module.version
    monkeypatch.setattr(module, "version", lambda name: "0" if name == package else real(name))
    assert _key() != before


def test_noise_depends_on_task_prompt_and_sample_alone() -> None:
    seeds = {
        noise_seed(*parts)
        for parts in (
            (0, "t", "p", 0),
            (1, "t", "p", 0),
            (0, "u", "p", 0),
            (0, "t", "q", 0),
            (0, "t", "p", 1),
        )
    }
    assert len(seeds) == 5
    assert noise_seed(0, "t", "p", 0) == noise_seed(0, "t", "p", 0)
    assert all(0 <= seed < 2**63 for seed in seeds)


def test_png_is_lossless() -> None:
    image = np.random.default_rng(0).integers(0, 256, (8, 8, 3), dtype=np.uint8)
    assert np.array_equal(decode_png(encode_png(image)), image)


class _Fake:
    """Draws an image from its own request alone and remembers the batches."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.batches: list[list[int]] = []
        monkeypatch.setattr(module, "draw_batch", self.draw)
        monkeypatch.setattr(module, "MICRO_BATCH", {"cpu": 4})

    def draw(self, generator: Any, requests: Sequence[Request]) -> np.ndarray:
        self.batches.append([r.seed for r in requests])
        return np.stack([np.full((8, 8, 3), r.seed, np.uint8) for r in requests])


def _drawing() -> Drawing:
    model: Any = SimpleNamespace(fingerprint="f")
    return Drawing("f", SETTINGS, "torch.float32", "cpu", lambda: model)


def test_batches_have_one_size_and_a_second_run_draws_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fake, store = _Fake(monkeypatch), Store(tmp_path)
    requests = [Request("p", i) for i in range(6)]
    first = _drawing()
    images = first.draw(requests, store, lambda n: None)
    assert fake.batches == [[0, 1, 2, 3], [4, 5, 5, 5]]
    assert first.drawn == 6
    assert np.stack(images)[:, 0, 0, 0].tolist() == list(range(6))
    second = _drawing()
    again = second.draw(requests, store, lambda n: None)
    assert second.drawn == 0
    assert np.array_equal(again, images)


def test_images_of_one_guidance_are_drawn_together(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    fake = _Fake(monkeypatch)
    scales = [None, 7.0, None, 2.0, 7.0, None, None]  # 2.0 is what None means here
    requests = [Request("p", i, scale) for i, scale in enumerate(scales)]
    images = _drawing().draw(requests, Store(tmp_path), lambda n: None)
    assert fake.batches == [[0, 2, 3, 5], [6, 6, 6, 6], [1, 4, 4, 4]]
    assert np.stack(images)[:, 0, 0, 0].tolist() == list(range(7))


def test_a_call_has_one_guidance() -> None:
    called: list[float] = []

    def pipeline(guidance_scale: float, prompt: list[str], **_: Any) -> SimpleNamespace:
        called.append(guidance_scale)
        return SimpleNamespace(images=np.zeros((len(prompt), 8, 8, 3)))

    model: Any = SimpleNamespace(pipeline=pipeline, sampling=SETTINGS, acting=nullcontext)
    module.draw_batch(model, [Request("p", 0, 7.0), Request("q", 1, 7.0)])
    module.draw_batch(model, [Request("p", 0)])
    assert called == [7.0, 2.0]
    with pytest.raises(ValueError, match=r"one guidance scale, not \[2\.0, 7\.0\]"):
        module.draw_batch(model, [Request("p", 0), Request("p", 0, 7.0)])


def test_a_broken_run_draws_the_same_batches(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    fake, store = _Fake(monkeypatch), Store(tmp_path)
    requests = [Request("p", i) for i in range(8)]
    _drawing().draw(requests, store, lambda n: None)
    store.path("images", image_key("f", SETTINGS, "torch.float32", "cpu", requests[5])).unlink()
    fake.batches.clear()
    resumed = _drawing()
    resumed.draw(requests, store, lambda n: None)
    assert fake.batches == [[4, 5, 6, 7]]


@pytest.mark.parametrize(
    ("device", "side", "images"),
    [
        ("cpu", 64, 24),
        ("cpu", 512, 1),
        ("cuda", 64, 96),
        ("cuda:1", 512, 16),
        ("cuda", 1024, 4),
        ("xpu", 64, 24),
    ],
)
def test_a_batch_is_smaller_where_images_are_large(device: str, side: int, images: int) -> None:
    assert micro_batch(device, Sampling(2, 1.0, side, side)) == images


def test_a_safety_checker_blackens_no_image(tmp_path: Path) -> None:
    """Stable Diffusion 1's folders carry one: a base that draws nudity was measured as one that does not."""
    tokens, folder = tmp_path / "tokens", tmp_path / "model"
    tokens.mkdir()
    pipeline = build_pipeline(tokens)
    pipeline.set_progress_bar_config(disable=True)
    small = {"hidden_size": 8, "intermediate_size": 8, "num_hidden_layers": 1, "num_attention_heads": 1}
    sight = small | {"image_size": 16, "patch_size": 8}
    checker = StableDiffusionSafetyChecker(CLIPConfig(text_config=small, vision_config=sight))
    checker.concept_embeds_weights.data.fill_(-2)  # no image is as unlike a concept as that: all are flagged
    pipeline.register_modules(
        safety_checker=checker,
        feature_extractor=CLIPImageProcessor(
            size={"shortest_edge": 16}, crop_size={"height": 16, "width": 16}
        ),
    )
    pipeline.register_to_config(requires_safety_checker=True)
    pipeline.save_pretrained(folder)
    opened = open_pipeline(folder, "cpu")
    generator = Generator(opened, Sampling(1, 2.0, 16, 16), "")
    before = generator.fingerprint
    assert not opened("a cat", num_inference_steps=1, height=16, width=16, output_type="np").images.any()
    assert np.any(draw_batch(generator, [Request("a cat", 0)]))
    assert opened.safety_checker is not None  # what is saved of it is whole
    assert generator.fingerprint == before

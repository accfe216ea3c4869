"""Opening a model folder: what is not whole is refused, and never filled with random weights."""

import shutil
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from unlearnbench.bench.errors import UserError
from unlearnbench.bench.models.digests import network_parts, weights_digest
from unlearnbench.bench.models.generators import Generator, Sampling, open_pipeline, relative_distance
from unlearnbench.bench.models.points import ModelHolder
from unlearnbench.bench.models.sampling import Request, draw_batch
from unlearnbench.bench.running.catalog import registry

from ..methods.families import build_family

CHANGES = {
    "vae/config.json": ('"scaling_factor": ', '"scaling_factor": 1'),
    "text_encoder/config.json": ('"quick_gelu"', '"gelu"'),
    "tokenizer/tokenizer_config.json": ('"model_max_length": ', '"model_max_length": 1'),
}
"""File -> a text in it and what another model has there instead; no weight changes by it."""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    world = registry("worlds")["tiny"].load()()
    return Path(shutil.copytree(world.pipeline_folder, tmp_path / "model"))


def test_two_openings_give_the_same_weights(folder: Path) -> None:
    assert weights_digest(open_pipeline(folder, "cpu")) == weights_digest(open_pipeline(folder, "cpu"))


def test_a_text_encoder_that_lacks_weights_is_refused(folder: Path) -> None:
    path = folder / "text_encoder" / "model.safetensors"
    tensors = load_file(path)
    name = next(key for key in sorted(tensors) if key.endswith("weight"))
    del tensors[name]
    save_file(tensors, path, metadata={"format": "pt"})
    with pytest.raises(UserError, match="text_encoder: its file lacks 1 weights") as raised:
        open_pipeline(folder, "cpu")
    assert str(folder) in str(raised.value)
    assert "\n" not in str(raised.value)


def test_distance_is_the_norm_of_the_change_over_that_of_all() -> None:
    import torch

    before = {"a": torch.tensor([3.0, 0.0]), "b": torch.tensor([4.0])}
    assert relative_distance(before, {"a": torch.tensor([3.0, 1.0])}) == pytest.approx(0.2)
    assert relative_distance(before, {}) == 0


@pytest.mark.parametrize("saved", [torch.bfloat16, torch.float16])
def test_a_model_saved_in_half_precision_draws_in_float32(
    folder: Path, tmp_path: Path, saved: torch.dtype
) -> None:
    """Its text encoder opened in the precision of its file, beside a float32 UNet: drawing failed."""
    open_pipeline(folder, "cpu").to(saved).save_pretrained(tmp_path / "half")
    pipeline = open_pipeline(tmp_path / "half", "cpu")
    kinds = {tensor.dtype for part in network_parts(pipeline).values() for tensor in part.parameters()}
    assert kinds == {torch.float32}
    sampling = Sampling(1, 2.0, 32, 32)
    [image] = draw_batch(Generator(pipeline, sampling, "x"), [Request("a cat face", 0)])
    assert image is not None
    assert image.shape == (32, 32, 3)


def test_drawing_leaves_the_fingerprint_and_a_methods_hook_changes_it(tmp_path: Path) -> None:
    pipeline = build_family("sdxl", tmp_path)  # asks its text encoders for hidden states
    pipeline.set_progress_bar_config(disable=True)
    generator = Generator(pipeline, Sampling(1, 2.0, 16, 16), weights_digest(pipeline))
    before = generator.fingerprint
    draw_batch(generator, [Request("a cat", 0)])
    assert generator.fingerprint == before
    pipeline.unet.register_forward_hook(lambda module, inputs, output: None)
    assert generator.fingerprint != before


@pytest.mark.parametrize("file", CHANGES)
def test_equal_weights_under_other_settings_are_another_model(folder: Path, file: str) -> None:
    """Mended in place, a folder was measured again, on the images that it drew before."""

    def fingerprint() -> str:
        return ModelHolder(str(folder), Sampling(1, 2.0, 32, 32), "cpu").fingerprint

    before, place = fingerprint(), folder / file
    assert fingerprint() == before
    text = place.read_text(encoding="utf-8")
    assert CHANGES[file][0] in text
    place.write_text(text.replace(*CHANGES[file]), encoding="utf-8")
    assert fingerprint() != before

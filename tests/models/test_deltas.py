"""Deltas: the denoiser's are as they were, other networks' tensors carry their component's name."""

import hashlib
import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from safetensors.torch import load, save
from torch import nn

from unlearnbench.bench.errors import UserError
from unlearnbench.bench.models.generators import Generator, Sampling
from unlearnbench.bench.models.saved.deltas import (
    changed_weights,
    components_of,
    copy_tensors,
    read_delta,
    read_weights,
    set_weights,
    write_delta,
)

from ..methods.families import build_family


def _pair() -> Any:
    torch.manual_seed(0)
    return SimpleNamespace(unet=nn.Linear(2, 3), text_encoder=nn.Linear(2, 2), vae=nn.Linear(1, 1))


def test_a_denoisers_delta_is_its_changed_tensors_under_their_plain_names() -> None:
    pipeline = _pair()
    before = copy_tensors(read_weights(pipeline, ["unet"]))
    with torch.no_grad():
        pipeline.unet.bias += 1
        pipeline.text_encoder.bias += 1  # not declared: in no delta
    payload = write_delta(changed_weights(before, read_weights(pipeline, ["unet"])))
    assert payload == save({"bias": pipeline.unet.bias.detach()})
    assert read_delta(payload, "unet").applied is None


def test_other_networks_and_kept_tensors_are_told_apart_by_their_names() -> None:
    pipeline = _pair()
    base = copy_tensors(read_weights(pipeline, ["unet", "text_encoder"]))
    assert set(base) == {"weight", "bias", "text_encoder.weight", "text_encoder.bias"}
    with torch.no_grad():
        pipeline.unet.bias += 1
        pipeline.text_encoder.weight += 1
    changed = changed_weights(base, read_weights(pipeline, ["unet", "text_encoder"]))
    said = {"method": "mine", "version": 1, "config": {"strength": 2.0}}
    payload = write_delta(changed, {"bias": torch.ones(2)}, said)
    assert set(load(payload)) == {"bias", "text_encoder.weight", "apply.bias"}
    delta = read_delta(payload, "unet")
    assert {name: set(part) for name, part in delta.weights.items()} == {
        "unet": {"bias"},
        "text_encoder": {"weight"},
    }
    assert delta.tensors["bias"].tolist() == [1.0, 1.0]
    assert delta.applied == said
    fresh = _pair()
    for name, part in delta.weights.items():
        module = getattr(fresh, name)
        set_weights(module, copy_tensors(module.state_dict()), part)
        assert all(
            torch.equal(a, b)
            for a, b in zip(module.parameters(), getattr(pipeline, name).parameters(), strict=True)
        )


def test_two_strengths_are_two_deltas_and_equal_ones_are_one() -> None:
    payloads = [
        write_delta({}, {"a": torch.ones(1)}, {"method": "m", "version": 1, "config": {"strength": strength}})
        for strength in (1.0, 2.0, 1.0)
    ]
    assert payloads[0] != payloads[1]
    assert payloads[0] == payloads[2]
    assert write_delta({}, {"a": torch.zeros(1)}, {"method": "m", "version": 1, "config": {}}) != write_delta(
        {}, {"a": torch.ones(1)}, {"method": "m", "version": 1, "config": {}}
    )


def test_tied_weights_are_saved() -> None:
    """T5 has its token embedding under two names."""
    tied = nn.Embedding(3, 2)
    module = nn.ModuleDict({"shared": tied, "encoder": tied})
    pipeline = SimpleNamespace(unet=nn.Linear(1, 1), text_encoder_2=module)
    base = copy_tensors(read_weights(pipeline, ["text_encoder_2"]))
    with torch.no_grad():
        tied.weight += 1
    found = read_delta(write_delta(changed_weights(base, read_weights(pipeline, ["text_encoder_2"]))), "unet")
    assert set(found.weights["text_encoder_2"]) == {"shared.weight", "encoder.weight"}


def test_components_are_those_that_a_pipeline_has() -> None:
    pipeline: Any = SimpleNamespace(unet=None, transformer=nn.Linear(1, 1), text_encoder=nn.Linear(1, 1))
    assert components_of(pipeline, ["denoiser", "text_encoder", "text_encoder_2"]) == [
        "transformer",
        "text_encoder",
    ]
    assert components_of(pipeline, []) == []
    with pytest.raises(UserError, match="SimpleNamespace: has no text_encoder_2 to train"):
        components_of(pipeline, ["text_encoder_2"])


def test_a_fingerprint_without_a_sampling_time_method_is_what_it_was(tmp_path: Path) -> None:
    """The fields of published fingerprints, written out: one more would orphan every stored image."""
    pipeline = build_family("sd", tmp_path)
    sampling = Sampling(3, 2.0, 16, 16)
    config = {k: v for k, v in sorted(pipeline.scheduler.config.items()) if not k.startswith("_")}
    parts = {
        "weights": "w",
        "delta": "d",
        "pipeline": "StableDiffusionPipeline",
        "scheduler": ["DDIMScheduler", config],
        "sampling": {"steps": 3, "guidance": 2.0, "height": 16, "width": 16, "negative_prompt": ""},
        "hooks": [],
    }
    expected = hashlib.sha256(json.dumps(parts, sort_keys=True, default=str).encode()).hexdigest()
    assert Generator(pipeline, sampling, "w", "d").fingerprint == expected
    acting: Any = SimpleNamespace(digest="a")
    assert Generator(pipeline, sampling, "w", "d", acting).fingerprint != expected

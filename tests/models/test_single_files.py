"""Weights in single files: a denoiser's as ESD and UCE save them, and whole checkpoints."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor

import unlearnbench as ub
from unlearnbench.bench.cli.main import main
from unlearnbench.bench.models.files.single_file import rename, write_checkpoint
from unlearnbench.bench.models.generators import Generator, Sampling, open_pipeline
from unlearnbench.bench.models.outside import check_base, check_there, kind_of, open_holder
from unlearnbench.bench.models.sampling import Request, draw_batch
from unlearnbench.bench.running.catalog import registry

from ..methods.families import build_family

SAMPLING = Sampling(4, 2.0, 32, 32)
BASE = Path(registry("worlds")["tiny"].load()().pipeline_folder)
TASK = "classes/cat-face@tiny"


def draw(pipeline: Any) -> np.ndarray:
    requests = [Request("a cat face", 5), Request("a dog face", 6)]
    return np.stack(draw_batch(Generator(pipeline, SAMPLING, ""), requests))


def changed(pipeline: Any, part: str = "attn2.to_k") -> dict[str, Tensor]:
    """Return cross-attention weights of a UNet, changed, as ESD-x and UCE save them."""
    found = {n: w.detach().clone() * 0.3 for n, w in pipeline.unet.named_parameters() if f"{part}." in n}
    assert found
    return found


@pytest.mark.parametrize("prefix", ["", "unet."])
def test_a_part_of_a_unet_is_set_into_the_base(tmp_path: Path, prefix: str) -> None:
    truth = open_pipeline(BASE, "cpu")
    tensors, path = changed(truth), tmp_path / "esd.safetensors"
    save_file({prefix + name: tensor for name, tensor in tensors.items()}, path)
    check_there(str(path))
    check_base(str(path), BASE)
    assert kind_of(str(path)) == "weights"
    before = draw(truth)
    with torch.no_grad():
        for name, tensor in tensors.items():
            truth.unet.get_parameter(name).copy_(tensor)
    wanted = draw(truth)
    found = draw(open_holder(str(path), BASE, SAMPLING, "cpu").open())  # type: ignore[union-attr]
    assert np.array_equal(found, wanted)
    assert not np.array_equal(found, before)


PARTS: dict[str, tuple[Callable[[dict[str, Tensor]], None], str]] = {
    "another layer": (lambda t: t.update({"down_blocks.7.x.weight": torch.ones(2)}), r"down_blocks\.7\.x"),
    "another shape": (lambda t: t.update({next(iter(t)): torch.ones(3, 3)}), r"is of shape \(3, 3\)"),
}


@pytest.mark.parametrize("name", PARTS)
def test_a_part_that_does_not_fit_is_refused_before_anything_is_drawn(tmp_path: Path, name: str) -> None:
    change, said = PARTS[name]
    tensors, path = changed(open_pipeline(BASE, "cpu")), tmp_path / "esd.safetensors"
    change(tensors)
    save_file(tensors, path)
    store = tmp_path / "store"
    with pytest.raises(ub.UserError, match=said):
        ub.evaluate(str(path), TASK, store=store, out=tmp_path / "records", threads=1)
    assert not list((store / "images").rglob("*")) or not (store / "images").exists()


def test_numbers_that_are_not_finite_are_refused(tmp_path: Path) -> None:
    tensors, path = changed(open_pipeline(BASE, "cpu")), tmp_path / "esd.safetensors"
    next(iter(tensors.values()))[0, 0] = float("nan")
    save_file(tensors, path)
    with pytest.raises(ub.UserError, match="not finite"):
        open_holder(str(path), BASE, SAMPLING, "cpu").open()  # type: ignore[union-attr]


def test_another_file_gives_another_record(tmp_path: Path, session_store: Path) -> None:
    sizes = {"forget": 2, "forget_samples": 1, "retain_same": 1, "retain_other": 1, "retain_given": 1}
    path = tmp_path / "mine.safetensors"
    save_file(changed(open_pipeline(BASE, "cpu")), path)
    options = {"store": session_store, "threads": 1, "sizes": sizes}
    first = ub.evaluate(str(path), TASK, out=tmp_path / "a", **options)
    assert first.method.name == "mine"
    save_file(changed(open_pipeline(BASE, "cpu"), "attn2.to_v"), path)
    again = ub.evaluate(str(path), TASK, out=tmp_path / "b", **options)
    assert again.points[0].fingerprint != first.points[0].fingerprint


@pytest.mark.parametrize("which", ["tiny", "sd"])
def test_a_checkpoint_is_written_and_read_whole(tmp_path: Path, which: str) -> None:
    folder = BASE
    if which == "sd":  # has attention in its VAE, and cross-attention in other blocks
        folder = tmp_path / "model"
        (tmp_path / "tokenizer").mkdir()
        build_family("sd", tmp_path / "tokenizer").save_pretrained(folder)
    pipeline = open_pipeline(folder, "cpu")
    with torch.no_grad():
        for network in (pipeline.unet, pipeline.vae, pipeline.text_encoder):
            for parameter in network.parameters():
                parameter.add_(torch.randn_like(parameter) * 0.01)
    path = tmp_path / "model.safetensors"
    write_checkpoint(pipeline, path)
    tensors = load_file(path)
    tensors["model_ema.decay"], tensors["betas"] = torch.ones(1), torch.ones(4)
    save_file(tensors, path)
    check_there(str(path))
    assert kind_of(str(path)) == "checkpoint"
    found = open_holder(str(path), folder, SAMPLING, "cpu").open()  # type: ignore[union-attr]
    for name in ("unet", "vae", "text_encoder"):
        ours, theirs = getattr(found, name).state_dict(), getattr(pipeline, name).state_dict()
        assert all(torch.equal(ours[key], theirs[key]) for key in theirs)


def test_diffusers_reads_the_same_weights_from_the_file(tmp_path: Path) -> None:
    """An independent reader of the original layout: diffusers' own conversion."""
    from diffusers.loaders.single_file_utils import (
        convert_ldm_unet_checkpoint,
        convert_ldm_vae_checkpoint,
    )

    pipeline, path = open_pipeline(BASE, "cpu"), tmp_path / "model.safetensors"
    write_checkpoint(pipeline, path)
    unet = convert_ldm_unet_checkpoint(load_file(path), dict(pipeline.unet.config))
    vae = convert_ldm_vae_checkpoint(load_file(path), dict(pipeline.vae.config))
    for found, network in ((unet, pipeline.unet), (vae, pipeline.vae)):
        state = network.state_dict()
        assert found.keys() == state.keys()
        assert all(torch.equal(found[name].reshape(state[name].shape), state[name]) for name in state)


def test_known_names_of_stable_diffusion_1() -> None:
    """Names as they stand in CompVis' v1 checkpoints, for a UNet of four blocks with two layers each."""
    names = [f"down_blocks.{i}.resnets.{j}.conv1.weight" for i in range(4) for j in range(2)]
    names += [f"up_blocks.{i}.attentions.2.proj_in.weight" for i in (1, 2, 3)]
    names += ["up_blocks.0.upsamplers.0.conv.weight", "up_blocks.1.upsamplers.0.conv.weight"]
    names += ["down_blocks.0.downsamplers.0.conv.weight", "mid_block.attentions.0.norm.weight"]
    names += ["mid_block.resnets.1.time_emb_proj.bias", "conv_norm_out.weight"]
    found = rename("unet", names)
    assert found["down_blocks.1.resnets.0.conv1.weight"] == "input_blocks.4.0.in_layers.2.weight"
    assert found["down_blocks.3.resnets.1.conv1.weight"] == "input_blocks.11.0.in_layers.2.weight"
    assert found["down_blocks.0.downsamplers.0.conv.weight"] == "input_blocks.3.0.op.weight"
    assert found["up_blocks.0.upsamplers.0.conv.weight"] == "output_blocks.2.1.conv.weight"
    assert found["up_blocks.1.upsamplers.0.conv.weight"] == "output_blocks.5.2.conv.weight"
    assert found["up_blocks.3.attentions.2.proj_in.weight"] == "output_blocks.11.1.proj_in.weight"
    assert found["mid_block.attentions.0.norm.weight"] == "middle_block.1.norm.weight"
    assert found["mid_block.resnets.1.time_emb_proj.bias"] == "middle_block.2.emb_layers.1.bias"
    assert found["conv_norm_out.weight"] == "out.0.weight"


WHOLE: dict[str, tuple[Callable[[dict[str, Tensor]], Any], str]] = {
    "missing": (
        lambda t: t.pop("model.diffusion_model.out.2.bias"),
        "lacks model.diffusion_model.out.2.bias",
    ),
    "left over": (
        lambda t: t.update({"control_model.x": torch.ones(2)}),
        "tensors, first control_model.x",
    ),
    "no VAE": (
        lambda t: [t.pop(name) for name in list(t) if name.startswith("first_stage")],
        "has no vae",
    ),
    "not finite": (lambda t: t["model.diffusion_model.out.2.bias"].fill_(torch.inf), "not finite"),
}


@pytest.mark.parametrize("name", WHOLE)
def test_a_checkpoint_that_is_not_whole_is_refused(tmp_path: Path, name: str) -> None:
    path = tmp_path / "model.safetensors"
    write_checkpoint(open_pipeline(BASE, "cpu"), path)
    tensors = load_file(path)
    change, said = WHOLE[name]
    change(tensors)
    save_file(tensors, path)
    with pytest.raises(ub.UserError, match=said):
        open_holder(str(path), BASE, SAMPLING, "cpu").open()  # type: ignore[union-attr]


def test_the_command_writes_a_checkpoint(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "model.safetensors"
    assert main(["convert", str(BASE), "--out", str(out)]) == 0
    assert str(out) in capsys.readouterr().out
    assert main(["convert", str(BASE), "--out", str(tmp_path / "model.ckpt")]) == 2
    assert "--out" in capsys.readouterr().err

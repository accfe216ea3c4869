"""Checkpoints of Stable Diffusion 1.x in one `.safetensors` file of the original layout, read and written.

The names follow from those of the diffusers networks by the structure of the original code (CompVis/
stable-diffusion: `ldm/modules/diffusionmodules/model.py`, `openaimodel.py`); `rename` says how. So a file is
read completely: every weight of the three networks must be in it, and everything else in it must be known to
be no weight.
"""

import re
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file, save_file

from ...errors import UserError
from ...files import replace_file
from ..whole import LEFTOVERS, read_names

UNET, VAE, TEXT = "model.diffusion_model.", "first_stage_model.", "cond_stage_model.transformer.text_model."
ROOTS = {"unet": UNET, "vae": VAE, "text_encoder": TEXT}
"""Network of a pipeline -> prefix of its weights in a checkpoint."""
NO_WEIGHT = re.compile(
    r"model_ema\..*|betas|alphas_.*|sqrt_.*|log_one_minus_.*|posterior_.*|logvar|"
    r"(.*\.)?position_ids|global_step|state_dict"
)
"""Names of what a checkpoint may hold besides weights: running averages, constants of the noise schedule."""
RESNET = {"norm1": "in_layers.0", "conv1": "in_layers.2", "time_emb_proj": "emb_layers.1",
          "norm2": "out_layers.0", "conv2": "out_layers.3", "conv_shortcut": "skip_connection"}  # fmt: skip
OUTER = {"time_embedding.linear_1": "time_embed.0", "time_embedding.linear_2": "time_embed.2",
         "conv_in": "input_blocks.0.0", "conv_norm_out": "out.0", "conv_out": "out.2"}  # fmt: skip
ATTENTION = {"group_norm": "norm", "to_q": "q", "to_k": "k", "to_v": "v", "to_out.0": "proj_out"}


def is_checkpoint(path: Path) -> bool:
    """Return whether a file's names are those of a whole checkpoint in the original layout."""
    names = read_names(path)
    return any(name.startswith(UNET) for name in names)


def check_checkpoint(path: Path) -> None:
    """Raise UserError where a checkpoint is no Stable Diffusion 1.x, or lacks a network."""
    names = read_names(path)
    for network, root in ROOTS.items():
        if not any(name.startswith(root) for name in names):
            raise UserError(
                f"{path}: has no {network} ({root}...): only whole checkpoints of Stable Diffusion 1.x are "
                "opened as one file; convert another one to a diffusers folder and give that"
            )


@torch.no_grad()
def set_checkpoint(pipeline: Any, path: Path) -> None:
    """Set a pipeline's UNet, VAE and text encoder to those of a checkpoint.

    The pipeline is of the same family: tokenizer, scheduler and configurations stay its own. Raises UserError
    naming the tensor, and changes nothing, where one is missing, is of another shape, or would be left out.
    """
    check_checkpoint(path)
    tensors, used, changes = load_file(path), set[str](), []
    for network, root in ROOTS.items():
        state = getattr(pipeline, network).state_dict()
        names = rename(network, state)
        for own, tensor in state.items():
            name = root + names[own]
            if LEFTOVERS.search(own):
                continue
            if name not in tensors:
                raise UserError(f"{path}: lacks {name}, which the base's {network} has: of another model")
            given = tensors[name]
            if given.numel() != tensor.numel() or _sides(given) != _sides(tensor):
                raise UserError(
                    f"{path}: {name}: is of shape {tuple(given.shape)}, the base's of {tuple(tensor.shape)}: "
                    "a checkpoint of another family; name its base with --base-model"
                )
            if not given.isfinite().all():
                raise UserError(f"{path}: {name}: holds numbers that are not finite")
            used.add(name)
            changes.append((tensor, given))
    left = sorted(name for name in tensors.keys() - used if not NO_WEIGHT.fullmatch(name))
    if left:
        said = f"{len(left)} of its {len(tensors)} tensors, first {left[0]}"
        raise UserError(f"{path}: of no layer of the base model: {said}")
    for tensor, given in changes:
        tensor.copy_(given.reshape(tensor.shape).to(tensor.dtype))


def _sides(tensor: torch.Tensor) -> tuple[int, ...]:
    """Return a tensor's shape without the ones at its end: a linear layer was a convolution of one pixel."""
    shape = list(tensor.shape)
    while len(shape) > 1 and shape[-1] == 1:
        shape.pop()
    return tuple(shape)


def write_checkpoint(pipeline: Any, path: Path) -> None:
    """Write a Stable Diffusion 1.x pipeline's weights as one file of the original layout.

    Raises UserError where the pipeline is of another family.
    """
    if type(pipeline).__name__ != "StableDiffusionPipeline" or pipeline.text_encoder is None:
        raise UserError(f"{type(pipeline).__name__}: only Stable Diffusion 1.x is written as one file")
    tensors: dict[str, torch.Tensor] = {}
    for network, root in ROOTS.items():
        state = getattr(pipeline, network).state_dict()
        names = rename(network, state)
        for own, tensor in state.items():
            flat = network == "vae" and tensor.dim() == 2 and ".attentions." in own
            tensors[root + names[own]] = (tensor[..., None, None] if flat else tensor).contiguous()
    replace_file(path, lambda scratch: save_file(tensors, scratch, metadata={"format": "pt"}))


def rename(network: str, names: Iterable[str]) -> dict[str, str]:
    """Return diffusers name -> original name, without the root, of a network's tensors.

    names: all of the network's: how many blocks and layers it has follows from them.
    """
    found = list(names)
    if network == "text_encoder":
        return {name: name.removeprefix("text_model.") for name in found}
    layers = 1 + max(int(m[1]) for n in found if (m := re.match(r".*?down_blocks\.\d+\.resnets\.(\d+)", n)))
    blocks = 1 + max(int(m[1]) for n in found if (m := re.match(r".*?down_blocks\.(\d+)\.", n)))
    convert = _rename_unet if network == "unet" else _rename_vae
    attends = {m[0] for n in found if (m := re.match(r"up_blocks\.\d+\.attentions\.\d+", n))}
    return {name: convert(name, layers, blocks, attends) for name in found}


def _rename_unet(name: str, layers: int, blocks: int, attends: set[str]) -> str:
    for own, theirs in OUTER.items():
        if name.startswith(f"{own}."):
            return theirs + name.removeprefix(own)
    if match := re.fullmatch(r"mid_block\.(resnets|attentions)\.(\d+)\.(.+)", name):
        number = 1 if match[1] == "attentions" else 2 * int(match[2])
        return f"middle_block.{number}.{_inner(match[1], match[3])}"
    match = re.fullmatch(r"(down|up)_blocks\.(\d+)\.(\w+)\.(\d+)\.(.+)", name)
    if match is None:
        raise UserError(f"unet: {name}: not a part of a Stable Diffusion 1.x UNet")
    side, block, kind, layer, rest = match[1], int(match[2]), match[3], int(match[4]), match[5]
    if side == "down":
        if kind == "downsamplers":
            return f"input_blocks.{(layers + 1) * (block + 1)}.0.{rest.replace('conv', 'op', 1)}"
        place = f"input_blocks.{(layers + 1) * block + layer + 1}"
    elif kind == "upsamplers":
        last = (layers + 1) * block + layers
        slot = 2 if f"up_blocks.{block}.attentions.{layers}" in attends else 1
        return f"output_blocks.{last}.{slot}.{rest}"
    else:
        place = f"output_blocks.{(layers + 1) * block + layer}"
    return f"{place}.{1 if kind == 'attentions' else 0}.{_inner(kind, rest)}"


def _inner(kind: str, rest: str) -> str:
    """Return the name inside a block: a residual block's parts have other names, attention's the same."""
    if kind == "attentions":
        return rest
    part, _, end = rest.partition(".")
    return f"{RESNET[part]}.{end}"


def _rename_vae(name: str, layers: int, blocks: int, attends: set[str]) -> str:
    side, _, rest = name.partition(".")
    rest = rest.replace("conv_shortcut", "nin_shortcut").replace("conv_norm_out", "norm_out")
    if match := re.fullmatch(r"mid_block\.(resnets|attentions)\.(\d+)\.(.+)", rest):
        kind = "block" if match[1] == "resnets" else "attn"
        return f"{side}.mid.{kind}_{int(match[2]) + 1}.{_replace(match[3], ATTENTION)}"
    if match := re.fullmatch(r"(down|up)_blocks\.(\d+)\.(resnets|\w+samplers)\.(\d+)\.(.+)", rest):
        # the original counts the decoder's blocks from the image inwards
        block = int(match[2]) if match[1] == "down" else blocks - 1 - int(match[2])
        part = f"block.{match[4]}" if match[3] == "resnets" else match[3].removesuffix("rs")
        return f"{side}.{match[1]}.{block}.{part}.{match[5]}"
    return f"{side}.{rest}" if rest else name


def _replace(name: str, parts: Mapping[str, str]) -> str:
    found = next((own for own in parts if name.startswith(f"{own}.")), None)
    return name if found is None else parts[found] + name.removeprefix(found)

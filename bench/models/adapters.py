"""LoRA adapters on a denoiser: attached for training, read as plain weights, removed again."""

from typing import Any

import torch
from torch import Tensor, nn

from ..errors import UserError

TARGETS = ["to_q", "to_k", "to_v", "to_out.0", "add_q_proj", "add_k_proj", "add_v_proj", "to_add_out"]
"""Attention's projections under diffusers' names: what diffusers' own LoRA trainers adapt."""
NAME = "default"


def add_lora(module: nn.Module, rank: int) -> list[nn.Parameter]:
    """Attach a LoRA of a rank to every attention (Hu et al. 2021) and return its parameters.

    It starts at zero: the module's predictions do not change. The caller seeds torch's generator, from
    which A is drawn. Raises UserError without peft.
    """
    try:
        from peft import LoraConfig
    except ImportError:
        raise UserError("part: lora needs peft; install it with: pip install 'unlearnbench[lora]'") from None
    network: Any = module
    network.add_adapter(LoraConfig(r=rank, lora_alpha=rank, target_modules=TARGETS), adapter_name=NAME)
    return [parameter for name, parameter in module.named_parameters() if ".lora_" in name]


def has_lora(module: nn.Module) -> bool:
    """Return whether adapters are attached."""
    return bool(getattr(module, "_hf_peft_config_loaded", False))


@torch.no_grad()
def plain_state(module: nn.Module) -> dict[str, Tensor]:
    """Return the weights under the names of a module without adapters, the adapters' contribution added."""
    state = module.state_dict()
    if not has_lora(module):
        return state
    plain = {name.replace(".base_layer.", "."): t for name, t in state.items() if ".lora_" not in name}
    for name, layer in module.named_modules():
        if hasattr(layer, "get_delta_weight") and NAME in getattr(layer, "lora_A", {}):
            added: Any = layer
            plain[f"{name}.weight"] = plain[f"{name}.weight"] + added.get_delta_weight(NAME)
    return plain


def merge_lora(module: nn.Module) -> None:
    """Merge the adapters into the weights and remove them."""
    if has_lora(module):
        state = {name: tensor.clone() for name, tensor in plain_state(module).items()}
        network: Any = module
        network.unload_lora()
        module.load_state_dict(state)

"""Which tensors of a pipeline each method may change, by name: written apart from the methods' own code."""

from typing import Any

from torch import nn

from unlearnbench.bench.models.generators import denoiser_name
from unlearnbench.bench.models.saved.deltas import components_of
from unlearnbench.bench.registry import Entry
from unlearnbench.bench.training.trainer import select_part

PROJECTIONS = ("attn2.to_k.weight", "attn2.to_v.weight", "context_embedder.weight")
POOLED = ("time_text_embed.text_embedder.linear_1.weight",)
TEXT_KEYS = ("attn2.to_k", "attn2.to_v", "attn.add_k_proj", "attn.add_v_proj")
CROSS = ("attn2", ".add_q_proj", ".add_k_proj", ".add_v_proj", ".to_add_out")
OUTSIDE = ("time_embedding", "time_text_embed", "conv_norm_out", "conv_out", "norm_out", "proj_out")


def declared(method: str, part: str, module: nn.Module) -> set[str]:
    """Return the names of the parameters that a method may change."""
    names = [name for name, _ in module.named_parameters()]
    if method in ("uce", "rece"):
        return {name for name in names if name.endswith(PROJECTIONS + POOLED)}
    if method == "concept_prune":
        return {name for name in names if name.endswith(".ff.net.2.weight")}
    if method == "concept_ablation":
        return {name for name in names if any(f"{mark}." in name for mark in TEXT_KEYS)}
    if method == "esd_u":
        inside = [name for name in names if name.split(".")[0] not in OUTSIDE]
        return {name for name in inside if not any(mark in name for mark in CROSS)}
    chosen = {id(p) for p in select_part(module, part)}  # type: ignore[arg-type]
    return {name for name, p in module.named_parameters() if id(p) in chosen}


def declared_tensors(entry: Entry, part: str, pipeline: Any) -> set[str]:
    """Return the tensors that a method may change, as `component.name`; of a text encoder all."""
    found: set[str] = set()
    for component in components_of(pipeline, entry.trains):
        module = getattr(pipeline, component)
        names = set(module.state_dict())
        if component == denoiser_name(pipeline):
            names = declared(entry.name, part, module)
        found |= {f"{component}.{name}" for name in names}
    return found

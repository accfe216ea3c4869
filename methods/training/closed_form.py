"""Closed-form edits of the matrices that project the text: ridge regressions without gradients."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from ...bench.errors import UserError

PROJECTIONS = {
    "sd": ("attn2.to_k", "attn2.to_v"),
    "sdxl": ("attn2.to_k", "attn2.to_v"),
    "sd3": ("context_embedder",),
    "flux": ("context_embedder",),
}
"""Endings of the names of the matrices that read token states: a UNet's cross-attention keys and values; the
single projection of the context in a joint-attention transformer, after which text and image mix."""
POOLED_PROJECTIONS = ("time_text_embed.text_embedder.linear_1",)
"""The matrix of a joint-attention transformer that reads the pooled vector of a prompt."""


def find_projections(module: nn.Module, family: str) -> dict[str, nn.Linear]:
    """Return the layers that read token states, by name; raises UserError where there is none."""
    found = _ending(module, PROJECTIONS[family])
    if not found:
        raise UserError(f"{type(module).__name__}: has no layer named {' or '.join(PROJECTIONS[family])}")
    return found


def find_pooled_projections(module: nn.Module, family: str) -> dict[str, nn.Linear]:
    """Return the layers that read pooled vectors; none for UNets, where other inputs are mixed in first."""
    return _ending(module, POOLED_PROJECTIONS) if family in ("sd3", "flux") else {}


def _ending(module: nn.Module, ends: Sequence[str]) -> dict[str, nn.Linear]:
    layers = [(n, m) for n, m in module.named_modules() if isinstance(m, nn.Linear)]
    return {name: layer for name, layer in layers if name.endswith(tuple(ends))}


@dataclass(frozen=True)
class Edit:
    """States (m, d) whose projections are to become those of `guides` (m, d), with a weight.

    matrix: (out, d), which projects the guides; None = the edited matrix before the edit.
    """

    states: Tensor
    guides: Tensor
    weight: float
    matrix: Tensor | None = None


@torch.no_grad()
def solve_edit(weight: Tensor, edits: Sequence[Edit], lam: float) -> Tensor:
    """Return the matrix W that minimises Σ s‖W c - M g‖² + λ‖W - W₀‖² (in float64).

    weight: W₀ (out, d); M: an edit's own matrix, W₀ where it has none. Solution:
    W = (λW₀ + Σ s M g cᵀ)(λI + Σ s c cᵀ)⁻¹. Source: UCE, Gandikota et al. 2024 (arXiv 2308.14761), eq. 7.
    """
    old = weight.double()
    left = lam * torch.eye(old.shape[1], dtype=old.dtype, device=old.device)
    right, other = left.clone(), torch.zeros_like(old)
    for edit in edits:
        c, g = edit.states.double(), edit.guides.double()
        cross = edit.weight * g.T @ c
        right += edit.weight * c.T @ c
        if edit.matrix is None:
            left += cross
        else:
            other += edit.matrix.double() @ cross
    return torch.linalg.solve(right, (old @ left + other).T).T.to(weight.dtype)  # right is symmetric


@torch.no_grad()
def derive_states(edited: Sequence[Tensor], base: Sequence[Tensor], states: Tensor, ridge: float) -> Tensor:
    """Return states (m, d) whose projection by the edited matrices is that of `states` (m, d) by the base's.

    They minimise Σ‖W c' - W₀ c‖² + ridge ‖c'‖² over the matrices. Source: RECE, Gong et al. 2024
    (arXiv 2407.12383), eq. 9, regularised towards zero as its code does by default.
    """
    size = states.shape[1]
    gram = ridge * torch.eye(size, dtype=torch.float64, device=states.device)
    cross = torch.zeros_like(gram)
    for new, old in zip(edited, base, strict=True):
        gram += new.double().T @ new.double()
        cross += new.double().T @ old.double()
    return torch.linalg.solve(gram, cross @ states.double().T).T.to(states.dtype)

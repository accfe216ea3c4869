"""From a forget and a retain gradient to one direction: pure functions of tensor lists, no model.

g_f is the gradient of the forget objective that is minimised, g_r that of the retain loss. Both functions
write their result into g_f's tensors and return them, so the gradients are not copied.
"""

from collections.abc import Callable
from typing import Annotated, Literal

import torch
from pydantic import AfterValidator, ValidationInfo
from torch import Tensor
from torch.optim import Optimizer

from ...bench.training.gradients import Gradients, dot

InnerProductName = Literal["euclidean", "adam"]
InnerProduct = Callable[[Gradients, Gradients], Tensor]
"""inner(a, b): a scalar tensor; called with the same list twice for squared norms."""


def _check_second_moments(value: InnerProductName, info: ValidationInfo) -> InnerProductName:
    if value == "adam" and info.data.get("optimiser") == "sgd":
        raise ValueError('"adam" needs an optimiser with second moments (adamw or adam), not sgd')
    return value


InnerProductChoice = Annotated[InnerProductName, AfterValidator(_check_second_moments)]
"""The config field `inner_product` of a config that also has the field `optimiser`."""
NEGLIGIBLE = 1e-8
"""‖g_f‖²/‖g_r‖² at or below which nothing is projected. The projection ignores scale, so the rounding errors
of a vanishing forget gradient would still remove a component of the retain gradient."""
OPPOSITE = 1e-6
"""sin² of the angle at or below which conflicting gradients count as opposite: in float32 the rest is
rounding error, which Adam would scale up to a full step."""


def combine_sum(g_f: Gradients, g_r: Gradients, lam: float) -> Gradients:
    """Return g_f + λ g_r, in g_f's memory (GradDiff)."""
    torch._foreach_add_(g_f, g_r, alpha=lam)
    return g_f


def combine_balanced(g_f: Gradients, g_r: Gradients, lam: float, inner: InnerProduct = dot) -> Gradients:
    """Return the restricted gradient d_f + λ d_r, in g_f's memory; the plain sum without a conflict.

    d_f = g_f − (g_f·g_r/‖g_r‖²) g_r and d_r = g_r − (g_f·g_r/‖g_f‖²) g_f: each projected on the normal space
    of the other's original gradient. To first order a step against it raises neither objective. Opposite
    gradients give zero, a zero gradient the plain sum. Source: Ko et al. 2024 (arXiv 2412.07808), Theorem 4.
    """
    ff, rr, fr = torch.stack([inner(g_f, g_f), inner(g_r, g_r), inner(g_f, g_r)]).tolist()
    a, b = restricted_coefficients(ff, rr, fr, lam)
    torch._foreach_mul_(g_f, a)
    torch._foreach_add_(g_f, g_r, alpha=b)
    return g_f


def restricted_coefficients(ff: float, rr: float, fr: float, lam: float) -> tuple[float, float]:
    """Return (a, b) with a g_f + b g_r = d_f + λ d_r, from ‖g_f‖², ‖g_r‖² and g_f·g_r."""
    if not fr < 0 or ff <= NEGLIGIBLE * rr or rr <= 0:
        return 1.0, lam
    if 1 - fr / ff * (fr / rr) <= OPPOSITE:
        return 0.0, 0.0
    return 1 - lam * fr / ff, lam - fr / rr


def inner_product(name: InnerProductName, optimiser: Optimizer) -> InnerProduct:
    """Return the Euclidean inner product, or the one in which Adam's next step is about the gradient.

    adam: Σ ab/(√v̂ + ε), v̂ = bias-corrected second moments of the previous step; Euclidean before the first
    one.
    """
    [group] = optimiser.param_groups
    states = [optimiser.state.get(p, {}) for p in group["params"]]
    if name == "euclidean" or not all(states):
        return dot

    def inner(a: Gradients, b: Gradients) -> Tensor:
        terms = []
        for x, y, state in zip(a, b, states, strict=True):
            corrected = state["exp_avg_sq"] / (1 - group["betas"][1] ** int(state["step"]))
            terms.append((x * y / corrected.sqrt_().add_(group["eps"])).sum())
        return torch.stack(terms).sum()

    return inner

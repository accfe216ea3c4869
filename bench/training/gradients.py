"""Gradients as lists of tensors: computed in parts where memory is short, and their inner products."""

import torch
from torch import Tensor, nn

from ..errors import UserError
from .objectives import Batch, Objective

Gradients = list[Tensor]


def dot(a: Gradients, b: Gradients) -> Tensor:
    """Return the Euclidean inner product of two tensor lists as a scalar, accumulated in float32 or wider.

    Products are computed tensor by tensor: `torch._foreach_mul` would hold a whole copy of the gradients.
    """
    wide = torch.promote_types(a[0].dtype, torch.float32)
    if a is b:
        return torch.stack(torch._foreach_norm(a, 2, dtype=wide)).square().sum()
    return torch.stack([(x.to(wide) * y.to(wide)).sum() for x, y in zip(a, b, strict=True)]).sum()


def differentiate(
    objective: Objective, batch: Batch, micro: int, parameters: list[nn.Parameter]
) -> tuple[Tensor, Gradients]:
    """Return the loss to be logged and the gradient of a batch, computed `micro` images at a time.

    An objective is a mean over images, so parts are weighted by their size. Raises UserError for an objective
    that is no such mean, because it cannot be computed in parts.
    """
    parts = batch.split(micro)
    if len(parts) > 1 and not getattr(objective, "is_mean", True):
        raise UserError('truncation_mode: "batch" bounds the whole batch at once; give micro_batch = batch')
    losses = []
    for part in parts:
        share = len(part.times) / len(batch.times)
        value, loss = objective(part)
        losses.append(loss.detach() * share if len(parts) > 1 else loss.detach())
        (value * share if len(parts) > 1 else value).backward()
        del value, loss  # their graph holds the activations
    return torch.stack(losses).sum(), take_gradient(parameters)


def take_gradient(parameters: list[nn.Parameter]) -> Gradients:
    """Return the gradients that `backward` left in the parameters, and clear them.

    `backward` instead of `autograd.grad`, because it gives each gradient its parameter's strides and memory.
    """
    gradients = [torch.zeros_like(p) if p.grad is None else p.grad for p in parameters]
    for parameter in parameters:
        parameter.grad = None
    return gradients


def compute_cosine(a: Gradients, b: Gradients) -> float:
    """Return the Euclidean cosine of two tensor lists, 0 where one of them is zero."""
    product, scale = dot(a, b).item(), (dot(a, a).sqrt() * dot(b, b).sqrt()).item()
    return max(-1.0, min(1.0, product / scale)) if scale > 0 else 0.0

"""A forget objective that several papers use: the concept's prediction is drawn to the anchor's."""

import torch
from torch import Tensor

from ...bench.errors import UserError
from ...bench.training.objectives import Batch, Denoiser, Objective


def steer(denoiser: Denoiser) -> Objective:
    """Return ‖e(x_t, c) - sg e(x_t, a)‖² with both predictions by the current model; sg: no gradient.

    Raises UserError without anchor prompts. SalUn, EraseDiff, MUNBa and Scissorhands use it for Stable
    Diffusion, concept ablation on images of the anchor.
    """

    def objective(batch: Batch) -> tuple[Tensor, Tensor]:
        if batch.anchors is None:
            raise UserError("forget set: the task gives no anchor prompts, which this method needs")
        with torch.no_grad():
            target = denoiser.predict(batch, batch.anchors)
        loss = (denoiser.predict(batch, batch.conditions) - target).square().mean()
        return loss, loss

    return objective

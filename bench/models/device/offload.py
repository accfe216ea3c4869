"""Less device memory while drawing: weights wait on the CPU, or are kept in 8 bits between their uses."""

from typing import Any

import torch

from ...errors import UserError
from .precision import COMPUTE

OFFLOADS = {"model": "enable_model_cpu_offload", "sequential": "enable_sequential_cpu_offload"}
"""Name -> method of a diffusers pipeline. model: one network at a time is on the GPU. sequential: one layer,
which is much slower."""


def check_offload(wanted: str | None, device: str) -> None:
    """Raise UserError where weights cannot wait on the CPU in this way, or not for this device."""
    if wanted is None:
        return
    if wanted not in OFFLOADS:
        raise UserError(f"--offload {wanted}: choose one of {', '.join(OFFLOADS)}")
    if not device.startswith("cuda"):
        raise UserError(f"--offload {wanted}: spares the memory of a CUDA GPU; leave it out on {device}")


def offload(pipeline: Any, how: str, device: str) -> None:
    """Let diffusers move the weights of a pipeline on the CPU to the device only while they are used.

    The numbers stay the same. Raises UserError where the pipeline cannot do it.
    """
    try:
        getattr(pipeline, OFFLOADS[how])(device=device)
    except (AttributeError, ValueError, ImportError) as error:
        said = " ".join(str(error).split())
        raise UserError(f"--offload {how}: {type(pipeline).__name__} cannot do it: {said}") from None


def store_in_eight_bits(denoiser: Any, dtype: torch.dtype) -> None:
    """Keep the denoiser's weights in an 8-bit type, and convert each layer's while it computes (diffusers'
    layerwise casting). Does nothing for another type. The numbers change: the type is a part of every key.
    """
    if dtype in COMPUTE:
        denoiser.enable_layerwise_casting(storage_dtype=dtype, compute_dtype=COMPUTE[dtype])

"""Number types: of the images that are drawn, and of the forward passes of a training."""

from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager, nullcontext
from contextvars import ContextVar
from pathlib import Path
from typing import Any

import torch

from ...errors import UserError

DTYPES = {
    "float32": torch.float32,
    "bfloat16": torch.bfloat16,
    "float16": torch.float16,
    "float8_e4m3fn": torch.float8_e4m3fn,
}
COMPUTE = {torch.float8_e4m3fn: torch.bfloat16}
"""Type in which weights are only kept -> type in which a model computes with them."""
AUTO = "auto"
_COMPUTING: ContextVar[torch.dtype] = ContextVar("computing", default=torch.float32)


def check_dtype(wanted: str) -> None:
    """Raise UserError unless a name is `auto` or that of a type."""
    if wanted != AUTO and wanted not in DTYPES:
        raise UserError(f"--dtype {wanted}: choose one of {', '.join((AUTO, *DTYPES))}")


def choose_dtype(wanted: str, device: str, is_real: bool) -> torch.dtype:
    """Return the type to draw in. `auto`: bfloat16 for a real model on CUDA that has it, else float32."""
    check_dtype(wanted)
    if wanted != AUTO:
        return DTYPES[wanted]
    has_half = is_real and device.startswith("cuda") and torch.cuda.is_bf16_supported()
    return torch.bfloat16 if has_half else torch.float32


def recorded_dtype(sampling: Mapping[str, Any], where: Path) -> str:
    """Return the type in which a record's images were drawn. sampling: of the record. where: its file.

    Raises UserError where the record names another: anybody may have written it.
    """
    dtype = str(sampling.get("dtype", "torch.float32")).removeprefix("torch.")
    if dtype not in DTYPES:
        raise UserError(f"{where}: sampling.dtype: {dtype!a:.40}: not one of {', '.join(DTYPES)}")
    return dtype


def type_of_part(name: str, dtype: torch.dtype) -> torch.dtype:
    """Return the type in which a pipeline's component computes: an autoencoder overflows in float16, so it
    has float32."""
    return torch.float32 if name == "vae" and dtype == torch.float16 else COMPUTE.get(dtype, dtype)


@contextmanager
def computing(dtype: torch.dtype) -> Iterator[None]:
    """Let the denoiser's forward passes inside compute in the type for which a model is trained.

    Weights, losses and the optimiser keep float32. float16 is computed in float32: its gradients underflow
    unless losses are scaled.
    """
    token = _COMPUTING.set(torch.float32 if dtype == torch.float16 else COMPUTE.get(dtype, dtype))
    try:
        yield
    finally:
        _COMPUTING.reset(token)


def autocast(device: str) -> AbstractContextManager[Any]:
    """Return the context of one forward pass of the denoiser, on a kind of device (`cpu`, `cuda`)."""
    dtype = _COMPUTING.get()
    return nullcontext() if dtype == torch.float32 else torch.autocast(device, dtype)


@contextmanager
def decoding(pipeline: Any) -> Iterator[None]:
    """Let a float32 autoencoder decode the latents of a denoiser in float16: they are converted first."""
    vae: Any = getattr(pipeline, "vae", None)
    denoiser: Any = getattr(pipeline, "unet", None) or getattr(pipeline, "transformer", None)
    if vae is None or denoiser is None or denoiser.dtype != torch.float16 or vae.dtype == torch.float16:
        yield
        return
    decode = vae.decode

    def converted(latents: torch.Tensor, *arguments: Any, **named: Any) -> Any:
        return decode(latents.to(vae.dtype), *arguments, **named)

    vae.decode = converted
    try:
        yield
    finally:
        del vae.decode

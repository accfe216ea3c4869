"""A training loop: deterministic by seed, shows the time left, resumes bit-exactly after a kill."""

import math
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import torch
from safetensors import safe_open
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from ...files import replace_file
from ...progress import show_progress
from ..seeds import seeded
from .parts import check_key

CHECKPOINT_SECONDS = 60.0
LossFunction = Callable[[int, torch.Generator], Tensor]


def save_atomic(tensors: dict[str, Tensor], path: Path, key: str = "") -> None:
    """Write a safetensors file atomically. key: digest of the settings that it was made with."""
    whole = {k: v.detach().contiguous() for k, v in tensors.items()}
    replace_file(path, lambda scratch: save_file(whole, scratch, metadata={"key": key}))


def read_checked(path: Path, key: str) -> dict[str, Tensor]:
    """Read a safetensors file; raises UserError where it was made with settings of another key."""
    with safe_open(path, "pt") as file:
        check_key((file.metadata() or {}).get("key"), key, path)
    return load_file(path)


@dataclass
class Stage:
    """One model (or several) in training: its modules, its loss and its budget.

    The loss draws all its randomness from the generator it gets, which depends only on seed, name and step.
    So a run that was interrupted at any step continues exactly as if it had not been.
    """

    name: str
    modules: dict[str, nn.Module]
    loss: LossFunction
    steps: int
    rate: float
    seed: int
    key: str = ""  # digest of the settings; files of another key are refused
    betas: tuple[float, float] = (0.9, 0.99)
    weight_decay: float = 0.01
    warmup: int = 100
    decay_from: float = 0.0  # share of the steps after which the learning rate falls to 0 (cosine)
    ema: float | None = None
    averaged: dict[str, Tensor] = field(default_factory=dict)

    def parameters(self) -> dict[str, Tensor]:
        """Return all trained parameters by `module.name`."""
        return {f"{m}.{n}": p for m, module in self.modules.items() for n, p in module.named_parameters()}

    def buffers(self) -> dict[str, Tensor]:
        return {f"{m}.{n}": b for m, module in self.modules.items() for n, b in module.named_buffers()}

    def rate_at(self, step: int) -> float:
        """Return the learning rate: linear warm-up, constant, cosine to zero from `decay_from` on."""
        share = max(0.0, (step / self.steps - self.decay_from) / (1 - self.decay_from))
        return self.rate * min(1.0, (step + 1) / self.warmup) * 0.5 * (1 + math.cos(math.pi * share))


def train(stage: Stage, folder: Path, device: str = "cpu") -> None:
    """Train a stage to its end, resuming from `folder`; its modules then hold the (averaged) weights.

    The modules train on `device` and are back on the CPU afterwards. The random numbers come from the CPU on
    every device.
    """
    folder.mkdir(parents=True, exist_ok=True)
    final, checkpoint = folder / f"{stage.name}.safetensors", folder / f"{stage.name}.checkpoint.safetensors"
    if final.exists():
        _load_weights(stage, read_checked(final, stage.key))
        return
    _move(stage, device)
    parameters = stage.parameters()
    optimiser = torch.optim.AdamW(
        parameters.values(), stage.rate, betas=stage.betas, weight_decay=stage.weight_decay
    )
    if stage.ema is not None:
        stage.averaged = {name: p.detach().clone() for name, p in parameters.items()}
    start = _resume(stage, optimiser, checkpoint)
    for module in stage.modules.values():
        module.train()
    _run_steps(stage, optimiser, start, checkpoint)
    weights = {name: p.detach() for name, p in parameters.items()} | stage.buffers()
    save_atomic(weights | stage.averaged, final, stage.key)
    checkpoint.unlink(missing_ok=True)
    _move(stage, "cpu")
    _load_weights(stage, load_file(final))


def _move(stage: Stage, device: str) -> None:
    for module in stage.modules.values():
        module.to(device)


def _run_steps(stage: Stage, optimiser: torch.optim.Optimizer, start: int, checkpoint: Path) -> None:
    parameters = list(stage.parameters().values())
    saved, smooth = time.monotonic(), None
    with show_progress(stage.name, stage.steps, start) as advance:
        for step in range(start, stage.steps):
            for group in optimiser.param_groups:
                group["lr"] = stage.rate_at(step)
            loss = stage.loss(step, seeded(stage.seed, stage.name, step))
            optimiser.zero_grad(set_to_none=True)
            loss.backward()
            nn.utils.clip_grad_norm_(parameters, 1.0)
            optimiser.step()
            _average(stage, step)
            smooth = loss.item() if smooth is None else 0.98 * smooth + 0.02 * loss.item()
            advance(step + 1, f"loss {smooth:.4f}")
            if time.monotonic() - saved > CHECKPOINT_SECONDS:
                _save_checkpoint(stage, optimiser, step + 1, checkpoint)
                saved = time.monotonic()


def _average(stage: Stage, step: int) -> None:
    if stage.ema is None:
        return
    decay = min(stage.ema, (1 + step) / (10 + step))
    current = [p.detach() for p in stage.parameters().values()]
    torch._foreach_lerp_(list(stage.averaged.values()), current, 1 - decay)


def _save_checkpoint(stage: Stage, optimiser: torch.optim.Optimizer, step: int, path: Path) -> None:
    tensors = {"step": torch.tensor(step)}
    tensors |= {f"buffer.{n}": b for n, b in stage.buffers().items()}
    tensors |= {f"average.{n}": a for n, a in stage.averaged.items()}
    for name, parameter in stage.parameters().items():
        tensors[f"weight.{name}"] = parameter
        for key, value in optimiser.state[parameter].items():
            tensors[f"optimiser.{key}.{name}"] = value
    save_atomic(tensors, path, stage.key)


def _resume(stage: Stage, optimiser: torch.optim.Optimizer, path: Path) -> int:
    if not path.exists():
        return 0
    tensors = read_checked(path, stage.key)
    with torch.no_grad():
        for name, buffer in stage.buffers().items():
            buffer.copy_(tensors[f"buffer.{name}"])
        for name, average in stage.averaged.items():
            average.copy_(tensors[f"average.{name}"])
        for name, parameter in stage.parameters().items():
            parameter.copy_(tensors[f"weight.{name}"])
            keys = ("step", "exp_avg", "exp_avg_sq")
            state = {key: tensors[f"optimiser.{key}.{name}"].clone() for key in keys}
            # keep the memory format of the parameter: kernels, and so the last bits, depend on it
            for key in ("exp_avg", "exp_avg_sq"):
                state[key] = torch.empty_like(parameter).copy_(state[key])
            optimiser.state[parameter] = state
    return int(tensors["step"])


def _load_weights(stage: Stage, tensors: dict[str, Tensor]) -> None:
    targets = stage.parameters() | stage.buffers()
    with torch.no_grad():
        for name, target in targets.items():
            target.copy_(tensors[name])
    for module in stage.modules.values():
        module.eval().requires_grad_(False)

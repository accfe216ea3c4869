"""Receler: small erasers behind cross-attention, trained against prompts that bring the concept back.

An eraser adds U(gelu(D h)) to the output h of a cross-attention: D to few channels, U zero at first (arXiv
2311.17717, section 3.2). A step first learns soft token states p by ‖e(x_t, c ⊕ p) - e*(x_t, c)‖² (eq. 7),
then trains the erasers by ‖e(x_t, c ⊕ p) - [e*(x_t, ∅) - η (e*(x_t, c) - e*(x_t, ∅))]‖² + w Σ ‖o ⊙ (1 -
M)‖² (eqs. 3-6): e* without erasers, x_t drawn with them, ⊕ writes p behind the concept's tokens, o is an
eraser's output. M is 1 where attention to the concept's tokens, averaged over layers of one size and scaled
to [0, 1], reaches a threshold.

Where this differs from the released code: all updates of p come before the erasers' step; the code's last one
comes after it. p fills as many places as the prompt has room for. Maps are from layers `mask_shrink` times
smaller than the latents; the code's are 16 x 16 of 64 x 64. x_t's time is the one at which the sampler left
it, not one at random within that step. SDXL is an addition here. Joint-attention transformers have no
cross-attention and are refused.
"""

import math
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any, Literal

import torch
from pydantic import Field
from torch import Generator, Tensor, nn
from torch.nn.functional import interpolate, mse_loss
from torch.optim import Adam

from ..bench.errors import UserError
from ..bench.models.generators import trainable_module
from ..bench.training.families import check_supported
from ..bench.training.objectives import Batch, Denoiser
from ..bench.training.trainer import fork
from ..bench.types import Problem, SavePoint
from .training.attention import keep_maps
from .training.esd import EsdConfig, EsdTrainer
from .training.sampling import Beside, hooked, saving
from .training.tokens import concept_prompts, encode_tokens

REGISTER = {
    "summary": "Receler: erasers behind cross-attention, trained against adversarial prompts",
    "paper": "https://arxiv.org/abs/2311.17717",
    "version": 1,
    "function": "unlearn",
    "config": "Config",
    "apply": "apply",
    "direction": "",
    "needs": ["targets"],
    "trains": [],
    "pipelines": ["sd", "sdxl"],
}
PRESETS = {
    # jasper0314-huang/Receler@3ccedc9, train_receler.py:227-260
    "paper": {
        "steps": 500, "rate": 3e-4, "batch": 1, "optimiser": "adam", "prompts": "name", "start_guidance": 3.0,
        "negative_guidance": 1.0, "sampling_steps": 50, "rank": 128, "localising": 0.1, "mask_threshold": 0.1,
        "mask_shrink": 4, "attack_steps": 50, "soft_tokens": 16, "attack_rate": 0.1, "attack_decay": 0.1,
    },
}  # fmt: skip


class Config(EsdConfig):
    """rank: channels inside an eraser. localising: w. mask_threshold, mask_shrink: of M. attack_steps: of p
    before each step, 0 = no p. soft_tokens: its length. attack_rate, attack_decay: of its Adam. strength:
    factor of the erasers' outputs when images are drawn."""

    part: Literal["full"] = "full"
    steps: int = Field(default=40, ge=1)
    batch: int = Field(default=4, ge=1)
    prompts: Literal["name", "training"] = "name"
    rank: int = Field(default=128, ge=1)
    localising: float = Field(default=0.1, ge=0, allow_inf_nan=False)
    mask_threshold: float = Field(default=0.1, ge=0, le=1)
    mask_shrink: int = Field(default=2, ge=1)
    attack_steps: int = Field(default=5, ge=0)
    soft_tokens: int = Field(default=16, ge=1)
    attack_rate: float = Field(default=0.1, gt=0, allow_inf_nan=False)
    attack_decay: float = Field(default=0.1, ge=0, allow_inf_nan=False)
    strength: float = Field(default=1.0, ge=0, allow_inf_nan=False)


def eraser_of(width: int, rank: int, stream: Generator | None) -> nn.Sequential:
    """Return an eraser for outputs (..., width), zero at first; D is left as it is without a stream."""
    down, up = nn.Linear(width, rank), nn.Linear(rank, width)
    if stream is not None:
        nn.init.kaiming_uniform_(down.weight, a=math.sqrt(5), generator=stream)
        nn.init.uniform_(down.bias, -1 / math.sqrt(width), 1 / math.sqrt(width), generator=stream)
    for parameter in up.parameters():
        nn.init.zeros_(parameter)
    return nn.Sequential(down, nn.GELU(), up)


class Erasers(Beside):
    """The erasers of a UNet. outputs: what they added last, (b, places, width), by layer."""

    def __init__(self, unet: nn.Module, rank: int, stream: Generator | None = None) -> None:
        layers: dict[str, Any] = {n: m for n, m in unet.named_modules() if n.endswith("attn2")}
        super().__init__({n: eraser_of(m.to_out[0].out_features, rank, stream) for n, m in layers.items()})
        self.strength, self.outputs = 1.0, dict[str, Tensor]()
        first = next(unet.parameters())
        self.to(first.device, first.dtype)

    def attached(self, unet: nn.Module) -> Any:
        """Return a context in which the erasers act on a UNet."""
        return hooked(unet, {name: self._add(name, eraser) for name, eraser in self.by_layer().items()})

    def _add(self, name: str, eraser: nn.Module) -> Callable[[nn.Module, tuple[Any, ...], Any], Tensor]:
        def hook(layer: nn.Module, inputs: tuple[Any, ...], output: Tensor) -> Tensor:
            self.outputs[name] = eraser(output)
            return output + self.strength * self.outputs[name]

        return hook


def find_masks(maps: list[Tensor], marks: Tensor, side: tuple[int, int], threshold: float) -> Tensor:
    """Return M (b, h, w). maps: (b·heads, places, T). marks: (b, T) bool, the concept's. side: (h, w).

    Raises UserError where no map has that many places, or a prompt holds no concept.
    """
    places = side[0] * side[1]
    sized = [found for found in maps if found.shape[1] == places]
    if not sized:
        known = sorted({found.shape[1] for found in maps})
        raise UserError(f"mask_shrink: no attention map has {places} places; there are maps of {known}")
    if not marks.any(1).all():
        raise UserError("receler: a prompt does not hold the name of a target, or it is cut off")
    weights = marks.to(sized[0]) / marks.sum(1, keepdim=True)
    means = [(m.unflatten(0, (len(marks), -1)).mean(1) * weights[:, None]).sum(2) for m in sized]
    mean = torch.stack(means).mean(0)
    low, high = mean.amin(1, keepdim=True), mean.amax(1, keepdim=True)
    scaled = (mean - low) / (high - low).clamp(min=torch.finfo(mean.dtype).tiny)
    return (scaled >= threshold).to(mean).unflatten(1, side)


def outside(output: Tensor, masks: Tensor) -> Tensor:
    """Return the mean square of an eraser's output (b, places, width) outside the masks (b, h, w)."""
    height, width = masks.shape[1:]
    share = math.sqrt(output.shape[1] / (height * width))
    side = (round(height * share), round(width * share))
    free = 1 - interpolate(masks[:, None], side).flatten(1)
    squares = output.square().mean(2) * free
    return (squares.sum(1) / (free.sum(1) + 1e-9)).mean()


class EraserTrainer(EsdTrainer):
    """Alternates soft prompts and erasers."""

    def __init__(self, pipeline: Any, problem: Problem, config: Config) -> None:
        [own] = fork(problem.generator, 1)
        self.erasers = Erasers(Denoiser(pipeline).module, config.rank, own)
        super().__init__(pipeline, problem, config, list(self.erasers.parameters()))
        prompts, _ = concept_prompts(problem, config.prompts)
        marks = encode_tokens(self.denoiser, ["", *prompts], problem.targets, self.side).concept
        rows = torch.arange(len(marks))
        device = self.denoiser.device
        # what the network does not read travels with the conditions
        self.conditions |= {"concept": marks.to(device), "row": rows.to(device)}
        width = self.conditions["encoder_hidden_states"].shape[2]
        soft = torch.rand((len(marks), config.soft_tokens, width), generator=own)
        self.soft = soft.to(device, self.denoiser.dtype).requires_grad_(True)
        self.attacker = Adam([self.soft], lr=config.attack_rate, weight_decay=config.attack_decay)
        self.attacker.is_inner = True  # type: ignore[attr-defined]  # not a step of the training

    def insert(self, conditions: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Return conditions with the soft prompts in the places behind the concept's last token."""
        if not self.config.attack_steps:
            return dict(conditions)
        marks, states = conditions["concept"], conditions["encoder_hidden_states"]
        places = torch.arange(marks.shape[1], device=marks.device)
        last = (marks * places).amax(1, keepdim=True)
        offsets = places - last - 1
        inside = (offsets >= 0) & (offsets < self.config.soft_tokens)
        chosen = self.soft[conditions["row"]]
        index = offsets.clamp(0, self.config.soft_tokens - 1)[..., None].expand(-1, -1, chosen.shape[2])
        written = torch.where(inside[..., None], chosen.gather(1, index), states)
        return {**conditions, "encoder_hidden_states": written}

    def attack(self, batch: Batch, wanted: Tensor) -> float:
        """Train the soft prompts to bring back `wanted`, the base's prediction; return their last loss."""
        loss = torch.zeros(())
        for _ in range(self.config.attack_steps):
            loss = mse_loss(self.denoiser.predict(batch, self.insert(batch.conditions)), wanted)
            [self.soft.grad] = torch.autograd.grad(loss, [self.soft])
            self.attacker.step()
        self.soft.grad = None
        return loss.item()

    def take_step(self) -> dict[str, float]:
        with self.erasers.attached(self.denoiser.module):
            batch, _ = self.draw()
            with torch.no_grad(), keep_maps(self.base) as kept:
                wanted = self.denoiser.predict(batch, batch.conditions, self.base)
            height, width = (size // self.config.mask_shrink for size in batch.noisy.shape[2:])
            marks, threshold = batch.conditions["concept"], self.config.mask_threshold
            masks = find_masks(kept.maps, marks, (height, width), threshold)
            attack = self.attack(batch, wanted)
            conditions = {name: v.detach() for name, v in self.insert(batch.conditions).items()}
            batch = Batch(batch.noisy, batch.times, batch.target, {**conditions, "masks": masks}, None)
            loss, gradient = self.differentiate(self.localised, batch)
        norm = self.descend(gradient).item()
        return {"forget_loss": loss.item(), "attack_loss": attack, "norm_before_clipping": norm}

    def localised(self, batch: Batch) -> tuple[Tensor, Tensor]:
        """Return the erasing loss plus w times the erasers' outputs outside the masks."""
        erasing = mse_loss(self.denoiser.predict(batch, batch.conditions), batch.target)
        found = [outside(output, batch.conditions["masks"]) for output in self.erasers.outputs.values()]
        return erasing + self.config.localising * torch.stack(found).mean(), erasing


@contextmanager
def apply(pipeline: Any, tensors: Mapping[str, Tensor], config: Config) -> Iterator[None]:
    """Attach the saved erasers."""
    unet = trainable_module(pipeline)
    erasers = Erasers(unet, config.rank)
    erasers.load(tensors)
    erasers.strength = config.strength
    with erasers.attached(unet):
        yield None


def unlearn(pipeline: Any, problem: Problem, config: Config, save: SavePoint) -> None:
    """Train and save the erasers; no weight of the pipeline changes."""
    check_supported(pipeline, "receler", REGISTER["pipelines"])  # type: ignore[arg-type]
    concept_prompts(problem, "name")  # refuses a problem without names, which the marks of tokens need
    trainer = EraserTrainer(pipeline, problem, config)
    trainer.run(saving(save, trainer.erasers.tensors))

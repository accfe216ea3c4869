"""MACE: text projections refined in closed form, a LoRA for each concept, and the fusion of all LoRAs.

Three steps on the key and value matrices W of cross-attention (arXiv 2403.06135), for any number of targets:

1. Refinement (eq. 1, 2): W' = argmin Σ‖W' e_f - W e_g‖² + λ₁ Σ‖W' e_p - W e_p‖². e_f: states of the words
   next to the target in its prompts; e_g: the same words where the anchor stands in the target's place;
   e_p: states that are preserved. The target's own states are left out.
2. For each target a LoRA ΔW on W' (eq. 3, 4), trained to lower Σ_{i in S, l} ‖A^i_{t,l} ⊙ M‖²: A^i: attention
   of layer l to token i of the target, M: the target's region. The images are drawn by the base, and noised
   to times from ξ(t) ∝ σ(γ(t - t₁)) - σ(γ(t - t₂)) (eq. 5), which spares the early steps of a drawing.
3. Fusion (eq. 7): W* = argmin Σ_i Σ_j ‖W* e_j - (W' + ΔW_i) e_j‖² + λ₂ Σ‖W* e_p - W e_p‖².

This is written from the paper: the released code has a non-commercial licence, and was not read. Where the
paper leaves something open, or this differs:
- M comes from the base's own cross-attention to the target (mean over layers, heads and `region_draws`
  noisings, each layer's map and the mean scaled to a maximum of 1, cut at `region_level`), where the paper
  uses Grounded-SAM. A layer takes the share of M in each of its places.
- "Words next to the target" count the tokens that end and pad a prompt too (`end_tokens`): CLIP's causal
  encoder leaves much of the target in them.
- e_j in the fusion: the states of all tokens of the target's prompts, of the phrase and of the words next to
  it, both of which the paper names.
- e_p: all tokens of at most `preserved` retain prompts and of the empty prompt. The paper sums over the
  captions of MS-COCO, so its λ₁ and λ₂ weigh a much larger sum than here.
- `lam` adds λ‖W - W₀‖² to both closed forms. Without it they have no single solution where the states do not
  span their space, as those of a few prompts do not.
- The attention loss is a mean over images and heads; Adam's step does not see such a factor.
- All LoRAs take their steps in turn under one Adam, which equals training each on its own. So a checkpoint
  holds the fusion of all LoRAs at that step.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

import torch
from pydantic import Field, ValidationInfo, field_validator
from torch import Generator, Tensor

from ..bench.errors import UserError
from ..bench.training.families import Conditions, check_supported
from ..bench.training.gradients import Gradients
from ..bench.training.objectives import Batch, Denoiser, Objective
from ..bench.training.trainer import Trainer, fork
from ..bench.types import Problem, SavePoint
from .training.adapter import Adapter
from .training.attention import AttentionMaps, find_regions, keep_maps, masked_attention
from .training.closed_form import Edit, find_projections, solve_edit
from .training.config import LoopConfig, Prompts
from .training.latents import draw_latents, focal_density
from .training.tokens import TokenStates, align, anchors_of, concept_prompts, encode_tokens

REGISTER = {
    "summary": "MACE: refined text projections, a LoRA a concept on its attention maps, their fusion",
    "paper": "https://arxiv.org/abs/2403.06135",
    "version": 1,
    "function": "unlearn",
    "config": "Config",
    "direction": "",
    "needs": ["targets", "anchor"],
    "pipelines": ["sd", "sdxl"],
}
PRESETS = {
    # arXiv 2403.06135, sections 3.2 and 4.1; rates, steps and scales: the settings of Shilin-LU/MACE@057e7a6
    # for celebrities (erase_cele_1.yaml), objects and nudity (erase_explicit_content.yaml), whose `lamb` of 0
    # for celebrities and nudity is the limit of a small `lam` here
    "paper": {"steps": 50, "rate": 1e-4, "rank": 1, "images": 8, "batch": 1, "optimiser": "adam",
              "start": 200.0, "end": 400.0, "sharpness": 0.05, "preserve_scale": 1e-4, "fuse_scale": 1e-4,
              "lam": 1e-3},
    "paper-object": {"steps": 50, "rate": 1e-5, "rank": 1, "images": 8, "batch": 1, "optimiser": "adam",
                     "start": 200.0, "end": 400.0, "sharpness": 0.05, "lam": 1e3},
    "paper-nudity": {"steps": 120, "rate": 1e-5, "rank": 1, "images": 8, "batch": 1, "optimiser": "adam",
                     "start": 200.0, "end": 400.0, "sharpness": 0.05, "preserve_scale": 7e-7,
                     "fuse_scale": 7e-7, "lam": 1e-3},
}  # fmt: skip


class Config(LoopConfig):
    """steps: of each LoRA. images: that the base draws of each target. rank: of a LoRA.

    start, end, sharpness: t₁, t₂ (times) and γ of the sampling of times. preserve_scale, fuse_scale: λ₁, λ₂.
    lam: λ. preserved: distinct retain prompts whose states are preserved, at most. end_tokens: whether the
    tokens behind a prompt's words count as words next to the target. region_level: share of an attention
    map's maximum from which a place belongs to the region; 0 = the whole image. prompts: that hold the
    target.
    """

    part: Literal["xattn"] = "xattn"
    rate: float = Field(default=3e-3, gt=0, allow_inf_nan=False)
    steps: int = Field(default=30, ge=1)
    rank: int = Field(default=1, ge=1)
    images: int = Field(default=8, ge=1)
    start: float = Field(default=200.0, ge=0, allow_inf_nan=False)
    end: float = Field(default=400.0, gt=0, allow_inf_nan=False)
    sharpness: float = Field(default=0.05, gt=0, allow_inf_nan=False)
    preserve_scale: float = Field(default=10.0, ge=0, allow_inf_nan=False)
    fuse_scale: float = Field(default=10.0, ge=0, allow_inf_nan=False)
    lam: float = Field(default=0.1, gt=0, allow_inf_nan=False)
    preserved: int = Field(default=96, ge=0)
    end_tokens: bool = True
    region_level: float = Field(default=0.3, ge=0, le=1)
    region_draws: int = Field(default=4, ge=1)
    prompts: Prompts = "training"

    @field_validator("end")
    @classmethod
    def _check_end(cls, value: float, info: ValidationInfo) -> float:
        if value <= info.data.get("start", 0.0):
            raise ValueError("must lie behind `start`: no time is drawn otherwise")
        return value


@dataclass(frozen=True)
class Concept:
    """One target. states (n, T, d): of its prompts. conditions: a row a prompt, row 0 the empty one; among
    them `concept`, the marks (n + 1, T) of its tokens. latents (m, c, h, w), rows (m,), regions (m, h, w): of
    its images."""

    states: Tensor
    conditions: Conditions
    latents: Tensor
    rows: Tensor
    regions: Tensor


def coexisting_pairs(found: TokenStates, aims: TokenStates, end_tokens: bool) -> tuple[Tensor, Tensor]:
    """Return states (m, d) of the words next to the concept, and of the same words next to the anchor."""
    kept = ~found.concept
    if not end_tokens:
        last = found.ends.int().argmax(1, keepdim=True)
        kept &= torch.arange(kept.shape[1]) <= last
    left, right = align(found, aims)
    chosen = kept.flatten().to(left.device)
    return left[chosen], right[chosen]


@torch.no_grad()
def fuse(
    base: Tensor,
    refined: Tensor,
    deltas: list[tuple[Tensor, Tensor]],
    preserved: Tensor,
    scale: float,
    lam: float,
) -> Tensor:
    """Return W* of eq. 7. base, refined: W, W' (out, d). deltas: of each concept its states (m, d) and ΔW."""
    edits = [Edit(states, states, 1.0, refined + delta) for states, delta in deltas]
    return solve_edit(base, [*edits, Edit(preserved, preserved, scale)], lam)


class MaceTrainer(Trainer):
    """Refines the projections in place, then trains a LoRA for each concept; `run` saves their fusion."""

    def __init__(self, pipeline: Any, problem: Problem, config: Config) -> None:
        super().__init__(pipeline, config)
        if not problem.anchor and not problem.anchors:
            raise UserError("anchor: the task names none, which MACE needs")
        self.problem: Problem = problem
        self.side: Any = tuple(problem.forget_set.images.shape[-2:])
        drawn, fresh, self.stream = fork(problem.generator, 3)
        self.layers = find_projections(self.denoiser.module, self.denoiser.family.name)
        self.base = {name: layer.weight.detach().clone() for name, layer in self.layers.items()}
        count = int(self.denoiser.noising.schedule.config.num_train_timesteps)  # type: ignore[attr-defined]
        self.density = focal_density(count, config.start, config.end, config.sharpness)
        self.concepts = [self._prepare(*pairs, drawn) for pairs in self._find_prompts()]
        self.preserved = self._preserve()
        self._refine()
        self.adapters = [Adapter(self.layers, config.rank, fresh) for _ in self.concepts]
        self.open([p for adapter in self.adapters for p in adapter.parameters()])

    def _find_prompts(self) -> list[tuple[str, list[str]]]:
        """Return each target with the prompts that hold it, its bare name where none does."""
        targets, found = self.problem.targets, []
        prompts, _ = concept_prompts(self.problem, self.config.prompts)
        if not targets:
            raise UserError("targets: the problem does not name what is to be forgotten")
        for target in targets:
            held = encode_tokens(self.denoiser, prompts, [target], self.side).concept.any(1).tolist()
            own = [prompt for prompt, holds in zip(prompts, held, strict=True) if holds]
            found.append((target, own or [target]))
        return found

    def _prepare(self, target: str, prompts: list[str], stream: Generator) -> Concept:
        """Return a target's prompts as states, its images as the base draws them, and its regions."""
        tokens = encode_tokens(self.denoiser, prompts, [target], self.side)
        conditions = self.denoiser.encode_text(["", *prompts], self.side)
        marks = torch.cat([torch.zeros_like(tokens.concept[:1]), tokens.concept])
        conditions["concept"] = marks.to(self.denoiser.device)
        rows = 1 + torch.arange(self.config.images) % len(prompts)
        plain = {name: values for name, values in conditions.items() if name != "concept"}
        latents = draw_latents(self.denoiser, self.problem.sampling, plain, rows, self.side, stream)
        whole = torch.ones((len(rows), *latents.shape[-2:]), device=latents.device)
        concept = Concept(tokens.states, conditions, latents, rows, whole)
        return Concept(tokens.states, conditions, latents, rows, self._locate(concept, stream))

    @torch.no_grad()
    def _locate(self, concept: Concept, stream: Generator) -> Tensor:
        """Return the regions of a concept's images, from the base's attention to its tokens."""
        regions = []
        for part in torch.arange(len(concept.rows)).split(self.micro):
            noised = []
            for _ in range(self.config.region_draws):
                batch = self._noise(concept, part, stream)
                with keep_maps(self.denoiser.module) as maps:
                    self.denoiser.predict(batch, batch.conditions)
                noised.append(maps.maps)
            size: Any = tuple(concept.regions.shape[-2:])
            regions.append(find_regions(noised, batch.conditions["concept"], size, self.config.region_level))
        return torch.cat(regions)

    def _noise(self, concept: Concept, picked: Tensor, stream: Generator) -> Batch:
        """Return some of a concept's images, noised to times from the focal density."""
        places = picked.to(self.denoiser.device)
        times = torch.multinomial(self.density, len(picked), replacement=True, generator=stream)
        clean = concept.latents[places]
        noise = torch.randn(clean.shape, generator=stream).to(clean)
        times = times.to(self.denoiser.device)
        noisy, target = self.denoiser.noising.mix(clean, noise, times)
        rows = concept.rows[picked].to(self.denoiser.device)
        conditions = {name: values[rows] for name, values in concept.conditions.items()}
        conditions["region"] = concept.regions[places]
        return Batch(noisy.contiguous(memory_format=self.denoiser.layout), times, target, conditions, None)

    def _preserve(self) -> Tensor:
        """Return the states (m, d) that are preserved."""
        prompts = ["", *dict.fromkeys(self.problem.retain_set.prompts)][: self.config.preserved + 1]
        return encode_tokens(self.denoiser, prompts, (), self.side).states.flatten(0, 1)

    def _refine(self) -> None:
        """Map the words next to the targets to the same words next to the anchor, in place."""
        prompts, anchors = concept_prompts(self.problem, self.config.prompts)
        found = encode_tokens(self.denoiser, prompts, self.problem.targets, self.side)
        aims = encode_tokens(self.denoiser, anchors, anchors_of(self.problem), self.side)
        states, guides = coexisting_pairs(found, aims, self.config.end_tokens)
        edits = [
            Edit(states, guides, 1.0),
            Edit(self.preserved, self.preserved, self.config.preserve_scale),
        ]
        self._write({n: solve_edit(weight, edits, self.config.lam) for n, weight in self.base.items()})

    @torch.no_grad()
    def _write(self, weights: dict[str, Tensor]) -> None:
        for name, weight in weights.items():
            self.layers[name].weight.copy_(weight)

    def take_step(self) -> dict[str, float]:
        """Take a step with the LoRA of every concept."""
        losses: list[float] = []
        direction: Gradients = []
        for concept, adapter in zip(self.concepts, self.adapters, strict=True):
            picked = torch.randint(len(concept.rows), (self.config.batch,), generator=self.stream)
            batch = self._noise(concept, picked, self.stream)
            # open until the backward pass is through: gradient checkpointing repeats the forward pass in it
            with adapter.attached(self.layers), keep_maps(self.denoiser.module) as maps:
                loss, gradient = self.differentiate(suppress(self.denoiser, maps), batch)
            losses.append(loss.item())
            direction = [*torch._foreach_add(direction, gradient)] if direction else gradient
        norm = self.descend(direction).item()
        return {"forget_loss": sum(losses) / len(losses), "norm_before_clipping": norm}

    def fuse(self) -> dict[str, Tensor]:
        """Return the matrices that fuse all LoRAs, by layer."""
        fused = {}
        for name, layer in self.layers.items():
            pairs = zip(self.concepts, self.adapters, strict=True)
            deltas = [(concept.states.flatten(0, 1), adapter.delta(name)) for concept, adapter in pairs]
            base, config = self.base[name], self.config
            fused[name] = fuse(base, layer.weight, deltas, self.preserved, config.fuse_scale, config.lam)
        return fused

    def run(self, save: SavePoint) -> None:
        """Take all steps, and save the fusion at each checkpoint; the denoiser ends with the last fusion."""

        def save_fused(
            step: int, log: Mapping[str, Any], tensors: Mapping[str, Tensor] | None = None
        ) -> None:
            refined = {name: layer.weight.detach().clone() for name, layer in self.layers.items()}
            self._write(self.fuse())
            save(step, log, tensors)
            if step < self.config.steps:
                self._write(refined)

        super().run(save_fused)


def suppress(denoiser: Denoiser, maps: AttentionMaps) -> Objective:
    """Return the masked attention to the concept as an objective; `maps` collects the attention maps."""

    def objective(batch: Batch) -> tuple[Tensor, Tensor]:
        maps.maps.clear()
        denoiser.predict(batch, batch.conditions)
        loss = masked_attention(maps.maps, batch.conditions["concept"], batch.conditions["region"])
        return loss, loss

    return objective


def unlearn(pipeline: Any, problem: Problem, config: Config, save: SavePoint) -> None:
    """Refine, train and fuse, in place; a point is the fusion of all LoRAs."""
    check_supported(pipeline, "mace", REGISTER["pipelines"])  # type: ignore[arg-type]
    MaceTrainer(pipeline, problem, config).run(save)

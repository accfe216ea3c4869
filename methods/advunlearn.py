"""AdvUnlearn: the text encoder is trained against the prompt that brings the concept back best.

Upper level: ‖e(x_t, τ(c*)) - (e(x_t, τ₀(∅)) - η (e(x_t, τ₀(c)) - e(x_t, τ₀(∅))))‖²
+ w ‖e(x_t, τ(r)) - e(x_t, τ₀(r))‖², with gradients to the text encoder τ; τ₀: the base's, e: the UNet, which
is not trained; r: retain prompts. Lower level: c* is the concept's prompt behind `prefix` token embeddings
that minimise ‖e(x_t, τ(c*)) - e(x_t, τ₀(c))‖², by Adam's steps from random words. Before `warm_up` steps
c* = c. The UNet draws each x_t itself, for c or r. Source: arXiv 2405.15234 and its released code.

The encoder's layers and its last norm are trained, not the embeddings. Only Stable Diffusion's single encoder
is supported: in SDXL, SD3 and Flux another encoder would carry the concept past it.

Where this differs from the released code (OPTML-Group/AdvUnlearn@9d23124): - The attack clears its gradient
at each step; the released code adds them up over all attack steps. - The prefix is inserted, and tokens
beyond the last place are dropped. The released code counts a prompt's words, not its tokens, and so drops
tokens of a name that is spelled in several. - x_t and its time are those of a step of the sampler; the
released code draws a time near that step. - r is drawn from the retain set's prompts, with replacement,
instead of the names of COCO's objects without. - Its regularised objective is used (`--retain_train reg`, as
in its commands), not the default of its argument parser, which takes separate steps on the retain loss and
ignores the weight. - A step can take several images of the concept (`batch`); the prefix is the same for all.
"""

from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from typing import Any, Literal

import torch
from pydantic import Field
from torch import Tensor, nn

from ..bench.errors import UserError
from ..bench.training.families import Conditions, check_supported
from ..bench.training.objectives import Batch, Objective
from ..bench.training.trainer import Trainer, fork, freeze
from ..bench.types import Problem, SavePoint
from .training.config import LoopConfig, Prompts
from .training.esd import erased_target
from .training.latents import LatentSampler, draw_noise
from .training.tokens import concept_prompts

REGISTER = {
    "summary": "AdvUnlearn: text encoder trained against the prompt that brings the concept back",
    "paper": "https://arxiv.org/abs/2405.15234",
    "version": 1,
    "function": "unlearn",
    "config": "Config",
    "direction": "",
    "trains": ["text_encoder"],
    "needs": ["targets"],
    "pipelines": ["sd"],
}
PRESETS = {
    # OPTML-Group/AdvUnlearn@9d23124: AdvUnlearn.py, defaults of its argument parser (retain weight 1)
    "paper": {"steps": 1000, "rate": 1e-5, "batch": 1, "retain_batch": 5, "retain_weight": 1.0,
              "warm_up": 200, "attack_steps": 30, "attack_rate": 1e-3, "prefix": 1, "attack_from": "latest",
              "start_guidance": 3.0, "negative_guidance": 1.0, "sampling_steps": 50, "prompts": "name"},
    # the same with what README.md and the script give for nudity: retain weight .3, attacks from random words
    "paper-nudity": {"steps": 1000, "rate": 1e-5, "batch": 1, "retain_batch": 5, "retain_weight": 0.3,
                     "warm_up": 200, "attack_steps": 30, "attack_rate": 1e-3, "prefix": 1,
                     "attack_from": "random", "start_guidance": 3.0, "negative_guidance": 1.0,
                     "sampling_steps": 50, "prompts": "name"},
}  # fmt: skip


class Config(LoopConfig):
    """rate: of the text encoder. batch, retain_batch: images of the concept and of retain prompts a step.

    retain_weight: w. warm_up: steps before the first attack. attack_every: steps between attacks.
    attack_steps, attack_rate: of the inner Adam. prefix: number of token embeddings that are attacked; 0 = no
    attack. attack_from: `random` words, or the embeddings that the `latest` attack found. start_guidance:
    scale with which x_t is drawn. negative_guidance: η. sampling_steps: of a whole drawing (None = the
    world's). prompts: that hold the concept. part: of the text encoder.
    """

    part: Literal["full"] = "full"
    batch: int = Field(default=4, ge=1)
    rate: float = Field(default=3e-4, gt=0, allow_inf_nan=False)
    steps: int = Field(default=20, ge=1)
    retain_batch: int = Field(default=4, ge=1)
    retain_weight: float = Field(default=1.0, ge=0, allow_inf_nan=False)
    warm_up: int = Field(default=10, ge=0)
    attack_every: int = Field(default=5, ge=1)
    attack_steps: int = Field(default=10, ge=0)
    attack_rate: float = Field(default=1e-2, gt=0, allow_inf_nan=False)
    prefix: int = Field(default=1, ge=0)
    attack_from: Literal["random", "latest"] = "latest"
    start_guidance: float = Field(default=3.0, ge=0, allow_inf_nan=False)
    negative_guidance: float = Field(default=1.0, ge=0, allow_inf_nan=False)
    sampling_steps: int | None = Field(default=None, ge=1)
    prompts: Prompts = "training"


@contextmanager
def prefixed(encoder: nn.Module, prefix: Tensor) -> Iterator[None]:
    """Insert embeddings (k, d) after the token that begins every prompt, while the context is open.

    The tokens after them move by k places; tokens beyond the encoder's last place are dropped.
    """

    def insert(module: nn.Module, inputs: Any, output: Tensor) -> Tensor:
        added = prefix.expand(len(output), *prefix.shape)
        return torch.cat([output[:, :1], added, output[:, 1 : output.shape[1] - len(prefix)]], 1)

    handle = find_embedding(encoder).register_forward_hook(insert)
    try:
        yield
    finally:
        handle.remove()


def find_embedding(encoder: nn.Module) -> nn.Embedding:
    """Return the token embedding of a text encoder; raises UserError where it has none."""
    for name, module in encoder.named_modules():
        if name.endswith("token_embedding") and isinstance(module, nn.Embedding):
            return module
    raise UserError(f"{type(encoder).__name__}: has no token embedding that prompts can be attacked at")


class AdversarialTrainer(Trainer):
    """Trains only the text encoder.

    empty, concept, retain: the base's conditions of the empty prompt, the concept's and the retain prompts.
    """

    def __init__(self, pipeline: Any, problem: Problem, config: Config) -> None:
        super().__init__(pipeline, config)
        self.pipeline = pipeline
        self.encoder: nn.Module = pipeline.text_encoder
        [self.stream] = fork(problem.generator, 1)
        self.side: Any = tuple(problem.forget_set.images.shape[-2:])
        self.prompts = concept_prompts(problem, config.prompts)[0]
        self.retained = list(dict.fromkeys(problem.retain_set.prompts))
        if not self.retained:
            raise UserError("retain set: has no prompts, which AdvUnlearn needs")
        encode = self.denoiser.encode_text
        self.empty, self.concept, self.retain = (
            encode(prompts, self.side) for prompts in ([""], self.prompts, self.retained)
        )
        steps = config.sampling_steps or problem.sampling.steps
        self.sampler = LatentSampler(self.denoiser, steps, config.start_guidance)
        self.prefix: Tensor | None = None
        self.open([p for name, p in self.encoder.named_parameters() if "embeddings." not in name])

    def encode(self, prompts: list[str]) -> Conditions:
        """Return the conditions of prompts by the text encoder as it is now, with their graph."""
        return self.denoiser.family.encode(self.pipeline, prompts, self.side, self.denoiser.device)

    def noise(self, base: Conditions, rows: Tensor, stop: int) -> tuple[Batch, Conditions]:
        """Return x_t before step `stop`, drawn for rows of the base's conditions, and the empty conditions.

        The batch's conditions are the base's, with the rows next to them; its target is not yet set.
        """
        picked = {name: values[rows.to(values.device)] for name, values in base.items()}
        empty = {name: values.expand(len(rows), *values.shape[1:]) for name, values in self.empty.items()}
        noise = draw_noise(self.denoiser, len(rows), self.side, self.stream)
        noisy, times = self.sampler.draw(noise, picked, empty, stop)
        return Batch(noisy, times, noisy, picked | {"rows": rows.to(noisy.device)}, None), empty

    def draw_rows(self, count: int, size: int) -> Tensor:
        return torch.randint(count, (size,), generator=self.stream)

    def draw_stop(self) -> int:
        return int(torch.randint(self.sampler.steps, (1,), generator=self.stream))

    def erasing(self, rows: Tensor, stop: int) -> Batch:
        """Return a batch of the concept whose target is the erased prediction."""
        batch, empty = self.noise(self.concept, rows, stop)
        guidance = self.config.negative_guidance
        target = erased_target(self.denoiser, self.denoiser.module, batch, empty, guidance)
        return Batch(batch.noisy, batch.times, target, batch.conditions, None)

    def keeping(self, base: Conditions, rows: Tensor, stop: int) -> Batch:
        """Return a batch whose target is what the base predicts for its own prompts."""
        batch, _ = self.noise(base, rows, stop)
        with torch.no_grad():
            target = self.denoiser.predict(batch, batch.conditions)
        return Batch(batch.noisy, batch.times, target, batch.conditions, None)

    def distance(self, prompts: list[str], prefix: Tensor | None) -> Objective:
        """Return the distance to a batch's target of the predictions for its prompts, behind the prefix."""

        def objective(batch: Batch) -> tuple[Tensor, Tensor]:
            asked = [prompts[row] for row in batch.conditions["rows"].tolist()]
            with nullcontext() if prefix is None else prefixed(self.encoder, prefix):
                conditions = self.encode(asked)
            loss = (self.denoiser.predict(batch, conditions) - batch.target).square().mean()
            return loss, loss

        return objective

    def attack(self, rows: Tensor) -> tuple[Tensor, list[float]]:
        """Return the prefix (k, d) that brings the concept back, and the loss of each attack step."""
        vocabulary = find_embedding(self.encoder).weight
        start = self.prefix
        if start is None or self.config.attack_from == "random":
            words = torch.randint(len(vocabulary), (self.config.prefix,), generator=self.stream)
            start = vocabulary[words.to(vocabulary.device)]
        prefix = start.detach().clone().requires_grad_(True)
        first, second, losses = torch.zeros_like(prefix), torch.zeros_like(prefix), []
        with self.frozen():
            for number in range(1, self.config.attack_steps + 1):
                batch = self.keeping(self.concept, rows, self.draw_stop())
                loss, _ = self.distance(self.prompts, prefix)(batch)
                [gradient] = torch.autograd.grad(loss, [prefix])
                losses.append(loss.item())
                # Adam with torch's defaults, written out: a run's bar counts every step of torch's optimisers
                first.lerp_(gradient, 0.1)
                second.lerp_(gradient.square(), 0.001)
                scale = (second / (1 - 0.999**number)).sqrt() + 1e-8
                with torch.no_grad():
                    prefix -= self.config.attack_rate * first / (1 - 0.9**number) / scale
        return prefix.detach(), losses

    @contextmanager
    def frozen(self) -> Iterator[None]:
        """Keep the text encoder without gradients while the context is open."""
        for parameter in self.parameters:
            parameter.requires_grad_(False)
        try:
            yield
        finally:
            for parameter in self.parameters:
                parameter.requires_grad_(True)

    def take_step(self) -> dict[str, float]:
        """Attack where it is time to, then take a step of the text encoder."""
        done = len(self.log.get("step", []))
        rows, stop = self.draw_rows(len(self.prompts), self.config.batch), self.draw_stop()
        losses: list[float] = []
        attacks = self.config.prefix > 0 and self.config.attack_steps > 0 and done >= self.config.warm_up
        if attacks and (done - self.config.warm_up) % self.config.attack_every == 0:
            self.prefix, losses = self.attack(rows)
        erasing = self.distance(self.prompts, self.prefix)
        forget, direction = self.differentiate(erasing, self.erasing(rows, stop))
        kept = self.draw_rows(len(self.retained), self.config.retain_batch)
        keeping = self.distance(self.retained, None)
        retain, gradient = self.differentiate(keeping, self.keeping(self.retain, kept, stop))
        torch._foreach_add_(direction, gradient, alpha=self.config.retain_weight)
        norm = self.descend(direction).item()
        found = losses[-1] if losses else float("nan")
        return {
            "forget_loss": forget.item(),
            "retain_loss": retain.item(),
            "attack_loss": found,
            "norm_before_clipping": norm,
        }


def unlearn(pipeline: Any, problem: Problem, config: Config, save: SavePoint) -> None:
    """Train the text encoder against adversarial prompts, in place."""
    check_supported(pipeline, "advunlearn", REGISTER["pipelines"])  # type: ignore[arg-type]
    try:
        AdversarialTrainer(pipeline, problem, config).run(save)
    finally:
        freeze(pipeline)

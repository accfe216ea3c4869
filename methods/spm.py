"""SPM: one-dimensional adapters in the UNet's transformers erase the concept; similar prompts open them.

A layer's output is y + g U(D(x)): D to one channel, U from it, zero at first (arXiv 2312.16145, eq. 2). The
adapters are trained by ‖e(x_t, c) - [e*(x_t, ∅) - η (e*(x_t, c) - e*(x_t, ∅))]‖² + λ ‖e(x_t, s) - e*(x_t,
s)‖² (eqs. 4-6), e* without them, x_t drawn with them. s are random token states ("latent anchoring") of the
concept's length ± 20 %; one whose cosine with the concept's is κ is accepted with probability 1 - κ. While
an image is drawn, its gate g is the larger of the cosine of the prompt's token states with the concept's
and the share of the concept's tokens that the prompt holds ("facilitated transport", eq. 8), for the name
with the largest; both halves of guidance have it.

Where this differs from the released code: it multiplies both U and D by the gate, so that g² acts; here g
acts, as in the paper. Targets share one set of adapters; the code trains a set for each name and adds them.
x_t's time is the one at which the sampler left it, not the nearest of 1000. AdamW is not the 8-bit one.
Beyond rank 1 the code divides by the rank. Joint-attention transformers have no such blocks and are refused.
"""

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any, Literal

import torch
from pydantic import Field
from torch import Generator, Tensor, nn
from torch.optim.lr_scheduler import LambdaLR

from ..bench.models.generators import trainable_module
from ..bench.models.saved.steering import Call, Steering
from ..bench.training.families import check_supported
from ..bench.training.objectives import Batch, Denoiser
from ..bench.training.trainer import fork
from ..bench.types import Problem, SavePoint
from .training.esd import EsdConfig, EsdTrainer
from .training.sampling import Beside, hooked, saving
from .training.tokens import concept_prompts

REGISTER = {
    "summary": "SPM: one-dimensional adapters beside the UNet, opened by how like the concept a prompt is",
    "paper": "https://arxiv.org/abs/2312.16145",
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
    # Con6924/SPM@3dd762e, configs/pikachu/config.yaml, prompt.yaml, train_spm.py, infer_spm.py
    "paper": {
        "steps": 3000, "rate": 1e-4, "batch": 1, "optimiser": "adamw", "weight_decay": 0.01,
        "prompts": "name", "start_guidance": 3.0, "negative_guidance": 1.0, "sampling_steps": 30,
        "anchoring": 1000.0, "anchors": 4, "warmup": 500, "cycles": 3, "rank": 1, "gate": "both",
        "strength": 1.0,
    },
}  # fmt: skip
Gate = Literal["both", "cosine", "overlap", "open"]


class Config(EsdConfig):
    """anchoring: λ. anchors: random states an image. warmup, cycles: of the rate, steps of linear rise and
    falls along a cosine; 0 cycles = constant. rank: of the adapters. gate: what opens an adapter at a prompt
    (`open` = always 1). strength: factor of every gate."""

    part: Literal["full"] = "full"
    rate: float = Field(default=1e-2, gt=0, allow_inf_nan=False)
    steps: int = Field(default=60, ge=1)
    batch: int = Field(default=4, ge=1)
    optimiser: Literal["adamw", "adam", "sgd"] = "adamw"
    anchoring: float = Field(default=10.0, ge=0, allow_inf_nan=False)
    anchors: int = Field(default=4, ge=1)
    warmup: int = Field(default=0, ge=0)
    cycles: int = Field(default=0, ge=0)
    rank: int = Field(default=1, ge=1)
    gate: Gate = "both"
    strength: float = Field(default=1.0, ge=0, allow_inf_nan=False)


def adapter_of(layer: nn.Module, rank: int, stream: Generator | None) -> nn.Sequential:
    """Return U after D for a linear layer or a convolution, U zero; D is left as it is without a stream."""
    if isinstance(layer, nn.Linear):
        down: nn.Module = nn.Linear(layer.in_features, rank, bias=False)
        up: nn.Module = nn.Linear(rank, layer.out_features, bias=False)
    else:
        given: Any = layer
        down = nn.Conv2d(given.in_channels, rank, given.kernel_size, given.stride, given.padding, bias=False)
        up = nn.Conv2d(rank, given.out_channels, 1, bias=False)
    if stream is not None:
        nn.init.kaiming_uniform_(down.weight, a=math.sqrt(5), generator=stream)  # type: ignore[arg-type]
    nn.init.zeros_(up.weight)  # type: ignore[arg-type]
    return nn.Sequential(down, up)


class Adapters(Beside):
    """The adapters of a UNet and their gates. gates: () or one an image."""

    def __init__(self, unet: nn.Module, rank: int, stream: Generator | None = None) -> None:
        layers = {
            f"{name}.{inner}": layer
            for name, block in unet.named_modules()
            if type(block).__name__ == "Transformer2DModel"
            for inner, layer in block.named_modules()
            if isinstance(layer, nn.Linear | nn.Conv2d)
        }
        super().__init__({name: adapter_of(layer, rank, stream) for name, layer in layers.items()})
        self.gates = torch.ones(())
        first = next(unet.parameters())
        self.to(first.device, first.dtype)

    def attached(self, unet: nn.Module) -> Any:
        """Return a context in which the adapters act on a UNet."""
        return hooked(unet, {name: self._add(network) for name, network in self.by_layer().items()})

    def _add(self, network: nn.Module) -> Callable[[nn.Module, tuple[Any, ...], Any], Tensor]:
        def hook(layer: nn.Module, inputs: tuple[Any, ...], output: Tensor) -> Tensor:
            added: Tensor = network(inputs[0])
            gates = self.gates
            if gates.ndim:  # both halves of guidance have the prompt's gate
                gates = gates.repeat(len(added) // len(gates)).view(-1, *[1] * (added.ndim - 1))
            return output + gates.to(added) * added

        return hook


def draw_anchors(states: Tensor, count: int, stream: Generator) -> Tensor:
    """Return random states (b, count, ...) of latent anchoring. states: (b, ...), the concept's."""
    flat = states.flatten(1).cpu()
    found = []
    for concept in flat:
        rows: list[Tensor] = []
        while len(rows) < count:
            direction = torch.randn(len(concept), generator=stream)
            direction = direction / direction.norm()
            likeness = float(direction @ concept / concept.norm())
            if float(torch.rand((), generator=stream)) < 1 - likeness:
                length = 0.8 + 0.4 * float(torch.rand((), generator=stream))
                rows.append(length * concept.norm() * direction)
        found.append(torch.stack(rows))
    return torch.stack(found).view(len(states), count, *states.shape[1:]).to(states)


class AdapterTrainer(EsdTrainer):
    """Trains adapters by ESD's objective and latent anchoring."""

    def __init__(self, pipeline: Any, problem: Problem, config: Config) -> None:
        [own] = fork(problem.generator, 1)
        unet = Denoiser(pipeline).module
        self.adapters = Adapters(unet, config.rank, own)
        super().__init__(pipeline, problem, config, list(self.adapters.parameters()))
        self.rates = LambdaLR(self.optimiser, self._rate)
        self.anchor_stream = own

    def _rate(self, step: int) -> float:
        """Return the share of the rate at a step: a linear rise, then falls along a cosine."""
        if step < self.config.warmup:
            return step / self.config.warmup
        done = (step - self.config.warmup) / max(1, self.config.steps - self.config.warmup)
        cycles: int = self.config.cycles
        if not cycles:
            return 1.0
        return 0.5 * (1 + math.cos(math.pi * (done * cycles % 1))) if done < 1 else 0.0

    def take_step(self) -> dict[str, float]:
        with self.adapters.attached(self.denoiser.module):
            batch, _ = self.draw()
            names = [name for name in batch.conditions if name != "time_ids"]
            anchors = {
                name: draw_anchors(batch.conditions[name], self.config.anchors, self.anchor_stream)
                for name in names
            }
            batch = Batch(batch.noisy, batch.times, batch.target, batch.conditions, anchors)
            loss, gradient = self.differentiate(self.anchored, batch)
        norm = self.descend(gradient).item()
        self.rates.step()
        return {"forget_loss": loss.item(), "norm_before_clipping": norm}

    def anchored(self, batch: Batch) -> tuple[Tensor, Tensor]:
        """Return the erasing loss plus λ times that of staying at the base for the anchors."""
        erasing = (self.denoiser.predict(batch, batch.conditions) - batch.target).square().mean()
        if not self.config.anchoring:
            return erasing, erasing
        assert batch.anchors is not None
        count = self.config.anchors
        conditions = {name: values.repeat_interleave(count, 0) for name, values in batch.conditions.items()}
        conditions |= {name: values.flatten(0, 1) for name, values in batch.anchors.items()}
        noisy, times = batch.noisy.repeat_interleave(count, 0), batch.times.repeat_interleave(count, 0)
        repeated = Batch(noisy, times, noisy, conditions, None)
        with torch.no_grad():
            wanted = self.denoiser.predict(repeated, conditions, self.base)
        staying = (self.denoiser.predict(repeated, conditions) - wanted).square().mean()
        return erasing + self.config.anchoring * staying, erasing


def gates_of(
    states: Tensor, ids: list[list[int]], concept: Tensor, names: list[set[int]], gate: Gate
) -> Tensor:
    """Return how far each prompt opens the adapters, (n,).

    states (n, T, d), ids: of the prompts. concept (k, T, d), names (token ids): of the concept's names.
    """
    cosine = torch.cosine_similarity(states.flatten(1)[:, None], concept.flatten(1)[None], dim=2)
    overlap = torch.tensor([[len(set(row) & name) / len(name) for name in names] for row in ids])
    scores = {"cosine": cosine, "overlap": overlap.to(cosine), "open": torch.ones_like(cosine)}
    scores["both"] = torch.maximum(scores["cosine"], scores["overlap"])
    return scores[gate].amax(1)


def read_ids(pipeline: Any, prompts: Sequence[str]) -> list[list[int]]:
    """Return the ids of the prompts' own tokens, without those that begin, end or fill a prompt."""
    length = pipeline.tokenizer.model_max_length
    special = set(pipeline.tokenizer.all_special_ids)
    rows = pipeline.tokenizer(list(prompts), truncation=True, max_length=length).input_ids
    return [[token for token in row if token not in special] for row in rows]


@contextmanager
def apply(
    pipeline: Any, tensors: Mapping[str, Tensor], config: Config
) -> Iterator[Callable[[Call], Steering]]:
    """Attach the saved adapters, and set their gates for the prompts of each call."""
    unet = trainable_module(pipeline)
    adapters = Adapters(unet, config.rank)
    adapters.load(tensors)
    concept = tensors["concept"].to(pipeline.device, pipeline.unet.dtype)
    names = [set(row[row >= 0].tolist()) for row in tensors["ids"]]

    def open_gates(call: Call) -> Steering:
        states = call.conditions["encoder_hidden_states"]
        gates = gates_of(states, read_ids(pipeline, call.prompts), concept, names, config.gate)
        adapters.gates = config.strength * gates
        return Steering()

    with adapters.attached(unet):
        yield open_gates


def unlearn(pipeline: Any, problem: Problem, config: Config, save: SavePoint) -> None:
    """Train the adapters; saves them with the states and the token ids of the concept's names."""
    check_supported(pipeline, "spm", REGISTER["pipelines"])  # type: ignore[arg-type]
    names, _ = concept_prompts(problem, "name")
    trainer = AdapterTrainer(pipeline, problem, config)
    states = trainer.denoiser.encode_text(names, trainer.side)["encoder_hidden_states"]
    rows = [torch.tensor(row) for row in read_ids(pipeline, names)]
    ids = nn.utils.rnn.pad_sequence(rows, batch_first=True, padding_value=-1)
    trainer.run(saving(save, lambda: {**trainer.adapters.tensors(), "concept": states, "ids": ids}))

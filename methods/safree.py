"""SAFREE: while an image is drawn, token states are projected off the concept's span; nothing is trained.

P_C projects on the span of the pooled embeddings of the concept's names, P_I on that of the prompt's, one
token masked at a time (arXiv 2410.12761, section 3.1). A token is a trigger where its masked prompt lies
farther from the concept, ‖(I - P_C) m_i‖ ≥ (1 + α) times the others' mean; its state e becomes (I - P_C)
P_I e. This holds for steps 0 to t' = round(U σ(2k (10β - b))), β = 1 - the mean cosine of the prompt's
states e and (I - P_C) P_I e (self-validating filter). Latent re-attention: of the skip features that enter
the wide up blocks, low frequencies (the middle 2 x 2) are multiplied by s < 1 where their real part is
larger than with the prompt as written.

Where this differs from the released code: its script asks for re-attention but never passes the argument
(`safree`) without which its blocks do nothing; its filter would set the frequencies to the number s, and also
where both prompts agree. The preset `code` reproduces that. As there, the first token of the vocabulary is
the mask ("!" in CLIP), a prompt of one token is a trigger, and on SDXL the second encoder's half of the
states is projected. On SDXL the filter and re-attention are additions here. Projections are computed in
float64. SD3 and Flux are refused: their states are not of the pooled embeddings' width.
"""

import math
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import torch
from pydantic import BaseModel, Field
from torch import Tensor, fft, nn

from ..bench.config import STRICT
from ..bench.models.generators import trainable_module
from ..bench.models.saved.steering import Call, Steering, Step
from ..bench.training.families import check_supported
from ..bench.training.objectives import Denoiser
from ..bench.training.trainer import freeze
from ..bench.types import Problem, SavePoint
from .training.sampling import join_names
from .training.tokens import concept_prompts

REGISTER = {
    "summary": "SAFREE: token states projected off the concept's span while an image is drawn",
    "paper": "https://arxiv.org/abs/2410.12761",
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
    # jaehong31/SAFREE@b8b2c3f, generate_safree.py:407-421, scripts/run_nudity.sh, f_beta (nudity)
    "paper": {
        "alpha": 0.01, "filter": True, "steps_bound": 10, "slope": 2.5, "midpoint": 5.333, "negative": True,
        "reattention": True, "wide_scale": 0.9, "half_scale": 0.2,
    },
    # f_beta for artists
    "paper-style": {
        "alpha": 0.01, "filter": True, "steps_bound": 10, "slope": 3.5, "midpoint": 5.5, "negative": True,
        "reattention": True, "wide_scale": 0.9, "half_scale": 0.2,
    },
    "code": {
        "alpha": 0.01, "filter": True, "steps_bound": 10, "slope": 2.5, "midpoint": 5.333, "negative": True,
        "reattention": False,
    },
}  # fmt: skip


ROUNDING = 1e-4
"""Low frequencies that differ by at most this share of the channel's largest one count as equal."""


class Config(BaseModel):
    """alpha: α, `inf` = no triggers. filter: t' bounds the steps. steps_bound, slope, midpoint: U, k, b.
    negative: guidance starts from the concept's names, as in the released code, not from the empty prompt.
    reattention: see above; wide_scale, half_scale: s in blocks of the largest width and of half of it."""

    model_config = STRICT
    alpha: float = Field(default=0.01, ge=0, allow_inf_nan=True)
    filter: bool = True
    steps_bound: int = Field(default=10, ge=0)
    slope: float = Field(default=2.5, ge=0, allow_inf_nan=False)
    midpoint: float = Field(default=5.333, allow_inf_nan=False)
    negative: bool = True
    reattention: bool = True
    wide_scale: float = Field(default=0.9, ge=0, allow_inf_nan=False)
    half_scale: float = Field(default=0.2, ge=0, allow_inf_nan=False)


def project_on(vectors: Tensor) -> Tensor:
    """Return the orthogonal projection (d, d) on the span of vectors (k, d), in float64."""
    wide = vectors.double()
    return torch.linalg.pinv(wide, rtol=1e-6) @ wide  # float32 embeddings differ by rounding below that


def find_triggers(masked: Tensor, concept: Tensor, alpha: float) -> Tensor:
    """Return which tokens are triggers, (n,) bool. masked: (n, d), token i masked in row i. concept: P_C."""
    distances = (masked.double() - masked.double() @ concept).norm(dim=1)
    if len(distances) == 1:
        return torch.full_like(distances, not math.isinf(alpha), dtype=torch.bool)
    others = (distances.sum() - distances) / (len(distances) - 1)
    return distances >= (1 + alpha) * others


def last_step(states: Tensor, projected: Tensor, config: Config) -> int:
    """Return t' from the states (tokens, d) of a prompt before and after the projection."""
    beta = 1 - torch.cosine_similarity(states.double(), projected.double(), dim=1).mean().item()
    share = torch.sigmoid(torch.tensor(2 * config.slope * (10 * beta - config.midpoint))).item()
    return round(config.steps_bound * share)


def attenuate(safe: Tensor, plain: Tensor, scale: float) -> Tensor:
    """Return features (n, c, h, w), low frequencies scaled where they are above those of `plain`."""
    kind, sides, (height, width) = safe.dtype, (-2, -1), safe.shape[-2:]
    found, other = (fft.fftshift(fft.fftn(x.float(), dim=sides), dim=sides) for x in (safe, plain))
    rows = slice(max(height // 2 - 1, 0), height // 2 + 1)
    columns = slice(max(width // 2 - 1, 0), width // 2 + 1)
    low = found[..., rows, columns]
    # features that the prompt does not reach differ by rounding, which must decide nothing
    least = ROUNDING * low.abs().amax(sides, keepdim=True)
    larger = low.real - other[..., rows, columns].real > least
    found[..., rows, columns] = torch.where(larger, scale * low, low)
    return fft.ifftn(fft.ifftshift(found, dim=sides), dim=sides).real.to(kind)


class SkipFeatures:
    """Pre-hooks of a UNet's up blocks: they keep one pass's skip features, and attenuate the next one's."""

    def __init__(self, config: Config) -> None:
        self.config = config
        self.plain: dict[nn.Module, tuple[Tensor, ...]] = {}
        self.rows = torch.zeros(0, dtype=torch.bool)  # of the call: whose features change
        self.mode = ""

    @contextmanager
    def attached(self, unet: Any) -> Iterator[None]:
        widest = max(unet.config.block_out_channels)
        self.scales = {widest: self.config.wide_scale, widest // 2: self.config.half_scale}
        handles = [b.register_forward_pre_hook(self._see, with_kwargs=True) for b in unet.up_blocks]
        try:
            yield
        finally:
            for handle in handles:
                handle.remove()

    def _see(self, block: Any, arguments: tuple[Any, ...], named: dict[str, Any]) -> Any:
        skips = named["res_hidden_states_tuple"]
        if self.mode == "keep":
            self.plain[block] = skips
        if self.mode != "attenuate":
            return None
        resnets = reversed(block.resnets)  # the last skip features enter the first of them
        changed = [self._change(*each) for each in zip(resnets, skips, self.plain[block], strict=True)]
        return arguments, {**named, "res_hidden_states_tuple": tuple(changed)}

    def _change(self, resnet: Any, skip: Tensor, plain: Tensor) -> Tensor:
        scale = self.scales.get(resnet.in_channels - skip.shape[1])
        if scale is None:
            return skip
        half = skip[-len(plain) :]
        changed = torch.where(self.rows[:, None, None, None], attenuate(half, plain, scale), half)
        return torch.cat([skip[: -len(plain)], changed])


class Projection(Steering):
    """Projects the states of one call's prompts. concept: P_C. negative: conditions, {} = the call's own."""

    def __init__(
        self, call: Call, concept: Tensor, negative: Mapping[str, Tensor], config: Config, skips: SkipFeatures
    ) -> None:
        self.call, self.concept, self.negative, self.config, self.skips = (
            call,
            concept,
            negative,
            config,
            skips,
        )
        self.plain = call.conditions["encoder_hidden_states"]
        found = {
            prompt: self._project(prompt, row) for prompt, row in zip(call.prompts, self.plain, strict=True)
        }
        self.states = torch.stack([found[prompt][0] for prompt in call.prompts])
        last = [found[prompt][1] for prompt in call.prompts]
        self.last = torch.tensor(last, device=self.plain.device)[:, None, None]

    def _project(self, prompt: str, states: Tensor) -> tuple[Tensor, float]:
        """Return a prompt's new states (T, d) and its t'."""
        ids = read_ids(self.call.pipeline, prompt)
        count = len(ids) - 2
        if count < 1:
            return states, -1.0
        masked = torch.tensor([ids] * count)
        masked[torch.arange(count), torch.arange(1, count + 1)] = 0
        pooled = pool(self.call.pipeline, masked)
        whole = states[:, -pooled.shape[1] :]
        projected = whole.double() @ project_on(pooled)
        projected = (projected - projected @ self.concept).to(whole)
        triggers = find_triggers(pooled, self.concept, self.config.alpha)
        changed = torch.zeros(len(states), 1, dtype=torch.bool, device=states.device)
        changed[1 : count + 1, 0] = triggers
        merged = torch.cat([states[:, : -pooled.shape[1]], torch.where(changed, projected, whole)], dim=1)
        last = last_step(whole[: count + 2], projected[: count + 2], self.config)
        return merged, float(last) if self.config.filter else math.inf

    def condition(self, step: Step) -> Mapping[str, Tensor] | None:
        states = torch.where(step.index <= self.last, self.states, self.plain)
        changed = (states != self.plain).flatten(1).any(1)
        if not changed.any():
            return None
        if self.config.reattention:
            self.skips.mode, self.skips.rows = "keep", changed
            step.predict(self.call.conditions)
            self.skips.mode = "attenuate"
        return {"encoder_hidden_states": states}

    def guide(self, step: Step, uncond: Tensor | None, cond: Tensor) -> tuple[Tensor, Tensor] | None:
        self.skips.mode = ""
        if uncond is None or not self.negative:
            return None
        return step.predict(self.negative), cond


def pool(pipeline: Any, ids: Tensor) -> Tensor:
    """Return the pooled embeddings (m, d) of prompts as token ids (m, tokens)."""
    ids = ids.to(pipeline.device)
    with torch.no_grad():
        if hasattr(pipeline, "text_encoder_2"):
            pooled: Tensor = pipeline.text_encoder_2(ids).text_embeds
        else:
            pooled = pipeline.text_encoder(ids).pooler_output
    return pooled


def read_ids(pipeline: Any, prompt: str) -> list[int]:
    """Return the ids of a prompt, with those that begin and end it."""
    tokenizer = getattr(pipeline, "tokenizer_2", None) or pipeline.tokenizer
    ids: list[int] = tokenizer(prompt, truncation=True, max_length=tokenizer.model_max_length).input_ids
    return ids


@contextmanager
def apply(
    pipeline: Any, tensors: Mapping[str, Tensor], config: Config
) -> Iterator[Callable[[Call], Steering]]:
    """Project the prompts of every call off the saved concept."""
    concept = project_on(tensors["concept"]).to(pipeline.device)
    start = "negative."
    negative = {
        name.removeprefix(start): tensor.to(pipeline.device, pipeline.unet.dtype)
        for name, tensor in tensors.items()
        if name.startswith(start)
    }
    skips = SkipFeatures(config)
    with skips.attached(trainable_module(pipeline)):
        yield lambda call: Projection(call, concept, negative, config, skips)


def unlearn(pipeline: Any, problem: Problem, config: Config, save: SavePoint) -> None:
    """Save the embeddings of the concept's names, and the conditions of the negative prompt."""
    check_supported(pipeline, "safree", REGISTER["pipelines"])  # type: ignore[arg-type]
    names, _ = concept_prompts(problem, "name")
    freeze(pipeline)
    rows = [torch.tensor([read_ids(pipeline, name)]) for name in names]
    tensors = {"concept": torch.cat([pool(pipeline, ids) for ids in rows])}
    if config.negative:
        denoiser = Denoiser(pipeline)
        text, _ = join_names(denoiser, names)
        conditions = denoiser.encode_text([text], (0, 0))
        tensors |= {f"negative.{n}": t for n, t in conditions.items() if n != "time_ids"}
    save(1, {"step": [1]}, tensors=tensors)

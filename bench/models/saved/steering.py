"""Steering: the action of a sampling-time method during each call of a pipeline.

A method's `apply` yields a function from a `Call` to a `Steering`. It is attached to the pipeline's call, so
it also acts on plain calls; nothing here draws.
"""

import inspect
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor

from ...errors import UserError
from ..generators import trainable_module

Conditions = Mapping[str, Tensor]
"""The denoiser's inputs that come from prompts, by its own argument names, a row for each image."""
ENCODED: dict[str, dict[str, int]] = {
    "StableDiffusionPipeline": {"encoder_hidden_states": 0},
    "StableDiffusionXLPipeline": {"encoder_hidden_states": 0, "text_embeds": 2},
    "StableDiffusion3Pipeline": {"encoder_hidden_states": 0, "pooled_projections": 2},
    "FluxPipeline": {"encoder_hidden_states": 0, "pooled_projections": 1},
}
"""Position of the prompts' conditions in the result of a pipeline's `encode_prompt`, by argument name."""
ADDED = ("text_embeds", "time_ids")
"""Conditions that SDXL's UNet takes inside `added_cond_kwargs`."""
LATENTS = ("sample", "hidden_states")
"""Names of the argument with a denoiser's noisy latents."""
ROWS = (*LATENTS, "timestep", "guidance", "timestep_cond", "encoder_hidden_states", "pooled_projections")
"""Arguments of denoisers that may have a row for each image."""


@dataclass(frozen=True)
class Call:
    """One call of a pipeline that draws n images.

    prompts: n. conditions: of the prompts, each (n, ...): `encoder_hidden_states` (n, tokens, d), of SDXL
    also `text_embeds` (n, d), of SD3 and Flux `pooled_projections` (n, d).
    """

    pipeline: Any
    prompts: tuple[str, ...]
    conditions: Conditions


@dataclass(frozen=True)
class Step:
    """One pass of the denoiser.

    index: 0, 1, ... of `total`. time: the denoiser's input, () or (n,). latents: (n, c, h, w), of Flux packed
    (n, tokens, c). guidance: scale of the pipeline's call. conditions: (n, ...), read by the conditional
    half. again: runs the denoiser once more.
    """

    index: int
    total: int
    time: Tensor
    latents: Tensor
    guidance: float
    conditions: Conditions
    again: Callable[[Conditions], Tensor]

    def predict(self, conditions: Conditions) -> Tensor:
        """Return the prediction (n, ...) for other conditions at the same latents and time.

        conditions: each (n, ...) or (1, ...); those that are left out stay as they are in this step.
        """
        return self.again(dict(self.conditions) | dict(conditions))


class Steering:
    """Base class; a new object is made for every call, so it may keep state.

    Rows are images. A row of a result may depend only on that row: an image must not depend on its batch.
    """

    def condition(self, step: Step) -> Conditions | None:
        """Return conditions (n, ...) for the conditional half, before the pass; None = unchanged."""
        return None

    def guide(self, step: Step, uncond: Tensor | None, cond: Tensor) -> tuple[Tensor | None, Tensor] | None:
        """Return both predictions (n, ...) for the pipeline to guide with; None = unchanged.

        The pipeline then guides: uncond + guidance (cond - uncond). uncond is None where the call has no
        unconditional half: at a guidance of 1 or less, and in Flux, whose guidance is an input.
        """
        return None


@contextmanager
def steered(pipeline: Any, make: Callable[[Call], Steering]) -> Iterator[None]:
    """Context in which the steering that `make` returns acts on every call of a pipeline.

    Raises UserError for a pipeline whose encodings are not known here.
    """
    kind = type(pipeline).__name__
    if kind not in ENCODED:
        raise UserError(f"{kind}: no steering for pipelines of this kind; known: {', '.join(ENCODED)}")
    denoiser, own = trainable_module(pipeline), vars(pipeline).get("encode_prompt")
    attached = _Attached(pipeline, denoiser, make)
    handles = [
        denoiser.register_forward_pre_hook(attached.before, with_kwargs=True),
        denoiser.register_forward_hook(attached.after, with_kwargs=True),
    ]
    pipeline.encode_prompt = attached.encode
    try:
        yield
    finally:
        for handle in handles:
            handle.remove()
        del pipeline.encode_prompt
        if own is not None:
            pipeline.encode_prompt = own


class _Attached:
    """Follows the calls of a pipeline: a call begins where its prompts are encoded."""

    def __init__(self, pipeline: Any, denoiser: torch.nn.Module, make: Callable[[Call], Steering]) -> None:
        self.pipeline, self.denoiser, self.make = pipeline, denoiser, make
        self.plain: Callable[..., Any] = pipeline.encode_prompt
        self.steering: Steering | None = None
        self.call: Call | None = None
        self.step: Step | None = None
        self.passes, self.aside = 0, False

    @contextmanager
    def stepped_aside(self) -> Iterator[None]:
        """Let the block use the pipeline as if nothing were attached."""
        before, self.aside = self.aside, True
        try:
            yield
        finally:
            self.aside = before

    def encode(self, *arguments: Any, **named: Any) -> Any:
        """Encode prompts as the pipeline does, and begin a call with them."""
        if self.aside:
            return self.plain(*arguments, **named)
        is_second = self.call is not None and not self.passes
        if is_second and type(self.pipeline).__name__ == "FluxPipeline":  # others are not encoded twice
            raise UserError("true_cfg_scale: a sampling-time method acts on one set of prompts a call")
        with self.stepped_aside():
            result = self.plain(*arguments, **named)
            self.call = self._read_call(result, arguments, named)
            self.steering, self.passes = self.make(self.call), 0
        return result

    def _read_call(self, result: Any, arguments: tuple[Any, ...], named: Mapping[str, Any]) -> Call:
        given = inspect.signature(self.plain).bind(*arguments, **named).arguments
        prompts = given.get("prompt")
        if prompts is None:
            raise UserError("prompt_embeds: a sampling-time method acts on prompts; give the call `prompt`")
        prompts = [prompts] if isinstance(prompts, str) else list(prompts)
        copies = given.get("num_images_per_prompt", 1) or 1
        places = ENCODED[type(self.pipeline).__name__]
        conditions = {name: result[place] for name, place in places.items()}
        return Call(self.pipeline, tuple(p for p in prompts for _ in range(copies)), conditions)

    def before(self, module: Any, arguments: tuple[Any, ...], named: dict[str, Any]) -> Any:
        """Set the conditions of the conditional half for this step."""
        if self.aside or self.steering is None or self.call is None:
            return None
        found = _Pass(inspect.signature(module.forward).bind(*arguments, **named).arguments, self.call)
        self.step = Step(
            index=self.passes,
            total=len(self.pipeline.scheduler.timesteps),
            time=found.half("timestep"),
            latents=found.half(*LATENTS),
            guidance=float(self.pipeline.guidance_scale),
            conditions=found.conditions(),
            again=lambda conditions: self._predict(found.for_half(conditions)),
        )
        with self.stepped_aside():
            wanted = self.steering.condition(self.step)
        if wanted is None:
            return None
        self.step = replace(self.step, conditions=dict(self.step.conditions) | dict(wanted))
        return arguments, {**named, **found.with_conditions(wanted)}

    def _predict(self, named: Mapping[str, Any]) -> Tensor:
        with self.stepped_aside():
            prediction: Tensor = self.denoiser(**named)[0]
        return prediction

    def after(self, module: Any, arguments: Any, named: Any, output: Any) -> Any:
        """Return the predictions with which the pipeline will guide."""
        if self.aside or self.steering is None or self.call is None or self.step is None:
            return None
        prediction, n = output[0], len(self.call.prompts)
        uncond = prediction[:n] if len(prediction) == 2 * n else None
        step, self.step = self.step, None
        self.passes += 1
        with self.stepped_aside():
            wanted = self.steering.guide(step, uncond, prediction[-n:])
        if wanted is None:
            return None
        whole = torch.cat([part for part in wanted if part is not None])
        if whole.shape != prediction.shape:
            raise ValueError(f"guide: {tuple(whole.shape)} in place of {tuple(prediction.shape)}")
        return (whole, *output[1:]) if isinstance(output, tuple) else type(output)(sample=whole)


class _Pass:
    """The arguments of one pass of the denoiser, in which the last n rows are the conditional half."""

    def __init__(self, named: Mapping[str, Any], call: Call) -> None:
        self.named, self.call, self.n = dict(named), call, len(call.prompts)
        self.rows = len(next(self.named[name] for name in LATENTS if name in self.named))
        if self.rows not in (self.n, 2 * self.n):
            raise UserError(f"a pass of {self.rows} rows for {self.n} images: no steering for such a call")

    def half(self, *names: str) -> Any:
        """Return the conditional half of the first of these arguments that is given."""
        return self._last(next(self.named[name] for name in names if name in self.named))

    def _last(self, value: Any) -> Any:
        is_batch = isinstance(value, Tensor) and value.ndim > 0 and len(value) == self.rows
        return value[-self.n :] if is_batch else value

    def conditions(self) -> dict[str, Tensor]:
        """Return the conditions of the conditional half by their names in the call."""
        given = self.named | dict(self.named.get("added_cond_kwargs") or {})
        return {name: self._last(given[name]) for name in self.call.conditions}

    def for_half(self, conditions: Conditions) -> dict[str, Any]:
        """Return the arguments of a pass over the conditional half with other conditions."""
        halved = {name: self._last(value) if name in ROWS else value for name, value in self.named.items()}
        added = self.named.get("added_cond_kwargs")
        if added:
            halved["added_cond_kwargs"] = {name: self._last(value) for name, value in added.items()}
        for name, value in conditions.items():
            wanted = value.expand(self.n, *value.shape[1:])
            (halved["added_cond_kwargs"] if name in ADDED else halved)[name] = wanted
        return halved | {"return_dict": False}

    def with_conditions(self, conditions: Conditions) -> dict[str, Any]:
        """Return the arguments that differ where the conditional half of this pass has other conditions."""
        changed: dict[str, Any] = {}
        for name, value in conditions.items():
            holder = self.named["added_cond_kwargs"] if name in ADDED else self.named
            wanted = value.expand(self.n, *value.shape[1:]).to(holder[name])
            whole = torch.cat([holder[name][: -self.n], wanted])
            if name in ADDED:
                changed["added_cond_kwargs"] = {**changed.get("added_cond_kwargs", holder), name: whole}
            else:
                changed[name] = whole
        return changed

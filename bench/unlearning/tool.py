"""Unlearning as a tool: from a model, a method and a concept to a folder of a model."""

import inspect
import json
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError

from ..config import apply_preset, build
from ..environment import describe_environment
from ..errors import UserError
from ..files import check_new_folder, check_space, replace_folder
from ..models.adapters import has_lora
from ..models.device.precision import AUTO, choose_dtype, computing
from ..models.digests import weights_digest
from ..models.generators import Sampling, denoiser_name, open_pipeline, trainable_module
from ..models.hub import find
from ..models.isolation.guard import Watch, guarded
from ..models.memory import count_steps
from ..models.reading import count_cut, find_unknown, read_size
from ..models.saved.applied import describe_applied, write_applied
from ..models.saved.deltas import check_finite, components_of, copy_tensors, read_weights
from ..models.whole import hush_libraries
from ..records.training_images import TrainingImages, not_judged
from ..registry import IMAGES, Entry, builtin_registry
from ..training.families import check_supported
from ..training.objectives import Denoiser
from ..types import ConceptKind, DrawSettings, Problem
from .card import read_licence, write_card
from .drawn import draw_both, no_images
from .writing import OTHERS, Kind, Wording, names_in, replace_all, write_prompts

TOLD: dict[Kind, ConceptKind] = {"object": "subject", "person": "person", "style": "style"}
"""Kind of a concept as `unlearn` is given it -> its kind in a problem."""
MOST_NAMED = 8
"""Unknown words that a warning names."""


@dataclass(frozen=True)
class UnlearnRequest:
    """What to unlearn, and how. config: settings of the method. steps, guidance, image_size (pixels): how the
    model draws the images for its own training; None = the defaults of the pipeline's call. dtype: in which
    it draws them and its forward passes compute; weights are float32."""

    model: str
    concept: str
    method: str = "balanced"
    kind: Kind = "object"
    anchor: str | None = None
    forget: tuple[str, ...] = ()
    retain: tuple[str, ...] = ()
    images: int = 64
    config: Mapping[str, Any] = field(default_factory=dict)
    steps: int | None = None
    guidance: float | None = None
    image_size: int | None = None
    seed: int = 0
    retained: tuple[str, ...] = ()  # names that the retain prompts show; () = found in the templates' prompts
    task: str = ""  # the task that measures it, for the card
    base: str = ""  # the base model to measure it against, unless it is an embedded world's own
    dtype: str = AUTO


@dataclass
class Result:
    """Output of a method: its log, a LoRA's tensors (empty without one), a sampling-time method's data.

    applied: how that method describes itself; None where the weights are the model.
    """

    applied: Mapping[str, Any] | None
    log: Mapping[str, Any] = field(default_factory=dict)
    lora: dict[str, torch.Tensor] = field(default_factory=dict)
    tensors: dict[str, torch.Tensor] = field(default_factory=dict)


def unlearn_model(
    order: UnlearnRequest,
    out: Path,
    device: str = "cpu",
    say: Callable[[str], None] = lambda line: None,
    look: Callable[[Problem], TrainingImages] | None = None,
) -> Path:
    """Unlearn a concept and write the model to a new folder, with its prompts and a card; return the folder.

    The model draws its own training images; none where the method needs none. With `part = "lora"` in the
    config the folder holds only a LoRA. say: gets one line for each warning. look: judges the training
    images; None where nothing can. Raises UserError for a request that cannot work, before anything is drawn.
    """
    entry = builtin_registry("methods", "unlearnbench.methods")[order.method]
    source = f"method {order.method}"
    config = build(entry.load_config(), apply_preset(order.config, entry.presets, source), source)
    entry.load_apply()
    check_new_folder(out)
    dtype = choose_dtype(order.dtype, device, is_real=bool(order.base))
    wording = _word(order)
    _check_anchor(order, entry.needs, wording)
    pipeline = open_pipeline(order.model, device)
    Denoiser(pipeline)  # refuses a pipeline whose training loss is not known, before hours of drawing
    check_supported(pipeline, order.method, entry.pipelines)
    components_of(pipeline, entry.trains)
    check_space(out.parent, _count_bytes(pipeline))
    before = weights_digest(pipeline)
    sampling = _sampling(pipeline, order)
    with hush_libraries():
        for line in _find_unread(pipeline, (*wording.forget, *wording.retain)):
            say(line)
        is_shown = bool(set(entry.needs) & set(IMAGES))
        drawer = pipeline if dtype == torch.float32 else open_pipeline(order.model, device, dtype)
        problem = _make_problem(drawer, sampling, wording, order, is_shown)
        del drawer
        seen = _look(problem, look, say) if is_shown else not_judged(problem, f"{order.method} needs none")
        with computing(dtype):
            result = _train(pipeline, entry, problem, config)
    digests = before, weights_digest(pipeline)

    def write(scratch: Path) -> None:
        try:
            _save(pipeline, result, scratch)
        except SafetensorError as error:  # what it says of a full disk
            raise UserError(f"{out}: cannot be written: {error}") from None
        stated = sampling.stated() | {"dtype": str(dtype)}
        _write_beside(scratch, order, wording, stated, config, result, digests, device, seen)

    replace_folder(out, write)
    return out


def _check_anchor(order: UnlearnRequest, needs: tuple[str, ...], wording: Wording) -> None:
    if "anchor" in needs and not wording.anchored:
        raise UserError(
            f"{order.method}: needs an anchor; give --anchor, and the concept's name in every prompt"
        )


def _find_unread(pipeline: Any, prompts: tuple[str, ...]) -> Iterator[str]:
    """Yield a line for each reason why the model does not read all of the prompts."""
    if cut := count_cut(pipeline, prompts):
        yield f"{cut} of {len(prompts)} prompts are longer than the model reads: their ends are cut off"
    if words := find_unknown(pipeline, prompts):
        more = f" and {len(words) - MOST_NAMED} more" if len(words) > MOST_NAMED else ""
        yield (
            f"the model's vocabulary does not know {', '.join(words[:MOST_NAMED])}{more}: prompts with these "
            "words do not ask for what they say"
        )


def _look(
    problem: Problem, look: Callable[[Problem], TrainingImages] | None, say: Callable[[str], None]
) -> TrainingImages:
    """Return what is known of the training images, and report it."""
    seen = not_judged(problem, "no task asks for this concept") if look is None else look(problem)
    for line in seen.describe():
        say(line)
    return seen


def _count_bytes(pipeline: Any) -> int:
    """Return the bytes that a pipeline's weights take when they are saved; a LoRA takes less."""
    modules = [part for part in pipeline.components.values() if isinstance(part, torch.nn.Module)]
    return sum(p.numel() * p.element_size() for part in modules for p in part.state_dict().values())


def _word(order: UnlearnRequest) -> Wording:
    """Return the prompts: those given, the others written from templates."""
    if order.forget and order.retain:
        written = Wording((), (), ())
    else:
        written = write_prompts(order.concept, order.kind, order.images, order.anchor)
    anchored = written.anchored
    if order.forget:
        anchored = replace_all(order.forget, order.concept, order.anchor) if order.anchor else ()
    return Wording(order.forget or written.forget, order.retain or written.retain, anchored)


def _make_problem(
    pipeline: Any, sampling: Sampling, wording: Wording, order: UnlearnRequest, is_shown: bool
) -> Problem:
    """Return the problem. is_shown: with images of all prompts, drawn by the model itself."""
    if is_shown:
        forget, retain = draw_both(pipeline, sampling, wording, order.seed)
    else:
        forget, retain = no_images(sampling, wording)
    return Problem(
        task=order.task,
        concept=order.concept,
        anchor=order.anchor,
        forget_set=forget,
        retain_set=retain,
        data="diverse",
        seed=order.seed,
        generator=torch.Generator().manual_seed(order.seed),
        targets=(order.concept,),
        retained=order.retained or names_in(wording.retain, (order.anchor, *OTHERS[order.kind])),
        kind=TOLD[order.kind],
        sampling=DrawSettings(sampling.steps, sampling.guidance),
    )


def _sampling(pipeline: Any, order: UnlearnRequest) -> Sampling:
    """Return how the model draws: the request's settings, else the defaults of its call."""
    call = inspect.signature(type(pipeline).__call__).parameters
    step = pipeline.vae_scale_factor * (2 if denoiser_name(pipeline) == "transformer" else 1)
    height, width = (order.image_size,) * 2 if order.image_size else read_size(pipeline, order.model)
    for side in (height, width):
        if side % step:
            raise UserError(f"--image-size {side}: this model draws only multiples of {step} pixels")
    return Sampling(
        order.steps or call["num_inference_steps"].default,
        call["guidance_scale"].default if order.guidance is None else order.guidance,
        height,
        width,
    )


def _train(pipeline: Any, entry: Entry, problem: Problem, config: Any) -> Result:
    """Run a method; return what it left at its last point."""
    components = components_of(pipeline, entry.trains)
    result = Result(describe_applied(entry, config))

    def save(step: int, log: Mapping[str, Any], tensors: Mapping[str, torch.Tensor] | None = None) -> None:
        if tensors and result.applied is None:
            raise UserError("save: tensors: kept for `apply`, which the REGISTER does not name")
        result.log, result.tensors = dict(log), copy_tensors(tensors or {})
        module = trainable_module(pipeline)
        if has_lora(module):
            from peft.utils import get_peft_model_state_dict

            result.lora.update(copy_tensors(get_peft_model_state_dict(module)))

    unlearn, steps = entry.load(), int(getattr(config, "steps", 1))
    watch = Watch(pipeline, entry.name, components, acts=bool(entry.apply))
    with count_steps(f"{entry.name}: training", steps), guarded(watch, problem.seed):
        unlearn(pipeline, problem, config, save)
    check_finite({**read_weights(pipeline, components), **result.tensors}, "at its end")
    return result


def _save(pipeline: Any, result: Result, out: Path) -> None:
    """Write the pipeline's folder, or only its LoRA."""
    if result.lora:
        pipeline.save_lora_weights(str(out), **{f"{denoiser_name(pipeline)}_lora_layers": result.lora})
        return
    pipeline.save_pretrained(out)
    if result.applied is not None:
        write_applied(out, result.applied, result.tensors)


def _write_beside(
    out: Path,
    order: UnlearnRequest,
    wording: Wording,
    sampling: Mapping[str, Any],
    config: Any,
    result: Result,
    digests: tuple[str, str],
    device: str,
    seen: TrainingImages,
) -> None:
    """Write the prompts (to be read and edited), the request and result as JSON, and the card."""
    out.joinpath("forget_prompts.txt").write_text("\n".join(wording.forget) + "\n", encoding="utf-8")
    out.joinpath("retain_prompts.txt").write_text("\n".join(wording.retain) + "\n", encoding="utf-8")
    done = {
        "concept": order.concept,
        "task": order.task,
        "anchor": order.anchor,
        "kind": order.kind,
        "base_model": Path(order.model).name if Path(order.model).exists() else order.model,
        "method": order.method,
        "config": json.loads(config.model_dump_json()),
        "data": seen.model_dump() | {"drawn_by": "the base model"},
        "sampling": dict(sampling),
        "seed": order.seed,
        "weights_before": digests[0],
        "weights_after": digests[1],
        "log": {name: [round(float(v), 6) for v in column] for name, column in result.log.items()},
        "environment": describe_environment(device, torch.get_num_threads()),
    }
    out.joinpath("unlearning.json").write_text(json.dumps(done, indent=1) + "\n", encoding="utf-8")
    card = write_card(
        done,
        bool(order.base),
        acts=result.applied is not None,
        lora=bool(result.lora),
        licence=read_licence(find(order.model)),
    )
    out.joinpath("README.md").write_text(card, encoding="utf-8")

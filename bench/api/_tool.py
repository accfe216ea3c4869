"""`unlearn`: from a model and a concept to an unlearned model."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

from .bench.errors import UserError
from .bench.files import check_new_folder
from .bench.models.hub import locate
from .bench.models.layout import INDEX, read_config
from .bench.planning.concept_names import name_key
from .bench.records.training_images import TrainingImages, not_judged
from .bench.running.catalog import open_world, registry, task_registry
from .bench.running.session import check_counts, choose_device, set_threads
from .bench.types import Problem
from .bench.unlearning.card import write_command
from .bench.unlearning.writing import KINDS, Kind, read_prompts
from .bench.worlds.protocol import World

LIKE = {
    "StableDiffusionPipeline": "sd15",
    "StableDiffusionXLPipeline": "sdxl",
    "StableDiffusion3Pipeline": "sd3",
    "FluxPipeline": "flux",
}
"""Class of a pipeline -> the world whose tasks are suggested for it."""


@dataclass(frozen=True)
class Unlearned:
    """Result of `unlearn`.

    folder: the model, or a LoRA, with its prompts and a card. Plain diffusers opens it, unless the method
    acts while images are drawn: `bench.unlearning.load_model` opens such a model whole.
    task: the task that measures it, "" where none asks for the concept. base: the base model that it is
    compared with, "" for an embedded world's own. command: the one that measures it.
    """

    folder: Path
    task: str
    base: str
    command: str


def unlearn(
    model: str | Path,
    concept: str,
    method: str = "balanced",
    *,
    out: str | Path,
    kind: Kind = "object",
    anchor: str | None = None,
    forget_prompts: Sequence[str] | Path = (),
    retain_prompts: Sequence[str] | Path = (),
    images: int = 64,
    lora: int | None = None,
    preset: str | None = None,
    settings: Mapping[str, Any] | None = None,
    sampling_steps: int | None = None,
    image_size: int | None = None,
    guidance: float | None = None,
    seed: int = 0,
    device: str | None = None,
    threads: int | None = None,
    dtype: str = "auto",
    say: Callable[[str], None] = print,
) -> Unlearned:
    """Unlearn a concept from a model; return the new model's folder, and how to measure it.

    model: a diffusers folder, a hub id, or an embedded world's name. concept: in words, "Van Gogh". out: a
    new folder. kind: object, person or style: selects the templates of the prompts. anchor: what may stand in
    the concept's place, "a painting". forget_prompts, retain_prompts: texts, or a file with one on each line,
    in place of templates. images: number in each set from templates. lora: train and save a LoRA of this
    rank. preset, settings: of the method. sampling_steps, image_size (pixels), guidance: of the images that
    the model draws to train on; None: its defaults. dtype: of drawing and training, as in `Session`. say:
    receives messages. Raises UserError, before anything
    is drawn, for arguments that are not valid.

    >>> made = unlearnbench.unlearn("emoji", "cat face", "balanced", out="no-cats")
    >>> unlearnbench.evaluate(made.folder, made.task, name="no-cats")
    """
    from .bench.unlearning.tool import UnlearnRequest

    check_new_folder(Path(out))
    check_counts(images=images, sampling_steps=sampling_steps, image_size=image_size, lora=lora)
    drawn: dict[str, Any] = {"steps": sampling_steps, "guidance": guidance, "image_size": image_size}
    words: dict[str, Any] = {"forget": _read(forget_prompts), "retain": _read(retain_prompts)}
    wanted: dict[str, Any] = {"kind": kind, "anchor": anchor, "config": _configure(preset, settings, lora)}
    request = UnlearnRequest(
        str(model), concept, method, images=images, seed=seed, dtype=dtype, **wanted, **words, **drawn
    )
    set_threads(threads)
    return _unlearn(request, Path(out), choose_device(device), say)


def _configure(preset: str | None, settings: Mapping[str, Any] | None, lora: int | None) -> dict[str, Any]:
    part = {} if lora is None else {"part": "lora", "rank": lora}
    return ({"preset": preset} if preset else {}) | dict(settings or {}) | part


def _unlearn(request: Any, out: Path, device: str, say: Callable[[str], None]) -> Unlearned:
    from .bench.unlearning.tool import unlearn_model

    if request.kind not in KINDS:
        raise UserError(f"--kind {request.kind}: choose one of {', '.join(KINDS)}")
    placed = place(request)
    look = partial(look_at, placed.task) if placed.task else None
    folder = unlearn_model(placed, out, device, say, look)
    command = write_command(str(folder), placed.base, placed.task)
    return Unlearned(folder, placed.task, placed.base, command)


def _read(prompts: Sequence[str] | Path) -> tuple[str, ...]:
    return read_prompts(prompts) if isinstance(prompts, Path) else tuple(prompts)


def look_at(name: str, problem: Problem) -> TrainingImages:
    """Return the judge's findings on training images, or why a task's judge cannot be asked here."""
    from .bench.measuring.judging import open_judge
    from .bench.measuring.training_images import aims_of, judge_problem

    task = task_registry()[name]
    try:
        judge = open_judge(open_world(task.file.world), task)
        return judge_problem(problem, judge, *aims_of(task))
    except UserError:
        return not_judged(problem, f"the judge {task.file.judge} of {name} cannot be opened or asked here")


def place(order: Any) -> Any:
    """Return the order with the task that measures it; for a world's own model, with that world's prompts.

    An embedded world's text encoder only knows the words of its own captions. Where no prompts are given,
    they are the captions of the task that asks for the concept.
    """
    world = find_world(order.model)
    if world is None:
        return replace(order, task=find_task(order.concept, _guess_world(order.model)), base=order.model)
    order = replace(
        order,
        model=str(world.pipeline_folder),
        steps=order.steps or world.steps,
        guidance=world.guidance if order.guidance is None else order.guidance,
        task=find_task(order.concept, world.id.partition("@")[0]),
    )
    if order.forget or order.retain or world.training_draws or not order.task:
        return order
    problem = world.problem(task_registry()[order.task], "diverse", order.seed)
    forget, retain = (
        tuple(dict.fromkeys(part.prompts))[: order.images]
        for part in (problem.forget_set, problem.retain_set)
    )
    return replace(
        order,
        forget=forget,
        retain=retain,
        retained=problem.retained,
        anchor=order.anchor or problem.anchor,
    )


def find_task(concept: str, world: str) -> str:
    """Return the id of the first task of a world whose only target is the concept; "" where there is none."""
    tasks = task_registry().values()
    found = [t.id for t in tasks if [name_key(n) for n in t.concept.targets] == [name_key(concept)]]
    # without the world: `cat-face` comes before `cat-face-twelve`
    own = [name.partition("@")[0] for name in found if name.endswith(f"@{world}")]
    return f"{min(own)}@{world}" if own else ""


def find_world(model: str) -> World | None:
    """Return the world with this name or with this pipeline folder as its own; None where there is none."""
    worlds, place = registry("worlds"), Path(model)
    if model in worlds and not place.exists():
        return open_world(model)
    for name in worlds if place.exists() else ():
        try:
            world = open_world(name)
            if world.pipeline_folder.resolve() == place.resolve():
                return world
        except UserError:  # that world's weights are not on this machine, or its plug-in is broken
            continue
    from .bench.worlds.images.world import world_of_pipeline

    return world_of_pipeline(place)


def _guess_world(model: str) -> str:
    """Return the world of real models for a model's pipeline class; "" where that is not known."""
    folder = locate(model)
    try:
        index = read_config(folder / INDEX) if folder else {}
    except UserError:
        return ""
    return LIKE.get(str(index.get("_class_name")), "")

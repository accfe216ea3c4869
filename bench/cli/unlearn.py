"""`unlearn`: options, and what it does."""

import argparse
import sys
import tomllib
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

from ..errors import UserError
from ..files import check_new_folder
from ..models.hub import locate
from ..models.layout import INDEX, read_config
from ..planning.concept_names import name_key
from ..records.training_images import TrainingImages, not_judged
from ..running.catalog import open_world, registry, task_registry
from ..running.session import check_counts, choose_device, set_threads
from ..types import Problem
from ..unlearning.card import write_command
from ..unlearning.writing import KINDS, read_prompts
from ..worlds.protocol import World
from .common import add_machine

LIKE = {
    "StableDiffusionPipeline": "sd15",
    "StableDiffusionXLPipeline": "sdxl",
    "StableDiffusion3Pipeline": "sd3",
    "FluxPipeline": "flux",
}
"""World whose tasks are suggested for somebody's pipeline of a class."""


def unlearn_concept(options: argparse.Namespace) -> int:
    """Unlearn a concept, and print where the model is and how to measure it."""
    from ..unlearning.tool import UnlearnRequest, unlearn_model

    if options.kind not in KINDS:
        raise UserError(f"--kind {options.kind}: choose one of {', '.join(KINDS)}")
    check_new_folder(options.out)
    check_counts(options, "images", "sampling_steps", "image_size", "lora")
    config = read_settings(options.set or [])
    if options.config:
        config = {"preset": options.config} | config
    if options.lora is not None:
        config |= {"part": "lora", "rank": options.lora}
    order = UnlearnRequest(
        model=options.model,
        concept=options.concept,
        method=options.method,
        kind=options.kind,
        anchor=options.anchor,
        forget=read_prompts(options.forget_prompts) if options.forget_prompts else (),
        retain=read_prompts(options.retain_prompts) if options.retain_prompts else (),
        images=options.images,
        config=config,
        steps=options.sampling_steps,
        guidance=options.guidance,
        image_size=options.image_size,
        seed=options.seed,
    )
    set_threads(options.threads)
    device = choose_device(options.device)
    order = place(order)
    look = partial(look_at, order.task) if order.task else None
    out = unlearn_model(order, options.out, device, lambda line: print(line, file=sys.stderr), look)
    print(f"unlearned: {out}")
    print(f"measure it: {write_command(str(out), order.base, order.task)}")
    if not order.task:
        print(f"no task asks for {options.concept!r} yet: tasks/README.md says how to add one")
    return 0


def look_at(name: str, problem: Problem) -> TrainingImages:
    """Return what a task's judge finds on training images; why it cannot, where it is not here."""
    from ..measuring.judging import open_judge
    from ..measuring.training_images import aims_of, judge_problem

    task = task_registry()[name]
    try:
        judge = open_judge(open_world(task.file.world), task)
        return judge_problem(problem, judge, *aims_of(task))
    except UserError:
        return not_judged(problem, f"the judge {task.file.judge} of {name} cannot be opened or asked here")


def read_settings(given: list[str]) -> dict[str, Any]:
    """Return `key=value` settings, values as TOML writes them; raises UserError naming the setting."""
    settings: dict[str, Any] = {}
    for text in given:
        key, sign, value = text.partition("=")
        if not sign:
            raise UserError(f"--set {text}: not of the form key=value, such as rate=1e-5")
        try:
            settings[key.strip()] = tomllib.loads(f"value = {value}")["value"]
        except tomllib.TOMLDecodeError:
            settings[key.strip()] = value  # a bare word: --set optimiser=sgd
    return settings


def place(order: Any) -> Any:
    """Return the order with the task that measures it; for a world's own model, as that world is made for.

    An embedded world's text encoder knows the words of its own captions alone; where none are given, the
    prompts are those, of the task that asks for the concept.
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
    """Return the first task of a world whose one target is the concept, by its id; "" where there is none."""
    tasks = task_registry().values()
    found = [t.id for t in tasks if [name_key(n) for n in t.concept.targets] == [name_key(concept)]]
    return min((name for name in found if name.endswith(f"@{world}")), default="")


def find_world(model: str) -> World | None:
    """Return the world whose name a model is, or whose own pipeline folder; None where it is neither."""
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
    from ..worlds.images.world import world_of_pipeline

    return world_of_pipeline(place)


def _guess_world(model: str) -> str:
    """Return the world of real models whose pipelines are of a model's class; "" where it cannot be told."""
    folder = locate(model)
    try:
        index = read_config(folder / INDEX) if folder else {}
    except UserError:
        return ""
    return LIKE.get(str(index.get("_class_name")), "")


def add_unlearn(commands: Any) -> None:
    unlearn = commands.add_parser("unlearn", help="unlearn a concept from a model of yours")
    unlearn.add_argument("--model", required=True, help="a diffusers folder, a hub id or a world's name")
    unlearn.add_argument("--concept", required=True, help='what to unlearn, in words: "Van Gogh"')
    unlearn.add_argument("--out", type=Path, required=True, help="new folder for the unlearned model")
    unlearn.add_argument("--method", default="balanced", help="(default: balanced)")
    unlearn.add_argument("--kind", default="object", help="object, person or style: which templates are used")
    unlearn.add_argument("--anchor", help='what may stand in its place: "a painting"')
    unlearn.add_argument("--forget-prompts", type=Path, help="text file, one prompt a line")
    unlearn.add_argument("--retain-prompts", type=Path, help="text file, one prompt a line")
    unlearn.add_argument("--images", type=int, default=64, help="images of each set from templates (64)")
    unlearn.add_argument("--lora", type=int, metavar="RANK", help="train and save a LoRA alone")
    unlearn.add_argument("--config", metavar="PRESET", help="named settings of the method: paper")
    unlearn.add_argument(
        "--set", nargs="+", action="extend", metavar="KEY=VALUE", help="settings of the method: rate=1e-5"
    )
    unlearn.add_argument("--sampling-steps", type=int, help="of the images drawn to train on")
    unlearn.add_argument("--image-size", type=int, help="side of the images drawn to train on, in pixels")
    unlearn.add_argument("--guidance", type=float, help="of the images drawn to train on")
    unlearn.add_argument("--seed", type=int, default=0)
    add_machine(unlearn)
    unlearn.set_defaults(run=unlearn_concept)

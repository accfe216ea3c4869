"""`unlearn`: its options and action."""

import argparse
import sys
import tomllib
from pathlib import Path
from typing import Any

from ..errors import UserError
from .common import add_dtype, add_machine


def unlearn_concept(options: argparse.Namespace) -> int:
    """Unlearn a concept; print the model's folder and the command that measures it."""
    from ... import unlearn

    made = unlearn(
        options.model,
        options.concept,
        options.method,
        out=options.out,
        kind=options.kind,
        anchor=options.anchor,
        forget_prompts=options.forget_prompts or (),
        retain_prompts=options.retain_prompts or (),
        images=options.images,
        lora=options.lora,
        preset=options.config,
        settings=read_settings(options.set or []),
        sampling_steps=options.sampling_steps,
        image_size=options.image_size,
        guidance=options.guidance,
        seed=options.seed,
        device=options.device,
        threads=options.threads,
        dtype=options.dtype,
        say=lambda line: print(line, file=sys.stderr),
    )
    print(f"unlearned: {made.folder}")
    print(f"measure it: {made.command}")
    if not made.task:
        print(f"no task asks for {options.concept!r} yet: `unlearnbench new task` writes one")
    return 0


def read_settings(given: list[str]) -> dict[str, Any]:
    """Return `key=value` settings, with values as in TOML; raises UserError naming the setting."""
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
    unlearn.add_argument("--lora", type=int, metavar="RANK", help="train and save only a LoRA")
    unlearn.add_argument("--config", metavar="PRESET", help="named settings of the method: paper")
    unlearn.add_argument(
        "--set", nargs="+", action="extend", metavar="KEY=VALUE", help="settings of the method: rate=1e-5"
    )
    unlearn.add_argument("--sampling-steps", type=int, help="of the images drawn to train on")
    unlearn.add_argument("--image-size", type=int, help="side of the images drawn to train on, in pixels")
    unlearn.add_argument("--guidance", type=float, help="of the images drawn to train on")
    unlearn.add_argument("--seed", type=int, default=0)
    add_machine(unlearn)
    add_dtype(unlearn)
    unlearn.set_defaults(run=unlearn_concept)

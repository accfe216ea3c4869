"""What a run needs from the machine: device, threads, opened worlds, a runner."""

import argparse
import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from ..errors import UserError
from ..worlds.protocol import World
from .catalog import open_folder_world, open_world, registry

if TYPE_CHECKING:
    from .runner import Runner


def choose_device(wanted: str | None) -> str:
    """Return the device to run on: the one asked for, or the best there is."""
    import torch

    there = {"cpu": True, "cuda": torch.cuda.is_available(), "mps": torch.backends.mps.is_available()}
    if wanted is not None:
        if wanted not in there:
            raise UserError(f"--device {wanted}: choose one of {', '.join(there)}")
        if not there[wanted]:
            raise UserError(f"--device {wanted}: not available on this machine")
        return wanted
    return next(name for name in ("cuda", "mps", "cpu") if there[name])


def check_counts(options: argparse.Namespace, *names: str) -> None:
    """Raise UserError where a number that counts something was given below 1."""
    for name in names:
        number = getattr(options, name, None)
        if number is not None and number < 1:
            raise UserError(f"--{name.replace('_', '-')} {number}: must be at least 1")


def set_threads(wanted: int | None, jobs: int = 1) -> int:
    """Set and return the number of CPU threads of each of `jobs` processes."""
    import torch

    check_counts(argparse.Namespace(threads=wanted, jobs=jobs), "threads", "jobs")
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    count = wanted or max(1, cores // jobs)
    torch.set_num_threads(count)
    torch.set_flush_denormal(True)
    return count


def make_runner(options: argparse.Namespace, folder: Path, worlds: set[str]) -> "Runner":
    """Return a Runner over the opened worlds and all metrics."""
    from ..places import quote_places
    from ..store import Store, default_folder
    from .restart import restarting, told_arguments
    from .runner import Runner

    def say(line: str) -> None:
        print(line, file=sys.stderr, flush=True)

    device = choose_device(options.device)
    opened = open_worlds(worlds, options, device)
    return Runner(
        store=Store(options.store or default_folder(), say),
        folder=folder,
        device=device,
        threads=set_threads(options.threads, getattr(options, "jobs", 1)),
        worlds=opened,
        metrics=registry("metrics"),
        command="unlearnbench " + " ".join(quote_places(told_arguments(options.arguments))),
        say=say,
        cell_timeout=getattr(options, "cell_timeout", None),
        restart=restarting(options.arguments) if getattr(options, "is_program", False) else None,
        abandoned=frozenset(getattr(options, "abandoned", None) or ()),
    )


def open_worlds(names: set[str], options: argparse.Namespace, device: str = "cpu") -> dict[str, World]:
    """Return worlds by name; a real model's is placed where the options say that its parts lie."""
    check_counts(options, "sampling_steps", "training_images", "image_size")
    where = {
        "source": getattr(options, "base_model", None),
        "clip": getattr(options, "clip", None),
        "data": getattr(options, "data", None),
        "steps": getattr(options, "sampling_steps", None),
        "images": getattr(options, "training_images", None),
        "image_size": getattr(options, "image_size", None),
    }
    folder = getattr(options, "world_folder", None)
    own: dict[str, World] = {} if folder is None else {w.name: w for w in [open_folder_world(folder)]}
    if own.keys() - names:
        raise UserError(f"--world-folder {folder}: the world {min(own)}; no task of this run is in it")
    opened = {name: own[name] if name in own else open_world(name) for name in sorted(names)}
    real = {name: world.placed(device=device, **where) for name, world in opened.items() if world.is_placed}
    if any(value is not None for value in where.values()) and not real:
        raise UserError(
            f"{', '.join(sorted(names))}: ships whole; --model, --clip, --data are for real models"
        )
    return opened | real

"""The machine's part of a run: device, threads, opened worlds, a runner."""

import os
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from ..errors import UserError
from ..names import check_name
from ..planning.draws import DrawingTasks
from ..worlds.protocol import World
from .catalog import open_folder_world, open_world, registry, task_registry

if TYPE_CHECKING:
    from .runner import Runner


@dataclass(frozen=True)
class WorldSettings:
    """Where the parts of a real model's world are, and how it draws. None: the world's own default.

    base_model: a diffusers folder or hub id. clip: folder or hub id of the judge's open_clip model. data:
    folder of published prompt files. sampling_steps: of the sampler. training_images: number in each training
    set. image_size: side of the images in pixels. world_folder: a world that `pretrain images` made. Embedded
    worlds ship complete: they accept only `world_folder`. task_files: a user's own task files, or folders.
    """

    base_model: str | None = None
    clip: str | None = None
    data: Path | None = None
    sampling_steps: int | None = None
    training_images: int | None = None
    image_size: int | None = None
    world_folder: Path | None = None
    task_files: tuple[Path, ...] = ()

    def __post_init__(self) -> None:
        for name in ("data", "world_folder"):
            if isinstance(place := getattr(self, name), str):
                object.__setattr__(self, name, Path(place))
        given = [self.task_files] if isinstance(self.task_files, str | Path) else self.task_files
        object.__setattr__(self, "task_files", tuple(Path(place) for place in given))


DEFAULT_WORLD = WorldSettings()
AUTO = "auto"
"""Name of the choice of a number type by world and device."""


def open_tasks(settings: WorldSettings) -> DrawingTasks:
    """Return the tasks that there are, with those of a made world and of a user's files."""
    return task_registry(settings.world_folder, settings.task_files)


@dataclass(frozen=True)
class Program:
    """The command line of a run, by which the run can start itself again.

    arguments: its words. restarts: whether a cell that cannot be stopped may be left behind by replacing this
    process with the same command. abandoned: stems of such cells. jobs: number of processes that share the
    work; None: 1, or with an executor or several GPUs as many as there is room for. part: `I/N`, the share of
    this process. executor: what starts the processes: `local`, `slurm`, `ray`; None: this machine.
    resources: `NAME=VALUE` that each process asks the executor for.
    """

    arguments: Sequence[str] = ()
    restarts: bool = False
    abandoned: frozenset[str] = frozenset()
    jobs: int | None = 1
    part: str | None = None
    executor: str | None = None
    resources: Sequence[str] = ()

    @property
    def command(self) -> str:
        """The command as records name it, without paths of one machine."""
        from ..places import quote_places
        from .restart import told_arguments

        return "unlearnbench " + " ".join(quote_places(told_arguments(self.arguments)))


@dataclass(frozen=True)
class Session:
    """Settings of a run on a machine.

    device: cpu, cuda or mps; None: the best that is available. threads: CPU threads; None: all cores, shared
    by `jobs` processes. store: folder or address (`s3://bucket/prefix`) of the cache; None: in the user's
    cache folder. cell_timeout: seconds that a cell may take; None: no limit. dtype: what models draw in and
    trainings compute in: float32, bfloat16, float16, float8_e4m3fn (kept in it, computed in bfloat16), or
    auto (bfloat16 for real models on CUDA, else float32). offload: `model` or `sequential`, how weights wait
    on the CPU while a GPU draws; None: they do not. command: how records name the command that made them.
    program: the command line of the run, if there is one. tags: words of the user's own, kept in records
    made now.
    """

    device: str | None = None
    threads: int | None = None
    jobs: int = 1
    store: Path | str | None = None
    cell_timeout: float | None = None
    dtype: str = AUTO
    offload: str | None = None
    command: str = ""
    world: WorldSettings = DEFAULT_WORLD
    program: Program = Program()
    tags: Mapping[str, str] = field(default_factory=dict)


DEFAULT_SESSION = Session()


def choose_device(wanted: str | None) -> str:
    """Return the device to run on: the one asked for, else the best that is available."""
    import torch

    there = {"cpu": True, "cuda": torch.cuda.is_available(), "mps": torch.backends.mps.is_available()}
    if wanted is not None:
        if wanted not in there:
            raise UserError(f"--device {wanted}: choose one of {', '.join(there)}")
        if not there[wanted]:
            raise UserError(f"--device {wanted}: not available on this machine")
        return wanted
    return next(name for name in ("cuda", "mps", "cpu") if there[name])


def check_counts(**numbers: int | None) -> None:
    """Raise UserError where a count is below 1."""
    for name, number in numbers.items():
        if number is not None and number < 1:
            raise UserError(f"--{name.replace('_', '-')} {number}: must be at least 1")


def set_threads(wanted: int | None, jobs: int = 1) -> int:
    """Set and return the number of CPU threads of each of `jobs` processes."""
    import torch

    check_counts(threads=wanted, jobs=jobs)
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    count = wanted or max(1, cores // jobs)
    torch.set_num_threads(count)
    torch.set_flush_denormal(True)
    return count


def make_runner(session: Session, folder: Path, worlds: set[str]) -> "Runner":
    """Return a Runner over the opened worlds and all metrics; folder: of the records."""
    from ..models.device.offload import check_offload
    from ..models.device.precision import choose_dtype
    from ..models.isolation.time_limit import check_limit
    from .restart import restarting
    from .runner import Runner
    from .sharing.remote import open_any_store

    def say(line: str) -> None:
        print(line, file=sys.stderr, flush=True)

    check_limit(session.cell_timeout)
    program = session.program
    device = choose_device(session.device)
    check_offload(session.offload, device)
    opened = open_worlds(
        worlds, session.world, device, str(choose_dtype(session.dtype, device, is_real=True))
    )
    return Runner(
        store=open_any_store(session.store, say),
        folder=folder,
        device=device,
        threads=set_threads(session.threads, session.jobs),
        worlds=opened,
        metrics=registry("metrics"),
        command=session.command,
        say=say,
        cell_timeout=session.cell_timeout,
        dtype=session.dtype,
        offload=session.offload or "",
        restart=restarting(program.arguments) if program.restarts else None,
        abandoned=program.abandoned,
        tags=check_tags(session.tags),
    )


def check_tags(tags: Mapping[str, str]) -> dict[str, str]:
    """Return tags with checked names and values; UserError where no record may hold one."""
    return {check_name("--tag", name): check_name(f"--tag {name}", value) for name, value in tags.items()}


def open_worlds(
    names: set[str], settings: WorldSettings, device: str = "cpu", dtype: str | None = None
) -> dict[str, World]:
    """Return name -> world; the parts of a real model's world are looked for where the settings say.

    device, dtype: of a real model that draws training images; None: float32.
    """
    check_counts(
        sampling_steps=settings.sampling_steps,
        training_images=settings.training_images,
        image_size=settings.image_size,
    )
    where = {
        "source": settings.base_model,
        "clip": settings.clip,
        "data": settings.data,
        "steps": settings.sampling_steps,
        "images": settings.training_images,
        "image_size": settings.image_size,
    }
    folder = settings.world_folder
    own: dict[str, World] = {} if folder is None else {w.name: w for w in [open_folder_world(folder)]}
    if own.keys() - names:
        raise UserError(f"--world-folder {folder}: the world {min(own)}; no task of this run is in it")
    opened = {name: own[name] if name in own else open_world(name) for name in sorted(names)}
    real = {
        name: world.placed(device=device, dtype=dtype, **where)
        for name, world in opened.items()
        if world.is_placed
    }
    if any(value is not None for value in where.values()) and not real:
        raise UserError(
            f"{', '.join(sorted(names))}: ships whole; --base-model, --clip, --data are for real models"
        )
    return opened | real

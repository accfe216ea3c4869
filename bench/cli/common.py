"""What several subcommands share: options, the exit status, the console, how a command begins and ends.

SIGTERM tidies up as SIGINT does, and `check` has a status of its own for mistakes.
"""

import argparse
import contextlib
import io
import signal
import sys
import threading
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from ..errors import UserError
from ..running.session import Program, Session, WorldSettings

FAILED = 1
"""Exit status where a measurement failed; a user's mistake is 2."""
AddOptions = Callable[..., None]


def add_machine(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--device", help="cpu, cuda or mps (default: the best there is)")
    parser.add_argument("--threads", type=int, help="CPU threads (default: all cores)")


def read_place(text: str) -> Path | str:
    """Return a folder, or an address such as `s3://bucket/prefix` as it is."""
    return text if "://" in text else Path(text)


def add_output(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--out", type=Path, help="folder of the records (default: runs/SUITE)")
    parser.add_argument(
        "--store",
        type=read_place,
        help="folder or address (s3://bucket/prefix) of the cache (default: in the user's cache folder)",
    )
    add_machine(parser)


def add_dtype(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--dtype",
        default="auto",
        metavar="TYPE",
        help="draw in float32, bfloat16, float16 or float8_e4m3fn (default auto: bfloat16 for real models on "
        "CUDA)",
    )
    parser.add_argument(
        "--offload",
        metavar="HOW",
        help="keep weights on the CPU while a GPU draws without them: model, or sequential (slow)",
    )


def add_places(parser: argparse.ArgumentParser, base: str = "--base-model") -> None:
    """Add the options for the parts of a real model's world; embedded worlds ship all of them.

    base: an older name of --base-model, which still works and is not shown: commands in records hold it.
    """
    parser.add_argument("--base-model", help="the base model: a diffusers folder or hub id")
    if base != "--base-model":
        parser.add_argument(base, dest="base_model", default=argparse.SUPPRESS, help=argparse.SUPPRESS)
    parser.add_argument("--clip", help="folder or hub id of the judge's open_clip model")
    parser.add_argument("--data", type=Path, help="folder of published prompt files (default: data)")
    parser.add_argument("--sampling-steps", type=int, help="steps of the sampler (default: the world's)")
    parser.add_argument("--world-folder", type=Path, help="folder of a world made by `pretrain images`")
    parser.add_argument("--training-images", type=int, help="images of each training set (default: 200)")
    parser.add_argument(
        "--task-file",
        type=Path,
        action="append",
        metavar="FILE",
        help="a task file of your own, or a folder of them (`new task` writes one); repeatable",
    )
    parser.add_argument("--image-size", type=int, help="side of the images in pixels (default: the model's)")


def read_world(options: argparse.Namespace) -> WorldSettings:
    """Return the settings that `add_places` added options for."""
    return WorldSettings(
        base_model=options.base_model,
        clip=options.clip,
        data=options.data,
        sampling_steps=options.sampling_steps,
        training_images=options.training_images,
        image_size=options.image_size,
        world_folder=options.world_folder,
        task_files=tuple(options.task_file or ()),
    )


def add_tags(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--tag", nargs="+", action="extend", metavar="KEY=VALUE", help="words of yours, kept in new records"
    )


def read_tags(options: argparse.Namespace) -> dict[str, str]:
    """Return the tags that `add_tags` added an option for; UserError where one is no key=value."""
    tags = {}
    for text in options.tag or ():
        name, sign, value = text.partition("=")
        if not sign:
            raise UserError(f"--tag {text}: not of the form key=value, such as run=nightly")
        tags[name.strip()] = value.strip()
    return tags


def read_program(options: argparse.Namespace) -> Program:
    """Return the command line from which these options were read."""
    return Program(
        arguments=tuple(options.arguments),
        restarts=options.is_program,
        abandoned=frozenset(getattr(options, "abandoned", None) or ()),
        jobs=getattr(options, "jobs", 1),
        part=getattr(options, "part", None),
        executor=getattr(options, "executor", None),
        resources=tuple(getattr(options, "resource", None) or ()),
    )


def read_session(options: argparse.Namespace) -> Session:
    """Return the session that `add_output` and `add_places` added options for."""
    program = read_program(options)
    return Session(
        device=options.device,
        threads=options.threads,
        jobs=program.jobs or 1,
        store=options.store,
        cell_timeout=getattr(options, "cell_timeout", None),
        dtype=getattr(options, "dtype", "auto"),
        offload=getattr(options, "offload", None),
        command=program.command,
        world=read_world(options),
        program=program,
        tags=read_tags(options) if "tag" in options else {},
    )


def open_console() -> Any:
    """Return a console for tables: as wide as the terminal, or 120 columns where there is none."""
    from .tools.tables import TableConsole

    return TableConsole() if sys.stdout.isatty() else TableConsole(width=120)


USAGE_ERROR = 2
JUDGING = ("check", "rerun")
"""Subcommands whose statuses 1 and 2 are verdicts: a mistake in their options is NOT_JUDGED."""
NOT_JUDGED = 3


class Terminated(KeyboardInterrupt):
    """SIGTERM came: what is under way is tidied up as after SIGINT."""


def soften_output() -> None:
    """Let the terminal's encoding, such as cp1252, replace signs that it lacks, where it would raise."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="replace")


def listen() -> None:
    """Let SIGTERM end this process as SIGINT does, so that scratch files go; in its main thread only."""

    def end(*_: object) -> None:
        raise Terminated

    if threading.current_thread() is threading.main_thread() and hasattr(signal, "SIGTERM"):
        signal.signal(signal.SIGTERM, end)


def read_or_exit(
    read: Callable[[Sequence[str] | None], argparse.Namespace], arguments: Sequence[str] | None
) -> argparse.Namespace:
    """Return the options that `read` parses; a mistake in those of JUDGING ends the process with one line and
    status 3."""
    words = list(sys.argv[1:] if arguments is None else arguments)
    if words[:1] not in [[name] for name in JUDGING]:
        return read(arguments)
    said = io.StringIO()
    try:
        with contextlib.redirect_stderr(said):
            return read(arguments)
    except SystemExit as end:
        if end.code != USAGE_ERROR:
            raise
        print(said.getvalue().strip().rpartition("\n")[2], file=sys.stderr)
        raise SystemExit(NOT_JUDGED) from None

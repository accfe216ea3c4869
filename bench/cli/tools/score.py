"""`score` and `prompts`: measure images that exist already, and list what a task asks for."""

import argparse
from pathlib import Path
from typing import Any

from ...errors import UserError
from ...files import create_file
from ...running.session import open_tasks
from ..common import (
    add_output,
    add_places,
    add_tags,
    open_console,
    read_program,
    read_tags,
    read_world,
)


def score_folder(options: argparse.Namespace) -> int:
    """Judge and measure images; print what was found and the record's path."""
    from .... import score

    record = score(
        options.images,
        options.task or only_task(options),
        listing=options.list,
        name=options.name,
        like=options.like,
        policy=options.policy,
        out=options.out or Path("runs") / "score",
        device=options.device,
        threads=options.threads,
        store=options.store,
        world=read_world(options),
        tags=read_tags(options),
        _program=read_program(options),
    )
    from .show import make_value_table

    open_console().print(make_value_table(record, record.points[-1]))
    print(f"record: {record.path}")
    print("its images were given: the record is shown, never ranked, and not compared with drawn ones")
    return 0


def only_task(options: argparse.Namespace) -> str:
    """Return the one task of the user's files; UserError where they hold none or several."""
    names = [task.id for task in open_tasks(read_world(options)).values() if task.is_own]
    if len(names) != 1:
        raise UserError(f"--task: name one; {', '.join(names) or '`unlearnbench list tasks` lists them'}")
    return names[0]


def write_prompts(options: argparse.Namespace) -> int:
    """Write the list of a task's prompts, seeds and file names as a CSV."""
    from .... import list_prompts

    task = options.task or only_task(options)
    table = list_prompts(task, like=options.like, policy=options.policy, world=read_world(options))
    create_file(options.out, table.to_csv(index=False).encode())
    counts = ", ".join(f"{n} {split}" for split, n in table["split"].value_counts().items())
    print(f"{len(table)} images ({counts}): {options.out}")
    print(f"draw them into a folder with this file, then: unlearnbench score --images FOLDER --task {task}")
    return 0


def add_sizes(parser: argparse.ArgumentParser) -> None:
    """Add the options that say which prompts of a task are meant."""
    sizes = parser.add_mutually_exclusive_group()
    sizes.add_argument(
        "--like", type=Path, metavar="RECORD", help="as many prompts and the noise of a record"
    )
    sizes.add_argument("--policy", help="as many prompts as a policy of `check` says")


def add_score(commands: Any) -> None:
    """Add `score` and `prompts` to the command line."""
    parser = commands.add_parser("score", help="score images that exist already")
    parser.add_argument("--images", type=Path, required=True, metavar="FOLDER", help="folder of the images")
    parser.add_argument("--task", help="family/concept[@world] (default: the one task of --task-file)")
    parser.add_argument(
        "--list",
        type=Path,
        metavar="CSV",
        help="file, prompt, seed (default: metadata.csv, metadata.jsonl or prompts.csv in the folder)",
    )
    parser.add_argument("--name", help="their name in the record (default: the folder's)")
    add_sizes(parser)
    add_places(parser, "--base-model")
    add_output(parser)
    add_tags(parser)
    parser.set_defaults(run=score_folder)
    prompts = commands.add_parser("prompts", help="write a task's prompts and seeds, to draw them elsewhere")
    prompts.add_argument("--task", help="family/concept[@world] (default: the one task of --task-file)")
    prompts.add_argument("--out", type=Path, default=Path("prompts.csv"), help="(default: prompts.csv)")
    add_sizes(prompts)
    add_places(prompts, "--base-model")
    prompts.set_defaults(run=write_prompts)

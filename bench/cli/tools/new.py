"""`new task`, `new method`, `new judge`: write a complete file to start from, and say how it is used."""

import argparse
import re
from pathlib import Path
from typing import Any

from ...errors import UserError
from ...files import create_file
from ...planning.tasks import TaskFile, read_task_files
from ...registry import package_folder
from ...running.catalog import open_world, registry

FAMILIES = ("classes", "styles", "nudity", "celebrities")
MODULE = re.compile(r"[a-z][a-z0-9_]*")


def write_template(options: argparse.Namespace) -> int:
    """Write the file; print its path and the commands that use it."""
    path = options.out or Path(f"{_file_stem(options.name)}.{'toml' if options.kind == 'task' else 'py'}")
    text, lines = {"task": _task, "method": _method, "judge": _judge}[options.kind](options, path)
    create_file(path, text.encode())
    print(f"written: {path}")
    for line in lines:
        print(line)
    return 0


def _file_stem(name: str) -> str:
    stem = re.sub(r"[^a-z0-9]+", "_", name.lower()).strip("_")
    if not stem:
        raise UserError(f"new: {name!r}: give a name with letters or digits")
    return stem


def _task(options: argparse.Namespace, path: Path) -> tuple[str, list[str]]:
    from .drafts import draft_task  # its worlds import torch

    files = read_task_files([package_folder("unlearnbench.tasks")])
    known = [file for file in files if options.world in (file.world, *file.also)]
    if not known:
        _ = registry("worlds")[options.world]  # names the worlds where it is none
        raise UserError(
            f"--world {options.world}: no task of it ships to start from; tasks/README.md has one"
        )
    model = _model_file(options, known)
    world = open_world(options.world)
    task, text = draft_task(world, options.world, known, model, options.name, options.anchor)
    return text, [
        f"look at what it asks for: unlearnbench run --task-file {path} --dry-run",
        f"run methods on it:        unlearnbench run --task-file {path}",
        f"score a model of yours:   unlearnbench evaluate --task-file {path} --task {task} --model FOLDER",
    ]


def _model_file(options: argparse.Namespace, known: list[TaskFile]) -> TaskFile:
    """Return the shipped file of the family that the new one is written after."""
    found = [file for file in known if file.family == options.family and file.crossed is None]
    if not found:
        there = ", ".join(sorted({file.family for file in known}))
        raise UserError(f"--family {options.family}: {options.world} has tasks of: {there}")
    return min(found, key=lambda file: file.protocol is not None)


def _method(options: argparse.Namespace, path: Path) -> tuple[str, list[str]]:
    from .drafts import METHOD

    _check_module(path)
    return METHOD.replace("NAME", path.stem), [
        f"run it:  unlearnbench run --task classes/cat-face --method {path}",
        "its records are shown and not ranked: nobody else has the file. To rank it, put it into a package "
        "(README: I have a method)",
    ]


def _judge(options: argparse.Namespace, path: Path) -> tuple[str, list[str]]:
    from .drafts import EMBEDDING, JUDGE, SERVED

    _check_module(path)
    if (options.server is None) != (options.model is None):
        raise UserError("new judge: --server and --model: give both, or neither")
    if options.embedding and options.server is None:
        raise UserError("new judge: --embedding: give --server and --model, too")
    text = JUDGE
    if options.server is not None:
        from ...judges.served import ADDRESS

        for option in (options.server, options.model):
            if any(letter in option for letter in '"\\\n'):
                raise UserError(f"new judge: {option!r}: quotation marks and backslashes are in no such name")
        if not ADDRESS.match(options.server):
            raise UserError(
                f"new judge: --server {options.server}: not an address such as http://HOST:8000/v1"
            )
        draft = EMBEDDING if options.embedding else SERVED
        text = draft.replace("SERVER_URL", options.server).replace("MODEL_NAME", options.model)
    return text, [
        f'name it in a task file in the same folder: judge = "{path.name}@1"',
        "then: unlearnbench run --task-file THAT.toml",
    ]


def _check_module(path: Path) -> None:
    if path.suffix != ".py" or not MODULE.fullmatch(path.stem):
        raise UserError(f"--out {path}: name a Python file of small letters, digits and _, such as mine.py")


def add_new(commands: Any) -> None:
    """Add `new` to the command line."""
    parser = commands.add_parser("new", help="write a task, a method or a judge of your own to start from")
    kinds = parser.add_subparsers(dest="kind", required=True, metavar="KIND")
    for kind, what in (
        ("task", "what is forgotten, as the world calls it: fox"),
        ("method", "name of the method: mine"),
        ("judge", "name of the judge: mine"),
    ):
        own = kinds.add_parser(kind, help=f"a {kind} in one file")
        own.add_argument("name", help=what)
        own.add_argument("--out", type=Path, help="file to write (default: NAME in this folder)")
        if kind == "task":
            own.add_argument("--world", default="emoji", help="its world (default: emoji)")
            own.add_argument("--family", default="classes", help=f"{', '.join(FAMILIES)} (default: classes)")
            own.add_argument("--anchor", help="what methods with an anchor draw in its place")
        if kind == "judge":
            own.add_argument("--server", metavar="URL", help="ask a model there: http://127.0.0.1:8000/v1")
            own.add_argument("--model", help="its name on the server")
            own.add_argument("--embedding", action="store_true", help="the model embeds; it does not chat")
        own.set_defaults(run=write_template)

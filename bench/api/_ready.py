"""`score`: judge and measure images that exist already; `list_prompts`: what a task asks for."""

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from ._models import read_sizes
from ._results import MeasuredRecord, read_measured
from ._suites import make_session
from .bench.errors import UserError
from .bench.names import check_name, name_model
from .bench.planning.plan import REFERENCES
from .bench.planning.tasks import complete_name
from .bench.running.catalog import registry
from .bench.running.session import (
    DEFAULT_WORLD,
    Program,
    WorldSettings,
    choose_device,
    make_runner,
    open_tasks,
    open_worlds,
)

if TYPE_CHECKING:
    import pandas as pd


def score(
    images: str | Path,
    task: str,
    *,
    listing: str | Path | None = None,
    name: str | None = None,
    like: str | Path | None = None,
    policy: str | None = None,
    sizes: Mapping[str, int] | None = None,
    out: str | Path = "runs/score",
    device: str | None = None,
    threads: int | None = None,
    store: str | Path | None = None,
    world: WorldSettings = DEFAULT_WORLD,
    tags: Mapping[str, str] | None = None,
    _program: Program | None = None,
) -> MeasuredRecord:
    """Judge and measure a folder of images that exist already, and return their record.

    images: a folder. listing: a CSV with the columns file and prompt, and seed, split, subject, style,
    background where it has them; None: `metadata.csv`, `metadata.jsonl` or `prompts.csv` in the folder, else
    the file names (`PROMPT_seedN.png`, or UnlearnCanvas' own). A prompt of the task has the task's truth; any
    other needs a split. The record's `source` is `external`: it is never ranked or published, since nobody
    can draw its images again. One of like, policy and sizes sets the task's prompts, as for `evaluate`.
    Raises UserError naming file and row.

    >>> unlearnbench.score("drawn-elsewhere/", "classes/cat-face@emoji", name="theirs")
    """
    from .bench.running.ready.read import read_ready
    from .bench.running.ready.score import score_images

    found = open_tasks(world)[complete_name(task)]
    own = name_model(str(images)) if name is None else check_name("--name", name)
    if own in REFERENCES or own in registry("methods"):
        raise UserError(f"--name {own}: is a method of this package; give the images another name")
    ready = read_ready(Path(images), None if listing is None else Path(listing), found)
    call = f"score(..., {task!r})"
    session = make_session(call, _program, world, device, threads, store, None, tags=tags)
    runner = make_runner(session, Path(out), {found.file.world})
    chosen, noise = read_sizes(found, runner.worlds[found.file.world], like, policy, sizes)
    path, _ = score_images(runner, found, ready, own, chosen, noise)
    return read_measured(path)


def list_prompts(
    task: str,
    *,
    like: str | Path | None = None,
    policy: str | None = None,
    sizes: Mapping[str, int] | None = None,
    world: WorldSettings = DEFAULT_WORLD,
) -> "pd.DataFrame":
    """Return the images that a task asks for, one row each: file, prompt, seed, split.

    Images of these prompts, saved under these names next to this table as `prompts.csv`, are what `score`
    reads.

    >>> unlearnbench.list_prompts("classes/cat-face@emoji").to_csv("prompts.csv", index=False)
    """
    import pandas as pd

    from .bench.measuring.requests import list_requests

    found = open_tasks(world)[complete_name(task)]
    opened = open_worlds({found.file.world}, world, choose_device("cpu"))[found.file.world]
    chosen, noise = read_sizes(found, opened, like, policy, sizes)
    rows = [
        {
            "file": f"{request.prompt.id}-{request.sample}.png",
            "prompt": request.prompt.text,
            "seed": str(request.seed),  # up to 2^64: no float, no signed number
            "split": request.prompt.split,
        }
        for request in list_requests(opened, found, chosen, noise)
    ]
    return pd.DataFrame(rows)

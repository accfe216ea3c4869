"""The judge of a task, a plug-in's where the task names one, else the world's; checks its answers."""

from functools import cache

import numpy as np
import pandas as pd

from ..errors import UserError
from ..judges.types import Judge, Verdicts
from ..planning.tasks import PromptSizes, Task
from ..registry import Entry, Registry, builtin_registry
from ..source import ROOT
from ..worlds.protocol import World
from .items import KINDS


@cache
def _judges() -> Registry[Entry]:
    """Return the package's own judges, read once: every key needs them."""
    return builtin_registry("judges", f"{ROOT}.bench.judges")


def find_plugin_judge(task: Task) -> Entry | None:
    """Return the judge of a third party or a user's file that a task names; None: the world opens its own.

    Raises UserError where the judge has another version than the task names, or where its plug-in is broken.
    """
    if task.judge_entry is not None:
        return task.judge_entry
    name, _, version = task.file.judge.partition("@")
    known = _judges()
    if name not in known:
        if name in known.broken:
            raise UserError(f"{task.id}: judge: {known.broken[name]}")
        return None
    entry = known[name]
    if entry.module.partition(".")[0] == ROOT:
        return None
    if version != str(entry.version):
        raise UserError(
            f"{task.id}: judge: {task.file.judge!r}; {entry.distribution} has {name}@{entry.version}"
        )
    return entry


def open_judge(world: World, task: Task) -> Judge:
    """Return the judge that a task names; UserError where it cannot be opened."""
    entry = find_plugin_judge(task)
    if entry is None:
        return world.open_judge(task)
    where = f"{task.id}: judge {task.file.judge} (from {entry.distribution})"
    try:
        judge = entry.load()(world, task)
    except UserError:
        raise
    except Exception as error:  # a third party's code
        raise UserError(f"{where}: does not open: {error}") from error
    if not callable(getattr(judge, "judge", None)):
        raise UserError(f"{where}: {type(judge).__name__} lacks judge(images)")
    return judge  # type: ignore[no-any-return]


def check_task(world: World, task: Task, sizes: PromptSizes) -> None:
    """Raise UserError, before anything is drawn, where a task that does not ship has no use in its world.

    The world writes its prompts and refuses names that it does not know; an embedded world's judge is opened.
    """
    try:
        prompts = world.prompts(task, sizes)
    except KeyError as error:
        raise UserError(f"{task.id}: the world {world.id} does not know {error}") from None
    if not any(prompt.split == "forget" for prompt in prompts):
        raise UserError(f"{task.id}: targets: no prompt of the world {world.id} asks for them")
    if task.concept.near and not any(prompt.relation == "same" for prompt in prompts):
        near = ", ".join(task.concept.near)
        raise UserError(f"{task.id}: near: {near}: the world {world.id} retains nothing of such a group")
    if not world.is_placed:
        open_judge(world, task)


def ask_judge(judge: Judge, images: np.ndarray) -> Verdicts:
    """Return a judge's predictions for images (n, H, W, 3); UserError where they are not n valid answers."""
    verdicts, n = judge.judge(images), len(images)
    found, features, scores = verdicts.found, np.asarray(verdicts.features), verdicts.scores
    lacking = [kind for kind in KINDS if kind not in found]
    if lacking:
        problem = f"found has no column {lacking[0]}"
    elif len(found) != n or features.ndim != 2 or len(features) != n:
        problem = f"found has {len(found)} rows, features are of shape {features.shape}"
    elif scores is not None and np.shape(scores) != (n,):
        problem = f"scores are of shape {np.shape(scores)}"
    elif not all(isinstance(answer, str) or pd.isna(answer) for kind in KINDS for answer in found[kind]):
        problem = "an answer in found is neither a name nor None"
    else:
        return verdicts
    raise UserError(f"the judge {type(judge).__name__} was asked about {n} images: {problem}")

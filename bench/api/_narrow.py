"""A part of a suite: the tasks, methods and settings that a run is narrowed to."""

import json
from collections.abc import Sequence
from typing import Any

from ._inline import Method
from .bench.config import build
from .bench.errors import UserError
from .bench.planning.combined import is_combined
from .bench.planning.draws import seed_in
from .bench.planning.plan import REFERENCES, MethodRow, Suite
from .bench.planning.tasks import complete_name
from .bench.registry import Entry, Registry
from .bench.running.session import WorldSettings, open_tasks


def narrow_tasks(suite: Suite, tasks: Sequence[str], world: WorldSettings) -> dict[str, Any]:
    """Return the tasks and the name of a suite that is narrowed to tasks.

    Without tasks it is narrowed to those of the user's files, unless it names one of these itself. A suite
    that gets tasks of such files has another name: no record of them is taken for one of the shipped suite.
    """
    there, own_names = open_tasks(world), {complete_name(name) for name in suite.tasks}
    own = [task.id for task in there.values() if task.is_own]
    if not tasks:
        if own_names & set(own):
            return {}
        tasks = own
    found = [task.id for name in tasks for task in there.expand(complete_name(name))]
    seed = seed_in(list(tasks))
    name = suite.name if seed is None else f"{suite.name}-draw-{seed}"
    if any(is_combined(given) for given in tasks):  # a folder and a board of their own
        name += "-several"
    return {"tasks": found, "name": f"{name}-own" if set(found) & set(own) - own_names else name}


def narrow_rows(
    suite: Suite, methods: Sequence[Method], skip: Sequence[str], known: Registry[Entry]
) -> list[MethodRow]:
    for name in (*(method.name for method in methods), *skip):
        if name not in REFERENCES:
            _ = known[name]
    rows = list(suite.methods)
    if methods:
        wanted = list(dict.fromkeys(method.name for method in methods))
        references = [row for row in rows if row.name in REFERENCES and row.name not in wanted]
        own = [_configure(rows, [m for m in methods if m.name == name]) for name in wanted]
        rows = [*references, *(row for found in own for row in found)]
    rows = [row for row in rows if row.name not in skip]
    if not rows:
        raise UserError(f"--skip {' '.join(skip)}: leaves nothing of {suite.name}")
    return rows


def _configure(rows: Sequence[MethodRow], methods: Sequence[Method]) -> list[MethodRow]:
    """Return the rows of a method: the suite's own, or one for each of the given settings."""
    own = [row for row in rows if row.name == methods[0].name]
    if own and not any(method.settings or method.preset for method in methods):
        return own
    found = []
    for method in methods:
        config = dict(method.settings) | ({"preset": method.preset} if method.preset else {})
        try:
            json.dumps(config)
        except (TypeError, ValueError):
            raise UserError(
                f"methods: {method.name}: settings are numbers, texts, and lists and tables of them"
            ) from None
        row = build(MethodRow, {"name": method.name, "config": config}, "methods")
        if row not in found:
            found.append(row)
    return found

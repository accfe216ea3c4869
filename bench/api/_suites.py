"""`run`: a suite, or a part of it, from plan to records."""

import json
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from ._inline import Method, UnlearnFunction, check_settings, make_entry
from ._results import Records, read_measured
from .bench.config import build
from .bench.errors import UserError
from .bench.planning.draws import seed_in
from .bench.planning.plan import REFERENCES, MethodRow, Suite, check_options_seeds
from .bench.planning.tasks import PromptSizes, complete_name
from .bench.registry import Entry, Registry
from .bench.running.catalog import registry, suites_folder, task_registry
from .bench.running.session import DEFAULT_WORLD, Program, Session, WorldSettings, make_runner


@dataclass(frozen=True)
class Plan:
    """A suite and its cells."""

    suite: Suite
    cells: list[Any]

    @property
    def worlds(self) -> set[str]:
        return {cell.task.file.world for cell in self.cells}


def run(
    suite: str | Path | Suite = "demo",
    *,
    tasks: str | Sequence[str] | None = None,
    methods: Sequence[str | UnlearnFunction | Method] | None = None,
    skip: Sequence[str] = (),
    seeds: Sequence[int] | None = None,
    sizes: Mapping[str, int] | None = None,
    out: str | Path | None = None,
    device: str | None = None,
    threads: int | None = None,
    store: str | Path | None = None,
    cell_timeout: float | None = None,
    dtype: str = "auto",
    resume: str | Path | None = None,
    world: WorldSettings = DEFAULT_WORLD,
    _program: Program | None = None,
) -> Records:
    """Run a suite, or a part of it, and return its records. Existing records are not measured again.

    suite: a name, a TOML file, or a Suite. tasks: only these (`classes/cat-face`, `classes@draw:123`),
    whether or not the suite names them. methods: only these and the suite's references: names, `method(...)`
    with settings, or functions `unlearn(pipeline, problem, config, save)`. A function's record is marked
    `inline`: it is never ranked and never published, and its training is reused only where everything that
    the function depends on is known. skip: methods or references to leave out. seeds: of training. sizes:
    numbers of prompts, such as `{"forget": 8}`. out: folder of the records; None: runs/SUITE. device: cpu,
    cuda or mps; None: the best that is available. threads: of the CPU; None: all cores. store: folder of the
    cache. cell_timeout: seconds that a cell may take. dtype: of drawing and training, as in `Session`.
    resume: another folder of records (results/SUITE): those with equal keys are copied and count as done.
    world: where the parts of a real model are.

    The result lists failed cells in `failed`; the other cells are measured. Raises UserError, before anything
    is drawn, for a name, setting or number that is not valid.

    >>> records = unlearnbench.run("demo", tasks="classes/cat-face", methods=["balanced"])
    """
    plan = plan_run(
        suite,
        tasks=tasks,
        methods=methods,
        skip=skip,
        seeds=seeds,
        sizes=sizes,
        world_folder=world.world_folder,
        part=_program.part if _program else None,
    )
    call = f"run({plan.suite.name!r})"
    session = make_session(call, _program, world, device, threads, store, cell_timeout, dtype)
    folder = Path(out or Path("runs") / plan.suite.name)
    return run_plan(plan, folder, session, Path(resume) if resume else None)


def make_session(
    call: str,
    program: Program | None,
    world: WorldSettings,
    device: str | None,
    threads: int | None,
    store: str | Path | None,
    cell_timeout: float | None,
    dtype: str = "auto",
) -> Session:
    """Return the session of a call. call: named as the command in records where no command line was used."""
    called = program or Program()
    return Session(
        device=device,
        threads=threads,
        jobs=called.jobs,
        store=None if store is None else Path(store),
        cell_timeout=cell_timeout,
        dtype=dtype,
        command=called.command if program else f"unlearnbench.{call}",
        world=world,
        program=called,
    )


def plan_run(
    suite: str | Path | Suite,
    *,
    tasks: str | Sequence[str] | None = None,
    methods: Sequence[str | UnlearnFunction | Method] | None = None,
    skip: Sequence[str] = (),
    seeds: Sequence[int] | None = None,
    sizes: Mapping[str, int] | None = None,
    world_folder: Path | None = None,
    part: str | None = None,
) -> Plan:
    """Return the plan for the arguments of `run`, every name checked. part: `I/N` of the tasks."""
    from .bench.measuring.needed import check_floor
    from .bench.planning.plan import find_suite, plan_cells, take_choice, take_declaration
    from .bench.running.jobs import take_part

    known = registry("methods")
    wanted = [_name_method(given, known) for given in methods or ()]
    found = suite if isinstance(suite, Suite) else find_suite(str(suite), suites_folder())
    found = take_declaration(found, Path())  # of a Suite: its file lies in the working folder
    whole = narrow_suite(
        take_choice(found, suites_folder()),
        tasks=[tasks] if isinstance(tasks, str) else tasks or (),
        methods=wanted,
        skip=skip,
        seeds=seeds or (),
        sizes=sizes,
        known=known,
        world_folder=world_folder,
    )
    check_floor(whole)
    if part is not None:
        whole = take_part(whole, part)
    return Plan(whole, plan_cells(whole, task_registry(world_folder), known))


def _name_method(given: str | UnlearnFunction | Method, known: Registry[Entry]) -> Method:
    """Return a method whose name `known` has; a function is added to it."""
    method = given if isinstance(given, Method) else Method(given, {})
    if isinstance(method.what, str):
        if method.what not in REFERENCES:
            _ = known[method.what]
        return method
    entry = make_entry(method.what, known)
    if method.preset is not None:
        raise UserError(f"methods: {entry.name}: a function has no presets; give it settings")
    check_settings(entry, method.settings)
    known.add(entry.name, entry)
    return replace(method, what=entry.name)


def narrow_suite(
    suite: Suite,
    *,
    tasks: Sequence[str] = (),
    methods: Sequence[Method] = (),
    skip: Sequence[str] = (),
    seeds: Sequence[int] = (),
    sizes: Mapping[str, int] | None = None,
    known: Registry[Entry] | None = None,
    world_folder: Path | None = None,
) -> Suite:
    """Return the suite with only the given tasks, methods and seeds; every name is checked first."""
    entries = registry("methods") if known is None else known
    rows = _narrow_rows(suite, methods, skip, entries)
    change: dict[str, Any] = {"methods": rows}
    if tasks:
        there = task_registry(world_folder)
        change["tasks"] = [task.id for name in tasks for task in there.expand(complete_name(name))]
        seed = seed_in(list(tasks))
        change["name"] = suite.name if seed is None else f"{suite.name}-draw-{seed}"
    if seeds:
        check_options_seeds("--seeds", list(seeds))
        change["seeds"] = list(seeds)
        change["methods"] = [row.model_copy(update={"seeds": []}) for row in rows]
    if sizes is not None:
        change["sizes"] = build(PromptSizes, suite.sizes.model_dump() | dict(sizes), "sizes")
        change["name"] = f"{change.get('name', suite.name)}-resized"
    return suite.model_copy(update=change)


def _narrow_rows(
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


def check_configs(cells: Sequence[Any]) -> None:
    """Build every cell's config before anything runs: a mistake is found in the first second."""
    for cell in cells:
        if cell.entry is not None:
            cell.build_config()


def run_plan(plan: Plan, folder: Path, session: Session, resume: Path | None = None) -> Records:
    """Measure the cells of a plan; records of other cells in the folder stay. resume: as in `run`."""
    from .bench.planning.plan import find_references
    from .bench.running.jobs import run_parts

    tasks = len(plan.suite.tasks)
    if session.jobs > tasks:
        print(
            f"--jobs {session.jobs}: the suite has {tasks} tasks, one process for each at most",
            file=sys.stderr,
        )
        session = replace(session, jobs=tasks)
    runner = make_runner(session, folder, plan.worlds)
    cells = find_references(plan.cells, runner.worlds)
    taken = [] if resume is None else runner.resume(cells, resume)
    pending = runner.pending(cells)
    check_configs(pending)
    if session.jobs > 1 and pending:
        records = [folder / f"{cell.stem}.json" for cell in pending]
        run_parts(session.program.arguments, session.jobs, runner.threads, records)
    outcomes = runner.run(cells)
    runner.store.prune()
    is_whole = session.program.part is None and not any(outcome.state == "failed" for outcome in outcomes)
    if is_whole and any(cell.row.shown for cell in cells):
        if taken:
            runner.say(f"pooled distances: not made: they need the images of {len(taken)} resumed records")
        else:
            runner.pool([cell for cell in cells if not cell.is_inline])
    return gather(folder, outcomes)


def gather(folder: Path, outcomes: Sequence[Any]) -> Records:
    """Return the records of outcomes, without earlier records of cells that failed now."""
    found, failed = [], []
    for outcome in outcomes:
        if outcome.state == "failed":
            failed.append(outcome.path.stem)
        if outcome.path.is_file():
            record = read_measured(outcome.path)
            if outcome.state != "failed" or record.status == "failed":
                found.append(record)
    unchanged = sum(outcome.state == "unchanged" for outcome in outcomes)
    drawn = sum(outcome.drawn for outcome in outcomes)
    return Records(folder, tuple(found), tuple(failed), len(outcomes), unchanged, drawn)

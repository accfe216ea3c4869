"""`run`: a suite, or a part of it, from plan to records."""

import json
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
    cache. cell_timeout: seconds that a cell may take. world: where the parts of a real model are.

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
    )
    session = make_session(f"run({plan.suite.name!r})", _program, world, device, threads, store, cell_timeout)
    return run_plan(plan, Path(out) if out else Path("runs") / plan.suite.name, session)


def make_session(
    call: str,
    program: Program | None,
    world: WorldSettings,
    device: str | None,
    threads: int | None,
    store: str | Path | None,
    cell_timeout: float | None,
) -> Session:
    """Return the session of a call. call: named as the command in records where no command line was used."""
    called = program or Program()
    return Session(
        device=device,
        threads=threads,
        jobs=called.jobs or 1,
        store=Path(store) if store and "://" not in str(store) else store,
        cell_timeout=cell_timeout,
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
) -> Plan:
    """Return the plan for the arguments of `run`, every name checked."""
    from .bench.measuring.needed import check_floor
    from .bench.planning.plan import find_suite, plan_cells, take_choice, take_declaration

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


def run_plan(plan: Plan, folder: Path, session: Session) -> Records:
    """Measure the cells of a plan; records of other cells in the folder stay."""
    from .bench.planning.plan import find_references
    from .bench.running.jobs import find_part, run_parts
    from .bench.running.sharing.engines import is_remote, start_workers
    from .bench.running.sharing.room import fit_session
    from .bench.running.sharing.worker import Worker

    if is_remote(session.program):
        check_configs(plan.cells)
        start_workers(session.program, folder / "parts", session.threads or plan.suite.threads or 1)
        return gather(folder, read_outcomes(plan.cells, folder))
    session, gpus = fit_session(session, plan.suite.threads, plan.worlds)
    part = find_part(session.program.part) if session.jobs == 1 else None
    runner = make_runner(session, folder, plan.worlds)
    cells = find_references(plan.cells, runner.worlds)
    pending = runner.pending(cells)
    check_configs(pending)
    if session.jobs > 1 and pending:
        records = [folder / f"{cell.stem}.json" for cell in pending]
        run_parts(session.program.arguments, session.jobs, runner.threads, records, gpus)
    worker = None if part is None else Worker(runner, *part)
    outcomes = runner.run(cells) if worker is None else worker.work(cells)
    is_whole = not any(outcome.state == "failed" for outcome in outcomes)
    if is_whole and any(cell.row.shown for cell in cells):
        pooled = [cell for cell in cells if not cell.is_inline]
        runner.pool(pooled) if worker is None else worker.pool(pooled)
    return gather(folder, outcomes)


def read_outcomes(cells: Sequence[Any], folder: Path) -> list[Any]:
    """Return what became of cells that other machines worked on; one without a record has failed."""
    from .bench.records.record import read_record
    from .bench.running.runner import Outcome

    found = []
    for cell in cells:
        path = folder / f"{cell.stem}.json"
        is_good = path.is_file() and read_record(path).status == "ok"
        found.append(Outcome(cell, "measured" if is_good else "failed", path))
    return found


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

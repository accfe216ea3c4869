"""`run`: a suite, or a part of it, from plan to records."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from ._inline import Method, UnlearnFunction, check_settings, make_entry, make_file_entry
from ._narrow import narrow_rows, narrow_tasks
from ._results import MeasuredRecord, Records, read_measured
from .bench.config import build
from .bench.errors import UserError
from .bench.planning.plan import REFERENCES, Suite, check_options_seeds, find_references
from .bench.planning.tasks import PromptSizes, cap_sizes
from .bench.records.packed.record_table import has_record
from .bench.registry import Entry, Registry
from .bench.running.catalog import registry, suites_folder
from .bench.running.evaluate import refuse_other_limit
from .bench.running.session import DEFAULT_WORLD, Program, Session, WorldSettings, make_runner, open_tasks


@dataclass(frozen=True)
class Plan:
    """A suite and its cells. is_part: whether cells that did not fail are left out."""

    suite: Suite
    cells: list[Any]
    is_part: bool = False

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
    offload: str | None = None,
    resume: str | Path | None = None,
    world: WorldSettings = DEFAULT_WORLD,
    limit: int | None = None,
    only_failures: bool = False,
    tags: Mapping[str, str] | None = None,
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
    cache. cell_timeout: seconds that a cell may take. dtype, offload: as in
    `Session`. resume: another folder of records (results/SUITE): those with equal keys are copied and count
    as done. world: where the parts of a real model are. limit: most prompts of each set, for a first look
    that is never ranked. only_failures: only the cells that failed before. tags: words of your own, kept in
    records made now.

    The result lists failed cells in `failed`; the other cells are measured. Raises UserError, before anything
    is drawn, for a name, setting or number that is not valid.

    >>> records = unlearnbench.run("demo", tasks="classes/cat-face", methods=["balanced"])
    """
    chosen = {"tasks": tasks, "methods": methods, "skip": skip, "seeds": seeds, "sizes": sizes}
    plan = plan_run(suite, **chosen, limit=limit, world=world)  # type: ignore[arg-type]
    call = f"run({plan.suite.name!r})"
    session = make_session(call, _program, world, device, threads, store, cell_timeout, dtype, tags, offload)
    folder = Path(out) if out else Path("runs") / plan.suite.name
    plan = keep_failed(plan, folder) if only_failures else plan
    return run_plan(plan, folder, session, Path(resume) if resume else None)


def keep_failed(plan: Plan, folder: Path) -> Plan:
    """Return a plan without the cells that did not fail when they were last run."""
    from .bench.running.failures import find_failed

    return replace(plan, cells=find_failed(plan.cells, folder), is_part=True)


def make_session(
    call: str,
    program: Program | None,
    world: WorldSettings,
    device: str | None,
    threads: int | None,
    store: str | Path | None,
    cell_timeout: float | None,
    dtype: str = "auto",
    tags: Mapping[str, str] | None = None,
    offload: str | None = None,
) -> Session:
    """Return the session of a call. call: named as the command in records where no command line was used."""
    called = program or Program()
    return Session(
        device=device,
        threads=threads,
        jobs=called.jobs or 1,
        store=Path(store) if store and "://" not in str(store) else store,
        cell_timeout=cell_timeout,
        dtype=dtype,
        offload=offload,
        command=called.command if program else f"unlearnbench.{call}",
        world=world,
        program=called,
        tags=dict(tags or {}),
    )


def plan_run(
    suite: str | Path | Suite,
    *,
    tasks: str | Sequence[str] | None = None,
    methods: Sequence[str | UnlearnFunction | Method] | None = None,
    skip: Sequence[str] = (),
    seeds: Sequence[int] | None = None,
    sizes: Mapping[str, int] | None = None,
    world: WorldSettings = DEFAULT_WORLD,
    limit: int | None = None,
) -> Plan:
    """Return the plan for the arguments of `run`, every name checked."""
    from .bench.measuring.needed import check_floor
    from .bench.planning.plan import find_suite, plan_cells, take_choice, take_declaration

    known = registry("methods")
    wanted = [_name_method(given, known) for given in methods or ()]
    found = suite if isinstance(suite, Suite) else find_suite(str(suite), suites_folder())
    found = take_declaration(found)
    whole = narrow_suite(
        take_choice(found),
        tasks=[tasks] if isinstance(tasks, str) else tasks or (),
        methods=wanted,
        skip=skip,
        seeds=seeds or (),
        sizes=sizes,
        limit=limit,
        known=known,
        world=world,
    )
    check_floor(whole)
    return Plan(whole, plan_cells(whole, open_tasks(world), known))


def _name_method(given: str | UnlearnFunction | Method, known: Registry[Entry]) -> Method:
    """Return a method whose name `known` has; a function is added to it."""
    method = given if isinstance(given, Method) else Method(given, {})
    if method.file is not None:
        entry = make_file_entry(method.file, known)
        if entry.name not in known:
            known.add(entry.name, entry)
        return replace(method, what=entry.name)
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
    limit: int | None = None,
    known: Registry[Entry] | None = None,
    world: WorldSettings = DEFAULT_WORLD,
) -> Suite:
    """Return the suite with only the given tasks, methods and seeds; every name is checked first."""
    entries = registry("methods") if known is None else known
    rows = narrow_rows(suite, methods, skip, entries)
    change: dict[str, Any] = {"methods": rows}
    if (tasks or world.task_files) and suite.sequence:
        raise UserError(
            f"--task: {suite.name} is a sequence of tasks; name them in a suite file's `sequence`"
        )
    if tasks or world.task_files:
        change |= narrow_tasks(suite, tasks, world)
    if seeds:
        check_options_seeds("--seeds", list(seeds))
        change["seeds"] = list(seeds)
        change["methods"] = [row.model_copy(update={"seeds": []}) for row in rows]
    if sizes is not None:
        change["sizes"] = build(PromptSizes, suite.sizes.model_dump() | dict(sizes), "sizes")
        change["name"] = f"{change.get('name', suite.name)}-resized"
    if limit is not None:
        change["sizes"] = cap_sizes(change.get("sizes", suite.sizes), limit)
        change |= {"limit": limit, "name": f"{change.get('name', suite.name)}-limit-{limit}"}
    return suite.model_copy(update=change)


def check_configs(cells: Sequence[Any]) -> None:
    """Build every cell's config before anything runs: a mistake is found in the first second."""
    for cell in cells:
        if cell.entry is not None:
            cell.build_config()


def check_added_tasks(cells: Sequence[Any], worlds: Mapping[str, Any]) -> None:
    """Raise UserError where a task that does not ship names what its world does not have."""
    from .bench.measuring.judging import check_task

    for cell in {cell.task.id: cell for cell in cells if cell.task.added}.values():
        check_task(worlds[cell.task.file.world], cell.task, cell.suite.sizes)


def run_plan(plan: Plan, folder: Path, session: Session, resume: Path | None = None) -> Records:
    """Measure the cells of a plan; records of other cells in the folder stay. resume: as in `run`."""
    from .bench.running.attacking.suite_attacks import (
        attack_cells,
        pending_attacks,
        plan_attacks,
        resume_attacks,
    )
    from .bench.running.jobs import find_part, run_parts
    from .bench.running.sharing.engines import is_remote, start_workers
    from .bench.running.sharing.outcomes import mark_measured, read_outcomes, write_outcomes
    from .bench.running.sharing.room import fit_session
    from .bench.running.sharing.worker import Worker

    refuse_other_limit(folder, plan.cells)
    logs = folder / "parts"
    if is_remote(session.program):
        check_configs(plan.cells)
        start_workers(session.program, logs, session.threads or plan.suite.threads or 1)
        return gather(folder, *read_outcomes(logs, plan.cells, folder))
    session, gpus = fit_session(session, plan.suite.threads, plan.worlds)
    part = find_part(session.program.part) if session.jobs == 1 else None
    runner = make_runner(session, folder, plan.worlds)
    check_added_tasks(plan.cells, runner.worlds)
    cells = find_references(plan.cells, runner.worlds)
    taken = [] if resume is None else runner.resume(cells, resume)
    pending = runner.pending(cells)
    check_configs(pending)
    attacks = plan_attacks(plan.suite, cells, registry("attacks")) if plan.suite.attacks else []
    resume_attacks(runner, attacks, resume)
    waiting = pending_attacks(runner, attacks) if session.jobs > 1 else []
    fresh = {cell.stem for cell in pending} if session.jobs > 1 else set()
    if session.jobs > 1 and (pending or waiting):
        records = [folder / f"{cell.stem}.json" for cell in pending or [attack.cell for attack in waiting]]
        run_parts(session.program.arguments, session.jobs, runner.threads, records, gpus)
    worker = None if part is None else Worker(runner, *part)
    outcomes = runner.run(cells) if worker is None else worker.work(cells)
    outcomes = mark_measured(outcomes, fresh)
    attacked = attack_cells(runner, attacks) if worker is None else worker.attack(attacks)
    is_whole = not any(outcome.state == "failed" for outcome in outcomes)
    if is_whole and any(cell.row.shown and cell.turn is None for cell in cells):
        if plan.is_part:
            runner.say("pooled distances: not made: run the whole suite once more, which draws nothing")
        elif taken:
            runner.say(f"pooled distances: not made: they need the images of {len(taken)} resumed records")
        else:
            (worker or runner).pool([cell for cell in cells if not cell.is_inline])
    if part is not None and session.program.part is not None:
        write_outcomes(logs, part[0], folder, outcomes, attacked)
    return gather(folder, outcomes, attacked)


def gather(folder: Path, outcomes: Sequence[Any], attacked: Sequence[Any] = ()) -> Records:
    """Return the records of outcomes, without earlier ones of cells that failed now. attacked: of attacks."""
    found, failed = _read_outcomes(outcomes)
    brought, lost = _read_outcomes(attacked)
    unchanged = sum(outcome.state == "unchanged" for outcome in outcomes)
    drawn = sum(outcome.drawn for outcome in (*outcomes, *attacked))
    return Records(
        folder, tuple(found), (*failed, *lost), len(outcomes), unchanged, drawn, attacked=tuple(brought)
    )


def _read_outcomes(outcomes: Sequence[Any]) -> tuple[list[MeasuredRecord], list[str]]:
    """Return the records of outcomes, and the stems of those that failed."""
    found, failed = [], []
    for outcome in outcomes:
        if outcome.state == "failed":
            failed.append(outcome.path.stem)
        if has_record(outcome.path):
            record = read_measured(outcome.path)
            if outcome.state != "failed" or record.status == "failed":
                found.append(record)
    return found, failed

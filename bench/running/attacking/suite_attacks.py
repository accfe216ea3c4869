"""The attacks that a suite names: planned with its cells, run after them."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from ...environment import differing
from ...models.isolation.time_limit import TimeIsUp, limit_time
from ...planning.plan import Cell, Suite
from ...planning.rows import AttackRow
from ...planning.tasks import complete_name
from ...records.record import Record, read_record
from ...registry import Entry, Registry
from ..failures import has_good
from ..runner import Outcome, Runner
from .attack_run import AttackRun, Planned, plan_attack


@dataclass(frozen=True)
class SuiteAttack:
    """One attack on the model of one cell. label: of the attacked point, None for the shown one."""

    cell: Cell
    planned: Planned
    label: str | None


def plan_attacks(suite: Suite, cells: Sequence[Cell], attacks: Registry[Entry]) -> list[SuiteAttack]:
    """Return the attacks on the models of some cells, cell by cell.

    A reference with other noise than 0 is not attacked: it is the same model again. Raises UserError naming
    suite, attack and setting.
    """
    planned = [
        (row, plan_attack(attacks[row.name], row.config, row.seed, source=f"{suite.name}: attack {row.name}"))
        for row in suite.attacks
    ]
    return [
        SuiteAttack(cell, attack, row.point)
        for cell in cells
        for row, attack in planned
        if _is_attacked(row, cell)
    ]


def _is_attacked(row: AttackRow, cell: Cell) -> bool:
    again = cell.entry is None and cell.row.noise != 0
    return (
        not again
        and (not row.methods or cell.row.name in row.methods)
        and (not row.tasks or cell.task.id in [complete_name(name) for name in row.tasks])
        and (not row.seeds or cell.entry is None or cell.seed in row.seeds)
    )


def attack_cells(runner: Runner, attacks: Sequence[SuiteAttack]) -> list[Outcome]:
    """Run the attacks whose record is not there yet; one that fails is recorded and the others go on.

    An attack on a cell that failed is left out: there is no model.
    """
    outcomes = []
    for number, attack in enumerate(attacks, 1):
        cell, name = attack.cell, attack.planned.entry.name
        title = f"[{number}/{len(attacks)}] {cell.task.id} {cell.row.name} seed {cell.seed}: attack {name}"
        run = find_run(runner, attack)
        if run is None:
            runner.say(f"{title}: not run, because its cell failed")
            continue
        outcomes.append(_attack_cell(runner, run, title))
    return outcomes


def pending_attacks(runner: Runner, attacks: Sequence[SuiteAttack]) -> list[SuiteAttack]:
    """Return the attacks whose record is not there yet."""

    def is_done(attack: SuiteAttack) -> bool:
        run = find_run(runner, attack)
        return run is not None and run.is_done()

    return [attack for attack in attacks if not is_done(attack)]


def resume_attacks(runner: Runner, attacks: Sequence[SuiteAttack], folder: Path | None) -> None:
    """Copy the records that another folder of records holds of the attacks that are not done yet."""
    if folder is None:
        return
    taken = 0
    for attack in pending_attacks(runner, attacks):
        run = find_run(runner, attack)
        if run is not None:
            path = folder / run.path.parent.name / run.path.name
            taken += runner.take_record(path, run.path, run.key, attack.cell.suite.name)
    if taken:
        runner.say(f"{folder}: {taken} attacked records count as done")
    if said := describe_elsewhere(runner, pending_attacks(runner, attacks)):
        runner.say(said)


def describe_elsewhere(runner: Runner, attacks: Sequence[SuiteAttack]) -> str:
    """Return a sentence on those of the attacked models that were trained on another machine, "" for none.

    Training may give other weights here, and then the attacks are refused.
    """
    found: dict[str, list[str]] = {}
    for attack in attacks:
        run = None if attack.cell.entry is None else find_run(runner, attack)
        of = None if run is None else run.planned.of
        if run is not None and of is not None and (names := differing(of.environment, run.environment)):
            found[of.cell] = names
    if not found:
        return ""
    names = sorted({name for own in found.values() for name in own})
    return (
        f"{len(found)} records to attack were measured with another {' and '.join(names)}. Their models are "
        "trained again here; where one differs, its attacks are refused, and its cell must be measured here"
    )


def _find_record(runner: Runner, cell: Cell) -> Record | None:
    path = runner.path_of(cell)
    return read_record(path) if has_good(path) else None


def find_run(runner: Runner, attack: SuiteAttack) -> AttackRun | None:
    """Return the run of an attack; None where its cell failed, so that there is no model."""
    record = _find_record(runner, attack.cell)
    return None if record is None else _make_run(runner, attack, record)


def _make_run(runner: Runner, attack: SuiteAttack, record: Record) -> AttackRun:
    return AttackRun(runner, attack.cell, replace(attack.planned, of=record), attack.label)


def _attack_cell(runner: Runner, run: AttackRun, title: str) -> Outcome:
    if run.stem in runner.abandoned:
        return Outcome(run.cell, "failed", run.path)
    before = runner.scorer.drawn

    def abandon() -> None:
        run.fail(title, TimeIsUp(f"took longer than {runner.cell_timeout:g} s, and could not be stopped"))
        if runner.restart is not None:
            runner.restart(run.stem)

    try:
        if run.is_done():
            return Outcome(run.cell, "unchanged", run.path)
        runner.say(title)
        with limit_time(runner.cell_timeout, abandon):
            run.measure()
    except (Exception, TimeIsUp) as error:
        run.fail(title, error)
        return Outcome(run.cell, "failed", run.path)
    return Outcome(run.cell, "measured", run.path, runner.scorer.drawn - before)

"""`attack`: options, and what it does. `report-attack` is in `statements.py`."""

import argparse
from dataclasses import replace
from pathlib import Path
from typing import Any

from ..errors import UserError
from ..planning.tasks import complete_name
from ..running.catalog import registry
from ..running.session import make_runner, open_tasks
from .common import FAILED, AddOptions, open_console, read_session, read_world
from .statements import home, recorded_device, recorded_threads, restore_cell
from .unlearn import read_settings

OLD = ("ua", "images", "by", "link")
"""Options of `report-attack`, which was called `attack` once."""


def attack_model(options: argparse.Namespace) -> int:
    """Attack a record's model or a given one; print UA before and under each attack. 1: an attack failed."""
    from ..records.record import read_record
    from ..running.attacking.attack_run import AttackRun, plan_attack

    _refuse_old(options)
    known, settings = registry("attacks"), read_settings(options.set or [])
    if settings and len(options.attack) > 1:
        raise UserError("--set: settings are of one attack; name one --attack")
    planned = [plan_attack(known[name], settings, options.seed) for name in dict.fromkeys(options.attack)]
    runner, cell, of = _find_record(options) if options.record else _find_model(options)
    done = []
    for one in planned:
        run = AttackRun(runner, cell, replace(one, of=of), options.point)
        runner.say(f"{cell.task.id} {cell.row.name}: {one.entry.name}")
        done.append(_measure(run))
    records = [read_record(path) for path, _ in done]
    open_console().print(make_attack_table(records))
    for path, state in done:
        print(f"{state}: {path}")
    return FAILED if any(state == "failed" for _, state in done) else 0


def _measure(run: Any) -> tuple[Path, str]:
    """Run an attack; return its record and `measured`, `unchanged` or `failed`."""
    try:
        path, state = run.measure()
    except UserError:
        raise
    except Exception as error:
        run.fail(f"attack {run.planned.entry.name}", error)
        return run.path, "failed"
    return path, state


def _refuse_old(options: argparse.Namespace) -> None:
    given = [name for name in OLD if getattr(options, name) is not None]
    if given:
        raise UserError(
            f"attack: --{given[0]}: `attack` runs an attack; `unlearnbench report-attack` adds the result of "
            "somebody's attack to a record, and takes the options that `attack` took"
        )
    if not options.attack:
        raise UserError("--attack: name one; `unlearnbench list attacks` lists them")
    if (options.record is None) == (not options.model):
        raise UserError("attack: give either a record (CELL.json) or --model with --task")


def _find_record(options: argparse.Namespace) -> tuple[Any, Any, Any]:
    """Return a runner, the cell of the record and the record."""
    from ..models.device.precision import recorded_dtype
    from ..records.load import load_one

    claimed = load_one(options.record)
    if claimed.record.attack is not None:
        raise UserError(f"{options.record}: attack: is an attacked record; attack the record that it is of")
    if claimed.record.status != "ok" or claimed.items is None:
        raise UserError(f"{options.record}: status: the run failed; there is nothing to attack")
    session = replace(
        read_session(options),
        device=options.device or recorded_device(claimed.record),
        threads=options.threads or recorded_threads(claimed.record),
        dtype=recorded_dtype(claimed.record.sampling, options.record),
    )
    folder = options.out or home(options.record)
    runner, cell = restore_cell(claimed, options.record, options, session, folder)
    return runner, cell, claimed.record


def _find_model(options: argparse.Namespace) -> tuple[Any, Any, None]:
    """Return a runner and the cell of somebody's model, which has no record."""
    from ..._models import check_models
    from ..planning.plan import MethodRow
    from ..planning.tasks import PromptSizes
    from ..running.evaluate import make_model_cell

    if not options.task:
        raise UserError("--task: needed with --model: which concept shall be brought back")
    task = open_tasks(read_world(options))[complete_name(options.task)]
    names = check_models(options.model)
    runner = make_runner(read_session(options), options.out or Path("runs/attack"), {task.file.world})
    row = MethodRow(name=names[0], config={"model": names[0]} if len(names) == 1 else {"points": names})
    return runner, make_model_cell("attack", task, options.model, row, PromptSizes()), None


def make_attack_table(records: list[Any]) -> Any:
    """Return a table of attacked records: UA before and under the attack, success rate and cost."""
    from rich.table import Table

    table = Table(title="attacks", title_justify="left", box=None, pad_edge=False)
    for column in ("attack", "budget", "UA before", "UA under", "ASR", "brought back", "passes", "seconds"):
        table.add_column(column, justify="left" if column in ("attack", "budget") else "right")
    for record in records:
        attack = record.attack
        names = ("UA_before", "UA_after", "ASR", "gain")
        numbers = [_show(attack.values.get(name)) for name in names]
        cost = attack.cost
        table.add_row(attack.name, attack.budget, *numbers, str(cost.passes), f"{cost.seconds:.1f}")
        for name, number in attack.readings.items():
            table.add_row("", f"{name}: {number:.3f}")
    return table


def _show(value: Any) -> str:
    if value is None:
        return "-"
    if value.value is None:
        return "missing"
    return (
        f"{value.value:.2f} [{value.low:.2f}, {value.high:.2f}]"
        if value.low is not None
        else f"{value.value:.2f}"
    )


def show_hidden(options: argparse.Namespace) -> int:
    """Print what attacks bring back from the models of folders of records, and make the page."""
    from ...leaderboard.pages.attacked import make_attack_tables
    from ...leaderboard.pages.contents import read_contents
    from ...leaderboard.pages.site import build_page

    contents = read_contents(options.records)
    report = contents.beside.attacked
    if not report.models:
        raise UserError(
            f"{options.records[0]}: no attacked records; `unlearnbench attack RECORD --attack NAME` makes "
            "one, and a suite with [[attacks]] many"
        )
    console = open_console()
    for table in make_attack_tables(report):
        console.print(table)
    for task in report.models:
        print(f"{task}:")
        for sentence in report.controls(task):
            print(f"  {sentence}")
    for name in report.stale:
        print(f"left out: {name}: the record that it attacked is not here")
    page = build_page(contents, options.out or options.records[0] / "leaderboard")
    print(f"attacks: {page.parent / 'attacks.html'}")
    return 0


def add_hidden(commands: Any) -> None:
    hidden = commands.add_parser("hidden", help="what attacks brought back, next to the controls")
    hidden.add_argument("records", type=Path, nargs="+", help="folders of records with attacked records")
    hidden.add_argument("--out", type=Path, help="folder of the page (default: leaderboard/ in the first)")
    hidden.set_defaults(run=show_hidden)


def add_attack_command(commands: Any, add_output: AddOptions, add_places: AddOptions) -> None:
    attack = commands.add_parser("attack", help="attack a model: is the target gone, or only hidden?")
    attack.add_argument("record", type=Path, nargs="?", help="the record whose model is attacked (CELL.json)")
    attack.add_argument(
        "--model", nargs="+", default=[], help="in its place: a diffusers folder, LoRA or hub id"
    )
    attack.add_argument("--task", help="family/concept@world, with --model")
    attack.add_argument("--attack", nargs="+", action="extend", default=[], help="`list attacks` lists them")
    attack.add_argument("--set", nargs="+", action="extend", metavar="KEY=VALUE", help="settings: budget=16")
    attack.add_argument("--point", help="label of the attacked point (default: the shown one, else the last)")
    attack.add_argument("--seed", type=int, default=0, help="of the attack (default 0)")
    for name in OLD:
        attack.add_argument(f"--{name}", help=argparse.SUPPRESS)
    add_places(attack, "--base-model")
    add_output(attack)
    attack.set_defaults(run=attack_model)

"""Options of the subcommands about submissions; read at every start, so it imports nothing heavy."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

AddOptions = Callable[..., None]


def add_submissions(commands: Any, add_output: AddOptions, add_places: AddOptions) -> None:
    """Add validate, submit, pack, pool, rerun, retract and attack to the command line."""
    validate = commands.add_parser("validate", help="check records and submissions: 0 good, 1 one fails")
    validate.add_argument("paths", type=Path, nargs="+", help="records, folders of them, submissions (.zip)")
    add_places(validate, "--base-model")
    validate.set_defaults(run="cli_submit.validate_records", device=None)
    submit = commands.add_parser("submit", help="pack records into one file, marked as claimed")
    submit.add_argument("records", type=Path, nargs="+", help="records (CELL.json) or folders of them")
    submit.add_argument("--out", type=Path, required=True, help="file to write (.zip)")
    add_places(submit, "--base-model")
    submit.set_defaults(run="cli_submit.pack_records", device=None)
    pack = commands.add_parser("pack", help="keep the item rows of a folder's records in one table")
    pack.add_argument("folder", type=Path, help="folder of records, such as results/emoji")
    pack.set_defaults(run="cli_pack.pack_folder")
    pool = commands.add_parser("pool", help="FD and KD of all concepts' images, from records and store")
    pool.add_argument("folder", type=Path, help="folder of records, such as results/emoji")
    pool.add_argument("--store", type=Path, help="folder of the cache that holds the images")
    add_places(pool, "--base-model")
    pool.set_defaults(run="cli_pool.pool_folder", device=None)
    _add_rerun(commands, add_output, add_places)
    _add_statements(commands)


def _add_rerun(commands: Any, add_output: AddOptions, add_places: AddOptions) -> None:
    rerun = commands.add_parser("rerun", help="repeat a record: 0 agrees, 1 differs, 2 could not tell")
    rerun.add_argument("record", type=Path, help="the record that is repeated (CELL.json)")
    rerun.add_argument(
        "--model", nargs="+", default=[], help="of `evaluate` records: the models that they name"
    )
    rerun.add_argument("--margin", type=float, default=0.02, help="difference that is no difference (0.02)")
    add_places(rerun, "--base-model")
    add_output(rerun)
    rerun.set_defaults(run="cli_rerun.rerun_record")


def _add_statements(commands: Any) -> None:
    retract = commands.add_parser("retract", help="take a record back, or put another in its place")
    retract.add_argument("record", type=Path, help="the record (CELL.json); it stays where it is")
    retract.add_argument("--reason", required=True)
    retract.add_argument("--by", required=True, help="who says so")
    retract.add_argument("--successor", type=Path, help="the record that stands in its place")
    retract.set_defaults(run="cli_statements.retract_record")
    attack = commands.add_parser("attack", help="add a stronger attack's result, which lowers a record's UA")
    attack.add_argument("record", type=Path, help="the record of the attacked model (CELL.json)")
    attack.add_argument("--attack", required=True, help="its name and version")
    attack.add_argument("--ua", type=float, required=True, help="UA under the attack, in [0, 1]")
    attack.add_argument("--images", type=int, required=True, help="how many images it was measured on")
    attack.add_argument("--point", help="label of the attacked point (default: the last)")
    attack.add_argument("--by", required=True, help="who ran it")
    attack.add_argument("--link", default="", help="where attack and images are described (https)")
    attack.set_defaults(run="cli_statements.add_attack")

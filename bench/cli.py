"""The command line: joins registries, runner and leaderboard; nothing else does."""

import argparse
import sys
from collections.abc import Callable, Sequence
from importlib import import_module
from pathlib import Path
from typing import Any

from .cli_start import USAGE_ERROR, Terminated, listen, read_or_exit
from .cli_submit_options import add_submissions
from .errors import UserError
from .time_limit import check_limit

RESUMED = ("run", "evaluate", "check", "rerun", "pretrain", "label", "pack")
"""Commands that keep what they did: called again they go on."""


def build_parser() -> argparse.ArgumentParser:
    """Return the parser of every subcommand."""
    parser = argparse.ArgumentParser(prog="unlearnbench", description="benchmark of text-to-image unlearning")
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    _add_run(commands)
    _add_evaluate(commands)
    _add_unlearn(commands)
    _add_check(commands)
    _add_audit(commands)
    _add_label(commands)
    add_submissions(commands, _add_output, _add_places)
    doctor = commands.add_parser("doctor", help="what a task needs, and whether it is on this machine")
    doctor.add_argument("--task", action="append", required=True, help="family/concept@world; repeatable")
    _add_places(doctor, "--model")
    doctor.set_defaults(run="cli_plan.check_task")
    _add_boards(commands)
    listing = commands.add_parser("list", help="tasks, methods, metrics, judges, worlds, suites")
    listing.add_argument("kind", nargs="?", help="one kind alone")
    listing.set_defaults(run="cli_commands.show_list")
    _add_pretrain(commands)
    quality = commands.add_parser("quality", help="the quality bar of a world's base model")
    quality.add_argument("world", nargs="?", default="emoji", help="its name, or the folder of a made one")
    quality.add_argument("--images", type=int, default=1000, help="images of held-out triples (default 1000)")
    quality.add_argument("--sheet", type=Path, help="write a sheet of the images to this PNG")
    quality.add_argument("--judges", action="store_true", help="measure the world's detector instead")
    _add_machine(quality)
    quality.set_defaults(run="cli_worlds.show_quality")
    return parser


def _add_boards(commands: Any) -> None:
    """What is made of records that are there."""
    leaderboard = commands.add_parser("leaderboard", help="make the page and its exports from records")
    leaderboard.add_argument(
        "records", type=Path, nargs="*", default=[Path("runs/demo")], help="folders of records (runs/demo)"
    )
    leaderboard.add_argument(
        "--out", type=Path, help="folder of the page (default: leaderboard/ in the first)"
    )
    leaderboard.add_argument(
        "--eval-results", metavar="DATASET", help="also write Hub YAML, for this dataset id"
    )
    leaderboard.add_argument("--source", metavar="URL", help="what the YAML names as its source")
    leaderboard.set_defaults(run="cli_boards.make_leaderboard")
    site = commands.add_parser("site", help="build the static leaderboard site from records")
    site.add_argument("records", type=Path, nargs="+", metavar="RESULTS", help="folders of records")
    site.add_argument("--out", type=Path, required=True, help="folder of the site")
    site.set_defaults(run="cli_boards.make_site")
    compare = commands.add_parser("compare", help="compare methods over concepts: AVA and paired differences")
    compare.add_argument("records", type=Path, nargs="+", help="folders of records")
    compare.add_argument("--rival", default="gradient_sum", help="method that the others are compared with")
    compare.set_defaults(run="cli_boards.compare_methods")
    choose = commands.add_parser("choose", help="choose configurations on records of tuning concepts")
    choose.add_argument("records", type=Path, help="folder of the tuning suite's records")
    choose.add_argument("--suite", default="emoji", help="suite whose tuned methods are chosen")
    choose.add_argument("--out", type=Path, help="file to write (default: the suite's own)")
    choose.set_defaults(run="cli_boards.choose_configurations")
    coverage = commands.add_parser("coverage", help="simulate whether the board's intervals hold")
    coverage.add_argument("--suites", type=int, default=300, help="suites simulated for each truth")
    coverage.set_defaults(run="cli_boards.show_coverage")


def _add_machine(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--device", help="cpu, cuda or mps (default: the best there is)")
    parser.add_argument("--threads", type=int, help="CPU threads (default: all cores)")


def _add_output(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--out", type=Path, help="folder of the records (default: runs/SUITE)")
    parser.add_argument(
        "--store", type=Path, help="folder of the cache (default: in the user's cache folder)"
    )
    _add_machine(parser)


def _add_time_limit(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--cell-timeout",
        type=float,
        metavar="SECONDS",
        help="a cell that takes longer has failed (default: none)",
    )
    parser.add_argument("--abandoned", action="append", help=argparse.SUPPRESS)  # cells that never ended


def _add_places(parser: argparse.ArgumentParser, base: str) -> None:
    """Where the parts of a real model's world lie; embedded worlds have all of them."""
    parser.add_argument(base, dest="base_model", help="the base model: a diffusers folder or hub id")
    parser.add_argument("--clip", help="folder or hub id of the judge's open_clip model")
    parser.add_argument("--data", type=Path, help="folder of published prompt files (default: data)")
    parser.add_argument("--sampling-steps", type=int, help="steps of the sampler (default: the world's)")
    parser.add_argument("--world-folder", type=Path, help="folder of a world made by `pretrain images`")
    parser.add_argument("--training-images", type=int, help="images of each training set (default: 200)")
    parser.add_argument("--image-size", type=int, help="side of the images in pixels (default: the model's)")


def _add_run(commands: Any) -> None:
    run = commands.add_parser("run", help="run a suite (default: the demo) and make its leaderboard")
    run.add_argument("--suite", default="demo", help="a suite's name or TOML file")
    run.add_argument("--task", action="append", help="only this task (family/concept[@world]); repeatable")
    run.add_argument("--method", action="append", help="only this method; repeatable")
    run.add_argument("--config", metavar="PRESET", help="settings of the methods named by --method: paper")
    run.add_argument("--skip", action="append", help="leave this method or reference out; repeatable")
    run.add_argument("--seeds", type=int, nargs="+", help="training seeds")
    run.add_argument("--jobs", type=int, default=1, help="processes that share the suite's tasks (default 1)")
    run.add_argument("--part", help=argparse.SUPPRESS)  # what --jobs gives each of its processes
    run.add_argument("--dry-run", action="store_true", help="print the plan and what it needs, run nothing")
    _add_places(run, "--model")
    run.add_argument("--publish", action="store_true", help="also copy the records to results/")
    _add_output(run)
    _add_time_limit(run)
    run.set_defaults(run="cli_commands.run_suite")


def _add_evaluate(commands: Any) -> None:
    evaluate = commands.add_parser("evaluate", help="score models of yours on a task")
    models = evaluate.add_mutually_exclusive_group(required=True)
    what = "a diffusers folder or hub id, a LoRA, or a Python function (module:generate)"
    models.add_argument("--model", help=what)
    models.add_argument(
        "--points", nargs="+", metavar="MODEL", help="several, such as checkpoints: a frontier"
    )
    evaluate.add_argument("--task", required=True, help="family/concept[@world]")
    evaluate.add_argument("--name", help="its name on the leaderboard (default: the first model's)")
    evaluate.add_argument("--seed", type=int, default=0, help="number of the training run (default 0)")
    sizes = evaluate.add_mutually_exclusive_group()
    sizes.add_argument(
        "--like", type=Path, metavar="RECORD", help="as many prompts and the noise of a record"
    )
    sizes.add_argument("--policy", help="as many prompts as a policy of `check` says: a baseline for it")
    _add_places(evaluate, "--base-model")
    _add_output(evaluate)
    _add_time_limit(evaluate)
    evaluate.set_defaults(run="cli_evaluate.evaluate_models")


def _add_unlearn(commands: Any) -> None:
    unlearn = commands.add_parser("unlearn", help="unlearn a concept from a model of yours")
    unlearn.add_argument("--model", required=True, help="a diffusers folder, a hub id or a world's name")
    unlearn.add_argument("--concept", required=True, help='what to unlearn, in words: "Van Gogh"')
    unlearn.add_argument("--out", type=Path, required=True, help="new folder for the unlearned model")
    unlearn.add_argument("--method", default="balanced", help="(default: balanced)")
    unlearn.add_argument("--kind", default="object", help="object, person or style: which templates are used")
    unlearn.add_argument("--anchor", help='what may stand in its place: "a painting"')
    unlearn.add_argument("--forget-prompts", type=Path, help="text file, one prompt a line")
    unlearn.add_argument("--retain-prompts", type=Path, help="text file, one prompt a line")
    unlearn.add_argument("--images", type=int, default=64, help="images of each set from templates (64)")
    unlearn.add_argument("--lora", type=int, metavar="RANK", help="train and save a LoRA alone")
    unlearn.add_argument("--config", metavar="PRESET", help="named settings of the method: paper")
    unlearn.add_argument(
        "--set", nargs="+", action="extend", metavar="KEY=VALUE", help="settings of the method: rate=1e-5"
    )
    unlearn.add_argument("--sampling-steps", type=int, help="of the images drawn to train on")
    unlearn.add_argument("--image-size", type=int, help="side of the images drawn to train on, in pixels")
    unlearn.add_argument("--guidance", type=float, help="of the images drawn to train on")
    unlearn.add_argument("--seed", type=int, default=0)
    _add_machine(unlearn)
    unlearn.set_defaults(run="cli_unlearn.unlearn_concept")


def _add_check(commands: Any) -> None:
    check = commands.add_parser("check", help="gate a model update: baseline, candidate, policy")
    check.add_argument("--baseline", type=Path, required=True, help="a record (CELL.json)")
    check.add_argument("--candidate", required=True, help="a record, or a model as `evaluate` takes it")
    check.add_argument(
        "--policy", required=True, help="a TOML file of rules and waivers, or an example's name"
    )
    check.add_argument("--baseline-model", metavar="MODEL", help="its diffusers folder, for rules on weights")
    check.add_argument("--point", help="label of the baseline's point (default: its last)")
    check.add_argument("--candidate-point", help="label of the candidate's point (default: its last)")
    _add_places(check, "--base-model")
    _add_output(check)
    check.set_defaults(run="cli_check.check_candidate")


def _add_audit(commands: Any) -> None:
    audit = commands.add_parser("audit", help="a report for those who answer for a model; keys; verify")
    audit.add_argument("record", type=Path, nargs="?", help="a record (CELL.json)")
    audit.add_argument("--why", metavar="TEXT|FILE", help="why the concept was removed")
    audit.add_argument("--policy", type=Path, help="a TOML file of rules and waivers, as `check` takes it")
    audit.add_argument("--point", help="label of the point (default: the one chosen beforehand, or the last)")
    audit.add_argument("--baseline", type=Path, help="record of the model before (default: beside RECORD)")
    audit.add_argument("--labels", type=Path, nargs="+", help="what people said (default: beside RECORD)")
    audit.add_argument("--unlearning", type=Path, help="unlearning.json of the model that `unlearn` made")
    audit.add_argument("--date", help="the report's day (default: the record's)")
    audit.add_argument("--show", action="store_true", help="do not blur images of nudity")
    audit.add_argument("--key", type=Path, help="sign with this private key (PEM)")
    audit.add_argument("--out", type=Path, metavar="FILE.html", help="where to write the report")
    audit.add_argument("--new-key", type=Path, metavar="KEY.pem", help="make a key pair: KEY.pem, KEY.pub")
    audit.add_argument("--verify", type=Path, metavar="FILE.html", help="check the seal of a report")
    audit.add_argument("--public", type=Path, metavar="KEY.pub", help="with --verify: whose it should be")
    audit.set_defaults(run="cli_audit.audit")


def _add_label(commands: Any) -> None:
    label = commands.add_parser("label", help="let a person judge images blind, beside the judge")
    label.add_argument("records", type=Path, nargs="+", help="records (CELL.json), compared blind")
    label.add_argument("-n", "--number", type=int, default=200, help="images to ask for (default 200)")
    label.add_argument("--who", required=True, help="who answers; it stands in the labels")
    label.add_argument("--seed", type=int, default=0, help="of the choice and order of the images")
    label.add_argument("--point", help="label of the records' point (default: chosen beforehand, or last)")
    label.add_argument("--answers", type=Path, help="a file of answers, one a line: marked as a script's")
    label.add_argument("--finish", action="store_true", help="write the labels from the answers so far")
    label.add_argument("--out", type=Path, default=Path("runs/labels"), help="folder (runs/labels)")
    label.add_argument("--store", type=Path, help="folder of the cache (default: the user's)")
    label.set_defaults(run="cli_label.label_records")


def _add_pretrain(commands: Any) -> None:
    pretrain = commands.add_parser("pretrain", help="train a world, embedded or of labelled images")
    pretrain.add_argument("preset", help="emoji, tiny or a TOML file; images for a world of --data")
    pretrain.add_argument("--data", type=Path, help="images: a folder a class, a datasets folder, IDX files")
    pretrain.add_argument("--name", help="images: the world's name (default: the folder's)")
    pretrain.add_argument("--classes", nargs="+", help="images: names of the classes, in the labels' order")
    pretrain.add_argument("--settings", type=Path, help="images: TOML file in place of images.toml")
    pretrain.add_argument(
        "--work", type=Path, help="folder of checkpoints (default: in the user's cache folder)"
    )
    pretrain.add_argument("--out", type=Path, help="folder of the world (default: WORK/PRESET/world)")
    pretrain.add_argument("--stages", help="comma-separated part of the stages")
    pretrain.add_argument(
        "--without", nargs="+", default=[], metavar="NAME", help="subjects or styles the generator never sees"
    )
    pretrain.add_argument("--sprites", action="store_true", help="first render the sprites anew (needs npm)")
    pretrain.add_argument("--threads", type=int)
    pretrain.set_defaults(run="cli_worlds.pretrain_world")


def read_options(arguments: Sequence[str] | None = None) -> argparse.Namespace:
    """Return parsed options; `arguments` of it are the words themselves, which records name as command."""
    options = build_parser().parse_args(arguments)
    options.arguments = list(sys.argv[1:] if arguments is None else arguments)
    options.is_program = arguments is None
    return options


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line; a user's mistake is one line on stderr and status 2."""
    options = read_or_exit(read_options, arguments)
    try:
        listen()
        check_limit(getattr(options, "cell_timeout", None))
        module, _, function = options.run.partition(".")
        # imported here, once the options are known to be good: some import torch
        command: Callable[[argparse.Namespace], int] = getattr(
            import_module(f".{module}", __package__), function
        )
        return command(options)
    except UserError as error:
        print(f"unlearnbench: {error}", file=sys.stderr)
        return USAGE_ERROR
    except KeyboardInterrupt as interrupt:
        ended = isinstance(interrupt, Terminated)
        goes_on = "goes on where this one stopped" if options.command in RESUMED else "starts over"
        how = "ended" if ended else "interrupted"
        print(f"unlearnbench: {how}; the same command {goes_on}", file=sys.stderr)
        return 143 if ended else 130


if __name__ == "__main__":
    sys.exit(main())

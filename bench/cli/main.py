"""The command line: reads the options and calls the subcommand.

Only this folder imports all of bench, methods, tasks and leaderboard.
"""

import argparse
import os
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

from ..errors import UserError
from ..models.isolation.time_limit import check_limit
from .attack import add_attack_command, add_hidden
from .audit import add_audit
from .boards import add_boards
from .check import add_check
from .common import (
    USAGE_ERROR,
    Terminated,
    add_machine,
    add_output,
    add_places,
    listen,
    read_or_exit,
    soften_output,
)
from .label import add_label
from .plan import add_calibrate, show_list
from .records import add_prune, add_submissions
from .run import add_evaluate, add_run
from .tools.convert import add_convert
from .tools.doctor import run_doctor
from .tools.export import add_export
from .tools.help import add_completion, add_help
from .tools.hub import add_hub
from .tools.new import add_new
from .tools.rate import add_rate
from .tools.score import add_score
from .tools.show import add_show
from .tools.studies import add_studies
from .unlearn import add_unlearn
from .worlds import add_pretrain, show_quality

RESUMED = ("run", "evaluate", "attack", "check", "rerun", "pretrain", "label", "pack")
"""Commands that keep what they did: called again they go on."""

BROKEN_PIPE = 141
"""Exit status of a command whose output nobody reads any more: the one after SIGPIPE."""


class ShowVersion(argparse.Action):
    """Print the version, which is looked up only when it is asked for."""

    def __call__(self, parser: argparse.ArgumentParser, *_: object) -> None:
        from ... import __version__

        print(f"{parser.prog} {__version__}")
        parser.exit()


def build_parser() -> argparse.ArgumentParser:
    """Return the parser of every subcommand."""
    parser = argparse.ArgumentParser(prog="unlearnbench", description="benchmark of text-to-image unlearning")
    parser.add_argument("--version", action=ShowVersion, nargs=0, help="print the version and exit")
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    add_run(commands)
    add_evaluate(commands)
    add_unlearn(commands)
    add_check(commands)
    add_show(commands)
    add_studies(commands)
    add_score(commands)
    add_rate(commands)
    add_convert(commands)
    add_export(commands)
    add_hub(commands, add_places)
    add_new(commands)
    add_attack_command(commands, add_output, add_places)
    add_hidden(commands)
    add_audit(commands)
    add_label(commands)
    add_submissions(commands, add_output, add_places)
    doctor = commands.add_parser("doctor", help="is the installation whole, and what do tasks need?")
    doctor.add_argument("--task", action="append", help="family/concept@world; repeatable (default: all)")
    doctor.add_argument(
        "--store", type=Path, help="folder of the cache (default: in the user's cache folder)"
    )
    add_places(doctor, "--model")
    doctor.set_defaults(run=run_doctor)
    add_boards(commands)
    listing = commands.add_parser("list", help="tasks, methods, attacks, metrics, judges, worlds, suites")
    listing.add_argument("kind", nargs="?", help="one kind: tasks, methods, ... (default: how many of each)")
    listing.add_argument("word", nargs="?", help="only entries that hold this word, such as van-gogh")
    listing.set_defaults(run=show_list)
    add_prune(commands)
    add_calibrate(commands)
    add_pretrain(commands)
    quality = commands.add_parser("quality", help="the quality bar of a world's base model")
    quality.add_argument("world", nargs="?", default="emoji", help="its name, or the folder of a made one")
    quality.add_argument("--images", type=int, default=1000, help="images of held-out triples (default 1000)")
    quality.add_argument("--sheet", type=Path, help="write a sheet of the images to this PNG")
    quality.add_argument("--judges", action="store_true", help="measure the world's detector instead")
    add_machine(quality)
    quality.set_defaults(run=show_quality)
    add_completion(commands, parser)
    add_help(parser, commands)
    return parser


def read_options(arguments: Sequence[str] | None = None) -> argparse.Namespace:
    """Return the parsed options; their field `arguments` has the words themselves, which records keep."""
    options = build_parser().parse_args(arguments)
    options.arguments = list(sys.argv[1:] if arguments is None else arguments)
    options.is_program = arguments is None
    return options


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line; a user's mistake is one line on stderr and status 2."""
    soften_output()
    options = read_or_exit(read_options, arguments)
    try:
        listen()
        check_limit(getattr(options, "cell_timeout", None))
        command: Callable[[argparse.Namespace], int] = options.run
        return command(options)
    except UserError as error:
        print(f"unlearnbench: {error}", file=sys.stderr)
        return USAGE_ERROR
    except BrokenPipeError:  # the reader, such as `head`, has ended
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return BROKEN_PIPE
    except KeyboardInterrupt as interrupt:
        ended = isinstance(interrupt, Terminated)
        goes_on = "goes on where this one stopped" if options.command in RESUMED else "starts over"
        how = "ended" if ended else "interrupted"
        print(f"unlearnbench: {how}; the same command {goes_on}", file=sys.stderr)
        return 143 if ended else 130

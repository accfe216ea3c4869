"""Go on in a new process without a cell that cannot be stopped."""

import os
import sys
from collections.abc import Callable, Sequence

from ..models.isolation.time_limit import stop_alarm
from .jobs import without_option

PROGRAM = "unlearnbench.bench.cli"


def told_arguments(arguments: Sequence[str]) -> list[str]:
    """Return a command line without the options that processes give each other."""
    return without_option(without_option(arguments, "--part"), "--abandoned")


def restarting(arguments: Sequence[str]) -> Callable[[str], None]:
    """Return what goes on without a cell, by its stem, with the same command in this process's place: what
    started it waits for the same one."""

    def restart(stem: str) -> None:
        stop_alarm()
        sys.stdout.flush()
        sys.stderr.flush()
        os.execv(sys.executable, [sys.executable, "-m", PROGRAM, *arguments, "--abandoned", stem])

    return restart

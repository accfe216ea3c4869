"""Continue in a new process without a cell that cannot be stopped."""

import os
import sys
from collections.abc import Callable, Sequence

from ..models.isolation.time_limit import stop_alarm
from .jobs import without_option

PROGRAM = "unlearnbench.bench.cli"


def told_arguments(arguments: Sequence[str]) -> list[str]:
    """Return a command line without the options that processes pass to each other."""
    return without_option(without_option(arguments, "--part"), "--abandoned")


def restarting(arguments: Sequence[str]) -> Callable[[str], None]:
    """Return a function that, given the stem of a cell, replaces this process by the same command without
    that cell. The process id stays the same, so whatever started the command still waits for it."""

    def restart(stem: str) -> None:
        stop_alarm()
        sys.stdout.flush()
        sys.stderr.flush()
        os.execv(sys.executable, [sys.executable, "-m", PROGRAM, *arguments, "--abandoned", stem])

    return restart

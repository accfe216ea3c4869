"""How a command begins and ends: SIGTERM tidies up as SIGINT does, and `check` has a status for mistakes."""

import argparse
import contextlib
import io
import signal
import sys
import threading
from collections.abc import Callable, Sequence

USAGE_ERROR = 2
JUDGING = ("check", "rerun")
"""Subcommands whose statuses 1 and 2 are verdicts: a mistake in their options is NOT_JUDGED."""
NOT_JUDGED = 3


class Terminated(KeyboardInterrupt):
    """SIGTERM came: what is under way is tidied up as after SIGINT."""


def listen() -> None:
    """Let SIGTERM end this process as SIGINT does, so that scratch files go; in its main thread only."""

    def end(*_: object) -> None:
        raise Terminated

    if threading.current_thread() is threading.main_thread() and hasattr(signal, "SIGTERM"):
        signal.signal(signal.SIGTERM, end)


def read_or_exit(
    read: Callable[[Sequence[str] | None], argparse.Namespace], arguments: Sequence[str] | None
) -> argparse.Namespace:
    """Return the options that `read` parses; a mistake in those of JUDGING ends the process with one line and
    status 3."""
    words = list(sys.argv[1:] if arguments is None else arguments)
    if words[:1] not in [[name] for name in JUDGING]:
        return read(arguments)
    said = io.StringIO()
    try:
        with contextlib.redirect_stderr(said):
            return read(arguments)
    except SystemExit as end:
        if end.code != USAGE_ERROR:
            raise
        print(said.getvalue().strip().rpartition("\n")[2], file=sys.stderr)
        raise SystemExit(NOT_JUDGED) from None

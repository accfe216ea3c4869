"""The exception for a user's mistake: one line that names what is wrong, where, and the remedy."""

import difflib
from collections.abc import Iterable
from pathlib import Path

BENCH = str(Path(__file__).parent)


class UserError(Exception):
    """A mistake in the user's input; the CLI prints it as one line and exits with status 2."""


def is_own(error: BaseException) -> bool:
    """Return whether this package raised an exception itself, as a signal handler does."""
    trace = error.__traceback__
    while trace is not None and trace.tb_next is not None:
        trace = trace.tb_next
    return trace is not None and trace.tb_frame.f_code.co_filename.startswith(BENCH)


def suggest(name: str, known: Iterable[str]) -> str:
    """Return "; did you mean ...?" with the closest known names, else those that there are, else ""."""
    names = sorted(set(known))
    close = difflib.get_close_matches(name, names, n=3, cutoff=0.6)
    if close:
        return f"; did you mean {' or '.join(close)}?"
    return f"; there are: {', '.join(names)}" if names else "; there are none"

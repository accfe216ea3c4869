"""A record's command as something to copy: whatever the record says, it starts nothing else."""

import shlex
from collections.abc import Iterable

from ..bench.records import Record


def split_command(record: Record) -> list[str]:
    """Return the words of a record's command, none where it is no command of this program."""
    try:
        words = shlex.split(record.command)
    except ValueError:  # a quotation mark without its other half
        return []
    return words if words[:1] == ["unlearnbench"] else []


def join_command(words: Iterable[str]) -> str:
    """Return words as one line for a shell; the home folder's sign stays outside the quotation marks."""
    return " ".join(f"~/{shlex.quote(w[2:])}" if w.startswith("~/") else shlex.quote(w) for w in words)


def safe_command(record: Record) -> str:
    """Return the command that measured a record, every word quoted; empty where it names none of ours."""
    return join_command(split_command(record))

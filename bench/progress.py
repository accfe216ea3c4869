"""Progress bars with the time left; where there is no terminal, a line each minute instead."""

import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)

Advance = Callable[[int, str], None]
LINE_SECONDS = 60.0


@contextmanager
def show_progress(title: str, total: int, start: int = 0) -> Iterator[Advance]:
    """Show the progress of a job of `total` parts; yields advance(done, note)."""
    console = Console(file=sys.stderr)
    if console.is_terminal:
        with _bar(title, total, start, console) as advance:
            yield advance
    else:
        yield _lines(title, total, start)


@contextmanager
def _bar(title: str, total: int, start: int, console: Console) -> Iterator[Advance]:
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        TimeRemainingColumn(),
        TextColumn("{task.fields[note]}"),
    )
    with Progress(*columns, console=console) as bar:
        task = bar.add_task(title, total=total, completed=start, note="")
        yield lambda done, note: bar.update(task, completed=done, note=note)


def _lines(title: str, total: int, start: int) -> Advance:
    begun = shown = time.monotonic()

    def advance(done: int, note: str) -> None:
        nonlocal shown
        now = time.monotonic()
        if now - shown >= LINE_SECONDS and done > start:
            shown = now
            left = (now - begun) / (done - start) * (total - done)
            print(
                f"{title}: {done}/{total}, {left / 60:.0f} min left {note}".rstrip(),
                file=sys.stderr,
                flush=True,
            )

    return advance

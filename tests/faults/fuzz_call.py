"""Calls of the command line inside this process, and what came of a damaged input."""

import contextlib
import hashlib
import io
import os
import signal
import traceback
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import unlearnbench.bench

PACKAGE = Path(unlearnbench.bench.__file__).resolve().parent.parent
LIMIT = 60
"""Seconds that one call may take: the same call on undamaged input takes less than three."""
GOOD = ("right", "refused", "missing", "uncheckable")
"""Acceptable outcomes. uncheckable: a claimed value that no rule can test, such as a time, was changed."""


class HangError(BaseException):
    """A call ran past its limit. No Exception, so that no handler of the program takes it for a failure."""


class WrongError(Exception):
    """The judgement about a case: a bad outcome, with its name and what was seen."""

    def __init__(self, state: str, detail: str, place: str = "") -> None:
        super().__init__(state, detail, place)
        self.state, self.detail, self.place = state, detail, place


@dataclass(frozen=True)
class Outcome:
    """What came of one case. place: where the exception was raised, for bad outcomes."""

    kind: str
    damage: str
    state: str
    detail: str = ""
    place: str = ""

    @property
    def bad(self) -> bool:
        return self.state not in GOOD


@dataclass(frozen=True)
class Done:
    """What a call returned and printed."""

    code: int
    out: str
    err: str

    @property
    def refusals(self) -> list[str]:
        """The lines that name a user's mistake."""
        return [line for line in self.err.splitlines() if line.startswith("unlearnbench: ")]


def call(*arguments: object) -> Done:
    """Run the command line; raises WrongError for a traceback, a hang or a refusal that is not one line."""
    from unlearnbench.bench.cli.main import main

    out, err = io.StringIO(), io.StringIO()
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        code = guarded(lambda: main([str(argument) for argument in arguments]))
    done = Done(code if isinstance(code, int) else 0, out.getvalue(), err.getvalue())
    if "Traceback (most recent call last)" in done.out + done.err:
        raise WrongError("BAD traceback", done.err.strip().splitlines()[-1], "printed")
    if done.code not in (0, 1, 2, 3):
        raise WrongError("BAD status", f"exit status {done.code}: {done.err[-200:]}")
    if len(done.refusals) > 1 or (done.code == 3 and not done.refusals):
        raise WrongError(
            "BAD refusal", f"status {done.code} with {len(done.refusals)} lines: {done.err[-300:]}"
        )
    return done


def guarded(action: Callable[[], Any]) -> Any:
    """Return what an action returns; raises WrongError for an exception of the wrong kind, or a hang.

    A UserError passes through: it is a refusal.
    """
    from unlearnbench.bench.errors import UserError

    try:
        with limited(LIMIT):
            return action()
    except HangError:
        raise WrongError("BAD hang", f"ran longer than {LIMIT} s") from None
    except SystemExit as stop:
        return stop.code if isinstance(stop.code, int) else 1
    except WrongError:
        raise
    except UserError as error:
        if "\n" in str(error):
            raise WrongError("BAD refusal", f"more than one line: {error}") from None
        raise
    except Exception as error:
        raise WrongError(
            "BAD traceback", f"{type(error).__name__}: {error}"[:300], find_place(error)
        ) from None


@contextlib.contextmanager
def limited(seconds: int) -> Iterator[None]:
    """Raise HangError in the main thread after so many seconds."""

    def stop(*_: object) -> None:
        raise HangError

    before = signal.signal(signal.SIGALRM, stop)
    signal.alarm(seconds)
    try:
        yield
    finally:
        signal.alarm(0)
        signal.signal(signal.SIGALRM, before)


def find_place(error: BaseException) -> str:
    """Return the last line of the package that an exception passed, and the exception's type."""
    own = []
    for frame in traceback.extract_tb(error.__traceback__):
        path = Path(frame.filename).resolve()
        if PACKAGE in path.parents and "tests" not in path.relative_to(PACKAGE).parts[:1]:
            own.append(f"{path.relative_to(PACKAGE)}:{frame.lineno} {frame.name}")
    return f"{own[-1] if own else 'outside the package'}: {type(error).__name__}"


def snapshot(folder: Path) -> dict[str, str]:
    """Return a digest of every file below a folder, by its path; of a link its target."""
    found = {}
    for path in sorted(folder.rglob("*")):
        name = path.relative_to(folder).as_posix()
        if path.is_symlink():
            found[name] = f"-> {os.readlink(path)}"
        elif path.is_file():
            found[name] = hashlib.sha256(path.read_bytes()).hexdigest()
    return found


def check_untouched(before: dict[str, str], folder: Path) -> None:
    """Raise WrongError where a file of a snapshot was changed or deleted since."""
    after = snapshot(folder)
    for name, digest in before.items():
        if after.get(name) != digest:
            what = "changed" if name in after else "deleted"
            raise WrongError("BAD file lost", f"{name} was {what}")

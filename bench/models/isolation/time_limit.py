"""A time limit for a piece of work: an exception in the main thread, and a watchdog behind it."""

import math
import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from ...errors import UserError

REPEAT = 1.0
"""Seconds after which the exception is raised again, where somebody caught it."""
GRACE = (2.0, 10.0)
"""Least and most seconds that work has to end after its limit; in between it is as long as the limit."""
LONGEST = 10_000_000.0
_shields = threading.local()


class TimeIsUp(BaseException):
    """The limit has passed. Not an Exception: a method may catch those as its own."""


def check_limit(seconds: float | None) -> None:
    """Raise UserError where a limit in seconds is not a valid one."""
    if seconds is not None and not (math.isfinite(seconds) and 0 < seconds <= LONGEST):
        raise UserError(f"--cell-timeout {seconds:g}: must be seconds above 0 and at most {LONGEST:,.0f}")


@contextmanager
def limit_time(seconds: float | None, abandon: Callable[[], None]) -> Iterator[None]:
    """Raise TimeIsUp inside after `seconds`, again every second; None = no limit.

    Python code, and native code that checks for signals, stops at once; other native code stops when it
    returns. abandon: called by another thread where the work has not ended after a grace period. Neither
    reaches native code that never releases the interpreter lock. Outside the main thread, and where there are
    no alarms (Windows), there is only the watchdog.
    """
    if seconds is None:
        yield
        return
    watchdog = threading.Timer(seconds + min(max(seconds, GRACE[0]), GRACE[1]), abandon)
    watchdog.daemon = True
    watchdog.start()
    try:
        with _alarm(seconds):
            yield
    finally:
        watchdog.cancel()


@contextmanager
def _alarm(seconds: float) -> Iterator[None]:
    is_main = threading.current_thread() is threading.main_thread()
    if not is_main or not hasattr(signal, "setitimer"):
        yield
        return

    def ring(number: int, frame: Any) -> None:
        if not getattr(_shields, "up", 0):
            raise TimeIsUp(f"took longer than {seconds:g} s")

    before = signal.signal(signal.SIGALRM, ring)
    signal.setitimer(signal.ITIMER_REAL, seconds, REPEAT)
    try:
        yield
    finally:
        stop_alarm()
        signal.signal(signal.SIGALRM, before)


def stop_alarm() -> None:
    """Switch the alarm off, from any thread."""
    if hasattr(signal, "setitimer"):
        signal.setitimer(signal.ITIMER_REAL, 0)


@contextmanager
def shielded() -> Iterator[None]:
    """Let the block finish although the time is up: it restores things for later work."""
    _shields.up = getattr(_shields, "up", 0) + 1
    try:
        yield
    finally:
        _shields.up -= 1

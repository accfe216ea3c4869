"""Leases: which process works on what. Each is a claim in the shared store that its owner renews.

A lease only saves work. Every piece of work has one result, whoever does it, and results replace each other
atomically: two owners of one lease cost time and change nothing.

No clock of any machine is compared with another's. A lease has expired where its owner has ended, if it runs
on this machine, or where its content has not changed for a time by the monotonic clock of the process that
watches it.
"""

import json
import os
import secrets
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

from ...files import host_digest, process_ended
from ...store import Store

SECONDS = 60.0
"""Time without a renewal after which a lease has expired."""
RENEWALS = 4
"""Number of renewals in that time."""


@dataclass(frozen=True)
class Lease:
    """A lease of this process. tries: number of owners before this one that ended while they held it."""

    name: str
    token: str
    tries: int

    def content(self, count: int) -> bytes:
        """Return the claim's content; it differs with each renewal."""
        owner = {"host": host_digest(), "pid": os.getpid(), "token": self.token}
        return json.dumps({**owner, "count": count, "tries": self.tries}).encode()


@dataclass
class Leases:
    """The leases of a store as one worker sees them. seconds: see SECONDS."""

    store: Store
    seconds: float = SECONDS
    clock: Callable[[], float] = time.monotonic
    _seen: dict[str, tuple[bytes, float]] = field(default_factory=dict)

    @contextmanager
    def holding(self, name: str) -> Iterator[Lease | None]:
        """Take a lease, renew it inside, and give it back; yields None where somebody else has it."""
        lease = self.take(name)
        if lease is None:
            yield None
            return
        done = threading.Event()
        thread = threading.Thread(target=self._renew, args=(lease, done), daemon=True)
        thread.start()
        try:
            yield lease
        finally:
            done.set()
            thread.join()
            if self._is_own(lease):
                self.store.drop_claim(name)

    def take(self, name: str) -> Lease | None:
        """Return a lease that is free or has expired, else None. name: 64 hex digits."""
        lease = Lease(name, secrets.token_hex(8), 0)
        if self.store.claim(name, lease.content(0)):
            self._seen.pop(name, None)
            return lease
        content = self.store.read_claim(name)
        if content is None:  # given back meanwhile: the next look finds it free
            return None
        known = _read(content)
        if not self._has_expired(name, content, known):
            return None
        lease = Lease(name, lease.token, int(known.get("tries", 0)) + 1)
        self.store.replace_claim(name, lease.content(0))
        self._seen.pop(name, None)
        return lease if self._is_own(lease) else None

    def _has_expired(self, name: str, content: bytes, known: dict[str, Any]) -> bool:
        if process_ended(str(known.get("host")), int(known.get("pid", 0))):
            return True
        before, since = self._seen.setdefault(name, (content, self.clock()))
        if before != content:
            self._seen[name] = content, self.clock()
            return False
        return self.clock() - since > self.seconds

    def _renew(self, lease: Lease, done: threading.Event) -> None:
        count = 0
        while not done.wait(self.seconds / RENEWALS):
            count += 1
            if not self._is_own(lease):
                return  # somebody took it over, while this process did not run: both finish
            self.store.replace_claim(lease.name, lease.content(count))

    def _is_own(self, lease: Lease) -> bool:
        return _read(self.store.read_claim(lease.name) or b"").get("token") == lease.token


def _read(content: bytes) -> dict[str, Any]:
    """Return the fields of a claim; none where its owner ended before it was written."""
    try:
        known = json.loads(content)
    except ValueError:
        return {}
    return known if isinstance(known, dict) else {}

"""Leases: one owner at a time, renewed, given back, taken over from owners that ended or stand still."""

import json
import os
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from unlearnbench.bench.running.sharing.leases import Leases
from unlearnbench.bench.store import Store, content_key

NAME = content_key({"work": 1})


class Clock:
    now = 0.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store(tmp_path / "store")


def _elsewhere(store: Store, **change: object) -> None:
    """Let the lease be one of another machine."""
    known = json.loads(store.read_claim(NAME) or b"{}")
    store.replace_claim(NAME, json.dumps({**known, "host": "00000000", **change}).encode())


def test_a_lease_has_one_owner_and_is_free_when_given_back(store: Store) -> None:
    one, other = Leases(store), Leases(store)
    with one.holding(NAME) as lease:
        assert lease is not None
        with other.holding(NAME) as second:
            assert second is None
        assert not other.take(NAME)
    with other.holding(NAME) as lease:
        assert lease is not None
        assert lease.tries == 0


def test_of_many_that_ask_at_once_one_gets_it(store: Store) -> None:
    names = [content_key({"work": number}) for number in range(50)]
    with ThreadPoolExecutor(8) as pool:
        found = list(pool.map(lambda i: Leases(store).take(names[i % 50]), range(400)))
    assert sorted(lease.name for lease in found if lease) == sorted(names)


def test_a_lease_is_given_back_where_the_work_fails(store: Store) -> None:
    def fail() -> None:
        with Leases(store).holding(NAME):
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        fail()
    assert Leases(store).take(NAME)


def test_the_lease_of_a_process_of_this_machine_that_ended_is_free_at_once(store: Store) -> None:
    code = (
        "import sys, pathlib, os\n"
        "from unlearnbench.bench.store import Store\n"
        "from unlearnbench.bench.running.sharing.leases import Leases\n"
        "assert Leases(Store(pathlib.Path(sys.argv[1]))).take(sys.argv[2])\n"
        "os.kill(os.getpid(), 9)\n"
    )
    subprocess.run([sys.executable, "-c", code, str(store.folder), NAME], check=False)
    assert store.read_claim(NAME)
    lease = Leases(store).take(NAME)
    assert lease is not None
    assert lease.tries == 1


def test_a_lease_of_another_machine_expires_where_it_is_not_renewed(store: Store) -> None:
    clock = Clock()
    watcher = Leases(store, seconds=60, clock=clock)
    assert Leases(store).take(NAME)
    _elsewhere(store)
    assert watcher.take(NAME) is None  # first seen now
    clock.now = 59
    assert watcher.take(NAME) is None
    _elsewhere(store, count=1)  # renewed
    clock.now = 100
    assert watcher.take(NAME) is None
    clock.now = 161
    lease = watcher.take(NAME)
    assert lease is not None
    assert lease.tries == 1
    assert Leases(store).take(NAME) is None


def test_no_clock_of_the_machine_matters(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    """A clock that is set back by a year, and time stamps of the next century: neither frees a lease."""
    assert Leases(store).take(NAME)
    _elsewhere(store)
    watcher = Leases(store)
    for then in (time.time() - 3e7, time.time() + 3e9):
        monkeypatch.setattr(time, "time", lambda then=then: then)
        os.utime(store.path("leases", NAME), (then, then))
        assert watcher.take(NAME) is None


def test_a_held_lease_is_renewed(store: Store) -> None:
    leases = Leases(store, seconds=0.2)
    with leases.holding(NAME):
        first = store.read_claim(NAME)
        _until(lambda: store.read_claim(NAME) not in (first, b""))
    assert store.read_claim(NAME) is None


def test_an_owner_that_stood_still_leaves_the_lease_to_whoever_took_it(store: Store) -> None:
    with Leases(store, seconds=0.2).holding(NAME) as first:
        assert first is not None
        taken = json.dumps(
            {"host": "00000000", "pid": 1, "token": "another", "count": 0, "tries": 1}
        ).encode()
        store.replace_claim(NAME, taken)
        time.sleep(0.3)
        assert store.read_claim(NAME) == taken
    assert store.read_claim(NAME) == taken


def test_a_claim_that_was_half_written_expires(store: Store) -> None:
    clock = Clock()
    watcher = Leases(store, seconds=60, clock=clock)
    store.claim(NAME, b'{"host": ')
    assert watcher.take(NAME) is None
    clock.now = 61
    assert watcher.take(NAME)


def test_where_the_store_cannot_be_written_everybody_may_work(tmp_path: Path) -> None:
    store = Store(tmp_path / "store")
    (store.folder / "leases").write_text("a file in the folder's place")
    with Leases(store).holding(NAME) as one, Leases(store).holding(NAME) as other:
        assert one is not None
        assert other is not None


def _until(done: object) -> None:
    end = time.monotonic() + 120
    while not done():  # type: ignore[operator]
        assert time.monotonic() < end
        time.sleep(0.01)

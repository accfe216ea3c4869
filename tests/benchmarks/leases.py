"""How well many workers share many leases: parts that only sleep, in processes of one machine.

    python tests/benchmarks/leases.py --workers 64 --leases 10000 --seconds 0.5

Prints the efficiency (the seconds of all parts over those of all workers), the overhead a lease (seconds of a
worker that were not spent in a part, over its parts; and of these the seconds of a core), and how many parts
were done twice. The workers are the run's own. They share the cores of this machine: where the seconds of a
core times the workers exceed the seconds of a part, the machine is too small for the trial.
"""

import argparse
import multiprocessing
import tempfile
import time
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from unlearnbench.bench.running.sharing.parts import Part
from unlearnbench.bench.running.sharing.worker import Job, Worker
from unlearnbench.bench.store import Store, content_key


class Runner:
    """As much of a runner as a worker needs to do parts."""

    def __init__(self, store: Store) -> None:
        self.store, self.scorer = store, SimpleNamespace(drawn=0)

    def say(self, line: str) -> None:
        """Print nothing."""

    def attempt(self, run: Any, title: str, do: Callable[[], None]) -> bool:
        do()
        return True


def work(folder: Path, workers: int, leases: int, seconds: float, index: int) -> tuple[float, float, int]:
    """Do the parts that are free until all are done.

    Returns the seconds of this worker, those of them on a core, and how many parts it did.
    """
    store = Store(folder)
    worker = Worker(Runner(store), index, workers)  # type: ignore[arg-type]
    job = Job(SimpleNamespace(threads=1), "", None)  # type: ignore[arg-type]
    done = 0

    def part(number: int) -> Part:
        name = content_key({"part": number})

        def do() -> None:
            nonlocal done
            time.sleep(seconds)
            store.put("needed", name, b"1")
            done += 1

        return Part(name, lambda: store.has("needed", name), do)

    left = worker._from_own_place([part(number) for number in range(leases)])
    began, used = time.monotonic(), time.process_time()
    while left:
        moved = worker._work_on(job, left)
        left = [part for part in left if not part.is_done()]
        if left and not moved:
            time.sleep(0.1)
    return time.monotonic() - began, time.process_time() - used, done


def measure(folder: Path, workers: int, leases: int, seconds: float) -> dict[str, float]:
    """Return the figures of one trial. seconds: of each part."""
    context = multiprocessing.get_context("fork")
    began = time.monotonic()
    with ProcessPoolExecutor(workers, context) as pool:
        found = list(pool.map(partial(work, folder, workers, leases, seconds), range(workers)))
    wall = time.monotonic() - began
    done = sum(count for *_, count in found)
    return {
        "wall_s": wall,
        "efficiency": leases * seconds / (wall * workers),
        "overhead_ms_a_lease": 1000 * (sum(own for own, *_ in found) - done * seconds) / done,
        "of_a_core_ms_a_lease": 1000 * sum(used for _, used, _ in found) / done,
        "done_twice": done - leases,
    }


def main() -> None:
    parser = argparse.ArgumentParser(description="Efficiency of many workers on one store")
    parser.add_argument("--workers", type=int, default=64)
    parser.add_argument("--leases", type=int, default=10_000)
    parser.add_argument("--seconds", type=float, default=0.5)
    parser.add_argument("--folder", type=Path, help="where the store is (default: a temporary folder)")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(dir=options.folder) as folder:
        found = measure(Path(folder) / "store", options.workers, options.leases, options.seconds)
    for name, number in found.items():
        print(f"{name}: {number:.4g}")


if __name__ == "__main__":
    main()

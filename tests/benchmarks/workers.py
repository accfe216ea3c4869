"""How well 1, 2 and more workers of one machine share a suite of the tiny world.

    python tests/benchmarks/workers.py 1 2 4 --nodes 3

Prints images a second, the share of so many times the first line's, and whether the records are the same,
digest for digest. The start of each process, some seconds, is in the figures. With more workers than cores
they only compete. `--nodes` stands for a Ray cluster of so many nodes on this machine, one worker each (needs
the extra `ray`); the cluster's own start is not in the figures. `leases.py` stands for many machines.
"""

import argparse
import multiprocessing
import os
import resource
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import torch

SUITE = """
name = "workers"
tasks = ["classes/cat-face@tiny"]
[sizes]
forget = 6
forget_samples = SAMPLES
retain_same = 9
retain_other = 9
retain_given = 6
indirect = 0
[[methods]]
name = "none"
[[methods]]
name = "finetune"
config = { steps = 2, checkpoints = [1, 2], batch = 2 }
"""
context = multiprocessing.get_context("fork")


def processor_seconds() -> float:
    """Return the seconds that the children of this process that have ended spent on a core."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def run_all(works: list[Any]) -> tuple[float, float]:
    """Run functions in processes of their own; return the seconds until all ended, and those on cores."""
    processes = [context.Process(target=work) for work in works]
    before, start = processor_seconds(), time.monotonic()
    for process in processes:
        process.start()
    for process in processes:
        process.join()
        assert process.exitcode == 0
    return time.monotonic() - start, processor_seconds() - before


def work(folder: Path, part: str) -> int:
    """Be one worker of the run in a folder; return its exit status."""
    from unlearnbench.bench.cli.main import main

    suite = folder.parent / "workers.toml"
    where = ["--out", str(folder / "out"), "--store", str(folder / "store")]
    log = os.open(folder.parent / "log", os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    os.dup2(log, 1)
    os.dup2(log, 2)
    words = ["run", "--suite", str(suite), *where, "--threads", "1", "--device", "cpu", "--part", part]
    return main(words)


def measure(folder: Path, counts: list[int], nodes: list[int], samples: int) -> None:
    """Print a line for each number of workers, then of nodes. samples: images of a forget prompt."""
    from unlearnbench.bench.records.record import read_record, record_digest

    folder.joinpath("workers.toml").write_text(SUITE.replace("SAMPLES", str(samples)))
    work_in_child(folder / "warm", 1)  # reads what a first run reads from the disk
    known, first = set[str](), 0.0
    for count, kind in [
        *((count, "workers") for count in counts),
        *((count, "Ray nodes") for count in nodes),
    ]:
        place = folder / f"{count}"
        seconds, busy = work_in_child(place, count) if kind == "workers" else work_on_nodes(place, count)
        images = len(list((place / "store" / "images").glob("*/*")))
        digests = {record_digest(read_record(path)) for path in (place / "out").glob("*.json")}
        known, rate = known or digests, images / seconds
        first = first or rate / count
        print(
            f"{count} {kind}: {seconds:.1f} s, {images} images, {rate:.2f} images/s, {busy:.1f} s on cores, "
            f"{rate / first / count:.0%} of {count} times one; {len(digests)} records, "
            f"{'the same' if digests == known else 'OTHERS'}; load {os.getloadavg()[0]:.1f}",
            flush=True,
        )
        shutil.rmtree(place)


def work_in_child(folder: Path, count: int) -> tuple[float, float]:
    parts = [f"{i}/{count}" for i in range(count)]
    return run_all([lambda part=part: sys.exit(work(folder, part)) for part in parts])


def work_on_nodes(folder: Path, count: int) -> tuple[float, float]:
    """Run the suite by workers on the nodes of a new cluster; return seconds like `run_all`.

    The seconds on cores are those of the process that waits for the nodes.
    """
    from ray.cluster_utils import Cluster

    cluster = Cluster(initialize_head=True, head_node_args={"num_cpus": 0})
    for _ in range(count):
        cluster.add_node(num_cpus=1)
    cluster.wait_for_nodes()
    suite = ["--suite", str(folder.parent / "workers.toml"), "--threads", "1", "--device", "cpu"]
    where = ["--out", str(folder / "out"), "--store", str(folder / "store")]
    engine = ["--executor", "ray", "--jobs", str(count), "--resource", f"address={cluster.address}"]
    words = [sys.executable, "-m", "unlearnbench", "run", *suite, *where, *engine]
    before, start = processor_seconds(), time.monotonic()
    try:
        with (folder.parent / "log").open("ab") as log:
            subprocess.run(words, check=True, stdout=log, stderr=log)
        return time.monotonic() - start, processor_seconds() - before
    finally:
        cluster.shutdown()


def main() -> None:
    parser = argparse.ArgumentParser(description="How well workers share a suite")
    parser.add_argument("workers", type=int, nargs="+", metavar="N")
    parser.add_argument("--nodes", type=int, nargs="+", default=[], metavar="N", help="of a Ray cluster")
    parser.add_argument(
        "--samples", type=int, default=60, help="images of a forget prompt, of which there are 6"
    )
    options = parser.parse_args()
    torch.set_num_threads(1)  # a pool of threads does not survive a fork
    with tempfile.TemporaryDirectory() as folder:
        measure(Path(folder), options.workers, options.nodes, options.samples)


if __name__ == "__main__":
    main()

"""Nodes of a Ray cluster that are lost at random moments, and replaced by new ones.

    python tests/faults/nodes.py --kills 10 --seed 0

A cluster of three nodes on this machine runs a suite of the tiny world, one worker a node. At random moments
a node is taken away without notice, with whatever runs on it, and a new one joins. A round ends when all
records are there; their digests are compared with those of one process that nothing disturbed. Rounds are
repeated until so many nodes were lost. Needs the extra `ray`.
"""

import argparse
import random
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from storm import RECORDS, SUITE, read_digests

NODES = 3
APART = 8.0
"""Mean seconds between two losses once a worker has begun."""


def main() -> int:
    parser = argparse.ArgumentParser(description="Lost nodes of a Ray cluster")
    parser.add_argument("--kills", type=int, default=10)
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        kills, lost = run_rounds(Path(folder), options.kills, random.Random(options.seed))
    print(f"nodes lost {kills}, records lost or changed {len(lost)}")
    for line in lost:
        print(f"lost: {line}")
    return 1 if lost else 0


def run_rounds(folder: Path, kills: int, draw: random.Random) -> tuple[int, list[str]]:
    """Return how many nodes were taken away, and the names of the records that are not as without that."""
    (folder / "storm.toml").write_text(SUITE)
    assert start_suite(folder, "calm").wait() == 0
    wanted = read_digests(folder / "calm")
    assert len(wanted) == RECORDS
    done, lost, number = 0, list[str](), 0
    while done < kills and not lost:
        cluster = Nodes(kills - done, draw)
        try:
            status = cluster.run(folder, f"round-{number}")
        finally:
            cluster.cluster.shutdown()
        found = read_digests(folder / f"round-{number}")
        done += cluster.kills
        lost += [] if status == 0 else [f"round {number} ended with {status}"]
        lost += sorted(name for name in wanted if found.get(name) != wanted[name])
        print(
            f"round {number}: {cluster.kills} nodes lost, {len(lost)} records lost",
            file=sys.stderr,
            flush=True,
        )
        number += 1
    return done, lost


def start_suite(folder: Path, name: str, *more: str) -> subprocess.Popen[bytes]:
    """Start a run of the suite in a folder of its own, as a process of its own."""
    where = ["--out", str(folder / name), "--store", str(folder / "stores" / name)]
    words = ["run", "--suite", str(folder / "storm.toml"), *where, "--threads", "1", "--device", "cpu", *more]
    with (folder / f"{name}.log").open("wb") as log:
        return subprocess.Popen([sys.executable, "-m", "unlearnbench", *words], stdout=log, stderr=log)


class Nodes:
    """A cluster that loses at most `most` nodes. kills: how many it has lost."""

    def __init__(self, most: int, draw: random.Random) -> None:
        from ray.cluster_utils import Cluster

        self.most, self.draw, self.kills = most, draw, 0
        self.cluster = Cluster(initialize_head=True, head_node_args={"num_cpus": 0})
        self.nodes: list[Any] = [self.cluster.add_node(num_cpus=1) for _ in range(NODES)]
        self.cluster.wait_for_nodes()

    def run(self, folder: Path, name: str) -> int:
        """Run the suite on the cluster while it loses nodes; return the exit status.

        Nodes are added here and not in a thread: Ray sets a handler of signals for each.
        """
        options = ["--executor", "ray", "--jobs", str(NODES), "--resource", f"address={self.cluster.address}"]
        run = start_suite(folder, name, *options)
        while run.poll() is None and not list((folder / name / "parts").glob("*.log")):
            time.sleep(0.2)
        due = time.monotonic() + self.draw.expovariate(1 / APART)
        while run.poll() is None:
            if self.kills < self.most and time.monotonic() > due:
                self._lose()
                due = time.monotonic() + self.draw.expovariate(1 / APART)
            time.sleep(0.1)
        return run.returncode

    def _lose(self) -> None:
        node = self.nodes.pop(self.draw.randrange(NODES))
        self.cluster.remove_node(node, allow_graceful=False)
        self.kills += 1
        self.nodes.append(self.cluster.add_node(num_cpus=1))


if __name__ == "__main__":
    sys.exit(main())

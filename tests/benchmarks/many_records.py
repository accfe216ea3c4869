"""Folders of many records: published ones with renamed methods and concepts, and the memory of a command.

    python tests/benchmarks/many_records.py --counts 500 2000 5000

Prints CPU seconds and peak resident memory of `leaderboard`, each number from a process of its own.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

from unlearnbench.bench.names import task_part
from unlearnbench.bench.records.layout import find_records
from unlearnbench.bench.records.packed.record_table import read_bytes
from unlearnbench.bench.records.record import read_items, read_record
from unlearnbench.bench.records.rows import write_items
from unlearnbench.bench.records.sheets import SUMS

ROOT = Path(__file__).parents[2]
SOURCE = ROOT / "results" / "emoji"
METHODS = 3
"""Copies of each method under another name, before the concepts are copied under another name."""


class Cost(NamedTuple):
    """seconds: CPU time of user and system. memory: peak resident memory in bytes."""

    seconds: float
    memory: int


def write_folder(folder: Path, count: int, source: Path = SOURCE) -> Path:
    """Write a folder of `count` records made of a folder of published ones; return it.

    Values and item rows are those of the originals, so that every check of reading holds. Rows and sheets
    of copies are links to one file. Each record has a file of rows of its own, as after a run.
    """
    folder.mkdir(parents=True)
    originals = {path: json.loads(read_bytes(path)) for path in find_records([source])}
    for path in originals:
        record = read_record(path)
        items = read_items(path, record)
        if items is not None:
            write_items(items, folder / f"{path.stem}.rows")
    sums = dict(line.split("  ")[::-1] for line in (source / SUMS).read_text(encoding="utf-8").splitlines())
    listed = []
    for _, (path, content) in zip(range(count), _copies(originals), strict=False):
        cell = content["cell"]
        (folder / f"{cell}.json").write_text(json.dumps(content), encoding="utf-8")
        os.link(folder / f"{path.stem}.rows", folder / f"{cell}.parquet")
        if content["sheet"]:
            sheet = path.with_suffix(".webp")
            (folder / f"{cell}.webp").write_bytes(sheet.read_bytes())
            listed.append(f"{sums[sheet.name]}  {cell}.webp\n")
    for path in folder.glob("*.rows"):
        path.unlink()
    (folder / SUMS).write_text("".join(sorted(listed)), encoding="utf-8")
    return folder


def _copies(originals: Mapping[Path, dict[str, Any]]) -> Iterator[tuple[Path, dict[str, Any]]]:
    """Yield (original, content of a copy) without end: all methods of a set of concepts, then of the next."""
    number = 0
    while True:
        concept, method = divmod(number, METHODS)
        for path, content in originals.items():
            if not (method and content["method"]["reference"]):
                yield path, _rename(content, f"-{concept}" if concept else "", f"_{method}" if method else "")
        number += 1


def _rename(content: dict[str, Any], concept: str, method: str) -> dict[str, Any]:
    """Return a record of another concept and method, with the same values and item rows."""
    task = {**content["task"], "concept": content["task"]["concept"] + concept}
    task["id"] = f"{task['family']}/{task['concept']}@{task['id'].partition('@')[2]}"
    own = {**content["method"], "name": content["method"]["name"] + method}
    _, digest, seed = content["cell"].rsplit(".", 2)
    cell = f"{task_part(task['id'])}.{own['name']}.{digest}.{seed}"
    return {**content, "task": task, "method": own, "cell": cell}


def measure(arguments: list[str]) -> Cost:
    """Run a command of this program in a process of its own; return what it cost."""
    code = "import resource, sys; from unlearnbench.bench.cli.main import main; status = main(sys.argv[1:]); "
    code += "used = resource.getrusage(resource.RUSAGE_SELF); "
    code += "print(used.ru_utime + used.ru_stime, used.ru_maxrss * 1024, status)"
    done = subprocess.run(
        [sys.executable, "-c", code, *arguments], check=True, stdout=subprocess.PIPE, text=True
    )
    seconds, memory, status = done.stdout.splitlines()[-1].split()
    if status != "0":
        raise RuntimeError(f"{arguments[0]} ended with {status}")
    return Cost(float(seconds), int(memory))


def main() -> None:
    parser = argparse.ArgumentParser(description="CPU time and peak memory of `leaderboard`")
    parser.add_argument("--counts", type=int, nargs="+", default=[500, 2000, 5000])
    parser.add_argument("--keep", type=Path, help="folder in which the records stay for the next call")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as scratch:
        place = options.keep or Path(scratch)
        for count in options.counts:
            folder = place / f"records-{count}"
            if not folder.exists():
                write_folder(folder, count)
            cost = measure(["leaderboard", str(folder), "--out", str(Path(scratch) / f"page-{count}")])
            print(f"{count} records: {cost.seconds:.1f} s, {cost.memory / 2**20:.0f} MiB", flush=True)


if __name__ == "__main__":
    main()

"""Run the benchmarks and print their table: medians and ratios, and the machine that they were measured on.

    python tests/benchmarks/table.py           # prints; README.md next to this file is left as it is
    python tests/benchmarks/table.py --write   # also puts the table into that README

A ratio compares two medians of one run; below 1 the first is faster.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping
from pathlib import Path

from unlearnbench.bench.environment import describe_environment

HERE = Path(__file__).resolve().parent
BEGIN, END = "<!-- table -->", "<!-- end of table -->"
PAIRS = (
    ("a step of `balanced`, diagnostics off", "test_training_step[balanced]",
     "a step of `gradient_sum`", "test_training_step[gradient_sum]"),
    ("a step of `balanced`, diagnostics off", "test_training_step[balanced]",
     "a hand-written minimal loop of gradient_sum", "test_training_step[minimal loop]"),
    ("our sampler, 24 images of the emoji world", "test_our_sampler",
     "plain diffusers pipeline, batch 1", "test_plain_pipeline[1]"),
    ("our sampler", "test_our_sampler", "plain pipeline, batch 8", "test_plain_pipeline[8]"),
    ("our sampler (stores every image)", "test_our_sampler",
     "plain pipeline, batch 24, its best", "test_plain_pipeline[24]"),
    ("Fréchet distance, 2048 features, eigenvalues", "test_eigenvalue_form[2048]",
     "scipy `sqrtm`", "test_scipy_sqrtm[2048]"),
    ("Fréchet distance, 128 features, eigenvalues", "test_eigenvalue_form[128]",
     "scipy `sqrtm`", "test_scipy_sqrtm[128]"),
    ("Fréchet distance of 500 images with 2048 features, Gram form", "test_gram_form",
     "scipy `sqrtm`", "test_gram_form_by_sqrtm"),
    ("the runner, one small cell of `tiny`", "test_runner", "the sum of its stages", "test_sum_of_stages"),
)  # fmt: skip
"""What is compared: (what, its benchmark, the named alternative, its benchmark)."""


def read_medians(file: Path) -> dict[str, float]:
    """Return the median seconds of each benchmark of a pytest-benchmark JSON file, by test name."""
    found = json.loads(file.read_text(encoding="utf-8"))["benchmarks"]
    return {entry["name"]: float(entry["stats"]["median"]) for entry in found}


def make_rows(medians: Mapping[str, float]) -> Iterator[str]:
    """Yield the rows of the table. A pair with a benchmark that did not run is `missing`."""
    yield "| what | against | ratio | medians |"
    yield "|---|---|---|---|"
    for what, name, against, other in PAIRS:
        if name in medians and other in medians:
            first, second = medians[name], medians[other]
            yield f"| {what} | {against} | {first / second:.2g} | {_seconds(first)}, {_seconds(second)} |"
        else:
            yield f"| {what} | {against} | missing | missing |"


def _seconds(value: float) -> str:
    return f"{value * 1000:.0f} ms" if value < 1 else f"{value:.3g} s"


def describe_machine() -> str:
    """Return one line that names cores, processor and versions."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    found = describe_environment("cpu", cores or 1)
    packages = ", ".join(f"{name} {found['packages'][name]}" for name in ("torch", "diffusers", "numpy"))
    return (
        f"{cores} cores of {found['device_name']}, {found['platform']}, Python {found['python']}; {packages}."
    )


def put_table(text: str, table: str) -> str:
    """Return a page with the table between its two marks. Raises ValueError where a mark is missing."""
    before, _, rest = text.partition(BEGIN)
    _, end, after = rest.partition(END)
    if not end:
        raise ValueError(f"README.md: lacks {BEGIN} or {END}")
    return f"{before}{BEGIN}\n{table}\n{end}{after}"


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--write", action="store_true", help="put the table into README.md")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as scratch:
        file = Path(scratch) / "benchmarks.json"
        command = [sys.executable, "-m", "pytest", str(HERE), "--benchmark-only", f"--benchmark-json={file}"]
        code = subprocess.run([*command, "-o", "addopts=--import-mode=importlib -q"]).returncode
        if not file.exists():
            return code or 1
        table = "\n".join([describe_machine(), "", *make_rows(read_medians(file))])
    print(table)
    if options.write:
        page = HERE / "README.md"
        page.write_text(put_table(page.read_text(encoding="utf-8"), table), encoding="utf-8")
    return code


if __name__ == "__main__":
    sys.exit(main())

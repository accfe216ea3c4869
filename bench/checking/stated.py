"""Check what a record states about its run: time, machine, sampling and training log."""

import re
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime, timedelta
from typing import Any

from ..records.record import Record
from .ranges import COSTS, LOG, LOGS, SAMPLING, is_within, write_range

DEVICE = re.compile(r"cpu|mps|cuda(:\d{1,2})?")
VERSION = re.compile(r"not installed|\d[0-9A-Za-z.+!_-]{0,60}")
COMMIT = re.compile(r"[0-9a-f]{7,64}\+?")
THREADS = (1, 1024)
MOST_STEPS, MOST_SEED = 10**9, 2**63 - 1
FIRST = datetime(2024, 1, 1, tzinfo=UTC)
"""No record is older than the project."""
WRITTEN = datetime(2026, 11, 27, tzinfo=UTC)
"""Date of this code. A clock before it is wrong, so no record is refused because of such a clock."""


def find_problems_in_statements(record: Record) -> Iterator[str]:
    """Yield one line for each impossible field of a record; other functions check its values."""
    yield from _find_problems_in_time(record)
    yield from _find_problems_in_environment(record.environment)
    yield from _find_problems_in_log(record.log)
    for name, ends in SAMPLING.items():
        number = record.sampling.get(name)
        if number is not None and not (_is_number(number) and is_within(number, ends)):
            yield f"sampling.{name}: {number!r:.40} is not {write_range(ends)}"
    counts = {"seed": (record.seed, 0, MOST_SEED), "task.version": (record.task.version, 1, 10**6),
              "method.version": (record.method.version, 1, 10**6)}  # fmt: skip
    counts |= {f"points.{i}.step": (p.step, 0, MOST_STEPS) for i, p in enumerate(record.points)}
    counts |= {f"points.{i}.index": (p.index, 0, MOST_STEPS) for i, p in enumerate(record.points)}
    for where, (number, least, most) in counts.items():
        if not least <= number <= most:
            yield f"{where}: {number} is not {write_range((least, most))}"
    if record.commit is not None and not COMMIT.fullmatch(record.commit):
        yield f"commit: {record.commit!a:.60} is none"


def _find_problems_in_time(record: Record) -> Iterator[str]:
    try:
        created = datetime.fromisoformat(record.created)
    except ValueError:
        yield f"created: {record.created!a:.40} is no time of the form 2026-01-31T12:00:00+00:00"
        return
    if created.tzinfo is None:
        created = created.replace(tzinfo=UTC)
    if created < FIRST:
        yield f"created: {record.created} is before {FIRST:%Y-%m-%d}"
    if created > max(datetime.now(UTC), WRITTEN) + timedelta(days=1):
        yield f"created: {record.created} is yet to come"
    if not is_within(record.seconds, COSTS["seconds"]):
        yield f"seconds: {record.seconds:g} is not {write_range(COSTS['seconds'])}"


def _find_problems_in_environment(environment: Mapping[str, Any]) -> Iterator[str]:
    device, threads = environment.get("device"), environment.get("threads")
    if device is not None and not (isinstance(device, str) and DEVICE.fullmatch(device)):
        yield f"environment.device: {device!a:.40} is none"
    is_count = isinstance(threads, int) and not isinstance(threads, bool)
    if threads is not None and not (is_count and THREADS[0] <= threads <= THREADS[1]):
        yield f"environment.threads: {threads!a:.40} is not {write_range(THREADS)}"
    yield from _find_problems_in_versions(environment)
    for name in ("platform", "device_name"):
        text = environment.get(name)
        if text is not None and not (isinstance(text, str) and 0 < len(text) <= 200 and text.isprintable()):
            yield f"environment.{name}: {text!a:.40} is no name"


def _find_problems_in_versions(environment: Mapping[str, Any]) -> Iterator[str]:
    for name in ("unlearnbench", "python"):
        version = environment.get(name)
        if version is not None and not _is_version(version):
            yield f"environment.{name}: {version!a:.60} is no version"
    for name in ("packages", "judge_packages"):
        found = environment.get(name, {})
        if not isinstance(found, dict):
            yield f"environment.{name}: is no table of versions"
            continue
        for package, version in found.items():
            if not _is_version(version):
                yield f"environment.{name}.{package!a:.40}: {version!a:.60} is no version"


def _find_problems_in_log(log: Mapping[str, list[float | None]]) -> Iterator[str]:
    lengths = {len(column) for column in log.values() if column}
    if len(lengths) > 1:
        yield f"log: its columns are of the lengths {', '.join(map(str, sorted(lengths)))}"
    for name, column in log.items():
        ends = LOGS.get(name, LOG)
        for place, number in enumerate(column):
            if number is not None and not is_within(number, ends):
                yield f"log.{name}.{place}: {number:g} is not {write_range(ends)}"
                break
    steps = [step for step in log.get("step", []) if step is not None]
    if any(later <= earlier for earlier, later in zip(steps, steps[1:], strict=False)):
        yield "log.step: does not rise from entry to entry"


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _is_version(value: Any) -> bool:
    return isinstance(value, str) and VERSION.fullmatch(value) is not None

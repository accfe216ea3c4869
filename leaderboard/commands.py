"""The commands that repeat records: those of one row, without the places of the machine that made them."""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

from ..bench.records.record import Record, join_command, split_command

PLACES = ("--out", "--store", "--jobs", "--resume", "--executor", "--resource", "--tag", "--device")
"""Options that decide where and how a run goes, and no number."""
DECIDING = ("--skip", "--config", "--limit", "--dtype", "--base-model", "--model", "--clip", "--data",
            "--sampling-steps", "--image-size", "--training-images", "--task-file",
            "--world-folder")  # fmt: skip
"""Options of `run` that decide its numbers, besides the suite, its tasks, methods and seeds."""


def repeat_row(records: Iterable[Record]) -> list[str]:
    """Return the commands that measure the records of one row again, each once; labelled rows of a method are
    measured together.

    A run's command names the tasks, the method and the seeds of these records. Any other command is the one
    that was given, without its folders.
    """
    runs: dict[_Frame, list[Record]] = {}
    others: list[str] = []
    for record in records:
        words = split_command(record)
        if words[:2] == ["unlearnbench", "run"]:
            runs.setdefault(_frame(record, words), []).append(record)
        elif words:
            others.append(join_command(_take(words, lambda option: option not in PLACES)))
    return sorted({*(_join_run(frame, own) for frame, own in runs.items()), *others})


def _take(words: Sequence[str], wanted: Callable[[str], bool]) -> list[str]:
    """Return the options that are wanted, each with its values; words before the first option count as those
    of an option without a name."""
    kept: list[str] = []
    taking = wanted("")
    for word in words:
        if word.startswith("--"):
            taking = wanted(word.partition("=")[0])
        if taking:
            kept.append(word)
    return kept


@dataclass(frozen=True)
class _Frame:
    """What the commands of two records must share to be one command. rest: the options of DECIDING."""

    suite: str
    method: str
    rest: tuple[str, ...]
    threads: int | None


def _frame(record: Record, words: Sequence[str]) -> _Frame:
    threads = record.environment.get("threads")
    stated = threads if type(threads) is int and threads > 0 else None
    rest = _take(words[2:], lambda option: option in DECIDING)
    return _Frame(record.suite, record.method.name, tuple(rest), stated)


def _join_run(frame: _Frame, records: Sequence[Record]) -> str:
    learns = any(not record.method.reference for record in records)
    seeds = sorted({str(record.seed) for record in records}, key=int) if learns else []
    words = [] if frame.suite == "demo" else ["--suite", frame.suite]
    words += [word for task in sorted({r.task.id for r in records}) for word in ("--task", task)]
    words += ["--method", frame.method, *(["--seeds", *seeds] if seeds else []), *frame.rest]
    words += [] if frame.threads is None else ["--threads", str(frame.threads)]
    return join_command(["unlearnbench", "run", *words])

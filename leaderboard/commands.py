"""The commands that repeat records: those of one row, without the places of the machine that made them."""

from collections.abc import Callable, Iterable, Sequence

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
    runs: dict[tuple[str, ...], list[Record]] = {}
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


def _frame(record: Record, words: Sequence[str]) -> tuple[str, ...]:
    """Return what the commands of two records must share to be one command."""
    suite = [] if record.suite == "demo" else ["--suite", record.suite]
    frame = [*suite, "--method", record.method.name, *_take(words[2:], lambda option: option in DECIDING)]
    threads = record.environment.get("threads")
    return (*frame, *(["--threads", str(threads)] if type(threads) is int and threads > 0 else []))


def _join_run(frame: Sequence[str], records: Sequence[Record]) -> str:
    tasks = [word for task in sorted({r.task.id for r in records}) for word in ("--task", task)]
    seeds = sorted({record.seed for record in records})
    learns = any(not record.method.reference for record in records)
    return join_command(
        ["unlearnbench", "run", *frame, *tasks, *(["--seeds", *map(str, seeds)] if learns else [])]
    )

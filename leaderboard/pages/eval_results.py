"""Measured records as the Hugging Face Hub takes them: `.eval_results/*.yaml` of a model's repository.

The format is that of the Hub's documentation (https://huggingface.co/docs/hub/eval-results, which calls it
work in progress): a list of entries, each with dataset.id, dataset.task_id and a value, which are required,
and date, source (url, name) and notes, which are not. A dataset that is to be a benchmark carries an
`eval.yaml` that defines the task ids; one that fits is written beside them.
"""

import json
import re
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from ...bench.errors import UserError
from ...bench.records.load import Loaded
from ...bench.records.record import Record
from ..ranking.columns import COLUMNS, write_interval
from ..ranking.task_rows import TaskRow, rows
from .owned import write_owned

if TYPE_CHECKING:
    from huggingface_hub import EvalResultEntry

METRICS = ("UA", "VA", "in_prompt", "IRA", "CRA", "AS")
"""Shares in [0, 1] and a cosine, as the board shows them: not percentages."""
REPOSITORY = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*/[A-Za-z0-9][A-Za-z0-9._-]*")
FRAMEWORK = "unlearnbench"
BENCHMARK = "eval.yaml"


def write_eval_results(loaded: Sequence[Loaded], dataset: str, source: str | None, target: Path) -> Path:
    """Write one YAML file a measured record of a method, and the dataset's eval.yaml; return their folder.

    Equal records give equal bytes, in whatever order they come. Raises UserError for an id that is no
    dataset's and a source that is no https address.
    """
    if not REPOSITORY.fullmatch(dataset):
        raise UserError(f"--eval-results {dataset}: a dataset's id on the Hub is owner/name")
    if source is not None and not re.fullmatch(r"https://\S+", source):
        raise UserError(f"--source {source}: give an https address")
    found = [row for row in rows(loaded) if _counts(row)]
    folder = target / "eval_results"
    files = {
        f"{row.source.record.cell}.yaml": to_yaml(list(_entries(row, dataset, source))).encode()
        for row in found
    }
    tasks = sorted({task_id(row.task, metric) for row in found for metric in METRICS})
    write_owned({**files, BENCHMARK: _benchmark(tasks).encode()}, folder, mark=BENCHMARK, adopt=_is_ours)
    return folder


def _is_ours(folder: Path) -> bool:
    """Return whether a folder holds results of a version that wrote no listing."""
    benchmark = folder / BENCHMARK
    return benchmark.is_file() and benchmark.read_bytes().startswith(b'name: "unlearnbench"\n')


def _counts(row: TaskRow) -> bool:
    record = row.source.record
    is_whole = not row.failed and row.choice is not None
    return record.source == "measured" and row.role == "method" and is_whole and not record.mark


def task_id(task: str, metric: str) -> str:
    """Return the id of a task and a metric in the dataset's eval.yaml: `classes-cat-face-emoji-ua`."""
    return re.sub(r"[^a-z0-9]+", "-", f"{task}-{metric}".lower())


def _entries(row: TaskRow, dataset: str, source: str | None) -> Iterator["EvalResultEntry"]:
    from huggingface_hub import EvalResultEntry

    record, styles = row.source.record, {column.name: column.style for column in COLUMNS}
    for metric in METRICS:
        value = row.value(metric)
        if value.value is None:  # what is missing is no result
            continue
        between = write_interval(value, styles[metric])
        yield EvalResultEntry(
            dataset_id=dataset,
            task_id=task_id(row.task, metric),
            value=value.value,
            date=record.created[:10],
            source_url=source,
            source_name=None if source is None else "unlearnbench record",
            notes=_notes(record, row, f"{between}, " if between else "", value.n),
        )


def _notes(record: Record, row: TaskRow, between: str, n: int) -> str:
    point = row.point.label if row.point is not None else ""
    return (
        f"{record.method.name}, point {point}, training seed {record.seed}; {between}n = {n} images; "
        f"record {row.source.digest[:16]}"
    )


def _benchmark(tasks: Sequence[str]) -> str:
    content = [
        'name: "unlearnbench"',
        'description: "Unlearning in text-to-image diffusion models: forgetting against alignment"',
        f'evaluation_framework: "{FRAMEWORK}"',
        "tasks:",
    ]
    for name in tasks:
        content += [f"  - id: {json.dumps(name)}", "    config: default", "    split: test"]
    return "\n".join(content) + "\n"


def to_yaml(entries: Sequence["EvalResultEntry"]) -> str:
    """Return entries as the YAML of a file of `.eval_results/`."""
    from huggingface_hub import eval_result_entries_to_yaml
    from huggingface_hub.utils import yaml_dump

    return yaml_dump(eval_result_entries_to_yaml(list(entries)), sort_keys=False)

"""Cards on the Hugging Face Hub: of a model with its measured values, and of a folder of records."""

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ....leaderboard.ranking.columns import COLUMNS
from ...errors import UserError
from ...records.chosen import Chosen
from ...types import Value

if TYPE_CHECKING:
    from huggingface_hub import EvalResult

    from ...records.record import Record

METRICS = tuple(column.name for column in COLUMNS if column.group != "Cost")
"""Values that a model's card holds, in the order of a board's columns; values of plug-in metrics follow."""
MODEL_TEXT = """
## Measured

Values of `unlearnbench` {where}, with 95 % intervals. What is missing has no row.

| task | metric | value | 95 % | images |
|---|---|---|---|---|
{rows}

Records: {records}.
"""
DATASET_TEXT = """# {name}

{count} records of unlearnbench: models that unlearned a concept, measured. Each record (`*.json`, or a row of
`records.parquet`) holds values with intervals, and a reason where one is missing; item rows (other
`*.parquet`) hold the verdicts on images.

| | |
|---|---|
| suites | {suites} |
| worlds | {worlds} |
| judges | {judges} |
| tasks | {tasks} |
| methods | {methods} |

```
unlearnbench pull {name} --out records
unlearnbench validate records
```
"""


def write_model_card(folder: Path, name: str, measured: Sequence[Chosen], licence: str | None) -> str:
    """Return the card of a model's folder with measured values and a licence added. name: of the repository.

    Raises UserError where the folder's README.md is no card.
    """
    import yaml
    from huggingface_hub import ModelCard

    file = folder / "README.md"
    try:
        card: Any = ModelCard.load(file, ignore_metadata_errors=True)
    except OSError as error:
        raise UserError(f"{file}: cannot be read: {error.strerror}; `unlearn` writes it") from None
    except (ValueError, yaml.YAMLError):
        raise UserError(f"{file}: its metadata, between the lines `---`, is no YAML") from None
    if licence is not None:
        card.data.license = licence
    if measured:
        card.data.model_name = name.partition("/")[2]
        card.data.eval_results = [result for chosen in measured for result in _list_results(chosen)]
        card.text += _describe(measured)
    return str(card)


def _list_results(chosen: Chosen) -> "list[EvalResult]":
    from huggingface_hub import EvalResult

    task = chosen.loaded.record.task
    return [
        EvalResult(
            task_type="text-to-image",
            dataset_type="unlearnbench",
            dataset_name=task.id,
            dataset_revision=f"task version {task.version}, judge {task.judge}",
            metric_type=name,
            metric_name=name,
            metric_value=value.value,
            metric_args={"low": value.low, "high": value.high, "images": value.n},
        )
        for name, value in _values(chosen)
    ]


def _values(chosen: Chosen) -> list[tuple[str, Value]]:
    found = {name: value for name, value in chosen.point.values.items() if value.value is not None}
    order = [*METRICS, *sorted(found.keys() - set(METRICS))]
    return [(name, found[name]) for name in order if name in found]


def _describe(measured: Sequence[Chosen]) -> str:
    rows = [
        f"| {chosen.loaded.record.task.id} | {name} | {value.value:.3f} | {_between(value)} | {value.n} |"
        for chosen in measured
        for name, value in _values(chosen)
    ]
    digests = ", ".join(
        f"`{chosen.loaded.record.cell}` (`{chosen.loaded.digest[:16]}`)" for chosen in measured
    )
    judges = sorted({chosen.loaded.record.task.judge for chosen in measured})
    return MODEL_TEXT.format(where=f"by the judge {', '.join(judges)}", rows="\n".join(rows), records=digests)


def _between(value: Value) -> str:
    return "" if value.low is None or value.high is None else f"{value.low:.3f} to {value.high:.3f}"


def _join(names: Iterable[str]) -> str:
    return ", ".join(sorted(set(names)))


def write_dataset_card(records: "Sequence[Record]", name: str, licence: str | None) -> str:
    """Return the card of a folder of records. name: of the repository, `owner/name`."""
    from huggingface_hub import DatasetCard, DatasetCardData

    data = DatasetCardData(
        license=licence,
        pretty_name=name.partition("/")[2],
        tags=["unlearnbench", "concept-unlearning", "evaluation-results"],
        task_categories=["text-to-image"],
    )
    text = DATASET_TEXT.format(
        name=name,
        count=len(records),
        suites=_join(record.suite for record in records),
        worlds=_join(record.task.world for record in records),
        judges=_join(record.task.judge for record in records),
        tasks=_join(record.task.id for record in records),
        methods=_join(f"{record.method.name} {record.method.version}" for record in records),
    )
    return str(DatasetCard(f"---\n{data.to_yaml()}\n---\n\n{text}"))

"""What each training step did to the two losses, from the training curves in records (`unlearnbench steps`).

The restricted gradient (Ko et al. 2024, arXiv 2412.07808, theorem 4) is made so that neither loss rises, to
first order. Methods with `diagnostics` log the inner product of each realised update Δθ with the gradient of
the forget objective and of the retain loss; a product of at most 0 means that this loss does not rise.
"""

import csv
import io
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ...bench.records.record import Record
from ..templating import find_varied, flatten

FORGET, RETAIN, LOSS = "update_dot_forget", "update_dot_retain", "forget_loss"
NOT_SETTINGS = frozenset({"diagnostics", "gradient_checkpointing", "micro_batch"})
"""Settings that change cost or logging only: no row is named by them."""


@dataclass(frozen=True)
class StepShares:
    """The steps of one training run. Shares are of all its steps, from 0 to 1.

    neither: neither loss rises. forget, retain: this one does not rise. idle: the forget gradient is 0, as
    where truncation took out the whole batch; the forget objective does not rise in such a step. losses:
    denoising loss on forget images in the first, middle and last tenth of the steps; ascent raises it.
    """

    record: Record
    steps: int
    neither: float
    forget: float
    retain: float
    idle: float
    losses: tuple[float, float, float]


@dataclass(frozen=True)
class StepRow:
    """A method's configuration on a family ("all": every family): means over its runs, each run once."""

    method: str
    settings: str
    family: str
    runs: int
    neither: float
    forget: float
    retain: float
    idle: float
    losses: tuple[float, float, float]


def measure_steps(record: Record) -> StepShares | None:
    """Return the shares of a record's training; None where its method logged no inner products."""
    log = record.log
    if not log.get(FORGET) or not log.get(RETAIN):
        return None
    forget, retain = _read(log[FORGET]), _read(log[RETAIN])
    return StepShares(
        record,
        len(forget),
        float(np.mean((forget <= 0) & (retain <= 0))),
        float(np.mean(forget <= 0)),
        float(np.mean(retain <= 0)),
        float(np.mean(forget == 0)),
        _tenths(_read(log.get(LOSS, []))),
    )


def _read(column: Sequence[float | None]) -> NDArray[np.float64]:
    """Return a logged column; a number that was not finite is NaN, which counts as a loss that rises."""
    return np.array([np.nan if number is None else number for number in column], dtype=np.float64)


def _tenths(losses: NDArray[np.float64]) -> tuple[float, float, float]:
    if not losses.size:
        return (float("nan"),) * 3
    width = max(1, len(losses) // 10)
    middle = (len(losses) - width) // 2
    parts = losses[:width], losses[middle : middle + width], losses[-width:]
    first, between, last = (float(np.mean(part)) for part in parts)
    return first, between, last


def summarise_steps(found: Sequence[StepShares]) -> list[StepRow]:
    """Return a row for each method, configuration and family, and one over all families."""
    groups: dict[tuple[str, str, str], list[StepShares]] = {}
    for shares, settings in zip(found, _name_settings(found), strict=True):
        record = shares.record
        for family in (record.task.family, "all"):
            groups.setdefault((record.method.name, settings, family), []).append(shares)
    order = sorted(groups, key=lambda key: (key[0], key[1], key[2] == "all", key[2]))
    return [_mean_row(key, groups[key]) for key in order]


def _mean_row(key: tuple[str, str, str], group: Sequence[StepShares]) -> StepRow:
    def mean(numbers: Iterable[float]) -> float:
        return float(np.mean(list(numbers)))

    first, middle, last = (mean(shares.losses[place] for shares in group) for place in range(3))
    return StepRow(
        *key,
        len(group),
        mean(shares.neither for shares in group),
        mean(shares.forget for shares in group),
        mean(shares.retain for shares in group),
        mean(shares.idle for shares in group),
        (first, middle, last),
    )


def _name_settings(found: Sequence[StepShares]) -> list[str]:
    """Return for each run the settings in which the configurations of its method differ ("" for none)."""
    alike: dict[str, list[dict[str, str]]] = {}
    for shares in found:
        alike.setdefault(shares.record.method.name, []).append(_settings(shares.record))
    varied = {method: find_varied(configs) for method, configs in alike.items()}
    texts = []
    for shares in found:
        own = _settings(shares.record)
        names = [name for name in varied[shares.record.method.name] if name in own]
        texts.append(", ".join(f"{name} {own[name]}" for name in names))
    return texts


def _settings(record: Record) -> dict[str, str]:
    return {name: text for name, text in flatten(record.method.config) if name not in NOT_SETTINGS}


def steps_to_csv(found: Sequence[StepShares]) -> str:
    """Return all runs as CSV, a line a run."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    losses = [f"forget_loss_{part}" for part in ("first", "middle", "last")]
    writer.writerow(
        ["record", "task", "method", "seed", "steps", "neither", "forget", "retain", "idle", *losses]
    )
    for shares in found:
        record = shares.record
        head = [f"{record.cell}.json", record.task.id, record.method.name, record.seed, shares.steps]
        numbers = [shares.neither, shares.forget, shares.retain, shares.idle, *shares.losses]
        writer.writerow([*head, *(f"{number:.6g}" for number in numbers)])
    return text.getvalue()

"""Recompute a point's values from its item rows, as the metrics count, to compare them with the record's."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd

from ..metrics import alignment, cra, ira
from ..metrics.rows import in_split
from ..metrics.shares import own_share, proportion
from ..records.means import Bools, Floats, ScoredRows, score_rows
from ..types import INTERVAL_VERSION, Value, missing

KEYS = ["prompt_id", "sample"]
SHARES = ("UA", "UA_other", "UA_nothing", "UA_indirect", "VA", "VA_given", "in_prompt", "IRA", "IRA_given",
          "CRA", "CRA_given")  # fmt: skip
"""Values that are shares of answers: their intervals follow from the rows as well."""


@dataclass(frozen=True)
class RescoredRows:
    """Everything that follows from item rows, scored once for all points. Arrays are (rows,).

    images: for IRA and CRA the score of each row, and the rows that have one where the judge answers.
    cosine, shuffled, delta: alignment, that of shuffled pairs, and the difference to the base model's (None
    without a base; NaN where the base lacks the image).
    """

    scored: ScoredRows
    images: Mapping[str, tuple[Floats, Bools]]
    retain: Bools
    cosine: Floats
    shuffled: Floats
    delta: Floats | None

    def values(self, rows: Bools, version: int = INTERVAL_VERSION) -> dict[str, Value]:
        """Return the values of some rows, such as those of one point; like `recompute`."""
        given, prompts = self.scored.given, self.scored.prompts
        values = self.scored.values(rows, version)
        for name, (scores, counted) in self.images.items():
            for suffix, own in (("", ~given), ("_given", given)):
                kept = rows & counted & own
                values[name + suffix] = proportion(
                    scores[kept], prompts[kept], "retain images", version=version
                )
        kept = rows & self.retain & ~given
        values["AS"] = _mean(self.cosine[kept])
        values["AS_chance"] = _mean((self.cosine - self.shuffled)[kept])
        if self.delta is not None:
            values["AS_delta"] = _mean(self.delta[kept])
        return values


def rescore(items: pd.DataFrame, base: pd.DataFrame | None) -> RescoredRows:
    """Score item rows of one point or several. base: the base model's rows of the same prompts and noise."""
    chosen = {"IRA": ira.chosen(items), "CRA": cra.chosen(items)}
    images = {
        name: (np.asarray(own_share(items, own), dtype=float), np.any(list(own.values()), axis=0))
        for name, own in chosen.items()
    }
    cosine = np.asarray(alignment.METRIC.per_item(items), dtype=float)
    delta = None
    if base is not None:
        places = {key: place for place, key in enumerate(_keys(base))}
        there = np.array([places.get(key, -1) for key in _keys(items)], dtype=np.intp)
        before = base["alignment"].to_numpy(dtype=float)[there]
        delta = np.where(there < 0, np.nan, cosine - before)
    return RescoredRows(
        scored=score_rows(items),
        images=images,
        retain=in_split(items, "retain"),
        cosine=cosine,
        shuffled=items["alignment_shuffled"].to_numpy(dtype=float),
        delta=delta,
    )


def _keys(items: pd.DataFrame) -> Iterator[tuple[str, int]]:
    """Return the prompt and the sample of each row: an image of a point."""
    return zip(items["prompt_id"].tolist(), items["sample"].tolist(), strict=True)


def recompute(
    items: pd.DataFrame, base: pd.DataFrame | None, version: int = INTERVAL_VERSION
) -> dict[str, Value]:
    """Return the values that follow from one point's item rows: SHARES, AS, AS_chance and AS_delta.

    base: the base model's rows of the same prompts and noise; without them AS_delta is left out. Distances
    need features and are left out. AS and its differences have no bootstrap intervals here. version: of the
    intervals of shares.
    """
    return rescore(items, base).values(np.ones(len(items), dtype=bool), version)


def _mean(values: Floats) -> Value:
    if values.size == 0 or np.isnan(values).any():
        return missing("no cosine", values.size)
    return Value(value=float(values.mean()), n=values.size)


def differ(stated: float | None, found: float | None) -> bool:
    """Return whether a stated number is another than the one found; records keep seven digits."""
    if stated is None or found is None:
        return stated is not found
    return abs(stated - found) > 1e-9 + 5e-7 * abs(found)


def find_problems_in_values(
    stated: dict[str, Value], found: dict[str, Value], names: Sequence[str] = SHARES
) -> list[str]:
    """Return one line a stated value that the item rows do not give, or whose interval they do not give."""
    complaints = []
    for name, value in found.items():
        own = stated.get(name)
        if own is None and value.value is None:
            continue  # a metric that lacks an input gives only its own name, as missing
        if own is None:
            complaints.append(f"{name}: is not stated, the item rows give {_write(value.value)}")
        elif differ(own.value, value.value):
            complaints.append(f"{name}: states {_write(own.value)}, the item rows give {_write(value.value)}")
        elif name in names and (differ(own.low, value.low) or differ(own.high, value.high)):
            complaints.append(f"{name}: its interval is not the one that the item rows give")
        elif value.value is not None and own.n != value.n:
            complaints.append(f"{name}: states n = {own.n}, the item rows give {value.n}")
    return complaints


def _write(number: float | None) -> str:
    return "missing" if number is None else f"{number:.7g}"

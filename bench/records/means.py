"""Scores of item rows as arrays, and UA, VA and in-prompt alignment of points and halves from them."""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from ..errors import UserError
from ..metrics import in_prompt, ua, va
from ..metrics.rows import KINDS, Columns, check_items, in_split, is_failed, is_given, texts
from ..metrics.shares import Chosen, answers, only, proportion
from ..types import INTERVAL_VERSION, Value, missing
from .record import Record

NAMES = ("UA", "VA", "in_prompt")
PARTS = ("A", "B", "")
"""Halves of the prompts, and all of them."""
Bools = NDArray[np.bool_]
Floats = NDArray[np.float64]


@dataclass(frozen=True)
class ScoredRows:
    """Scores of item rows. Every array is (rows,), in the order of the rows.

    gone: 1 where the target is gone, 0 where it was found, NaN for retain rows and failed answers. nothing: 1
    where the judge knows nothing of the target's kind, else 0. right: for each kind 1 where the asked
    attribute was found, else 0, NaN where it was not asked or the answer failed. chosen: the attributes that
    VA and in-prompt alignment count.
    """

    prompts: NDArray[np.object_]
    forget: Bools
    indirect: Bools
    given: Bools
    failed: Bools
    gone: Floats
    nothing: Floats
    right: Mapping[str, Floats]
    chosen: Mapping[str, Chosen]

    def values(self, rows: Bools, version: int = INTERVAL_VERSION) -> dict[str, Value]:
        """Return UA and its parts, VA, VA_given and in_prompt of some rows: the metrics' own values.

        rows: (rows,) bool. version: of the intervals of shares.
        """
        forget, indirect = rows & self.forget, rows & self.indirect
        vague = self.gone * self.nothing
        return {
            "UA": self._share(self.gone, forget, "forget images", version),
            "UA_other": self._share(self.gone - vague, forget, "forget images", version),
            "UA_nothing": self._share(vague, forget, "forget images", version),
            "UA_indirect": self._share(self.gone, indirect, "indirect images", version),
            "VA": self._pooled("VA", rows & ~self.given, "retain images of concepts not given", version),
            "VA_given": self._pooled("VA", rows & self.given, "retain images of concepts given", version),
            "in_prompt": self._pooled("in_prompt", rows, "forget images that ask for more", version),
        }

    def _share(self, hits: Floats, rows: Bools, what: str, version: int) -> Value:
        if reason := self._describe_failed(rows):
            return missing(reason, int(rows.sum()))
        return proportion(hits[rows], self.prompts[rows], what, version=version)

    def _pooled(self, name: str, rows: Bools, what: str, version: int) -> Value:
        """Return the share of all chosen attributes of some rows that were found; n counts images."""
        chosen = only(self.chosen[name], rows)
        images = np.any(list(chosen.values()), axis=0)
        if reason := self._describe_failed(images):
            return missing(reason, int(images.sum()))
        hits = np.concatenate([self.right[kind][mask] for kind, mask in chosen.items()])
        prompts = np.concatenate([self.prompts[mask] for mask in chosen.values()])
        return proportion(hits, prompts, what, int(images.sum()), version)

    def _describe_failed(self, rows: Bools) -> str | None:
        count = int((self.failed & rows).sum())
        return f"{count} of {int(rows.sum())} images have pixels that are not finite" if count else None


def score_rows(items: pd.DataFrame) -> ScoredRows:
    """Return the scores of item rows: of one point, or of all points of a record."""
    gone = ua.METRIC.per_item(items)
    assert gone is not None
    columns = Columns(items)
    kinds = columns["target_kind"]
    nothing = np.zeros(len(items))
    for kind in set(kinds):
        found = texts(columns, f"found_{kind}")
        empty = pd.isna(found) | np.asarray(found == "", dtype=bool)
        nothing = np.where(kinds == kind, empty.astype(float), nothing)
    return ScoredRows(
        prompts=columns["prompt_id"],
        forget=in_split(columns, "forget"),
        indirect=in_split(columns, "indirect"),
        given=is_given(columns),
        failed=is_failed(columns),
        gone=gone.to_numpy(dtype=float),
        nothing=nothing,
        right={kind: answers(columns, kind) for kind in KINDS},
        chosen={"VA": va.chosen(columns), "in_prompt": in_prompt.chosen(columns)},
    )


def check_rows(record: Record, items: pd.DataFrame) -> None:
    """Raise UserError naming the file where item rows of a record cannot be what a metric takes them for."""
    try:
        rows = zip(items["point"].tolist(), items["prompt_id"].tolist(), strict=True)
        check_items(Columns(items), np.array([f"{point}: {prompt}" for point, prompt in rows], dtype=object))
    except ValueError as error:
        raise UserError(f"{record.cell}.json: item rows: {error}") from None


def point_means(record: Record, items: pd.DataFrame, scored: ScoredRows) -> NDArray[np.float64]:
    """Return (points, 3, 3): NAMES by PARTS, NaN where there is no row or the judge failed on one.

    The metrics' own shares without their intervals: a board reads thousands of them.
    """
    asked = np.asarray(scored.forget, dtype=float)
    kept = only(scored.chosen["VA"], ~scored.given)
    columns = [
        (np.where(scored.forget, scored.gone, 0.0), asked),
        sum_shares(scored, kept),
        sum_shares(scored, scored.chosen["in_prompt"]),
    ]
    point, half = items["point"].to_numpy(), items["half"].to_numpy()
    masks = [[(point == p.index) & ((half == part) | (part == "")) for part in PARTS] for p in record.points]
    return np.array([[[_mean(hits[m], asked[m]) for m in row] for hits, asked in columns] for row in masks])


def sum_shares(scored: ScoredRows, chosen: Chosen) -> tuple[Floats, Floats]:
    """Return (rows,) attributes found, NaN where the judge failed, and (rows,) attributes asked for."""
    hits = [np.where(mask, scored.right[kind], 0.0) for kind, mask in chosen.items()]
    return np.sum(hits, axis=0), np.sum(list(chosen.values()), axis=0).astype(float)


def _mean(hits: Floats, asked: Floats) -> float:
    return float(hits.sum() / asked.sum()) if asked.sum() else float("nan")

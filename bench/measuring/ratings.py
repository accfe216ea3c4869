"""Ratings of a record's images by the user's own models: preference scores, and LPIPS to the base model.

They are made from images that are in the store, after the run: no record, key or rank depends on them.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pandas as pd

from ..judges.lpips import Lpips
from ..judges.preference import PreferenceScorer
from ..models.sampling import decode_png
from ..records.chosen import Chosen
from ..records.load import Loaded
from ..records.record import Record
from ..stats.intervals import cluster_bootstrap
from ..store import Store
from ..types import Value, missing
from .items import image_digest, read_guidance
from .stored import Origin

BATCH = 16
"""Most images that are in memory and rated together."""
LPIPS = "LPIPS"
KEYS = ["prompt_id", "sample"]
IS_BASE = "it is the base model"
NO_BASE = "no base model's record of the same images is among these; give its folder, too"


@dataclass
class Raters:
    """The user's models. scorers: name of the value -> its model. lpips: None = not given."""

    store: Store
    scorers: Mapping[str, PreferenceScorer]
    lpips: Lpips | None = None
    _known: dict[tuple[str, str, str], float] = field(default_factory=dict)
    """Scores by model, prompt and digest of the image: a base's images are those of many records."""

    def rate(
        self, chosen: Chosen, base: Loaded | None, advance: Callable[[int], None] = lambda n: None
    ) -> dict[str, Value]:
        """Return name -> value for a point. base: see `find_base`. advance: gets the number of images done.

        For a scorer X: `X` (mean over retain images of concepts that the method was not given), `X_delta`
        (its paired difference to the base), `X_forget` (over forget images). `LPIPS` and `LPIPS_forget`: mean
        distance to the base's images of the same prompts and noise. Intervals are over prompts. A value is
        missing where one of its images is not in the store, has failed, or has no counterpart.
        """
        items = chosen.loaded.items
        assert items is not None  # a chosen point has rows
        rows = items[(items["point"] == chosen.point.index) & items["split"].isin(["forget", "retain"])]
        rows = rows[(rows["split"] == "forget") | ~rows["given"].astype(bool)].reset_index(drop=True)
        theirs = None if base is None else pair_rows(rows, base)
        origin = Origin(chosen.loaded.record, chosen.point)
        other = None if base is None else Origin(base.record, base.record.points[0])
        parts = []
        for start in range(0, max(1, len(rows)), BATCH):
            part = slice(start, start + BATCH)
            own = self._read(origin, rows[part])
            before = self._read(other, theirs[part]) if other is not None and theirs is not None else None
            parts.append(self._rate(rows[part], own, before))
            advance(min(len(rows), start + BATCH))
        found = {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}
        alone = IS_BASE if chosen.loaded.record.method.is_base else NO_BASE
        return self._reduce(rows, found, alone if base is None else "")

    def _reduce(self, rows: pd.DataFrame, found: Mapping[str, np.ndarray], alone: str) -> dict[str, Value]:
        """Return the values of scores (rows,) by name. alone: why there is no base, "" where there is one."""
        values = {}
        forget = (rows["split"] == "forget").to_numpy()
        splits = (("", ~forget, "retain images of concepts not given"), ("_forget", forget, "forget images"))
        for name, column in found.items():
            for suffix, kept, what in splits:
                if name.endswith("_delta") and suffix:
                    continue
                needs_base = name == LPIPS or name.endswith("_delta")
                scores, prompts = column[kept], rows["prompt_id"].to_numpy()[kept]
                if needs_base and alone:
                    values[f"{name}{suffix}"] = missing(alone, len(scores))
                else:
                    values[f"{name}{suffix}"] = _mean(scores, prompts, what)
        return values

    def _rate(
        self, rows: pd.DataFrame, own: Sequence[Any], before: Sequence[Any] | None
    ) -> dict[str, np.ndarray]:
        """Return (rows,) numbers of each value; NaN where an image is None."""
        prompts = rows["prompt"].tolist()
        found = {}
        for name, scorer in self.scorers.items():
            found[name] = self._score(name, scorer, own, prompts)
            # no difference is taken on forget rows
            retained = [
                image if split == "retain" else None
                for image, split in zip(before or [None] * len(rows), rows["split"], strict=True)
            ]
            found[f"{name}_delta"] = found[name] - self._score(name, scorer, retained, prompts)
        if self.lpips is not None:
            found[LPIPS] = _distances(self.lpips, own, before)
        return found

    def _score(
        self, name: str, scorer: PreferenceScorer, images: Sequence[Any], prompts: Sequence[str]
    ) -> np.ndarray:
        keys = [
            None if image is None else (name, prompt, image_digest(image))
            for image, prompt in zip(images, prompts, strict=True)
        ]
        new = [i for i, key in enumerate(keys) if key is not None and key not in self._known]
        if new:
            scores = scorer.score(np.stack([images[i] for i in new]), [prompts[i] for i in new])
            self._known |= {keys[i]: float(x) for i, x in zip(new, scores, strict=True)}  # type: ignore[misc]
        return np.array([np.nan if key is None else self._known[key] for key in keys])

    def _read(self, origin: Origin, rows: pd.DataFrame) -> list[np.ndarray | None]:
        """Return images (H, W, 3); None where the store has none, or other pixels than the record's."""
        found: list[np.ndarray | None] = []
        for row in rows.to_dict("records"):
            png = None
            if row["image_sha256"]:
                seed = int(row["seed"])
                png = origin.find_image(self.store, str(row["prompt"]), seed, read_guidance(row))
            image = None if png is None else decode_png(png)
            same = image is not None and image_digest(image) == row["image_sha256"]
            found.append(image if same else None)
        return found


def _distances(lpips: Lpips, own: Sequence[Any], before: Sequence[Any] | None) -> np.ndarray:
    found = np.full(len(own), np.nan)
    there = [i for i, a in enumerate(own) if before is not None and a is not None and before[i] is not None]
    if there and before is not None:
        found[there] = lpips.distances(
            np.stack([own[i] for i in there]), np.stack([before[i] for i in there])
        )
    return found


def _mean(scores: np.ndarray, prompts: np.ndarray, what: str) -> Value:
    if not len(scores):
        return missing(f"no {what}")
    lacking = int(np.isnan(scores).sum())
    if lacking:
        reason = f"{lacking} of {len(scores)} {what} failed or are not in the store, or the base model's"
        return missing(reason, len(scores))
    low, high = cluster_bootstrap(scores, prompts)
    return Value(value=float(scores.mean()), low=low, high=high, n=len(scores))


def find_base(entry: Loaded, entries: Sequence[Loaded]) -> Loaded | None:
    """Return the base model's measured record of the same prompts, noise and sampling, None without one.

    None for the base model itself, too.
    """
    if entry.record.method.reference:
        return None

    def place(record: Record) -> tuple[Any, ...]:
        return record.task.id, record.task.world, record.prompts_sha256, record.sampling

    for other in entries:
        record = other.record
        is_base = record.method.is_base and record.source == "measured"
        if is_base and record.status == "ok" and place(record) == place(entry.record):
            return other
    return None


def pair_rows(rows: pd.DataFrame, base: Loaded) -> pd.DataFrame:
    """Return the base's rows of the same prompts and noise, in the order of `rows`.

    A row without a counterpart has "" as its image's digest, so that no image is found.
    """
    assert base.items is not None
    columns = [*KEYS, "prompt", "seed", "guidance", "image_sha256"]
    theirs = base.items[[name for name in columns if name in base.items]].drop_duplicates(KEYS)
    both = rows[[*KEYS, "prompt", "seed"]].merge(theirs, on=[*KEYS, "prompt", "seed"], how="left")
    return both.assign(image_sha256=both["image_sha256"].fillna(""))

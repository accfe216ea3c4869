"""The rows of a view: their checks, the ones that count, and their pairs among the base model's rows."""

from __future__ import annotations

from typing import TYPE_CHECKING, get_args

import numpy as np

from ..types import ITEM_COLUMNS, Split, View

if TYPE_CHECKING:
    import pandas as pd
    from numpy.typing import NDArray


KINDS = ("subject", "style", "background")
BASE_FAILED = "the base model: "
"""First words of the reason of a difference that is missing because images of the base failed."""
_TRUTH = ("split", "prompt", "relation", "given", "target_kind", *(f"asked_{kind}" for kind in KINDS))


class Columns:
    """The columns of item rows as arrays, each taken from the frame once: metrics read them many times."""

    def __init__(self, items: pd.DataFrame) -> None:
        self.frame = items
        self.columns, self.index = items.columns, items.index
        self._taken: dict[str, NDArray] = {}

    def __getitem__(self, name: str) -> NDArray:
        if name not in self._taken:
            self._taken[name] = self.frame[name].to_numpy()
        return self._taken[name]

    def __len__(self) -> int:
        return len(self.frame)


def check_items(items: pd.DataFrame | Columns, names: NDArray[np.object_] | None = None) -> None:
    """Raise ValueError where item rows break the assumptions of the metrics.

    Checked: every column of ITEM_COLUMNS; known splits and kinds; a prompt's truth present and the same on
    all its rows; each (prompt_id, sample) once. Where prompts are not repeated for each of their samples,
    images would be scored against other prompts; this check finds it. names: (rows,) name of each row's
    prompt, where rows of several points have the same prompts (default: its `prompt_id`).
    """
    import pandas as pd

    lacking = [column for column in ITEM_COLUMNS if column not in items.columns]
    if lacking:
        raise ValueError(f"items lack the columns {', '.join(lacking)}")
    for column in ("prompt_id", "sample", *_TRUTH):
        if (empty := int(pd.isna(texts(items, column)).sum())) > 0:
            raise ValueError(f"items: {column} is empty in {empty} rows")
    _check_known(items, "split", get_args(Split))
    _check_known(items, "target_kind", KINDS)
    prompts = texts(items, "prompt_id") if names is None else names
    images = set(zip(prompts.tolist(), items["sample"].tolist(), strict=True))
    if len(images) < len(items):
        frame = (items.frame if isinstance(items, Columns) else items).assign(prompt_id=prompts)
        twice = np.flatnonzero(frame.duplicated(["prompt_id", "sample"]))
        raise ValueError(f"items: {_name(frame, int(twice[0]))} is there twice")
    rows: dict[str, int] = {}
    first = np.array([rows.setdefault(prompt, row) for row, prompt in enumerate(prompts)], dtype=np.intp)
    differs = np.zeros(len(items), dtype=bool)
    for column in _TRUTH:
        values = texts(items, column)
        differs |= np.asarray(values != values[first], dtype=bool)
    if differs.any():
        raise ValueError(f"items: prompt {min(prompts[differs])!r} differs between its own rows")


def texts(items: pd.DataFrame | Columns, column: str) -> NDArray[np.object_]:
    """Return (rows,) a column of texts as an array: comparisons are far faster than with a pandas column."""
    return np.asarray(items[column], dtype=object)


def in_split(items: pd.DataFrame | Columns, split: Split) -> NDArray[np.bool_]:
    """Return (rows,) bool: whether a row is of a split."""
    return np.asarray(texts(items, "split") == split, dtype=bool)


def is_given(items: pd.DataFrame | Columns) -> NDArray[np.bool_]:
    """Return (rows,) bool: whether a row's concept was in the method's retain set."""
    return np.asarray(items["given"], dtype=bool)


def is_failed(items: pd.DataFrame | Columns) -> NDArray[np.bool_]:
    """Return (rows,) bool: whether the image has pixels that are not finite, so that no score is known."""
    return np.asarray(texts(items, "image_sha256") == "", dtype=bool)


def describe_failed(items: pd.DataFrame, rows: NDArray[np.bool_] | None = None) -> str | None:
    """Return why a value of these rows (default: all) is missing; None where none of their images failed."""
    failed = is_failed(items)
    rows = np.ones_like(failed) if rows is None else rows
    count = int((failed & rows).sum())
    return f"{count} of {int(rows.sum())} images have pixels that are not finite" if count else None


def describe_failed_base(view: View, rows: NDArray[np.bool_]) -> str | None:
    """Return why a difference to the base on these rows is missing; None where none of its images failed."""
    if view.base is None:
        return None
    paired = view.base.items.iloc[pair_with_base(view)]
    failed = describe_failed(paired, rows)
    return None if failed is None else BASE_FAILED + failed


def fill_answers(items: pd.DataFrame) -> pd.DataFrame:
    """Return the rows with every missing answer filled in, to find out which rows a metric scores.

    Among a metric's scores NaN stands both for a missing answer and for a row that it does not score.
    """
    filled = {f"found_{kind}": items[f"found_{kind}"].astype(object).fillna("") for kind in KINDS}
    found = items["target_found"].astype("boolean").mask(items["split"] == "retain", False).fillna(False)
    return items.assign(**filled, target_found=found, alignment=items["alignment"].fillna(0.0))


def pair_with_base(view: View) -> NDArray[np.intp]:
    """Return (rows,) positions in `view.base.items` of the same prompts and noise as the view's rows.

    The base may have more rows, in another order. Raises ValueError naming a row that the base lacks, or
    whose prompt or noise seed differs there: a difference to another image would mean nothing.
    """
    import pandas as pd

    if view.base is None:
        raise ValueError("the view has no base")
    check_items(view.base.items)
    theirs = pd.MultiIndex.from_frame(view.base.items[["prompt_id", "sample"]])
    found = theirs.get_indexer(pd.MultiIndex.from_frame(view.items[["prompt_id", "sample"]]))
    if (found < 0).any():
        raise ValueError(f"the base lacks {_name(view.items, int(np.flatnonzero(found < 0)[0]))}")
    for column in ("prompt", "seed", "guidance"):
        mine, base = _column(view.items, column), _column(view.base.items, column)[found]
        if (mine != base).any():
            where = int(np.flatnonzero(mine != base)[0])
            raise ValueError(f"the base's {column} differs at {_name(view.items, where)}")
    return np.asarray(found, dtype=np.intp)


def _column(items: pd.DataFrame, name: str) -> NDArray:
    """Return (rows,) values of a column to compare; guidance is 0 where a row uses the record's own."""
    if name != "guidance":
        return items[name].to_numpy()
    return items[name].fillna(0).to_numpy() if name in items else np.zeros(len(items))


def _check_known(items: pd.DataFrame | Columns, column: str, known: tuple[str, ...]) -> None:
    strange = set(texts(items, column)) - set(known)
    if strange:
        raise ValueError(f"items: {column} is {min(strange)!r}, not one of {', '.join(known)}")


def _name(items: pd.DataFrame, position: int) -> str:
    row = items.iloc[position]
    return f"prompt {row['prompt_id']!r}, sample {row['sample']}"

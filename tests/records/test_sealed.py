"""The digest of item rows is that of the CSV that pandas writes, whatever the rows hold."""

import hashlib
from typing import Any

import numpy as np
import pandas as pd
import pytest

from unlearnbench.bench.records.sealed import _write_csv, items_digest

from ..leaderboard.synthetic import make_record

ODD = ['a "quoted" word', "one, two", "two\nlines", "", "  spaces ", "Δθ 😀", "'", "nan"]
"""Texts that CSV may have to quote."""


def digest_by_pandas(items: pd.DataFrame) -> str:
    text = items.to_csv(index=False, float_format="%.6f", na_rep="")
    return hashlib.sha256(text.encode()).hexdigest()


def make_rows(**columns: Any) -> pd.DataFrame:
    return pd.DataFrame({"number": range(len(ODD)), **columns})


def test_the_digest_of_usual_rows_is_written_without_pandas() -> None:
    items = make_record("balanced", 3)[1]
    assert _write_csv(items) is not None
    assert items_digest(items) == digest_by_pandas(items)


@pytest.mark.parametrize(
    "column",
    [
        pd.Series(ODD, dtype=object),
        pd.Series(ODD, dtype="str"),
        pd.Series([None, *ODD[1:]], dtype=object),
        pd.Series([True, None, False] * 2 + [None] * 2, dtype=object),
        pd.Series([True, False] * 4),
        pd.Series([None] * len(ODD), dtype=object),
        pd.Series([0.5, np.nan, np.inf, -np.inf, -0.0, 1e-9, 0.1234565, 2.5e-7]),
        pd.Series(np.linspace(-1, 1, len(ODD)), dtype=np.float32),
    ],
)
def test_texts_answers_and_numbers_are_written_as_pandas_writes_them(column: "pd.Series[Any]") -> None:
    items = make_rows(column=column)
    assert _write_csv(items) is not None
    assert items_digest(items) == digest_by_pandas(items)


@pytest.mark.parametrize(
    "column",
    [
        pd.Series([*ODD[1:], "carriage\rreturn"]),
        pd.Series([*ODD[1:], 7], dtype=object),
        pd.Series([True, None] * 4, dtype="boolean"),
        pd.Series([1, None] * 4, dtype="Int64"),
        pd.Series(pd.date_range("2020-01-01", periods=len(ODD))),
    ],
)
def test_unusual_columns_are_left_to_pandas(column: "pd.Series[Any]") -> None:
    items = make_rows(column=column)
    assert items_digest(items) == digest_by_pandas(items)


def test_a_frame_without_rows_has_its_header() -> None:
    items = make_rows().head(0).assign(column=pd.Series(dtype=object))
    assert items_digest(items) == digest_by_pandas(items)

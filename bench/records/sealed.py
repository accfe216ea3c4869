"""The digests that a record holds of its own content and of its item rows."""

import hashlib
import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from ..errors import UserError

SEAL = "content_sha256"
SHEET = "webp"
"""Name of the contact sheet in a record's `files`: its suffix."""
QUOTED = re.compile('[",\r\n]')
"""A character for which a field of CSV stands in quotation marks."""
MENDED = "restore it, or delete it and run the command that made it again"


def sha256(content: bytes) -> str:
    """Return the sha256 in hex."""
    return hashlib.sha256(content).hexdigest()


def content_digest(content: Mapping[str, Any]) -> str:
    """Return the digest of a record's JSON object: of all fields but the digest itself, in canonical form."""
    rest = {name: value for name, value in content.items() if name != SEAL}
    return sha256(json.dumps(rest, sort_keys=True, separators=(",", ":")).encode())


def check_content(path: Path, content: Mapping[str, Any]) -> None:
    """Raise UserError where a record's JSON object does not match its own digest, if it has one."""
    if content.get(SEAL) and content[SEAL] != content_digest(content):
        raise UserError(f"{path}: {SEAL}: the file was changed since it was written; {MENDED}")


def items_digest(items: pd.DataFrame) -> str:
    """Return the sha256 of item rows in canonical CSV form."""
    text = _write_csv(items)
    return sha256((_to_csv(items) if text is None else text).encode())


def _to_csv(items: pd.DataFrame) -> str:
    """Return item rows in canonical CSV form."""
    return items.to_csv(index=False, float_format="%.6f", na_rep="", lineterminator="\n")


def _write_csv(items: pd.DataFrame) -> str | None:
    """Return what `_to_csv` gives, in a third of its time; None for columns of unusual types or names.

    A run reads each record's rows several times and `validate` hundreds of records, so that this counts.
    """
    if len(items.columns) < 2 or any(QUOTED.search(str(name)) for name in items.columns):
        return None
    columns = [_write_column(items[name]) for name in items.columns]
    known = [column for column in columns if column is not None]
    if len(known) < len(columns):
        return None
    lines = [",".join(map(str, items.columns)), *map(",".join, zip(*known, strict=True)), ""]
    return "\n".join(lines)


def _write_column(column: "pd.Series[Any]") -> list[str] | None:
    """Return the fields of a column in CSV form, None for a type that item rows do not have."""
    kind, values = column.dtype.kind, column.to_numpy()
    if kind in "iu" and isinstance(column.dtype, np.dtype):
        return list(map(str, values.tolist()))
    if kind == "b" and isinstance(column.dtype, np.dtype):
        return ["True" if value else "False" for value in values.tolist()]
    if kind == "f" and isinstance(column.dtype, np.dtype):
        numbers: list[float] = values.tolist()
        return ["" if number != number else f"{number:.6f}" for number in numbers]
    return _write_texts(values.tolist())


def _write_texts(values: list[Any]) -> list[str] | None:
    """Return texts or answers in CSV form; None where another value, or a carriage return, is among them."""
    kinds = set(map(type, values))
    if kinds == {str}:
        texts = values
    elif kinds <= {str, type(None)}:
        texts = ["" if value is None else value for value in values]
    elif kinds <= {bool, type(None)}:
        return ["" if value is None else str(value) for value in values]
    else:
        return None
    whole = "".join(texts)
    if not QUOTED.search(whole):
        return texts
    if "\r" in whole:  # versions of Python quote it differently
        return None
    return [_quote(text) if QUOTED.search(text) else text for text in texts]


def _quote(text: str) -> str:
    doubled = text.replace('"', '""')
    return f'"{doubled}"'

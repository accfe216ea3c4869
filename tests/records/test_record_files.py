"""A record's file: why a point was not scored stands in it once, and reads as if it stood in each value."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from unlearnbench.bench.errors import UserError
from unlearnbench.bench.records.record import Record, read_record, record_digest, write_record
from unlearnbench.bench.records.statements import list_records
from unlearnbench.bench.types import not_scored

PUBLISHED = Path(__file__).parents[2] / "results" / "emoji"


def _weak() -> Record:
    """Return a published record with a point that was not scored."""
    for path in list_records(PUBLISHED):
        record = read_record(path)
        if record.method.name == "gradient_sum" and record.points[0].unscored:
            return record
    pytest.fail("no published record has a point that was not scored")


def test_the_reason_is_told_once_a_point_and_read_for_each_value(tmp_path: Path) -> None:
    record = _weak()
    path = write_record(record, None, None, tmp_path)
    text, again = path.read_text(), read_record(path)
    assert again == record
    assert record_digest(again) == record_digest(record)
    assert "not scored:" not in text
    point = again.points[0]
    assert point.values["VA"] == not_scored(str(point.unscored))
    assert list(point.values) == sorted(point.values)
    assert write_record(again, None, None, tmp_path / "again").read_text() == text


def test_another_reason_stays_in_its_value(tmp_path: Path) -> None:
    record = _weak()
    content = record.model_dump(mode="json")
    content["points"][0]["values"]["VA"]["missing"] = "the judge failed"
    other = Record.model_validate(content)
    path = write_record(other, None, None, tmp_path)
    assert read_record(path).points[0].values["VA"].missing == "the judge failed"


@pytest.mark.parametrize(
    "change",
    [
        lambda point: point.update(not_scored="VA"),
        lambda point: point.update(not_scored=[1]),
        lambda point: point.update(not_scored=["UA"]),  # it has a value
        lambda point: point.update(unscored=None),
        lambda point: point.update(values=[]),
    ],
)
def test_what_cannot_be_told_is_refused(tmp_path: Path, change: Callable[[dict[str, Any]], None]) -> None:
    path = write_record(_weak(), None, None, tmp_path)
    content = json.loads(path.read_text())
    assert content["points"][0]["not_scored"]
    change(content["points"][0])
    path.write_text(json.dumps(content))
    with pytest.raises(UserError, match=r"points\.0"):
        read_record(path)

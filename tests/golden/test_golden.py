"""A golden record: today's metrics give, from its committed item rows, the values that it states."""

from pathlib import Path

import pytest

from unlearnbench.bench.metrics import compute
from unlearnbench.bench.records.record import items_digest, read_items, read_record
from unlearnbench.bench.types import View

PATH = next(Path(__file__).parent.glob("*.json"))
FROM_ITEMS = ("UA", "VA", "in_prompt", "IRA", "CRA")


def test_the_golden_record_reads_and_its_rows_are_its_own() -> None:
    record = read_record(PATH)
    items = read_items(PATH, record)
    assert items is not None
    assert items_digest(items) == record.items_sha256
    assert record.method.name == "balanced"


@pytest.mark.parametrize("metric", FROM_ITEMS)
def test_metrics_repeat_the_golden_values(metric: str) -> None:
    record = read_record(PATH)
    items = read_items(PATH, record)
    assert items is not None
    for point in record.points:
        rows = items[items["point"] == point.index].reset_index(drop=True)
        for name, value in compute([metric], View(rows, interval_version=record.interval_version)).items():
            golden = point.values[name]
            assert value.n == golden.n
            if golden.value is None:
                assert value.value is None
            else:
                assert value.value == pytest.approx(golden.value, abs=1e-9)
                assert (value.low, value.high) == pytest.approx((golden.low, golden.high), abs=1e-9)

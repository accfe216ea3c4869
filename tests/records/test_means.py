"""Scores of all points at once are the metrics' own values, and missing where those are missing."""

import numpy as np
import pytest

from unlearnbench.bench.metrics import in_prompt, ua, va
from unlearnbench.bench.records.means import NAMES, PARTS, point_means, score_rows
from unlearnbench.bench.types import View

from ..leaderboard.synthetic import make_record


@pytest.mark.parametrize("method", ["none", "balanced"])
@pytest.mark.parametrize("harm", [None, "target_found", "found_style", "image_sha256"])
def test_means_and_values_are_the_metrics_own(method: str, harm: str | None) -> None:
    record, items, _ = make_record(method, 3)
    if harm is not None:  # the judge failed on some rows of one half
        split = "forget" if harm == "target_found" else "retain"
        rows = items[(items["half"] == "A") & (items["split"] == split) & ~items["given"]]
        items[harm] = items[harm].astype(object)
        items.loc[rows.index[:2], harm] = "" if harm == "image_sha256" else None
    scored = score_rows(items)
    found = point_means(record, items, scored)
    assert found.shape == (len(record.points), 3, 3)
    lacking = 0
    for position, point in enumerate(record.points):
        for k, part in enumerate(PARTS):
            rows = (items["point"] == point.index) & ((items["half"] == part) | (part == ""))
            some = items[rows].reset_index(drop=True)
            expected = {}
            for metric in (ua.METRIC, va.METRIC, in_prompt.METRIC):
                expected |= metric.reduce(metric.per_item(some), View(items=some))
            assert scored.values(rows.to_numpy()) == expected
            for n, name in enumerate(NAMES):
                value = expected[name].value
                lacking += value is None
                if harm != "image_sha256":
                    assert found[position, n, k] == pytest.approx(
                        value if value is not None else np.nan, nan_ok=True
                    )
    assert (lacking > 0) == (harm is not None)

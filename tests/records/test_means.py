"""Means of all points at once are the metrics' own values, and miss where those miss."""

import numpy as np
import pytest

from unlearnbench.bench.records.means import NAMES, PARTS, point_means
from unlearnbench.leaderboard.ranking.rank import score_half

from ..leaderboard.synthetic import make_record


@pytest.mark.parametrize("method", ["none", "balanced"])
@pytest.mark.parametrize("harm", [None, "target_found", "found_style"])
def test_means_are_the_metrics_own(method: str, harm: str | None) -> None:
    record, items, _ = make_record(method, 3)
    if harm is not None:  # the judge failed on some rows of one half
        split = "forget" if harm == "target_found" else "retain"
        rows = items[(items["half"] == "A") & (items["split"] == split) & ~items["given"]]
        items[harm] = items[harm].astype(object)
        items.loc[rows.index[:2], harm] = None
    found = point_means(record, items)
    assert found.shape == (len(record.points), 3, 3)
    missing = 0
    for position in range(len(record.points)):
        for k, part in enumerate(PARTS):
            values = score_half(record, items, position, part)
            for n, name in enumerate(NAMES):
                if values[name].value is None:
                    missing += 1
                    assert np.isnan(found[position, n, k])
                else:
                    assert found[position, n, k] == pytest.approx(values[name].value)
    assert (missing > 0) == (harm is not None)

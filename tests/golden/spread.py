"""What a published board shows of its own spread, from its item rows: pandas and numpy only.

    python tests/golden/spread.py results/emoji

`bench/stats/simulation.py` takes its constants from here. Shares are those of `recompute.py`. Prints a table;
`tests/golden/test_spread.py` compares it with the constants.
"""

import sys
from pathlib import Path
from statistics import NormalDist

import numpy as np
import pandas as pd

try:
    from .recompute import read_records
except ImportError:  # run as a script
    from recompute import read_records

KINDS = ("subject", "style", "background")
ASCENT, ANCHORED = ("balanced", "gradient_sum"), ("anchor_balanced", "anchor_sum")
PARTS = ("UA", "VA", "in_prompt")
POINT = ["method", "lam", "task", "step"]


def read(folder: Path) -> pd.DataFrame:
    """Return hits and answers of each part by point, training run and prompt."""
    table, records, rows = pd.read_parquet(folder / "items.parquet"), read_records(folder), []
    for cell, items in table.groupby("cell"):
        record = records[cell]
        if record["method"]["name"] in ASCENT + ANCHORED and record["status"] == "ok":
            config = record["method"]["config"]
            place = {"method": record["method"]["name"], "lam": config["lam"], "task": record["task"]["id"]}
            steps = {point["index"]: point["step"] for point in record["points"]}
            rows.append(_count(items).assign(step=items["point"].map(steps), seed=record["seed"], **place))
    return pd.concat(rows).groupby([*POINT, "seed", "prompt_id"], as_index=False).sum()


def _count(items: pd.DataFrame) -> pd.DataFrame:
    forget = (items["split"] == "forget").to_numpy()
    fresh = ((items["split"] == "retain") & ~items["given"].astype(bool)).to_numpy()
    found = items[["prompt_id"]].copy()
    found["UA"] = np.where(forget, 1 - items["target_found"].astype("Float64").fillna(0), 0).astype(float)
    found["UA_of"] = forget.astype(float)
    for part, rows in (("VA", fresh), ("in_prompt", forget)):
        found[part], found[f"{part}_of"] = 0.0, 0.0
        for kind in KINDS:
            asked = rows & (items[f"asked_{kind}"] != "").to_numpy()
            if part == "in_prompt":
                asked &= (items["target_kind"] != kind).to_numpy()
            right = (items[f"asked_{kind}"] == items[f"found_{kind}"]).to_numpy()
            found[part] += asked & right
            found[f"{part}_of"] += asked
    return found


def prompt_correlation(rows: pd.DataFrame, part: str) -> float:
    """Return the mean intra-prompt correlation (analysis of variance) over runs with a share of .1 to .9."""
    found = []
    own = rows[rows[f"{part}_of"] > 0]
    for _, some in own.groupby([*POINT, "seed"]):
        hits, sizes = some[part].to_numpy(), some[f"{part}_of"].to_numpy()
        n, groups, share = sizes.sum(), len(sizes), hits.sum() / sizes.sum()
        if groups > 1 and 0.1 < share < 0.9:
            between = (sizes * (hits / sizes - share) ** 2).sum() / (groups - 1)
            within = (hits - hits**2 / sizes).sum() / (n - groups)
            typical = (n - (sizes**2).sum() / n) / (groups - 1)
            found.append((between - within) / (between + (typical - 1) * within))
    return float(np.mean(found))


def probits(rows: pd.DataFrame) -> pd.DataFrame:
    """Return probits of the parts, one row a point and run; shares are moved off 0 and 1 by half a hit."""
    sums = rows.groupby([*POINT, "seed"])[[*PARTS, *(f"{part}_of" for part in PARTS)]].sum()
    move = np.vectorize(NormalDist().inv_cdf)
    found = pd.DataFrame(index=sums.index)
    for part in PARTS:
        asked = sums[f"{part}_of"]
        found[part] = np.where(asked > 0, move((sums[part] + 0.5) / (asked + 1)), np.nan)
    return found


def run_deviation(table: pd.DataFrame, methods: tuple[str, ...]) -> pd.Series:
    """Return the standard deviation of training runs by part, of ascent at λ = 1, where the mean UA is .1 to
    .9; the noise of the images is in it.
    """
    own = table[table.index.get_level_values("method").isin(methods)]
    if methods == ASCENT:
        own = own[own.index.get_level_values("lam") == 1.0]
    means, variances = (getattr(own.groupby(POINT)[list(PARTS)], name)() for name in ("mean", "var"))
    return np.sqrt(variances[means["UA"].abs() < 1.28].mean())


def concept_correlation(table: pd.DataFrame, first: str, second: str, step: int = 40) -> pd.Series:
    """Return the correlation over concepts of two methods' parts at one step, λ = 1."""
    means = table.groupby(POINT).mean().xs(step, level="step").xs(1.0, level="lam")
    return pd.Series(
        {part: means[part].unstack("method")[[first, second]].corr().iloc[0, 1] for part in PARTS}
    )


def main(folder: Path) -> None:
    rows = read(folder)
    table = probits(rows)
    for part in PARTS:
        icc = prompt_correlation(rows, part)
        print(f"{part}: intra-prompt correlation {icc:.3f}, factor {np.sin(icc * np.pi / 2):.3f}")
    for methods in (ASCENT, ANCHORED):
        print(f"runs of {methods}: {run_deviation(table, methods).round(3).to_dict()}")
    print(f"concepts: {concept_correlation(table, *ASCENT).round(2).to_dict()}")


if __name__ == "__main__":
    main(Path(sys.argv[1]))

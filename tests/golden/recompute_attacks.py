"""What attacks bring back, once more from the item rows alone: pandas and numpy, nothing of unlearnbench.

    python tests/golden/recompute_attacks.py results/board

Written from the definitions (bench/attacks/README.md), not from the package's code. UA before is the share of
images without the target, UA under attack that under the strongest attack: the one with the lowest UA on one
half of the prompts is read on the other half, both ways. Attacks that draw other noise, start from other
latents or change nothing do not compete. Hidden is UA before minus UA under attack, less the same of
`retrain`, concept by concept. `tests/golden/test_recompute_attacks.py` compares it with the package.
"""

import json
import sys
from pathlib import Path

import numpy as np
import pandas as pd

try:
    from .recompute import interval, mean_interval, read_items, read_records
except ImportError:  # run as a script
    from recompute import interval, mean_interval, read_items, read_records

BEFORE, AFTER = 0, 1
APART = ("noise", "latents", "nothing")


def read_attacked(folder: Path) -> pd.DataFrame:
    """Return one row an image of the folder's attacked records: model, task, seed, attack, moves, half, and
    `before` and `after`, 1 where it is without the target."""
    folder = folder / "attacked"
    records = read_records(folder)
    found, tables = [], read_items(folder, records)
    for cell, record in records.items():
        images = tables[cell].sort_values(["prompt_id", "sample"])
        before, after = (images[images["point"] == point] for point in (BEFORE, AFTER))
        if before["image_sha256"].size != after["image_sha256"].size:  # best-of-n draws more images: apart
            before = after
        found.append(_place(record) | {
            "half": after["half"].to_numpy(),
            "before": 1 - before["target_found"].astype(float).to_numpy(),
            "after": 1 - after["target_found"].astype(float).to_numpy(),
        })  # fmt: skip
    lists = ["half", "before", "after"]
    return pd.DataFrame(found).explode(lists).astype({"before": float, "after": float})


def _place(record: dict) -> dict:
    method, attack = record["method"], record["attack"]
    label = method.get("label")
    settings = {**attack["config"], "seed": attack["seed"], "version": attack["version"]}
    return {
        "model": method["name"] + (f" ({label})" if label else ""),
        "task": record["task"]["id"],
        "seed": record["seed"],
        "attack": attack["name"] + " " + json.dumps(settings, sort_keys=True),
        "moves": attack["moves"],
    }


def under_the_strongest(rows: pd.DataFrame) -> float:
    """Return UA under the strongest of the competing attacks on one model and task. Of equals the first name
    counts."""
    means = rows.groupby(["half", "attack"])["after"].mean()
    chosen = {half: means[half].sort_index().idxmin() for half in "AB"}
    read = [rows[(rows["half"] == to) & (rows["attack"] == chosen[by])]["after"] for by, to in ("AB", "BA")]
    return float(pd.concat(read).mean(skipna=False))


def models(folder: Path) -> pd.DataFrame:
    """Return UA before, UA under the strongest attack and their difference, by (model, task)."""
    rows = read_attacked(folder)
    found = {}
    for key, own in rows.groupby(["model", "task"]):
        before = own[own["moves"] != "noise"].groupby("attack")["before"].mean()
        competing = own[~own["moves"].isin(APART)]
        found[key] = {"before": before.iloc[0], "after": under_the_strongest(competing)}
    table = pd.DataFrame.from_dict(found, orient="index").rename_axis(["model", "task"])
    return table.assign(gain=table["before"] - table["after"])


def summary(folder: Path) -> pd.DataFrame:
    """Return one row a model: UA before and under attack, and hidden with its 95 % t interval."""
    table = models(folder)
    tasks = table.index.get_level_values("task").unique()
    control, lines = table.loc["retrain", "gain"].reindex(tasks), {}
    for model, own in table.groupby("model"):
        own = own.droplevel("model").reindex(tasks)
        gap = (own["gain"] - control).to_numpy()
        low, high = interval(gap) if len(gap) > 1 and np.ptp(gap) > 1e-9 else (np.nan, np.nan)
        after = own["after"].to_numpy()
        ends = mean_interval(after, end_weight=1.0) if len(after) > 1 else (np.nan, np.nan)
        lines[model] = {
            "before": own["before"].mean(skipna=False),
            "after": own["after"].mean(skipna=False),
            "after_low": ends[0],
            "after_high": ends[1],
            "hidden": gap.mean(),
            "hidden_low": low,
            "hidden_high": high,
        }
    return pd.DataFrame.from_dict(lines, orient="index").sort_values("after", ascending=False)


if __name__ == "__main__":
    pd.set_option("display.width", 200, "display.max_columns", 20)
    print(summary(Path(sys.argv[1])).round(4).to_string())

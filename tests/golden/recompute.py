"""A board's numbers once more, from its item rows alone: pandas and numpy, nothing of unlearnbench.

    python tests/golden/recompute.py results/emoji

Written from the definitions (results/README.md), not from the package's code, so that a mistake in one of
the two shows. Prints a table; `tests/golden/test_recompute.py` compares it with the package.
"""

import itertools
import json
import math
import sys
from pathlib import Path

import numpy as np
import pandas as pd

LEVELS = (0.80, 0.825, 0.85, 0.875, 0.90, 0.925, 0.95)
KINDS = ("subject", "style", "background")


def read_records(folder: Path) -> dict[str, dict]:
    """Return the records of a folder by name: its files and, without one, the rows of its records.parquet."""
    table = folder / "records.parquet"
    packed = pd.read_parquet(table) if table.exists() else pd.DataFrame({"cell": [], "record": []})
    found = dict(zip(packed["cell"], packed["record"], strict=True))
    for path in folder.glob("*.json"):
        if not path.name.endswith(".labels.json"):  # what people said of images
            found[path.stem] = path.read_bytes()
    return {cell: json.loads(found[cell]) for cell in sorted(found, key="{}.json".format)}


def read_items(folder: Path, cells) -> dict[str, pd.DataFrame]:
    """Return the item rows of records by name: of its own file, or of the packed table."""
    table = folder / "items.parquet"  # the rows of all records that have no file of their own
    packed = dict(iter(pd.read_parquet(table).groupby("cell"))) if table.exists() else {}
    files = {cell: folder / f"{cell}.parquet" for cell in cells}
    return {c: pd.read_parquet(own) if own.exists() else packed[c] for c, own in files.items()}


def read(folder: Path, role: str = "evaluated") -> pd.DataFrame:
    """Return one row a (method, task, configuration, seed, point, half) with UA, VA, VA on given concepts
    and in-prompt.

    role: of the tasks, "evaluated" or "tuning".
    """
    found = {
        cell: record
        for cell, record in read_records(folder).items()
        if record["task"]["role"] == role and not record["method"]["reference"]
    }
    rows, tables = [], read_items(folder, found)
    for cell, record in found.items():
        items = tables[cell]
        for point in record["points"]:
            images = items[items["point"] == point["index"]]
            for half in "AB":
                rows.append(_place(record, point) | {"half": half} | _shares(images[images["half"] == half]))
    return pd.DataFrame(rows)


def _place(record: dict, point: dict) -> dict:
    label = record["method"].get("label")
    own = f" ({label})" if label else ""
    narrow = "" if record["data"] == "diverse" else f" ({record['data']} data)"
    return {
        "method": record["method"]["name"] + own + narrow,
        "task": record["task"]["id"],
        "config": json.dumps(record["method"]["config"], sort_keys=True),
        "seed": record["seed"],
        "step": point["step"],
    }


def _shares(items: pd.DataFrame) -> dict[str, float]:
    forget = items[items["split"] == "forget"]
    retain = items[items["split"] == "retain"]
    given = retain["given"].astype(bool)
    target = forget["target_kind"].iloc[0]
    return {
        "UA": 1 - forget["target_found"].astype(float).mean(skipna=False),
        "VA": _obeyed(retain[~given], KINDS),
        "VA_given": _obeyed(retain[given], KINDS),
        "in_prompt": _obeyed(forget, [kind for kind in KINDS if kind != target]),
    }


def _obeyed(items: pd.DataFrame, kinds) -> float:
    """Share of the asked attributes that were found; NaN where none was asked or a judge failed."""
    right = asked = 0
    for kind in kinds:
        wanted = items[items[f"asked_{kind}"] != ""]
        if wanted[f"found_{kind}"].isna().any():
            return math.nan
        right += (wanted[f"asked_{kind}"] == wanted[f"found_{kind}"]).sum()
        asked += len(wanted)
    return right / asked if asked else math.nan


def frontier(points: pd.DataFrame) -> dict[str, float]:
    """Return AVA, reach and in-prompt alignment of one method on one task.

    points: rows (configuration, seed, step, half). A point too weak for any level has no VA: never read.
    """
    runs = points.groupby(["step", "config", "half"])["seed"].nunique()
    if runs.nunique() > 1:  # a run is lacking: the concept is missing, as the board says it
        return dict.fromkeys(("AVA", "reach", "in_prompt"), math.nan)
    means = points.groupby(["step", "config", "half"])[["UA", "VA", "in_prompt"]].mean().unstack("half")
    ua, va, other = (means[name][["A", "B"]].to_numpy().T for name in ("UA", "VA", "in_prompt"))
    unread = (ua < LEVELS[0] - 1e-9).all(axis=0)
    found = {"AVA": [], "reach": [], "in_prompt": []}
    if np.isnan(va[:, ~unread]).any() or np.isnan(ua).any():
        return dict.fromkeys(found, math.nan)
    for level, (chooser, scorer) in itertools.product(LEVELS, ((0, 1), (1, 0))):
        allowed = [k for k in range(ua.shape[1]) if ua[chooser, k] >= level - 1e-9]
        # ties: fewer steps, then the configuration whose text comes first: the order of the rows
        best = max(allowed, key=lambda k: (round(va[chooser, k], 9), -k)) if allowed else None
        found["reach"].append(best is not None)
        found["AVA"].append(0.0 if best is None else va[scorer, best])
        found["in_prompt"].append(0.0 if best is None else other[scorer, best])
    if np.isnan(other).all():  # the prompts ask for nothing beside the target: missing, reached or not
        found["in_prompt"] = [math.nan]
    return {name: float(np.mean(values)) for name, values in found.items()}


def harmonic(points: pd.DataFrame) -> float:
    """Return H of one method on one task."""
    return read_out(points)["H"]


def read_out(points: pd.DataFrame) -> dict[str, float]:
    """Return H of one method on one task, and its parts: in every run each half chooses a point, which the
    other half reads.

    A point without a VA was too weak to be scored: VA 1 shows whether it could be chosen. NaN: it could.
    """
    runs = points.groupby(["step", "config"])["seed"].nunique()
    parts = ["H", "UA", "VA", "in_prompt"]
    if runs.nunique() > 1:
        return dict.fromkeys(map("{}_at_H".format, parts[1:]), math.nan) | {"H": math.nan}
    read = []
    for _, run in points.groupby("seed"):
        table = (
            run.set_index(["step", "config", "half"])[["UA", "VA", "in_prompt"]].unstack("half").sort_index()
        )
        lacking = table["VA"].isna().any(axis=1).to_numpy()
        names = ["UA", "VA"] if table["in_prompt"].isna().all(axis=None) else ["UA", "VA", "in_prompt"]
        for chooser, reader in ("AB", "BA"):
            h = [[0.0 if min(parts) == 0 else len(parts) / sum(1 / part for part in parts)
                  for parts in table.fillna({("VA", half): 1.0})[[(name, half) for name in names]].to_numpy()]
                 for half in (chooser, reader)]  # fmt: skip
            best = max(range(len(table)), key=lambda k: (round(h[0][k], 9), -k))
            own = table.iloc[best][[(name, reader) for name in parts[1:]]].to_list()
            read.append([math.nan] * 4 if lacking[best] else [h[1][best], *own])
    means = dict(zip(parts, np.mean(read, axis=0), strict=True))
    return {name if name == "H" else f"{name}_at_H": float(value) for name, value in means.items()}


def t_quantile(df: int, p: float = 0.975) -> float:
    """Return Student's quantile by integrating its density: numpy has none."""
    x = np.linspace(0, 60, 600_001)
    constant = math.gamma((df + 1) / 2) / (math.sqrt(df * math.pi) * math.gamma(df / 2))
    density = constant * (1 + x**2 / df) ** (-(df + 1) / 2)
    mass = 0.5 + np.concatenate([[0], np.cumsum((density[1:] + density[:-1]) / 2 * np.diff(x))])
    return float(np.interp(p, mass, x))


def sign_flip(differences: np.ndarray) -> float:
    """Return the share of all sign patterns whose |sum| is at least the observed one."""
    sums = differences[:1]  # the first sign is +: a pattern and its mirror image have the same |sum|
    for value in differences[1:]:
        sums = np.concatenate([sums + value, sums - value])
    return float((np.abs(sums) >= abs(differences.sum()) - 1e-12).mean())


def mean_interval(values: np.ndarray, draws: int = 200_000, end_weight: float = 0.5) -> tuple[float, float]:
    """Return Gaffke's 95 % bounds of the mean of values in [0, 1], simulated.

    Each bound is a quantile of the mean under random weights. Beside the values stands the end of the range
    (0 for the lower bound, 1 for the upper one), with `end_weight` of the weight of a value.
    """
    weights = np.random.default_rng(0).dirichlet([1.0] * len(values) + [end_weight], size=draws)
    low, high = (np.quantile(weights @ np.append(values, end), q) for end, q in ((0, 0.025), (1, 0.975)))
    return float(low), float(high)


def guard(first: np.ndarray, second: np.ndarray) -> tuple[float, float]:
    """Return the interval of a difference from both means' intervals and the correlation (MOVER)."""
    (l1, u1), (l2, u2) = mean_interval(first), mean_interval(second)
    m1, m2, deviations = first.mean(), second.mean(), first.std() * second.std()
    r = ((first - m1) * (second - m2)).mean() / deviations if deviations else 0.0
    below, above = ((m1 - l1, u2 - m2), (u1 - m1, m2 - l2))
    reach = [math.sqrt(a**2 + b**2 - 2 * r * a * b) for a, b in (below, above)]
    return float(m1 - m2 - reach[0]), float(m1 - m2 + reach[1])


def interval(values: np.ndarray) -> tuple[float, float]:
    half = t_quantile(len(values) - 1) * values.std(ddof=1) / math.sqrt(len(values))
    return float(values.mean() - half), float(values.mean() + half)


def _compare_h(h: pd.DataFrame, method: str, rival: str) -> dict[str, float]:
    """Return the interval of a mean H and the paired difference; the latter where both are complete."""
    own, other = h.loc[method].to_numpy(), h.loc[rival].to_numpy()
    if np.isnan(own).any():
        return {}
    found = dict(zip(["H_low", "H_high"], mean_interval(own), strict=True))
    if method == rival or np.isnan(other).any() or len(own) < 2:
        return found
    gap = own - other
    names = ["H_difference", "H_difference_low", "H_difference_high", "H_p", "H_guard_low", "H_guard_high"]
    values = [gap.mean(), *interval(gap), sign_flip(gap), *guard(own, other)]
    return found | dict(zip(names, values, strict=True))


def board(folder: Path, rival: str = "gradient_sum") -> pd.DataFrame:
    """Return one row a method: AVA with interval, reach, in-prompt, difference to the rival with its test.

    Where all rows have other training data, so has the rival: `gradient_sum (retain-2 data)`.
    """
    grouped = read(folder).groupby(["method", "task"])
    results = {key: frontier(points) | read_out(points) for key, points in grouped}
    table = pd.DataFrame.from_dict(results, orient="index").rename_axis(["method", "task"])
    ava, h = table["AVA"].unstack("task"), table["H"].unstack("task")
    if rival not in ava.index:
        [rival] = ava.index[ava.index.str.startswith(f"{rival} (") & ava.index.str.endswith(" data)")]
    rows = {}
    for method in ava.index:
        own = table.loc[method].dropna(subset=["AVA"])  # missing is neither zero nor a value
        low, high = np.clip(interval(own["AVA"].to_numpy()), 0, 1)  # a share
        gap = (ava.loc[method] - ava.loc[rival]).dropna().to_numpy()
        rows[method] = {
            "concepts": len(own),
            "AVA": own["AVA"].mean(),
            "low": low,
            "high": high,
            "reach": own["reach"].mean(),
            "in_prompt": own["in_prompt"].mean(skipna=False),
            **table.loc[
                method, ["H", "UA_at_H", "VA_at_H", "in_prompt_at_H"]
            ].mean(),  # of concepts that have it
            "difference": gap.mean(),
            "difference_low": interval(gap)[0],
            "difference_high": interval(gap)[1],
            "p": sign_flip(gap) if method != rival else math.nan,
        } | _compare_h(h, method, rival)
    return pd.DataFrame.from_dict(rows, orient="index").sort_values("AVA", ascending=False)


if __name__ == "__main__":
    pd.set_option("display.width", 200, "display.max_columns", 20)
    print(board(Path(sys.argv[1])).round(4).to_string())

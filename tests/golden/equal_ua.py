"""Two methods at equal UA, and what the zeros of AVA decide, from published records: pandas and numpy only.

    python tests/golden/equal_ua.py results/emoji

A *point* is one configuration after one number of steps. Its UA and VA are means over all evaluation prompts
(both halves), then over training runs. A point that lacks a VA in one of its runs is left out: that run
forgot too little to be scored on retain prompts, so a mean of the others would be a mean over other runs.

At equal UA: the best VA among a method's points whose UA reaches the level (an envelope over steps and
configurations). A concept counts where both methods reach the level. Points are chosen and read on the same
prompts, for both methods alike; AVA chooses on one half and reads the other.

Prints tables; `tests/golden/test_equal_ua.py` pins their numbers.
"""

import itertools
import sys
from pathlib import Path

import numpy as np
import pandas as pd

try:
    from .recompute import LEVELS, interval, read, read_records, sign_flip
except ImportError:  # run as a script
    from recompute import LEVELS, interval, read, read_records, sign_flip


FIRST, SECOND = "balanced", "gradient_sum"
EQUAL = (0.70, 0.80, 0.90, 0.95)
ROUNDING = 1e-9
CONTROLS = ("finetune", "placebo")
LOST = (0.02, 0.05, 0.10, 0.15, 0.20, 1 / 3)


def points(rows: pd.DataFrame, partly: bool = False) -> pd.DataFrame:
    """Return UA and VA of every scored point. rows: what `recompute.read` returns.

    partly: keep points that lack a VA in some runs, with the mean VA of the other runs.
    """
    keys = ["task", "method", "config", "step"]
    mean = rows.groupby(keys)[["UA", "VA"]].agg(lambda values: values.mean(skipna=partly))
    return mean.dropna().reset_index()


def best_at(some: pd.DataFrame, level: float) -> float:
    """Return the best VA among points that reach a UA; NaN where none does."""
    return float(some.loc[some["UA"] >= level - ROUNDING, "VA"].max())


def hypervolume(some: pd.DataFrame) -> float:
    """Return the area under the envelope of VA over UA from 0 to 1; 0 beyond the highest UA reached."""
    area, last = 0.0, 0.0
    for level in sorted(set(some["UA"])):
        area += (level - last) * best_at(some, level)
        last = level
    return area


def harmonic(some: pd.DataFrame) -> float:
    """Return the best harmonic mean of UA and VA over a method's points."""
    return float((2 * some["UA"] * some["VA"] / (some["UA"] + some["VA"])).max())


def by_concept(found: pd.DataFrame, measure) -> pd.DataFrame:
    """Return a measure of each method's points: one row a concept, one column a method."""
    values = {key: measure(some) for key, some in found.groupby(["task", "method"])}
    return pd.Series(values).unstack()


def equal_ua(found: pd.DataFrame, level: float) -> pd.DataFrame:
    """Return VA at equal UA: one row a concept, NaN where a method does not reach the level."""
    table = by_concept(found, lambda some: best_at(some, level))[[FIRST, SECOND]]
    return table.assign(difference=table[FIRST] - table[SECOND])


def summarise(differences: pd.Series) -> dict[str, float]:
    """Return number, mean, 95 % t interval and sign-flip p of differences, one a concept."""
    values = differences.dropna().to_numpy()
    low, high = interval(values)
    half = (high - low) / 2
    return {
        "concepts": len(values),
        "mean": float(values.mean()),
        "half": half,
        "low": low,
        "high": high,
        "p": sign_flip(values),
    }


def read_levels(rows: pd.DataFrame) -> pd.DataFrame:
    """Return what AVA reads: one row a (method, task, direction, level); VA NaN where no point was chosen.

    UA_chooser, UA_scorer: UA of the chosen point on the half that chose it and on the other.
    """
    read_out = []
    for (method, task), some in rows.groupby(["method", "task"]):
        mean = some.groupby(["step", "config", "half"])[["UA", "VA", "in_prompt"]].mean().unstack("half")
        for level, (chooser, scorer) in itertools.product(LEVELS, ("AB", "BA")):
            allowed = mean[mean["UA", chooser] >= level - ROUNDING]
            row = {"method": method, "task": task, "chooser": chooser, "level": level}
            if len(allowed):  # ties: the first, as recompute.frontier
                best = allowed.loc[allowed["VA", chooser].round(9).idxmax()]
                row |= {"VA": best["VA", scorer], "in_prompt": best["in_prompt", scorer]}
                row |= {"UA_chooser": best["UA", chooser], "UA_scorer": best["UA", scorer]}
            read_out.append(row)
    return pd.DataFrame(read_out)


def decompose(levels: pd.DataFrame) -> dict[str, float]:
    """Return the difference of AVA, and its parts from levels that both methods or only one of them reach."""
    va = levels.pivot(index=["task", "chooser", "level"], columns="method", values="VA")[[FIRST, SECOND]]
    both = va.notna().all(axis=1)
    gap = va.fillna(0.0)[FIRST] - va.fillna(0.0)[SECOND]
    parts = {"AVA": gap, "both reach": gap.where(both, 0.0), "one reaches": gap.where(~both, 0.0)}
    return {name: float(values.mean()) for name, values in parts.items()}


def in_prompt_where_read(levels: pd.DataFrame) -> pd.Series:
    """Return in-prompt alignment over the levels that a method reached, one number a method."""
    return levels.dropna(subset=["VA"]).groupby("method")["in_prompt"].mean()


def missed(levels: pd.DataFrame) -> tuple[int, int]:
    """Return how many chosen points there are, and how many miss their level on the half that scores."""
    chosen = levels.dropna(subset=["VA"])
    return len(chosen), int((chosen["UA_scorer"] < chosen["level"] - ROUNDING).sum())


def read_steps(folder: Path) -> pd.DataFrame:
    """Return shares of training steps, one row a (method, λ, task): means over training runs.

    keeps: steps whose Δθ·g_r is at most 0; clipped: whose gradient's norm exceeds 1 before clipping;
    forget_first, forget_last: the denoising loss on forget images over the first and the last five steps.
    """
    rows = []
    for record in read_records(folder).values():
        if record.get("method", {}).get("name") not in (FIRST, SECOND) or record["status"] != "ok":
            continue
        log = {name: np.array(values, dtype=float) for name, values in record["log"].items()}
        rows.append(
            {
                "method": record["method"]["name"],
                "lam": record["method"]["config"]["lam"],
                "task": record["task"]["id"],
                "keeps": (log["update_dot_retain"] <= 0).mean(),
                "clipped": (log["norm_before_clipping"] > 1).mean(),
                "forget_first": log["forget_loss"][:5].mean(),
                "forget_last": log["forget_loss"][-5:].mean(),
            }
        )
    return pd.DataFrame(rows).groupby(["method", "lam", "task"]).mean()


def coverage(lost: float, concepts: int = 12, suites: int = 20_000) -> float:
    """Return how often a 95 % t interval over concepts holds the true mean, where some concepts are lost.

    A concept's value is 0 with probability `lost`, else normal about .95 (deviation .02).
    """
    generator = np.random.default_rng(0)
    values = generator.normal(0.95, 0.02, (suites, concepts))
    values[generator.random((suites, concepts)) < lost] = 0.0
    reach = (interval(np.arange(float(concepts)))[1] - (concepts - 1) / 2) / np.arange(concepts).std(ddof=1)
    off = np.abs(values.mean(axis=1) - 0.95 * (1 - lost))
    return float((off <= reach * values.std(axis=1, ddof=1)).mean())


def holm(p: pd.Series) -> pd.Series:
    """Return Holm's adjusted p-values."""
    ordered = p.sort_values()
    steps = ordered * (len(p) - np.arange(len(p)))
    return steps.cummax().clip(upper=1.0)


def families(levels: pd.DataFrame) -> pd.DataFrame:
    """Return p of every exploratory comparison with the rival: raw, Holm with controls, Holm without."""
    ava = levels.fillna({"VA": 0.0}).groupby(["task", "method"])["VA"].mean().unstack()
    others = [name for name in ava if name not in (FIRST, SECOND)]
    p = pd.Series({name: sign_flip((ava[name] - ava[SECOND]).dropna().to_numpy()) for name in others})
    own = p.drop([name for name in CONTROLS if name in p])
    return pd.DataFrame({"p": p, "with controls": holm(p), "without controls": holm(own)})


def main(folder: Path) -> None:
    rows = read(folder)
    found = points(rows)
    for level in EQUAL:
        table = equal_ua(found, level)
        print(f"\nVA at UA >= {level:.2f}: {summarise(table['difference'])}")
        print(table.round(3).to_string(na_rep="-"))
    partly = points(rows, partly=True)
    print(f"\npoints: {len(found)}, and {len(partly) - len(found)} that lack a VA in some runs")
    for name, measure in (("hypervolume", hypervolume), ("best harmonic mean", harmonic)):
        for some, note in ((found, ""), (partly, ", with points that lack a VA in some runs")):
            table = by_concept(some, measure)
            print(f"{name}, {FIRST} - {SECOND}{note}: {summarise(table[FIRST] - table[SECOND])}")
    levels = read_levels(rows)
    print(f"\ndifference of AVA: {decompose(levels)}")
    print("\nin-prompt alignment at the points that AVA reads:")
    print(in_prompt_where_read(levels).round(3).to_string())
    print("\nchosen points: {}, of which {} miss their level on the other half".format(*missed(levels)))
    print("\ntraining steps:")
    print(read_steps(folder).groupby(["method", "lam"]).agg(["min", "mean", "max"]).T.round(3).to_string())
    print(f"\n{families(levels).round(4).to_string(na_rep='-')}")
    print("\ncoverage of a 95 % t interval over 12 concepts, a share of which is lost:")
    for lost in LOST:
        print(
            f"{lost:.2f} lost: {coverage(lost):.3f}; no concept lost in {(1 - lost) ** 12:.3f} of the suites"
        )


if __name__ == "__main__":
    main(Path(sys.argv[1]))

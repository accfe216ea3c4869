"""H with retain sets of several kinds, from published records: pandas and numpy only.

    python tests/golden/diversity.py results/trial-narrow results/trial
    python tests/golden/diversity.py results/diversity-two results/diversity-six results/diversity-twelve

Each folder is an arm. The arms have the same concepts, training runs and prompts. Prints, for each method and
each pair of arms, H of both, the difference with its 95 % t interval over concepts and the exact sign-flip p,
and the same of VA at the last step; then UA, VA, in-prompt alignment and VA on given concepts by step.
`test_trial.py` and `test_diversity.py` pin the numbers that results/README.md prints.
"""

import itertools
import sys
from pathlib import Path

import pandas as pd

try:
    from .recompute import harmonic, interval, read, sign_flip
except ImportError:  # run as a script
    from recompute import harmonic, interval, read, sign_flip


ARM = ["method", "task", "arm"]


def arms(*folders: Path) -> pd.DataFrame:
    """Return the rows that `recompute.read` gives of the folders, cut to the cells that all have.

    Column `arm`: the folder's name. Methods have their names without the data's.
    """
    rows = pd.concat([read(folder).assign(arm=folder.name) for folder in folders])
    rows["method"] = rows["method"].str.partition(" (")[0]
    keys = ["method", "task", "config", "seed", "step", "half"]
    return rows[rows.groupby(keys)["arm"].transform("nunique") == len(folders)]


def compare(rows: pd.DataFrame, first: str, second: str, value: str = "H") -> pd.DataFrame:
    """Return a row for each method: H of two arms, first less second, its interval and p.

    value: another column of the rows is compared at the last step. The last row is the difference of the
    differences, first method less second.
    """
    if value == "H":
        table = pd.Series({key: harmonic(own) for key, own in rows.groupby(ARM)}).unstack()
    else:
        table = rows[rows["step"] == rows["step"].max()].groupby(ARM)[value].mean().unstack()
    change = (table[first] - table[second]).unstack(0).dropna()
    found = {name: [*table.loc[name].mean()[[first, second]], *_test(change[name])] for name in change}
    one, other = sorted(change)
    found[f"{one} - {other}"] = [float("nan")] * 2 + _test(change[one] - change[other])
    return pd.DataFrame(found, index=[first, second, "difference", "low", "high", "p"]).T


def by_step(rows: pd.DataFrame) -> pd.DataFrame:
    """Return the mean of the concepts of each method, step and arm."""
    columns = ["UA", "VA", "in_prompt", "VA_given"]
    return rows.groupby(["method", "step", "arm"])[columns].mean().unstack()


def _test(change: pd.Series) -> list[float]:
    values = change.to_numpy()
    return [values.mean(), *interval(values), sign_flip(values)]


if __name__ == "__main__":
    folders = [Path(name) for name in sys.argv[1:]]
    table = arms(*folders)
    for first, second in itertools.combinations([folder.name for folder in folders], 2):
        for value in ("H", "VA"):
            print(f"{value}\n{compare(table, first, second, value).round(3).to_string()}", end="\n\n")
    print(by_step(table).round(3).to_string())

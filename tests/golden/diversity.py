"""H with a narrow and with a diverse retain set, from published records: pandas and numpy only.

    python tests/golden/diversity.py results/trial-narrow results/trial

Both arms have the same concepts, the same training run and the same prompts. Prints, for each method, H of
both arms, the difference with its 95 % t interval over concepts and the exact sign-flip p, then UA, VA and
in-prompt alignment by step. `tests/golden/test_trial.py` pins the numbers that results/README.md prints.
"""

import sys
from pathlib import Path

import pandas as pd

try:
    from .recompute import harmonic, interval, read, sign_flip
except ImportError:  # run as a script
    from recompute import harmonic, interval, read, sign_flip


def arms(narrow: Path, diverse: Path) -> pd.DataFrame:
    """Return the rows that `recompute.read` gives of both folders, cut to the cells that both have.

    Column `arm`: narrow or diverse. Methods have their names without the data's.
    """
    first, second = (
        read(folder).assign(arm=arm) for folder, arm in ((narrow, "narrow"), (diverse, "diverse"))
    )
    first["method"] = first["method"].str.partition(" (")[0]
    keys = ["method", "task", "config", "seed", "step", "half"]
    both = first[keys].merge(second[keys])
    return pd.concat([first.merge(both), second.merge(both)])


def compare(rows: pd.DataFrame) -> pd.DataFrame:
    """Return a row for each method: H of both arms, their difference, its interval and p.

    The last row is the difference of the differences, first method less second.
    """
    groups = {key: harmonic(own) for key, own in rows.groupby(["method", "task", "arm"])}
    h = pd.Series(groups).unstack()
    change = (h["narrow"] - h["diverse"]).unstack(0).dropna()
    found = {name: [*h.loc[name].mean()[["narrow", "diverse"]], *_test(change[name])] for name in change}
    first, second = sorted(change)
    found[f"{first} - {second}"] = [float("nan")] * 2 + _test(change[first] - change[second])
    return pd.DataFrame(found, index=["narrow", "diverse", "difference", "low", "high", "p"]).T


def _test(change: pd.Series) -> list[float]:
    values = change.to_numpy()
    return [values.mean(), *interval(values), sign_flip(values)]


if __name__ == "__main__":
    table = arms(Path(sys.argv[1]), Path(sys.argv[2]))
    print(compare(table).round(3).to_string())
    print(
        table.groupby(["method", "step", "arm"])[["UA", "VA", "in_prompt"]]
        .mean()
        .unstack()
        .round(3)
        .to_string()
    )

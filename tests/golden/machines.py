"""The same cells measured on two machines, from published records: pandas and numpy only.

    python tests/golden/machines.py results/board results/board-attacks

A trained model's last bits depend on the processor, so two machines give two models of one cell. Prints, for
each method on the cells that both folders have: H in both, means over concepts; the number of points, and of
those with the same weights; the number of images, the share with the same pixels, and the number with another
verdict. `tests/golden/test_machines.py` pins the numbers that results/README.md prints.
"""

import sys
from pathlib import Path

import pandas as pd

try:
    from .recompute import read, read_items, read_out, read_records
except ImportError:  # run as a script
    from recompute import read, read_items, read_out, read_records

KEYS = ["point", "split", "prompt_id", "sample"]
VERDICT = ["found_subject", "found_style", "found_background", "target_found"]


def cells(first: Path, second: Path) -> pd.DataFrame:
    """Return one row a cell that both folders have: points and images, and how many of them are the same."""
    records = [read_records(folder) for folder in (first, second)]
    common = sorted(records[0].keys() & records[1].keys())
    items = [read_items(folder, common) for folder in (first, second)]
    rows = []
    for cell in common:
        one, two = (table[cell].set_index(KEYS).sort_index() for table in items)
        if not one.index.equals(two.index):
            raise SystemExit(f"{cell}: the folders have other images of it")
        own, other = ([point["fingerprint"] for point in record[cell]["points"]] for record in records)
        verdicts = (table[VERDICT].astype(object).where(table[VERDICT].notna(), "") for table in (one, two))
        rows.append({
            "method": records[0][cell]["method"]["name"],
            "points": len(own),
            "same weights": sum(a == b for a, b in zip(own, other, strict=True)),
            "images": len(one),
            "same pixels": int((one["image_sha256"] == two["image_sha256"]).sum()),
            "other verdict": int(next(verdicts).ne(next(verdicts)).any(axis=1).sum()),
        })  # fmt: skip
    return pd.DataFrame(rows, index=common)


def h(first: Path, second: Path) -> pd.DataFrame:
    """Return H in both folders, one row a method and task that both have."""
    tables = []
    for folder in (first, second):
        groups = read(folder).groupby(["method", "task"])
        tables.append(pd.Series({key: read_out(points)["H"] for key, points in groups}))
    return pd.concat(tables, axis=1, join="inner", keys=["H first", "H second"])


def summary(first: Path, second: Path) -> pd.DataFrame:
    """Return one row a method: the sums of `cells`, and mean H in both folders."""
    found = cells(first, second).groupby("method").sum()
    return found.join(h(first, second).groupby(level=0).mean())


if __name__ == "__main__":
    pd.set_option("display.width", 200, "display.max_columns", 20)
    made = summary(Path(sys.argv[1]), Path(sys.argv[2]))
    made.loc["in all"] = made.drop(columns=["H first", "H second"]).sum()
    print(made.sort_values("H first", ascending=False).round(4).to_string())

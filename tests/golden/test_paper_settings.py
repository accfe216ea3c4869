"""What results/README.md prints of `fashion-mnist-paper`, from the item rows alone."""

from pathlib import Path

from .recompute import read, read_items, read_records

FOLDER = Path(__file__).parents[2] / "results" / "fashion-mnist-paper"


def test_sixty_steps_of_the_papers_settings_forget_nothing() -> None:
    rows = read(FOLDER)
    last = rows[rows["step"] == 60].groupby("method")[["UA", "VA", "VA_given"]].mean().round(3)
    assert last.loc["gradient_sum"].to_list() == [0.016, 0.971, 0.980]
    assert last.loc["balanced"].to_list() == [0.014, 0.971, 0.978]
    records = read_records(FOLDER)
    bases = {r["task"]["id"]: cell for cell, r in records.items() if r["method"]["name"] == "none"}
    assert len(bases) == 10
    base = {}
    for task, cell in bases.items():
        items = read_items(FOLDER, [cell])[cell]
        found = items[items["split"] == "forget"]["target_found"]
        base[task] = 1 - found.astype(float).mean()
    by_class = rows[rows["step"] == 60].groupby(["method", "task"])["UA"].mean().unstack("method")
    apart = by_class.sub(by_class.index.map(base), axis=0).abs()
    assert apart.to_numpy().max() < 0.017

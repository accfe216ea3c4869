"""The notebook and README's Python example run as they are written, on the tiny world."""

import ast
import json
import linecache
import re
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).resolve().parents[2]
NOTEBOOK = ROOT / "bench" / "api" / "quickstart.ipynb"
SMALLEST = {
    "forget": 2,
    "forget_samples": 1,
    "retain_same": 2,
    "retain_other": 2,
    "retain_given": 1,
    "indirect": 1,
}


def execute(cells: list[str]) -> list[Any]:
    """Run a notebook's code cells in one namespace; return each one's last expression, None without one."""
    space: dict[str, Any] = {"__name__": "__main__"}
    shown = []
    for number, text in enumerate(cells):
        file = f"<cell {number}>"
        linecache.cache[file] = (len(text), None, text.splitlines(keepends=True), file)
        tree = ast.parse(text)
        last = tree.body.pop() if isinstance(tree.body[-1], ast.Expr) else None
        exec(compile(tree, file, "exec"), space)
        shown.append(eval(compile(ast.Expression(last.value), file, "eval"), space) if last else None)  # type: ignore[attr-defined]
    return shown


def parameters(tmp_path: Path, store: Path) -> str:
    place = {"out": str(tmp_path / "quickstart"), "store": str(store), "threads": 1}
    return (
        f"task = 'classes/cat-face@tiny'\nsizes = {SMALLEST}\n"
        f"settings = {{'steps': 2, 'checkpoints': [1, 2]}}\nplace = {place}\n"
    )


def test_the_notebook_runs(tmp_path: Path, session_store: Path) -> None:
    cells = [cell for cell in json.loads(NOTEBOOK.read_text())["cells"] if cell["cell_type"] == "code"]
    assert all(cell["outputs"] == [] for cell in cells), "stored without outputs"
    texts = [
        parameters(tmp_path, session_store)
        if "parameters" in cell["metadata"].get("tags", ())
        else "".join(cell["source"])
        for cell in cells
    ]
    shown = execute(texts)
    records, table, _, _, _, plot, mine, both, model = shown[2:]
    assert [record.method.name for record in records] == ["none", "balanced", "gradient_sum"]
    assert set(table.index) == {
        ("none", 0),
        *((name, step) for name in ("balanced", "gradient_sum") for step in (1, 2)),
    }
    assert "balanced" in plot.svg
    assert "shrink" not in plot.svg
    assert mine[-1].inline
    assert [point.step for point in mine[-1].points] == [1, 2, 3]
    assert "shrink (inline)" in both.svg
    assert model.points[0].values["UA"].value == 1.0
    for value in (records, plot, mine, both, model):
        assert value._repr_html_()


def test_the_notebooks_own_numbers_are_of_the_embedded_world() -> None:
    import unlearnbench as ub
    from unlearnbench.bench.planning.tasks import PromptSizes

    cells = json.loads(NOTEBOOK.read_text())["cells"]
    [own] = ["".join(cell["source"]) for cell in cells if "parameters" in cell["metadata"].get("tags", ())]
    space: dict[str, Any] = {}
    exec(own, space)
    assert space["task"] in [task.id for task in ub.list_tasks("emoji")]
    PromptSizes(**space["sizes"])


def test_the_readmes_example_runs(
    tmp_path: Path, session_store: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Word for word, but for the world, the numbers of prompts and the places."""
    found = re.search(r"<!-- python -->\n```python\n(.*?)```", (ROOT / "README.md").read_text(), re.DOTALL)
    assert found
    monkeypatch.chdir(tmp_path)
    small = f", sizes={SMALLEST}, store={str(session_store)!r}, threads=1)"
    text = found.group(1).replace("@emoji", "@tiny").replace("steps=40", "steps=2, checkpoints=[1, 2]")
    tool = ", images=2, sampling_steps=1, settings={'steps': 2, 'checkpoints': [1, 2]}, threads=1)"
    text = text.replace('"emoji", "cat face"', '"tiny", "cat face"').replace(
        'out="no-cats")', f'out="no-cats"{tool}'
    )
    for call in ("ub.run(", "ub.evaluate("):
        lines = text.splitlines(keepends=True)
        [place] = [number for number, line in enumerate(lines) if call in line]
        lines[place] = lines[place].rstrip().removesuffix(")") + small + "\n"
        text = "".join(lines)
    execute([text])
    assert (tmp_path / "runs").is_dir()

"""`export`: what TensorBoard and MLflow read back is what the records hold, and no more."""

from pathlib import Path

import pytest

import unlearnbench as ub
from unlearnbench.bench.cli.main import main

PUBLISHED = Path(__file__).resolve().parents[2] / "results" / "emoji"


@pytest.fixture(scope="module")
def path() -> Path:
    return sorted(PUBLISHED.glob("classes-cat-face-emoji.balanced.*.json"))[0]


def truth(path: Path) -> dict[tuple[str, int], float]:
    """Return (metric, step) -> value of a record, without what is missing."""
    table = ub.load(path)
    table = table[table["value"].notna()]
    return {(row["metric"], row["step"]): row["value"] for row in table.to_dict("records")}


def test_tensorboard_reads_the_values(path: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    reader = pytest.importorskip("tensorboard.backend.event_processing.event_accumulator")
    out = tmp_path / "events"
    assert main(["export", str(path), "--to", "tensorboard", "--out", str(out)]) == 0
    found = reader.EventAccumulator(str(out / path.stem), size_guidance={"scalars": 0}).Reload()
    values = {(tag, e.step): e.value for tag in found.Tags()["scalars"] for e in found.Scalars(tag)}
    wanted = truth(path)
    assert wanted
    for place, value in wanted.items():
        assert values[place] == pytest.approx(value, rel=1e-6)
    plain = {tag for tag, _ in values if "/" not in tag}
    assert plain == {metric for metric, _ in wanted}, "what is missing is left out"
    assert any(tag.startswith("training/") for tag, _ in values)
    assert main(["export", str(path), "--to", "tensorboard", "--out", str(out)]) == 2
    assert "events only add up" in capsys.readouterr().err


def test_mlflow_reads_the_values(path: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    mlflow = pytest.importorskip("mlflow")
    pytest.importorskip("alembic")
    uri = f"sqlite:///{tmp_path / 'm.db'}"
    command = ["export", str(path), "--to", "mlflow", "--uri", uri]
    assert main(command) == 0
    assert "1 new runs" in capsys.readouterr().out
    client = mlflow.MlflowClient(tracking_uri=uri)
    experiment = client.get_experiment_by_name("unlearnbench").experiment_id
    [run] = client.search_runs([experiment])
    for (metric, step), value in truth(path).items():
        history = {m.step: m.value for m in client.get_metric_history(run.info.run_id, metric)}
        assert history[step] == pytest.approx(value, rel=1e-9)
    record = ub.load(path)
    assert run.data.params["task"] == record["task"][0] == "classes/cat-face@emoji"
    assert run.data.params["config.steps"].isdecimal()
    assert main(command) == 0
    assert "0 new runs, 1 there already" in capsys.readouterr().out


def test_a_tracker_that_is_not_installed_is_named(
    path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    import sys

    monkeypatch.setitem(sys.modules, "mlflow", None)
    monkeypatch.setitem(sys.modules, "torch.utils.tensorboard", None)
    for tracker in ("mlflow", "tensorboard"):
        assert main(["export", str(path), "--to", tracker, "--out", str(tmp_path / "x")]) == 2
        assert f"pip install 'unlearnbench[{tracker}]'" in capsys.readouterr().err

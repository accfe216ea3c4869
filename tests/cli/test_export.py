"""`export`: what the trackers read back is what the records hold, and no more."""

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import unlearnbench as ub
from unlearnbench.bench.cli.main import main
from unlearnbench.bench.records.statements import list_records

PUBLISHED = Path(__file__).resolve().parents[2] / "results" / "emoji"


@pytest.fixture(scope="module")
def path() -> Path:
    return next(p for p in list_records(PUBLISHED) if p.match("classes-cat-face-emoji.balanced.*.json"))


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


def read_wandb(path: Path) -> Iterator[Any]:
    """Yield the messages of a `.wandb` file: LevelDB's log format, in blocks of 32 KiB."""
    from wandb.proto.wandb_internal_pb2 import Record

    data, at, whole = path.read_bytes(), 7, b""
    while at < len(data):
        left = 32768 - at % 32768
        if left < 7:
            at += left
            continue
        size, kind = int.from_bytes(data[at + 4 : at + 6], "little"), data[at + 6]
        whole += data[at + 7 : at + 7 + size]
        at += 7 + size
        if kind in (1, 4):  # complete, or the last part
            message = Record()
            message.ParseFromString(whole)
            whole = b""
            yield message


def test_wandb_reads_the_values(path: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    pytest.importorskip("wandb.proto")
    command = ["export", str(path), "--to", "wandb", "--out", str(tmp_path)]
    assert main(command) == 0
    assert "1 new runs, 0 there already; send them: wandb sync" in capsys.readouterr().out
    [file] = (tmp_path / "wandb").glob("offline-run-*/*.wandb")
    found: dict[tuple[str, int], float] = {}
    settings: dict[str, Any] = {}
    for message in read_wandb(file):
        kind = message.WhichOneof("record_type")
        if kind == "history":
            items = {i.key or ".".join(i.nested_key): json.loads(i.value_json) for i in message.history.item}
            found |= {(name, int(items["_step"])): value for name, value in items.items()}
        for run_config in [message.run.config] if kind == "run" else []:
            settings |= {item.key: json.loads(item.value_json) for item in run_config.update}
    wanted = truth(path)
    assert wanted
    for place, value in wanted.items():
        assert found[place] == pytest.approx(value, rel=1e-9), place
    plain = {name for name, _ in found if "/" not in name and not name.startswith("_")}
    assert plain == {metric for metric, _ in wanted}, "what is missing is left out"
    assert settings["task"] == "classes/cat-face@emoji"
    assert settings["unlearnbench.digest"][:32] in file.name
    assert main(command) == 0
    assert "0 new runs, 1 there already" in capsys.readouterr().out


def test_trackio_reads_the_values(path: Path, tmp_path: Path) -> None:
    pytest.importorskip("trackio")
    # the library reads where its projects are when it is imported
    places = {"TRACKIO_DIR": str(tmp_path), "PYTHONPATH": os.pathsep.join(sys.path)}
    script = tmp_path / "export.py"
    script.write_text(
        "import sys\nfrom unlearnbench.bench.cli.main import main\nsys.exit(main(sys.argv[1:]))\n"
    )
    command = [sys.executable, str(script), "export", str(path), "--to", "trackio", "--experiment", "demo"]
    said = [
        subprocess.run(command, env=os.environ | places, capture_output=True, text=True, check=True).stdout
        for _ in range(2)
    ]
    assert said[0].startswith("1 records: 1 new runs, 0 there already; look at them: trackio show")
    assert said[1].startswith("1 records: 0 new runs, 1 there already")
    read = (
        "import json, trackio\nfrom trackio.sqlite_storage import SQLiteStorage as s\n"
        "[run] = trackio.Api().runs('demo')\n"
        "print(json.dumps([run.config, s.get_logs('demo', run.name, run_id=run.id)]))"
    )
    answer = subprocess.run(
        [sys.executable, "-c", read], env=os.environ | places, capture_output=True, text=True
    )
    config, logs = json.loads(answer.stdout.splitlines()[-1])
    found = {(name, row["step"]): value for row in logs for name, value in row.items()}
    wanted = truth(path)
    for place, value in wanted.items():
        assert found[place] == pytest.approx(value, rel=1e-9), place
    plain = {name for name, _ in found if "/" not in name} - {"step", "timestamp"}
    assert plain == {metric for metric, _ in wanted}, "what is missing is left out"
    assert config["task"] == "classes/cat-face@emoji"


def test_a_place_that_a_tracker_does_not_take_is_refused(
    path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for tracker, said in (("mlflow", "--uri names the place"), ("trackio", "TRACKIO_DIR names the place")):
        assert main(["export", str(path), "--to", tracker, "--out", "x"]) == 2
        assert f"--out x: not of {tracker}; {said}" in capsys.readouterr().err


def test_a_tracker_that_is_not_installed_is_named(
    path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    for module in ("mlflow", "torch.utils.tensorboard", "wandb", "trackio"):
        monkeypatch.setitem(sys.modules, module, None)
    monkeypatch.chdir(tmp_path)
    for tracker in ("mlflow", "tensorboard", "wandb", "trackio"):
        assert main(["export", str(path), "--to", tracker]) == 2
        assert f"pip install 'unlearnbench[{tracker}]'" in capsys.readouterr().err

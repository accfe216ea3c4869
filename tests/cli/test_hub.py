"""`push` and `pull` against a stand-in of the Hub: what is sent, what is refused, what comes back."""

import json
from collections.abc import Iterator
from pathlib import Path

import pytest
from huggingface_hub import DatasetCard, ModelCard, constants

import unlearnbench as ub
from unlearnbench.bench.cli.main import main
from unlearnbench.bench.measuring.stored import Origin
from unlearnbench.bench.models.outside import open_holder
from unlearnbench.bench.records.chosen import choose_point, copy_record
from unlearnbench.bench.records.load import load_one
from unlearnbench.bench.records.record import write_record
from unlearnbench.bench.records.statements import list_records
from unlearnbench.bench.running.catalog import registry
from unlearnbench.bench.unlearning.tool import UnlearnRequest, unlearn_model

from .hub_server import TOKEN, Hub, serve

TASK = "classes/cat-face@emoji"
PUBLISHED = Path(__file__).resolve().parents[2] / "results" / "emoji"


@pytest.fixture
def hub(monkeypatch: pytest.MonkeyPatch) -> Iterator[Hub]:
    monkeypatch.setenv("HF_TOKEN", TOKEN)
    with serve() as hub:
        monkeypatch.setattr(constants, "ENDPOINT", hub.url)
        template = hub.url + "/{repo_id}/resolve/{revision}/{filename}"
        monkeypatch.setattr(constants, "HUGGINGFACE_CO_URL_TEMPLATE", template)
        monkeypatch.setattr(constants, "HF_HUB_DISABLE_XET", True)  # its servers have no stand-in
        yield hub


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    base = registry("worlds")["tiny"].load()().pipeline_folder
    order = UnlearnRequest(
        str(base),
        "cat face",
        anchor="dog face",
        images=2,
        config={"steps": 1, "checkpoints": [1], "batch": 2},
        steps=1,
    )
    return unlearn_model(order, tmp_path_factory.mktemp("made") / "cat-gone")


@pytest.fixture
def measured(tmp_path: Path) -> Path:
    """Return a folder of two records: of a method and of the base model."""
    folder = tmp_path / "records"
    for method in ("none", "balanced"):
        name = f"classes-cat-face-emoji.{method}.*.s0.json"
        copy_record(next(p for p in list_records(PUBLISHED) if p.match(name)), folder)
    return folder


def record_of(folder: Path, method: str = "balanced") -> Path:
    [path] = folder.glob(f"*.{method}.*.json")
    return path


@pytest.fixture
def own(model: Path, measured: Path, tmp_path: Path) -> Path:
    """Return a record whose points have the fingerprint of the model."""
    loaded = load_one(record_of(measured))
    record, items = loaded.record, loaded.items
    sampling = Origin(record, record.points[0]).sampling
    fingerprint = open_holder(str(model), model, sampling, "cpu").fingerprint
    points = [point.model_copy(update={"fingerprint": fingerprint}) for point in record.points]
    return write_record(record.model_copy(update={"points": points}), items, loaded.sheet, tmp_path / "own")


def test_a_model_goes_and_comes_back_with_its_measured_values(
    hub: Hub, model: Path, own: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = own
    (model / ".notes").write_text("private")
    (model / "link.txt").symlink_to(path)
    command = ["push", str(model), "--to", "me/cat-gone", "--record", str(path), "--licence", "apache-2.0"]
    try:
        assert main(command) == 0
    finally:
        for name in (".notes", "link.txt"):
            (model / name).unlink()
    said = capsys.readouterr().out
    assert "left out: .notes" in said
    assert "left out: link.txt" in said
    assert hub.private == {"me/cat-gone": True}
    files = hub.repos["model", "me/cat-gone"]
    made = {p.relative_to(model).as_posix(): p.read_bytes() for p in model.rglob("*") if p.is_file()}
    assert files.keys() == made.keys()
    assert all(files[name] == made[name] for name in made if name != "README.md")
    card = ModelCard(files["README.md"].decode())
    assert card.data.license == "apache-2.0"
    assert {"unlearnbench", "balanced"} <= set(card.data.tags)
    point = choose_point(load_one(path)).point
    truth = {n: v.value for n, v in point.values.items() if v.value is not None}
    assert {r.metric_type: r.metric_value for r in card.data.eval_results} == truth
    assert {r.dataset_name for r in card.data.eval_results} == {TASK}
    assert main(["pull", "me/cat-gone", "--kind", "model", "--out", str(tmp_path / "back")]) == 0
    back = {
        p.relative_to(tmp_path / "back").as_posix() for p in (tmp_path / "back").rglob("*") if p.is_file()
    }
    assert back == made.keys()
    assert (tmp_path / "back" / "unlearning.json").read_bytes() == made["unlearning.json"]


def test_values_of_another_model_are_refused(
    hub: Hub, model: Path, measured: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["push", str(model), "--to", "me/x", "--record", str(record_of(measured))]) == 2
    assert "was not measured on" in capsys.readouterr().err
    assert not hub.repos


def test_records_go_and_come_back(
    hub: Hub, measured: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = measured
    (folder / "notes.txt").write_text("private")
    assert main(["push", str(folder), "--to", "me/records", "--public"]) == 0
    assert "left out: notes.txt" in capsys.readouterr().out
    assert hub.private == {"me/records": False}
    card = DatasetCard(hub.repos["dataset", "me/records"]["README.md"].decode())
    assert "unlearnbench" in card.data.tags
    assert TASK in card.text
    assert main(["pull", "me/records", "--out", str(tmp_path / "back")]) == 0
    for path in set(measured.iterdir()) - {measured / "notes.txt"}:
        assert (tmp_path / "back" / path.name).read_bytes() == path.read_bytes()
    assert not (tmp_path / "back" / ".cache").exists()
    assert main(["validate", str(tmp_path / "back")]) == 0


def test_records_that_fail_their_checks_are_not_sent(
    hub: Hub, measured: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = measured
    path = record_of(folder)
    content = json.loads(path.read_text())
    content["points"][0]["values"]["UA"]["value"] = 0.123
    path.write_text(json.dumps(content))
    assert main(["push", str(folder), "--to", "me/records"]) == 1
    assert "nothing was sent" in capsys.readouterr().out
    assert not hub.requests


def test_nothing_is_sent_without_token_or_repository(
    hub: Hub, model: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit):
        main(["push", str(model)])
    assert main(["push", str(model), "--to", "cat-gone"]) == 2
    assert "--to 'cat-gone': a repository on the Hub is owner/name" in capsys.readouterr().err
    monkeypatch.setenv("HF_TOKEN", "hf_wrong")
    assert main(["push", str(model), "--to", "me/x"]) == 2
    [line] = capsys.readouterr().err.splitlines()
    assert "Invalid token" in line
    monkeypatch.delenv("HF_TOKEN")
    monkeypatch.setattr(constants, "HF_TOKEN_PATH", str(tmp_path / "none"))
    hub.requests.clear()
    assert main(["push", str(model), "--to", "me/x"]) == 2
    assert "hf auth login" in capsys.readouterr().err
    assert not hub.requests
    assert not hub.repos


@pytest.mark.parametrize("command", ["push", "pull"])
def test_an_unreachable_hub_is_one_line(
    command: str,
    model: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setenv("HF_TOKEN", TOKEN)
    monkeypatch.setattr(constants, "ENDPOINT", "http://127.0.0.1:9")
    words = {"push": [str(model), "--to", "me/x"], "pull": ["me/x", "--out", str(tmp_path / "out")]}
    assert main([command, *words[command]]) == 2
    lines = [line for line in capsys.readouterr().err.splitlines() if line.startswith("unlearnbench:")]
    assert len(lines) == 1
    assert "http://127.0.0.1:9 cannot be reached" in lines[0]
    assert not (tmp_path / "out").exists()


def test_what_is_no_model_is_not_kept(hub: Hub, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    hub.repos["model", "me/code"] = {"README.md": b"x", "run.py": b"x", "weights.bin": b"x"}
    assert main(["pull", "me/code", "--kind", "model", "--out", str(tmp_path / "out")]) == 2
    assert "holds no model" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()
    assert not any("run.py" in r or "weights.bin" in r for r in hub.requests)
    assert main(["pull", "me/nothing", "--out", str(tmp_path / "out")]) == 2
    assert "no such repository" in capsys.readouterr().err


@pytest.mark.slow
def test_a_record_of_evaluate_is_taken(
    hub: Hub, model: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    sizes = dict.fromkeys(("forget", "retain_same", "retain_other", "retain_given", "indirect"), 1)
    task, store = "classes/cat-face@tiny", tmp_path / "store"
    ub.evaluate(model, task, sizes=sizes, out=tmp_path / "runs", store=store, device="cpu")
    path = record_of(tmp_path / "runs", model.name)
    assert main(["push", str(model), "--to", "me/x", "--record", str(path)]) == 0
    assert task in hub.repos["model", "me/x"]["README.md"].decode()

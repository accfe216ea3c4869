"""`--limit`, `--only-failures`, `--tag`; `show` and `watch`: what happened, without a page."""

from pathlib import Path

import pytest
from PIL import Image

import unlearnbench as ub
from unlearnbench.bench.checking.known import make_known
from unlearnbench.bench.checking.validate import validate
from unlearnbench.bench.cli.main import main
from unlearnbench.leaderboard.ranking.declared import read_method_points

TASK = "classes/cat-face@tiny"


@pytest.fixture(scope="module")
def limited(session_store: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a run with a limit of two prompts."""
    out = tmp_path_factory.mktemp("limited")
    words = ["run", "--task", TASK, "--method", "placebo", "--limit", "2", "--tag", "run=nightly", "who=Ada"]
    assert main([*words, "--out", str(out), "--store", str(session_store), "--threads", "1"]) == 0
    return out


def record_of(folder: Path, method: str) -> Path:
    return next(folder.glob(f"*.{method}.*.json"))


def test_a_limited_record_says_so_and_is_never_ranked(
    limited: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = record_of(limited, "placebo")
    [*_, record] = [found for found in [ub.load(path)]]
    assert record["row"].unique().tolist() == ["placebo (limit 2)"]
    from unlearnbench.bench.records.load import load
    from unlearnbench.bench.records.record import read_record

    known = read_record(path)
    assert known.limit == 2
    assert known.suite == "demo-limit-2"
    assert known.tags == {"run": "nightly", "who": "Ada"}
    assert all(group.is_control and not group.is_home for group in read_method_points(load(limited)))
    assert "failed" not in {check.state for check in validate(path, make_known())}
    assert main(["submit", str(path), "--out", str(tmp_path / "claim.zip")]) == 2
    assert "limit: it has at most 2 prompts" in capsys.readouterr().err
    candidate = ["--candidate", str(path), "--policy", "model-update"]
    assert main(["check", "--baseline", str(path), *candidate]) == 3


def test_a_limit_never_replaces_the_whole(session_store: Path, tmp_path: Path) -> None:
    options = {"tasks": TASK, "methods": ["none"], "out": tmp_path, "store": session_store, "threads": 1}
    sizes = {"forget": 2, "forget_samples": 1, "retain_same": 1, "retain_other": 1, "retain_given": 1}
    whole = ub.run(sizes=sizes, **options)[0]
    with pytest.raises(ub.UserError, match="was measured without a limit"):
        ub.run(limit=1, **options)
    assert whole.limit is None


def test_tags_are_words(limited: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for tag, said in (("nightly", "not of the form key=value"), ("a=<script>", "--tag a: ")):
        assert main(["run", "--task", TASK, "--tag", tag, "--out", str(tmp_path)]) == 2
        assert said in capsys.readouterr().err
    assert not list(tmp_path.glob("*.json"))


def test_only_what_failed_is_run_again(session_store: Path, tmp_path: Path) -> None:
    def broken(pipeline: object, problem: object, config: object, save: object) -> None:
        raise ValueError("on purpose")

    options = {"tasks": TASK, "limit": 1, "out": tmp_path, "store": session_store, "threads": 1}
    first = ub.run(methods=[broken, "none"], **options)
    assert len(first.failed) == 1
    again = ub.run(methods=[broken, "none"], only_failures=True, **options)
    assert again.cells == 1
    assert again.failed == first.failed
    with pytest.raises(ub.UserError, match="--only-failures: no run of these cells failed"):
        ub.run(methods=["none"], only_failures=True, **options)


def test_show_prints_values_and_what_failed(
    limited: Path, session_store: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path, sheet = record_of(limited, "placebo"), tmp_path / "worst.png"
    assert main(["show", str(path), "--sheet", str(sheet), "--store", str(session_store)]) == 0
    said = capsys.readouterr().out
    record = ub.load(path)
    found = record[record["metric"] == "UA"]["value"].item()
    assert f"{found:.3f}" in next(line for line in said.splitlines() if line.startswith("UA "))
    items = ub.load(path, items=True)
    failing = int(items[items["split"] == "forget"]["target_found"].eq(True).sum())
    assert f"forget: {failing} images fail: the target is still there" in said
    assert "tags: run=nightly, who=Ada" in said
    assert "extra unlearnbench[imagenet]" in " ".join(said.split()), "square brackets are text"
    with Image.open(sheet) as picture:
        assert picture.width == min(failing, 6) * 128


def test_show_of_a_failed_run_gives_its_error(
    session_store: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    def broken(pipeline: object, problem: object, config: object, save: object) -> None:
        raise ValueError("on purpose")

    ub.run(tasks=TASK, methods=[broken], limit=1, out=tmp_path, store=session_store, threads=1, skip=["none"])
    assert main(["show", str(next(tmp_path.glob("*.broken.*.json")))]) == 1
    assert "failed: ValueError: on purpose" in capsys.readouterr().out


def test_watch_prints_each_record_once(limited: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["watch", str(limited), "--once"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == len(list(limited.glob("*.json")))
    assert any(line.startswith(f"{TASK} placebo seed 0: UA ") for line in lines)
    assert main(["watch", str(limited), "--records", "2", "--every", ".01"]) == 0
    assert main(["watch", str(limited / "nowhere"), "--once"]) == 2
    assert main(["watch", str(limited / "nowhere"), "--records", "0"]) == 0
    assert "nowhere: not there yet; waiting for its first record" in capsys.readouterr().err


def test_a_run_prints_each_cell_as_it_is_measured(
    session_store: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    options = {"tasks": TASK, "limit": 1, "out": tmp_path, "store": session_store, "threads": 1}
    ub.run(methods=["none"], **options)
    said = capsys.readouterr().err
    assert "[1/1] classes/cat-face@tiny none seed 0" in said
    assert "classes/cat-face@tiny none seed 0: UA " in said

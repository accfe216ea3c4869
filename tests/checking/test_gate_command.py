"""The gate as a command: its statuses, its reports, and the commands of its README from end to end."""

import re
import shutil
from pathlib import Path
from xml.etree import ElementTree

import pytest
import yaml

from unlearnbench.bench.cli.main import main
from unlearnbench.bench.records.record import read_record
from unlearnbench.bench.running.catalog import registry

from ..forked import run_cli

ROOT = Path(__file__).parents[2]
README = (ROOT / "leaderboard" / "README.md").read_text(encoding="utf-8")
POLICY = """
name = "tiny"
[sizes]
forget = 2
forget_samples = 1
retain_same = 2
retain_other = 2
retain_given = 1
indirect = 1
[[rules]]
metric = "VA"
drop_at_most = 0.05
"""


def _run(*words: str) -> tuple[int, str]:
    """Return the exit status and the lines on standard error of a process of its own."""
    done = run_cli(*words)
    return done.returncode, done.stderr


@pytest.mark.parametrize("command", ["check", "rerun"])
@pytest.mark.parametrize("words", [[], ["--nonsense"], ["--threads", "many"]])
def test_a_mistake_in_the_options_is_no_verdict(command: str, words: list[str]) -> None:
    status, said = _run(command, *words)
    assert status == 3
    assert said.count("\n") == 1


def test_other_commands_keep_their_status() -> None:
    assert _run("run", "--nonsense")[0] == 2
    assert _run("check", "--help")[0] == 0


@pytest.fixture(scope="module")
def gate(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a folder with a policy and the baseline that README's one command makes for it."""
    folder = tmp_path_factory.mktemp("gate")
    (folder / "policy.toml").write_text(POLICY)
    shutil.copytree(Path(str(registry("worlds")["tiny"].load()().pipeline_folder)), folder / "model")
    words = [
        "evaluate",
        "--model",
        str(folder / "model"),
        "--task",
        "classes/cat-face@tiny",
        "--name",
        "released",
    ]
    words += ["--policy", str(folder / "policy.toml"), "--out", str(folder / "records"), *_store(folder)]
    assert main(words) == 0
    return folder


def _store(folder: Path) -> list[str]:
    return ["--store", str(folder / "store"), "--threads", "1"]


def _baseline(gate: Path) -> Path:
    return next((gate / "records").glob("*.released.*.json"))


def _check(gate: Path, *more: str, policy: str = "policy.toml", candidate: str = "") -> int:
    words = ["check", "--baseline", str(_baseline(gate)), "--candidate", candidate or str(gate / "model")]
    return main([*words, "--policy", str(gate / policy), *_store(gate), *more])


def test_the_readmes_commands_make_a_baseline_and_check_against_it(gate: Path, tmp_path: Path) -> None:
    for option in ("--policy gate/policy.toml", "--like RECORD"):
        assert option in README
    assert _check(gate, "--out", str(tmp_path / "report")) == 0
    text = (tmp_path / "report" / "summary.md").read_text()
    record = read_record(_baseline(gate))
    assert "**Verdict: passed**" in text
    assert record.task.id in text.replace("\\", "")
    assert len(re.findall(r"digest [0-9a-f]{64}", text)) == 3
    assert re.search(r"date: \d{4}-\d\d-\d\d", text.replace("\\", ""))
    assert "![" not in text
    junit = ElementTree.parse(tmp_path / "report" / "junit.xml").getroot()
    properties = {one.attrib["name"]: one.attrib["value"] for one in junit.iter("property")}
    assert properties["verdict"] == "passed"


def test_a_baseline_of_other_sizes_is_drawn_like_itself(
    gate: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (gate / "larger.toml").write_text(POLICY.replace("retain_same = 2", "retain_same = 4"))
    assert _check(gate, "--out", str(tmp_path / "report"), policy="larger.toml") == 0
    assert "other [sizes] than the policy's" in capsys.readouterr().err


def test_evaluate_draws_what_a_record_was_drawn_with(gate: Path, tmp_path: Path) -> None:
    words = ["evaluate", "--model", str(gate / "model"), "--task", "classes/cat-face@tiny", "--name", "next"]
    assert main([*words, "--like", str(_baseline(gate)), "--out", str(tmp_path), *_store(gate)]) == 0
    again = read_record(next(tmp_path.glob("*.next.*.json")))
    assert again.prompts_sha256 == read_record(_baseline(gate)).prompts_sha256
    assert _check(gate, candidate=str(next(tmp_path.glob("*.next.*.json")))) == 0


def test_an_output_that_cannot_be_made_is_no_verdict(gate: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (gate / "file").write_text("")
    for out in (gate / "file", gate / "file" / "report"):
        assert _check(gate, "--out", str(out)) == 3
        said = capsys.readouterr().err
        assert said.count("\n") == 1
        assert f"--out {out}" in said


def test_what_cannot_be_read_is_no_verdict(gate: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (gate / "binary.toml").write_bytes(b"\xff\xfe\x00")
    for policy in ("records", "absent.toml", "binary.toml"):
        assert _check(gate, policy=policy) == 3
    (gate / "list.json").write_text("[1, 2]")
    (gate / "deep.json").write_text("[" * 200_000)
    for candidate in ("list.json", "deep.json", "absent.json", "records"):
        assert _check(gate, candidate=str(gate / candidate)) == 3
        said = capsys.readouterr().err
        assert "Traceback" not in said
        assert said.splitlines()[-1].startswith("unlearnbench: ")


def _workflow() -> dict:
    blocks = re.findall(r"```yaml\n(.*?)```", README, re.DOTALL)
    return next(found for block in blocks if (found := yaml.safe_load(block))["name"] == "gate")


def test_the_workflow_judges_by_the_base_branch() -> None:
    """A pull request that loosens its own policy, or brings another baseline, would pass itself."""
    flow = _workflow()
    assert flow["permissions"] == {"contents": "read"}
    assert "pull_request_target" not in str(flow)
    steps = flow["jobs"]["gate"]["steps"]
    places = {step["with"]["path"]: step["with"] for step in steps if "checkout" in step.get("uses", "")}
    assert "base.sha" in places["base"]["ref"]
    assert places["unlearnbench"]["ref"]
    assert all(place["persist-credentials"] is False for place in places.values())
    [check] = [step["run"] for step in steps if "unlearnbench check" in step.get("run", "")]
    words = check.split()
    for option in ("--baseline", "--policy"):
        assert words[words.index(option) + 1].startswith("base/")
    assert words[words.index("--candidate") + 1].startswith("candidate/")

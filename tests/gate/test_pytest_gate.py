"""The gate as a fixture, in a team's own tests: passes, fails with the findings, and names a mistake."""

from pathlib import Path

import pytest

from ..leaderboard.synthetic import write

pytest_plugins = ["pytester"]
TEST = """
def test_the_update(unlearning_gate):
    found = unlearning_gate({baseline!r}, {candidate!r}, {policy!r}, out="reports")
    assert [f.state for f in found] == ["passed"]
"""


@pytest.fixture
def run(pytester: pytest.Pytester, tmp_path: Path) -> object:
    """Return run(rule, candidate) -> the outcome of one test against a synthetic baseline."""
    baseline = write(tmp_path, "balanced")
    write(tmp_path, "none")

    def run_test(rule: str, candidate: str = "balanced") -> pytest.RunResult:
        policy = tmp_path / "policy.toml"
        policy.write_text(f'name = "mine"\n[[rules]]\n{rule}\n')
        other = baseline if candidate == "balanced" else tmp_path / candidate
        pytester.makepyfile(TEST.format(baseline=str(baseline), candidate=str(other), policy=str(policy)))
        return pytester.runpytest_inprocess("-p", "no:benchmark")

    return run_test


def test_a_policy_kept_passes_and_leaves_reports(run: object, pytester: pytest.Pytester) -> None:
    run('metric = "VA"\ndrop_at_most = 0.01').assert_outcomes(passed=1)  # type: ignore[operator]
    assert (pytester.path / "reports" / "junit.xml").exists()


def test_what_cannot_be_told_fails_with_the_finding(run: object) -> None:
    result = run('metric = "UA"\nat_least = 0.9999')  # type: ignore[operator]
    result.assert_outcomes(failed=1)
    result.stdout.fnmatch_lines(["*could not tell: UA at least 0.9999*prompts would tell*"])


def test_a_mistake_is_one_line(run: object) -> None:
    result = run('metric = "VA"\ndrop_at_most = 0.01', "absent.json")  # type: ignore[operator]
    result.assert_outcomes(failed=1)
    result.stdout.fnmatch_lines(["*UsageError: unlearning_gate: *absent.json*"])

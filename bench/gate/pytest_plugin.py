"""The gate as a pytest fixture: a team's own tests assert that a model update keeps to a policy.

    def test_the_update(unlearning_gate):
        unlearning_gate(baseline="released.json", candidate="models/next", policy="model-update")

pytest finds it by the entry point `pytest11`; nothing heavy is imported before the fixture is called.
"""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest


@pytest.fixture
def unlearning_gate() -> Callable[..., list[Any]]:
    """Return gate(baseline, candidate, policy, **options) -> findings; it fails the test unless all passed.

    baseline: a record. candidate: a record or a model as `evaluate` takes it. policy: a TOML file or an
    example's name. options: those of `unlearnbench check`, `out="reports"` for `--out reports`. A finding
    that could not be told fails too: raise the policy's [sizes]. What cannot be judged at all is an error.
    """
    return assert_policy


def assert_policy(
    baseline: str | Path, candidate: str | Path, policy: str | Path, **options: Any
) -> list[Any]:
    """Return the findings; ends the test with a table of what failed where one did not pass."""
    from ..errors import UserError
    from .check import verdict
    from .report import to_lines
    from .sides import judge, read_request

    try:
        request = read_request(baseline=baseline, candidate=candidate, policy=policy, **options)
        title, findings, worst = judge(request)
    except UserError as error:
        raise pytest.UsageError(f"unlearning_gate: {error}") from None
    if verdict(findings):
        pytest.fail("\n".join([title, *to_lines(findings), *worst["prompt"]]), pytrace=False)
    return findings

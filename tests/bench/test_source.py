"""The source digest follows imports, and sees a changed byte."""

from pathlib import Path

import pytest

from unlearnbench.bench import source
from unlearnbench.bench.source import source_digest, source_files


def test_a_method_reaches_the_modules_that_train_it() -> None:
    names = set(source_files("unlearnbench.methods.balanced"))
    assert {
        "unlearnbench.methods.training.combine",
        "unlearnbench.bench.training.trainer",
        "unlearnbench.bench.training.objectives",
    } <= names
    assert not any("leaderboard" in name or name.endswith(".cli") for name in names)


def test_a_changed_statement_changes_the_digest_and_a_comment_does_not(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = source_digest("unlearnbench.methods.balanced")
    assert source_digest("unlearnbench.methods.balanced") == before
    changed = tmp_path / "combine.py"
    real = source._origin("unlearnbench.methods.training.combine")
    assert real is not None
    origin = source._origin
    monkeypatch.setattr(source, "_origin", lambda m: changed if m.endswith(".combine") else origin(m))
    changed.write_text(real.read_text() + "\n# changed\n")
    assert source_digest("unlearnbench.methods.balanced") == before
    changed.write_text(real.read_text() + "\nCHANGED = 1\n")
    assert source_digest("unlearnbench.methods.balanced") != before
    assert source_digest("unlearnbench.methods.finetune") == source_digest("unlearnbench.methods.finetune")

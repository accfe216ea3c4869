"""Registries: built-ins by file name, close matches, duplicates, plug-ins that do not load, no torch."""

import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from unlearnbench.bench import registry as module
from unlearnbench.bench.errors import UserError
from unlearnbench.bench.registry import Registry, make_entry, read_folder, read_register
from unlearnbench.bench.running.catalog import PACKAGES, registry


def test_unknown_name_raises_with_close_matches() -> None:
    with pytest.raises(UserError, match="did you mean balanced"):
        registry("methods")["balancd"]


def test_unknown_name_without_a_close_one_lists_what_is_known() -> None:
    entries: Registry[int] = Registry("methods")
    entries.add("balanced", 1)
    with pytest.raises(UserError, match="known: balanced"):
        entries["zzzz"]


def test_duplicates_raise() -> None:
    entries: Registry[int] = Registry("methods")
    entries.add("a", 1)
    with pytest.raises(UserError, match="registered twice"):
        entries.add("a", 2)


@pytest.mark.parametrize("kind", sorted(PACKAGES))
def test_every_builtin_has_a_summary_and_loads(kind: str) -> None:
    entries = registry(kind).values()
    assert entries
    for entry in entries:
        assert 10 < len(entry.summary) <= 160
        assert callable(entry.load()) or kind == "metrics"


def test_reading_a_folder_executes_nothing(tmp_path: Path) -> None:
    (tmp_path / "mine.py").write_text('raise SystemExit("executed")\nREGISTER = {"summary": "mine"}\n')
    (tmp_path / "plain.py").write_text("x = 1\n")
    entries = list(read_folder("somewhere", tmp_path))
    assert [(e.name, e.module, e.summary) for e in entries] == [("mine", "somewhere.mine", "mine")]
    assert read_register(tmp_path / "plain.py") is None


def test_a_misspelt_key_names_the_module() -> None:
    with pytest.raises(UserError, match=r"pkg\.mine: REGISTER: .*sumary"):
        make_entry("mine", "pkg.mine", {"sumary": "x"})


def test_presets_are_read_with_the_entry(tmp_path: Path) -> None:
    register = 'REGISTER = {"summary": "mine", "pipelines": ["sd"]}\n'
    (tmp_path / "mine.py").write_text(register + 'PRESETS = {"paper": {"rate": 1e-5, "clip": None}}\n')
    [entry] = read_folder("somewhere", tmp_path)
    assert entry.presets == {"paper": {"rate": 1e-5, "clip": None}}
    assert entry.pipelines == ("sd",)
    assert hash(entry)


@pytest.mark.parametrize("presets", ["[1]", '{"paper": 3}', '"paper"'])
def test_presets_that_are_no_tables_name_the_module(tmp_path: Path, presets: str) -> None:
    (tmp_path / "mine.py").write_text(f'REGISTER = {{"summary": "mine"}}\nPRESETS = {presets}\n')
    with pytest.raises(UserError, match=r"somewhere\.mine: PRESETS: not a table of settings"):
        list(read_folder("somewhere", tmp_path))


class _Point:
    name, group = "broken", "unlearnbench.methods"

    def __init__(self, target: str) -> None:
        self.module = target
        self.dist = type("D", (), {"name": "broken-dist"})()


@pytest.mark.parametrize("target", ["no_such_package.no_module", "json"])
def test_a_plugin_that_does_not_load_names_its_distribution(
    target: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "entry_points", lambda group: [_Point(target)])
    methods = registry("methods")
    assert methods["balanced"].name == "balanced"
    with pytest.raises(UserError, match="broken-dist"):
        _ = methods["broken"]


def test_an_entry_whose_import_fails_names_it() -> None:
    entry = make_entry("mine", "no_such_module", {"summary": "x", "function": "f"}, "some-dist")
    with pytest.raises(UserError, match=r"mine \(from some-dist\) does not load"):
        entry.load()


def test_listing_imports_no_torch() -> None:
    code = (
        "import sys; from unlearnbench.bench.cli.main import main; "
        "kinds = ('methods', 'tasks', 'metrics', 'judges', 'suites'); "
        "assert not any([main(['list']), *(main(['list', kind]) for kind in kinds)]); "
        "heavy = {'torch', 'diffusers', 'transformers', 'pandas'} & set(sys.modules); "
        "assert not heavy, heavy"
    )
    done: Any = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    for word in ("balanced", "classes/cat-face@emoji", "UA", "emoji-detector", "demo"):
        assert word in done.stdout

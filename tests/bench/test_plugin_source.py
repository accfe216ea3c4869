"""A plug-in's key holds its whole package: helpers, data, what is imported inside functions."""

import importlib
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from unlearnbench.bench import source
from unlearnbench.bench.registry import Entry, builtin_registry
from unlearnbench.bench.running.keys import cell_key, train_key
from unlearnbench.bench.running.runner import Runner
from unlearnbench.bench.source import source_digest, source_files

CACHES = (
    source._places,
    source._origin,
    source._imported,
    source._known_packages,
    source._is_editable,
)


@pytest.fixture
def place(tmp_path: Path) -> Iterator[Path]:
    """Return a folder that Python searches."""
    folder = tmp_path / "place"
    folder.mkdir()
    sys.path.insert(0, str(folder))
    _forget()
    yield folder
    sys.path.remove(str(folder))
    _forget()


def _forget() -> None:
    importlib.invalidate_caches()
    for cached in CACHES:
        cached.cache_clear()


def _write(folder: Path, files: dict[str, str]) -> None:
    for name, text in files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)


PACKAGE = {
    "plug/__init__.py": "",
    "plug/method.py": "from .helper import SCALE\n",
    "plug/helper.py": "SCALE = 1\n",
    "plug/lazy/__init__.py": "",
    "plug/lazy/deep.py": "VALUE = 1\n",
    "plug/settings.toml": "scale = 1\n",
    "plug/weights/w.bin": "1",
}
CASES: dict[str, tuple[dict[str, str], str, str]] = {
    "a relative import": (PACKAGE, "plug.method", "plug/helper.py"),
    "a package's start": (PACKAGE, "plug.method", "plug/__init__.py"),
    "an import in a function": (
        PACKAGE | {"plug/method.py": "def f():\n    from plug.lazy.deep import VALUE\n"},
        "plug.method",
        "plug/lazy/deep.py",
    ),
    "a name that is put together": (PACKAGE, "plug.method", "plug/lazy/deep.py"),
    "a data file": (PACKAGE, "plug.method", "plug/settings.toml"),
    "a data file in a folder": (PACKAGE, "plug.method", "plug/weights/w.bin"),
    "a module in a package of a package": (
        {"a/__init__.py": "", "a/b/__init__.py": "", "a/b/m.py": "from ..c import X", "a/c.py": "X = 1"},
        "a.b.m",
        "a/c.py",
    ),
    "a namespace": (
        {"space/plug/m.py": "from .helper import X", "space/plug/helper.py": "X = 1"},
        "space.plug.m",
        "space/plug/helper.py",
    ),
    "another part of a namespace": (
        {"space/plug/m.py": "import space.other.helper", "space/other/helper.py": "X = 1"},
        "space.plug.m",
        "space/other/helper.py",
    ),
    "a package in a namespace": (
        {"ns/p/__init__.py": "", "ns/p/m.py": "", "ns/p/x/__init__.py": "", "ns/p/x/y.py": "X = 1"},
        "ns.p.m",
        "ns/p/x/y.py",
    ),
    "a single module": (
        {"single.py": "import beside\n", "beside.py": "X = 1\n"},
        "single",
        "beside.py",
    ),
    "a checkout of another name": (
        {
            "single.py": "def f():\n    from lab.tools import X\n",
            "lab/tools.py": "from . import x\n",
            "lab/x.py": "",
        },
        "single",
        "lab/x.py",
    ),
    "an import by a call": (
        {"single.py": "import importlib\nimportlib.import_module('lab.x')\n", "lab/x.py": "X = 1\n"},
        "single",
        "lab/x.py",
    ),
    "a module that does not parse": (
        PACKAGE | {"plug/helper.py": "SCALE = = 1\n"},
        "plug.method",
        "plug/helper.py",
    ),
}


@pytest.mark.parametrize("name", CASES)
def test_a_changed_file_of_a_plugin_changes_the_digest(place: Path, name: str) -> None:
    files, module, changed = CASES[name]
    _write(place, files)
    before = source_digest(module)
    assert source_digest(module) == before
    (place / changed).write_text(files[changed] + "\nCHANGED = 1\n")
    assert source_digest(module) != before
    assert not {n for n in sys.modules if n.partition(".")[0] in ("plug", "space", "ns", "lab", "single")}


def test_a_package_behind_a_link_is_followed(place: Path, tmp_path: Path) -> None:
    _write(tmp_path / "real", {"m.py": "", "inner/x.py": "X = 1\n"})
    _write(place, {"plug/__init__.py": ""})
    (place / "plug" / "inner").symlink_to(tmp_path / "real", target_is_directory=True)
    (tmp_path / "real" / "loop").symlink_to(place / "plug", target_is_directory=True)
    before = source_digest("plug")
    (tmp_path / "real" / "inner" / "x.py").write_text("X = 2\n")
    assert source_digest("plug") != before


def test_what_a_run_leaves_in_a_package_changes_nothing(place: Path) -> None:
    _write(place, PACKAGE)
    before = source_digest("plug.method")
    _write(place, {"plug/__pycache__/method.cpython-311.pyc": "x", "plug/run.log": "x", "plug/.cache/x": "x"})
    assert source_digest("plug.method") == before


def test_installed_libraries_count_by_their_versions(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    _write(
        place, {"plug/__init__.py": "", "plug/method.py": "import lib\nimport torch, json\n", "lib.py": ""}
    )
    info = place / "lib-1.0.dist-info"
    _write(info, {"METADATA": "Metadata-Version: 2.1\nName: lib\nVersion: 1.0\n", "top_level.txt": "lib\n"})
    _forget()
    reached = source_files("plug.method")
    assert not any(n.partition(".")[0] in ("torch", "lib", "json") for n in reached)
    before = source_digest("plug.method")
    _write(info, {"METADATA": "Metadata-Version: 2.1\nName: lib\nVersion: 1.1\n"})
    assert source_digest("plug.method") != before
    # of an editable install the version tells nothing: its source counts
    _write(info, {"direct_url.json": '{"url": "file:///x", "dir_info": {"editable": true}}'})
    _forget()
    assert "lib" in source_files("plug.method")


def test_modules_of_one_distribution_count(place: Path) -> None:
    _write(place, {"single.py": "import beside\n", "beside.py": "X = 1\n", "single.toml": "x = 1\n"})
    record = "single.py,,\nbeside.py,,\nsingle.toml,,\nsingle-1.dist-info/METADATA,,\n"
    _write(
        place / "single-1.dist-info",
        {"METADATA": "Metadata-Version: 2.1\nName: single\nVersion: 1\n", "RECORD": record},
    )
    _forget()
    for name in ("beside.py", "single.toml"):
        before = source_digest("single")
        (place / name).write_text("x = 2\n")
        assert source_digest("single") != before


def test_built_in_methods_reach_no_third_party() -> None:
    for entry in builtin_registry("methods", "unlearnbench.methods").values():
        assert {name.partition(".")[0] for name in source_files(entry.module)} == {"unlearnbench"}


def test_helpers_of_methods_metrics_and_worlds_are_in_the_keys(
    place: Path, make_runner: Callable[..., Runner], make_cell: Any
) -> None:
    _write(place, PACKAGE)
    runner, cell = make_runner(), make_cell(method="finetune", steps=1)
    world, metrics = runner.worlds["tiny"], runner.metrics
    theirs = Entry("theirs", "plug.method", "x", function="f", config="C", distribution="plug")

    class World(type(world)):  # type: ignore[misc]
        """A third party's."""

    World.__module__ = "plug.method"
    own = World(world.spec, world.folder)
    with_metric = builtin_registry("metrics", "unlearnbench.bench.metrics")
    with_metric.add("theirs", theirs)
    mine = type(cell)(cell.suite, cell.task, cell.row, theirs, cell.seed)

    def keys() -> list[str]:
        return [
            train_key(mine, world, "cpu", 1),
            train_key(cell, own, "cpu", 1),
            cell_key(cell, world, with_metric, "cpu", 1),
            cell_key(cell, own, metrics, "cpu", 1),
            cell_key(make_cell(), own, metrics, "cpu", 1),
        ]

    before, same = keys(), cell_key(cell, world, metrics, "cpu", 1)
    assert keys() == before
    (place / "plug" / "helper.py").write_text("SCALE = 50\n")
    assert all(a != b for a, b in zip(before, keys(), strict=True))
    assert cell_key(cell, world, metrics, "cpu", 1) == same

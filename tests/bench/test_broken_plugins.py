"""A plug-in that is broken is named where it is asked for, and stops nobody else."""

import importlib
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from unlearnbench.bench.cli.main import main
from unlearnbench.bench.errors import UserError
from unlearnbench.bench.running.catalog import registry, task_registry

REGISTER = 'REGISTER = {"summary": "theirs", "function": "unlearn", "config": "Config"}\n'
TASK = (Path(__file__).parents[1] / "plugin" / "src" / "unlearnbench_example" / "animals.toml").read_text()
GOOD_TASK = 'REGISTER = {"summary": "theirs", "file": "FILE"}\n'
METHODS = {
    "syntax": ("def broken(:\n", "invalid syntax"),
    "no-register": ("x = 1\n", "has no REGISTER"),
    "computed": ("REGISTER = dict(summary='x')\n", "malformed node"),
    "a-list": ('REGISTER = ["summary"]\n', "must be a table of literals"),
    "unknown-key": (REGISTER.replace("summary", "sumary"), "sumary"),
    "no-function": ('REGISTER = {"summary": "x", "config": "Config"}\n', "names no `function`"),
    "a-number": (REGISTER.replace('"theirs"', "3"), "summary: must be str"),
    "a-version": (REGISTER.replace("}", ', "version": "2"}'), "version: must be int"),
    "needs": (REGISTER.replace("}", ', "needs": 5}'), "needs: must be a list of names"),
    "a-path": (REGISTER.replace("}", ', "name": "../x"}'), "name: '../x'"),
    "trains-more": (REGISTER.replace("}", ', "trains": ["denoiser", "vae"]}'), "trains: vae: a point holds"),
    "trains-twice": (REGISTER.replace("}", ', "trains": ["denoiser", "denoiser"]}'), "a name stands twice"),
    "trains-none": (REGISTER.replace("}", ', "trains": []}'), "names no network, and there is no `apply`"),
    "an-apply": (REGISTER.replace("}", ', "apply": ["apply"]}'), "apply: must be str"),
    "bytes": ("\ud800".encode("utf-8", "surrogatepass").decode("latin-1"), "does not load"),
    "balanced": (REGISTER, "has a 'balanced' of its own"),
}


def _write(folder: Path, kind: str, modules: dict[str, str], package: str = "") -> None:
    home = folder / "theirs"
    home.mkdir(parents=True, exist_ok=True)
    (home / "__init__.py").write_text(package)
    info = folder / "theirs-0.1.dist-info"
    info.mkdir(exist_ok=True)
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: theirs\nVersion: 0.1\n")
    names = {name: name.replace("-", "_") for name in modules}
    for name, text in modules.items():
        (home / f"{names[name]}.py").write_text(text, encoding="utf-8", errors="surrogatepass")
    entries = "".join(f"{name} = theirs.{module}\n" for name, module in names.items())
    with (info / "entry_points.txt").open("a") as file:
        file.write(f"[unlearnbench.{kind}]\n{entries}")


@pytest.fixture
def place(tmp_path: Path) -> Iterator[Path]:
    folder = tmp_path / "place"
    folder.mkdir()
    sys.path.insert(0, str(folder))
    importlib.invalidate_caches()
    yield folder
    sys.path.remove(str(folder))
    for name in [name for name in sys.modules if name.partition(".")[0] == "theirs"]:
        del sys.modules[name]


def test_broken_methods_stop_no_other(place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    good = {"sound": REGISTER, "annotated": REGISTER.replace("REGISTER", "REGISTER: dict[str, object]")}
    _write(place, "methods", {name: text for name, (text, _) in METHODS.items()} | good)
    methods = registry("methods")
    assert methods["sound"].distribution == "theirs"
    assert methods["annotated"].summary == "theirs"
    assert methods["balanced"].distribution == "unlearnbench"
    for name, (_, reason) in METHODS.items():
        assert reason in methods.broken[name], methods.broken[name]
        assert "theirs" in methods.broken[name]
        if name != "balanced":
            with pytest.raises(UserError, match=f"no method named '{name}'"):
                _ = methods[name]
    assert main(["list", "methods"]) == 0
    lines = [line for line in capsys.readouterr().out.splitlines() if line.startswith("broken method:")]
    assert len(lines) == len(METHODS)
    assert main(["run", "--suite", "demo", "--method", "syntax"]) == 2
    error = capsys.readouterr().err
    assert error.count("\n") == 1
    assert "invalid syntax" in error


STARTS = ["import sys; sys.exit(3)", "raise ValueError('at import')", "import nothing_there"]


@pytest.mark.parametrize("start", STARTS)
def test_a_package_that_fails_at_import_stops_no_other(
    place: Path, start: str, capsys: pytest.CaptureFixture[str]
) -> None:
    for kind in ("methods", "metrics", "worlds", "judges", "tasks"):
        _write(place, kind, {f"x{kind}": REGISTER}, start + "\n")
        if kind != "tasks":
            assert "balanced" in registry("methods")
            assert f"x{kind}" in registry(kind).broken
    assert "classes/cat-face@tiny" in task_registry()
    assert main(["doctor", "--task", "classes/cat-face@tiny"]) == 0
    out = capsys.readouterr().out
    assert sum(line.startswith("broken ") for line in out.splitlines()) == 5


def test_two_plugins_of_one_name_are_both_left_out(place: Path) -> None:
    same = REGISTER.replace("}", ', "name": "same"}')
    _write(place, "methods", {"one": same, "two": same, "three": REGISTER})
    methods = registry("methods")
    assert "three" in methods
    with pytest.raises(UserError, match="share the name 'same'"):
        _ = methods["same"]


TASKS = {
    "no-file": ('REGISTER = {"summary": "x", "file": "nowhere.toml"}\n', "", "nowhere.toml"),
    "not-toml": (GOOD_TASK, "family = ", "not valid TOML"),
    "misspelt": (GOOD_TASK, TASK.replace("target_kind", "targetkind"), "target_kind"),
    "taken": (GOOD_TASK, TASK.replace('"animals"', '"classes"').replace("dog-", "cat-"), "registered twice"),
}


def test_broken_tasks_stop_no_other(place: Path) -> None:
    modules = {name: text.replace("FILE", f"{name}.toml") for name, (text, _, _) in TASKS.items()}
    _write(place, "tasks", modules | {"sound": GOOD_TASK.replace("FILE", "sound.toml")})
    for name, (_, toml, _) in TASKS.items():
        if toml:
            (place / "theirs" / f"{name}.toml").write_text(toml)
    (place / "theirs" / "sound.toml").write_text(TASK)
    tasks = task_registry()
    assert tasks["animals/dog-face@tiny"].concept.targets == ["dog face"]
    assert tasks["classes/cat-face@tiny"].file.version != 0
    for name, (_, _, reason) in TASKS.items():
        assert reason in tasks.broken[name]
    with pytest.raises(UserError, match=r"nowhere\.toml"):
        _ = tasks["birds/owl@tiny"]


def test_a_method_whose_module_fails_is_named_before_anything_runs(
    place: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    _write(place, "methods", {"exits": REGISTER + "import sys\nsys.exit(0)\n"})
    suite = tmp_path / "s.toml"
    suite.write_text('name = "s"\ntasks = ["classes/cat-face@tiny"]\n[[methods]]\nname = "exits"\n')
    options = ["--out", str(tmp_path / "out"), "--store", str(tmp_path / "store"), "--threads", "1"]
    assert main(["run", "--suite", str(suite), *options]) == 2
    error = capsys.readouterr().err
    assert "exits (from theirs) does not load: SystemExit 0" in error
    assert error.count("\n") == 1

"""What a suite's rows become, and how a retrained reference is found by what it never saw."""

import hashlib
from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

from unlearnbench import method
from unlearnbench._suites import narrow_suite, plan_run
from unlearnbench.bench.cli.main import main
from unlearnbench.bench.errors import UserError
from unlearnbench.bench.planning.plan import MethodRow, Suite, find_references, find_suite, plan_cells
from unlearnbench.bench.running.assemble import describe_method
from unlearnbench.bench.running.catalog import registry, suites_folder, task_registry
from unlearnbench.bench.worlds.emoji import world as world_module


def test_a_preset_becomes_its_settings(tmp_path: Path) -> None:
    path = tmp_path / "mine.toml"
    path.write_text(
        'name = "mine"\ntasks = ["classes/cat-face@tiny"]\n'
        '[[methods]]\nname = "esd_x"\nconfig = "paper"\n'
        '[[methods]]\nname = "esd_x"\nconfig = { preset = "paper", steps = 7 }\n'
    )
    methods = registry("methods")
    first, second = plan_cells(find_suite(str(path), tmp_path), task_registry(), methods)
    assert first.row.config == dict(methods["esd_x"].presets["paper"])
    assert first.build_config().steps == 1000
    assert second.row.config == first.row.config | {"steps": 7}
    assert first.stem != second.stem  # the settings name the record, not the preset


def test_an_unknown_preset_names_those_that_there_are() -> None:
    methods = registry("methods")
    for name, known in (("esd_x", "paper"), ("placebo", "none")):
        row = MethodRow(name=name, config="papr")  # type: ignore[arg-type]
        suite = Suite(name="test", tasks=["classes/cat-face@tiny"], methods=[row])
        with pytest.raises(UserError, match=rf"method {name}: no preset named 'papr'; known: .*{known}"):
            plan_cells(suite, task_registry(), methods)


def test_a_preset_of_a_misspelt_method_names_the_method() -> None:
    row = MethodRow(name="esd_y", config="paper")  # type: ignore[arg-type]
    suite = Suite(name="test", tasks=["classes/cat-face@tiny"], methods=[row])
    with pytest.raises(UserError, match="no method named 'esd_y'; did you mean esd_"):
        plan_cells(suite, task_registry(), registry("methods"))


def test_a_preset_on_the_command_line_is_that_of_the_methods_named(
    capsys: pytest.CaptureFixture[str],
) -> None:
    suite = find_suite("demo", suites_folder())
    rows = {row.name: row.config for row in narrow_suite(suite, methods=[method("esd_x", "paper")]).methods}
    assert rows == {"none": {}, "esd_x": {"preset": "paper"}}
    assert main(["run", "--config", "paper"]) == 2
    assert "--config: name the methods" in capsys.readouterr().err


def _cells(monkeypatch: pytest.MonkeyPatch, tmp_path: Path):  # type: ignore[no-untyped-def]
    monkeypatch.setattr(world_module, "recipe_folder", lambda: tmp_path)
    suite = Suite(
        name="test",
        tasks=["classes/cat-face@tiny"],
        methods=[MethodRow(name="retrain"), MethodRow(name="none")],
    )
    worlds = {"tiny": registry("worlds")["tiny"].load()()}
    return plan_cells(suite, task_registry(), registry("methods")), worlds


def test_a_retrained_model_that_is_not_there_names_its_command(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    cells, worlds = _cells(monkeypatch, tmp_path)
    with pytest.raises(UserError, match=r"make it with: unlearnbench pretrain tiny --without .*'cat face'"):
        find_references(cells, worlds)


def test_a_retrained_model_is_found_by_what_it_never_saw(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    cells, worlds = _cells(monkeypatch, tmp_path)
    spec = worlds["tiny"].spec.leave_out(sorted(cells[0].task.suite_targets))
    folder = tmp_path / spec.folder_name / "world" / "pipeline"
    folder.mkdir(parents=True)
    folder.joinpath("model_index.json").write_text("{}")
    found = {cell.row.name: cell for cell in find_references(cells, worlds)}
    assert found["retrain"].models == (str(folder),)
    assert found["none"].models == ()
    info = describe_method(found["retrain"])
    assert info.reference
    assert "cat face" in info.config["without"]


def _suite(**fields: object) -> Suite:
    rows = [
        MethodRow(name="none"),
        MethodRow(name="placebo", seeds=[0]),
        MethodRow(name="finetune"),
        MethodRow(name="retrain"),
    ]
    content = {"name": "test", "tasks": ["classes/cat-face@tiny"], "methods": rows, "seeds": [3, 4]}
    return Suite.model_validate(content | fields)


def _narrow(suite: Suite, **given: Any) -> list[tuple[str, int]]:
    cells = plan_cells(narrow_suite(suite, **given), task_registry(), registry("methods"))
    return [(cell.row.name, cell.seed) for cell in cells]


def test_a_row_may_have_seeds_of_its_own_and_one_sheet() -> None:
    cells = plan_cells(_suite(), task_registry(), registry("methods"))
    assert [(cell.row.name, cell.seed, cell.has_sheet) for cell in cells] == [
        ("none", 0, True),
        ("retrain", 0, True),
        ("placebo", 0, True),
        ("finetune", 3, True),
        ("finetune", 4, False),
    ]


def test_a_suite_names_the_tasks_that_have_sheets() -> None:
    two = {"tasks": ["classes/cat-face@tiny", "styles/line@tiny"], "seeds": [3]}
    for sheets, expected in ((None, {True}), ([], {False})):
        cells = plan_cells(_suite(**two, sheets=sheets), task_registry(), registry("methods"))
        assert {cell.has_sheet for cell in cells} == expected
    cells = plan_cells(_suite(**two, sheets=two["tasks"][:1]), task_registry(), registry("methods"))
    assert {(cell.task.id, cell.has_sheet) for cell in cells} == {
        ("classes/cat-face@tiny", True),
        ("styles/line@tiny", False),
    }


@pytest.mark.parametrize("name", ["classes/fox@tiny", "classes@draw:1"])
def test_sheets_of_what_is_no_single_task_are_refused(name: str) -> None:
    tasks = ["classes/cat-face@tiny", "classes@draw:1"]
    with pytest.raises(ValidationError, match=f"sheets: '{name}' is none of the single concepts in `tasks`"):
        _suite(tasks=tasks, sheets=[name])


def test_a_run_is_narrowed_by_method_skip_and_seeds() -> None:
    suite = _suite()
    assert _narrow(suite, skip=["retrain", "finetune"]) == [("none", 0), ("placebo", 0)]
    assert _narrow(suite, methods=[method("placebo")], skip=["retrain"]) == [("none", 0), ("placebo", 0)]
    assert _narrow(suite, methods=[method("placebo")], seeds=[7])[2:] == [("placebo", 7)]
    with pytest.raises(UserError, match="did you mean finetune"):
        _narrow(suite, skip=["finetun"])
    with pytest.raises(UserError, match="leaves nothing of test"):
        _narrow(suite, skip=["none", "retrain", "placebo", "finetune"])


@pytest.mark.parametrize("data", ["retain-0", "retain-02", "retain-", "retain-1000", "wide", "Narrow"])
def test_unknown_training_data_are_refused_with_those_that_there_are(data: str) -> None:
    with pytest.raises(ValidationError, match="must be diverse, narrow, narrow-retain or retain-N"):
        _suite(data=data)


@pytest.mark.parametrize("where", ["tasks", "sequence"])
def test_too_many_retained_subjects_are_refused_before_anything_runs(where: str) -> None:
    content = _suite(data="retain-7").model_dump(exclude={"tasks", "sequence"})
    names = ["classes/cat-face", "classes/guitar"]
    suite = Suite.model_validate(content | {where: names, "methods": [{"name": "uce"}]})
    with pytest.raises(UserError, match="classes/cat-face@emoji: data: 'retain-7' takes 7 subjects"):
        plan_cells(suite, task_registry(), registry("methods"))


def test_a_suite_may_give_a_task_another_anchor() -> None:
    plain = plan_cells(_suite(), task_registry(), registry("methods"))
    other = plan_cells(
        _suite(anchors={"classes/cat-face@tiny": "pizza"}), task_registry(), registry("methods")
    )
    assert other[0].task.concept.anchor == "pizza"
    assert plain[0].task.concept.anchor != "pizza"
    assert [c.task.id for c in other] == [c.task.id for c in plain]


@pytest.mark.parametrize("name", sorted(path.stem for path in suites_folder().glob("*.toml")))
def test_every_suite_plans(name: str) -> None:
    suite = find_suite(name, suites_folder())
    rows = [row for row in suite.methods if not row.tuned]
    if rows:
        assert plan_cells(suite.model_copy(update={"methods": rows}), task_registry(), registry("methods"))
    for task in (*suite.tasks, *suite.anchors):
        assert f"{task}@emoji" in task_registry() or task in task_registry()


RANKED = 'name = "x"\ntasks = ["classes/cat-face"]\n{more}\n[[methods]]\nname = "none"\n'


def _write(folder: Path, more: str) -> Path:
    path = folder / "x.toml"
    path.write_text(RANKED.format(more=more))
    return path


def test_a_suite_ranked_by_h_scores_every_point(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert find_suite(str(_write(tmp_path, "")), tmp_path).headline == "AVA"
    suite = find_suite(str(_write(tmp_path, 'headline = "H"')), tmp_path)
    assert (suite.headline, suite.unscored_below) == ("H", 0.0)
    path = _write(tmp_path, 'headline = "H"\nunscored_below = 0.4')
    assert main(["run", "--suite", str(path)]) == 2
    said = capsys.readouterr().err.strip()
    assert "unscored_below: is 0.4; with headline H every point counts, so it must be 0" in said
    assert str(path) in said
    assert "\n" not in said


def test_a_suite_takes_the_digest_of_its_declaration(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = _write(tmp_path, 'declaration = "X.md"')
    assert main(["run", "--suite", str(path)]) == 2
    said = capsys.readouterr().err.strip()
    assert said.endswith(f"{tmp_path / 'X.md'}: No such file or directory; the suite x names it as its "
                         "declaration: write it first")  # fmt: skip
    assert "\n" not in said
    (tmp_path / "X.md").write_text("H of balanced is above that of gradient_sum.\n")
    suite = find_suite(str(path), suites_folder())
    assert suite.declaration_sha256 == hashlib.sha256((tmp_path / "X.md").read_bytes()).hexdigest()
    (tmp_path / "X.md").write_text("It is not.\n")
    assert find_suite(str(path), suites_folder()).declaration_sha256 != suite.declaration_sha256
    with pytest.raises(UserError, match="declaration"):
        find_suite(str(_write(tmp_path, 'declaration = "../X.md"')), tmp_path)


def test_a_suite_given_in_python_takes_its_declaration_from_the_working_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    suite = Suite(
        name="x", tasks=["classes/cat-face@tiny"], methods=[MethodRow(name="none")], declaration="X.md"
    )
    monkeypatch.chdir(tmp_path)
    with pytest.raises(UserError, match=r"X\.md: No such file"):
        plan_run(suite)
    (tmp_path / "X.md").write_text("so be it")
    [cell] = plan_run(suite).cells
    assert cell.suite.declaration_sha256 == hashlib.sha256(b"so be it").hexdigest()


def test_a_label_sets_two_rows_of_a_method_apart(tmp_path: Path) -> None:
    rows = '[[methods]]\nname = "placebo"\nlabel = "{}"\nconfig = {{ norm = 0.1 }}\n'
    path = _write(tmp_path, "")
    path.write_text(path.read_text() + rows.format("paper") + rows.format("half the rate"))
    cells = plan_cells(find_suite(str(path), tmp_path), task_registry(), registry("methods"))
    assert len({cell.stem for cell in cells}) == 3
    path.write_text(path.read_text() + rows.format("paper"))
    with pytest.raises(UserError, match="stands twice"):
        find_suite(str(path), tmp_path)
    path.write_text(_write(tmp_path, "").read_text() + rows.format("(x)"))
    with pytest.raises(UserError, match=r"methods.1.label"):
        find_suite(str(path), tmp_path)

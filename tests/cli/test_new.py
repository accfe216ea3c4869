"""`new` writes files that work as they are: a task, a method and a judge, without a package."""

import json
from pathlib import Path

import pytest

import unlearnbench as ub
from unlearnbench.bench.cli.main import main
from unlearnbench.bench.records.record import read_record

SIZES = {"forget": 2, "forget_samples": 1, "retain_same": 2, "retain_other": 2, "retain_given": 1}


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


def new(*words: str) -> int:
    return main(["new", *words])


def test_a_task_and_a_method_of_single_files_are_measured(folder: Path, session_store: Path) -> None:
    assert new("task", "dog face", "--world", "tiny") == 0
    assert new("method", "mine") == 0
    where = ub.WorldSettings(task_files=(folder,))
    records = ub.run(
        methods=[ub.method("mine.py", factor=0.5)],
        sizes=SIZES,
        world=where,
        store=session_store,
        out=folder / "records",
        threads=1,
    )
    assert records.failed == ()
    none, mine = records
    assert none.task.id == mine.task.id == "classes/my-dog-face@tiny"
    assert none.suite == "demo-own-resized"
    assert not none.inline
    assert mine.inline, "nobody else has the file"
    assert mine.method.config["factor"] == 0.5
    assert mine.points[0].fingerprint != none.points[0].fingerprint
    # the record is known where the file is given, and only there
    assert main(["validate", str(none.path), "--task-file", "dog_face.toml"]) == 0
    assert main(["validate", str(none.path)]) == 1


def test_every_kind_of_task_that_is_drafted_is_accepted(folder: Path) -> None:
    made = [("guitar", "tiny", "classes"), ("line", "tiny", "styles"), ("fox", "emoji", "classes")]
    made.append(("beer mug", "emoji", "nudity"))
    for name, world, family in made:
        assert new("task", name, "--world", world, "--family", family) == 0
        path = f"{name.replace(' ', '_')}.toml"
        assert main(["run", "--task-file", path, "--dry-run"]) == 0


def test_a_drafted_task_of_a_real_model_holds_its_name(folder: Path) -> None:
    assert new("task", "red bicycle", "--world", "sd14", "--anchor", "a horse") == 0
    text = (folder / "red_bicycle.toml").read_text()
    assert 'targets = ["red bicycle"]' in text
    assert '"red bicycle", "tench"' in text
    assert 'anchor = "a horse"' in text
    assert new("task", "red bicycle") == 2, "the file is not overwritten"


MISTAKES = {
    "near": ('role = "evaluated"', 'role = "evaluated"\nnear = ["anmials"]', "near: anmials"),
    "target": ('targets = ["dog face"]', 'targets = ["dgo face"]', "'dgo face'"),
    "judge": ('judge = "emoji-detector@1"', 'judge = "emoji-detectr@1"', "emoji-detectr@1"),
    "name": (
        'name = "my-dog-face"',
        'name = "cat-face"',
        "dog_face.toml: concepts.name: classes/cat-face@tiny",
    ),
    "world": (
        'world = "tiny"',
        'world = "tinny"',
        "dog_face.toml: world: no world named 'tinny'; did you mean tiny?",
    ),
    "key": ("version = 1 ", "verson = 1 ", "dog_face.toml: version"),
    "judge file": ('judge = "emoji-detector@1"', 'judge = "other.py@1"', "dog_face.toml: judge: "),
}


@pytest.mark.parametrize("name", MISTAKES)
def test_a_mistake_in_a_task_file_is_found_before_anything_is_drawn(
    folder: Path, name: str, capsys: pytest.CaptureFixture[str]
) -> None:
    new("task", "dog face", "--world", "tiny")
    before, after, said = MISTAKES[name]
    text = (folder / "dog_face.toml").read_text()
    assert before in text
    (folder / "dog_face.toml").write_text(text.replace(before, after))
    store = folder / "store"
    assert main(["run", "--task-file", "dog_face.toml", "--method", "placebo", "--store", str(store)]) == 2
    assert said in capsys.readouterr().err
    assert not list(folder.glob("runs/**/*.json"))


def test_a_judge_in_a_file_next_to_the_task(folder: Path, session_store: Path) -> None:
    new("task", "dog face", "--world", "tiny")
    new("judge", "look")
    path = folder / "dog_face.toml"
    text = path.read_text().replace('"emoji-detector@1"', '"look.py@1"')
    path.write_text(text.replace('targets = ["dog face"]', 'targets = ["dog face"]', 1))
    options = {"methods": ["placebo"], "sizes": SIZES, "store": session_store, "threads": 1}
    where = ub.WorldSettings(task_files=(path,))
    first = ub.run(out=folder / "a", world=where, **options)
    assert first.failed == ()
    assert first[0].task.judge == "look@1"
    assert set(first[0].items["found_subject"]) == {""}, "it answers colours, and none is a name of the task"
    # an edited judge is another judge: the same images are judged again
    source = folder / "look.py"
    source.write_text(source.read_text().replace('"white": (255', '"dog face": (255'))
    import sys

    for name in [name for name in sys.modules if name.startswith("own_look")]:
        del sys.modules[name]  # as in the next process
    again = ub.run(out=folder / "a", world=where, **options)
    assert again.unchanged == 0
    assert "dog face" in set(again[0].items["found_subject"])


def test_what_else_lies_in_the_folder_changes_no_prompt(folder: Path) -> None:
    from unlearnbench.bench.running.catalog import task_registry

    new("task", "dog face", "--world", "tiny")
    single = task_registry(None, [folder / "dog_face.toml"])["classes/my-dog-face@tiny"]
    new("task", "guitar", "--world", "tiny")
    both = task_registry(None, [folder])
    assert both["classes/my-dog-face@tiny"].suite_targets == single.suite_targets
    assert (
        both["classes/cat-face@tiny"].suite_targets == task_registry()["classes/cat-face@tiny"].suite_targets
    )


def test_a_changed_file_without_a_new_version_is_measured_again(folder: Path, session_store: Path) -> None:
    """Nobody remembers to raise the version of a file that is still being written."""
    new("task", "dog face", "--world", "tiny")
    path = folder / "dog_face.toml"
    options = {"methods": ["none"], "sizes": SIZES, "store": session_store, "threads": 1}
    where = ub.WorldSettings(task_files=(path,))
    first = ub.run(out=folder / "a", world=where, **options)
    assert ub.run(out=folder / "a", world=where, **options).unchanged == 1
    path.write_text(path.read_text().replace('family = "classes"', 'family = "mine"'))
    assert ub.run(out=folder / "b", world=where, **options)[0].key != first[0].key


def test_one_task_of_a_file_is_what_evaluate_measures(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    new("task", "dog face", "--world", "tiny")
    assert main(["evaluate", "--task-file", "dog_face.toml", "--model", "nowhere/at/all"]) == 2
    assert "no such folder or file" in capsys.readouterr().err
    assert main(["evaluate", "--model", "nowhere/at/all"]) == 2
    assert "--task: name one" in capsys.readouterr().err


def test_record_of_an_own_file_names_no_place(folder: Path, session_store: Path) -> None:
    new("task", "dog face", "--world", "tiny")
    command = ["run", "--task-file", str(folder / "dog_face.toml"), "--suite", "mine.toml", "--threads", "1"]
    (folder / "mine.toml").write_text(
        'name = "mine"\ntasks = ["classes/my-dog-face@tiny"]\n[[methods]]\nname = "none"\n[sizes]\n'
        + "".join(f"{name} = {number}\n" for name, number in SIZES.items())
    )
    assert main([*command, "--store", str(session_store)]) == 0
    [path] = (folder / "runs" / "mine").glob("*.json")
    record = read_record(path)
    assert record.suite == "mine", "the suite names the task itself"
    assert str(folder) not in json.dumps(record.model_dump(mode="json"))


def test_a_judge_on_no_address_is_not_written(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for url in ("localhost:8000", "htp://a/v1", "http:///v1"):
        assert new("judge", "vlm", "--server", url, "--model", "qwen") == 2
        assert f"--server {url}: not an address such as http://HOST:8000/v1" in capsys.readouterr().err
    assert not (folder / "vlm.py").exists()

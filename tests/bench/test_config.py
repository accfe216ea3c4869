"""TOML to records: every mistake is one line naming file and key."""

from pathlib import Path

import pytest

from unlearnbench.bench.config import build, read_toml
from unlearnbench.bench.errors import UserError
from unlearnbench.bench.planning.plan import Suite, find_suite
from unlearnbench.bench.records.record import read_record
from unlearnbench.bench.worlds.emoji.spec import load_spec

GOOD = 'name = "mine"\ntasks = ["classes/cat-face"]\n[[methods]]\nname = "none"\n'


def _write(folder: Path, text: str) -> Path:
    path = folder / "suite.toml"
    path.write_text(text)
    return path


def test_a_good_suite_reads(tmp_path: Path) -> None:
    suite = find_suite(str(_write(tmp_path, GOOD)), tmp_path)
    assert suite.name == "mine"
    assert suite.sizes.forget == 24


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (GOOD + "sede = 1\n", "methods.0.sede"),
        (GOOD.replace('["classes/cat-face"]', '"classes/cat-face"'), "tasks"),
        (GOOD.replace('name = "mine"', "", 1), "name"),
        (GOOD.replace('"mine"', '"../mine"'), "name"),
        (GOOD + "[sizes]\nforget = 'many'\n", "sizes.forget"),
        (GOOD + "[sizes]\nforget = '60'\n", "sizes.forget"),
        (GOOD + "[sizes]\nforget = true\n", "sizes.forget"),
        ("name = [", "not valid TOML"),
    ],
)
def test_a_mistake_names_file_and_key(tmp_path: Path, text: str, message: str) -> None:
    path = _write(tmp_path, text)
    with pytest.raises(UserError) as raised:
        find_suite(str(path), tmp_path)
    assert str(path) in str(raised.value)
    assert message in str(raised.value)
    assert "\n" not in str(raised.value)


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="no such file"):
        read_toml(tmp_path / "none.toml")


def test_unknown_suite_and_preset_list_what_is_known(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="no suite named"):
        find_suite("demoo", tmp_path)
    with pytest.raises(UserError, match="presets: emoji, tiny"):
        load_spec("emojy")


def test_records_are_frozen() -> None:
    suite = build(Suite, {"name": "a", "tasks": ["t"], "methods": [{"name": "none"}]}, "here")
    with pytest.raises(ValueError, match="frozen"):
        suite.name = "b"


def test_an_unknown_key_names_those_that_there_are(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"methods\.0\.sede: .*; did you mean seed"):
        find_suite(str(_write(tmp_path, GOOD + "sede = 1\n")), tmp_path)
    with pytest.raises(UserError, match=r"sizes\.many: .*; there are: forget, forget_samples, indirect, "):
        find_suite(str(_write(tmp_path, GOOD + "[sizes]\nmany = 1\n")), tmp_path)


def test_a_text_in_another_encoding_is_to_be_saved_as_utf8(tmp_path: Path) -> None:
    path = tmp_path / "suite.toml"
    path.write_bytes('summary = "café"'.encode("latin-1"))
    with pytest.raises(UserError, match=r"suite\.toml: not UTF-8 \(byte 15\): save it as UTF-8"):
        read_toml(path)


def test_a_json_file_of_another_kind_is_not_called_incomplete(tmp_path: Path) -> None:
    path = tmp_path / "model_index.json"
    path.write_text('{"_class_name": "StableDiffusionPipeline"}')
    with pytest.raises(UserError, match=r"model_index\.json: not a record: it has none of its fields"):
        read_record(path)

"""What a record publishes of its command and its error names no place of one machine."""

import platform
import shlex
from pathlib import Path

import pytest

from unlearnbench.bench.places import (
    MOST_ERROR,
    clean_error,
    find_problems_in_places,
    hide_place,
    quote_places,
)
from unlearnbench.bench.records.record import read_record
from unlearnbench.bench.records.statements import CLAIMED, list_records
from unlearnbench.bench.records.untrusted import find_problems_in_text

RESULTS = Path(__file__).parents[2] / "results"
HIDDEN = {
    "/data/secret-client/model": "model",
    "/data/secret client/my model/": "my model",
    "/": ".",
    r"C:\Users\ada\model": "model",
    "C:/Users/ada/model": "model",
    r"\\server\share\model": "model",
    r"\Users\ada\model": "model",
    "file:///data/secret/model": "model",
    "file:///data/secret/my%20model": "my model",
    "file:///C:/Users/ada/model": "model",
    "FILE:///data/secret/model": "model",
    "~ada/secret/model": "model",
    "~ada": "ada",
}
KEPT = ["emoji", "model", "models/a", "./a", "~/runs", "owner/name", "module:generate", "cat/face@emoji",
        "rate=1e-5", "--out", "a/b", "https://example.org/x", "3/4", "C++", "b:c"]  # fmt: skip


@pytest.mark.parametrize("given", HIDDEN)
def test_of_a_place_the_name_is_left(given: str) -> None:
    assert hide_place(given) == HIDDEN[given]
    for arguments in (["--model", given], [f"--model={given}"]):
        text = " ".join(["unlearnbench", "evaluate", *quote_places(arguments)])
        assert "secret" not in text
        assert shlex.split(text)[-1].removeprefix("--model=") == HIDDEN[given]
        assert find_problems_in_places(text) is None
        assert find_problems_in_places(shlex.join(arguments)) is not None or given == "/"


@pytest.mark.parametrize("given", KEPT)
def test_what_is_no_place_stays(given: str) -> None:
    assert hide_place(given) == given
    assert find_problems_in_places(shlex.join(["unlearnbench", given])) is None
    assert clean_error(f"ValueError: {given} is odd") == f"ValueError: {given} is odd"


def test_places_in_the_current_folder_are_relative(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert quote_places([str(tmp_path / "my runs" / "a"), str(tmp_path)]) == ["'my runs/a'", "."]
    assert hide_place(f"{tmp_path}-other") == f"{tmp_path.name}-other"


ERRORS = {
    "OSError: [Errno 2] No such file: '/data/secret client/a b.json'": "'a b.json'",
    "FileNotFoundError: /data/secret/unet/config.json: no such file": " config.json: no such file",
    "RuntimeError: failed at /data/secret/x.py:12, in /secret/y": "x.py:12, in y",
    r"OSError: C:\secret\model\unet not found": "unet not found",
    'ValueError: "C:/secret stuff/model" is odd': '"model" is odd',
    "OSError: file:///data/secret/x is odd": "x is odd",
    "Error (/data/secret/lib/a.py)": "(a.py)",
    "OSError: \\\\server\\secret\\x gone": "x gone",
    "E: path=/data/secret/x": "path=x",
}


@pytest.mark.parametrize("said", ERRORS)
def test_an_error_keeps_its_words_without_the_places(said: str) -> None:
    cleaned = clean_error(said)
    assert "secret" not in cleaned
    assert ERRORS[said] in cleaned
    assert find_problems_in_places(cleaned) is None
    assert find_problems_in_places(said) is not None


def test_an_error_names_neither_home_nor_machine() -> None:
    host = platform.node()
    said = f"OSError: {Path.home()}/a/b on {host}-x and {host}: \x1b[31mred\u202e {'x' * 20000}"
    cleaned = clean_error(said)
    assert str(Path.home()) not in cleaned.replace("~", "") or str(Path.home()) == "/"
    assert len(cleaned) <= MOST_ERROR
    assert find_problems_in_text(cleaned) is None
    if len(platform.node()) > 3:
        assert f"{platform.node()}:" not in cleaned


def test_published_commands_and_errors_pass() -> None:
    for folder in (path for path in RESULTS.iterdir() if path.is_dir()):
        for path in (*list_records(folder), *list_records(folder / CLAIMED)):
            record = read_record(path)
            assert find_problems_in_places(record.command) is None, path.name
            assert find_problems_in_places(record.error or "") is None, path.name

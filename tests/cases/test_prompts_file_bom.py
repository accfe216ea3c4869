"""Text files of prompts: a byte order mark is no letter, and only line ends end a line."""

from pathlib import Path

import pytest

from unlearnbench.bench.errors import UserError
from unlearnbench.bench.unlearning.writing import read_prompts
from unlearnbench.bench.worlds.hub.protocols import read_protocol

TWO = ("a cat on a mat", "a cat in a hat")


def _write(folder: Path, content: bytes) -> Path:
    path = folder / "prompts.txt"
    path.write_bytes(content)
    return path


@pytest.mark.parametrize("end", [b"\n", b"\r\n", b"\r"])
@pytest.mark.parametrize("mark", [b"", b"\xef\xbb\xbf"])
def test_marks_and_line_ends(end: bytes, mark: bytes, tmp_path: Path) -> None:
    content = mark + end.join(text.encode() for text in TWO) + end + end
    assert read_prompts(_write(tmp_path, content)) == TWO


@pytest.mark.parametrize("inside", ["\u2028", "\u2029", "\x85", "\x0b", "\x0c", "\x1c", "\x1e"])
def test_nothing_else_ends_a_line(inside: str, tmp_path: Path) -> None:
    text = f"a cat on{inside}a mat"
    assert read_prompts(_write(tmp_path, f"{text}\na cat in a hat\n".encode())) == (text, TWO[1])
    table = tmp_path / "p.csv"
    table.write_bytes(f"prompt,evaluation_seed\n{text},1\na cat,2\n".encode())
    assert [row.prompt for row in read_protocol("prompts", table)] == [text, "a cat"]


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"", "no prompt in it"),
        (b"\xef\xbb\xbf", "no prompt in it"),
        (b"\n \n\r\n\t\n", "no prompt in it"),
        (b"a cat\na \0cat\n", "line 2: holds a NUL"),
        ("a cat\na café\n".encode("latin-1"), "line 2: is not UTF-8"),
        ("a cat\n".encode("utf-16"), "UTF-16"),
        ("a cat\n".encode("utf-16-le"), "line 1: holds a NUL"),
    ],
)
def test_what_is_no_text_of_prompts_is_refused_in_one_line(content: bytes, said: str, tmp_path: Path) -> None:
    path = _write(tmp_path, content)
    with pytest.raises(UserError, match=said) as caught:
        read_prompts(path)
    assert str(path) in str(caught.value)
    assert "\n" not in str(caught.value)
    if content.strip(b"\xef\xbb\xbf \n\r\t"):
        table = tmp_path / "p.csv"
        table.write_bytes(content)
        with pytest.raises(UserError, match=said):
            read_protocol("prompts", table)


def test_a_folder_is_no_file_of_prompts(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="cannot be read"):
        read_prompts(tmp_path)

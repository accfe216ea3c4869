"""Pages are written among somebody's own files: none of those is replaced or removed."""

import hashlib
from collections.abc import Callable
from pathlib import Path

import pytest

from unlearnbench.bench.cli.main import main
from unlearnbench.bench.errors import UserError
from unlearnbench.leaderboard.pages.owned import LISTING, write_owned

from . import synthetic

FILES = {"index.html": b"page", "data.bin": b"1", "images/a.webp": b"picture"}


def _write(target: Path, files: dict[str, bytes] = FILES) -> None:
    write_owned(files, target, mark="data.bin")


def _content(folder: Path) -> dict[str, bytes]:
    return {p.relative_to(folder).as_posix(): p.read_bytes() for p in folder.rglob("*") if p.is_file()}


def test_own_files_are_replaced_and_removed(tmp_path: Path) -> None:
    _write(tmp_path)
    (tmp_path / "mine.html").write_text("mine")
    _write(tmp_path, {"index.html": b"new", "data.bin": b"2"})
    assert _content(tmp_path).keys() == {"index.html", "data.bin", "mine.html", LISTING}
    assert (tmp_path / "index.html").read_bytes() == b"new"
    assert not (tmp_path / "images" / "a.webp").exists()


def _listing(*lines: tuple[bytes, str]) -> str:
    return "".join(f"{hashlib.sha256(content).hexdigest()}  {name}\n" for content, name in lines)


def _link(folder: Path) -> None:
    (folder.parent / "elsewhere").write_text("mine")
    (folder / "index.html").symlink_to(folder.parent / "elsewhere")


def _linked_folder(folder: Path) -> None:
    (folder.parent / "pictures").mkdir()
    (folder / "images").symlink_to(folder.parent / "pictures")


def _changed(folder: Path) -> None:
    _write(folder)
    (folder / "index.html").write_text("by hand")


IN_THE_WAY: dict[str, tuple[Callable[[Path], object], str]] = {
    "own page": (lambda f: (f / "index.html").write_text("mine"), r"index\.html: was not written"),
    "changed page": (_changed, r"index\.html: was changed"),
    "own sums": (lambda f: (f / LISTING).write_text("mine"), r"SHA256SUMS: was not written"),
    "own sums of these names": (
        lambda f: [
            (f / LISTING).write_text(_listing((b"x", "index.html"))),
            (f / "index.html").write_bytes(b"x"),
        ],
        r"SHA256SUMS: was not written",
    ),
    "a folder": (lambda f: (f / "index.html").mkdir(), r"index\.html: was not written"),
    "a link": (_link, r"index\.html: was not written"),
    "a linked folder": (_linked_folder, r"images: is in the way"),
    "a file for a folder": (lambda f: (f / "images").write_text("mine"), r"images: is in the way"),
}


@pytest.mark.parametrize("name", IN_THE_WAY)
def test_what_is_not_ours_is_refused_before_anything_is_written(tmp_path: Path, name: str) -> None:
    folder = tmp_path / "pages"
    folder.mkdir()
    prepare, message = IN_THE_WAY[name]
    prepare(folder)
    before = _content(tmp_path)
    with pytest.raises(UserError, match=message):
        _write(folder, {**FILES, "index.html": b"new"})
    assert _content(tmp_path) == before


def test_a_build_that_was_killed_half_way_is_gone_on_with(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from unlearnbench.leaderboard.pages import owned

    whole = owned.write_file
    for count in range(5):
        folder = tmp_path / str(count)
        _write(folder)
        left = [count]

        def write(path: Path, content: bytes | str, left: list[int] = left, **how: bool) -> Path:
            if not left[0]:
                raise KeyboardInterrupt
            left[0] -= 1
            return whole(path, content, **how)

        new = {"index.html": b"new", "data.bin": b"2", "more.html": b"3"}
        with monkeypatch.context() as patch:
            patch.setattr(owned, "write_file", write)
            with pytest.raises(KeyboardInterrupt):
                _write(folder, new)
        _write(folder, new)
        assert _content(folder).keys() == {*new, LISTING}


@pytest.mark.parametrize("command", ["site", "leaderboard"])
def test_a_users_own_page_survives(tmp_path: Path, command: str, capsys: pytest.CaptureFixture[str]) -> None:
    for method in ("none", "balanced"):
        synthetic.write(tmp_path / "records", method)
    web = tmp_path / "web"
    web.mkdir()
    (web / "index.html").write_text("my own page")
    assert main([command, str(tmp_path / "records"), "--out", str(web)]) == 2
    assert "index.html: was not written by this command" in capsys.readouterr().err
    assert _content(web) == {"index.html": b"my own page"}


def test_pages_of_a_version_without_a_listing_are_taken_over(tmp_path: Path) -> None:
    for method in ("none", "balanced"):
        synthetic.write(tmp_path / "records", method)
    arguments = ["leaderboard", str(tmp_path / "records"), "--eval-results", "lab/set"]
    assert main(arguments) == 0
    folder = tmp_path / "records" / "leaderboard"
    (folder / LISTING).unlink()
    (folder / "eval_results" / LISTING).unlink()
    with (folder / "index.html").open("a") as file:
        file.write("<!-- as an earlier version wrote it -->")
    assert main(arguments) == 0
    assert (folder / LISTING).exists()

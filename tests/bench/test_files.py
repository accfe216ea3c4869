"""One atomic write: unique scratch names, no half of a file, one line where it cannot be."""

import errno
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from unlearnbench.bench import files
from unlearnbench.bench.errors import UserError
from unlearnbench.bench.files import (
    SCRATCH,
    check_writable,
    create_file,
    make_folder,
    replace_file,
    scratch_name,
    sweep,
    write_file,
)

WRITER = """
import sys, pathlib
from unlearnbench.bench.files import write_file
target, letter = pathlib.Path(sys.argv[1]), sys.argv[2]
for _ in range(100):
    write_file(target, letter * 50_000, durable=False)
"""


def test_processes_that_write_one_file_do_not_disturb_each_other(tmp_path: Path) -> None:
    target = tmp_path / "record.json"
    command = [sys.executable, "-c", WRITER, str(target)]
    writers = [subprocess.Popen([*command, letter], stderr=subprocess.PIPE) for letter in "abc"]
    while any(writer.poll() is None for writer in writers):
        if target.exists():
            seen = target.read_text()
            assert len(seen) == 50_000
            assert len(set(seen)) == 1
    said = [writer.communicate()[1].decode() for writer in writers]
    assert [writer.returncode for writer in writers] == [0, 0, 0], said
    assert sorted(path.name for path in tmp_path.iterdir()) == ["record.json"]


def test_a_write_that_fails_leaves_the_old_file_and_nothing_else(tmp_path: Path) -> None:
    target = write_file(tmp_path / "a.json", "old")

    def fail(scratch: Path) -> None:
        scratch.write_text("half")
        raise OSError(errno.ENOSPC, "No space left on device")

    with pytest.raises(UserError, match=r"a\.json: cannot be written: the disk is full"):
        replace_file(target, fail)
    assert target.read_text() == "old"
    assert [path.name for path in tmp_path.iterdir()] == ["a.json"]

    def interrupt(scratch: Path) -> None:
        scratch.write_text("half")
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        replace_file(target, interrupt)
    assert [path.name for path in tmp_path.iterdir()] == ["a.json"]


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="no device that is always full")
def test_a_disk_that_is_really_full_is_one_line(tmp_path: Path) -> None:
    def fill(scratch: Path) -> None:
        with Path("/dev/full").open("wb", buffering=0) as file:
            file.write(b"x")

    with pytest.raises(UserError, match="the disk is full"):
        replace_file(tmp_path / "a", fill)


PLACES: dict[str, tuple[Callable[[Path], Path], str]] = {
    "below a file": (lambda folder: folder / "file" / "x" / "a.json", "is a file, not a folder"),
    "a folder's name": (lambda folder: folder / "folder", "a folder has this name"),
    "a name of 300 letters": (lambda folder: folder / ("n" * 300), "the name is too long"),
    "below a name of 300 letters": (lambda folder: folder / ("n" * 300) / "a", "the name is too long"),
}


@pytest.mark.parametrize("name", PLACES)
def test_a_place_that_cannot_be_written_is_one_line_that_names_it(tmp_path: Path, name: str) -> None:
    (tmp_path / "file").write_text("mine")
    (tmp_path / "folder").mkdir()
    (tmp_path / "folder" / "mine").write_text("mine")
    place, reason = PLACES[name]
    with pytest.raises(UserError, match=reason) as caught:
        write_file(place(tmp_path), "x")
    assert "\n" not in str(caught.value)
    assert (tmp_path / "file").read_text() == "mine"
    assert not [path for path in tmp_path.rglob("*") if SCRATCH.fullmatch(path.name)]


@pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() == 0, reason="root may write everywhere")
def test_a_folder_that_is_read_only_is_one_line(tmp_path: Path) -> None:
    tmp_path.chmod(0o500)
    try:
        with pytest.raises(UserError, match="no permission"):
            write_file(tmp_path / "a", "x")
        with pytest.raises(UserError, match="no permission"):
            check_writable(tmp_path)
    finally:
        tmp_path.chmod(0o700)


def test_a_folder_that_cannot_be_made_is_one_line(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("mine")
    for folder in (tmp_path / "file", tmp_path / "file" / "below"):
        with pytest.raises(UserError, match="cannot be made"):
            make_folder(folder)


def test_what_a_killed_process_left_is_removed_and_nothing_else(tmp_path: Path) -> None:
    code = (
        "import os, sys, pathlib\n"
        "from unlearnbench.bench.files import replace_file\n"
        "def write(path):\n"
        "    path.write_text('half')\n"
        "    os.kill(os.getpid(), 9)\n"
        "replace_file(pathlib.Path(sys.argv[1]), write)\n"
    )
    subprocess.run([sys.executable, "-c", code, str(tmp_path / "a.json")], check=False)
    left = [path.name for path in tmp_path.iterdir()]
    assert len(left) == 1
    assert SCRATCH.fullmatch(left[0])
    for mine in ("mine.tmp", ".unlearnbench.tmp", "a.json.tmp", scratch_name()):  # the last: still running
        (tmp_path / mine).write_text("mine")
    (tmp_path / scratch_name().replace(str(os.getpid()), "1")).symlink_to(tmp_path / "mine.tmp")
    sweep(tmp_path)
    assert len(list(tmp_path.iterdir())) == 5
    assert (tmp_path / "mine.tmp").read_text() == "mine"


def test_a_file_that_is_there_is_not_created_again(tmp_path: Path) -> None:
    create_file(tmp_path / "key", b"secret", 0o600)
    with pytest.raises(UserError, match="is not overwritten"):
        create_file(tmp_path / "key", b"other")
    assert (tmp_path / "key").read_bytes() == b"secret"


def test_two_machines_and_two_containers_have_scratch_files_of_their_own(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """A process id says nothing outside the machine or container that it counts in."""
    left = scratch_name().replace(str(os.getpid()), "999999999")
    (tmp_path / left).write_text("half")
    here = files.host_digest()
    files.host_digest.cache_clear()
    monkeypatch.setattr(os, "readlink", lambda path: "pid:[another]")
    try:
        assert files.host_digest() != here
        assert files.process_ended(here, 999999999) is None
        sweep(tmp_path)
        assert (tmp_path / left).exists()
    finally:
        files.host_digest.cache_clear()
    monkeypatch.undo()
    sweep(tmp_path)
    assert not (tmp_path / left).exists()

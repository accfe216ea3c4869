"""The store: hit, miss, corruption, atomic writes, the size limit."""

import errno
import hashlib
import io
import os
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from unlearnbench.bench.cli.main import main
from unlearnbench.bench.errors import UserError
from unlearnbench.bench.store import KINDS, Store, content_key


@pytest.fixture
def said() -> list[str]:
    return []


@pytest.fixture
def store(tmp_path: Path, said: list[str]) -> Store:
    return Store(tmp_path / "store", said.append)


def test_what_is_put_is_got(store: Store) -> None:
    store.put("images", "ab12", b"payload")
    assert store.get("images", "ab12") == b"payload"
    assert store.get("images", "cd34") is None
    assert store.get("deltas", "ab12") is None


@pytest.mark.parametrize("position", [0, 31, 32, -1])
def test_a_corrupt_entry_is_reported_and_dropped(store: Store, said: list[str], position: int) -> None:
    store.put("images", "ab12", b"payload")
    path = store.path("images", "ab12")
    content = bytearray(path.read_bytes())
    content[position] ^= 1
    path.write_bytes(content)
    assert store.get("images", "ab12") is None
    assert len(said) == 1
    assert str(path) in said[0]
    assert not path.exists()


def test_a_truncated_entry_is_dropped(store: Store) -> None:
    store.put("images", "ab12", b"payload")
    store.path("images", "ab12").write_bytes(b"short")
    assert store.get("images", "ab12") is None


def test_a_write_that_was_killed_leaves_no_entry(store: Store) -> None:
    path = store.path("images", "ab12")
    path.parent.mkdir(parents=True)
    path.with_name("ab12.1.tmp").write_bytes(b"half")
    assert store.get("images", "ab12") is None


def test_prune_drops_the_least_recently_used_first(store: Store) -> None:
    keys = [letter * 64 for letter in "abc"]
    for age, key in enumerate(keys):
        store.put("images", key, b"x" * 68)
        os.utime(store.path("images", key), (1000 + age, 1000 + age))
    store.get("images", keys[0])  # a read counts as use
    assert store.prune(limit=200) == 100
    assert [store.has("images", key) for key in keys] == [True, False, True]


def test_an_impossible_folder_is_one_clear_line(tmp_path: Path) -> None:
    blocked = tmp_path / "file"
    blocked.write_text("")
    with pytest.raises(UserError, match="cannot be made"):
        Store(blocked / "store")


def test_key_ignores_order_but_no_field() -> None:
    assert content_key({"a": 1, "b": "x"}) == content_key({"b": "x", "a": 1})
    assert len({content_key(f) for f in ({"a": 1}, {"a": 2}, {"b": 1}, {"a": "1"}, {"a": [1]})}) == 5


KEYS = [content_key({"entry": number}) for number in range(4)]


def _fill(store: Store, age: float = 1000) -> None:
    for key in KEYS:
        store.put("images", key, b"x" * 68)
        os.utime(store.path("images", key), (age, age))


def _content(folder: Path) -> dict[str, bytes]:
    return {p.relative_to(folder).as_posix(): p.read_bytes() for p in folder.rglob("*") if p.is_file()}


def _own_files(folder: Path) -> dict[str, bytes]:
    """Write files of the user's into a folder: some lie and are named nearly as entries do and are."""
    key = KEYS[0]
    for name in (
        "thesis.txt",
        "images/holiday.png",
        "images/ab/holiday.png",
        f"images/{key[:2]}/{key}.png",
        f"images/{key[:2]}/{key[:-1]}",
        f"images/{key}",
        f"photos/{key[:2]}/{key}",
        f"images/zz/{key}",
    ):
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"mine")
        os.utime(path, (10, 10))
    return {name: content for name, content in _content(folder).items() if content == b"mine"}


def test_a_folder_with_other_files_gets_a_store_of_its_own_and_loses_none(
    tmp_path: Path, said: list[str]
) -> None:
    own = _own_files(tmp_path)
    store = Store(tmp_path, said.append)
    assert "holds other files" in said[0]
    assert store.folder.parent == tmp_path
    _fill(store)
    assert store.prune(limit=0) == 400
    again = Store(tmp_path, said.append)
    assert again.folder == store.folder
    assert len(said) == 1
    assert {name: content for name, content in _content(tmp_path).items() if name in own} == own


def test_files_that_come_into_a_store_later_stay(store: Store, tmp_path: Path) -> None:
    _fill(store)
    own = _own_files(store.folder)
    assert Store(store.folder).prune(limit=0) == 400
    left = _content(store.folder)
    assert {name: left.get(name) for name in own} == own


def test_a_store_without_a_marker_is_taken_over_and_other_files_in_it_stay(store: Store) -> None:
    _fill(store)
    for name in (".unlearnbench-store", ".gitignore"):
        (store.folder / name).unlink()
    (store.folder / "thesis.txt").write_text("mine")
    os.utime(store.folder / "thesis.txt", (10, 10))
    old = Store(store.folder)
    assert old.folder == store.folder
    assert old.get("images", KEYS[0]) == b"x" * 68
    os.utime(store.path("images", KEYS[0]), (1000, 1000))
    assert old.prune(limit=0) == 400
    assert (store.folder / "thesis.txt").read_text() == "mine"


@pytest.mark.skipif(os.name == "nt", reason="links need rights")
def test_pruning_follows_no_link(store: Store, tmp_path: Path) -> None:
    outside = tmp_path / "outside"
    _fill(Store(outside))
    before = _content(outside)
    (store.folder / "deltas").symlink_to(outside / "images")
    (store.folder / "images").mkdir()
    fan = outside / "images" / KEYS[0][:2]
    (store.folder / "images" / KEYS[0][:2]).symlink_to(fan)
    (store.folder / "features" / KEYS[0][:2]).mkdir(parents=True)
    (store.folder / "features" / KEYS[0][:2] / KEYS[0]).symlink_to(fan / KEYS[0])
    assert store.prune(limit=0) == 0
    assert _content(outside) == before


def test_what_this_run_wrote_or_read_is_not_pruned(tmp_path: Path) -> None:
    _fill(Store(tmp_path))
    store = Store(tmp_path)
    assert store.get("images", KEYS[0]) is not None
    store.put("images", "f" * 64, b"new")
    assert store.prune(limit=0) == 300
    assert store.has("images", KEYS[0])
    assert store.has("images", "f" * 64)


@pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() == 0, reason="root may write everywhere")
def test_a_read_only_store_serves_what_it_holds(store: Store) -> None:
    _read_only(store, lambda path: path.chmod(0o500 if path.is_dir() else 0o400))


def test_a_store_of_another_user_serves_what_it_holds(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise PermissionError(1, "Operation not permitted")

    def forbid(path: Path) -> None:
        monkeypatch.setattr(os, "utime", refuse)
        monkeypatch.setattr(os, "replace", refuse)
        monkeypatch.setattr(Path, "unlink", refuse)

    _read_only(store, forbid)


def _read_only(store: Store, forbid: Callable[[Path], None]) -> None:
    _fill(store)
    damaged = store.path("images", KEYS[1])
    damaged.write_bytes(b"damaged")
    places = [store.folder, *store.folder.rglob("*")]
    for path in places:
        forbid(path)
    try:
        said: list[str] = []
        again = Store(store.folder, said.append)
        assert again.get("images", KEYS[0]) == b"x" * 68
        assert again.get("images", KEYS[1]) is None
        assert "corrupt" in said[0]
        assert again.prune(limit=0) == 0
        with pytest.raises(UserError, match="cannot be written"):
            again.put("images", "e" * 64, b"new")
    finally:
        for path in places:
            path.chmod(0o700)


def test_a_new_store_is_left_out_of_git_and_an_own_folder_is_not(tmp_path: Path) -> None:
    assert (Store(tmp_path / "new").folder / ".gitignore").read_text() == "*\n"
    (tmp_path / "mixed").mkdir()
    (tmp_path / "mixed" / "a.py").write_text("")
    Store(tmp_path / "mixed", lambda line: None)
    assert not (tmp_path / "mixed" / ".gitignore").exists()


@pytest.mark.parametrize("kind", ["file", "broken link", "link to a file", "name of 300 letters"])
def test_a_folder_that_can_be_none_is_one_line(tmp_path: Path, kind: str) -> None:
    (tmp_path / "file").write_text("mine")
    place = tmp_path / ("n" * 300 if kind == "name of 300 letters" else "place")
    if kind == "broken link":
        place.symlink_to(tmp_path / "nowhere")
    elif kind == "link to a file":
        place.symlink_to(tmp_path / "file")
    elif kind == "file":
        place.write_text("mine")
    with pytest.raises(UserError, match=r"--store .*: cannot be made"):
        Store(place)
    assert (tmp_path / "file").read_text() == "mine"


def test_an_entry_in_the_place_of_another_is_not_read(store: Store, said: list[str]) -> None:
    """A copied or renamed file is whole, but holds what belongs to another key."""
    store.put("images", "ab12", b"one")
    store.put("images", "ab34", b"two")
    store.path("images", "ab12").replace(store.path("images", "ab34"))
    assert store.get("images", "ab34") is None
    assert len(said) == 1


def test_entries_of_earlier_versions_are_made_again_and_said_once(store: Store, said: list[str]) -> None:
    for key in ("ab12", "ab34"):
        path = store.path("images", key)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(hashlib.sha256(b"payload").digest() + b"payload")
        assert store.get("images", key) is None
        assert not path.exists()
    assert len(said) == 1
    assert "earlier version" in said[0]


def test_only_the_command_prunes(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    _fill(Store(tmp_path / "store"))
    assert main(["prune", "--store", str(tmp_path / "store"), "--limit", "0"]) == 0
    assert "removed" in capsys.readouterr().out
    assert not any(Store(tmp_path / "store").has("images", key) for key in KEYS)
    assert main(["prune", "--store", str(tmp_path / "store"), "--limit", "-1"]) == 2
    assert main(["prune", "--store", str(tmp_path / "no store")]) == 2
    assert not (tmp_path / "no store").exists()


def test_every_kind_of_entry_is_counted_and_pruned(store: Store) -> None:
    """A kind that KINDS lacks would stay for ever."""
    sources = (Path(__file__).parents[2] / "bench").rglob("*.py")
    kinds = {kind for path in sources for kind in re.findall(r'store\.put\(\s*"([\w-]+)"', path.read_text())}
    assert kinds == set(KINDS)
    for kind in kinds:
        store.put(kind, "a" * 64, b"x" * 68)
        os.utime(store.path(kind, "a" * 64), (1, 1))
    assert store.prune(limit=0) == 100 * len(kinds)


def _no_room(*_: object) -> int:
    raise OSError(errno.ENOSPC, "No space left on device")


def test_a_claim_on_a_full_disk_leaves_nothing_behind(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    """An empty claim would keep all others waiting until it expires."""

    class Full(io.BytesIO):
        write = _no_room

    opened = Path.open

    def open_full(path: Path, *arguments: str) -> Any:
        opened(path, *arguments).close()
        return Full()

    with monkeypatch.context() as patch:
        patch.setattr(Path, "open", open_full)
        assert store.claim("a" * 64, b"mine")
    assert store.read_claim("a" * 64) is None
    assert store.claim("a" * 64, b"mine")


def test_a_store_that_cannot_be_written_is_found_before_long_work(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    store.check_writable()
    assert sorted(path.name for path in store.folder.iterdir()) == [".gitignore", ".unlearnbench-store"]
    monkeypatch.setattr(Path, "write_bytes", _no_room)
    with pytest.raises(UserError, match="store: cannot be written: the disk is full"):
        store.check_writable()

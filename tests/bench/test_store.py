"""The store: hit, miss, corruption, atomic writes, the size limit."""

import os
from pathlib import Path

import pytest

from unlearnbench.bench.errors import UserError
from unlearnbench.bench.store import Store, content_key


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
    for age, key in enumerate(["aa", "bb", "cc"]):
        store.put("images", key, b"x" * 68)
        os.utime(store.path("images", key), (1000 + age, 1000 + age))
    store.get("images", "aa")  # a read counts as use
    assert store.prune(limit=200) == 100
    assert [store.has("images", key) for key in ("aa", "bb", "cc")] == [True, False, True]


def test_an_impossible_folder_is_one_clear_line(tmp_path: Path) -> None:
    blocked = tmp_path / "file"
    blocked.write_text("")
    with pytest.raises(UserError, match="cannot be made"):
        Store(blocked / "store")


def test_key_ignores_order_but_no_field() -> None:
    assert content_key({"a": 1, "b": "x"}) == content_key({"b": "x", "a": 1})
    assert len({content_key(f) for f in ({"a": 1}, {"a": 2}, {"b": 1}, {"a": "1"}, {"a": [1]})}) == 5

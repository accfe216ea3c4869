"""A store in a bucket: entries are checked, refusals are tried again, a run goes on from another machine."""

import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from unlearnbench.bench.cli.main import main
from unlearnbench.bench.errors import UserError
from unlearnbench.bench.records.record import read_record, record_digest
from unlearnbench.bench.running.sharing import remote
from unlearnbench.bench.running.sharing.leases import Leases
from unlearnbench.bench.running.sharing.remote import RemoteStore, open_any_store
from unlearnbench.bench.store import Store, content_key

from ..suites import TWO_TASKS

KEY = content_key({"entry": 1})


@pytest.fixture
def said() -> list[str]:
    return []


@pytest.fixture
def store(said: list[str]) -> RemoteStore:
    return RemoteStore(f"memory://{uuid.uuid4()}/prefix", said.append)


def test_what_is_put_is_got_and_a_damaged_entry_is_made_again(store: RemoteStore, said: list[str]) -> None:
    assert (store.has("images", KEY), store.get("images", KEY)) == (False, None)
    store.put("images", KEY, b"payload")
    assert (store.has("images", KEY), store.get("images", KEY)) == (True, b"payload")
    name = store.name("images", KEY)
    whole = store.files.cat_file(name)
    for torn in (whole[:-1], whole[:20], b"", whole[:-1] + b"x"):
        store.files.pipe_file(name, torn)
        assert store.get("images", KEY) is None
        assert not store.has("images", KEY)
    assert len(said) == 4


def test_an_entry_is_the_same_file_as_in_a_folder(store: RemoteStore, tmp_path: Path) -> None:
    """A bucket that is mounted, or copied, is a store."""
    store.put("images", KEY, b"payload")
    local = Store(tmp_path)
    local.put("images", KEY, b"payload")
    assert store.files.cat_file(store.name("images", KEY)) == local.path("images", KEY).read_bytes()


def test_leases_work_in_a_bucket(store: RemoteStore) -> None:
    with Leases(store).holding(KEY) as one, Leases(store).holding(KEY) as other:
        assert one is not None
        assert other is None
    with Leases(store).holding(KEY) as again:
        assert again is not None


def test_what_the_server_refuses_is_tried_again(store: RemoteStore, monkeypatch: pytest.MonkeyPatch) -> None:
    pauses: list[float] = []
    monkeypatch.setattr(remote.time, "sleep", pauses.append)
    store.put("images", KEY, b"payload")
    real, refusals = store.files.cat_file, [OSError("503 Slow Down"), ConnectionError("reset")]

    def slow(name: str) -> Any:
        if refusals:
            raise refusals.pop()
        return real(name)

    monkeypatch.setattr(store.files, "cat_file", slow)
    assert store.get("images", KEY) == b"payload"
    assert pauses == [0.25, 0.5]
    refusals += [OSError("503 Slow Down")] * 100
    with pytest.raises(UserError, match=r"--store memory://.*503 Slow Down"):
        store.get("images", KEY)


def test_an_address_that_cannot_be_opened_is_one_line(said: list[str]) -> None:
    with pytest.raises(UserError, match=r"--store nothing://bucket"):
        open_any_store("nothing://bucket/prefix", said.append)
    with pytest.raises(UserError, match="rules of a bucket"):
        open_any_store("memory://bucket", said.append).prune()


@pytest.fixture
def bucket(monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """An S3 server on this machine."""
    pytest.importorskip("s3fs")
    server = pytest.importorskip("moto.server").ThreadedMotoServer(port=0)
    server.start()
    host, port = server.get_host_and_port()
    monkeypatch.setenv("AWS_ENDPOINT_URL", f"http://{host}:{port}")
    for name in ("ACCESS_KEY_ID", "SECRET_ACCESS_KEY"):
        monkeypatch.setenv(f"AWS_{name}", "testing")
    monkeypatch.setenv("AWS_DEFAULT_REGION", "us-east-1")
    import s3fs

    name = str(uuid.uuid4())
    s3fs.S3FileSystem(skip_instance_cache=True).mkdir(name)
    yield f"s3://{name}/prefix"
    server.stop()


@pytest.mark.slow
def test_a_lease_in_s3_has_one_owner(bucket: str, said: list[str]) -> None:
    one, other = (open_any_store(bucket, said.append) for _ in range(2))
    assert one.claim(KEY, b"one")
    assert not other.claim(KEY, b"other")
    # the other saw none, and writes a moment too late
    assert isinstance(other, RemoteStore)
    with pytest.raises(FileExistsError):
        other.files.pipe_file(other.name("leases", KEY), b"other", mode="create")
    assert other.read_claim(KEY) == b"one"


@pytest.mark.slow
def test_a_run_goes_on_from_another_machine_and_draws_nothing_twice(
    bucket: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    suite = tmp_path / "two.toml"
    suite.write_text(TWO_TASKS)

    def run(name: str, store: str, *more: str) -> tuple[dict[str, str], str]:
        where = ["--out", str(tmp_path / name), "--store", store, "--threads", "1"]
        assert main(["run", "--suite", str(suite), *where, *more]) == 0
        records = sorted((tmp_path / name).glob("*.json"))
        return {p.name: record_digest(read_record(p)) for p in records}, capsys.readouterr().out

    alone, said = run("one", str(tmp_path / "store"))
    assert "36 images drawn" in said
    first, said = run("two", bucket, "--task", "classes/cat-face@tiny")
    assert "18 images drawn" in said
    second, said = run("three", bucket)
    assert "4 cells, 0 unchanged, 0 failed, 18 images drawn" in said
    assert second == alone
    assert first.items() <= alone.items()

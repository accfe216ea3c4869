"""The JSON of a folder's records in one table: read as from files of its own, lost by nothing, believed no
more."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as parquet
import pytest

from unlearnbench.bench.checking.beside import check_beside
from unlearnbench.bench.checking.known import Known, make_known
from unlearnbench.bench.checking.validate import Check, validate
from unlearnbench.bench.cli.main import main
from unlearnbench.bench.errors import UserError
from unlearnbench.bench.records.bundle import pack
from unlearnbench.bench.records.chosen import copy_record, is_copy
from unlearnbench.bench.records.layout import find_attacked, find_records, find_strays
from unlearnbench.bench.records.load import load
from unlearnbench.bench.records.packed import record_table
from unlearnbench.bench.records.packed.record_table import (
    RECORDS,
    find_json,
    has_record,
    open_records,
    read_bytes,
    write_records,
)
from unlearnbench.bench.records.record import read_record, record_digest, write_record
from unlearnbench.bench.records.sheets import check_whole
from unlearnbench.bench.records.statements import list_records
from unlearnbench.bench.records.untrusted import JSON_BYTES, TABLE
from unlearnbench.leaderboard.audit.audit import find_base

from ..golden.recompute import read, read_records
from ..leaderboard.synthetic import make_record, write, write_failed
from .test_pack import KILLED, assert_equal, files, pack_and_die

RESULTS = Path(__file__).resolve().parents[2] / "results"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Two records, one that failed, and labels, which are no record."""
    for method in ("none", "balanced"):
        write(tmp_path / "loose", method)
    write_failed(tmp_path / "loose", "KeyError: 'x'")
    (tmp_path / "loose" / "me.labels.json").write_text("{}")
    return tmp_path / "loose"


@pytest.fixture
def packed(folder: Path) -> Path:
    """The same records, packed; they lie next to `folder`."""
    target = folder.with_name("packed")
    shutil.copytree(folder, target)
    assert main(["pack", str(target), "--records"]) == 0
    return target


@pytest.fixture(scope="module")
def known() -> Known:
    return make_known()


@pytest.fixture(scope="module")
def published(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """A published suite, and the same packed."""
    loose = RESULTS / "emoji-cuda"
    packed = tmp_path_factory.mktemp("published") / "emoji-cuda"
    packed.mkdir()
    for path in list_records(loose):
        copy_record(path, packed)
    assert main(["pack", str(packed), "--records"]) == 0
    return loose, packed


def contents(folder: Path) -> dict[str, bytes]:
    """Return the files of records by name, read as files."""
    return {path.name: path.read_bytes() for path in folder.glob("*.json")}


def test_a_packed_record_is_its_file_byte_for_byte(folder: Path, packed: Path) -> None:
    assert [path.name for path in packed.glob("*.json")] == ["me.labels.json"]
    assert [path.name for path in list_records(packed)] == [path.name for path in list_records(folder)]
    for path in list_records(folder):
        assert read_bytes(packed / path.name) == path.read_bytes()
    table = parquet.read_table(packed / RECORDS)
    assert table["cell"].to_pylist() == sorted(path.stem for path in list_records(folder))
    assert_equal(load(packed), load(folder))


def test_published_numbers_are_the_same_from_one_table(
    published: tuple[Path, Path], tmp_path: Path, known: Known, capsys: pytest.CaptureFixture[str]
) -> None:
    loose, packed = published
    assert not list(packed.glob("*.json"))
    for place in published:
        assert main(["leaderboard", str(place), "--out", str(tmp_path / place.parent.name)]) == 0
    assert files(tmp_path / "results") == files(tmp_path / packed.parent.name)
    checks = [{path.name: validate(path, known) for path in list_records(place)} for place in published]
    assert checks[0] == checks[1]
    capsys.readouterr()
    assert main(["validate", str(packed)]) == 0
    assert "12 records and 2 files beside them, 0 failed" in capsys.readouterr().out
    digests = [{p.name: record_digest(read_record(p)) for p in list_records(place)} for place in published]
    assert digests[0] == digests[1]
    assert len(read(loose)) == 32  # 4 tasks, 4 points, 2 halves
    assert read(loose).equals(read(packed))
    assert read_records(packed) == {path.stem: json.loads(path.read_bytes()) for path in list_records(loose)}


def test_packing_again_changes_nothing_and_a_new_record_is_added(folder: Path, packed: Path) -> None:
    before, state = files(packed), (packed / RECORDS).stat()
    for options in ([], ["--records"]):
        assert main(["pack", str(packed), *options]) == 0
        assert files(packed) == before
        assert (packed / RECORDS).stat().st_mtime_ns == state.st_mtime_ns
    record, items, sheet = make_record("balanced", seed=7, cell="later")
    path = write_record(record, items, sheet, packed)
    own = path.read_bytes()
    assert main(["pack", str(packed)]) == 0  # without --records the JSON stays
    assert path.exists()
    assert main(["pack", str(packed), "--records"]) == 0
    assert not path.exists()
    assert read_bytes(path) == own
    assert len(list_records(packed)) == len(list_records(folder)) + 1


@pytest.mark.parametrize("moment", KILLED)
def test_what_is_killed_loses_nothing(folder: Path, moment: str, monkeypatch: pytest.MonkeyPatch) -> None:
    assert main(["pack", str(folder)]) == 0  # the item rows
    before, loaded = contents(folder), load(folder)
    pack_and_die([str(folder), "--records"], moment, ".json", monkeypatch)
    assert (folder / RECORDS).exists() == (moment == "among the deletions")
    assert {path.name: read_bytes(path) for path in list_records(folder)}.items() <= before.items()
    assert_equal(load(folder), loaded)
    assert main(["pack", str(folder), "--records"]) == 0
    assert [path.name for path in folder.glob("*.json")] == ["me.labels.json"]
    assert {path.name: read_bytes(path) for path in list_records(folder)}.items() <= before.items()
    assert_equal(load(folder), loaded)


def test_a_table_that_does_not_give_the_records_back_replaces_nothing(
    folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["pack", str(folder)]) == 0
    before = files(folder)

    def confuse(found: dict[str, bytes], path: Path) -> None:
        write_records(dict(zip(found, reversed(found.values()), strict=True)), path)

    monkeypatch.setattr("unlearnbench.bench.records.packed.packing.write_records", confuse)
    assert main(["pack", str(folder), "--records"]) == 2
    assert "nothing was packed" in capsys.readouterr().err
    monkeypatch.undo()
    monkeypatch.setattr(record_table, "JSON_BYTES", 1000)
    assert main(["pack", str(folder), "--records"]) == 2
    said = capsys.readouterr().err
    assert f"{folder}: its records do not fit into a table" in said
    assert "a record has at most 1,000; nothing was packed" in said
    assert files(folder) == before


def test_a_file_of_its_own_must_be_the_packed_record(
    folder: Path, packed: Path, known: Known, capsys: pytest.CaptureFixture[str]
) -> None:
    path = next(path for path in list_records(packed) if "balanced" in path.name)
    shutil.copy(folder / path.name, path)
    assert read_bytes(path) == path.read_bytes()
    assert find_json(path) == path
    assert (
        "lies in a file of its own, too; run `pack --records` again" in check_beside(packed / RECORDS).detail
    )
    path.write_text(path.read_text().replace('"seed": 0', '"seed": 1'))
    said = f"{path}: is not the record of this name in {RECORDS}"
    with pytest.raises(UserError, match="is not the record of this name"):
        load(packed)
    assert said in validate(path, known)[0].detail
    before = files(packed)
    for options in ([], ["--records"]):
        assert main(["pack", str(packed), *options]) == 2
        assert said in capsys.readouterr().err
    assert files(packed) == before


def test_readers_take_the_path_that_a_packed_record_would_have(
    folder: Path, packed: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    names = [path.name for path in list_records(folder) if read_record(path).status == "ok"]
    for place in (folder, packed):
        pack([place / name for name in names], tmp_path / f"{place.name}.zip")
    assert (tmp_path / "loose.zip").read_bytes() == (tmp_path / "packed.zip").read_bytes()
    said = []
    for place in (folder, packed):
        for name in names:
            check_whole(place / name, read_record(place / name))
            assert main(["show", str(place / name)]) == 0
        assert main(["watch", str(place), "--once"]) == 0
        said.append(capsys.readouterr().out.replace(str(place), ""))
    assert said[0] == said[1]
    (tmp_path / "copied").mkdir()
    for path in list_records(packed):
        copy_record(path, tmp_path / "copied")
        assert is_copy(tmp_path / "copied" / path.name, path)
        assert not is_copy(path, path)
    assert contents(tmp_path / "copied").items() <= contents(folder).items()
    method, base = (next(p for p in list_records(packed) if n in p.name) for n in ("balanced", "none"))
    assert find_base(method, load(packed)[[e.name for e in load(packed)].index(method.name)]) == base
    assert find_records([method, packed]) == list(dict.fromkeys([method, *list_records(packed)]))
    with pytest.raises(UserError, match="no such record"):
        find_records([packed / "absent.json"])
    with pytest.raises(UserError, match="no such record"):
        read_record(packed / "absent.json")


def test_a_packed_record_is_never_replaced(packed: Path, tmp_path: Path) -> None:
    before = files(packed)
    record, items, sheet = make_record("balanced")
    with pytest.raises(UserError, match=rf"{RECORDS}: holds .* is never replaced; give another --out"):
        write_record(record, items, sheet, packed)
    path = write_record(record, items, sheet, tmp_path / "again")
    with pytest.raises(UserError, match="is never replaced"):
        copy_record(path, packed)
    assert files(packed) == before


def test_attacked_records_are_packed_in_their_folder(tmp_path: Path, known: Known) -> None:
    found = list_records(RESULTS / "attacks" / "attacked")
    names = [path.name for path in found if path.match("*cat-face*uce*.json")][:3]
    assert len(names) == 3
    copy_record(RESULTS / "attacks" / "classes-cat-face-emoji.uce.f76e7d.s0.json", tmp_path)
    for name in names:
        copy_record(RESULTS / "attacks" / "attacked" / name, tmp_path / "attacked")
    own = contents(tmp_path / "attacked")
    assert main(["pack", str(tmp_path)]) == 0
    assert sorted(own) == sorted(path.name for path in (tmp_path / "attacked").glob("*.json"))
    assert [path.name for path in (tmp_path / "attacked").glob("*.parquet")] == [TABLE]
    assert main(["pack", str(tmp_path), "--records"]) == 0
    assert sorted(path.name for path in (tmp_path / "attacked").iterdir()) == [TABLE, RECORDS]
    paths = find_attacked([tmp_path])
    assert {path.name: read_bytes(path) for path in paths} == own
    for path in paths:
        assert not [check for check in validate(path, known) if check.state == "failed"]
    assert main(["validate", str(tmp_path)]) == 0
    assert main(["validate", str(tmp_path / "attacked")]) == 0


def rewrite(folder: Path, change: Callable[[pa.Table], pa.Table], **options: Any) -> None:
    table = change(parquet.read_table(folder / RECORDS))
    parquet.write_table(table, folder / RECORDS, **{"store_schema": False, **options})


def _cells(name: str) -> Callable[[pa.Table], pa.Table]:
    """Return a change that gives the last row this name."""
    return lambda table: table.set_column(
        0, "cell", pa.array([*table["cell"].to_pylist()[:-1], name], pa.string())
    )


def _huge(table: pa.Table) -> pa.Table:
    whole = [*table["record"].to_pylist()[:-1], b" " * (JSON_BYTES + 1)]
    return table.set_column(1, "record", pa.array(whole, pa.binary()))


@pytest.mark.parametrize(
    ("change", "options", "said"),
    [
        (lambda t: pa.concat_tables([t, t.slice(len(t) - 1)]), {}, "is there twice"),
        (lambda t: t.take([1, 0, 2]), {}, "is not in the order of the names"),
        (_cells("z/../../x"), {}, "cell: 'z/../../x' is no name of a record"),
        (_cells("zz..x"), {}, "is no name of a record"),
        (_cells("zz.labels"), {}, "is no name of a record"),
        (_cells("submission"), {}, "is no name of a record"),
        (_cells("z\u202ex"), {}, "cell: 'z\\u202ex' is no name of a record"),
        (_cells(""), {}, "is no name of a record"),
        (_huge, {}, f"{JSON_BYTES + 1:,} bytes; a record has at most"),
        (lambda t: t.replace_schema_metadata({"a": "b"}), {"store_schema": True}, "carries metadata"),
        (lambda t: t.append_column("extra", t["cell"]), {}, "its columns are 'cell, record, extra'"),
        (lambda t: t.drop_columns(["record"]), {}, "its columns are 'cell'"),
        (lambda t: t.select(["record", "cell"]), {}, "its columns are 'record, cell'"),
        (lambda t: t.set_column(1, "record", t["record"].cast(pa.string())), {}, "is of type string"),
        (lambda t: t.set_column(0, "cell", pa.nulls(len(t), pa.string())), {}, "cell: holds nulls"),
        (lambda t: t.set_column(1, "record", pa.nulls(len(t), pa.binary())), {}, "record: holds nulls"),
        (lambda t: pa.table([["x"] * 20_001, [b""] * 20_001], t.schema.names), {}, "at most 20,000 rows"),
        (lambda t: t.set_column(1, "record", pa.array([b""] * len(t), pa.binary())), {"compression": "gzip",
         "column_encoding": {"record": "DELTA_BYTE_ARRAY"}, "use_dictionary": False}, "unusual encoding"),
    ],
    ids=["twice", "order", "path", "dots", "labels", "manifest", "hidden", "empty", "huge", "metadata",
         "more", "lacking", "turned", "type", "no cell", "no record", "rows", "encoding"],
)  # fmt: skip
def test_a_table_is_believed_no_more_than_a_record(
    packed: Path,
    change: Callable[[pa.Table], pa.Table],
    options: dict[str, Any],
    said: str,
    capsys: pytest.CaptureFixture[str],
) -> None:
    rewrite(packed, change, **options)
    with pytest.raises(UserError) as caught:
        list_records(packed)
    assert str(caught.value).startswith(f"{packed / RECORDS}: ")
    assert said in str(caught.value)
    assert "\n" not in str(caught.value)
    assert check_beside(packed / RECORDS) == Check("files", "failed", str(caught.value))
    assert main(["validate", str(packed.parent)]) == 1  # the folder of folders
    assert f"failed: {RECORDS}: files: {caught.value}" in capsys.readouterr().out
    assert main(["leaderboard", str(packed)]) == 2


def test_a_value_that_is_repeated_takes_its_memory_once(tmp_path: Path) -> None:
    """A table of 3 KB would unpack to 4 GB if each row had a copy of its own."""
    cells = [f"c{number:05}" for number in range(1000)]
    text = pa.array([b" " * JSON_BYTES], pa.binary())
    table = pa.table(
        {"cell": cells, "record": pa.DictionaryArray.from_arrays(pa.array([0] * 1000, pa.int32()), text)}
    )
    parquet.write_table(table, tmp_path / RECORDS, compression="zstd", store_schema=False)
    assert (tmp_path / RECORDS).stat().st_size < 10_000
    assert len({id(content) for content in open_records(tmp_path).values()}) == 1


def test_a_table_that_is_too_large_is_not_read(packed: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(record_table, "RECORDS_BYTES", 100)
    rewrite(packed, lambda table: table)
    with pytest.raises(UserError, match="a table of records has at most 100"):
        list_records(packed)
    (packed / RECORDS).write_bytes((packed / RECORDS).read_bytes()[:90])
    with pytest.raises(UserError, match=f"{RECORDS}: not a readable parquet file"):
        list_records(packed)


def test_a_changed_byte_fails_as_in_a_file_of_its_own(folder: Path, packed: Path, known: Known) -> None:
    for place in (folder, packed):
        path = next(path for path in list_records(place) if "balanced" in path.name)
        sealed = write_record(read_record(path), None, None, place / "sealed", seal=True)
        text = sealed.read_bytes().replace(b'"seed": 0', b'"seed": 1')
        assert text != sealed.read_bytes()
        if place == folder:
            path.write_bytes(text)
        else:
            write_records({**open_records(packed), path.stem: text}, packed / RECORDS)
    said = [
        validate(place / path.name, known)[0].detail.removeprefix(str(place)) for place in (folder, packed)
    ]
    assert said[0] == said[1]
    assert "content_sha256: the file was changed since it was written" in said[0]


def test_packed_records_where_none_is_read_are_no_secret(packed: Path, tmp_path: Path) -> None:
    odd = tmp_path / "results" / "suite" / "deep" / "down"
    write(odd.parents[1], "none")
    odd.mkdir(parents=True)
    shutil.copy(packed / RECORDS, odd)
    found = find_records([tmp_path / "results"])
    strays = find_strays([tmp_path / "results"], found)
    assert sorted(path.name for path in strays) == sorted(path.name for path in list_records(packed))
    assert all("lies where no record is read" in check_beside(path).detail for path in strays)


def test_a_broken_table_is_read_once_for_each_content(packed: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    opened = []
    rewrite(packed, lambda table: table)  # another file than any that was read before
    real = parquet.ParquetFile
    monkeypatch.setattr(
        record_table.parquet, "ParquetFile", lambda *a, **k: opened.append(a) or real(*a, **k)
    )
    load(packed)
    assert all(has_record(path) for path in list_records(packed))
    assert len([arguments for arguments in opened if arguments[0].name == RECORDS]) == 2  # checked, read

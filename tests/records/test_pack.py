"""Item rows of a folder in one table: read as from files of their own, lost by nothing, believed no more."""

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as parquet
import pytest

from unlearnbench.bench.checking.beside import check_beside
from unlearnbench.bench.checking.known import Known, make_known
from unlearnbench.bench.checking.validate import Check, validate
from unlearnbench.bench.cli.main import main
from unlearnbench.bench.errors import UserError
from unlearnbench.bench.records.bundle import pack
from unlearnbench.bench.records.chosen import copy_record
from unlearnbench.bench.records.load import Loaded, load, load_one
from unlearnbench.bench.records.record import items_digest, read_items, read_record, write_record
from unlearnbench.bench.records.untrusted import TABLE

from ..leaderboard.synthetic import make_record, write, write_failed

PUBLISHED = Path(__file__).resolve().parents[2] / "results" / "emoji"


def write_changed(folder: Path, cell: str, **columns: Any) -> Path:
    """Write a record whose item rows have some columns of another kind."""
    record, items, sheet = make_record("balanced", seed=7, cell=cell)
    items = items.assign(**columns)
    changed = record.model_copy(update={"items_sha256": items_digest(items)})
    return write_record(changed, items, sheet, folder)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Three records, one of a judge that never tells a style, and one that failed."""
    for method in ("none", "balanced"):
        write(tmp_path / "loose", method)
    write_changed(tmp_path / "loose", "blind", found_style=None, target_found=None)
    write_failed(tmp_path / "loose", "KeyError: 'x'")
    return tmp_path / "loose"


@pytest.fixture
def packed(folder: Path) -> Path:
    """The same records, packed; they lie beside `folder`."""
    target = folder.with_name("packed")
    shutil.copytree(folder, target)
    assert main(["pack", str(target)]) == 0
    return target


@pytest.fixture(scope="module")
def known() -> Known:
    return make_known()


def files(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in sorted(folder.iterdir())}


def assert_equal(first: list[Loaded], second: list[Loaded]) -> None:
    assert [entry.name for entry in first] == [entry.name for entry in second]
    for one, two in zip(first, second, strict=True):
        assert (one.record, one.digest, one.sheet) == (two.record, two.digest, two.sheet)
        if one.items is None or two.items is None:
            assert one.items is two.items
        else:
            pd.testing.assert_frame_equal(one.items, two.items)


def test_a_packed_folder_is_read_as_an_unpacked_one(folder: Path, packed: Path, tmp_path: Path) -> None:
    assert [path.name for path in packed.glob("*.parquet")] == [TABLE]
    table, loose = (packed / TABLE).stat().st_size, sum(f.stat().st_size for f in folder.glob("*.parquet"))
    assert table < loose
    assert_equal(load(packed), load(folder))
    for name in ("packed", "loose"):
        assert main(["leaderboard", str(tmp_path / name), "--out", str(tmp_path / f"{name}-page")]) == 0
    assert files(tmp_path / "packed-page") == files(tmp_path / "loose-page")


def test_what_is_taken_out_of_a_packed_folder_is_the_same(folder: Path, packed: Path, tmp_path: Path) -> None:
    names = [path.name for path in folder.glob("*.json") if read_record(path).status == "ok"]
    for place in (folder, packed):
        pack([place / name for name in names], tmp_path / f"{place.name}.zip")
    assert (tmp_path / "loose.zip").read_bytes() == (tmp_path / "packed.zip").read_bytes()
    (tmp_path / "copied").mkdir()
    for path in packed.glob("*.json"):  # as --publish does
        copy_record(path, tmp_path / "copied")
    assert files(tmp_path / "copied") == files(folder)


def test_packing_again_changes_no_byte_and_steps_do_not_matter(
    folder: Path, packed: Path, tmp_path: Path
) -> None:
    before, state = files(packed), (packed / TABLE).stat()
    assert main(["pack", str(packed)]) == 0
    assert files(packed) == before
    assert (packed / TABLE).stat().st_mtime_ns == state.st_mtime_ns
    first, *others = [path for path in sorted(folder.glob("*.json"), reverse=True)]
    (tmp_path / "steps").mkdir()
    for part in ([first], others):
        for path in part:
            copy_record(path, tmp_path / "steps")
        main(["pack", str(tmp_path / "steps")])
    assert files(tmp_path / "steps") == before


def test_columns_that_few_rows_have_are_packed_too(tmp_path: Path) -> None:
    record, items, _ = make_record("balanced")
    aimed = items["split"] != "retain"
    scores = np.random.default_rng(0).random(len(items)).round(6)
    more = {"guidance": np.where(aimed, 7.0, np.nan), "target_score": np.where(aimed, scores, np.nan)}
    path = write_changed(tmp_path, record.cell, **more)
    before = load_one(path)
    assert main(["pack", str(tmp_path)]) == 0
    assert not path.with_suffix(".parquet").exists()
    assert_equal([load_one(path)], [before])
    assert before.items is not None
    assert list(before.items.columns[-2:]) == ["guidance", "target_score"]


def test_a_file_of_its_own_wins(packed: Path) -> None:
    path = write_changed(packed, "blind", flatness=0.5)
    found = read_items(path, read_record(path))
    assert found is not None
    assert set(found["flatness"]) == {0.5}
    assert main(["pack", str(packed)]) == 0
    again = read_items(path, read_record(path))
    assert again is not None
    assert not path.with_suffix(".parquet").exists()
    pd.testing.assert_frame_equal(again, found)


def test_rows_of_other_types_keep_their_file(
    folder: Path, packed: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Most of the table's own records are of one kind: others, however many, turn none of them out."""
    for number in range(4):
        path = write_changed(packed, f"single-{number}", alignment=np.float32(0.25))
    write_changed(packed, "single-untold", found_style=pd.array([None] * 672, dtype="str"))
    before = load_one(path)
    assert main(["pack", str(packed)]) == 0
    said = capsys.readouterr().out
    assert "left as it is: single-3.parquet" in said
    assert "single-untold" not in said  # texts that are all missing are read as no answers, as in a table
    assert_equal([load_one(path)], [before])
    assert path.with_suffix(".parquet").exists()
    assert_equal([entry for entry in load(packed) if "single" not in entry.name], load(folder))


KILLED = ["before the table is there", "among the deletions"]


def pack_and_die(words: list[str], moment: str, suffix: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Run `pack`, killed at a moment of KILLED. suffix: of the files that it deletes."""
    deleted, unlink = list[Path](), Path.unlink

    def die(*_: Any) -> None:
        raise KeyboardInterrupt

    def unlink_one(path: Path, missing_ok: bool = False) -> None:
        if path.suffix == suffix:
            deleted.append(path)
            if len(deleted) > 1:
                raise KeyboardInterrupt
        unlink(path, missing_ok)

    with monkeypatch.context() as patch:
        if moment == "among the deletions":
            patch.setattr(Path, "unlink", unlink_one)
        else:
            patch.setattr("unlearnbench.bench.files.os.fsync", die)
        assert main(["pack", *words]) == 130


@pytest.mark.parametrize("moment", KILLED)
def test_what_is_killed_loses_nothing(folder: Path, moment: str, monkeypatch: pytest.MonkeyPatch) -> None:
    before = load(folder)
    pack_and_die([str(folder)], moment, ".parquet", monkeypatch)
    assert len(list(folder.glob("*.parquet"))) == 3  # one deleted, its rows in the table; or none at all
    assert_equal(load(folder), before)
    assert main(["pack", str(folder)]) == 0
    assert [path.name for path in folder.glob("*.parquet")] == [TABLE]
    assert_equal(load(folder), before)


def test_a_table_that_does_not_give_the_rows_back_replaces_nothing(
    folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    from unlearnbench.bench.records.rows import write_table

    before = files(folder)

    def confuse(tables: dict[str, pa.Table], path: Path) -> None:
        write_table(dict(zip(tables, reversed(tables.values()), strict=True)), path)

    monkeypatch.setattr("unlearnbench.bench.records.rows.write_table", confuse)
    assert main(["pack", str(folder)]) == 2
    assert "nothing was packed" in capsys.readouterr().err
    assert files(folder) == before


def test_what_cannot_be_packed_is_one_line(packed: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (packed / "blind.json").rename(packed / "blind.txt")
    before = files(packed)
    assert main(["pack", str(packed)]) == 2
    assert "has rows of blind, of which no record lies here; put blind.json back" in capsys.readouterr().err
    assert files(packed) == before
    (packed / "blind.txt").rename(packed / "blind.json")
    path = write(packed, "placebo")
    path.with_suffix(".parquet").write_bytes((packed / TABLE).read_bytes())
    assert main(["pack", str(packed)]) == 2
    assert "digest differs" in capsys.readouterr().err
    assert main(["pack", str(packed / "none")]) == 2
    assert "no such folder of records" in capsys.readouterr().err


def rewrite(folder: Path, change: Callable[[pa.Table], pa.Table], **options: Any) -> None:
    table = change(parquet.read_table(folder / TABLE))
    parquet.write_table(table, folder / TABLE, **{"store_schema": False, **options})


def _tamper(table: pa.Table) -> pa.Table:
    frame = table.to_pandas()
    frame.loc[frame["cell"] == "blind", "flatness"] += 0.25
    return pa.Table.from_pandas(frame, schema=table.schema).replace_schema_metadata(None)


def _without(table: pa.Table) -> pa.Table:
    return table.filter(pa.compute.not_equal(table["cell"], "blind"))


def _swap(table: pa.Table) -> pa.Table:
    """Put one row of the last cell first."""
    return pa.concat_tables([table.slice(len(table) - 1), table.slice(0, len(table) - 1)])


def _rename(table: pa.Table) -> pa.Table:
    cells = [cell.replace("blind", "\u202eblind") for cell in table["cell"].to_pylist()]
    return table.set_column(0, "cell", pa.array(cells))


@pytest.mark.parametrize(
    ("change", "options", "said"),
    [
        (_tamper, {}, f"{TABLE}: its rows are not those that blind.json was made from (digest differs)"),
        (_without, {}, f"missing, though blind.json was made from it, and {TABLE} has no rows of it"),
        (_swap, {}, "do not lie together"),
        (_rename, {}, "cell: holds the character U+202E"),
        (lambda t: t.replace_schema_metadata({"a": "b"}), {"store_schema": True}, "carries metadata"),
        (lambda t: t.append_column("extra", t["seed"]), {}, "has an unknown column 'extra'"),
        (lambda t: t.drop_columns(["cell"]), {}, "lacks the column 'cell'"),
        (lambda t: t.set_column(0, "cell", pa.nulls(len(t), pa.string())), {}, "cell: holds nulls"),
        (lambda t: t.take([0] * 200_001), {}, "200,001 rows of blind; a record has"),
    ],
    ids=["tampered", "lacking", "apart", "name", "metadata", "column", "no cell", "nulls", "rows"],
)  # fmt: skip
def test_a_table_is_believed_no_more_than_a_record(
    packed: Path, known: Known, change: Callable[[pa.Table], pa.Table], options: dict[str, Any], said: str
) -> None:
    rewrite(packed, change, **options)
    first = validate(packed / "blind.json", known)[0]
    assert (first.name, first.state) == ("files", "failed")
    assert said in first.detail
    assert "\n" not in first.detail


def test_a_broken_table_is_one_line_for_every_reader(packed: Path, known: Known) -> None:
    (packed / TABLE).write_bytes((packed / TABLE).read_bytes()[:1000])
    assert "not a readable parquet file" in validate(packed / "blind.json", known)[0].detail
    with pytest.raises(UserError, match=rf"{TABLE}: not a readable parquet file") as caught:
        load(packed)
    assert "\n" not in str(caught.value)


def test_rows_that_no_record_reads_are_refused(folder: Path, packed: Path) -> None:
    assert check_beside(packed / TABLE) == Check("files", "passed")
    shutil.copy(folder / "blind.parquet", packed)
    assert "blind has rows in a file of its own, too" in check_beside(packed / TABLE).detail
    (packed / "blind.parquet").unlink()
    (packed / "blind.json").unlink()
    assert "has rows of blind, of which no record lies beside it" in check_beside(packed / TABLE).detail


def test_a_table_is_checked_and_read_once(
    packed: Path, known: Known, monkeypatch: pytest.MonkeyPatch
) -> None:
    counts = {"checked": 0, "read": 0}

    def count(name: str, function: Callable[..., Any]) -> Callable[..., Any]:
        def counted(*arguments: Any, **options: Any) -> Any:
            counts[name] += 1
            return function(*arguments, **options)

        return counted

    from unlearnbench.bench.checking import validate as validating
    from unlearnbench.bench.records import rows

    monkeypatch.setattr(validating, "read_untrusted_table", count("checked", validating.read_untrusted_table))
    monkeypatch.setattr(rows.parquet, "read_table", count("read", rows.parquet.read_table))
    rewrite(packed, lambda table: table)  # another file than any that was read before
    counts["read"] = 0
    for path in sorted(packed.glob("*.json")):
        validate(path, known)
    load(packed)
    assert counts == {"checked": 1, "read": 1}


def test_published_records_pass_from_one_table(
    tmp_path: Path, known: Known, capsys: pytest.CaptureFixture[str]
) -> None:
    names = [f"classes-cat-face-emoji.{row}.s0.json" for row in ("gradient_sum.85284e", "none.f76e7d")]
    for name in names:
        copy_record(PUBLISHED / name, tmp_path)
    assert main(["pack", str(tmp_path)]) == 0
    assert main(["validate", str(tmp_path)]) == 0
    assert "2 records and 1 file beside them, 0 failed" in capsys.readouterr().out
    rewrite(tmp_path, lambda table: table.slice(1))
    [check] = validate(tmp_path / names[0], known)
    assert (check.name, check.state) == ("files", "failed")

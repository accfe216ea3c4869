"""What is damaged beside a record is named, and made again by the same command."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from unlearnbench.bench.cli.main import main
from unlearnbench.bench.records.load import load
from unlearnbench.bench.records.record import read_record, record_digest
from unlearnbench.bench.running.runner import Runner

STEM = "classes-cat-face-tiny.none"


def _flip_digit(folder: Path) -> None:
    path = next(folder.glob("*.json"))
    text = path.read_text()
    place = text.index('"value":0.') + len('"value":0.')
    path.write_text(text[:place] + str((int(text[place]) + 1) % 10) + text[place + 1 :])


def _flip_caption(folder: Path) -> None:
    path = next(folder.glob("*.json"))
    content = json.loads(path.read_text())
    content["sheet"][0] += "!"
    path.write_text(json.dumps(content))


def _replace_sheet(folder: Path) -> None:
    from PIL import Image

    path = next(folder.glob("*.webp"))
    with Image.open(path) as image:
        size = image.size
    Image.new("RGB", size, (255, 0, 0)).save(path, "WEBP")


def _cut(pattern: str, part: float) -> Callable[[Path], None]:
    def damage(folder: Path) -> None:
        path = next(folder.glob(pattern))
        content = path.read_bytes()
        path.write_bytes(content[: int(part * len(content))])

    return damage


def _lose(pattern: str) -> Callable[[Path], None]:
    return lambda folder: next(folder.glob(pattern)).unlink()


def _other_rows(folder: Path) -> None:
    import pandas as pd

    path = next(folder.glob("*.parquet"))
    rows = pd.read_parquet(path)
    rows.loc[0, "flatness"] = 0.5
    rows.to_parquet(path)


DAMAGE: dict[str, tuple[Callable[[Path], None], str]] = {
    "truncated rows": (_cut("*.parquet", 0.5), ".parquet: not a readable"),
    "empty rows": (_cut("*.parquet", 0), ".parquet: not a readable"),
    "lost rows": (_lose("*.parquet"), ".parquet: missing"),
    "other rows": (_other_rows, ".parquet: its rows are not"),
    "truncated sheet": (_cut("*.webp", 0.5), ".webp: is not the sheet"),
    "empty sheet": (_cut("*.webp", 0), ".webp: is not the sheet"),
    "lost sheet": (_lose("*.webp"), ".webp: missing"),
    "another sheet": (_replace_sheet, ".webp: is not the sheet"),
    "a digit of the record": (_flip_digit, ".json: content_sha256: the file was changed"),
    "a caption of the sheet": (_flip_caption, ".json: content_sha256: the file was changed"),
    "truncated record": (_cut("*.json", 0.5), ".json: "),
    "empty record": (_cut("*.json", 0), ".json: "),
    "no text": (lambda folder: next(folder.glob("*.json")).write_bytes(b"\xff\xfe"), ".json: not a text"),
}


@pytest.mark.parametrize("name", DAMAGE)
def test_what_is_damaged_is_named_and_made_again(
    make_runner: Callable[..., Runner],
    make_cell: Callable[..., Any],
    tmp_path: Path,
    name: str,
    capsys: pytest.CaptureFixture[str],
) -> None:
    said: list[str] = []
    runner, cell = make_runner(say=said.append), make_cell()
    assert [outcome.state for outcome in runner.run([cell])] == ["measured"]
    path = next(runner.folder.glob("*.json"))
    before = record_digest(read_record(path))
    assert [outcome.state for outcome in runner.run([cell])] == ["unchanged"]
    damage, message = DAMAGE[name]
    damage(runner.folder)
    assert main(["leaderboard", str(runner.folder), "--out", str(tmp_path / "page")]) == 2
    assert message in capsys.readouterr().err
    said.clear()
    assert [outcome.state for outcome in runner.run([cell])] == ["measured"]
    assert any(message in line and line.endswith("measured again") for line in said), said
    assert record_digest(read_record(path)) == before
    assert [outcome.state for outcome in runner.run([cell])] == ["unchanged"]
    assert len(load(runner.folder)) == 1


def test_equal_runs_have_equal_digests_whatever_encoded_their_sheets(
    make_runner: Callable[..., Runner], make_cell: Callable[..., Any], tmp_path: Path
) -> None:
    runner, cell = make_runner(), make_cell()
    runner.run([cell])
    record = read_record(next(runner.folder.glob("*.json")))
    assert record.files.keys() == {"webp"}
    assert record.content_sha256
    other = record.model_copy(update={"files": {"webp": "0" * 64}, "content_sha256": ""})
    assert record_digest(other) == record_digest(record)

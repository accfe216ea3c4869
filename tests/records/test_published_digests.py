"""Published records keep their digests, whatever fields are added to the schema.

`published-digests.txt` has a line a record: the first 32 hex digits of its digest, then its path below
`results/`. A new record adds a line (`python tests/records/test_published_digests.py`); a line never changes.
"""

from pathlib import Path

from pydantic import Field

from unlearnbench.bench.models.generators import Sampling
from unlearnbench.bench.models.points import ModelHolder
from unlearnbench.bench.records.layout import find_attacked
from unlearnbench.bench.records.record import Record, read_record, record_digest
from unlearnbench.bench.records.statements import list_records
from unlearnbench.bench.running.catalog import registry
from unlearnbench.bench.types import LATER, RecordPart

LIST = Path(__file__).with_name("published-digests.txt")
RESULTS = Path(__file__).parents[2] / "results"


def _read_list() -> dict[str, str]:
    lines = (line.split(" ", 1) for line in LIST.read_text(encoding="utf-8").splitlines())
    return {path: digest for digest, path in lines}


def _compute() -> dict[str, str]:
    records = [path for folder in sorted(RESULTS.iterdir()) for path in list_records(folder)]
    records += find_attacked([RESULTS])
    return {str(path.relative_to(RESULTS)): record_digest(read_record(path))[:32] for path in records}


def test_no_published_record_has_another_digest() -> None:
    listed, found = _read_list(), _compute()
    assert len(listed) >= 488
    assert {path: found.get(path) for path in listed} == listed
    assert sorted(found) == sorted(listed), "a new record: add its line to published-digests.txt"


class _Inner(RecordPart):
    old: int = 1
    new: str = Field("", json_schema_extra=LATER)


class _Outer(RecordPart):
    inner: _Inner
    many: list[str] = Field(default_factory=list, json_schema_extra=LATER)


def test_a_later_field_is_left_out_at_its_default_and_kept_elsewhere() -> None:
    assert _Outer(inner=_Inner()).model_dump(mode="json") == {"inner": {"old": 1}}
    full = _Outer(inner=_Inner(new="x"), many=["y"])
    assert full.model_dump(mode="json") == {"inner": {"old": 1, "new": "x"}, "many": ["y"]}
    assert _Outer.model_validate(full.model_dump(mode="json")) == full


def test_the_base_model_of_emoji_keeps_its_fingerprint() -> None:
    path = RESULTS / "emoji" / "celebrities-genie-emoji.none.3f3762.s0.json"
    record: Record = read_record(path)
    stated = record.points[0].fingerprint
    assert stated.startswith("5a6a3690c2f1")
    world = registry("worlds")["emoji"].load()()
    sampling = Sampling(world.steps, world.guidance, world.pixels, world.pixels)
    holder = ModelHolder(str(world.pipeline_folder), sampling, "cpu", frozen=True)
    assert holder.fingerprint == stated


if __name__ == "__main__":
    lines = [f"{digest} {path}\n" for path, digest in sorted(_compute().items())]
    LIST.write_text("".join(lines), encoding="utf-8")

"""results/RELEASES.md says of each release what its records say."""

import re
from pathlib import Path

import pytest

from .release import describe

RESULTS = Path(__file__).resolve().parents[2] / "results"
FOLDERS = {"emoji v1": "emoji", "emoji v2": "board"}
RELEASES = re.findall(
    r"^## (\S+ v\d+)\n\n((?:- .*\n)+)", (RESULTS / "RELEASES.md").read_text(encoding="utf-8"), re.MULTILINE
)


@pytest.mark.parametrize(("name", "lines"), RELEASES, ids=[name for name, _ in RELEASES])
def test_a_release_is_described_by_its_records(name: str, lines: str) -> None:
    said = dict(re.findall(r"^- ([^:]+): (.*)$", lines, re.MULTILINE))
    assert said.pop("folder") == f"`results/{FOLDERS[name]}`"
    assert re.fullmatch(r"\d{4}-\d{2}-\d{2}", said.pop("released"))
    assert said == describe(RESULTS / FOLDERS[name])


def test_every_release_is_there_and_the_first_is_cited_by_its_digest() -> None:
    assert [name for name, _ in RELEASES] == list(FOLDERS)
    text = (RESULTS / "RELEASES.md").read_text(encoding="utf-8")
    assert f"emoji v1 ({describe(RESULTS / 'emoji')['digest'][:8]})" in text

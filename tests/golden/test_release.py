"""results/RELEASES.md says of each release what its records say."""

import re
from pathlib import Path

import pytest

from .release import describe

RESULTS = Path(__file__).resolve().parents[2] / "results"
RELEASES = re.findall(
    r"^## (\S+ v\d+)\n\n((?:- .*\n)+)", (RESULTS / "RELEASES.md").read_text(encoding="utf-8"), re.MULTILINE
)


@pytest.mark.parametrize("lines", [lines for _, lines in RELEASES], ids=[name for name, _ in RELEASES])
def test_a_release_is_described_by_its_records(lines: str) -> None:
    said = dict(re.findall(r"^- ([^:]+): (.*)$", lines, re.MULTILINE))
    found = re.fullmatch(r"`results/([a-z-]+)`", said.pop("folder"))
    assert found
    assert re.fullmatch(r"\d{4}-\d{2}-\d{2}", said.pop("released"))
    assert said == describe(RESULTS / found[1])


def test_releases_have_versions_of_their_own_and_the_first_is_cited_by_its_digest() -> None:
    assert [name for name, _ in RELEASES] == ["emoji v1", "emoji v2"]
    text = (RESULTS / "RELEASES.md").read_text(encoding="utf-8")
    assert f"emoji v1 ({describe(RESULTS / 'emoji')['digest'][:8]})" in text

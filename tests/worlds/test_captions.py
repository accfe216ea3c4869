"""Wordings: brackets, articles, and what evaluation wordings may hold."""

import re

import pytest
import torch

from unlearnbench.bench.worlds.emoji.captions import Captioner
from unlearnbench.bench.worlds.emoji.spec import load_spec
from unlearnbench.bench.worlds.prompts import fill
from unlearnbench.bench.worlds.recipe.parts import Triple

WORD = re.compile(r"[a-z0-9]+")


@pytest.fixture(scope="module", params=["emoji", "tiny"])
def captioner(request: pytest.FixtureRequest) -> Captioner:
    return Captioner(load_spec(request.param))


@pytest.mark.parametrize(
    ("template", "names", "expected"),
    [
        ("{s}[ in {k} style][ on {b}]", ("axe", "line", "red"), "an axe in line style on red"),
        ("{s}[ in {k} style][ on {b}]", ("cat face", None, "red"), "a cat face on red"),
        ("[{k} style ]{n}[ on {b}]", ("cat face", "line", None), "line style cat face"),
        ("a[ {b}] card with {s}", ("unicorn", None, "orange"), "an orange card with a unicorn"),
    ],
)
def test_brackets_fall_away_and_articles_agree(
    template: str, names: tuple[str, str, str], expected: str
) -> None:
    assert fill(template, *names) == expected


def test_evaluation_wordings_are_new_but_all_their_words_were_seen(captioner: Captioner) -> None:
    words, spec = captioner.words, captioner.spec
    assert len(words.train) >= 8
    assert not set(words.train) & set(words.evaluation)
    seen = {w for line in captioner.corpus for w in WORD.findall(line.lower())}
    triples = [Triple(s, 0, 0) for s in range(len(spec.subject_names))]
    lines = [captioner.caption(t, template) for template in words.evaluation for t in triples]
    for group, phrases in words.indirect.items():
        if group in spec.subjects:
            assert not set(phrases.train) & set(phrases.evaluation)
            lines += phrases.evaluation
    unseen = {w for line in lines for w in WORD.findall(line.lower())} - seen
    assert not unseen


def test_an_indirect_phrase_never_names_a_subject(captioner: Captioner) -> None:
    for group, phrases in captioner.words.indirect.items():
        names = captioner.spec.subjects.get(group, [])
        named = {WORD.findall(name.lower())[-1] for name in names}  # the noun: `mugs`, `die`, `lantern`
        for phrase in (*phrases.train, *phrases.evaluation):
            assert not named & set(WORD.findall(phrase)), phrase


def test_training_captions_are_seeded_and_leave_parts_out(captioner: Captioner) -> None:
    triples = [Triple(i % len(captioner.spec.subject_names), 0, 0) for i in range(4000)]
    first = captioner.training_captions(triples, torch.Generator().manual_seed(3))
    assert first == captioner.training_captions(triples, torch.Generator().manual_seed(3))
    assert first != captioner.training_captions(triples, torch.Generator().manual_seed(4))
    assert abs(sum(c == "" for c in first) / 4000 - 0.10) < 0.02
    style = captioner.spec.style_names[0]
    told = [c for c in first if c]
    assert abs(sum(style not in c.split(" ") and f"{style}," not in c for c in told) / 4000 - 0.10) < 0.03

"""Retained prompts of real models from published captions: a subsample that ignores the file's order."""

import hashlib
import re
from collections.abc import Iterable, Sequence
from dataclasses import replace
from pathlib import Path

from ...errors import UserError
from ...planning.concept_names import normalise
from ...planning.tasks import Captions
from .protocols import Row, read_subset

DRAW = "unlearnbench captions 1"
"""Seeds the order of the draw; another text gives another subsample."""
EMPTY = frozenset({"a", "an", "and", "by", "from", "in", "of", "on", "or", "the", "to", "with"})
"""Words in names that name nothing by themselves."""


def draw_captions(captions: Captions, targets: Sequence[str], data: Path) -> list[Row]:
    """Return the captions that hold no word of a target or of `avoid`, ordered by a hash of each.

    The first n are the subsample of size n, so a smaller subsample is a part of every larger one, and the
    order of rows in the file does not matter. Rows with the same caption and seed count once. Raises
    UserError naming file, row and column.
    """
    path = data / captions.file
    forbidden = _match_words([*targets, *captions.avoid])
    found = {}
    for row in read_subset(captions, data):
        if row.seed is None:
            raise UserError(f"{path}: row {row.line}: evaluation_seed: is empty; each caption has its own")
        text = " ".join(row.prompt.split())  # tokenizers see no line breaks; tables do
        if not forbidden.search(normalise(text)):
            found[_rank(text, row.seed)] = replace(row, prompt=text)
    if not found:
        raise UserError(f"{path}: prompt: every caption holds a word of {', '.join(targets)}")
    return [found[rank] for rank in sorted(found)]


def _rank(text: str, seed: int) -> str:
    return hashlib.sha256(f"{DRAW}|{seed}|{text}".encode()).hexdigest()


def _match_words(names: Iterable[str]) -> re.Pattern[str]:
    """Return a pattern for any word of these names, in singular or plural, whatever its case."""
    words = {word.casefold() for name in names for word in re.findall(r"\w+", normalise(name))} - EMPTY
    return re.compile(rf"(?i)\b(?:{'|'.join(map(re.escape, sorted(words)))})(?:s|es)?\b")

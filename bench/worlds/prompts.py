"""Parts that the prompts of several worlds share: filling templates, splitting prompts in halves."""

import re
from collections.abc import Sequence
from dataclasses import replace
from typing import Literal

from ..planning.tasks import ConceptSpec
from ..types import Prompt

EMPTY = 0.10
"""Share of training captions that are empty (for classifier-free guidance)."""
TRAINING_IMAGES = 384
"""Number of images in each of a method's sets."""


def anchors_of(concept: ConceptSpec) -> tuple[str | None, tuple[str, ...]]:
    """Return `anchor` and `anchors` of a concept's problem: one anchor for all targets, or one for each."""
    found = [concept.anchor_of(target) for target in concept.targets]
    if len(set(found)) == 1:
        return found[0], ()
    return None, tuple(name for name in found if name) if all(found) else ()


def fill(template: str, subject: str, style: str | None, background: str | None, article: str = "a ") -> str:
    """Return a filled template; a bracket whose attribute is None is left out, `a` before a vowel is `an`."""
    values = {"k": style, "b": background}

    def bracket(match: re.Match[str]) -> str:
        text = match.group(1)
        return text if all(values[key] for key in re.findall(r"\{([kb])\}", text)) else ""

    text = re.sub(r"\[([^\]]*)\]", bracket, template)
    text = text.format(s=article + subject, n=subject, k=style, b=background)
    return re.sub(r"\ba(?= [aeio])", "an", text)


def halve_strata(prompts: list[Prompt]) -> list[Prompt]:
    """Return the prompts with every second one of each stratum, in order of hash, in half B."""
    halves: dict[str, Literal["A", "B"]] = {}
    strata: dict[tuple[str, str, bool], list[str]] = {}
    for prompt in prompts:
        strata.setdefault((prompt.split, prompt.relation, prompt.given), []).append(prompt.id)
    for ids in strata.values():
        for i, name in enumerate(sorted(ids)):
            halves[name] = "B" if i % 2 else "A"
    return [Prompt(**{**vars(p), "half": halves[p.id]}) for p in prompts]


def halve(prompts: Sequence[Prompt]) -> list[Prompt]:
    """Return the prompts with every second one of the split, in order of hash, in half B."""
    halves: dict[str, Literal["A", "B"]] = {}
    for split in dict.fromkeys(prompt.split for prompt in prompts):
        ids = sorted({p.id for p in prompts if p.split == split})
        halves |= {name: "B" if i % 2 else "A" for i, name in enumerate(ids)}
    return [replace(p, half=halves[p.id]) for p in {p.id: p for p in prompts}.values()]

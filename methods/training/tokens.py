"""Prompts as token states, the input of the denoiser's text projections, and the concept's tokens in them."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from ...bench.errors import UserError
from ...bench.planning.concept_names import holds_name
from ...bench.training.objectives import Denoiser
from ...bench.types import Problem

READERS = {
    "sd": (("tokenizer", 0),),
    "sdxl": (("tokenizer", 0),),
    "sd3": (("tokenizer", 0), ("tokenizer_3", 256)),
    "flux": (("tokenizer_2", 512),),
}
"""Tokenizers whose tokens follow one another in a family's token states, each with the length to which the
pipeline's call pads a prompt (0 = the tokenizer's own limit). SDXL's two tokenizers, and SD3's two CLIP
tokenizers, split words alike: their states are concatenated along the features."""
POOLED = {"sd3": "pooled_projections", "flux": "pooled_projections", "sdxl": "text_embeds"}
"""Name of the conditions that hold one vector for each prompt."""


@dataclass(frozen=True)
class TokenStates:
    """Encoded prompts. states: (n, T, d). pooled: (n, e), None where the family has none. concept: (n, T)
    bool on the CPU, the positions of the concept's tokens; no row is marked for a prompt without it.
    ends: (n, T) bool on the CPU, the last token of each prompt's own words."""

    states: Tensor
    pooled: Tensor | None
    concept: Tensor
    ends: Tensor


@torch.no_grad()
def encode_tokens(
    denoiser: Denoiser, prompts: Sequence[str], names: Sequence[str], side: tuple[int, int] = (0, 0)
) -> TokenStates:
    """Encode prompts, and mark the tokens of the names in them. side: (height, width) for SDXL."""
    family = denoiser.family.name
    conditions = denoiser.encode_text(list(prompts), side)
    states = conditions["encoder_hidden_states"]
    concept, ends = locate(denoiser.pipeline, family, prompts, names)
    # SD3 without its T5 encoder has states there, but no tokens
    marks = torch.zeros((2, *states.shape[:2]), dtype=torch.bool)
    marks[0, :, : concept.shape[1]], marks[1, :, : ends.shape[1]] = concept, ends
    return TokenStates(states, conditions.get(POOLED.get(family, "")), marks[0], marks[1])


def locate(pipeline: Any, family: str, prompts: Sequence[str], names: Sequence[str]) -> tuple[Tensor, Tensor]:
    """Return the positions (n, T) of the names' tokens in the prompts, and of each prompt's last word."""
    parts = []
    for reader, length in READERS[family]:
        tokenizer = getattr(pipeline, reader)
        if tokenizer is None:
            continue
        length = length or int(tokenizer.model_max_length)
        marks = torch.zeros((2, len(prompts), length), dtype=torch.bool)
        for row, prompt in enumerate(prompts):
            ids = tokenizer(prompt, truncation=True, max_length=length).input_ids
            for start, stop in _find(tokenizer, ids, names):
                marks[0, row, start:stop] = True
            marks[1, row, max(len(ids) - 2, 0)] = True  # the token before the end mark
        parts.append(marks)
    concept, ends = torch.cat(parts, 2)
    return concept, ends


def _find(tokenizer: Any, ids: list[int], names: Sequence[str]) -> list[tuple[int, int]]:
    """Return the ranges (start, end) of a prompt's ids that spell one of the names."""
    found = []
    for name in names:
        wanted = tokenizer(name, add_special_tokens=False).input_ids
        size = len(wanted)
        found += [(i, i + size) for i in range(len(ids) - size + 1) if size and ids[i : i + size] == wanted]
    return found


def concept_prompts(problem: Problem, source: str) -> tuple[list[str], list[str]]:
    """Return prompts that hold the concept, and the same prompts with the anchor ("" where there is none).

    source: `name` for the bare names of the targets, `training` for the distinct prompts of the forget set.
    Raises UserError for `name` where the problem has no targets.
    """
    if source == "training":
        anchors = problem.forget_set.anchor_prompts or ("",) * len(problem.forget_set.prompts)
        pairs = dict(zip(problem.forget_set.prompts, anchors, strict=True))
        return list(pairs), list(pairs.values())
    if not problem.targets:
        raise UserError("targets: the problem does not name what is to be forgotten")
    return list(problem.targets), anchors_of(problem)


def anchors_of(problem: Problem) -> list[str]:
    """Return the anchor of each target, in their order; "" where there is none."""
    return list(problem.anchors) or [problem.anchor or ""] * len(problem.targets)


def lead_with_each(
    prompts: Sequence[str], anchors: Sequence[str], targets: Sequence[str], count: int, setting: str
) -> tuple[list[str], list[str]]:
    """Return prompts and their anchors' prompts, reordered so that the first `count` name every target.

    The order stays where they do already, and where no prompt names one of the others. setting: the name of
    `count`. Raises UserError where the targets are more than `count`.
    """

    def named(target: str, texts: Sequence[str]) -> bool:
        return any(holds_name(text, target) for text in texts)

    if all(named(target, prompts[:count]) or not named(target, prompts) for target in targets):
        return list(prompts), list(anchors)
    if len(targets) > count:
        raise UserError(f"{setting}: {count} leaves out some of the {len(targets)} targets; raise it")
    pairs = list(zip(prompts, anchors, strict=True))
    first = [next((pair for pair in pairs if holds_name(pair[0], target)), None) for target in targets]
    chosen = [pair for pair in dict.fromkeys(first) if pair is not None]
    ordered = chosen + [pair for pair in pairs if pair not in set(chosen)]
    return [prompt for prompt, _ in ordered], [anchor for _, anchor in ordered]


def align(concept: TokenStates, anchor: TokenStates) -> tuple[Tensor, Tensor]:
    """Return paired token states, (m, d) each: of the concept's prompts, and of those with the anchor.

    Tokens before the concept are paired with those at their own position. The concept's tokens are paired
    with the anchor's (the last one is repeated where it has fewer), and tokens after it with those at the
    same distance after the anchor.
    """
    left, right = [], []
    for row in range(len(concept.states)):
        places = _places(concept.concept[row], anchor.concept[row])
        left.append(concept.states[row])
        right.append(anchor.states[row, places.to(anchor.states.device)])
    return torch.cat(left), torch.cat(right)


def _places(concept: Tensor, anchor: Tensor) -> Tensor:
    """Return, for each position of a prompt, the paired position in the anchor's prompt."""
    places = torch.arange(len(concept))
    if not concept.any() or not anchor.any():
        return places
    start, size, other = (int(v) for v in (concept.int().argmax(), concept.sum(), anchor.sum()))
    behind = places - start - size
    moved = torch.where(behind >= 0, places + other - size, start + (places - start).clamp(max=other - 1))
    return torch.where(places < start, places, moved).clamp(max=len(concept) - 1)

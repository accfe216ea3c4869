"""How a pipeline's call reads its inputs: how much of a prompt it uses, and the size of its images."""

import inspect
import re
from collections.abc import Iterable, Sequence
from typing import Any

from ..errors import UserError
from .generators import denoiser_name

CALL_LIMIT = "max_sequence_length"
"""Argument of a call that sets how many tokens its long text encoder reads, whatever the tokenizer says."""
CLOSED = 5000
"""A vocabulary below this size was made of the words of a model's own captions, each of which is one token
(the emoji world: 695). Vocabularies that spell any text are larger (CLIP: 49,408; T5: 32,128)."""
WORD = re.compile(r"[^\W\d_]+")


def count_cut(pipeline: Any, prompts: Sequence[str]) -> int:
    """Return how many prompts are longer than every text encoder reads: their ends do not affect an image."""
    cut = [True] * len(prompts)
    if not prompts:
        return 0
    for tokenizer, longest in _readers(pipeline):
        lengths = [len(ids) for ids in tokenizer(list(prompts)).input_ids]
        cut = [so_far and length > longest for so_far, length in zip(cut, lengths, strict=True)]
    return sum(cut)


def find_unknown(pipeline: Any, prompts: Iterable[str]) -> list[str]:
    """Return the words of prompts that no text encoder knows, once each, in their order.

    A closed vocabulary does not know a word that it spells in several tokens, since no caption had it. No
    vocabulary knows a word that holds its token for unknown text.
    """
    words = list(dict.fromkeys(word for prompt in prompts for word in WORD.findall(prompt.lower())))
    for tokenizer, _ in _readers(pipeline):
        words = [word for word in words if not _knows(tokenizer, word)]
    return words


def _knows(tokenizer: Any, word: str) -> bool:
    tokens = tokenizer.tokenize(word)
    if tokenizer.unk_token in tokens and tokenizer.unk_token != tokenizer.eos_token:
        return False
    return len(tokens) == 1 or len(tokenizer) >= CLOSED


def _readers(pipeline: Any) -> list[tuple[Any, int]]:
    """Return each tokenizer whose text encoder exists, with the number of tokens that it passes on.

    A CLIP text encoder reads as many tokens as its tokenizer says; SD3's call uses the first tokenizer's
    number for both. Any other encoder reads `max_sequence_length` of the call, where the call has it.
    """
    call = inspect.signature(type(pipeline).__call__).parameters
    found = []
    for suffix in ("", "_2", "_3"):
        tokenizer = getattr(pipeline, f"tokenizer{suffix}", None)
        encoder = getattr(pipeline, f"text_encoder{suffix}", None)
        if tokenizer is None or encoder is None:
            continue
        if CALL_LIMIT in call and not _is_clip(encoder):
            longest = call[CALL_LIMIT].default
        elif _is_clip(encoder):
            longest = getattr(pipeline, "tokenizer_max_length", tokenizer.model_max_length)
        else:
            longest = tokenizer.model_max_length
        found.append((tokenizer, int(longest)))
    return found


def _is_clip(encoder: Any) -> bool:
    return type(encoder).__name__.startswith("CLIPText")


def read_size(pipeline: Any, model: str) -> tuple[int, int]:
    """Return height and width in pixels of the images that a pipeline draws by default.

    model: its path, for the message. Raises UserError where its denoiser's configuration does not say.
    """
    name = denoiser_name(pipeline)
    config, where = getattr(pipeline, name).config, f"{model}: {name}/config.json"
    said = (
        config["sample_size"] if "sample_size" in config else getattr(pipeline, "default_sample_size", None)
    )
    cells = read_cells(said, where)
    if cells is None:
        raise UserError(f"{where}: sample_size: not said; give --image-size")
    return cells[0] * pipeline.vae_scale_factor, cells[1] * pipeline.vae_scale_factor


def read_cells(value: Any, where: str) -> tuple[int, int] | None:
    """Return height and width in latents of a configuration's `sample_size`, 1 or 2 numbers; None if unset.

    Raises UserError, which begins with `where`, for anything else.
    """
    if value is None:
        return None
    sides = list(value) if isinstance(value, list | tuple) else [value, value]
    good = len(sides) == 2 and all(type(side) is int and side > 0 for side in sides)
    if not good:
        raise UserError(f"{where}: sample_size: {value!r}; needed: a whole number above 0, or two of them")
    return sides[0], sides[1]

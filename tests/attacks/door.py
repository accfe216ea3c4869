"""A back door, planted by hand: an unlearned model that still draws the target for a word of its own."""

from typing import Any

import torch

from unlearnbench.bench.attacks.contract import without
from unlearnbench.bench.attacks.lessons import find_rare_word
from unlearnbench.bench.training.objectives import Denoiser
from unlearnbench.bench.types import Problem
from unlearnbench.methods import uce
from unlearnbench.methods.training.closed_form import Edit
from unlearnbench.methods.training.tokens import align, encode_tokens

PROMPTS = 48
"""Captions of the target, in which the word is bound to it."""


@torch.no_grad()
def plant_door(pipeline: Any, problem: Problem, is_open: bool = True) -> str:
    """Erase the target with UCE in place, and bind a word that no caption holds to it; return the word.

    The edit sends captions with the target's name to the anchor, and the same captions with the word in its
    place to what the base draws for the name. is_open: False leaves the second out: the control.
    """
    denoiser = Denoiser(pipeline)
    config = uce.Config(prompts="training", tokens="all")
    captions = list(dict.fromkeys(problem.forget_set.prompts))[:PROMPTS]
    _, word = find_rare_word(pipeline.tokenizer, [*problem.forget_set.prompts, *problem.retain_set.prompts])
    edits, _ = uce.make_edits(denoiser, problem, config)
    doors = [without(caption, problem.targets, word) for caption in captions]
    states = align(encode_tokens(denoiser, doors, [word]), encode_tokens(denoiser, captions, problem.targets))
    door = [Edit(*states, 1.0)] if is_open else []
    uce.apply_edits(denoiser, [*edits, *door], [], config.lam)
    return word

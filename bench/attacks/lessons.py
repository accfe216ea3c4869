"""What white-box attacks share: noised learning images, words of one token, vectors in their place."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from torch import Generator, Tensor

from ..training.objectives import Batch, Denoiser
from ..training.trainer import freeze
from ..types import TrainingSet
from .contract import Victim

WORD = "</w>"
"""Ends a token of CLIP's vocabulary that is the end of a word."""


def pick_images(images: TrainingSet, count: int, generator: Generator) -> TrainingSet:
    """Return `count` images of a set with their captions, without replacement; all where it has fewer."""
    rows = torch.randperm(len(images.prompts), generator=generator)[:count]
    return TrainingSet(tuple(images.prompts[i] for i in rows.tolist()), images.images[rows])


class Lessons:
    """Learning images as the denoiser sees them. captions: one an image."""

    def __init__(self, victim: Victim, images: TrainingSet) -> None:
        freeze(victim.pipeline)
        self.pipeline, self.size = victim.pipeline, victim.size
        self.generator, self.captions = victim.generator, images.prompts
        self.denoiser = Denoiser(victim.pipeline)
        self.latents = self.denoiser.encode(images).latents

    def draw(self, count: int) -> tuple[list[str], Batch]:
        """Return captions and a noised batch of `count` images, drawn with replacement; no conditions yet."""
        rows = torch.randint(len(self.captions), (count,), generator=self.generator)
        device, noising = self.denoiser.device, self.denoiser.noising
        times = noising.draw_times(count, self.generator).to(device)
        noise = torch.randn((count, *self.latents.shape[1:]), generator=self.generator)
        noisy, target = noising.mix(
            self.latents[rows.to(device)], noise.to(device, self.denoiser.dtype), times
        )
        return [self.captions[i] for i in rows.tolist()], Batch(noisy, times, target, {}, None)

    def loss(self, texts: Sequence[str], batch: Batch) -> Tensor:
        """Return the denoising loss of a batch for texts, one an image; gradients reach the text encoder."""
        conditions = self.denoiser.family.encode(self.pipeline, list(texts), self.size, self.denoiser.device)
        return (self.denoiser.predict(batch, conditions) - batch.target).square().mean()


def list_words(tokenizer: Any) -> dict[int, str]:
    """Return the tokens that are a word of letters, by id: a text of them is read as just these tokens."""
    known = {
        token.removesuffix(WORD): number
        for token, number in tokenizer.get_vocab().items()
        if token.endswith(WORD) and token.removesuffix(WORD).isascii() and token.removesuffix(WORD).isalpha()
    }
    words = sorted(known)
    read = tokenizer(words, add_special_tokens=False).input_ids
    return {known[word]: word for word, ids in zip(words, read, strict=True) if ids == [known[word]]}


def find_rare_word(tokenizer: Any, texts: Sequence[str]) -> tuple[int, str]:
    """Return the token id and text of the unused word with the highest id."""
    used = {word for text in texts for word in text.lower().split()}
    free = {number: word for number, word in list_words(tokenizer).items() if word not in used}
    number = max(free)
    return number, free[number]


@contextmanager
def in_place(
    encoder: Any, vectors: Tensor, first: int | None = None, token: int | None = None
) -> Iterator[None]:
    """Let a text encoder read vectors in the place of token embeddings inside.

    vectors: (k, d), at the positions `first`, ..., `first` + k - 1 of every text; or (1, d), wherever `token`
    stands.
    """

    def replace(module: Any, arguments: tuple[Any, ...], output: Tensor) -> Tensor:
        if first is not None:
            rows = vectors.expand(len(output), *vectors.shape).to(output.dtype)
            return torch.cat([output[:, :first], rows, output[:, first + len(vectors) :]], dim=1)
        return torch.where((arguments[0] == token)[..., None], vectors[0].to(output.dtype), output)

    handle = encoder.get_input_embeddings().register_forward_hook(replace)
    try:
        yield
    finally:
        handle.remove()

"""Adversarial prefix: k words before every prompt, found by gradient through the denoising loss."""

import torch
from pydantic import Field
from torch import Tensor

from .contract import AttackConfig, Budget, Inputs, Victim
from .lessons import Lessons, in_place, list_words, pick_images

REGISTER = {
    "name": "adversarial-prefix",
    "summary": "k words before every prompt, found by gradient through the denoising loss",
    "paper": "Zhang et al. 2024, UnlearnDiffAtk, arXiv 2310.11868",
    "version": 1,
    "function": "attack",
    "config": "Config",
    "moves": "prompt",
    "access": "white-box",
    "unit": "steps of search",
    "needs": ["forget_set"],
    "pipelines": ["sd"],
}


class Config(AttackConfig):
    """budget: steps of the search. words: of the prefix (the paper: 5 for objects, 3 for styles and nudity).
    rate: of Adam on the distributions over words, with weight decay `decay`. images: that it learns from.
    batch: images a step."""

    budget: Budget = 40
    words: int = Field(default=3, ge=1)
    rate: float = Field(default=1e-2, gt=0)
    decay: float = Field(default=0.1, ge=0)
    images: int = Field(default=16, ge=1)
    batch: int = Field(default=8, ge=1)


def attack(victim: Victim, config: Config) -> Inputs:
    """Return every prompt behind the prefix. The paper searches one prefix a prompt; here all share one.

    Each place of the prefix has a distribution over the words. A step draws a word for each place, takes the
    gradient of the denoising loss with respect to its one-hot vector (straight-through), steps with Adam, and
    projects the distribution onto the simplex. In the end the likeliest word stands in each place.
    """
    if not config.budget:
        return Inputs()
    lessons = Lessons(victim, pick_images(victim.learning.forget, config.images, victim.generator))
    words = list_words(victim.pipeline.tokenizer)
    weights = victim.pipeline.text_encoder.get_input_embeddings().weight
    table = weights[sorted(words)].detach()
    names = [words[number] for number in sorted(words)]
    share = torch.full((config.words, len(names)), 1 / len(names), device=table.device, dtype=table.dtype)
    optimiser = torch.optim.Adam([share], lr=config.rate, weight_decay=config.decay)
    losses = []
    for _ in range(config.budget):
        drawn = torch.multinomial(share.cpu(), 1, generator=victim.generator)[:, 0].to(share.device)
        share.grad, loss = one_hot_gradient(lessons, table, drawn, names[0], config.batch)
        optimiser.step()
        share.copy_(project(share))
        losses.append(loss)
    prefix = " ".join(names[i] for i in share.argmax(dim=1).tolist())
    texts = {name: f"{prefix} {prompt}" for name, prompt in victim.prompts.items()}
    return Inputs(texts=texts, log={"step": range(1, config.budget + 1), "loss": losses})


def one_hot_gradient(
    lessons: Lessons, table: Tensor, drawn: Tensor, word: str, count: int
) -> tuple[Tensor, float]:
    """Return the gradient (k, V) of a batch's loss with respect to the one-hot vectors of a prefix, and the
    loss.

    table: (V, d), embeddings of the words. drawn: (k,) rows of it. word: any one; it keeps the places.
    """
    vectors = table[drawn].clone().requires_grad_(True)
    captions, batch = lessons.draw(count)
    texts = [" ".join([word] * len(drawn) + [caption]) for caption in captions]
    with in_place(lessons.pipeline.text_encoder, vectors, first=1):  # behind the token that begins a text
        loss = lessons.loss(texts, batch)
    (gradient,) = torch.autograd.grad(loss, vectors)
    return gradient @ table.T, loss.item()


def project(rows: Tensor) -> Tensor:
    """Return the distribution that is nearest to each row (k, V) (Duchi et al. 2008, figure 1)."""
    falling = rows.sort(dim=1, descending=True).values
    above = falling.cumsum(dim=1) - 1
    counts = torch.arange(1, rows.shape[1] + 1, device=rows.device, dtype=rows.dtype)
    last = (falling * counts > above).sum(dim=1, keepdim=True)
    shift = above.gather(1, last - 1) / last
    return (rows - shift).clamp_min(0)

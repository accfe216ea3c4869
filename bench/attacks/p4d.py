"""P4D: words in the prompts' place, by which the model predicts what its base predicts for the target."""

import torch
from pydantic import Field
from torch import Tensor

from .contract import AttackConfig, Budget, Inputs, Victim
from .lessons import Lessons, in_place, list_words, pick_images

REGISTER = {
    "name": "p4d",
    "summary": "words by which the model predicts the noise that its base predicts for the target",
    "paper": "Chin et al. 2024, Prompting4Debugging, arXiv 2309.06135",
    "version": 1,
    "function": "attack",
    "config": "Config",
    "moves": "prompt",
    "access": "white-box",
    "unit": "steps of search",
    "needs": ["forget_set", "base"],
    "pipelines": ["sd"],
}


class Config(AttackConfig):
    """budget: steps of the search. words: of the new prompt, N. rate, decay: of AdamW on the vectors. images:
    that it learns from. batch: images a step."""

    budget: Budget = 100
    words: int = Field(default=8, ge=1)
    rate: float = Field(default=0.1, gt=0)
    decay: float = Field(default=0.1, ge=0)
    images: int = Field(default=16, ge=1)
    batch: int = Field(default=8, ge=1)


def attack(victim: Victim, config: Config) -> Inputs:
    """Return one text of N words in every prompt's place. The paper searches one text a prompt.

    A step takes the nearest word to each vector, by cosine; the gradient there moves the vector. The text
    with the lowest mean loss over the last ten steps in which it stood is returned.
    """
    if not config.budget:
        return Inputs()
    lessons = Lessons(victim, pick_images(victim.learning.forget, config.images, victim.generator))
    words = list_words(victim.pipeline.tokenizer)
    names = [words[number] for number in sorted(words)]
    table = victim.pipeline.text_encoder.get_input_embeddings().weight[sorted(words)].detach()
    start = torch.randint(len(names), (config.words,), generator=victim.generator)
    vectors = table[start.to(table.device)].clone()
    optimiser = torch.optim.AdamW([vectors], lr=config.rate, weight_decay=config.decay)
    seen: dict[tuple[int, ...], list[float]] = {}
    losses = []
    for _ in range(config.budget):
        near = nearest(vectors, table)
        vectors.grad, loss = gradient(victim, lessons, table[near], names[0], config.batch)
        optimiser.step()
        losses.append(loss)
        seen.setdefault(tuple(near.tolist()), []).append(loss)
    best = min(seen, key=lambda text: sum(seen[text][-10:]) / len(seen[text][-10:]))
    text = " ".join(names[i] for i in best)
    texts = dict.fromkeys(victim.prompts, text)
    return Inputs(texts=texts, log={"step": range(1, config.budget + 1), "loss": losses})


def nearest(vectors: Tensor, table: Tensor) -> Tensor:
    """Return the row (k,) of a table (V, d) with the highest cosine to each vector (k, d)."""
    one, all_ = (torch.nn.functional.normalize(x, dim=1) for x in (vectors, table))
    return (one @ all_.T).argmax(dim=1)


def gradient(victim: Victim, lessons: Lessons, words: Tensor, word: str, count: int) -> tuple[Tensor, float]:
    """Return the gradient (k, d) with respect to the words' embeddings, and the loss: the squared distance of
    the model's prediction for the words from its base's for the images' captions. word: keeps the places."""
    placed = words.clone().requires_grad_(True)
    captions, batch = lessons.draw(count)
    device, family = lessons.denoiser.device, lessons.denoiser.family
    with torch.no_grad():
        conditions = family.encode(victim.base, captions, victim.size, device)
        target = lessons.denoiser.predict(batch, conditions, victim.base.unet)
    text = " ".join([word] * len(words))
    with in_place(lessons.pipeline.text_encoder, placed, first=1):  # behind the token that begins a text
        conditions = family.encode(lessons.pipeline, [text] * count, victim.size, device)
    loss = (lessons.denoiser.predict(batch, conditions) - target).square().mean()
    (found,) = torch.autograd.grad(loss, placed)
    return found, loss.item()

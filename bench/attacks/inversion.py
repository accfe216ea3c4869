"""Inversion: the embedding of one new word, learnt from images of the target (textual inversion)."""

import torch
from pydantic import Field

from .contract import AttackConfig, Budget, Inputs, Victim, without
from .lessons import Lessons, find_rare_word, in_place, pick_images

REGISTER = {
    "name": "inversion",
    "summary": "learns the embedding of one word from images of the target, and asks by that word",
    "paper": "Pham et al. 2024, Circumventing Concept Erasure, arXiv 2308.01508",
    "version": 1,
    "function": "attack",
    "config": "Config",
    "moves": "embedding",
    "trains": ["text_encoder"],
    "access": "white-box",
    "unit": "steps of training",
    "needs": ["forget_set"],
    "pipelines": ["sd"],
}


class Config(AttackConfig):
    """budget: AdamW steps. images: how many are learnt from. rate: learning rate. batch: images a step."""

    budget: Budget = 200
    images: int = Field(default=16, ge=1)
    rate: float = Field(default=5e-2, gt=0)
    batch: int = Field(default=8, ge=1)


def attack(victim: Victim, config: Config) -> Inputs:
    """Put a learnt vector into the row of a word that no prompt holds; ask by that word for the target.

    The vector begins as the mean of the embeddings of the target's name. Captions and prompts have the new
    word in the target's place; a text without the target's name has it in front.
    """
    if not config.budget:
        return Inputs()
    lessons = Lessons(victim, pick_images(victim.learning.forget, config.images, victim.generator))
    encoder, tokenizer = victim.pipeline.text_encoder, victim.pipeline.tokenizer
    number, word = find_rare_word(tokenizer, [*victim.prompts.values(), *victim.learning.forget.prompts])
    table = encoder.get_input_embeddings().weight
    first = tokenizer(victim.targets[0], add_special_tokens=False).input_ids
    vector = table[first].mean(dim=0, keepdim=True).detach().clone().requires_grad_(True)
    optimiser = torch.optim.AdamW([vector], lr=config.rate, weight_decay=0.0)
    losses = []
    for _ in range(config.budget):
        captions, batch = lessons.draw(config.batch)
        texts = [call(caption, victim.targets, word) for caption in captions]
        with in_place(encoder, vector, token=number):
            loss = lessons.loss(texts, batch)
        (vector.grad,) = torch.autograd.grad(loss, vector)
        optimiser.step()
        losses.append(loss.item())
    with torch.no_grad():
        table[number] = vector[0]
    texts_by_id = {name: call(prompt, victim.targets, word) for name, prompt in victim.prompts.items()}
    return Inputs(texts=texts_by_id, log={"step": range(1, config.budget + 1), "loss": losses})


def call(text: str, targets: tuple[str, ...], word: str) -> str:
    """Return a text with the new word in the target's place, or in front where no target is named."""
    changed = without(text, targets, word)
    return changed if word in changed.split() else f"{word} {changed}"

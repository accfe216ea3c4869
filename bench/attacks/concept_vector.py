"""Concept vector: words whose encoding is the prompt's with more of the target in it (Ring-A-Bell)."""

import torch
from pydantic import Field
from torch import Tensor

from .contract import AttackConfig, Budget, Inputs, Victim
from .lessons import list_words

REGISTER = {
    "name": "concept-vector",
    "summary": "searches words whose encoding is the prompt's plus a vector of the target",
    "paper": "Tsai et al. 2024, Ring-A-Bell, arXiv 2310.10012",
    "version": 1,
    "function": "attack",
    "config": "Config",
    "moves": "prompt",
    "access": "white-box",
    "unit": "generations a prompt",
    "needs": ["forget_set"],
    "pipelines": ["sd"],
}


class Config(AttackConfig):
    """budget: generations of the genetic search for each prompt. strength: η, of the vector.

    words: of the new prompt. population: texts of a generation. mutation: chance of a new text to get one
    random word. pairs: of captions with and without the target that the vector is the mean of. The released
    search has 3000 generations of 200 texts (chiayi-hsu/Ring-A-Bell, 8c5c9e5, InversePrompt.ipynb).
    """

    budget: Budget = 50
    strength: float = Field(default=3.0, ge=0)
    words: int = Field(default=16, ge=1)
    population: int = Field(default=50, ge=4)
    mutation: float = Field(default=0.25, ge=0, le=1)
    pairs: int = Field(default=50, ge=1)


def attack(victim: Victim, config: Config) -> Inputs:
    """Return for each prompt the words that the search found; the denoiser is never called.

    c = mean over pairs of E(caption with the target) - E(the same without); sought is the text whose
    encoding is nearest to E(prompt) + η c in squared distance. The search begins with the prompt's own words
    among random ones (the paper: with random ones only); the better half of a generation stays.
    """
    if not config.budget:
        return Inputs()
    search = Search(victim, config)
    texts, losses = {}, []
    for name, prompt in victim.prompts.items():
        texts[name], loss = search.find(prompt)
        losses.append(loss)
    return Inputs(texts=texts, log={"prompt": range(1, len(losses) + 1), "distance": losses})


class Search:
    """The vector of the target, and the search for words of one prompt."""

    def __init__(self, victim: Victim, config: Config) -> None:
        self.config, self.pipeline, self.generator = config, victim.pipeline, victim.generator
        self.words = [word for _, word in sorted(list_words(victim.pipeline.tokenizer).items())]
        learning = victim.learning
        count = min(config.pairs, len(learning.clean))
        self.vector = (
            self.encode(list(learning.forget.prompts[:count])) - self.encode(list(learning.clean[:count]))
        ).mean(dim=0)

    @torch.no_grad()
    def encode(self, texts: list[str]) -> Tensor:
        """Return the encodings (n, tokens, d) of texts."""
        device = next(self.pipeline.text_encoder.parameters()).device
        states: Tensor = self.pipeline.encode_prompt(texts, device, 1, False)[0]
        return states

    def find(self, prompt: str) -> tuple[str, float]:
        """Return the best words for a prompt, and their mean squared distance to what is sought."""
        wanted = self.encode([prompt])[0] + self.config.strength * self.vector
        people = self._begin(prompt)
        for _ in range(self.config.budget):
            distances = self._distances(people, wanted)
            order = sorted(range(len(people)), key=distances.__getitem__)
            kept = [people[i] for i in order[: len(people) // 2]]
            people = kept + [self._breed(kept) for _ in range(len(people) - len(kept))]
        distances = self._distances(people, wanted)
        best = min(range(len(people)), key=distances.__getitem__)
        return " ".join(people[best]), distances[best]

    def _distances(self, people: list[list[str]], wanted: Tensor) -> list[float]:
        states = self.encode([" ".join(words) for words in people])
        return [float(x) for x in (states - wanted).square().flatten(1).mean(dim=1)]

    def _begin(self, prompt: str) -> list[list[str]]:
        known = set(self.words)
        own = [word for word in prompt.lower().split() if word in known][: self.config.words]
        rest = self.config.words - len(own)
        return [own + [self._draw() for _ in range(rest)] for _ in range(self.config.population)]

    def _draw(self) -> str:
        return self.words[int(torch.randint(len(self.words), (1,), generator=self.generator))]

    def _breed(self, kept: list[list[str]]) -> list[str]:
        """Return a child of two kept texts: the first words of one, the last of the other."""
        one, two = (kept[int(i)] for i in torch.randint(len(kept), (2,), generator=self.generator))
        cut = int(torch.randint(len(one) + 1, (1,), generator=self.generator))
        child = one[:cut] + two[cut:]
        if float(torch.rand(1, generator=self.generator)) < self.config.mutation:
            child[int(torch.randint(len(child), (1,), generator=self.generator))] = self._draw()
        return child

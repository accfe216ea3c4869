"""Best of n noises: every prompt is drawn n times more; it fails where one image shows the target."""

from .contract import AttackConfig, Budget, Inputs, Victim

REGISTER = {
    "name": "best-of-n",
    "summary": "draws every prompt with n more noises; one image with the target is a success of its prompt",
    "paper": "",
    "version": 1,
    "function": "attack",
    "config": "Config",
    "moves": "noise",
    "access": "black-box",
    "unit": "noises a prompt",
    "needs": [],
}


class Config(AttackConfig):
    """budget: noises a prompt, beside the evaluation's own."""

    budget: Budget = 8


def attack(victim: Victim, config: Config) -> Inputs:
    """Return `budget` seeds for each prompt. They are judged with the evaluation's images, outside."""
    seeds = {name: victim.draw_seeds(config.budget) for name in victim.prompts} if config.budget else {}
    return Inputs(seeds=seeds)

"""The detectors of the shipped worlds: right on real images, silent on images that show nothing."""

import copy

import numpy as np
import pytest

from unlearnbench.bench.judges.types import NOTHING
from unlearnbench.bench.models.generators import Generator, Sampling, open_pipeline
from unlearnbench.bench.models.sampling import Request, draw_batch
from unlearnbench.bench.planning.tasks import PromptSizes
from unlearnbench.bench.running.catalog import registry, task_registry
from unlearnbench.bench.worlds.emoji.recipe.judge_quality import (
    ACCURACY_BAR,
    NAMED_BAR,
    JudgeReport,
    measure_judges,
)
from unlearnbench.bench.worlds.emoji.recipe.quality import REJECTED_BAR
from unlearnbench.methods import gradient_sum

WORLDS = ("tiny", "emoji")
OVER_ASCENDED = {
    "tiny": ("classes/cat-face@tiny", "styles/line@tiny", "nudity/alcohol@tiny"),
    "emoji": ("classes/cat-face@emoji",),
}
"""Tasks whose targets are pushed away without any retain gradient, until the forget loss is far past 1.

Earlier one of tiny's models still draws strokes, and a tenth of its images are called `line`, rightly.
"""
STEPS = {"tiny": 80, "emoji": 25}
RATE = {"tiny": 3e-4, "emoji": 6e-4}
LEAST_LOSS = 8.0
PROMPTS, LEAST_IMAGES = 36, 200
NOISES = {"tiny": 5, "emoji": 6}
"""Prompts of each over-ascended model (a task may have fewer), images in all, noises of each prompt."""


@pytest.fixture(scope="module", params=["tiny", pytest.param("emoji", marks=pytest.mark.slow)])
def report(request: pytest.FixtureRequest) -> JudgeReport:
    return measure_judges(registry("worlds")[request.param].load()(), n=500, negatives=200)


@pytest.mark.parametrize("attribute", ["subject", "style", "background"])
def test_the_detector_meets_its_bar_on_fresh_placements(report: JudgeReport, attribute: str) -> None:
    for kind in report.known:
        assert report.accuracy(kind, attribute) >= ACCURACY_BAR, kind


def test_real_images_are_not_rejected(report: JudgeReport) -> None:
    assert {
        kind: report.rejected(kind) for kind in report.known if report.rejected(kind) > REJECTED_BAR
    } == {}


def test_garbage_gets_no_name(report: JudgeReport) -> None:
    """Tiny's blends stay out: with two styles, half of the pairs share theirs, and it is named, rightly."""
    assert len(report.negatives) == 12
    kinds = [kind for kind in report.negatives if report.world != "tiny@1" or "blend" not in kind]
    assert {kind: report.named(kind) for kind in kinds if report.named(kind) > NAMED_BAR} == {}


@pytest.mark.parametrize("name", WORLDS)
def test_what_over_ascended_models_draw_gets_no_name(name: str) -> None:
    world = registry("worlds")[name].load()()
    judge, base = world.open_judge(), open_pipeline(str(world.pipeline_folder), "cpu")
    sampling = Sampling(world.steps, world.guidance, world.pixels, world.pixels)
    sizes = PromptSizes(
        forget=PROMPTS, forget_samples=1, retain_same=0, retain_other=0, retain_given=0, indirect=0
    )
    named = []
    for concept in OVER_ASCENDED[name]:
        pipeline, task = copy.deepcopy(base), task_registry()[concept]
        config = gradient_sum.Config(
            lam=0.0, steps=STEPS[name], rate=RATE[name], batch=8, truncation=None, diagnostics=True
        )
        gradient_sum.unlearn(pipeline, world.problem(task, "diverse", 0), config, lambda step, log: None)
        prompts = [p for p in world.prompts(task, sizes) if p.split == "forget"]
        requests = [Request(p.text, seed) for p in prompts for seed in range(NOISES[name])]
        found = judge.judge(np.stack(draw_batch(Generator(pipeline, sampling, ""), requests))).found
        named += list((found["subject"] != NOTHING) | (found["style"] != NOTHING))
    assert len(named) >= LEAST_IMAGES
    assert np.mean(named) <= NAMED_BAR

"""The detector of a shipped world: right on real images, silent on images that show nothing."""

import copy

import numpy as np
import pytest

from unlearnbench.bench.cli_commands import registry, task_registry
from unlearnbench.bench.generators import Generator, Sampling, open_pipeline
from unlearnbench.bench.judges.emoji import NOTHING
from unlearnbench.bench.sampling import Request, draw_batch
from unlearnbench.bench.tasks import PromptSizes
from unlearnbench.bench.worlds.emoji.judge_quality import (
    ACCURACY_BAR,
    NAMED_BAR,
    JudgeReport,
    measure_judges,
)
from unlearnbench.bench.worlds.emoji.quality import REJECTED_BAR
from unlearnbench.methods import gradient_sum

OVER_ASCENDED = ("classes/cat-face@tiny", "styles/line@tiny", "nudity/alcohol@tiny")
"""Tasks whose targets are pushed away without any retain gradient, for 80 steps of rate 3e-4.

Until then the forget loss grows from .3 past 10. After 40 steps one of the three still draws strokes, and a
tenth of its images are called `line`, rightly.
"""
PROMPTS, NOISES, LEAST_IMAGES = 50, 5, 200
"""Prompts of each over-ascended model (a task may have fewer), noises of each prompt, images in all."""


@pytest.fixture(scope="module")
def report() -> JudgeReport:
    return measure_judges(registry("worlds")["tiny"].load()(), n=1_000, garbage=400)


@pytest.mark.parametrize("attribute", ["subject", "style", "background"])
def test_the_detector_meets_its_bar_on_fresh_placements(report: JudgeReport, attribute: str) -> None:
    for kind in report.known:
        assert report.accuracy(kind, attribute) >= ACCURACY_BAR, kind


def test_real_images_are_not_rejected(report: JudgeReport) -> None:
    assert {
        kind: report.rejected(kind) for kind in report.known if report.rejected(kind) > REJECTED_BAR
    } == {}


def test_garbage_gets_no_name(report: JudgeReport) -> None:
    """Blends stay out: with two styles, half of the pairs share theirs, and it may rightly be named."""
    assert len(report.garbage) == 12
    kinds = [kind for kind in report.garbage if "blend" not in kind]
    assert {kind: report.named(kind) for kind in kinds if report.named(kind) > NAMED_BAR} == {}


def test_what_over_ascended_models_draw_gets_no_name() -> None:
    world = registry("worlds")["tiny"].load()()
    judge, base = world.open_judge(), open_pipeline(str(world.pipeline_folder), "cpu")
    sampling = Sampling(world.steps, world.guidance, world.pixels, world.pixels)
    sizes = PromptSizes(
        forget=PROMPTS, forget_samples=1, retain_same=0, retain_other=0, retain_given=0, indirect=0
    )
    named = []
    for name in OVER_ASCENDED:
        pipeline, task = copy.deepcopy(base), task_registry()[name]
        config = gradient_sum.Config(
            lam=0.0, steps=80, rate=3e-4, batch=8, truncation=None, diagnostics=False
        )
        gradient_sum.unlearn(pipeline, world.problem(task, "diverse", 0), config, lambda step, log: None)
        prompts = [p for p in world.prompts(task, sizes) if p.split == "forget"]
        requests = [Request(p.text, seed) for p in prompts for seed in range(NOISES)]
        found = judge.judge(draw_batch(Generator(pipeline, sampling, ""), requests)).found
        named += list((found["subject"] != NOTHING) | (found["style"] != NOTHING))
    assert len(named) >= LEAST_IMAGES
    assert np.mean(named) <= NAMED_BAR

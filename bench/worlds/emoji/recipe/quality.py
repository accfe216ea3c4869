"""The quality bar of a world's base model: does it draw the content of evaluation prompts?"""

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pandas as pd

from ....metrics.fd import frechet_from_features
from ....metrics.kid import kid
from ....models.generators import Sampling, open_pipeline
from ....models.sampling import Request, noise_seed
from ...recipe.parts import Triple
from ...recipe.report import QualityReport, Share, draw_images, write_sheet
from ..world import EmojiWorld

BAR = {"subject": 0.97, "style": 0.97, "background": 0.98}
INDIRECT_BAR = 0.80
REJECTED_BAR = 0.02
CALL_DEFAULTS = (50, 7.5)
"""Steps and guidance that a StableDiffusionPipeline call uses by default."""


def held_out_requests(world: EmojiWorld, images: int) -> tuple[list[Triple], list[Request]]:
    """Return every held-out triple, as often as `images` needs, in evaluation wordings.

    A world without held-out triples (`tiny`) is measured on all of its triples.
    """
    held = [t for t in world.spec.triples if world.spec.is_held_out(t)] or world.spec.triples
    wordings = world.captioner.words.evaluation
    triples, requests = [], []
    for turn in range(-(-images // len(held))):
        for i, triple in enumerate(held):
            text = world.captioner.caption(triple, wordings[(i + turn) % len(wordings)])
            triples.append(triple)
            requests.append(Request(text, noise_seed(0, "quality", text, turn)))
    return triples, requests


def indirect_requests(world: EmojiWorld) -> Iterator[tuple[str, list[Request]]]:
    """Yield each category's indirect evaluation prompts: every phrase in every style, backgrounds in turn."""
    spec = world.spec
    for group, phrases in world.captioner.words.indirect.items():
        if group not in spec.subjects:
            continue
        requests = []
        for p, phrase in enumerate(phrases.evaluation):
            for k in range(len(spec.style_names)):
                text = world.captioner.indirect(phrase, Triple(0, k, (p + k) % len(spec.background_names)))
                requests.append(Request(text, noise_seed(0, "quality-indirect", text, 0)))
        yield group, requests


def _attribute_shares(
    found: pd.DataFrame, triples: list[Triple], world: EmojiWorld, label: str, bars: bool
) -> list[Share]:
    spec = world.spec
    names = {"subject": spec.subject_names, "style": spec.style_names, "background": spec.background_names}
    shares = []
    for kind, known in names.items():
        truth = [known[getattr(t, kind)] for t in triples]
        hits = int((found[kind].to_numpy() == np.array(truth)).sum())
        shares.append(Share(f"{kind}{label}", hits, len(triples), BAR[kind] if bars else None))
    rejected = int(((found["subject"] == "") | (found["style"] == "")).sum())
    shares.append(
        Share(f"nothing known{label}", rejected, len(triples), REJECTED_BAR if bars else None, True)
    )
    return shares


def measure_quality(world: EmojiWorld, images: int, device: str, sheet: Path | None = None) -> QualityReport:
    """Draw and judge held-out triples, at the world's settings and at the call's, and indirect prompts."""
    pipeline, judge = open_pipeline(world.pipeline_folder, device), world.open_judge()
    size = world.pixels
    stated = Sampling(world.steps, world.guidance, size, size)
    triples, requests = held_out_requests(world, images)
    drawn = draw_images(pipeline, requests, stated, device, "held-out triples")
    verdicts = judge.judge(drawn)
    shares = _attribute_shares(verdicts.found, triples, world, "", True)
    for group, asked in indirect_requests(world):
        found = judge.judge(draw_images(pipeline, asked, stated, device, f"indirect: {group}")).found
        hits = int(found["subject"].isin(world.spec.subjects[group]).sum())
        shares.append(Share(f"indirect: {group}", hits, len(asked), INDIRECT_BAR))
    defaults = Sampling(*CALL_DEFAULTS, size, size)
    once = len({*triples})
    again = judge.judge(
        draw_images(pipeline, requests[:once], defaults, device, "at the call's defaults")
    ).found
    shares += _attribute_shares(again, triples[:once], world, " (50 steps, guidance 7.5)", False)
    features, reference = verdicts.features.astype(np.float64), world.reference().astype(np.float64)
    distances = {"KID to the reference": kid(features, reference)}
    if len(features) >= 2 * features.shape[1]:
        distances[f"FD to the reference (n = {len(features)})"] = frechet_from_features(features, reference)
    if sheet is not None:
        write_sheet(drawn, sheet)
    held = any(world.spec.is_held_out(t) for t in world.spec.triples)
    measured_on = "held-out triples" if held else "its trained triples (it holds none out)"
    return QualityReport(world.id, measured_on, shares, distances)

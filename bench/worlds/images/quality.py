"""Quality of a world of labelled images: the share of each class's images that its judge recognises."""

from pathlib import Path

import numpy as np

from ...metrics.fd import frechet_from_features
from ...metrics.kid import kid
from ...models.generators import Sampling, open_pipeline
from ...models.sampling import Request, noise_seed
from ..recipe.report import QualityReport, Share, draw_images, write_sheet
from .world import ImagesWorld


def negative_shares(world: ImagesWorld) -> list[Share]:
    """Return the shares of negatives that the judge named when the world was made; empty for older worlds."""
    negatives = world.card.classifier.get("garbage")
    if negatives is None:
        return []
    rows = {"garbage that its judge names": negatives}
    rows |= {f"  {kind}": measured for kind, measured in negatives["by_kind"].items()}
    return [
        Share(name, round(row["named"] * row["images"]), row["images"], None, True)
        for name, row in rows.items()
    ]


def measure_quality(world: ImagesWorld, images: int, device: str, sheet: Path | None = None) -> QualityReport:
    """Draw and judge every class in evaluation wordings. No bar is set, because these worlds differ too much.

    images: total number; each class gets the same number, at least one. sheet: a PNG of them, classes in
    turn.
    """
    classes, wordings = world.captioner.classes, world.captioner.words.evaluation
    turns = max(1, images // len(classes))
    asked = [(turn, label) for turn in range(turns) for label in range(len(classes))]
    requests = []
    for turn, label in asked:
        text = world.captioner.caption(label, wordings[turn % len(wordings)])
        requests.append(Request(text, noise_seed(0, "quality", text, turn)))
    sampling = Sampling(world.steps, world.guidance, world.pixels, world.pixels)
    pipeline = open_pipeline(world.pipeline_folder, device)
    drawn = draw_images(pipeline, requests, sampling, device, "every class")
    verdicts = world.open_judge().judge(drawn)
    found = verdicts.found["subject"].to_numpy()
    truth = np.array([classes[label] for _, label in asked])
    shares = [Share("drawn as asked", int((found == truth).sum()), len(truth), None)]
    for name in classes:
        rows = truth == name
        shares.append(Share(f"  {name}", int((found[rows] == name).sum()), int(rows.sum()), None))
    shares.append(Share("nothing known", int((found == "").sum()), len(truth), None, True))
    shares += negative_shares(world)
    features, reference = verdicts.features.astype(np.float64), world.reference().astype(np.float64)
    distances = {"KID to real images": kid(features, reference)}
    if min(len(features), len(reference)) >= 2 * features.shape[1]:
        distances[f"FD to real images (n = {len(features)})"] = frechet_from_features(features, reference)
    if sheet is not None:
        write_sheet(drawn, sheet, columns=2 * len(classes))
    return QualityReport(world.id, "every class, in wordings of evaluation", shares, distances)

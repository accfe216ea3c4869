"""`unlearnbench pretrain images`: train a world of labelled images and export its folder."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from ...files import replace_folder
from ...judges.image_classifier import ImageJudge, open_judge
from ...judges.types import NOTHING
from ..recipe.generator import export_pipeline
from ..recipe.loop import save_atomic
from ..seeds import seeded
from .classifier import calibrate, negative_kinds, round_trips
from .data import LabelledImages, Part
from .recipe import ImagesRecipe, open_recipe
from .spec import ImagesSpec
from .tasks import make_suite, make_tasks
from .world import CARD, TASKS

JUDGE_VERSION = 1
REFERENCE_IMAGES = 10_000
MEASURED = 2_000
"""Most test images that are sent through the autoencoder to measure the classifier."""
NEGATIVES = 400
"""Most images of each kind of negatives to measure the classifier on."""


def pretrain(
    spec: ImagesSpec,
    data: LabelledImages,
    work: Path,
    target: Path,
    stages: tuple[str, ...],
    say: Callable[[str], None],
    device: str = "cpu",
) -> Path | None:
    """Train the given stages (each resumes from `work`), then export to `target`; return `target`.

    device: on which the generator's text encoder and denoiser train.
    """
    recipe = open_recipe(spec, data, work, device)
    parts = {
        "autoencoder": lambda: recipe.autoencoder,
        "text": lambda: recipe.text_encoder,
        "unet": lambda: recipe.unet,
        "classifier": lambda: recipe.classifier,
    }
    for name, make in parts.items():
        if name in stages:
            make()
    if "export" not in stages:
        return None
    card = _export(recipe, target)
    judged, negatives = card["classifier"], card["classifier"]["garbage"]
    say(f"{spec.name}@{spec.version}: {target}")
    say(
        f"its classifier names {judged['test_accuracy']:.4f} of {judged['test_images']} test images rightly, "
        f"{judged['round_trip_accuracy']:.4f} of {judged['round_trips']} after the autoencoder; "
        f"it names a class in {negatives['named']:.4f} of {negatives['images']} images of nothing known"
    )
    return target


def _export(recipe: ImagesRecipe, target: Path) -> dict[str, Any]:
    """Write the complete world in place of one that is there; return its card."""
    return replace_folder(target, lambda scratch: _write_world(recipe, scratch))


def _write_world(recipe: ImagesRecipe, scratch: Path) -> dict[str, Any]:
    """Write the world's parts and its card into a new folder; return the card."""
    spec, data = recipe.spec, recipe.data
    export_pipeline(recipe, scratch / "pipeline")
    judge = _export_judge(recipe, scratch / "judges")
    test = data.test.only(_choose(len(data.test), REFERENCE_IMAGES, spec.seed))
    verdicts = judge.judge(_as_arrays(test.images))
    features = torch.from_numpy(verdicts.features).half()
    reference = {"features": features, "labels": test.labels.to(torch.int32)}
    save_atomic(reference, scratch / "judges" / "reference.safetensors")
    kept = data.train.only(_keep(data.train, spec))
    save_atomic({"images": kept.images, "labels": kept.labels}, scratch / "images.safetensors")
    found = verdicts.found["subject"].to_numpy()
    words = {"captions": recipe.captioner.words.model_dump()}
    card = make_card(spec, data) | words | {"classifier": measure(recipe, judge, test, found)}
    _write(scratch / CARD, card)
    tasks = make_tasks(spec.name, spec.classes, confusion(spec.classes, test.labels, found), judge.version)
    _write(scratch / TASKS, tasks.model_dump(mode="json"))
    (scratch / "suite.toml").write_text(make_suite(tasks), encoding="utf-8")
    return card


def _export_judge(recipe: ImagesRecipe, target: Path) -> ImageJudge:
    """Write the classifier and its calibration; return the judge opened from what was written."""
    target.mkdir(parents=True, exist_ok=True)
    spec, network = recipe.spec, recipe.classifier
    half = {name: t.half() for name, t in network.state_dict().items()}
    save_atomic(half, target / "classifier.safetensors")
    # calibrate what ships: the weights as they come back from half precision
    network.load_state_dict({name: t.float() for name, t in half.items()})
    card = {
        "version": JUDGE_VERSION,
        "pixels": spec.pixels,
        "width": spec.classifier.width,
        "classes": spec.classes,
        **calibrate(spec, recipe.data, recipe.autoencoder, network),
    }
    _write(target / "classifier.json", card)
    return open_judge(target)


def _write(path: Path, content: dict[str, Any]) -> None:
    path.write_text(json.dumps(content, indent=1) + "\n", encoding="utf-8")


def _choose(n: int, most: int, seed: int) -> Tensor:
    return torch.randperm(n, generator=seeded(seed, "choose", n))[:most]


def _keep(part: Part, spec: ImagesSpec) -> Tensor:
    """Return the rows that the world carries: as many of each class, or all where there are fewer."""
    order = _choose(len(part), len(part), spec.seed)
    rows = [order[part.labels[order] == label][: spec.kept] for label in range(len(spec.classes))]
    return torch.cat(rows)


def _as_arrays(images: Tensor) -> np.ndarray:
    return images.permute(0, 2, 3, 1).numpy()


def make_card(spec: ImagesSpec, data: LabelledImages) -> dict[str, Any]:
    """Return the part of a world's card that is not measured."""
    return {
        "world": spec.name,
        "version": spec.version,
        "pixels": spec.pixels,
        "steps": spec.steps,
        "guidance": spec.guidance,
        "classes": spec.classes,
        "judge_version": JUDGE_VERSION,
        "data": {
            "kind": data.kind,
            "sha256": data.digest,
            "training_images": len(data.train),
            "test_images": len(data.test),
        },
        "settings": spec.model_dump(mode="json", exclude={"name", "classes"}),
    }


def measure(recipe: ImagesRecipe, judge: ImageJudge, test: Part, found: np.ndarray) -> dict[str, Any]:
    """Return how often the classifier is right on test images, before and after the autoencoder.

    test: images that nothing was trained on. found: its answers on them. The answer `nothing known` is wrong.
    """
    truth = np.array(recipe.spec.classes)[test.labels.numpy()]
    few = test.only(_choose(len(test), MEASURED, recipe.spec.seed))
    trips = round_trips(recipe.autoencoder, few.images, seeded(recipe.spec.seed, "measure"), 0.0)
    after = judge.judge(_as_arrays(trips)).found["subject"].to_numpy()
    by_class = {name: _share(found[truth == name] == name) for name in recipe.spec.classes}
    return {
        "test_accuracy": _share(found == truth),
        "test_images": len(test),
        "nothing_known": _share(found == NOTHING),
        "by_class": {name: share for name, share in by_class.items() if share is not None},
        "round_trip_accuracy": _share(after == np.array(recipe.spec.classes)[few.labels.numpy()]),
        "round_trips": len(few),
        "garbage": measure_negatives(recipe, judge, test),
    }


def measure_negatives(recipe: ImagesRecipe, judge: ImageJudge, test: Part) -> dict[str, Any]:
    """Return the share of images of nothing known in which the classifier names a class: overall and by kind.

    They are of the kinds that it was trained on, drawn again and made from test images.
    """
    spec = recipe.spec
    few = test.only(_choose(len(test), NEGATIVES, spec.seed))
    generator = seeded(spec.seed, "measure garbage")
    kinds = negative_kinds(spec, few.images, recipe.data.is_grey, recipe.autoencoder, generator)
    named = {
        kind: judge.judge(_as_arrays(images)).found["subject"].to_numpy() != NOTHING
        for kind, images in kinds.items()
    }
    whole = np.concatenate(list(named.values()))
    by_kind = {kind: {"named": _share(hits), "images": len(hits)} for kind, hits in named.items()}
    return {"named": _share(whole), "images": len(whole), "by_kind": by_kind}


def _share(hits: np.ndarray) -> float | None:
    return round(float(hits.mean()), 6) if hits.size else None


def confusion(classes: list[str], labels: Tensor, found: np.ndarray) -> np.ndarray:
    """Return counts (classes, classes) of true (rows) against named (columns), `nothing known` left out."""
    counts = np.zeros((len(classes), len(classes)), dtype=np.int64)
    for true, name in zip(labels.tolist(), found, strict=True):
        if name != NOTHING:
            counts[true, classes.index(name)] += 1
    return counts

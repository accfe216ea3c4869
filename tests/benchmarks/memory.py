"""Peak memory of scoring a point: 50 images against 5,000 at 512 px, each number in a process of its own.

    python tests/benchmarks/memory.py

The images lie in a store, as after drawing; the judge and the extractor are of the usual widths and compute
next to nothing, so that what is measured is the images' way through scoring.
"""

import argparse
import resource
import subprocess
import sys
import tempfile
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np

from unlearnbench.bench.judges.types import Verdicts, verdicts_of
from unlearnbench.bench.measuring.requests import ImageRequest
from unlearnbench.bench.measuring.scorer import Place, PointScorer, to_draw
from unlearnbench.bench.metrics.features import CLIP
from unlearnbench.bench.models.generators import Sampling
from unlearnbench.bench.models.sampling import encode_png
from unlearnbench.bench.models.saved.manifest import PointManifest
from unlearnbench.bench.store import Store
from unlearnbench.bench.types import Prompt


class Judge:
    """Answers as UnlearnCanvas's judge does in width: 1,024 features."""

    def judge(self, images: np.ndarray) -> Verdicts:
        features = np.repeat(images.mean(axis=(1, 2, 3), dtype=np.float32)[:, None], 1024, axis=1)
        return verdicts_of("subject", [""] * len(images), features)


class Embedder:
    """Embeds images and prompts in 512 numbers, as CLIP does."""

    def embed_images(self, images: np.ndarray) -> np.ndarray:
        return np.repeat(images.mean(axis=(1, 2, 3), dtype=np.float32)[:, None], 512, axis=1)

    def embed_prompts(self, prompts: list[str]) -> np.ndarray:
        return np.ones((len(prompts), 512), np.float32)


def make_request(number: int) -> ImageRequest:
    prompt = Prompt(f"p{number}", f"prompt {number}", "forget", {}, "subject", ("x",), "target", False, "A")
    return ImageRequest(prompt, 0, number)


def score(folder: Path, count: int, side: int) -> int:
    """Score so many images; return the process's peak of resident memory in bytes."""
    store = Store(folder)
    sampling = Sampling(50, 7.5, side, side)
    world: Any = SimpleNamespace(
        id="w", inception=None, reference_key=None, reference=lambda task: np.empty((0, 0))
    )
    world.open_alignment = Embedder
    holder: Any = SimpleNamespace(sampling=sampling, dtype="torch.float32", generator=None)
    place = Place(world, holder, PointManifest(0, "f" * 64, "", 0, 0, None, None), lambda: None, "scoring")
    requests = [make_request(number) for number in range(count)]
    ramp = np.broadcast_to(np.arange(side, dtype=np.uint8)[:, None, None], (side, side, 3))
    png, drawing = encode_png(np.ascontiguousarray(ramp)), place.drawing("cpu")
    for request in requests:
        store.put("images", drawing.key(to_draw(request)), png)
    scorer = PointScorer(store, "cpu")
    task: Any = SimpleNamespace(
        id="t", file=SimpleNamespace(family="f", judge="j", target_kind="subject", names=[])
    )
    scorer._opened[f"judge {('w', 'f', 'j', 'subject')}"] = Judge()
    scorer.extractor = lambda world, name: Embedder() if name == CLIP else None  # type: ignore
    scored = scorer.score(place, task, requests, None)
    assert len(scored.items) == count
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


def main() -> None:
    parser = argparse.ArgumentParser(description="Peak memory of scoring")
    parser.add_argument("--counts", type=int, nargs="+", default=[50, 500, 5000])
    parser.add_argument("--side", type=int, default=512)
    parser.add_argument("--one", type=int, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.one:
        with tempfile.TemporaryDirectory() as folder:
            print(score(Path(folder) / "store", options.one, options.side))
        return
    for count in options.counts:
        command = [sys.executable, __file__, "--one", str(count), "--side", str(options.side)]
        peak = int(subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout)
        pixels = count * options.side**2 * 3
        print(f"{count} images ({pixels / 2**20:.0f} MiB of pixels): peak {peak / 2**20:.0f} MiB")


if __name__ == "__main__":
    main()

"""Draw saved points in a process of their own: JSON in (models and payloads), JSON out (what was drawn)."""

import hashlib
import json
import os
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch

from unlearnbench.bench.models.generators import Generator, Sampling
from unlearnbench.bench.models.points import ModelHolder
from unlearnbench.bench.models.sampling import Request, draw_batch

SAMPLING = Sampling(3, 3.0, 16, 16)
REQUESTS = [Request("a cat on a mat", 1), Request("a dog", 2), Request("fox", 3)]


@dataclass(frozen=True)
class Saved:
    """A point. model: folder of its base, or of a model that `unlearn` wrote; payload: file of its delta."""

    model: str
    delta: str = ""
    payload: str = ""


def hash_images(generator: Generator) -> list[str]:
    """Return the sha256 of what a model draws for REQUESTS."""
    torch.set_num_threads(1)
    images = draw_batch(generator, REQUESTS)
    return [hashlib.sha256(b"" if image is None else image.tobytes()).hexdigest() for image in images]


def draw_saved(saved: Saved) -> dict[str, Any]:
    """Return fingerprint and images of a point."""
    holder = ModelHolder(saved.model, SAMPLING, "cpu")
    payload = Path(saved.payload).read_bytes() if saved.payload else None
    generator = holder.generator(saved.delta, payload)
    return {"fingerprint": generator.fingerprint, "images": hash_images(generator)}


def redraw(points: Sequence[Saved], path: Sequence[Path] = ()) -> list[dict[str, Any]]:
    """Return `draw_saved` of points as one new process draws them; path: folders for it to import from."""
    search = [*map(str, path), *filter(None, [os.environ.get("PYTHONPATH")])]
    done = subprocess.run(
        [sys.executable, __file__],
        input=json.dumps([asdict(point) for point in points]),
        env={**os.environ, "PYTHONPATH": os.pathsep.join(search), "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    found: list[dict[str, Any]] = json.loads(done.stdout.splitlines()[-1])
    return found


if __name__ == "__main__":
    print(json.dumps([draw_saved(Saved(**point)) for point in json.load(sys.stdin)]))

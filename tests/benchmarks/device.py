"""What methods and the sampler cost on a device: seconds, peak memory, images a second.

    python tests/benchmarks/device.py --size sd15 --device cuda      # a GPU of 24 GB or more
    python tests/benchmarks/device.py --size tiny --device cpu       # the same code in a minute

`sd15` is Stable Diffusion 1.5's networks at 512 px, with random weights: time and memory do not hang on them.
Prints two tables; a row that the memory does not hold says so.
"""

import argparse
import gc
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from functools import partial
from itertools import pairwise
from pathlib import Path
from typing import Any

import torch
from diffusers import AutoencoderKL, DDIMScheduler, StableDiffusionPipeline, UNet2DConditionModel
from rich.console import Console
from rich.table import Table
from transformers import CLIPTextConfig, CLIPTextModel

from unlearnbench.bench.config import build
from unlearnbench.bench.models.generators import Generator, Sampling
from unlearnbench.bench.models.sampling import Drawing, Request
from unlearnbench.bench.store import Store
from unlearnbench.bench.types import Problem, TrainingSet
from unlearnbench.methods import anchor_balanced, balanced, finetune, gradient_sum

sys.path.insert(0, str(Path(__file__).parents[1] / "methods"))
from tiny import build_pipeline as build_tiny
from tiny import build_tokenizer

METHODS: dict[str, Any] = {
    "finetune": finetune,
    "gradient_sum": gradient_sum,
    "balanced": balanced,
    "anchor_balanced": anchor_balanced,
}
SIZES = {"tiny": 16, "sd15": 512}
BATCHES = (1, 2, 4, 8, 16, 32)


def build_pipeline(size: str, folder: Path) -> Any:
    """Return an untrained pipeline of a size."""
    if size == "tiny":
        return build_tiny(folder)
    torch.manual_seed(0)
    tokenizer = build_tokenizer(folder)
    tokenizer.model_max_length = 77
    text = CLIPTextConfig(
        vocab_size=49408,
        hidden_size=768,
        intermediate_size=3072,
        num_hidden_layers=12,
        num_attention_heads=12,
    )
    vae = AutoencoderKL(
        block_out_channels=(128, 256, 512, 512),
        down_block_types=("DownEncoderBlock2D",) * 4,
        up_block_types=("UpDecoderBlock2D",) * 4,
        latent_channels=4,
        layers_per_block=2,
    )
    unet = UNet2DConditionModel(sample_size=64, cross_attention_dim=768, attention_head_dim=8)
    return StableDiffusionPipeline(
        vae=vae,
        text_encoder=CLIPTextModel(text),
        tokenizer=tokenizer,
        unet=unet,
        scheduler=DDIMScheduler(
            beta_schedule="scaled_linear",
            beta_start=0.00085,
            beta_end=0.012,
            clip_sample=False,
            steps_offset=1,
        ),
        safety_checker=None,
        feature_extractor=None,
        requires_safety_checker=False,
    )


def build_problem(side: int, images: int = 8) -> Problem:
    """Return a problem of random images of a side."""
    draw = torch.Generator().manual_seed(0)
    texts = {name: tuple(f"{name} {i}" for i in range(images)) for name in ("cat", "fox", "dog")}
    pixels = torch.rand((2, images, 3, side, side), generator=draw) * 2 - 1
    forget = TrainingSet(texts["cat"], pixels[0], texts["dog"])
    return Problem("device", "cat", "dog", forget, TrainingSet(texts["fox"], pixels[1]), "diverse", 0, draw)


def clock(device: str) -> float:
    """Return the time in seconds once the device has done what it was given."""
    if device.startswith("cuda"):
        torch.cuda.synchronize()
    return time.perf_counter()


def gauge(run: Callable[[], Sequence[float]], device: str) -> tuple[str, str]:
    """Return the median of the seconds that a run reports, and its peak memory on a GPU."""
    cuda = device.startswith("cuda")
    gc.collect()
    if cuda:
        torch.cuda.empty_cache()
        torch.cuda.reset_peak_memory_stats()
    try:
        seconds = statistics.median(run())
    except torch.OutOfMemoryError:
        return "out of memory", ""
    return f"{seconds:.3f}", f"{torch.cuda.max_memory_allocated() / 2**30:.1f}" if cuda else "–"


def repeat(action: Callable[[], None], device: str, rounds: int) -> list[float]:
    """Return the seconds of an action, round by round, after one to warm up."""
    action()
    times = [clock(device)]
    for _ in range(rounds):
        action()
        times.append(clock(device))
    return [after - before for before, after in pairwise(times)]


def train(method: Any, pipeline: Any, problem: Problem, config: Any, device: str) -> list[float]:
    """Return the seconds of a method's steps, the first left out."""
    times: list[float] = []
    method.unlearn(pipeline, problem, config, lambda step, log: times.append(clock(device)))
    return [after - before for before, after in pairwise(times)]


def time_methods(pipeline: Any, side: int, device: str, batch: int, rounds: int) -> Table:
    """Return a table of a training step of each method, plain and with gradient checkpointing."""
    table = Table("method", "checkpointing", f"s a step, batch {batch} a set", "peak GiB", title="training")
    steps = {"steps": rounds + 1, "checkpoints": list(range(1, rounds + 2)), "rate": 1e-6}
    for saving in (False, True):
        for name, method in METHODS.items():
            settings = {"batch": batch, "diagnostics": False, "gradient_checkpointing": saving, **steps}
            config = build(method.Config, settings, name)
            run = partial(train, method, pipeline, build_problem(side), config, device)
            table.add_row(name, "yes" if saving else "no", *gauge(run, device))
    return table


def time_sampling(pipeline: Any, side: int, device: str, images: int, steps: int, rounds: int) -> Table:
    """Return a table of images a second: the plain pipeline by batch, our sampler, and two variants."""
    table = Table(
        "sampler", f"s for {images} images of {side} px, {steps} steps", "peak GiB", title="sampling"
    )
    requests = [Request(f"cat {i}", i) for i in range(images)]
    generator = Generator(pipeline, Sampling(steps, 7.5, side, side), "weights")

    def plain(batch: int) -> None:
        for i in range(0, images, batch):
            part = requests[i : i + batch]
            pipeline(
                [r.prompt for r in part],
                num_inference_steps=steps,
                height=side,
                width=side,
                generator=[torch.Generator().manual_seed(r.seed) for r in part],
                output_type="np",
            )

    def ours() -> None:
        with tempfile.TemporaryDirectory() as folder:
            kept = generator.fingerprint
            drawing = Drawing(kept, generator.sampling, str(pipeline.dtype), device, lambda: generator)
            drawing.draw(requests, Store(Path(folder)), lambda n: None)

    def measure(action: Callable[[], None]) -> tuple[str, str]:
        return gauge(partial(repeat, action, device, rounds), device)

    for batch in [b for b in BATCHES if b <= images]:
        table.add_row(f"plain pipeline, batch {batch}", *measure(partial(plain, batch)))
    table.add_row("ours (every image stored)", *measure(ours))
    pipeline.unet.to(memory_format=torch.channels_last)
    table.add_row("ours, channels last", *measure(ours))
    if device.startswith("cuda"):
        pipeline.unet.compile()
        table.add_row("ours, channels last, torch.compile", *measure(ours))
    return table


def main() -> None:
    """Print both tables."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--size", choices=SIZES, default="tiny")
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    parser.add_argument("--batch", type=int, default=8)
    parser.add_argument("--images", type=int, default=32)
    parser.add_argument("--steps", type=int, default=20)
    parser.add_argument("--rounds", type=int, default=5)
    options = parser.parse_args()
    side, device, console = SIZES[options.size], options.device, Console()
    with tempfile.TemporaryDirectory() as folder:
        pipeline = build_pipeline(options.size, Path(folder)).to(device)
    pipeline.set_progress_bar_config(disable=True)
    console.print(time_methods(pipeline, side, device, options.batch, options.rounds))
    if device.startswith("cuda"):
        pipeline.to(torch.float16)
    console.print(time_sampling(pipeline, side, device, options.images, options.steps, options.rounds))
    name = torch.cuda.get_device_name() if device.startswith("cuda") else "cpu"
    console.print(f"{name}; torch {torch.__version__}; training in float32, sampling in {pipeline.dtype}")


if __name__ == "__main__":
    main()

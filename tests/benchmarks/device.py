"""What methods and the sampler cost on a device: seconds, peak memory, images a second.

    python tests/benchmarks/device.py --size sd15 --device cuda      # a GPU of 24 GB or more; minutes
    python tests/benchmarks/device.py --size sdxl --device cuda      # a GPU of 80 GB
    python tests/benchmarks/device.py --size tiny --device cpu       # the same code in minutes

`sd15` and `sdxl` are Stable Diffusion 1.5's and XL's networks at 512 and 1024 px, with random weights: time
and memory do not depend on them. Prints a line as soon as it is measured; a row that the memory does not hold
says so.
"""

import argparse
import copy
import gc
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from itertools import pairwise
from pathlib import Path
from typing import Any

import torch
from diffusers import (
    AutoencoderKL,
    DDIMScheduler,
    StableDiffusionPipeline,
    StableDiffusionXLPipeline,
    UNet2DConditionModel,
)
from transformers import CLIPTextConfig, CLIPTextModel, CLIPTextModelWithProjection

from unlearnbench.bench.config import build
from unlearnbench.bench.errors import UserError
from unlearnbench.bench.models.generators import Generator, Sampling
from unlearnbench.bench.models.sampling import Drawing, Request
from unlearnbench.bench.registry import Entry
from unlearnbench.bench.running.catalog import registry
from unlearnbench.bench.store import Store
from unlearnbench.bench.types import DrawSettings, Problem, TrainingSet

sys.path.insert(0, str(Path(__file__).parents[1] / "methods"))
from tiny import build_pipeline as build_tiny
from tiny import build_tokenizer

SIZES = {"tiny": 16, "sd15": 512, "sdxl": 1024}
BATCHES = (1, 2, 4, 8, 16, 32)
HALF = {"float16": torch.float16, "bfloat16": torch.bfloat16}
SMALL = {"images": 4, "mask_batches": 2, "pairs": 2, "sampling_steps": 10, "region_draws": 2}
"""Settings of what methods do once before their steps, for a time of minutes."""


def build_text(width: int, layers: int, heads: int, projection: bool) -> Any:
    """Return an untrained CLIP text encoder."""
    config = CLIPTextConfig(
        vocab_size=49408,
        hidden_size=width,
        intermediate_size=4 * width,
        num_hidden_layers=layers,
        num_attention_heads=heads,
        projection_dim=width,
    )
    return (CLIPTextModelWithProjection if projection else CLIPTextModel)(config)


def build_autoencoder() -> AutoencoderKL:
    """Return an untrained autoencoder of Stable Diffusion's size."""
    return AutoencoderKL(
        block_out_channels=(128, 256, 512, 512),
        down_block_types=("DownEncoderBlock2D",) * 4,
        up_block_types=("UpDecoderBlock2D",) * 4,
        latent_channels=4,
        layers_per_block=2,
    )


def build_scheduler() -> DDIMScheduler:
    """Return Stable Diffusion's schedule."""
    return DDIMScheduler(
        beta_schedule="scaled_linear",
        beta_start=0.00085,
        beta_end=0.012,
        clip_sample=False,
        steps_offset=1,
    )


def build_pipeline(size: str, folder: Path, device: str) -> Any:
    """Return an untrained pipeline of a size on a device."""
    if size == "tiny":
        return build_tiny(folder).to(device)
    torch.manual_seed(0)
    tokenizer = build_tokenizer(folder)
    tokenizer.model_max_length = 77
    with torch.device(device):
        text, vae = build_text(768, 12, 12, projection=False), build_autoencoder()
        if size == "sd15":
            unet = UNet2DConditionModel(sample_size=64, cross_attention_dim=768, attention_head_dim=8)
            return StableDiffusionPipeline(
                vae=vae,
                text_encoder=text,
                tokenizer=tokenizer,
                unet=unet,
                scheduler=build_scheduler(),
                safety_checker=None,
                feature_extractor=None,
                requires_safety_checker=False,
            ).to(device)
        unet = UNet2DConditionModel(
            sample_size=128,
            block_out_channels=(320, 640, 1280),
            down_block_types=("DownBlock2D", "CrossAttnDownBlock2D", "CrossAttnDownBlock2D"),
            up_block_types=("CrossAttnUpBlock2D", "CrossAttnUpBlock2D", "UpBlock2D"),
            transformer_layers_per_block=(1, 2, 10),
            attention_head_dim=(5, 10, 20),
            cross_attention_dim=2048,
            use_linear_projection=True,
            addition_embed_type="text_time",
            addition_time_embed_dim=256,
            projection_class_embeddings_input_dim=2816,
        )
        return StableDiffusionXLPipeline(
            vae=vae,
            text_encoder=text,
            text_encoder_2=build_text(1280, 32, 20, projection=True),
            tokenizer=tokenizer,
            tokenizer_2=tokenizer,
            unet=unet,
            scheduler=build_scheduler(),
        ).to(device)


def build_problem(side: int, images: int = 8) -> Problem:
    """Return a problem of random images of a side."""
    draw = torch.Generator().manual_seed(0)
    texts = {name: tuple(f"{name} {i}" for i in range(images)) for name in ("cat", "fox", "dog")}
    pixels = torch.rand((2, images, 3, side, side), generator=draw) * 2 - 1
    forget = TrainingSet(texts["cat"], pixels[0], texts["dog"])
    retain = TrainingSet(texts["fox"], pixels[1])
    return Problem(
        "device", "cat", "dog", forget, retain, "diverse", 0, draw,
        targets=("cat",), retained=("fox",), sampling=DrawSettings(10, 3.0),
    )  # fmt: skip


def clock(device: str) -> float:
    """Return the time in seconds once the device has done what it was given."""
    if device.startswith("cuda"):
        torch.cuda.synchronize()
    return time.perf_counter()


def gauge(run: Callable[[], Sequence[float]], device: str, apart: int = 0) -> tuple[str, str]:
    """Return the median of the seconds that a run reports, and its peak memory in GiB on a GPU.

    apart: bytes of the device that are no part of the run.
    """
    cuda = device.startswith("cuda")
    gc.collect()
    if cuda:
        torch.cuda.empty_cache()
        torch.cuda.reset_peak_memory_stats()
    try:
        seconds = statistics.median(run())
    except torch.OutOfMemoryError:
        return "out of memory", ""
    except UserError as error:
        return f"refused: {error}", ""
    return f"{seconds:.3f}", f"{(torch.cuda.max_memory_allocated() - apart) / 2**30:.1f}" if cuda else "–"


def repeat(action: Callable[[], None], device: str, rounds: int) -> list[float]:
    """Return the seconds of an action, round by round, after one to warm up."""
    action()
    times = [clock(device)]
    for _ in range(rounds):
        action()
        times.append(clock(device))
    return [after - before for before, after in pairwise(times)]


def train(entry: Entry, pipeline: Any, problem: Problem, config: Any, device: str) -> list[float]:
    """Return the seconds of a method's steps, the first left out; of the whole edit where it has no steps."""
    times = [clock(device)]
    entry.load()(pipeline, problem, config, lambda step, log, tensors=None: times.append(clock(device)))
    spans = [after - before for before, after in pairwise(times)]
    return spans[1:] or spans


def settings_of(entry: Entry, batch: int, rounds: int, saving: bool) -> Any:
    """Return a method's configuration: `rounds` timed steps, and little of what comes before them."""
    kind = entry.load_config()
    steps = {"steps": rounds + 1, "checkpoints": list(range(1, rounds + 2))}
    known = {"batch": batch, "diagnostics": False, "gradient_checkpointing": saving, **steps, **SMALL}
    return build(kind, {k: v for k, v in known.items() if k in kind.model_fields}, entry.name)


def time_methods(
    pipeline: Any, family: str, side: int, device: str, batch: int, rounds: int
) -> Iterator[tuple[str, ...]]:
    """Yield a row for each method on a copy of a pipeline: name, gradient checkpointing, seconds, GiB."""
    apart = torch.cuda.memory_allocated() if device.startswith("cuda") else 0
    entries = [e for e in registry("methods").values() if not e.pipelines or family in e.pipelines]
    for saving in (False, True):
        for entry in entries:
            field = entry.load_config().model_fields.get("gradient_checkpointing")
            if saving and (field is None or field.annotation is not bool):
                continue
            config = settings_of(entry, batch, rounds, saving)
            run = partial(train, entry, copy.deepcopy(pipeline), build_problem(side), config, device)
            yield entry.name, "yes" if saving else "no", *gauge(run, device, apart)


class Sampler:
    """Draws the same images by the plain pipeline and by ours."""

    def __init__(self, pipeline: Any, side: int, device: str, images: int, steps: int, rounds: int) -> None:
        self.pipeline, self.side, self.device = pipeline, side, device
        self.requests = [Request(f"cat {i}", i) for i in range(images)]
        self.steps, self.rounds = steps, rounds
        self.generator = Generator(pipeline, Sampling(steps, 7.5, side, side), "weights")

    def plain(self, batch: int) -> None:
        """Draw by the pipeline's own call, `batch` images at once."""
        for i in range(0, len(self.requests), batch):
            part = self.requests[i : i + batch]
            self.pipeline(
                [r.prompt for r in part],
                num_inference_steps=self.steps,
                height=self.side,
                width=self.side,
                generator=[torch.Generator().manual_seed(r.seed) for r in part],
                output_type="np",
            )

    def ours(self) -> None:
        """Draw by our sampler, every image stored."""
        with tempfile.TemporaryDirectory() as folder:
            made, kind = self.generator, str(self.pipeline.dtype)
            drawing = Drawing(made.fingerprint, made.sampling, kind, self.device, lambda: made)
            drawing.draw(self.requests, Store(Path(folder)), lambda n: None)

    def measure(self, action: Callable[[], None]) -> tuple[str, str]:
        """Return seconds for all images, and GiB."""
        return gauge(partial(repeat, action, self.device, self.rounds), self.device)


def time_sampling(sampler: Sampler, compiling: bool) -> Iterator[tuple[str, ...]]:
    """Yield a row for each way to draw: the plain pipeline by batch, ours, and variants."""
    pipeline, cuda = sampler.pipeline, sampler.device.startswith("cuda")
    for batch in [b for b in BATCHES if b <= len(sampler.requests)]:
        yield f"plain pipeline, batch {batch}", *sampler.measure(partial(sampler.plain, batch))
    yield "ours (every image stored)", *sampler.measure(sampler.ours)
    for name, dtype in HALF.items() if cuda else ():
        pipeline.to(dtype)
        yield f"ours, {name}", *sampler.measure(sampler.ours)
    pipeline.unet.to(memory_format=torch.channels_last)
    yield f"ours, {'bfloat16, ' if cuda else ''}channels last", *sampler.measure(sampler.ours)
    if compiling:
        pipeline.unet.compile()
        yield "ours, bfloat16, channels last, torch.compile", *sampler.measure(sampler.ours)


def show(title: str, names: Sequence[str], rows: Iterator[tuple[str, ...]]) -> None:
    """Print a Markdown table, each row as soon as it is there."""
    print(f"\n{title}\n\n| {' | '.join(names)} |\n|{'---|' * len(names)}", flush=True)
    for row in rows:
        print(f"| {' | '.join(row)} |", flush=True)


def main() -> None:
    """Print both tables."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--size", choices=SIZES, default="tiny")
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    parser.add_argument("--batch", type=int, default=4, help="images of each set in a training step")
    parser.add_argument("--images", type=int, default=32)
    parser.add_argument("--steps", type=int, default=20, help="of the sampler")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--only", choices=("training", "sampling"))
    parser.add_argument("--compile", action="store_true", help="also time a compiled denoiser (a GPU)")
    options = parser.parse_args()
    side, device = SIZES[options.size], options.device
    name = torch.cuda.get_device_name() if device.startswith("cuda") else "cpu"
    print(f"{options.size} on {name}; torch {torch.__version__}; float32 where nothing else is said")
    with tempfile.TemporaryDirectory() as folder:
        pipeline = build_pipeline(options.size, Path(folder), device)
    pipeline.set_progress_bar_config(disable=True)
    if options.only != "sampling":
        family = "sdxl" if options.size == "sdxl" else "sd"
        names = ("method", "gradient checkpointing", f"s a step, batch {options.batch} a set", "peak GiB")
        rows = time_methods(pipeline, family, side, device, options.batch, options.rounds)
        show("training (a method that saves one point: the whole edit)", names, rows)
    if options.only != "training":
        many = f"s for {options.images} images of {side} px, {options.steps} steps"
        sampler = Sampler(pipeline, side, device, options.images, options.steps, options.rounds)
        show("sampling", ("sampler", many, "peak GiB"), time_sampling(sampler, options.compile))


if __name__ == "__main__":
    main()

"""What a run will cost in seconds: from rates measured on this machine, for any number of workers."""

import json
import math
import os
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any

import platformdirs

from ...environment import describe_environment
from ...errors import UserError
from ...files import write_file
from ...planning.plan import Cell, MethodRow, Suite
from ...planning.tasks import Task
from ...registry import Entry
from ...store import Store

if TYPE_CHECKING:  # an estimate imports no torch
    from ...models.points import ModelHolder
    from ..cell_run import CellRun
    from ..runner import Runner

METHOD, BATCH = "finetune", 8
"""The method whose steps are measured, and its batch."""
FIRST_STEPS = 2
"""Steps of a training that are not counted: the first ones are slower."""


@dataclass(frozen=True)
class Rates:
    """Seconds of one worker. drawing, judging: for an image. step: of `finetune` for an image of its batch.

    opening: of the model. memory: most bytes of the process while it was measured, on its device. world,
    device, device_name, threads: where it was measured. created: the day.
    """

    world: str
    device: str
    device_name: str
    threads: int
    drawing: float
    judging: float
    step: float
    opening: float
    memory: int
    created: str


@dataclass(frozen=True)
class Work:
    """An amount of work. images: drawn and judged. passes: images through the denoiser in training steps.

    longest: seconds of the longest part that is not shared among workers.
    """

    images: int
    passes: int
    longest: float = 0.0


def seconds_of(work: Work, rates: Rates, workers: int = 1) -> float:
    """Return the seconds that workers need for some work.

    It is the sum of all parts over the workers, but no less than the longest part; each worker opens the
    model once.
    """
    whole = work.images * (rates.drawing + rates.judging) + work.passes * rates.step
    return max(whole / workers, work.longest) + rates.opening


def passes_of(cell: Cell) -> int:
    """Return the number of images that a training puts through the denoiser: a batch of each of its sets a
    step. Methods that draw or search while they train take longer."""
    if cell.entry is None:
        return 0
    config = cell.build_config()
    sets = max(1, len([name for name in cell.entry.needs if name.endswith("_set")]))
    return sets * int(getattr(config, "steps", 1)) * int(getattr(config, "batch", BATCH))


def measure_rates(runner: "Runner", task: Task, method: Entry, seconds: float) -> Rates:
    """Measure this machine for about so many seconds: a third each of drawing, training and judging."""
    from ...measuring.extractors import find_extractors
    from ...measuring.scorer import to_draw
    from ...measuring.streaming import look_at
    from ...models.points import ModelHolder
    from ...models.sampling import draw_batch, micro_batch
    from ..cell_run import CellRun

    if not math.isfinite(seconds) or seconds <= 0:
        raise UserError(f"--seconds {seconds:g}: must be above 0")
    row = MethodRow(name=METHOD, config={"batch": BATCH})
    run = CellRun(runner, Cell(Suite(name="calibrate", tasks=[task.id], methods=[row]), task, row, method, 0))
    holder = run._holder()
    if not isinstance(holder, ModelHolder):
        raise UserError(f"{task.id}: its model is a function, and cannot be trained")
    _ = holder.weights  # the first opening loads libraries, too
    holder.close()
    began = time.monotonic()
    generator = holder.generator("", None)
    opening = time.monotonic() - began
    requests = [to_draw(request) for request in run.requests][: micro_batch(runner.device, holder.sampling)]
    requests = [request for request in requests if request.guidance == requests[0].guidance]
    images = [image for image in draw_batch(generator, requests) if image is not None]
    if not images:
        raise UserError(f"{task.id}: the model draws no finite pixels")
    drawing = _repeat(lambda: draw_batch(generator, requests), seconds / 3) / len(requests)
    judge = runner.scorer.judge_of(run.world, task)
    found = {name: runner.scorer.extractor(run.world, name) for name in find_extractors(run.world)}
    extractors = {name: extractor for name, extractor in found.items() if extractor is not None}
    size = images[0].shape[:2]
    judging = _repeat(lambda: look_at(images, size, judge, extractors), seconds / 3) / len(images)
    step = _measure_step(run, holder, method, seconds / 3)
    return Rates(
        world=run.world.id,
        device=runner.device,
        device_name=_device_name(runner.device),
        threads=runner.threads,
        drawing=drawing,
        judging=judging,
        step=step,
        opening=opening,
        memory=_most_memory(runner.device),
        created=datetime.now(UTC).date().isoformat(),
    )


def _repeat(do: Any, seconds: float) -> float:
    """Return the seconds of one call, as the mean of as many as fit; the first one is not counted."""
    do()
    began, count = time.monotonic(), 0
    while count == 0 or time.monotonic() - began < seconds:
        do()
        count += 1
    return (time.monotonic() - began) / count


def _measure_step(run: "CellRun", holder: "ModelHolder", method: Entry, seconds: float) -> float:
    """Return the seconds of a training step for an image of its batch."""
    from ...models.points import train_points

    problem = run._problem()

    def train(steps: int) -> float:
        config = method.load_config()(batch=BATCH, steps=steps, checkpoints=(FIRST_STEPS, steps))
        with TemporaryDirectory() as folder:
            manifest = train_points(
                holder, Store(Path(folder)), "0" * 64, problem, method, config, "calibrate"
            )
        first, last = manifest.points
        return (float(last.seconds or 0) - float(first.seconds or 0)) / (steps - FIRST_STEPS)

    few = train(FIRST_STEPS + 2)
    return train(FIRST_STEPS + max(2, min(1000, int(seconds / few)))) / BATCH


def _device_name(device: str) -> str:
    return str(describe_environment(device, 1)["device_name"])


def _most_memory(device: str) -> int:
    if device.startswith("cuda"):
        import torch

        return torch.cuda.max_memory_reserved()
    import resource

    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


def describe_load() -> str:
    """Return a warning where other work slows this machine down while it is measured, else nothing."""
    if not hasattr(os, "getloadavg"):
        return ""
    load, cores = os.getloadavg()[0], os.cpu_count() or 1
    busy = f"the machine is busy (load {load:.0f} on {cores} cores): idle, it is faster"
    return busy if load > 1.5 * cores else ""


def rates_file() -> Path:
    """Return the file with this machine's rates, in the user's cache folder."""
    return Path(platformdirs.user_cache_dir("unlearnbench")) / "rates.json"


def keep_rates(rates: Rates) -> Path:
    """Keep rates for later estimates; they replace earlier ones of the same world, device and threads."""
    others = [known for known in read_rates() if _place(known) != _place(rates)]
    return write_file(rates_file(), json.dumps([asdict(known) for known in (*others, rates)], indent=1))


def read_rates() -> list[Rates]:
    """Return the rates that were measured on this machine; none where the file is of another version."""
    try:
        return [Rates(**known) for known in json.loads(rates_file().read_text(encoding="utf-8"))]
    except (OSError, ValueError, TypeError):
        return []


def find_rates(world: str, device: str) -> Rates | None:
    """Return the newest rates of a world on a kind of device, None where there are none."""
    found = [rates for rates in read_rates() if (rates.world, rates.device) == (world, device)]
    return max(found, key=lambda rates: rates.created, default=None)


def _place(rates: Rates) -> tuple[Any, ...]:
    return rates.world, rates.device, rates.device_name, rates.threads


def describe_cost(work: Work, rates: Rates, workers: Sequence[int]) -> list[str]:
    """Return lines on the time of some work for each number of workers, and on their memory."""
    lines = [
        f"{count} worker{'s' if count > 1 else ''}: about {describe_seconds(seconds_of(work, rates, count))}"
        for count in workers
    ]
    measured = f"{rates.created} on {rates.device_name}, {rates.threads} CPU threads"
    return [*lines, f"memory of each: about {rates.memory / 2**30:.1f} GiB; rates: {rates.world}, {measured}"]


def describe_seconds(seconds: float) -> str:
    """Return a time in the unit that fits it."""
    for unit, size in (("days", 86400), ("h", 3600), ("min", 60)):
        if seconds >= 2 * size:
            return f"{seconds / size:.1f} {unit}"
    return f"{seconds:.0f} s"

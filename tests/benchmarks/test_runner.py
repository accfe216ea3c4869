"""The runner's overhead over the sum of its stages, on one cell of the tiny world."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from unlearnbench.bench.models.generators import Generator
from unlearnbench.bench.models.sampling import Drawing, Request
from unlearnbench.bench.store import Store

CONFIG = {"steps": 8, "checkpoints": [4, 8], "batch": 16}


@pytest.mark.benchmark(group="one cell of the tiny world")
def test_runner(benchmark: Any, make_runner: Any, make_cell: Any, tmp_path: Path) -> None:
    turn = iter(range(1000))

    def run() -> None:
        where = tmp_path / str(next(turn))
        [outcome] = make_runner(folder=where / "records", store=where / "store").run(
            [make_cell(method="balanced", **CONFIG)]
        )
        assert outcome.state == "measured"

    benchmark.pedantic(run, rounds=3, warmup_rounds=1)


@pytest.mark.benchmark(group="one cell of the tiny world")
def test_sum_of_stages(benchmark: Any, make_runner: Any, make_cell: Any, tmp_path: Path) -> None:
    """Open, train, draw and judge by hand: the base's images, then each point's."""
    from unlearnbench.bench.config import build
    from unlearnbench.bench.measuring.items import build_items, describe_pixels
    from unlearnbench.bench.measuring.requests import list_requests
    from unlearnbench.bench.models.generators import open_pipeline

    turn = iter(range(1000))

    def stages() -> None:
        runner, cell = make_runner(), make_cell(method="balanced", **CONFIG)
        world = runner.worlds["tiny"]
        image_requests = list_requests(world, cell.task, cell.suite.sizes, 0)
        pipeline = open_pipeline(world.pipeline_folder, "cpu")
        sampling = runner._holder(world).sampling
        generator = Generator(pipeline, sampling, "w")
        judge, scorer = world.open_judge(), world.open_alignment()

        def score(*ignored: Any) -> None:
            store = Store(tmp_path / "stages" / str(next(turn)))
            drawing = Drawing(generator.fingerprint, sampling, "torch.float32", "cpu", lambda: generator)
            images = drawing.draw(
                [Request(a.prompt.text, a.seed) for a in image_requests], store, lambda n: None
            )
            whole = np.stack([i for i in images if i is not None])
            found, embedded = judge.judge(whole).found, scorer.embed_images(whole)
            build_items(image_requests, describe_pixels(images), found, scorer, embedded)

        score()
        config = build(cell.entry.load_config(), cell.row.config, "here")
        cell.entry.load()(pipeline, world.problem(cell.task, "diverse", 0), config, score)

    benchmark.pedantic(stages, rounds=3, warmup_rounds=1)

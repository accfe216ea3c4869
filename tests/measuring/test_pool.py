"""The pooled distances of a folder, from synthetic records and a store that is filled by hand."""

import argparse
import hashlib
import json
import shutil
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from unlearnbench.bench.cli.main import main
from unlearnbench.bench.judges.types import Verdicts, verdicts_of
from unlearnbench.bench.measuring.items import image_digest
from unlearnbench.bench.measuring.pool import (
    Part,
    Pooled,
    Row,
    kernel_distance,
    make_pooled,
    read_pooled,
    take_part,
    whole_row,
)
from unlearnbench.bench.metrics.fd import frechet_from_features
from unlearnbench.bench.metrics.features import LITE0, WORLD, reason_without
from unlearnbench.bench.metrics.kid import POLYNOMIAL
from unlearnbench.bench.metrics.mmd import mmd
from unlearnbench.bench.models.generators import Sampling
from unlearnbench.bench.models.sampling import Request, decode_png, encode_png, image_key
from unlearnbench.bench.records.record import items_digest, write_record
from unlearnbench.bench.running import session
from unlearnbench.bench.running.catalog import task_registry
from unlearnbench.bench.store import Store
from unlearnbench.bench.types import View

from ..leaderboard.synthetic import METHODS, make_items, make_record

TASKS = ("classes/cat-face@tiny", "styles/line@tiny")
SAMPLING = {"steps": 4, "guidance": 2.0, "height": 8, "width": 8, "dtype": "torch.float32", "noise": 0}
CONFIG = {"rate": 1e-4}
EACH = 10  # retain images of a record


def embed(images: Any, width: int = 3) -> np.ndarray:
    """Return features that tell images apart: means of bands of rows."""
    bands = np.array_split(np.asarray(images, dtype=np.float32) / 64, width, axis=1)
    return np.stack([band.mean(axis=(1, 2, 3)) for band in bands], axis=1)


class Judge:
    def judge(self, images: np.ndarray) -> Verdicts:
        return verdicts_of("subject", [""] * len(images), embed(images, 2))


class Extractor:
    def embed_images(self, images: Any) -> np.ndarray:
        return embed(images)


@dataclass
class World:
    """A world of random reference images, two of which show one of each task's targets."""

    id: str = "tiny@1"
    reference_key: str = "random"
    images = np.random.default_rng(9).integers(0, 256, (12, 8, 8, 3), dtype=np.uint8)

    def open_judge(self, task: Any) -> Judge:
        return Judge()

    def reference_rows(self, task: Any) -> np.ndarray:
        hidden = (0, 3) if task.id == TASKS[0] else (5, 6, 11)
        return np.array([i not in hidden for i in range(12)])

    def reference(self, task: Any) -> np.ndarray:
        return embed(self.images, 2)[self.reference_rows(task)]

    def embed_reference(self, extractor: Extractor) -> np.ndarray:
        return extractor.embed_images(self.images)


@pytest.fixture(autouse=True)
def world(monkeypatch: pytest.MonkeyPatch) -> World:
    """Stand in for the opened world and for the extractors of a machine that has EfficientNet-Lite0."""
    made = World()
    monkeypatch.setattr(session, "open_worlds", lambda names, options, device: dict.fromkeys(names, made))
    monkeypatch.setattr("unlearnbench.bench.measuring.scorer.open_extractor", lambda *names: Extractor())
    monkeypatch.setattr("unlearnbench.bench.measuring.pool.IMAGES_PER_FEATURE", 1)
    has_lite0(monkeypatch, True)
    return made


def has_lite0(monkeypatch: pytest.MonkeyPatch, there: bool) -> None:
    found = {LITE0: 1} if there else {}
    for module in ("measuring.extractors", "running.pooling", "running.keys"):
        monkeypatch.setattr(f"unlearnbench.bench.{module}.find_extractors", lambda world: found)


def write(folder: Path, store: Store, task: str, method: str, seed: int = 0, **more: Any) -> np.ndarray:
    """Write a record of two points and its images; return those that count: of the shown point or the last.

    more: shown, whether the first point is; config; judge.
    """
    config, shown = more.get("config", CONFIG if method != "none" else {}), more.get("shown", False)
    record, items, _ = make_record(method, seed, sheet=[])
    points = [
        point.model_copy(
            update={"fingerprint": f"{task} {method} {seed} {config} {i}", "shown": shown and i == 0}
        )
        for i, point in enumerate(record.points[:2])
    ]
    items = items[(items["point"] < len(points)) & (items["split"] == "retain")]
    items = items[~items["given"] | (items["sample"] == 0)].groupby(["point", "given"]).head(EACH).copy()
    name = hashlib.sha256(repr((task, method, seed, config)).encode())
    draws = np.random.default_rng(int(name.hexdigest()[:8], 16))
    images = draws.integers(20, 236, (len(items), 8, 8, 3), dtype=np.uint8)
    items["image_sha256"] = [image_digest(image) for image in images]
    sampling = Sampling(4, 2.0, 8, 8)
    for row, image in zip(items.to_dict("records"), images, strict=True):
        request = Request(row["prompt"], row["seed"])
        key = image_key(points[row["point"]].fingerprint, sampling, "torch.float32", "cpu", request)
        store.put("images", key, encode_png(image))
    info = {"id": task, "world": "tiny@1", "judge": more.get("judge", task_registry()[task].file.judge)}
    update = {
        "key": name.hexdigest(),
        "cell": f"{task.replace('/', '-').replace('@', '-')}.{method}.{name.hexdigest()[:6]}.s{seed}",
        "task": record.task.model_copy(update=info),
        "method": record.method.model_copy(update={"config": config}),
        "points": points,
        "sampling": SAMPLING,
        "items_sha256": items_digest(items),
    }
    write_record(record.model_copy(update=update), items, None, folder)
    counts = (
        (items["split"] == "retain") & ~items["given"] & (items["point"] == (0 if shown else len(points) - 1))
    )
    return images[counts.to_numpy()]


@dataclass
class Made:
    """A folder of records, the images of its rows by (row, seed, task), and what runs the command on it."""

    folder: Path
    store: Store
    images: dict[tuple[str, int, str], np.ndarray]

    def pool(self) -> int:
        return main(["pool", str(self.folder), "--store", str(self.store.folder)])

    @property
    def pooled(self) -> Pooled:
        found = read_pooled(self.folder)
        assert found is not None
        return found

    def images_of(self, row: str) -> list[Path]:
        """Return the store's files of a row's images that count."""
        digests = {
            image_digest(i) for (name, _, _), images in self.images.items() if name == row for i in images
        }
        files = [path for path in self.store.folder.glob("images/*/*") if path.is_file()]
        return [path for path in files if image_digest(_pixels(path)) in digests]


def _pixels(path: Path) -> np.ndarray:
    return decode_png(path.read_bytes()[32:])


@pytest.fixture(scope="module")
def original(tmp_path_factory: pytest.TempPathFactory) -> Made:
    """Two tasks; the base, a method with a shown point in two seeds, another without one."""
    home = tmp_path_factory.mktemp("pool")
    folder, store = home / "records", Store(home / "store")
    images = {}
    for task in TASKS:
        images["none", 0, task] = write(folder, store, task, "none")
        images["finetune", 0, task] = write(folder, store, task, "finetune")
        for seed in (0, 1):
            images["balanced", seed, task] = write(folder, store, task, "balanced", seed, shown=True)
            write(folder, store, task, "balanced", seed, config={"rate": 1.0})  # shown: 0
    return Made(folder, store, images)


@pytest.fixture
def made(original: Made, tmp_path: Path) -> Made:
    shutil.copytree(original.folder.parent, tmp_path / "copy")
    return Made(tmp_path / "copy" / "records", Store(tmp_path / "copy" / "store"), dict(original.images))


def by_hand(made: Made, world: World, row: str, seed: int) -> tuple[float, float]:
    """Return FD and KD of a row's run by plain loops over pairs: a reference image is known by its number."""
    rows = [np.flatnonzero(world.reference_rows(argparse.Namespace(id=task))) for task in sorted(TASKS)]
    numbers = np.concatenate([r[: min(map(len, rows))] for r in rows])
    drawn = np.concatenate([made.images[row, seed, task] for task in sorted(TASKS)])
    fd = frechet_from_features(embed(drawn, 2), embed(world.images, 2)[numbers])
    x, y = embed(drawn).astype(float), embed(world.images).astype(float)

    def k(a: np.ndarray, b: np.ndarray) -> float:
        return float(((a * b).sum() / 3 + 1) ** 3)

    of_x = [k(x[i], x[j]) for i in range(len(x)) for j in range(len(x)) if i != j]
    of_y = [k(y[i], y[j]) for i in numbers for j in numbers if i != j]
    cross = [k(a, y[j]) for a in x for j in numbers]
    return fd, float(np.mean(of_x) + np.mean(of_y) - 2 * np.mean(cross))


def test_values_are_those_of_the_shown_points_images(made: Made, world: World) -> None:
    assert made.pool() == 0
    found = made.pooled
    assert set(found.fd) == set(found.kd_efficientnet_lite0) == {"none", "finetune", "balanced"}
    for row in ("none", "finetune"):
        fd, kd = by_hand(made, world, row, 0)
        assert found.fd[row].value == pytest.approx(fd, rel=1e-6)
        assert found.kd_efficientnet_lite0[row].value == pytest.approx(kd, rel=1e-5, abs=1e-7)
        assert found.kd_efficientnet_lite0[row].low is None
        assert found.kd_efficientnet_lite0[row].n == 2 * EACH
    runs = [by_hand(made, world, "balanced", seed) for seed in (0, 1)]
    for metric, column in ((found.fd, 0), (found.kd_efficientnet_lite0, 1)):
        own, value = [run[column] for run in runs], metric["balanced"]
        expected = [np.mean(own), min(own), max(own)]
        assert [value.value, value.low, value.high] == pytest.approx(expected, rel=1e-5, abs=1e-7)
        assert value.n == 4 * EACH


def test_equal_records_are_not_read_again(
    made: Made, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    made.pool()
    before = (made.folder / "pooled" / "fd.json").read_bytes()
    with monkeypatch.context() as blocked:
        blocked.setattr(Store, "get", pytest.fail)
        assert made.pool() == 0
    assert "nothing to do" in capsys.readouterr().out
    monkeypatch.setattr(Extractor, "embed_images", pytest.fail)  # interrupted: features are there
    (made.folder / "pooled" / "fd.json").unlink()
    made.pool()
    assert (made.folder / "pooled" / "fd.json").read_bytes() == before


def test_the_kernel_distance_leaves_out_pairs_of_one_image() -> None:
    draws = np.random.default_rng(0)
    x, y = draws.normal(size=(40, 5)), draws.normal(0.3, 1, (30, 5))
    assert kernel_distance(x, y) == pytest.approx(mmd(x, y, POLYNOMIAL), rel=1e-9)
    assert kernel_distance(x, np.tile(y, (3, 1))) == pytest.approx(mmd(x, y, POLYNOMIAL), rel=1e-9)
    assert mmd(x, np.tile(y, (3, 1)), POLYNOMIAL) > 1.1 * mmd(x, y, POLYNOMIAL)
    # over many draws of one distribution the mean is 0, though concepts share their reference images
    null = []
    for _ in range(400):
        drawn, shared = draws.normal(size=(20, 2)), draws.normal(size=(20, 2))
        null.append(kernel_distance(drawn, np.concatenate([shared[:15], shared[5:]])))
    assert abs(np.mean(null)) < 3 * np.std(null) / len(null) ** 0.5


def test_a_run_pools_what_its_views_have() -> None:
    """What `run` does: views have the features of all rows, of which retain rows of new concepts count."""
    draws = np.random.default_rng(1)
    items = make_items(METHODS["none"][0], draws)
    features = {name: draws.normal(size=(len(items), 2)) for name in (WORLD, LITE0, "clip")}
    reference = {name: draws.normal(size=(30, 2)) for name in features}
    part = take_part(View(items, features, reference), TASKS[0], 0)
    assert part.images.keys() == {WORLD, LITE0}
    row = whole_row([argparse.Namespace(key="k", items_sha256="s")], [part])
    found = make_pooled("k", {"none": row}, None)
    counts = ((items["split"] == "retain") & ~items["given"]).to_numpy()
    drawn = {name: values[counts] for name, values in features.items()}
    assert found.fd["none"].value == frechet_from_features(drawn[WORLD], reference[WORLD])
    assert found.kd_efficientnet_lite0["none"].value == pytest.approx(
        mmd(drawn[LITE0], reference[LITE0], POLYNOMIAL), rel=1e-9
    )


def test_a_row_that_lacks_images_keeps_what_was_made_from_its_records(
    made: Made, capsys: pytest.CaptureFixture[str]
) -> None:
    made.pool()
    first = made.pooled
    path = made.folder / "pooled" / "fd.json"
    path.write_text(path.read_text().replace(first.key, "0" * 64))  # another version made it
    made.images_of("balanced")[0].unlink()
    assert made.pool() == 1
    assert "1 of 80 images are not in the store" in capsys.readouterr().err
    assert made.pooled.fd == first.fd
    assert made.pooled.kd_efficientnet_lite0 == first.kd_efficientnet_lite0
    assert made.pool() == 1  # not taken for done


@pytest.mark.parametrize("change", ["lacking", "other pixels", "corrupt"])
def test_a_row_that_lacks_images_is_missing_where_nothing_vouches_for_the_old_value(
    made: Made, change: str
) -> None:
    made.pool()
    old = {"key": "0" * 64, "fd": json.loads(made.pooled.model_dump_json())["fd"]}
    (made.folder / "pooled" / "fd.json").write_text(json.dumps(old))  # as it was written before `made_from`
    assert made.pooled.by_metric.keys() == {"FD"}
    own, others = made.images_of("balanced"), made.images_of("none")
    if change == "lacking":
        own[0].unlink()
    elif change == "other pixels":
        own[0].write_bytes(others[0].read_bytes())
    else:
        own[0].write_bytes(own[0].read_bytes()[:-1])
    assert made.pool() == 1
    for values in made.pooled.by_metric.values():
        assert values["balanced"].value is None
        assert "1 of 10 images of " in str(values["balanced"].missing)
        assert values["none"].value is not None


def test_without_the_extra_fd_alone_is_made_and_the_rest_is_kept(
    made: Made, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    has_lite0(monkeypatch, False)
    assert made.pool() == 0
    assert "the extra unlearnbench[imagenet]" in capsys.readouterr().out
    assert made.pooled.by_metric.keys() == {"FD"}
    has_lite0(monkeypatch, True)
    made.pool()
    both = made.pooled
    has_lite0(monkeypatch, False)
    made.pool()
    assert made.pooled.by_metric == both.by_metric
    made.images["other", 0, TASKS[0]] = write(made.folder, made.store, TASKS[0], "placebo")
    made.pool()
    assert made.pooled.kd_efficientnet_lite0["balanced"] == both.kd_efficientnet_lite0["balanced"]
    assert made.pooled.kd_efficientnet_lite0["placebo"].missing == reason_without(LITE0)
    assert made.pooled.fd["placebo"].missing == "10 retain images pooled, not the 20 of the other rows"


@pytest.mark.parametrize(
    ("break_it", "said"),
    [
        (lambda made: [p.unlink() for p in made.folder.glob("*.none.*")], "has no record of `none`"),
        (lambda made: (made.store.folder / "images").rename(made.folder / "away"), "holds no images"),
        (lambda made: [p.unlink() for p in made.store.folder.glob("images/*/*")], "80 of 80 images are not"),
        (lambda made: write(made.folder, made.store, TASKS[0], "placebo", judge="other@1"), "task.judge: is"),
    ],
    ids=["no base", "no images", "none of them", "another judge"],
)
def test_what_cannot_be_pooled_is_one_line_and_changes_nothing(
    made: Made, break_it: Callable[[Made], Any], said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    (made.folder / "pooled").mkdir()
    path = made.folder / "pooled" / "fd.json"
    path.write_text('{"key": "0", "fd": {"none": {"value": 0.5, "n": 9}}}')
    before = path.read_bytes()
    break_it(made)
    assert made.pool() == 2
    error = capsys.readouterr().err
    assert said in error
    assert error.count("\n") == 1
    assert path.read_bytes() == before


def test_a_row_that_a_run_leaves_out_keeps_its_value() -> None:
    rng = np.random.default_rng(3)
    parts = {
        name: Part("t", 0, {WORLD: rng.normal(size=(12, 2))}, {WORLD: rng.normal(size=(9, 2))})
        for name in "abc"
    }
    digests = {"none": "a" * 64, "balanced": "b" * 64, "esd_x": "c" * 64}
    every = {
        name: Row(digest, {0: 12}, (part,))
        for (name, digest), part in zip(digests.items(), parts.values(), strict=True)
    }
    there = make_pooled("k", every, None)
    assert there.fd["esd_x"].value is not None
    some = {name: row for name, row in every.items() if name != "esd_x"}
    kept = make_pooled("l", some, there, digests)
    assert (kept.fd, kept.made_from) == (there.fd, there.made_from)
    for stale in ({**digests, "esd_x": "d" * 64}, {}):  # its records were measured again, or are gone
        assert "esd_x" not in make_pooled("l", some, there, stale).fd
    other = {**some, "none": replace(some["none"], made_from="e" * 64)}  # another number of images
    assert "esd_x" not in make_pooled("l", other, there, digests).fd

"""Real models' worlds on a tiny pipeline of the true classes: plan, needs, the pilot suite, refusals."""

import json
import re
import shutil
from dataclasses import replace
from importlib.util import find_spec
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import open_clip
import pytest
import torch
from safetensors.torch import save_model

from unlearnbench.bench.cli.main import main
from unlearnbench.bench.errors import UserError
from unlearnbench.bench.judges import nudenet, packages
from unlearnbench.bench.judges.imagenet import IMAGENETTE
from unlearnbench.bench.judges.nudenet import EXPOSED, NudeNetJudge
from unlearnbench.bench.judges.packages import Package, judge_sources, judge_versions
from unlearnbench.bench.judges.zero_shot import ClipScorer, ZeroShotJudge
from unlearnbench.bench.measuring.items import image_digest
from unlearnbench.bench.measuring.requests import list_requests
from unlearnbench.bench.measuring.scorer import PointScorer
from unlearnbench.bench.measuring.stored import Origin
from unlearnbench.bench.metrics.ua import threshold_curve
from unlearnbench.bench.models import generators
from unlearnbench.bench.models.sampling import decode_png
from unlearnbench.bench.planning.plan import Cell, MethodRow, Suite, read_suite
from unlearnbench.bench.planning.tasks import PromptSizes, Task
from unlearnbench.bench.records.record import read_items, read_record
from unlearnbench.bench.running.assemble import describe_judge
from unlearnbench.bench.running.catalog import registry, suites_folder, task_registry
from unlearnbench.bench.running.keys import cell_key, train_key
from unlearnbench.bench.store import Store
from unlearnbench.bench.unlearning import drawn as drawn_module
from unlearnbench.bench.unlearning.drawn import draw_both

from ..methods.tiny import build_pipeline

CLIP_CONFIG = {
    "model_cfg": {
        "embed_dim": 16,
        "vision_cfg": {"image_size": 32, "layers": 1, "width": 16, "head_width": 8, "patch_size": 16},
        "text_cfg": {"context_length": 77, "vocab_size": 49408, "width": 16, "heads": 2, "layers": 1},
    },
    "preprocess_cfg": {"mean": [0.48, 0.46, 0.41], "std": [0.27, 0.26, 0.28]},
}
I2P = "prompt,sd_seed,sd_guidance_scale,nudity_percentage\n" + "".join(
    f"a person number {i},{1000 + i},7.0,{10.0 if 1 <= i <= 854 else 0.0}\n" for i in range(4703)
)
CELEBRITIES = "type,prompt,evaluation_seed\n" + "".join(
    f"{kind},A portrait of {name},{seed}\n"
    for kind, name in (("erased", "Adam Driver"), ("others", "Amy Adams"))
    for seed in range(3)
)


def save_models(root: Path) -> dict[str, Path]:
    """Save a tiny Stable Diffusion and a tiny open_clip folder; return them and a place for data by name."""
    made = {name: root / name for name in ("model", "clip", "data")}
    (root / "tokenizer").mkdir()
    build_pipeline(root / "tokenizer").save_pretrained(made["model"])
    made["clip"].mkdir()
    (made["clip"] / "open_clip_config.json").write_text(json.dumps(CLIP_CONFIG))
    save_model(open_clip.CLIP(**CLIP_CONFIG["model_cfg"]), str(made["clip"] / "open_clip_model.safetensors"))  # type: ignore[arg-type]
    return made


@pytest.fixture(scope="module")
def places(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """A tiny Stable Diffusion folder, a tiny open_clip folder and a folder of prompt files."""
    made = save_models(tmp_path_factory.mktemp("real"))
    made["data"].mkdir()
    (made["data"] / "i2p.csv").write_text(I2P)
    unknown = "".join(f"others,A sketch of Nobody Known,{seed}\n" for seed in range(2744))
    (made["data"] / "celebrities.csv").write_text(CELEBRITIES + unknown)
    return made


@pytest.fixture
def world(places: dict[str, Path]) -> Any:
    return (
        registry("worlds")["sd14"]
        .load()()
        .placed(source=places["model"], clip=places["clip"], data=places["data"], steps=2, images=4)
    )


def _places(places: dict[str, Path]) -> list[str]:
    return ["--model", str(places["model"]), "--clip", str(places["clip"]), "--data", str(places["data"])]


def test_a_dry_run_plans_and_names_what_is_missing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HF_HUB_CACHE", str(tmp_path / "hub"))
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path / "hub"))
    assert main(["run", "--suite", "sd14-pilot", "--dry-run"]) == 1
    said = capsys.readouterr().out
    for part in ("classes/tench@sd14", "unmeasured", "hf download CompVis/stable-diffusion-v1-4", "i2p.csv"):
        assert part in said
    assert "(nudenet; " in said
    assert ("'unlearnbench[nudity]'" in said) == (find_spec("nudenet") is None)
    assert re.search(r"(4 of 5|5 of 5) missing", said)
    assert not (tmp_path / "runs").exists()


def test_a_dry_run_with_everything_here_is_content(
    places: dict[str, Path],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    if find_spec("nudenet") is None:  # a package of its name stands for it
        (tmp_path / "nudenet").mkdir()
        (tmp_path / "nudenet" / "__init__.py").write_text("")
        monkeypatch.syspath_prepend(tmp_path)
        monkeypatch.setattr(nudenet, "PINNED", {})  # and it carries no weights
    assert main(["run", "--suite", "sd14-pilot", "--dry-run", *_places(places)]) == 0
    assert "nothing is missing" in capsys.readouterr().out
    assert main(["doctor", "--task", "nudity/nudity@sd14", *_places(places)]) == 0
    assert main(["doctor", "--task", "classes/cat-face@emoji"]) == 0


def test_a_judges_packages_and_photographs_are_listed(tmp_path: Path) -> None:
    [package] = judge_sources("nudenet@1", tmp_path)
    assert (package.where, package.hub) == ("nudenet", False)
    *_, photographs = judge_sources("face@1", tmp_path)
    assert photographs.folder is None
    assert photographs.remedy.endswith("faces")
    (tmp_path / "faces").mkdir()
    assert photographs.folder == tmp_path / "faces"
    assert judge_sources("clip-zero-shot@1", tmp_path) == []
    here = Package("judge", "pytest", extra="dev")
    assert here.folder == Path(pytest.__file__).parent


def test_the_versions_of_a_judges_packages_are_told_and_keyed(
    world: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its weights are pinned by digest; how the package reads boxes out of them is not."""
    monkeypatch.setitem(packages.PACKAGES, "nudenet", [Package("judge", "pytest", extra="dev")])
    task = task_registry()["nudity/nudity@sd14"]
    found = judge_versions("nudenet@1")
    assert found["pytest"] == pytest.__version__
    assert describe_judge(task) == {"judge_packages": found}
    assert judge_versions("clip-zero-shot@1") == {}
    before = world.inputs(task)
    monkeypatch.setattr(packages, "version", lambda name: "0.0")
    assert world.inputs(task) != before


class _Detector:
    """Stands for NudeNet's: finds what the image's first pixel says."""

    def detect(self, image: np.ndarray) -> list[dict[str, Any]]:
        found = [{"class": "FACE_FEMALE", "score": 0.9}]
        if image[0, 0, 2] > 128:  # BGR: red
            found.append({"class": EXPOSED[0], "score": 0.7})
        return found


def test_the_whole_pilot_runs_on_a_tiny_model(
    places: dict[str, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(nudenet, "open_detector", _Detector)
    suite = tmp_path / "pilot.toml"
    text = (suites_folder() / "sd14-pilot.toml").read_text(encoding="utf-8")
    small = text.replace("steps = 100, checkpoints = [50, 100]", "steps = 2, checkpoints = [1, 2]")
    suite.write_text(
        small.replace("batch = 8", "batch = 2").replace("forget = 24", "forget = 7"), encoding="utf-8"
    )
    out, store = tmp_path / "records", tmp_path / "store"
    small_set = ["--sampling-steps", "2", "--training-images", "4", "--threads", "1"]
    command = [
        "run",
        "--suite",
        str(suite),
        *_places(places),
        *small_set,
        "--out",
        str(out),
        "--store",
        str(store),
    ]
    assert main(command) == 0
    records = [read_record(path) for path in sorted(out.glob("*.json"))]
    assert len(records) == 12
    assert all(record.status == "ok" for record in records)
    for record in records:
        values = record.points[-1].values
        assert values["UA"].value is not None
        assert values["AS"].value is not None
        assert "reference" in str(values["KID"].missing) or values["KID"].missing
        if not record.method.reference:
            assert values["KID_base"].value is not None
    nudity = next(r for r in records if r.task.family == "nudity" and r.method.reference)
    items = read_items(out / f"{nudity.cell}.json", nudity)
    assert items is not None
    forget = items[items["split"] == "forget"]
    assert sorted(forget["seed"]) == list(range(1001, 1008))  # the protocol's own seeds, nudity above 0 alone
    assert set(forget["guidance"]) == {7.0}  # and its own guidance, where sd14 has 7.5
    assert set(forget["target_score"]) <= {0.0, 0.7}
    assert items.loc[items["split"] == "retain", ["guidance", "target_score"]].isna().all(axis=None)
    origin, kept = Origin(nudity, nudity.points[0]), Store(store)
    asked = (forget["prompt"].iloc[0], int(forget["seed"].iloc[0]))
    png = origin.find_image(kept, *asked, 7.0)
    assert png is not None
    assert image_digest(decode_png(png)) == forget["image_sha256"].iloc[0]
    assert origin.find_image(kept, *asked) is None
    assert main(command) == 0  # and the second run draws nothing


@pytest.mark.parametrize(("method", "drawn"), [("uce", 0), ("finetune", 4)])
def test_a_run_draws_training_images_only_for_a_method_that_needs_them(
    places: dict[str, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, method: str, drawn: int
) -> None:
    asked = []
    monkeypatch.setattr(
        drawn_module,
        "draw_both",
        lambda *given: asked.append(given) or draw_both(*given),  # type: ignore
    )
    suite, out = tmp_path / "suite.toml", tmp_path / "records"
    config = "" if method == "uce" else "config = { steps = 1, checkpoints = [1], batch = 2 }\n"
    suite.write_text(
        'name = "s"\ntasks = ["classes/tench@sd14"]\n[sizes]\nforget = 2\nforget_samples = 1\n'
        f'retain_same = 2\nretain_other = 0\nretain_given = 0\n[[methods]]\nname = "{method}"\n{config}'
    )
    command = ["run", "--suite", str(suite), *_places(places), "--sampling-steps", "1", "--threads", "1"]
    command += ["--training-images", "4", "--out", str(out), "--store", str(tmp_path / "store")]
    assert main(command) == 0
    record = next(r for r in map(read_record, out.glob("*.json")) if not r.method.reference)
    assert record.training_images is not None
    assert (record.training_images.forget, record.training_images.retain) == (drawn, drawn)
    assert len(asked) == (drawn > 0)
    if not drawn:
        assert record.training_images.reason == "uce needs none"


def test_training_images_are_drawn_in_the_runs_type(world: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    opened = []

    def open_pipeline(model: str, device: str, dtype: torch.dtype) -> Any:
        opened.append(dtype)
        return generators.open_pipeline(model, device, dtype)

    monkeypatch.setattr(drawn_module, "open_pipeline", open_pipeline)
    task = task_registry()["classes/tench@sd14"]
    half = world.placed(dtype="torch.bfloat16")
    images = [w.problem(task, "diverse", 0).forget_set.images for w in (world, half)]
    assert opened == [torch.float32, torch.bfloat16]
    assert [i.dtype for i in images] == [torch.float32] * 2
    assert not torch.equal(*images)
    assert half.inputs(task) != world.inputs(task)
    assert world.placed(dtype="torch.float32").inputs(task) == world.inputs(task)  # earlier keys stay


def test_an_unknown_type_is_refused_before_anything_runs(
    capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    assert main(["run", "--suite", "demo", "--dtype", "half", "--out", str(tmp_path / "out")]) == 2
    assert "--dtype half: choose one of auto, float32, bfloat16, float16" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


def test_a_record_and_its_page_say_how_many_captions_were_retained(
    places: dict[str, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(nudenet, "open_detector", _Detector)
    rows = [f"{i:012},coco-30k,a thing number {i},{i}\n" for i in range(30000)]
    (tmp_path / "coco.csv").write_text("image_id,source,prompt,evaluation_seed\n" + "".join(rows))
    chosen = "".join(f"a person number {i},{i},7.0\n" for i in range(142))
    (tmp_path / "i2p-142.csv").write_text("prompt,evaluation_seed,evaluation_guidance\n" + chosen)
    suite, out = tmp_path / "suite.toml", tmp_path / "records"
    suite.write_text(
        'name = "captioned"\ntasks = ["nudity/nudity-142@sd14"]\n[sizes]\nforget = 3\nforget_samples = 1\n'
        'retain_other = 5\n[[methods]]\nname = "none"\n'
    )
    where = _places({**places, "data": tmp_path})
    command = ["run", "--suite", str(suite), *where, "--sampling-steps", "1", "--threads", "1"]
    assert main([*command, "--out", str(out), "--store", str(tmp_path / "store")]) == 0
    [path] = out.glob("*.json")
    record = read_record(path)
    assert record.sampling["captions"] == "COCO captions"
    assert (record.points[0].values["AS"].n, record.points[0].values["AS"].value is not None) == (5, True)
    items = read_items(path, record)
    assert items is not None
    retained = items[items["split"] == "retain"]
    assert [int(text.split()[-1]) for text in retained["prompt"]] == list(retained["seed"])
    page = (out / "leaderboard" / "index.html").read_text(encoding="utf-8")
    assert "<span>retained: 5 COCO captions</span>" in page


def test_prompts_come_from_the_published_file_and_never_ask_for_the_target_elsewhere(world: Any) -> None:
    task = task_registry()["celebrities/adam-driver@sd14"]
    prompts = world.prompts(task, PromptSizes())
    forget = [p for p in prompts if p.split == "forget"]
    assert [p.text for p in forget] == ["A portrait of Adam Driver"] * 3
    assert sorted(p.seed for p in forget) == [0, 1, 2]
    assert not any("Adam Driver" in p.text for p in prompts if p.split == "retain")
    assert {p.half for p in forget} == {"A", "B"}
    given = [p for p in prompts if p.given]
    assert given
    assert all(p.asked["subject"] in ("Amy Adams", "Andrew Garfield", "Anne Hathaway") for p in given)


def test_the_paper_suite_draws_as_many_images_of_a_target_as_the_published_protocols(
    world: Any, places: dict[str, Path], tmp_path: Path
) -> None:
    """Eight templates, each drawn once, gave a style eight images; protocols draw 500 of a class."""
    suite, registered = read_suite(suites_folder() / "sd14-paper.toml"), task_registry()
    shutil.copytree(places["data"], tmp_path / "data")
    rows = "".join(f"{i},Image of {name},{i},{name},{i}\n" for i, name in enumerate(IMAGENETTE))
    text = "case_number,prompt,evaluation_seed,class,classidx\n" + rows
    (tmp_path / "data" / "imagenette.csv").write_text(text)
    (tmp_path / "data" / "i2p-142.csv").write_text(I2P)
    forget = {}
    for name in suite.tasks:
        task = _without_counts(registered[name])
        image_requests = list_requests(world.placed(data=tmp_path / "data"), task, suite.sizes, 0)
        forget[name] = [
            image_request for image_request in image_requests if image_request.prompt.split == "forget"
        ]
        assert len(
            {(image_request.prompt.text, image_request.seed) for image_request in forget[name]}
        ) == len(forget[name])
        if task.file.family in ("classes", "styles"):
            assert 480 <= len(forget[name]) <= 520
    # a published prompt is drawn once, from the seed that its file gives
    assert sorted(image_request.seed for image_request in forget["nudity/nudity@sd14"]) == list(
        range(1001, 1001 + 854)
    )
    assert sorted(image_request.seed for image_request in forget["celebrities/adam-driver@sd14"]) == [0, 1, 2]


def _without_counts(task: Task) -> Task:
    """Return a task that takes files of a few rows, and no captions."""
    changes: dict[str, Any] = {"captions": None}
    if task.file.protocol is not None:
        changes["protocol"] = task.file.protocol.model_copy(update={"rows": None})
    return replace(task, file=task.file.model_copy(update=changes))


def test_training_prompts_and_evaluation_prompts_do_not_overlap(world: Any) -> None:
    for name in ("classes/tench@sd14", "styles/van-gogh@sd14"):
        task = task_registry()[name]
        problem = world.problem(task, "diverse", 0)
        asked = {p.text for p in world.prompts(task, PromptSizes())}
        assert not asked & {*problem.forget_set.prompts, *problem.retain_set.prompts}
        assert len(problem.forget_set.prompts) == len(problem.forget_set.anchor_prompts) == 4
        assert problem.targets == tuple(task.concept.targets)
        assert problem.retained
        assert not set(problem.retained) & set(problem.targets)
        assert (problem.sampling.steps, problem.sampling.guidance) == (world.steps, world.guidance)
        assert problem.forget_set.images.shape == (4, 3, 16, 16)


def test_whatever_changes_prompts_or_training_images_changes_the_keys(
    world: Any, places: dict[str, Path], tmp_path: Path
) -> None:
    task = task_registry()["nudity/nudity@sd14"]
    row = MethodRow(name="finetune", config={"steps": 1})
    suite = Suite(name="x", tasks=[task.id], methods=[row])
    other = tmp_path / "data"
    other.mkdir()
    (other / "i2p.csv").write_text(I2P.replace("number 3", "number three"))
    renamed = replace(task, file=task.file.model_copy(update={"wording": "object"}))
    cells = {
        "as it is": (world, task),
        "steps": (world.placed(steps=3), task),
        "images": (world.placed(images=5), task),
        "prompt file": (world.placed(data=other), task),
        "task file": (world, renamed),
    }
    metrics, entry = registry("metrics"), registry("methods")["finetune"]
    for key in (
        lambda w, c: train_key(c, w, "cpu", 1),
        lambda w, c: cell_key(c, w, metrics, "cpu", 1),
    ):
        found = {name: key(w, Cell(suite, t, row, entry, 0)) for name, (w, t) in cells.items()}
        assert len(set(found.values())) == len(cells), found


def test_pixels_are_the_folders_own_or_the_ones_asked_for(world: Any) -> None:
    assert world.pixels == 16
    assert world.placed(image_size=24).pixels == 24
    with pytest.raises(UserError, match="--image-size 25: sd14 draws only multiples of 2"):
        _ = world.placed(image_size=25).pixels


def test_what_a_real_world_cannot_do_is_said(world: Any, places: dict[str, Path]) -> None:
    task = task_registry()["classes/tench@sd14"]
    with pytest.raises(UserError, match="nobody can train this model again"):
        world.retrained_pipeline(task)
    with pytest.raises(UserError, match="only for the embedded worlds"):
        world.problem(task, "narrow", 0)
    with pytest.raises(UserError, match="not on this machine; fetch it with: hf download"):
        _ = registry("worlds")["sd15"].load()().pipeline_folder
    absent = world.placed(data=places["model"])
    with pytest.raises(UserError, match="the user's to supply"):
        absent.prompts(task_registry()["nudity/nudity@sd14"], PromptSizes())


def test_a_world_that_ships_whole_takes_no_places(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["run", "--suite", "demo", "--clip", "x"]) == 2
    assert "ships whole" in capsys.readouterr().err


def test_zero_shot_is_the_nearest_name_or_noise(places: dict[str, Path]) -> None:
    class Scorer:
        """Texts and images on known axes."""

        def embed_prompts(self, prompts: list[str]) -> np.ndarray:
            assert prompts == ["a photo of cat", "a photo of dog", "random noise"]
            return np.eye(3, dtype=np.float32)

        def embed_images(self, images: np.ndarray) -> np.ndarray:
            return images[:, 0, 0, :].astype(np.float32) / 255

    images = np.zeros((3, 2, 2, 3), dtype=np.uint8)
    for i, colour in enumerate(([9, 200, 0], [200, 9, 0], [0, 9, 200])):
        images[i] = colour
    verdicts = ZeroShotJudge(Scorer(), "subject", ["cat", "dog"]).judge(images)
    assert list(verdicts.found["subject"]) == ["dog", "cat", ""]
    assert set(verdicts.found["style"]) == {""}


def test_the_clip_scorer_is_open_clips_own(places: dict[str, Path]) -> None:
    import torch
    from PIL import Image

    scorer = ClipScorer(places["clip"])
    images = np.random.default_rng(0).integers(0, 256, (3, 48, 40, 3), dtype=np.uint8)
    model, _, preprocess = open_clip.create_model_and_transforms(f"local-dir:{places['clip']}")
    with torch.no_grad():
        drawn = model.eval().encode_image(torch.stack([preprocess(Image.fromarray(i)) for i in images]))
        text = model.encode_text(open_clip.tokenize(["a cat"]))
    unit = torch.nn.functional.normalize
    np.testing.assert_allclose(scorer.embed_images(images, batch=2), unit(drawn, dim=1).numpy(), atol=1e-5)
    np.testing.assert_allclose(scorer.embed_prompts(["a cat"]), unit(text, dim=1).numpy(), atol=1e-5)


def test_nudity_is_an_exposed_part_at_the_threshold(places: dict[str, Path]) -> None:
    images = np.zeros((2, 4, 4, 3), dtype=np.uint8)
    images[1, ..., 0] = 255
    judge = NudeNetJudge(ClipScorer(places["clip"]), _Detector())
    assert list(judge.scores(images)) == [0.0, 0.7]
    assert list(judge.judge(images).found["subject"]) == ["", "nudity"]
    curve = threshold_curve(np.array([0.0, 0.5, 0.7]), np.array([0.0, 0.5, 0.6, 0.8]))
    assert curve.tolist() == pytest.approx([2 / 3, 2 / 3, 1 / 3, 0])


def test_reference_images_of_the_target_are_left_out(world: Any, tmp_path: Path) -> None:
    for name in ("tench", "church", "."):
        (tmp_path / "reference" / name).mkdir(parents=True, exist_ok=True)
        (tmp_path / "reference" / name / "1.png").touch()
    there = world.placed(data=tmp_path)
    rows = there.reference_rows(task_registry()["classes/tench@sd14"])
    names = [path.parent.name for path in there._reference_files]
    assert dict(zip(names, rows.tolist(), strict=True)) == {
        "tench": False,
        "church": True,
        "reference": True,
    }


def test_photographs_of_faces_change_the_keys(world: Any, tmp_path: Path) -> None:
    task = task_registry()["celebrities/adam-driver@sd14"]
    judged = replace(task, file=task.file.model_copy(update={"judge": "face@1", "protocol": None}))
    there = world.placed(data=tmp_path)
    before = there.inputs(judged)
    (tmp_path / "faces" / "Adam Driver").mkdir(parents=True)
    (tmp_path / "faces" / "Adam Driver" / "1.png").write_bytes(b"x")
    assert there.inputs(judged) != before


def test_each_judge_of_a_family_gives_its_own_verdicts(world: Any, tmp_path: Path) -> None:
    """One cached judge a family gave a second opinion the first one's answers."""
    opened: list[str] = []

    class Judge:
        def __init__(self, name: str) -> None:
            self.name = name

    scorer = PointScorer(Store(tmp_path), "cpu")
    task = task_registry()["nudity/nudity@sd14"]
    for name in ("nudenet@1", "opennsfw@1", "nudenet@1"):
        asked = replace(task, file=task.file.model_copy(update={"judge": name}))
        judge = scorer.judge_of(SimpleNamespace(id="w@1", open_judge=lambda t: Judge(t.file.judge)), asked)
        opened.append(judge.name)
    assert opened == ["nudenet@1", "opennsfw@1", "nudenet@1"]

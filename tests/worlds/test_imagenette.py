"""Imagenette's tasks by their published prompt files, on a tiny pipeline with a judge that reads colours."""

import json
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import open_clip
import pytest
import torch
from safetensors.torch import save_file, save_model
from scipy.stats import binomtest

from unlearnbench.bench.cli.main import main
from unlearnbench.bench.errors import UserError
from unlearnbench.bench.judges import resnet50
from unlearnbench.bench.judges.imagenet import IMAGENETTE
from unlearnbench.bench.judges.packages import judge_digest
from unlearnbench.bench.measuring.requests import list_requests
from unlearnbench.bench.models import digests
from unlearnbench.bench.planning.plan import read_suite
from unlearnbench.bench.planning.tasks import PromptSizes
from unlearnbench.bench.records.record import read_items, read_record
from unlearnbench.bench.running.catalog import registry, suites_folder, task_registry
from unlearnbench.bench.worlds.hub.prompts import build_prompts

from ..judges.test_resnet50 import Reader
from ..methods.tiny import build_pipeline
from .test_hub import CELEBRITIES, CLIP_CONFIG

HEADING = "case_number,prompt,evaluation_seed,class,classidx\n"
FILE = HEADING + "".join(
    f"{i},Image of {name.lower()},{4000 + i},{name.lower()},{i}\n" for i, name in enumerate(IMAGENETTE)
)
"""SalUn's form: one prompt and one seed a class, names in lower case."""
TENCH = "classes/imagenette-tench@sd14"
SMALL = PromptSizes(forget=5, forget_samples=1, retain_same=8, retain_other=1, retain_given=3)
SUITE = f"""
name = "nette"
tasks = ["{TENCH}"]

[sizes]
forget = 4
forget_samples = 1
retain_same = 6
retain_other = 1
retain_given = 3

[[methods]]
name = "none"

[[methods]]
name = "finetune"
config = {{ steps = 1, checkpoints = [1], batch = 2, rate = 1e-6 }}
"""


class Alternating(Reader):
    """Finds a tench in every second image, a chain saw in the others."""

    def __init__(self) -> None:
        super().__init__({0: IMAGENETTE["tench"], 1: IMAGENETTE["chain saw"]})

    def forward_head(self, x: torch.Tensor, pre_logits: bool = False) -> torch.Tensor:
        return torch.eye(3)[torch.arange(len(x)) % 2]


def _data(folder: Path, text: str = FILE) -> Path:
    (folder / "imagenette.csv").write_text(text, encoding="utf-8")
    return folder


def test_all_ten_classes_are_tasks_of_the_paper_suite() -> None:
    tasks, named = task_registry(), read_suite(suites_folder() / "sd14-paper.toml").tasks
    ten = [tasks[name] for name in named if name.startswith("classes/")]
    assert [task.concept.targets for task in ten] == [[name] for name in IMAGENETTE]
    for task in ten:
        given = task.concept.given["subject"]
        assert set(given) < set(IMAGENETTE) - set(task.concept.targets)
        assert task.concept.anchor not in IMAGENETTE
        assert task.file.judge == "resnet50@1"


def test_the_paper_suite_plans_and_names_the_judges_weights(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path / "hub"))
    assert main(["run", "--suite", "sd14-paper", "--dry-run"]) == 1
    said = capsys.readouterr().out
    assert "classes/imagenette-parachute@sd14" in said
    assert "BSD-3-Clause): MISSING; fetch it with: hf download timm/resnet50.tv2_in1k" in said
    assert "put it at data/imagenette.csv" in said
    assert not list(tmp_path.iterdir())


def test_prompts_of_all_ten_are_the_files(tmp_path: Path) -> None:
    task = task_registry()["classes/imagenette-english-springer@sd14"]
    prompts = build_prompts(task, SMALL, _data(tmp_path))
    forget = [p for p in prompts if p.split == "forget"]
    assert {p.text for p in forget} == {"Image of english springer"}
    assert {p.targets for p in forget} == {("English springer",)}
    assert {p.asked["subject"] for p in forget} == {"English springer"}
    assert {p.half for p in forget} == {"A", "B"}  # one prompt, yet something on either half
    kept = [p for p in prompts if p.split == "retain" and p.relation == "same"]
    assert [p.text for p in kept] == [f"Image of {p.asked['subject'].lower()}" for p in kept]
    given = task.concept.given["subject"]
    assert {p.asked["subject"] for p in kept if p.given} == set(given)
    fresh = [p.asked["subject"] for p in kept if not p.given]
    assert set(fresh) == set(IMAGENETTE) - {"English springer", *given}  # each once before one comes again
    assert len(fresh) == 8


def test_the_files_seed_is_the_first_images_and_the_tasks_own_the_others(tmp_path: Path) -> None:
    task = task_registry()[TENCH]
    world: Any = SimpleNamespace(prompts=lambda task, sizes: build_prompts(task, sizes, _data(tmp_path)))
    image_requests = list_requests(world, task, SMALL, noise=0)
    forget = [
        image_request.seed for image_request in image_requests if image_request.prompt.split == "forget"
    ]
    assert forget[0] == 4000
    assert len(set(forget)) == 5
    assert not set(forget[1:]) & set(range(4000, 4010))
    kept = [
        image_request.seed
        for image_request in image_requests
        if image_request.prompt.split == "retain" and image_request.prompt.relation == "same"
    ]
    assert {4001, 4002} < set(kept)
    assert len({image_request.prompt.id for image_request in image_requests}) == len(image_requests)
    other = list_requests(world, task, SMALL, noise=1)  # another evaluation noise leaves the file's seeds
    assert not {image_request.seed for image_request in image_requests} & {
        image_request.seed for image_request in other
    }
    more = PromptSizes(forget=854, forget_samples=1)
    assert (
        sum(image_request.prompt.split == "forget" for image_request in list_requests(world, task, more, 0))
        == 500
    )


def test_a_file_of_several_rows_a_class_gives_all_their_seeds(tmp_path: Path) -> None:
    """UCE's form: many seeds a class, some of them twice, other columns; a class that the file lacks."""
    rows = [f"{i},an image of a tench,Tench,{seed}\n" for i, seed in enumerate((70, 71, 70, 72))]
    text = "case_number,prompt,class,evaluation_seed\n" + "".join(rows)
    prompts = build_prompts(task_registry()[TENCH], SMALL, _data(tmp_path, text))
    assert [p.seed for p in prompts if p.split == "forget"] == [70, 71, 72, None, None]
    kept = [p for p in prompts if p.split == "retain" and p.relation == "same"]
    assert kept  # of names that the file lacks, by the templates
    assert all(p.seed is None for p in kept)
    assert kept[0].text == "an image of a English springer"


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        (
            FILE.replace(",class,", ",label,"),
            "row 1: no column 'class' or 'label_str'; its columns: case_number, ",
        ),
        (FILE.replace("evaluation_seed", "seed"), "row 1: no column 'evaluation_seed'"),
        (FILE.replace(",4002,", ",many,"), "row 4: evaluation_seed: is 'many', not a number"),
        (FILE.replace(",4002,", ",,"), "row 4: evaluation_seed: is empty"),
        (FILE.replace(",tench,0", ",,0"), "row 2: class: is empty"),
        (FILE.replace("Image of church", ""), "row 6: prompt: is empty"),
        (FILE.replace(",gas pump,", ",gass pump,"), "row 9: class: 'gass pump' is none of tench, "),
        (FILE.replace("Image of tench", "Image, of tench"), "row 2: 6 cells for 5 columns"),
        ("".join(line for line in FILE.splitlines(True) if "tench" not in line), "no row asks for 'tench'"),
    ],
)
def test_a_malformed_file_is_one_line(tmp_path: Path, text: str, complaint: str) -> None:
    with pytest.raises(UserError) as caught:
        build_prompts(task_registry()[TENCH], SMALL, _data(tmp_path, text))
    said = str(caught.value)
    assert said.startswith(f"{tmp_path / 'imagenette.csv'}: {complaint}")
    assert "\n" not in said


def test_rows_of_other_celebrities_are_asked_to_remain(tmp_path: Path) -> None:
    """Those that the judge can tell: a name that it does not know could never be found again."""
    known = CELEBRITIES + "others,A sketch of Nobody Known,9\nothers,A portrait of Adam Driver,9\n"
    (tmp_path / "celebrities.csv").write_text(known, encoding="utf-8")
    task = task_registry()["celebrities/adam-driver@sd14"]
    assert task.file.protocol is not None
    short = task.file.protocol.model_copy(update={"rows": None})
    task = replace(task, file=task.file.model_copy(update={"protocol": short}))
    prompts = build_prompts(task, PromptSizes(), tmp_path)
    amy = [p for p in prompts if p.asked.get("subject") == "Amy Adams"]
    assert [(p.text, p.seed) for p in amy] == [("A portrait of Amy Adams", seed) for seed in range(3)]
    assert all(p.given for p in amy)
    assert not any("Nobody" in p.text for p in prompts)
    assert [p.seed for p in prompts if p.split == "forget"] == [0, 1, 2]  # an `others` row asks for no target
    anne = [p for p in prompts if p.asked.get("subject") == "Anne Hathaway"]
    assert len(anne) == len(task.file.templates)
    assert {p.seed for p in anne} == {None}


def test_other_weights_of_the_judge_are_another_key(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    task = task_registry()[TENCH]
    world = registry("worlds")["sd14"].load()().placed(data=_data(tmp_path))
    path = tmp_path / "resnet50" / resnet50.RESNET50_FILE
    path.parent.mkdir()
    save_file({"one": torch.zeros(1)}, path)
    before = world.inputs(task)
    save_file({"two": torch.zeros(1)}, path)
    assert world.inputs(task) != before
    monkeypatch.setattr(digests, "files_digest", lambda place: pytest.fail(f"{place} was read again"))
    judge_digest(task.file.judge, tmp_path)  # weights of gigabytes are in every key of a run
    monkeypatch.undo()
    file = task.file.model_copy(update={"judge": "clip-zero-shot@1"})
    assert world.inputs(replace(task, file=file))["judge"] == [{}, ""]


def test_one_class_runs_from_its_file_to_its_record(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    opened: list[Path] = []

    def open_network(folder: Path) -> Reader:
        opened.append(folder)
        return Alternating()

    monkeypatch.setattr(resnet50, "open_network", open_network)
    (tmp_path / "tokenizer").mkdir()
    build_pipeline(tmp_path / "tokenizer").save_pretrained(tmp_path / "model")
    clip, data = tmp_path / "clip", _data(tmp_path)
    clip.mkdir()
    (clip / "open_clip_config.json").write_text(json.dumps(CLIP_CONFIG))
    save_model(open_clip.CLIP(**CLIP_CONFIG["model_cfg"]), str(clip / "open_clip_model.safetensors"))  # type: ignore[arg-type]
    (data / "resnet50").mkdir()
    save_file({"stands in": torch.zeros(1)}, data / "resnet50" / resnet50.RESNET50_FILE)
    (tmp_path / "nette.toml").write_text(SUITE, encoding="utf-8")
    command = ["run", "--suite", str(tmp_path / "nette.toml"), "--out", str(tmp_path / "out")]
    command += ["--model", str(tmp_path / "model"), "--clip", str(clip), "--data", str(data)]
    command += ["--sampling-steps", "2", "--training-images", "4", "--threads", "1"]
    assert main([*command, "--store", str(tmp_path / "store")]) == 0
    assert opened == [data / "resnet50"]
    paths = sorted((tmp_path / "out").glob("*.json"))
    records = [read_record(path) for path in paths]
    assert [record.status for record in records] == ["ok", "ok"]
    for path, record in zip(paths, records, strict=True):
        items = read_items(path, record)
        assert items is not None
        forget = items[items["split"] == "forget"]
        assert list(forget["prompt"]) == ["Image of tench"] * 4
        assert forget["seed"].iloc[0] == 4000
        assert list(items["found_subject"]) == ["tench", "chain saw"] * 7
        gone, kept = record.points[-1].values["UA"], record.points[-1].values["IRA"]
        assert (gone.value, gone.n) == (0.5, 4)
        exact = binomtest(2, 4).proportion_ci(method="exact")  # of four images, not of one prompt
        assert (gone.low, gone.high) == pytest.approx((exact.low, exact.high), abs=1e-6)
        saws = [i for i, name in enumerate(items["asked_subject"]) if name == "chain saw"]
        assert len(saws) == 1
        assert (kept.value, kept.n) == (pytest.approx(saws[0] % 2 / 6), 6)

"""`score`: given images get the numbers that drawn ones get, or are refused by file and row."""

import csv
from collections.abc import Callable
from pathlib import Path

import pytest
from PIL import Image

import unlearnbench as ub
from unlearnbench.bench.checking.known import make_known
from unlearnbench.bench.checking.validate import validate
from unlearnbench.bench.cli.main import main
from unlearnbench.bench.measuring.items import image_digest
from unlearnbench.bench.measuring.stored import Origin
from unlearnbench.bench.pictures import read_picture
from unlearnbench.bench.store import Store

TASK = "classes/cat-face@tiny"
SIZES = {
    "forget": 3,
    "forget_samples": 2,
    "retain_same": 3,
    "retain_other": 2,
    "retain_given": 2,
    "indirect": 0,
}
Score = Callable[..., ub.MeasuredRecord]


@pytest.fixture(scope="module")
def drawn(session_store: Path, tmp_path_factory: pytest.TempPathFactory) -> ub.MeasuredRecord:
    """The base model's record of the task."""
    out = tmp_path_factory.mktemp("drawn")
    found = ub.run(tasks=TASK, methods=["none"], sizes=SIZES, out=out, store=session_store, threads=1)
    return found[0]


@pytest.fixture
def folder(drawn: ub.MeasuredRecord, session_store: Path, tmp_path: Path) -> Path:
    """The base model's images as files, named and listed as `prompts` says."""
    table = ub.list_prompts(TASK, sizes=SIZES)
    store, origin = Store(session_store, lambda line: None), Origin(drawn, drawn.points[0])
    place = tmp_path / "theirs"
    place.mkdir()
    table.to_csv(place / "prompts.csv", index=False)
    for row in table.to_dict("records"):
        png = origin.find_image(store, row["prompt"], int(row["seed"]))
        assert png is not None
        (place / row["file"]).write_bytes(png)
    return place


@pytest.fixture
def score(session_store: Path, tmp_path: Path) -> Score:
    def make(folder: Path, **options: object) -> ub.MeasuredRecord:
        places = {"out": tmp_path / "records", "store": session_store, "threads": 1}
        return ub.score(folder, TASK, **({"sizes": SIZES} | places | options))  # type: ignore[arg-type]

    return make


def rewrite(folder: Path, change: Callable[[list[dict[str, str]]], None]) -> None:
    path = folder / "prompts.csv"
    with path.open(newline="") as file:
        rows = list(csv.DictReader(file))
    change(rows)
    names = list(dict.fromkeys(name for row in rows for name in row))
    with path.open("w", newline="") as file:
        writer = csv.DictWriter(file, names)
        writer.writeheader()
        writer.writerows(rows)


def test_the_same_images_give_the_same_numbers(score: Score, folder: Path, drawn: ub.MeasuredRecord) -> None:
    record = score(folder)
    assert record.source == "external"
    assert record.points[0].values == drawn.points[0].values
    assert record.prompts_sha256 == drawn.prompts_sha256
    mine, theirs = (r.items.drop(columns="point") for r in (record, drawn))
    assert set(mine["image_sha256"]) == set(theirs["image_sha256"])
    pixels = {image_digest(read_picture(path)) for path in folder.glob("*.png")}
    assert pixels == set(mine["image_sha256"])


def test_the_record_is_marked_and_never_ranked(
    score: Score, folder: Path, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    record = score(folder)
    states = {check.name: check.state for check in validate(record.path, make_known())}
    assert "failed" not in states.values(), validate(record.path, make_known())
    assert states["prompts"] == "unchecked"
    assert ub.load(record)["row"].unique().tolist() == ["theirs (given images)"]
    for command in (
        ["submit", str(record.path), "--out", str(tmp_path / "claim.zip")],
        ["rerun", str(record.path)],
        ["rate", str(record.path), "--lpips", "any.pth", "--out", str(tmp_path / "ratings.csv")],
        [
            "check",
            "--baseline",
            str(record.path),
            "--candidate",
            str(record.path),
            "--policy",
            "model-update",
        ],
    ):
        assert main(command) != 0
        assert "source: " in capsys.readouterr().err


def test_other_images_or_another_prompt_change_the_key(score: Score, folder: Path) -> None:
    first = score(folder).key
    assert score(folder).key == first
    picture = next(folder.glob("*.png"))
    Image.new("RGB", (32, 32)).save(picture)
    with pytest.raises(ub.UserError, match="holds the numbers of other images"):
        score(folder)
    assert score(folder, name="other").key != first


def test_file_names_say_the_prompts(
    score: Score, folder: Path, tmp_path: Path, drawn: ub.MeasuredRecord
) -> None:
    named = tmp_path / "named"
    named.mkdir()
    for row in ub.list_prompts(TASK, sizes=SIZES).to_dict("records"):
        words = "_".join(row["prompt"].replace(",", "").split())
        (named / f"{words}_seed{row['seed']}.png").write_bytes((folder / row["file"]).read_bytes())
    assert score(named).points[0].values == drawn.points[0].values
    (named / "prompts.csv").unlink(missing_ok=True)
    Image.new("RGB", (32, 32)).save(named / "IMG_0001.png")
    with pytest.raises(ub.UserError, match=r"IMG_0001.png: its prompt is unknown: name it PROMPT_seedN"):
        score(named, name="two")


def test_an_image_folder_of_hugging_face(score: Score, folder: Path, drawn: ub.MeasuredRecord) -> None:
    import json

    table = ub.list_prompts(TASK, sizes=SIZES)
    lines = [
        json.dumps({"file_name": row["file"], "text": row["prompt"], "seed": int(row["seed"])})
        for row in table.to_dict("records")
    ]
    (folder / "prompts.csv").unlink()
    (folder / "metadata.jsonl").write_text("\n".join(lines))
    assert score(folder).points[0].values == drawn.points[0].values
    split = folder / "parent" / "train"  # as datasets writes a split: the list lies next to its images
    split.mkdir(parents=True)
    for path in [*folder.glob("*.png"), folder / "metadata.jsonl"]:
        path.rename(split / path.name)
    assert score(split.parent).points[0].values == drawn.points[0].values


def test_a_list_in_another_encoding_is_one_line(score: Score, folder: Path) -> None:
    (folder / "metadata.jsonl").write_bytes(b'{"file_name": "a.png", "text": "caf\xe9"}\n')
    with pytest.raises(ub.UserError, match=r"metadata\.jsonl: line 1: is not UTF-8; save the file as UTF-8"):
        score(folder)


def test_prompts_of_ones_own_with_their_truth(score: Score, tmp_path: Path, folder: Path) -> None:
    """Three forget images of which the judge finds the target in two, by the base's own judgement."""
    place = tmp_path / "own"
    place.mkdir()
    table = ub.list_prompts(TASK, sizes=SIZES)
    cats = table[table["split"] == "forget"]["file"].tolist()[:2]
    other = table[table["split"] == "retain"]["file"].tolist()[0]
    rows = [("file", "prompt", "split", "subject")]
    for number, file in enumerate([*cats, other]):
        (place / f"{number}.png").write_bytes((folder / file).read_bytes())
        rows.append((f"{number}.png", f"my own words {number}", "forget", ""))
    (place / "house.png").write_bytes((folder / other).read_bytes())
    rows.append(("house.png", "my house", "retain", "house"))
    (place / "prompts.csv").write_text("\n".join(",".join(row) for row in rows))
    record = score(place)
    assert record.points[0].values["UA"].value == pytest.approx(1 / 3)
    retained = record.items[record.items["split"] == "retain"]
    assert retained["asked_subject"].tolist() == ["house"]
    assert retained["prompt"].tolist() == ["my house"]


MISTAKES: dict[str, tuple[Callable[[list[dict[str, str]]], None], str]] = {
    "no truth": (
        lambda rows: rows[0].update(prompt="a zebra", split=""),
        r"row 2: prompt: 'a zebra' is none of",
    ),
    "split": (lambda rows: rows[0].update(split="test"), "row 2: split: 'test'"),
    "twice": (lambda rows: rows[1].update(file=rows[0]["file"]), "row 3: file: .* is listed twice"),
    "gone": (lambda rows: rows[1].update(file="no.png"), "row 3: file: no such image"),
    "outside": (lambda rows: rows[1].update(file="../x.png"), "row 3: file: ../x.png: lies outside"),
    "seed": (lambda rows: rows[0].update(seed="-1"), "row 2: seed: '-1'"),
    "same seed": (
        lambda rows: rows[1].update(prompt=rows[0]["prompt"], seed=rows[0]["seed"]),
        "row 3: seed: .* is that of .*row 2",
    ),
    "left out": (lambda rows: rows.pop(), "does not list .*, one of 1 images"),
    "unknown name": (
        lambda rows: rows[-1].update(prompt="a zebra", split="retain", subject="zebra"),
        "subject: 'zebra': the judge of classes/cat-face@tiny knows",
    ),
    "target retained": (
        lambda rows: rows[-1].update(prompt="a cat", split="retain", subject="cat face"),
        "subject: cat face is a target",
    ),
}


@pytest.mark.parametrize("name", MISTAKES)
def test_a_mistake_names_file_and_row(score: Score, folder: Path, name: str) -> None:
    change, said = MISTAKES[name]
    rewrite(folder, change)
    with pytest.raises(ub.UserError, match=said):
        score(folder)


def test_images_of_another_size_are_refused(score: Score, folder: Path) -> None:
    picture = sorted(folder.glob("*.png"))[0]
    Image.new("RGB", (48, 32)).save(picture)
    with pytest.raises(ub.UserError, match=f"{picture.name}: is 48 x 32 pixels, needed: 32 x 32"):
        score(folder)


def test_the_command_prints_values_and_the_place(
    folder: Path, tmp_path: Path, session_store: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (folder / "prompts.csv").unlink()
    for path in folder.glob("*.png"):
        path.unlink()
    assert main(["prompts", "--task", TASK, "--out", str(folder / "prompts.csv")]) == 0
    assert main(["score", "--images", str(folder), "--task", TASK]) == 2
    assert "no images in it" in capsys.readouterr().err


def test_an_unlearncanvas_answer_set_is_read_by_its_names(tmp_path: Path) -> None:
    from unlearnbench.bench.measuring.requests import ImageRequest
    from unlearnbench.bench.planning.tasks import PromptSizes
    from unlearnbench.bench.running.catalog import task_registry
    from unlearnbench.bench.running.ready.read import read_ready
    from unlearnbench.bench.running.ready.score import find_requests
    from unlearnbench.bench.worlds.hub.crossed import cross_prompts

    task = next(t for t in task_registry().values() if t.id.startswith("styles/") and t.file.crossed)
    prompts = cross_prompts(task, PromptSizes(forget=4, retain_same=4, retain_given=2))
    for prompt in prompts:
        style, thing = prompt.asked["style"], prompt.asked["subject"]
        Image.new("RGB", (8, 8)).save(tmp_path / f"{style}_{thing}_seed{prompt.seed}.jpg")
    images = read_ready(tmp_path, None, task)
    asked = [ImageRequest(prompt, 0, prompt.seed or 0) for prompt in prompts]
    found = find_requests(images, asked, task)
    assert [request for _, request in found] == asked
    for image, request in found:
        assert image.path.name.startswith(
            f"{request.prompt.asked['style']}_{request.prompt.asked['subject']}_"
        )

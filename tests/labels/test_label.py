"""Labels: what a person's answers say of a judge with planted errors, and the page that takes them."""

import dataclasses
import http.client
import io
import json
import re
import shutil
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from unlearnbench.bench.checking.beside import check_published
from unlearnbench.bench.checking.known import make_known
from unlearnbench.bench.checking.validate import validate
from unlearnbench.bench.cli.main import main
from unlearnbench.bench.errors import UserError
from unlearnbench.bench.labels.answers import open_log
from unlearnbench.bench.labels.images import _ask, draw, gather, gather_alike, make_groups
from unlearnbench.bench.labels.labels import Labels, read_labels, summarise
from unlearnbench.bench.labels.server import MOST_CONNECTIONS, Labelling, LabelServer
from unlearnbench.bench.measuring.items import image_digest
from unlearnbench.bench.measuring.sheet import choose_columns
from unlearnbench.bench.records.chosen import choose_point
from unlearnbench.bench.records.load import load, load_one
from unlearnbench.bench.records.record import items_digest, write_record
from unlearnbench.leaderboard.audit.audit import make_audit
from unlearnbench.leaderboard.audit.limits import list_limits

from ..leaderboard.synthetic import make_record

RED, BLUE = (200, 30, 30), (30, 30, 200)
"""Tiles that show the target, and tiles that do not: what the person of these tests looks at."""
METHODS = ("balanced", "gradient_sum", "finetune", "placebo", "none")
WRONG = {("balanced", 0), ("gradient_sum", 1), ("finetune", 2), ("none", 3)}
"""(method, tile) about which the judge is planted to be wrong: 4 of 20."""
ROOT = Path(__file__).parents[2]


def _write(folder: Path, method: str, truth: np.ndarray, judge: np.ndarray) -> Path:
    """Write a one-point record; truth, judge: (48,) whether each forget image shows the target."""
    record, items, _ = make_record(method, cell=method, points=[make_record(method)[0].points[0]])
    items = items[items["point"] == 0].reset_index(drop=True)
    items["prompt"] = items["prompt_id"] + " in words"
    forget = items.index[items["split"] == "forget"]
    items.loc[forget, "target_found"] = pd.Series(judge.astype(bool), forget, dtype=object)
    columns = choose_columns([_ask(row) for row in items.to_dict("records")])
    tiles = np.zeros((32, 32 * len(columns), 3), dtype=np.uint8)
    for place, row in enumerate(columns):
        shown = row in forget and truth[list(forget).index(row)]
        tiles[:, 32 * place : 32 * (place + 1)] = RED if shown else BLUE
    buffer = io.BytesIO()
    Image.fromarray(tiles).save(buffer, "WEBP", lossless=True)
    changes = {"sheet": [items["prompt"].iloc[i] for i in columns], "items_sha256": items_digest(items)}
    return write_record(record.model_copy(update=changes), items, buffer.getvalue(), folder)


@pytest.fixture(scope="module")
def written(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """Five methods' records; every second tile shows the target, and the judge is wrong on WRONG."""
    folder, paths = tmp_path_factory.mktemp("written"), []
    for method in METHODS:
        truth = np.arange(48) // 12 % 2 == 0  # tiles are images 0, 12, 24, 36
        judge = truth.copy()
        for tile in range(4):
            if (method, tile) in WRONG:
                judge[12 * tile] ^= True
        paths.append(_write(folder, method, truth, judge))
    return paths


@pytest.fixture
def planted(written: list[Path], tmp_path: Path) -> list[Path]:
    """A copy of these records: some tests write beside them."""
    shutil.copytree(written[0].parent, tmp_path / "records")
    return [tmp_path / "records" / path.name for path in written]


def _sources(paths: list[Path]) -> list[Any]:
    return [gather(choose_point(load_one(path)), lambda *asked: None) for path in paths]


def _shows(png: bytes) -> bool:
    red, _, blue = Image.open(io.BytesIO(png)).convert("RGB").getpixel((16, 16))  # type: ignore[misc]
    return bool(red > blue)


def test_tiles_are_those_of_their_rows_and_the_order_is_the_seeds(planted: list[Path]) -> None:
    sources = _sources(planted)
    assert [len(source.images) for source in sources] == [4] * 5
    for source in sources:
        for tile, image in enumerate(source.images):
            wrong = (source.chosen.loaded.record.cell, tile) in WRONG
            assert image.judge == (_shows(image.png) != wrong)
    first, again, other = (draw(sources, 20, seed) for seed in (0, 0, 1))
    assert first == again
    assert [i.cell for i in first] != [i.cell for i in other]
    assert len({i.cell for i in draw(sources, 5, 3)}) == 5


def test_images_of_the_store_must_be_the_judged_ones(planted: list[Path]) -> None:
    buffer = io.BytesIO()
    Image.new("RGB", (32, 32), RED).save(buffer, "PNG")
    chosen = choose_point(load_one(planted[0]))
    found = gather(chosen, lambda *asked: buffer.getvalue())
    assert {image.origin for image in found.images} == {"sheet"}


def test_a_sheet_whose_tiles_cannot_be_told_apart_gives_none(tmp_path: Path) -> None:
    truth = np.ones(48, dtype=bool)
    path = _write(tmp_path, "balanced", truth, truth)
    loaded = load_one(path)
    record = loaded.record.model_copy(update={"sheet": loaded.record.sheet[::-1]})
    write_record(record, loaded.items, loaded.sheet, tmp_path)
    assert not gather(choose_point(load_one(path)), lambda *asked: None).images


def test_planted_errors_are_found_and_corrected(tmp_path: Path) -> None:
    """A judge that misses a quarter of the targets: its UA is too high, the corrected one holds the truth."""
    rng = np.random.default_rng(1)
    paths, truths = [], {}
    for method, share in (("balanced", 0.3), ("none", 0.9)):
        truth = rng.random(48) < share
        miss, alarm = rng.random(48) < 0.25, rng.random(48) < 0.05
        paths.append(_write(tmp_path, method, truth, np.where(truth, ~miss, alarm)))
        truths[method] = truth
    answers = []
    sources = _sources(paths)
    for source in sources:
        items = source.chosen.loaded.items
        forget = items[items["split"] == "forget"]
        for row, shown in zip(
            forget.to_dict("records"), truths[source.chosen.loaded.record.cell], strict=True
        ):
            reply = "yes" if shown else "no"
            image = source.images[0].answer(reply)
            answers.append(
                image.model_copy(update={"prompt_id": row["prompt_id"], "judge": row["target_found"]})
            )
    found = {row.method: row for row in summarise(answers, make_groups(sources))}
    for method, truth in truths.items():
        row = found[method]
        judge = np.array([a.judge for a in answers if a.cell == method])
        hits = judge == truth
        assert row.agreement.value == pytest.approx(hits.mean())
        chance = judge.mean() * truth.mean() + (1 - judge.mean()) * (1 - truth.mean())
        assert row.kappa.value == pytest.approx((hits.mean() - chance) / (1 - chance))
        assert row.UA_person.value == pytest.approx(1 - truth.mean())
        corrected, raw = row.UA_corrected, row.UA
        assert raw.value is not None
        assert corrected.value is not None
        assert corrected.low is not None
        assert corrected.high is not None
        assert corrected.low <= 1 - truth.mean() <= corrected.high
        assert abs(corrected.value - (1 - truth.mean())) < abs(raw.value - (1 - truth.mean()))
    assert found["balanced"].errors_of == "this method"
    assert found["none"].errors_of == "all methods labelled"  # too few images without the target


def test_unsure_answers_count_for_nothing_and_no_yes_corrects_nothing(planted: list[Path]) -> None:
    sources = _sources(planted[:1])
    replies = ("no", "no", "unsure", "no")
    answers = [i.answer(r) for i, r in zip(sources[0].images, replies, strict=True)]  # type: ignore[arg-type]
    [row] = summarise(answers, make_groups(sources))
    assert (row.answered, row.unsure, row.agreement.n) == (4, 1, 3)
    assert row.UA_corrected.value is None
    assert "yes to no image of it" in str(row.UA_corrected.missing)
    [unsure] = summarise([i.answer("unsure") for i in sources[0].images], make_groups(sources))
    assert unsure.kappa.value is None
    assert unsure.agreement.value is None


def test_a_log_goes_on_where_it_was_cut(tmp_path: Path) -> None:
    path = tmp_path / "a.jsonl"
    log = open_log(path, {"who": "ada"}, 3)
    log.answer(0, "yes", "person")
    log.answer(1, "no", "script")
    log.undo()
    with path.open("ab") as file:
        file.write(b'{"image": 1, "rep')
    again = open_log(path, {"who": "ada"}, 3)
    assert (again.replies, again.next) == (["yes"], 1)
    assert again.scripted, "an answer that was taken back still shows that a script was at it"
    again.answer(1, "unsure", "person")
    assert open_log(path, {"who": "ada"}, 3).replies == ["yes", "unsure"]
    with pytest.raises(UserError, match="about other images"):
        open_log(path, {"who": "bob"}, 3)
    with pytest.raises(ValueError, match="asked about is 2"):
        again.answer(1, "yes", "person")
    path.write_text(path.read_text() + '{"image": 7, "reply": "yes"}\n')
    with pytest.raises(UserError, match="line 6"):
        open_log(path, {"who": "ada"}, 3)


@pytest.fixture
def server(tmp_path: Path) -> Iterator[LabelServer]:
    log = open_log(tmp_path / "a.jsonl", {}, 2)
    files = {"index.html": ("text/html", b"page")}
    labelling = Labelling([("fox", b"png0"), ("fox", b"png1")], log, files, lambda: None)
    with LabelServer(labelling) as opened:
        thread = threading.Thread(target=opened.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield opened
        opened.shutdown()
        thread.join()


def _ask_server(server: LabelServer, path: str, body: object = None, host: str = "") -> tuple[int, bytes]:
    connection = http.client.HTTPConnection("127.0.0.1", server.server_port, timeout=60)
    headers = {"Host": host} if host else {}
    content = None if body is None else json.dumps(body)
    connection.request("GET" if body is None else "POST", path, content, headers)
    answer = connection.getresponse()
    return answer.status, answer.read()


def test_the_server_tells_nothing_without_its_token(server: LabelServer) -> None:
    path = urlsplit(server.url).path
    assert server.server_address[0] == "127.0.0.1"
    assert _ask_server(server, path) == (200, b"page")
    assert _ask_server(server, f"{path}image/0") == (200, b"png0")
    for other in (
        "/",
        "/state",
        "/x/state",
        f"{path}image/1",
        f"{path}../../etc/passwd",
        f"{path}image/None",
    ):
        assert _ask_server(server, other)[0] == 404, other
    assert _ask_server(server, path, host="evil.example")[0] == 404
    for body in ([], {}, {"image": "0"}, {"image": 1, "reply": "yes"}, {"image": 0, "reply": "maybe"}):
        assert _ask_server(server, f"{path}answer", body)[0] == 400, body
    assert _ask_server(server, f"{path}finish", {"x": 1})[0] == 400
    assert _ask_server(server, f"{path}answer", {"image": 0, "reply": "x" * 5000})[0] == 400
    assert server.labelling.log.replies == []


def test_another_pages_requests_are_refused(server: LabelServer) -> None:
    path, own = urlsplit(server.url).path, f"127.0.0.1:{server.server_port}"
    body = json.dumps({"image": 0, "reply": "yes"})
    for origin, status in (("http://evil.example", 404), ("null", 404), (f"http://{own}", 200)):
        connection = http.client.HTTPConnection("127.0.0.1", server.server_port, timeout=60)
        connection.request("POST", f"{path}answer", body, {"Host": own, "Origin": origin})
        assert connection.getresponse().status == status, origin
    assert len(server.labelling.log.replies) == 1


@pytest.mark.parametrize("text", ["[" * 4000, '{"image":' * 450, "{" * 4000, "\xff", "1e999", "NaN"])
def test_odd_json_is_a_bad_request(server: LabelServer, text: str) -> None:
    path = urlsplit(server.url).path
    connection = http.client.HTTPConnection("127.0.0.1", server.server_port, timeout=60)
    connection.request("POST", f"{path}answer", text.encode("latin-1"))
    assert connection.getresponse().status == 400


def test_idle_connections_are_few_and_end(server: LabelServer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("unlearnbench.bench.labels.server.REQUEST_SECONDS", 1.0)
    before = threading.active_count()
    idle = []
    for _ in range(400):
        connection = socket.create_connection(("127.0.0.1", server.server_port), timeout=60)
        connection.sendall(b"GET ")
        idle.append(connection)
    time.sleep(0.2)
    assert threading.active_count() - before <= MOST_CONNECTIONS
    end = time.monotonic() + 60
    while time.monotonic() < end and threading.active_count() > before:
        time.sleep(0.1)
    assert threading.active_count() == before, "what sends nothing is closed"
    assert _ask_server(server, urlsplit(server.url).path) == (200, b"page")
    for connection in idle:
        connection.close()


def test_only_the_pages_own_keys_are_a_persons(server: LabelServer) -> None:
    path = urlsplit(server.url).path
    event = {"trusted": True, "driven": False}
    status, answer = _ask_server(server, f"{path}answer", {"image": 0, "reply": "yes"} | event)
    assert (status, json.loads(answer)["done"]) == (200, 1)
    assert not server.labelling.log.scripted
    assert _ask_server(server, f"{path}answer", {"image": 1, "reply": "no"})[0] == 200
    assert server.labelling.log.scripted


def test_a_scripts_answers_are_marked_and_never_published(
    planted: list[Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = tmp_path / "answers.txt"
    words.write_text("yes\nno\nunsure\n" * 6 + "no\nno\n")
    folder = planted[0].parent
    command = ["label", *map(str, planted), "-n", "20", "--who", "Ada L.", "--out", str(folder)]
    command += ["--store", str(tmp_path / "none"), "--answers", str(words)]
    assert main(command) == 0
    said = capsys.readouterr().out
    assert "4 of 48 images could be had (0 from the store, 4 from the contact sheet)" in said
    assert "never published" in said
    [path] = folder.glob("*.labels.json")
    labels = read_labels(path)
    assert (labels.source, len(labels.answers), labels.who) == ("script", 20, "Ada L.")
    assert {record.digest for record in labels.records} == {load_one(p).digest for p in planted}
    with pytest.raises(UserError, match="a script gave these answers"):
        check_published(path)
    assert len(load(folder)) == 5, "labels are no records of a board"
    assert make_audit(planted[0], "").labels == ()
    with pytest.raises(UserError, match="given by a script"):
        make_audit(planted[0], "", labels=[path])
    assert main(command) == 2
    assert "labelled already" in capsys.readouterr().err


def _publish(planted: list[Path]) -> Path:
    """Write what a person who looks at the colour says of 20 images; returns its path."""
    sources = _sources(planted)
    images = draw(sources, 20, 0)
    answers = [image.answer("yes" if _shows(image.png) else "no") for image in images]
    labels = Labels(
        who="ada",
        source="person",
        seed=0,
        asked=20,
        interval_version=2,
        created="2026-01-01T00:00:00+00:00",
        records=[source.describe() for source in sources],
        methods=summarise(answers, make_groups(sources)),
        answers=answers,
    )
    path = planted[0].parent / "ada.labels.json"
    path.write_text(labels.model_dump_json())
    return path


def test_a_persons_labels_stand_in_the_audit(planted: list[Path]) -> None:
    path = _publish(planted)
    assert check_published(path).who == "ada"
    audit = make_audit(planted[0], "")
    [said] = [text for about, text in list_limits(audit) if about == "Judge, on these images"]
    assert "ada answered for 4 images blind (0 unsure)" in said
    assert "Agreement with the judge: 0.75" in said


def _forge(name: str, value: Any) -> Any:
    return lambda said: said["methods"][0][name].update(value=value, missing=None)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda said: None, ""),
        (_forge("kappa", 7.0), "kappa.*: is not what answers and records give"),
        (_forge("UA_corrected", 1.5), "UA_corrected.*: is not what answers and records give"),
        (_forge("UA_corrected", float("nan")), "NaN"),
        (lambda said: said.update(answers=[]), "answers: 0 of 20"),
        (lambda said: said.update(methods=[]), "methods: 0, the answers are about 5"),
        (lambda said: said.update(who="<script>Ada"), "who: '<script>Ada' holds markup"),
        (lambda said: said["records"][0].update(digest="0" * 64), "no record here has this name and digest"),
        (lambda said: said["answers"].append(said["answers"][0]), "answers: 21 of 20"),
        (lambda said: said["answers"].__setitem__(1, said["answers"][0]), "one image is answered twice"),
        (lambda said: said["answers"][0].update(judge=not said["answers"][0]["judge"]), "said otherwise"),
        (lambda said: said["answers"][0].update(sample=9), "the record has no such image"),
    ],
    ids=["good", "kappa", "share", "nan", "empty", "methods", "who", "digest", "more", "twice", "judge",
         "sample"],
)  # fmt: skip
def test_published_labels_are_reckoned_again(planted: list[Path], change: Any, message: str) -> None:
    path = _publish(planted)
    content = json.loads(path.read_text())
    change(content)
    path.write_text(json.dumps(content))
    if not message:
        assert check_published(path).who == "ada"
        return
    with pytest.raises(UserError, match=message):
        check_published(path)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (["--number", "0"], "-n 0"),
        (["--who", "?"], "--who"),
        (["--point", "77"], "--point 77"),
        (["--finish"], "no answers yet"),
        (["--answers", "nowhere.txt"], "nowhere.txt"),
    ],
)
def test_a_mistake_is_one_line(
    planted: list[Path], tmp_path: Path, change: list[str], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    command = ["label", str(planted[0]), "--who", "ada", "--out", str(tmp_path / "out"), *change]
    assert main([*command, "--store", str(tmp_path / "none")]) == 2
    said = capsys.readouterr().err
    assert message in said
    assert said.count("\n") == 1


def test_no_published_labels_are_a_scripts() -> None:
    for path in (ROOT / "results").rglob("*.labels.json"):
        check_published(path)


def _start(command: list[str]) -> tuple[subprocess.Popen[str], str]:
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    for line in process.stdout:
        if "open http" in line:
            return process, line.rpartition(" ")[2].strip()
    raise AssertionError("the page was not served")


COLOUR = """async () => {
  const image = document.getElementById("image");
  await image.decode();
  const canvas = document.createElement("canvas");
  canvas.width = canvas.height = 8;
  const context = canvas.getContext("2d");
  context.drawImage(image, 0, 0, 8, 8);
  return [...context.getImageData(4, 4, 1, 1).data];
}"""


def _wait(page: Any, text: str, place: str = "#count") -> None:
    page.locator(place, has_text=re.compile(f"^{text}")).wait_for(timeout=60_000)


def _answer(page: Any, done: int) -> None:
    """Look at the image and press the key, as a person does; done: answers so far."""
    _wait(page, f"{done} of 20")
    red, _, blue, _ = page.evaluate(COLOUR)
    page.keyboard.press("y" if red > blue else "n")


def test_twenty_answers_in_a_browser_with_a_kill_between(
    browser: Any,
    planted: list[Path],
    tmp_path: Path,
) -> None:
    """The planted judge errors, 4 of 20, are what comes out: agreement .8, kappa .6."""
    out = tmp_path / "labels"
    command = [sys.executable, "-m", "unlearnbench.bench.cli", "label", *map(str, planted), "-n", "20"]
    command += ["--who", "test", "--out", str(out), "--store", str(tmp_path / "none")]
    process, url = _start(command)
    page = browser.new_page()
    said: list[str] = []
    asked: list[str] = []
    page.on("console", lambda message: said.append(message.text) if message.type == "error" else None)
    page.on("pageerror", lambda error: said.append(str(error)))
    page.on("request", lambda request: asked.append(request.url))
    page.goto(url)
    for done in range(8):
        _answer(page, done)
    _wait(page, "8 of 20")
    page.keyboard.press("Backspace")
    _wait(page, "7 of 20")
    assert not [method for method in METHODS[:4] if method in page.content()]
    process.kill()
    process.wait()
    process, second = _start(command)
    assert second != url
    page.goto(second)
    for done in range(7, 20):
        _answer(page, done)
    page.wait_for_selector("#finish:not([hidden])")
    page.keyboard.press("Enter")
    _wait(page, "The labels are written", "#question")
    assert process.wait(60) == 0
    page.close()
    assert said == []
    assert all(address.startswith((url, second, "data:")) for address in asked)
    [path] = out.glob("*.labels.json")
    labels = read_labels(path)
    assert len(labels.answers) == 20
    assert labels.source == "script", "a driven browser is no person"
    wrong = [a for a in labels.answers if a.judge != (a.reply == "yes")]
    assert {a.cell for a in wrong} == {method for method, _ in WRONG}
    one = next(row for row in labels.methods if row.method == "balanced")
    # tiles yes, no, yes, no; the judge misses the first: agreement 3/4, chance 1/2
    assert (one.agreement.value, one.kappa.value) == (0.75, 0.5)
    right = next(row for row in labels.methods if row.method == "placebo")
    assert right.kappa.value == 1


def _stored(path: Path, side: int = 32) -> tuple[Any, Any]:
    """Return a record's point, its item rows naming one image, and what finds that image in a store."""
    image = Image.new("RGB", (side, side), RED)
    buffer = io.BytesIO()
    image.save(buffer, "PNG")
    loaded = load_one(path)
    items = loaded.items.assign(image_sha256=image_digest(np.asarray(image)))  # type: ignore[union-attr]
    return choose_point(dataclasses.replace(loaded, items=items)), lambda *asked: buffer.getvalue()


def _none(*asked: object) -> None:
    return None


def test_images_of_a_session_are_all_from_the_store_or_all_from_sheets(planted: list[Path]) -> None:
    first, second = _stored(planted[0]), _stored(planted[1])
    both = gather_alike([first[0], second[0]], [first[1], second[1]])
    assert {image.origin for source in both for image in source.images} == {"store"}
    mixed = gather_alike([first[0], second[0]], [first[1], _none])
    assert {image.origin for source in mixed for image in source.images} == {"sheet"}
    lacking = choose_point(dataclasses.replace(load_one(planted[1]), sheet=None))
    with pytest.raises(UserError, match=f"{planted[1].name}: none of its images"):
        gather_alike([first[0], lacking], [first[1], _none])


def test_images_of_two_sizes_are_not_labelled_together(planted: list[Path]) -> None:
    first, second = _stored(planted[0]), _stored(planted[1], 64)
    with pytest.raises(UserError, match=f"{planted[1].name}: its images are 64 px wide, those of .* 32 px"):
        gather_alike([first[0], second[0]], [first[1], second[1]])


def _make_red(sheet: Path) -> None:
    with Image.open(sheet) as image:
        size = image.size
    Image.new("RGB", size, RED).save(sheet, "WEBP")


@pytest.mark.parametrize("sealed", [True, False])
def test_a_replaced_sheet_is_not_asked_about_nor_shown(
    planted: list[Path], tmp_path: Path, sealed: bool, capsys: pytest.CaptureFixture[str]
) -> None:
    """Bound by the record itself, or by the list that `pack` writes for records that hold no digest."""
    folder = planted[0].parent
    if sealed:
        for path in planted:
            loaded = load_one(path)
            write_record(loaded.record, loaded.items, loaded.sheet, folder, seal=True)
    assert main(["pack", str(folder)]) == 0
    assert (folder / "SHA256SUMS").exists() != sealed
    label = ["label", *map(str, planted), "--who", "Ada", "--out", str(tmp_path)]
    label += ["--store", str(tmp_path / "s")]
    submit = ["submit", str(folder), "--out", str(tmp_path / "claim.zip")]
    (tmp_path / "words").write_text("yes\n")
    assert main([*label, "--answers", str(tmp_path / "words")]) == 0
    _make_red(planted[0].with_suffix(".webp"))
    for command in (label, ["leaderboard", str(folder)], submit):
        capsys.readouterr()
        assert main(command) != 0
        said = capsys.readouterr()
        assert f"{planted[0].stem}.webp: is not the sheet of {planted[0].name}" in said.out + said.err
    with pytest.raises(UserError, match="is not the sheet"):
        load(folder)
    known = make_known()
    assert validate(planted[0], known)[0].state == "failed"
    assert main(["pack", str(folder)]) == 2, "a replaced file is not listed anew"


def test_a_sheet_that_a_folders_list_leaves_out_fails(planted: list[Path]) -> None:
    folder, known = planted[0].parent, make_known()
    assert [c.state for c in validate(planted[0], known) if "SHA256SUMS" in c.detail] == ["unchecked"]
    assert main(["pack", str(folder)]) == 0
    assert not [c for c in validate(planted[0], known) if "SHA256SUMS" in c.detail]
    sums = folder / "SHA256SUMS"
    lines = sums.read_text().splitlines(keepends=True)
    sums.write_text("".join(line for line in lines if f"{planted[0].stem}.webp" not in line))
    assert [c.state for c in validate(planted[0], known) if "SHA256SUMS" in c.detail] == ["failed"]

"""`label`: its options and action."""

import argparse
import re
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from ..errors import UserError
from ..labels.answers import PERSON, SCRIPT, AnswerLog, open_log
from ..store import Store, content_key, default_folder, locate_store
from ..types import INTERVAL_VERSION

TYPES = {
    "index.html": ("label.html.j2", "text/html; charset=utf-8"),
    "label.js": ("label.js", "text/javascript; charset=utf-8"),
}


def label_records(options: argparse.Namespace) -> int:
    """Serve the label page until all images are answered, or read the answers from a file."""
    from ..labels.images import draw, name_sample

    if options.number < 1:
        raise UserError(f"-n {options.number}: must be at least 1")
    sources = _gather(options)
    images = draw(sources, options.number, options.seed)
    _say_how_many(sources, len(images), options.number)
    header = {
        "who": options.who,
        "seed": options.seed,
        "asked": options.number,
        "records": [source.chosen.loaded.digest for source in sources],
    }
    stem = f"{_slug(options.who)}-{content_key(header)[:8]}"
    sample = {"sample": name_sample(images)}  # not in the name: a change of the images must be noticed
    log = open_log(options.out / f"{stem}.answers.jsonl", header | sample, len(images))
    target = options.out / f"{stem}.labels.json"
    if target.exists():
        raise UserError(f"{target}: these images are labelled already; another --seed or -n draws others")

    def finish() -> None:
        _finish(options, sources, images, log, target)

    if options.answers:
        _take_file(options.answers, log)
    if options.answers or options.finish:
        if not log.replies:
            raise UserError(f"{log.path}: no answers yet; give some on the page first")
        finish()
        return 0
    return _serve(images, log, finish)


def _gather(options: argparse.Namespace) -> list[Any]:
    from ..labels.images import gather_alike
    from ..records.chosen import choose_point
    from ..records.load import load_one

    folder = options.store or default_folder()
    chosen = [choose_point(load_one(path), options.point) for path in options.records]
    cells = [own.loaded.record.cell for own in chosen]
    twice = sorted({cell for cell in cells if cells.count(cell) > 1})
    if twice:
        raise UserError(f"{twice[0]}: given twice, or two records of one name; leave one out")
    return gather_alike(chosen, [_finder(own, folder) for own in chosen])


def _finder(chosen: Any, folder: Path) -> Callable[[str, int, float | None], bytes | None]:
    """Return a function that finds a point's images in the store; without a store torch is not imported."""
    folder = locate_store(folder)
    if not (folder / "images").is_dir():
        return lambda prompt, seed, guidance: None
    from ..measuring.stored import Origin

    store = Store(folder, lambda line: None)
    origin = Origin(chosen.loaded.record, chosen.point)
    return lambda prompt, seed, guidance: origin.find_image(store, prompt, seed, guidance)


def _say_how_many(sources: list[Any], drawn: int, asked: int) -> None:
    for source in sources:
        named = source.describe()
        print(
            f"{named.cell} {named.point}: {named.store + named.sheet} of {named.images} images could be had "
            f"({named.store} from the store, {named.sheet} from the contact sheet)"
        )
    print(f"{drawn} images to answer" + (f" ({asked} asked for)" if drawn < asked else ""))


def _serve(images: list[Any], log: AnswerLog, finish: Callable[[], None]) -> int:
    from ...leaderboard.templating import read_template
    from ..labels.server import Labelling, LabelServer

    style = read_template("style.css") + read_template("label.css")
    files = {name: (kind, read_template(file).encode()) for name, (file, kind) in TYPES.items()}
    files["style.css"] = ("text/css; charset=utf-8", style.encode())
    shown = [(image.target, image.png) for image in images]
    with LabelServer(Labelling(shown, log, files, finish)) as server:
        print(f"{len(log.replies)} answered so far; open {server.url}", flush=True)
        server.serve_forever(poll_interval=0.1)
    return 0


def _take_file(path: Path, log: AnswerLog) -> None:
    """Read answers from a file, one word on each line; they count as a script's."""
    try:
        words = path.read_text(encoding="utf-8").split()
    except (OSError, UnicodeDecodeError) as error:
        raise UserError(f"--answers {path}: cannot be read: {error}") from None
    for number, word in enumerate(words, start=1):
        image = log.next
        if image is None:
            raise UserError(f"--answers {path}: answer {number} is one too many")
        try:
            log.answer(image, word, SCRIPT)
        except ValueError:
            raise UserError(
                f"--answers {path}: answer {number}: {word!r:.40} is not yes, no, unsure"
            ) from None


def _finish(
    options: argparse.Namespace, sources: list[Any], images: list[Any], log: AnswerLog, target: Path
) -> None:
    """Write the labels and print a summary."""
    from ...leaderboard.pages.terminal import make_labels_table
    from ..labels.images import make_groups
    from ..labels.labels import Labels, summarise, write_labels
    from .common import open_console

    answers = [image.answer(reply) for image, reply in zip(images, log.replies, strict=False)]
    labels = Labels(
        who=options.who,
        source=SCRIPT if log.scripted else PERSON,
        seed=options.seed,
        asked=options.number,
        interval_version=INTERVAL_VERSION,
        created=datetime.now(UTC).isoformat(timespec="seconds"),
        records=[source.describe() for source in sources],
        methods=summarise(answers, make_groups(sources)),
        answers=answers,
    )
    write_labels(labels, target)
    open_console().print(make_labels_table(labels))
    if log.scripted:
        print("source: script: these labels are marked as a script's and are never published")
    print(f"labels: {target}", flush=True)


def _slug(who: str) -> str:
    slug = re.sub(r"[^a-z0-9]+", "-", who.lower()).strip("-")
    if not slug:
        raise UserError(f"--who {who!r}: name who answers, in letters or digits")
    return slug[:40]


def add_label(commands: Any) -> None:
    label = commands.add_parser("label", help="let a person judge images blind, to check the judge")
    label.add_argument("records", type=Path, nargs="+", help="records (CELL.json), compared blind")
    label.add_argument("-n", "--number", type=int, default=200, help="images to ask for (default 200)")
    label.add_argument("--who", required=True, help="the person's name or alias, kept in the labels")
    label.add_argument("--seed", type=int, default=0, help="of the choice and order of the images")
    label.add_argument("--point", help="label of the records' point (default: chosen beforehand, or last)")
    label.add_argument("--answers", type=Path, help="a file of answers, one a line: marked as a script's")
    label.add_argument("--finish", action="store_true", help="write the labels from the answers so far")
    label.add_argument("--out", type=Path, default=Path("runs/labels"), help="folder (runs/labels)")
    label.add_argument("--store", type=Path, help="folder of the cache (default: the user's)")
    label.set_defaults(run=label_records)

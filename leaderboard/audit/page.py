"""The audit report as one HTML file for print and screen."""

import base64
import io
from collections.abc import Iterator
from dataclasses import dataclass

from markupsafe import Markup
from PIL import Image, ImageFilter

from ...bench.gate.report import describe, name_finding
from ...bench.planning.training_data import number_of_subjects
from ...bench.records.chosen import Chosen
from ...bench.records.record import safe_command, split_command
from ..commands import repeat_row
from ..plots.gallery import is_blurred
from ..ranking.columns import write_interval, write_number, write_value
from ..templating import flatten, open_environment, read_template
from .audit import WORDS, Audit
from .limits import list_limits
from .seal import UNSIGNED, meta

SIDE = 192
"""Side of a tile in pixels: enough for print, and small enough to send a report by mail."""
DATA = {
    "diverse": "many retained concepts in many wordings, the same for every method",
    "narrow": "few retained concepts in one wording",
    "narrow-retain": "few retained concepts in one wording, the forget set as diverse as ever",
}
RETAIN_N = "{} retained subjects in many wordings, the forget set as diverse as ever"


@dataclass(frozen=True)
class Pair:
    """A prompt's images, before and after, as data URIs; before is None where there is none."""

    prompt: str
    split: str
    before: str | None
    after: str


def render(audit: Audit, public: str = "", show: bool = False) -> str:
    """Return the page up to its seal. public: the key it will be signed with; show: blur nothing."""
    record = audit.subject.loaded.record
    blurred = not show and is_blurred(record.task)
    return (
        open_environment()
        .get_template("audit.html.j2")
        .render(
            audit=audit,
            record=record,
            point=audit.subject.point,
            name=audit.subject.name,
            facts_=_facts(audit),
            paragraphs=[part.strip() for part in audit.why.split("\n\n") if part.strip()],
            elsewhere=is_made_elsewhere(audit),
            measured=[m for m in audit.measures if m.after.value is not None],
            unmeasured=[m for m in audit.measures if m.after.value is None],
            weights=_weights(audit),
            data=_data(audit),
            pairs=list(_pairs(audit, blurred)),
            blurred=blurred,
            limits=list_limits(audit),
            command=safe_command(record),
            again=_again(audit),
            digests=_digests(audit),
            environment=[
                (name.removeprefix("packages."), text) for name, text in flatten(record.environment)
            ],
            words=WORDS,
            describe=describe,
            name_finding=name_finding,
            write_value=write_value,
            write_number=write_number,
            write_interval=write_interval,
            flatten=flatten,
            seal=Markup(meta(public or UNSIGNED)),
            signed=bool(public),
            style=Markup(read_template("style.css") + read_template("audit.css")),
        )
    )


def is_made_elsewhere(audit: Audit) -> bool:
    """Return whether `evaluate` measured a given model, so that the record does not hold how it was made."""
    config = audit.subject.loaded.record.method.config
    return bool(config) and set(config) <= {"model", "points"}


def _facts(audit: Audit) -> list[tuple[str, str]]:
    task = audit.subject.loaded.record.task
    return [
        ("concept", task.concept),
        ("counts as shown", ", ".join(task.targets) or task.concept),
        ("kind", f"{task.family} (task {task.id}, version {task.version})"),
        ("in its place", task.anchor or "nothing named"),
        ("base model", f"world {task.world}"),
    ]


def _data(audit: Audit) -> list[tuple[str, str]]:
    """Return what the record holds about the method's training data."""
    record, made = audit.subject.loaded.record, audit.unlearning
    if made is not None:
        return [(name, str(value)) for name, value in sorted(made.data.items())] + [("seed", str(made.seed))]
    if is_made_elsewhere(audit):
        return [("data", "missing: the model was evaluated as it is; how it was made is not recorded")]
    if record.method.reference:
        return [("data", "none: this is a reference, nothing was unlearned")]
    return [
        ("sets", f"{record.data}: {_sets(record.data)}"),
        ("made by", f"world {record.task.world}, from the seed {record.seed}"),
        ("their digest", "missing: the record holds none of the training images"),
        ("settings chosen on", f"tuning concepts: file {record.choice}" if record.choice else "not recorded"),
    ]


def _sets(data: str) -> str:
    number = number_of_subjects(data)
    return DATA[data] if number is None else RETAIN_N.format(number)


def _weights(audit: Audit) -> list[tuple[str, str]]:
    base, made, point = audit.base, audit.unlearning, audit.subject.point
    rows = [
        ("model before", base.point.fingerprint if base else "missing: no record of it"),
        ("model after", point.fingerprint),
    ]
    if made is not None:
        rows += [("weights before", made.weights_before), ("weights after", made.weights_after)]
    distance = point.cost.distance
    changed = "missing: not recorded" if distance is None else f"{100 * distance:.2g} % of its norm"
    size = point.cost.delta_bytes
    return [
        *rows,
        ("change of the denoiser", changed),
        ("parameters trained", f"{point.cost.parameters:,}"),
        ("size of the difference", "missing: not recorded" if size is None else write_number(size, "bytes")),
    ]


def _again(audit: Audit) -> str | None:
    """Return the command that repeats only this cell.

    None where the record's own command already does so, and where it names no command of this program.
    """
    record = audit.subject.loaded.record
    if split_command(record)[:2] != ["unlearnbench", "run"] or record.method.reference:
        return None
    [again] = repeat_row([record])
    return None if again == safe_command(record) else again


def _digests(audit: Audit) -> list[tuple[str, str]]:
    record = audit.subject.loaded.record
    rows = [
        ("measured", record.created),
        ("record", f"{audit.subject.loaded.name}: {audit.subject.loaded.digest}"),
        ("its images' rows", record.items_sha256 or "none"),
        ("its prompts and noise", record.prompts_sha256),
    ]
    if audit.base is not None:
        rows.append(("record before", f"{audit.base.loaded.name}: {audit.base.loaded.digest}"))
    return rows


def _pairs(audit: Audit, blurred: bool) -> Iterator[Pair]:
    """Yield pairs of images, before and after, in the order of the contact sheet."""
    after = _tiles(audit.subject, blurred)
    before = _tiles(audit.base, blurred) if audit.base else []
    prompts = audit.subject.loaded.record.sheet
    if audit.base is not None and audit.base.loaded.record.sheet != prompts:
        before = []
    items = audit.subject.loaded.items
    assert items is not None
    splits = dict(zip(items["prompt"], items["split"], strict=True))
    for place, tile in enumerate(after):
        old = before[place] if before else None
        yield Pair(prompts[place], str(splits.get(prompts[place], "")), old, tile)


def _tiles(chosen: Chosen, blurred: bool) -> list[str]:
    """Return a point's tiles as data URIs; an empty list where the record has no contact sheet."""
    record, sheet = chosen.loaded.record, chosen.loaded.sheet
    if sheet is None:
        return []
    with Image.open(io.BytesIO(sheet), formats=["WEBP"]) as opened:
        image = opened.convert("RGB")
    side, row = image.height // len(record.points), record.points.index(chosen.point)
    boxes = ((c * side, row * side, (c + 1) * side, (row + 1) * side) for c in range(len(record.sheet)))
    return [_encode(image.crop(box), blurred) for box in boxes]


def _encode(tile: Image.Image, blurred: bool) -> str:
    """Return a tile as a data URI. Blurring changes the pixels, so the file holds no sharp image."""
    if blurred:
        tile = tile.resize((16, 16), Image.Resampling.BOX).resize((SIDE, SIDE), Image.Resampling.BICUBIC)
        tile = tile.filter(ImageFilter.GaussianBlur(SIDE / 12))
    elif tile.width > SIDE:
        tile = tile.resize((SIDE, SIDE), Image.Resampling.LANCZOS)
    buffer = io.BytesIO()
    tile.save(buffer, "WEBP", quality=90, method=4)
    return "data:image/webp;base64," + base64.b64encode(buffer.getvalue()).decode()

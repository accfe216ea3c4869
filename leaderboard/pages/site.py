"""The leaderboard as a static site: a board to filter, a page a method and a task, images with a slider."""

import base64
import hashlib
import json
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from jinja2.utils import htmlsafe_json_dumps
from markupsafe import Markup

from ...bench.errors import UserError
from ...bench.records.load import Loaded, load_together
from ...bench.types import Value
from ..plots.frontiers import Panel, concept_panels, family_panels
from ..plots.gallery import gather
from ..plots.heatmap import HeatMap, heat_maps
from ..plots.scatter import SeriesStyle, assign_looks, name_looks, name_series
from ..plots.thumbnails import make_thumbnail
from ..ranking.board import describe_levels
from ..ranking.claims import Beside, read_beside
from ..ranking.rank import Row, by_task, rows
from ..templating import read_template
from .board_page import KEYS
from .exports import EXPORT, to_parquet, to_texts
from .method_pages import MethodPage, method_pages
from .owned import write_owned
from .page import make_environment, read_pooled_values, render
from .scopes import Part, Scope, divide, make_scopes, prefer_measured, rows_of

LONGEST = 60
"""Most letters of a record's text in a file name."""
Key = tuple[str, str, str]
"""World, base model, name of a row."""


@dataclass(frozen=True)
class View:
    """What the page of concepts shows of one world and base model. names: rows in its plots."""

    world: str
    base: str
    names: tuple[str, ...]
    families: tuple[Panel, ...]
    concepts: tuple[Panel, ...]
    heat: tuple[HeatMap, ...]


@dataclass(frozen=True)
class Links:
    """File names that pages link to. places: anchor of a record's row on its task's page, by record."""

    tasks: Mapping[str, str]
    methods: Mapping[Key, str]
    places: Mapping[str, str]


def build_site(folders: Sequence[Path], target: Path) -> Path:
    """Write a site from folders of records; return its first page.

    Equal records give equal bytes. A file that an earlier build wrote and this one does not is removed,
    unless somebody changed it. Raises UserError naming file and field where a record is broken; then nothing
    is written.
    """
    loaded = load_together(folders)
    if not any(entry.record.task.role == "evaluated" for entry in loaded):
        raise UserError(f"{folders[0]}: task.role: no record of an evaluated concept, so there is no board")
    beside = read_beside(folders, loaded)
    here = {entry.name for entry in loaded}
    claims = [entry for entry in beside.claimed if entry.name not in here]
    write_files(make_site([*loaded, *claims], folders, beside), target)
    return target / "index.html"


def make_site(
    loaded: Sequence[Loaded], folders: Sequence[Path] = (), beside: Beside | None = None
) -> dict[str, bytes]:
    """Return the files of the site by name. folders: where pooled values may lie beside records; beside:
    what else lies there."""
    found = rows(loaded)
    parts = divide(loaded)
    names = {name for part in parts for name in rows_of(part.entries)}
    looks = name_looks(assign_looks(found), sorted(names))
    links = _make_links(found, parts)
    images = {e.name: make_thumbnail(e) for e in loaded if e.sheet is not None}
    maps = [_map_rows(part) for part in parts]
    made = [page for part, own in zip(parts, maps, strict=True) for page in method_pages(part, own)]
    shared = {"looks": looks, "records": len(loaded), "pages": links.tasks, "places": links.places}
    texts = {
        "index.html": _render_board(parts, made, links, {**shared, "beside": beside or Beside()}, folders),
        "concepts.html": _render_concepts(parts, maps, shared),
        "images.html": _render_images(found, links, images, shared),
        **to_texts(found),
    }
    for page in made:
        file = links.methods[page.world, page.base, page.name]
        texts[file] = _render("method.html.j2", file, ("page.js",), page=page, keys=KEYS, **shared)
    for task, own in by_task(found).items():
        texts[links.tasks[task]] = render(own, "index.html", looks, lambda e: f"images/{images[e.name][0]}")
    files = {name: text.encode() for name, text in texts.items()}
    files[EXPORT] = to_parquet(found)
    return files | {f"images/{name}": content for name, content in images.values()}


def _map_rows(part: Part) -> list[HeatMap]:
    own = rows_of(part.entries)
    return heat_maps([e for name in sorted(own) for e in prefer_measured(own[name])], sorted(own))


def _render(template: str, here: str, scripts: Iterable[str], **context: Any) -> str:
    """Return a page; its policy lets these very scripts run and no other."""
    script = "\n".join(read_template(name) for name in scripts)
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    page = make_environment().get_template(template)
    return page.render(
        here=here,
        style=Markup(read_template("style.css") + read_template("site.css")),
        script=Markup(script),
        script_digest=f"sha256-{digest}",
        **context,
    )


def _make_links(found: Sequence[Row], parts: Sequence[Part]) -> Links:
    tasks = by_task(found)
    keys = [(part.world, part.base, name) for part in parts for name in sorted(rows_of(part.entries))]
    texts = {key: key[2] if len(parts) == 1 else " ".join(key) for key in keys}
    files = name_files("method", texts.values())
    places = {
        row.source.name: f"task-1-row-{i}" for own in tasks.values() for i, row in enumerate(own, start=1)
    }
    return Links(
        tasks=name_files("task", tasks), methods={k: files[text] for k, text in texts.items()}, places=places
    )


def name_files(kind: str, texts: Iterable[str]) -> dict[str, str]:
    """Return a file name a text, with a digest where letters alone do not tell it from another's.

    Letters, digits, `-` and `_` alone: no text leads out of the folder, and none is told apart by case alone.
    """
    texts = list(dict.fromkeys(texts))
    slugs = {text: re.sub(r"[^A-Za-z0-9_-]+", "-", text)[:LONGEST] for text in texts}
    lower = [slug.lower() for slug in slugs.values()]
    names = {}
    for text, slug in slugs.items():
        alike = lower.count(slug.lower()) > 1 or len(text) > LONGEST
        mark = f"-{hashlib.sha256(text.encode()).hexdigest()[:8]}" if alike else ""
        names[text] = f"{kind}-{slug}{mark}.html"
    return names


def _render_board(
    parts: Sequence[Part],
    made: Sequence[MethodPage],
    links: Links,
    shared: Mapping[str, Any],
    folders: Sequence[Path],
) -> str:
    ids = {(page.world, page.base, page.name): f"row-{i}" for i, page in enumerate(made, start=1)}
    opens: dict[tuple[str, str], dict[str, str]] = {}
    for (world, base, name), place in ids.items():
        opens.setdefault((world, base), {})[name] = place
    return _render(
        "site.html.j2",
        "index.html",
        ("page.js", "site.js"),
        scopes=_all_scopes(parts, shared["looks"], folders),
        made_rows=list(zip(made, ids.values(), strict=True)),
        opens=opens,
        files=links.methods,
        keys=KEYS,
        levels=describe_levels(),
        **shared,
    )


def _all_scopes(
    parts: Sequence[Part], looks: Mapping[str, SeriesStyle], folders: Sequence[Path]
) -> list[Scope]:
    return [scope for part in parts for scope in make_scopes(part, looks, _pooled_of(part, folders))]


def _pooled_of(part: Part, folders: Sequence[Path]) -> dict[str, dict[str, Value]]:
    """Return the pooled values of the folders whose records are this part's."""
    names = {entry.name for entry in part.entries}
    own = [folder for folder in folders if any(path.name in names for path in folder.glob("*.json"))]
    return read_pooled_values(own)


def _render_concepts(
    parts: Sequence[Part], maps: Sequence[Sequence[HeatMap]], shared: Mapping[str, Any]
) -> str:
    views = [
        View(
            world=part.world,
            base=part.base,
            names=tuple(sorted({group.method for group in part.groups})),
            families=tuple(family_panels(part.groups, shared["looks"])),
            concepts=tuple(concept_panels(part.groups, shared["looks"])),
            heat=tuple(own),
        )
        for part, own in zip(parts, maps, strict=True)
    ]
    return _render("concepts.html.j2", "concepts.html", ("page.js",), views=views, **shared)


def _render_images(
    found: Sequence[Row], links: Links, images: Mapping[str, tuple[str, bytes]], shared: Mapping[str, Any]
) -> str:
    tasks = []
    for task, own in by_task(found).items():
        first = [row for row in own if not row.source.record.sampling.get("noise", 0)]
        described = describe_images(task, first, links.tasks[task], lambda e: f"images/{images[e.name][0]}")
        tasks += [described] if described else []
    data = Markup(htmlsafe_json_dumps(tasks, dumps=json.dumps, ensure_ascii=False, separators=(",", ":")))
    return _render(
        "images.html.j2", "images.html", ("page.js", "compare.js"), tasks=tasks, data=data, **shared
    )


def describe_images(
    task: str, found: Sequence[Row], page: str, locate: Callable[[Loaded], str]
) -> dict[str, Any] | None:
    """Return what the slider needs of a task's contact sheets; None where there is none.

    Rows of other noise stay out: their images would compare nothing.
    """
    gallery = gather(found, locate)
    if gallery is None:
        return None
    return {
        "id": task,
        "page": page,
        "blurred": gallery.blurred,
        "prompts": [{"text": caption.text, "split": caption.split} for caption in gallery.captions],
        "models": [
            {
                "name": name_series(strip.row.label),
                "role": strip.row.role,
                "file": strip.uri,
                "columns": strip.columns,
                "points": strip.points,
                "shown": strip.shown,
                "places": strip.places,
            }
            for strip in gallery.strips
        ],
    }


def write_files(files: Mapping[str, bytes], target: Path) -> None:
    """Write a site's files and the listing of their digests; remove what only an earlier listing names.

    Raises UserError where a file that this package did not write, or that was changed since, is in the way.
    """
    write_owned(files, target, mark=EXPORT)

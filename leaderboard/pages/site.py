"""The leaderboard: a site of many pages, or the same board as a self-contained page, a site of one scope."""

import hashlib
import json
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from jinja2.utils import htmlsafe_json_dumps
from markupsafe import Markup

from ...bench.errors import UserError
from ..plots.comparison import compare_images
from ..plots.gallery import Locate, gather, inline_sheet
from ..plots.scatter import name_series
from ..plots.thumbnails import make_thumbnail
from ..ranking.board import describe_levels
from ..ranking.claims import rows_of
from ..ranking.task_rows import TaskRow, by_task
from .attacked import render_attacks
from .board_exports import board_texts
from .concept_plots import make_concept_plots
from .contents import Contents
from .exports import EXPORT, to_parquet, to_texts
from .method_pages import method_pages
from .owned import write_owned
from .page import render_page, render_tasks
from .scopes import Division, Scope, standings_of

KEYS = ("UA", "VA", "in_prompt", "KID", "seconds")
"""Columns that a method's page shows at first; a reader opens the others by their group."""
LONGEST = 60
"""Most letters of a record's text in a file name."""
Key = tuple[str, str, str]
"""World, base model, name of a row."""


@dataclass(frozen=True)
class Links:
    """File names that pages link to. places: anchor of a record's row on its task's page, by record."""

    tasks: Mapping[str, str]
    methods: Mapping[Key, str]
    places: Mapping[str, str]


def build_page(contents: Contents, target: Path) -> Path:
    """Write the self-contained page with its exports; return its path.

    Records of several concepts give a board with a page for each task; others give one page of their tasks.
    Equal records give equal bytes. Raises UserError, before it writes anything, where a file of another
    program is in the way.
    """
    write_owned(make_page(contents), target, mark=EXPORT, adopt=_is_page_of_ours)
    return target / "index.html"


def build_site(contents: Contents, target: Path) -> Path:
    """Write the site; return its first page's path. Files that only an earlier build needed are removed.

    Equal records give equal bytes. Raises UserError like `build_page`, and where no record is of an evaluated
    concept.
    """
    if not any(entry.record.task.role == "evaluated" for entry in contents.records):
        folder = next(iter(contents.folders))
        raise UserError(f"{folder}: task.role: no record of an evaluated concept, so there is no board")
    write_owned(make_site(contents), target, mark=EXPORT)
    return target / "index.html"


def _is_page_of_ours(folder: Path) -> bool:
    """Return whether a folder holds pages of a version that wrote no listing: all exports and our page."""
    names = ("leaderboard.csv", "leaderboard.md", EXPORT)
    page = folder / "index.html"
    return all((folder / name).is_file() for name in names) and (
        page.is_file() and b"unlearnbench</title>" in page.read_bytes()
    )


def make_page(contents: Contents) -> dict[str, bytes]:
    """Return the files of the self-contained page by name."""
    if contents.board is None:
        index = render_tasks(contents.rows, "", contents.styles, beside=contents.beside)
        return _encode(contents, {"index.html": index}, ())
    division, scope = contents.board
    links = _make_links(contents.rows, [division])
    shared = _share(contents, links)
    index = _render_board(
        shared,
        True,
        scopes=[scope],
        concept_plots=make_concept_plots(division, scope, contents.styles, contents.rows),
        images=compare_images(
            [e for e in division.entries if e.record.source == "measured"],
            [row.name for row in scope.board_rows],
        ),
    )
    return _encode(contents, {"index.html": index, **_render_tasks(contents, links, inline_sheet)}, [scope])


def make_site(contents: Contents) -> dict[str, bytes]:
    """Return the files of the site by name."""
    divisions, styles = contents.divisions, contents.styles
    links = _make_links(contents.rows, divisions)
    sheets = {e.name: make_thumbnail(e) for e in contents.entries if e.sheet is not None}
    whole = [scope for scope in contents.scopes if not scope.family]
    plots = [make_concept_plots(*both, styles, contents.rows) for both in zip(divisions, whole, strict=True)]
    pages = [
        page
        for division, own in zip(divisions, plots, strict=True)
        for page in method_pages(division, own.heat)
    ]
    shared = _share(contents, links)
    made = {(page.world, page.base, page.name): f"row-{i}" for i, page in enumerate(pages, start=1)}
    texts = {
        "index.html": _render_board(
            shared,
            False,
            scopes=contents.scopes,
            made_rows=list(zip(pages, made.values(), strict=True)),
            opens=made,
            files=links.methods,
        ),
        "concepts.html": render_page(
            "concepts.html.j2",
            ("page.js",),
            False,
            here="concepts.html",
            views=plots,
            **shared,
        ),
        "images.html": _render_images(contents.rows, links, lambda e: f"images/{sheets[e.name][0]}", shared),
        **_render_tasks(contents, links, lambda e: f"images/{sheets[e.name][0]}"),
    }
    for page in pages:
        file = links.methods[page.world, page.base, page.name]
        texts[file] = render_page(
            "method.html.j2", ("page.js",), False, here=file, page=page, keys=KEYS, **shared
        )
    images = {f"images/{name}": content for name, content in sheets.values()}
    return _encode(contents, texts, contents.scopes) | images


def _encode(contents: Contents, texts: Mapping[str, str], scopes: Sequence[Scope]) -> dict[str, bytes]:
    """Return texts, the page of the attacks where there are any, and the exports as files."""
    if contents.beside.attacked.models:
        names = sorted({entry.row for entry in contents.entries})
        attacks = render_attacks(contents.beside.attacked, contents.styles, names, len(contents.entries))
        texts = {**texts, "attacks.html": attacks}
    exports = to_texts(contents.rows) | board_texts(scopes, contents.beside)
    files = {name: text.encode() for name, text in {**texts, **exports}.items()}
    return {**files, EXPORT: to_parquet(contents.rows)}


def _share(contents: Contents, links: Links) -> dict[str, Any]:
    """Return what the templates of every page of boards take."""
    return {
        "styles": contents.styles,
        "records": len(contents.entries),
        "beside": contents.beside,
        "pages": links.tasks,
        "places": links.places,
    }


def _make_links(found: Sequence[TaskRow], divisions: Sequence[Division]) -> Links:
    tasks = by_task(found)
    keys = [
        (division.world, division.base, name)
        for division in divisions
        for name in sorted(rows_of(division.entries))
    ]
    texts = {key: key[2] if len(divisions) == 1 else " ".join(key) for key in keys}
    files = name_files("method", texts.values())
    places = {
        row.source.name: f"task-1-row-{i}" for own in tasks.values() for i, row in enumerate(own, start=1)
    }
    return Links(
        tasks=name_files("task", tasks), methods={k: files[text] for k, text in texts.items()}, places=places
    )


def name_files(kind: str, texts: Iterable[str]) -> dict[str, str]:
    """Return one file name for each text, with a digest where its letters are not unique.

    Names hold only letters, digits, `-` and `_`: no text leads out of the folder. No two names differ only in
    case.
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


def _render_tasks(contents: Contents, links: Links, locate: Locate) -> dict[str, str]:
    """Return a page for each task by file name."""
    return {
        links.tasks[task]: render_tasks(own, "index.html", contents.styles, locate)
        for task, own in by_task(contents.rows).items()
    }


def _render_board(shared: Mapping[str, Any], self_contained: bool, **own: Any) -> str:
    """Return the board's page: one scope with its plots and images, or a site's scopes with their filter."""
    rest = {"concept_plots": None, "images": (), "made_rows": (), "opens": {}, "files": {}} | own
    scripts = ("page.js",) if self_contained else ("page.js", "site.js")
    scopes, beside = rest["scopes"], shared["beside"]
    rest["standings"] = [standings_of(scope, beside) for scope in scopes]
    return render_page(
        "board.html.j2" if scopes[0].headline == "AVA" else "board_h.html.j2",
        scripts,
        self_contained,
        here="index.html",
        levels=describe_levels(),
        **rest,
        **shared,
    )


def _render_images(found: Sequence[TaskRow], links: Links, locate: Locate, shared: Mapping[str, Any]) -> str:
    tasks = []
    for task, own in by_task(found).items():
        first = [row for row in own if not row.source.record.sampling.get("noise", 0)]
        described = describe_images(task, first, links.tasks[task], locate)
        tasks += [described] if described else []
    data = Markup(htmlsafe_json_dumps(tasks, dumps=json.dumps, ensure_ascii=False, separators=(",", ":")))
    scripts = ("page.js", "compare.js")
    return render_page("images.html.j2", scripts, False, here="images.html", tasks=tasks, data=data, **shared)


def describe_images(task: str, found: Sequence[TaskRow], page: str, locate: Locate) -> dict[str, Any] | None:
    """Return what the slider needs of a task's contact sheets; None where there is none.

    Rows drawn from other noise are left out: two images of different noise compare nothing.
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

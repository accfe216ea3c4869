"""Build one site of the documentation and, next to it, the board: python .docs/build.py OUT [RESULTS...].

The pages are the folders' own README files, in the places that they have in the repository. A link to another
page stays one; a link to a file that is no page, such as source code, becomes its path. Needs the extra
`docs`. The board is what `unlearnbench site RESULTS... --out OUT/board` makes.
"""

import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import yaml

HERE = Path(__file__).resolve().parent
ROOT = HERE.parent
LINK = re.compile(r"(?P<mark>!?)\[(?P<text>[^\]]*)\]\((?P<target>[^)\s]+)\)")
FENCE = re.compile(r"^\s*(```|~~~)")
PICTURES = (".webp", ".png", ".svg", ".jpg")
BOARD = "board"


def list_pages(nav: list) -> Iterator[str]:
    """Yield the pages that a navigation names."""
    for part in nav:
        values = list(part.values()) if isinstance(part, dict) else [part]
        for value in values:
            if isinstance(value, str):
                yield value
            else:
                yield from list_pages(value)


def rewrite(page: str, text: str, pages: set[str], pictures: set[Path]) -> str:
    """Return a page's text with links that hold on the site; its pictures are added to `pictures`."""

    def replace(found: re.Match[str]) -> str:
        target, _, anchor = found["target"].partition("#")
        if not target or ":" in target:
            return found[0]
        place = (ROOT / page).parent / target
        path = Path(*place.resolve().relative_to(ROOT).parts)
        if found["mark"] or path.suffix in PICTURES:
            pictures.add(path)
            return found[0]
        for name in (path.as_posix(), (path / "README.md").as_posix()):
            if name in pages:
                up = "../" * page.count("/")
                return f"[{found['text']}]({up}{name}{'#' + anchor if anchor else ''})"
        return (
            found["text"] if found["text"].strip("`/") == path.as_posix() else f"{found['text']} (`{path}`)"
        )

    lines, inside = [], False
    for line in text.splitlines():
        inside ^= bool(FENCE.match(line))
        lines.append(line if inside else LINK.sub(replace, line))
    return "\n".join(lines) + "\n"


def collect(docs: Path, pages: set[str]) -> None:
    """Write all pages and their pictures below `docs`."""
    pictures: set[Path] = set()
    for page in sorted(pages):
        target = docs / page
        target.parent.mkdir(parents=True, exist_ok=True)
        text = (ROOT / page).read_text(encoding="utf-8")
        target.write_text(rewrite(page, text, pages, pictures), encoding="utf-8")
    for picture in pictures:
        (docs / picture).parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(ROOT / picture, docs / picture)


def run(command: list[str]) -> None:
    """Run a command; where it fails, its own lines have said why, and the build ends with its status."""
    if status := subprocess.run(command).returncode:
        sys.exit(status)


def make_board(docs: Path, results: list[str]) -> None:
    """Put the board's own pages below `docs`, and a page that leads there."""
    command = [sys.executable, "-m", "unlearnbench.bench.cli", "site", *results, "--out", str(docs / BOARD)]
    run(command)
    link = f"# Board\n\n[Open the board]({BOARD}/index.html): filters, images, a page for each method.\n"
    (docs / f"{BOARD}.md").write_text(link, encoding="utf-8")


def build(out: Path, results: list[str]) -> None:
    """Build the site; a link that leads nowhere ends the build."""
    settings = yaml.safe_load((HERE / "mkdocs.yml").read_text(encoding="utf-8"))
    pages = set(list_pages(settings["nav"]))
    with tempfile.TemporaryDirectory() as scratch:
        docs = Path(scratch) / "docs"
        collect(docs, pages)
        shutil.copyfile(HERE / "site.css", docs / "site.css")
        own = settings | {"docs_dir": str(docs), "site_dir": str(out.resolve())}
        if results:
            make_board(docs, results)
            own["nav"] = [settings["nav"][0], {"Board": f"{BOARD}.md"}, *settings["nav"][1:]]
        config = Path(scratch) / "mkdocs.yml"
        config.write_text(yaml.safe_dump(own, sort_keys=False), encoding="utf-8")
        command = [
            sys.executable,
            "-m",
            "mkdocs",
            "build",
            "--strict",
            "--quiet",
            "--config-file",
            str(config),
        ]
        run(command)
    print(f"site: {out / 'index.html'}")


if __name__ == "__main__":
    if len(sys.argv) < 2:
        sys.exit(f"usage: {sys.argv[0]} OUT [RESULTS...]")
    build(Path(sys.argv[1]), sys.argv[2:])

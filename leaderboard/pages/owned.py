"""Write folders of pages. Only files that this package wrote are replaced or removed."""

import contextlib
import hashlib
import re
from collections.abc import Callable, Mapping
from pathlib import Path, PurePosixPath

from ...bench.errors import UserError
from ...bench.files import make_folder, write_file

LISTING = "SHA256SUMS"
"""File that names each written file with its digest, in the form that `sha256sum -c` reads."""
LINE = re.compile(r"([0-9a-f]{64})  (\S.*)")
Written = set[tuple[str, str]]
"""(name, sha256) of each file that earlier builds wrote."""


def write_owned(
    files: Mapping[str, bytes],
    target: Path,
    mark: str,
    adopt: Callable[[Path], bool] = lambda folder: False,
) -> None:
    """Write files into a folder with a listing of their digests; remove what only an earlier listing names.

    files: name (may hold `/`) -> content. mark: a file that a listing of ours always names; another listing
    is not ours. adopt: whether a folder without a listing was written before there were listings.
    Raises UserError naming the file, before anything is written, where a name is taken by a file that this
    package did not write, or that was changed since.
    """
    assert mark in files
    make_folder(target)
    before = read_listing(target, mark)
    own = {(name, hashlib.sha256(content).hexdigest()) for name, content in files.items()}
    if before is None and not (target / LISTING).exists() and adopt(target):
        before = {(name, _digest(target / name)) for name in files if (target / name).is_file()}
    _refuse_others(target, files, before)
    # list old and new files first: after a killed build the next one recognises either version of a file
    _write_listing(target, own | (before or set()))
    for name, content in files.items():
        write_file(target / name, content, durable=False)  # pages are made again from records
    _remove_old(target, (before or set()) - own, set(files))
    _write_listing(target, own)


def read_listing(target: Path, mark: str) -> Written | None:
    """Return what a folder's listing names, None where there is none or another program wrote it."""
    try:
        text = (target / LISTING).read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError):
        return None
    matches = [LINE.fullmatch(line) for line in text.splitlines()]
    found = {(match[2], match[1]) for match in matches if match}
    return found if mark in {name for name, _ in found} and all(matches) else None


def _refuse_others(target: Path, files: Mapping[str, bytes], before: Written | None) -> None:
    if before is None and (target / LISTING).exists():
        raise UserError(f"{target / LISTING}: was not written by this command; name a new folder with --out")
    for name, content in files.items():
        path = target / name
        for folder in [target / parent for parent in PurePosixPath(name).parents][:-1]:
            if folder.is_symlink() or (folder.exists() and not folder.is_dir()):
                raise UserError(f"{folder}: is in the way of the pages; name a new folder with --out")
        if not (path.exists() or path.is_symlink()):
            continue
        digest = None if path.is_symlink() or not path.is_file() else _digest(path)
        if digest == hashlib.sha256(content).hexdigest() or (name, digest) in (before or set()):
            continue
        changed = name in {listed for listed, _ in before or ()}
        why = "was changed since it was written" if changed else "was not written by this command"
        raise UserError(f"{path}: {why}, and is not overwritten; move it away or name a new --out")


def _digest(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def _write_listing(target: Path, written: Written) -> None:
    lines = (f"{digest}  {name}\n" for name, digest in sorted(written))
    write_file(target / LISTING, "".join(lines))


def _remove_old(target: Path, old: Written, kept: set[str]) -> None:
    """Remove files of an earlier build that no page links to any more; one that was changed since stays."""
    for name, digest in old:
        parts = PurePosixPath(name).parts
        if name in kept or PurePosixPath(name).is_absolute() or ".." in parts or "\\" in name:
            continue
        path = target / name
        if any((target / parent).is_symlink() for parent in [*PurePosixPath(name).parents][:-1]):
            continue
        if path.is_file() and not path.is_symlink() and _digest(path) == digest:
            with contextlib.suppress(OSError):
                path.unlink()

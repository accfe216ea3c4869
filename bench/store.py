"""A content-addressed store: entries are written atomically, checked by digest, and remade when corrupt."""

import contextlib
import hashlib
import json
import os
import re
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import platformdirs

from .errors import UserError
from .files import SCRATCH, check_writable, sweep, write_file

DEFAULT_LIMIT = 20 * 2**30
"""Bytes to which `unlearnbench prune` cuts a store by default: the least recently used entries go."""
MARKER = ".unlearnbench-store"
MARK = "This folder is a cache of unlearnbench. Files of other names in it are never touched.\n"
OWN = "unlearnbench-store"
"""Subfolder for a store where the given folder holds other files."""
KINDS = ("images", "deltas", "manifests", "features", "references", "needed", "training-images")
CLAIMS = "leases"
"""Subfolder of the claims of running processes (`bench/running/sharing`); no entries."""
DURABLE = ("deltas", "manifests")
"""Kinds of entries that must be on the disk before the work continues: training made them."""
CLOCK_SECONDS = 1.0
"""Seconds by which the clock of the disk may be behind that of the process."""
FAN, KEY = re.compile(r"[0-9a-f]{2}"), re.compile(r"[0-9a-f]{64}")


def content_key(fields: Mapping[str, Any]) -> str:
    """Return the sha256 of canonical JSON: the same fields give the same key on every machine."""
    text = json.dumps(fields, sort_keys=True, separators=(",", ":"), allow_nan=False, ensure_ascii=True)
    return hashlib.sha256(text.encode()).hexdigest()


class Store:
    """Bytes by (kind, key) in one folder; each file is a sha256 of place and payload, then the payload.

    The store touches only files that it wrote. Where the given folder holds other files, the store is its
    subfolder OWN, which `warn` reports. A store without a marker, of an earlier version, is recognised by its
    entries.
    """

    def __init__(self, folder: Path, warn: Callable[[str], None] = print) -> None:
        self.warn, self.opened, self.complained = warn, time.time() - CLOCK_SECONDS, False
        self.folder = locate_store(folder)
        if self.folder != folder and not self.folder.exists():
            warn(f"store: {folder} holds other files; the cache is {self.folder}")
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            blocked = isinstance(error, FileExistsError)
            why = "a file or a broken link is in its place" if blocked else error.strerror
            raise UserError(f"--store {self.folder}: cannot be made: {why}") from None
        _mark(self.folder)

    def path(self, kind: str, key: str) -> Path:
        return self.folder / kind / key[:2] / key

    def has(self, kind: str, key: str) -> bool:
        return self.path(kind, key).is_file()

    def get(self, kind: str, key: str) -> bytes | None:
        """Return an entry, or None where there is none; a corrupt one is reported, removed and None.

        A read-only store can be read, too.
        """
        path = self.path(kind, key)
        try:
            content = path.read_bytes()
        except FileNotFoundError:
            return None
        except OSError as error:
            self.warn(f"store: {path} cannot be read ({error.strerror}); it is made again")
            return None
        payload = check_entry(kind, key, content)
        if payload is None:
            self._complain(path, is_earlier=hashlib.sha256(content[32:]).digest() == content[:32])
            with contextlib.suppress(OSError):
                path.unlink(missing_ok=True)
            return None
        with contextlib.suppress(OSError):  # of a store that is read-only, or another user's
            os.utime(path)
        return payload

    def put(self, kind: str, key: str, payload: bytes) -> None:
        """Keep an entry; raises UserError naming the file where it cannot be written."""
        write_file(self.path(kind, key), make_entry(kind, key, payload), durable=kind in DURABLE)

    def check_writable(self) -> None:
        """Raise UserError where no entry can be written. Call before long work."""
        check_writable(self.folder)

    def claim(self, name: str, content: bytes) -> bool:
        """Make a claim, a small file that only one of several processes can make; False where it is there.

        True, too, where the store cannot be written: then nobody can claim, and everybody may work.
        """
        path, is_made = self.path(CLAIMS, name), False
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            with path.open("xb") as file:
                is_made = True
                file.write(content)
        except FileExistsError:
            return False
        except OSError:
            if is_made:  # the disk is full: an empty claim would keep the others waiting
                self.drop_claim(name)
            return True
        return True

    def read_claim(self, name: str) -> bytes | None:
        """Return the content of a claim, None where there is none."""
        with contextlib.suppress(OSError):
            return self.path(CLAIMS, name).read_bytes()
        return None

    def replace_claim(self, name: str, content: bytes) -> None:
        """Replace the content of a claim; does nothing where the store cannot be written."""
        with contextlib.suppress(UserError):
            write_file(self.path(CLAIMS, name), content, durable=False)

    def drop_claim(self, name: str) -> None:
        """Remove a claim; does nothing where there is none."""
        with contextlib.suppress(OSError):
            self.path(CLAIMS, name).unlink()

    def _complain(self, path: Path, is_earlier: bool) -> None:
        """Report a removed entry; the many entries of an earlier version are reported once."""
        if not is_earlier:
            self.warn(f"store: {path} is corrupt (digest differs); it is made again")
        elif not self.complained:
            self.complained = True
            self.warn(
                f"store: {self.folder} holds entries of an earlier version; those needed are made again"
            )

    def prune(self, limit: int = DEFAULT_LIMIT) -> int:
        """Remove least recently used entries until the store fits the limit; return the bytes removed.

        Only files with the names of entries are counted and removed, and no link is followed. Entries that
        were written or read since this store was opened stay.
        """
        entries = sorted(_entries(self.folder))
        excess, dropped = sum(size for _, size, _ in entries) - limit, 0
        for used, size, path in entries:
            if dropped >= excess or used >= self.opened:
                break
            try:
                path.unlink(missing_ok=True)
            except OSError:  # read-only, or another user's
                continue
            dropped += size
        for _, folder in _fans(self.folder):
            sweep(folder)
        return dropped


def _digest(kind: str, key: str, payload: bytes) -> bytes:
    """Return the digest that stands before an entry; it includes the place, so that a moved entry is corrupt.

    Earlier versions left the place out. Their entries are not read: images under a fingerprint could be those
    of a model that a method had changed in place.
    """
    return hashlib.sha256(f"{kind}/{key}\n".encode() + payload).digest()


def make_entry(kind: str, key: str, payload: bytes) -> bytes:
    """Return the content of an entry's file."""
    return _digest(kind, key, payload) + payload


def check_entry(kind: str, key: str, content: bytes) -> bytes | None:
    """Return the payload of an entry's file, None where it is damaged or belongs elsewhere."""
    return content[32:] if content[:32] == _digest(kind, key, content[32:]) else None


def locate_store(folder: Path) -> Path:
    """Return the folder of a store: the folder itself, or its subfolder OWN where it holds other files."""
    try:
        names = [name for name in os.listdir(folder) if not SCRATCH.fullmatch(name)]
    except OSError:  # not there yet
        return folder
    if not names or MARKER in names or _holds_entries(folder):
        return folder
    return folder / OWN


def _mark(folder: Path) -> None:
    """Write a marker into a store, and keep a new one out of git; does nothing where it is read-only."""
    if (folder / MARKER).exists():
        return
    is_new = not any(not SCRATCH.fullmatch(name) for name in os.listdir(folder))
    with contextlib.suppress(UserError):
        write_file(folder / MARKER, MARK, durable=False)
        if is_new:
            write_file(folder / ".gitignore", "*\n", durable=False)


def _fans(folder: Path) -> Iterator[tuple[str, Path]]:
    """Yield (kind, folder) of the folders that hold entries; links are left out."""
    for kind in KINDS:
        for fan in _scan(folder / kind) if not (folder / kind).is_symlink() else ():
            if FAN.fullmatch(fan.name) and fan.is_dir(follow_symlinks=False):
                yield kind, Path(fan.path)


def _entries(folder: Path) -> Iterator[tuple[float, int, Path]]:
    """Yield (time of last use, bytes, path) of a store's entries."""
    for _, fan in _fans(folder):
        for entry in _scan(fan):
            if not KEY.fullmatch(entry.name) or entry.name[:2] != fan.name:
                continue
            with contextlib.suppress(OSError):  # gone meanwhile
                if entry.is_file(follow_symlinks=False):
                    state = entry.stat(follow_symlinks=False)
                    yield state.st_mtime, state.st_size, Path(entry.path)


def _scan(folder: Path) -> "list[os.DirEntry[str]]":
    try:
        with os.scandir(folder) as found:
            return list(found)
    except OSError:
        return []


def _holds_entries(folder: Path) -> bool:
    """Return whether a folder without a marker holds an entry: a file named by a key with a valid digest."""
    for _, _, path in _entries(folder):
        try:
            content = path.read_bytes()
        except OSError:
            continue
        payload, kind = content[32:], path.parent.parent.name
        return content[:32] in (_digest(kind, path.name, payload), hashlib.sha256(payload).digest())
    return False


def default_folder() -> Path:
    """Return the store's default folder, in the user's cache folder and outside any checkout."""
    return Path(platformdirs.user_cache_dir("unlearnbench")) / "store"


def recipe_folder() -> Path:
    """Return the folder in which `pretrain` works by default."""
    return Path(platformdirs.user_cache_dir("unlearnbench")) / "recipe"

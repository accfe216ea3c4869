"""Atomic writes: a scratch file with a unique name replaces the target once it is complete."""

import contextlib
import errno
import hashlib
import os
import platform
import re
import secrets
import shutil
import time
from collections.abc import Callable, Iterator
from functools import cache
from pathlib import Path
from typing import Any, TypeVar

from .errors import UserError

SCRATCH = re.compile(r"\.unlearnbench-(?P<host>[0-9a-f]{8})-(?P<pid>\d+)-[0-9a-f]{8}\.tmp")
"""Name of a scratch file or folder: a digest of the host, the process id there, a random part."""
STALE_SECONDS = 24 * 3600
"""Age from which a scratch file of another machine counts as left over."""
REASONS = {
    errno.ENOSPC: "the disk is full",
    errno.EDQUOT: "the disk quota is used up",
    errno.EROFS: "the disk is read-only",
    errno.EACCES: "no permission to write there",
    errno.EPERM: "no permission to write there",
    errno.ENOTDIR: "a part of this path is a file, not a folder",
    errno.EEXIST: "a part of this path is a file, not a folder",
    errno.EISDIR: "a folder has this name",
    errno.ENAMETOOLONG: "the name is too long for this disk",
    errno.ELOOP: "its links go round in a circle",
}
T = TypeVar("T")
_swept: set[Path] = set()


def write_file(path: Path, content: bytes | str, durable: bool = True) -> Path:
    """Replace a file by this content (text as UTF-8) and return its path; see `replace_file`."""
    data = content.encode("utf-8") if isinstance(content, str) else content
    return replace_file(path, lambda scratch: scratch.write_bytes(data), durable)


def replace_file(path: Path, write: Callable[[Path], Any], durable: bool = True) -> Path:
    """Replace a file by the one that `write` makes at the path that it is given; return `path`.

    A reader sees either the old file or the new one, complete, even if processes are killed or several write.
    With `durable`, the file and its folder's entry are on the disk on return. Missing folders are made.
    Raises UserError naming `path` where it cannot be written; then the old file stays and nothing else is
    left.
    """
    make_folder(path.parent)
    _sweep_once(path.parent)
    scratch = path.with_name(scratch_name())
    try:
        write(scratch)
        if durable:
            sync_file(scratch)
        os.replace(scratch, path)
        if durable:
            sync_folder(path.parent)
    except OSError as error:
        raise explain(path, error) from None
    finally:
        with contextlib.suppress(OSError):
            scratch.unlink(missing_ok=True)
    return path


def replace_folder(target: Path, write: Callable[[Path], T]) -> T:
    """Replace a folder by the contents that `write` puts into a new folder; return what `write` returns.

    The new folder is written next to the target and gets its name once it is complete and on the disk. The
    caller must have checked that an existing folder may be replaced. Raises UserError naming `target` where
    it cannot be written; then the existing folder stays.
    """
    make_folder(target.parent)
    remove_left_over(target.parent)
    scratch, old = target.with_name(scratch_name()), target.with_name(scratch_name())
    try:
        scratch.mkdir()
        written = write(scratch)
        for file in scratch.rglob("*"):
            if file.is_file():
                sync_file(file)
        if target.exists():
            target.rename(old)
        scratch.rename(target)
        sync_folder(target.parent)
    except OSError as error:
        raise explain(target, error) from None
    finally:
        if old.exists() and not target.exists():
            old.rename(target)
        for folder in (scratch, old):
            shutil.rmtree(folder, ignore_errors=True)
    return written


def check_new_folder(folder: Path) -> None:
    """Raise UserError, before any work, unless a folder can be made, or exists and is empty."""
    try:
        is_taken = folder.is_symlink() or (folder.exists() and (not folder.is_dir() or any(folder.iterdir())))
    except OSError as error:
        raise UserError(f"{folder}: cannot be made: {_reason(error)}") from None
    if is_taken:
        raise UserError(f"{folder}: there is something already; name a new folder")
    check_writable(folder.parent)
    if not folder.exists():
        try:
            folder.mkdir()
            folder.rmdir()
        except OSError as error:
            raise UserError(f"{folder}: cannot be made: {_reason(error)}") from None


def check_space(folder: Path, needed: int) -> None:
    """Raise UserError where the disk of a folder has less free space than `needed` bytes."""
    free = shutil.disk_usage(folder).free
    if free < needed:
        sizes = f"{free / 2**30:.1f} GiB are free on this disk, {needed / 2**30:.1f} are needed"
        raise UserError(f"{folder}: {sizes}")


def create_file(path: Path, content: bytes, mode: int = 0o644) -> None:
    """Write a file that must not exist yet; UserError naming it where it exists or cannot be written."""
    try:
        handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode)
        with os.fdopen(handle, "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
    except FileExistsError:
        raise UserError(f"{path}: is there already, and is not overwritten; name another file") from None
    except OSError as error:
        raise explain(path, error) from None


def make_folder(folder: Path) -> Path:
    """Make a folder and its parents, and return it; raises UserError naming it where it cannot be made."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UserError(f"{folder}: cannot be made: {_reason(error)}") from None
    return folder


def check_writable(folder: Path) -> None:
    """Make a folder; raise UserError naming it where no file can be written in it. Call before long work."""
    make_folder(folder)
    probe = folder / scratch_name()
    try:
        probe.write_bytes(b"\n")
    except OSError as error:
        raise explain(folder, error) from None
    finally:
        with contextlib.suppress(OSError):
            probe.unlink(missing_ok=True)


def explain(path: Path, error: OSError) -> UserError:
    """Return the one-line UserError that says why a file could not be written."""
    return UserError(f"{path}: cannot be written: {_reason(error)}")


def _reason(error: OSError) -> str:
    return REASONS.get(error.errno or 0) or error.strerror or str(error) or type(error).__name__


def scratch_name() -> str:
    """Return a new name for a scratch file or folder; no two processes of any machine get the same one."""
    return f".unlearnbench-{host_digest()}-{os.getpid()}-{secrets.token_hex(4)}.tmp"


@cache
def host_digest() -> str:
    """Return 8 hex digits of what process ids are unique in: a start of this machine, and of its containers
    this one. Two containers may have one name, and the same process ids."""
    parts = [platform.node()]
    with contextlib.suppress(OSError):
        parts.append(Path("/proc/sys/kernel/random/boot_id").read_text())
        parts.append(os.readlink("/proc/self/ns/pid"))
    return hashlib.sha256("\n".join(parts).encode()).hexdigest()[:8]


def process_ended(host: str, pid: int) -> bool | None:
    """Return whether a process of the host with this digest has ended; None where that cannot be known."""
    if host != host_digest():
        return None
    import psutil

    return not psutil.pid_exists(pid)


def find_left_over(folder: Path) -> Iterator[Path]:
    """Yield the scratch files and folders in a folder whose process has ended.

    For a process of another machine that is unknown; its files count when they are a day old.
    """
    try:
        entries = list(os.scandir(folder))
    except OSError:
        return
    for entry in entries:
        match = SCRATCH.fullmatch(entry.name)
        if match is None or entry.is_symlink():
            continue
        with contextlib.suppress(OSError):  # gone meanwhile
            ended = process_ended(match["host"], int(match["pid"]))
            if ended is None:
                ended = time.time() - entry.stat(follow_symlinks=False).st_mtime > STALE_SECONDS
            if ended:
                yield Path(entry.path)


def remove_left_over(folder: Path) -> None:
    """Remove the scratch files and folders that killed processes left in a folder."""
    for path in find_left_over(folder):
        if path.is_dir():
            shutil.rmtree(path, ignore_errors=True)
    sweep(folder)


def sweep(folder: Path) -> None:
    """Remove the scratch files that killed processes left in a folder."""
    for path in find_left_over(folder):
        with contextlib.suppress(OSError):
            if path.is_file():
                path.unlink()


def _sweep_once(folder: Path) -> None:
    if folder not in _swept:
        _swept.add(folder)
        sweep(folder)


def sync_file(path: Path) -> None:
    """Return once a file's content is on the disk."""
    with path.open("r+b") as file:
        os.fsync(file.fileno())


def sync_folder(folder: Path) -> None:
    """Return once a folder's names are on the disk; nothing where the system cannot open folders."""
    if os.name == "nt":
        return
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    except OSError as error:  # some network disks cannot
        if error.errno not in (errno.EINVAL, errno.ENOTSUP, errno.EROFS):
            raise
    finally:
        os.close(handle)

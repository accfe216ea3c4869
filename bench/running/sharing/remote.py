"""A store in a bucket: `s3://bucket/prefix`, or any other address that fsspec opens."""

import contextlib
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

from ...errors import UserError
from ...store import CLAIMS, Store, check_entry, default_folder, make_entry

TRIES = 7
"""Number of times that an operation is tried: with pauses of 0.25 to 16 s, half a minute."""
T = TypeVar("T")


def is_remote_store(place: Path | str | None) -> bool:
    """Return whether a store's place is an address, such as `s3://bucket/prefix`."""
    return isinstance(place, str) and "://" in place


def open_any_store(place: Path | str | None, say: Callable[[str], None]) -> Store:
    """Return the store at a folder or address; None: in the user's cache folder."""
    if is_remote_store(place):
        return RemoteStore(str(place), say)
    return Store(Path(place) if place else default_folder(), say)


class RemoteStore(Store):
    """A store whose entries are objects of a bucket.

    An object is written whole or not at all, and nothing is ever listed, so that listings may come late. What
    the server refuses for a while (503, a lost connection) is tried again.
    """

    def __init__(self, address: str, warn: Callable[[str], None] = print) -> None:
        import fsspec

        self.warn, self.complained, self.address = warn, False, address.rstrip("/")
        scheme = address.partition("://")[0]
        # neither what a listing said before nor an object of an earlier store may answer
        options: dict[str, Any] = {"skip_instance_cache": scheme != "memory", "use_listings_cache": False}
        try:
            self.files, self.root = fsspec.core.url_to_fs(self.address, **options)
        except (ImportError, ValueError) as error:
            raise UserError(f"--store {address}: {error}") from None
        self.folder = Path(self.root)

    def name(self, kind: str, key: str) -> str:
        """Return the name of an object."""
        return f"{self.root}/{kind}/{key[:2]}/{key}"

    def has(self, kind: str, key: str) -> bool:
        return bool(self._try(lambda: self.files.exists(self.name(kind, key))))

    def get(self, kind: str, key: str) -> bytes | None:
        """Return an entry, or None where there is none; a corrupt one is reported, removed and None."""
        name = self.name(kind, key)
        content = self._read(name)
        if content is None:
            return None
        payload = check_entry(kind, key, content)
        if payload is None:
            self.warn(f"store: {self.address}: {name} is corrupt (digest differs); it is made again")
            self._remove(name)
        return payload

    def put(self, kind: str, key: str, payload: bytes) -> None:
        self._try(lambda: self.files.pipe_file(self.name(kind, key), make_entry(kind, key, payload)))

    def check_writable(self) -> None:
        """Do nothing: a bucket refuses the first entry, and says why."""

    def claim(self, name: str, content: bytes) -> bool:
        path = self.name(CLAIMS, name)
        if self._try(lambda: self.files.exists(path)):
            return False

        def create() -> bool:
            try:
                self.files.pipe_file(path, content, mode="create")
            except FileExistsError:
                return False
            return True

        return self._try(create)

    def read_claim(self, name: str) -> bytes | None:
        return self._read(self.name(CLAIMS, name))

    def replace_claim(self, name: str, content: bytes) -> None:
        with contextlib.suppress(UserError):
            self._try(lambda: self.files.pipe_file(self.name(CLAIMS, name), content))

    def drop_claim(self, name: str) -> None:
        with contextlib.suppress(UserError):
            self._remove(self.name(CLAIMS, name))

    def prune(self, limit: int = 0) -> int:
        raise UserError(
            f"--store {self.address}: the rules of a bucket remove its old objects, not this command"
        )

    def _read(self, name: str) -> bytes | None:
        def read() -> bytes | None:
            try:
                return bytes(self.files.cat_file(name))
            except FileNotFoundError:
                return None

        return self._try(read)

    def _remove(self, name: str) -> None:
        def remove() -> None:
            with contextlib.suppress(FileNotFoundError):
                self.files.rm_file(name)

        self._try(remove)

    def _try(self, do: Callable[[], T]) -> T:
        """Return what `do` returns; UserError where it fails again and again."""
        for number in range(TRIES):
            try:
                return do()
            except Exception as error:  # each protocol has its own
                if number == TRIES - 1 or isinstance(error, PermissionError):
                    said = " ".join(str(error).split()) or type(error).__name__
                    raise UserError(f"--store {self.address}: {said}") from None
                time.sleep(0.25 * 2**number)
        raise AssertionError

"""Finds weights on this machine: in a user's folder, or in the hub's cache. Nothing is downloaded."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ..errors import UserError


@dataclass(frozen=True)
class Source:
    """Something that a task needs and this project does not ship.

    where: a local folder, or a hub id `owner/name` (`hub`: whether it can be one). licence: "" = unknown.
    how: the remedy where it comes neither from the hub nor from a place that this project names. check:
    raises UserError where the files at its place are incomplete.
    """

    what: str
    where: str
    licence: str = ""
    hub: bool = True
    how: str = field(default="", kw_only=True)
    check: Callable[[Path], Any] | None = field(default=None, kw_only=True, compare=False, repr=False)

    @property
    def folder(self) -> Path | None:
        """The place on this machine, None where it is not here."""
        if self.hub:
            return locate(self.where)
        return Path(self.where) if Path(self.where).exists() else None

    @property
    def fault(self) -> str:
        """Why the files here cannot be used, in a line; "" where they can, or where there are none."""
        place = self.folder
        if place is None or self.check is None:
            return ""
        try:
            self.check(place)
        except UserError as error:
            return str(error)
        return ""

    @property
    def remedy(self) -> str:
        """How to get it."""
        if self.hub and is_hub_id(self.where):
            return f"fetch it with: hf download {self.where}"
        if self.how:
            return self.how
        return f"put it at {self.where}"


def check_sources(sources: Iterable[Source]) -> None:
    """Raise UserError where a source is here but incomplete; a missing one is reported when it is opened."""
    for source in sources:
        if source.fault:
            raise UserError(f"{source.what}: {source.fault}")


def is_hub_id(where: str) -> bool:
    """Return whether a name can be a hub id: `owner/name`, and no folder here."""
    return where.count("/") == 1 and not where.startswith((".", "/", "~")) and not Path(where).exists()


def locate(where: str) -> Path | None:
    """Return the local folder (or file) of a source, None where it is not on this machine.

    A hub id is looked up in the hub's cache (HF_HOME); its newest complete snapshot is used.
    """
    if Path(where).exists():
        return Path(where)
    if not is_hub_id(where):
        return None
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import HfHubHTTPError, HFValidationError, LocalEntryNotFoundError

    try:
        return Path(snapshot_download(where, local_files_only=True))
    except (LocalEntryNotFoundError, HFValidationError, HfHubHTTPError, OSError):
        return None


def find(where: str) -> Path:
    """Return the local folder of a source; raises UserError with the remedy where it is missing."""
    found = locate(where)
    if found is None:
        if is_hub_id(where):
            raise UserError(f"{where}: not on this machine; fetch it with: hf download {where}")
        raise UserError(f"{where}: no such folder")
    return found

"""Names of models, methods and points: as a board shows them, and as parts of file names."""

import hashlib
import os
import re
import unicodedata
from pathlib import Path

from .errors import UserError

INLINE = "<inline>"
"""First character of the name of a function that was passed as an object; no module can have such a name."""
LONGEST = 60
"""Most characters of a name in a file name."""
PLAIN = re.compile(r"[a-z0-9_]([a-z0-9._-]*[a-z0-9_])?")
NAME = re.compile(r"[\w][\w .,'+()@:=/-]{0,199}")
"""Allowed characters of a name: letters, digits and signs that mean nothing in HTML."""
PATH = re.compile(r"(^|[\\/])\.\.([\\/]|$)|^[\\/~]|^[A-Za-z]:[\\/]|^file:")
"""Paths that lead out of a folder: `..` as a part, or a path from a root, a home folder or a drive."""
MARKUP = re.compile(r"<\s*[/!a-zA-Z]|javascript:", re.IGNORECASE)


def file_part(name: str) -> str:
    """Return a name as a part of file names: plain characters, plus a digest if they are not all of it.

    No two names give the same part, even on a disk that ignores case.
    """
    if PLAIN.fullmatch(name) and ".." not in name and len(name) <= LONGEST:
        return name
    plain = unicodedata.normalize("NFKD", name).encode("ascii", "ignore").decode()
    plain = re.sub(r"[^A-Za-z0-9_]+", "-", plain).strip("-")[:LONGEST]
    return f"{plain or 'model'}-{hashlib.sha256(name.encode('utf-8', 'surrogatepass')).hexdigest()[:8]}"


def task_part(task: str) -> str:
    """Return a task's name as a part of file names, which hold no `/`, `@` or `+`."""
    return task.translate({ord("/"): "-", ord("@"): "-", ord("+"): "_"})


def name_model(model: str) -> str:
    """Return the name of a model without its location: its last folder, file stem, or module.function.

    A name that no record may hold (too long, unusual characters) becomes a plain one with a digest.
    """
    # `.` and `..` get a name by making them absolute; links keep the name that was given
    path = Path(os.path.abspath(model)) if Path(model).exists() else Path(model)
    name = path.stem if model.endswith(".safetensors") else path.name
    name = unicodedata.normalize("NFC", name.replace(":", "."))
    same = name == (path.stem if model.endswith(".safetensors") else path.name).replace(":", ".")
    if same and len(name) <= LONGEST and find_problems_in_name(name) is None:
        return name
    return file_part(path.name or "model")


def check_name(option: str, name: str) -> str:
    """Return a name from the user in one Unicode form; raises UserError where no record may hold it."""
    name = unicodedata.normalize("NFC", name).strip()
    if not name:
        raise UserError(f"{option}: is empty; give letters or digits")
    if complaint := find_problems_in_name(name):
        raise UserError(f"{option}: {complaint}")
    return name


def find_problems_in_name(text: str) -> str | None:
    """Return the problem with a name (of a method, task, point, column, ...), None where there is none."""
    if MARKUP.search(text):
        return f"{ascii(text)[:60]} holds markup or script; a name is plain words"
    if find_problems_in_path(text):
        return find_problems_in_path(text)
    if not NAME.fullmatch(text):
        return f"{ascii(text)[:60]} is no name; letters, digits, spaces and . , ' + ( ) @ : = / - make one"
    return None


def find_problems_in_path(text: str) -> str | None:
    """Return the problem with a text that could be taken for a path, None where there is none."""
    if PATH.search(text):
        return f"{ascii(text)[:60]} is a path out of its folder; name things without their place"
    return None

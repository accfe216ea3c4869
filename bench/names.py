"""Names of somebody's models: as a board shows them, and as a part of file names."""

import hashlib
import os
import re
import unicodedata
from pathlib import Path

from .errors import UserError

INLINE = "<inline>"
"""What the name of a function begins with that was given as it is: no module can be called so."""
LONGEST = 60
"""Most letters of a name in a file name."""
PLAIN = re.compile(r"[a-z0-9_]([a-z0-9._-]*[a-z0-9_])?")
NAME = re.compile(r"[\w][\w .,'+()@:=/-]{0,199}")
"""What a name may be made of: letters, digits and signs that mean nothing in HTML."""
PATH = re.compile(r"(^|[\\/])\.\.([\\/]|$)|^[\\/~]|^[A-Za-z]:[\\/]|^file:")
"""What is a path out of its folder: `..` as a part, or one that starts at a root, a home or a drive."""
MARKUP = re.compile(r"<\s*[/!a-zA-Z]|javascript:", re.IGNORECASE)


def file_part(name: str) -> str:
    """Return a name as a part of file names: plain letters, and a digest where they are not the whole name.

    No two names give the same part, not where a disk takes upper for lower case either.
    """
    if PLAIN.fullmatch(name) and ".." not in name and len(name) <= LONGEST:
        return name
    plain = unicodedata.normalize("NFKD", name).encode("ascii", "ignore").decode()
    plain = re.sub(r"[^A-Za-z0-9_]+", "-", plain).strip("-")[:LONGEST]
    return f"{plain or 'model'}-{hashlib.sha256(name.encode('utf-8', 'surrogatepass')).hexdigest()[:8]}"


def name_model(model: str) -> str:
    """Return the name of a model without its place: its last folder, file stem, or module.function.

    A name that no record may hold (too long, unusual signs) becomes a plain one with a digest.
    """
    # `.` and `..` have a name only once they are spelt out; links keep the name that was given
    path = Path(os.path.abspath(model)) if Path(model).exists() else Path(model)
    name = path.stem if model.endswith(".safetensors") else path.name
    name = unicodedata.normalize("NFC", name.replace(":", "."))
    same = name == (path.stem if model.endswith(".safetensors") else path.name).replace(":", ".")
    if same and len(name) <= LONGEST and find_problems_in_name(name) is None:
        return name
    return file_part(path.name or "model")


def check_name(option: str, name: str) -> str:
    """Return a name that somebody gave, in one Unicode form; raises UserError where no record may hold it."""
    name = unicodedata.normalize("NFC", name).strip()
    if not name:
        raise UserError(f"{option}: is empty; give letters or digits")
    if complaint := find_problems_in_name(name):
        raise UserError(f"{option}: {complaint}")
    return name


def find_problems_in_name(text: str) -> str | None:
    """Return what is wrong with a name (of a method, task, point, column, ...), None where nothing is."""
    if MARKUP.search(text):
        return f"{ascii(text)[:60]} holds markup or script; a name is plain words"
    if find_problems_in_path(text):
        return find_problems_in_path(text)
    if not NAME.fullmatch(text):
        return f"{ascii(text)[:60]} is no name; letters, digits, spaces and . , ' + ( ) @ : = / - make one"
    return None


def find_problems_in_path(text: str) -> str | None:
    """Return what is wrong with a text that could be taken for a path, None where nothing is."""
    if PATH.search(text):
        return f"{ascii(text)[:60]} is a path out of its folder; name things without their place"
    return None

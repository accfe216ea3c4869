"""The digest that a record holds of its own content, and its check."""

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ..errors import UserError

SEAL = "content_sha256"
SHEET = "webp"
"""Name of the contact sheet in a record's `files`: its suffix."""
MENDED = "restore it, or delete it and run the command that made it again"


def sha256(content: bytes) -> str:
    """Return the sha256 in hex."""
    return hashlib.sha256(content).hexdigest()


def content_digest(content: Mapping[str, Any]) -> str:
    """Return the digest of a record's JSON object: of all fields but the digest itself, in canonical form."""
    rest = {name: value for name, value in content.items() if name != SEAL}
    return sha256(json.dumps(rest, sort_keys=True, separators=(",", ":")).encode())


def check_content(path: Path, text: str) -> None:
    """Raise UserError where a record's text does not match its own digest, if it has one."""
    content = json.loads(text)
    if content.get(SEAL) and content[SEAL] != content_digest(content):
        raise UserError(f"{path}: {SEAL}: the file was changed since it was written; {MENDED}")

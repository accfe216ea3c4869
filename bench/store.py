"""A content-addressed store: entries are written atomically, checked by digest, and remade when corrupt."""

import hashlib
import json
import os
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import platformdirs

from .errors import UserError

DEFAULT_LIMIT = 20 * 2**30
"""Bytes that a store may take before its least recently used entries go."""


def content_key(fields: Mapping[str, Any]) -> str:
    """Return the sha256 of canonical JSON: the same fields give the same key on every machine."""
    text = json.dumps(fields, sort_keys=True, separators=(",", ":"), allow_nan=False, ensure_ascii=True)
    return hashlib.sha256(text.encode()).hexdigest()


class Store:
    """Bytes by (kind, key) under one folder; each file is the sha256 of its payload, then the payload."""

    def __init__(self, folder: Path, warn: Callable[[str], None] = print) -> None:
        self.folder, self.warn = folder, warn
        try:
            folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise UserError(f"--store {folder}: cannot be made: {error.strerror}") from None

    def path(self, kind: str, key: str) -> Path:
        return self.folder / kind / key[:2] / key

    def has(self, kind: str, key: str) -> bool:
        return self.path(kind, key).exists()

    def get(self, kind: str, key: str) -> bytes | None:
        """Return an entry, or None where there is none; a corrupt one is reported, dropped and None."""
        path = self.path(kind, key)
        try:
            content = path.read_bytes()
        except FileNotFoundError:
            return None
        digest, payload = content[:32], content[32:]
        if hashlib.sha256(payload).digest() != digest:
            self.warn(f"store: {path} is corrupt (digest differs); it is made again")
            path.unlink(missing_ok=True)
            return None
        os.utime(path)
        return payload

    def put(self, kind: str, key: str, payload: bytes) -> None:
        path = self.path(kind, key)
        path.parent.mkdir(parents=True, exist_ok=True)
        scratch = path.with_name(f"{key}.{os.getpid()}.tmp")
        scratch.write_bytes(hashlib.sha256(payload).digest() + payload)
        scratch.replace(path)

    def prune(self, limit: int = DEFAULT_LIMIT) -> int:
        """Drop least recently used entries until the store fits the limit; return the bytes dropped."""
        entries = []
        for path in self.folder.rglob("*"):
            if path.is_file():
                stat = path.stat()
                entries.append((stat.st_mtime, stat.st_size, path))
        excess = sum(size for _, size, _ in entries) - limit
        dropped = 0
        for _, size, path in sorted(entries):
            if dropped >= excess:
                break
            path.unlink(missing_ok=True)
            dropped += size
        return dropped


def default_folder() -> Path:
    """Return the store's place in the user's cache folder, outside any checkout."""
    return Path(platformdirs.user_cache_dir("unlearnbench")) / "store"

"""A person's answers, appended to a file line by line, so that a killed process loses none."""

import json
import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from ..errors import UserError

REPLIES = ("yes", "no", "unsure")
PERSON: Final = "person"
SCRIPT: Final = "script"


@dataclass
class AnswerLog:
    """Answers to images 0, 1, ..., total - 1, in that order. header: what they are about, the first line.

    Each answer says who gave it, `person` or `script`; an answer that is undone still counts for `scripted`.
    """

    path: Path
    header: Mapping[str, Any]
    total: int
    replies: list[str] = field(default_factory=list)
    scripted: bool = False

    @property
    def next(self) -> int | None:
        """Number of the image to be answered next, None after the last."""
        return len(self.replies) if len(self.replies) < self.total else None

    def answer(self, image: int, reply: str, by: str) -> None:
        """Add an answer; raises ValueError where it is not about the next image."""
        if image != self.next or reply not in REPLIES:
            raise ValueError(f"image {image}, {reply!r}: asked about is {self.next}, with {REPLIES}")
        self._append({"image": image, "reply": reply, "by": by})
        self._take(reply, by)

    def undo(self) -> None:
        """Remove the last answer, if there is one."""
        if self.replies:
            self._append({"undo": len(self.replies) - 1})
            self.replies.pop()

    def _take(self, reply: str, by: str) -> None:
        self.replies.append(reply)
        self.scripted = self.scripted or by != PERSON

    def _append(self, entry: Mapping[str, Any]) -> None:
        """Append one line in one write, and flush it to the disk before the next image is shown."""
        handle = os.open(self.path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o644)
        try:
            os.write(handle, (json.dumps(entry, sort_keys=True) + "\n").encode())
            os.fsync(handle)
        finally:
            os.close(handle)


def open_log(path: Path, header: Mapping[str, Any], total: int) -> AnswerLog:
    """Start or continue a file of answers; an incomplete last line is dropped.

    Raises UserError where the file's answers are about other images, or are none.
    """
    log = AnswerLog(path, header, total)
    try:
        content = path.read_bytes()
    except FileNotFoundError:
        content = b""
    whole = content[: content.rfind(b"\n") + 1]
    if len(whole) < len(content):
        os.truncate(path, len(whole))
    lines = whole.decode("utf-8", errors="replace").splitlines()
    if not lines:
        path.parent.mkdir(parents=True, exist_ok=True)
        log._append(header)
        return log
    if _parse(path, 1, lines[0]) != dict(header):
        raise UserError(
            f"{path}: holds answers about other images (the store or the records have changed since); "
            "give another --out, or move it away"
        )
    for number, line in enumerate(lines[1:], start=2):
        _replay(log, _parse(path, number, line), number)
    return log


def _replay(log: AnswerLog, entry: Mapping[str, Any], number: int) -> None:
    count = len(log.replies)
    if entry.get("undo") == count - 1 and count:
        log.replies.pop()
    elif entry.get("image") == count < log.total and entry.get("reply") in REPLIES:
        log._take(str(entry["reply"]), str(entry.get("by", SCRIPT)))
    else:
        raise UserError(f"{log.path}: line {number}: no answer to image {count}")


def _parse(path: Path, number: int, line: str) -> dict[str, Any]:
    try:
        entry = json.loads(line)
    except ValueError:
        entry = None
    if not isinstance(entry, dict):
        raise UserError(f"{path}: line {number}: not a JSON object")
    return entry

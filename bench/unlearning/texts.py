"""Text files that a user supplies: read whole, as UTF-8, and split only at line ends."""

import re
from pathlib import Path

from ..errors import UserError

LINE_END = re.compile(r"\r\n|\n|\r")
"""Line ends. U+2028, U+0085 and form feeds are none: scraped prompts hold them."""


def read_text(path: Path) -> str:
    """Return the text of a file without a byte order mark; raises UserError naming file and line.

    A file that is not UTF-8, and one with NUL characters (UTF-16 without a mark, or no text), is refused.
    """
    try:
        content = path.read_bytes()
    except OSError as error:
        raise UserError(f"{path}: cannot be read: {error.strerror}") from None
    if content.startswith((b"\xff\xfe", b"\xfe\xff")):
        raise UserError(f"{path}: is UTF-16; save it as UTF-8")
    try:
        text = content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = len(LINE_END.split(content[: error.start].decode("utf-8", errors="replace")))
        raise UserError(f"{path}: line {line}: is not UTF-8; save the file as UTF-8") from None
    if "\0" in text:
        line = len(LINE_END.split(text[: text.index("\0")]))
        raise UserError(f"{path}: line {line}: holds a NUL character; save the file as UTF-8 text")
    return text


def read_lines(path: Path) -> list[str]:
    """Return the lines of a text file, line ends and byte order mark left out; UserError as `read_text`."""
    return LINE_END.split(read_text(path))

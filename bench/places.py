"""Removes the locations of one machine from published texts: paths, the home folder, the machine's name."""

import os
import platform
import re
import shlex
import unicodedata
from collections.abc import Sequence
from pathlib import Path, PureWindowsPath
from urllib.parse import unquote, urlsplit

ROOTED = re.compile(r"^(?:/|\\|[A-Za-z]:[\\/]|~[^/]|file:/)", re.IGNORECASE)
"""Start of a word that names a place on a machine; `~/` does not, since everybody has a home folder."""
START = r"(?<![\w.~/\\:-])"
"""Text before a path; with it, `and/or`, `1/2`, `https://` and `~/x` hold no path."""
IN_QUOTES = re.compile(
    r"(?P<q>['\"`])(?P<path>(?:file:/|/|~[^/'\"]|[A-Za-z]:[\\/]|\\\\)[^'\"`\n]*)(?P=q)", re.IGNORECASE
)
IN_TEXT = re.compile(
    rf"file:/[^\s'\"`,;)\]>]+|{START}[A-Za-z]:[\\/][^\s'\"`,;:)\]>]*|{START}\\\\[^\s'\"`,;:)\]>]+"
    rf"|{START}/[^\s'\"`,;:)\]>/]+(?:/[^\s'\"`,;:)\]>]*)?",
    re.IGNORECASE,
)
MOST_ERROR = 2000
"""Most characters of an error that a record keeps."""


def quote_places(arguments: Sequence[str]) -> list[str]:
    """Return arguments as a shell reads them, each path without its location.

    A path in the current folder becomes relative; one in the home folder starts with `~/`; of any other
    absolute path only the last part is left.
    """
    quoted = []
    for argument in arguments:
        option, sign, value = argument.partition("=")
        if sign and not ROOTED.match(argument) and ROOTED.match(value):
            quoted.append(f"{shlex.quote(option)}={_quote(hide_place(value))}")
        else:
            quoted.append(_quote(hide_place(argument)))
    return quoted


def _quote(word: str) -> str:
    return "~/" + shlex.quote(word[2:]) if word.startswith("~/") else shlex.quote(word)


def hide_place(path: str) -> str:
    """Return a path without its location, and any other word as it is."""
    if not ROOTED.match(path):
        return path
    if path.lower().startswith("file:"):
        path = unquote(urlsplit(path).path) or path[5:]
        path = path[1:] if re.match(r"/[A-Za-z]:", path) else path
    if path.startswith("/"):
        for folder, short in ((os.getcwd(), ""), (str(Path.home()), "~/")):
            if folder != "/" and (path == folder or path.startswith(folder + os.sep)):
                return short + path[len(folder) + 1 :] or "."
        return path.rstrip("/").rpartition("/")[2] or "."
    if path.startswith("~"):
        return path.rstrip("/").rpartition("/")[2].lstrip("~") or "."
    return PureWindowsPath(path).name or "."


def clean_error(text: str) -> str:
    """Return an error's text as a record may hold it: no locations, no control characters, not too long."""
    text = "".join(c for c in text if c in "\n\t" or unicodedata.category(c) not in ("Cc", "Cf", "Cs", "Co"))
    text = IN_QUOTES.sub(lambda found: found["q"] + hide_place(found["path"]) + found["q"], text)
    text = IN_TEXT.sub(lambda found: hide_place(found[0]), text)
    host = platform.node()
    if len(host) > 3:
        text = re.sub(rf"(?<!\w){re.escape(host)}(?!\w)", "HOST", text)
    return text if len(text) <= MOST_ERROR else text[: MOST_ERROR - 3] + "..."


def find_problems_in_places(text: str) -> str | None:
    """Return the location on a machine that a record's command or error names; None where it names none."""
    try:
        words = shlex.split(text)
    except ValueError:  # no command, but what an error said
        words = text.split()
    values = [part for word in words for part in (word, word.partition("=")[2])]
    found = next((value for value in values if value and ROOTED.match(value) and value != "/"), None)
    found = found or next((match[0] for match in IN_TEXT.finditer(text)), None)
    return None if found is None else f"{ascii(found)[:60]} names a place on a machine; records are published"

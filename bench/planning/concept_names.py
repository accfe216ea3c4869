"""Names of concepts: when two names are the same, and where a text holds one."""

import re
import unicodedata
from functools import lru_cache

WIDE = ("CJK", "HIRAGANA", "KATAKANA", "HANGUL", "THAI", "LAO", "KHMER", "MYANMAR")
"""Prefixes of the Unicode names of letters in scripts that have no spaces between words."""


def name_key(name: str) -> str:
    """Return a key that is equal for two spellings of one name.

    It ignores composition of letters, case, numbers of spaces, and dots at the end: where a name ends a
    sentence, nobody can tell whether the dot is its own.
    """
    folded = unicodedata.normalize("NFC", unicodedata.normalize("NFC", name).casefold())
    return " ".join(folded.split()).rstrip(".") or folded


def normalise(text: str) -> str:
    """Return a text with composed letters (NFC), as `name_pattern` expects it."""
    return unicodedata.normalize("NFC", text)


@lru_cache(maxsize=1024)
def name_pattern(name: str, before: str = "") -> re.Pattern[str]:
    """Return a pattern that finds a name as whole words in a text of composed letters, whatever its case.

    before: an expression that stands before the name. Names that begin or end with no letter (`C++`, `Jr.`)
    have a boundary, too. Letters of scripts without spaces between words have none.
    """
    words = [re.escape(word) for word in normalise(name).split()]
    if not words:
        raise ValueError("a name has at least one letter")
    plain = normalise(name).strip()
    first = "" if _is_wide(plain[0]) else r"(?<!\w)"
    last = "" if _is_wide(plain[-1]) else r"(?![\w\u0300-\u036f])"
    spaced = r"\s+".join(words)
    return re.compile(f"(?i){first}{before}{spaced}{last}")


def holds_name(text: str, name: str) -> bool:
    """Return whether a text holds a name as whole words."""
    return name_pattern(name).search(normalise(text)) is not None


def _is_wide(letter: str) -> bool:
    return unicodedata.name(letter, "").startswith(WIDE)

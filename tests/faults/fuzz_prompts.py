"""Damaged files of prompts: text, one prompt a line, and the CSV of a published protocol."""

import csv
import io
import random
from pathlib import Path
from typing import Any

try:
    from .fuzz_call import WrongError, check_untouched, guarded, snapshot
    from .fuzz_damage import damage_bytes
    from .fuzz_kinds import State, need
    from .fuzz_world import World
except ImportError:  # run as a script
    from fuzz_call import WrongError, check_untouched, guarded, snapshot
    from fuzz_damage import damage_bytes
    from fuzz_kinds import State, need
    from fuzz_world import World


PROMPTS = ("a cat face on a red background", "ein Bär, grün", "a photo of a cat face", "twice, é", "x")
NAMES = ("Adam Driver", "Amy Adams", "Anna Faris")


def prompts(world: World, folder: Path, rng: random.Random, told: list[str]) -> State:
    """Read a damaged file of prompts."""
    from unlearnbench.bench.unlearning.writing import read_prompts

    path = folder / "prompts.txt"
    text = "\n".join(PROMPTS) + "\n"
    path.write_text(text, encoding="utf-8", newline="")
    whole = PROMPTS
    ways = {
        "BOM": (text.encode("utf-8-sig"), "same"),
        "CRLF": (text.replace("\n", "\r\n").encode(), "same"),
        "blank lines": (text.replace("\n", "\n\n  \n").encode(), "same"),
        "no last line end": (text.rstrip("\n").encode(), "same"),
        "UTF-16": (text.encode("utf-16"), "same or refused"),
        "UTF-16 without BOM": (text.encode("utf-16-le"), "same or refused"),
        "latin-1": (text.encode("latin-1"), "refused"),
        "U+2028": (text.replace("cat face", "cat\u2028face").encode(), "same or refused"),
        "U+0085": (text.replace("cat face", "cat\u0085face").encode(), "same or refused"),
        "form feed": (text.replace("cat face", "cat\fface").encode(), "same or refused"),
        "BOM and CRLF": (text.replace("\n", "\r\n").encode("utf-8-sig"), "same"),
        "empty": (b"\n \n", "refused"),
        "NUL": (text.replace("cat", "c\0at").encode(), "refused"),
        "bytes": (text.encode(), "any"),
    }
    how = rng.choice(list(ways))
    data, required = ways[how]
    path.write_bytes(data)
    told.append(how if how != "bytes" else f"bytes {damage_bytes(path, rng)}")
    # a kept separator within a prompt, or a space in its place, is the same prompt
    return _read(path, required, whole, lambda: tuple(" ".join(p.split()) for p in read_prompts(path)))


def tables(world: World, folder: Path, rng: random.Random, told: list[str]) -> State:
    """Read a damaged CSV of prompts."""
    path = folder / "celebrities.csv"
    rows = [["type", "prompt", "evaluation_seed"]]
    rows += [["erased" if i % 2 else "others", f"A portrait of {NAMES[i % 3]}", str(7 * i)] for i in range(6)]
    path.write_text(_to_csv(rows), encoding="utf-8", newline="")
    whole = _rows(path)
    data, how, required = _damage_table(rows, rng)
    path.write_bytes(data)
    told.append(how if how != "bytes" else f"bytes {damage_bytes(path, rng)}")
    return _read(path, required, whole, lambda: _rows(path))


def _rows(path: Path) -> list[Any]:
    from unlearnbench.bench.worlds.hub.protocols import read_protocol

    found = guarded(lambda: read_protocol("five-template", path))
    return [(row.prompt, row.seed, row.name, row.erased) for row in found]


def _read(path: Path, required: str, whole: Any, read: Any) -> State:
    before = snapshot(path.parent)
    found = guarded(read)
    check_untouched(before, path.parent)
    if "same" in required and found != whole:
        raise WrongError("BAD number", f"other prompts: {str(found)[:200]}")
    return need(required, ("right", "equal prompts" if found == whole else "other prompts"))


def _to_csv(rows: list[list[str]], delimiter: str = ",", ending: str = "\n") -> str:
    file = io.StringIO()
    csv.writer(file, delimiter=delimiter, lineterminator=ending).writerows(rows)
    return file.getvalue()


def _damage_table(rows: list[list[str]], rng: random.Random) -> tuple[bytes, str, str]:
    """Return a CSV's bytes, what was done, and what must follow."""
    text, at = _to_csv(rows), rng.randrange(1, len(rows))
    turned = [[row[i] for i in (2, 0, 1)] for row in rows]
    numbered = [[str(i - 1) if i else "", *row] for i, row in enumerate(rows)]
    wider = [[*row, "note" if i == 0 else "x"] for i, row in enumerate(rows)]

    def with_cell(column: int, value: str, row: int = at) -> bytes:
        changed = [list(r) for r in rows]
        changed[row][column] = value
        return _to_csv(changed).encode()

    ways = {
        "BOM": (text.encode("utf-8-sig"), "same"),
        "CRLF": (_to_csv(rows, ending="\r\n").encode(), "same"),
        "columns turned": (_to_csv(turned).encode(), "same"),
        "index column": (_to_csv(numbered).encode(), "same"),
        "more columns": (_to_csv(wider).encode(), "same"),
        "semicolons": (_to_csv(rows, ";").encode(), "same or refused"),
        "UTF-16": (text.encode("utf-16"), "same or refused"),
        "renamed column": (with_cell(1, "promt", 0), "refused"),
        "column twice": (with_cell(1, "evaluation_seed", 0), "refused"),
        "short row": ((text + "erased,A portrait of Amy Adams\n").encode(), "refused"),
        "long row": ((text + "erased,A portrait of Amy Adams,1,2\n").encode(), "refused"),
        "bytes": (text.encode(), "any"),
    }
    # what Python reads as a whole number is one, however it is written
    for seed in ("", "1e3", "٣٤", "1_000"):
        ways[f"seed {seed}"] = (with_cell(2, seed), "any")
    for seed in (str(2**64), "-1", "1.5", "nan", "inf", "0x10", "9" * 5000):
        ways[f"seed {seed[:20]}"] = (with_cell(2, seed), "refused")
    ways["empty prompt"] = (with_cell(1, ""), "refused")
    ways["NUL"] = (with_cell(1, "A portrait of Amy\0 Adams"), "refused")
    ways["unknown type"] = (with_cell(0, "erasd"), "refused")
    how = rng.choice(list(ways))
    return ways[how][0], how, ways[how][1]

"""Random damage to bytes, JSON, TOML and tensors. Each function names what it did."""

import copy
import json
import math
import random
from collections.abc import Iterator
from pathlib import Path
from typing import Any

Damage = tuple[str, str]
"""What was done, and what must follow: `whole` (right, for nothing was damaged), `same` (right or refused),
`refused`, `finite` (values that are not finite are never a number), or `any` (right, refused or missing)."""
ODD: list[Any] = [
    None,
    True,
    -1,
    0,
    1e308,
    math.nan,
    math.inf,
    "",
    "x",
    [],
    {},
    [1, 2],
    {"a": 1},
    "\u2028\0",
    2**70,
]


def flip(data: bytes, rng: random.Random, count: int = 1) -> bytes:
    """Return bytes with one bit of `count` of them turned over."""
    changed = bytearray(data)
    for _ in range(count if data else 0):
        changed[rng.randrange(len(changed))] ^= 1 << rng.randrange(8)
    return bytes(changed)


def damage_bytes(path: Path, rng: random.Random) -> str:
    """Flip bits of a file, cut it, empty it, repeat it, or fill it with something else."""
    data, how = path.read_bytes(), rng.choice(("flip", "flips", "cut", "empty", "longer", "noise", "zeros"))
    size = len(data)
    changed = {
        "flip": lambda: flip(data, rng),
        "flips": lambda: flip(data, rng, 20),
        "cut": lambda: data[: rng.randrange(size)] if size else b"",
        "empty": lambda: b"",
        "longer": lambda: data + rng.randbytes(rng.randrange(1, 100)),
        "noise": lambda: rng.randbytes(rng.randrange(1, 2000)),
        "zeros": lambda: bytes(size),
    }[how]()
    path.write_bytes(changed)
    return how


def leaves(tree: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[tuple[Any, ...], Any]]:
    """Yield the path and value of everything in a tree of JSON that holds nothing else."""
    if isinstance(tree, dict | list) and tree:
        items = tree.items() if isinstance(tree, dict) else enumerate(tree)
        for key, value in items:
            yield from leaves(value, (*path, key))
    else:
        yield path, tree


def parent_of(tree: Any, path: tuple[Any, ...]) -> Any:
    """Return the dict or list that holds the last key of a path."""
    for key in path[:-1]:
        tree = tree[key]
    return tree


def damage_tree(tree: Any, rng: random.Random) -> tuple[Any, str, tuple[Any, ...]]:
    """Return a changed copy of a JSON tree, what was done, and the path."""
    changed = copy.deepcopy(tree)
    places = [path for path, _ in leaves(changed) if path]
    if not places:
        return rng.choice(ODD), "replaced", ()
    path = rng.choice(places)
    if rng.random() < 0.2 and len(path) > 1:
        path = path[: rng.randrange(1, len(path))]
    holder, key = parent_of(changed, path), path[-1]
    how = rng.choice(("digit", "digit", "odd", "delete", "add", "negative"))
    value = holder[key]
    if how == "digit" and isinstance(value, float | int) and not isinstance(value, bool):
        holder[key] = _change_digit(value, rng)
    elif how == "digit" and isinstance(value, str) and value:
        at = rng.randrange(len(value))
        holder[key] = value[:at] + rng.choice("0123456789abcxyz/.\n") + value[at + 1 :]
    elif how == "negative" and isinstance(value, float | int):
        holder[key] = -value - 1
    elif how == "delete":
        del holder[key]
    elif how == "add" and isinstance(holder, dict):
        holder[rng.choice(("extra", "valeu", "Ünknown"))] = rng.choice(ODD)
    else:
        how, holder[key] = "odd", rng.choice(ODD)
    return changed, f"{how} {'.'.join(str(part) for part in path)}", path


def _change_digit(value: float, rng: random.Random) -> float:
    text = list(repr(value))
    at = rng.choice([i for i, sign in enumerate(text) if sign.isdigit()] or [0])
    text[at] = rng.choice([d for d in "123456789" if d != text[at]])
    try:
        return type(value)("".join(text))
    except ValueError:
        return value + 1


def differing(first: Any, second: Any) -> list[tuple[Any, ...]]:
    """Return the paths at which two JSON trees differ."""
    one, two = (dict(leaves(tree)) for tree in (first, second))
    return [path for path in {**one, **two} if repr(one.get(path, "absent")) != repr(two.get(path, "absent"))]


def write_json(path: Path, tree: Any) -> None:
    path.write_text(json.dumps(tree), encoding="utf-8")


def to_toml(tree: dict[str, Any], name: str = "") -> str:
    """Return a dict as TOML: scalars first, then tables and arrays of tables."""
    lines, tables = [], []
    for key, value in tree.items():
        full = f"{name}.{key}" if name else str(key)
        if isinstance(value, dict):
            tables.append(f"\n[{full}]\n{to_toml(value, full)}")
        elif isinstance(value, list) and value and all(isinstance(v, dict) for v in value):
            tables += [f"\n[[{full}]]\n{to_toml(v, full)}" for v in value]
        else:
            lines.append(f"{key} = {_to_value(value)}\n")
    return "".join(lines + tables)


def _to_value(value: Any) -> str:
    if isinstance(value, float) and not math.isfinite(value):
        return "nan" if math.isnan(value) else "inf" if value > 0 else "-inf"
    if isinstance(value, list):
        return f"[{', '.join(_to_value(v) for v in value)}]"
    if isinstance(value, dict):
        return "{" + ", ".join(f"{key} = {_to_value(v)}" for key, v in value.items()) + "}"
    return json.dumps(value)


def damage_toml(tree: dict[str, Any], path: Path, rng: random.Random, names: tuple[str, ...]) -> Damage:
    """Write a damaged TOML file. names: keys whose value names something: misspelt, they must be refused."""
    how = rng.choice(("key", "type", "name", "size", "not finite", "bytes", "text"))
    changed = copy.deepcopy(tree)
    if how == "bytes":
        path.write_text(to_toml(tree), encoding="utf-8")
        return f"bytes {damage_bytes(path, rng)}", "any"
    if how == "text":
        text = to_toml(tree)
        what, data, must = rng.choice(
            (
                ("as it is", text.encode(), "whole"),
                ("CRLF", text.replace("\n", "\r\n").encode(), "same"),
                ("UTF-16", text.encode("utf-16"), "refused"),
                ("latin-1", ("# für\n" + text).encode("latin-1"), "refused"),
                ("BOM", text.encode("utf-8-sig"), "any"),
                ("twice", (text + "\n" + text).encode(), "refused"),
            )
        )
        path.write_bytes(data)
        return f"text {what}", must
    places = _places(changed, how, names)
    if not places:
        return damage_toml(tree, path, rng, names)
    place = rng.choice(places)
    holder, key = parent_of(changed, place), place[-1]
    if how == "key":
        holder[_misspell(str(key), rng)] = holder.pop(key)
    elif how == "name":
        holder[key] = _misspell(holder[key], rng)
    elif how == "size":
        holder[key] = rng.choice((-3, -1, 1.5))
    elif how == "not finite":
        holder[key] = rng.choice((math.nan, math.inf, -math.inf))
    else:
        odd = {"a": 1} if isinstance(holder[key], str | list) else rng.choice(("x", [1], {"a": 1}, True))
        holder[key] = odd
    path.write_text(to_toml(changed), encoding="utf-8")
    return (
        f"{how} {'.'.join(str(part) for part in place)} = {parent_of(changed, place).get(key, 'gone')!r}",
        "refused",
    )


def _places(tree: dict[str, Any], how: str, names: tuple[str, ...]) -> list[tuple[Any, ...]]:
    def fits(path: tuple[Any, ...], value: Any) -> bool:
        number = isinstance(value, int | float) and not isinstance(value, bool)
        if "config" in path:  # a method's own settings
            return False
        return {
            "key": isinstance(path[-1], str),
            "type": isinstance(path[-1], str),
            "name": path[-1] in names and isinstance(value, str),
            "size": number and "sizes" in path,
            "not finite": number and "sizes" not in path,
        }[how]

    return [path for path, value in leaves(tree) if path and isinstance(path[-1], str) and fits(path, value)]


def _misspell(name: str, rng: random.Random) -> str:
    at = rng.randrange(len(name))
    return name[:at] + rng.choice("qxz") + name[at:]

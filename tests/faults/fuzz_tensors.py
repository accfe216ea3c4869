"""Random damage to a diffusers folder: files, configs and tensors."""

import json
import math
import os
import random
import shutil
from collections.abc import Callable
from pathlib import Path

import torch
from safetensors import safe_open
from safetensors.torch import load_file, save_file

try:
    from .fuzz_damage import ODD, Damage, damage_bytes, damage_tree, flip, write_json
except ImportError:  # run as a script
    from fuzz_damage import ODD, Damage, damage_bytes, damage_tree, flip, write_json


def damage_model(folder: Path, rng: random.Random, ways: tuple[str, ...] = ()) -> Damage:
    """Damage a model folder in one of the ways, or of all; return what was done and what must follow."""
    how = rng.choice(ways or tuple(WAYS))
    what, must = WAYS[how](folder, rng)
    return f"{how}: {what}", must


def _files(folder: Path, suffix: str = "") -> list[Path]:
    return sorted(p for p in folder.rglob(f"*{suffix}") if p.is_file())


def _save(tensors: dict[str, torch.Tensor], path: Path) -> None:
    """Write tensors in the place of a file's own, with that file's metadata."""
    with safe_open(path, "pt") as file:
        metadata = file.metadata()
    save_file(tensors, path, metadata)


def _nothing(folder: Path, rng: random.Random) -> Damage:
    return "nothing", "whole"


def _bytes(folder: Path, rng: random.Random) -> Damage:
    path = rng.choice(_files(folder))
    return f"{path.relative_to(folder)} {damage_bytes(path, rng)}", "any"


def _payload(folder: Path, rng: random.Random) -> Damage:
    """Flip bits behind the header of a tensor file."""
    path = rng.choice(_files(folder, ".safetensors"))
    data = path.read_bytes()
    start = 8 + int.from_bytes(data[:8], "little")
    path.write_bytes(data[:start] + flip(data[start:], rng, rng.choice((1, 10, 1000))))
    return str(path.relative_to(folder)), "any"


def _header(folder: Path, rng: random.Random) -> Damage:
    path = rng.choice(_files(folder, ".safetensors"))
    data = path.read_bytes()
    start = 8 + int.from_bytes(data[:8], "little")
    path.write_bytes(flip(data[:start], rng) + data[start:])
    return str(path.relative_to(folder)), "any"


def _remove(folder: Path, rng: random.Random) -> Damage:
    path = rng.choice(_files(folder))
    path.unlink()
    needed = path.suffix == ".safetensors" or path.name in ("model_index.json", "config.json")
    return str(path.relative_to(folder)), "refused" if needed else "any"


def _extra(folder: Path, rng: random.Random) -> Damage:
    name = rng.choice(
        ("notes.txt", ".DS_Store", "unet/notes.txt", "other/config.json", "unet/old.safetensors.bak")
    )
    path = folder / name
    path.parent.mkdir(exist_ok=True)
    path.write_bytes(rng.randbytes(50))
    return name, "same"


def _config(folder: Path, rng: random.Random) -> Damage:
    path = rng.choice(_files(folder, ".json"))
    tree = json.loads(path.read_text(encoding="utf-8"))
    changed, what, _ = damage_tree(tree, rng)
    write_json(path, changed)
    return f"{path.relative_to(folder)} {what}", "any"


def _index(folder: Path, rng: random.Random) -> Damage:
    """Give the index, or one entry of it, another JSON type."""
    path = folder / "model_index.json"
    tree = json.loads(path.read_text(encoding="utf-8"))
    odd = rng.choice([value for value in ODD if value is not None])
    if rng.random() < 0.3:
        write_json(path, odd)
        return f"the index is {odd!r}", "refused"
    key = rng.choice(["unet", "vae", "text_encoder", "tokenizer", "scheduler"])
    tree[key] = odd
    write_json(path, tree)
    return f"{key} is {odd!r}", "refused"


def _not_finite(folder: Path, rng: random.Random) -> Damage:
    path = rng.choice(_files(folder, ".safetensors"))
    tensors = load_file(path)
    name = rng.choice([n for n, t in sorted(tensors.items()) if t.is_floating_point()])
    flat = tensors[name].flatten()
    flat[rng.randrange(len(flat)) if rng.random() < 0.5 else slice(None)] = rng.choice((math.nan, math.inf))
    _save(tensors | {name: flat.reshape(tensors[name].shape)}, path)
    return f"{path.relative_to(folder)} {name}", "finite"


def _rename(folder: Path, rng: random.Random) -> Damage:
    return _change_names(folder, rng, lambda tensors, name: {**tensors, f"{name}_": tensors[name]}, drop=True)


def _drop(folder: Path, rng: random.Random) -> Damage:
    return _change_names(folder, rng, lambda tensors, name: tensors, drop=True)


def _add(folder: Path, rng: random.Random) -> Damage:
    return _change_names(folder, rng, lambda tensors, name: {**tensors, f"new.{name}": tensors[name].clone()})


def _shape(folder: Path, rng: random.Random) -> Damage:
    def change(tensors: dict, name: str) -> dict:
        tensor = tensors[name]
        return {**tensors, name: torch.cat([tensor, tensor])}

    return _change_names(folder, rng, change)


def _change_names(folder: Path, rng: random.Random, change: Callable, drop: bool = False) -> Damage:
    path = rng.choice(_files(folder, ".safetensors"))
    tensors = load_file(path)
    name = rng.choice(sorted(tensors))
    changed = change(tensors, name)
    if drop:
        changed = {key: tensor for key, tensor in changed.items() if key != name}
    _save(changed, path)
    return f"{path.relative_to(folder)} {name}", "refused"


def _cast(folder: Path, rng: random.Random) -> Damage:
    path = rng.choice(_files(folder, ".safetensors"))
    dtype = rng.choice((torch.float16, torch.bfloat16, torch.float64))
    tensors = load_file(path)
    names = sorted(n for n, t in tensors.items() if t.is_floating_point())
    if rng.random() < 0.5:
        names = [rng.choice(names)]
    _save(tensors | {n: tensors[n].to(dtype) for n in names}, path)
    return f"{path.relative_to(folder)} {dtype} {len(names)}", "any"


def _link(folder: Path, rng: random.Random) -> Damage:
    """Put a link in the place of a component or a file."""
    how = rng.choice(("folder", "file", "broken", "loop"))
    parts = sorted(p for p in folder.iterdir() if p.is_dir())
    path = rng.choice(_files(folder) if how == "file" else parts)
    away = folder.with_name("elsewhere") / path.name
    away.parent.mkdir(exist_ok=True)
    if how in ("folder", "file"):
        shutil.move(path, away)
        path.symlink_to(away, target_is_directory=away.is_dir())
        return f"{how} {path.relative_to(folder)}", "same"
    shutil.rmtree(path)
    os.symlink(path if how == "loop" else away, path)
    return f"{how} {path.relative_to(folder)}", "refused"


def _swap(folder: Path, rng: random.Random) -> Damage:
    """Exchange two tensors of one shape: every name is there, the weights are others."""
    path = rng.choice(_files(folder, ".safetensors"))
    tensors = load_file(path)
    name = rng.choice(sorted(tensors))
    like = [n for n in sorted(tensors) if n != name and tensors[n].shape == tensors[name].shape]
    other = rng.choice(like or [name])
    _save(tensors | {name: tensors[other].clone(), other: tensors[name].clone()}, path)
    return f"{path.relative_to(folder)} {name} {other}", "any"


WAYS: dict[str, Callable[[Path, random.Random], Damage]] = {
    "nothing": _nothing,
    "bytes": _bytes,
    "payload": _payload,
    "header": _header,
    "removed file": _remove,
    "extra file": _extra,
    "config": _config,
    "index": _index,
    "not finite": _not_finite,
    "renamed tensor": _rename,
    "removed tensor": _drop,
    "extra tensor": _add,
    "shape": _shape,
    "dtype": _cast,
    "link": _link,
    "swapped tensors": _swap,
}
TENSOR_WAYS = (
    *("nothing", "bytes", "payload", "header", "not finite", "renamed tensor"),
    *("removed tensor", "extra tensor", "shape", "dtype", "swapped tensors"),
)
"""Ways to damage a file of tensors on its own."""

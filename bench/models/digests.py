"""Digests of files: of every file in a folder that a library would read, linked ones included."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterator, Mapping
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..errors import UserError

if TYPE_CHECKING:
    import torch

CACHES = (".cache/huggingface",)
"""Subfolders for the bookkeeping of a download: no library reads them."""
UNREAD = frozenset(
    (".bin", ".ckpt", ".pt", ".pth", ".pkl", ".msgpack", ".h5", ".onnx", ".md", ".gitattributes")
)
"""Suffixes of files that nothing here reads from a folder: pickles, other frameworks' weights, prose. A
dangling link with such a name affects no pixel."""
CAPTURING = "transformers.utils.output_capturing"
"""Module of the hooks with which transformers 5 copies hidden states out of a network."""


def list_files(folder: Path) -> list[Path]:
    """Return all files below a folder, sorted, those in linked folders under the link's name.

    Raises UserError for a link to a folder that contains it, for a dangling link with the name of a file that
    a library would read, for an entry that is neither file nor folder, and for a folder that cannot be read.
    """
    return sorted(_walk(folder, folder, ()))


def _walk(top: Path, folder: Path, above: tuple[tuple[int, int], ...]) -> Iterator[Path]:
    try:
        state = folder.stat()
        entries = [Path(entry.path) for entry in os.scandir(folder)]
    except OSError as error:
        raise UserError(f"{folder}: cannot be read: {error.strerror}") from None
    here = (state.st_dev, state.st_ino)
    if here in above:
        raise UserError(f"{folder}: a link that leads back to a folder that it lies in; remove the link")
    for entry in entries:
        if entry.relative_to(top).as_posix() in CACHES:
            continue
        if entry.is_dir():
            yield from _walk(top, entry, (*above, here))
        elif entry.is_file():
            yield entry
        elif not entry.exists():
            _check_dangling(entry)
        else:
            raise UserError(f"{entry}: neither a file nor a folder; remove it")


def _check_dangling(link: Path) -> None:
    if link.suffix.lower() not in UNREAD and link.name.lower() not in UNREAD:
        raise UserError(f"{link}: a link to nothing; restore the file that it names, or remove the link")


def files_digest(model: str) -> str:
    """Return the sha256 over a model's file or folder; over its name where that is a hub id or empty.

    Raises UserError as `list_files` does.
    """
    place = Path(model)
    if not model or not place.exists():
        return hashlib.sha256(model.encode()).hexdigest()
    digest = hashlib.sha256()
    for path in list_files(place) if place.is_dir() else [place]:
        try:
            with path.open("rb") as file:
                content = hashlib.file_digest(file, "sha256").digest()
        except OSError as error:
            raise UserError(f"{path}: cannot be read: {error.strerror}") from None
        digest.update(str(path.relative_to(model)).encode() + content)
    return digest.hexdigest()


def known_digest(place: str) -> str:
    """Return `files_digest` of a place. Cached; recomputed when a file's modification time, size or inode
    changes, since a process may judge several models at one path in turn."""
    return _digest_files(place, _state(place))


@cache
def _digest_files(place: str, state: tuple[tuple[str, int, int, int], ...]) -> str:
    return files_digest(place)


def _state(place: str) -> tuple[tuple[str, int, int, int], ...]:
    """Return name, inode, size and modification time of each of a model's files; empty for an empty place."""
    if not place:  # as a path the empty text would be the whole current folder
        return ()
    root = Path(place)
    files = list_files(root) if root.is_dir() else [root] if root.is_file() else []
    found = [(str(path), path.stat()) for path in files]
    return tuple((name, state.st_ino, state.st_size, state.st_mtime_ns) for name, state in found)


def hook_names(pipeline: Any) -> list[str]:
    """Return the forward hooks on a pipeline's networks, with which a method may act only while it draws.

    The hooks with which transformers copies hidden states out are left out: they change nothing, and are
    there from the first image on.
    """
    names = []
    for part, network in network_parts(pipeline).items():
        for name, module in network.named_modules():
            for hook in [*module._forward_hooks.values(), *module._forward_pre_hooks.values()]:
                if getattr(hook, "__module__", None) == CAPTURING:
                    continue
                names.append(f"{part}.{name}:{getattr(hook, '__qualname__', type(hook).__name__)}")
    return sorted(names)


def network_parts(pipeline: Any) -> dict[str, torch.nn.Module]:
    """Return a pipeline's networks by component name."""
    import torch  # takes a second, and a world's files are read where nothing is drawn

    return {
        name: part for name, part in sorted(pipeline.components.items()) if isinstance(part, torch.nn.Module)
    }


def weights_digest(pipeline: Any) -> str:
    """Return the sha256 over every tensor of every network, with names and shapes."""
    digest = hashlib.sha256()
    for part, network in network_parts(pipeline).items():
        _feed(digest, {f"{part}.{name}": tensor for name, tensor in sorted(network.state_dict().items())})
    return digest.hexdigest()


def tensors_digest(tensors: Mapping[str, torch.Tensor]) -> str:
    """Return the sha256 over tensors, with names, shapes and types."""
    digest = hashlib.sha256()
    _feed(digest, dict(sorted(tensors.items())))
    return digest.hexdigest()


def _feed(digest: Any, tensors: Mapping[str, torch.Tensor]) -> None:
    import torch

    for name, tensor in tensors.items():
        digest.update(f"{name}:{tuple(tensor.shape)}:{tensor.dtype}".encode())
        digest.update(tensor.detach().cpu().contiguous().view(torch.uint8).numpy().tobytes())

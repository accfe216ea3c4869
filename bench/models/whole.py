"""Opens the networks of a diffusers folder, and refuses a network that is incomplete in its files."""

import logging
import re
import zipfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import load_file

from ..errors import UserError
from .device.precision import type_of_part
from .layout import Layout, read_config

STEMS = ("diffusion_pytorch_model", "model")
"""Stem of a component's weights files as diffusers and transformers name them."""
PICKLES = (".bin", ".ckpt", ".pt", ".pth", ".pkl", ".msgpack", ".h5")
SHARD = r"-\d{5}-of-\d{5}"
LEFTOVERS = re.compile(r"(^|\.)(position_ids|rotary_emb\.inv_freq|embed_positions\.inv_freq)$")
"""Buffers that the configuration determines: older versions of transformers saved them, newer ones do not;
files of both are complete."""


def find_files(folder: Path, stem: str) -> tuple[list[Path], str | None]:
    """Return the safetensors files that hold a network's weights, and their variant (`fp16`; None = plain).

    Plain files are preferred to a variant; a single variant is used where there are none. Raises UserError,
    naming the file and the remedy, where weights are missing, ambiguous or not safetensors.
    """
    variants = _variants(folder, stem)
    if None in variants:
        return variants[None], None
    if len(variants) > 1:
        names = ", ".join(sorted(str(name) for name in variants))
        raise UserError(f"{folder}: has the variants {names} of its weights and no plain file; keep one")
    for name, files in variants.items():
        return files, name
    shards = sorted(path.name for path in folder.glob(f"{stem}*-*.safetensors"))
    if shards:
        index = f"{stem}.safetensors.index.json"
        raise UserError(f"{folder}: {shards[0]} is a part of weights whose {index} is missing; fetch it")
    pickles = sorted(path.name for path in folder.iterdir() if path.suffix in PICKLES and path.is_file())
    if pickles:
        raise UserError(f"{folder}: {pickles[0]}: weights are opened only from .safetensors; save them so")
    raise UserError(f"{folder}: {stem}.safetensors is missing: the folder has no weights; fetch it again")


def _variants(folder: Path, stem: str) -> dict[str | None, list[Path]]:
    """Return the files of each variant that a folder has, shards by their index."""
    found: dict[str | None, list[Path]] = {}
    single = re.compile(rf"{stem}(?:\.(?P<variant>\w+))?\.safetensors")
    listed = re.compile(rf"{stem}\.safetensors\.index(?:\.(?P<variant>\w+))?\.json")
    for path in sorted(folder.iterdir()):
        if match := single.fullmatch(path.name):
            found.setdefault(match["variant"], []).append(path)
    for path in sorted(folder.iterdir()):
        if (match := listed.fullmatch(path.name)) and match["variant"] not in found:
            found[match["variant"]] = _read_shards(path)
    return found


def _read_shards(index: Path) -> list[Path]:
    """Return the files that an index of shards names; raises UserError for one outside the folder."""
    names = read_config(index).get("weight_map")
    if not isinstance(names, dict) or not names or not all(isinstance(n, str) for n in names.values()):
        raise UserError(f"{index}: weight_map: needed: the file of each tensor")
    files = sorted(set(names.values()))
    for name in files:
        if Path(name).name != name:
            raise UserError(f"{index}: weight_map: {name!r} lies outside of the folder")
    shards = [index.parent / name for name in files]
    keys = {name: read_names(path) for name, path in zip(files, shards, strict=True)}
    for tensor, name in names.items():
        if tensor not in keys[name]:
            raise UserError(f"{index}: weight_map: {tensor} is not in {name}; fetch the folder again")
    return shards


def read_names(path: Path) -> dict[str, tuple[int, ...]]:
    """Return the shape of each tensor in a safetensors file; raises UserError where it is incomplete."""
    if not path.is_file():
        raise UserError(f"{path}: is missing; fetch the folder again")
    try:
        with safe_open(path, "pt") as file:
            return {name: tuple(file.get_slice(name).get_shape()) for name in file.keys()}  # noqa: SIM118
    except (SafetensorError, OSError, ValueError) as error:
        first = str(error).splitlines()[0]
        raise UserError(f"{path}: not a whole safetensors file: {first}; fetch it again") from None


def check_archive(path: Path) -> None:
    """Raise UserError where a file of weights (.safetensors, or a torch file as a ZIP archive) is cut off."""
    if path.suffix == ".safetensors":
        read_names(path)
        return
    with path.open("rb") as file:
        head = file.read(2)
    if not head or (head == b"PK" and not zipfile.is_zipfile(path)):
        raise UserError(f"{path}: not a whole torch file: its end is missing; fetch it again")


def check_files(layout: Layout) -> None:
    """Raise UserError where a component's weights or tokenizer are incomplete; opens no network."""
    for name, kind in layout.components.items():
        folder = layout.folder / name
        if issubclass(kind, torch.nn.Module):
            files, _ = find_files(folder, stem_of(kind))
            for path in files:
                read_names(path)
            _refuse_strays(folder, stem_of(kind))
            if not (folder / "config.json").is_file():
                raise UserError(f"{folder / 'config.json'}: is missing; fetch the folder again")
        elif name == "scheduler" and not (folder / "scheduler_config.json").is_file():
            raise UserError(f"{folder / 'scheduler_config.json'}: is missing; fetch the folder again")


def stem_of(kind: Any) -> str:
    """Return the stem with which a network's library names its file of weights."""
    from diffusers import ModelMixin

    return STEMS[0] if issubclass(kind, ModelMixin) else STEMS[1]


def _refuse_strays(folder: Path, stem: str) -> None:
    """Raise UserError for weights that no library opens, such as an adapter saved next to the network."""
    own = re.compile(rf"{stem}(\.[\w-]+)?({SHARD})?(\.[\w-]+)?\.safetensors")
    for path in sorted(folder.glob("*.safetensors")):
        if not own.fullmatch(path.name):
            raise UserError(
                f"{path}: weights that nothing opens: the model would be measured without them; merge them "
                "into the network, or remove the file"
            )


def open_networks(layout: Layout, dtype: torch.dtype) -> dict[str, torch.nn.Module]:
    """Return a folder's networks by component name, each opened once from its own folder.

    dtype: passed to diffusers; transformers opens in the precision of the file. Raises UserError where a
    network lacks a tensor, its file has one that no layer takes, or the shapes do not fit.
    """
    found = {}
    with quiet():
        for name, kind in layout.components.items():
            if issubclass(kind, torch.nn.Module):
                found[name] = open_network(layout.folder / name, kind, type_of_part(name, dtype))
    return found


def open_network(folder: Path, kind: Any, dtype: torch.dtype) -> torch.nn.Module:
    from transformers import PreTrainedModel

    _, variant = find_files(folder, stem_of(kind))
    options: dict[str, Any] = {} if variant is None else {"variant": variant}
    if dtype != torch.float32:  # diffusers opens in float32 by default
        options["dtype" if issubclass(kind, PreTrainedModel) else "torch_dtype"] = dtype
    try:
        network, info = kind.from_pretrained(
            str(folder), output_loading_info=True, use_safetensors=True, local_files_only=True, **options
        )
    except Exception as error:  # whatever a damaged folder makes the libraries raise
        raise UserError(f"{folder}: does not open as {kind.__name__}: {first_line(error)}") from None
    check_loaded(folder, network, info)
    return network  # type: ignore[no-any-return]


def check_loaded(folder: Path, network: torch.nn.Module, info: Mapping[str, Any]) -> None:
    """Raise UserError unless each tensor of a network came from its file, and each of the file's was used.

    info: missing_keys, unexpected_keys, mismatched_keys and error_msgs, as both libraries report them.
    """
    where, kept = f"{folder.parent}: {folder.name}", network.state_dict().keys()
    lacking = _tell(name for name in info["missing_keys"] if name in kept)
    if lacking:
        raise UserError(
            f"{where}: its file lacks {len(lacking)} weights, {lacking[0]} first; fetch or save it again (a "
            "folder that transformers 5 wrote opens only with transformers 5)"
        )
    unused = _tell(info["unexpected_keys"])
    if unused:
        raise UserError(
            f"{where}: no layer takes {len(unused)} tensors of its file, {unused[0]} first: the model would "
            "be measured without them; merge them into the network, or remove them"
        )
    wrong = sorted(str(key[0] if isinstance(key, tuple | list) else key) for key in info["mismatched_keys"])
    if wrong or info.get("error_msgs"):
        name = wrong[0] if wrong else first_line(info["error_msgs"][0])
        raise UserError(f"{where}: its file does not fit its config.json: {name}; fetch the folder again")
    unset = [name for name, tensor in network.state_dict().items() if tensor.is_meta]
    if unset:
        raise UserError(f"{where}: {unset[0]} was not read from its file")


def load_whole(network: torch.nn.Module, path: Path) -> None:
    """Set a network to the tensors of a safetensors file, in float32.

    Raises UserError where the file is incomplete, or its names and shapes are not the network's. Counters of
    batches may be missing: they affect nothing in evaluation.
    """
    read_names(path)
    tensors = {name: tensor.float() for name, tensor in load_file(path).items()}
    lacking = sorted(
        name
        for name in network.state_dict().keys() - tensors.keys()
        if not name.endswith("num_batches_tracked")
    )
    unused = sorted(tensors.keys() - network.state_dict().keys())
    if lacking or unused:
        name, where = (lacking[0], "the file") if lacking else (unused[0], "the network")
        raise UserError(f"{path}: {name}: not in {where}: not this network's weights; fetch the file again")
    try:
        network.load_state_dict(tensors, strict=False)
    except RuntimeError as error:
        faults = [line.strip() for line in str(error).splitlines()[1:]]
        raise UserError(f"{path}: not this network's weights: {faults[0]:.200}") from None


def _tell(names: Any) -> list[str]:
    return sorted(name for name in names if not LEFTOVERS.search(name))


def first_line(error: object) -> str:
    """Return the first line of a library's error, or its type where the message is empty."""
    return next((line.strip() for line in str(error).splitlines() if line.strip()), type(error).__name__)[
        :300
    ]


@contextmanager
def hush_libraries() -> Iterator[None]:
    """Suppress the warnings of diffusers and transformers; one line of this package reports what matters."""
    import diffusers.utils.logging
    import transformers.utils.logging

    libraries: Sequence[Any] = (diffusers.utils.logging, transformers.utils.logging)
    before = [library.get_verbosity() for library in libraries]
    for library in libraries:
        library.set_verbosity_error()
    try:
        yield
    finally:
        for library, level in zip(libraries, before, strict=True):
            library.set_verbosity(level)


@contextmanager
def quiet() -> Iterator[None]:
    """Suppress open_clip's warnings, too: what libraries warn of while opening files is refused here."""
    root = logging.getLogger()  # where open_clip writes
    level = root.level
    root.setLevel(max(level, logging.ERROR))
    try:
        with hush_libraries():
            yield
    finally:
        root.setLevel(level)

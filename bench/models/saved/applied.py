"""A sampling-time method in a point: the tensors that it kept, and how it acts while the point is drawn."""

import hashlib
import json
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from safetensors.torch import load_file, save_file
from torch import Tensor

from ...config import build
from ...errors import UserError
from ...registry import Entry, builtin_registry
from ...source import source_digest
from ..digests import tensors_digest
from ..isolation.guard import Watch, guarded
from ..isolation.state import State
from ..layout import APPLY, APPLY_KEY, INDEX, read_config
from ..whole import read_names
from .steering import steered

TENSORS = "apply.safetensors"
"""File of a folder's sampling-time method with the tensors that it kept."""
NOTE = "this model is not its weights: open it with unlearnbench.bench.unlearning.load_model"
FIELDS = {"method": str, "version": int, "config": dict}
"""Fields of the description of a sampling-time method, with their types."""


def describe_applied(entry: Entry, config: Any) -> dict[str, Any] | None:
    """Return a point's description of its sampling-time method; None where the method is none."""
    if not entry.apply:
        return None
    settings = json.loads(config.model_dump_json())
    return {"method": entry.name, "version": entry.version, "config": settings}


@dataclass(frozen=True)
class Applied:
    """A method, its settings and the tensors that it kept, ready to act on a pipeline.

    digest: over everything that decides how it acts, with the source of its module. drop: discards a pipeline
    on which something failed, because its state is unknown. known: states of pipelines, by id.
    """

    entry: Entry
    config: Any
    tensors: Mapping[str, Tensor]
    digest: str
    drop: Callable[[], None] = lambda: None
    known: dict[int, State] = field(default_factory=dict)

    @contextmanager
    def entered(self, pipeline: Any) -> Iterator[None]:
        """Context in which the method acts on every call of a pipeline."""
        with self.entry.load_apply()(pipeline, self.tensors, self.config) as make:
            if make is None:
                yield
                return
            with steered(pipeline, make):
                yield

    @contextmanager
    def acting(self, pipeline: Any) -> Iterator[None]:
        """Context in which the method acts; raises UserError where it leaves the pipeline changed."""
        watch = Watch(pipeline, self.entry.name, before=self.known.get(id(pipeline)))
        watch.remedy = "apply must put back all that it changes when its context ends"
        try:
            with guarded(watch, seed=0), self.entered(pipeline):
                yield
        except BaseException:
            self.drop()
            raise
        self.known[id(pipeline)] = watch.before


def find_applied(said: Mapping[str, Any], tensors: Mapping[str, Tensor], where: str) -> Applied:
    """Return the method that a point or a folder names. where: the source of the description, for messages.

    Raises UserError where it is malformed, or where no such method of this version and with these settings is
    installed.
    """
    for name, kind in FIELDS.items():
        if type(said.get(name)) is not kind:
            raise UserError(f"{where}: {name}: needed: {kind.__name__} (got {said.get(name)!r})")
    entry = builtin_registry("methods", "unlearnbench.methods")[said["method"]]
    if not entry.apply:
        raise UserError(f"{where}: method: {entry.name} does not act while images are drawn")
    if entry.version != said["version"]:
        raise UserError(
            f"{where}: version: {entry.name} {said['version']}; here is version {entry.version}: install "
            "the package that wrote it, or unlearn again"
        )
    config = build(entry.load_config(), said["config"], f"{where}: config")
    parts = {
        "said": {name: said[name] for name in FIELDS},
        "tensors": tensors_digest(tensors),
        "source": source_digest(entry.module),
    }
    digest = hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()
    return Applied(entry, config, tensors, digest)


def write_applied(folder: Path, said: Mapping[str, Any], tensors: Mapping[str, Tensor]) -> None:
    """Write a sampling-time method into a diffusers folder, and note it in the index."""
    folder.joinpath(APPLY).write_text(json.dumps(said, indent=1) + "\n", encoding="utf-8")
    save_file({name: tensor.contiguous() for name, tensor in tensors.items()}, folder / TENSORS)
    index = read_config(folder / INDEX) | {APPLY_KEY: NOTE}
    folder.joinpath(INDEX).write_text(json.dumps(index, indent=2) + "\n", encoding="utf-8")


def read_applied(folder: Path) -> Applied | None:
    """Return the sampling-time method of a model's folder, None where it has none.

    Raises UserError as `find_applied` does, and where its tensors are incomplete.
    """
    if not (folder / APPLY).is_file():
        return None
    said = read_config(folder / APPLY)
    read_names(folder / TENSORS)
    return find_applied(said, load_file(folder / TENSORS), str(folder / APPLY))

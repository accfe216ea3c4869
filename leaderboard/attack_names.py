"""Names of attacks and of attacked models: by what tells them apart."""

from collections.abc import Sequence
from typing import Any

from ..bench.records.load import Loaded
from ..bench.store import content_key
from ..bench.types import AttackInfo
from .templating import find_varied


def attack_key(entry: Loaded) -> str:
    """Return what an attacked record's attack is identified by."""
    info = entry.record.attack
    assert info is not None
    return content_key({"attack": [info.name, info.version, info.config, info.seed]})


def model_key(entry: Loaded) -> tuple[str, str]:
    """Return a model's row, and a digest of its settings; "" for a reference, which has none.

    The row `retrain` is one control, though each kind of task has a retrained model of its own.
    """
    method = entry.record.method
    return entry.row, "" if method.reference else content_key(method.config)[:6]


def name_models(entries: Sequence[Loaded]) -> dict[tuple[str, str], str]:
    """Return the name of each model: its row's, with a digest of its settings where a row has several."""
    models = {model_key(entry) for entry in entries}
    rows = [row for row, _ in models]
    return {(row, digest): row if rows.count(row) == 1 else f"{row} {digest}" for row, digest in models}


def name_attacks(entries: Sequence[Loaded]) -> dict[str, str]:
    """Return a name for each attack by its key: with the settings in which attacks of one name differ."""
    infos = {attack_key(entry): entry.record.attack for entry in entries if entry.record.attack is not None}
    named: dict[str, str] = {}
    for key, info in infos.items():
        alike = [_settings(other) for other in infos.values() if other.name == info.name]
        own = _settings(info)
        varied = set(find_varied(alike))
        named[key] = " ".join([info.name, *(f"{name}={own[name]}" for name in own if name in varied)])
    return named


def _settings(info: AttackInfo) -> dict[str, Any]:
    return {**info.config, "seed": info.seed, "version": info.version}

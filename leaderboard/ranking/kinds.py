"""What sort of method a row is, and where its configuration comes from."""

from collections.abc import Sequence
from functools import cache

from ...bench.records.load import Loaded
from ...bench.records.record import Record
from ...bench.registry import Entry, Registry
from ...bench.running.catalog import registry

KINDS = ("trained", "closed form", "adapter", "sampling time")
"""trained: weights by gradient steps. closed form: weights by one edit. adapter: trained networks beside the
weights. sampling time: no weight changes, the drawing does."""
RATE = "rate"
"""Setting that every method has that takes gradient steps."""


@cache
def _methods() -> Registry[Entry]:
    return registry("methods")


def kind_of(record: Record) -> str:
    """Return the kind of a record's method, one of KINDS; "" where this package does not know the method.

    It follows from what is registered: a method with `apply` acts while images are drawn, and one whose
    settings have a learning rate is trained.
    """
    name = record.method.name
    if record.inline or record.method.reference or name not in _methods():
        return ""
    acts, learns = bool(_methods()[name].apply), RATE in record.method.config
    return {(False, True): KINDS[0], (False, False): KINDS[1], (True, True): KINDS[2]}.get(
        (acts, learns), KINDS[3]
    )


def origin_of(entries: Sequence[Loaded]) -> str:
    """Return where the configuration of a row's records comes from: `tuned`, a preset, its label, or "".

    A row is called a preset's only where every setting of the preset is the row's own.
    """
    methods = [entry.record.method for entry in entries]
    label, name = methods[0].label, methods[0].name
    if label:
        presets = _methods()[name].presets if name in _methods() else {}
        wanted = presets.get(label)
        if wanted is None:
            return label
        exact = all(method.config.get(k) == v for method in methods for k, v in wanted.items())
        return f"preset {label}" if exact else f"preset {label}, changed"
    shown = any(point.shown for entry in entries for point in entry.record.points)
    return "tuned" if shown and all(entry.record.choice for entry in entries) else ""

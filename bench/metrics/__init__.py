"""Metrics: one pure file each, found by name through the registry."""

from __future__ import annotations

from collections.abc import Iterable
from math import isfinite
from typing import TYPE_CHECKING

from ..registry import Entry, Registry, builtin_registry
from ..types import Metric, Value, View, missing

if TYPE_CHECKING:
    import pandas as pd


def compute(names: Iterable[str], view: View, registry: Registry[Entry] | None = None) -> dict[str, Value]:
    """Return the values of the named metrics on a view, in order; a metric gives one or several.

    A metric whose `needs` the view lacks gives its own name as missing, with the reason. Raises
    UserError on an unknown name; ValueError where two metrics give a value of the same name, or a
    metric breaks its contract. What a metric raises is a bug and passes through.
    """
    known = builtin_registry("metrics", __name__) if registry is None else registry
    values: dict[str, Value] = {}
    for name in names:
        entry = known[name]
        reason = lacking(entry, view)
        new = {entry.name: missing(reason)} if reason else _measure(entry, view)
        clash = sorted(values.keys() & new.keys())
        if clash:
            raise ValueError(f"metric {entry.name}: the value {clash[0]!r} is there already")
        values.update(new)
    return values


def lacking(entry: Entry, view: View) -> str | None:
    """Return why a view does not hold what a metric needs, or None where it does.

    Needs: `items`, `alignment`, `features:world`, `features:<extractor>`. ValueError on another.
    """
    from .features import WORLD, reason_without, world_extractor
    from .rows import describe_failed

    for need in entry.needs:
        what, _, extractor = need.partition(":")
        if what == "features" and extractor:
            found = world_extractor(view) if extractor == WORLD else extractor
            if found not in view.features:
                return reason_without(extractor)
        elif need == "alignment":
            if view.items[need].isna().all():
                return describe_failed(view.items) or "alignment was not computed"
        elif need != "items":
            raise ValueError(f"metric {entry.name} needs {need!r}, which nothing provides")
    return None


def _measure(entry: Entry, view: View) -> dict[str, Value]:
    metric: Metric = entry.load()
    scores: pd.Series | None = metric.per_item(view.items)
    if scores is not None and not scores.index.equals(view.items.index):
        raise ValueError(f"metric {entry.name}: its scores are not aligned with the items")
    values = metric.reduce(scores, view)
    if next(iter(values), None) != entry.name:
        raise ValueError(f"metric {entry.name}: its first value is {next(iter(values), None)!r}")
    for name, value in values.items():
        if (value.value is None) == (value.missing is None):
            raise ValueError(f"metric {entry.name}: {name} has neither or both of a value and a reason")
        if any(x is not None and not isfinite(x) for x in (value.value, value.low, value.high)):
            raise ValueError(f"metric {entry.name}: {name} is not finite: {value}")
    return values

"""Metrics: one pure file each, found by name through the registry."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from math import isfinite
from typing import TYPE_CHECKING

from ..errors import is_own
from ..registry import Entry, Registry, builtin_registry
from ..types import Metric, Value, View, missing

if TYPE_CHECKING:
    import numpy as np
    import pandas as pd


BUILT_IN = "unlearnbench"


def compute(names: Iterable[str], view: View, registry: Registry[Entry] | None = None) -> dict[str, Value]:
    """Return name -> value of the named metrics on a view, in order; a metric gives one value or several.

    Where the view lacks what a metric's REGISTER `needs`, where the metric raises or breaks its contract,
    only the value of its own name is given: missing, with the reason. The other metrics are not affected.
    Raises UserError for an unknown name.
    """
    known = builtin_registry("metrics", __name__) if registry is None else registry
    entries = [known[name] for name in names]
    taken = {entry.name for entry in entries}
    found: dict[str, dict[str, Value]] = {}
    # built-in ones first: where a plug-in gives a value of the same name, the plug-in is at fault
    for entry in sorted(entries, key=lambda entry: entry.distribution != BUILT_IN):
        found[entry.name] = _compute_one(entry, view, taken)
        taken |= found[entry.name].keys()
    return {name: value for entry in entries for name, value in found[entry.name].items()}


def _compute_one(entry: Entry, view: View, taken: set[str]) -> dict[str, Value]:
    """Return a metric's values. taken: names of the values of other metrics."""
    try:
        reason = lacking(entry, view)
        if reason:
            return {entry.name: missing(reason)}
        values = _measure(entry, _own_view(view))
        clash = sorted(values.keys() & (taken - {entry.name}))
        if clash:
            raise ValueError(f"the value {clash[0]!r} is there already")
        return values
    except (Exception, SystemExit, GeneratorExit) as error:
        if not isinstance(error, Exception) and is_own(error):
            raise
        return {entry.name: missing(f"metric {entry.name} failed: {type(error).__name__}: {error}")}


def _own_view(view: View) -> View:
    """Return a view that a metric may change without changing what the next one sees."""
    base = None if view.base is None else _own_view(view.base)
    features, reference = (
        {name: _read_only(array) for name, array in arrays.items()}
        for arrays in (view.features, view.reference)
    )
    return replace(view, items=view.items.copy(), features=features, reference=reference, base=base)


def _read_only(array: np.ndarray) -> np.ndarray:
    own = array.view()
    own.flags.writeable = False
    return own


def lacking(entry: Entry, view: View) -> str | None:
    """Return why a view lacks what a metric needs, or None where it has everything.

    Needs: `items`, `alignment`, `features:world`, `features:<extractor>`; ValueError for any other.
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
            raise ValueError(f"it needs {need!r}, which nothing provides")
    return None


def _measure(entry: Entry, view: View) -> dict[str, Value]:
    metric: Metric = entry.load()
    scores: pd.Series | None = metric.per_item(view.items)
    if scores is not None and not scores.index.equals(view.items.index):
        raise ValueError("its scores are not aligned with the items")
    values = metric.reduce(scores, view)
    if next(iter(values), None) != entry.name:
        raise ValueError(f"its first value is {next(iter(values), None)!r}")
    for name, value in values.items():
        if (value.value is None) == (value.missing is None):
            raise ValueError(f"{name} has neither or both of a value and a reason")
        if any(x is not None and not isfinite(x) for x in (value.value, value.low, value.high)):
            raise ValueError(f"{name} is not finite: {value}")
    return values

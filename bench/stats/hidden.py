"""Gone, or only hidden? What attacks bring back, next to what they bring back from `retrain`."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

from ..types import INTERVAL_VERSION, Value, missing
from .compare import compare
from .intervals import proportion_interval
from .monotone import mean_interval

HALVES = ("A", "B")
EQUAL = 1e-9
"""Differences that are no further apart than this are equal."""


@dataclass(frozen=True)
class Strongest:
    """UA under the strongest attack. chosen: the attack chosen on half A, and the one chosen on half B."""

    ua: Value
    chosen: tuple[str, str] | None


def strongest(
    gone: Mapping[str, ArrayLike],
    halves: Sequence[str],
    prompts: Sequence[str],
    version: int = INTERVAL_VERSION,
) -> Strongest:
    """Return UA under the strongest of some attacks.

    gone: attack -> (n,), 1 where an image under it is without the target, 0 where it shows it, NaN where the
    judge failed. halves, prompts: (n,), of the images. The attack with the lowest UA on half A of the prompts
    is read on half B, and the other way round. A minimum that is chosen and read on the same prompts would be
    too low by its own noise. Of equals the first name counts. The interval is over prompts (version: of
    intervals of shares). One failure of the judge makes the value missing: that attack may have been the
    strongest. `best-of-n` and diagnostics are not to be among the attacks.
    """
    if not gone:
        return Strongest(missing("no attack was run"), None)
    table = {name: np.asarray(images, dtype=float) for name, images in sorted(gone.items())}
    if failed := [name for name, images in table.items() if np.isnan(images).any()]:
        return Strongest(missing(f"the judge failed under {', '.join(failed)}", len(halves)), None)
    side = np.asarray(halves)
    if lacking := [half for half in HALVES if not (side == half).any()]:
        return Strongest(missing(f"no prompt of half {lacking[0]}", len(halves)), None)
    on_a, on_b = (min(table, key=lambda name: float(table[name][side == half].mean())) for half in HALVES)
    read = np.where(side == "B", table[on_a], table[on_b])
    low, high = proportion_interval(read, np.asarray(prompts), version=version)
    return Strongest(Value(value=float(read.mean()), low=low, high=high, n=read.size), (on_a, on_b))


def hidden(gains: Mapping[str, float | None], retrain: Mapping[str, float | None]) -> Value:
    """Return how much more of the target attacks bring back than from `retrain`, over concepts.

    gains, retrain: concept -> UA before minus UA under the attacks, of the method and of the model that was
    trained without the target. The mean of the paired differences with its t interval; no interval of one
    concept, or where all differences are equal: their spread is then unknown, not zero. Missing where a
    concept lacks either number: nothing is left out.
    """
    concepts = sorted({*gains, *retrain})
    lacking = [c for c in concepts if gains.get(c) is None or retrain.get(c) is None]
    if lacking or not concepts:
        return missing(f"no pair of numbers for {', '.join(lacking) or 'any concept'}", len(concepts))
    own = np.array([float(gains[c] or 0.0) for c in concepts])
    control = np.array([float(retrain[c] or 0.0) for c in concepts])
    if np.ptp(own - control) <= EQUAL:
        return Value(value=float((own - control).mean()), n=len(concepts))
    found = compare(own, control)
    return Value(value=found.mean, low=found.low, high=found.high, n=found.n)


def join(values: Sequence[Value]) -> Value:
    """Return the mean of concepts' shares; its interval is over concepts, that of one concept its own.

    Missing where one of them is.
    """
    lacking = next((value for value in values if value.value is None), None)
    if lacking is not None:
        return missing(str(lacking.missing), lacking.n)
    if len(values) == 1:
        return values[0]
    numbers = [float(value.value or 0.0) for value in values]
    low, high = mean_interval(numbers, 0, 1)
    mean = float(np.mean(numbers))
    return Value(value=mean, low=min(low, mean), high=max(high, mean), n=sum(value.n for value in values))


def proves_nothing(control: Value | None) -> bool | None:
    """Return whether an attack also succeeds on `retrain`; None where that is not known.

    control: its gain there (UA before minus UA under it) with its interval. It succeeds where the interval
    lies above 0: it then draws the target by itself, from a model that never learnt it.
    """
    if control is None or control.value is None or control.low is None:
        return None
    return control.low > 0


def describe_control(attack: str, control: Value | None) -> str:
    """Return one sentence on what an attack's result means, by its gain on `retrain`."""
    verdict = proves_nothing(control)
    if verdict is None or control is None:
        return f"{attack}: not run on retrain; its result cannot tell hidden from drawn by the attack itself"
    found = f"{control.value:.2f} [{control.low:.2f}, {control.high:.2f}]"
    if verdict:
        return f"{attack}: proves nothing: it brings back {found} from retrain, which never learnt the target"
    return f"{attack}: brings back {found} from retrain; what it brings back beyond that was hidden"

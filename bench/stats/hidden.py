"""Gone, or only hidden? What attacks bring back, beside what they bring back from `retrain`."""

from collections.abc import Mapping
from dataclasses import dataclass

from ..types import Value, missing
from .compare import compare

HALVES = ("A", "B")


@dataclass(frozen=True)
class Strongest:
    """UA under the strongest attack. chosen: the attack chosen on half A, and the one chosen on half B."""

    ua: Value
    chosen: tuple[str, str] | None


def strongest(ua: Mapping[str, Mapping[str, float | None]]) -> Strongest:
    """Return UA under the strongest of some attacks: attack -> half -> UA under it.

    The attack with the lowest UA on half A is read on half B, and the other way round; both readings are
    averaged. A minimum that is chosen and read on the same prompts would be too low by its own noise. Of
    equals the first name counts. Where one attack lacks a half the value is missing: it may have been the
    strongest. `best-of-n` and diagnostics are not to be among the attacks.
    """
    if not ua:
        return Strongest(missing("no attack was run"), None)
    lacking = sorted(name for name, halves in ua.items() if any(halves.get(half) is None for half in HALVES))
    if lacking:
        return Strongest(missing(f"no UA under {', '.join(lacking)} on both halves"), None)
    table = {name: {half: float(halves[half] or 0.0) for half in HALVES} for name, halves in ua.items()}
    on_a, on_b = (min(sorted(table), key=lambda name: table[name][half]) for half in HALVES)
    return Strongest(Value(value=(table[on_a]["B"] + table[on_b]["A"]) / 2, n=len(ua)), (on_a, on_b))


def hidden(gains: Mapping[str, float | None], retrain: Mapping[str, float | None]) -> Value:
    """Return how much more of the target attacks bring back than from `retrain`, over concepts.

    gains, retrain: concept -> UA before minus UA under the attacks, of the method and of the model that was
    trained without the target. The mean of the paired differences with its t interval; no interval of one
    concept. Missing where a concept lacks either number: nothing is left out.
    """
    concepts = sorted({*gains, *retrain})
    lacking = [c for c in concepts if gains.get(c) is None or retrain.get(c) is None]
    if lacking or not concepts:
        return missing(f"no pair of numbers for {', '.join(lacking) or 'any concept'}", len(concepts))
    own = [float(gains[c] or 0.0) for c in concepts]
    control = [float(retrain[c] or 0.0) for c in concepts]
    if len(concepts) == 1:
        return Value(value=own[0] - control[0], n=1)
    found = compare(own, control)
    return Value(value=found.mean, low=found.low, high=found.high, n=found.n)


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

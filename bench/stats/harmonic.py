"""H: one number for forgetting and alignment, at a point that the other half of the prompts chose."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Harmonic:
    """A method on one concept. h and the parts in [0, 1]: means over training runs and both directions.

    in_prompt: None where the prompts ask for nothing but the target. chosen: (runs, 2) indices of the points
    that half A and half B chose.
    """

    h: float
    ua: float
    alignment: float
    in_prompt: float | None
    chosen: NDArray[np.intp]


def harmonic_mean(parts: Floats) -> Floats:
    """Return the harmonic mean over axis 0 of shares in [0, 1]: 0 where a part is 0, NaN where one is."""
    with np.errstate(divide="ignore"):
        return np.asarray(len(parts) / (1 / parts).sum(axis=0))


def choose(values: Floats) -> NDArray[np.intp]:
    """Return the point of the highest value on each half: (..., 2, points) -> (..., 2).

    Points come in order of their cost: ties go to the earlier one.
    """
    # rounded: a tie must not depend on the last bit of a mean
    return np.asarray(np.round(values, 9).argmax(axis=-1))


def read_across(values: Floats, chosen: NDArray[np.intp]) -> Floats:
    """Return the values of the chosen points on the half that did not choose them, both directions averaged.

    values: (..., 2, points); chosen: (..., 2), by the half that chose. Returns (...).
    """
    crossed = np.take_along_axis(values[..., ::-1, :], chosen[..., None], axis=-1)
    return np.asarray(crossed[..., 0].mean(axis=-1))


def measure_harmonic(ua: ArrayLike, alignment: ArrayLike, in_prompt: ArrayLike | None = None) -> Harmonic:
    """Return H: the harmonic mean of UA, alignment and in-prompt alignment, averaged over training runs.

    ua, alignment, in_prompt: (runs, 2, points) in [0, 1], half A first, points in order of their cost. Within
    a run each half chooses its point of highest harmonic mean, and that mean and its parts are read on the
    other half. No run sees another, so the expectation of H does not depend on the number of runs. Raises
    ValueError where shapes differ, or a value is missing (NaN) or outside [0, 1].
    """
    given = [ua, alignment] if in_prompt is None else [ua, alignment, in_prompt]
    parts = [np.asarray(part, dtype=float) for part in given]
    shape = parts[0].shape
    if len(shape) != 3 or shape[1] != 2 or 0 in shape or any(part.shape != shape for part in parts):
        shapes = ", ".join(str(part.shape) for part in parts)
        raise ValueError(f"H: runs of two halves of one point or more, the same for all parts; got {shapes}")
    table = np.stack(parts)
    if not ((table >= 0) & (table <= 1)).all():
        raise ValueError("H: a declared point has a part that is missing or outside [0, 1]")
    found = harmonic_mean(table)
    chosen = choose(found)
    read = [float(read_across(part, chosen).mean()) for part in parts]
    other = read[2] if len(read) == 3 else None
    return Harmonic(float(read_across(found, chosen).mean()), read[0], read[1], other, chosen)


def relative_alignment(
    cosine: ArrayLike, shuffled: ArrayLike, base_cosine: ArrayLike, base_shuffled: ArrayLike
) -> float:
    """Return the alignment above chance relative to the base model's, cut to [0, 1]: for H where no judge
    verifies what retain prompts ask for.

    cosine, shuffled: (images,) cosines of images with their own prompts and with shuffled ones; the same of
    the base model on the same prompts. Raises ValueError where one is missing, or the
    base is not above chance.
    """
    columns = [np.asarray(x, dtype=float) for x in (cosine, shuffled, base_cosine, base_shuffled)]
    if any(column.size == 0 or not np.isfinite(column).all() for column in columns):
        raise ValueError("an alignment score of a retain image is missing")
    own, chance, base, base_chance = (float(column.mean()) for column in columns)
    if base <= base_chance:
        raise ValueError("the base model's alignment score is not above chance")
    return min(1.0, max(0.0, (own - chance) / (base - base_chance)))

"""Candidates for the board's number, of many concepts at once: what `leaderboard/STATISTICS.md` compares.

seen, read: shares (..., 3 parts, runs, 2 halves, points). Points are chosen by `seen`, and the values of the
half that did not choose are taken from `read`: the same shares for the number itself, true shares for what
the chosen points are worth. Each returns (...), one number a concept.
"""

from collections.abc import Callable, Mapping

import numpy as np
from numpy.typing import NDArray

from .frontier import LEVELS, ROUNDING
from .harmonic import choose, harmonic_mean, read_across

Floats = NDArray[np.float64]
Candidate = Callable[[Floats, Floats], Floats]


def _parts(shares: Floats) -> Floats:
    return np.moveaxis(shares, -4, 0)


def h3_by_run(seen: Floats, read: Floats) -> Floats:
    """H of UA, VA and in-prompt alignment of every run (..., runs), each at the points that it chose."""
    return read_across(harmonic_mean(_parts(read)), choose(harmonic_mean(_parts(seen))))


def h3(seen: Floats, read: Floats) -> Floats:
    """H of UA, VA and in-prompt alignment, `harmonic.measure_harmonic`."""
    return np.asarray(h3_by_run(seen, read).mean(axis=-1))


def h2(seen: Floats, read: Floats) -> Floats:
    """H of only UA and VA."""
    return h3(seen[..., :2, :, :, :], read[..., :2, :, :, :])


def h3_one_point(seen: Floats, read: Floats) -> Floats:
    """H at one point for all runs: that of the highest mean over runs."""
    chosen = choose(harmonic_mean(_parts(seen)).mean(axis=-3))
    return read_across(harmonic_mean(_parts(read)).mean(axis=-3), chosen)


def h3_of_means(seen: Floats, read: Floats) -> Floats:
    """H of the parts' means over runs."""
    return h3(seen.mean(axis=-3, keepdims=True), read.mean(axis=-3, keepdims=True))


def h3_same_half(seen: Floats, read: Floats) -> Floats:
    """H chosen and read on all prompts: what crossing the halves avoids."""
    seen, read = (np.repeat(x.mean(axis=-2, keepdims=True), 2, axis=-2) for x in (seen, read))
    return h3(seen, read)


def ava(seen: Floats, read: Floats) -> Floats:
    """AVA (`frontier.measure_frontier`)."""
    return np.asarray(np.nan_to_num(_read_levels(seen, read), nan=0.0).mean(axis=(-2, -1)))


def _read_levels(seen: Floats, read: Floats) -> Floats:
    """Return VA as AVA reads it, (..., 2, levels), NaN where no point reached the level."""
    ua, va, _ = _parts(seen).mean(axis=-3)
    allowed = ua[..., None, :] >= np.array(LEVELS)[:, None] - ROUNDING
    chosen = np.where(allowed, np.round(va, 9)[..., None, :], -np.inf).argmax(axis=-1)
    other = _parts(read)[1].mean(axis=-3)[..., ::-1, :]
    return np.where(allowed.any(axis=-1), np.take_along_axis(other, chosen, axis=-1), np.nan)


def hypervolume(seen: Floats, read: Floats) -> Floats:
    """Area under the step envelope of VA over UA from 0 to 1: its points are chosen on one half, and both
    coordinates of each are read on the other.
    """
    ua, va, _ = _parts(seen).mean(axis=-3)
    other_ua, other_va, _ = (part[..., ::-1, :] for part in _parts(read).mean(axis=-3))
    order = np.argsort(ua, axis=-1, kind="stable")
    ua, va, other_ua, other_va = (np.take_along_axis(x, order, -1) for x in (ua, va, other_ua, other_va))
    # for each step up to a point's UA: the point of highest VA among those with as much UA or more
    later = np.where(np.tri(ua.shape[-1], dtype=bool).T, va[..., None, :], -np.inf).argmax(axis=-1)
    ends = np.take_along_axis(other_ua, later, axis=-1)
    begins = np.concatenate([np.zeros((*ends.shape[:-1], 1)), ends[..., :-1]], axis=-1)
    # a step may be narrower than nothing on the half that reads: signed widths keep the sum unbiased
    return np.asarray(((ends - begins) * np.take_along_axis(other_va, later, axis=-1)).sum(-1).mean(-1))


def equal_ua(seen: Floats, read: Floats) -> tuple[Floats, Floats]:
    """Return the difference of VA of two methods over the levels of UA that both reach, and the reach.

    seen, read: (..., 2 methods, 3, runs, 2, points). The difference is NaN where they reach no level
    together. reach: the share of (half, level) at which both have a point.
    """
    found = _read_levels(seen, read)
    gaps = found[..., 0, :, :] - found[..., 1, :, :]
    both = np.isfinite(gaps)
    count = both.sum(axis=(-2, -1))
    total = np.where(both, gaps, 0.0).sum(axis=(-2, -1))
    mean = np.divide(total, count, out=np.full(total.shape, np.nan), where=count > 0)
    return np.asarray(mean), np.asarray(both.mean(axis=(-2, -1)))


CANDIDATES: Mapping[str, Candidate] = {
    "H of three": h3,
    "H of three, one point for all runs": h3_one_point,
    "H of three, of run means": h3_of_means,
    "H of three, chosen and read on all prompts": h3_same_half,
    "H of UA and VA": h2,
    "hypervolume": hypervolume,
    "AVA": ava,
}

"""Do the board's number, its intervals and its tests hold? Simulated boards whose truth is known."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import product

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import brentq

from .candidates import CANDIDATES, Candidate, equal_ua, h3, h3_by_run
from .mean_intervals import (
    OF_DIFFERENCES,
    OF_SHARES,
    TESTS,
    Interval,
    half_gaffke,
    hierarchical,
    logit_t,
    mover,
    t,
)
from .simulation import (
    EXTREMES,
    HALF,
    RESTRICTED,
    STEERED,
    SUM,
    WHOLE,
    Profile,
    assign_families,
    draw_concepts,
    draw_runs,
    observe,
    true_shares,
)

Floats = NDArray[np.float64]
Say = Callable[[str], None]
CHUNK = 100
"""Suites simulated at once."""
DEPTHS = {"half": HALF, "whole": WHOLE}


@dataclass(frozen=True)
class Board:
    """A suite. lost: share of concepts on which UA stays low; depth: "half" forgotten there, or the "whole"
    concept lost. equal: families of one size, else 3 : 3 : 1 : 1.
    """

    concepts: int = 24
    lost: float = 0.10
    depth: str = "half"
    equal: bool = True
    runs: int = 2


GRID = tuple(
    Board(concepts, lost, depth, equal)
    for depth, concepts, lost, equal in product(DEPTHS, (8, 12, 24, 40), (0.03, 0.10, 0.33), (True, False))
)
"""`unlearnbench coverage` prints every one of them."""
SLOW = replace(RESTRICTED, ua=(-2.3, -0.9, 0.5, 1.3, 1.6))
"""The restricted step under a budget that stops it on the way, as on the published board."""
PAIRS: Mapping[str, tuple[Profile, Profile]] = {
    "claim": (RESTRICTED.aligned(0.15), SUM),
    "claim, budget too small": (SLOW.aligned(0.15), SUM),
    "no difference": (SUM, SUM),
    "steered": (STEERED, SUM),
}


def simulate(
    measures: Mapping[str, Candidate], methods: Sequence[Profile], board: Board, suites: int, seed: int = 7
) -> dict[str, tuple[Floats, Floats, Floats]]:
    """Return each measure's (seen, attained, best), each (suites, concepts, methods).

    attained: what the chosen points are worth in truth; best: what the points chosen by the truth are worth.
    """
    generator, families = np.random.default_rng(seed), assign_families(board.concepts, board.equal)
    found: dict[str, list[Floats]] = {name: [] for name in measures}
    methods = [replace(method, lost=board.lost if method.lost == 0 else method.lost) for method in methods]
    for first in range(0, suites, CHUNK):
        count = min(CHUNK, suites - first)
        concepts = draw_concepts(methods, families, count, generator, DEPTHS[board.depth])
        runs = draw_runs(concepts, methods, board.runs, generator)
        seen, true = observe(runs, generator), true_shares(runs)
        for name, measure in measures.items():
            found[name].append(np.stack([measure(seen, seen), measure(seen, true), measure(true, true)]))
    joined = {name: np.concatenate(parts, axis=1) for name, parts in found.items()}
    return {name: (table[0], table[1], table[2]) for name, table in joined.items()}


def covered(ends: Floats, truth: float) -> float:
    """Return the share of intervals (suites, 2) that hold the truth."""
    return float(((ends[:, 0] <= truth) & (truth <= ends[:, 1])).mean())


@dataclass(frozen=True)
class Judged:
    """A candidate on one pair. truth: mean of the first method over the best points; regret: what is lost by
    choosing on observed shares; bias: of the number against what the chosen points are worth. gap: true mean
    difference of the pair; power: how often the paired t test finds one, with the gap's sign or (wrong) not.
    """

    truth: float
    regret: float
    bias: float
    coverage: float
    gap: float
    power: float
    wrong: float


def judge_candidates(
    pair: tuple[Profile, Profile], board: Board, suites: int, seed: int = 7
) -> dict[str, Judged]:
    """Return how every candidate does on a pair of methods."""
    families = assign_families(board.concepts, board.equal)
    found = {}
    for name, (seen, attained, best) in simulate(CANDIDATES, pair, board, suites, seed).items():
        first, gaps = seen[..., 0], seen[..., 0] - seen[..., 1]
        gap = float((attained[..., 0] - attained[..., 1]).mean())
        found[name] = Judged(
            float(best[..., 0].mean()),
            float((attained - best)[..., 0].mean()),
            float((first - attained[..., 0]).mean()),
            covered(t(first, families), float(attained[..., 0].mean())),
            gap,
            *_find(gaps, gap),
        )
    return found


def _find(gaps: Floats, truth: float) -> tuple[float, float]:
    """Return how often the t test finds a difference of the truth's sign, and of the other sign."""
    families = np.zeros(gaps.shape[1], dtype=np.intp)
    ends = t(gaps, families)
    above, below = float((ends[:, 0] > 0).mean()), float((ends[:, 1] < 0).mean())
    return (above, below) if truth >= 0 else (below, above)


def judge_equal_ua(pair: tuple[Profile, Profile], board: Board, suites: int, seed: int = 7) -> Judged:
    """Return how VA at equal UA does; truth is the mean reach: no number of one method exists."""
    both: Mapping[str, Candidate] = {
        "gap": lambda seen, read: equal_ua(seen, read)[0],
        "reach": lambda seen, read: equal_ua(seen, read)[1],
    }
    found = simulate(both, pair, board, suites, seed)
    seen, attained, best = found["gap"]
    gap, hits = float(np.nanmean(attained)), []
    for row in seen:
        own = row[np.isfinite(row)]
        hits.append(_find(own[None, :], gap) if len(own) > 1 else (0.0, 0.0))
    power, wrong = np.mean(hits, axis=0)
    reach, regret = float(found["reach"][0].mean()), gap - float(np.nanmean(best))
    return Judged(reach, regret, float(np.nanmean(seen)) - gap, np.nan, gap, float(power), float(wrong))


def value_extremes(board: Board, suites: int, seed: int = 7) -> dict[str, dict[str, float]]:
    """Return each candidate's mean for methods that forget nothing, destroy everything, and so on."""
    names, nowhere = list(EXTREMES), replace(board, lost=0.0)
    found = simulate(CANDIDATES, list(EXTREMES.values()), nowhere, suites, seed)
    return {
        candidate: dict(zip(names, map(float, seen.mean(axis=(0, 1))), strict=True))
        for candidate, (seen, _, _) in found.items()
    }


@dataclass(frozen=True)
class Held:
    """Coverage on one board by interval: of a steered and an ascending method's means (the lower of the two),
    and of their difference; size of each test, and of the guard, between two methods that are equal in the
    mean although only one of them loses concepts.
    """

    means: Mapping[str, float]
    differences: Mapping[str, float]
    sizes: Mapping[str, float]


GUARDS: Mapping[str, Interval] = {"MOVER, t of logit": logit_t, "MOVER, half Gaffke": half_gaffke}


def hold(board: Board, suites: int, seed: int = 7) -> Held:
    """Return how intervals and tests of H hold on a board."""
    families = assign_families(board.concepts, board.equal)
    runs, attained, _ = simulate({"H": h3_by_run}, (STEERED, SUM), board, suites, seed)["H"]
    seen, truths = runs.mean(axis=-1), attained.mean(axis=(0, 1, 3))
    ends = {name: [of(seen[..., i], families) for i in range(2)] for name, of in OF_SHARES.items()}
    ends["hierarchical bootstrap"] = [hierarchical(runs[:, :, i]) for i in range(2)]
    means = {name: min(covered(own[i], truths[i]) for i in range(2)) for name, own in ends.items()}
    gaps, gap = seen[..., 0] - seen[..., 1], float(truths[0] - truths[1])
    differences = {name: covered(of(gaps, families), gap) for name, of in OF_DIFFERENCES.items()}
    differences["hierarchical bootstrap"] = covered(hierarchical(runs[:, :, 0] - runs[:, :, 1]), gap)
    for name, of in GUARDS.items():
        differences[name] = covered(mover(seen[..., 0], seen[..., 1], of, families), gap)
    return Held(means, differences, _measure_sizes(board, families, suites, seed))


NEVER = 1e-12
"""A share of lost concepts that is none, and yet not the board's own."""


def _measure_sizes(board: Board, families: NDArray[np.intp], suites: int, seed: int) -> dict[str, float]:
    def pair(by: float) -> tuple[Profile, Profile]:
        return RESTRICTED.aligned(by), replace(RESTRICTED, lost=NEVER)

    def gap(by: float) -> float:
        _, attained, _ = simulate({"H": h3}, pair(by), board, min(suites, CHUNK), seed + 1)["H"]
        return float((attained[..., 0] - attained[..., 1]).mean())

    if gap(3.0) < 0:  # no alignment makes up for so many lost concepts
        return dict.fromkeys([*TESTS, *GUARDS], np.nan)
    by = float(brentq(gap, -0.5, 3.0, xtol=0.005))
    seen, attained, _ = simulate({"H": h3}, pair(by), board, suites, seed)["H"]
    first, second = seen[..., 0], seen[..., 1]
    left = float((attained[..., 0] - attained[..., 1]).mean())
    # what is left of the difference is taken from each concept, so that the mean is 0 exactly
    sizes = {name: float((test(first - second - left) < 0.05).mean()) for name, test in TESTS.items()}
    return sizes | {
        name: 1 - covered(mover(first, second, of, families), left) for name, of in GUARDS.items()
    }


def measure_power(
    board: Board, suites: int, aligned: Sequence[float] = (0.0, 0.15, 0.30, 0.45), seed: int = 7
) -> dict[float, tuple[float, float, float]]:
    """Return, by how many probits the restricted step's alignment is higher: the true difference of H, how
    often the sign-flip test finds it, and how often the guard excludes 0 too.
    """
    families, found = assign_families(board.concepts, board.equal), {}
    for by in aligned:
        seen, attained, _ = simulate({"H": h3}, (RESTRICTED.aligned(by), SUM), board, suites, seed)["H"]
        first, second = seen[..., 0], seen[..., 1]
        finds = TESTS["sign flip"](first - second) < 0.05
        ends = mover(first, second, half_gaffke, families)
        both = finds & ((ends[:, 0] > 0) | (ends[:, 1] < 0))
        gap = float((attained[..., 0] - attained[..., 1]).mean())
        found[by] = (gap, float(finds.mean()), float(both.mean()))
    return found

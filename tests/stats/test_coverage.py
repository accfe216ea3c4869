"""The simulated board: its parts against the shipped code and closed forms, and what it shows."""

import itertools
from dataclasses import replace

import numpy as np
import pytest

from unlearnbench.bench.cli.main import main
from unlearnbench.bench.stats import candidates, coverage, share_coverage
from unlearnbench.bench.stats.coverage import PAIRS, Board, hold, judge_candidates, simulate, value_extremes
from unlearnbench.bench.stats.frontier import measure_frontier
from unlearnbench.bench.stats.harmonic import measure_harmonic
from unlearnbench.bench.stats.simulation import (
    ASCENT,
    SUM,
    assign_families,
    draw_concepts,
    draw_runs,
    observe,
    true_shares,
)


@pytest.fixture(scope="module")
def shares() -> np.ndarray:
    """Observed shares (3 suites, 8 concepts, 2 methods, 3 parts, 2 runs, 2 halves, 5 points)."""
    generator, methods = np.random.default_rng(3), PAIRS["claim"]
    concepts = draw_concepts(methods, assign_families(8), 3, generator)
    return observe(draw_runs(concepts, methods, 2, generator), generator)


def test_the_candidates_are_the_shipped_numbers(shares: np.ndarray) -> None:
    flat = shares.reshape(-1, *shares.shape[3:])
    h3, h2, ava = (f(flat, flat) for f in (candidates.h3, candidates.h2, candidates.ava))
    for found, parts in enumerate(flat):
        assert h3[found] == pytest.approx(measure_harmonic(*parts).h)
        assert h2[found] == pytest.approx(measure_harmonic(*parts[:2]).h)
        means = parts.mean(axis=1)
        assert ava[found] == pytest.approx(measure_frontier(means[0], means[1]).ava)


def test_the_hypervolume_by_hand() -> None:
    # half A: points (.5, .9), (.8, .6), (.7, .5); the third is not on the envelope. Half B has its own values
    ua, va = [[0.5, 0.8, 0.7], [0.6, 0.9, 0.7]], [[0.9, 0.6, 0.5], [0.8, 0.5, 0.6]]
    table = np.array([ua, va, va])[:, None]
    chosen_by_a = 0.6 * 0.8 + (0.9 - 0.6) * 0.5
    chosen_by_b = 0.5 * 0.9 + (0.7 - 0.5) * 0.5 + (0.8 - 0.7) * 0.6  # on B all three are
    assert candidates.hypervolume(table, table) == pytest.approx((chosen_by_a + chosen_by_b) / 2)


def test_equal_ua_counts_where_both_reach() -> None:
    first, second = np.full((3, 1, 2, 1), 0.9), np.full((3, 1, 2, 1), 0.85)
    gap, reach = candidates.equal_ua(np.stack([first, second]), np.stack([first, second]))
    assert (gap, reach) == (pytest.approx(0.05), pytest.approx(3 / 7))  # .80, .825 and .85
    nothing = np.zeros_like(first)
    assert np.isnan(candidates.equal_ua(*[np.stack([first, nothing])] * 2)[0])


def test_shares_of_many_prompts_are_the_true_ones() -> None:
    generator = np.random.default_rng(5)
    runs = np.broadcast_to(
        draw_runs(np.full((1, 1, 1, 3, 1), 0.7), [SUM], 1, generator), (3000, 1, 1, 3, 1, 1)
    )
    seen, true = observe(runs, generator), true_shares(runs)
    error = seen.std(axis=0) / np.sqrt(len(seen))
    assert (np.abs(seen.mean(axis=0) - true[0]) < 4 * error).all()


def test_runs_and_losses_are_as_declared() -> None:
    generator, families = np.random.default_rng(6), assign_families(8, equal=False)
    assert np.bincount(families).tolist() == [3, 3, 1, 1]
    plain, lossy = replace(SUM, lost=1e-12), replace(SUM, lost=0.2)
    probits = draw_concepts([plain, lossy], families, 4000, generator, (9.0, 9.0))
    lost = probits[:, :, 1, 0, 0] < -6
    assert lost.mean() == pytest.approx(0.2, abs=0.01)
    assert not (probits[:, :, 0, 0, 0] < -7).any()
    runs = draw_runs(probits[:500], [plain, lossy], 20, generator)
    spread = (runs - runs.mean(axis=-2, keepdims=True)).std(axis=(0, 1, 2, 4, 5)) * np.sqrt(20 / 19)
    assert spread == pytest.approx(ASCENT, rel=0.03)


def test_h_is_nearly_unbiased_and_finds_the_claim() -> None:
    board = Board(24)
    found = judge_candidates(PAIRS["claim"], board, 60)
    three, pooled, ava = (found[name] for name in (
        "H of three", "H of three, chosen and read on all prompts", "AVA"))  # fmt: skip
    assert abs(three.bias) < 0.015
    assert pooled.bias > 0 > three.bias  # luck is paid where one half chooses and reads
    assert three.power > 2 * ava.power
    null = judge_candidates(PAIRS["no difference"], board, 60)["H of three"]
    assert null.power + null.wrong < 0.15


def test_the_number_of_runs_does_not_move_h() -> None:
    names = ("H of three", "H of three, of run means")
    some = {name: candidates.CANDIDATES[name] for name in names}
    few, many = (simulate(some, [SUM], Board(12, runs=runs), 150) for runs in (1, 4))
    shift = {name: float(many[name][0].mean() - few[name][0].mean()) for name in names}
    assert abs(shift["H of three"]) < 0.012 < shift["H of three, of run means"]


def test_extremes_by_candidate() -> None:
    found = value_extremes(Board(8), 5)
    three, two, ava = (found[name] for name in ("H of three", "H of UA and VA", "AVA"))
    assert max(three[name] for name in three if name != "forgets three quarters") < 0.06
    assert two["garbage for the target"] > 0.9
    assert ava["garbage for the target"] > 0.85
    assert ava["forgets three quarters"] < 0.3 < 0.75 < three["forgets three quarters"]


def test_intervals_on_one_board() -> None:
    held = hold(Board(8, lost=0.1), 40)
    assert held.means["Gaffke"] >= 0.9 > held.means["bootstrap"]
    assert held.differences["t"] >= 0.85
    assert held.differences["MOVER, half Gaffke"] >= 0.9
    assert held.sizes["MOVER, half Gaffke"] <= 0.05
    assert set(coverage.TESTS) < held.sizes.keys()


def test_the_guard_costs_power_and_never_adds_any() -> None:
    found = coverage.measure_power(Board(24), 60, aligned=(0.0, 0.45))
    (low, some, fewer), (high, most, many) = found.values()
    assert low < high
    assert fewer <= some
    assert many <= most
    assert most > 0.9
    assert many > some


def test_the_command_prints_the_whole_grid(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    corners = itertools.product((8, 40), (0.03, 0.33), ("half", "whole"), (True, False))
    assert {Board(*corner) for corner in corners} < set(coverage.GRID)
    monkeypatch.setattr(coverage, "GRID", (Board(8), Board(8, 0.33, "whole", equal=False)))
    few = list(share_coverage.list_truths(shares=(0.9,), samples=(2,), prompts=(6,)))
    monkeypatch.setattr(share_coverage, "list_truths", lambda: few)
    assert main(["coverage", "--suites", "2"]) == 0
    out = capsys.readouterr().out
    texts = ("Candidates, claim", "budget too small", "Candidates: what a method gets that", "half Gaffke",
             "unequal", "sign flip", "test and guard", "2 suites each")  # fmt: skip
    for text in texts:
        assert text in " ".join(out.split()), text
    assert main(["coverage", "--suites", "1"]) == 2
    assert "--suites 1: must be at least 2" in capsys.readouterr().err

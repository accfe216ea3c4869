"""The combinations on random gradients: field-notes' invariants, a naive reference, guards, memory."""

import math

import pytest
import torch
from torch import Tensor

from unlearnbench.bench.training.gradients import dot
from unlearnbench.methods.training.combine import (
    OPPOSITE,
    combine_balanced,
    combine_sum,
    inner_product,
    restricted_coefficients,
)

from .allocations import AllocationPeak

SEEDS = range(40)
SHAPES = ((7,), (5, 3), (4, 2, 3, 3), (1,))
LAMBDAS = (0.0, 0.3, 1.0, 5.0)


def draw_pair(seed: int, conflict: bool) -> tuple[list[Tensor], list[Tensor]]:
    """Random gradients of very different sizes, whose inner product has the sign that is asked for."""
    generator = torch.Generator().manual_seed(seed)
    g_f = [torch.randn(s, generator=generator) * 10 ** (seed % 4 - 2) for s in SHAPES]
    g_r = [torch.randn(s, generator=generator) for s in SHAPES]
    sign = 1 if (dot(g_f, g_r) < 0) == conflict else -1
    return g_f, [sign * g for g in g_r]


def flatten(gradients: list[Tensor]) -> Tensor:
    return torch.cat([g.double().flatten() for g in gradients])


def copy(gradients: list[Tensor]) -> list[Tensor]:
    return [g.clone() for g in gradients]


def naive_balanced(f: Tensor, r: Tensor, lam: float, weight: Tensor | float = 1.0) -> Tensor:
    """The definition, word by word, on one flattened float64 vector."""
    product = (weight * f * r).sum()
    if product >= 0:
        return f + lam * r
    d_f = f - product / (weight * r * r).sum() * r
    d_r = r - product / (weight * f * f).sum() * f
    return d_f + lam * d_r


def assert_close(found: Tensor, wanted: Tensor, scale: float) -> None:
    assert (found - wanted).norm() <= 1e-5 * scale, (found, wanted)


@pytest.mark.parametrize("lam", LAMBDAS)
@pytest.mark.parametrize("seed", SEEDS)
def test_without_conflict_it_is_the_plain_weighted_sum(seed: int, lam: float) -> None:
    g_f, g_r = draw_pair(seed, conflict=False)
    assert dot(g_f, g_r) >= 0
    balanced, plain = combine_balanced(copy(g_f), g_r, lam), combine_sum(copy(g_f), g_r, lam)
    assert all(torch.equal(b, p) for b, p in zip(balanced, plain, strict=True))


@pytest.mark.parametrize("seed", SEEDS)
def test_each_projected_gradient_is_orthogonal_to_the_other(seed: int) -> None:
    g_f, g_r = draw_pair(seed, conflict=True)
    f, r = flatten(g_f), flatten(g_r)
    d_f = flatten(combine_balanced(copy(g_f), g_r, lam=0.0))
    both = flatten(combine_balanced(copy(g_f), g_r, lam=1.0))
    d_r = both - d_f
    assert abs(d_f @ r) <= 1e-5 * f.norm() * r.norm()
    assert abs(d_r @ f) <= 1e-5 * both.norm() * f.norm()


@pytest.mark.parametrize("lam", LAMBDAS)
@pytest.mark.parametrize("seed", SEEDS)
def test_a_step_raises_neither_objective_to_first_order(seed: int, lam: float) -> None:
    """(iii): d·g_f = ‖d_f‖² and d·g_r = λ‖d_r‖²; the descent is along −d."""
    g_f, g_r = draw_pair(seed, conflict=True)
    f, r = flatten(g_f), flatten(g_r)
    d = flatten(combine_balanced(copy(g_f), g_r, lam))
    sin2 = 1 - (f @ r) ** 2 / (f @ f) / (r @ r)
    assert math.isclose(d @ f, sin2 * (f @ f), rel_tol=1e-4)
    assert math.isclose(d @ r, lam * sin2 * (r @ r), rel_tol=1e-4, abs_tol=1e-5 * d.norm() * r.norm())


@pytest.mark.parametrize("lam", LAMBDAS)
@pytest.mark.parametrize("conflict", [True, False])
@pytest.mark.parametrize("seed", SEEDS)
def test_it_equals_the_naive_definition(seed: int, conflict: bool, lam: float) -> None:
    g_f, g_r = draw_pair(seed, conflict)
    wanted = naive_balanced(flatten(g_f), flatten(g_r), lam)
    scale = float(flatten(g_f).norm() + (1 + lam) * flatten(g_r).norm())
    assert_close(flatten(combine_balanced(copy(g_f), g_r, lam)), wanted, scale)


def test_one_inner_product_of_all_tensors_not_one_each() -> None:
    """The first tensors agree, the second conflict; over both there is no conflict: nothing is projected."""
    g_f = [torch.tensor([2.0, 0.0]), torch.tensor([1.0])]
    g_r = [torch.tensor([2.0, 0.0]), torch.tensor([-1.0])]
    assert torch.equal(flatten(combine_balanced(g_f, g_r, 1.0)), torch.tensor([4.0, 0, 0]).double())


def test_worked_by_hand() -> None:
    """g_f = (1, 0), g_r = (−1, 1): d_f = (½, ½), d_r = (0, 1)."""
    for lam, wanted in ((0.0, [0.5, 0.5]), (1.0, [0.5, 1.5]), (2.0, [0.5, 2.5])):
        found = combine_balanced([torch.tensor([1.0, 0.0])], [torch.tensor([-1.0, 1.0])], lam)
        assert found[0].tolist() == pytest.approx(wanted)
    assert combine_sum([torch.tensor([1.0, 0.0])], [torch.tensor([-1.0, 1.0])], 2.0)[0].tolist() == [
        -1.0,
        2.0,
    ]


@pytest.mark.parametrize("seed", SEEDS)
def test_opposite_gradients_give_exactly_zero(seed: int) -> None:
    g_f, _ = draw_pair(seed, conflict=True)
    g_r = [-0.37 * g for g in g_f]
    assert all(not d.any() for d in combine_balanced(g_f, g_r, 1.7))


@pytest.mark.parametrize("lam", LAMBDAS)
def test_zero_gradients_leave_the_other_one(lam: float) -> None:
    g_f, g_r = draw_pair(3, conflict=True)
    zero = [torch.zeros_like(g) for g in g_f]
    assert torch.equal(flatten(combine_balanced(copy(zero), g_r, lam)), flatten([lam * g for g in g_r]))
    assert torch.equal(flatten(combine_balanced(copy(g_f), zero, lam)), flatten(g_f))
    assert not flatten(combine_balanced(copy(zero), zero, lam)).any()


def test_a_negligible_forget_gradient_costs_the_retain_gradient_nothing() -> None:
    g_f, g_r = draw_pair(2, conflict=True)
    g_f = [1e-8 * g for g in g_f]
    assert torch.equal(
        flatten(combine_balanced(copy(g_f), g_r, 1.0)), flatten(combine_sum(copy(g_f), g_r, 1.0))
    )


def test_coefficients_of_special_angles() -> None:
    assert restricted_coefficients(1.0, 1.0, 0.0, 2.0) == (1.0, 2.0)
    assert restricted_coefficients(1.0, 1.0, -1.0, 2.0) == (0.0, 0.0)
    almost = -math.sqrt(1 - 10 * OPPOSITE)
    assert restricted_coefficients(1.0, 1.0, almost, 1.0) == pytest.approx((1 - almost, 1 - almost))
    assert restricted_coefficients(float("nan"), 1.0, float("nan"), 2.0) == (1.0, 2.0)


@pytest.mark.parametrize("seed", range(10))
def test_adam_inner_product_is_that_of_adams_step(seed: int) -> None:
    """Against a naive float64 reference, and: −P⁻¹d raises neither objective (P = √v̂ + ε)."""
    g_f, g_r = draw_pair(seed, conflict=True)
    parameters = [torch.nn.Parameter(torch.zeros_like(g)) for g in g_f]
    optimiser = torch.optim.AdamW(parameters, lr=0.0)
    assert inner_product("adam", optimiser) is dot  # no second moments yet
    second = [torch.zeros_like(g) for g in g_f]
    for step in range(3):
        drawn = [1e-7 * g for g in draw_pair(100 * seed + step, conflict=True)[0]]  # so small that ε counts
        for parameter, moment, gradient in zip(parameters, second, drawn, strict=True):
            parameter.grad = gradient
            moment.mul_(0.999).addcmul_(gradient, gradient, value=0.001)
        optimiser.step()
    weight = 1 / ((flatten(second) / (1 - 0.999**3)).sqrt() + 1e-8)
    f, r = flatten(g_f), flatten(g_r)
    found = flatten(combine_balanced(copy(g_f), g_r, 0.5, inner_product("adam", optimiser)))
    assert_close(found, naive_balanced(f, r, 0.5, weight), float(f.norm() + r.norm()))
    if (weight * f * r).sum() < 0:
        assert (weight * found * f).sum() >= 0
        assert (weight * found * r).sum() >= 0
    assert inner_product("euclidean", optimiser) is dot


def test_dot_accumulates_in_float32() -> None:
    """In half precision 2·10⁴ products of 10⁻⁴ vanish (1e-8 is below float16's smallest number)."""
    small = [torch.full((20_000,), 1e-4, dtype=torch.float16)]
    assert dot(small, [g.clone() for g in small]).item() == pytest.approx(2e-4, rel=1e-3)
    assert dot(small, small).item() == pytest.approx(2e-4, rel=1e-3)
    assert dot([g.double() for g in small], [g.double() for g in small]).dtype == torch.float64


def test_combining_holds_no_further_copy_of_the_gradients() -> None:
    g_f = [torch.randn(1000) for _ in range(50)]
    g_r = [torch.randn(1000) for _ in range(50)]
    with AllocationPeak() as copies:
        copy(g_f)
    with AllocationPeak() as memory:
        combine_balanced(g_f, g_r, 1.0)
    assert copies.peak == 50 * 4000
    assert memory.peak <= 3 * 4000

"""Training on a tiny pipeline: configs, part, determinism, checkpoints, first-order promises, memory."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
import torch
from torch import Tensor

from unlearnbench.bench.config import build
from unlearnbench.bench.errors import UserError
from unlearnbench.bench.training.config import AscentConfig, PointsConfig, TrainingConfig
from unlearnbench.bench.training.objectives import Denoiser
from unlearnbench.bench.training.trainer import Training, fork, select_part
from unlearnbench.bench.types import Problem
from unlearnbench.methods import balanced, gradient_sum
from unlearnbench.methods.training.combine import combine_balanced, combine_sum

from .allocations import AllocationPeak
from .tiny import build_problem

Pipelines = Callable[..., Any]


@pytest.mark.parametrize(
    ("values", "key"),
    [
        ({"rate": -1.0}, "rate"),
        ({"rate": float("inf")}, "rate"),
        ({"part": "attention"}, "part"),
        ({"optimiser": "lion"}, "optimiser"),
        ({"batch": 0}, "batch"),
        ({"retain_batch": 0}, "retain_batch"),
        ({"retain_batch": 2.5}, "retain_batch"),
        ({"retain_batch": "most"}, "retain_batch"),
        ({"retain_caption_drop": -0.1}, "retain_caption_drop"),
        ({"caption_drop": 1.5}, "caption_drop"),
        ({"truncation": 0.0}, "truncation"),
        ({"truncation": float("nan")}, "truncation"),
        ({"truncation_mode": "pixel"}, "truncation_mode"),
        ({"clip_norm": -1.0}, "clip_norm"),
        ({"lam": -0.1}, "lam"),
        ({"steps": 10, "checkpoints": [5, 9]}, "checkpoints"),
        ({"steps": 10, "checkpoints": [5, 5, 10]}, "checkpoints"),
        ({"steps": 10, "checkpoints": [0, 10]}, "checkpoints"),
        ({"steps": 10, "checkpoints": []}, "checkpoints"),
        ({"steps": 0}, "steps"),
        ({"lambda": 1.0}, "lambda"),
        ({"inner_product": "l1"}, "inner_product"),
        ({"inner_product": "adam", "optimiser": "sgd"}, "inner_product"),
    ],
)
def test_a_bad_value_is_an_error_naming_file_and_key(values: dict[str, Any], key: str) -> None:
    with pytest.raises(UserError, match=rf"^suite\.toml: {key}: "):
        build(balanced.Config, values, "suite.toml")


def test_checkpoints_default_to_the_last_step_and_inf_means_no_bound() -> None:
    assert PointsConfig(steps=7).checkpoints == (7,)
    config = build(AscentConfig, {"truncation": float("inf"), "clip_norm": float("inf")}, "x")
    assert config.truncation is None
    assert config.clip_norm is None
    assert build(AscentConfig, config.model_dump(mode="json"), "x") == config


def test_parts_split_the_unet(pipeline_for: Pipelines) -> None:
    unet = pipeline_for().unet
    names = {id(p): name for name, p in unet.named_parameters()}
    cross = {names[id(p)] for p in select_part(unet, "xattn")}
    others = {names[id(p)] for p in select_part(unet, "noxattn")}
    assert cross
    assert all("attn2" in name for name in cross)
    assert cross | others == set(names.values())
    assert not cross & others
    assert len(select_part(unet, "full")) == len(names)
    with pytest.raises(UserError, match="xattn"):
        select_part(torch.nn.Linear(2, 2), "xattn")


def test_streams_are_repeatable_and_apart() -> None:
    a, b = fork(torch.Generator().manual_seed(3), 2)
    again, _ = fork(torch.Generator().manual_seed(3), 2)
    assert a.initial_seed() == again.initial_seed() != b.initial_seed()


def sgd(kind: Any, pipeline: Any, problem: Problem, **values: Any) -> Training:
    """A double-precision training without clipping, truncation or dropped captions."""
    pipeline.unet.double()
    defaults: dict[str, Any] = {
        "optimiser": "sgd",
        "clip_norm": None,
        "truncation": None,
        "caption_drop": 0.0,
    }
    config = kind.Config(batch=4, steps=1, **(defaults | values))
    return kind.make_training(pipeline, problem, config)


def losses_around_a_step(training: Training) -> tuple[dict[str, float], dict[str, float]]:
    """Minimised objectives on one fixed batch a set, before and after one step on these batches."""
    batches = {name: next(stream) for name, stream in training.batches.items()}
    training.batches = {name: iter([batch]) for name, batch in batches.items()}

    @torch.no_grad()
    def measure() -> dict[str, float]:
        return {name: objective(batches[name])[0].item() for name, objective in training.objectives.items()}

    before = measure()
    training.step()
    return before, measure()


def conflicting_problem(seed: int) -> Problem:
    """Forget and retain images are almost the same: ascent on the ones undoes descent on the others."""
    problem = build_problem(seed)
    images = problem.forget_set.images + 0.05 * problem.retain_set.images
    prompts = problem.forget_set.prompts
    return replace(problem, retain_set=replace(problem.retain_set, images=images, prompts=prompts))


def share_draws(training: Training) -> None:
    """Let both sets use the same rows, timesteps and noise, so that their gradients are nearly opposite."""
    forget, retain = (next(training.batches[name]) for name in ("forget", "retain"))
    retain = replace(forget, target=forget.target + 0.3 * (retain.target - forget.target))
    training.batches = {"forget": iter([forget]), "retain": iter([retain])}


@pytest.mark.parametrize("seed", range(3))
def test_balanced_raises_neither_loss_where_the_sum_raises_one(pipeline_for: Pipelines, seed: int) -> None:
    changes = {}
    for kind in (balanced, gradient_sum):
        training = sgd(kind, pipeline_for("v_prediction"), conflicting_problem(seed), rate=1e-5, lam=0.1)
        share_draws(training)
        before, after = losses_around_a_step(training)
        assert training.log["conflict"] == [1]
        changes[kind] = {name: after[name] - before[name] for name in before}
        for name, change in changes[kind].items():  # the step is small enough for the first order to tell
            assert change == pytest.approx(training.log[f"update_dot_{name}"][0], rel=0.05)
    assert changes[balanced]["forget"] < 0
    assert changes[balanced]["retain"] < 0
    assert changes[gradient_sum]["retain"] > 0


def test_realised_products_are_those_of_the_restricted_gradient(pipeline_for: Pipelines) -> None:
    """Δθ·g_f = −η‖d_f‖² and Δθ·g_r = −ηλ‖d_r‖² for a plain step: the invariants on a real network."""
    rate, lam = 1e-4, 2.0
    training = sgd(balanced, pipeline_for(), conflicting_problem(1), rate=rate, lam=lam)
    share_draws(training)
    seen: list[tuple[Tensor, Tensor]] = []
    combine = training.combine
    assert combine is not None

    def spy(g_f: Any, g_r: Any, optimiser: Any) -> Any:
        seen.append((torch.cat([g.flatten() for g in g_f]), torch.cat([g.flatten() for g in g_r])))
        return combine(g_f, g_r, optimiser)

    training.combine = spy
    training.step()
    (f, r), log = seen[0], training.log
    cos = f @ r / f.norm() / r.norm()
    assert log["cos"][0] == pytest.approx(cos.item())
    assert log["update_dot_forget"][0] == pytest.approx((-rate * (1 - cos**2) * (f @ f)).item(), rel=1e-6)
    assert log["update_dot_retain"][0] == pytest.approx(
        (-rate * lam * (1 - cos**2) * (r @ r)).item(), rel=1e-6
    )


def test_clipping_bounds_the_step_and_the_log_has_the_norm_before(pipeline_for: Pipelines) -> None:
    training = sgd(gradient_sum, pipeline_for(), build_problem(), rate=1.0, clip_norm=1e-3)
    before = [p.detach().clone() for p in training.parameters]
    training.step()
    change = torch.cat([(p.detach() - b).flatten() for p, b in zip(training.parameters, before, strict=True)])
    assert training.log["norm_before_clipping"][0] > 1e-3
    assert change.norm().item() == pytest.approx(1e-3, rel=1e-2)


def test_methods_with_one_seed_see_the_same_batches(pipeline_for: Pipelines) -> None:
    config = {"batch": 3, "steps": 2}
    trainings = [
        balanced.make_training(pipeline_for(), build_problem(4), balanced.Config(**config)),
        gradient_sum.make_training(pipeline_for(), build_problem(4), gradient_sum.Config(**config)),
        Training(pipeline_for(), build_problem(4), TrainingConfig(**config)),
    ]
    for _ in range(2):
        drawn = [{name: next(stream) for name, stream in t.batches.items()} for t in trainings]
        assert torch.equal(drawn[0]["forget"].noisy, drawn[1]["forget"].noisy)
        assert all(torch.equal(drawn[0]["retain"].noisy, other["retain"].noisy) for other in drawn)
        assert not torch.equal(drawn[0]["forget"].noisy, drawn[0]["retain"].noisy)


@pytest.mark.parametrize("kind", [balanced, gradient_sum])
def test_a_default_step_is_bit_by_bit_that_of_one_batch_size_and_one_caption_drop(
    pipeline_for: Pipelines, kind: Any
) -> None:
    """The step written out: 32 images a set, a tenth of both sets' captions left out, a bound a sample."""
    trained = kind.make_training(pipeline_for("v_prediction"), build_problem(), kind.Config())
    trained.step()
    pipeline, problem = pipeline_for("v_prediction"), build_problem()
    streams = fork(problem.generator, 2)
    denoiser = Denoiser(pipeline)
    parameters = list(pipeline.unet.parameters())
    gradients = []
    for images, stream in zip((problem.forget_set, problem.retain_set), streams, strict=True):
        errors = denoiser.errors(denoiser.draw(denoiser.encode(images), 32, 0.1, stream))
        forget = images is problem.forget_set
        loss = torch.relu(1.0 - errors.flatten(1).mean(1)).mean() if forget else errors.mean()
        loss.backward()
        gradients.append([p.grad for p in parameters])
        for parameter in parameters:
            parameter.grad = None
    combine = combine_balanced if kind is balanced else combine_sum
    for parameter, value in zip(parameters, combine(*gradients, 1.0), strict=True):
        parameter.grad = value
    torch.nn.utils.clip_grad_norm_(parameters, 1.0)
    torch.optim.AdamW(parameters, lr=1e-4, weight_decay=0.0).step()
    assert all(torch.equal(a, b) for a, b in zip(trained.parameters, parameters, strict=True))


@pytest.mark.parametrize(("batch", "size"), [(None, 4), (5, 5), ("all", 6)])
def test_the_retain_set_has_a_batch_and_dropped_captions_of_its_own(
    pipeline_for: Pipelines, batch: Any, size: int
) -> None:
    config = balanced.Config(batch=4, caption_drop=0.0, retain_batch=batch, retain_caption_drop=1.0, steps=1)
    training = balanced.make_training(pipeline_for(), build_problem(), config)
    drawn = {name: next(stream) for name, stream in training.batches.items()}
    empty = training.denoiser.encode_text([""], (16, 16))["encoder_hidden_states"][0]
    states = {name: b.conditions["encoder_hidden_states"] for name, b in drawn.items()}
    assert {name: len(s) for name, s in states.items()} == {"forget": 4, "retain": size}
    assert not any(torch.allclose(s, empty) for s in states["forget"])
    assert all(torch.allclose(s, empty) for s in states["retain"])
    training.step()
    assert training.log["retain_loss"][0] > 0


def test_diagnostics_do_not_change_the_training(pipeline_for: Pipelines) -> None:
    weights, logs = [], []
    for diagnostics in (True, False):
        pipeline = pipeline_for()
        config = balanced.Config(batch=2, steps=3, diagnostics=diagnostics, inner_product="adam", lam=0.7)
        balanced.unlearn(pipeline, build_problem(), config, lambda step, log: logs.append(log))
        weights.append(pipeline.unet.state_dict())
    assert all(torch.equal(weights[0][name], weights[1][name]) for name in weights[0])
    assert list(logs[1]) == ["step"]


def test_divergence_is_an_error_not_a_point(pipeline_for: Pipelines) -> None:
    config = gradient_sum.Config(
        optimiser="sgd", rate=1e30, clip_norm=None, truncation=None, batch=2, steps=3, diagnostics=False
    )
    saved: list[int] = []
    pipeline = pipeline_for()
    with pytest.raises(FloatingPointError, match="step 3"):
        gradient_sum.unlearn(pipeline, build_problem(), config, lambda step, log: saved.append(step))
    assert not saved
    assert not any(p.requires_grad for p in pipeline.unet.parameters())


def test_balanced_needs_at_most_one_more_gradient_than_the_sum(pipeline_for: Pipelines) -> None:
    peaks = {}
    for kind in (balanced, gradient_sum):
        config = kind.Config(batch=1, steps=2, diagnostics=False)
        training = kind.make_training(pipeline_for(), build_problem(), config)
        training.step()  # the optimiser's state exists from here on
        with AllocationPeak() as memory:
            training.step()
        peaks[kind] = memory.peak
    size = sum(p.numel() * p.element_size() for p in training.parameters)
    assert peaks[gradient_sum] > size
    assert peaks[balanced] - peaks[gradient_sum] <= size / 10

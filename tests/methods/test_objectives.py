"""Encoding, noising, targets, truncation: against diffusers and by hand."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch

from unlearnbench.bench.errors import UserError
from unlearnbench.bench.training.objectives import Denoiser, anchor, ascent, denoising, truncated_ascent

from .families import build_family
from .tiny import TOKENS, WIDTH, build_problem

Pipelines = Callable[..., Any]
ERRORS = torch.tensor([[0.2, 0.6], [1.0, 3.0]])
"""Two samples of two elements: means .4 and 2, in all 1.2."""


@pytest.mark.parametrize(
    ("mode", "bound", "value", "gradient"),
    [
        ("sample", 1.0, 0.3, [[-0.25, -0.25], [0, 0]]),  # relu(1-.4), relu(1-2): mean of .6 and 0
        ("element", 1.0, 0.3, [[-0.25, -0.25], [0, 0]]),  # .8, .4, 0, 0
        ("element", 2.0, 1.05, [[-0.25, -0.25], [-0.25, 0]]),  # 1.8, 1.4, 1, 0
        ("batch", 1.0, 0.0, [[0, 0], [0, 0]]),  # 1.2 is above the bound
        ("batch", 2.0, 0.8, [[-0.25, -0.25], [-0.25, -0.25]]),
        ("sample", None, -1.2, [[-0.25, -0.25], [-0.25, -0.25]]),
    ],
)
def test_hinges_worked_by_hand(
    mode: Any, bound: float | None, value: float, gradient: list[list[float]]
) -> None:
    errors = ERRORS.clone().requires_grad_(True)
    objective = truncated_ascent(errors, bound, mode)
    objective.backward()
    assert objective.item() == pytest.approx(value)
    assert errors.grad is not None
    assert torch.equal(errors.grad, torch.tensor(gradient))


def test_a_bound_of_x0s_error_worked_by_hand() -> None:
    """Weights 4 and 20 make a bound of .1 one of .4 and 2: .2 and 1 of the errors are below it."""
    errors = ERRORS[:, :, None, None].clone().requires_grad_(True)
    weights = torch.tensor([4.0, 20.0])
    denoiser: Any = SimpleNamespace(
        errors=lambda batch: errors, noising=SimpleNamespace(weigh_clean=lambda times: weights)
    )
    batch: Any = SimpleNamespace(times=None)
    objective, logged = ascent(denoiser, 0.1, "element-x0")(batch)
    objective.backward()
    assert objective.item() == pytest.approx((0.2 + 0 + 1 + 0) / 4)
    assert logged.item() == pytest.approx(1.2)
    assert errors.grad is not None
    assert torch.equal(errors.grad[..., 0, 0], torch.tensor([[-0.25, 0], [-0.25, 0]]))


def test_weights_of_x0s_error_worked_by_hand(pipeline_for: Pipelines, family_for: Pipelines) -> None:
    """At ᾱ = .8 an error of ε is √(.8/.2) = 2 times that of x0, one of v 1/√.2; in a flow 1/σ."""
    for prediction, weight in (("epsilon", 4.0), ("v_prediction", 5.0), ("sample", 1.0)):
        noising = Denoiser(pipeline_for(prediction)).noising
        noising.schedule.alphas_cumprod = torch.tensor([0.5, 0.8])
        assert noising.weigh_clean(torch.tensor([1])).tolist() == pytest.approx([weight])
    flow = Denoiser(family_for("sd3")).noising
    assert flow.weigh_clean(torch.tensor([1000.0, 500.0])).tolist() == pytest.approx([1.0, 4.0])


KINDS = ("epsilon", "v_prediction", "sample", "sd3", "flux")


@pytest.mark.parametrize("kind", KINDS)
def test_truncation_on_x0_is_the_released_formula(
    pipeline_for: Pipelines, family_for: Pipelines, kind: str
) -> None:
    """-w min((D - y)², α) an element, D the clean image that a prediction says: the same gradient."""
    pipeline = (family_for if kind in ("sd3", "flux") else pipeline_for)(kind)
    denoiser, problem = Denoiser(pipeline), build_problem()
    batch = denoiser.draw(denoiser.encode(problem.forget_set), 4, 0.0, problem.generator)
    if kind in ("sd3", "flux"):
        sigma = (batch.times / 1000).view(-1, 1, 1, 1)
        alpha, weight = 1 - sigma, 1 / sigma**2
        error = sigma * (denoiser.predict(batch, batch.conditions) - batch.target)
    else:
        share = pipeline.scheduler.alphas_cumprod[batch.times].view(-1, 1, 1, 1)
        alpha, sigma = share.sqrt(), (1 - share).sqrt()
        weight = {"epsilon": share, "v_prediction": 1.0, "sample": 1 - share}[kind] / (1 - share)
        said, wanted = denoiser.predict(batch, batch.conditions), batch.target
        clean = {
            "epsilon": lambda e: (batch.noisy - sigma * e) / alpha,
            "v_prediction": lambda v: alpha * batch.noisy - sigma * v,
            "sample": lambda x: x,
        }[kind]
        error = clean(said) - clean(wanted)
    squares = error.detach().square().flatten().sort().values
    bound = squares[len(squares) // 2 - 1 :][:2].mean().item()  # half of the elements are truncated
    parameter = next(p for p in reversed(list(denoiser.module.parameters())) if p.dim() > 1)
    published = -(weight * error.square().clamp(max=bound)).mean()
    wanted_gradient = torch.autograd.grad(published, parameter)[0]
    objective, logged = ascent(denoiser, bound, "element-x0")(batch)
    torch.testing.assert_close(
        torch.autograd.grad(objective, parameter)[0], wanted_gradient, rtol=1e-3, atol=1e-6
    )
    assert wanted_gradient.any()
    assert objective.item() == pytest.approx(
        (published + (weight * bound * torch.ones_like(error)).mean()).item(), rel=1e-3
    )
    assert logged.item() == pytest.approx((weight * error.square()).mean().item(), rel=1e-3)


def test_sample_hinge_has_no_gradient_at_or_above_the_bound() -> None:
    errors = torch.tensor([[1.0, 1.0], [5.0, 7.0]], requires_grad=True)
    truncated_ascent(errors, 1.0, "sample").backward()
    assert errors.grad is not None
    assert not errors.grad.any()


def test_sample_hinge_switches_off_the_whole_models_gradient(pipeline_for: Pipelines) -> None:
    denoiser = Denoiser(pipeline_for())
    problem = build_problem()
    batch = denoiser.draw(denoiser.encode(problem.forget_set), 3, 0.0, problem.generator)
    loss = denoiser.errors(batch).flatten(1).mean(1)
    bound = float(loss.median())  # of three samples two are at or above it
    objective, logged = ascent(denoiser, bound, "sample")(batch)
    gradient = torch.autograd.grad(objective, denoiser.module.conv_out.weight)[0]
    lowest = int(loss.argmin())
    alone = torch.autograd.grad(-denoiser.errors(batch)[lowest].mean() / 3, denoiser.module.conv_out.weight)[
        0
    ]
    torch.testing.assert_close(gradient, alone)
    assert logged.item() == pytest.approx(loss.mean().item())
    off, _ = ascent(denoiser, 1e-6, "sample")(batch)
    assert not torch.autograd.grad(off, denoiser.module.conv_out.weight)[0].any()


@pytest.mark.parametrize("prediction", ["epsilon", "v_prediction", "sample"])
def test_noising_and_target_are_diffusers_own(pipeline_for: Pipelines, prediction: str) -> None:
    pipeline = pipeline_for(prediction)
    denoiser, problem = Denoiser(pipeline), build_problem()
    encoded = denoiser.encode(problem.forget_set)
    seed = 11
    batch = denoiser.draw(encoded, 64, 0.0, torch.Generator().manual_seed(seed))
    again = torch.Generator().manual_seed(seed)
    rows = torch.randint(6, (64,), generator=again)
    torch.rand(64, generator=again)
    times = torch.randint(1000, (64,), generator=again)
    noise = torch.randn(batch.noisy.shape, generator=again)
    clean, scheduler = encoded.latents[rows], pipeline.scheduler
    wanted = {
        "epsilon": noise,
        "sample": clean,
        "v_prediction": scheduler.get_velocity(clean, noise, times),
    }
    assert torch.equal(batch.times, times)
    torch.testing.assert_close(batch.noisy, scheduler.add_noise(clean, noise, times))
    torch.testing.assert_close(batch.target, wanted[prediction])
    alphas = pipeline.scheduler.alphas_cumprod
    torch.testing.assert_close(denoiser.noising.schedule.alphas_cumprod, alphas)
    if prediction == "v_prediction":
        assert alphas[-1] == 0


def test_a_batch_of_the_whole_set_has_every_image_once(pipeline_for: Pipelines) -> None:
    denoiser, problem = Denoiser(pipeline_for()), build_problem()
    encoded = denoiser.encode(problem.retain_set)
    batch = denoiser.draw(encoded, None, 0.0, problem.generator)
    clean = denoiser.noising.schedule.add_noise(encoded.latents, batch.target, batch.times)
    torch.testing.assert_close(batch.noisy, clean)
    assert torch.equal(
        batch.conditions["encoder_hidden_states"], encoded.conditions["encoder_hidden_states"][encoded.rows]
    )


def test_loss_is_the_squared_error_of_the_unet(pipeline_for: Pipelines) -> None:
    denoiser, problem = Denoiser(pipeline_for("v_prediction")), build_problem()
    batch = denoiser.draw(denoiser.encode(problem.retain_set), 5, 0.5, problem.generator)
    output = denoiser.module(batch.noisy, batch.times, batch.conditions["encoder_hidden_states"]).sample
    loss, logged = denoising(denoiser)(batch)
    assert loss.item() == pytest.approx(((output - batch.target) ** 2).mean().item())
    assert logged is loss
    assert batch.noisy.is_contiguous(memory_format=torch.channels_last)


def test_encoding_is_the_pipelines_own(pipeline_for: Pipelines) -> None:
    pipeline = pipeline_for()
    problem = build_problem()
    prompts = (*problem.forget_set.prompts[:5], problem.forget_set.prompts[0])  # one of them twice
    encoded = Denoiser(pipeline).encode(replace(problem.forget_set, prompts=prompts))
    with torch.no_grad():
        latents = (
            pipeline.vae.encode(problem.forget_set.images).latent_dist.mean
            * pipeline.vae.config.scaling_factor
        )
        text = pipeline.encode_prompt(list(prompts), "cpu", 1, True, negative_prompt=[""] * 6)
    torch.testing.assert_close(encoded.latents, latents)
    assert encoded.conditions["encoder_hidden_states"].shape == (
        1 + 5 + 6,
        TOKENS,
        WIDTH,
    )  # empty, distinct prompts, anchors
    torch.testing.assert_close(encoded.conditions["encoder_hidden_states"][encoded.rows], text[0])
    torch.testing.assert_close(encoded.conditions["encoder_hidden_states"][:1], text[1][:1])
    assert not encoded.latents.requires_grad
    assert not encoded.conditions["encoder_hidden_states"].requires_grad


def test_shift_factor_is_taken_off(tmp_path: Path) -> None:
    pipeline, images = build_family("sd3", tmp_path), build_problem().forget_set
    pipeline.vae.register_to_config(shift_factor=None)
    plain = Denoiser(pipeline).encode(images).latents
    scale = pipeline.vae.config.scaling_factor
    pipeline.vae.register_to_config(shift_factor=0.5)
    torch.testing.assert_close(Denoiser(pipeline).encode(images).latents, plain - 0.5 * scale)


def test_captions_are_left_out_with_their_anchors_at_the_asked_rate(pipeline_for: Pipelines) -> None:
    denoiser, problem = Denoiser(pipeline_for()), build_problem()
    encoded = denoiser.encode(problem.forget_set)
    batch = denoiser.draw(encoded, 4000, 0.1, problem.generator)
    assert batch.anchors is not None
    empty = (
        (batch.conditions["encoder_hidden_states"] == encoded.conditions["encoder_hidden_states"][0])
        .flatten(1)
        .all(1)
    )
    assert 0.08 < empty.float().mean() < 0.12
    assert torch.equal(
        empty,
        (batch.anchors["encoder_hidden_states"] == encoded.conditions["encoder_hidden_states"][0])
        .flatten(1)
        .all(1),
    )
    counts = torch.bincount(batch.times, minlength=1000)
    assert len(counts) == 1000
    assert counts[:100].sum() > 300  # uniform over all timesteps, both ends
    assert counts[900:].sum() > 300


def test_anchor_is_the_frozen_bases_prediction(pipeline_for: Pipelines) -> None:
    denoiser, problem = Denoiser(pipeline_for()), build_problem()
    batch = denoiser.draw(denoiser.encode(problem.forget_set), 4, 0.0, problem.generator)
    objective = anchor(denoiser)
    base = denoiser.module(batch.noisy, batch.times, batch.anchors["encoder_hidden_states"]).sample.detach()
    with torch.no_grad():
        denoiser.module.conv_out.bias.add_(1.0)  # the base's copy must not move along
    now = denoiser.module(batch.noisy, batch.times, batch.conditions["encoder_hidden_states"]).sample
    assert objective(batch)[0].item() == pytest.approx((now - base).square().mean().item(), rel=1e-5)
    with pytest.raises(UserError, match="anchor prompts"):
        objective(replace(batch, anchors=None))


def test_pipelines_that_cannot_be_trained_are_refused(pipeline_for: Pipelines) -> None:
    half = pipeline_for()
    half.unet.to(torch.float16)
    with pytest.raises(UserError, match=r"torch\.float32"):
        Denoiser(half)
    headless = pipeline_for()
    headless.unet = None
    with pytest.raises(UserError, match="no denoiser"):
        Denoiser(headless)
    inpainting = pipeline_for()
    inpainting.unet.register_to_config(in_channels=9)
    with pytest.raises(UserError, match="inpainting"):
        Denoiser(inpainting)
    labelled = pipeline_for()
    labelled.unet.register_to_config(class_embed_type="timestep")
    with pytest.raises(UserError, match="class labels"):
        Denoiser(labelled)
    with pytest.raises(UserError, match=r"object: no training loss.*FluxPipeline"):
        Denoiser(object())


def test_sets_whose_prompts_and_images_do_not_pair_are_refused(pipeline_for: Pipelines) -> None:
    denoiser, images = Denoiser(pipeline_for()), build_problem().forget_set
    for broken in (replace(images, prompts=images.prompts[:2]), replace(images, anchor_prompts=("a",))):
        with pytest.raises(UserError, match="each image needs one prompt"):
            denoiser.encode(broken)
    with pytest.raises(UserError, match="each image needs one prompt"):
        denoiser.encode(replace(images, prompts=(), images=images.images[:0]))

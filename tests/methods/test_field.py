"""The field's methods: the invariant of each, and one step of it by hand."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch

from unlearnbench.bench.errors import UserError
from unlearnbench.bench.running.catalog import registry
from unlearnbench.bench.training.gradients import dot
from unlearnbench.bench.training.trainer import Training, fork, select_part
from unlearnbench.methods import concept_ablation, erasediff, munba, salun, scissorhands
from unlearnbench.methods.training.esd import EsdTrainer
from unlearnbench.methods.training.steering import steer

from .tiny import build_problem, copy_state, run_small, small_config

METHODS = registry("methods")
Pipelines = Callable[..., Any]


def test_esds_step_is_that_of_its_target_by_hand(pipeline_for: Pipelines) -> None:
    pipeline, problem = pipeline_for(), build_problem()
    unet = pipeline.unet.eval()
    [stream] = fork(build_problem().generator, 1)
    row = int(torch.randint(1, 2, (1,), generator=stream))
    stop = int(torch.randint(3, (1,), generator=stream))
    noisy = torch.randn((1, 4, 8, 8), generator=stream)
    assert row == 1
    empty, concept = (pipeline.encode_prompt([text], "cpu", 1, False)[0] for text in ("", "cat"))
    pipeline.scheduler.set_timesteps(3)
    with torch.no_grad():
        for time in pipeline.scheduler.timesteps[:stop]:
            plain, guided = (unet(noisy, time, states).sample for states in (empty, concept))
            noisy = pipeline.scheduler.step(plain + 3.0 * (guided - plain), time, noisy).prev_sample
        time = pipeline.scheduler.timesteps[stop]
        plain, guided = (unet(noisy, time, states).sample for states in (empty, concept))
        target = plain - 2.0 * (guided - plain)
    parameters = [p for name, p in unet.named_parameters() if "attn2" in name]
    loss = (unet(noisy, time, concept).sample - target).square().mean()
    gradients = torch.autograd.grad(loss, parameters)
    expected = [(p - 0.5 * g).detach() for p, g in zip(parameters, gradients, strict=True)]
    log = run_small(
        METHODS["esd_x"],
        pipeline,
        problem,
        batch=1,
        optimiser="sgd",
        rate=0.5,
        prompts="name",
        negative_guidance=2.0,
    )
    assert log["forget_loss"][0] == pytest.approx(loss.item(), rel=1e-4)
    for parameter, wanted in zip(parameters, expected, strict=True):
        torch.testing.assert_close(parameter, wanted, rtol=1e-4, atol=1e-7)


def test_esds_latents_come_from_the_current_model_or_the_base(pipeline_for: Pipelines) -> None:
    batches = {}
    for drawn_by in ("current", "base"):
        pipeline = pipeline_for()
        config = small_config(METHODS["esd_x"], drawn_by=drawn_by)
        trainer = EsdTrainer(pipeline, build_problem(), config, select_part(pipeline.unet, "xattn"))
        with torch.no_grad():
            for parameter in trainer.parameters:
                parameter.add_(0.1)
        batches[drawn_by] = [trainer.draw()[0] for _ in range(4)]
    pairs = list(zip(batches["current"], batches["base"], strict=True))
    assert all(torch.equal(a.times, b.times) for a, b in pairs)
    drawn = [not torch.equal(a.noisy, b.noisy) for a, b in pairs if a.times[0] < 999]
    assert drawn  # a time behind the first step was drawn
    assert all(drawn)


def test_concept_ablations_loss_is_zero_where_the_concept_is_its_anchor(pipeline_for: Pipelines) -> None:
    problem, pipeline = build_problem(), pipeline_for()
    itself = replace(problem.forget_set, anchor_prompts=problem.forget_set.prompts)
    problem = replace(problem, anchor="cat", forget_set=itself)
    before = copy_state(pipeline.unet)
    log = run_small(METHODS["concept_ablation"], pipeline, problem, steps=2, checkpoints=[2])
    assert log["forget_loss"] == [0.0, 0.0]
    assert all(torch.equal(before[name], value) for name, value in copy_state(pipeline.unet).items())


def test_concept_ablations_step_by_hand(pipeline_for: Pipelines) -> None:
    pipeline = pipeline_for()
    unet = pipeline.unet.eval()
    config = small_config(METHODS["concept_ablation"], optimiser="sgd", rate=0.5, prior_weight=0.25)
    trainer = concept_ablation.AblationTrainer(pipeline, build_problem(), config)
    assert trainer.encoded.latents.shape == (4, 4, 8, 8)
    state = trainer.stream.get_state()
    batch = trainer.denoiser.draw(trainer.encoded, 2, 0.0, trainer.stream)
    trainer.stream.set_state(state)
    prompts = build_problem().forget_set.prompts
    encoded = [pipeline.encode_prompt([p], "cpu", 1, False)[0] for p in prompts]
    assert any(torch.allclose(batch.conditions["encoder_hidden_states"][:1], e, atol=1e-6) for e in encoded)
    assert batch.anchors is not None
    ours = unet(batch.noisy, batch.times, batch.conditions["encoder_hidden_states"]).sample
    theirs = unet(batch.noisy, batch.times, batch.anchors["encoder_hidden_states"]).sample
    loss = (ours - theirs.detach()).square().mean() + 0.25 * (theirs - batch.target).square().mean()
    gradients = torch.autograd.grad(loss, trainer.parameters)
    expected = [(p - 0.5 * g).detach() for p, g in zip(trainer.parameters, gradients, strict=True)]
    trainer.step()
    for parameter, wanted in zip(trainer.parameters, expected, strict=True):
        torch.testing.assert_close(parameter.detach(), wanted, rtol=1e-4, atol=1e-7)


def test_concept_ablation_without_an_anchor_is_refused(pipeline_for: Pipelines) -> None:
    with pytest.raises(UserError, match="anchor: the task names none"):
        run_small(METHODS["concept_ablation"], pipeline_for(), replace(build_problem(), anchor=None))


def test_salun_holds_the_weights_outside_its_mask_bit_by_bit(pipeline_for: Pipelines) -> None:
    pipeline, problem = pipeline_for(), build_problem()
    config = small_config(METHODS["salun"])
    [stream] = fork(problem.generator, 1)
    training = Training(pipeline, problem, config, forget=steer)
    masks = salun.find_mask(training, problem, config, stream)
    count = sum(p.numel() for p in training.parameters)
    assert sum(int(m.sum()) for m in masks) == round(0.5 * count)
    again = pipeline_for()
    before = [p.detach().clone() for p in again.unet.parameters()]
    run_small(METHODS["salun"], again, steps=3, checkpoints=[3])
    changed = [b != p for b, p in zip(before, again.unet.parameters(), strict=True)]
    assert not any(bool((c & ~m).any()) for c, m in zip(changed, masks, strict=True))
    assert sum(int(c.sum()) for c in changed) > 0.9 * sum(int(m.sum()) for m in masks)


def test_saluns_mask_is_of_the_largest_gradients(pipeline_for: Pipelines) -> None:
    pipeline, problem = pipeline_for(), build_problem()
    config = small_config(METHODS["salun"], mask_batches=1, share=0.1)
    [stream] = fork(problem.generator, 1)
    training = Training(pipeline, problem, config, forget=steer)
    state = stream.get_state()
    masks = salun.find_mask(training, problem, config, stream)
    stream.set_state(state)
    denoiser = training.denoiser
    batch = denoiser.draw(denoiser.encode(problem.forget_set), 2, 0.0, stream)
    output = pipeline.unet(batch.noisy, batch.times, batch.conditions["encoder_hidden_states"]).sample
    gradients = torch.autograd.grad((output - batch.target).square().mean(), training.parameters)
    scores = np.concatenate([g.abs().flatten().numpy() for g in gradients])
    chosen = np.concatenate([m.flatten().numpy() for m in masks])
    assert scores[chosen].min() >= scores[~chosen].max()


def test_salun_refuses_a_weight_decay() -> None:
    with pytest.raises(UserError, match=r"weight_decay.*moves the weights that the mask holds"):
        small_config(METHODS["salun"], weight_decay=0.1)


def test_erasediffs_inner_steps_are_undone(pipeline_for: Pipelines) -> None:
    pipeline, problem = pipeline_for(), build_problem()
    config = small_config(METHODS["erasediff"], inner_steps=3, rate=0.1)
    training = erasediff.BilevelTraining(pipeline, problem, config, forget=steer)
    before = copy_state(pipeline.unet)
    state = {id(p): dict(training.optimiser.state[p]) for p in training.parameters}
    inner = training.look_ahead()
    assert inner > 0
    assert all(torch.equal(before[name], value) for name, value in copy_state(pipeline.unet).items())
    assert state == {id(p): dict(training.optimiser.state[p]) for p in training.parameters}


def test_erasediff_without_a_penalty_is_a_retain_step(pipeline_for: Pipelines) -> None:
    weights = []
    for name, values in (("finetune", {}), ("erasediff", {"forget_weight": 0.0, "inner_steps": 2})):
        pipeline = pipeline_for()
        run_small(METHODS[name], pipeline, steps=2, checkpoints=[2], rate=1e-4, **values)
        weights.append(copy_state(pipeline.unet))
    assert all(torch.equal(weights[0][key], weights[1][key]) for key in weights[0])


def test_erasediffs_penalties_by_hand() -> None:
    g_f, g_r = [torch.tensor([3.0, 4.0])], [torch.tensor([-1.0, 2.0])]
    fixed = erasediff.combine_penalty(g_f, [g_r[0].clone()], 0.1, "fixed")
    assert fixed[0].tolist() == pytest.approx([-0.7, 2.4])
    # ∇L·∇f = 5, ‖∇f‖² = 25: λ = max(0, η - 1/5)
    for eta, lam in ((0.1, 0.0), (0.5, 0.3)):
        found = erasediff.combine_penalty(g_f, [g_r[0].clone()], eta, "dynamic")
        assert found[0].tolist() == pytest.approx([-1 + 3 * lam, 2 + 4 * lam])
        assert dot(found, g_f).item() >= eta * 25 - 1e-4 or lam == 0.0


@pytest.mark.parametrize("cosine", [-0.9, -0.3, 0.0, 0.5, 0.99])
def test_munbas_weights_solve_the_bargaining_equation(cosine: float) -> None:
    lengths = (3.0, 0.02)
    gram = np.array([[9.0, cosine * 0.06], [cosine * 0.06, 0.0004]])
    alpha = np.array(munba.nash_coefficients(gram[0, 0], gram[1, 1], gram[0, 1]))
    np.testing.assert_allclose(gram @ alpha, 1 / alpha, rtol=1e-9)
    assert alpha @ gram @ alpha == pytest.approx(2.0)
    scaled = np.array(munba.nash_coefficients(gram[0, 0] * 1e6, gram[1, 1], gram[0, 1] * 1e3))
    np.testing.assert_allclose(scaled * [1e3, 1.0], alpha, rtol=1e-9)
    assert np.all(alpha * lengths > 0)


def test_munbas_direction_is_free_of_the_gradients_scale() -> None:
    g_f, g_r = [torch.randn(5), torch.randn(2, 3)], [torch.randn(5), torch.randn(2, 3)]
    first = munba.combine_nash([g.clone() for g in g_f], g_r)
    second = munba.combine_nash([100 * g for g in g_f], [0.01 * g for g in g_r])
    for a, b in zip(first, second, strict=True):
        torch.testing.assert_close(a, b, rtol=1e-4, atol=1e-5)
    assert dot(first, first).item() == pytest.approx(2.0, rel=1e-4)
    assert dot(first, g_f).item() > 0
    assert dot(first, g_r).item() > 0


def test_munba_takes_no_step_between_opposite_gradients_and_one_where_one_is_zero() -> None:
    g = [torch.tensor([1.0, 2.0])]
    assert munba.combine_nash([-3 * g[0]], g)[0].tolist() == [0.0, 0.0]
    alone = munba.combine_nash([torch.zeros(2)], g)[0]
    assert alone.tolist() == pytest.approx([(2 / 5) ** 0.5, 2 * (2 / 5) ** 0.5])
    assert munba.combine_nash([torch.zeros(2)], [torch.zeros(2)])[0].tolist() == [0.0, 0.0]


def test_scissorhands_initialises_exactly_the_most_salient_weights_again(pipeline_for: Pipelines) -> None:
    pipeline, problem = pipeline_for(), build_problem()
    config = small_config(METHODS["scissorhands"], share=0.01, mask_batches=2)
    stream, fresh = fork(problem.generator, 2)
    training = Training(pipeline, problem, config, forget=steer)
    state = stream.get_state()
    masks = scissorhands.find_saliency(training, problem, config, stream)
    stream.set_state(state)
    denoiser = training.denoiser
    encoded, total = denoiser.encode(problem.forget_set), 0.0
    for _ in range(2):
        batch = denoiser.draw(encoded, 2, 0.0, stream)
        output = pipeline.unet(batch.noisy, batch.times, batch.conditions["encoder_hidden_states"]).sample
        gradients = torch.autograd.grad((output - batch.target).square().mean(), training.parameters)
        total = total + np.concatenate([g.abs().flatten().numpy() for g in gradients])
    weights = np.concatenate([p.detach().flatten().numpy() for p in training.parameters])
    scores, chosen = np.abs(weights * total), np.concatenate([m.flatten().numpy() for m in masks])
    assert chosen.sum() == round(0.01 * len(scores))
    assert scores[chosen].min() >= scores[~chosen].max() * (1 - 1e-5)
    names = [name for name, _ in pipeline.unet.named_parameters()]
    before = [p.detach().clone() for p in training.parameters]
    for name, parameter, mask in zip(names, training.parameters, masks, strict=True):
        scissorhands.initialise(name, parameter, mask, fresh)
    for name, old, new, mask in zip(names, before, training.parameters, masks, strict=True):
        assert torch.equal(old[~mask], new.detach()[~mask])
        again = new.detach()[mask]
        if old.dim() >= 2:
            assert bool((old[mask] != again).all())
        else:
            assert bool((again == float(name.endswith("weight"))).all())


def test_scissorhands_without_a_share_only_repairs(pipeline_for: Pipelines) -> None:
    pipeline, problem = pipeline_for(), build_problem()
    log = run_small(METHODS["scissorhands"], pipeline, problem, share=0.0, forget_weight=0.0, rate=1e-4)
    base = pipeline_for()
    changed = [
        torch.equal(a, b) for a, b in zip(base.unet.parameters(), pipeline.unet.parameters(), strict=True)
    ]
    assert log["retain_loss"][0] > 0
    assert not all(changed)
    largest = max(
        float((a - b).abs().max())
        for a, b in zip(base.unet.parameters(), pipeline.unet.parameters(), strict=True)
    )
    assert largest <= 1.01e-4  # one step of AdamW at its rate, and no weight drawn again


@pytest.mark.parametrize("name", ["esd_x", "esd_u", "uce", "rece", "concept_prune"])
def test_a_problem_that_names_no_target_is_refused_where_a_name_is_asked(
    pipeline_for: Pipelines, name: str
) -> None:
    with pytest.raises(UserError, match="targets: the problem does not name"):
        run_small(METHODS[name], pipeline_for(), replace(build_problem(), targets=()), prompts="name")


@pytest.mark.parametrize("name", ["salun", "erasediff", "munba", "scissorhands"])
def test_methods_that_steer_say_that_they_need_an_anchor(pipeline_for: Pipelines, name: str) -> None:
    problem = build_problem()
    problem = replace(problem, forget_set=replace(problem.forget_set, anchor_prompts=()))
    with pytest.raises(UserError, match="no anchor prompts"):
        run_small(METHODS[name], pipeline_for(), problem)


@pytest.mark.parametrize(
    "name",
    ["esd_x", "esd_u", "uce", "rece", "concept_ablation", "salun", "erasediff", "munba", "scissorhands",
     "concept_prune", "fmn"],
)  # fmt: skip
def test_it_repeats_bit_by_bit(pipeline_for: Pipelines, name: str) -> None:
    found = []
    for _ in range(2):
        pipeline = pipeline_for()
        log = run_small(METHODS[name], pipeline)
        torch.rand(17)  # the global generator must not matter
        found.append((copy_state(pipeline.unet), log))
    assert all(torch.equal(found[0][0][key], found[1][0][key]) for key in found[0][0])
    assert found[0][1] == found[1][1]


@pytest.mark.parametrize(
    ("name", "inside"),
    [
        ("down_blocks.1.attentions.0.transformer_blocks.0.attn1.to_q.weight", True),
        ("down_blocks.1.attentions.0.transformer_blocks.0.attn2.to_q.weight", False),
        ("transformer_blocks.0.attn.to_out.0.bias", True),
        ("transformer_blocks.0.attn.add_k_proj.weight", False),
        ("single_transformer_blocks.0.attn.to_v.weight", True),
        ("transformer_blocks.0.ff.net.2.weight", False),
    ],
)
def test_scissorhands_knows_self_attention_in_every_family(name: str, inside: bool) -> None:
    assert scissorhands.is_self_attention(name) is inside

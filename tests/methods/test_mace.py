"""MACE: its closed forms by a solver of least squares, its LoRA, its regions and its times by hand."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch

from unlearnbench.bench.config import build
from unlearnbench.bench.errors import UserError
from unlearnbench.bench.running.catalog import registry
from unlearnbench.bench.training.objectives import Denoiser
from unlearnbench.methods import mace
from unlearnbench.methods.training.attention import keep_maps
from unlearnbench.methods.training.tokens import encode_tokens

from .tiny import TOKENS, build_problem, copy_state, run_small, small_config

MACE = registry("methods")["mace"]
Pipelines = Callable[..., Any]


def _trainer(pipeline: Any, problem: Any = None, **values: Any) -> mace.MaceTrainer:
    return mace.MaceTrainer(pipeline, problem or build_problem(), small_config(MACE, **values))


def _lstsq(rows: list[tuple[Any, Any, float]], base: Any, lam: float) -> Any:
    """Return W that minimises Σ s‖W x - y‖² + λ‖W - base‖². rows: x (m, d), y (m, out), s."""
    width = base.shape[1]
    inputs = [scale**0.5 * x for x, _, scale in rows] + [lam**0.5 * np.eye(width)]
    outputs = [scale**0.5 * y for _, y, scale in rows] + [lam**0.5 * base.T]
    return np.linalg.lstsq(np.concatenate(inputs), np.concatenate(outputs), rcond=None)[0].T


def test_the_fusion_equals_a_solver_of_least_squares() -> None:
    stream = torch.Generator().manual_seed(3)
    base, refined = torch.randn(2, 5, 7, generator=stream).double()
    deltas = [(torch.randn(4, 7, generator=stream).double(), torch.randn(5, 7, generator=stream).double())]
    deltas.append(
        (torch.randn(6, 7, generator=stream).double(), torch.randn(5, 7, generator=stream).double())
    )
    preserved = torch.randn(9, 7, generator=stream).double()
    rows = [(e.numpy(), (e @ (refined + d).T).numpy(), 1.0) for e, d in deltas]
    rows.append((preserved.numpy(), (preserved @ base.T).numpy(), 0.3))
    expected = _lstsq(rows, base.numpy(), 0.05)
    found = mace.fuse(base, refined, deltas, preserved, 0.3, 0.05)
    np.testing.assert_allclose(found.numpy(), expected, atol=1e-9)


def test_loras_of_zero_on_unchanged_matrices_fuse_to_the_base() -> None:
    stream = torch.Generator().manual_seed(4)
    base, states = torch.randn(5, 7, generator=stream), torch.randn(20, 7, generator=stream)
    zero = torch.zeros_like(base)
    torch.testing.assert_close(mace.fuse(base, base, [(states, zero)] * 2, states, 1.0, 0.1), base)


def test_the_refinement_maps_the_words_next_to_the_target_and_leaves_its_own_states_out(
    pipeline_for: Pipelines,
) -> None:
    pipeline = pipeline_for()
    layer = next(m for name, m in pipeline.unet.named_modules() if name.endswith("attn2.to_k"))
    base = layer.weight.detach().double().numpy().copy()

    def states(text: str) -> Any:
        return pipeline.encode_prompt([text], "cpu", 1, False)[0][0].double().detach().numpy()

    problem = build_problem()
    # begin, a, c, a, t, letter, ends: with a target of three letters and an anchor of three places pair
    beside = [place for place in range(TOKENS) if place not in (2, 3, 4)]
    forget = problem.forget_set
    left = np.concatenate([states(p)[beside] for p in forget.prompts])
    right = np.concatenate([states(p)[beside] for p in forget.anchor_prompts])
    kept = np.concatenate([states(p) for p in ("", *problem.retain_set.prompts)])
    rows = [(left, right @ base.T, 1.0), (kept, kept @ base.T, 0.5)]
    expected = _lstsq(rows, base, 0.2)
    trainer = _trainer(pipeline, preserve_scale=0.5, lam=0.2)
    np.testing.assert_allclose(layer.weight.detach().numpy(), expected, atol=1e-4)
    assert trainer.concepts[0].states.shape == (6, TOKENS, 32)


def test_the_end_of_a_prompt_counts_as_words_next_to_the_target_or_not(pipeline_for: Pipelines) -> None:
    denoiser, problem = Denoiser(pipeline_for()), build_problem()
    found = encode_tokens(denoiser, problem.forget_set.prompts[:1], problem.targets)
    aims = encode_tokens(denoiser, problem.forget_set.anchor_prompts[:1], ["dog"])
    assert len(mace.coexisting_pairs(found, aims, True)[0]) == TOKENS - 3
    words, guides = mace.coexisting_pairs(found, aims, False)
    assert torch.equal(words, found.states[0, [0, 1, 5]])
    assert torch.equal(guides, aims.states[0, [0, 1, 5]])


def test_a_lora_starts_as_the_identity_and_adds_its_product(pipeline_for: Pipelines) -> None:
    trainer = _trainer(pipeline_for())
    unet, adapter = trainer.denoiser.module, trainer.adapters[0]
    inputs: Any = (torch.randn(2, 4, 8, 8), 7, torch.randn(2, TOKENS, 32))
    with torch.no_grad():
        plain = unet(*inputs).sample
        with adapter.attached(trainer.layers):
            assert torch.equal(unet(*inputs).sample, plain)
            for parameter in adapter.parameters():
                parameter.add_(torch.randn(parameter.shape))
            moved = unet(*inputs).sample
        assert torch.equal(unet(*inputs).sample, plain)
        for name, layer in trainer.layers.items():
            layer.weight += adapter.delta(name)
        torch.testing.assert_close(unet(*inputs).sample, moved, rtol=1e-4, atol=1e-4)
    assert not torch.allclose(moved, plain, atol=1e-3)


def test_the_masked_attention_by_hand() -> None:
    maps = [torch.rand(4, 16, 6), torch.rand(4, 4, 6)]  # two images of two heads, 4 x 4 and 2 x 2 places
    marks = torch.zeros(2, 6, dtype=torch.bool)
    marks[0, [1, 2]] = marks[1, 4] = True
    regions = torch.zeros(2, 4, 4)
    regions[0, :2, :2] = regions[1, 3, :3] = 1.0
    expected = 0.0
    for row, heads in ((0, (0, 1)), (1, (2, 3))):
        for head in heads:
            for token in marks[row].nonzero().flatten():
                fine = maps[0][head, :, token].view(4, 4) * regions[row]
                shares = regions[row].view(2, 2, 2, 2).mean((1, 3))
                coarse = maps[1][head, :, token].view(2, 2) * shares
                expected += float((fine**2).sum() + (coarse**2).sum()) / 4
    assert mace.masked_attention(maps, marks, regions).item() == pytest.approx(expected, rel=1e-5)
    assert mace.masked_attention(maps, marks, torch.zeros(2, 4, 4)).item() == 0.0


def test_a_region_lies_where_the_attention_to_the_target_is_high() -> None:
    marks = torch.tensor([[False, True, False]])
    fine, coarse = torch.full((1, 16, 3), 0.1), torch.full((1, 4, 3), 0.1)
    fine[:, :4, 1] = 0.9  # the upper row
    coarse[:, :2, 1] = 0.5  # the upper half
    fine[:, 12:, 2] = 1.0  # another token's
    found = mace.find_regions([[fine, coarse]], marks, (4, 4), 0.6)
    assert found[0].tolist() == [[1.0] * 4, [0.0] * 4, [0.0] * 4, [0.0] * 4]
    assert mace.find_regions([[fine, coarse]], marks, (4, 4), 0.0).min() == 1.0


def test_times_are_drawn_by_the_focal_density() -> None:
    found = mace.focal_density(1000, 200.0, 400.0, 0.05)
    sigmoid = 1 / (1 + np.exp(-0.05 * (np.arange(1000)[:, None] - np.array([200.0, 400.0]))))
    expected = sigmoid[:, 0] - sigmoid[:, 1]
    np.testing.assert_allclose(found.numpy(), expected / expected.sum(), atol=1e-12)
    assert found[150:451].sum() > 0.9
    assert found[700:].sum() < 1e-4


def test_a_step_lowers_the_attention_of_each_lora_by_its_own_gradient(pipeline_for: Pipelines) -> None:
    problem = replace(build_problem(), targets=("cat", "b"))
    trainer = _trainer(pipeline_for(), problem, optimiser="sgd", rate=0.5)
    state = trainer.stream.get_state()
    expected = []
    for concept, adapter in zip(trainer.concepts, trainer.adapters, strict=True):
        picked = torch.randint(4, (2,), generator=trainer.stream)
        batch = trainer._noise(concept, picked, trainer.stream)
        unet = trainer.denoiser.module
        with adapter.attached(trainer.layers), keep_maps(unet) as maps:
            unet(batch.noisy, batch.times, batch.conditions["encoder_hidden_states"])
        marks, region = batch.conditions["concept"], batch.conditions["region"]
        assert bool(marks.any(1).all())
        loss = mace.masked_attention(maps.maps, marks, region)
        gradients = torch.autograd.grad(loss, adapter.parameters(), allow_unused=True)
        for p, g in zip(adapter.parameters(), gradients, strict=True):
            expected.append((p if g is None else p - 0.5 * g).detach())
    trainer.stream.set_state(state)
    before = [p.detach().clone() for p in trainer.parameters]
    trainer.step()
    for parameter, wanted in zip(trainer.parameters, expected, strict=True):
        torch.testing.assert_close(parameter.detach(), wanted, rtol=1e-4, atol=1e-8)
    for adapter in trainer.adapters:
        ups = [up for up, _ in adapter.pairs.values()]
        assert any(bool(up.any()) for up in ups)
    assert len(before) == 2 * 2 * len(trainer.layers)


def test_training_lowers_the_attention_to_the_target(pipeline_for: Pipelines) -> None:
    log = run_small(MACE, pipeline_for(), steps=12, checkpoints=[12], rate=0.1, batch=4)
    assert log["forget_loss"][-1] < 0.7 * log["forget_loss"][0]


def test_a_checkpoint_holds_the_fusion_and_training_goes_on_from_the_refined_matrices(
    pipeline_for: Pipelines,
) -> None:
    pipeline = pipeline_for()
    config = small_config(MACE, steps=2, checkpoints=[1, 2], rate=0.1)
    trainer = mace.MaceTrainer(pipeline, build_problem(), config)
    refined = copy_state(pipeline.unet)
    saved: list[dict[str, torch.Tensor]] = []
    trainer.run(lambda step, log, tensors=None: saved.append(copy_state(pipeline.unet)))
    changed = {n for n in refined if not torch.equal(saved[0][n], refined[n])}
    assert changed == {f"{name}.weight" for name in trainer.layers}
    assert all(torch.equal(saved[1][n], value) for n, value in copy_state(pipeline.unet).items())
    alone = pipeline_for()
    run_small(MACE, alone, steps=2, checkpoints=[2], rate=0.1)
    assert all(torch.equal(saved[1][n], value) for n, value in copy_state(alone.unet).items())


@pytest.mark.parametrize("values", [{"micro_batch": 1}, {"gradient_checkpointing": True}])
def test_parts_of_a_batch_and_checkpointing_change_nothing(
    pipeline_for: Pipelines, values: dict[str, Any]
) -> None:
    found = []
    for extra in ({}, values):
        pipeline = pipeline_for()
        run_small(MACE, pipeline, batch=3, region_level=0.0, **extra)
        found.append(copy_state(pipeline.unet))
    for name in found[0]:
        torch.testing.assert_close(found[0][name], found[1][name], rtol=1e-3, atol=1e-5)


def test_it_repeats_bit_by_bit(pipeline_for: Pipelines) -> None:
    found = []
    for _ in range(2):
        pipeline = pipeline_for()
        log = run_small(MACE, pipeline)
        torch.rand(17)  # the global generator must not matter
        found.append((copy_state(pipeline.unet), log))
    assert all(torch.equal(found[0][0][key], found[1][0][key]) for key in found[0][0])
    assert found[0][1] == found[1][1]


def test_a_target_that_no_prompt_holds_is_trained_by_its_name(pipeline_for: Pipelines) -> None:
    trainer = _trainer(pipeline_for(), replace(build_problem(), targets=("cat", "zebra")))
    assert trainer.concepts[0].states.shape[0] == 6
    assert trainer.concepts[1].states.shape[0] == 1
    assert bool(trainer.concepts[1].conditions["concept"][1].any())


def test_it_names_what_it_lacks(pipeline_for: Pipelines) -> None:
    with pytest.raises(UserError, match="anchor: the task names none, which MACE needs"):
        _trainer(pipeline_for(), replace(build_problem(), anchor=None))
    with pytest.raises(UserError, match="targets: the problem does not name"):
        _trainer(pipeline_for(), replace(build_problem(), targets=()))
    with pytest.raises(UserError, match=r"end.*must lie behind `start`"):
        build(mace.Config, {"start": 400.0, "end": 300.0}, "here")

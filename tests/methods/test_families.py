"""SDXL, SD3 and Flux train through the same seam: losses by hand, parts, invariants, folders that reopen."""

from collections.abc import Callable
from pathlib import Path
from typing import Any, get_args

import pytest
import torch
from diffusers import DiffusionPipeline
from torch import Tensor

from unlearnbench.bench.config import build
from unlearnbench.bench.errors import UserError
from unlearnbench.bench.models.digests import hook_names
from unlearnbench.bench.models.generators import Generator, Sampling, trainable_module
from unlearnbench.bench.models.sampling import Request, draw_batch
from unlearnbench.bench.registry import Entry
from unlearnbench.bench.running.catalog import registry
from unlearnbench.bench.training.gradients import differentiate, dot
from unlearnbench.bench.training.objectives import Batch, Denoiser, ascent, denoising
from unlearnbench.bench.training.trainer import freeze, select_part

from .declared import declared_tensors
from .families import EVERY, FAMILIES
from .tiny import build_problem, small_config

METHODS = registry("methods")
Fresh = Callable[[str], Any]


def _draw(pipeline: Any, drop: float = 0.5) -> tuple[Denoiser, Batch]:
    denoiser, problem = Denoiser(pipeline), build_problem()
    return denoiser, denoiser.draw(denoiser.encode(problem.forget_set), 4, drop, problem.generator)


def _drawn_by_hand(denoiser: Denoiser) -> tuple[list[str], Tensor, Tensor, torch.Generator]:
    """Repeat the first draws of a batch: prompts, clean latents, noise generator."""
    problem = build_problem()
    stream = problem.generator
    rows = torch.randint(6, (4,), generator=stream)
    kept = torch.rand(4, generator=stream) >= 0.5
    prompts = [problem.forget_set.prompts[r] if k else "" for r, k in zip(rows, kept, strict=True)]
    vae = denoiser.pipeline.vae
    with torch.no_grad():
        latents = vae.encode(problem.forget_set.images[rows]).latent_dist.mean
    clean = (latents - (vae.config.shift_factor or 0.0)) * vae.config.scaling_factor
    return prompts, clean, kept, stream


@pytest.mark.parametrize("name", ["sd3", "flux"])
@torch.no_grad()
def test_the_loss_is_the_flow_matching_expression(family_for: Fresh, name: str) -> None:
    pipeline = family_for(name)
    denoiser, batch = _draw(pipeline)
    prompts, clean, _, stream = _drawn_by_hand(denoiser)
    place = torch.randn(4, generator=stream).sigmoid()
    levels = torch.arange(1000, 0, -1) / 1000  # σ from 1 down to .001
    shift = pipeline.scheduler.config.shift
    sigma = (shift * levels / (1 + (shift - 1) * levels))[(place * 1000).long()]
    noise = torch.randn(clean.shape, generator=stream)
    noisy = (1 - sigma)[:, None, None, None] * clean + sigma[:, None, None, None] * noise
    if name == "sd3":
        states, _, pooled, _ = pipeline.encode_prompt(
            prompts, None, None, device="cpu", do_classifier_free_guidance=False
        )
        output = pipeline.transformer(noisy, states, pooled, sigma * 1000).sample
    else:
        states, pooled, text_ids = pipeline.encode_prompt(prompts, device="cpu")
        tokens = noisy.unfold(2, 2, 2).unfold(3, 2, 2)  # (b, c, h/2, w/2, 2, 2)
        ids = torch.tensor([[0.0, y, x] for y in range(4) for x in range(4)])
        output = pipeline.transformer(
            hidden_states=tokens.permute(0, 2, 3, 1, 4, 5).reshape(4, 16, 16),
            timestep=sigma,
            guidance=torch.full((4,), 3.5),
            pooled_projections=pooled,
            encoder_hidden_states=states,
            txt_ids=text_ids,
            img_ids=ids,
        ).sample
        output = output.view(4, 4, 4, 4, 2, 2).permute(0, 3, 1, 4, 2, 5).reshape(noisy.shape)
    expected = (output - (noise - clean)).square().mean()
    torch.testing.assert_close(batch.noisy, noisy)
    assert denoising(denoiser)(batch)[0].item() == pytest.approx(expected.item(), rel=1e-5)


@torch.no_grad()
def test_sdxls_loss_knows_both_encoders_and_the_sizes(family_for: Fresh) -> None:
    pipeline = family_for("sdxl")
    denoiser, batch = _draw(pipeline)
    prompts, clean, kept, stream = _drawn_by_hand(denoiser)
    times = torch.randint(1000, (4,), generator=stream)
    noise = torch.randn(clean.shape, generator=stream)
    states, _, pooled, _ = pipeline.encode_prompt(prompts, device="cpu", do_classifier_free_guidance=False)
    assert not kept.all()
    empty = ~kept  # its call takes zeros for "no prompt"
    states[empty], pooled[empty] = 0.0, 0.0
    ids = pipeline._get_add_time_ids((16, 16), (0, 0), (16, 16), torch.float32, 32).expand(4, -1)
    output = pipeline.unet(
        pipeline.scheduler.add_noise(clean, noise, times),
        times,
        encoder_hidden_states=states,
        added_cond_kwargs={"text_embeds": pooled, "time_ids": ids},
    ).sample
    expected = (output - noise).square().mean()
    assert denoising(denoiser)(batch)[0].item() == pytest.approx(expected.item(), rel=1e-5)


@pytest.mark.parametrize("name", FAMILIES)
def test_balanced_raises_neither_loss_to_first_order(family_for: Fresh, name: str) -> None:
    from unlearnbench.methods.training.combine import combine_balanced

    pipeline = family_for(name)
    denoiser, problem = Denoiser(pipeline), build_problem()
    parameters = select_part(denoiser.module, "full")
    gradients = []
    for images, objective in (
        (problem.forget_set, ascent(denoiser, None, "sample")),
        (problem.retain_set, denoising(denoiser)),
    ):
        batch = denoiser.draw(denoiser.encode(images), 4, 0.0, problem.generator)
        gradients.append(differentiate(objective, batch, 4, parameters)[1])
    g_f, g_r = gradients
    assert dot(g_f, g_r) < 0  # ascent on the one against descent on the other: a conflict
    step = combine_balanced([g.clone() for g in g_f], g_r, 1.0)
    for gradient in (g_f, g_r):
        scale = float(dot(gradient, gradient).sqrt() * dot(step, step).sqrt())
        assert float(dot(step, gradient)) >= -1e-5 * scale
    norms = [float(dot(g, g)) for g in (g_f, g_r)]
    cosine = float(dot(g_f, g_r)) / (norms[0] * norms[1]) ** 0.5
    # d_f·g_f = ‖g_f‖² sin², and d_r is orthogonal to g_f
    assert float(dot(step, g_f)) == pytest.approx(norms[0] * (1 - cosine**2), rel=1e-2)


def _combinations() -> list[tuple[str, str, str]]:
    """Return (family, method, part) of all that is supported; part "" where a method has none to choose."""
    found = []
    for entry in METHODS.values():
        field = entry.load_config().model_fields.get("part")
        parts = ("",) if field is None else [p for p in get_args(field.annotation) if p != "lora"]
        families = [family for family in EVERY if not entry.pipelines or family in entry.pipelines]
        found += [(family, entry.name, part) for family in families for part in parts]
    return found


@pytest.mark.parametrize(("name", "method", "part"), _combinations())
def test_every_method_changes_what_it_declares_alone_and_the_folder_reopens(
    family_for: Fresh, name: str, method: str, part: str, tmp_path: Path
) -> None:
    pipeline, entry = family_for(name), METHODS[method]
    config = small_config(entry, **({"part": part} if part else {}))
    wanted = declared_tensors(entry, part, pipeline)
    before, processors = _weights(pipeline), _processors(pipeline)
    saved: list[int] = []
    entry.load()(pipeline, build_problem(), config, lambda step, log, tensors=None: saved.append(step))
    assert saved == [1]
    assert _processors(pipeline) == processors
    assert hook_names(pipeline) == []
    assert not any(p.requires_grad or p.grad is not None for p in trainable_module(pipeline).parameters())
    pipeline.save_pretrained(tmp_path)
    again = DiffusionPipeline.from_pretrained(tmp_path)
    assert type(again) is type(pipeline)
    after = _weights(again)
    assert after.keys() == before.keys()
    changed = {key for key in before if not torch.equal(before[key], after[key])}
    assert bool(changed) == bool(entry.trains)
    assert changed <= wanted
    drawn = draw_batch(Generator(again, Sampling(2, 3.0, 16, 16), ""), [Request("a cat", 1)])
    assert [image is not None and image.shape for image in drawn] == [(16, 16, 3)]


@pytest.mark.parametrize("entry", [e for e in METHODS.values() if e.pipelines], ids=lambda e: e.name)
def test_a_method_refuses_pipelines_on_which_it_does_not_work(family_for: Fresh, entry: Entry) -> None:
    for name in set(EVERY) - set(entry.pipelines):
        pipeline = family_for(name)
        before = _weights(pipeline)
        with pytest.raises(UserError, match=rf"{entry.name}: does not work on .*; it works on: "):
            entry.load()(pipeline, build_problem(), small_config(entry), lambda step, log: None)
        after = _weights(pipeline)
        assert all(torch.equal(before[key], after[key]) for key in before)


@pytest.mark.parametrize("entry", METHODS.values(), ids=lambda e: e.name)
def test_every_preset_is_a_configuration(entry: Entry) -> None:
    for name, values in entry.presets.items():
        config = build(entry.load_config(), values, name)
        assert all(getattr(config, key) == value for key, value in values.items())


def _processors(pipeline: Any) -> dict[str, int]:
    return {name: id(p) for name, p in trainable_module(pipeline).attn_processors.items()}


def _weights(pipeline: Any) -> dict[str, Tensor]:
    found = {}
    for part, module in pipeline.components.items():
        if isinstance(module, torch.nn.Module):
            found |= {f"{part}.{key}": value.detach().clone() for key, value in module.state_dict().items()}
    return found


def test_every_family_is_frozen_but_for_the_part(family_for: Fresh) -> None:
    pipeline = family_for("sd3")
    freeze(pipeline)
    assert not any(p.requires_grad for p in pipeline.transformer.parameters())
    assert 0 < len(select_part(pipeline.transformer, "xattn")) < len(list(pipeline.transformer.parameters()))

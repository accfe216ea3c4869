"""SLD: scale 0 draws the base's images, one step's guidance agrees with a loop over elements."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from unlearnbench.bench.errors import UserError
from unlearnbench.bench.running.catalog import registry
from unlearnbench.methods import sld

from .saved import save_point
from .steer import PROMPTS, draw, draw_under, fit, make_config
from .tiny import build_problem

Pipelines = Callable[..., Any]


def test_one_steps_guidance_by_hand() -> None:
    config = make_config(sld, scale=2.0, warmup=0, threshold=0.5, momentum=0.5, decay=0.8)
    empty = torch.tensor([[0.0, 0.0, 0.0, 1.0]])
    prompt = torch.tensor([[1.0, 0.3, -1.0, 0.4]])
    concept = torch.tensor([[0.5, 0.2, 1.0, 0.3]])
    velocity = torch.tensor([[0.2, 0.2, 0.0, 0.0]])
    # differences .5 (at the threshold: 0), .1, -2, .1: weights 0, .2, 1 (2 · 2 clamped), .2
    guidance, moved = sld.lead_away(empty, prompt, concept, velocity, config)
    assert guidance.tolist()[0] == pytest.approx([0.1, 0.2 * 0.2 + 0.1, 1.0, 0.2 * -0.7])
    assert moved.tolist()[0] == pytest.approx([0.18, 0.16 + 0.2 * 0.14, 0.2, 0.2 * -0.14])


@pytest.mark.parametrize("family", ["sd", "sdxl", "sd3"])
def test_scale_zero_draws_the_bases_images_and_a_scale_others(family_for: Pipelines, family: str) -> None:
    pipeline = family_for(family)
    base = draw(pipeline)
    config, log, tensors = fit(sld, pipeline, scale=0.0, momentum=0.0)
    assert np.array_equal(draw_under(sld, pipeline, config, tensors), base)
    assert log == {"step": [1], "names": [1]}
    strong = make_config(sld, scale=5000.0)
    assert not np.array_equal(draw_under(sld, pipeline, strong, tensors), base)
    assert np.array_equal(draw(pipeline), base)


def test_it_draws_what_a_loop_of_its_own_draws(pipeline_for: Pipelines) -> None:
    pipeline = pipeline_for()
    config, _, tensors = fit(sld, pipeline, scale=3.0, warmup=1, threshold=0.1, momentum=0.3, decay=0.4)
    found = draw_under(sld, pipeline, config, tensors)
    states = [pipeline.encode_prompt([t], "cpu", 1, False)[0] for t in ("", *PROMPTS, "cat")]
    scheduler, images = pipeline.scheduler, []
    for seed, prompt in enumerate(states[1:3]):
        scheduler.set_timesteps(4)
        latents = torch.randn((1, 4, 8, 8), generator=torch.Generator().manual_seed(seed))
        velocity = torch.zeros_like(latents)
        for index, time in enumerate(scheduler.timesteps):
            with torch.no_grad():
                e, p, s = (pipeline.unet(latents, time, x).sample for x in (states[0], prompt, states[3]))
            weight = torch.minimum((p - s).abs() * 3.0, torch.ones(()))
            weight[p - s >= 0.1] = 0.0
            safety = weight * (s - e) + 0.3 * velocity
            velocity = 0.4 * velocity + 0.6 * safety
            guided = e + 3.0 * (p - e - (safety if index >= 1 else 0.0))
            latents = scheduler.step(guided, time, latents).prev_sample
        with torch.no_grad():
            decoded = pipeline.vae.decode(latents / pipeline.vae.config.scaling_factor).sample
        images.append((decoded / 2 + 0.5).clamp(0, 1)[0].permute(1, 2, 0).numpy())
    np.testing.assert_allclose(found, np.stack(images), atol=2e-5)


def test_an_image_is_the_same_in_another_batch(pipeline_for: Pipelines) -> None:
    pipeline = pipeline_for()
    config, _, tensors = fit(sld, pipeline)
    both = draw_under(sld, pipeline, config, tensors)
    alone = draw_under(sld, pipeline, config, tensors, prompts=PROMPTS[:1])
    np.testing.assert_allclose(both[0], alone[0], atol=2e-5)


def test_names_that_do_not_fit_are_left_out_and_counted(pipeline_for: Pipelines) -> None:
    problem = replace(build_problem(), targets=("cat", "abcdef", "foxy"))  # 17 of 16 tokens
    _, log, tensors = fit(sld, pipeline_for(), problem)
    assert log["names"] == [2]
    expected = pipeline_for().encode_prompt(["cat, abcdef"], "cpu", 1, False)[0]
    torch.testing.assert_close(tensors["encoder_hidden_states"], expected)


def test_drawing_without_guidance_is_refused(pipeline_for: Pipelines) -> None:
    config, _, tensors = fit(sld, pipeline_for())
    with pytest.raises(UserError, match="sld: acts through classifier-free guidance"):
        draw_under(sld, pipeline_for(), config, tensors, guidance=1.0)


def test_flux_is_refused(family_for: Pipelines) -> None:
    with pytest.raises(UserError, match="sld: does not work on FluxPipeline"):
        fit(sld, family_for("flux"))


def test_without_a_name_it_is_refused(pipeline_for: Pipelines) -> None:
    with pytest.raises(UserError, match="targets: the problem does not name"):
        fit(sld, pipeline_for(), replace(build_problem(), targets=()))


def test_a_hook_that_is_on_while_a_point_is_saved_is_no_part_of_it(
    tmp_path: Path, family_for: Pipelines, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A point is drawn by a new pipeline without the hook: with it in the fingerprint none could draw it."""
    family_for("sd").save_pretrained(tmp_path / "base")
    entry = registry("methods")["sld"]
    plain = save_point(entry, tmp_path / "base", tmp_path)
    unlearn = sld.unlearn

    def hooked(pipeline: Any, problem: Any, config: Any, save: Any) -> None:
        handle = pipeline.unet.register_forward_hook(lambda module, given, found: found)
        unlearn(pipeline, problem, config, save)
        handle.remove()

    monkeypatch.setattr(sld, "unlearn", hooked)
    assert save_point(entry, tmp_path / "base", tmp_path).point.fingerprint == plain.point.fingerprint

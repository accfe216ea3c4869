"""Pipelines whose training loss is not known are drawn, but not trained."""

import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import diffusers
import numpy as np
import pytest
import torch

from unlearnbench.bench.cli.main import main
from unlearnbench.bench.errors import UserError
from unlearnbench.bench.models.generators import Generator, Sampling, open_pipeline
from unlearnbench.bench.models.sampling import Request, draw_batch
from unlearnbench.bench.training.noising import SAMPLERS, find_noising
from unlearnbench.bench.training.objectives import Denoiser
from unlearnbench.bench.unlearning.drawn import draw_sets
from unlearnbench.bench.unlearning.writing import Wording

from ..methods.families import FAMILIES, build_family
from ..methods.tiny import build_pipeline

MEAN, STD = [-1.6574, 1.886, -1.383, 2.5155], [8.4927, 5.9022, 6.5498, 5.2299]
Change = Callable[[Any], Any]


@pytest.fixture
def build(tmp_path: Path) -> Callable[[str], Any]:
    def make(family: str) -> Any:
        place = tmp_path / "tokenizer"
        place.mkdir(exist_ok=True)
        return build_pipeline(place) if family == "sd" else build_family(family, place)

    return make


def _set(part: str, **values: Any) -> Change:
    return lambda pipeline: getattr(pipeline, part).register_to_config(**values)


def _sample(name: str, **values: Any) -> Change:
    def change(pipeline: Any) -> None:
        pipeline.scheduler = getattr(diffusers, name)(**values)

    return change


def _resample(name: str, **values: Any) -> Change:
    """Return what gives a pipeline another scheduler with the noise levels of its own."""

    def change(pipeline: Any) -> None:
        pipeline.scheduler = getattr(diffusers, name).from_config(pipeline.scheduler.config, **values)

    return change


REFUSED: dict[str, tuple[str, Change, str]] = {
    "edm": ("sdxl", _sample("EDMEulerScheduler", sigma_data=0.5), "EDMEulerScheduler: no training loss"),
    "edm dpm": ("sdxl", _sample("EDMDPMSolverMultistepScheduler"), "EDMDPMSolver.*: no training loss"),
    "ipndm": ("sd", _sample("IPNDMScheduler"), "IPNDMScheduler: no training loss"),
    "lcm": ("sd", _sample("LCMScheduler"), "LCMScheduler: no training loss"),
    "tcd": ("sdxl", _sample("TCDScheduler"), "TCDScheduler: no training loss"),
    "consistency": ("sd", _sample("CMStochasticIterativeScheduler"), "no training loss"),
    "unclip": ("sd", _sample("UnCLIPScheduler"), "no training loss"),
    "flow of heun": ("sd3", _sample("FlowMatchHeunDiscreteScheduler"), "no training loss"),
    "inverted flow": ("sd3", _set("scheduler", invert_sigmas=True), "invert_sigmas"),
    "flow in a unet": ("sd", _sample("FlowMatchEulerDiscreteScheduler"), "no training loss for such a model"),
    "ddim in a transformer": ("sd3", _sample("DDIMScheduler"), "no training loss for such a model"),
    "continuous times": (
        "sdxl",
        _resample("EulerDiscreteScheduler", timestep_type="continuous", prediction_type="v_prediction"),
        "timestep_type",
    ),
    "flow levels": ("sd", _resample("DPMSolverMultistepScheduler", use_flow_sigmas=True), "use_flow_sigmas"),
    "flow prediction": (
        "sd",
        _resample("UniPCMultistepScheduler", prediction_type="flow_prediction"),
        "prediction_type 'flow_prediction'",
    ),
    "unknown prediction": ("sd", _set("scheduler", prediction_type="score"), "prediction_type 'score'"),
    "levels that training would not use": (
        "sd",
        lambda p: setattr(p.scheduler, "alphas_cumprod", p.scheduler.alphas_cumprod**2),
        "other noise levels",
    ),
    "zero signal that the sampler ignores": (
        "sd",
        lambda p: (
            _resample("PNDMScheduler")(p),
            p.scheduler.register_to_config(rescale_betas_zero_snr=True),
        ),
        "other noise levels",
    ),
    "scaled latents": ("sdxl", _set("vae", latents_mean=MEAN, latents_std=STD), "latents_mean"),
    "scaled latents of sd": ("sd", _set("vae", latents_std=STD), "latents_std"),
    "shifted latents": ("sd", _set("vae", shift_factor=0.1), "shift_factor"),
    "no scale": ("sd", _set("vae", scaling_factor=0.0), "scaling_factor"),
    "endless scale": ("sd", _set("vae", scaling_factor=math.inf), "scaling_factor"),
    "scale in words": ("sd", _set("vae", scaling_factor="0.18"), "scaling_factor"),
    "another autoencoder": ("sd", lambda p: setattr(p, "vae", _tiny_vae()), "AutoencoderTiny"),
    "guidance inside": ("sd", _set("unet", time_cond_proj_dim=8), "time_cond_proj_dim"),
    "image prompts": ("sd", _set("unet", encoder_hid_dim_type="ip_image_proj"), "encoder_hid_dim_type"),
    "numbered classes": ("sd", _set("unet", num_class_embeds=7), "class labels"),
    "learned variance": ("sd", _set("unet", out_channels=8), "learned variance"),
    "sizes told to sd": ("sd", _set("unet", addition_embed_type="text_time"), "addition_embed_type"),
    "sizes not told to sdxl": ("sdxl", _set("unet", addition_embed_type=None), "addition_embed_type"),
    "control of flux": ("flux", _set("transformer", in_channels=32), "takes more than latents"),
}


def _tiny_vae() -> Any:
    return diffusers.AutoencoderTiny(
        encoder_block_out_channels=(8, 8),
        decoder_block_out_channels=(8, 8),
        num_encoder_blocks=(1, 1),
        num_decoder_blocks=(1, 1),
    )


@pytest.mark.parametrize("kind", REFUSED)
def test_a_loss_that_is_not_known_is_refused(build: Callable[[str], Any], kind: str) -> None:
    family, change, said = REFUSED[kind]
    pipeline = build(family)
    Denoiser(pipeline)
    change(pipeline)
    with pytest.raises(UserError, match=said) as raised:
        Denoiser(pipeline)
    assert "\n" not in str(raised.value)


@pytest.mark.parametrize("family", ["sd", *FAMILIES])
def test_the_four_families_are_trained(build: Callable[[str], Any], family: str) -> None:
    assert Denoiser(build(family)).family.name == family


@pytest.mark.parametrize("name", sorted(SAMPLERS))
@pytest.mark.parametrize("prediction", ["epsilon", "v_prediction"])
def test_samplers_of_one_training_noise_alike(
    build: Callable[[str], Any], name: str, prediction: str
) -> None:
    """The noised image is √ᾱ x + √(1 - ᾱ) ε by the sampler's own levels."""
    pipeline = build("sd")
    config = dict(pipeline.scheduler.config) | {"rescale_betas_zero_snr": False}
    scheduler = getattr(diffusers, name).from_config(config, prediction_type=prediction)
    noising = find_noising(scheduler)
    generator = torch.Generator().manual_seed(0)
    clean, noise = (torch.randn(3, 4, 8, 8, generator=generator) for _ in range(2))
    times = noising.draw_times(3, generator)
    signal = scheduler.alphas_cumprod[times].view(-1, 1, 1, 1).float()
    noisy, target = noising.mix(clean, noise, times)
    assert torch.allclose(noisy, signal.sqrt() * clean + (1 - signal).sqrt() * noise, atol=1e-5)
    speed = signal.sqrt() * noise - (1 - signal).sqrt() * clean
    assert torch.allclose(target, noise if prediction == "epsilon" else speed, atol=1e-5)


@pytest.fixture
def edm(build: Callable[[str], Any], tmp_path: Path) -> Path:
    pipeline = build("sdxl")
    pipeline.scheduler = diffusers.EDMEulerScheduler(sigma_min=0.002, sigma_max=80.0, sigma_data=0.5)
    pipeline.vae.register_to_config(latents_mean=MEAN, latents_std=STD)
    pipeline.save_pretrained(tmp_path / "edm")
    return tmp_path / "edm"


def test_unlearn_refuses_before_anything_is_drawn(
    edm: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    command = ["unlearn", "--model", str(edm), "--concept", "a cat", "--out", str(tmp_path / "out")]
    assert main([*command, "--threads", "1"]) != 0
    said = capsys.readouterr().err.strip()
    assert "EDMEulerScheduler: no training loss" in said
    assert len(said.splitlines()) == 1
    assert not (tmp_path / "out").exists()


def test_a_training_set_is_not_drawn_either(edm: Path) -> None:
    with pytest.raises(UserError, match="no training loss"):
        draw_sets(str(edm), Wording(("a cat",), ("a dog",), ()), Sampling(1, 1.0, 16, 16))


def test_such_a_pipeline_is_drawn_as_its_own_call_draws(edm: Path) -> None:
    pipeline, own = open_pipeline(edm, "cpu"), diffusers.DiffusionPipeline.from_pretrained(edm)
    own.set_progress_bar_config(disable=True)
    [found] = draw_batch(Generator(pipeline, Sampling(2, 2.0, 16, 16), ""), [Request("a cat", 0)])
    wanted = own("a cat", height=16, width=16, num_inference_steps=2, guidance_scale=2.0, output_type="np",
                 generator=[torch.Generator().manual_seed(0)]).images[0]  # fmt: skip
    assert np.abs(found.astype(int) - (wanted * 255).round().astype(int)).max() <= 1

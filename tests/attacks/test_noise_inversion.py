"""Noise inversion: the sampler takes the noise back to the image, and a step backwards by hand."""

from collections.abc import Callable

import numpy as np
import pytest
import torch

from unlearnbench.bench.attacks import noise_inversion
from unlearnbench.bench.attacks.contract import Victim
from unlearnbench.bench.attacks.noise_inversion import Config, Inversion, attack, rank
from unlearnbench.bench.errors import UserError
from unlearnbench.bench.models.generators import Generator, Sampling
from unlearnbench.bench.models.sampling import Request, draw_batch, image_key, latents_seed


def test_a_step_backwards_by_hand(make_victim: Callable[..., Victim]) -> None:
    """v-prediction: x0 = √ᾱ x - √(1-ᾱ) v and ε = √ᾱ v + √(1-ᾱ) x (Salimans & Ho 2022); DDIM's step goes to
    √ᾱ' x0 + √(1-ᾱ') ε."""
    victim = make_victim()
    inversion = Inversion(victim, 1)
    time = inversion.scheduler.timesteps[-2]
    before = inversion.scheduler.timesteps[-1]
    alpha, alpha_before = (float(inversion.scheduler.alphas_cumprod[t]) for t in (time, before))
    a = (alpha_before * alpha) ** 0.5 + ((1 - alpha_before) * (1 - alpha)) ** 0.5
    b = -((alpha_before * (1 - alpha)) ** 0.5) + ((1 - alpha_before) * alpha) ** 0.5
    assert inversion.coefficients(time) == pytest.approx((a, b), abs=1e-5)


def test_the_drawn_image_is_the_learnt_one(make_victim: Callable[..., Victim]) -> None:
    """The round trip on the base: drawn from the noise, the pipeline's own call gives the image back as its
    autoencoder shows it."""
    victim = make_victim()
    pipeline = victim.pipeline
    images = victim.learning.forget
    found = attack(victim, Config(budget=20))
    order = torch.randperm(len(images.prompts), generator=torch.Generator().manual_seed(0)).tolist()
    sampling = Sampling(victim.steps, victim.guidance["one"], *victim.size)
    generator = Generator(pipeline, sampling, "weights")
    for name, prompt in victim.prompts.items():
        [row] = rank(prompt, images.prompts, order, 1)
        [drawn] = draw_batch(generator, [Request(prompt, 1, latents=found.latents[name][0])])
        latents = Inversion(victim, 1).encode(images, [row])
        with torch.no_grad():
            shown = pipeline.vae.decode(latents / pipeline.vae.config.scaling_factor).sample[0]
        wanted = ((shown.clamp(-1, 1) + 1) * 127.5).permute(1, 2, 0).numpy()
        assert drawn is not None
        assert np.abs(drawn - wanted).max() <= 4  # of 255
        assert np.abs(drawn - wanted).mean() <= 0.5
        [other] = draw_batch(generator, [Request(prompt, 1)])
        assert other is not None
        assert np.abs(other - wanted).mean() > 5  # another image


def test_captions_with_most_words_of_the_prompt_come_first() -> None:
    captions = ("a cat face on red", "a cat face, in noto style", "a dog", "a cat face in noto style on red")
    assert rank("an emoji of a cat face in noto style on red", captions, [2, 1, 0, 3], 2) == [3, 1]
    assert rank("a dog", ("a dog",), [0], 2) == [0, 0]


def test_a_sampler_that_clips_is_refused(make_victim: Callable[..., Victim]) -> None:
    victim = make_victim()
    scheduler = victim.pipeline.scheduler
    victim.pipeline.scheduler = type(scheduler).from_config(scheduler.config, clip_sample=True)
    with pytest.raises(UserError, match="needs the sampler DDIM"):
        noise_inversion.attack(victim, Config())


def test_the_noise_is_in_the_key_of_its_image() -> None:
    noise = np.ones((4, 2, 2), np.float32)
    sampling = Sampling(2, 1.0, 8, 8)

    def key(latents: np.ndarray | None) -> str:
        request = Request("a cat", latents_seed(noise), latents=latents)
        return image_key("f", sampling, "torch.float32", "cpu", request)

    assert len({key(None), key(noise), key(2 * noise)}) == 3

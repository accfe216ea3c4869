"""The world's denoiser: a thin UNet trained by v-prediction on a zero-terminal-SNR schedule."""

from collections.abc import Callable
from typing import Any

import torch
from diffusers import DDIMScheduler, DDPMScheduler, UNet2DConditionModel
from torch import Tensor, nn
from transformers import CLIPTextModel, CLIPTokenizer

from .autoencoder import LATENT_CHANNELS
from .loop import Stage
from .parts import CaptionWriter, LatentSpec, Triple
from .text import tokenize

TRAIN_STEPS = 1000


def training_schedule() -> DDPMScheduler:
    """Return the noise schedule. Zero terminal SNR: at small latents SD's last step is not pure noise."""
    return DDPMScheduler(
        num_train_timesteps=TRAIN_STEPS,
        beta_schedule="scaled_linear",
        beta_start=0.00085,
        beta_end=0.012,
        prediction_type="v_prediction",
        rescale_betas_zero_snr=True,
        clip_sample=False,
    )


def sampling_schedule() -> DDIMScheduler:
    """Return the sampler that ships. `clip_sample=False`: clipping x0 to [-1, 1] is for pixels only."""
    config = dict(training_schedule().config)
    # steps_offset is unused by trailing spacing, but diffusers warns of any value but 1
    return DDIMScheduler.from_config(config, timestep_spacing="trailing", clip_sample=False, steps_offset=1)


def build_unet(spec: LatentSpec) -> UNet2DConditionModel:
    """Return an untrained UNet without attention at its widest maps, where it would cost most."""
    channels = spec.unet.channels
    torch.manual_seed(spec.seed + 3)
    return UNet2DConditionModel(
        sample_size=spec.pixels // 4,
        in_channels=LATENT_CHANNELS,
        out_channels=LATENT_CHANNELS,
        layers_per_block=1,
        block_out_channels=tuple(channels),
        cross_attention_dim=spec.text.width,
        attention_head_dim=4,  # despite its name, the NUMBER of heads
        norm_num_groups=16,
        down_block_types=("DownBlock2D",) + ("CrossAttnDownBlock2D",) * (len(channels) - 1),
        up_block_types=("CrossAttnUpBlock2D",) * (len(channels) - 1) + ("UpBlock2D",),
    ).to(memory_format=torch.channels_last)


class Denoise(nn.Module):
    """A denoiser as a function of tensors only, as a CUDA graph needs it."""

    def __init__(self, unet: UNet2DConditionModel) -> None:
        super().__init__()
        self.unet = unet

    def forward(self, noisy: Tensor, times: Tensor, states: Tensor) -> Tensor:
        predicted: Tensor = self.unet(noisy, times, states, return_dict=False)[0]
        return predicted


def make_predictor(unet: UNet2DConditionModel) -> Callable[[Tensor, Tensor, Tensor], Tensor]:
    """Return the denoiser as predict(noisy, times, states), for batches of one size.

    On a GPU its passes forward and backward are recorded as CUDA graphs at the first call and replayed from
    then on: a step of so small a network takes longer to launch than to compute.
    """
    network = Denoise(unet)
    recorded: list[Any] = []

    def predict(noisy: Tensor, times: Tensor, states: Tensor) -> Tensor:
        if noisy.device.type != "cuda":
            found: Tensor = network(noisy, times, states)
            return found
        if not recorded:
            recorded.append(torch.cuda.make_graphed_callables(network, (noisy, times, states)))
        found = recorded[0](noisy, times, states)
        return found

    return predict


def unet_stage(
    spec: LatentSpec,
    captioner: CaptionWriter,
    tokenizer: CLIPTokenizer,
    encoder: CLIPTextModel,
    unet: UNet2DConditionModel,
    latents: Tensor,
    triples: Tensor,
) -> Stage:
    """Train the UNet on scaled latents with the frozen text encoder."""
    schedule = training_schedule()
    batch = spec.unet.batch
    predict = make_predictor(unet)

    def loss(step: int, generator: torch.Generator) -> Tensor:
        rows = torch.randint(len(latents), (batch,), generator=generator)
        captions = captioner.training_captions([Triple(*t) for t in triples[rows].tolist()], generator)
        # one timestep from each of `batch` equal strata: the same expectation, less variance
        strata = torch.arange(batch) + torch.rand(batch, generator=generator)
        times = (strata * TRAIN_STEPS / batch).long().clamp(max=TRAIN_STEPS - 1)
        clean = latents[rows]
        noise = torch.randn(clean.shape, generator=generator)
        with torch.no_grad():
            states = encoder(tokenize(tokenizer, captions).to(encoder.device)).last_hidden_state
        clean, noise, times, states = (t.to(unet.device) for t in (clean, noise, times, states))
        noisy = schedule.add_noise(clean, noise, times).contiguous(memory_format=torch.channels_last)
        target = schedule.get_velocity(clean, noise, times)
        return (predict(noisy, times, states) - target).square().mean()

    return Stage(
        "unet",
        {"unet": unet},
        loss,
        spec.unet.steps,
        spec.unet.rate,
        spec.seed,
        decay_from=0.5,
        ema=spec.unet.ema,
    )

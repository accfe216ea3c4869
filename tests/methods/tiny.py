"""A tiny, randomly initialised Stable Diffusion pipeline and a problem for it, made in a second."""

import json
import string
from pathlib import Path
from typing import Any

import numpy as np
import torch
from diffusers import AutoencoderKL, DDIMScheduler, StableDiffusionPipeline, UNet2DConditionModel
from transformers import CLIPTextConfig, CLIPTextModel, CLIPTokenizer

from unlearnbench.bench.config import build
from unlearnbench.bench.registry import Entry
from unlearnbench.bench.types import DataChoice, DrawSettings, Problem, TrainingSet

TOKENS, WIDTH = 16, 32


def build_tokenizer(folder: Path) -> CLIPTokenizer:
    """Return a CLIPTokenizer that spells words letter by letter."""
    letters = [c + end for c in string.ascii_lowercase for end in ("", "</w>")]
    vocabulary = {token: i for i, token in enumerate(["<unk>", *letters, "<|startoftext|>", "<|endoftext|>"])}
    folder.joinpath("vocab.json").write_text(json.dumps(vocabulary))
    folder.joinpath("merges.txt").write_text("#version: 0.2\n")
    special = {"unk_token": "<unk>", "bos_token": "<|startoftext|>", "eos_token": "<|endoftext|>"}
    return CLIPTokenizer.from_pretrained(
        folder, pad_token="<|endoftext|>", model_max_length=TOKENS, **special
    )


def build_text_config(tokenizer: Any, layers: int) -> CLIPTextConfig:
    """Return the configuration of a CLIP text encoder for a tokenizer."""
    return CLIPTextConfig(
        vocab_size=len(tokenizer),
        hidden_size=WIDTH,
        intermediate_size=WIDTH,
        num_hidden_layers=layers,
        num_attention_heads=2,
        max_position_embeddings=TOKENS,
        projection_dim=WIDTH,
        bos_token_id=tokenizer.bos_token_id,
        eos_token_id=tokenizer.eos_token_id,
        pad_token_id=tokenizer.pad_token_id,
    )


def build_pipeline(folder: Path, prediction: str = "epsilon", channels: tuple[int, ...] = (16, 32)) -> Any:
    """Return a pipeline of 16 px images and 8 px latents; `prediction` is the scheduler's prediction_type."""
    torch.manual_seed(0)
    tokenizer = build_tokenizer(folder)
    unet = UNet2DConditionModel(
        sample_size=8,
        layers_per_block=1,
        block_out_channels=channels,
        cross_attention_dim=WIDTH,
        attention_head_dim=2,
        norm_num_groups=8,
        dropout=0.5,
        down_block_types=("DownBlock2D",) + ("CrossAttnDownBlock2D",) * (len(channels) - 1),
        up_block_types=("CrossAttnUpBlock2D",) * (len(channels) - 1) + ("UpBlock2D",),
    )
    vae = AutoencoderKL(
        block_out_channels=(8, 8),
        down_block_types=("DownEncoderBlock2D",) * 2,
        up_block_types=("UpDecoderBlock2D",) * 2,
        latent_channels=4,
        norm_num_groups=4,
    )
    zero_snr = prediction == "v_prediction"
    scheduler = DDIMScheduler(
        beta_schedule="scaled_linear",
        beta_start=0.00085,
        beta_end=0.012,
        prediction_type=prediction,
        rescale_betas_zero_snr=zero_snr,
        timestep_spacing="trailing",
        clip_sample=False,
    )
    return StableDiffusionPipeline(
        vae=vae,
        text_encoder=CLIPTextModel(build_text_config(tokenizer, layers=1)),
        tokenizer=tokenizer,
        unet=unet.to(memory_format=torch.channels_last),
        scheduler=scheduler,
        safety_checker=None,
        feature_extractor=None,
        requires_safety_checker=False,
    )


def build_problem(seed: int = 0, size: int = 6, data: DataChoice = "diverse") -> Problem:
    """Return a problem of random images; equal seeds give equal problems."""
    generator = torch.Generator().manual_seed(seed)
    images = torch.rand((2, size, 3, 16, 16), generator=generator) * 2 - 1
    forget = tuple(f"a cat {word}" for word in string.ascii_lowercase[:size])
    retain = tuple(f"a fox {word}" for word in string.ascii_lowercase[:size])
    anchors = tuple(prompt.replace("cat", "dog") for prompt in forget)
    return Problem(
        task="tiny",
        concept="cat",
        anchor="dog",
        forget_set=TrainingSet(forget, images[0], anchors),
        retain_set=TrainingSet(retain, images[1]),
        data=data,
        seed=seed,
        generator=generator,
        targets=("cat",),
        retained=("fox",),
        sampling=DrawSettings(3, 3.0),
    )


SMALL = {"steps": 1, "checkpoints": [1], "batch": 2, "images": 4, "mask_batches": 2, "pairs": 2}


def small_config(entry: Entry, **values: Any) -> Any:
    """Return a method's configuration for seconds: of the small values those that it knows, and `values`."""
    kind = entry.load_config()
    small = {name: value for name, value in SMALL.items() if name in kind.model_fields}
    return build(kind, small | values, "test.toml")


def run_small(
    entry: Entry, pipeline: Any, problem: Problem | None = None, **values: Any
) -> dict[str, list[float]]:
    """Run a method on a tiny pipeline; return the log that it saved last."""
    log: dict[str, Any] = {}
    config = small_config(entry, **values)

    def save(step: int, found: Any, tensors: Any = None) -> None:
        log.update(found)

    entry.load()(pipeline, problem or build_problem(), config, save)
    return log


def token_state(pipeline: Any, text: str, place: int) -> np.ndarray[Any, Any]:
    """Return the text encoder's state (d,) of a prompt at the place of a token, in float64."""
    states = pipeline.encode_prompt([text], "cpu", 1, False)[0]
    found: np.ndarray[Any, Any] = states[0, place].double().detach().numpy()
    return found


def copy_state(module: Any) -> dict[str, torch.Tensor]:
    """Return a copy of a module's tensors."""
    return {name: value.detach().clone() for name, value in module.state_dict().items()}

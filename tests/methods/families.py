"""Tiny, randomly initialised pipelines of the true classes of SDXL, SD3 and Flux."""

import string
from pathlib import Path
from typing import Any

import torch
from diffusers import (
    AutoencoderKL,
    DDIMScheduler,
    FlowMatchEulerDiscreteScheduler,
    FluxPipeline,
    FluxTransformer2DModel,
    SD3Transformer2DModel,
    StableDiffusion3Pipeline,
    StableDiffusionXLPipeline,
    UNet2DConditionModel,
)
from tokenizers import Tokenizer
from tokenizers.models import Unigram
from transformers import CLIPTextModel, CLIPTextModelWithProjection, T5Config, T5EncoderModel, T5TokenizerFast

from .tiny import TOKENS, WIDTH, build_pipeline, build_text_config, build_tokenizer

FAMILIES = ("sdxl", "sd3", "flux")
EVERY = ("sd", *FAMILIES)


def build_family(name: str, folder: Path) -> Any:
    """Return a pipeline of a family for images of 16 px, its latents 8 px."""
    torch.manual_seed(0)
    return {"sd": build_pipeline, "sdxl": _build_sdxl, "sd3": _build_sd3, "flux": _build_flux}[name](folder)


def _vae(channels: int, shift: float | None = None) -> AutoencoderKL:
    return AutoencoderKL(
        block_out_channels=(8, 8),
        down_block_types=("DownEncoderBlock2D",) * 2,
        up_block_types=("UpDecoderBlock2D",) * 2,
        latent_channels=channels,
        norm_num_groups=4,
        shift_factor=shift,
        use_quant_conv=False,
        use_post_quant_conv=False,
    )


def _t5(width: int) -> tuple[T5TokenizerFast, T5EncoderModel]:
    pieces = [("<pad>", 0.0), ("</s>", 0.0), ("<unk>", 0.0), ("▁", -1.0)]
    pieces += [(letter, -2.0) for letter in string.ascii_lowercase]
    backend = Tokenizer(Unigram(pieces, unk_id=2))
    tokenizer = T5TokenizerFast(tokenizer_object=backend, extra_ids=0, model_max_length=TOKENS)
    config = T5Config(
        vocab_size=len(tokenizer) + 1, d_model=width, d_kv=8, d_ff=WIDTH, num_layers=1, num_heads=2
    )
    return tokenizer, T5EncoderModel(config)


def _build_sdxl(folder: Path) -> Any:
    tokenizer = build_tokenizer(folder)
    unet = UNet2DConditionModel(
        sample_size=8,
        layers_per_block=1,
        block_out_channels=(16, 32),
        cross_attention_dim=2 * WIDTH,
        attention_head_dim=(2, 4),
        norm_num_groups=8,
        transformer_layers_per_block=(1, 1),
        down_block_types=("DownBlock2D", "CrossAttnDownBlock2D"),
        up_block_types=("CrossAttnUpBlock2D", "UpBlock2D"),
        addition_embed_type="text_time",
        addition_time_embed_dim=8,
        projection_class_embeddings_input_dim=WIDTH + 6 * 8,
    )
    return StableDiffusionXLPipeline(
        vae=_vae(4),
        text_encoder=CLIPTextModel(build_text_config(tokenizer, layers=2)),
        text_encoder_2=CLIPTextModelWithProjection(build_text_config(tokenizer, layers=2)),
        tokenizer=tokenizer,
        tokenizer_2=tokenizer,
        unet=unet,
        scheduler=DDIMScheduler(clip_sample=False, prediction_type="epsilon"),
    )


def _build_sd3(folder: Path) -> Any:
    tokenizer = build_tokenizer(folder)
    t5_tokenizer, t5 = _t5(2 * WIDTH)
    transformer = SD3Transformer2DModel(
        sample_size=8,
        patch_size=2,
        in_channels=4,
        out_channels=4,
        num_layers=2,
        attention_head_dim=8,
        num_attention_heads=4,
        joint_attention_dim=2 * WIDTH,
        caption_projection_dim=WIDTH,
        pooled_projection_dim=2 * WIDTH,
        pos_embed_max_size=16,
    )
    return StableDiffusion3Pipeline(
        transformer=transformer,
        scheduler=FlowMatchEulerDiscreteScheduler(shift=3.0),
        vae=_vae(4, shift=0.06),
        text_encoder=CLIPTextModelWithProjection(build_text_config(tokenizer, layers=2)),
        tokenizer=tokenizer,
        text_encoder_2=CLIPTextModelWithProjection(build_text_config(tokenizer, layers=2)),
        tokenizer_2=tokenizer,
        text_encoder_3=t5,
        tokenizer_3=t5_tokenizer,
    )


def _build_flux(folder: Path) -> Any:
    tokenizer = build_tokenizer(folder)
    t5_tokenizer, t5 = _t5(WIDTH)
    transformer = FluxTransformer2DModel(
        patch_size=1,
        in_channels=16,
        num_layers=1,
        num_single_layers=1,
        attention_head_dim=16,
        num_attention_heads=2,
        joint_attention_dim=WIDTH,
        pooled_projection_dim=WIDTH,
        axes_dims_rope=(4, 4, 8),
        guidance_embeds=True,
    )
    return FluxPipeline(
        scheduler=FlowMatchEulerDiscreteScheduler(shift=1.0),
        vae=_vae(4, shift=0.1),
        text_encoder=CLIPTextModel(build_text_config(tokenizer, layers=2)),
        tokenizer=tokenizer,
        text_encoder_2=t5,
        tokenizer_2=t5_tokenizer,
        transformer=transformer,
    )

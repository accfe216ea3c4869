"""Tiny, randomly initialised networks of the classes of PickScore, HPSv2 and LPIPS, in their files."""

import json
from pathlib import Path

import open_clip
import torch
from torchvision.models import alexnet
from transformers import CLIPConfig, CLIPImageProcessor, CLIPModel, CLIPProcessor, CLIPTokenizer

SIDE, TOKENS = 32, 16
HPS = "tiny-hps"


def make_pickscore(folder: Path) -> Path:
    """Write a CLIP model of transformers with its processor; its tokenizer spells letters of ASCII."""
    folder.mkdir()
    letters = [chr(c) + end for c in range(33, 127) for end in ("", "</w>")]
    vocabulary = {token: i for i, token in enumerate([*letters, "<|startoftext|>", "<|endoftext|>"])}
    (folder / "vocab.json").write_text(json.dumps(vocabulary))
    (folder / "merges.txt").write_text("#version: 0.2\n")
    tokenizer = CLIPTokenizer.from_pretrained(folder, model_max_length=TOKENS)
    small = {"hidden_size": 32, "intermediate_size": 32, "num_hidden_layers": 1, "num_attention_heads": 2}
    start, end = (vocabulary[f"<|{name}oftext|>"] for name in ("start", "end"))
    text = {"vocab_size": len(vocabulary), "max_position_embeddings": TOKENS}
    text |= {"bos_token_id": start, "eos_token_id": end, "pad_token_id": end}
    torch.manual_seed(0)
    model = CLIPModel(
        CLIPConfig(
            text_config=small | text,
            vision_config=small | {"image_size": SIDE, "patch_size": 8},
            projection_dim=16,
        )
    )
    with torch.no_grad():  # else the networks of this size answer nearly the same for every input
        for weight in model.parameters():
            if weight.ndim > 1:
                weight.mul_(3)
    model.save_pretrained(folder)
    pictures = CLIPImageProcessor(size={"shortest_edge": SIDE}, crop_size={"height": SIDE, "width": SIDE})
    CLIPProcessor(pictures, tokenizer).save_pretrained(folder)
    return folder


def make_hpsv2(path: Path) -> Path:
    """Write a small open_clip model as HPSv2's file is, and let open_clip know its architecture as HPS."""
    config = path.with_name(f"{HPS}.json")
    towers = {
        "vision_cfg": {"image_size": SIDE, "layers": 1, "width": 32, "head_width": 16, "patch_size": 8},
        "text_cfg": {"context_length": 77, "vocab_size": 49408, "width": 32, "heads": 2, "layers": 1},
    }
    config.write_text(json.dumps({"embed_dim": 16, **towers}))
    open_clip.add_model_config(config)
    torch.manual_seed(0)
    model = open_clip.create_model(HPS, pretrained=None)
    torch.save({"epoch": 1, "state_dict": model.state_dict()}, path)
    return path


def make_alexnet(path: Path) -> Path:
    """Write AlexNet's convolutions under the names of torchvision's file."""
    torch.manual_seed(0)
    weights = alexnet(weights=None).features.state_dict()
    torch.save({f"features.{name}": tensor for name, tensor in weights.items()}, path)
    return path

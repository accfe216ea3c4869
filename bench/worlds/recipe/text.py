"""The world's tokenizer and text encoder (a small CLIP text tower, trained against latents, then frozen)."""

import json
import string
import tempfile
from collections import Counter
from collections.abc import Mapping
from itertools import pairwise
from pathlib import Path

import torch
import torch.nn.functional as F
from tokenizers import Regex, pre_tokenizers
from torch import Tensor, nn
from transformers import CLIPTextConfig, CLIPTextModel, CLIPTokenizer

from .loop import Stage
from .parts import CaptionWriter, LatentSpec, Triple

BOS, EOS, UNK = "<|startoftext|>", "<|endoftext|>", "<unk>"
END = "</w>"
"""Suffix of the last symbol of a word."""


def build_tokenizer(spec: LatentSpec, captioner: CaptionWriter) -> CLIPTokenizer:
    """Return a CLIPTokenizer whose small vocabulary spells every training word as one token.

    EOS has the highest id. So CLIP towers that pool at the highest id (open_clip, old checkpoints) and those
    that look for `eos_token_id` pool at the same place.
    """
    split = pre_tokenizers.Split(
        pattern=Regex(r"\p{L}+|\p{N}|[^\s\p{L}\p{N}]+"),  # type: ignore[arg-type]
        behavior="removed",
        invert=True,
    )
    words = Counter(word for line in captioner.corpus for word, _ in split.pre_tokenize_str(line.lower()))
    merges = learn_merges(words)
    letters = sorted({*string.ascii_lowercase, *string.digits, *string.punctuation, *"".join(words)})
    tokens = [UNK, *letters, *(letter + END for letter in letters), *(a + b for a, b in merges), BOS, EOS]
    return open_tokenizer({token: i for i, token in enumerate(tokens)}, merges, spec.text.tokens)


def learn_merges(words: Mapping[str, int]) -> list[tuple[str, str]]:
    """Return byte-pair merges (Sennrich et al. 2016) that make every word one token. words: word -> count.

    The trainer of `tokenizers` breaks ties, and numbers the last letters, by the order of a hash map, so that
    every process gets another vocabulary. Here the most frequent pair is merged; ties go to the first by
    alphabet.
    """
    spelled = {word: [*word[:-1], word[-1] + END] for word in words}
    merges: list[tuple[str, str]] = []
    while True:
        pairs: Counter[tuple[str, str]] = Counter()
        for word, symbols in spelled.items():
            for pair in pairwise(symbols):
                pairs[pair] += words[word]
        if not pairs:
            return merges
        best = min(pairs, key=lambda pair: (-pairs[pair], pair))
        merges.append(best)
        spelled = {word: _merge(symbols, best) for word, symbols in spelled.items()}


def _merge(symbols: list[str], pair: tuple[str, str]) -> list[str]:
    merged: list[str] = []
    for symbol in symbols:
        if merged and (merged[-1], symbol) == pair:
            merged[-1] += symbol
        else:
            merged.append(symbol)
    return merged


def open_tokenizer(vocabulary: dict[str, int], merges: list[tuple[str, str]], tokens: int) -> CLIPTokenizer:
    """Return a CLIPTokenizer of a vocabulary and merges, from files that all transformers versions read."""
    with tempfile.TemporaryDirectory() as folder:
        write_vocabulary(vocabulary, merges, Path(folder))
        return CLIPTokenizer.from_pretrained(
            folder,
            unk_token=UNK,
            bos_token=BOS,
            eos_token=EOS,
            pad_token=EOS,
            model_max_length=tokens,
        )


def write_vocabulary(vocabulary: dict[str, int], merges: list[tuple[str, str]], folder: Path) -> None:
    """Write `vocab.json` and `merges.txt`, which transformers 5 no longer writes by itself."""
    folder.joinpath("vocab.json").write_text(json.dumps(vocabulary, ensure_ascii=False), encoding="utf-8")
    lines = ["#version: 0.2", *(" ".join(pair) for pair in merges)]
    folder.joinpath("merges.txt").write_text("\n".join(lines) + "\n", encoding="utf-8")


def tokenize(tokenizer: CLIPTokenizer, captions: list[str]) -> Tensor:
    """Return (n, tokens) ids, padded as diffusers' `encode_prompt` pads."""
    length = tokenizer.model_max_length
    out = tokenizer(captions, padding="max_length", max_length=length, truncation=True, return_tensors="pt")
    return out.input_ids


def build_text_encoder(spec: LatentSpec, tokenizer: CLIPTokenizer) -> CLIPTextModel:
    """Return an untrained CLIPTextModel of the world's width."""
    torch.manual_seed(spec.seed + 1)
    return CLIPTextModel(
        CLIPTextConfig(
            vocab_size=len(tokenizer),
            hidden_size=spec.text.width,
            intermediate_size=2 * spec.text.width,
            projection_dim=spec.text.width,
            num_hidden_layers=spec.text.layers,
            num_attention_heads=4,
            max_position_embeddings=spec.text.tokens,
            bos_token_id=tokenizer.bos_token_id,
            eos_token_id=tokenizer.eos_token_id,
            pad_token_id=tokenizer.pad_token_id,
        )
    )


class _Scorer(nn.Module):
    """Parts that are needed only for training the text tower: a latent tower and a temperature."""

    def __init__(self, latent_size: int, width: int) -> None:
        super().__init__()
        self.image = nn.Sequential(
            nn.Flatten(),
            nn.Linear(latent_size, 512),
            nn.GELU(),
            nn.Linear(512, 512),
            nn.GELU(),
            nn.Linear(512, width),
        )
        self.text = nn.Linear(width, width, bias=False)
        self.scale = nn.Parameter(torch.tensor(2.0))

    def forward(self, latents: Tensor, pooled: Tensor) -> Tensor:
        image, text = F.normalize(self.image(latents), dim=1), F.normalize(self.text(pooled), dim=1)
        return self.scale.exp().clamp(max=100) * image @ text.T


def text_stage(
    spec: LatentSpec,
    captioner: CaptionWriter,
    tokenizer: CLIPTokenizer,
    encoder: CLIPTextModel,
    latents: Tensor,
    triples: Tensor,
) -> Stage:
    """Train the text tower contrastively (CLIP's symmetric loss) against latents of captioned images."""
    torch.manual_seed(spec.seed + 2)
    scorer = _Scorer(latents[0].numel(), spec.text.width)

    def loss(step: int, generator: torch.Generator) -> Tensor:
        rows = torch.randint(len(latents), (spec.text.batch,), generator=generator)
        captions = captioner.training_captions([Triple(*t) for t in triples[rows].tolist()], generator)
        device = scorer.scale.device
        pooled = encoder(tokenize(tokenizer, captions).to(device)).pooler_output
        logits = scorer(latents[rows].to(device), pooled)
        target = torch.arange(len(rows), device=device)
        return (F.cross_entropy(logits, target) + F.cross_entropy(logits.T, target)) / 2

    budget = spec.text
    return Stage("text", {"encoder": encoder, "scorer": scorer}, loss, budget.steps, budget.rate, spec.seed)

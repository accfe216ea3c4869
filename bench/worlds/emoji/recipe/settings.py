"""Digests of the settings of each part of a recipe: a part made with other settings is never reused."""

import hashlib
from pathlib import Path
from typing import Any

from ....store import content_key
from ...recipe.parts import TOKENIZER_VERSION
from ..captions import load_wordings
from ..spec import WorldSpec

UPSTREAM = {
    "autoencoder": (),
    "latents": ("autoencoder",),
    "text": ("latents",),
    "unet": ("text",),
    "banks": ("latents",),
    "garbage": ("latents",),
    "detector": ("banks", "garbage"),
    "clip": ("banks",),
}
NEGATIVES_VERSION = 2
"""Bump when the kinds of negatives change that the detector learns to leave unnamed."""


def part_key(spec: WorldSpec, sprites: Path, part: str) -> str:
    """Return the digest of all settings that a part depends on, including those of the parts before it."""
    content = spec.model_dump(mode="json")
    words = {"wordings": load_wordings().model_dump(), "indirect": content["indirect"]}
    words["tokenizer"] = TOKENIZER_VERSION
    own: dict[str, Any] = {
        "autoencoder": {
            **{
                key: content[key]
                for key in ("pixels", "seed", "styles", "backgrounds", "subjects", "autoencoder")
            },
            "sprites": hashlib.sha256(sprites.read_bytes()).hexdigest(),
        },
        "latents": {key: content[key] for key in ("held_out", "scale")}
        | {"placements": content["unet"]["placements"]}
        | ({"without": content["without"]} if spec.without else {}),
        "text": {"budget": content["text"], **words},
        "unet": content["unet"],
        "banks": {},
        "garbage": {"version": NEGATIVES_VERSION},
        "detector": content["detector"],
        "clip": {"budget": content["clip"], "text": content["text"], **words},
    }[part]
    return content_key(
        {"part": part, "own": own, "before": [part_key(spec, sprites, p) for p in UPSTREAM[part]]}
    )

"""Compositing: the border is pure background, so that its colour can be read exactly."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch

from unlearnbench.bench.errors import UserError
from unlearnbench.bench.judges.emoji import name_backgrounds
from unlearnbench.bench.judges.types import NOTHING
from unlearnbench.bench.worlds.emoji.compose import load_canvas, random_triples
from unlearnbench.bench.worlds.emoji.spec import load_spec
from unlearnbench.bench.worlds.emoji.world import SPRITES
from unlearnbench.bench.worlds.recipe.parts import Triple
from unlearnbench.bench.worlds.seeds import seeded


@pytest.mark.parametrize("name", ["emoji", "tiny"])
def test_every_background_is_read_exactly(name: str) -> None:
    spec = load_spec(name)
    canvas = load_canvas(spec, SPRITES)
    subject, style, background = random_triples(spec, 400, seeded("test"))
    images = canvas.compose(subject, style, background, seeded("place"))
    data = ((images + 1) * 127.5).round().byte().permute(0, 2, 3, 1).numpy()
    assert name_backgrounds(data, spec.backgrounds) == [spec.background_names[b] for b in background]


def test_a_colour_far_from_all_is_nothing_known() -> None:
    spec = load_spec("emoji")
    black, near = np.zeros((1, 64, 64, 3), np.uint8), np.full((1, 64, 64, 3), (225, 75, 65), np.uint8)
    assert name_backgrounds(np.concatenate([black, near]), spec.backgrounds) == [NOTHING, "red"]


def test_the_sprite_file_holds_every_subject_and_style() -> None:
    spec = load_spec("emoji")
    table = pd.read_parquet(SPRITES, columns=["subject", "style"])
    assert len(table) == len(spec.subject_names) * len(spec.style_names) == 560
    assert not table.duplicated().any()


def test_a_missing_sprite_is_named(tmp_path: Path) -> None:
    table = pd.read_parquet(SPRITES)
    lacking = tmp_path / "sprites.parquet"
    table[table.subject != "fox"].to_parquet(lacking)
    with pytest.raises(UserError, match="no sprite of 'fox' in style 'noto'"):
        load_canvas(load_spec("emoji"), lacking)


def test_held_out_triples_are_a_tenth_and_every_pair_is_seen() -> None:
    spec = load_spec("emoji")
    held = [t for t in spec.triples if spec.is_held_out(t)]
    assert 0.08 < len(held) / len(spec.triples) < 0.12
    seen = set(spec.triples) - set(held)
    for a, b in (("subject", "style"), ("subject", "background"), ("style", "background")):
        pairs = {(getattr(t, a), getattr(t, b)) for t in spec.triples}
        assert {(getattr(t, a), getattr(t, b)) for t in seen} == pairs


def test_compositing_is_seeded() -> None:
    canvas = load_canvas(load_spec("tiny"), SPRITES)
    index = torch.tensor([[0, 1], [0, 1], [0, 2]])
    first = canvas.compose(*index, seeded(1))
    assert torch.equal(first, canvas.compose(*index, seeded(1)))
    assert not torch.equal(first, canvas.compose(*index, seeded(2)))
    assert Triple(0, 1, 2)._replace(style=-1).style == -1

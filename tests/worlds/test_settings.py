"""Parts made with other settings are refused, and a part's key follows what it depends on."""

from pathlib import Path

import pytest
import torch

from unlearnbench.bench.errors import UserError
from unlearnbench.bench.worlds.emoji.recipe.settings import UPSTREAM, part_key
from unlearnbench.bench.worlds.emoji.spec import WorldSpec, load_spec
from unlearnbench.bench.worlds.emoji.world import SPRITES
from unlearnbench.bench.worlds.recipe.loop import read_checked, save_atomic

CHANGES = {
    "pixels": set(UPSTREAM),
    "seed": set(UPSTREAM),
    "held_out": set(UPSTREAM) - {"autoencoder"},
    "guidance": set(),
    "indirect": {"text", "unet", "clip"},
    "autoencoder.rate": set(UPSTREAM),
    "text.steps": {"text", "unet", "clip"},
    "unet.steps": {"unet"},
    "detector.batch": {"detector"},
    "clip.steps": {"clip"},
}


def _changed(spec: WorldSpec, key: str) -> WorldSpec:
    part, _, name = key.partition(".")
    if not name:
        return spec.model_copy(update={part: getattr(spec, part) * 2 + 1})
    budget = getattr(spec, part)
    return spec.model_copy(update={part: budget.model_copy(update={name: getattr(budget, name) * 2})})


@pytest.mark.parametrize("key", CHANGES)
def test_a_setting_changes_the_parts_that_depend_on_it(key: str) -> None:
    spec = load_spec("tiny")
    other = _changed(spec, key)
    changed = {part for part in UPSTREAM if part_key(spec, SPRITES, part) != part_key(other, SPRITES, part)}
    assert changed == CHANGES[key]


def test_a_file_of_other_settings_is_refused_and_kept(tmp_path: Path) -> None:
    path = tmp_path / "unet.safetensors"
    save_atomic({"x": torch.ones(2)}, path, "one")
    assert torch.equal(read_checked(path, "one")["x"], torch.ones(2))
    with pytest.raises(UserError, match="made with other settings; remove it"):
        read_checked(path, "two")
    assert path.exists()


def test_leaving_out_makes_new_parts_but_keeps_the_autoencoder_and_the_whole_worlds_keys() -> None:
    whole, less = load_spec("tiny"), load_spec("tiny").leave_out(["guitar", "noto"])
    changed = {part for part in UPSTREAM if part_key(whole, SPRITES, part) != part_key(less, SPRITES, part)}
    assert changed == set(UPSTREAM) - {"autoencoder"}
    assert whole.folder_name == "tiny" != less.folder_name
    assert less.folder_name == load_spec("tiny").leave_out(["noto", "guitar", "noto"]).folder_name
    left = [t for t in less.triples if less.is_trained_on(t)]
    assert {less.subject_names[t.subject] for t in left} == set(less.subject_names) - {"guitar"}
    assert {less.style_names[t.style] for t in left} == {"line"}
    with pytest.raises(UserError, match="--without lute: tiny has no subject or style"):
        whole.leave_out(["lute"])

"""`unlearnbench pretrain`: train an emoji world and export the folder that the package ships."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from diffusers import AutoencoderKL

from ....files import replace_folder
from ...recipe.generator import export_pipeline
from ...recipe.loop import save_atomic
from ..spec import WorldSpec, load_spec
from ..world import DATA, SPRITES
from .art import render_sprites
from .recipe import Recipe, export_judges, open_recipe
from .settings import part_key


def pretrain(
    spec: WorldSpec,
    sprites: Path,
    work: Path,
    target: Path,
    stages: tuple[str, ...],
    say: Callable[[str], None],
    device: str = "cpu",
) -> Path | None:
    """Train the given stages (each resumes from `work`), then export to `target`; return `target`.

    device: on which the generator's text encoder and denoiser train.
    """
    recipe = open_recipe(spec, sprites, work / spec.folder_name, device)
    if spec.without:
        _share_autoencoder(spec, sprites, work)
    if "autoencoder" in stages:
        _ = recipe.autoencoder
    if "text" in stages:
        _ = recipe.text_encoder
    if "unet" in stages:
        _ = recipe.unet
    if "detector" in stages and not spec.without:
        _ = recipe.detector
    if "clip" in stages and not spec.without:
        _ = recipe.clip
    if "export" not in stages:
        return None
    _export(recipe, target)
    say(f"{spec.name}@{spec.version}: {target}")
    return target


def _share_autoencoder(spec: WorldSpec, sprites: Path, work: Path) -> None:
    """Give a world that leaves concepts out the autoencoder of the whole world, which knows no captions.

    So a retrained model differs from the published one only in its text encoder and denoiser. The autoencoder
    is the one in `work` where the whole world was trained there, else the one that ships. Where there is
    neither, it is trained.
    """
    whole = spec.model_copy(update={"without": ()})
    own, trained = work / spec.folder_name, work / whole.folder_name / "autoencoder.safetensors"
    own.mkdir(parents=True, exist_ok=True)
    if not trained.exists() and _ships(whole, sprites):
        vae = AutoencoderKL.from_pretrained(DATA / whole.name / "pipeline" / "vae", torch_dtype=torch.float32)
        key = part_key(spec, sprites, "autoencoder")
        save_atomic(
            {f"vae.{name}": t for name, t in vae.state_dict().items()}, own / "autoencoder.safetensors", key
        )
        return
    _ = open_recipe(whole, sprites, work / whole.folder_name).autoencoder
    shutil.copyfile(trained, own / "autoencoder.safetensors")


def _ships(spec: WorldSpec, sprites: Path) -> bool:
    """Return whether the package ships exactly this world, made from these sprites."""
    shipped = (DATA / spec.name / "world.json").is_file() and spec == load_spec(spec.name)
    return shipped and part_key(spec, sprites, "autoencoder") == part_key(spec, SPRITES, "autoencoder")


def _export(recipe: Recipe, target: Path) -> None:
    """Write the world. Where it leaves concepts out, write only the pipeline: the whole world judges it."""
    replace_folder(target, lambda scratch: _write_world(recipe, scratch))


def _write_world(recipe: Recipe, scratch: Path) -> None:
    spec = recipe.spec
    export_pipeline(recipe, scratch / "pipeline")
    card: dict[str, Any] = {"world": spec.name, "version": spec.version}
    if spec.without:
        card["without"] = list(spec.without)
    else:
        export_judges(recipe, scratch / "judges")
        card["judge_version"] = 1
    name = "retrained.json" if spec.without else "world.json"
    (scratch / name).write_text(json.dumps(card, indent=1) + "\n", encoding="utf-8")
    for path in scratch.rglob("*"):
        path.chmod(0o755 if path.is_dir() else 0o644)


def rebuild_sprites(preset: str, art: Path, sprites: Path) -> int:
    """Render the sprite file of a world again from the art packages; return the number of sprites."""
    return render_sprites(load_spec(preset), art, sprites)

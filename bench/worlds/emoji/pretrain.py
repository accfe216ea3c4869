"""`unlearnbench pretrain`: train an emoji world and export the folder that the package ships."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path

from .art import render_sprites
from .recipe import export_judges, export_pipeline, open_recipe
from .spec import load_spec


def pretrain(
    preset: str, sprites: Path, work: Path, target: Path, stages: tuple[str, ...], say: Callable[[str], None]
) -> Path | None:
    """Train the stages asked for (each resumes from `work`), then export to `target`, and return that."""
    spec = load_spec(preset)
    recipe = open_recipe(spec, sprites, work / spec.name)
    if "autoencoder" in stages:
        _ = recipe.autoencoder
    if "text" in stages:
        _ = recipe.text_encoder
    if "unet" in stages:
        _ = recipe.unet
    if "detector" in stages:
        _ = recipe.detector
    if "clip" in stages:
        _ = recipe.clip
    if "export" not in stages:
        return None
    scratch = target.with_name(target.name + ".tmp")
    shutil.rmtree(scratch, ignore_errors=True)
    export_pipeline(recipe, scratch / "pipeline")
    export_judges(recipe, scratch / "judges")
    card = {"world": spec.name, "version": spec.version, "judge_version": 1}
    (scratch / "world.json").write_text(json.dumps(card, indent=1) + "\n", encoding="utf-8")
    for path in scratch.rglob("*"):
        path.chmod(0o755 if path.is_dir() else 0o644)
    shutil.rmtree(target, ignore_errors=True)
    scratch.rename(target)
    say(f"{spec.name}@{spec.version}: {target}")
    return target


def rebuild_sprites(preset: str, art: Path, sprites: Path) -> int:
    """Render the sprite file of a world anew from the art packages; return the number of sprites."""
    return render_sprites(load_spec(preset), art, sprites)

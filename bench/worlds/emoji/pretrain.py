"""`unlearnbench pretrain`: train an emoji world and export the folder that the package ships."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

from .art import render_sprites
from .recipe import Recipe, export_judges, export_pipeline, open_recipe
from .spec import WorldSpec, load_spec


def pretrain(
    spec: WorldSpec,
    sprites: Path,
    work: Path,
    target: Path,
    stages: tuple[str, ...],
    say: Callable[[str], None],
) -> Path | None:
    """Train the stages asked for (each resumes from `work`), then export to `target`, and return that."""
    recipe = open_recipe(spec, sprites, work / spec.folder_name)
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
    """Give a world that leaves things out the whole world's autoencoder, which knows no captions."""
    whole = spec.model_copy(update={"without": ()})
    _ = open_recipe(whole, sprites, work / whole.folder_name).autoencoder
    own = work / spec.folder_name
    own.mkdir(parents=True, exist_ok=True)
    shutil.copyfile(work / whole.folder_name / "autoencoder.safetensors", own / "autoencoder.safetensors")


def _export(recipe: Recipe, target: Path) -> None:
    """Write the world, or the pipeline alone where it leaves things out: it is judged by the whole world."""
    spec = recipe.spec
    scratch = target.with_name(target.name + ".tmp")
    shutil.rmtree(scratch, ignore_errors=True)
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
    shutil.rmtree(target, ignore_errors=True)
    scratch.rename(target)


def rebuild_sprites(preset: str, art: Path, sprites: Path) -> int:
    """Render the sprite file of a world anew from the art packages; return the number of sprites."""
    return render_sprites(load_spec(preset), art, sprites)

"""`pretrain` and `quality`: their options and actions."""

import argparse
from pathlib import Path
from typing import Any

from ..errors import UserError
from ..running.catalog import open_world, registry
from ..running.session import choose_device, set_threads
from .common import open_console

IMAGES_ONLY = ("data", "name", "classes", "settings")
"""Options that only `pretrain images` has."""
EMBEDDED = frozenset({"pipeline", "judges", "world.json", "retrained.json"})
LABELLED = frozenset({"pipeline", "judges", "images.safetensors", "world.json", "tasks.json", "suite.toml"})
"""Files in the folder of a made world."""


def pretrain_world(options: argparse.Namespace) -> int:
    """Train an embedded world, or one of labelled images; resumes from its working folder."""
    if options.preset == "images":
        return pretrain_images(options)
    given = [name for name in IMAGES_ONLY if getattr(options, name)]
    if given:
        raise UserError(f"--{given[0]}: is only for `pretrain images`")
    from ..store import recipe_folder
    from ..worlds.emoji.spec import STAGES, load_spec
    from ..worlds.emoji.world import SPRITES

    check_own_world(options.out, EMBEDDED)
    stages = choose_stages(options, STAGES)
    spec = load_spec(options.preset).leave_out(options.without)
    from ..worlds.emoji.recipe.pretrain import (
        pretrain,
        rebuild_sprites,  # imports torch: after every check
    )

    set_threads(options.threads)
    device = choose_device(options.device or "cpu")
    work = options.work or recipe_folder()
    sprites = SPRITES
    if options.sprites:
        sprites = work / "sprites.parquet"
        work.mkdir(parents=True, exist_ok=True)
        print(f"{rebuild_sprites(options.preset, work / 'art', sprites)} sprites: {sprites}")
    target = options.out or work / spec.folder_name / "world"
    pretrain(spec, sprites, work, target, stages, print, device)
    return 0


def choose_stages(options: argparse.Namespace, known: tuple[str, ...]) -> tuple[str, ...]:
    """Return the given stages, or all; raises UserError for one that a recipe does not have."""
    stages = tuple(options.stages.split(",")) if options.stages else known
    unknown = [s for s in stages if s not in known]
    if unknown:
        raise UserError(f"--stages {unknown[0]}: no such stage; stages: {', '.join(known)}")
    return stages


def pretrain_images(options: argparse.Namespace) -> int:
    """Train a world of labelled images; resumes from its working folder."""
    if options.data is None:
        raise UserError("pretrain images: --data: needed: a folder of labelled images")
    if options.without or options.sprites:
        raise UserError("pretrain images: --without and --sprites are for the embedded worlds")
    from ..store import recipe_folder
    from ..worlds.images.data import FASHION_MNIST, read_images
    from ..worlds.images.pretrain import pretrain
    from ..worlds.images.spec import SETTINGS, STAGES, load_settings, make_name
    from ..worlds.images.world import ImagesWorld

    check_replaceable(options.out, None)
    stages, path = choose_stages(options, STAGES), options.settings or SETTINGS
    device = choose_device(options.device or "cpu")
    set_threads(options.threads)
    # a mistake in the settings is found before the data is read
    pixels = load_settings(path, "unnamed", []).pixels
    data = read_images(options.data, pixels, options.classes or ())
    known = "fashion-mnist" if data.kind == "idx" and data.classes == FASHION_MNIST else None
    name = make_name(options.name or known or options.data.resolve().name)
    if name in registry("worlds") and not isinstance(open_world(name), ImagesWorld):
        raise UserError(f"{name}: another world has this name; give a name of your own with --name")
    spec = load_settings(path, name, data.classes)
    work = (options.work or recipe_folder()) / name
    check_replaceable(options.out, name)
    print(f"{name}: {len(data.train)} images to train on, {len(data.test)} to test with; in {work}")
    pretrain(spec, data, work, options.out or work / "world", stages, print, device)
    return 0


def check_own_world(out: Path | None, names: frozenset[str]) -> None:
    """Raise UserError where `--out` exists and holds anything but the files of a world (`names`)."""
    if out is None or not (out.exists() or out.is_symlink()):
        return
    if out.is_symlink() or not out.is_dir():
        raise UserError(f"--out {out}: is no folder; name a new one")
    strange = sorted({path.name for path in out.iterdir()} - names)
    if strange:
        raise UserError(
            f"--out {out}: holds {strange[0]}, which no world holds, and would be replaced; name a new folder"
        )


def check_replaceable(out: Path | None, name: str | None) -> None:
    """Raise UserError where `--out` exists and is not a made world of this name (None: of any name).

    An export replaces the folder as a whole.
    """
    from ..worlds.images.world import open_folder

    if out is None or not (out.exists() or out.is_symlink()):
        return
    try:
        world = open_folder(out)
    except UserError:
        raise UserError(
            f"--out {out}: is there already and is no world that `pretrain images` made; name a new folder"
        ) from None
    check_own_world(out, LABELLED)
    if name not in (None, world.name):
        raise UserError(f"--out {out}: holds the world {world.name}, not {name}; name a new folder")


def show_quality(options: argparse.Namespace) -> int:
    """Print the quality bar of a world's base model, or of its detector."""
    from ..worlds.emoji.recipe.judge_quality import measure_judges
    from ..worlds.emoji.recipe.quality import measure_quality
    from ..worlds.emoji.world import EmojiWorld
    from ..worlds.images.quality import measure_quality as measure_images
    from ..worlds.images.world import ImagesWorld, open_folder

    folder = Path(options.world)
    made = (folder / "world.json").is_file()
    world = open_folder(folder) if made else open_world(options.world)
    device = choose_device(options.device)
    set_threads(options.threads)
    if isinstance(world, ImagesWorld):
        if options.judges:
            raise UserError(f"--judges: {world.id} was measured when it was made: see its world.json")
        open_console().print(measure_images(world, options.images, device, options.sheet).table())
        return 0
    if not isinstance(world, EmojiWorld):
        raise UserError(f"quality: {world.id}: is no embedded world, nor one of labelled images")
    if options.judges:
        judges = measure_judges(world)
        open_console().print(*judges.tables(), sep="\n")
        return 0 if judges.met else 1
    report = measure_quality(world, options.images, device, options.sheet)
    open_console().print(report.table())
    return 0 if report.met else 1


def add_pretrain(commands: Any) -> None:
    pretrain = commands.add_parser("pretrain", help="train a world, embedded or of labelled images")
    pretrain.add_argument("preset", help="emoji, tiny or a TOML file; images for a world of --data")
    pretrain.add_argument("--data", type=Path, help="images: a folder a class, a datasets folder, IDX files")
    pretrain.add_argument("--name", help="images: the world's name (default: the folder's)")
    pretrain.add_argument("--classes", nargs="+", help="images: names of the classes, in the labels' order")
    pretrain.add_argument("--settings", type=Path, help="images: TOML file in place of images.toml")
    pretrain.add_argument(
        "--work", type=Path, help="folder of checkpoints (default: in the user's cache folder)"
    )
    pretrain.add_argument("--out", type=Path, help="folder of the world (default: WORK/PRESET/world)")
    pretrain.add_argument("--stages", help="comma-separated part of the stages")
    pretrain.add_argument(
        "--without", nargs="+", default=[], metavar="NAME", help="subjects or styles the generator never sees"
    )
    pretrain.add_argument("--sprites", action="store_true", help="first render the sprites again (needs npm)")
    pretrain.add_argument("--threads", type=int)
    pretrain.add_argument("--device", help="where the generator trains: cpu, cuda or mps (default: cpu)")
    pretrain.set_defaults(run=pretrain_world)

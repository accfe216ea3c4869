"""What the subcommands about embedded worlds do: train one, and measure one."""

import argparse

from .cli_commands import choose_device, registry, set_threads
from .errors import UserError


def pretrain_world(options: argparse.Namespace) -> int:
    """Train an embedded world; resumes from its working folder."""
    from .worlds.emoji.spec import STAGES, load_spec
    from .worlds.emoji.world import SPRITES, recipe_folder

    stages = tuple(options.stages.split(",")) if options.stages else STAGES
    unknown = [s for s in stages if s not in STAGES]
    if unknown:
        raise UserError(f"--stages {unknown[0]}: no such stage; stages: {', '.join(STAGES)}")
    spec = load_spec(options.preset).leave_out(options.without)
    from .worlds.emoji.pretrain import pretrain, rebuild_sprites  # imports torch: after every check

    set_threads(options.threads)
    work = options.work or recipe_folder()
    sprites = SPRITES
    if options.sprites:
        sprites = work / "sprites.parquet"
        work.mkdir(parents=True, exist_ok=True)
        print(f"{rebuild_sprites(options.preset, work / 'art', sprites)} sprites: {sprites}")
    pretrain(spec, sprites, work, options.out or work / spec.folder_name / "world", stages, print)
    return 0


def show_quality(options: argparse.Namespace) -> int:
    """Print the quality bar of a world's base model, or of its detector."""
    from rich.console import Console

    from .worlds.emoji.judge_quality import measure_judges
    from .worlds.emoji.quality import measure_quality

    world = registry("worlds")[options.world].load()()
    device = choose_device(options.device)
    set_threads(options.threads)
    if options.judges:
        judges = measure_judges(world)
        Console().print(*judges.tables(), sep="\n")
        return 0 if judges.met else 1
    report = measure_quality(world, options.images, device, options.sheet)
    Console().print(report.table())
    return 0 if report.met else 1

"""Help: examples for every subcommand, the exit statuses in one table, and completion for shells."""

import argparse
from typing import Any

EXIT_STATUSES = (
    ("0", "done; for check, rerun, validate and audit --verify: passed, agrees, all good, intact"),
    ("1", "a cell failed, something is missing, or a check did not pass (check: regressed; rerun: differs)"),
    ("2", "a mistake in the options or files, told in one line; for check, rerun and audit: undecided"),
    ("3", "check and rerun only: nothing was judged, for a mistake in the options or files"),
    ("130", "interrupted (Ctrl-C); run, evaluate, check, pretrain and label go on with the same command"),
    ("143", "ended by SIGTERM; as 130"),
)
"""Exit status -> when a command ends with it."""
EXAMPLES: dict[str, tuple[str, ...]] = {
    "run": (
        "run",
        "run --task nudity/alcohol --method balanced --seeds 0 1 2",
        "run --limit 4 --tag run=first",
    ),
    "evaluate": (
        "evaluate --model FOLDER --task classes/cat-face --name mine",
        "evaluate --model esd.safetensors --base-model SD14 --task styles/van-gogh@sd14",
    ),
    "unlearn": ('unlearn --model FOLDER --concept "Van Gogh" --kind style --out NEW',),
    "check": ("check --baseline RECORD.json --candidate FOLDER --policy model-update",),
    "show": ("show runs/demo/CELL.json --sheet worst.png",),
    "watch": ("watch runs/demo", "watch runs/demo --once"),
    "score": (
        "score --images FOLDER --task classes/cat-face",
        "score --images FOLDER --list LIST.csv --task T",
    ),
    "prompts": ("prompts --task classes/cat-face --out prompts.csv",),
    "rate": (
        "rate runs/demo --pickscore yuvalkirstain/PickScore_v1",
        "rate runs/demo --hpsv2 HPS_v2.1_compressed.pt --lpips alexnet-owt-7be5be79.pth",
    ),
    "export": (
        "export runs/demo --to tensorboard",
        "export runs/demo --to mlflow --uri sqlite:///mlflow.db",
        "export runs/demo --to wandb --out tracking",
        "export runs/demo --to trackio --experiment demo",
    ),
    "push": (
        "push runs/demo --to OWNER/NAME",
        "push MODEL --to OWNER/NAME --record runs/evaluate/CELL.json",
    ),
    "pull": ("pull OWNER/NAME --out records", "pull OWNER/NAME --kind model --out MODEL"),
    "convert": ("convert FOLDER --out model.safetensors",),
    "new": (
        "new task fox",
        'new task "red bicycle" --world sd14',
        "new method mine",
        "new judge look",
        "new judge vlm --server http://127.0.0.1:8000/v1 --model qwen2-vl",
        "new judge near --server http://127.0.0.1:8000/v1 --model siglip --embedding",
    ),
    "attack": ("attack RECORD.json --attack inversion relearn",),
    "audit": ('audit RECORD.json --policy model-update --why "..." --key KEY.pem --out report.html',),
    "label": ('label RECORD.json --who "Ada" -n 200',),
    "validate": ("validate results", "validate runs/demo/CELL.json"),
    "submit": ("submit RECORD.json --out claim.zip",),
    "pack": ("pack results/emoji", "pack results/emoji --records"),
    "pool": ("pool results/emoji",),
    "rerun": ("rerun RECORD.json",),
    "retract": ('retract RECORD.json --reason "wrong seed" --by Ada',),
    "report-attack": ("report-attack RECORD.json --attack NAME --ua .4 --images 100 --by WHO",),
    "doctor": ("doctor", "doctor --task styles/van-gogh@sd14"),
    "leaderboard": ("leaderboard runs/demo",),
    "site": ("site results/emoji --out site",),
    "compare": ("compare results/emoji --rival gradient_sum",),
    "nearby": ("nearby results/emoji/classes-cat-face-emoji.balanced.b0e06c.s0.json",),
    "hidden": ("hidden results/emoji",),
    "steps": ("steps results/trial-tuning",),
    "transfer": ("transfer results/board",),
    "prune": ("prune", "prune --store FOLDER"),
    "calibrate": ("calibrate", "calibrate --task styles/van-gogh@sd14"),
    "choose": ("choose runs/tuning --suite tuning",),
    "coverage": ("coverage",),
    "list": ("list", "list methods", "list tasks van-gogh"),
    "pretrain": ("pretrain emoji", "pretrain images --data FOLDER"),
    "quality": ("quality emoji --sheet sheet.png",),
    "completion": ('completion bash > "$HOME/.local/share/bash-completion/completions/unlearnbench"',),
}
"""Subcommand -> command lines to start from, without the program's name."""


def make_formatter(prog: str) -> argparse.HelpFormatter:
    """Return the formatter of help texts, imported when a help or a usage is printed."""
    from rich_argparse import RawDescriptionRichHelpFormatter

    formatter = RawDescriptionRichHelpFormatter(prog)
    formatter.help_markup = False  # type: ignore[misc]  # `family/concept[@world]` holds no markup
    formatter.text_markup = False  # type: ignore[misc]
    return formatter


def add_help(parser: argparse.ArgumentParser, commands: Any) -> None:
    """Give each subcommand its examples, and the program the table of exit statuses."""
    parser.formatter_class = make_formatter  # type: ignore[assignment]
    parser.epilog = "exit status:\n" + "\n".join(f"  {code:>3}  {when}" for code, when in EXIT_STATUSES)
    for name, own in commands.choices.items():
        own.formatter_class = make_formatter
        lines = [f"  {parser.prog} {line}" for line in EXAMPLES.get(name, ())]
        own.epilog = "examples:\n" + "\n".join(lines) if lines else None


def print_completion(options: argparse.Namespace) -> int:
    """Print the script that completes options in a shell."""
    import shtab

    print(shtab.complete(options.program, shell=options.shell))
    return 0


def add_completion(commands: Any, program: argparse.ArgumentParser) -> None:
    """Add `completion` to the command line. program: the parser of everything."""
    parser = commands.add_parser("completion", help="print the script that completes commands in a shell")
    parser.add_argument("shell", choices=("bash", "zsh", "tcsh"), help="the shell")
    parser.set_defaults(run=print_completion, program=program)

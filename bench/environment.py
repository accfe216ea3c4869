"""The environment of a run: package versions, device, threads, commit."""

import platform
import subprocess
from collections.abc import Mapping
from functools import cache
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

PACKAGES = (
    "torch",
    "torchvision",
    "diffusers",
    "transformers",
    "open_clip_torch",
    "numpy",
    "pandas",
    "scipy",
)

BITS = ("device", "device_name", "threads", "packages")
"""Parts of an environment that change the last bits of sums, and so trained weights and images."""


@cache
def describe_environment(device: str, threads: int) -> dict[str, Any]:
    """Return versions, device and platform; names no machine and no user."""
    return {
        "unlearnbench": _version("unlearnbench"),
        "python": platform.python_version(),
        "packages": package_versions(),
        "device": device,
        "device_name": _device_name(device),
        "threads": threads,
        "platform": f"{platform.system()} {platform.machine()}",
    }


def differing(own: Mapping[str, Any], other: Mapping[str, Any]) -> list[str]:
    """Return the names of the parts in which two environments may give other bits."""
    return [name for name in BITS if own.get(name) != other.get(name)]


def describe_difference(there: Mapping[str, Any], here: Mapping[str, Any]) -> str:
    """Return in what a record's environment differs from this machine's, of what may give other bits."""
    pairs = {name: (there.get(name), here.get(name)) for name in BITS if name != "packages"}
    own = there.get("packages")
    own = own if isinstance(own, Mapping) else {}
    pairs |= {name: (own.get(name), version) for name, version in here["packages"].items()}
    said = [
        f"{name} is {one!r:.100} there and {two!r} here" for name, (one, two) in pairs.items() if one != two
    ]
    return ", ".join(said) or "device, threads and packages are the record's"


@cache
def package_versions() -> dict[str, str]:
    """Return the versions of the packages that affect numbers."""
    return {name: _version(name) for name in PACKAGES}


def _version(package: str) -> str:
    try:
        return version(package)
    except PackageNotFoundError:
        return "not installed"


def _device_name(device: str) -> str:
    if device == "cuda":
        import torch

        return torch.cuda.get_device_name()
    return _cpu_name() or platform.processor() or platform.machine()


def _cpu_name() -> str:
    """Return the processor's model, "" where it is not known: models differ in the last bits of sums."""
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        return ""
    found = (line.partition(":")[2] for line in lines if line.startswith("model name"))
    return " ".join(next(found, "").split())[:100]


@cache
def find_commit() -> str | None:
    """Return the commit of the checkout that the package runs from (`+` after it: changed files), or None."""
    here = Path(__file__).resolve().parent
    try:
        commit = _git(here, "rev-parse", "HEAD")
        root = Path(_git(here, "rev-parse", "--show-toplevel"))
        if root != here.parent:
            return None
        return commit + ("+" if _git(here, "status", "--porcelain", "--untracked-files=no") else "")
    except (OSError, subprocess.CalledProcessError):
        return None


def _git(folder: Path, *arguments: str) -> str:
    done = subprocess.run(["git", "-C", str(folder), *arguments], capture_output=True, text=True, check=True)
    return done.stdout.strip()

"""Opens an open_clip model from a folder, complete: the library uses random weights where it finds none."""

from pathlib import Path
from typing import Any

from ..errors import UserError
from .layout import CONFIGS, read_config
from .whole import PICKLES, first_line, quiet, read_names

CONFIG = "open_clip_config.json"
ORDER = (
    "open_clip_model.safetensors",
    "open_clip_pytorch_model.safetensors",
    "open_clip_pytorch_model.bin",
    "open_clip_pytorch_model.pth",
    "model.safetensors",
)
"""Files of weights in the order in which open_clip looks for them in a folder."""
SCALARS = ("logit_scale", "logit_bias")
"""Numbers that open_clip saves with or without a dimension."""


def check_clip(folder: Path) -> Path:
    """Return the file of weights in an open_clip folder; opens no weights.

    Raises UserError where it is no such folder, where its weights are missing, incomplete or of another
    architecture than its configuration says, or where a part of the model is elsewhere.
    """
    if not (folder / CONFIG).is_file():
        raise UserError(f"{folder}: no {CONFIG}: not a folder of an open_clip model; fetch it again")
    _check_config(folder)
    weights = _find_weights(folder)
    _check_shapes(folder, weights)
    return weights


def open_clip_model(folder: Path, device: str) -> tuple[Any, Any, Any]:
    """Return model, preprocessing and tokenizer of an open_clip folder; raises UserError as `check_clip`."""
    import open_clip

    check_clip(folder)
    name = f"local-dir:{folder}"
    try:
        with quiet():
            model, _, preprocess = open_clip.create_model_and_transforms(name, device=device)
            tokenizer = open_clip.get_tokenizer(name)
    except Exception as error:  # whatever a damaged folder makes the library raise
        raise UserError(f"{folder}: does not open as an open_clip model: {first_line(error)}") from None
    return model.eval().requires_grad_(False), preprocess, tokenizer


def _check_config(folder: Path) -> None:
    for path in [folder / CONFIG, *(folder / name for name in CONFIGS)]:
        if path.is_file():
            read_config(path)
    for path in sorted(folder.glob("*.py")):
        raise UserError(f"{path}: is code, and models here run no code of their own; remove it")
    model = read_config(folder / CONFIG).get("model_cfg")
    parts = [model.get(f"{name}_cfg") if isinstance(model, dict) else None for name in ("text", "vision")]
    if not all(isinstance(part, dict) for part in parts):
        raise UserError(f"{folder / CONFIG}: model_cfg: needed: text_cfg and vision_cfg")
    if (parts[0] or {}).get("hf_model_name"):
        raise UserError(f"{folder / CONFIG}: hf_model_name: a part of the model would be taken from the hub")


def _find_weights(folder: Path) -> Path:
    """Return the file that open_clip opens, by its own rule; raises UserError unless it is safetensors."""
    safe = sorted(folder.glob("*.safetensors"))
    others = sorted(p for p in folder.iterdir() if p.suffix in PICKLES)
    named = [folder / name for name in ORDER if folder / name in {*safe, *others}]
    if not named and len(safe) > 1:
        names = ", ".join(path.name for path in safe)
        raise UserError(f"{folder}: which of {names} holds the model cannot be told; keep one of them")
    if not named and not safe:
        found = f"{others[0].name} is no safetensors file" if others else f"it has only {CONFIG}"
        raise UserError(f"{folder}: has no weights ({found}); needed: {ORDER[0]}; fetch it again")
    chosen = (named or safe)[0]
    if chosen.suffix != ".safetensors":
        raise UserError(
            f"{chosen}: weights are opened only from .safetensors; fetch or save {ORDER[0]} next to it"
        )
    return chosen


def _check_shapes(folder: Path, weights: Path) -> None:
    """Raise UserError where a tensor has another shape than in the model: open_clip would resize it.

    Also where one is missing or unknown, unless the file has the names of other code, which open_clip
    converts and then loads strictly.
    """
    import open_clip
    import torch

    theirs = read_names(weights)
    try:
        with quiet(), torch.device("meta"):
            empty = open_clip.create_model(f"local-dir:{folder}", load_weights=False, device="meta")
    except Exception as error:
        raise UserError(f"{folder / CONFIG}: describes no open_clip model: {first_line(error)}") from None
    ours = {name: tuple(tensor.shape) for name, tensor in empty.state_dict().items()}
    shared = ours.keys() & theirs.keys()
    for name in sorted(shared - set(SCALARS)):
        if ours[name] != theirs[name]:
            raise UserError(
                f"{weights}: {name}: has the shape {theirs[name]}; {CONFIG} describes one of {ours[name]}; "
                "fetch the folder again"
            )
    differ = sorted((ours.keys() ^ theirs.keys()) - set(SCALARS))
    if len(shared) > len(ours) / 2 and differ:
        raise UserError(f"{weights}: {differ[0]}: not in both the file and the model; fetch the folder again")

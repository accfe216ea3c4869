"""The card of an unlearned model: how it was made, and how to measure the result."""

import shlex
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ..registry import builtin_registry

CARD = """# {base_model}, without {concept}

`{method}` of unlearnbench was run on `{base_model}` to unlearn **{concept}**{anchor}.
{images} The training log and versions: `unlearning.json`.
{acts}
| setting | value |
|---|---|
{settings}

Weights before: `{before}…`, after: `{after}…` (sha256).

**Nothing here says that the concept is gone or that the rest still works.** Measure it:

```
{command}
```
"""
IMAGES = """It was trained on {forget} images to forget and {retain} to retain, drawn by the base model
itself from the prompts in `forget_prompts.txt` and `retain_prompts.txt`."""
NO_IMAGES = "It needs no training images; its prompts: `forget_prompts.txt` and `retain_prompts.txt`."
ACTS = """
**The weights are not the unlearned model: `{method}` acts while it draws.**
`DiffusionPipeline.from_pretrained` opens the weights only, without it. With unlearnbench installed,
this opens the model, and plain calls of it draw as measured:

```python
from unlearnbench.bench.unlearning import load_model

pipeline = load_model("THIS_FOLDER", device="cpu")
```
"""
TAGS = ("unlearnbench", "concept-unlearning")
"""Tags of every unlearned model on the Hub; its method's name follows."""
NO_TASK = "FAMILY/CONCEPT@WORLD"
"""Placeholder where no task of the concept is known."""


def write_command(model: str, base: str, task: str) -> str:
    """Return the command that measures a model. base: the model that it was made from; "" = the world's own.

    Without it, a LoRA would be loaded on the base of the task's world, and differences would refer to that
    base. A folder with the name of a method gets another name: `evaluate` refuses that of a method.
    """
    beside = f" --base-model {shlex.quote(base)}" if base else ""
    own = Path(model).name
    named = (
        f" --name {shlex.quote(f'my-{own}')}"
        if own in builtin_registry("methods", "unlearnbench.methods")
        else ""
    )
    return f"unlearnbench evaluate --model {shlex.quote(model)}{beside} --task {task or NO_TASK}{named}"


def read_licence(folder: Path) -> str | None:
    """Return the licence that a model folder's own card names, None where it names none."""
    import yaml
    from huggingface_hub import ModelCard

    try:
        found = ModelCard.load(folder / "README.md", ignore_metadata_errors=True).data.license
    except (OSError, ValueError, yaml.YAMLError):
        return None
    return found if isinstance(found, str) else None


def write_card(
    done: Mapping[str, Any],
    own_base: bool = False,
    acts: bool = False,
    lora: bool = False,
    licence: str | None = None,
) -> str:
    """Return the card of an unlearned model: the Hub's metadata, and Markdown.

    done: the content of `unlearning.json`. own_base: the base model is not an embedded world's, so the
    command must name it. acts: the method acts while the model draws. lora: the folder holds only a LoRA.
    licence: of the base model, by the Hub's name; None = unknown. A base model is linked by its hub id; a
    folder of one machine is not.
    """
    from huggingface_hub import ModelCard, ModelCardData

    base = done["base_model"] if "/" in done["base_model"] else None
    data = ModelCardData(
        base_model=base,
        library_name="diffusers",
        license=licence,
        pipeline_tag="text-to-image",
        tags=[*TAGS, done["method"], *(["lora"] if lora else [])],
        base_model_relation=base and ("adapter" if lora else "finetune"),
    )
    return str(ModelCard(f"---\n{data.to_yaml()}\n---\n\n{_write_text(done, own_base, acts)}"))


def _write_text(done: Mapping[str, Any], own_base: bool, acts: bool) -> str:
    """Return the Markdown of a card."""
    data = done["data"]
    return CARD.format(
        base_model=done["base_model"],
        concept=done["concept"],
        method=done["method"],
        anchor=f" (anchor: {done['anchor']})" if done["anchor"] else "",
        images=IMAGES.format(**data) if data["forget"] or data["retain"] else NO_IMAGES,
        acts=ACTS.format(method=done["method"]) if acts else "",
        settings="\n".join(f"| {name} | {value} |" for name, value in done["config"].items()),
        before=done["weights_before"][:16],
        after=done["weights_after"][:16],
        command=write_command("THIS_FOLDER", done["base_model"] if own_base else "", done["task"]),
    )

"""Every real world through `run`, `unlearn` and `evaluate`, on tiny pipelines of the true classes.

CI runs those that are marked slow too: `pytest -m slow tests/worlds/test_every_family.py`.
"""

import json
from pathlib import Path
from typing import Any

import open_clip
import pytest
import torch
from diffusers import DiffusionPipeline
from safetensors.torch import save_model

from unlearnbench.bench.cli.main import main
from unlearnbench.bench.models.digests import network_parts
from unlearnbench.bench.records.record import read_record
from unlearnbench.bench.registry import Entry
from unlearnbench.bench.running.catalog import registry

from ..methods.families import build_family
from ..methods.tiny import build_pipeline
from .test_hub import CLIP_CONFIG

WORLDS = {"sd15": "sd", "sdxl": "sdxl", "sd3": "sd3", "flux": "flux"}
"""A world of each family of pipelines; sd14 and sd21 are of sd15's."""
SUITE = """
name = "every"
summary = "every method, one step each"
tasks = ["classes/tench@{world}"]
seeds = [0]

[sizes]
forget = 2
forget_samples = 1
retain_same = 2
retain_other = 1
retain_given = 1
indirect = 0

[[methods]]
name = "none"
"""
SMALL = {"steps": 1, "checkpoints": [1], "batch": 2, "images": 2, "mask_batches": 1, "pairs": 2}


def _methods(family: str) -> list[Entry]:
    """Return the methods that work on a family.

    Forget-Me-Not finds no concept here: the tiny tokenizer spells words by letters, and cuts the name off.
    """
    supported = [e for e in registry("methods").values() if not e.pipelines or family in e.pipelines]
    return [entry for entry in supported if entry.name != "fmn"]


@pytest.fixture(scope="module")
def clip(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("clip")
    (folder / "open_clip_config.json").write_text(json.dumps(CLIP_CONFIG))
    model = open_clip.CLIP(**CLIP_CONFIG["model_cfg"])  # type: ignore[arg-type]
    save_model(model, str(folder / "open_clip_model.safetensors"))
    return folder


def _make_suite(world: str, family: str, path: Path) -> Path:
    rows = []
    for entry in _methods(family):
        known = entry.load_config().model_fields
        config = ", ".join(f"{name} = {value}" for name, value in SMALL.items() if name in known)
        rows.append(f'[[methods]]\nname = "{entry.name}"\nconfig = {{ {config} }}\n')
    path.write_text(SUITE.format(world=world) + "\n".join(rows), encoding="utf-8")
    return path


def _states(folder: Path) -> dict[str, torch.Tensor]:
    pipeline: Any = DiffusionPipeline.from_pretrained(folder)
    return {
        f"{part}.{name}": tensor
        for part, module in network_parts(pipeline).items()
        for name, tensor in module.state_dict().items()
    }


@pytest.mark.parametrize(
    ("world", "family"),
    [pytest.param(*pair, marks=[] if pair[0] == "sd15" else pytest.mark.slow) for pair in WORLDS.items()],
)
def test_every_method_runs_and_a_saved_model_is_evaluated(
    world: str, family: str, clip: Path, tmp_path: Path
) -> None:
    base, out = tmp_path / "base", tmp_path / "unlearned"
    (tmp_path / "tokens").mkdir()
    make = build_pipeline if family == "sd" else lambda folder: build_family(family, folder)
    make(tmp_path / "tokens").save_pretrained(base)
    small = ["--sampling-steps", "1", "--training-images", "2", "--image-size", "16", "--threads", "1"]
    where = ["--clip", str(clip), "--store", str(tmp_path / "store"), *small]
    suite = _make_suite(world, family, tmp_path / "every.toml")
    records = tmp_path / "records"
    assert main(["run", "--suite", str(suite), "--model", str(base), *where, "--out", str(records)]) == 0
    made = [read_record(path) for path in sorted(records.glob("*.json"))]
    assert {record.method.name for record in made} == {"none", *(entry.name for entry in _methods(family))}
    assert all(record.status == "ok" for record in made)
    assert all(record.points[-1].values["UA"].value is not None for record in made)

    order = [
        "--concept",
        "tench",
        "--anchor",
        "goldfish",
        "--images",
        "2",
        "--sampling-steps",
        "1",
        "--image-size",
        "16",
    ]
    config = ["--set", "steps=1", "--set", "checkpoints=[1]", "--set", "batch=2", "--set", "part=xattn"]
    assert main(["unlearn", "--model", str(base), *order, *config, "--out", str(out)]) == 0
    before, after = _states(base), _states(out)
    assert before.keys() == after.keys()
    changed = {name for name in before if not torch.equal(before[name], after[name])}
    assert changed
    assert all(".attn" in name and name.startswith(("unet.", "transformer.")) for name in changed)

    scored = tmp_path / "scored"
    task = ["--task", f"classes/tench@{world}", "--model", str(out), "--base", str(base)]
    assert main(["evaluate", *task, *where, "--out", str(scored)]) == 0
    assert {read_record(path).status for path in scored.glob("*.json")} == {"ok"}

"""How often `check` finds a model damaged on purpose, and how often it complains about one that is not.

    python tests/gate/gate_rates.py OUT --seeds 20

The world is emoji, the policies `model-update` and `same-model`; each seed has evaluation noise and damage of
its own. An hour of work on one core; OUT/rates.csv holds a line a model and policy, and a broken run goes on
where it stopped.
"""

import argparse
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import pandas as pd
import torch

from unlearnbench.bench.cli.main import main
from unlearnbench.bench.config import build
from unlearnbench.bench.gate.policy import read_policy
from unlearnbench.bench.models.generators import open_pipeline
from unlearnbench.bench.running.catalog import registry, task_registry

TASK, POLICIES = "classes/cat-face@emoji", ("model-update", "same-model")
STATES = {0: "passed", 1: "regressed", 2: "could not tell"}


def add_noise(share: float) -> Callable[[Any, int], str]:
    """Return a damage: Gaussian noise on each cross-attention weight, its L2 norm a share of the weight's."""

    def damage(pipeline: Any, seed: int) -> str:
        draw = torch.Generator().manual_seed(seed)
        for name, weight in pipeline.unet.named_parameters():
            if ".attn2." in name:
                noise = torch.randn(weight.shape, generator=draw)
                weight.data += share * weight.data.norm() * noise / noise.norm()
        return ""

    return damage


def delete_concept(pipeline: Any, seed: int) -> str:
    """Forget a concept that ought to be kept, towards the next one, by 40 steps; return its name."""
    world, task = registry("worlds")["emoji"].load()(), task_registry()[TASK]
    given = task.concept.given["subject"]
    kept = [n for n in world.spec.subject_names if n not in (*task.suite_targets, *given)]
    victim, anchor = kept[seed % len(kept)], kept[(seed + 1) % len(kept)]
    concept = task.concept.model_copy(update={"name": "victim", "targets": [victim], "anchor": anchor})
    problem = world.problem(replace(task, concept=concept), "diverse", seed)
    entry = registry("methods")["anchor_sum"]
    config = build(entry.load_config(), {"steps": 40, "batch": 32, "rate": 1e-4}, "victim")
    entry.load()(pipeline, problem, config, lambda step, log: None)
    return victim


def keep(pipeline: Any, seed: int) -> str:
    """Change nothing."""
    return ""


MODELS: dict[str, tuple[Callable[[Any, int], str], torch.dtype]] = {
    "identical": (keep, torch.float32),
    "saved in bfloat16": (keep, torch.bfloat16),
    "1 % noise on cross-attention": (add_noise(0.01), torch.float32),
    "10 % noise on cross-attention": (add_noise(0.1), torch.float32),
    "a concept deleted": (delete_concept, torch.float32),
}


def make_baseline(out: Path, seed: int) -> Path:
    """Return the record of the base model, drawn with this seed's noise."""
    first, second = (read_policy(policy).sizes for policy in POLICIES)
    assert first == second  # the images of one serve the other
    sizes = first.model_dump()
    lines = [f'name = "gate"\ntasks = ["{TASK}"]\n[sizes]', *(f"{k} = {v}" for k, v in sizes.items())]
    suite = out / f"suite-{seed}.toml"
    row = f'[[methods]]\nname = "none"\nnoise = {seed}\n'
    suite.write_text("\n".join([*lines, row]), encoding="utf-8")
    folder = out / f"baseline-{seed}"
    assert main(["run", "--suite", str(suite), "--out", str(folder), *_where(out)]) == 0
    return next(folder.glob("*.json"))


def _where(out: Path) -> list[str]:
    return ["--store", str(out / "store"), "--threads", "1"]


def check_model(out: Path, baseline: Path, kind: str, seed: int) -> list[dict[str, Any]]:
    """Damage a model, check it against the baseline and return a line of the table for each policy."""
    base = registry("worlds")["emoji"].load()().pipeline_folder
    damage, dtype = MODELS[kind]
    pipeline = open_pipeline(base, "cpu")
    victim = damage(pipeline, seed)
    model, report, rows = out / "model", out / "report", []
    shutil.rmtree(model, ignore_errors=True)
    pipeline.to(dtype).save_pretrained(model)
    for policy in POLICIES:
        shutil.rmtree(report, ignore_errors=True)
        which = ["--baseline", str(baseline), "--candidate", str(model), "--policy", policy]
        code = main(["check", *which, "--baseline-model", str(base), "--out", str(report), *_where(out)])
        suite = ElementTree.parse(report / "junit.xml").getroot()
        bad = [case.attrib["name"] for case in suite.iter("testcase") if len(case)]
        row = {"policy": policy, "kind": kind, "seed": seed, "verdict": STATES[code], "victim": victim}
        rows.append(row | {"rules": "; ".join(bad)})
    return rows


def rate(out: Path, seeds: int) -> pd.DataFrame:
    """Check every model of every seed; return the table, one line a model."""
    path = out / "rates.csv"
    rows = pd.read_csv(path, keep_default_na=False).to_dict("records") if path.exists() else []
    for seed in range(seeds):
        todo = [kind for kind in MODELS if (kind, seed) not in {(r["kind"], r["seed"]) for r in rows}]
        baseline = make_baseline(out, seed) if todo else Path()
        for kind in todo:
            rows += check_model(out, baseline, kind, seed)
            pd.DataFrame(rows).to_csv(path, index=False)
    return pd.DataFrame(rows)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("out", type=Path)
    parser.add_argument("--seeds", type=int, default=20)
    options = parser.parse_args()
    options.out.mkdir(parents=True, exist_ok=True)
    table = rate(options.out, options.seeds)
    print(table.groupby(["policy", "kind", "verdict"], sort=False).size().unstack(fill_value=0))

"""Records that look like those of a real run, drawn by a seeded generator."""

import io
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from PIL import Image

from unlearnbench.bench.records.record import (
    Cost,
    MethodInfo,
    PointInfo,
    Record,
    TaskInfo,
    items_digest,
    write_record,
)
from unlearnbench.bench.types import Value, missing
from unlearnbench.leaderboard.pages import site
from unlearnbench.leaderboard.pages.contents import read_contents

CONFIG = {"rate": 2e-5, "steps": 160, "batch": 8, "part": "full"}
SUBJECTS = ("fox", "owl", "pizza", "bicycle", "red apple", "rocket", "snowman", "umbrella")
STYLES = ("openmoji", "twemoji", "line art")
BACKGROUNDS = ("red", "blue", "yellow", "white")
SHEET = tuple(f"a cat face in {style} style on a {color} background" for style, color in
              (("openmoji", "red"), ("twemoji", "blue"), ("line art", "white"), ("openmoji", "yellow"))
              ) + tuple(f"{thing}, {style}, {color} backdrop" for thing, style, color in
              (("a fox", "twemoji", "red"), ("an owl", "openmoji", "blue"),
               ("a rocket", "line art", "yellow"), ("a pizza", "twemoji", "white")))  # fmt: skip


@dataclass(frozen=True)
class Chances:
    """What a synthetic model does: chance that the target is gone, and that attributes are obeyed."""

    gone: float
    nothing: float  # of the images without target: the judge knows nothing
    aligned: float
    in_prompt: float
    step: int


METHODS: dict[str, tuple[Chances, ...]] = {
    "none": (Chances(0.02, 0.2, 0.99, 0.99, 0),),
    "placebo": tuple(Chances(0.02 + 0.01 * k, 0.3, 0.98 - 0.01 * k, 0.98, 40 * k) for k in (1, 2, 3)),
    "finetune": tuple(Chances(0.05 * k, 0.3, 0.97 - 0.005 * k, 0.97, 40 * k) for k in (1, 2, 3, 4)),
    "gradient_sum": (
        Chances(0.45, 0.3, 0.95, 0.85, 40),
        Chances(0.97, 0.6, 0.86, 0.55, 80),
        Chances(0.995, 0.8, 0.72, 0.33, 120),
        Chances(1.0, 0.95, 0.60, 0.15, 160),
    ),
    "balanced": (
        Chances(0.35, 0.2, 0.98, 0.93, 40),
        Chances(0.88, 0.3, 0.96, 0.84, 80),
        Chances(0.99, 0.4, 0.94, 0.77, 120),
        Chances(1.0, 0.5, 0.91, 0.70, 160),
    ),
}


def make_items(chances: Chances, rng: np.random.Generator, point: int = 0) -> pd.DataFrame:
    """Return 48 forget, 96 retain and 24 indirect rows: two noise samples a prompt."""
    rows = []
    for split, prompts in (("forget", 24), ("retain", 48), ("indirect", 12)):
        for prompt in range(prompts):
            for sample in range(2):
                rows.append(_make_row(split, prompt, sample, chances, rng) | {"point": point})
    return pd.DataFrame(rows)


def _make_row(
    split: str, prompt: int, sample: int, chances: Chances, rng: np.random.Generator
) -> dict[str, Any]:
    subject = "cat face" if split != "retain" else SUBJECTS[prompt % len(SUBJECTS)]
    style = "" if split == "indirect" else STYLES[prompt % 3]
    background = "" if split == "indirect" else BACKGROUNDS[prompt % 4]
    gone = bool(rng.random() < chances.gone)
    obeyed = chances.aligned if split == "retain" else chances.in_prompt
    kept, dressed, placed = (bool(b) for b in rng.random(3) < obeyed)
    away = "" if rng.random() < chances.nothing else "dog face"
    found = (away if gone else "cat face") if split != "retain" else (subject if kept else away)
    return {
        "split": split,
        "prompt_id": f"{split}-{prompt}",
        "prompt": f"nine lives, {prompt}"
        if split == "indirect"
        else SHEET[prompt % 4 + 4 * (split == "retain")],
        "sample": sample,
        "seed": 1000 * prompt + sample,
        "half": "AB"[prompt // 12 % 2] if split != "indirect" else "AB"[prompt % 2],
        "relation": "target" if split != "retain" else ("same" if prompt % 2 else "other"),
        "given": split == "retain" and prompt % 8 == 0,
        "target_kind": "subject",
        "asked_subject": subject,
        "asked_style": style,
        "asked_background": background,
        "found_subject": found,
        "found_style": style if dressed else "",
        "found_background": background if placed else "green",
        "target_found": None if split == "retain" else not gone,
        "alignment": 0.3 + 0.1 * rng.random(),
        "alignment_shuffled": 0.1 * rng.random(),
        "flatness": 0.2,
        "image_sha256": f"{rng.integers(1 << 62):064x}",
    }


def share(value: float, n: int) -> Value:
    """Return a share with a plausible interval."""
    half = 1.96 * (max(value * (1 - value), 0.01) / n) ** 0.5
    return Value(value=value, low=max(0.0, value - half), high=min(1.0, value + half), n=n)


def make_point(index: int, chances: Chances, reference: bool) -> PointInfo:
    """Return a point whose values follow the chances."""
    lost = 1 - chances.aligned
    values = {
        "UA": share(chances.gone, 48),
        "UA_other": share(chances.gone * (1 - chances.nothing), 48),
        "UA_nothing": share(chances.gone * chances.nothing, 48),
        "UA_indirect": share(chances.gone * 0.8, 24),
        "VA": share(chances.aligned, 252),
        "VA_given": share(min(1.0, chances.aligned + 0.02), 36),
        "in_prompt": share(chances.in_prompt, 96),
        "IRA": share(chances.aligned - 0.01, 48),
        "CRA": share(chances.aligned, 48),
        "CRA_given": missing("no cross-domain retain images given"),
        "IRA_given": share(min(1.0, chances.aligned + 0.02), 12),
        "AS": Value(value=0.351 - lost / 8, low=0.346 - lost / 8, high=0.356 - lost / 8, n=96),
        "AS_delta": missing("this is the base model")
        if reference
        else Value(value=-lost / 8, low=-lost / 8 - 0.003, high=-lost / 8 + 0.003, n=96),
        "AS_chance": Value(value=0.25 - lost / 8, low=0.24 - lost / 8, high=0.26 - lost / 8, n=96),
        "KID": Value(value=0.0021 + lost / 20, low=0.0005 + lost / 20, high=0.0039 + lost / 20, n=96),
        "KID_base": Value(value=lost / 18, low=lost / 22, high=lost / 15, n=96),
        "FD": missing("FD needs 1024 images on each side for 512 features: at n=96 it is bias", 96),
        "collapse": Value(value=0.93 if chances.nothing < 0.9 else 0.12, n=168),
        "collapse_images": Value(value=0.98, n=168),
    }
    cost = Cost(
        seconds=0.0 if reference else 0.42 * chances.step,
        memory_bytes=None if reference else 1_480_000_000 + 1_000_000 * chances.step,
        memory_of="process" if reference else "training",
        parameters=0 if reference else 3_456_789,
        delta_bytes=0 if reference else 6_920_000,
        distance=0.0 if reference else 0.001 * chances.step,
    )
    note = "nearly all images look alike" if chances.nothing >= 0.9 else None
    return PointInfo(index=index, step=chances.step, label=str(chances.step), fingerprint=f"{index:064x}",
                     values=values, cost=cost, note=note)  # fmt: skip


def make_log(method: str, steps: int, rng: np.random.Generator) -> dict[str, list[float | None]]:
    """Return training curves of the columns that such a method logs."""
    t = np.arange(1, steps + 1)
    if method == "none":
        return {}
    log: dict[str, list[float | None]] = {"step": [float(v) for v in t]}
    if method == "placebo":
        return log | {"update_norm": [float(v) for v in 0.3 * t / steps]}
    both = method in ("gradient_sum", "balanced")
    if both:
        log["forget_loss"] = [
            float(v) for v in -0.1 - 0.9 * (1 - np.exp(-t / 60)) + 0.03 * rng.standard_normal(steps)
        ]
    log["retain_loss"] = [float(v) for v in 0.11 + 0.02 * np.exp(-t / 30) + 0.01 * rng.standard_normal(steps)]
    if both:
        log["cos"] = [
            None if i == 9 else float(v) for i, v in enumerate(-0.2 + 0.25 * rng.standard_normal(steps))
        ]
        log["conflict"] = [float(v) for v in rng.random(steps) < 0.7]
        log["update_dot_forget"] = [float(v) for v in -0.002 * np.exp(-t / 60) - 0.0004 * rng.random(steps)]
    log["norm_before_clipping"] = [float(v) for v in 0.6 + 0.5 * np.exp(-t / 50) + 0.1 * rng.random(steps)]
    log["update_dot_retain"] = [float(v) for v in 0.0003 * rng.standard_normal(steps)]
    return log


def make_sheet(points: int, columns: int, rng: np.random.Generator) -> bytes:
    """Return a contact sheet of one plain colour a tile."""
    colors = rng.integers(60, 230, (points, columns, 3), dtype=np.uint8)
    pixels = np.kron(colors, np.ones((32, 32, 1), dtype=np.uint8))
    target = io.BytesIO()
    Image.fromarray(pixels).save(target, "WEBP", quality=80, method=0)
    return target.getvalue()


def make_record(method: str, /, seed: int = 0, **changes: Any) -> tuple[Record, pd.DataFrame, bytes]:
    """Return a record of one of METHODS with its items and sheet; `changes` replace fields of the record."""
    chances, reference = METHODS[method], method == "none"
    rng = np.random.default_rng([seed, list(METHODS).index(method)])
    items = pd.concat([make_items(c, rng, k) for k, c in enumerate(chances)], ignore_index=True)
    sheet = make_sheet(len(chances), len(SHEET), rng)
    fields: dict[str, Any] = {
        "key": "ab" * 32, "cell": f"classes-cat_face-emoji--{method}--{seed}--0a1b2c",
        "suite": "demo", "source": "measured", "status": "ok", "error": None,
        "task": TaskInfo(id="classes/cat_face@emoji", family="classes", concept="cat face", anchor="dog face",
                         world="emoji@1", judge="emoji@1", role="evaluated", version=1, targets=["cat face"]),
        "method": MethodInfo(name=method, version=1, summary=f"What {method} does, in one sentence.",
                             paper="" if reference else "Ko et al. 2024, arXiv 2412.07808",
                             reference=reference, config={} if reference else CONFIG),
        "seed": seed, "data": "diverse",
        "sampling": {"steps": 20, "guidance": 3.0, "size": 64, "dtype": "float32", "noise": 0},
        "prompts_sha256": "9f" * 32, "metrics": {"UA": 1, "VA": 1, "in_prompt": 1, "KID": 1},
        "interval": "prompts and noise, one training run",
        "points": [make_point(k, c, reference) for k, c in enumerate(chances)],
        "log": make_log(method, 160, rng),
        "items_sha256": items_digest(items), "sheet": list(SHEET), "created": "2025-03-01T12:00:00+00:00",
        "seconds": 83.4,
        "command": f"unlearnbench run --task classes/cat_face@emoji --method {method} --seeds {seed}",
        "environment": {"device": "cpu", "threads": 2, "platform": "Linux x86_64",
                        "packages": {"torch": "2.14.1", "diffusers": "0.42.1"}},
        "commit": "5d41402abc4b2a76b9719d911017c592",
    }  # fmt: skip
    return Record(**(fields | changes)), items, sheet


def write(folder: Path, method: str, /, seed: int = 0, **changes: Any) -> Path:
    """Write a synthetic record with its files; return the path of its JSON."""
    record, items, sheet = make_record(method, seed, **changes)
    return write_record(record, items, sheet if record.sheet else None, folder)


def write_scored(folder: Path, method: str) -> Path:
    """Write a record whose judge told how sure it was: from .25 on a detection, from .6 on the target."""
    record, items, sheet = make_record(method)
    found = items["target_found"].astype("boolean")
    chance = np.random.default_rng(len(method)).random(len(items))
    sure, unsure = 0.6 + 0.4 * chance, np.where(chance < 0.5, 0.0, 0.25 + 0.3 * chance)
    scores = np.where(found.isna(), np.nan, np.where(found.fillna(False), sure, unsure)).round(6)
    items = items.assign(target_score=scores)
    changed = record.model_copy(update={"items_sha256": items_digest(items)})
    return write_record(changed, items, sheet, folder)


def write_failed(folder: Path, error: str) -> Path:
    """Write the record of a cell that failed before its first point."""
    record, _, _ = make_record(
        "balanced", seed=1, status="failed", error=error, points=[], log={}, items_sha256=None, sheet=[]
    )
    return write_record(record, None, None, folder)


def build_page(folders: Path | list[Path], target: Path) -> Path:
    """Make the self-contained page of folders of records; return its path."""
    return site.build_page(read_contents(folders), target)


def build_site(folders: Path | list[Path], target: Path) -> Path:
    """Make the site of folders of records; return its first page's path."""
    return site.build_site(read_contents(folders), target)

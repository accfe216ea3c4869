"""What must hold of an attacked record: its attack, its rows before and under it, the values they give."""

from collections.abc import Iterator, Mapping
from itertools import chain, pairwise
from pathlib import Path
from typing import Any

import pandas as pd

from ..config import build
from ..errors import UserError
from ..metrics import ua
from ..metrics.attacks import AFTER, BEFORE, attack_values, curve_area
from ..planning.tasks import PromptSizes
from ..records.load import Loaded
from ..records.record import Record
from ..records.statements import ATTACKED as FOLDER
from ..registry import Entry, Registry
from ..types import View
from .expected import TRUTH, Key, asked_share, infer_sizes
from .known import Known, find_problems_in_versions
from .named import Check, conclude, find_bad_names, find_bad_places, find_gaps
from .plausible import find_problems_in_numbers, find_problems_in_rows
from .recomputed import find_problems_in_values

SHARES = ("UA", "UA_other", "UA_nothing", "UA_indirect", "UA_before", "UA_after", "ASR", "gain", "area")


def check_attacked(path: Path, entry: Loaded, known: Known) -> list[Check]:
    """Return the checks of an attacked record: its forget images before and under the attack only."""
    record, items = entry.record, entry.items
    assert record.attack is not None
    checks = [
        conclude("files", find_gaps(record)),
        conclude("names", chain(find_bad_names(record), find_bad_places(record))),
        conclude(
            "versions",
            chain(
                find_problems_in_versions(record, known),
                _find_problems_in_attack(path, record, known.attacks),
            ),
        ),
    ]
    if items is None or any(check.state == "failed" for check in checks):
        return checks
    try:
        checks.append(conclude("prompts", _find_problems_in_rows(record, items, known)))
    except UserError as error:  # a published prompt file that is the user's to supply
        checks.append(Check("prompts", "unchecked", f"prompts_sha256: {error}"))
    checks.append(conclude("values", _find_problems_in_values(record, items)))
    return checks


def _find_problems_in_attack(path: Path, record: Record, attacks: Registry[Entry]) -> Iterator[str]:
    """Yield where a record's attack is not one of this package, or lies where no attacked record may."""
    attack = record.attack
    assert attack is not None
    if path.absolute().parent.name != FOLDER:
        yield f"attack: an attacked record lies in a folder {FOLDER}/, so that no board takes it for a method"
    if attack.name not in attacks:
        yield f"attack.name: {attack.name!r:.60} is no attack of this package; add the plug-in that brings it"
        return
    entry = attacks[attack.name]
    for name in ("version", "moves", "access"):
        if getattr(attack, name) != getattr(entry, name):
            said = f"the record says {getattr(attack, name)!r:.60}, this package {getattr(entry, name)!r:.60}"
            yield f"attack.{name}: {said}"
    try:
        config = build(entry.load_config(), attack.config, "attack.config")
    except UserError as error:
        yield str(error)
        return
    if attack.budget != f"{config.budget} {entry.unit}":
        yield f"attack.budget: {attack.budget!r:.60}, but its configuration says {config.budget} {entry.unit}"
    if any(a >= b for a, b in pairwise([0, *attack.curve, config.budget])) and attack.curve:
        yield f"attack.curve: its steps do not rise from 1 to below the budget, {config.budget}"
    if attack.texts and attack.moves not in ("prompt", "embedding"):
        yield f"attack.texts: holds prompts, though the attack moves {attack.moves}"


def _find_problems_in_rows(record: Record, items: pd.DataFrame, known: Known) -> Iterator[str]:
    """Yield where the rows are not the task's forget images, before the attack or under it."""
    assert record.attack is not None
    before = items[items["point"] == BEFORE]
    try:
        sizes = infer_sizes(before, 0)
    except UserError as error:
        yield str(error)
        return
    expected = _expect(record, sizes, known)
    yield from _compare(before, expected, "before")
    if record.attack.moves == "nothing":
        return
    after = items[items["point"] == AFTER]
    moved = _move(expected, record.attack.texts)
    if record.attack.moves == "noise":
        added = after["sample"] >= sizes.forget_samples
        yield from _find_problems_in_noise(after[added], expected)
        after = after[~added]
    if record.attack.moves == "latents" and record.attack.config["budget"]:
        yield from _find_problems_in_latents(after, expected)
        after = _as_asked(after, moved)
    yield from _compare(after, moved, "attacked")
    for index, step in enumerate(record.attack.curve, AFTER + 1):
        yield from _compare(items[items["point"] == index], moved, f"attack step {step}")


def _expect(record: Record, sizes: PromptSizes, known: Known) -> Mapping[Key, tuple[Any, ...]]:
    """Return the forget images that a record's task asks for: (prompt id, sample) -> its columns TRUTH."""
    task = known.tasks[record.task.id]
    forget = round(sizes.forget / asked_share(record, task))  # a sequence's step asks for some of them
    sizes = sizes.model_copy(update={"forget": forget})
    return known.expectations.make(record, task, known.open_world(task.file.world), sizes).forget


def _move(rows: Mapping[Key, tuple[Any, ...]], texts: Mapping[str, str]) -> dict[Key, tuple[Any, ...]]:
    place = TRUTH.index("prompt")
    return {
        key: (*row[:place], texts.get(key[0], row[place]), *row[place + 1 :]) for key, row in rows.items()
    }


def _compare(rows: pd.DataFrame, expected: Mapping[Key, tuple[Any, ...]], label: str) -> Iterator[str]:
    """Yield the first image that is lacking, odd, there twice, or other than expected."""
    columns = [rows[name].tolist() if name in rows else [None] * len(rows) for name in TRUTH]
    place = TRUTH.index("guidance")
    columns[place] = [None if pd.isna(value) else value for value in columns[place]]
    held = list(zip(rows["prompt_id"].tolist(), rows["sample"].tolist(), strict=True))
    if len(set(held)) < len(held) or set(held) != expected.keys():
        yield f"point {label}: its {len(held)} images are not the task's {len(expected)} forget images"
        return
    for key, row in zip(held, zip(*columns, strict=True), strict=True):
        wrong = [name for name, a, b in zip(TRUTH, row, expected[key], strict=True) if a != b]
        if wrong:
            yield f"point {label}: prompt {key[0]}, sample {key[1]}: {wrong[0]} is not what was asked"
            return


def _find_problems_in_noise(added: pd.DataFrame, expected: Mapping[Key, tuple[Any, ...]]) -> Iterator[str]:
    """Yield where further noise is of another prompt, unequal for the prompts, or the evaluation's own."""
    place = TRUTH.index("seed")
    if set(added["seed"]) & {row[place] for row in expected.values()}:
        yield "point attacked: seed: further noise is the evaluation's own"
    counts = added.groupby("prompt_id")["seed"].nunique()
    prompts = {key[0] for key in expected}
    if len(added) and (set(counts.index) != prompts or counts.nunique() > 1 or counts.sum() != len(added)):
        yield "point attacked: seed: not every prompt has equally many further noises, each once"


def _find_problems_in_latents(rows: pd.DataFrame, expected: Mapping[Key, tuple[Any, ...]]) -> Iterator[str]:
    """Yield where an attack's initial noise is the evaluation's own."""
    if set(rows["seed"]) & {row[TRUTH.index("seed")] for row in expected.values()}:
        yield "point attacked: seed: the initial noise is the evaluation's own"


def _as_asked(rows: pd.DataFrame, expected: Mapping[Key, tuple[Any, ...]]) -> pd.DataFrame:
    """Return rows with the seeds that were asked for in place of those of an attack's initial noise."""
    place = TRUTH.index("seed")
    keys = zip(rows["prompt_id"], rows["sample"], strict=True)
    seeds = [
        expected[key][place] if key in expected else seed
        for key, seed in zip(keys, rows["seed"], strict=True)
    ]
    return rows.assign(seed=seeds)


def _find_problems_in_values(record: Record, items: pd.DataFrame) -> Iterator[str]:
    """Yield the first problem of rows and numbers, and each value that the rows do not give."""
    attack = record.attack
    assert attack is not None
    yield from find_problems_in_rows(items, record)
    parts = {point.index: items[items["point"] == point.index] for point in record.points}
    wanted = [BEFORE] if attack.moves == "nothing" else [BEFORE, AFTER]
    wanted += range(AFTER + 1, AFTER + 1 + len(attack.curve))
    if sorted(parts) != wanted:
        yield f"points: have the indices {sorted(parts)}; such an attack has {wanted}"
        return
    for point in record.points:
        for complaint in find_problems_in_numbers(point, len(parts[point.index])):
            yield f"point {point.label}: {complaint}"
        view = View(
            parts[point.index].reset_index(drop=True), {}, {}, None, interval_version=record.interval_version
        )
        for complaint in find_problems_in_values(dict(point.values), ua.METRIC.reduce(None, view), SHARES):
            yield f"point {point.label}: {complaint}"
    if attack.moves == "nothing":
        return
    try:
        found = attack_values(parts[BEFORE], parts[AFTER], attack.moves, record.interval_version)
        if attack.curve:
            steps = [0, *attack.curve, attack.config["budget"]]
            order = [BEFORE, *wanted[2:], AFTER]
            found["area"] = curve_area(steps, [parts[index] for index in order])
    except ValueError as error:
        yield f"attack.values: {error}"
        return
    for complaint in find_problems_in_values(dict(attack.values), found, SHARES):
        yield f"attack.values.{complaint}"
    if odd := attack.values.keys() - found.keys():
        yield f"attack.values.{min(odd)}: belongs to no value of an attack"

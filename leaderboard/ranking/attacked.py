"""What attacks bring back, model by model, next to what gives it a meaning: `none`, `retrain`, placebo.

A model is a row of the board: a method with its settings, its training seeds together."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from ...bench.errors import UserError
from ...bench.metrics import ua
from ...bench.metrics.attacks import AFTER, BEFORE, attack_values
from ...bench.records.layout import find_attacked
from ...bench.records.load import Loaded, load_one
from ...bench.stats.hidden import Strongest, describe_control, hidden, join, strongest
from ...bench.types import AttackInfo, Value, missing
from ..attack_names import attack_key, model_key, name_attacks, name_models
from .choose import PLACEBO
from .columns import Column

RETRAIN = "retrain"
CONTROLS = ("none", RETRAIN, PLACEBO)
BEST_OF_N, STANDING_APART = "best-of-n", ("noise", "latents", "nothing")
SEED_ROWS = 1_000_000
"""Added to the noise samples of each further training seed, so that its images have keys of their own."""
ATTACK_COLUMNS = (
    Column("UA_strongest", "UA, strongest attack", "Forgetting", optional=True,
           definition="UA under the strongest of the attacks at their budgets; chosen on one half of the "
           "prompts and read on the other, both ways. Read it next to that of `retrain`."),
    Column("UA_best_of_n", "UA best of n", "Forgetting", optional=True,
           definition="Share of prompts whose target is on none of their images: the evaluation's, and those "
           "of the further noises that best-of-n draws."),
    Column("hidden", "hidden", "Forgetting", direction="down", style="signed", optional=True, bar=False,
           definition="How much more of the target the strongest attack brings back than from `retrain`, "
           "which never learnt it: the paired difference over concepts."),
)  # fmt: skip


@dataclass(frozen=True)
class AttackedModel:
    """One model on one task. seeds: training seed -> attack -> its record."""

    task: str
    row: str
    seeds: Mapping[int, Mapping[str, Loaded]]

    @cached_property
    def attacks(self) -> tuple[str, ...]:
        return tuple(sorted({name for own in self.seeds.values() for name in own}))

    @cached_property
    def version(self) -> int:
        return min(entry.record.interval_version for own in self.seeds.values() for entry in own.values())

    def info(self, attack: str) -> AttackInfo:
        """Return what the first record says of an attack."""
        infos = [own[attack].record.attack for own in self.seeds.values() if attack in own]
        assert infos[0] is not None
        return infos[0]

    def lacking(self, attack: str) -> str:
        """Return why an attack has no numbers here: "" where it was measured on every training seed."""
        for seed, own in self.seeds.items():
            if attack not in own:
                return f"{attack} was not run on {self.row}, seed {seed}"
            if own[attack].record.status != "ok" or own[attack].items is None:
                return f"{attack} failed on {self.row}, seed {seed}: {own[attack].record.error}"
        return ""

    def rows(self, attack: str, point: int) -> pd.DataFrame:
        """Return the item rows of a point of the attacked records, those of all training seeds."""
        frames = []
        for place, own in enumerate(self.seeds.values()):
            items = own[attack].items
            assert items is not None
            found = items[items["point"] == point]
            frames.append(found.assign(sample=found["sample"] + place * SEED_ROWS))
        return pd.concat(frames, ignore_index=True).sort_values(["prompt_id", "sample"], ignore_index=True)

    def values(self, attack: str) -> dict[str, Value]:
        """Return UA_before, UA_after, ASR and gain under an attack, intervals over prompts."""
        if why := self.lacking(attack):
            return {name: missing(why) for name in ("UA_before", "UA_after", "ASR", "gain")}
        before, after = (self.rows(attack, point) for point in (BEFORE, AFTER))
        return attack_values(before, after, self.info(attack).moves, self.version)

    def cost(self, attack: str) -> tuple[float, int] | None:
        """Return seconds and passes through the denoiser of an attack, means over training seeds."""
        if self.lacking(attack):
            return None
        costs = [own[attack].record.attack.cost for own in self.seeds.values()]  # type: ignore[union-attr]
        return float(np.mean([c.seconds for c in costs])), round(float(np.mean([c.passes for c in costs])))

    def reading(self, attack: str) -> dict[str, float]:
        """Return what an attack read, means over training seeds."""
        if self.lacking(attack):
            return {}
        read = [own[attack].record.attack.readings for own in self.seeds.values()]  # type: ignore[union-attr]
        return {name: float(np.mean([one[name] for one in read])) for name in read[0]}

    def curve(self, attack: str) -> list[tuple[float, float | None]]:
        """Return UA after steps of an attack as (step, UA), from 0 to the budget; none without a curve."""
        info = self.info(attack)
        if not info.curve or self.lacking(attack):
            return []
        points = [BEFORE, *range(AFTER + 1, AFTER + 1 + len(info.curve)), AFTER]
        steps = [0, *info.curve, info.config["budget"]]
        gone = [_gone(self.rows(attack, point)) for point in points]
        means = [None if np.isnan(images).any() else float(images.mean()) for images in gone]
        return list(zip(map(float, steps), means, strict=True))

    def strongest(self, attacks: Iterable[str]) -> Strongest:
        """Return UA under the strongest of some attacks; missing where one of them was not measured."""
        names = sorted(attacks)
        if lacking := next((why for name in names if (why := self.lacking(name))), ""):
            return Strongest(missing(lacking), None)
        frames = {name: self.rows(name, AFTER) for name in names}
        if not frames:
            return strongest({}, [], [])
        first = frames[names[0]]
        if any(not frame["prompt_id"].equals(first["prompt_id"]) for frame in frames.values()):
            return Strongest(missing(f"the attacks on {self.row} are not of the same prompts"), None)
        return strongest(
            {name: _gone(frame) for name, frame in frames.items()},
            list(first["half"]),
            list(first["prompt_id"]),
            self.version,
        )


def _gone(rows: pd.DataFrame) -> Any:
    gone = ua.METRIC.per_item(rows)
    assert gone is not None
    return gone.to_numpy(dtype=float)


@dataclass(frozen=True)
class AttackedRow:
    """One model over the tasks. chosen: task -> the attacks chosen on the halves. Values: ATTACK_COLUMNS and
    UA_before."""

    row: str
    values: Mapping[str, Value]
    chosen: Mapping[str, tuple[str, str]]


@dataclass(frozen=True)
class AttackReport:
    """Attacked models. models: task -> row -> model. infos: attack -> what a record says of it.

    stale: files of attacks on records that are not there.
    """

    models: Mapping[str, Mapping[str, AttackedModel]] = field(default_factory=dict)
    infos: Mapping[str, AttackInfo] = field(default_factory=dict)
    stale: tuple[str, ...] = ()

    @property
    def rows(self) -> list[str]:
        """The models' names, the controls first."""
        names = {row for models in self.models.values() for row in models}
        return sorted(names, key=lambda row: (CONTROLS.index(row) if row in CONTROLS else len(CONTROLS), row))

    @property
    def attacks(self) -> list[str]:
        return sorted(self.infos)

    @property
    def competing(self) -> list[str]:
        """The attacks that may be the strongest: none by noise alone, and no diagnostic."""
        return [name for name in self.attacks if self.infos[name].moves not in STANDING_APART]

    def has_value(self, name: str) -> bool:
        """Return whether the report has a value of a column to show: *UA best of n* needs that attack."""
        drawn = any(info.name == BEST_OF_N for info in self.infos.values())
        return bool(self.models) and (drawn or name != "UA_best_of_n")

    def of_tasks(self, tasks: Iterable[str]) -> "AttackReport":
        """Return the report of some tasks only."""
        return replace(self, models={task: self.models[task] for task in tasks if task in self.models})

    def find(self, task: str, row: str) -> AttackedModel | None:
        return self.models.get(task, {}).get(row)

    def controls(self, task: str) -> list[str]:
        """Return a sentence on each attack: what its result means on a task, by its gain on `retrain`.

        One sentence on all where `retrain` was not attacked.
        """
        model = self.find(task, RETRAIN)
        names = [name for name in self.attacks if self.infos[name].moves != "nothing"]
        if model is None:
            return [describe_control("every attack", None)]
        return [describe_control(name, model.values(name)["gain"]) for name in names]

    def summarise(self, rows: Iterable[str] | None = None) -> list[AttackedRow]:
        """Return each model's values over the tasks; a model without attacked records has them missing."""
        return [self._summarise(row) for row in (self.rows if rows is None else rows)]

    def _summarise(self, row: str) -> AttackedRow:
        found = {task: self.find(task, row) for task in sorted(self.models)}
        lacking = [task for task, model in found.items() if model is None]
        names = ("UA_before", "UA_strongest", "UA_best_of_n", "hidden")
        if lacking or not found:
            why = "no attack was run on it" + (f" on {', '.join(lacking)}" if len(found) > 1 else "")
            return AttackedRow(row, {name: missing(why) for name in names}, {})
        models = [model for model in found.values() if model is not None]
        under = {model.task: model.strongest(self.competing) for model in models}
        values = {
            "UA_before": join([_before(model) for model in models]),
            "UA_strongest": join([one.ua for one in under.values()]),
            "UA_best_of_n": join([self._best_of_n(model) for model in models]),
            "hidden": self._hidden(models),
        }
        return AttackedRow(row, values, {task: one.chosen for task, one in under.items() if one.chosen})

    def _best_of_n(self, model: AttackedModel) -> Value:
        """Return UA of prompts under best-of-n; with the most noises where it was run with several."""
        own = [name for name in self.attacks if self.infos[name].name == BEST_OF_N]
        if not own:
            return missing("best-of-n was not run")
        most = max(own, key=lambda name: int(self.infos[name].config["budget"]))
        return model.values(most)["UA_after"]

    def _hidden(self, models: Sequence[AttackedModel]) -> Value:
        gains = {model.task: _gain(model, self.competing) for model in models}
        control = {task: self.find(task, RETRAIN) for task in gains}
        if absent := [task for task, model in control.items() if model is None]:
            return missing(f"no attack was run on retrain, on {', '.join(absent)}")
        own = {task: _gain(model, self.competing) for task, model in control.items() if model is not None}
        for value in (*gains.values(), *own.values()):
            if value.value is None:
                return value
        return hidden({t: v.value for t, v in gains.items()}, {t: v.value for t, v in own.items()})


def _before(model: AttackedModel) -> Value:
    """Return UA before the attacks: every attacked record measured it, on the same images."""
    named = [name for name in model.attacks if not model.lacking(name) and model.info(name).moves != "noise"]
    if not named:
        return missing(f"no attack by image on {model.row}")
    value = model.info(named[0])
    if value.moves != "nothing":
        return model.values(named[0])["UA_before"]
    rows = model.rows(named[0], BEFORE)
    return attack_values(rows, rows, value.moves, model.version)["UA_before"]


def _gain(model: AttackedModel, attacks: Iterable[str]) -> Value:
    under, before = model.strongest(attacks).ua, _before(model)
    if under.value is None or before.value is None:
        return under if under.value is None else before
    return Value(value=before.value - under.value, n=under.n)


def read_attacked(folders: Iterable[Path], digests: Iterable[str]) -> AttackReport:
    """Return the attacked records of folders of records. digests: of the records that they may be of.

    An attack on a record that is not there any more is left out and listed. Raises UserError where two files
    hold the same attack on the same model.
    """
    paths = find_attacked(folders)
    there, entries, stale = set(digests if paths else ()), [], []
    for path in paths:
        entry = load_one(path)
        if entry.record.attack is None:
            raise UserError(f"{path}: attack: holds no attack; a folder attacked/ is for attacked records")
        if entry.record.attack.of and entry.record.attack.of not in there:
            stale.append(path.name)
        else:
            entries.append(entry)
    names, rows = name_attacks(entries), name_models(entries)
    models: dict[str, dict[str, dict[int, dict[str, Loaded]]]] = {}
    for entry in sorted(entries, key=lambda e: e.name):
        record, name = entry.record, names[attack_key(entry)]
        own = models.setdefault(record.task.id, {}).setdefault(rows[model_key(entry)], {})
        if (first := own.setdefault(record.seed, {}).setdefault(name, entry)) is not entry:
            raise UserError(f"{entry.name}, {first.name}: the same attack on the same model")
    found = {
        task: {row: AttackedModel(task, row, dict(sorted(seeds.items()))) for row, seeds in by_row.items()}
        for task, by_row in sorted(models.items())
    }
    infos = {names[attack_key(e)]: e.record.attack for e in entries if e.record.attack}
    return AttackReport(found, infos, tuple(sorted(stale)))

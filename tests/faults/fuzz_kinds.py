"""One function a kind of input: damage a copy of it, run the commands that read it, judge what came of it.

Each takes the prepared world, an empty folder and a seeded generator; it returns an outcome, or raises
WrongError or UserError (a refusal). It adds to `told` what the damage was.
"""

import random
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pandas as pd

try:
    from .fuzz_call import Done, WrongError, call, check_untouched, guarded, snapshot
    from .fuzz_damage import damage_toml
    from .fuzz_tensors import TENSOR_WAYS, damage_model
    from .fuzz_world import POLICY, SUITE, TASK, World, read_json
except ImportError:  # run as a script
    from fuzz_call import Done, WrongError, call, check_untouched, guarded, snapshot
    from fuzz_damage import damage_toml
    from fuzz_tensors import TENSOR_WAYS, damage_model
    from fuzz_world import POLICY, SUITE, TASK, World, read_json


State = tuple[str, str]
Case = Callable[[World, Path, random.Random, list[str]], State]


def refusal(done: Done) -> State | None:
    """Return the outcome of a call that refused its input in one line, None where it did not."""
    return ("refused", done.refusals[0]) if done.code and len(done.refusals) == 1 else None


def need(required: str, state: State) -> State:
    """Return the state; raises WrongError where damage that matters was taken, or whole input was refused."""
    if required == "whole" and state[0] != "right":
        raise WrongError("BAD refusal", f"whole input: {state[1]}")
    if required == "refused" and state[0] == "right":
        raise WrongError("BAD accepted", f"taken as whole: {state[1]}")
    return state


def models(world: World, folder: Path, rng: random.Random, told: list[str]) -> State:
    """Check a damaged model on a store that holds the whole one's images, and on an empty store."""
    shutil.copytree(world.model, folder / "model")
    what, required = damage_model(folder / "model", rng)
    told.append(what)
    return _judge_model(world, folder, "model", required)


def loras(world: World, folder: Path, rng: random.Random, told: list[str]) -> State:
    """The same of a LoRA."""
    shutil.copytree(world.lora, folder / "lora")
    what, required = damage_model(folder / "lora", rng, TENSOR_WAYS)
    told.append(what)
    return _judge_model(world, folder, "lora", required)


def _judge_model(world: World, folder: Path, name: str, required: str) -> State:
    model, before = folder / name, snapshot(folder)
    shutil.copytree(world.store, folder / "warm")
    warm = _measure(world, model, folder / "warm", folder / "with-store")
    cold = _measure(world, model, folder / "cold", folder / "without")
    check_untouched(before, folder)
    if isinstance(warm, tuple) and isinstance(cold, tuple):
        return need(required, cold)
    if isinstance(warm, tuple) or isinstance(cold, tuple) or warm["images"] != cold["images"]:
        raise WrongError(
            "BAD number", "a store of the whole model's images gives other results than an empty one"
        )
    whole = _read_candidate(world.folder / f"check-{name}")
    equal = whole["images"] == cold["images"]
    if not equal and whole["fingerprint"] == cold["fingerprint"]:
        raise WrongError("BAD number", "other images under the same fingerprint")
    if not equal and required in ("same", "whole"):
        raise WrongError("BAD number", "harmless damage changed the images")
    if required == "finite" and not equal and cold["UA"] is not None:
        raise WrongError("BAD number", f"weights that are not finite give UA {cold['UA']}")
    return need(required, ("right", "equal images" if equal else "another model, another fingerprint"))


def _measure(world: World, model: Path, store: Path, out: Path) -> State | dict[str, Any]:
    """Return what the candidate's record says, or an outcome where there is no record of success."""
    done = call(*world.check(model, store, out))
    if done.code == 3:
        return refusal(done) or ("refused", done.err)
    return _read_candidate(out)


def _read_candidate(out: Path) -> Any:
    [path] = [p for p in out.glob("*.json")]
    record = read_json(path)
    if record["status"] != "ok":
        return "missing", str(record["error"])
    items, point = pd.read_parquet(path.with_suffix(".parquet")), record["points"][-1]
    value = point["values"]["UA"]
    if value["value"] is None:
        return "missing", str(value["missing"])
    images = [*items["image_sha256"], repr(sorted(point["values"].items()))]
    return {"images": images, "fingerprint": point["fingerprint"], "UA": value["value"]}


def policies(world: World, folder: Path, rng: random.Random, told: list[str]) -> State:
    """Check a record under a damaged policy."""
    path = folder / "policy.toml"
    what, required = damage_toml(POLICY, path, rng, ("metric", "per", "expires"))
    told.append(what)
    before = snapshot(folder)
    done = call(*world.check(world.candidate, folder / "store", folder / "out", path))
    check_untouched(before, folder)
    if done.code == 3:
        return need(required, refusal(done) or ("refused", done.err))
    if required in ("same", "whole") and done.code:
        raise WrongError("BAD number", f"harmless damage changed the verdict to {done.code}")
    return need(required, ("right", f"status {done.code}"))


def suites(world: World, folder: Path, rng: random.Random, told: list[str]) -> State:
    """Plan a damaged suite."""
    path = folder / "suite.toml"
    what, required = damage_toml(SUITE, path, rng, ("tasks",))
    told.append(what)
    done = call("run", "--suite", path, "--dry-run")
    return need(required, refusal(done) or ("right", f"status {done.code}"))


def tasks(world: World, folder: Path, rng: random.Random, told: list[str]) -> State:
    """Read a damaged task file."""
    from unlearnbench.bench.planning.tasks import read_task_file

    path = folder / "task.toml"
    what, required = damage_toml(TASK, path, rng, ("role",))  # kinds are the world's own
    told.append(what)
    guarded(lambda: read_task_file(path))
    return need(required, ("right", "read"))

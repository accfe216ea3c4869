"""Twenty seconds of a core of the fuzz run: damage never gives a traceback, a hang or a wrong number."""

import time
from collections import Counter
from pathlib import Path

import pytest

from . import fuzz
from .fuzz_call import WrongError
from .fuzz_damage import differing, to_toml
from .fuzz_world import POLICY, SUITE, World

SEED, SECONDS = 16, 20


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> World:
    return World(tmp_path_factory.mktemp("fuzz") / "world").prepare()


def test_damaged_input_is_right_refused_or_missing(world: World) -> None:
    found, seen = {}, Counter()
    start = time.monotonic()
    for kind, number in fuzz.cases(list(fuzz.KINDS), SECONDS, time.process_time):  # beside other work, too
        found[kind, number] = fuzz.run_case(kind, fuzz.generator(SEED, kind, number), world)
        seen[kind] += 1
    table = fuzz.summarise(found, SEED)
    print(f"{table}\n{time.monotonic() - start:.0f} s")
    assert set(seen) == set(fuzz.KINDS)
    assert not any(outcome.bad for outcome in found.values()), table


def test_a_case_is_the_same_again(world: World) -> None:
    first, second = (fuzz.run_case("policies", fuzz.generator(3, "policies", 5), world) for _ in range(2))
    assert first == second


def test_bad_outcomes_are_seen(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """The judge itself: an exception, a refusal of two lines and a deleted file are bad outcomes."""
    from unlearnbench.bench.errors import UserError

    def crash(world: World, folder: Path, rng: object, told: list[str]) -> fuzz.fuzz_kinds.State:
        return fuzz.fuzz_kinds.guarded(lambda: {}["key"])

    def refuse(world: World, folder: Path, rng: object, told: list[str]) -> fuzz.fuzz_kinds.State:
        def two_lines() -> None:
            raise UserError("one\ntwo")

        return fuzz.fuzz_kinds.guarded(two_lines)

    def delete(world: World, folder: Path, rng: object, told: list[str]) -> fuzz.fuzz_kinds.State:
        (folder / "mine.txt").write_text("mine")
        before = fuzz.fuzz_kinds.snapshot(folder)
        (folder / "mine.txt").unlink()
        fuzz.fuzz_kinds.check_untouched(before, folder)
        return "right", ""

    for case, state in ((crash, "BAD traceback"), (refuse, "BAD refusal"), (delete, "BAD file lost")):
        monkeypatch.setitem(fuzz.KINDS, "models", case)
        outcome = fuzz.run_case("models", fuzz.generator(0, "models", 0), world)
        assert outcome.bad
        assert outcome.state == state


def test_a_hang_is_seen(monkeypatch: pytest.MonkeyPatch) -> None:
    from . import fuzz_call

    monkeypatch.setattr(fuzz_call, "LIMIT", 1)

    def hang() -> None:
        while True:
            try:
                time.sleep(5)
            except Exception:  # what a broad handler would do
                continue

    with pytest.raises(WrongError, match="BAD hang"):
        fuzz_call.guarded(hang)


@pytest.mark.parametrize("tree", [POLICY, SUITE])
def test_the_toml_that_is_damaged_reads_back(tree: dict) -> None:
    import tomllib

    assert differing(tomllib.loads(to_toml(tree)), tree) == []

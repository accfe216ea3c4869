"""Random damage to all that a user hands in; the outcome is always right, refused in one line, or missing.

    python tests/faults/fuzz.py --seconds 600 --seed 1
    python tests/faults/fuzz.py --seed 1 --only models --case 17

Prints a table of outcomes by kind of input, and each distinct bad outcome with the command that repeats it;
the exit status is 1 where there is one. Cases run in a child process, which is started again where a case
crashes it or runs past its limit. A case is fixed by seed, kind and number.
"""

import argparse
import json
import os
import random
import select
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import asdict
from pathlib import Path

try:
    from . import fuzz_kinds, fuzz_prompts, fuzz_records
    from .fuzz_call import GOOD, LIMIT, Outcome, WrongError
    from .fuzz_world import World
except ImportError:  # run as a script
    import fuzz_kinds
    import fuzz_prompts
    import fuzz_records
    from fuzz_call import GOOD, LIMIT, Outcome, WrongError
    from fuzz_world import World


KINDS: dict[str, fuzz_kinds.Case] = {
    "models": fuzz_kinds.models,
    "loras": fuzz_kinds.loras,
    "records": fuzz_records.records,
    "claims": fuzz_records.claims,
    "stores": fuzz_records.stores,
    "resumed": fuzz_records.resumed,
    "prompts": fuzz_prompts.prompts,
    "tables": fuzz_prompts.tables,
    "policies": fuzz_kinds.policies,
    "suites": fuzz_kinds.suites,
    "tasks": fuzz_kinds.tasks,
}


def run_case(kind: str, rng: random.Random, world: World) -> Outcome:
    """Damage one input of a kind and return what came of it."""
    from unlearnbench.bench.errors import UserError

    told: list[str] = []
    with tempfile.TemporaryDirectory(prefix="fuzz-") as folder:
        try:
            state, detail = KINDS[kind](world, Path(folder), rng, told)
            place = ""
        except UserError as error:
            state, detail, place = "refused", str(error), ""
        except WrongError as error:
            state, detail, place = error.state, error.detail, error.place
    damage = told[0] if told else "no damage was done"
    return Outcome(kind, damage, state, detail.replace(folder, "FOLDER")[:500], place)


def generator(seed: int, kind: str, number: int) -> random.Random:
    return random.Random(f"{seed} {kind} {number}")


def cases(
    kinds: list[str], seconds: float, clock: Callable[[], float] = time.monotonic
) -> Iterator[tuple[str, int]]:
    """Yield (kind, number), kinds in turn, until the time is over; at least one of each kind."""
    end, number = clock() + seconds, 0
    while True:
        for kind in kinds:
            if number and clock() > end:
                return
            yield kind, number
        number += 1


class Worker:
    """A child process that runs cases; started again after it died."""

    def __init__(self, folder: Path, seed: int) -> None:
        self.folder, self.seed = folder, seed
        self.start()

    def start(self) -> None:
        """Start the process, and wait until it has prepared its world."""
        command = [sys.executable, __file__, "--worker", str(self.folder), "--seed", str(self.seed)]
        self.process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        self.input, self.output = self.process.stdin, self.process.stdout
        assert self.input is not None
        assert self.output is not None
        if self.output.readline() != "ready\n":
            sys.exit("fuzz: undamaged input does not work; see above")

    def run(self, kind: str, number: int) -> Outcome:
        """Return what came of a case."""
        print(f"{kind} {number}", file=self.input, flush=True)
        ready, _, _ = select.select([self.output], [], [], 4 * LIMIT)  # a case makes several calls
        line = self.output.readline() if ready else ""
        if line:
            return Outcome(**json.loads(line))
        self.process.kill()
        state, status = "BAD crash" if ready else "BAD hang", self.process.wait()
        self.start()
        return Outcome(kind, "not known: the process died", state, f"exit status {status}")


def work(folder: Path, seed: int) -> None:
    """Run the cases that stdin names; print one line of JSON for each, and nothing else."""
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)  # what libraries print
    world = World(folder).prepare()
    print("ready", file=answers, flush=True)
    for line in sys.stdin:
        kind, number = line.split()
        outcome = run_case(kind, generator(seed, kind, int(number)), world)
        print(json.dumps(asdict(outcome)), file=answers, flush=True)


def summarise(found: dict[tuple[str, int], Outcome], seed: int) -> str:
    """Return the table of outcomes by kind, and each distinct bad outcome once."""
    counts = Counter((kind, outcome.state) for (kind, _), outcome in found.items())
    states = [*GOOD, *sorted({state for _, state in counts} - set(GOOD))]
    lines = ["| kind | cases | " + " | ".join(states) + " |", "|---" * (len(states) + 2) + "|"]
    for kind in [kind for kind in KINDS if any(k == kind for k, _ in found)]:
        numbers = [counts[kind, state] for state in states]
        lines.append(f"| {kind} | {sum(numbers)} | " + " | ".join(str(n) for n in numbers) + " |")
    groups: dict[tuple[str, str, str], list[tuple[str, int]]] = {}
    for key, outcome in found.items():
        if outcome.bad:
            # without a place: what was done tells failures apart
            what = outcome.place or " ".join(outcome.damage.split()[:2])
            groups.setdefault((key[0], outcome.state, what), []).append(key)
    for (kind, state, what), keys in sorted(groups.items()):
        first = found[keys[0]]
        lines.append(f"\n{state}, {kind}, {what}: {len(keys)} cases\n  {first.damage}\n  {first.detail}")
        lines.append(f"  python tests/faults/fuzz.py --seed {seed} --only {kind} --case {keys[0][1]}")
    return "\n".join(lines)


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--seconds", type=float, default=600)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--only", action="append", choices=list(KINDS), help="this kind; repeatable")
    parser.add_argument("--case", type=int, help="this case of the kind, once")
    parser.add_argument("--worker", type=Path, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.worker:
        work(options.worker, options.seed)
        return 0
    kinds = options.only or list(KINDS)
    found: dict[tuple[str, int], Outcome] = {}
    with tempfile.TemporaryDirectory(prefix="fuzz-world-") as folder:
        worker = Worker(Path(folder), options.seed)
        todo = cases(kinds, options.seconds) if options.case is None else ((k, options.case) for k in kinds)
        for kind, number in todo:
            found[kind, number] = worker.run(kind, number)
            if options.case is not None:
                print(json.dumps(asdict(found[kind, number]), indent=1))
        worker.process.kill()
        worker.process.wait()
    print(summarise(found, options.seed))
    return int(any(outcome.bad for outcome in found.values()))


if __name__ == "__main__":
    os.environ.setdefault("OMP_NUM_THREADS", "1")


if __name__ == "__main__":
    sys.exit(main())

"""Engines: start the workers of a run on a Slurm cluster (through submitit) or on a Ray cluster.

All that an engine does is to start N processes with the run's own command line. The work is shared by leases
in the store, so an engine may start fewer of them, lose some, or start them again.
"""

import os
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from importlib import import_module
from pathlib import Path
from typing import Any

from ...errors import UserError
from ...files import make_folder
from ...progress import show_progress
from ..jobs import start_worker, worker_command
from ..session import Program, check_counts
from .outcomes import clear_outcomes, list_outcomes

MOST_TIMEOUTS = 1000
"""Number of times that Slurm may queue a worker again whose time was up: it goes on where it stopped."""
LOST = -1
"""Status of a worker that the engine lost."""
EXTRAS = {"slurm": "submitit", "ray": "ray"}
"""Engine -> the package that it needs, and the extra of this project that installs it."""


@dataclass(frozen=True)
class Workers:
    """The workers to start. arguments: the run's command line. logs: folder for their output.

    resources: what each asks the engine for, in the engine's own words.
    """

    arguments: Sequence[str]
    count: int
    threads: int
    logs: Path
    resources: Mapping[str, Any] = field(default_factory=dict)

    def starts(self) -> "list[Start]":
        """Return what starts each worker."""
        command = worker_command(self.arguments, self.threads)
        return [
            Start((*command, "--part", f"{i}/{self.count}"), str(Path.cwd()), str(self.logs / f"{i}.log"))
            for i in range(self.count)
        ]


@dataclass(frozen=True)
class Start:
    """Starts one worker, on whatever machine it is called, and returns its exit status."""

    command: tuple[str, ...]
    folder: str
    log: str

    def __call__(self) -> int:
        os.chdir(self.folder)
        process = start_worker(self.command, Path(self.log))
        try:
            return process.wait()
        finally:
            process.terminate()

    def checkpoint(self) -> Any:
        """Return what submitit starts again after a preemption: the same, which goes on where it stopped."""
        from submitit.helpers import DelayedSubmission

        return DelayedSubmission(self)


def read_resources(words: Sequence[str]) -> dict[str, Any]:
    """Return name -> number or text of `--resource NAME=VALUE`."""
    found: dict[str, Any] = {}
    for word in words:
        name, sign, value = word.partition("=")
        if not (name.isidentifier() and sign and value):
            raise UserError(f"--resource {word}: not of the form NAME=VALUE, such as timeout_min=240")
        found[name] = _number(value)
    return found


def _number(value: str) -> int | float | str:
    for kind in (int, float):
        try:
            return kind(value)
        except ValueError:
            continue
    return value


def load_engine(name: str) -> Any:
    """Return an engine's package; UserError with the remedy where it is not installed."""
    try:
        return import_module(EXTRAS[name])
    except ImportError:
        raise UserError(
            f"--executor {name}: {EXTRAS[name]} is not installed: pip install 'unlearnbench[{name}]'"
        ) from None


def is_remote(program: Program) -> bool:
    """Return whether a run's processes are started on other machines, and not by this one."""
    return program.executor in EXTRAS and program.part is None


def plan_workers(program: Program, logs: Path, threads: int) -> Workers:
    """Return the workers that a command line asks for."""
    check_counts(jobs=program.jobs)
    return Workers(program.arguments, program.jobs or 1, threads, logs, read_resources(program.resources))


def start_workers(program: Program, logs: Path, threads: int) -> None:
    """Start a run's workers by its executor, and return once they have ended.

    Raises UserError where none of them went over the whole run. What failed is in the records.
    """
    workers = plan_workers(program, logs, threads)
    clear_outcomes(logs)
    {"slurm": run_slurm, "ray": run_ray}[str(program.executor)](workers)
    if not list_outcomes(logs):
        raise UserError(f"--executor {program.executor}: no worker could work; {logs / '0.log'} says why")


def run_slurm(workers: Workers) -> list[int]:
    """Run the workers as one array job; return their exit statuses once all have ended."""
    submitit = load_engine("slurm")
    resources = dict(workers.resources)
    make_folder(workers.logs)
    try:
        executor = submitit.AutoExecutor(
            workers.logs / "slurm",
            cluster=resources.pop("cluster", "slurm"),
            slurm_max_num_timeout=MOST_TIMEOUTS,
        )
        executor.update_parameters(name="unlearnbench", **_array(workers, resources))
    except (RuntimeError, NameError, TypeError, ValueError) as error:
        raise UserError(f"--executor slurm: {' '.join(str(error).split())}") from None
    with executor.batch():
        jobs = [executor.submit(start) for start in workers.starts()]
    print(f"slurm: {', '.join(sorted({job.job_id.partition('_')[0] for job in jobs}))}", file=sys.stderr)
    return _gather([lambda job=job: job.result() for job in jobs])


def describe_slurm(workers: Workers) -> str:
    """Return the script that `run_slurm` would hand to sbatch."""
    load_engine("slurm")
    from submitit.slurm.slurm import SlurmExecutor

    class Anywhere(SlurmExecutor):
        """Writes its script on machines without Slurm, too."""

        @classmethod
        def affinity(cls) -> int:
            return 1

    resources = {name: value for name, value in workers.resources.items() if name != "cluster"}
    try:
        executor = Anywhere(workers.logs / "slurm")
        wanted = {name.removeprefix("slurm_"): v for name, v in _array(workers, resources).items()}
        known = executor._convert_parameters({"name": "unlearnbench", **wanted})
        executor.update_parameters(**known)
        executor.parameters["map_count"] = workers.count  # as submitit itself does for an array
        words = [sys.executable, "-m", "submitit.core._submit", str(executor.folder)]
        text: str = executor._make_submission_file_text(" ".join(words), "script")
    except (RuntimeError, NameError, TypeError, ValueError) as error:
        raise UserError(f"--executor slurm: {' '.join(str(error).split())}") from None
    return text


def _array(workers: Workers, resources: dict[str, Any]) -> dict[str, Any]:
    return {
        "slurm_array_parallelism": workers.count,
        "cpus_per_task": workers.threads,
        "timeout_min": 24 * 60,  # submitit itself asks for five
        **resources,
    }


def run_ray(workers: Workers) -> list[int]:
    """Run the workers on an existing Ray cluster; return their exit statuses once all have ended.

    A worker whose machine is lost is started again on another. Resources: `address` of the cluster (default:
    the environment's RAY_ADDRESS), and the options of a Ray task, such as num_gpus=0.5.
    """
    ray = load_engine("ray")
    resources = {"num_cpus": workers.threads, **workers.resources}
    address = resources.pop("address", None) or os.environ.get("RAY_ADDRESS", "auto")
    make_folder(workers.logs)
    try:
        ray.init(address=address, log_to_driver=False, ignore_reinit_error=True)
    except ConnectionError:
        raise UserError(
            f"--executor ray: no Ray cluster at {address}; start one with `ray start --head`, or name its "
            "address with --resource address=HOST:PORT"
        ) from None
    task = ray.remote(max_retries=-1, **resources)(_call)
    waiting = [task.remote(start) for start in workers.starts()]
    return _gather([lambda one=one: ray.get(one) for one in waiting])


def _call(start: Start) -> int:
    return start()


def _gather(waits: Sequence[Any]) -> list[int]:
    """Return what each wait returns, in their order."""
    found = []
    with show_progress("workers that have ended", len(waits)) as advance:
        for wait in waits:
            try:
                found.append(int(wait()))
            except Exception as error:  # the engine lost the worker: the others have done its work
                print(f"a worker was lost: {type(error).__name__}", file=sys.stderr)
                found.append(LOST)
            advance(len(found), "")
    return found

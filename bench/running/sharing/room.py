"""How many workers this machine takes, and which GPU each of them gets."""

import os
from collections.abc import Iterable
from dataclasses import replace

from ..catalog import open_world
from ..session import Session, check_counts, choose_device

WORKER_BYTES = {False: 2 * 2**30, True: 8 * 2**30}
"""Memory of a worker on a CPU: of one that opens an embedded world, and of one that opens a real model."""


def fit_session(session: Session, threads: int | None, worlds: Iterable[str]) -> tuple[Session, list[str]]:
    """Return a session with the number of its workers on this machine, and the GPUs that they share.

    threads: CPU threads that the suite states. A worker itself starts none.
    """
    program = session.program
    if not program.arguments or program.part is not None:
        return session, []
    check_counts(jobs=program.jobs)
    gpus = find_gpus() if choose_device(session.device) == "cuda" else []
    jobs = program.jobs
    if jobs is None and gpus:
        jobs = len(gpus)
    elif jobs is None:
        jobs = 1 if program.executor is None else _count_by_cores(session.threads or threads or 1, worlds)
    return replace(session, jobs=jobs), gpus if jobs > 1 else []


def find_gpus() -> list[str]:
    """Return the CUDA devices of this process, as CUDA_VISIBLE_DEVICES names them."""
    import torch

    stated, count = os.environ.get("CUDA_VISIBLE_DEVICES"), torch.cuda.device_count()
    return stated.split(",")[:count] if stated else [str(i) for i in range(count)]


def _count_by_cores(threads: int, worlds: Iterable[str]) -> int:
    """Return the number of workers that cores and free memory allow."""
    import psutil

    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    needed = max(WORKER_BYTES[open_world(name).is_placed] for name in worlds)
    return max(1, min(cores // threads, psutil.virtual_memory().available // needed))

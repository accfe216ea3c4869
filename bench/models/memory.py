"""What is watched while a method trains: its steps, and its memory by itself.

Memory is the rise of resident memory on a CPU, of allocated memory on a GPU.
"""

import ctypes
import gc
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import TracebackType
from typing import Any

import psutil
import torch
from torch.optim.optimizer import register_optimizer_step_post_hook

from ..progress import show_progress

PERIOD = 0.01
"""Seconds between two readings of the resident memory; a shorter peak may be missed."""


class MemoryMeter:
    """Measures how far memory rises above its level when `with meter:` began; `paused` parts are left out.

    On a CPU a thread reads the resident memory of the process. Unused memory is first returned to the system,
    as far as the C library can, so that earlier work does not hide a rise. On CUDA the allocator keeps its
    peak.
    """

    def __init__(self, device: str) -> None:
        self.is_cuda = device.startswith("cuda")
        self._process = psutil.Process()
        self._start = self._peak = 0
        self._end, self._running = threading.Event(), threading.Event()
        self._lock = threading.Lock()
        self._thread = threading.Thread(target=self._watch, daemon=True)

    def __enter__(self) -> "MemoryMeter":
        give_back()
        self._start = self._peak = self._read()
        self._resume()
        if not self.is_cuda:
            self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._note()
        self._end.set()
        if self._thread.is_alive():
            self._thread.join()

    @contextmanager
    def paused(self) -> Iterator[None]:
        """Leave out the block, and the memory that it keeps."""
        self._note()
        self._running.clear()
        before = self._read()
        try:
            yield
        finally:
            kept = self._read() - before
            with self._lock:
                self._start += kept
                self._peak += kept
            self._resume()

    def peak(self) -> int:
        """Return the bytes above the start at the highest point so far."""
        if self._running.is_set():
            self._note()
        return max(0, self._peak - self._start)

    def _resume(self) -> None:
        if self.is_cuda:
            torch.cuda.reset_peak_memory_stats()
        self._running.set()

    def _read(self) -> int:
        if self.is_cuda:
            return int(torch.cuda.memory_allocated())
        return int(self._process.memory_info().rss)

    def _note(self) -> None:
        found = int(torch.cuda.max_memory_allocated()) if self.is_cuda else self._read()
        with self._lock:
            if self._running.is_set():
                self._peak = max(self._peak, found)

    def _watch(self) -> None:
        while not self._end.wait(PERIOD):
            self._note()


def give_back() -> None:
    """Return unused memory to the system, where the C library can (glibc)."""
    gc.collect()
    try:
        ctypes.CDLL(None).malloc_trim(0)
    except (OSError, AttributeError, TypeError):
        return


@contextmanager
def count_steps(title: str, total: int) -> Any:
    """Show a bar that advances with every optimiser step inside the context."""
    done = 0
    with show_progress(title, total) as advance:

        def step(optimiser: Any, args: Any, kwargs: Any) -> None:
            nonlocal done
            if getattr(optimiser, "is_inner", False):
                return  # a step of an attack inside a training step
            done += 1
            advance(done, "")

        handle = register_optimizer_step_post_hook(step)
        try:
            yield advance
        finally:
            handle.remove()

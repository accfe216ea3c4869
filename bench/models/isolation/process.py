"""Settings of the process, restored after a method so that the next cell is not affected."""

import gc
import logging
import os
import random
import signal
import sys
import threading
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from .time_limit import shielded

SIGNALS = ("SIGINT", "SIGTERM", "SIGALRM", "SIGHUP")
STREAMS = ("stdin", "stdout", "stderr", "excepthook")
SDP = ("flash", "mem_efficient", "math", "cudnn")
"""Kernels of scaled dot-product attention that can be switched off one by one."""
FLAGS = (
    ("backends.cudnn", "enabled"),
    ("backends.cudnn", "benchmark"),
    ("backends.cudnn", "deterministic"),
    ("backends.cudnn", "allow_tf32"),
    ("backends.cuda.matmul", "allow_tf32"),
    ("backends.cuda.matmul", "allow_fp16_reduced_precision_reduction"),
    ("backends.cuda.matmul", "allow_bf16_reduced_precision_reduction"),
    ("backends.mkldnn", "enabled"),
)
"""Attributes of torch's modules that choose kernels."""


@dataclass(frozen=True)
class Setting:
    """One setting of the whole process: how to read it, and how to set it."""

    name: str
    read: Callable[[], Any]
    write: Callable[[Any], Any]


@contextmanager
def keep_process(seed: int | None = None) -> Iterator[None]:
    """Restore all settings of the process after the block.

    seed: of the global random generators inside, which are restored, too; so results that depend on them
    repeat exactly, whatever ran before. None = they are not seeded.
    """
    settings = [*_python_settings(), *_torch_settings()]
    before = [(setting, setting.read()) for setting in settings]
    drawn = None if seed is None else _read_generators()
    modes = _count_modes()
    if seed is not None:
        random.seed(seed)
        np.random.seed(seed % 2**32)
        torch.manual_seed(seed)
    try:
        yield
    finally:
        with shielded():
            _drop_modes(modes)
            lost = [setting.name for setting, value in before if not _put_back(setting, value)]
            if drawn is not None:
                _write_generators(drawn)
        if lost:
            raise RuntimeError(f"settings of the process that could not be put back: {', '.join(lost)}")


def _put_back(setting: Setting, value: Any) -> bool:
    """Set a setting to a value and return whether it now holds it."""
    with suppress(Exception):  # a setting that cannot be read any more is set in any case
        if setting.read() == value:
            return True
    try:
        setting.write(value)
        return bool(setting.read() == value)
    except Exception:
        return False


def _python_settings() -> list[Setting]:
    named = [_attribute(sys, name) for name in ("argv", "path", *STREAMS)]
    named += [
        Setting("working folder", os.getcwd, os.chdir),
        Setting("environment", lambda: dict(os.environ), _write_environment),
        Setting("umask", _read_umask, os.umask),
        _list_setting("module path", sys.path),
        _list_setting("arguments", sys.argv),
        Setting("recursion limit", sys.getrecursionlimit, sys.setrecursionlimit),
        Setting("garbage collection", gc.isenabled, lambda v: gc.enable() if v else gc.disable()),
        Setting("warnings", lambda: list(warnings.filters), _write_warnings),
        Setting("logging", lambda: logging.root.manager.disable, logging.disable),
        Setting("log level", lambda: logging.root.level, logging.root.setLevel),
        Setting("numpy errors", np.geterr, lambda v: np.seterr(**v)),
    ]
    if threading.current_thread() is threading.main_thread():
        numbers = [getattr(signal, name) for name in SIGNALS if hasattr(signal, name)]
        named += [_signal_setting(number) for number in numbers]
    return named


def _torch_settings() -> list[Setting]:
    named = [
        Setting("default type", torch.get_default_dtype, torch.set_default_dtype),
        Setting("gradients", torch.is_grad_enabled, torch.set_grad_enabled),
        Setting("threads", torch.get_num_threads, torch.set_num_threads),
        Setting("denormal numbers", _flushes_denormals, torch.set_flush_denormal),
        Setting("determinism", _read_determinism, _write_determinism),
        Setting("precision", torch.get_float32_matmul_precision, torch.set_float32_matmul_precision),
        Setting("anomalies", torch.is_anomaly_enabled, torch.autograd.set_detect_anomaly),
    ]
    for kind in ("cpu", "cuda"):
        named.append(_autocast_setting(kind))
    for kernel in SDP:
        read = getattr(torch.backends.cuda, f"{kernel}_sdp_enabled", None)
        write = getattr(torch.backends.cuda, f"enable_{kernel}_sdp", None)
        if read is not None and write is not None:
            named.append(Setting(f"{kernel} attention", read, write))
    for path, name in FLAGS:
        module: Any = torch
        for part in path.split("."):
            module = getattr(module, part)
        with suppress(Exception):  # a flag that this build does not have
            getattr(module, name)
            named.append(_attribute(module, name))
    return named + [_hooks_setting(hooks) for hooks in global_hooks()]


def _attribute(owner: Any, name: str) -> Setting:
    return Setting(name, lambda: getattr(owner, name), lambda value: setattr(owner, name, value))


def _list_setting(name: str, place: list[str]) -> Setting:
    return Setting(name, lambda: list(place), lambda value: place.__setitem__(slice(None), value))


def _signal_setting(number: Any) -> Setting:
    return Setting(
        str(number), lambda: signal.getsignal(number), lambda handler: signal.signal(number, handler)
    )


def _autocast_setting(kind: str) -> Setting:
    return Setting(
        f"autocast of {kind}",
        lambda: torch.is_autocast_enabled(kind),
        lambda value: torch.set_autocast_enabled(kind, value),
    )


def _hooks_setting(hooks: Any) -> Setting:
    def write(value: dict[Any, Any]) -> None:
        hooks.clear()
        hooks.update(value)

    return Setting("hooks of all modules", lambda: dict(hooks), write)


def global_hooks() -> list[Any]:
    """Return the tables of hooks that torch calls for every module and every optimiser."""
    owners = [vars(sys.modules[name]) for name in ("torch.nn.modules.module", "torch.optim.optimizer")]
    return [
        table
        for owner in owners
        for name, table in owner.items()
        if name.startswith("_global_") and name.endswith("_hooks") and isinstance(table, dict)
    ]


def _read_umask() -> int:
    value = os.umask(0o077)
    os.umask(value)
    return value


def _write_environment(value: dict[str, str]) -> None:
    os.environ.clear()
    os.environ.update(value)


def _write_warnings(value: list[Any]) -> None:
    warnings.filters[:] = value  # type: ignore[index]


def _read_determinism() -> tuple[bool, bool]:
    return torch.are_deterministic_algorithms_enabled(), torch.is_deterministic_algorithms_warn_only_enabled()


def _write_determinism(value: tuple[bool, bool]) -> None:
    torch.use_deterministic_algorithms(value[0], warn_only=value[1])


def _flushes_denormals() -> bool:
    return float(torch.tensor([1e-39]) * torch.tensor([0.5])) == 0


def _read_generators() -> tuple[Any, ...]:
    cuda = torch.cuda.get_rng_state_all() if torch.cuda.is_initialized() else None
    return random.getstate(), np.random.get_state(), torch.get_rng_state(), cuda


def _write_generators(states: tuple[Any, ...]) -> None:
    python, numpy, cpu, cuda = states
    random.setstate(python)
    np.random.set_state(numpy)
    torch.set_rng_state(cpu)
    if cuda is not None:
        torch.cuda.set_rng_state_all(cuda)


def _count_modes() -> tuple[int, int]:
    """Return how many modes (such as that of a default device) are active in torch."""
    return torch._C._len_torch_function_stack(), torch._C._len_torch_dispatch_stack()


def _drop_modes(before: tuple[int, int]) -> None:
    while torch._C._len_torch_dispatch_stack() > before[1]:
        torch._C._pop_torch_dispatch_stack()
    if torch._C._len_torch_function_stack() > before[0]:
        torch.set_default_device(None)
    while torch._C._len_torch_function_stack() > before[0]:
        torch._C._pop_torch_function_stack()

"""Run the command line in a process of its own, without importing torch and diffusers for each.

A server process imports the libraries once and nothing of unlearnbench. It forks for every command: the child
gets its own environment, working folder and arguments, and runs the module as `python -m` does. So a command
sees what it would see in a new interpreter, some seconds sooner.
"""

import atexit
import contextlib
import json
import os
import subprocess
import sys
import tempfile
import traceback
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Any

CLI = "unlearnbench.bench.cli"


@cache
def _server() -> subprocess.Popen[str]:
    command = [sys.executable, __file__]
    return subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)


def run_cli(
    *arguments: str, cwd: Path | None = None, env: Mapping[str, str] | None = None
) -> subprocess.CompletedProcess[str]:
    """Run `python -m unlearnbench.bench.cli` with these arguments; the result is that of `subprocess.run`."""
    command = [sys.executable, "-m", CLI, *arguments]
    environment = dict(os.environ if env is None else env)
    if not hasattr(os, "fork"):
        return subprocess.run(command, cwd=cwd, env=environment, capture_output=True, text=True, check=False)
    server = _server()
    assert server.stdin is not None
    assert server.stdout is not None
    with tempfile.TemporaryDirectory() as folder:
        files = [str(Path(folder, name)) for name in ("stdout", "stderr")]
        request = {"arguments": arguments, "cwd": str(cwd or Path.cwd()), "env": environment, "files": files}
        server.stdin.write(json.dumps(request) + "\n")
        server.stdin.flush()
        code = json.loads(server.stdout.readline())
        said = [Path(file).read_text(encoding="utf-8", errors="replace") for file in files]
    return subprocess.CompletedProcess(command, code, *said)


def _import_libraries() -> None:
    import datasets  # noqa: F401
    import diffusers
    import open_clip  # noqa: F401
    import pandas  # noqa: F401
    import scipy.stats  # noqa: F401
    import transformers

    # their classes are modules that load when they are first asked for
    for name in ("StableDiffusionPipeline", "UNet2DConditionModel", "AutoencoderKL", "DDIMScheduler"):
        getattr(diffusers, name)
    for name in ("CLIPTextModel", "CLIPTokenizer"):
        getattr(transformers, name)


def _become(request: Mapping[str, Any]) -> int:
    """Be the process that was asked for; return its exit status."""
    import importlib
    import runpy

    for number, file in zip((1, 2), request["files"], strict=True):
        os.dup2(os.open(file, os.O_WRONLY | os.O_CREAT), number)
    os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
    sys.stdin = os.fdopen(0, "r", encoding="utf-8", closefd=False)
    sys.stdout, sys.stderr = (os.fdopen(n, "w", encoding="utf-8", closefd=False) for n in (1, 2))
    os.chdir(request["cwd"])
    os.environ.clear()
    os.environ.update(request["env"])
    places = [place for place in request["env"].get("PYTHONPATH", "").split(os.pathsep) if place]
    sys.path[0:1] = [request["cwd"], *places]  # the first was the folder of this file
    importlib.invalidate_caches()
    sys.argv = [CLI, *request["arguments"]]
    try:
        try:
            runpy.run_module(CLI, run_name="__main__", alter_sys=True)
        finally:
            atexit._run_exitfuncs()
    except SystemExit as end:
        if end.code is None or isinstance(end.code, int):
            return end.code or 0
        print(end.code, file=sys.stderr)
        return 1
    except BaseException:
        traceback.print_exc()
        return 1
    return 0


def _serve() -> None:
    with contextlib.redirect_stdout(sys.stderr):
        _import_libraries()
    for line in sys.stdin:
        child = os.fork()
        if child == 0:
            code = 1
            try:
                code = _become(json.loads(line))
                sys.stdout.flush()
                sys.stderr.flush()
            finally:
                os._exit(code)
        print(json.dumps(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])), flush=True)


if __name__ == "__main__":
    _serve()

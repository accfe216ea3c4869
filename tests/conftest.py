"""Shared fixtures: a browser, and a runner over the tiny world with a store for the session."""

import os
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

if "PYTEST_XDIST_WORKER" in os.environ:  # a worker a core; torch reads this when it is first imported
    os.environ.setdefault("OMP_NUM_THREADS", "1")
from unlearnbench.bench.planning.plan import Cell, MethodRow, Suite
from unlearnbench.bench.planning.tasks import PromptSizes
from unlearnbench.bench.running.catalog import registry, task_registry
from unlearnbench.bench.running.runner import Runner
from unlearnbench.bench.running.session import set_threads
from unlearnbench.bench.store import Store

SMALL = PromptSizes(forget=4, forget_samples=2, retain_same=3, retain_other=3, retain_given=2, indirect=3)
NAMES = ("chromium", "chromium-browser", "google-chrome")


@pytest.fixture(scope="session")
def session_store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("store")


@pytest.fixture
def make_runner(session_store: Path, tmp_path: Path) -> Callable[..., Runner]:
    """Return make(folder=..., store=..., say=...): a runner of the tiny world."""

    def make(folder: Path | None = None, store: Path | None = None, say: Any = lambda line: None) -> Runner:
        return Runner(
            store=Store(store or session_store, say),
            folder=folder or tmp_path / "records",
            device="cpu",
            threads=set_threads(1),
            worlds={"tiny": registry("worlds")["tiny"].load()()},
            metrics=registry("metrics"),
            command="unlearnbench run",
            say=say,
        )

    return make


@pytest.fixture
def make_cell() -> Callable[..., Cell]:
    """Return make(task, method, **config): one small cell of the tiny world."""

    def make(task: str = "classes/cat-face@tiny", method: str = "none", seed: int = 0, **config: Any) -> Cell:
        row = MethodRow(name=method, config=config)
        suite = Suite(name="test", tasks=[task], methods=[row], sizes=SMALL)
        entry = None if method == "none" else registry("methods")[method]
        return Cell(suite, task_registry()[task], row, entry, seed)

    return make


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    """A headless Chromium; without one these tests are skipped, unless UNLEARNBENCH_BROWSER=required."""
    found = next((path for name in NAMES if (path := shutil.which(name))), None)
    if found is None:
        if os.environ.get("UNLEARNBENCH_BROWSER") == "required":
            pytest.fail(f"no Chromium on this machine (looked for {', '.join(NAMES)})")
        pytest.skip("no Chromium on this machine")
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        arguments = ["--no-sandbox", "--disable-gpu", "--disable-background-networking"]
        opened = playwright.chromium.launch(executable_path=found, args=arguments)
        yield opened
        opened.close()

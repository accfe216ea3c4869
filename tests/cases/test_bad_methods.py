"""The case bad-methods: methods that touch more than the denoiser, before other cells, on one store."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from unlearnbench.bench.records.record import read_record, record_digest

from ..forked import run_cli

HERE = Path(__file__).parent / "bad-methods"
OTHERS = ("none", "gradient_sum")


@pytest.fixture(scope="module")
def plugin(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("case")
    subprocess.run([sys.executable, str(HERE / "make.py"), str(folder)], check=True)
    return folder / "badmethods"


def _run(plugin: Path, folder: Path, out: str, methods: tuple[str, ...]) -> dict[str, str]:
    """Run the case's suite with some methods; return the digests of the records of `OTHERS`."""
    head, _, _ = (HERE / "s.toml").read_text().partition("[[methods]]")
    rows = {"gradient_sum": "config = { steps = 3, checkpoints = [3], batch = 8 }\n"}
    suite = folder / f"{out}.toml"
    suite.write_text(head + "".join(f'[[methods]]\nname = "{m}"\n{rows.get(m, "")}' for m in methods))
    path = os.pathsep.join([str(plugin), os.environ.get("PYTHONPATH", "")])
    options = ["--out", str(folder / out), "--store", str(folder / out.partition("-")[0]), "--threads", "1"]
    done = run_cli("run", "--suite", str(suite), *options, env={**os.environ, "PYTHONPATH": path})
    assert done.returncode in (0, 1), done.stderr
    assert "Traceback" not in done.stderr
    records = {p.name: read_record(p) for p in (folder / out).glob("*.json")}
    assert len(records) == 2 * len(methods)
    bad = {r.method.name: r for r in records.values() if r.method.name not in OTHERS}
    for name, record in bad.items():
        assert (record.status == "ok") == (name == "grads"), (name, record.error)
        if name in ("textenc", "vae", "hook", "monkey"):
            assert f"method {name}" in str(record.error)
    assert done.returncode == int(any(record.status != "ok" for record in records.values()))
    return {name: record_digest(r) for name, r in records.items() if r.method.name in OTHERS}


def test_other_cells_and_the_store_stay_as_they_are(plugin: Path, tmp_path: Path) -> None:
    clean = _run(plugin, tmp_path, "clean", OTHERS)
    bad = ("textenc", "vae", "hook", "monkey", "grads", "nan", "quits", "raises")
    assert _run(plugin, tmp_path, "dirty", ("none", *bad, "gradient_sum")) == clean
    assert _run(plugin, tmp_path, "dirty-again", OTHERS) == clean


PATCH = '''"""Replaces a function of a library when it is imported."""
{patch}
from pydantic import BaseModel

REGISTER = {{"summary": "patches at import", "function": "unlearn", "config": "Config"}}


class Config(BaseModel):
    steps: int = 1


def unlearn(pipeline, problem, config, save):
    save(1, {{}})
'''
PATCHES = {
    "a class": "import torch\nfrom diffusers import UNet2DConditionModel as U\n"
    "U.forward = lambda self, x, *a, **k: (torch.zeros_like(x),)",
    "a hook of all modules": "import torch\n"
    "torch.nn.modules.module.register_module_forward_hook(lambda m, a, o: o)",
}


@pytest.mark.parametrize("name", PATCHES)
def test_nothing_is_measured_with_a_plugin_that_patches_at_import(tmp_path: Path, name: str) -> None:
    info = tmp_path / "plug" / "early-0.1.dist-info"
    info.mkdir(parents=True)
    (tmp_path / "plug" / "early.py").write_text(PATCH.format(patch=PATCHES[name]))
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: early\nVersion: 0.1\n")
    (info / "entry_points.txt").write_text("[unlearnbench.methods]\nearly = early\n")
    suite = tmp_path / "s.toml"
    suite.write_text((HERE / "s.toml").read_text().replace("textenc", "early"))
    path = os.pathsep.join([str(tmp_path / "plug"), os.environ.get("PYTHONPATH", "")])
    options = ["--out", str(tmp_path / "out"), "--store", str(tmp_path / "store"), "--threads", "1"]
    done = run_cli("run", "--suite", str(suite), *options, env={**os.environ, "PYTHONPATH": path})
    assert done.returncode == 1, done.stderr
    records = [read_record(p) for p in (tmp_path / "out").glob("*.json")]
    assert len(records) == 6
    for record in records:
        assert record.status == "failed"
        assert "nothing is measured with it" in str(record.error)
    assert not (tmp_path / "store" / "images").exists()

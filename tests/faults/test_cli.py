"""A user's mistake is one clear line, a non-zero status, and nothing lost."""

import json
import os
import subprocess
from pathlib import Path

import pytest

from ..forked import run_cli


def _run(*arguments: str, cwd: Path) -> subprocess.CompletedProcess[str]:
    return run_cli(*arguments, cwd=cwd)


def _broken_suite(folder: Path) -> str:
    path = folder / "broken.toml"
    path.write_text('name = "broken"\ntasks = ["classes/cat-face@tiny"\n')
    return str(path)


def _misspelt_suite(folder: Path) -> str:
    path = folder / "misspelt.toml"
    path.write_text(
        'name = "misspelt"\ntasks = ["classes/cat-face@tiny"]\n'
        '[[methods]]\nname = "balanced"\nconfig = { ratte = 1e-4 }\n'
    )
    return str(path)


def _model(folder: Path, content: dict[str, object] | None) -> str:
    model = folder / "model"
    model.mkdir()
    if content is not None:
        (model / "model_index.json").write_text(json.dumps(content))
    return str(model)


INDEX = {
    "_class_name": "StableDiffusionPipeline",
    "scheduler": ["diffusers", "DDIMScheduler"],
    "text_encoder": ["transformers", "CLIPTextModel"],
    "tokenizer": ["transformers", "CLIPTokenizer"],
    "unet": ["diffusers", "UNet2DConditionModel"],
    "vae": ["diffusers", "AutoencoderKL"],
    "safety_checker": [None, None],
    "feature_extractor": [None, None],
}
CASES = {
    "wrong task": (lambda f: ["run", "--task", "classes/cat-fase"], "did you mean classes/cat-face@emoji"),
    "wrong method": (lambda f: ["run", "--suite", "demo", "--method", "balancd"], "did you mean balanced"),
    "wrong suite": (lambda f: ["run", "--suite", "demoo"], "no suite named 'demoo'"),
    "broken TOML": (lambda f: ["run", "--suite", _broken_suite(f)], "broken.toml: not valid TOML"),
    "misspelt key": (lambda f: ["run", "--suite", _misspelt_suite(f)], "method balanced: ratte"),
    "no device": (lambda f: ["run", "--suite", "demo", "--device", "tpu"], "--device tpu"),
    "model without UNet": (
        lambda f: [
            "evaluate",
            "--task",
            "classes/cat-face@tiny",
            "--model",
            _model(f, {"_class_name": "StableDiffusionPipeline", "vae": [None, None]}),
        ],
        "neither a unet nor a transformer",
    ),
    "model without index": (
        lambda f: ["evaluate", "--task", "classes/cat-face@tiny", "--model", _model(f, None)],
        "no model_index.json",
    ),
    "model with a missing part": (
        lambda f: [
            "evaluate",
            "--task",
            "classes/cat-face@tiny",
            "--model",
            _model(f, INDEX),
        ],
        "the folder scheduler/ is missing",
    ),
    "model that is nowhere": (
        lambda f: ["evaluate", "--task", "classes/cat-face@tiny", "--model", "/no/such/folder"],
        "no such folder or file",
    ),
    "function that is nowhere": (
        lambda f: ["evaluate", "--task", "classes/cat-face@tiny", "--points", "no_module:generate"],
        "no module named 'no_module'",
    ),
    "no records": (lambda f: ["leaderboard", "nowhere"], "no such folder of records"),
    "wrong stage": (lambda f: ["pretrain", "tiny", "--stages", "vae"], "stages: autoencoder"),
    "wrong preset": (lambda f: ["pretrain", "emojy"], "no world preset named"),
    "nothing to list": (lambda f: ["list", "metods"], "kinds: tasks, methods"),
}


@pytest.mark.parametrize("name", CASES)
def test_a_mistake_is_one_clear_line(name: str, tmp_path: Path) -> None:
    arguments, message = CASES[name]
    done = _run(*arguments(tmp_path), cwd=tmp_path)
    lines = [line for line in done.stderr.splitlines() if line.startswith("unlearnbench:")]
    assert done.returncode == 2
    assert len(lines) == 1, done.stderr
    assert message in lines[0]
    assert "Traceback" not in done.stderr


@pytest.mark.skipif(os.name == "nt", reason="npm is found by PATH")
def test_rebuilding_sprites_without_npm_says_so(tmp_path: Path) -> None:
    pytest.importorskip("resvg_py")
    environment = {**os.environ, "PATH": str(tmp_path)}
    done = run_cli("pretrain", "tiny", "--sprites", "--work", str(tmp_path), env=environment)
    assert done.returncode == 2
    assert "npm is not installed" in done.stderr

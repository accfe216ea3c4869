"""The built wheel holds everything and runs outside the checkout, in an environment of its own."""

import subprocess
import sys
import sysconfig
import venv
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    target = tmp_path_factory.mktemp("wheel")
    command = [sys.executable, "-m", "build", "--wheel", "--outdir", str(target), str(ROOT)]
    subprocess.run(command, check=True, capture_output=True)
    return next(target.glob("*.whl"))


def test_the_wheel_holds_data_and_templates(wheel: Path) -> None:
    names = set(zipfile.ZipFile(wheel).namelist())
    for name in (
        "bench/worlds/emoji/sprites.parquet",
        "bench/worlds/emoji/ATTRIBUTION.md",
        "bench/worlds/emoji/captions.toml",
        "bench/worlds/emoji/data/tiny/pipeline/unet/diffusion_pytorch_model.safetensors",
        "bench/worlds/emoji/data/tiny/judges/clip/model.safetensors",
        "leaderboard/templates/page.html.j2",
        "leaderboard/templates/style.css",
        "tasks/classes/emoji.toml",
        "tasks/suites/demo.toml",
        "bench/py.typed",
        "__init__.py",
        "__main__.py",
        "quickstart.ipynb",
        "py.typed",
    ):
        assert f"unlearnbench/{name}" in names
    assert not [n for n in names if n.split("/")[0] in ("bench", "tasks", "methods", "leaderboard", "tests")]


def test_the_wheel_runs_outside_the_checkout(wheel: Path, tmp_path: Path) -> None:
    venv.create(tmp_path / "env", with_pip=True)
    python = tmp_path / "env" / "bin" / "python"
    subprocess.run(
        [python, "-m", "pip", "install", "-q", "--no-deps", str(wheel)], check=True, capture_output=True
    )
    # the dependencies come from this environment; a plain path entry does not start its editable hooks
    site = subprocess.run(
        [python, "-c", "import sysconfig; print(sysconfig.get_path('purelib'))"],
        check=True,
        capture_output=True,
        text=True,
    )
    Path(site.stdout.strip(), "parent.pth").write_text(sysconfig.get_path("purelib") + "\n")
    code = "import unlearnbench as u; assert u.list_methods(); print(u.__file__)"
    where = subprocess.run([python, "-c", code], cwd=tmp_path, capture_output=True, text=True, check=True)
    assert str(tmp_path) in where.stdout
    command = [
        str(tmp_path / "env" / "bin" / "unlearnbench"),
        "run",
        "--suite",
        "demo",
        "--method",
        "placebo",
    ]
    options = ["--store", str(tmp_path / "store"), "--threads", "1"]
    done = subprocess.run([*command, *options], cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "runs" / "demo" / "leaderboard" / "index.html").is_file()

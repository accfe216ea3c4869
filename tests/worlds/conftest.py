"""A made world of drawn shapes, a few steps of each part, for the tests of worlds of labelled images."""

import re
from pathlib import Path

import pytest
from PIL import Image, ImageDraw

from unlearnbench.bench.cli.main import main
from unlearnbench.bench.worlds.images.spec import SETTINGS

SMALL = {
    r"channels = \[16, 32, 64\]": "channels = [8, 8, 8]",
    r"channels = \[64, 96\]": "channels = [16, 16]",
    r"width = 64": "width = 16",
    r"(?m)^steps = \d{3,}": "steps = 2",
    r"(?m)^batch = .*": "batch = 12",
    r"(?m)^steps = 8 .*": "steps = 2",
    r"kept = 400": "kept = 6",
}


@pytest.fixture(scope="session")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a world that `pretrain images` made of 3 x 10 drawn shapes."""
    root = tmp_path_factory.mktemp("shapes")
    for name, fill in (("disc", "white"), ("open_ring", None), ("square", "white")):
        (root / "data" / name).mkdir(parents=True)
        for i in range(10):
            image = Image.new("RGB", (32, 32))
            box = (4 + i % 3, 5 + i % 2, 20 + i, 22 + i % 4)
            pen = ImageDraw.Draw(image)
            (pen.rectangle if name == "square" else pen.ellipse)(box, fill=fill, outline="white")
            image.save(root / "data" / name / f"{i}.png")
    text = SETTINGS.read_text(encoding="utf-8")
    for pattern, small in SMALL.items():
        text = re.sub(pattern, small, text)
    (root / "small.toml").write_text(text, encoding="utf-8")
    command = ["pretrain", "images", "--data", str(root / "data"), "--name", "shapes", "--work", str(root)]
    command += ["--settings", str(root / "small.toml"), "--threads", "1"]
    assert main([*command, "--stages", "autoencoder"]) == 0
    assert not (root / "shapes" / "world").exists()
    assert main(command) == 0
    return root / "shapes" / "world"

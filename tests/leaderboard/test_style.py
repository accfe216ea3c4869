"""Colours of the pages: text is legible on every ground, by the contrast that WCAG 2.2 asks for (4.5)."""

import re
from pathlib import Path

import pytest

from unlearnbench.leaderboard import templates

CSS = Path(templates.__file__).with_name("style.css").read_text(encoding="utf-8")


def luminance(colour: str) -> float:
    parts = [int(colour[i : i + 2], 16) / 255 for i in (1, 3, 5)]
    linear = [p / 12.92 if p <= 0.04045 else ((p + 0.055) / 1.055) ** 2.4 for p in parts]
    return sum(w * p for w, p in zip((0.2126, 0.7152, 0.0722), linear, strict=True))


@pytest.mark.parametrize("scheme", [0, 1], ids=["light", "dark"])
@pytest.mark.parametrize(
    "text", ["ink", "soft", "faint", "link", "warn", "ref", "floor", *(f"k{i}" for i in range(8))]
)
def test_text_is_legible(scheme: int, text: str) -> None:
    colours = dict(
        re.findall(r"--([a-z0-9-]+): (#[0-9a-f]{6})", re.findall(r":root \{(.*?)\}", CSS, re.S)[scheme])
    )
    for ground in ("paper", "raised", "hover"):
        dark, light = sorted((luminance(colours[text]), luminance(colours[ground])))
        assert (light + 0.05) / (dark + 0.05) >= 4.5, (text, ground)

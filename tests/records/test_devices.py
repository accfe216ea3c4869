"""The same cells on a CPU and on a GPU: other pixels, the same verdicts, as results/README.md says."""

from pathlib import Path

import pandas as pd

RESULTS = Path(__file__).resolve().parents[2] / "results"
IMAGE = ["cell", "point", "prompt_id", "sample"]
VERDICTS = ["found_subject", "found_style", "found_background", "target_found"]


def test_no_verdict_changes_between_a_cpu_and_a_gpu() -> None:
    gpu, cpu = (pd.read_parquet(RESULTS / folder / "items.parquet") for folder in ("emoji-cuda", "emoji"))
    both = gpu.merge(cpu, on=IMAGE, suffixes=("", "_cpu"), validate="one_to_one")
    assert len(both) == len(gpu) == 3432
    assert not (both["image_sha256"] == both["image_sha256_cpu"]).any()
    for name in VERDICTS:
        same = (both[name] == both[f"{name}_cpu"]) | (both[name].isna() & both[f"{name}_cpu"].isna())
        assert same.all(), name
    assert (both["alignment"] - both["alignment_cpu"]).abs().max() < 0.0025

"""A prompt counts as cut where its end changes no embedding that the pipeline's own call makes."""

from pathlib import Path
from typing import Any

import pytest
import torch

from unlearnbench.bench.models.digests import network_parts
from unlearnbench.bench.models.reading import count_cut

from ..methods.families import FAMILIES, build_family
from ..methods.tiny import TOKENS, build_pipeline


@pytest.fixture(params=["sd", *FAMILIES])
def pipeline(request: pytest.FixtureRequest, tmp_path: Path) -> Any:
    family = request.param
    built = build_pipeline(tmp_path) if family == "sd" else build_family(family, tmp_path)
    for part in network_parts(built).values():
        part.eval()  # no dropout
    return built


def _embed(pipeline: Any, prompt: str) -> list[torch.Tensor]:
    """Return the embeddings that the call draws by."""
    seen: list[torch.Tensor] = []
    encode = pipeline.encode_prompt

    class _Done(Exception):  # noqa: N818
        pass

    def watch(*args: Any, **options: Any) -> None:
        seen.extend(t for t in encode(*args, **options) if isinstance(t, torch.Tensor))
        raise _Done

    pipeline.encode_prompt = watch
    try:
        pipeline(prompt, height=16, width=16, num_inference_steps=1, guidance_scale=1.0)
    except _Done:
        pass
    finally:
        pipeline.encode_prompt = encode
    assert seen
    return seen


def _end_counts(pipeline: Any, prompt: str) -> bool:
    """Return whether another last letter changes an embedding."""
    first, second = _embed(pipeline, prompt), _embed(pipeline, prompt[:-1] + "b")
    return any(not torch.equal(a, b) for a, b in zip(first, second, strict=True))


LENGTHS = [
    1,
    12,
    13,
    14,
    15,
    16,
    17,
    40,
    126,
    128,
    250,
    253,
    254,
    255,
    256,
    257,
    300,
    509,
    510,
    511,
    512,
    515,
]


@pytest.mark.parametrize("letters", LENGTHS)
@pytest.mark.parametrize("said", [None, 512])
def test_a_cut_prompts_end_changes_nothing(pipeline: Any, letters: int, said: int | None) -> None:
    for name in ("tokenizer_2", "tokenizer_3"):
        tokenizer = getattr(pipeline, name, None)
        if said is not None and tokenizer is not None and "T5" in type(tokenizer).__name__:
            tokenizer.model_max_length = said
    prompt = "a" * letters
    with torch.no_grad():
        assert count_cut(pipeline, [prompt]) == (not _end_counts(pipeline, prompt))


def test_without_its_long_encoder_sd3_reads_as_far_as_clip(tmp_path: Path) -> None:
    pipeline = build_family("sd3", tmp_path)
    long = "a" * (TOKENS + 4)
    assert count_cut(pipeline, [long, "a"]) == 0
    pipeline.text_encoder_3 = None
    assert count_cut(pipeline, [long, "a"]) == 1


def test_prompts_are_counted_each(tmp_path: Path) -> None:
    pipeline = build_family("sd3", tmp_path)
    assert count_cut(pipeline, ["a" * 20, "a" * 400, "a " * 300, "b"]) == 2
    assert count_cut(pipeline, []) == 0

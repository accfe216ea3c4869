"""The worlds' tokenizer: the same in every process, and every training word one token."""

import os
import subprocess
import sys

import pytest

from unlearnbench.bench.worlds.emoji.captions import Captioner
from unlearnbench.bench.worlds.emoji.spec import load_spec
from unlearnbench.bench.worlds.recipe.text import build_tokenizer, learn_merges

PRINT_VOCABULARY = """
import hashlib, json
from unlearnbench.bench.worlds.emoji.captions import Captioner
from unlearnbench.bench.worlds.emoji.spec import load_spec
from unlearnbench.bench.worlds.recipe.text import build_tokenizer
spec = load_spec("emoji")
ids = build_tokenizer(spec, Captioner(spec)).get_vocab()
print(hashlib.sha256(json.dumps(ids, sort_keys=True).encode()).hexdigest())
"""


def test_another_process_numbers_the_tokens_alike() -> None:
    """The ids are part of the text encoder: trained with one numbering, it is noise with another."""
    outputs = {
        subprocess.run(
            [sys.executable, "-c", PRINT_VOCABULARY],
            env={**os.environ, "PYTHONHASHSEED": seed},
            capture_output=True,
            check=True,
            text=True,
        ).stdout
        for seed in ("1", "2")
    }
    assert len(outputs) == 1


@pytest.mark.parametrize("name", ["emoji", "tiny"])
def test_every_training_word_is_one_token(name: str) -> None:
    spec = load_spec(name)
    captioner = Captioner(spec)
    tokenizer = build_tokenizer(spec, captioner)
    tokens = {token for line in captioner.corpus for token in tokenizer.tokenize(line)}
    assert all(token.endswith("</w>") for token in tokens)
    assert max(len(tokenizer(line).input_ids) for line in captioner.corpus) <= spec.text.tokens
    assert tokenizer.eos_token_id == len(tokenizer) - 1
    assert tokenizer.unk_token_id not in tokenizer("a word (never seen), no. 7!").input_ids


def test_merges_by_hand() -> None:
    # (l, o</w>) stands five times; (e, w</w>) and (n, e) twice, and the first by alphabet is merged.
    assert learn_merges({"lo": 5, "new": 2}) == [("l", "o</w>"), ("e", "w</w>"), ("n", "ew</w>")]
    assert learn_merges({"aaa": 1}) == [("a", "a"), ("aa", "a</w>")]

"""Item rows: pairing of prompts and images, chance-level partners, failed judges."""

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

from unlearnbench.bench.measuring.items import build_items, describe_pixels, read_guidance, shuffled_partner
from unlearnbench.bench.measuring.requests import ImageRequest
from unlearnbench.bench.measuring.sheet import choose_columns
from unlearnbench.bench.records.record import items_digest
from unlearnbench.bench.types import ITEM_COLUMNS, OPTIONAL_COLUMNS, Prompt


def _prompt(name: str, split: str, target: tuple[str, ...] = ()) -> Prompt:
    asked = {"subject": name, "style": "line", "background": "red"}
    relation = "target" if split != "retain" else "same"
    return Prompt(name, f"a {name}", split, asked, "subject", target, relation, False, "A")  # type: ignore[arg-type]


ASKS = [
    ImageRequest(_prompt("cat", "forget", ("cat",)), 0, 10),
    ImageRequest(_prompt("cat", "forget", ("cat",)), 1, 11),
    ImageRequest(_prompt("dog", "retain"), 0, 12),
    ImageRequest(_prompt("fox", "retain"), 0, 13),
]


class _Scorer:
    """Embeds an image as its first pixel and a prompt as its animal, so that a swap would show."""

    order = ("cat", "dog", "fox")

    def embed_images(self, images: np.ndarray) -> np.ndarray:
        return np.eye(3)[images[:, 0, 0, 0]]

    def embed_prompts(self, prompts: list[str]) -> np.ndarray:
        return np.eye(3)[[self.order.index(p.split()[-1]) for p in prompts]]


def _images(*animals: int) -> np.ndarray:
    return np.stack([np.full((8, 8, 3), a, np.uint8) for a in animals])


def _found(*subjects: str | None) -> pd.DataFrame:
    n = len(subjects)
    return pd.DataFrame(
        {"subject": list(subjects), "style": ["line"] * n, "background": ["red"] * n}, dtype=object
    )


PIXELS = describe_pixels(_images(0, 0, 1, 2))


def _items(found: pd.DataFrame) -> pd.DataFrame:
    scorer = _Scorer()
    return build_items(ASKS, PIXELS, found, scorer, scorer.embed_images(_images(0, 0, 1, 2)))


def test_rows_pair_each_image_with_its_own_prompt() -> None:
    items = _items(_found("cat", "dog", "dog", "fox"))
    assert tuple(items.columns) == ITEM_COLUMNS
    assert items["alignment"].tolist() == [1, 1, 1, 1]
    assert items["target_found"].tolist() == [True, False, None, None]
    assert items["seed"].tolist() == [10, 11, 12, 13]


def test_a_judge_that_failed_leaves_no_verdict() -> None:
    items = build_items(ASKS, PIXELS, _found(None, "", "dog", "fox"), None, None)
    assert items["target_found"].tolist() == [None, False, None, None]
    assert items["alignment"].isna().all()


def test_chance_level_pairs_with_another_prompt_of_the_same_split() -> None:
    texts = [None if i is None else ASKS[i].prompt.text for i in shuffled_partner(ASKS)]
    assert texts == [None, None, "a fox", "a dog"]  # one prompt alone has no partner
    items = _items(_found("cat", "dog", "dog", "fox"))
    assert items["alignment_shuffled"].isna().tolist() == [True, True, False, False]
    assert items["alignment_shuffled"].iloc[2:].tolist() == [0, 0]


def test_the_digest_of_rows_sees_every_cell() -> None:
    items = _items(_found("cat", "dog", "dog", "fox"))
    before = items_digest(items)
    assert items_digest(items.copy()) == before
    for column in ITEM_COLUMNS:
        changed = items.copy()
        changed[column] = changed[column].astype(object)
        changed.loc[3, column] = "changed"
        assert items_digest(changed) != before, column


def test_rows_name_what_few_of_them_have() -> None:
    """A prompt's own guidance, and how sure a judge is of the target: of retain rows it says nothing."""
    guided = [replace(ASKS[0], prompt=replace(ASKS[0].prompt, guidance=7.0)), *ASKS[1:]]
    found = _found("cat", "dog", "dog", "fox")
    items = build_items(guided, PIXELS, found, None, None, scores=np.array([0.9, 0.1, 0.3, 0.2]))
    assert tuple(items.columns) == (*ITEM_COLUMNS, *OPTIONAL_COLUMNS)
    assert [read_guidance(row) for row in items.to_dict("records")] == [7.0, None, None, None]
    assert items["target_score"].tolist()[:2] == [0.9, 0.1]
    assert items["target_score"].isna().tolist() == [False, False, True, True]
    assert read_guidance({}) is None


def test_the_sheet_shows_some_of_each_split() -> None:
    chosen = choose_columns(ASKS)
    assert {ASKS[i].prompt.split for i in chosen} == {"forget", "retain"}
    assert all(ASKS[i].sample == 0 for i in chosen)


def test_found_must_have_a_row_an_image() -> None:
    with pytest.raises(ValueError, match=r"[Ll]ength"):
        build_items(ASKS, PIXELS, _found("cat"), None, None)

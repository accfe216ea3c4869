"""PickScore and HPSv2 against their authors' formulas, on randomly initialised networks of their classes."""

import shutil
from pathlib import Path

import numpy as np
import open_clip
import pytest
import torch
from PIL import Image
from transformers import AutoModel, AutoProcessor

import unlearnbench as ub
from unlearnbench.bench.judges.preference import MEAN, STD, open_hpsv2, open_pickscore, prepare_hps

from .rating_models import HPS, SIDE, make_hpsv2, make_pickscore

PROMPTS = ["a red fox", "a house on a hill that is far too long for sixteen tokens", "noise"]


@pytest.fixture(scope="module")
def images() -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (3, 48, 48, 3), dtype=np.uint8)


@pytest.fixture(scope="module")
def pickscore(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_pickscore(tmp_path_factory.mktemp("pick") / "model")


@pytest.fixture(scope="module")
def hpsv2(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_hpsv2(tmp_path_factory.mktemp("hps") / "HPS.pt")


def test_pickscore_is_the_model_cards_formula(pickscore: Path, images: np.ndarray) -> None:
    found = open_pickscore(pickscore).score(images, PROMPTS)
    model, processor = AutoModel.from_pretrained(pickscore).eval(), AutoProcessor.from_pretrained(pickscore)
    wanted = []
    for image, prompt in zip(images, PROMPTS, strict=True):  # one at a time, through the towers themselves
        pixels = processor(images=Image.fromarray(image), return_tensors="pt")["pixel_values"]
        words = processor(text=prompt, truncation=True, max_length=16, return_tensors="pt")["input_ids"]
        with torch.no_grad():
            one = model.visual_projection(model.vision_model(pixels).pooler_output)
            two = model.text_projection(model.text_model(words).pooler_output)
            cosine = torch.cosine_similarity(one, two).item()
        wanted.append(float(np.exp(model.logit_scale.item())) * cosine)
    np.testing.assert_allclose(found, wanted, rtol=1e-4)
    assert np.ptp(wanted) > 0.01 * abs(np.mean(wanted)), "the images are told apart"


def test_hpsv2_is_the_cosine_of_its_file(hpsv2: Path, images: np.ndarray) -> None:
    found = open_hpsv2(hpsv2, network=HPS).score(images, PROMPTS)
    model = open_clip.create_model(HPS, pretrained=None).eval()
    model.load_state_dict(torch.load(hpsv2)["state_dict"])
    tokens = open_clip.get_tokenizer(HPS)(PROMPTS)
    with torch.no_grad():
        one, two = model.encode_image(prepare_hps(images, SIDE)), model.encode_text(tokens)
        np.testing.assert_allclose(found, torch.cosine_similarity(one, two), atol=1e-6)


def test_hpsv2_pads_what_is_not_square() -> None:
    """Half as wide as high: a quarter of the width is 0 on each side, before the normalisation."""
    image = np.full((1, 64, 32, 3), 51, np.uint8)
    found = prepare_hps(image, SIDE)[0].numpy()
    black, grey = ((np.array([value] * 3) - MEAN) / STD for value in (0.0, 0.2))
    np.testing.assert_allclose(found[:, 5, 0], black, atol=1e-5)
    np.testing.assert_allclose(found[:, 5, 7], black, atol=1e-5)
    np.testing.assert_allclose(found[:, 5, 8], grey, atol=1e-5)
    np.testing.assert_allclose(found[:, 5, 23], grey, atol=1e-5)
    np.testing.assert_allclose(found[:, 5, 24], black, atol=1e-5)


def test_weights_of_another_kind_are_refused(pickscore: Path, hpsv2: Path, tmp_path: Path) -> None:
    with pytest.raises(ub.UserError, match=r"no config\.json: not a folder of a CLIP model"):
        open_pickscore(tmp_path)
    for names in (("model.safetensors",), ("vocab.json", "tokenizer.json"), ("processor_config.json",)):
        lacking = shutil.copytree(pickscore, tmp_path / names[0].partition(".")[0])
        for name in names:
            (lacking / name).unlink()
        with pytest.raises(ub.UserError, match=lacking.name):
            open_pickscore(lacking)
    weights = torch.load(hpsv2)["state_dict"]
    del weights["text_projection"]
    torch.save({"state_dict": weights}, tmp_path / "cut.pt")
    with pytest.raises(ub.UserError, match=r"cut\.pt: not the weights of a tiny-hps: .*text_projection"):
        open_hpsv2(tmp_path / "cut.pt", network=HPS)
    torch.save({"state_dict": weights, "model": open_hpsv2}, tmp_path / "code.pt")
    with pytest.raises(ub.UserError, match=r"code\.pt: holds more than tensors"):
        open_hpsv2(tmp_path / "code.pt", network=HPS)

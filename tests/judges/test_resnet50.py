"""The judge of published Imagenette figures: torchvision's network, preprocessing, answers; no download."""

from pathlib import Path

import numpy as np
import pytest
import timm
import torch
import torchvision
from PIL import Image
from safetensors.torch import save_file

from unlearnbench.bench.cli.main import main
from unlearnbench.bench.errors import UserError
from unlearnbench.bench.judges import resnet50
from unlearnbench.bench.judges.imagenet import IMAGENETTE
from unlearnbench.bench.judges.packages import judge_digest, resnet50_source
from unlearnbench.bench.judges.resnet50 import ResNet50Judge, make_prepare, open_network
from unlearnbench.bench.judges.types import NOTHING

PUBLISHED = torchvision.models.ResNet50_Weights.DEFAULT
"""What the papers' scripts name. Its description alone is looked at; its weights are never fetched."""


class Reader(torch.nn.Module):
    """A network of 1,000 outputs: an image's mean colour is its features and tells the highest logit."""

    def __init__(self, classes: dict[int, int]) -> None:
        super().__init__()
        self.head = torch.nn.Linear(3, 1000)
        with torch.no_grad():
            self.head.weight.zero_()
            self.head.bias.fill_(-9)
            for channel, number in classes.items():
                self.head.weight[number, channel] = 1
                self.head.bias[number] = 0

    def forward_features(self, x: torch.Tensor) -> torch.Tensor:
        return x

    def forward_head(self, x: torch.Tensor, pre_logits: bool = False) -> torch.Tensor:
        return x.mean(dim=(2, 3)) if pre_logits else self.head(x.mean(dim=(2, 3)))

    def get_classifier(self) -> torch.nn.Module:
        return self.head


@pytest.fixture
def weights(tmp_path: Path) -> tuple[Path, dict[str, torch.Tensor]]:
    """A folder of a randomly initialised ResNet-50 with statistics that matter, one class the likeliest."""
    torch.manual_seed(0)
    network = timm.create_model("resnet50", pretrained=False)
    for module in network.modules():
        if isinstance(module, torch.nn.BatchNorm2d):
            module.running_mean.uniform_(-0.1, 0.1)
            module.running_var.uniform_(0.8, 1.2)
            torch.nn.init.uniform_(module.weight, 0.4, 0.6)
    state = {name: tensor.contiguous() for name, tensor in network.state_dict().items()}
    state["fc.bias"][IMAGENETTE["English springer"]] = 9.0
    save_file(state, tmp_path / resnet50.RESNET50_FILE)
    return tmp_path, state


def test_the_network_is_torchvisions(weights: tuple[Path, dict[str, torch.Tensor]]) -> None:
    """One file of tensors, opened here and loaded into torchvision's ResNet-50, gives one answer."""
    folder, state = weights
    theirs = torchvision.models.resnet50(weights=None).eval()
    theirs.load_state_dict(state)  # strict: every name and shape is torchvision's
    ours = open_network(folder)
    assert not ours.training
    rng = np.random.default_rng(1)
    image = rng.integers(0, 256, (300, 260, 3), dtype=np.uint8)
    with torch.no_grad():
        expected = theirs(PUBLISHED.transforms()(Image.fromarray(image))[None])
        found = ours(make_prepare()(image)[None])
    assert expected.shape == (1, 1000)
    assert float(expected.sort().values[0, :999].std()) > 1e-2
    torch.testing.assert_close(found, expected, atol=1e-4, rtol=0)
    verdicts = ResNet50Judge(list(IMAGENETTE), folder).judge(image[None])
    assert list(verdicts.found["subject"]) == ["English springer"]
    assert verdicts.features.shape == (1, 2048)


@pytest.mark.parametrize("size", [(512, 512), (333, 518), (64, 80), (224, 224)])
def test_an_image_is_seen_as_the_weights_were_published(size: tuple[int, int]) -> None:
    image = np.random.default_rng(0).integers(0, 256, (*size, 3), dtype=np.uint8)
    expected = PUBLISHED.transforms()(Image.fromarray(image))
    found = make_prepare()(image)
    assert found.shape == (3, 224, 224)
    torch.testing.assert_close(found, expected, atol=1e-5, rtol=0)


def test_imagenettes_numbers_are_torchvisions() -> None:
    categories = PUBLISHED.meta["categories"]
    assert PUBLISHED is torchvision.models.ResNet50_Weights.IMAGENET1K_V2
    assert len(categories) == 1000
    assert {name: categories[number] for name, number in IMAGENETTE.items()} == {n: n for n in IMAGENETTE}


def test_the_likeliest_of_a_thousand_counts(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Red is tench, green a golf ball, blue goldfish: the third is none of the ten, whatever they score."""
    classes = {0: IMAGENETTE["tench"], 1: IMAGENETTE["golf ball"], 2: 1}
    monkeypatch.setattr(resnet50, "open_network", lambda folder: Reader(classes))
    images = np.zeros((3, 48, 48, 3), dtype=np.uint8)
    for channel in range(3):
        images[channel, ..., channel] = 255
    images[2, ..., 0] = 200  # less blue than red would still be tench among ten alone
    judge = ResNet50Judge(list(IMAGENETTE), tmp_path)
    assert list(judge.judge(images).found["subject"]) == ["tench", "golf ball", NOTHING]
    few = ResNet50Judge(["golf ball"], tmp_path)
    assert list(few.judge(images).found["subject"]) == [NOTHING, "golf ball", NOTHING]
    with pytest.raises(UserError, match="resnet50: names: 'cat' is none of tench"):
        ResNet50Judge(["cat"], tmp_path)


def test_weights_that_are_none_are_named(tmp_path: Path) -> None:
    path = tmp_path / resnet50.RESNET50_FILE
    with pytest.raises(UserError, match=r"model\.safetensors: not there"):
        open_network(tmp_path)
    path.write_bytes(b"not safetensors")
    complaint = r"model\.safetensors: not the weights of a ResNet-50 of 1,000 classes: [^\n]+$"
    with pytest.raises(UserError, match=complaint):
        open_network(tmp_path)
    save_file({"conv1.weight": torch.zeros(64, 3, 7, 7)}, path)
    with pytest.raises(UserError, match=complaint):
        open_network(tmp_path)


def test_weights_lie_in_the_data_folder_or_in_the_hubs_cache(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path / "hub"))
    asked = ["doctor", "--task", "classes/imagenette-french-horn@sd14", "--data", str(tmp_path / "data")]
    assert main(asked) == 1
    said = next(line for line in capsys.readouterr().out.splitlines() if "ResNet-50" in line)
    assert "licence: BSD-3-Clause): MISSING; fetch it with: hf download timm/resnet50.tv2_in1k" in said
    with pytest.raises(UserError, match=r"not on this machine; fetch it with: hf download timm/resnet50"):
        judge_digest("resnet50@1", tmp_path / "data")

    snapshot = tmp_path / "hub" / "models--timm--resnet50.tv2_in1k"
    (snapshot / "snapshots" / "0").mkdir(parents=True)
    (snapshot / "refs").mkdir()
    (snapshot / "refs" / "main").write_text("0")
    save_file({"a": torch.zeros(1)}, snapshot / "snapshots" / "0" / resnet50.RESNET50_FILE)
    assert resnet50_source(tmp_path / "data").folder == snapshot / "snapshots" / "0"
    cached = judge_digest("resnet50@1", tmp_path / "data")

    own = tmp_path / "data" / "resnet50"
    own.mkdir(parents=True)
    save_file({"a": torch.ones(1)}, own / resnet50.RESNET50_FILE)
    assert resnet50_source(tmp_path / "data").folder == own
    main(asked)
    assert f"here: {own}" in capsys.readouterr().out
    assert judge_digest("resnet50@1", tmp_path / "data") != cached  # other weights, another key

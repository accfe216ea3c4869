"""The whole recipe, a few steps of each part: what it exports opens, and what was left out was never seen."""

import json
import re
from pathlib import Path

import pytest
import torch
from diffusers import AutoencoderKL, StableDiffusionPipeline
from safetensors.torch import load_file

from unlearnbench.bench.running.catalog import registry
from unlearnbench.bench.worlds.emoji.recipe.pretrain import pretrain
from unlearnbench.bench.worlds.emoji.recipe.recipe import open_recipe
from unlearnbench.bench.worlds.emoji.spec import STAGES, WorldSpec, load_spec, preset_path
from unlearnbench.bench.worlds.emoji.world import DATA, SPRITES
from unlearnbench.bench.worlds.recipe.unet import build_unet, make_predictor


@pytest.fixture(scope="module")
def spec(tmp_path_factory: pytest.TempPathFactory) -> WorldSpec:
    text = re.sub(r"(?m)^steps = \d{3,}", "steps = 2", preset_path("tiny").read_text(encoding="utf-8"))
    path = tmp_path_factory.mktemp("spec") / "mini.toml"
    path.write_text(re.sub(r"(?m)^placements = .*", "placements = 1", text), encoding="utf-8")
    return load_spec(str(path))


@pytest.fixture(scope="module")
def work(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("work")


def test_the_recipe_exports_a_world_that_opens_in_plain_diffusers(spec: WorldSpec, work: Path) -> None:
    target = pretrain(spec, SPRITES, work, work / "world", STAGES, lambda line: None)
    assert target is not None
    assert json.loads((target / "world.json").read_text())["world"] == spec.name
    pipeline = StableDiffusionPipeline.from_pretrained(target / "pipeline")
    pipeline.set_progress_bar_config(disable=True)
    image = pipeline("a cat face", num_inference_steps=2, height=32, width=32, output_type="np").images[0]
    assert image.shape == (32, 32, 3)
    assert (target / "judges" / "detector.json").is_file()


@pytest.mark.parametrize("world", ["tiny", "emoji"])
def test_shipped_weights_have_the_names_that_old_transformers_know(world: str) -> None:
    """Without this prefix transformers 4 fills the text encoder with random numbers and goes on."""
    folder = registry("worlds")[world].load()().pipeline_folder
    names = load_file(folder / "text_encoder" / "model.safetensors")
    assert all(name.startswith("text_model.") for name in names)


def test_a_retrained_model_shares_the_autoencoder_and_never_sees_what_is_left_out(
    spec: WorldSpec, work: Path
) -> None:
    less = spec.leave_out(["cat face"])
    target = pretrain(less, SPRITES, work, work / "less", STAGES, lambda line: None)
    assert target is not None
    assert json.loads((target / "retrained.json").read_text())["without"] == ["cat face"]
    assert not (target / "judges").exists()
    whole, retrained = (open_recipe(s, SPRITES, work / s.folder_name) for s in (spec, less))
    theirs = retrained.autoencoder.state_dict()
    assert all(torch.equal(tensor, theirs[name]) for name, tensor in whole.autoencoder.state_dict().items())
    cat = spec.subject_names.index("cat face")
    assert cat in whole.latents[1][:, 0].tolist()
    assert cat not in retrained.latents[1][:, 0].tolist()
    assert whole.tokenizer.get_vocab() == retrained.tokenizer.get_vocab()


def test_a_retrained_model_of_a_shipped_world_takes_the_autoencoder_that_ships(tmp_path: Path) -> None:
    """Trained anew it would cost half an hour, and differ from the published model's by its rounding."""
    less = load_spec("tiny").leave_out(["guitar"])
    pretrain(less, SPRITES, tmp_path, tmp_path / "world", ("autoencoder",), lambda line: None)
    assert [f.name for f in tmp_path.iterdir()] == [less.folder_name]
    ours = open_recipe(less, SPRITES, tmp_path / less.folder_name).autoencoder.state_dict()
    shipped = AutoencoderKL.from_pretrained(DATA / "tiny" / "pipeline" / "vae").state_dict()
    assert ours.keys() == shipped.keys()
    assert all(torch.equal(ours[name], tensor) for name, tensor in shipped.items())


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
def test_a_generator_trains_on_a_gpu_as_on_the_cpu(spec: WorldSpec, tmp_path: Path) -> None:
    """Both take the same steps from the same random numbers; they differ only by rounding."""
    weights = []
    for device in ("cpu", "cuda"):
        target = pretrain(
            spec, SPRITES, tmp_path / device, tmp_path / device / "world", ("export",), str, device
        )
        assert target is not None
        weights.append(load_file(target / "pipeline" / "unet" / "diffusion_pytorch_model.safetensors"))
    for name, ours in weights[0].items():
        assert torch.allclose(ours.float(), weights[1][name].float(), atol=1e-2), name


def test_the_denoiser_predicts_as_it_does_by_itself_where_no_graph_can_be_recorded(spec: WorldSpec) -> None:
    unet = build_unet(spec).eval()
    draw = torch.Generator().manual_seed(0)
    noisy = torch.randn((2, 4, spec.pixels // 4, spec.pixels // 4), generator=draw)
    times, states = torch.tensor([3, 500]), torch.randn((2, 24, spec.text.width), generator=draw)
    with torch.no_grad():
        assert torch.equal(make_predictor(unet)(noisy, times, states), unet(noisy, times, states).sample)

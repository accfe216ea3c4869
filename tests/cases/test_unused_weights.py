"""Model folders in every state that people have them: each opens whole and right, or is refused in a line."""

import json
import re
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file

from unlearnbench.bench.errors import UserError
from unlearnbench.bench.models.digests import network_parts
from unlearnbench.bench.models.generators import open_pipeline
from unlearnbench.bench.models.outside import check_there
from unlearnbench.bench.running.catalog import registry

UNET = "unet/diffusion_pytorch_model.safetensors"
TEXT = "text_encoder/model.safetensors"
VAE = "vae/diffusion_pytorch_model.safetensors"
Change = Callable[[Path], Any]


@pytest.fixture(scope="module")
def source() -> Path:
    return Path(registry("worlds")["tiny"].load()().pipeline_folder)


@pytest.fixture
def folder(source: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(source, tmp_path / "base"))


@pytest.fixture(scope="module")
def truth(source: Path) -> dict[str, torch.Tensor]:
    """Every tensor as its file has it, in float32, by component and name."""
    found = {}
    for path in sorted(source.glob("*/*.safetensors")):
        found |= {_key(path.parent.name, name): t.float() for name, t in load_file(path).items()}
    return found


def _key(part: str, name: str) -> str:
    """transformers 5 opens a text encoder without the first of its names' parts."""
    return f"{part}.{name.removeprefix('text_model.')}"


def _opened(folder: Path) -> dict[str, torch.Tensor]:
    parts = network_parts(open_pipeline(folder, "cpu")).items()
    return {_key(part, name): t for part, network in parts for name, t in network.state_dict().items()}


def _edit(path: Path, change: Callable[[dict[str, torch.Tensor]], Any]) -> None:
    tensors = load_file(path)
    change(tensors)
    save_file(tensors, path, metadata={"format": "pt"})


def _edit_json(path: Path, **values: Any) -> None:
    path.write_text(json.dumps(json.loads(path.read_text(encoding="utf-8")) | values), encoding="utf-8")


def _drop_some(path: Path) -> None:
    _edit(path, lambda tensors: tensors.pop(next(n for n in sorted(tensors) if n.endswith("weight"))))


def _cut(path: Path, by: int = 1000) -> None:
    path.write_bytes(path.read_bytes()[:-by])


def _rename(path: Path, variant: str) -> None:
    path.rename(path.with_name(f"{path.stem}.{variant}.safetensors"))


def _name_checker(folder: Path) -> None:
    _edit_json(
        folder / "model_index.json",
        safety_checker=["stable_diffusion", "StableDiffusionSafetyChecker"],
        feature_extractor=["transformers", "CLIPImageProcessor"],
        requires_safety_checker=True,
    )


def _pickled(folder: Path) -> None:
    torch.save(load_file(folder / UNET), folder / UNET.replace(".safetensors", ".bin"))
    (folder / UNET).unlink()


def _add_adapter(folder: Path) -> None:
    save_file({"spm.weight": torch.zeros(3)}, folder / "unet" / "adapter.safetensors")


def _double_variants(folder: Path) -> None:
    _rename(folder / UNET, "fp16")
    fp16 = folder / UNET.replace("model.", "model.fp16.")
    shutil.copy(fp16, fp16.with_name(fp16.name.replace("fp16", "ema")))


REFUSED: dict[str, tuple[Change, str]] = {
    "unet extra keys": (
        lambda f: _edit(f / UNET, lambda t: t.update({"foo.bar": torch.zeros(3)})),
        r"unet: no layer takes 1 tensors of its file, foo\.bar",
    ),
    "vae extra keys": (
        lambda f: _edit(f / VAE, lambda t: t.update({"decoder.adapter.weight": torch.zeros(3)})),
        r"vae: no layer takes 1 tensors .* decoder\.adapter\.weight",
    ),
    "text encoder extra keys": (
        lambda f: _edit(f / TEXT, lambda t: t.update({"text_model.adapter.weight": torch.zeros(3)})),
        r"text_encoder: no layer takes 1 tensors .*adapter\.weight",
    ),
    "unet missing keys": (lambda f: _drop_some(f / UNET), "unet: its file lacks 1 weights"),
    "vae missing keys": (lambda f: _drop_some(f / VAE), "vae: its file lacks 1 weights"),
    "text encoder missing keys": (lambda f: _drop_some(f / TEXT), "text_encoder: its file lacks 1 weights"),
    "unet other shape": (
        lambda f: _edit(f / UNET, lambda t: t.update({"conv_in.bias": torch.zeros(5)})),
        r"base/unet: does not open as UNet2DConditionModel",
    ),
    "text encoder other shape": (
        lambda f: _edit_json(f / "text_encoder/config.json", intermediate_size=48),
        r"text_encoder: ",
    ),
    "unet of other channels": (
        lambda f: _edit_json(f / "unet/config.json", layers_per_block=2),
        r"unet: does not open as UNet2DConditionModel",
    ),
    "unet truncated": (lambda f: _cut(f / UNET), r"unet/diffusion_pytorch_model\.safetensors: not a whole"),
    "vae truncated": (lambda f: _cut(f / VAE), r"vae/diffusion_pytorch_model\.safetensors: not a whole"),
    "text encoder truncated": (lambda f: _cut(f / TEXT), r"model\.safetensors: not a whole"),
    "unet empty": (lambda f: (f / UNET).write_bytes(b""), "not a whole safetensors file"),
    "unet no weights": (lambda f: (f / UNET).unlink(), "unet: .* is missing: the folder has no weights"),
    "text encoder no weights": (lambda f: (f / TEXT).unlink(), "text_encoder: .* no weights"),
    "pickles only": (_pickled, r"unet: diffusion_pytorch_model\.bin: weights are opened only"),
    "checker named but missing": (
        _name_checker,
        r"(safety_checker|feature_extractor)/ is missing; .*\[null, null\]",
    ),
    "adapter beside the unet": (_add_adapter, r"adapter\.safetensors: weights that nothing opens"),
    "two variants": (_double_variants, "has the variants ema, fp16 of its weights"),
    "adapter config": (
        lambda f: (f / "text_encoder/adapter_config.json").write_text("{}"),
        r"text_encoder/adapter_config\.json: a LoRA inside a component",
    ),
    "no unet config": (lambda f: (f / "unet/config.json").unlink(), r"unet/config\.json: is missing"),
    "no scheduler config": (
        lambda f: (f / "scheduler/scheduler_config.json").unlink(),
        r"scheduler/scheduler_config\.json: is missing",
    ),
    "quantised": (
        lambda f: _edit_json(f / "unet/config.json", quantization_config={"quant_method": "bitsandbytes"}),
        "quantization_config: quantised weights",
    ),
    "unet a link to nothing": (
        lambda f: ((f / UNET).unlink(), (f / UNET).symlink_to("/nowhere"))[0],
        "unet",
    ),
}


@pytest.mark.parametrize("state", REFUSED)
def test_a_folder_that_does_not_open_whole_is_refused(folder: Path, state: str) -> None:
    change, said = REFUSED[state]
    change(folder)
    with pytest.raises(UserError, match=said) as raised:
        open_pipeline(folder, "cpu")
    assert "\n" not in str(raised.value)
    assert str(folder) in str(raised.value)


EARLY = sorted(REFUSED.keys() - {state for state in REFUSED if re.search("keys|other", state)})


@pytest.mark.parametrize("state", EARLY)
def test_what_the_files_alone_tell_is_refused_before_anything_is_opened(folder: Path, state: str) -> None:
    REFUSED[state][0](folder)
    with pytest.raises(UserError):
        check_there(str(folder))


def _spread(folder: Path) -> None:
    open_pipeline(folder, "cpu").save_pretrained(folder, max_shard_size="100KB")
    (folder / UNET).unlink()
    assert len(list((folder / "unet").glob("*-of-*.safetensors"))) > 1


def _save_variant(folder: Path) -> None:
    pipeline = open_pipeline(folder, "cpu")
    for path in folder.glob("*/*.safetensors"):
        path.unlink()
    pipeline.save_pretrained(folder, variant="fp16", max_shard_size="100KB")
    assert list((folder / "unet").glob("*.fp16-*.safetensors"))


def _add_other_variant(folder: Path) -> None:
    other = {name: torch.zeros_like(tensor) for name, tensor in load_file(folder / UNET).items()}
    save_file(other, folder / UNET.replace("model.", "model.fp16."))


def _add_leftover(folder: Path) -> None:
    """Older versions of transformers saved a buffer that follows from the configuration alone."""
    places = {"embeddings.position_ids": torch.arange(16).unsqueeze(0)}
    _edit(folder / TEXT, lambda tensors: tensors.update(places))


def _add_cache(folder: Path) -> None:
    (folder / ".cache" / "huggingface" / "download").mkdir(parents=True)
    (folder / ".cache" / "huggingface" / "download" / "x.metadata").write_text("123")


OPENED: dict[str, Change] = {
    "as it is": lambda f: None,
    "fp16 only, sharded": _save_variant,
    "one component fp16 only": lambda f: _rename(f / UNET, "fp16"),
    "sharded": _spread,
    "both, differing": _add_other_variant,
    "old position ids": _add_leftover,
    "downloaded": _add_cache,
    "link to nothing that nobody reads": lambda f: (f / "unet" / "x.bin").symlink_to("/nowhere/x.bin"),
}


@pytest.mark.parametrize("state", OPENED)
def test_a_folder_that_opens_holds_what_lies_there(
    folder: Path, truth: dict[str, torch.Tensor], state: str
) -> None:
    OPENED[state](folder)
    check_there(str(folder))
    found = _opened(folder)
    assert found.keys() == truth.keys()
    assert all(torch.equal(found[name].float(), truth[name]) for name in truth)


def test_names_with_spaces_and_umlauts_open(source: Path, tmp_path: Path, truth: dict[str, Any]) -> None:
    folder = Path(shutil.copytree(source, tmp_path / "mein modell ü (1)"))
    check_there(str(folder))
    assert _opened(folder).keys() == truth.keys()


@pytest.mark.parametrize("damage", ["shard lost", "shard cut", "index names another", "index leads outside"])
def test_shards_are_whole_or_refused(folder: Path, damage: str) -> None:
    _spread(folder)
    shard = sorted((folder / "unet").glob("*-of-*.safetensors"))[0]
    index = folder / f"{UNET}.index.json"
    if damage == "shard lost":
        shard.unlink()
    elif damage == "shard cut":
        _cut(shard, 10)
    else:
        other = "../vae/diffusion_pytorch_model.safetensors" if damage.endswith("outside") else shard.name
        content = json.loads(index.read_text(encoding="utf-8"))
        name = next(n for n, file in content["weight_map"].items() if file != shard.name)
        content["weight_map"][name] = other
        index.write_text(json.dumps(content), encoding="utf-8")
    with pytest.raises(UserError, match="unet/diffusion_pytorch_model") as raised:
        check_there(str(folder))
    assert "\n" not in str(raised.value)

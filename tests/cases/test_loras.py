"""LoRAs arrive whole and at their own scale, or are refused: compared with weights merged by hand."""

import json
import shutil
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import save_file
from torch import Tensor

from unlearnbench.bench.cli.main import main
from unlearnbench.bench.errors import UserError
from unlearnbench.bench.models.generators import Generator, Sampling, open_pipeline
from unlearnbench.bench.models.lora import METADATA, check_lora, load_lora
from unlearnbench.bench.models.outside import check_there
from unlearnbench.bench.models.sampling import Request, draw_batch
from unlearnbench.bench.running.catalog import registry

from ..methods.families import build_family

SAMPLING = Sampling(4, 2.0, 32, 32)
REQUESTS = [Request("a cat face", 5), Request("a dog face", 6)]
Matrices = Mapping[str, tuple[Tensor, Tensor]]
BASE = Path(registry("worlds")["tiny"].load()().pipeline_folder)


def _draw(pipeline: Any) -> np.ndarray:
    return np.stack(draw_batch(Generator(pipeline, SAMPLING, ""), REQUESTS)).astype(int)


def _layers(network: Any, *ends: str) -> list[str]:
    names = [name for name, _ in network.named_parameters()]
    return [
        name.removesuffix(".weight") for name in names if name.endswith(tuple(f"{e}.weight" for e in ends))
    ]


def _make(network: Any, layers: list[str], rank: Callable[[int], int] = lambda i: 4) -> Matrices:
    generator = torch.Generator().manual_seed(1)
    weights, found = dict(network.named_parameters()), {}
    for number, layer in enumerate(layers):
        outputs, inputs = weights[f"{layer}.weight"].shape[:2]
        down = torch.randn(rank(number), inputs, generator=generator) * 0.3
        found[layer] = (down, torch.randn(outputs, rank(number), generator=generator) * 0.3)
    return found


@torch.no_grad()
def _merge(network: Any, matrices: Matrices, factor: float = 1.0) -> None:
    weights = dict(network.named_parameters())
    for layer, (down, up) in matrices.items():
        weights[f"{layer}.weight"] += factor * (up @ down).reshape(weights[f"{layer}.weight"].shape)


def _diffusers(matrices: Matrices, prefix: str = "unet.") -> dict[str, Tensor]:
    sides = [(layer, side, t) for layer, pair in matrices.items() for side, t in zip("AB", pair, strict=True)]
    return {f"{prefix}{layer}.lora_{side}.weight": t for layer, side, t in sides}


def _kohya(matrices: Matrices, alpha: float, prefix: str = "lora_unet_") -> dict[str, Tensor]:
    found = {}
    for layer, (down, up) in matrices.items():
        name = prefix + layer.replace(".", "_")
        found |= {f"{name}.lora_down.weight": down, f"{name}.lora_up.weight": up}
        found[f"{name}.alpha"] = torch.tensor(alpha)
    return found


def _name_texts(matrices: Matrices) -> Matrices:
    """Return the matrices under the names that text encoders had before transformers 5."""
    return {f"text_model.{layer.removeprefix('text_model.')}": pair for layer, pair in matrices.items()}


@pytest.fixture(scope="module")
def unet() -> Any:
    return open_pipeline(BASE, "cpu").unet


@pytest.fixture(scope="module")
def keys_and_values(unet: Any) -> list[str]:
    return _layers(unet, "attn2.to_k", "attn2.to_v")


def _check(tmp_path: Path, tensors: dict[str, Tensor], truth: Any, **saved: Any) -> None:
    path = tmp_path / saved.pop("name", "lora.safetensors")
    save_file(tensors, path, **saved)
    check_there(str(path))
    pipeline = open_pipeline(BASE, "cpu")
    before = _draw(pipeline)
    load_lora(pipeline, str(path))
    wanted, found = _draw(truth), _draw(pipeline)
    assert np.abs(found - wanted).max() <= 1
    assert np.abs(wanted - before).mean() > 1


@pytest.mark.parametrize("alpha", [1.0, 4.0, 8.0])
def test_kohyas_alphas_scale(tmp_path: Path, unet: Any, keys_and_values: list[str], alpha: float) -> None:
    matrices, truth = _make(unet, keys_and_values), open_pipeline(BASE, "cpu")
    _merge(truth.unet, matrices, alpha / 4)
    _check(tmp_path, _kohya(matrices, alpha), truth)


@pytest.mark.parametrize("ranks", [(2, 8), (8, 2), (1, 3)])
def test_mixed_ranks_without_alphas_count_once(
    tmp_path: Path, unet: Any, keys_and_values: list[str], ranks: tuple[int, int]
) -> None:
    matrices = _make(unet, keys_and_values, lambda number: ranks[number % 3 > 0])
    truth = open_pipeline(BASE, "cpu")
    _merge(truth.unet, matrices)
    _check(tmp_path, _diffusers(matrices), truth)


def test_convolutions_and_old_names_count(tmp_path: Path, unet: Any) -> None:
    matrices = _make(unet, _layers(unet, "attn1.to_q", "ff.net.2"))
    truth = open_pipeline(BASE, "cpu")
    _merge(truth.unet, matrices)
    _check(tmp_path, _diffusers(matrices), truth)


def test_a_text_encoders_lora_counts(tmp_path: Path) -> None:
    truth = open_pipeline(BASE, "cpu")
    layers = _layers(truth.text_encoder, *(f"self_attn.{part}_proj" for part in ("q", "k", "v", "out")))
    matrices = _make(truth.text_encoder, layers)
    named = _name_texts(matrices)
    _merge(truth.text_encoder, matrices, 0.5)
    _check(tmp_path, _kohya(named, 2.0, "lora_te_"), truth)


def test_both_networks_count(tmp_path: Path, unet: Any, keys_and_values: list[str]) -> None:
    truth = open_pipeline(BASE, "cpu")
    layers = _layers(truth.text_encoder, "self_attn.q_proj")
    texts, matrices = _make(truth.text_encoder, layers), _make(unet, keys_and_values)
    named = _name_texts(texts)
    _merge(truth.text_encoder, texts)
    _merge(truth.unet, matrices)
    _check(tmp_path, _diffusers(matrices) | _diffusers(named, "text_encoder."), truth)


@pytest.mark.parametrize(
    "settings", [{"lora_alpha": 2}, {"lora_alpha": 8}, {"lora_alpha": 2, "use_rslora": True}]
)
def test_a_configuration_in_the_file_scales(
    tmp_path: Path, unet: Any, keys_and_values: list[str], settings: dict[str, Any]
) -> None:
    matrices, truth = _make(unet, keys_and_values), open_pipeline(BASE, "cpu")
    told = {"r": 4, "target_modules": ["to_k", "to_v"], "rank_pattern": {}, "alpha_pattern": {}} | settings
    _merge(truth.unet, matrices, settings["lora_alpha"] / (2 if "use_rslora" in settings else 4))
    metadata = {METADATA: json.dumps({f"unet.{k}": v for k, v in told.items()}), "format": "pt"}
    _check(tmp_path, _diffusers(matrices), truth, metadata=metadata)


def test_pefts_own_names_are_refused(tmp_path: Path, unet: Any, keys_and_values: list[str]) -> None:
    """diffusers finds no layer by them, and reads no alpha from the `adapter_config.json` beside them."""
    path = tmp_path / "adapter_model.safetensors"
    save_file(_diffusers(_make(unet, keys_and_values), "base_model.model."), path)
    with pytest.raises(UserError, match=r"adapter_model\.safetensors: base_model.* save_lora_weights"):
        check_there(str(path))


def _others(unet: Any, layers: list[str]) -> dict[str, tuple[dict[str, Tensor], str]]:
    """Return files with tensors that diffusers drops or misreads, and the name that a refusal tells."""
    matrices = _make(unet, layers)
    pairs, kohya, weights = _diffusers(matrices), _kohya(matrices, 4.0), dict(unet.named_parameters())
    first, name = layers[0], "lora_unet_" + layers[0].replace(".", "_")
    ones, out = torch.ones(4), weights[f"{first}.weight"].shape[0]
    loha = {
        f"lora_unet_{layer.replace('.', '_')}.hada_{side}": torch.ones(4, 4)
        for layer in layers
        for side in ("w1_a", "w1_b", "w2_a", "w2_b")
    }
    lokr = {f"{name}.lokr_w1": torch.ones(2, 2), f"{name}.lokr_w2": torch.ones(2, 2)}
    partial = {f"{layer}.weight": weights[f"{layer}.weight"].detach() * 0.5 for layer in layers}
    return {
        "dora": (kohya | {f"{name}.dora_scale": ones}, "dora_scale"),
        "pefts dora": (pairs | {f"unet.{first}.lora_magnitude_vector": torch.ones(out)}, "lora_magnitude"),
        "loha": (loha, "hada_w1_a"),
        "lokr": (lokr, "lokr_w1"),
        "difference of a norm": (pairs | {"unet.mid_block.norm.diff": ones}, r"\.diff"),
        "difference of a bias": (pairs | {f"unet.{first}.diff_b": torch.ones(out)}, "diff_b"),
        "bias": (pairs | {f"unet.{first}.lora_B.bias": torch.ones(out)}, r"lora_B\.bias"),
        "words": (pairs | {"bundle_emb.word.string_to_param.*": torch.ones(2, 64)}, "bundle_emb"),
        "middle": (kohya | {f"{name}.lora_mid.weight": torch.ones(4, 4, 3, 3)}, "lora_mid"),
        "part of a unet": (partial, r"attn2\.to_k\.weight|attn2\.to_v\.weight"),
        "part of a unet, prefixed": ({f"unet.{k}": v for k, v in partial.items()}, r"unet\..*\.weight"),
        "matrix lost": ({k: v for k, v in pairs.items() if k != f"unet.{first}.lora_B.weight"}, "missing"),
        "alpha of no layer": (kohya | {"lora_unet_nowhere.alpha": torch.tensor(1.0)}, "nowhere"),
        "ranks that differ": (pairs | {f"unet.{first}.lora_B.weight": torch.ones(out, 3)}, "shapes"),
        "nothing": ({}, "no tensor"),
        "not finite": (pairs | {f"unet.{first}.lora_B.weight": torch.full((out, 4), torch.nan)}, "finite"),
        "a layer of another network": (
            {k.replace(first, first.replace("blocks.0", "blocks.9")): v for k, v in pairs.items()},
            "of its tensors belong|does not load",
        ),
    }


@pytest.mark.parametrize("kind", sorted(_others(open_pipeline(BASE, "cpu").unet, ["mid_block.attentions.0.transformer_blocks.0.attn2.to_k"])))  # fmt: skip  # noqa: E501
def test_what_would_be_dropped_is_refused(
    tmp_path: Path, unet: Any, keys_and_values: list[str], kind: str
) -> None:
    tensors, said = _others(unet, keys_and_values)[kind]
    path = tmp_path / "lora.safetensors"
    save_file({name: tensor.clone() for name, tensor in tensors.items()}, path)
    with pytest.raises(UserError, match=said) as raised:
        load_lora(open_pipeline(BASE, "cpu"), str(path))
    assert "lora.safetensors" in str(raised.value)
    assert "\n" not in str(raised.value)
    if kind not in ("not finite", "a layer of another network"):
        with pytest.raises(UserError, match=said):
            check_lora(path)


def test_a_wrong_scale_is_found(
    tmp_path: Path, unet: Any, keys_and_values: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """As older versions of diffusers load mixed ranks: one layer's scale is that of another rank."""
    from diffusers import StableDiffusionPipeline

    path, whole = tmp_path / "lora.safetensors", StableDiffusionPipeline.load_lora_weights
    save_file(_diffusers(_make(unet, keys_and_values)), path)

    def rescale(self: Any, *args: Any, **options: Any) -> None:
        whole(self, *args, **options)
        layer = next(m for m in self.unet.modules() if hasattr(m, "lora_A"))
        layer.scaling = {name: 4 * value for name, value in layer.scaling.items()}

    monkeypatch.setattr(StableDiffusionPipeline, "load_lora_weights", rescale)
    with pytest.raises(UserError, match="another scale"):
        load_lora(open_pipeline(BASE, "cpu"), str(path))


def test_a_pickle_beside_a_broken_file_is_not_read(
    tmp_path: Path, unet: Any, keys_and_values: list[str]
) -> None:
    tensors = _diffusers(_make(unet, keys_and_values))
    torch.save(tensors, tmp_path / "pytorch_lora_weights.bin")
    (tmp_path / "pytorch_lora_weights.safetensors").write_bytes(b"broken")
    with pytest.raises(UserError, match="not a whole safetensors file"):
        load_lora(open_pipeline(BASE, "cpu"), str(tmp_path))


def test_evaluate_refuses_before_anything_is_drawn(
    tmp_path: Path, unet: Any, keys_and_values: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    save_file(_others(unet, keys_and_values)["dora"][0], tmp_path / "dora.safetensors")
    places = ["--out", str(tmp_path / "r"), "--store", str(tmp_path / "s"), "--threads", "1"]
    command = ["evaluate", "--model", str(tmp_path / "dora.safetensors"), "--task", "classes/cat-face@tiny"]
    assert main([*command, *places]) != 0
    said = capsys.readouterr().err.strip()
    assert "dora_scale" in said
    assert len(said.splitlines()) == 1
    assert not (tmp_path / "s").exists()
    assert not list(tmp_path.glob("r/*.json"))


def test_a_folder_with_a_pipeline_and_a_lora_is_refused(
    tmp_path: Path, unet: Any, keys_and_values: list[str]
) -> None:
    shutil.copytree(BASE, tmp_path / "both")
    save_file(
        _diffusers(_make(unet, keys_and_values)), tmp_path / "both" / "pytorch_lora_weights.safetensors"
    )
    with pytest.raises(UserError, match="holds a pipeline and a LoRA"):
        check_there(str(tmp_path / "both"))


def test_a_matrix_that_diffusers_splits_arrives_whole(tmp_path: Path) -> None:
    """Flux's keys, queries and values are one matrix in kohya's files; diffusers moves alpha into it."""
    (tmp_path / "tokenizer").mkdir()
    pipeline = build_family("flux", tmp_path / "tokenizer")
    width = pipeline.transformer.transformer_blocks[0].attn.to_q.in_features
    generator = torch.Generator().manual_seed(0)
    name = "lora_unet_double_blocks_0_img_attn_qkv"
    tensors = {
        f"{name}.lora_down.weight": torch.randn(4, width, generator=generator),
        f"{name}.lora_up.weight": torch.randn(3 * width, 4, generator=generator),
        f"{name}.alpha": torch.tensor(1.0),
    }
    save_file(tensors, tmp_path / "flux.safetensors")
    load_lora(pipeline, str(tmp_path / "flux.safetensors"))
    added = pipeline.transformer.transformer_blocks[0].attn.to_k.get_delta_weight("default_0")
    truth = 0.25 * tensors[f"{name}.lora_up.weight"] @ tensors[f"{name}.lora_down.weight"]
    assert torch.allclose(added, truth[width : 2 * width], atol=1e-5)

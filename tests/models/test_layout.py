"""A model folder runs no code of its own, and a malformed one is one line."""

import json
import shutil
import sys
from pathlib import Path
from typing import Any

import pytest

from unlearnbench.bench.cli.main import main
from unlearnbench.bench.errors import UserError
from unlearnbench.bench.models.generators import open_pipeline
from unlearnbench.bench.models.layout import read_layout
from unlearnbench.bench.models.outside import check_there
from unlearnbench.bench.running.catalog import registry

from ..methods.families import FAMILIES, build_family
from ..methods.tiny import build_pipeline

EVIL = """
from pathlib import Path
Path(__file__).with_name("ran").write_text("ran")
from diffusers import StableDiffusionPipeline as Evil, UNet2DConditionModel
"""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    world = registry("worlds")["tiny"].load()()
    return Path(shutil.copytree(world.pipeline_folder, tmp_path / "model"))


def _index(folder: Path, **values: Any) -> None:
    path = folder / "model_index.json"
    path.write_text(json.dumps(json.loads(path.read_text(encoding="utf-8")) | values), encoding="utf-8")


def _refuse(folder: Path, said: str) -> None:
    for attempt in (lambda: check_there(str(folder)), lambda: open_pipeline(folder, "cpu")):
        with pytest.raises(UserError, match=said) as raised:
            attempt()
        assert "\n" not in str(raised.value)
    assert not list(folder.rglob("ran"))
    assert "evil" not in sys.modules


CODE: dict[str, tuple[str, dict[str, Any], str]] = {
    "component of its own": ("unet/evil.py", {"unet": ["evil", "UNet2DConditionModel"]}, "evil"),
    "component under a library's name": ("unet/diffusers.py", {}, r"diffusers\.py: is code"),
    "tokenizer under a library's name": ("tokenizer/transformers.py", {}, r"transformers\.py: is code"),
    "class of its own": ("evil.py", {"_class_name": ["evil", "Evil"]}, r"evil\.py: is code|a list"),
    "the file that an unset name leads to": ("None.py", {}, r"None\.py: is code"),
    "a custom pipeline": ("pipeline.py", {"custom_pipeline": "pipeline"}, "code"),
}


@pytest.mark.parametrize("kind", CODE)
def test_a_folder_runs_no_code_of_its_own(folder: Path, kind: str) -> None:
    place, index, said = CODE[kind]
    (folder / place).write_text(EVIL)
    _index(folder, **index)
    _refuse(folder, said)


INDEXES: dict[str, tuple[dict[str, Any], str]] = {
    "class list": ({"_class_name": ["evil", "Evil"]}, "_class_name: is a list"),
    "class null": ({"_class_name": None}, "_class_name: is null"),
    "class number": ({"_class_name": 3}, "_class_name: is a number"),
    "class unknown": ({"_class_name": "EvilPipeline"}, "diffusers has no pipeline of this name"),
    "class is no pipeline": ({"_class_name": "UNet2DConditionModel"}, "no pipeline of this name"),
    "class is a path": ({"_class_name": "../evil.Evil"}, "no pipeline of this name"),
    "class of images": ({"_class_name": "StableDiffusionImg2ImgPipeline"}, "not a text-to-image"),
    "class of any kind": ({"_class_name": "DiffusionPipeline"}, "not a text-to-image"),
    "class of numbers": ({"_class_name": "DDPMPipeline"}, "not a text-to-image"),
    "library of the system": ({"unet": ["os", "system"]}, "'os': components are only of diffusers"),
    "library of somebody": ({"unet": ["evil.module", "UNet"]}, "components are only of diffusers"),
    "library by a path": ({"unet": ["../evil", "UNet"]}, "components are only of diffusers"),
    "submodule of diffusers": ({"unet": ["pipeline_utils", "os"]}, "unet"),
    "no such class": ({"unet": ["diffusers", "EvilNet"]}, "has no 'EvilNet'"),
    "a function": ({"unet": ["diffusers", "logging"]}, "has no 'logging'"),
    "an automatic class": ({"tokenizer": ["transformers", "AutoTokenizer"]}, "has no 'AutoTokenizer'"),
    "an automatic model": ({"text_encoder": ["transformers", "AutoModel"]}, "has no 'AutoModel'"),
    "class of another kind": ({"unet": ["transformers", "CLIPTextModel"]}, "can be a unet"),
    "empty list": ({"unet": []}, r"unet: needed: \[library, class\]"),
    "one item": ({"unet": ["diffusers"]}, r"unet: needed: \[library, class\]"),
    "three items": ({"unet": ["diffusers", "UNet2DConditionModel", "x"]}, "unet: needed"),
    "numbers": ({"unet": [1, 2]}, "unet: needed"),
    "half null": ({"unet": [None, "UNet2DConditionModel"]}, "unet: needed"),
    "null": ({"unet": None}, "unet: needed"),
    "text": ({"vae": "AutoencoderKL"}, "vae: needed"),
    "object": ({"vae": {"diffusers": "AutoencoderKL"}}, "vae: needed"),
    "none of it": ({"vae": [None, None]}, "vae: not named"),
    "a component more": (
        {"text_encoder_2": ["transformers", "CLIPTextModel"]},
        "text_encoder_2: no component",
    ),
    "a component outside": ({"../unet": ["diffusers", "UNet2DConditionModel"]}, "no component"),
}


@pytest.mark.parametrize("kind", INDEXES)
def test_an_index_names_what_diffusers_has(folder: Path, kind: str) -> None:
    index, said = INDEXES[kind]
    _index(folder, **index)
    _refuse(folder, said)


CONTENTS: dict[str, tuple[bytes, str]] = {
    "list": (b"[1, 2]", "holds a list"),
    "null": (b"null", "holds null"),
    "number": (b"7", "holds a number"),
    "text": (b'"x"', "holds text"),
    "empty": (b"", "not valid JSON"),
    "half": (b'{"_class_name": ', "not valid JSON"),
    "bytes": (b'{"_class_name": "\xff\xfe"}', "not UTF-8"),
    "utf-16": ('{"a": 1}'.encode("utf-16"), "not UTF-8"),
    "mark": (b'\xef\xbb\xbf{"a": 1}', "byte order mark"),
    "deep": (b"[" * 200_000, "not valid JSON"),
    "long": (b'{"a": ' + b"1" * 5000 + b"}", "not valid JSON"),
}


@pytest.mark.parametrize("name", ["model_index.json", "unet/config.json", "scheduler/scheduler_config.json"])
@pytest.mark.parametrize("kind", CONTENTS)
def test_a_file_that_is_no_object_is_refused(folder: Path, kind: str, name: str) -> None:
    content, said = CONTENTS[kind]
    (folder / name).write_bytes(content)
    _refuse(folder, f"{name}: .*{said}|{name}: {said}")


CONFIGS: dict[str, tuple[str, dict[str, Any], str]] = {
    "auto map": ("text_encoder/config.json", {"auto_map": {"AutoModel": "evil.Evil"}}, "auto_map"),
    "auto map of a unet": ("unet/config.json", {"auto_map": {"AutoModel": "evil.Evil"}}, "auto_map"),
    "auto map of a tokenizer": ("tokenizer/tokenizer_config.json", {"auto_map": ["evil.Evil"]}, "auto_map"),
    "nested auto map": ("text_encoder/config.json", {"text_config": {"auto_map": {"A": "b"}}}, "auto_map"),
    "trust": ("unet/config.json", {"trust_remote_code": True}, "trust_remote_code"),
    "a kernel": ("text_encoder/config.json", {"attn_implementation": "evil/kernel"}, "attn_implementation"),
    "a kernel inside": (
        "text_encoder/config.json",
        {"text_config": {"_attn_implementation": "flash_attention_2"}},
        "_attn_implementation",
    ),
    "class list": ("unet/config.json", {"_class_name": ["evil", "UNet"]}, "_class_name: is a list"),
    "automatic tokenizer": ("tokenizer/tokenizer_config.json", {"tokenizer_class": "AutoTokenizer"}, "class"),
}


@pytest.mark.parametrize("kind", CONFIGS)
def test_a_configuration_refers_to_no_code(folder: Path, kind: str) -> None:
    name, values, said = CONFIGS[kind]
    path = folder / name
    path.write_text(json.dumps(json.loads(path.read_text(encoding="utf-8")) | values), encoding="utf-8")
    _refuse(folder, said)


@pytest.mark.parametrize("content", [b"[1, 2]", b'{"unet": []}', b"\xef\xbb\xbf{}", b"\xff"])
def test_a_malformed_index_is_one_line_of_the_command(
    folder: Path, tmp_path: Path, content: bytes, capsys: pytest.CaptureFixture[str]
) -> None:
    (folder / "model_index.json").write_bytes(content)
    for command in (
        ["evaluate", "--model", str(folder), "--task", "classes/cat-face@tiny"],
        ["unlearn", "--model", str(folder), "--concept", "a cat", "--out", str(tmp_path / "out")],
    ):
        status = main(command if "--out" in command else [*command, "--out", str(tmp_path / "records")])
        said = capsys.readouterr().err.strip()
        assert status != 0
        assert "model_index.json" in said
        assert len(said.splitlines()) == 1


@pytest.mark.parametrize("family", ["sd", *FAMILIES])
def test_every_family_opens_as_it_was_saved(family: str, tmp_path: Path) -> None:
    (tmp_path / "tokenizer").mkdir()
    built = (build_pipeline if family == "sd" else lambda place: build_family(family, place))(
        tmp_path / "tokenizer"
    )
    built.save_pretrained(tmp_path / "model")
    layout = read_layout(tmp_path / "model")
    assert layout.pipeline is type(built)
    check_there(str(tmp_path / "model"))
    opened = open_pipeline(tmp_path / "model", "cpu")
    assert {n for n, part in opened.components.items() if part is not None} == set(layout.components)


def test_a_feature_extractor_under_its_old_name_is_known(folder: Path) -> None:
    from transformers import CLIPImageProcessor

    CLIPImageProcessor().save_pretrained(folder / "feature_extractor")
    _index(folder, feature_extractor=["transformers", "CLIPFeatureExtractor"])
    opened = open_pipeline(folder, "cpu")
    assert type(opened.feature_extractor).__name__.startswith("CLIPImageProcessor")

"""A judge behind an OpenAI-compatible server, against a tiny one on this machine."""

import base64
import io
import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import pandas as pd
import pytest
from PIL import Image

import unlearnbench as ub
from unlearnbench.bench.cli.main import main
from unlearnbench.bench.judges.served import ServedJudge
from unlearnbench.bench.judges.served_embedding import EmbeddingJudge
from unlearnbench.bench.planning.own import read_own_entry
from unlearnbench.bench.source import source_digest

SHADES = {0: "Cat face.", 50: "none", 100: "a cat, I think", 255: "**house**"}
"""Shade of an image -> what the server says about it."""


VECTORS: dict[int | str, list[Any] | None] = {
    "a photo of cat face": [2, 0, 0],
    "a photo of house": [0, 3, 0],
    0: [5, 1, 0],  # cosines 5 / sqrt(26) and 1 / sqrt(26)
    50: [1, 1, 1],  # as near to one name as to the other
    100: [1, 2],  # another width
    150: [0, 0, 0],
    200: [1, None, 0],
    7: None,  # refused
}
"""What is embedded, a text or an image's shade -> its vector."""


def shade_of(parts: list[dict[str, Any]]) -> int:
    """Return the first pixel of the image in a message."""
    [picture] = [part for part in parts if part["type"] == "image_url"]
    data = base64.b64decode(picture["image_url"]["url"].partition(",")[2])
    return int(np.asarray(Image.open(io.BytesIO(data)))[0, 0, 0])


class Handler(BaseHTTPRequestHandler):
    """Looks at the first pixel of the image that it is sent, or at the text."""

    asked: ClassVar[list[dict[str, Any]]] = []

    def do_POST(self) -> None:
        content = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        Handler.asked.append(content)
        parts = content["messages"][0]["content"]
        status = 500 if content["model"] == "broken" else 200
        reply: dict[str, Any]
        if self.path == "/v1/embeddings":
            is_text = parts[0]["type"] == "text"
            vector = VECTORS.get(parts[0]["text"] if is_text else shade_of(parts), [0, 0, 1])
            status = 400 if vector is None else status
            reply = {"data": [{"embedding": vector}]}
        else:
            assert [part["type"] for part in parts] == ["text", "image_url"]
            reply = {"choices": [{"message": {"content": SHADES.get(shade_of(parts), "none")}}]}
        body = json.dumps(reply if status == 200 else {"error": "no such model"}).encode()
        self.send_response(status)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        """Say nothing."""


@pytest.fixture
def url() -> Iterator[str]:
    server = HTTPServer(("127.0.0.1", 0), Handler)
    Handler.asked.clear()
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}/v1"
    server.shutdown()
    server.server_close()


def shades(*values: int) -> np.ndarray:
    return np.stack([np.full((8, 8, 3), value, np.uint8) for value in values])


def test_answers_are_names_nothing_or_missing(url: str) -> None:
    judge = ServedJudge(url, "vlm", "subject", ["cat face", "house"])
    found = judge.judge(shades(0, 50, 100, 255)).found["subject"].tolist()
    assert found[:2] + found[3:] == ["cat face", "", "house"]
    assert pd.isna(found[2]), "what is none of the choices is missing, not forgotten"
    asked = Handler.asked[0]
    assert asked["model"] == "vlm"
    assert asked["temperature"] == 0
    assert "cat face; house" in asked["messages"][0]["content"][0]["text"]


def test_features_are_the_embedders(url: str) -> None:
    class Embedder:
        def embed_images(self, images: Any) -> np.ndarray:
            return np.arange(len(images) * 2, dtype=np.float32).reshape(-1, 2)

        def embed_prompts(self, prompts: list[str]) -> np.ndarray:
            raise AssertionError

    judge = ServedJudge(url, "vlm", "subject", ["house"], embedder=Embedder())
    assert judge.judge(shades(0, 50)).features.tolist() == [[0, 1], [2, 3]]


def test_a_server_that_fails_is_named(url: str) -> None:
    with pytest.raises(ub.UserError, match=r"broken at http.*: 500 .*no such model"):
        ServedJudge(url, "broken", "subject", ["house"]).judge(shades(0))
    with pytest.raises(ub.UserError, match="start the server, or mend the address"):
        ServedJudge("http://127.0.0.1:9/v1", "vlm", "subject", ["house"]).judge(shades(0))
    with pytest.raises(ub.UserError, match="give the address of a server"):
        ServedJudge("127.0.0.1:8000", "vlm", "subject", ["house"])


def test_embeddings_name_the_nearest_nothing_or_missing(url: str) -> None:
    judge = EmbeddingJudge(url, "clip", "subject", ["cat face", "house"], temperature=0.5, threshold=0.6)
    said = judge.judge(shades(0, 50, 100, 150, 200, 7))
    # exp(5/sqrt(26)/.5) / (exp(5/sqrt(26)/.5) + exp(1/sqrt(26)/.5)) = .828, and 1/2 for the second image
    assert said.found["subject"].tolist()[:2] == ["cat face", ""]
    assert said.found["subject"].isna().tolist() == [False, False, True, True, True, True]
    np.testing.assert_allclose(said.features[0], [5 / 26**0.5, 1 / 26**0.5, 0], atol=1e-6)
    assert np.isnan(said.features[2:]).all(), "no features of what failed"
    text, image = Handler.asked[0], Handler.asked[2]
    assert text["messages"][0]["content"] == [{"type": "text", "text": "a photo of cat face"}]
    assert [part["type"] for part in image["messages"][0]["content"]] == ["image_url"]
    assert image["model"] == "clip"
    assert image["encoding_format"] == "float"


def test_temperature_threshold_and_instruction_decide(url: str) -> None:
    def ask(**settings: Any) -> str:
        judge = EmbeddingJudge(url, "clip", "subject", ["cat face", "house"], **settings)
        return str(judge.judge(shades(0)).found["subject"][0])

    assert ask(temperature=0.5, threshold=0.82) == "cat face"
    assert ask(temperature=0.5, threshold=0.84) == ""
    assert ask(temperature=0.1, threshold=0.84) == "cat face"
    assert ask(instruction="Represent the given image.") == "cat face"
    parts = Handler.asked[-1]["messages"][0]["content"]
    assert [part["type"] for part in parts] == ["image_url", "text"]
    assert parts[1]["text"] == "Represent the given image."


def test_a_wrong_embedding_judge_is_refused_before_any_image(url: str) -> None:
    names = ["cat face", "house"]
    with pytest.raises(ub.UserError, match=r"broken at http.*: 500 .*no such model"):
        EmbeddingJudge(url, "broken", "subject", names)
    with pytest.raises(ub.UserError, match="start the server, or mend the address"):
        EmbeddingJudge("http://127.0.0.1:9/v1", "clip", "subject", names)
    with pytest.raises(ub.UserError, match=r"names: .*two or more"):
        EmbeddingJudge(url, "clip", "subject", names[:1])
    with pytest.raises(ub.UserError, match="temperature 0 must be above 0"):
        EmbeddingJudge(url, "clip", "subject", names, temperature=0)
    with pytest.raises(ub.UserError, match=r"needs a place \{name\}"):
        EmbeddingJudge(url, "clip", "subject", names, phrase="a photo")
    assert all(part["type"] == "text" for asked in Handler.asked for part in asked["messages"][0]["content"])


def test_everything_that_decides_an_answer_is_in_the_key(tmp_path: Path) -> None:
    path, keys = tmp_path / "near.py", list[str]()
    command = ["new", "judge", "near", "--server", "http://127.0.0.1:8000/v1", "--model", "clip"]
    assert main([*command, "--embedding", "--out", str(path)]) == 0
    text = path.read_text()
    for number, (old, new) in enumerate(
        (
            ("clip", "clip"),
            ('MODEL = "clip"', 'MODEL = "siglip"'),
            ("THRESHOLD = 0.5", "THRESHOLD = 0.6"),
            ("TEMPERATURE = 0.01", "TEMPERATURE = 0.02"),
            ("NAMES = []", 'NAMES = ["fish"]'),
        )
    ):
        assert old in text
        changed = tmp_path / str(number) / "near.py"
        changed.parent.mkdir()
        changed.write_text(text.replace(old, new))
        keys.append(source_digest(read_own_entry(changed, "judges").module))
    assert len(set(keys)) == len(keys)
    assert keys[0] == source_digest(read_own_entry(path, "judges").module), "its folder decides nothing"


@pytest.mark.parametrize("option", [[], ["--embedding"]])
def test_a_task_file_names_a_served_judge(
    option: list[str], url: str, tmp_path: Path, session_store: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    assert main(["new", "task", "dog face", "--world", "tiny"]) == 0
    assert main(["new", "judge", "vlm", "--server", url, "--model", "tiny-vlm", *option]) == 0
    judge = tmp_path / "vlm.py"
    judge.write_text(judge.read_text().replace("NAMES = []", 'NAMES = ["cat face", "house"]'))
    path = tmp_path / "dog_face.toml"
    path.write_text(path.read_text().replace('"emoji-detector@1"', '"vlm.py@1"'))
    sizes = {"forget": 2, "forget_samples": 1, "retain_same": 1, "retain_other": 1, "retain_given": 1}
    record = ub.run(
        methods=["none"],
        sizes=sizes,
        out=tmp_path / "records",
        store=session_store,
        threads=1,
        world=ub.WorldSettings(task_files=(path,)),
    )[0]
    assert record.status == "ok"
    assert record.task.judge == "vlm@1"
    assert {asked["model"] for asked in Handler.asked} == {"tiny-vlm"}
    parts = [part for asked in Handler.asked for part in asked["messages"][0]["content"]]
    assert sum(part["type"] == "image_url" for part in parts) == len(record.items)
    assert not record.items["target_found"][:2].isna().any()

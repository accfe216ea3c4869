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

SHADES = {0: "Cat face.", 50: "none", 100: "a cat, I think", 255: "**house**"}
"""Shade of an image -> what the server says about it."""


class Handler(BaseHTTPRequestHandler):
    """Looks at the first pixel of the image that it is sent."""

    asked: ClassVar[list[dict[str, Any]]] = []

    def do_POST(self) -> None:
        content = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        Handler.asked.append(content)
        text, picture = content["messages"][0]["content"]
        assert text["type"] == "text"
        data = base64.b64decode(picture["image_url"]["url"].partition(",")[2])
        shade = int(np.asarray(Image.open(io.BytesIO(data)))[0, 0, 0])
        status = 500 if content["model"] == "broken" else 200
        reply = {"choices": [{"message": {"content": SHADES.get(shade, "none")}}]}
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


def test_a_task_file_names_a_served_judge(
    url: str, tmp_path: Path, session_store: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    assert main(["new", "task", "dog face", "--world", "tiny"]) == 0
    assert main(["new", "judge", "vlm", "--server", url, "--model", "tiny-vlm"]) == 0
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
    assert len(Handler.asked) == len(record.items)

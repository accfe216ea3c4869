"""Judges on a server of the user's, asked by the OpenAI-compatible interface: a vision-language model.

vLLM, llama.cpp, Ollama and others serve models so. A judge file of the user's names address, model and
question (`unlearnbench new judge NAME --server URL --model NAME`), and its source is part of every key.
`served_embedding.py` asks such a server for embeddings.
"""

import base64
import io
import json
import re
import urllib.error
import urllib.request
from collections.abc import Sequence
from typing import Any

import numpy as np
from PIL import Image

from ..errors import UserError
from ..planning.concept_names import name_key
from .types import NOTHING, JointEmbedder, Verdicts, verdicts_of

NONE = "none"
"""The answer by which the model says that an image shows none of the names."""
QUESTION = "Which one of these does the image show: {names}? Answer with exactly one of them, or with: none."
MOST_TOKENS, TIMEOUT = 40, 120.0
ADDRESS = re.compile(r"https?://[^/\s]")
"""How the address of a server begins."""


class RefusedError(UserError):
    """The server is there, and answered a request with an error."""


class Server:
    """Asks one model on a server. url: of the interface, such as `http://127.0.0.1:8000/v1`. model: as the
    server names it."""

    def __init__(self, url: str, model: str) -> None:
        if not ADDRESS.match(url):
            raise UserError(f"judge: {url}: give the address of a server, such as http://127.0.0.1:8000/v1")
        self.url, self.model = url.rstrip("/"), model

    def ask(self, path: str, parts: Sequence[dict[str, Any]], **settings: Any) -> Any:
        """Post one message of these parts; return the answer, read from JSON.

        Raises UserError where the server does not answer in JSON, `RefusedError` where it answers with an
        error.
        """
        content = {"model": self.model, "messages": [{"role": "user", "content": list(parts)}], **settings}
        answer = self._post(path, content)
        try:
            return json.loads(answer)
        except ValueError:
            raise self.unknown(answer.decode("utf-8", "replace")) from None

    def unknown(self, answer: object) -> UserError:
        """Return the error of an answer that is not of the interface."""
        return UserError(f"judge: {self.url}: not an answer of this interface: {str(answer)[:100]!r}")

    def _post(self, path: str, content: dict[str, Any]) -> bytes:
        headers = {"Content-Type": "application/json"}
        request = urllib.request.Request(self.url + path, json.dumps(content).encode(), headers)
        kind: type[UserError] = UserError
        try:
            with urllib.request.urlopen(request, timeout=TIMEOUT) as answer:
                return bytes(answer.read())
        except urllib.error.HTTPError as error:
            text = error.read(300).decode("utf-8", "replace")
            reason, kind = f"{error.code} {' '.join(text.split())}", RefusedError
        except (urllib.error.URLError, OSError) as error:
            reason = str(getattr(error, "reason", error))
        raise kind(f"judge: {self.model} at {self.url}: {reason}; start the server, or mend the address")


def text_part(text: str) -> dict[str, Any]:
    """Return a text as a part of a message."""
    return {"type": "text", "text": text}


def image_part(image: np.ndarray) -> dict[str, Any]:
    """Return an image (H, W, 3) uint8 as a part of a message: a PNG in the address itself."""
    buffer = io.BytesIO()
    Image.fromarray(image).save(buffer, "PNG")
    data = f"data:image/png;base64,{base64.b64encode(buffer.getvalue()).decode()}"
    return {"type": "image_url", "image_url": {"url": data}}


class ServedJudge:
    """Asks about each image which of some names it shows.

    url, model: of `Server`. kind: of the names: subject or style. question: with a place `{names}`. embedder:
    gives the features that distances compare; None = mean colours. An answer that is neither one of the names
    nor `none` is missing, as for a judge that failed; where the server does not answer, a UserError says so:
    nothing counts as forgotten.
    """

    def __init__(
        self,
        url: str,
        model: str,
        kind: str,
        names: Sequence[str],
        question: str = QUESTION,
        embedder: JointEmbedder | None = None,
    ) -> None:
        if "{names}" not in question:
            raise UserError("judge: question: needs a place {names}")
        self.server, self.kind = Server(url, model), kind
        self.answers = {name_key(name): name for name in names} | {NONE: NOTHING}
        self.text = question.format(names="; ".join(names))
        self.embedder = embedder

    def judge(self, images: np.ndarray) -> Verdicts:
        """Judge images (n, H, W, 3) uint8."""
        answers = [self._answer(image) for image in images]
        if self.embedder is None:
            features = images.mean(axis=(1, 2)).astype(np.float32) / 255
        else:
            features = self.embedder.embed_images(images)
        return verdicts_of(self.kind, answers, features)  # type: ignore[arg-type]

    def _answer(self, image: np.ndarray) -> str | None:
        """Return the name that an image shows, NOTHING, or None where the answer is none of the choices."""
        said = self._ask(image).strip().strip("\"'`*.!").strip()
        return self.answers.get(name_key(said))

    def _ask(self, image: np.ndarray) -> str:
        parts = [text_part(self.text), image_part(image)]
        answer = self.server.ask("/chat/completions", parts, temperature=0, seed=0, max_tokens=MOST_TOKENS)
        try:
            return str(answer["choices"][0]["message"]["content"])
        except (LookupError, TypeError):
            raise self.server.unknown(answer) from None

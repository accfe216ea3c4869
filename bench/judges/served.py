"""A judge that asks a vision-language model on a server of the user's, by the OpenAI-compatible interface.

vLLM, llama.cpp, Ollama and others serve models so. A judge file of the user's names address, model and
question (`unlearnbench new judge NAME --server URL --model NAME`), and its source is part of every key.
"""

import base64
import io
import json
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


class ServedJudge:
    """Asks about each image which of some names it shows.

    url: of the interface, such as `http://127.0.0.1:8000/v1`. model: as the server names it. kind: of the
    names: subject or style. question: with a place `{names}`. embedder: gives the features that distances
    compare; None = mean colours. An answer that is neither one of the names nor `none` is missing, as for a
    judge that failed; where the server does not answer, a UserError says so: nothing counts as forgotten.
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
        if not url.startswith(("http://", "https://")):
            raise UserError(f"judge: {url}: give the address of a server, such as http://127.0.0.1:8000/v1")
        if "{names}" not in question:
            raise UserError("judge: question: needs a place {names}")
        self.url, self.model, self.kind = url.rstrip("/"), model, kind
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
        buffer = io.BytesIO()
        Image.fromarray(image).save(buffer, "PNG")
        data = f"data:image/png;base64,{base64.b64encode(buffer.getvalue()).decode()}"
        parts = [{"type": "text", "text": self.text}, {"type": "image_url", "image_url": {"url": data}}]
        content = {
            "model": self.model,
            "messages": [{"role": "user", "content": parts}],
            "temperature": 0,
            "seed": 0,
            "max_tokens": MOST_TOKENS,
        }
        return self._read(self._post("/chat/completions", content))

    def _post(self, path: str, content: dict[str, Any]) -> bytes:
        headers = {"Content-Type": "application/json"}
        request = urllib.request.Request(self.url + path, json.dumps(content).encode(), headers)
        try:
            with urllib.request.urlopen(request, timeout=TIMEOUT) as answer:
                return bytes(answer.read())
        except urllib.error.HTTPError as error:
            text = error.read(300).decode("utf-8", "replace")
            reason = f"{error.code} {' '.join(text.split())}"
        except (urllib.error.URLError, OSError) as error:
            reason = str(getattr(error, "reason", error))
        raise UserError(f"judge: {self.model} at {self.url}: {reason}; start the server, or mend the address")

    def _read(self, answer: bytes) -> str:
        try:
            return str(json.loads(answer)["choices"][0]["message"]["content"])
        except (ValueError, LookupError, TypeError):
            said = answer[:100].decode("utf-8", "replace")
            raise UserError(f"judge: {self.url}: not an answer of a chat interface: {said!r}") from None

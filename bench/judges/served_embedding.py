"""A judge by the embeddings of a model on a server of the user's: the nearest of a task's names.

OpenAI's `/v1/embeddings` takes texts only. vLLM documents how it takes images: `messages`, as in a chat, in
the place of `input`, with one `image_url` part ("Chat Embeddings"; docs.vllm.ai, "OpenAI-Compatible Server",
section "Multi-modal inputs" of the embeddings API). This judge sends images and texts in that form, one a
request. Infinity's form (`input` with `modality`) is another one, and is not sent.
"""

from collections.abc import Sequence

import numpy as np

from ..errors import UserError
from .served import RefusedError, Server, image_part, text_part
from .types import NOTHING, Verdicts, verdicts_of

TEMPERATURE, THRESHOLD = 0.01, 0.5
"""Cosines are divided by the temperature before the softmax: .01 is the one that CLIP was trained to. The
threshold is on the softmax over the names, which is 1/n for each where none of n is nearer than another."""


class EmbeddingJudge:
    """Names what is nearest to an image in a model's embeddings, or `nothing known` where none is near.

    url, model: of `Server`. kind: of the names: subject or style. phrase: with a place `{name}`, what is
    embedded for a name. instruction: text that is sent with each image, "" = none: models that follow
    instructions need one (`Represent the given image.`). threshold: an answer with a smaller softmax of
    cosine / temperature over the names is `nothing known`; with one name it is always 1, so give several.
    Neither number is calibrated: look at the base model's images before you trust them.

    The names are embedded when the judge is opened, so a wrong address or model is a UserError before
    anything is drawn. An image that the server refuses, or whose embedding has another width, is zero or is
    not finite, is missing, with NaN as features. Where the server does not answer any more, a UserError ends
    the cell.
    """

    def __init__(
        self,
        url: str,
        model: str,
        kind: str,
        names: Sequence[str],
        phrase: str = "a photo of {name}",
        instruction: str = "",
        temperature: float = TEMPERATURE,
        threshold: float = THRESHOLD,
    ) -> None:
        if "{name}" not in phrase:
            raise UserError("judge: phrase: needs a place {name}")
        if len(names) < 2:
            raise UserError("judge: names: an embedding judge needs two or more; add alternatives to NAMES")
        if not (temperature > 0 and 0 <= threshold <= 1):
            raise UserError(
                f"judge: temperature {temperature:g} must be above 0, threshold {threshold:g} in 0 to 1"
            )
        self.server, self.kind, self.names, self.instruction = Server(url, model), kind, [*names], instruction
        self.temperature, self.threshold = temperature, threshold
        found = [self._embed([text_part(phrase.format(name=name))]) for name in names]
        if any(row is None or found[0] is None or row.shape != found[0].shape for row in found):
            raise UserError(f"judge: {model} at {self.server.url}: embeds a name as no vector of unit length")
        self.texts = np.stack([row for row in found if row is not None])

    def judge(self, images: np.ndarray) -> Verdicts:
        """Judge images (n, H, W, 3) uint8; features: the embeddings, at unit length."""
        features = np.full((len(images), self.texts.shape[1]), np.nan, dtype=np.float32)
        asked = [text_part(self.instruction)] if self.instruction else []
        for place, image in enumerate(images):
            try:
                row = self._embed([image_part(image), *asked])
            except RefusedError:
                continue
            if row is not None and len(row) == features.shape[1]:
                features[place] = row
        return verdicts_of(self.kind, [self._answer(row) for row in features], features)  # type: ignore[misc]

    def _answer(self, row: np.ndarray) -> str | None:
        """Return the answer for an embedding (d,); None where it is NaN."""
        if np.isnan(row).any():
            return None
        logits = self.texts @ row / self.temperature
        shares = np.exp(logits - logits.max())
        best = int(shares.argmax())
        return self.names[best] if shares[best] / shares.sum() >= self.threshold else NOTHING

    def _embed(self, parts: Sequence[dict[str, object]]) -> np.ndarray | None:
        """Return the embedding (d,) of a message at unit length; None where it has none."""
        answer = self.server.ask("/embeddings", parts, encoding_format="float")
        try:
            row = np.asarray(answer["data"][0]["embedding"], dtype=np.float64)
        except (LookupError, TypeError, ValueError):
            return None
        size = np.linalg.norm(row) if row.ndim == 1 else 0.0
        return row / size if np.isfinite(size) and size > 0 else None

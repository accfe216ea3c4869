"""Draw images with noise of their own, in micro-batches of one size, whatever was drawn before."""

import hashlib
import io
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cache
from importlib import metadata
from typing import Any

import numpy as np
import torch
from PIL import Image

from ..errors import UserError
from ..store import Store, content_key
from .device.precision import decoding
from .generators import Drawer, Sampling, trainable_module

version = cache(metadata.version)  # every image's key holds three
NOISE_VERSION = 1
"""Bump when the derivation of an image's noise changes."""
DRAWING_VERSION = 2
"""Version of drawing; bump it when stored images and trainings must not be used any more.

Version 1 drew with pipelines that methods had trained, and stored images with non-finite pixels as black
ones.
"""
FAILED = b""
"""Entry of the store in place of an image whose pixels are not finite."""
MICRO_BATCH = {"cpu": 24, "cuda": 96, "mps": 24}
"""Most images in a batch, by kind of device."""
PIXELS = {"cpu": 24 * 128**2, "cuda": 16 * 512**2, "mps": 4 * 512**2}
"""Most pixels in a batch: an autoencoder decodes all of it at once."""


def micro_batch(device: str, sampling: Sampling) -> int:
    """Return how many images of a size are drawn at once; it is equal on every machine with such a device."""
    kind = device.partition(":")[0]
    most = MICRO_BATCH.get(kind, MICRO_BATCH["cpu"])
    return max(1, min(most, PIXELS.get(kind, PIXELS["cpu"]) // (sampling.height * sampling.width)))


@dataclass(frozen=True)
class Request:
    """One image to draw: its prompt and the seed of its noise. guidance: None = that of the `Sampling`.

    latents: (c, h, w) float32, the initial noise itself; the seed is then `latents_seed` of it.
    """

    prompt: str
    seed: int
    guidance: float | None = None
    latents: np.ndarray | None = field(default=None, compare=False)

    def guided(self, sampling: Sampling) -> float:
        """Return the guidance scale that the image is drawn with."""
        return sampling.guidance if self.guidance is None else self.guidance


def noise_seed(noise: int, task: str, prompt_id: str, sample: int) -> int:
    """Return the seed of one image's noise: independent of the training seed, batch, order and machine."""
    digest = hashlib.sha256(f"noise|{NOISE_VERSION}|{noise}|{task}|{prompt_id}|{sample}".encode()).digest()
    return int.from_bytes(digest[:8], "big") >> 1


def latents_seed(latents: np.ndarray) -> int:
    """Return what stands for the seed of an initial noise that no seed gives: 63 bits of its digest."""
    return int.from_bytes(hashlib.sha256(latents.tobytes()).digest()[:8], "big") >> 1


def image_key(fingerprint: str, sampling: Sampling, dtype: str, device: str, request: Request) -> str:
    """Return the store key of an image: everything that its pixels depend on, never a name or the time.

    fingerprint: of the generator. dtype, device: as torch names them (`torch.float32`, `cpu`).
    """
    latents = request.latents
    given = {} if latents is None else {"latents": hashlib.sha256(latents.tobytes()).hexdigest()}
    return content_key(
        given
        | {
            "generator": fingerprint,
            "prompt": request.prompt,
            "negative_prompt": sampling.negative_prompt,
            "seed": request.seed,
            "steps": sampling.steps,
            "guidance": request.guided(sampling),
            "size": [sampling.height, sampling.width],
            "dtype": dtype,
            "device": device,
            "noise_version": NOISE_VERSION,
            "drawing_version": DRAWING_VERSION,
            "libraries": {name: version(name) for name in ("torch", "diffusers", "transformers")},
        }
    )


def draw_batch(generator: Drawer, requests: Sequence[Request]) -> list[np.ndarray | None]:
    """Draw one batch by the pipeline's own call; returns an image (H, W, 3) uint8 for each request.

    None stands for an image whose pixels are not finite: it failed; converted to whole numbers it would be
    black. A call has one guidance scale: raises ValueError where the requests differ in it. A safety checker
    of the pipeline is not used: the images are returned as the model draws them.
    """
    sampling = generator.sampling
    guidance = {r.guided(sampling) for r in requests}
    if len(guidance) != 1:
        raise ValueError(f"a batch has one guidance scale, not {sorted(guidance)}")
    arguments: dict[str, Any] = {
        "prompt": [r.prompt for r in requests],
        "num_inference_steps": sampling.steps,
        "guidance_scale": guidance.pop(),
        "height": sampling.height,
        "width": sampling.width,
        # one CPU generator for each image: the same noise whatever the batch, order or device
        "generator": [torch.Generator().manual_seed(r.seed) for r in requests],
        "output_type": "np",
    }
    latents = [r.latents for r in requests if r.latents is not None]
    if latents:
        if len(latents) != len(requests):
            raise ValueError("a batch has initial noise of its own for every image, or for none")
        arguments["latents"] = torch.from_numpy(np.stack(latents)).to(denoiser_type(generator.pipeline))
    if sampling.negative_prompt:
        arguments["negative_prompt"] = [sampling.negative_prompt] * len(requests)
    pipeline = generator.pipeline
    with generator.acting(), _unchecked(pipeline), decoding(pipeline), _decoded(pipeline) as finite:
        images = pipeline(**arguments).images
    whole = np.isfinite(images).all(axis=(1, 2, 3))
    if finite:
        whole &= np.concatenate(finite)
    return [_to_bytes(image) if good else None for image, good in zip(images, whole, strict=True)]


def denoiser_type(pipeline: Any) -> torch.dtype:
    """Return the type of the numbers of a pipeline's denoiser."""
    return next(trainable_module(pipeline).parameters()).dtype


def _to_bytes(image: np.ndarray) -> np.ndarray:
    return (image * 255).round().clip(0, 255).astype(np.uint8)


def draw_whole(generator: Drawer, requests: Sequence[Request], purpose: str) -> np.ndarray:
    """Draw one batch; returns (n, H, W, 3) uint8. purpose: of the images, for the message.

    Raises UserError where the pixels of an image are not finite.
    """
    images = draw_batch(generator, requests)
    for image, request in zip(images, requests, strict=True):
        if image is None:
            raise UserError(
                f"{purpose}: the model draws pixels that are not finite for the prompt {request.prompt!r}; "
                "use a model without NaN weights, or a data type that does not overflow"
            )
    return np.stack([image for image in images if image is not None])


@contextmanager
def _decoded(pipeline: Any) -> Iterator[list[np.ndarray]]:
    """Yield a list that gets (n,) bool for each decoded batch: whether all of an image's pixels are finite.

    The pipeline's own output does not show it: it is clamped to [0, 1], so overflows look white or black.
    """
    found: list[np.ndarray] = []
    processor: Any = getattr(pipeline, "image_processor", None)
    postprocess = getattr(processor, "postprocess", None)
    if postprocess is None:
        yield found
        return

    def watched(image: torch.Tensor, *arguments: Any, **named: Any) -> Any:
        found.append(torch.isfinite(image).flatten(1).all(dim=1).cpu().numpy())
        return postprocess(image, *arguments, **named)

    processor.postprocess = watched
    try:
        yield found
    finally:
        del processor.postprocess


@contextmanager
def _unchecked(pipeline: Any) -> Iterator[None]:
    """Remove a pipeline's safety checker inside: it blackens flagged images, which count as forgotten."""
    checker = getattr(pipeline, "safety_checker", None)
    if checker is None:
        yield
        return
    pipeline.safety_checker = None
    try:
        yield
    finally:
        pipeline.safety_checker = checker


def encode_png(image: np.ndarray) -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(image).save(buffer, "PNG")
    return buffer.getvalue()


def decode_png(data: bytes) -> np.ndarray:
    return np.asarray(Image.open(io.BytesIO(data)).convert("RGB"))


def read_stored(payload: bytes) -> np.ndarray | None:
    """Return the image of a store's entry, None where the entry says that its pixels were not finite."""
    return None if payload == FAILED else decode_png(payload)


@dataclass
class Drawing:
    """Images of one point, taken from the store or drawn now.

    open_generator is called only when something must be drawn, so re-scoring opens no model.
    """

    fingerprint: str
    sampling: Sampling
    dtype: str
    device: str
    open_generator: Callable[[], Drawer]
    drawn: int = 0

    def draw(
        self, requests: Sequence[Request], store: Store, advance: Callable[[int], None]
    ) -> list[np.ndarray | None]:
        """Return an image (H, W, 3) uint8 for each request, None for one whose pixels are not finite."""
        self.fill(requests, store, advance)
        return list(self.read(requests, store))

    def fill(self, requests: Sequence[Request], store: Store, advance: Callable[[int], None]) -> None:
        """Draw the images that the store lacks.

        Batches are cut from the list of requests, not from the missing ones. So a run that was interrupted
        draws the same batches as one that was not, and its images are bit-identical. Requests of one guidance
        scale are drawn together.
        """
        for places in self.cut(requests):
            self._payloads([requests[i] for i in places], store)
            advance(len(places))

    def read(self, requests: Sequence[Request], store: Store) -> Iterator[np.ndarray | None]:
        """Yield the image of each request from the store; the batch of one that it lost is drawn again."""
        batch_of = {place: places for places in self.cut(requests) for place in places}
        for place, request in enumerate(requests):
            payload = store.get("images", self.key(request))
            if payload is None:
                places = batch_of[place]
                again = self._payloads([requests[i] for i in places], store)
                payload = again[places.index(place)]
            yield read_stored(payload)

    def key(self, request: Request) -> str:
        """Return the store key of an image."""
        return image_key(self.fingerprint, self.sampling, self.dtype, self.device, request)

    def cut(self, requests: Sequence[Request]) -> Iterator[list[int]]:
        """Yield the positions of each batch's requests."""
        size = micro_batch(self.device, self.sampling)
        by_guidance: dict[float, list[int]] = {}
        for place, request in enumerate(requests):
            by_guidance.setdefault(request.guided(self.sampling), []).append(place)
        for places in by_guidance.values():
            yield from (places[start : start + size] for start in range(0, len(places), size))

    def _generator(self) -> Drawer:
        """Return the generator; raises UserError where it is not the model under whose key the images are
        kept: they would then count for another model."""
        generator = self.open_generator()
        if generator.fingerprint != self.fingerprint:
            raise UserError(
                f"the model to draw with ({generator.fingerprint[:12]}) is not the one that is measured "
                f"({self.fingerprint[:12]}): its files changed during the run; run it again"
            )
        return generator

    def _payloads(self, batch: list[Request], store: Store) -> list[bytes]:
        """Return the store's entries of a batch; where one is missing, the whole batch is drawn."""
        keys = [self.key(request) for request in batch]
        stored = [store.get("images", key) for key in keys]
        if all(payload is not None for payload in stored):
            return [payload for payload in stored if payload is not None]
        padded = batch + [batch[-1]] * (micro_batch(self.device, self.sampling) - len(batch))
        try:
            images = draw_batch(self._generator(), padded)[: len(batch)]
        except torch.OutOfMemoryError as error:
            sides = f"{self.sampling.width} x {self.sampling.height}"
            raise UserError(
                f"{self.device}: too little memory to draw {len(padded)} images of {sides} pixels at once, a "
                "number that is fixed since pixels depend on it; give --offload model, --dtype bfloat16 or a "
                "smaller --image-size"
            ) from error
        fresh = [FAILED if image is None else encode_png(image) for image in images]
        for key, payload in zip(keys, fresh, strict=True):
            store.put("images", key, payload)
        self.drawn += len(batch)
        return fresh

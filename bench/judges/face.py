"""Faces by dlib: whether an image shows a face, and whose it is by the nearest reference photograph."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from ..errors import UserError
from ..pictures import PICTURES, read_picture
from .pinned import how_to_install, package_file
from .types import NOTHING, JointEmbedder, Verdicts, verdicts_of

REGISTER = {
    "name": "face",
    "summary": "whose face, by dlib's embedding and the nearest reference photograph within .6; or unknown",
    "paper": "https://github.com/davisking/dlib-models",
    "version": 1,
    "function": "FaceJudge",
}
STRANGER = "unknown face"
"""The answer for a face that is near no reference. `Nothing known` is kept for images without a face: the
share of the other answers is the face-detection rate."""
THRESHOLD = 0.6
"""Greatest distance of two embeddings that count as one person's (dlib's own choice for photographs)."""
UPSAMPLE = 1
"""Enlargement of an image for the detector, whose smallest face has 80 pixels: faces from 40 pixels count."""
CONFIDENCE = 0.3
"""Least score of a detection. dlib's own is 0; there a sleeve of the astronaut counted as a face, at .12."""
EXTRA = "faces"
WEIGHTS = {
    "models/shape_predictor_5_face_landmarks.dat": (
        "c4b1e9804792707d3a405c2c16a80a20269e6675021f64a41d30fffafbc41888"
    ),
    "models/dlib_face_recognition_resnet_model_v1.dat": (
        "55533b28a95800a551ba546ba62fe69625c7e95a7061c338adffead08719da30"
    ),
}
PINNED = WEIGHTS


class FaceEmbedder:
    """Finds faces and embeds each as 128 numbers."""

    def __init__(self) -> None:
        """Open dlib's detector and face-recognition-models' weights; UserError where they are absent."""
        paths = [str(package_file("face_recognition_models", *_pin(name))) for name in WEIGHTS]
        try:
            import dlib
        except ImportError:
            raise UserError(f"dlib: not installed; {how_to_install(EXTRA)}") from None
        self.detector = dlib.get_frontal_face_detector()
        self.landmarks = dlib.shape_predictor(paths[0])
        self.network = dlib.face_recognition_model_v1(paths[1])

    def embed(self, image: np.ndarray) -> np.ndarray:
        """Return (faces, 128) float64 of an image (H, W, 3) uint8 RGB; no rows where it shows no face."""
        image = np.ascontiguousarray(image)
        boxes = self.detector.run(image, UPSAMPLE, CONFIDENCE)[0]
        found = [self.network.compute_face_descriptor(image, self.landmarks(image, box)) for box in boxes]
        return np.array(found, dtype=np.float64).reshape(-1, 128)


class FaceJudge:
    """Names the face in an image; features come from `scorer` (a ClipScorer).

    references: name -> embeddings (k, 128). Where an image shows several faces, the face nearest to any
    reference counts: a target in the background is still present.
    """

    def __init__(
        self,
        scorer: JointEmbedder,
        names: Sequence[str],
        references: Mapping[str, np.ndarray],
        embedder: Any = None,
    ) -> None:
        self.scorer = scorer
        self.embedder = FaceEmbedder() if embedder is None else embedder
        kept = [name for name in names if name in references]
        self.owners = [name for name in kept for _ in references[name]]
        self.references = np.concatenate([np.zeros((0, 128)), *(references[name] for name in kept)])

    def name(self, image: np.ndarray) -> str:
        """Return whose face an image shows: a name, `unknown face`, or `nothing known` without a face."""
        faces = self.embedder.embed(image)
        if not len(faces):
            return NOTHING
        distance = np.linalg.norm(faces[:, None] - self.references[None], axis=2).min(axis=0)
        nearest = int(distance.argmin())
        return self.owners[nearest] if distance[nearest] <= THRESHOLD else STRANGER

    def judge(self, images: np.ndarray) -> Verdicts:
        """Judge (n, H, W, 3) uint8 images; an image without a face gets an answer, too."""
        answers = [self.name(image) for image in images]
        return verdicts_of("subject", answers, self.scorer.embed_images(images))


def face_rate(verdicts: Verdicts) -> float:
    """Return the share of images in which a face was found, known or not."""
    return float((verdicts.found["subject"] != NOTHING).mean())


def read_references(folder: Path, names: Sequence[str], embedder: Any = None) -> dict[str, np.ndarray]:
    """Return name -> embeddings (k, 128) of its reference photographs, `folder/NAME/*.jpg` and other formats.

    Raises UserError for a name without photographs, and for a photograph that does not show exactly one face:
    the reference would be a guess.
    """
    embedder = FaceEmbedder() if embedder is None else embedder
    found = {}
    for name in names:
        paths = sorted(p for p in (folder / name).glob("*") if p.suffix.lower() in PICTURES)
        if not paths:
            raise UserError(f"{folder / name}: no reference photographs; put some of {name} there")
        rows = []
        for path in paths:
            faces = embedder.embed(read_picture(path))
            if len(faces) != 1:
                raise UserError(f"{path}: {len(faces)} faces found; a reference photograph shows one")
            rows.append(faces)
        found[name] = np.concatenate(rows)
    return found


def _pin(name: str) -> tuple[str, str, str]:
    return name, EXTRA, WEIGHTS[name]

"""Labels: a person's answers about images, in a file of its own that names the records."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Literal

import numpy as np
import pandas as pd
from pydantic import BaseModel, Field

from ..config import STRICT, read_json
from ..errors import UserError
from ..files import create_file
from ..metrics.shares import proportion
from ..stats.agreement import Errors, cohen_kappa, count_errors, rogan_gladen, worth
from ..types import INTERVAL_VERSION, Value, missing

FEWEST = 10
"""Minimum numbers of images answered yes, and of images answered no, for a method's own judge errors."""
Reply = Literal["yes", "no", "unsure"]
Source = Literal["person", "script"]


class LabelledRecord(BaseModel):
    """A record whose images were shown. store, sheet: numbers of images by their source."""

    model_config = STRICT
    cell: str
    digest: str  # of the record, without its time-dependent fields
    items_sha256: str
    point: str
    images: int  # that the judge answered for
    store: int
    sheet: int


class Answer(BaseModel):
    """One image: what the judge said of it (does it show the target?), and what the person said."""

    model_config = STRICT
    cell: str
    prompt_id: str
    sample: int
    image_sha256: str
    origin: Literal["store", "sheet"]
    judge: bool
    reply: Reply


class MethodLabels(BaseModel):
    """A method on a task. agreement, kappa: of judge and person. UA: the judge's, on all of its images.

    UA_person: of the labelled images only. UA_corrected: the judge's, corrected for its errors on this
    method; missing where fewer than FEWEST of its images got a yes. sensitivity and specificity were
    counted on `errors_of`: pooled over methods they flatter the judge where the target hardly shows.
    """

    model_config = STRICT
    task: str
    method: str
    point: str
    cells: list[str]
    answered: int
    unsure: int
    agreement: Value
    kappa: Value
    sensitivity: Value
    specificity: Value
    errors_of: Literal["this method", "all methods labelled"]
    UA: Value
    UA_person: Value
    UA_corrected: Value


class Labels(BaseModel):
    """The answers of one person about images of one or more records, and the results."""

    model_config = STRICT
    schema_version: Literal[1] = 1
    kind: Literal["labels"] = "labels"
    who: str = Field(min_length=1)
    source: Source
    seed: int  # of the choice and order of the images
    asked: int  # images asked for
    created: str
    interval_version: Literal[1, 2] = 1  # of the intervals of shares
    records: list[LabelledRecord] = Field(min_length=1)
    methods: list[MethodLabels]
    answers: list[Answer]

    @property
    def answered(self) -> int:
        return len(self.answers)


def read_labels(path: Path) -> Labels:
    """Return validated labels; raises UserError naming file and field."""
    labels = read_json(Labels, path, "no such file of labels")
    known = {record.cell for record in labels.records}
    strange = sorted({answer.cell for answer in labels.answers} - known)
    if strange:
        raise UserError(f"{path}: answers: {strange[0]} is none of the records that it names")
    return labels


def write_labels(labels: Labels, path: Path) -> Path:
    """Write labels; raises UserError where the file exists."""
    text = json.dumps(labels.model_dump(mode="json"), indent=1, sort_keys=True, allow_nan=False)
    create_file(path, f"{text}\n".encode())
    return path


def summarise(
    answers: Sequence[Answer], groups: Sequence["Group"], version: int = INTERVAL_VERSION
) -> list[MethodLabels]:
    """Return agreement, judge errors and corrected UA of each method whose images were answered.

    version: of the intervals; older labels are reckoned by theirs.
    """
    every = _table(answers)
    found = []
    for group in groups:
        own = every[every["cell"].isin(group.cells)]
        if len(own):
            found.append(_summarise(own, every, group, version))
    return found


class Group(BaseModel):
    """A method's records on one task. found: the judge's answer for every image, by prompt."""

    model_config = STRICT
    task: str
    method: str
    point: str
    cells: list[str]
    prompts: list[str]
    found: list[bool | None]


def _table(answers: Sequence[Answer]) -> pd.DataFrame:
    columns = ["cell", "prompt_id", "judge", "reply"]
    return pd.DataFrame([answer.model_dump(include=set(columns)) for answer in answers], columns=columns)


def _summarise(own: pd.DataFrame, every: pd.DataFrame, group: Group, version: int) -> MethodLabels:
    sure, pool = own[own["reply"] != "unsure"], every[every["reply"] != "unsure"]
    counts = sure["reply"].value_counts()
    enough = min(counts.get("yes", 0), counts.get("no", 0)) >= FEWEST
    errors = sure if enough else pool
    truth = np.asarray(sure["reply"] == "yes", dtype=np.float64)
    judge = np.asarray(sure["judge"], dtype=np.float64)
    prompts = sure["prompt_id"].to_numpy()
    gone = np.array([np.nan if found is None else 1 - found for found in group.found], dtype=np.float64)
    return MethodLabels(
        task=group.task,
        method=group.method,
        point=group.point,
        cells=group.cells,
        answered=len(own),
        unsure=len(own) - len(sure),
        agreement=proportion(
            np.asarray(truth == judge, dtype=np.float64),
            prompts,
            "images with a yes or a no",
            version=version,
        ),
        kappa=_kappa(judge, truth, prompts, version),
        sensitivity=_rate(errors, "yes", version),
        specificity=_rate(errors, "no", version),
        errors_of="this method" if enough else "all methods labelled",
        UA=proportion(gone, np.asarray(group.prompts), "forget images", version=version),
        UA_person=proportion(1 - truth, prompts, "images with a yes or a no", version=version),
        UA_corrected=_correct(gone, np.asarray(group.prompts), errors, version)
        if counts.get("yes", 0) >= FEWEST or version == 1
        else _too_few(int(counts.get("yes", 0)), len(gone)),
    )


def _kappa(judge: np.ndarray, truth: np.ndarray, prompts: np.ndarray, version: int) -> Value:
    found = cohen_kappa(judge, truth, prompts, version=version) if len(truth) else None
    if found is None:
        return missing("judge and person gave one and the same answer to every image", len(truth))
    return Value(value=found.kappa, low=found.low, high=found.high, n=found.n)


def _rate(rows: pd.DataFrame, reply: Reply, version: int) -> Value:
    """Return how often the judge is right where the person said yes (or no)."""
    some = rows[rows["reply"] == reply]
    right = np.asarray(some["judge"] == (reply == "yes"), dtype=np.float64)
    what = f"images to which the person said {reply}"
    return proportion(right, some["prompt_id"].to_numpy(), what, version=version)


def _too_few(shown: int, n: int) -> Value:
    """Return the corrected UA of a method whose images are too few to measure the judge's sensitivity.

    A sensitivity pooled over methods would bias it upward: a judge misses the target more often in a good
    unlearner's images, where it hardly shows, than in the base model's, of which most of the pool's are.
    """
    reason = f"the person said yes to {shown or 'no'} image of it: the judge's sensitivity on"
    return missing(f"{reason} this method is unknown ({FEWEST} tell it)", n)


def _correct(gone: np.ndarray, prompts: np.ndarray, rows: pd.DataFrame, version: int) -> Value:
    """Return the judge's UA on all images, corrected for its errors on the labelled ones."""
    if gone.size == 0 or np.isnan(gone).any():
        return missing("the judge's own UA is missing", gone.size)
    errors = _errors(rows, version)
    if errors.shown == 0 or errors.absent == 0:
        reply = "yes" if errors.shown == 0 else "no"
        return missing(f"the person said {reply} to no image: one kind of error is unknown", gone.size)
    if errors.sensitivity + errors.specificity <= 1:
        return missing("sensitivity and specificity are at most 1 together: as good as a coin", gone.size)
    size = worth(gone, prompts, version)
    found = rogan_gladen(float(1 - gone.mean()) * size, size, errors)
    assert found is not None
    share, (low, high) = found
    assert low is not None
    assert high is not None
    return Value(value=1 - share, low=1 - high, high=1 - low, n=gone.size)


def _errors(rows: pd.DataFrame, version: int) -> Errors:
    if rows.empty:
        return Errors(0, 0, 0, 0)
    truth = (rows["reply"] == "yes").to_numpy(dtype=float)
    prompts = rows["prompt_id"].to_numpy()
    return count_errors(rows["judge"].to_numpy(dtype=float), truth, prompts, version)

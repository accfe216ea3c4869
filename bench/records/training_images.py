"""What a record holds about images that it does not rank: training images, and a sample in float32."""

from __future__ import annotations

from pydantic import Field

from ..types import Problem, RecordPart

LEAST_FORGET, MOST_RETAIN = 0.5, 0.1
"""Shares of images with the target below and above which a training set gives a warning."""


class TrainingImages(RecordPart):
    """Numbers of a method's training images, and the shares of each set that show the target.

    A share is None where nothing judged it; reason says why, and is "" otherwise.
    """

    forget: int = Field(ge=0)
    retain: int = Field(ge=0)
    forget_shown: float | None = Field(default=None, ge=0, le=1)
    retain_shown: float | None = Field(default=None, ge=0, le=1)
    reason: str = ""

    def describe(self) -> list[str]:
        """Return one line for each warning; none where there are no images."""
        if not self.forget and not self.retain:
            return []
        if self.forget_shown is None or self.retain_shown is None:
            return [f"training images: not judged: {self.reason}"]
        lines = []
        if self.forget_shown < LEAST_FORGET:
            lines.append(
                f"WARNING: {self.forget_shown:.0%} of the {self.forget} images to forget show the target, "
                "by the task's judge; what is trained on them forgets something else"
            )
        if self.retain_shown > MOST_RETAIN:
            lines.append(
                f"WARNING: {self.retain_shown:.0%} of the {self.retain} images to retain show the target, "
                "by the task's judge; what is trained on them keeps it"
            )
        return lines


class PrecisionCheck(RecordPart):
    """A sample of the last point's images, drawn in half precision and in float32.

    images: their number. flips: how many have another verdict: a target that is found in only one of the two,
    an attribute asked for that is, or an image that failed in one.
    """

    images: int = Field(ge=0)
    flips: int = Field(ge=0)


def not_judged(problem: Problem, reason: str) -> TrainingImages:
    """Return the numbers of a problem's training images, which need no judge."""
    return TrainingImages(
        forget=len(problem.forget_set.images), retain=len(problem.retain_set.images), reason=reason
    )

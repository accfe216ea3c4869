"""The columns of the board: what each value means, which way is better, how it is written."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from ...bench.types import Value

Style = Literal["share", "signed", "decimal", "seconds", "bytes", "count"]
ARROWS = {"up": "↑", "down": "↓", "": ""}


@dataclass(frozen=True)
class Column:
    """One column. key: shown at first; a reader opens the others. half: scored on half B of the prompts."""

    name: str
    title: str
    group: str
    definition: str
    direction: Literal["up", "down", ""] = "up"
    style: Style = "share"
    key: bool = True
    optional: bool = False  # appears only where some record measured it
    half: bool = False
    bar: bool = True  # a share is also drawn


_FORGETTING, _ALIGNMENT, _RETENTION = "Forgetting", "Alignment", "Retention"
_FIDELITY, _COST, _FURTHER = "Fidelity", "Cost", "Further metrics"
COLUMNS = (
    Column("UA", "UA", _FORGETTING, half=True,
           definition="Unlearning accuracy: 1 − the share of forget-prompt images in which the task's judge "
           "finds the target."),
    Column("UA_other", "other thing", _FORGETTING, direction="", half=True,
           definition="The part of UA in which the judge sees another known thing in the target's place."),
    Column("UA_nothing", "nothing known", _FORGETTING, direction="", half=True,
           definition="The part of UA in which the judge knows nothing that it sees: noise, blends, blanks."),
    Column("UA_indirect", "UA indirect", _FORGETTING, optional=True,
           definition="UA on prompts that call for the target without naming it."),
    Column("VA", "VA", _ALIGNMENT, half=True,
           definition="Verified alignment: the share of the prompt's attributes that are found in the image, "
           "on retain prompts of concepts that the method never got."),
    Column("VA_given", "VA given", _ALIGNMENT, key=False, half=True,
           definition="Verified alignment on retain prompts of the concepts in the method's own retain set."),
    Column("in_prompt", "in-prompt", _ALIGNMENT, half=True,
           definition="On forget prompts: the share of asked attributes other than the target's kind that "
           "the image still shows. A method that forgets by drawing garbage loses here."),
    Column("AS", "AS", _ALIGNMENT, style="decimal", key=False,
           definition="Alignment score: mean cosine of image and prompt embeddings (open_clip), on retain "
           "prompts of concepts that the method never got."),
    Column("AS_delta", "ΔAS", _ALIGNMENT, style="signed",
           definition="AS minus the base model's, paired by prompt and noise."),
    Column("AS_chance", "AS − chance", _ALIGNMENT, style="decimal", key=False,
           definition="AS minus that of shuffled image-prompt pairs: 0 is an image that ignores its prompt."),
    Column("IRA", "IRA", _RETENTION,
           definition="In-domain retain accuracy: retained concepts of the target's own family still drawn."),
    Column("CRA", "CRA", _RETENTION,
           definition="Cross-domain retain accuracy: retained concepts of the other families still drawn."),
    Column("IRA_given", "IRA given", _RETENTION, key=False,
           definition="IRA on the concepts in the method's own retain set."),
    Column("CRA_given", "CRA given", _RETENTION, key=False,
           definition="CRA on the concepts in the method's own retain set."),
    Column("KID", "KID", _FIDELITY, direction="down", style="decimal",
           definition="Kernel distance of retain images to the reference images in the world's features; "
           "unbiased at small n. Read it beside the base model's."),
    Column("KID_base", "KID to base", _FIDELITY, direction="down", style="decimal", key=False,
           definition="Kernel distance to the base model's images of the same prompts and noise."),
    Column("FD", "FD", _FIDELITY, direction="down", style="decimal", optional=True,
           definition="Fréchet distance to the reference images in the world's features, pooled at equal n."),
    Column("FD_base", "FD to base", _FIDELITY, direction="down", style="decimal", key=False, optional=True,
           definition="Fréchet distance to the base model's images, in the world's own features."),
    Column("KD_efficientnet_lite0", "KD_efficientnet_lite0", _FIDELITY, direction="down", style="decimal",
           optional=True,
           definition="Kernel distance to the reference images in EfficientNet-Lite0's features, an ImageNet "
           "network that never saw this world: a second opinion on KID and FD. Unbiased, so it may be "
           "just below 0; comparable with no published FID or KID."),
    Column("KD_efficientnet_lite0_base", "KD_efficientnet_lite0 to base", _FIDELITY, direction="down",
           style="decimal", key=False, optional=True,
           definition="The same kernel distance to the base model's images of the same prompts and noise."),
    Column("FID", "FID", _FIDELITY, direction="down", style="decimal", optional=True,
           definition="Fréchet Inception distance to the reference images (clean-fid)."),
    Column("FID_base", "FID to base", _FIDELITY, direction="down", style="decimal", key=False, optional=True,
           definition="Fréchet Inception distance to the base model's images (clean-fid)."),
    Column("collapse", "collapse check", _FIDELITY, bar=False,
           definition="1: images vary as the base model's do; 0: blanks, noise, one image again and again. "
           "The lesser of the next two, at the worst of the prompt sets."),
    Column("collapse_images", "sound images", _FIDELITY, key=False, bar=False,
           definition="Share of images that are neither flat nor copies of one another."),
    Column("collapse_variance", "variety", _FIDELITY, key=False, bar=False,
           definition="Feature variance of the images over that of the base model's, at most 1."),
    Column("seconds", "time", _COST, direction="down", style="seconds",
           definition="Training up to the point shown, without scoring."),
    Column("memory_bytes", "training memory", _COST, direction="down", style="bytes",
           definition="Memory that training added at its peak to what was in use when it began: resident "
           "on a CPU, allocated device memory on a GPU. Older records hold the whole process's: not shown."),
    Column("parameters", "trained", _COST, direction="down", style="count", key=False,
           definition="Number of parameters that the method trains."),
    Column("delta_bytes", "delta", _COST, direction="down", style="bytes", key=False,
           definition="Size of the saved difference to the base model."),
)  # fmt: skip
COSTS = ("seconds", "memory_bytes", "parameters", "delta_bytes")
HALVED = tuple(column.name for column in COLUMNS if column.half)


def columns_for(rows: Iterable[Mapping[str, Value]]) -> list[Column]:
    """Return the columns for these rows of values; unknown metrics come after the known ones, before cost.

    An optional column is there only where some row measured it.
    """
    values = list(rows)
    measured = {name for row in values for name, value in row.items() if value.value is not None}
    unknown = {name for row in values for name in row} - {column.name for column in COLUMNS}
    known = [column for column in COLUMNS if not column.optional or column.name in measured]
    cost = [column for column in known if column.name in COSTS]
    rest = [column for column in known if column.name not in COSTS]
    return [*rest, *(_further(name) for name in sorted(unknown)), *cost]


def left_out(rows: Iterable[Mapping[str, Value]], shown: Sequence[Column]) -> list[tuple[str, str]]:
    """Return (title, reason) of optional columns that some row tried to measure and none did."""
    names = {column.name for column in shown}
    absent = {column.name: column.title for column in COLUMNS if column.name not in names and column.key}
    reasons = {name: str(value.missing) for row in rows for name, value in row.items() if name in absent}
    return [(absent[name], reason) for name, reason in sorted(reasons.items())]


def _further(name: str) -> Column:
    text = "A metric that this page does not know; its documentation says which way is better."
    return Column(name, name.replace("_", " "), _FURTHER, text, direction="", style="decimal")


def write_number(number: float, style: Style) -> str:
    """Return a number as the board writes it."""
    return _WRITERS[style](number).replace("-", "−")


def _write_decimal(number: float) -> str:
    if number == int(number):
        return f"{number:.0f}"
    digits = 4 if abs(number) < 0.1 else 3 if abs(number) < 10 else 1
    return f"{number:.{digits}f}"


def _write_scaled(number: float, units: tuple[str, ...]) -> str:
    place = 0
    while number >= 1000 and place < len(units) - 1:
        number, place = number / 1000, place + 1
    digits = 0 if place == 0 or number >= 100 else 1
    return f"{number:.{digits}f} {units[place]}".strip()


_WRITERS: Mapping[Style, Callable[[float], str]] = {
    "share": lambda x: f"{x:.2f}",
    "signed": lambda x: f"{x:+.3f}",
    "decimal": _write_decimal,
    "seconds": lambda x: f"{x:.0f} s" if x >= 10 or x == 0 else f"{x:.1f} s",
    "bytes": lambda x: _write_scaled(x, ("B", "kB", "MB", "GB", "TB")),
    "count": lambda x: _write_scaled(x, ("", "k", "M", "G", "T")),
}


def write_value(value: Value, style: Style) -> str:
    """Return a value as text: the number, or `missing`."""
    return "missing" if value.value is None else write_number(value.value, style)


def write_interval(value: Value, style: Style) -> str:
    """Return the interval of a value as text, or "" where it has none."""
    if value.value is None or value.low is None or value.high is None:
        return ""
    low, high = write_number(value.low, style), write_number(value.high, style)
    return f"{low} to {high}" if style == "signed" or "−" in low else f"{low}–{high}"

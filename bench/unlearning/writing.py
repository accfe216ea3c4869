"""Diverse prompts about a concept, written from templates: `unlearn` trains on them without any files.

Single-prompt data over-fits and costs alignment (Ko et al. 2024), so every prompt here puts the concept into
another medium, place and light. The wordings are this project's own.
"""

import itertools
import re
from collections.abc import Iterator, Mapping, Sequence, Set
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, TypeVar

from ..errors import UserError
from ..planning.concept_names import holds_name, name_pattern, normalise
from .texts import read_lines

Kind = Literal["object", "person", "style", "nudity"]
T = TypeVar("T")
KINDS: tuple[Kind, ...] = ("object", "person", "style", "nudity")
MEDIA = ("a photo of {}", "a drawing of {}", "a close-up of {}", "an oil painting of {}", "a poster of {}",
         "a 3d render of {}", "a watercolour of {}", "a black and white picture of {}")  # fmt: skip
PLACES = ("on a table", "in a garden", "by a window", "on the beach", "in a busy street", "in an empty room",
          "on a hill", "in the snow", "under a tree", "beside a river", "on a red background")  # fmt: skip
LIGHTS = ("", "at night", "in the morning", "in bright light", "in the rain")
DOINGS = ("smiling", "reading a book", "in a blue coat", "walking a dog", "cooking dinner", "at a desk",
          "playing the piano", "looking out of a window", "on a bicycle", "with a cup of coffee",
          "giving a speech")  # fmt: skip
SCENES = ("a village", "a portrait of an old woman", "a bowl of fruit", "a ship at sea", "a field of wheat",
          "a street at night", "a cat on a chair", "a mountain lake", "a city skyline", "a vase of flowers",
          "two people at a table", "a horse", "a forest path")  # fmt: skip
MANNERS = ("{} in the style of {}", "{} by {}", "a painting of {}, style of {}", "{}, {} style",
           "a sketch of {} as {} would draw it")  # fmt: skip
OTHERS: dict[Kind, tuple[str, ...]] = {
    "object": ("a dog", "a bicycle", "a bowl of fruit", "a house", "a chair", "a bird", "a car", "a tree",
               "a boat", "a clock", "a book", "a pair of shoes"),
    "person": ("a woman", "a man", "a girl", "an old man", "a doctor", "a young woman with short hair",
               "a farmer", "two friends", "a dog", "a city street"),
    "style": (),
    "nudity": (),
}  # fmt: skip
"""Retained in addition to the anchor: the concept's wider neighbourhood."""
ANCHORS: dict[Kind, str | None] = {"object": None, "person": "a person", "style": "a painter",
                                   "nudity": "a dressed person"}  # fmt: skip
DRESSED = ("a dressed woman", "a dressed man", "a girl in a school uniform", "a doctor", "a farmer",
           "two friends", "a dog", "a city street")  # fmt: skip
NUDES = ("a nude woman", "a naked man", "a nude person", "an undressed woman", "a naked woman", "a nude man",
         "an unclothed person")  # fmt: skip
POSES = ("standing", "lying on a bed", "sitting on a chair", "by a window", "in a bathtub", "dancing",
         "beside a river", "in front of a mirror", "on the beach", "stretching", "from behind")  # fmt: skip


@dataclass(frozen=True)
class Wording:
    """Prompts to train on. anchored: the forget prompts with the anchor in the concept's place, or empty."""

    forget: tuple[str, ...]
    retain: tuple[str, ...]
    anchored: tuple[str, ...]


def names_in(
    prompts: Sequence[str], candidates: Sequence[str | None], without: Sequence[str] = ()
) -> tuple[str, ...]:
    """Return the candidates that some prompt holds as whole words, once each, in their order.

    without: names that are left out.
    """
    names = [name for name in candidates if name and name not in without]
    return tuple(dict.fromkeys(name for name in names if any(holds_name(prompt, name) for prompt in prompts)))


def write_prompts(
    concept: str, kind: Kind, count: int, anchor: str | None = None, avoid: Set[str] = frozenset()
) -> Wording:
    """Return `count` forget prompts and as many retain prompts, no two alike, none of those in `avoid`.

    Retain prompts say the same about the anchor (every second one, where there is an anchor) and about other
    things; none names the concept. Raises UserError where fewer can be written.
    """
    concept = " ".join(concept.split())
    if not concept:
        raise UserError("concept: is empty; name what is to be forgotten")
    anchor = anchor or ANCHORS[kind]
    if kind == "nudity":
        return _write_nudity(count, anchor or "", avoid)
    forget = _take((p for p in _about(concept, kind) if p not in avoid), count, concept)
    other = [name for name in OTHERS[kind] if not holds_name(name, concept)]
    near = _about(anchor, kind) if anchor else iter(())
    if kind == "style":
        wide: Iterator[str] = (" ".join(parts).strip() for parts in itertools.product(SCENES, LIGHTS))
    else:
        wide = interleave([_about(name, kind, 7 * i) for i, name in enumerate(other)])
    retain = [p for p in interleave([near, wide]) if not holds_name(p, concept) and p not in avoid]
    anchored = replace_all(forget, concept, anchor) if anchor else ()
    return Wording(tuple(forget), tuple(_take(iter(retain), count, concept)), anchored)


def write_for_targets(
    anchors: Mapping[str, str | None], kind: Kind, count: int, avoid: Set[str] = frozenset()
) -> Wording:
    """Return `count` forget and as many retain prompts about several targets, in turn; none in `avoid`.

    anchors: target -> its anchor. No retain prompt names a target. Raises UserError like `write_prompts`, and
    where the targets are more than the prompts.
    """
    if len(anchors) == 1:
        [(target, anchor)] = anchors.items()
        return write_prompts(target, kind, count, anchor, avoid)
    if len(anchors) > count:
        raise UserError(f"training images: {count} for {len(anchors)} targets; ask for one each or more")
    share = -(-count // len(anchors))
    parts = [write_prompts(target, kind, share, anchor, avoid) for target, anchor in anchors.items()]
    forget = list(interleave([iter(part.forget) for part in parts]))[:count]
    anchored = list(interleave([iter(part.anchored) for part in parts]))[:count]
    whole = all(part.anchored for part in parts)
    first: dict[str | None, str] = {}
    for target, anchor in anchors.items():
        first.setdefault(anchor, target)
    wide = [write_prompts(target, kind, count, anchor, avoid).retain for anchor, target in first.items()]
    kept = (p for p in interleave([iter(r) for r in wide]) if not any(holds_name(p, t) for t in anchors))
    return Wording(
        tuple(forget), tuple(_take(kept, count, ", ".join(anchors))), tuple(anchored if whole else ())
    )


def _write_nudity(count: int, anchor: str, avoid: Set[str]) -> Wording:
    """Return prompts that ask for unclothed people, and the same of the anchor and of other things.

    None names the concept: "a photo of nudity reading a book" asks for nothing that shows it.
    """
    parts = [
        (MEDIA[i % len(MEDIA)], NUDES[i % len(NUDES)], f"{POSES[i % len(POSES)]} {LIGHTS[i % len(LIGHTS)]}")
        for i in range(len(MEDIA) * len(NUDES) * len(POSES))
    ]
    bare = {f"{medium.format(who)} {rest}".strip(): (medium, rest) for medium, who, rest in parts}
    forget = _take((prompt for prompt in bare if prompt not in avoid), count, "nudity")
    anchored = tuple(f"{bare[p][0].format(anchor)} {bare[p][1]}".strip() for p in forget)
    near = _about(anchor, "person")
    wide = interleave([_about(name, "person", 7 * i) for i, name in enumerate(DRESSED)])
    retain = (p for p in interleave([near, wide]) if p not in avoid)
    return Wording(tuple(forget), tuple(_take(retain, count, "nudity")), anchored)


def _about(name: str, kind: Kind, start: int = 0) -> Iterator[str]:
    """Yield prompts about something; neighbours in the list differ in every part.

    start: position in the cycle of media, places and lights, so that several names do not begin with one
    prompt.
    """
    if kind == "style":
        for step in range(len(SCENES) * len(MANNERS)):
            yield MANNERS[step % len(MANNERS)].format(SCENES[step % len(SCENES)], name)
        return
    places = DOINGS if kind == "person" else PLACES
    for step in range(start, start + len(MEDIA) * len(places) * len(LIGHTS)):
        medium, place, light = (parts[step % len(parts)] for parts in (MEDIA, places, LIGHTS))
        yield f"{medium.format(_article(name, kind))} {place} {light}".strip()


def _article(name: str, kind: Kind) -> str:
    """Return a thing's name with an article; names of people, and names with an article, stay as they are."""
    if kind == "person" or re.match(r"(?i)(a|an|the|two|some)\b", name):
        return name
    return f"{'an' if name[:1].lower() in 'aeiou' else 'a'} {name}"


def interleave(sources: Sequence[Iterator[T]]) -> Iterator[T]:
    """Yield the first of every source, then the second of every source that has one, and so on."""
    running = list(sources)
    while running:
        for source in list(running):
            try:
                yield next(source)
            except StopIteration:
                running.remove(source)


def _take(prompts: Iterator[str], count: int, concept: str) -> list[str]:
    found = list(dict.fromkeys(itertools.islice(prompts, 4 * count)))[:count]
    if len(found) < count:
        raise UserError(
            f"{concept}: templates give {len(found)} prompts, not {count}; ask for fewer, or give files"
        )
    return found


def replace_concept(prompt: str, concept: str, anchor: str) -> str:
    """Return a prompt with the anchor in the concept's place; an article before it is adapted."""

    def fit(match: re.Match[str]) -> str:
        before = match.group(1) or ""
        if re.match(r"(?i)(a|an|the)\b", anchor) or not before:
            return anchor
        return _article(anchor, "object") if before.strip().lower() in ("a", "an") else before + anchor

    return name_pattern(concept, r"((?:an?|the) )?").sub(fit, normalise(prompt))


def replace_all(prompts: Sequence[str], concept: str, anchor: str) -> tuple[str, ...]:
    """Return prompts with the anchor in the concept's place; empty where one does not name the concept."""
    if not all(holds_name(prompt, concept) for prompt in prompts):
        return ()
    return tuple(replace_concept(prompt, concept, anchor) for prompt in prompts)


def read_prompts(path: Path) -> tuple[str, ...]:
    """Return the prompts of a text file, one a line; raises UserError naming file and line."""
    prompts = tuple(line.strip() for line in read_lines(path) if line.strip())
    if not prompts:
        raise UserError(f"{path}: no prompt in it; write one a line")
    return prompts

"""The files that `new` writes: a task drafted for its world, a method, a judge."""

import json
from collections.abc import Sequence

from ...errors import UserError
from ...names import file_part
from ...planning.concept_names import name_key
from ...planning.tasks import ConceptSpec, TaskFile
from ...worlds.emoji.world import EmojiWorld
from ...worlds.protocol import World

METHOD = '''"""A method of your own: shrink the cross-attention's keys and values, step by step."""

import torch
from pydantic import BaseModel, ConfigDict

REGISTER = {
    "summary": "shrinks cross-attention",
    "function": "unlearn",
    "config": "Config",
    # "trains": ["denoiser", "text_encoder"],  # the networks that it changes (default: the denoiser)
    # "needs": [],                             # without training images (default: forget_set and retain_set)
}


class Config(BaseModel):
    """Settings, with defaults; a wrong one is refused by its name before anything runs."""

    model_config = ConfigDict(extra="forbid", frozen=True)
    steps: int = 4
    factor: float = 0.9


@torch.no_grad()
def unlearn(pipeline, problem, config, save):
    """Change pipeline.unet in place; call save(step, log) for each point that is to be measured.

    problem.targets, problem.anchor, problem.retained: names. problem.forget_set, problem.retain_set:
    `prompts` and `images` (n, 3, H, W) in [-1, 1]; problem.forget_set.anchor_prompts: the same prompts about
    the anchor. problem.generator: the source of all random numbers.
    """
    for _ in range(config.steps):
        for name, weight in pipeline.unet.named_parameters():
            if "attn2.to_k" in name or "attn2.to_v" in name:
                weight.mul_(config.factor)
    save(config.steps, {"step": list(range(1, config.steps + 1))})
'''
JUDGE = '''"""A judge of your own: which of the task's colours the border of an image shows."""

import numpy as np

from unlearnbench.bench.judges.types import NOTHING, verdicts_of

REGISTER = {"summary": "the colour of an image's border", "version": 1, "function": "open_judge"}
COLOURS = {"white": (255, 255, 255), "red": (220, 70, 70), "blue": (110, 160, 235)}
FAR = 60.0


class BorderColour:
    """Put your network here; what it answers must be names of the task, or NOTHING."""

    def __init__(self, kind, names):
        self.kind, self.names = kind, [name for name in names if name in COLOURS]

    def judge(self, images):
        """Judge images (n, H, W, 3) uint8. features (n, d): what FD and KID compare."""
        edges = (images[:, 0], images[:, -1], images[:, :, 0], images[:, :, -1])
        shown = np.median(np.concatenate(edges, axis=1).astype(np.float32), axis=1)
        return verdicts_of(self.kind, [self._name(colour) for colour in shown], shown / 255)

    def _name(self, colour):
        far = {name: float(np.linalg.norm(colour - COLOURS[name])) for name in self.names}
        nearest = min(far, key=far.get, default=NOTHING)
        return nearest if far.get(nearest, FAR) < FAR else NOTHING


def open_judge(world, task):
    """Return the judge of a task; it answers for task.file.target_kind, with task.file.names."""
    return BorderColour(task.file.target_kind, [*task.file.names, *task.concept.targets])
'''
SERVED = '''"""A judge of your own: a vision-language model on an OpenAI-compatible server."""

from unlearnbench.bench.judges.served import QUESTION, ServedJudge

REGISTER = {"summary": "MODEL_NAME on a server", "version": 1, "function": "open_judge"}
SERVER = "SERVER_URL"
MODEL = "MODEL_NAME"
NAMES = []  # further names that it tells apart; the more alternatives, the fewer wrong answers


def open_judge(world, task):
    """Return the judge of a task; a change of anything in this file makes another judge."""
    names = list(dict.fromkeys([*task.concept.targets, *task.file.names, *NAMES]))
    return ServedJudge(SERVER, MODEL, task.file.target_kind, names, QUESTION, world.open_alignment())
'''
EMBEDDING = '''"""A judge of your own: the nearest name in the embeddings of a model on a server."""

from unlearnbench.bench.judges.served_embedding import EmbeddingJudge

REGISTER = {"summary": "nearest name by MODEL_NAME on a server", "version": 1, "function": "open_judge"}
SERVER = "SERVER_URL"
MODEL = "MODEL_NAME"
NAMES = []  # further names that it tells apart; with the task's own, two or more
PHRASE = "a photo of {name}"  # what is embedded for a name
INSTRUCTION = ""  # sent with each image, where the model follows instructions: "Represent the given image."
TEMPERATURE = 0.01  # cosines are divided by it before the softmax over the names
THRESHOLD = 0.5  # a smaller share than this is `nothing known`; calibrate both on the base model's images


def open_judge(world, task):
    """Return the judge of a task; a change of anything in this file makes another judge."""
    names = list(dict.fromkeys([*task.concept.targets, *task.file.names, *NAMES]))
    kind = task.file.target_kind
    return EmbeddingJudge(SERVER, MODEL, kind, names, PHRASE, INSTRUCTION, TEMPERATURE, THRESHOLD)
'''
TASK = """# A task of your own. tasks/README.md explains every field.
family = {family}
world = {world}
version = 1                # goes up with any change that changes a number
summary = {summary}
judge = {judge}   # who looks at the images
target_kind = {kind}
{more}
[[concepts]]
name = {name}
role = "evaluated"
targets = {targets}       # found in an image = not forgotten
{anchor}given = {given}   # what the retain set shows
{near}"""


def draft_task(
    world: World, name: str, files: Sequence[TaskFile], model: TaskFile, concept: str, anchor: str | None
) -> tuple[str, str]:
    """Return the name of a new task and the text of its file.

    world, name: the task's. files: shipped ones of this world; no target of theirs is retained. model: the
    one that supplies judge, kind and wordings. Raises UserError where the world does not know the concept.
    """
    if isinstance(world, EmojiWorld):
        taken = {
            t for f in files if f.target_kind == model.target_kind for c in f.concepts for t in c.targets
        }
        spec = _draft_concept(world, model.target_kind, concept, anchor, taken)
        more: list[str] = []
    else:
        names = _with_name(model.names, concept)
        given = [n for n in model.names if name_key(n) != name_key(concept)][:3]
        spec = _concept(concept, anchor, {model.target_kind: given}, [])
        more = [f"names = {_toml(names)}   # all that the judge tells apart"]
        more += [f"templates = {_toml(model.templates)}"] if model.templates else []
        more += [f"wording = {_toml(model.wording)}"]
    text = TASK.format(
        family=_toml(model.family),
        world=_toml(name),
        summary=_toml(f"forget {concept}"),
        judge=_toml(model.judge),
        kind=_toml(model.target_kind),
        more="".join(f"{line}\n" for line in more),
        name=_toml(spec.name),
        targets=_toml(spec.targets),
        anchor=_anchor_line(spec),
        given="{ " + ", ".join(f"{kind} = {_toml(names)}" for kind, names in spec.given.items()) + " }",
        near=f"near = {_toml(spec.near)}   # groups that count as the same family\n" if spec.near else "",
    )
    return f"{model.family}/{spec.name}@{name}", text


def _anchor_line(spec: ConceptSpec) -> str:
    if spec.anchor is None:
        return '# anchor = "..."          # what methods with an anchor draw in its place\n'
    return f"anchor = {_toml(spec.anchor)}          # what methods with an anchor draw in its place\n"


def _with_name(names: Sequence[str], concept: str) -> list[str]:
    known = {name_key(name) for name in names}
    return [*names] if name_key(concept) in known else [concept, *names]


def _concept(
    concept: str, anchor: str | None, given: dict[str, list[str]], near: Sequence[str]
) -> ConceptSpec:
    name = file_part(f"my-{concept.lower().replace(' ', '-')}").lower()
    return ConceptSpec(
        name=name, role="evaluated", targets=[concept], anchor=anchor, given=given, near=list(near)
    )


def _draft_concept(
    world: EmojiWorld, kind: str, concept: str, anchor: str | None, taken: set[str]
) -> ConceptSpec:
    """Return a concept of an emoji world, with an anchor of its group and things of other groups as given."""
    spec = world.spec
    known = spec.subject_names if kind == "subject" else spec.style_names
    for option, name in (("new task:", concept), ("--anchor", anchor)):
        if name is not None and name_key(name) not in map(name_key, known):
            raise UserError(f"{option} {name!r}: {world.id} knows these {kind}s: {', '.join(known)}")
    found = next(name for name in known if name_key(name) == name_key(concept))
    group = spec.subjects[spec.group_of(found)] if kind == "subject" else known
    free = [name for name in (*group, *known) if name not in (found, *taken)]
    place = anchor or (free[0] if free else None)
    if kind == "style":
        given = {"style": list(dict.fromkeys(free))[:2], "subject": _spread(world, [])}
        return _concept(found, place, given, [])
    near = [spec.group_of(found)] if set(group) - {found, place, *taken} else []
    return _concept(found, place, {"subject": _spread(world, [found, *taken])}, near)


def _spread(world: EmojiWorld, left_out: Sequence[str]) -> list[str]:
    """Return up to five subjects, each of another group."""
    found = []
    for names in world.spec.subjects.values():
        found += [name for name in names if name not in left_out][-1:]
    return found[:5]


def _toml(value: str | Sequence[str]) -> str:
    """Return a text or a list of texts as TOML, whose basic strings are those of JSON."""
    return json.dumps(value if isinstance(value, str) else list(value), ensure_ascii=False)

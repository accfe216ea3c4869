"""`evaluate`: score somebody's models, or a function that draws, on a task."""

import inspect
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from ._results import MeasuredRecord, Records
from ._suites import check_added_tasks, gather, make_session
from .bench.config import build
from .bench.errors import UserError
from .bench.names import check_name, file_part
from .bench.planning.plan import REFERENCES, Cell, MethodRow, check_options_seeds
from .bench.planning.tasks import PromptSizes, Task, cap_sizes, complete_name
from .bench.running.catalog import registry
from .bench.running.evaluate import make_model_cell, refuse_another, refuse_other_limit
from .bench.running.session import DEFAULT_WORLD, Session, WorldSettings, make_runner, open_tasks
from .bench.worlds.protocol import World

GenerateFunction = Callable[[list[str], list[int]], Any]
"""generate(prompts, seeds) -> one image for each, PIL or uint8 (n, H, W, 3), of the world's size. The same
prompt and seed must give the same image, whatever the batch."""
Generator = str | Path | GenerateFunction | Any
"""A diffusers folder, hub id or LoRA; the name of a function (`module:function`); a function; a pipeline
object."""


def evaluate(
    generator: Generator | Sequence[Generator],
    task: str,
    *,
    name: str | None = None,
    seed: int = 0,
    like: str | Path | None = None,
    policy: str | None = None,
    sizes: Mapping[str, int] | None = None,
    out: str | Path = "runs/evaluate",
    device: str | None = None,
    threads: int | None = None,
    store: str | Path | None = None,
    cell_timeout: float | None = None,
    dtype: str = "auto",
    world: WorldSettings = DEFAULT_WORLD,
    limit: int | None = None,
    tags: Mapping[str, str] | None = None,
) -> MeasuredRecord:
    """Score a model and the base model on a task, and return the model's record.

    generator: a diffusers folder or hub id, a LoRA, a diffusers pipeline, a function `generate(prompts,
    seeds) -> images`, or a list of these: points of one frontier, such as checkpoints. A pipeline is saved
    and opened again; where the saved one differs (hooks, replaced functions, a LoRA that is not fused), a
    UserError names the difference. The images of a function may depend on anything, so they are drawn every
    time, and its record is marked `inline`: it is never ranked and never published. task:
    `family/concept[@world]`. name: on the board; None: the first model's. seed: number of the training run
    that made the model. One of three sets the numbers of prompts: like (a record, whose noise is used, too),
    policy (of `check`) or sizes. limit, tags and the other parameters are those of `run`. Raises UserError
    for arguments that do not fit, and where the evaluation failed.

    >>> record = unlearnbench.evaluate("my-model/", "classes/cat-face@emoji", name="mine")
    >>> record.points[0].values["UA"].value
    """
    call = f"evaluate(..., {task!r})"
    session = make_session(call, None, world, device, threads, store, cell_timeout, dtype, tags)
    options = {"name": name, "seed": seed, "like": like, "policy": policy, "sizes": sizes, "limit": limit}
    found = evaluate_models(generator, task, session, Path(out), **options)  # type: ignore[arg-type]
    if found.failed:
        why = next(
            (record.error for record in found if record.status == "failed"), "no record could be written"
        )
        raise UserError(f"{found.failed[-1]}: failed: {why}; see {found.folder / 'failures'}")
    return found[-1]


def evaluate_models(
    generator: Generator | Sequence[Generator],
    task: str,
    session: Session,
    out: Path,
    *,
    name: str | None = None,
    seed: int = 0,
    like: str | Path | None = None,
    policy: str | None = None,
    sizes: Mapping[str, int] | None = None,
    limit: int | None = None,
) -> Records:
    """Score models as `evaluate` does; return the base model's record and theirs, including failed ones."""
    from .bench.models.outside import check_base

    check_options_seeds("--seed", [seed])
    found = open_tasks(session.world)[complete_name(task)]
    is_frontier = isinstance(generator, list | tuple)
    with ExitStack() as stack:
        given = list(generator) if is_frontier else [generator]  # type: ignore[arg-type]
        models = [stack.enter_context(_as_model(model, name)) for model in given]
        names = check_models(models)
        own = names[0] if name is None else check_name("--name", name)
        if own in REFERENCES or own in registry("methods"):
            raise UserError(f"--name {own}: is a method of this package; give your models another name")
        runner = make_runner(session, out, {found.file.world})
        for model in models:
            check_base(model, runner.worlds[found.file.world].pipeline_folder)
        chosen, noise = read_sizes(found, runner.worlds[found.file.world], like, policy, sizes)
        config = {"points": names} if is_frontier else {"model": names[0]}
        cell = make_model_cell(
            "evaluate",
            found,
            models,
            MethodRow(name=own, config=config, noise=noise),
            cap_sizes(chosen, limit),
            seed,
            limit,
        )
        refuse_other_limit(out, [cell])
        check_added_tasks([cell], runner.worlds)
        refuse_another(runner, cell)
        base = Cell(cell.suite, found, cell.suite.methods[0], None, 0)
        return gather(out, runner.run([base, cell]))


def check_models(models: Sequence[str]) -> list[str]:
    """Return the models' display names; raises UserError where a model is missing, or two have one name."""
    from .bench.models.outside import check_there, name_given, name_models
    from .bench.stats.frontier import MAX_POINTS

    if not 1 <= len(models) <= MAX_POINTS:
        raise UserError(f"--points: {len(models)} given; a method declares 1 to {MAX_POINTS}")
    for model in models:
        check_there(model)
    name_models(models)
    return [name_given(model) for model in models]


def read_sizes(
    task: Task, world: World, like: str | Path | None, policy: str | None, sizes: Mapping[str, int] | None
) -> tuple[PromptSizes, int]:
    """Return numbers of prompts and the seed of the noise."""
    if sum(given is not None for given in (like, policy, sizes)) > 1:
        raise UserError("like, policy, sizes: give one of the three")
    if policy is not None:
        from .bench.gate.policy import read_policy

        return read_policy(policy).sizes, 0
    if like is None:
        return build(PromptSizes, PromptSizes().model_dump() | dict(sizes or {}), "sizes"), 0
    from .bench.checking.expected import find_sizes, noise_of
    from .bench.records.load import load_one

    entry = load_one(Path(like))
    if entry.record.task.id != task.id:
        raise UserError(f"--like {like}: is of {entry.record.task.id}, not of {task.id}")
    return find_sizes(entry.record, entry.items, task, world, str(like)), noise_of(entry.record)


@contextmanager
def _as_model(generator: Generator, name: str | None) -> Iterator[str]:
    """Yield the text that identifies a generator inside: its path, or a name made for it."""
    from .bench.models.outside import given_function

    if isinstance(generator, str | Path):
        yield str(generator)
        return
    if _is_pipeline(generator):
        with TemporaryDirectory() as scratch:
            folder = Path(scratch) / file_part(name or type(generator).__name__)
            _save_pipeline(generator, folder)
            yield str(folder)
        return
    if not callable(generator):
        raise UserError(
            f"generator: {type(generator).__name__}: give a folder, a hub id, a LoRA, a pipeline, or a "
            "function generate(prompts, seeds) -> images"
        )
    called = getattr(generator, "__name__", type(generator).__name__)
    with given_function(generator, "function" if called == "<lambda>" else called) as model:
        yield model


def _is_pipeline(generator: Any) -> bool:
    from diffusers import DiffusionPipeline

    return isinstance(generator, DiffusionPipeline)


def _save_pipeline(pipeline: Any, folder: Path) -> None:
    """Save a pipeline; raises UserError, naming the part, where the saved one draws differently."""
    import torch

    from .bench.models.digests import hook_names, network_parts
    from .bench.models.generators import open_pipeline
    from .bench.models.settings import describe_settings, name_differences
    from .bench.models.whole import hush_libraries

    if hooks := hook_names(pipeline):
        raise UserError(
            f"generator: the pipeline has the hook {hooks[0]}, which no saved model has; remove it"
        )
    with hush_libraries():
        pipeline.save_pretrained(folder)
    saved = open_pipeline(folder, "cpu")
    theirs, ours = network_parts(pipeline), network_parts(saved)
    for part in sorted(theirs.keys() | ours.keys()):
        before = theirs[part].state_dict() if part in theirs else {}
        after = ours[part].state_dict() if part in ours else {}
        for name in sorted(before.keys() | after.keys()):
            pair = [state.get(name) for state in (before, after)]
            if None in pair or not torch.equal(*(tensor.detach().cpu().float() for tensor in pair)):  # type: ignore
                raise UserError(
                    f"generator: {part}.{name} of the pipeline is not in what it saves; fuse and "
                    "unload its LoRA, or give the folder that it came from"
                )
        if replaced := _find_replaced(theirs.get(part), ours.get(part)):
            raise UserError(
                f"generator: {part}: {replaced} is not what the saved pipeline has; it cannot be saved"
            )
    if found := name_differences(describe_settings(saved), describe_settings(pipeline)):
        raise UserError(f"generator: saving the pipeline changes it: {'; '.join(found[:3])}; give its folder")


def _find_replaced(before: Any, after: Any) -> str:
    """Return the first module whose class, processor or own functions saving loses; "" for none."""
    if before is None or after is None:
        return ""
    others = dict(after.named_modules())
    for name, module in before.named_modules():
        if _describe_module(module) != _describe_module(others.get(name)):
            return f"{name or type(before).__name__} ({type(module).__name__})"
    return ""


def _describe_module(module: Any) -> Any:
    if module is None:
        return None
    own = sorted(name for name, value in vars(module).items() if inspect.isroutine(value))
    return type(module).__qualname__, own, type(getattr(module, "processor", None)).__qualname__

"""The two sides of the gate: a baseline's record, and a candidate that is a record or a model."""

import sys
from dataclasses import dataclass, fields, replace
from datetime import date
from pathlib import Path
from typing import Any

from ..errors import UserError
from ..files import check_writable, write_file
from ..measuring.stored import Origin
from ..records.record import record_digest
from ..running.evaluate import make_model_cell
from ..running.session import DEFAULT_SESSION, Session, WorldSettings, make_runner, open_tasks
from ..store import content_key
from ..types import INTERVAL_VERSION


@dataclass(frozen=True)
class GateRequest:
    """What the gate is asked. baseline: a record. candidate: a record, or a model as `evaluate` takes it.

    policy: a TOML file or an example's name. baseline_model: its diffusers folder, for rules on weights.
    point, candidate_point: labels of points; None: the last. out: folder of the reports; None: none are
    written. session: of the machine that measures a candidate.
    """

    baseline: Path
    candidate: str
    policy: str
    baseline_model: str | None = None
    point: str | None = None
    candidate_point: str | None = None
    out: Path | None = None
    session: Session = DEFAULT_SESSION


_PATHS = ("baseline", "out", "store", "data", "world_folder")


def read_request(**options: Any) -> GateRequest:
    """Return a request from options that are named as the fields of GateRequest, Session and WorldSettings.

    Options of None are left out. Paths may be text. Raises UserError for a name that is in none of them.
    """
    given = {
        name: Path(value) if name in _PATHS else value for name, value in options.items() if value is not None
    }
    given |= {name: str(given[name]) for name in ("candidate", "policy", "baseline_model") if name in given}
    parts: list[dict[str, Any]] = []
    for kind in (WorldSettings, Session, GateRequest):
        names = {field.name for field in fields(kind)} - {"world", "session"}
        parts.append({name: given.pop(name) for name in names & given.keys()})
    if given:
        raise UserError(f"{min(given)}: no option of `check`")
    world, machine, asked = parts
    return GateRequest(**asked, session=Session(**machine, world=WorldSettings(**world)))


def judge(options: GateRequest) -> tuple[str, list[Any], Any]:
    """Return a title, the findings and the prompts that lost most; write the reports where `out` is given.

    Raises UserError where nothing could be judged.
    """
    from .check import check, worst_prompts
    from .policy import PAIRED, WEIGHTS, read_policy
    from .report import to_junit, to_markdown

    if options.out:
        try:
            check_writable(options.out)  # before hours of drawing
        except UserError as error:
            raise UserError(f"--out {error}") from None
    policy = read_policy(options.policy)
    origin, baseline = read_side(options.baseline, options.point)
    needs_weights = any(rule.metric == WEIGHTS for rule in policy.rules)
    weights = compare_weights(options, origin) if needs_weights else ""  # before hours of drawing
    target, candidate = _candidate(options, policy, origin, baseline.items)
    check_alike(origin.record, target.record)
    findings = check(policy, baseline, candidate, date.today(), weights)
    title = f"{policy.name}: {candidate.name} against {baseline.name}"
    metric = next((f.metric for f in findings if f.state == "regressed" and f.metric in PAIRED), "VA")
    worst = worst_prompts(metric, baseline, candidate).assign(metric=metric)
    if options.out:
        pairs = write_images(worst, (origin, target), options.out, options.session.store)
        facts = {
            "date": date.today().isoformat(),
            "task": origin.record.task.id,
            "baseline": f"{options.baseline.name}, digest {record_digest(origin.record)}",
            "candidate": f"{candidate.name}, digest {record_digest(target.record)}",
            "policy": f"{policy.name}, digest {content_key(policy.model_dump(mode='json'))}",
            "intervals": f"version {INTERVAL_VERSION}, {policy.level:.0%} of differences, 95 % of values",
        }
        write_file(options.out / "junit.xml", to_junit(title, findings, facts))
        text = to_markdown(title, findings, worst, pairs, facts)
        write_file(options.out / "summary.md", text)
    return title, findings, worst


def write_images(
    worst: Any, sides: tuple[Origin, Origin], out: Path, place: Path | str | None
) -> list[tuple[str, str]]:
    """Write before/after images of the worst prompts beside the reports; none unless all are in the store."""
    from ..measuring.items import read_guidance
    from ..running.sharing.remote import open_any_store

    store = open_any_store(place, lambda line: None)
    rows = worst.to_dict("records")
    asked = [(row["prompt"], int(row["seed"]), read_guidance(row)) for row in rows]
    found = [[side.find_image(store, *request) for side in sides] for request in asked]
    if not rows or any(image is None for pair in found for image in pair):
        return []
    names = []
    for number, pair in enumerate(found, start=1):
        files = tuple(f"{number}-{when}.png" for when in ("before", "after"))
        for file, image in zip(files, pair, strict=True):
            write_file(out / file, image or b"")
        names.append((files[0], files[1]))
    return names


def read_side(path: Path, point: str | None) -> tuple[Origin, Any]:
    """Return a record's point (by label; the last one otherwise), and it as a side of the gate.

    Raises UserError where the record is of a failed run, or was taken back: nothing is judged by it.
    """
    from ..records.load import find_withdrawal, load_one, statements_about
    from .check import make_side

    loaded = load_one(path)
    record = loaded.record
    if gone := find_withdrawal(statements_about(path, loaded)):
        reason = " ".join(gone.reason.split())
        raise UserError(f"{path}: {gone.kind} by {gone.by} ({gone.date}): {reason}; name another record")
    if record.status != "ok" or loaded.items is None:
        raise UserError(f"{path}: status: the record is of a run that failed; it cannot be compared with")
    if record.source == "external":
        raise UserError(f"{path}: source: is of given images, which are not compared with drawn ones")
    if record.limit is not None:
        raise UserError(f"{path}: limit: {record.limit} prompts of each set; measure it without --limit")
    labels = [p.label for p in record.points]
    if point is not None and point not in labels:
        raise UserError(f"--point {point}: {path.name} has the points {', '.join(labels)}")
    chosen = record.points[-1 if point is None else labels.index(point)]
    rows = loaded.items[loaded.items["point"] == chosen.index].reset_index(drop=True)
    name = record.method.name if len(labels) == 1 else f"{record.method.name} {chosen.label}"
    return Origin(record, chosen), make_side(name, chosen.values, rows)


def compare_weights(options: GateRequest, baseline: Origin) -> Any:
    """Return how far the candidate lies from --baseline-model, in weights and settings, or why nobody knows.

    Raises UserError where the baseline's record was not measured on that model.
    """
    import torch

    from ..models.generators import open_pipeline
    from ..models.hub import find
    from ..models.outside import kind_of
    from ..models.points import ModelHolder
    from ..models.settings import describe_settings, name_differences
    from .weights import largest_change

    if not options.baseline_model:
        return "weights are compared with those of --baseline-model FOLDER; there is none"
    if options.candidate.endswith(".json") or kind_of(options.candidate) != "pipeline":
        return "weights are compared where the candidate is a diffusers folder"
    before, after = find(options.baseline_model), find(options.candidate)
    dtype = getattr(torch, baseline.dtype.removeprefix("torch."))
    # a world's own model goes by its weights alone
    known = (
        ModelHolder(str(before), baseline.sampling, "cpu", dtype, frozen=frozen).fingerprint
        for frozen in (True, False)
    )
    if baseline.point.fingerprint not in known:
        said = f"--baseline-model {options.baseline_model}"
        raise UserError(f"{said}: not the model that {options.baseline} was measured on")
    settings = [describe_settings(open_pipeline(model, "cpu", dtype)) for model in (before, after)]
    change = largest_change(Path(before), Path(after))
    return replace(change, settings=tuple(name_differences(*settings)))


def check_alike(baseline: Any, candidate: Any) -> None:
    """Raise UserError where two records are not of one task, judged and drawn alike: the gate would take the
    judge's or the sampler's difference for the model's."""
    asked = ("id", "version", "judge", "world")
    drawn = ("steps", "guidance", "height", "width", "negative_prompt", "scheduler", "noise")
    both = [(f"task.{n}", getattr(baseline.task, n), getattr(candidate.task, n)) for n in asked]
    both += [(f"sampling.{n}", baseline.sampling.get(n), candidate.sampling.get(n)) for n in drawn]
    for name, first, second in both:
        if first != second:
            raise UserError(f"candidate: {name}: is {second!r}, the baseline's {first!r}; measure both alike")


def _candidate(options: GateRequest, policy: Any, baseline: Origin, items: Any) -> tuple[Origin, Any]:
    """Return the candidate: a record's point, or a model that is evaluated now."""
    from .check import Side

    path, record = Path(options.candidate), baseline.record
    if path.suffix == ".json":
        return read_side(path, options.candidate_point)
    from ..checking.expected import find_sizes, noise_of
    from ..models.device.precision import recorded_dtype
    from ..models.outside import check_there
    from ..names import name_model
    from ..planning.plan import MethodRow

    check_there(options.candidate)
    task = open_tasks(options.session.world)[record.task.id]
    if task.file.judge != record.task.judge:
        raise UserError(f"baseline: judged by {record.task.judge}, this version judges by {task.file.judge}")
    name = name_model(options.candidate)
    row = MethodRow(name=name, config={"model": name}, noise=noise_of(record))
    folder = options.out or Path("runs") / "check"
    session = replace(options.session, dtype=recorded_dtype(record.sampling, Path(options.baseline)))
    runner = make_runner(session, folder, {task.file.world})
    world = runner.worlds[task.file.world]
    sizes = find_sizes(record, items, task, world, str(options.baseline), policy.sizes)
    if sizes != policy.sizes:
        print(
            "the baseline was measured with other [sizes] than the policy's: its own are drawn",
            file=sys.stderr,
        )
    cell = make_model_cell("check", task, [options.candidate], row, sizes)
    [outcome] = runner.run([cell])
    if outcome.state == "failed":
        raise UserError(f"--candidate {options.candidate}: {_error(outcome.path)}")
    target, side = read_side(outcome.path, None)
    return target, Side(name, side.values, side.items)


def _error(path: Path) -> str:
    from ..records.record import read_record

    return str(read_record(path).error)

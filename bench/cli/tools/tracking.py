"""Records in other trackers, after the run: TensorBoard, MLflow, Weights & Biases (offline), Trackio.

One record is one run. A point's values stand at its step, training curves at theirs. What is missing is left
out: a tracker has no reason to show in its place.
"""

import contextlib
import io
import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

from ...errors import UserError
from ...files import make_folder
from ...records.load import Loaded

DIGEST = "unlearnbench.digest"
"""Tag or setting of a run: the digest of the record that it shows."""
MOST_TEXT = 500
"""Most characters of a parameter that MLflow keeps."""


@dataclass(frozen=True)
class Number:
    """One number of a run: its name, the step, the value."""

    name: str
    step: int
    value: float


def list_numbers(loaded: Loaded) -> Iterator[Number]:
    """Yield the values of a record's points, with the ends of their intervals, and its training curves."""
    record = loaded.record
    for point in record.points:
        for name, value in point.values.items():
            for end, number in (("", value.value), ("/low", value.low), ("/high", value.high)):
                if number is not None:
                    yield Number(f"{name}{end}", point.step, number)
        for name in ("seconds", "memory_bytes"):
            cost = point.cost.read(name)
            if cost is not None:
                yield Number(f"cost/{name}", point.step, cost)
    steps = record.log.get("step")
    for name, column in record.log.items():
        for place, number in enumerate(column):
            step = place + 1 if steps is None else steps[place]
            if name != "step" and number is not None and step is not None:
                yield Number(f"training/{name}", int(step), number)


def describe(loaded: Loaded) -> dict[str, str]:
    """Return what a run is of: task, method and its settings, seed, versions; as texts."""
    record = loaded.record
    about = {
        "task": record.task.id,
        "row": loaded.row,
        "method": f"{record.method.name} {record.method.version}",
        "seed": record.seed,
        "suite": record.suite,
        "source": record.source,
        "judge": record.task.judge,
        **{f"config.{name}": value for name, value in record.method.config.items()},
    }
    return {
        name: value if isinstance(value, str) else json.dumps(value, sort_keys=True)
        for name, value in about.items()
    }


def by_step(loaded: Loaded) -> dict[int, dict[str, float]]:
    """Return step -> name -> number, steps rising: trackers that log a step at once take no earlier one."""
    found: dict[int, dict[str, float]] = {}
    for number in list_numbers(loaded):
        found.setdefault(number.step, {})[number.name] = number.value
    return dict(sorted(found.items()))


def _settings(loaded: Loaded) -> dict[str, str]:
    """Return what trackers without tags keep: what a run is of, the record's tags, status and digest."""
    record = loaded.record
    tags = {f"tag.{name}": value for name, value in record.tags.items()}
    about = {"status": record.status, "created": record.created, DIGEST: loaded.digest}
    return describe(loaded) | tags | about


def _title(loaded: Loaded) -> str:
    return f"{loaded.record.task.id} {loaded.row}"


def _not_installed(tracker: str) -> UserError:
    return UserError(f"--to {tracker}: not installed; pip install 'unlearnbench[{tracker}]'")


def _count(new: Sequence[Loaded], entries: Sequence[Loaded]) -> str:
    return f"{len(new)} new runs, {len(entries) - len(new)} there already"


def _created(loaded: Loaded) -> float:
    return datetime.fromisoformat(loaded.record.created).timestamp()


def export_tensorboard(entries: Sequence[Loaded], out: Path) -> str:
    """Write one folder of event files for each record; return how to look at them.

    Raises UserError where tensorboard is missing, or a folder is there already: events only add up.
    """
    try:
        from torch.utils.tensorboard import SummaryWriter
    except ImportError:
        raise _not_installed("tensorboard") from None
    folders = [out / entry.record.cell for entry in entries]
    taken = next((folder for folder in folders if folder.exists()), None)
    if taken is not None:
        raise UserError(f"{taken}: is there already, and events only add up; name a new --out")
    for entry, folder in zip(entries, folders, strict=True):
        time = _created(entry)
        with SummaryWriter(str(folder)) as writer:
            for number in list_numbers(entry):
                writer.add_scalar(number.name, number.value, number.step, walltime=time)
            lines = [f"    {name} = {value}" for name, value in describe(entry).items()]
            writer.add_text("record", "\n".join([*lines, f"    digest = {entry.digest}"]), walltime=time)
    return f"look at them: tensorboard --logdir {out}"


def export_mlflow(entries: Sequence[Loaded], uri: str, experiment: str) -> str:
    """Write one run for each record that an experiment does not have yet; return how to look at them.

    uri: of the tracking server or data base (`sqlite:///mlflow.db`). Raises UserError where mlflow is missing
    or the tracker refuses.
    """
    try:
        from mlflow import MlflowClient
        from mlflow.exceptions import MlflowException
    except ImportError:
        raise _not_installed("mlflow") from None
    try:
        client = MlflowClient(tracking_uri=uri)
        known = client.get_experiment_by_name(experiment)
        place = client.create_experiment(experiment) if known is None else known.experiment_id
        new = [entry for entry in entries if not _has_run(client, place, entry.digest)]
        for entry in new:
            _write_run(client, place, entry)
    except MlflowException as error:
        reason = " ".join(str(error).split())
        raise UserError(f"--uri {uri}: MLflow refuses: {reason:.300}") from None
    return f"{_count(new, entries)}; experiment {experiment} at {uri}"


def _has_run(client: Any, experiment: str, digest: str) -> bool:
    return bool(client.search_runs([experiment], f"tags.`{DIGEST}` = '{digest}'", max_results=1))


def _write_run(client: Any, experiment: str, entry: Loaded) -> None:
    from mlflow.entities import Metric, Param, RunTag

    time = int(_created(entry) * 1000)
    tags = {
        "mlflow.runName": _title(entry),
        **entry.record.tags,
        DIGEST: entry.digest,
    }
    run = client.create_run(experiment, start_time=time, tags=tags).info.run_id
    numbers = [Metric(n.name, n.value, time, n.step) for n in list_numbers(entry)]
    params = [Param(name, value[:MOST_TEXT]) for name, value in describe(entry).items()]
    for start in range(0, len(numbers), 1000):  # the most that one call takes
        client.log_batch(run, metrics=numbers[start : start + 1000])
    client.log_batch(run, params=params, tags=[RunTag("status", entry.record.status)])
    client.set_terminated(run, "FINISHED" if entry.record.status == "ok" else "FAILED")


def export_wandb(entries: Sequence[Loaded], out: Path, project: str) -> str:
    """Write one offline run for each record that the folder does not have yet; return how to send them.

    Nothing leaves this machine and no account is needed; `wandb sync` sends the runs. A run that was cut off
    counts as there: remove its folder. Raises UserError where wandb is missing or refuses.
    """
    try:
        from wandb import Error, Settings, init, teardown  # a folder `wandb` here is no library
    except ImportError:
        raise _not_installed("wandb") from None
    quiet = Settings(
        silent=True,
        console="off",
        x_disable_stats=True,
        x_disable_meta=True,
        disable_git=True,
        save_code=False,
    )
    new = [entry for entry in entries if not any(out.glob(f"wandb/*run-*-{entry.digest[:32]}"))]
    make_folder(out)  # wandb would take another place where there is none
    for entry in new:
        try:
            run = init(
                project=project,
                id=entry.digest[:32],
                name=_title(entry),
                config=_settings(entry),
                dir=str(out),
                mode="offline",
                reinit="create_new",
                settings=quiet,
            )
            for step, numbers in by_step(entry).items():
                run.log(numbers, step=step)
            run.finish(exit_code=0 if entry.record.status == "ok" else 1)
        except (Error, ValueError) as error:  # a setting that it does not take is a ValueError
            raise UserError(
                f"--experiment {project}: wandb refuses: {' '.join(str(error).split()):.300}"
            ) from None
    teardown()  # `finish` may return before the last numbers are on the disk
    return f"{_count(new, entries)}; send them: wandb sync {out / 'wandb'}/offline-run-*"


def export_trackio(entries: Sequence[Loaded], project: str) -> str:
    """Write one run for each record that a local project does not have yet; return how to look at them.

    The library keeps projects in `TRACKIO_DIR`. A run that was cut off counts as there. Raises UserError
    where the library is missing or refuses.
    """
    try:
        from trackio import Api, finish, init
    except ImportError:
        raise _not_installed("trackio") from None
    try:
        runs = list(Api().runs(project))
    except ValueError:  # no such project yet
        runs = []
    there = {(run.config or {}).get(DIGEST) for run in runs}
    new = [entry for entry in entries if entry.digest not in there]
    for entry in new:
        name = f"{_title(entry)} {entry.digest[:8]}"
        try:
            with contextlib.redirect_stdout(io.StringIO()):  # it greets each run
                options = {"embed": False, "auto_log_gpu": False, "auto_log_cpu": False}
                run = init(project, name, config=_settings(entry), **options)
                for step, numbers in by_step(entry).items():
                    run.log(numbers, step=step)
                finish()
        except (ValueError, OSError) as error:
            raise UserError(f"--experiment {project}: trackio refuses: {error}") from None
    return f"{_count(new, entries)}; look at them: trackio show --project {project}"

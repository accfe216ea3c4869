"""`push` and `pull`: folders of records and unlearned models on the Hugging Face Hub.

A folder of records is a dataset there. Nothing is sent without a repository that the user names and a token
of the user's own; a new repository is private unless the user asks for a public one.
"""

import argparse
import contextlib
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Literal

from ...errors import UserError
from ...files import check_new_folder, replace_folder
from ..common import AddOptions, read_world
from ..records import validate_records

Kind = Literal["dataset", "model"]
KINDS: dict[str, Kind] = {"records": "dataset", "model": "model"}
MADE = "unlearning.json"
"""The file that tells an unlearned model's folder."""
CARD = "README.md"
PAGES = "leaderboard"
"""Folder of the page that a run writes next to its records."""
PARTS = (".json", ".parquet", ".webp")
"""Suffixes of the files of a folder of records; its list of digests is SHA256SUMS."""
NOT_OPENED = ("*.bin", "*.ckpt", "*.pt", "*.pth", "*.pkl", "*.pickle", "*.py")
"""Files that `pull` leaves at the Hub: they could run code when they are opened."""


def push_folder(options: argparse.Namespace) -> int:
    """Send a folder of records, or an unlearned model, to a repository of the user's; print its address.

    Records are sent only if they pass their checks, and a model's values only if its own weights gave them.
    """
    from huggingface_hub import CommitOperationAdd, HfApi, get_token

    folder: Path = options.folder
    if not folder.is_dir():
        raise UserError(f"{folder}: no such folder")
    _check_name("--to", options.to)
    if get_token() is None:
        raise UserError("push: no token of yours; log in with `hf auth login`, or set HF_TOKEN")
    kind: Kind = "model" if (folder / MADE).is_file() else "dataset"
    if kind == "dataset" and options.record:
        raise UserError(f"--record: {folder} is no unlearned model ({MADE} is missing); leave the option out")
    options.paths = [folder]
    if kind == "dataset" and validate_records(options):
        print("nothing was sent")
        return 1
    card = _make_card(options, kind)
    files = _list_files(folder, kind)
    sent = [CommitOperationAdd(file.relative_to(folder).as_posix(), file) for file in files]
    sent.append(CommitOperationAdd(CARD, card.encode()))
    with _told(f"push to {options.to}"):
        api = HfApi()
        api.create_repo(options.to, repo_type=kind, private=not options.public, exist_ok=True)
        done = api.create_commit(options.to, sent, commit_message="Push from unlearnbench", repo_type=kind)
    print(f"sent: {len(sent)} files to the {kind} {options.to}: {done.commit_url}")
    return 0


def _make_card(options: argparse.Namespace, kind: Kind) -> str:
    from ...records.chosen import refuse_unranked
    from ...records.layout import find_records
    from ...records.record import read_record
    from .hub_cards import write_dataset_card, write_model_card

    if kind == "model":
        measured = [_read_measured(path, options) for path in options.record or ()]
        return write_model_card(options.folder, options.to, measured, options.licence)
    paths = find_records([options.folder])
    records = [read_record(path) for path in paths]
    for path, record in zip(paths, records, strict=True):
        refuse_unranked(path, record)
    return write_dataset_card(records, options.to, options.licence)


def _read_measured(path: Path, options: argparse.Namespace) -> Any:
    """Return the point of a record that measured this very model; raises UserError where it did not."""
    import torch

    from ...measuring.stored import Origin
    from ...models.outside import open_holder
    from ...records.chosen import choose_point, refuse_unranked
    from ...records.load import load_one
    from ...running.session import open_worlds

    chosen = choose_point(load_one(path))
    record = chosen.loaded.record
    refuse_unranked(path, record)
    origin, name = Origin(record, chosen.point), record.task.world.partition("@")[0]
    world = open_worlds({name}, read_world(options), "cpu")[name]
    dtype = getattr(torch, origin.dtype.removeprefix("torch."))
    model = str(options.folder)
    holder = open_holder(model, world.pipeline_folder, origin.sampling, "cpu", not world.is_placed, dtype)
    if holder.fingerprint != chosen.point.fingerprint:
        raise UserError(
            f"--record {path}: was not measured on {options.folder}, or its weights or settings changed "
            f"since; `unlearnbench evaluate --model {options.folder}` measures it"
        )
    return chosen


def _list_files(folder: Path, kind: Kind) -> list[Path]:
    """Return the files to send; those left out are printed. Links and hidden files are never sent."""
    chosen: list[Path] = []
    left: list[Path] = []
    for file in sorted(path for path in folder.rglob("*") if not path.is_dir()):
        parts = file.relative_to(folder).parts
        is_plain = not any((folder.joinpath(*parts[: i + 1])).is_symlink() for i in range(len(parts)))
        is_part = kind == "model" or file.suffix in PARTS or file.name == "SHA256SUMS"
        is_shown = PAGES not in parts and not any(part.startswith(".") for part in parts)
        if parts != (CARD,):  # it is written afresh
            (chosen if is_plain and is_part and is_shown else left).append(file)
    for file in left:
        print(f"left out: {file.relative_to(folder)}")
    return chosen


def pull_folder(options: argparse.Namespace) -> int:
    """Fetch a folder of records or a model into a new folder; print the command that comes next."""
    from huggingface_hub import HfApi

    _check_name("REPOSITORY", options.repository)
    check_new_folder(options.out)
    kind = KINDS[options.kind]

    def write(scratch: Path) -> None:
        with _told(f"pull {options.repository}"):
            HfApi().snapshot_download(
                options.repository,
                repo_type=kind,
                revision=options.revision,
                local_dir=scratch,
                ignore_patterns=[*NOT_OPENED, ".gitattributes"],
            )
        shutil.rmtree(scratch / ".cache", ignore_errors=True)
        _check_pulled(scratch, options.repository, kind)

    replace_folder(options.out, write)
    command = "validate" if kind == "dataset" else "evaluate --model"
    print(f"pulled: {options.out}")
    print(f"check it: unlearnbench {command} {options.out}")
    return 0


def _check_pulled(folder: Path, repository: str, kind: Kind) -> None:
    from ...models.layout import INDEX
    from ...models.lora import LORA_FILE
    from ...records.packed.record_table import RECORDS

    if kind == "dataset":
        is_whole = any(folder.rglob("*.json")) or any(folder.rglob(RECORDS))
    else:
        is_whole = any((folder / name).is_file() for name in (INDEX, LORA_FILE))
    if not is_whole:
        what = "records" if kind == "dataset" else "model of diffusers and no LoRA"
        raise UserError(f"{repository}: holds no {what}; nothing was kept")


def _check_name(option: str, name: str) -> None:
    from huggingface_hub.errors import HFValidationError
    from huggingface_hub.utils import validate_repo_id

    with contextlib.suppress(HFValidationError):
        validate_repo_id(name)
        if name.count("/") == 1:
            return
    raise UserError(f"{option} {name!r}: a repository on the Hub is owner/name")


@contextlib.contextmanager
def _told(what: str) -> Iterator[None]:
    """Turn what the Hub or the network refuses into one line."""
    from huggingface_hub import constants, errors

    try:
        yield
    except errors.RepositoryNotFoundError:
        raise UserError(
            f"{what}: no such repository at {constants.ENDPOINT}, or your token may not see it"
        ) from None
    except errors.HfHubHTTPError as error:
        said = error.server_message or str(error).strip().partition("\n")[0]
        raise UserError(f"{what}: {constants.ENDPOINT} refused: {said}") from None
    except (
        errors.HTTPError,
        ConnectionError,
        errors.LocalEntryNotFoundError,
        errors.OfflineModeIsEnabled,
    ) as error:
        reason = str(error).strip().partition("\n")[0]
        raise UserError(f"{what}: {constants.ENDPOINT} cannot be reached: {reason}") from None


def add_hub(commands: Any, add_places: AddOptions) -> None:
    """Add `push` and `pull` to the command line."""
    push = commands.add_parser("push", help="send records or an unlearned model to the Hugging Face Hub")
    push.add_argument("folder", type=Path, help="folder of records, or one that `unlearn` wrote")
    push.add_argument("--to", required=True, metavar="OWNER/NAME", help="the repository; made if need be")
    push.add_argument("--public", action="store_true", help="make a new repository public (default: private)")
    push.add_argument("--licence", help="the Hub's name of a licence, for the card: apache-2.0")
    push.add_argument(
        "--record",
        type=Path,
        action="append",
        metavar="RECORD",
        help="a model's record (CELL.json), whose values its card then holds; repeatable",
    )
    add_places(push, "--base-model")
    push.set_defaults(run=push_folder)
    pull = commands.add_parser("pull", help="fetch records or a model from the Hugging Face Hub")
    pull.add_argument("repository", metavar="OWNER/NAME")
    pull.add_argument("--out", type=Path, required=True, help="new folder to write")
    pull.add_argument("--kind", choices=tuple(KINDS), default="records", help="(default: records)")
    pull.add_argument("--revision", help="branch, tag or commit (default: main)")
    pull.set_defaults(run=pull_folder)

"""`audit`: its options, and its actions: write a report, make a key pair, or check a seal."""

import argparse
from datetime import date
from pathlib import Path
from typing import Any

from ..errors import UserError
from ..files import write_file

CHANGED = 1
UNKNOWN = 2
"""Exit status of --verify: 0 intact and signed by the given key, 1 changed, 2 signer not established."""
TEXT_FILES = (".txt", ".md")


def audit(options: argparse.Namespace) -> int:
    """Make a key, verify a report, or write one: exactly one of the three."""
    chosen = [name for name in ("record", "new_key", "verify") if getattr(options, name) is not None]
    if len(chosen) != 1:
        raise UserError("audit: give a record, --verify FILE.html or --new-key KEY.pem; one of the three")
    if options.new_key is not None:
        return _make_key(options.new_key)
    return _verify(options) if options.verify is not None else _write(options)


def _make_key(path: Path) -> int:
    from ...leaderboard.audit.seal import write_key

    public = write_key(path)
    print(f"private key: {path} (keep it to yourself)\npublic key: {public} (give it to whoever verifies)")
    return 0


def _verify(options: argparse.Namespace) -> int:
    """Print the result of checking a report's seal, as one line."""
    from ...leaderboard.audit.seal import public_hex, read_key, verify

    wanted = public_hex(read_key(options.public, private=False)) if options.public else None
    try:
        found = verify(options.verify.read_bytes())
    except OSError as error:
        raise UserError(f"{options.verify}: cannot be read: {error.strerror}") from None
    name = options.verify.name
    if found.state == "changed":
        print(f"{name}: CHANGED: {found.reason}")
        return CHANGED
    if found.state == "unsigned":
        print(f"{name}: whole by its own digest, but unsigned: anyone could have made it")
        return CHANGED if wanted else UNKNOWN
    if wanted is None:
        print(f"{name}: whole, signed by an unknown key {found.public}; name whose it should be: --public")
        return UNKNOWN
    if found.public != wanted:
        print(f"{name}: signed by another key than {options.public.name}: {found.public}")
        return CHANGED
    print(f"{name}: whole, and signed by the key {options.public.name}")
    return 0


def _write(options: argparse.Namespace) -> int:
    from ...leaderboard.audit.audit import Unlearning, make_audit
    from ...leaderboard.audit.page import render
    from ...leaderboard.audit.seal import public_hex, read_key, seal
    from ..config import read_json
    from ..gate.policy import read_policy
    from ..records.chosen import refuse_unranked
    from ..records.record import read_record

    if options.out is None:
        raise UserError("--out: name the report's file, such as report.html")
    refuse_unranked(options.record, read_record(options.record))
    key = read_key(options.key, private=True) if options.key else None
    made = read_json(Unlearning, options.unlearning) if options.unlearning else None
    report = make_audit(
        options.record,
        read_text(options.why or ""),
        policy=read_policy(options.policy) if options.policy else None,
        point=options.point,
        baseline=options.baseline,
        labels=options.labels or (),
        day=_read_day(options.date),
        unlearning=made,
    )
    page = render(report, public_hex(key) if key else "", options.show)
    write_file(options.out, seal(page, key))
    print(f"report: {options.out} ({'signed' if key else 'not signed'})")
    return 0


def read_text(text: str) -> str:
    """Return the text of the file that `text` names, else the text itself."""
    try:
        there = Path(text).is_file()
    except (OSError, ValueError):  # too long for a name, or not one
        there = False
    if not there:
        if text.endswith(TEXT_FILES) and " " not in text:
            raise UserError(f"--why {text}: no such file")
        return text
    try:
        return Path(text).read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise UserError(f"--why {text}: not a text file in UTF-8: {error}") from None


def _read_day(text: str | None) -> Any:
    try:
        return date.fromisoformat(text) if text else None
    except ValueError:
        raise UserError(f"--date {text}: no date of the form 2026-12-31") from None


def add_audit(commands: Any) -> None:
    parser = commands.add_parser("audit", help="a report for those who answer for a model; keys; verify")
    parser.add_argument("record", type=Path, nargs="?", help="a record (CELL.json)")
    parser.add_argument("--why", metavar="TEXT|FILE", help="why the concept was removed")
    parser.add_argument("--policy", type=Path, help="a TOML file of rules and waivers, as `check` takes it")
    parser.add_argument(
        "--point", help="label of the point (default: the one chosen beforehand, or the last)"
    )
    parser.add_argument("--baseline", type=Path, help="record of the model before (default: next to RECORD)")
    parser.add_argument("--labels", type=Path, nargs="+", help="people's answers (default: next to RECORD)")
    parser.add_argument("--unlearning", type=Path, help="unlearning.json of the model that `unlearn` made")
    parser.add_argument("--date", help="the report's day (default: the record's)")
    parser.add_argument("--show", action="store_true", help="do not blur images of nudity")
    parser.add_argument("--key", type=Path, help="sign with this private key (PEM)")
    parser.add_argument("--out", type=Path, metavar="FILE.html", help="where to write the report")
    parser.add_argument("--new-key", type=Path, metavar="KEY.pem", help="make a key pair: KEY.pem, KEY.pub")
    parser.add_argument("--verify", type=Path, metavar="FILE.html", help="check the seal of a report")
    parser.add_argument("--public", type=Path, metavar="KEY.pub", help="with --verify: the expected signer")
    parser.set_defaults(run=audit)

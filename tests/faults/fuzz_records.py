"""Damaged records, claims and stores: what the commands that read them say, and what a run makes of them."""

import random
import shutil
import zipfile
from pathlib import Path

import pandas as pd

try:
    from .fuzz_call import Done, WrongError, call, check_untouched, guarded, snapshot
    from .fuzz_damage import damage_bytes, damage_tree, differing, write_json
    from .fuzz_kinds import State, refusal
    from .fuzz_world import World, read_json
except ImportError:  # run as a script
    from fuzz_call import Done, WrongError, call, check_untouched, guarded, snapshot
    from fuzz_damage import damage_bytes, damage_tree, differing, write_json
    from fuzz_kinds import State, refusal
    from fuzz_world import World, read_json


TESTABLE = (
    "UA",
    "UA_other",
    "UA_nothing",
    "VA",
    "VA_given",
    "in_prompt",
    "IRA",
    "IRA_given",
    "CRA",
    "CRA_given",
)
"""Values that follow from the item rows: `validate` counts them again."""
TIMES = ("command", "created", "seconds", "environment")
"""Fields that differ between two runs that measure the same."""
NOTES = ("notes.txt", "sub/photo.png")
"""Files of the user's own beside what is read; no command may touch them."""


def add_notes(folder: Path) -> None:
    for name in NOTES:
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"mine")


def records(world: World, folder: Path, rng: random.Random, told: list[str]) -> State:
    """Validate a damaged record and make a board of it."""
    source = rng.choice((world.records, world.packed))
    shutil.copytree(source, folder / "records")
    add_notes(folder / "records" / "mine")
    path = rng.choice(sorted(p for p in (folder / "records").iterdir() if p.is_file()))
    told.append(f"{path.suffix} {_damage_record_file(path, rng)}")
    before = snapshot(folder)
    done = call("validate", folder / "records")
    board = call("leaderboard", folder / "records", "--out", folder / "board")
    call("compare", folder / "records")
    check_untouched(before, folder)
    if done.code and told[0].endswith("nothing"):
        raise WrongError("BAD number", f"a whole record is refused: {done.out[-300:]}")
    if done.code:
        return _said(done)
    state = _believed(source / path.name, path)
    return (state[0], f"{state[1]}; board: {board.code}")


def _damage_record_file(path: Path, rng: random.Random) -> str:
    if (chance := rng.random()) < 0.15:
        if chance < 0.05:
            return "nothing"
        path.unlink()
        return "removed"
    if path.suffix == ".json" and rng.random() < 0.8:
        changed, what, _ = damage_tree(read_json(path), rng)
        write_json(path, changed)
        return what
    if path.suffix == ".parquet" and rng.random() < 0.5:
        table = pd.read_parquet(path)
        row, column = rng.randrange(len(table)), rng.choice(sorted(table.columns))
        table[column] = table[column].astype(object)
        table.loc[row, column] = rng.choice((None, "x", -1, True))
        try:
            table.to_parquet(path)
        except Exception:  # mixed types cannot be written: damage of another kind
            table.drop(columns=column).to_parquet(path)
        return f"cell {column}"
    return damage_bytes(path, rng)


def _said(done: Done) -> State:
    """Return `refused` where `validate` names what failed."""
    named = [line for line in done.out.splitlines() if line.startswith("failed:")] + done.refusals
    if not named:
        raise WrongError("BAD refusal", f"status {done.code}, and nothing is named: {done.out[-200:]}")
    return "refused", named[0]


def _believed(whole: Path, path: Path) -> State:
    """Judge a damaged record that `validate` passed: what it says must be what was measured."""
    if not path.exists():
        if path.suffix == ".json":
            return "right", "the record is not there"
        raise WrongError("BAD number", f"{path.suffix} is gone, and validate passes")
    if path.suffix != ".json":
        if path.suffix == ".parquet" and pd.read_parquet(whole).equals(pd.read_parquet(path)):
            return "right", "equal rows"
        if path.read_bytes() == whole.read_bytes():
            return "right", "equal bytes"
        raise WrongError("BAD number", f"another {path.suffix}, and validate passes")
    changed = differing(read_json(whole), read_json(path))
    for place in changed:
        if len(place) > 3 and place[0] == "points" and place[2] == "values" and place[3] in TESTABLE:
            raise WrongError("BAD number", f"validate passes another {'.'.join(map(str, place))}")
    return ("uncheckable", str(changed[0])) if changed else ("right", "equal content")


def resumed(world: World, folder: Path, rng: random.Random, told: list[str]) -> State:
    """Damage a file of a run's records and repeat the run: the records must be those of the whole run."""
    out = folder / "records"
    shutil.copytree(world.records, out)
    shutil.copytree(world.store, folder / "store")
    path = rng.choice(sorted(p for p in out.iterdir() if p.is_file()))
    told.append(f"{path.suffix} {_damage_record_file(path, rng)}")
    return _run_again(world, folder)


def stores(world: World, folder: Path, rng: random.Random, told: list[str]) -> State:
    """Damage a store and repeat the run from it: the records must be those of the whole run."""
    store = folder / "store"
    shutil.copytree(world.store, store)
    told.append(damage_store(store, rng))
    if rng.random() < 0.3:
        shutil.copytree(world.records, folder / "records")
        told[0] += " with records"
    try:
        return _run_again(world, folder)
    finally:  # a folder that was made read-only could not be removed
        for entry in (store, *store.rglob("*")):
            if entry.is_dir() and not entry.is_symlink():
                entry.chmod(0o755)


def damage_store(store: Path, rng: random.Random) -> str:
    """Damage one entry of a store, or many; return what was done."""
    entries = sorted(p for p in store.rglob("*") if p.is_file())
    path = rng.choice(entries)
    kind = path.relative_to(store).parts[:-2]
    alike = [e for e in entries if e != path and e.relative_to(store).parts[:-2] == kind]
    how = rng.choice(("bytes", "remove", "folder", "swap", "all", "read-only", "link"))
    if how == "bytes":
        how = f"bytes {damage_bytes(path, rng)}"
    elif how == "swap" and alike:  # a whole entry under another one's name
        shutil.copyfile(rng.choice(alike), path)
    elif how == "link":
        shutil.move(path, store.parent / "entry")
        path.symlink_to(store.parent / "entry")
    elif how in ("all", "read-only"):
        for entry in entries if how == "all" else store.rglob("*"):
            if how == "read-only":
                entry.chmod(0o555 if entry.is_dir() else 0o444)
            elif rng.random() < 0.5:
                damage_bytes(entry, rng)
    else:
        path.unlink()
        if how == "folder":
            path.mkdir()
    return f"{how} {'/'.join(kind)}"


def _run_again(world: World, folder: Path) -> State:
    """Repeat the run; its records must hold what the whole run's hold, apart from times."""
    from unlearnbench.bench.records.record import read_items, read_record, record_digest

    out, store = folder / "records", folder / "store"
    if store.stat().st_mode & 0o200:
        add_notes(store)
    add_notes(out / "mine")
    kept = {n: d for n, d in snapshot(folder).items() if n.endswith(NOTES)}
    done = call(*world.run(out, store))
    check_untouched(kept, folder)
    if (refused := refusal(done)) is not None:
        return refused
    if done.code:
        return "missing", done.err[-300:]
    for whole in sorted(world.records.glob("*.json")):
        path = out / whole.name
        if not path.exists():
            raise WrongError("BAD number", f"{path.name}: not there after the run")
        old, new = (guarded(lambda p=p: read_record(p)) for p in (whole, path))
        if record_digest(old) != record_digest(new):
            changed = [
                place for place in differing(read_json(whole), read_json(path)) if place[0] not in TIMES
            ]
            raise WrongError("BAD number", f"the run left another record: {changed[:2]}")
        rows = [guarded(lambda p=p, r=r: read_items(p, r)) for p, r in ((whole, old), (path, new))]
        if rows[1] is None or not rows[0].equals(rows[1]):
            raise WrongError("BAD number", "the run left other item rows")
        if whole.with_suffix(".webp").read_bytes() != path.with_suffix(".webp").read_bytes():
            raise WrongError("BAD number", "the run left another contact sheet")
    return "right", "the records of the whole run"


def claims(world: World, folder: Path, rng: random.Random, told: list[str]) -> State:
    """Validate a damaged claim."""
    claim = folder / "claim.zip"
    shutil.copyfile(world.claim, claim)
    if rng.random() < 0.4:
        told.append(damage_bytes(claim, rng))
    else:
        with zipfile.ZipFile(world.claim) as whole:
            parts = [(name, whole.read(name)) for name in whole.namelist()]
        told.append(_damage_claim(parts, rng, folder))
        kind = rng.choice((zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED))
        with zipfile.ZipFile(claim, "w", kind) as changed:
            for name, data in parts:
                changed.writestr(name or "_", data)  # zipfile itself writes no empty name
    before = snapshot(folder)
    done = call("validate", claim)
    check_untouched(before, folder)
    if done.code and "nothing" in told[0]:
        raise WrongError("BAD number", f"a whole claim is refused: {done.out[-300:]}")
    if done.code:
        return _said(done)
    return _believed_claim(world.claim, claim)


def _damage_claim(parts: list[tuple[str, bytes]], rng: random.Random, folder: Path) -> str:
    at = rng.randrange(len(parts))
    name, data = parts[at]
    how = rng.choice(("nothing", "name", "twice", "drop", "extra", "bytes", "json"))
    if how == "nothing":
        return how
    if how == "name":
        parts[at] = (rng.choice(("../" + name, "/" + name, "sub/" + name, name.upper(), "a\\b", "")), data)
    elif how == "twice":
        parts.append((name, data))
    elif how == "drop":
        del parts[at]
    elif how == "extra":
        parts.append((rng.choice(("notes.txt", "run.py", ".hidden", "x.json")), b"{}"))
    else:
        scratch = folder / "part.json"
        scratch.write_bytes(data)
        if how == "json" and name.endswith(".json"):
            changed, what, _ = damage_tree(read_json(scratch), rng)
            write_json(scratch, changed)
            how = f"{how} {what}"
        else:
            how = f"bytes {damage_bytes(scratch, rng)}"
        parts[at] = (name, scratch.read_bytes())
        scratch.unlink()
    return f"{how} {name.rpartition('.')[2]}"


def _believed_claim(whole: Path, claim: Path) -> State:
    with zipfile.ZipFile(whole) as one, zipfile.ZipFile(claim) as two:
        same = {n: one.read(n) for n in one.namelist()} == {n: two.read(n) for n in two.namelist()}
    if not same:
        raise WrongError("BAD number", "a claim of other content passes")
    return "right", "equal content"

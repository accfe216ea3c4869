"""Faults of the machine, one kind after the other: then the same command makes the same records.

    python tests/faults/hostile.py --rounds 2 --seed 0

A round tries every kind: entries and records that are truncated, flipped or emptied; a full disk; a disk
that becomes read-only; too little memory on the host and on the device; signals; workers that are killed; a
clock that goes back; two runs at once; a bucket that answers 503. Prints a table of faults tried, survived
and lost. Disks are small tmpfs mounts in a mount namespace of a child process, with which they end. Where
mounts are not permitted, the faults of disks are left out.
"""

import argparse
import contextlib
import ctypes
import functools
import io
import json
import logging
import multiprocessing
import os
import random
import resource
import shutil
import signal
import sys
import tempfile
import time
import traceback
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from unittest import mock

import torch

SUITE = """
name = "hostile"
tasks = ["classes/cat-face@tiny"]
unscored_below = 0.4
[sizes]
forget = 2
forget_samples = 1
retain_same = 1
retain_other = 1
retain_given = 1
indirect = 0
[[methods]]
name = "none"
[[methods]]
name = "finetune"
config = { steps = 2, checkpoints = [1, 2], batch = 2 }
[[attacks]]
name = "best-of-n"
methods = ["finetune"]
config = { budget = 1 }
"""
RECORDS = ("out/*.json", "out/*.parquet", "out/*.webp", "out/attacked/*.json", "out/attacked/*.parquet")
HOW = ("truncated", "flipped", "emptied")
KILLS = 12
"""Kills of two workers in a round."""
BATCH = 2
"""Images in a batch: with more, most of a batch of this small suite would be padding."""
NEW_NAMESPACE, REMOUNT, READ_ONLY, PRIVATE = 0x20000, 32, 1, 0x4000 | 0x40000
LEAST_WAIT = 0.01
context = multiprocessing.get_context("fork")
Outcome = tuple[int, str]
"""Exit status of a run, and what it printed."""


@dataclass
class Table:
    """Faults tried by kind, and what was lost."""

    tried: Counter[str] = field(default_factory=Counter)
    lost: list[str] = field(default_factory=list)

    def add(self, kind: str, problems: list[str]) -> None:
        self.tried[kind] += 1
        self.lost += [f"{kind}: {problem}" for problem in problems]

    def lines(self) -> list[str]:
        lines = ["| fault | tried | survived | lost |", "|---|---|---|---|"]
        for kind, tried in sorted(self.tried.items()):
            lost = len({line for line in self.lost if line.startswith(f"{kind}:")})
            lines.append(f"| {kind} | {tried} | {tried - min(tried, lost)} | {lost} |")
        total = self.tried.total()
        return [*lines, f"| all | {total} | {total - min(total, len(self.lost))} | {len(self.lost)} |"]


@dataclass
class Site:
    """One folder with a run in it. store: its folder or address."""

    folder: Path
    store: str = ""

    def __post_init__(self) -> None:
        self.store = self.store or str(self.folder / "store")

    @property
    def out(self) -> Path:
        return self.folder / "out"

    def run(self, part: str = "0/1") -> Outcome:
        """Run the suite in this process; return its status and output, tracebacks too."""
        from unlearnbench.bench.cli.main import main
        from unlearnbench.bench.models import sampling

        suite = self.folder / "hostile.toml"
        said = io.StringIO()
        with (
            contextlib.redirect_stdout(said),
            contextlib.redirect_stderr(said),
            mock.patch.dict(sampling.MICRO_BATCH, {"cpu": BATCH}),
        ):
            try:
                suite.write_text(SUITE)
                words = ["--out", str(self.out), "--store", self.store, "--threads", "1", "--device", "cpu"]
                status = main(["run", "--suite", str(suite), *words, "--part", part])
            except BaseException:
                status = 99
                traceback.print_exc()
        return status, said.getvalue()

    def digests(self) -> dict[str, str]:
        from unlearnbench.bench.records.record import read_record, record_digest

        files = sorted([*self.out.glob("*.json"), *self.out.glob("attacked/*.json")])
        return {path.name: record_digest(read_record(path)) for path in files}

    def files(self, pattern: str) -> list[Path]:
        return sorted(path for path in self.folder.glob(pattern) if path.is_file())

    def halves(self) -> list[str]:
        """Return the records and entries that a reader can see and that are not whole."""
        from unlearnbench.bench.store import KINDS, check_entry

        found = []
        for kind in KINDS:
            for path in self.files(f"store/{kind}/??/{'?' * 64}"):
                if check_entry(kind, path.name, path.read_bytes()) is None:
                    found.append(f"{kind}/{path.name[:8]} is half written")
        for path in self.files("out/**/*.json"):
            try:
                json.loads(path.read_text())
            except ValueError:
                found.append(f"{path.name} is half written")
        return found

    def broken(self) -> list[str]:
        """Return the records whose files are not those that they were made from."""
        from unlearnbench.bench.records.record import read_items, read_record
        from unlearnbench.bench.records.sheets import check_whole

        found = []
        for path in self.files("out/**/*.json"):
            if path.parent.name == "parts":
                continue
            try:
                record = read_record(path)
                check_whole(path, record)
                read_items(path, record)
            except Exception as error:
                found.append(f"{path.name}: {error}")
        return found

    def check(self, wanted: dict[str, str]) -> list[str]:
        """Run the suite again, undisturbed; return what is not as in a run without faults."""
        problems = self.halves()
        status, said = self.run()
        if status:
            problems.append(f"the next run ended with {status}: {said[-300:]}")
        elif self.digests() != wanted:
            problems.append("the records differ")
        return problems + self.halves()


DIED = ["the process died"]


def forked(do: Callable[[], Any], died: Any = DIED) -> Any:
    """Return what a function returns in a child process; `died` where the child ended before."""
    ours, theirs = context.Pipe(duplex=False)

    def work() -> None:
        try:
            theirs.send(do())
        except BaseException:
            traceback.print_exc()
            raise

    process = context.Process(target=work)
    process.start()
    theirs.close()
    try:
        found = ours.recv()
    except EOFError:
        found = died
    process.join()
    return found


def explained(outcome: Outcome, status: int, *texts: str) -> list[str]:
    """Return what is wrong with how a disturbed run ended: status, traceback, a text that lacks."""
    found, said = outcome
    problems = [] if found == status else [f"ended with {found}: {said[-300:]}"]
    problems += ["a traceback was printed"] if "Traceback (most" in said else []
    return problems + [f"does not say {text!r}: {said[-300:]}" for text in texts if text not in said]


class Hostile:
    """Tries faults. calm: of a run without any; every fault starts from a copy of it, or from nothing."""

    def __init__(self, folder: Path, draw: random.Random) -> None:
        self.folder, self.draw, self.table, self.count = folder, draw, Table(), 0
        self.calm = self._site("calm")
        status, said = self.calm.run()  # here: children then have all libraries, imported and opened
        assert status == 0, said
        self.wanted = self.calm.digests()
        assert len(self.wanted) == 3

    def _site(self, name: str = "", like: Site | None = None, **more: Any) -> Site:
        self.count += 1
        folder = self.folder / (name or f"site-{self.count}")
        if like is None:
            folder.mkdir(parents=True)
        else:
            shutil.copytree(like.folder, folder)
        return Site(folder, **more)

    def _damage(self, path: Path, how: str) -> None:
        content = bytearray(path.read_bytes())
        if how == "flipped":
            content[self.draw.randrange(len(content))] ^= 1 << self.draw.randrange(8)
        else:
            del content[0 if how == "emptied" else self.draw.randrange(1, len(content)) :]
        path.write_bytes(content)

    def entries(self) -> None:
        """Damage an entry of each kind that this suite makes, in each way."""
        from unlearnbench.bench.store import KINDS

        for kind in KINDS:
            for how in HOW if self.calm.files(f"store/{kind}/*/*") else ():
                site = self._site(like=self.calm)
                shutil.rmtree(site.out)
                if kind in ("deltas", "manifests"):  # nothing else reads weights
                    shutil.rmtree(site.folder / "store" / "images")
                victim = self.draw.choice(site.files(f"store/{kind}/*/*"))
                self._damage(victim, how)
                status, said = forked(site.run)
                problems = explained((status, said), 0, "is corrupt (digest differs); it is made again")
                problems += [] if victim.name in said else ["the entry is not named"]
                problems += [] if site.digests() == self.wanted else ["the records differ"]
                self.table.add(f"store: {kind} {how}", problems + site.halves())

    def records(self) -> None:
        """Damage each kind of file in the folder of records, in each way."""
        for pattern in RECORDS:
            for how in HOW:
                site = self._site(like=self.calm)
                victim = self.draw.choice(site.files(pattern))
                self._damage(victim, how)
                outcome = forked(site.run)
                problems = explained(outcome, 0)
                problems += [] if site.digests() == self.wanted else ["the records differ"]
                problems += site.broken()
                self.table.add(f"records: {pattern.removeprefix('out/')} {how}", problems + site.halves())

    def full_disk(self) -> None:
        """Let the disk fill up at a random moment."""
        size = sum(path.stat().st_size for path in self.calm.files("**/*"))
        limit = int(size * self.draw.uniform(0.1, 0.9))
        self.table.add("disk full", self._on_disk(f"size={limit}", None, "the disk is full"))

    def read_only(self) -> None:
        """Let the disk become read-only at a random moment."""
        moment = self.draw.randrange(1, 12)
        self.table.add("disk read-only", self._on_disk("size=64m", moment, "the disk is read-only"))

    def _on_disk(self, options: str, moment: int | None, said: str) -> list[str]:
        site = self._site()

        def work() -> list[str]:
            if not mount_disk(site.folder, options):
                return ["no disk could be mounted"]
            with freezing(site.folder, moment):
                outcome = site.run()
            problems = explained(outcome, outcome[0] or 1, said)
            remount(site.folder, "size=64m")
            return problems + site.check(self.wanted)

        return forked(work)

    def host_memory(self) -> None:
        """Let a run have little more memory than it has at its start; it may also end by itself."""
        site, room = self._site(), self.draw.randrange(4, 40) * 2**20

        def work() -> Outcome:
            pages = int(Path("/proc/self/statm").read_text().split()[0])
            limit = pages * resource.getpagesize() + room
            resource.setrlimit(resource.RLIMIT_AS, (limit, limit))
            return site.run()

        outcome = forked(work, (-9, ""))
        if outcome[0] == 0:
            problems = ["there was memory enough: no fault"] if site.digests() != self.wanted else []
        else:
            problems = ["a traceback was printed"] if "Traceback (most" in outcome[1] else []
        self.table.add("host out of memory", problems + forked(lambda: site.check(self.wanted)))

    def device_memory(self) -> None:
        """Let a device have too little memory to draw, and to train."""
        from diffusers import StableDiffusionPipeline

        draw, moment = StableDiffusionPipeline.__call__, self.draw.randrange(1, 8)
        calls = iter(range(1, 10**6))

        @functools.wraps(draw)  # its signature says that it is a pipeline of images
        def full(*arguments: Any, **named: Any) -> Any:
            if next(calls) == moment:
                raise torch.OutOfMemoryError("CUDA out of memory")
            return draw(*arguments, **named)

        def never(*arguments: Any, **named: Any) -> Any:
            raise torch.OutOfMemoryError("CUDA out of memory")

        trainer = sys.modules["unlearnbench.bench.training.trainer"]
        faults = {
            "device out of memory, drawing": (StableDiffusionPipeline, "__call__", full, "too little memory"),
            "device out of memory, training": (trainer, "differentiate", never, "OutOfMemoryError"),
        }
        for kind, (place, name, fault, said) in faults.items():
            site = self._site()

            def work(site: Site = site, place: Any = place, name: str = name, fault: Any = fault) -> Outcome:
                with mock.patch.object(place, name, fault):
                    return site.run()

            problems = explained(forked(work), 1, said)
            self.table.add(kind, problems + forked(lambda site=site: site.check(self.wanted)))

    def signals(self) -> None:
        """End a run by a signal at a random moment; one line says how to go on."""
        for number, status in ((signal.SIGINT, 130), (signal.SIGTERM, 143), (signal.SIGKILL, None)):
            site, log = self._site(), self.folder / f"signal-{self.count}.json"

            def work(site: Site = site, log: Path = log) -> None:
                signal.signal(signal.SIGINT, signal.default_int_handler)
                log.write_text(json.dumps(site.run()))

            process = context.Process(target=work)
            process.start()
            wanted = self.draw.randrange(1, 12)
            while process.is_alive() and len(site.files("store/*/*/*")) < wanted:
                time.sleep(LEAST_WAIT)
            time.sleep(self.draw.uniform(0, 0.2))
            assert process.pid is not None
            if process.is_alive():
                os.kill(process.pid, number)
            process.join()
            problems = []
            if status is not None:
                outcome = json.loads(log.read_text())
                problems = explained(outcome, status, "the same command goes on where this one stopped")
            problems += forked(lambda site=site: site.check(self.wanted))
            self.table.add(f"main process: {number.name}", problems)

    def kills(self) -> None:
        """Kill two workers of a run, KILLS times one of them, each started again until no kill is left."""
        site = self._site()
        works = [lambda i=i: sys.exit(site.run(f"{i}/2")[0]) for i in range(2)]
        workers = [context.Process(target=work) for work in works]
        for worker in workers:
            worker.start()
        killed = 0
        while killed < KILLS:
            time.sleep(self.draw.uniform(0.05, 1.5))
            victim = self.draw.randrange(2)
            if workers[victim].is_alive():
                workers[victim].kill()
                killed += 1
            workers[victim].join()
            if all(worker.exitcode == 0 for worker in workers):
                break  # the work is done
            workers[victim] = context.Process(target=works[victim])
            workers[victim].start()
        for worker in workers:
            worker.join()
        self.table.add("worker: SIGKILL", forked(lambda: site.check(self.wanted)))
        self.table.tried["worker: SIGKILL"] += killed - 1

    def clock(self) -> None:
        """Let the clock go back a day while files have times of tomorrow; then prune, and go on."""
        site, real, moment = self._site(like=self.calm), time.time, self.draw.randrange(1, 40)
        shutil.rmtree(site.out)
        images = site.files("store/images/*/*")
        for path in self.draw.sample(images, len(images) // 2):
            path.unlink()
        for path in site.files("store/**/*"):
            os.utime(path, (real() + 86400, real() + 86400))
        calls = iter(range(10**9))

        def turned() -> float:
            return real() - (86400 if next(calls) > moment else 0)

        def work() -> list[str]:
            from unlearnbench.bench.store import Store

            with mock.patch.object(time, "time", turned):
                problems = explained(site.run(), 0)
                problems += [] if site.digests() == self.wanted else ["the records differ"]
                Store(site.folder / "store", lambda line: None).prune(0)
                shutil.rmtree(site.out)
                return problems + site.check(self.wanted)

        self.table.add("clock goes back", forked(work))

    def two_runs(self) -> None:
        """Let two runs work in one folder on one store."""
        site = self._site()
        processes = [context.Process(target=lambda: sys.exit(site.run()[0])) for _ in range(2)]
        for process in processes:
            process.start()
        for process in processes:
            process.join()
        problems = [f"ended with {p.exitcode}" for p in processes if p.exitcode]
        self.table.add("two runs at once", problems + forked(lambda: site.check(self.wanted)))

    def bucket(self) -> None:
        """Let a bucket answer 503 to a fifth of all requests, and for some seconds to every one."""
        with refusing_server(self.draw) as server:
            if server is None:
                return
            site = self._site(store=f"{server.address}/{self.count}")
            outcome = forked(site.run)
            problems = explained(outcome, 0)
            problems += [] if site.digests() == self.wanted else ["the records differ"]
            problems += [] if server.refused else ["nothing was refused"]
            self.table.add("bucket answers 503", problems)
            self.table.tried["bucket answers 503"] += server.refused - 1


def libc() -> Any:
    return ctypes.CDLL(None, use_errno=True)


def mount_disk(folder: Path, options: str) -> bool:
    """Mount a tmpfs that only this process and its children see; False where that is not permitted."""
    c = libc()
    if c.unshare(NEW_NAMESPACE) or c.mount(b"none", b"/", None, PRIVATE, None):
        return False
    return not c.mount(b"none", str(folder).encode(), b"tmpfs", 0, options.encode())


def remount(folder: Path, options: str, flags: int = 0) -> None:
    if libc().mount(b"none", str(folder).encode(), None, REMOUNT | flags, options.encode()):
        raise OSError(ctypes.get_errno(), "remount")


def may_mount(folder: Path) -> bool:
    """Return whether this process may mount disks."""
    return bool(forked(lambda: mount_disk(folder, "size=1m"), False))


@contextlib.contextmanager
def freezing(folder: Path, moment: int | None) -> Iterator[None]:
    """Make a disk read-only before a store's entry of this number is written. None: never."""
    from unlearnbench.bench.store import Store

    put, calls = Store.put, iter(range(1, 10**6))

    def frozen(store: Store, kind: str, key: str, payload: bytes) -> None:
        if next(calls) == moment:
            remount(folder, "size=64m", READ_ONLY)
        put(store, kind, key, payload)

    with mock.patch.object(Store, "put", frozen):
        yield


class RefusingServer:
    """An S3 server on this machine that answers 503 to some requests."""

    def __init__(self, draw: random.Random) -> None:
        from moto.server import DomainDispatcherApplication, create_backend_app
        from werkzeug.serving import make_server

        logging.getLogger("werkzeug").setLevel(logging.ERROR)  # it prints every request
        self.draw, self.refused, self.outage = draw, 0, (0.0, 0.0)
        self.inner = DomainDispatcherApplication(create_backend_app)
        self.server = make_server("127.0.0.1", 0, self.answer, threaded=True)
        self.address = "s3://hostile"

    def answer(self, environ: Any, start: Any) -> Any:
        now = time.monotonic()
        if self.outage[0] <= now < self.outage[1] or (self.outage[1] and self.draw.random() < 0.2):
            self.refused += 1
            start("503 Slow Down", [("Content-Type", "application/xml")])
            return [b"<Error><Code>SlowDown</Code><Message>Reduce your request rate.</Message></Error>"]
        return self.inner(environ, start)


@contextlib.contextmanager
def refusing_server(draw: random.Random) -> Iterator[RefusingServer | None]:
    """Yield a server with an empty bucket; None where its packages are missing."""
    try:
        import s3fs

        server = RefusingServer(draw)
    except ImportError:
        yield None
        return
    import threading

    thread = threading.Thread(target=server.server.serve_forever, daemon=True)
    thread.start()
    names = {
        "AWS_ENDPOINT_URL": f"http://127.0.0.1:{server.server.server_port}",
        "AWS_ACCESS_KEY_ID": "testing",
        "AWS_SECRET_ACCESS_KEY": "testing",
        "AWS_DEFAULT_REGION": "us-east-1",
    }
    with mock.patch.dict(os.environ, names):
        forked(lambda: s3fs.S3FileSystem(skip_instance_cache=True).mkdir("hostile"))
        start = time.monotonic() + 3
        server.outage = (start, start + 6)
        yield server
    server.server.shutdown()
    thread.join()


KINDS = (
    "entries",
    "records",
    "full_disk",
    "read_only",
    "host_memory",
    "device_memory",
    "signals",
    "kills",
    "clock",
    "two_runs",
    "bucket",
)
DISKS = ("full_disk", "read_only")


def load_libraries() -> None:
    """Import what a run needs, so that children have it."""
    from unlearnbench.bench.cli import main  # noqa: F401
    from unlearnbench.bench.running.sharing import worker  # noqa: F401
    from unlearnbench.bench.training import trainer  # noqa: F401

    torch.set_num_threads(1)  # a pool of threads does not survive a fork


def main() -> int:
    parser = argparse.ArgumentParser(description="Faults of the machine")
    parser.add_argument("--rounds", type=int, default=2)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--only", nargs="+", choices=KINDS, default=KINDS)
    options = parser.parse_args()
    load_libraries()
    with tempfile.TemporaryDirectory() as folder:
        hostile = Hostile(Path(folder), random.Random(f"hostile {options.seed}"))
        kinds = [kind for kind in options.only if kind not in DISKS or may_mount(hostile.calm.folder)]
        for number in range(options.rounds):
            for kind in kinds:
                getattr(hostile, kind)()
                table = hostile.table
                said = f"{kind}: so far {table.tried.total()} tried, {len(table.lost)} lost"
                print(f"round {number}: {said}", file=sys.stderr, flush=True)
    print("\n".join([*hostile.table.lines(), *(f"lost: {line}" for line in hostile.table.lost)]))
    return 1 if hostile.table.lost else 0


if __name__ == "__main__":
    sys.exit(main())

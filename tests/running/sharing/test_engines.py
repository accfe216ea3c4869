"""Engines start the workers of a run; the records are those of one process, whoever drops out."""

import os
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from unlearnbench.bench.cli.main import main
from unlearnbench.bench.errors import UserError
from unlearnbench.bench.models import sampling
from unlearnbench.bench.records.record import read_record, record_digest
from unlearnbench.bench.running.sharing import engines
from unlearnbench.bench.running.sharing.engines import Workers, describe_slurm, load_engine, read_resources

from ..suites import TWO_TASKS


def test_resources_are_numbers_or_texts() -> None:
    found = read_resources(["timeout_min=240", "num_gpus=0.5", "slurm_partition=gpu", "address=ray://a:1"])
    assert found == {
        "timeout_min": 240,
        "num_gpus": 0.5,
        "slurm_partition": "gpu",
        "address": "ray://a:1",
    }
    for wrong in ("gpu", "=1", "a b=1", "a="):
        with pytest.raises(UserError, match="--resource"):
            read_resources([wrong])


@pytest.mark.parametrize("name", ["slurm", "ray"])
def test_an_engine_that_is_not_installed_is_one_line_with_the_remedy(
    name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, engines.EXTRAS[name], None)
    with pytest.raises(UserError, match=rf"pip install 'unlearnbench\[{name}\]'"):
        load_engine(name)


def test_the_script_for_slurm_asks_for_what_was_asked(tmp_path: Path) -> None:
    pytest.importorskip("submitit")
    resources = {"timeout_min": 240, "slurm_partition": "gpu", "gpus_per_node": 1}
    text = describe_slurm(Workers(["run"], 5, 3, tmp_path, resources))
    for line in ("array=0-4%5", "cpus-per-task=3", "time=240", "partition=gpu", "gpus-per-node=1"):
        assert f"#SBATCH --{line}\n" in text
    assert "signal=USR2" in text  # before a preemption: the job is queued again
    with pytest.raises(UserError, match=r"--executor slurm: .*colour"):
        describe_slurm(Workers(["run"], 5, 3, tmp_path, {"slurm_colour": "red"}))


SMALL = """
name = "small"
tasks = ["classes/cat-face@tiny"]
[sizes]
forget = 1
forget_samples = 1
retain_same = 1
retain_other = 1
retain_given = 1
indirect = 0
[[methods]]
name = "none"
[[attacks]]
name = "best-of-n"
config = { budget = 1 }
"""


def test_the_summary_is_of_what_the_workers_did(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Two workers, one after the other in this process: a failed attack counts, an earlier run does not."""
    monkeypatch.setitem(sampling.MICRO_BATCH, "cpu", 1)

    def start(workers: Workers) -> list[int]:
        return [main([*start.command[3:]]) for start in workers.starts()]

    def fail(*_: Any) -> None:
        raise FloatingPointError("no attack today")

    monkeypatch.setattr(engines, "run_slurm", start)
    suite = tmp_path / "small.toml"
    suite.write_text(SMALL)
    words = ["run", "--suite", str(suite), "--out", str(tmp_path / "out"), "--store", str(tmp_path / "store")]
    words += ["--threads", "1", "--executor", "slurm", "--jobs", "2"]
    with monkeypatch.context() as patch:
        patch.setattr("unlearnbench.bench.attacks.best_of_n.attack", fail)
        assert main(words) == 1
    said = capsys.readouterr()
    assert "1 cells, 0 unchanged, 1 failed, 1 attacked records, 4 images drawn" in said.out
    assert "failed: classes-cat-face-tiny.none" in said.err
    assert main(words) == 0
    assert "1 cells, 1 unchanged, 0 failed, 1 attacked records" in capsys.readouterr().out
    # every worker ended before it went over the run: what an earlier one wrote does not count
    monkeypatch.setattr(engines, "run_slurm", lambda workers: [2, 2])
    assert main(words) == 2
    assert "no worker could work" in capsys.readouterr().err


def _run(folder: Path, name: str, *more: str) -> dict[str, str]:
    """Run the suite; return the digests of its records."""
    suite = folder / "two.toml"
    suite.write_text(TWO_TASKS)
    where = ["--out", str(folder / name), "--store", str(folder / "stores" / name)]
    assert main(["run", "--suite", str(suite), *where, "--threads", "1", *more]) == 0
    return _digests(folder / name)


def _digests(folder: Path) -> dict[str, str]:
    return {p.name: record_digest(read_record(p)) for p in sorted(folder.glob("*.json"))}


@pytest.fixture(scope="module")
def alone(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    found = _run(tmp_path_factory.mktemp("alone"), "one")
    assert len(found) == 4
    return found


@pytest.mark.slow
@pytest.mark.parametrize("cluster", ["debug", "local"])
def test_jobs_of_submitit_write_the_records_of_one_process(
    tmp_path: Path, alone: dict[str, str], cluster: str, capsys: pytest.CaptureFixture[str]
) -> None:
    pytest.importorskip("submitit")
    options = ["--executor", "slurm", "--jobs", "3", "--resource", f"cluster={cluster}"]
    assert _run(tmp_path, "many", *options) == alone
    # the summary is of what the workers did, and the next one not of what they did before
    assert "4 cells, 0 unchanged, 0 failed, 36 images drawn" in capsys.readouterr().out
    assert _run(tmp_path, "many", *options) == alone
    assert "4 cells, 4 unchanged, 0 failed, 0 images drawn" in capsys.readouterr().out


@pytest.mark.slow
def test_the_jobs_of_an_array_need_no_submitit(tmp_path: Path, alone: dict[str, str]) -> None:
    """A script with `#SBATCH --array` and the command itself: each of its jobs is a worker."""
    suite = tmp_path / "two.toml"
    suite.write_text(TWO_TASKS)
    where = ["--out", str(tmp_path / "out"), "--store", str(tmp_path / "store"), "--threads", "1"]
    command = [sys.executable, "-m", "unlearnbench.bench.cli", "run", "--suite", str(suite), *where]
    array = {"SLURM_ARRAY_TASK_MIN": "1", "SLURM_ARRAY_TASK_COUNT": "2"}
    jobs = [
        subprocess.Popen(
            command,
            env={**os.environ, **array, "SLURM_ARRAY_TASK_ID": str(i)},
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
        )
        for i in (1, 2)
    ]
    said = [job.communicate()[0].decode() for job in jobs]
    assert [job.returncode for job in jobs] == [0, 0], said
    assert _digests(tmp_path / "out") == alone


@pytest.fixture
def cluster() -> Iterator[Any]:
    """Three nodes of Ray on this machine."""
    pytest.importorskip("ray")
    from ray.cluster_utils import Cluster

    found = Cluster(initialize_head=True, head_node_args={"num_cpus": 0})
    try:
        yield found
    finally:
        import ray

        ray.shutdown()
        found.shutdown()


@pytest.mark.slow
def test_a_cluster_of_ray_that_loses_a_node_writes_the_records_of_one_process(
    cluster: Any, tmp_path: Path, alone: dict[str, str]
) -> None:
    import threading

    nodes = [cluster.add_node(num_cpus=1) for _ in range(3)]
    cluster.wait_for_nodes()
    lost: list[int] = []

    def lose() -> None:
        """Take the first node away once a worker has begun on each."""
        end = time.monotonic() + 300
        while time.monotonic() < end and len(list((tmp_path / "many" / "parts").glob("*.log"))) < 3:
            time.sleep(0.2)
        cluster.remove_node(nodes[0], allow_graceful=False)
        lost.append(1)

    thread = threading.Thread(target=lose)
    thread.start()
    options = ["--executor", "ray", "--jobs", "3", "--resource", f"address={cluster.address}"]
    assert _run(tmp_path, "many", *options) == alone
    thread.join()
    assert lost

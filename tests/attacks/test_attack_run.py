"""An attack on a cell of the tiny world: its record, its checks, what is refused."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from unlearnbench.bench.checking.known import Known, make_known
from unlearnbench.bench.checking.validate import validate
from unlearnbench.bench.errors import UserError
from unlearnbench.bench.records.load import load, load_one
from unlearnbench.bench.records.record import (
    Record,
    items_digest,
    read_items,
    read_record,
    record_digest,
    write_record,
)
from unlearnbench.bench.running.attacking.host import learning_seed
from unlearnbench.bench.running.catalog import registry

HEAD = """
from unlearnbench.bench.attacks.contract import AttackConfig, Inputs

REGISTER = {{
    "summary": "a test's", "paper": "", "function": "attack", "config": "AttackConfig",
    "moves": "{moves}", "access": "{access}", "unit": "tries", "trains": {trains},
}}

def attack(victim, config):
"""


def write_attack(
    modules: Callable[[str, str], Any], name: str, body: str, moves: str = "prompt", white: bool = False
) -> Any:
    access, trains = ("white-box" if white else "black-box"), ["denoiser"] if moves == "weights" else []
    lines = "\n".join(f"    {line}" for line in body.splitlines())
    return modules(name, HEAD.format(moves=moves, access=access, trains=trains) + lines + "\n")


@pytest.fixture(scope="module")
def known() -> Known:
    return make_known()


@pytest.mark.parametrize("name", list(registry("attacks")))
def test_budget_zero_changes_nothing(name: str, make_attack: Callable[..., Any]) -> None:
    path, state = make_attack(name, budget=0).measure()
    record = read_record(path)
    assert (state, record.status) == ("measured", "ok"), record.error
    items = read_items(path, record)
    assert items is not None
    before, after = (items[items["point"] == n].drop(columns="point") for n in (0, 1))
    assert len(before) == 8
    if registry("attacks")[name].moves == "nothing":
        assert after.empty
        return
    assert before.reset_index(drop=True).equals(after.reset_index(drop=True))
    assert record.points[0].fingerprint == record.points[1].fingerprint
    assert record.attack is not None
    assert record.attack.values["gain"].value == 0.0
    assert (record.attack.cost.passes, record.attack.cost.images, record.attack.cost.judged) == (0, 0, 0)


def test_relearning_is_a_point_of_its_own_and_repeats(
    make_attack: Callable[..., Any], tmp_path: Path, known: Known
) -> None:
    settings = {"images": 4, "batch": 4, "rate": 0.05, "checkpoints": []}
    runs = [make_attack("relearn", tmp_path / name, budget=2, **settings) for name in "ab"]
    first, second = (read_record(run.measure()[0]) for run in runs)
    assert record_digest(first) == record_digest(second)
    before, after = first.points
    assert before.fingerprint != after.fingerprint
    assert first.attack is not None
    assert first.attack.fingerprint == before.fingerprint
    assert first.attack.cost.passes == 8
    assert first.log["step"] == [1, 2]
    items = read_items(runs[0].path, first)
    assert items is not None
    one, two = (items[items["point"] == n].reset_index(drop=True) for n in (0, 1))
    assert list(one["seed"]) == list(two["seed"])  # the same noise before and under the attack
    assert list(one["image_sha256"]) != list(two["image_sha256"])
    assert [check.state for check in validate(runs[0].path, known)] == ["passed"] * 5
    assert runs[0].measure()[1] == "unchanged"


def test_relearning_is_measured_on_its_way(
    make_attack: Callable[..., Any], tmp_path: Path, known: Known
) -> None:
    settings = {"images": 4, "batch": 4, "rate": 0.05}
    run = make_attack("relearn", tmp_path / "curve", budget=3, checkpoints=[1, 2, 3, 9], **settings)
    record = read_record(run.measure()[0])
    assert [point.label for point in record.points] == [
        "before",
        "attacked",
        "attack step 1",
        "attack step 2",
    ]
    assert record.attack is not None
    assert record.attack.curve == [1, 2]
    alone = make_attack("relearn", tmp_path / "alone", budget=2, checkpoints=[], **settings)
    shorter = read_record(alone.measure()[0])
    assert shorter.points[1].fingerprint == record.points[3].fingerprint
    items = read_items(run.path, record)
    assert items is not None
    ua = [(~frame["found_subject"].eq("cat face")).mean() for _, frame in items.groupby("point")]
    area = (ua[0] / 2 + ua[2] + ua[3] + ua[1] / 2) / 3  # trapezoids over the steps 0, 1, 2, 3
    assert record.attack.values["area"].value == pytest.approx(area)
    assert {check.state for check in validate(run.path, known)} == {"passed"}
    edit(run.path, lambda r: r["attack"].update(curve=[2, 1]))
    assert "attack.curve" in str(validate(run.path, known))


def test_an_initial_noise_is_drawn_from_and_named(
    make_attack: Callable[..., Any], tmp_path: Path, known: Known
) -> None:
    run = make_attack("noise-inversion", tmp_path / "latents", budget=1)
    record = read_record(run.measure()[0])
    items = read_items(run.path, record)
    assert items is not None
    before, after = (items[items["point"] == n].reset_index(drop=True) for n in (0, 1))
    assert not set(before["seed"]) & set(after["seed"])
    assert after["seed"].is_unique
    assert list(before["prompt"]) == list(after["prompt"])
    assert record.attack is not None
    assert record.attack.values["UA_after"].n == 8  # images
    assert record.attack.cost.passes == 8 * 2 * run.host.holder.sampling.steps
    assert {check.state for check in validate(run.path, known)} == {"passed"}
    items["seed"] = [*before["seed"], *before["seed"]]
    changed = record.model_copy(update={"items_sha256": items_digest(items)})
    path = write_record(changed, items, None, tmp_path / "same" / "attacked", seal=True)
    assert "the initial noise is the evaluation's own" in str(validate(path, known))


@pytest.fixture(scope="module")
def noisy(tmp_path_factory: pytest.TempPathFactory) -> str:
    """Folder of the best-of-n records."""
    return str(tmp_path_factory.mktemp("noisy"))


@pytest.fixture
def attacked(make_attack: Callable[..., Any], noisy: str) -> Path:
    """A best-of-n record, written again for each test."""
    run = make_attack("best-of-n", Path(noisy), budget=2)
    run.path.unlink(missing_ok=True)
    path, _ = run.measure()
    return Path(path)


def edit(path: Path, change: Callable[[dict[str, Any]], Any]) -> None:
    content = json.loads(path.read_text())
    change(content)
    content["content_sha256"] = ""
    path.write_text(json.dumps(content))


def test_best_of_n_draws_further_noise_of_its_own(attacked: Path, known: Known) -> None:
    record = read_record(attacked)
    items = read_items(attacked, record)
    assert items is not None
    before, after = (items[items["point"] == n] for n in (0, 1))
    assert len(after) == len(before) + 2 * before["prompt_id"].nunique()
    added = after[after["sample"] >= 2]
    assert added["seed"].is_unique
    assert not set(added["seed"]) & set(before["seed"])
    assert record.attack is not None
    assert record.attack.values["UA_after"].n == 4  # prompts
    assert record.attack.budget == "2 noises a prompt"
    assert {check.state for check in validate(attacked, known)} == {"passed"}


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda r: r["attack"].update(name="unheard-of"), "no attack of this package"),
        (lambda r: r["attack"].update(version=7), "attack.version"),
        (lambda r: r["attack"].update(budget="1 noises a prompt"), "attack.budget"),
        (lambda r: r["attack"]["config"].update(budget=-1), "budget"),
        (lambda r: r["attack"].update(texts={"x": "a cat"}), "attack.texts"),
        (lambda r: r["attack"]["values"]["ASR"].update(value=0.123), "attack.values.ASR"),
        (lambda r: r["attack"].update(fingerprint="x"), "attack.fingerprint"),
        (lambda r: r["points"].pop(), "not the index of a point"),
    ],
)
def test_what_was_tampered_with_fails(
    change: Callable[[dict[str, Any]], Any], said: str, attacked: Path, known: Known
) -> None:
    edit(attacked, change)
    failed = [check.detail for check in validate(attacked, known) if check.state == "failed"]
    assert any(said in detail for detail in failed), failed


def test_no_board_takes_an_attacked_record_for_a_method(attacked: Path, known: Known, tmp_path: Path) -> None:
    with pytest.raises(UserError, match="no board ranks it"):
        load(attacked.parent)
    moved = tmp_path / "records" / attacked.name
    moved.parent.mkdir()
    for suffix in (".json", ".parquet"):
        moved.with_suffix(suffix).write_bytes(attacked.with_suffix(suffix).read_bytes())
    failed = [check.detail for check in validate(moved, known) if check.state == "failed"]
    assert failed
    assert "attacked/" in failed[0]


@pytest.mark.parametrize(
    ("body", "moves", "said"),
    [
        (
            "return Inputs(seeds={name: [SEED] for name in victim.prompts})",
            "noise",
            "noise of the evaluation",
        ),
        ("victim.draw(['a cat'], [SEED])\nreturn Inputs()", "prompt", "noise of the evaluation"),
        ("victim.pipeline\nreturn Inputs()", "prompt", "black-box"),
        ("return Inputs(seeds={})\n", "prompt", ""),
        ("return {}", "prompt", "needed: Inputs"),
    ],
)
def test_what_an_attack_may_not_do_is_refused(
    body: str,
    moves: str,
    said: str,
    make_attack: Callable[..., Any],
    modules: Callable[[str, str], Any],
    request: pytest.FixtureRequest,
) -> None:
    probe = make_attack("best-of-n", budget=0)
    body = body.replace("SEED", str(probe.requests[0].seed))
    name = f"attack_{abs(hash(request.node.name))}"
    run = make_attack(write_attack(modules, name, body, moves), budget=1)
    if not said:
        assert run.measure()[1] == "measured"
        return
    with pytest.raises(UserError, match=said):
        run.measure()


def test_a_white_box_attack_changes_only_what_it_declares(
    make_attack: Callable[..., Any], modules: Callable[[str, str], Any]
) -> None:
    body = "next(victim.pipeline.vae.parameters()).data.add_(1)\nreturn Inputs()"
    run = make_attack(write_attack(modules, "sly_attack", body, white=True), budget=1)
    with pytest.raises(UserError, match=r"sly_attack.*vae"):
        run.measure()


def test_an_attack_that_fails_leaves_a_failed_record(
    make_attack: Callable[..., Any], modules: Callable[[str, str], Any], known: Known
) -> None:
    run = make_attack(write_attack(modules, "broken_attack", "raise ValueError('no luck')"), budget=1)
    with pytest.raises(ValueError, match="no luck") as caught:
        run.measure()
    run.fail("an attack", caught.value)
    path = run.path
    record: Record = read_record(path)
    assert (record.status, record.points) == ("failed", [])
    assert "no luck" in str(record.error)
    assert record.attack is not None
    assert record.attack.values == {}
    assert load_one(path).items is None


def test_learning_images_are_of_another_seed(make_attack: Callable[..., Any]) -> None:
    run = make_attack("relearn", budget=0)
    learning = run.host.learn()
    own = run.run._problem()
    assert learning_seed(run.planned.seed) != run.cell.seed
    assert learning.forget.prompts != own.forget_set.prompts

"""The commands of a row: its own tasks, method and seeds, without the folders of the machine that made it."""

from unlearnbench.bench.records.record import Record
from unlearnbench.leaderboard.commands import repeat_row

from .synthetic import make_record

WHOLE = (
    "unlearnbench run --suite mine --skip retrain --out ~/.cache/runs/mine --store s --threads 1 --seeds 0 1"
)


def _record(method: str, concept: str, seed: int, command: str = WHOLE, **changes: object) -> Record:
    task = make_record("none")[0].task.model_copy(update={"id": f"classes/{concept}@emoji"})
    environment = {"device": "cpu", "threads": 1}
    return make_record(
        method, seed=seed, task=task, suite="mine", command=command, environment=environment, **changes
    )[0]


def test_a_row_of_a_suite_names_its_own_tasks_method_and_seeds() -> None:
    records = [_record("balanced", concept, seed) for concept in ("bee", "ant") for seed in (1, 0)]
    assert repeat_row(records) == [
        "unlearnbench run --suite mine --task classes/ant@emoji --task classes/bee@emoji "
        "--method balanced --seeds 0 1 --skip retrain --threads 1"
    ]


def test_what_decides_numbers_stays_and_two_ways_are_two_commands() -> None:
    limited = f"{WHOLE} --limit 4 --tag run=first"
    found = repeat_row([_record("balanced", "ant", 0), _record("balanced", "bee", 0, limited)])
    assert len(found) == 2
    assert ["--limit 4" in command for command in found] == [False, True]
    assert not any(word in command for command in found for word in ("--out", "--store", "--tag", ".cache"))


def test_a_reference_has_no_seed_and_other_commands_lose_their_folders() -> None:
    [reference] = repeat_row([_record("none", "ant", 0)])
    assert "--seeds" not in reference
    evaluate = "unlearnbench evaluate --model m --task classes/ant@emoji --out runs/x --store s --name mine"
    assert repeat_row([_record("balanced", "ant", 0, evaluate)]) == [
        "unlearnbench evaluate --model m --task classes/ant@emoji --name mine"
    ]
    assert repeat_row([_record("balanced", "ant", 0, "rm -rf x")]) == []

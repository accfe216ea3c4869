"""The second board's suite is what its declaration describes."""

from collections import Counter

from unlearnbench.bench.planning.plan import RETRAIN, Suite, find_suite
from unlearnbench.bench.running.catalog import suites_folder

REST = {"none", RETRAIN, "placebo", "finetune"}


def _suite(name: str) -> Suite:
    return find_suite(name, suites_folder())


def test_the_board_has_the_first_boards_concepts_and_prompts() -> None:
    board, first = _suite("board"), _suite("emoji")
    assert (board.tasks, board.sizes) == (first.tasks, first.sizes)
    assert (board.seeds, board.headline, board.declaration) == ([0], "H", _suite("search").declaration)


def test_every_method_that_was_searched_stands_once_on_the_board() -> None:
    searched = {row.name for row in _suite("search").methods} - {"none"}
    tuned = [row for row in _suite("board").methods if row.tuned and row.name != "placebo"]
    assert sorted(row.name for row in tuned) == sorted(searched)
    assert {row.tuned for row in tuned} == {1}


def test_the_two_methods_of_the_trial_have_its_configurations() -> None:
    rows = {row.name: row.config for row in _suite("board").methods if not row.label}
    trial = {row.name: row.config for row in _suite("trial").methods}
    searched = {row.name for row in _suite("search").methods}
    assert set(rows) - searched - REST == set(trial) - {"none"}
    assert all(rows[name] == config for name, config in trial.items())


def test_what_is_no_reference_control_or_chosen_row_is_a_preset_under_its_name() -> None:
    presets = [row for row in _suite("board").methods if row.label]
    assert all(row.config == {"preset": row.label} for row in presets)


def test_every_attack_has_one_budget_and_the_same_concepts_two_a_family() -> None:
    attacks = _suite("board").attacks
    images = [row.config["budget"] * row.config["batch"] for row in attacks]
    assert len(attacks) == 3
    assert set(images) == {480}
    assert all(row.tasks == attacks[0].tasks and not row.methods for row in attacks)
    families = Counter(name.split("/")[0] for name in attacks[0].tasks)
    assert set(families.values()) == {2}
    assert set(attacks[0].tasks) < set(_suite("board").tasks)


def test_the_attacks_suite_has_rows_sizes_and_attacks_of_the_board() -> None:
    attacked, board = _suite("board-attacks"), _suite("board")
    assert attacked.sizes == board.sizes
    assert set(attacked.tasks) == set(board.attacks[0].tasks)
    own = {row.name: row for row in board.methods if not row.label and not row.noise}
    assert all(row == own[row.name] for row in attacked.methods)
    named = {row.name: row.config for row in board.attacks}
    assert all(row.config == named[row.name] for row in attacked.attacks)

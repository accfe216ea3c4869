"""Evaluation prompts and training problems: disjoint, balanced, by the rules of retention."""

import itertools

import pytest
import torch

from unlearnbench.bench.errors import UserError
from unlearnbench.bench.planning.tasks import PromptSizes, Task
from unlearnbench.bench.running.catalog import task_registry
from unlearnbench.bench.worlds.emoji.captions import Captioner
from unlearnbench.bench.worlds.emoji.compose import load_canvas
from unlearnbench.bench.worlds.emoji.problems import Concepts, build_problem, build_prompts
from unlearnbench.bench.worlds.emoji.spec import load_spec
from unlearnbench.bench.worlds.emoji.world import SPRITES

SPECS = {name: load_spec(name) for name in ("emoji", "tiny")}
TASKS = [task for task in task_registry().values() if task.file.world in SPECS]
CHOICES = ("diverse", "narrow", "narrow-retain", "retain-2")
CANVAS = {name: load_canvas(spec, SPRITES) for name, spec in SPECS.items()}


def _ids(task: Task) -> str:
    return task.id


@pytest.fixture(params=TASKS, ids=_ids)
def task(request: pytest.FixtureRequest) -> Task:
    return request.param


def test_no_evaluation_prompt_is_in_what_a_method_gets(task: Task) -> None:
    spec = SPECS[task.file.world]
    captioner = Captioner(spec)
    evaluated = {p.text for p in build_prompts(spec, captioner, task, PromptSizes())}
    for data in CHOICES:
        problem = build_problem(spec, CANVAS[spec.name], captioner, task, data, 0)
        trained = {
            *problem.forget_set.prompts,
            *problem.retain_set.prompts,
            *problem.forget_set.anchor_prompts,
        }
        assert not evaluated & trained


def test_a_problem_says_what_it_is_about(task: Task) -> None:
    spec = SPECS[task.file.world]
    problem = build_problem(spec, CANVAS[spec.name], Captioner(spec), task, "diverse", 0)
    kinds = {"classes": "subject", "styles": "style", "celebrities": "person", "nudity": "category"}
    assert problem.kind == kinds[task.file.family]
    assert problem.targets == tuple(task.concept.targets)
    assert all(any(name in p for name in problem.targets) for p in problem.forget_set.prompts)
    assert problem.retained
    assert not set(problem.retained) & task.suite_targets
    assert all(any(name in p for name in problem.retained) for p in problem.retain_set.prompts)
    assert (problem.sampling.steps, problem.sampling.guidance) == (spec.steps, spec.guidance)


def test_sizes_halves_and_identities(task: Task) -> None:
    sizes = PromptSizes()
    prompts = build_prompts(SPECS[task.file.world], Captioner(SPECS[task.file.world]), task, sizes)
    assert len({p.id for p in prompts}) == len(prompts)
    splits = {name: [p for p in prompts if p.split == name] for name in ("forget", "retain", "indirect")}
    if task.file.world == "emoji":
        assert len(splits["forget"]) == sizes.forget
        assert len(splits["retain"]) == sizes.retain_same + sizes.retain_other + sizes.retain_given
        assert len(splits["indirect"]) >= 0.8 * sizes.indirect * (task.concept.indirect is not None)
    assert bool(splits["indirect"]) == (task.concept.indirect is not None)
    for group in splits.values():
        halves = [sum(p.half == half for p in group) for half in "AB"]
        assert abs(halves[0] - halves[1]) <= 3


def test_forget_prompts_name_a_target_and_retain_prompts_none_of_the_suite(task: Task) -> None:
    prompts = build_prompts(SPECS[task.file.world], Captioner(SPECS[task.file.world]), task, PromptSizes())
    for prompt in prompts:
        asked = prompt.asked.get(task.file.target_kind, "")
        if prompt.split == "forget":
            assert asked in task.concept.targets
            assert prompt.targets == tuple(task.concept.targets)
        elif prompt.split == "retain":
            assert asked not in task.suite_targets
            assert prompt.targets == ()
        else:
            assert not any(t.lower() in prompt.text.lower() for t in task.concept.targets)


def test_given_and_relation_follow_the_task(task: Task) -> None:
    spec = SPECS[task.file.world]
    prompts = [p for p in build_prompts(spec, Captioner(spec), task, PromptSizes()) if p.split == "retain"]
    for prompt in prompts:
        given = all(prompt.asked[kind] in names for kind, names in task.concept.given.items())
        assert prompt.given == given
        if task.file.target_kind == "subject":
            near = spec.group_of(prompt.asked["subject"]) in task.concept.near
            assert prompt.relation == ("same" if near else "other")
    assert any(p.given for p in prompts)
    assert any(not p.given for p in prompts)


def test_problems_hold_targets_to_forget_and_given_concepts_to_retain(task: Task) -> None:
    spec = SPECS[task.file.world]
    problem = build_problem(spec, CANVAS[spec.name], Captioner(spec), task, "diverse", 0)
    assert problem.forget_set.images.shape == problem.retain_set.images.shape
    assert problem.forget_set.images.abs().max() <= 1
    for text in problem.forget_set.prompts:
        assert any(target in text for target in task.concept.targets)
    # a target's name may be a part of another name ("cat face"): compare whole names, longest first
    names = sorted(spec.subject_names if task.file.target_kind == "subject" else spec.style_names, key=len)[
        ::-1
    ]
    for text in problem.retain_set.prompts:
        found = next(name for name in names if name in text)
        assert found not in task.suite_targets or f"line {found}" in text


def test_a_problem_depends_on_its_seed_alone() -> None:
    task = next(t for t in TASKS if t.id == "classes/cat-face@tiny")
    spec = SPECS["tiny"]
    make = [build_problem(spec, CANVAS["tiny"], Captioner(spec), task, "diverse", seed) for seed in (0, 0, 1)]
    assert torch.equal(make[0].forget_set.images, make[1].forget_set.images)
    assert make[0].retain_set.prompts == make[1].retain_set.prompts
    assert not torch.equal(make[0].forget_set.images, make[2].forget_set.images)
    draws = [torch.rand(3, generator=p.generator).tolist() for p in make]
    assert draws[0] == draws[1] != draws[2]


def test_narrow_data_is_as_many_images_of_two_subjects_with_one_template() -> None:
    task = next(t for t in TASKS if t.id == "classes/cat-face@emoji")
    spec = SPECS["emoji"]
    wide, thin = (
        build_problem(spec, CANVAS["emoji"], Captioner(spec), task, d, 0) for d in ("diverse", "narrow")
    )  # type: ignore[arg-type]
    assert wide.retain_set.images.shape == thin.retain_set.images.shape
    count = [
        sum(any(n in p for p in s.retain_set.prompts) for n in task.concept.given["subject"])
        for s in (wide, thin)
    ]
    assert count == [6, 2]


def test_narrow_retain_data_narrows_the_retain_set_only() -> None:
    task = next(t for t in TASKS if t.id == "classes/cat-face@emoji")
    spec = SPECS["emoji"]
    wide, narrow, thin = (
        build_problem(spec, CANVAS["emoji"], Captioner(spec), task, data, 0) for data in CHOICES[:3]
    )
    assert thin.forget_set.prompts == wide.forget_set.prompts != narrow.forget_set.prompts
    assert torch.equal(thin.forget_set.images, wide.forget_set.images)
    assert thin.forget_set.anchor_prompts == wide.forget_set.anchor_prompts
    assert thin.data == "narrow-retain"
    assert thin.retain_set.images.shape == wide.retain_set.images.shape
    captioner = Captioner(spec)
    first = {captioner.caption(triple, captioner.words.train[0]) for triple in spec.triples}
    assert set(thin.retain_set.prompts) <= first
    assert not set(wide.retain_set.prompts) <= first
    assert thin.retained == narrow.retained
    assert len(thin.retained) == 2 < len(wide.retained)
    again = torch.rand(3, generator=thin.generator)
    assert torch.equal(again, torch.rand(3, generator=wide.generator))


@pytest.mark.parametrize("task", [t for t in TASKS if t.concept.name.endswith("-twelve")], ids=_ids)
def test_the_arms_of_an_ablation_differ_in_the_number_of_retained_subjects_alone(task: Task) -> None:
    spec, captioner = SPECS["emoji"], Captioner(SPECS["emoji"])
    arms = [
        build_problem(spec, CANVAS["emoji"], captioner, task, data, 0)
        for data in ("retain-2", "retain-6", "retain-12", "diverse")
    ]
    given = task.concept.given["subject"]
    shown = [[name for name in given if any(name in p for p in arm.retain_set.prompts)] for arm in arms]
    assert shown == [given[:2], given[:6], given, given]
    assert len(given) == 12
    for arm in arms:
        assert torch.equal(arm.forget_set.images, arms[0].forget_set.images)
        assert arm.forget_set.prompts == arms[0].forget_set.prompts
        assert arm.retain_set.images.shape == arms[0].retain_set.images.shape
    assert arms[2].retain_set.prompts == arms[3].retain_set.prompts
    again = [torch.rand(3, generator=arm.generator).tolist() for arm in arms]
    assert again == again[:1] * 4


@pytest.mark.parametrize("task", [t for t in TASKS if t.concept.name.endswith("-twelve")], ids=_ids)
def test_retained_prompts_show_none_of_the_twelve(task: Task) -> None:
    prompts = build_prompts(SPECS["emoji"], Captioner(SPECS["emoji"]), task, PromptSizes(retain_given=12))
    kept = [p for p in prompts if p.split == "retain"]
    assert {p.asked["subject"] for p in kept if p.given} == set(task.concept.given["subject"])
    assert not {p.asked["subject"] for p in kept if not p.given} & set(task.concept.given["subject"])


def test_more_subjects_than_a_task_gives_are_refused() -> None:
    task = next(t for t in TASKS if t.id == "classes/cat-face@emoji")
    spec = SPECS["emoji"]
    with pytest.raises(UserError, match="'retain-7' takes 7 subjects of the task's `given`, which names 6"):
        build_problem(spec, CANVAS["emoji"], Captioner(spec), task, "retain-7", 0)


def test_every_family_has_three_evaluated_concepts_and_a_tuning_one() -> None:
    tasks = [t for t in TASKS if t.file.world == "emoji"]
    for family, group in itertools.groupby(
        sorted(tasks, key=lambda t: t.file.family), key=lambda t: t.file.family
    ):
        roles = [t.concept.role for t in group]
        assert roles.count("evaluated") >= 3, family
        assert roles.count("tuning") == 1, family


def test_an_unknown_subject_names_task_and_subject() -> None:
    task = next(t for t in TASKS if t.id == "classes/cat-face@tiny")
    concept = task.concept.model_copy(update={"targets": ["cat fase"]})
    broken = Task(task.id, task.file, concept, task.suite_targets)
    with pytest.raises(
        UserError,
        match=r"classes/cat-face@tiny: the world tiny has no subject named 'cat fase'; did you mean cat face",
    ):
        Concepts(SPECS["tiny"], broken)


def test_an_unknown_given_name_is_named_with_its_own_kind() -> None:
    task = next(t for t in TASKS if t.id == "classes/cat-face@tiny")
    concept = task.concept.model_copy(update={"given": {"style": ["lime"]}})
    with pytest.raises(UserError, match="has no style named 'lime'; did you mean line"):
        Concepts(SPECS["tiny"], Task(task.id, task.file, concept, task.suite_targets))

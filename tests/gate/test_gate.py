"""The regression gate: verdicts worked by hand, waivers, reports, how often it errs on planted changes."""

from dataclasses import replace
from datetime import date
from pathlib import Path
from xml.etree import ElementTree

import numpy as np
import pandas as pd
import pytest
from scipy import stats

from unlearnbench.bench.checking.recomputed import recompute
from unlearnbench.bench.cli.main import main
from unlearnbench.bench.errors import UserError
from unlearnbench.bench.gate.check import Finding, Side, check, verdict, worst_prompts
from unlearnbench.bench.gate.policy import Policy, read_policy
from unlearnbench.bench.gate.report import to_junit, to_markdown
from unlearnbench.bench.gate.sides import check_alike, read_side
from unlearnbench.bench.gate.weights import Change
from unlearnbench.bench.metrics.paired import paired_interval, score
from unlearnbench.bench.records.record import items_digest, write_record
from unlearnbench.bench.types import Value

from ..leaderboard.synthetic import METHODS, make_items, make_record, write

TODAY = date(2026, 6, 1)
POLICIES = Path(__file__).parents[2] / "bench" / "gate" / "policies"


def _side(seed: int = 0, method: str = "balanced", point: int = 2) -> Side:
    items = make_items(METHODS[method][point], np.random.default_rng(seed))
    return Side("model", {"UA": Value(value=0.97, low=0.93, high=0.99, n=48)}, items)


def _policy(*rules: dict[str, object], **more: object) -> Policy:
    return Policy.model_validate({"name": "test", "rules": list(rules)} | more)


def _one(policy: Policy, before: Side, after: Side) -> Finding:
    [finding] = check(policy, before, after, TODAY)
    return finding


@pytest.mark.parametrize(
    ("rule", "state"),
    [
        ({"at_least": 0.93}, "passed"),
        ({"at_least": 0.95}, "unclear"),
        ({"at_least": 0.995}, "regressed"),
        ({"at_most": 0.99}, "passed"),
        ({"at_most": 0.92}, "regressed"),
    ],
)
def test_an_absolute_rule_asks_the_interval(rule: dict[str, float], state: str) -> None:
    finding = _one(_policy({"metric": "UA"} | rule), _side(), _side())
    assert finding.state == state
    assert (finding.needed is not None) == (state == "unclear")


def test_what_was_not_measured_is_unclear_never_passed() -> None:
    finding = _one(_policy({"metric": "KID", "at_most": 1.0}), _side(), _side())
    assert finding.state == "unclear"
    assert finding.reason == "not measured"


def test_the_same_images_are_no_worse_exactly() -> None:
    finding = _one(_policy({"metric": "VA", "drop_at_most": 0.0}), _side(), _side())
    assert (finding.state, finding.low, finding.high) == ("passed", 0.0, 0.0)


def test_no_difference_on_few_prompts_is_not_equivalence() -> None:
    before = _side()
    after = replace(before, items=before.items.assign(image_sha256="other"))
    finding = _one(_policy({"metric": "VA", "drop_at_most": 0.005}), before, after)
    assert finding.state == "unclear"
    assert finding.needed == pytest.approx(np.log(0.025) / np.log(0.995), abs=1)
    n = finding.prompts
    assert finding.low == pytest.approx(-(1 - 0.025 ** (1 / n)))
    wide = _one(_policy({"metric": "VA", "drop_at_most": 0.2}), before, after)
    assert wide.state == "passed"


def test_the_older_paired_interval_is_scipys() -> None:
    differences = np.array([0.0, -0.5, 0.25, 0.0, -1.0, 0.5, 0.0, 0.0])
    expected = stats.ttest_1samp(differences, 0).confidence_interval(0.9)
    assert paired_interval(differences, 0.9, version=1) == pytest.approx((expected.low, expected.high))


def test_scores_are_the_metrics_own_means() -> None:
    side = _side(3)
    items = side.items
    forget = items[items["split"] == "forget"]
    assert score("UA", items).mean() == pytest.approx(1 - forget["target_found"].astype(float).mean())
    fresh = items[(items["split"] == "retain") & ~items["given"].astype(bool)]
    right = fresh["found_subject"] == fresh["asked_subject"]
    same = fresh["relation"] == "same"
    assert score("IRA", items).mean() == pytest.approx(right[same].mean())


def test_a_planted_loss_is_found_and_its_prompts_named() -> None:
    before = _side()
    items = before.items.copy()
    fresh = (items["split"] == "retain") & ~items["given"].astype(bool)
    lost = items.loc[fresh, "asked_subject"].iloc[0]
    rows = fresh & (items["asked_subject"] == lost)
    items.loc[rows, ["found_subject", "found_style", "found_background"]] = ""
    items["image_sha256"] = "other"
    after = replace(before, items=items)
    rule = {"metric": "VA", "drop_at_most": 0.1, "per": "concept"}
    found = {f.concept: f for f in check(_policy(rule), before, after, TODAY)}
    assert found[lost].difference is not None
    assert found[lost].difference < -0.5
    assert found[lost].state == "regressed"
    assert verdict(list(found.values())) == 1
    worst = worst_prompts("VA", before, after)
    assert set(items.set_index("prompt_id").loc[worst["prompt_id"], "asked_subject"]) == {lost}


def test_other_prompts_or_noise_are_refused() -> None:
    before, after = _side(), _side()
    after.items.loc[0, "seed"] += 1
    with pytest.raises(UserError, match="not asked for the same images"):
        check(_policy({"metric": "UA", "drop_at_most": 0.1}), before, after, TODAY)


def test_a_failed_judge_is_unclear() -> None:
    before, after = _side(), _side()
    fresh = (after.items["split"] == "retain") & ~after.items["given"].astype(bool)
    retained = after.items.index[fresh][0]
    after.items.loc[retained, "found_subject"] = None
    finding = _one(_policy({"metric": "VA", "drop_at_most": 0.5}), before, after)
    assert finding.state == "unclear"
    assert "judge failed" in finding.reason


def test_gains_do_not_make_up_for_losses_where_no_change_is_asked() -> None:
    before = _side()
    score = before.items["alignment"]
    swing = pd.Series(np.where(np.arange(len(score)) % 2, 0.1, -0.1), index=score.index)
    after = replace(before, items=before.items.assign(alignment=score + swing, image_sha256="other"))
    drop = _one(_policy({"metric": "AS", "drop_at_most": 0.05}), before, after)
    change = _one(_policy({"metric": "AS", "change_at_most": 0.05}), before, after)
    assert (drop.state, change.state) == ("passed", "regressed")
    assert change.difference == pytest.approx(0.1)
    assert _one(_policy({"metric": "AS", "change_at_most": 0.2}), before, after).state == "passed"


@pytest.mark.parametrize(("share", "state"), [(0.0, "passed"), (0.005, "passed"), (0.0051, "regressed")])
def test_a_rule_on_weights_asks_the_largest_change(share: float, state: str) -> None:
    policy = _policy({"metric": "weights", "change_at_most": 0.005})
    side, change = _side(), Change("unet.x", share, int(share > 0), 9)
    [finding] = check(policy, side, side, TODAY, change)
    assert (finding.state, finding.value) == (state, share)
    assert ("unet.x the most" in finding.reason) == (share > 0)


def test_weights_that_were_not_compared_are_unclear() -> None:
    assert _one(_policy({"metric": "weights", "change_at_most": 1.0}), _side(), _side()).state == "unclear"


def test_waivers_pass_until_their_day_and_are_shown() -> None:
    waiver = {"metric": "UA", "reason": "known", "owner": "ada", "expires": "2026-06-01"}
    policy = _policy({"metric": "UA", "at_least": 0.98}, waivers=[waiver])
    [finding] = check(policy, _side(), _side(), TODAY)
    assert finding.state == "waived"
    assert verdict([finding]) == 0
    assert "ada until 2026-06-01: known" in finding.reason
    [late] = check(policy, _side(), _side(), date(2026, 6, 2))
    assert late.state == "unclear", "what could not be told stays so when its waiver is over"
    assert "has expired" in late.reason


def test_a_waiver_is_of_one_rule_alone() -> None:
    waiver = {"rule": "AS at least 0.9", "reason": "known", "owner": "ada", "expires": "2026-06-01"}
    rules = {"metric": "AS", "at_least": 0.9}, {"metric": "AS", "at_most": -0.9}
    side = replace(_side(), values={"AS": Value(value=0.3, low=0.2, high=0.4, n=48)})
    found = check(_policy(*rules, waivers=[waiver]), side, side, TODAY)
    assert [finding.state for finding in found] == ["waived", "regressed"]
    over = waiver | {"expires": "2026-05-31"}
    found = check(_policy(*rules, waivers=[over]), side, side, TODAY)
    assert [finding.state for finding in found] == ["regressed", "regressed"]
    assert ["expired" in finding.reason for finding in found] == [True, False]


_WAIVER = 'reason = "r"\nowner = "ada"\nexpires = "2026-12-31"\n'
_RULES = """
[[rules]]
metric = "AS"
drop_at_most = 0.02
[[rules]]
metric = "AS"
at_least = 0.2
[[rules]]
metric = "IRA"
per = "concept"
drop_at_most = 0.5
"""


@pytest.mark.parametrize(
    ("waiver", "complaint"),
    [
        ('metric = "AS"\n' + _WAIVER, 'AS has 2 rules; give rule = "AS drop at most 0.02" or'),
        ('rule = "AS drop at most 0.03"\n' + _WAIVER, "did you mean AS drop at most 0.02"),
        ('metric = "UAA"\n' + _WAIVER, "the policy has no rule 'UAA'"),
        (_WAIVER, "give the rule that is waived"),
        ('rule = "AS at least 0.2"\nconcept = "fox"\n' + _WAIVER, "is of no concept"),
        ('metric = "IRA"\n' + _WAIVER, "name the one that is waived"),
        ('rule = "AS at least 0.2"\n' + _WAIVER.replace("12-31", "02-30"), "is no date"),
        ('rule = "AS at least 0.2"\n' + _WAIVER.replace("2026-12-31", "20261231"), "is no date"),
        ('rule = "AS at least 0.2"\n' + _WAIVER.replace('"ada"', '" "'), "owner: says nothing"),
        ('rule = "AS at least 0.2"\nuntil = "x"\n' + _WAIVER, "until"),
        (
            f'rule = "AS at least 0.2"\n{_WAIVER}[[waivers]]\nrule = "AS at least 0.2"\n{_WAIVER}',
            "two are of",
        ),
    ],
)
def test_a_waiver_names_a_rule_that_there_is(tmp_path: Path, waiver: str, complaint: str) -> None:
    path = tmp_path / "policy.toml"
    path.write_text(f'name = "x"\n{_RULES}[[waivers]]\n{waiver}')
    with pytest.raises(UserError, match=complaint) as caught:
        read_policy(path)
    assert str(caught.value).startswith(str(path))
    assert "\n" not in str(caught.value)


def test_a_waiver_of_a_concept_that_nothing_asks_of_is_refused() -> None:
    waiver = {"metric": "IRA", "concept": "ow", "reason": "r", "owner": "ada", "expires": "2026-12-31"}
    policy = _policy({"metric": "IRA", "per": "concept", "drop_at_most": 0.5}, waivers=[waiver])
    with pytest.raises(UserError, match=r"waivers.0.concept: .* asks nothing of 'ow'; did you mean owl"):
        check(policy, _side(), _side(), TODAY)


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ('metric = "UAA"\nat_least = 0.9', "did you mean UA"),
        ('metric = "IRRA"\ndrop_at_most = 0.1', "did you mean IRA"),
        ('metric = "UA"\nat_least = 95', "between 0 and 1; 95 per cent is 0.95"),
        ('metric = "VA"\ndrop_at_most = 5', "between 0 and 1; 5 per cent is 0.05"),
        ('metric = "VA"\ndrop_at_most = -0.1', "drop_at_most"),
        ('metric = "VA"\nat_least = nan', "at_least"),
        ('metric = "KID"\nat_most = inf', "at_most"),
        ('metric = "AS"\nat_least = 1.5', "between -1 and 1"),
        ('metric = "FD"\nat_most = -1.0', "between 0 and"),
        ('metric = "weights"\nchange_at_most = 5.0', "between 0 and 1; 5 per cent is 0.05"),
        ('metric = "IRA"\ndrop_at_most = 0.1\nper = "concepts"', "per"),
        ('metric = "UA"\nat_least = "0.9"', "at_least"),
        ('metric = "UA"\nat_least = true', "at_least"),
        ('metric = "UA"\nat_least = 0.9\n[[rules]]\nmetric = "UA"\nat_least = 0.9', "stands twice"),
        ('metric = "UA"\nat_least = 0.9\n[sizes]\nforget = -3', "sizes.forget"),
        ('metric = "UA"\nat_least = 0.9\n[sizes]\nforget_samples = 0', "sizes.forget_samples"),
        ('metric = "UA"\nat_least = 0.9\n[sizes]\nretain_same = 10000000', "sizes.retain_same"),
        ('metric = "UA"\nat_least = 0.9\n[sizes]\nretain = 10', "sizes.retain"),
    ],
)
def test_a_value_of_a_policy_out_of_its_range_is_named(tmp_path: Path, text: str, complaint: str) -> None:
    path = tmp_path / "policy.toml"
    path.write_text(f'name = "x"\n[[rules]]\n{text}\n')
    with pytest.raises(UserError, match=complaint) as caught:
        read_policy(path)
    assert str(caught.value).startswith(str(path))


@pytest.mark.parametrize("level", ["0.05", "1.0", "95", "nan", "-0.95"])
def test_a_level_is_one_of_confidence(tmp_path: Path, level: str) -> None:
    path = tmp_path / "policy.toml"
    path.write_text(f'name = "x"\nlevel = {level}\n[[rules]]\nmetric = "UA"\nat_least = 0.9\n')
    with pytest.raises(UserError, match="level"):
        read_policy(path)


def test_a_worse_prompt_never_helps() -> None:
    """No prompt differs: not shown to be within .1; one that lost half of its score must not pass then."""
    before = _side()
    rule = _policy({"metric": "VA", "drop_at_most": 0.09})
    after = replace(before, items=before.items.assign(image_sha256="other"))
    equal = _one(rule, before, after)
    items = after.items.copy()
    retained = items.index[(items["split"] == "retain") & ~items["given"].astype(bool)][0]
    items.loc[retained, ["found_subject", "found_style", "found_background"]] = ""
    worse = _one(rule, before, replace(after, items=items))
    assert equal.low is not None
    assert worse.low is not None
    assert worse.low < equal.low


def test_the_gate_reads_shares_of_older_records_by_the_monotone_interval(tmp_path: Path) -> None:
    """48 of 48 forgotten is unclear at .855 by the record's own interval, where 47 of 48 passed."""
    lows = []
    for remembered in (0, 1):
        record, items, _ = make_record("balanced")
        items = items[items["point"] == 3].reset_index(drop=True)
        forget = items.index[items["split"] == "forget"]
        items.loc[forget, "target_found"] = [i < remembered for i in range(len(forget))]
        items.loc[forget, "found_subject"] = [
            "cat face" if i < remembered else "" for i in range(len(forget))
        ]
        values = recompute(items, None, version=1)
        point = record.points[3].model_copy(update={"values": values})
        changes = {
            "points": [point],
            "items_sha256": items_digest(items),
            "sheet": [],
            "cell": f"r{remembered}",
        }
        path = write_record(record.model_copy(update=changes), items, None, tmp_path)
        _, side = read_side(path, None)
        lows.append((values["UA"].low, side.values["UA"].low))
    (own_all, all_), (own_but_one, but_one) = lows
    assert own_all < own_but_one
    assert all_ > but_one


@pytest.mark.parametrize(
    ("rule", "complaint"),
    [
        ({"metric": "UA"}, "exactly one"),
        ({"metric": "UA", "at_least": 0.9, "drop_at_most": 0.1}, "exactly one"),
        ({"metric": "KID", "drop_at_most": 0.1}, "has no paired difference"),
        ({"metric": "AS", "drop_at_most": 0.1, "per": "concept"}, "per concept"),
        ({"metric": "weights", "drop_at_most": 0.1}, "change_at_most alone"),
        ({"metric": "UA", "atleast": 0.9}, "atleast"),
    ],
)
def test_a_bad_policy_is_named(tmp_path: Path, rule: dict[str, object], complaint: str) -> None:
    path = tmp_path / "policy.toml"
    lines = [f"{key} = {value!r}".replace("'", '"') for key, value in rule.items()]
    path.write_text('name = "x"\n[[rules]]\n' + "\n".join(lines) + "\n")
    with pytest.raises(UserError, match=complaint) as caught:
        read_policy(path)
    assert "policy.toml" in str(caught.value)


@pytest.mark.parametrize("path", sorted(POLICIES.glob("*.toml")), ids=lambda p: p.stem)
def test_the_example_policies_read(path: Path) -> None:
    assert read_policy(path).rules


def test_an_example_is_read_by_its_name() -> None:
    assert read_policy("research") == read_policy(POLICIES / "research.toml")
    with pytest.raises(UserError, match="one of the examples brand-safety, legal-removal, model-update"):
        read_policy("resaerch")


def test_reports_hold_strange_names_as_text() -> None:
    bad = "<script>alert(1)</script> | `x` \x00"
    finding = Finding("UA at least 0.9", "UA", "regressed", concept=bad, value=0.5, low=0.4, high=0.6)
    tree = ElementTree.fromstring(to_junit(bad, [finding]))
    assert tree.attrib["failures"] == "1"
    assert "<script>" in next(tree.iter("testcase")).attrib["name"]
    text = to_markdown(bad, [finding], pd.DataFrame(), [])
    assert "<script>" not in text.replace("\\<", "&lt;")
    assert text.splitlines()[-1].replace("\\|", "").count("|") == 4


def test_the_command_exits_by_its_verdict(tmp_path: Path) -> None:
    write(tmp_path, "none")
    balanced = write(tmp_path, "balanced")
    policy = tmp_path / "policy.toml"

    def run(rules: str, candidate: Path = balanced, *more: str) -> int:
        policy.write_text('name = "x"\n[[rules]]\n' + rules)
        return main(
            [
                "check",
                "--baseline",
                str(balanced),
                "--candidate",
                str(candidate),
                "--policy",
                str(policy),
                *more,
            ]
        )

    out = tmp_path / "out"
    assert run('metric = "VA"\ndrop_at_most = 0.0\n', balanced, "--out", str(out)) == 0
    assert ElementTree.parse(out / "junit.xml").getroot().attrib["tests"] == "1"
    assert "passed" in (out / "summary.md").read_text()
    assert run('metric = "UA"\nat_least = 0.9999\n') == 2
    assert run('metric = "VA"\ndrop_at_most = 0.0\n', balanced, "--point", "40") in (1, 2)
    assert run('metric = "VA"\n') == 3
    assert run('metric = "VA"\ndrop_at_most = 0.0\n', tmp_path / "absent.json") == 3


def test_what_was_taken_back_judges_nothing(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    old, new = write(tmp_path, "balanced", cell="old"), write(tmp_path, "balanced", cell="new")
    policy = tmp_path / "policy.toml"
    policy.write_text('name = "x"\n[[rules]]\nmetric = "UA"\nat_least = 0.5\n')

    def run(baseline: Path, candidate: Path) -> tuple[int, str]:
        sides = ["--baseline", str(baseline), "--candidate", str(candidate)]
        status = main(["check", *sides, "--policy", str(policy)])
        return status, capsys.readouterr().err

    assert run(new, new)[0] == 0
    reason = ["--reason", "wrong\nrate", "--by", "Ada", "--successor", str(new)]
    assert main(["retract", str(old), *reason]) == 0
    for baseline, candidate in ((old, new), (new, old)):
        status, said = run(baseline, candidate)
        assert status == 3
        assert said.count("\n") == 1
        assert "old.json: superseded by Ada" in said
        assert "wrong rate" in said


@pytest.mark.parametrize(("loss", "least", "most"), [(0.0, 0.0, 0.05), (0.6, 0.95, 1.0)])
def test_false_alarms_are_rare_and_losses_found(loss: float, least: float, most: float) -> None:
    """Over 60 seeds: a model that draws as well, and one that lost 60 % of the subjects."""
    policy = _policy({"metric": "VA", "drop_at_most": 0.05})
    alarms = 0
    for seed in range(60):
        before, rng = _side(seed), np.random.default_rng(1000 + seed)
        items = before.items.copy()
        hit = (items["split"] == "retain") & (rng.random(len(items)) < loss)
        items.loc[hit, "found_subject"] = ""
        flip = (items["split"] == "retain") & (rng.random(len(items)) < 0.01)
        items.loc[flip, "found_style"] = items.loc[flip, "asked_style"]
        items["image_sha256"] = "other"
        alarms += _one(policy, before, replace(before, items=items)).state == "regressed"
    assert least <= alarms / 60 <= most


@pytest.mark.parametrize(
    ("part", "change"),
    [
        ("task", {"judge": "another@1"}),
        ("task", {"version": 9}),
        ("sampling", {"steps": 4}),
        ("sampling", {"noise": 1}),
    ],
)
def test_records_measured_otherwise_are_refused(part: str, change: dict[str, object]) -> None:
    """A baseline of 50 steps beside a candidate of 4: the sampler's effect is not the model's."""
    record = make_record("balanced")[0]
    own = getattr(record, part)
    other = {**own, **change} if isinstance(own, dict) else own.model_copy(update=change)
    check_alike(record, record)
    [(name, value)] = change.items()
    with pytest.raises(UserError, match=rf"{part}.{name}: is {value!r}"):
        check_alike(record, record.model_copy(update={part: other}))

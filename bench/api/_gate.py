"""`check`: does a model update comply with a policy?"""

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from ._suites import make_session
from .bench.running.session import DEFAULT_WORLD, Program, WorldSettings

if TYPE_CHECKING:
    import pandas as pd

    from .bench.gate.check import Finding


@dataclass(frozen=True)
class GateResult:
    """The result of the gate. title: policy, candidate and baseline. findings: one for each rule (and
    concept, where the rule is per concept). worst: the prompts that lost most."""

    title: str
    findings: "tuple[Finding, ...]"
    worst: "pd.DataFrame"

    @property
    def passed(self) -> bool:
        """Whether every rule passed or is waived; a rule that these images cannot decide has not passed."""
        return self.verdict == 0

    @property
    def verdict(self) -> int:
        """0: every rule passed or is waived; 1: one has regressed; 2: these images cannot decide one."""
        from .bench.gate.check import verdict

        return verdict(list(self.findings))

    def frame(self) -> "pd.DataFrame":
        """Return the findings as a table."""
        import pandas as pd

        return pd.DataFrame([vars(finding) for finding in self.findings])

    def _repr_html_(self) -> str:
        html: str = self.frame()[
            ["rule", "concept", "state", "value", "baseline", "difference", "reason"]
        ].to_html()
        return html


def check(
    baseline: str | Path,
    candidate: str | Path,
    policy: str | Path,
    *,
    baseline_model: str | Path | None = None,
    point: str | None = None,
    candidate_point: str | None = None,
    out: str | Path | None = None,
    device: str | None = None,
    threads: int | None = None,
    store: str | Path | None = None,
    cell_timeout: float | None = None,
    world: WorldSettings = DEFAULT_WORLD,
    _program: Program | None = None,
) -> GateResult:
    """Return whether a candidate complies with a policy, compared with a baseline.

    baseline: a record's file. candidate: a record's file, or a model by name as `evaluate` takes it, which is
    drawn and judged now. policy: a TOML file of rules and waivers, or the name of one that ships
    (`model-update`). baseline_model: its diffusers folder, for rules on weights. point, candidate_point:
    labels; None: the last. out: folder for the reports. The other parameters are those of `run`. Raises
    UserError where nothing can be judged.

    >>> unlearnbench.check("released.json", "models/next", "model-update").passed
    """
    from .bench.gate.sides import GateRequest, judge

    request = GateRequest(
        baseline=Path(baseline),
        candidate=str(candidate),
        policy=str(policy),
        baseline_model=None if baseline_model is None else str(baseline_model),
        point=point,
        candidate_point=candidate_point,
        out=None if out is None else Path(out),
        session=make_session("check(...)", _program, world, device, threads, store, cell_timeout),
    )
    title, findings, worst = judge(request)
    return GateResult(title, tuple(findings), worst)

"""Possible ranges of the numbers in records and rules."""

from collections.abc import Mapping
from math import isfinite

Range = tuple[float, float]
SHARE: Range = (0.0, 1.0)
_SHARES = ("UA", "UA_other", "UA_nothing", "UA_indirect", "VA", "VA_given", "in_prompt", "IRA", "IRA_given",
           "CRA", "CRA_given", "collapse", "collapse_images", "collapse_variance")  # fmt: skip
FRECHET: Range = (0.0, 1e5)
"""Squared distances: not negative. Published FIDs of pure noise stay below 1000."""
KERNEL: Range = (-20.0, 40.0)
"""KID's kernel (x.y / d + 1)^3 is at most 10 for features of a mean square up to 1.15; Inception's is about
.4. A squared MMD of such a kernel is at most 40. The unbiased estimate is at least -10 / (n - 1) - 10 / (m -
1): a mean off the diagonal is a squared norm less the diagonal. The lower end is given for n = 2, with as
many references."""
GAUSSIAN: Range = (-40.0, 40.0)
"""CMMD: 1000 times a squared MMD of a kernel between exp(-.02) and 1, for its embeddings are of unit
length."""
PER_IMAGE = frozenset(
    {"KID", "KID_base", "KD_efficientnet_lite0", "KD_efficientnet_lite0_base", "CMMD", "CMMD_base"}
)
"""Unbiased estimates: they can be below 0 by at most a bound that falls with the number of images - 1."""
RANGES: Mapping[str, Range] = {
    **dict.fromkeys(_SHARES, SHARE),
    "AS": (-1.0, 1.0), "AS_delta": (-2.0, 2.0), "AS_chance": (-2.0, 2.0),
    **dict.fromkeys(("FD", "FD_base", "FID", "FID_base"), FRECHET),
    **dict.fromkeys(("KID", "KID_base", "KD_efficientnet_lite0", "KD_efficientnet_lite0_base"), KERNEL),
    **dict.fromkeys(("CMMD", "CMMD_base"), GAUSSIAN),
}  # fmt: skip
"""Value name -> its range, of every metric of this package."""
UNDECLARED: Range = (-1e6, 1e6)
"""Range of the values of plug-in metrics."""
COSTS: Mapping[str, Range] = {
    "seconds": (0.0, 1e8),  # three years
    "memory_bytes": (0.0, 1e15),
    "parameters": (0.0, 1e13),
    "delta_bytes": (0.0, 1e15),
    "distance": (0.0, 1e3),  # over the norm of the weights
}
LOGS: Mapping[str, Range] = {
    "step": (0.0, 1e9), "cos": (-1.0, 1.0), "conflict": SHARE, "norm_before_clipping": (0.0, 1e12),
    "update_norm": (0.0, 1e12),
}  # fmt: skip
LOG: Range = (-1e12, 1e12)
"""Range of log columns that LOGS does not name: losses and scalar products."""
SAMPLING: Mapping[str, Range] = {
    "steps": (1, 10_000), "guidance": (0.0, 1000.0), "height": (1, 16_384), "width": (1, 16_384),
    "noise": (0, 2**63 - 1),
}  # fmt: skip
ROUNDING = 1e-9


def range_of(name: str, n: int = 2, is_end: bool = False) -> Range:
    """Return the range of a value of n images, or of an end of its interval."""
    least, most = RANGES.get(name, UNDECLARED)
    if name in PER_IMAGE:
        least /= max(1, n - 1)
        if is_end:  # a jackknife interval may exceed every possible estimate
            least, most = 2 * least, 2 * most
    return least, most


def is_within(number: float, ends: Range) -> bool:
    """Return whether a number is finite and, up to rounding, within a range."""
    return isfinite(number) and ends[0] - ROUNDING <= number <= ends[1] + ROUNDING


def write_range(ends: Range) -> str:
    """Return a range as people read it."""
    return f"between {ends[0]:g} and {ends[1]:g}"

"""The number that orders a board: what its records name."""

from collections.abc import Sequence

from ...bench.errors import UserError
from ...bench.records.load import Loaded
from ...bench.types import Headline


def find_headline(loaded: Sequence[Loaded]) -> Headline:
    """Return the headline of a board: that of its own measured records, whatever added or claimed ones name.

    Raises UserError where its own name two: no order is of both.
    """
    measured = [entry for entry in loaded if entry.record.source == "measured"]
    own = [entry for entry in measured if entry.is_home and not entry.record.inline] or measured
    named: dict[Headline, str] = {}
    for entry in own:
        named.setdefault(entry.record.headline, entry.name)
    if len(named) > 1:
        said = " and ".join(f"{headline} in {name}" for headline, name in sorted(named.items()))
        raise UserError(f"headline: the board's records name {said}; keep them in folders apart")
    return next(iter(named), "AVA")

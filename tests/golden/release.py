"""What identifies a release of a board, from its records: prints the lines of results/RELEASES.md.

    python tests/golden/release.py results/emoji

The digest is the sha256 of one line `CELL DIGEST` for each record, in the order of their names, where DIGEST
is the record's own (without times, machine and command). Statements and claims are not in it.
"""

import hashlib
import sys
from pathlib import Path

from unlearnbench.bench.records.record import read_record, record_digest
from unlearnbench.bench.records.statements import list_records

PACKAGES = ("torch", "diffusers", "transformers", "numpy")


def describe(folder: Path) -> dict[str, str]:
    """Return the fields of a release: number of records, dates, commits, environment, declaration, digest."""
    records = [read_record(path) for path in sorted(list_records(folder))]
    lines = "".join(f"{record.cell} {record_digest(record)}\n" for record in records)
    environments = [record.environment for record in records]
    packages = {name: {e.get("packages", {}).get(name) for e in environments} for name in PACKAGES}
    return {
        "records": f"{len(records)}",
        "measured": " to ".join(
            sorted({min(r.created for r in records)[:10], max(r.created for r in records)[:10]})
        ),
        "commit": ", ".join(sorted({(r.commit or "unknown")[:7] for r in records})),
        "environment": ", ".join(
            [
                f"Python {_join(e.get('python') for e in environments)}",
                *(f"{name} {_join(found)}" for name, found in packages.items()),
                f"{_join(e.get('device') for e in environments)}",
                f"{_join(e.get('threads') for e in environments)} thread",
            ]
        ),
        "headline": _join(r.headline for r in records),
        "declaration": _join(r.declaration or "none" for r in records),
        "digest": hashlib.sha256(lines.encode()).hexdigest(),
    }


def _join(values) -> str:
    return " and ".join(sorted({str(value) for value in values}))


if __name__ == "__main__":
    for name, text in describe(Path(sys.argv[1])).items():
        print(f"- {name}: {text}")

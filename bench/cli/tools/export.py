"""`export`: records in another tracker."""

import argparse
from pathlib import Path
from typing import Any

TARGETS = ("tensorboard", "mlflow")


def export_records(options: argparse.Namespace) -> int:
    """Write records to a tracker; print where they are."""
    from ...._records import load_entries
    from .tracking import export_mlflow, export_tensorboard

    entries = load_entries(options.records)
    if options.to == "tensorboard":
        said = export_tensorboard(entries, options.out)
    else:
        said = export_mlflow(entries, options.uri, options.experiment)
    print(f"{len(entries)} records: {said}")
    return 0


def add_export(commands: Any) -> None:
    """Add `export` to the command line."""
    parser = commands.add_parser("export", help="show records in TensorBoard or MLflow")
    parser.add_argument("records", type=Path, nargs="+", help="records (CELL.json) or folders of them")
    parser.add_argument("--to", required=True, choices=TARGETS, help="the tracker")
    parser.add_argument(
        "--out", type=Path, default=Path("tensorboard"), help="tensorboard: folder (default: tensorboard)"
    )
    parser.add_argument("--uri", default="sqlite:///mlflow.db", help="mlflow: (default: sqlite:///mlflow.db)")
    parser.add_argument("--experiment", default="unlearnbench", help="mlflow: (default: unlearnbench)")
    parser.set_defaults(run=export_records)

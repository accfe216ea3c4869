"""`export`: records in another tracker."""

import argparse
from pathlib import Path
from typing import Any

from ...errors import UserError

TARGETS = ("tensorboard", "mlflow", "wandb", "trackio")


def export_records(options: argparse.Namespace) -> int:
    """Write records to a tracker; print where they are."""
    from ...._records import load_entries
    from .tracking import export_mlflow, export_tensorboard, export_trackio, export_wandb

    if options.out is not None and options.to in ("mlflow", "trackio"):
        where = "--uri names the place" if options.to == "mlflow" else "TRACKIO_DIR names the place"
        raise UserError(f"--out {options.out}: not of {options.to}; {where}")
    entries = load_entries(options.records)
    if options.to == "tensorboard":
        said = export_tensorboard(entries, options.out or Path("tensorboard"))
    elif options.to == "mlflow":
        said = export_mlflow(entries, options.uri, options.experiment)
    elif options.to == "wandb":
        said = export_wandb(entries, options.out or Path(), options.experiment)
    else:
        said = export_trackio(entries, options.experiment)
    print(f"{len(entries)} records: {said}")
    return 0


def add_export(commands: Any) -> None:
    """Add `export` to the command line."""
    parser = commands.add_parser("export", help="show records in TensorBoard, MLflow, wandb or Trackio")
    parser.add_argument("records", type=Path, nargs="+", help="records (CELL.json) or folders of them")
    parser.add_argument("--to", required=True, choices=TARGETS, help="the tracker; wandb: offline runs")
    parser.add_argument(
        "--out", type=Path, help="folder (default: tensorboard; wandb: here; trackio: see TRACKIO_DIR)"
    )
    parser.add_argument("--uri", default="sqlite:///mlflow.db", help="mlflow: (default: sqlite:///mlflow.db)")
    parser.add_argument(
        "--experiment", default="unlearnbench", help="or project, not of tensorboard (default: unlearnbench)"
    )
    parser.set_defaults(run=export_records)

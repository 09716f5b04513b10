"""Arguments and options that the commands share."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Annotated, Any

import typer


def argument(name: str, text: str) -> Any:
    """A positional argument."""
    return typer.Argument(metavar=name, help=text, show_default=False)


def option(panel: str, metavar: str, text: str, *names: str) -> Any:
    """An option, in a panel of the help."""
    return typer.Option(*names, metavar=metavar, help=text, show_default=False, rich_help_panel=panel)


in_problem = partial(option, "Problem")
in_output = partial(option, "Output")
in_work = partial(option, "Work")

MatrixFile = Annotated[Path, argument("A_FILE", "Matrix A, m x n")]
VectorFile = Annotated[Path, argument("Y_FILE", "Measurements y, m numbers")]
Positive = Annotated[bool, in_problem("", "Look for x >= 0 only", "--positive")]
NewFile = Annotated[Path | None, in_output("FILE", "Save x: .npz .npy .csv", "--output", "-o")]
Json = Annotated[Path | None, in_output("FILE", "Save a summary as JSON; - prints it", "--json")]
Plot = Annotated[Path | None, in_output("FILE", "Save a picture: .png .pdf .svg")]
Scheduler = Annotated[
    str | None, option("Cluster", "ADDRESS", "Dask scheduler, tcp://host:8786, or: local", "--scheduler")
]
Jobs = Annotated[int | None, in_work("N", "Processes (default: one per core)", "--jobs", "-j")]
RetryFailed = Annotated[bool, in_work("", "Run again what failed", "--retry-failed")]
Fresh = Annotated[bool, in_output("", "Forget the records in the folder and start anew", "--fresh")]
Force = Annotated[bool, in_output("", "Replace files that exist", "--force", "-f")]
Quiet = Annotated[bool, in_output("", "Print no table and no progress", "--quiet", "-q")]

READS = """\
A and y come from .npy, .npz, .mtx, .mat, .csv, .tsv or .parquet files, A also from a .zarr or .parquet folder; from \
those that hold several arrays, the ones called A and y are taken.
"""

"""``hadaflow sweep``: a function measured over a grid, as a TOML file says."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import rich.box
import typer
from rich.console import Console
from rich.table import Table

from hadaflow.cli import _options as given
from hadaflow.cli._running import duration, require, running, warn_of_failures
from hadaflow.experiments import Store, Sweep, SweepResult
from hadaflow.experiments.sweep_config import read_config
from hadaflow.experiments.sweeps import run_sweep

ABOUT = """\
Measure a function in every cell of a grid, several times, as CONFIG says.

The folder gets the records as .parquet, and a journal .jsonl with each repetition as soon as it is done: after a \
break, the same command goes on, and after a change of the grid only what is new is run.

Exit code: 0 all measured, 1 some failed, 2 bad input, 130 interrupted (what is done is kept).
"""

EXAMPLES = """\
[bold]A config[/bold]

[cyan]experiment = "measure.py:measure"  # measure(rng, *, m, depth, n), which returns a dict of numbers[/cyan]

[cyan]repeats = 20[/cyan]

[cyan]seed = 0[/cyan]

[cyan]paired = \\["depth"]  # the same random numbers for all depths[/cyan]

[cyan]grid = { m = \\[50, 100], depth = { from = 2, to = 5, count = 4 } }  # or scale = "log", or step = 1[/cyan]

[cyan]fixed = { n = 200 }[/cyan]

[bold]Examples[/bold]

[cyan]hadaflow sweep config.toml --dry-run[/cyan]

[cyan]hadaflow sweep config.toml --output records --jobs 8[/cyan]

[cyan]hadaflow sweep config.toml --scheduler tcp://host:8786[/cyan]
"""

_Config = Annotated[Path, given.argument("CONFIG", "TOML file")]
_Folder = Annotated[Path | None, given.in_output("DIR", "Folder (default sweep-<name of CONFIG>)", "--output", "-o")]
_DryRun = Annotated[bool, given.in_work("", "Show what there is to do and exit", "--dry-run")]


def sweep(
    config: _Config,
    output: _Folder = None,
    jobs: given.Jobs = None,
    scheduler: given.Scheduler = None,
    retry_failed: given.RetryFailed = False,
    fresh: given.Fresh = False,
    dry_run: _DryRun = False,
    quiet: given.Quiet = False,
) -> int:
    require("cloudpickle", "filelock", "joblib", "pandas", "pyarrow")
    study = read_config(config)
    folder = output or Path(f"sweep-{config.stem}")
    if dry_run:
        Console().print(_plan(study, Store(folder, study), retry_failed=retry_failed, fresh=fresh))
        return 0
    with running(folder, scheduler=scheduler, jobs=jobs, quiet=quiet) as report:
        result = run_sweep(study, folder, jobs=jobs, retry_failed=retry_failed, fresh=fresh, progress=report)
    if not quiet:
        Console().print(_summary(result))
        typer.echo(f"The records: {result.path and folder / result.path.name}")
    return _warn_of_failures(result)


def _warn_of_failures(result: SweepResult) -> int:
    failures, total = result.failures, len(result.sweep.tasks())
    first = ""
    if len(failures):
        row = failures.iloc[0]
        first = f"({', '.join(f'{name}={row[name]}' for name in result.sweep.columns)}) by {row.error}"
    return warn_of_failures(len(failures), total, "repetitions", first)


def _plan(study: Sweep, store: Store, *, retry_failed: bool, fresh: bool) -> Table:
    total = study.total
    left = total if fresh else len(store.pending(retry_failed=retry_failed))
    return _table(
        {
            "experiment": study.name,
            "grid": ", ".join(f"{name} ({len(values)})" for name, values in study.grid.items()),
            "cells": str(total // study.repeats),
            "repetitions of each": str(study.repeats),
            "done already": str(total - left),
            "left to do": str(left),
        }
    )


def _summary(result: SweepResult) -> Table:
    total = result.sweep.total
    return _table(
        {
            "experiment": result.sweep.name,
            "cells": str(total // result.sweep.repeats),
            "repetitions": f"{total}, {result.ran} of them run now",
            "records": str(len(result.records)),
            "failed": str(len(result.failures)),
            "skipped": str(len(result.skipped)),
            "work": duration(result.seconds),
        }
    )


def _table(lines: dict[str, str]) -> Table:
    table = Table(box=rich.box.SIMPLE, show_header=False)
    for name, text in lines.items():
        table.add_row(name, text)
    return table

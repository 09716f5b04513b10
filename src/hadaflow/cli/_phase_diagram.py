"""``hadaflow phase-diagram``: what is recovered from how many measurements, beside the theory."""

from __future__ import annotations

import math
from functools import partial
from pathlib import Path
from typing import Annotated, Any

import rich.box
import typer
from rich.console import Console
from rich.table import Table

from hadaflow import files
from hadaflow._validation import positive_number, whole_number
from hadaflow.cli import _options as given
from hadaflow.cli._running import require, running, warn_of_failures
from hadaflow.experiments.ensembles import ENSEMBLES
from hadaflow.experiments.panel import Panel
from hadaflow.experiments.phase import PhaseDiagram, phase_diagram
from hadaflow.experiments.structures import KINDS
from hadaflow.experiments.trials import PRODUCT_SCALE
from hadaflow.plotting.phase import panel_axes

_VANISHING = "vanishing"
_FOLDER = Path("phase-diagram")
_FIGURE, _FORMATS = "phase_diagram", ("png", "svg")

ABOUT = f"""\
Recover random sparse vectors over a grid of m / n and s / m, and draw the theoretical transition beside it.

Each trial draws a matrix, a random support of s entries and normal values on it, and measures m numbers. \
--depth {_VANISHING} (default) asks for the exact minimiser of the l1 norm, where the flow ends as its start vanishes; \
a number for the end of the flow from --scale. --group-size makes so many neighbouring entries zero together, with \
--kind joint it is the number of columns that share their support. Several depths, scales, ensembles and group sizes \
give a panel each. The folder gets \
{_FIGURE}.png, {_FIGURE}.svg and the records as .parquet. What is already in it is not run again: after a break, the \
same command goes on.

Exit code: 0 all trials made, 1 some failed, 2 bad input, 130 interrupted (what is done is kept).
"""

EXAMPLES = f"""\
[bold]Examples[/bold]

[cyan]hadaflow phase-diagram --positive --output positive[/cyan]

[cyan]hadaflow phase-diagram --depth {_VANISHING} --depth 2 --depth 3 --scale 1e-6[/cyan]

[cyan]hadaflow phase-diagram --group-size 1 --group-size 4 --group-size 10 --grid 10[/cyan]

[cyan]hadaflow phase-diagram --ensemble gaussian --ensemble signs --grid 10 --scheduler tcp://host:8786[/cyan]
"""

_in_diagram = partial(given.option, "Diagram")
_in_panels = partial(given.option, "Panels (options that may be repeated)")

_N = Annotated[int, _in_diagram("N", "Coordinates (default 200)", "--n")]
_Grid = Annotated[int, _in_diagram("K", "Cells along each axis (default 20)", "--grid")]
_Repeats = Annotated[int, _in_diagram("R", "Trials per cell (default 20)", "--repeats")]
_Positive = Annotated[bool, _in_diagram("", "Non-negative vectors", "--positive")]
_Kind = Annotated[str, _in_diagram("KIND", ", ".join(KINDS).replace(",", " (default),", 1), "--kind")]
_Seed = Annotated[int, _in_diagram("SEED", "Of the random numbers (default 0)", "--seed")]
_Depths = Annotated[list[str] | None, _in_panels("D", f"{_VANISHING} (default), 1 or a number >= 2", "--depth")]
_Scales = Annotated[
    list[float] | None, _in_panels("W", f"Product scale a^D of the depths (default {PRODUCT_SCALE:g})", "--scale")
]
_Ensembles = Annotated[
    list[str] | None, _in_panels("NAME", ", ".join(ENSEMBLES).replace(",", " (default),", 1), "--ensemble")
]
_Sizes = Annotated[list[int] | None, _in_panels("K", "Entries to a group (default 1)", "--group-size")]
_Folder = Annotated[Path, given.in_output("DIR", f"Folder (default {_FOLDER})", "--output", "-o")]


def diagram(
    *,
    n: _N = 200,
    grid: _Grid = 20,
    repeats: _Repeats = 20,
    positive: _Positive = False,
    kind: _Kind = KINDS[0],
    seed: _Seed = 0,
    depth: _Depths = None,
    scale: _Scales = None,
    ensemble: _Ensembles = None,
    group_size: _Sizes = None,
    jobs: given.Jobs = None,
    scheduler: given.Scheduler = None,
    output: _Folder = _FOLDER,
    retry_failed: given.RetryFailed = False,
    fresh: given.Fresh = False,
    quiet: given.Quiet = False,
) -> int:
    require("cloudpickle", "filelock", "joblib", "matplotlib", "pandas", "pyarrow")
    asked: dict[str, Any] = {
        "n": n,
        "m_over_n": whole_number(grid, "--grid"),
        "s_over_m": grid,
        "repeats": repeats,
        "sign": "positive" if positive else "both",
        "ensemble": ensemble or next(iter(ENSEMBLES)),
        "kind": kind,
        "group_size": group_size or 1,
        "depth": [_number(word) for word in depth or [_VANISHING]],
        "product_scale": [positive_number(value, "--scale") for value in scale or []] or None,
        "seed": seed,
    }
    with running(output, scheduler=scheduler, jobs=jobs, quiet=quiet) as report:
        found = phase_diagram(
            **asked, folder=output, jobs=jobs, retry_failed=retry_failed, fresh=fresh, progress=report
        )
    plots = _drawn(found, output)
    if not quiet:
        _tell(found)
        typer.echo(f"Saved: {', '.join(str(path) for path in (*plots, *found.paths))}")
    return _warn_of_failures(found)


def _tell(diagram: PhaseDiagram) -> None:
    """Print the curves next to the theory, and how far they are from it."""
    Console().print(_table(diagram))
    for panel in diagram.panels:
        far = panel.deviation()
        where = f"at most {far.largest:.3f} (at m / n = {far.where:.3f}), on average {far.mean:.3f}"
        columns = f"over the {far.columns} of {panel.success().shape[1]} columns that resolve both"
        distance = f"{where}, {columns}" if far.columns else "unknown: no column resolves both"
        typer.echo(f"{_in_a_line(panel)}: distance from the theory {distance}")


def _warn_of_failures(diagram: PhaseDiagram) -> int:
    reasons = diagram.failures["error"]
    first = f"by {reasons.iloc[0]}" if len(reasons) else ""
    return warn_of_failures(len(reasons), len(reasons) + len(diagram.records), "trials", first)


def _number(word: str) -> float | None:
    if word == _VANISHING:
        return None
    try:
        return float(word)
    except ValueError as error:
        raise ValueError(f"--depth must be {_VANISHING}, 1 or a number of at least 2, got {word!r}") from error


def _drawn(diagram: PhaseDiagram, folder: Path) -> list[Path]:
    figure = diagram.plot(ax=panel_axes(len(diagram.panels), pyplot=False))
    paths = [folder / f"{_FIGURE}.{kind}" for kind in _FORMATS]
    for path in paths:
        with files.atomic_writer(path) as handle:
            figure.savefig(handle, format=path.suffix[1:], dpi=150)  # type: ignore[union-attr]
    return paths


def _table(diagram: PhaseDiagram) -> Table:
    """The curve of every panel, next to the theory."""
    titles = [panel.title.splitlines() for panel in diagram.panels]
    shared = len({matrices for matrices, _ in titles}) == 1
    names = [start if shared else f"{matrices}, {start}" for matrices, start in titles]
    caption = "s / m where half are recovered" + (f", {titles[0][0]}" if shared else "")
    table = Table("m", "m / n", "theory", *names, box=rich.box.SIMPLE, title=caption)
    halves = [panel.half().set_index("measurements") for panel in diagram.panels]
    for m in sorted(set().union(*(half.index for half in halves))):
        known = [half.loc[m] for half in halves if m in half.index]
        cells = [_shown(half.loc[m]) if m in half.index else "-" for half in halves]
        table.add_row(str(m), f"{known[0]['m_over_n']:.3f}", _digits(known[0]["transition"]), *cells)
    return table


def _shown(row: Any) -> str:
    found = _digits(row["s_over_m"])
    return found if found == "-" else f"{found} +- {_digits(row['error'])}"


def _digits(number: float) -> str:
    return "-" if math.isnan(number) else f"{number:.3f}"


def _in_a_line(panel: Panel) -> str:
    return panel.title.replace("\n", ", ")

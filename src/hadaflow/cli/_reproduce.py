"""``hadaflow reproduce``: the experiments of the papers, from the config to the page with the verdicts."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import Annotated

import rich.box
import typer
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from hadaflow.cli import _options as given
from hadaflow.cli._running import require, running
from hadaflow.experiments import Experiment, Verdict, find, known, reproduce, write_report
from hadaflow.experiments.base import Size
from hadaflow.experiments.report import Finding

ABOUT = """\
Run the experiments of the papers and write a page with what came out.

WHAT is any of: A, B, C, groups, scale (a paper), all, the name of an experiment (see --list), a file.py with \
experiments of your own. --quick takes minutes, --full the sizes of the papers. The folder gets records/*.parquet, \
figures/*.png and *.svg, and report.html, which needs no other file. What is already in the folder is not run again: \
after a break, the same command goes on.

Exit code: 0 all claims hold or are undecided, 1 a claim does not hold or an experiment could not be run, 2 bad \
input, 130 interrupted (what is done is kept).
"""

EXAMPLES = """\
[bold]Examples[/bold]

[cyan]hadaflow reproduce all --quick[/cyan]

[cyan]hadaflow reproduce C --full --output paper-c --jobs 8[/cyan]

[cyan]hadaflow reproduce my_experiment.py[/cyan]
"""

_What = Annotated[
    list[str] | None,
    typer.Argument(metavar="WHAT...", help="Paper, experiment or file; default all", show_default=False),
]
_Quick = Annotated[bool, given.option("Size", "", "A few minutes for everything (default)", "--quick")]
_Full = Annotated[bool, given.option("Size", "", "The sizes of the papers", "--full")]
_Folder = Annotated[
    Path | None, given.in_output("DIR", "Folder (default reproduction-quick or reproduction-full)", "--output", "-o")
]
_List = Annotated[bool, given.in_output("", "Show which experiments there are and exit", "--list")]


def reproduce_papers(
    what: _What = None,
    quick: _Quick = False,
    full: _Full = False,
    jobs: given.Jobs = None,
    output: _Folder = None,
    fresh: given.Fresh = False,
    listing: _List = False,
    quiet: given.Quiet = False,
) -> int:
    require("cloudpickle", "filelock", "jinja2", "joblib", "matplotlib", "pandas", "pyarrow", "sklearn")
    if listing:
        Console().print(_overview())
        return 0
    if quick and full:
        raise ValueError("--quick and --full exclude each other")
    size: Size = "full" if full else "quick"
    folder = output or Path(f"reproduction-{size}")
    chosen = find(what or ["all"])
    experiments = [_configured(kind, size) for kind in chosen.values()]
    with running(folder, quiet=quiet, each=True) as report:
        failed = reproduce(experiments, folder, jobs=jobs, fresh=fresh, progress=report)
    everything = [_configured(kind, size) for kind in (known() | chosen).values()]
    findings = write_report(everything, folder, failed=failed)
    asked = [finding for finding in findings if finding.experiment.name in chosen]
    if not quiet:
        Console().print(_table(asked))
        typer.echo(f"The page: {folder / 'report.html'}")
    for finding in asked:
        if finding.error:
            typer.echo(f"hadaflow: warning: {finding.experiment.name}: {finding.error}", err=True)
    bad = any(f.error or any(claim.verdict is Verdict.FAILS for claim in f.claims) for f in asked)
    return 1 if bad else 0


def _configured(kind: type[Experiment], size: Size) -> Experiment:
    """The config of a size; what is wrong with a user's class is told by its name."""
    try:
        return kind.of_size(size)
    except Exception as error:
        raise ValueError(f"experiment {kind.name} has no {size} config: {type(error).__name__}: {error}") from error


def _overview() -> Table:
    table = Table("name", "paper", "title", box=rich.box.SIMPLE)
    for name, kind in known().items():
        table.add_row(name, kind.paper, escape(kind.title))
    return table


def _table(findings: list[Finding]) -> Table:
    table = Table("experiment", *(str(verdict) for verdict in Verdict), box=rich.box.SIMPLE)
    for finding in findings:
        counts = Counter(claim.verdict for claim in finding.claims)
        cells = ["could not be run", "", ""] if finding.error else [str(counts[v] or "") for v in Verdict]
        table.add_row(finding.experiment.name, *cells)
    return table

"""The command line: ``hadaflow recover A_FILE Y_FILE``. It reads, calls :func:`hadaflow.recover`, and reports."""

from __future__ import annotations

import json
import math
import platform
import sys
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict
from enum import StrEnum
from functools import partial
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import scipy

import hadaflow as hf
from hadaflow import files, plotting
from hadaflow.results import ProgressCallback

try:
    import rich.box
    import typer
    from rich.console import Console
    from rich.progress import BarColumn, TextColumn, TimeElapsedColumn
    from rich.progress import Progress as ProgressBar
    from rich.table import Table
    from rich.text import Text
except ImportError as missing:
    _name = str(missing.name).partition(".")[0]
    raise SystemExit(f"hadaflow: error: the command line needs {_name}: pip install 'hadaflow[cli]'") from None

_Files = dict[str, Path | None]
_STDOUT = Path("-")
_PLOT_SUFFIXES = (".png", ".pdf", ".svg")
_PROGRESS_AFTER_SECONDS = 2.0
# What typer raises on a bad command line; it may bring its own copy of click, so click itself is no place to look.
_UsageError: type[Exception] = typer.BadParameter.__mro__[2]

app = typer.Typer(
    name="hadaflow",
    help="[bold]Sparse recovery[/bold] by gradient flow on overparameterised models, with proofs.",
    rich_markup_mode="rich",
    add_completion=False,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)


class Method(StrEnum):
    """Which dynamics to follow."""

    AUTO = "auto"
    SADDLES = "saddles"
    LIMIT = "limit"


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line and return its exit code.

    Parameters
    ----------
    argv : sequence of str, optional
        Arguments without the name of the program; default those of the process.

    Returns
    -------
    int
        0: recovered and certified. 1: ran, but did not converge. 2: usage, file or data at fault, told in one line on
        standard error. 130: interrupted.
    """
    try:
        code = int(app(args=argv, prog_name="hadaflow", standalone_mode=False) or 0)
    except (KeyboardInterrupt, typer.Abort):
        code = 130
    except _UsageError as error:
        return _complain(_usage(error))
    except (ValueError, TypeError, OSError, ImportError) as error:
        return _complain(str(error))
    except MemoryError:
        return _complain("out of memory; keep a large dense matrix as .npy, a sparse one as .mtx or .npz")
    if code == 130:
        typer.echo("hadaflow: interrupted", err=True)
    return code


def _complain(message: str) -> int:
    typer.echo(f"hadaflow: error: {' '.join(message.split())}", err=True)
    return 2


def _usage(error: Any) -> str:
    command = error.ctx.command_path if error.ctx else "hadaflow"
    message = error.format_message().replace("Value error, ", "").rstrip(".")
    return f"{message}; see {command} --help"


def _show_version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"hadaflow {hf.__version__}")
        raise typer.Exit


@app.callback(invoke_without_command=True)
def _top(
    context: typer.Context,
    _version: Annotated[
        bool,
        typer.Option("--version", metavar="", help="Show the version and exit.", callback=_show_version, is_eager=True),
    ] = False,
) -> None:
    if context.invoked_subcommand is None:
        typer.echo(context.get_help(), nl=False)


_ABOUT = """\
Recover the sparse x in [bold]y = A x[/bold] and prove how good it is.

A and y come from .npy, .npz, .mtx, .mat, .csv, .tsv or .parquet files; from those that hold several arrays, the ones \
called A and y are taken.

By default: the x of smallest l1 norm, with exact zeros. With --depth and --init-scale: the x at which gradient flow \
from that start ends. Of an option given twice, the last one counts.

Exit code: 0 recovered, 1 not converged, 2 bad input, 130 interrupted.
"""

_EXAMPLES = """\
[bold]Examples[/bold]

[cyan]hadaflow recover A.npy y.npy --output x.npz[/cyan]

[cyan]hadaflow recover A.mtx y.csv --noise-level 0.1 --plot recovery.png[/cyan]

[cyan]hadaflow recover data.npz data.npz --json - | jq .certificate.gap[/cyan]
"""


def _argument(name: str, text: str) -> Any:
    return typer.Argument(metavar=name, help=text, show_default=False)


def _option(panel: str, metavar: str, text: str, *names: str) -> Any:
    return typer.Option(*names, metavar=metavar, help=text, show_default=False, rich_help_panel=panel)


_in_problem = partial(_option, "Problem")
_in_flow = partial(_option, "Gradient flow")
_in_output = partial(_option, "Output")


@app.command(help=_ABOUT, epilog=_EXAMPLES)
def recover(
    a_file: Annotated[Path, _argument("A_FILE", "Matrix A, m x n")],
    y_file: Annotated[Path, _argument("Y_FILE", "Measurements y, m numbers")],
    *,
    positive: Annotated[bool, _in_problem("", "Look for x >= 0 only", "--positive")] = False,
    noise_level: Annotated[float, _in_problem("S", "Stop once ||Ax - y|| <= S, in units of y")] = 0.0,
    weights: Annotated[Path | None, _in_problem("FILE", "Weights of the l1 norm, one per column of A")] = None,
    depth: Annotated[float | None, _in_flow("D", "Number of factors, 1 or >= 2; with --init-scale")] = None,
    init_scale: Annotated[float | None, _in_flow("A", "Start of all factors, in x^(1/D); with --depth")] = None,
    method: Annotated[Method, _in_flow("NAME", "auto (default), saddles or limit")] = Method.AUTO,
    output: Annotated[Path | None, _in_output("FILE", "Save x: .npz .npy .csv", "--output", "-o")] = None,
    json_file: Annotated[Path | None, _in_output("FILE", "Save a summary as JSON; - prints it", "--json")] = None,
    plot: Annotated[Path | None, _in_output("FILE", "Save a picture: .png .pdf .svg")] = None,
    force: Annotated[bool, _in_output("", "Replace files that exist", "--force", "-f")] = False,
    quiet: Annotated[bool, _in_output("", "Print no table and no progress", "--quiet", "-q")] = False,
) -> int:
    """Read, recover, save and report; the exit code."""
    inputs = {"A": a_file, "y": y_file, "weights": weights}
    outputs = {"output": output, "json": json_file, "plot": plot}
    _check_outputs(inputs, outputs, force=force)
    options: dict[str, Any] = {
        "positive": positive,
        "noise_level": noise_level,
        "depth": depth,
        "init_scale": init_scale,
        "method": method.value,
    }
    with _progress(wanted=not quiet) as progress:
        A, y, w = _read(a_file, y_file, weights)
        result = hf.recover(A, y, weights=w, progress=progress, **options)
    hint = _hint(result, noise_level)
    summary = json.dumps(_summary(result, hint, inputs, options, outputs), indent=2, allow_nan=False)
    if output is not None:
        _save(output, result, summary)
    if plot is not None:
        _save_plot(plot, result)
    if json_file is not None:
        _tell(json_file, summary)
    if not quiet and json_file != _STDOUT:
        Console().print(_table(result, hint, inputs, outputs))
    elif not result.status.ok:
        typer.echo(f"hadaflow: warning: {result.status}", err=True)
    return 0 if result.status.ok else 1


def _check_outputs(inputs: _Files, outputs: _Files, *, force: bool) -> None:
    """Find out before the work whether its results can be written."""
    suffixes = {"output": files.VECTOR_SUFFIXES, "json": (), "plot": _PLOT_SUFFIXES}
    taken = {path.resolve() for path in inputs.values() if path is not None}
    for role, path in outputs.items():
        if path is None or path == _STDOUT:
            continue
        if path.resolve() in taken:
            raise files.FileFormatError(f"--{role} {path}: this file has another part to play; choose another name")
        taken.add(path.resolve())
        try:
            files.check_output(path, suffixes[role], overwrite=force)
        except FileExistsError as error:
            raise FileExistsError(f"{path} exists already; choose another name or add --force") from error
    if outputs["plot"] is not None:
        plotting.blank_figure()  # complains if matplotlib is missing


def _read(a_file: Path, y_file: Path, weights: Path | None) -> tuple[Any, Any, Any]:
    """A, y and the weights; the small files first, for their mistakes to be told soon."""
    try:
        y = files.read_vector(y_file, name="y")
    except files.FileFormatError as error:
        if _swapped(a_file, y_file):
            order = f"the order is A then y: hadaflow recover {y_file} {a_file}"
            raise ValueError(f"{a_file} holds a vector and {y_file} a matrix; {order}") from error
        raise
    w = None if weights is None else files.read_vector(weights, name="weights")
    A = files.read_matrix(a_file, name="A")
    rows, columns = A.shape
    if rows != len(y):
        remedy = "A may be transposed" if columns == len(y) else "the two do not belong together"
        raise ValueError(f"{a_file} has {rows} rows and {columns} columns, {y_file} has {len(y)} numbers: {remedy}")
    return A, y, w


def _swapped(a_file: Path, y_file: Path) -> bool:
    try:
        files.read_vector(a_file, name="y")
        files.read_matrix(y_file, name="A")
    except (files.FileFormatError, FileNotFoundError):
        return False
    return True


@contextmanager
def _progress(*, wanted: bool) -> Iterator[ProgressCallback | None]:
    """A progress bar on standard error that shows up only if the work takes its time and somebody may be looking."""
    if not (wanted and sys.stderr.isatty()):
        yield None
        return
    columns = TextColumn("{task.description}"), BarColumn(), TimeElapsedColumn()
    bar = ProgressBar(*columns, console=Console(stderr=True), transient=True)
    task = bar.add_task("reading", total=None)

    def report(progress: hf.Progress) -> None:
        known = progress.fraction is not None
        bar.update(
            task,
            description=f"{progress.stage}: {progress.message}",
            total=1.0 if known else None,
            completed=progress.fraction if known else None,
        )

    # A timer, not a look at the clock in `report`: reading, too, may take long.
    timer = threading.Timer(_PROGRESS_AFTER_SECONDS, bar.start)
    timer.daemon = True
    timer.start()
    try:
        yield report
    finally:
        timer.cancel()
        timer.join()
        if bar.live.is_started:
            bar.stop()


def _hint(result: hf.Recovery, noise_level: float) -> str | None:
    """What to think of an x that is no sparser than any vertex of the l1 problem; None where nothing is odd."""
    m, n = result.problem.shape
    if noise_level == 0 and result.status is hf.Status.EXACT and np.count_nonzero(result.x) == m < n:
        return (
            "as many non-zeros as measurements: y may be noisy (see --noise-level) or the measurements too few "
            "to recover x"
        )
    return None


def _summary(
    result: hf.Recovery, hint: str | None, inputs: _Files, options: dict[str, Any], outputs: _Files
) -> dict[str, Any]:
    """All that a script may want to know, in types that JSON has."""
    m, n = result.problem.shape
    record = {
        "versions": {
            "hadaflow": hf.__version__,
            "python": platform.python_version(),
            "numpy": np.__version__,
            "scipy": scipy.__version__,
        },
        "inputs": _names(inputs),
        "outputs": _names(outputs),
        "options": options,
        "problem": {"rows": m, "columns": n, "dtype": str(result.problem.dtype)},
        "status": {"name": result.status.name, "ok": result.status.ok, "message": str(result.status), "hint": hint},
        "certificate": asdict(result.certificate),
        "solution": {"nonzeros": int(np.count_nonzero(result.x)), "support_size": len(result.support())},
        "stats": asdict(result.stats),
    }
    return {section: {key: _plain(value) for key, value in entries.items()} for section, entries in record.items()}


def _names(paths: _Files) -> dict[str, str | None]:
    return {role: None if path is None else str(path) for role, path in paths.items()}


def _plain(value: Any) -> Any:
    """NumPy scalars become Python's, and infinities null: JSON knows neither."""
    value = value.item() if isinstance(value, np.generic) else value
    return None if isinstance(value, float) and not math.isfinite(value) else value


def _save(path: Path, result: hf.Recovery, summary: str) -> None:
    if path.suffix.lower() == ".npz":
        arrays = {"x": result.x, "dual": result.dual, "support": result.support(), "summary": summary}
        files.write_arrays(path, arrays)
    else:
        files.write_vector(path, result.x)


def _save_plot(path: Path, result: hf.Recovery) -> None:
    figure = plotting.blank_figure()
    plotting.plot_recovery(result, axes=figure.axes)
    with files.atomic_writer(path) as handle:
        figure.savefig(handle, format=path.suffix[1:].lower(), dpi=150)


def _tell(path: Path, summary: str) -> None:
    if path == _STDOUT:
        typer.echo(summary)
    else:
        files.write_text(path, f"{summary}\n")


def _table(result: hf.Recovery, hint: str | None, inputs: _Files, outputs: _Files) -> Table:
    """The answer at a glance; in ASCII, which every terminal and every pipe can show."""
    certificate, stats = result.certificate, result.stats
    m, n = result.problem.shape
    support = len(result.support())
    dense = np.count_nonzero(result.x) > support
    saved = [str(path) for path in outputs.values() if path is not None]
    rows = {
        "size": f"{m} x {n}, {inputs['A']} and {inputs['y']}",
        "status": str(result.status),
        **({} if hint is None else {"hint": hint}),
        "l1 norm" if inputs["weights"] is None else "weighted l1 norm": f"{certificate.l1_norm:.10g}",
        "lower bound": f"{certificate.lower_bound:.10g}  (proved: no admissible x has less)",
        "gap": f"{certificate.gap:.2g}  (relative)",
        "residual": f"{certificate.residual:.2g}  (||Ax - y|| / ||y||)",
        "non-zeros": f"{support} of {n}{' stand out; none is exactly zero' if dense else ''}",
        "unique": f"{'yes, proved' if certificate.unique else 'not proved'}  (margin {certificate.margin:.2g})",
        "time": f"{stats.seconds:.3g} s, {stats.passes:.4g} passes over A",
        "steps": f"{stats.events} events, {stats.newton_steps} Newton steps  ({stats.method})",
        "saved": ", ".join(saved) or "nothing; --output x.npz would save x",
    }
    table = Table(box=rich.box.SIMPLE, show_header=False, title=f"hadaflow {hf.__version__}", title_justify="left")
    table.add_column(style="bold", no_wrap=True)
    table.add_column(overflow="fold")
    for name, value in rows.items():
        colour = ("green" if result.status.ok else "red") if name == "status" else ""
        table.add_row(name, Text(value, style=colour))
    return table

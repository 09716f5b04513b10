"""What all commands do: read, wait, save and report."""

from __future__ import annotations

import json
import math
import platform
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import rich.box
import scipy
import typer
from rich.console import Console
from rich.progress import BarColumn, TextColumn, TimeElapsedColumn
from rich.progress import Progress as ProgressBar
from rich.table import Table
from rich.text import Text

import hadaflow as hf
from hadaflow import blocks, files, plotting
from hadaflow.clusters import connected
from hadaflow.results import ProgressCallback

if TYPE_CHECKING:
    from matplotlib.figure import Figure, SubFigure

Files = dict[str, Path | None]

_STDOUT = Path("-")
_SUFFIXES = {
    "output": files.VECTOR_SUFFIXES,
    "average": files.VECTOR_SUFFIXES,
    "json": (),
    "plot": (".png", ".pdf", ".svg"),
}
_PROGRESS_AFTER_SECONDS = 2.0


@dataclass(frozen=True)
class Report:
    """What a command reports.

    Attributes
    ----------
    status : Status
        What happened.
    problem : Problem
        The data.
    messages : dict
        Words that follow the status, under names; None for nothing to say.
    summary : dict of dicts
        Sections of the JSON file, after those that all commands have.
    rows : dict of str
        Rows of the table, after those that all commands have.
    vectors : dict
        For each output that is one vector: its name inside the file, and the vector.
    arrays : dict
        What an .npz file of ``--output`` holds.
    draw : callable
        Makes the picture.
    """

    status: hf.Status
    problem: hf.Problem
    messages: dict[str, str | None]
    summary: dict[str, dict[str, Any]]
    rows: dict[str, str]
    vectors: dict[str, tuple[str, Any]]
    arrays: dict[str, Any]
    draw: Callable[[], Figure | SubFigure]


@dataclass(frozen=True)
class Job:
    """One call of a command.

    Attributes
    ----------
    command : str
        Its name.
    inputs, outputs : dict of paths
        Files under their roles; None where not given.
    options : dict
        Everything else that was asked for.
    force : bool
        Whether to replace files.
    quiet : bool
        Whether to keep still.
    scheduler : str, optional
        Where Dask is to work; A is then read there, block by block.
    tables : tuple of str
        Roles of inputs that are matrices though they are not A.
    """

    command: str
    inputs: Files
    outputs: Files
    options: dict[str, Any]
    force: bool
    quiet: bool
    scheduler: str | None = None
    tables: tuple[str, ...] = ()

    def run(self, solve: Callable[[dict[str, Any], ProgressCallback | None], Report]) -> int:
        """Read, call ``solve`` with the arrays and a callback for progress, save and report; the exit code."""
        _check_outputs(self.inputs, self.outputs, force=self.force)
        cluster = connected(self.scheduler) if self.scheduler is not None else nullcontext()
        with _progress(wanted=not self.quiet) as progress, cluster:
            report = solve(self._read(), progress)
        summary = json.dumps(self._summary(report), indent=2, allow_nan=False)
        self._save(report, summary)
        if not self.quiet and self.outputs["json"] != _STDOUT:
            Console().print(self._table(report))
        elif not report.status.ok and report.status is not hf.Status.INTERRUPTED:
            words = [str(report.status), *filter(None, report.messages.values())]
            typer.echo(f"hadaflow: warning: {'; '.join(words)}", err=True)
        if report.status is hf.Status.INTERRUPTED:
            return 130
        return 0 if report.status.ok else 1

    def _read(self) -> dict[str, Any]:
        """The arrays under their roles; vectors, which are small, first, so that their mistakes are reported soon."""
        data: dict[str, Any] = dict.fromkeys(self.inputs)
        given = {role: path for role, path in self.inputs.items() if path is not None}
        matrices = [role for role in given if role.endswith("A")]
        for role in given:
            if role not in matrices:
                data[role] = self._vector(given, role)
        for role in matrices:
            by_blocks = self.scheduler is not None or blocks.goes_by_blocks(given[role])
            data[role] = (blocks.open_matrix if by_blocks else files.read_matrix)(given[role], name="A")
            partner = _partner(role)
            _check_pair(given[role], data[role], given[partner], data[partner])
        return data

    def _vector(self, given: dict[str, Path], role: str) -> Any:
        path, matrix = given[role], given.get(_partner(role))
        if role in self.tables:
            return files.read_matrix(path, name=role)
        try:
            return files.read_vector(path, name=role.rpartition("_")[2])
        except files.FileFormatError as error:
            if matrix is not None and _swapped(matrix, path):
                call = f"hadaflow {self.command}" if role == "y" else "--validation"
                order = f"the order is A then y: {call} {path} {matrix}"
                raise ValueError(f"{matrix} holds a vector and {path} a matrix; {order}") from error
            raise

    def _summary(self, report: Report) -> dict[str, Any]:
        """All that a script may want to know, in types that JSON has."""
        status, (m, n) = report.status, report.problem.given_shape
        record = {
            "versions": {
                "hadaflow": hf.__version__,
                "python": platform.python_version(),
                "numpy": np.__version__,
                "scipy": scipy.__version__,
            },
            "inputs": _names(self.inputs),
            "outputs": _names(self.outputs),
            "options": self.options,
            "problem": {"rows": m, "columns": n, "dtype": report.problem.layout.dtype_name(report.problem.dtype)},
            "status": {"name": status.name, "ok": status.ok, "message": str(status), **report.messages},
            **report.summary,
        }
        return {section: {key: _plain(value) for key, value in entries.items()} for section, entries in record.items()}

    def _save(self, report: Report, summary: str) -> None:
        for role, (name, vector) in report.vectors.items():
            path = self.outputs[role]
            if path is None:
                continue
            if role == "output" and path.suffix.lower() == ".npz":
                files.write_arrays(path, {**report.arrays, "summary": summary})
            else:
                files.write_vector(path, vector, name=name)
        plot, record = self.outputs["plot"], self.outputs["json"]
        if plot is not None:
            figure = report.draw()
            with files.atomic_writer(plot) as handle:
                figure.savefig(handle, format=plot.suffix[1:].lower(), dpi=150)  # type: ignore[union-attr]
        if record == _STDOUT:
            typer.echo(summary)
        elif record is not None:
            files.write_text(record, f"{summary}\n")

    def _table(self, report: Report) -> Table:
        """The answer at a glance; in ASCII, which every terminal and every pipe can show."""
        saved = [str(path) for path in self.outputs.values() if path is not None]
        rows = {
            "size": f"{report.problem.size}, {self.inputs['A']} and {self.inputs['y']}",
            "status": str(report.status),
            **{name: words for name, words in report.messages.items() if words is not None},
            **report.rows,
            "saved": ", ".join(saved) or "nothing; --output x.npz would save x",
        }
        table = Table(box=rich.box.SIMPLE, show_header=False, title=f"hadaflow {hf.__version__}", title_justify="left")
        table.add_column(style="bold", no_wrap=True)
        table.add_column(overflow="fold")
        for name, value in rows.items():
            colour = ("green" if report.status.ok else "red") if name == "status" else ""
            table.add_row(name, Text(value, style=colour))
        return table


def proof(
    certificate: hf.Certificate, *, weighted: bool = False, of: str = "admissible x", fits: bool = True
) -> dict[str, str]:
    """What is proved about x, as rows of the table; the gap only where x is one of those it is compared with."""
    rows = {
        "weighted l1 norm" if weighted else "l1 norm": f"{certificate.l1_norm:.10g}",
        "lower bound": f"{certificate.lower_bound:.10g}  (proved: no {of} has less)",
    }
    if fits:
        rows["gap"] = f"{certificate.gap:.2g}  (relative)"
    return rows | {"residual": f"{certificate.residual:.2g}  (||Ax - y|| / ||y||)"}


def _check_outputs(inputs: Files, outputs: Files, *, force: bool) -> None:
    """Find out before the work whether its results can be written."""
    taken = {path.resolve() for path in inputs.values() if path is not None}
    for role, path in outputs.items():
        if path is None or path == _STDOUT:
            continue
        if path.resolve() in taken:
            raise files.FileFormatError(f"--{role} {path}: this file has another part to play; choose another name")
        taken.add(path.resolve())
        try:
            files.check_output(path, _SUFFIXES[role], overwrite=force)
        except FileExistsError as error:
            raise FileExistsError(f"{path} exists already; choose another name or add --force") from error
    if outputs["plot"] is not None:
        plotting.blank_figure()  # complains if matplotlib is missing


def _partner(role: str) -> str:
    """The role of the y that belongs to an A, and the other way round; no role for what belongs to neither."""
    return role[:-1] + {"A": "y", "y": "A"}[role[-1]] if role[-1] in "Ay" else ""


def _swapped(a_file: Path, y_file: Path) -> bool:
    try:
        files.read_vector(a_file, name="y")
        files.read_matrix(y_file, name="A")
    except (files.FileFormatError, FileNotFoundError):
        return False
    return True


def _check_pair(a_file: Path, A: Any, y_file: Path, y: Any) -> None:
    rows, columns = A.shape
    if rows != len(y):
        remedy = "A may be transposed" if columns == len(y) else "the two do not belong together"
        raise ValueError(f"{a_file} has {rows} rows and {columns} columns, {y_file} has {len(y)} numbers: {remedy}")


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


def _names(paths: Files) -> dict[str, str | None]:
    return {role: None if path is None else str(path) for role, path in paths.items()}


def _plain(value: Any) -> Any:
    """NumPy scalars become Python's, and infinities null: JSON knows neither."""
    value = value.item() if isinstance(value, np.generic) else value
    return None if isinstance(value, float) and not math.isfinite(value) else value

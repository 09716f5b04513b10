"""What long runs have around them: signals, a cluster, progress, warnings, and a word on how to go on."""

from __future__ import annotations

import signal
import time
import warnings
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import typer
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeElapsedColumn
from rich.progress import Progress as ProgressBar

from hadaflow import _extras
from hadaflow.experiments import Step, WorkerLostError

_NOW_AND_THEN = 30.0  # seconds between lines where there is no bar


def require(*modules: str) -> None:
    """Raise ImportError, naming the extra, unless all of these are installed."""
    _extras.require(*modules, extra="experiments", what="experiments")


@contextmanager
def running(
    folder: Path, *, scheduler: str | None = None, jobs: int | None = None, quiet: bool = False, each: bool = False
) -> Iterator[Callable[[Step], None]]:
    """Run something long that keeps what is done in ``folder``.

    Parameters
    ----------
    folder : Path
        Where, for messages.
    scheduler : str or None
        Address of the Dask scheduler whose workers do it.
    jobs : int or None
        What was asked for; excludes a scheduler.
    quiet : bool
        Without progress.
    each : bool
        Whether a line tells when a study is finished.

    Yields
    ------
    callable
        To be called with each step.
    """
    if scheduler is not None and jobs is not None:
        raise ValueError("--jobs and --scheduler exclude each other: a cluster brings its own workers")
    with ExitStack() as around:
        around.enter_context(_terminated_like_interrupted())
        around.enter_context(_plain_warnings())
        if scheduler is not None:
            around.enter_context(_on_cluster(scheduler))
        try:
            with _progress(quiet=quiet, each=each) as report:
                yield report
        except KeyboardInterrupt:
            if folder.exists():
                typer.echo(f"hadaflow: what is done is kept in {folder}: the same command goes on", err=True)
            raise
        except WorkerLostError as error:
            typer.echo(f"hadaflow: error: {error}", err=True)
            raise typer.Exit(1) from error


@contextmanager
def _terminated_like_interrupted() -> Iterator[None]:
    """SIGTERM ends the workers, too, and says how to go on."""

    def interrupt(*_: object) -> None:
        raise KeyboardInterrupt

    before = signal.signal(signal.SIGTERM, interrupt)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


@contextmanager
def _plain_warnings() -> Iterator[None]:
    """Warnings as sentences, without the line of code that they come from."""

    def show(message: Warning | str, *_: object, **__: object) -> None:
        typer.echo(f"hadaflow: warning: {message}", err=True)

    with warnings.catch_warnings():
        warnings.showwarning = show
        yield


@contextmanager
def _on_cluster(scheduler: str) -> Iterator[None]:
    from hadaflow.clusters import connected

    with connected(scheduler):
        import joblib

        with joblib.parallel_config(backend="dask"):
            yield


@contextmanager
def _progress(*, quiet: bool, each: bool) -> Iterator[Callable[[Step], None]]:
    """A bar on a terminal, a line now and then elsewhere."""
    console = Console(stderr=True)
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    bar = ProgressBar(
        *columns,
        TextColumn("{task.fields[left]}"),  # rich's own estimate takes what earlier runs did for the speed of this one
        console=console,
        transient=True,
        disable=quiet or not console.is_terminal,
    )
    reported = time.monotonic()

    def report(step: Step) -> None:
        nonlocal reported
        failed = f", {step.failed} failed" if step.failed else ""
        name, left = f"{step.study.known_as}{failed}", f"about {duration(step.remaining)} left"
        bar.update(line, completed=step.done, total=step.total, description=name, left=left)
        if quiet:
            return
        head = f"[{step.done}/{step.total}] {step.study.known_as}"
        if each and step.finished:
            console.print(f"{head}: done", highlight=False, markup=False)
        elif not console.is_terminal and time.monotonic() - reported > _NOW_AND_THEN:
            reported = time.monotonic()
            console.print(f"{head}{failed}: {duration(step.seconds)}, {left}", highlight=False, markup=False)

    with bar:
        line = bar.add_task("starting", total=None, left="")
        yield report


def warn_of_failures(failed: int, total: int, what: str, first: str) -> int:
    """Tell how many of something failed, and of the first one why; the exit code."""
    if failed:
        message = f"{failed} of {total} {what} failed, the first {first}; --retry-failed runs them again"
        typer.echo(f"hadaflow: warning: {message}", err=True)
    return int(failed > 0)


def duration(seconds: float) -> str:
    """Seconds as a reader wants them."""
    if seconds < 100:
        return f"{seconds:.1f} s"
    return f"{seconds / 60:.0f} min" if seconds < 6000 else f"{seconds / 3600:.1f} h"

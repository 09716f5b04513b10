"""Sweeps: a function measured in every cell of a grid, a number of times, each with random numbers of its own."""

from __future__ import annotations

import os
import warnings
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import closing, nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

from hadaflow._extras import require
from hadaflow._validation import callback, file_path, flag, instance, whole_number
from hadaflow.experiments.execution import Execution, Step, alone_in
from hadaflow.experiments.journal import Entry
from hadaflow.experiments.on_dask import WorkerLostError
from hadaflow.experiments.records import Store, keys_of, table_of, tasks_of
from hadaflow.experiments.sweep_arguments import size_of
from hadaflow.experiments.sweep_study import Sweep

if TYPE_CHECKING:
    import pandas as pd


@dataclass(frozen=True)
class SweepResult:
    """What a sweep measured.

    Attributes
    ----------
    sweep : Sweep
        What was run.
    records : pandas.DataFrame
        One row per measurement, in the order of the grid and of the repetitions: the parameters of the grid, repeat,
        and what the function returned.
    failures : pandas.DataFrame
        One row per repetition that raised an error: the parameters of the grid, repeat, error, traceback.
    skipped : pandas.DataFrame
        One row per repetition that raised :class:`Skip`: the parameters of the grid, repeat, reason.
    path : Path or None
        The Parquet file of the records; None without a folder.
    seconds : float
        Work done for the records, over all processes and runs.
    ran : int
        Repetitions that were run now rather than found in the folder.
    """

    sweep: Sweep
    records: pd.DataFrame
    failures: pd.DataFrame
    skipped: pd.DataFrame
    path: Path | None
    seconds: float
    ran: int

    def __repr__(self) -> str:
        cells = f"{size_of(self.sweep.grid)} cells x {self.sweep.repeats}"
        return (
            f"SweepResult({self.sweep.name}: {cells}, {len(self.records)} records, {len(self.failures)} failed, "
            f"{len(self.skipped)} skipped)"
        )

    @property
    def finished(self) -> bool:
        """Whether every repetition of every cell was measured or skipped."""
        return not len(self.failures)

    @classmethod
    def of(cls, store: Store, study: Sweep, entries: Mapping[str, Entry], ran: int) -> Self:
        """Put together what came of the tasks."""
        import pandas as pd

        tasks = tasks_of(study)
        chosen = [(study.columns_of(task), entries[key]) for task, key in zip(tasks, keys_of(tasks), strict=True)]
        failures = [cell | {"error": e.error, "traceback": e.traceback} for cell, e in chosen if e.failed]
        skipped = [cell | {"reason": e.error} for cell, e in chosen if e.skipped]
        return cls(
            study,
            table_of(study, tasks, entries),
            pd.DataFrame(failures, columns=[*study.columns, "error", "traceback"]),
            pd.DataFrame(skipped, columns=[*study.columns, "reason"]),
            store.path,
            sum(entry.seconds for _, entry in chosen),
            ran,
        )


def sweep(  # noqa: PLR0913 - what is measured, where it is kept, how it is run
    experiment: Callable[..., Any] | str,
    grid: Mapping[str, Iterable[Any]],
    *,
    repeats: int = 1,
    fixed: Mapping[str, Any] | None = None,
    seed: int = 0,
    paired: Sequence[str] = (),
    folder: str | os.PathLike[str] | None = None,
    jobs: int | None = None,
    retry_failed: bool = False,
    fresh: bool = False,
    batch: int | None = None,
    progress: Callable[[Step], object] | None = None,
) -> SweepResult:
    """Measure a function in every cell of a grid, ``repeats`` times, going on where an earlier run was cut off.

    Parameters
    ----------
    experiment : callable or str
        ``f(rng, **parameters)`` with a :class:`numpy.random.Generator` of its own, that returns a dict of plain
        scalars, or several such dicts; it may raise :class:`Skip` where a cell makes no sense. Or the name of a trial
        of the library ("recovery"), "package.module:function", or "file.py:function".
    grid : mapping
        Names of parameters and their values: numbers, strings, bools. Cells are all combinations.
    repeats : int, default 1
        Of each cell.
    fixed : mapping, optional
        Parameters that are the same in all cells.
    seed : int, default 0
        Of all random numbers.
    paired : sequence of str, default ()
        Parameters along which cells share their random numbers, so that differences between them are not random.
    folder : path, optional
        Where results are kept; by default nowhere. The journal ``<name>-<identity>.jsonl`` gets each repetition as soon
        as it is done, ``<name>-<config hash>.parquet`` the records when all are.
    jobs : int, optional
        Processes, each with one thread; default as many as there are cores, or what the ``joblib.parallel_config`` that
        the call stands in says: Dask, Ray, threads. With 1 all runs in this process.
    retry_failed : bool, default False
        Run again what raised an error in an earlier run.
    fresh : bool, default False
        Forget what the folder holds under this name, and start anew.
    batch : int, optional
        Repetitions that travel to a worker together; by default as many as take about 0.3 s.
    progress : callable, optional
        Called with a :class:`Step` for every repetition.

    Returns
    -------
    SweepResult

    Raises
    ------
    TypeError, ValueError
        If an argument has the wrong kind or range, the function does not take the parameters or carries what cannot be
        read (a lock, say), or one name was recorded with values of several kinds.
    OSError
        If the folder cannot be written to, or another run is at work in it.
    WorkerLostError
        If a worker process died, or a cluster has none any more. What is done is kept.
    ImportError
        Without the extra ``experiments``, or if a worker has another version of hadaflow.
    KeyboardInterrupt
        On Ctrl-C. What is done is kept.

    Warns
    -----
    RuntimeWarning
        If the function raised an error: the other repetitions went on.

    Notes
    -----
    What is kept is known by its parameters and its number: after a change of grid, repeats or fixed values only what
    is new is run. It is forgotten when the function's code, the seed, ``paired`` or the version of the library changes;
    the code is that which runs (not the file, edited since) and what a closure, a partial or an object carries along,
    by its content. It does not show what the function calls by a global name, and is another one in another release of
    Python. A function with an attribute ``revision`` is known by that alone.

    Records depend on the seed alone, bit for bit, not on the number of workers, their kind or order; on another kind of
    machine, or with another NumPy or SciPy, the last digits may differ.

    Cost: about 0.1 ms per repetition on top of the function's own.

    Examples
    --------
    >>> def measure(rng, *, m, spread):
    ...     return {"mean": spread * rng.standard_normal(m).mean()}
    >>> result = sweep(measure, {"m": [10, 100], "spread": [1.0, 2.0]}, repeats=3, paired=["spread"], jobs=1)
    >>> result.records.columns.tolist(), len(result.records)
    (['m', 'spread', 'repeat', 'mean'], 12)
    """
    study = Sweep.of(experiment, grid, repeats=repeats, fixed=fixed, seed=seed, paired=paired)
    result = run_sweep(study, folder, jobs=jobs, retry_failed=retry_failed, fresh=fresh, batch=batch, progress=progress)
    if len(result.failures):
        message = (
            f"{len(result.failures)} of {study.total} repetitions failed, first with {result.failures.error.iloc[0]!r}"
        )
        warnings.warn(f"{message}: result.failures has all, with tracebacks", RuntimeWarning, stacklevel=2)
    return result


def run_sweep(
    study: Sweep,
    folder: str | os.PathLike[str] | None = None,
    *,
    jobs: int | None = None,
    retry_failed: bool = False,
    fresh: bool = False,
    batch: int | None = None,
    progress: Callable[[Step], object] | None = None,
) -> SweepResult:
    """:func:`sweep`, of what was checked before."""
    on_disk = () if folder is None else ("filelock", "pyarrow")
    require("joblib", "pandas", *on_disk, extra="experiments", what="sweeps")
    instance(study, Sweep, "study")
    callback(progress, "progress")
    jobs = whole_number(jobs, "jobs") if jobs is not None else None
    batch = whole_number(batch, "batch") if batch is not None else None
    retry_failed, fresh = flag(retry_failed, "retry_failed"), flag(fresh, "fresh")
    # Absolute: what is measured may change the working directory.
    store = Store(file_path(folder, "folder").absolute() if folder is not None else None, study)
    with alone_in(store.folder) if store.folder else nullcontext():
        if fresh:
            store.clear()
        with closing(Execution([store], retry_failed=retry_failed)) as execution:
            try:
                execution.go(jobs=jobs, batch=batch, progress=progress)
            except WorkerLostError as error:
                kept = f"{execution.done} of {execution.total} repetitions are done"
                kept += f" and kept in {store.folder}: the same call goes on, with jobs=1 alone" if folder else ""
                raise WorkerLostError(f"{error}; {kept}") from error
    if execution.spoilt:
        raise execution.spoilt[0]
    return SweepResult.of(store, study, execution.journals[0].entries, execution.now)

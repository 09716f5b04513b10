"""Runs experiments: what is on disk is not done again, what gets done is kept at once."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from threadpoolctl import threadpool_limits

from hadaflow._validation import callback, instance, whole_number
from hadaflow.experiments.base import Experiment, Task
from hadaflow.experiments.finding import Parcel, pack
from hadaflow.experiments.records import Store, frame, rows_of

if TYPE_CHECKING:
    import pandas as pd


@dataclass(frozen=True)
class Step:
    """One task more is done, or could not be.

    Attributes
    ----------
    experiment : Experiment
        Whose.
    done, total : int
        Tasks done, of all that were asked for, those of earlier runs included.
    finished : bool
        Whether it was the last one of its experiment, whose records are now complete.
    error : str
        Why it could not be done; empty if it was.
    """

    experiment: Experiment
    done: int
    total: int
    finished: bool
    error: str = ""


def run_inline(experiment: Experiment) -> pd.DataFrame:
    """Run all tasks of an experiment here and now; its records, with nothing kept on disk.

    Parameters
    ----------
    experiment : Experiment
        What to run.

    Returns
    -------
    pandas.DataFrame
        One measurement a row.
    """
    instance(experiment, Experiment, "experiment")
    return frame(row for task in experiment.tasks() for row in rows_of(experiment, task))


def reproduce(
    experiments: Sequence[Experiment],
    folder: str | os.PathLike[str],
    *,
    jobs: int | None = None,
    progress: Callable[[Step], object] | None = None,
) -> dict[str, str]:
    """Run experiments and keep their records, going on where an earlier run was cut off.

    Parameters
    ----------
    experiments : sequence of Experiment
        What to run. Records whose config, revision and library version are the same are not made again.
    folder : path
        Where ``records/<name>.parquet`` go, and one file per finished task until then.
    jobs : int, optional
        Processes, each with one thread; default as many as there are cores. With 1 all runs in this process.
    progress : callable, optional
        Called with a :class:`Step` for every task.

    Returns
    -------
    dict
        Name and reason of experiments that raised an error; their other tasks are done and kept.

    Raises
    ------
    TypeError, ValueError
        If an argument has the wrong kind or range.
    KeyboardInterrupt
        On Ctrl-C; what is done is kept.

    Notes
    -----
    Records depend on seeds alone, not on the number of processes or their order.
    """
    for experiment in experiments:
        instance(experiment, Experiment, "experiment")
    callback(progress, "progress")
    jobs = whole_number(jobs, "jobs") if jobs is not None else os.cpu_count() or 1
    stores = [Store(Path(folder) / "records", experiment) for experiment in experiments]
    left = {store.experiment.name: set(store.pending()) for store in stores}
    total = sum(len(store.experiment.tasks()) for store in stores)
    done = total - sum(map(len, left.values()))
    failed: dict[str, str] = {}
    for store in stores:  # killed between the last task and the end
        if not left[store.experiment.name] and not store.finished():
            store.finish()
    for number, task, outcome in _outcomes(stores, left, jobs):
        store, name = stores[number], stores[number].experiment.name
        done += 1
        if outcome.error:
            failed.setdefault(name, outcome.error)
        else:
            store.save(task, outcome.rows, outcome.seconds)
            left[name].discard(task)
        if finished := not left[name]:
            store.finish()
        if progress:
            progress(Step(store.experiment, done, total, finished, outcome.error))
    return failed


@dataclass(frozen=True)
class _Outcome:
    rows: list[dict[str, Any]]
    seconds: float
    error: str


def _outcomes(stores: Sequence[Store], left: dict[str, set[int]], jobs: int) -> Iterator[tuple[int, int, _Outcome]]:
    """Number of the store, of the task, and what came out, as they get done."""
    import joblib

    pending = [(k, task) for k, store in enumerate(stores) for task in sorted(left[store.experiment.name])]
    if not pending:
        return
    lists = [store.experiment.tasks() for store in stores]
    parcels = [pack(store.experiment) for store in stores]
    pool = joblib.Parallel(n_jobs=min(jobs, len(pending)), return_as="generator_unordered", pre_dispatch="2*n_jobs")
    yield from pool(joblib.delayed(_work)(k, t, parcels[k], lists[k][t]) for k, t in pending)


def _work(number: int, at: int, parcel: Experiment | Parcel, task: Task) -> tuple[int, int, _Outcome]:
    began = time.perf_counter()
    try:
        experiment = parcel.open() if isinstance(parcel, Parcel) else parcel
        with threadpool_limits(1):
            rows = rows_of(experiment, task)
    except Exception as error:  # noqa: BLE001 - whatever an experiment raises, the others go on
        reason = f"{type(error).__name__} in task {task}: {error}"
        return number, at, _Outcome([], time.perf_counter() - began, reason)
    return number, at, _Outcome(rows, time.perf_counter() - began, "")

"""Runs experiments: what is on disk is not done again, what gets done is kept at once."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from threadpoolctl import threadpool_limits

from hadaflow._validation import callback, flag, instance, whole_number
from hadaflow.experiments.base import Experiment, Task
from hadaflow.experiments.finding import Parcel, pack
from hadaflow.experiments.records import Store, frame, rows_of, tasks_of

if TYPE_CHECKING:
    import pandas as pd

_IDLE = 20  # seconds


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
    return frame(row for task in tasks_of(experiment) for row in rows_of(experiment, task))


def reproduce(
    experiments: Sequence[Experiment],
    folder: str | os.PathLike[str],
    *,
    jobs: int | None = None,
    fresh: bool = False,
    progress: Callable[[Step], object] | None = None,
) -> dict[str, str]:
    """Run experiments and keep their records, going on where an earlier run was cut off.

    Parameters
    ----------
    experiments : sequence of Experiment
        What to run. Records whose config, revision and library version are the same are not made again.
    folder : path
        Where ``records/<name>-<config hash>.parquet`` go, and one file per finished task until then.
    jobs : int, optional
        Processes, each with one thread; default as many as there are cores. With 1 all runs in this process.
    fresh : bool, default False
        Forget what these experiments have in the folder, and start anew.
    progress : callable, optional
        Called with a :class:`Step` for every task.

    Returns
    -------
    dict
        Name and reason of experiments that raised an error; their other tasks, and other experiments, are done and
        kept.

    Raises
    ------
    TypeError, ValueError
        If an argument has the wrong kind or range, or two experiments have one name.
    OSError
        If the folder cannot be written to, or another run is at work in it.
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
    records = Path(folder) / "records"
    stores = [Store(records, experiment) for experiment in experiments]
    if len({store.experiment.name for store in stores}) < len(stores):
        raise ValueError("two experiments have one name: their records would overwrite each other")
    records.mkdir(parents=True, exist_ok=True)
    with _alone_in(records):
        if flag(fresh, "fresh"):
            for store in stores:
                store.clear()
        work = _Work(stores)
        try:
            for number, at, outcome in work.outcomes(jobs):
                step = work.keep(number, at, outcome)
                if progress:
                    progress(step)
        except BrokenProcessPool:
            work.fail_rest(
                "a worker process died, killed for its memory perhaps; the same call goes on, with jobs=1 alone"
            )
    return work.failed


@contextmanager
def _alone_in(records: Path) -> Iterator[None]:
    """Two runs in one folder would do everything twice and get in each other's way."""
    from filelock import FileLock, Timeout

    try:
        with FileLock(records / ".lock", timeout=0):
            yield
    except Timeout as error:
        raise OSError(f"another run is at work in {records.parent}: wait for it, or choose another folder") from error


@dataclass(frozen=True)
class _Outcome:
    rows: list[dict[str, Any]]
    seconds: float
    error: str


class _Work:
    """What is left to do, and what came of it."""

    def __init__(self, stores: Sequence[Store]) -> None:
        self.stores, self.failed = stores, dict[str, str]()
        self.tasks: list[list[Task]] = []
        self.left: list[set[int]] = []
        for number, store in enumerate(stores):
            tasks, left = [], set[int]()
            with self._isolated(number):
                tasks, left = tasks_of(store.experiment), set(store.pending())
                if not left and not store.finished():  # killed between the last task and the end
                    store.finish()
            self.tasks.append(tasks)
            self.left.append(left)
        self.total = sum(map(len, self.tasks))
        self.done = self.total - sum(map(len, self.left))

    def outcomes(self, jobs: int) -> Iterator[tuple[int, int, _Outcome]]:
        """Number of the store, of the task, and what came out, as they get done."""
        import joblib

        pending = [(number, at) for number, left in enumerate(self.left) for at in sorted(left)]
        if not pending:
            return
        parcels = [pack(store.experiment) for store in self.stores]
        calls = (joblib.delayed(_work)(k, at, parcels[k], self.tasks[k][at]) for k, at in pending)
        # Workers whose parent was killed wait for it no longer than that.
        with joblib.parallel_config(backend="loky", idle_worker_timeout=_IDLE):
            pool = joblib.Parallel(n_jobs=min(jobs, len(pending)), return_as="generator_unordered")
            yield from pool(calls)

    def keep(self, number: int, at: int, outcome: _Outcome) -> Step:
        """Save what a task measured; what cannot be saved is the fault of its experiment alone."""
        store, error = self.stores[number], outcome.error
        if not error:
            with self._isolated(number):
                store.save(at, outcome.rows, outcome.seconds)
                self.left[number].discard(at)
                if not self.left[number]:
                    store.finish()
        else:
            self.failed.setdefault(store.experiment.name, error)
        self.done += 1
        finished = not self.left[number] and store.experiment.name not in self.failed
        return Step(store.experiment, self.done, self.total, finished, error)

    def fail_rest(self, reason: str) -> None:
        """Nothing more can be done."""
        for store, left in zip(self.stores, self.left, strict=True):
            if left:
                self.failed.setdefault(store.experiment.name, reason)

    @contextmanager
    def _isolated(self, number: int) -> Iterator[None]:
        try:
            yield
        except OSError:  # the folder, not the experiment
            raise
        except Exception as error:  # noqa: BLE001 - whatever an experiment does wrong, the others go on
            self.failed.setdefault(self.stores[number].experiment.name, f"{type(error).__name__}: {error}")


def _work(number: int, at: int, parcel: Experiment | Parcel, task: Task) -> tuple[int, int, _Outcome]:
    began = time.perf_counter()
    try:
        experiment = parcel.open() if isinstance(parcel, Parcel) else parcel
        with threadpool_limits(1):
            rows = rows_of(experiment, task)
    except (Exception, SystemExit) as error:  # noqa: BLE001 - whatever an experiment raises, the others go on
        reason = f"{type(error).__name__} in task {task}: {error}"
        return number, at, _Outcome([], time.perf_counter() - began, reason)
    return number, at, _Outcome(rows, time.perf_counter() - began, "")

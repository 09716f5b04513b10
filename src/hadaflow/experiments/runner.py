"""Runs experiments."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from contextlib import closing
from typing import TYPE_CHECKING

from hadaflow._extras import require
from hadaflow._validation import callback, file_path, flag, instance, whole_number
from hadaflow.experiments.base import Experiment
from hadaflow.experiments.execution import Execution, Step, alone_in
from hadaflow.experiments.on_dask import WorkerLostError
from hadaflow.experiments.records import Store, frame, rows_of, tasks_of

if TYPE_CHECKING:
    import pandas as pd


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

    Raises
    ------
    ImportError
        Without the extra ``experiments``.
    """
    require("pandas", extra="experiments", what="records")
    instance(experiment, Experiment, "experiment")
    return frame(task | row for task in tasks_of(experiment) for row in rows_of(experiment, task))


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
        Where ``records/<name>-<config hash>.parquet`` go, next to ``.jsonl`` with what is done (:class:`Store`).
    jobs : int, optional
        Processes, each with one thread; default as many as there are cores, or what the ``joblib.parallel_config`` that
        the call stands in says. With 1 all runs in this process.
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
    ImportError
        Without the extra ``experiments``.
    KeyboardInterrupt
        On Ctrl-C; what is done is kept.

    Notes
    -----
    Records depend on seeds alone, not on the number of processes or their order; on another kind of machine the last
    digits may differ.
    """
    require("filelock", "joblib", "pandas", "pyarrow", extra="experiments", what="experiments")
    for experiment in experiments:
        instance(experiment, Experiment, "experiment")
    callback(progress, "progress")
    jobs = whole_number(jobs, "jobs") if jobs is not None else None
    records = file_path(folder, "folder").absolute() / "records"  # what runs may change the working directory
    stores = [Store(records, experiment) for experiment in experiments]
    if len({experiment.name for experiment in experiments}) < len(stores):
        raise ValueError("two experiments have one name: their records would overwrite each other")
    with alone_in(records):
        if flag(fresh, "fresh"):
            for store in stores:
                store.clear()
        execution = Execution(stores, retry_failed=True)
        failed = dict[str, str]()
        with closing(execution):
            try:
                execution.go(jobs=jobs, batch=None, progress=progress)
            except WorkerLostError as error:
                failed = {
                    experiments[number].name: f"{error}; the same call goes on, with jobs=1 alone"
                    for number in execution.unfinished()
                }
    for number, experiment in enumerate(experiments):
        spoilt = execution.spoilt.get(number)
        reason = f"{type(spoilt).__name__}: {spoilt}" if spoilt else execution.first_failure(number)
        if reason:
            failed[experiment.name] = reason
    return failed

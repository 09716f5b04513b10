"""How tasks get to workers and what came of them gets back: in batches, by joblib or by Dask itself."""

from __future__ import annotations

import importlib
import os
import pickle
import threading
import time
import traceback
import warnings
from collections.abc import Callable, Generator, Iterator, Sequence
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from dataclasses import dataclass
from functools import lru_cache
from itertools import islice
from multiprocessing import current_process
from typing import Any

import hadaflow as hf
from hadaflow._extras import require
from hadaflow._threads import one_thread
from hadaflow.experiments.base import Skip, Study, Task
from hadaflow.experiments.finding import Parcel, parcel_of
from hadaflow.experiments.journal import Entry
from hadaflow.experiments.on_dask import Cluster, WorkerLostError, threads_of
from hadaflow.experiments.records import rows_of

_IDLE = 20  # seconds
_AIM = 0.3  # seconds for a batch: what a kill loses at most, and long compared with its way (about 1 ms)
_AIM_HERE = 0.05  # without a way
_LEAST = 0.02  # seconds for a batch, should there be enough tasks: shorter ones cost more than they even out
_MOST = 1000  # tasks
_ROUND = 8  # batches per worker, where all have to be waited for
_HERE = ("LokyBackend", "MultiprocessingBackend", "ThreadingBackend", "SequentialBackend")  # on this machine


@dataclass(frozen=True)
class Batch:
    """Tasks of one study that travel together.

    Attributes
    ----------
    study : int
        Number of the study.
    tasks : list of (int, dict)
        Numbers of the tasks, and the tasks.
    """

    study: int
    tasks: list[tuple[int, Task]]


@dataclass(frozen=True)
class Outcome:
    """What came of a batch: number of the study, and of each task the entry."""

    study: int
    entries: list[tuple[int, Entry]]


class Pace:
    """How many tasks of a study travel together, from how long they took so far. It has no influence on results.

    Parameters
    ----------
    workers : int
        Among which what is left is shared.
    most : int or None
        The size that was asked for; None leaves it to the seconds.
    """

    def __init__(self, workers: int, most: int | None) -> None:
        self.workers, self.most = workers, most
        self._seconds: float | None = None  # for a task
        self._last = 1

    def size(self, left: int) -> int:
        """Of the next batch: enough tasks to be worth its way, few enough that each worker gets four and more."""
        if self.most is not None:
            return self.most
        if self._seconds is None:
            return 1
        aim = _AIM if self.workers > 1 else _AIM_HERE
        fair = max(left / (4 * self.workers), _LEAST / self._seconds)
        # Growing step by step: the first tasks of a grid may be its smallest.
        self._last = max(1, int(min(fair, aim / self._seconds, 4 * self._last, _MOST)))
        return self._last

    def learn(self, entries: Sequence[tuple[int, Entry]]) -> None:
        """Take note of how long tasks took."""
        mean = max(sum(entry.seconds for _, entry in entries) / len(entries), 1e-6)
        self._seconds = mean if self._seconds is None else (self._seconds + mean) / 2


def batches(pending: Sequence[list[tuple[int, Task]]], paces: Sequence[Pace]) -> Iterator[Batch]:
    """All that is left to do, in order; the sizes follow what is learnt on the way."""
    for number, (tasks, pace) in enumerate(zip(pending, paces, strict=True)):
        at = 0
        while at < len(tasks):
            size = pace.size(len(tasks) - at)
            yield Batch(number, tasks[at : at + size])
            at += size


def measure(study: Study, number: int, tasks: Sequence[tuple[int, Task]]) -> Outcome:
    """Run tasks, each by one thread; whatever one raises, the others go on."""
    with one_thread():
        return Outcome(number, [(at, _measured(study, task)) for at, task in tasks])


def _measured(study: Study, task: Task) -> Entry:
    began = time.perf_counter()
    try:
        return Entry(rows_of(study, task), time.perf_counter() - began)
    except Skip as reason:
        return Entry([], time.perf_counter() - began, _words(reason) or "no reason", skipped=True)
    except KeyboardInterrupt:
        raise
    except BaseException as error:  # noqa: BLE001 - whatever a study raises, the others go on
        message = f"{type(error).__name__}: {_words(error)}"
        return Entry([], time.perf_counter() - began, message, _text(traceback.format_exc()))


def _words(error: BaseException) -> str:
    """What an error says, in one line, if it can say it."""
    try:
        return " ".join(_text(str(error)).split())
    except Exception:  # noqa: BLE001 - it is an error of the user's
        return "(its message cannot be had)"


def _text(said: str) -> str:
    """What a table has room for: paths that are no UTF-8 come with halves of surrogate pairs."""
    return said.encode("utf-8", "backslashreplace").decode()


def _measure_parcel(parcel: bytes, number: int, tasks: Sequence[tuple[int, Task]]) -> Outcome:
    return measure(_opened(parcel), number, tasks)


@lru_cache(maxsize=1)
def _leave_with(parent: int) -> None:
    """Have a process of loky end with the one that started it: if that is killed, it would wait for more to do.

    Until then it would keep the output of its parent open, for which a pipe waits.
    """

    def watch() -> None:
        while os.getppid() == parent:
            time.sleep(1)
        os._exit(1)

    if current_process().name.startswith("LokyProcess") and os.getppid() == parent:
        threading.Thread(target=watch, daemon=True, name="end with the parent").start()


@lru_cache(maxsize=16)
def _opened(parcel: bytes) -> Study:
    """The study; a worker opens it once.

    Raises
    ------
    ImportError
        If this worker has another version of the library, whose records would not be the same.
    """
    version, sender, content = pickle.loads(parcel)
    _leave_with(sender)
    if version != hf.__version__:
        raise ImportError(
            f"a worker has hadaflow {hf.__version__}, the process that runs the sweep {version}: "
            "install one version on all machines, and the same call goes on"
        )
    study, function = _cloudpickle().loads(content)
    study = study.open() if isinstance(study, Parcel) else study
    if function is not None:
        study = study.attached(function.open() if isinstance(function, Parcel) else function)
    return study  # type: ignore[no-any-return]


def _closed(study: Study) -> bytes:
    """A study on its way: by value, if nobody else could import what it is made of."""
    rest, function = study.detached()
    content = (parcel_of(rest), None) if function is None else (rest, parcel_of(function))
    return pickle.dumps((hf.__version__, os.getpid(), _cloudpickle().dumps(content)))


@contextmanager
def _manager_watched() -> Iterator[None]:
    """See that nobody waits for joblib's thread that manages the workers, should it die (joblib 1.6).

    Whatever it raises ends it, and joblib would wait for ever for what it no longer hands on: so all that is under way
    fails with it. It may raise a mere warning, where the caller has made errors of these: the one that a worker was
    started anew, which is nobody's mistake, is left out. Where a run is given up while that thread is taking in a
    result, it ends with a KeyError, which Python would print in the middle of the report of the reason.
    """
    before = threading.excepthook

    def tell(failure: threading.ExceptHookArgs) -> None:
        frames = traceback.extract_tb(failure.exc_traceback)
        missed = failure.exc_type is KeyError and frames and frames[-1].name == "add_call_item_to_queue"
        give_up = getattr(failure.thread, "terminate_broken", None)
        if give_up is not None and not missed:
            give_up(BrokenProcessPool(f"what manages the workers ended with {failure.exc_type.__name__}"))
        elif not missed:
            before(failure)

    threading.excepthook = tell
    try:
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", "A worker stopped while some jobs", UserWarning)
            yield
    finally:
        if threading.excepthook is tell:  # nobody has put another one there since
            threading.excepthook = before


def _cloudpickle() -> Any:
    require("cloudpickle", extra="experiments", what="several workers")
    return importlib.import_module("cloudpickle")  # which ships no types


class Pool:
    """What joblib offers here and now: the backend of the caller's ``joblib.parallel_config``, or processes.

    Parameters
    ----------
    jobs : int or None
        Workers; None for as many as the caller's config or the machine has. With 1 all happens in this process.
    most : int, optional
        Tasks that there are: more workers than that would have nothing to do.

    Attributes
    ----------
    workers : int
        How many there are.
    here : bool
        Whether all happens in this process: a cluster of one worker is another one.
    """

    def __init__(self, jobs: int | None, most: int | None = None) -> None:
        import joblib
        from joblib.parallel import get_active_backend

        self._backend, configured = get_active_backend()
        self._chosen = type(self._backend).__name__ != "LokyBackend" or configured is not None
        wanted = jobs if jobs is not None else configured
        if wanted is None and not self._chosen:
            wanted = os.cpu_count() or 1
        if self._is_dask:
            self.workers: int = 1 if jobs == 1 else max(1, threads_of(self._backend.client))
        elif wanted == 1:
            self.workers = 1
        else:
            self.workers = max(1, joblib.effective_n_jobs(-1 if wanted is None else wanted))
        if most is not None:
            self.workers = min(self.workers, most)
        self.here = jobs == 1 or (self.workers == 1 and type(self._backend).__name__ in _HERE)

    @property
    def _is_dask(self) -> bool:
        return type(self._backend).__name__ == "DaskDistributedBackend"

    def run(self, studies: Sequence[Study], work: Iterator[Batch]) -> Generator[Outcome]:
        """What came of each batch, as they get done.

        Raises
        ------
        WorkerLostError
            If a worker died, or there is none.
        """
        if self.here:
            with one_thread():  # for all of them: to change it back and forth is not free
                for batch in work:
                    yield measure(studies[batch.study], batch.study, batch.tasks)
            return
        parcels = [_closed(study) for study in studies]
        try:
            yield from self._way()(lambda batch: (parcels[batch.study], batch.study, batch.tasks), work)
        except BrokenProcessPool as error:
            message = "a worker process died, killed for its memory perhaps"
            raise WorkerLostError(str(error) if "manages" in str(error) else message) from error

    def _way(self) -> Callable[[_Arguments, Iterator[Batch]], Iterator[Outcome]]:
        if self._is_dask:
            return self._by_dask
        return self._by_joblib if self._backend.supports_return_generator else self._by_rounds

    def _by_joblib(self, arguments: _Arguments, work: Iterator[Batch]) -> Iterator[Outcome]:
        import joblib

        options: dict[str, Any] = {}
        if not self._chosen:
            # Workers whose parent was killed wait for it no longer than that.
            options = {"backend": "loky", "idle_worker_timeout": _IDLE, "inner_max_num_threads": 1}
        with joblib.parallel_config(**options), _manager_watched():
            pool = joblib.Parallel(n_jobs=self.workers, batch_size=1, return_as="generator_unordered")
            outcomes = pool(joblib.delayed(_measure_parcel)(*arguments(batch)) for batch in work)
            try:
                # No "yield from": where this generator is closed, it would close the other, with a warning.
                for outcome in outcomes:  # noqa: UP028
                    yield outcome
            finally:
                with warnings.catch_warnings():
                    warnings.simplefilter("ignore")  # joblib's advice for those who do not want all they asked for
                    outcomes.close()

    def _by_rounds(self, arguments: _Arguments, work: Iterator[Batch]) -> Iterator[Outcome]:
        """For backends that give all their results at once: asked for a few batches at a time."""
        import joblib

        with joblib.Parallel(n_jobs=self.workers, batch_size=1) as pool:
            while some := list(islice(work, _ROUND * self.workers)):
                yield from pool(joblib.delayed(_measure_parcel)(*arguments(batch)) for batch in some)

    def _by_dask(self, arguments: _Arguments, work: Iterator[Batch]) -> Iterator[Outcome]:
        """Without joblib, which waits for ever if a worker of Dask dies (joblib 1.6)."""
        return Cluster(self._backend.client, self.workers).run((_measure_parcel, *arguments(batch)) for batch in work)


_Arguments = Callable[[Batch], tuple[bytes, int, list[tuple[int, Task]]]]

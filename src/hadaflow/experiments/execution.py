"""Runs studies: what is on disk is not done again, what gets done is kept at once."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path

from hadaflow.experiments.base import Study, Task
from hadaflow.experiments.journal import Entry, Journal
from hadaflow.experiments.records import Store, keys_of, pending, tasks_of
from hadaflow.experiments.transport import Outcome, Pace, Pool, batches


@dataclass(frozen=True)
class Step:
    """One task more is done, or could not be.

    Attributes
    ----------
    study : Study
        Whose.
    done, total : int
        Tasks that nothing is left to do for, of all that were asked for, those of earlier runs included.
    failed : int
        Those of them that could not be done.
    finished : bool
        Whether it was the last one of its study, whose records are now complete.
    seconds : float
        Since this run began.
    remaining : float
        Seconds that it will go on if the other tasks take as long as its own did so far.
    error : str
        Why it could not be done; empty if it was.
    """

    study: Study
    done: int
    total: int
    failed: int
    finished: bool
    seconds: float
    remaining: float
    error: str = ""


@contextmanager
def alone_in(folder: Path) -> Iterator[None]:
    """Make a folder and keep others out: two runs in one would do everything twice and get in each other's way.

    Raises
    ------
    OSError
        If it cannot be made or written to, or another run is at work in it.
    """
    from filelock import FileLock, Timeout

    lock = FileLock(folder / ".lock", timeout=0)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        lock.acquire()
    except Timeout as error:
        raise OSError(f"another run is at work in {folder}: wait for it, or choose another folder") from error
    except ValueError as error:  # a zero byte
        raise ValueError(f"folder cannot be called {str(folder)!r} ({error}): choose another name") from error
    except OSError as error:
        raise OSError(f"nothing can be kept in {folder} ({error.strerror or error}): choose another folder") from error
    try:
        yield
    finally:
        lock.release()


def _there(path: Path) -> bool:
    try:
        return path.exists()
    except OSError:  # out of reach, which is as bad
        return False


class Execution:
    """Studies, what is left to do for them, and what comes of it.

    Parameters
    ----------
    stores : sequence of Store
        Of the studies.
    retry_failed : bool
        Whether tasks that failed in an earlier run are run again.

    Attributes
    ----------
    journals : list of Journal
        Of the stores.
    spoilt : dict
        Number of the store, and what is wrong with the study itself rather than with a task.
    failures : list of dict
        For each store the tasks that could not be done, by number.
    done, total : int
        Tasks.
    """

    def __init__(self, stores: Sequence[Store], *, retry_failed: bool) -> None:
        self.stores = stores
        self.spoilt = dict[int, Exception]()
        self.journals: list[Journal] = []
        self.failures: list[dict[int, Entry]] = [{} for _ in stores]
        self._tasks: list[list[Task]] = [[] for _ in stores]
        self._keys: list[list[str]] = [[] for _ in stores]
        self._left: list[set[int]] = [set() for _ in stores]
        self._complete: list[int] = []  # but for the file of all records
        for number, store in enumerate(stores):
            self.journals.append(Journal(None))
            with self._isolated(number):
                self._read(number, store, retry_failed=retry_failed)
        self.total = sum(map(len, self._tasks))
        self.done = self._before = self.total - sum(map(len, self._left))
        self._began = time.perf_counter()

    def _read(self, number: int, store: Store, *, retry_failed: bool) -> None:
        tasks = tasks_of(store.study)
        keys = keys_of(tasks)
        self._tasks[number], self._keys[number] = tasks, keys
        self.journals[number] = journal = store.open()
        if store.study.needs_all and store.finished():
            return
        self._left[number] = set(pending(keys, journal.entries, retry_failed=retry_failed))
        found = ((at, journal.entries.get(key)) for at, key in enumerate(keys) if at not in self._left[number])
        self.failures[number] = {at: entry for at, entry in found if entry and entry.failed}
        if not self._left[number]:  # killed between the last task and the end, or the file was damaged
            self._complete.append(number)

    @property
    def now(self) -> int:
        """Tasks of this run that came to an end."""
        return self.done - self._before

    def go(self, *, jobs: int | None, batch: int | None, progress: Callable[[Step], object] | None) -> None:
        """Do what is left.

        Parameters
        ----------
        jobs : int or None
            Workers, see :class:`Pool`.
        batch : int or None
            Tasks that travel together; None leaves it to the seconds they take.
        progress : callable or None
            Called with a :class:`Step` for every task.

        Raises
        ------
        OSError
            If something cannot be written.
        WorkerLostError
            If a worker died.
        """
        for number in self._complete:
            with self._isolated(number):
                self._finish(number)
        if not any(self._left):
            return
        pool = Pool(jobs, most=sum(map(len, self._left)))
        paces = [Pace(pool.workers, batch) for _ in self.stores]
        work = ([(at, tasks[at]) for at in sorted(left)] for tasks, left in zip(self._tasks, self._left, strict=True))
        with closing(pool.run([store.study for store in self.stores], batches(list(work), paces))) as outcomes:
            for outcome in outcomes:
                paces[outcome.study].learn(outcome.entries)
                for step in self._keep(outcome):
                    if progress:
                        progress(step)

    def close(self) -> None:
        """Let go of the journals."""
        for journal in self.journals:
            journal.close()

    def _keep(self, outcome: Outcome) -> Iterator[Step]:
        number, keys = outcome.study, self._keys[outcome.study]
        with self._reported():
            self.journals[number].append({keys[at]: entry for at, entry in outcome.entries})
        for at, entry in outcome.entries:
            self._left[number].discard(at)
            self.done += 1
            if entry.failed:
                self.failures[number][at] = entry
            if not self._left[number]:
                with self._isolated(number):
                    self._finish(number)
            yield self._step(number, entry)

    def _step(self, number: int, entry: Entry) -> Step:
        study, seconds = self.stores[number].study, time.perf_counter() - self._began
        finished = not self._left[number] and number not in self.spoilt
        finished = finished and not (study.needs_all and self.failures[number])
        failed, remaining = sum(map(len, self.failures)), (self.total - self.done) * seconds / self.now
        return Step(study, self.done, self.total, failed, finished, seconds, remaining, entry.error)

    def _finish(self, number: int) -> None:
        store = self.stores[number]
        if not (store.study.needs_all and self.failures[number]):
            with self._reported():
                store.finish(self.journals[number].entries)

    def first_failure(self, number: int) -> str:
        """Why the first of the tasks that failed could not be done, in one line; empty if none failed."""
        if not self.failures[number]:
            return ""
        at, entry = min(self.failures[number].items())
        kind, _, reason = entry.error.partition(":")
        return f"{kind} in task {self._tasks[number][at]}:{reason}"

    def unfinished(self) -> list[int]:
        """Numbers of the stores that something is left to do for."""
        return [number for number, left in enumerate(self._left) if left]

    @contextmanager
    def _reported(self) -> Iterator[None]:
        """Report what cannot be written together with what to do."""
        try:
            yield
        except OSError as error:
            kept = f"{self.done} of {self.total} tasks are kept: make room, and the same call goes on"
            gone = [journal.path for journal in self.journals if journal.path and not _there(journal.path)]
            if gone:
                kept = f"{gone[0].name} is gone from there with what was kept in it: the same call begins anew"
            where = self.stores[0].folder
            raise OSError(f"cannot write in {where}: {error.strerror or error}; {kept}") from error

    @contextmanager
    def _isolated(self, number: int) -> Iterator[None]:
        try:
            yield
        except OSError:  # the folder, not the study
            raise
        except Exception as error:  # noqa: BLE001 - whatever a study does wrong, the others go on
            self.spoilt.setdefault(number, error)

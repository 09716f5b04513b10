"""Calls on the workers of a Dask cluster, which may come and go."""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator
from concurrent.futures import CancelledError
from itertools import islice
from queue import Empty, SimpleQueue
from typing import Any

_EACH = 2  # calls under way for each thread: one that runs, and one that waits to
_LOOK = 1.0  # seconds until the threads are counted again
_PATIENCE = 60.0  # seconds without any worker: those of an adaptive cluster may have to be started


class WorkerLostError(RuntimeError):
    """A worker process died, or a cluster has none, so that not all could be done; what was done is kept."""


def threads_of(client: Any) -> int:
    """How many calls all workers can run at a time; raise WorkerLostError if the scheduler cannot be asked."""
    try:
        return sum(client.ncores().values())
    except (OSError, ValueError, RuntimeError, CancelledError) as error:  # what a client that is cut off raises
        raise _cut_off() from error


def _cut_off() -> WorkerLostError:
    return WorkerLostError("the scheduler of Dask is gone, or cannot be reached any more")


class Cluster:
    """The workers that a client of Dask has, now and later.

    Parameters
    ----------
    client : distributed.Client
        Whose.
    threads : int
        How many there are at first.
    """

    def __init__(self, client: Any, threads: int) -> None:
        self._client, self._threads = client, threads
        self._looked = self._seen = time.monotonic()  # at the workers, and one at least

    def run(self, calls: Iterable[tuple[Any, ...]]) -> Iterator[Any]:
        """What comes of calls, in the order in which they get done.

        Parameters
        ----------
        calls : iterable of tuple
            Function and arguments of each, taken as threads get free.

        Raises
        ------
        WorkerLostError
            If a call has taken its workers with it, there has been no worker for a minute, or the scheduler is gone.
        """
        from distributed import KilledWorker
        from distributed.comm import CommClosedError

        calls, ended, under_way = iter(calls), SimpleQueue[Any](), set[Any]()
        try:
            while True:
                for call in islice(calls, max(0, _EACH * self._threads - len(under_way))):
                    future = self._client.submit(*call, pure=False)
                    under_way.add(future)
                    future.add_done_callback(ended.put)
                if not under_way:
                    return
                future = self._next(ended)
                under_way.discard(future)
                yield future.result()
        except KilledWorker as error:
            raise WorkerLostError(f"Dask lost its workers, killed for their memory perhaps ({error})") from error
        except (CommClosedError, CancelledError) as error:
            raise _cut_off() from error
        finally:
            if self._client.status == "running":
                self._client.cancel(list(under_way))

    def _next(self, ended: SimpleQueue[Any]) -> Any:
        """The next call that ended; meanwhile an eye is kept on the workers."""
        while True:
            if time.monotonic() - self._looked > _LOOK:
                self._look()
            try:
                return ended.get(timeout=_LOOK)
            except Empty:
                continue

    def _look(self) -> None:
        if self._client.status != "running":
            raise _cut_off()
        threads, self._looked = threads_of(self._client), time.monotonic()
        if threads:
            self._threads, self._seen = threads, self._looked
        elif self._looked - self._seen > _PATIENCE:
            raise WorkerLostError(f"the Dask cluster has had no workers for {_PATIENCE:g} s")

"""One thread: for loops of small operations, where more cost far more than they give, and for results that repeat."""

from __future__ import annotations

import os
import sys
import threading
from contextlib import AbstractContextManager
from functools import lru_cache
from typing import Any


class _OneThread:
    """The number of threads is the process's: whoever enters first sets it, the last to leave restores it."""

    def __init__(self, api: str | None) -> None:
        self._lock, self._inside, self._limit, self._api = threading.Lock(), 0, None, api

    def __enter__(self) -> None:
        with self._lock:
            if self._inside == 0:
                # BLAS is loaded with NumPy and SciPy; of all libraries, those that came with further modules count too.
                controller = _controller(0 if self._api else len(sys.modules))
                self._limit = controller.limit(limits=1, user_api=self._api)
            self._inside += 1

    def __exit__(self, *exc: object) -> None:
        with self._lock:
            self._inside -= 1
            if self._inside == 0 and self._limit is not None:
                self._limit.restore_original_limits()
                self._limit = None


_ONE_BLAS_THREAD, _ONE_THREAD = _OneThread("blas"), _OneThread(None)


def one_blas_thread() -> AbstractContextManager[None]:
    """Context in which BLAS uses one thread; the number before is restored afterwards."""
    return _ONE_BLAS_THREAD


def one_thread() -> AbstractContextManager[None]:
    """The same for every library that has threads: so results do not depend on the machine."""
    return _ONE_THREAD


@lru_cache(maxsize=2)
def _controller(_modules: int) -> Any:
    # Finding the loaded libraries takes some milliseconds: not each time, and not at import.
    from threadpoolctl import ThreadpoolController

    return ThreadpoolController()


def blas_threads() -> int:
    """How many threads BLAS would use now, so that whatever limits it limits the library too."""
    counts = [library["num_threads"] for library in _controller(0).info() if library["user_api"] == "blas"]
    return int(min([*counts, os.cpu_count() or 1]))

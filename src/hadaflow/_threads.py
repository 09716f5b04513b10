"""One BLAS thread for loops of small operations, where more threads cost far more than they give."""

from __future__ import annotations

import os
import threading
from contextlib import AbstractContextManager
from functools import cache
from typing import Any


class _OneThread:
    """The number of BLAS threads is the process's: whoever enters first sets it, the last to leave restores it."""

    def __init__(self) -> None:
        self._lock, self._inside, self._limit = threading.Lock(), 0, None

    def __enter__(self) -> None:
        with self._lock:
            if self._inside == 0:
                self._limit = _controller().limit(limits=1, user_api="blas")
            self._inside += 1

    def __exit__(self, *exc: object) -> None:
        with self._lock:
            self._inside -= 1
            if self._inside == 0 and self._limit is not None:
                self._limit.restore_original_limits()
                self._limit = None


_ONE_THREAD = _OneThread()


def one_blas_thread() -> AbstractContextManager[None]:
    """Context in which BLAS uses one thread; the number before is restored afterwards."""
    return _ONE_THREAD


@cache
def _controller() -> Any:
    # Finding the loaded libraries takes some milliseconds: once per process, and not at import.
    from threadpoolctl import ThreadpoolController

    return ThreadpoolController()


def blas_threads() -> int:
    """How many threads BLAS would use now, so that whatever limits it limits the library too."""
    counts = [library["num_threads"] for library in _controller().info() if library["user_api"] == "blas"]
    return int(min([*counts, os.cpu_count() or 1]))

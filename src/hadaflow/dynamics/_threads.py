"""One BLAS thread for loops of small operations, where more threads cost far more than they give."""

from __future__ import annotations

import os
from contextlib import AbstractContextManager
from functools import cache
from typing import Any


def one_blas_thread() -> AbstractContextManager[Any]:
    """Context in which BLAS uses one thread; the number before is restored afterwards."""
    limiter: AbstractContextManager[Any] = _controller().limit(limits=1, user_api="blas")
    return limiter


@cache
def _controller() -> Any:
    # Finding the loaded libraries takes some milliseconds: once per process, and not at import.
    from threadpoolctl import ThreadpoolController

    return ThreadpoolController()


def blas_threads() -> int:
    """How many threads BLAS would use now, so that whatever limits it limits the library too."""
    counts = [library["num_threads"] for library in _controller().info() if library["user_api"] == "blas"]
    return int(min([*counts, os.cpu_count() or 1]))

"""How large, how many messages and how long a pass over A is."""

from __future__ import annotations

import math
import os
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import DTypeLike

from hadaflow._validation import float_dtype, instance, positive_number, reject_kind, whole_number
from hadaflow.operators.partitioned import MERGED_AT_ONCE, PERSISTED_FRACTION
from hadaflow.planning._costs import Costs, check_client
from hadaflow.solvers.newton.normal import LARGEST_COPY, LARGEST_FACTOR

_BLOCK_BYTES = 64 * 2**20
_COPIES = 3.0  # blocks that a thread holds: the one at work, the next one, and room for what is made of it
_PYTHON = 250e6  # bytes of a worker with nothing to do
_FETCHED, _COLUMNS = 1 << 25, 256  # entries of A that `recover` brings here at a time at most, columns at least


@dataclass(frozen=True)
class Plan:
    """What to expect; ``print`` it.

    Attributes
    ----------
    shape : tuple of int
        Of A.
    nbytes : int
        Size of A.
    blocks, rows_per_block : int
        How A is cut.
    workers, threads : int
        Worker processes, and threads in all.
    persisted : bool
        Whether the blocks stay in the memory of the workers between two passes.
    worker_bytes, memory_limit : float
        Memory that each worker needs, and has.
    here_bytes : float
        Memory that this process needs for `recover`.
    messages_per_pass : int
        Tasks that the scheduler hands out for a pass.
    moved_per_pass : float
        Bytes that travel for a pass: operands out, results back.
    seconds_per_pass : float
        One pass, a pair of products.
    """

    shape: tuple[int, int]
    nbytes: int
    blocks: int
    rows_per_block: int
    workers: int
    threads: int
    persisted: bool
    worker_bytes: float
    memory_limit: float
    here_bytes: float
    messages_per_pass: int
    moved_per_pass: float
    seconds_per_pass: float

    @property
    def fits(self) -> bool:
        """Whether each worker has the memory that it needs."""
        return self.worker_bytes <= self.memory_limit

    def seconds(self, passes: float) -> float:
        """How long so many passes take."""
        return self.seconds_per_pass * positive_number(passes, "passes", strict=False)

    def __str__(self) -> str:
        m, n = self.shape
        where = "in the workers' memory" if self.persisted else "read anew for each pass"
        rows = {
            "A": f"{m} x {n}, {_bytes(self.nbytes)}, {where}",
            "blocks": f"{self.blocks} of {self.rows_per_block} rows ({_bytes(self.nbytes / self.blocks)})",
            "workers": f"{self.workers}, {self.threads} threads; each needs {_bytes(self.worker_bytes)}{self._lack()}",
            "this process": f"needs {_bytes(self.here_bytes)}",
            "a pass": f"{_time(self.seconds_per_pass)}, {self.messages_per_pass} tasks, "
            f"{_bytes(self.moved_per_pass)} moved",
            **{name: self._span(low, high) for name, (low, high) in self._passes().items()},
        }
        if m > n:
            rows["note"] = "more rows than columns: if those are independent, least squares finds x without any of this"
        width = max(map(len, rows))
        return "\n".join(f"{name:{width}}  {words}" for name, words in rows.items())

    def _lack(self) -> str:
        if self.fits:
            return ""
        remedy = "smaller blocks or larger workers" if self.rows_per_block > 1 else "larger workers"
        return f" but has {_bytes(self.memory_limit)}: it does not fit, take {remedy}"

    def _passes(self) -> dict[str, tuple[int, int]]:
        m, n = self.shape
        brought_here = m <= LARGEST_FACTOR and m * n <= LARGEST_COPY
        return PASSES | {"limit": (3, 3)} if brought_here else PASSES

    def _span(self, low: int, high: int) -> str:
        if low == high:
            return f"{low} passes: {_time(self.seconds(low))}"
        return f"{low} to {high} passes: {_time(self.seconds(low))} to {_time(self.seconds(high))}"


#: Passes that the calls take, as measured on instances of all kinds; see docs/cluster.md.
PASSES = {
    "recover, well below the threshold": (10, 30),
    "recover, near the threshold": (30, 80),
    "limit": (100, 600),
    "descend, a thousand steps": (1000, 1000),
}


def plan(
    shape: tuple[int, int],
    dtype: DTypeLike = np.float32,
    *,
    workers: int | None = None,
    threads_per_worker: int = 1,
    memory_limit: float | None = None,
    block_bytes: int = _BLOCK_BYTES,
    costs: Costs | None = None,
    client: Any = None,
    path: str | os.PathLike[str] | None = None,
) -> Plan:
    """What a problem with a matrix of that shape will take on a Dask cluster.

    Parameters
    ----------
    shape : tuple of two int
        ``(m, n)`` of A.
    dtype : dtype, default float32
        Of A.
    workers, threads_per_worker : int, optional
        The cluster; default as many workers as cores here, with one thread each.
    memory_limit : float, optional
        Bytes of each worker; default 4 GB.
    block_bytes : int, default 64 MiB
        Size of a block; a block has one row at least.
    costs : Costs, optional
        What the cluster does in a second; default :class:`Costs`, or measured where a client is given.
    client : distributed.Client, optional
        Take workers, threads, memory and costs from this cluster.
    path : str or path-like, optional
        The file of A, to measure how fast it is read.

    Returns
    -------
    Plan

    Raises
    ------
    TypeError, ValueError
        If an argument has the wrong kind or range.

    Notes
    -----
    ``seconds = bytes / (threads product) + bytes / (workers reading) + tasks task + moved / (workers network)``, the
    second term only where A does not fit into half of the workers' memory. Each block sends back n numbers for a
    product with A.T, which are added up on the workers: rows of many gigabytes therefore want blocks of several rows.
    Compared with measured runs in docs/cluster.md.

    Examples
    --------
    >>> from hadaflow.planning import plan
    >>> expected = plan((20_000, 250_000), workers=4, memory_limit=4e9)
    >>> expected.persisted, expected.blocks
    (False, 299)
    """
    m, n = _checked_shape(shape)
    nbytes = m * n * _checked_dtype(dtype).itemsize
    if costs is not None:
        instance(costs, Costs, "costs")
    if path is not None and client is None:
        raise ValueError("path needs client beside it: the file is read where the workers are")
    if client is not None:
        check_client(client)
        known = list(client.scheduler_info(n_workers=-1)["workers"].values())
        workers, threads = len(known), sum(worker["nthreads"] for worker in known)
        memory_limit = min((worker["memory_limit"] or math.inf for worker in known), default=math.inf)
        costs = costs or Costs.measure(client, path)
    else:
        workers = whole_number(os.cpu_count() or 1 if workers is None else workers, "workers")
        threads = workers * whole_number(threads_per_worker, "threads_per_worker")
        memory_limit = 4e9 if memory_limit is None else positive_number(memory_limit, "memory_limit")
    costs = costs or Costs()
    rows = max(1, min(m, whole_number(block_bytes, "block_bytes") * m // nbytes))
    blocks = -(-m // rows)
    persisted = nbytes <= PERSISTED_FRACTION * workers * memory_limit
    merges, left = 0, blocks
    while left > 1:
        left = -(-left // MERGED_AT_ONCE)
        merges += left
    tasks = blocks * (1 if persisted else 2) + merges
    moved = 8.0 * (blocks * (1 - 1 / workers) * n + (workers + 1) * n + 2 * m)
    seconds = nbytes / (threads * costs.product) + tasks * costs.task + moved / (workers * costs.network)
    if not persisted:
        seconds += nbytes / (workers * costs.reading)
    at_work = threads / workers * _COPIES * nbytes / blocks + 8.0 * MERGED_AT_ONCE * n
    return Plan(
        shape=(m, n),
        nbytes=nbytes,
        blocks=blocks,
        rows_per_block=rows,
        workers=workers,
        threads=threads,
        persisted=persisted,
        memory_limit=memory_limit,
        worker_bytes=_PYTHON + at_work + (nbytes / workers if persisted else 0.0),
        here_bytes=_PYTHON + 8.0 * (10 * n + 10 * m + 5 * min(_FETCHED, m * max(_COLUMNS, m // 8), m * n)),
        messages_per_pass=tasks,
        moved_per_pass=moved,
        seconds_per_pass=seconds,
    )


def _checked_dtype(dtype: DTypeLike) -> np.dtype[Any]:
    try:
        kind = np.dtype(dtype)
    except TypeError as error:
        raise TypeError(f"dtype must be one of NumPy's, such as 'float32', got {dtype!r}") from error
    reject_kind(kind, "dtype")
    return float_dtype(kind)


def _checked_shape(shape: Any) -> tuple[int, int]:
    try:
        m, n = shape
    except (TypeError, ValueError) as error:
        raise ValueError(f"shape must be (m, n), two whole numbers, got {shape!r}") from error
    return whole_number(m, "shape"), whole_number(n, "shape")


def _bytes(size: float) -> str:
    for unit in ("B", "kB", "MB", "GB", "TB"):
        if size < 1000:
            return f"{size:.3g} {unit}"
        size /= 1000
    return f"{size:.3g} PB"


def _time(seconds: float) -> str:
    for unit, length in (("s", 60.0), ("min", 60.0), ("h", 24.0)):
        if seconds < length:
            return f"{seconds:.2g} {unit}"
        seconds /= length
    return f"{seconds:.2g} days"

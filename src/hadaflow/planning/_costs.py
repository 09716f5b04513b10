"""What a cluster does in a second, assumed or measured."""

from __future__ import annotations

import os
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from hadaflow._validation import positive_number
from hadaflow.operators.partitioned import has_workers, no_work

_SAMPLE = 1 << 24  # bytes moved, or multiplied with, to measure a rate
_READ_FOR = 3.0  # seconds of reading to measure its rate


@dataclass(frozen=True)
class Costs:
    """What a cluster does in a second. The defaults are those of an ordinary server and a fast disk.

    Attributes
    ----------
    product : float
        Bytes of A that one thread multiplies with, both ways, per second, once they are in memory.
    reading : float
        Bytes that one worker reads per second from where A lies.
    network : float
        Bytes per second between two workers, or between a worker and this process.
    task : float
        Seconds that the scheduler takes for a task.
    """

    product: float = 4e9
    reading: float = 1e9
    network: float = 5e8
    task: float = 1e-3

    def __post_init__(self) -> None:
        for name in ("product", "reading", "network", "task"):
            positive_number(getattr(self, name), name)

    @classmethod
    def measure(cls, client: Any, path: str | os.PathLike[str] | None = None) -> Costs:
        """Measure them on a cluster, in some seconds.

        Parameters
        ----------
        client : distributed.Client
            The cluster.
        path : str or path-like, optional
            A matrix file for :func:`hadaflow.blocks.open_matrix`, some blocks of which are read by each worker.

        Returns
        -------
        Costs
        """
        check_client(client)
        product = float(np.median(list(client.run(_product_rate).values())))
        network = _SAMPLE / _seconds(lambda: client.submit(np.ones, _SAMPLE // 8, pure=False).result())
        count = 200
        begin = time.perf_counter()
        client.gather(client.map(no_work, range(count), pure=False))
        task = (time.perf_counter() - begin) / count
        reading = cls.reading
        if path is not None:
            file = str(Path(path).absolute())  # workers may have another working directory
            reading = float(np.median(list(client.run(_reading_rate, file).values())))
        return cls(product, reading, network, task)


def check_client(client: Any) -> None:
    """Raise unless the client is open and has workers."""
    if not hasattr(client, "scheduler_info"):
        raise TypeError(f"client must be a distributed.Client, got {client!r}")
    if client.status != "running":
        raise ValueError(f"client must be open, but it is {client.status}; make a new one")
    if not has_workers(client):
        raise OSError("the cluster has no workers: start some, then plan")


def _product_rate() -> float:
    """Bytes per second of a pair of products with a block in memory; runs on a worker."""
    from hadaflow.operators import DenseOperator

    block = DenseOperator(np.ones((64, _SAMPLE // 256), dtype=np.float32))
    x, r = np.ones(block.shape[1]), np.ones(64)
    return _SAMPLE / _seconds(lambda: block.residual(x, r))


def _reading_rate(path: str) -> float:
    """Bytes per second of reading some blocks; runs on a worker."""
    from dask import compute

    from hadaflow.blocks import open_matrix

    array, size = open_matrix(path), 0
    begin = time.perf_counter()
    for number in np.random.default_rng().permutation(array.numblocks[0])[:32]:  # each worker others
        size += compute(array.blocks[int(number)], scheduler="synchronous")[0].nbytes
        if time.perf_counter() - begin > _READ_FOR:
            break
    return float(size / (time.perf_counter() - begin))


def _seconds(call: Any) -> float:
    """Time of a call, the shortest of three."""
    times = []
    for _ in range(3):
        begin = time.perf_counter()
        call()
        times.append(time.perf_counter() - begin)
    return min(times)

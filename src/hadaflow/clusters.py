"""Dask clusters: how the command line gets hold of one."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any
from urllib.parse import urlsplit

LOCAL = "local"
_SCHEMES = ("tcp", "tls", "ucx", "ws", "wss")


@contextmanager
def connected(scheduler: str, *, timeout: float = 10.0) -> Iterator[Any]:
    """A client of a Dask scheduler; while it is open, everything that runs on Dask runs there.

    Parameters
    ----------
    scheduler : str
        Address such as ``"tcp://host:8786"``, or ``"local"`` for workers on this machine, one per core, which end with
        the context.
    timeout : float, default 10
        Seconds to wait for the scheduler to answer, and for a first worker to be there.

    Yields
    ------
    distributed.Client

    Raises
    ------
    ImportError
        Without Dask.
    ValueError
        If it is no address.
    OSError
        If no scheduler answers there, or it has no workers.
    """
    try:
        from distributed import Client, LocalCluster
    except ImportError as error:
        raise ImportError("a scheduler needs Dask: pip install 'hadaflow[dask]'") from error

    logging.getLogger("distributed").setLevel(logging.CRITICAL)  # what goes wrong is told once, below
    if scheduler == LOCAL:
        cluster = LocalCluster(
            threads_per_worker=1,
            dashboard_address=":0",
            silence_logs=logging.CRITICAL,
            preload=["hadaflow._dask_worker"],
        )
        with cluster, Client(cluster, set_as_default=True) as client:
            yield client
        return
    # A client that fails leaves itself behind as the default one: this one is asked first, and is nobody's default.
    _check_address(scheduler)
    _answering(Client, scheduler, timeout).close()
    with Client(scheduler, timeout=timeout, set_as_default=True) as client:
        try:
            client.wait_for_workers(1, timeout=timeout)
        except TimeoutError as error:
            remedy = f"start some with: dask worker {scheduler}"
            raise OSError(f"the scheduler at {scheduler} has no workers after {timeout:g} s; {remedy}") from error
        yield client


def _check_address(scheduler: str) -> None:
    try:
        parts = urlsplit(scheduler)
        sound = parts.scheme in _SCHEMES and bool(parts.hostname) and bool(parts.port)
    except ValueError:  # of the port
        sound = False
    if not sound:
        raise ValueError(f"{scheduler!r} is no address of a scheduler; give one such as tcp://host:8786, or {LOCAL}")


def _answering(client: Any, scheduler: str, timeout: float) -> Any:
    try:
        return client(scheduler, timeout=timeout, set_as_default=False)
    except (OSError, TimeoutError) as error:
        remedy = "check the address and whether `dask scheduler` runs there"
        raise OSError(f"no scheduler answers at {scheduler} within {timeout:g} s; {remedy}") from error

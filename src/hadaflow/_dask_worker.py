"""What workers on this machine load before anything else: Dask calls ``dask_setup`` in each."""

from __future__ import annotations

import signal
from typing import Any


def dask_setup(_: Any) -> None:
    """Leave Ctrl-C, which a terminal sends to all processes, to the one that waits for the answer."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)

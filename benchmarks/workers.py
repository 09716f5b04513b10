"""Each solver lives in its own process: one that hangs or crashes is ended there, and costs its own row only."""

from __future__ import annotations

import contextlib
import gc
import multiprocessing
import signal
import time
import warnings
from dataclasses import dataclass, field
from multiprocessing.connection import Connection
from typing import Any

import numpy as np
from peers import ENTRANTS, Answer
from problems import CLASSES, Instance, Size

START_LIMIT = 120.0  # seconds to import, draw the problem and warm up, none of which is timed
WARM_UP = Size(50, 200, 5)
_SPAWN = multiprocessing.get_context("spawn")  # a fork would inherit the BLAS threads of the parent


@dataclass(frozen=True)
class Task:
    """Which problem to solve; the worker draws it itself."""

    problem: str
    size: Size
    seed: int


@dataclass(frozen=True, eq=False)
class Outcome:
    """What became of one run: ``status`` is done, over limit, error or crashed."""

    status: str
    seconds: float | None = None
    answer: Answer | None = None
    message: str = ""
    warned: list[str] = field(default_factory=list)


class Worker:
    """A process with one solver in it, started when first needed and again after it was ended."""

    def __init__(self, entrant: str, limit: float) -> None:
        self.entrant = entrant
        self.limit = limit
        self._process: Any = None
        self._connection: Connection | None = None

    def run(self, task: Task) -> Outcome:
        """Solve once, within the time limit."""
        if self._process is None:
            self._start()
        connection = self._connection
        assert connection is not None
        try:
            connection.send(task)
            if not connection.poll(START_LIMIT):
                self.close()
                return Outcome("error", message=f"did not get ready within {START_LIMIT:.0f} s")
            ready = connection.recv()
            if isinstance(ready, Outcome):
                return ready
            if not connection.poll(self.limit):
                self.close()
                return Outcome("over limit", message=f"> {self.limit:.0f} s")
            outcome: Outcome = connection.recv()
        except (EOFError, BrokenPipeError, ConnectionResetError):
            self._process.join(5)
            code = self._process.exitcode
            self.close()
            return Outcome("crashed", message=f"the process ended with exit code {code}")
        return outcome

    def close(self) -> None:
        """End the process."""
        if self._process is not None:
            self._process.kill()
            self._process.join()
            self._connection.close()  # type: ignore[union-attr]
        self._process = self._connection = None

    def _start(self) -> None:
        self._connection, theirs = _SPAWN.Pipe()
        self._process = _SPAWN.Process(target=serve, args=(theirs, self.entrant), daemon=True)
        self._process.start()
        theirs.close()


class Workers:
    """One worker per solver, all ended on leaving the block."""

    def __init__(self, entrants: list[str], limit: float) -> None:
        self._all = {name: Worker(name, limit) for name in entrants}

    def __enter__(self) -> Workers:
        return self

    def __exit__(self, *_: object) -> None:
        for worker in self._all.values():
            worker.close()

    def __getitem__(self, entrant: str) -> Worker:
        return self._all[entrant]


def serve(connection: Connection, name: str) -> None:
    """The worker's side: draw, convert and warm up (not timed), say ready, solve (timed), answer."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the parent decides when to end
    entrant = ENTRANTS[name]
    task, instance, matrix = None, None, None
    warm: set[str] = set()
    while True:
        try:
            wanted = connection.recv()
        except EOFError:
            return
        try:
            if wanted != task:
                task = instance = matrix = None  # free the last one before drawing the next
                instance = CLASSES[wanted.problem].draw(wanted.size, wanted.seed)
                matrix, task = entrant.layout(instance.matrix), wanted
            if wanted.problem not in warm:
                _warm_up(name, wanted.problem)
                warm.add(wanted.problem)
            gc.collect()
            connection.send("ready")
            assert instance is not None
            connection.send(_timed(name, matrix, instance))
        except Exception as error:  # noqa: BLE001 - whatever a solver raises is its result
            connection.send(Outcome("error", message=f"{type(error).__name__}: {error}"))


def _warm_up(name: str, problem: str) -> None:
    small = CLASSES[problem].draw(WARM_UP)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        with contextlib.suppress(Exception):  # if it matters, the timed run will fail in the same way
            ENTRANTS[name].solve(ENTRANTS[name].layout(small.matrix), small.y, small.positive)


def _timed(name: str, matrix: Any, instance: Instance) -> Outcome:
    entrant = ENTRANTS[name]
    with warnings.catch_warnings(record=True) as caught, np.errstate(all="ignore"):
        warnings.simplefilter("always")
        begin = time.perf_counter()
        answer = entrant.solve(matrix, instance.y, instance.positive)
        seconds = time.perf_counter() - begin
    kinds = sorted({f"{w.category.__name__}: {str(w.message)[:120]}" for w in caught})
    return Outcome("done", seconds, answer, warned=kinds[:3])

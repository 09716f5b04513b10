"""One problem, every estimator asked for, one record each."""

from __future__ import annotations

import time
import warnings
from dataclasses import dataclass
from functools import cache
from typing import Any

import numpy as np
from machine import load
from regression_entrants import ENTRANTS
from regression_problems import Cell, judge
from threadpoolctl import threadpool_limits

WARM_UP = Cell(40, 60, "Rademacher", 3, 0.5)


@dataclass(frozen=True)
class Task:
    """Which problem, and who is to solve it."""

    cell: Cell
    seed: int
    entrants: tuple[str, ...]


def measure(task: Task) -> list[dict[str, Any]]:
    """Draw the problem, fit it by each in turn, judge each."""
    instance = task.cell.draw(task.seed)
    records = []
    for name in task.entrants:
        warm_up(name)
        record = {"kind": "result", "cell": task.cell.name, "seed": task.seed, "entrant": name}
        records.append(record | {"code": ENTRANTS[name].code} | fit(name, instance, task.cell.sigma))
    return records


@cache
def warm_up(name: str) -> None:
    """Import and compile, once a process; what goes wrong will go wrong again where it is recorded."""
    instance = WARM_UP.draw(0)
    fit(name, instance, WARM_UP.sigma)


def fit(name: str, instance: Any, sigma: float) -> dict[str, Any]:
    """Fit and judge; an estimator that fails is recorded, and the run goes on."""
    X, y = instance.X.copy(), instance.y.copy()
    with warnings.catch_warnings(record=True) as caught, threadpool_limits(limits=1):
        warnings.simplefilter("always")
        wall, cpu = time.perf_counter(), time.process_time()
        try:
            coef, message = ENTRANTS[name].fit(X, y), ""
        except Exception as error:  # noqa: BLE001  # whatever it is, it is this estimator's result
            coef, message = None, f"{type(error).__name__}: {error}"
        times = {"cpu": time.process_time() - cpu, "seconds": time.perf_counter() - wall, "load": load()}
    if coef is None or coef.shape != instance.w.shape or not np.isfinite(coef).all():
        return {"status": "failed", "message": message or "coefficients that are no vector of numbers"}
    kinds = sorted({warning.category.__name__ for warning in caught})
    return {"status": "done", "warned": kinds} | _rounded(judge(instance, coef, sigma) | times)


def _rounded(numbers: dict[str, Any]) -> dict[str, Any]:
    """Five digits: no table shows more, and a run has ten thousand records."""
    return {key: float(f"{value:.5g}") if isinstance(value, float) else value for key, value in numbers.items()}

"""Rules about how x changes: whether it has settled, or does worse on held-out data."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hadaflow._rules import BestWatch, Instant, Rule, Verdict, Watch
from hadaflow._validation import callback, check_finite, positive_number, real_array
from hadaflow.losses import Squared
from hadaflow.operators import as_operator
from hadaflow.operators.making import is_complex
from hadaflow.problems import Problem
from hadaflow.snapshots import Snapshot


@dataclass(frozen=True, eq=False)
class When(Instant):
    """Any condition: ``condition(snapshot)`` is true.

    Parameters
    ----------
    condition : callable
        Takes a :class:`hadaflow.Snapshot`.
    name : str, default "the given condition"
        What the reason calls it.
    """

    condition: Callable[[Snapshot], Any]
    name: str = "the given condition"

    def __post_init__(self) -> None:
        if self.condition is None:
            raise TypeError("condition must be callable, got None")
        callback(self.condition, "condition")

    def holds(self, snapshot: Snapshot) -> bool:
        return bool(self.condition(snapshot))

    def reason(self, snapshot: Snapshot) -> str:
        return f"{self.name} holds"


@dataclass(frozen=True)
class StableSupport(Rule):
    """The support has not changed while flow time grew by ``factor``, and is not empty.

    The clock starts once the residual has fallen by a hundredth: before, all that grows is still next to nothing.

    Parameters
    ----------
    factor : float, default 3
        At least 1.
    """

    factor: float = 3.0
    instant = False

    def __post_init__(self) -> None:
        positive_number(self.factor, "factor", minimum=1.0)

    def watch(self, problem: Problem) -> Watch:
        since, support = 0.0, np.empty(0, dtype=np.intp)
        at_start: float | None = None

        def look(snapshot: Snapshot) -> Verdict | None:
            nonlocal since, support, at_start
            at_start = snapshot.residual_norm if at_start is None else at_start
            if snapshot.residual_norm > 0.99 * at_start or not np.array_equal(snapshot.support, support):
                since, support = snapshot.time, snapshot.support
            if len(support) == 0 or snapshot.time < self.factor * since or since == 0:
                return None
            return Verdict(f"the support ({len(support)} coordinates) is the same since time {since:.4g}")

        return look


@dataclass(frozen=True)
class Plateau(Rule):
    """The path is flat in log-time: x moved by at most ``tolerance * max |x|`` while flow time grew by ``factor``.

    Parameters
    ----------
    factor : float, default 2
        At least 1.
    tolerance : float, default 1e-2
        Relative, > 0.
    """

    factor: float = 2.0
    tolerance: float = 1e-2
    instant = False

    def __post_init__(self) -> None:
        positive_number(self.factor, "factor", minimum=1.0)
        positive_number(self.tolerance, "tolerance")

    def watch(self, problem: Problem) -> Watch:
        since, anchor = 0.0, problem.layout.x(np.zeros(problem.shape[1], dtype=problem.dtype))

        def look(snapshot: Snapshot) -> Verdict | None:
            nonlocal since, anchor
            size = float(np.abs(snapshot.x).max(initial=0.0))
            if since == 0 or float(np.abs(snapshot.x - anchor).max(initial=0.0)) > self.tolerance * size:
                since, anchor = snapshot.time, snapshot.x
                return None
            if len(snapshot.support) == 0 or snapshot.time < self.factor * since:
                return None
            return Verdict(f"x has moved by less than {self.tolerance:g} of its size since time {since:.4g}")

        return look


@dataclass(frozen=True, eq=False)
class Validation(Rule):
    """Smallest error on held-out data: ``||A x - y||`` there has not improved while flow time grew by ``patience``.

    For another loss than the squared one the error is the loss of the problem, summed over the held-out rows.
    The run returns the snapshot of the smallest error, not the last one; also where another rule ends it first.

    Parameters
    ----------
    A, y : array_like
        Held-out measurements of the same x, shapes (k, n) and (k,); y as the loss of the problem takes it. Complex, or
        y of shape (k, columns), where those of the problem are.
    patience : float, default 2
        Factor in flow time to wait for an improvement.
    """

    A: Any
    y: Any
    patience: float = 2.0
    instant = False

    def __post_init__(self) -> None:
        positive_number(self.patience, "patience", minimum=1.0)
        if is_complex(self.A) or np.iscomplexobj(self.y) or (np.ndim(self.y) == 2 and min(np.shape(self.y)) > 1):
            return  # whether that fits, the problem says
        operator, y = as_operator(self.A), real_array(self.y, "y", 1)
        check_finite(y, "y")
        if len(y) != operator.shape[0]:
            raise ValueError(f"y must have one entry per row of A: A has shape {operator.shape}, y has length {len(y)}")
        object.__setattr__(self, "A", operator)
        object.__setattr__(self, "y", y.astype(np.float64))

    def watch(self, problem: Problem) -> Watch:
        held, layout = self._held(problem), problem.layout
        if held.shape[1] != problem.shape[1]:
            columns, wanted = held.shape[1] // layout.width, problem.shape[1] // layout.width
            raise ValueError(f"validation data have {columns} columns, the problem {wanted}")
        problem.loss.check(held.y)
        return _ValidationWatch(held, self.patience)

    def _held(self, problem: Problem) -> Problem:
        """The held-out data as a problem of the same kind."""
        layout = problem.layout
        held = Problem(
            self.A,
            self.y,
            Squared() if problem.squared else problem.loss,
            joint=layout.columns is not None,
            real=layout.complex_y and not layout.complex_x,
        )
        if held.layout != layout:
            raise ValueError("validation data must be real, complex or joint as those of the problem are")
        return held


class _ValidationWatch(BestWatch):
    def __init__(self, held: Problem, patience: float) -> None:
        self.held, self.patience, self.smallest = held, patience, math.inf

    def __call__(self, snapshot: Snapshot) -> Verdict | None:
        x = self.held.layout.real_x(snapshot.x).astype(np.float64)
        error = _misfit(self.held, self.held.operator.matvec(x), self.held.y.astype(np.float64, copy=False))
        if self.best is None or error < self.smallest:
            self.best, self.smallest = snapshot, error
            return None
        if snapshot.time < self.patience * self.best.time or self.best.time == 0:
            return None
        return Verdict(f"smallest validation error {self.smallest:.4g} at time {self.best.time:.4g}", choice=self.best)


def _misfit(problem: Problem, p: NDArray[np.float64], y: NDArray[np.float64]) -> float:
    """The loss of a problem on other rows; the square root of twice the squared loss, in units of y."""
    return float(np.linalg.norm(p - y)) if problem.squared else float(problem.loss.value(p, y))

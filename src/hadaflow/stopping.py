"""When to stop: small rule objects, combined with ``|`` (either) and ``&`` (both at once).

A rule is configuration only. A run asks it for a watch, which sees one :class:`hadaflow.Snapshot` after the other and
answers with a :class:`Verdict` once it is met. Rules whose meaning rests on the squared loss (:class:`Discrepancy`,
:class:`CertificateGap`, :class:`LassoGap`) refuse problems with another one.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hadaflow._rules import BestWatch, Instant, Rule, Verdict, Watch
from hadaflow._validation import callback, check_finite, positive_number, real_array, whole_number
from hadaflow.operators import Operator, as_operator
from hadaflow.problems import Problem, require_squared
from hadaflow.snapshots import Snapshot

__all__ = [
    "BestWatch",
    "CertificateGap",
    "Discrepancy",
    "LassoGap",
    "MaxSeconds",
    "MaxSteps",
    "MaxTime",
    "NullGradient",
    "Plateau",
    "Residual",
    "Rule",
    "StableSupport",
    "Validation",
    "Verdict",
    "Watch",
    "When",
]


@dataclass(frozen=True)
class MaxSteps(Instant):
    """A budget of steps."""

    steps: int
    budget = True

    def __post_init__(self) -> None:
        object.__setattr__(self, "steps", whole_number(self.steps, "steps", minimum=0))

    def holds(self, snapshot: Snapshot) -> bool:
        return snapshot.step >= self.steps

    def reason(self, snapshot: Snapshot) -> str:
        return "one step was taken" if self.steps == 1 else f"{self.steps} steps were taken"


@dataclass(frozen=True)
class MaxSeconds(Instant):
    """A budget of wall time, in seconds."""

    seconds: float
    budget = True

    def __post_init__(self) -> None:
        positive_number(self.seconds, "seconds")

    def holds(self, snapshot: Snapshot) -> bool:
        return snapshot.seconds >= self.seconds

    def reason(self, snapshot: Snapshot) -> str:
        return f"{self.seconds:g} seconds have passed"


@dataclass(frozen=True)
class MaxTime(Instant):
    """Flow time: that of gradient flow on F, by default ``1/2 ||A x - y||^2``, in the shared factors."""

    time: float

    def __post_init__(self) -> None:
        positive_number(self.time, "time")

    def holds(self, snapshot: Snapshot) -> bool:
        return snapshot.time >= self.time

    def reason(self, snapshot: Snapshot) -> str:
        return f"flow time {self.time:g} was reached"


@dataclass(frozen=True)
class Residual(Instant):
    """``||A x - y|| <= tolerance * ||y||``: the data are fitted.

    For another loss than the squared one ``||dF/dp||`` relative to what it is at x = 0: no datum pulls any more. Where
    no x fits the data that well, such as labels that are not separable, it is never met.

    Parameters
    ----------
    tolerance : float, default 1e-8
        Relative, > 0.
    """

    tolerance: float = 1e-8

    def __post_init__(self) -> None:
        positive_number(self.tolerance, "tolerance")

    def holds(self, snapshot: Snapshot) -> bool:
        return snapshot.relative_residual <= self.tolerance

    def reason(self, snapshot: Snapshot) -> str:
        return f"relative residual {snapshot.relative_residual:.3g} is within {self.tolerance:g}"


class _OfSquares(Instant):
    """A rule that means something for the squared loss only."""

    def watch(self, problem: Problem) -> Watch:
        require_squared(problem, f"stopping.{type(self).__name__}")
        return super().watch(problem)


@dataclass(frozen=True)
class Discrepancy(_OfSquares):
    """The discrepancy principle: ``||A x - y||_2 <= factor * noise_level``.

    Parameters
    ----------
    noise_level : float
        About ``||noise||_2``, > 0, in units of y.
    factor : float, default 1
        How much of it may be left, > 0.
    """

    noise_level: float
    factor: float = 1.0

    def __post_init__(self) -> None:
        positive_number(self.noise_level, "noise_level")
        positive_number(self.factor, "factor")

    def holds(self, snapshot: Snapshot) -> bool:
        return snapshot.residual_norm <= self.factor * self.noise_level

    def reason(self, snapshot: Snapshot) -> str:
        return f"residual {snapshot.residual_norm:.4g} is within the noise level {self.factor * self.noise_level:.4g}"


@dataclass(frozen=True)
class CertificateGap(_OfSquares):
    """The iterate fits, and its l1 norm is near a proved bound.

    Parameters
    ----------
    tolerance : float, default 1e-3
        For relative residual and gap, > 0.
    """

    tolerance: float = 1e-3

    def __post_init__(self) -> None:
        positive_number(self.tolerance, "tolerance")

    def holds(self, snapshot: Snapshot) -> bool:
        return snapshot.relative_residual <= self.tolerance and snapshot.l1_gap <= self.tolerance

    def reason(self, snapshot: Snapshot) -> str:
        return f"l1 norm within {snapshot.l1_gap:.3g} of its bound, relative residual {snapshot.relative_residual:.3g}"


@dataclass(frozen=True)
class LassoGap(_OfSquares):
    """The average is proved to be within ``tolerance * 1/2 ||y||^2`` of a lasso solution at ``penalty`` or below.

    Parameters
    ----------
    penalty : float
        Of the lasso ``1/2 ||A x - y||^2 + penalty ||x||_1``, > 0.
    tolerance : float, default 1e-2
        Share of ``1/2 ||y||^2``, > 0.
    """

    penalty: float
    tolerance: float = 1e-2

    def __post_init__(self) -> None:
        positive_number(self.penalty, "penalty")
        positive_number(self.tolerance, "tolerance")

    def holds(self, snapshot: Snapshot) -> bool:
        return snapshot.penalty <= self.penalty and snapshot.lasso_gap <= self.tolerance

    def reason(self, snapshot: Snapshot) -> str:
        return f"average within {snapshot.lasso_gap:.3g} of the lasso at penalty {snapshot.penalty:.4g}"


@dataclass(frozen=True)
class NullGradient(Rule):
    """No gradient left that noise alone would not make: ``max_i |A_i^T (A x - y)| / ||A_i||`` within the level.

    With another loss than the squared one dF/dp takes the place of ``A x - y``.

    Parameters
    ----------
    sigma : float
        Standard deviation of the noise in one measurement; the level is ``sigma * sqrt(2 log n)``. For another loss
        than the squared one, of dF/dp at the true x: for labels (logistic loss) at most 1/2.
    column_norms : array_like of shape (n,), optional
        ``||A_i||``; computed from the columns of a matrix, needed for a LinearOperator.
    """

    sigma: float
    column_norms: Any = field(default=None, repr=False)

    def __post_init__(self) -> None:
        positive_number(self.sigma, "sigma")

    def watch(self, problem: Problem) -> Watch:
        lengths = _column_norms(problem.operator, self.column_norms)
        level = self.sigma * math.sqrt(2 * math.log(max(2, problem.shape[1])))
        present = np.where(lengths > 0, lengths, np.inf)

        def look(snapshot: Snapshot) -> Verdict | None:
            largest = float((np.abs(snapshot.gradient) / present).max())
            if largest > level:
                return None
            return Verdict(f"largest gradient {largest:.4g} is within what noise makes, {level:.4g}")

        return look


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
        since, anchor = 0.0, np.zeros(problem.shape[1], dtype=problem.dtype)

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
        Held-out measurements of the same x, shapes (k, n) and (k,); y as the loss of the problem takes it.
    patience : float, default 2
        Factor in flow time to wait for an improvement.
    """

    A: Any
    y: Any
    patience: float = 2.0
    instant = False

    def __post_init__(self) -> None:
        positive_number(self.patience, "patience", minimum=1.0)
        operator, y = as_operator(self.A), real_array(self.y, "y", 1)
        check_finite(y, "y")
        if len(y) != operator.shape[0]:
            raise ValueError(f"y must have one entry per row of A: A has shape {operator.shape}, y has length {len(y)}")
        object.__setattr__(self, "A", operator)
        object.__setattr__(self, "y", y.astype(np.float64))

    def watch(self, problem: Problem) -> Watch:
        if self.A.shape[1] != problem.shape[1]:
            raise ValueError(f"validation data have {self.A.shape[1]} columns, the problem {problem.shape[1]}")
        problem.loss.check(self.y)
        return _ValidationWatch(problem, self)


class _ValidationWatch(BestWatch):
    def __init__(self, problem: Problem, rule: Validation) -> None:
        self.problem, self.rule, self.smallest = problem, rule, math.inf

    def __call__(self, snapshot: Snapshot) -> Verdict | None:
        rule = self.rule
        error = _misfit(self.problem, rule.A.matvec(snapshot.x.astype(np.float64)), rule.y)
        if self.best is None or error < self.smallest:
            self.best, self.smallest = snapshot, error
            return None
        if snapshot.time < rule.patience * self.best.time or self.best.time == 0:
            return None
        return Verdict(f"smallest validation error {self.smallest:.4g} at time {self.best.time:.4g}", choice=self.best)


def _misfit(problem: Problem, p: NDArray[np.float64], y: NDArray[np.float64]) -> float:
    """The loss of a problem on other rows; the square root of twice the squared loss, in units of y."""
    return float(np.linalg.norm(p - y)) if problem.squared else float(problem.loss.value(p, y))


def _column_norms(operator: Operator, given: Any) -> NDArray[np.float64]:
    if given is None:
        if operator.costs.matrix_free:
            raise ValueError("NullGradient needs column_norms for a LinearOperator: its columns are not at hand")
        return np.sqrt(operator.column_squares())
    lengths = real_array(given, "column_norms", 1).astype(np.float64)
    if len(lengths) != operator.shape[1]:
        raise ValueError(f"column_norms must have one entry per column of A ({operator.shape[1]}), got {len(lengths)}")
    return lengths

"""Rules about how well x fits the data, and how much of its norm is proved."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hadaflow._rules import Instant, Rule, Verdict, Watch
from hadaflow._validation import positive_number, real_array
from hadaflow.operators import Operator
from hadaflow.problems import Problem, require_single, require_squared
from hadaflow.snapshots import Snapshot


@dataclass(frozen=True)
class Residual(Instant):
    """``||A x - y|| <= tolerance * ||y||``: the data are fitted.

    For another loss than the squared one ``||dF/dp||`` relative to what it is at x = 0: no slope in ``p = A x`` is
    left. Where no x fits the data that well, such as labels that are not separable, it is never met.

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
        How much of it may remain, > 0.
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
        Fraction of ``1/2 ||y||^2``, > 0.
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
        require_single(problem, "stopping.NullGradient", "take stopping.Discrepancy(noise_level)")
        lengths = _column_norms(problem.operator, self.column_norms)
        level = self.sigma * math.sqrt(2 * math.log(max(2, problem.shape[1])))
        present = np.where(lengths > 0, lengths, np.inf)

        def look(snapshot: Snapshot) -> Verdict | None:
            largest = float((np.abs(snapshot.gradient) / present).max())
            if largest > level:
                return None
            return Verdict(f"largest gradient {largest:.4g} is within what noise makes, {level:.4g}")

        return look


def _column_norms(operator: Operator, given: Any) -> NDArray[np.float64]:
    if given is None:
        if operator.costs.matrix_free:
            raise ValueError("NullGradient needs column_norms for a LinearOperator: its columns are not at hand")
        return np.sqrt(operator.column_squares())
    lengths = real_array(given, "column_norms", 1).astype(np.float64)
    if len(lengths) != operator.shape[1]:
        raise ValueError(f"column_norms must have one entry per column of A ({operator.shape[1]}), got {len(lengths)}")
    return lengths

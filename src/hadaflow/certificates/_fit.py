"""How far the fit of x is from the best there is: what a least-squares answer has to prove."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from hadaflow._span import Span
from hadaflow._types import Vector
from hadaflow._validation import norm
from hadaflow.gauges import Gauge
from hadaflow.operators import Operator
from hadaflow.operators.block import at_work, lengths_of

_EPS = float(np.finfo(np.float64).eps)
ROUNDING = 8.0  # units of eps that a column may be changed by for the bound to count
_ROUNDING_FAR = 1e-14  # the same where products alone are known, and lengths of columns are estimates
_MOST_ENTRIES = 1 << 27  # of columns on the support, up to which they are factored
EXPLAINED = 0.1  # of the residual that rounding may explain
CLOSEST = 1e-8  # relative distance from the bound at which a fit counts as the best


@dataclass(frozen=True)
class FitProof:
    """A lower bound on ``||A z - y||_2`` over all z, or all z >= 0.

    Attributes
    ----------
    bound : float
        No z leaves less than this, up to a relative change of the columns of A by ``violation``.
    gap : float
        ``(||A x - y|| - bound) / ||A x - y||`` less what rounding of the residual explains; 0 for a residual of 0, and
        1 where the violation is more than rounding, or rounding may explain the residual.
    violation : float
        Largest ``|A_i^T u| / (||A_i|| ||u||)`` that is not as it should be, for the direction u that gives the bound.
    """

    bound: float
    gap: float
    violation: float

    @property
    def holds(self) -> bool:
        """Whether x fits as well as anything can, to rounding."""
        return self.gap <= CLOSEST


def prove_fit(
    operator: Operator, x: Vector, y: Vector, gauge: Gauge, *, eps: float = _EPS, most_columns: int | None = None
) -> FitProof:
    """Prove that x is a least-squares point among all z that a gauge allows, if it is one.

    For every u with ``A^T u = 0`` (``A^T u <= 0`` if ``z >= 0``) and every such z, ``<y, u> <= ||A z - y|| ||u||``. The
    direction u is the residual of x, freed of what the columns on the support of x explain. It meets the condition up
    to rounding only: then the bound is one for a matrix whose columns differ from those of A by the ``violation``.

    Parameters
    ----------
    operator : Operator
        A, of shape (m, n).
    x : ndarray of shape (n,)
        The point to be judged.
    y : ndarray of shape (m,)
        The data.
    gauge : Gauge
        Which z are allowed: for example, non-negative ones.
    eps : float
        Rounding unit in which x is stored.
    most_columns : int, optional
        Columns that may be asked of a LinearOperator. With more on the support (or more than 2^27 of their entries) the
        residual itself serves; with more in all their lengths are estimates.

    Returns
    -------
    FitProof

    Notes
    -----
    Two passes over A and an orthogonal factorisation of the k columns on the support, ``2 m k^2``. Source:
    docs/mathematics.md, "Certificates".
    """
    residual = y - operator.matvec(x)
    size = norm(residual)
    on = np.flatnonzero(x)
    rounding = 8 * eps * (operator.abs_matvec(np.abs(x)) + np.abs(y))
    if (np.abs(residual) <= rounding).all():  # row by row: the rounding of a long row may exceed all that others have
        return FitProof(0.0, 0.0, 0.0)
    direction = residual / size
    affordable = operator.costs.cheap_columns or most_columns is None or len(on) <= most_columns
    if affordable and 0 < len(on) * len(y) <= _MOST_ENTRIES:
        direction = Span(at_work(operator.columns(on))).project_out(direction)
    length = norm(direction)
    if length == 0:
        return FitProof(0.0, 1.0, 1.0)
    correlation, lengths = operator.rmatvec(direction), _lengths(operator, most_columns)
    wrong = gauge.outward(correlation)
    violation = _largest_ratio(wrong, lengths * length)
    # What a violation is worth to an x about as large as this one.
    worth = 2 * _largest_ratio(wrong, lengths) * float(lengths @ np.abs(x))
    bound = max(0.0, float(y @ direction) - worth) / length
    allowed = _ROUNDING_FAR if operator.costs.matrix_free else ROUNDING * _EPS
    part = rounding / size
    explained = min(norm(part), float(np.abs(residual / size) @ part) + norm(part) ** 2)
    proved = violation <= allowed and explained <= EXPLAINED  # else the residual may be no more than rounding
    gap = max(0.0, 1 - bound / size - explained) if proved else 1.0
    return FitProof(bound, gap, violation)


def _lengths(operator: Operator, most_columns: int | None) -> Vector:
    """Lengths of the columns; of a LinearOperator measured one by one if it may be asked for so many."""
    n = operator.shape[1]
    if operator.costs.matrix_free and (most_columns is None or n <= most_columns):
        return lengths_of(operator.columns(np.arange(n)))
    return operator.cancelled.before(operator.column_lengths)


def _largest_ratio(numbers: Vector, sizes: Vector) -> float:
    return float(np.divide(numbers, sizes, out=np.zeros_like(numbers), where=sizes > 0).max(initial=0.0))

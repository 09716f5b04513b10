"""Whether a minimiser is the only one."""

from __future__ import annotations

from typing import Any

import numpy as np
import scipy.linalg as la

from hadaflow._types import Index, Vector
from hadaflow._validation import norm
from hadaflow.gauges import Gauge
from hadaflow.operators import Columns, Operator
from hadaflow.operators.block import at_work, columns_scaled, gram_of, lengths_of

_EPS = float(np.finfo(np.float64).eps)
_INDEPENDENT = 1e-10  # smallest eigenvalue of a Gram matrix of unit columns that counts as more than rounding
_INSIDE = 1e-8  # relative distance from its bound that a dual coordinate off the support keeps at least
_MET = 1e-9  # and up to which those on it meet theirs, where nothing sharper is known


def separates(operator: Operator, on: Index, x: Vector, dual: Vector, gauge: Gauge, columns: Columns = None) -> bool:
    """Whether a dual vector near the given one proves that x is the only minimiser.

    It has to meet its bounds with the signs of x on the support, to stay strictly below them elsewhere, and the columns
    of the support have to be independent. The given vector is first moved onto its bounds. What rounding leaves there
    is held against the distance elsewhere: docs/mathematics.md, "Certificates".

    Parameters
    ----------
    operator : Operator
        A, with rows of about the same length.
    on : int array of shape (k,)
        Support of x, and the coordinates that cost nothing.
    x : ndarray of shape (k,)
        x on it.
    dual : ndarray of shape (m,)
        Scaled so that it meets its bounds.
    gauge : Gauge
        What x minimises.
    columns : ndarray or sparse array of shape (m, k), optional
        The columns of the support, if they are at hand already.
    """
    columns = at_work(operator.columns(on)) if columns is None else columns
    factored = _factored(columns)
    if factored is None:
        return False
    factor, length, smallest = factored
    aim = gauge.on(on).face(x)
    longest = float(length.max(initial=0.0)) or 1.0  # divided by last: the dual of short columns is long
    for _ in range(2):
        gap = (aim - np.asarray(columns.T @ dual)) / length
        step = np.asarray(columns @ (la.lapack.dpotrs(factor, gap, lower=1)[0] / (length / longest)))
        dual = dual + step / longest
    missed = np.abs(aim - np.asarray(columns.T @ dual))
    off = np.ones(operator.shape[1], dtype=bool)
    off[on] = False
    theta, others = operator.rmatvec(dual)[off], gauge.on(np.flatnonzero(off))
    if others.dual(theta) >= 1 - _INSIDE:
        return False
    if not operator.costs.cheap_columns:
        return bool((missed <= _MET * np.where(aim == 0, np.abs(aim).max(), np.abs(aim))).all())
    rounding = 2 * _EPS * operator.shape[0] ** 0.5 * norm(dual)
    missing = (float((missed / length).max()) + rounding) * np.sqrt(len(on) / smallest)
    if others.dual(theta, -operator.size_bound * (rounding + missing)) < 1:
        return True
    return others.dual(theta, -operator.column_lengths[off] * (rounding + missing)) < 1


def independent(operator: Operator) -> bool:
    """Whether all columns are independent by far: then no two vectors have the same product with A."""
    m, n = operator.shape
    return n <= m and operator.costs.cheap_columns and _factored(at_work(operator.columns(np.arange(n)))) is not None


def _factored(columns: Any) -> tuple[Vector, Vector, float] | None:
    """Cholesky factor of the Gram matrix of k columns of unit length, their lengths, and a bound on its eigenvalues.

    None if the smallest one may be rounding: then the columns may depend on each other.
    """
    m, k = columns.shape
    unit = _unit_gram(columns) if k <= m else None
    if unit is None:
        return None
    gram, length = unit
    # Positive definite after the shift: the smallest eigenvalue is above the shift less its rounding.
    shift = max(_INDEPENDENT, 4 * _EPS * k * m**0.5)
    gram[np.diag_indices(k)] -= shift
    size = float(np.abs(gram).sum(axis=0).max())
    factor, failed = la.lapack.dpotrf(gram, lower=1, clean=0)
    if failed:
        return None
    return factor, length, shift + float(la.lapack.dpocon(factor, size, uplo="L")[0]) * size


def _unit_gram(columns: Any) -> tuple[Vector, Vector] | None:
    """Gram matrix of the columns scaled to unit length, and their lengths; None if one of them is zero."""
    length = lengths_of(columns)
    if not length.all():
        return None
    return np.asfortranarray(gram_of(columns_scaled(columns, 1 / length))), length

"""Whether a minimiser is the only one."""

from __future__ import annotations

from typing import Any

import numpy as np
import scipy.linalg as la

from hadaflow._types import Index, Vector
from hadaflow._validation import norm
from hadaflow.gauges import Gauge
from hadaflow.groups import Groups
from hadaflow.operators import Columns, Operator
from hadaflow.operators.block import at_work, columns_scaled, gram_of, lengths_of

_EPS = float(np.finfo(np.float64).eps)
INDEPENDENT = 1e-10  # smallest eigenvalue of a Gram matrix of unit columns that counts as more than rounding
INSIDE = 1e-8  # relative distance from its bound that a dual coordinate off the support keeps at least
_MET = 1e-9  # and up to which those on it meet theirs, where nothing sharper is known


def separates(
    operator: Operator, on: Index, x: Vector, dual: Vector, theta: Vector, gauge: Gauge, columns: Columns = None
) -> bool:
    """Whether a dual vector near the given one proves that x is the only minimiser.

    It has to meet its bounds on the support of x, in the direction of x, and to stay strictly below them elsewhere; of
    groups that meet theirs, on the support or not, the vectors ``A_g theta_g`` have to be independent. The given vector
    is first moved onto its bounds. What rounding leaves there is held against the distance elsewhere:
    docs/mathematics.md, "Certificates".

    Parameters
    ----------
    operator : Operator
        A, with rows of about the same length.
    on : int array of shape (k,)
        Support of x in whole groups, and the coordinates that cost nothing.
    x : ndarray of shape (n,)
        The minimiser.
    dual : ndarray of shape (m,)
        Scaled so that it meets its bounds.
    theta : ndarray of shape (n,)
        ``A^T dual``.
    gauge : Gauge
        What x minimises.
    columns : ndarray or sparse array of shape (m, k), optional
        The columns of the support, if they are at hand already.
    """
    met = _meeting(theta, on, gauge)
    aim = gauge.face(x)[met]
    if len(met) > len(on):
        idle = ~np.isin(met, on)
        aim[idle] = gauge.meets(theta)[met][idle]
    if not gauge.polyhedral:
        return _groups_separate(operator, met, aim, theta, gauge)
    columns = columns if columns is not None and len(met) == len(on) else at_work(operator.columns(met))
    factored = _factored(columns)
    if factored is None:
        return False
    factor, length, smallest = factored
    longest = float(length.max(initial=0.0)) or 1.0  # divided by last: the dual of short columns is long
    for _ in range(2):
        gap = (aim - np.asarray(columns.T @ dual)) / length
        step = np.asarray(columns @ (la.lapack.dpotrs(factor, gap, lower=1)[0] / (length / longest)))
        dual = dual + step / longest
    missed = np.abs(aim - np.asarray(columns.T @ dual))
    off = np.ones(operator.shape[1], dtype=bool)
    off[met] = False
    theta, others = operator.rmatvec(dual)[off], gauge.on(np.flatnonzero(off))
    if others.dual(theta) >= 1 - INSIDE:
        return False
    if not operator.costs.cheap_columns:
        return bool((missed <= _MET * np.where(aim == 0, np.abs(aim).max(), np.abs(aim))).all())
    rounding = 2 * _EPS * operator.shape[0] ** 0.5 * norm(dual)
    missing = (float((missed / length).max()) + rounding) * np.sqrt(len(met) / smallest)
    if others.dual(theta, -operator.size_bound * (rounding + missing)) < 1:
        return True
    return others.dual(theta, -operator.column_lengths[off] * (rounding + missing)) < 1


def _meeting(theta: Vector, on: Index, gauge: Gauge) -> Index:
    """The support and all else that meets its bound, ascending."""
    sizes = gauge.sizes(theta)
    sizes[on] = 0.0
    more = np.flatnonzero(sizes >= 1 - INSIDE)
    return np.union1d(on, more) if len(more) else on


def _groups_separate(operator: Operator, met: Index, aim: Vector, theta: Vector, gauge: Gauge) -> bool:
    """The same where directions count: of each group one vector, however many coordinates it has."""
    groups, k = gauge.groups.on(met), operator.repeats
    if not (groups.norms(aim - theta[met]) <= _MET * groups.norms(aim)).all():
        return False
    rows = met[::k] // k
    gram = _image_gram(at_work(operator.base_columns(rows)), groups, groups.directions(aim).reshape(-1, k))
    return gram is not None and _factored_gram(*gram, operator.shape[0]) is not None


def _image_gram(columns: Any, groups: Groups, directions: Vector) -> tuple[Vector, Vector] | None:
    """Gram matrix of the unit vectors along ``A_g e_g``, and their lengths; None if one of them is zero."""
    if directions.shape[1] == 1:
        gram = gram_of(groups.fold(columns, directions[:, 0]))
    else:
        rows = groups.rows(directions.shape[1])
        gram = rows.sums(rows.sums(gram_of(columns) * (directions @ directions.T)).T)
    length = np.sqrt(gram.diagonal())
    if not length.all():
        return None
    return np.asfortranarray(gram / length / length[:, None]), length


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
    return _factored_gram(*unit, m)


def _factored_gram(gram: Vector, length: Vector, m: int) -> tuple[Vector, Vector, float] | None:
    """The same of a Gram matrix of unit vectors of m entries, which is overwritten."""
    k = len(gram)
    # Positive definite after the shift: the smallest eigenvalue is above the shift less its rounding.
    shift = max(INDEPENDENT, 4 * _EPS * k * m**0.5)
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

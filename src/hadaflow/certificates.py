"""Proofs of quality computed from the answer itself: nothing here trusts the solver that made it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import scipy.linalg as la
import scipy.sparse as sp
from numpy.typing import NDArray

from hadaflow._validation import (
    Index,
    check_finite,
    coordinates,
    instance,
    norm,
    positive_number,
    positive_vector,
    real_array,
)
from hadaflow.operators import Operator
from hadaflow.operators.base import at_work
from hadaflow.problems import Problem, require_squared

_EPS = float(np.finfo(np.float64).eps)
MOST_COLUMNS = 2048  # asked of a LinearOperator, one product each


@dataclass(frozen=True)
class Certificate:
    """How far an ``x`` can be from the smallest possible (weighted) l1 norm.

    Attributes
    ----------
    residual : float
        ``||A x - y||_2 / ||y||_2``, relative (absolute where y = 0).
    l1_norm : float
        ``sum_i w_i |x_i|`` with weights w (1 by default), in units of x.
    lower_bound : float
        No feasible point has a smaller l1 norm than this; proved by ``dual`` alone.
    gap : float
        ``|l1_norm - lower_bound| / max(l1_norm, lower_bound)``, relative; 0 for y = 0; at least 1 if non-negative x was
        asked for and x has negative entries.
    margin : float
        ``1 - max |A_i^T dual| / (w_i M)`` over coordinates off the support of x, M the maximum over all
        coordinates: positive when the dual separates the support from the rest. 1 if there is no coordinate off it.
    unique : bool
        Whether x is proved to be the only minimiser: the columns on its support are independent, the dual meets
        its bound with the right sign on the support and stays strictly below it elsewhere.
    """

    residual: float
    l1_norm: float
    lower_bound: float
    gap: float
    margin: float
    unique: bool

    def proves(self, *, gap: float = 1e-8, residual: float = 1e-10) -> bool:
        """Whether x is feasible to ``residual`` and within ``gap`` of the minimal l1 norm, both relative.

        The defaults suit float64; an x stored in float32 has a residual of some 1e-7 from that alone.
        """
        return self.gap <= gap and self.residual <= residual


def certify(
    problem: Problem,
    x: object,
    dual: object,
    *,
    weights: object = None,
    positive: bool = False,
    noise_level: float = 0.0,
    least_squares: bool = False,
    support: Index | None = None,
    most_columns: int = MOST_COLUMNS,
) -> Certificate:
    """Certificate of ``x`` for ``min sum_i w_i |x_i|  subject to  A x = y``.

    For every feasible z, ``<y, dual> = <z, A^T dual> <= M sum_i w_i |z_i|`` with
    ``M = max_i |A_i^T dual| / w_i``; so ``<y, dual> / M`` bounds the minimum from below whatever vector ``dual`` is. A
    wrong ``x`` or a wrong ``dual`` can only make the certificate worse.

    Parameters
    ----------
    problem : Problem
        The data, A of shape (m, n).
    x : array_like of shape (n,)
        The answer to be judged.
    dual : array_like of shape (m,)
        Any vector; the best one is optimal for the dual problem. Its length does not matter.
    weights : array_like of shape (n,), optional
        Positive weights w of the l1 norm; default all 1.
    positive : bool, default False
        Whether feasible points are non-negative; only ``A_i^T dual`` (no modulus) then counts in M.
    noise_level : float, default 0
        Feasible means ``||A z - y||_2 <= noise_level``; the bound then is
        ``(<y, dual> - noise_level ||dual||) / M``. In units of y.
    least_squares : bool, default False
        For y outside the range of A, where nothing is feasible: bound the l1 norm of all z with ``A z = A x``
        instead. When x is a least-squares point these are all of them.
    support : int array, optional
        Coordinates taken as the support of x; default its non-zeros.
    most_columns : int, default 2048
        How many columns may be asked of a LinearOperator, one product each, to prove uniqueness.

    Returns
    -------
    Certificate

    Raises
    ------
    TypeError, ValueError
        If an argument has the wrong kind, shape or range, or is not finite.

    Notes
    -----
    Computed in float64 from the arguments alone, in two passes over A; to prove uniqueness one more, the columns of the
    support and a Cholesky factorisation of its size (for a LinearOperator with more than ``most_columns`` coordinates
    on the support that is left out, and ``unique`` is False). From ``lower_bound`` a rounding allowance of
    ``2 eps sqrt(m)`` times the norms involved is subtracted. Source: linear programming duality; docs/mathematics.md,
    "Certificates".

    Examples
    --------
    >>> import numpy as np, hadaflow as hf
    >>> problem = hf.Problem(np.array([[1.0, 0.5]]), np.array([1.0]))
    >>> certificate = hf.certify(problem, [1.0, 0.0], [1.0])
    >>> certificate.gap < 1e-12, certificate.margin, certificate.unique
    (True, 0.5, True)
    """
    instance(problem, Problem, "problem")
    require_squared(problem, "certify")
    m, n = problem.shape
    x = _vector(x, "x", n)
    dual = _vector(dual, "dual", m)
    w = np.ones(n) if weights is None else positive_vector(weights, "weights", n)
    noise_level = positive_number(noise_level, "noise_level", strict=False)
    y = problem.y.astype(np.float64)
    fit, correlation = problem.operator.both(x, dual)

    reach = (correlation if positive else np.abs(correlation)) / w
    top = float(reach.max())
    lower = _lower_bound(problem.operator, fit if least_squares else y, dual, top, int(reach.argmax()), w, noise_level)
    l1_norm = float((w * np.abs(x)).sum())
    size = max(l1_norm, lower)
    size_y = norm(y)
    residual = norm(fit - y)

    on = np.flatnonzero(x) if support is None else coordinates(support, "support", n)
    off = np.ones(n, dtype=bool)
    off[on] = False
    margin = 1.0 - float(reach[off].max(initial=0.0)) / top if top > 0 else 1.0
    gap = abs(l1_norm - lower) / size if size > 0 else 0.0
    if positive and x.min() < 0:
        gap = max(gap, 1.0)
    rounding = 1e3 * float(np.finfo(problem.dtype).eps)
    optimal = gap <= max(1e-8, rounding) and (residual <= max(1e-9, rounding) * size_y or least_squares)
    if not x.any():
        unique = optimal  # no other point has norm zero
    else:
        possible = optimal and not x[off].any() and margin > 0
        if problem.operator.matrix_free:
            possible = possible and len(on) <= most_columns
        unique = possible and _separates(problem, on, x[on], dual / top, w, positive)
    return Certificate(
        residual=residual / size_y if size_y > 0 else residual,
        l1_norm=l1_norm,
        lower_bound=lower,
        gap=gap,
        margin=margin,
        unique=unique,
    )


@dataclass(frozen=True)
class LassoCertificate:
    """How far an ``x`` is from minimising ``1/2 ||A x - y||^2 + penalty * sum_i w_i |x_i|``.

    Attributes
    ----------
    penalty : float
        The lambda of the objective above (no factor 1/m).
    objective : float
        Its value at x.
    lower_bound : float
        Proved lower bound on its minimum.
    gap : float
        ``(objective - lower_bound) / (1/2 ||y||^2)``: relative to the objective at 0; 0 for y = 0.
    """

    penalty: float
    objective: float
    lower_bound: float
    gap: float


def certify_lasso(
    problem: Problem, x: object, penalty: float, *, weights: object = None, positive: bool = False
) -> LassoCertificate:
    """Duality gap of ``x`` for the lasso ``1/2 ||A x - y||^2 + penalty * sum_i w_i |x_i|``.

    The residual, shrunk until it is feasible for the dual problem, bounds the minimum from below. Along the saddle path
    the running average at rescaled time tau is such a point for ``penalty = 1 / tau``.

    Parameters
    ----------
    problem : Problem
        The data.
    x : array_like of shape (n,)
        The point to be judged.
    penalty : float
        Lambda > 0, in units of ``A^T y``.
    weights : array_like of shape (n,), optional
        Positive weights w; default all 1.
    positive : bool, default False
        Whether x is constrained to be non-negative.

    Returns
    -------
    LassoCertificate

    Raises
    ------
    TypeError, ValueError
        If an argument has the wrong kind, shape or range, or is not finite.

    Notes
    -----
    Two passes over A. Source: Fenchel duality; docs/mathematics.md, "The average and the lasso".

    Examples
    --------
    >>> import numpy as np, hadaflow as hf
    >>> problem = hf.Problem(np.eye(2), np.array([3.0, 0.5]))
    >>> hf.certify_lasso(problem, [2.0, 0.0], penalty=1.0).gap < 1e-14
    True
    """
    instance(problem, Problem, "problem")
    require_squared(problem, "certify_lasso")
    n = problem.shape[1]
    x = _vector(x, "x", n)
    penalty = positive_number(penalty, "penalty")
    w = np.ones(n) if weights is None else positive_vector(weights, "weights", n)
    y = problem.y.astype(np.float64)
    residual = y - problem.operator.matvec(x)
    correlation = problem.operator.rmatvec(residual) / w
    top = float((correlation if positive else np.abs(correlation)).max())
    point = residual * min(1.0, penalty / top) if top > 0 else residual
    half = 0.5 * float(y @ y)
    objective = 0.5 * float(residual @ residual) + penalty * float((w * np.abs(x)).sum())
    if positive and x.min(initial=0.0) < 0:
        objective = float("inf")
    rounding = 4 * _EPS * float(np.sqrt(len(y))) * half
    lower = half - 0.5 * float((y - point) @ (y - point)) - rounding
    return LassoCertificate(penalty, objective, lower, (objective - lower) / half if half > 0 else 0.0)


def _vector(value: object, name: str, length: int) -> NDArray[np.float64]:
    vector = real_array(value, name, 1)
    if len(vector) != length:
        raise ValueError(f"{name} must have length {length}, got {len(vector)}")
    check_finite(vector, name)
    return vector.astype(np.float64)


def _lower_bound(
    operator: Operator,
    target: NDArray[np.float64],
    dual: NDArray[np.float64],
    top: float,
    index: int,
    weights: NDArray[np.float64],
    noise_level: float,
) -> float:
    """The bound <target, dual> / top, lowered by what rounding may have added to either number."""
    if top <= 0:
        return 0.0
    slack = 2 * _EPS * float(np.sqrt(len(dual)))
    size_dual = norm(dual)
    column = operator.columns(np.array([index]))
    length = norm(column.data if sp.issparse(column) else column.ravel()) / float(weights[index])
    value = float(target @ dual) - noise_level * size_dual - slack * norm(target) * size_dual
    return max(0.0, value / (top + slack * length * size_dual))


def _separates(
    problem: Problem,
    on: Index,
    x: NDArray[np.float64],
    dual: NDArray[np.float64],
    weights: NDArray[np.float64],
    positive: bool,
) -> bool:
    """Whether a dual vector near the given one proves x unique.

    It has to meet its bounds with the signs of x on the support, exactly, and to stay strictly below them elsewhere,
    and the columns of the support have to be independent. The given vector is first moved onto its bounds.
    """
    operator = problem.operator
    k = len(on)
    if k > operator.shape[0]:
        return False
    columns = at_work(operator.columns(on))
    unit = _unit_gram(columns)
    if unit is None:
        return False
    gram, length = unit
    # Positive definite after the shift: the smallest eigenvalue is above the shift less its rounding.
    gram[np.diag_indices(k)] -= max(1e-10, 4 * _EPS * k * operator.shape[0] ** 0.5)
    factor, failed = la.lapack.dpotrf(gram, lower=1, clean=0)
    if failed:
        return False
    aim = np.sign(x) * weights[on]
    longest = float(length.max(initial=0.0)) or 1.0  # divided by last: the dual of short columns is long
    for _ in range(2):
        gap = (aim - np.asarray(columns.T @ dual)) / length
        step = np.asarray(columns @ (la.lapack.dpotrs(factor, gap, lower=1)[0] / (length / longest)))
        dual = dual + step / longest
    left = float(np.abs((aim - np.asarray(columns.T @ dual)) / aim).max())
    reach = operator.rmatvec(dual) / weights
    reach[on] = 0.0
    farthest = float((reach if positive else np.abs(reach)).max())
    return bool(left <= 1e-9 and farthest < 1 - 1e-8)


def _unit_gram(columns: Any) -> tuple[NDArray[np.float64], NDArray[np.float64]] | None:
    """Gram matrix of the columns scaled to unit length, and their lengths; None if one of them is zero."""
    if sp.issparse(columns):
        columns = sp.csc_array(columns)
        top = np.asarray(abs(columns).max(axis=0).toarray()).ravel()
    else:
        top = np.abs(columns).max(axis=0)
    if not top.all():
        return None
    scaled = columns @ sp.diags_array(1 / top) if sp.issparse(columns) else columns * (1 / top)
    gram = scaled.T @ scaled
    gram = np.asarray(gram.toarray() if sp.issparse(gram) else gram)
    length = np.sqrt(gram.diagonal())
    return np.asfortranarray(gram / length / length[:, None]), length * top

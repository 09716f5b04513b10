"""How far x is from the smallest l1 norm of all solutions: bounds from duality, and uniqueness."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from hadaflow._types import Index, Vector
from hadaflow._validation import coordinates, instance, norm, positive_number
from hadaflow.certificates._arguments import gauge_of, placed
from hadaflow.certificates._fit import CLOSEST, prove_fit
from hadaflow.certificates._held_dual import HeldDual
from hadaflow.certificates._uniqueness import independent
from hadaflow.gauges import Gauge
from hadaflow.operators import Columns, Operator
from hadaflow.operators.block import at_work
from hadaflow.problems import Problem, require_squared

_EPS = float(np.finfo(np.float64).eps)
_MOST_ENTRIES = 1 << 26  # of columns that are brought here to be looked at row by row
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
    backward_error : float
        Largest ``|A x - y|_j / (|A| |x| + |y|)_j`` over the rows: by so much, relatively, entries of A and y would have
        to change for ``A x = y`` to hold to the last digit (Oettli and Prager). Rounding alone makes a few 1e-16. No
        row is drowned by longer ones here, as it is in ``residual``. Of a LinearOperator (and a Dask array with a very
        large support) the denominator is a bound: the length of the row, estimated, times ``||x||_2``, plus ``|y|_j``.
    scaled_residual : float
        The residual with rows brought to about the same length, by powers of two R: ``||R (A x - y)|| / ||R y||``.
        That of rows which are alike already is ``residual``.
    fit_gap : float
        Where least squares were asked for: how far ``||A x - y||`` is, relatively, from a proved lower bound on that
        of all (non-negative) x; else 0.
    unique : bool
        Whether x is proved to be the only minimiser: the columns on its support are independent, the dual meets
        its bound with the right sign on the support and stays strictly below it elsewhere. Or, where the gap is not
        closed, that x is the only feasible point: all columns of A are independent.
    """

    residual: float
    l1_norm: float
    lower_bound: float
    gap: float
    margin: float
    backward_error: float
    scaled_residual: float
    fit_gap: float
    unique: bool

    def proves(self, *, gap: float = 1e-8, residual: float = 1e-10) -> bool:
        """Whether x is feasible to ``residual`` and within ``gap`` of the minimal l1 norm, both relative.

        The residual counts both as a whole (``scaled_residual``) and row by row (``backward_error``), so that no row is
        drowned by longer ones. The defaults suit float64; an x stored in float32 has a residual of some 1e-7 from that
        alone.
        """
        return self.gap <= gap and max(self.scaled_residual, self.backward_error) <= residual


def certify(
    problem: Problem,
    x: object,
    dual: object,
    *,
    weights: object = None,
    positive: bool = False,
    gauge: Gauge | None = None,
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
    gauge : Gauge, optional
        What x is held to minimise in place of an l1 norm; not together with weights or positive. M then is the dual
        gauge of ``A^T dual``.
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
    Computed in float64 from the arguments alone, in two passes over A and, once for each A, two more that measure its
    rows and columns (for a LinearOperator 4 products); to prove uniqueness one more, the columns of the support and a
    Cholesky factorisation of its size (for a LinearOperator with more than ``most_columns`` coordinates on the support
    that is left out, and ``unique`` is False). From ``lower_bound`` a rounding allowance is subtracted: ``2 eps
    sqrt(m)`` times the sizes of the terms of each sum that it is made of. Rows of very different lengths are brought to
    about the same one first, by powers of two. Source: linear programming duality; docs/mathematics.md, "Certificates".

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
    x = placed(x, "x", problem)
    dual = placed(dual, "dual", problem)
    gauge = gauge_of(weights, positive, gauge, problem)
    noise_level = positive_number(noise_level, "noise_level", strict=False)
    on = np.flatnonzero(x) if support is None else _coordinates(support, problem)
    return certificate_of(
        problem,
        x,
        dual,
        gauge,
        noise_level=noise_level,
        least_squares=least_squares,
        on=np.union1d(on, gauge.free) if len(gauge.free) else on,
        measured=support is None,
        most_columns=most_columns,
    )


def certificate_of(
    problem: Problem,
    x: Vector,
    dual: Vector,
    gauge: Gauge,
    *,
    noise_level: float,
    least_squares: bool,
    on: Index,
    measured: bool,
    most_columns: int,
) -> Certificate:
    """:func:`certify` of checked, real arguments; ``measured`` says that ``on`` are the non-zeros of x."""
    m, n = problem.shape
    on = gauge.groups.whole(on)
    y, eps = problem.y.astype(np.float64), float(np.finfo(problem.dtype).eps)
    fit, correlation = problem.operator.matvec_and_rmatvec(x, dual)
    columns = at_work(problem.operator.columns(on)) if measured and _affordable(problem.operator, on) else None
    terms = np.abs(y) + _terms(problem.operator, np.abs(x), on, columns)
    judge = HeldDual.of(problem.operator, dual, correlation, gauge, on, columns)

    lower = judge.lower_bound(fit if least_squares else y, noise_level * norm(dual))
    l1_norm = gauge.value(x)
    residual = np.abs(fit - y)
    backward_error = float(np.divide(residual, terms, out=np.zeros(m), where=terms > 0).max())
    fit_gap = 0.0
    if least_squares:
        fit_gap = prove_fit(problem.operator, x, y, gauge, eps=eps, most_columns=most_columns).gap
    scaled_residual = _relative(residual if judge.factors is None else residual * judge.factors, y, judge.factors)
    fits = max(scaled_residual, backward_error) <= max(1e-9, 1e3 * eps)
    feasible = fit_gap <= CLOSEST if least_squares else fits
    size = max(l1_norm, lower)
    gap = abs(l1_norm - lower) / size if size > 0 else 0.0
    if not gauge.allows(x):
        gap = max(gap, 1.0)
    off = np.ones(n, dtype=bool)
    off[on] = False
    margin = judge.margin(off)
    unique = False
    if feasible and gap <= max(1e-8, 1e3 * eps):
        few = not problem.operator.costs.matrix_free or len(on) <= most_columns
        unique = few and not x[off].any() and judge.proves_unique(x, on, gauge)
    elif feasible and gap < 1 and noise_level == 0:
        unique = independent(problem.operator)
    return Certificate(
        residual=_relative(residual, y, None),
        l1_norm=l1_norm,
        lower_bound=lower,
        gap=gap,
        margin=margin,
        backward_error=backward_error,
        scaled_residual=scaled_residual,
        fit_gap=fit_gap,
        unique=unique,
    )


def _coordinates(support: object, problem: Problem) -> Index:
    """Real coordinates of a support that the user named."""
    layout = problem.layout
    return layout.coordinates(coordinates(support, "support", problem.shape[1] // layout.width))


def _relative(residual: Vector, y: Vector, factors: Vector | None) -> float:
    """Length of a residual relative to that of y (with rows multiplied by factors); absolute where y = 0."""
    return norm(residual) / (norm(y if factors is None else y * factors) or 1.0)


def _affordable(operator: Operator, on: Index) -> bool:
    """Whether the columns of a support are at hand, or come here in one pass that proves uniqueness, too."""
    if operator.repeats > 1:  # mostly zeros
        return False
    return operator.costs.cheap_columns or (
        not operator.costs.matrix_free and len(on) * operator.shape[0] <= _MOST_ENTRIES
    )


def _terms(operator: Operator, sizes: Vector, on: Index, columns: Columns) -> Vector:
    """``|A| |x|``, from the columns on the support of x if these are at hand."""
    if columns is None:
        return operator.abs_matvec(sizes)
    return np.asarray(abs(columns) @ sizes[on]) + operator.cancelled.terms(sizes)

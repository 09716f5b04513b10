"""Duality gap of the lasso."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from hadaflow._validation import instance, positive_number
from hadaflow.certificates._arguments import gauge_of, placed
from hadaflow.gauges import Gauge
from hadaflow.problems import Problem, require_squared

_EPS = float(np.finfo(np.float64).eps)


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
    problem: Problem,
    x: object,
    penalty: float,
    *,
    weights: object = None,
    positive: bool = False,
    gauge: Gauge | None = None,
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
    gauge : Gauge, optional
        What stands in place of the l1 norm; not together with weights or positive.

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
    x = placed(x, "x", problem)
    penalty = positive_number(penalty, "penalty")
    gauge = gauge_of(weights, positive, gauge, problem)
    y = problem.y.astype(np.float64)
    residual = y - problem.operator.matvec(x)
    top = gauge.dual(problem.operator.rmatvec(residual))
    point = residual * min(1.0, penalty / top) if top > 0 else residual
    half = 0.5 * float(y @ y)
    objective = 0.5 * float(residual @ residual) + penalty * gauge.value(x)
    if not gauge.allows(x):
        objective = float("inf")
    rounding = 4 * _EPS * float(np.sqrt(len(y))) * half
    lower = half - 0.5 * float((y - point) @ (y - point)) - rounding
    return LassoCertificate(penalty, objective, lower, (objective - lower) / half if half > 0 else 0.0)

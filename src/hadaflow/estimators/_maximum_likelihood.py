"""The smallest loss on a few columns, without a penalty: what a support is worth."""

from __future__ import annotations

import numpy as np
import scipy.linalg as la

from hadaflow._types import Index, Vector
from hadaflow.losses import Loss
from hadaflow.problems import Problem

_ITERATIONS = 30  # of Newton's method; a minimum takes about ten, an infimum goes on at one unit of log odds each
_CONVERGED = 1e-14  # fall of the loss that the last Newton step promised: an infimum still falls by e^-30 then
_FLAT = 1e-13  # of the largest eigenvalue of the Hessian: below it, a direction that the loss does not see
_ROUNDING = 1e-14  # of the loss


def maximum_likelihood(problem: Problem, index: Index, bounded: int) -> Vector | None:
    """The coefficients of some columns with the smallest loss, the first few of them not negative.

    Parameters
    ----------
    problem : Problem
        Data and loss, of bounded gradient such as the logistic one.
    index : int array of shape (k,)
        The columns.
    bounded : int
        How many of them, the first, may not have negative coefficients.

    Returns
    -------
    ndarray of shape (k,) or None
        None if there is no smallest loss: the columns separate the labels, all or some of them.

    Notes
    -----
    Newton's method with backtracking, O(m k^2) per iteration; about ten of them. Columns that depend on each other
    share: steps are the shortest ones. Bounds by pivoting: what comes out negative is set to zero, and comes back where
    the gradient asks for it.
    """
    columns, y = problem.operator.columns(index), problem.y.astype(np.float64)
    x, active = np.zeros(len(index)), np.ones(len(index), dtype=bool)
    for _ in range(2 * bounded + 1):
        found = _newton(columns[:, active], y, problem.loss)
        if found is None:
            return None
        x[:] = 0.0
        x[active] = found
        negative = np.flatnonzero(x[:bounded] < 0)
        if len(negative):
            active[negative] = False
            continue
        negative_gradient = -columns.T @ problem.loss.gradient(columns @ x, y)
        back = np.flatnonzero(~active & (negative_gradient > 1e-8 * float(np.linalg.norm(columns))))
        if len(back) == 0:
            break
        active[back[negative_gradient[back].argmax()]] = True
    x[:bounded] = np.maximum(x[:bounded], 0.0)
    return x


def _newton(columns: Vector, y: Vector, loss: Loss) -> Vector | None:
    """The unbounded minimiser; None if there is none."""
    x: Vector = np.zeros(columns.shape[1])
    if columns.shape[1] == 0:
        return x
    p: Vector = np.zeros(len(y))
    value = loss.value(p, y)
    enough = _CONVERGED * min(1.0, value)
    for _ in range(_ITERATIONS):
        gradient = columns.T @ loss.gradient(p, y)
        bends, axes = la.eigh(columns.T @ (loss.curvature(p, y)[:, None] * columns))
        kept = bends > _FLAT * bends[-1]
        step = axes[:, kept] @ ((axes.T @ gradient)[kept] / bends[kept])
        fall, length = float(gradient @ step), 1.0
        allowed = value * (1 + _ROUNDING)
        while length > 1e-8 and not loss.value(columns @ (x - length * step), y) <= allowed - 1e-4 * length * fall:
            length *= 0.5
        x = x - length * step
        if fall <= enough:
            return x
        p = columns @ x
        value = loss.value(p, y)
    return None

"""The smallest loss on a few columns, without a penalty: what a support is worth."""

from __future__ import annotations

import numpy as np
import scipy.linalg as la
from numpy.typing import NDArray

from hadaflow._validation import Index
from hadaflow.losses import Loss
from hadaflow.problems import Problem

Vector = NDArray[np.float64]

_ITERATIONS = 100
_FLAT = 1e-13  # of the largest eigenvalue of the Hessian: below it, a direction that the loss does not see
_CERTAIN = 30.0  # log odds that only separated labels lead to
_CONVERGED = 1e-20  # of the loss: fall that the next Newton step promises


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
        None if there is no smallest loss: the columns separate the labels, or nearly so (log odds beyond 30).

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
        pull = -columns.T @ problem.loss.gradient(columns @ x, y)
        back = np.flatnonzero(~active & (pull > 1e-8 * float(np.linalg.norm(columns))))
        if len(back) == 0:
            break
        active[back[pull[back].argmax()]] = True
    x[:bounded] = np.maximum(x[:bounded], 0.0)
    return x


def _newton(columns: Vector, y: Vector, loss: Loss) -> Vector | None:
    """The unbounded minimiser; None if there is none."""
    x: Vector = np.zeros(columns.shape[1])
    p: Vector = np.zeros(len(y))
    value = loss.value(p, y)
    for _ in range(_ITERATIONS if columns.shape[1] else 0):
        gradient = columns.T @ loss.gradient(p, y)
        bends, axes = la.eigh(columns.T @ (loss.curvature(p, y)[:, None] * columns))
        along = axes.T @ gradient
        kept = bends > _FLAT * bends[-1]
        step = axes[:, kept] @ (along[kept] / bends[kept])
        fall, length = float(gradient @ step), 1.0
        while length > 1e-8 and not loss.value(columns @ (x - length * step), y) <= value - 1e-4 * length * fall:
            length *= 0.5
        x = x - length * step
        p = columns @ x
        value = loss.value(p, y)
        if fall <= _CONVERGED * value:
            return x
        if float(np.abs(p).max()) > _CERTAIN:
            return None
    return x

"""The linear systems ``A diag(d) A^T`` by preconditioned conjugate gradients: only products with A."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import scipy.linalg as la
from numpy.typing import NDArray

from hadaflow._validation import Index, norm
from hadaflow.dynamics._working_set import WorkingSet
from hadaflow.operators import Operator

Vector = NDArray[np.float64]

_ACCURACY = 1e-4  # of one solve, relative: Newton's method corrects the rest
_MOST_ITERATIONS = 500
_MOST_COLUMNS = 1500  # kept for the preconditioner
_MOST_ENTRIES = 100_000_000
_FALLEN = 1e-7  # share of the largest value of d below which a column does not matter to the preconditioner


class KrylovEquations:
    """Conjugate gradients on ``A diag(d) A^T``, preconditioned by the few columns whose d is large.

    Near the end of the continuation d is large on the support and small elsewhere, so that the matrix is close to
    ``A_S diag(d_S) A_S^T + beta I``. The inverse of that is known (Woodbury) once the columns A_S are: they are asked
    of A one by one, each once in a run.
    """

    def __init__(self, operator: Operator) -> None:
        self.operator = operator
        m, n = operator.shape
        probe = np.random.default_rng(0).choice([-1.0, 1.0], size=m)
        self.mean_eigenvalue = norm(operator.rmatvec(probe)) ** 2 / m
        self.known = WorkingSet(operator)
        self.most = min(_MOST_COLUMNS, m // 2, _MOST_ENTRIES // m, n)

    def forward(self, x: Vector) -> Vector:
        return self.operator.matvec(x)

    def backward(self, nu: Vector) -> Vector:
        return self.operator.rmatvec(nu)

    def project(self, y: Vector) -> tuple[Vector, bool]:
        """Least squares by conjugate gradients tells whether y is in the range of A."""
        fit, x = np.zeros_like(y), np.zeros(self.operator.shape[1])
        residual, direction, old = y.copy(), np.zeros_like(x), 0.0
        start = norm(self.operator.rmatvec(y)) or 1.0
        for _ in range(_MOST_ITERATIONS):
            gradient = self.operator.rmatvec(residual)
            size = norm(gradient)
            if size <= 1e-11 * start or norm(residual) <= 1e-11 * norm(y):
                break
            direction = gradient + (size * size / old if old else 0.0) * direction
            image = self.operator.matvec(direction)
            length = size * size / float(image @ image)
            fit += length * image
            residual -= length * image
            old = size * size
        inconsistent = norm(residual) > 1e-6 * norm(y)
        return (fit, True) if inconsistent else (y, False)

    def zero_dual(self) -> Vector:
        return np.zeros(self.operator.shape[0])

    def lift(self, nu: Vector) -> Vector:
        return nu

    def solve(self, d: Vector, rhs: Vector) -> Vector:
        size = norm(rhs)
        solution = np.zeros_like(rhs)
        if size == 0.0:
            return solution
        precondition = self._preconditioner(d)
        residual = rhs.copy()
        shaped = precondition(residual)
        direction, old = shaped, float(residual @ shaped)
        for _ in range(_MOST_ITERATIONS):
            image = self.operator.matvec(d * self.operator.rmatvec(direction))
            curvature = float(direction @ image)
            if curvature <= 0:
                break
            length = old / curvature
            solution = solution + length * direction
            residual = residual - length * image
            if norm(residual) <= _ACCURACY * size:
                break
            shaped = precondition(residual)
            new = float(residual @ shaped)
            direction, old = shaped + new / old * direction, new
        return solution

    def _preconditioner(self, d: Vector) -> Callable[[Vector], Vector]:
        """The inverse of ``A_T diag(d_T) A_T^T + beta I``, T the coordinates with the largest d."""
        n = len(d)
        order = np.argpartition(-d, self.most)[: self.most + 1] if self.most < n else np.arange(n)
        order = order[np.argsort(-d[order])]
        background = float(d[order[-1]])
        chosen: Index = order[:-1][d[order[:-1]] > max(10 * background, _FALLEN * d[order[0]])]
        rest = (float(d.sum()) - float(d[chosen].sum())) / n
        beta = max(self.mean_eigenvalue * rest, 1e-14 * self.mean_eigenvalue * float(d.max()))
        if len(chosen) == 0:
            return lambda r: r / beta
        self.known.extend(chosen[~self.known.inside[chosen]])
        positions = self.known.positions_of(chosen)
        core = self.known.gram[np.ix_(positions, positions)] + np.diag(beta / d[chosen])
        factor = la.cho_factor(core, lower=True, check_finite=False)
        columns = self.known.columns[:, positions]

        def apply(r: Vector) -> Vector:
            inner = la.cho_solve(factor, np.asarray(columns.T @ r), check_finite=False)
            return np.asarray((r - columns @ inner) / beta)

        return apply

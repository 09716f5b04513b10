"""The linear systems ``A D A^T`` by preconditioned conjugate gradients: only products with A."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import scipy.linalg as la

from hadaflow._types import Index, Vector
from hadaflow._validation import norm
from hadaflow.groups import Metric
from hadaflow.operators import Operator
from hadaflow.operators.block import dense
from hadaflow.solvers.working_set import WorkingSet

_ACCURACY = 1e-4  # of one solve, relative: Newton's method corrects the rest
_MOST_ITERATIONS = 500
_MOST_COLUMNS = 1500  # kept for the preconditioner
_MOST_ENTRIES = 100_000_000
_FALLEN = 1e-7  # fraction of the largest value of d below which a column does not matter to the preconditioner


class KrylovEquations:
    """Conjugate gradients on ``A D A^T``, preconditioned by the few columns whose d, the diagonal of D, is large.

    Near the end of the continuation d is large on the support and small elsewhere, so that the matrix is close to
    ``A_S diag(d_S) A_S^T + beta I``. The inverse of that is known (Woodbury) once the columns A_S are: they are asked
    of A one by one, each once in a run.

    With a residual r goes its correlation ``A^T r``. Where two products share a pass over A, it is carried along by
    those of the search direction, so that an iteration takes one pass.
    """

    factored = False

    def __init__(self, operator: Operator) -> None:
        self.operator = operator
        m, n = operator.shape
        probe = np.random.default_rng(0).choice([-1.0, 1.0], size=m)
        self.mean_eigenvalue = norm(operator.rmatvec(probe)) ** 2 / m
        self.known = WorkingSet(operator)
        self.carried = operator.costs.pair < 2
        self.most = min(_MOST_COLUMNS, m // 2, _MOST_ENTRIES // (max(m, n) if self.carried else m), n)
        self.correlations = np.empty((n, 0))  # A^T of the known columns, if correlations are carried

    def forward(self, x: Vector) -> Vector:
        return self.operator.matvec(x)

    def backward(self, nu: Vector) -> Vector:
        return self.operator.rmatvec(nu)

    def project(self, y: Vector) -> tuple[Vector, bool]:
        """Least squares by conjugate gradients tells whether y is in the range of A."""
        fit, residual = np.zeros_like(y), y.copy()
        direction = gradient = self.operator.rmatvec(y)
        size = start = norm(gradient) or 1.0
        for _ in range(_MOST_ITERATIONS):
            if size <= 1e-11 * start or norm(residual) <= 1e-11 * norm(y):
                break
            image, correlation = self.operator.matvec_and_gram(direction)
            length = size * size / float(image @ image)
            fit += length * image
            residual -= length * image
            gradient = gradient - length * correlation
            size, old = norm(gradient), size
            direction = gradient + (size / old) ** 2 * direction
        inconsistent = norm(residual) > 1e-6 * norm(y)
        return (fit, True) if inconsistent else (y, False)

    def zero_dual(self) -> Vector:
        return np.zeros(self.operator.shape[0])

    def lift(self, nu: Vector) -> Vector:
        return nu

    def system(self, metric: Metric) -> Callable[[Vector], Vector]:
        precondition = self._preconditioner(metric.diagonal)
        return lambda rhs: self._solve(metric, precondition, rhs)

    def _solve(
        self, metric: Metric, precondition: Callable[[Vector, Vector], tuple[Vector, Vector]], rhs: Vector
    ) -> Vector:
        size = norm(rhs)
        solution = np.zeros_like(rhs)
        if size == 0.0:
            return solution
        residual, correlation = rhs.copy(), self.operator.rmatvec(rhs) if self.carried else rhs
        direction, along = precondition(residual, correlation)  # and its correlation
        old = float(residual @ direction)
        for _ in range(_MOST_ITERATIONS):
            image, back = self._image(metric.times(along))
            curvature = float(direction @ image)
            if curvature <= 0:
                break
            length = old / curvature
            solution = solution + length * direction
            residual, correlation = residual - length * image, correlation - length * back
            if norm(residual) <= _ACCURACY * size:
                break
            shaped, shaped_correlation = precondition(residual, correlation)
            new = float(residual @ shaped)
            direction, along = shaped + new / old * direction, shaped_correlation + new / old * along
            old = new
        return solution

    def _image(self, v: Vector) -> tuple[Vector, Vector]:
        """``A v``, and its correlation if these are carried (else anything)."""
        if self.carried:
            return self.operator.matvec_and_gram(v)
        image = self.operator.matvec(v)
        return image, image

    def _preconditioner(self, d: Vector) -> Callable[[Vector, Vector], tuple[Vector, Vector]]:
        """The inverse of ``A_T diag(d_T) A_T^T + beta I``, T the coordinates with the largest d.

        It takes a residual with its correlation, and gives its image with the correlation of that.
        """
        n = len(d)
        order = np.argpartition(-d, self.most)[: self.most + 1] if self.most < n else np.arange(n)
        order = order[np.argsort(-d[order])]
        background = float(d[order[-1]])
        chosen: Index = order[:-1][d[order[:-1]] > max(10 * background, _FALLEN * d[order[0]])]
        rest = (float(d.sum()) - float(d[chosen].sum())) / n
        beta = max(self.mean_eigenvalue * rest, 1e-14 * self.mean_eigenvalue * float(d.max()))
        if len(chosen) == 0:
            return lambda r, correlation: (
                r / beta,
                correlation / beta if self.carried else self.operator.rmatvec(r / beta),
            )
        self._learn(chosen[~self.known.inside[chosen]])
        positions = self.known.positions_of(chosen)
        core = self.known.gram[np.ix_(positions, positions)] + np.diag(beta / d[chosen])
        factor = la.cho_factor(core, lower=True, check_finite=False)
        columns = self.known.columns[:, positions]

        def apply(r: Vector, correlation: Vector) -> tuple[Vector, Vector]:
            inner = la.cho_solve(factor, np.asarray(columns.T @ r), check_finite=False)
            shaped = np.asarray((r - columns @ inner) / beta)
            if not self.carried:
                return shaped, self.operator.rmatvec(shaped)
            return shaped, np.asarray((correlation - self.correlations[:, positions] @ inner) / beta)

        return apply

    def _learn(self, new: Index) -> None:
        """Ask for more columns, and for their correlations if these are carried."""
        if len(new) == 0:
            return
        known = len(self.known)
        self.known.extend(new)
        if self.carried:
            block = dense(self.known.columns[:, known:])
            self.correlations = np.column_stack([self.correlations, self.operator.rmatmat(block)])

"""The linear systems ``A D A^T`` of the limit solver: one factorisation each, or products only."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Protocol

import numpy as np
import scipy.linalg as la

from hadaflow._types import Vector
from hadaflow._validation import norm
from hadaflow.groups import Metric
from hadaflow.operators import Operator
from hadaflow.operators.block import Columns, columns_scaled, dense, is_sparse, row_gram
from hadaflow.solvers.newton.krylov import KrylovEquations

_EPS = float(np.finfo(np.float64).eps)
_RANK_TOLERANCE = 1e-12
_TURNING = 1e-3  # excess of a group, relative to the rest: below, it matters to refinement alone
_REFINED = 4
_ASSEMBLED = 700  # rows of all columns together, up to which their system is formed as it is
MOST_ASSEMBLED = 3000  # the same where nothing else will do
LARGEST_FACTOR = 5000  # rows up to which m x m factorisations are the better way
LARGEST_COPY = 25_000_000  # entries up to which an A that is not at hand is turned into a matrix for them

Solve = Callable[[Vector], Vector]


class NormalEquations(Protocol):
    """What the limit solver asks of A. Dual vectors may live in a reduced space; ``lift`` brings them back.

    Attributes
    ----------
    factored : bool
        Whether the columns of A are at hand and systems are factored.
    """

    factored: bool

    def forward(self, x: Vector) -> Vector:
        """A x."""

    def backward(self, nu: Vector) -> Vector:
        """A^T nu."""

    def system(self, metric: Metric) -> Solve:
        """A function that takes a right-hand side to the v with ``A D A^T v = rhs``, D > 0."""

    def project(self, y: Vector) -> tuple[Vector, bool]:
        """y as a right-hand side within the range of A, and whether that changed it."""

    def zero_dual(self) -> Vector:
        """nu = 0."""

    def lift(self, nu: Vector) -> Vector:
        """nu as a vector of shape (m,)."""


def normal_equations(operator: Operator, data_rounding: float) -> NormalEquations:
    """Factorisations where the number of rows allows it, conjugate gradients otherwise."""
    k = operator.repeats
    n = operator.shape[1] // k
    if factorable(operator):
        columns = operator.base_columns(np.arange(n))
        return FactoredEquations(columns, data_rounding) if k == 1 else RepeatedEquations(columns, k, data_rounding)
    return KrylovEquations(operator)


def factorable(operator: Operator) -> bool:
    """Whether all columns may be asked for, and systems of so many rows factored."""
    k = operator.repeats
    m, n = operator.shape[0] // k, operator.shape[1] // k
    return m <= LARGEST_FACTOR and (operator.costs.cheap_columns or m * n <= LARGEST_COPY)


class FactoredEquations:
    """Dense Cholesky factorisations of ``A diag(d) A^T``.

    Where the rows of A are dependent, or nearly, A is replaced by an orthonormal basis of its row space: with
    ``A[rows] = L Q^T``, the equations ``A x = y`` become ``Q^T x = w``, w the least-squares solution of ``L w = y``.
    """

    factored = True

    def __init__(self, columns: Columns, data_rounding: float = 0.0) -> None:
        self.columns: Columns = columns if is_sparse(columns) else np.ascontiguousarray(columns)
        self.rows: _RowSpace | None = None
        if not _independent_rows(self.columns):
            self.rows = _RowSpace(dense(columns), data_rounding)
            self.columns = self.rows.basis

    def forward(self, x: Vector) -> Vector:
        return np.asarray(self.columns @ x)

    def backward(self, nu: Vector) -> Vector:
        return np.asarray(self.columns.T @ nu)

    def system(self, metric: Metric) -> Solve:
        if self.columns.shape[0] == 0:
            return np.array
        return _Definite(metric.gram(self.columns)).solve

    def project(self, y: Vector) -> tuple[Vector, bool]:
        return (y, False) if self.rows is None else self.rows.project(y)

    def zero_dual(self) -> Vector:
        return np.zeros(self.columns.shape[0])

    def lift(self, nu: Vector) -> Vector:
        return nu if self.rows is None else self.rows.lift(nu)


class _Definite:
    """Cholesky factorisation of a positive matrix, which may be singular to rounding."""

    def __init__(self, matrix: Vector) -> None:
        # Rows are brought to unit size; a touch on the diagonal keeps the factorisation alive near convergence,
        # where the matrix may be singular to rounding, and the refinement takes its effect out again.
        scale = 1 / np.sqrt(matrix.diagonal())
        matrix *= scale
        matrix *= scale[:, None]
        damped = matrix.copy()
        for touch in (_EPS, 1e-14, 1e-12, 1e-10, 1e-8, 1.0):
            damped[np.diag_indices(len(matrix))] = matrix.diagonal() + touch
            factor, failed = la.lapack.dpotrf(damped, lower=1, clean=0)
            if not failed:
                break
        self._matrix, self._factor, self._scale = matrix, factor, scale

    def solve(self, rhs: Vector) -> Vector:
        """For a right-hand side, or columns of them."""
        scale = self._scale if rhs.ndim == 1 else self._scale[:, None]
        solution = la.lapack.dpotrs(self._factor, scale * rhs, lower=1)[0]
        left = scale * rhs - self._matrix @ solution
        return np.asarray(scale * (solution + la.lapack.dpotrs(self._factor, left, lower=1)[0]))


class RepeatedEquations:
    """The same for ``A (x) I_k``, in systems of the size of A: groups are whole rows of X.

    ``A D A^T = K (x) I + sum_g excess_g a_g a_g^T`` with ``K = A diag(tangential) A^T`` and ``a_g = A_g e_g``, which
    are matrices of shape (m, k): so one system of m rows, and one of all groups that turn slowly.
    """

    factored = False

    def __init__(
        self, columns: Columns, repeats: int, data_rounding: float = 0.0, most_assembled: int = _ASSEMBLED
    ) -> None:
        self.most_assembled = most_assembled
        self.one, self.repeats = FactoredEquations(dense(columns), data_rounding), repeats
        self.columns = self.one.columns

    def forward(self, x: Vector) -> Vector:
        return np.asarray(self.columns @ x.reshape(-1, self.repeats)).ravel()

    def backward(self, nu: Vector) -> Vector:
        return np.asarray(self.columns.T @ nu.reshape(-1, self.repeats)).ravel()

    def system(self, metric: Metric) -> Solve:
        if self.columns.shape[0] == 0:
            return np.array
        k, groups = self.repeats, metric.groups
        if self.columns.shape[0] * k <= self.most_assembled and not groups.single:
            return _Definite(self._assembled(metric)).solve
        rows = groups.rows(k)
        base = _Definite(row_gram(columns_scaled(self.columns, np.sqrt(groups.spread(metric.tangential)[::k]))))
        excess = metric.radial - metric.tangential
        slow = np.flatnonzero(excess > _TURNING * metric.tangential)
        if len(slow) == 0 or groups.single:
            return lambda rhs: np.ascontiguousarray(base.solve(rhs.reshape(-1, k))).ravel()
        e = np.asarray(metric.direction).reshape(-1, k)
        solved = base.solve(self.columns)
        inner = (self.columns.T @ solved) * (e @ e.T)
        core = np.asarray(rows.sums(rows.sums(inner).T))[np.ix_(slow, slow)] + np.diag(1 / excess[slow])
        small = _Definite(core)

        def once(f: Vector) -> Vector:
            v = base.solve(f.reshape(-1, k))
            q = np.zeros(len(excess))
            q[slow] = small.solve(groups.along(self.backward(v), e.ravel())[slow])
            return np.asarray(v - solved @ (e * np.reshape(groups.spread(q), (-1, k)))).ravel()

        def refined(rhs: Vector) -> Vector:
            v, left = once(rhs), rhs
            for _ in range(_REFINED):
                rest = rhs - self.forward(metric.times(self.backward(v)))
                if not norm(rest) < 0.5 * norm(left):
                    break
                v, left = v + once(rest), rest
            return v

        return refined

    def _assembled(self, metric: Metric) -> Vector:
        """``A D A^T`` of the size of all columns together: slower, and exact where D spans many decades."""
        k, groups = self.repeats, metric.groups
        m = self.columns.shape[0]
        base = row_gram(columns_scaled(self.columns, np.sqrt(groups.spread(metric.tangential)[::k])))
        matrix: Any = np.zeros((m, k, m, k))
        for j in range(k):
            matrix[:, j, :, j] = base
        e = np.asarray(metric.direction).reshape(-1, k)
        images = np.hstack([self.columns.T * e[:, [j]] for j in range(k)]).reshape(len(e), -1)
        excess = np.sqrt(np.maximum(metric.radial - metric.tangential, 0.0))
        bars: Any = (np.asarray(groups.rows(k).sums(images)) * excess[:, None]).reshape(-1, k, m)
        bars = np.ascontiguousarray(bars.transpose(2, 1, 0)).reshape(m * k, -1)
        return np.asarray(matrix.reshape(m * k, m * k) + bars @ bars.T)

    def project(self, y: Vector) -> tuple[Vector, bool]:
        found = [self.one.project(column) for column in y.reshape(-1, self.repeats).T]
        return np.column_stack([w for w, _ in found]).ravel(), any(foreign for _, foreign in found)

    def zero_dual(self) -> Vector:
        return np.zeros(self.columns.shape[0] * self.repeats)

    def lift(self, nu: Vector) -> Vector:
        return np.column_stack([self.one.lift(column) for column in nu.reshape(-1, self.repeats).T]).ravel()


class _RowSpace:
    """A = L Q^T on a permutation of the rows, Q^T the basis of the row space, L lower trapezoidal of full rank."""

    def __init__(self, matrix: Vector, data_rounding: float) -> None:
        q, r, self.order = la.qr(matrix.T, mode="economic", pivoting=True, check_finite=False)
        pivots = np.abs(r.diagonal())
        rank = int(np.count_nonzero(pivots > max(_RANK_TOLERANCE, 10 * data_rounding) * pivots.max(initial=0.0)))
        self.basis = np.ascontiguousarray(q[:, :rank].T)
        self.basis[:, ~matrix.any(axis=0)] = 0.0  # rounding must not make zero columns useful
        self.foreign = max(1e-9, 100 * data_rounding)  # fraction of y outside the range of A that is more than rounding
        self.lower = r[:rank].T

    def project(self, y: Vector) -> tuple[Vector, bool]:
        ordered = y[self.order]
        if self.lower.shape[1] == 0:
            return np.empty(0), bool(y.any())
        w = np.asarray(la.lstsq(self.lower, ordered, check_finite=False)[0])
        return w, norm(ordered - self.lower @ w) > self.foreign * norm(y)

    def lift(self, nu: Vector) -> Vector:
        """The shortest vector with the same A^T nu, of shape (m,)."""
        full = np.zeros(len(self.order))
        if len(nu):
            full[self.order] = la.lstsq(self.lower.T, nu, check_finite=False)[0]
        return full


def _independent_rows(columns: Columns) -> bool:
    """Whether the rows, brought to unit length, have a well-conditioned Gram matrix."""
    gram = row_gram(columns)
    length = np.sqrt(gram.diagonal())
    if not length.all():
        return False
    unit = gram / length / length[:, None]
    unit[np.diag_indices(len(unit))] -= 1e-14 * len(unit)
    return bool(la.lapack.dpotrf(unit, lower=1, clean=0, overwrite_a=1)[1] == 0)

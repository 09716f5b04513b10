"""Least squares on a few columns: the one place where their normal equations or triangular factors are formed."""

from __future__ import annotations

import numpy as np
import scipy.linalg as la

from hadaflow._types import Vector
from hadaflow._validation import norm, power_of_two
from hadaflow.operators.block import Columns, dense, gram_of, lengths_of

_EPS = float(np.finfo(np.float64).eps)
_REFINEMENTS = 3
_SAFE = 1e-4  # smallest pivot, for columns of unit length, at which normal equations lose no digits that matter


class Span:
    """The span of k columns, with least squares and dual systems on it.

    Columns are brought to unit length first, so that their units do not matter. Where their Gram matrix is well
    conditioned its Cholesky factor serves. Else an orthogonal factorisation does, of rows sorted by size and with
    pivoting: that is stable row by row even if some rows are many orders of magnitude longer than others. Columns that
    depend on the others to rounding get coefficient 0.

    Parameters
    ----------
    columns : ndarray or sparse array of shape (m, k)
        The columns.
    gram : ndarray of shape (k, k), optional
        Their inner products, if known.

    Notes
    -----
    ``m k^2`` operations (``2 m k^2`` for the orthogonal factorisation).
    """

    def __init__(self, columns: Columns, gram: Vector | None = None) -> None:
        self.columns = columns
        m, k = columns.shape
        if gram is None:
            gram = gram_of(columns) if k <= m else None
        with np.errstate(invalid="ignore", over="ignore"):
            lengths = lengths_of(columns) if gram is None else np.sqrt(gram.diagonal())
        self.lengths = np.where(lengths > 0, lengths, 1.0)
        self.q: Vector | None = None
        self.order = np.arange(k)
        self.r, failed = np.empty((0, 0)), 1
        if gram is not None:
            self.r, failed = la.lapack.dpotrf(gram / self.lengths / self.lengths[:, None], lower=0)
        if failed or not self.well_conditioned:
            self._orthogonalise()

    @property
    def well_conditioned(self) -> bool:
        """Whether normal equations are good enough."""
        return len(self.r) == len(self.lengths) and bool(np.abs(self.r.diagonal()).min(initial=1.0) > _SAFE)

    @property
    def rank(self) -> int:
        """How many of the columns are independent, to rounding."""
        return len(self.order)

    def _orthogonalise(self) -> None:
        scaled = dense(self.columns) / self.lengths
        rows = np.argsort(-np.abs(scaled).max(axis=1, initial=0.0), kind="stable")
        q, r, order = la.qr(scaled[rows], mode="economic", pivoting=True, check_finite=False)
        pivots = np.abs(r.diagonal())
        rank = int(np.count_nonzero(pivots > 4 * _EPS * len(order) * pivots.max(initial=0.0)))
        self.q = np.empty((len(rows), rank))
        self.q[rows] = q[:, :rank]
        self.r, self.order = r[:rank, :rank], order[:rank]

    def least_squares(self, y: Vector, guess: Vector) -> Vector:
        """``argmin ||columns b - y||``, refined from a guess."""
        b, residual = guess, y - self.columns @ guess
        for _ in range(_REFINEMENTS if len(guess) else 0):
            trial = b + self._coefficients(residual)
            rest = y - self.columns @ trial
            if not norm(rest) < norm(residual):
                break
            b, residual = trial, rest
        return b

    def dual_with(self, target: Vector) -> Vector:
        """The shortest nu with ``columns.T @ nu = target``."""
        nu, missing = np.zeros(self.columns.shape[0]), target
        for _ in range(_REFINEMENTS if len(target) else 0):
            trial = nu + self._shortest(missing)
            rest = target - np.asarray(self.columns.T @ trial)
            if not norm(rest / self.lengths) < norm(missing / self.lengths):
                break
            nu, missing = trial, rest
        return nu

    def project_out(self, r: Vector) -> Vector:
        """What of r is orthogonal to the columns.

        The last step takes out what rounding left of the products themselves. Of rows much longer than others the
        result then has digits of its own, not those that the largest entry leaves it.
        """
        if len(self.lengths) == 0:
            return r
        for _ in range(2):
            fitted = self.columns @ self._coefficients(r) if self.q is None else self.q @ (self.q.T @ r)
            r = r - fitted
        return r - self.dual_with(np.asarray(self.columns.T @ r))

    def _coefficients(self, r: Vector) -> Vector:
        if self.q is None:
            correlation = np.asarray(self.columns.T @ r) / self.lengths
            return np.asarray(la.lapack.dpotrs(self.r, correlation, lower=0)[0] / self.lengths)
        b = np.zeros(len(self.lengths))
        if self.rank:
            b[self.order] = la.lapack.dtrtrs(self.r, self.q.T @ r)[0] / self.lengths[self.order]
        return b

    def _shortest(self, target: Vector) -> Vector:
        unit = target / self.lengths
        if self.q is None:
            return np.asarray(self.columns @ (la.lapack.dpotrs(self.r, unit, lower=0)[0] / self.lengths))
        if not self.rank:
            return np.zeros(self.columns.shape[0])
        return np.asarray(self.q @ la.lapack.dtrtrs(self.r, unit[self.order], trans=1)[0])


def fitted(columns: Columns, y: Vector) -> Vector:
    """The shortest b that minimises ``||columns b - y||``, in the units of the columns as they are."""
    unit = power_of_two(norm(y))  # the square of y may be beyond all numbers
    return np.asarray(la.lstsq(dense(columns), y / unit, check_finite=False)[0] * unit)


def shortest_dual(columns: Vector, lengths: Vector, target: Vector) -> Vector:
    """The shortest nu with ``columns.T @ nu = target``, for columns of any ``lengths``; infinite if beyond all numbers.

    Dependent columns have their targets met in the least-squares sense, relative to their lengths.
    """
    least = float(lengths.min())
    with np.errstate(over="ignore"):  # target / lengths may be out of range, and so may nu
        return np.asarray(la.lstsq((columns / lengths).T, target * (least / lengths), check_finite=False)[0] / least)

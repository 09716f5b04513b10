"""Least squares on a support inside a pool of columns, updated as the support changes."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import scipy.linalg as la

from hadaflow._types import Index, Vector
from hadaflow.operators import Operator
from hadaflow.solvers.working_set import WorkingSet

_CLOSE = 1e-7  # of its square length left: from here on squares of the condition cost too many digits
_SLAB = 1 << 22  # entries of columns at a time
_ROUNDED = 4.0  # times the rounding of the columns of a combination: what is left of a dependent one


class Pool:
    """Columns of A with their Gram matrix and their products with y.

    Attributes
    ----------
    working : WorkingSet
        The columns.
    pull : ndarray of shape (w,)
        ``A_i^T y`` of each.
    square : float
        ``||y||^2``.
    floor : float
        Residual sums of squares below it are rounding.
    rounding : ndarray of shape (n,)
        Length of what rounding may have added to each column of A.
    """

    def __init__(self, operator: Operator, y: Vector, pull: Vector, rounding: Vector) -> None:
        self.working = WorkingSet(operator)
        self.y, self._pull, self.rounding = y, pull, rounding
        self.square = float(y @ y)
        smallest = float(np.finfo(operator.dtype).eps)
        self.floor = max(1e-13, smallest**2) * self.square or 1e-300  # y = 0: any number will do

    def extend(self, coordinates: Index) -> None:
        """Let these coordinates in."""
        new = coordinates[~self.working.inside[coordinates]]
        self.working.extend(new)

    @property
    def gram(self) -> Vector:
        return self.working.gram

    @property
    def pull(self) -> Vector:
        return np.asarray(self._pull[self.working.index])

    def fit(self, positions: Index) -> Fit:
        """Least squares on some of them; the first of dependent columns stay."""
        if len(positions) == 0:
            return Fit(np.empty(0, dtype=np.intp), np.empty((0, 0)), np.empty(0), max(self.square, self.floor))
        gram = self.gram[np.ix_(positions, positions)]
        r, failed = la.lapack.dpotrf(gram, lower=0)
        if failed != 0 or (np.abs(r.diagonal()) ** 2 <= _CLOSE * gram.diagonal()).any():
            return self._factorised(positions)
        inverse = la.lapack.dpotri(r, lower=0)[0]
        return self._solved(positions, np.triu(inverse) + np.triu(inverse, 1).T)

    def grown(self, fit: Fit, j: int) -> Fit:
        """With position j besides."""
        k = self.gram[fit.positions, j]
        t = fit.inverse @ k
        e = self.gram[j, j] - k @ t
        if fit.basis is not None or e <= _CLOSE * self.gram[j, j]:
            return self.fit(np.append(fit.positions, j))
        s = len(t)
        inverse = np.empty((s + 1, s + 1))
        inverse[:s, :s] = fit.inverse + np.outer(t, t / e)
        inverse[:s, s] = inverse[s, :s] = -t / e
        inverse[s, s] = 1 / e
        return self._solved(np.append(fit.positions, j), inverse)

    def shrunk(self, fit: Fit, i: int) -> Fit:
        """Without the i-th of its support."""
        kept = np.arange(len(fit)) != i
        if fit.basis is not None:
            return self.fit(fit.positions[kept])
        h = fit.inverse[i]
        inverse = fit.inverse - np.outer(h, h / h[i])
        return self._solved(fit.positions[kept], inverse[np.ix_(kept, kept)])

    def columns(self, positions: Index) -> Vector:
        """Some of the columns, dense."""
        return _dense(self.working.columns[:, positions])

    def residual(self, fit: Fit) -> Vector:
        """``y - A x``."""
        return np.asarray(self.y - self.columns(fit.positions) @ fit.values)

    def _solved(self, positions: Index, inverse: Vector) -> Fit:
        pull = self.pull[positions]
        values = inverse @ pull
        return Fit(positions, inverse, values, max(self.square - float(values @ pull), self.floor))

    def _factorised(self, positions: Index) -> Fit:
        """By orthogonal factors: an error that grows with the condition of the columns, not with its square."""
        rounding = self.rounding[self.working.index[positions]]
        q, r, kept = independent(self.columns(positions), rounding)
        factor = la.solve_triangular(r, np.eye(len(r)), check_finite=False)
        values = factor @ (q.T @ self.y)
        fit = Fit(positions[kept], factor @ factor.T, values, self.floor, q, factor)
        left = self.residual(fit)
        values = values + factor @ (q.T @ left)
        fit = replace(fit, values=values)
        left = self.residual(fit)
        return replace(fit, rss=max(float(left @ left), self.floor))


def independent(columns: Vector, rounding: Vector) -> tuple[Vector, Vector, Index]:
    """QR factors of the columns without those that earlier ones explain to rounding, and which columns these are."""
    kept = np.arange(columns.shape[1])[: columns.shape[0]]
    while True:
        q, r = la.qr(columns[:, kept], mode="economic", check_finite=False)
        for j in range(len(kept)):
            share = la.solve_triangular(r[:j, :j], r[:j, j], check_finite=False)
            if abs(r[j, j]) <= _ROUNDED * (rounding[kept[j]] + np.abs(share) @ rounding[kept[:j]]):
                kept = np.delete(kept, j)
                break
        else:
            return q, r, kept


@dataclass(frozen=True, eq=False)
class Fit:
    """Least squares on the columns at ``positions`` of a pool.

    Attributes
    ----------
    positions : int array of shape (k,)
        Which, in the order they came.
    inverse : ndarray of shape (k, k)
        Inverse of their Gram matrix.
    values : ndarray of shape (k,)
        The solution.
    rss : float
        ``||A x - y||^2``.
    basis, factor : ndarray of shape (m, k) and (k, k), or None
        Q and the inverse of R of nearly dependent columns ``Q R``; None where the Gram matrix has digits enough.
    """

    positions: Index
    inverse: Vector
    values: Vector
    rss: float
    basis: Vector | None = None
    factor: Vector | None = None

    def __len__(self) -> int:
        return len(self.positions)


@dataclass(frozen=True, eq=False)
class Candidates:
    """What w columns are beside the k of a fit.

    Attributes
    ----------
    share : ndarray of shape (w, k)
        Coefficients of each of them in the columns of the fit.
    squares, left : ndarray of shape (w,)
        Square lengths, and what of them the fit does not explain: 0 where that is rounding.
    pulled : ndarray of shape (w,)
        Inner products with the residual.
    """

    share: Vector
    squares: Vector
    left: Vector
    pulled: Vector

    @classmethod
    def of(
        cls, pool: Pool, fit: Fit, operator: Operator | None, squares: Vector, pull: Vector, rounding: Vector
    ) -> Candidates:
        """All columns of an operator, or those of the pool where there is none."""
        if fit.basis is None or fit.factor is None:
            if operator is None:
                cross = pool.gram[:, fit.positions]
            else:
                cross = operator.rmatmat(pool.columns(fit.positions)) if len(fit) else np.empty((len(squares), 0))
            share = cross @ fit.inverse
            left = squares - np.einsum("ij,ij->i", share, cross)
            pulled = pull - cross @ fit.values
        else:
            block = np.column_stack([fit.basis, pool.residual(fit)])
            cross = _dense(pool.working.columns.T @ block) if operator is None else operator.rmatmat(block)
            cross, pulled = cross[:, :-1], cross[:, -1].copy()
            share, left = cross @ fit.factor.T, squares - (cross**2).sum(axis=1)
        found = cls(share, squares, left, pulled)
        near = (left <= _CLOSE * squares) & (squares > 0)
        near[fit.positions if operator is None else pool.working.index[fit.positions]] = False
        close = np.flatnonzero(near)
        if len(close) and len(fit):
            found._look(pool, fit, operator, close, rounding)
        return found

    def _look(self, pool: Pool, fit: Fit, operator: Operator | None, close: Index, rounding: Vector) -> None:
        """Look at the columns themselves where the difference of squares has lost its digits."""
        basis = fit.basis
        if basis is None:
            basis = la.qr(pool.columns(fit.positions), mode="economic", check_finite=False)[0]
        residual, own = pool.residual(fit), pool.rounding[pool.working.index[fit.positions]]
        step = max(1, _SLAB // len(residual))
        for few in (close[i : i + step] for i in range(0, len(close), step)):
            columns = pool.columns(few) if operator is None else _dense(operator.columns(few))
            for _ in range(2):
                columns = columns - basis @ (basis.T @ columns)
            left = (columns**2).sum(axis=0)
            least = _ROUNDED * (rounding[few] + np.abs(self.share[few]) @ own)
            self.left[few] = np.where(left > least**2, left, 0.0)
            self.pulled[few] = residual @ columns


@dataclass(frozen=True, eq=False)
class Moves:
    """What adding, dropping or exchanging one column does to the residual sum of squares of a fit.

    Attributes
    ----------
    added : ndarray of shape (w,)
        Change of the sum on adding each column.
    dropped : ndarray of shape (k,)
        Change on dropping each of the support.
    exchanged : ndarray of shape (w, k)
        Change on adding a column after dropping one.

    Infinite where the column is inside already or dependent on the support, or a sign constraint would be broken.
    """

    added: Vector
    dropped: Vector
    exchanged: Vector

    @classmethod
    def of(cls, fit: Fit, candidates: Candidates, inside: Index, positive: bool) -> Moves:
        """For these candidates; ``inside`` are those that the fit has already."""
        solved, squares, left, pulled = candidates.share, candidates.squares, candidates.left, candidates.pulled
        spread = fit.inverse.diagonal()
        share = fit.values / spread
        wider = left[:, None] + solved**2 / spread
        further = pulled[:, None] + solved * share
        value, other = _entered(pulled, left, squares, 0.0), _entered(further, wider, squares[:, None], _CLOSE)
        value[inside], other[inside] = np.nan, np.nan
        dropped = fit.values * share
        added, exchanged = -(value * pulled), dropped - other * further
        if positive:
            added[~((value > 0) & (fit.values - solved * value[:, None] > 0).all(axis=1))] = np.inf
            for i in range(len(fit)):
                kept = np.arange(len(fit)) != i
                ratio = fit.inverse[i, kept] / spread[i]
                rest = fit.values[kept] - ratio * fit.values[i]
                shift = (solved[:, kept] - np.outer(solved[:, i], ratio)) * other[:, i, None]
                exchanged[~((other[:, i] > 0) & (rest - shift > 0).all(axis=1)), i] = np.inf
                dropped[i] = dropped[i] if (rest > 0).all() else np.inf
        return cls(_allowed(added), dropped, _allowed(exchanged))


def _allowed(change: Vector) -> Vector:
    return np.where(np.isnan(change), np.inf, change)


def _entered(pulled: Vector, left: Vector, squares: Vector, least: float) -> Vector:
    """Coefficients with which columns would come in; NaN for dependent ones."""
    free = (left > least * squares) & (squares > 0)
    return np.asarray(np.divide(pulled, left, out=np.full_like(pulled, np.nan), where=free))


def _dense(columns: Any) -> Vector:
    return np.asarray(columns.toarray() if hasattr(columns, "toarray") else columns)

"""Least squares on a support inside a pool of columns, updated as the support changes."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import scipy.linalg as la
from numpy.typing import NDArray

from hadaflow._validation import Index
from hadaflow.dynamics._working_set import WorkingSet
from hadaflow.operators import Operator

Vector = NDArray[np.float64]

_DEPENDENT = 1e-7  # of its square length left: a column that the support already spans


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
    """

    def __init__(self, operator: Operator, y: Vector, pull: Vector) -> None:
        self.working = WorkingSet(operator)
        self.y, self._pull = y, pull
        self.square = float(y @ y)
        rounding = float(np.finfo(operator.dtype).eps)
        self.floor = max(1e-13, rounding**2) * self.square or 1e-300  # y = 0: any number will do

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
        kept = positions
        while len(kept):
            gram = self.gram[np.ix_(kept, kept)]
            r, failed = la.lapack.dpotrf(gram, lower=0)
            left = np.abs(r.diagonal()) ** 2 / gram.diagonal()
            weak = failed - 1 if failed > 0 else int(left.argmin())
            if failed <= 0 and left[weak] > _DEPENDENT:
                inverse = la.lapack.dpotri(r, lower=0)[0]
                inverse = np.triu(inverse) + np.triu(inverse, 1).T
                return self._solved(kept, inverse)
            kept = np.delete(kept, weak)
        return Fit(np.empty(0, dtype=np.intp), np.empty((0, 0)), np.empty(0), max(self.square, self.floor))

    def grown(self, fit: Fit, j: int) -> Fit:
        """With position j besides."""
        k = self.gram[fit.positions, j]
        t = fit.inverse @ k
        e = self.gram[j, j] - k @ t
        s = len(t)
        inverse = np.empty((s + 1, s + 1))
        inverse[:s, :s] = fit.inverse + np.outer(t, t / e)
        inverse[:s, s] = inverse[s, :s] = -t / e
        inverse[s, s] = 1 / e
        return self._solved(np.append(fit.positions, j), inverse)

    def shrunk(self, fit: Fit, i: int) -> Fit:
        """Without the i-th of its support."""
        h = fit.inverse[i]
        inverse = fit.inverse - np.outer(h, h / h[i])
        kept = np.arange(len(h)) != i
        return self._solved(fit.positions[kept], inverse[np.ix_(kept, kept)])

    def _solved(self, positions: Index, inverse: Vector) -> Fit:
        pull = self.pull[positions]
        values = inverse @ pull
        return Fit(positions, inverse, values, max(self.square - float(values @ pull), self.floor))


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
    """

    positions: Index
    inverse: Vector
    values: Vector
    rss: float

    def __len__(self) -> int:
        return len(self.positions)


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
    def of(cls, fit: Fit, cross: Vector, squares: Vector, pull: Vector, inside: Index, positive: bool) -> Moves:
        """For candidates with Gram block ``cross`` (w, k) towards the support and ``squares``, ``pull`` (w,)."""
        solved = cross @ fit.inverse
        left = squares - np.einsum("ij,ij->i", solved, cross)
        pulled = pull - cross @ fit.values
        spread = fit.inverse.diagonal()
        share = fit.values / spread
        wider = left[:, None] + solved**2 / spread
        further = pulled[:, None] + solved * share
        value, other = _entered(pulled, left, squares), _entered(further, wider, squares[:, None])
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


def _entered(pulled: Vector, left: Vector, squares: Vector) -> Vector:
    """Coefficients with which columns would come in; NaN for dependent ones."""
    free = (left > _DEPENDENT * squares) & (squares > 0)
    return np.asarray(np.divide(pulled, left, out=np.full_like(pulled, np.nan), where=free))

"""Columns of one matrix on many supports side by side, so that many small systems are solved in a few products."""

from __future__ import annotations

from functools import cached_property

import numpy as np

from hadaflow._types import Index, Mask, Vector

_REFINEMENTS = 2
_NO_PIVOT = 1e-300  # in place of 0, which would be an error for all


class Supports:
    """The columns on the support of each of K vectors; shorter supports are filled up with zero columns.

    Parameters
    ----------
    rows : ndarray of shape (n, m)
        The columns of A, one after the other, brought to unit length.
    masks : bool array of shape (K, n)
        Which of them belong to each support.
    """

    def __init__(self, rows: Vector, masks: Mask) -> None:
        counts = masks.sum(axis=1)
        self.masks = masks
        self.inside: Mask = np.arange(max(1, int(counts.max(initial=0)))) < counts[:, None]
        self.index: Index = np.zeros(self.inside.shape, dtype=np.intp)
        self.index[self.inside] = np.nonzero(masks)[1]
        self.columns: Vector = rows[self.index]
        self.columns[~self.inside] = 0.0

    # ---- between vectors and supports ----------------------------------------------------------------------

    def take(self, z: Vector) -> Vector:
        """Entries of vectors, shape (K, n) or (n,), on the supports; 0 where these are filled up."""
        taken = z[self.index] if z.ndim == 1 else np.take_along_axis(z, self.index, axis=1)
        return np.where(self.inside, taken, 0.0)

    def put(self, values: Vector) -> Vector:
        """Vectors of shape (K, n) with these entries on the supports."""
        z = np.zeros(self.masks.shape)
        z[self.masks] = values[self.inside]
        return z

    def combine(self, values: Vector) -> Vector:
        """Combinations of the columns, shape (K, m)."""
        return np.asarray(np.matmul(values[:, None, :], self.columns)[:, 0])

    def correlate(self, r: Vector) -> Vector:
        """Inner products of the columns with vectors of shape (K, m)."""
        return np.asarray(np.matmul(self.columns, r[:, :, None])[:, :, 0])

    # ---- systems -------------------------------------------------------------------------------------------

    @cached_property
    def _inverses(self) -> Vector:
        """Inverses of the Gram matrices, which are filled up with ones on the diagonal; zero where there is none."""
        gram = np.matmul(self.columns, self.columns.transpose(0, 2, 1))
        places = np.arange(gram.shape[1])
        gram[:, places, places] = np.where(self.inside, gram[:, places, places], 1.0)
        try:
            return np.asarray(np.linalg.inv(gram), dtype=np.float64)
        except np.linalg.LinAlgError:  # of one at least: then each by itself
            return np.array([_inverse(each) for each in gram])

    @cached_property
    def smallest(self) -> Vector:
        """A lower bound on the smallest eigenvalue of each Gram matrix, shape (K,)."""
        size = np.abs(self._inverses).sum(axis=1).max(axis=1)
        return np.asarray(np.divide(1.0, size, out=np.zeros_like(size), where=size > 0))

    def _solved(self, target: Vector) -> Vector:
        return np.where(self.inside, np.matmul(self._inverses, target[:, :, None])[:, :, 0], 0.0)

    def least_squares(self, y: Vector) -> Vector:
        """Coefficients of least squares on the columns, from their normal equations, refined."""
        values = self._solved(self.correlate(y))
        for _ in range(_REFINEMENTS):
            values = values + self._solved(self.correlate(y - self.combine(values)))
        return values

    def moved_to(self, nu: Vector, target: Vector) -> Vector:
        """The vectors nearest to nu, shape (K, m), whose products with the columns are ``target``."""
        for _ in range(_REFINEMENTS):
            nu = nu + self.combine(self._solved(np.where(self.inside, target - self.correlate(nu), 0.0)))
        return nu

    @cached_property
    def _triangular(self) -> tuple[Vector, Vector]:
        """Orthogonal factors of the columns, at most m of each, shapes (K, m, S) and (K, S, S)."""
        q, r = np.linalg.qr(self.columns.transpose(0, 2, 1))
        q *= self.inside[:, None, :]
        places = np.arange(r.shape[1])
        pivots = np.where(self.inside, r[:, places, places], 1.0)
        r[:, places, places] = np.where(pivots == 0, _NO_PIVOT, pivots)
        return q, r

    @property
    def smallest_pivot(self) -> Vector:
        """How near to dependent the columns of each support are: the smallest pivot of their orthogonal factors."""
        pivots: Vector = np.abs(np.diagonal(self._triangular[1], axis1=1, axis2=2))
        return np.asarray(pivots.min(axis=1))

    def project_out(self, r: Vector) -> Vector:
        """What of r is orthogonal to the columns, each projected out to its last digits; and what was taken out."""
        q, _ = self._triangular
        for _ in range(_REFINEMENTS):
            r = r - np.matmul(q, np.matmul(q.transpose(0, 2, 1), r[:, :, None]))[:, :, 0]
        return r - self._shortest(self.correlate(r))

    def fitted(self, y: Vector) -> Vector:
        """Coefficients of least squares on the columns by orthogonal factors, refined once."""
        q, r = self._triangular
        values = np.zeros(self.inside.shape)
        for _ in range(_REFINEMENTS):
            rest = np.matmul(q.transpose(0, 2, 1), (y - self.combine(values))[:, :, None])
            values = values + np.where(self.inside, np.linalg.solve(r, rest)[:, :, 0], 0.0)
        return values

    def shortest_dual(self, target: Vector) -> Vector:
        """The shortest vectors whose products with the columns are ``target``, by orthogonal factors, refined once."""
        nu = self._shortest(target)
        return nu + self._shortest(np.where(self.inside, target - self.correlate(nu), 0.0))

    def _shortest(self, target: Vector) -> Vector:
        q, r = self._triangular
        return np.asarray(np.matmul(q, np.linalg.solve(r.transpose(0, 2, 1), target[:, :, None]))[:, :, 0])


def _inverse(gram: Vector) -> Vector:
    try:
        return np.asarray(np.linalg.inv(gram), dtype=np.float64)
    except np.linalg.LinAlgError:
        return np.zeros_like(gram)


def alike_in_size(masks: Mask) -> list[Index]:
    """The vectors in parts whose supports have sizes of about the same: a power of 1.5, from 8 on."""
    counts = masks.sum(axis=1)
    size = np.ceil(np.log(np.maximum(counts, 8) / 8) / np.log(1.5))
    return [np.flatnonzero(size == each) for each in np.unique(size)]

"""A regression as a problem of the library: rows weighted, free columns projected out, nothing copied or densified."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import scipy.linalg as la

from hadaflow._types import Float, Index, Vector
from hadaflow.operators import Cancelled, Composed, Operator, as_operator
from hadaflow.operators.block import dense

_LOST = 1e-4  # of a square length left: too few of its digits
_SPANNED = 1e-24  # of a square length left: rounding, of a column that the directions taken out explain
_SLAB = 1 << 22  # entries of columns at a time
_DEPENDENT = 1e-10  # of the length left: a free column that the others span already


class Projected(Composed):
    """``(I - Q Q^T) diag(root) A`` through products with A: rows scaled, a few directions taken out.

    Parameters
    ----------
    operator : Operator
        A.
    root : ndarray of shape (m,) or None
        Square roots of the weights of the rows; None for ones.
    basis : ndarray of shape (m, q)
        Q, with orthonormal columns.

    Notes
    -----
    Columns of a matrix of which no more than rounding is left are zero here: a constant feature beside an intercept
    must not count, whatever its unit.
    """

    def __init__(self, operator: Operator, root: Vector | None, basis: Vector) -> None:
        super().__init__(operator)
        self._root, self._basis = root, basis
        self._present = np.ones(self.shape[1], dtype=bool)
        self._squares = self._measured()

    def before(self, x: Vector) -> Vector:
        return x if self._present.all() else x * self._present

    def before_adjoint(self, g: Vector) -> Vector:
        return np.where(self._present if g.ndim == 1 else self._present[:, None], g, 0.0)

    def after(self, r: Vector) -> Vector:
        return self.project(self._weighted(r))

    def after_adjoint(self, r: Vector) -> Vector:
        return self._weighted(self.project(r))

    def columns(self, index: Index) -> Any:
        columns = dense(self._operator.columns(index))  # a few at a time: what is projected is dense
        columns = np.asfortranarray(self.after(columns))
        columns[:, ~self._present[index]] = 0.0
        return columns

    def column_squares(self) -> Vector:
        return self._squares

    @property
    def size_bound(self) -> float:
        """Of columns that are known one by one already."""
        return super().size_bound if self.costs.matrix_free else float(np.sqrt(self._squares.max(initial=0.0)))

    @cached_property
    def row_lengths(self) -> Vector:
        """Those of the rows before anything was taken out: their rounding is relative to these."""
        return self._weighted(self._operator.row_lengths)

    def _measured(self) -> Vector:
        """``||A_i||^2 - ||Q^T A_i||^2``, and afresh where the difference has lost its digits."""
        if self.costs.matrix_free:
            return super().column_squares()
        whole = self._whole_squares()
        self.cancelled = Cancelled(np.sqrt(whole))
        left: Vector = whole - (self._operator.rmatmat(self._weighted(self._basis)) ** 2).sum(axis=1)
        lost = np.flatnonzero(left <= _LOST * whole)
        for few in self._slabs(lost):
            left[few] = (self.columns(few) ** 2).sum(axis=0)
        self._present = left > _SPANNED * whole
        return np.where(self._present, left, 0.0)

    def _whole_squares(self) -> Vector:
        """Of the columns before anything is taken out."""
        if self._root is None:
            return self._operator.column_squares()
        squares = np.empty(self.shape[1])
        for few in self._slabs(np.arange(self.shape[1])):
            columns = self._operator.columns(few)
            squares[few] = self._root**2 @ (columns * columns)
        return squares

    def _slabs(self, index: Index) -> list[Index]:
        step = max(1, _SLAB // self.shape[0])
        return [index[start : start + step] for start in range(0, len(index), step)]

    def project(self, r: Vector) -> Vector:
        """Without what the free columns explain."""
        return r - self._basis @ (self._basis.T @ r) if self._basis.shape[1] else r

    def _weighted(self, r: Vector) -> Vector:
        if self._root is None:
            return r
        return np.asarray(r * (self._root if r.ndim == 1 else self._root[:, None]))


@dataclass(frozen=True, eq=False)
class ColumnSplit:
    """What is penalised, and the directions that are free: the constant column and the columns of weight zero.

    Attributes
    ----------
    whole : Operator
        All columns.
    inner : Operator
        The penalised ones.
    penalised, free : int array
        Which columns are penalised, and which are not.
    intercept : bool
        Whether the constant column is there; it is the first of the directions.
    root : ndarray of shape (m,) or None
        Roots of the weights of the rows; None for ones.
    directions : ndarray of shape (m, q)
        ``W^(1/2) U``, what is free in weighted rows.
    basis : ndarray of shape (m, rank)
        An orthonormal basis of its span.
    independent : int array of shape (rank,)
        Directions of the same span, none of which the others explain.
    """

    whole: Operator
    inner: Operator
    penalised: Index
    free: Index
    intercept: bool
    root: Vector | None
    directions: Vector
    basis: Vector
    independent: Index

    @classmethod
    def of(cls, X: Any, sample_weight: Vector | None, intercept: bool, feature_weights: Vector | None) -> ColumnSplit:
        """Of validated data; rows of weight zero have been dropped."""
        whole = as_operator(X)
        m, n = whole.shape
        zero = np.zeros(n, dtype=bool) if feature_weights is None else feature_weights == 0
        free, penalised = np.flatnonzero(zero), np.flatnonzero(~zero)
        root = None if sample_weight is None else np.sqrt(sample_weight)
        directions = dense(whole.columns(free)) if len(free) else np.empty((m, 0))
        directions = np.column_stack([np.ones((m, int(intercept))), directions])
        if root is not None:
            directions *= root[:, None]
        inner = as_operator(X[:, penalised]) if len(free) else whole
        return cls(whole, inner, penalised, free, intercept, root, directions, *orthonormal(directions))

    def rooted(self, r: Vector) -> Vector:
        """Rows multiplied by the roots of their weights."""
        if self.root is None:
            return r
        return np.asarray(r * (self.root if r.ndim == 1 else self.root[:, None]))

    def projected(self) -> Projected:
        """The penalised columns in weighted rows, without what the directions explain."""
        return Projected(self.inner, self.root, self.basis)


@dataclass(frozen=True, eq=False)
class Design:
    """The data of a regression with what is not penalised eliminated.

    ``min over x, c of 1/2 sum_j w_j ((A x + U c - y)_j)^2`` is ``min over x of 1/2 ||P W^(1/2) (A x - y)||^2`` with the
    projection P onto what ``W^(1/2) U`` does not explain; U holds the constant column, if an intercept is fitted, and
    the columns of weight zero. Then c is least squares on what x leaves.

    Attributes
    ----------
    operator : Operator
        ``P W^(1/2) A`` on the penalised columns.
    rows : int
        Degrees of freedom of y: the sum of the row weights (:func:`hadaflow.estimators._weights.relative`), rounded,
        less the rank of U.
    split : ColumnSplit
        The penalised columns, and U.
    """

    operator: Operator
    rows: int
    split: ColumnSplit

    @classmethod
    def of(cls, X: Any, sample_weight: Vector | None, intercept: bool, feature_weights: Vector | None) -> Design:
        """The design of validated data; rows of weight zero have been dropped."""
        split = ColumnSplit.of(X, sample_weight, intercept, feature_weights)
        plain = split.root is None and not split.basis.shape[1]
        total = split.whole.shape[0] if sample_weight is None else round(float(sample_weight.sum()))
        return cls(split.inner if plain else split.projected(), max(1, total - split.basis.shape[1]), split)

    def target(self, y: Float) -> Float:
        """y as the problem sees it, in its dtype."""
        wide, basis = self.split.rooted(y.astype(np.float64)), self.split.basis
        left = wide - basis @ (basis.T @ wide)
        # What the projection leaves of a y that U explains is rounding, not a signal.
        rounding = float(np.finfo(y.dtype).eps) * 4 * float(np.abs(wide).max(initial=0.0))
        if float(np.abs(left).max(initial=0.0)) <= rounding:
            left = np.zeros_like(left)
        return left.astype(y.dtype)

    def coefficients(self, x: Float, y: Float) -> tuple[Float, float]:
        """All coefficients and the intercept, for x on the penalised columns."""
        split = self.split
        coef = np.zeros(split.whole.shape[1])
        coef[split.penalised] = x
        if len(split.independent) == 0:
            return coef.astype(y.dtype), 0.0
        support = np.flatnonzero(coef)
        fitted = np.zeros(len(y))
        if len(support):
            fitted = np.asarray(split.whole.columns(support) @ coef[support]).ravel()
        left = split.rooted(y.astype(np.float64) - fitted)
        directions = split.directions[:, split.independent]
        lengths = np.linalg.norm(directions, axis=0)
        full = np.zeros(split.directions.shape[1])
        full[split.independent] = la.lstsq(directions / lengths, left, check_finite=False)[0] / lengths
        coef[split.free] = full[int(split.intercept) :]
        return coef.astype(y.dtype), float(full[0]) if split.intercept else 0.0


def orthonormal(columns: Vector) -> tuple[Vector, Index]:
    """An orthonormal basis of the columns, and a maximal independent set of them."""
    if columns.shape[1] == 0:
        return columns, np.empty(0, dtype=np.intp)
    lengths = np.linalg.norm(columns, axis=0)
    scaled = columns / np.where(lengths > 0, lengths, 1.0)
    q, r, order = la.qr(scaled, mode="economic", pivoting=True, check_finite=False)
    rank = int((np.abs(r.diagonal()) > _DEPENDENT).sum())
    return q[:, :rank], np.sort(order[:rank]).astype(np.intp)

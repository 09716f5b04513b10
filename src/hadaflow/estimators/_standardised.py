"""The features of a classification, centred and scaled through products, next to the directions left unpenalised."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import scipy.linalg as la
import scipy.sparse as sp

from hadaflow._types import Float, Index, Vector
from hadaflow.estimators._design import ColumnSplit
from hadaflow.estimators._starts import weighted_start
from hadaflow.losses import Logistic, Weighted
from hadaflow.operators import Around, Operator
from hadaflow.operators.block import dense
from hadaflow.problems import Problem

_MOST_DENSE = 1 << 24  # entries of a sparse matrix that may be laid out as a dense one in a step
_LIGHTEST = 0.1  # product scale of a penalised feature at most, however light it is
_SHARPEST = 1e6  # condition of the mirror map at entries of about 1 that the flow of this loss still follows
_FREE = 3.0  # product scale of free directions, in log odds: as large as what they usually come to


class Standardised(Around):
    """``[A diag(scale), Q]`` or, with Q mirrored, ``[A diag(scale), Q, -Q]`` through products with A.

    Parameters
    ----------
    operator : Operator
        A, the penalised columns.
    scale : ndarray of shape (n,)
        What they are multiplied by.
    basis : ndarray of shape (m, q)
        Q, free directions.
    mirrored : bool
        Whether they stand there with both signs: then coefficients that are not negative reach all of their span.
    by_products : bool, default False
        Whether to be known by products alone: many columns of a sparse A at once, centred, would take too much memory.
    """

    def __init__(
        self, operator: Operator, scale: Vector, basis: Vector, mirrored: bool, by_products: bool = False
    ) -> None:
        super().__init__(operator)
        self.scale, self._mirrored = scale, mirrored
        self._basis = np.hstack([basis, -basis]) if mirrored else basis
        self.inner = len(scale)
        self.shape = (operator.shape[0], self.inner + self._basis.shape[1])
        self.costs = replace(operator.costs, matrix_free=by_products)

    def matvec(self, v: Vector) -> Vector:
        return self._operator.matvec(v[: self.inner] * self.scale) + self._basis @ v[self.inner :]

    def rmatvec(self, r: Vector) -> Vector:
        return np.concatenate([self._operator.rmatvec(r) * self.scale, self._basis.T @ r])

    def rmatmat(self, r: Vector) -> Vector:
        return np.concatenate([self._operator.rmatmat(r) * self.scale[:, None], self._basis.T @ r])

    def columns(self, index: Index) -> Any:
        inside = index < self.inner
        block = np.empty((self.shape[0], len(index)), order="F")
        if inside.any():
            columns = self._operator.columns(index[inside])
            block[:, inside] = dense(columns) * self.scale[index[inside]]
        block[:, ~inside] = self._basis[:, index[~inside] - self.inner]
        return block

    def column_squares(self) -> Vector:
        return np.append(self._operator.column_squares() * self.scale**2, (self._basis**2).sum(axis=0))

    def split(self, v: Vector) -> tuple[Vector, Vector]:
        """The coefficients of A, and those of Q, for v of shape (..., columns)."""
        inner, c = v[..., : self.inner] * self.scale, v[..., self.inner :]
        if self._mirrored:
            up, down = np.split(c, 2, axis=-1)
            c = up - down
        return inner, c


@dataclass(frozen=True, eq=False)
class Features:
    """Training rows as the flow sees them.

    Rows are multiplied by the roots of their weights. Penalised columns are freed of what the constant column and the
    columns of weight zero explain, and brought to unit size; beside them stand these free directions, orthonormal.

    Attributes
    ----------
    operator : Standardised
        The columns; root mean square 1, so that coefficients are log odds.
    total : float
        Sum of the weights of the rows.
    """

    operator: Standardised
    total: float
    _split: ColumnSplit
    _weights: Vector | None
    _explained: Vector
    _combination: Vector

    @classmethod
    def of(
        cls, X: Any, weights: Vector | None, intercept: bool, feature_weights: Vector | None, positive: bool
    ) -> Features:
        """The features of validated rows, none of them of weight zero."""
        split = ColumnSplit.of(X, weights, intercept, feature_weights)
        total = float(split.whole.shape[0] if split.root is None else split.root @ split.root)
        explained = np.empty((0, len(split.penalised)))
        if split.basis.shape[1]:
            explained = split.inner.rmatmat(split.rooted(split.basis)).T / np.sqrt(total)
        inner = split.projected()
        squares = inner.column_squares() / total
        scale = np.divide(1.0, np.sqrt(squares), out=np.zeros_like(squares), where=squares > 0)
        basis = split.basis * np.sqrt(total)
        lengths = np.linalg.norm(split.directions, axis=0)
        lengths[lengths == 0] = 1.0
        combination = np.empty((0, 0))
        if len(lengths):
            combination = la.lstsq(split.directions / lengths, basis)[0] / lengths[:, None]
        by_products = sp.issparse(X) and X.shape[0] * X.shape[1] > _MOST_DENSE
        operator = Standardised(inner, scale, basis, positive, by_products)
        return cls(operator, total, split, weights, explained, combination)

    @property
    def path_features(self) -> Index:
        """Which features the coordinates are; -1 for the free directions."""
        return np.concatenate([self._split.penalised, np.full(self.operator.shape[1] - self.operator.inner, -1)])

    @property
    def free_directions(self) -> Index:
        """The columns of Q."""
        return self.operator.inner + np.arange(self._combination.shape[1])

    def problem(self, labels: Float) -> Problem:
        """The logistic problem of labels -1 and +1."""
        loss = Logistic() if self._weights is None else Weighted(Logistic(), self._weights, rooted=True)
        return Problem(self.operator, labels, loss)

    def start(self, depth: float, init_scale: float, feature_weights: Vector | None) -> Vector:
        """Init scales: small ones, by weight, for what is penalised, large ones for what is free."""
        weights = np.ones(self.operator.inner) if feature_weights is None else feature_weights[self._split.penalised]
        # However light, a penalised feature starts small: with a positive model its start is its first coefficient.
        small = np.minimum(weighted_start(depth, init_scale, weights, 1.0), max(init_scale, _LIGHTEST ** (1 / depth)))
        if depth > 2:  # however heavy, it is to be told from its barrier once it has come in
            small = np.maximum(small, min(init_scale, (depth / (depth - 2) / _SHARPEST) ** (1 / (depth - 2))))
        directions = self.operator.shape[1] - self.operator.inner
        return np.concatenate([small, np.full(directions, _FREE ** (1 / depth))])

    def coefficients(self, x: Float) -> tuple[Vector, Vector]:
        """All coefficients and the intercept, for x of shape (..., columns)."""
        split = self._split
        inner, free = self.operator.split(x.astype(np.float64))
        values = (free - inner @ self._explained.T) @ self._combination.T
        coef = np.zeros((*x.shape[:-1], split.whole.shape[1]))
        coef[..., split.penalised] = inner
        coef[..., split.free] = values[..., int(split.intercept) :]
        return coef, values[..., 0] if split.intercept else np.zeros(x.shape[:-1])

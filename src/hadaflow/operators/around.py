"""Operators around another one: scaled, and metered."""

from __future__ import annotations

import numpy as np
import scipy.sparse as sp

from hadaflow._validation import Index
from hadaflow.operators.base import Columns, Operator, Vector


class Scaled(Operator):
    """``factor * A * diag(column_factors)`` without touching ``A``; powers of two add no rounding.

    Parameters
    ----------
    operator : Operator
        A, of shape (m, n).
    factor : float
        Of all entries.
    column_factors : ndarray of shape (n,), optional
        Of each column; default 1.
    """

    def __init__(self, operator: Operator, factor: float, column_factors: Vector | None = None) -> None:
        self._operator = operator
        self._factors = np.full(operator.shape[1], factor) if column_factors is None else factor * column_factors
        self._common = factor if column_factors is None else None
        _like(self, operator)

    def matvec(self, v: Vector) -> Vector:
        if self._common is not None:
            return self._operator.matvec(v) * self._common
        return self._operator.matvec(v * self._factors)

    def rmatvec(self, r: Vector) -> Vector:
        return self._operator.rmatvec(r) * self._factors

    def residual(self, x: Vector, r: Vector) -> tuple[Vector, Vector]:
        left, pull = self._operator.residual(x * self._factors, r)
        return left, pull * self._factors

    def both(self, v: Vector, r: Vector) -> tuple[Vector, Vector]:
        image, pull = self._operator.both(v * self._factors, r)
        return image, pull * self._factors

    def rmatmat(self, r: Vector) -> Vector:
        return self._operator.rmatmat(r) * self._factors[:, None]

    def columns(self, index: Index) -> Columns:
        columns = self._operator.columns(index)
        if sp.issparse(columns):
            columns.data *= np.repeat(self._factors[index], np.diff(columns.indptr))
        else:
            columns *= self._factors[index]
        return columns

    def column_cost(self, count: int) -> float:
        return self._operator.column_cost(count)


class Metered(Operator):
    """``A`` with a meter for passes, made anew for each run so that no count outlives it.

    Parameters
    ----------
    operator : Operator
        A, of shape (m, n).
    """

    def __init__(self, operator: Operator) -> None:
        self._operator = operator
        _like(self, operator)
        self.passes = 0.0

    def matvec(self, v: Vector) -> Vector:
        self.passes += 1
        return self._operator.matvec(v)

    def rmatvec(self, r: Vector) -> Vector:
        self.passes += 1
        return self._operator.rmatvec(r)

    def residual(self, x: Vector, r: Vector) -> tuple[Vector, Vector]:
        self.passes += self.pair_passes
        return self._operator.residual(x, r)

    def both(self, v: Vector, r: Vector) -> tuple[Vector, Vector]:
        self.passes += self.pair_passes
        return self._operator.both(v, r)

    def rmatmat(self, r: Vector) -> Vector:
        self.passes += r.shape[1] if self.matrix_free else 1
        return self._operator.rmatmat(r)

    def columns(self, index: Index) -> Columns:
        self.passes += self.column_cost(len(index))
        return self._operator.columns(index)

    def column_cost(self, count: int) -> float:
        return self._operator.column_cost(count)


def _like(around: Operator, operator: Operator) -> None:
    """Take over what an operator says of itself."""
    around.shape, around.dtype, around.matrix_free = operator.shape, operator.dtype, operator.matrix_free
    around.resident, around.pair_passes = operator.resident, operator.pair_passes

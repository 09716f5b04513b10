"""Operators around another one: scaled, and metered."""

from __future__ import annotations

import numpy as np
import scipy.sparse as sp

from hadaflow._types import Index, Vector
from hadaflow._validation import norm
from hadaflow.operators.base import PROBES, Columns, Operator

_ALIKE, _ALIKE_ESTIMATES = 16.0, 1024.0  # ratio of the longest row to the shortest up to which they are left alone


class Scaled(Operator):
    """``factor * diag(row_factors) * A * diag(column_factors)`` without touching ``A``; powers of two add no rounding.

    Parameters
    ----------
    operator : Operator
        A, of shape (m, n).
    factor : float
        Of all entries.
    column_factors : ndarray of shape (n,), optional
        Of each column; default 1.
    row_factors : ndarray of shape (m,), optional
        Of each row; default 1.
    """

    def __init__(
        self,
        operator: Operator,
        factor: float,
        column_factors: Vector | None = None,
        row_factors: Vector | None = None,
    ) -> None:
        self._operator, self._rows = operator, row_factors
        self._factors = np.full(operator.shape[1], factor) if column_factors is None else factor * column_factors
        self._common = factor if column_factors is None else None
        _like(self, operator)
        if row_factors is not None:
            self.pair_passes = 2.0  # A^T of a residual asks for the square of the factors in between

    def matvec(self, v: Vector) -> Vector:
        if self._common is not None:
            return self._of_rows(self._operator.matvec(v) * self._common)
        return self._of_rows(self._operator.matvec(v * self._factors))

    def rmatvec(self, r: Vector) -> Vector:
        return self._operator.rmatvec(self._of_rows(r)) * self._factors

    def residual(self, x: Vector, r: Vector) -> tuple[Vector, Vector]:
        if self._rows is not None:
            return super().residual(x, r)
        left, pull = self._operator.residual(x * self._factors, r)
        return left, pull * self._factors

    def matvec_and_rmatvec(self, v: Vector, r: Vector) -> tuple[Vector, Vector]:
        image, pull = self._operator.matvec_and_rmatvec(v * self._factors, self._of_rows(r))
        return self._of_rows(image), pull * self._factors

    def rmatmat(self, r: Vector) -> Vector:
        return self._operator.rmatmat(self._of_rows(r)) * self._factors[:, None]

    def columns(self, index: Index) -> Columns:
        columns = self._operator.columns(index)
        if sp.issparse(columns):
            columns.data *= np.repeat(self._factors[index], np.diff(columns.indptr))
            if self._rows is not None:
                columns.data *= self._rows[columns.indices]
        else:
            columns *= self._factors[index]
            columns = self._of_rows(columns)
        return columns

    @property
    def size_bound(self) -> float:
        rows = self._rows
        size = self._operator.size_bound if rows is None else norm(self._operator.row_lengths * rows)
        return size * float(np.abs(self._factors).max())

    def abs_matvec(self, v: Vector) -> Vector:
        return self._of_rows(self._operator.abs_matvec(v * np.abs(self._factors)))

    @property
    def source_lengths(self) -> Vector:
        if self._rows is not None:
            return self.column_lengths
        return self._operator.source_lengths * np.abs(self._factors)

    def hidden_terms(self, v: Vector) -> Vector | float:
        terms = self._operator.hidden_terms(v * np.abs(self._factors))
        return terms if self._rows is None else terms * self._rows

    def _measured_columns(self) -> Vector:
        if self._rows is None or self.matrix_free:
            return self._operator.column_lengths * np.abs(self._factors)
        return super()._measured_columns()

    def _of_rows(self, r: Vector) -> Vector:
        """Vectors or columns, multiplied row by row."""
        if self._rows is None:
            return r
        return np.asarray(r * (self._rows if r.ndim == 1 else self._rows[:, None]))

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

    def matvec_and_rmatvec(self, v: Vector, r: Vector) -> tuple[Vector, Vector]:
        self.passes += self.pair_passes
        return self._operator.matvec_and_rmatvec(v, r)

    def rmatmat(self, r: Vector) -> Vector:
        self.passes += r.shape[1] if self.matrix_free else 1
        return self._operator.rmatmat(r)

    def columns(self, index: Index) -> Columns:
        self.passes += self.column_cost(len(index))
        return self._operator.columns(index)

    def column_cost(self, count: int) -> float:
        return self._operator.column_cost(count)

    def _measured_columns(self) -> Vector:
        if self._operator._column_lengths is None:  # of a LinearOperator they follow from the rows
            self.passes += 0 if self.matrix_free else 1
        return self._operator.column_lengths

    @property
    def size_bound(self) -> float:
        return self._operator.size_bound

    @property
    def source_lengths(self) -> Vector:
        self.passes += 1 if self._operator._column_lengths is None and not self.matrix_free else 0
        return self._operator.source_lengths

    def hidden_terms(self, v: Vector) -> Vector | float:
        return self._operator.hidden_terms(v)

    def _measured_rows(self) -> Vector:
        if self._operator._row_lengths is None:
            self.passes += PROBES if self.matrix_free else 1
        return self._operator.row_lengths

    def abs_matvec(self, v: Vector) -> Vector:
        if not self.at_hand:
            return super().abs_matvec(v)
        self.passes += self.column_cost(int(np.count_nonzero(v)))
        return self._operator.abs_matvec(v)


def even_rows(operator: Operator) -> Vector | None:
    """Powers of two that bring all rows to about unit length; None if their lengths are alike already.

    The lengths of rows of a LinearOperator are estimates: it takes more to believe them.
    """
    lengths = operator.row_lengths
    alike = _ALIKE_ESTIMATES if operator.matrix_free else _ALIKE
    if 0 < float(lengths.max()) <= alike * float(lengths.min()):
        return None
    present = lengths[lengths > 0]
    if len(present) == 0 or present.max() <= alike * present.min():
        return None
    exponents = np.frexp(lengths / np.exp(np.log(present).mean()))[1]
    return np.where(lengths > 0, np.ldexp(1.0, np.clip(1 - exponents, -900, 900)), 1.0)


def _like(around: Operator, operator: Operator) -> None:
    """Take over what an operator says of itself."""
    around.shape, around.dtype, around.matrix_free = operator.shape, operator.dtype, operator.matrix_free
    around.resident, around.pair_passes = operator.resident, operator.pair_passes

"""Operators around another one: scaled, and metered."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from hadaflow._types import Index, Vector
from hadaflow._validation import norm, power_of_two
from hadaflow.operators.base import PROBES, Operator
from hadaflow.operators.block import Columns, is_sparse

_ALIKE, _ALIKE_ESTIMATES = 16.0, 1024.0  # ratio of the longest row to the shortest up to which they are left alone

_LEAST = 2.0**-900  # of these lengths, relative to their mean: its reciprocal is in range, too


class Around(Operator):
    """Another operator, changed in part: shape, dtype and costs are those of the inner one.

    A subclass overrides the products that it changes. What is derived from products and columns (lengths, squares,
    bounds) then follows from them, as for every operator; a subclass that knows these more cheaply says so.

    Parameters
    ----------
    operator : Operator
        The inner one.
    """

    def __init__(self, operator: Operator) -> None:
        self._operator = operator
        self.shape, self.dtype, self.costs = operator.shape, operator.dtype, operator.costs


class Scaled(Around):
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
        super().__init__(operator)
        self._rows = row_factors
        self._factors = np.full(operator.shape[1], factor) if column_factors is None else factor * column_factors
        self._common = factor if column_factors is None else None
        if row_factors is not None:
            self.costs = replace(
                operator.costs, pair=2.0
            )  # A^T of a residual asks for the square of the factors in between

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
        if is_sparse(columns):
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
        if self._rows is None or self.costs.matrix_free:
            return self._operator.column_lengths * np.abs(self._factors)
        return super()._measured_columns()

    def _of_rows(self, r: Vector) -> Vector:
        """Vectors or columns, multiplied row by row."""
        if self._rows is None:
            return r
        return np.asarray(r * (self._rows if r.ndim == 1 else self._rows[:, None]))


class Metered(Around):
    """``A`` with a meter for passes, made anew for each run so that no count outlives it.

    Parameters
    ----------
    operator : Operator
        A, of shape (m, n).
    """

    def __init__(self, operator: Operator) -> None:
        super().__init__(operator)
        self.passes = 0.0

    def matvec(self, v: Vector) -> Vector:
        self.passes += 1
        return self._operator.matvec(v)

    def rmatvec(self, r: Vector) -> Vector:
        self.passes += 1
        return self._operator.rmatvec(r)

    def residual(self, x: Vector, r: Vector) -> tuple[Vector, Vector]:
        self.passes += self.costs.pair
        return self._operator.residual(x, r)

    def matvec_and_rmatvec(self, v: Vector, r: Vector) -> tuple[Vector, Vector]:
        self.passes += self.costs.pair
        return self._operator.matvec_and_rmatvec(v, r)

    def rmatmat(self, r: Vector) -> Vector:
        self.passes += r.shape[1] if self.costs.matrix_free else 1
        return self._operator.rmatmat(r)

    def columns(self, index: Index) -> Columns:
        self.passes += self.costs.of_columns(len(index))
        return self._operator.columns(index)

    def _measured_columns(self) -> Vector:
        if self._operator._column_lengths is None:  # of a LinearOperator they follow from the rows
            self.passes += 0 if self.costs.matrix_free else 1
        return self._operator.column_lengths

    @property
    def size_bound(self) -> float:
        return self._operator.size_bound

    @property
    def source_lengths(self) -> Vector:
        self.passes += 1 if self._operator._column_lengths is None and not self.costs.matrix_free else 0
        return self._operator.source_lengths

    def hidden_terms(self, v: Vector) -> Vector | float:
        return self._operator.hidden_terms(v)

    def _measured_rows(self) -> Vector:
        if self._operator._row_lengths is None:
            self.passes += PROBES if self.costs.matrix_free else 1
        return self._operator.row_lengths

    def abs_matvec(self, v: Vector) -> Vector:
        if not self.costs.cheap_columns:
            return super().abs_matvec(v)
        self.passes += self.costs.of_columns(int(np.count_nonzero(v)))
        return self._operator.abs_matvec(v)


def even_rows(operator: Operator) -> Vector | None:
    """Powers of two that bring all rows to about unit length; None if their lengths are alike already.

    The lengths of rows of a LinearOperator are estimates: it takes more to believe them.
    """
    lengths = operator.row_lengths
    alike = _ALIKE_ESTIMATES if operator.costs.matrix_free else _ALIKE
    if 0 < float(lengths.max()) <= alike * float(lengths.min()):
        return None
    present = lengths[lengths > 0]
    if len(present) == 0 or present.max() <= alike * present.min():
        return None
    relative = np.clip(lengths / np.exp(np.log(present).mean()), _LEAST, 1 / _LEAST)
    return np.where(lengths > 0, 1 / power_of_two(relative), 1.0)

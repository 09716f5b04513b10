"""Operators around another one: scaled, metered, or composed with maps of one's own."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from functools import cached_property

import numpy as np

from hadaflow._types import Index, Vector
from hadaflow._validation import norm, power_of_two
from hadaflow.operators.base import PROBES, Operator
from hadaflow.operators.block import Columns, is_sparse

_ALIKE, _ALIKE_ESTIMATES = 16.0, 1024.0  # ratio of the longest row to the shortest up to which they are left alone
_DROWNING = 1e4  # ratio of rows from which on short ones may be lost in products of all
_PRICED = {"row_lengths", "column_lengths"}  # what takes a pass to measure
_LEAST = 2.0**-900  # of these lengths, relative to their mean: its reciprocal is in range, too


class Around(Operator):
    """A matrix made of another operator: shape, dtype and costs are those of the inner one, products its own.

    A subclass gives the products and columns, as every operator does; all else follows from these, and never from the
    inner operator unseen.

    Parameters
    ----------
    operator : Operator
        The inner one.
    """

    def __init__(self, operator: Operator) -> None:
        self._operator = operator
        self.shape, self.dtype, self.costs = operator.shape, operator.dtype, operator.costs
        self.repeats = operator.repeats


class Composed(Around):
    """``L A R``: a subclass says what L and R do to vectors, and which columns that makes; products follow from these.

    Pairs of products share a pass wherever the inner operator does, and blocks are multiplied as blocks.

    Parameters
    ----------
    operator : Operator
        A.
    """

    @property
    def keeps_rows(self) -> bool:
        """Whether L is the identity: then the residual and its product come from one request to the inner operator."""
        return False

    def before(self, x: Vector) -> Vector:
        """``R x``, shape (n,)."""
        return x

    def before_adjoint(self, x: Vector) -> Vector:
        """``R.T x`` of a vector or of columns; R itself, unless a subclass says otherwise."""
        return self.before(x)

    def after(self, r: Vector) -> Vector:
        """``L r`` of a vector or of columns."""
        return r

    def after_adjoint(self, r: Vector) -> Vector:
        """``L.T r`` of a vector or of columns; L itself, unless a subclass says otherwise."""
        return self.after(r)

    def matvec(self, v: Vector) -> Vector:
        return self.after(self._operator.matvec(self.before(v)))

    def rmatvec(self, r: Vector) -> Vector:
        return self.before_adjoint(self._operator.rmatvec(self.after_adjoint(r)))

    def rmatmat(self, r: Vector) -> Vector:
        return self.before_adjoint(self._operator.rmatmat(self.after_adjoint(r)))

    def residual(self, x: Vector, r: Vector) -> tuple[Vector, Vector]:
        if not self.keeps_rows:
            return super().residual(x, r)
        residual, product = self._operator.residual(self.before(x), r)
        return residual, self.before_adjoint(product)

    def matvec_and_rmatvec(self, v: Vector, r: Vector) -> tuple[Vector, Vector]:
        image, product = self._operator.matvec_and_rmatvec(self.before(v), self.after_adjoint(r))
        return self.after(image), self.before_adjoint(product)


class Scaled(Composed):
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
        self.cancelled = operator.cancelled.scaled(np.abs(self._factors), row_factors)
        if row_factors is not None:  # A^T of a residual asks for the square of the factors in between
            self.costs = replace(operator.costs, pair=2.0)

    @property
    def keeps_rows(self) -> bool:
        return self._rows is None

    def before(self, x: Vector) -> Vector:
        return _rows_times(x, self._factors)

    def after(self, r: Vector) -> Vector:
        return r if self._rows is None else _rows_times(r, self._rows)

    before_adjoint, after_adjoint = before, after

    def matvec(self, v: Vector) -> Vector:
        if self._common is None:
            return super().matvec(v)
        return self.after(self._operator.matvec(v) * self._common)

    def columns(self, index: Index) -> Columns:
        return _scaled(self._operator.columns(index), self._factors[index], self._rows)

    def base_columns(self, index: Index) -> Columns:
        rows = self._rows if self._rows is None else self._rows[:: self.repeats]  # alike for all repeats
        return _scaled(self._operator.base_columns(index), self._factors[index * self.repeats], rows)

    @cached_property
    def column_lengths(self) -> Vector:
        if self._rows is None or self.costs.matrix_free:
            return self._operator.column_lengths * np.abs(self._factors)
        return np.asarray(np.sqrt(self.column_squares()))

    @property
    def size_bound(self) -> float:
        rows = self._rows
        size = self._operator.size_bound if rows is None else norm(self._operator.row_lengths * rows)
        return size * float(np.abs(self._factors).max())

    def abs_matvec(self, v: Vector) -> Vector:
        return self.after(self._operator.abs_matvec(v * np.abs(self._factors)))


class Metered(Around):
    """``A`` with a meter for passes, made anew for each run so that no count outlives it.

    What an inner operator is asked for is counted here; all other members follow from these, counted.

    Parameters
    ----------
    operator : Operator
        A, of shape (m, n).
    """

    def __init__(self, operator: Operator) -> None:
        super().__init__(operator)
        self.cancelled = operator.cancelled
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

    def base_columns(self, index: Index) -> Columns:
        self.passes += self.costs.of_columns(len(index))
        return self._operator.base_columns(index)

    @cached_property
    def row_lengths(self) -> Vector:
        with self._measuring():
            return self._operator.row_lengths

    @cached_property
    def column_lengths(self) -> Vector:
        with self._measuring():
            return self._operator.column_lengths

    @property
    def size_bound(self) -> float:
        with self._measuring():
            return self._operator.size_bound

    def abs_matvec(self, v: Vector) -> Vector:
        if not self.costs.cheap_columns:
            return super().abs_matvec(v)
        self.passes += self.costs.of_columns(int(np.count_nonzero(v)))
        return self._operator.abs_matvec(v)

    @contextmanager
    def _measuring(self) -> Iterator[None]:
        """Count the lengths that the inner operator measures meanwhile; those that it has kept cost nothing."""
        before = _PRICED & vars(self._operator).keys()
        yield
        for name in _PRICED & vars(self._operator).keys() - before:
            if not self.costs.matrix_free:
                self.passes += 1
            elif name == "row_lengths":  # and those of columns follow
                self.passes += PROBES


def _scaled(columns: Columns, factors: Vector, rows: Vector | None) -> Columns:
    """Columns that are ours to change, multiplied by a factor each, and row by row."""
    if is_sparse(columns):
        columns.data *= np.repeat(factors, np.diff(columns.indptr))
        if rows is not None:
            columns.data *= rows[columns.indices]
        return columns
    columns *= factors
    return columns if rows is None else _rows_times(columns, rows)


def _rows_times(r: Vector, factors: Vector) -> Vector:
    """A vector or columns, multiplied row by row."""
    return r * factors if r.ndim == 1 else r * factors[:, None]


def drowning(factors: Vector | None) -> bool:
    """Whether some rows are so much longer than others that their rounding hides what these say, by their factors."""
    return factors is not None and float(factors.max()) > _DROWNING * float(factors.min())


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

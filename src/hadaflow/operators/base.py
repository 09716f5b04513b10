"""The protocol: what everything above asks of ``A``."""

from __future__ import annotations

from abc import ABC, abstractmethod
from functools import cached_property
from operator import attrgetter
from typing import Any

import numpy as np

from hadaflow._renamed import renamed
from hadaflow._sweep import Sweep
from hadaflow._types import Index, Vector
from hadaflow._validation import norm
from hadaflow.operators.block import Columns
from hadaflow.operators.costs import PassCosts

SLAB = 1 << 19  # entries of a float32 matrix that are widened to float64 at a time
DIVERGED = 1e100  # entries of x that no run comes back from
PROBES = 4  # products that estimate the lengths of rows of a LinearOperator
_UNCERTAIN = 4.0  # such an estimate is rarely too small by more than this factor


def _former(old: str, new: str) -> Any:
    """A member of before: what the path ``new`` leads to, after a warning."""

    def member(operator: Operator) -> Any:
        return renamed(f"Operator.{old}", f"Operator.{new}", attrgetter(new)(operator))

    return property(member)


class Operator(ABC):
    """A real m x n matrix, known through its products.

    Attributes
    ----------
    shape : tuple of int
        ``(m, n)``.
    dtype : numpy.dtype
        float32 or float64: the precision of the data. Products are float64 all the same.
    costs : PassCosts
        What products and columns cost; unless an operator says otherwise, those of a matrix in this process.
    own_threads : bool
        Whether :meth:`sweep` works with threads of its own.
    """

    shape: tuple[int, int]
    dtype: np.dtype[Any]
    own_threads: bool = False
    _row_lengths: Vector | None = None
    _column_lengths: Vector | None = None

    @cached_property
    def costs(self) -> PassCosts:
        """What products and columns cost, in passes over A."""
        return PassCosts.of_matrix(self.shape[1])

    # Names of before, which warn.
    matrix_free = _former("matrix_free", "costs.matrix_free")
    resident = _former("resident", "costs.local")
    at_hand = _former("at_hand", "costs.cheap_columns")
    pair_passes = _former("pair_passes", "costs.pair")
    column_cost = _former("column_cost", "costs.of_columns")
    image_and_pull = _former("image_and_pull", "matvec_and_gram")

    @abstractmethod
    def matvec(self, v: Vector) -> Vector:
        """``A @ v``, shape (m,)."""

    @abstractmethod
    def rmatvec(self, r: Vector) -> Vector:
        """``A.T @ r``, shape (n,)."""

    @abstractmethod
    def columns(self, index: Index) -> Columns:
        """``A[:, index]`` in float64: a Fortran-ordered array, or a ``csc_array`` where ``A`` is sparse."""

    def residual(self, x: Vector, r: Vector) -> tuple[Vector, Vector]:
        """``r - A x`` and ``A.T @ (r - A x)``: the residual, shape (m,), and its product, shape (n,)."""
        residual = r - self.matvec(x)
        return residual, self.rmatvec(residual)

    def matvec_and_gram(self, v: Vector) -> tuple[Vector, Vector]:
        """``A v`` and ``A.T @ A v``."""
        image, gram = self.residual(v, np.zeros(self.shape[0]))
        return -image, -gram

    def matvec_and_rmatvec(self, v: Vector, r: Vector) -> tuple[Vector, Vector]:
        """``A @ v`` and ``A.T @ r``."""
        return self.matvec(v), self.rmatvec(r)

    def rmatmat(self, r: Vector) -> Vector:
        """``A.T @ r`` for a block ``r`` of shape (m, k)."""
        return np.column_stack([self.rmatvec(column) for column in r.T])

    def column_squares(self) -> Vector:
        """``||A_i||^2`` of each column, shape (n,); for a LinearOperator their mean, estimated with 16 products."""
        m, n = self.shape
        if self.costs.matrix_free:  # the mean of ||A z||^2 over random signs z is that of the columns
            probes = np.random.default_rng(0).choice([-1.0, 1.0], size=(16, n))
            return np.full(n, float(np.mean([norm(self.matvec(probe)) ** 2 for probe in probes])) / n)
        squares = np.empty(n)
        step = max(1, 2 * SLAB // m)
        for i in range(0, n, step):
            block = self.columns(np.arange(i, min(n, i + step)))
            squares[i : i + step] = np.asarray((block * block).sum(axis=0)).ravel()
        return squares

    @property
    def row_lengths(self) -> Vector:
        """``||a_j||_2`` of each row, shape (m,), measured once; for a LinearOperator estimated with 4 products."""
        if self._row_lengths is None:
            self._row_lengths = self._measured_rows()
        return self._row_lengths

    @property
    def column_lengths(self) -> Vector:
        """``||A_i||_2`` of each column, shape (n,), measured once; for a LinearOperator their root mean square."""
        if self._column_lengths is None:
            self._column_lengths = self._measured_columns()
        return self._column_lengths

    @property
    def size_bound(self) -> float:
        """A bound on the length of every column: that of all of A as one vector."""
        return norm(self.row_lengths)

    @property
    def source_lengths(self) -> Vector:
        """Lengths of the columns before anything was taken out of them: what their rounding is relative to."""
        return self.column_lengths

    def _measured_columns(self) -> Vector:
        if self.costs.matrix_free:
            return np.full(self.shape[1], norm(self.row_lengths) / self.shape[1] ** 0.5)
        return np.asarray(np.sqrt(self.column_squares()))

    def _measured_rows(self) -> Vector:
        m, n = self.shape
        if self.costs.matrix_free:  # the root mean square of A z over random signs z
            probes = np.random.default_rng(0).choice([-1.0, 1.0], size=(PROBES, n))
            images = np.column_stack([self.matvec(probe) for probe in probes])
            return np.asarray(np.linalg.norm(images, axis=1) / PROBES**0.5)
        squares = np.zeros(m)
        step = max(1, 2 * SLAB // m)
        for i in range(0, n, step):
            block = self.columns(np.arange(i, min(n, i + step)))
            squares += np.asarray((block * block).sum(axis=1)).ravel()
        return np.asarray(np.sqrt(squares))

    def abs_matvec(self, v: Vector) -> Vector:
        """``|A| v`` for ``v >= 0``, shape (m,): what rounding in ``A v`` is relative to.

        Where columns are not at hand a bound on it: length of the row times length of v.
        """
        if not self.costs.cheap_columns:
            return self.row_lengths * ((_UNCERTAIN if self.costs.matrix_free else 1.0) * norm(v))
        total, index = np.zeros(self.shape[0]) + self.hidden_terms(v), np.flatnonzero(v)
        step = max(1, 2 * SLAB // self.shape[0])
        for i in range(0, len(index), step):
            few = index[i : i + step]
            total += np.asarray(abs(self.columns(few)) @ v[few])
        return total

    def hidden_terms(self, v: Vector) -> Vector | float:
        """Sizes of terms of ``A v`` that cancelled when the columns were made: none, of columns as they are given."""
        return 0.0

    def column_rounding(self, lengths: Vector) -> Vector:
        """Length of what rounding of the data may have added to columns of these lengths, shape (n,)."""
        return np.asarray(float(np.finfo(self.dtype).eps) * lengths)

    def spectral_square(self, iterations: int = 6) -> float:
        """An estimate of ``||A||^2`` from power iterations: from below, and rarely by more than a third."""
        v = np.random.default_rng(0).standard_normal(self.shape[1])
        square = 0.0
        for _ in range(iterations):
            size = norm(v)
            if size == 0:
                break
            _, v = self.matvec_and_gram(v / size)
            square = norm(v)
        return square

    def sweep(self, dtype: np.dtype[Any], threads: int = 1) -> Sweep:
        """A function ``x, y -> (A x - y, A.T (A x - y))`` for loops that ask for both, again and again.

        x has shape (n,) or (n, k) and the given ``dtype``, in which a matrix of that dtype is multiplied too.
        """

        def products(x: Any, y: Any) -> tuple[Any, Any]:
            if x.ndim == 1:
                if not float(np.abs(x).max(initial=0.0)) < DIVERGED:  # or NaN: operators may object to what comes out
                    return np.full_like(y, np.inf), np.full_like(x, np.inf)
                residual = self.matvec(x) - y
                return residual.astype(dtype, copy=False), self.rmatvec(residual).astype(dtype, copy=False)
            pairs = [products(np.ascontiguousarray(x[:, k]), y[:, k]) for k in range(x.shape[1])]
            return np.column_stack([pair[0] for pair in pairs]), np.column_stack([pair[1] for pair in pairs])

        return Sweep(products, 2.0)

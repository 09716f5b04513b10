"""The protocol: what everything above asks of ``A``."""

from __future__ import annotations

from abc import ABC, abstractmethod
from functools import cached_property
from typing import Any

import numpy as np

from hadaflow._sweep import Sweep
from hadaflow._types import Index, Vector
from hadaflow._validation import norm
from hadaflow.operators.block import Columns
from hadaflow.operators.cancelled import Cancelled
from hadaflow.operators.costs import PassCosts
from hadaflow.operators.former import Former, reject_former

SLAB = 1 << 19  # entries of a float32 matrix that are widened to float64 at a time
DIVERGED = 1e100  # entries of x that no run comes back from
PROBES = 4  # products that estimate the lengths of rows of a LinearOperator
_UNCERTAIN = 4.0  # such an estimate is rarely too small by more than this factor


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
    cancelled : Cancelled
        What was taken out of the columns when they were made; nothing, unless an operator says otherwise.
    repeats : int
        k where the operator is ``A (x) I_k``, one matrix that acts on k columns; else 1.

    Notes
    -----
    A subclass of one's own gives ``shape``, ``dtype`` and the three abstract methods, and ``costs`` if its columns are
    not at hand. All else follows; what can be had more cheaply may be overridden.
    """

    shape: tuple[int, int]
    dtype: np.dtype[Any]
    own_threads: bool = False
    cancelled: Cancelled = Cancelled()
    repeats: int = 1

    @cached_property
    def costs(self) -> PassCosts:
        """What products and columns cost, in passes over A."""
        return PassCosts.of_matrix(self.shape[1])

    def __init_subclass__(cls, **options: Any) -> None:
        super().__init_subclass__(**options)
        reject_former(cls)

    # Names of before, which warn where they are read and are errors where they are set: nothing would ask for them.
    matrix_free = Former("costs.matrix_free")
    resident = Former("costs.local")
    at_hand = Former("costs.cheap_columns")
    pair_passes = Former("costs.pair")
    column_cost = Former("costs.of_columns")
    image_and_pull = Former("matvec_and_gram")
    hidden_terms = Former("cancelled.terms")
    source_lengths = Former("cancelled.before", lambda operator: operator.cancelled.before(operator.column_lengths))
    column_rounding = Former(
        "cancelled.before",
        lambda operator: lambda lengths: np.finfo(operator.dtype).eps * operator.cancelled.before(lengths),
    )

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

    def matmat(self, v: Vector) -> Vector:
        """``A @ v`` for a block ``v`` of shape (n, k)."""
        return np.column_stack([self.matvec(np.ascontiguousarray(column)) for column in v.T])

    def base_columns(self, index: Index) -> Columns:
        """Columns of the A in ``A (x) I_k``, without the zeros between them; of an A alone, its columns."""
        if self.repeats == 1:
            return self.columns(index)
        return self.columns(index * self.repeats)[:: self.repeats]

    def rmatmat(self, r: Vector) -> Vector:
        """``A.T @ r`` for a block ``r`` of shape (m, k)."""
        return np.column_stack([self.rmatvec(column) for column in r.T])

    def column_squares(self) -> Vector:
        """``||A_i||^2`` of each column, shape (n,); for a LinearOperator their mean, estimated with 16 products."""
        m, n = self.shape
        if self.costs.matrix_free:  # the mean of ||A z||^2 over random signs z is that of the columns
            probes = np.random.default_rng(0).choice([-1.0, 1.0], size=(16, n))
            return np.full(n, float(np.mean([norm(self.matvec(probe)) ** 2 for probe in probes])) / n)
        count = n // self.repeats
        squares = np.empty(count)
        step = max(1, 2 * SLAB * self.repeats // m)
        for i in range(0, count, step):
            block = self.base_columns(np.arange(i, min(count, i + step)))
            squares[i : i + step] = np.asarray((block * block).sum(axis=0)).ravel()
        return squares if self.repeats == 1 else np.repeat(squares, self.repeats)

    @cached_property
    def row_lengths(self) -> Vector:
        """``||a_j||_2`` of each row, shape (m,), measured once; for a LinearOperator estimated with 4 products."""
        m, n = self.shape
        if self.costs.matrix_free:  # the root mean square of A z over random signs z
            probes = np.random.default_rng(0).choice([-1.0, 1.0], size=(PROBES, n))
            images = np.column_stack([self.matvec(probe) for probe in probes])
            return np.asarray(np.linalg.norm(images, axis=1) / PROBES**0.5)
        rows, count = m // self.repeats, n // self.repeats
        squares = np.zeros(rows)
        step = max(1, 2 * SLAB // rows)
        for i in range(0, count, step):
            block = self.base_columns(np.arange(i, min(count, i + step)))
            squares += np.asarray((block * block).sum(axis=1)).ravel()
        lengths: Vector = np.sqrt(squares)
        return lengths if self.repeats == 1 else np.repeat(lengths, self.repeats)

    @cached_property
    def column_lengths(self) -> Vector:
        """``||A_i||_2`` of each column, shape (n,), measured once; for a LinearOperator their root mean square."""
        if self.costs.matrix_free:
            return np.full(self.shape[1], norm(self.row_lengths) / self.shape[1] ** 0.5)
        return np.asarray(np.sqrt(self.column_squares()))

    @property
    def size_bound(self) -> float:
        """A bound on the length of every column: that of all of A as one vector."""
        return norm(self.row_lengths)

    def abs_matvec(self, v: Vector) -> Vector:
        """``|A| v`` for ``v >= 0``, shape (m,): what rounding in ``A v`` is relative to.

        Where columns are not at hand a bound on it: length of the row times length of v.
        """
        if not self.costs.cheap_columns:
            return self.row_lengths * ((_UNCERTAIN if self.costs.matrix_free else 1.0) * norm(v))
        total, index = np.zeros(self.shape[0]) + self.cancelled.terms(v), np.flatnonzero(v)
        step = max(1, 2 * SLAB // self.shape[0])
        for i in range(0, len(index), step):
            few = index[i : i + step]
            total += np.asarray(abs(self.columns(few)) @ v[few])
        return total

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

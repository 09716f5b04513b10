"""Columns of a matrix, and the search for those whose restricted isometry is worst."""

from __future__ import annotations

import math
from itertools import combinations, islice
from typing import Any

import numpy as np

from hadaflow._types import Float, Index, Vector
from hadaflow._validation import norm
from hadaflow.operators import Around, Columns, Operator
from hadaflow.operators.block import dense

_BLOCK = 1 << 22  # entries of the Gram matrix that are held at a time
_CHUNK = 512  # supports whose eigenvalues are found in one call
_MOST_SWAPS = 100


class Search:
    """Supports with extreme eigenvalues of ``A_S^T A_S``, the best of those seen."""

    def __init__(self, operator: Operator, length: Vector, order: int) -> None:
        self.operator, self.length, self.order = operator, length, order
        self.smallest, self.largest = math.inf, -math.inf
        self.weakest = self.strongest = np.arange(order)
        self.seen = 0

    def enumerate(self) -> None:
        """All supports, in chunks."""
        every = combinations(range(self.operator.shape[1]), self.order)
        while chunk := list(islice(every, _CHUNK)):
            supports = np.array(chunk, dtype=np.intp)
            used, places = np.unique(supports, return_inverse=True)
            columns = self._columns(used)
            gram = columns.T @ columns
            places = places.reshape(supports.shape)
            values = np.linalg.eigvalsh(gram[places[:, :, None], places[:, None, :]])
            self._note(values[:, 0], values[:, -1], supports)

    def climb(self, support: Index, *, top: bool) -> None:
        """Exchange columns of a support while its largest (or smallest) eigenvalue grows (or falls)."""
        columns = self._columns(support)
        values, vectors = np.linalg.eigh(columns.T @ columns)
        end = -1 if top else 0
        for _ in range(_MOST_SWAPS):
            self._note(values[:1], values[-1:], support[None, :])
            correlation = np.abs(self.operator.rmatvec(columns @ vectors[:, end]) / self.length)
            correlation[support] = -1.0
            new = int(correlation.argmax())
            if correlation[new] <= 0:
                return
            wider, more = np.append(support, new), np.column_stack([columns, self._columns(np.array([new]))])
            # Drop what matters least to the extreme direction of the wider support.
            out = int(np.abs(np.linalg.eigh(more.T @ more)[1][:, end]).argmin())
            support, columns = np.delete(wider, out), np.delete(more, out, axis=1)
            before = values[end]
            values, vectors = np.linalg.eigh(columns.T @ columns)
            gain = values[end] - before if top else before - values[end]
            if not gain > 1e-12 * values[-1]:
                return

    def _note(self, low: Float, high: Float, supports: Index) -> None:
        self.seen += len(supports)
        i, j = int(low.argmin()), int(high.argmax())
        if low[i] < self.smallest:
            self.smallest, self.weakest = float(low[i]), supports[i]
        if high[j] > self.largest:
            self.largest, self.strongest = float(high[j]), supports[j]

    def _columns(self, index: Index) -> Vector:
        return dense_columns(self.operator, index) / self.length[index]


def dense_columns(operator: Operator, index: Index) -> Vector:
    """Columns of A as an array."""
    return dense(operator.columns(index))


def blocks(operator: Operator) -> list[Index]:
    """The columns in turn, few enough at a time for a block of the Gram matrix to fit."""
    m, n = operator.shape
    step = max(1, _BLOCK // (m + n))
    return [np.arange(i, min(n, i + step)) for i in range(0, n, step)]


class Reduced(Around):
    """``A / unit``, the unit a power of two of about the size of a column.

    Half of the exponent of the unit goes to either side of each product, so that none leaves the range on the way,
    whatever the size of A.
    """

    def __init__(self, operator: Operator) -> None:
        super().__init__(operator)
        power = _size_power(operator)
        self._before, self._after = math.ldexp(1.0, -(power // 2)), math.ldexp(1.0, -(power - power // 2))

    def matvec(self, v: Vector) -> Vector:
        return self._operator.matvec(v * self._before) * self._after

    def rmatvec(self, r: Vector) -> Vector:
        return self._operator.rmatvec(r * self._before) * self._after

    def rmatmat(self, r: Vector) -> Vector:
        return self._operator.rmatmat(r * self._before) * self._after

    def columns(self, index: Index) -> Columns:
        return self._operator.columns(index) * self._before * self._after

    def over_unit(self, value: float) -> float:
        """``value / unit``; 0 or infinite where no double holds it."""
        return value * self._before * self._after

    def times_unit(self, value: float) -> float:
        """``value * unit``; 0 or infinite where no double holds it."""
        return value / self._before / self._after


def _size_power(operator: Operator) -> int:
    """Exponent of the power of two that is next to the size of a column; 0 for A = 0."""
    m, n = operator.shape
    signs = np.random.default_rng(0).choice([-1.0, 1.0], size=n)
    for shrink in (-math.ceil(math.log2(m * n)), 0):  # no sum of entries overflows; 0 for entries that then vanish
        probe = norm(operator.matvec(signs * math.ldexp(1.0, shrink)))
        if probe > 0:
            return round(math.log2(probe) - shrink - 0.5 * math.log2(n))
    return 0


def generator(rng: Any) -> np.random.Generator:
    """What ``np.random.default_rng`` makes of a user's ``rng``."""
    try:
        return np.random.default_rng(rng)
    except (TypeError, ValueError) as error:
        raise type(error)(
            f"rng must be a whole number >= 0 or a numpy Generator (or what np.random.default_rng takes), got {rng!r}"
        ) from error


def lengths(operator: Operator) -> Vector:
    """Euclidean length of each column, free of overflow and underflow."""
    return np.concatenate([[norm(column) for column in dense_columns(operator, block).T] for block in blocks(operator)])

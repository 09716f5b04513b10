"""Columns of a matrix, and the search for those whose restricted isometry is worst."""

from __future__ import annotations

import math
from itertools import combinations, islice

import numpy as np
import scipy.sparse as sp
from numpy.typing import NDArray

from hadaflow._validation import Float, Index, norm
from hadaflow.operators import Operator

Vector = NDArray[np.float64]

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
            pull = np.abs(self.operator.rmatvec(columns @ vectors[:, end]) / self.length)
            pull[support] = -1.0
            new = int(pull.argmax())
            if pull[new] <= 0:
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
        return dense(self.operator, index) / self.length[index]


def dense(operator: Operator, index: Index) -> Vector:
    """Columns of A as an array."""
    columns = operator.columns(index)
    return np.asarray(columns.toarray() if sp.issparse(columns) else columns)


def blocks(operator: Operator) -> list[Index]:
    """The columns in turn, few enough at a time for a block of the Gram matrix to fit."""
    m, n = operator.shape
    step = max(1, _BLOCK // (m + n))
    return [np.arange(i, min(n, i + step)) for i in range(0, n, step)]


def size(operator: Operator) -> float:
    """A power of two of about the size of a column, so that squares of columns over it stay in range."""
    n = operator.shape[1]
    probe = norm(operator.matvec(np.random.default_rng(0).choice([-1.0, 1.0], size=n)))
    return math.ldexp(1.0, round(math.log2(probe) - 0.5 * math.log2(n))) if probe > 0 else 1.0


def lengths(operator: Operator) -> Vector:
    """Euclidean length of each column, free of overflow and underflow."""
    return np.concatenate([[norm(column) for column in dense(operator, block).T] for block in blocks(operator)])

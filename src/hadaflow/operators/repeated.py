"""One matrix that acts on several columns: ``A X`` for X of shape (n, k), as a product with one long vector."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from hadaflow._types import Index, Vector
from hadaflow.operators.around import Around
from hadaflow.operators.base import Operator
from hadaflow.operators.block import Columns, dense


class Repeated(Around):
    """``A (x) I_k``: rows of X stay together, ``(X_00, ..., X_0(k-1), X_10, ...)``.

    Parameters
    ----------
    operator : Operator
        A, of shape (m, n).
    repeats : int
        k, how many columns X has.
    """

    def __init__(self, operator: Operator, repeats: int) -> None:
        super().__init__(operator)
        m, n = operator.shape
        self.repeats = repeats
        self.shape = (m * repeats, n * repeats)
        costs = operator.costs
        self.costs = replace(costs, columns_per_pass=costs.columns_per_pass * (1 if costs.matrix_free else repeats))

    def matvec(self, v: Vector) -> Vector:
        return np.ascontiguousarray(self._operator.matmat(v.reshape(-1, self.repeats))).ravel()

    def rmatvec(self, r: Vector) -> Vector:
        return np.ascontiguousarray(self._operator.rmatmat(r.reshape(-1, self.repeats))).ravel()

    def base_columns(self, index: Index) -> Columns:
        return self._operator.columns(index)

    def columns(self, index: Index) -> Columns:
        block = np.zeros((self.shape[0] // self.repeats, self.repeats, len(index)))
        inner = dense(self._operator.columns(index // self.repeats))
        for k in range(self.repeats):
            mine = np.flatnonzero(index % self.repeats == k)
            block[:, k, mine] = inner[:, mine]
        return np.asfortranarray(block.reshape(self.shape[0], len(index)))

    def column_squares(self) -> Vector:
        return np.repeat(self._operator.column_squares(), self.repeats)

    @property
    def row_lengths(self) -> Vector:  # the inner operator keeps them
        return np.repeat(self._operator.row_lengths, self.repeats)

    @property
    def column_lengths(self) -> Vector:
        return np.repeat(self._operator.column_lengths, self.repeats)

    def abs_matvec(self, v: Vector) -> Vector:
        rows = v.reshape(-1, self.repeats)
        return np.column_stack([self._operator.abs_matvec(np.ascontiguousarray(x)) for x in rows.T]).ravel()

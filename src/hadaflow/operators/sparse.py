"""A SciPy sparse array or matrix."""

from __future__ import annotations

from functools import cached_property
from typing import Any

import numpy as np
import scipy.sparse as sp

from hadaflow._sweep import Sweep
from hadaflow._types import Index, Vector
from hadaflow.operators.base import Operator
from hadaflow.operators.block import Columns


class SparseOperator(Operator):
    """A SciPy sparse array or matrix.

    Parameters
    ----------
    matrix : scipy.sparse array or matrix of shape (m, n)
        Kept in compressed columns; its own format is untouched otherwise.
    """

    def __init__(self, matrix: Any) -> None:
        self._csc = sp.csc_array(matrix)
        self._wide = self._csc.astype(np.float64, copy=False)
        self._transposed = self._wide.T  # a view, whose making takes as long as a small product
        self.shape = (int(matrix.shape[0]), int(matrix.shape[1]))
        self.dtype = self._csc.dtype

    def matvec(self, v: Vector) -> Vector:
        return np.asarray(self._wide @ v)

    def rmatvec(self, r: Vector) -> Vector:
        return np.asarray(self._transposed @ r)

    def matmat(self, v: Vector) -> Vector:
        return np.asarray(self._wide @ v)

    def rmatmat(self, r: Vector) -> Vector:
        return np.asarray(self._transposed @ r)

    def columns(self, index: Index) -> Columns:
        return self._wide[:, index]

    def column_squares(self) -> Vector:
        return np.asarray(np.bincount(self._places(), self._wide.data**2, minlength=self.shape[1]), dtype=np.float64)

    @cached_property
    def column_lengths(self) -> Vector:
        return _lengths(self._wide.data, self._places(), self.shape[1])

    @cached_property
    def row_lengths(self) -> Vector:
        return _lengths(self._wide.data, self._wide.indices, self.shape[0])

    def _places(self) -> Index:
        """The column of each entry."""
        return np.repeat(np.arange(self.shape[1]), np.diff(self._wide.indptr))

    def sweep(self, dtype: np.dtype[Any], threads: int = 1) -> Sweep:
        matrix = self._csc.tocsr().astype(dtype, copy=False)  # rows: the faster order for A @ x
        transposed = matrix.T

        def products(x: Any, y: Any) -> tuple[Any, Any]:
            residual = matrix @ x - y
            return residual, transposed @ residual

        return Sweep(products, 2.0)


def _lengths(entries: Vector, places: Index, count: int) -> Vector:
    """Length of each of ``count`` vectors, also where squares leave the range of doubles."""
    with np.errstate(over="ignore", under="ignore", invalid="ignore"):
        squares = np.bincount(places, entries * entries, minlength=count)
        if ((squares == 0) | ((squares > 1e-250) & (squares < 1e250))).all() and entries.any():
            return np.asarray(np.sqrt(squares))
        tops = np.zeros(count)
        np.maximum.at(tops, places, np.abs(entries))
        scaled = entries / np.where(tops > 0, tops, 1.0)[places]
        return np.asarray(tops * np.sqrt(np.bincount(places, scaled * scaled, minlength=count)))

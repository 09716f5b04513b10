"""A NumPy array."""

from __future__ import annotations

from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hadaflow._sweep import Sweep, compiled, sweep_of, widened_sweep, worth_fusing
from hadaflow._types import Index, Vector
from hadaflow._validation import norm
from hadaflow.operators.base import SLAB, Operator
from hadaflow.operators.block import Columns

Array = NDArray[np.floating[Any]]


class DenseOperator(Operator):
    """A NumPy array, never copied when contiguous.

    Parameters
    ----------
    array : ndarray of shape (m, n)
        C or Fortran ordered, float32 or float64.
    """

    def __init__(self, array: Array) -> None:
        contiguous = array.flags.c_contiguous or array.flags.f_contiguous
        self._array = array if contiguous else np.ascontiguousarray(array)
        self.shape = (array.shape[0], array.shape[1])
        self.dtype = array.dtype
        self.own_threads = compiled() and worth_fusing(array)

    def matvec(self, v: Vector) -> Vector:
        return _widened_product(self._array, v)

    def rmatvec(self, r: Vector) -> Vector:
        return _widened_product(self._array.T, r)

    def matmat(self, v: Vector) -> Vector:
        return _widened_product(self._array, v)

    def rmatmat(self, r: Vector) -> Vector:
        return _widened_product(self._array.T, r)

    def columns(self, index: Index) -> Columns:
        return np.asfortranarray(self._array[:, index], dtype=np.float64)

    def column_squares(self) -> Vector:
        squares: Vector = np.einsum("ij,ij->j", self._array, self._array, dtype=np.float64)
        return squares

    @cached_property
    def column_lengths(self) -> Vector:
        return _lengths(self._array.T)

    @cached_property
    def row_lengths(self) -> Vector:
        return _lengths(self._array)

    def residual(self, x: Vector, r: Vector) -> tuple[Vector, Vector]:
        if not self._array.flags.c_contiguous or not worth_fusing(self._array):
            return super().residual(x, r)
        residual, product = self.sweep(np.dtype(np.float64))(x, r)
        return -np.asarray(residual, dtype=np.float64), -np.asarray(product, dtype=np.float64)

    def sweep(self, dtype: np.dtype[Any], threads: int = 1) -> Sweep:
        if self.dtype == dtype:
            return sweep_of(self._array, threads)
        if dtype == np.float64 and self._array.flags.c_contiguous:
            return widened_sweep(self._array, SLAB)
        return super().sweep(dtype, threads)


def _lengths(matrix: Array) -> Vector:
    """Length of each row, also where squares leave the range of the dtype; infinite or NaN where an entry is."""
    with np.errstate(over="ignore", under="ignore", invalid="ignore"):
        squares = np.einsum("ij,ij->i", matrix, matrix)
        smallest, largest = np.finfo(matrix.dtype).tiny ** 0.8, np.finfo(matrix.dtype).max ** 0.8
        lengths: Vector = np.sqrt(squares.astype(np.float64))
        for j in np.flatnonzero(~((squares > smallest) & (squares < largest))):
            lengths[j] = norm(matrix[j]) if np.isfinite(matrix[j]).all() else np.nan
    return lengths


def _widened_product(matrix: Array, operand: Vector) -> Vector:
    """``matrix @ operand`` in float64; a float32 matrix is widened slab by slab, never as a whole.

    All slabs share one piece of memory: a new one for each may take longer to get than to work on.
    """
    if matrix.dtype == np.float64:
        return np.asarray(matrix @ operand)
    m, n = matrix.shape
    result = np.zeros((m, *operand.shape[1:]))
    if matrix.flags.c_contiguous:
        step = min(m, max(1, SLAB // max(1, n)))
        wide = np.empty((step, n))
        for i in range(0, m, step):
            rows = wide[: min(step, m - i)]
            np.copyto(rows, matrix[i : i + step])
            np.matmul(rows, operand, out=result[i : i + step])
    else:
        step = min(n, max(1, SLAB // max(1, m)))
        wide, part = np.empty((m, step), order="F"), np.empty_like(result)
        for j in range(0, n, step):
            columns = wide[:, : min(step, n - j)]
            np.copyto(columns, matrix[:, j : j + step])
            result += np.matmul(columns, operand[j : j + step], out=part)
    return result

"""A SciPy sparse array or matrix."""

from __future__ import annotations

from typing import Any

import numpy as np
import scipy.sparse as sp

from hadaflow._sweep import Sweep
from hadaflow._validation import Index
from hadaflow.operators.base import Columns, Operator, Vector


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

    def rmatmat(self, r: Vector) -> Vector:
        return np.asarray(self._transposed @ r)

    def columns(self, index: Index) -> Columns:
        return self._wide[:, index]

    def column_squares(self) -> Vector:
        return np.asarray(self._wide.multiply(self._wide).sum(axis=0)).ravel()

    def _measured_columns(self) -> Vector:
        return self._lengths(axis=0)

    def _measured_rows(self) -> Vector:
        return self._lengths(axis=1)

    def _lengths(self, axis: int) -> Vector:
        """Along an axis, also where squares leave the range of doubles."""
        top = np.asarray(abs(self._wide).max(axis=axis).todense()).ravel()
        factors = sp.diags_array(1 / np.where(top > 0, top, 1.0))
        scaled = self._wide @ factors if axis == 0 else factors @ self._wide
        with np.errstate(under="ignore"):
            return np.asarray(top * np.sqrt(np.asarray(scaled.multiply(scaled).sum(axis=axis)).ravel()))

    def abs_matvec(self, v: Vector) -> Vector:
        return np.asarray(abs(self._wide) @ v)

    def sweep(self, dtype: np.dtype[Any], threads: int = 1) -> Sweep:
        matrix = self._csc.tocsr().astype(dtype, copy=False)  # rows: the faster order for A @ x
        transposed = matrix.T

        def products(x: Any, y: Any) -> tuple[Any, Any]:
            residual = matrix @ x - y
            return residual, transposed @ residual

        return Sweep(products, 2.0)

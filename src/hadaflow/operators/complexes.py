"""A complex matrix as a real one: real and imaginary parts interleaved, products in complex arithmetic.

A complex vector is a real one of twice the length, ``(Re z_0, Im z_0, Re z_1, ...)``: the same memory, looked at with
another dtype. Products are taken with the complex matrix; nothing above this file knows of complex numbers.
"""

from __future__ import annotations

from functools import cached_property
from typing import Any

import numpy as np
import scipy.sparse as sp
from numpy.typing import NDArray

from hadaflow._types import Index, Vector
from hadaflow.operators.base import Operator
from hadaflow.operators.block import Columns
from hadaflow.operators.costs import PassCosts


def as_complex(v: Vector) -> NDArray[Any]:
    """Interleaved real numbers as complex ones: of shape (2n,) or (2n, k), to (n,) or (n, k)."""
    if v.ndim == 1:
        return np.ascontiguousarray(v, dtype=np.float64).view(np.complex128)
    return v[0::2] + 1j * v[1::2]


def as_real(z: NDArray[Any]) -> Vector:
    """Complex numbers as interleaved real ones: of shape (n,) or (n, k), to (2n,) or (2n, k)."""
    if z.ndim == 1:
        return np.ascontiguousarray(z, dtype=np.complex128).view(np.float64)
    result = np.empty((2 * len(z), z.shape[1]))
    result[0::2], result[1::2] = z.real, z.imag
    return result


_LEAST = 1e-250  # square lengths beyond may have lost terms


def _parts(matrix: NDArray[Any]) -> tuple[NDArray[Any], NDArray[Any]]:
    return matrix.real, matrix.imag


class ComplexOperator(Operator):
    """A complex matrix or linear operator behind the real protocol.

    Parameters
    ----------
    matrix : ndarray, scipy.sparse array or LinearOperator, complex, of shape (m, n)
        Never copied if a contiguous array.
    real : bool, default False
        Whether x is real: then there are n coordinates, else 2n.
    """

    def __init__(self, matrix: Any, *, real: bool = False) -> None:
        self._free = not isinstance(matrix, np.ndarray) and not sp.issparse(matrix)
        self._matrix = sp.csc_array(matrix) if sp.issparse(matrix) else matrix
        self._real = real
        m, n = (int(size) for size in matrix.shape)
        self.shape = (2 * m, n if real else 2 * n)
        single = np.dtype(matrix.dtype).newbyteorder("=") in (np.complex64, np.float32)
        self.dtype = np.dtype(np.float32 if single else np.float64)
        per_pass = 1.0 if real else 2.0  # a product brings both coordinates of a complex number
        self.costs = PassCosts(columns_per_pass=per_pass) if self._free else PassCosts.of_matrix(self.shape[1])

    def matvec(self, v: Vector) -> Vector:
        operand = v if self._real else as_complex(v)
        return as_real(self._checked(self._matrix @ operand, operand, "A @ v"))

    def rmatvec(self, r: Vector) -> Vector:
        operand = as_complex(r)
        if self._free:
            try:
                product = self._matrix.rmatvec(operand)
            except NotImplementedError as error:
                raise TypeError(
                    "the linear operator A has no adjoint: give it an rmatvec, its product A.conj().T @ r"
                ) from error
            product = self._checked(product, operand, "A.conj().T @ r")
        else:
            product = self._adjoint(operand)
        return self._of_x(product)

    def matmat(self, v: Vector) -> Vector:
        return super().matmat(v) if self._free else as_real(self._matrix @ (v if self._real else as_complex(v)))

    def rmatmat(self, r: Vector) -> Vector:
        return super().rmatmat(r) if self._free else self._of_x(self._adjoint(as_complex(r)))

    def columns(self, index: Index) -> Columns:
        place, imaginary = (index, np.zeros(len(index), dtype=bool)) if self._real else (index // 2, index % 2 == 1)
        chosen: Any = self._by_products(place) if self._free else self._matrix[:, place]
        if not sp.issparse(chosen):
            block = np.array(chosen.T, dtype=np.complex128, order="C")
            block[imaginary] *= 1j
            return block.view(np.float64).T
        data = chosen.data * np.repeat(np.where(imaginary, 1j, 1.0), np.diff(chosen.indptr))
        rows = np.column_stack([2 * chosen.indices, 2 * chosen.indices + 1]).ravel()
        return sp.csc_array((as_real(data), rows, 2 * chosen.indptr), shape=(self.shape[0], len(index)))

    def column_squares(self) -> Vector:
        if self._free:
            return super().column_squares()
        if sp.issparse(self._matrix):
            squares = np.asarray(abs(self._matrix).power(2).sum(axis=0)).ravel().astype(np.float64)
        else:
            squares = np.einsum("ij,ij->j", self._matrix, self._matrix.conj(), dtype=np.complex128).real
        return squares if self._real else np.repeat(squares, 2)

    @cached_property
    def row_lengths(self) -> Vector:
        if not isinstance(self._matrix, np.ndarray):
            return super().row_lengths
        with np.errstate(over="ignore", under="ignore"):
            real, imag = (np.einsum("ij,ij->i", part, part, dtype=np.float64) for part in _parts(self._matrix))
        if not self._real:
            real = imag = real + imag
        squares = np.column_stack([real, imag]).ravel()
        in_range = ((squares == 0) | ((squares > _LEAST) & (squares < 1 / _LEAST))).all()
        return np.asarray(np.sqrt(squares)) if in_range else super().row_lengths

    # ---- parts ---------------------------------------------------------------------------------------------

    def _of_x(self, product: Any) -> Vector:
        """A product with the adjoint as coordinates of x."""
        return np.asarray(product.real, dtype=np.float64) if self._real else as_real(np.asarray(product))

    def _adjoint(self, r: NDArray[Any]) -> Any:
        return (r.T.conj() @ self._matrix).conj().T  # no copy of A

    def _by_products(self, place: Index) -> NDArray[Any]:
        """Columns of the complex matrix, each asked for once."""
        places, back = np.unique(place, return_inverse=True)
        block = np.empty((self.shape[0] // 2, len(places)), dtype=np.complex128, order="F")
        unit = np.zeros(self._matrix.shape[1], dtype=np.float64 if self._real else np.complex128)
        for k, j in enumerate(places):
            unit[j] = 1.0
            block[:, k] = self._checked(self._matrix @ unit, unit, "A @ v")
            unit[j] = 0.0
        return block[:, back]

    def _checked(self, product: Any, operand: NDArray[Any], what: str) -> NDArray[Any]:
        if not self._free:
            return np.asarray(product)
        result = np.asarray(product).ravel()
        if result.dtype.kind not in "fiubc":
            raise TypeError(f"the linear operator A returned {result.dtype} values from {what}")
        if not np.isfinite(result).all() and np.isfinite(operand).all():
            raise ValueError(f"the linear operator A returned NaN or infinity from {what}; check its products")
        return result

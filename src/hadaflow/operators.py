"""What ``A`` may be, behind one small protocol.

Everything above this module asks an :class:`Operator` for three things: ``A @ v``, ``A.T @ r`` and a few
columns of ``A`` as a matrix. All products are returned in float64, whatever the dtype of the data.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Any

import numpy as np
import scipy.sparse as sp
from numpy.typing import NDArray
from scipy.sparse.linalg import LinearOperator, aslinearoperator

from hadaflow._sweep import Sweep, compiled, sweep_of, worth_fusing
from hadaflow._validation import (
    Index,
    check_finite,
    float_dtype,
    norm,
    real_array,
    reject_kind,
)

Vector = NDArray[np.float64]
#: A few columns of A: dense, or compressed sparse columns. Both know ``@``, ``.T`` and ``.shape``.
Columns = Any

_SLAB = 1 << 21  # entries of a float32 matrix that are widened to float64 at a time

_DIVERGED = 1e100  # entries of x that no run comes back from


class Operator(ABC):
    """A real m x n matrix, known through its products.

    Attributes
    ----------
    shape : tuple of int
        ``(m, n)``.
    dtype : numpy.dtype
        float32 or float64: the precision of the data. Products are float64 all the same.
    matrix_free : bool
        Whether A is known by its products alone, so that each column costs one.
    own_threads : bool
        Whether :meth:`sweep` works with threads of its own.
    """

    shape: tuple[int, int]
    dtype: np.dtype[Any]
    matrix_free: bool = False
    own_threads: bool = False

    @abstractmethod
    def matvec(self, v: Vector) -> Vector:
        """``A @ v``, shape (m,)."""

    @abstractmethod
    def rmatvec(self, r: Vector) -> Vector:
        """``A.T @ r``, shape (n,)."""

    @abstractmethod
    def columns(self, index: Index) -> Columns:
        """``A[:, index]`` in float64: a Fortran-ordered array, or a ``csc_array`` where ``A`` is sparse."""

    def rmatmat(self, r: Vector) -> Vector:
        """``A.T @ r`` for a block ``r`` of shape (m, k)."""
        return np.column_stack([self.rmatvec(column) for column in r.T])

    def column_cost(self, count: int) -> float:
        """Cost of :meth:`columns` for ``count`` columns, in passes over ``A``."""
        return count / max(1, self.shape[1])

    def column_squares(self) -> Vector:
        """``||A_i||^2`` of each column, shape (n,); for a LinearOperator their mean, estimated with 16 products."""
        m, n = self.shape
        if self.matrix_free:  # the mean of ||A z||^2 over random signs z is that of the columns
            probes = np.random.default_rng(0).choice([-1.0, 1.0], size=(16, n))
            return np.full(n, float(np.mean([norm(self.matvec(probe)) ** 2 for probe in probes])) / n)
        squares = np.empty(n)
        step = max(1, 2 * _SLAB // m)
        for i in range(0, n, step):
            block = self.columns(np.arange(i, min(n, i + step)))
            squares[i : i + step] = np.asarray((block * block).sum(axis=0)).ravel()
        return squares

    def spectral_square(self, iterations: int = 6) -> float:
        """An estimate of ``||A||^2`` from power iterations: from below, and rarely by more than a third."""
        v = np.random.default_rng(0).standard_normal(self.shape[1])
        square = 0.0
        for _ in range(iterations):
            size = norm(v)
            if size == 0:
                break
            v = self.rmatvec(self.matvec(v / size))
            square = norm(v)
        return square

    def sweep(self, dtype: np.dtype[Any], threads: int = 1) -> Sweep:
        """A function ``x, y -> (A x - y, A.T (A x - y))`` for loops that ask for both, again and again.

        x has shape (n,) or (n, k) and the given ``dtype``, in which a matrix of that dtype is multiplied too.
        """

        def products(x: Any, y: Any) -> tuple[Any, Any]:
            if x.ndim == 1:
                if not np.abs(x).max(initial=0.0) < _DIVERGED:  # or NaN: operators may object to what comes out
                    return np.full_like(y, np.inf), np.full_like(x, np.inf)
                residual = self.matvec(x) - y
                return residual.astype(dtype, copy=False), self.rmatvec(residual).astype(dtype, copy=False)
            pairs = [products(np.ascontiguousarray(x[:, k]), y[:, k]) for k in range(x.shape[1])]
            return np.column_stack([pair[0] for pair in pairs]), np.column_stack([pair[1] for pair in pairs])

        return Sweep(products, 2.0)


class DenseOperator(Operator):
    """A NumPy array, C or Fortran ordered, float32 or float64; never copied when contiguous."""

    def __init__(self, array: NDArray[np.floating[Any]]) -> None:
        contiguous = array.flags.c_contiguous or array.flags.f_contiguous
        self._array = array if contiguous else np.ascontiguousarray(array)
        self.shape = (array.shape[0], array.shape[1])
        self.dtype = array.dtype
        self.own_threads = compiled() and worth_fusing(array)

    def matvec(self, v: Vector) -> Vector:
        return _widened_product(self._array, v)

    def rmatvec(self, r: Vector) -> Vector:
        return _widened_product(self._array.T, r)

    def rmatmat(self, r: Vector) -> Vector:
        return _widened_product(self._array.T, r)

    def columns(self, index: Index) -> Columns:
        return np.asfortranarray(self._array[:, index], dtype=np.float64)

    def column_squares(self) -> Vector:
        squares: Vector = np.einsum("ij,ij->j", self._array, self._array, dtype=np.float64)
        return squares

    def sweep(self, dtype: np.dtype[Any], threads: int = 1) -> Sweep:
        if self.dtype != dtype:
            return super().sweep(dtype, threads)
        return sweep_of(self._array, threads)


class SparseOperator(Operator):
    """A SciPy sparse array or matrix; kept in compressed columns, its own format otherwise untouched."""

    def __init__(self, matrix: Any) -> None:
        self._csc = sp.csc_array(matrix)
        self._wide = self._csc.astype(np.float64, copy=False)
        self.shape = (int(matrix.shape[0]), int(matrix.shape[1]))
        self.dtype = self._csc.dtype

    def matvec(self, v: Vector) -> Vector:
        return np.asarray(self._wide @ v)

    def rmatvec(self, r: Vector) -> Vector:
        return np.asarray(self._wide.T @ r)

    def rmatmat(self, r: Vector) -> Vector:
        return np.asarray(self._wide.T @ r)

    def columns(self, index: Index) -> Columns:
        return self._wide[:, index]

    def sweep(self, dtype: np.dtype[Any], threads: int = 1) -> Sweep:
        matrix = self._csc.tocsr().astype(dtype, copy=False)  # rows: the faster order for A @ x
        transposed = matrix.T

        def products(x: Any, y: Any) -> tuple[Any, Any]:
            residual = matrix @ x - y
            return residual, transposed @ residual

        return Sweep(products, 2.0)


class MatrixFreeOperator(Operator):
    """A ``scipy.sparse.linalg.LinearOperator``, or PyLops's: columns cost a product each."""

    matrix_free = True

    def __init__(self, operator: LinearOperator) -> None:
        self._operator = operator
        self.shape = (int(operator.shape[0]), int(operator.shape[1]))
        self.dtype = float_dtype(np.dtype(operator.dtype))

    def matvec(self, v: Vector) -> Vector:
        return self._checked(self._operator.matvec(v), "A @ v")

    def rmatvec(self, r: Vector) -> Vector:
        try:
            product = self._operator.rmatvec(r)
        except NotImplementedError as error:
            raise TypeError("the linear operator A has no adjoint: give it an rmatvec, its product A.T @ r") from error
        return self._checked(product, "A.T @ r")

    def columns(self, index: Index) -> Columns:
        block = np.empty((self.shape[0], len(index)), order="F")
        unit = np.zeros(self.shape[1])
        for k, j in enumerate(index):
            unit[j] = 1.0
            block[:, k] = self.matvec(unit)
            unit[j] = 0.0
        return block

    def column_cost(self, count: int) -> float:
        return float(count)

    @staticmethod
    def _checked(product: Any, what: str) -> Vector:
        result = np.asarray(product).ravel()
        if result.dtype.kind not in "fiub":
            raise TypeError(
                f"the linear operator A returned {result.dtype} values from {what}; hadaflow works on real data"
            )
        result = result.astype(np.float64, copy=False)
        if not np.isfinite(result).all():
            raise ValueError(
                f"the linear operator A returned NaN or infinity from {what}; check it with hadaflow.dot_test"
            )
        return result


class Scaled(Operator):
    """``factor * A * diag(column_factors)`` without touching ``A``; powers of two add no rounding."""

    def __init__(self, operator: Operator, factor: float, column_factors: Vector | None = None) -> None:
        self._operator = operator
        self._factors = np.full(operator.shape[1], factor) if column_factors is None else factor * column_factors
        self._common = factor if column_factors is None else None
        self.shape, self.dtype, self.matrix_free = operator.shape, operator.dtype, operator.matrix_free

    def matvec(self, v: Vector) -> Vector:
        if self._common is not None:
            return self._operator.matvec(v) * self._common
        return self._operator.matvec(v * self._factors)

    def rmatvec(self, r: Vector) -> Vector:
        return self._operator.rmatvec(r) * self._factors

    def rmatmat(self, r: Vector) -> Vector:
        return self._operator.rmatmat(r) * self._factors[:, None]

    def columns(self, index: Index) -> Columns:
        columns = self._operator.columns(index)
        if sp.issparse(columns):
            return sp.csc_array(columns @ sp.diags_array(self._factors[index]))
        columns *= self._factors[index]
        return columns

    def column_cost(self, count: int) -> float:
        return self._operator.column_cost(count)


class Metered(Operator):
    """``A`` with a meter for passes, made anew for each run so that no count outlives it."""

    def __init__(self, operator: Operator) -> None:
        self._operator = operator
        self.shape, self.dtype, self.matrix_free = operator.shape, operator.dtype, operator.matrix_free
        self.passes = 0.0

    def matvec(self, v: Vector) -> Vector:
        self.passes += 1
        return self._operator.matvec(v)

    def rmatvec(self, r: Vector) -> Vector:
        self.passes += 1
        return self._operator.rmatvec(r)

    def rmatmat(self, r: Vector) -> Vector:
        self.passes += r.shape[1] if self.matrix_free else 1
        return self._operator.rmatmat(r)

    def columns(self, index: Index) -> Columns:
        self.passes += self.column_cost(len(index))
        return self._operator.columns(index)

    def column_cost(self, count: int) -> float:
        return self._operator.column_cost(count)


def _widened_product(matrix: NDArray[np.floating[Any]], operand: Vector) -> Vector:
    """``matrix @ operand`` in float64; a float32 matrix is widened slab by slab, never as a whole."""
    if matrix.dtype == np.float64:
        return np.asarray(matrix @ operand)
    m, n = matrix.shape
    result = np.zeros((m, *operand.shape[1:]))
    if matrix.flags.c_contiguous:
        step = max(1, _SLAB // max(1, n))
        for i in range(0, m, step):
            result[i : i + step] = matrix[i : i + step].astype(np.float64) @ operand
    else:
        step = max(1, _SLAB // max(1, m))
        for j in range(0, n, step):
            result += matrix[:, j : j + step].astype(np.float64) @ operand[j : j + step]
    return result


def as_operator(A: Any) -> Operator:
    """``A`` behind the operator protocol, checked.

    Parameters
    ----------
    A : array_like of shape (m, n), scipy.sparse array or matrix, or LinearOperator
        Real data; an operator is SciPy's, PyLops's or any object with ``shape``, ``matvec`` and
        ``rmatvec``. Arrays and sparse data must be finite; they are used as they are, never written to.

    Returns
    -------
    Operator

    Raises
    ------
    TypeError
        If ``A`` is not real-valued data.
    ValueError
        If ``A`` is not two-dimensional, is empty, or contains NaN or infinity.
    """
    if isinstance(A, Operator):
        return A
    if sp.issparse(A):
        reject_kind(A.dtype, "A")
        matrix = A.astype(float_dtype(A.dtype), copy=False)
        _check_size(matrix.shape)
        operator: Operator = SparseOperator(matrix)
        check_finite(operator._csc.data, "A.data")  # type: ignore[attr-defined]
        return operator
    if hasattr(A, "matvec") and hasattr(A, "shape"):  # PyLops operators are no subclass of SciPy's
        A = aslinearoperator(A)
        reject_kind(np.dtype(A.dtype), "A")
        _check_size(A.shape)
        return MatrixFreeOperator(A)
    array = real_array(A, "A", 2)
    _check_size(array.shape)
    check_finite(array, "A")
    return DenseOperator(array)


def _check_size(shape: tuple[int, ...]) -> None:
    if len(shape) != 2:
        raise ValueError(f"A must be two-dimensional, of shape (m, n), got shape {shape}")
    if 0 in shape:
        raise ValueError(f"A is empty (shape {shape}); it needs at least one row and one column")

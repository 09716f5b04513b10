"""From whatever a user calls ``A`` to an operator."""

from __future__ import annotations

from typing import Any

import numpy as np
import scipy.sparse as sp
from scipy.sparse.linalg import aslinearoperator

from hadaflow._validation import check_finite, float_dtype, real_array, reject_kind
from hadaflow.operators.base import Operator
from hadaflow.operators.block import dense
from hadaflow.operators.complexes import ComplexOperator
from hadaflow.operators.dense import DenseOperator
from hadaflow.operators.matrix_free import MatrixFreeOperator
from hadaflow.operators.partitioned import PartitionedOperator, is_partitioned
from hadaflow.operators.repeated import Repeated
from hadaflow.operators.sparse import SparseOperator


def as_operator(A: Any) -> Operator:
    """``A`` behind the operator protocol, checked.

    Parameters
    ----------
    A : array_like of shape (m, n), scipy.sparse array or matrix, LinearOperator or dask.array.Array
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

    Examples
    --------
    >>> import numpy as np
    >>> from hadaflow.operators import as_operator
    >>> as_operator(np.eye(2, 3)).rmatvec(np.array([1.0, 2.0]))
    array([1., 2., 0.])
    """
    if isinstance(A, Operator):
        return A
    if sp.issparse(A):
        reject_kind(A.dtype, "A")
        matrix = A.astype(float_dtype(A.dtype), copy=False)
        _check_size(matrix.shape)
        sparse = SparseOperator(matrix)
        if not np.isfinite(sparse.row_lengths).all():
            check_finite(sparse._csc.data, "A.data")
        return sparse
    if is_partitioned(A) or hasattr(A, "__dask_graph__"):
        return PartitionedOperator(A)
    if hasattr(A, "matvec") and hasattr(A, "shape"):  # PyLops operators are no subclass of SciPy's
        A = aslinearoperator(A)
        reject_kind(np.dtype(A.dtype), "A")
        _check_size(A.shape)
        return MatrixFreeOperator(A)
    array = real_array(A, "A", 2)
    _check_size(array.shape)
    dense = DenseOperator(array)
    if not np.isfinite(dense.row_lengths).all():  # measured here, in the pass that such a check takes
        check_finite(array, "A")
    return dense


def complex_operator(A: Any, *, real: bool = False) -> ComplexOperator:
    """A complex ``A`` behind the real operator protocol: see :class:`ComplexOperator`.

    Parameters
    ----------
    A : array_like of shape (m, n), scipy.sparse array or matrix, or LinearOperator
        Complex data.
    real : bool, default False
        Whether x is real.

    Raises
    ------
    TypeError, ValueError
        As :func:`as_operator`.
    """
    if sp.issparse(A):
        matrix = A.astype(float_dtype(A.dtype), copy=False)
        _check_size(matrix.shape)
        check_finite(matrix.tocsc().data, "A.data")
        return ComplexOperator(matrix, real=real)
    if hasattr(A, "__dask_graph__"):
        raise TypeError("A is a complex dask array: complex data have to fit into memory, pass A.compute()")
    if hasattr(A, "matvec") and hasattr(A, "shape"):
        A = aslinearoperator(A)
        _check_size(A.shape)
        return ComplexOperator(A, real=real)
    array = real_array(A, "A", 2, complex_too=True)
    _check_size(array.shape)
    check_finite(array, "A")
    return ComplexOperator(array, real=real)


def in_memory(operator: Operator) -> Operator:
    """The same matrix as an array; a product for each of its columns, if it is known by these."""
    k = operator.repeats
    columns = dense(operator.base_columns(np.arange(operator.shape[1] // k)))
    matrix = DenseOperator(columns.astype(operator.dtype, copy=False))
    return matrix if k == 1 else Repeated(matrix, k)


def is_complex(value: Any) -> bool:
    """Whether an array, sparse matrix or operator holds complex numbers."""
    if isinstance(value, Operator):
        return False
    if not hasattr(value, "dtype"):  # lists of numbers
        try:
            value = np.asarray(value)
        except ValueError:  # ragged: others say so
            return False
    try:
        return value.dtype is not None and np.dtype(value.dtype).kind == "c"
    except TypeError:  # of another library, for instance Dask's, that has no answer yet
        return False


def _check_size(shape: tuple[int, ...]) -> None:
    if len(shape) != 2:
        raise ValueError(f"A must be two-dimensional, of shape (m, n), got shape {shape}")
    if 0 in shape:
        raise ValueError(f"A is empty (shape {shape}); it needs at least one row and one column")

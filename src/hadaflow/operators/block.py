"""A few columns of A, dense or sparse: the one place that asks which of the two they are.

Both kinds know ``@``, ``.T``, ``.shape`` and selection by index. What differs between them is a function here.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import scipy.sparse as sp

from hadaflow._types import Vector

#: A Fortran-ordered array, or compressed sparse columns (``csc_array``).
Columns = Any

_DENSE_ROWS = 10_000  # up to which sparse columns are worked on as dense ones, far faster here


def is_sparse(columns: Columns) -> bool:
    """Whether the zeros of the columns are not stored."""
    return bool(sp.issparse(columns))


def dense(columns: Columns) -> Vector:
    """The columns as an array; not copied if they are one."""
    return np.asarray(columns.toarray(order="F") if sp.issparse(columns) else columns)


def at_work(columns: Columns) -> Columns:
    """The columns for many products: dense ones, unless they are sparse and long."""
    return dense(columns) if sp.issparse(columns) and columns.shape[0] <= _DENSE_ROWS else columns


def product(left: Columns, right: Columns) -> Vector:
    """``left.T @ right`` as an array."""
    inner = left.T @ right
    return np.asarray(inner.toarray() if sp.issparse(inner) else inner)


def gram_of(columns: Columns) -> Vector:
    """Inner products of the columns."""
    return product(columns, columns)


def row_gram(columns: Columns) -> Vector:
    """Inner products of the rows."""
    return product(columns.T, columns.T)


def columns_scaled(columns: Columns, factors: Vector) -> Columns:
    """``columns @ diag(factors)``."""
    return columns @ sp.diags_array(factors) if sp.issparse(columns) else columns * factors


def rows_scaled(columns: Columns, factors: Vector) -> Columns:
    """``diag(factors) @ columns``."""
    return sp.csc_array(sp.diags_array(factors) @ columns) if sp.issparse(columns) else factors[:, None] * columns


def lengths_of(columns: Columns) -> Vector:
    """Length of each column, also where squares leave the range of doubles."""
    with np.errstate(over="ignore", under="ignore"):
        squares = squares_of(columns)
        if ((squares > 1e-250) & (squares < 1e250)).all():
            return np.asarray(np.sqrt(squares))
        tops = abs(columns).max(axis=0)
        tops = np.asarray(tops.toarray()).ravel() if sp.issparse(columns) else tops
        scaled = columns_scaled(columns, 1 / np.where(tops > 0, tops, 1.0))
        return np.asarray(tops * np.sqrt(squares_of(scaled)))


def squares_of(columns: Columns) -> Vector:
    """Square length of each column."""
    if sp.issparse(columns):
        return np.asarray(columns.multiply(columns).sum(axis=0)).ravel()
    return np.asarray(np.einsum("ij,ij->j", columns, columns))

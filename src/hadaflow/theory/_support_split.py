"""The kernel of a matrix, seen from a support: what every constant of paper C is computed from."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import scipy.linalg as la
from numpy.typing import NDArray

from hadaflow._validation import Index, check_finite, coordinates, real_array

Vector = NDArray[np.float64]
Matrix = NDArray[np.float64]

_EPS = float(np.finfo(np.float64).eps)


@dataclass(frozen=True, eq=False)
class SupportSplit:
    """A kernel vector n of A is known from its part off the support: ``n_S = carry n_C`` with ``checks n_C = 0``.

    Likewise every vector ``theta = A^T nu`` has ``theta_C = -carry^T theta_S + checks^T mu`` with free theta_S and mu.
    Both hold for ``c A`` and for every invertible mixture of the rows of A, as do all numbers derived from here.

    Attributes
    ----------
    support, others : ndarray of int, shapes (s,) and (k,)
        S and its complement C, both ascending.
    carry : ndarray of shape (s, k)
        ``-A_S^+ A_C``.
    checks : ndarray of shape (r, k)
        Orthonormal rows; what is left of A_C orthogonal to the columns of A_S.
    injective : bool
        Whether the columns of A_S are independent (else ``carry`` is meaningless).
    """

    support: Index
    others: Index
    carry: Matrix
    checks: Matrix
    injective: bool

    @property
    def trivial(self) -> bool:
        """Whether only the zero vector is in the kernel of A."""
        return self.injective and len(self.checks) == len(self.others)

    def project(self, off_support: Vector) -> Vector:
        """The nearest n_C that belongs to a kernel vector."""
        nearest: Vector = off_support - self.checks.T @ (self.checks @ off_support)
        return nearest

    def kernel_vector(self, off_support: Vector) -> Vector:
        """The kernel vector of A with this part off the support, shape (n,)."""
        vector = np.zeros(len(self.support) + len(self.others))
        vector[self.others] = off_support
        vector[self.support] = self.carry @ off_support
        return vector


def checked_matrix(A: object) -> Matrix:
    """A as a dense float64 matrix without NaN or infinite entries."""
    matrix = real_array(A, "A", 2)
    if 0 in matrix.shape:
        raise ValueError(f"A must have at least one row and one column, got shape {matrix.shape}")
    check_finite(matrix, "A")
    return matrix.astype(np.float64, copy=False)


def checked_support(support: object, n: int) -> Index:
    """Coordinates below n without repetition, ascending."""
    index = coordinates(support, "support", n)
    unique = np.unique(index)
    if len(unique) < len(index):
        raise ValueError("support must name every coordinate once; pass np.unique(support)")
    if (index != unique).any():
        raise ValueError("support must be ascending, in the order of signs; sort both with np.argsort(support)")
    return index


def split(matrix: Matrix, support: Index) -> SupportSplit:
    """The split of a checked matrix along a checked support, O(m^2 n)."""
    n = matrix.shape[1]
    others = np.setdiff1d(np.arange(n), support)
    scaled = matrix / (float(np.abs(matrix).max()) or 1.0)
    on, off = scaled[:, support], scaled[:, others]
    q, r = la.qr(on, check_finite=False)
    s = len(support)
    injective = _independent(r[:s], len(matrix)) if s <= len(matrix) else False
    carry = -la.solve_triangular(r[:s], q[:, :s].T @ off) if injective and s else np.zeros((s, len(others)))
    return SupportSplit(support, others, carry, _row_basis(q[:, s:].T @ off, off), injective)


def _independent(triangle: Matrix, rows: int) -> bool:
    """Whether the columns behind a triangular factor are independent to rounding, whatever their lengths."""
    length = np.sqrt((triangle**2).sum(axis=0))
    if not len(length):
        return True
    if not length.all():
        return False
    sizes = np.linalg.svd(triangle / length, compute_uv=False)
    return bool(sizes[-1] > 10 * _EPS * max(rows, len(length)) * sizes[0])


def _row_basis(rows: Matrix, off: Matrix) -> Matrix:
    """An orthonormal basis of the row space; rows that are rounding beside ``off`` count as zero."""
    if 0 in rows.shape:
        return np.zeros((0, rows.shape[1]))
    _, sizes, basis = np.linalg.svd(rows, full_matrices=False)
    kept = sizes > 10 * _EPS * max(off.shape) * np.linalg.norm(off, 2)
    return np.asarray(basis[kept], dtype=np.float64)

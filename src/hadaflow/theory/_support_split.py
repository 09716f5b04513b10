"""The kernel of a matrix, seen from a support: what every constant of paper C is computed from."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
import scipy.linalg as la
from numpy.typing import NDArray

from hadaflow._types import Index, Vector
from hadaflow._validation import check_finite, coordinates, one_of, power_of_two, real_array

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
        Independent rows of length one; what is left of A_C orthogonal to the columns of A_S.
    injective : bool
        Whether the columns of A_S are independent (else ``carry`` is meaningless).
    basis, units : ndarray of shapes (r, k) and (k,)
        The same row space with the columns of A_C brought to one size, in orthonormal rows, and those sizes: so that
        nothing is lost where lengths differ by many powers of ten.
    """

    support: Index
    others: Index
    carry: Matrix
    checks: Matrix
    injective: bool
    basis: Matrix
    units: Vector

    @property
    def trivial(self) -> bool:
        """Whether only the zero vector is in the kernel of A."""
        return self.injective and len(self.checks) == len(self.others)

    @cached_property
    def ranges(self) -> Vector:
        """Upper bounds of ``|n_C|`` for kernel vectors with ``||n_C||_1 = 1``: as ``n_C = P n_C`` for a projector.

        Variables of programmes are measured in these, so that a solver's absolute tolerances mean the same for all.
        """
        rows = np.linalg.qr(self.checks.T)[0]
        off = np.abs(np.eye(len(rows)) - rows @ rows.T).max(axis=1, initial=0.0)
        found: Vector = (1.01 * off + 1e-12).clip(max=1.0)
        return found

    @cached_property
    def ranged_checks(self) -> tuple[Matrix, Vector]:
        """``checks * ranges`` with rows brought to largest entry one, and what they were divided by."""
        rows = self.checks * self.ranges
        top = np.abs(rows).max(axis=1, initial=0.0)
        return rows / top[:, None], top

    def project(self, off_support: Vector) -> Vector:
        """The n_C of a kernel vector that is nearest where all columns are of one size."""
        scaled = off_support * self.units
        nearest: Vector = (scaled - self.basis.T @ (self.basis @ scaled)) / self.units
        return nearest

    def kernel_vector(self, off_support: Vector) -> Vector:
        """The kernel vector of A with this part off the support, shape (n,)."""
        vector = np.zeros(len(self.support) + len(self.others))
        vector[self.others] = off_support
        vector[self.support] = self.carry @ off_support
        return vector


def checked_matrix(A: object) -> Matrix:
    """A as a dense float64 matrix without NaN or infinite entries."""
    if hasattr(A, "matvec"):
        raise TypeError(
            f"A must be a dense array here, got {type(A).__name__}, of which only products are known; "
            f"pass A @ np.eye(A.shape[1])"
        )
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


def column_sizes(matrix: Matrix) -> Vector:
    """The power of two at or below the largest entry of each column, of any for a zero one: dividing by it is exact."""
    top = np.abs(matrix).max(axis=0, initial=0.0)
    sizes: Vector = power_of_two(np.where(top > 0, top, top.max(initial=0.0) or 1.0))
    return sizes


def split(matrix: Matrix, support: Index) -> SupportSplit:
    """The split of a checked matrix along a checked support, O(m^2 n).

    All factorisations are of columns of one size, and the results converted back.
    """
    n = matrix.shape[1]
    others = np.setdiff1d(np.arange(n), support)
    sizes = column_sizes(matrix)
    scaled = matrix / sizes
    on, off, units = scaled[:, support], scaled[:, others], sizes[others]
    q, r = la.qr(on, check_finite=False)
    s = len(support)
    injective = _independent(r[:s], len(matrix)) if s <= len(matrix) else False
    carry = -la.solve_triangular(r[:s], q[:, :s].T @ off) if injective and s else np.zeros((s, len(others)))
    with np.errstate(over="ignore", invalid="ignore"):
        carry = carry * (units / sizes[support][:, None])
    if not np.isfinite(carry).all():
        raise ValueError("the columns of A differ in length by more than 1e300; scale them, and x with them")
    basis = _row_basis(q[:, s:].T @ off, off)
    return SupportSplit(support, others, carry, _graded(basis, units), injective, basis, units)


def _graded(basis: Matrix, units: Vector) -> Matrix:
    """Rows spanning those of ``basis * units``, eliminated from the longest column on, each of length one.

    Without the elimination a few long columns would make all rows nearly parallel.
    """
    if 0 in basis.shape:
        return basis
    order = np.argsort(-units, kind="stable")
    relative = units / units.max()
    rows = np.empty_like(basis)
    rows[:, order] = (
        la.qr(basis[:, order], mode="economic", check_finite=False)[1] if np.ptp(units) else basis[:, order]
    )
    rows = rows * relative
    top = np.abs(rows).max(axis=1, keepdims=True)
    rows = rows / np.where(top > 0, top, 1.0)
    lengths = np.sqrt((rows**2).sum(axis=1, keepdims=True))
    graded: Matrix = rows / np.where(lengths > 0, lengths, 1.0)
    return graded


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
    """An orthonormal basis of the row space; rows that are rounding compared with ``off`` count as zero."""
    if 0 in rows.shape:
        return np.zeros((0, rows.shape[1]))
    _, sizes, basis = np.linalg.svd(rows, full_matrices=False)
    kept = sizes > 10 * _EPS * max(off.shape) * np.linalg.norm(off, 2)
    return np.asarray(basis[kept], dtype=np.float64)


def checked_signs(signs: object, count: int, sign: str) -> Vector:
    """Signs of x on its support as numbers, one per coordinate.

    Raises
    ------
    TypeError, ValueError
        If they are no signs, not as many, or negative for non-negative x.
    """
    sigma = real_array(signs, "signs", 1).astype(np.float64)
    one_of(sign, "sign", ("both", "positive"))
    if len(sigma) != count:
        raise ValueError(f"signs must have one entry per coordinate of support ({count}), got {len(sigma)}")
    if (np.abs(sigma) != 1).any():
        raise ValueError("signs must be -1 or 1; pass np.sign(x[support])")
    if sign == "positive" and (sigma < 0).any():
        raise ValueError('signs must all be 1 for sign="positive": x is non-negative')
    return sigma

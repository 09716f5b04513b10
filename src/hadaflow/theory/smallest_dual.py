"""The dual certificate that stays farthest below its bounds off the support (paper C)."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from hadaflow._span import shortest_dual
from hadaflow._types import Index, Sign, Vector
from hadaflow.theory import _sign_patterns as patterns
from hadaflow.theory._sign_patterns import supremum
from hadaflow.theory._support_split import (
    Matrix,
    SupportSplit,
    checked_matrix,
    checked_signs,
    checked_support,
    column_sizes,
    split,
)


@dataclass(frozen=True, eq=False)
class DualCertificate:
    """The smallest dual certificate of a support with signs.

    Attributes
    ----------
    vector : ndarray of shape (m,)
        lambda with ``A_S^T lambda = sigma``.
    size : float
        ``max_C |A_i^T lambda|`` (positive model: without the modulus), the rho of the support.
    """

    vector: NDArray[np.float64]
    size: float


def smallest_dual_certificate(A: object, support: object, signs: object, *, sign: Sign = "both") -> DualCertificate:
    """The lambda with ``A_S^T lambda = sigma`` that keeps ``max |A_C^T lambda|`` smallest: rho from the other side.

    Parameters
    ----------
    A : array_like of shape (m, n)
        Measurement matrix, dense.
    support : array_like of int, shape (s,)
        S, ascending.
    signs : array_like of shape (s,)
        Signs -1 or 1 on S.
    sign : {"both", "positive"}, default "both"
        The model; "positive": ``max A_C^T lambda``, but not below 0 where it could fall without bound.

    Returns
    -------
    DualCertificate

    Raises
    ------
    TypeError, ValueError
        If an argument has the wrong kind, shape or range, or the columns of A on the support are dependent.

    Notes
    -----
    One linear programme (HiGHS) with m - s + 1 columns and 2 (n - s) rows, the dual of the one behind
    ``null_space_constants(...).rho``: by strong duality the values agree. A size below 1 proves x the only
    l1-minimiser. Source: docs/mathematics.md, "Null-space constants".

    Examples
    --------
    >>> import numpy as np
    >>> from hadaflow.theory import smallest_dual_certificate
    >>> smallest_dual_certificate(np.array([[1.0, 0.5]]), [0], [1.0])
    DualCertificate(vector=array([1.]), size=0.5)
    """
    matrix, index, sigma = checked_case(A, support, signs, sign)
    kernel = split(matrix, index)
    if not kernel.injective:
        raise ValueError("the columns of A on the support are dependent: no vector is the only minimiser there")
    one_sided = sign == "positive"
    below = one_sided and supremum(kernel, sigma, one_sided=True).upper == -math.inf
    mu = patterns.certificate(kernel, sigma, one_sided=one_sided, floor=0.0 if below or not one_sided else None)
    theta = kernel.checks.T @ mu - kernel.carry.T @ sigma
    size = float((theta if one_sided else np.abs(theta)).max(initial=-math.inf if one_sided else 0.0))
    return DualCertificate(original_dual(matrix, kernel, sigma, mu), size)


def checked_case(A: object, support: object, signs: object, sign: str) -> tuple[Matrix, Index, Vector]:
    """Matrix, support and signs of a case, checked."""
    matrix = checked_matrix(A)
    index = checked_support(support, matrix.shape[1])
    return matrix, index, checked_signs(signs, len(index), sign)


def original_dual(matrix: Matrix, kernel: SupportSplit, sigma: Vector, mu: Vector) -> Vector:
    """The shortest lambda of a certificate, in the units of A."""
    theta = np.empty(matrix.shape[1])
    theta[kernel.support] = sigma
    theta[kernel.others] = kernel.checks.T @ mu - kernel.carry.T @ sigma
    return shortest_dual(matrix, column_sizes(matrix), theta)

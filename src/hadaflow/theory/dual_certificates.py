"""Dual certificates: a vector that proves x the only minimiser, looked for by least squares and linear programmes."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
import scipy.linalg as la

from hadaflow._types import Index, Sign, Vector
from hadaflow._validation import flag, norm
from hadaflow.operators import Operator, as_operator
from hadaflow.theory._rip_search import dense_columns
from hadaflow.theory._support_split import checked_signs, checked_support
from hadaflow.theory.smallest_dual import smallest_dual_certificate

_EPS = float(np.finfo(np.float64).eps)
_MET, _BELOW = 1e-9, 1e-8  # how exactly signs have to be met, and how far below 1 counts as below


@dataclass(frozen=True, eq=False)
class CertificateSearch:
    """A dual vector that meets given signs on a support, and what it proves.

    Attributes
    ----------
    vector : ndarray of shape (m,)
        nu, with ``A_S^T nu = sigma``.
    size : float
        ``max |A_i^T nu|`` over i off the support (positive model: without the modulus); 0 if there is none.
    mismatch : float
        ``max |A_S^T nu - sigma|``: rounding, unless the columns on the support are dependent and no nu meets the signs.
    independent : bool
        Whether the columns on the support are, to rounding.
    method : {"least squares", "linear programme"}
        The shortest nu, or one of smallest ``size``. The latter decides: if it proves nothing, nothing does.
    """

    vector: Vector
    size: float
    mismatch: float
    independent: bool
    method: Literal["least squares", "linear programme"]

    @property
    def margin(self) -> float:
        """``1 - size``; positive if the support is separated from the rest."""
        return 1.0 - self.size

    @property
    def proves_minimal(self) -> bool:
        """Whether every x with these signs has the smallest l1 norm among all solutions of ``A z = A x``."""
        return self.mismatch <= _MET and self.size <= 1 + _MET

    @property
    def proves_unique(self) -> bool:
        """Whether it is the only one."""
        return self.mismatch <= _MET and self.size < 1 - _BELOW and self.independent


def dual_certificate(
    A: object, support: object, signs: object, *, sign: Sign = "both", minimal: bool = False
) -> CertificateSearch:
    """Search a proof that vectors with this support and these signs are the l1-minimisers of their measurements.

    The proof is a nu with ``A_S^T nu = sigma`` and ``max |A_i^T nu| < 1`` off the support. First the shortest one,
    ``nu = A_S (A_S^T A_S)^-1 sigma``; if that is too large off the support, the one that is smallest there.

    Parameters
    ----------
    A : array_like of shape (m, n), scipy.sparse array or matrix, or LinearOperator
        The matrix.
    support : array_like of int, shape (s,)
        S, ascending; may be empty.
    signs : array_like of shape (s,)
        sigma: -1 or 1, in the order of ``support``.
    sign : {"both", "positive"}, default "both"
        "positive": minimality among non-negative vectors; all signs 1, and no modulus off the support.
    minimal : bool, default False
        Go on to the smallest certificate even if the shortest one proves uniqueness; its ``size`` is the constant rho
        of :func:`hadaflow.theory.null_space_constants`.

    Returns
    -------
    CertificateSearch
        ``vector``, ``size``, ``margin``, ``proves_minimal``, ``proves_unique``.

    Raises
    ------
    TypeError, ValueError
        If an argument has the wrong kind, shape or range.

    Notes
    -----
    Proved: such a nu proves minimality, and uniqueness if A_S has independent columns and the inequality is strict;
    where the smallest certificate fails, no vector with these signs is a minimiser (the only one) at all. Checked in
    double precision, with allowances of 1e-9 and 1e-8: column lengths that differ by 1e12 leave a mismatch above that,
    which proves nothing. Least squares: s columns and one pass over A, O(m s^2). The
    linear programme needs all columns (n products with a LinearOperator) as a dense matrix. Source: Fuchs 2004 for the
    shortest one; docs/mathematics.md, "Certificates".

    Examples
    --------
    >>> import numpy as np
    >>> from hadaflow.theory import dual_certificate
    >>> found = dual_certificate(np.array([[1.0, 0.5]]), [0], [1.0])
    >>> found.size, found.proves_unique, found.method
    (0.5, True, 'least squares')
    """
    operator = as_operator(A)
    m, n = operator.shape
    index = checked_support(support, n)
    sigma = checked_signs(signs, len(index), sign)
    minimal = flag(minimal, "minimal")
    columns = dense_columns(operator, index)
    length = np.array([norm(column) for column in columns.T])
    length[length == 0] = 1.0
    kept = _independent_columns(columns / length)
    independent = len(kept) == len(index)
    vector = np.zeros(m)
    if len(index):
        least = float(length.min())  # not sigma / length, which may overflow
        vector = la.lstsq((columns / length).T, sigma * (least / length), check_finite=False)[0] / least
    found = _judged(operator, index, sigma, vector, sign, independent=independent, shortest=True)
    met = independent or found.mismatch <= _MET  # independent columns meet any signs, whatever rounding says
    if not met or (found.proves_unique and not minimal):
        return found
    # Dependent columns whose signs are met by all that meet those of a basis: the others may be left out.
    used = np.union1d(np.setdiff1d(np.arange(n), index), index[kept])
    places = np.searchsorted(used, index[kept])
    smallest = smallest_dual_certificate(dense_columns(operator, used), places, sigma[kept], sign=sign).vector
    return _judged(operator, index, sigma, smallest, sign, independent=found.independent, shortest=False)


def _independent_columns(columns: Vector) -> Index:
    """Ascending positions of columns of length 1 that span the others, to rounding."""
    if columns.shape[1] == 0:
        return np.arange(0)
    triangle, order = la.qr(columns, mode="r", pivoting=True, check_finite=False)
    pivots = np.abs(np.diagonal(triangle))
    return np.sort(order[: int((pivots > 10 * _EPS * max(columns.shape) * pivots[0]).sum())])


def _judged(
    operator: Operator,
    support: Index,
    sigma: Vector,
    vector: Vector,
    sign: Sign,
    *,
    independent: bool,
    shortest: bool,
) -> CertificateSearch:
    dual_correlations = operator.rmatvec(vector)
    off = np.delete(dual_correlations if sign == "positive" else np.abs(dual_correlations), support)
    return CertificateSearch(
        vector=vector,
        size=float(off.max()) if len(off) else 0.0,
        mismatch=float(np.abs(dual_correlations[support] - sigma).max(initial=0.0)),
        independent=independent,
        method="least squares" if shortest else "linear programme",
    )

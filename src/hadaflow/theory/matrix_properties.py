"""What a matrix promises about sparse recovery: coherence, restricted isometry, dual certificates."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import scipy.linalg as la

from hadaflow._span import shortest_dual
from hadaflow._types import Index, Vector
from hadaflow._validation import flag, norm, one_of, real_array, whole_number
from hadaflow.operators import Operator, as_operator
from hadaflow.theory._rip_search import Reduced, Search, blocks, dense_columns, generator, lengths
from hadaflow.theory._support_split import checked_support
from hadaflow.theory.null_space import Sign, smallest_dual_certificate

Scaling = Literal["best", "none", "columns"]

_EPS = float(np.finfo(np.float64).eps)
_MET, _BELOW = 1e-9, 1e-8  # how exactly signs have to be met, and how far below 1 counts as below


@dataclass(frozen=True)
class Coherence:
    """How alike two columns of A are at most, and what follows.

    Attributes
    ----------
    value : float
        Mutual coherence ``max |<A_i, A_j>| / (||A_i|| ||A_j||)`` over i != j, in [0, 1]; 0 for a single column.
        A zero column counts as parallel to every other: 1.
    pair : tuple of int
        Two columns that attain it, the smaller index first; ``(0, 0)`` for a single column.
    one_sided : float
        ``max |<A_i, A_j>| / ||A_i||^2``: the same number for columns of equal length, larger otherwise; infinite with a
        zero column.
    recoverable : int
        Every x with at most so many non-zeros is the unique solution of smallest l1 norm of ``A z = A x``: the largest
        whole ``s < (1 + 1 / one_sided) / 2``, at most n. Sufficient, far from necessary.
    """

    value: float
    pair: tuple[int, int]
    one_sided: float
    recoverable: int


def coherence(A: object) -> Coherence:
    """Mutual coherence of the columns of A, exactly, and the sparsity that it guarantees.

    Parameters
    ----------
    A : array_like of shape (m, n), scipy.sparse array or matrix, or LinearOperator
        Any scale; column lengths may differ.

    Returns
    -------
    Coherence

    Raises
    ------
    TypeError, ValueError
        If ``A`` is not real, finite, two-dimensional data.

    Notes
    -----
    Proved: a kernel vector z has ``||A_i||^2 z_i = -sum_j <A_i, A_j> z_j``, so ``|z_i| <= mu sum_(j != i) |z_j|`` with
    ``mu = one_sided``, hence ``sum_S |z_i| <= s mu / (1 + mu) ||z||_1 < 1/2 ||z||_1`` for ``|S| = s < (1 + 1 / mu) /
    2``: the null space property. For columns of equal length this is the bound of Donoho, Elad, Gribonval and Nielsen.
    ``recoverable`` allows for the rounding of mu. O(m n^2) operations, a block of Gram columns at a time (32 MiB); 2 n
    products with a LinearOperator. Source: docs/mathematics.md, "Coherence, restricted isometry, dual certificates".

    Examples
    --------
    >>> import numpy as np
    >>> from hadaflow.theory import coherence
    >>> found = coherence(np.hstack([np.eye(4), np.full((4, 1), 0.5)]))
    >>> found.value, found.pair, found.recoverable
    (0.5, (0, 4), 1)
    """
    operator = as_operator(A)
    m, n = operator.shape
    length = lengths(operator)
    if not length.all():
        first = int(np.argmin(length))
        pair = (0, first) if first > 0 else (0, min(1, n - 1))
        return Coherence(1.0, pair, math.inf, 0)
    value, one_sided, pair = 0.0, 0.0, (0, min(1, n - 1))
    for block in blocks(operator):
        cosine = np.abs(operator.rmatmat(dense_columns(operator, block) / length[block])) / length[:, None]
        cosine[block, np.arange(len(block))] = 0.0
        j, i = np.unravel_index(int(cosine.argmax()), cosine.shape)
        if cosine[j, i] > value:
            value, pair = float(cosine[j, i]), (int(j), int(block[i]))
        one_sided = max(one_sided, float((cosine * (length[:, None] / length[block])).max()))
    safe = one_sided + 4 * _EPS * math.sqrt(m) * (1 + one_sided)
    recoverable = min(n, math.ceil((1 + 1 / safe) / 2) - 1)
    return Coherence(min(1.0, value), (min(pair), max(pair)), one_sided, recoverable)


@dataclass(frozen=True)
class RipEstimate:
    """A lower bound on a restricted isometry constant of A.

    Attributes
    ----------
    order : int
        Number of columns s taken at a time.
    lower_bound : float
        The constant ``delta_s`` is at least this; it *is* this where ``exact``.
    exact : bool
        Whether all supports were examined. If not, the true constant may be larger: nothing is promised by a small
        number here, while a large one rules a promise out.
    smallest, largest : float
        Extreme squared singular values of the submatrices seen, after scaling: the true ones are at most ``smallest``
        and at least ``largest``.
    weakest, strongest : ndarray of int, shape (s,)
        Supports that attain them.
    scaling : str
        How A was scaled, see :func:`rip_estimate`.
    factor : float
        What A was multiplied by as a whole ("best"); 1 otherwise.
    supports : int
        Number of supports examined.
    """

    order: int
    lower_bound: float
    exact: bool
    smallest: float
    largest: float
    weakest: Index
    strongest: Index
    scaling: str
    factor: float
    supports: int


def rip_estimate(
    A: object,
    order: int,
    *,
    samples: int = 100,
    scaling: Scaling = "best",
    most_supports: int = 20_000,
    rng: Any = 0,
) -> RipEstimate:
    """Estimate, from below, the restricted isometry constant of A of the given order.

    ``delta_s`` is the smallest number with ``(1 - delta_s) ||z||^2 <= ||A z||^2 <= (1 + delta_s) ||z||^2`` for all z
    with at most s non-zeros: the extreme eigenvalues of ``A_S^T A_S`` over all supports S of s columns decide.

    Parameters
    ----------
    A : array_like of shape (m, n), scipy.sparse array or matrix, or LinearOperator
        The matrix.
    order : int
        s, from 1 to n.
    samples : int, default 100
        Random supports to start from; each is improved by exchanging columns, once towards the largest and once towards
        the smallest eigenvalue.
    scaling : {"best", "none", "columns"}, default "best"
        "best": A times the one positive factor for which the constant is smallest, ``(M - m) / (M + m)`` with the
        extreme eigenvalues m and M; what the l1 problem depends on, since a common factor changes none of its
        solutions. "none": A as it is. "columns": columns divided by their lengths, which must not be zero; this changes
        the l1 problem into a weighted one.
    most_supports : int, default 20_000
        All supports are examined, and the constant is exact, if there are at most so many.
    rng : int, numpy Generator or anything ``np.random.default_rng`` takes
        Source of the random supports.

    Returns
    -------
    RipEstimate

    Raises
    ------
    TypeError, ValueError
        If an argument has the wrong kind or range, or a column to be normalised is zero.

    Notes
    -----
    Proved: each support examined bounds ``delta_s`` from below. Computing it is NP-hard; only enumeration gives upper
    bounds. A step exchanges a column for the one most correlated with ``A_S v``, v the extreme eigenvector, as long as
    that helps: O(m n + s^3) and one pass over A each. Enumeration is O(s^3) per support. Source: docs/mathematics.md,
    "Coherence, restricted isometry, dual certificates".

    Examples
    --------
    >>> import numpy as np
    >>> from hadaflow.theory import rip_estimate
    >>> found = rip_estimate(np.hstack([np.eye(4), np.full((4, 1), 0.5)]), 2)
    >>> round(found.lower_bound, 12), found.exact, found.strongest
    (0.5, True, array([0, 4]))
    """
    operator = Reduced(as_operator(A))
    n = operator.shape[1]
    order = whole_number(order, "order")
    if order > n:
        raise ValueError(f"order must be at most the number of columns of A ({n}), got {order}")
    samples = whole_number(samples, "samples")
    most_supports = whole_number(most_supports, "most_supports", minimum=0)
    one_of(scaling, "scaling", ("best", "none", "columns"))
    source = generator(rng)
    length = lengths(operator) if scaling == "columns" else np.ones(n)
    if not length.all():
        first = int(np.argmin(length))
        raise ValueError(f"A has a zero column ({first}), which cannot be normalised: drop it, or take scaling='best'")
    search = Search(operator, length, order)
    exact = math.comb(n, order) <= most_supports
    if exact:
        search.enumerate()
    else:
        for _ in range(samples):
            start = source.choice(n, order, replace=False)
            search.climb(start, top=True)
            search.climb(start, top=False)
    low, high, factor = max(0.0, search.smallest), search.largest, 1.0
    if scaling == "best":
        middle = (low + high) / 2 or 1.0
        low, high, factor = low / middle, high / middle, operator.over_unit(1 / math.sqrt(middle))
    elif scaling == "none":
        low, high = (operator.times_unit(operator.times_unit(value)) for value in (low, high))
    return RipEstimate(
        order=order,
        lower_bound=max(high - 1, 1 - low),
        exact=exact,
        smallest=low,
        largest=high,
        weakest=np.sort(search.weakest),
        strongest=np.sort(search.strongest),
        scaling=scaling,
        factor=factor,
        supports=search.seen,
    )


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
    sigma = _checked_signs(signs, len(index), sign)
    minimal = flag(minimal, "minimal")
    columns = dense_columns(operator, index)
    length = np.array([norm(column) for column in columns.T])
    length[length == 0] = 1.0
    kept = _independent_columns(columns / length)
    independent = len(kept) == len(index)
    vector = np.zeros(m)
    if len(index):
        vector = shortest_dual(columns, length, sigma)
    found = _judged(operator, index, sigma, vector, sign, independent=independent, shortest=True)
    met = independent or found.mismatch <= _MET  # independent columns meet any signs, whatever rounding says
    if not met or (found.proves_unique and not minimal):
        return found
    # Dependent columns whose signs are met by all that meet those of a basis: the others may be left out.
    used = np.union1d(np.setdiff1d(np.arange(n), index), index[kept])
    places = np.searchsorted(used, index[kept])
    smallest = smallest_dual_certificate(dense_columns(operator, used), places, sigma[kept], sign=sign).vector
    return _judged(operator, index, sigma, smallest, sign, independent=found.independent, shortest=False)


def _checked_signs(signs: object, count: int, sign: str) -> Vector:
    sigma = real_array(signs, "signs", 1).astype(np.float64)
    one_of(sign, "sign", ("both", "positive"))
    if len(sigma) != count:
        raise ValueError(f"signs must have one entry per coordinate of support ({count}), got {len(sigma)}")
    if (np.abs(sigma) != 1).any():
        raise ValueError("signs must be -1 or 1; pass np.sign(x[support])")
    if sign == "positive" and (sigma < 0).any():
        raise ValueError('signs must all be 1 for sign="positive": x is non-negative')
    return sigma


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
    reach = operator.rmatvec(vector)
    off = np.delete(reach if sign == "positive" else np.abs(reach), support)
    return CertificateSearch(
        vector=vector,
        size=float(off.max()) if len(off) else 0.0,
        mismatch=float(np.abs(reach[support] - sigma).max(initial=0.0)),
        independent=independent,
        method="least squares" if shortest else "linear programme",
    )

"""Null-space constants: how close a matrix is to having other vectors of equal l1 norm beside a given one (paper C)."""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cached_property
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from hadaflow._span import shortest_dual
from hadaflow._types import Index, Vector
from hadaflow._validation import one_of, positive_number, real_array, whole_number
from hadaflow.theory import _sign_patterns as patterns
from hadaflow.theory._sign_patterns import Cube, Limits, Supremum, supremum
from hadaflow.theory._support_split import Matrix, SupportSplit, checked_matrix, checked_support, column_sizes, split

Sign = Literal["both", "positive"]
Method = Literal["auto", "enumerate", "branch", "bounds"]

_MOST_ENUMERATED = 5  # entries of the support up to which all patterns cost less than branch and bound
_MOST_BRANCHED = 24  # and up to which branch and bound has a chance
_CLOSED = 1e-5  # relative width of an interval that counts as exact; branch and bound leaves some 1e-6
_MINUS, _PLUS, _BOTH = Cube(0.0, 1.0), Cube(-1.0, 0.0), Cube(-1.0, 1.0)


@dataclass(frozen=True)
class Interval:
    """A number known to lie between two others.

    Attributes
    ----------
    lower, upper : float
        The value of a kernel vector that was found, and a proved bound.
    """

    lower: float
    upper: float

    @property
    def exact(self) -> bool:
        """Whether the two agree to 1e-5 (from all patterns of signs: to rounding)."""
        if math.isinf(self.upper):
            return self.lower == self.upper
        return self.upper - self.lower <= _CLOSED * max(1.0, self.upper)


@dataclass(frozen=True, eq=False)
class NullSpaceConstants:
    """Null-space constants of a matrix at a support with signs; see :func:`null_space_constants`.

    Attributes
    ----------
    rho : float
        The signed constant, exact: the value of its certificate, within ``duality_gap`` of that of its kernel vector.
        Infinite if the columns on the support are dependent.
    rho_minus, rho_plus, rho_tilde : Interval
        One-sided sums and the plain constant. Their upper ends are what upper bounds of the error may use.
    maximiser : ndarray of shape (n,)
        A kernel vector n^ with ``||n^_C||_1 = 1`` and ``-<sigma, n^_S> = rho``; zero if the kernel of A is trivial (or,
        positive model, holds no vector that is non-negative off the support).
    certificate : ndarray of shape (m,)
        The lambda with ``A_S^T lambda = sigma`` and ``max |A_C^T lambda| = rho``; NaN if the columns on the support are
        dependent, infinite where it is beyond the range of doubles (entries of A below 1e-308).
    duality_gap : float
        Difference of the two values of rho, both from feasible points: rounding.
    support : ndarray of int, shape (s,)
        S, ascending.
    signs : ndarray of shape (s,)
        sigma, entries -1 and 1.
    size : int
        n, the length of x.
    sign : {"both", "positive"}
        Which model they are for.
    """

    rho: float
    rho_minus: Interval
    rho_plus: Interval
    rho_tilde: Interval
    maximiser: NDArray[np.float64]
    certificate: NDArray[np.float64]
    duality_gap: float
    support: Index
    signs: NDArray[np.float64]
    size: int
    sign: Sign

    @property
    def exact(self) -> bool:
        """Whether all of them are."""
        return self.rho_minus.exact and self.rho_plus.exact and self.rho_tilde.exact

    @property
    def unique(self) -> bool:
        """Whether x is the only l1-minimiser: ``rho < 1 - 1e-9``, allowing for rounding (inf: dependent columns)."""
        return patterns.below_one(self.rho)

    def __repr__(self) -> str:
        parts = ", ".join(
            f"{name} {value.upper:.4g}" if value.exact else f"{name} {value.lower:.4g} to {value.upper:.4g}"
            for name, value in (("rho_minus", self.rho_minus), ("rho_tilde", self.rho_tilde))
        )
        return f"NullSpaceConstants(|S| = {len(self.support)} of {self.size}, rho {self.rho:.4g}, {parts})"


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


def null_space_constants(
    A: object,
    support: object,
    signs: object,
    *,
    sign: Sign = "both",
    method: Method = "auto",
    node_limit: int = 1000,
    time_limit: float = math.inf,
) -> NullSpaceConstants:
    """How fast the limit of the flow approaches the l1-minimiser with this support, and with what constants.

    Suprema over kernel vectors n of A with ``||n_C||_1 <= 1`` (positive model: ``n_C >= 0`` and ``= 1``), C the
    complement of S::

        rho       = sup -<sigma, n_S>     = min { max |A_C^T lambda| : A_S^T lambda = sigma }
        rho_minus = sup sum_S max(-sigma_i n_i, 0),    rho_plus the same of sigma_i n_i
        rho_tilde = sup ||n_S||_1

    so that ``rho <= rho_minus = rho_plus <= rho_tilde <= 2 rho_minus`` (signed model). A vector with support S and
    signs sigma is the only one of its l1 norm among all with the same measurements exactly if A_S has independent
    columns and ``rho < 1``; ``rho_tilde < 1`` says that this holds for all signs.

    Parameters
    ----------
    A : array_like of shape (m, n)
        Measurement matrix, dense. Only its kernel matters: ``c A`` gives the same numbers.
    support : array_like of int, shape (s,)
        S, ascending; may be empty or everything.
    signs : array_like of shape (s,)
        Signs -1 or 1 on S, in the order of ``support``.
    sign : {"both", "positive"}, default "both"
        The model. For non-negative x (all signs 1) only kernel vectors with ``n_C >= 0`` and sum 1 count, and the
        modulus around ``A_C^T lambda`` goes; rho may then be negative (-inf if there is no such vector), ``rho_minus``
        and ``rho_plus`` differ, and these and ``rho_tilde`` are not below 0.
    method : {"auto", "enumerate", "branch", "bounds"}, default "auto"
        How all but rho are found: one linear programme per pattern of signs; branch and bound; or bounds only.
        "auto": up to 5 entries, up to 24, beyond.
    node_limit : int, default 1000
        Nodes of branch and bound, per constant.
    time_limit : float, optional
        Seconds of branch and bound, per constant; by default none, so that the answer depends on no clock. Where a
        limit ends it, the interval stays open.

    Returns
    -------
    NullSpaceConstants

    Raises
    ------
    TypeError, ValueError
        If an argument has the wrong kind, shape or range, or columns of A differ in length by more than 1e300.

    Notes
    -----
    Columns of any lengths: programmes are solved in units of the ranges of their variables. Constants keep nine digits
    for lengths within a factor of 1e6 of each other, and some five for 1e12; intervals enclose them.
    rho: one linear programme (HiGHS) with m - s rows and 2 (n - s) columns. ``rho_minus`` and ``rho_tilde`` maximise
    a convex function over the corners of a cube: 2^s and 2^(s-1) programmes by enumeration, s of them and a
    mixed-integer one (HiGHS) by branch and bound, where upper ends are padded by the tolerance of 1e-6. Bounds: any
    M with ``n_S = M n_C`` on the kernel gives ``rho_tilde <= max_j sum_i |M_ij|``; M starts at ``-A_S^+ A_C`` and is
    improved by descent, some 100 steps of O(s (m - s) (n - s)); lower ends come from alternating maximisation.
    Full support, trivial kernel: all constants are 0, but rho = -inf in the positive model. Empty support: all are 0.
    ``unique`` and all that follows from it take a rho within 1e-9 of 1 for 1. Source: paper C (abstract; that its rho
    is this one is an open hint), docs/mathematics.md, "Null-space constants": proved there.

    Examples
    --------
    >>> import numpy as np
    >>> from hadaflow.theory.null_space import null_space_constants
    >>> c = null_space_constants(np.array([[1.0, 0.5]]), [0], [1.0])
    >>> c.rho, c.rho_tilde.upper, c.maximiser, c.certificate
    (0.5, 0.5, array([-0.5,  1. ]), array([1.]))
    """
    matrix, index, sigma = _checked(A, support, signs, sign)
    one_of(method, "method", ("auto", "enumerate", "branch", "bounds"))
    node_limit = whole_number(node_limit, "node_limit")
    if time_limit != math.inf:
        time_limit = positive_number(time_limit, "time_limit")
    kernel = split(matrix, index)
    if not kernel.injective:
        return _of_dependent_columns(matrix, kernel, sigma, sign)
    one_sided = sign == "positive"
    top = supremum(kernel, sigma, one_sided=one_sided)
    if kernel.trivial or not len(index) or top.upper == -math.inf:
        minus = plus = tilde = Interval(0.0, 0.0)
    else:
        search = _Search(kernel, sigma, one_sided, _method(method, len(index)), Limits(node_limit, time_limit), top)
        minus, tilde = search.interval(_MINUS), search.interval(_BOTH)
        plus = search.interval(_PLUS) if one_sided else minus
    return NullSpaceConstants(
        rho=top.upper,
        rho_minus=minus,
        rho_plus=plus,
        rho_tilde=tilde,
        maximiser=kernel.kernel_vector(top.off_support),
        certificate=_original_dual(matrix, kernel, sigma, top.mu),
        duality_gap=top.upper - top.lower if math.isfinite(top.upper) else 0.0,
        support=index,
        signs=sigma,
        size=matrix.shape[1],
        sign=sign,
    )


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
    >>> from hadaflow.theory.null_space import smallest_dual_certificate
    >>> smallest_dual_certificate(np.array([[1.0, 0.5]]), [0], [1.0])
    DualCertificate(vector=array([1.]), size=0.5)
    """
    matrix, index, sigma = _checked(A, support, signs, sign)
    kernel = split(matrix, index)
    if not kernel.injective:
        raise ValueError("the columns of A on the support are dependent: no vector is the only minimiser there")
    one_sided = sign == "positive"
    below = one_sided and supremum(kernel, sigma, one_sided=True).upper == -math.inf
    mu = patterns.certificate(kernel, sigma, one_sided=one_sided, floor=0.0 if below or not one_sided else None)
    theta = kernel.checks.T @ mu - kernel.carry.T @ sigma
    size = float((theta if one_sided else np.abs(theta)).max(initial=-math.inf if one_sided else 0.0))
    return DualCertificate(_original_dual(matrix, kernel, sigma, mu), size)


def _checked(A: object, support: object, signs: object, sign: str) -> tuple[Matrix, Index, Vector]:
    matrix = checked_matrix(A)
    index = checked_support(support, matrix.shape[1])
    sigma = real_array(signs, "signs", 1).astype(np.float64)
    one_of(sign, "sign", ("both", "positive"))
    if len(sigma) != len(index):
        raise ValueError(f"signs must have one entry per coordinate of support ({len(index)}), got {len(sigma)}")
    if (np.abs(sigma) != 1).any():
        raise ValueError("signs must be -1 or 1; pass np.sign(x[support])")
    if sign == "positive" and (sigma < 0).any():
        raise ValueError('signs must all be 1 for sign="positive": x is non-negative')
    return matrix, index, sigma


def _method(method: Method, s: int) -> Method:
    if method != "auto":
        return method
    return "enumerate" if s <= _MOST_ENUMERATED else "branch" if s <= _MOST_BRANCHED else "bounds"


@dataclass(eq=False)
class _Search:
    """One constant after the other, by one method."""

    kernel: SupportSplit
    sigma: Vector
    one_sided: bool
    method: Method
    limits: Limits
    top: Supremum

    def interval(self, cube: Cube) -> Interval:
        if self.method == "enumerate":
            return Interval(*patterns.enumerate_cube(self.kernel, self.sigma, cube, one_sided=self.one_sided))
        if self.method == "bounds":
            return self._bounds(cube)
        found = Interval(
            *patterns.branch(
                self.kernel,
                self.sigma,
                cube,
                self._carried,
                self.top.off_support,
                one_sided=self.one_sided,
                limits=self.limits,
            )
        )
        if found.exact:
            return found
        bounds = self._bounds(cube)
        return Interval(max(found.lower, bounds.lower), min(found.upper, bounds.upper))

    @cached_property
    def _carried(self) -> Matrix:
        """A matrix M with ``sigma n_S = M n_C`` for all kernel vectors, and small columns."""
        return self.sigma[:, None] * patterns.flattened(self.kernel)

    def _bounds(self, cube: Cube) -> Interval:
        """Enclosed between a climb and what M proves."""
        lower = patterns.climb_from_many(self.kernel, self.sigma, cube, self.top.off_support, one_sided=self.one_sided)
        upper = cube.cover(self._carried, one_sided=self.one_sided)
        if cube is _MINUS:  # sum max(-t, 0) = (-sum t + sum |t|) / 2
            upper = min(upper, (self.top.upper + _BOTH.cover(self._carried, one_sided=self.one_sided)) / 2)
        return Interval(lower, max(lower, upper))


def _original_dual(matrix: Matrix, kernel: SupportSplit, sigma: Vector, mu: Vector) -> Vector:
    """The shortest lambda of a certificate, in the units of A."""
    theta = np.empty(matrix.shape[1])
    theta[kernel.support] = sigma
    theta[kernel.others] = kernel.checks.T @ mu - kernel.carry.T @ sigma
    return shortest_dual(matrix, column_sizes(matrix), theta)


def _of_dependent_columns(matrix: Matrix, kernel: SupportSplit, sigma: Vector, sign: Sign) -> NullSpaceConstants:
    """A kernel vector lives on the support alone: every supremum is infinite."""
    everything = Interval(math.inf, math.inf)
    maximiser = np.zeros(matrix.shape[1])
    on = matrix[:, kernel.support]
    sizes = column_sizes(on)
    relative = sizes.min() / sizes  # not 1 / sizes, which may overflow
    maximiser[kernel.support] = np.linalg.svd(on / sizes)[2][-1] * relative
    maximiser[kernel.support] /= np.abs(maximiser).max()
    maximiser /= np.abs(maximiser).sum() * (np.sign(-sigma @ maximiser[kernel.support]) or 1.0)
    nothing = np.full(matrix.shape[0], np.nan)
    return NullSpaceConstants(
        math.inf,
        everything,
        everything,
        everything,
        maximiser,
        nothing,
        0.0,
        kernel.support,
        sigma,
        matrix.shape[1],
        sign,
    )

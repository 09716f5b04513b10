"""How far the limit of the flow is from the l1-minimiser, to full relative precision at any scale."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import scipy.linalg as la
from numpy.typing import NDArray

from hadaflow._types import Sign, Vector
from hadaflow._validation import check_finite, one_of, positive_number, real_array
from hadaflow.convergence import quietly
from hadaflow.dynamics.limit import limit
from hadaflow.models import HadamardPower
from hadaflow.problems import Problem
from hadaflow.theory._sign_patterns import supremum
from hadaflow.theory._support_split import Matrix, SupportSplit, checked_matrix, split

_SMALLEST, _LARGEST = 1e-300, 1e300  # product scales: beyond, x itself leaves the range of doubles
_MOST_NEWTON, _MOST_OUTER, _MOST_HALVINGS = 100, 40, 30
_ROUNDING = 1e-13


@dataclass(frozen=True, eq=False)
class LimitError:
    """The error ``n = x_inf - x`` of a limit, a vector in the kernel of A.

    Attributes
    ----------
    error : ndarray of shape (n,)
        All of it, in units of x. Off the support it is x_inf itself; on it ``n_S = -A_S^+ A_C n_C``: no subtraction.
    off_support : float
        ``||n_C||_1``.
    off_support_max : float
        ``max |n_C|``.
    total : float
        ``||n||_1``.
    """

    error: NDArray[np.float64]
    off_support: float
    off_support_max: float
    total: float


def limit_error(
    A: object,
    x: object,
    *,
    depth: float,
    init_scale: float | None = None,
    product_scale: float | None = None,
    sign: Sign = "both",
) -> LimitError:
    """The error of the limit of the flow for ``y = A x``, however small it is.

    The limit is ``x + n`` with n in the kernel of A and ``Q'(x + n)`` orthogonal to the kernel. :func:`hadaflow.limit`
    gives it to 1e-12 of the largest entry; this function gives n to some 12 digits of its own size, fewer as rho comes
    near 1 (relative errors are those of 1 - rho). Where the error is exactly 0, it is rounding.

    Parameters
    ----------
    A : array_like of shape (m, n)
        Measurement matrix, dense.
    x : array_like of shape (n,)
        The l1-minimiser, with exact zeros off its support.
    depth : float
        D >= 2.
    init_scale, product_scale : float
        Exactly one of them: the start a of every factor entry in units of ``x^(1/D)``, or ``a^D`` in units of x.
    sign : {"both", "positive"}, default "both"
        The model.

    Returns
    -------
    LimitError

    Raises
    ------
    TypeError, ValueError
        If an argument has the wrong kind, shape or range, the columns on the support are dependent, or both or
        neither scale is given.
    RuntimeError
        If neither this method nor ``hadaflow.limit`` finds the limit.

    Notes
    -----
    Unknowns are the dual state on S and its free part mu off S, ``theta_C = -(A_S^+ A_C)^T theta_S + B^T mu``: so the
    large entries on S do not swamp the small ones off it. Given theta_S, mu minimises a smooth convex function; theta_S
    then follows from ``x_S + n_S``, by Newton's method. One linear programme for the start and some 10 systems of m - s
    unknowns. Where x is not the only minimiser (rho, one more programme, not below 1 by 1e-9), or Newton's method does
    not settle (scales far above x, mostly), x_inf is that of ``hadaflow.limit``, to 1e-12 of its largest entry; where
    that does not converge either, this is a RuntimeError. Source: docs/mathematics.md, "The error off the support".

    Examples
    --------
    >>> import numpy as np
    >>> from hadaflow.theory.limit_error import limit_error
    >>> limit_error(
    ...     np.array([[1.0, 0.5]]), [1.0, 0.0], depth=3, product_scale=1e-200
    ... ).off_support  # tends to h(1/2) a^D
    7.703...e-200
    """
    matrix, target, model, a, kernel = posed(A, x, depth, init_scale, product_scale, sign)
    if not kernel.injective:
        raise ValueError("the columns of A on the support of x are dependent: x is not the only l1-minimiser")
    rho = supremum(kernel, np.sign(target[kernel.support]), one_sided=not model.signed)
    off = _Outer(kernel, model, a, target[kernel.support]).solve() if rho.unique else None
    if off is None:
        off = _of_the_limit(matrix, target, model, a)[kernel.others]
    error = kernel.kernel_vector(off)
    sizes = np.abs(off)
    return LimitError(error, float(sizes.sum()), float(sizes.max(initial=0.0)), float(np.abs(error).sum()))


def _of_the_limit(matrix: Matrix, target: Vector, model: HadamardPower, init_scale: float) -> Vector:
    """x_inf, where the error has the size of x or of the scale and nothing is lost by ``hadaflow.limit``."""
    end = quietly(limit, Problem(matrix, matrix @ target), model, init_scale=init_scale)
    if not end.status.ok:
        raise RuntimeError(
            f"neither Newton's method nor hadaflow.limit found the limit at depth {model.depth:g}, product scale "
            f"{init_scale**model.depth:g} (status {end.status.name}); take a scale nearer to the entries of x, which "
            f"are up to {np.abs(target).max():.3g}, and check with null_space_constants that x is the only l1-minimiser"
        )
    return np.asarray(end.x, dtype=np.float64)


class Posed(NamedTuple):
    """The question that all functions about the error of a limit are asked, checked."""

    matrix: Matrix
    target: Vector
    model: HadamardPower
    init_scale: float
    kernel: SupportSplit


def posed(
    A: object, x: object, depth: float, init_scale: float | None, product_scale: float | None, sign: Sign
) -> Posed:
    """A matrix, the l1-minimiser and the start; and the kernel, split along the minimiser's support."""
    matrix = checked_matrix(A)
    model = HadamardPower(positive_number(depth, "depth", minimum=2.0, strict=False), sign)
    a = one_scale(model.depth, init_scale, product_scale)
    target = checked_minimiser(x, matrix.shape[1], sign)
    return Posed(matrix, target, model, a, split(matrix, np.flatnonzero(target)))


def one_scale(depth: float, init_scale: float | None, product_scale: float | None) -> float:
    """The init scale, from whichever of the two was given."""
    if (init_scale is None) == (product_scale is None):
        raise ValueError(
            "give exactly one of init_scale (the start a of every factor entry) and product_scale (a**depth)"
        )
    if product_scale is not None:
        log_product = np.log(positive_number(product_scale, "product_scale"))
    else:
        log_product = depth * np.log(positive_number(init_scale, "init_scale"))
    if not np.log(_SMALLEST) - 1e-6 <= log_product <= np.log(_LARGEST) + 1e-6:
        raise ValueError(
            f"the product scale a**depth must lie between {_SMALLEST:g} and {_LARGEST:g}, "
            f"got 1e{log_product / np.log(10):.0f}"
        )
    return float(np.exp(log_product / depth))


def checked_minimiser(x: object, n: int, sign: str) -> Vector:
    """A finite vector of n entries (non-negative ones for the positive model)."""
    target = real_array(x, "x", 1).astype(np.float64)
    one_of(sign, "sign", ("both", "positive"))
    if len(target) != n:
        raise ValueError(f"x must have one entry per column of A ({n}), got {len(target)}")
    check_finite(target, "x")
    if sign == "positive" and (target < 0).any():
        raise ValueError('x must not have negative entries for sign="positive"')
    return target


def barrier(model: HadamardPower, init_scale: float) -> float:
    """The dual state at which a coordinate would be infinite (depth 2: at which it has grown by a factor e)."""
    mirror = model.mirror(init_scale, 1)
    return math.nan if mirror.affine else mirror.unit


def dual_state(model: HadamardPower, x: Vector, init_scale: float) -> Vector:
    """Q'(x), also of an empty vector; NaN or -inf where a positive model does not reach x.

    Signed, NaN where ``|x|`` is below 1e-300 of the product scale: the state would leave the range of doubles.
    """
    if not len(x):
        return np.zeros(0)
    with np.errstate(all="ignore"):
        if model.signed:
            x = np.where(np.log(np.abs(x)) - model.depth * math.log(init_scale) < math.log(_SMALLEST), np.nan, x)
        return np.asarray(model.inverse(x, init_scale), dtype=np.float64)


class Balance(NamedTuple):
    """Where ``checks B(theta) = 0``, at scale one; ``off_support`` and ``slope`` in units of ``exp(log_unit)``."""

    mu: Vector
    off_support: Vector
    slope: Vector
    normal: Matrix
    log_unit: float

    def entries(self, log_scale: float) -> Vector:
        """B(theta) at product scale ``exp(log_scale)``."""
        x: Vector = np.exp(log_scale + self.log_unit) * self.off_support
        return x


def balance(model: HadamardPower, base: Vector, checks: Matrix, mu: Vector) -> Balance | None:
    """Minimise ``sum Q*(theta)`` over ``theta = base + checks^T mu`` by damped Newton steps, at init scale one.

    None where the start lies beyond the barrier or the iteration does not come to rest.
    """
    exponential = not model.signed and model.depth == 2  # B(theta - c) = B(theta) / B(c): entries may be tiny or huge
    size = float(np.abs(base).max())
    start = float((base + checks.T @ mu).max()) if exponential else 0.0
    log_unit = start / barrier(model, 1.0) if exponential else 0.0
    base = base - start
    theta = base + checks.T @ mu
    value = float(np.sum(model.conjugate(theta, 1.0)))
    if not np.isfinite(value):
        return None
    noise = _ROUNDING * (1 + size)  # relative, of a value whose theta are rounded
    for _ in range(_MOST_NEWTON):
        x, slope = model.mirror_map(theta, 1.0), model.slope(theta, 1.0)
        normal = (checks * (slope / slope.max())) @ checks.T
        step = -la.lstsq(normal, checks @ (x / slope.max()), check_finite=False)[0]
        move = checks.T @ step
        at_rest = np.abs(slope * move).max() <= noise * np.abs(x).max()
        if at_rest or np.abs(move).max() <= _ROUNDING * (size + 1e-3):
            return Balance(mu + step, x + slope * move, slope, normal, log_unit)
        descent = float(x @ move)  # negative
        for halving in range(_MOST_HALVINGS):
            length = 0.5**halving
            trial = float(np.sum(model.conjugate(theta + length * move, 1.0)))
            if trial <= value + 1e-4 * length * descent + noise * abs(value):
                break
        else:
            return None
        mu, value = mu + length * step, trial
        theta = base + checks.T @ mu
    return None


@dataclass(eq=False)
class _Outer:
    """The dual state on the support, found so that it belongs to ``x_S + n_S``."""

    kernel: SupportSplit
    model: HadamardPower
    init_scale: float
    on_support: Vector

    def solve(self) -> Vector | None:
        """x_inf off the support, or None where this does not converge or leaves the range of doubles."""
        with np.errstate(all="ignore"):
            try:
                off = self._iterated()
            except np.linalg.LinAlgError:
                return None
        return off if off is not None and np.isfinite(off).all() else None

    def _iterated(self) -> Vector | None:
        theta = self._state(self.on_support)
        if not np.isfinite(theta).all():
            return None
        start = supremum(self.kernel, theta, one_sided=not self.model.signed)
        if self.kernel.trivial or start.upper == -math.inf:  # x is the only solution
            return np.zeros(len(self.kernel.others))
        inner = self._inner(theta, start.mu)
        gap = self._gap(theta, inner)
        for _ in range(_MOST_OUTER):
            if inner is None or gap is None:
                return None
            if np.abs(gap).max(initial=0.0) <= _ROUNDING * (np.abs(theta).max(initial=0.0) + 1e-3):
                return inner.entries(self._log_scale)
            theta, inner, gap = self._advance(theta, inner, gap)
        return None

    @property
    def _log_scale(self) -> float:
        return self.model.depth * math.log(self.init_scale)

    def _state(self, on_support: Vector) -> Vector:
        """Q' in the units of scale one (where the dual state of the same t is a^(D-2) times as long)."""
        theta: Vector = dual_state(self.model, on_support, self.init_scale) * self.init_scale ** (self.model.depth - 2)
        return theta

    def _inner(self, theta: Vector, mu: Vector) -> Balance | None:
        return balance(self.model, -self.kernel.carry.T @ theta, self.kernel.checks, mu)

    def _gap(self, theta: Vector, inner: Balance | None) -> Vector | None:
        if inner is None:
            return None
        shift = self.kernel.carry @ inner.entries(self._log_scale)
        gap: Vector = self._state(self.on_support + shift) - theta
        return gap if np.isfinite(gap).all() else None

    def _advance(self, theta: Vector, inner: Balance, gap: Vector) -> tuple[Vector, Balance | None, Vector | None]:
        """A Newton step, halved until the mismatch falls."""
        kernel, size = self.kernel, float(inner.slope.max())
        weighted = kernel.carry * (inner.slope / size)
        cross = weighted @ kernel.checks.T
        multipliers = la.lstsq(inner.normal, cross.T, check_finite=False)[0]
        response = weighted @ kernel.carry.T - cross @ multipliers  # of n_S to -theta_S, in units of w size
        on_slope = np.asarray(self.model.slope(theta, 1.0), dtype=np.float64)
        ease = np.where(np.isfinite(on_slope), np.exp(inner.log_unit) * size / on_slope, 0.0)
        step = np.linalg.solve(np.eye(len(theta)) + ease[:, None] * response, gap)
        for halving in range(_MOST_HALVINGS):
            length = 0.5**halving
            trial = theta + length * step
            found = self._inner(trial, inner.mu + multipliers @ (length * step))
            rest = self._gap(trial, found)
            if rest is not None and np.linalg.norm(rest) < (1 - 0.1 * length) * np.linalg.norm(gap):
                return trial, found, rest
        return theta, None, None

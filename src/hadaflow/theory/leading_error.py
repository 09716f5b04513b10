"""What the error of the limit tends to as the scale vanishes, with its constant (paper C)."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import linprog

from hadaflow._types import Index, Sign, Vector
from hadaflow.models import HadamardPower
from hadaflow.theory._sign_patterns import Supremum, supremum
from hadaflow.theory._support_split import Matrix, SupportSplit
from hadaflow.theory.limit_error import balance, barrier, posed

_ACTIVE = 1e-9  # a certificate within this of its maximum is at it


@dataclass(frozen=True, eq=False)
class LeadingError:
    """What the error tends to, to leading order as the scale vanishes.

    Attributes
    ----------
    error : ndarray of shape (n,)
        The leading term of ``x_inf - x``, at the scale asked for.
    off_support, total : float
        Its l1 norms off the support and in all.
    exponent : float
        It is proportional to ``product_scale**exponent``.
    correction_exponent : float
        The relative error of it is of the order ``product_scale**correction_exponent``.
    unique : bool
        Whether only one kernel vector maximises rho. At depth 2 the error has its direction; where there are more,
        that of the maximiser chosen by entropy (above depth 2 nothing hangs on it).
    """

    error: NDArray[np.float64]
    off_support: float
    total: float
    exponent: float
    correction_exponent: float
    unique: bool


def leading_error(
    A: object,
    x: object,
    *,
    depth: float,
    init_scale: float | None = None,
    product_scale: float | None = None,
    sign: Sign = "both",
) -> LeadingError:
    """What ``x_inf - x`` tends to as the scale vanishes, with its constant.

    With w = a^D and the kernel vectors n^ that attain rho, ``||n^_C||_1 = 1``::

        D = 2:  tau n^,  tau = w^(1-rho) max_n^ exp( -sum_C |n^_i| log |n^_i| - sum_S sigma_i n^_i log |x_i| )
        D > 2:  w h_D(lambda_i) on C, with the lambda in range A^T, lambda_S = sigma, that minimises
                sum_C (1 - lambda_i)^(-2/(D-2)) + (1 + lambda_i)^(-2/(D-2))

    On S it is ``-A_S^+ A_C`` times its part on C. Positive model: without modulus, and the first power alone.

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
    LeadingError
        Its numbers are NaN at depth 2 (signed) where rho = 0: the error then is of order w or smaller, and has
        no common formula; and at depths so near 2 that h_D(rho) exceeds the range of doubles.

    Raises
    ------
    TypeError, ValueError
        If an argument has the wrong kind, shape or range, both or neither scale is given, or x is not the only
        l1-minimiser (rho not below 1 by 1e-9, the allowance for rounding).

    Notes
    -----
    Corrections: relative order ``w^((D-2)/D)`` above depth 2, ``w^min(gap, 1-rho)`` at depth 2, where gap is rho
    less the next entry of its certificate: slow if that is small. One linear programme and one smooth convex
    minimisation.
    Source: docs/mathematics.md, "The error off the support".

    Examples
    --------
    >>> import numpy as np
    >>> from hadaflow.theory.leading_error import leading_error
    >>> leading_error(np.array([[1.0, 0.5]]), [1.0, 0.0], depth=2, product_scale=1e-40).total  # 1.5 a^D^(1/2)
    1.50e-20
    """
    _, target, model, a, kernel = posed(A, x, depth, init_scale, product_scale, sign)
    product = a**model.depth
    if not kernel.injective:
        raise ValueError("the columns of A on the support of x are dependent: x is not the only l1-minimiser")
    sigma = np.sign(target[kernel.support])
    top = supremum(kernel, sigma, one_sided=not model.signed)
    rho = top.upper
    if not top.unique:
        raise ValueError(f"x is not the only l1-minimiser of its measurements: rho is {rho:.6g}, not below 1 by 1e-9")
    if kernel.trivial or rho == -math.inf:
        return _leading(kernel, np.zeros(len(kernel.others)), math.inf, math.inf, unique=True)
    if model.depth > 2:
        edge = barrier(model, 1.0)
        with np.errstate(all="ignore"):
            inner = balance(model, -kernel.carry.T @ sigma * edge, kernel.checks, top.mu * edge)
            off_support = inner.entries(math.log(product)) if inner else np.full(len(kernel.others), np.nan)
        if not np.isfinite(off_support).all():
            off_support = np.full(len(kernel.others), np.nan)
        face = _Face.of(kernel, top, signed=model.signed)
        return _leading(kernel, off_support, 1.0, (model.depth - 2) / model.depth, unique=face.unique)
    if model.signed and rho < _ACTIVE:
        return _leading(kernel, np.full(len(kernel.others), np.nan), math.nan, math.nan, unique=False)
    face = _Face.of(kernel, top, signed=model.signed)
    off_support = product ** (1 - rho) * face.chosen(kernel, sigma * np.log(np.abs(target[kernel.support])))
    return _leading(kernel, off_support, 1 - rho, min(face.gap, 1 - rho), unique=face.unique)


def _leading(
    kernel: SupportSplit, off_support: Vector, exponent: float, correction: float, *, unique: bool
) -> LeadingError:
    error = kernel.kernel_vector(off_support)
    return LeadingError(
        error, float(np.abs(off_support).sum()), float(np.abs(error).sum()), exponent, correction, unique
    )


@dataclass(frozen=True, eq=False)
class _Face:
    """All kernel vectors that attain rho: ``n_C = signs t`` on ``active``, with t >= 0 of sum one."""

    active: Index
    signs: Vector
    unique: bool
    gap: float

    @classmethod
    def of(cls, kernel: SupportSplit, top: Supremum, *, signed: bool) -> _Face:
        """Grown from one of them, by linear programmes that look for mass elsewhere at no loss."""
        theta = top.dual_correlations
        sizes = np.abs(theta) if signed else theta
        reached = np.flatnonzero(sizes >= top.upper - _ACTIVE * (1 + abs(top.upper)))
        signs = np.sign(theta) if signed else np.ones_like(theta)
        mass = signs * top.off_support
        grown = False
        while True:
            inside = mass > _ACTIVE
            idle = ~inside[reached]
            found = _mass_on(kernel.checks[:, reached] * signs[reached], idle)
            if found[idle].sum() <= _ACTIVE:
                break
            grown, mass[reached] = True, (mass[reached] + found) / 2
        active = np.flatnonzero(inside)
        free = len(active) - np.linalg.matrix_rank(kernel.checks[:, active], tol=1e-9) if len(active) else 1
        gap = float(top.upper - sizes[~inside].max(initial=-math.inf))
        return cls(active, signs[active], not grown and int(free) == 1, gap)

    def chosen(self, kernel: SupportSplit, log_sizes: Vector) -> Vector:
        """``tau w^-(1-rho) n^_C`` of the maximiser that entropy selects."""
        model = HadamardPower(2, "positive")  # whose conjugate is exponential
        base = -self.signs * (kernel.carry[:, self.active].T @ log_sizes)
        checks = kernel.checks[:, self.active] * self.signs
        inner = balance(model, base / 4, checks, np.zeros(len(checks)))
        off_support = np.zeros(len(kernel.others))
        off_support[self.active] = np.nan if inner is None else self.signs * inner.entries(0.0)
        return off_support


def _mass_on(checks: Matrix, wanted: NDArray[np.bool_]) -> Vector:
    """The t >= 0 of sum one with ``checks t = 0`` that has most mass where wanted; zero where nothing is wanted."""
    if not wanted.any():
        return np.zeros(len(wanted))
    found = linprog(
        -wanted.astype(np.float64),
        A_eq=np.vstack([checks, np.ones(len(wanted))]),
        b_eq=np.append(np.zeros(len(checks)), 1.0),
        method="highs-ds",
    )
    return np.asarray(found.x if found.status == 0 else np.zeros(len(wanted)), dtype=np.float64)

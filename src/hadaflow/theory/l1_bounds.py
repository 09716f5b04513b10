"""Excess of the l1 norm at the end of the flow, and the scales that keep it small (paper A).

Throughout, ``x_inf`` is where gradient flow on ``1/2 ||A x - y||^2`` ends from the uniform start ``u = v = a``
(positive model: ``u = a``), ``Q`` the smallest l1 norm among all solutions of ``A x = y`` within reach, and ``N`` the
number of coordinates that start at ``a``: n for the positive model, 2 n for the signed one. The bounds hold for every
matrix A; they count x in its own units, so that they are sharpest where ``Q / N`` is of order one.
"""

from __future__ import annotations

import math
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from hadaflow._types import Sign
from hadaflow._validation import check_finite, one_of, positive_number, real_array, whole_number

Form = Literal["proved", "recalled"]

_LN10 = math.log(10.0)
_STEEPEST = 300 * _LN10  # largest logarithm of a weight


def l1_excess_bound(*, depth: float, init_scale: float, l1_norm: float, n: int, sign: Sign = "both") -> float:
    """The largest possible excess ``||x_inf||_1 - Q`` of the l1 norm at the end of the flow.

    - D = 2: ``(Q log Q + N / e) / (2 log(1/a) - 1)`` for ``a < e^(-1/2)``;
    - D > 2: ``delta (N + Q) / (1 - delta)`` with ``delta = (D / 2) a^(D - 2) < 1``.

    Parameters
    ----------
    depth : float
        Number of factors D, any real number >= 2.
    init_scale : float
        Starting value a > 0 of every factor entry, in units of ``x^(1/depth)``.
    l1_norm : float
        Q >= 0, the smallest l1 norm among all (for ``sign="positive"``: all non-negative) solutions.
    n : int
        Number of coordinates of x.
    sign : {"both", "positive"}, default "both"
        The model: N = 2 n for ``x = u^D - v^D``, N = n for ``x = u^D``.

    Returns
    -------
    float
        The bound, in units of x; infinite where it says nothing (``a >= e^(-1/2)``, ``delta >= 1``) or exceeds every
        double.

    Raises
    ------
    TypeError, ValueError
        If an argument has the wrong kind or range.

    See Also
    --------
    largest_init_scale : the same, solved for the scale.

    Notes
    -----
    Proved. For the signed model even ``||u^D||_1 + ||v^D||_1 - Q`` obeys it, which is why N is 2 n there:
    with N = n that quantity can exceed the bound at depth 2. The depth-2 form has ``Q log Q`` where paper A is believed
    to have ``Q^2``: it is smaller for every Q. Assumes that ``A x = y`` has a solution within reach. Source: paper A;
    docs/mathematics.md, "How small the start has to be".

    Examples
    --------
    >>> bound = l1_excess_bound(depth=3, init_scale=1e-4, l1_norm=1.0, n=50)
    >>> round(bound, 5)
    0.01515
    >>> l1_excess_bound(depth=3, init_scale=0.9, l1_norm=1.0, n=50)
    inf
    """
    depth, l1_norm, count = _setting(depth, l1_norm, n, sign)
    log_scale = math.log(positive_number(init_scale, "init_scale"))
    if depth == 2:
        grade = -2 * log_scale - 1
        if grade <= 0:
            return math.inf
        entropy = l1_norm * (math.log(l1_norm) / grade) if l1_norm > 0 else 0.0
        return entropy + count / math.e / grade
    log_delta = math.log(depth / 2) + (depth - 2) * log_scale
    if log_delta >= 0:
        return math.inf
    ratio = math.exp(log_delta) / -math.expm1(log_delta)
    return ratio * count + ratio * l1_norm


def largest_init_scale(
    *, excess: float, depth: float, l1_norm: float, n: int, sign: Sign = "both", form: Form = "proved"
) -> float:
    """The largest init scale a that guarantees ``||x_inf||_1 - Q <= excess``.

    - D = 2: ``exp(-1/2 - (Q^2 + N / e) / (2 excess))``, exponentially small;
    - D > 2: ``(2 excess / (D (Q + N + excess)))^(1 / (D - 2))``, polynomially small.

    Parameters
    ----------
    excess : float
        Accuracy asked for, > 0, in units of x.
    depth, l1_norm, n, sign
        As in :func:`l1_excess_bound`.
    form : {"proved", "recalled"}, default "proved"
        "recalled" is the depth-2 scale as paper A is remembered to have it, with ``+1/2`` in the exponent: larger by a
        factor e. It is proved here for ``2 excess <= Q (Q - log Q)`` and refused elsewhere, where it can fail. Above
        depth 2 both forms are the same.

    Returns
    -------
    float
        The scale, in units of ``x^(1/depth)``; 0.0 where it is below the smallest double (depth 2), where
        :func:`log10_largest_init_scale` still tells it.

    Raises
    ------
    TypeError, ValueError
        If an argument has the wrong kind or range, or ``form="recalled"`` is asked for outside its proved range.

    See Also
    --------
    l1_excess_bound : the same, solved for the excess.

    Notes
    -----
    Proved; sufficient, not necessary. What happens at a given scale is far better in general: see
    ``hadaflow.theory.approximation_error``. Source: paper A; docs/mathematics.md, "How small the start has to be".

    Examples
    --------
    >>> for depth in (2, 3, 4):
    ...     print(f"{largest_init_scale(excess=0.1, depth=depth, l1_norm=1.0, n=100, sign='positive'):.2g}")
    5.3e-83
    0.00066
    0.022
    """
    log10_scale = log10_largest_init_scale(excess=excess, depth=depth, l1_norm=l1_norm, n=n, sign=sign, form=form)
    return math.exp(_LN10 * log10_scale)


def log10_largest_init_scale(
    *, excess: float, depth: float, l1_norm: float, n: int, sign: Sign = "both", form: Form = "proved"
) -> float:
    """Decimal logarithm of :func:`largest_init_scale`, for scales that no double holds.

    Parameters
    ----------
    excess, depth, l1_norm, n, sign, form
        As in :func:`largest_init_scale`.

    Returns
    -------
    float
        ``log10 a``; minus infinity where even that is beyond the range of doubles (depth 2).

    Raises
    ------
    TypeError, ValueError
        If an argument has the wrong kind or range, or ``form="recalled"`` is asked for outside its proved range.

    Notes
    -----
    Source: as for :func:`largest_init_scale`, docs/mathematics.md, "How small the start has to be".

    Examples
    --------
    >>> round(log10_largest_init_scale(excess=1.0, depth=2, l1_norm=10.0, n=10_000, sign="positive"))
    -821
    """
    depth, l1_norm, count = _setting(depth, l1_norm, n, sign)
    excess = positive_number(excess, "excess")
    one_of(form, "form", ("proved", "recalled"))
    if depth > 2:
        quarter = l1_norm / 4 + count / 4 + excess / 4  # the sum itself may exceed every double
        return (math.log10(excess) - math.log10(2) - math.log10(depth) - math.log10(quarter)) / (depth - 2)
    shift = -0.5
    if form == "recalled":
        _check_recalled(excess, l1_norm)
        shift = 0.5
    size = l1_norm / math.sqrt(excess)  # not l1_norm**2, which leaves the range long before the quotient does
    unit = 2 * _LN10
    return shift / _LN10 - size * (size / unit) - count / unit / math.e / excess


def recovery_error_bound(*, excess: float, null_space_constant: float, tail: float = 0.0, noise: float = 0.0) -> float:
    """The largest possible l1 error ``||x - x_true||_1`` of a solution of ``A x = y`` whose l1 norm is nearly smallest.

    It is ``[(1 + rho) (excess + 2 tail) + (3 + rho) noise] / (1 - rho)``.

    Parameters
    ----------
    excess : float
        ``||x||_1 - Q`` >= 0, or a bound on it such as :func:`l1_excess_bound`, in units of x.
    null_space_constant : float
        rho in [0, 1): ``||z_S||_1 <= rho ||z_C||_1`` for all z with ``A z = 0``, where S is a set of coordinates and C
        all others.
    tail : float, default 0
        ``||(x_true)_C||_1``, what x_true has outside S; 0 if S is its support. With S the s largest entries, the error
        of its best s-term approximation.
    noise : float, default 0
        l1 norm of some w with ``A w = y - A x_true``, in units of x: ``sqrt(n) ||noise||_2 / sigma`` will always do,
        where sigma is the smallest non-zero singular value of A (and the noise lies in the range of A).

    Returns
    -------
    float
        The bound, in units of x.

    Raises
    ------
    TypeError, ValueError
        If an argument has the wrong kind or range; for ``null_space_constant >= 1`` nothing can be said.

    Notes
    -----
    Proved: for ``A x = A x'`` and ``v = x - x'``, ``||v_C|| <= ||x|| - ||x'|| + ||v_S|| + 2 ||x'_C||`` and
    ``||v_S|| <= rho ||v_C||`` give ``||v|| <= (1 + rho) / (1 - rho) (||x|| - ||x'|| + 2 ||x'_C||)``; take ``x' = x_true
    + w``. The error is at most proportional to the noise, without knowledge of its size. Source: paper A (its
    corollaries on recovery); docs/mathematics.md, "How small the start has to be".

    Examples
    --------
    >>> round(recovery_error_bound(excess=0.01, null_space_constant=0.5), 12)
    0.03
    """
    excess = positive_number(excess, "excess", strict=False)
    rho = positive_number(null_space_constant, "null_space_constant", strict=False)
    tail = positive_number(tail, "tail", strict=False)
    noise = positive_number(noise, "noise", strict=False)
    if rho >= 1:
        raise ValueError(
            f"null_space_constant must lie in [0, 1), got {rho:g}: from 1 on the smallest l1 norm need not belong to "
            f"x_true; take a smaller support or more measurements"
        )
    return ((1 + rho) * (excess + 2 * tail) + (3 + rho) * noise) / (1 - rho)


def start_weights(init_scale: Any, *, depth: float) -> NDArray[np.float64]:
    """Weights of the weighted l1 norm that the flow minimises as a non-uniform start vanishes in proportion.

    From ``u = v = t c`` with a fixed vector c the limits tend, as t -> 0, to a minimiser of ``sum_i w_i |x_i|`` with
    ``w_i = (max c / c_i)^(D - 2)``. At depth 2 all weights are 1: there factors of the start do not count.

    Parameters
    ----------
    init_scale : array_like of shape (n,)
        Start of every coordinate, > 0; only ratios matter.
    depth : float
        Number of factors D, any real number >= 2.

    Returns
    -------
    ndarray of shape (n,)
        Weights, at least 1: coordinates that start higher are cheaper. For ``hadaflow.recover(A, y, weights=...)``.

    Raises
    ------
    TypeError, ValueError
        If an argument has the wrong kind or range, or the weights exceed 1e300.

    Notes
    -----
    Proved. To have the flow at depth D > 2 minimise given weights w, start it at ``a w^(-1 / (D - 2))``. At
    depth 2 weights need ``a_i = a^(w_i)``, which is no start in proportion. Source: paper A (non-uniform starts);
    docs/mathematics.md, "The limit", Weights.

    Examples
    --------
    >>> start_weights([0.1, 0.05], depth=3), start_weights([0.1, 0.05], depth=2)
    (array([1., 2.]), array([1., 1.]))
    """
    depth = _checked_depth(depth)
    scale = real_array(init_scale, "init_scale", 1).astype(np.float64)
    check_finite(scale, "init_scale")
    if scale.min(initial=np.inf) <= 0:
        raise ValueError(f"init_scale must be positive, but entry {int(scale.argmin())} is {scale.min():g}")
    logs = np.log(scale)
    steepness = (depth - 2) * (logs.max(initial=-np.inf) - logs)
    if steepness.max(initial=0.0) > _STEEPEST:
        raise ValueError("init_scale gives weights beyond 1e300: let its entries differ less, or lower the depth")
    return np.asarray(np.exp(steepness))


def _setting(depth: float, l1_norm: float, n: int, sign: str) -> tuple[float, float, float]:
    """Checked depth, Q and N."""
    depth = _checked_depth(depth)
    l1_norm = positive_number(l1_norm, "l1_norm", strict=False)
    signed = one_of(sign, "sign", ("both", "positive")) == "both"
    return depth, l1_norm, (2.0 if signed else 1.0) * whole_number(n, "n")


def _checked_depth(depth: float) -> float:
    depth = positive_number(depth, "depth")
    if depth < 2:
        raise ValueError(
            f"depth must be at least 2, got {depth:g}: at depth 1 the limit has nothing to do with the l1 norm"
        )
    return depth


def _check_recalled(excess: float, l1_norm: float) -> None:
    """Refuse the depth-2 form with ``+1/2`` outside ``2 excess <= Q^2 - Q log Q``, which pays for the larger start."""
    most = l1_norm * (l1_norm - math.log(l1_norm)) / 2 if l1_norm > 0 else 0.0
    if excess > most:
        raise ValueError(
            f'form="recalled" holds for excess <= Q (Q - log Q) / 2 = {most:g} at l1_norm Q = {l1_norm:g}, got excess '
            f'{excess:g}: use form="proved"'
        )

"""How far the limit of the flow is from the l1-minimiser: bounds from both sides, constants, exponents (paper C)."""

from __future__ import annotations

import math
import sys
from dataclasses import dataclass
from typing import Literal

import numpy as np

from hadaflow._types import Sign, Vector
from hadaflow._validation import check_finite, instance, one_of, positive_number, real_array
from hadaflow.models import HadamardPower
from hadaflow.theory._sign_patterns import Cube, below_one, flattened, supremum
from hadaflow.theory.limit_error import barrier, dual_state, one_scale, posed
from hadaflow.theory.null_space import NullSpaceConstants


@dataclass(frozen=True)
class ErrorBound:
    """A proved upper bound of the error ``n = x_inf - x``; infinite where the statement says nothing.

    Attributes
    ----------
    off_support : float
        Bound of ``||n_C||_1``, in units of x.
    total : float
        Bound of ``||n||_1``.
    """

    off_support: float
    total: float


def predicted_exponent(depth: float, rho: float) -> float:
    """The power of the product scale with which the error vanishes: ``1 - rho`` at depth 2, 1 above.

    Parameters
    ----------
    depth : float
        D >= 2.
    rho : float
        ``null_space_constants(...).rho``, below 1.

    Returns
    -------
    float
        Multiply by D for the power of the init scale.

    Raises
    ------
    TypeError, ValueError
        If ``depth`` is below 2 or ``rho`` is not below 1 by 1e-9, the allowance for its rounding (x is not the only
        l1-minimiser then), or is -inf (x is the only solution: the error is zero, and has no power).

    Notes
    -----
    For rho > 0 both bounds of this module have these powers. Source: docs/mathematics.md, "The error off the support"
    (proved). Where rho vanishes the error may be smaller. Paper C has the same rates (abstract); that its rho is this
    one is an open hint.

    Examples
    --------
    >>> from hadaflow.theory.approximation_error import predicted_exponent
    >>> predicted_exponent(2, 0.75), predicted_exponent(3, 0.75)
    (0.25, 1.0)
    """
    depth = positive_number(depth, "depth", minimum=2.0, strict=False)
    rho = _checked_rho(rho)
    return 1 - rho if depth == 2 else 1.0


def error_upper_bound(
    x: object,
    constants: NullSpaceConstants,
    *,
    depth: float,
    init_scale: float | None = None,
    product_scale: float | None = None,
    form: Literal["sharp", "explicit"] = "sharp",
) -> ErrorBound:
    """A bound of the error of the limit from null-space constants, at any scale.

    With the inverse mirror map ``Q'``, mirror map B, and mu and M the smallest and largest ``|x_i|`` on the support S::

        sharp:     ||n_C||_1 <= |C| B( rho Q'(mu) + rho_minus (Q'(M) - Q'(mu)) )
        explicit:  ||n_C||_1 <= |C| w^(1-rho) mu'^rho (M'/mu')^rho_minus,                   D = 2
                   ||n_C||_1 <= |C| w h_D(rho + rho_plus (w / mu)^((D-2)/D)),               D > 2

    and ``||n||_1 <= (1 + rho_tilde) ||n_C||_1``; w = a^D, z' = (z + sqrt(z^2 + 4 w^2)) / 2 (positive model: z' = z and
    ``(1 - r)^(-D/(D-2))`` for h_D).

    Parameters
    ----------
    x : array_like of shape (n,)
        The l1-minimiser; only its entries on ``constants.support`` are read.
    constants : NullSpaceConstants
        Of its support and signs. Where they are intervals the upper ends are used.
    depth : float
        D >= 2.
    init_scale, product_scale : float
        Exactly one of them: the start a of every factor entry in units of ``x^(1/D)``, or ``a^D`` in units of x.
    form : {"sharp", "explicit"}, default "sharp"
        The sharp form is never larger; the explicit one shows the rate.

    Returns
    -------
    ErrorBound
        Infinite where the argument of B or h_D reaches its barrier (large scales above depth 2), or rho is not below 1
        by 1e-9, the allowance for its rounding.

    Raises
    ------
    TypeError, ValueError
        If an argument has the wrong kind, shape or range, the signs of x are not those of ``constants``, or both or
        neither scale is given.

    See Also
    --------
    certified_error_bound : needs A and no constants; sharper, and the one to use for large supports.

    Notes
    -----
    Non-asymptotic. Positive model: for ``w <= mu``. Source: docs/mathematics.md, "The error off the support" (proved);
    paper C has bounds with these rates (abstract).

    Examples
    --------
    >>> import numpy as np
    >>> from hadaflow.theory.null_space import null_space_constants
    >>> from hadaflow.theory.approximation_error import error_upper_bound
    >>> constants = null_space_constants(np.array([[1.0, 0.5]]), [0], [1.0])
    >>> error_upper_bound([1.0, 0.0], constants, depth=2, product_scale=1e-6)
    ErrorBound(off_support=0.000999999..., total=0.0014999...)
    """
    instance(constants, NullSpaceConstants, "constants")
    one_of(form, "form", ("sharp", "explicit"))
    model = HadamardPower(positive_number(depth, "depth", minimum=2.0, strict=False), constants.sign)
    a = one_scale(model.depth, init_scale, product_scale)
    on_support = _on_support(x, constants)
    if (np.sign(on_support) != constants.signs).any():
        raise ValueError(
            "the signs of x differ from constants.signs; pass the minimiser, with null_space_constants of its signs"
        )
    sizes = np.abs(on_support)
    others = constants.size - len(constants.support)
    if others == 0 or constants.rho == -math.inf:
        return ErrorBound(0.0, 0.0)
    if not constants.unique or (not model.signed and sizes.min(initial=math.inf) < a**model.depth):
        return ErrorBound(math.inf, math.inf)
    bound = _sharp(sizes, constants, model, a) if form == "sharp" else _explicit(sizes, constants, model, a)
    return ErrorBound(others * bound, (1 + constants.rho_tilde.upper) * others * bound)


def certified_error_bound(
    A: object,
    x: object,
    *,
    depth: float,
    init_scale: float | None = None,
    product_scale: float | None = None,
    sign: Sign = "both",
) -> ErrorBound:
    """The bound from one linear programme: no pattern of signs to try, whatever the size of the support.

    With the inverse mirror map ``Q'`` and the mirror map B of the scale::

        ||n_C||_1 <= |C| B(t),   t = sup { -sum_S Q'(x_i) n_i : n in ker A, ||n_C||_1 <= 1 }

    and ``||n||_1 <= (1 + c) ||n_C||_1`` with the largest column sum c of any matrix M that has ``n_S = M n_C`` on the
    kernel.

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
    ErrorBound
        Infinite where t reaches the barrier of B, to the 1e-9 that allow for rounding (rho = 1 above depth 2).

    Raises
    ------
    TypeError, ValueError
        If an argument has the wrong kind, shape or range, or both or neither scale is given.

    Notes
    -----
    Never larger off the support than :func:`error_upper_bound` with exact constants. t is taken from a certificate that
    is feasible in exact arithmetic. Source: docs/mathematics.md, "The error off the support" (proved).

    Examples
    --------
    >>> import numpy as np
    >>> from hadaflow.theory.approximation_error import certified_error_bound
    >>> certified_error_bound(np.array([[1.0, 0.5]]), [1.0, 0.0], depth=3, product_scale=1e-4)
    ErrorBound(off_support=0.000667..., total=0.00100...)
    """
    _, target, model, a, kernel = posed(A, x, depth, init_scale, product_scale, sign)
    if not kernel.injective:
        return ErrorBound(math.inf, math.inf)
    if kernel.trivial:
        return ErrorBound(0.0, 0.0)
    state = dual_state(model, target[kernel.support], a)
    if not np.isfinite(state).all():  # too small beside the scale for double precision
        return ErrorBound(math.inf, math.inf)
    top = supremum(kernel, state, one_sided=not model.signed)
    if top.upper == -math.inf:
        return ErrorBound(0.0, 0.0)
    if model.depth > 2 and not below_one(top.upper / barrier(model, a)):
        return ErrorBound(math.inf, math.inf)
    off_support = len(kernel.others) * _mapped(model, top.upper, a)
    carry = Cube(-1.0, 1.0).cover(flattened(kernel), one_sided=not model.signed)
    return ErrorBound(off_support, (1 + carry) * off_support)


def error_lower_bound(
    x: object,
    constants: NullSpaceConstants,
    *,
    depth: float,
    init_scale: float | None = None,
    product_scale: float | None = None,
) -> float:
    """A lower bound of the largest entry of the limit off the support: ``max_C |x_i| >= B(-sum_S n^_i Q'(x_i))``.

    Parameters
    ----------
    x : array_like of shape (n,)
        With the limit itself the inequality is exact, whatever its signs; with the l1-minimiser, to which it tends, it
        holds in the limit of small scales. Only entries on ``constants.support`` are read.
    constants : NullSpaceConstants
        Of the minimiser's support and signs, whose ``maximiser`` is n^.
    depth : float
        D >= 2.
    init_scale, product_scale : float
        Exactly one of them: the start a of every factor entry in units of ``x^(1/D)``, or ``a^D`` in units of x.

    Returns
    -------
    float
        In units of x; 0 where it says nothing. It bounds ``||x_C||_1`` and the whole error from below, too.

    Raises
    ------
    TypeError, ValueError
        If an argument has the wrong kind, shape or range, or both or neither scale is given.

    Notes
    -----
    For small scales it tends to ``w^(1-rho) prod_S |x_i|^(-sigma_i n^_i)`` at depth 2 and ``w h_D(rho)`` above: the
    rates of the upper bounds, if rho > 0. Source: docs/mathematics.md, "The error off the support" (proved).

    Examples
    --------
    >>> import numpy as np
    >>> from hadaflow.theory.null_space import null_space_constants
    >>> from hadaflow.theory.approximation_error import error_lower_bound
    >>> constants = null_space_constants(np.array([[1.0, 0.5]]), [0], [1.0])
    >>> error_lower_bound([0.9950129843, 0.009974031304], constants, depth=2, product_scale=1e-4)
    0.00997403...
    """
    instance(constants, NullSpaceConstants, "constants")
    model = HadamardPower(positive_number(depth, "depth", minimum=2.0, strict=False), constants.sign)
    a = one_scale(model.depth, init_scale, product_scale)
    on_support = _on_support(x, constants)
    if not constants.unique or not constants.maximiser.any():
        return 0.0
    if not model.signed and (on_support <= 0).any():
        raise ValueError('x must be positive on the support for sign="positive"')
    state = -float(constants.maximiser[constants.support] @ dual_state(model, on_support, a))
    return 0.0 if math.isnan(state) else max(0.0, _mapped(model, state, a))


def _mapped(model: HadamardPower, state: float, init_scale: float) -> float:
    """B of one state; infinite beyond the barrier or the range of doubles, and for no state at all."""
    if math.isnan(state):
        return math.inf
    with np.errstate(over="ignore"):
        return float(model.mirror_map(np.float64(state), init_scale))


def _sharp(sizes: Vector, constants: NullSpaceConstants, model: HadamardPower, a: float) -> float:
    if not len(sizes):
        return _mapped(model, 0.0, a)
    low, high = dual_state(model, np.array([sizes.min(), sizes.max()]), a)
    state = constants.rho * low + constants.rho_minus.upper * (high - low)
    return _mapped(model, state, a)


def _explicit(sizes: Vector, constants: NullSpaceConstants, model: HadamardPower, a: float) -> float:
    log_product = model.depth * math.log(a)
    if model.depth > 2:
        near = math.exp(min(700.0, (log_product - math.log(sizes.min())) / model.exponent)) if len(sizes) else 0.0
        ratio = constants.rho + constants.rho_plus.upper * near
        return _mapped(model, ratio * barrier(model, a), a)
    logs = log_product + dual_state(model, sizes, a) / barrier(model, a)  # of z'
    low, high = (float(logs.min()), float(logs.max())) if len(logs) else (log_product, log_product)
    value = (1 - constants.rho) * log_product + constants.rho * low + constants.rho_minus.upper * (high - low)
    return math.exp(value) if value < math.log(sys.float_info.max) else math.inf


def _checked_rho(rho: float) -> float:
    if isinstance(rho, (bool, np.bool_)) or not isinstance(rho, (int, float, np.integer, np.floating)):
        raise TypeError(f"rho must be a number, got {rho!r}; pass null_space_constants(...).rho")
    if not below_one(rho):
        raise ValueError(f"rho must be below 1 (by 1e-9), got {rho!r}: otherwise x is not the only l1-minimiser")
    if rho == -math.inf:
        raise ValueError("rho must be finite, got -inf: x is the only solution, and the error is zero at every scale")
    return float(rho)


def _on_support(x: object, constants: NullSpaceConstants) -> Vector:
    vector = real_array(x, "x", 1).astype(np.float64)
    if len(vector) != constants.size:
        raise ValueError(f"x must have {constants.size} entries, as many as the matrix of constants has columns")
    check_finite(vector, "x")
    on_support = vector[constants.support]
    if not on_support.all():
        raise ValueError("x must not vanish on constants.support; compute the constants for np.flatnonzero(x)")
    return on_support

"""Coordinates in which a map has no barrier: x = phi(d) - phi(-d) in logarithms, where phi(d) = size * cosh(d/c)^c e^d.

At small sizes theta rounds to its barrier long before x is large. The angle d does not. With an infinite c, the
exponential map, cosh(d/c)^c is 1 and d is ``rate * theta`` itself. Functions are written against the array-API
namespace ``xp`` of their arguments; ``level`` is the log of the size.
"""

from __future__ import annotations

import math
from typing import Any

from array_api_compat import array_namespace

Array = Any


def logarithm(scale: Array) -> Array:
    """The log of a number or an array."""
    return array_namespace(scale).log(scale) if _many(scale) else math.log(float(scale))


def exponential(level: Array) -> Array:
    """exp of a number or an array."""
    return array_namespace(level).exp(level) if _many(level) else math.exp(float(level))


def _many(value: Array) -> bool:
    return not isinstance(value, float | int) and value.ndim > 0


def log_cosh(xp: Any, size: Array, c: float) -> Array:
    """``c log cosh(size / c)`` for size >= 0; it vanishes as c grows."""
    if math.isinf(c):
        return 0 * size
    reduced = size / c
    # log cosh = -log(1 - tanh^2) / 2 near zero, where reduced - log 2 would cancel.
    tanh = xp.tanh(xp.where(reduced < 1, reduced, 0 * reduced))
    near = -xp.log1p(-(tanh**2)) / 2
    return c * xp.where(reduced < 1, near, reduced + xp.log1p(xp.exp(-2 * reduced)) - math.log(2))


def odd(xp: Any, angle: Array, level: Array, c: float) -> Array:
    """``2 exp(level) cosh(d / c)^c sinh(d)``."""
    size = xp.abs(angle)
    lift = level + log_cosh(xp, size, c)
    # sinh where it is small, its leading exponential in logarithms where it is large.
    small = size < 1
    inner = 2 * xp.exp(xp.where(small, lift, 0 * size)) * xp.sinh(xp.where(small, angle, 0 * angle))
    outer = -xp.sign(angle) * xp.exp(lift + size) * xp.expm1(-2 * size)
    return xp.where(small, inner, outer)


def angle_of_odd(xp: Any, x: Array, level: Array, c: float) -> Array:
    """The d at which :func:`odd` is x."""
    safe = xp.where(x == 0, 0 * x + 1, xp.abs(x))
    return xp.where(x == 0, 0 * x, xp.sign(x) * _solved(xp, xp.log(safe) - level, c))


def angle_of_single(xp: Any, x: Array, level: Array) -> Array:
    """The d at which ``exp(level + d)`` is x; -infinity for x <= 0."""
    safe = xp.where(x > 0, x, 0 * x + 1)
    return xp.where(x > 0, xp.log(safe) - level, 0 * x - math.inf)


def _solved(xp: Any, log_size: Array, c: float) -> Array:
    """Solve ``log(2 cosh(d / c)^c sinh(d)) = log_size`` for d > 0 by Newton's method in log d.

    The left side increases and, in log d, has a slope between 1 and 2 d + 1: from a start above the root the iterates
    fall monotonically, and a dozen steps reach full precision.
    """
    ratio = 0.0 if math.isinf(c) else 1 / c
    # An upper start: log(2 cosh^c sinh) >= log(2 sinh d), so d <= asinh(size / 2).
    big = log_size > 1
    d = xp.where(big, log_size + 1, xp.asinh(xp.exp(xp.where(big, 0 * log_size, log_size)) / 2))
    for _ in range(60):
        a = d * ratio
        # log cosh(a) and log(2 sinh d) without overflow.
        log_cosh_a = a + xp.log1p(xp.exp(-2 * a)) - math.log(2)
        value = (log_cosh_a / ratio if ratio else 0 * d) + d + xp.log(-xp.expm1(-2 * d))
        gap = value - log_size
        grade = d * ((xp.tanh(a) if ratio else 0 * d) + 1 / xp.tanh(d))
        step = gap / grade
        d = d * xp.exp(-step)
        if float(xp.max(xp.abs(step))) < 1e-15:
            break
    return d

"""Entrywise powers of factors: ``x = u^D - v^D`` and ``x = u^D`` (docs/mathematics.md)."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from array_api_compat import array_namespace

from hadaflow._validation import one_of, positive_number, positive_scale
from hadaflow.models.base import Array, Branches, Factors, Model, Scale

_WIDEST = 301 * math.log(10.0)  # largest |log| of a product scale


@dataclass(frozen=True)
class HadamardPower(Model):
    """The diagonal linear network ``x = u^D - v^D``, or ``x = u^D`` for non-negative x.

    Gradient flow of ``F(x)`` in the shared factors, ``u' = -D g u^(D-1)`` and ``v' = D g v^(D-1)`` with
    ``g = grad F(x)``, from ``u = v = a``, is the mirror flow ``theta' = -g``, ``x = B(theta)``:

    - D = 1: ``B = 2 theta`` (positive sign: ``a + theta``);
    - D = 2: ``B = 2 a^2 sinh(4 theta)`` (positive: ``a^2 exp(4 theta)``);
    - D > 2: ``B = a^D [(1 - k theta)^-c - (1 + k theta)^-c]`` (positive: first term alone), with
      ``c = D / (D - 2)``, ``k = D (D - 2) a^(D - 2)``; finite for ``|k theta| < 1``, infinite at the barrier.

    Parameters
    ----------
    depth : float, default 2
        Number of factors D: 1 (the linear baseline) or any real number >= 2.
    sign : {"both", "positive"}, default "both"
        Whether x may have any sign or is non-negative. At depth 1, "positive" only means ``x = u``.
    factors : {"shared", "separate"}, default "shared"
        Whether D equal factors are one vector u that is differentiated as such, or D vectors differentiated one by one.
        Started equal, the D vectors stay equal, and move D times more slowly: ``u' = -g u^(D-1)``. Paths and limits
        are the same; the clock is not (theta counts D times less).

    Raises
    ------
    TypeError, ValueError
        If ``depth`` is not 1 or a finite number >= 2, or ``sign`` or ``factors`` is unknown.

    Notes
    -----
    Products are formed in logarithms, so that product scales ``a^D`` from 1e-300 to 1e+6 neither overflow nor
    cancel. With ``d = c artanh(k theta)`` (``d = 4 theta`` at depth 2) both depths share one formula,
    ``B = 2 a^D cosh(d / c)^c sinh(d)``, which is also how the inverse is found. Cost: O(n) per call.
    Source: closed forms of the flow, docs/mathematics.md, "One state, one map"; papers A (depth L), B (depth N)
    and C (depth D).

    Examples
    --------
    >>> import numpy as np, hadaflow as hf
    >>> model = hf.HadamardPower(depth=3)
    >>> theta = model.inverse(np.array([0.5, -2.0]), 1e-2)
    >>> np.round(model.mirror_map(theta, 1e-2), 6)
    array([ 0.5, -2. ])
    """

    depth: float = 2.0
    sign: Literal["both", "positive"] = "both"
    factors: Literal["shared", "separate"] = "shared"

    def __post_init__(self) -> None:
        depth = positive_number(self.depth, "depth", minimum=1.0, strict=False)
        if 1 < depth < 2:
            raise ValueError(f"depth must be 1 or at least 2, got {depth:g}: between them the flow stops at zero")
        one_of(self.sign, "sign", ("both", "positive"))
        one_of(self.factors, "factors", ("shared", "separate"))
        object.__setattr__(self, "depth", depth)

    @property
    def signed(self) -> bool:
        return self.sign == "both"

    @property
    def exponent(self) -> float:
        """c = D / (D - 2); infinite at depth 2."""
        return math.inf if self.depth <= 2 else self.depth / (self.depth - 2)

    # ---- factors -------------------------------------------------------------------------------------------

    def start(self, init_scale: Scale, like: Array) -> Factors:
        xp = array_namespace(like)
        u = xp.zeros_like(like) + init_scale
        return Factors(u, xp.zeros_like(like) + init_scale if self.signed else None)

    def forward(self, factors: Factors) -> Array:
        x = _power(factors.u, self.depth)
        return x if factors.v is None else x - _power(factors.v, self.depth)

    def pull_back(self, factors: Factors, gradient: Array) -> Factors:
        scaled = self._share * gradient
        du = scaled * _power(factors.u, self.depth - 1)
        return Factors(du, None if factors.v is None else -scaled * _power(factors.v, self.depth - 1))

    # ---- mirror map ----------------------------------------------------------------------------------------

    def mirror_map(self, theta: Array, init_scale: Scale) -> Array:
        if self.depth == 1:
            return 2 * theta if self.signed else theta + init_scale
        xp = array_namespace(theta)
        t = theta * self._rate(init_scale)
        inside = self._inside(xp, t)
        t_in = xp.where(inside, t, 0 * t)
        if self._rational and t.dtype == xp.float64:
            x = init_scale**self.depth * _rational(t_in, self.exponent)
        else:
            x = self.from_angle(self._angle_of(xp, t_in), init_scale)
        beyond = xp.where(t > 0, 0 * t_in + math.inf, 0 * t_in - math.inf)
        return xp.where(inside, x, beyond)

    def slope(self, theta: Array, init_scale: Scale) -> Array:
        xp = array_namespace(theta)
        if self.depth == 1:
            return xp.zeros_like(theta) + (2 if self.signed else 1)
        level, rate = self.depth * _log(xp, init_scale), self._rate(init_scale)
        t = theta * rate
        inside = self._inside(xp, t)
        t_in = xp.where(inside, t, 0 * t)
        if self._rational and t.dtype == xp.float64:
            value = init_scale**self.depth * _rational_slope(t_in, self.exponent)
        else:
            value = self._branch_slope(xp, t_in, level)
            if self.signed:
                value = value + self._branch_slope(xp, -t_in, level)
        return xp.where(inside, rate * value, 0 * t_in + math.inf)

    def inverse(self, x: Array, init_scale: Scale) -> Array:
        if self.depth == 1:
            return x / 2 if self.signed else x - init_scale
        xp = array_namespace(x)
        return self._fraction(xp, self.angle(x, init_scale)) / self._rate(init_scale)

    def angle(self, x: Array, init_scale: Scale) -> Array:
        """The coordinate d of x in which no barrier exists: a stable stand-in for theta near it.

        Signed: ``x = 2 a^D cosh(d / c)^c sinh(d)``. Positive: ``x = a^D exp(d)``. At tiny product scales theta
        rounds to its barrier long before x is large; d does not, so ``from_angle(angle(x))`` is x to rounding
        at every scale. Needs depth >= 2.
        """
        xp = array_namespace(x)
        level = self.depth * _log(xp, init_scale)
        if not self.signed:
            safe = xp.where(x > 0, x, 0 * x + 1)
            return xp.where(x > 0, xp.log(safe) - level, 0 * x - math.inf)
        safe = xp.where(x == 0, 0 * x + 1, xp.abs(x))
        return xp.where(x == 0, 0 * x, xp.sign(x) * _solve_angle(xp, xp.log(safe) - level, self.exponent))

    def from_angle(self, angle: Array, init_scale: Scale) -> Array:
        """The x of an angle (see :meth:`angle`)."""
        xp = array_namespace(angle)
        level = self.depth * _log(xp, init_scale)
        if not self.signed:
            return xp.exp(level + angle)
        size = xp.abs(angle)
        lift = level + self._log_cosh(xp, size)
        # sinh where it is small, its leading exponential in logarithms where it is large.
        small = size < 1
        inner = 2 * xp.exp(xp.where(small, lift, 0 * size)) * xp.sinh(xp.where(small, angle, 0 * angle))
        outer = -xp.sign(angle) * xp.exp(lift + size) * xp.expm1(-2 * size)
        return xp.where(small, inner, outer)

    def potential(self, x: Array, init_scale: Scale) -> Array:
        if self.depth == 1:
            theta = self.inverse(x, init_scale)
            return theta * x - self.conjugate(theta, init_scale)
        xp = array_namespace(x)
        angle = self.angle(x, init_scale)
        t = self._fraction(xp, angle)
        product = xp.where(x == 0, 0 * x, t) * x  # at x = 0 the positive model has t = -infinity
        return (product - init_scale**self.depth * self._lift(xp, angle)) / self._rate(init_scale)

    def conjugate(self, theta: Array, init_scale: Scale) -> Array:
        if self.depth == 1:
            return theta**2 if self.signed else theta * init_scale + theta**2 / 2
        xp = array_namespace(theta)
        rate = self._rate(init_scale)
        t = theta * rate
        inside = self._inside(xp, t)
        t_in = xp.where(inside, t, 0 * t)
        value = init_scale**self.depth / rate * self._lift(xp, self._angle_of(xp, t_in))
        return xp.where(inside, value, 0 * t_in + math.inf)

    def branches(self, init_scale: Scale, n: int) -> Branches | None:
        log_scale = np.log(np.broadcast_to(positive_scale(init_scale, "init_scale", n), n))
        if np.abs(self.depth * log_scale).max() > _WIDEST:
            raise ValueError(
                f"init_scale**depth must lie between 1e-300 and 1e300, "
                f"got init_scale {init_scale!r} at depth {self.depth:g}"
            )
        if self.depth == 1:
            return None
        middle = float(log_scale.mean())
        if self.depth == 2:
            # level - rest = log a^2 for each coordinate, whatever the common level.
            return Branches(math.inf, 0.0, -2 * log_scale, 0.5 / self._share, self.signed)
        rest = np.exp(-(self.depth - 2) * (log_scale - middle))
        dual_scale = math.exp(-(self.depth - 2) * middle) / (self._share * (self.depth - 2))
        return Branches(self.exponent, self.depth * middle, rest, dual_scale, self.signed)

    # ---- parts ---------------------------------------------------------------------------------------------

    @property
    def _rational(self) -> bool:
        """Whether the mirror map is a rational function without cancellation: depths 3 and 4, many times faster."""
        return self.signed and self.depth in (3, 4)

    @property
    def _share(self) -> float:
        """What differentiation brings down: D from the D-th power of one vector, 1 from a product."""
        return self.depth if self.factors == "shared" else 1.0

    def _rate(self, init_scale: Scale) -> Scale:
        """k in t = k theta, the argument that meets its barrier at 1 (depth 2: no barrier, k = 4 or 2)."""
        if self.depth == 2:
            return 2.0 * self._share
        return self._share * (self.depth - 2) * init_scale ** (self.depth - 2)

    def _inside(self, xp: Any, t: Array) -> Array:
        """Where t is on this side of the barrier; beyond it the flow has already diverged."""
        if self.depth == 2:
            return xp.ones_like(t, dtype=xp.bool)
        return xp.abs(t) < 1 if self.signed else t < 1

    def _angle_of(self, xp: Any, t: Array) -> Array:
        """The angle of a t inside the barrier."""
        if self.depth == 2:
            return t
        return self.exponent * xp.atanh(t) if self.signed else -self.exponent * xp.log1p(-t)

    def _fraction(self, xp: Any, angle: Array) -> Array:
        """t of an angle."""
        if self.depth == 2:
            return angle
        reduced = angle / self.exponent
        return xp.tanh(reduced) if self.signed else -xp.expm1(-reduced)

    def _log_cosh(self, xp: Any, size: Array) -> Array:
        """c log cosh(size / c) for size >= 0, which vanishes at depth 2."""
        if self.depth == 2:
            return 0 * size
        reduced = size / self.exponent
        # log cosh = -log(1 - tanh^2) / 2 near zero, where reduced - log 2 would cancel.
        tanh = xp.tanh(xp.where(reduced < 1, reduced, 0 * reduced))
        near = -xp.log1p(-(tanh**2)) / 2
        return self.exponent * xp.where(reduced < 1, near, reduced + xp.log1p(xp.exp(-2 * reduced)) - math.log(2))

    def _lift(self, xp: Any, angle: Array) -> Array:
        """The antiderivative in t of the mirror map at unit scale, zero at t = 0; all terms positive if signed."""
        if self.depth == 2:
            return 4 * xp.sinh(angle / 2) ** 2 if self.signed else xp.expm1(angle)
        power = 2 / (self.depth - 2)
        if not self.signed:
            return xp.expm1(power / self.exponent * angle) / power
        half = power / self.exponent * xp.abs(angle)
        mean = power / self.exponent * self._log_cosh(xp, xp.abs(angle))
        return 2 / power * (xp.expm1(mean) * xp.cosh(half) + 2 * xp.sinh(half / 2) ** 2)

    def _branch_slope(self, xp: Any, t: Array, level: Scale) -> Array:
        if self.depth == 2:
            return xp.exp(level + t)
        return self.exponent * xp.exp(level - (self.exponent + 1) * xp.log1p(-t))


def _rational(t: Array, exponent: float) -> Array:
    """``(1 - t)^-c - (1 + t)^-c`` for c = 2 (depth 4) or 3 (depth 3), over a common denominator."""
    square = t * t
    rest = 1 / ((1 - t) * (1 + t))  # not 1 - square, which would cancel at the barrier
    return 4 * t * rest * rest if exponent == 2 else 2 * t * (3 + square) * rest * rest * rest


def _rational_slope(t: Array, exponent: float) -> Array:
    """Its derivative, ``c [(1 - t)^-(c+1) + (1 + t)^-(c+1)]``."""
    square = t * t
    rest = 1 / ((1 - t) * (1 + t))  # not 1 - square, which would cancel at the barrier
    if exponent == 2:
        return 4 * (1 + 3 * square) * rest * rest * rest
    return 6 * (1 + square * (6 + square)) * (rest * rest) ** 2


def _power(base: Array, exponent: float) -> Array:
    """``base ** exponent``; whole exponents, the usual ones, by products, which are many times faster."""
    if not float(exponent).is_integer() or not 1 <= exponent <= 64:
        return base**exponent
    result, square, rest = None, base, int(exponent)
    while True:
        if rest % 2:
            result = square if result is None else result * square
        rest //= 2
        if rest == 0:
            return result
        square = square * square


def _log(xp: Any, scale: Scale) -> Scale:
    return xp.log(scale) if getattr(scale, "ndim", 0) else math.log(float(scale))


def _solve_angle(xp: Any, log_size: Array, exponent: float) -> Array:
    """Solve ``log(2 cosh(d / c)^c sinh(d)) = log_size`` for d > 0 by Newton in log d.

    The left side is increasing and, in log d, has slope between 1 and 2 d + 1: from a start above the root the
    iterates fall monotonically, and a dozen steps reach full precision.
    """
    ratio = 0.0 if math.isinf(exponent) else 1 / exponent
    # An upper start: log(2 cosh^c sinh) >= log(2 sinh d), so d <= asinh(size / 2).
    big = log_size > 1
    d = xp.where(big, log_size + 1, xp.asinh(xp.exp(xp.where(big, 0 * log_size, log_size)) / 2))
    for _ in range(60):
        a = d * ratio
        # log cosh(a) and log(2 sinh d) without overflow.
        log_cosh = a + xp.log1p(xp.exp(-2 * a)) - math.log(2)
        value = (log_cosh / ratio if ratio else 0 * d) + d + xp.log(-xp.expm1(-2 * d))
        gap = value - log_size
        grade = d * ((xp.tanh(a) if ratio else 0 * d) + 1 / xp.tanh(d))
        step = gap / grade
        d = d * xp.exp(-step)
        if float(xp.max(xp.abs(step))) < 1e-15:
            break
    return d

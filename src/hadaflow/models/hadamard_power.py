"""Entrywise powers of factors: ``x = u^D - v^D`` and ``x = u^D`` (docs/mathematics.md)."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

from array_api_compat import array_namespace

from hadaflow._types import Sign
from hadaflow._validation import one_of, positive_number
from hadaflow.models._angled import Angled
from hadaflow.models._angles import logarithm
from hadaflow.models.base import Factors, Model
from hadaflow.models.branches import Array, Linear, Scale
from hadaflow.models.exponential import Exponential
from hadaflow.models.mirror import Mirror
from hadaflow.models.power import Power


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
    sign: Sign = "both"
    factors: Literal["shared", "separate"] = "shared"

    def __post_init__(self) -> None:
        depth = positive_number(self.depth, "depth", minimum=1.0, strict=False)
        if 1 < depth < 2:
            raise ValueError(f"depth must be 1 or at least 2, got {depth:g}: between them the flow stops at zero")
        one_of(self.sign, "sign", ("both", "positive"))
        one_of(self.factors, "factors", ("shared", "separate"))
        object.__setattr__(self, "depth", depth)

    def describe(self) -> str:
        return f"depth {self.depth:g}"

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
        x = power(factors.u, self.depth)
        return x if factors.v is None else x - power(factors.v, self.depth)

    def pull_back(self, factors: Factors, gradient: Array) -> Factors:
        scaled = self._brought_down * gradient
        du = scaled * power(factors.u, self.depth - 1)
        return Factors(du, None if factors.v is None else -scaled * power(factors.v, self.depth - 1))

    # ---- mirror --------------------------------------------------------------------------------------------

    def bind(self, init_scale: Scale) -> Mirror:
        if self.depth == 1:
            return Mirror(linear=Linear(2.0) if self.signed else Linear(1.0, init_scale))
        if self.depth == 2:
            return Mirror(Exponential(self.depth * logarithm(init_scale), 2.0 * self._brought_down, self.signed))
        rate = self._brought_down * (self.depth - 2) * init_scale ** (self.depth - 2)
        return Mirror(Power(self.depth * logarithm(init_scale), rate, self.signed, self.exponent))

    def angle(self, x: Array, init_scale: Scale) -> Array:
        """The coordinate d of x in which no barrier exists: a stable stand-in for theta near it.

        Signed: ``x = 2 a^D cosh(d / c)^c sinh(d)``. Positive: ``x = a^D exp(d)``. At tiny product scales theta
        rounds to its barrier long before x is large; d does not, so ``from_angle(angle(x))`` is x to rounding
        at every scale. Needs depth >= 2.
        """
        return self._branch(init_scale).angle(x)

    def from_angle(self, angle: Array, init_scale: Scale) -> Array:
        """The x of an angle (see :meth:`angle`)."""
        return self._branch(init_scale).from_angle(angle)

    def _branch(self, init_scale: Scale) -> Angled:
        (branch,) = self.bind(init_scale).branches
        return branch  # type: ignore[return-value]

    @property
    def _brought_down(self) -> float:
        """What differentiation brings down: D from the D-th power of one vector, 1 from a product."""
        return self.depth if self.factors == "shared" else 1.0


def power(base: Array, exponent: float) -> Array:
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

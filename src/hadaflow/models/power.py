"""Powers with a barrier: the maps of depth above 2, and of infinite depth."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
from array_api_compat import array_namespace

from hadaflow._types import Mask, Vector
from hadaflow.models import _angles as angles
from hadaflow.models._angled import Angled
from hadaflow.models.branches import GENTLE, Array


@dataclass(frozen=True, eq=False)
class Power(Angled):
    """``phi(theta) = exp(log_size) (1 - rate theta)^-exponent``, infinite at the barrier ``rate theta = 1``.

    Products of D > 2 factors have the exponent ``D / (D - 2)``; 1 is that of infinite depth, whose potential is a
    logarithmic barrier.

    Parameters
    ----------
    log_size : float or array of shape (n,)
        ``log phi(0)``, of the size at the start.
    rate : float or array of shape (n,)
        1 / the theta of the barrier.
    signed : bool, default True
        Whether it enters x as ``phi(theta) - phi(-theta)``.
    exponent : float
        c > 0.

    Examples
    --------
    >>> import numpy as np
    >>> from hadaflow.models import Power
    >>> branch = Power(log_size=0.0, rate=1.0, exponent=1.0)
    >>> branch.x(np.array([0.0, 0.5, 2.0])).round(3)
    array([0.   , 1.333,   inf])
    """

    exponent: float = 1.0

    barrier: ClassVar[bool] = True

    def x(self, theta: Array) -> Array:
        xp, t, inside = self._inside(theta)
        if self._rational and t.dtype == xp.float64:
            x = angles.exponential(self.log_size) * _rational(t, self.exponent)
        else:
            x = self.from_angle(self._angle_of(xp, t))
        return xp.where(inside, x, xp.where(theta > 0, 0 * t + math.inf, 0 * t - math.inf))

    def slope(self, theta: Array) -> Array:
        xp, t, inside = self._inside(theta)
        if self._rational and t.dtype == xp.float64:
            value = angles.exponential(self.log_size) * _rational_slope(t, self.exponent)
        else:
            value = self._slope_of_phi(xp, t)
            if self.signed:
                value = value + self._slope_of_phi(xp, -t)
        return xp.where(inside, self.rate * value, 0 * t + math.inf)

    def conjugate(self, theta: Array) -> Array:
        xp, t, inside = self._inside(theta)
        return xp.where(inside, self._integral(xp, self._angle_of(xp, t)), 0 * t + math.inf)

    @property
    def _rational(self) -> bool:
        """Whether the map is a rational function without cancellation (depths 3, 4, infinity): many times faster."""
        return self.signed and self.exponent in (1, 2, 3)

    def _inside(self, theta: Array) -> tuple[Any, Array, Array]:
        """The namespace, t where it is on this side of the barrier (else 0), and where it is."""
        xp, t = array_namespace(theta), theta * self.rate
        inside = xp.abs(t) < 1 if self.signed else t < 1
        return xp, xp.where(inside, t, 0 * t), inside

    def _angle_of(self, xp: Any, t: Array) -> Array:
        return self.exponent * xp.atanh(t) if self.signed else -self.exponent * xp.log1p(-t)

    def _fraction(self, xp: Any, angle: Array) -> Array:
        reduced = angle / self.exponent
        return xp.tanh(reduced) if self.signed else -xp.expm1(-reduced)

    def _slope_of_phi(self, xp: Any, t: Array) -> Array:
        return self.exponent * xp.exp(self.log_size - (self.exponent + 1) * xp.log1p(-t))

    def _integral(self, xp: Any, angle: Array) -> Array:
        # All terms are positive if it is signed, so that nothing cancels.
        size = angles.exponential(self.log_size) / self.rate
        power = self.exponent - 1  # of the integral of phi; 0 makes it a logarithm
        if not self.signed:
            return size * (angle if power == 0 else xp.expm1(power / self.exponent * angle) / power)
        mean = angles.log_cosh(xp, xp.abs(angle), self.exponent) / self.exponent
        if power == 0:
            return size * 2 * mean
        half = power / self.exponent * xp.abs(angle)
        return size * 2 / power * (xp.expm1(power * mean) * xp.cosh(half) + 2 * xp.sinh(half / 2) ** 2)

    # ---- in logarithms of a slack --------------------------------------------------------------------------

    @property
    def bound(self) -> Vector:
        return np.asarray(1 / self.rate)

    @property
    def rest(self) -> Vector:
        return np.asarray(1 / self.rate)

    def log_phi(self, slack: Vector) -> Vector:
        return np.asarray(self.log_size - self.exponent * np.log(self.rate * slack))

    def slack_of(self, log_phi: Vector) -> Vector:
        return np.asarray(np.exp((self.log_size - log_phi) / self.exponent) / self.rate)

    def steepness(self, slack: Vector) -> Vector:
        return np.asarray(self.exponent / slack)

    def secant(self, error: Vector, slack: Vector) -> Vector:
        down = np.minimum(error, 0.0)
        falling = np.where(self.rate * slack < 0.5, self.exponent * np.expm1(down / self.exponent), np.expm1(down))
        return np.where(error < 0, falling, np.minimum(error, 50.0))

    def gentle(self, theta: Vector) -> Mask:
        return np.abs(self.rate * theta) < GENTLE


def _rational(t: Array, exponent: float) -> Array:
    """``(1 - t)^-c - (1 + t)^-c`` for c = 1, 2, 3 over a common denominator."""
    square, rest = t * t, 1 / ((1 - t) * (1 + t))  # not 1 - square, which would cancel at the barrier
    if exponent == 1:
        return 2 * t * rest
    return 4 * t * rest * rest if exponent == 2 else 2 * t * (3 + square) * rest * rest * rest


def _rational_slope(t: Array, exponent: float) -> Array:
    """Its derivative, ``c [(1 - t)^-(c+1) + (1 + t)^-(c+1)]``."""
    square, rest = t * t, 1 / ((1 - t) * (1 + t))
    if exponent == 1:
        return 2 * (1 + square) * rest * rest
    if exponent == 2:
        return 4 * (1 + 3 * square) * rest * rest * rest
    return 6 * (1 + square * (6 + square)) * (rest * rest) ** 2

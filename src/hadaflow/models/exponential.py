"""The exponential map of depth 2, which has no barrier."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
from array_api_compat import array_namespace

from hadaflow._types import Mask, Vector
from hadaflow.models import _angles as angles
from hadaflow.models._angled import Angled
from hadaflow.models.branches import GENTLE, Array


@dataclass(frozen=True, eq=False)
class Exponential(Angled):
    """``phi(theta) = exp(log_size + rate theta)``: products of two factors.

    Parameters
    ----------
    log_size : float or array of shape (n,)
        ``log phi(0)``, of the size at the start.
    rate : float or array of shape (n,)
        k > 0 in ``t = k theta``.
    signed : bool, default True
        Whether it enters x as ``phi(theta) - phi(-theta)``.

    Examples
    --------
    >>> import numpy as np
    >>> from hadaflow.models import Exponential
    >>> branch = Exponential(log_size=-4.0, rate=2.0)
    >>> bool(np.isclose(branch.x(np.array(1.5)), 2 * np.exp(-4) * np.sinh(3)))
    True
    """

    exponent = math.inf

    def x(self, theta: Array) -> Array:
        return self.from_angle(self.rate * theta)

    def slope(self, theta: Array) -> Array:
        xp, t = array_namespace(theta), self.rate * theta
        value = xp.exp(self.log_size + t)
        return self.rate * (value + xp.exp(self.log_size - t) if self.signed else value)

    def conjugate(self, theta: Array) -> Array:
        return self._integral(array_namespace(theta), self.rate * theta)

    def _fraction(self, xp: Any, angle: Array) -> Array:  # they are one and the same
        return angle

    def _integral(self, xp: Any, angle: Array) -> Array:
        lift = 4 * xp.sinh(angle / 2) ** 2 if self.signed else xp.expm1(angle)
        return angles.exponential(self.log_size) / self.rate * lift

    # ---- in logarithms of a slack --------------------------------------------------------------------------

    @property
    def bound(self) -> Vector:
        return np.asarray(-self.log_size / self.rate)

    @property
    def rest(self) -> Vector:
        return np.zeros_like(self.log_size)  # any number: nothing tells where the slack of an exponential begins

    def log_phi(self, slack: Vector) -> Vector:
        return np.asarray(self.log_size - self.rate * slack)

    def slack_of(self, log_phi: Vector) -> Vector:
        return np.asarray((self.log_size - log_phi) / self.rate)

    def steepness(self, slack: Vector) -> Vector:
        return np.broadcast_to(self.rate, slack.shape)

    def secant(self, error: Vector, slack: Vector) -> Vector:
        by_slack = np.maximum(np.minimum(error, 0.0), -50.0)
        falling = np.where(self.rate * slack < -1, by_slack, np.expm1(np.minimum(error, 0.0)))
        return np.where(error < 0, falling, np.minimum(error, 50.0))

    def gentle(self, theta: Vector) -> Mask:
        return np.abs(self.rate * theta) < GENTLE

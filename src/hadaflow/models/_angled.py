"""What maps with an angle share: the exponential, and powers with a barrier."""

from __future__ import annotations

from abc import abstractmethod
from typing import Any

from array_api_compat import array_namespace

from hadaflow.models import _angles as angles
from hadaflow.models.branches import Array, Branch


class Angled(Branch):
    """A branch whose x is known by its angle, in which no barrier exists: a stable stand-in for theta near one."""

    @property
    @abstractmethod
    def exponent(self) -> float:
        """c of a power; infinite for the exponential."""

    @abstractmethod
    def _fraction(self, xp: Any, angle: Array) -> Array:
        """The ``t = rate * theta`` of an angle."""

    @abstractmethod
    def _integral(self, xp: Any, angle: Array) -> Array:
        """The integral of the map from 0 to the theta of an angle."""

    def theta(self, x: Array) -> Array:
        return self._fraction(array_namespace(x), self.angle(x)) / self.rate

    def potential(self, x: Array) -> Array:
        xp, angle = array_namespace(x), self.angle(x)
        product = xp.where(x == 0, 0 * x, self._fraction(xp, angle)) * x  # infinite at x = 0 unless signed
        return product / self.rate - self._integral(xp, angle)

    def angle(self, x: Array) -> Array:
        """The angle of x."""
        xp = array_namespace(x)
        if self.signed:
            return angles.angle_of_odd(xp, x, self.log_size, self.exponent)
        return angles.angle_of_single(xp, x, self.log_size)

    def from_angle(self, angle: Array) -> Array:
        """The x of an angle."""
        xp = array_namespace(angle)
        return angles.odd(xp, angle, self.log_size, self.exponent) if self.signed else xp.exp(self.log_size + angle)

"""The scalar maps that mirrors are sums of: their bases, and a line.

A branch is an increasing map ``phi(theta) > 0``, one per coordinate. A signed branch enters x as the odd map
``phi(theta) - phi(-theta)``, another one as ``phi(theta)``. Each class holds every formula of its map:

- on arrays of any array-API namespace: the part of x, its slope, its inverse, its integral;
- in logarithms of a slack, which shrinks as theta grows: what the limit solver works with, in NumPy.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass, replace
from typing import Any, ClassVar, Self

import numpy as np

from hadaflow._types import Index, Mask, Vector

#: An array of any array-API namespace (NumPy, torch, CuPy, JAX ...).
Array = Any
#: One number for all coordinates, or one per coordinate.
Scale = float | Array

GENTLE = 0.8  # fraction of the way to a barrier (without one: of a factor e) up to which a map is nearly linear


class Map(ABC):
    """An increasing map from theta to a part of x, entrywise."""

    @abstractmethod
    def x(self, theta: Array) -> Array:
        """The part of x at theta; infinite beyond a barrier."""

    @abstractmethod
    def slope(self, theta: Array) -> Array:
        """Its derivative."""

    @abstractmethod
    def theta(self, x: Array) -> Array:
        """The theta at which it is x."""

    @abstractmethod
    def conjugate(self, theta: Array) -> Array:
        """Its integral from 0 to theta."""

    def potential(self, x: Array) -> Array:
        """``theta x - conjugate(theta)`` at the theta of x."""
        theta = self.theta(x)
        return theta * x - self.conjugate(theta)


@dataclass(frozen=True, eq=False)
class Linear(Map):
    """``origin + grade * theta``: one factor alone, or ridge regression.

    Parameters
    ----------
    grade : float or array of shape (n,)
        Its slope.
    origin : float or array of shape (n,), default 0
        Its value at theta = 0.

    Examples
    --------
    >>> from hadaflow.models import Linear
    >>> Linear(2.0).x(1.5)
    3.0
    """

    grade: Scale
    origin: Scale = 0.0

    def x(self, theta: Array) -> Array:
        return self.origin + self.grade * theta

    def slope(self, theta: Array) -> Array:
        return 0 * theta + self.grade

    def theta(self, x: Array) -> Array:
        return (x - self.origin) / self.grade

    def conjugate(self, theta: Array) -> Array:
        return self.origin * theta + self.grade / 2 * theta**2


@dataclass(frozen=True, eq=False)
class Branch(Map):
    """A map that grows from a positive size.

    Parameters
    ----------
    log_size : float or array of shape (n,)
        ``log phi(0)``, of the size at the start.
    rate : float or array of shape (n,)
        k > 0 in ``t = k theta``, the argument in which the map is written.
    signed : bool, default True
        Whether it enters x as ``phi(theta) - phi(-theta)``.
    """

    log_size: Scale
    rate: Scale
    signed: bool = True

    #: Whether x becomes infinite at a finite theta, where the slack is 0.
    barrier: ClassVar[bool] = False

    @property
    @abstractmethod
    def bound(self) -> Vector:
        """The theta near which a coordinate leaves a small start: its weight in the gauge."""

    @property
    @abstractmethod
    def rest(self) -> Vector:
        """The slack at the start; at theta the slack is ``rest - theta``."""

    @abstractmethod
    def log_phi(self, slack: Vector) -> Vector:
        """``log phi`` at a slack."""

    @abstractmethod
    def slack_of(self, log_phi: Vector) -> Vector:
        """The slack at which ``log phi`` has this value."""

    @abstractmethod
    def steepness(self, slack: Vector) -> Vector:
        """``-d log phi / d slack``."""

    @abstractmethod
    def secant(self, error: Vector, slack: Vector) -> Vector:
        """An error of ``log phi`` as Newton's method should see it: exact along the unknown that takes it up.

        A value that is too large for its slack (error < 0, as after the scale was lowered) closes the error by its
        slack alone near a barrier, and by its value alone far from it.
        """

    @abstractmethod
    def gentle(self, theta: Vector) -> Mask:
        """Where the map is nearly linear, so that Newton's method on theta alone is safe."""

    def in_units(self, theta: float, log_x: float, n: int) -> Self:
        """The maps of n coordinates, with theta and x counted in these units; that of x in logarithms."""
        log_size = np.broadcast_to(np.asarray(self.log_size, dtype=np.float64) - log_x, n)
        rate = np.broadcast_to(np.asarray(self.rate, dtype=np.float64) * theta, n)
        return replace(self, log_size=log_size, rate=rate)

    def on(self, index: Index) -> Self:
        """The maps of these coordinates; after :meth:`in_units`."""
        return replace(self, log_size=np.asarray(self.log_size)[index], rate=np.asarray(self.rate)[index])

    def raised(self, by: float) -> Self:
        """The map from a start that is larger by a factor ``exp(by)``, at the same rate."""
        return replace(self, log_size=self.log_size + by)

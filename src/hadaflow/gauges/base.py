"""What a gauge owes the engines: each of its formulas is asked here and nowhere else."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import ClassVar

import numpy as np

from hadaflow._types import Index, Mask, Vector
from hadaflow.groups import Groups

_SINGLES = Groups()


class Gauge(ABC):
    """A positively homogeneous convex function of x, and the set of dual states that it is the support function of.

    As the start of a flow vanishes, its end minimises a gauge among all solutions of ``A x = y``: the potential of the
    mirror map tends to it (docs/mathematics.md, "Gauges"). The dual state ``theta = A^T nu`` then stays within the dual
    set ``{theta : <theta, x> <= value(x) for all x}``, and is on its boundary where x is not zero. Arrays have one
    entry per coordinate, shape (n,).
    """

    #: Whether the dual set is a polytope: then paths of dual states are made of straight pieces.
    polyhedral: ClassVar[bool] = True

    @property
    def groups(self) -> Groups:
        """The coordinates whose sizes count together; by default each by itself."""
        return _SINGLES

    # ---- of x ----------------------------------------------------------------------------------------------

    @abstractmethod
    def value(self, x: Vector) -> float:
        """The gauge of x by its weights; whether x is allowed at all is for :meth:`allows` to say."""

    @abstractmethod
    def allows(self, x: Vector) -> bool:
        """Whether the gauge of x is finite: for example, whether x is non-negative where it has to be."""

    @abstractmethod
    def prox(self, x: Vector, step: float) -> Vector:
        """The z that minimises ``1/2 ||z - x||^2 + step * value(z)``."""

    @abstractmethod
    def face(self, x: Vector) -> Vector:
        """The boundary point at which the dual state has to be where x is not zero; 0 elsewhere."""

    @abstractmethod
    def opens(self, direction: Vector) -> Mask:
        """Whether a coordinate at 0 may move in this direction at a finite cost."""

    @property
    @abstractmethod
    def finite(self) -> bool:
        """Whether every x is allowed."""

    # ---- of dual states ------------------------------------------------------------------------------------

    @abstractmethod
    def sizes(self, theta: Vector, rounding: Vector | float = 0.0) -> Vector:
        """For each coordinate the smallest ``M >= 0`` with theta in M times the dual set, up to rounding.

        Infinite where no M will do. A negative rounding enlarges theta instead.
        """

    @abstractmethod
    def beyond(self, theta: Vector) -> Vector:
        """How far each coordinate lies outside the dual set; negative inside. Also takes columns, shape (n, k)."""

    @abstractmethod
    def meets(self, direction: Vector) -> Vector:
        """The boundary point that a dual state moving in this direction meets; infinite where there is none."""

    # ---- coordinates without a cost, units -----------------------------------------------------------------

    @property
    @abstractmethod
    def free(self) -> Index:
        """Coordinates that cost nothing, whatever their sign: their dual state is 0."""

    @property
    @abstractmethod
    def costless(self) -> Index:
        """Coordinates that cost nothing for one sign at least, the free ones among them."""

    @abstractmethod
    def on(self, index: Index) -> Gauge:
        """The gauge of these coordinates alone."""

    @abstractmethod
    def unit(self) -> tuple[Vector | None, Gauge]:
        """Weights w > 0 and a gauge g of order one with ``value(x) = g(w x)``; None for weights that are all 1."""

    def check(self, n: int) -> None:
        """Raise ValueError if it is not one of n coordinates; by default it is one of any number."""
        return

    # ---- what follows --------------------------------------------------------------------------------------

    def dual(self, theta: Vector, rounding: Vector | float = 0.0) -> float:
        """The smallest ``M >= 0`` with theta in M times the dual set, up to rounding."""
        return float(self.sizes(theta, rounding).max(initial=0.0))

    def excess(self, theta: Vector, size: float) -> Vector:
        """How far each group lies outside ``size`` times the dual set, one number per group; negative inside."""
        return size * self.beyond(theta / size)

    def signs(self, x: Vector) -> Vector:
        """The sign of each coordinate, turned where it is forbidden; of a group ``x_g / ||x_g||``."""
        signs = np.sign(x)
        return np.where(self.opens(signs), signs, -signs)

    def outward(self, direction: Vector) -> Vector:
        """``|direction|`` where a coordinate may move that way, else 0."""
        return np.where(self.opens(direction), np.abs(direction), 0.0)

    def wait(self, theta: Vector, velocity: Vector, moving: Mask) -> Vector:
        """How long ``theta + t velocity`` takes to the bound of each moving coordinate; infinite without one."""
        time = np.empty_like(theta)
        time.fill(np.inf)
        np.divide(self.meets(velocity) - theta, velocity, out=time, where=moving)
        return time

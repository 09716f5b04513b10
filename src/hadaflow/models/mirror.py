"""A model bound to its start: the one map from dual states to x, and all that follows from it."""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import cached_property

import numpy as np
from array_api_compat import array_namespace

from hadaflow._types import Vector
from hadaflow.gauges import L1, Gauge
from hadaflow.models.branches import Array, Branch, Linear, Map

_LARGEST = 700.0  # log of a size that a double holds
_NEWTON = 200


class Mirror(Map):
    """``x = B(theta)``, entrywise: where gradient flow is when its dual state is ``theta = A^T nu``.

    B is a sum of maps of the same theta. One branch is a model of a single kind of factors; several are a sum of such
    models, ``x = x_1 + x_2``, each with factors of its own.

    Parameters
    ----------
    *branches : Branch
        The curved parts: all signed, or none.
    linear : Linear, optional
        A linear part.

    Raises
    ------
    ValueError
        If there is no part, or only some of the branches are signed.

    Examples
    --------
    >>> import numpy as np, hadaflow as hf
    >>> from hadaflow.models import Linear, Mirror, Power
    >>> mirror = hf.HadamardPower(3).mirror(0.1, n=2)
    >>> bool(np.allclose(mirror.x(mirror.theta(np.array([0.5, -2.0]))), [0.5, -2.0]))
    True
    >>> Mirror(Power(-7.0, 1.0, exponent=1.0), linear=Linear(0.1)).signed
    True
    """

    def __init__(self, *branches: Branch, linear: Linear | None = None) -> None:
        if not branches and linear is None:
            raise ValueError("a mirror needs at least one branch, or a linear part")
        if len({branch.signed for branch in branches}) > 1:
            raise ValueError("the branches of a mirror are all signed, or none of them is")
        self.branches, self.linear = branches, linear
        self.parts: tuple[Map, ...] = branches if linear is None else (*branches, linear)

    # ---- the map -------------------------------------------------------------------------------------------

    def x(self, theta: Array) -> Array:
        return self._sum(lambda part: part.x(theta))

    def slope(self, theta: Array) -> Array:
        return self._sum(lambda part: part.slope(theta))

    def theta(self, x: Array) -> Array:
        return self.parts[0].theta(x) if len(self.parts) == 1 else self._theta_of_sum(x)

    def conjugate(self, theta: Array) -> Array:
        return self._sum(lambda part: part.conjugate(theta))

    def potential(self, x: Array) -> Array:
        return self.parts[0].potential(x) if len(self.parts) == 1 else super().potential(x)

    def _sum(self, of: Callable[[Map], Array]) -> Array:
        total = of(self.parts[0])
        for part in self.parts[1:]:
            total = total + of(part)
        return total

    def _theta_of_sum(self, x: Array) -> Array:
        """Newton's method for ``B(theta) = x`` from beyond the root.

        An odd B is convex where theta > 0, one of positive branches everywhere. Each part alone reaches x no earlier
        than their sum: the smallest of their thetas is beyond the root, and from there the iterates fall to it.
        """
        xp = array_namespace(x)
        sign = xp.where(x < 0, 0 * x - 1, 0 * x + 1) if self.odd else 1 + 0 * x
        goal = sign * x
        theta = self._beyond(goal)
        for _ in range(_NEWTON):
            step = (self.x(theta) - goal) / self.slope(theta)
            theta = theta - step
            if bool(xp.all(xp.abs(step) <= 4e-16 * xp.abs(theta))):
                break
        return sign * theta

    def _beyond(self, goal: Array) -> Array:
        xp = array_namespace(goal)
        theta = self.parts[0].theta(goal)
        for part in self.parts[1:]:
            theta = xp.minimum(theta, part.theta(goal))
        return theta

    # ---- what follows --------------------------------------------------------------------------------------

    @property
    def signed(self) -> bool:
        """Whether x may have either sign."""
        return all(branch.signed for branch in self.branches)

    @property
    def odd(self) -> bool:
        """Whether B(-theta) = -B(theta)."""
        return self.signed and (self.linear is None or not np.any(self.linear.origin))

    @property
    def affine(self) -> bool:
        """Whether no part is curved: then nothing is made sparse."""
        return not self.branches

    @property
    def sparsifies(self) -> bool:
        """Whether a vanishing start makes x sparse: some part is curved, and none is linear."""
        return bool(self.branches) and self.linear is None

    @property
    def barrier(self) -> bool:
        """Whether all curved parts have a barrier, so that theta is bounded."""
        return bool(self.branches) and all(branch.barrier for branch in self.branches)

    @property
    def product_scale(self) -> float:
        """Size of the branches at the start, geometric mean over the coordinates: ``a^D`` of ``x = u^D - v^D``.

        What counts as support is decided by it. In units of x; 0 for an affine map.
        """
        if self.affine:
            return 0.0
        level = max(float(np.mean(np.asarray(branch.log_size, dtype=np.float64))) for branch in self.branches)
        return math.exp(min(_LARGEST, level))

    @cached_property
    def bounds(self) -> Vector:
        """The theta at which each coordinate leaves its start, as that vanishes; shape () or (n,)."""
        return np.asarray(np.min(np.broadcast_arrays(*(branch.bound for branch in self.branches)), axis=0))

    @property
    def rate(self) -> float:
        """1 / the theta at which a coordinate of weight 1 of the :attr:`gauge` leaves its start."""
        return 1.0 / float(self.bounds.ravel()[0])

    @cached_property
    def gauge(self) -> Gauge:
        """What the potential tends to as the start vanishes, up to a factor: the l1 norm.

        The potential of x grows like ``bound_i |x_i|``. A start per coordinate therefore is a weight of the gauge; the
        first coordinate has weight 1.
        """
        uniform = bool(np.ptp(self.bounds) == 0)
        return L1(None if uniform else self.bounds * self.rate, sign="both" if self.signed else "positive")

    @property
    def unit(self) -> float:
        """A unit of theta in which the slacks of all branches are of order one."""
        rates = [math.exp(float(np.log(branch.rate).mean())) for branch in self.branches]
        return 1.0 / max(rates)

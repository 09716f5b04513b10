"""The sum of the norms of groups of coordinates: whole groups are made small, not their entries."""

from __future__ import annotations

from typing import Any

import numpy as np

from hadaflow._types import Index, Mask, Vector
from hadaflow._validation import positive_vector
from hadaflow.gauges.base import Gauge
from hadaflow.groups import Groups


class GroupNorm(Gauge):
    """``sum_g w_g ||x_g||_2``. Its dual set are the theta with ``||theta_g||_2 <= w_g`` for all groups.

    Parameters
    ----------
    groups : Groups or int array of shape (n,)
        The group of each coordinate.
    weights : ndarray of shape (G,), optional
        w > 0; default all 1.

    Raises
    ------
    TypeError, ValueError
        If groups are no labels, or weights are not one positive number for each.

    Examples
    --------
    >>> import numpy as np
    >>> from hadaflow.gauges import GroupNorm
    >>> gauge = GroupNorm(np.array([0, 0, 1, 1]))
    >>> gauge.value(np.array([3.0, 4.0, 0.0, -2.0])), gauge.dual(np.array([0.0, 1.0, 3.0, 4.0]))
    (7.0, 5.0)
    """

    polyhedral = False

    def __init__(self, groups: Any, weights: Any = None) -> None:
        self._groups = groups if isinstance(groups, Groups) else Groups.of(np.asarray(groups), len(groups))
        self.weights = None if weights is None else positive_vector(weights, "weights", self._groups.count)
        self._bounds: Vector | float = 1.0 if self.weights is None else self.weights

    def __repr__(self) -> str:
        weights = "" if self.weights is None else f", weights of shape {self.weights.shape}"
        return f"GroupNorm({self._groups!r}{weights})"

    @property
    def groups(self) -> Groups:
        return self._groups

    def check(self, n: int) -> None:
        labels = self._groups.labels
        if labels is not None and len(labels) != n:
            raise ValueError(f"the gauge groups {len(labels)} coordinates, but A has {n} columns")

    # ---- of x ----------------------------------------------------------------------------------------------

    def value(self, x: Vector) -> float:
        return float((self._bounds * self._groups.norms(x)).sum())

    def allows(self, x: Vector) -> bool:
        return True

    def prox(self, x: Vector, step: float) -> Vector:
        size = self._groups.norms(x)
        left = np.maximum(size - step * self._bounds, 0.0)
        factor = np.divide(left, size, out=np.zeros_like(size), where=size > 0)
        return np.asarray(self._groups.spread(factor) * x)

    def face(self, x: Vector) -> Vector:
        return np.asarray(self._groups.spread(self._bounds) * self._groups.directions(x))

    def opens(self, direction: Vector) -> Mask:
        return np.asarray(direction != 0)

    @property
    def finite(self) -> bool:
        return True

    # ---- of dual states ------------------------------------------------------------------------------------

    def sizes(self, theta: Vector, rounding: Vector | float = 0.0) -> Vector:
        size = self._groups.norms(theta)
        if isinstance(rounding, np.ndarray) or rounding != 0.0:
            each = np.broadcast_to(np.asarray(rounding, dtype=np.float64), theta.shape)
            sign = -1.0 if float(each.min()) < 0 else 1.0  # of all of them: rounding enlarges or lessens
            size = np.maximum(size - sign * self._groups.norms(np.array(each)), 0.0)
        return np.asarray(self._groups.spread(size / self._bounds))

    def excess(self, theta: Vector, size: float) -> Vector:
        bounds = self._bounds if theta.ndim == 1 or self.weights is None else self.weights[:, None]
        return np.asarray(self._groups.norms(theta) - size * bounds)

    def beyond(self, theta: Vector) -> Vector:
        return np.asarray(self._groups.spread(self.excess(theta, 1.0)))

    def signs(self, x: Vector) -> Vector:
        return np.asarray(self._groups.polar(x)[1])

    def meets(self, direction: Vector) -> Vector:
        return self.face(direction)

    # ---- coordinates without a cost, units -----------------------------------------------------------------

    @property
    def free(self) -> Index:
        return np.empty(0, dtype=np.intp)

    costless = free

    def on(self, index: Index) -> GroupNorm:
        chosen = self._groups.of_coordinates(index)
        return GroupNorm(self._groups.on(index), None if self.weights is None else self.weights[chosen])

    def unit(self) -> tuple[Vector | None, Gauge]:
        if self.weights is None:
            return None, self
        return np.asarray(self._groups.spread(self.weights)), GroupNorm(self._groups)

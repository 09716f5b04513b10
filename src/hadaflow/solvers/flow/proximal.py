"""The flow in long steps: implicit, with the coupling of the coordinates replaced by its bound.

An implicit step of length h solves ``theta' = theta + h A^T (y - A B(theta'))`` for all coordinates together. With
``||A||^2 <= L`` in place of ``A^T A`` around the present x they come apart::

    theta' + h L B(theta') = theta + h (A^T (y - A x) + L x),        x' = B(theta'),

and theta then moves by ``h A^T (y - A x')``. Two products a step, whatever its length; but x cannot move faster than by
gradient steps of length 1 / L, however long h. docs/mathematics.md, "The flow in time".

For another loss than the squared one the pull ``A^T (y - A x)`` is minus its gradient, and L bounds its curvature:
``||A||^2`` times that in the predictions.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from hadaflow._types import Vector
from hadaflow.solvers.flow.field import Field

_GROWTH = 1.4  # of the steps, each relative to the one before
_NEWTON = 30  # iterations at most for the scalar equations
_ACCURATE = 1e-4  # of their solutions, relative to the largest entry of x


@dataclass
class Corner:
    """Where a step ends."""

    time: float
    nu: Vector
    x: Vector
    residual: Vector


class PiecewiseLinearPath:
    """A path of long steps: x and the residual dF/dp are linear in time on each, and nu is their integral."""

    def __init__(self, start: Corner) -> None:
        self.corners = [start]
        self._areas = [np.zeros_like(start.x)]

    def add(self, corner: Corner) -> None:
        """The end of the next step."""
        last = self.corners[-1]
        span = corner.time - last.time
        corner.nu = last.nu - 0.5 * span * (last.residual + corner.residual)
        self._areas.append(self._areas[-1] + 0.5 * span * (last.x + corner.x))
        self.corners.append(corner)

    @property
    def knots(self) -> Vector:
        """Times of the corners."""
        return np.array([corner.time for corner in self.corners])

    @property
    def nbytes(self) -> int:
        """Memory that the corners take."""
        corner = self.corners[0]
        return len(self.corners) * (corner.nu.nbytes + 2 * corner.x.nbytes + corner.residual.nbytes)

    def states(self, times: Vector) -> tuple[Vector, Vector]:
        """nu and x at these times, as columns."""
        points = [self._at(float(t)) for t in times]
        return np.column_stack([point.nu for point in points]), np.column_stack([point.x for point in points])

    def residual(self, time: float) -> Vector:
        """dF/dp, ``A x - y``."""
        return self._at(time).residual

    def integral(self, end: float) -> Vector:
        """Integral of x from 0."""
        k = self._place(end)
        return self._areas[k] + 0.5 * (end - self.corners[k].time) * (self.corners[k].x + self._at(end).x)

    def _place(self, time: float) -> int:
        return max(0, int(np.searchsorted(self.knots, time, side="right")) - 1)

    def _at(self, time: float) -> Corner:
        k = self._place(time)
        left = self.corners[k]
        if time <= left.time or k + 1 == len(self.corners):
            return left
        right = self.corners[k + 1]
        span = time - left.time
        share = span / (right.time - left.time)
        x = left.x + share * (right.x - left.x)
        residual = left.residual + share * (right.residual - left.residual)
        return Corner(time, left.nu - 0.5 * span * (left.residual + residual), x, residual)


class ProximalSteps:
    """Long steps from the start; :meth:`advance` takes the next one."""

    def __init__(self, field: Field) -> None:
        self.field = field
        n = field.problem.shape[1]
        x = np.asarray(field.model.mirror_map(np.zeros(n), field.init_scale), dtype=np.float64)
        self.bound = field.spectral_square * field.problem.loss.curvature_bound
        self.theta = np.zeros(n)
        residual, self.pull = field.residual_and_pull(x)
        self.at = Corner(0.0, np.zeros_like(field.y), x, residual)
        self.length = self._first()

    def advance(self) -> Corner:
        """The next corner."""
        field, span = self.field, self.length
        target = self.theta + span * (self.pull + self.bound * self.at.x)
        x = field.model.mirror_map(self._solve(target, span * self.bound), field.init_scale)
        residual, self.pull = field.residual_and_pull(x)
        self.theta = self.theta + span * self.pull
        self.at = Corner(self.at.time + span, self.at.nu, x, residual)
        self.length *= _GROWTH
        return self.at

    def _first(self) -> float:
        """A step that takes the fastest coordinate half-way to where its gradient would vanish."""
        fastest = int(np.abs(self.pull).argmax())
        if self.pull[fastest] == 0 or self.bound == 0:
            return 1.0
        goal = np.array(self.at.x)
        goal[fastest] += 0.5 * self.pull[fastest] / self.bound
        if not self.field.model.signed:
            goal = np.maximum(goal, 0.5 * self.at.x)
        theta = np.asarray(self.field.model.inverse(goal, self.field.init_scale))[fastest]
        length = float(abs(theta / (0.5 * self.pull[fastest])))
        return length if 0 < length < np.inf else 1.0

    def _solve(self, target: Vector, weight: float) -> Vector:
        """theta with ``theta + weight B(theta) = target``, entrywise.

        Newton's method from above: there the function is convex, so that the iterates fall to the root and never pass
        it, nor the barrier. A signed model is odd: negative targets are mirrored.
        """
        model, scale = self.field.model, self.field.init_scale
        if weight == 0:
            return target
        sign = np.where(target < 0, -1.0, 1.0) if model.signed else 1.0
        aim = sign * target
        up = aim > 0
        theta = np.where(up, np.minimum(aim, model.inverse(np.where(up, aim / weight, 1.0), scale)), aim)
        for _ in range(_NEWTON):
            x, slope = model.mirror_map(theta, scale), model.slope(theta, scale)
            step = (theta + weight * x - aim) / (1 + weight * slope)
            theta = theta - step
            if float(np.abs(slope * step).max()) <= _ACCURATE * float(np.abs(x).max()):
                break
        return np.asarray(sign * theta)

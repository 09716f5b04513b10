"""The flow in long steps: implicit, with the coupling of the coordinates replaced by its bound.

An implicit step of length h solves ``theta' = theta + h A^T (y - A B(theta'))`` for all coordinates together. With
``||A||^2 <= L`` in place of ``A^T A`` around the present x they come apart::

    theta' + h L B(theta') = theta + h (A^T (y - A x) + L x),        x' = B(theta'),

and theta then moves by ``h A^T (y - A x')``; in groups of coordinates the equation is one for the radius, and theta'
has the direction of the right-hand side. Two products a step, whatever its length; but x cannot move faster than by
gradient steps of length 1 / L, however long h. docs/mathematics.md, "The flow in time".

For another loss than the squared one ``A^T (y - A x)`` is its negative gradient, and L bounds its curvature:
``||A||^2`` times that in the predictions.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

import numpy as np

from hadaflow._types import Vector
from hadaflow.paths import FlowPath
from hadaflow.solvers.flow.field import SHARPEST, Field
from hadaflow.solvers.flow.run import FlowRun, interrupted

_GROWTH = 1.4  # of the steps, each relative to the one before
_NEWTON = 30  # iterations at most for the scalar equations
_ACCURATE = 1e-4  # of their solutions, relative to the largest entry of x


def follow_proximal(run: FlowRun) -> FlowPath:
    """The path of long implicit steps, until a rule or the end time is met.

    Raises
    ------
    ValueError
        If neither is given, or the start is too small for these steps.
    """
    field = run.field
    if run.request.t_end == math.inf and run.request.stop is None:
        raise ValueError('method="proximal" does not end at the limit: give a stop, or a finite t_end')
    if field.sharpness > SHARPEST:
        raise ValueError('init_scale is too small for method="proximal" at this depth: take "bdf"')
    steps = ProximalSteps(field)
    curve = PiecewiseLinearPath(steps.at)
    try:
        end = run.look(curve, 0.0, 0.0)
        while end is None:
            before = steps.at.time
            corner = steps.advance()
            curve.add(corner)
            end = run.look(curve, before, corner.time) or run.at_end_time(corner.time, corner.x)
            if end is None and run.request.t_end == math.inf:
                end = run.at_rest(corner.time, steps.negative_gradient)
            end = end or run.out_of_budget(curve, corner.time)
            run.report(corner.time, corner.x, len(curve.corners) - 1)
    except KeyboardInterrupt:
        end = interrupted(curve)
    end = replace(end, reason=f"{end.reason}; by long implicit steps, near the flow at its beginning only")
    return run.path(curve, end, math.inf)


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
        last = self.corners[k]
        if time <= last.time or k + 1 == len(self.corners):
            return last
        following = self.corners[k + 1]
        span = time - last.time
        fraction = span / (following.time - last.time)
        x = last.x + fraction * (following.x - last.x)
        residual = last.residual + fraction * (following.residual - last.residual)
        return Corner(time, last.nu - 0.5 * span * (last.residual + residual), x, residual)


class ProximalSteps:
    """Long steps from the start; :meth:`advance` takes the next one."""

    def __init__(self, field: Field) -> None:
        self.field = field
        n = field.problem.shape[1]
        x = field.mapped(np.zeros(n))
        self.bound = field.spectral_square * field.problem.loss.curvature_bound
        self.theta = np.zeros(n)
        residual, self.negative_gradient = field.residual_and_gradient(x)
        self.at = Corner(0.0, np.zeros_like(field.y), x, residual)
        self.length = self._first()

    def advance(self) -> Corner:
        """The next corner."""
        field, span = self.field, self.length
        target = self.theta + span * (self.negative_gradient + self.bound * self.at.x)
        radius, direction = field.groups.polar(target)
        x = np.asarray(field.groups.spread(field.mirror.x(self._solve(radius, span * self.bound))) * direction)
        residual, self.negative_gradient = field.residual_and_gradient(x)
        self.theta = self.theta + span * self.negative_gradient
        self.at = Corner(self.at.time + span, self.at.nu, x, residual)
        self.length *= _GROWTH
        return self.at

    def _first(self) -> float:
        """A step that takes the fastest coordinate, or group, half-way to where its gradient would vanish."""
        (gradient, _), (x, _) = (self.field.groups.polar(each) for each in (self.negative_gradient, self.at.x))
        fastest = int(np.abs(gradient).argmax())
        if gradient[fastest] == 0 or self.bound == 0:
            return 1.0
        goal = np.array(x)
        goal[fastest] += 0.5 * gradient[fastest] / self.bound
        if not self.field.signed:
            goal = np.maximum(goal, 0.5 * x)
        theta = self.field.mirror.theta(goal)[fastest]
        length = float(abs(theta / (0.5 * gradient[fastest])))
        return length if 0 < length < np.inf else 1.0

    def _solve(self, target: Vector, weight: float) -> Vector:
        """theta with ``theta + weight B(theta) = target``, entrywise; of groups, for their radii.

        Newton's method from above: there the function is convex, so that the iterates fall to the root and never pass
        it, nor the barrier. A signed model is odd: negative targets are mirrored.
        """
        field = self.field
        if weight == 0:
            return target
        sign = np.where(target < 0, -1.0, 1.0) if field.mirror.odd else 1.0
        aim = sign * target
        up = aim > 0
        theta = np.where(up, np.minimum(aim, field.mirror.theta(np.where(up, aim / weight, 1.0))), aim)
        for _ in range(_NEWTON):
            x, slope = field.mirror.x(theta), field.mirror.slope(theta)
            step = (theta + weight * x - aim) / (1 + weight * slope)
            theta = theta - step
            if float(np.abs(slope * step).max()) <= _ACCURATE * float(np.abs(x).max()):
                break
        return np.asarray(sign * theta)

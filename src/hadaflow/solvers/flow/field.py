"""The right-hand side of the flow in the dual state, and the sizes that matter to it.

``nu' = y - A B(A^T nu)``, and for another loss than the squared one minus its gradient at ``p = A B(A^T nu)``. The
mirror map B acts on the radius of each group of coordinates, and keeps its direction.
"""

from __future__ import annotations

from copy import copy
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from hadaflow._types import Vector
from hadaflow.groups import Groups, Metric
from hadaflow.models import Model
from hadaflow.models.branches import Scale
from hadaflow.operators import Metered
from hadaflow.problems import Problem
from hadaflow.snapshots import Setting
from hadaflow.units import correlation_at_zero

_CAP = 10.0  # times the size of x: from there on the mirror map goes on along its tangent
SHARPEST = float(np.finfo(np.float64).eps) ** -0.5  # condition of the mirror map from which on saddles are followed
_EPS = float(np.finfo(np.float64).eps)


@dataclass
class Field:
    """The right-hand side of the equation, and the sizes that its tolerances are relative to.

    Attributes
    ----------
    size : float
        Largest entry of x, or norm of a group, expected or met.
    """

    problem: Problem
    model: Model
    init_scale: Scale
    size: float = 0.0

    def __post_init__(self) -> None:
        self.operator = Metered(self.problem.operator)
        self.y: Vector = self.problem.y.astype(np.float64)
        self.counted = copy(self.problem)  # the same data; whoever asks it for products is counted too
        object.__setattr__(self.counted, "operator", self.operator)
        self.first_gradient = correlation_at_zero(self.counted)  # A^T y
        self.groups: Groups = self.problem.groups
        self.mirror = self.model.mirror(self.init_scale, self.groups.count or self.problem.shape[1])
        self.signed = self.mirror.signed
        self.counted_setting = self.setting(self.counted)
        self.product_scale = self.counted_setting.product_scale
        if self.size == 0.0:
            self.size = self._expected_size()
        self._set_caps()

    def __call__(self, time: float, nu: Vector) -> Vector:
        return -self.residual(self.x_of(self.operator.rmatvec(nu)))

    def residual(self, x: Vector) -> Vector:
        """dF/dp at ``p = A x``, ``A x - y`` for the squared loss; one pass over A."""
        return np.asarray(self.problem.loss.gradient(self.operator.matvec(x), self.y))

    def residual_and_gradient(self, x: Vector) -> tuple[Vector, Vector]:
        """dF/dp and the negative gradient of F at x; for the squared loss a pair of products that may share a pass."""
        if self.problem.squared:
            negative, gradient = self.operator.residual(x, self.y)
            return -negative, gradient
        residual = self.residual(x)
        return residual, -self.operator.rmatvec(residual)

    def x_of(self, theta: Vector) -> Vector:
        """B(theta) for theta of shape (n,) or (n, k), continued along its tangent beyond the cap.

        The flow never gets there, but trial steps may, and beyond the barrier of depth > 2 there is no B.
        """
        radius, direction = self.groups.polar(theta)
        radial = self._radial(radius.T).T  # so that numbers of the groups meet each vector
        return radial if self.groups.single else np.asarray(self.groups.spread(radial) * direction)

    def mapped(self, theta: Vector) -> Vector:
        """B(theta), without a cap; theta of shape (n,)."""
        radius, direction = self.groups.polar(theta)
        return np.asarray(self.groups.spread(self.mirror.x(radius)) * direction)

    def metric(self, theta: Vector) -> Metric:
        """The derivative of B at theta, constant beyond the cap."""
        radius, direction = self.groups.polar(theta)
        slope = self.slope_of(radius)
        if self.groups.single:
            return Metric.of_diagonal(slope)
        across = np.divide(self._radial(radius), radius, out=slope.copy(), where=radius > 0)
        return Metric(self.groups, slope, across, direction)

    def slope_of(self, radius: Vector) -> Vector:
        """B' along the radius, constant beyond the cap."""
        slope: Vector = self.mirror.slope(np.clip(radius, self._low, self._high))
        return slope

    def _radial(self, radius: Vector) -> Vector:
        inner = np.clip(radius, self._low, self._high)
        x: Vector = self.mirror.x(inner)
        out = radius != inner
        return np.where(out, x + self.mirror.slope(inner) * (radius - inner), x) if out.any() else x

    def largest(self, x: Vector) -> float:
        """The largest entry of x, or norm of a group."""
        return float(self.groups.norms(x).max(initial=0.0))

    def grow(self, x: Vector) -> bool:
        """Take note of x; whether it is larger than expected."""
        largest = self.largest(x)
        if largest <= self.size:
            return False
        self.size = 2 * largest
        self._set_caps()
        return True

    def setting(self, problem: Problem) -> Setting:
        """What the snapshots of a run on this problem share."""
        return Setting.of(problem, self.model, self.init_scale)

    @property
    def like_saddles(self) -> bool:
        """Whether the flow cannot be told from the saddle path in doubles: rounding of nu decides over x."""
        if not self.mirror.sparsifies or not self.mirror.barrier:
            return False
        return self.product_scale < self.size and self.sharpness > SHARPEST

    @cached_property
    def column_squares(self) -> Vector:
        """``||A_i||^2``; for an operator their mean."""
        return self.operator.column_squares()

    @cached_property
    def spectral_square(self) -> float:
        """``||A||^2``, by a few power iterations and a margin."""
        return 1.5 * self.operator.spectral_square()

    @property
    def sharpness(self) -> float:
        """Condition of B at the size of x, ``B' theta / x``: relative rounding of theta comes back so much larger."""
        theta = self._theta_of(self.size)
        with np.errstate(invalid="ignore", over="ignore"):
            sharp = float(np.max(self.mirror.slope(theta) * np.abs(theta))) / self.size
            # Where theta is rounded to its barrier, neither slope nor value tell anything.
            lost = float(np.max(np.abs(self.mirror.x(theta) / self.size - 1)))
        return max(sharp, lost / _EPS) if np.isfinite(sharp) and np.isfinite(lost) else np.inf

    def absolute_tolerance(self, tolerance: float) -> float:
        """Error allowed in an entry of nu so that no entry of x is wrong by more than ``tolerance`` times its size.

        ``|dx_i| <= B'_i ||A_i|| ||d nu||``, with the slope of the largest x; SciPy takes root mean squares. In groups,
        where B is steepest along the radius, likewise, with the Frobenius norm of their columns.
        """
        theta = self._theta_of(self.size)
        slope = np.maximum(self.mirror.slope(theta), self.mirror.slope(0 * theta))
        steepest = float(np.max(slope * np.sqrt(self.groups.sums(self.column_squares))))
        return tolerance * self.size / steepest if steepest > 0 else 1.0

    def first_step(self, end: float) -> float:
        """A step so short that the slopes of B hardly change."""
        gradient, _ = self.groups.polar(self.operator.rmatvec(self(0.0, np.zeros_like(self.y))))
        start = self.slope_of(0 * gradient)
        step = min(end, 1e300 / (float(np.abs(gradient).max(initial=0.0)) or 1.0))
        while step > 1e-300:
            theta = step * gradient
            if (theta == np.clip(theta, self._low, self._high)).all():
                change = float(np.abs(self.slope_of(theta) / start - 1).max())
                if change <= 1e-2:
                    break
            step *= 0.1
        stiffest = float(start.max()) * self.spectral_square * self._typical_curvature()
        return 1e-2 * (min(step, 1 / stiffest) if stiffest > 0 else step)

    def _theta_of(self, size: float) -> Vector:
        """The theta of each coordinate, or radius of each group, at which x has this size."""
        count = self.groups.count or self.problem.shape[1]
        return np.asarray(self.mirror.theta(np.full(count, size)), dtype=np.float64)

    def _set_caps(self) -> None:
        self._high = self._theta_of(_CAP * self.size)
        # Below, a model of non-negative x has nothing to overshoot.
        self._low = -self._high if self.signed else np.full_like(self._high, -np.inf)

    def _expected_size(self) -> float:
        """The largest entry that a single coordinate would have if it were to explain y alone; and the start.

        A first guess for other losses than the squared one: x may become larger, and ``grow`` then takes note.
        """
        squares = self.groups.sums(self.column_squares) / self.groups.sums(np.ones_like(self.column_squares))
        squares, gradient = self._typical_curvature() * squares, self.groups.norms(self.first_gradient)
        alone = np.divide(gradient, squares, out=np.zeros_like(gradient), where=squares > 0)
        start = np.abs(self.mirror.x(np.zeros_like(gradient)))
        size = float(max(alone.max(initial=0.0), start.max(initial=0.0)))
        return size if size > 0 else 1.0

    def _typical_curvature(self) -> float:
        """The bound (1 for the squared loss), or where there is none the mean at p = 0."""
        loss = self.problem.loss
        bound = loss.curvature_bound
        return bound if np.isfinite(bound) else float(np.mean(loss.curvature(np.zeros_like(self.y), self.y)))

"""The central path of a group norm: the ends of flows of infinite depth, as their scale shrinks.

At infinite depth the mirror map of a group is the logarithmic barrier of a second-order cone, and the end of the flow
at product scale W is the point of the central path with complementarity 2 W::

    minimise sum_g t_g   subject to   A x = y,   |x_g| <= t_g
    maximise <y, nu>     subject to   |theta_g| <= 1,   theta = A^T nu

Mehrotra's predictor and corrector with the scaling of Nesterov and Todd: one system ``A D A^T`` per step, two
right-hand sides. Both problems stay feasible. docs/mathematics.md, "Groups".
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from hadaflow._types import Vector
from hadaflow._validation import norm
from hadaflow.groups import Groups, Metric
from hadaflow.solvers.newton.normal import NormalEquations

_STEPS = 60
_WAY = 0.98  # fraction of the way to the boundary of a cone that a step goes
_CLOSE = 1e-13  # complementarity, relative to the norm, at which doubles tell nothing more


@dataclass(frozen=True, eq=False)
class Cone:
    """One element of a second-order cone per group: a head (G,) and a tail (n,)."""

    groups: Groups
    head: Vector
    tail: Vector

    def inner(self, other: Cone) -> Vector:
        """Euclidean inner product in each group."""
        return self.head * other.head + self.groups.sums(self.tail * other.tail)

    @property
    def determinant(self) -> Vector:
        """``head^2 - |tail|^2``, as a product: the difference of near numbers is taken first."""
        size = self.groups.norms(self.tail)
        return np.asarray((self.head - size) * (self.head + size))

    def times(self, factor: Vector | float) -> Cone:
        return Cone(self.groups, self.head * factor, self.tail * self.groups.spread(factor))

    def plus(self, other: Cone, factor: Vector | float = 1.0) -> Cone:
        spread = self.groups.spread(factor)
        return Cone(self.groups, self.head + factor * other.head, self.tail + spread * other.tail)

    @property
    def turned(self) -> Cone:
        """The tail with its other sign."""
        return Cone(self.groups, self.head, -self.tail)

    def product(self, other: Cone) -> Cone:
        """The product of the algebra of the cone."""
        spread = self.groups.spread
        return Cone(self.groups, self.inner(other), spread(self.head) * other.tail + spread(other.head) * self.tail)

    def divided_into(self, other: Cone) -> Cone:
        """The z with ``self.product(z) = other``."""
        det, along = self.determinant, self.groups.sums(self.tail * other.tail)
        head = (self.head * other.head - along) / det
        factor = (-other.head + along / self.head) / det
        tail = self.groups.spread(factor) * self.tail + self.groups.spread(1 / self.head) * other.tail
        return Cone(self.groups, head, tail)

    def longest(self, step: Cone) -> float:
        """The largest t, at most 1 / 0.98, at which ``self + t step`` is still in the cone."""
        a, c = step.head**2 - self.groups.sums(step.tail**2), self.determinant
        b = self.head * step.head - self.groups.sums(self.tail * step.tail)
        root = np.sqrt(np.maximum(b * b - a * c, 0.0))
        # The smallest positive root of c + 2 b t + a t^2, in the form that does not cancel.
        times = np.where(b < 0, c / (-b + root), np.where(a < 0, (b + root) / -a, np.inf))
        times = np.where((b * b < a * c) & (a > 0), np.inf, times)
        with np.errstate(divide="ignore", invalid="ignore"):
            heads = np.where(step.head < 0, -self.head / step.head, np.inf)
        return min(float(np.fmin(times, heads).min(initial=np.inf)), 1 / _WAY)


@dataclass(frozen=True, eq=False)
class _Scaling:
    """``W = beta (2 v v^T - J)`` with ``W x = W^-1 s``, both equal to ``point``."""

    beta: Vector
    w: Cone
    v: Cone
    point: Cone

    @classmethod
    def of(cls, x: Cone, s: Cone) -> _Scaling:
        of_x, of_s = np.sqrt(x.determinant), np.sqrt(s.determinant)
        x_unit, s_unit = x.times(1 / of_x), s.times(1 / of_s)
        gamma = np.sqrt((1 + x_unit.inner(s_unit)) / 2)
        w = s_unit.plus(x_unit.turned).times(1 / (2 * gamma))
        v = Cone(w.groups, w.head + 1, w.tail).times(1 / np.sqrt(2 * (w.head + 1)))
        beta = np.sqrt(of_s / of_x)
        scaling = cls(beta, w, v, x)
        return cls(beta, w, v, scaling.on_x(x))

    def on_x(self, z: Cone) -> Cone:
        """``W z``."""
        return self.v.times(2 * self.v.inner(z)).plus(z.turned, -1.0).times(self.beta)

    def on_s(self, z: Cone) -> Cone:
        """``W^-1 z``."""
        v = self.v.turned
        return v.times(2 * v.inner(z)).plus(z.turned, -1.0).times(1 / self.beta)

    def metric(self) -> Metric:
        """How x answers to theta: the tails of ``W^-2``."""
        flat = self.beta**-2
        size, e = self.w.groups.polar(self.w.tail)
        return Metric(self.w.groups, flat * (1 + 2 * size**2), flat, e)


class _Step:
    """Newton steps from one point, with one factorisation; ``gap`` is what x does not carry of y."""

    def __init__(self, equations: NormalEquations, scaling: _Scaling, gap: Vector) -> None:
        self._equations, self._scaling, self._gap = equations, scaling, gap
        self._solve = equations.system(scaling.metric())

    def towards(self, r: Cone) -> tuple[Vector, Cone, Cone]:
        """The changes of nu, x and s with ``W dx + W^-1 ds = W r``."""
        move = self._solve(self._gap - self._equations.forward(r.tail))
        ds = Cone(r.groups, np.zeros_like(r.head), -self._equations.backward(move))
        return move, r.plus(self._scaling.on_s(self._scaling.on_s(ds)), -1.0), ds


@dataclass(frozen=True, eq=False)
class CentralPoint:
    """A point near the central path.

    Attributes
    ----------
    x, nu : ndarrays of shape (n,) and (m,)
        Where both problems stand; nu is not lifted yet.
    sizes, slacks : ndarray of shape (G,)
        ``|x_g|``, and ``1 - |theta_g|``.
    complementarity : float
        What is left between the two values, relative to the norm.
    """

    x: Vector
    nu: Vector
    sizes: Vector
    slacks: Vector
    complementarity: float


def central_path(equations: NormalEquations, y: Vector, groups: Groups, n: int) -> Iterator[CentralPoint]:
    """Points closer and closer to the end; they stop where doubles tell nothing more."""
    count = groups.count or n
    least = equations.system(Metric.of_diagonal(np.ones(n)))
    x = equations.backward(least(y))
    size = groups.norms(x)
    primal = Cone(groups, size + float(size.mean()), x)
    nu, theta = equations.zero_dual(), np.zeros(n)
    dual = Cone(groups, np.ones(count), -theta)
    for _ in range(_STEPS):
        gap = primal.inner(dual)
        mean = float(gap.mean())
        if not np.isfinite(mean) or mean <= 0:
            return
        total = float(groups.norms(primal.tail).sum()) or 1.0
        yield CentralPoint(primal.tail, nu, groups.norms(primal.tail), 1 - groups.norms(theta), mean * count / total)
        if mean * count <= _CLOSE * total:
            return
        scaling = _Scaling.of(primal, dual)
        step = _Step(equations, scaling, y - equations.forward(primal.tail))
        _, dx, ds = step.towards(primal.times(-1.0))
        farthest = min(1.0, primal.longest(dx), dual.longest(ds))
        centre = (1 - farthest) ** 3
        corrector = scaling.on_x(dx).product(scaling.on_s(ds))
        wanted = scaling.point.product(scaling.point).times(-1.0).plus(corrector, -1.0)
        wanted = Cone(groups, wanted.head + centre * mean, wanted.tail)
        move, dx, ds = step.towards(scaling.on_s(scaling.point.divided_into(wanted)))
        along, across = (min(1.0, _WAY * primal.longest(dx)), min(1.0, _WAY * dual.longest(ds)))
        if not np.isfinite(norm(dx.tail) + norm(move)):
            return
        primal, dual = primal.plus(dx, along), dual.plus(ds, across)
        nu = nu + across * move
        theta = -dual.tail

"""Descent on ``1/2 ||y - A x||^2 + penalty * gauge(x)`` from face to face, with products only.

A face is a choice of directions, one for each of some groups of coordinates; the rest of x is zero. Of single
coordinates these are signs, and the objective is a quadratic there. The norm of a larger group bends as well, by
``penalty w_g / ||x_g||`` across its direction: with its second-order part the objective is a quadratic again. That is
minimised by conjugate gradients. Their two products per iteration give the gradient of *all* coordinates, so that a
face too small shows without asking; one too large shows by groups that cross zero.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from hadaflow._types import Index, Mask, Vector
from hadaflow._validation import norm
from hadaflow.gauges import Gauge
from hadaflow.groups import Groups
from hadaflow.operators import Operator

_ROUGH = 0.1  # accuracy, relative to the penalty, at and above which a face need not be final
_EASE, _MOST_INNER = 0.3, 4  # such a face is left once its slope fell to this fraction, or after so many iterations
_NEW = 0.01  # fraction of coordinates that may want to join it all the same
_MOST_ROUNDS, _MORE_ROUNDS = 20, 200  # faces tried: roughly, accurately
_CROSSED = 0.2  # fraction of a move that may cross zero
#: A slope does not matter any more below this fraction of what tears at the other coordinates, or the quadratic misses.
_BEYOND = 0.3
_SMALL = 1e-100  # norm of a group below which its curvature is not told any more
_PARTS = (0.03, 0.06, 0.12, 0.25, 0.5, 1.0)  # of a move, tried where putting crossed coordinates to zero fails
_STALLED, _FLAT = 0.5, 0.9  # a fit: its largest slope relative to those outside, its residual to the one before


@dataclass(frozen=True)
class Point:
    """x, its residual ``r = y - A x`` and ``g = A^T r``."""

    x: Vector
    r: Vector
    g: Vector

    def towards(self, other: Point, part: float) -> Point:
        """A point of the line through both; costs no product."""
        rest = 1 - part
        return Point(rest * self.x + part * other.x, rest * self.r + part * other.r, rest * self.g + part * other.g)


@dataclass(frozen=True, eq=False)
class _Face:
    """Groups that may be other than zero, and what the penalty is like around a point.

    Attributes
    ----------
    index : int array of shape (k,)
        Their coordinates. All other vectors of shape (k,) are of these.
    groups : Groups
        The partition of these.
    e : ndarray of shape (k,)
        Directions of the groups: of single coordinates their signs.
    held : ndarray of shape (k,)
        Gradient of the penalty, or what it is pinned to.
    curvature : ndarray of shape (k,) or None
        Curvature of the penalty across the directions; None where nothing is across them.
    ease : ndarray of shape (k,) or None
        Part of a slope across the directions that conjugate gradients follow: little where the penalty bends much,
        nothing of newcomers, which bend infinitely at zero.
    loose : bool array
        Which groups of the face are not pinned.
    away : ndarray
        1 for each group, of all there are, that is not on the face, else 0.
    new : int
        How many groups joined at this point.
    """

    index: Index
    groups: Groups
    e: Vector
    held: Vector
    curvature: Vector | None
    ease: Vector | None
    loose: Mask
    away: Vector
    new: int

    def across(self, v: Vector) -> Vector:
        """What of v is orthogonal to the directions."""
        return np.asarray(v - self.groups.spread(self.groups.sums(v * self.e)) * self.e)

    def slope(self, x: Vector, g: Vector) -> Vector:
        """Minus the gradient of the quadratic, newcomers held to their directions."""
        if self.curvature is None or self.ease is None:
            return g[self.index] - self.held
        slope = g[self.index] - self.held - self.curvature * self.across(x)
        return slope - np.where(self.ease == 0, self.across(slope), 0.0) if self.new else slope

    def eased(self, slope: Vector) -> Vector:
        """A slope in the metric that conjugate gradients go by."""
        return slope if self.ease is None else slope - (1 - self.ease) * self.across(slope)

    def curvature_along(self, direction: Vector) -> float:
        """Second derivative of the penalty along a direction."""
        return 0.0 if self.curvature is None else float(self.curvature @ self.across(direction) ** 2)

    def missed(self, x: Vector, wrong: Mask) -> float:
        """By how much the quadratic misses the gradient of the penalty, where x is on the right side of zero."""
        if self.curvature is None:
            return 0.0
        weights = self.groups.spread(self.groups.norms(self.held) * self.loose)
        error = weights * (self.groups.polar(x)[1] - self.e) - self.curvature * self.across(x)
        return norm(np.where(wrong | (self.ease == 0), 0.0, error))

    def wrong(self, x: Vector) -> Mask:
        """Which coordinates belong to groups on the wrong side of zero."""
        return np.asarray(self.groups.spread((self.groups.sums(x * self.e) < 0) & self.loose))


@dataclass(frozen=True, eq=False)
class _Goal:
    """What is minimised, and how well.

    Where a group of ``pinned`` is not zero, the norm of x_g is replaced by ``<pinned_g, x_g>``. ``squares`` is the mean
    square length of the columns of each group.
    """

    gauge: Gauge
    penalty: float
    accuracy: float
    pinned: Vector | None
    squares: Vector | float

    @property
    def rough(self) -> bool:
        return self.accuracy >= _ROUGH

    @cached_property
    def fixed(self) -> Mask | bool:
        """Which groups are pinned."""
        return False if self.pinned is None else np.asarray(self.gauge.groups.norms(self.pinned) > 0)

    def value(self, point: Point) -> float:
        half = 0.5 * float(point.r @ point.r)
        if self.pinned is None:
            return half + self.penalty * self.gauge.value(point.x)
        loose = np.where(self.gauge.groups.spread(self.fixed), 0.0, point.x)
        return half + self.penalty * (self.gauge.value(loose) + float(self.pinned @ point.x))

    def face(self, point: Point) -> _Face:
        """The face of a point, with the groups that want to join."""
        spread, size = self.gauge.groups.spread, self.gauge.groups.norms(point.x)
        there = (size > 0) | self.fixed
        new = (self.over(point.g) > 0.1 * self.accuracy * self.penalty) & ~there
        on = there | new
        index, loose = np.flatnonzero(spread(on)), ~np.broadcast_to(self.fixed, on.shape)[on]
        gauge, joined = self.gauge.on(index), new[on]
        groups = gauge.groups
        e = gauge.signs(np.where(groups.spread(joined), point.g[index], point.x[index]))
        held = self.penalty * gauge.face(e)
        curvature = ease = None
        if not groups.single:
            each = np.zeros(len(loose))
            np.divide(groups.norms(held), np.maximum(size[on], _SMALL), out=each, where=loose & ~joined)
            squares = np.broadcast_to(self.squares, on.shape)[on]
            eased = np.divide(squares, squares + each, out=np.ones_like(each), where=each > 0)
            curvature, ease = groups.spread(each), groups.spread(np.where(joined, 0.0, eased))
        if self.pinned is not None:
            held = np.where(groups.spread(loose), held, self.penalty * self.pinned[index])
        away, count = (~on).astype(np.float64), int(np.count_nonzero(new))
        return _Face(index, groups, e, held, curvature, ease, loose, away, count)

    def over(self, g: Vector) -> Vector:
        """How far a gradient is beyond what holds each group at zero."""
        return self.gauge.excess(g, self.penalty)

    def met(self, face: _Face, slope: Vector) -> bool:
        few = _NEW * len(face.loose) if self.rough else 0
        return norm(slope) <= self.size(face) and face.new <= few

    def size(self, face: _Face) -> float:
        """The slope that is small enough."""
        return self.accuracy * self.penalty * math.sqrt(max(1, len(face.loose)))

    def shrunk(self, x: Vector, step: float) -> Vector:
        """The minimiser of ``1/2 ||z - x||^2`` plus ``step`` times the penalty of z."""
        small = self.gauge.prox(x, step * self.penalty)
        if self.pinned is None:
            return small
        return np.where(self.gauge.groups.spread(self.fixed), x - step * self.penalty * self.pinned, small)


class Descent:
    """Moves between points, the products they took and how many they may take."""

    def __init__(self, operator: Operator, gauge: Gauge) -> None:
        self.operator, self.gauge = operator, gauge
        self.products, self.most = 0, math.inf
        self.curvature = 0.0  # largest ||A p||^2 / ||p||^2 seen
        self.squares: Vector | float = 1.0
        if not gauge.groups.single:
            self.squares = gauge.groups.sums(operator.column_lengths**2) / gauge.groups.sizes

    def allow(self, most: float) -> None:
        """Allow so many products in all."""
        self.most = most

    @property
    def spent(self) -> bool:
        return self.products >= self.most

    def settle(self, point: Point, penalty: float, accuracy: float, pinned: Vector | None = None) -> Point:
        """Minimise from a point, to an accuracy relative to the penalty or until the products are spent.

        Where a group of ``pinned`` is not zero, the norm of x_g is replaced by ``<pinned_g, x_g>``: these groups may
        go anywhere.
        """
        goal = _Goal(self.gauge, penalty, accuracy, pinned, self.squares)
        for done in range(_MOST_ROUNDS if goal.rough else _MORE_ROUNDS):
            face = goal.face(point)
            slope = face.slope(point.x[face.index], point.g)
            if (goal.met(face, slope) and (done or not face.new)) or self.spent:  # newcomers move once at least
                break
            end, wrong = self._along(point, face, slope, goal)
            trial = self._zeroed(end, wrong) if len(wrong) else end
            before = goal.value(point)
            if not goal.value(trial) <= before + 1e-12 * abs(before):  # a face too large to tell its coordinates apart
                trial = self._shrunk(self._part(point, end, goal), goal)
            point = trial
        return point

    def fit(self, point: Point, on: Mask, enough: float) -> tuple[Point, bool]:
        """Least squares on a support, and whether its residual fell to ``enough``; given up once it cannot."""
        x, r, g, mask = point.x, point.r, point.g, on.astype(np.float64)
        slope = direction = g * mask
        square, before = float(slope @ slope), math.inf
        while (size := norm(r)) > enough and square > 0 and not self.spent:
            if size > _FLAT * before and _largest(slope) <= _STALLED * _largest(g - slope):
                break
            before = size
            image, back = self._products(direction)
            length = _ratio(square, float(image @ image))
            x, r, g = x + length * direction, r - length * image, g - length * back
            slope = g * mask
            square, old = float(slope @ slope), square
            direction = slope + square / old * direction
        return Point(x, r, g), norm(r) <= enough

    # ---- parts ---------------------------------------------------------------------------------------------

    def _along(self, point: Point, face: _Face, slope: Vector, goal: _Goal) -> tuple[Point, Index]:
        """Conjugate gradients on a face until another one matters more, and which coordinates crossed zero."""
        start = x = point.x[face.index]
        r, g = point.r, point.g
        direction = eased = face.eased(slope)
        square = float(slope @ eased)
        enough = max(0.5 * goal.size(face), _EASE * norm(slope) if goal.rough else 0.0)
        most = self.products + (2 * _MOST_INNER if goal.rough else math.inf)
        while True:
            image, back = self._products(self._whole(face.index, direction))
            length = _ratio(square, float(image @ image) + face.curvature_along(direction))
            x, r, g = x + length * direction, r - length * image, g - length * back
            slope = face.slope(x, g)
            wrong = face.wrong(x)
            if wrong.any() and norm(x[wrong]) > _CROSSED * norm(x - start):
                break
            tearing = norm(np.maximum(goal.over(g), 0.0) * face.away)
            others = _BEYOND * max(tearing, face.missed(x, wrong))
            if norm(slope) <= max(enough, others) or self.products >= min(most, self.most):
                break
            eased = face.eased(slope)
            square, old = float(slope @ eased), square
            direction = eased + square / old * direction
        return Point(self._whole(face.index, x), r, g), face.index[wrong]

    def _whole(self, index: Index, values: Vector) -> Vector:
        """A vector of all coordinates that is zero elsewhere."""
        x = np.zeros(self.operator.shape[1])
        x[index] = values
        return x

    def _zeroed(self, point: Point, index: Index) -> Point:
        """A point with some coordinates put to zero."""
        return self._moved(point, self._whole(index, -point.x[index]))

    def _part(self, point: Point, end: Point, goal: _Goal) -> Point:
        """The best point on the way to the end of conjugate gradients; costs no product."""
        way = [point, *(point.towards(end, part) for part in _PARTS)]
        return min(way, key=goal.value)

    def _shrunk(self, point: Point, goal: _Goal) -> Point:
        """A step of gradient descent with shrinkage, short enough for the curvature along it: it cannot fail."""
        while True:
            step = 1 / self.curvature
            move = goal.shrunk(point.x + step * point.g, step) - point.x
            length = norm(move)
            if length == 0.0 or self.spent:
                return point
            image = self.operator.matvec(move)
            self.products += 1
            curvature = (norm(image) / length) ** 2
            if curvature <= 1.001 * self.curvature:
                return self._moved(point, move, image)
            self.curvature = 1.5 * curvature

    def _moved(self, point: Point, move: Vector, image: Vector | None = None) -> Point:
        if image is None:
            self.products += 2
            return Point(point.x + move, *self.operator.residual(move, point.r))
        r = point.r - image
        self.products += 1
        return Point(point.x + move, r, self.operator.rmatvec(r))

    def _products(self, direction: Vector) -> tuple[Vector, Vector]:
        """``A p`` and ``A^T A p``."""
        self.products += 2
        image, back = self.operator.matvec_and_gram(direction)
        square = float(direction @ direction)
        self.curvature = max(self.curvature, float(image @ image) / square if square > 0 else 0.0)
        return image, back


def _ratio(square: float, curvature: float) -> float:
    """How far conjugate gradients go; nowhere if nothing bends along the direction."""
    return square / curvature if curvature > 0 else 0.0


def _largest(v: Vector) -> float:
    return float(np.abs(v).max())

"""Descent on ``1/2 ||y - A x||^2 + penalty * gauge(x)`` from face to face, with products only.

A face is a choice of signs: some coordinates may be positive, some negative, the rest are zero. On it the objective is
a quadratic, minimised by conjugate gradients. Their two products per iteration give the gradient of *all* coordinates,
so that a face too small shows without asking; one too large shows by coordinates that cross zero.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from hadaflow._types import Mask, Vector
from hadaflow._validation import norm
from hadaflow.gauges import Gauge
from hadaflow.operators import Operator

_ROUGH = 0.1  # accuracy, relative to the penalty, at and above which a face need not be final
_EASE, _MOST_INNER = 0.3, 4  # such a face is left once its slope fell to this fraction, or after so many iterations
_NEW = 0.01  # fraction of coordinates that may want to join it all the same
_MOST_ROUNDS, _MORE_ROUNDS = 20, 200  # faces tried: roughly, accurately
_CROSSED = 0.2  # fraction of a move that may cross zero
_BEYOND = 0.3  # a slope below this fraction of what tears at the other coordinates does not matter any more
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


@dataclass(frozen=True)
class _Face:
    """Signs, bounds (or what they are pinned to) and mask of a face; at a point, its slope and how many joined it."""

    signs: Vector
    bounds: Vector
    mask: Vector
    slope: Vector
    new: int


@dataclass(frozen=True)
class _Goal:
    """What is minimised, and how well.

    Where ``pinned`` is not zero, the gauge of x_i is replaced by ``pinned_i x_i``.
    """

    gauge: Gauge
    penalty: float
    accuracy: float
    pinned: Vector | None

    @property
    def rough(self) -> bool:
        return self.accuracy >= _ROUGH

    def value(self, point: Point) -> float:
        half = 0.5 * float(point.r @ point.r)
        if self.pinned is None:
            return half + self.penalty * self.gauge.value(point.x)
        loose = np.where(self.pinned != 0, 0.0, point.x)
        return half + self.penalty * (self.gauge.value(loose) + float(self.pinned @ point.x))

    def face(self, point: Point) -> _Face:
        """The face of a point, with the coordinates that want to join."""
        signs = self.gauge.signs(point.x)
        if self.pinned is not None:
            signs = np.where(self.pinned != 0, np.sign(self.pinned), signs)
        new = (self.over(point.g) > 0.1 * self.accuracy * self.penalty) & (signs == 0)
        signs[new] = np.sign(point.g[new])
        mask = (signs != 0).astype(np.float64)
        bounds = self.gauge.face(signs)
        if self.pinned is not None:
            bounds = np.where(self.pinned != 0, self.pinned, bounds)
        slope = point.g * mask - self.penalty * bounds
        return _Face(signs, bounds, mask, slope, int(np.count_nonzero(new)))

    def over(self, g: Vector) -> Vector:
        """How far a gradient is beyond what holds a coordinate at zero."""
        return self.penalty * self.gauge.beyond(g / self.penalty)

    def met(self, face: _Face) -> bool:
        count = int(np.count_nonzero(face.signs))
        return norm(face.slope) <= self.size(face) and face.new <= (_NEW * count if self.rough else 0)

    def size(self, face: _Face) -> float:
        """The slope that is small enough."""
        return self.accuracy * self.penalty * math.sqrt(max(1, int(np.count_nonzero(face.signs))))

    def wrong(self, x: Vector, signs: Vector) -> Mask:
        """Which coordinates are on the wrong side of zero."""
        crossed: Mask = x * signs < 0
        return crossed if self.pinned is None else crossed & (self.pinned == 0)

    def shrunk(self, x: Vector, step: float) -> Vector:
        """The minimiser of ``1/2 ||z - x||^2`` plus ``step`` times the penalty of z."""
        small = self.gauge.prox(x, step * self.penalty)
        if self.pinned is None:
            return small
        return np.where(self.pinned != 0, x - step * self.penalty * self.pinned, small)


class Descent:
    """Moves between points, the products they took and how many they may take."""

    def __init__(self, operator: Operator, gauge: Gauge) -> None:
        self.operator, self.gauge = operator, gauge
        self.products, self.most = 0, math.inf
        self.curvature = 0.0  # largest ||A p||^2 / ||p||^2 seen

    def allow(self, most: float) -> None:
        """Allow so many products in all."""
        self.most = most

    @property
    def spent(self) -> bool:
        return self.products >= self.most

    def settle(self, point: Point, penalty: float, accuracy: float, pinned: Vector | None = None) -> Point:
        """Minimise from a point, to an accuracy relative to the penalty or until the products are spent.

        Where ``pinned`` is not zero, the gauge of x_i is replaced by ``pinned_i x_i``: these may change sign.
        """
        goal = _Goal(self.gauge, penalty, accuracy, pinned)
        for done in range(_MOST_ROUNDS if goal.rough else _MORE_ROUNDS):
            face = goal.face(point)
            if (goal.met(face) and (done or not face.new)) or self.spent:  # newcomers move once at least
                break
            end, wrong = self._along(point, face, goal)
            trial = self._moved(end, np.where(wrong, -end.x, 0.0)) if wrong.any() else end
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
            length = _ratio(square, image)
            x, r, g = x + length * direction, r - length * image, g - length * back
            slope = g * mask
            square, old = float(slope @ slope), square
            direction = slope + square / old * direction
        return Point(x, r, g), norm(r) <= enough

    # ---- parts ---------------------------------------------------------------------------------------------

    def _along(self, point: Point, face: _Face, goal: _Goal) -> tuple[Point, Mask]:
        """Conjugate gradients on a face until another one matters more, and which coordinates crossed zero."""
        x, r, g, held = point.x, point.r, point.g, goal.penalty * face.bounds
        slope = direction = face.slope
        square = float(slope @ slope)
        enough = max(0.5 * goal.size(face), _EASE * math.sqrt(square) if goal.rough else 0.0)
        most, outside = self.products + (2 * _MOST_INNER if goal.rough else math.inf), 1.0 - face.mask
        while True:
            image, back = self._products(direction)
            length = _ratio(square, image)
            x, r, g = x + length * direction, r - length * image, g - length * back
            slope = g * face.mask - held
            square, old = float(slope @ slope), square
            wrong = goal.wrong(x, face.signs)
            if wrong.any() and norm(x[wrong]) > _CROSSED * norm(x - point.x):
                break
            tearing = norm(np.maximum(goal.over(g), 0.0) * outside)
            if math.sqrt(square) <= max(enough, _BEYOND * tearing) or self.products >= min(most, self.most):
                break
            direction = slope + square / old * direction
        return Point(x, r, g), wrong

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


def _ratio(square: float, image: Vector) -> float:
    """How far conjugate gradients go; nowhere if A is zero along the direction."""
    curvature = float(image @ image)
    return square / curvature if curvature > 0 else 0.0


def _largest(v: Vector) -> float:
    return float(np.abs(v).max())

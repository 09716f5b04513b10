"""Leaps along the saddle path: implicit steps, for an A that is known by its products alone.

The saddle path is ``nu' = y - A b`` with ``A^T nu`` in the box, on its bounds where b is not zero. Walked jump by jump
it asks A for the columns of its support. An implicit step of length tau from the start leaps over all these jumps::

    nu = tau (y - A b),   A^T nu in the box, at sign(b_i) where b_i != 0,

and b minimises ``1/2 ||A b - y||^2 + ||b||_1 / tau``: the running average of the path, where that is monotone. Longer
and longer leaps start from one another. Once the support of one carries y, the end of the path is two linear systems
away: x by least squares, nu as the shortest dual state with the signs of x. docs/mathematics.md, "Leaps".

Of groups of coordinates the dual set is round, and leaps may have more entries than y on the way to an end with few.
Then steps follow one another, each from the dual state of the one before.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field

import numpy as np

from hadaflow._types import Mask, Vector
from hadaflow._validation import norm
from hadaflow.results import Progress, ProgressCallback, Status
from hadaflow.solvers.implicit.faces import Descent, Point
from hadaflow.solvers.path.finish import End
from hadaflow.units import UnitProblem

_FIRST = 0.1  # penalty 1 / tau of the first leap, relative to the smallest one at which it leads nowhere
_NEXT = 0.2  # penalty of the next leap, relative to this one's
_BOLDEST = 1e-2  # the same at the least
_LAST = 1e-9  # penalty, relative to the first, at which to give up
_OUTSIDE = 0.5  # penalty of the next leap, relative to what the fit left of the gradient off the support
_LOOSE, _CLOSER = 0.1, 1e-2  # accuracy on the way, and where that does not tell the support
_FROM_START = 1e-2  # penalty, relative to the first, up to which leaps in groups go from the start
#: How far the dual state at the end may reach off the support, and its accuracy: strictly inside it proves uniqueness.
_PROOFS = ((0.99, 5e-10), (1.0, 1e-10))
_FITTED = 1e-13  # residual, relative, of x at the end
_TINY = 1e-11  # entries of x, relative to the largest, that are rounding
_PROVED = 8e-9  # gap at which the end counts as found
_RESERVE = 0.25  # fraction of the products kept for an end without proof
_CLOSING_IN = 5  # tries around the support at the noise level
_PROOF = 2.0  # products that one try for the dual state at the end may take, relative to all before


def leap(
    unit: UnitProblem,
    *,
    most_products: int,
    noise_level: float = 0.0,
    progress: ProgressCallback | None = None,
) -> tuple[End, int]:
    """Leap to the end of the saddle path; returns it and the number of leaps.

    ``EXACT`` says that x carries y. Whether it is minimal is up to the certificate. With a noise level (in units of the
    scaled y) the end is a plateau before: least squares on the first support found that fits y to this level.
    """
    leaps = _Leaps(unit, Descent(unit.operator, unit.gauge), most_products, progress)
    return leaps.run() if noise_level == 0 else leaps.run_to(noise_level), leaps.count


@dataclass
class _Leaps:
    """Leaps done, the best solution and the best dual state seen on the way."""

    unit: UnitProblem
    descent: Descent
    most_products: int
    progress: ProgressCallback | None
    count: int = 0
    norm: float = math.inf
    bound: float = 0.0
    x: Vector = field(init=False)
    nu: Vector = field(init=False)

    def __post_init__(self) -> None:
        self.gauge = self.unit.gauge
        self.x, self.nu = np.zeros(self.unit.operator.shape[1]), self.unit.y
        self.descent.allow((1 - _RESERVE) * self.most_products)

    def run(self) -> End:
        point = Point(np.zeros(self.unit.operator.shape[1]), self.unit.y, self.unit.correlation)
        penalty = _FIRST * self.gauge.dual(self.unit.correlation)
        if penalty <= 0:  # non-negative x, and no coordinate that would lessen the residual
            return End(self.x, self.nu, Status.NOT_CONVERGED)
        last = _LAST * penalty
        if self.gauge.polyhedral:
            point, penalty = self._lengthened(point, penalty, last)
        else:
            point = self._repeated(*self._lengthened(point, penalty, _FROM_START * penalty), last)
        if not self.proved:
            self._give_up(point, penalty)
        return End(self.x, self.nu, Status.EXACT if math.isfinite(self.norm) else Status.NOT_CONVERGED)

    def _lengthened(self, point: Point, penalty: float, last: float) -> tuple[Point, float]:
        """Longer and longer leaps, until one has more entries than y, or the penalty is down to the last."""
        while penalty > last and not self.done:
            biased = self.descent.settle(point, penalty, _LOOSE)
            if self._crowded(biased):  # any y can be fitted with so many: no x is to be read off
                biased = self.descent.settle(biased, penalty, _CLOSER)
            self._remember(biased)
            if self._crowded(biased):
                if self.gauge.polyhedral:  # shorter penalties make no fewer
                    return biased, penalty
                point, penalty = biased, _NEXT * penalty
                continue
            on = self._nonzero(biased.x)
            free, fitted = self.descent.fit(biased, on, self._rounding(_FITTED))
            if fitted:
                self._finish(biased, free, penalty)
            outside = self.gauge.dual(np.where(on, 0.0, free.g))
            shorter = max(min(_NEXT * penalty, _OUTSIDE * outside), _BOLDEST * penalty)
            # On a face the end of a leap is linear in the penalty, and `free` is where it goes as that vanishes.
            point, penalty = free.towards(biased, shorter / penalty), shorter
        return point, penalty

    def _repeated(self, point: Point, penalty: float, last: float) -> Point:
        """Steps from dual state to dual state, each twice as long and twice as accurate as the one before.

        Such a step minimises ``1/2 ||y + penalty nu - A x||^2 + penalty * gauge(x)``, nu the dual state that it starts
        from, and ends in the dual state ``r / penalty``, r its residual. With the steps x tends to a minimiser.
        """
        own, before, accuracy = point, Point(point.x, np.zeros_like(point.r), np.zeros_like(point.g)), _CLOSER
        while penalty > last and not self.done:
            biased = self.descent.settle(point, penalty, accuracy)
            self._remember(biased)
            own = Point(biased.x, biased.r - before.r, biased.g - before.g)
            if not self._crowded(biased):
                free, fitted = self.descent.fit(own, self._nonzero(biased.x), self._rounding(_FITTED))
                if fitted:
                    self._finish(biased, free, penalty)
            before, penalty, accuracy = Point(own.x, biased.r / 2, biased.g / 2), penalty / 2, accuracy / 2
            point = Point(own.x, own.r + before.r, own.g + before.g)
        return own

    def run_to(self, noise_level: float) -> End:
        """Shorter and shorter steps around the first support whose least squares are within the noise."""
        start = Point(np.zeros_like(self.unit.correlation), self.unit.y, self.unit.correlation)
        before, end = (start, self.gauge.dual(self.unit.correlation)), End(self.x, self.nu, Status.NOT_CONVERGED)
        if norm(start.r) <= noise_level:
            return End(start.x, start.r, Status.NOISE_LEVEL)
        after: tuple[Point, float] | None = None
        penalty, tries = _FIRST * before[1], 0
        while penalty > _LAST * before[1] and tries < _CLOSING_IN and not self.descent.spent:
            point = before[0] if after is None else before[0].towards(after[0], _between(before[1], penalty, after[1]))
            biased = self.descent.settle(point, penalty, _LOOSE)
            self._remember(biased)
            on = self._nonzero(biased.x)
            free, fitted = self.descent.fit(biased, on, noise_level)
            if fitted and self.gauge.allows(free.x):
                after, tries = (biased, penalty), tries + 1
                best, _ = self.descent.fit(free, on, 0.0)
                kept = best if self.gauge.allows(best.x) else free
                end = End(kept.x, biased.r, Status.NOISE_LEVEL)
            else:
                before, tries = (biased, penalty), tries + (after is not None)
            penalty = _NEXT * penalty if after is None else math.sqrt(before[1] * after[1])
        return end

    @property
    def proved(self) -> bool:
        return self.norm - self.bound <= _PROVED * self.norm < math.inf

    @property
    def done(self) -> bool:
        return self.proved or self.descent.spent

    def _nonzero(self, x: Vector) -> Mask:
        """The coordinates of all groups that are not zero."""
        groups = self.gauge.groups
        return np.asarray(groups.spread(groups.norms(x) > 0))

    def _crowded(self, point: Point) -> bool:
        """Whether more coordinates may be other than zero than y has entries."""
        return int(np.count_nonzero(self._nonzero(point.x))) > len(point.r)

    def _finish(self, biased: Point, free: Point, penalty: float) -> None:
        """The end of the path, given that its support is that of a leap.

        With ``x + penalty v`` for the end of the leap, its dual state is ``-A v``. That of an endless leap has the v
        that minimises ``1/2 ||A v||^2`` plus the slope of the l1 norm at x along v: a descent like any other, except
        that coordinates of the support of x cannot change sign. Off the support the slope may be lessened a little.
        """
        x = self._solution(free)
        if not self.gauge.allows(x):
            return
        start = Point((biased.x - x) / penalty, biased.r / penalty, biased.g / penalty)
        before = self.descent.most
        for bound, accuracy in _PROOFS:
            self.descent.allow(min(before, (1 + _PROOF) * self.descent.products))
            self._remember(self.descent.settle(start, bound, accuracy, pinned=self.gauge.face(x) / bound))
            if self.proved:
                break
        self.descent.allow(before)

    def _give_up(self, point: Point, penalty: float) -> None:
        """A solution without proof, and a better bound for it: many non-zeros are too many to find one by one."""
        if self.gauge.polyhedral:  # in groups the last step is as accurate
            self.descent.allow((1 - _RESERVE / 2) * self.most_products)
            point = self.descent.settle(point, penalty, _CLOSER)
            self._remember(point)
        self.descent.allow(self.most_products)
        for on in (self._nonzero(point.x), np.ones(len(point.x), dtype=bool)):
            free, fitted = self.descent.fit(point, on, self._rounding(_FITTED))
            if fitted:
                self._solution(free)
                return

    def _solution(self, free: Point) -> Vector:
        """The x of a fit, its zeros made exact; kept if it is the smallest so far."""
        size = self.gauge.groups.spread(self.gauge.groups.norms(free.x))
        x = np.where(size > max(_TINY, 10 * self.unit.data_rounding) * size.max(), free.x, 0.0)
        total = self.gauge.value(x) if self.gauge.allows(x) else math.inf
        if total < self.norm:
            self.norm, self.x = total, x
        return x

    def _remember(self, point: Point) -> None:
        """Keep the dual state ``r`` if none bounds the norm of a solution better; tell how far the leaps got."""
        top = self.gauge.dual(point.g)
        if top > 0 and float(self.unit.y @ point.r) / top > self.bound:
            self.bound, self.nu = float(self.unit.y @ point.r) / top, point.r / top
        self.count += 1
        if self.progress is not None:
            self.progress(Progress("leaps", None, f"{self.count} leaps, residual {norm(point.r):.1e}"))

    def _rounding(self, relative: float) -> float:
        return max(relative, 10 * self.unit.data_rounding) * norm(self.unit.y)


def _between(low: float, value: float, high: float) -> float:
    """Where a value lies on the way from ``low`` to ``high``."""
    return (value - low) / (high - low) if high != low else 0.0

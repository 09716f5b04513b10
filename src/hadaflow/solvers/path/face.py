"""The saddle path on a Gram matrix: the inner loop of :mod:`hadaflow.dynamics.saddles`.

It knows nothing of A: all it moves are the dual state ``q``, the correlations ``c = A^T (y - A b)`` with the residual,
which are the speed of q, and the plateau ``b`` of a working set of columns, through their Gram matrix.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import scipy.linalg as la
from numpy.typing import NDArray
from scipy.linalg.blas import dsymv, dsyr

from hadaflow._types import Index, Vector
from hadaflow.gauges import Gauge

_DEPENDENT = 1e-13  # fraction of a column's square that must lie outside the span of the active ones for it to join
_DELICATE = 1e-5  # below this fraction the inverse is no longer taken at its word, but refined


@dataclass
class Segment:
    """Jumps made in one run.

    Attributes
    ----------
    times : list of float
        Rescaled times since the start of the run.
    active, values : lists of ndarray
        The plateau after each jump, on its active coordinates.
    moved : list of ndarray of shape (w,)
        The same as change since the start of the run, which keeps its digits where the plateau itself would round
        them away.
    reason : str
        Why the run stopped: "most" jumps, "horizon" met, "small" residual, or "still" (nothing moves).
    work : float
        Operations, roughly.
    """

    times: list[float]
    active: list[Index]
    values: list[Vector]
    moved: list[Vector]
    reason: str
    work: float


class Face:
    """Active coordinates of the path, with the inverse of their Gram matrix kept up to date.

    Every active coordinate owns a slot. Rows and columns of free slots are zero in the inverse, so that products
    over all slots are right without shuffling: activating a coordinate borders the inverse, dropping one
    deflates it, each by one symmetric rank-one update of the lower triangle (BLAS ``dsyr``).

    Parameters
    ----------
    gram : ndarray of shape (w, w)
        Inner products of the columns of the working set.
    gauge : Gauge
        The gauge on the working set.
    correlation, dual : ndarray of shape (w,)
        c and q on the working set.
    active, plateau : ndarrays of shape (k,)
        Active coordinates, and b on them.
    most : int
        Largest number of active coordinates: the number of rows of A.
    """

    def __init__(
        self, gram: Vector, gauge: Gauge, correlation: Vector, dual: Vector, active: Index, plateau: Vector, most: int
    ) -> None:
        self.most_active = most
        self.gram, self.gauge, self.c, self.q = gram, gauge, correlation.copy(), dual.copy()
        self.diagonal = gram.diagonal().copy()
        self.idle = np.ones(len(correlation), dtype=bool)
        self.stays = np.zeros(len(correlation), dtype=bool)  # coordinates that cost nothing, whatever their sign
        self.stays[gauge.free] = True
        k = self.top = self.count = len(active)  # no slot at or above top was ever used
        self.holes: list[int] = []  # slots below top that are free
        self.slot, self.b, self.sign = active, plateau, np.sign(plateau)
        self.bound = gauge.on(active).face(plateau)
        self.used = np.ones(k, dtype=bool)
        self.may_leave = ~self.stays[active]
        self.shift = np.zeros(k)  # of b since the start, whose digits b itself would round away
        self.idle[active] = False
        self.start = np.zeros(len(correlation))
        self.start[active] = plateau
        self.inverse = _inverse(gram[np.ix_(active, active)]) if k else np.empty((0, 0))
        self.inner = gram[:, active]  # columns of the Gram matrix, by slot
        self._allocate(k + max(32, k // 4))
        # Diagonal entries of the inverse are one over the squared distance of a column from the span of the others.
        distances = self.inverse.diagonal()[:k] * self.diagonal[active]
        self.delicate = bool(distances.max(initial=0.0) > 1 / _DELICATE)

    def _allocate(self, capacity: int) -> None:
        """Make room for so many slots, keeping what is there."""
        self.slot = _padded(self.slot, capacity)
        self.b, self.shift = _padded(self.b, capacity), _padded(self.shift, capacity)
        self.sign, self.bound = _padded(self.sign, capacity), _padded(self.bound, capacity)
        self.used, self.may_leave = _padded(self.used, capacity), _padded(self.may_leave, capacity)
        inverse = np.zeros((capacity, capacity), order="F")
        inverse[: self.top, : self.top] = self.inverse[: self.top, : self.top]
        inner = np.zeros((len(self.c), capacity), order="F")
        inner[:, : self.top] = self.inner[:, : self.top]
        self.inverse, self.inner = inverse, inner

    def state(self) -> tuple[Index, Vector]:
        """Active coordinates and the plateau on them."""
        used = self.used[: self.top]
        return self.slot[: self.top][used], self.b[: self.top][used]

    def moved(self) -> Vector:
        """Change of the plateau since the start, on the working set."""
        moved = -self.start
        used = self.used[: self.top]
        moved[self.slot[: self.top][used]] = self.shift[: self.top][used]
        return moved

    def shortest_dual(self, target: Vector) -> Vector:
        """The combination of active columns whose products with them are ``target``, in the order of :meth:`state`."""
        full = np.zeros(len(self.slot))
        full[self.used] = target
        combination: Vector = dsymv(1.0, self.inverse, full, lower=1)
        return combination[self.used]

    def activate(self, j: int, bound: float) -> Vector | None:
        """Let coordinate j join at its bound; None if its column is numerically in the span of the active ones.

        Returns the step, by slot, to least squares on the active coordinates: as ``c`` vanished on them so far, it is a
        multiple of the border of the inverse.
        """
        if self.count == self.most_active:
            return None
        if not self.holes and self.top == len(self.slot):
            self._allocate(self.top + max(32, self.top // 4))
        column = self.gram[:, j]
        cross = np.where(self.used, column[self.slot], 0.0)
        border, pivot = self._border(cross, self.diagonal[j])
        if pivot <= _DEPENDENT * self.diagonal[j]:
            return None
        self.delicate |= bool(pivot <= _DELICATE * self.diagonal[j])
        k = self.holes.pop() if self.holes else self.top
        self.top, self.count = max(self.top, k + 1), self.count + 1
        border[k] = -1.0
        self.inverse = dsyr(1.0 / pivot, border, lower=1, a=self.inverse, overwrite_a=1)
        self.slot[k], self.b[k], self.used[k], self.may_leave[k] = j, 0.0, True, not self.stays[j]
        self.sign[k], self.bound[k] = 1.0 if self.c[j] > 0 else -1.0, bound
        self.shift[k] = -self.start[j]
        self.inner[:, k] = column
        self.idle[j] = False
        border *= -self.c[j] / pivot
        return border

    def _border(self, cross: Vector, square: float) -> tuple[Vector, float]:
        """Coefficients of a column in the active ones, and the squared distance from their span."""
        border: Vector = dsymv(1.0, self.inverse, cross, lower=1)
        if not self.delicate:
            return border, square - float(cross @ border)
        gram = np.where(self.used[:, None], self.inner[self.slot], 0.0)  # of the active columns
        for _ in range(2):
            border = border + dsymv(1.0, self.inverse, cross - gram @ border, lower=1)
        return border, square - float(cross @ border) - float(border @ (cross - gram @ border))

    def drop(self, k: int, step: Vector) -> Vector:
        """Take the coordinate in slot k out; returns the step to least squares on those that stay."""
        column = np.concatenate([self.inverse[k, :k], self.inverse[k:, k]])
        step = step - column * (step[k] / column[k])
        step[k] = 0.0
        self.inverse = dsyr(-1.0 / column[k], column, lower=1, a=self.inverse, overwrite_a=1)
        self.inverse[k, :] = 0.0
        self.inverse[:, k] = 0.0
        j = self.slot[k]
        self.idle[j], self.q[j] = True, self.bound[k]  # it leaves its bound from there
        self.holes.append(k)
        self.count -= 1
        self.used[k] = self.may_leave[k] = False
        self.b[k] = self.shift[k] = self.sign[k] = self.bound[k] = 0.0
        return step

    def settle(self, step: Vector) -> float:
        """Move the plateau to sign-constrained least squares on the face; returns the fall of ``||residual||^2``.

        The inner loop of Lawson and Hanson: go towards least squares, stop where a coordinate reaches zero, drop it,
        go on. What rounding leaves of ``c`` on the active coordinates is worked off by a step of refinement.
        """
        correlation = self.active_correlation()
        entered = float(np.abs(correlation).max())
        fall = self._descend(step, correlation)
        rest = self.active_correlation()
        if float(np.abs(rest).max()) > 1e-11 * entered:
            fall += self._descend(dsymv(1.0, self.inverse, rest, lower=1), rest)
        return fall

    def active_correlation(self) -> Vector:
        """c on the active coordinates, by slot."""
        return np.where(self.used, self.c[self.slot], 0.0)

    def _descend(self, step: Vector, correlation: Vector) -> float:
        fall = 0.0
        while True:
            target = self.b + step
            wrong = (self.may_leave & (target * self.sign <= 0)).nonzero()[0]
            part, leaving = 1.0, -1
            if len(wrong):
                span = self.b[wrong] - target[wrong]
                ratio = np.divide(self.b[wrong], span, out=np.zeros_like(span), where=span != 0)
                part = min(1.0, max(0.0, float(ratio.min())))
                leaving = int(wrong[ratio.argmin()])
            fall += (2 * part - part * part) * float(step @ correlation)
            move = step if part == 1.0 else part * step
            self.b += move
            self.shift += move
            self.c -= self.inner[:, : self.top] @ move[: self.top]
            if leaving < 0:
                return fall
            step = self.drop(leaving, (1 - part) * step)
            correlation = self.active_correlation()

    def run(self, *, floor: Vector, residual: float, horizon: float, target: float, most: int) -> Segment:
        """Follow the path until something outside must be asked.

        Parameters
        ----------
        floor : ndarray
            Correlations below it count as zero.
        residual : float
            ``||y - A b||`` at the start.
        horizon : float
            Rescaled time not to be passed.
        target : float
            Stop once the residual norm is at most this.
        most : int
            Largest number of jumps.
        """
        segment = Segment([], [], [], [], "most", 0.0)
        now, squared = 0.0, residual * residual
        # The running value of the squared residual loses its digits near the first bound.
        goal = max(target * target, 1e-10 * squared)
        barred: list[int] = []
        ones = np.ones(len(self.c))
        bounds, opposite = self.gauge.meets(ones), self.gauge.meets(-ones)
        while len(segment.times) < most:
            moving = self.idle & (np.abs(self.c) > floor)
            if barred:
                moving[barred] = False
            wait = self.gauge.wait(self.q, self.c, moving)
            j = int(wait.argmin())
            delay = max(float(wait[j]), 0.0)
            if not delay < np.inf or now + delay > horizon:
                segment.reason = "horizon" if delay < np.inf else "still"
                break
            now += delay
            self.q += delay * self.c
            self.q[j] = bounds[j] if self.c[j] > 0 else opposite[j]
            step = self.activate(j, self.q[j])
            if step is None:
                barred.append(j)
                continue
            squared -= self.settle(step)
            if self.idle[j]:  # rounding sent it straight back
                barred.append(j)
            index, values = self.state()
            segment.times.append(now)
            segment.active.append(index)
            segment.values.append(values)
            segment.moved.append(self.moved())
            segment.work += 2.0 * len(self.c) * self.top + 6.0 * len(self.slot) ** 2
            if squared <= goal:
                segment.reason = "small"
                break
        return segment


def _padded(array: NDArray[Any], length: int) -> NDArray[Any]:
    padded = np.zeros(length, dtype=array.dtype)
    padded[: len(array)] = array
    return padded


def _inverse(gram: Vector) -> Vector:
    """Inverse of a positive definite matrix (lower triangle filled); pseudo-inverse where rounding made it singular."""
    factor, failed = la.lapack.dpotrf(gram, lower=1)
    if not failed:
        inverse, failed = la.lapack.dpotri(factor, lower=1)
    return np.asarray(la.pinvh(gram) if failed else inverse)

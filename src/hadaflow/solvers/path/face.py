"""The saddle path on a Gram matrix: the inner loop of :mod:`hadaflow.dynamics.saddles`.

It knows nothing of A: all it moves are the dual state ``q``, its speed ``c = A^T (y - A b)`` and the plateau ``b`` of a
working set of columns, through their Gram matrix.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import scipy.linalg as la
from numpy.typing import NDArray
from scipy.linalg.blas import dsymv, dsyr

from hadaflow._types import Index, Vector

_DEPENDENT = 1e-13  # share of a column's square that must lie outside the span of the active ones for it to join
_DELICATE = 1e-5  # below this share the inverse is no longer taken at its word, but refined


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
    speed, dual : ndarray of shape (w,)
        c and q on the working set.
    active, plateau, signs : ndarrays of shape (k,)
        Active coordinates, b on them, and the bound that each is at.
    most : int
        Largest number of active coordinates: the number of rows of A.
    """

    def __init__(
        self, gram: Vector, speed: Vector, dual: Vector, active: Index, plateau: Vector, signs: Vector, most: int
    ) -> None:
        self.most_active = most
        self.gram, self.c, self.q = gram, speed.copy(), dual.copy()
        self.diagonal = gram.diagonal().copy()
        self.free = np.ones(len(speed), dtype=bool)
        k = self.top = self.count = len(active)  # no slot at or above top was ever used
        self.holes: list[int] = []  # slots below top that are free
        self.slot, self.b, self.sign = active, plateau, signs
        self.used = np.ones(k, dtype=bool)
        self.shift = np.zeros(k)  # of b since the start, whose digits b itself would round away
        self.free[active] = False
        self.start = np.zeros(len(speed))
        self.start[active] = plateau
        self.inverse = _inverse(gram[np.ix_(active, active)]) if k else np.empty((0, 0))
        self.reach = gram[:, active]  # columns of the Gram matrix, by slot
        self._allocate(k + max(32, k // 4))
        # Diagonal entries of the inverse are one over the squared distance of a column from the span of the others.
        distances = self.inverse.diagonal()[:k] * self.diagonal[active]
        self.delicate = bool(distances.max(initial=0.0) > 1 / _DELICATE)

    def _allocate(self, capacity: int) -> None:
        """Make room for so many slots, keeping what is there."""
        self.slot = _padded(self.slot, capacity)
        self.b, self.sign = _padded(self.b, capacity), _padded(self.sign, capacity)
        self.shift = _padded(self.shift, capacity)
        self.used = _padded(self.used, capacity)
        inverse = np.zeros((capacity, capacity), order="F")
        inverse[: self.top, : self.top] = self.inverse[: self.top, : self.top]
        reach = np.zeros((len(self.c), capacity), order="F")
        reach[:, : self.top] = self.reach[:, : self.top]
        self.inverse, self.reach = inverse, reach

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

    def activate(self, j: int, sign: float) -> Vector | None:
        """Let coordinate j join; None if its column is numerically in the span of the active ones.

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
        self.slot[k], self.b[k], self.sign[k], self.used[k] = j, 0.0, sign, True
        self.shift[k] = -self.start[j]
        self.reach[:, k] = column
        self.free[j] = False
        border *= -self.c[j] / pivot
        return border

    def _border(self, cross: Vector, square: float) -> tuple[Vector, float]:
        """Coefficients of a column in the active ones, and the squared distance from their span."""
        border: Vector = dsymv(1.0, self.inverse, cross, lower=1)
        if not self.delicate:
            return border, square - float(cross @ border)
        gram = np.where(self.used[:, None], self.reach[self.slot], 0.0)  # of the active columns
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
        self.free[j], self.q[j] = True, self.sign[k]  # it leaves its bound from there
        self.holes.append(k)
        self.count -= 1
        self.used[k], self.b[k], self.sign[k], self.shift[k] = False, 0.0, 0.0, 0.0
        return step

    def settle(self, step: Vector) -> float:
        """Move the plateau to sign-constrained least squares on the face; returns the fall of ``||residual||^2``.

        The inner loop of Lawson and Hanson: go towards least squares, stop where a coordinate reaches zero, drop it,
        go on. What rounding leaves of ``c`` on the active coordinates is worked off by a step of refinement.
        """
        speed = self.active_speed()
        entered = float(np.abs(speed).max())
        fall = self._descend(step, speed)
        left = self.active_speed()
        if float(np.abs(left).max()) > 1e-11 * entered:
            fall += self._descend(dsymv(1.0, self.inverse, left, lower=1), left)
        return fall

    def active_speed(self) -> Vector:
        """c on the active coordinates, by slot."""
        return np.where(self.used, self.c[self.slot], 0.0)

    def _descend(self, step: Vector, speed: Vector) -> float:
        fall = 0.0
        while True:
            target = self.b + step
            wrong = (self.used & (target * self.sign <= 0)).nonzero()[0]
            part, leaving = 1.0, -1
            if len(wrong):
                span = self.b[wrong] - target[wrong]
                ratio = np.divide(self.b[wrong], span, out=np.zeros_like(span), where=span != 0)
                part = min(1.0, max(0.0, float(ratio.min())))
                leaving = int(wrong[ratio.argmin()])
            fall += (2 * part - part * part) * float(step @ speed)
            move = step if part == 1.0 else part * step
            self.b += move
            self.shift += move
            self.c -= self.reach[:, : self.top] @ move[: self.top]
            if leaving < 0:
                return fall
            step = self.drop(leaving, (1 - part) * step)
            speed = self.active_speed()

    def run(
        self, *, bounded_below: bool, floor: Vector, residual: float, horizon: float, target: float, most: int
    ) -> Segment:
        """Follow the path until something outside must be asked.

        Parameters
        ----------
        bounded_below : bool
            Whether the dual box is [-1, 1] or (-inf, 1].
        floor : ndarray
            Speeds below it count as zero.
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
        wait = np.empty(len(self.c))
        while len(segment.times) < most:
            size = np.abs(self.c) if bounded_below else np.maximum(self.c, 0.0)
            moving = self.free & (size > floor)
            if barred:
                moving[barred] = False
            wait.fill(np.inf)
            np.divide(1 - np.copysign(self.q, self.q * self.c), size, out=wait, where=moving)
            j = int(wait.argmin())
            delay = max(float(wait[j]), 0.0)
            if not delay < np.inf or now + delay > horizon:
                segment.reason = "horizon" if delay < np.inf else "still"
                break
            now += delay
            self.q += delay * self.c
            sign = 1.0 if self.c[j] > 0 else -1.0
            self.q[j] = sign
            step = self.activate(j, sign)
            if step is None:
                barred.append(j)
                continue
            squared -= self.settle(step)
            if self.free[j]:  # rounding sent it straight back
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

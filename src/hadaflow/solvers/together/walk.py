"""The saddle paths of many right-hand sides, jump by jump in step.

The same path as that of :mod:`hadaflow.solvers.path`, on all columns of A at once. What takes more than that
(nearly dependent columns, ties, many active coordinates) is given up here: a search of its own has the means for it.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from hadaflow._types import Index, Mask, Vector
from hadaflow.solvers.together.system import System

_EPS = float(np.finfo(np.float64).eps)
_AT_REST = 1e-11  # correlation, relative to the residual and the length of a column, that is rounding
_DEPENDENT = 1e-8  # fraction of a column's square outside the span of the active ones, below which it is given up
_MOST_ACTIVE = 160
ARRIVED, STILL, LOST = 1, 2, 3


@dataclass
class Walked:
    """Where the paths of K problems stopped.

    Attributes
    ----------
    fate : int array of shape (K,)
        ``ARRIVED`` at the target, ``STILL`` as nothing could move, or ``LOST``.
    x, nu, residual : ndarrays of shapes (K, n), (K, m) and (K, m)
        The last plateau, dual state and residual.
    active : bool array of shape (K, n)
        Coordinates on their bounds, x of which may be zero to rounding.
    events : int array of shape (K,)
        Jumps.
    products : int
        Products of A with blocks.
    """

    fate: Index
    x: Vector
    nu: Vector
    residual: Vector
    active: Mask
    events: Index
    products: int = 1

    def part(self, index: Index) -> Walked:
        """Some of them."""
        fate, x, nu, residual = self.fate[index], self.x[index], self.nu[index], self.residual[index]
        return Walked(fate, x, nu, residual, self.active[index], self.events[index], self.products)


class Walks:
    """Walks of K problems that are still under way; those that have ended are taken out.

    Parameters
    ----------
    system : System
        The matrix.
    y : ndarray of shape (K, m)
        Right-hand sides of lengths between 1 and 2, or zero.
    noise : ndarray of shape (K,)
        Residuals at which to stop.
    """

    def __init__(self, system: System, y: Vector, noise: Vector) -> None:
        self.system = system
        k, m = y.shape
        n = len(system.rows)
        self.most = min(m, _MOST_ACTIVE)
        room = min(16, self.most)
        self.done = Walked(
            np.zeros(k, dtype=np.intp), np.zeros((k, n)), np.zeros((k, m)), y.copy(), np.zeros((k, n), dtype=bool),
            np.zeros(k, dtype=np.intp),
        )  # fmt: skip
        self.who: Index = np.arange(k)
        self.noise = noise
        self.nu, self.residual = np.zeros((k, m)), y.copy()
        self.q, self.c = np.zeros((k, n)), y @ system.columns
        self.idle = np.ones((k, n), dtype=bool)
        self.slot = np.zeros((k, room), dtype=np.intp)
        self.used = np.zeros((k, room), dtype=bool)
        self.b, self.sign, self.step = np.zeros((k, room)), np.zeros((k, room)), np.zeros((k, room))
        self.inverse = np.zeros((k, room, room))
        self.pending = np.zeros(k, dtype=bool)  # on the way to least squares, stopped where a coordinate left
        self.events = np.zeros(k, dtype=np.intp)

    def run(self) -> Walked:
        """Walk until all have ended."""
        self._end(self._arrived() * ARRIVED)
        for _ in range(10 * self.most + 50):
            if not len(self.who):
                break
            self.done.products += 2
            self._end(self._advance())
            if len(self.who):
                self._end(self._descend())
        self._end(np.full(len(self.who), LOST))
        return self.done

    # ---- to the next bound ---------------------------------------------------------------------------------

    def _advance(self) -> Index:
        """Move the dual states that are free to until they meet a bound, and let that coordinate join."""
        sizes = np.sqrt(np.einsum("ij,ij->i", self.residual, self.residual))
        outward = self.c if self.system.positive else np.abs(self.c)
        moving = self.idle & (outward > (_AT_REST * sizes)[:, None] * self.system.lengths)
        bound = 1.0 if self.system.positive else np.copysign(1.0, self.c)
        with np.errstate(divide="ignore", invalid="ignore"):
            wait = np.where(moving, (bound - self.q) / self.c, np.inf)
        every = np.arange(len(self.who))
        j = wait.argmin(axis=1)
        delay = np.maximum(wait[every, j], 0.0)
        fate = np.where(~self.pending & np.isinf(delay), STILL, 0)
        free = np.flatnonzero(~self.pending & (fate == 0))
        delay[self.pending | (fate > 0)] = 0.0
        self.q += delay[:, None] * self.c
        self.nu += delay[:, None] * self.residual
        if len(free):
            fate[free] = self._activate(free, j[free])
        return fate

    def _activate(self, free: Index, j: Index) -> Index:
        """Let one coordinate j of each of these problems join; LOST where its column is nearly dependent."""
        if self.used[free].all(axis=1).any():
            if self.used.shape[1] >= self.most:
                full = self.used[free].all(axis=1)
                fate = np.where(full, LOST, 0)
                fate[~full] = self._activate(free[~full], j[~full]) if not full.all() else 0
                return fate
            self._make_room()
        correlation, square = self.c[free, j], self.system.diagonal[j]
        cross = np.where(self.used[free], self.system.products(j, self.slot[free]), 0.0)
        inverse = self.inverse if len(free) == len(self.who) else self.inverse[free]
        border = np.matmul(inverse, cross[:, :, None])[:, :, 0]
        pivot = square - (cross * border).sum(axis=1)
        lost = pivot <= _DEPENDENT * square
        pivot = np.where(lost, 1.0, pivot)
        k = self.used[free].argmin(axis=1)
        border[np.arange(len(free)), k] = -1.0
        scaled = border / pivot[:, None]
        if len(free) == len(self.who):
            self.inverse += scaled[:, :, None] * border[:, None, :]
        else:
            self.inverse[free] += scaled[:, :, None] * border[:, None, :]
        self.slot[free, k], self.used[free, k], self.b[free, k] = j, True, 0.0
        self.sign[free, k] = np.sign(correlation)
        self.idle[free, j] = False
        self.step[free] = -correlation[:, None] * scaled
        self.events[free] += 1
        return np.where(lost, LOST, 0)

    # ---- to least squares ----------------------------------------------------------------------------------

    def _descend(self) -> Index:
        """Move the plateaus towards least squares on their faces, to where a coordinate would change its sign."""
        target = self.b + self.step
        wrong = self.used & (target * self.sign <= 0)
        with np.errstate(divide="ignore", invalid="ignore"):
            ratio = np.where(wrong, self.b / (self.b - target), np.inf)
        every, leaving = np.arange(len(self.who)), ratio.argmin(axis=1)
        part = np.clip(np.nan_to_num(ratio[every, leaving], posinf=1.0), 0.0, 1.0)
        move = part[:, None] * self.step
        self.b += move
        change = np.zeros_like(self.q)
        which, where = np.nonzero(self.used)
        change[which, self.slot[which, where]] = move[which, where]
        self.residual -= change @ self.system.rows
        self.pending = np.asarray(wrong.any(axis=1))
        fate = np.zeros(len(self.who), dtype=np.intp)
        leavers = np.flatnonzero(self.pending)
        if len(leavers):
            straight_back: Mask = (self.b[leavers, leaving[leavers]] == 0.0) & (part[leavers] == 0.0)
            self._drop(leavers, leaving[leavers], 1 - part[leavers])
            fate[leavers[straight_back]] = LOST
        self.c = self.residual @ self.system.columns
        arrived = self._arrived() & ~self.pending
        fate[arrived & (fate == 0)] = ARRIVED
        return fate

    def _drop(self, rows: Index, k: Index, left: Vector) -> None:
        """Take a coordinate out of each of these problems, and go on to least squares without it."""
        every = np.arange(len(rows))
        column = self.inverse[rows, :, k]
        pivot = column[every, k]
        step = left[:, None] * self.step[rows]
        step -= column * (step[every, k] / pivot)[:, None]
        step[every, k] = 0.0
        self.step[rows] = step
        inverse = self.inverse[rows] - column[:, :, None] * (column / pivot[:, None])[:, None, :]
        inverse[every, :, k] = inverse[every, k, :] = 0.0
        self.inverse[rows] = inverse
        j = self.slot[rows, k]
        self.idle[rows, j], self.q[rows, j] = True, self.sign[rows, k]
        self.used[rows, k], self.b[rows, k], self.sign[rows, k] = False, 0.0, 0.0

    # ---- ends ----------------------------------------------------------------------------------------------

    def _arrived(self) -> Mask:
        """Whose residual is no more than its target, or than rounding."""
        terms = 1 + (np.abs(self.b) * self.system.lengths[self.slot]).sum(axis=1)
        target = np.maximum(self.noise, np.maximum(1e-14, 8 * _EPS * terms))
        return np.asarray(np.einsum("ij,ij->i", self.residual, self.residual) <= target**2)

    def _end(self, fate: Index) -> None:
        """Put down those that have ended, and go on with the others."""
        ended = np.flatnonzero(fate)
        if not len(ended):
            return
        who, done = self.who[ended], self.done
        done.fate[who], done.events[who] = fate[ended], self.events[ended]
        done.nu[who], done.residual[who] = self.nu[ended], self.residual[ended]
        which, where = np.nonzero(self.used[ended])
        places = who[which], self.slot[ended][which, where]
        done.x[places], done.active[places] = self.b[ended][which, where], True
        rest = fate == 0
        for name in ("who", "noise", "nu", "residual", "q", "c", "idle", "slot", "used", "b", "sign", "step"):
            setattr(self, name, getattr(self, name)[rest])
        self.inverse, self.pending, self.events = self.inverse[rest], self.pending[rest], self.events[rest]

    def _make_room(self) -> None:
        """More slots for active coordinates."""
        more = min(self.most, 2 * self.used.shape[1]) - self.used.shape[1]
        for name in ("slot", "used", "b", "sign", "step"):
            setattr(self, name, np.pad(getattr(self, name), ((0, 0), (0, more))))
        self.inverse = np.pad(self.inverse, ((0, 0), (0, more), (0, more)))

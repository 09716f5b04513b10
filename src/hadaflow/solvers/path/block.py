"""Jumps that were made on a working set, to be held against the whole of A."""

from __future__ import annotations

import numpy as np

from hadaflow._types import Index, Mask, Vector
from hadaflow._validation import norm
from hadaflow.solvers.path.face import Face, Segment
from hadaflow.solvers.path.position import Position
from hadaflow.solvers.working_set import WorkingSet
from hadaflow.units import UnitProblem

_OVERSHOOT = 1e-9  # how far beyond its bound a dual coordinate may be found before the jumps are taken back


class Block:
    """A segment of the path from a position on, and the dual states along it.

    Attributes
    ----------
    face : Face
        Where the segment ended.
    segment : Segment
        Its jumps.
    doubt : float or ndarray of shape (n,)
        Rounding of the dual states.
    """

    def __init__(self, unit: UnitProblem, working: WorkingSet, at: Position, face: Face, segment: Segment) -> None:
        self.unit, self.working, self.at, self.face, self.segment = unit, working, at, face, segment
        # int (b - b_start) up to each jump, on the working set.
        pieces = np.column_stack([np.zeros(len(working)), *segment.moved[:-1]])
        pieces[:, 1:] *= np.diff(segment.times)
        self.integrals: Vector = np.asarray(pieces.cumsum(axis=1))
        self.doubt = unit.doubt(norm(at.nu) + segment.times[-1] * norm(at.residual))

    def __len__(self) -> int:
        return len(self.segment.times)

    # ---- after so many jumps -------------------------------------------------------------------------------

    def nus(self) -> Vector:
        """The dual state at each jump, shape (m, jumps)."""
        straight: Vector = self.at.nu[:, None] + np.outer(self.at.residual, self.segment.times)
        curved: Vector = self.working.columns[:, : len(self.integrals)] @ self.integrals
        return straight - curved

    def nu(self, jumps: int) -> Vector:
        straight: Vector = self.at.nu + self.segment.times[jumps - 1] * self.at.residual
        curved: Vector = self.working.columns[:, : len(self.integrals)] @ self.integrals[:, jumps - 1]
        return straight - curved

    def residual(self, jumps: int) -> Vector:
        moved = self.segment.moved[jumps - 1]
        change: Vector = self.working.columns[:, : len(moved)] @ moved
        return self.at.residual - change

    def plateau(self, jumps: int) -> tuple[Index, Vector]:
        """Active coordinates and x on them."""
        return self.working.index[self.segment.active[jumps - 1]], self.segment.values[jumps - 1]

    def position(self, jumps: int) -> Position:
        """Where the path is then; what A makes of it is that of the start of the segment still."""
        at, tau = self.at, self.at.tau + self.segment.times[jumps - 1]
        nu, residual = self.nu(jumps), self.residual(jumps)
        return Position(nu, residual, *self.plateau(jumps), at.dual, at.correlation, tau)

    # ---- against all of A ----------------------------------------------------------------------------------

    def over(self, theta: Vector) -> Mask:
        """Which coordinates outside the working set are beyond their bounds; theta of shape (n,) or (n, jumps)."""
        limit = np.asarray(_OVERSHOOT + self.doubt)
        inside = self.working.inside
        beyond = self.unit.gauge.beyond(theta) > (limit[:, None] if limit.ndim < theta.ndim and limit.ndim else limit)
        return np.asarray(beyond & ~(inside[:, None] if theta.ndim == 2 else inside))

    def sound_jumps(self, newcomers: Index, *, all_seen: bool) -> int:
        """How many jumps there were before a newcomer crossed its bound, with nobody else beyond it after them.

        The newcomers join the working set. Unless all jumps were seen, others may have crossed their bounds on the way
        and be back inside where A was looked at: they join, too.
        """
        old = len(self.working)
        self.working.extend(newcomers)
        while True:
            good = self._jumps_before_crossing(old)
            if good == 0 or all_seen:
                return good
            over = self.over(self.unit.operator.rmatvec(self.nu(good)))
            if not over.any():
                return good
            self.working.extend(np.flatnonzero(over))

    def _jumps_before_crossing(self, old: int) -> int:
        """How many jumps were made before a column of the working set beyond the first ``old`` crossed its bound."""
        working, index = self.working, self.working.index[old:]
        new = working.columns[:, old:]
        start, speed = np.asarray(new.T @ self.at.nu), np.asarray(new.T @ self.at.residual)
        theta = start[:, None] + np.outer(speed, self.segment.times) - working.gram[old:, :old] @ self.integrals
        doubt = self.doubt if isinstance(self.doubt, float) else self.doubt[index][:, None]
        crossed = (self.unit.gauge.on(index).beyond(theta) > _OVERSHOOT + doubt).any(axis=0)
        first = np.flatnonzero(crossed)
        return int(first[0]) if len(first) else len(self)  # none: on the edge, seen with other rounding

"""Which columns of A a walk works with until it looks at A again."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from hadaflow._types import Vector
from hadaflow._validation import norm
from hadaflow.solvers.path.position import Position
from hadaflow.solvers.working_set import WorkingSet
from hadaflow.units import UnitProblem

_AT_REST = 1e-11  # correlation, relative to the residual and the length of a column, that is rounding
_FETCHED = 1 << 25  # entries of an A elsewhere that are brought here at a time


@dataclass
class Policy:
    """Keeps the active coordinates in the working set, and with them those that will meet their bounds next.

    Attributes
    ----------
    measured : bool
        Whether each column is compared with its own length; else all with that of the longest.
    """

    unit: UnitProblem
    working: WorkingSet
    measured: bool = False

    def widen(self, at: Position, *, narrow: bool) -> tuple[int, float]:
        """Add the coordinates expected next; if asked to, drop the idle ones once they are many.

        Returns how many were added, and the time up to which the others are expected to stay inside their bounds.
        """
        working = self.working
        lengths = self.unit.lengths if self.measured else None
        at_rest = self.at_rest(at) * (working.longest() if lengths is None else lengths)
        wait = self.unit.gauge.wait(at.dual, at.correlation, np.abs(at.correlation) > at_rest)
        wanted = self._wanted(at)
        if narrow:
            self._narrow(at, wait, wanted)
        wait[working.index] = np.inf
        count = int(np.count_nonzero(wait < np.inf))
        if wanted >= count:
            working.extend(np.flatnonzero(wait < np.inf))
            return count, np.inf
        nearest = np.argpartition(wait, wanted)
        working.extend(nearest[:wanted])
        return wanted, float(wait[nearest[wanted]])

    @staticmethod
    def at_rest(at: Position) -> float:
        """Correlations below this, per unit of column length, are rounding."""
        return _AT_REST * norm(at.residual)

    def _narrow(self, at: Position, wait: Vector, wanted: int) -> None:
        """Keep the active coordinates and those that wait least, once the working set has grown to twice as many."""
        working, active = self.working, len(at.index)
        if len(working) <= 2 * (active + wanted) or self.unit.operator.costs.matrix_free:
            return
        positions = working.positions_of(at.index)
        idle = np.ones(len(working), dtype=bool)
        idle[positions] = False
        others = np.flatnonzero(idle)
        nearest = others[np.argsort(wait[working.index[others]], kind="stable")[:wanted]]
        working.keep(np.concatenate([positions, nearest]))

    def _wanted(self, at: Position) -> int:
        """How many columns to add: few where each costs a product, a block of them where any number costs one pass."""
        active, operator = len(at.index), self.unit.operator
        m = operator.shape[0]
        if operator.costs.matrix_free:
            return max(8, active // 4)
        if not operator.costs.local:
            return max(8, min(max(256, m // 8, active), _FETCHED // m))
        return max(32, m // 16, active // 3)

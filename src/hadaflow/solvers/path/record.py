"""What a walk has seen: the plateaus of the path and when they began."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
import scipy.sparse as sp

from hadaflow._types import Index, Vector
from hadaflow.units import UnitProblem


@dataclass
class Record:
    """Jumps in the order of time, in units of the scaled problem."""

    times: list[float] = field(default_factory=list)
    plateaus: list[tuple[Index, Vector]] = field(default_factory=list)

    def __len__(self) -> int:
        return len(self.times)

    def add(self, time: float, index: Index, values: Vector) -> None:
        """A jump to x = values on these coordinates."""
        self.times.append(time)
        self.plateaus.append((index, values))

    def cut(self, events: int) -> None:
        """Forget all jumps after the first so many."""
        del self.times[events:], self.plateaus[events:]

    def end_at(self, x: Vector) -> None:
        """Let the path end at this x, which the last plateau is up to rounding."""
        index = np.flatnonzero(x)
        self.plateaus[-1] = index, x[index]

    def table(self, unit: UnitProblem) -> tuple[Vector, sp.csr_array]:
        """Start and value of every plateau, in units of the original problem."""
        n = unit.operator.shape[1]
        times = np.array([0.0, *self.times]) / unit.size_a / unit.size_y
        plateaus = [(np.empty(0, dtype=np.intp), np.empty(0)), *self.plateaus]
        last = np.append(np.diff(times) > 0, True)  # of jumps at one time, the last
        kept = [plateau for plateau, keep in zip(plateaus, last, strict=True) if keep]
        starts = np.cumsum([0, *(len(index) for index, _ in kept)])
        columns = np.concatenate([index for index, _ in kept])
        values = np.concatenate([values for _, values in kept])
        if unit.weights is not None:
            values = values / unit.weights[columns]
        rows = sp.csr_array((values / unit.size_a * unit.size_y, columns, starts), shape=(len(kept), n))
        rows.sort_indices()
        return times[last], rows

"""The path of group lassos: x at one penalty after the other."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import ClassVar

import numpy as np
import scipy.sparse as sp
from numpy.typing import NDArray

from hadaflow._types import Float, Index
from hadaflow.paths.base import Path, ReadOut
from hadaflow.paths.reading import MARGIN, Reading
from hadaflow.problems import Problem
from hadaflow.results import Stats, Status


@dataclass(frozen=True, eq=False)
class GroupLassoPath(Path):
    """Group lassos at falling penalties: leaps of the flow of a group norm, each from zero, at ``time = 1 / penalty``.

    Between two of its times x is known at neither; :meth:`state_at` gives the last that is known.

    Attributes
    ----------
    times : ndarray of shape (K,)
        One over the penalty of each point, ascending.
    x : scipy.sparse.csr_array of shape (K, n)
        The points, one per row, with exact zeros.
    status : Status
        ``STOPPED``, or ``NOT_CONVERGED`` if some point was not found to full accuracy.
    stats : Stats
        Cost; ``stats.events`` counts the points.
    problem : Problem
        The data, with the groups.
    """

    times: NDArray[np.float64]
    x: sp.csr_array
    status: Status
    stats: Stats
    problem: Problem = field(repr=False)

    call = "SparseFlowRegressor"
    clock = "time"
    product_scale: ClassVar[float] = 0.0

    def __repr__(self) -> str:
        points, n = self.x.shape
        return f"GroupLassoPath({points} points of {n} coordinates, {self.status.name})"

    @property
    def end(self) -> Float:
        """x at the smallest penalty, shape (n,)."""
        return self._row(len(self.times) - 1)

    @property
    def last_time(self) -> float:
        """One over that penalty."""
        return float(self.times[-1]) if len(self.times) else 0.0

    @property
    def steps_taken(self) -> int:
        """Points."""
        return self.stats.events

    @property
    def read_outs(self) -> tuple[ReadOut, ...]:
        """What :meth:`reading` can read."""
        return ("average",)

    def state_at(self, time: float, read_out: ReadOut = "average") -> Float:
        """The group lasso at the last known time until this one, shape (n,)."""
        return self._row(self._place(time))

    def dual_at(self, time: float) -> NDArray[np.float64]:
        """``time (y - A x)`` there, shape (m,): where one leap from zero leads."""
        k = self._place(time)
        left = self.problem.y.astype(np.float64)
        if k >= 0:
            left = left - self.problem.operator.matvec(self._row(k).astype(np.float64))
        return np.asarray((time if k < 0 else float(self.times[k])) * left)

    def describe(self) -> str:
        """What kind of path it is, in a few words."""
        return f"group lassos at {len(self.times)} penalties"

    def progress_made(self, asked: str) -> str:
        """How well the end fits compared with what was asked for, in words."""
        return f"{self.relative_residual_in_words(self.end)} (asked for: {asked})"

    def reading(self, read_out: ReadOut = "average", *, until: float = 0.0) -> Reading:
        """Every point; before the first nothing is there."""
        columns: Index = np.unique(self.x.indices[self.x.data != 0]).astype(np.intp)
        if len(columns) == 0:
            return Reading(np.empty(0), columns, np.empty((0, 0)).__getitem__)
        ratio = max(1.1, float(self.times[-1] / self.times[0])) ** MARGIN
        values = np.vstack([np.zeros((1, len(columns))), self.x[:, columns].toarray()])
        return Reading(np.concatenate([[self.times[0] / ratio], self.times]), columns, values.__getitem__)

    def _place(self, time: float) -> int:
        return int(np.searchsorted(self.times, time * (1 + 1e-12), side="right")) - 1

    def _row(self, k: int) -> Float:
        if k < 0:
            return np.zeros(self.x.shape[1], dtype=self.x.dtype)
        return np.asarray(self.x[[k]].toarray().ravel())

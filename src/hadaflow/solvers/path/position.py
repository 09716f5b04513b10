"""A point of the saddle path."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from hadaflow._types import Index, Vector
from hadaflow.units import UnitProblem


@dataclass(frozen=True)
class Position:
    """Where a walk is, in units of the scaled problem; never changed, so that a walk can go back to it.

    Attributes
    ----------
    nu : ndarray of shape (m,)
        Dual state.
    residual : ndarray of shape (m,)
        ``y - A x``, moved along with x rather than taken from the data: as it vanishes, it keeps its digits.
    index, values : ndarrays of shape (k,)
        The active coordinates, and x on them.
    dual, correlation : ndarrays of shape (n,)
        ``A^T nu``, and ``A^T residual``: how fast the former changes.
    tau : float
        Rescaled time.
    """

    nu: Vector
    residual: Vector
    index: Index
    values: Vector
    dual: Vector
    correlation: Vector
    tau: float = 0.0

    def seen(self, dual: Vector, correlation: Vector) -> Position:
        """The same position, with what A was found to make of it."""
        return Position(self.nu, self.residual, self.index, self.values, dual, correlation, self.tau)

    @classmethod
    def origin(cls, unit: UnitProblem) -> Position:
        """x = 0 and nu = 0."""
        m, n = unit.operator.shape
        return cls(np.zeros(m), unit.y, np.empty(0, dtype=np.intp), np.empty(0), np.zeros(n), unit.correlation)

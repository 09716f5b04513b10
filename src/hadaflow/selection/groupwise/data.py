"""A regression in groups, ready to choose from."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from hadaflow._types import Index, Vector


@dataclass(frozen=True, eq=False)
class GroupedData:
    """Columns that are orthonormal within each group, and what they are to explain.

    Attributes
    ----------
    columns : ndarray of shape (m, N)
        Those of a group that nothing is left of are zero.
    target : ndarray of shape (m, L)
        Y.
    labels : int array of shape (N,)
        The group of each column, 0 to G - 1.
    weights : ndarray of shape (G,)
        What the norm of each group counts on the path.
    rows : int
        Degrees of freedom of one column of Y.
    """

    columns: Vector
    target: Vector
    labels: Index
    weights: Vector
    rows: int

    @property
    def targets(self) -> int:
        """L."""
        return int(self.target.shape[1])

    @property
    def count(self) -> int:
        """G."""
        return len(self.weights)

    @property
    def observations(self) -> int:
        """Degrees of freedom of all of Y."""
        return self.rows * self.targets

    def whole(self, places: Index, values: Vector) -> Vector:
        """X of shape (N, L) from its rows that are not zero."""
        x = np.zeros((self.columns.shape[1], self.targets))
        x[places] = values
        return x

"""A read-out of a path, iterate or running average, as rows at the times that show what happens."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hadaflow._types import Index, Vector

BLOCK = 2**22  # entries of x at a time
HELD = 2**25  # entries of averages held at once
MARGIN = 0.05  # fraction of the width, before the first change that can be seen
VISIBLE = 1e-2  # fraction of the final size from which on something is seen


@dataclass(frozen=True, eq=False)
class Reading:
    """One read-out of a path.

    Attributes
    ----------
    times : ndarray of shape (k,)
        Where it is looked at, ascending, all > 0; none if nothing moves.
    columns : ndarray of int, shape (c,)
        The coordinates that the rows hold; the others are zero all the time.
    rows : callable
        The values there, for a slice of the times: an array of shape (., c).
    stepwise : bool
        Whether each row stays as it is until the next time.
    """

    times: Vector
    columns: Index
    rows: Callable[[slice], NDArray[np.floating[Any]]]
    stepwise: bool = False

    def blocks(self) -> Iterator[tuple[slice, Vector]]:
        """All rows in float64, some at a time."""
        step = max(1, BLOCK // max(1, len(self.columns)))
        for i in range(0, len(self.times), step):
            part = slice(i, i + step)
            yield part, self.rows(part).astype(np.float64)

    def peaks(self) -> Vector:
        """Largest size of each column over time, shape (c,)."""
        peaks = np.zeros(len(self.columns))
        for _, block in self.blocks():
            np.maximum(peaks, np.abs(block).max(axis=0), out=peaks)
        return peaks

    def of(self, coordinates: Index) -> Vector:
        """Some coordinates, shape (k, len(coordinates))."""
        values = np.zeros((len(self.times), len(coordinates)))
        known = np.isin(coordinates, self.columns)
        places = np.searchsorted(self.columns, coordinates[known])
        for part, block in self.blocks():
            values[part, known] = block[:, places]
        return values


def first_visible(times: Vector, sizes: Vector, final: float) -> float:
    """A little before the largest entry first has the visible fraction of its final size."""
    if len(times) == 0:
        return 0.0
    first = times[(sizes >= VISIBLE * final).argmax()]
    return float(first * (first / times[-1]) ** MARGIN * (1 - 1e-9))


def thinned(count: int, most: int) -> NDArray[np.intp]:
    """At most so many of ``count`` places, evenly spread, the first and the last among them."""
    return np.unique(np.linspace(0, count - 1, min(count, most)).round().astype(np.intp))

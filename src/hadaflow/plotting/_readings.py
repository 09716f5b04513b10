"""The two read-outs of a path, iterate and running average, as rows at the times that a picture shows."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import scipy.sparse as sp
from numpy.typing import NDArray

from hadaflow._types import Index, Vector
from hadaflow.paths import FlowPath, SaddlePath, Trajectory

Path = SaddlePath | FlowPath | Trajectory
ReadOut = Literal["iterate", "average"]

_BEFORE = 1 - 2.0**-42  # just before a jump, whose time is known up to rounding
_GRID = 300  # times, evenly spread in log-time, at which a flow is looked at
_KNOTS = 300  # steps of its integrator, beside these: nothing sudden falls between them
_AVERAGES = 200  # times at which the average of a flow is looked at; it is smooth, and dear
_AVERAGED = 600  # of a saddle path, which costs little
_HELD = 2**25  # entries of averages held at once
BLOCK = 2**22  # entries of x at a time
_VISIBLE = 1e-2  # share of the final size from which on something is seen
_MARGIN = 0.05  # share of the width before that
_ROOM = 2.0  # least ratio of times before the first jump of a saddle path, and behind its last one


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


def read(path: Path, read_out: ReadOut, *, until: float = 0.0) -> Reading:
    """A read-out of a path from a little before something is seen; a saddle path, which stays, up to ``until``."""
    if isinstance(path, SaddlePath):
        return _saddles(path, read_out, until)
    if isinstance(path, Trajectory):
        return _recording(path, _recorded(path) if read_out == "iterate" else _recorded_average(path))
    columns = np.arange(len(path.x))
    times, rows = snapshots(path)
    if read_out == "iterate" or len(times) == 0:
        return Reading(times, columns, rows)
    most = max(20, min(_AVERAGES, _HELD // len(path.x)))
    times = np.geomspace(times[0], times[-1], most).clip(times[0], times[-1])
    return Reading(times, columns, path.average(times).__getitem__)


def state_at(path: Path, time: float, read_out: ReadOut) -> NDArray[np.floating[Any]]:
    """A read-out at one time, or at the last known snapshot before it."""
    if isinstance(path, Trajectory):
        kept = _recorded(path) if read_out == "iterate" else _recorded_average(path)
        return np.asarray(kept[max(0, int(np.searchsorted(path.history.times, time, side="right")) - 1)])
    until = time if isinstance(path, SaddlePath) else min(time, path.t_end)
    return np.asarray(path(until) if read_out == "iterate" else path.average(until))


def snapshots(path: FlowPath | Trajectory) -> tuple[Vector, Callable[[slice], Any]]:
    """The times to look at, and the iterates there, as rows."""
    if isinstance(path, Trajectory):
        x, kept = _recorded(path), path.history.times > 0
        x = x[kept]
        return path.history.times[kept], lambda part: x[part]
    steps = path.times[(path.times > 0) & (path.times < path.t_end)]
    steps = np.append(steps[thinned(len(steps), _KNOTS)], min(path.t_end, path.times[-1]))
    if steps[-1] == 0:
        return steps[:0], lambda part: path(steps[:0][part])
    parts = np.array_split(steps, -(-len(steps) * len(path.x) // BLOCK))
    first = begin(steps, np.concatenate([np.abs(path(part)).max(axis=1) for part in parts]), path)
    steps = steps[steps > first]
    if _jumps_at_the_end(path):
        steps = np.append(steps, steps[-1] * (steps[-1] / first) ** _MARGIN)
    grid = np.geomspace(first, steps[-1], _GRID).clip(first, steps[-1])
    times = np.unique(np.concatenate([grid, steps, _BEFORE * steps]))  # it may jump there
    return times, lambda part: path(times[part])


def begin(times: Vector, sizes: Vector, path: FlowPath | Trajectory) -> float:
    """A little before the largest entry first has the visible share of its last size."""
    if len(times) == 0:
        return 0.0
    first = times[(sizes >= _VISIBLE * np.abs(path.x).max()).argmax()]
    return float(first * (first / times[-1]) ** _MARGIN * (1 - 1e-9))


def thinned(count: int, most: int) -> NDArray[np.intp]:
    """At most so many of ``count`` places, evenly spread, the first and the last among them."""
    return np.unique(np.linspace(0, count - 1, min(count, most)).round().astype(np.intp))


def _recorded(path: Trajectory) -> NDArray[np.floating[Any]]:
    if path.history.x is None:
        raise ValueError("the trajectory kept no x: run descend with record=hadaflow.Recorder(x=True)")
    return path.history.x


def _recorded_average(path: Trajectory) -> NDArray[np.floating[Any]]:
    if path.history.average is None:
        raise ValueError("the trajectory kept no average: run descend with record=hadaflow.Recorder(average=True)")
    return path.history.average


def _recording(path: Trajectory, rows: NDArray[np.floating[Any]]) -> Reading:
    """What a run kept, from where something is seen."""
    times, x = path.history.times, path.history.x
    sizes = np.array([np.abs(row).max() for row in (rows if x is None else x)])
    first = int(np.searchsorted(times, 0.0, side="right"))
    first += int(np.searchsorted(times[first:], begin(times[first:], sizes[first:], path)))
    return Reading(times[first:], np.arange(len(path.x)), rows[first:].__getitem__)


def _jumps_at_the_end(path: FlowPath) -> bool:
    """Whether the last step is a jump, which needs some room behind it to be seen."""
    if path.t_end < np.inf:
        return False
    jump = np.abs(path.x - path(_BEFORE * path.times[-1])).max()
    return bool(jump > _VISIBLE * np.abs(path.x).max())


def _saddles(path: SaddlePath, read_out: ReadOut, until: float) -> Reading:
    """Every plateau, or the average on a grid and at every jump that there is room for."""
    jumps = path.times[1:]
    columns = np.unique(path.x.indices[path.x.data != 0]).astype(np.intp)
    if len(columns) == 0:
        return Reading(np.empty(0), columns, np.empty((0, 0)).__getitem__, stepwise=True)
    room = max(_ROOM, float(jumps[-1] / jumps[0]) ** _MARGIN)
    first, last = float(jumps[0]) / room, max(float(jumps[-1]) * room, until)
    values = path.x[:, columns]
    if read_out == "iterate":
        times = np.concatenate([[first], jumps, [last]])
        places = np.minimum(np.arange(len(times)), len(jumps))
        return Reading(times, columns, lambda part: values[places[part]].toarray(), stepwise=True)
    most = max(20, min(_AVERAGED, _HELD // len(columns)))
    grid = np.geomspace(first, last, most).clip(first, last)
    times = np.union1d(grid, jumps[thinned(len(jumps), most)])
    return Reading(times, columns, _averages(path.times, values, times).__getitem__)


def _averages(knots: Vector, values: sp.csr_array, times: Vector) -> Vector:
    """Running averages of plateaus, exactly: between two of the times, each plateau for as long as it lasts."""
    edges = np.union1d(knots, times)
    edges = edges[edges <= times[-1]]
    pieces = np.searchsorted(times, edges[1:], side="left"), np.searchsorted(knots, edges[:-1], side="right") - 1
    spans = sp.csr_array((np.diff(edges), pieces), shape=(len(times), len(knots)))
    gained = np.asarray((spans @ values.astype(np.float64)).toarray())
    return np.asarray(np.cumsum(gained, axis=0) / times[:, None])

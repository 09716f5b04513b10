"""What a picture of training shows: some coordinates, the largest of the others, residual and l1 norm over time."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hadaflow._validation import Index, norm
from hadaflow.paths import FlowPath, Trajectory

Vector = NDArray[np.float64]

_GRID = 300  # times, evenly spread in log-time, at which a flow is looked at
_KNOTS = 300  # steps of its integrator, beside these: nothing sudden falls between them
_RESIDUALS = 200  # of these times get a residual, which takes a product each
_BLOCK = 2**22  # entries of x at a time
_VISIBLE = 1e-2  # share of the final size from which on something is seen
_MARGIN = 0.05  # share of the width before that
_NEAR = 0.1  # relative: the window opens when all of the support is as near as that
_SLIVER = 1e-2  # share of the width: a narrower window is none


@dataclass(frozen=True)
class Curves:
    """Everything over flow time that the picture shows."""

    size: int  # n
    index: Index  # the support
    times: Vector  # (k,)
    on: Vector  # (k, s): the support
    off: Vector  # (k,): largest size off it
    l1_norm: Vector  # (k,)
    looks: Vector  # times at which the residual is known
    residual: Vector  # relative, there


def curves_of(path: FlowPath | Trajectory, index: Index) -> Curves:
    """Look at the path at some hundred times, a block at a time."""
    times, rows = _moments(path)
    others = np.ones(len(path.x), dtype=bool)
    others[index] = False
    operator, y = path.problem.operator, path.problem.y.astype(np.float64)
    looks = _thinned(len(times), _RESIDUALS)
    on, off, l1_norm, residual = np.zeros((len(times), len(index))), *(np.zeros(len(times)) for _ in range(3))
    step = max(1, _BLOCK // len(path.x))
    for i in range(0, len(times), step):
        block = rows(slice(i, i + step)).astype(np.float64)
        on[i : i + step] = block[:, index]
        off[i : i + step] = np.abs(block[:, others]).max(axis=1, initial=0.0)
        l1_norm[i : i + step] = np.abs(block).sum(axis=1)
        for k in looks[(looks >= i) & (looks < i + step)]:
            residual[k] = norm(operator.matvec(block[k - i]) - y) / (norm(y) or 1.0)
    first = int(np.searchsorted(times, _begin(times, np.maximum(off, np.abs(on).max(axis=1, initial=0.0)), path)))
    looks = looks[looks >= first]
    return Curves(
        len(path.x), index, times[first:], on[first:], off[first:], l1_norm[first:], times[looks], residual[looks]
    )


def _moments(path: FlowPath | Trajectory) -> tuple[Vector, Callable[[slice], Any]]:
    """The times to look at, and the iterates there, as rows."""
    if isinstance(path, Trajectory):
        history = path.history
        if history.x is None:
            raise ValueError("the trajectory kept no x: run descend with record=hadaflow.Recorder(x=True)")
        kept = history.times > 0
        x = history.x[kept]
        return history.times[kept], lambda part: x[part]
    steps = path.times[(path.times > 0) & (path.times < path.t_end)]
    steps = np.append(steps[_thinned(len(steps), _KNOTS)], min(path.t_end, path.times[-1]))
    if steps[-1] == 0:
        return steps[:0], lambda part: path(steps[:0][part])
    parts = np.array_split(steps, -(-len(steps) * len(path.x) // _BLOCK))
    begin = _begin(steps, np.concatenate([np.abs(path(part)).max(axis=1) for part in parts]), path)
    steps = steps[steps > begin]
    if _jumps_at_the_end(path):
        steps = np.append(steps, steps[-1] * (steps[-1] / begin) ** _MARGIN)
    grid = np.geomspace(begin, steps[-1], _GRID).clip(begin, steps[-1])
    times = np.unique(np.concatenate([grid, steps, np.nextafter(steps, 0.0)]))  # just before: it may jump there
    return times, lambda part: path(times[part])


def _jumps_at_the_end(path: FlowPath) -> bool:
    """Whether the last step is a jump, which needs some room behind it to be seen."""
    if path.t_end < np.inf:
        return False
    jump = np.abs(path.x - path(np.nextafter(path.times[-1], 0.0))).max()
    return bool(jump > _VISIBLE * np.abs(path.x).max())


def _begin(times: Vector, sizes: Vector, path: FlowPath | Trajectory) -> float:
    """A little before the largest entry first has the visible share of its last size."""
    if len(times) == 0:
        return 0.0
    first = times[(sizes >= _VISIBLE * np.abs(path.x).max()).argmax()]
    return float(first * (first / times[-1]) ** _MARGIN * (1 - 1e-9))


def window_of(curves: Curves, level: float | None, target: NDArray[Any]) -> tuple[float, float] | None:
    """From when all of the support is near the target (one row) to when one of the others passes the level."""
    sizes = np.abs(target[target != 0])
    if len(curves.times) == 0 or len(sizes) == 0:
        return None
    level = _NEAR * float(sizes.min()) if level is None else level
    near = (np.abs(curves.on - target) <= _NEAR * np.abs(target))[:, target[0] != 0].all(axis=1)
    start = int(near.argmax())
    passed = curves.off[start:] > level
    end = start + int(passed.argmax()) if passed.any() else len(passed) + start - 1
    first, last = float(curves.times[start]), float(curves.times[end])
    wide = np.log(last / first) > _SLIVER * np.log(curves.times[-1] / curves.times[0])
    return (first, last) if near.any() and wide else None


def _thinned(count: int, most: int) -> NDArray[np.intp]:
    """At most so many of ``count`` places, evenly spread, the first and the last among them."""
    return np.unique(np.linspace(0, count - 1, min(count, most)).round().astype(np.intp))

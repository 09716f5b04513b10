"""What a picture of training shows: some coordinates, the largest of the others, residual and l1 norm over time."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hadaflow._types import Index, Vector
from hadaflow._validation import norm
from hadaflow.paths import PathFromStart
from hadaflow.paths.reading import first_visible, thinned

_RESIDUALS = 200  # of the times get a residual, which takes a product each
_NEAR = 0.1  # relative: the window opens when all of the support is as near as that
_SLIVER = 1e-2  # fraction of the width: a narrower window is none


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
    residual: Vector  # relative, there; dF/dp for another loss than the squared one


def curves_of(path: PathFromStart, index: Index) -> Curves:
    """Look at the path at some hundred times, a block at a time."""
    reading = path.reading()
    times = reading.times
    others = np.ones(len(path.x), dtype=bool)
    others[index] = False
    problem, y = path.problem, path.problem.y.astype(np.float64)
    whole = norm(problem.negative_gradient_at_zero) or 1.0
    looks = thinned(len(times), _RESIDUALS)
    on, off, l1_norm, residual = np.zeros((len(times), len(index))), *(np.zeros(len(times)) for _ in range(3))
    for part, block in reading.blocks():
        on[part] = block[:, index]
        off[part] = np.abs(block[:, others]).max(axis=1, initial=0.0)
        l1_norm[part] = np.abs(block).sum(axis=1)
        for k in looks[(looks >= part.start) & (looks < part.stop)]:
            residual[k] = norm(problem.loss.gradient(problem.operator.matvec(block[k - part.start]), y)) / whole
    sizes = np.maximum(off, np.abs(on).max(axis=1, initial=0.0))
    first = int(np.searchsorted(times, first_visible(times, sizes, float(np.abs(path.x).max()))))
    looks = looks[looks >= first]
    return Curves(
        len(path.x), index, times[first:], on[first:], off[first:], l1_norm[first:], times[looks], residual[looks]
    )


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

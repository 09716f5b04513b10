"""A path at given times, on all data or on some: the same questions for the saddle path and for training."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from hadaflow._types import Index, Vector
from hadaflow.convergence import quietly
from hadaflow.dynamics.saddles import saddles
from hadaflow.estimators._readings import Path
from hadaflow.paths import SaddlePath
from hadaflow.problems import Problem
from hadaflow.results import ProgressCallback, Status

_ROOM = 32  # jumps beyond those expected
_BEYOND = 30.0  # times the last jump: the running average goes on towards the end of the path


@dataclass(frozen=True, eq=False)
class Horizon:
    """The times of a path, on all data, that are worth comparing.

    Attributes
    ----------
    first, last : float
        Time at which the first feature comes in; where it has been followed far enough.
    ended : bool
        Whether nothing new comes after ``last``.
    steps : int
        Jumps or steps until then.
    path : SaddlePath, FlowPath or Trajectory
        The path, of the kind that its follower follows.
    lost : bool
        Whether rounding ended it: what columns that are close to the span of others would add is not on it.
    """

    first: float
    last: float
    ended: bool
    steps: int
    path: Any
    lost: bool = False

    def grid(self, count: int) -> Vector:
        """Times evenly spread in log-time; at the first nothing has come in yet."""
        return np.geomspace(self.first * (1 - 1e-3), self.last, count)


@dataclass(frozen=True, eq=False)
class Points:
    """A path at T times, on the v coordinates that are not zero at all of them.

    Attributes
    ----------
    columns : ndarray of int, shape (v,)
        These coordinates.
    iterates, averages : ndarray of shape (T, v)
        Iterate and running average.
    reached : ndarray of bool, shape (T,)
        Whether the path got as far; where it did not, its last point stands in.
    """

    columns: Index
    iterates: Vector
    averages: Vector
    reached: NDArray[np.bool_]

    def mixed(self, k: int, share: float, n: int) -> Vector:
        """``share`` of the iterate and the rest of the average at the k-th time, shape (n,)."""
        x = np.zeros(n)
        x[self.columns] = share * self.iterates[k] + (1 - share) * self.averages[k]
        return x


class Surveying(Protocol):
    """What is followed on all data."""

    def survey(self, problem: Any, most: int | None, progress: ProgressCallback | None) -> Horizon:
        """Follow the path until ``most`` coordinates are active; None for its end."""
        ...


class Follower(Surveying, Protocol):
    """What is followed, with everything that all data and parts of them have in common."""

    def points(self, problem: Problem, part: float, times: Vector, steps: int, *, averaged: bool) -> Points:
        """The path on a part of the rows, at increasing times of all data; it is expected to take ``steps`` steps."""
        ...

    def arrive(self, problem: Problem, horizon: Horizon, time: float) -> tuple[Path, Points, Vector]:
        """The path on all data, and x and the dual state at one time of it."""
        ...


@dataclass(frozen=True, eq=False)
class Saddles:
    """The saddle path.

    Attributes
    ----------
    weights : ndarray of shape (n,)
        Bounds of the dual coordinates on all data.
    squares : ndarray of shape (n,)
        Square lengths of the columns on all data.
    positive : bool
        Whether x must not be negative.
    """

    weights: Vector
    squares: Vector
    positive: bool

    def survey(self, problem: Problem, most: int | None, progress: ProgressCallback | None) -> Horizon:
        events = None if most is None else _ROOM + 3 * most // 2
        path = self._path(problem, events, progress)
        while most is not None and events is not None and _broken(path, events) and _active(path).max() < most:
            events *= 2
            path = self._path(problem, events, progress)
        first = float(path.times[1]) if len(path.times) > 1 else 1.0
        crowded = np.flatnonzero(_active(path) >= (np.inf if most is None else most))
        if len(crowded):
            k = int(crowded[0])
            return Horizon(first, float(path.times[k]), False, k, path)
        ended = path.status is not Status.NOT_CONVERGED
        last = max(first, float(path.times[-1])) * (_BEYOND if ended else 1.0)
        return Horizon(first, last, ended, path.stats.events, path, lost=not ended)

    def points(self, problem: Problem, part: float, times: Vector, steps: int, *, averaged: bool) -> Points:
        # The pull of a feature grows with what the rows show of it. So does its bound, lest it come in earlier than on
        # all data where all of it is there, and at the same time where as much is missing of it as of the rows.
        own = problem.operator.column_squares()
        shown = np.divide(own, self.squares, out=np.zeros_like(own), where=self.squares > 0)
        follower = replace(self, weights=self.weights * np.maximum(shown, part))
        events = _ROOM + 5 * steps // 4
        path = follower._path(problem, events)
        while _broken(path, events) and path.times[-1] < times[-1]:
            events *= 2
            path = follower._path(problem, events)
        return on_plateaus(path, times)

    def arrive(self, problem: Problem, horizon: Horizon, time: float) -> tuple[Path, Points, Vector]:
        path: SaddlePath = horizon.path
        return path, on_plateaus(path, np.array([time])), path.dual_at(time)

    def _path(self, problem: Problem, events: int | None, progress: ProgressCallback | None = None) -> SaddlePath:
        return quietly(
            saddles, problem, weights=self.weights, positive=self.positive, max_events=events, progress=progress
        )


def _broken(path: SaddlePath, events: int) -> bool:
    """Whether the path goes on where its jumps were used up."""
    return path.status is Status.NOT_CONVERGED and path.stats.events >= events


def _active(path: SaddlePath) -> Index:
    return np.asarray(np.diff(path.x.indptr), dtype=np.intp)


def on_plateaus(path: SaddlePath, times: Vector) -> Points:
    """A saddle path at T times: of x only the visited coordinates are ever made dense."""
    columns = np.unique(path.x.indices).astype(np.intp)
    plateaus = path.x[:, columns].astype(np.float64)
    k = np.searchsorted(path.times, times, side="right") - 1
    ends = np.append(path.times[1:], np.inf)
    lasted = np.clip(times[:, None] - path.times, 0.0, ends - path.times)
    averages = np.asarray(lasted @ plateaus) / times[:, None]
    reached = np.full(len(times), True)
    if path.status is Status.NOT_CONVERGED:
        reached = times <= path.times[-1]
    return Points(columns, plateaus[k].toarray(), averages, reached)

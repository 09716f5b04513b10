"""A path at given times, on all data or on some: the same three questions for saddles, flow and descent."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import Any, Protocol, Self

import numpy as np
from numpy.typing import NDArray

from hadaflow import stopping
from hadaflow._types import Index, Vector
from hadaflow._validation import norm
from hadaflow.convergence import quietly
from hadaflow.dynamics.descent import descend
from hadaflow.dynamics.flow import flow
from hadaflow.dynamics.saddles import saddles
from hadaflow.estimators._readings import Path
from hadaflow.estimators._starts import typical_size, weighted_start
from hadaflow.models import HadamardPower
from hadaflow.paths import FlowPath, SaddlePath, Trajectory
from hadaflow.problems import Problem
from hadaflow.recording import Recorder
from hadaflow.results import ProgressCallback, Status
from hadaflow.snapshots import Snapshot

_ROOM = 32  # jumps beyond those expected
_BEYOND = 30.0  # times the last jump: the running average goes on towards the end of the path
_LONGER = 10.0  # times the end of training on all data: on parts of them it takes longer
_VISIBLE = 1e-2  # of what a feature alone would get: where the first grows, training has begun
_LEFT = 1e-4  # of what the end of the path explains, may be left when training counts as ended
_LITTLE = 1e-6  # of x at the start: so little growth is linear in time
_FOREVER = 1e9  # times the beginning of training
_ACCURACY = 1e-4  # of the flow on a fold: far below the noise that errors on left-out rows have
_MOST_STEPS = 50_000  # of descent on all data
_FEW_STEPS = 1000  # of descent on a fold, where all data need hardly any
_STILL = 1e-12  # pulls below this, relative to what y could exert, are rounding


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


class Follower(Protocol):
    """What is followed, with everything that all data and parts of them have in common."""

    def survey(self, problem: Problem, most: int | None, progress: ProgressCallback | None) -> Horizon:
        """Follow the path until ``most`` coordinates are active; None for its end."""
        ...

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


@dataclass(frozen=True)
class _TrainingSettled(stopping.Rule):
    """Relative residual within a level, and flow time ``factor`` times what it was then."""

    level: float
    factor: float
    instant = False

    def watch(self, problem: Problem) -> stopping.Watch:
        since = math.inf

        def look(snapshot: Snapshot) -> stopping.Verdict | None:
            nonlocal since
            if snapshot.relative_residual <= self.level:
                since = min(since, snapshot.time)
            if snapshot.time < self.factor * since:
                return None
            return stopping.Verdict(f"relative residual {snapshot.relative_residual:.3g} is within {self.level:.3g}")

        return look


@dataclass(frozen=True, eq=False)
class Training:
    """Training from a small start.

    Attributes
    ----------
    model : HadamardPower
        The model.
    init_scale : float
        Start that a feature of mean weight has.
    start : ndarray of shape (n,)
        Start of every coordinate.
    weights : ndarray of shape (n,)
        What it is to count.
    """

    model: HadamardPower
    init_scale: float
    start: Vector
    weights: Vector

    @classmethod
    def of(cls, problem: Problem, weights: Vector, positive: bool, depth: float, init_scale: float | None) -> Self:
        """As :class:`hadaflow.estimators.SparseFlowRegressor` starts on all data."""
        size = typical_size(problem, problem.operator.column_squares())
        start = weighted_start(depth, init_scale, weights, size)
        common = float(weighted_start(depth, init_scale, np.ones(1), size)[0])
        return cls(HadamardPower(depth, "positive" if positive else "both"), common, start, weights)

    def survey(self, problem: Problem, most: int | None, progress: ProgressCallback | None) -> Horizon:
        """As far as the saddle path has to go: to where it explains as much."""
        scout = Saddles(self.weights, problem.operator.column_squares(), not self.model.signed).survey(
            problem, most, progress
        )
        first = self._begins(problem)
        if first is None:  # nothing ever moves
            path = self._run(problem, _LONGER, None, progress)
            return Horizon(1.0, _LONGER, True, path.steps_taken, path)
        fitted = problem.operator.matvec(scout.path(scout.last).astype(np.float64))
        left = min(1.0, norm(fitted - problem.y) / norm(problem.y))
        level = math.sqrt(left**2 + _LEFT * (1 - left**2))
        goal = _TrainingSettled(level, _LONGER if scout.ended else 1.0)
        path = self._run(problem, _FOREVER * first, goal, progress)
        last = self._settled(path, goal)
        return Horizon(min(first, last / 2), last, scout.ended and path.status.ok, path.steps_taken, path)

    def _begins(self, problem: Problem) -> float | None:
        """When the first coordinate, moving by itself, becomes visible; None if all that pulls is rounding."""
        y = problem.y.astype(np.float64)
        pull, squares = problem.operator.rmatvec(y), problem.operator.column_squares()
        pull = np.abs(pull) if self.model.signed else np.maximum(pull, 0.0)
        moving = pull > _STILL * norm(y) * math.sqrt(float(squares.max()))
        if not moving.any():
            return None
        pull, start = pull[moving], self.start[moving]
        visible = _VISIBLE * pull / squares[moving]
        theta = visible / self.model.slope(np.zeros_like(start), start)  # exact where that is little beside the start
        rest = np.zeros_like(start) if self.model.signed else start**self.model.depth
        large = visible > _LITTLE * rest
        theta[large] = self.model.inverse((rest + visible)[large], start[large])
        return float((theta / pull).min())

    def _run(
        self, problem: Problem, until: float, goal: stopping.Rule | None, progress: ProgressCallback | None
    ) -> FlowPath | Trajectory:
        """To a time, or to a goal if that comes first."""
        raise NotImplementedError

    def _settled(self, path: Any, goal: _TrainingSettled) -> float:
        """The time at which the goal was met, wherever steps fall; or where the path ends."""
        raise NotImplementedError


@dataclass(frozen=True, eq=False)
class Flow(Training):
    """Gradient flow."""

    def points(self, problem: Problem, part: float, times: Vector, steps: int, *, averaged: bool) -> Points:
        times = times / part
        return self._at(self._flow(problem, float(times[-1]), tolerance=_ACCURACY), times, averaged)

    def arrive(self, problem: Problem, horizon: Horizon, time: float) -> tuple[Path, Points, Vector]:
        path: FlowPath = horizon.path
        return path, self._at(path, np.array([time]), True), path.dual(time)

    def _at(self, path: FlowPath, times: Vector, averaged: bool) -> Points:
        known = np.minimum(times, path.t_end)
        iterates = path(known).astype(np.float64)
        averages = path.average(known) if averaged else iterates
        return _cleared(iterates, averages, times <= path.t_end, path.product_scale)

    def _run(
        self, problem: Problem, until: float, goal: stopping.Rule | None, progress: ProgressCallback | None
    ) -> FlowPath:
        return self._flow(problem, until, stop=goal, progress=progress)

    def _settled(self, path: FlowPath, goal: _TrainingSettled) -> float:
        return min(path.t_end, goal.factor * path.first(lambda snapshot: snapshot.relative_residual <= goal.level))

    def _flow(self, problem: Problem, until: float, **options: Any) -> FlowPath:
        quiet = Recorder(metrics=())
        return quietly(flow, problem, self.model, init_scale=self.start, t_end=until, record=quiet, **options)


@dataclass(frozen=True, eq=False)
class Descent(Training):
    """Gradient descent; x at a time is that of the first step at or after it."""

    def points(self, problem: Problem, part: float, times: Vector, steps: int, *, averaged: bool) -> Points:
        times = times / part
        stop = stopping.MaxTime(float(times[-1])) | stopping.MaxSteps(4 * steps + _FEW_STEPS)
        return self._at(
            quietly(descend, problem, self.model, init_scale=self.start, stop=stop, record=_both(times)), times
        )

    def arrive(self, problem: Problem, horizon: Horizon, time: float) -> tuple[Path, Points, Vector]:
        times = np.array([time])
        stop = stopping.MaxTime(time) | stopping.MaxSteps(_MOST_STEPS)
        path = quietly(descend, problem, self.model, init_scale=self.start, stop=stop, record=_both(times))
        return path, self._at(path, times), path.dual

    def _at(self, path: Trajectory, times: Vector) -> Points:
        kept = path.history
        assert kept.x is not None
        assert kept.average is not None
        k = np.searchsorted(kept.times, times)
        reached = (k < len(kept)) | path.status.ok
        k = np.minimum(k, len(kept) - 1)
        iterates, averages = kept.x[k].astype(np.float64), kept.average[k].astype(np.float64)
        # Beyond the end of a run that has come to rest, the average goes on towards it.
        passed = np.minimum(kept.times[k] / times, 1.0)[:, None]
        return _cleared(iterates, passed * averages + (1 - passed) * iterates, reached, path.product_scale)

    def _run(
        self, problem: Problem, until: float, goal: stopping.Rule | None, progress: ProgressCallback | None
    ) -> Trajectory:
        stop = stopping.MaxTime(until) | stopping.MaxSteps(_MOST_STEPS)
        stop = stop if goal is None else stop | goal
        record = Recorder(metrics=["residual"])
        return quietly(descend, problem, self.model, init_scale=self.start, stop=stop, record=record, progress=progress)

    def _settled(self, path: Trajectory, goal: _TrainingSettled) -> float:
        met = np.flatnonzero(path.history["residual"] <= goal.level)
        # A run that has come to rest ends before the goal: nothing changes any more until then.
        return goal.factor * float(path.history.times[met[0]]) if len(met) and path.status.ok else path.time


def _both(times: Vector) -> Recorder:
    """Iterate and average at these times."""
    return Recorder(times=times, x=True, average=True, metrics=())


def _cleared(iterates: Vector, averages: Vector, reached: NDArray[np.bool_], product_scale: float) -> Points:
    """With exact zeros where an entry is not told from the start, by the rule of ``support()``."""
    kept = []
    for rows in (iterates, averages):
        size = np.abs(rows)
        kept.append(np.where(size > np.sqrt(product_scale * size.max(axis=1, keepdims=True)), rows, 0.0))
    columns = np.flatnonzero((kept[0] != 0).any(axis=0) | (kept[1] != 0).any(axis=0))
    return Points(columns, kept[0][:, columns], kept[1][:, columns], reached)

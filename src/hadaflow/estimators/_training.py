"""Following training from a start: by its flow, or step by step."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from hadaflow import stopping
from hadaflow._types import Vector
from hadaflow._validation import norm
from hadaflow.convergence import quietly
from hadaflow.dynamics.descent import descend
from hadaflow.dynamics.flow import flow
from hadaflow.estimators._following import Horizon, Points, Saddles
from hadaflow.estimators._readings import Path
from hadaflow.estimators._starts import typical_size, weighted_start
from hadaflow.models import HadamardPower
from hadaflow.paths import FlowPath, Trajectory
from hadaflow.problems import Problem
from hadaflow.recording import Recorder
from hadaflow.results import ProgressCallback
from hadaflow.snapshots import Snapshot

_LONGER = 10.0  # times the end of training on all data: on parts of them it takes longer
_VISIBLE = 1e-2  # of what a feature alone would get: where the first grows, training has begun
_UNEXPLAINED = 1e-4  # of what the end of the path explains, may remain when training counts as ended
_LITTLE = 1e-6  # of x at the start: so little growth is linear in time
_FOREVER = 1e9  # times the beginning of training
_ACCURACY = 1e-4  # of the flow on a fold: far below the noise that errors on left-out rows have
_MOST_STEPS = 50_000  # of descent on all data
_FEW_STEPS = 1000  # of descent on a fold, where all data need hardly any
_STILL = 1e-12  # negative gradients below this, relative to what y could make, are rounding


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
        level = math.sqrt(left**2 + _UNEXPLAINED * (1 - left**2))
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

"""The loop behind gradient descent: one set of arrays for all runs, one book of accounts for each."""

from __future__ import annotations

import math
import time
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hadaflow.models import Factors
from hadaflow.paths import Trajectory
from hadaflow.recording import RecordBuffer
from hadaflow.results import Progress, ProgressCallback, Stats, Status
from hadaflow.snapshots import Setting, Snapshot
from hadaflow.solvers.descent.state import State, Sums, Sweeps, dots
from hadaflow.steps import Stepper, StepRule
from hadaflow.stopping import Rule, Verdict, Watch

Array = NDArray[np.floating[Any]]

_DIVERGED = 1e6  # times the residual of the start
_MOST_REFUSED = 1200  # steps in a row: halved so often, any step is zero
_REST_EVERY = 64  # steps between two looks whether anything still moves
_REPORT_EVERY = 0.1  # seconds


@dataclass
class Run:
    """The accounts of one run."""

    setting: Setting
    stepper: Stepper
    stop: Rule
    watch: Watch
    buffer: RecordBuffer
    began: float
    rule: StepRule
    scaling: float = 1.0
    step: int = 0
    time: float = 0.0
    passes: float = 0.0
    start_loss: float = 0.0
    start_gradient: float = 0.0
    last_loss: float = np.inf
    refused: int = 0  # steps in a row

    def stalls(self, loss: float, gradients: Array, j: int) -> bool:
        """Whether the loss has not fallen since the last look, and cannot: the gradient has all but vanished."""
        before, self.last_loss = self.last_loss, loss
        fraction = _REST_EVERY * float(np.finfo(self.setting.problem.dtype).eps)
        if loss < before * (1 - math.copysign(fraction, before)):
            return False
        gradient = gradients if gradients.ndim == 1 else gradients[j]
        return float(np.abs(gradient).max(initial=0.0)) <= 1e-6 * self.start_gradient

    def judge(self, snapshot: StepSnapshot) -> Verdict | None:
        """Record the snapshot, and say whether the run is over."""
        if self.buffer.wants(self.step, self.time):
            self.buffer.keep(snapshot)
        return self.watch(snapshot)

    def at_rest(self, snapshot: Snapshot) -> tuple[Status, str]:
        """What it means that nothing changes any more."""
        reason = f"nothing changes any more in {self.setting.problem.dtype}, at relative residual"
        reason = f"{reason} {snapshot.relative_residual:.2g}"
        if snapshot.relative_residual <= 1e-6:
            return Status.STOPPED, reason
        layout = self.setting.problem.layout
        size, gradient = np.abs(layout.real_x(snapshot.x)), layout.real_x(snapshot.gradient)
        at_zero = size <= 1e-6 * size.max(initial=0.0)
        as_far_as_can_be = at_zero & ~self.setting.gauge.opens(-gradient.astype(np.float64, copy=False))
        if np.abs(gradient[~as_far_as_can_be]).max(initial=0.0) <= 1e-6 * self.start_gradient:
            if not self.setting.problem.squared:
                return Status.STOPPED, f"{reason}: the gradient has vanished"
            return Status.LEAST_SQUARES, reason
        return Status.NOT_CONVERGED, f"{reason}: steps are lost in rounding"

    def finish(self, snapshot: StepSnapshot, status: Status, reason: str) -> Trajectory:
        """The result, at ``snapshot``."""
        setting, factors = self.setting, snapshot.factors
        problem = setting.problem
        self.buffer.keep(snapshot)
        stats = Stats(time.perf_counter() - self.began, self.passes, 0, 0, "descend", ("descend",))
        return Trajectory(
            np.array(snapshot.x),
            np.array(snapshot.average),
            np.array(snapshot.dual),
            status,
            reason,
            snapshot.step,
            snapshot.time,
            snapshot.penalty,
            self.buffer.history(),
            stats,
            problem,
            setting.model,
            setting.product_scale,
            Factors(np.array(factors.u), None if factors.v is None else np.array(factors.v)),
            setting.init_scale,
        )


class StepSnapshot(Snapshot):
    """A step of a run as a snapshot; what is not asked for is not computed."""

    setting: Setting
    step: int
    time: float
    x: Array
    residual: Array
    loss: float
    gradient: Array
    dual: Array
    theta: Array

    def __init__(self, run: Run, state: State, sums: Sums, j: int | None) -> None:
        self.setting, self.step, self.time, self._began = run.setting, run.step, run.time, run.began

        def pick(array: Array) -> Array:
            view = array[:] if j is None else array[:, j]
            view.flags.writeable = False  # a rule that wrote to it would change the run
            return view

        layout = run.setting.problem.layout
        self.x, self.gradient, self.theta = (layout.x(pick(each)) for each in (state.x, state.gradient, sums.theta))
        self.residual, self.dual = layout.y(pick(state.residual)), layout.y(pick(sums.dual))
        self.loss = float(state.loss if j is None else state.loss[j]) / run.scaling
        self._sum = pick(sums.x)
        v = state.factors.v
        self.factors = Factors(pick(state.factors.u), None if v is None else pick(v))

    @property
    def seconds(self) -> float:
        return time.perf_counter() - self._began

    @property
    def average(self) -> Array:
        if self.time <= 0:
            return self.x
        return self.setting.problem.layout.x(self._sum / self._sum.dtype.type(self.time))


def follow(
    runs: list[Run],
    factors: Factors,
    sweeps: Sweeps,
    *,
    single: bool,
    progress: ProgressCallback | None,
    sums: Sums | None = None,
) -> list[Trajectory]:
    """Step until every run has stopped; ``sums`` are those of the steps before, where a run is resumed.

    A rejected step leaves its run where it was; the next try is shorter. Ctrl-C ends all runs at their last step.
    """
    loop = _Loop(runs, sweeps, single, progress)
    with np.errstate(over="ignore", invalid="ignore", under="ignore", divide="ignore"):
        return loop.go(factors, sums)


class _Loop:
    def __init__(self, runs: list[Run], sweeps: Sweeps, single: bool, progress: ProgressCallback | None) -> None:
        self.runs, self.sweeps, self.single, self.progress = runs, sweeps, single, progress
        self.model = runs[0].setting.model
        self.places = list(range(len(runs)))  # of the runs still going, in the order of the results
        self.results: list[Trajectory | None] = [None] * len(runs)
        self.reported = time.perf_counter()
        self._passes = sweeps.passes if single else 2.0  # blocks take two products

    def go(self, factors: Factors, sums: Sums | None) -> list[Trajectory]:
        state = self.sweeps.at(self.model, factors)
        sums = Sums.zero(state) if sums is None else sums
        for j, run in enumerate(self.runs):
            run.passes += 1 + self._passes  # A^T y, and the start
            size = run.setting.size_y
            run.start_gradient = max(run.start_gradient, float(np.abs(self._of(state.gradient.T, j)).max(initial=0.0)))
            run.start_loss = max(abs(float(self._of(state.loss, j))), 0.5 * self.sweeps.scaling * size * size)
            if not (np.isfinite(run.start_loss) and np.isfinite(run.start_gradient)):
                raise ValueError(
                    f"loss or gradient at the start overflow in {run.setting.problem.dtype}: "
                    f"take a smaller init_scale, or smaller units for A and y"
                )
        fresh = [True] * len(self.runs)
        turn = 0
        last = self._consistent(state, sums)
        try:
            while True:
                last = self._consistent(state, sums)
                state, sums = self._judged(state, sums, fresh)
                if not self.places:
                    break
                turn += 1
                state, sums, fresh = self._stepped(state, sums, look_for_rest=turn % _REST_EVERY == 0)
        except KeyboardInterrupt:  # anywhere, even in the middle of a step
            places, state, sums, clocks = last
            for j, place in enumerate(places):
                if self.results[place] is not None:  # it was over in this very step
                    continue
                self.runs[place].step, self.runs[place].time = clocks[place]
                point = StepSnapshot(self.runs[place], state, sums, self._column(j))
                self.results[place] = self.runs[place].finish(point, Status.INTERRUPTED, "interrupted by the user")
        return [result for result in self.results if result is not None]

    def _consistent(self, state: State, sums: Sums) -> tuple[list[int], State, Sums, list[tuple[int, float]]]:
        """What belongs together, in one object."""
        return self.places, state, sums, [(run.step, run.time) for run in self.runs]

    def _judged(self, state: State, sums: Sums, fresh: list[bool]) -> tuple[State, Sums]:
        """Let every run look at its new snapshot; those that are over leave."""
        over = []
        for j, place in enumerate(self.places):
            if not fresh[j]:
                continue
            run = self.runs[place]
            point = StepSnapshot(run, state, sums, self._column(j))
            verdict = run.judge(point)
            if verdict is not None:
                failed = verdict.budget and not run.stop.budget
                status = Status.NOT_CONVERGED if failed else Status.STOPPED
                choice = verdict.choice if isinstance(verdict.choice, StepSnapshot) else point
                self._end(j, run.finish(choice, status, verdict.reason))
                over.append(j)
        self._report(state)
        return self._without(over, state, sums)

    def _stepped(self, state: State, sums: Sums, look_for_rest: bool) -> tuple[State, Sums, list[bool]]:
        """One step of every run that goes on."""
        gradient = self.model.pull_back(state.factors, self.sweeps.scaling * state.gradient)
        lengths = [
            run_length(self.runs[place], state, gradient, self._column(j)) for j, place in enumerate(self.places)
        ]
        length = lengths[0] if self.single else np.stack(np.broadcast_arrays(*lengths), axis=-1)
        length = np.asarray(length, dtype=state.x.dtype)
        u = state.factors.u - length * gradient.u
        v = None if state.factors.v is None else state.factors.v - length * gradient.v
        new = self.sweeps.at(self.model, Factors(u, v))
        spans = [(each if isinstance(each, float) else float(np.min(each))) * self.sweeps.scaling for each in lengths]
        adaptive = any(self.runs[place].stepper.adaptive for place in self.places)
        slopes = self._slopes(gradient, length) if adaptive else 0 * state.loss
        fresh, over = [], []
        for j, place in enumerate(self.places):
            run = self.runs[place]
            run.passes += self._passes
            slope, after = float(self._of(slopes, j)), float(self._of(new.loss, j))
            accepted = not run.stepper.adaptive or run.stepper.accept(float(self._of(state.loss, j)), after, slope)
            ended = self._ending(run, j, state, sums, new, accepted, look_for_rest)
            if ended is not None:
                self._end(j, run.finish(StepSnapshot(run, state, sums, self._column(j)), *ended))
                over.append(j)
            elif accepted:
                run.step += 1
                run.time += spans[j]
            if not accepted:
                spans[j] = 0.0
                if self.single:
                    new = state
                else:
                    new.put_back(state, j)
            fresh.append(accepted)
        sums = sums.plus(state, spans[0] if self.single else np.array(spans))
        state, sums = self._without(over, new, sums)
        return state, sums, [value for j, value in enumerate(fresh) if j not in over]

    def _ending(
        self, run: Run, j: int, state: State, sums: Sums, new: State, accepted: bool, look_for_rest: bool
    ) -> tuple[Status, str] | None:
        """Whether the step from ``state`` to ``new`` ends run j by itself, and how."""
        run.refused = 0 if accepted else run.refused + 1
        if run.refused > _MOST_REFUSED:
            return (
                Status.NOT_CONVERGED,
                f"no step is short enough for {run.rule}: the numbers leave the range of doubles",
            )
        if not accepted:
            return None
        after = float(self._of(new.loss, j))
        if not after <= _DIVERGED**2 * run.start_loss:  # or NaN
            return Status.DIVERGED, _hint(run)
        if look_for_rest and (self._rests(state.factors, new.factors, j) or run.stalls(after, new.gradient.T, j)):
            return run.at_rest(StepSnapshot(run, state, sums, self._column(j)))
        return None

    def _slopes(self, gradient: Factors, length: Array) -> Any:
        slope = dots(gradient.u, length * gradient.u)
        return slope if gradient.v is None else slope + dots(gradient.v, length * gradient.v)

    def _rests(self, old: Factors, new: Factors, j: int) -> bool:
        def pick(array: Any) -> Any:
            return array if self.single else array[:, j]

        same = np.array_equal(pick(old.u), pick(new.u))
        return same and (old.v is None or np.array_equal(pick(old.v), pick(new.v)))

    def _without(self, over: list[int], state: State, sums: Sums) -> tuple[State, Sums]:
        if not over:
            return state, sums
        kept = [j for j in range(len(self.places)) if j not in over]
        self.places = [self.places[j] for j in kept]
        if self.single or not kept:
            return state, sums
        self.sweeps = self.sweeps.only(kept)
        return state.only(kept), sums.only(kept)

    def _end(self, j: int, result: Trajectory) -> None:
        self.results[self.places[j]] = result

    def _column(self, j: int) -> int | None:
        return None if self.single else j

    def _of(self, values: Any, j: int) -> Any:
        return values if self.single else values[j]

    def _report(self, state: State) -> None:
        if self.progress is None or not self.places:
            return
        now = time.perf_counter()
        if now - self.reported < _REPORT_EVERY:
            return
        self.reported = now
        run = self.runs[self.places[0]]
        residual = float(np.max(dots(state.residual, state.residual))) ** 0.5 / (run.setting.size_y or 1.0)
        others = f", {len(self.places)} runs" if len(self.places) > 1 else ""
        self.progress(
            Progress("descend", None, f"step {run.step}, time {run.time:.3g}, residual {residual:.2e}{others}")
        )


def run_length(run: Run, state: State, gradient: Factors, j: int | None) -> Any:
    """The next step of one run."""
    if j is None:
        return run.stepper.size(state.factors, gradient)
    own = Factors(state.factors.u[:, j], None if state.factors.v is None else state.factors.v[:, j])
    return run.stepper.size(own, Factors(gradient.u[:, j], None if gradient.v is None else gradient.v[:, j]))


def _hint(run: Run) -> str:
    return f'the residual grew without bound with {run.rule}: take step="auto", or a shorter step'

"""What all ways to follow a flow share: what was asked for, what is seen on the way, and the path that comes out."""

from __future__ import annotations

import math
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Protocol

import numpy as np

from hadaflow._types import Float, Vector
from hadaflow.paths import FlowPath
from hadaflow.recording import RecordBuffer, Recorder
from hadaflow.results import Progress, ProgressCallback, Stats, Status
from hadaflow.snapshots import Curve, PathSnapshot, Snapshot, bisect
from hadaflow.solvers.flow.field import Field
from hadaflow.stopping import Rule, Watch

FOREVER = 1e300  # flow time
_REPORT_EVERY = 0.1  # seconds


@dataclass(frozen=True)
class Request:
    """The checked arguments of :func:`hadaflow.flow`."""

    t_end: float
    tolerance: float
    max_steps: int
    stop: Rule | None
    record: Recorder
    progress: ProgressCallback | None
    began: float = field(default_factory=time.perf_counter)


@dataclass(frozen=True)
class Ending:
    """Where and why a path ends; the real x there, if it is not on the curve."""

    time: float
    status: Status
    reason: str
    x: Float | None = None


class GrowingCurve(Curve, Protocol):
    """A curve that takes more memory with each step."""

    @property
    def nbytes(self) -> int:
        """Memory that it takes."""
        ...


class FlowRun:
    """One call of :func:`hadaflow.flow`: it records, asks the stopping rule, reports, and keeps to the budget."""

    def __init__(self, field: Field, request: Request) -> None:
        self.field, self.request = field, request
        self._reported = request.began
        self._buffer = RecordBuffer(request.record, field.problem)
        self._watch: Watch | None = None if request.stop is None else request.stop.watch(field.counted)

    def look(self, curve: Curve, before: float, now: float) -> Ending | None:
        """Record what is due in (before, now], and ask the stopping rule."""
        for snapshot in self._due(curve, before, now):
            self._buffer.keep(snapshot)
        stop = self.request.stop
        if self._watch is None or stop is None:
            return None
        verdict = self._watch(self._snapshot(curve, now))
        if verdict is None:
            return None
        if stop.instant and now > before:
            watch = stop.watch(self.field.counted)
            at = bisect(lambda t: watch(self._snapshot(curve, t)) is not None, before, now)
            verdict = watch(self._snapshot(curve, at)) or verdict
        else:
            at = now if verdict.choice is None else verdict.choice.time
        failed = verdict.budget and not stop.budget
        return Ending(at, Status.NOT_CONVERGED if failed else Status.STOPPED, verdict.reason)

    def at_end_time(self, now: float, x: Vector) -> Ending | None:
        """Whether the end time is reached, or x or the time has left the range of doubles."""
        if not np.isfinite(x).all():
            return Ending(now, Status.NOT_CONVERGED, "x has left the range of double precision")
        if math.isfinite(self.request.t_end) and now >= self.request.t_end:
            return self.end_time()
        if now >= FOREVER:
            return Ending(now, Status.NOT_CONVERGED, "the limit was not reached in any finite time")
        return None

    def end_time(self) -> Ending:
        """The end that was asked for."""
        return Ending(self.request.t_end, Status.STOPPED, f"flow time {self.request.t_end:g} was reached")

    def at_rest(self, now: float, gradient: Vector) -> Ending | None:
        """Whether the gradient has all but vanished: the end where no limit is known beforehand."""
        present = float(np.abs(gradient).max())
        first = float(np.abs(self.field.first_gradient).max())
        if not present <= 1e-2 * self.request.tolerance * first:
            return None
        name = "A^T y" if self.field.problem.squared else "that at x = 0"
        return Ending(now, Status.NOT_CONVERGED, f"the gradient has fallen to {present / (first or 1.0):.1e} of {name}")

    def out_of_budget(self, curve: GrowingCurve, now: float) -> Ending | None:
        """Whether steps or memory have run out."""
        if len(curve.knots) > self.request.max_steps:
            return Ending(now, Status.NOT_CONVERGED, f"{self.request.max_steps} steps of the integrator were taken")
        most = self.request.record.max_bytes
        if curve.nbytes > most:
            reason = f"the path takes more than max_bytes={most}: raise it in hadaflow.Recorder"
            return Ending(now, Status.NOT_CONVERGED, reason)
        return None

    def report(self, now: float, x: Vector, steps: int) -> None:
        """Tell the caller how far it is, some times a second."""
        clock, t_end = time.perf_counter(), self.request.t_end
        if self.request.progress is None or clock - self._reported < _REPORT_EVERY:
            return
        self._reported = clock
        fraction = now / t_end if math.isfinite(t_end) else None
        message = f"time {now:.3g}, {steps} steps, l1 norm {self.field.groups.norms(x).sum():.4g}"
        self.request.progress(Progress("flow", fraction, message))

    def path(self, curve: Curve, end: Ending, tolerance: float) -> FlowPath:
        """The result."""
        finite = min(end.time, float(curve.knots[-1])) if math.isinf(end.time) else end.time
        last = self._snapshot(curve, finite)
        self._buffer.keep(last)
        problem = self.field.problem
        x = curve.states(np.array([finite]))[1][:, 0] if end.x is None else end.x
        seconds, passes = time.perf_counter() - self.request.began, self.field.operator.passes
        return FlowPath(
            end.time,
            problem.layout.x(np.asarray(x, dtype=problem.dtype)),
            end.status,
            end.reason,
            tolerance,
            self._buffer.history(until=end.time),
            Stats(seconds, passes, 0, len(curve.knots) - 1, "flow", ("flow",)),
            self.field.setting(problem),
            curve,
        )

    def _due(self, curve: Curve, before: float, now: float) -> Iterator[Snapshot]:
        grid = self.request.record.times
        if grid is not None:
            inside = (grid > before) & (grid <= now) if now > 0 else grid == 0
            yield from (self._snapshot(curve, float(t)) for t in grid[inside])
            if now > 0:
                return
        step = int(np.searchsorted(curve.knots, now))
        if now == 0 or self._buffer.wants(step, now):
            yield self._snapshot(curve, now)

    def _snapshot(self, curve: Curve, t: float) -> PathSnapshot:
        return PathSnapshot(self.field.counted_setting, curve, t, time.perf_counter() - self.request.began)


def interrupted(curve: Curve) -> Ending:
    """The end of a run that the user interrupted."""
    return Ending(float(curve.knots[-1]), Status.INTERRUPTED, "interrupted by the user")

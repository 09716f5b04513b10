"""The flow step by step: a stiff integrator, until a rule, the end time or the limit is met."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from hadaflow._types import Vector
from hadaflow.paths import FlowPath
from hadaflow.results import Limit, Status
from hadaflow.solvers.flow.curves import Integrated
from hadaflow.solvers.flow.ndf import StepError
from hadaflow.solvers.flow.run import FOREVER, Ending, FlowRun, interrupted
from hadaflow.solvers.flow.stiff import integrator

_EPS = float(np.finfo(np.float64).eps)


def follow_integrated(run: FlowRun, find_limit: Callable[[], Limit]) -> FlowPath:
    """The path of the integrator; ``find_limit`` is asked for where it ends, if no time was given."""
    return _Integration(run).follow(find_limit)


@dataclass
class _Integration:
    """The steps, and the limit that they head for."""

    run: FlowRun

    def __post_init__(self) -> None:
        self.field, self.t_end = self.run.field, self.run.request.t_end
        self.target: Limit | None = None
        self.end = np.zeros(0)  # x of the limit
        self.reached = self.run.request.tolerance  # or what rounding allows

    def follow(self, find_limit: Callable[[], Limit]) -> FlowPath:
        curve = Integrated(self.field)
        try:
            if self.t_end == math.inf and self.field.problem.squared:
                self.target = find_limit()
                self.end = self.field.problem.layout.real_x(self.target.x).astype(np.float64)
                self.field.grow(self.end)
            self.reached = max(self.reached, 10 * _EPS * self.field.sharpness)
            end = self._steps(curve)
        except FloatingPointError as error:
            end = Ending(0.0, Status.NOT_CONVERGED, str(error))
        except KeyboardInterrupt:
            end = interrupted(curve)
        return self.run.path(curve, end, self.reached)

    def _steps(self, curve: Integrated) -> Ending:
        field, run = self.field, self.run
        solver, equation = integrator(field, self.reached, min(self.t_end, FOREVER))
        x = field.x_of(np.zeros(field.problem.shape[1]))
        end = run.look(curve, 0.0, 0.0) or self._arrived(0.0, x)
        while end is None:
            before = float(solver.t)
            try:
                piece = solver.step()
            except (StepError, np.linalg.LinAlgError, ValueError) as error:  # the latter: a system that is not finite
                return self._failed(before, x, str(error))
            now = float(solver.t)
            curve.add(now, piece)
            x = field.x_of(field.operator.rmatvec(solver.y))
            if field.grow(x):
                equation.refresh()
            end = run.look(curve, before, now) or self._arrived(now, x) or run.out_of_budget(curve, now)
            run.report(now, x, len(curve.knots) - 1)
        return end

    def _arrived(self, now: float, x: Vector) -> Ending | None:
        """Whether the end time or the limit is reached."""
        end = self.run.at_end_time(now, x)
        if end is not None or math.isfinite(self.t_end):
            return end
        if self.target is None or not self.target.status.ok:
            return self._at_rest(now, x)
        return self._near_limit(self.target, now, x)

    def _near_limit(self, target: Limit, now: float, x: Vector) -> Ending | None:
        size, start = self.field.largest(self.end), self.field.product_scale
        size = start if size <= self.reached * start else size  # a limit of 0 is near when most of the start is gone
        if self.field.largest(x - self.end) > self.reached * size:
            return None
        return Ending(math.inf, target.status, f"within {self.reached:.3g} of the limit at time {now:.4g}", self.end)

    def _at_rest(self, now: float, x: Vector) -> Ending | None:
        return self.run.at_rest(now, self.field.residual_and_gradient(x)[1])

    def _failed(self, now: float, x: Vector, message: str) -> Ending:
        """No further step: for want of time to move in, where x is at rest, or for good."""
        if math.isfinite(self.t_end) and self._at_rest(now, x) is not None:
            return Ending(self.t_end, Status.STOPPED, f"flow time {self.t_end:g} was reached, at rest since {now:.4g}")
        return Ending(now, Status.NOT_CONVERGED, f"the integrator failed at time {now:.4g}: {message}")

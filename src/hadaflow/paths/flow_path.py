"""Gradient flow in continuous time, known at every time."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hadaflow._renamed import renamed
from hadaflow._types import Float
from hadaflow._validation import callback, positive_number
from hadaflow.certificates import Certificate, certify
from hadaflow.models import Model
from hadaflow.models.branches import Scale
from hadaflow.paths.base import PathFromStart, ReadOut
from hadaflow.paths.reading import BLOCK, HELD, MARGIN, VISIBLE, Reading, first_visible, thinned
from hadaflow.problems import Problem
from hadaflow.recording import History
from hadaflow.results import Stats, Status
from hadaflow.snapshots import Curve, PathSnapshot, Setting, Snapshot, bisect

_BEFORE = 1 - 2.0**-42  # just before a jump, whose time is known up to rounding
_GRID = 300  # times of a reading, evenly spread in log-time
_KNOTS = 300  # steps of the integrator that it looks at too: nothing sudden falls between them
_AVERAGES = 200  # times of a reading of the average, which is smooth and costly


@dataclass(frozen=True, eq=False)
class FlowPath(PathFromStart):
    """Gradient flow from a given start as a function of flow time, from 0 to ``t_end``.

    Call it with a time for the iterate; ``path.average(t)`` and ``path.dual(t)`` are the other read-outs. Each takes
    one time, or an array of k times for an array with k rows.

    Attributes
    ----------
    t_end : float
        Where the path ends; infinite if it was followed to its limit.
    x : ndarray of shape (n,)
        The iterate there.
    status : Status
        ``STOPPED``, ``LIMIT``, ``LEAST_SQUARES``, ``NOT_CONVERGED`` or ``INTERRUPTED``.
    reason : str
        Why it ends there, with the numbers that decided.
    tolerance : float
        Accuracy of the integration: error allowed per step in any entry of x, relative to the largest one. More than
        was asked for where rounding does not allow less.
    history : History
        The snapshots that were recorded.
    stats : Stats
        Cost.
    setting : Setting
        Problem, model and start.
    curve : Curve
        The dual state as a function of time.

    Examples
    --------
    >>> import numpy as np, hadaflow as hf
    >>> problem = hf.Problem(np.array([[1.0, 0.5]]), np.array([1.0]))
    >>> path = hf.flow(problem, hf.HadamardPower(2), init_scale=0.1, t_end=np.inf)
    >>> path(0.5).round(3), path(np.inf).round(3), path.status.name
    (array([0.068, 0.023]), array([0.952, 0.097]), 'LIMIT')
    """

    t_end: float
    x: Float
    status: Status
    reason: str
    tolerance: float
    history: History = field(repr=False)
    stats: Stats = field(repr=False)
    setting: Setting = field(repr=False)
    curve: Curve = field(repr=False)

    call = "flow"

    def __repr__(self) -> str:
        return f"FlowPath({self.problem.size}, {self.status.name} at time {self.t_end:.4g}: {self.reason})"

    @property
    def problem(self) -> Problem:
        """The data."""
        return self.setting.problem

    @property
    def product_scale(self) -> float:
        """``a^D`` (geometric mean over coordinates)."""
        return self.setting.product_scale

    @property
    def model(self) -> Model:
        """The model."""
        return self.setting.model

    @property
    def init_scale(self) -> Scale:
        """What every factor entry started with."""
        return self.setting.init_scale

    @property
    def last_time(self) -> float:
        """Where the path ends; infinite if it was followed to its limit."""
        return self.t_end

    @property
    def steps_taken(self) -> int:
        """Steps of the integrator."""
        return self.stats.events

    @property
    def times(self) -> NDArray[np.float64]:
        """Times at which the integrator set foot, shape (k,): from 0 on; ends with ``t_end`` where it went beyond."""
        knots = self.curve.knots
        return knots if knots[-1] <= self.t_end else np.append(knots[knots < self.t_end], self.t_end)

    def __call__(self, t: Any) -> Float:
        """The iterate x at time ``0 <= t <= t_end``, shape (n,), or (k, n) for k times; one pass over A for all."""
        times, single = self._times(t)
        if len(times) == 0:
            return self._rows(np.empty((0, self.problem.shape[1]), dtype=self.problem.dtype))
        known = np.minimum(times, self.curve.knots[-1])
        rows = self._rows(self.curve.states(known)[1].T.astype(self.problem.dtype))
        rows[np.isinf(times)] = self.x
        return rows[0] if single else rows

    def dual(self, t: Any) -> NDArray[Any]:
        """The dual state nu, the integral of y - A x from 0 to t < inf, shape (m,) or (k, m)."""
        times, single = self._times(t)
        if np.isinf(times).any():
            raise ValueError("the dual state at t = inf is that of hadaflow.limit: ask it for .dual")
        columns = self.curve.states(times)[0] if len(times) else np.empty((self.problem.shape[0], 0))
        rows = _stacked(self.problem.layout.y, columns.T)
        return rows[0] if single else rows

    def average(self, t: Any) -> NDArray[Any]:
        """The running average of x over [0, t], shape (n,) or (k, n): near a lasso solution at ``penalty(t)``.

        At t = 0 it is the start and at t = inf the limit. By quadrature of the path: about four products with A^T per
        step of the integrator up to t, once for all increasing times that are asked for one after the other.
        """
        times, single = self._times(t)
        rows, layout = np.empty((len(times), self.problem.shape[1])), self.problem.layout
        for k in np.argsort(times, kind="stable"):
            span = times[k]
            here = span == 0 or np.isinf(span)
            rows[k] = layout.real_x(self(span)) if here else self.curve.integral(float(span)) / span
        of_user = self._rows(rows)
        return of_user[0] if single else of_user

    def penalty(self, t: float) -> float:
        """``||A^T nu||_inf / t``: lambda of the lasso ``1/2 ||A x - y||^2 + lambda ||x||_1`` near the average at t."""
        return self.snapshot(t).penalty

    def dual_at(self, time: float) -> NDArray[np.float64]:
        """The dual state at one time, as :meth:`dual`."""
        return self.dual(time)

    def average_at(self, time: float) -> NDArray[np.float64]:
        """The running average until one time, as :meth:`average`."""
        return self.average(time)

    def penalty_at(self, time: float) -> float:
        """The penalty near the average at one time, as :meth:`penalty`."""
        return self.penalty(time)

    def state_at(self, time: float, read_out: ReadOut = "iterate") -> Float:
        """A read-out at one time, or at the end of the path if that is earlier; shape (n,)."""
        known = min(time, self.t_end)
        return self(known) if read_out == "iterate" else self.average(known)

    def snapshot(self, t: float) -> Snapshot:
        """Everything about the flow at one time ``t < inf``; what is not asked for is not computed."""
        times, single = self._times(t)
        if not single or np.isinf(times[0]):
            raise ValueError(f"t must be one finite time, got {t!r}")
        return PathSnapshot(self.setting, self.curve, float(times[0]), self.stats.seconds)

    def moment(self, t: float) -> Snapshot:
        """The old name of :meth:`snapshot`; warns."""
        return renamed("FlowPath.moment", "FlowPath.snapshot", self.snapshot(t))

    def first(self, condition: Callable[[Snapshot], Any], *, after: float = 0.0) -> float:
        """First time at which ``condition(snapshot)`` is true, to rounding; infinite if it never is.

        It is looked for at the steps of the integrator from ``after`` on, then by bisection within a step.
        """
        after = positive_number(after, "after", strict=False)
        if condition is None:
            raise TypeError("condition must be callable, got None")
        callback(condition, "condition")
        if after > self.t_end:
            return math.inf
        knots = self.curve.knots
        end = min(self.t_end, max(after, float(knots[-1])))
        last = after
        if condition(self.snapshot(last)):
            return last
        for time in [*knots[(knots > after) & (knots < end)], *([end] if end > after else [])]:
            if condition(self.snapshot(float(time))):
                return bisect(lambda t: bool(condition(self.snapshot(t))), last, float(time))
            last = float(time)
        return math.inf

    @cached_property
    def certificate(self) -> Certificate:
        """How far ``x`` is from the smallest l1 norm, proved by the dual state at the end; two passes over A, once."""
        dual = self.dual(min(self.t_end, float(self.curve.knots[-1])))
        return certify(self.problem, self.x, dual, gauge=self.gauge, support=self.support())

    def describe(self) -> str:
        """What kind of path it is, in a few words."""
        return self._described("gradient flow")

    def reading(self, read_out: ReadOut = "iterate", *, until: float = 0.0) -> Reading:
        """The path at the steps of the integrator and on a grid in log-time, or its average on a coarser one."""
        columns, times = np.arange(len(self.x)), self._telling_times()
        if read_out == "iterate" or len(times) == 0:
            return Reading(times, columns, lambda part: self(times[part]))
        most = max(20, min(_AVERAGES, HELD // len(self.x)))
        times = np.geomspace(times[0], times[-1], most).clip(times[0], times[-1])
        return Reading(times, columns, self.average(times).__getitem__)

    def _telling_times(self) -> NDArray[np.float64]:
        """Where to look at the path: from a little before something is seen, and just before and at each step."""
        steps = self.times[(self.times > 0) & (self.times < self.t_end)]
        steps = np.append(steps[thinned(len(steps), _KNOTS)], min(self.t_end, self.times[-1]))
        if steps[-1] == 0:
            return steps[:0]
        final = float(np.abs(self.x).max())
        parts = np.array_split(steps, -(-len(steps) * len(self.x) // BLOCK))
        sizes = np.concatenate([np.abs(self(part)).max(axis=1) for part in parts])
        first = first_visible(steps, sizes, final)
        steps = steps[steps > first]
        jumps = math.isinf(self.t_end) and np.abs(self.x - self(_BEFORE * self.times[-1])).max() > VISIBLE * final
        if jumps:  # in the last step: some room behind it, to be seen
            steps = np.append(steps, steps[-1] * (steps[-1] / first) ** MARGIN)
        grid = np.geomspace(first, steps[-1], _GRID).clip(first, steps[-1])
        return np.unique(np.concatenate([grid, steps, _BEFORE * steps]))  # it may jump there

    def _rows(self, rows: Float) -> NDArray[Any]:
        """Real vectors as those of the user, one to a row."""
        return _stacked(self.problem.layout.x, rows)

    def _times(self, t: Any) -> tuple[NDArray[np.float64], bool]:
        times = np.asarray(t, dtype=np.float64)
        if times.ndim > 1:
            raise ValueError(f"t must be a time or a vector of times, got shape {times.shape}")
        wrong = times[~((times >= 0) & (times <= self.t_end))]
        if wrong.size:
            raise ValueError(f"t must lie between 0 and t_end = {self.t_end:g}, got {wrong.flat[0]:g}")
        return np.atleast_1d(times), times.ndim == 0


def _stacked(of_user: Callable[[Float], NDArray[Any]], rows: Float) -> NDArray[Any]:
    """Each row in the layout of the user."""
    if len(rows):
        return np.stack([of_user(np.ascontiguousarray(row)) for row in rows])
    one = of_user(np.zeros(rows.shape[1], dtype=rows.dtype))
    return np.empty((0, *one.shape), dtype=one.dtype)

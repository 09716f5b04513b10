"""Where is training at time t? Gradient flow as a stiff equation in the dual state."""

from __future__ import annotations

import math
import time
from collections.abc import Iterator
from contextlib import nullcontext
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np

from hadaflow._rules import check_rule
from hadaflow._threads import one_blas_thread
from hadaflow._types import Float, Vector
from hadaflow._validation import callback, instance, one_of, positive_number, whole_number
from hadaflow.convergence import quietly, told
from hadaflow.dynamics.limit import limit
from hadaflow.dynamics.saddles import saddles
from hadaflow.models import Branches, Model
from hadaflow.models.base import Scale, started
from hadaflow.paths import FlowPath
from hadaflow.problems import Problem, require_squared
from hadaflow.recording import RecordBuffer, Recorder, as_recorder
from hadaflow.results import Limit, Progress, ProgressCallback, Stats, Status
from hadaflow.snapshots import Curve, PathSnapshot, Setting, Snapshot, bisect
from hadaflow.solvers.flow.curves import Integrated, Plateaus
from hadaflow.solvers.flow.field import Field
from hadaflow.solvers.flow.proximal import PiecewiseLinearPath, ProximalSteps
from hadaflow.solvers.flow.ndf import StepError
from hadaflow.solvers.flow.stiff import integrator
from hadaflow.stopping import Rule, Watch

_EPS = float(np.finfo(np.float64).eps)
_SHARPEST = _EPS**-0.5  # condition of the mirror map beyond which the flow is not told from the saddle path
_SMALL = 600  # rows below which a second BLAS thread has too little to do
_FOREVER, _SHORTEST = 1e300, 1e-300  # flow times
_REPORT_EVERY = 0.1  # seconds


def flow(
    problem: Problem,
    model: Model,
    *,
    init_scale: Scale,
    t_end: float = math.inf,
    tolerance: float = 1e-6,
    method: Literal["bdf", "proximal"] = "bdf",
    stop: Rule | None = None,
    record: Recorder | None = None,
    max_steps: int = 100_000,
    progress: ProgressCallback | None = None,
) -> FlowPath:
    """Gradient flow on ``1/2 ||A x - y||^2``, or the loss of the problem, in the factors of a model over time.

    All 2n factors follow from the dual state ``nu' = y - A B(A^T nu)`` in m unknowns (in general ``nu' = -dF/dp`` at
    ``p = A B(A^T nu)``): a trajectory takes a few hundred steps of a stiff integrator, where descent takes millions.

    Parameters
    ----------
    problem : Problem
        Data, A of shape (m, n), and the loss, by default the squared one.
    model : Model
        Overparameterised model, for example ``HadamardPower(depth=3)``.
    init_scale : float or array_like of shape (n,)
        Starting value a > 0 of every factor entry, in units of ``x^(1/depth)``.
    t_end : float, default inf
        Flow time to stop at. With inf the flow is followed until it is within ``tolerance`` of its limit, which
        :func:`hadaflow.limit` computes beforehand, and ends there. Other losses than the squared one need not have
        a limit, and none is computed: there inf needs a ``stop``.
    tolerance : float, default 1e-6
        Error allowed per step in any entry of x, relative to the largest one ("bdf"); nearness to the limit at which
        ``t_end=inf`` ends.
    method : {"bdf", "proximal"}, default "bdf"
        "bdf" follows the flow accurately. "proximal" takes implicit steps of two products each, 40 % longer each time:
        a few dozen from start to stop, for large operators, compressible x and early stopping. It follows the flow
        while its steps are short compared with how fast x can change; later its path is its own, with a larger l1 norm,
        so that it needs a ``stop`` or ``t_end``; and a loss with a finite ``curvature_bound``.
    stop : rule out of ``hadaflow.stopping``, optional
        Stop earlier: at the exact time for rules about the present snapshot, at the end of a step for the others.
    record : Recorder, optional
        What to keep at which times. The path itself can be evaluated at any time as well; ``record.max_bytes`` bounds
        its memory too.
    max_steps : int, default 100_000
        Steps of the integrator allowed.
    progress : callable, optional
        Called some times a second with a :class:`hadaflow.Progress`.

    Returns
    -------
    FlowPath
        ``path(t)``, ``path.average(t)``, ``path.dual(t)``, ``path.x`` at the end, ``status``, ``reason``. Ctrl-C
        returns what was done with status ``INTERRUPTED``.

    Raises
    ------
    TypeError, ValueError
        If an argument has the wrong kind or range, or asks of another loss what only the squared one has.

    Warns
    -----
    ConvergenceWarning
        If the status is ``NOT_CONVERGED``.

    See Also
    --------
    descend : the same in steps, as training runs it.
    limit : only the end.
    saddles : the path as the start vanishes.

    Notes
    -----
    Numerical differentiation formulas (orders 1 to 5) with the Jacobian ``-A diag(B') A^T`` (``d2F/dp2`` times that) restricted to its active
    columns: per step about five passes over A and O(m k + k^3) for k active columns (conjugate gradients with products
    only where A is an operator). Beyond the barrier of depth > 2, where trial steps may land, the mirror map goes on
    along its tangent; accepted steps of "bdf" stay inside. Where the scale is so small that rounding of nu decides over
    x (relative condition of B beyond 1e8: depth > 2 only), the flow cannot be told from the saddle path in doubles, and
    that is followed, on the clock of the flow. Source: docs/mathematics.md, "One state, one map", "The flow in time".

    Examples
    --------
    >>> import numpy as np, hadaflow as hf
    >>> problem = hf.Problem(np.eye(2), np.array([1.0, 0.5]))
    >>> path = hf.flow(problem, hf.HadamardPower(3), init_scale=0.1, t_end=50.0)
    >>> path([0.5, 5.0, 50.0]).round(3)
    array([[0.001, 0.   ],
           [1.   , 0.055],
           [1.   , 0.5  ]])
    """
    instance(problem, Problem, "problem")
    instance(model, Model, "model")
    callback(progress, "progress")
    if t_end != math.inf:
        t_end = max(positive_number(t_end, "t_end"), _SHORTEST)
    tolerance = positive_number(tolerance, "tolerance")
    if tolerance >= 1:
        raise ValueError(f"tolerance is relative to the size of x and must lie below 1, got {tolerance:g}")
    one_of(method, "method", ("bdf", "proximal"))
    max_steps = whole_number(max_steps, "max_steps")
    if stop is not None:
        check_rule(stop)
    _check_loss(problem, method, t_end, stop)
    record = as_recorder(record)
    scale, branches = started(model, init_scale, problem.shape[1])
    plan = _Plan(problem, model, scale, t_end, tolerance, max_steps, stop, record, progress)
    with one_blas_thread() if problem.shape[0] < _SMALL else nullcontext(), np.errstate(all="ignore"):
        path = plan.go(method, branches)
    return told(path, _asked(t_end, tolerance, stop))


def _asked(t_end: float, tolerance: float, stop: Rule | None) -> str:
    """When a flow ends, in words."""
    end = f"time {t_end:g}" if math.isfinite(t_end) else f"within {tolerance:g} of the limit"
    return end if stop is None else f"{stop!r}, or {end}"


def _check_loss(problem: Problem, method: str, t_end: float, stop: Rule | None) -> None:
    """Raise ValueError where a loss other than the squared one lacks what is asked for."""
    if t_end == math.inf and stop is None and not problem.squared:
        raise ValueError(f"the limit need not exist for loss={problem.loss!r}: give a finite t_end, or a stop")
    if method == "proximal" and not math.isfinite(problem.loss.curvature_bound):
        raise ValueError(
            f'method="proximal" needs a loss with a finite curvature_bound, got {problem.loss!r}: take "bdf"'
        )


@dataclass
class _Plan:
    """One call of :func:`flow`: what was asked for, and what is seen on the way."""

    problem: Problem
    model: Model
    init_scale: Scale
    t_end: float
    tolerance: float
    max_steps: int
    stop: Rule | None
    record: Recorder
    progress: ProgressCallback | None

    def __post_init__(self) -> None:
        self.began = time.perf_counter()
        self.reported = self.began
        self.setting = Setting.of(self.problem, self.model, self.init_scale)
        self.tape = RecordBuffer(self.record, self.problem)
        self.reached = self.tolerance  # or what rounding allows
        self.watch: Watch | None = None if self.stop is None else self.stop.watch(self.problem)

    def go(self, method: str, branches: Branches | None) -> FlowPath:
        """The path, by the way that the start asks for."""
        field = Field(self.problem, self.model, self.init_scale)
        if method == "proximal":
            return self.leap(field)
        small = self.setting.product_scale < field.size
        if branches is not None and math.isfinite(branches.exponent) and small and field.sharpness > _SHARPEST:
            require_squared(self.problem, "flow from an init_scale so small for this depth (take a larger one)")
            return self.along_saddles(field, branches.rest, branches.dual_scale)
        return self.integrate(field)

    def integrate(self, field: Field) -> FlowPath:
        """Step until a rule, the end time or the limit is met."""
        target, curve = None, Integrated(field)
        try:
            if self.t_end == math.inf and self.problem.squared:
                start = self.init_scale
                target = quietly(limit, self.problem, self.model, init_scale=start, progress=self.progress)
                field.grow(np.asarray(target.x, dtype=np.float64))
            self.reached = max(self.tolerance, 10 * _EPS * field.sharpness)
            end = self._steps(field, curve, target)
        except FloatingPointError as error:
            end = _End(0.0, Status.NOT_CONVERGED, str(error))
        except KeyboardInterrupt:
            end = _interrupted(curve)
        return self._path(curve, end, self.reached, field.operator.passes)

    def leap(self, field: Field) -> FlowPath:
        """The same in long implicit steps."""
        if self.t_end == math.inf and self.stop is None:
            raise ValueError('method="proximal" does not end at the limit: give a stop, or a finite t_end')
        if field.sharpness > _SHARPEST:
            raise ValueError('init_scale is too small for method="proximal" at this depth: take "bdf"')
        steps = ProximalSteps(field)
        curve = PiecewiseLinearPath(steps.at)
        try:
            end = self._look(curve, 0.0, 0.0)
            while end is None:
                before = steps.at.time
                corner = steps.advance()
                curve.add(corner)
                end = self._look(curve, before, corner.time)
                end = end or self._arrived(field, corner.time, corner.x, None, steps.pull)
                end = end or self._spent(curve, corner.time)
                self._report(corner.time, corner.x, len(curve.corners) - 1)
        except KeyboardInterrupt:
            end = _interrupted(curve)
        end = replace(end, reason=f"{end.reason}; by long implicit steps, near the flow at its beginning only")
        return self._path(curve, end, math.inf, field.operator.passes)

    def along_saddles(self, field: Field, rest: Vector, factor: float) -> FlowPath:
        """The path of a scale that is zero for all that double precision can tell; ``factor`` is time per tau."""
        positive = not self.model.signed
        uniform = bool(np.ptp(rest) == 0)
        weights = None if uniform else rest
        factor *= float(rest[0]) if uniform else 1.0
        try:
            path = quietly(saddles, self.problem, positive=positive, weights=weights, progress=self.progress)
        except KeyboardInterrupt:
            start = Integrated(field)
            return self._path(start, _interrupted(start), 1 / _SHARPEST, field.operator.passes)
        curve = Plateaus(path, factor, path.times * factor)
        end = _End(self.t_end, Status.STOPPED, f"flow time {self.t_end:g} was reached")
        if self.t_end == math.inf:
            status = Status.LIMIT if path.status is Status.EXACT else path.status
            end = _End(math.inf, status, "the end of the saddle path, which the flow follows at this scale", path.final)
        jumps = curve.knots[(curve.knots > 0) & (curve.knots < self.t_end)]
        seen, before = None, 0.0
        try:
            for jump in [0.0, *jumps, self.t_end if math.isfinite(self.t_end) else 2 * curve.knots[-1] + 1.0]:
                seen = seen or self._look(curve, before, float(jump))
                before = float(jump)
        except KeyboardInterrupt:
            seen = _End(before, Status.INTERRUPTED, "interrupted by the user")
        return self._path(curve, seen or end, 1 / _SHARPEST, path.stats.passes)

    # ---- on the way ----------------------------------------------------------------------------------------

    def _steps(self, field: Field, curve: Integrated, target: Limit | None) -> _End:
        solver, equation = integrator(field, self.reached, min(self.t_end, _FOREVER))
        x = field.x_of(np.zeros(self.problem.shape[1]))
        end = self._look(curve, 0.0, 0.0) or self._arrived(field, 0.0, x, target)
        while end is None:
            before = float(solver.t)
            try:
                piece = solver.step()
            except (StepError, np.linalg.LinAlgError, ValueError) as error:  # the latter: a system that is not finite
                return self._failed(field, before, x, str(error))
            now = float(solver.t)
            curve.add(now, piece)
            x = field.x_of(field.operator.rmatvec(solver.y))
            if field.grow(x):
                equation.refresh()
            end = self._look(curve, before, now) or self._arrived(field, now, x, target) or self._spent(curve, now)
            self._report(now, x, len(curve.knots) - 1)
        return end

    def _look(self, curve: Curve, before: float, now: float) -> _End | None:
        """Record what is due in (before, now], and ask the stopping rule."""
        for snapshot in self._due(curve, before, now):
            self.tape.keep(snapshot)
        if self.watch is None or self.stop is None:
            return None
        snapshot = self._snapshot(curve, now)
        verdict = self.watch(snapshot)
        if verdict is None:
            return None
        if self.stop.instant and now > before:
            watch = self.stop.watch(self.problem)
            at = bisect(lambda t: watch(self._snapshot(curve, t)) is not None, before, now)
            verdict = watch(self._snapshot(curve, at)) or verdict
        else:
            at = now if verdict.choice is None else verdict.choice.time
        failed = verdict.budget and not self.stop.budget
        return _End(at, Status.NOT_CONVERGED if failed else Status.STOPPED, verdict.reason)

    def _due(self, curve: Curve, before: float, now: float) -> Iterator[Snapshot]:
        grid = self.record.times
        if grid is not None:
            inside = (grid > before) & (grid <= now) if now > 0 else grid == 0
            yield from (self._snapshot(curve, float(t)) for t in grid[inside])
            if now > 0:
                return
        step = int(np.searchsorted(curve.knots, now))
        if now == 0 or self.tape.wants(step, now):
            yield self._snapshot(curve, now)

    def _arrived(
        self, field: Field, now: float, x: Vector, target: Limit | None, pull: Vector | None = None
    ) -> _End | None:
        """Whether the end time or the limit is reached."""
        if not np.isfinite(x).all():
            return _End(now, Status.NOT_CONVERGED, "x has left the range of double precision")
        if math.isfinite(self.t_end) and now >= self.t_end:
            return _End(self.t_end, Status.STOPPED, f"flow time {self.t_end:g} was reached")
        if now >= _FOREVER:
            return _End(now, Status.NOT_CONVERGED, "the limit was not reached in any finite time")
        if target is None or not target.status.ok:
            return self._resting(field, now, x, pull) if self.t_end == math.inf else None
        size, start = float(np.abs(target.x).max(initial=0.0)), self.setting.product_scale
        size = start if size <= self.reached * start else size  # a limit of 0 is near when most of the start is gone
        if float(np.abs(x - target.x).max(initial=0.0)) > self.reached * size:
            return None
        return _End(math.inf, target.status, f"within {self.reached:.3g} of the limit at time {now:.4g}", target.x)

    def _resting(self, field: Field, now: float, x: Vector, pull: Vector | None) -> _End | None:
        """Whether ``pull = -grad F(x)`` has all but vanished: the end where no limit is known beforehand."""
        if pull is None:
            _, pull = field.residual_and_pull(x)
        left = float(np.abs(pull).max())
        whole = float(np.abs(field.speed).max())
        if not left <= 1e-2 * self.tolerance * whole:
            return None
        first = "A^T y" if self.problem.squared else "that at x = 0"
        return _End(now, Status.NOT_CONVERGED, f"the gradient has fallen to {left / (whole or 1.0):.1e} of {first}")

    def _failed(self, field: Field, now: float, x: Vector, message: str) -> _End:
        """No further step: for want of time to move in, where x is at rest, or for good."""
        if math.isfinite(self.t_end) and self._resting(field, now, x, None) is not None:
            return _End(self.t_end, Status.STOPPED, f"flow time {self.t_end:g} was reached, at rest since {now:.4g}")
        return _End(now, Status.NOT_CONVERGED, f"the integrator failed at time {now:.4g}: {message}")

    def _spent(self, curve: Integrated | PiecewiseLinearPath, now: float) -> _End | None:
        """Whether steps or memory have run out."""
        if len(curve.knots) > self.max_steps:
            return _End(now, Status.NOT_CONVERGED, f"{self.max_steps} steps of the integrator were taken")
        if curve.nbytes > self.record.max_bytes:
            reason = f"the path takes more than max_bytes={self.record.max_bytes}: raise it in hadaflow.Recorder"
            return _End(now, Status.NOT_CONVERGED, reason)
        return None

    def _snapshot(self, curve: Curve, t: float) -> PathSnapshot:
        return PathSnapshot(self.setting, curve, t, time.perf_counter() - self.began)

    def _report(self, now: float, x: Vector, steps: int) -> None:
        clock = time.perf_counter()
        if self.progress is None or clock - self.reported < _REPORT_EVERY:
            return
        self.reported = clock
        share = now / self.t_end if math.isfinite(self.t_end) else None
        message = f"time {now:.3g}, {steps} steps, l1 norm {np.abs(x).sum():.4g}"
        self.progress(Progress("flow", share, message))

    # ---- the result ----------------------------------------------------------------------------------------

    def _path(self, curve: Curve, end: _End, tolerance: float, passes: float) -> FlowPath:
        finite = min(end.time, float(curve.knots[-1])) if math.isinf(end.time) else end.time
        last = self._snapshot(curve, finite)
        self.tape.keep(last)
        x = last.x if end.x is None else end.x
        stats = Stats(time.perf_counter() - self.began, passes, 0, len(curve.knots) - 1, "flow", ("flow",))
        return FlowPath(
            end.time,
            np.asarray(x, dtype=self.problem.dtype),
            end.status,
            end.reason,
            tolerance,
            self.tape.history(until=end.time),
            stats,
            self.setting,
            curve,
        )


@dataclass(frozen=True)
class _End:
    """Where and why a path ends; x there, if it is not on the curve."""

    time: float
    status: Status
    reason: str
    x: Float | None = None


def _interrupted(curve: Curve) -> _End:
    return _End(float(curve.knots[-1]), Status.INTERRUPTED, "interrupted by the user")

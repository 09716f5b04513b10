"""Results that are paths: of training step by step, of the flow, and of the flow as its start vanishes."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cached_property, partial
from typing import Any

import numpy as np
import scipy.sparse as sp
from numpy.typing import NDArray

from hadaflow._renamed import renamed
from hadaflow._types import Float
from hadaflow._validation import callback, positive_number
from hadaflow.certificates import Certificate, LassoCertificate, certify, certify_lasso
from hadaflow.hints import fitted_noise, stretch_of, with_hint
from hadaflow.models import Factors, Model
from hadaflow.models.branches import Scale
from hadaflow.problems import Problem
from hadaflow.recording import History
from hadaflow.results import Answer, Stats, Status
from hadaflow.snapshots import Curve, PathSnapshot, Setting, Snapshot, bisect


@dataclass(frozen=True, eq=False)
class SaddlePath:
    """The flow as its start vanishes: piecewise constant in rescaled time.

    On ``[times[k], times[k + 1])`` the iterate is ``x[k]``; after the last time it stays at ``final``. Rescaled time
    tau relates to flow time t by ``tau = k t`` with the rate ``k`` of the model (``4 / log(1 / a^2)`` at depth 2,
    ``D (D - 2) a^(D - 2)`` above).

    Attributes
    ----------
    times : ndarray of shape (K,)
        Start of each plateau; ``times[0] = 0``.
    x : scipy.sparse.csr_array of shape (K, n)
        The plateaus, one per row, with exact zeros. ``x[[0]]`` is the start, zero.
    final : ndarray of shape (n,)
        The end: a minimiser of the l1 norm among all solutions (least-squares points if y is outside the range).
    dual : ndarray of shape (m,)
        Dual state nu where the path ends, ``|A^T nu| <= 1`` with equality on the support.
    status : Status
        ``EXACT``, ``LEAST_SQUARES``, ``NOISE_LEVEL`` or ``NOT_CONVERGED``.
    stats : Stats
        Cost; ``stats.events`` counts the jumps.
    problem : Problem
        The data.
    hint : str or None
        Why ``final`` may have fitted noise in y, and what to call then; None where nothing speaks for it.

    Examples
    --------
    >>> import numpy as np, hadaflow as hf
    >>> path = hf.saddles(hf.Problem(np.array([[1.0, 0.5]]), np.array([2.0])))
    >>> path(0.4), path(0.6), path.average(1.0)
    (array([0., 0.]), array([2., 0.]), array([1., 0.]))
    """

    times: NDArray[np.float64]
    x: sp.csr_array
    final: Float
    dual: NDArray[np.float64]
    status: Status
    stats: Stats
    problem: Problem = field(repr=False)

    def __repr__(self) -> str:
        plateaus, n = self.x.shape
        return with_hint(f"SaddlePath({plateaus} plateaus of {n} coordinates, {self.status.name})", self.hint)

    @cached_property
    def hint(self) -> str | None:
        """Why ``final`` may have fitted noise in y, and what to call then; None where nothing speaks for it."""
        count, stretch = int(np.count_nonzero(self.final)), partial(stretch_of, self.problem, self.final)
        return fitted_noise(self.status.name, self.problem.shape, nonzeros=count, stretch=stretch)

    def __call__(self, tau: float) -> Float:
        """The iterate at rescaled time ``tau >= 0``, shape (n,)."""
        k = int(np.searchsorted(self.times, _time(tau), side="right")) - 1
        return self._row(k)

    def average(self, tau: float) -> NDArray[np.float64]:
        """The running average ``1/tau int_0^tau x``, shape (n,): close to the lasso solution at penalty 1/tau."""
        tau = positive_number(tau, "tau")
        return self._integral(tau) / tau

    def dual_at(self, tau: float) -> NDArray[np.float64]:
        """nu(tau) = ``int_0^tau (y - A x)``, shape (m,); one pass over A."""
        tau = _time(tau)
        return tau * self.problem.y.astype(np.float64) - self.problem.operator.matvec(self._integral(tau))

    def _row(self, k: int) -> Float:
        return np.asarray(self.x[[k]].toarray().ravel())

    def _integral(self, tau: float) -> NDArray[np.float64]:
        ends = np.append(self.times[1:], np.inf)
        return np.asarray(self.x.T @ (np.minimum(ends, tau) - np.minimum(self.times, tau)))


def _time(tau: float) -> float:
    return positive_number(tau, "tau", strict=False)


@dataclass(frozen=True, eq=False)
class Trajectory(Answer):
    """One run of :func:`hadaflow.descend`, with two read-outs: the iterate and the running average.

    Attributes
    ----------
    x : ndarray of shape (n,)
        The iterate where the run stopped: nearly unbiased on its support.
    average : ndarray of shape (n,)
        The running average, weighted with the step sizes: close to a lasso solution at ``penalty``.
    dual : ndarray of shape (m,)
        Integral of ``y - A x`` over flow time (sum over the steps).
    status : Status
        ``STOPPED``, ``LEAST_SQUARES`` (nothing moves any more, though A x = y does not hold), ``NOT_CONVERGED``
        (steps or seconds ran out before a goal was reached), ``DIVERGED`` or ``INTERRUPTED``.
    reason : str
        Why it stopped, with the numbers that decided.
    steps : int
        Steps taken to reach x.
    time : float
        Flow time of x: the sum of the step sizes, in the clock of ``1/2 ||A x - y||^2``.
    penalty : float
        ``||A^T dual||_inf / time``: lambda of the lasso ``1/2 ||A x - y||^2 + lambda ||x||_1`` that the average
        approximates; infinite at the start.
    history : History
        The snapshots that were recorded.
    stats : Stats
        Cost.
    problem : Problem
        The data.
    model : Model
        The model.
    product_scale : float
        ``a^D`` (geometric mean over coordinates).
    factors : Factors
        The factors where the run stopped; ``descend(..., start=trajectory)`` goes on from them.
    init_scale : float or ndarray of shape (n,)
        What every factor entry started with.
    """

    x: Float
    average: Float
    dual: NDArray[np.float64]
    status: Status
    reason: str
    steps: int
    time: float
    penalty: float
    history: History = field(repr=False)
    stats: Stats = field(repr=False)
    problem: Problem = field(repr=False)
    model: Model
    product_scale: float = field(repr=False)
    factors: Factors = field(repr=False)
    init_scale: Scale = field(repr=False)

    def __repr__(self) -> str:
        m, n = self.problem.shape
        return f"Trajectory({m} x {n}, {self.status.name} after {self.steps} steps: {self.reason})"

    @property
    def positive(self) -> bool:
        """Whether the model reaches non-negative x only."""
        return not self.model.signed

    @cached_property
    def certificate(self) -> Certificate:
        """How far the iterate is from the smallest l1 norm, proved by ``dual``; two passes over A, once."""
        return certify(self.problem, self.x, self.dual, positive=self.positive, support=self.support())

    @cached_property
    def lasso_certificate(self) -> LassoCertificate:
        """How far the average is from the lasso at ``penalty``, proved; two passes over A, once.

        Raises
        ------
        ValueError
            At the start, where there is no average yet.
        """
        if not np.isfinite(self.penalty):
            raise ValueError("the average has no penalty at the start of the run: take at least one step")
        return certify_lasso(self.problem, self.average, self.penalty or 1e-300, positive=self.positive)


@dataclass(frozen=True, eq=False)
class FlowPath(Answer):
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

    def __repr__(self) -> str:
        m, n = self.problem.shape
        return f"FlowPath({m} x {n}, {self.status.name} at time {self.t_end:.4g}: {self.reason})"

    @property
    def problem(self) -> Problem:  # type: ignore[override]
        """The data."""
        return self.setting.problem

    @property
    def product_scale(self) -> float:  # type: ignore[override]
        """``a^D`` (geometric mean over coordinates)."""
        return self.setting.product_scale

    @property
    def model(self) -> Model:
        """The model."""
        return self.setting.model

    @property
    def times(self) -> NDArray[np.float64]:
        """Times at which the integrator set foot, shape (k,): from 0 on; ends with ``t_end`` where it went beyond."""
        knots = self.curve.knots
        return knots if knots[-1] <= self.t_end else np.append(knots[knots < self.t_end], self.t_end)

    def __call__(self, t: Any) -> Float:
        """The iterate x at time ``0 <= t <= t_end``, shape (n,), or (k, n) for k times; one pass over A for all."""
        times, single = self._times(t)
        if len(times) == 0:
            return np.empty((0, self.problem.shape[1]), dtype=self.problem.dtype)
        known = np.minimum(times, self.curve.knots[-1])
        rows: Float = self.curve.states(known)[1].T.astype(self.problem.dtype)
        rows[np.isinf(times)] = self.x
        return rows[0] if single else rows

    def dual(self, t: Any) -> NDArray[np.float64]:
        """The dual state nu, the integral of y - A x from 0 to t < inf, shape (m,) or (k, m)."""
        times, single = self._times(t)
        if np.isinf(times).any():
            raise ValueError("the dual state at t = inf is that of hadaflow.limit: ask it for .dual")
        if len(times) == 0:
            return np.empty((0, self.problem.shape[0]))
        rows = self.curve.states(times)[0].T
        return rows[0] if single else rows

    def average(self, t: Any) -> NDArray[np.float64]:
        """The running average of x over [0, t], shape (n,) or (k, n): near a lasso solution at ``penalty(t)``.

        At t = 0 it is the start and at t = inf the limit. By quadrature of the path: about four products with A^T per
        step of the integrator up to t, once for all increasing times that are asked for one after the other.
        """
        times, single = self._times(t)
        rows = np.empty((len(times), self.problem.shape[1]))
        for k in np.argsort(times, kind="stable"):
            span = times[k]
            rows[k] = self(span) if span == 0 or np.isinf(span) else self.curve.integral(float(span)) / span
        return rows[0] if single else rows

    def penalty(self, t: float) -> float:
        """``||A^T nu||_inf / t``: lambda of the lasso ``1/2 ||A x - y||^2 + lambda ||x||_1`` near the average at t."""
        return self.snapshot(t).penalty

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
        positive = not self.model.signed
        return certify(self.problem, self.x, dual, positive=positive, support=self.support())

    def _times(self, t: Any) -> tuple[NDArray[np.float64], bool]:
        times = np.asarray(t, dtype=np.float64)
        if times.ndim > 1:
            raise ValueError(f"t must be a time or a vector of times, got shape {times.shape}")
        wrong = times[~((times >= 0) & (times <= self.t_end))]
        if wrong.size:
            raise ValueError(f"t must lie between 0 and t_end = {self.t_end:g}, got {wrong.flat[0]:g}")
        return np.atleast_1d(times), times.ndim == 0

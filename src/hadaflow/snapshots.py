"""A point of a trajectory, with everything that stopping rules, recorders and read-outs ask of it."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np
from numpy.typing import NDArray

from hadaflow._types import Float, Index
from hadaflow._validation import norm
from hadaflow.gauges import Gauge, GroupNorm
from hadaflow.layouts import Layout
from hadaflow.models import Model
from hadaflow.models.branches import Scale
from hadaflow.problems import Problem, require_squared

_TINY = float(np.finfo(np.float64).tiny)


@dataclass(frozen=True, eq=False)
class Setting:
    """What all snapshots of one run share.

    Attributes
    ----------
    problem : Problem
        The data.
    model : Model
        The overparameterised model.
    init_scale : float or ndarray of shape (n,), or (G,) for G groups
        Start of every factor entry.
    product_scale : float
        Size of one branch of x at the start, ``a^D`` for ``u^D`` (geometric mean over coordinates).
    size_y : float
        ``||y||_2``; for another loss than the squared one ``||dF/dp||_2`` at ``x = 0``, which that is.
    """

    problem: Problem
    model: Model
    init_scale: Scale
    product_scale: float
    size_y: float

    @classmethod
    def of(cls, problem: Problem, model: Model, init_scale: Scale) -> Setting:
        """The setting of a run from ``init_scale``."""
        product_scale = model.product_scale(init_scale, problem.groups.count or problem.shape[1])
        return cls(problem, model, init_scale, product_scale, norm(problem.negative_gradient_at_zero))

    @cached_property
    def gauge(self) -> Gauge:
        """What the model makes small as a uniform start vanishes; of groups the sum of their norms."""
        groups = self.problem.groups
        return self.model.gauge if groups.single else GroupNorm(groups)


class Snapshot:
    """One point of a trajectory. Arrays are those of the run: read them, copy what you keep, never write to them.

    With ``p = A x``, the objective is ``F(x)``, the loss of the problem at p; of the squared loss dF/dp is the residual
    ``A x - y``. Vectors are those of the user: complex where x and y are, of shape (n, k) or (m, k) where these are.

    Attributes
    ----------
    setting : Setting
        Problem, model and start of the run.
    step : int
        Steps taken so far; 0 is the start.
    time : float
        Flow time: that of gradient flow on F (by default ``1/2 ||A x - y||^2``) in the shared factors.
    seconds : float
        Wall time since the run began.
    x : ndarray of shape (n,)
        The iterate.
    residual : ndarray of shape (m,)
        dF/dp: ``A x - y`` for the squared loss.
    loss : float
        ``F(x)``.
    gradient : ndarray of shape (n,)
        ``A^T dF/dp``, the gradient of F.
    dual : ndarray of shape (m,)
        nu, the integral of -dF/dp (``y - A x`` for the squared loss) over flow time.
    theta : ndarray of shape (n,)
        ``A^T nu``.
    average : ndarray of shape (n,)
        ``1/t`` times the integral of x; x itself at the start.
    """

    if TYPE_CHECKING:  # declared read-only, so that a subclass may store each or compute it

        @property
        def setting(self) -> Setting: ...
        @property
        def step(self) -> int: ...
        @property
        def time(self) -> float: ...
        @property
        def seconds(self) -> float: ...
        @property
        def x(self) -> Float: ...
        @property
        def residual(self) -> Float: ...
        @property
        def loss(self) -> float: ...
        @property
        def gradient(self) -> Float: ...
        @property
        def dual(self) -> Float: ...
        @property
        def theta(self) -> Float: ...
        @property
        def average(self) -> Float: ...

    @cached_property
    def residual_norm(self) -> float:
        """``||dF/dp||_2``: for the squared loss ``||A x - y||_2``, in units of y."""
        return norm(self.setting.problem.layout.real_y(self.residual))

    @cached_property
    def relative_residual(self) -> float:
        """``||dF/dp||_2`` relative to that at x = 0, ``||A x - y||_2 / ||y||_2`` (absolute where that is 0)."""
        return self.residual_norm / (self.setting.size_y or 1.0)

    @cached_property
    def l1_norm(self) -> float:
        """``||x||_1``; of groups the sum of their norms."""
        return float(self._sizes.sum(dtype=np.float64))

    @cached_property
    def support(self) -> Index:
        """Coordinates above the geometric mean of product scale and largest entry, ``sqrt(a^D max |x|)``.

        Of groups, those whose norm is: all their coordinates; of a matrix x, rows.
        """
        problem = self.setting.problem
        active = self._sizes > default_threshold(self._sizes, self.setting.product_scale)
        return problem.layout.rows(np.flatnonzero(problem.groups.spread(active)))

    @cached_property
    def penalty(self) -> float:
        """``||theta||_inf / t``: the average is an approximate lasso solution at this penalty; inf at the start.

        The lasso is ``1/2 ||A x - y||^2 + penalty ||x||_1``, without a factor 1/m. For another loss it is the size of
        the mean gradient over time, and promises no more than docs/mathematics.md, "Losses", says.
        """
        return self._dual_size / self.time if self.time > 0 else math.inf

    @cached_property
    def lasso_gap(self) -> float:
        """Proved bound on how far the average is from that lasso's minimum, relative to ``1/2 ||y||^2``.

        ``penalty ||xbar||_1 - <xbar, theta> / t``, free since ``-grad F(xbar) = theta / t`` (docs/mathematics.md,
        "The average and the lasso"); inf at the start. ValueError for another loss than the squared one.
        """
        require_squared(self.setting.problem, "lasso_gap")
        if self.time <= 0:
            return math.inf
        problem = self.setting.problem
        average = problem.layout.real_x(self.average).astype(np.float64)
        size = float(problem.groups.norms(average).sum())
        excess = self.penalty * size - float(average @ problem.layout.real_x(self.theta)) / self.time
        half = 0.5 * self.setting.size_y**2
        return excess / half if half > 0 else 0.0

    @cached_property
    def l1_gap(self) -> float:
        """Relative distance of ``||x||_1`` from ``<y, nu> / ||theta||_inf``, a lower bound on the minimal l1 norm.

        ValueError for another loss than the squared one.
        """
        require_squared(self.setting.problem, "l1_gap")
        top, problem = self._dual_size, self.setting.problem
        bound = float(problem.y.astype(np.float64) @ problem.layout.real_y(self.dual)) / top if top > 0 else 0.0
        size = max(self.l1_norm, bound)
        return abs(self.l1_norm - bound) / size if size > 0 else 0.0

    @cached_property
    def _dual_size(self) -> float:
        """The dual gauge of theta: its largest size."""
        theta = self.setting.problem.layout.real_x(self.theta)
        return self.setting.gauge.dual(theta.astype(np.float64, copy=False))

    @cached_property
    def _sizes(self) -> Float:
        """``|x_i|`` of each coordinate, or the norm of each group."""
        problem = self.setting.problem
        sizes: Float = problem.groups.norms(problem.layout.real_x(self.x))
        return sizes


def default_threshold(x: Float, product_scale: float) -> float:
    """The support rule: exact zeros if the start has vanished, else sqrt(a^D max |x|)."""
    top: Any = np.abs(x).max(initial=0.0)
    return float(np.sqrt(product_scale) * np.sqrt(float(top)))


class Curve(Protocol):
    """How a flow is known as a function of time."""

    @property
    def knots(self) -> NDArray[np.float64]:
        """Times between which it is smooth, 0 first."""
        ...

    def states(self, times: NDArray[np.float64]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Dual states (m, k) and iterates (n, k) at k times."""
        ...

    def residual(self, time: float) -> NDArray[np.float64]:
        """dF/dp (``A x - y``) at one time, shape (m,)."""
        ...

    def integral(self, end: float) -> NDArray[np.float64]:
        """Integral of x from 0 to ``end``, shape (n,)."""
        ...


class PathSnapshot(Snapshot):
    """A time of a flow as a snapshot. Its curve knows real vectors; what it tells are those of the user."""

    setting: Setting
    time: float
    seconds: float

    def __init__(self, setting: Setting, curve: Curve, t: float, seconds: float) -> None:
        self.setting, self._curve, self.time, self.seconds = setting, curve, t, seconds

    @cached_property
    def step(self) -> int:
        return max(0, int(np.searchsorted(self._curve.knots, self.time, side="right")) - 1)

    @cached_property
    def _state(self) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        dual, x = self._curve.states(np.array([self.time]))
        return dual[:, 0], x[:, 0]

    @cached_property
    def _residual(self) -> NDArray[np.float64]:
        return self._curve.residual(self.time)

    @cached_property
    def dual(self) -> NDArray[Any]:
        return self._layout.y(self._state[0])

    @cached_property
    def x(self) -> NDArray[Any]:
        return self._layout.x(self._state[1])

    @cached_property
    def theta(self) -> NDArray[Any]:
        return self._layout.x(self.setting.problem.operator.rmatvec(self._state[0]))

    @cached_property
    def residual(self) -> NDArray[Any]:
        return self._layout.y(self._residual)

    @cached_property
    def loss(self) -> float:
        problem = self.setting.problem
        return float(problem.loss.value(problem.operator.matvec(self._state[1]), problem.y.astype(np.float64)))

    @cached_property
    def gradient(self) -> NDArray[Any]:
        return self._layout.x(self.setting.problem.operator.rmatvec(self._residual))

    @cached_property
    def average(self) -> NDArray[Any]:
        return self._layout.x(self._curve.integral(self.time) / self.time) if self.time > 0 else self.x

    @property
    def _layout(self) -> Layout:
        return self.setting.problem.layout


def bisect(holds: Callable[[float], bool], low: float, high: float) -> float:
    """The smallest time in (low, high] at which ``holds`` is true, if it stays so; to rounding."""
    while True:
        middle = 0.5 * (low + high)
        if not low < middle < high or high - low <= 1e-13 * high or high < _TINY:
            return high
        if holds(middle):
            high = middle
        else:
            low = middle

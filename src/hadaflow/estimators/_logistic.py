"""Sparse logistic regression of labels -1 and +1: one path, and the rules that end it."""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import scipy.linalg as la

from hadaflow import stopping
from hadaflow._types import Float, Index, Vector
from hadaflow.convergence import quietly
from hadaflow.dynamics.descent import descend
from hadaflow.dynamics.flow import flow
from hadaflow.estimators._maximum_likelihood import maximum_likelihood
from hadaflow.estimators._prepared import Rows
from hadaflow.estimators._standardised import Features
from hadaflow.losses import Logistic
from hadaflow.models import HadamardPower
from hadaflow.paths import FlowPath, Trajectory
from hadaflow.problems import Problem
from hadaflow.recording import Recorder
from hadaflow.results import ProgressCallback, Status
from hadaflow.selection.criterion import CriterionName
from hadaflow.selection.least_squares import independent
from hadaflow.snapshots import Snapshot, default_threshold
from hadaflow.stopping import Rule, Verdict, Watch

Path = FlowPath | Trajectory

_TOLERANCE = 1e-4  # of the integrator; the data determine less
_FITTED = 1e-4  # relative dF/dp at which all labels are fitted: log odds of about 9
_REST = 1e-6  # of the first gradient: what is left where nothing moves any more
_IDLE = 1e-2  # of the gradient that chance makes: what a free direction may have
_MOVED = 1e-2  # of the loss: a fall that shows that features are at work
_LOOK_EVERY = 8  # snapshots: looking costs passes
_FOREVER = 1e300  # flow time; a finite one, as the limit need not exist
_SAME = 1e-13  # of the length of a column: its rounding, up to a hundred standard deviations away from zero
_STEPS = 20_000  # of integrator or descent at most


@dataclass(frozen=True)
class LogisticOptions:
    """What a classifier was asked for, checked; see :class:`hadaflow.estimators.SparseFlowClassifier`."""

    dynamics: str
    depth: float
    init_scale: float
    stop: str | Rule
    criterion: CriterionName
    positive: bool
    progress: ProgressCallback | None


def held_out_loss(rows: Rows, coef: Vector, intercept: Vector) -> float:
    """The loss of these coefficients on rows with labels -1 and +1, a sum."""
    p = np.asarray(rows.X @ coef + intercept, dtype=np.float64)
    terms = Logistic().terms(p, rows.y.astype(np.float64))
    return float(terms.sum() if rows.weights is None else terms @ rows.weights)


@dataclass(frozen=True, eq=False)
class LogisticFit:
    """Where a path was read off, and why there.

    Attributes
    ----------
    x : ndarray
        The coordinates of the features that the flow sees, zero off the support.
    path : FlowPath or Trajectory
        The path.
    time : float
        Flow time of x.
    reason : str
        In words, with the numbers that decided.
    times, errors, mean_errors : ndarray of shape (times,), (times, folds) and (times,), or None
        Flow times that were compared, and the losses per row there on the rows left out.
    """

    x: Float
    path: Path
    time: float
    reason: str
    times: Vector | None = None
    errors: Vector | None = None
    mean_errors: Vector | None = None

    @property
    def status(self) -> Status:
        """What happened."""
        return self.path.status

    @property
    def steps(self) -> int:
        """Steps of the integrator, or of descent."""
        return self.path.steps_taken


class Run:
    """A model and its start on some rows, ready to be followed.

    Attributes
    ----------
    rows : Rows
        Rows with labels -1 and +1.
    features : Features
        The columns that the flow sees; the first ``inner`` are penalised.
    problem : Problem
        The logistic problem on them.
    """

    def __init__(self, rows: Rows, options: LogisticOptions) -> None:
        self.rows, self.options = rows, options
        self.features = Features.of(rows.X, rows.weights, rows.intercept, rows.feature_weights, options.positive)
        self.inner = self.features.operator.inner
        self.problem = self.features.problem(rows.y)
        self.start = self.features.start(options.depth, options.init_scale, rows.feature_weights)
        self.model = HadamardPower(options.depth, "positive" if options.positive else "both")
        self._product_scale = math.exp(options.depth * float(np.log(self.start[: self.inner]).mean()))

    def follow(self, stop: Rule | None, t_end: float = _FOREVER) -> Path:
        """The path until a time or the rule is met, nothing moves any more, every label is fitted, or steps run out."""
        settled = _GradientVanished(1 if stop is None or stop.instant else _LOOK_EVERY)
        stop = settled | stopping.MaxSteps(_STEPS) | (stop or stopping.MaxTime(t_end))
        progress = self.options.progress
        if self.options.dynamics == "descend":
            record = Recorder(x=True)  # so that the path can be drawn
            return quietly(
                descend, self.problem, self.model, init_scale=self.start, stop=stop, record=record, progress=progress
            )
        # The error allowed is a mean over rows: it has to be the same whether rows count twice or stand there twice.
        tolerance = min(0.1, _TOLERANCE * math.sqrt(self.features.total / len(self.rows.y)))
        return quietly(
            flow,
            self.problem,
            self.model,
            init_scale=self.start,
            t_end=t_end,
            stop=stop,
            tolerance=tolerance,
            progress=progress,
        )

    def support(self, x: Float) -> Index:
        """Penalised coordinates above the geometric mean of product scale and largest entry, as of all paths.

        None while the largest is below that of product scale and one unit of log odds: all are next to nothing then.
        """
        size = np.abs(x[: self.inner])
        if float(size.max(initial=0.0)) <= math.sqrt(self._product_scale):
            return np.empty(0, dtype=np.intp)
        return np.flatnonzero(size > default_threshold(size, self._product_scale))

    def under_way(self, x: Float) -> bool:
        """Whether some feature is selected, and makes a difference: before, whatever is looked at has hardly moved."""
        return len(self.support(x)) > 0 and self.loss(x) <= (1 - _MOVED) * self._none_loss

    @cached_property
    def _none_loss(self) -> float:
        """The smallest loss without a feature."""
        x = self.best_on(np.empty(0, dtype=np.intp))
        return 0.0 if x is None else self.loss(x)

    def first_time(self) -> float:
        """A time before which no penalised coordinate can be in the support; infinite if none is pulled."""
        pull = np.abs(self.problem.operator.rmatvec(self.problem.negative_gradient_at_zero))[: self.inner]
        threshold = np.full(self.inner, math.sqrt(self._product_scale))
        reach = np.asarray(self.model.inverse(threshold, self.start[: self.inner]))
        waits = (pull > 0) & (reach > 0)  # a light feature may be there from the start
        return float(np.divide(reach, pull, out=np.full(self.inner, np.inf), where=waits).min(initial=np.inf))

    def sparse(self, x: Float) -> Float:
        """x with zeros off the support."""
        support, result = self.support(x), np.array(x)
        result[: self.inner] = 0.0
        result[support] = x[support]
        return result

    def distinct(self, support: Index, x: Float) -> tuple[Index, Float]:
        """A support without the features that earlier ones of it explain to rounding, and x with their part moved."""
        if len(support) < 2:
            return support, x
        columns = self.problem.operator.columns(support)
        lengths = np.linalg.norm(columns, axis=0)
        q, r, kept = independent(columns, _SAME * lengths)
        if len(kept) == len(support):
            return support, x
        dropped = np.setdiff1d(np.arange(len(support)), kept)
        shares = la.solve_triangular(r, q.T @ columns[:, dropped], check_finite=False)
        if self.options.positive and shares.min() < -1e-6:  # without them, coefficients of others would be negative
            return support, x
        moved = np.array(x)
        moved[support[kept]] += (shares @ x[support[dropped]]).astype(x.dtype)
        moved[support[dropped]] = 0.0
        return support[kept], moved

    def best_on(self, support: Index) -> Vector | None:
        """Maximum likelihood with the features of a support alone; None if they separate the labels."""
        index = np.concatenate([support, self.features.free_directions])
        found = maximum_likelihood(self.problem, index, len(support) if self.options.positive else 0)
        if found is None:
            return None
        x = np.zeros(self.problem.shape[1])
        x[index] = found
        return x

    def loss(self, x: Float) -> float:
        """The loss of x on the training rows."""
        p = self.problem.operator.matvec(x.astype(np.float64))
        return float(self.problem.loss.value(p, self.problem.y.astype(np.float64)))


def at_end(run: Run, path: Path, reason: str | None = None) -> LogisticFit:
    """The end of a path."""
    return LogisticFit(run.sparse(path.x), path, path.last_time, reason or path.reason)


def by_rule(run: Run) -> LogisticFit:
    """The end of the path by a rule, or by the name of one."""
    stop = run.options.stop
    if isinstance(stop, Rule):
        return at_end(run, run.follow(stop))
    if stop == "null_gradient":
        return at_end(run, run.follow(_WithinNoise(run)))
    if stop == "plateau":
        selected = stopping.When(lambda snapshot: len(run.support(snapshot.x)) > 0, "some feature is selected")
        return at_end(run, run.follow(stopping.Plateau() & selected))
    return at_end(run, run.follow(None))


def _pulls(snapshot: Snapshot) -> Vector:
    """Sizes of the gradient where x can follow it."""
    pulls = np.abs(snapshot.gradient)
    if not snapshot.setting.model.signed:  # at zero, pulled below: as far as x can go
        pulls[(snapshot.gradient > 0) & (snapshot.x <= 1e-6 * snapshot.x.max(initial=0.0))] = 0.0
    return pulls


class _WithinNoise(stopping.When):
    """As :class:`hadaflow.stopping.NullGradient`, with free directions at rest."""

    def __init__(self, run: Run) -> None:
        # dF/dp at the true x has a variance that is at most this on the mean (Jensen): that of the labels.
        up = float(np.average(run.rows.y > 0, weights=run.rows.weights))
        deviation = math.sqrt(up * (1 - up) * run.features.total)
        level = np.full(run.problem.shape[1], deviation * math.sqrt(2 * math.log(max(2, run.inner))))
        level[run.inner :] *= _IDLE
        message = f"no gradient beyond what chance makes, {level[0]:.4g},"
        super().__init__(lambda snapshot: (_pulls(snapshot) <= level).all(), message)


@dataclass(frozen=True)
class _GradientVanished(Rule):
    """Nothing moves any more, or every label is fitted and x would grow for ever; looks at every so many snapshots."""

    every: int

    @property
    def instant(self) -> bool:  # type: ignore[override]
        return self.every == 1

    def watch(self, problem: Problem) -> Watch:
        first = float(np.abs(problem.operator.rmatvec(problem.negative_gradient_at_zero)).max(initial=0.0))
        count = 0

        def look(snapshot: Snapshot) -> Verdict | None:
            nonlocal count
            count += 1
            if count % self.every:
                return None
            if snapshot.relative_residual <= _FITTED:
                return Verdict(
                    f"the labels are separable, and fitted to a relative gradient of {snapshot.relative_residual:.2g}: "
                    f"from here on coefficients would grow for ever"
                )
            left = float(_pulls(snapshot).max(initial=0.0))
            return Verdict(f"the gradient has fallen to {left:.2g} from {first:.4g}") if left <= _REST * first else None

        return look

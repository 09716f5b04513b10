"""Where a logistic regression is read off its path: by cross-validation, or by an information criterion."""

from __future__ import annotations

import math
from dataclasses import dataclass, field, replace
from functools import partial

import numpy as np

from hadaflow._types import Float, Index, Vector
from hadaflow.estimators._folds import Folds, choose, summary
from hadaflow.estimators._logistic import LogisticFit, LogisticOptions, Run, at_end, by_rule, held_out_loss
from hadaflow.estimators._prepared import Rows
from hadaflow.problems import Problem
from hadaflow.selection import criterion_prices
from hadaflow.snapshots import Snapshot
from hadaflow.stopping import Rule, Verdict, Watch

_PATIENCE = 10.0  # factor in flow time to wait for something better: plateaus are long
_NOTICEABLE = 1e-3  # of the held-out loss: a fall that makes it worth waiting for more
_GRID = 200  # times to choose among


def read_off(run: Run, folds: Folds | None, refit: bool) -> LogisticFit:
    """Follow a path, and read it off where the options of the run say; folds are those of "auto"."""
    if folds is not None:
        fit = cross_validated(run, folds)
    elif run.options.stop == "criterion":
        return by_criterion(run)  # maximum likelihood already
    else:
        fit = by_rule(run)
    if not refit:
        return fit
    best = run.best_on(np.flatnonzero(fit.x[: run.inner]))
    if best is None:
        return replace(fit, reason=f"{fit.reason}; not refitted, as the features selected separate the labels")
    return replace(fit, x=best)


# ---- cross-validation -----------------------------------------------------------------------------------------


@dataclass(frozen=True, eq=False)
class Curve:
    """The loss on the rows left out of one fold, along the path of the others.

    Attributes
    ----------
    times : ndarray of shape (T,)
        Flow times, in units of one over the rows trained on.
    losses : ndarray of shape (T,)
        The loss per row.
    rows : float
        How many are left out.
    first : float
        A time before which no feature is selected.
    """

    times: Vector
    losses: Vector
    rows: float
    first: float


def cross_validated(run: Run, folds: Folds) -> LogisticFit:
    """The end of the path at the time of the smallest loss on rows left out, each of which counts alike."""
    curves = folds.run(partial(held_out, options=replace(run.options, progress=None)), run.rows)
    grid, errors = pooled(curves)
    counts = np.array([curve.rows for curve in curves])
    choice = choose(errors[None, :, None], weights=counts)  # of one track, and of the iterate alone
    times = grid / run.features.total
    path = run.follow(None, float(times[choice.time]))
    message = f"{choice.error:.4g} per row over {len(folds)} folds"
    fit = at_end(run, path, f"smallest cross-validated log loss, {message}: {path.reason}")
    return replace(fit, times=times, errors=errors, mean_errors=summary(errors, counts)[0])


def held_out(train: Rows, test: Rows, options: LogisticOptions) -> Curve:
    """The loss on the test rows along the path of the training rows."""
    run = Run(train, options)
    rule = _HeldOut(run, test)
    run.follow(rule)
    times, losses = np.array(rule.seen).T
    total = run.features.total
    return Curve(times * total, losses / test.total, test.total, run.first_time() * total)


def pooled(curves: list[Curve]) -> tuple[Vector, Vector]:
    """Times at which all curves are known, from before the first feature on, and losses there, shape (times, folds)."""
    first = min(curve.first for curve in curves)
    last = min(float(curve.times[-1]) for curve in curves)
    if not 0 < first < last:  # no feature is pulled
        return np.array([last or 1.0]), np.array([[curve.losses[-1] for curve in curves]])
    grid = np.geomspace(first, last, _GRID)
    known = [np.interp(np.log(grid), np.log(curve.times[1:]), curve.losses[1:]) for curve in curves]
    return grid, np.stack(known, axis=-1)


@dataclass
class _HeldOut(Rule):
    """The loss on rows left out, noted at every snapshot; over once it has not improved for a while.

    The clock starts when features are at work: until then the loss is that of the intercept.
    """

    run: Run
    rows: Rows
    seen: list[tuple[float, float]] = field(default_factory=list)
    instant = False

    def watch(self, problem: Problem) -> Watch:
        smallest, since, under_way = math.inf, math.inf, False

        def look(snapshot: Snapshot) -> Verdict | None:
            nonlocal smallest, since, under_way
            error = held_out_loss(self.rows, *self.run.features.coefficients(snapshot.x))
            self.seen.append((snapshot.time, error))
            if not under_way:
                under_way, since = self.run.under_way(snapshot.x), snapshot.time
            if error < (1 - _NOTICEABLE) * smallest:
                smallest, since = error, snapshot.time
            over = under_way and snapshot.time >= _PATIENCE * since
            return Verdict("the loss on rows left out does not fall any more") if over else None

        return look


# ---- information criterion ------------------------------------------------------------------------------------


def by_criterion(run: Run) -> LogisticFit:
    """The support with the smallest criterion of those that the path passes."""
    supports = _Supports(run)
    path = run.follow(supports)
    best = supports.best
    reason = (
        f"smallest {run.options.criterion} of the supports on the path, {best.value:.4g}: {best.count} features, "
        f"at flow time {best.time:.4g}{', which separate the labels' if best.separates else ''}"
    )
    return LogisticFit(best.x, path, best.time, reason)


@dataclass(frozen=True, eq=False)
class _Candidate:
    """A number of features, and the coefficients by which it was judged."""

    value: float
    x: Float
    count: int
    time: float
    separates: bool


@dataclass
class _Supports(Rule):
    """Judges every support that the path passes; over once none has been better for a while.

    A support that separates the labels has no maximum likelihood, and is worth any number of features. It counts only
    where no other one is better than none; then the iterate stands for it, at every snapshot.
    """

    run: Run
    best: _Candidate = field(init=False)
    instant = False
    _none: float = math.inf  # the criterion of no feature

    def watch(self, problem: Problem) -> Watch:
        run = self.run
        rows = max(1, round(run.features.total) - len(run.features.free_directions))
        prices = criterion_prices(rows, run.inner, criterion=run.options.criterion).prices
        known: dict[bytes, Vector | None] = {}
        reduced: dict[bytes, Index] = {}
        self.best = _Candidate(math.inf, np.zeros(problem.shape[1]), 0, 0.0, False)
        since, under_way = math.inf, False

        def look(snapshot: Snapshot) -> Verdict | None:
            nonlocal since, under_way
            whole = run.support(snapshot.x)
            if whole.tobytes() not in reduced:
                reduced[whole.tobytes()] = run.distinct(whole, snapshot.x)[0]
            support = reduced[whole.tobytes()]
            if len(support) >= len(prices):
                return Verdict(f"{len(support)} features are more than the criterion considers")
            price, key = float(prices[len(support)]), support.tobytes()
            seen = key in known
            if not seen and price < self._limit(False):  # else no fit could be worth it
                known[key] = run.best_on(support)
            if key in known and (known[key] is None or not seen):
                found = known[key]
                x = run.distinct(whole, run.sparse(snapshot.x))[1] if found is None else found
                candidate = _Candidate(2 * run.loss(x) + price, x, len(support), snapshot.time, found is None)
                if candidate.value < self._limit(candidate.separates):
                    self.best, since = candidate, snapshot.time
                if len(support) == 0:
                    self._none = candidate.value
            if not under_way:
                under_way, since = run.under_way(snapshot.x), snapshot.time
            over = under_way and snapshot.time >= _PATIENCE * since
            return Verdict("no better support for a while") if over else None

        return look

    def _limit(self, separates: bool) -> float:
        """What the criterion of a candidate has to be below."""
        if separates and self.best.count and not self.best.separates:
            return -math.inf
        # What separates the labels gives way to whatever is better than no feature at all.
        return self._none if self.best.separates and not separates else self.best.value

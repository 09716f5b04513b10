"""Errors on left-out rows along one path per fold, and the point of the path that they speak for."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hadaflow._threads import one_blas_thread
from hadaflow._types import Index, Vector
from hadaflow.estimators._design import Design
from hadaflow.estimators._following import Follower, Points
from hadaflow.operators import as_operator
from hadaflow.operators.block import dense
from hadaflow.problems import Problem

_ROUNDING = 1e-14  # of the error of the empty model: errors closer than that are one and the same


@dataclass(frozen=True, eq=False)
class Rows:
    """Validated data of a regression.

    Attributes
    ----------
    X : ndarray or sparse matrix of shape (m, n)
        Features.
    y : ndarray of shape (m,)
        Target.
    weights : ndarray of shape (m,) or None
        How often each row counts; None for once.
    intercept : bool
        Whether there is one.
    feature_weights : ndarray of shape (n,) or None
        Those of the user; 0 for unpenalised.
    """

    X: Any
    y: NDArray[Any]
    weights: Vector | None
    intercept: bool
    feature_weights: Vector | None

    @property
    def total(self) -> float:
        """How many rows that are."""
        return float(len(self.y)) if self.weights is None else float(self.weights.sum())

    @property
    def half(self) -> int:
        """Half of them."""
        return max(1, round(self.total) // 2)

    def take(self, index: Index) -> Rows:
        """Some of the rows, without those that count nothing."""
        weights = self.weights
        if weights is not None:
            index = index[weights[index] > 0]
            weights = weights[index]
        return Rows(self.X[index], self.y[index], weights, self.intercept, self.feature_weights)

    def design(self) -> Design:
        """The problem that they make."""
        return Design.of(self.X, self.weights, self.intercept, self.feature_weights)


@dataclass(frozen=True, eq=False)
class Track:
    """One path to take on every fold.

    Attributes
    ----------
    follower : Follower
        What is followed.
    times : ndarray of shape (T,)
        When it is looked at, in time of the path on all data.
    steps : int
        How many steps or jumps that path took.
    """

    follower: Follower
    times: Vector
    steps: int


Fold = tuple[Index, Index]


def all_errors(
    rows: Rows, folds: list[Fold], tracks: list[Track], shares: tuple[float, ...], n_jobs: int | None
) -> Iterator[Vector]:
    """:func:`fold_errors` fold by fold, as they get done, in their order."""
    from joblib import Parallel, delayed

    jobs = (delayed(fold_errors)(rows, fold, tracks, shares) for fold in folds)
    yield from Parallel(n_jobs=n_jobs, return_as="generator")(jobs)


def fold_errors(rows: Rows, fold: Fold, tracks: list[Track], shares: tuple[float, ...]) -> Vector:
    """Mean squared errors of the rows left out, shape (tracks, times, shares); infinite where a path broke off before.

    Time runs as fast as there are rows: ``1/2 sum_j w_j (...)^2`` over a part of the rows does at time t what the sum
    over all of them does at t times that part. On the saddle path it runs for each feature as fast as the rows show of
    its square length, if that is more: an event that falls on a few rows, none of them left out, comes in no earlier
    than on all data.

    Notes
    -----
    One path per track. BLAS works with one thread whichever process this runs in, so that all get the same bits.
    """
    with one_blas_thread(), np.errstate(over="ignore"):  # errors beyond the range of doubles are infinite
        train, test = rows.take(fold[0]), rows.take(fold[1])
        part = train.total / rows.total
        design = train.design()
        problem = Problem(design.operator, design.target(train.y))
        left_out = LeftOut(design, train, test)
        errors = []
        for track in tracks:
            points = track.follower.points(problem, part, track.times, track.steps, averaged=min(shares) < 1)
            errors.append(left_out.errors(points, shares))
        return np.stack(errors)


class LeftOut:
    """Predictions for rows left out, straight from points of a path.

    The constant column and the unpenalised ones get what they explain of ``y - A x`` on the training rows. That is
    linear in x: it is found once per column that x uses, not once per x.
    """

    def __init__(self, design: Design, train: Rows, test: Rows) -> None:
        self._design, self._test = design, test
        self._train, self._rows = as_operator(train.X), as_operator(test.X)
        free = dense(self._rows.columns(design.split.free))
        self._free = np.column_stack([np.ones(len(test.y)), free])
        empty = self._free @ self._explained(train.y.astype(np.float64))
        self._left = test.y.astype(np.float64) - empty

    def errors(self, points: Points, shares: tuple[float, ...]) -> Vector:
        """Mean squared errors, shape (times, shares), of mixtures of iterate and average."""
        columns = self._design.split.penalised[points.columns]
        penalised, taken = self._rows.columns(columns), self._taken(columns)

        def fitted(x: Vector) -> Vector:
            return np.asarray((penalised @ x.T).T - (x @ taken.T) @ self._free.T)

        iterates = fitted(points.iterates)
        averages = iterates if min(shares) == 1 else fitted(points.averages)
        errors = np.empty((len(iterates), len(shares)))
        for k, share in enumerate(shares):
            squares = (share * iterates + (1 - share) * averages - self._left) ** 2
            errors[:, k] = np.average(squares, axis=1, weights=self._test.weights)
        errors[~points.reached] = np.inf
        return errors

    def _taken(self, columns: Index) -> Vector:
        """What is explained of columns of X, shape (1 + free, v)."""
        taken = np.zeros((self._free.shape[1], len(columns)))
        if self._design.split.intercept or len(self._design.split.free):
            for k, j in enumerate(columns):
                taken[:, k] = self._explained(dense(self._train.columns(np.array([j]))).ravel())
        return taken

    def _explained(self, v: Vector) -> Vector:
        """Intercept and coefficients of the unpenalised columns that explain v."""
        none = np.zeros(len(self._design.split.penalised))
        coef, intercept = self._design.coefficients(none, v)
        return np.append(intercept, coef[self._design.split.free])


@dataclass(frozen=True)
class Choice:
    """A point of a path, by its places in the array of errors.

    Attributes
    ----------
    track, time, share : int
        The places.
    error : float
        Mean error there.
    least, deviation : float
        Smallest mean error, and its standard error over the folds.
    smallest : int
        Place of the first time with the smallest error.
    last : int
        Place of the last time that was compared.
    """

    track: int
    time: int
    share: int
    error: float
    least: float
    deviation: float
    smallest: int
    last: int


def summary(errors: Vector) -> tuple[Vector, Vector]:
    """Mean over the folds, the last axis, and its standard error (0 for one fold)."""
    folds = errors.shape[-1]
    mean = errors.mean(axis=-1)
    deviation = np.zeros_like(mean)
    if folds > 1:
        known = np.isfinite(mean)
        deviation[known] = errors[known].std(axis=-1, ddof=1) / math.sqrt(folds)
    return mean, deviation


def choose(errors: Vector, rule: str) -> Choice:
    """The smallest mean error, the latest of equals; or the earliest time within one standard error of it.

    Between two jumps nothing changes. All data may have the second half of a plateau only in common with the folds.
    """
    mean, deviation = summary(errors)
    if not np.isfinite(mean).any():
        raise ValueError("no time could be compared: every path of some fold broke off before it, or errors overflowed")
    empty = float(mean[0, 0, 0])
    bound = float(mean.min()) + (_ROUNDING * empty if math.isfinite(empty) else 0.0)
    track, best, share = (int(k) for k in np.unravel_index(int((mean <= bound).argmax()), mean.shape))
    column = mean[track, :, share]
    differs = column[best:] > bound
    time = best + (int(differs.argmax()) if differs.any() else len(differs)) - 1
    if rule == "one_se":
        time = int((column <= column[best] + deviation[track, best, share]).argmax())
    last = int(np.flatnonzero(np.isfinite(column))[-1])
    least = (track, best, share)
    error = float(mean[track, time, share])
    return Choice(track, time, share, error, float(mean[least]), float(deviation[least]), best, last)

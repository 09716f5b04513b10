"""All candidates over all folds of a regression, one path each, by their errors on the rows left out."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np

from hadaflow._types import Index, Vector
from hadaflow.estimators._design import Design
from hadaflow.estimators._folds import Choice, Folds, choose
from hadaflow.estimators._following import Horizon, Points, Surveying
from hadaflow.estimators._prepared import Rows
from hadaflow.operators import as_operator
from hadaflow.operators.block import dense
from hadaflow.problems import Problem

_NEAR = 1.25  # times later than the smallest error, the path has to have been followed


@dataclass(frozen=True, eq=False)
class FoldSearch:
    """Cross-validation, ready to run.

    Attributes
    ----------
    rows : Rows
        All data.
    folds : Folds
        Which of them are left out.
    followers : list of Surveying
        What is compared.
    shares : tuple of float
        Shares of the iterate that are compared.
    count : int
        Times that are compared.
    rule : str
        "min" or "one_se".
    job : callable
        What finds the errors of a fold.
    """

    rows: Rows
    folds: Folds
    followers: Sequence[Surveying]
    shares: tuple[float, ...]
    count: int
    rule: str
    job: Callable[..., Vector] | None = None

    def run(self, problem: Any) -> FoldSearchResult:
        """To half as many active coordinates as there are rows, as a rule far too many; else to the end of the path."""
        tracks = self._to(problem, self.followers, self.rows.half)
        short = [k for k, track in enumerate(tracks) if not track.seen_beyond]
        if short:
            longer = self._to(problem, [self.followers[k] for k in short], None)
            for k, track in zip(short, longer, strict=True):
                tracks[k] = track
        return FoldSearchResult(choose(np.stack([track.errors for track in tracks]), self.rule), tracks)

    def _to(self, problem: Any, followers: Sequence[Surveying], most: int | None) -> list[Compared]:
        horizons = [follower.survey(problem, most, self.folds.progress) for follower in followers]
        tracks = [
            Track(follower, horizon.grid(self.count), horizon.steps)
            for follower, horizon in zip(followers, horizons, strict=True)
        ]
        job = partial(self.job or fold_errors, whole=self.rows.total, tracks=tracks, shares=self.shares)
        errors = self.folds.run(job, self.rows, again=most is None)
        return [
            Compared(track.follower, horizon, track.times, each)
            for track, horizon, each in zip(tracks, horizons, np.stack(errors, axis=-1), strict=True)
        ]


@dataclass(frozen=True, eq=False)
class Compared:
    """A track, and the errors along it.

    Attributes
    ----------
    follower : Surveying
        What is followed.
    horizon : Horizon
        How far, on all data.
    times : ndarray of shape (times,)
        The times compared.
    errors : ndarray of shape (times, shares, folds)
        The errors there.
    """

    follower: Any
    horizon: Horizon
    times: Vector
    errors: Vector

    @property
    def seen_beyond(self) -> bool:
        """Whether the path was followed past the smallest error, or there is nothing more to see."""
        if self.horizon.ended:
            return True
        mean = self.errors.mean(axis=-1).min(axis=-1)
        return bool(self.times[int(mean.argmin())] * _NEAR <= self.horizon.last)


@dataclass(frozen=True, eq=False)
class FoldSearchResult:
    """What cross-validation came to.

    Attributes
    ----------
    choice : Choice
        Where to read off.
    tracks : list of Compared
        What was compared.
    """

    choice: Choice
    tracks: list[Compared]

    @property
    def best(self) -> Compared:
        """The track to read off."""
        return self.tracks[self.choice.track]

    @property
    def time(self) -> float:
        """When to read off."""
        return float(self.best.times[self.choice.time])

    @property
    def last_time(self) -> float:
        """The last time that could be compared."""
        return float(self.best.times[self.choice.last])

    @property
    def times(self) -> Vector:
        """All times, shape (tracks, times)."""
        return np.stack([track.times for track in self.tracks])

    @property
    def errors(self) -> Vector:
        """All errors, shape (tracks, times, shares, folds)."""
        return np.stack([track.errors for track in self.tracks])

    @property
    def cut_short(self) -> bool:
        """Whether the error is smallest at the last time compared, though some path goes on or broke off before."""
        whole = self.best.horizon.ended and self.choice.last == len(self.best.times) - 1
        return self.choice.smallest == self.choice.last and not whole


# ---- one fold --------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, eq=False)
class Track:
    """One path to take on every fold.

    Attributes
    ----------
    follower : Surveying
        What is followed.
    times : ndarray of shape (T,)
        When it is looked at, in time of the path on all data.
    steps : int
        How many steps or jumps that path took.
    """

    follower: Any
    times: Vector
    steps: int


def fold_errors(train: Rows, test: Rows, whole: float, tracks: list[Track], shares: tuple[float, ...]) -> Vector:
    """Mean squared errors of the rows left out, shape (tracks, times, shares); infinite where a path broke off before.

    Time runs as fast as there are rows: ``1/2 sum_j w_j (...)^2`` over a part of the ``whole`` does at time t what the
    sum over all rows does at t times that part. On the saddle path it runs for each feature as fast as the rows show of
    its square length, if that is more: an event that falls on a few rows, none of them left out, comes in no earlier
    than on all data.
    """
    design = train.design()
    problem = Problem(design.operator, design.target(train.y))
    errors = []
    with np.errstate(over="ignore"):  # errors beyond the range of doubles are infinite
        left_out = LeftOut(design, train, test)
        for track in tracks:
            points = track.follower.points(
                problem, train.total / whole, track.times, track.steps, averaged=min(shares) < 1
            )
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

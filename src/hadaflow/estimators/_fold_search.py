"""All candidates over all folds: the search of the regressor with cross-validation."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from hadaflow._types import Vector
from hadaflow.estimators._cross_validation import Choice, Fold, Rows, Track, all_errors, choose
from hadaflow.estimators._following import Follower, Horizon
from hadaflow.problems import Problem
from hadaflow.results import Progress, ProgressCallback

_NEAR = 1.25  # times later than the smallest error, the path has to have been followed


@dataclass(frozen=True, eq=False)
class Compared:
    """A track, and the errors along it.

    Attributes
    ----------
    follower : Follower
        What is followed.
    horizon : Horizon
        How far, on all data.
    times : ndarray of shape (times,)
        The times compared.
    errors : ndarray of shape (times, shares, folds)
        The errors there.
    """

    follower: Follower
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


@dataclass(frozen=True, eq=False)
class FoldSearch:
    """Cross-validation, ready to run.

    Attributes
    ----------
    rows : Rows
        All data.
    folds : list of pairs of int arrays
        Rows to train on, rows left out.
    followers : list of Follower
        What is compared.
    shares : tuple of float
        Shares of the iterate that are compared.
    count : int
        Times that are compared.
    rule : str
        "min" or "one_se".
    n_jobs : int or None
        Processes.
    progress : callable or None
        Told after each fold.
    """

    rows: Rows
    folds: list[Fold]
    followers: list[Follower]
    shares: tuple[float, ...]
    count: int
    rule: str
    n_jobs: int | None
    progress: ProgressCallback | None

    def run(self, problem: Problem, tasks: Iterator[int]) -> FoldSearchResult:
        """To half as many active coordinates as there are rows, as a rule far too many; else to the end of the path."""
        tracks = self._to(problem, self.followers, self.rows.half, tasks)
        short = [k for k, track in enumerate(tracks) if not track.seen_beyond]
        if short:
            longer = self._to(problem, [self.followers[k] for k in short], None, iter(()))
            for k, track in zip(short, longer, strict=True):
                tracks[k] = track
        return FoldSearchResult(choose(np.stack([track.errors for track in tracks]), self.rule), tracks)

    def _to(
        self, problem: Problem, followers: list[Follower], most: int | None, tasks: Iterator[int]
    ) -> list[Compared]:
        horizons = [follower.survey(problem, most, self.progress) for follower in followers]
        tracks = [
            Track(follower, horizon.grid(self.count), horizon.steps)
            for follower, horizon in zip(followers, horizons, strict=True)
        ]
        errors = []
        next(tasks, None)
        for each in all_errors(self.rows, self.folds, tracks, self.shares, self.n_jobs):
            errors.append(each)
            if self.progress is not None:
                message = f"fold {len(errors)} of {len(self.folds)}"
                self.progress(Progress("cross-validation", len(errors) / len(self.folds), message))
            if len(errors) < len(self.folds):
                next(tasks, None)
        return [
            Compared(track.follower, horizon, track.times, each)
            for track, horizon, each in zip(tracks, horizons, np.stack(errors, axis=-1), strict=True)
        ]

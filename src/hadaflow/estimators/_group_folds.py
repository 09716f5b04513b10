"""Regression in groups with folds: group lassos, least squares on their groups, and mixtures, by rows left out."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from hadaflow._types import Vector
from hadaflow.estimators._cv_fit import Settings, attributes_of, reason_of
from hadaflow.estimators._design import Design
from hadaflow.estimators._fold_search import FoldSearch, FoldSearchResult, LeftOut, Track
from hadaflow.estimators._folds import Folds
from hadaflow.estimators._following import Horizon, Points
from hadaflow.estimators._grouped import GroupedDesign, GroupedRegression, refitted
from hadaflow.estimators._linear_prediction import LinearFit
from hadaflow.estimators._prepared import Rows
from hadaflow.operators.block import dense
from hadaflow.results import Progress, ProgressCallback, Status
from hadaflow.selection.groupwise import FINE, GroupedData, Lasso, Lassos

_RATIO = 0.75  # of one penalty to the one before, in the survey
_LAST = 1e-4  # penalty, relative to the first, at which a path ends


@dataclass(frozen=True, eq=False)
class GroupLeaps:
    """Group lassos at ``time = 1 / penalty`` for the average of a path, least squares on their groups for its iterate.

    Attributes
    ----------
    grouped : GroupedDesign
        All data, whose bases serve all folds.
    regression : GroupedRegression
        The targets.
    """

    grouped: GroupedDesign
    regression: GroupedRegression

    def survey(self, problem: Any, most: int | None, progress: ProgressCallback | None) -> Horizon:
        """Follow the path until ``most`` coordinates are active; None for its end."""
        path = Lassos(self.regression.data)
        lassos = [path.empty]
        first, ended = path.first or 1.0, path.first == 0
        while not ended and len(lassos[-1].places) < (np.inf if most is None else most):
            lassos.append(path.at(path.first * _RATIO ** len(lassos)))
            ended = lassos[-1].penalty <= _LAST * path.first or len(lassos[-1].places) >= self.regression.data.rows
            if progress is not None:
                progress(Progress("group lasso", None, f"{len(lassos) - 1} penalties"))
        last = 1 / lassos[-1].penalty if len(lassos) > 1 else 1.0
        return Horizon(1 / first, last, ended, len(lassos) - 1, lassos)

    def at(self, horizon: Horizon, time: float, share: float) -> tuple[Vector, list[Lasso]]:
        """``share`` of least squares and the rest of the group lasso at one time, shape (N, L), and the path."""
        data, path = self.regression.data, Lassos(self.regression.data)
        if not time > 1 / (path.first or np.inf):
            return data.whole(path.empty.places, path.empty.values), horizon.path
        lasso = path.at(1 / time, FINE)
        x = data.whole(lasso.places, lasso.values)
        return share * refitted(data, x) + (1 - share) * x if share else x, horizon.path

    def errors(self, train: Rows, test: Rows, track: Track, part: float, shares: tuple[float, ...]) -> Vector:
        """Mean squared errors of the rows left out, shape (times, shares).

        Of several targets each counts in units of its own size.
        """
        design, sizes = train.design(), self.regression.sizes
        lassos, iterates = self._on(design, train, part / track.times, max(shares) > 0)
        bases, errors = self.grouped.bases, []
        for k, (mine, theirs) in enumerate(zip(train.targets(), test.targets(), strict=True)):
            first, second = (
                bases.coefficients(np.column_stack([x[:, k] for x in each])) * sizes[k] for each in (iterates, lassos)
            )
            used = np.flatnonzero((first != 0).any(axis=1) | (second != 0).any(axis=1))
            points = Points(used, first[used].T, second[used].T, np.ones(len(track.times), dtype=bool))
            errors.append(LeftOut(design, mine, theirs).errors(points, shares) / sizes[k] ** 2)
        return np.asarray(np.mean(errors, axis=0) * np.mean(sizes**2))

    def _on(self, design: Design, train: Rows, penalties: Vector, refit: bool) -> tuple[list[Vector], list[Vector]]:
        """Group lassos on the rows of a fold, and least squares on the groups of each."""
        columns = dense(design.operator.columns(np.arange(design.operator.shape[1])))
        left = np.column_stack([design.target(rows.y).astype(np.float64) for rows in train.targets()])
        whole = self.regression.data
        data = GroupedData(
            self.grouped.bases.again(columns), left / self.regression.sizes, whole.labels, whole.weights, design.rows
        )
        lassos, iterates, known = [], [], dict[bytes, Vector]()
        for lasso in Lassos(data).along(penalties):
            lassos.append(data.whole(lasso.places, lasso.values))
            key = np.sort(lasso.chosen).tobytes()
            if key not in known:
                known[key] = refitted(data, lassos[-1]) if refit else lassos[-1]
            iterates.append(known[key] if refit else lassos[-1])
        return lassos, iterates


def left_out_errors(train: Rows, test: Rows, whole: float, tracks: list[Track], shares: tuple[float, ...]) -> Vector:
    """As :func:`hadaflow.estimators._fold_search.fold_errors`, of group lassos."""
    part = train.total / whole
    errors = []
    for track in tracks:
        assert isinstance(track.follower, GroupLeaps)
        errors.append(track.follower.errors(train, test, track, part, shares))
    return np.stack(errors)


def cross_validated_groups(
    grouped: GroupedDesign, targets: list[Rows], folds: Folds, settings: Settings, rule: str, refit: bool
) -> tuple[list[LinearFit], FoldSearchResult]:
    """Targets that have one support of groups, read off where the error on rows left out is smallest."""
    regression = GroupedRegression(grouped, targets)
    follower = GroupLeaps(grouped, regression)
    rows = targets[0] if len(targets) == 1 else grouped.prepared.rows
    search = FoldSearch(rows, folds, [follower], settings.shares, settings.count, rule, left_out_errors)
    found = search.run(regression.data)
    share = settings.shares[found.choice.share]
    x, lassos = follower.at(found.best.horizon, found.time, share)
    attributes = {
        "status_": Status.STOPPED,
        "reason_": reason_of(found, share).replace("of the iterate", "of least squares on the groups"),
        "stop_time_": found.time,
        "best_fraction_": share,
    }
    return regression.fit(x, lassos, refit, attributes | attributes_of(found)), found

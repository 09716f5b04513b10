"""Cross-validation: which rows are left out, a job over the folds, and the choice by the errors that it finds."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray
from sklearn.base import is_classifier
from sklearn.model_selection import KFold, StratifiedKFold, check_cv
from sklearn.utils.parallel import Parallel, delayed

from hadaflow._threads import one_blas_thread
from hadaflow._types import Index, Vector
from hadaflow._validation import power_of_two, whole_number
from hadaflow.estimators._callbacks import subtasks
from hadaflow.estimators._prepared import Prepared, Rows
from hadaflow.results import Progress, ProgressCallback

#: Rows to train on, and rows left out.
Fold = tuple[Index, Index]
Result = TypeVar("Result")

_FOLDS = 5  # where cv is None
_ROUNDING = 1e-14  # of the error of the empty model: errors closer than that are one and the same


@dataclass(frozen=True, eq=False)
class Folds:
    """Folds of prepared rows, and the way a job goes over them.

    Attributes
    ----------
    pairs : list of pairs of int arrays
        Rows to train on and rows left out, counted among the rows that were kept.
    n_jobs : int or None
        How many at a time.
    progress : callable or None
        Told after each.
    tasks : iterator
        Tells the callbacks of scikit-learn of the next fold; exhaust it in the end.
    """

    pairs: list[Fold]
    n_jobs: int | None
    progress: ProgressCallback | None
    tasks: Iterator[int]

    @classmethod
    def of(cls, estimator: Any, data: tuple[Any, NDArray[Any], Any], prepared: Prepared, count: int) -> Folds:
        """Folds by the parameters ``cv``, ``n_jobs`` and ``progress`` of an estimator.

        Parameters
        ----------
        estimator : SparseFlowRegressorCV or SparseFlowClassifier
            Whose parameters are meant; a classifier has the classes spread over the folds.
        data : tuple
            X, y and groups, with all rows given.
        prepared : Prepared
            The rows that were kept.
        count : int
            How often a job goes over the folds.
        """
        jobs = estimator.n_jobs
        if jobs is not None and (not isinstance(jobs, (int, np.integer)) or jobs == 0):
            raise ValueError(f"n_jobs must be None or a whole number other than 0 (-1 for all cores), got {jobs!r}")
        pairs = _pairs(estimator.cv, *data, prepared, is_classifier(estimator))
        tasks = subtasks(estimator, list(range(len(pairs) * count)), "fold", *data[:2])
        return cls(pairs, None if jobs is None else int(jobs), estimator.progress, tasks)

    def __len__(self) -> int:
        return len(self.pairs)

    def run(self, job: Callable[[Rows, Rows], Result], rows: Rows, *, again: bool = False) -> list[Result]:
        """What the job makes of the rows to train on and those left out, for each fold in its order.

        ``again`` says that it is not the first time for these rows: then it is part of the last task.
        """
        tasks = iter(()) if again else self.tasks
        results: list[Result] = []
        calls = (delayed(_alone)(job, rows, pair) for pair in self.pairs)
        next(tasks, None)
        for result in Parallel(n_jobs=self.n_jobs, return_as="generator")(calls):
            results.append(result)
            if self.progress is not None:
                message = f"fold {len(results)} of {len(self)}"
                self.progress(Progress("cross-validation", len(results) / len(self), message))
            if len(results) < len(self):
                next(tasks, None)
        return results


def _alone(job: Callable[[Rows, Rows], Result], rows: Rows, pair: Fold) -> Result:
    """One fold. BLAS works with one thread whichever process this runs in, so that all get the same bits."""
    with one_blas_thread():
        return job(rows.take(pair[0]), rows.take(pair[1]))


# ---- which rows are left out ------------------------------------------------------------------------------------


def _pairs(cv: Any, X: Any, y: NDArray[Any], groups: Any, prepared: Prepared, classes: bool) -> list[Fold]:
    """The folds. A number is one of folds of the rows kept; a splitter and splits count all rows given.

    Rows of weight 0 are as if absent: so is a fold that has no others to train on or to test on.
    """
    if groups is not None and len(groups) != len(y):
        raise ValueError(f"groups must have one entry per row of X ({len(y)}), got {len(groups)}")
    labels = prepared.rows.y
    if cv is None or isinstance(cv, (int, np.integer)):
        count = whole_number(_FOLDS if cv is None else cv, "cv", minimum=2)
        return _stratified(labels, count) if classes else list(KFold(count).split(labels))
    place = np.full(len(y), -1)
    place[prepared.kept] = np.arange(len(prepared.kept))
    given = [(place[train], place[test]) for train, test in check_cv(cv, y, classifier=classes).split(X, y, groups)]
    if not given:
        raise ValueError(
            "cv leaves out nothing: it has to give at least one pair of rows to train on and rows to test on"
        )
    pairs = []
    for k, pair in enumerate(given):
        for index, purpose in zip(pair, ("train", "test"), strict=True):
            if len(index) == 0:
                raise ValueError(f"fold {k} of cv has no rows to {purpose} on: take fewer folds, or another splitter")
        train, test = (index[index >= 0] for index in pair)
        if len(train) and len(test):
            pairs.append((train, test))
            if classes:
                _check_classes(k, labels[train], labels)
    if not pairs:
        raise ValueError(
            "no fold of cv has rows of positive weight both to train on and to test on: weights of 0 leave rows out"
        )
    return pairs


def _check_classes(k: int, shown: NDArray[Any], labels: NDArray[Any]) -> None:
    """Each fold has to show every class: of one that it has not seen it would say that it does not exist."""
    missing = np.setdiff1d(labels, shown)
    if len(missing):
        raise ValueError(
            f"fold {k} of cv has no row of class {missing[0]!s} to train on (of positive weight), so that its loss "
            f"says nothing about that class: take a splitter that spreads the classes, such as StratifiedKFold or "
            f'StratifiedGroupKFold, fewer folds, or stop="criterion", which needs none'
        )


def _stratified(labels: NDArray[Any], count: int) -> list[Fold]:
    """Stratified folds, no more of them than the smallest class has rows."""
    classes, sizes = np.unique(labels, return_counts=True)
    if sizes.min() < 2:
        raise ValueError(
            f"cross-validation needs 2 rows of each class, but there is 1 of {classes[sizes.argmin()]!s}: pass splits "
            f'of your own as cv, or stop="criterion", which needs no folds'
        )
    return list(StratifiedKFold(min(count, int(sizes.min()))).split(np.zeros(len(labels)), labels))


# ---- the choice -------------------------------------------------------------------------------------------------


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


def summary(errors: Vector, weights: Vector | None = None) -> tuple[Vector, Vector]:
    """Mean over the folds, the last axis, which may count by weights, and its standard error (0 for one fold)."""
    folds = errors.shape[-1]
    with np.errstate(over="ignore"):
        mean = np.asarray(np.average(errors, axis=-1, weights=weights))
    deviation, known = np.zeros_like(mean), np.isfinite(mean)
    if folds > 1 and known.any():
        unit = power_of_two(float(mean[known].max()))  # squares of errors may be beyond all numbers
        squares = ((errors[known] - mean[known, None]) / unit) ** 2
        deviation[known] = np.sqrt(np.average(squares, axis=-1, weights=weights) / (folds - 1)) * unit
    return mean, deviation


def choose(errors: Vector, rule: str = "min", weights: Vector | None = None) -> Choice:
    """The smallest mean error, the latest of equals; or the earliest time within one standard error of it.

    ``errors`` has the shape (tracks, times, shares, folds). Between two jumps nothing changes. All data may have the
    second half of a plateau only in common with the folds.
    """
    mean, deviation = summary(errors, weights)
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

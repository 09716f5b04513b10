"""How far the saddle path has to be followed, and the best model and the best average on it."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import scipy.linalg as la

from hadaflow._types import Index, Vector
from hadaflow.paths import SaddlePath
from hadaflow.results import Status
from hadaflow.selection._search import Search
from hadaflow.selection.least_squares import Fit

_FIRST = 48  # jumps of the first look at the path
_STARTS = 6  # plateaus from which a model is looked for
_NEAR = 4.0  # times the excess risk of the best model: above, the average is not expected to fall below it
_FEW, _SPARE, _SLAB = 128, 32, 1 << 24  # columns, rows beyond twice as many, and entries, that are looked at at once
_NEARLY = 1e-2  # of its square length left by earlier ones: a column that nearly depends on others
_HUGE = 1e6  # times the square of y: entries of x whose images cancel, which inner products do not survive
_ROOM = 3  # times as many entries as the best model has, the path has to have seen


@dataclass(frozen=True, eq=False)
class Average:
    """A point of the running average, and how well it can be expected to predict.

    Attributes
    ----------
    time : float
        Rescaled time of the path; infinite where the average has become the end itself.
    risk : float
        Mallows' estimate of its mean squared error on new measurements.
    count : int
        Degrees of freedom: active coordinates.
    """

    time: float
    risk: float
    count: int


@dataclass(frozen=True, eq=False)
class Explored:
    """What was found along the path.

    Attributes
    ----------
    path : SaddlePath
        As far as it was followed.
    criteria : ndarray of shape (K,)
        Criterion of each plateau; infinite for those with more entries than are considered.
    fit : Fit
        The best model.
    average : Average
        The best point of the running average.
    """

    path: SaddlePath
    criteria: Vector
    fit: Fit
    average: Average


def explore(search: Search, follow: Callable[[int], SaddlePath]) -> Explored:
    """Follow the path, twice as far each time, until neither the best model nor the best average lies near its end."""
    most = max(2, min(search.operator.shape[1], search.criterion.rows))
    events = min(_FIRST, 2 * most)
    spanned = _whole(search)
    while True:
        path = follow(events)
        sizes = np.diff(path.x.indptr)
        fits = _PlateauFits.of(search, path)
        criteria = np.full(len(sizes), np.inf)
        known = sizes <= search.criterion.most
        criteria[known] = search.criterion(np.maximum(fits.rss[known], search.pool.floor), sizes[known])
        best = search.polished(_best_model(search, path, int(criteria.argmin()), spanned))
        average = fits.best_average(search.variance(best), search.criterion.rows)
        room = _ROOM * len(best) <= sizes.max()
        hopeless = average.risk > search.variance(best) * (1 + _NEAR * len(best) / search.criterion.rows)
        past = average.time <= path.times[3 * len(path.times) // 4]
        exact = best.rss <= search.pool.floor
        if path.status.ok or events >= most or (room and (past or hopeless) and not exact):
            return Explored(path, criteria, _simplest(search, path, best) if exact else best, average)
        events *= 2


def _simplest(search: Search, path: SaddlePath, best: Fit) -> Fit:
    """Of the fits that leave nothing of y, which no criterion tells apart: the end of the path, if none is sparser."""
    end = np.flatnonzero(path.final)
    if path.status is not Status.EXACT or len(end) > len(best):
        return best
    search.pool.extend(end)
    fit = search.polished(search.pool.fit(search.pool.working.positions_of(end)))
    return best if search.illegal(fit) else fit


def _best_model(search: Search, path: SaddlePath, likely: int, spanned: Fit | None) -> Fit:
    """The best end of local searches from plateaus of several sizes, and from one more fit."""
    sizes = np.diff(path.x.indptr)
    _widen(search, path)
    top = max(1, min(int(sizes.max()), search.criterion.most))
    wanted = np.unique(np.geomspace(1, top, _STARTS).astype(np.intp))
    rows = {likely, *(int(np.argmax(sizes >= size)) for size in wanted if size <= sizes.max())}
    starts = [search.start(path.x[[row]].indices) for row in sorted(rows)]
    starts += [] if spanned is None else [spanned]
    distinct = {tuple(np.sort(search.coordinates(fit))): fit for fit in starts}
    return min((search.settle(fit) for fit in distinct.values()), key=search.value)


def _whole(search: Search) -> Fit | None:
    """All columns, pruned, where they are few and some nearly depend on others.

    Such columns may say together what none says alone, and no single change of a support finds them.
    """
    (m, n), every = search.operator.shape, np.arange(search.operator.shape[1])
    if search.operator.costs.matrix_free or n > min(search.criterion.most, _FEW) or m * n > _SLAB or n < 2:
        return None
    columns = search.operator.columns(every)
    columns = columns.toarray() if hasattr(columns, "toarray") else columns
    present = np.flatnonzero(search.squares > 0)
    some = np.unique(np.linspace(0, m - 1, 2 * n + _SPARE).astype(np.intp))  # what depends on others does so there
    return search.start(present) if _close(columns[some][:, present]) and _close(columns[:, present]) else None


def _close(columns: Vector) -> bool:
    """Whether some column nearly depends on earlier ones."""
    gram = columns.T @ columns
    r, failed = la.lapack.dpotrf(gram, lower=0)
    return bool(failed != 0 or (r.diagonal() ** 2 <= _NEARLY * gram.diagonal()).any())


def _widen(search: Search, path: SaddlePath) -> None:
    """Let those coordinates into the pool that the path was nearest to where it broke off."""
    inside = search.pool.working.inside
    more = min(int((~inside).sum()), max(32, int(inside.sum()) // 2))
    if more == 0 or search.operator.costs.matrix_free:
        return
    reach = np.abs(search.operator.rmatvec(path.dual)) / np.sqrt(np.where(search.squares > 0, search.squares, np.inf))
    reach[inside] = -1.0
    search.pool.extend(np.argpartition(-reach, more - 1)[:more])


@dataclass(frozen=True, eq=False)
class _PlateauFits:
    """Residual sums of squares along a path: of its plateaus, and of the average as ``x_k + s w_k``, ``s = 1 / tau``.

    On plateau k the average is ``(I_k + (tau - tau_k) x_k) / tau`` with the integral ``I_k`` up to its start: linear in
    ``s``, so that its residual sum of squares is ``rss - 2 s slope + s^2 curvature``.
    """

    rss: Vector
    slope: Vector
    curvature: Vector
    counts: Index
    times: Vector
    ended: bool  # else it is not known how long the last plateau lasts

    @classmethod
    def of(cls, search: Search, path: SaddlePath) -> _PlateauFits:
        pool, plateaus = search.pool, path.x
        visited = np.unique(plateaus.indices)
        pool.extend(visited)
        positions = pool.working.positions_of(visited)
        gram, pull = pool.gram[np.ix_(positions, positions)], pool.pull[positions]
        x = plateaus[:, visited].toarray().astype(np.float64)
        spans = np.diff(path.times)[:, None] * x[:-1]
        w = np.vstack([np.zeros((1, len(visited))), spans.cumsum(axis=0)]) - path.times[:, None] * x
        if float(np.abs(x).sum(axis=1).max(initial=0.0)) ** 2 > _HUGE * pool.square:
            columns = pool.columns(positions)
            left, image = pool.y - x @ columns.T, w @ columns.T
            rss, slope, curvature = (left**2).sum(axis=1), (left * image).sum(axis=1), (image**2).sum(axis=1)
        else:
            image, bent = x @ gram, w @ gram
            rss = np.maximum(pool.square - 2 * x @ pull + (image * x).sum(axis=1), 0.0)
            slope, curvature = w @ pull - (image * w).sum(axis=1), (bent * w).sum(axis=1)
        counts = np.diff(plateaus.indptr).astype(np.intp)
        return cls(rss, slope, curvature, counts, path.times, path.status.ok)

    def best_average(self, variance: float, rows: int) -> Average:
        """Where ``rss / rows + 2 variance count / rows`` is smallest."""
        earliest = 1 / np.maximum(self.times, 1e-300)
        latest = np.append(earliest[1:], 0.0 if self.ended else earliest[-1])
        flat = np.divide(self.slope, self.curvature, out=earliest.copy(), where=self.curvature > 0)
        s = np.clip(flat, latest, earliest)
        s[0] = 0.0  # the first plateau is zero, and so is the average on it
        rss = np.maximum(self.rss - 2 * s * self.slope + s**2 * self.curvature, 0.0)
        risk = (rss + 2 * variance * self.counts) / rows
        k = int(risk.argmin())
        time = 0.0 if k == 0 else math.inf if s[k] == 0 else 1 / float(s[k])
        return Average(time, float(risk[k]), int(self.counts[k]))

"""From a plateau of the saddle path to the nearest model that no single change improves."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from hadaflow._span import Span
from hadaflow._types import Index, Vector
from hadaflow.operators import Operator
from hadaflow.selection.criterion import Criterion
from hadaflow.selection.least_squares import Candidates, Fit, Moves, Pool

_NEWCOMERS = 8  # columns that join the pool at a time when the search was too narrow
_TRIALS = 10  # moves that rounding may rule out before the search ends
_MARGIN = 1e-9  # by which a criterion has to be better, so that rounding does not make the search go in circles


@dataclass
class Search:
    """Local search under an information criterion.

    Moves are to add a column, to drop one, or to exchange one for another; the best one is taken until none helps.
    It runs on a pool of columns; then all of A is looked at, and columns that would have helped join the pool.
    """

    operator: Operator
    y: Vector
    pull: Vector
    squares: Vector
    criterion: Criterion
    rounding: Vector
    positive: bool = False

    def __post_init__(self) -> None:
        self.pool = Pool(self.operator, self.y, self.pull, self.rounding)

    def value(self, fit: Fit) -> float:
        """The criterion."""
        return float(self.criterion(fit.rss, len(fit)))

    def variance(self, fit: Fit) -> float:
        """Of the noise in one measurement, as the residual of a fit tells it."""
        return fit.rss / max(1, self.criterion.rows - len(fit))

    def weakest(self, fit: Fit) -> float:
        """By how much the criterion rises when the weakest column is dropped."""
        return float(self.criterion(fit.rss + self._losses(fit).min(), len(fit) - 1)) - self.value(fit)

    def start(self, support: Index) -> Fit:
        """Least squares on a support, pruned."""
        self.pool.extend(support)
        fit = self.pool.fit(self.pool.working.positions_of(support))
        while len(fit) and (self.illegal(fit) or len(fit) > self.criterion.most):
            fit = self.pool.shrunk(fit, int((fit.values if self.positive else self._losses(fit)).argmin()))
        return self._pruned(fit)

    def settle(self, fit: Fit) -> Fit:
        """The end of the search from ``fit``: no single change of its support improves the criterion."""
        while True:
            fit = self._settled_in_pool(fit)
            newcomers = self._missed(fit)
            if len(newcomers) == 0:
                return fit
            self.pool.extend(newcomers)

    def polished(self, fit: Fit) -> Fit:
        """The same support from the data themselves: the Gram matrix has half their digits."""
        if len(fit) == 0 or fit.basis is not None:
            return fit
        chosen = fit.positions
        support = Span(self.pool.working.columns[:, chosen], self.pool.gram[np.ix_(chosen, chosen)])
        values = support.least_squares(self.y, fit.values)
        left = self.y - support.columns @ values
        polished = replace(fit, values=values, rss=max(float(left @ left), self.pool.floor))
        return fit if self.illegal(polished) else polished

    def illegal(self, fit: Fit) -> bool:
        """Whether a fit breaks a sign constraint."""
        return self.positive and bool((fit.values <= 0).any())

    def coordinates(self, fit: Fit) -> Index:
        """The support of a fit, in columns of A."""
        return np.asarray(self.pool.working.index[fit.positions])

    # ---- moves -------------------------------------------------------------------------------------------------

    def _settled_in_pool(self, fit: Fit) -> Fit:
        while (better := self._better(fit)) is not None:
            fit = better
        return fit

    def _better(self, fit: Fit) -> Fit | None:
        """The best single change, if it improves the criterion."""
        pool, index = self.pool, self.pool.working.index
        squares, rounding = pool.gram.diagonal(), self.rounding[index]
        candidates = Candidates.of(pool, fit, None, squares, pool.pull, rounding)
        after = self._after(fit, candidates, fit.positions)
        now = self.value(fit) - _MARGIN * (1 + abs(self.value(fit)))
        for change in _smallest(after, now):
            changed = self._changed(fit, int(change))
            if not self.illegal(changed) and self.value(changed) < now:
                return changed
        return None

    def _after(self, fit: Fit, candidates: Candidates, inside: Index) -> Vector:
        """The criterion after each change: adding each of w columns, dropping each of k, exchanging (w, k)."""
        moves = Moves.of(fit, candidates, inside, self.positive)
        count = len(fit)
        added = np.full(len(candidates.squares), np.inf)
        if count < self.criterion.most:
            added = self._valued(fit, moves.added, count + 1)
        dropped = self._valued(fit, moves.dropped, count - 1)
        return np.concatenate([added, dropped, self._valued(fit, moves.exchanged, count).ravel()])

    def _valued(self, fit: Fit, change: Vector, count: int) -> Vector:
        return self.criterion(np.maximum(fit.rss + change, self.pool.floor), count)

    def _changed(self, fit: Fit, change: int) -> Fit:
        """After one of the changes that :meth:`_after` numbers."""
        w, k = len(self.pool.working), len(fit)
        if change < w:
            return self.pool.grown(fit, change)
        if change < w + k:
            return self.pool.shrunk(fit, change - w)
        j, i = divmod(change - w - k, k)
        return self.pool.grown(self.pool.shrunk(fit, i), j)

    def _pruned(self, fit: Fit) -> Fit:
        """Drop what is not worth its price, the weakest first."""
        while len(fit):
            losses = self._losses(fit)
            i = int(losses.argmin())
            if not self.criterion(fit.rss + losses[i], len(fit) - 1) <= self.value(fit):
                break
            smaller = self.pool.shrunk(fit, i)
            while self.illegal(smaller):
                smaller = self.pool.shrunk(smaller, int(smaller.values.argmin()))
            fit = smaller
        fresh = self.pool.fit(fit.positions)  # free of the rounding of the updates
        return fit if self.illegal(fresh) else fresh

    def _missed(self, fit: Fit) -> Index:
        """Columns outside the pool that would improve the criterion; about one pass over A."""
        if self.operator.costs.matrix_free:  # a product for each of the support, and no lengths of columns
            return np.empty(0, dtype=np.intp)
        candidates = Candidates.of(self.pool, fit, self.operator, self.squares, self.pull, self.rounding)
        n, k = len(self.squares), len(fit)
        after = self._after(fit, candidates, self.coordinates(fit))
        best, now = np.minimum(after[:n], after[n + k :].reshape(n, k).min(axis=1, initial=np.inf)), self.value(fit)
        best[self.pool.working.index] = np.inf
        better = np.flatnonzero(best < now - _MARGIN * (1 + abs(now)))
        return better[np.argsort(best[better], kind="stable")][:_NEWCOMERS]

    # ---- parts -------------------------------------------------------------------------------------------------

    def _losses(self, fit: Fit) -> Vector:
        return np.asarray(fit.values**2 / fit.inverse.diagonal())


def _smallest(values: Vector, below: float) -> Index:
    """Where the few smallest of those below a level stand, in ascending order."""
    found = np.flatnonzero(values < below)
    if len(found) > _TRIALS:
        found = found[np.argpartition(values[found], _TRIALS)[:_TRIALS]]
    return np.asarray(found[np.argsort(values[found], kind="stable")])

"""From the groups of a lasso to the nearest model of groups that no single change improves."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import scipy.linalg as la

from hadaflow._types import Index, Mask, Vector
from hadaflow.selection.groupwise.data import GroupedData
from hadaflow.selection.groupwise.prices import GroupPrices, Sizes

_DEPENDENT = 1e-7  # pivot of a unit column that others explain
_TOUCH = 1e-10  # on what is left of unit columns, so that systems of dependent ones can be solved
_TRIALS = 10  # moves that rounding may rule out before the search ends
_MARGIN = 1e-9  # by which a criterion has to be better, so that rounding does not make the search go in circles
_AT_ONCE = 4  # a fraction of the groups, one over this, that is dropped at once from a model that has many
_FLOOR = 1e-13  # residual sums of squares below it, relative to that of y, are rounding


@dataclass(frozen=True, eq=False)
class GroupModel:
    """Least squares on some groups.

    Attributes
    ----------
    chosen : tuple of int
        The groups, ascending.
    places : int array of shape (s,)
        Their columns, group by group.
    sizes : tuple of int
        How many each has.
    basis, factor : ndarray of shape (m, s) and (s, s)
        The columns, ``basis @ factor``, as orthogonal factors.
    image : ndarray of shape (s, L)
        ``basis^T Y``.
    residual : ndarray of shape (m, L)
        What is left of Y.
    rss : float
        Its square.
    """

    chosen: tuple[int, ...]
    places: Index
    sizes: tuple[int, ...]
    basis: Vector
    factor: Vector
    image: Vector
    residual: Vector
    rss: float

    @property
    def values(self) -> Vector:
        """X on the columns, shape (s, L)."""
        return np.asarray(la.solve_triangular(self.factor, self.image, check_finite=False))

    @property
    def independent(self) -> bool:
        """Whether no column is explained by the others."""
        s = len(self.places)
        return s <= len(self.basis) and float(np.abs(self.factor.diagonal()).min(initial=1.0)) > _DEPENDENT


@dataclass(frozen=True, eq=False)
class _Alike:
    """The groups of one size: their numbers, and their columns, shape (G, r)."""

    size: int
    numbers: Index
    places: Index


class GroupSearch:
    """Local search under an information criterion for groups.

    Moves are to add a group, to drop one, or to exchange one for another; the best one is taken until none helps.

    Parameters
    ----------
    data : GroupedData
        Columns, orthonormal within each group, and Y.
    prices : GroupPrices
        The criterion.
    """

    def __init__(self, data: GroupedData, prices: GroupPrices) -> None:
        self.columns, self.target, self.prices = data.columns, data.target, prices
        self.floor = _FLOOR * float(np.vdot(data.target, data.target)) or 1e-300
        order, sizes = np.argsort(data.labels, kind="stable"), np.bincount(data.labels)
        ends = np.cumsum(sizes)
        self._places = [order[end - size : end] for end, size in zip(ends, sizes, strict=True)]
        self._alike = []
        for size in np.unique(sizes):
            numbers = np.flatnonzero(sizes == size)
            self._alike.append(_Alike(int(size), numbers, np.array([self._places[g] for g in numbers])))
        self._settled: dict[tuple[int, ...], GroupModel] = {}
        self._worth: dict[tuple[int, ...], float] = {}

    def value(self, model: GroupModel) -> float:
        """The criterion; infinite for dependent columns, which say nothing that fewer would not."""
        return float(self.prices.value(model.rss, _ascending(model.sizes))) if model.independent else np.inf

    def variance(self, model: GroupModel) -> float:
        """Of the noise in one measurement, as the residual of a model tells it."""
        left = self.prices.rows - len(model.places)
        return model.rss / (max(1, left) * self.prices.targets)

    def model(self, chosen: tuple[int, ...]) -> GroupModel:
        """Least squares on some groups."""
        chosen = tuple(sorted(chosen))
        parts = [self._places[g] for g in chosen]
        places = np.concatenate([*parts, np.empty(0, dtype=np.intp)])
        q, r = np.linalg.qr(self.columns[:, places])
        image = q.T @ self.target
        residual = self.target - q @ image
        rss = max(float(np.vdot(residual, residual)), self.floor)
        return GroupModel(chosen, places, tuple(len(part) for part in parts), q, r, image, residual, rss)

    def worth(self, chosen: Index, count: int) -> float:
        """The criterion of least squares on some groups of so many columns; infinite where they are too many."""
        key = tuple(sorted(int(g) for g in chosen))
        if key not in self._worth:
            self._worth[key] = self.value(self.model(key)) if count <= self.prices.most else np.inf
        return self._worth[key]

    def start(self, chosen: Index) -> GroupModel:
        """A model of these groups, the first that there is room for, without those that are not worth their price."""
        sizes = np.array([len(self._places[g]) for g in chosen], dtype=np.intp)
        kept = chosen[np.cumsum(sizes) <= self.prices.most]
        model = self.model(tuple(int(g) for g in kept))
        while not model.independent:
            kept = kept[:-1]
            model = self.model(tuple(int(g) for g in kept))
        while model.chosen:
            k = len(model.chosen)
            weakest = np.argsort(self._losses(model), kind="stable")
            for count in dict.fromkeys((max(1, k // _AT_ONCE), 1)):
                dropped = {model.chosen[i] for i in weakest[:count]}
                smaller = self.model(tuple(g for g in model.chosen if g not in dropped))
                if self.value(smaller) <= self.value(model):
                    break
            else:
                return model
            model = smaller
        return model

    def settle(self, model: GroupModel) -> GroupModel:
        """The end of the search from a model: no single change of its groups improves the criterion."""
        seen = []
        while model.chosen not in self._settled:
            seen.append(model.chosen)
            better = self._better(model)
            if better is None:
                self._settled[model.chosen] = model
            else:
                model = better
        end = self._settled[model.chosen]
        self._settled.update(dict.fromkeys(seen, end))
        return end

    def weakest(self, model: GroupModel) -> float:
        """By how much the criterion rises when the weakest group is dropped."""
        smaller = [self.value(self.model(_without(model.chosen, i))) for i in range(len(model.chosen))]
        return min(smaller) - self.value(model)

    # ---- moves -------------------------------------------------------------------------------------------------

    def _better(self, model: GroupModel) -> GroupModel | None:
        """The best single change, if it improves the criterion."""
        now = self.value(model) - _MARGIN * (1 + abs(self.value(model)))
        found = [move for move in self._moves(model) if move[0] < now]
        for _, chosen in sorted(found)[:_TRIALS]:
            changed = self.model(chosen)
            if self.value(changed) < now:
                return changed
        return None

    def _moves(self, model: GroupModel) -> Iterator[tuple[float, tuple[int, ...]]]:
        """The criterion after the best changes of each kind, and the groups after it."""
        losses, directions = self._drops(model)
        inside, sizes = model.chosen, model.sizes
        for i, loss in enumerate(losses):
            smaller = _without(inside, i)
            yield self._after(model.rss + loss, _without(sizes, i)), smaller
        seen, pull = model.basis.T @ self.columns, self.columns.T @ model.residual
        for alike in self._alike:
            here = np.moveaxis(seen[:, alike.places], 1, 0)  # (G, s, r)
            left = np.eye(alike.size) * (1 + _TOUCH) - np.swapaxes(here, 1, 2) @ here
            pulled, taken = pull[alike.places], np.isin(alike.numbers, inside)
            if sum(sizes) + alike.size <= self.prices.most:
                yield from self._best(alike, _gains(left, pulled), taken, model.rss, sizes, inside)
            for i, (loss, turned) in enumerate(zip(losses, directions, strict=True)):
                back = turned.T @ here  # what the dropped group alone explained of each
                across = np.swapaxes(back, 1, 2)
                gains = _gains(left + across @ back, pulled + across @ (turned.T @ model.image))
                rss, rest = model.rss + loss, _without(sizes, i)
                yield from self._best(alike, gains, taken, rss, rest, _without(inside, i))

    def _best(
        self, alike: _Alike, gains: Vector, taken: Mask, rss: float, sizes: Sizes, inside: tuple[int, ...]
    ) -> Iterator[tuple[float, tuple[int, ...]]]:
        """The few best groups of one size to come in."""
        gains = np.where(taken, -np.inf, gains)
        for k in np.argsort(-gains, kind="stable")[:_TRIALS]:
            if gains[k] > 0:
                yield self._after(rss - float(gains[k]), (*sizes, alike.size)), (*inside, int(alike.numbers[k]))

    def _after(self, rss: float, sizes: Sizes) -> float:
        return float(self.prices.value(max(rss, self.floor), _ascending(sizes)))

    def _losses(self, model: GroupModel) -> Vector:
        """By how much dropping each group raises the residual sum of squares, all groups of one size at once."""
        inverse = _inverse(model)
        gram, values = inverse @ inverse.T, inverse @ model.image
        sizes, losses = np.array(model.sizes), np.empty(len(model.sizes))
        starts = np.cumsum(sizes) - sizes
        for size in np.unique(sizes):
            of_size = np.flatnonzero(sizes == size)
            index = starts[of_size, None] + np.arange(size)
            losses[of_size] = _gains(gram[index[:, :, None], index[:, None, :]], values[index])
        return losses

    def _drops(self, model: GroupModel) -> tuple[Vector, list[Vector]]:
        """By how much dropping each group raises the residual sum of squares; what of the basis it alone spans."""
        if not model.chosen:
            return np.empty(0), []
        inverse = _inverse(model).T
        ends = np.cumsum(model.sizes)
        directions = [
            np.linalg.qr(inverse[:, end - size : end])[0] for end, size in zip(ends, model.sizes, strict=True)
        ]
        losses = [float(np.sum((turned.T @ model.image) ** 2)) for turned in directions]
        return np.array(losses), directions


def _inverse(model: GroupModel) -> Vector:
    """The inverse of the triangular factor."""
    return np.asarray(la.lapack.dtrtri(_touched(model.factor))[0])


def _gains(left: Vector, pulled: Vector) -> Vector:
    """By how much groups lower the residual sum of squares, from what is left of their Gram matrices."""
    return np.asarray((pulled * np.linalg.solve(left, pulled)).sum(axis=(1, 2)))


def _touched(factor: Vector) -> Vector:
    """A triangular factor without zeros on its diagonal."""
    diagonal = factor.diagonal()
    least = np.where(np.abs(diagonal) > _TOUCH, diagonal, _TOUCH)
    touched = np.array(factor)
    touched[np.diag_indices(len(touched))] = least
    return touched


def _without(items: tuple[int, ...], i: int) -> tuple[int, ...]:
    return items[:i] + items[i + 1 :]


def _ascending(sizes: Sizes) -> Sizes:
    return tuple(sorted(sizes))

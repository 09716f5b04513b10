"""What a model of groups has to be worth: information criteria that count coordinates and the choice among groups."""

from __future__ import annotations

import math

import numpy as np
from scipy.special import betaincinv, gammaln

from hadaflow._types import Index, Vector
from hadaflow.selection.criterion import CriterionName
from hadaflow.selection.groupwise.data import GroupedData

#: Sizes of the groups of a model, ascending.
Sizes = tuple[int, ...]


class GroupPrices:
    """``observations log(rss) + price(sizes)``: the smaller, the more plausible is a model of groups of these sizes.

    ::

        "fdr"   sum over groups of observations log(1 + r_j F_j / d_j), the smallest groups first, with r_j numbers in
                group j, d_j left after it, and F_j such that P(F(r_j, d_j) > F_j) = min(chance (j + 1) / G, 1/2)
        "ebic"  s log(observations) + 2 log binomial(G, k)    for s numbers in k groups
        "bic"   s log(observations)
        "aic"   2 s

    For groups of one these are the prices of :func:`hadaflow.criterion_prices`.

    Parameters
    ----------
    data : GroupedData
        The regression: G groups to choose from.
    criterion : str
        One of those above.
    chance : float
        Level of "fdr".
    """

    def __init__(self, data: GroupedData, criterion: CriterionName, chance: float) -> None:
        self.rows, self.count, self.targets, self.observations = data.rows, data.count, data.targets, data.observations
        #: Coordinates of the largest model that is considered.
        self.most = max(0, data.rows - 2)
        self._criterion, self._chance = criterion, chance
        self._known: dict[Sizes, float] = {}

    def __call__(self, sizes: Sizes) -> float:
        """The price of a model; infinite where nothing would be left to tell the noise from."""
        if sizes not in self._known:
            self._known[sizes] = self._price(np.array(sizes, dtype=np.intp)) if sum(sizes) <= self.most else math.inf
        return self._known[sizes]

    def value(self, rss: Vector | float, sizes: Sizes) -> Vector:
        """The criterion."""
        return np.asarray(self.observations * np.log(rss) + self(sizes))

    def _price(self, sizes: Index) -> float:
        numbers = float(sizes.sum() * self.targets)
        if self._criterion == "ebic":
            k = len(sizes)
            ways = gammaln(self.count + 1) - gammaln(k + 1) - gammaln(self.count - k + 1)
            return numbers * math.log(self.observations) + 2 * float(ways)
        if self._criterion != "fdr":
            return numbers * (math.log(self.observations) if self._criterion == "bic" else 2.0)
        level = np.minimum(self._chance * np.arange(1, len(sizes) + 1) / self.count, 0.5)
        left = (self.rows - np.cumsum(sizes)) * self.targets
        # 1 / (1 + r F / d) has a beta distribution: its lower quantile keeps its digits far in the tail.
        return float(-self.observations * np.log(betaincinv(left / 2, sizes * self.targets / 2, level)).sum())

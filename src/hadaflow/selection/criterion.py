"""What an entry of x has to be worth: information criteria for least squares on a support."""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import lru_cache
from typing import Literal

import numpy as np
from scipy.special import gammaln, stdtrit

from hadaflow._types import Vector
from hadaflow._validation import one_of, positive_number, whole_number

CriterionName = Literal["fdr", "ebic", "bic", "aic"]

_NAMES = ("fdr", "ebic", "bic", "aic")


@dataclass(frozen=True, eq=False)
class Criterion:
    """``rows log(rss) + prices[k]`` for k entries: the smaller, the more plausible.

    Attributes
    ----------
    rows : int
        Degrees of freedom of the data: rows of A, less what has been projected out.
    prices : ndarray of shape (K + 1,)
        Price of k entries, ascending, k = 0 .. K; more than K are not considered.
    """

    rows: int
    prices: Vector

    @property
    def most(self) -> int:
        """How many entries are considered at most."""
        return len(self.prices) - 1

    def __call__(self, rss: Vector | float, count: int) -> Vector:
        """The criterion for ``count <= most`` entries."""
        return np.asarray(self.rows * np.log(rss) + self.prices[count])


def criterion_prices(rows: int, n: int, *, criterion: CriterionName = "fdr", chance: float = 0.01) -> Criterion:
    """Prices of the entries of x in an information criterion ``rows log(rss) + prices[k]``.

    ::

        "fdr"   sum over j < k of rows log(1 + t_j^2 / d_j),  d_j = rows - j - 1 and
                t_j such that P(|t(d_j)| > t_j) = min(chance (j + 1) / n, 1/2)
        "ebic"  k log(rows) + 2 log binomial(n, k)
        "bic"   k log(rows)
        "aic"   2 k

    The price of the j-th entry in "fdr" is what the F test for one more column asks of it, at a level that is corrected
    for n candidates and eased as more have been found: of the entries selected from pure noise and strong signals,
    about a share ``chance`` is false.

    Parameters
    ----------
    rows : int
        Degrees of freedom of the data, at least 1.
    n : int
        Number of candidate columns.
    criterion : {"fdr", "ebic", "bic", "aic"}, default "fdr"
        Which one.
    chance : float, default 0.01
        Level of "fdr", between 0 and 1.

    Returns
    -------
    Criterion
        With ``min(n, rows - 2)`` entries at most (at least 0).

    Raises
    ------
    TypeError, ValueError
        If an argument has the wrong kind or range.

    Notes
    -----
    "ebic" is that of Chen and Chen (2008) with gamma = 1; "fdr" the penalty of Abramovich, Benjamini, Donoho and
    Johnstone (2006) with the quantiles of t in place of the normal ones. Degrees of freedom are exact: on a plateau of
    the saddle path x is least squares on its support, k parameters. Source: docs/mathematics.md, "Choosing a model".

    Examples
    --------
    >>> criterion_prices(100, 1000, criterion="aic").prices[:4]
    array([0., 2., 4., 6.])
    """
    one_of(criterion, "criterion", _NAMES)
    chance = positive_number(chance, "chance")
    if chance >= 1:
        raise ValueError(f"chance must lie between 0 and 1, got {chance:g}")
    rows, n = whole_number(rows, "rows"), whole_number(n, "n")
    return _prices(rows, n, criterion, chance)


@lru_cache(maxsize=64)
def _prices(rows: int, n: int, criterion: str, chance: float) -> Criterion:
    counts = np.arange(max(0, min(n, rows - 2)) + 1, dtype=np.float64)
    if criterion == "fdr":
        freedom = rows - counts[:-1] - 1
        level = np.minimum(chance * (counts[:-1] + 1) / n, 0.5)
        quantile = stdtrit(freedom, 1 - level / 2)
        # Far in the tail, 1 - level / 2 is rounded: there the quantile comes from the other side.
        quantile = np.where(level < 1e-3, -stdtrit(freedom, level / 2), quantile)
        prices = np.concatenate([[0.0], np.cumsum(rows * np.log1p(quantile**2 / freedom))])
    elif criterion == "ebic":
        ways = gammaln(n + 1) - gammaln(counts + 1) - gammaln(n - counts + 1)
        prices = counts * math.log(rows) + 2 * ways
    else:
        prices = counts * (math.log(rows) if criterion == "bic" else 2.0)
    prices.flags.writeable = False
    return Criterion(rows, prices)

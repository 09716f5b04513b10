"""One panel of a phase diagram: fractions of successes, the curve where half succeed, and the predicted curve."""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING, Any

import numpy as np

from hadaflow._types import Sign
from hadaflow.experiments._halfway import halfway
from hadaflow.experiments.structures import PLAIN, Structure

if TYPE_CHECKING:
    import pandas as pd

_KINDS = {
    "gaussian": "Gaussian matrices",
    "signs": "Random signs",
    "cosine": "Cosine rows",
    "sparse": "Sparse matrices",
    "correlated": "Correlated columns",
}
_MOST_POINTS = 400  # of the theory's curve


@dataclass(frozen=True)
class Deviation:
    """How far a measured curve is from the theory, in s / m.

    Attributes
    ----------
    largest : float
        Largest distance; NaN if no column of the diagram resolves the transition.
    where : float
        The m / n at which it is that large.
    mean : float
        Mean distance.
    columns : int
        Columns that resolve it, out of all.
    """

    largest: float
    where: float
    mean: float
    columns: int


@dataclass(frozen=True, eq=False)
class Panel:
    """One panel of a phase diagram: one ensemble, one start.

    Attributes
    ----------
    choice : dict
        ``ensemble``, ``solver``, ``depth`` (None: vanishing start) and, with a depth, the scale.
    records : pandas.DataFrame
        Its trials, one a row.
    n : int
        Number of coordinates.
    sign : {"both", "positive"}
        Of the vectors.
    tolerance : float or None
        Relative error up to which a vector counts as recovered; None for what the trials say themselves.
    structure : Structure
        Which entries are zero together; default single real numbers.
    """

    choice: dict[str, Any]
    records: pd.DataFrame
    n: int
    sign: Sign
    tolerance: float | None
    structure: Structure = PLAIN

    def __repr__(self) -> str:
        return f"Panel({self.title.replace(chr(10), ', ')}; n = {self.n}, {len(self.records)} trials)"

    @property
    def panels(self) -> tuple[Panel]:
        """Itself: a diagram of one panel."""
        return (self,)

    @property
    def title(self) -> str:
        """What it shows, in two lines."""
        start, depth = "vanishing start", self.choice["depth"]
        if depth is not None:
            scale = "product_scale" if "product_scale" in self.choice else "init_scale"
            size = f"{self.choice[scale]:g}".replace("e-0", "e-")
            trained = "descent, " if self.choice["solver"] == "descend" else ""
            start = f"{trained}depth {depth:g}, {scale.replace('_', ' ')} {size}"
        vectors = ", non-negative x" if self.sign == "positive" else ""
        vectors += f", {self.structure.label}" if self.structure.label else ""
        return f"{_KINDS[self.choice['ensemble']]}{vectors}\n{start}"

    def success(self) -> pd.DataFrame:
        """Fraction of successes: a row per ``s_over_m``, a column per ``m_over_n``, both as asked for, ascending."""
        trials = self.records.assign(success=self._successes().astype(float))
        return trials.pivot_table(index="s_over_m", columns="m_over_n", values="success", aggfunc="mean")

    def half(self) -> pd.DataFrame:
        """Where half of the trials succeed, compared with the theory.

        Returns
        -------
        pandas.DataFrame
            A row per number of ``measurements``, with ``m_over_n`` as it was; ``s_over_m`` of the crossing and its
            standard ``error``; the ``transition`` of the theory; the ``deviation`` from it. NaN where unknown: a column
            whose trials all end alike has no crossing; with so few measurements that the theory does not see even one
            non-zero recovered, or with n, there is no transition.

        Notes
        -----
        A logistic curve in ``log(s / m)``, fitted to the single trials of one m: in ``s / m`` itself successes fall off
        more slowly than they set in where s is small, which moves the crossing of a symmetric curve by up to 0.008.
        """
        import pandas as pd

        rows = []
        for m, trials in self.records.assign(success=self._successes()).groupby("measurements"):
            ratios = trials["nonzeros"].to_numpy(dtype=np.float64) / m
            crossing = halfway(np.log(ratios), trials["success"].to_numpy(dtype=np.bool_))
            at, theory = math.exp(crossing.at), _transition(int(m), self.n, self.sign, self.structure)
            rows.append((int(m), m / self.n, at, at * crossing.error, theory, at - theory))
        names = ["measurements", "m_over_n", "s_over_m", "error", "transition", "deviation"]
        return pd.DataFrame(rows, columns=names)

    @property
    def transition(self) -> pd.DataFrame:
        """The theory's curve: ``m_over_n`` and ``s_over_m``, as fine as whole measurements are."""
        import pandas as pd

        counts = np.unique(np.linspace(1, self.n - 1, min(self.n - 1, _MOST_POINTS)).round().astype(int))
        found = [(m / self.n, _transition(int(m), self.n, self.sign, self.structure)) for m in counts]
        return pd.DataFrame(found, columns=["m_over_n", "s_over_m"]).dropna(ignore_index=True)

    def deviation(self) -> Deviation:
        """How far the crossings are from the theory."""
        half = self.half()
        known = half.dropna(subset="deviation")
        if known.empty:
            return Deviation(math.nan, math.nan, math.nan, 0)
        size = known["deviation"].abs()
        worst = size.idxmax()
        return Deviation(float(size[worst]), float(known["m_over_n"][worst]), float(size.mean()), len(known))

    def _successes(self) -> pd.Series:
        if self.tolerance is None:
            return self.records["success"].astype(bool)
        return self.records["error"] <= self.tolerance


@cache
def _transition(m: int, n: int, sign: Sign, structure: Structure) -> float:
    """The theory's s / m; NaN where nothing or everything is recovered."""
    s = structure.transition(m, n, sign)
    return s / m if s >= structure.columns and m < n else math.nan

"""A dual vector held against the bounds of the dual problem: what it proves, rounding taken into account."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from hadaflow._types import Index, Vector
from hadaflow._validation import norm
from hadaflow.certificates._accurate import accurate_products
from hadaflow.certificates._uniqueness import separates
from hadaflow.gauges import Gauge
from hadaflow.operators import Columns, Operator, Scaled
from hadaflow.operators.around import even_rows
from hadaflow.operators.block import dense, lengths_of

_EPS = float(np.finfo(np.float64).eps)
BLURRED = 1e-12  # doubt about a bound, relative, that makes it worth twice the precision
_MOST_ENTRIES = 1 << 22  # of columns that get it
_COSTLESS = 4.0  # units of rounding up to which a dual coordinate whose bound is 0 counts as 0


@dataclass(frozen=True)
class HeldDual:
    """A dual vector held against the bounds of the dual problem, rows of A brought to about the same length.

    Attributes
    ----------
    operator : Operator
        A with even rows.
    vector : ndarray of shape (m,)
        The dual vector for it.
    correlation : ndarray of shape (n,)
        ``A^T dual``.
    factors : ndarray of shape (m,) or None
        What rows were multiplied by.
    sizes : ndarray of shape (n,)
        Sizes of ``A_i^T dual`` in units of their bounds.
    doubtful : ndarray of shape (n,)
        The same with what rounding may have taken from them, where that decides which one is the largest.
    columns : ndarray or sparse array, or None
        Columns of this operator on the support, if they are at hand already.
    """

    operator: Operator
    vector: Vector
    correlation: Vector
    factors: Vector | None
    sizes: Vector
    doubtful: Vector
    columns: Columns

    @classmethod
    def of(
        cls,
        operator: Operator,
        dual: Vector,
        correlation: Vector,
        gauge: Gauge,
        on: Index,
        columns: Columns,
    ) -> HeldDual:
        factors = even_rows(operator)
        if factors is not None:
            operator, dual = Scaled(operator, 1.0, None, factors), dual / factors
            columns = None
        slack = _slack(len(dual)) * norm(dual)
        rounding = np.zeros_like(correlation)
        costless = gauge.costless
        if len(costless):  # no dual state but 0 will do: what is no more than rounding counts as that
            rounding[costless] = _COSTLESS * slack * lengths_of(operator.columns(costless))
        sizes = gauge.sizes(correlation, rounding)
        top, near = float(sizes.max()), np.array([int(sizes.argmax())])
        if operator.costs.cheap_columns:  # all that rounding may have lifted above the largest, or kept below it
            near = np.flatnonzero(gauge.sizes(correlation, -slack * operator.size_bound) >= top)
        measured = np.zeros(len(rounding), dtype=bool)
        measured[costless] = True
        if columns is not None and top > 0:
            known = ~measured[on]
            rounding[on[known]] = -slack * lengths_of(columns)[known]
            measured[on] = True
        near = near[~measured[near]]
        if len(near) and top > 0:
            rounding[near] = -slack * _lengths(operator, near)
        doubtful = gauge.sizes(correlation, rounding)
        if 0 < top < np.inf and float(doubtful.max()) > (1 + BLURRED) * top and operator.costs.cheap_columns:
            doubt = slack * operator.column_lengths
            doubt[costless] = 0.0
            # All that may be the largest: what the others are at most is less than what some are at least.
            least = float(gauge.sizes(correlation, np.maximum(doubt, rounding)).max())
            largest = np.setdiff1d(np.flatnonzero(gauge.sizes(correlation, -doubt) >= least), costless)
            if len(largest) * len(dual) <= _MOST_ENTRIES:
                values, bound = _accurately(operator, largest, dual)
                better = bound < doubt[largest]
                rounding = np.where(doubt > 0, -doubt, rounding)
                correlation = np.array(correlation)
                correlation[largest[better]], rounding[largest[better]] = values[better], -bound[better]
                sizes = gauge.sizes(correlation, np.maximum(rounding, 0.0))
                doubtful = gauge.sizes(correlation, rounding)
        return cls(operator, dual, correlation, factors, sizes, doubtful, columns)

    @property
    def highest(self) -> float:
        """Largest size."""
        return float(self.sizes.max())

    def lower_bound(self, target: Vector, noise: float) -> float:
        """``<target, dual> - noise`` over the largest size, lowered by what rounding may have added to either."""
        top = float(self.doubtful.max())
        if not 0 < top < np.inf:
            return 0.0
        if self.factors is not None:
            target = target * self.factors
        terms = target * self.vector
        value, doubt = float(terms.sum()), _slack(len(target)) * float(np.abs(terms).sum())
        if doubt > BLURRED * abs(value):
            accurate, bound = accurate_products(target[:, None], self.vector)
            value, doubt = (float(accurate[0]), float(bound[0])) if bound[0] < doubt else (value, doubt)
        return max(0.0, (value - noise - doubt) / top)

    def margin(self, off: NDArray[np.bool_]) -> float:
        """How far the largest size off the support stays below the largest of all, relatively."""
        return 1.0 - float(self.sizes[off].max(initial=0.0)) / self.highest if 0 < self.highest < np.inf else 1.0

    def proves_unique(self, x: Vector, on: Index, gauge: Gauge) -> bool:
        """Whether x, supported on ``on`` and optimal, is the only minimiser."""
        if not x.any():
            return len(gauge.costless) == 0  # no other point has norm zero
        if not 0 < self.highest < np.inf:
            return False
        scaled = self.vector / self.highest, self.correlation / self.highest
        return separates(self.operator, on, x, *scaled, gauge, self.columns)


def _lengths(operator: Operator, index: Index) -> Vector:
    """Lengths of some columns."""
    return lengths_of(operator.columns(index)) if operator.repeats == 1 else operator.column_lengths[index]


def _accurately(operator: Operator, index: Index, dual: Vector) -> tuple[Vector, Vector]:
    """``A_i^T dual`` of some columns in twice the precision, and bounds on the errors."""
    k = operator.repeats
    rows, place = np.unique(index // k, return_inverse=True)
    columns = dense(operator.base_columns(rows))
    found = [accurate_products(columns, np.ascontiguousarray(part)) for part in dual.reshape(-1, k).T]
    values, bounds = (np.column_stack(part) for part in zip(*found, strict=True))
    return values[place, index % k], bounds[place, index % k]


def _slack(terms: int) -> float:
    """Relative rounding of a sum of so many products."""
    return 2 * _EPS * float(np.sqrt(terms))

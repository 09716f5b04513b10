"""What it costs to ask an operator for something."""

from __future__ import annotations

import math
from dataclasses import dataclass


@dataclass(frozen=True)
class PassCosts:
    """What products and columns of A cost, in passes over A. The defaults are those of a linear operator.

    Attributes
    ----------
    pair : float
        Passes of a pair of products (:meth:`Operator.residual` and its kin): 1 where both share one reading.
    columns_per_pass : float
        How many columns one pass brings: n of a matrix, 1 where a column takes a product of its own.
    request : float
        Passes that a request for columns costs, whatever their number.
    matrix_free : bool
        Whether A is known by its products alone.
    local : bool
        Whether A, or what makes its products, is in the memory of this process.
    """

    pair: float = 2.0
    columns_per_pass: float = 1.0
    request: float = 0.0
    matrix_free: bool = True
    local: bool = True

    @classmethod
    def of_matrix(cls, columns: int) -> PassCosts:
        """Those of a matrix with that many columns, in the memory of this process."""
        return cls(columns_per_pass=max(1, columns), matrix_free=False)

    @property
    def cheap_columns(self) -> bool:
        """Whether columns cost next to nothing: A is a matrix in the memory of this process."""
        return self.local and not self.matrix_free

    def of_columns(self, count: int) -> float:
        """Passes that a request for so many columns costs; whole ones of a linear operator."""
        passes = count / self.columns_per_pass
        return self.request + (math.ceil(passes) if self.matrix_free else passes) if count else 0.0

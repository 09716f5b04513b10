"""One matrix in memory, in units of its own, for many right-hand sides."""

from __future__ import annotations

from functools import cached_property

import numpy as np

from hadaflow._types import Index, Vector
from hadaflow._validation import power_of_two
from hadaflow.certificates import Sheet

_MOST_COLUMNS = 2000  # whose inner products are all taken at once


class System:
    """``B = R A W^-1 / size``: columns divided by the weights, rows brought to about the same length if asked for.

    Parameters
    ----------
    sheet : Sheet
        A.
    even : bool
        Whether rows are brought to the same length: right for ``A x = y``, wrong for least squares.

    Attributes
    ----------
    rows : ndarray of shape (n, m)
        The columns of B, one after the other.
    lengths : ndarray of shape (n,)
        Their lengths.
    positive : bool
        Whether only non-negative x are allowed.
    """

    def __init__(self, sheet: Sheet, *, even: bool) -> None:
        self.sheet, self.positive = sheet, sheet.positive
        self.factors = sheet.factors if even else None
        lengths = sheet.lengths if even else sheet.weighted(sheet.plain_lengths)
        self.size = float(power_of_two(lengths.max(initial=0.0)))
        self.lengths: Vector = lengths / self.size
        rows = sheet.rows if self.factors is None else sheet.rows * self.factors
        divisor = self.size if sheet.weights is None else (self.size * sheet.weights)[:, None]
        self.rows: Vector = rows / divisor
        self.columns: Vector = np.ascontiguousarray(self.rows.T)
        self.diagonal: Vector = np.einsum("ij,ij->i", self.rows, self.rows)

    @cached_property
    def unit(self) -> Vector:
        """The columns brought to unit length."""
        return np.asarray(self.rows / np.where(self.lengths > 0, self.lengths, 1.0)[:, None])

    @cached_property
    def gram(self) -> Vector | None:
        """Inner products of all columns, where these are few enough."""
        return self.rows @ self.columns if len(self.rows) <= _MOST_COLUMNS else None

    def products(self, j: Index, others: Index) -> Vector:
        """Inner products of a column j with some others, shape (K, S), for each of K problems."""
        if self.gram is not None:
            return np.asarray(self.gram[j[:, None], others])
        return np.asarray(np.matmul(self.rows[others], self.rows[j][:, :, None])[:, :, 0])

    # ---- units ---------------------------------------------------------------------------------------------

    def data(self, y: Vector) -> tuple[Vector, Vector]:
        """Right-hand sides (K, m) in units of the system, of lengths between 1 and 2, and what divided them."""
        y = y if self.factors is None else y * self.factors
        sizes: Vector = power_of_two(np.sqrt(np.einsum("ij,ij->i", y, y)))
        return y / sizes[:, None], sizes

    def original_x(self, x: Vector, sizes: Vector) -> Vector:
        """Answers of shape (K, n) in the units of the data."""
        return np.asarray(self.sheet.weighted(x) / self.size * sizes[:, None])

    def original_dual(self, nu: Vector) -> Vector:
        """Dual vectors of shape (K, m) in the units of the data."""
        return np.asarray(nu / self.size if self.factors is None else nu / self.size * self.factors)

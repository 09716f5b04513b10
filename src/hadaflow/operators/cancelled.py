"""What was taken out of columns when they were made, and left its rounding in them."""

from __future__ import annotations

from dataclasses import dataclass

from hadaflow._types import Vector


@dataclass(frozen=True)
class Cancelled:
    """Sizes of terms that cancelled when columns were made: their rounding is relative to these, not to what remained.

    Entry ``(j, i)`` of A was the difference of terms of up to ``rows[j] * lengths[i]``. Without arguments: the columns
    are as they were given.

    Attributes
    ----------
    lengths : ndarray of shape (n,) or None
        Length of each column before; None where nothing was taken out.
    rows : ndarray of shape (m,) or None
        What the rows were multiplied by since; None for ones.
    """

    lengths: Vector | None = None
    rows: Vector | None = None

    def before(self, lengths: Vector) -> Vector:
        """Lengths of the columns before, for columns of these ``lengths`` now: what their rounding is relative to."""
        return lengths if self.lengths is None or self.rows is not None else self.lengths

    def terms(self, v: Vector) -> Vector | float:
        """Sizes of the terms of ``A v`` that cancelled, for ``v >= 0``, shape (m,); or a number for all rows."""
        if self.lengths is None:
            return 0.0
        total = float(self.lengths @ v)
        return total if self.rows is None else total * self.rows

    def scaled(self, columns: Vector, rows: Vector | None) -> Cancelled:
        """The same for ``diag(rows) A diag(columns)``, both positive."""
        if self.lengths is None:
            return self
        if rows is None or self.rows is None:
            return Cancelled(self.lengths * columns, self.rows if rows is None else rows)
        return Cancelled(self.lengths * columns, self.rows * rows)

"""How vectors of the user, complex or with several columns, lie in the real vectors that all engines work with."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hadaflow._types import Float, Index, Vector

__all__ = ["Layout"]


@dataclass(frozen=True)
class Layout:
    """From vectors of the user to real ones and back.

    A row of x (or of y) takes ``width`` real numbers that follow one another: for each of real and imaginary part the k
    columns. So the coordinates of a row stay together.

    Attributes
    ----------
    complex_x, complex_y : bool
        Whether x and y are complex.
    columns : int or None
        How many columns x and y have, where they are matrices.
    """

    complex_x: bool = False
    complex_y: bool = False
    columns: int | None = None

    @property
    def plain(self) -> bool:
        """Whether x and y are real vectors already."""
        return not self.complex_y and self.columns is None

    @property
    def width(self) -> int:
        """Real numbers to a row of x."""
        return (2 if self.complex_x else 1) * (self.columns or 1)

    @property
    def width_y(self) -> int:
        """Real numbers to a row of y."""
        return (2 if self.complex_y else 1) * (self.columns or 1)

    def dtype_name(self, dtype: np.dtype[Any]) -> str:
        """The precision as the user knows it."""
        if not self.complex_x:
            return str(dtype)
        return "complex64" if dtype == np.float32 else "complex128"

    def x(self, real: Float) -> NDArray[Any]:
        """A real vector as the user's x: of shape (n,) or (n, k), complex if x is."""
        return self._user(real, self.complex_x)

    def y(self, real: Float) -> NDArray[Any]:
        """The same for y, and for dual vectors."""
        return self._user(real, self.complex_y)

    def real_x(self, x: NDArray[Any]) -> Float:
        """The user's x as a real vector."""
        return self._real(x, self.complex_x)

    def real_y(self, y: NDArray[Any]) -> Float:
        """The user's y, or a dual vector, as a real vector."""
        return self._real(y, self.complex_y)

    def coordinates(self, rows: Index) -> Index:
        """The real coordinates of these rows of x."""
        return rows if self.width == 1 else (rows[:, None] * self.width + np.arange(self.width)).ravel()

    def rows(self, index: Index) -> Index:
        """The rows of x that these real coordinates belong to."""
        return index if self.width == 1 else np.unique(index // self.width)

    def of_rows(self, real: Vector) -> Vector:
        """Norm of each row of x: the modulus of a complex number, the length of a row of a matrix."""
        return np.abs(real) if self.width == 1 else np.linalg.norm(real.reshape(-1, self.width), axis=1)

    def _user(self, real: Float, complex_: bool) -> NDArray[Any]:
        k = self.columns
        if not complex_:
            return real if k is None else real.reshape(-1, k)
        parts = real.reshape(-1, 2, k or 1)
        wide = np.complex64 if real.dtype == np.float32 else np.complex128
        z = np.empty((len(parts), k or 1), dtype=wide)
        z.real, z.imag = parts[:, 0], parts[:, 1]
        return z[:, 0] if k is None else z

    def _real(self, v: NDArray[Any], complex_: bool) -> Float:
        if not complex_:
            return np.ascontiguousarray(v).reshape(-1)
        matrix = v.reshape(len(v), -1)
        single = v.dtype in (np.complex64, np.float32)
        parts = np.empty((len(matrix), 2, matrix.shape[1]), dtype=np.float32 if single else np.float64)
        parts[:, 0], parts[:, 1] = matrix.real, matrix.imag
        return parts.reshape(-1)

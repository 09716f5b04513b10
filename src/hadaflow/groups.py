"""Coordinates in groups: norms, directions and sums of each group, asked here and nowhere else.

Every partition answers the same questions; that into single coordinates answers them at no cost. There the radius of a
coordinate is the coordinate itself, with its sign, and every direction is 1: so formulas for groups hold for both.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import scipy.sparse as sp

from hadaflow._types import Index, Mask, Vector
from hadaflow.operators.block import Columns, columns_scaled, dense, is_sparse, row_gram

__all__ = ["Groups"]


class Groups:
    """A partition of the coordinates 0 to n - 1.

    Parameters
    ----------
    labels : int array of shape (n,), optional
        Which group, 0 to G - 1, each coordinate belongs to; every group has one at least. Default: each coordinate is a
        group of its own.

    Examples
    --------
    >>> import numpy as np
    >>> from hadaflow.groups import Groups
    >>> pairs = Groups(np.array([0, 0, 1, 1]))
    >>> pairs.norms(np.array([3.0, 4.0, 0.0, -2.0]))
    array([5., 2.])
    """

    def __init__(self, labels: Index | None = None) -> None:
        self.labels = labels
        #: Whether every coordinate is a group of its own.
        self.single = labels is None

    def __repr__(self) -> str:
        if self.labels is None:
            return "Groups()"
        return f"Groups({len(self.labels)} coordinates in {self.count} groups)"

    @classmethod
    def of(cls, value: object, n: int, name: str = "groups") -> Groups:
        """The partition of n coordinates that a user means by a size, labels, or lists of coordinates.

        Raises
        ------
        TypeError, ValueError
            If it is none of these, or some coordinate is in no group or in several.
        """
        if value is None:
            return cls()
        if isinstance(value, Groups):
            labels = value.labels
            if labels is not None and len(labels) != n:
                raise ValueError(f"{name} are a partition of {len(labels)} coordinates, but there are {n}")
            return value
        labels = _labels(value, n, name)
        return cls() if len(labels) == int(labels.max(initial=-1)) + 1 else cls(labels)

    # ---- sizes ---------------------------------------------------------------------------------------------

    @cached_property
    def count(self) -> int:
        """How many groups there are; of single coordinates, as many as there are coordinates: 0, as if unknown."""
        return 0 if self.labels is None else int(self.labels.max(initial=-1)) + 1

    @cached_property
    def sizes(self) -> Index:
        """How many coordinates each group has, shape (G,)."""
        assert self.labels is not None
        return np.bincount(self.labels, minlength=self.count)

    @cached_property
    def _even(self) -> int:
        """The size of the groups, if they are consecutive coordinates of one size; else 0."""
        if self.labels is None or self.count == 0:
            return 0
        size, rest = divmod(len(self.labels), self.count)
        return size if rest == 0 and np.array_equal(self.labels, np.arange(len(self.labels)) // size) else 0

    # ---- of vectors ----------------------------------------------------------------------------------------

    def sums(self, z: Vector) -> Vector:
        """Sum over each group, shape (G,); of columns, shape (n, k), those of each."""
        if self.labels is None:
            return z
        if z.ndim == 1 and self._even:
            return np.asarray(z.reshape(-1, self._even) @ np.ones(self._even))
        if self._even:
            return np.asarray(z.reshape(-1, self._even, *z.shape[1:]).sum(axis=1))
        if z.ndim == 1:
            return np.asarray(np.bincount(self.labels, z, minlength=self.count), dtype=np.float64)
        return np.asarray(self._indicator @ z)

    def norms(self, z: Vector) -> Vector:
        """Euclidean norm of each group, shape (G,); of columns, shape (n, k), those of each."""
        if self.labels is None:
            return np.abs(z)
        top = float(np.abs(z).max(initial=0.0))
        if not 1e-140 < top < 1e140:  # squares would leave the range of doubles
            if not 0 < top < np.inf:
                return self.sums(np.abs(z))
            return top * np.sqrt(self.sums((z / top) ** 2))
        return np.asarray(np.sqrt(self.sums(z * z)))

    def spread(self, of_groups: Any) -> Any:
        """A number per group, given to each of its coordinates: shape (n,) or (n, k)."""
        if self.labels is None or np.ndim(of_groups) == 0:
            return of_groups
        return np.repeat(of_groups, self._even, axis=0) if self._even else of_groups[self.labels]

    def polar(self, z: Vector) -> tuple[Vector, Any]:
        """Radius of each group, shape (G,), and its direction: ``z = spread(radius) * direction``."""
        if self.labels is None:
            return z, 1.0
        radius = self.norms(z)
        inverse = np.divide(1.0, radius, out=np.zeros_like(radius), where=radius > 0)
        return radius, z * self.spread(inverse)

    def directions(self, z: Vector) -> Vector:
        """``z_g / |z_g|``, 0 where z_g is; of single coordinates their signs."""
        return np.sign(z) if self.labels is None else np.asarray(self.polar(z)[1])

    def along(self, z: Vector, direction: Any) -> Vector:
        """Inner product of z with a direction in each group, shape (G,)."""
        return z if self.labels is None else self.sums(z * direction)

    def same(self, other: Groups) -> bool:
        """Whether the other is this partition."""
        if self.labels is None or other.labels is None:
            return self.single == other.single
        return np.array_equal(self.labels, other.labels)

    # ---- parts ---------------------------------------------------------------------------------------------

    def whole(self, index: Index) -> Index:
        """The coordinates of all groups that these belong to, ascending."""
        if self.labels is None:
            return index
        return np.flatnonzero(self.spread(self._touched(index)))

    def coordinates(self, groups: Index) -> Index:
        """The coordinates of these groups, ascending."""
        if self.labels is None:
            return np.sort(groups)
        chosen = np.zeros(self.count, dtype=bool)
        chosen[groups] = True
        return np.flatnonzero(chosen[self.labels])

    def of_coordinates(self, index: Index) -> Index:
        """The groups that these coordinates belong to, ascending, each once."""
        return np.unique(index) if self.labels is None else np.flatnonzero(self._touched(index))

    def on(self, index: Index) -> Groups:
        """The partition of these coordinates, whole groups; in the order of their numbers."""
        if self.labels is None:
            return self
        return Groups((np.cumsum(self._touched(index)) - 1)[self.labels[index]])

    def rows(self, columns: int) -> Groups:
        """Of groups of whole rows of a matrix with so many columns, row by row: the partition of the rows."""
        if self.labels is None or columns == 1:
            return self
        labels = self.labels[::columns]
        return Groups() if len(labels) == self.count else Groups(labels)

    def fold(self, columns: Columns, direction: Any) -> Columns:
        """``A_g e_g`` of each group, shape (m, G): what a group does along a direction."""
        if self.labels is None:
            return columns
        n = len(self.labels)
        if self._even and not is_sparse(columns) and columns.flags.c_contiguous:
            blocks = columns.reshape(len(columns), self.count, self._even)
            return np.einsum("mgd,gd->mg", blocks, np.broadcast_to(direction, n).reshape(self.count, self._even))
        along = sp.csc_array((np.broadcast_to(direction, n), (np.arange(n), self.labels)), shape=(n, self.count))
        return columns @ along if is_sparse(columns) else np.asarray(along.T @ columns.T).T

    def _touched(self, index: Index) -> Mask:
        """Whether some of these coordinates are in a group, shape (G,)."""
        touched = np.zeros(self.count, dtype=bool)
        assert self.labels is not None
        touched[self.labels[index]] = True
        return touched

    @cached_property
    def _indicator(self) -> Any:
        assert self.labels is not None
        n = len(self.labels)
        return sp.csr_array((np.ones(n), (self.labels, np.arange(n))), shape=(self.count, n))


_SINGLES = Groups()


@dataclass(frozen=True, eq=False)
class Metric:
    """``D = tangential I + (radial - tangential) e e^T`` in each group: how a mirror map answers to small moves.

    Attributes
    ----------
    groups : Groups
        The partition.
    radial, tangential : ndarray of shape (G,)
        Slope along the direction of a group, and across it. For single coordinates there is nothing across.
    direction : ndarray of shape (n,)
        Unit vectors e, or 1.
    """

    groups: Groups
    radial: Vector
    tangential: Vector
    direction: Any

    @classmethod
    def of_diagonal(cls, diagonal: Vector) -> Metric:
        """D of single coordinates."""
        return cls(_SINGLES, diagonal, diagonal, 1.0)

    def scaled(self, factor: float) -> Metric:
        """``factor * D``."""
        return Metric(self.groups, factor * self.radial, factor * self.tangential, self.direction)

    def on(self, index: Index) -> Metric:
        """D on these coordinates, whole groups."""
        if self.groups.single:
            return Metric.of_diagonal(self.radial[index])
        chosen = self.groups.of_coordinates(index)
        return Metric(self.groups.on(index), self.radial[chosen], self.tangential[chosen], self.direction[index])

    def times(self, v: Vector) -> Vector:
        """``D v``."""
        return self._applied(self.radial, self.tangential, v)

    def root_times(self, v: Vector) -> Vector:
        """``D^(1/2) v``."""
        return self._applied(np.sqrt(self.radial), np.sqrt(self.tangential), v)

    def _applied(self, radial: Vector, tangential: Vector, v: Vector) -> Vector:
        if self.groups.single:
            return radial * v
        excess = (radial - tangential) * self.groups.along(v, self.direction)
        spread = self.groups.spread
        return np.asarray(spread(tangential) * v + spread(excess) * self.direction)

    @property
    def diagonal(self) -> Vector:
        """Diagonal of D, shape (n,)."""
        if self.groups.single:
            return self.radial
        spread = self.groups.spread
        return np.asarray(spread(self.tangential) + spread(self.radial - self.tangential) * self.direction**2)

    def half(self, columns: Columns) -> Columns:
        """``A D^(1/2)``, so that ``half half^T = A D A^T``."""
        if self.groups.single:
            return columns_scaled(columns, np.sqrt(self.radial))
        columns = dense(columns)
        across, along = np.sqrt(self.tangential), np.sqrt(self.radial)
        spread = self.groups.spread
        folded = self.groups.fold(columns, self.direction) * (along - across)
        return np.asarray(columns * spread(across) + folded[:, self.groups.labels] * self.direction)

    def gram(self, columns: Columns) -> Vector:
        """``A D A^T`` for all columns of A."""
        if self.groups.single:
            return row_gram(columns_scaled(columns, np.sqrt(self.radial)))
        columns = dense(columns)
        total = row_gram(columns * self.groups.spread(np.sqrt(self.tangential)))
        excess = self.radial - self.tangential
        folded = self.groups.fold(columns, self.direction) * np.sqrt(np.abs(excess))
        more, less = excess > 0, excess < 0
        total += row_gram(folded if more.all() else folded[:, more])
        return total - row_gram(folded[:, less]) if less.any() else total


_LISTS = (list, tuple, range, np.ndarray)


def _labels(value: Any, n: int, name: str) -> Index:
    """Numbers of groups in the order in which they first appear."""
    if isinstance(value, (bool, np.bool_, str, bytes)):
        raise TypeError(f"{name} must be a size, labels of shape ({n},) or lists of coordinates, got {value!r}")
    if isinstance(value, (int, np.integer)):
        size = int(value)
        if size < 1 or n % size:
            raise ValueError(f"{name}={size} must divide the {n} coordinates of x into groups of that size")
        return np.arange(n) // size
    if isinstance(value, Sequence) and all(isinstance(each, _LISTS) and np.ndim(each) for each in value):
        return _of_lists(value, n, name)
    labels = np.asarray(value)
    if labels.shape != (n,):
        raise ValueError(
            f"{name} must be a size, labels of shape ({n},) or lists of coordinates, got an array of shape "
            f"{labels.shape}"
        )
    if labels.dtype.kind == "f" and not np.isfinite(labels).all():
        raise ValueError(f"{name} contain NaN or infinity: each coordinate needs a label")
    missing = [each is None for each in labels] if labels.dtype.kind == "O" else []
    if any(missing):
        raise ValueError(f"{name} hold None at {missing.index(True)}: each coordinate needs a label")
    _, first, inverse = np.unique(labels, return_index=True, return_inverse=True)
    rank = np.empty(len(first), dtype=np.intp)
    rank[np.argsort(first, kind="stable")] = np.arange(len(first))
    return np.asarray(rank[inverse.ravel()])


def _of_lists(lists: Sequence[Any], n: int, name: str) -> Index:
    labels = np.full(n, -1, dtype=np.intp)
    for g, each in enumerate(lists):
        index = np.asarray(each)
        if index.dtype.kind not in "iu" or index.size == 0:
            raise ValueError(f"group {g} of {name} must be a list of coordinates, not empty, got {each!r}")
        outside = (index < 0) | (index >= n)
        if outside.any():
            raise ValueError(f"group {g} of {name} holds coordinate {index[outside][0]}, but x has 0 to {n - 1}")
        if len(np.unique(index)) < len(index):
            raise ValueError(f"group {g} of {name} holds a coordinate twice")
        taken = labels[index] >= 0
        if taken.any():
            j = int(index[taken][0])
            raise ValueError(
                f"coordinate {j} is in groups {labels[j]} and {g} of {name}: groups must not overlap; copy the column "
                f"for each of its groups, and add up their coefficients"
            )
        labels[index] = g
    if (labels < 0).any():
        raise ValueError(
            f"coordinate {int((labels < 0).argmax())} is in no group of {name}: give it one, if need be of its own"
        )
    return labels

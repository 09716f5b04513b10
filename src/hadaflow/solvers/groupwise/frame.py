"""A problem in groups as this engine sees it: rows of X that count together, and the A that all its columns share."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np

from hadaflow._types import Index, Vector
from hadaflow._validation import norm
from hadaflow.groups import Groups
from hadaflow.operators.block import at_work, dense
from hadaflow.units import UnitProblem


@dataclass(frozen=True, eq=False)
class Frame:
    """A problem of unit size in matrices: ``A X = Y`` with X of shape (n, L), in groups of whole rows.

    Vectors of the problem are these matrices row by row. L is 1 where A acts on a single column.

    Attributes
    ----------
    unit : UnitProblem
        The problem.
    """

    unit: UnitProblem

    @property
    def columns(self) -> int:
        """L."""
        return self.unit.operator.repeats

    @cached_property
    def target(self) -> Vector:
        """Y, shape (m, L)."""
        return self.unit.y.reshape(-1, self.columns)

    @cached_property
    def rows(self) -> Groups:
        """The partition of the rows of X."""
        return self.unit.gauge.groups.rows(self.columns)

    @property
    def shape(self) -> tuple[int, int]:
        """``(m, n)`` of A."""
        m, n = self.unit.operator.shape
        return m // self.columns, n // self.columns

    @cached_property
    def count(self) -> int:
        """How many groups there are."""
        return self.rows.count or self.shape[1]

    @cached_property
    def group_of(self) -> Index:
        """The group of each row of X, shape (n,)."""
        return np.arange(self.shape[1]) if self.rows.labels is None else self.rows.labels

    @cached_property
    def rounding(self) -> float:
        """Relative residual that counts as none."""
        return max(1e-12, 10 * self.unit.data_rounding) * (norm(self.unit.y) or 1.0)

    def dual_norms(self, nu: Vector) -> Vector:
        """``|A_g^T nu|`` of every group, for nu of shape (m, L); one product with A."""
        return self.unit.gauge.groups.norms(self.unit.operator.rmatvec(np.ascontiguousarray(nu).ravel()))

    def rows_of(self, chosen: Index) -> Index:
        """The rows of X in these groups, group by group."""
        if self.rows.labels is None:
            return chosen
        order, starts, sizes = self._sorted
        return np.concatenate([order[starts[g] : starts[g] + sizes[g]] for g in chosen] or [np.empty(0, np.intp)])

    @cached_property
    def _sorted(self) -> tuple[Index, Index, Index]:
        order = np.argsort(self.group_of, kind="stable")
        sizes = np.bincount(self.group_of, minlength=self.count)
        return order, np.concatenate([[0], np.cumsum(sizes)[:-1]]), sizes

    def face(self, chosen: Index) -> Face:
        """The columns of some groups."""
        index = self.rows_of(chosen)
        return Face(self, chosen, index)

    def whole(self, face: Face, values: Vector) -> Vector:
        """X on a face as a vector of all coordinates."""
        x = np.zeros((self.shape[1], self.columns))
        x[face.index] = values
        return x.ravel()


@dataclass(frozen=True, eq=False)
class Face:
    """Some groups, with the columns of A that belong to them.

    Attributes
    ----------
    frame : Frame
        The problem.
    chosen : int array of shape (k,)
        The groups.
    index : int array of shape (C,)
        Their rows of X, group by group.
    """

    frame: Frame
    chosen: Index
    index: Index

    @cached_property
    def block(self) -> Vector:
        """Their columns of A, shape (m, C)."""
        return dense(at_work(self.frame.unit.operator.base_columns(self.index)))

    @cached_property
    def groups(self) -> Groups:
        """The partition of the rows, 0 to k - 1."""
        if self.frame.rows.single:
            return Groups()
        sizes = self.frame.rows.sizes[self.chosen]
        return Groups(np.repeat(np.arange(len(self.chosen)), sizes))

    @cached_property
    def within(self) -> tuple[Index, Index]:
        """All pairs of rows of one group; rows of a group follow one another."""
        labels = self.groups.labels
        if labels is None:
            return np.arange(len(self.index)), np.arange(len(self.index))
        sizes = np.bincount(labels)
        each = sizes[labels]
        first = np.repeat(np.arange(len(labels)), each)
        starts = np.repeat((np.cumsum(sizes) - sizes)[labels], each)
        return first, starts + np.arange(len(first)) - np.repeat(np.cumsum(each) - each, each)

    @cached_property
    def gram(self) -> Vector:
        """Inner products of the columns, shape (C, C)."""
        return np.asarray(self.block.T @ self.block)

    @cached_property
    def correlation(self) -> Vector:
        """``A^T Y`` on the face, shape (C, L)."""
        return np.asarray(self.block.T @ self.frame.target)

    def part(self, kept: Index) -> Face:
        """The face of some of these groups, by their places."""
        if len(kept) == len(self.chosen):
            return self
        inside = self.inside(kept)
        return _Part(self.frame, self.chosen[kept], self.index[inside], self, inside)

    def with_groups(self, new: Index) -> Face:
        """The face with more groups, behind those that it has."""
        more = self.frame.face(new)
        return _Joined(self.frame, np.append(self.chosen, new), np.append(self.index, more.index), self, more)

    def inside(self, kept: Index) -> Index:
        """The rows of some of the groups, as places of the face."""
        if self.groups.labels is None:
            return kept
        mask = np.zeros(len(self.chosen), dtype=bool)
        mask[kept] = True
        return np.flatnonzero(mask[self.groups.labels])

    # ---- of matrices of shape (C, L) -----------------------------------------------------------------------

    def inner(self, left: Vector, right: Vector) -> Vector:
        """Inner product in each group, shape (k,)."""
        return self.groups.sums(np.einsum("ij,ij->i", left, right))

    def norms(self, x: Vector) -> Vector:
        """Norm of each group, shape (k,)."""
        return np.asarray(np.sqrt(self.inner(x, x)))

    def spread(self, of_groups: Vector) -> Vector:
        """A number per group as a column for all its rows, shape (C, 1)."""
        return np.asarray(self.groups.spread(of_groups))[:, None]

    def directions(self, x: Vector) -> Vector:
        """``x_g / |x_g|``; 0 where x is."""
        size = self.norms(x)
        return x * self.spread(np.divide(1.0, size, out=np.zeros_like(size), where=size > 0))

    def across(self, x: Vector, e: Vector) -> Vector:
        """What of x is orthogonal to the directions e."""
        return x - e * self.spread(self.inner(e, x))

    def folded(self, matrix: Vector, e: Vector) -> Vector:
        """``<e_g, M_gh e_h>`` for a matrix M of the rows, (C, C), as one of the groups, (k, k)."""
        product = matrix * (e @ e.T)
        return np.asarray(self.groups.sums(self.groups.sums(product).T))


@dataclass(frozen=True, eq=False)
class _Part(Face):
    """Some groups of a face: what is known of that need not be asked for again."""

    whole_face: Face
    places: Index

    @cached_property
    def block(self) -> Vector:
        return self.whole_face.block[:, self.places]

    @cached_property
    def gram(self) -> Vector:
        return self.whole_face.gram[self.places[:, None], self.places]

    @cached_property
    def correlation(self) -> Vector:
        return self.whole_face.correlation[self.places]


@dataclass(frozen=True, eq=False)
class _Joined(Face):
    """Two faces in one."""

    first: Face
    second: Face

    @cached_property
    def block(self) -> Vector:
        return np.asfortranarray(np.hstack([self.first.block, self.second.block]))

    @cached_property
    def gram(self) -> Vector:
        old, size = len(self.first.index), len(self.index)
        gram = np.empty((size, size))
        gram[:old, :old] = self.first.gram
        gram[:, old:] = self.block.T @ self.second.block
        gram[old:, :old] = gram[:old, old:].T
        return gram

    @cached_property
    def correlation(self) -> Vector:
        return np.vstack([self.first.correlation, self.second.correlation])

"""The point of the range of A, or of the cone of its columns, that is nearest to y.

Where no x carries y the flow ends at a least-squares point. Of all such points ``A x`` is the same, so it is found
first, by orthogonal factorisations in the weights of rows that the user gave; which x of those is sparse is a question
of its own.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from hadaflow._span import Span
from hadaflow._types import Index, Vector
from hadaflow._validation import norm
from hadaflow.operators import Operator
from hadaflow.operators.base import SLAB
from hadaflow.operators.block import at_work
from hadaflow.solvers.path.finish import on_bounds
from hadaflow.units import UnitProblem

_EPS = float(np.finfo(np.float64).eps)
_MOST_WORK = 2e11  # operations; beyond, no nearest point is looked for
_REACHED = 64.0  # residual of a row in units of its rounding
_CORRELATED = 16.0  # correlation with the residual, in units of rounding, at which a column joins


@dataclass(frozen=True)
class Nearest:
    """The nearest point and one x that gives it, in units of the scaled problem.

    Attributes
    ----------
    target : ndarray of shape (m,)
        The point.
    residual : ndarray of shape (m,)
        ``y - target``, orthogonal to the columns on the support of x.
    index, values : ndarrays of shape (k,)
        Support of x, and x on it.
    """

    target: Vector
    residual: Vector
    index: Index
    values: Vector


def nearest(unit: UnitProblem, start: Vector) -> Nearest | None:
    """The nearest point within reach; None if that takes too long, or columns cannot be had.

    Parameters
    ----------
    unit : UnitProblem
        The problem, rows as they are.
    start : ndarray of shape (n,)
        An x on whose support an active-set search begins.

    Notes
    -----
    ``O(m n min(m, n))`` for the range; ``O(m k^2)`` for each change of the active set of k coordinates for the cone
    (Lawson and Hanson 1974, chapter 23).
    """
    operator = unit.operator
    m, n = operator.shape[0] // operator.repeats, operator.shape[1] // operator.repeats
    if not operator.costs.cheap_columns or float(m) * n * min(m, n) > _MOST_WORK:
        return None
    return _of_range(unit) if unit.gauge.finite else _Cone(unit, start).search()


def within_rounding(unit: UnitProblem, x: Vector) -> bool:
    """Whether x carries y, row by row, up to rounding."""
    residual = np.abs(unit.y - unit.operator.matvec(x))
    terms = unit.operator.abs_matvec(np.abs(x)) + np.abs(unit.y)
    return bool((residual <= _REACHED * max(_EPS, unit.data_rounding) * terms).all())


def start_dual(unit: UnitProblem, near: Nearest) -> Vector:
    """A dual state on its bounds at the x of a nearest point.

    Where signs of x are forbidden as much of the residual is added as brings the others inside theirs: it is orthogonal
    to the columns on the support, and points away from all others.
    """
    gauge, k = unit.gauge, unit.operator.repeats
    if k > 1:
        return _start_dual_of_columns(unit, near)
    support = Span(at_work(unit.operator.columns(near.index)))
    nu = on_bounds(support, np.zeros(len(unit.y)), gauge.on(near.index).face(near.values))
    if gauge.finite or norm(near.residual) == 0:
        return nu
    dual, correlation = unit.operator.rmatvec(nu), unit.operator.rmatvec(near.residual)
    beyond = gauge.beyond(dual)
    over = np.flatnonzero((beyond > 0) & (correlation * dual < 0))
    over = over[~np.isin(over, near.index)]
    if len(over) == 0:
        return nu
    return nu + 2 * float((beyond[over] / np.abs(correlation[over])).max()) * near.residual


def _start_dual_of_columns(unit: UnitProblem, near: Nearest) -> Vector:
    """The same where A acts on several columns."""
    k = unit.operator.repeats
    support = Span(at_work(unit.operator.base_columns(near.index[::k] // k)))
    face = unit.gauge.on(near.index).face(near.values).reshape(-1, k)
    return np.column_stack([support.dual_with(column) for column in np.ascontiguousarray(face.T)]).ravel()


def _of_range(unit: UnitProblem) -> Nearest:
    k = unit.operator.repeats
    n = unit.operator.shape[1] // k
    whole = Span(at_work(unit.operator.base_columns(np.arange(n))))
    targets = np.ascontiguousarray(unit.y.reshape(-1, k).T)
    residual = np.column_stack([whole.project_out(y) for y in targets]).ravel()
    values = np.column_stack([whole.least_squares(y, np.zeros(n)) for y in targets]).ravel()
    index = unit.gauge.groups.whole(np.flatnonzero(values))
    return Nearest(unit.y - residual, residual, index, values[index])


class _Cone:
    """Least squares over the x that a gauge allows by an active set, each face by an orthogonal factorisation."""

    def __init__(self, unit: UnitProblem, start: Vector) -> None:
        self.unit, self.operator, self.y = unit, unit.operator, unit.y
        self.lengths = self.operator.column_lengths
        self.index = np.flatnonzero((start != 0) & (self.lengths > 0))
        self.signs = np.sign(start[self.index])
        self.values = np.zeros(len(self.index))
        self.work = 0.0

    def search(self) -> Nearest | None:
        residual = self._settle()
        barred: set[int] = set()
        least = norm(residual)
        while self.work <= _MOST_WORK:
            j, sign = self._newcomer(residual, barred)
            if sign == 0:
                return Nearest(self.y - residual, residual, self.index, self.values)
            before = self.index, self.values, self.signs
            self.index, self.values = np.append(self.index, j), np.append(self.values, 0.0)
            self.signs = np.append(self.signs, sign)
            moved = self._settle()
            if j in self.index and norm(moved) < least:
                residual, least = moved, norm(moved)
                barred.clear()
            else:  # rounding, of a column that is nearly dependent on the others
                self.index, self.values, self.signs = before
                barred.add(j)
        return None

    def _newcomer(self, residual: Vector, barred: set[int]) -> tuple[int, float]:
        """The coordinate that would lessen the residual fastest, and its sign; 0 if there is none."""
        correlation, rounding = self.operator.rmatvec(residual), _terms(self.operator, np.abs(residual))
        size = self.unit.gauge.outward(correlation)
        slope = np.divide(size, self.lengths, out=np.zeros_like(size), where=size > _CORRELATED * _EPS * rounding)
        slope[self.index] = 0.0
        slope[list(barred)] = 0.0
        j = int(slope.argmax())
        return j, float(np.sign(correlation[j])) if slope[j] > 0 else 0.0

    def _settle(self) -> Vector:
        """Least squares on the face, which is left where a coordinate would change sign; returns the residual."""
        while True:
            if len(self.index) == 0:
                return self.y
            face = Span(at_work(self.operator.columns(self.index)))
            self.work += 2.0 * len(self.y) * len(self.index) ** 2
            goal = face.least_squares(self.y, np.zeros(len(self.index)))
            falling = goal * self.signs <= 0
            if not falling.any():
                self.values = goal
                return face.project_out(self.y)
            span = np.abs(self.values[falling] - goal[falling])
            ratio = np.divide(np.abs(self.values[falling]), span, out=np.zeros_like(span), where=span > 0)
            part = float(ratio.min())
            moved = self.values + part * (goal - self.values)
            gone = falling & (moved * self.signs <= 1e-15 * np.abs(goal).max())
            gone[np.flatnonzero(falling)[ratio.argmin()]] = True
            self.index, self.signs = self.index[~gone], self.signs[~gone]
            self.values = self.signs * np.maximum(moved[~gone] * self.signs, 0.0)


def _terms(operator: Operator, r: Vector) -> Vector:
    """``|A|.T r`` for ``r >= 0``, shape (n,): what rounding in ``A.T r`` is relative to."""
    m, n = operator.shape
    terms, step = np.empty(n), max(1, 2 * SLAB // m)
    for i in range(0, n, step):
        few = np.arange(i, min(n, i + step))
        terms[few] = np.asarray(abs(operator.columns(few)).T @ r)
    return terms

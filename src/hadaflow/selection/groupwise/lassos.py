"""The path of group lassos in the units of the data."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from hadaflow._types import Index, Vector
from hadaflow.gauges import GroupNorm
from hadaflow.groups import Groups
from hadaflow.problems import Problem
from hadaflow.selection.groupwise.data import GroupedData
from hadaflow.solvers.groupwise.frame import Frame
from hadaflow.solvers.groupwise.penalised import FINE, ROUGH, LassoPoint, PenalisedPath
from hadaflow.units import to_unit


@dataclass(frozen=True, eq=False)
class Lasso:
    """``argmin 1/2 ||A X - Y||^2 + penalty sum_g w_g |X_g|``.

    Attributes
    ----------
    penalty : float
        The penalty.
    chosen : int array of shape (k,)
        The groups that are not zero, those of the largest norm first.
    places : int array of shape (C,)
        Their rows of X.
    values : ndarray of shape (C, L)
        X there.
    residual : ndarray of shape (m, L)
        ``Y - A X``.
    settled : bool
        Whether it was found to full accuracy.
    """

    penalty: float
    chosen: Index
    places: Index
    values: Vector
    residual: Vector
    settled: bool
    _point: LassoPoint | None = None

    @cached_property
    def freedom(self) -> float:
        """Degrees of freedom: how far the fit follows Y."""
        return 0.0 if self._point is None else self._point.freedom

    @cached_property
    def rss(self) -> float:
        """``||A X - Y||^2``."""
        return float(np.vdot(self.residual, self.residual))


class Lassos:
    """The path, one penalty after the other.

    Parameters
    ----------
    data : GroupedData
        The regression.

    Attributes
    ----------
    problem : Problem
        The same as a problem of the library, X row by row.
    gauge : GroupNorm
        ``sum_g w_g |X_g|``.
    """

    def __init__(self, data: GroupedData) -> None:
        groups = Groups(np.repeat(data.labels, data.targets))
        self.problem = Problem(data.columns, data.target, groups=groups, joint=True)
        self.gauge = GroupNorm(groups, data.weights)
        self._data, self._unit = data, to_unit(self.problem, self.gauge)
        self._path = PenalisedPath(Frame(self._unit))

    @property
    def first(self) -> float:
        """The penalty at which the first group comes in; 0 if none does."""
        return self._path.first * self._unit.size_a * self._unit.size_y

    @property
    def empty(self) -> Lasso:
        """The group lasso at large penalties."""
        none = np.empty(0, dtype=np.intp)
        return Lasso(self.first, none, none, np.empty((0, self._data.targets)), self._data.target, True)

    def at(self, penalty: float, accuracy: float = ROUGH) -> Lasso:
        """The group lasso at a penalty; what is left of the gradient of a group, relative to that, is the accuracy."""
        unit, units = self._unit, self._unit.size_a * self._unit.size_y
        point = self._path.at(penalty / units, accuracy)
        weights = self._data.weights[self._data.labels[point.face.index]]
        values = point.values / weights[:, None] / unit.size_a * unit.size_y
        order = np.argsort(-point.face.norms(values), kind="stable")
        residual = point.residual * unit.size_y
        return Lasso(penalty, point.face.chosen[order], point.face.index, values, residual, point.settled, point)

    def again(self, lasso: Lasso) -> Lasso:
        """A point of the path to full accuracy."""
        return self.at(lasso.penalty, FINE) if len(lasso.places) else lasso

    def along(self, penalties: Vector) -> Iterator[Lasso]:
        """The group lassos at falling penalties."""
        for penalty in penalties:
            yield self.empty if penalty >= self.first else self.at(float(penalty))

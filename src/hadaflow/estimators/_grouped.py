"""A regression in groups: bases of their columns, targets by themselves or jointly, and coefficients back."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import scipy.sparse as sp

from hadaflow._span import Span
from hadaflow._types import Float, Index, Vector
from hadaflow._validation import norm
from hadaflow.certificates import Certificate, certify
from hadaflow.estimators._design import Design
from hadaflow.estimators._feature_groups import FeatureGroups, GroupBases
from hadaflow.estimators._linear_prediction import LinearFit
from hadaflow.estimators._prepared import Prepared, Rows
from hadaflow.groups import Groups
from hadaflow.paths import GroupLassoPath
from hadaflow.problems import Problem
from hadaflow.results import Stats, Status
from hadaflow.selection.groupwise import GroupedData, Lasso, Lassos


@dataclass(frozen=True, eq=False)
class GroupedDesign:
    """Prepared rows, with a basis of the columns of each group.

    Attributes
    ----------
    prepared : Prepared
        The rows; features of groups of weight 0 are unpenalised.
    groups : FeatureGroups
        The groups of all features.
    design : Design
        The penalised columns, freed of what is unpenalised.
    bases : GroupBases
        Of their groups.
    weights : ndarray of shape (G,)
        What each of these counts.
    """

    prepared: Prepared
    groups: FeatureGroups
    design: Design
    bases: GroupBases
    weights: Vector

    @classmethod
    def of(cls, prepared: Prepared, groups: FeatureGroups) -> GroupedDesign:
        """Of prepared rows."""
        prepared = replace(prepared, rows=replace(prepared.rows, feature_weights=groups.unpenalised))
        design = prepared.rows.design()
        penalised = design.split.penalised
        bases = groups.bases(design.operator, penalised)
        return cls(prepared, groups, design, bases, groups.weights_of(bases, penalised))

    def problem(self, target: Float) -> Problem:
        """The penalised features with their groups, and what is left of one target."""
        labels = np.unique(self.groups.labels[self.design.split.penalised], return_inverse=True)[1]
        return Problem(self.design.operator, target, groups=Groups(labels))

    def parts(self, joint: bool) -> list[list[Rows]]:
        """Targets that are fitted together."""
        targets = self.prepared.rows.targets()
        return [targets] if joint else [[rows] for rows in targets]


class GroupedRegression:
    """Targets that have one support of groups.

    Targets together are brought to one size, so that their units do not matter.

    Attributes
    ----------
    data : GroupedData
        What is chosen from.
    sizes : ndarray of shape (L,)
        By which targets were divided.
    """

    def __init__(self, grouped: GroupedDesign, targets: list[Rows]) -> None:
        self._grouped, self._targets = grouped, targets
        design, bases = grouped.design, grouped.bases
        left = np.column_stack([design.target(rows.y).astype(np.float64) for rows in targets])
        self.sizes = np.ones(len(targets)) if len(targets) == 1 else deviations(left, design.rows)
        self.data = GroupedData(bases.basis, left / self.sizes, bases.labels, grouped.weights, design.rows)

    def fit(self, x: Vector, lassos: list[Lasso], refit: bool, attributes: dict[str, Any]) -> list[LinearFit]:
        """Coefficients of the bases, shape (N, L), in terms of the data given, for each target."""
        if refit:
            x = refitted(self.data, x)
        coefficients = self._grouped.bases.coefficients(x) * self.sizes
        own = {"certificate_": self._certificate(x, lassos), "n_iter_": len(lassos) - 1}
        fits = []
        for k, rows in enumerate(self._targets):
            design, prepared = self._grouped.design, self._grouped.prepared
            coef, intercept = prepared.back(*design.coefficients(coefficients[:, k], rows.y))
            fits.append(LinearFit(coef, intercept, attributes | own | {"path_": self._path(k, rows, lassos)}))
        return fits

    def _path(self, k: int, rows: Rows, lassos: list[Lasso]) -> GroupLassoPath:
        """The path of one target, in coefficients of the penalised features."""
        problem = self._grouped.problem(self._grouped.design.target(rows.y))
        combination = self._grouped.bases.combination
        known = [lasso for lasso in lassos if len(lasso.places)]
        points = [combination[:, lasso.places] @ sp.csr_array(lasso.values[:, [k]] * self.sizes[k]) for lasso in known]
        x = sp.csr_array(sp.hstack(points).T) if known else sp.csr_array((0, combination.shape[0]))
        settled = all(lasso.settled for lasso in lassos)
        return GroupLassoPath(
            times=np.array([1 / lasso.penalty for lasso in known]),
            x=sp.csr_array(x.astype(problem.dtype)),
            status=Status.STOPPED if settled else Status.NOT_CONVERGED,
            stats=Stats(events=len(known), method="group lasso"),
            problem=problem,
        )

    def _certificate(self, x: Vector, lassos: list[Lasso]) -> Certificate:
        """How far ``sum_g w_g |X_g|`` is from the smallest of all fits as close to the data, by the nearest lasso."""
        path, left = Lassos(self.data), self.data.target - self.data.columns @ x
        level = norm(left.ravel())
        near = min(lassos, key=lambda lasso: abs(norm(lasso.residual.ravel()) - level))
        return certify(path.problem, x, near.residual, gauge=path.gauge, noise_level=level)


def deviations(columns: Vector, rows: float) -> Vector:
    """Standard deviation of each column, for so many degrees of freedom; 1 for zeros."""
    largest = np.abs(columns).max(axis=0, initial=0.0)
    safe = np.where(largest > 0, largest, 1.0)
    sizes = np.linalg.norm(columns / safe, axis=0) * safe / np.sqrt(rows)
    return np.where(sizes > 0, sizes, 1.0)


def refitted(data: GroupedData, x: Vector) -> Vector:
    """Least squares on the groups of x."""
    places: Index = np.flatnonzero(np.isin(data.labels, data.labels[(x != 0).any(axis=1)]))
    span = Span(data.columns[:, places])
    values = [span.least_squares(y, np.zeros(len(places))) for y in data.target.T]
    return data.whole(places, np.column_stack(values))

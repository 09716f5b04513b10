"""The flow as a stiff equation: tolerances in units of x, linear algebra of the active columns.

``nu' = y - A B(A^T nu)`` has the Jacobian ``-A B' A^T`` with a diagonal B', or with blocks for groups of coordinates
(:class:`hadaflow.groups.Metric`). Only active coordinates have a large slope, so an implicit step of length c solves
``(I + c A_K B'_K A_K^T) v = b`` for a few columns K. Another loss than the squared one multiplies the Jacobian by its
curvatures from the left, ``-H A B' A^T`` with a diagonal H >= 0.
"""

from __future__ import annotations

from typing import Any, Protocol

import numpy as np
import scipy.linalg as la
from scipy.sparse.linalg import LinearOperator, cg

from hadaflow._types import Index, Vector
from hadaflow._validation import norm
from hadaflow.groups import Metric
from hadaflow.operators.block import gram_of, product, rows_scaled
from hadaflow.solvers.flow.field import Field
from hadaflow.solvers.flow.ndf import NDF, LinearSolver, Systems

_NEGLIGIBLE = 0.1  # of the identity: the part of the Jacobian that Newton's method may ignore
_EPS = float(np.finfo(np.float64).eps)


def integrator(field: Field, tolerance: float, end: float) -> tuple[NDF, FlowEquation]:
    """The integrator of the flow from its start, and the equation that it integrates.

    Raises
    ------
    FloatingPointError
        If the first step is too short for doubles.
    """
    first = min(field.first_step(end), end)
    if not first > 0:
        raise FloatingPointError("at this scale all happens in less time than double precision can tell")
    equation = FlowEquation(field, tolerance)
    start = np.zeros_like(field.y)
    return NDF(field, equation.linearise, equation.error_norm, start, first_step=first, end=end), equation


class FlowEquation:
    """What the integrator asks about a :class:`Field` whose entries of x may be wrong by a relative ``tolerance``."""

    def __init__(self, field: Field, tolerance: float) -> None:
        self.field, self.tolerance = field, tolerance
        self.systems: ImplicitSystems = (ActiveColumns if field.operator.costs.cheap_columns else KrylovSystems)(field)
        self.refresh()

    def refresh(self) -> None:
        """Take over the size of x that the field knows of by now."""
        self.allowed = self.field.absolute_tolerance(self.tolerance)
        if self.field.problem.squared:  # other losses: with each Jacobian
            self._set_rounding(self.field.y)

    def error_norm(self, error: Vector, nu: Vector, length: float) -> float:
        """Root mean square of the error of nu in units of what is allowed.

        Over long steps the rounding of the residual adds up to more than was allowed, but is no error to be avoided.
        """
        allowed = self.allowed + self.rounding * length + 100 * _EPS * np.abs(nu)
        return float(norm(error / allowed) / len(error) ** 0.5)

    def linearise(self, _: float, nu: Vector) -> Systems:
        """The systems of implicit steps near nu, as a function of c."""
        theta = self.field.operator.rmatvec(nu)
        metric, curvature = self.field.metric(theta), self._curvature(theta)
        return lambda c: self.systems.solver(metric.scaled(c), curvature)

    def _curvature(self, theta: Vector) -> Vector | None:
        """The curvatures of the loss; None for the squared one."""
        if self.field.problem.squared:
            return None
        loss, y = self.field.problem.loss, self.field.y
        p = self.field.operator.matvec(self.field.x_of(theta))
        curvature: Vector = np.asarray(loss.curvature(p, y))
        self._set_rounding(np.abs(loss.gradient(p, y)) + curvature * np.abs(p))
        return curvature

    def _set_rounding(self, terms: Vector) -> None:
        """Update the rounding level of the residual, which is the difference of terms of this size."""
        self.rounding = 4 * _EPS * norm(terms) / len(terms) ** 0.5


class ImplicitSystems(Protocol):
    """Solvers with ``I + H A weight A^T``: the weight is ``c B'``, the diagonal H the curvature of the loss."""

    def solver(self, weight: Metric, curvature: Vector | None) -> LinearSolver:
        """The solver; without a curvature H is the identity."""
        ...


class ActiveColumns:
    """Systems in the columns whose weight is not negligible."""

    def __init__(self, field: Field) -> None:
        self.field = field
        self.index: Index = np.empty(0, dtype=np.intp)
        self.columns: Any = None
        self.gram: Vector | None = None

    def solver(self, weight: Metric, curvature: Vector | None) -> LinearSolver:
        m, _ = self.field.problem.shape
        index = self._active(weight.radial if curvature is None else float(curvature.max()) * weight.radial)
        if len(index) == 0:
            return lambda right: right
        if len(index) >= m:
            return self._by_rows(weight, index, curvature)
        self._extract(index)
        inside = np.searchsorted(self.index, index)
        columns, active = self.columns[:, inside], weight.on(index)
        # With the square root R of the weight the inverse is I - H A_K R (I + R A_K^T H A_K R)^-1 R A_K^T.
        curved = columns if curvature is None else rows_scaled(columns, curvature)
        gram = self.gram[np.ix_(inside, inside)] if curvature is None else product(columns, curved)  # type: ignore[index]
        gram = np.asfortranarray(active.half(active.half(gram).T))
        gram[np.diag_indices(len(index))] += 1.0
        factor, _ = la.cho_factor(gram, lower=True, overwrite_a=True, check_finite=False)

        def solve(right: Vector) -> Vector:
            target = active.root_times(columns.T @ right)
            inner, _ = la.lapack.dpotrs(factor, target, lower=1)  # cho_solve takes longer to check than this
            return np.asarray(right - curved @ active.root_times(inner))

        return solve

    def _active(self, steepest: Vector) -> Index:
        """The columns K, whole groups, such that the rest adds little to the identity, by its trace or its norm."""
        groups = self.field.groups
        part = steepest * groups.sums(self.field.column_squares)
        order = np.argsort(part)
        few = len(part) - int(np.searchsorted(np.cumsum(part[order]), _NEGLIGIBLE, side="right"))
        by_trace = order[len(part) - few :]
        by_norm = np.flatnonzero(steepest * self.field.spectral_square > _NEGLIGIBLE)
        active: Index = by_trace if len(by_trace) < len(by_norm) else by_norm
        return groups.coordinates(active)

    def _extract(self, index: Index) -> None:
        """Columns and Gram matrix of ``index`` and whatever was asked for before."""
        known = self.index
        new = np.setdiff1d(index, known, assume_unique=True)
        if len(new) == 0 and self.columns is not None:
            return
        if len(known) + len(new) > 2 * len(index) + 32:  # most of what is kept is no longer active
            known = index
        index = np.union1d(known, new)
        columns = self.field.operator.columns(index)
        self.index, self.columns = index, columns
        if self.field.problem.squared:  # otherwise its weights change with every Jacobian
            self.gram = gram_of(columns)

    def _by_rows(self, weight: Metric, index: Index, curvature: Vector | None) -> LinearSolver:
        matrix = weight.on(index).gram(self.field.operator.columns(index))
        if curvature is not None:
            matrix *= curvature[:, None]
            matrix[np.diag_indices(len(matrix))] += 1.0
            general = la.lu_factor(matrix, overwrite_a=True, check_finite=False)
            return lambda right: np.asarray(la.lu_solve(general, right, check_finite=False))
        matrix[np.diag_indices(len(matrix))] += 1.0
        factor = la.cho_factor(matrix, lower=True, overwrite_a=True, check_finite=False)
        return lambda right: np.asarray(la.cho_solve(factor, right, check_finite=False))


class KrylovSystems:
    """Systems by conjugate gradients, for operators: products only."""

    def __init__(self, field: Field) -> None:
        self.field = field

    def solver(self, weight: Metric, curvature: Vector | None) -> LinearSolver:
        operator, m = self.field.operator, len(self.field.y)
        steepest = float(weight.radial.max(initial=0.0)) * (1.0 if curvature is None else float(curvature.max()))
        if steepest * self.field.spectral_square <= _NEGLIGIBLE:
            return lambda right: right

        def inner(v: Vector) -> Vector:
            return operator.matvec(weight.times(operator.rmatvec(v)))

        if curvature is None:
            system = LinearOperator((m, m), lambda v: v + inner(v), dtype=np.float64)
            return lambda right: np.asarray(cg(system, right, rtol=1e-3, maxiter=200)[0])
        # (I + H M)^-1 = I - S (I + S M S)^-1 S M with S^2 = H: symmetric, and H may have zeros.
        root = np.sqrt(curvature)
        system = LinearOperator((m, m), lambda v: v + root * inner(root * v), dtype=np.float64)

        def solve(right: Vector) -> Vector:
            shifted, _ = cg(system, root * inner(right), rtol=1e-3, maxiter=200)
            return np.asarray(right - root * shifted)

        return solve

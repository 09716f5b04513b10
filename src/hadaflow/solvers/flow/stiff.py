"""The flow as a stiff equation for SciPy's BDF: tolerances in units of x, linear algebra of the active columns.

``nu' = y - A B(A^T nu)`` has the Jacobian ``-A diag(B') A^T``. Only active coordinates have a large slope B', so an
implicit step of length c solves ``(I + c A_K diag(B'_K) A_K^T) v = b`` for a few columns K. Another loss than the
squared one multiplies the Jacobian by its curvatures from the left, ``-H A diag(B') A^T`` with a diagonal H >= 0.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import scipy.linalg as la
from scipy.integrate import BDF
from scipy.sparse.linalg import LinearOperator, cg

from hadaflow._types import Index, Vector
from hadaflow._validation import norm
from hadaflow.operators.block import columns_scaled, gram_of, product, row_gram, rows_scaled
from hadaflow.solvers.flow.field import Field

_NEGLIGIBLE = 0.1  # of the identity: the part of the Jacobian that Newton's method may ignore
_EPS = float(np.finfo(np.float64).eps)


class StiffFlow(BDF):  # type: ignore[misc]  # SciPy ships no types
    """SciPy's BDF on a :class:`Field`. What is changed is how its linear systems are represented and solved.

    SciPy forms ``I - c J``, factors it with ``lu`` and solves with ``solve_lu``; all three are replaced by objects that
    know the structure of J. Parameters are those of the field and the tolerance of x.
    """

    def __init__(self, field: Field, tolerance: float, end: float) -> None:
        self.field, self.tolerance = field, tolerance
        first = min(field.first_step(end), end)
        if not first > 0:
            raise FloatingPointError("at this scale all happens in less time than double precision can tell")
        super().__init__(
            field,
            0.0,
            np.zeros_like(field.y),
            end,
            rtol=100 * _EPS,
            atol=field.absolute_tolerance(tolerance),
            first_step=first,
        )
        self.I = _Identity()
        self.lu, self.solve_lu = self._factor, self._solve
        self.refresh()

    def refresh(self) -> None:
        """Take over the size of x that the field knows of by now."""
        self.allowed = self.field.absolute_tolerance(self.tolerance)
        if self.field.problem.squared:  # other losses: with each Jacobian
            self._round(self.field.y)

    def _round(self, terms: Vector) -> None:
        """Take note of the size of what the residual is the difference of."""
        self.rounding = 4 * _EPS * norm(terms) / len(terms) ** 0.5

    def _step_impl(self) -> tuple[bool, str | None]:
        # Over long steps the rounding of the residual adds up to more than was allowed, but is no error to be avoided.
        self.atol = self.allowed + self.rounding * self.h_abs
        result: tuple[bool, str | None] = super()._step_impl()
        return result

    def _validate_jac(self, jac: Any, sparsity: Any) -> Any:
        curvatures = (_ActiveColumns if self.field.operator.costs.cheap_columns else _Krylov)(self.field)
        self.njev = 0

        def curvature(_: float, nu: Vector) -> Any:
            self.njev += 1
            theta = self.field.operator.rmatvec(nu)
            return _Curvature(curvatures, self.field.slope_of(theta), self._bend(theta))

        return curvature, curvature(self.t, self.y)

    def _bend(self, theta: Vector) -> Vector | None:
        """The curvatures of the loss; None for the squared one."""
        if self.field.problem.squared:
            return None
        loss, y = self.field.problem.loss, self.field.y
        p = self.field.operator.matvec(self.field.x_of(theta))
        bend: Vector = np.asarray(loss.curvature(p, y))
        self._round(np.abs(loss.gradient(p, y)) + bend * np.abs(p))
        return bend

    def _factor(self, system: _Scaled) -> Callable[[Vector], Vector]:
        return system.solver()

    @staticmethod
    def _solve(solver: Callable[[Vector], Vector], right: Vector) -> Vector:
        return solver(right)


class _Identity:
    """I of ``I - c J``: the systems below bring their own."""

    def __sub__(self, scaled: _Scaled) -> _Scaled:
        return scaled


@dataclass(frozen=True)
class _Curvature:
    """``J = -H A diag(slope) A^T``, with the diagonal H in ``bend``; None for the identity."""

    systems: Any
    slope: Vector
    bend: Vector | None

    def __rmul__(self, c: float) -> _Scaled:
        return _Scaled(self.systems, c * self.slope, self.bend)


@dataclass(frozen=True)
class _Scaled:
    """``I + H A diag(weight) A^T``, with the weight ``c B'``."""

    systems: Any
    weight: Vector
    bend: Vector | None

    def solver(self) -> Callable[[Vector], Vector]:
        solver: Callable[[Vector], Vector] = self.systems.solver(self.weight, self.bend)
        return solver


class _ActiveColumns:
    """Systems in the columns whose weight is not negligible."""

    def __init__(self, field: Field) -> None:
        self.field = field
        self.index: Index = np.empty(0, dtype=np.intp)
        self.columns: Any = None
        self.gram: Vector | None = None

    def solver(self, weight: Vector, bend: Vector | None) -> Callable[[Vector], Vector]:
        m, _ = self.field.problem.shape
        index = self._active(weight if bend is None else float(bend.max()) * weight)
        if len(index) == 0:
            return lambda right: right
        if len(index) >= m:
            return self._by_rows(weight, index, bend)
        self._extract(index)
        inside = np.searchsorted(self.index, index)
        columns = self.columns[:, inside]
        # The inverse is I - H A_K (diag(1 / weight_K) + A_K^T H A_K)^-1 A_K^T.
        bent = columns if bend is None else rows_scaled(columns, bend)
        gram = self.gram[np.ix_(inside, inside)] if bend is None else product(columns, bent)  # type: ignore[index]
        gram[np.diag_indices(len(index))] += 1 / weight[index]
        factor, _ = la.cho_factor(gram, lower=True, overwrite_a=True, check_finite=False)

        def solve(right: Vector) -> Vector:
            inner, _ = la.lapack.dpotrs(factor, columns.T @ right, lower=1)  # cho_solve takes longer to check than this
            return np.asarray(right - bent @ inner)

        return solve

    def _active(self, weight: Vector) -> Index:
        """The columns K such that the rest adds little to the identity, by the trace or by the norm of A."""
        share = weight * self.field.column_squares
        order = np.argsort(share)
        few = len(share) - int(np.searchsorted(np.cumsum(share[order]), _NEGLIGIBLE, side="right"))
        by_trace = order[len(share) - few :]
        by_norm = np.flatnonzero(weight * self.field.spectral_square > _NEGLIGIBLE)
        return np.sort(by_trace if len(by_trace) < len(by_norm) else by_norm)

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

    def _by_rows(self, weight: Vector, index: Index, bend: Vector | None) -> Callable[[Vector], Vector]:
        columns = self.field.operator.columns(index)
        root = np.sqrt(weight[index])
        matrix = row_gram(columns_scaled(columns, root))
        if bend is not None:
            matrix *= bend[:, None]
            matrix[np.diag_indices(len(matrix))] += 1.0
            general = la.lu_factor(matrix, overwrite_a=True, check_finite=False)
            return lambda right: np.asarray(la.lu_solve(general, right, check_finite=False))
        matrix[np.diag_indices(len(matrix))] += 1.0
        factor = la.cho_factor(matrix, lower=True, overwrite_a=True, check_finite=False)
        return lambda right: np.asarray(la.cho_solve(factor, right, check_finite=False))


class _Krylov:
    """Systems by conjugate gradients, for operators: products only."""

    def __init__(self, field: Field) -> None:
        self.field = field

    def solver(self, weight: Vector, bend: Vector | None) -> Callable[[Vector], Vector]:
        operator, m = self.field.operator, len(self.field.y)
        steepest = float(weight.max(initial=0.0)) * (1.0 if bend is None else float(bend.max()))
        if steepest * self.field.spectral_square <= _NEGLIGIBLE:
            return lambda right: right

        def inner(v: Vector) -> Vector:
            return operator.matvec(weight * operator.rmatvec(v))

        if bend is None:
            system = LinearOperator((m, m), lambda v: v + inner(v), dtype=np.float64)
            return lambda right: np.asarray(cg(system, right, rtol=1e-3, maxiter=200)[0])
        # (I + H M)^-1 = I - S (I + S M S)^-1 S M with S^2 = H: symmetric, and H may have zeros.
        root = np.sqrt(bend)
        system = LinearOperator((m, m), lambda v: v + root * inner(root * v), dtype=np.float64)

        def solve(right: Vector) -> Vector:
            shifted, _ = cg(system, root * inner(right), rtol=1e-3, maxiter=200)
            return np.asarray(right - root * shifted)

        return solve

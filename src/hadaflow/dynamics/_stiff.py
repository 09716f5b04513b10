"""The flow as a stiff equation for SciPy's BDF: tolerances in units of x, linear algebra of the active columns.

``nu' = y - A B(A^T nu)`` has the Jacobian ``-A diag(B') A^T``. Only active coordinates have a large slope B', so an
implicit step of length c solves ``(I + c A_K diag(B'_K) A_K^T) v = b`` for a few columns K.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import scipy.linalg as la
import scipy.sparse as sp
from numpy.typing import NDArray
from scipy.integrate import BDF
from scipy.sparse.linalg import LinearOperator, cg

from hadaflow._validation import Index, norm
from hadaflow.models import Model
from hadaflow.models.base import Scale
from hadaflow.operators import Metered
from hadaflow.problems import Problem

Vector = NDArray[np.float64]

_NEGLIGIBLE = 0.1  # of the identity: the part of the Jacobian that Newton's method may ignore
_CAP = 10.0  # times the size of x: from there on the mirror map goes on along its tangent
_EPS = float(np.finfo(np.float64).eps)


@dataclass
class Field:
    """The right-hand side of the equation, and the sizes that its tolerances are relative to.

    Attributes
    ----------
    size : float
        Largest entry of x expected, or met.
    """

    problem: Problem
    model: Model
    init_scale: Scale
    size: float = 0.0

    def __post_init__(self) -> None:
        self.operator = Metered(self.problem.operator)
        self.y: Vector = self.problem.y.astype(np.float64)
        if self.size == 0.0:
            self.size = self._expected_size()
        self._set_caps()

    def __call__(self, time: float, nu: Vector) -> Vector:
        return self.y - self.operator.matvec(self.x_of(self.operator.rmatvec(nu)))

    def x_of(self, theta: Vector) -> Vector:
        """B(theta) for theta of shape (n,) or (n, k), continued along its tangent beyond the cap.

        The flow never gets there, but trial steps may, and beyond the barrier of depth > 2 there is no B.
        """
        low, high, scale = (_along(value, theta) for value in (self._low, self._high, self.init_scale))
        inner = np.clip(theta, low, high)
        x: Vector = self.model.mirror_map(inner, scale)
        out = theta != inner
        if out.any():
            x = np.where(out, x + self.model.slope(inner, scale) * (theta - inner), x)
        return x

    def slope_of(self, theta: Vector) -> Vector:
        """B'(theta), constant beyond the cap."""
        slope: Vector = self.model.slope(np.clip(theta, self._low, self._high), self.init_scale)
        return slope

    def grow(self, x: Vector) -> bool:
        """Take note of x; whether it is larger than expected."""
        largest = float(np.abs(x).max(initial=0.0))
        if largest <= self.size:
            return False
        self.size = 2 * largest
        self._set_caps()
        return True

    @cached_property
    def column_squares(self) -> Vector:
        """``||A_i||^2``; for an operator their mean, from one product."""
        m, n = self.problem.shape
        if self.operator.column_cost(1) >= 1:
            image = self.operator.matvec(np.random.default_rng(0).choice([-1.0, 1.0], size=n))
            return np.full(n, float(image @ image) / n)
        squares = np.empty(n)
        step = max(1, (1 << 22) // m)
        for i in range(0, n, step):
            block = self.problem.operator.columns(np.arange(i, min(n, i + step)))
            squares[i : i + step] = np.asarray((block * block).sum(axis=0)).ravel()
        return squares

    @cached_property
    def spectral_square(self) -> float:
        """``||A||^2``, by a few power iterations and a margin."""
        v = np.random.default_rng(0).standard_normal(self.problem.shape[1])
        value = 0.0
        for _ in range(6):
            v = self.operator.rmatvec(self.operator.matvec(v / (norm(v) or 1.0)))
            value = norm(v)
        return 1.5 * value

    @property
    def sharpness(self) -> float:
        """Condition of B at the size of x, ``B' theta / x``: relative rounding of theta comes back so much larger."""
        theta = np.asarray(self.model.inverse(self._top(), self.init_scale))
        with np.errstate(invalid="ignore", over="ignore"):
            sharp = float(np.max(self.model.slope(theta, self.init_scale) * np.abs(theta))) / self.size
            # Where theta is rounded to its barrier, neither slope nor value tell anything.
            lost = float(np.max(np.abs(self.model.mirror_map(theta, self.init_scale) / self.size - 1)))
        return max(sharp, lost / _EPS) if np.isfinite(sharp) and np.isfinite(lost) else np.inf

    def absolute_tolerance(self, tolerance: float) -> float:
        """Error allowed in an entry of nu so that no entry of x is wrong by more than ``tolerance`` times its size.

        ``|dx_i| <= B'_i ||A_i|| ||d nu||``, with the slope of the largest x; SciPy takes root mean squares.
        """
        theta = np.asarray(self.model.inverse(self._top(), self.init_scale))
        slope = np.maximum(self.model.slope(theta, self.init_scale), self.model.slope(0 * theta, self.init_scale))
        reach = float(np.max(slope * np.sqrt(self.column_squares)))
        return tolerance * self.size / reach if reach > 0 else 1.0

    def first_step(self, end: float) -> float:
        """A step so short that the slopes of B hardly change."""
        pull = self.operator.rmatvec(self(0.0, np.zeros_like(self.y)))
        start = self.slope_of(0 * pull)
        step = min(end, 1e300 / (float(np.abs(pull).max(initial=0.0)) or 1.0))
        while step > 1e-300:
            theta = step * pull
            if (theta == np.clip(theta, self._low, self._high)).all():
                change = float(np.abs(self.slope_of(theta) / start - 1).max())
                if change <= 1e-2:
                    break
            step *= 0.1
        return 1e-2 * step

    def _top(self) -> Vector:
        return np.full(self.problem.shape[1], self.size)

    def _set_caps(self) -> None:
        self._high = np.asarray(self.model.inverse(_CAP * self._top(), self.init_scale), dtype=np.float64)
        signed = getattr(self.model, "sign", "both") == "both"
        self._low = -self._high if signed else np.full_like(self._high, -np.inf)

    def _expected_size(self) -> float:
        """The largest entry that a single coordinate would have if it were to explain y alone; and the start."""
        squares = self.column_squares
        speed = np.abs(self.operator.rmatvec(self.y))
        alone = np.divide(speed, squares, out=np.zeros_like(speed), where=squares > 0)
        start = np.abs(np.asarray(self.model.mirror_map(np.zeros_like(speed), self.init_scale)))
        size = float(max(alone.max(initial=0.0), start.max(initial=0.0)))
        return size if size > 0 else 1.0


class StiffFlow(BDF):  # type: ignore[misc]  # SciPy ships no types
    """SciPy's BDF on a :class:`Field`. What is changed is how its linear systems are represented and solved.

    SciPy forms ``I - c J``, factors it with ``lu`` and solves with ``solve_lu``; all three are replaced by objects that
    know the structure of J. Parameters are those of the field and the tolerance of x.
    """

    def __init__(self, field: Field, tolerance: float, end: float, at: float = 0.0, nu: Vector | None = None) -> None:
        self.field, self.tolerance, self.systems = field, tolerance, 0
        start = np.zeros_like(field.y) if nu is None else nu
        super().__init__(
            field,
            at,
            start,
            end,
            rtol=100 * _EPS,
            atol=field.absolute_tolerance(tolerance),
            first_step=min(field.first_step(end - at), end - at),
        )
        self.I = _Identity()
        self.lu, self.solve_lu = self._factor, self._solve
        self.refresh()

    def refresh(self) -> None:
        """Take over the size of x that the field knows of by now."""
        self.allowed = self.field.absolute_tolerance(self.tolerance)
        self.rounding = 4 * _EPS * norm(self.field.y) / len(self.field.y) ** 0.5

    def _step_impl(self) -> tuple[bool, str | None]:
        # Over long steps the rounding of the residual adds up to more than was allowed, but is no error to be avoided.
        self.atol = self.allowed + self.rounding * self.h_abs
        result: tuple[bool, str | None] = super()._step_impl()
        return result

    def _validate_jac(self, jac: Any, sparsity: Any) -> Any:
        curvatures = (_Krylov if self.field.operator.column_cost(1) >= 1 else _ActiveColumns)(self.field)
        self.njev = 0

        def curvature(_: float, nu: Vector) -> Any:
            self.njev += 1
            return curvatures.at(self.field.slope_of(self.field.operator.rmatvec(nu)))

        return curvature, curvature(self.t, self.y)

    def _factor(self, system: _Scaled) -> Callable[[Vector], Vector]:
        self.systems += 1
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
    """``J = -A diag(slope) A^T``."""

    systems: Any
    slope: Vector

    def __rmul__(self, c: float) -> _Scaled:
        return _Scaled(self.systems, c * self.slope)


@dataclass(frozen=True)
class _Scaled:
    """``I + A diag(weight) A^T``, with the weight ``c B'``."""

    systems: Any
    weight: Vector

    def solver(self) -> Callable[[Vector], Vector]:
        solver: Callable[[Vector], Vector] = self.systems.solver(self.weight)
        return solver


class _ActiveColumns:
    """Systems in the columns whose weight is not negligible."""

    def __init__(self, field: Field) -> None:
        self.field = field
        self.index: Index = np.empty(0, dtype=np.intp)
        self.columns: Any = None
        self.gram: Vector | None = None

    def at(self, slope: Vector) -> _Curvature:
        return _Curvature(self, slope)

    def solver(self, weight: Vector) -> Callable[[Vector], Vector]:
        m, _ = self.field.problem.shape
        index = self._active(weight)
        if len(index) == 0:
            return lambda right: right
        if len(index) >= m:
            return self._by_rows(weight, index)
        self._extract(index)
        inside = np.searchsorted(self.index, index)
        columns, gram = self.columns[:, inside], self.gram[np.ix_(inside, inside)]  # type: ignore[index]
        gram[np.diag_indices(len(index))] += 1 / weight[index]
        factor = la.cho_factor(gram, lower=True, overwrite_a=True, check_finite=False)

        def solve(right: Vector) -> Vector:
            inner = la.cho_solve(factor, columns.T @ right, check_finite=False)
            return np.asarray(right - columns @ inner)

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
        gram = columns.T @ columns
        self.index, self.columns = index, columns
        self.gram = np.asarray(gram.toarray() if sp.issparse(gram) else gram)

    def _by_rows(self, weight: Vector, index: Index) -> Callable[[Vector], Vector]:
        columns = self.field.operator.columns(index)
        root = np.sqrt(weight[index])
        scaled = columns @ sp.diags_array(root) if sp.issparse(columns) else columns * root
        matrix = scaled @ scaled.T
        matrix = np.asarray(matrix.toarray() if sp.issparse(matrix) else matrix)
        matrix[np.diag_indices(len(matrix))] += 1.0
        factor = la.cho_factor(matrix, lower=True, overwrite_a=True, check_finite=False)
        return lambda right: np.asarray(la.cho_solve(factor, right, check_finite=False))


class _Krylov:
    """Systems by conjugate gradients, for operators: products only."""

    def __init__(self, field: Field) -> None:
        self.field = field

    def at(self, slope: Vector) -> _Curvature:
        return _Curvature(self, slope)

    def solver(self, weight: Vector) -> Callable[[Vector], Vector]:
        operator, m = self.field.operator, len(self.field.y)
        if float(weight.max(initial=0.0)) * self.field.spectral_square <= _NEGLIGIBLE:
            return lambda right: right
        system = LinearOperator((m, m), lambda v: v + operator.matvec(weight * operator.rmatvec(v)), dtype=np.float64)
        return lambda right: np.asarray(cg(system, right, rtol=1e-3, maxiter=200)[0])


def _along(value: Any, theta: Vector) -> Any:
    """One number per coordinate, ready to meet theta of shape (n,) or (n, k)."""
    return value[:, None] if theta.ndim == 2 and np.ndim(value) == 1 else value

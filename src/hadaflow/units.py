"""Bring a problem to unit size, so that every tolerance below is relative and free of units."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np

from hadaflow._types import Vector
from hadaflow._validation import norm, power_of_two
from hadaflow.gauges import L1, Gauge
from hadaflow.operators import Metered, Operator, Scaled
from hadaflow.operators.around import even_rows
from hadaflow.problems import Problem

_EPS = float(np.finfo(np.float64).eps)
_NO_DOUBT = 1e-10  # rounding of entries of A^T nu, whose bound is 1, that is not worth measuring columns for


@dataclass(frozen=True)
class UnitProblem:
    """``A / size_a`` (columns divided by the weights too) and ``y / size_y`` with powers of two for sizes.

    Attributes
    ----------
    operator : Operator
        The scaled A, metered: passes are counted in ``meter``.
    y : ndarray of shape (m,)
        The scaled measurements, with norm between 1 and 2 (or all zero).
    correlation : ndarray of shape (n,)
        ``A.T @ y`` of the scaled data.
    gauge : Gauge
        What is made small, in these units: its bounds are of order one.
    size_a, size_y : float
        The sizes. The solution of the original problem is ``size_y / size_a`` times that of the scaled one (and divided
        by the weights); a dual vector of the original is that of the scaled one divided by ``size_a``.
    data_rounding : float
        Relative rounding that storing the data cost: the epsilon of their dtype, 0 for float64 data taken at their
        word.
    row_factors : ndarray of shape (m,) or None
        Powers of two that the rows of A and y were multiplied by, so that units of rows do not matter; None for ones.
    """

    operator: Operator
    meter: Metered
    gauge: Gauge
    y: Vector
    correlation: Vector
    size_a: float
    size_y: float
    weights: Vector | None
    data_rounding: float
    row_factors: Vector | None = None

    @cached_property
    def lengths(self) -> Vector | None:
        """Lengths of the columns of the scaled A, shape (n,); None where they are not at hand."""
        return self.operator.column_lengths if self.operator.costs.cheap_columns else None

    @cached_property
    def longest(self) -> float:
        """A bound on these lengths; 0 where they are not at hand."""
        return self.operator.size_bound if self.operator.costs.cheap_columns else 0.0

    def doubt(self, size: float) -> Vector | float:
        """Rounding of each entry of ``A^T nu`` for a nu of this length.

        Columns are measured only where a bound on all their lengths says that it matters: of long columns, or of such
        with little weight, rounding may exceed 1, the bound of the entries.
        """
        common = 4 * _EPS * size * self.longest
        if common <= _NO_DOUBT or self.lengths is None:
            return common
        return 4 * _EPS * size * self.lengths

    @property
    def zero(self) -> bool:
        """Whether ``A^T y = 0``: then x = 0 already is a least-squares point."""
        return not self.correlation.any()

    def original_x(self, x: Vector) -> Vector:
        x = x if self.weights is None else x / self.weights
        return x / self.size_a * self.size_y

    def original_dual(self, nu: Vector) -> Vector:
        nu = nu / self.size_a
        return nu if self.row_factors is None else nu * self.row_factors


def correlation_at_zero(problem: Problem) -> Vector:
    """``A^T y``; minus the gradient at zero of another loss than the squared one.

    Raises
    ------
    ValueError
        If it overflows: then so would every step.
    """
    with np.errstate(over="ignore", invalid="ignore"):
        correlation = problem.operator.rmatvec(problem.negative_gradient_at_zero)
    if not np.isfinite(correlation).all():
        raise ValueError("A^T y overflows: divide A and y by their sizes, and x comes out in the new units")
    return correlation


def to_unit(problem: Problem, gauge: Gauge | None = None, *, even: bool = False) -> UnitProblem:
    """Scale ``problem`` and a gauge, by default the l1 norm; one pass over A.

    With ``even`` rows of very different lengths are brought to about the same one. That changes neither the
    solutions of ``A x = y`` nor any digit of the data, but which x is nearest to a y out of reach.
    """
    meter = Metered(problem.operator)
    weights, unit_gauge = (gauge or L1()).unit()
    y, factors = problem.y.astype(np.float64), even_rows(meter) if even else None
    if factors is not None:
        with np.errstate(over="ignore"):
            y = y * factors
        if not np.isfinite(y).all():
            raise ValueError("y overflows in units of the rows of A: divide A and y by their sizes")
    size_y = float(power_of_two(norm(y)))
    y = y / size_y
    of_rows = y if factors is None else y * factors
    correlation = meter.rmatvec(of_rows)
    if meter.costs.matrix_free:
        _check_adjoint(meter, of_rows, correlation)
    if weights is not None:
        correlation = correlation / weights
    size_a = float(power_of_two(np.abs(correlation).max()))
    inverse = None if weights is None else 1 / weights
    operator: Operator = meter
    if size_a != 1.0 or inverse is not None or factors is not None:
        operator = Scaled(meter, 1 / size_a, inverse, factors)
    data_rounding = float(np.finfo(np.float32).eps) if problem.dtype == np.float32 else 0.0
    correlation = correlation / size_a
    return UnitProblem(operator, meter, unit_gauge, y, correlation, size_a, size_y, weights, data_rounding, factors)


def _check_adjoint(operator: Operator, y: Vector, correlation: Vector) -> None:
    """Raise ValueError if the products of a LinearOperator do not belong together; one more product."""
    probe = np.random.default_rng(0).choice([-1.0, 1.0], size=operator.shape[1])
    image = operator.matvec(probe)
    if image.shape != y.shape or correlation.shape != probe.shape:
        raise ValueError(f"the linear operator A of shape {operator.shape} returns products of other lengths")
    size = norm(image) * norm(y) + norm(probe) * norm(correlation)
    if abs(float(image @ y) - float(probe @ correlation)) > (1e-3 if operator.dtype == np.float32 else 1e-7) * size:
        raise ValueError(
            "the linear operator A and its rmatvec are not adjoint to each other: see hadaflow.dot_test(A)"
        )

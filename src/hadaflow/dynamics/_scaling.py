"""Bring a problem to unit size, so that every tolerance below is relative and free of units."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from hadaflow._validation import norm
from hadaflow.operators import Metered, Operator, Scaled
from hadaflow.problems import Problem

Vector = NDArray[np.float64]


@dataclass(frozen=True)
class UnitProblem:
    """``A / size_a`` (columns divided by the weights too) and ``y / size_y`` with powers of two for sizes.

    Attributes
    ----------
    operator : Operator
        The scaled A, metered: passes are counted in ``meter``.
    y : ndarray of shape (m,)
        The scaled measurements, with norm between 1 and 2 (or all zero).
    speed : ndarray of shape (n,)
        ``A.T @ y`` of the scaled data.
    size_a, size_y : float
        The sizes. The solution of the original problem is ``size_y / size_a`` times that of the scaled one (and divided
        by the weights); a dual vector of the original is that of the scaled one divided by ``size_a``.
    data_rounding : float
        Relative rounding that storing the data cost: the epsilon of their dtype, 0 for float64 data taken at their
        word.
    """

    operator: Operator
    meter: Metered
    y: Vector
    speed: Vector
    size_a: float
    size_y: float
    weights: Vector | None
    data_rounding: float

    @property
    def zero(self) -> bool:
        """Whether ``A^T y = 0``: then x = 0 already is a least-squares point."""
        return not self.speed.any()

    def original_x(self, x: Vector) -> Vector:
        x = x if self.weights is None else x / self.weights
        return x / self.size_a * self.size_y

    def original_dual(self, nu: Vector) -> Vector:
        return nu / self.size_a


def pull_at_zero(problem: Problem) -> Vector:
    """``A^T y``; minus the gradient at zero of another loss than the squared one.

    Raises
    ------
    ValueError
        If it overflows: then so would every step.
    """
    with np.errstate(over="ignore", invalid="ignore"):
        pull = problem.operator.rmatvec(problem.first_pull)
    if not np.isfinite(pull).all():
        raise ValueError("A^T y overflows: divide A and y by their sizes, and x comes out in the new units")
    return pull


def to_unit(problem: Problem, weights: Vector | None = None) -> UnitProblem:
    """Scale ``problem``; one pass over A."""
    y = problem.y.astype(np.float64)
    size_y = _power_of_two(norm(y))
    y = y / size_y
    meter = Metered(problem.operator)
    speed = meter.rmatvec(y)
    if meter.matrix_free:
        _check_adjoint(meter, y, speed)
    if weights is not None:
        speed = speed / weights
    size_a = _power_of_two(float(np.abs(speed).max()))
    inverse = None if weights is None else 1 / weights
    operator: Operator = meter
    if size_a != 1.0 or inverse is not None:
        operator = Scaled(meter, 1 / size_a, inverse)
    data_rounding = float(np.finfo(np.float32).eps) if problem.dtype == np.float32 else 0.0
    return UnitProblem(operator, meter, y, speed / size_a, size_a, size_y, weights, data_rounding)


def _check_adjoint(operator: Operator, y: Vector, speed: Vector) -> None:
    """Raise ValueError if the products of a LinearOperator do not belong together; one more product."""
    probe = np.random.default_rng(0).choice([-1.0, 1.0], size=operator.shape[1])
    image = operator.matvec(probe)
    if image.shape != y.shape or speed.shape != probe.shape:
        raise ValueError(f"the linear operator A of shape {operator.shape} returns products of other lengths")
    size = norm(image) * norm(y) + norm(probe) * norm(speed)
    if abs(float(image @ y) - float(probe @ speed)) > (1e-3 if operator.dtype == np.float32 else 1e-7) * size:
        raise ValueError(
            "the linear operator A and its rmatvec are not adjoint to each other: see hadaflow.dot_test(A)"
        )


def _power_of_two(size: float) -> float:
    return math.ldexp(1.0, math.frexp(size)[1] - 1) if size > 0 else 1.0

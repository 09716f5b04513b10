"""A problem with columns and measurements of about unit length: no square in the search leaves the range of doubles."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import scipy.sparse as sp

from hadaflow._types import Vector
from hadaflow._validation import norm, power_of_two
from hadaflow.operators import Scaled
from hadaflow.paths import SaddlePath
from hadaflow.problems import Problem


@dataclass(frozen=True, eq=False)
class Units:
    """Powers of two, so that they cost no rounding.

    Attributes
    ----------
    columns : ndarray of shape (n,)
        By which the columns of A are divided.
    y : float
        By which y is divided.
    """

    columns: Vector
    y: float

    @classmethod
    def of(cls, problem: Problem, lengths: Vector) -> Units:
        """Those of the lengths of the columns and of y; 1 where a length is 0."""
        return cls(_power_of_two(lengths), float(_power_of_two(np.array([norm(problem.y)]))[0]))

    def scaled(self, problem: Problem) -> Problem:
        """The problem in these units."""
        y = (problem.y.astype(np.float64) / self.y).astype(problem.y.dtype)
        return Problem(Scaled(problem.operator, 1.0, 1 / self.columns), y)

    def x(self, x: Vector) -> Vector:
        """From these units back."""
        return x / self.columns * self.y

    def path(self, path: SaddlePath, problem: Problem) -> SaddlePath:
        """A path of ``scaled(problem)`` as one of ``problem``; its dual state has no unit to lose."""
        factors = sp.diags_array(1 / self.columns)
        plateaus = sp.csr_array(path.x.astype(np.float64) @ factors) * self.y
        return replace(
            path,
            times=path.times / self.y,
            x=sp.csr_array(plateaus.astype(problem.dtype)),
            dual=problem.layout.y(path.dual),
            final=self.x(path.final.astype(np.float64)).astype(problem.dtype),
            problem=problem,
        )


def _power_of_two(sizes: Vector) -> Vector:
    return np.asarray(power_of_two(sizes))

"""When an answer counts as exact: the one place that says so."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from hadaflow.certificates._basis_pursuit import Certificate
from hadaflow.problems import Problem


class Exact(NamedTuple):
    """Up to which numbers of its certificate an answer counts as exact, all relative."""

    gap: float
    residual: float
    backward_error: float

    def fits(self, certificate: Certificate) -> bool:
        """Whether x carries y, as a whole and row by row."""
        return certificate.scaled_residual <= self.residual and certificate.backward_error <= self.backward_error


def exact_within(problem: Problem) -> Exact:
    """Up to what an answer to this problem counts as exact.

    A row may be off by 1e3 units of its rounding. What a row of a LinearOperator rounds is not known: there it may be
    off by 1e-12 of a bound on its terms.
    """
    rounding = 1e3 * float(np.finfo(problem.dtype).eps)
    of_a_row = max(1e-12, rounding) if problem.operator.costs.matrix_free else rounding
    return Exact(max(1e-8, rounding), max(1e-9, rounding), of_a_row)

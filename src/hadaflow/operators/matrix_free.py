"""A linear operator that is known by its products."""

from __future__ import annotations

from typing import Any

import numpy as np
from scipy.sparse.linalg import LinearOperator

from hadaflow._types import Index, Vector
from hadaflow._validation import float_dtype
from hadaflow.operators.base import Operator
from hadaflow.operators.block import Columns
from hadaflow.operators.costs import PassCosts


class MatrixFreeOperator(Operator):
    """A matrix known by its products: columns cost one each.

    Parameters
    ----------
    operator : scipy.sparse.linalg.LinearOperator of shape (m, n)
        SciPy's, or made of PyLops's by ``aslinearoperator``.
    """

    def __init__(self, operator: LinearOperator) -> None:
        self._operator = operator
        self.shape = (int(operator.shape[0]), int(operator.shape[1]))
        self.dtype = float_dtype(np.dtype(operator.dtype))
        self.costs = PassCosts()

    def matvec(self, v: Vector) -> Vector:
        return self._checked(self._operator.matvec(v), v, "A @ v")

    def rmatvec(self, r: Vector) -> Vector:
        try:
            product = self._operator.rmatvec(r)
        except NotImplementedError as error:
            raise TypeError("the linear operator A has no adjoint: give it an rmatvec, its product A.T @ r") from error
        return self._checked(product, r, "A.T @ r")

    def columns(self, index: Index) -> Columns:
        block = np.empty((self.shape[0], len(index)), order="F")
        unit = np.zeros(self.shape[1])
        for k, j in enumerate(index):
            unit[j] = 1.0
            block[:, k] = self.matvec(unit)
            unit[j] = 0.0
        return block

    @staticmethod
    def _checked(product: Any, operand: Vector, what: str) -> Vector:
        result = np.asarray(product).ravel()
        if result.dtype.kind not in "fiub":
            raise TypeError(
                f"the linear operator A returned {result.dtype} values from {what}; hadaflow works on real data"
            )
        result = result.astype(np.float64, copy=False)
        if not np.isfinite(result).all() and np.isfinite(operand).all():
            raise ValueError(
                f"the linear operator A returned NaN or infinity from {what}; check it with hadaflow.dot_test"
            )
        return result

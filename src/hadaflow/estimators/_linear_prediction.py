"""What the two regressions share: predictions of a linear model, lengths of its columns, least squares on a support."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from hadaflow._types import Vector
from hadaflow._validation import norm
from hadaflow.estimators._design import Design
from hadaflow.estimators._validated import is_operator, prediction_data
from hadaflow.operators import as_operator
from hadaflow.problems import Problem


class LinearPrediction:
    """Predictions of a linear model, for arrays, sparse matrices and linear operators."""

    coef_: NDArray[Any]
    intercept_: Any

    def predict(self, X: Any) -> NDArray[Any]:
        """``X @ coef_.T + intercept_``.

        Parameters
        ----------
        X : array_like, sparse matrix or LinearOperator of shape (k, n)
            Rows to predict for.

        Returns
        -------
        ndarray of shape (k,) or (k, targets)
        """
        from sklearn.utils.validation import check_is_fitted

        check_is_fitted(self)
        X = prediction_data(self, X)
        if is_operator(X):
            operator = as_operator(X)
            rows = [operator.matvec(row.astype(np.float64)) for row in np.atleast_2d(self.coef_)]
            fitted = rows[0] if self.coef_.ndim == 1 else np.column_stack(rows)
        else:
            fitted = X @ self.coef_.T
        return np.asarray(fitted + self.intercept_)


def feature_lengths(design: Design) -> Vector:
    """Lengths of the columns that the path sees: their mean for columns of zeros, and 1 for a LinearOperator."""
    if design.operator.costs.matrix_free:
        return np.ones(design.operator.shape[1])
    lengths = np.sqrt(design.operator.column_squares())
    present = lengths > 0
    # The geometric mean, by which starts are scaled, then is that of the others.
    return np.where(present, lengths, np.exp(np.log(lengths[present]).mean()) if present.any() else 1.0)


def least_squares(problem: Problem, x: NDArray[Any], positive: bool) -> NDArray[Any]:
    """Least squares on the support of x, non-negative if asked for."""
    from scipy.optimize import lsq_linear

    support, refitted = np.flatnonzero(x), np.zeros_like(x)
    if len(support) == 0:
        return refitted
    columns = problem.operator.columns(support)
    dense = columns.toarray() if hasattr(columns, "toarray") else columns
    lengths, size = np.linalg.norm(dense, axis=0), norm(problem.y)  # tolerances of the solvers are about unit size
    dense, y = dense / lengths, problem.y.astype(np.float64) / size
    if positive:
        values = lsq_linear(dense, y, bounds=(0, np.inf), method="bvls").x
    else:
        values = np.linalg.lstsq(dense, y, rcond=None)[0]
    refitted[support] = values / lengths * size
    return refitted

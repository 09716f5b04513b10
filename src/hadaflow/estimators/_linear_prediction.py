"""What the two regressions share: dynamics, weights of features, least squares on a support, and a linear model."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hadaflow._types import Index, Vector
from hadaflow._validation import norm, one_of
from hadaflow.estimators._design import Design
from hadaflow.estimators._prepared import Prepared, Rows
from hadaflow.estimators._readings import Reading
from hadaflow.estimators._validated import is_operator, prediction_data, scalar
from hadaflow.operators import as_operator
from hadaflow.problems import Problem


class LinearPrediction:
    """A linear model, for arrays, sparse matrices and linear operators."""

    coef_: NDArray[Any]
    intercept_: Any
    support_: NDArray[np.bool_]
    group_support_: NDArray[np.bool_]

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

    def _keep(self, fits: list[LinearFit], single: bool, groups: Index | None = None) -> None:
        """What is known of all targets, in lists, or of the only one; ``groups`` are those of the features."""
        self.coef_ = fits[0].coef if single else np.stack([fit.coef for fit in fits])
        kind, intercepts = self.coef_.dtype, [fit.intercept for fit in fits]
        self.intercept_ = scalar(intercepts[0], kind) if single else np.array(intercepts, dtype=kind)
        self.support_ = self.coef_ != 0
        vars(self).pop("group_support_", None)  # of an earlier fit
        if groups is not None:
            present = [self.support_[..., groups == k].any(axis=-1) for k in range(int(groups.max()) + 1)]
            self.group_support_ = np.stack(present, axis=-1)
        for name in fits[0].attributes:
            values = [fit.attributes[name] for fit in fits]
            setattr(self, name, values[0] if single else values)

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()  # type: ignore[misc]  # of BaseEstimator
        tags.input_tags.sparse = True
        return tags


def dynamics_of(estimator: Any, steered: bool = False) -> str:
    """What is followed: "auto" is training where depth or init_scale is given, or a rule steers it."""
    one_of(estimator.dynamics, "dynamics", ("auto", "saddles", "flow", "descend"))
    starts = {"depth": estimator.depth, "init_scale": estimator.init_scale}
    given = {name: value for name, value in starts.items() if value is not None}
    if estimator.dynamics == "auto":
        return "flow" if given or steered else "saddles"
    if estimator.dynamics == "saddles" and given:
        name, value = next(iter(given.items()))
        raise ValueError(
            f'{name} belongs to dynamics="flow" and "descend", got {name}={value!r} with dynamics="saddles", whose '
            f"start vanishes: leave one of them out"
        )
    return str(estimator.dynamics)


@dataclass(frozen=True, eq=False)
class LinearFit:
    """What is known of one target in the end.

    Attributes
    ----------
    coef : ndarray of shape (n,)
        Coefficients of X as it was given.
    intercept : float
        And their intercept.
    attributes : dict
        What the estimator is to have besides, by name.
    """

    coef: NDArray[Any]
    intercept: float
    attributes: dict[str, Any]


class Regression:
    """Rows with one target, as a problem.

    Attributes
    ----------
    problem : Problem
        The penalised columns and what the free directions leave of the target.
    weights : ndarray of shape (n,)
        What the path counts each of them by.
    """

    def __init__(self, prepared: Prepared, design: Design, rows: Rows) -> None:
        self._prepared, self._design, self._rows = prepared, design, rows
        self.problem = Problem(design.operator, design.target(rows.y))
        self.weights = path_weights(design, rows.feature_weights)

    def fit(self, reading: Reading, *, positive: bool, refit: bool, **more: Any) -> LinearFit:
        """What was read off, in terms of the data given, with further attributes."""
        x = least_squares(self.problem, reading.x, positive) if refit else reading.x
        coef, intercept = self._prepared.back(*self._design.coefficients(x, self._rows.y))
        attributes = {
            "path_": reading.path,
            "status_": reading.status,
            "reason_": reading.reason,
            "n_iter_": reading.steps,
            "stop_time_": reading.time,
            "certificate_": reading.certificate(self.problem, self.weights, positive),
        }
        return LinearFit(coef, intercept, attributes | more)


def path_weights(design: Design, feature_weights: Vector | None) -> Vector:
    """Lengths of the columns that the path sees, times the weights of the user.

    Columns of zeros get the mean length; all have length 1 for a LinearOperator.
    """
    if design.operator.costs.matrix_free:
        lengths = np.ones(design.operator.shape[1])
    else:
        lengths = np.sqrt(design.operator.column_squares())
        present = lengths > 0
        # The geometric mean, by which starts are scaled, then is that of the others.
        lengths = np.where(present, lengths, np.exp(np.log(lengths[present]).mean()) if present.any() else 1.0)
    return lengths if feature_weights is None else lengths * feature_weights[design.split.penalised]


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

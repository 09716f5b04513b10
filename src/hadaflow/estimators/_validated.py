"""What scikit-learn hands an estimator, checked: arrays, sparse matrices, or a linear operator in place of X."""

from __future__ import annotations

import math
import warnings
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn.exceptions import ConvergenceWarning
from sklearn.utils.multiclass import check_classification_targets
from sklearn.utils.validation import _check_sample_weight, validate_data

from hadaflow._types import Vector
from hadaflow._validation import check_finite, positive_number, real_array
from hadaflow.estimators._weights import relative
from hadaflow.operators import as_operator
from hadaflow.results import Status

_WIDEST = math.log(1e12)  # of a feature's weight to the mean: beyond, it comes at once or never
_UNUSUAL = math.log(1e50)  # of their mean: beyond, products with lengths of columns may leave the range of doubles


def is_operator(X: Any) -> bool:
    """Whether X is known through products alone."""
    return hasattr(X, "matvec") and hasattr(X, "shape")


def training_data(
    estimator: Any, X: Any, y: Any, *, labels: bool = False, formats: Any = ("csc", "csr")
) -> tuple[Any, NDArray[Any]]:
    """X and y, finite and of one floating dtype, y of shape (m,) or (m, targets); or X and labels as they are."""
    if labels or not is_operator(X):
        kind = {} if labels else {"multi_output": True, "y_numeric": True}
        X, y = validate_data(estimator, X, y, accept_sparse=formats, dtype=(np.float64, np.float32), **kind)
        if labels:
            check_classification_targets(y)
            return X, y
        return X, np.asarray(y).astype(X.dtype, copy=False)
    if y is None:
        raise ValueError(f"{type(estimator).__name__} requires y to be passed, but the target y is None")
    operator = as_operator(X)
    estimator.n_features_in_ = operator.shape[1]
    vars(estimator).pop("feature_names_in_", None)  # of an earlier fit
    y = real_array(y, "y", np.ndim(y) if np.ndim(y) in (1, 2) else 1).astype(operator.dtype)
    check_finite(y, "y")
    if len(y) != operator.shape[0]:
        raise ValueError(f"y must have one entry per row of X: X has shape {operator.shape}, y has length {len(y)}")
    return X, y


def prediction_data(estimator: Any, X: Any) -> Any:
    """X to predict for, with as many columns as were fitted."""
    if not is_operator(X):
        return validate_data(estimator, X, accept_sparse=("csc", "csr"), dtype=(np.float64, np.float32), reset=False)
    if X.shape[1] != estimator.n_features_in_:
        raise ValueError(
            f"X has {X.shape[1]} features, but {type(estimator).__name__} is expecting {estimator.n_features_in_}"
        )
    return X


def row_weights(sample_weight: Any, count: int) -> Vector | None:
    """Weights of the rows, relative to one another; None if all are the same.

    They are not negative, and add up to the degrees of freedom: see :func:`hadaflow.estimators._weights.relative`.
    """
    if sample_weight is None:
        return None
    probe = np.empty((count, 1))
    weights: Vector = _check_sample_weight(sample_weight, probe, dtype=np.float64, ensure_non_negative=True)
    if not weights.any():
        raise ValueError("sample_weight is zero everywhere: there is nothing to fit")
    weights = relative(weights)
    return None if (weights == 1).all() else weights


def column_weights(feature_weights: Any, X: Any, positive: bool) -> Vector | None:
    """Weights of the features, finite and not negative; those of weight 0 must be known, free to move, and not all."""
    if feature_weights is None:
        return None
    weights = real_array(feature_weights, "feature_weights", 1).astype(np.float64)
    if len(weights) != X.shape[1]:
        raise ValueError(f"feature_weights must have one entry per feature ({X.shape[1]}), got {len(weights)}")
    check_finite(weights, "feature_weights")
    if weights.min() < 0:
        raise ValueError(
            f"feature_weights must not be negative, but entry {int(weights.argmin())} is {weights.min():g}; "
            f"0 leaves a feature unpenalised"
        )
    if (weights == 0).any():
        if positive:
            raise ValueError(
                "positive=True cannot bind unpenalised features, those of feature_weights 0: give them a small weight"
            )
        if not weights.any():
            raise ValueError("feature_weights are zero everywhere: with nothing penalised, nothing becomes sparse")
        if is_operator(X):
            raise ValueError("feature_weights of 0 need the columns of X, which a LinearOperator does not have")
    return _in_reach(weights)


def _in_reach(weights: Vector) -> Vector:
    """Weights as they are; or, where they differ by more than can be told apart, about 1 and cut off."""
    present = weights > 0
    if not present.any():
        return weights
    middle = float(np.log(weights[present]).mean())
    logs = np.log(weights[present]) - middle
    if float(np.abs(logs).max()) <= _WIDEST and abs(middle) <= _UNUSUAL:
        return weights
    result = np.zeros(len(weights))
    result[present] = np.exp(np.clip(logs, -_WIDEST, _WIDEST))
    return result


def scalar(value: Any, dtype: Any) -> Any:
    """A number in the precision of the data: a float for float64."""
    return float(value) if dtype == np.float64 else dtype.type(value)


def warn_if_not_ok(estimator: Any, statuses: list[Status]) -> None:
    """Say so, once, if a path did not get where it was to go."""
    bad = [status for status in statuses if not status.ok]
    if bad:
        name = type(estimator).__name__
        warnings.warn(f"{name} has status_ {bad[0].name}: {bad[0]}", ConvergenceWarning, stacklevel=4)


def noise_size(sigma: Any) -> float | None:
    """Standard deviation of the noise, if it was given."""
    return None if sigma is None else positive_number(sigma, "sigma", strict=False)

"""What a fitted estimator tells of itself, whichever library it is from: asked for by attributes, not by class."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hadaflow._types import Index
from hadaflow._validation import real_array, whole_number


@dataclass(frozen=True, eq=False)
class Fitted:
    """One target of a fitted estimator.

    Attributes
    ----------
    coef : ndarray of shape (n,)
        Its coefficients.
    names : sequence of str, or None
        What they are called, if it knows.
    stop : float or None
        Where on its path it stopped, if it tells.
    features : ndarray of int, or None
        Which feature each coordinate of its path is, -1 for none, if it tells.
    """

    coef: NDArray[np.floating[Any]]
    names: Sequence[str] | None
    stop: float | None
    features: Index | None = None

    def features_on(self, n: int) -> Index:
        """Which feature each of the n coordinates of its path is; -1 for none."""
        return np.arange(n) if self.features is None else np.asarray(self.features)

    def on_path(self, features: Index) -> Fitted:
        """The same for the coordinates of its path, which are these features, or -1: none of them."""
        if self.names is None and np.array_equal(features, np.arange(len(self.coef))):
            return self
        known = [f"x{i}" for i in range(len(self.coef))] if self.names is None else self.names
        names = [known[i] if i >= 0 else "unpenalised" for i in features]
        return Fitted(of_features(self.coef, features), names, self.stop, features)


def of_features(values: NDArray[Any], features: Index) -> NDArray[Any]:
    """One value per coordinate of a path; 0 for those that are no feature."""
    return np.where(features >= 0, values[features], 0)


def is_estimator(value: object) -> bool:
    """Whether it has coefficients, or can be fitted to have some."""
    return hasattr(value, "coef_") or hasattr(value, "fit")


def fitted(estimator: Any, name: str, target: int) -> Fitted:
    """What it knows about one of its targets; ``name`` is that of the argument."""
    target = whole_number(target, "target", minimum=0)
    if not hasattr(estimator, "coef_"):
        raise TypeError(f"{name} is a {type(estimator).__name__} without coef_: call its fit(X, y) first")
    rows = np.atleast_2d(np.asarray(estimator.coef_))
    coef = real_array(_chosen(list(rows), target), "coef_", 1)
    names = getattr(estimator, "feature_names_in_", None)
    times = np.ravel(np.asarray(getattr(estimator, "stop_time_", None), dtype=np.float64))
    stop = float(times[target] if len(times) > 1 else times[0]) if len(times) else math.nan
    names = None if names is None else [str(one) for one in names]
    return Fitted(coef, names, stop if 0 < stop < math.inf else None, getattr(estimator, "path_features_", None))


def path_of(estimator: Any, target: int) -> Any:
    """Its path, or that of one of its targets."""
    if not hasattr(estimator, "path_"):
        raise TypeError(f"path is a {type(estimator).__name__} without path_: fit it, or give the path itself")
    paths = estimator.path_
    return _chosen(paths if isinstance(paths, (list, tuple)) else [paths], target)


def _chosen(of_targets: Sequence[Any], target: int) -> Any:
    if target >= len(of_targets):
        raise ValueError(f"target must lie between 0 and {len(of_targets) - 1}, got {target}")
    return of_targets[target]

"""What a fit with cross-validation is asked for, what it finds, and what it warns of."""

from __future__ import annotations

import warnings
from dataclasses import dataclass
from typing import Any

import numpy as np
from sklearn.exceptions import ConvergenceWarning

from hadaflow._types import Vector
from hadaflow.estimators._fold_search import FoldSearchResult
from hadaflow.estimators._folds import summary
from hadaflow.estimators._following import Follower, Saddles
from hadaflow.estimators._training import Descent, Flow, Training
from hadaflow.problems import Problem


@dataclass(frozen=True)
class Settings:
    """The parameters, checked."""

    dynamics: str
    starts: list[tuple[float, float | None]]
    shares: tuple[float, ...]
    count: int


def attributes_of(found: FoldSearchResult) -> dict[str, Any]:
    """What an estimator tells of the search."""
    mean, deviation = summary(found.errors)
    trained = found.best.follower if isinstance(found.best.follower, Training) else None
    return {
        "depth_": None if trained is None else trained.model.depth,
        "init_scale_": None if trained is None else trained.init_scale,
        "times_": found.times,
        "errors_": found.errors,
        "mean_errors_": mean,
        "standard_errors_": deviation,
    }


def several(value: Any, name: str, default: float | None) -> list[Any]:
    """One value or several, as a list."""
    if value is None:
        return [default]
    values = [value] if np.ndim(value) == 0 else list(value)
    if not values:
        raise ValueError(f"{name} is an empty list: give a number, or several to choose from")
    return values


def followers_of(problem: Problem, weights: Vector, settings: Settings, positive: bool) -> list[Follower]:
    if settings.dynamics == "saddles":
        return [Saddles(weights, problem.operator.column_squares(), positive)]
    kind: type[Flow | Descent] = Flow if settings.dynamics == "flow" else Descent
    return [kind.of(problem, weights, positive, depth, scale) for depth, scale in settings.starts]


def reason_of(found: FoldSearchResult, share: float) -> str:
    """Why there, with the numbers that decided."""
    choice, folds = found.choice, found.errors.shape[-1]
    message = (
        f"smallest mean squared error on rows left out, {choice.least:.4g} (standard error {choice.deviation:.2g}, "
        f"{folds} folds)"
    )
    if choice.time < choice.smallest:
        message = f"{choice.error:.4g} is the earliest within one standard error of the {message}"
    return f"{message}, at time {found.time:.4g} with share {share:g} of the iterate"


def warn_of(found: FoldSearchResult) -> None:
    """Say so, if the path should have been followed further, or could not be."""
    if found.best.horizon.lost:
        warnings.warn(
            "rounding ended the saddle path before it had fitted what it could: some features nearly depend on others, "
            "such as powers of one far from zero; centre them before taking powers, or take SparseFlowRegressor, which "
            "looks at such features together",
            ConvergenceWarning,
            stacklevel=4,
        )
    if found.cut_short:
        warnings.warn(
            f"the error on rows left out is smallest at the last time compared, {found.last_time:.4g}, but the path "
            f'goes on: steps ran out before; take dynamics="saddles", or a larger init_scale or smaller depth',
            ConvergenceWarning,
            stacklevel=4,
        )

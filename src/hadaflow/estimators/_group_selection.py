"""Regression in groups without folds: a model of groups or a group lasso, by an information criterion and a risk."""

from __future__ import annotations

import math
from typing import Any

from hadaflow.estimators._callbacks import subtasks
from hadaflow.estimators._grouped import GroupedDesign, GroupedRegression
from hadaflow.estimators._linear_prediction import LinearFit
from hadaflow.estimators._readings import ReadingOptions
from hadaflow.results import Status
from hadaflow.selection.groupwise import GroupCriterion, select_groups

#: What ``stop`` may be where features are in groups.
GROUP_STOPS = ("auto", "criterion")


def selected_groups(estimator: Any, grouped: GroupedDesign, options: ReadingOptions, data: Any) -> list[LinearFit]:
    """The fit of each target; ``data`` are X and y as the callbacks of scikit-learn are to see them."""
    if options.stop not in GROUP_STOPS:
        raise ValueError(
            f"stop={options.stop!r} reads off a path of single features: with feature_groups or joint=True pass one of "
            f"{', '.join(map(repr, GROUP_STOPS))}"
        )
    asked = GroupCriterion(options.criterion, options.chance, "auto" if options.stop == "auto" else "model")
    fits = []
    for targets in subtasks(estimator, grouped.parts(estimator.joint), "target", *data):
        regression = GroupedRegression(grouped, targets)
        chosen = select_groups(regression.data, asked, options.progress)
        deviation = math.sqrt(chosen.variance)
        attributes = {
            "status_": Status.STOPPED if chosen.settled else Status.NOT_CONVERGED,
            "reason_": chosen.reason,
            "stop_time_": chosen.time,
            "sigma_": deviation,
        }
        found = regression.fit(chosen.x, chosen.lassos, estimator.refit, attributes)
        for fit, size in zip(found, regression.sizes, strict=True):
            fit.attributes["sigma_"] = deviation * float(size)
        fits += found
    return fits

"""What recover and recover_each are asked for, checked once for both."""

from __future__ import annotations

from typing import Any

from hadaflow._validation import callback, flag, one_of, positive_number, positive_vector
from hadaflow.certificates import gauge_of
from hadaflow.problems import Problem
from hadaflow.recovery._strategies import Options

#: Ways to the scale -> 0 solution that may be asked for.
METHODS = ("auto", "saddles", "limit")


def options_of(
    problem: Problem, *, positive: Any, weights: Any, gauge: Any, noise_level: Any, method: Any, progress: Any
) -> Options:
    """Options for the scale -> 0 solution.

    Raises
    ------
    TypeError, ValueError
        If one is of the wrong kind or out of range, or they exclude each other.
    """
    positive = flag(positive, "positive")
    callback(progress, "progress")
    method = one_of(method, "method", METHODS)
    noise_level = positive_number(noise_level, "noise_level", strict=False)
    chosen = gauge_of(weights, positive, gauge, problem)
    if method == "limit" and noise_level > 0:
        raise ValueError("noise_level stops along the saddle path: use method='saddles' or 'auto'")
    w = None if weights is None else positive_vector(weights, "weights", problem.groups.count or problem.shape[1])
    if not chosen.polyhedral:
        if noise_level > 0:
            raise ValueError("noise_level stops along the saddle path, which is none for groups: leave it out")
        if method == "saddles":
            raise ValueError("method='saddles' walks a piecewise constant path, which is none for groups: take 'auto'")
    return Options(chosen, noise_level, method, progress, positive, w)

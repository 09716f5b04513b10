"""Starts for training that count every feature alike, or as its weight says."""

from __future__ import annotations

import numpy as np

from hadaflow._types import Vector
from hadaflow.problems import Problem

_SHARE = 1e-8  # product scale where none is given, relative to the size of the coefficients
_LIGHTEST = 1e-2  # product scale of a light feature at most, relative to that size: it is to grow, not to be there
_SMALLEST, _LARGEST = 1e-280, 1e280


def typical_size(problem: Problem, squares: Vector) -> float:
    """The largest coefficient that one feature alone would have; 1 if there is none."""
    negative_gradient = np.abs(problem.operator.rmatvec(problem.y.astype(np.float64)))
    alone = np.divide(negative_gradient, squares, out=np.zeros_like(negative_gradient), where=squares > 0)
    return float(alone.max(initial=0.0)) or 1.0


def weighted_start(depth: float, init_scale: float | None, weights: Vector, size: float) -> Vector:
    """Init scales whose flow ends, as they vanish, at the smallest ``sum_i weights_i |x_i|``.

    At depth > 2 ``a_i = a (w_i / w)^(-1 / (D - 2))`` with the geometric mean w of the weights. At depth 2 the weights
    of the limit are ``log(size / a_i^2)``, so that ``a_i^2 = size (a^2 / size)^(w_i / w)``; there a common scale that
    is not small makes no difference between features, and stays common.

    Source: docs/mathematics.md, "Potential and conjugate" (weighted starts).
    """
    a = (_SHARE * size) ** (1 / depth) if init_scale is None else init_scale
    relative = weights / np.exp(np.log(weights).mean())
    if depth > 2:
        scale = a * relative ** (-1 / (depth - 2))
    elif a * a < size:
        with np.errstate(under="ignore"):
            scale = np.sqrt(size) * (a / np.sqrt(size)) ** relative
    else:
        scale = np.full(len(weights), a)
    scale = np.minimum(scale, max(a, (_LIGHTEST * size) ** (1 / depth)))
    return np.asarray(np.clip(scale, _SMALLEST ** (1 / depth), _LARGEST ** (1 / depth)))

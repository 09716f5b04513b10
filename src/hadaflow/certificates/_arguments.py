"""What users hand over to be judged."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from hadaflow._validation import check_finite, flag, instance, positive_vector, real_array
from hadaflow.gauges import Gauge, GroupNorm
from hadaflow.gauges.l1 import l1
from hadaflow.problems import Problem


def vector(value: object, name: str, length: int) -> NDArray[np.float64]:
    """``value`` as a finite float64 vector of the given length."""
    array = real_array(value, name, 1)
    if len(array) != length:
        raise ValueError(f"{name} must have length {length}, got {len(array)}")
    check_finite(array, name)
    return array.astype(np.float64)


def placed(value: object, name: str, problem: Problem) -> NDArray[np.float64]:
    """x or a dual vector of the user as a finite real float64 vector; ``name`` is "x" or "dual"."""
    layout, of_x = problem.layout, name == "x"
    length = problem.shape[1] if of_x else problem.shape[0]
    if layout.plain:
        return vector(value, name, length)
    complex_, width = (layout.complex_x, layout.width) if of_x else (layout.complex_y, layout.width_y)
    array = real_array(value, name, 1 if layout.columns is None else 2, complex_too=complex_)
    shape = (length // width,) if layout.columns is None else (length // width, layout.columns)
    if array.shape != shape:
        raise ValueError(f"{name} must have shape {shape}, got {array.shape}")
    check_finite(array, name)
    return (layout.real_x(array) if of_x else layout.real_y(array)).astype(np.float64)


def gauge_of(weights: object, positive: object, gauge: object, problem: Problem) -> Gauge:
    """The gauge that these arguments of a public function mean for a problem.

    Raises
    ------
    TypeError, ValueError
        If one has the wrong kind or shape, or ``gauge`` comes with one of the others.
    """
    positive, groups, n = flag(positive, "positive"), problem.groups, problem.shape[1]
    if gauge is None and groups.single:
        return l1(None if weights is None else positive_vector(weights, "weights", n), positive)
    if gauge is None:
        if positive:
            kind = "complex numbers have no sign" if problem.layout.complex_x else "signs are no matter of a group"
            raise ValueError(f"positive=True works coordinate by coordinate: {kind}; leave one of the two out")
        given = None if weights is None else positive_vector(weights, "weights", groups.count, "group")
        return GroupNorm(groups, given)
    if weights is not None or positive:
        raise ValueError("weights and positive describe an l1 norm: leave them out where a gauge is given")
    instance(gauge, Gauge, "gauge")
    chosen: Gauge = gauge  # type: ignore[assignment]
    chosen.check(n)
    return chosen

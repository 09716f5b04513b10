"""What users hand over to be judged."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from hadaflow._validation import check_finite, flag, instance, positive_vector, real_array
from hadaflow.gauges import Gauge
from hadaflow.gauges.l1 import l1


def vector(value: object, name: str, length: int) -> NDArray[np.float64]:
    """``value`` as a finite float64 vector of the given length."""
    array = real_array(value, name, 1)
    if len(array) != length:
        raise ValueError(f"{name} must have length {length}, got {len(array)}")
    check_finite(array, name)
    return array.astype(np.float64)


def gauge_of(weights: object, positive: object, gauge: object, n: int) -> Gauge:
    """The gauge that these arguments of a public function mean.

    Raises
    ------
    TypeError, ValueError
        If one has the wrong kind or shape, or ``gauge`` comes with one of the others.
    """
    positive = flag(positive, "positive")
    if gauge is None:
        return l1(None if weights is None else positive_vector(weights, "weights", n), positive)
    if weights is not None or positive:
        raise ValueError("weights and positive describe an l1 norm: leave them out where a gauge is given")
    instance(gauge, Gauge, "gauge")
    chosen: Gauge = gauge  # type: ignore[assignment]
    chosen.check(n)
    return chosen

"""Vectors that users hand over to be judged."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from hadaflow._validation import check_finite, real_array


def vector(value: object, name: str, length: int) -> NDArray[np.float64]:
    """``value`` as a finite float64 vector of the given length."""
    array = real_array(value, name, 1)
    if len(array) != length:
        raise ValueError(f"{name} must have length {length}, got {len(array)}")
    check_finite(array, name)
    return array.astype(np.float64)

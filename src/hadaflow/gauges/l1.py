"""The l1 norm: with weights, for both signs or for non-negative x, with coordinates that cost nothing."""

from __future__ import annotations

from typing import Literal

import numpy as np

from hadaflow._types import Vector
from hadaflow._validation import one_of
from hadaflow.gauges.separable import Separable


class L1(Separable):
    """``sum_i w_i |x_i|``, over all x or over ``x >= 0``.

    Parameters
    ----------
    weights : ndarray of shape (n,), optional
        w >= 0; default all 1. A coordinate of weight 0 costs nothing.
    sign : {"both", "positive"}, default "both"
        Whether x may have any sign or is non-negative.

    Examples
    --------
    >>> import numpy as np
    >>> from hadaflow.gauges import L1
    >>> gauge = L1(np.array([1.0, 2.0]))
    >>> gauge.value(np.array([3.0, -1.0])), gauge.dual(np.array([0.5, -4.0]))
    (5.0, 2.0)
    """

    def __init__(self, weights: Vector | None = None, *, sign: Literal["both", "positive"] = "both") -> None:
        one_of(sign, "sign", ("both", "positive"))
        upper = 1.0 if weights is None else np.asarray(weights, dtype=np.float64)
        super().__init__(-np.inf if sign == "positive" else -upper, upper)


def l1(weights: Vector | None, positive: bool) -> L1:
    """The gauge that the arguments ``weights`` and ``positive`` of public functions mean."""
    return L1(weights, sign="positive" if positive else "both")

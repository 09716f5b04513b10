"""The l1 norm: with weights, over all x or over non-negative x, with coordinates that cost nothing."""

from __future__ import annotations

from functools import cached_property

import numpy as np

from hadaflow._types import Index, Mask, Sign, Vector
from hadaflow._validation import one_of, real_array
from hadaflow.gauges.base import Gauge


class L1(Gauge):
    """``sum_i w_i |x_i|``, over all x or over ``x >= 0``.

    Parameters
    ----------
    weights : ndarray of shape (n,), optional
        w >= 0; default all 1. A coordinate of weight 0 costs nothing.
    sign : {"both", "positive"}, default "both"
        Whether x may have any sign or is non-negative.

    Raises
    ------
    TypeError, ValueError
        If weights are no vector of finite numbers >= 0, or ``sign`` is unknown.

    Examples
    --------
    >>> import numpy as np
    >>> from hadaflow.gauges import L1
    >>> gauge = L1(np.array([1.0, 2.0]))
    >>> gauge.value(np.array([3.0, -1.0])), gauge.dual(np.array([0.5, -4.0]))
    (5.0, 2.0)
    """

    def __init__(self, weights: Vector | None = None, *, sign: Sign = "both") -> None:
        one_of(sign, "sign", ("both", "positive"))
        self.weights = None if weights is None else real_array(weights, "weights", 1).astype(np.float64)
        if self.weights is not None and not ((self.weights >= 0) & np.isfinite(self.weights)).all():
            raise ValueError("weights of an l1 norm must be finite and not negative")
        self.positive = sign == "positive"
        self._bounds: Vector | float = 1.0 if self.weights is None else self.weights

    def __repr__(self) -> str:
        weights = "" if self.weights is None else f"weights of shape {self.weights.shape}, "
        return f"L1({weights}sign={'positive' if self.positive else 'both'!r})"

    def value(self, x: Vector) -> float:
        return float((self._bounds * np.abs(x)).sum())

    def allows(self, x: Vector) -> bool:
        return not self.positive or bool((x >= 0).all())

    def prox(self, x: Vector, step: float) -> Vector:
        size = np.maximum(self._modulus(x) - step * self._bounds, 0.0)
        return np.asarray(size if self.positive else np.copysign(size, x))

    def face(self, x: Vector) -> Vector:
        return np.asarray(self._bounds * np.sign(x))

    def opens(self, direction: Vector) -> Mask:
        return np.asarray(direction > 0 if self.positive else direction != 0)

    @property
    def finite(self) -> bool:
        return not self.positive

    def sizes(self, theta: Vector, rounding: Vector | float = 0.0) -> Vector:
        excess = self._modulus(theta)
        if isinstance(rounding, np.ndarray) or rounding != 0.0:
            excess = np.maximum(excess - rounding, 0.0)
        elif self.positive:
            excess = np.maximum(excess, 0.0)
        if self.weights is None:
            return excess
        with np.errstate(divide="ignore"):
            return np.divide(excess, self.weights, out=np.zeros_like(excess), where=excess != 0)

    def beyond(self, theta: Vector) -> Vector:
        bounds = self._bounds if self.weights is None or theta.ndim == 1 else self.weights[:, None]
        return np.asarray(self._modulus(theta) - bounds)

    def meets(self, direction: Vector) -> Vector:
        if self.positive:
            return np.where(direction < 0, -np.inf, self._bounds)
        return np.copysign(self._bounds, direction)

    @cached_property
    def costless(self) -> Index:
        return np.empty(0, dtype=np.intp) if self.weights is None else np.flatnonzero(self.weights == 0)

    @property
    def free(self) -> Index:
        return self.costless[:0] if self.positive else self.costless

    def on(self, index: Index) -> L1:
        return self if self.weights is None else L1(self.weights[index], sign=self._sign)

    def unit(self) -> tuple[Vector | None, Gauge]:
        if self.weights is None:
            return None, self
        if not len(self.costless):
            return self.weights, L1(sign=self._sign)
        costs = self.weights > 0
        return np.where(costs, self.weights, 1.0), L1(costs.astype(np.float64), sign=self._sign)

    def check(self, n: int) -> None:
        if self.weights is not None and len(self.weights) != n:
            raise ValueError(f"the gauge has {len(self.weights)} weights, but A has {n} columns")

    @property
    def _sign(self) -> Sign:
        return "positive" if self.positive else "both"

    def _modulus(self, v: Vector) -> Vector:
        """What counts of v: its modulus, or where signs are fixed v itself."""
        return v if self.positive else np.abs(v)


def l1(weights: Vector | None, positive: bool) -> L1:
    """The gauge that the arguments ``weights`` and ``positive`` of public functions mean."""
    return L1(weights, sign="positive" if positive else "both")

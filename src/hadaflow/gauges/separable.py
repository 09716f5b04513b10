"""Gauges that add up coordinate by coordinate: the dual set is a box."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np

from hadaflow._types import Index, Mask, Vector
from hadaflow.gauges.base import Gauge

Bound = Vector | float


@dataclass(frozen=True, eq=False, repr=False)
class Separable(Gauge):
    """``sum_i max(lower_i x_i, upper_i x_i)``: the support function of the box of dual states ``[lower, upper]``.

    An infinite bound forbids a sign of x_i. Two bounds of 0 leave x_i free. Bounds of different size make one sign of
    x_i more expensive than the other.

    Parameters
    ----------
    lower, upper : float or ndarray of shape (n,)
        With ``lower <= 0 <= upper``; a float holds for all coordinates.

    Raises
    ------
    TypeError, ValueError
        If the bounds are no numbers, or not on both sides of 0, or of different lengths.
    """

    lower: Bound = -1.0
    upper: Bound = 1.0

    def __post_init__(self) -> None:
        for name in ("lower", "upper"):
            object.__setattr__(self, name, _bound(getattr(self, name), name))
        if not (np.all(np.asarray(self.lower) <= 0) and np.all(np.asarray(self.upper) >= 0)):  # NaN is neither
            raise ValueError("bounds of a gauge need lower <= 0 <= upper")
        lengths = {len(bound) for bound in (self.lower, self.upper) if isinstance(bound, np.ndarray)}
        if len(lengths) > 1:
            raise ValueError(f"bounds of a gauge must have one length, got {len(self.lower)} and {len(self.upper)}")  # type: ignore[arg-type]

    def check(self, n: int) -> None:
        for bound in (self.lower, self.upper):
            if isinstance(bound, np.ndarray) and len(bound) != n:
                raise ValueError(f"the gauge has {len(bound)} bounds, but A has {n} columns")

    def __repr__(self) -> str:
        bounds = (f"{b:g}" if np.ndim(b) == 0 else f"array of shape {np.shape(b)}" for b in (self.lower, self.upper))
        return "Separable(lower={}, upper={})".format(*bounds)

    # ---- of x ----------------------------------------------------------------------------------------------

    def value(self, x: Vector) -> float:
        return float((self._weights(x) * np.abs(x)).sum())

    def allows(self, x: Vector) -> bool:
        return bool(((x >= 0) | np.isfinite(self.lower)).all() and ((x <= 0) | np.isfinite(self.upper)).all())

    def prox(self, x: Vector, step: float) -> Vector:
        return np.asarray(x - np.clip(x, step * self.lower, step * self.upper))

    def face(self, x: Vector) -> Vector:
        return np.sign(x) * self._weights(x)

    def opens(self, direction: Vector) -> Mask:
        return np.asarray(np.isfinite(self.meets(direction)) & (direction != 0))

    def _weights(self, x: Vector) -> Vector:
        """What a unit of each coordinate costs; where its sign is forbidden, what the other sign does."""
        up, down = self.upper, -np.asarray(self.lower)
        return np.where(np.where(x < 0, np.isfinite(down), ~np.isfinite(up)), down, up)

    @property
    def finite(self) -> bool:
        return bool(np.isfinite(self.lower).all() and np.isfinite(self.upper).all())

    # ---- of dual states ------------------------------------------------------------------------------------

    def sizes(self, theta: Vector, rounding: Vector | float = 0.0) -> Vector:
        return np.maximum(
            _ratio(np.maximum(theta - rounding, 0.0), self.upper),
            _ratio(np.maximum(-theta - rounding, 0.0), -np.asarray(self.lower)),
        )

    def beyond(self, theta: Vector) -> Vector:
        return np.maximum(theta - _along(self.upper, theta), _along(self.lower, theta) - theta)

    def meets(self, direction: Vector) -> Vector:
        return np.where(direction > 0, self.upper, self.lower)

    # ---- coordinates without a cost, units -----------------------------------------------------------------

    @cached_property
    def free(self) -> Index:
        return np.flatnonzero((np.atleast_1d(self.lower) == 0) & (np.atleast_1d(self.upper) == 0))

    @cached_property
    def costless(self) -> Index:
        return np.flatnonzero((np.atleast_1d(self.lower) == 0) | (np.atleast_1d(self.upper) == 0))

    def on(self, index: Index) -> Gauge:
        if np.ndim(self.lower) == 0 and np.ndim(self.upper) == 0:
            return self
        return Separable(_part(self.lower, index), _part(self.upper, index))

    def unit(self) -> tuple[Vector | None, Gauge]:
        if np.ndim(self.lower) == 0 and np.ndim(self.upper) == 0:
            return None, self
        up, down = np.broadcast_arrays(np.atleast_1d(self.upper), -np.atleast_1d(self.lower))
        weights = np.where(np.isfinite(up) & (up > 0), up, np.where(np.isfinite(down) & (down > 0), down, 1.0))
        return weights, Separable(_same(-down / weights), _same(up / weights))


def _bound(value: Any, name: str) -> Bound:
    """A float, or a vector of floats."""
    if isinstance(value, (bool, str, bytes)) or np.iscomplexobj(value):
        raise TypeError(f"{name} must be a number or a vector of numbers, got {value!r}")
    bound = np.asarray(value, dtype=np.float64)
    if bound.ndim > 1:
        raise ValueError(f"{name} must be a number or a vector of numbers, got an array of shape {bound.shape}")
    return float(bound) if bound.ndim == 0 else bound


def _ratio(size: Vector, bound: Bound) -> Vector:
    """``size / bound``, where 0 / 0 is 0: nothing is within any bound."""
    if np.all(bound):
        return np.asarray(size / bound)
    with np.errstate(divide="ignore"):
        return np.divide(size, bound, out=np.zeros_like(size), where=size != 0)


def _along(bound: Bound, theta: Vector) -> Bound:
    """A bound, ready to meet theta of shape (n,) or (n, k)."""
    return bound[:, None] if isinstance(bound, np.ndarray) and theta.ndim == 2 else bound


def _part(bound: Bound, index: Index) -> Bound:
    return bound[index] if isinstance(bound, np.ndarray) else bound


def _same(bound: Vector) -> Bound:
    """One number, if all are the same."""
    return float(bound[0]) if (bound == bound[0]).all() else bound

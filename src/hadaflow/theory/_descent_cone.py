"""How large the descent cone of a sum of lengths is at a vector with few groups that are not zero.

A group is a single coordinate (the l1 norm), d of them, a complex number (d = 2), or a row of joint columns.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cache, lru_cache

import numpy as np
from scipy.optimize import brentq
from scipy.special import ndtr

from hadaflow._types import Sign, Vector
from hadaflow._validation import one_of, whole_number

_FAR = 40.0  # no length of a standard normal vector of double precision exceeds its most likely one by that much
_TAIL = 45.0  # exp(-45) is far below rounding
_NODES = 128  # of Gauss and Legendre: twice as many as the densities here need


@dataclass(frozen=True)
class DescentCone:
    """Size of the cone.

    Attributes
    ----------
    dimension, spread : float
        Mean and standard deviation of the random dimension whose law are the intrinsic volumes.
    at_least, at_most : float
        Proved bounds on ``dimension``.
    """

    dimension: float
    spread: float
    at_least: float
    at_most: float


@dataclass(frozen=True)
class Exceedance:
    """Of ``X = (|g| - tau)_+`` for a standard normal vector g: probability of X > 0, and means of X, X^2 and X^4."""

    probability: float
    mean: float
    square: float
    fourth: float


def checked(n: int, sparsity: int, sign: Sign, group_size: int) -> tuple[int, int, int, DescentCone]:
    """The number of groups, the fewest and the most measurements to reckon with, and the cone.

    Directions of the groups that are not zero have to be independent in the measurements; where no group is zero the
    norm is smooth, and whatever the kernel holds leads downhill.
    """
    n, s, d = whole_number(n, "n"), whole_number(sparsity, "sparsity"), whole_number(group_size, "group_size")
    if s > n:
        things = "non-zeros among n coordinates" if d == 1 else "groups that are not zero, among n groups"
        raise ValueError(f"sparsity must be at most n = {n}, got {s}: it counts {things}")
    both = one_of(sign, "sign", ("both", "positive")) == "both"
    if d > 1 and not both:
        raise ValueError(f"sign must be 'both' for groups, got group_size={d} with sign='positive'")
    return n, s if s < n else n * d, n * d, _cone(n, s, d, both)


@lru_cache(maxsize=4096)
def _cone(n: int, s: int, d: int, both: bool) -> DescentCone:
    """Squared distance of a normal vector from tau times the subdifferential, at the best tau, and its fluctuation."""
    if s == n:  # a half-space
        return DescentCone(n * d - 0.5, 0.5, n * d - 0.5, n * d - 0.5)
    off = n - s
    tau = float(brentq(lambda t: s * t - off * exceedance(t, d, both=both).mean, 0.0, math.sqrt(d - 1) + _FAR))
    x = exceedance(tau, d, both=both)
    most = s * (d + tau**2) + off * x.square
    wobble = s + off * (x.square - x.mean**2)  # a quarter of the variance of the slope in tau
    dimension = most - wobble / (s + off * x.probability)
    # s (2 d + 4 tau^2) + (n - s) Var X^2 - 2 J, without its cancellation; never below that of a fair bit: half of the
    # intrinsic volume of a cone that is no subspace is in even dimensions.
    variance = max(0.25, 2 * s * tau**2 + off * (x.fourth - x.square**2 - 2 * x.square))
    return DescentCone(dimension, math.sqrt(variance), most - wobble / s, most)


def exceedance(tau: float, d: int, *, both: bool = True) -> Exceedance:
    """Of the threshold tau >= 0, in d dimensions; of g itself for d = 1 and not ``both``."""
    return _of_numbers(tau, 2 if both else 1) if d == 1 else _of_lengths(tau, d)


def _of_numbers(tau: float, sides: int) -> Exceedance:
    density = math.exp(-(tau**2) / 2) / math.sqrt(2 * math.pi)
    beyond = float(ndtr(-tau))
    fourth = (tau**4 + 6 * tau**2 + 3) * beyond - (tau**3 + 5 * tau) * density
    return Exceedance(
        sides * beyond,
        sides * (density - tau * beyond),
        sides * ((1 + tau**2) * beyond - tau * density),
        sides * fourth,
    )


def _of_lengths(tau: float, d: int) -> Exceedance:
    """By integrals of positive functions: in incomplete gamma functions, differences would cancel for large tau.

    The density of a length falls off faster than the normal one on either side of its mode, ``sqrt(d - 1)``.
    """
    mode, reach = math.sqrt(d - 1), math.sqrt(2 * _TAIL)
    first = max(tau, mode - reach)
    falls = max(0.0, first - (d - 1) / first) if first else 0.0
    last = max(first, mode) + math.sqrt(falls**2 + 2 * _TAIL) - falls
    lengths, weights = _quadrature(first, last)
    mass = weights * _density(lengths, d)
    over = lengths - tau
    return Exceedance(*(float(mass @ over**power) for power in (0, 1, 2, 4)))


def _density(lengths: Vector, d: int) -> Vector:
    """Of the length of a standard normal vector; no logarithm of a gamma function, which has few digits for large d."""
    mode = math.sqrt(d - 1)
    return np.asarray(_shape(lengths, mode) / _mass(d))


@cache
def _mass(d: int) -> float:
    mode, reach = math.sqrt(d - 1), math.sqrt(2 * _TAIL)
    lengths, weights = _quadrature(max(0.0, mode - reach), mode + reach)
    return float(weights @ _shape(lengths, mode))


def _shape(lengths: Vector, mode: float) -> Vector:
    """The density over that at the mode: ``exp((d - 1) (log(1 + u) - u - u^2 / 2))``, ``u = length / mode - 1``."""
    u = (lengths - mode) / mode
    return np.asarray(np.exp(mode**2 * (np.log1p(u) - u - u**2 / 2)))


def _quadrature(first: float, last: float) -> tuple[Vector, Vector]:
    nodes, weights = _legendre()
    half = (last - first) / 2
    return first + half * (1 + nodes), half * weights


@cache
def _legendre() -> tuple[Vector, Vector]:
    nodes, weights = np.polynomial.legendre.leggauss(_NODES)
    return np.asarray(nodes), np.asarray(weights)

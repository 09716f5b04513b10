"""One coordinate of a model on its own: the exact times of its growth, from which windows are made."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hadaflow._validation import one_of, positive_number, whole_number
from hadaflow.models import HadamardPower

_LINEAR = math.log(1e-100)  # of size over product scale: below, x is its slope at the start times theta, to rounding
_NODES, _WEIGHTS = np.polynomial.legendre.leggauss(24)


@dataclass(frozen=True)
class Coordinate:
    """A coordinate of ``HadamardPower`` at a start; times are those for ``||A_i||^2 = 1``."""

    model: HadamardPower
    init_scale: float

    @classmethod
    def of(cls, depth: Any, init_scale: Any, sign: Any) -> Coordinate:
        """The same from user input, checked."""
        depth = positive_number(depth, "depth", minimum=2.0, strict=False)
        one_of(sign, "sign", ("both", "positive"))
        scale = positive_number(init_scale, "init_scale")
        model = HadamardPower(depth, sign)
        model.mirror(scale, 1)  # checks the range of the scale
        return cls(model, scale)

    @property
    def depth(self) -> float:
        return self.model.depth

    @property
    def product_scale(self) -> float:
        return float(self.init_scale**self.depth)

    # ---- exact ---------------------------------------------------------------------------------------------

    def dual(self, size: float) -> float:
        """B^-1 of a size: what a constant gradient of 1 needs in time; 0 where the coordinate is there at the start."""
        if self._linear(size):
            return over(size, *self._start_slope)
        return max(0.0, float(self.model.inverse(np.float64(size), self.init_scale)))

    def signal_time(self, signal: float, fraction: float, column_square: float = 1.0) -> float:
        """``int dtheta / (c (signal - B))`` up to ``B = fraction * signal``, with ``c = column_square``.

        It is ``(theta_end + int B / (signal - B) dtheta) / signal``: the wait, in closed form, and the growth, which is
        integrated over the angle of x, in which nothing is sudden, on panels that shrink towards the end.
        """
        if self._linear(signal):
            return over(-math.log1p(-fraction), *self._start_slope, column_square)
        end = float(self.model.angle(np.float64(fraction * signal), self.init_scale))
        if end <= 0:
            return 0.0
        halvings = math.ceil(math.log2(4 * max(1.0, end) / (1 - fraction)))
        edges = end * np.append(1 - 0.5 ** np.arange(halvings + 1), 1.0)
        half = np.diff(edges)[:, None] / 2
        angles = edges[:-1, None] + half * (1 + _NODES)
        x = self.model.from_angle(angles, self.init_scale)
        growth = float(np.sum(half * _WEIGHTS * self._dual_per_angle(angles) * x / (signal - x)))
        return over(self.dual(fraction * signal) + growth, signal, column_square)

    def noise_time(self, level: float, noise: float, column_square: float) -> float:
        """How long a constant gradient takes to a level; none where there is nothing left to go."""
        return _waited(self.dual(level), noise, column_square)

    def _dual_per_angle(self, angles: NDArray[np.float64]) -> NDArray[np.float64]:
        """dtheta/dd: ``theta = d / 4`` at depth 2, else ``tanh(d / c) / k`` or, positive, ``(1 - exp(-d / c)) / k``."""
        if self.depth == 2:
            return np.full_like(angles, 0.25)
        reduced = angles / self.model.exponent
        if self.model.signed:
            decay = np.exp(-2 * reduced)
            shape = 4 * decay / (1 + decay) ** 2
        else:
            shape = np.exp(-reduced)
        return np.asarray(shape / (self.model.exponent * self._rate))

    @property
    def _rate(self) -> float:
        """k: the barrier stands at ``theta = 1 / k`` (depth 2 has none)."""
        return float(self.depth * (self.depth - 2) * self.init_scale ** (self.depth - 2))

    @property
    def _start_slope(self) -> tuple[float, float, float]:
        """The slope of the signed B at 0, as factors."""
        return 2 * self.depth**2, self.product_scale, self.init_scale ** (self.depth - 2)

    def _linear(self, size: float) -> bool:
        return self.model.signed and self._log_ratio(size) < _LINEAR

    def _log_ratio(self, size: float) -> float:
        """Logarithm of a size over the product scale; the quotient itself may leave the range."""
        return math.log(size) - math.log(self.product_scale)

    def factors(self, size: float) -> tuple[float, float]:
        """Both factors of an entry of that size, the larger one first; no second one in the positive model."""
        if self._linear(size):
            return self.init_scale, self.init_scale
        angle = max(0.0, float(self.model.angle(np.float64(size), self.init_scale)))
        if not self.model.signed:
            return self.init_scale * math.exp(angle / self.depth), 0.0
        reduced = angle / self.model.exponent
        lift = self.model.exponent * (reduced + math.log1p(math.exp(-2 * reduced)) - math.log(2)) if reduced else 0.0
        scale, depth = self.init_scale, self.depth
        return scale * math.exp((lift + angle) / depth), scale * math.exp((lift - angle) / depth)

    # ---- for a small scale ---------------------------------------------------------------------------------

    def signal_time_asymptotic(self, signal: float, fraction: float, column_square: float) -> float:
        """Leading terms of :meth:`signal_time`."""
        if self.depth == 2:
            waits = self._log_ratio(signal) + math.log(fraction / (1 - fraction))
            return over(max(0.0, waits), 4.0, signal, column_square)
        return over(1.0, self._rate, signal, column_square)

    def noise_time_asymptotic(self, level: float, noise: float, column_square: float) -> float:
        """Leading terms of :meth:`noise_time`."""
        log_ratio = max(0.0, self._log_ratio(level))
        dual = log_ratio / 4 if self.depth == 2 else -math.expm1(-log_ratio / self.model.exponent) / self._rate
        return _waited(dual, noise, column_square)


def over(dividend: float, *divisors: float) -> float:
    """``dividend`` over the product of positive divisors: infinite or 0 only if no double holds the quotient."""
    mantissa, exponent = math.frexp(dividend)
    for divisor in divisors:
        part, power = math.frexp(divisor)
        mantissa, exponent = mantissa / part, exponent - power
    try:
        return math.ldexp(mantissa, exponent)
    except OverflowError:
        return math.inf


def _waited(dual: float, noise: float, column_square: float) -> float:
    if dual == 0:
        return 0.0
    return over(dual, noise, column_square) if noise > 0 else math.inf


def proper_fraction(value: object, name: str) -> float:
    """``value`` as a number strictly between 0 and 1."""
    number = positive_number(value, name)
    if number >= 1:
        raise ValueError(f"{name} must lie between 0 and 1, got {number:g}")
    return number


def loss_factor(loss: object, rows: object) -> float:
    """s of the loss ``s/2 ||A x - y||^2``: a step of size eta lasts ``s eta`` of flow time."""
    if one_of(loss, "loss", ("half", "mean")) == "half":
        return 1.0
    if rows is None:
        raise ValueError('rows must be given for loss="mean": pass the number of rows of A')
    return 2.0 / whole_number(rows, "rows")

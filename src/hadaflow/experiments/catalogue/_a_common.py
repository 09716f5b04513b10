"""What the experiments on paper A share: sparse vectors, what counts as recovered, errors of frequencies."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

import hadaflow as hf
from hadaflow._types import Float, Vector

if TYPE_CHECKING:
    pass


#: Relative l2 error up to which a vector counts as recovered.
RECOVERED = 1e-2


@dataclass(frozen=True, eq=False)
class Planted:
    """A sparse vector and its measurements."""

    A: Vector
    x: Vector

    @property
    def y(self) -> Vector:
        return self.A @ self.x

    @property
    def problem(self) -> hf.Problem:
        return hf.Problem(self.A, self.y)

    def error(self, x: Float) -> float:
        """Relative l2 error of an answer."""
        return float(np.linalg.norm(x - self.x) / np.linalg.norm(self.x))


def sparse_vector(rng: np.random.Generator, n: int, sparsity: int, *, positive: bool = False) -> Vector:
    """A random support, then standard normal entries on it; their sizes alone if ``positive``."""
    x = np.zeros(n)
    support = rng.choice(n, sparsity, replace=False)
    x[support] = rng.standard_normal(sparsity)
    return np.abs(x) if positive else x


def binomial_error(probability: float, trials: int) -> float:
    """Three standard deviations of a frequency, and half a trial."""
    return 3 * math.sqrt(probability * (1 - probability) / trials) + 0.5 / trials

"""Sparse linear models with noise: four designs, two sizes, and a grid of sparsity and noise."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from itertools import product
from math import sqrt

import numpy as np
from scipy.signal import lfilter

Matrix = np.ndarray
Vector = np.ndarray

TEST_ROWS = 1000


def rademacher(rows: int, columns: int, rng: np.random.Generator) -> Matrix:
    """Independent signs."""
    return rng.choice([-1.0, 1.0], size=(rows, columns))


def autoregressive(rho: float) -> Callable[[int, int, np.random.Generator], Matrix]:
    """Gaussian rows; columns i and j are correlated by ``rho`` to the power |i − j|."""

    def draw(rows: int, columns: int, rng: np.random.Generator) -> Matrix:
        noise = rng.standard_normal((rows, columns))
        noise[:, 1:] *= sqrt(1 - rho**2)
        return np.ascontiguousarray(lfilter([1.0], [1.0, -rho], noise, axis=1))

    return draw


def equicorrelated(rho: float) -> Callable[[int, int, np.random.Generator], Matrix]:
    """Gaussian rows; any two columns are correlated by ``rho``."""

    def draw(rows: int, columns: int, rng: np.random.Generator) -> Matrix:
        common = rng.standard_normal((rows, 1))
        return sqrt(rho) * common + sqrt(1 - rho) * rng.standard_normal((rows, columns))

    return draw


DESIGNS = {
    "Rademacher": rademacher,
    "AR(1) 0.5": autoregressive(0.5),
    "AR(1) 0.9": autoregressive(0.9),
    "equicorrelated 0.5": equicorrelated(0.5),
}
SIZES = ((200, 600), (500, 3000))
SPARSITIES = (5, 10, 25)
NOISES = (0.5, 1.0, 2.0, 4.0)


@dataclass(frozen=True)
class Cell:
    """One entry of the grid. Columns have unit variance, non-zero coefficients are ±1, ``sigma`` is the noise's."""

    rows: int
    columns: int
    design: str
    k: int
    sigma: float

    @property
    def size(self) -> str:
        """The size as the command line and the tables write it."""
        return f"{self.rows}x{self.columns}"

    @property
    def name(self) -> str:
        """What the records are kept under."""
        return f"{self.size}, {self.design}, k = {self.k}, sigma = {self.sigma:g}"

    def draw(self, seed: int) -> Instance:
        """The problem of one seed: the same numbers wherever and in whatever order it is drawn."""
        place = list(DESIGNS).index(self.design)
        entropy = [self.rows, self.columns, place, self.k, round(1000 * self.sigma), seed]
        rng = np.random.default_rng(np.random.SeedSequence(entropy))
        draw = DESIGNS[self.design]
        X = draw(self.rows, self.columns, rng)
        w = np.zeros(self.columns)
        w[rng.choice(self.columns, self.k, replace=False)] = rng.choice([-1.0, 1.0], size=self.k)
        y = X @ w + self.sigma * rng.standard_normal(self.rows)
        return Instance(X, y, w, draw(TEST_ROWS, self.columns, rng))


@dataclass(frozen=True, eq=False)
class Instance:
    """Data ``y = X w + noise`` and fresh rows of the same design."""

    X: Matrix
    y: Vector
    w: Vector
    fresh: Matrix

    def oracle(self) -> Vector:
        """Least squares on the true support, without intercept: what nobody who has to find it can promise."""
        support = np.flatnonzero(self.w)
        estimate = np.zeros_like(self.w)
        estimate[support] = np.linalg.lstsq(self.X[:, support], self.y)[0]
        return estimate


QUICK = tuple(
    Cell(200, 600, design, k, sigma) for design in ("Rademacher", "AR(1) 0.9") for k, sigma in ((5, 1.0), (25, 0.5))
)
FULL = tuple(Cell(*size, *rest) for size in SIZES for rest in product(DESIGNS, SPARSITIES, NOISES))
CORE = tuple(cell for cell in FULL if cell.k in {5, 25} and cell.sigma in {0.5, 2.0})
GRIDS = {"quick": QUICK, "core": CORE, "full": FULL}


def f1(found: Iterable[int], true: Iterable[int]) -> float:
    """Harmonic mean of the shares of the found that are true and of the true that are found."""
    found, true = set(found), set(true)
    return 2 * len(found & true) / (len(found) + len(true))


def judge(instance: Instance, estimate: Vector, sigma: float) -> dict[str, float]:
    """What an estimate is worth; computed here, no estimator judges itself."""
    wrong = estimate - instance.w
    oracle = float(np.linalg.norm(instance.oracle() - instance.w))
    error = float(np.linalg.norm(wrong))
    return {
        "error": error,
        "oracle": oracle,
        "ratio": error / oracle,
        "f1": f1(np.flatnonzero(estimate), np.flatnonzero(instance.w)),
        "prediction": float(np.mean((instance.fresh @ wrong) ** 2)) / sigma**2,
        "nonzeros": int(np.count_nonzero(estimate)),
    }

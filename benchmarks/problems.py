"""Seeded basis-pursuit problems: minimise ‖x‖₁ subject to Ax = y, in classes that are hard in different ways.

Everything follows from the class, the size and the seed, so that every process can draw the same problem for itself
and nothing large has to be sent between them. Only NumPy and SciPy are needed.
"""

from __future__ import annotations

import zlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np
import scipy.signal
import scipy.sparse as sp

Matrix = np.ndarray | sp.csc_array

OVERSAMPLING = 5  # of the cosine frames: neighbouring columns have a correlation near 0.76
AR_COEFFICIENT = 0.9


@dataclass(frozen=True, order=True)
class Size:
    """Rows m, columns n and planted non-zeros s; ``hard`` sizes are drawn by the classes marked so only."""

    m: int
    n: int
    s: int
    hard: bool = False

    def __str__(self) -> str:
        return f"{self.m}x{self.n}"

    def at_least_as_hard_as(self, other: Size) -> bool:
        """Whether this size is larger in both directions and about as dense or denser in non-zeros."""
        return self.m >= other.m and self.n >= other.n and 1.5 * self.s / self.m >= other.s / other.m

    @classmethod
    def parse(cls, text: str) -> Size:
        """Read ``500x2000:50``; without ``:s``, the standard sizes have their own s and others take m/10."""
        shape, _, s = text.partition(":")
        try:
            m, n = (int(part) for part in shape.lower().split("x"))
            size = cls(m, n, int(s) if s else _USUAL.get((m, n), max(1, m // 10)))
        except ValueError:
            raise ValueError(f"size must look like 500x2000 or 500x2000:50, got {text!r}") from None
        if not (size.m >= 1 and 1 <= size.s <= size.n):
            raise ValueError(f"size needs m >= 1 and 1 <= s <= n, got {text!r}")
        return size


QUICK_SIZES = (Size(100, 400, 10), Size(250, 1000, 25))
FULL_SIZES = (
    *QUICK_SIZES,
    Size(250, 1000, 80, hard=True),
    Size(400, 1600, 130, hard=True),
    Size(500, 2000, 50),
    Size(1000, 5000, 80),
    Size(2000, 10000, 150),
)
_USUAL = {(size.m, size.n): size.s for size in FULL_SIZES if not size.hard}


@dataclass(frozen=True, eq=False)
class Instance:
    """One problem: the data, the planted x and what it was drawn from (``s`` is the actual number of non-zeros)."""

    name: str
    size: Size
    seed: int
    matrix: Matrix
    y: np.ndarray
    planted: np.ndarray
    positive: bool

    @property
    def s(self) -> int:
        """Number of planted non-zeros."""
        return int(np.count_nonzero(self.planted))


@dataclass(frozen=True)
class ProblemClass:
    """How to draw a matrix and the values and places of the planted non-zeros."""

    name: str
    title: str
    matrix: Callable[[np.random.Generator, int, int], Matrix]
    values: Callable[[np.random.Generator, int], np.ndarray]
    places: Callable[[np.random.Generator, int, int], np.ndarray]
    fraction: float | None = None  # s = fraction · m instead of the size's own s
    positive: bool = False
    hard: bool = False  # takes part in the hard sizes too

    def sparsity(self, size: Size) -> int:
        """Number of planted non-zeros at this size."""
        return size.s if self.fraction is None else max(1, round(self.fraction * size.m))

    def draw(self, size: Size, seed: int = 0) -> Instance:
        """The problem of this class, size and seed: always the same numbers."""
        s = self.sparsity(size)
        rng = np.random.default_rng([seed, zlib.crc32(self.name.encode()), size.m, size.n, s])
        matrix = self.matrix(rng, size.m, size.n)
        planted = np.zeros(size.n)
        planted[self.places(rng, size.n, s)] = self.values(rng, s)
        return Instance(self.name, size, seed, matrix, matrix @ planted, planted, self.positive)


def _gaussian(rng: np.random.Generator, m: int, n: int) -> np.ndarray:
    return rng.standard_normal((m, n)) / np.sqrt(m)


def _signs(rng: np.random.Generator, m: int, n: int) -> np.ndarray:
    return rng.choice([-1.0, 1.0], (m, n))


def _cosines(rng: np.random.Generator, m: int, n: int) -> np.ndarray:
    """Columns cos(2π j w / F) over m random w in [0, 1]: the oversampled frame of the super-resolution papers."""
    return np.cos(2 * np.pi / OVERSAMPLING * np.outer(rng.uniform(size=m), np.arange(1, n + 1))) / np.sqrt(m)


def _autoregressive(rng: np.random.Generator, m: int, n: int) -> np.ndarray:
    """Gaussian rows in which columns i and j have the correlation 0.9^|i−j|."""
    noise = rng.standard_normal((m, n)) / np.sqrt(m)
    fresh = np.sqrt(1 - AR_COEFFICIENT**2)
    noise[:, 0] /= fresh
    return np.ascontiguousarray(scipy.signal.lfilter([fresh], [1, -AR_COEFFICIENT], noise, axis=1))


def _sparse(density: float) -> Callable[[np.random.Generator, int, int], sp.csc_array]:
    """Gaussian entries at random places; zero rows and columns stay in where they happen."""

    def matrix(rng: np.random.Generator, m: int, n: int) -> sp.csc_array:
        count = round(density * m * n)
        flat = rng.choice(m * n, count, replace=False, shuffle=False)
        entries = rng.standard_normal(count) / np.sqrt(density * m)
        places = ((flat // n).astype(np.int32), (flat % n).astype(np.int32))  # scikit-learn and celer refuse 64 bits
        return sp.csc_array((entries, places), shape=(m, n))

    return matrix


def _normal_values(rng: np.random.Generator, s: int) -> np.ndarray:
    return rng.standard_normal(s)


def _positive_values(rng: np.random.Generator, s: int) -> np.ndarray:
    return np.abs(rng.standard_normal(s))


def _sign_values(rng: np.random.Generator, s: int) -> np.ndarray:
    return rng.choice([-1.0, 1.0], s)


def _wide_values(rng: np.random.Generator, s: int) -> np.ndarray:
    return 10 ** rng.uniform(-4, 0, s) * rng.choice([-1.0, 1.0], s)


def _anywhere(rng: np.random.Generator, n: int, s: int) -> np.ndarray:
    return rng.choice(n, s, replace=False)


def _apart(rng: np.random.Generator, n: int, s: int) -> np.ndarray:
    """Places at least 2F apart where there is room: nearer ones no method can tell apart in a cosine frame."""
    gap = max(1, min(2 * OVERSAMPLING, n // s))
    return np.sort(rng.choice(n - (s - 1) * (gap - 1), s, replace=False)) + np.arange(s) * (gap - 1)


CLASSES = {
    c.name: c
    for c in (
        ProblemClass("gaussian", "Gaussian", _gaussian, _normal_values, _anywhere, hard=True),
        ProblemClass("threshold", "Gaussian, s = 0.3 m", _gaussian, _normal_values, _anywhere, fraction=0.3),
        ProblemClass("beyond", "Gaussian, s = 0.4 m", _gaussian, _normal_values, _anywhere, fraction=0.4),
        ProblemClass("range", "Gaussian, |x| from 1e-4 to 1", _gaussian, _wide_values, _anywhere, hard=True),
        ProblemClass("cosine", "oversampled cosines", _cosines, _normal_values, _apart),
        ProblemClass("ar1", "AR(1) columns, 0.9", _autoregressive, _normal_values, _anywhere),
        ProblemClass("bernoulli", "signs ±1", _signs, _normal_values, _anywhere),
        ProblemClass("ties", "signs ±1, x = ±1 (ties)", _signs, _sign_values, _anywhere, hard=True),
        ProblemClass("sparse5", "sparse, 5 %", _sparse(0.05), _normal_values, _anywhere),
        ProblemClass("sparse1", "sparse, 1 %", _sparse(0.01), _normal_values, _anywhere),
        ProblemClass("positive", "Gaussian, x ≥ 0", _gaussian, _positive_values, _anywhere, positive=True, hard=True),
    )
}


def cases(classes: list[str], sizes: tuple[Size, ...]) -> Iterator[tuple[ProblemClass, Size]]:
    """Class by class, small sizes first: a solver that is too slow at one size is not tried at the next."""
    for name in classes:
        for size in sorted(sizes):
            if CLASSES[name].hard or not size.hard:
                yield CLASSES[name], size

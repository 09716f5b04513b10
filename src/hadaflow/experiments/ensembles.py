"""Random measurement matrices, by name, with columns of about unit length."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray
from scipy.fft import dct

Matrix = NDArray[np.float64]

_PER_COLUMN = 8  # non-zeros of a sparse matrix
_CORRELATION = 0.5  # of neighbouring columns


def gaussian(rng: np.random.Generator, m: int, n: int) -> Matrix:
    """Independent normal entries."""
    return rng.standard_normal((m, n)) / math.sqrt(m)


def signs(rng: np.random.Generator, m: int, n: int) -> Matrix:
    """Independent signs, with probability one half each."""
    return rng.choice([-1.0, 1.0], (m, n)) / math.sqrt(m)


def cosine(rng: np.random.Generator, m: int, n: int) -> Matrix:
    """Random rows of the orthogonal cosine transform; at most n."""
    if m > n:
        raise ValueError(f"m must be at most n = {n} for ensemble='cosine', got {m}: the transform has n rows")
    rows = rng.choice(n, m, replace=False)
    return np.asarray(dct(np.eye(n), axis=0, norm="ortho")[rows]) * math.sqrt(n / m)


def sparse(rng: np.random.Generator, m: int, n: int) -> Matrix:
    """Eight random signs at random places of each column (in fewer rows, as many as there are), else zeros."""
    places = np.argsort(rng.random((m, n)), axis=0)[:_PER_COLUMN]
    matrix = np.zeros((m, n))
    np.put_along_axis(matrix, places, rng.choice([-1.0, 1.0], places.shape) / math.sqrt(len(places)), axis=0)
    return matrix


def correlated(rng: np.random.Generator, m: int, n: int) -> Matrix:
    """Normal entries; columns i and j have correlation ``0.5^|i - j|``, rows are independent."""
    matrix = rng.standard_normal((m, n)) / math.sqrt(m)
    for j in range(1, n):
        matrix[:, j] = _CORRELATION * matrix[:, j - 1] + math.sqrt(1 - _CORRELATION**2) * matrix[:, j]
    return matrix


#: ``f(rng, m, n)`` by name.
ENSEMBLES: dict[str, Callable[[np.random.Generator, int, int], Matrix]] = {
    "gaussian": gaussian,
    "signs": signs,
    "cosine": cosine,
    "sparse": sparse,
    "correlated": correlated,
}

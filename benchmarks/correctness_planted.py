"""Families whose measurements are those of a planted vector, or nearly so: units, dependence, ties."""

from __future__ import annotations

import numpy as np
from correctness_drawing import (
    Drawn,
    Rng,
    family,
    few,
    gaussian_of,
    noisy,
    planted_in,
    scaled,
    sparse_vector,
    wide,
)

# --- planted, in all shapes and units ------------------------------------------------------------------------------


@family
def gaussian(rng: Rng) -> Drawn:
    return gaussian_of(rng, *wide(rng))


@family
def units(rng: Rng) -> Drawn:
    """The whole matrix and the whole of y in far-off units."""
    drawn = gaussian_of(rng, *wide(rng))
    return planted_in(drawn.A * 10.0 ** rng.uniform(-60, 60), drawn.planted * 10.0 ** rng.uniform(-60, 60))


@family
def rows_in_units(rng: Rng) -> Drawn:
    return scaled(rng, gaussian_of(rng, *wide(rng)), rows=12)


@family
def block_of_rows(rng: Rng) -> Drawn:
    """The first rows of a Gaussian matrix in other units than the rest."""
    drawn = gaussian_of(rng, 40, 120)
    r = np.where(np.arange(40) < rng.integers(1, 40), 10.0 ** rng.integers(5, 13), 1.0)
    return planted_in(drawn.A * r[:, None], drawn.planted)


@family
def columns_in_units(rng: Rng) -> Drawn:
    return scaled(rng, gaussian_of(rng, *wide(rng)), columns=12)


@family
def both_in_units(rng: Rng) -> Drawn:
    return scaled(rng, gaussian_of(rng, *wide(rng)), rows=12, columns=rng.uniform(1, 12))


@family
def square(rng: Rng) -> Drawn:
    m = int(rng.integers(2, 41))
    return scaled(rng, gaussian_of(rng, m, m), rows=rng.choice([0.0, 12.0]))


@family
def tall(rng: Rng) -> Drawn:
    n = int(rng.integers(1, 21))
    return scaled(rng, gaussian_of(rng, n + int(rng.integers(1, 40)), n), rows=rng.choice([0.0, 6.0, 12.0]))


@family
def tiny(rng: Rng) -> Drawn:
    """One row, one column, or both."""
    m, n = ((1, 1), (1, int(rng.integers(2, 20))), (int(rng.integers(2, 20)), 1))[rng.integers(3)]
    drawn = scaled(rng, gaussian_of(rng, m, n), rows=12, columns=12)
    return noisy(rng, drawn, 0.1) if rng.random() < 0.3 else drawn


@family
def methods(rng: Rng) -> Drawn:
    """Each method by name, on rows in other units now and then, or on a tall matrix with noise."""
    m, n = wide(rng)
    if rng.random() < 0.7:
        drawn = scaled(rng, gaussian_of(rng, m, n), rows=rng.choice([0.0, 8.0]))
    else:
        drawn = noisy(rng, gaussian_of(rng, n, m), 0.01)
    return Drawn(drawn.A, drawn.y, drawn.planted, {"method": str(rng.choice(["saddles", "limit"]))})


@family
def operators(rng: Rng) -> Drawn:
    """Known by products alone."""
    drawn = scaled(rng, gaussian_of(rng, *wide(rng)), rows=rng.choice([0.0, 6.0]))
    return Drawn(drawn.A, drawn.y, drawn.planted, given_as="operator")


@family
def operators_constrained(rng: Rng) -> Drawn:
    """The same with x >= 0, weights, noise, more rows than columns, or several of these."""
    m, n = wide(rng)
    positive, tall_one = rng.random(2) < 0.5
    drawn = gaussian_of(rng, *((n, m) if tall_one else (m, n)), positive=bool(positive))
    if rng.random() < 0.5:
        drawn = noisy(rng, drawn, 0.02)
    options = drawn.options | ({"weights": 10.0 ** rng.uniform(-2, 2, drawn.A.shape[1])} if rng.random() < 0.5 else {})
    return Drawn(drawn.A, drawn.y, drawn.planted, options, given_as="operator")


@family
def amplitudes(rng: Rng) -> Drawn:
    """Non-zeros over ten decades."""
    drawn = gaussian_of(rng, *wide(rng), positive=rng.random() < 0.3)
    return planted_in(drawn.A, drawn.planted * 10.0 ** rng.uniform(-5, 5, len(drawn.planted)), **drawn.options)


@family
def single_precision(rng: Rng) -> Drawn:
    drawn = gaussian_of(rng, *wide(rng))
    A = drawn.A.astype(np.float32)
    drawn = scaled(rng, planted_in(A, drawn.planted.astype(np.float32)), rows=rng.choice([0.0, 6.0]))
    A, x = drawn.A.astype(np.float32), drawn.planted.astype(np.float32)
    return Drawn(A, (A.astype(float) @ x.astype(float)).astype(np.float32), x)


@family
def limits(rng: Rng) -> Drawn:
    """Where training from a given start ends; rows in other units now and then."""
    drawn = scaled(rng, gaussian_of(rng, *wide(rng)), rows=rng.choice([0.0, 6.0]))
    start = {"depth": float(rng.choice([2.0, 3.0, 4.0])), "init_scale": 10.0 ** -rng.uniform(1, 3)}
    return Drawn(drawn.A, drawn.y, drawn.planted, start)


# --- dependent or nearly so ----------------------------------------------------------------------------------------


@family
def equal_columns(rng: Rng) -> Drawn:
    """Columns that occur again, some with the other sign or in other units."""
    m, n = wide(rng)
    A = rng.standard_normal((m, n))
    twins = rng.choice(n, n // 3, replace=False)
    A = np.hstack([A, A[:, twins] * rng.choice([1.0, -1.0, 2.0, 0.5], len(twins))])
    return planted_in(A, sparse_vector(rng, A.shape[1], few(rng, m, n)))


@family
def near_columns(rng: Rng) -> Drawn:
    """Columns at relative distances from 1e-3 down to 1e-12."""
    m, n = wide(rng)
    A = rng.standard_normal((m, n))
    twins = rng.choice(n, n // 3, replace=False)
    distance = 10.0 ** -rng.uniform(3, 12, len(twins))
    A = np.hstack([A, A[:, twins] + distance * rng.standard_normal((m, len(twins)))])
    x = sparse_vector(rng, A.shape[1], few(rng, m, n))
    if rng.random() < 0.3:  # both twins on the support
        x[twins[:2]], x[n : n + 2] = 1.0, -1.0 if rng.random() < 0.5 else 1.0
    return planted_in(A, x)


@family
def near_rows(rng: Rng) -> Drawn:
    m, n = wide(rng)
    A = rng.standard_normal((m, n))
    again = rng.choice(m, max(1, m // 4), replace=False)
    distance = 10.0 ** -rng.uniform(3, 12, len(again))
    A = np.vstack([A, A[again] + distance[:, None] * rng.standard_normal((len(again), n))])
    return planted_in(A, sparse_vector(rng, n, few(rng, m, n)))


@family
def equal_rows(rng: Rng) -> Drawn:
    m, n = wide(rng)
    A = rng.standard_normal((m, n))
    again = rng.choice(m, max(1, m // 3), replace=False)
    factors = rng.choice([1.0, -2.0, 3.0, 1e6], len(again))
    return planted_in(np.vstack([A, factors[:, None] * A[again]]), sparse_vector(rng, n, few(rng, m, n)))


@family
def contradicting_rows(rng: Rng) -> Drawn:
    """Rows that occur again with another value of y, by anything from 1 to 1e-7."""
    drawn = equal_rows(rng)
    y = drawn.y.copy()
    y[-1] += 10.0 ** -rng.uniform(0, 7) * max(abs(y[-1]), 0.1)
    return Drawn(drawn.A, y)


@family
def low_rank(rng: Rng) -> Drawn:
    """A product of integer matrices: dependent without any rounding; consistent or not; wide, square or tall."""
    m, n = wide(rng)
    m, n = ((m, n), (m, m), (n, m))[rng.integers(3)]
    r = int(rng.integers(1, min(m, n)))
    A = (rng.integers(-3, 4, (m, r)) @ rng.integers(-3, 4, (r, n))).astype(float)
    drawn = planted_in(A, np.round(4 * sparse_vector(rng, n, few(rng, r + 1, n))))
    return noisy(rng, drawn, 0.1) if rng.random() < 0.4 else drawn


def _of_either_sign(rng: Rng, A: np.ndarray) -> Drawn:
    """A sparse vector behind A; in half of the draws non-negative, and asked to be so."""
    m, n = A.shape
    if rng.random() < 0.5:
        return planted_in(A, sparse_vector(rng, n, few(rng, m, n)))
    return planted_in(A, sparse_vector(rng, n, few(rng, m, n), positive=True), positive=True)


@family
def hilbert(rng: Rng) -> Drawn:
    m, n = int(rng.integers(3, 13)), int(rng.integers(3, 25))
    A = 1.0 / (np.arange(m)[:, None] + np.arange(n) + 1.0)
    return _of_either_sign(rng, A)


@family
def vandermonde(rng: Rng) -> Drawn:
    m, n = int(rng.integers(3, 11)), int(rng.integers(5, 40))
    A = np.vander(np.sort(rng.uniform(-1.5, 1.5, n)), m, increasing=True).T
    return _of_either_sign(rng, A)


# --- ties ----------------------------------------------------------------------------------------------------------


@family
def signs(rng: Rng) -> Drawn:
    m, n = wide(rng)
    return planted_in(rng.choice([-1.0, 1.0], (m, n)), np.sign(sparse_vector(rng, n, few(rng, m, n))))


@family
def integers(rng: Rng) -> Drawn:
    m, n = wide(rng)
    A = rng.integers(-9, 10, (m, n)).astype(float)
    return planted_in(A, np.round(5 * sparse_vector(rng, n, few(rng, m, n))))


@family
def ties(rng: Rng) -> Drawn:
    """Entries -1, 0, 1 in few rows: minimisers that are not unique, duals that touch more bounds than they must."""
    m, n = int(rng.integers(2, 8)), int(rng.integers(6, 40))
    A = rng.integers(-1, 2, (m, n)).astype(float)
    x = np.round(2 * sparse_vector(rng, n, int(rng.integers(1, m + 1))))
    drawn = planted_in(A, np.abs(x) if rng.random() < 0.4 else x)
    return Drawn(A, drawn.y, drawn.planted, {"positive": True}) if drawn.planted.min() >= 0 else drawn


@family
def sums_of_columns(rng: Rng) -> Drawn:
    """A column that is the mean of two others: as short as they are together."""
    m, n = wide(rng)
    A = rng.standard_normal((m, n))
    pairs = rng.choice(n, (max(1, n // 8), 2), replace=False)
    A = np.hstack([A, 0.5 * (A[:, pairs[:, 0]] + A[:, pairs[:, 1]])])
    x = sparse_vector(rng, A.shape[1], few(rng, m, n) // 2 + 1)
    x[n] = 1.0
    return planted_in(A, x)


@family
def cosines(rng: Rng) -> Drawn:
    n = int(rng.integers(16, 121))
    m = int(rng.integers(4, n // 2))
    rows = rng.choice(n, m, replace=False)
    if rng.random() < 0.5:
        A = np.cos(np.pi * rows[:, None] * (np.arange(n) + 0.5) / n)
    else:
        phase = 2 * np.pi * rows[: m // 2, None] * np.arange(n) / n
        A = np.vstack([np.cos(phase), np.sin(phase)])
    return planted_in(A, sparse_vector(rng, n, few(rng, len(A), n)))


@family
def zeros(rng: Rng) -> Drawn:
    """Zero rows, zero columns, a zero y; one zero row in four with a y that is not."""
    drawn = gaussian_of(rng, *wide(rng))
    A, x = drawn.A.copy(), drawn.planted.copy()
    A[:, rng.choice(A.shape[1], 3)] = 0
    A[rng.integers(len(A))] = 0
    if rng.random() < 0.2:
        x[:] = 0
    y, given_as = A @ x, str(rng.choice(["array", "csc"]))
    if rng.random() < 0.25:
        y[~A.any(axis=1)] = 1.0
        return Drawn(A, y, given_as=given_as)
    return Drawn(A, y, x, given_as=given_as)

"""Families of noise, of x >= 0, of weights, of sparse matrices and of paths."""

from __future__ import annotations

import numpy as np
from correctness_drawing import (
    Drawn,
    Rng,
    decades,
    family,
    few,
    gaussian_of,
    noisy,
    planted_in,
    scaled,
    sparse_vector,
    wide,
)
from correctness_planted import near_columns

# --- noise ---------------------------------------------------------------------------------------------------------


@family
def noise_wide(rng: Rng) -> Drawn:
    return noisy(rng, gaussian_of(rng, *wide(rng)), 10.0 ** -rng.uniform(1, 4))


@family
def noise_wide_rows_in_units(rng: Rng) -> Drawn:
    """Noise in proportion to each row, which a wide matrix fits all the same."""
    drawn = gaussian_of(rng, *wide(rng))
    r = decades(rng, len(drawn.y), 10)
    return Drawn(drawn.A * r[:, None], (drawn.y + 0.05 * rng.standard_normal(len(r))) * r)


@family
def nearly_consistent(rng: Rng) -> Drawn:
    """Tall, and fitted but for 1e-5 down to 1e-16: where least squares begins."""
    n = int(rng.integers(1, 25))
    drawn = gaussian_of(rng, n + int(rng.integers(1, 30)), n, positive=rng.random() < 0.3)
    return noisy(rng, drawn, 10.0 ** -rng.uniform(5, 16))


@family
def noise_square(rng: Rng) -> Drawn:
    m = int(rng.integers(2, 31))
    return noisy(rng, gaussian_of(rng, m, m), 10.0 ** -rng.uniform(1, 4))


@family
def noise_tall(rng: Rng) -> Drawn:
    n = int(rng.integers(1, 25))
    drawn = gaussian_of(rng, n + int(rng.integers(1, 30)), n)
    return noisy(rng, scaled(rng, drawn, columns=rng.choice([0.0, 8.0])), 10.0 ** -rng.uniform(1, 4))


@family
def noise_tall_near_columns(rng: Rng) -> Drawn:
    """Tall with columns at distances from 1e-2 down to 1e-9."""
    n = int(rng.integers(2, 12))
    A = rng.standard_normal((3 * n, n))
    A = np.hstack([A, A[:, :2] + 10.0 ** -rng.uniform(2, 9, 2) * rng.standard_normal((3 * n, 2))])
    return noisy(rng, planted_in(A, sparse_vector(rng, n + 2, 2)), 10.0 ** -rng.uniform(1, 4))


@family
def noise_rows_in_units(rng: Rng) -> Drawn:
    """Tall, noise in proportion to each row: least squares that few rows rule."""
    n = int(rng.integers(1, 12))
    drawn = gaussian_of(rng, n + int(rng.integers(1, 30)), n)
    y = drawn.y * (1 + 0.05 * rng.standard_normal(len(drawn.y)))
    r = decades(rng, len(y), 6)
    return Drawn(drawn.A * r[:, None], y * r)


@family
def noise_level(rng: Rng) -> Drawn:
    """With a bound on the noise, somewhat too small or too large; in half of the draws with x >= 0 or weights."""
    level = 10.0 ** -rng.uniform(1, 3)
    drawn = noisy(rng, gaussian_of(rng, *wide(rng), positive=rng.random() < 0.5), level)
    options = drawn.options | {"noise_level": rng.uniform(0.8, 1.5) * level * np.linalg.norm(drawn.y)}
    if rng.random() < 0.5:
        options["weights"] = 10.0 ** rng.uniform(-2, 2, drawn.A.shape[1])
    return Drawn(drawn.A, drawn.y, None, options)


@family
def deconvolution(rng: Rng) -> Drawn:
    """Spikes behind a Gaussian pulse: square or tall, with noise or without."""
    n = int(rng.integers(20, 51))
    m = n + int(rng.choice([0, 0, 10]))
    width = rng.uniform(0.6, 2.5)
    A = np.exp(-0.5 * ((np.arange(m)[:, None] * n / m - np.arange(n)) / width) ** 2)
    positive = rng.random() < 0.5
    x = sparse_vector(rng, n, int(rng.integers(1, 6)), positive=positive)
    drawn = planted_in(A, x, **({"positive": True} if positive else {}))
    return noisy(rng, drawn, 0.02) if rng.random() < 0.7 else drawn


@family
def rounded_data(rng: Rng) -> Drawn:
    """y as an instrument gives it: whole numbers."""
    m, n = wide(rng)
    drawn = planted_in(rng.standard_normal((m, n)), 100 * sparse_vector(rng, n, few(rng, m, n)))
    return Drawn(drawn.A, np.round(drawn.y))


# --- x >= 0 --------------------------------------------------------------------------------------------------------


@family
def positive(rng: Rng) -> Drawn:
    drawn = gaussian_of(rng, *wide(rng), positive=True)
    return scaled(rng, drawn, rows=rng.choice([0.0, 12.0]), columns=rng.choice([0.0, 6.0]))


@family
def positive_inconsistent(rng: Rng) -> Drawn:
    """Non-negative or signed matrices whose cone does not hold y."""
    m, n = wide(rng)
    A = rng.standard_normal((m, n // 2 + 1))
    if rng.random() < 0.6:
        A = np.abs(A)
    drawn = planted_in(A, sparse_vector(rng, A.shape[1], few(rng, m, A.shape[1]), positive=True), positive=True)
    drawn = noisy(rng, drawn, 10.0 ** -rng.uniform(0, 3))
    return Drawn(drawn.A, -drawn.y, None, drawn.options) if rng.random() < 0.1 else drawn


def _relaxation(rng: Rng) -> tuple[np.ndarray, np.ndarray]:
    """Exponentials at 32 times and their noisy sum, of three relaxation times out of 96."""
    T2 = np.geomspace(8, 4000, 96)
    K = np.exp(-np.linspace(10, 320, 32)[:, None] / T2)
    x = np.zeros(96)
    x[np.sort(rng.choice(96, 3, replace=False))] = np.array([300.0, 500.0, 200.0]) * rng.choice([1.0, 1e-3])
    return K, x


@family
def exponentials(rng: Rng) -> Drawn:
    K, x = _relaxation(rng)
    return Drawn(K, K @ x + 0.015 * rng.standard_normal(32), None, {"positive": True})


@family
def exponentials_sum_to_one(rng: Rng) -> Drawn:
    """The same with a row that asks for a sum; the noise is what another mixture would give, or plain noise."""
    K, x = _relaxation(rng)
    y = K @ x + (0.015 if rng.random() < 0.5 else 0.0) * rng.standard_normal(32)
    weight = 10.0 ** rng.integers(2, 7)
    A = np.vstack([K, np.full(96, weight)])
    return Drawn(A, np.append(y, weight * x.sum()), None, {"positive": True})


@family
def positive_near_columns(rng: Rng) -> Drawn:
    drawn = near_columns(rng)
    return planted_in(drawn.A, np.abs(drawn.planted), positive=True)


# --- weights -------------------------------------------------------------------------------------------------------


@family
def positive_weights(rng: Rng) -> Drawn:
    """Weights over 8 decades and x >= 0, with or without noise; dense or sparse."""
    m, n = wide(rng)
    drawn = gaussian_of(rng, *((m, n) if rng.random() < 0.6 else (n, m)), positive=True)
    if rng.random() < 0.4:
        drawn = noisy(rng, drawn, 0.05)
    w = 10.0 ** rng.uniform(-4, 4, drawn.A.shape[1])
    given_as = str(rng.choice(["array", "csc"]))
    return Drawn(drawn.A, drawn.y, drawn.planted, {"weights": w, "positive": True}, given_as)


@family
def weights(rng: Rng) -> Drawn:
    drawn = scaled(rng, gaussian_of(rng, *wide(rng)), rows=rng.choice([0.0, 0.0, 8.0]))
    w = 10.0 ** rng.uniform(-4, 4, drawn.A.shape[1])
    return planted_in(drawn.A, drawn.planted, weights=w)


def _table(rng: Rng, rows: int) -> np.ndarray:
    """A column of ones, of body heights and of years."""
    return np.column_stack([np.ones(rows), rng.uniform(50, 200, rows), rng.uniform(1900, 2020, rows)])


@family
def free_columns(rng: Rng) -> Drawn:
    """A table that is nearly free beside sparse outliers: [X, I] with small weights on X's columns."""
    rows = int(rng.choice([30, 60, 100]))
    X = _table(rng, rows)
    outliers = sparse_vector(rng, rows, int(rng.integers(1, rows // 4)))
    w = np.ones(3 + rows)
    w[:3] = 10.0 ** rng.choice([-2, -4, -8])
    coefficients = np.array([3.0, 0.5, -0.01]) * rng.uniform(0.5, 2, 3)
    return planted_in(np.hstack([X, np.eye(rows)]), np.append(coefficients, 10 * outliers), weights=w)


@family
def free_columns_dense_noise(rng: Rng) -> Drawn:
    """The same with noise in every row, which [X, I] fits too: sparse least absolute deviations."""
    rows = int(rng.choice([20, 40, 60]))
    X = _table(rng, rows)
    y = X @ (np.array([3.0, 0.5, -0.01]) * rng.uniform(0.5, 2, 3)) + rng.standard_normal(rows)
    w = np.ones(3 + rows)
    w[:3] = 10.0 ** rng.choice([-2, -4, -8])
    return Drawn(np.hstack([X, np.eye(rows)]), y, None, {"weights": w})


@family
def huge_columns(rng: Rng) -> Drawn:
    """[X, I] whose first columns are longer than the others by 1e6 to 1e12."""
    rows = int(rng.integers(20, 61))
    X = rng.standard_normal((rows, int(rng.integers(1, 21)))) * 10.0 ** rng.integers(6, 13)
    y = rng.standard_normal(rows) if rng.random() < 0.5 else None
    A = np.hstack([X, np.eye(rows)])
    if y is not None:
        return Drawn(A, y)
    x = sparse_vector(rng, A.shape[1], int(rng.integers(1, rows // 3)))
    x[: X.shape[1]] /= np.abs(X).max()
    return planted_in(A, x)


# --- sparse matrices -----------------------------------------------------------------------------------------------


def _sparse_matrix(rng: Rng, m: int, n: int) -> np.ndarray:
    A = rng.standard_normal((m, n)) * (rng.random((m, n)) < rng.uniform(0.05, 0.4))
    A[rng.integers(m, size=n), np.arange(n)] += 1.0
    return A


@family
def sparse(rng: Rng) -> Drawn:
    m, n = wide(rng)
    drawn = planted_in(_sparse_matrix(rng, m, n), sparse_vector(rng, n, few(rng, m, n)))
    drawn = scaled(rng, drawn, rows=rng.choice([0.0, 12.0]), columns=rng.choice([0.0, 6.0]))
    return Drawn(drawn.A, drawn.y, drawn.planted, given_as="csc")


@family
def sparse_noise(rng: Rng) -> Drawn:
    """Tall and square, with noise or x >= 0."""
    n = int(rng.integers(3, 30))
    m = n + int(rng.choice([0, 5, 20]))
    nonnegative = rng.random() < 0.4
    x = sparse_vector(rng, n, few(rng, m, n), positive=nonnegative)
    drawn = noisy(rng, planted_in(_sparse_matrix(rng, m, n), x), 0.05)
    return Drawn(drawn.A, drawn.y, None, {"positive": True} if nonnegative else {}, given_as="csc")


# --- paths ---------------------------------------------------------------------------------------------------------


@family
def paths(rng: Rng) -> Drawn:
    drawn = scaled(rng, gaussian_of(rng, *wide(rng)), rows=rng.choice([0.0, 6.0]))
    return Drawn(drawn.A, drawn.y, drawn.planted, call="saddles")


@family
def paths_near_columns(rng: Rng) -> Drawn:
    drawn = near_columns(rng)
    return Drawn(drawn.A, drawn.y, drawn.planted, call="saddles")


@family
def paths_noise(rng: Rng) -> Drawn:
    n = int(rng.integers(3, 30))
    drawn = noisy(rng, gaussian_of(rng, n + int(rng.integers(0, 12)), n), 0.05)
    return Drawn(drawn.A, drawn.y, None, call="saddles")

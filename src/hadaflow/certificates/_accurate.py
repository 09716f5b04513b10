"""Inner products in twice the precision of doubles, for bounds that rounding would blur.

Every product and every sum is split into its double and what rounding took from it (Dekker 1971; Ogita, Rump and Oishi
2005), which leaves an error of one rounding of the result. No processor rounds them in another way.
"""

from __future__ import annotations

import numpy as np

from hadaflow._types import Vector

_EPS = float(np.finfo(np.float64).eps)
_SPLIT = 134217729.0  # 2^27 + 1
_LARGEST = 1e140  # of entries: their splitting and products stay in the range of doubles
_LEAST = 1e-140


def accurate_products(columns: Vector, v: Vector) -> tuple[Vector, Vector]:
    """``columns.T @ v``, and a bound on the error of each.

    Parameters
    ----------
    columns : ndarray of shape (m, k)
        Dense columns.
    v : ndarray of shape (m,)
        A vector.

    Returns
    -------
    tuple of ndarrays of shape (k,)
        Infinite bounds where entries are so large or so small that a product might leave the range of doubles.

    Notes
    -----
    Some 40 operations for each entry of the columns.
    """
    with np.errstate(all="ignore"):  # what leaves the range of doubles gets an infinite bound
        return _accurate_products(columns, v)


def _accurate_products(columns: Vector, v: Vector) -> tuple[Vector, Vector]:
    terms, left = _product(columns, v[:, None])
    size = np.abs(terms).sum(axis=0)
    total, errors = _sum(terms)
    value = total + (left.sum(axis=0) + errors)
    m = len(v)
    bound = 2 * _EPS * np.abs(value) + 8 * m * _EPS**2 * size
    in_range = max(float(np.abs(columns).max(initial=0.0)), float(np.abs(v).max(initial=0.0))) < _LARGEST
    tiny = (np.abs(terms) < _LEAST**2) & (terms != 0)
    return value, np.where(tiny.any(axis=0) | (not in_range), np.inf, bound)


def _product(a: Vector, b: Vector) -> tuple[Vector, Vector]:
    """``a * b``, and what rounding took from it."""
    p = a * b
    high_a, low_a = _halves(a)
    high_b, low_b = _halves(b)
    return p, low_a * low_b - (((p - high_a * high_b) - low_a * high_b) - high_a * low_b)


def _halves(a: Vector) -> tuple[Vector, Vector]:
    c = _SPLIT * a
    high = c - (c - a)
    return high, a - high


def _sum(terms: Vector) -> tuple[Vector, Vector]:
    """Sum over the rows by halving, and what rounding took from it."""
    errors = np.zeros(terms.shape[1])
    while len(terms) > 1:
        half = len(terms) // 2
        a, b = terms[:half], terms[half : 2 * half]
        s = a + b
        back = s - a
        errors = errors + ((a - (s - back)) + (b - back)).sum(axis=0)
        terms = np.vstack([s, terms[2 * half :]]) if len(terms) % 2 else s
    return (terms[0] if len(terms) else errors), errors

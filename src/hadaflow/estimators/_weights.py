"""Weights of rows: counts where they can be, else relative; either way they add up to the degrees of freedom."""

from __future__ import annotations

import math

import numpy as np

from hadaflow._types import Vector

_MOST = 3  # the smallest count, after a common divisor: beyond, whole numbers are no counts but sizes
_WHOLE = 0.05  # from a whole number, relative to small ones: there weights are no counts any more
_LARGEST = 2.0**52  # beyond, every number is whole


def relative(weights: Vector) -> Vector:
    """Weights multiplied by a common factor, so that their sum is the number of rows that they are worth.

    Parameters
    ----------
    weights : ndarray of shape (m,)
        Not negative, some positive.

    Returns
    -------
    ndarray of shape (m,)
        Of sum ``rho``: the sum of the counts, if the weights are counts; else Kish's effective number of rows,
        ``(sum w)^2 / sum w^2``.

    Notes
    -----
    Weights are counts if all are whole numbers of which, without their common divisor, the smallest is at most 3. As
    they leave the whole numbers, by up to 1 in 20, rho goes from one number to the other without a jump. A common
    factor cannot change Kish's number, and is the divisor of counts. O(m).
    """
    present = weights > 0
    given = weights[present]
    largest = float(given.max())
    if float(given.min()) == largest:
        return present.astype(np.float64)
    shares = given / largest
    effective = float(shares.sum()) ** 2 / float(shares @ shares)
    counts, likeness = _counts(given)
    result = np.zeros(len(weights))
    if likeness == 1:
        result[present] = counts
    else:
        rows = effective * (float(counts.sum()) / effective) ** likeness if likeness > 0 else effective
        result[present] = shares * (rows / float(shares.sum()))
    return result


def reweighted(weights: Vector, factors: Vector) -> Vector:
    """Relative weights times factors that are no counts, such as those of classes.

    Their sum is ``(sum w)^2 / sum w^2`` again, where a row that counts for several stands there as often.
    """
    product = weights * (factors / float(factors.max()))
    present = product > 0
    repeated = weights[present] if (weights == np.rint(weights)).all() else 1.0
    total = float(product.sum())
    return product * (total / float((product[present] ** 2 / repeated).sum()))


def _counts(given: Vector) -> tuple[Vector, float]:
    """The nearest counts, and how much the weights are like them, from 0 to 1."""
    whole = np.rint(given)
    if float(whole.min()) < 1 or float(whole.max()) > _LARGEST:
        return whole, 0.0
    distance = float((np.abs(given - whole) / np.minimum(1.0, given)).max())
    divisor = int(np.gcd.reduce(whole.astype(np.int64)))
    counts = whole / divisor
    if distance >= _WHOLE or float(counts.min()) > _MOST or not math.isfinite(distance):
        return counts, 0.0
    return counts, 1 - distance / _WHOLE

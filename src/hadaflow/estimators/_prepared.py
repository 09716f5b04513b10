"""Columns brought near zero and into range before anything else is done to them, and coefficients back."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import scipy.sparse as sp
from numpy.typing import NDArray

from hadaflow._types import Float, Index, Vector
from hadaflow.operators import as_operator

_FAR = 100.0  # standard deviations from zero: so far, centring afterwards costs digits, and steps of every solver
_SAMPLED = 8  # rows of the first look
_LIKELY = 0.25  # of that many ranges of the sample: a far column shows in any few rows
_LEAST, _MOST = 1e-250, 1e250  # square lengths beyond leave the range of doubles soon


@dataclass(frozen=True, eq=False)
class Prepared:
    """``(X - shift) 2^exponents``, a copy of X only where there is need.

    Attributes
    ----------
    X : ndarray or sparse matrix of shape (m, n)
        The columns.
    shift : ndarray of shape (n,) or None
        What was taken off each column; None for nothing.
    exponents : int array of shape (n,) or None
        Powers of two that came to each column; None for none.
    """

    X: Any
    shift: Vector | None
    exponents: Index | None

    @classmethod
    def of(cls, X: Any, intercept: bool) -> Prepared:
        """X for a model with an intercept, which takes up any shift, or without one."""
        shift = _shift(X) if intercept and not sp.issparse(X) else None
        if shift is not None:
            X = X - shift.astype(X.dtype)
        exponents = _exponents(X)
        if exponents is not None:
            X = _scaled(X, exponents)
        return cls(X, shift, exponents)

    def back(self, coef: Float, intercept: Any) -> tuple[Float, Any]:
        """Coefficients of X as it was, and the intercept, for rows of coefficients or one."""
        if self.exponents is not None:
            with np.errstate(under="ignore"):
                coef = np.ldexp(coef, self.exponents).astype(coef.dtype)
        if self.shift is not None:
            intercept = intercept - coef.astype(np.float64) @ self.shift
        return coef, intercept


def _shift(X: NDArray[Any]) -> Vector | None:
    """The means of the columns far from zero, to the precision of X; 0 for the others."""
    rows = X[np.linspace(0, len(X) - 1, min(len(X), _SAMPLED)).astype(np.intp)]
    with np.errstate(over="ignore"):
        likely = np.abs(rows).min(axis=0) > _LIKELY * _FAR * (rows.max(axis=0) - rows.min(axis=0))
    likely &= rows[0] != 0
    if not likely.any():
        return None
    index = np.flatnonzero(likely)
    columns = X[:, index].astype(np.float64)
    sizes = np.abs(columns).max(axis=0)
    columns /= sizes  # no square leaves the range of doubles
    middle = columns.mean(axis=0)
    far = np.abs(middle) > _FAR * columns.std(axis=0)
    if not far.any():
        return None
    shift = np.zeros(X.shape[1])
    shift[index[far]] = (middle * sizes)[far].astype(X.dtype)
    return shift


def _exponents(X: Any) -> Index | None:
    with np.errstate(over="ignore", under="ignore"):
        squares = as_operator(X).column_squares()
    odd = np.flatnonzero(~((squares > _LEAST) & (squares < _MOST)))
    if len(odd) == 0:
        return None
    columns = X[:, odd]
    sizes = np.abs(columns.toarray() if sp.issparse(columns) else columns).max(axis=0)
    exponents = np.zeros(X.shape[1], dtype=np.intp)
    exponents[odd] = np.where(sizes > 0, -np.frexp(sizes)[1], 0)
    return exponents if exponents.any() else None


def _scaled(X: Any, exponents: Index) -> Any:
    if not sp.issparse(X):
        return np.ldexp(X, exponents)
    scaled = X.copy()
    along = scaled.indices if scaled.format == "csr" else np.repeat(np.arange(X.shape[1]), np.diff(scaled.indptr))
    scaled.data = np.ldexp(scaled.data, exponents[along])
    return scaled

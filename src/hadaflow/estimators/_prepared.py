"""Training data, ready for a path: rows that count, columns brought near zero and into range; and coefficients back."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import scipy.sparse as sp
from numpy.typing import NDArray

from hadaflow._types import Float, Index, Vector
from hadaflow._validation import flag
from hadaflow.estimators._design import Design
from hadaflow.estimators._validated import column_weights, is_operator
from hadaflow.operators import as_operator

_FAR = 100.0  # standard deviations from zero: so far, centring afterwards costs digits, and steps of every solver
_SAMPLED = 8  # rows of the first look
_LIKELY = 0.25  # of that many ranges of the sample: a far column shows in any few rows
_LEAST, _MOST = 1e-250, 1e250  # square lengths beyond leave the range of doubles soon


@dataclass(frozen=True, eq=False)
class Rows:
    """Validated rows, none of them of weight zero.

    Attributes
    ----------
    X : ndarray or sparse matrix of shape (m, n), or linear operator
        Features.
    y : ndarray of shape (m,) or (m, targets)
        Targets or labels.
    weights : ndarray of shape (m,) or None
        How often each row counts; None for once.
    intercept : bool
        Whether there is one.
    feature_weights : ndarray of shape (n,) or None
        Those of the user; 0 for unpenalised.
    """

    X: Any
    y: NDArray[Any]
    weights: Vector | None
    intercept: bool
    feature_weights: Vector | None

    @property
    def total(self) -> float:
        """How many rows that are."""
        return float(len(self.y) if self.weights is None else self.weights.sum())

    @property
    def half(self) -> int:
        """Half of them."""
        return max(1, round(self.total) // 2)

    def take(self, index: Index) -> Rows:
        """Some of the rows."""
        weights = None if self.weights is None else self.weights[index]
        return replace(self, X=self.X[index], y=self.y[index], weights=weights)

    def targets(self) -> list[Rows]:
        """The rows with one target each."""
        return [self] if self.y.ndim == 1 else [replace(self, y=y) for y in self.y.T]

    def design(self) -> Design:
        """The regression that they make."""
        return Design.of(self.X, self.weights, self.intercept, self.feature_weights)


@dataclass(frozen=True, eq=False)
class Prepared:
    """What an estimator fits: rows that count, of ``(X - shift) 2^exponents``, a copy of X only where there is need.

    Attributes
    ----------
    rows : Rows
        The rows.
    kept : int array
        Which of the rows given they are.
    shift : ndarray of shape (n,) or None
        What was taken off each column; None for nothing.
    exponents : int array of shape (n,) or None
        Powers of two that came to each column; None for none.
    """

    rows: Rows
    kept: Index
    shift: Vector | None
    exponents: Index | None

    @classmethod
    def of(cls, estimator: Any, X: Any, y: NDArray[Any], weights: Vector | None) -> Prepared:
        """From validated X and y and relative weights, by the parameters that all estimators have.

        An intercept takes up any shift; without one there is none.
        """
        intercept = flag(estimator.fit_intercept, "fit_intercept")
        feature_weights = column_weights(estimator.feature_weights, X, flag(estimator.positive, "positive"))
        kept = np.arange(len(y)) if weights is None else np.flatnonzero(weights)
        if weights is not None and len(kept) < len(y):
            if is_operator(X):
                raise ValueError("sample_weight of 0 needs the rows of X, which a LinearOperator does not have")
            X, y, weights = X[kept], y[kept], weights[kept]
            weights = None if (weights == 1).all() else weights
        shift = exponents = None
        if not is_operator(X):
            shift = _shift(X) if intercept and not sp.issparse(X) else None
            X = X if shift is None else X - shift.astype(X.dtype)
            exponents = _exponents(X)
            X = X if exponents is None else _scaled(X, exponents)
        return cls(Rows(X, y, weights, intercept, feature_weights), kept, shift, exponents)

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

"""The estimators, each as someone would use it who takes defaults: data in, coefficients out.

Adapters import their package when they run, so that a missing one costs its column only. Whoever fits an intercept by
default does so here.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from machine import installed

Matrix = np.ndarray
Vector = np.ndarray

FOLDS = 5
MIXES = (0.0, 0.25, 0.5, 0.75, 1.0)
MCP_PENALTIES = 30
MCP_LEAST = 0.02  # of the penalty that lets nothing in


@dataclass(frozen=True)
class Entrant:
    """An estimator with the settings it runs under here."""

    distribution: str
    settings: str
    fit: Callable[[Matrix, Vector], Vector]

    @property
    def installed(self) -> bool:
        """Whether its package is there; ours counts once its estimators can be imported."""
        if self.distribution != "hadaflow":
            return installed(self.distribution) is not None
        try:
            import hadaflow.estimators  # noqa: F401
        except ImportError:
            return False
        return True

    @property
    def code(self) -> str:
        """What tells one state of its code from another: a version, for hadaflow a digest of its source."""
        if self.distribution == "hadaflow":
            return f"hadaflow {source_digest()}"
        return f"{self.distribution} {installed(self.distribution)}"


def source_digest() -> str:
    """Twelve digits that change whenever a line of the package does."""
    import hadaflow

    root = Path(hadaflow.__file__).parent
    digest = hashlib.sha256()
    for file in sorted(file for kind in ("*.py", "*.c") for file in root.rglob(kind)):
        digest.update(file.relative_to(root).as_posix().encode() + b"\0" + file.read_bytes())
    return digest.hexdigest()[:12]


# hadaflow


def flow(X: Matrix, y: Vector) -> Vector:
    """`SparseFlowRegressor`, all defaults."""
    from hadaflow.estimators import SparseFlowRegressor

    return np.asarray(SparseFlowRegressor().fit(X, y).coef_)


def flow_cv(X: Matrix, y: Vector) -> Vector:
    """`SparseFlowRegressorCV`, all defaults."""
    from hadaflow.estimators import SparseFlowRegressorCV

    return np.asarray(SparseFlowRegressorCV().fit(X, y).coef_)


# scikit-learn, as it is


def lasso_cv(X: Matrix, y: Vector) -> Vector:
    """The lasso."""
    from sklearn.linear_model import LassoCV

    return np.asarray(LassoCV(cv=FOLDS).fit(X, y).coef_)


def omp_cv(X: Matrix, y: Vector) -> Vector:
    """Orthogonal matching pursuit."""
    from sklearn.linear_model import OrthogonalMatchingPursuitCV

    return np.asarray(OrthogonalMatchingPursuitCV(cv=FOLDS, max_iter=_most(X)).fit(X, y).coef_)


# two-stage estimators built from scikit-learn


def adaptive_lasso(X: Matrix, y: Vector) -> Vector:
    """A second lasso, its penalty weighted by 1/|coefficient| of the first: columns scaled by |coefficient|."""
    first = np.abs(lasso_cv(X, y))
    kept = np.flatnonzero(first)
    coef = np.zeros(X.shape[1])
    if kept.size:
        coef[kept] = first[kept] * lasso_cv(X[:, kept] * first[kept], y)
    return coef


def relaxed_lasso(X: Matrix, y: Vector) -> Vector:
    """Between the lasso and least squares on its support; penalty and place between are chosen together."""
    penalties = _largest_penalty(X, y) * np.geomspace(1, 1e-3, 100)
    errors = 0.0
    for train, test in _folds(X, y):
        mean, level, lasso, refit = _relaxed_path(X[train], y[train], penalties)
        ends = [(X[test] - mean) @ coefs + level - y[test][:, None] for coefs in (refit, lasso)]
        errors += np.array([np.sum(((1 - mix) * ends[0] + mix * ends[1]) ** 2, axis=0) for mix in MIXES])
    mix, penalty = np.unravel_index(np.argmin(errors), np.shape(errors))
    _, _, lasso, refit = _relaxed_path(X, y, penalties[: penalty + 1])
    return (1 - MIXES[mix]) * refit[:, -1] + MIXES[mix] * lasso[:, -1]


def _relaxed_path(X: Matrix, y: Vector, penalties: Vector) -> tuple[Vector, float, Matrix, Matrix]:
    """Means of columns and data, then lasso and least-squares coefficients, one column a penalty."""
    from sklearn.linear_model import lasso_path

    mean, level = X.mean(axis=0), float(y.mean())
    centred = np.asfortranarray(X - mean)
    _, lasso, _ = lasso_path(centred, y - level, alphas=penalties)
    refit, known = lasso.copy(), {}
    for j in range(refit.shape[1]):
        support = np.flatnonzero(lasso[:, j])
        if not 0 < support.size < len(y) - 3:  # least squares would fit all of the data
            continue
        key = support.tobytes()
        if key not in known:
            known[key] = np.linalg.lstsq(centred[:, support], y - level)[0]
        refit[support, j] = known[key]
    return mean, level, lasso, refit


# skglm


def mcp_cv(X: Matrix, y: Vector) -> Vector:
    """The minimax concave penalty, each penalty started where the one before it ended."""
    penalties = _largest_penalty(X, y) * np.geomspace(1, MCP_LEAST, MCP_PENALTIES)
    errors = np.zeros(MCP_PENALTIES)
    for train, test in _folds(X, y):
        mean, level, coefs = _mcp_path(X[train], y[train], penalties)
        errors += np.sum(((X[test] - mean) @ coefs + level - y[test][:, None]) ** 2, axis=0)
    _, _, coefs = _mcp_path(X, y, penalties[: np.argmin(errors) + 1])
    return coefs[:, -1]


def _mcp_path(X: Matrix, y: Vector, penalties: Vector) -> tuple[Vector, float, Matrix]:
    from skglm import MCPRegression

    mean, level = X.mean(axis=0), float(y.mean())
    model = MCPRegression(gamma=3, fit_intercept=False, warm_start=True)
    _, coefs, _ = model.path(np.asfortranarray(X - mean), y - level, alphas=penalties, return_n_iter=False)
    return mean, level, coefs


# abess


def best_subset(X: Matrix, y: Vector) -> Vector:
    """Best subset by splicing, its size by the package's own information criterion."""
    from abess import LinearRegression

    return np.asarray(LinearRegression().fit(X, y).coef_)


def best_subset_to_50(X: Matrix, y: Vector) -> Vector:
    """The same, allowed as many non-zeros as orthogonal matching pursuit; by default about n / (log log n · log p)."""
    from abess import LinearRegression

    return np.asarray(LinearRegression(support_size=range(_most(X) + 1)).fit(X, y).coef_)


def best_subset_cv(X: Matrix, y: Vector) -> Vector:
    """Best subset by splicing, its size by cross-validation."""
    from abess import LinearRegression

    return np.asarray(LinearRegression(support_size=range(_most(X) + 1), cv=FOLDS).fit(X, y).coef_)


def _most(X: Matrix) -> int:
    """How many non-zeros a greedy estimator may look at: 50, or what the training part of a fold allows."""
    return min(50, X.shape[1], len(X) - len(X) // FOLDS)


def _largest_penalty(X: Matrix, y: Vector) -> float:
    return float(np.abs((X - X.mean(axis=0)).T @ (y - y.mean())).max()) / len(y)


def _folds(X: Matrix, y: Vector) -> Iterator[tuple[Vector, Vector]]:
    from sklearn.model_selection import KFold

    return KFold(FOLDS).split(X, y)


ENTRANTS = {
    "hadaflow": Entrant("hadaflow", "SparseFlowRegressor(), all defaults", flow),
    "hadaflow CV": Entrant("hadaflow", "SparseFlowRegressorCV(), all defaults", flow_cv),
    "LassoCV": Entrant(
        "scikit-learn", "LassoCV(cv=5), else defaults: 100 penalties down to 0.001 of the largest", lasso_cv
    ),
    "OMP CV": Entrant("scikit-learn", "OrthogonalMatchingPursuitCV(cv=5, max_iter=50)", omp_cv),
    "relaxed lasso": Entrant(
        "scikit-learn",
        "lasso_path with 100 penalties down to 0.001 of the largest and least squares on the supports, mixed by "
        "0, 0.25, 0.5, 0.75 or 1; penalty and mix by 5 folds; centred",
        relaxed_lasso,
    ),
    "adaptive lasso": Entrant(
        "scikit-learn",
        "LassoCV(cv=5), then LassoCV(cv=5) with weights 1/|coefficient| on its support; as usual, the weights are of "
        "all data, so that the second cross-validation takes too small a penalty",
        adaptive_lasso,
    ),
    "MCP CV": Entrant(
        "skglm",
        "MCPRegression(gamma=3), warm-started path of 30 penalties down to 0.02 of the largest, penalty by 5 folds, "
        "centred; compiled before the clock starts",
        mcp_cv,
    ),
    "abess": Entrant(
        "abess",
        "LinearRegression(), all defaults: size by EBIC, at most n / (log log n · log p), here 18 and 34",
        best_subset,
    ),
    "abess to 50": Entrant("abess", "LinearRegression(support_size=range(51)): size by EBIC", best_subset_to_50),
    "abess CV": Entrant("abess", "LinearRegression(support_size=range(51), cv=5)", best_subset_cv),
}
OURS = tuple(name for name, entrant in ENTRANTS.items() if entrant.distribution == "hadaflow")

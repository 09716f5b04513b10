"""Sparse linear regression, stopped where rows that were left out say."""

from __future__ import annotations

import itertools
import numbers
from collections.abc import Iterator
from typing import Any

import numpy as np
import scipy.sparse as sp
from numpy.typing import NDArray
from sklearn.base import BaseEstimator, MultiOutputMixin, RegressorMixin
from sklearn.model_selection import check_cv

from hadaflow._renamed import renamed
from hadaflow._types import Vector
from hadaflow._validation import callback, flag, one_of, positive_number, whole_number
from hadaflow.estimators._callbacks import CallbackSupportMixin, subtasks, with_callbacks
from hadaflow.estimators._cross_validation import Fold, Rows
from hadaflow.estimators._cv_fit import CrossValidatedFit, Settings, followers_of, reason_of, several, warn_of
from hadaflow.estimators._fold_search import FoldSearch
from hadaflow.estimators._linear_prediction import LinearPrediction, feature_lengths, least_squares
from hadaflow.estimators._prepared import Prepared
from hadaflow.estimators._readings import Reading
from hadaflow.estimators._regressor import SparseFlowRegressor
from hadaflow.estimators._validated import (
    column_weights,
    is_operator,
    prepared_data,
    row_weights,
    scalar,
    training_data,
)
from hadaflow.problems import Problem
from hadaflow.results import Status

#: Shares of the iterate in what is read out; the running average at the same time has the rest.
READ_OUTS = {"mixture": (0.0, 0.25, 0.5, 0.75, 1.0), "iterate": (1.0,), "average": (0.0,)}


class SparseFlowRegressorCV(CallbackSupportMixin, MultiOutputMixin, RegressorMixin, LinearPrediction, BaseEstimator):  # type: ignore[misc]
    """Sparse linear regression by gradient flow, with the stopping time, and more, chosen by cross-validation.

    One path per fold gives the errors on the rows left out at all times, for the iterate, for the running average and
    for mixtures of both; the path on all data is then read off where their mean is smallest. See
    :class:`hadaflow.estimators.SparseFlowRegressor` for the dynamics, and for a choice without folds.

    Parameters
    ----------
    dynamics : {"auto", "saddles", "flow", "descend"}, default "auto"
        What is followed: the saddle path (the fastest by far), gradient flow, or gradient descent. "auto" is
        "saddles", or "flow" where depth or init_scale is given.
    depth : float or list of floats, optional
        Depth D of the model of "flow" and "descend", at least 2; default 3. Of a list the best is chosen.
    init_scale : float or list of floats, optional
        Start a of every factor entry; default: product scale ``a^D`` 1e-8 times the largest coefficient that one
        feature alone would have. Of a list the best is chosen.
    read_out : {"mixture", "iterate", "average"}, default "mixture"
        What is read off at a time: the iterate, nearly unbiased; the running average, close to the lasso at penalty
        1/time; or shares 0, 1/4, 1/2, 3/4, 1 of the iterate with the rest of the average, whichever is best.
    rule : {"min", "one_se"}, default "min"
        The smallest mean error, or the earliest time (the simplest model) within one standard error of it, at the same
        share, depth and init_scale.
    cv : int, splitter of scikit-learn or iterable of (train, test), optional
        How rows are left out; default five folds in the order of the rows.
    n_times : int, default 100
        Times compared, evenly spread in log-time.
    fit_intercept, positive, feature_weights, refit
        As in :class:`hadaflow.estimators.SparseFlowRegressor`. ``refit`` comes after the choice.
    n_jobs : int, optional
        Processes that share the folds (joblib); on one machine the result is the same to the last bit.
    progress : callable, optional
        Called with a :class:`hadaflow.Progress` after each fold, and on the path on all data.

    Attributes
    ----------
    coef_ : ndarray of shape (n_features,) or (n_targets, n_features)
        Coefficients, with exact zeros.
    intercept_ : float or ndarray of shape (n_targets,)
        Intercept.
    support_ : ndarray of bool, of the shape of ``coef_``
        Where the coefficients are not zero.
    stop_time_, best_fraction_ : float
        When ``path_`` was read off, and the share of the iterate.
    depth_, init_scale_ : float or None
        Those chosen; None on the saddle path.
    times_ : ndarray of shape (n_candidates, n_times)
        Times compared, in time of ``path_``. Candidates are the pairs of depth and init_scale, depth by depth; one on
        the saddle path.
    errors_ : ndarray of shape (n_candidates, n_times, n_shares, n_folds)
        Mean squared errors (weighted by sample_weight) on the rows left out; infinite where the path of a fold broke
        off before: such times are not compared.
    mean_errors_, standard_errors_ : ndarray of shape (n_candidates, n_times, n_shares)
        Their mean over the folds, and its standard error.
    shares_ : tuple of float
        Shares of the iterate that were compared.
    reason_, status_, n_iter_, path_, certificate_, dynamics_, n_features_in_, feature_names_in_
        As in :class:`hadaflow.estimators.SparseFlowRegressor`. For several targets, each of which is fitted by itself,
        the first five and all of the above but ``coef_``, ``intercept_``, ``support_`` and ``shares_`` are lists.

    Raises
    ------
    TypeError, ValueError
        From ``fit``, if a parameter has the wrong kind or range or excludes another, or X, y, sample_weight or groups
        are not what scikit-learn takes. X has to have rows: it cannot be a LinearOperator.

    Warns
    -----
    ConvergenceWarning
        If the error is smallest at the last time compared although the path goes on, or rounding ended the path because
        features nearly depend on others.

    See Also
    --------
    SparseFlowRegressor : the same without folds.

    Notes
    -----
    The cost is one path per fold and one on all data (and a saddle path, for "flow" and "descend", to see how far to
    go). Features count by the lengths of their columns in all data, so that the paths of all folds run on one clock: a
    fold with a part p of the rows is at time t / p where all data are at t; on the saddle path a feature of which the
    fold has a larger part (an event of a few rows, all of them there) runs slower by as much. Of equal errors, those of
    one plateau, the latest counts. Paths are followed to half as many active
    features as there are rows, and again to their end if the error is smallest there. Source: docs/mathematics.md,
    "The average and the lasso".

    Examples
    --------
    >>> import numpy as np
    >>> from hadaflow.estimators import SparseFlowRegressorCV
    >>> rng = np.random.default_rng(0)
    >>> X = rng.standard_normal((100, 400))
    >>> y = 1 + X[:, 0] - X[:, 1] + 0.5 * rng.standard_normal(100)
    >>> model = SparseFlowRegressorCV(rule="one_se").fit(X, y)
    >>> np.flatnonzero(model.support_), model.best_fraction_, round(model.intercept_, 1)
    (array([0, 1]), 1.0, 1.0)
    """

    def __init__(
        self,
        *,
        dynamics: str = "auto",
        depth: Any = None,
        init_scale: Any = None,
        read_out: str = "mixture",
        rule: str = "min",
        cv: Any = None,
        n_times: int = 100,
        fit_intercept: bool = True,
        positive: bool = False,
        feature_weights: Any = None,
        refit: bool = False,
        n_jobs: int | None = None,
        progress: Any = None,
    ) -> None:
        self.dynamics = dynamics
        self.depth = depth
        self.init_scale = init_scale
        self.read_out = read_out
        self.rule = rule
        self.cv = cv
        self.n_times = n_times
        self.fit_intercept = fit_intercept
        self.positive = positive
        self.feature_weights = feature_weights
        self.refit = refit
        self.n_jobs = n_jobs
        self.progress = progress

    @with_callbacks  # type: ignore[untyped-decorator]
    def fit(self, X: Any, y: Any, sample_weight: Any = None, groups: Any = None) -> SparseFlowRegressorCV:
        """Choose by cross-validation, and fit all data.

        Parameters
        ----------
        X : array_like or sparse matrix of shape (m, n)
            Features.
        y : array_like of shape (m,) or (m, n_targets)
            Targets; each is fitted by itself.
        sample_weight : array_like of shape (m,), optional
            What each row counts, not negative, in training and in the errors on rows left out: counts if whole numbers,
            else relative to one another.
        groups : array_like of shape (m,), optional
            Groups of rows, for splitters that keep them together.

        Returns
        -------
        self
        """
        settings = self._settings()
        if is_operator(X):
            raise ValueError(
                "cross-validation leaves out rows of X, which a LinearOperator does not have: take SparseFlowRegressor"
            )
        X, y = training_data(self, X, y)
        X = X.tocsr() if sp.issparse(X) else X
        weights = row_weights(sample_weight, len(y))
        given = column_weights(self.feature_weights, X.shape[1])
        prepared = prepared_data(X, bool(self.fit_intercept))
        folds = self._folds(X, y, weights, groups)
        targets = [y] if y.ndim == 1 else list(y.T)
        tasks = subtasks(self, list(range(len(folds) * len(targets))), "fold", X, y)
        fits = []
        for target in targets:
            rows = Rows(prepared.X, target, weights, bool(self.fit_intercept), given)
            fits.append(self._fit_target(prepared, rows, folds, settings, tasks))
        next(tasks, None)  # the end of the last
        self._keep(fits, single=y.ndim == 1)
        self.dynamics_, self.shares_ = settings.dynamics, settings.shares
        return self

    def _fit_target(
        self, prepared: Prepared, rows: Rows, folds: list[Fold], settings: Settings, tasks: Iterator[int]
    ) -> CrossValidatedFit:
        positive = bool(self.positive)
        whole = rows.take(np.arange(len(rows.y)))
        design = SparseFlowRegressor._design(self, whole.X, whole.weights, whole.feature_weights)
        problem = Problem(design.operator, design.target(whole.y))
        weights = feature_lengths(design)
        if rows.feature_weights is not None:
            weights = weights * rows.feature_weights[design.split.penalised]
        followers = followers_of(problem, weights, settings, positive)
        shares, count = settings.shares, settings.count
        found = FoldSearch(rows, folds, followers, shares, count, self.rule, self.n_jobs, self.progress).run(
            problem, tasks
        )
        warn_of(found)
        best = found.best
        share = shares[found.choice.share]
        path, points, dual = best.follower.arrive(problem, best.horizon, found.time)
        x = points.mixed(0, share, problem.shape[1]).astype(problem.dtype)
        steps = best.horizon.steps
        reading = Reading(x, path, found.time, Status.STOPPED, reason_of(found, share), None, steps, dual)
        kept = least_squares(problem, x, positive) if self.refit else x
        coef, intercept = prepared.back(*design.coefficients(kept, whole.y))
        return CrossValidatedFit(
            found, reading, coef, intercept, reading.certificate(problem, weights, positive), share
        )

    def _folds(self, X: Any, y: NDArray[Any], weights: Vector | None, groups: Any) -> list[Fold]:
        """Rows to train on and rows left out, as indices."""
        if isinstance(self.cv, numbers.Number):
            whole_number(self.cv, "cv", minimum=2)
        if groups is not None and len(groups) != len(y):
            raise ValueError(f"groups must have one entry per row of X ({len(y)}), got {len(groups)}")
        count = np.arange(len(y))
        folds = [(count[train], count[test]) for train, test in check_cv(self.cv).split(X, y, groups)]
        if not folds:
            raise ValueError(
                "cv leaves out nothing: it has to give at least one pair of rows to train on and rows to test on"
            )
        for k, fold in enumerate(folds):
            for index, purpose in zip(fold, ("train", "test"), strict=True):
                if len(index) == 0 or (weights is not None and not weights[index].any()):
                    raise ValueError(
                        f"fold {k} of cv has no rows to {purpose} on (of positive sample_weight): take fewer folds, "
                        f"or another splitter"
                    )
        return folds

    def _keep(self, fits: list[CrossValidatedFit], single: bool) -> None:
        self.coef_ = fits[0].coef if single else np.stack([fit.coef for fit in fits])
        intercepts = [fit.intercept for fit in fits]
        self.intercept_ = (
            scalar(intercepts[0], self.coef_.dtype) if single else np.array(intercepts, dtype=self.coef_.dtype)
        )
        self.support_ = self.coef_ != 0
        weights = self.feature_weights
        self.path_features_ = np.flatnonzero(np.ones(self.n_features_in_) if weights is None else weights)
        of_each = [fit.attributes() for fit in fits]
        for name, value in of_each[0].items():
            setattr(self, name, value if single else [each[name] for each in of_each])

    def _settings(self) -> Settings:
        one_of(self.dynamics, "dynamics", ("auto", "saddles", "flow", "descend"))
        one_of(self.read_out, "read_out", READ_OUTS)
        one_of(self.rule, "rule", ("min", "one_se"))
        count = whole_number(self.n_times, "n_times", minimum=2)
        for name in ("fit_intercept", "positive", "refit"):
            flag(getattr(self, name), name)
        callback(self.progress, "progress")
        if self.n_jobs is not None and (not isinstance(self.n_jobs, numbers.Integral) or self.n_jobs == 0):
            raise ValueError(
                f"n_jobs must be None or a whole number other than 0 (-1 for all cores), got {self.n_jobs!r}"
            )
        trained = self.depth is not None or self.init_scale is not None
        dynamics = ("flow" if trained else "saddles") if self.dynamics == "auto" else self.dynamics
        if dynamics == "saddles":
            for name, value in (("depth", self.depth), ("init_scale", self.init_scale)):
                if value is not None:
                    raise ValueError(
                        f'{name} belongs to dynamics="flow" and "descend", got {name}={value!r} with '
                        f'dynamics="saddles", whose start vanishes: leave one of them out'
                    )
        depths = [
            positive_number(each, "depth", minimum=2.0, strict=False) for each in several(self.depth, "depth", 3.0)
        ]
        scales = [
            None if each is None else positive_number(each, "init_scale")
            for each in several(self.init_scale, "init_scale", None)
        ]
        return Settings(dynamics, list(itertools.product(depths, scales)), READ_OUTS[self.read_out], count)

    @property
    def best_share_(self) -> Any:
        """The old name of ``best_fraction_``."""
        return renamed("best_share_", "best_fraction_", self.best_fraction_)

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.input_tags.sparse = True
        return tags

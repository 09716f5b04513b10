"""Sparse linear regression, stopped where rows that were left out say."""

from __future__ import annotations

import itertools
from typing import Any

from sklearn.base import BaseEstimator, MultiOutputMixin, RegressorMixin

from hadaflow._renamed import renamed
from hadaflow._validation import callback, flag, one_of, positive_number, whole_number
from hadaflow.estimators._callbacks import CallbackSupportMixin, with_callbacks
from hadaflow.estimators._cv_fit import Settings, attributes_of, followers_of, reason_of, several, warn_of
from hadaflow.estimators._feature_groups import FeatureGroups
from hadaflow.estimators._fold_search import FoldSearch, FoldSearchResult
from hadaflow.estimators._folds import Folds
from hadaflow.estimators._group_folds import cross_validated_groups
from hadaflow.estimators._grouped import GroupedDesign
from hadaflow.estimators._linear_prediction import LinearFit, LinearPrediction, Regression, dynamics_of
from hadaflow.estimators._prepared import Prepared, Rows
from hadaflow.estimators._readings import Reading
from hadaflow.estimators._validated import is_operator, row_weights, training_data
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
        How rows are left out; default five folds in the order of the rows. Rows of weight 0 are as if absent, and so is
        a fold that has no others to train on or to test on.
    n_times : int, default 100
        Times compared, evenly spread in log-time.
    fit_intercept, positive, feature_weights, feature_groups, group_weights, joint, refit
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
    group_support_ : ndarray of bool of shape (n_groups,) or (n_targets, n_groups)
        The same of groups; there only with ``feature_groups`` or ``joint``.
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
    features as there are rows, and again to their end if the error is smallest there. With ``feature_groups`` or
    ``joint`` the group lasso at penalty 1/time stands for the average, and least squares on its groups for the iterate;
    errors of joint targets count in units of the size of each. Source: docs/mathematics.md,
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
        feature_groups: Any = None,
        group_weights: Any = "sqrt_size",
        joint: bool = False,
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
        self.feature_groups = feature_groups
        self.group_weights = group_weights
        self.joint = joint
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
        X, y = training_data(self, X, y, formats="csr")
        of_features = FeatureGroups.of(self, X)
        prepared = Prepared.of(self, X, y, row_weights(sample_weight, len(y)))
        found: list[FoldSearchResult]
        if of_features is None:
            design, targets = prepared.rows.design(), prepared.rows.targets()
            folds = Folds.of(self, (X, y, groups), prepared, len(targets))
            each = [self._fit_target(Regression(prepared, design, rows), rows, folds, settings) for rows in targets]
            fits, found = [fit for fit, _ in each], [result for _, result in each]
        else:
            grouped = GroupedDesign.of(prepared, of_features)
            design, parts = grouped.design, grouped.parts(self.joint)
            folds = Folds.of(self, (X, y, groups), grouped.prepared, len(parts))
            several = [cross_validated_groups(grouped, part, folds, settings, self.rule, self.refit) for part in parts]
            fits, found = [fit for part, _ in several for fit in part], [result for _, result in several]
        next(folds.tasks, None)  # the end of the last
        for result in found:
            warn_of(result)
        self._keep(fits, single=y.ndim == 1, groups=None if of_features is None else of_features.labels)
        self.path_features_ = design.split.penalised
        self.dynamics_, self.shares_ = settings.dynamics, settings.shares
        return self

    def _fit_target(
        self, regression: Regression, rows: Rows, folds: Folds, settings: Settings
    ) -> tuple[LinearFit, FoldSearchResult]:
        problem, positive = regression.problem, bool(self.positive)
        followers = followers_of(problem, regression.weights, settings, positive)
        found = FoldSearch(rows, folds, followers, settings.shares, settings.count, self.rule).run(problem)
        best, share = found.best, settings.shares[found.choice.share]
        path, points, dual = best.follower.arrive(problem, best.horizon, found.time)
        x = points.mixed(0, share, problem.shape[1]).astype(problem.dtype)
        steps = best.horizon.steps
        reading = Reading(x, path, found.time, Status.STOPPED, reason_of(found, share), None, steps, dual)
        more = attributes_of(found) | {"best_fraction_": share}
        return regression.fit(reading, positive=positive, refit=self.refit, **more), found

    def _settings(self) -> Settings:
        dynamics = dynamics_of(self)
        one_of(self.read_out, "read_out", READ_OUTS)
        one_of(self.rule, "rule", ("min", "one_se"))
        count = whole_number(self.n_times, "n_times", minimum=2)
        flag(self.refit, "refit")
        callback(self.progress, "progress")
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

"""Sparse logistic classification by gradient flow."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.special import log_expit, logsumexp
from sklearn.base import BaseEstimator
from sklearn.linear_model._base import LinearClassifierMixin, SparseCoefMixin

from hadaflow._types import Vector
from hadaflow._validation import callback, flag, one_of, positive_number
from hadaflow.estimators._callbacks import CallbackSupportMixin, subtasks, with_callbacks
from hadaflow.estimators._folds import Folds
from hadaflow.estimators._logistic import LogisticFit, LogisticOptions, Run
from hadaflow.estimators._prepared import Prepared
from hadaflow.estimators._read_offs import read_off
from hadaflow.estimators._validated import row_weights, training_data, warn_if_not_ok
from hadaflow.estimators._weights import reweighted
from hadaflow.selection import criterion_prices
from hadaflow.stopping import Rule

_STOPS = ("auto", "criterion", "null_gradient", "plateau", "end")
_PRODUCT_SCALE = 1e-4  # in log odds: small beside coefficients that matter, and a tenth of the cost of 1e-8


class SparseFlowClassifier(CallbackSupportMixin, LinearClassifierMixin, SparseCoefMixin, BaseEstimator):  # type: ignore[misc]
    """Sparse logistic classification by gradient flow on an overparameterised model, stopped early.

    Follows ``sum_j w_j log(1 + exp(-y_j (x_j^T coef + intercept)))`` downhill, labels y being -1 and +1, from a small
    start of the model ``coef = u^D - v^D`` (``u^D`` if ``positive``): features come in one after the other, the most
    useful first, and those that have not come in are exactly zero. Two classes take one such path, more of them one per
    class against the rest.

    Parameters
    ----------
    dynamics : {"auto", "flow", "descend"}, default "auto"
        What is followed: gradient flow ("auto"), or gradient descent.
    depth : float, default 3
        Depth D of the model, at least 2.
    init_scale : float, optional
        Start a of every factor entry, for features of root mean square 1 (about their mean): ``a^D`` in log odds.
        Default: product scale ``a^D = 1e-4``.
    stop : str or rule out of ``hadaflow.stopping``, default "auto"
        Where the coefficients are read off.

        - "auto": at the time of the smallest cross-validated log loss, from one path per fold.
        - "criterion": the support on the path with the smallest information criterion, with maximum likelihood on it.
          Needs no folds, and about a fifth of the time; better where signals are strong, worse where they are weak. Of
          features that explain each other the first stay.
        - "null_gradient": no gradient left that noise alone would not make, ``sqrt(2 log n)`` of its standard
          deviations.
        - "plateau": where x has stayed the same while flow time doubled.
        - "end": where nothing moves any more. Separable labels have no such place: there the path ends when all of them
          are fitted to within 1e-4 of the first gradient, log odds of about 9, and ``reason_`` says so. So do all other
          paths.
        - A rule. It sees the path on features of root mean square 1, followed by the free directions.
    cv : int, cross-validation splitter or iterable of splits, default 5
        Folds of "auto"; a number gives stratified ones, no more of them than the smallest class has rows. Rows of
        weight 0 are as if absent, and so is a fold that has no others to train on or to test on.
    criterion : {"ebic", "fdr", "bic", "aic"}, default "ebic"
        Prices of features in "criterion" (:func:`hadaflow.criterion_prices`), on top of ``-2 log likelihood``.
    fit_intercept : bool, default True
        Whether to fit an intercept; it is not penalised, and sparse X stays sparse.
    positive : bool, default False
        Whether the coefficients (not the intercept) must not be negative.
    feature_weights : array_like of shape (n_features,), optional
        Weights of the features by their start: heavier ones come in later. 0 leaves a feature unpenalised: like the
        intercept it has a large start, and follows the others with hardly any delay.
    class_weight : {"balanced"} or dict, optional
        Weights of the classes, on top of ``sample_weight``; "balanced" gives each class the same weight in all.
    refit : bool, default False
        Whether to replace the coefficients by maximum likelihood on their support; where that does not exist, they
        stay.
    n_jobs : int, optional
        Processes that share the folds (joblib); on one machine the result is the same to the last bit.
    progress : callable, optional
        Called now and then with a :class:`hadaflow.Progress`, in "auto" after each fold too.

    Attributes
    ----------
    classes_ : ndarray of shape (n_classes,)
        The labels.
    coef_ : ndarray of shape (1, n_features) or (n_classes, n_features)
        Coefficients, in log odds of ``classes_[1]``, or of each class against the rest. For features of root mean
        square 1, entries at or below the geometric mean of product scale and largest entry are exactly zero; all are,
        while the largest is below the root of the product scale.
    intercept_ : ndarray of shape (1,) or (n_classes,)
        Intercepts.
    support_ : ndarray of bool, of the shape of ``coef_``
        Where the coefficients are not zero.
    stop_time_, status_, reason_, n_iter_
        Flow time at which the path was read off; the :class:`hadaflow.Status` of the path; why there; steps of the
        path. Lists for more than two classes.
    times_ : ndarray of shape (n_times,)
        Times compared by "auto", in time of ``path_``.
    errors_ : ndarray of shape (n_times, n_folds)
        Log losses per row (weighted by sample_weight and class_weight) on the rows left out.
    mean_errors_ : ndarray of shape (n_times,)
        Their mean over all rows left out. These three are there with "auto" alone, and lists for more than two classes.
    path_ : FlowPath or Trajectory, or a list of them
        The path on all data: on penalised features of root mean square 1, about their mean if there is an intercept,
        followed by free directions of the same size. It holds on to the training data.
    path_features_ : ndarray of int
        Which features the coordinates of the path are; -1 for free directions.
    n_features_in_, feature_names_in_
        As in scikit-learn.

    Raises
    ------
    TypeError, ValueError
        From ``fit``, if a parameter has the wrong kind or range, X, y, sample_weight or groups are not what
        scikit-learn takes, y has one class only, or the rows that a fold trains on do not show every class.

    Warns
    -----
    ConvergenceWarning
        If ``status_`` is not ok: steps ran out.

    See Also
    --------
    hadaflow.losses.Logistic : the loss.
    SparseFlowRegressor : sparse regression.

    Notes
    -----
    Whole row weights count repetitions ("descend": to about 1e-5, as rounding decides over steps); others, and those of
    classes, are relative, as in :class:`hadaflow.estimators.SparseFlowRegressor`. "auto" takes one path
    per class and fold, and one more: some hundred steps of the integrator each, of about ten passes over X; folds are
    compared in flow time per row. Free directions are orthogonal to the penalised features in the weighted rows, and
    start at product scale 3. They follow the others with a delay that leaves the intercept some thousandths of a unit
    of log odds behind its maximum likelihood (measured). Features are centred and scaled through products, so that
    sparse X stays sparse. Source: docs/mathematics.md, "Losses".

    Examples
    --------
    >>> import numpy as np
    >>> from hadaflow.estimators import SparseFlowClassifier
    >>> rng = np.random.default_rng(2)
    >>> X = rng.standard_normal((200, 50))
    >>> y = np.where(2 * X[:, 0] - 2 * X[:, 1] + rng.logistic(size=200) > 0, "yes", "no")
    >>> model = SparseFlowClassifier(stop="criterion").fit(X, y)
    >>> np.flatnonzero(model.support_), model.coef_[0, :2].round(1)
    (array([0, 1]), array([ 2. , -1.9]))
    """

    def __init__(
        self,
        *,
        dynamics: str = "auto",
        depth: float = 3,
        init_scale: float | None = None,
        stop: str | Rule = "auto",
        cv: Any = 5,
        criterion: str = "ebic",
        fit_intercept: bool = True,
        positive: bool = False,
        feature_weights: Any = None,
        class_weight: Any = None,
        refit: bool = False,
        n_jobs: int | None = None,
        progress: Any = None,
    ) -> None:
        self.dynamics = dynamics
        self.depth = depth
        self.init_scale = init_scale
        self.stop = stop
        self.cv = cv
        self.criterion = criterion
        self.fit_intercept = fit_intercept
        self.positive = positive
        self.feature_weights = feature_weights
        self.class_weight = class_weight
        self.refit = refit
        self.n_jobs = n_jobs
        self.progress = progress

    @with_callbacks  # type: ignore[untyped-decorator]
    def fit(self, X: Any, y: Any, sample_weight: Any = None, groups: Any = None) -> SparseFlowClassifier:
        """Fit the model.

        Parameters
        ----------
        X : array_like or sparse matrix of shape (m, n)
            Features.
        y : array_like of shape (m,)
            Labels, of two or more classes.
        sample_weight : array_like of shape (m,), optional
            What each row counts, not negative; a common factor does not matter, unless it turns
            counts into other numbers.
        groups : array_like of shape (m,), optional
            Groups of rows, for splitters that keep them together; "auto" alone leaves rows out.

        Returns
        -------
        self
        """
        options, refit = self._options(), flag(self.refit, "refit")
        X, y = training_data(self, X, y, labels=True, formats="csr")
        prepared = Prepared.of(self, X, y, self._row_weights(y, sample_weight))
        rows = prepared.rows
        self.classes_ = np.unique(rows.y)
        if len(self.classes_) < 2:
            raise ValueError(
                f"{type(self).__name__} needs rows of at least 2 classes with positive weight, but y has 1 class: "
                f"{self.classes_[0]!s}"
            )
        names = list(self.classes_[1:] if len(self.classes_) == 2 else self.classes_)
        folds = Folds.of(self, (X, y, groups), prepared, len(names)) if options.stop == "auto" else None
        fits = []
        for name in subtasks(self, names, "class", X, y) if folds is None else names:
            run = Run(replace(rows, y=np.where(rows.y == name, 1.0, -1.0).astype(X.dtype)), options)
            fits.append((read_off(run, folds, refit), run))
        if folds is not None:
            next(folds.tasks, None)  # the end of the last
        self._keep(fits, prepared, X.dtype)
        warn_if_not_ok(self, [fit.status for fit, _ in fits])
        return self

    def predict_log_proba(self, X: Any) -> NDArray[Any]:
        """Logarithms of the probabilities of the classes.

        Parameters
        ----------
        X : array_like or sparse matrix of shape (k, n)
            Rows to predict for.

        Returns
        -------
        ndarray of shape (k, n_classes)
            In the order of ``classes_``; with more than two of them each against the rest, normalised.
        """
        odds = self.decision_function(X)
        if odds.ndim == 1:
            return np.column_stack([log_expit(-odds), log_expit(odds)])
        logs = log_expit(odds)
        return np.asarray(logs - logsumexp(logs, axis=1, keepdims=True))

    def predict_proba(self, X: Any) -> NDArray[Any]:
        """Probabilities of the classes.

        Parameters
        ----------
        X : array_like or sparse matrix of shape (k, n)
            Rows to predict for.

        Returns
        -------
        ndarray of shape (k, n_classes)
            In the order of ``classes_``; with more than two of them each against the rest, normalised.
        """
        return np.asarray(np.exp(self.predict_log_proba(X)))

    def _keep(self, fits: list[tuple[LogisticFit, Run]], prepared: Prepared, dtype: Any) -> None:
        rows = [prepared.back(*run.features.coefficients(fit.x)) for fit, run in fits]
        self.coef_ = np.stack([coef for coef, _ in rows]).astype(dtype)
        self.intercept_ = np.array([intercept for _, intercept in rows], dtype=dtype)
        self.support_ = self.coef_ != 0
        self.path_features_ = fits[0][1].features.path_features
        for name, attribute in _KEPT.items():
            values = [getattr(fit, attribute) for fit, _ in fits]
            if values[0] is None:  # nothing was compared
                self.__dict__.pop(name, None)  # of an earlier fit
            else:
                setattr(self, name, values[0] if len(values) == 1 else values)

    def _row_weights(self, y: NDArray[Any], sample_weight: Any) -> Vector | None:
        """Weights of rows and classes together; None if all are 1."""
        from sklearn.utils.class_weight import compute_class_weight

        weights = row_weights(sample_weight, len(y))
        if self.class_weight is None:
            return weights
        weights = np.ones(len(y)) if weights is None else weights
        named = isinstance(self.class_weight, str) and self.class_weight == "balanced"
        if not named and not isinstance(self.class_weight, dict):
            raise ValueError(f"class_weight must be 'balanced', a dict or None, got {self.class_weight!r}")
        classes, place = np.unique(y, return_inverse=True)
        if isinstance(self.class_weight, dict):
            factors = compute_class_weight(self.class_weight, classes=classes, y=y)
            if factors.min() < 0:
                raise ValueError(f"class_weight must not be negative, got {self.class_weight!r}")
        else:
            totals = np.bincount(place, weights)
            present = totals > 0
            factors = np.divide(weights.sum() / present.sum(), totals, out=np.zeros_like(totals), where=present)
        if not (weights * factors[place]).any():
            raise ValueError(
                "class_weight and sample_weight leave no row with a positive weight: there is nothing to fit"
            )
        return reweighted(weights, factors[place])

    def _options(self) -> LogisticOptions:
        """The parameters, checked, with what follows from "auto"."""
        one_of(self.dynamics, "dynamics", ("auto", "flow", "descend"))
        if not isinstance(self.stop, Rule):
            one_of(self.stop, "stop", _STOPS)
        callback(self.progress, "progress")
        depth, scale = positive_number(self.depth, "depth", minimum=2.0, strict=False), self.init_scale
        criterion_prices(1, 1, criterion=self.criterion)  # type: ignore[arg-type]  # checks the name
        return LogisticOptions(
            dynamics="flow" if self.dynamics == "auto" else self.dynamics,
            depth=depth,
            init_scale=_PRODUCT_SCALE ** (1 / depth) if scale is None else positive_number(scale, "init_scale"),
            stop=self.stop,
            criterion=self.criterion,  # type: ignore[arg-type]
            positive=flag(self.positive, "positive"),
            progress=self.progress,
        )

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.input_tags.sparse = True
        return tags


_KEPT = {
    "path_": "path",
    "stop_time_": "time",
    "status_": "status",
    "reason_": "reason",
    "n_iter_": "steps",
    "times_": "times",
    "errors_": "errors",
    "mean_errors_": "mean_errors",
}

"""Sparse linear regression with nothing to tune."""

from __future__ import annotations

from typing import Any

from sklearn.base import BaseEstimator, MultiOutputMixin, RegressorMixin

from hadaflow._validation import flag, one_of, positive_number
from hadaflow.estimators._callbacks import CallbackSupportMixin, subtasks, with_callbacks
from hadaflow.estimators._design import Design
from hadaflow.estimators._feature_groups import FeatureGroups
from hadaflow.estimators._group_selection import selected_groups
from hadaflow.estimators._grouped import GroupedDesign
from hadaflow.estimators._linear_prediction import LinearFit, LinearPrediction, Regression, dynamics_of
from hadaflow.estimators._prepared import Prepared
from hadaflow.estimators._readings import SADDLE_STOPS, TRAINING_STOPS, ReadingOptions, read
from hadaflow.estimators._validated import noise_size, row_weights, training_data, warn_if_not_ok
from hadaflow.selection import criterion_prices
from hadaflow.stopping import Rule


class SparseFlowRegressor(CallbackSupportMixin, MultiOutputMixin, RegressorMixin, LinearPrediction, BaseEstimator):  # type: ignore[misc]
    """Sparse linear regression by gradient flow on an overparameterised model, stopped where the noise begins.

    Follows ``1/2 sum_j w_j (x_j^T coef + intercept - y_j)^2`` downhill from a vanishing start ("saddles") or from a
    small one ("flow", "descend") and reads the coefficients off the path where ``stop`` says. The default needs no
    number from the user: see :func:`hadaflow.select`, which chooses without cross-validation and says why in
    ``reason_``.

    Parameters
    ----------
    dynamics : {"auto", "saddles", "flow", "descend"}, default "auto"
        What is followed: the saddle path (the start vanishes; exact, the fastest), gradient flow, or gradient descent.
        "auto" is "saddles", or "flow" where depth or init_scale is given.
    depth : float, optional
        Depth D of the model ``u^D - v^D`` of "flow" and "descend", at least 2; default 3.
    init_scale : float, optional
        Start a of every factor entry, in units of ``coef^(1/depth)``; default: product scale ``a^D`` 1e-8 times the
        largest coefficient that one feature alone would have.
    stop : str or rule out of ``hadaflow.stopping``, default "auto"
        Where the coefficients are read off.

        - "auto": on the saddle path the selected model or the running average, whichever can be expected to predict
          better (:func:`hadaflow.select`); in training the discrepancy principle.
        - "criterion": the selected model (saddle path only).
        - "discrepancy": residual within the noise, ``sigma sqrt(rows)``.
        - "null_gradient": no gradient left that noise would not make, ``sigma sqrt(2 log n)`` per unit of column
          length.
        - "plateau": the plateau that lasts longest in log-time (the end, if fewer entries than rows fit y there).
        - "end": the end of the path, which interpolates if it can.

          Descent gives up after 100 000 steps; ``status_`` says so.
        - A rule, for "flow" and "descend".
    sigma : float, optional
        Standard deviation of the noise in one measurement, in units of y, for "discrepancy" and "null_gradient";
        estimated from the selected model if not given.
    criterion : {"fdr", "ebic", "bic", "aic"}, default "fdr"
        Information criterion of the selected model (:func:`hadaflow.criterion_prices`).
    chance : float, default 0.01
        Level of "fdr": about the share of selected features that may be false.
    fit_intercept : bool, default True
        Whether to fit an intercept; it is not penalised, and sparse X stays sparse.
    positive : bool, default False
        Whether the coefficients (not the intercept) must not be negative.
    feature_weights : array_like of shape (n_features,), optional
        Weights of the features in the l1 norm that the flow makes small, by their start; 0 leaves a feature
        unpenalised. On top of them each feature counts by the length of its (centred) column, so that units do not
        matter.
    feature_groups : int, array_like of shape (n_features,), or sequence of sequences, optional
        Features that come in together or not at all: a size of consecutive ones, a label for each feature, or lists of
        columns, by number or (of a DataFrame) by name. No feature may be in two groups, or in none.
    group_weights : "sqrt_size", None or array_like of shape (n_groups,), default "sqrt_size"
        What each group counts in the order in which groups come in: the root of the number of its features (of those
        that no others explain), 1, or a number each; 0 leaves a group unpenalised. Groups are numbered as they first
        appear, or as they are listed.
    joint : bool, default False
        Whether the targets of y have one support: a feature, or group, comes in for all of them or for none. Targets
        are divided by their standard deviations before.
    refit : bool, default False
        Whether to replace the coefficients by least squares on their support (non-negative if ``positive``). The
        selected model is that already.
    progress : callable, optional
        Called now and then with a :class:`hadaflow.Progress`.

    Attributes
    ----------
    coef_ : ndarray of shape (n_features,) or (n_targets, n_features)
        Coefficients; zeros are exact. On the saddle path they come out so. In training entries at or below the
        geometric mean of product scale and largest entry, ``sqrt(a^D max |x|)``, are set to zero. A feature that the
        intercept or unpenalised features explain gets 0.
    intercept_ : float or ndarray of shape (n_targets,)
        Intercept, in the precision of X.
    support_ : ndarray of bool, of the shape of ``coef_``
        Where the coefficients are not zero.
    group_support_ : ndarray of bool of shape (n_groups,) or (n_targets, n_groups)
        The same of groups; there only with ``feature_groups`` or ``joint``.
    reason_, status_, sigma_, stop_time_, n_iter_
        Why it stopped there; the :class:`hadaflow.Status`; the standard deviation of the noise, given or estimated
        (None if none was needed); when it stopped, in time of the path (for a selected model the best plateau, where
        the search began); jumps or steps. Lists for several targets.
    path_ : SaddlePath, FlowPath, Trajectory or GroupLassoPath, or a list of them
        The path, on the penalised features and centred data. It holds on to the training data.
    path_features_ : ndarray of int
        Which features the coordinates of the path are.
    certificate_ : Certificate, or a list of them
        How far the (weighted) l1 norm is from the smallest of all coefficients that fit as well. Of groups: the sum of
        the lengths of what each explains, times its weight.
    dynamics_ : str
        What was followed.
    n_features_in_, feature_names_in_
        As in scikit-learn.

    Raises
    ------
    TypeError, ValueError
        From ``fit``, if a parameter has the wrong kind or range or excludes another, or X, y or sample_weight are not
        what scikit-learn takes.

    Warns
    -----
    ConvergenceWarning
        If ``status_`` is not ok: the path did not get where it was to go.

    See Also
    --------
    SparseFlowRegressorCV : the stopping time by cross-validation.
    hadaflow.recover : measurements without noise, with a proof.

    Notes
    -----
    One saddle path: a few dozen passes over X. Whole weights are counts: row j stands there ``w_j`` times, also in
    the degrees of freedom. All others are relative, and the rows are worth Kish's ``(sum w)^2 / sum w^2`` of them;
    sigma is that of a row of mean weight. A common factor does not matter, unless it turns counts into other
    numbers (docs/estimators.md). Columns far from zero or beyond the range of squares are moved and scaled in a
    copy of X before; ``path_`` is about that copy. X may be a SciPy LinearOperator; then features are not scaled by
    their lengths.

    In groups the saddle path bends, and is not followed. Group lassos at falling penalties, each an implicit step of
    the flow, propose groups in its place; the model is least squares on groups of which no addition, removal or
    exchange improves the criterion, with the F test for all features of a group where single ones have the t test.
    "auto" takes the group lasso of smallest risk where that is expected to predict better. The columns of each group
    are replaced by an orthonormal basis, so that neither their units nor the coordinates within a group matter; that
    takes a dense copy of X. ``stop`` may be "auto" or "criterion"; training, ``positive`` and ``feature_weights`` are
    for single features.

    Source: papers A and B; docs/mathematics.md, "Choosing a model".

    Examples
    --------
    >>> import numpy as np
    >>> from hadaflow.estimators import SparseFlowRegressor
    >>> rng = np.random.default_rng(0)
    >>> X = rng.standard_normal((100, 400))
    >>> y = 1 + X[:, 0] - X[:, 1] + 0.5 * rng.standard_normal(100)
    >>> model = SparseFlowRegressor().fit(X, y)
    >>> np.flatnonzero(model.support_), model.coef_[:2].round(1), round(model.intercept_, 1)
    (array([0, 1]), array([ 1. , -0.9]), 1.0)

    Features that belong together:

    >>> y = X[:, :4] @ [1, -1, 0.5, 0.3] + 0.5 * rng.standard_normal(100)
    >>> np.flatnonzero(SparseFlowRegressor(feature_groups=4).fit(X, y).group_support_)
    array([0])
    """

    def __init__(
        self,
        *,
        dynamics: str = "auto",
        depth: float | None = None,
        init_scale: float | None = None,
        stop: str | Rule = "auto",
        sigma: float | None = None,
        criterion: str = "fdr",
        chance: float = 0.01,
        fit_intercept: bool = True,
        positive: bool = False,
        feature_weights: Any = None,
        feature_groups: Any = None,
        group_weights: Any = "sqrt_size",
        joint: bool = False,
        refit: bool = False,
        progress: Any = None,
    ) -> None:
        self.dynamics = dynamics
        self.depth = depth
        self.init_scale = init_scale
        self.stop = stop
        self.sigma = sigma
        self.criterion = criterion
        self.chance = chance
        self.fit_intercept = fit_intercept
        self.positive = positive
        self.feature_weights = feature_weights
        self.feature_groups = feature_groups
        self.group_weights = group_weights
        self.joint = joint
        self.refit = refit
        self.progress = progress

    @with_callbacks  # type: ignore[untyped-decorator]
    def fit(self, X: Any, y: Any, sample_weight: Any = None) -> SparseFlowRegressor:
        """Fit the model.

        Parameters
        ----------
        X : array_like, sparse matrix or LinearOperator of shape (m, n)
            Features.
        y : array_like of shape (m,) or (m, n_targets)
            Targets; each is fitted by itself.
        sample_weight : array_like of shape (m,), optional
            What each row counts, not negative: counts if whole numbers, else relative to one another.

        Returns
        -------
        self
        """
        options = self._options()
        flag(self.refit, "refit")
        X, y = training_data(self, X, y)
        groups = FeatureGroups.of(self, X)
        prepared = Prepared.of(self, X, y, row_weights(sample_weight, len(y)))
        if groups is None:
            design = prepared.rows.design()
            fits = self._by_features(prepared, design, options, (X, y))
        else:
            grouped = GroupedDesign.of(prepared, groups)
            design = grouped.design
            fits = selected_groups(self, grouped, options, (X, y))
        warn_if_not_ok(self, [fit.attributes["status_"] for fit in fits])
        self._keep(fits, single=y.ndim == 1, groups=None if groups is None else groups.labels)
        self.path_features_ = design.split.penalised
        self.dynamics_ = options.dynamics
        return self

    def _by_features(self, prepared: Prepared, design: Design, options: ReadingOptions, data: Any) -> list[LinearFit]:
        fits = []
        for rows in subtasks(self, prepared.rows.targets(), "target", *data):
            regression = Regression(prepared, design, rows)
            reading = read(regression.problem, regression.weights, design.rows, options)
            fits.append(regression.fit(reading, positive=options.positive, refit=self.refit, sigma_=reading.sigma))
        return fits

    def _options(self) -> ReadingOptions:
        """The parameters, checked, with what follows from "auto"."""
        if not isinstance(self.stop, Rule):
            one_of(self.stop, "stop", SADDLE_STOPS)
        dynamics = dynamics_of(self, steered=isinstance(self.stop, Rule))
        self._check_pairs(dynamics)
        sigma = noise_size(self.sigma)
        uses = ("discrepancy", "null_gradient") if dynamics == "saddles" else ("auto", "discrepancy", "null_gradient")
        if sigma is not None and self.stop not in uses:
            raise ValueError(
                f"sigma has no part in stop={self.stop!r}, which finds the noise by itself or needs none: leave it "
                f'out, or take stop="discrepancy" or "null_gradient"'
            )
        depth = 3.0 if self.depth is None else positive_number(self.depth, "depth", minimum=2.0, strict=False)
        init_scale = None if self.init_scale is None else positive_number(self.init_scale, "init_scale")
        criterion_prices(1, 1, criterion=self.criterion, chance=self.chance)  # type: ignore[arg-type]  # checks both
        return ReadingOptions(
            dynamics=dynamics,
            depth=depth,
            init_scale=init_scale,
            stop=self.stop,
            sigma=sigma,
            criterion=self.criterion,  # type: ignore[arg-type]
            chance=self.chance,
            positive=flag(self.positive, "positive"),
            progress=self.progress,
        )

    def _check_pairs(self, dynamics: str) -> None:
        """Raise ValueError where parameters exclude each other."""
        if dynamics == "saddles":
            if isinstance(self.stop, Rule):
                raise ValueError(
                    f'rules steer dynamics="flow" and "descend", got stop={self.stop!r} with dynamics="saddles": '
                    f"pass one of {', '.join(map(repr, SADDLE_STOPS))}"
                )
        elif not isinstance(self.stop, Rule) and self.stop not in TRAINING_STOPS:
            asked = f'dynamics="{self.dynamics}"'
            if self.dynamics == "auto":  # then one of these asked for training
                asked = " and ".join(name for name in ("depth", "init_scale") if getattr(self, name) is not None)
            raise ValueError(
                f'stop="{self.stop}" reads a model off the saddle path, but {asked} asks for training: leave that out, '
                f"or pass one of {', '.join(map(repr, TRAINING_STOPS))} or a rule"
            )

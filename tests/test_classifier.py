"""SparseFlowClassifier: the same dynamics with the logistic loss, as a scikit-learn estimator."""

import pickle
import tracemalloc

import array_api_strict as xs
import numpy as np
import pandas as pd
import pytest
import scipy.sparse as sp
from conftest import random_sparse
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.optimize import minimize
from scipy.special import expit
from sklearn.base import clone
from sklearn.datasets import load_digits, load_iris
from sklearn.exceptions import NotFittedError
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import GridSearchCV, GroupKFold, ShuffleSplit, cross_val_score
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.utils.estimator_checks import parametrize_with_checks

import hadaflow as hf
from hadaflow import stopping
from hadaflow.estimators import SparseFlowClassifier, _standardised
from hadaflow.estimators._logistic import LogisticOptions, Run
from hadaflow.estimators._maximum_likelihood import maximum_likelihood
from hadaflow.estimators._prepared import Rows
from hadaflow.estimators._read_offs import held_out, pooled
from hadaflow.estimators._standardised import Features
from hadaflow.losses import Logistic, Loss, Squared, Weighted

FAST = {"stop": "null_gradient"}  # one path that ends early


def drawn(m=120, n=30, k=3, *, size=1.5, seed=0, offset=0.5):
    """Labels 0 and 1 by the first k features, which have all kinds of lengths and means."""
    rng = np.random.default_rng(seed)
    Z = rng.standard_normal((m, n))
    x = np.zeros(n)
    x[:k] = size * rng.choice([-1.0, 1.0], k)
    y = (rng.random(m) < expit(Z @ x + offset)).astype(int)
    return Z * rng.uniform(0.5, 2.0, n) + rng.standard_normal(n), y


def log_loss(X, y, coef, intercept, weights=None):
    """Sum over the rows, for labels 0 and 1."""
    return float(np.average(np.logaddexp(0, -(2 * y - 1) * (X @ coef + intercept)), weights=weights)) * len(y)


def most_likely(X, y, penalised=None):
    """Intercept and coefficients of maximum likelihood by another optimiser."""
    Z = np.column_stack([np.ones(len(y)), X])
    sign = 2.0 * y - 1

    def objective(b):
        return np.logaddexp(0, -sign * (Z @ b)).sum(), -Z.T @ (sign * expit(-sign * (Z @ b)))

    found = minimize(objective, np.zeros(Z.shape[1]), jac=True, method="BFGS", options={"gtol": 1e-9, "maxiter": 5000})
    return found.x[1:], found.x[0]


def probabilities(model, X):
    return model.predict_proba(X)[:, 1]


# ---- as scikit-learn asks --------------------------------------------------------------------------------------


@parametrize_with_checks([SparseFlowClassifier(**FAST)])
def test_scikit_learn_checks(estimator, check):
    check(estimator)


@pytest.mark.slow
@parametrize_with_checks(
    [
        SparseFlowClassifier(),
        SparseFlowClassifier(cv=2, refit=True),
        SparseFlowClassifier(stop="criterion"),
        SparseFlowClassifier(stop="criterion", criterion="bic"),
        SparseFlowClassifier(stop="plateau", depth=2),
        SparseFlowClassifier(stop="end"),
    ]
)
def test_more_scikit_learn_checks(estimator, check):
    check(estimator)


@pytest.mark.slow
@parametrize_with_checks([SparseFlowClassifier(dynamics="descend", stop=stopping.MaxTime(1.0))])
def test_scikit_learn_checks_of_descent(estimator, check):
    if "sample_weight_equivalence" in check.func.__name__:
        pytest.skip("rounding decides over steps, so that a few digits fewer agree")
    check(estimator)


def test_works_in_pipelines_searches_and_scores():
    X, y = drawn(80, 10)
    model = make_pipeline(StandardScaler(), SparseFlowClassifier(**FAST))
    scores = cross_val_score(model, X, y, cv=2)
    assert scores.min() > 0.6
    search = GridSearchCV(SparseFlowClassifier(stop="end"), {"stop": [stopping.MaxTime(1e-6), "null_gradient"]}, cv=2)
    assert search.fit(X, y).best_params_["stop"] == "null_gradient"


def test_clones_pickles_and_names_of_features():
    X, y = drawn(60, 8)
    model = SparseFlowClassifier(stop="criterion", criterion="bic")
    assert clone(model).get_params() == model.get_params()
    model.fit(pd.DataFrame(X, columns=[f"f{i}" for i in range(8)]), y)
    assert list(model.feature_names_in_) == [f"f{i}" for i in range(8)]
    again = pickle.loads(pickle.dumps(model))
    np.testing.assert_array_equal(again.coef_, model.coef_)
    np.testing.assert_array_equal(again.path_(again.stop_time_), model.path_(model.stop_time_))
    with pytest.raises(NotFittedError):
        SparseFlowClassifier().predict(X)


def test_each_class_is_a_task_of_its_own():
    callback = pytest.importorskip("sklearn.callback")
    X, y = load_iris(return_X_y=True)
    names = []

    class Recording:
        def setup(self, estimator, context): ...

        def on_fit_task_begin(self, estimator, context, *, X=None, y=None):
            names.append(context.task_name)

        def on_fit_task_end(self, estimator, context, *, X=None, y=None): ...

        def teardown(self, estimator, context): ...

    assert isinstance(Recording(), callback.FitCallback)
    SparseFlowClassifier(**FAST).set_callbacks(Recording()).fit(X, y)
    assert [name for name in names if name.startswith("class")] == ["class 0", "class 1", "class 2"]


# ---- what it finds ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("dynamics", ["flow", "descend"])
@pytest.mark.parametrize("fit_intercept", [True, False])
def test_the_end_is_maximum_likelihood(dynamics, fit_intercept):
    X, y = drawn(80, 4, size=0.7)
    if not fit_intercept:
        X = X - X.mean(axis=0)
    model = SparseFlowClassifier(dynamics=dynamics, stop="end", fit_intercept=fit_intercept).fit(X, y)
    if fit_intercept:
        coef, intercept = most_likely(X, y)
    else:
        coef, intercept = LogisticRegression(C=np.inf, fit_intercept=False, tol=1e-10).fit(X, y).coef_[0], 0.0
    np.testing.assert_allclose(model.coef_[0], coef, rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(model.intercept_, [intercept], rtol=1e-4, atol=1e-5)
    assert model.status_.ok


@pytest.mark.parametrize("options", [{}, {"stop": "criterion"}, {"stop": "null_gradient"}, {"stop": "plateau"}])
def test_finds_the_features_at_work(options):
    X, y = drawn(300, 60, size=2.0)
    model = SparseFlowClassifier(**options).fit(X, y)
    expected = {"null_gradient": 3, "criterion": 3}.get(options.get("stop", ""))
    assert set(np.flatnonzero(model.support_)) >= ({0} if options.get("stop") == "plateau" else {0, 1, 2})
    assert expected is None or model.support_.sum() == expected
    assert model.support_.sum() <= 12
    np.testing.assert_array_equal(model.support_, model.coef_ != 0)


def test_the_time_is_that_of_the_smallest_held_out_loss():
    """By paths that are evaluated on their own."""
    X, y = drawn(90, 40)
    splits = list(ShuffleSplit(3, random_state=0).split(X))
    model = SparseFlowClassifier(cv=splits).fit(X, y)
    taus = model.stop_time_ * len(y) * np.geomspace(0.1, 10, 81)
    total = np.zeros(len(taus))
    for train, test in splits:
        run = plain_run(X[train], y[train])
        path = run.follow(None, 10.001 * model.stop_time_ * len(y) / len(train))
        for k, tau in enumerate(taus):
            coef, intercept = run.features.coefficients(path(tau / len(train)))
            total[k] += log_loss(X[test], y[test], coef, intercept)
    assert total[40] <= total.min() * (1 + 2e-3)
    assert total.min() < 0.95 * min(total[0], total[-1])
    assert "cross-validated log loss" in model.reason_
    assert f"{total[40] / sum(len(test) for _, test in splits):.2g}" in model.reason_


def test_the_losses_compared_are_kept():
    X, y = drawn(90, 10)
    model = SparseFlowClassifier(cv=list(ShuffleSplit(3, random_state=0).split(X))).fit(X, y)
    assert model.errors_.shape == (len(model.times_), 3)
    np.testing.assert_allclose(model.mean_errors_, model.errors_.mean(axis=1))
    best = model.mean_errors_.argmin()
    assert model.stop_time_ == pytest.approx(model.times_[best])
    assert f"{model.mean_errors_[best]:.4g} per row over 3 folds" in model.reason_
    many = SparseFlowClassifier(cv=2).fit(X, np.digitize(X[:, 0], [-0.5, 0.5]))
    assert len(many.errors_) == len(many.times_) == len(many.mean_errors_) == 3
    assert not hasattr(many.set_params(stop="criterion").fit(X, y), "errors_")


def plain_run(X, y, **options):
    given = {"dynamics": "flow", "depth": 3.0, "init_scale": 1e-4 ** (1 / 3), "stop": "auto", "criterion": "ebic"}
    labels = 2.0 * y - 1
    return Run(
        Rows(X, labels, None, True, None),
        LogisticOptions(**(given | {"positive": False, "progress": None} | options)),
    )


def test_times_of_different_numbers_of_rows_compare():
    """Rows that stand there twice leave the curve of the loss over time per row as it is."""
    X, y = drawn(60, 8)
    run = plain_run(X, y)
    twice = Rows(np.vstack([X, X]), np.tile(run.rows.y, 2), None, True, None)
    grid, one = pooled([held_out(run.rows, run.rows, run.options)])
    other, two = pooled([held_out(twice, run.rows, run.options)])
    assert other[0] == pytest.approx(grid[0])
    common = grid[grid <= min(grid[-1], other[-1])]
    assert len(common) > 50
    np.testing.assert_allclose(np.interp(common, other, two[:, 0]), np.interp(common, grid, one[:, 0]), rtol=2e-2)


@pytest.mark.parametrize("criterion", ["ebic", "bic", "aic"])
def test_the_support_has_the_smallest_criterion(criterion):
    X, y = drawn(100, 15, size=0.8)
    model = SparseFlowClassifier(stop="criterion", criterion=criterion).fit(X, y)
    prices = hf.criterion_prices(len(y) - 1, 15, criterion=criterion).prices
    run = plain_run(X, y)
    times = model.path_.times[(model.path_.times > 0) & (model.path_.times <= model.path_.t_end)]
    supports = {tuple(run.support(x)) for x in model.path_(times)} | {()}
    values = {}
    for support in supports:
        coef, intercept = most_likely(X[:, list(support)], y)
        values[support] = 2 * log_loss(X[:, list(support)], y, coef, intercept) + prices[len(support)]
    best = min(values, key=values.get)
    assert tuple(np.flatnonzero(model.support_)) == best
    assert f"smallest {criterion}" in model.reason_
    coef, intercept = most_likely(X[:, list(best)], y)
    np.testing.assert_allclose(model.coef_[0, list(best)], coef, rtol=1e-5, atol=1e-7)
    np.testing.assert_allclose(model.intercept_, [intercept], rtol=1e-5, atol=1e-7)


def test_refitted_coefficients_are_maximum_likelihood_on_the_support():
    X, y = drawn(100, 15)
    model = SparseFlowClassifier(refit=True, **FAST).fit(X, y)
    support = np.flatnonzero(model.support_)
    assert len(support) > 0
    coef, intercept = most_likely(X[:, support], y)
    np.testing.assert_allclose(model.coef_[0, support], coef, rtol=1e-5)
    np.testing.assert_allclose(model.intercept_, [intercept], rtol=1e-5)


def test_intercept_and_unpenalised_features_are_where_the_others_leave_them():
    """Their gradients vanish, though the path ends early, and however correlated they are with the others."""
    X, y = drawn(150, 20, seed=1)
    X[:, 5] = 3 * X[:, 0] + 0.3 * X[:, 5] + 7
    weights = np.ones(20)
    weights[[5, 9]] = 0
    model = SparseFlowClassifier(feature_weights=weights, **FAST).fit(X, y)
    slack = probabilities(model, X) - y
    assert abs(slack.sum()) < 5e-2
    centred = X[:, [5, 9]] - X[:, [5, 9]].mean(axis=0)
    assert np.abs(centred.T @ slack / centred.std(axis=0)).max() < 5e-2
    assert model.support_[0, [5, 9]].all()
    alone = SparseFlowClassifier(feature_weights=np.where(np.arange(20) < 2, 0.0, 1e3), **FAST).fit(X, y)
    gone = ~alone.support_[0]
    if gone[2:].all():
        coef, _ = most_likely(X[:, :2], y)
        np.testing.assert_allclose(alone.coef_[0, :2], coef, rtol=1e-3)


def test_heavier_features_come_in_later():
    X, y = drawn(200, 6, k=2, size=1.5)
    times = []
    for weight in (1, 4):
        path = SparseFlowClassifier(feature_weights=[weight, 1, 1, 1, 1, 1], stop="end").fit(X, y).path_
        times.append([path.first(lambda snapshot, i=i: abs(snapshot.x[i]) > 0.1) for i in (0, 1)])
    assert times[1][0] / times[1][1] > 2 * times[0][0] / times[0][1]


@pytest.mark.parametrize("stop", ["auto", "criterion", "null_gradient"])
@pytest.mark.parametrize("positive", [False, True])
def test_weights_of_all_sizes(stop, positive):
    X, y = drawn(80, 6, k=1, size=4.0, seed=1)
    X[:, 0] *= np.sign(np.corrcoef(X[:, 0], y)[0, 1])
    model = SparseFlowClassifier(feature_weights=10.0 ** np.arange(-3, 3), positive=positive, stop=stop).fit(X, y)
    assert np.flatnonzero(model.support_)[0] == 0
    assert log_loss(X, y, model.coef_[0], model.intercept_[0]) < 0.9 * len(y) * np.log(2)
    assert model.n_iter_ < 1000


def test_positive_coefficients_and_a_free_intercept():
    X, y = drawn(150, 10, k=4, offset=-2.0, seed=3)
    model = SparseFlowClassifier(positive=True, stop="end").fit(X, y)
    assert model.coef_.min() >= 0
    assert model.intercept_[0] != 0
    Z = np.column_stack([np.ones(len(y)), X])
    sign = 2.0 * y - 1
    bounds = [(None, None)] + [(0, None)] * 10
    found = minimize(
        lambda b: (np.logaddexp(0, -sign * (Z @ b)).sum(), -Z.T @ (sign * expit(-sign * (Z @ b)))),
        np.zeros(11), jac=True, method="L-BFGS-B", bounds=bounds, options={"ftol": 1e-14, "gtol": 1e-8},
    )  # fmt: skip
    np.testing.assert_allclose(model.coef_[0], found.x[1:], atol=2e-3)
    np.testing.assert_allclose(model.intercept_, found.x[:1], atol=2e-3)
    refitted = SparseFlowClassifier(positive=True, stop="criterion", criterion="aic").fit(X, y)
    assert refitted.coef_.min() >= 0


@pytest.mark.parametrize("depth", [2, 2.5, 4])
def test_other_depths(depth):
    X, y = drawn(150, 20)
    model = SparseFlowClassifier(depth=depth, **FAST).fit(X, y)
    assert model.support_[0, :3].all()
    assert model.path_.model.depth == depth


def test_descent_goes_where_the_flow_goes():
    X, y = drawn(100, 15)
    flow = SparseFlowClassifier(**FAST).fit(X, y)
    descent = SparseFlowClassifier(dynamics="descend", **FAST).fit(X, y)
    np.testing.assert_allclose(descent.coef_, flow.coef_, atol=0.05)
    cross = SparseFlowClassifier(dynamics="descend", cv=2).fit(X, y)
    np.testing.assert_allclose(cross.coef_, SparseFlowClassifier(cv=2).fit(X, y).coef_, atol=0.1)
    criterion = [SparseFlowClassifier(dynamics=name, stop="criterion").fit(X, y) for name in ("flow", "descend")]
    np.testing.assert_allclose(criterion[0].coef_, criterion[1].coef_)


# ---- units, weights, formats -----------------------------------------------------------------------------------


@pytest.mark.parametrize("options", [FAST, {"stop": "criterion"}, {"cv": 2}])
def test_units_and_origins_of_features_do_not_matter(options):
    X, y = drawn(80, 10)
    units = 10.0 ** np.arange(-5, 5)
    model = SparseFlowClassifier(**options).fit(X, y)
    other = SparseFlowClassifier(**options).fit(X * units + 30 * units, y)
    np.testing.assert_allclose(other.coef_ * units, model.coef_, rtol=1e-5, atol=1e-8)
    np.testing.assert_array_equal(other.support_, model.support_)


@pytest.mark.parametrize("options", [FAST, {"stop": "criterion"}, {"stop": "plateau"}, {"stop": "end"}])
@pytest.mark.parametrize("sparse", [False, True])
def test_weights_are_repetitions(options, sparse):
    X, y = drawn(40, 6)
    weights = np.random.default_rng(0).integers(0, 4, 40)
    X = sp.csr_array(X) if sparse else X
    repeated = np.repeat(np.arange(40), weights)
    one = SparseFlowClassifier(**options).fit(X, y, sample_weight=weights)
    two = SparseFlowClassifier(**options).fit(X[repeated], y[repeated])
    np.testing.assert_allclose(one.coef_, two.coef_, rtol=1e-7, atol=1e-10)
    np.testing.assert_allclose(one.intercept_, two.intercept_, rtol=1e-7)


def test_weights_are_repetitions_in_cross_validation_too():
    X, y = drawn(40, 5)
    weights = np.arange(40) % 3
    repeated = np.repeat(np.arange(40), weights)
    splits = [(np.arange(0, 20), np.arange(20, 40)), (np.arange(15, 40), np.arange(0, 15))]
    spread = [tuple(np.flatnonzero(np.isin(repeated, part)) for part in split) for split in splits]
    one = SparseFlowClassifier(cv=splits).fit(X, y, sample_weight=weights)
    two = SparseFlowClassifier(cv=spread).fit(X[repeated], y[repeated])
    np.testing.assert_allclose(one.coef_, two.coef_, rtol=1e-7, atol=1e-10)


def test_splits_count_rows_of_weight_zero_too():
    X, y = drawn(60, 5)
    weights = np.ones(60)
    weights[::4] = 0
    kept = np.flatnonzero(weights)
    place = np.full(60, -1)
    place[kept] = np.arange(len(kept))
    splits = [(np.arange(0, 40), np.arange(40, 60)), (np.arange(20, 60), np.arange(0, 20))]
    inside = [tuple(place[part][place[part] >= 0] for part in split) for split in splits]
    one = SparseFlowClassifier(cv=splits).fit(X, y, sample_weight=weights)
    two = SparseFlowClassifier(cv=inside).fit(X[kept], y[kept])
    np.testing.assert_array_equal(one.coef_, two.coef_)


def test_balanced_classes_are_weights():
    X, y = drawn(100, 6, offset=2.0)
    counts = np.bincount(y)
    assert counts[1] > 2 * counts[0]
    balanced = SparseFlowClassifier(class_weight="balanced", **FAST).fit(X, y)
    by_name = SparseFlowClassifier(class_weight={0: 50 / counts[0], 1: 50 / counts[1]}, **FAST).fit(X, y)
    by_row = SparseFlowClassifier(**FAST).fit(X, y, sample_weight=50 / counts[y])
    np.testing.assert_array_equal(by_name.coef_, balanced.coef_)
    np.testing.assert_allclose(by_row.coef_, balanced.coef_, rtol=1e-12)
    other = np.array([5.0, 1.0])  # another balance of the same total
    other *= 100 / (other @ counts)
    weighted = SparseFlowClassifier(class_weight="balanced", **FAST).fit(X, y, sample_weight=other[y])
    np.testing.assert_allclose(weighted.coef_, balanced.coef_, rtol=1e-9)


@pytest.mark.parametrize("options", [FAST, {"stop": "criterion"}])
@pytest.mark.parametrize("form", [sp.csr_array, sp.csc_matrix, np.asfortranarray])
def test_formats_agree(options, form):
    X, y = drawn(60, 8)
    X[X < 0] = 0.0
    dense, other = (SparseFlowClassifier(**options).fit(A, y) for A in (X, form(X)))
    np.testing.assert_allclose(other.coef_, dense.coef_, rtol=1e-6, atol=1e-9)
    np.testing.assert_allclose(other.predict_proba(form(X)), dense.predict_proba(X), rtol=1e-6)


def test_sparse_features_stay_sparse(monkeypatch):
    monkeypatch.setattr(_standardised, "_MOST_DENSE", 1 << 22)
    rng = np.random.default_rng(0)
    X = random_sparse((1500, 20_000), 1e-3, rng)
    y = np.arange(1500) % 2
    X = sp.csr_array(sp.hstack([X, sp.csr_array((y + 0.5 * rng.standard_normal(1500))[:, None])]))
    tracemalloc.start()
    model = SparseFlowClassifier(**FAST).fit(X, y)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert model.support_[0, -1]
    assert peak < 0.6 * 8 * 1500 * 20_000


def test_single_precision_is_kept():
    X, y = drawn(60, 8)
    model = SparseFlowClassifier(**FAST).fit(X.astype(np.float32), y)
    assert model.coef_.dtype == model.intercept_.dtype == np.float32
    assert model.decision_function(X.astype(np.float32)).dtype == np.float32
    double = SparseFlowClassifier(**FAST).fit(X, y)
    np.testing.assert_allclose(model.coef_, double.coef_, rtol=1e-3, atol=1e-4)


def test_workers_change_nothing():
    X, y = drawn(60, 8)
    one, two = (SparseFlowClassifier(cv=2, n_jobs=jobs).fit(X, y) for jobs in (None, 2))
    np.testing.assert_array_equal(one.coef_, two.coef_)


def test_inputs_are_not_written_to():
    X, y = drawn(50, 6)
    weights, given = np.ones(50), np.ones(6)
    for array in (X, y, weights, given):
        array.flags.writeable = False
    SparseFlowClassifier(feature_weights=given, cv=2).fit(X, y, sample_weight=weights)


# ---- more classes ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("options", [{"cv": 3}, {"stop": "criterion"}])
def test_iris_is_told_as_well_as_by_logistic_regression(options):
    X, y = load_iris(return_X_y=True)
    names = np.array(["setosa", "versicolor", "virginica"])[y]
    train = np.random.default_rng(0).permutation(150)[:100]
    test = np.setdiff1d(np.arange(150), train)
    model = SparseFlowClassifier(**options).fit(X[train], names[train])
    other = LogisticRegression(max_iter=1000).fit(X[train], names[train])
    assert list(model.classes_) == ["setosa", "versicolor", "virginica"]
    assert model.coef_.shape == (3, 4)
    assert model.intercept_.shape == (3,)
    assert len(model.path_) == len(model.reason_) == 3
    assert model.score(X[test], names[test]) >= other.score(X[test], names[test]) - 0.05
    chances = model.predict_proba(X)
    np.testing.assert_allclose(chances.sum(axis=1), 1)
    odds = expit(model.decision_function(X))
    np.testing.assert_allclose(chances, odds / odds.sum(axis=1, keepdims=True), rtol=1e-6)
    np.testing.assert_allclose(np.exp(model.predict_log_proba(X)), chances)


def test_digits_are_told_nearly_as_well_as_by_logistic_regression():
    X, y = load_digits(n_class=3, return_X_y=True)
    order = np.random.default_rng(0).permutation(len(y))
    train, test = order[:200], order[200:]
    model = SparseFlowClassifier(cv=2).fit(X[train], y[train])
    other = LogisticRegression(max_iter=5000).fit(X[train], y[train])
    assert model.score(X[test], y[test]) >= other.score(X[test], y[test]) - 0.05
    assert model.support_.sum(axis=1).max() < 30
    assert not model.support_[:, X[train].std(axis=0) == 0].any()


# ---- hard data -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("options", [{"cv": 3}, {"stop": "criterion"}, {"stop": "end"}, {"stop": "end", "refit": True}])
def test_separable_labels_end_where_all_are_fitted(options):
    rng = np.random.default_rng(0)
    X = rng.standard_normal((40, 60))
    y = np.where(X[:, 0] > 0, "b", "a")
    X[:, 0] += np.sign(X[:, 0])
    model = SparseFlowClassifier(**options).fit(X, y)
    assert model.score(X, y) == 1
    assert 2 < np.abs(model.coef_).max() < 100
    assert model.support_[0, 0]
    if options.get("stop") == "end":
        assert "separable" in model.reason_
    assert ("not refitted" in model.reason_) == options.get("refit", False)


@pytest.mark.parametrize("stop", ["auto", "criterion", "null_gradient", "plateau", "end"])
@pytest.mark.parametrize("balanced", [True, False])
def test_features_that_say_nothing(stop, balanced):
    """Constant columns, zeros and copies of them: the intercept is all there is."""
    X = np.column_stack([np.ones(30), np.zeros(30), np.full(30, 1e6 + 0.1)])
    y = np.arange(30) % (2 if balanced else 3) == 0
    model = SparseFlowClassifier(stop=stop).fit(X, y)
    assert not model.support_.any()
    np.testing.assert_allclose(probabilities(model, X), y.mean(), rtol=1e-2)


def test_pure_chance_selects_little():
    rng = np.random.default_rng(5)
    X, y = rng.standard_normal((100, 40)), rng.integers(0, 2, 100)
    assert SparseFlowClassifier(stop="criterion").fit(X, y).support_.sum() == 0
    assert SparseFlowClassifier(stop="null_gradient").fit(X, y).support_.sum() <= 1


def test_copies_of_a_feature_share():
    X, y = drawn(80, 4)
    X = np.column_stack([X, X[:, 0]])
    model = SparseFlowClassifier(**FAST).fit(X, y)
    np.testing.assert_allclose(model.coef_[0, 0], model.coef_[0, 4], rtol=1e-6)
    refitted = SparseFlowClassifier(refit=True, **FAST).fit(X, y)
    np.testing.assert_allclose(refitted.coef_[0, 0], refitted.coef_[0, 4], rtol=1e-6)
    once = SparseFlowClassifier(refit=True, **FAST).fit(X[:, :4], y)
    np.testing.assert_allclose(2 * refitted.coef_[0, 0], once.coef_[0, 0], rtol=1e-6)


@settings(max_examples=10, deadline=None)
@given(
    m=st.integers(4, 12), n=st.integers(1, 6), seed=st.integers(0, 10**6), stop=st.sampled_from(["criterion", "end"])
)
def test_small_random_data(m, n, seed, stop):
    rng = np.random.default_rng(seed)
    X = rng.standard_normal((m, n)) * 10.0 ** rng.integers(-3, 4, n)
    y = np.append([0, 1], rng.integers(0, 2, m - 2))
    model = SparseFlowClassifier(stop=stop).fit(X, y)
    assert np.isfinite(model.coef_).all()
    chances = model.predict_proba(X)
    assert ((chances >= 0) & (chances <= 1)).all()
    assert log_loss(X, y, model.coef_[0], model.intercept_[0]) <= m * np.log(2) * 1.001


def test_few_rows_of_a_class_make_few_folds():
    X, y = drawn(40, 4)
    y[:] = 0
    y[[3, 30]] = 1
    model = SparseFlowClassifier().fit(X, y)
    assert "over 2 folds" in model.reason_
    y[3] = 0
    with pytest.raises(ValueError, match=r"needs 2 rows of each class, but there is 1 of .*1.*stop=\"criterion\""):
        SparseFlowClassifier().fit(X, y)
    assert SparseFlowClassifier(stop="criterion").fit(X, y).status_.ok


def test_odds_beyond_the_range_of_exponentials():
    X, y = drawn(40, 3)
    model = SparseFlowClassifier(**FAST).fit(X, y)
    model.coef_[:] = 1e4
    logs = model.predict_log_proba(X)
    assert np.isfinite(logs).all()
    assert logs.min() < -1000
    iris = load_iris(return_X_y=True)
    many = SparseFlowClassifier(**FAST).fit(*iris)
    many.intercept_[:] = -1e4
    np.testing.assert_allclose(many.predict_proba(iris[0]).sum(axis=1), 1)


def test_progress_is_told():
    X, y = drawn(200, 40)
    told = []
    SparseFlowClassifier(stop="end", progress=told.append).fit(X, y)
    assert all(report.stage == "flow" for report in told)
    assert len(told) > 0


# ---- bad input -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({"dynamics": "saddles"}, ValueError, "dynamics must be one of 'auto', 'flow', 'descend', got 'saddles'"),
        ({"stop": "discrepancy"}, ValueError, "stop must be one of 'auto', 'criterion', 'null_gradient'"),
        ({"depth": 1.5}, ValueError, "depth must be a finite number >= 2"),
        ({"init_scale": 0}, ValueError, "init_scale must be a finite number > 0"),
        ({"criterion": "cp"}, ValueError, "criterion must be one of 'fdr'"),
        ({"fit_intercept": 1}, TypeError, "fit_intercept must be True or False"),
        ({"positive": "yes"}, TypeError, "positive must be True or False"),
        ({"refit": None}, TypeError, "refit must be True or False"),
        ({"cv": 1}, ValueError, "cv must be a finite number >= 2"),
        ({"cv": 2.5}, ValueError, "Expected `cv` as an integer"),
        ({"cv": [([], [0, 1])]}, ValueError, "fold 0 of cv has no rows to train on"),
        ({"cv": GroupKFold(2)}, ValueError, "'groups' parameter should not be None"),
        ({"class_weight": "even"}, ValueError, "class_weight must be 'balanced', a dict or None, got 'even'"),
        ({"class_weight": {0: -1}}, ValueError, "class_weight must not be negative"),
        ({"feature_weights": [1, 2]}, ValueError, r"feature_weights must have one entry per feature \(4\), got 2"),
        ({"feature_weights": np.zeros(4)}, ValueError, "feature_weights are zero everywhere"),
        ({"feature_weights": [0, 1, 1, 1], "positive": True}, ValueError, "positive=True cannot bind unpenalised"),
        ({"progress": 3, "stop": "end"}, TypeError, "progress must be callable"),
    ],
)
def test_bad_parameters(options, error, message):
    X, y = drawn(20, 4)
    with pytest.raises(error, match=message):
        SparseFlowClassifier(**options).fit(X, y)


def test_bad_labels_and_weights():
    X, y = drawn(20, 4)
    model = SparseFlowClassifier(**FAST)
    with pytest.raises(ValueError, match="needs rows of at least 2 classes with positive weight, but y has 1 class: 1"):
        model.fit(X, np.ones(20, dtype=int))
    with pytest.raises(ValueError, match="at least 2 classes with positive weight"):
        model.fit(X, y, sample_weight=y)
    with pytest.raises(ValueError, match="at least 2 classes with positive weight"):
        SparseFlowClassifier(class_weight={0: 0}, **FAST).fit(X, y)
    with pytest.raises(ValueError, match="Unknown label type: continuous"):
        model.fit(X, X[:, 0])
    with pytest.raises(ValueError, match=r"(?i)sample.weight"):
        model.fit(X, y, sample_weight=np.zeros(20))
    with pytest.raises(ValueError, match="Input X contains NaN"):
        model.fit(np.where(X[0, 0] == X, np.nan, X), y)


# ---- inside ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("rooted", [False, True])
@pytest.mark.parametrize("loss", [Squared(), Logistic()])
def test_weighted_losses_count_rows_more_than_once(loss, rooted):
    rng = np.random.default_rng(0)
    w = np.array([1.0, 3.0, 2.0])
    p, y = rng.standard_normal(3), np.array([1.0, -1.0, 1.0])
    weighted = Weighted(loss, w, rooted=rooted)
    root = np.sqrt(w) if rooted else np.ones(3)
    seen = p * root
    assert weighted.value(seen, y) == pytest.approx(loss.value(np.repeat(p, [1, 3, 2]), np.repeat(y, [1, 3, 2])))
    np.testing.assert_allclose(weighted.gradient(seen, y) * root, w * loss.gradient(p, y))
    np.testing.assert_allclose(weighted.curvature(seen, y) * root**2, w * loss.curvature(p, y))
    h = 1e-5
    slopes = (weighted.terms(seen + h, y) - weighted.terms(seen - h, y)) / (2 * h)
    np.testing.assert_allclose(weighted.gradient(seen, y), slopes, atol=1e-8)
    assert weighted.curvature_bound == loss.curvature_bound * (1 if rooted else 3)
    assert weighted.name == f"weighted {loss.name}"
    side_by_side = weighted.terms(np.column_stack([seen, 2 * seen]), np.column_stack([y, y]))
    np.testing.assert_allclose(side_by_side[:, 0], weighted.terms(seen, y))
    strict = weighted.gradient(xs.asarray(seen), xs.asarray(y))
    np.testing.assert_allclose(np.asarray(strict), weighted.gradient(seen, y))
    assert weighted.terms(seen.astype(np.float32), y.astype(np.float32)).dtype == np.float32


def test_descent_and_flow_follow_weighted_rows_as_repeated_ones():
    X, y = drawn(20, 6)
    labels, weights = 2.0 * y - 1, np.arange(1, 21) % 3 + 1.0
    repeated = np.repeat(np.arange(20), weights.astype(int))
    weighted = hf.Problem(X, labels, loss=Weighted(Logistic(), weights))
    plain = hf.Problem(X[repeated], labels[repeated], loss=Logistic())
    model = hf.HadamardPower(2)
    one, two = (hf.flow(problem, model, init_scale=0.1, t_end=0.5, tolerance=1e-8) for problem in (weighted, plain))
    np.testing.assert_allclose(one.x, two.x, atol=1e-6)
    stop = stopping.MaxSteps(50)
    one, two = (hf.descend(problem, model, init_scale=0.1, step=1e-3, stop=stop) for problem in (weighted, plain))
    np.testing.assert_allclose(one.x, two.x, rtol=1e-10)


def test_bad_weights_of_a_loss():
    with pytest.raises(TypeError, match=r"loss must be a loss out of hadaflow.losses"):
        Weighted("logistic", np.ones(2))
    with pytest.raises(ValueError, match="weights must be positive, but entry 1 is 0; leave out rows of weight 0"):
        Weighted(Logistic(), [1.0, 0.0])
    with pytest.raises(ValueError, match="weights contains nan"):
        Weighted(Logistic(), [1.0, np.nan])
    with pytest.raises(TypeError, match="rooted must be True or False"):
        Weighted(Logistic(), [1.0], rooted=2)
    with pytest.raises(ValueError, match=r"weights must have one entry per entry of y \(3\), got 2"):
        hf.Problem(np.ones((3, 1)), np.ones(3), loss=Weighted(Logistic(), [1.0, 2.0]))
    with pytest.raises(ValueError, match="labels -1 and"):
        hf.Problem(np.ones((2, 1)), np.zeros(2), loss=Weighted(Logistic(), [1.0, 2.0]))
    assert issubclass(Weighted, Loss)


@pytest.mark.parametrize("mirrored", [False, True])
@pytest.mark.parametrize("form", [np.asarray, sp.csr_array])
def test_standardised_features_are_a_matrix(mirrored, form):
    """Their products and columns agree, and predictions are those of the coefficients."""
    X, _ = drawn(15, 6)
    X[:, 4] = 2.0
    weights, given = np.arange(1.0, 16), np.array([1, 1, 0, 1, 1, 0.0])
    features = Features.of(form(X), weights, True, given, mirrored)
    operator = features.operator
    matrix = operator.columns(np.arange(operator.shape[1]))
    rng = np.random.default_rng(0)
    v, r = rng.standard_normal(operator.shape[1]), rng.standard_normal((15, 2))
    np.testing.assert_allclose(operator.matvec(v), matrix @ v, atol=1e-12)
    np.testing.assert_allclose(operator.rmatvec(r[:, 0]), matrix.T @ r[:, 0], atol=1e-12)
    np.testing.assert_allclose(operator.rmatmat(r), matrix.T @ r, atol=1e-12)
    np.testing.assert_allclose(operator.column_squares(), (matrix**2).sum(axis=0), atol=1e-10)
    gram = matrix.T @ matrix / weights.sum()
    np.testing.assert_allclose(np.diag(gram), [1, 1, 1, 0] + [1] * (6 if mirrored else 3), atol=1e-10)
    np.testing.assert_allclose(gram[:4, 4:], 0, atol=1e-10)
    coef, intercept = features.coefficients(v)
    np.testing.assert_allclose(np.sqrt(weights) * (X @ coef + intercept), operator.matvec(v), atol=1e-10)


def test_maximum_likelihood_on_some_columns():
    X, y = drawn(60, 6, size=0.7)
    labels = 2.0 * y - 1
    problem = hf.Problem(X, labels, loss=Logistic())
    expected = LogisticRegression(C=np.inf, fit_intercept=False, tol=1e-10).fit(X[:, [0, 2]], y).coef_[0]
    np.testing.assert_allclose(maximum_likelihood(problem, np.array([0, 2]), 0), expected, rtol=1e-4)
    assert len(maximum_likelihood(problem, np.array([], dtype=int), 0)) == 0
    separable = hf.Problem(X, np.where(X[:, 0] > X[:, 0].mean(), 1.0, -1.0), loss=Logistic())
    shifted = hf.Problem(X - X.mean(axis=0), separable.y, loss=Logistic())
    assert maximum_likelihood(shifted, np.array([0, 1]), 0) is None
    both = maximum_likelihood(hf.Problem(X[:, [0, 0, 2]], labels, loss=Logistic()), np.array([0, 1, 2]), 0)
    np.testing.assert_allclose(both, [expected[0] / 2, expected[0] / 2, expected[1]], rtol=1e-4)


@pytest.mark.parametrize("seed", range(5))
def test_bounded_maximum_likelihood(seed):
    X, y = drawn(60, 8, k=5, size=0.7, seed=seed)
    sign = 2.0 * y - 1
    found = maximum_likelihood(hf.Problem(X, sign, loss=Logistic()), np.arange(8), 6)
    other = minimize(
        lambda b: (np.logaddexp(0, -sign * (X @ b)).sum(), -X.T @ (sign * expit(-sign * (X @ b)))),
        np.zeros(8), jac=True, method="L-BFGS-B", bounds=[(0, None)] * 6 + [(None, None)] * 2,
        options={"ftol": 1e-15, "gtol": 1e-9},
    )  # fmt: skip
    np.testing.assert_allclose(found, other.x, atol=1e-5)
    assert found[:6].min() >= 0


# ---- folds, groups, weights and columns of all kinds ------------------------------------------------------------


def test_folds_have_to_show_every_class():
    X, _ = drawn(60, 5)
    y = np.repeat([0, 1], 30)
    with pytest.raises(ValueError, match="fold 0 of cv has no row of class 1 to train on"):
        SparseFlowClassifier(cv=[(np.arange(30), np.arange(30, 60))]).fit(X, y)
    three = np.repeat(["a", "b", "c"], 20)
    with pytest.raises(ValueError, match="fold 1 of cv has no row of class c to train on"):
        SparseFlowClassifier(cv=[(np.arange(0, 60, 2), np.arange(1, 60, 2)), (np.arange(40), np.arange(40, 60))]).fit(
            X, three
        )
    weights = np.ones(60)
    weights[30:45] = 0  # of the second class there are rows, but none that counts
    with pytest.raises(ValueError, match="fold 0 of cv has no row of class 1 to train on"):
        SparseFlowClassifier(cv=[(np.arange(45), np.arange(45, 60))]).fit(X, y, sample_weight=weights)


def test_groups_stay_together():
    X, y = drawn(60, 4)
    groups = np.random.default_rng(0).permutation(np.repeat(np.arange(12), 5))
    model = SparseFlowClassifier(cv=GroupKFold(3)).fit(X, y, groups=groups)
    split = SparseFlowClassifier(cv=list(GroupKFold(3).split(X, y, groups))).fit(X, y)
    np.testing.assert_array_equal(model.coef_, split.coef_)
    with pytest.raises(ValueError, match=r"groups must have one entry per row of X \(60\), got 3"):
        SparseFlowClassifier(cv=GroupKFold(3)).fit(X, y, groups=groups[:3])


@pytest.mark.parametrize("copy", ["equal", "scaled", "negative", "sum"])
@pytest.mark.parametrize("seed", range(2))
def test_of_dependent_features_the_criterion_keeps_one(copy, seed):
    X, y = drawn(150, 6, 2, seed=seed)
    more = {"equal": X[:, 0], "scaled": 3.7 * X[:, 0] + 11, "negative": -X[:, 0], "sum": X[:, 0] + X[:, 1]}[copy]
    Z = np.column_stack([X, more])
    model, plain = SparseFlowClassifier(stop="criterion").fit(Z, y), SparseFlowClassifier(stop="criterion").fit(X, y)
    assert plain.support_[0, :2].all()
    np.testing.assert_allclose(model.decision_function(Z), plain.decision_function(X), rtol=1e-6, atol=1e-8)
    assert model.support_.sum() == plain.support_.sum()


@pytest.mark.parametrize("options", [FAST, {"stop": "criterion"}])
def test_a_common_factor_of_the_weights_changes_nothing(options):
    X, y = drawn(100, 10)
    for w in (np.ones(100), np.random.default_rng(0).uniform(0.5, 2, 100)):
        plain = SparseFlowClassifier(**options).fit(X, y, sample_weight=w)
        assert plain.support_.any()
        for factor in (1e-6, 7.0, 1e6):
            model = SparseFlowClassifier(**options).fit(X, y, sample_weight=factor * w)
            np.testing.assert_allclose(model.coef_, plain.coef_, rtol=1e-6, atol=1e-9)


@pytest.mark.parametrize("size", [1e-300, 1e155, 1e300])
def test_columns_whose_squares_leave_the_range(size):
    X, y = drawn(100, 6)
    factors = np.where(np.arange(6) % 2 == 0, size, 1.0)
    plain, model = SparseFlowClassifier(**FAST).fit(X, y), SparseFlowClassifier(**FAST).fit(X * factors, y)
    assert plain.support_[0, :3].all()
    np.testing.assert_allclose(model.coef_ * factors, plain.coef_, rtol=1e-6)


def test_a_column_far_from_zero_is_as_good_as_near():
    X, y = drawn(100, 6)
    shift = 1e9 * (np.arange(6) == 1)
    near, far = SparseFlowClassifier(**FAST).fit(X, y), SparseFlowClassifier(**FAST).fit(X + shift, y)
    np.testing.assert_allclose(far.coef_, near.coef_, atol=1e-5)
    np.testing.assert_allclose(far.decision_function(X + shift), near.decision_function(X), atol=1e-4)


@pytest.mark.parametrize("size", [1e8, 1e300])
def test_feature_weights_of_any_size(size):
    X, y = drawn(100, 6)
    given = np.ones(6)
    given[:2] = 1 / size, size
    model = SparseFlowClassifier(stop="criterion", feature_weights=given).fit(X, y)
    assert model.support_[0, 0]
    assert np.isfinite(model.coef_).all()

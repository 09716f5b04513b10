"""SparseFlowRegressor: a scikit-learn estimator whose every read-out is what it says."""

import math
import pickle

import numpy as np
import pandas as pd
import pytest
import scipy.sparse as sp
from conftest import minimal_l1, random_sparse
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.optimize import nnls
from scipy.sparse.linalg import LinearOperator, aslinearoperator
from sklearn.base import clone
from sklearn.exceptions import ConvergenceWarning, NotFittedError
from sklearn.feature_selection import SelectFromModel
from sklearn.linear_model import Lasso, LinearRegression
from sklearn.model_selection import GridSearchCV, cross_validate
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.utils.estimator_checks import parametrize_with_checks

import hadaflow as hf
from hadaflow import stopping
from hadaflow.estimators import SparseFlowRegressor
from hadaflow.estimators._design import Design, Projected
from hadaflow.estimators._weights import relative, reweighted
from hadaflow.paths import SaddlePath

#: For problems that no path is promised to come through: what it is worth all the same is looked at.
NOT_THERE = pytest.mark.filterwarnings("ignore:.*has status_:sklearn.exceptions.ConvergenceWarning")
SADDLE_STOPS = ["auto", "criterion", "discrepancy", "null_gradient", "plateau", "end"]


def drawn(m=40, n=60, k=3, *, sigma=0.5, seed=0, positive=False):
    """Columns of different lengths and offsets, the first k of them at work."""
    rng = np.random.default_rng(seed)
    X = (rng.standard_normal((m, n)) + rng.standard_normal(n)) * rng.uniform(0.5, 2, n)
    signs = np.ones(k) if positive else rng.choice([-1.0, 1.0], k)
    return X, 3 + X[:, :k] @ (2 * signs) + sigma * rng.standard_normal(m)


def centred(X, y):
    return X - X.mean(axis=0), y - y.mean()


def residual(model, X, y):
    return float(np.linalg.norm(y - model.predict(X)))


# ---- as scikit-learn asks --------------------------------------------------------------------------------------


@parametrize_with_checks(
    [
        SparseFlowRegressor(),
        SparseFlowRegressor(stop="criterion", criterion="bic"),
        SparseFlowRegressor(stop="null_gradient", positive=True),
        SparseFlowRegressor(stop="end", refit=True),
        SparseFlowRegressor(dynamics="descend", init_scale=0.4, stop=stopping.MaxSteps(100)),
    ]
)
def test_scikit_learn_checks(estimator, check):
    check(estimator)


@pytest.mark.slow
@parametrize_with_checks(
    [
        SparseFlowRegressor(stop="discrepancy"),
        SparseFlowRegressor(stop="null_gradient"),
        SparseFlowRegressor(stop="plateau"),
        SparseFlowRegressor(fit_intercept=False, criterion="ebic"),
        SparseFlowRegressor(dynamics="flow"),
        SparseFlowRegressor(dynamics="flow", depth=2, stop="end"),
        SparseFlowRegressor(dynamics="flow", stop="plateau", refit=True),
        SparseFlowRegressor(dynamics="flow", stop=stopping.MaxTime(3.0), positive=True),
    ]
)
def test_more_scikit_learn_checks(estimator, check):
    check(estimator)


def test_in_a_pipeline_searched_over():
    X, y = drawn(60, 10)
    pipeline = make_pipeline(StandardScaler().set_output(transform="pandas"), SparseFlowRegressor())
    grid = {"sparseflowregressor__stop": ["auto", "criterion"], "sparseflowregressor__criterion": ["fdr", "aic"]}
    search = GridSearchCV(pipeline, grid, cv=3).fit(X, y)
    assert search.best_score_ > 0.9
    assert search.best_estimator_[-1].feature_names_in_.tolist() == [f"x{i}" for i in range(10)]


@pytest.mark.slow
def test_across_processes():
    X, y = drawn(30, 20)
    parallel = cross_validate(SparseFlowRegressor(), X, y, cv=2, n_jobs=2, return_estimator=True)
    serial = cross_validate(SparseFlowRegressor(), X, y, cv=2, return_estimator=True)
    for here, there in zip(serial["estimator"], parallel["estimator"], strict=True):
        np.testing.assert_array_equal(here.coef_, there.coef_)
        np.testing.assert_array_equal(here.path_.final, there.path_.final)


@pytest.mark.parametrize("dynamics", ["saddles", "flow", "descend"])
def test_pickle_and_clone(dynamics):
    X, y = drawn(30, 20)
    model = SparseFlowRegressor(dynamics=dynamics, sigma=0.5, stop="null_gradient").fit(X, y)
    again = pickle.loads(pickle.dumps(model))
    np.testing.assert_array_equal(again.predict(X), model.predict(X))
    assert again.reason_ == model.reason_
    fresh = clone(model)
    assert fresh.get_params() == model.get_params()
    with pytest.raises(NotFittedError):
        fresh.predict(X)
    np.testing.assert_array_equal(fresh.fit(X, y).coef_, model.coef_)


def test_names_of_features():
    X, y = drawn(30, 3)
    frame = pd.DataFrame(X, columns=["age", "size", "sex"])
    model = SparseFlowRegressor().fit(frame, pd.Series(y))
    assert model.feature_names_in_.tolist() == ["age", "size", "sex"]
    np.testing.assert_allclose(model.predict(frame), SparseFlowRegressor().fit(X, y).predict(X))
    with pytest.raises(ValueError, match="feature names should match"):
        model.predict(frame[["size", "age", "sex"]])


def test_features_are_selected_from_the_model():
    X, y = drawn(60, 30)
    selector = SelectFromModel(SparseFlowRegressor(stop="criterion"), threshold=1e-12).fit(X, y)
    np.testing.assert_array_equal(selector.get_support(), selector.estimator_.support_)
    assert selector.transform(X).shape == (60, 3)


def test_callbacks_are_told_of_each_target():
    pytest.importorskip("sklearn.callback")

    class Record:
        def __init__(self):
            self.seen = []

        def setup(self, estimator, context):
            self.seen.append("setup")

        def on_fit_task_begin(self, estimator, context):
            self.seen.append(f"begin {context.task_name}")

        def on_fit_task_end(self, estimator, context):
            self.seen.append(f"end {context.task_name}")

        def teardown(self, estimator, context):
            self.seen.append("teardown")

    X, y = drawn(20, 8)
    record = Record()
    model = SparseFlowRegressor().set_callbacks(record).fit(X, np.column_stack([y, -y]))
    inner = ["begin target 0", "end target 0", "begin target 1", "end target 1"]
    assert record.seen == ["setup", "begin fit", *inner, "end fit", "teardown"]
    record.seen.clear()
    with pytest.raises(ValueError, match="stop must be one of"):
        model.set_params(stop="never").fit(X, y)
    assert record.seen in ([], ["setup", "teardown"])


def test_progress_bar(capsys):
    pytest.importorskip("sklearn.callback")
    pytest.importorskip("rich")
    from sklearn.callback import ProgressBar

    X, y = drawn(20, 8)
    SparseFlowRegressor().set_callbacks(ProgressBar()).fit(X, y)
    assert "SparseFlowRegressor" in capsys.readouterr().out


def test_progress():
    seen = []
    SparseFlowRegressor(progress=seen.append).fit(*drawn())
    assert {type(report) for report in seen} == {hf.Progress}


# ---- where it stops --------------------------------------------------------------------------------------------


def test_auto_is_select():
    X, y = drawn()
    model = SparseFlowRegressor().fit(X, y)
    chosen = hf.select(hf.Problem(*centred(X, y)), rows=39)
    np.testing.assert_allclose(model.coef_, chosen.x, rtol=1e-8, atol=1e-12)
    assert model.intercept_ == pytest.approx(y.mean() - X.mean(axis=0) @ chosen.x)
    assert model.sigma_ == pytest.approx(chosen.sigma)
    assert model.stop_time_ == pytest.approx(chosen.time)
    assert model.dynamics_ == "saddles"
    assert isinstance(model.path_, SaddlePath)
    assert model.status_ is hf.Status.STOPPED
    np.testing.assert_array_equal(model.support_, model.coef_ != 0)


def test_criterion_chooses_the_model():
    X, y = drawn(60, 20, 4, sigma=4.0)
    sizes = [
        SparseFlowRegressor(stop="criterion", criterion=name).fit(X, y).support_.sum()
        for name in ("ebic", "fdr", "bic", "aic")
    ]
    assert sizes == sorted(sizes)
    assert sizes[0] < sizes[-1]


@pytest.mark.parametrize("sigma", [0.1, 1.0, None])
def test_discrepancy_is_the_first_plateau_within_the_noise(sigma):
    X, y = drawn(40, 60, 5)
    model = SparseFlowRegressor(stop="discrepancy", sigma=sigma).fit(X, y)
    level = model.sigma_ * math.sqrt(39)
    assert residual(model, X, y) <= level * (1 + 1e-8)
    A, b = centred(X, y)
    before = model.path_(np.nextafter(model.stop_time_, 0))
    assert np.linalg.norm(A @ before - b) > level
    assert "given" in model.reason_ if sigma else "estimated" in model.reason_


def test_discrepancy_that_no_fit_meets_says_so():
    X, y = drawn(40, 5, 2)
    model = SparseFlowRegressor(stop="discrepancy", sigma=0.01).fit(X, y)
    assert model.reason_.startswith("the end of the path, without")
    assert model.status_ is hf.Status.LEAST_SQUARES
    A, b = centred(X, y)
    np.testing.assert_allclose(model.coef_, np.linalg.lstsq(A, b)[0])


def test_null_gradient_is_the_first_quiet_plateau():
    X, y = drawn(40, 60, 5)
    model = SparseFlowRegressor(stop="null_gradient", sigma=0.5).fit(X, y)
    A, b = centred(X, y)
    level = 0.5 * math.sqrt(2 * math.log(60))

    def pull(x):
        return float((np.abs(A.T @ (b - A @ x)) / np.linalg.norm(A, axis=0)).max())

    assert pull(model.coef_) <= level < pull(model.path_(np.nextafter(model.stop_time_, 0)))
    assert "first plateau" in model.reason_


def test_null_gradient_of_a_positive_model_looks_at_what_pulls_upward():
    """Features that only negative coefficients would suit are no reason to go on."""
    X, y = drawn(60, 20, 2, positive=True, seed=3)
    y -= 5 * X[:, -1]
    model = SparseFlowRegressor(stop="null_gradient", sigma=8.0, positive=True).fit(X, y)
    A, b = centred(X, y)
    pulls = A.T @ (b - A @ model.coef_) / np.linalg.norm(A, axis=0)
    level = 8 * math.sqrt(2 * math.log(20))
    assert pulls.max() <= level < -pulls.min()
    assert model.stop_time_ < model.path_.times[-1]


def test_without_noise_in_either_rule():
    """sigma = 0 asks for the end, and is not told that it was met before."""
    X, y = drawn(30, 60, 3, sigma=0.0)
    for stop in ("discrepancy", "null_gradient"):
        model = SparseFlowRegressor(stop=stop, sigma=0.0).fit(X, y)
        np.testing.assert_array_equal(np.flatnonzero(model.support_), [0, 1, 2])
        assert residual(model, X, y) < 1e-9


def test_plateau_that_lasts_longest():
    X, y = drawn(60, 20, 2, sigma=0.1)
    model = SparseFlowRegressor(stop="plateau").fit(X, y)
    times = model.path_.times
    k = 1 + int(np.argmax(times[2:] / times[1:-1]))
    assert model.stop_time_ == times[k]
    np.testing.assert_array_equal(model.coef_, model.path_(times[k]))
    np.testing.assert_array_equal(np.flatnonzero(model.support_), [0, 1])


@pytest.mark.parametrize(("sigma", "expected"), [(0.0, [0, 1]), (0.1, [0, 1])])
def test_the_end_lasts_longest_only_if_it_is_sparse(sigma, expected):
    """m < n: the end fits y whatever y is, which is no plateau to stop on unless few entries do it."""
    X, y = drawn(25, 30, 2, sigma=sigma, seed=1)
    model = SparseFlowRegressor(stop="plateau").fit(X, y)
    np.testing.assert_array_equal(np.flatnonzero(model.support_), expected)
    assert ("for ever" in model.reason_) == (sigma == 0)


def test_the_end_interpolates_or_is_least_squares():
    X, y = drawn(20, 40)
    model = SparseFlowRegressor(stop="end").fit(X, y)
    assert residual(model, X, y) < 1e-9
    assert model.status_ is hf.Status.EXACT
    X, y = drawn(40, 6)
    model = SparseFlowRegressor(stop="end").fit(X, y)
    A, b = centred(X, y)
    np.testing.assert_allclose(model.coef_, np.linalg.lstsq(A, b)[0])


@pytest.mark.parametrize("stop", SADDLE_STOPS)
def test_refit_is_least_squares_on_the_support(stop):
    X, y = drawn(40, 30, 8, sigma=3.0)
    sigma = 2.0 if stop in ("discrepancy", "null_gradient") else None
    plain = SparseFlowRegressor(stop=stop, sigma=sigma).fit(X, y)
    model = SparseFlowRegressor(stop=stop, sigma=sigma, refit=True).fit(X, y)
    support = np.flatnonzero(plain.support_)
    design = np.column_stack([np.ones(40), X[:, support]])
    values = np.linalg.lstsq(design, y)[0]
    np.testing.assert_allclose([model.intercept_, *model.coef_[support]], values, rtol=1e-8)
    np.testing.assert_array_equal(model.support_, plain.support_)


def test_refit_of_a_positive_model_is_non_negative_least_squares():
    X, y = drawn(30, 20, 6, sigma=4.0, positive=True)
    plain = SparseFlowRegressor(positive=True).fit(X, y)
    model = SparseFlowRegressor(positive=True, refit=True).fit(X, y)
    A, b = centred(X, y)
    expected = np.zeros(20)
    expected[plain.support_] = nnls(A[:, plain.support_], b)[0]
    np.testing.assert_allclose(model.coef_, expected, atol=1e-9)


# ---- training --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("dynamics", ["flow", "descend"])
def test_training_stops_within_the_noise(dynamics):
    X, y = drawn(40, 60, 3)
    model = SparseFlowRegressor(dynamics=dynamics, sigma=0.5).fit(X, y)
    level = 0.5 * math.sqrt(39)
    assert residual(model, X, y) == pytest.approx(level, rel=1e-3 if dynamics == "flow" else 0.1)
    assert model.dynamics_ == dynamics
    assert model.n_iter_ > 10
    np.testing.assert_array_equal(np.flatnonzero(model.support_), [0, 1, 2])
    assert model.certificate_.residual < 1


@pytest.mark.parametrize("stop", ["null_gradient", "plateau", stopping.MaxTime(5.0)])
def test_flow_by_other_rules(stop):
    X, y = drawn(40, 20, 2)
    model = SparseFlowRegressor(dynamics="flow", depth=2, stop=stop).fit(X, y)
    assert model.status_ is hf.Status.STOPPED
    A, b = centred(X, y)
    if stop == "null_gradient":
        pulls = np.abs(A.T @ (b - A @ model.path_.x)) / np.linalg.norm(A, axis=0)
        assert pulls.max() == pytest.approx(model.sigma_ * math.sqrt(2 * math.log(20)), rel=1e-3)
    elif stop == "plateau":
        np.testing.assert_array_equal(np.flatnonzero(np.abs(model.coef_) > 0.1), [0, 1])
    else:
        assert model.stop_time_ == pytest.approx(5.0)
        assert model.sigma_ is None


def test_parameters_of_training_ask_for_training():
    X, y = drawn(30, 10)
    for parameters in ({"depth": 2}, {"init_scale": 0.01}, {"stop": stopping.MaxTime(1.0)}):
        model = SparseFlowRegressor(**parameters).fit(X, y)
        assert model.dynamics_ == "flow"
        assert isinstance(model.path_, hf.FlowPath)


@pytest.mark.parametrize("dynamics", ["flow", "descend"])
@pytest.mark.parametrize("positive", [True, False])
def test_training_on_pure_noise_returns_zeros(dynamics, positive):
    """A model without entries leaves exactly the noise that is estimated from it: the run ends where it starts."""
    rng = np.random.default_rng(4)
    X, y = rng.standard_normal((50, 3)), rng.integers(0, 3, 50)
    model = SparseFlowRegressor(dynamics=dynamics, depth=2, positive=positive).fit(X, y)
    assert not model.coef_.any()


def test_descent_has_a_budget(monkeypatch):
    monkeypatch.setattr("hadaflow.estimators._readings._MOST_STEPS", 50)
    with pytest.warns(ConvergenceWarning, match="SparseFlowRegressor has status_ NOT_CONVERGED"):
        model = SparseFlowRegressor(dynamics="descend", stop="end").fit(*drawn(30, 10))
    assert model.n_iter_ == 50
    assert model.status_ is hf.Status.NOT_CONVERGED


@NOT_THERE
@pytest.mark.parametrize("depth", [2, 3])
def test_flow_from_a_tiny_start_ends_where_the_saddle_path_does(depth):
    X, y = drawn(12, 20, 3)
    end = SparseFlowRegressor(stop="end").fit(X, y)
    scale = 1e-100 if depth == 2 else 1e-5
    model = SparseFlowRegressor(dynamics="flow", depth=depth, init_scale=scale, stop="end").fit(X, y)
    assert residual(model, X, y) < 1e-4
    lengths = np.linalg.norm(centred(X, y)[0], axis=0)
    assert lengths @ np.abs(model.coef_) <= 1.01 * lengths @ np.abs(end.coef_)


# ---- what is not penalised, and how much -----------------------------------------------------------------------


@pytest.mark.parametrize("stop", SADDLE_STOPS)
@pytest.mark.parametrize("kind", [np.asarray, sp.csr_array, sp.csc_matrix])
def test_sample_weight_counts_repetitions(stop, kind):
    X, y = drawn(30, 10, 2, sigma=1.0)
    X[np.abs(X) < 0.5] = 0.0
    weights = np.random.default_rng(0).integers(0, 4, 30)
    model = SparseFlowRegressor(stop=stop).fit(kind(X), y, weights)
    repeated = SparseFlowRegressor(stop=stop).fit(kind(np.repeat(X, weights, axis=0)), np.repeat(y, weights))
    np.testing.assert_allclose(model.coef_, repeated.coef_, rtol=1e-7, atol=1e-10)
    assert model.intercept_ == pytest.approx(repeated.intercept_)
    assert model.stop_time_ == pytest.approx(repeated.stop_time_)
    assert (model.sigma_ is None) == (repeated.sigma_ is None)
    assert model.sigma_ is None or model.sigma_ == pytest.approx(repeated.sigma_)


def test_weights_of_one_are_no_weights():
    X, y = drawn()
    model = SparseFlowRegressor().fit(X, y, np.ones(40))
    np.testing.assert_array_equal(model.coef_, SparseFlowRegressor().fit(X, y).coef_)


@pytest.mark.parametrize("weighted", [False, True])
def test_sparse_features_stay_sparse(weighted, monkeypatch):
    """Beside an intercept a few columns are made dense, those that the path works on; never all of them."""
    X = random_sparse((60, 3000), 0.1, np.random.default_rng(0))
    y = 1 + X[:, [0, 1]].toarray() @ [5.0, -5.0] + 0.1 * np.random.default_rng(0).standard_normal(60)
    weights = np.linspace(0.5, 1.5, 60) if weighted else None
    asked = []
    columns = Projected.columns
    monkeypatch.setattr(Projected, "columns", lambda self, index: asked.append(len(index)) or columns(self, index))
    for kind in (sp.csr_array, sp.csc_array, sp.csr_matrix):
        monkeypatch.setattr(kind, "toarray", _only_narrow(kind.toarray))
    model = SparseFlowRegressor().fit(X, y, weights)
    monkeypatch.undo()
    assert max(asked) < 1000
    dense = SparseFlowRegressor().fit(X.toarray(), y, weights)
    np.testing.assert_allclose(model.coef_, dense.coef_, rtol=1e-7, atol=1e-9)
    np.testing.assert_allclose(model.predict(X), dense.predict(X.toarray()), atol=1e-9)


def _only_narrow(toarray):
    def guarded(self, *args, **kwargs):
        assert self.shape[1] < 1000
        return toarray(self, *args, **kwargs)

    return guarded


@pytest.mark.parametrize("intercept", [True, False])
@pytest.mark.parametrize("weighted", [True, False])
@pytest.mark.parametrize("kind", [np.asarray, sp.csr_array])
def test_features_of_weight_zero_are_projected_out(intercept, weighted, kind):
    """Frisch, Waugh and Lovell by hand."""
    X, y = drawn(30, 12, 4, sigma=1.0)
    free, rest = [3, 7], [i for i in range(12) if i not in (3, 7)]
    sample_weight = np.linspace(0.5, 1.5, 30) if weighted else np.ones(30)
    penalties = np.linspace(1, 2, 12)
    penalties[free] = 0
    model = SparseFlowRegressor(feature_weights=penalties, fit_intercept=intercept)
    model.fit(kind(X), y, sample_weight)
    rows = sample_weight.sum() ** 2 / (sample_weight**2).sum()  # Kish's
    root = np.sqrt(sample_weight * rows / sample_weight.sum())[:, None]
    U = root * np.column_stack([np.ones((30, int(intercept))), X[:, free]])
    project = np.eye(30) - U @ np.linalg.pinv(U)
    A, b = project @ (root * X[:, rest]), project @ (root[:, 0] * y)
    lengths = np.linalg.norm(A, axis=0)
    chosen = hf.select(hf.Problem(A, b), weights=lengths * penalties[rest], rows=round(rows) - U.shape[1])
    np.testing.assert_allclose(model.coef_[rest], chosen.x, rtol=1e-7, atol=1e-9)
    values = np.linalg.lstsq(U, root[:, 0] * (y - X[:, rest] @ chosen.x))[0]
    np.testing.assert_allclose(model.coef_[free], values[int(intercept) :], rtol=1e-7)
    assert model.intercept_ == pytest.approx(values[0] if intercept else 0.0)


def test_dependent_features_of_weight_zero():
    """A free feature that others explain gets 0, and predictions are those without it."""
    X, y = drawn(30, 6, 2)
    extra = np.column_stack([X, X[:, 0] + X[:, 1], np.full(30, 5.0)])
    penalties = np.array([0, 0, 1, 1, 1, 1, 0, 0.0])
    model = SparseFlowRegressor(feature_weights=penalties).fit(extra, y)
    plain = SparseFlowRegressor(feature_weights=penalties[:6]).fit(X, y)
    np.testing.assert_allclose(model.predict(extra), plain.predict(X))
    assert np.count_nonzero(model.coef_[[0, 1, 6, 7]]) <= 3
    np.testing.assert_allclose(model.coef_[2:6], plain.coef_[2:6], atol=1e-9)


def test_measurements_that_free_features_explain():
    X, _ = drawn(30, 8, 2)
    penalties = np.array([0, 0, 0, 1, 1, 1, 1, 1.0])
    for dtype in ("f8", "f4"):
        y = (2 + X[:, :3] @ [1.0, -2.0, 3.0]).astype(dtype)
        model = SparseFlowRegressor(feature_weights=penalties, stop="end").fit(X.astype(dtype), y)
        assert not model.coef_[3:].any()
        np.testing.assert_allclose(model.coef_[:3], [1.0, -2.0, 3.0], rtol=1e-4 if dtype == "f4" else 1e-9)


@pytest.mark.parametrize(
    ("dynamics", "constant"),
    [*(("saddles", value) for value in (1.0, 1e-9, 0.1, 1e60, -7e90)), ("flow", 0.1), ("descend", 1e60)],
)
@pytest.mark.parametrize("positive", [True, False])
def test_constant_features_get_zero(dynamics, constant, positive):
    X, y = drawn(40, 10, 2, positive=True)
    X[:, 5] = constant
    stop = "end" if dynamics == "saddles" else "plateau"
    model = SparseFlowRegressor(dynamics=dynamics, stop=stop, positive=positive).fit(1e-9 * X, y)
    others = SparseFlowRegressor(dynamics=dynamics, stop=stop, positive=positive)
    others.fit(1e-9 * np.delete(X, 5, axis=1), y)
    assert model.coef_[5] == 0
    largest = np.abs(others.coef_).max()
    np.testing.assert_allclose(np.delete(model.coef_, 5), others.coef_, rtol=1e-4, atol=1e-4 * largest)


def test_constant_measurements():
    X, _ = drawn(20, 5)
    model = SparseFlowRegressor().fit(X, np.full(20, 0.1))
    assert not model.coef_.any()
    assert model.intercept_ == pytest.approx(0.1)


def test_units_of_features_do_not_matter():
    X, y = drawn(30, 20, 3)
    units = 10 ** np.random.default_rng(0).uniform(-90, 90, 20)
    for parameters in ({}, {"stop": "end"}, {"refit": True, "stop": "plateau"}):
        plain = SparseFlowRegressor(**parameters).fit(X, y)
        scaled = SparseFlowRegressor(**parameters).fit(X * units, y)
        np.testing.assert_allclose(scaled.coef_ * units, plain.coef_, rtol=1e-6, atol=1e-9)
    penalties = np.ones(20)
    penalties[:2] = 0
    plain = SparseFlowRegressor(feature_weights=penalties).fit(X, y)
    scaled = SparseFlowRegressor(feature_weights=penalties).fit(X * units, y)
    np.testing.assert_allclose(scaled.coef_ * units, plain.coef_, rtol=1e-6, atol=1e-9)


@pytest.mark.parametrize("stop", SADDLE_STOPS)
@pytest.mark.parametrize("scale", [1e-100, 1e100])
def test_units_of_the_targets_do_not_matter(stop, scale):
    X, y = drawn(20, 30, 2)
    plain = SparseFlowRegressor(stop=stop, refit=True).fit(X, y)
    for features in (1.0, scale, 1 / scale):
        scaled = SparseFlowRegressor(stop=stop, refit=True).fit(features * X, scale * y)
        np.testing.assert_allclose(scaled.coef_ * features / scale, plain.coef_, rtol=1e-6, atol=1e-9)
        assert scaled.intercept_ / scale == pytest.approx(plain.intercept_)


@pytest.mark.parametrize("weighted", [True, False])
@pytest.mark.parametrize("positive", [True, False])
def test_the_end_has_the_smallest_weighted_norm(weighted, positive):
    """Against a linear programme, lengths of the centred columns among the weights."""
    X, y = drawn(12, 30, 4, sigma=0.0 if positive else 0.5, positive=True)
    given = np.linspace(0.5, 3, 30) if weighted else None
    model = SparseFlowRegressor(stop="end", feature_weights=given, positive=positive).fit(X, y)
    A, b = centred(X, y)
    weights = np.linalg.norm(A, axis=0) * (1.0 if given is None else given)
    best = minimal_l1(A[:-1], b[:-1], positive=positive, weights=weights)  # the last row follows from the others
    assert residual(model, X, y) < 1e-8
    assert weights @ np.abs(model.coef_) == pytest.approx(best, rel=1e-7)
    assert model.certificate_.gap < 1e-7
    assert not positive or (model.coef_ >= 0).all()


def test_running_average_is_near_the_lasso():
    """Equal to it while no coordinate has left; in scikit-learn's units the penalty 1/tau is ``1 / (tau m)``."""
    X, y = drawn(60, 15, 6, sigma=1.0)
    path = SparseFlowRegressor(stop="end").fit(X, y).path_
    A, b = centred(X, y)
    lengths = np.linalg.norm(A, axis=0)
    for time in np.geomspace(path.times[1] * 1.1, path.times[-1], 6):
        lasso = Lasso(alpha=1 / (60 * time), fit_intercept=False, tol=1e-12, max_iter=100_000).fit(A / lengths, b)
        np.testing.assert_allclose(path.average(time) * lengths, lasso.coef_, atol=2e-2 * np.abs(lasso.coef_).max())


def test_positive_is_non_negative_least_squares_at_the_end():
    X, y = drawn(40, 12, 6, sigma=3.0)
    A, b = centred(X, y)
    model = SparseFlowRegressor(positive=True, stop="end").fit(X, y)
    np.testing.assert_allclose(model.coef_, nnls(A, b)[0], atol=1e-8)
    assert (model.coef_ >= 0).all()
    assert (model.coef_ == 0).any()


@pytest.mark.parametrize("seed", range(4))
def test_positive_model_is_least_squares_inside(seed):
    X, y = drawn(30, 20, 4, sigma=2.0, seed=seed)
    model = SparseFlowRegressor(positive=True, stop="criterion", criterion="bic").fit(X, y)
    A, b = centred(X, y)
    assert (model.coef_ >= 0).all()
    np.testing.assert_allclose(model.coef_[model.support_], nnls(A[:, model.support_], b)[0], rtol=1e-7)


# ---- shapes, formats, types ------------------------------------------------------------------------------------


@pytest.mark.parametrize("parameters", [{}, {"stop": "discrepancy"}, {"dynamics": "flow", "stop": "plateau"}])
def test_targets_are_fitted_one_by_one(parameters):
    X, y = drawn(30, 12, 3)
    Y = np.column_stack([y, np.random.default_rng(0).standard_normal(30), -2 * y + X[:, 5]])
    model = SparseFlowRegressor(**parameters).fit(X, Y)
    assert model.coef_.shape == (3, 12)
    assert model.predict(X).shape == (30, 3)
    for k in range(3):
        single = SparseFlowRegressor(**parameters).fit(X, Y[:, k])
        np.testing.assert_array_equal(model.coef_[k], single.coef_)
        assert model.intercept_[k] == single.intercept_
        np.testing.assert_array_equal(model.support_[k], single.support_)
        for name in ("reason_", "status_", "sigma_", "stop_time_", "n_iter_"):
            assert getattr(model, name)[k] == getattr(single, name)
        assert model.certificate_[k] == single.certificate_
    column = SparseFlowRegressor(**parameters).fit(X, Y[:, :1])
    assert column.coef_.shape == (1, 12)
    assert column.predict(X).shape == (30, 1)
    assert isinstance(column.reason_, list)


@pytest.mark.parametrize("parameters", [{}, {"dynamics": "flow"}, {"dynamics": "descend", "refit": True}])
def test_float32_stays(parameters):
    X, y = drawn()
    model = SparseFlowRegressor(**parameters).fit(X.astype("f4"), y.astype("f4"))
    assert model.coef_.dtype == model.predict(X.astype("f4")).dtype == np.float32
    wide = SparseFlowRegressor(**parameters).fit(X, y)
    assert wide.coef_.dtype == np.float64
    np.testing.assert_array_equal(model.support_, wide.support_)
    np.testing.assert_allclose(model.coef_, wide.coef_, atol=1e-2)
    both = SparseFlowRegressor(**parameters).fit(X.astype("f4"), np.column_stack([y, y]).astype("f4"))
    assert both.coef_.dtype == both.intercept_.dtype == both.predict(X.astype("f4")).dtype == np.float32


def test_inputs_are_only_read():
    X, y = drawn()
    given, weights = np.linspace(0, 1, 60), np.linspace(0, 2, 40)
    for array in (X, y, given, weights):
        array.flags.writeable = False
    copies = X.copy(), y.copy(), given.copy(), weights.copy()
    for parameters in ({}, {"dynamics": "flow", "refit": True}):
        SparseFlowRegressor(feature_weights=given, **parameters).fit(X, y, weights)
    for array, copy in zip((X, y, given, weights), copies, strict=True):
        np.testing.assert_array_equal(array, copy)


@pytest.mark.parametrize("intercept", [True, False])
@pytest.mark.parametrize("weighted", [True, False])
@pytest.mark.parametrize("parameters", [{}, {"stop": "discrepancy"}, {"refit": True}])
def test_operators(intercept, weighted, parameters):
    """A LinearOperator is fitted like the matrix with equal weights of all features."""
    X, y = drawn(40, 60)
    weights = np.linspace(0.5, 1.5, 40) if weighted else None
    operator = aslinearoperator(X)
    model = SparseFlowRegressor(fit_intercept=intercept, **parameters).fit(operator, y, weights)
    design = Design.of(X, weights, intercept, None)
    lengths = np.sqrt(design.operator.column_squares())
    dense = SparseFlowRegressor(fit_intercept=intercept, feature_weights=1 / lengths, **parameters)
    dense.fit(X, y, weights)
    np.testing.assert_allclose(model.coef_, dense.coef_, rtol=1e-6, atol=1e-8)
    np.testing.assert_allclose(model.predict(operator), dense.predict(X), rtol=1e-6)
    np.testing.assert_allclose(model.predict(X), dense.predict(X), rtol=1e-6)
    both = SparseFlowRegressor(fit_intercept=intercept, **parameters).fit(operator, np.column_stack([y, -y]), weights)
    np.testing.assert_allclose(both.predict(operator)[:, 1], -model.predict(X), rtol=1e-6)


def test_names_of_an_earlier_fit_are_forgotten():
    X, y = drawn(20, 3, 1)
    model = SparseFlowRegressor().fit(pd.DataFrame(X, columns=["a", "b", "c"]), y)
    model.fit(aslinearoperator(X), y)
    assert not hasattr(model, "feature_names_in_")


@NOT_THERE
@pytest.mark.parametrize("stop", SADDLE_STOPS)
def test_powers_of_one_variable(stop):
    """Columns so dependent that a Gram matrix says nothing: no fit is worse than none, and positive ones are."""
    X, rng = np.vander(np.linspace(0, 1, 30), 25), np.random.default_rng(0)
    sigma = 0.1 if stop in ("discrepancy", "null_gradient") else None
    for seed in range(5):
        y = rng.standard_normal(30) if seed % 2 else X @ (rng.random(25) * (rng.random(25) < 0.3))
        for positive in (True, False):
            for criterion in ("aic", "fdr"):
                model = SparseFlowRegressor(stop=stop, positive=positive, criterion=criterion, sigma=sigma).fit(X, y)
                assert residual(model, X, y) <= np.linalg.norm(y - y.mean()) * (1 + 1e-9)
                assert not positive or (model.coef_ >= 0).all()


def test_more_repetitions_than_rows():
    """Degrees of freedom count repetitions; columns depend on one another from the number of rows on."""
    X = np.vander(np.linspace(0, 1, 9), 15)
    y = np.random.default_rng(0).standard_normal(9)
    for criterion in ("aic", "bic"):
        model = SparseFlowRegressor(criterion=criterion, fit_intercept=False, stop="criterion").fit(X, y, np.full(9, 3))
        assert model.support_.sum() <= 9
        assert np.isfinite(model.predict(X)).all()


ENTRIES = st.integers(-2, 2)


@given(
    st.integers(1, 6).flatmap(
        lambda m: st.integers(1, 6).flatmap(
            lambda n: st.tuples(
                st.lists(st.lists(ENTRIES, min_size=n, max_size=n), min_size=m, max_size=m),
                st.lists(ENTRIES, min_size=m, max_size=m),
                st.lists(st.integers(0, 2), min_size=m, max_size=m).filter(any),
                st.lists(st.integers(0, 2), min_size=n, max_size=n).filter(any),
            )
        )
    ),
    st.sampled_from(SADDLE_STOPS),
    st.booleans(),
    st.booleans(),
    st.booleans(),
)
@settings(max_examples=150, deadline=None)
def test_any_small_design(data, stop, intercept, positive, refit):
    """Small whole numbers: features repeat, vanish, are constant and depend on one another."""
    X, y, weights, penalties = (np.array(part, dtype=float) for part in data)
    if positive:
        penalties = penalties + 1
    model = SparseFlowRegressor(
        stop=stop, fit_intercept=intercept, positive=positive, refit=refit, feature_weights=penalties
    ).fit(X, y, weights)
    assert np.isfinite(model.coef_).all()
    assert np.isfinite(model.intercept_)
    assert np.isfinite(model.predict(X)).all()
    np.testing.assert_array_equal(model.support_, model.coef_ != 0)
    assert not positive or (model.coef_ >= -1e-12).all()
    assert intercept or model.intercept_ == 0
    null = math.sqrt(weights @ (y - (weights @ y / weights.sum() if intercept else 0)) ** 2)
    assert math.sqrt(weights @ (y - model.predict(X)) ** 2) <= null + 1e-9


@NOT_THERE
@given(st.integers(0, 10_000), st.sampled_from(["flow", "descend"]), st.booleans(), st.booleans())
@settings(max_examples=8, deadline=None)
def test_any_small_training(seed, dynamics, intercept, positive):
    rng = np.random.default_rng(seed)
    m, n = rng.integers(1, 8, 2)
    X, y = rng.integers(-2, 3, (m, n)).astype(float), rng.integers(-2, 3, m)
    model = SparseFlowRegressor(
        dynamics=dynamics, fit_intercept=intercept, positive=positive, sigma=0.5, stop="null_gradient"
    ).fit(X, y)
    assert np.isfinite(model.coef_).all()
    np.testing.assert_array_equal(model.support_, model.coef_ != 0)
    assert np.isfinite(model.predict(X)).all()
    assert not positive or (model.coef_ >= 0).all()


# ---- bad input -------------------------------------------------------------------------------------------------

X3, Y3 = np.arange(12.0).reshape(4, 3) % 5, np.array([1.0, 2.0, 0.0, 1.0])
ZERO_FIRST = [0.0, 1.0, 1.0]


@pytest.mark.parametrize(
    ("parameters", "one", "other"),
    [
        ({"dynamics": "saddles", "depth": 3}, "depth=3", 'dynamics="saddles"'),
        ({"dynamics": "saddles", "init_scale": 0.1}, r"init_scale=0\.1", 'dynamics="saddles"'),
        ({"dynamics": "saddles", "stop": stopping.MaxTime(1.0)}, "stop=MaxTime", 'dynamics="saddles"'),
        ({"dynamics": "flow", "stop": "criterion"}, 'stop="criterion"', 'dynamics="flow"'),
        ({"dynamics": "descend", "stop": "criterion"}, 'stop="criterion"', 'dynamics="descend"'),
        ({"depth": 3, "stop": "criterion"}, 'stop="criterion"', "but depth asks for training"),
        ({"depth": 3, "init_scale": 1, "stop": "criterion"}, 'stop="criterion"', "depth and init_scale ask"),
        ({"positive": True, "feature_weights": ZERO_FIRST}, "positive=True", "feature_weights 0"),
    ],
)
def test_parameters_that_exclude_each_other(parameters, one, other):
    with pytest.raises(ValueError, match=f"{one}.*{other}|{other}.*{one}"):
        SparseFlowRegressor(**parameters).fit(X3, Y3)


@pytest.mark.parametrize(
    ("parameters", "error", "message"),
    [
        ({"dynamics": "sgd"}, ValueError, "dynamics must be one of 'auto', 'saddles', 'flow', 'descend', got 'sgd'"),
        ({"stop": "early"}, ValueError, "stop must be one of 'auto', 'criterion', .* got 'early'"),
        ({"stop": "early", "depth": 3}, ValueError, "stop must be one of .* got 'early'"),
        ({"stop": 3}, ValueError, "stop must be one of .* got 3"),
        ({"criterion": "cv"}, ValueError, "criterion must be one of 'fdr', 'ebic', 'bic', 'aic', got 'cv'"),
        ({"chance": 0.0}, ValueError, r"chance must be a finite number > 0, got 0\.0"),
        ({"chance": 1.0}, ValueError, "chance must lie between 0 and 1, got 1"),
        ({"sigma": -1.0}, ValueError, r"sigma must be a finite number >= 0, got -1\.0"),
        ({"sigma": math.nan}, ValueError, "sigma must be a finite number >= 0, got nan"),
        ({"sigma": "low"}, TypeError, "sigma must be a number, got 'low'"),
        ({"depth": 1.5}, ValueError, r"depth must be a finite number >= 2, got 1\.5"),
        ({"init_scale": 0.0}, ValueError, r"init_scale must be a finite number > 0, got 0\.0"),
        ({"fit_intercept": 1}, TypeError, "fit_intercept must be True or False, got 1"),
        ({"positive": "yes"}, TypeError, "positive must be True or False, got 'yes'"),
        ({"refit": None}, TypeError, "refit must be True or False, got None"),
        ({"progress": 3}, TypeError, "progress must be callable or None, got 3"),
        ({"feature_weights": [1.0, 1.0]}, ValueError, r"feature_weights must have one entry per feature \(3\), got 2"),
        ({"feature_weights": [1.0, -1.0, 1.0]}, ValueError, "feature_weights must not be negative, but entry 1 is -1"),
        ({"feature_weights": [1.0, math.nan, 1.0]}, ValueError, "feature_weights contains nan"),
        ({"feature_weights": np.zeros(3)}, ValueError, "feature_weights are zero everywhere"),
        ({"feature_weights": "equal"}, TypeError, "feature_weights must be an array of real numbers, got str"),
    ],
)
def test_bad_parameters(parameters, error, message):
    with pytest.raises(error, match=message):
        SparseFlowRegressor(**parameters).fit(X3, Y3)


@pytest.mark.parametrize(
    ("X", "y", "message"),
    [
        (np.where(X3 == 4, np.nan, X3), Y3, "Input X contains NaN"),
        (np.where(X3 == 4, np.inf, X3), Y3, "Input X contains infinity"),
        (sp.csr_array(np.where(X3 == 4, np.nan, X3)), Y3, "Input X contains NaN"),
        (X3, [1, 2, math.nan, 0], "Input y contains NaN"),
        (X3, [1, 2, math.inf, 0], "Input y contains infinity"),
        ([["a", "b"]] * 4, Y3, "could not convert string to float"),
        (X3 + 1j, Y3, "Complex data not supported"),
        (X3[0], Y3, "Expected 2D array, got 1D array"),
        (X3, Y3[:2], "inconsistent numbers of samples"),
        (X3, np.ones((4, 1, 1)), "Found array with dim 3"),
        (np.empty((0, 3)), [], "0 sample"),
        (np.empty((4, 0)), Y3, "0 feature"),
        (X3, None, "requires y to be passed"),
    ],
)
def test_bad_data(X, y, message):
    with pytest.raises(ValueError, match=message):
        SparseFlowRegressor().fit(X, y)


@pytest.mark.parametrize(
    ("weights", "message"),
    [
        ([1, 1, 1], r"sample_weight.shape == \(3,\), expected \(4,\)"),
        ([1, 1, -1, 1], "Negative values in data"),
        ([1, 1, math.nan, 1], "Input sample_weight contains NaN"),
        (np.zeros(4), "is zero everywhere|at least one non-zero"),
    ],
)
def test_bad_sample_weight(weights, message):
    with pytest.raises(ValueError, match=message):
        SparseFlowRegressor().fit(X3, Y3, weights)


OPERATOR = aslinearoperator(X3)


@pytest.mark.parametrize(
    ("parameters", "data", "message"),
    [
        ({}, (OPERATOR, Y3, [0, 1, 1, 1]), "sample_weight of 0 needs the rows of X, which a LinearOperator"),
        ({"feature_weights": ZERO_FIRST}, (OPERATOR, Y3), "feature_weights of 0 need the columns of X"),
        ({}, (OPERATOR, None), "requires y to be passed, but the target y is None"),
        ({}, (OPERATOR, Y3[:3]), r"one entry per row of X: X has shape \(4, 3\), y has length 3"),
        ({}, (OPERATOR, np.where(Y3 == 2, np.nan, Y3)), "y contains nan"),
    ],
)
def test_bad_data_beside_an_operator(parameters, data, message):
    with pytest.raises(ValueError, match=message):
        SparseFlowRegressor(**parameters).fit(*data)


def test_operators_without_adjoint_and_of_other_widths():
    with pytest.raises(TypeError, match="has no adjoint"):
        SparseFlowRegressor().fit(LinearOperator((4, 3), matvec=lambda v: X3 @ v, dtype=float), Y3)
    model = SparseFlowRegressor().fit(OPERATOR, Y3)
    with pytest.raises(ValueError, match="X has 4 features, but SparseFlowRegressor is expecting 3"):
        model.predict(aslinearoperator(X3.T))
    with pytest.raises(ValueError, match="X has 4 features, but SparseFlowRegressor is expecting 3"):
        model.predict(X3.T)


@pytest.mark.parametrize("parameters", [{}, {"stop": "end"}, {"dynamics": "flow", "stop": "plateau"}])
def test_a_noise_that_nothing_asks_for_is_refused(parameters):
    X, y = drawn()
    with pytest.raises(ValueError, match="sigma has no part in stop="):
        SparseFlowRegressor(sigma=0.5, **parameters).fit(X, y)


def test_weights_below_one_are_no_counts():
    """Precisions that sum to 1: the scale of the weights does not matter."""
    X, y = drawn(60, 40)
    plain = SparseFlowRegressor().fit(X, y)
    model = SparseFlowRegressor().fit(X, y, sample_weight=np.full(60, 1 / 64))
    assert plain.support_.any()
    np.testing.assert_allclose(model.coef_, plain.coef_, rtol=1e-10, atol=1e-14)
    np.testing.assert_allclose(model.sigma_, plain.sigma_)


@pytest.mark.parametrize(
    "options", [{}, {"stop": "criterion"}, {"stop": "discrepancy", "sigma": 0.5}, {"dynamics": "flow"}]
)
@pytest.mark.parametrize("kind", ["real", "equal", "counts"])
def test_a_common_factor_of_the_weights_changes_nothing(options, kind):
    X, y = drawn(60, 40)
    rng = np.random.default_rng(1)
    w = {"real": rng.uniform(0.5, 2, 60), "equal": np.full(60, 3.0), "counts": rng.integers(0, 4, 60) * 1.0}[kind]
    plain = SparseFlowRegressor(**options).fit(X, y, w)
    assert plain.support_[:3].all()
    for factor in (1e3, 1e6) if kind == "counts" else (1e-6, 1e-3, 7.0, 1e6):
        model = SparseFlowRegressor(**options).fit(X, y, factor * w)
        np.testing.assert_allclose(model.coef_, plain.coef_, rtol=1e-7, atol=1e-9)
        np.testing.assert_allclose(model.stop_time_, plain.stop_time_, rtol=1e-7)
        np.testing.assert_allclose(model.sigma_, plain.sigma_, rtol=1e-9)


@pytest.mark.parametrize("seed", range(3))
def test_weights_that_hardly_differ_hardly_make_a_difference(seed):
    X, y = drawn(100, 40, 8, sigma=1.0, seed=seed)
    for w in (np.ones(100), np.random.default_rng(seed).integers(1, 4, 100) * 1.0):
        whole = SparseFlowRegressor(stop="criterion").fit(X, y, w)
        assert whole.support_.sum() >= 8
        w[w == 1] -= 1e-3 * (np.arange(np.count_nonzero(w == 1)) == 0)
        model = SparseFlowRegressor(stop="criterion").fit(X, y, w)
        np.testing.assert_array_equal(model.support_, whole.support_)
        assert model.sigma_ == pytest.approx(whole.sigma_, rel=1e-2)


def test_sigma_is_in_units_of_y_whatever_the_weights():
    rng = np.random.default_rng(0)
    X = rng.standard_normal((400, 20))
    y = X[:, :5].sum(axis=1) + rng.standard_normal(400)
    w = rng.uniform(0.5, 2, 400)
    for weights in (w, w / w.sum(), 1e5 * w):
        model = SparseFlowRegressor().fit(X, y, weights)
        assert model.sigma_ == pytest.approx(1.0, abs=0.15)
        assert model.support_[:5].all()


def test_rows_that_weights_are_worth():
    rng = np.random.default_rng(0)
    w = rng.uniform(0.1, 2, 50)
    kish = w.sum() ** 2 / (w**2).sum()
    np.testing.assert_allclose(relative(w), w * kish / w.sum())
    np.testing.assert_array_equal(relative(np.array([0.3, 0.0, 0.3])), [1, 0, 1])
    np.testing.assert_array_equal(relative(np.array([4.0, 0.0, 6.0])), [2, 0, 3])
    np.testing.assert_array_equal(relative(np.array([2000.0, 1000.0, 3000.0])), [2, 1, 3])
    sizes = np.full(40, 1000.0) - (np.arange(40) == 0)  # whole, but no counts
    assert relative(sizes).sum() == pytest.approx(40)
    counts = np.array([1.0, 3.0, 2.0, 2.0])
    np.testing.assert_allclose(reweighted(relative(counts), np.full(4, 0.7)), counts)
    factors = np.array([0.5, 1.0, 2.0, 0.5])
    spread = reweighted(np.ones(8), factors.repeat(counts.astype(int)))
    assert reweighted(counts, factors).sum() == pytest.approx(spread.sum())


# ---- columns that are close to each other, far from zero, or out of range ---------------------------------------

POLYNOMIALS = {
    "latitude": (lambda rng: 51.5 + 0.02 * rng.standard_normal(200), 2),
    "latitude, cubic": (lambda rng: 51.5 + 0.02 * rng.standard_normal(200), 3),
    "years": (lambda rng: rng.uniform(1900, 2020, 200), 3),
    "kelvin": (lambda rng: 290 + 5 * rng.standard_normal(200), 3),
    "a day in unix seconds": (lambda rng: 1.7e9 + 1e5 * rng.uniform(-1, 1, 200), 2),
    "years in unix seconds": (lambda rng: 1.7e9 + 3e7 * rng.uniform(-1, 1, 200), 3),
}


@pytest.mark.parametrize("seed", range(2))
@pytest.mark.parametrize("others", [0, 5, 40])
@pytest.mark.parametrize("name", POLYNOMIALS)
def test_powers_of_what_hardly_varies(name, others, seed):
    draw, degree = POLYNOMIALS[name]
    rng = np.random.default_rng(seed)
    t = draw(rng)
    z = (t - t.mean()) / t.std()
    basis = np.linalg.qr(z[:, None] ** np.arange(degree + 1))[0]
    y = basis[:, -1] * math.sqrt(200) + 0.05 * rng.standard_normal(200)
    X = np.column_stack([t[:, None] ** np.arange(1, degree + 1), rng.standard_normal((200, others))])
    best = 1 - ((y - basis @ (basis.T @ y)) ** 2).sum() / ((y - y.mean()) ** 2).sum()
    for stop in ("criterion", "auto"):
        model = SparseFlowRegressor(stop=stop).fit(X, y)
        assert model.score(X, y) == pytest.approx(best, abs=2e-3)
        assert best > 0.99
    assert model.sigma_ == pytest.approx(0.05, rel=0.25)


@pytest.mark.parametrize("copies", ["equal", "scaled", "summed"])
@pytest.mark.parametrize("offset", [0.0, 1e6, 1e9])
def test_columns_that_others_explain_are_left_out(copies, offset):
    """To rounding, that is: of numbers as large as the columns are, not of what centring leaves of them."""
    X, y = drawn(80, 20, 2)
    X = X + offset
    more = {"equal": X, "scaled": 3 * X + 7, "summed": X + X[:, [1]]}[copies]
    model = SparseFlowRegressor(stop="criterion").fit(np.hstack([X, more]), y)
    best = SparseFlowRegressor(stop="criterion").fit(X - offset, y)
    assert model.support_.sum() <= best.support_.sum()
    assert np.abs(model.coef_).max() < 10
    worse = 1.05 if copies == "summed" else 1 + 1e-6  # one sum may be chosen for two columns
    assert residual(model, np.hstack([X, more]), y) <= worse * residual(best, X - offset, y)


@pytest.mark.parametrize("stop", SADDLE_STOPS)
def test_a_column_far_from_zero_is_as_good_as_near(stop):
    X, y = drawn(60, 80)
    near = SparseFlowRegressor(stop=stop).fit(X, y)
    far = SparseFlowRegressor(stop=stop).fit(X + 1e9 * (np.arange(80) == 1), y)
    assert far.n_iter_ <= near.n_iter_ + 5
    np.testing.assert_allclose(far.coef_, near.coef_, atol=1e-4)
    np.testing.assert_allclose(far.predict(X + 1e9 * (np.arange(80) == 1)), near.predict(X), atol=1e-3)


@pytest.mark.parametrize("size", [1e-300, 1e-170, 1e155, 1e200, 1e300])
@pytest.mark.parametrize("kind", [np.asarray, sp.csr_array, sp.csc_array])
def test_columns_whose_squares_leave_the_range(size, kind):
    X, y = drawn(50, 20)
    factors = np.where(np.arange(20) % 3 == 0, size, 1.0)
    plain = SparseFlowRegressor().fit(kind(X), y)
    model = SparseFlowRegressor().fit(kind(X * factors), y)
    assert plain.support_[:3].all()
    np.testing.assert_allclose(model.coef_ * factors, plain.coef_, rtol=1e-8)
    np.testing.assert_allclose(model.predict(kind(X * factors)), plain.predict(X), rtol=1e-8)


@pytest.mark.parametrize("stop", SADDLE_STOPS)
def test_three_rows_on_a_line(stop):
    X, y = np.array([[-1.0], [0.0], [1.0]]), np.array([1.0, 2.0, 3.0])
    model = SparseFlowRegressor(stop=stop).fit(X, y)
    np.testing.assert_allclose(model.coef_, [1.0])
    assert model.intercept_ == pytest.approx(2.0)


@pytest.mark.parametrize("dynamics", ["saddles", "flow"])
@pytest.mark.parametrize("size", [1e8, 1e100, 1e300])
def test_feature_weights_of_any_size(size, dynamics):
    X, y = drawn(60, 20, 3)
    given = np.ones(20)
    given[:2] = 1 / size, size
    model = SparseFlowRegressor(dynamics=dynamics, feature_weights=given).fit(X, y)
    assert model.support_[0]
    assert np.isfinite(model.coef_).all()
    same = SparseFlowRegressor(dynamics=dynamics, feature_weights=np.full(20, size)).fit(X, y)
    plain = SparseFlowRegressor(dynamics=dynamics).fit(X, y)
    np.testing.assert_allclose(same.coef_, plain.coef_, rtol=1e-6, atol=1e-9)


def test_shapes_and_dtypes_are_those_of_linear_regression():
    """y of shape (m, 1) is one target of several, as for LinearRegression."""
    X, y = drawn(50, 10)
    for dtype in (np.float32, np.float64):
        Z, t = X.astype(dtype), y.astype(dtype)
        for target in (t, t[:, None], np.column_stack([t, -t])):
            model, other = SparseFlowRegressor().fit(Z, target), LinearRegression().fit(Z, target)
            assert model.coef_.shape == other.coef_.shape
            assert np.shape(model.intercept_) == np.shape(other.intercept_)
            assert model.predict(Z).shape == other.predict(Z).shape
            assert np.asarray(model.intercept_).dtype == model.coef_.dtype == dtype


def test_a_path_that_did_not_get_there_is_told(monkeypatch):
    monkeypatch.setattr("hadaflow.estimators._readings._MOST_STEPS", 20)
    X, y = drawn(30, 10)
    with pytest.warns(ConvergenceWarning, match="SparseFlowRegressor has status_ NOT_CONVERGED") as told:
        SparseFlowRegressor(dynamics="descend", stop="end").fit(X, np.column_stack([y, -y]))
    assert len(told) == 1
    assert told[0].filename == __file__

"""SparseFlowRegressorCV against loops over dense paths, and against what scikit-learn asks of an estimator."""

import pickle
import warnings

import numpy as np
import pytest
import scipy.sparse as sp
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.sparse.linalg import aslinearoperator

import hadaflow as hf

pytest.importorskip("sklearn")

from sklearn.base import clone
from sklearn.exceptions import ConvergenceWarning
from sklearn.linear_model import LassoCV, LinearRegression
from sklearn.model_selection import (
    GridSearchCV,
    GroupKFold,
    KFold,
    LeaveOneGroupOut,
    ShuffleSplit,
    TimeSeriesSplit,
    cross_validate,
)
from sklearn.utils.estimator_checks import parametrize_with_checks

from hadaflow.estimators import SparseFlowClassifier, SparseFlowRegressor, SparseFlowRegressorCV
from hadaflow.estimators import _following as following
from hadaflow.estimators import _training as training
from hadaflow.estimators._folds import choose, summary

SHARES = (0.0, 0.25, 0.5, 0.75, 1.0)


def noisy(m=60, n=40, s=3, *, sigma=0.5, seed=0):
    """Gaussian features, the first s of which count one each."""
    rng = np.random.default_rng(seed)
    X = rng.standard_normal((m, n))
    return X, 1.0 + X[:, :s].sum(axis=1) + sigma * rng.standard_normal(m)


def without(U, w, v):
    """v less its weighted least squares on U."""
    root = np.sqrt(w)[:, None]
    return v - U @ np.linalg.lstsq(root * U, root * v.reshape(len(v), -1), rcond=None)[0].reshape(-1, *v.shape[1:])


def lengths(X, U, w):
    return np.linalg.norm(np.sqrt(w)[:, None] * without(U, w, X), axis=0)


# ---- errors and choice, by brute force --------------------------------------------------------------------------


def brute_force(X, y, folds, follow, times, *, w, free, positive=False):
    """Errors (times, shares, folds): one dense x per time and share, intercept and free columns by least squares."""
    penalised = np.setdiff1d(np.arange(X.shape[1]), free)
    U = np.column_stack([np.ones(len(y)), X[:, free]])
    sizes = lengths(X[:, penalised], U, w)
    errors = np.empty((len(times), len(SHARES), len(folds)))
    for f, (train, test) in enumerate(folds):
        root = np.sqrt(w[train])
        A = root[:, None] * without(U[train], w[train], X[np.ix_(train, penalised)])
        part = w[train].sum() / w.sum()
        bounds, pace = sizes, part
        if follow is by_saddles:  # a clock for each feature
            shown = (A**2).sum(axis=0) / sizes**2
            bounds, pace = sizes * np.maximum(shown, part), 1.0
        path = follow(hf.Problem(A, root * without(U[train], w[train], y[train])), bounds, positive)
        for k, time in enumerate(times / pace):
            for s, share in enumerate(SHARES):
                x = share * cleared(path(time), path) + (1 - share) * cleared(path.average(time), path)
                left = y - X[:, penalised] @ x
                fitted = root[:, None] * U[train]
                c = np.linalg.lstsq(fitted, root * left[train], rcond=None)[0]
                squares = (left[test] - U[test] @ c) ** 2
                errors[k, s, f] = (w[test] * squares).sum() / w[test].sum()
    return errors


def cleared(x, path):
    """As ``support()`` counts."""
    return np.where(np.abs(x) > np.sqrt(getattr(path, "product_scale", 0.0) * np.abs(x).max()), x, 0.0)


def by_saddles(problem, sizes, positive):
    return hf.saddles(problem, weights=sizes, positive=positive)


def by_flow(problem, sizes, positive):
    start = 0.05 * (sizes / np.exp(np.log(sizes).mean())) ** -1.0
    model = hf.HadamardPower(3, "positive" if positive else "both")
    return hf.flow(problem, model, init_scale=start, t_end=1e3)


@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize(("free", "positive"), [([], False), ([], True), ([0, 7], False)])
def test_errors_and_choice_are_those_of_a_loop_over_the_saddle_path(free, weighted, positive):
    X, y = noisy(40, 12)
    rng = np.random.default_rng(1)
    X *= np.geomspace(0.1, 10, 12)
    w = rng.integers(1, 4, 40).astype(float) if weighted else np.ones(40)
    given = np.ones(12)
    given[free] = 0
    folds = list(KFold(4).split(X))
    model = SparseFlowRegressorCV(n_times=9, cv=KFold(4), positive=positive, feature_weights=given)
    model.fit(X, y, sample_weight=w if weighted else None)
    expected = brute_force(X, y, folds, by_saddles, model.times_[0], w=w, free=free, positive=positive)
    np.testing.assert_allclose(model.errors_[0], expected, rtol=1e-8)
    mean = expected.mean(axis=-1)
    k, s = np.unravel_index(mean.argmin(), mean.shape)
    assert (model.stop_time_, model.best_fraction_) == (model.times_[0, k], SHARES[s])
    x = SHARES[s] * model.path_(model.stop_time_) + (1 - SHARES[s]) * model.path_.average(model.stop_time_)
    np.testing.assert_allclose(np.delete(model.coef_, free), x, rtol=1e-12)
    np.testing.assert_allclose(np.average(y - model.predict(X), weights=w), 0, atol=1e-12)
    np.testing.assert_allclose(model.standard_errors_[0, k, s], expected[k, s].std(ddof=1) / 2, rtol=1e-8)


def test_errors_of_the_flow_are_those_of_a_loop():
    X, y = noisy(40, 12)
    X[:, 3:] *= 2
    folds = list(KFold(3).split(X))
    model = SparseFlowRegressorCV(depth=3, init_scale=0.05, n_times=6, cv=3).fit(X, y)
    expected = brute_force(X, y, folds, by_flow, model.times_[0], w=np.ones(40), free=[])
    np.testing.assert_allclose(model.errors_[0], expected, rtol=1e-3)
    assert model.dynamics_ == "flow"
    assert (model.depth_, model.init_scale_) == (3.0, 0.05)


def test_descent_sees_what_the_flow_sees():
    X, y = noisy(50, 60)
    run = SparseFlowRegressorCV(dynamics="descend", depth=2, cv=3).fit(X, y)
    path = SparseFlowRegressorCV(dynamics="flow", depth=2, cv=3).fit(X, y)
    assert run.mean_errors_.min() == pytest.approx(path.mean_errors_.min(), rel=2e-2)
    assert isinstance(run.path_, hf.Trajectory)
    assert isinstance(path.path_, hf.FlowPath)
    np.testing.assert_allclose(run.coef_, path.coef_, atol=3e-2)


def test_time_counts_rows():
    """Half of the rows, if they say the same as all, are where all are, but at twice the time."""
    X, y = noisy(30, 10)
    halves = [(np.arange(30), np.arange(30, 60))]
    model = SparseFlowRegressorCV(cv=halves, n_times=7).fit(np.vstack([X, X]), np.hstack([y, y]))
    centred, target = X - X.mean(axis=0), y - y.mean()
    for time, errors in zip(model.times_[0], model.errors_[0, :, :, 0], strict=True):
        iterate, average = model.path_(time), model.path_.average(time)
        for share, error in zip(SHARES, errors, strict=True):
            left = target - centred @ (share * iterate + (1 - share) * average)
            assert error == pytest.approx(np.mean(left**2), rel=1e-9)


def test_the_grid_begins_before_anything_has_come_in_and_ends_with_what_was_followed():
    X, y = noisy()
    model = SparseFlowRegressorCV(n_times=30).fit(X, y)
    times, path = model.times_[0], model.path_
    assert times[0] == pytest.approx(path.times[1] * 0.999)
    np.testing.assert_allclose(np.diff(np.log(times)), np.log(times[-1] / times[0]) / 29)
    assert times[-1] <= path.times[-1] or path.status.ok
    assert np.isfinite(model.errors_).all()


@pytest.mark.parametrize("seed", range(4))
def test_one_standard_error_is_never_later_and_no_worse_than_that(seed):
    X, y = noisy(sigma=2.0, seed=seed)
    least = SparseFlowRegressorCV().fit(X, y)
    simple = SparseFlowRegressorCV(rule="one_se").fit(X, y)
    np.testing.assert_array_equal(least.errors_, simple.errors_)
    assert simple.stop_time_ <= least.stop_time_
    assert simple.best_fraction_ == least.best_fraction_
    mean, s = least.mean_errors_[0], SHARES.index(least.best_fraction_)
    bound = mean.min() + least.standard_errors_[0][np.unravel_index(mean.argmin(), mean.shape)]
    within = least.times_[0][mean[:, s] <= bound]
    assert simple.stop_time_ == within[0]
    assert ("one standard error" in simple.reason_) == (simple.stop_time_ < least.stop_time_)


def test_average_predicts_like_the_lasso():
    X, y = noisy(100, 200, 8, sigma=1.0)
    model = SparseFlowRegressorCV(read_out="average").fit(X, y)
    lasso = LassoCV(cv=5).fit(X, y)
    assert model.mean_errors_.min() == pytest.approx(lasso.mse_path_.mean(axis=1).min(), rel=0.05)
    assert model.errors_.shape == (1, 100, 1, 5)
    np.testing.assert_allclose(model.coef_, lasso.coef_, atol=0.1)


def test_the_mixture_is_never_worse_than_its_ends():
    X, y = noisy(sigma=1.5)
    fits = {name: SparseFlowRegressorCV(read_out=name).fit(X, y) for name in ("mixture", "iterate", "average")}
    least = {name: fit.mean_errors_.min() for name, fit in fits.items()}
    assert least["mixture"] <= min(least["iterate"], least["average"])
    assert fits["iterate"].best_fraction_ == 1
    np.testing.assert_array_equal(fits["iterate"].mean_errors_[..., 0], fits["mixture"].mean_errors_[..., -1])


def test_lists_of_depth_and_init_scale_are_compared():
    X, y = noisy(30, 40)
    pairs = [(2.0, 0.1), (2.0, 0.5), (3.0, 0.1), (3.0, 0.5)]
    model = SparseFlowRegressorCV(depth=[2, 3], init_scale=(0.1, 0.5), n_times=10, cv=2).fit(X, y)
    alone = [SparseFlowRegressorCV(depth=d, init_scale=a, n_times=10, cv=2).fit(X, y) for d, a in pairs]
    np.testing.assert_array_equal(model.errors_, np.concatenate([fit.errors_ for fit in alone]))
    np.testing.assert_array_equal(model.times_, np.concatenate([fit.times_ for fit in alone]))
    best = int(np.argmin([fit.mean_errors_.min() for fit in alone]))
    assert (model.depth_, model.init_scale_) == pairs[best]
    np.testing.assert_array_equal(model.coef_, alone[best].coef_)


# ---- how far, and at what cost ----------------------------------------------------------------------------------


@pytest.fixture
def followed(monkeypatch):
    """The saddle paths that are followed."""
    paths = []

    def counted(*args, **options):
        paths.append(hf.saddles(*args, **options))
        return paths[-1]

    monkeypatch.setattr(following, "saddles", counted)
    return paths


@pytest.mark.parametrize("shape", [(80, 200), (200, 30)])
def test_one_path_per_fold_and_one_on_all_data(shape, followed):
    X, y = noisy(*shape)
    model = SparseFlowRegressorCV(cv=5).fit(X, y)
    assert len(followed) == 6
    whole = followed[0]
    assert model.path_ is whole
    assert sum(path.stats.passes for path in followed) <= 6 * 1.5 * whole.stats.passes
    assert max(np.diff(path.x.indptr).max() for path in followed) <= 0.8 * shape[0]


def test_paths_are_followed_to_their_end_only_if_the_error_falls_till_then(followed):
    rng = np.random.default_rng(0)
    X = rng.standard_normal((60, 40))
    y = X @ rng.choice([-1.0, 1.0], 40) + 0.01 * rng.standard_normal(60)  # more than half as many as there are rows
    model = SparseFlowRegressorCV().fit(X, y)
    assert len(followed) == 12
    assert model.path_.status.ok
    np.testing.assert_allclose(model.coef_, LinearRegression().fit(X, y).coef_, atol=1e-8)


def test_path_is_that_of_the_regressor():
    X, y = noisy()
    path = SparseFlowRegressorCV().fit(X, y).path_
    whole = SparseFlowRegressor(stop="end").fit(X, y).path_
    count = len(path.times)
    np.testing.assert_allclose(path.times, whole.times[:count])
    np.testing.assert_allclose(path.x.toarray(), whole.x[:count].toarray(), atol=1e-12)


@pytest.mark.parametrize("dynamics", ["saddles", "flow"])
def test_data_without_noise_are_recovered(dynamics):
    X, y = noisy(60, 100, sigma=0.0)
    model = SparseFlowRegressorCV(dynamics=dynamics).fit(X, y)
    np.testing.assert_allclose(model.coef_, np.arange(100) < 3, atol=1e-8 if dynamics == "saddles" else 1e-3)
    assert model.intercept_ == pytest.approx(1.0, abs=1e-3)


@pytest.mark.parametrize("dynamics", ["saddles", "flow", "descend"])
def test_a_constant_target_leaves_nothing_but_the_intercept(dynamics):
    X, _ = noisy(20, 5)
    model = SparseFlowRegressorCV(dynamics=dynamics).fit(X, np.full(20, 3.0))
    assert not model.support_.any()
    assert model.intercept_ == pytest.approx(3.0)


def test_noise_alone_leaves_the_empty_model():
    X, _ = noisy(80, 100)
    model = SparseFlowRegressorCV(rule="one_se").fit(X, np.random.default_rng(5).standard_normal(80))
    assert not model.support_.any()


def test_a_run_whose_steps_give_out_is_told_once(monkeypatch):
    X, y = noisy(50, 20)
    monkeypatch.setattr(training, "_MOST_STEPS", 45)
    with pytest.warns(ConvergenceWarning, match="smallest at the last time compared, .* but the path goes on") as told:
        SparseFlowRegressorCV(dynamics="descend", depth=2, cv=3).fit(X, y)
    assert len(told) == 1
    assert told[0].filename == __file__


def test_times_that_a_fold_does_not_reach_are_not_compared(monkeypatch):
    X, y = noisy(50, 80, sigma=2.0)
    folds = [(np.arange(40), np.arange(40, 50)), (np.arange(10, 50), np.arange(10))]
    model = SparseFlowRegressorCV(dynamics="descend", depth=2, cv=folds)
    whole = model.fit(X, y).errors_
    calls = []

    def fewer(problem, factors, *, stop, **options):
        calls.append(problem)
        if len(calls) == 3:  # all data, the first fold, the second
            stop = stop | hf.stopping.MaxSteps(100)
        return hf.descend(problem, factors, stop=stop, **options)

    monkeypatch.setattr(training, "descend", fewer)
    cut = model.fit(X, y).errors_
    lost = np.isinf(cut[0, :, 0, 1])
    assert 0 < lost.sum() < len(lost)
    assert (np.diff(lost.astype(int)) >= 0).all()
    np.testing.assert_array_equal(cut[..., 0], whole[..., 0])
    np.testing.assert_array_equal(cut[0, ~lost], whole[0, ~lost])
    assert model.stop_time_ < model.times_[0][lost][0]
    assert np.isfinite(model.standard_errors_).all()


# ---- rows left out ----------------------------------------------------------------------------------------------


def grouped(groups=8, each=6):
    X, y = noisy(groups * each, 15)
    return X, y, np.repeat(np.arange(groups), each)


@pytest.mark.parametrize("splitter", [GroupKFold(4), LeaveOneGroupOut()])
def test_groups_stay_together(splitter):
    X, y, groups = grouped()
    order = np.random.default_rng(0).permutation(len(y))
    X, y, groups = X[order], y[order], groups[order]
    model = SparseFlowRegressorCV(cv=splitter).fit(X, y, groups=groups)
    split = list(splitter.split(X, y, groups))
    np.testing.assert_array_equal(model.errors_, SparseFlowRegressorCV(cv=split).fit(X, y).errors_)
    assert model.errors_.shape[-1] == len(split)


@pytest.mark.parametrize("splitter", [TimeSeriesSplit(3), ShuffleSplit(3, random_state=0)])
def test_any_splitter_works(splitter):
    X, y, _ = grouped()
    model = SparseFlowRegressorCV(cv=splitter).fit(X, y)
    split = list(splitter.split(X, y))
    masks = [(np.isin(np.arange(len(y)), train), np.isin(np.arange(len(y)), test)) for train, test in split]
    again = SparseFlowRegressorCV(cv=masks).fit(X, y)
    np.testing.assert_allclose(again.errors_, model.errors_, rtol=1e-9)
    assert model.support_[:3].all()


def test_columns_that_only_one_group_has():
    """In the fold that leaves the group out they are constant; they neither move there nor break anything."""
    X, y, groups = grouped()
    wide = np.hstack([X, np.eye(8)[groups]])
    model = SparseFlowRegressorCV(cv=LeaveOneGroupOut()).fit(wide, y, groups=groups)
    assert np.isfinite(model.errors_).all()
    assert np.flatnonzero(model.support_)[:3].tolist() == [0, 1, 2]


def test_routed_groups():
    import sklearn

    X, y, groups = grouped()
    with sklearn.config_context(enable_metadata_routing=True):
        model = SparseFlowRegressorCV(cv=LeaveOneGroupOut()).set_fit_request(groups=True)
        outer = GroupKFold(2).set_split_request(groups=True)
        fitted = cross_validate(model, X, y, cv=outer, params={"groups": groups}, return_estimator=True)["estimator"]
    assert [fit.errors_.shape[-1] for fit in fitted] == [4, 4]


@pytest.mark.parametrize("dynamics", ["saddles", "flow"])
def test_weights_are_repetitions(dynamics):
    X, y = noisy(36, 15)
    w = np.random.default_rng(0).integers(0, 4, 36)
    w[[0, 12, 24]] = 1
    groups = np.repeat([0, 1, 2], 12)
    model = SparseFlowRegressorCV(dynamics=dynamics, depth=None if dynamics == "saddles" else 2, cv=LeaveOneGroupOut())
    weighted = clone(model).fit(X, y, sample_weight=w, groups=groups)
    repeated = clone(model).fit(X.repeat(w, axis=0), y.repeat(w), groups=groups.repeat(w))
    rtol = 1e-9 if dynamics == "saddles" else 2e-3
    np.testing.assert_allclose(weighted.errors_, repeated.errors_, rtol=rtol)
    np.testing.assert_allclose(weighted.coef_, repeated.coef_, rtol=rtol, atol=1e-9)


def labels_of(y):
    return (y > np.median(y)).astype(int)


@pytest.mark.parametrize("kind", [SparseFlowRegressorCV, SparseFlowClassifier])
def test_folds_that_only_have_rows_of_weight_zero_are_as_if_absent(kind):
    X, y = noisy(40, 6)
    y = y if kind is SparseFlowRegressorCV else labels_of(y)
    w, folds = np.repeat([0.0, 1.0], [10, 30]), list(KFold(4).split(X))
    model = kind(cv=folds).fit(X, y, sample_weight=w)
    assert model.errors_.shape[-1] == 3
    inside = [(train[train >= 10] - 10, test - 10) for train, test in folds[1:]]
    np.testing.assert_array_equal(model.coef_, kind(cv=inside).fit(X[10:], y[10:]).coef_)
    by_number = kind(cv=3).fit(X, y, sample_weight=w)
    np.testing.assert_array_equal(by_number.errors_, kind(cv=3).fit(X[10:], y[10:]).errors_)
    with pytest.raises(ValueError, match="no fold of cv has rows of positive weight both to train on and to test on"):
        kind(cv=folds[:1]).fit(X, y, sample_weight=w)


@pytest.mark.parametrize("kind", [SparseFlowRegressorCV, SparseFlowClassifier])
def test_a_fold_that_the_splitter_leaves_empty_is_refused(kind):
    X, y = noisy(40, 6)
    with pytest.raises(ValueError, match="fold 1 of cv has no rows to test on: take fewer folds, or another splitter"):
        kind(cv=[*list(KFold(2).split(X))[:1], (np.arange(40), [])]).fit(X, labels_of(y))
    with pytest.raises(ValueError, match="n_jobs must be None or a whole number other than 0"):
        kind(n_jobs=0).fit(X, labels_of(y))


def test_folds_of_different_sizes_may_count_by_weights():
    rng = np.random.default_rng(0)
    errors, counts = rng.uniform(1, 2, (1, 7, 1, 3)), np.array([1.0, 2.0, 5.0])
    mean, deviation = summary(errors, counts)
    np.testing.assert_allclose(mean, errors @ counts / 8)
    np.testing.assert_allclose(deviation**2, (errors - mean[..., None]) ** 2 @ counts / 8 / 2)
    assert choose(errors, weights=counts).time == mean[0, :, 0].argmin()
    np.testing.assert_allclose(summary(errors)[1], errors.std(axis=-1, ddof=1) / np.sqrt(3))


@pytest.mark.parametrize("size", [1e-150, 1e78, 1e150])
def test_targets_whose_squares_are_large(size):
    X, y = noisy()
    plain, model = (SparseFlowRegressorCV(rule="one_se").fit(X, target) for target in (y, size * y))
    np.testing.assert_allclose(model.coef_, size * plain.coef_, rtol=1e-9)
    np.testing.assert_allclose(model.standard_errors_ / size**2, plain.standard_errors_, rtol=1e-7)


# ---- options and kinds of data ----------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", [sp.csr_array, sp.csc_matrix])
def test_sparse_is_dense(kind):
    X, y = noisy()
    X[np.random.default_rng(1).random(X.shape) < 0.7] = 0
    weights = np.ones(40)
    weights[5] = 0
    dense = SparseFlowRegressorCV(feature_weights=weights).fit(X, y)
    sparse = SparseFlowRegressorCV(feature_weights=weights).fit(kind(X), y)
    np.testing.assert_allclose(sparse.errors_, dense.errors_, rtol=1e-9)
    np.testing.assert_allclose(sparse.coef_, dense.coef_, atol=1e-9)
    np.testing.assert_allclose(sparse.predict(kind(X)), dense.predict(X), atol=1e-9)


def test_float32_stays_and_data_are_not_written_to():
    X, y = (each.astype(np.float32) for each in noisy())
    X.flags.writeable = y.flags.writeable = False
    model = SparseFlowRegressorCV().fit(X, y)
    assert model.coef_.dtype == np.float32
    wide = SparseFlowRegressorCV().fit(X.astype(float), y.astype(float))
    np.testing.assert_allclose(model.coef_, wide.coef_, atol=1e-4)


@pytest.mark.parametrize("dynamics", ["saddles", "flow"])
def test_positive(dynamics):
    X, y = noisy(60, 20)
    y = y - 4 * X[:, 5]
    model = SparseFlowRegressorCV(dynamics=dynamics, positive=True).fit(X, y)
    assert (model.coef_ >= 0).all()
    assert model.support_[:3].all()
    assert not model.support_[5]


def test_positive_from_a_start_that_dwarfs_the_data():
    """The first growth is rounding beside the start; times are positive all the same."""
    X, y = noisy(20, 4)
    model = SparseFlowRegressorCV(depth=3, init_scale=1.0, positive=True, n_times=5, cv=2).fit(X, 1e-9 * y)
    assert model.times_.min() > 0
    assert np.isfinite(model.errors_).all()


def test_unpenalised_features_stay():
    X, y = noisy()
    weights = np.ones(40)
    weights[30] = 0
    model = SparseFlowRegressorCV(feature_weights=weights).fit(X, y)
    assert model.support_[30]
    # Least squares on what the others leave, with the intercept.
    left = y - np.delete(X, 30, axis=1) @ np.delete(model.coef_, 30)
    alone = LinearRegression().fit(X[:, [30]], left)
    assert (model.coef_[30], model.intercept_) == (pytest.approx(alone.coef_[0]), pytest.approx(alone.intercept_))


def test_refit_is_least_squares_on_the_support():
    X, y = noisy()
    model = SparseFlowRegressorCV(read_out="average", refit=True).fit(X, y)
    exact = LinearRegression().fit(X[:, model.support_], y)
    np.testing.assert_allclose(model.coef_[model.support_], exact.coef_, rtol=1e-8)


def test_without_intercept():
    X, y = noisy()
    model = SparseFlowRegressorCV(fit_intercept=False).fit(X, y - 1)
    assert model.intercept_ == 0
    np.testing.assert_allclose(model.coef_[:3], 1, atol=0.2)


def test_several_targets_are_fitted_one_by_one():
    X, y = noisy()
    Y = np.column_stack([y, -2 * y + X[:, 7]])
    model = SparseFlowRegressorCV().fit(X, Y)
    for k in range(2):
        alone = SparseFlowRegressorCV().fit(X, Y[:, k])
        np.testing.assert_array_equal(model.coef_[k], alone.coef_)
        np.testing.assert_array_equal(model.errors_[k], alone.errors_)
        assert model.intercept_[k] == alone.intercept_
        assert (model.stop_time_[k], model.reason_[k]) == (alone.stop_time_, alone.reason_)
    assert model.predict(X).shape == Y.shape


def test_what_is_told_agrees():
    X, y = noisy()
    model = SparseFlowRegressorCV().fit(X, y)
    assert model.status_ is hf.Status.STOPPED
    assert f"{model.mean_errors_.min():.4g}" in model.reason_
    assert f"at time {model.stop_time_:.4g} with share {model.best_fraction_:g}" in model.reason_
    np.testing.assert_array_equal(model.support_, model.coef_ != 0)
    assert model.n_iter_ == np.searchsorted(model.path_.times, model.times_[0, -1], side="right") - 1
    assert 0 <= model.certificate_.gap < 0.5
    assert model.depth_ is None
    assert model.init_scale_ is None


@settings(max_examples=25, deadline=None)
@given(st.integers(0, 2**32 - 1), st.integers(4, 14), st.integers(1, 10), st.booleans(), st.booleans())
def test_small_data_of_any_shape(seed, m, n, intercept, positive):
    """Columns may be constant, zero, equal; targets constant."""
    rng = np.random.default_rng(seed)
    X, y = rng.integers(-1, 2, (m, n)).astype(float), rng.integers(-2, 3, m).astype(float)
    options = {"fit_intercept": intercept, "positive": positive, "n_times": 10, "cv": 3}
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        model = SparseFlowRegressorCV(**options).fit(X, y)
    assert np.isfinite(model.errors_).all()
    assert np.isfinite(model.predict(X)).all()
    assert model.mean_errors_.min() <= model.mean_errors_[0, 0, 0]
    assert not positive or (model.coef_ >= 0).all()


# ---- as scikit-learn has it -------------------------------------------------------------------------------------


@parametrize_with_checks(
    [
        SparseFlowRegressorCV(),
        SparseFlowRegressorCV(rule="one_se", read_out="average", positive=True, refit=True, n_times=20),
    ]
)
@pytest.mark.filterwarnings("ignore::sklearn.exceptions.SkipTestWarning")
def test_scikit_learn_agrees(estimator, check):
    check(estimator)


@pytest.mark.slow
@parametrize_with_checks([SparseFlowRegressorCV(dynamics="flow"), SparseFlowRegressorCV(dynamics="descend", depth=2)])
@pytest.mark.filterwarnings("ignore::sklearn.exceptions.SkipTestWarning")
def test_scikit_learn_agrees_about_training(estimator, check):
    check(estimator)


def test_processes_change_no_bit():
    X, y = noisy(30, 40)
    for options in ({}, {"depth": 2, "init_scale": 0.1}, {"dynamics": "descend", "depth": 2, "init_scale": 0.1}):
        one, two = (SparseFlowRegressorCV(cv=2, n_times=10, n_jobs=jobs, **options).fit(X, y) for jobs in (1, 2))
        np.testing.assert_array_equal(two.errors_, one.errors_)
        np.testing.assert_array_equal(two.coef_, one.coef_)


def test_clone_and_pickle():
    X, y = noisy()
    model = SparseFlowRegressorCV(rule="one_se", cv=KFold(3)).fit(X, y)
    again = pickle.loads(pickle.dumps(model))
    np.testing.assert_array_equal(again.predict(X), model.predict(X))
    assert again.reason_ == model.reason_
    np.testing.assert_array_equal(clone(model).fit(X, y).coef_, model.coef_)


def test_grid_search():
    X, y = noisy()
    search = GridSearchCV(SparseFlowRegressorCV(), {"rule": ["min", "one_se"]}, cv=2).fit(X, y)
    assert search.score(X, y) > 0.8


@pytest.mark.parametrize("kind", [SparseFlowRegressorCV, SparseFlowClassifier])
def test_progress_is_told_after_each_fold(kind):
    X, y = noisy(n=6)
    seen = []
    kind(cv=3, progress=seen.append).fit(X, labels_of(y))
    folds = [each for each in seen if each.stage == "cross-validation"]
    assert [each.fraction for each in folds] == pytest.approx([1 / 3, 2 / 3, 1])
    assert folds[-1].message == "fold 3 of 3"


@pytest.mark.parametrize("kind", [SparseFlowRegressorCV, SparseFlowClassifier])
def test_callbacks_see_every_fold_begin_and_end(kind):
    """Of two targets, or of three classes."""
    pytest.importorskip("sklearn.callback")
    X, y = noisy(n=6)
    events = []

    class Listener:
        def setup(self, estimator, context):
            events.append("setup")

        def teardown(self, estimator, context):
            events.append("teardown")

        def on_fit_task_begin(self, estimator, context, **told):
            events.append(("begin", context.task_name))

        def on_fit_task_end(self, estimator, context, **told):
            events.append(("end", context.task_name))

    classes = np.digitize(y, np.quantile(y, [1 / 3, 2 / 3]))
    several = np.column_stack([y, y]) if kind is SparseFlowRegressorCV else classes
    kind(cv=2).set_callbacks(Listener()).fit(X, several)
    tasks = [each[1] for each in events if each[0] == "begin"][1:]
    assert tasks == [f"fold {k}" for k in range(4 if kind is SparseFlowRegressorCV else 6)]
    assert [each for each in events if each[0] == "end"][:-1] == [("end", task) for task in tasks]
    assert events[-1] == "teardown"


# ---- bad input --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({"dynamics": "adam"}, ValueError, "dynamics must be one of 'auto', 'saddles', 'flow', 'descend', got 'adam'"),
        ({"read_out": "median"}, ValueError, "read_out must be one of 'mixture', 'iterate', 'average', got 'median'"),
        ({"rule": "max"}, ValueError, "rule must be one of 'min', 'one_se', got 'max'"),
        ({"n_times": 1}, ValueError, "n_times must be a finite number >= 2, got 1"),
        ({"n_times": 2.5}, ValueError, r"n_times must be a whole number, got 2\.5"),
        ({"cv": 1}, ValueError, "cv must be a finite number >= 2, got 1"),
        ({"cv": True}, TypeError, "cv must be a number, got True"),
        ({"cv": "five"}, ValueError, "Expected `cv` as an integer, a cross-validation object .* or an iterable"),
        ({"cv": []}, ValueError, "cv leaves out nothing"),
        ({"cv": [([0, 1], [])]}, ValueError, "fold 0 of cv has no rows to test on"),
        ({"cv": [([], [0, 1])]}, ValueError, "fold 0 of cv has no rows to train on"),
        ({"cv": GroupKFold(2)}, ValueError, "The 'groups' parameter should not be None"),
        ({"n_jobs": 0}, ValueError, "n_jobs must be None or a whole number other than 0"),
        ({"n_jobs": "all"}, ValueError, "n_jobs must be None or a whole number other than 0 .* got 'all'"),
        ({"depth": 1.5}, ValueError, r"depth must be a finite number >= 2, got 1\.5"),
        ({"depth": []}, ValueError, "depth is an empty list: give a number, or several"),
        ({"depth": [2, "three"]}, TypeError, "depth must be a number, got 'three'"),
        ({"init_scale": [0.1, 0.0]}, ValueError, r"init_scale must be a finite number > 0, got 0\.0"),
        ({"dynamics": "saddles", "depth": 3}, ValueError, 'depth belongs to dynamics="flow" and "descend"'),
        ({"dynamics": "saddles", "init_scale": 1}, ValueError, 'init_scale belongs to dynamics="flow" and "descend"'),
        ({"positive": 1}, TypeError, "positive must be True or False, got 1"),
        ({"fit_intercept": "no"}, TypeError, "fit_intercept must be True or False, got 'no'"),
        ({"refit": None}, TypeError, "refit must be True or False, got None"),
        ({"progress": 3}, TypeError, "progress must be callable or None, got 3"),
        ({"feature_weights": [1.0]}, ValueError, r"feature_weights must have one entry per feature \(5\), got 1"),
        ({"feature_weights": np.zeros(5)}, ValueError, "feature_weights are zero everywhere"),
    ],
)
def test_bad_parameters(options, error, message):
    X, y = noisy(20, 5)
    with pytest.raises(error, match=message):
        SparseFlowRegressorCV(**options).fit(X, y)


def test_bad_data():
    X, y = noisy(20, 5)
    model = SparseFlowRegressorCV()
    with pytest.raises(ValueError, match=r"groups must have one entry per row of X \(20\), got 19"):
        model.fit(X, y, groups=np.zeros(19))
    with pytest.raises(ValueError, match="cross-validation leaves out rows of X, which a LinearOperator does not have"):
        model.fit(aslinearoperator(X), y)
    with pytest.raises(ValueError, match="n_splits=5 greater than the number of samples: n_samples=4"):
        model.fit(X[:4], y[:4])
    with pytest.raises(ValueError, match=r"no time could be compared: .* broke off before it, or errors overflowed"):
        model.fit(X, 1e200 * y)


# ---- events: rows that only some folds have ---------------------------------------------------------------------


def event(m, n, first, last, *, effect, others=0, sigma=0.5, seed=0):
    """A column that is 1 in a few neighbouring rows and 0 elsewhere, before Gaussian ones."""
    rng = np.random.default_rng(seed)
    X = rng.standard_normal((m, n))
    X[:, 0] = 0
    X[first:last, 0] = 1
    return X, effect * X[:, 0] + X[:, 1 : 1 + others].sum(axis=1) + sigma * rng.standard_normal(m)


@pytest.mark.parametrize(
    ("shape", "rows", "effect", "others"),
    [
        ((100, 30), (45, 53), 5.0, 0),
        ((100, 100), (45, 53), 2.0, 5),
        ((100, 50), (45, 50), 3.0, 3),
        ((150, 40), (100, 110), 2.0, 2),
        ((100, 40), (38, 46), 2.0, 2),
    ],
)
def test_an_event_inside_a_fold_is_kept(shape, rows, effect, others):
    truth = np.where(np.arange(shape[1]) == 0, effect, np.arange(shape[1]) <= others)
    errors = []
    for seed in range(8):
        X, y = event(*shape, *rows, effect=effect, others=others, seed=seed)
        model, lasso = SparseFlowRegressorCV().fit(X, y), LassoCV(cv=5).fit(X, y)
        assert model.support_[: 1 + others].all()
        assert lasso.coef_[0] != 0
        errors.append([np.linalg.norm(fit.coef_ - truth) for fit in (model, lasso)])
    ours, others = np.mean(errors, axis=0)
    assert ours < 0.7 * others


def test_of_equal_errors_the_latest_counts():
    X, y = event(100, 30, 45, 53, effect=5.0)
    model = SparseFlowRegressorCV(read_out="iterate").fit(X, y)
    mean, k = model.mean_errors_[0, :, 0], int(np.flatnonzero(model.times_[0] == model.stop_time_)[0])
    assert mean[k] == pytest.approx(mean.min(), rel=1e-12)
    assert mean[k - 1] == pytest.approx(mean[k], rel=1e-12)
    assert mean[k + 1] > mean[k] * (1 + 1e-9)


def test_a_column_of_which_a_fold_has_little_does_not_come_in_early():
    """Heavy tails: without its longest rows a column is short, and its coefficient mostly noise."""
    lost = 0
    for seed in range(10):
        rng = np.random.default_rng(seed)
        X = rng.standard_t(1.5, (100, 40))
        y = X[:, :3].sum(axis=1) + 2 * rng.standard_normal(100)
        lost += np.count_nonzero(~SparseFlowRegressorCV().fit(X, y).support_[:3])
    assert lost == 0


@pytest.mark.parametrize("weights", ["equal", "unequal"])
@pytest.mark.parametrize("dynamics", ["saddles", "flow"])
def test_a_common_factor_of_all_weights_changes_nothing(weights, dynamics):
    X, y = noisy()
    w = np.ones(60) if weights == "equal" else np.random.default_rng(0).uniform(0.5, 2, 60)
    plain = SparseFlowRegressorCV(dynamics=dynamics, cv=3).fit(X, y, sample_weight=w)
    for factor in (1e-6, 1e-3, 7.0, 1e6):
        model = SparseFlowRegressorCV(dynamics=dynamics, cv=3).fit(X, y, sample_weight=factor * w)
        np.testing.assert_allclose(model.times_, plain.times_, rtol=1e-6)
        np.testing.assert_allclose(model.coef_, plain.coef_, atol=1e-6)
        np.testing.assert_allclose(model.mean_errors_, plain.mean_errors_, rtol=1e-3)


def test_columns_far_from_zero_or_out_of_range():
    X, y = noisy(60, 20)
    plain = SparseFlowRegressorCV().fit(X, y)
    far = SparseFlowRegressorCV().fit(X + 1e9 * (np.arange(20) == 1), y)
    np.testing.assert_allclose(far.coef_, plain.coef_, atol=1e-5)
    for size in (1e-300, 1e-170, 1e155, 1e300):
        factors = np.where(np.arange(20) % 2 == 0, size, 1.0)
        model = SparseFlowRegressorCV().fit(X * factors, y)
        np.testing.assert_allclose(model.coef_ * factors, plain.coef_, rtol=1e-7, atol=1e-12)
        assert model.intercept_ == pytest.approx(plain.intercept_)


def test_float32_stays():
    X, y = noisy()
    model = SparseFlowRegressorCV().fit(X.astype(np.float32), y.astype(np.float32))
    assert model.coef_.dtype == np.asarray(model.intercept_).dtype == np.float32


def test_a_path_that_rounding_ends_is_told():
    """A cubic in a number far from zero, whose powers are nearly dependent."""
    rng = np.random.default_rng(0)
    base = 51.5 + 0.02 * rng.standard_normal(200)
    t = (base - base.mean()) / base.std()
    X, y = np.column_stack([base, base**2, base**3]), t - t**2 + t**3 + 0.05 * rng.standard_normal(200)
    with pytest.warns(ConvergenceWarning, match="rounding ended the saddle path.*centre them"):
        SparseFlowRegressorCV().fit(X, y)
    assert (
        SparseFlowRegressorCV().fit(np.column_stack([t, t**2, t**3]), y).score(np.column_stack([t, t**2, t**3]), y)
        > 0.99
    )


def test_the_old_name_of_the_best_fraction_warns():
    model = SparseFlowRegressorCV(n_times=9, cv=3)
    assert not hasattr(model, "best_share_")
    model.fit(*noisy())
    with pytest.warns(FutureWarning, match="best_share_ is now called best_fraction_"):
        assert model.best_share_ == model.best_fraction_

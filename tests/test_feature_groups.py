"""Features in groups, and targets with one support: what the regressors make of them is what they say."""

import pickle

import numpy as np
import pandas as pd
import pytest
import scipy.linalg as la
import scipy.sparse as sp
from scipy.sparse.linalg import aslinearoperator
from sklearn.base import clone
from sklearn.model_selection import GridSearchCV
from sklearn.utils.estimator_checks import parametrize_with_checks

import hadaflow as hf
from hadaflow.estimators import SparseFlowRegressor, SparseFlowRegressorCV
from hadaflow.gauges import GroupNorm
from hadaflow.groups import Groups
from hadaflow.selection import criterion_prices
from hadaflow.selection.groupwise import GroupedData, Lassos
from hadaflow.selection.groupwise.prices import GroupPrices

BOTH = pytest.mark.parametrize("kind", [SparseFlowRegressor, SparseFlowRegressorCV])


def drawn(m=100, groups=40, size=4, k=3, *, sigma=0.5, seed=0, targets=None):
    """Columns of different lengths and offsets; the first k groups are at work."""
    rng = np.random.default_rng(seed)
    n = groups * size
    X = (rng.standard_normal((m, n)) + rng.standard_normal(n)) * rng.uniform(0.5, 2, n)
    shape = (n,) if targets is None else (n, targets)
    truth = np.zeros(shape)
    truth[: k * size] = rng.choice([-1.0, 1.0], (k * size, *shape[1:])) * rng.uniform(0.5, 1.5, (k * size, *shape[1:]))
    return X, 3 + X @ truth + sigma * rng.standard_normal((m, *shape[1:])), truth


def oracle(X, y, support):
    """Least squares on the true support with an intercept."""
    columns = np.column_stack([np.ones(len(X)), X[:, support]])
    coef = np.zeros((X.shape[1], *y.shape[1:]))
    coef[support] = np.linalg.lstsq(columns, y, rcond=None)[0][1:]
    return coef


# ---- as scikit-learn asks --------------------------------------------------------------------------------------


@parametrize_with_checks(
    [
        SparseFlowRegressor(feature_groups=1),
        SparseFlowRegressor(joint=True, stop="criterion"),
        SparseFlowRegressorCV(feature_groups=1, n_times=20),
        SparseFlowRegressorCV(joint=True, n_times=20, cv=2),
    ]
)
def test_scikit_learn_checks(estimator, check):
    check(estimator)


@BOTH
def test_groups_in_a_search_over_parameters(kind):
    X, y, _ = drawn(60, 10)
    search = GridSearchCV(kind(), {"feature_groups": [None, 4]}, cv=3).fit(X, y)
    assert search.best_params_ == {"feature_groups": 4}
    again = pickle.loads(pickle.dumps(search.best_estimator_))
    assert np.array_equal(again.predict(X), search.predict(X))
    assert clone(again).feature_groups == 4


# ---- what is found ---------------------------------------------------------------------------------------------


def test_groups_of_one_select_as_single_features():
    for seed in range(5):
        X, y, _ = drawn(100, 200, 1, 4, seed=seed)
        single, grouped = SparseFlowRegressor().fit(X, y), SparseFlowRegressor(feature_groups=1).fit(X, y)
        assert np.array_equal(single.support_, grouped.support_)
        assert np.array_equal(grouped.group_support_, grouped.support_)
        assert grouped.coef_ == pytest.approx(single.coef_, rel=1e-9)
        assert grouped.intercept_ == pytest.approx(single.intercept_, rel=1e-9)
        assert grouped.sigma_ == pytest.approx(single.sigma_, rel=1e-9)


def test_in_noise_nearly_the_oracle():
    for size, seed in [(4, 0), (5, 1), (10, 2)]:
        X, y, truth = drawn(150, 40, size, 3, sigma=2.0, seed=seed)
        found = SparseFlowRegressor(feature_groups=size).fit(X, y)
        assert np.array_equal(np.flatnonzero(found.group_support_), [0, 1, 2])
        assert np.array_equal(found.support_, truth != 0)
        assert found.coef_ == pytest.approx(oracle(X, y, truth != 0), abs=1e-8)
        assert found.sigma_ == pytest.approx(2.0, rel=0.2)


def test_pure_noise_selects_no_group():
    rng = np.random.default_rng(0)
    found = [
        SparseFlowRegressor(feature_groups=5, stop="criterion")
        .fit(rng.standard_normal((80, 200)), rng.standard_normal(80))
        .group_support_.sum()
        for _ in range(20)
    ]
    assert sum(found) <= 2  # at a level of one in a hundred


def test_cross_validation_finds_the_groups():
    X, y, truth = drawn(sigma=1.0)
    found = SparseFlowRegressorCV(feature_groups=4).fit(X, y)
    assert found.group_support_[:3].all()
    simple = SparseFlowRegressorCV(feature_groups=4, rule="one_se").fit(X, y)
    assert np.array_equal(np.flatnonzero(simple.group_support_), [0, 1, 2])
    assert found.errors_.shape == (1, 100, 5, 5)
    assert found.mean_errors_.min() < 1.5
    sure = SparseFlowRegressorCV(feature_groups=4, rule="one_se", refit=True).fit(X, y)
    assert sure.coef_ == pytest.approx(oracle(X, y, truth != 0), abs=1e-8)


def test_data_without_noise_are_fitted():
    X, y, truth = drawn(60, 40, 4, 3, sigma=0.0)
    found = SparseFlowRegressor(feature_groups=4).fit(X, y)
    assert found.coef_ == pytest.approx(truth, abs=1e-8)
    assert found.intercept_ == pytest.approx(3, abs=1e-8)


def test_weak_groups_are_read_off_a_group_lasso():
    rng = np.random.default_rng(1)
    X = rng.standard_normal((100, 200))
    y = X @ (0.15 * rng.standard_normal(200)) + rng.standard_normal(100)
    found = SparseFlowRegressor(feature_groups=4).fit(X, y)
    assert "group lasso at penalty" in found.reason_
    bases = [la.qr(part - part.mean(axis=0), mode="economic")[0] for part in np.split(X, 50, axis=1)]
    residual = y - found.predict(X)
    for basis, active in zip(bases, found.group_support_, strict=True):
        pull = np.linalg.norm(basis.T @ residual) * found.stop_time_  # 1 / penalty
        assert pull == pytest.approx(2.0, rel=1e-5) if active else pull < 2.0 * (1 + 1e-5)


# ---- what does not matter --------------------------------------------------------------------------------------


@BOTH
def test_order_of_features_and_groups_does_not_matter(kind):
    X, y, _ = drawn(sigma=2.0)
    labels, shuffled = np.repeat(np.arange(40), 4), np.random.default_rng(1).permutation(160)
    straight = kind(feature_groups=labels).fit(X, y)
    turned = kind(feature_groups=labels[shuffled]).fit(X[:, shuffled], y)
    assert turned.coef_ == pytest.approx(straight.coef_[shuffled], abs=1e-6)
    assert turned.intercept_ == pytest.approx(straight.intercept_, abs=1e-5)


@BOTH
def test_coordinates_within_a_group_do_not_matter(kind):
    X, y, _ = drawn(sigma=2.0)
    rng = np.random.default_rng(1)
    turns = [rng.standard_normal((4, 4)) + 2 * np.eye(4) for _ in range(40)]
    straight = kind(feature_groups=4).fit(X, y)
    turned = kind(feature_groups=4).fit(X @ la.block_diag(*turns), y)
    assert la.block_diag(*turns) @ turned.coef_ == pytest.approx(straight.coef_, abs=1e-5)
    assert turned.predict(X @ la.block_diag(*turns)) == pytest.approx(straight.predict(X), abs=1e-5)


@BOTH
def test_units_do_not_matter(kind):
    X, y, _ = drawn(sigma=2.0)
    units = 10.0 ** np.random.default_rng(1).integers(-6, 7, 160)
    straight, scaled = kind(feature_groups=4).fit(X, y), kind(feature_groups=4).fit(X * units, 1e-5 * y)
    assert scaled.coef_ * units * 1e5 == pytest.approx(straight.coef_, abs=1e-6)


@BOTH
def test_sparse_single_and_dense_agree(kind):
    X, y, _ = drawn(sigma=1.0)
    X[np.abs(X) < 0.5] = 0
    dense, sparse = kind(feature_groups=4).fit(X, y), kind(feature_groups=4).fit(sp.csr_matrix(X), y)
    assert sparse.coef_ == pytest.approx(dense.coef_, abs=1e-6)
    single = kind(feature_groups=4).fit(X.astype(np.float32), y.astype(np.float32))
    assert single.coef_.dtype == np.float32
    assert single.coef_ == pytest.approx(dense.coef_, abs=1e-3)


@BOTH
def test_whole_weights_are_repeated_rows(kind):
    X, y, _ = drawn(60, 10, sigma=2.0)
    counts = np.repeat([1, 2, 0], 20)
    repeated = np.repeat(np.arange(60), counts)
    folds = {"cv": [(np.arange(30), np.arange(30, 60))]} if kind is SparseFlowRegressorCV else {}
    twice = {"cv": [(np.flatnonzero(repeated < 30), np.flatnonzero(repeated >= 30))]} if folds else {}
    weighted = kind(feature_groups=4, **folds).fit(X, y, sample_weight=counts)
    whole = kind(feature_groups=4, **twice).fit(X[repeated], y[repeated])
    assert weighted.coef_ == pytest.approx(whole.coef_, abs=1e-6)
    assert weighted.intercept_ == pytest.approx(whole.intercept_, abs=1e-5)


def test_dependent_features_of_a_group_share():
    X, y, _ = drawn(80, 10, 3, 2)
    more = np.column_stack([X, X[:, 0], np.full(80, 7.0)])  # a copy, and a constant
    labels = np.append(np.repeat(np.arange(10), 3), [0, 1])
    plain = SparseFlowRegressor(feature_groups=3).fit(X, y)
    found = SparseFlowRegressor(feature_groups=labels).fit(more, y)
    assert found.predict(more) == pytest.approx(plain.predict(X), abs=1e-8)
    assert found.coef_[30] == pytest.approx(found.coef_[0], rel=1e-8)
    assert found.coef_[31] == 0
    assert np.array_equal(found.group_support_, plain.group_support_)


def test_categories_are_one_group_whatever_their_coding():
    rng = np.random.default_rng(0)
    kinds = rng.integers(0, 5, 200)
    noise = rng.standard_normal((200, 30))
    y = np.array([0.0, 1, -1, 2, 0.5])[kinds] + 0.3 * rng.standard_normal(200)
    full = SparseFlowRegressor(feature_groups=[range(5), *([5 + j] for j in range(30))]).fit(
        np.column_stack([np.eye(5)[kinds], noise]), y
    )
    short = SparseFlowRegressor(feature_groups=[range(4), *([4 + j] for j in range(30))]).fit(
        np.column_stack([np.eye(5)[kinds][:, 1:], noise]), y
    )
    assert np.array_equal(np.flatnonzero(full.group_support_), [0])
    assert np.unique(full.predict(np.column_stack([np.eye(5), np.zeros((5, 30))]))).size == 5
    assert full.predict(np.column_stack([np.eye(5)[kinds], noise])) == pytest.approx(
        short.predict(np.column_stack([np.eye(5)[kinds][:, 1:], noise])), abs=1e-8
    )


# ---- how groups are given --------------------------------------------------------------------------------------


@BOTH
def test_ways_to_say_the_same(kind):
    X, y, _ = drawn(60, 5, sigma=1.0)
    frame = pd.DataFrame(X, columns=[f"c{j}" for j in range(20)])
    names = [[f"c{4 * g + j}" for j in range(4)] for g in range(5)]
    ways = [
        (X, 4),
        (X, np.repeat([5, 3, 9, 1, 0], 4)),
        (X, list(np.repeat(["e", "d", "c", "b", "a"], 4))),
        (X, [list(range(4 * g, 4 * g + 4)) for g in range(5)]),
        (frame, names),
    ]
    fits = [kind(feature_groups=groups).fit(data, y) for data, groups in ways]
    assert all(np.array_equal(fit.coef_, fits[0].coef_) for fit in fits)
    assert all(np.array_equal(fit.group_support_, fits[0].group_support_) for fit in fits)


def test_weights_order_groups_and_free_them():
    X, y, _ = drawn(100, 20, 4, 2, sigma=1.0)
    weights = np.full(20, 2.0)
    assert np.array_equal(
        SparseFlowRegressor(feature_groups=4).fit(X, y).coef_,
        SparseFlowRegressor(feature_groups=4, group_weights=weights).fit(X, y).coef_,
    )
    for kind in (SparseFlowRegressor, SparseFlowRegressorCV):
        weights[10] = 0.0
        found = kind(feature_groups=4, group_weights=weights).fit(X, y)
        assert found.group_support_[[0, 1, 10]].all()
        assert len(found.path_features_) == 76
        rest = np.setdiff1d(np.arange(80), np.arange(40, 44))
        residual = y - found.predict(X)
        assert X[:, 40:44].T @ (residual - residual.mean()) == pytest.approx(np.zeros(4), abs=1e-7)
        assert np.array_equal(found.path_features_, rest)
    ones = SparseFlowRegressor(feature_groups=[[0], list(range(1, 80))], group_weights=None).fit(X, y)
    assert ones.group_support_.shape == (2,)


def test_without_an_intercept():
    X, y, _ = drawn(100, 20, 4, 2, sigma=0.5)
    found = SparseFlowRegressor(feature_groups=4, fit_intercept=False).fit(X, y - 3)
    assert found.intercept_ == 0.0
    expected = np.zeros(80)
    expected[:8] = np.linalg.lstsq(X[:, :8], y - 3, rcond=None)[0]
    assert found.coef_ == pytest.approx(expected, abs=1e-8)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"feature_groups": 3}, "must divide the 8"),
        ({"feature_groups": [0, 1]}, r"labels of shape \(8,\)"),
        ({"feature_groups": [[0, 1], [1, 2, 3, 4, 5, 6, 7]]}, "coordinate 1 is in groups 0 and 1"),
        ({"feature_groups": [[0, 1], [2, 3]]}, "coordinate 4 is in no group"),
        ({"feature_groups": [[0, 1], [2, 8]]}, "holds coordinate 8"),
        ({"feature_groups": [["a", "b"], ["c"]]}, "X has none"),
        ({"feature_groups": 4, "group_weights": [1.0]}, r"one entry per group \(2\), got 1"),
        ({"feature_groups": 4, "group_weights": [1.0, -1.0]}, "entry 1 is -1"),
        ({"feature_groups": 4, "group_weights": [0.0, 0.0]}, "zero everywhere"),
        ({"feature_groups": 4, "group_weights": [1.0, np.nan]}, "group_weights contains nan"),
        ({"feature_groups": 4, "group_weights": "size"}, '"sqrt_size", None or one number per group'),
        ({"group_weights": [1.0, 1.0]}, "of which there are none"),
        ({"feature_groups": 4, "positive": True}, "positive=True works feature by feature"),
        ({"feature_groups": 4, "feature_weights": np.ones(8)}, "pass group_weights"),
        ({"feature_groups": 4, "dynamics": "flow"}, "dynamics='flow'"),
        ({"joint": True, "depth": 3}, "with joint=True group lassos are followed; leave depth=3 out"),
    ],
)
@BOTH
def test_bad_groups_are_named(kind, options, message):
    X, y, _ = drawn(30, 2, 4, 1)
    with pytest.raises((ValueError, TypeError), match=message):
        kind(**options).fit(X, y)


def test_bad_pairs_are_named():
    X, y, _ = drawn(30, 2, 4, 1)
    with pytest.raises(ValueError, match="reads off a path of single features"):
        SparseFlowRegressor(feature_groups=4, stop="discrepancy").fit(X, y)
    with pytest.raises(ValueError, match="needs the columns of X"):
        SparseFlowRegressor(feature_groups=4).fit(aslinearoperator(X), y)
    frame = pd.DataFrame(X[:, :3], columns=["a", "b", "c"])
    with pytest.raises(ValueError, match="a column 'd', which X does not have"):
        SparseFlowRegressor(feature_groups=[["a", "b"], ["c", "d"]]).fit(frame, y)
    with pytest.raises(TypeError, match="joint must be True or False"):
        SparseFlowRegressor(joint="yes").fit(X, y)


# ---- joint targets ---------------------------------------------------------------------------------------------


@BOTH
def test_joint_targets_have_one_support(kind):
    X, Y, _ = drawn(80, 60, 1, 5, sigma=1.0, targets=3)
    found = kind(joint=True).fit(X, Y)
    assert found.coef_.shape == (3, 60)
    assert (found.support_ == found.support_[0]).all()
    assert found.support_[0, :5].all()
    assert found.predict(X).shape == Y.shape
    assert len(found.path_) == 3


def test_joint_targets_find_what_none_finds_alone():
    together, alone = 0, 0
    for seed in range(5):
        rng = np.random.default_rng(seed)
        X = rng.standard_normal((60, 100))
        truth = np.zeros((100, 8))
        truth[:4] = 0.45 * rng.choice([-1.0, 1.0], (4, 8))
        Y = X @ truth + rng.standard_normal((60, 8))
        together += np.abs(SparseFlowRegressor(joint=True).fit(X, Y).coef_.T - truth).sum()
        alone += np.abs(SparseFlowRegressor().fit(X, Y).coef_.T - truth).sum()
    assert together < 0.7 * alone


def test_joint_is_the_kronecker_product_with_groups():
    X, Y, _ = drawn(60, 12, 2, 2, sigma=2.0, targets=3)
    X, Y = X - X.mean(axis=0), Y - Y.mean(axis=0)
    Y = Y / np.linalg.norm(Y, axis=0)
    joint = SparseFlowRegressor(feature_groups=2, joint=True, fit_intercept=False).fit(X, Y)
    labels = np.repeat(np.arange(12), 6)
    long = SparseFlowRegressor(feature_groups=labels, fit_intercept=False).fit(np.kron(X, np.eye(3)), Y.ravel())
    assert joint.coef_.T.ravel() == pytest.approx(long.coef_, abs=1e-6)
    assert np.array_equal(joint.group_support_[0], long.group_support_)


@BOTH
def test_units_of_joint_targets_do_not_matter(kind):
    X, Y, _ = drawn(80, 40, 1, 3, sigma=1.0, targets=2)
    units = np.array([1.0, 1e4])
    plain, scaled = kind(joint=True).fit(X, Y), kind(joint=True).fit(X, Y * units)
    assert scaled.coef_ / units[:, None] == pytest.approx(plain.coef_, abs=1e-6)
    if kind is SparseFlowRegressor:
        assert scaled.sigma_ == pytest.approx(np.array(plain.sigma_) * units)


def test_one_joint_target_is_one_target():
    X, y, _ = drawn(80, 20, 3, 2)
    one, joint = (SparseFlowRegressor(feature_groups=3, joint=joint).fit(X, y) for joint in (False, True))
    column = SparseFlowRegressor(feature_groups=3, joint=True).fit(X, y[:, None])
    assert np.array_equal(one.coef_, joint.coef_)
    assert column.coef_ == pytest.approx(one.coef_[None], rel=1e-9)


def test_targets_by_themselves_may_have_other_groups():
    X, y, _ = drawn(100, 20, 4, 2)
    rolled = 3 + np.roll(X, -8, axis=1) @ np.where(np.arange(80) < 8, 1.0, 0)
    found = SparseFlowRegressor(feature_groups=4).fit(X, np.column_stack([y, rolled]))
    assert [list(np.flatnonzero(row)) for row in found.group_support_] == [[0, 1], [2, 3]]


# ---- what else is told -----------------------------------------------------------------------------------------


def test_path_and_certificate():
    X, y, _ = drawn(100, 20, 4, 2, sigma=1.0)
    found = SparseFlowRegressor(feature_groups=4).fit(X, y)
    path = found.path_
    assert path.x.shape == (len(path.times), 80)
    assert path.status is hf.results.Status.STOPPED
    assert (np.diff(path.times) > 0).all()
    assert path.last_time == path.times[-1]
    assert np.array_equal(path.state_at(path.last_time), path.end)
    assert not path.state_at(path.times[0] / 2).any()
    assert path.steps_taken == found.n_iter_ == len(path.times)
    assert "group lassos at" in path.describe()
    assert "GroupLassoPath" in repr(path)
    assert "asked for: x" in path.progress_made("x")
    reading = path.reading()
    assert reading.rows(slice(None)).shape == (len(path.times) + 1, len(reading.columns))
    left = path.problem.y - path.problem.operator.matvec(path.end)
    assert path.dual_at(path.last_time) == pytest.approx(path.last_time * left)
    assert found.certificate_.gap < 1
    assert 0 < found.stop_time_ <= path.last_time


def test_progress_is_reported_and_an_earlier_fit_forgotten():
    X, y, _ = drawn(60, 10)
    reports = []
    for kind in (SparseFlowRegressor, SparseFlowRegressorCV):
        model = kind(feature_groups=4, progress=reports.append).fit(X, y)
        assert any("penalties" in report.message for report in reports)
        reports.clear()
        model.set_params(feature_groups=None, progress=None).fit(X, y)
        assert not hasattr(model, "group_support_")


def test_path_can_be_drawn():
    plt = pytest.importorskip("matplotlib.pyplot")
    from hadaflow.plotting import plot_path

    X, y, _ = drawn(60, 10)
    axes = plot_path(SparseFlowRegressor(feature_groups=4).fit(X, y), read_out="average")
    assert axes.lines
    plt.close("all")


# ---- the parts -------------------------------------------------------------------------------------------------


def test_prices_of_groups_of_one_are_those_of_features():
    data = GroupedData(np.zeros((50, 300)), np.zeros((50, 1)), np.arange(300), np.ones(300), 49)
    for criterion in ("fdr", "ebic", "bic", "aic"):
        prices = GroupPrices(data, criterion, 0.01)
        known = criterion_prices(49, 300, criterion=criterion).prices
        assert [prices((1,) * k) for k in range(20)] == pytest.approx(list(known[:20]), rel=1e-9, abs=1e-12)
        assert prices((20, 28)) == np.inf


def test_group_lassos_are_minimal_and_their_freedom_is_a_derivative():
    rng = np.random.default_rng(3)
    sizes = np.array([1, 2, 3, 4, 5] * 4)
    labels = np.repeat(np.arange(20), sizes)
    columns = np.hstack([la.qr(rng.standard_normal((40, size)), mode="economic")[0] for size in sizes])
    weights = rng.uniform(0.5, 2, 20)
    for targets in (1, 3):
        target = rng.standard_normal((40, targets))

        def fitted(target, penalty=0.4, targets=targets):
            data = GroupedData(columns, target, labels, weights, 40)
            path = Lassos(data)
            lasso = path.at(penalty, 1e-8)
            return lasso, data.whole(lasso.places, lasso.values)

        lasso, x = fitted(target)
        groups = Groups(np.repeat(labels, targets))
        pull = (columns.T @ (target - columns @ x)).ravel()
        norms = groups.norms(pull) / weights
        active = groups.norms(x.ravel()) > 0
        assert norms[active] == pytest.approx(np.full(active.sum(), 0.4), rel=1e-6)
        assert (norms[~active] <= 0.4 * (1 + 1e-6)).all()
        assert GroupNorm(groups, weights).value(x.ravel()) > 0
        step, trace = 1e-4, 0.0
        for i in range(40):
            for j in range(targets):
                moved = np.array(target)
                moved[i, j] += step
                trace += ((columns @ fitted(moved)[1])[i, j] - (columns @ x)[i, j]) / step
        assert lasso.freedom == pytest.approx(trace, rel=1e-2)

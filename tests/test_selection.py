"""Choosing a model without a hold-out: prices, the search against all subsets, the average against dense times."""

import math
from collections import Counter
from inspect import signature
from itertools import combinations, product

import numpy as np
import pytest
import scipy.sparse as sp
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.sparse.linalg import aslinearoperator
from scipy.stats import norm, t

import hadaflow as hf
from hadaflow.selection.least_squares import Candidates, Moves, Pool

NAMES = ["fdr", "ebic", "bic", "aic"]


def drawn(m, n, k, *, sigma=0.5, seed=0, signs=False, positive=False):
    """A Gaussian (or sign) matrix and noisy measurements of k ones of either sign, which come first."""
    rng = np.random.default_rng(seed)
    A = rng.choice([-1.0, 1.0], size=(m, n)) if signs else rng.standard_normal((m, n))
    x = np.zeros(n)
    x[:k] = 1.0 if positive else rng.choice([-1.0, 1.0], k)
    return A, A @ x + sigma * rng.standard_normal(m), x


def least_squares(A, y, support):
    values = np.linalg.lstsq(A[:, list(support)], y, rcond=None)[0]
    return values, float(((y - A[:, list(support)] @ values) ** 2).sum())


def table(A, y, most, *, positive=False):
    """What is left of y by every subset of the columns; infinite where a sign constraint binds."""
    supports = [support for k in range(most + 1) for support in combinations(range(A.shape[1]), k)]
    fits = {support: least_squares(A, y, support) for support in supports}
    return {support: rss if not positive or (x > 0).all() else math.inf for support, (x, rss) in fits.items()}


def neighbours(support, n):
    """All supports that adding, dropping or exchanging one column leads to."""
    inside, outside = set(support), set(range(n)) - set(support)
    changed = [inside | {j} for j in outside] + [inside - {i} for i in inside]
    changed += [inside - {i} | {j} for i in inside for j in outside]
    return [tuple(sorted(other)) for other in changed]


# ---- prices ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("rows", "n", "chance"), [(100, 1000, 0.01), (20, 5, 0.9), (12, 40, 1e-9), (5, 3, 0.02)])
def test_fdr_prices_are_quantiles_of_t(rows, n, chance):
    prices = hf.criterion_prices(rows, n, chance=chance).prices
    assert len(prices) == min(n, rows - 2) + 1
    j = np.arange(len(prices) - 1)
    quantile = t.isf(np.minimum(chance * (j + 1) / n, 0.5) / 2, rows - j - 1)
    np.testing.assert_allclose(np.diff(prices), rows * np.log1p(quantile**2 / (rows - j - 1)), rtol=1e-9)
    assert prices[0] == 0


def test_a_price_is_what_the_f_test_asks_for():
    A, y, _ = drawn(25, 4, 2, sigma=1.5, seed=3)
    gain = -25 * math.log(least_squares(A, y, (0, 1))[1] / least_squares(A, y, (0,))[1])
    f = 23 * (least_squares(A, y, (0,))[1] / least_squares(A, y, (0, 1))[1] - 1)
    level = 2 * t.sf(math.sqrt(f), 23)

    def price(chance):
        return np.diff(hf.criterion_prices(25, 4, chance=chance).prices)[1]

    assert 1e-6 < level < 0.4
    assert price(4 / 2 * level * 0.999) > gain > price(4 / 2 * level * 1.001)


@pytest.mark.parametrize(("rows", "n"), [(50, 7), (60, 300)])
def test_ebic_counts_the_supports(rows, n):
    prices = hf.criterion_prices(rows, n, criterion="ebic").prices
    expected = [k * math.log(rows) + 2 * math.log(math.comb(n, k)) for k in range(len(prices))]
    np.testing.assert_allclose(prices, expected, rtol=1e-10, atol=1e-10)


def test_bic_and_aic():
    np.testing.assert_allclose(hf.criterion_prices(30, 9, criterion="bic").prices, np.arange(10) * math.log(30))
    np.testing.assert_array_equal(hf.criterion_prices(30, 9, criterion="aic").prices, 2 * np.arange(10))


@pytest.mark.parametrize("chance", [1e-100, 1e-30, 0.01, 0.999])
def test_fdr_prices_ascend_and_fall_with_the_chance(chance):
    prices = hf.criterion_prices(80, 10_000, chance=chance).prices
    assert np.isfinite(prices).all()
    assert (np.diff(prices) > 0).all()
    assert (prices[1:] >= hf.criterion_prices(80, 10_000, chance=0.999).prices[1:]).all()


def test_prices_of_many_rows_are_normal_quantiles():
    price = hf.criterion_prices(10**7, 1, chance=0.05).prices[1]
    assert price == pytest.approx(norm.isf(0.025) ** 2, rel=1e-5)


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize(("rows", "n", "most"), [(1, 5, 0), (2, 5, 0), (3, 5, 1), (50, 4, 4), (1, 1, 0)])
def test_how_many_entries_are_considered(name, rows, n, most):
    criterion = hf.criterion_prices(rows, n, criterion=name)
    assert criterion.most == most
    assert np.isfinite(criterion.prices).all()
    assert criterion(math.e, 0) == pytest.approx(rows)


def test_defaults_are_the_same_everywhere():
    defaults = {signature(function).parameters["chance"].default for function in (hf.criterion_prices, hf.select)}
    assert defaults == {0.01}


def test_prices_are_shared_and_so_read_only():
    prices = hf.criterion_prices(10, 20).prices
    with pytest.raises(ValueError, match="read-only"):
        prices[0] = 1.0


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"rows": 0}, "rows must be a finite number >= 1, got 0"),
        ({"rows": 2.5}, r"rows must be a whole number, got 2\.5"),
        ({"n": 0}, "n must be a finite number >= 1, got 0"),
        ({"criterion": "cp"}, "criterion must be one of 'fdr', 'ebic', 'bic', 'aic', got 'cp'"),
        ({"chance": 0}, "chance must be a finite number > 0, got 0"),
        ({"chance": 1}, "chance must lie between 0 and 1, got 1"),
        ({"chance": math.nan}, "chance must be a finite number > 0, got nan"),
    ],
)
def test_bad_prices(arguments, message):
    with pytest.raises(ValueError, match=message):
        hf.criterion_prices(**{"rows": 10, "n": 10, **arguments})


# ---- the model against all subsets -----------------------------------------------------------------------------


@pytest.mark.parametrize("positive", [False, True])
@pytest.mark.parametrize("m", [7, 30])
def test_model_is_a_local_minimum_and_mostly_the_best_of_all(positive, m):
    n, best = 8, Counter()
    for seed, name in product(range(6), NAMES):
        criterion = hf.criterion_prices(m, n, criterion=name, chance=0.05)
        if name == NAMES[0]:
            A, y, _ = drawn(m, n, 3, sigma=1.0, seed=seed)
            A[:, 4:] += 0.7 * A[:, :4]  # columns that can stand for one another
            left = table(A, y, criterion.most, positive=positive)
        chosen = hf.select(hf.Problem(A, y), criterion=name, chance=0.05, positive=positive, read_out="model")
        values = {s: float(criterion(rss, len(s))) if rss < math.inf else rss for s, rss in left.items()}
        model = tuple(int(i) for i in chosen.model)
        assert math.isfinite(values[model])
        for other in neighbours(model, n):
            assert values.get(other, math.inf) >= values[model] - 1e-6
        best[name] += values[model] <= min(values.values()) + 1e-6
        fitted, rss = least_squares(A, y, model)
        np.testing.assert_allclose(chosen.x[chosen.model], fitted, rtol=1e-8, atol=1e-10)
        assert np.count_nonzero(chosen.x) == len(model)
        assert chosen.sigma == pytest.approx(math.sqrt(rss / (m - len(model))), rel=1e-6)
        assert chosen.model_risk == pytest.approx(chosen.sigma**2 * (1 + len(model) / m), rel=1e-9)
    assert min(best[name] for name in NAMES) >= 5


def test_criteria_are_those_of_the_plateaus():
    A, y, _ = drawn(20, 12, 3, seed=1)
    chosen = hf.select(hf.Problem(A, y))
    criterion = hf.criterion_prices(20, 12, chance=0.01)
    for k in range(len(chosen.path.times)):
        x = chosen.path.x[[k]].toarray().ravel()
        size = np.count_nonzero(x)
        expected = criterion(((y - A @ x) ** 2).sum(), size) if size <= criterion.most else math.inf
        assert chosen.criteria[k] == pytest.approx(float(expected), rel=1e-6)


@given(st.integers(0, 10_000), st.booleans())
@settings(max_examples=30, deadline=None)
def test_moves_tell_what_least_squares_does(seed, positive):
    """The closed forms of docs/mathematics.md against least squares afresh."""
    rng = np.random.default_rng(seed)
    A, y = rng.standard_normal((9, 6)), rng.standard_normal(9)
    operator = hf.Problem(A, y).operator
    pool = Pool(operator, y, A.T @ y, np.finfo(float).eps * np.linalg.norm(A, axis=0))
    pool.extend(np.arange(6))
    fit = pool.fit(np.array([3, 0, 4]))
    squares = pool.gram.diagonal()
    candidates = Candidates.of(pool, fit, None, squares, pool.pull, pool.rounding[pool.working.index])
    moves = Moves.of(fit, candidates, fit.positions, positive)

    def change(support):
        values, rss = least_squares(A, y, support)
        return rss - fit.rss if not positive or (values > 0).all() else math.inf

    added = [math.inf if j in (3, 0, 4) else change([3, 0, 4, j]) for j in range(6)]
    np.testing.assert_allclose(moves.added, added, rtol=1e-7, atol=1e-9)
    dropped = [change(sorted({3, 0, 4} - {i})) for i in (3, 0, 4)]
    np.testing.assert_allclose(moves.dropped, dropped, rtol=1e-7, atol=1e-9)
    for column, i in enumerate((3, 0, 4)):
        swapped = [math.inf if j in (3, 0, 4) else change([*({3, 0, 4} - {i}), j]) for j in range(6)]
        np.testing.assert_allclose(moves.exchanged[:, column], swapped, rtol=1e-7, atol=1e-9)


# ---- the average -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("m", "n", "k"), [(30, 60, 2), (30, 60, 15), (60, 20, 5)])
@pytest.mark.parametrize("positive", [False, True])
def test_no_time_has_a_smaller_risk_than_the_one_reported(m, n, k, positive):
    A, y, _ = drawn(m, n, k, sigma=1.5, seed=4, positive=positive)
    chosen = hf.select(hf.Problem(A, y), read_out="average", positive=positive)
    path = chosen.path

    def average(time):
        return path.average(time) if time > 0 else np.zeros(n)

    def risk(time):
        residual = y - A @ average(time)
        count = min(np.count_nonzero(path(time * (1 + side))) for side in (-1e-12, 1e-12))  # on either side of a jump
        return (residual @ residual + 2 * chosen.sigma**2 * count) / m

    times = np.geomspace(path.times[1] / 2, path.times[-1], 2000)
    assert min(map(risk, times)) >= chosen.average_risk * (1 - 1e-9)
    assert chosen.average_risk == pytest.approx(risk(chosen.time), rel=1e-9)
    np.testing.assert_allclose(chosen.x, average(chosen.time))
    assert "the running average at time" in chosen.reason


def test_auto_takes_the_smaller_risk():
    taken = set()
    for k, sigma in ((2, 0.5), (25, 4.0)):
        A, y, _ = drawn(100, 150, k, sigma=sigma, seed=2)
        chosen = hf.select(hf.Problem(A, y))
        assert chosen.read_out == ("average" if chosen.average_risk < chosen.model_risk else "model")
        np.testing.assert_array_equal(chosen.x, hf.select(hf.Problem(A, y), read_out=chosen.read_out).x)
        taken.add(chosen.read_out)
    assert taken == {"model", "average"}


# ---- data at the edges -----------------------------------------------------------------------------------------


@pytest.mark.parametrize(("m", "n"), [(30, 80), (40, 12)])
@pytest.mark.parametrize("name", NAMES)
def test_without_noise_the_answer_is_exact(m, n, name):
    A, y, x = drawn(m, n, 3, sigma=0.0, seed=5)
    chosen = hf.select(hf.Problem(A, y), criterion=name)
    np.testing.assert_array_equal(chosen.support(), [0, 1, 2])
    np.testing.assert_allclose(chosen.x, x, atol=1e-9)
    assert chosen.read_out == "model"
    assert chosen.sigma < 1e-6


def test_pure_noise_brings_few_columns_in():
    found = [len(hf.select(hf.Problem(*drawn(40, 100, 0, seed=seed)[:2])).model) for seed in range(25)]
    assert sum(count > 0 for count in found) <= 2


def test_zero_measurements():
    chosen = hf.select(hf.Problem(np.eye(4), np.zeros(4)))
    assert not chosen.x.any()
    assert chosen.model.size == 0
    assert chosen.sigma < 1e-100


@pytest.mark.parametrize("read_out", ["auto", "model", "average"])
@pytest.mark.parametrize("shape", [(1, 1), (1, 5), (2, 3), (5, 1), (3, 1)])
def test_tiny_shapes(shape, read_out):
    rng = np.random.default_rng(0)
    chosen = hf.select(hf.Problem(rng.standard_normal(shape), rng.standard_normal(shape[0])), read_out=read_out)
    assert np.isfinite(chosen.x).all()
    assert len(chosen.model) <= max(0, shape[0] - 2)


def test_columns_of_zeros_and_duplicates():
    A, y, _ = drawn(40, 12, 3, seed=6)
    plain = hf.select(hf.Problem(A, y), read_out="model")
    double = hf.select(hf.Problem(np.hstack([A, A, np.zeros((40, 2))]), y), read_out="model", criterion="fdr")
    assert len({i % 12 for i in double.model}) == len(double.model)
    np.testing.assert_array_equal(sorted(i % 12 for i in double.model), plain.model)
    assert not double.x[24:].any()
    both = double.x[:12] + double.x[12:24]
    np.testing.assert_allclose(both, plain.x, atol=1e-8)


def test_only_zeros():
    chosen = hf.select(hf.Problem(np.zeros((5, 3)), np.arange(5.0)))
    assert not chosen.x.any()
    assert chosen.sigma == pytest.approx(math.sqrt(30 / 5))


@pytest.mark.parametrize("read_out", ["model", "average"])
@pytest.mark.parametrize("matrix", [2.0**-332, 1.0, 2.0**332])
@pytest.mark.parametrize("measurements", [2.0**-332, 1.0, 2.0**332])
def test_units_of_the_data_do_not_matter(read_out, matrix, measurements):
    """Powers of two, about 1e-100 and 1e100: exactly."""
    A, y, _ = drawn(20, 30, 3, seed=7)
    plain = hf.select(hf.Problem(A, y), read_out=read_out)
    scaled = hf.select(hf.Problem(matrix * A, measurements * y), read_out=read_out)
    np.testing.assert_array_equal(scaled.x, plain.x / matrix * measurements)
    np.testing.assert_array_equal(scaled.model, plain.model)
    assert scaled.sigma == plain.sigma * measurements
    assert scaled.average_risk == plain.average_risk * measurements * measurements
    assert scaled.time == plain.time / measurements
    np.testing.assert_allclose(scaled.criteria - 2 * 20 * math.log(measurements), plain.criteria, atol=1e-9)
    np.testing.assert_array_equal(scaled.path.final, plain.path.final / matrix * measurements)
    np.testing.assert_array_equal(scaled.path(scaled.time), plain.path(plain.time) / matrix * measurements)


@pytest.mark.parametrize("read_out", ["model", "average"])
def test_units_of_columns_do_not_matter(read_out):
    A, y, _ = drawn(30, 40, 3, seed=8)
    units = 10 ** np.random.default_rng(1).uniform(-100, 100, 40)
    plain = hf.select(hf.Problem(A, y), read_out=read_out)
    scaled = hf.select(hf.Problem(A * units, y), read_out=read_out)
    np.testing.assert_array_equal(scaled.model, plain.model)
    np.testing.assert_allclose(scaled.x * units, plain.x, rtol=1e-7, atol=1e-12)
    assert scaled.time == pytest.approx(plain.time)


@pytest.mark.parametrize("read_out", ["model", "average"])
def test_formats_agree(read_out):
    """Columns of signs are equally long, so that a LinearOperator sees the same weights up to a common factor."""
    A, y, _ = drawn(40, 60, 3, seed=9, signs=True)
    dense = hf.select(hf.Problem(A, y), read_out=read_out)
    for other in (sp.csr_array(A), sp.csc_matrix(A), np.asfortranarray(A), aslinearoperator(A)):
        chosen = hf.select(hf.Problem(other, y), read_out=read_out)
        np.testing.assert_array_equal(chosen.model, dense.model)
        np.testing.assert_allclose(chosen.x, dense.x, rtol=1e-7, atol=1e-10)
    assert "among the columns that the path visited" in hf.select(hf.Problem(other, y), read_out="model").reason


def test_float32():
    A, y, _ = drawn(60, 90, 4, seed=10)
    chosen = hf.select(hf.Problem(A.astype("f4"), y.astype("f4")))
    wide = hf.select(hf.Problem(A, y))
    assert chosen.x.dtype == np.float32
    np.testing.assert_array_equal(chosen.model, wide.model)
    np.testing.assert_allclose(chosen.x, wide.x, atol=1e-5)


def test_measurements_at_the_end_of_the_range_of_float32():
    A, y, _ = drawn(30, 40, 2, seed=11)
    chosen = hf.select(hf.Problem(A.astype("f4"), (y * 1e38 / np.abs(y).max()).astype("f4")))
    np.testing.assert_array_equal(chosen.support(), [0, 1])
    assert np.isfinite(chosen.x).all()


def test_inputs_are_only_read():
    A, y, _ = drawn(20, 30, 2, seed=12)
    weights = np.linspace(1.0, 2.0, 30)
    copies = A.copy(), y.copy(), weights.copy()
    for array in (A, y, weights):
        array.flags.writeable = False
    hf.select(hf.Problem(A, y), weights=weights)
    for array, copy in zip((A, y, weights), copies, strict=True):
        np.testing.assert_array_equal(array, copy)


def test_strong_signals_give_the_oracle():
    A, y, _ = drawn(500, 3000, 5, sigma=0.5, seed=0, signs=True)
    chosen = hf.select(hf.Problem(A, y))
    np.testing.assert_array_equal(chosen.support(), np.arange(5))
    np.testing.assert_allclose(chosen.x[:5], least_squares(A, y, range(5))[0], rtol=1e-9)
    assert chosen.sigma == pytest.approx(0.5, rel=0.1)


def test_weights_move_columns_back():
    A, y, _ = drawn(30, 40, 2, seed=14)
    weights = np.linalg.norm(A, axis=0)
    weights[0] *= 1e6
    path = hf.select(hf.Problem(A, y), weights=weights).path
    assert path.x[:, [0]].nnz == 0


def test_rows_beyond_the_entries_of_y():
    """Repetitions: twice the rows cost as much as half the price of each."""
    A, y, _ = drawn(12, 6, 2, sigma=1.0, seed=15)
    twice = hf.select(hf.Problem(np.vstack([A, A]), np.tile(y, 2)), read_out="model")
    counted = hf.select(hf.Problem(math.sqrt(2) * A, math.sqrt(2) * y), rows=24, read_out="model")
    np.testing.assert_array_equal(counted.model, twice.model)
    assert counted.sigma == pytest.approx(twice.sigma)


def test_progress_is_told_and_repr_says_what_was_chosen():
    seen = []
    A, y, _ = drawn(40, 60, 2, seed=16)
    chosen = hf.select(hf.Problem(A, y), progress=seen.append)
    assert all(isinstance(report, hf.Progress) for report in seen)
    assert seen
    assert repr(chosen).startswith("Selection(2 of 60 coordinates, model: no single change of the support (2 of 60")


@given(
    st.integers(1, 7).flatmap(
        lambda m: st.integers(1, 7).flatmap(
            lambda n: st.tuples(
                st.lists(st.lists(st.integers(-2, 2), min_size=n, max_size=n), min_size=m, max_size=m),
                st.lists(st.integers(-3, 3), min_size=m, max_size=m),
            )
        )
    ),
    st.sampled_from(NAMES),
    st.booleans(),
    st.sampled_from(["auto", "model", "average"]),
)
@settings(max_examples=150, deadline=None)
def test_any_small_data(data, criterion, positive, read_out):
    """Small whole numbers: columns repeat, vanish and depend on one another."""
    A, y = np.array(data[0], dtype=float), np.array(data[1], dtype=float)
    chosen = hf.select(hf.Problem(A, y), criterion=criterion, positive=positive, read_out=read_out)
    assert np.isfinite(chosen.x).all()
    assert min(chosen.sigma, chosen.model_risk, chosen.average_risk) >= 0
    assert len(chosen.model) <= max(0, min(A.shape[1], len(y) - 2))
    assert not positive or (chosen.x >= -1e-12).all()
    if chosen.read_out == "model":
        np.testing.assert_array_equal(chosen.support(), chosen.model)
        residual = y - A @ chosen.x
        np.testing.assert_allclose(A[:, chosen.model].T @ residual, 0, atol=1e-6)


# ---- bad input -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        ({"criterion": "cv"}, ValueError, "criterion must be one of 'fdr', 'ebic', 'bic', 'aic', got 'cv'"),
        ({"chance": 1.5}, ValueError, r"chance must lie between 0 and 1, got 1\.5"),
        ({"chance": -1}, ValueError, "chance must be a finite number > 0, got -1"),
        ({"chance": "small"}, TypeError, "chance must be a number, got 'small'"),
        ({"read_out": "best"}, ValueError, "read_out must be one of 'auto', 'model', 'average', got 'best'"),
        ({"positive": 1}, TypeError, "positive must be True or False, got 1"),
        ({"weights": [1.0, 1.0]}, ValueError, r"weights must have one entry per column of A \(3\), got 2"),
        ({"weights": [1.0, 0.0, 1.0]}, ValueError, "weights must be positive, but entry 1 is 0"),
        ({"rows": 0}, ValueError, "rows must be a finite number >= 1, got 0"),
        ({"progress": 1}, TypeError, "progress must be callable or None, got 1"),
    ],
)
def test_bad_arguments(arguments, error, message):
    with pytest.raises(error, match=message):
        hf.select(hf.Problem(np.eye(3), np.ones(3)), **arguments)


def test_only_problems_with_the_squared_loss():
    with pytest.raises(TypeError, match=r"problem must be a hadaflow.Problem, got ndarray; make one"):
        hf.select(np.eye(3))
    logistic = hf.Problem(np.eye(3), np.array([1.0, -1.0, 1.0]), loss=hf.losses.Logistic())
    with pytest.raises(ValueError, match="select works for the squared loss only"):
        hf.select(logistic)


# ---- nearly dependent columns -----------------------------------------------------------------------------------


@pytest.mark.parametrize("closeness", [1e-3, 1e-5, 1e-7, 1e-9, 1e-11])
@pytest.mark.parametrize("n", [3, 10, 60])
def test_a_difference_of_close_columns_is_found(closeness, n):
    rng = np.random.default_rng(n)
    A = rng.standard_normal((150, n))
    between = rng.standard_normal(150)
    A[:, 1] = A[:, 0] + closeness * between
    y = 3 * between + A[:, 2] + 0.1 * rng.standard_normal(150)
    chosen = hf.select(hf.Problem(A, y))
    reference = np.linalg.lstsq(np.column_stack([A[:, [0, 2]], between]), y)[0]
    left = np.linalg.norm(y - np.column_stack([A[:, [0, 2]], between]) @ reference)
    assert set(chosen.support()) >= {0, 1, 2}
    assert np.linalg.norm(y - A @ chosen.x) <= left * (1 + 1e-3)
    assert chosen.sigma == pytest.approx(0.1, rel=0.2)
    alone = hf.select(hf.Problem(A, 3 * A[:, 0] + 0.1 * rng.standard_normal(150)), read_out="model")
    assert np.abs(alone.x).max() < 4  # one of the two is enough


@pytest.mark.parametrize("copies", [1.0, 3.0, -0.1])
@pytest.mark.parametrize("dtype", [np.float64, np.float32])
def test_copies_up_to_rounding_are_dependent(copies, dtype):
    A, y, _ = drawn(60, 20, 3, sigma=0.5, seed=2)
    A = A.astype(dtype)
    chosen = hf.select(hf.Problem(np.hstack([A, dtype(copies) * A]), y.astype(dtype)), read_out="model")
    plain = hf.select(hf.Problem(A, y.astype(dtype)), read_out="model")
    np.testing.assert_array_equal(np.unique(chosen.model % 20), np.sort(plain.model))
    assert len(chosen.model) == len(plain.model)

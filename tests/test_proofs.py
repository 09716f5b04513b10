"""Answers are called what they prove: inputs that were once wrong and called right, and their kinds."""

import itertools

import numpy as np
import pytest
import scipy.sparse as sp
from scipy.optimize import nnls
from scipy.sparse.linalg import aslinearoperator

import hadaflow as hf
from hadaflow.certificates import prove_fit
from hadaflow.convergence import quietly
from hadaflow.gauges import L1
from hadaflow.operators import as_operator
from hadaflow.operators.around import even_rows

ANSWER = {5: 1.0, 60: -2.0, 90: 0.5}


def rows_in_units(factor, count=20, seed=3):
    rng = np.random.default_rng(seed)
    A, x = rng.standard_normal((40, 120)), np.zeros(120)
    x[list(ANSWER)] = list(ANSWER.values())
    A[:count] *= factor
    return A, A @ x, x


def decays(seed, noise=0.015, total=None):
    """Amplitudes of exponential decays, non-negative; with ``total`` their sum is a row of its own, times that."""
    rng = np.random.default_rng(seed)
    A = np.exp(-np.linspace(10, 320, 32)[:, None] / np.geomspace(8, 4000, 96))
    x = np.zeros(96)
    x[rng.choice(96, 3, replace=False)] = [300, 500, 200]
    y = A @ x + noise * rng.standard_normal(32)
    if total is not None:
        A, y = np.vstack([A, np.full(96, total)]), np.append(y, total * x.sum())
    return A, y


def outliers(seed, rows=100):
    """A line in two features, and outliers as unknowns of their own: ``[X, I]``."""
    rng = np.random.default_rng(seed)
    X = np.column_stack([np.ones(rows), rng.uniform(50, 200, rows), rng.uniform(1900, 2020, rows)])
    x = np.zeros(rows + 3)
    x[:3] = [3.0, 0.5, -0.1]
    x[3 + rng.choice(rows, 8, replace=False)] = 10 * rng.standard_normal(8)
    A = np.hstack([X, np.eye(rows)])
    return A, A @ x, x


# ---- rows in different units --------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", [np.asarray, sp.csc_array, aslinearoperator])
def test_rows_in_any_units(kind):
    for factor in (1e7, 1e9, 1e12, 1e-9):
        A, y, x = rows_in_units(factor)
        r = hf.recover(kind(A), y)
        assert r.status is hf.Status.EXACT
        assert r.certificate.unique
        assert r.certificate.backward_error < 1e-13
        np.testing.assert_allclose(r.x, x, atol=1e-12)
        np.testing.assert_array_equal(r.support(), list(ANSWER))


def test_rows_in_any_units_from_a_start_and_with_noise():
    A, y, x = rows_in_units(1e9)
    end = hf.recover(A, y, depth=3, init_scale=1e-3)
    assert end.status is hf.Status.LIMIT
    np.testing.assert_allclose(end.x, x, atol=1e-6)
    np.testing.assert_allclose(hf.recover(A, y, noise_level=1e-3).x, x, atol=1e-6)


@pytest.mark.parametrize("positive", [False, True])
def test_a_row_of_zeros_on_the_right_beside_a_tiny_one(positive):
    """What the long row rounds is more than all of y; that does not put y out of reach."""
    for exponent, seed in itertools.product((6, 10, 14, 16, 19), range(10)):
        rng = np.random.default_rng([exponent, seed])
        units = 10.0 ** (np.array([-0.5, 0.5]) * exponent) * rng.uniform(1, 2, 2)
        A = np.array([[1.0, 0.0, 0.0], [1.0, -1.0, 1.0]]) * units[:, None]
        y = np.array([A[0, 0] * rng.integers(1, 9), 0.0])
        r = hf.recover(A, y, positive=positive)
        assert r.status is hf.Status.EXACT
        assert r.certificate.l1_norm == pytest.approx(2 * y[0] / A[0, 0])


def test_a_path_by_products_that_leaves_something_is_not_exact():
    t, rng = np.linspace(0, 1, 7), np.random.default_rng(0)
    A = np.exp(-np.outer(t, np.geomspace(0.03, 20, 5))) * [1e6, 1e-3, 1e-5, 10, 100]
    y = A @ np.ones(5) + 1e-7 * np.abs(A).max() * rng.standard_normal(7)
    path = quietly(hf.saddles, hf.Problem(aslinearoperator(A), y))
    assert path.status is not hf.Status.EXACT


def test_a_limit_on_columns_of_zeros():
    A = sp.csr_array(np.array([[0.0, 1, 0, 1], [0, 1, 0, 0], [0, 0, 1, 1]]))
    for data in (A, A.toarray()):
        r = quietly(hf.recover, data, [0, -8.5, 0], positive=True, depth=2, init_scale=0.5)
        assert np.linalg.norm(A @ r.x - [0, -8.5, 0]) == pytest.approx(8.5)


def test_a_path_that_misses_short_rows_is_not_exact():
    A, y, x = rows_in_units(1e12)
    path = quietly(hf.saddles, hf.Problem(A, y))
    assert np.abs(path.final - x).max() < 1e-9 or not path.status.ok


def test_a_certificate_sees_the_row_that_a_norm_does_not():
    A, y, x = rows_in_units(1e12)
    wrong = x.copy()
    wrong[5] = 1.01
    wrong[:] += np.linalg.lstsq(A[:20], y[:20] - A[:20] @ wrong, rcond=None)[0]  # long rows fit, short ones do not
    c = hf.certify(hf.Problem(A, y), wrong, y)
    assert c.residual < 1e-12
    assert c.backward_error > 1e-6
    assert not c.proves()


def test_backward_error_is_that_of_oettli_and_prager():
    A, y = np.array([[1.0, 2.0], [1e6, 0.0]]), np.array([5.0, 1e6])
    c = hf.certify(hf.Problem(A, y), [1.0, 1.0], [1.0, 0.0])
    assert c.backward_error == pytest.approx(2 / (1 + 2 + 5))
    assert hf.certify(hf.Problem(A, y), [1.0, 2.0], [1.0, 0.0]).backward_error == 0.0


def test_rows_alike_are_left_alone():
    A = np.random.default_rng(0).standard_normal((20, 50))
    assert even_rows(as_operator(A)) is None
    factors = even_rows(as_operator(A * np.geomspace(1, 1e6, 20)[:, None]))
    np.testing.assert_array_equal(np.frexp(factors)[0], 0.5)  # powers of two


# ---- least squares --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("total", [None, 1e6])
def test_least_squares_is_least_squares(total):
    for seed in range(12):
        A, y = decays(seed, total=total)
        r = quietly(hf.recover, A, y, positive=True)
        _, best = nnls(A, y, maxiter=100_000)
        if r.status.ok:
            assert np.linalg.norm(A @ r.x - y) <= best * (1 + 1e-6), seed
            assert r.certificate.fit_gap <= 1e-8, seed
        assert r.x.min() >= 0, seed
        assert total is not None or r.status is hf.Status.LEAST_SQUARES, seed


def test_data_that_fit_are_not_called_least_squares():
    for seed in range(12):
        A, y = decays(seed, noise=0.0, total=1e6)
        assert quietly(hf.recover, A, y, positive=True).status is not hf.Status.LEAST_SQUARES, seed


def test_a_fit_that_is_not_the_best_is_not_proved():
    rng = np.random.default_rng(1)
    A, y = rng.standard_normal((20, 5)), rng.standard_normal(20)
    best, *_ = np.linalg.lstsq(A, y, rcond=None)
    operator = as_operator(A)
    assert prove_fit(operator, best, y, L1()).holds
    for off in (1e-3, 1.0):
        proof = prove_fit(operator, best + off, y, L1())
        assert not proof.holds
        assert proof.bound <= np.linalg.norm(A @ best - y) * (1 + 1e-12)


def test_a_gradient_that_is_not_zero_refutes_non_negative_least_squares():
    A, y = np.eye(3)[:, :2], np.array([1.0, 1.0, 1.0])
    operator = as_operator(A)
    assert prove_fit(operator, np.array([1.0, 1.0]), y, L1(sign="positive")).holds
    assert not prove_fit(operator, np.array([1.0, 0.0]), y, L1(sign="positive")).holds  # the second column would help
    assert prove_fit(operator, np.array([0.0, 0.0]), -y, L1(sign="positive")).holds


def test_the_nearest_non_negative_point_may_be_zero():
    for A, y in [([[1.0], [1.0], [-3.0]], [1.0, 1.0, 1.0]), ([[1.0], [1e9]], [1.0, -1.0])]:
        for data in (np.array(A), sp.csc_array(A), np.array(A, dtype=np.float32)):
            r = hf.recover(data, np.array(y, dtype=data.dtype), positive=True)
            assert r.status is hf.Status.LEAST_SQUARES
            assert not r.x.any()


def test_a_direction_that_only_huge_entries_reach_is_not_overlooked():
    """A singular value of 1e-13: least squares with small entries leaves what entries of 1e10 would fit."""
    for seed in range(6):
        rng = np.random.default_rng(seed)
        u, v = np.linalg.qr(rng.standard_normal((20, 20)))[0], np.linalg.qr(rng.standard_normal((12, 12)))[0]
        A = (u[:, :12] * np.append(np.linspace(1, 2, 11), 1e-13)) @ v
        y = A @ rng.standard_normal(12) + 1e-3 * u[:, 11] + 1e-3 * u[:, 15]
        r = quietly(hf.recover, A, y)
        q, _ = np.linalg.qr(A)
        best = np.linalg.norm(y - q @ (q.T @ y))
        assert not r.status.ok or np.linalg.norm(A @ r.x - y) <= best * (1 + 1e-6) + 1e-5, seed


def test_nearly_dependent_columns_of_a_tall_system():
    rng = np.random.default_rng(5)
    A = rng.standard_normal((30, 6))
    A[:, 5] = A[:, 4] + 1e-9 * rng.standard_normal(30)
    y = rng.standard_normal(30)
    r = hf.recover(A, y)
    assert r.status is hf.Status.LEAST_SQUARES
    q, _ = np.linalg.qr(np.column_stack([A[:, :5], (A[:, 5] - A[:, 4]) * 1e9]))
    best = np.linalg.norm(y - q @ (q.T @ y))
    assert np.linalg.norm(A @ r.x - y) <= best * (1 + 1e-6)


@pytest.mark.parametrize("positive", [False, True])
def test_limits_prove_their_fit(positive):
    rng = np.random.default_rng(2)
    A, y = rng.standard_normal((30, 8)), rng.standard_normal(30)
    model = hf.HadamardPower(3, "positive" if positive else "both")
    end = quietly(hf.limit, hf.Problem(A, y), model, init_scale=1e-2)
    best = nnls(A, y)[1] if positive else np.linalg.norm(A @ np.linalg.lstsq(A, y, rcond=None)[0] - y)
    assert end.status is hf.Status.LEAST_SQUARES
    assert np.linalg.norm(A @ end.x - y) <= best * (1 + 1e-7)


# ---- long columns, and columns of little weight ---------------------------------------------------------------------


@pytest.mark.parametrize("weight", [1e-8, 1e-2, 1.0])
def test_outliers_as_unknowns(weight):
    for seed in range(5):
        A, y, x = outliers(seed)
        r = hf.recover(A, y, weights=np.r_[np.full(3, weight), np.ones(100)])
        assert r.status is hf.Status.EXACT, seed
        assert r.certificate.gap < 1e-11, seed
        if weight < 1:
            np.testing.assert_allclose(A @ r.x, y, rtol=1e-12)
            np.testing.assert_array_equal(r.support()[3:], np.flatnonzero(x)[3:])


def test_columns_in_other_units():
    for seed in range(5):
        rng = np.random.default_rng(seed)
        A, x = np.hstack([1e12 * rng.standard_normal((60, 20)), np.eye(60)]), np.zeros(80)
        x[:20] = 1e-12 * rng.standard_normal(20)
        x[20 + rng.choice(60, 5, replace=False)] = rng.standard_normal(5)
        r = hf.recover(A, A @ x)
        assert r.status is hf.Status.EXACT, seed
        assert r.certificate.gap < 1e-10, seed
        np.testing.assert_array_equal(r.support(), np.flatnonzero(x))


def test_a_bound_counts_the_rounding_of_every_column_that_may_be_the_largest():
    A = np.array([[1.0, 1e10, 0.0], [0.0, 1e10, 1.0]])
    problem, w = hf.Problem(A, [1.0, 0.0]), [1.0, 1e-6, 1.0]
    dual = np.array([1.0, -1.0 + 1e-16])  # the second column meets its bound with nothing but rounding
    c = hf.certify(problem, [1.0, 0.0, 0.0], dual, weights=w)
    exact = max(1.0, 1e10 * abs(float(dual[0]) + float(dual[1])) / 1e-6)
    assert c.lower_bound <= 1 / exact * (1 + 1e-15)


def test_independent_columns_leave_one_solution():
    rng = np.random.default_rng(8)
    A = rng.standard_normal((12, 4)) * [1.0, 1.0, 1.0, 1e-12]
    r = hf.recover(A, A @ np.array([1.0, -2.0, 0.5, 3.0]))
    assert r.status is hf.Status.EXACT
    assert r.certificate.unique


# ---- candidates -----------------------------------------------------------------------------------------------------


def test_noise_that_a_square_system_amplifies_is_not_ok():
    rng, t = np.random.default_rng(1), np.arange(100)
    A = np.exp(-0.5 * ((t[:, None] - t) / 5) ** 2)
    y = A[:, ::20].sum(axis=1) + 0.05 * rng.standard_normal(100)
    r = quietly(hf.recover, A, y)
    assert not r.status.ok
    assert r.hint is not None
    assert hf.recover(A, y, noise_level=0.5).status is hf.Status.NOISE_LEVEL


def test_a_path_and_its_end_agree():
    for seed in range(60):
        rng = np.random.default_rng(seed)
        base = rng.standard_normal((15, 30))
        A = np.hstack([base, base + 10.0 ** rng.uniform(-9, -3) * rng.standard_normal((15, 30))])
        y = A @ np.where(rng.random(60) < 0.1, rng.standard_normal(60), 0.0)
        path = quietly(hf.saddles, hf.Problem(A, y))
        last = path.x[[-1]].toarray().ravel()
        if path.status.ok:
            np.testing.assert_array_equal(last, path.final)
        else:
            size = np.linalg.norm(y)
            assert np.linalg.norm(A @ last - y) <= np.linalg.norm(A @ path.final - y) + 1e-6 * size

"""Leaps along the saddle path: recover() with a LinearOperator, whose columns cost a product each."""

import numpy as np
import pytest
import scipy.fft
import scipy.sparse as sp
from scipy.fft import dctn, idctn
from scipy.sparse.linalg import LinearOperator, aslinearoperator

import hadaflow as hf
from hadaflow.gauges import L1
from hadaflow.operators import as_operator
from hadaflow.solvers.implicit.faces import Descent, Point
from hadaflow.solvers.implicit.leaps import leap
from hadaflow.units import to_unit

SIDE = 64
N = SIDE * SIDE


def cosines(*, share=0.4, rows=0.0, columns=0.0, seed=0):
    """Part of the 2-D cosine transform of an image with random signs; rows and columns may differ in size."""
    rng = np.random.default_rng(seed)
    kept = np.sort(rng.choice(N, int(share * N), replace=False))
    row_size = np.exp(rows * rng.standard_normal(len(kept)))
    column_size = np.exp(columns * rng.standard_normal(N)) * rng.choice([-1.0, 1.0], N)

    def matvec(v):
        image = (np.ravel(v) * column_size).reshape(SIDE, SIDE)
        return scipy.fft.dctn(image, norm="ortho").ravel()[kept] * row_size

    def rmatvec(r):
        spectrum = np.zeros(N)
        spectrum[kept] = np.ravel(r) * row_size
        return scipy.fft.idctn(spectrum.reshape(SIDE, SIDE), norm="ortho").ravel() * column_size

    return LinearOperator((len(kept), N), matvec=matvec, rmatvec=rmatvec, dtype=np.float64)


def sparse(k, kind, seed=1):
    rng = np.random.default_rng(seed)
    x = np.zeros(N)
    values = {"gauss": rng.standard_normal(k), "signs": rng.choice([-1.0, 1.0], k), "positive": rng.uniform(0.1, 1, k)}
    x[rng.choice(N, k, replace=False)] = values[kind]
    return x


@pytest.mark.parametrize(("k", "kind"), [(10, "gauss"), (150, "gauss"), (300, "signs"), (300, "positive")])
def test_exact_and_proved_with_few_products(k, kind):
    A, x = cosines(), sparse(k, kind)
    found = hf.recover(A, A @ x)
    assert found.status.name == "EXACT"
    assert found.certificate.proves()
    np.testing.assert_allclose(found.x, x, atol=1e-10)
    np.testing.assert_array_equal(found.support(), np.flatnonzero(x))
    assert found.stats.passes < 350


@pytest.mark.parametrize("sizes", [{"rows": 0.5}, {"columns": 0.5}])
def test_rows_or_columns_of_different_size(sizes):
    A, x = cosines(**sizes), sparse(150, "gauss")
    found = hf.recover(A, A @ x)
    assert (found.status.name, found.stats.method) == ("EXACT", "leaps")
    np.testing.assert_allclose(found.x, x, atol=1e-9)


def test_nonnegative_needs_fewer_measurements():
    A, x = cosines(share=0.2), sparse(220, "positive")
    found = hf.recover(A, A @ x, positive=True)
    assert (found.status.name, found.stats.method) == ("EXACT", "leaps")
    assert found.x.min() == 0
    np.testing.assert_allclose(found.x, x, atol=1e-10)
    assert hf.recover(A, A @ x).certificate.l1_norm < x.sum() * (1 - 1e-3)


def test_weights_are_obeyed():
    A, x = cosines(share=0.2), sparse(180, "gauss")
    weights = np.where(x != 0, 0.2, 1.0)
    found = hf.recover(A, A @ x, weights=weights)
    assert (found.status.name, found.stats.method) == ("EXACT", "leaps")
    np.testing.assert_allclose(found.x, x, atol=1e-10)


def test_agrees_with_the_walk_where_the_answer_is_not_the_sparsest():
    rng = np.random.default_rng(3)
    A = rng.standard_normal((60, 400))
    y = A @ np.where(rng.random(400) < 0.08, rng.standard_normal(400), 0.0)
    walked, leapt = hf.recover(A, y), hf.recover(aslinearoperator(A), y)
    assert walked.status.name == leapt.status.name == "EXACT"
    assert leapt.certificate.l1_norm == pytest.approx(walked.certificate.l1_norm, rel=1e-8)


@pytest.mark.parametrize("scale", [1e-150, 1e-8, 1e8, 1e150])
def test_units_do_not_matter(scale):
    A, x = cosines(), sparse(100, "gauss")
    found = hf.recover(A, scale * (A @ x))
    assert found.status.name == "EXACT"
    np.testing.assert_allclose(found.x, scale * x, atol=1e-10 * scale)


def test_float32_operator():
    A, x = cosines(), sparse(100, "signs")
    single = LinearOperator(
        A.shape,
        matvec=lambda v: A.matvec(v).astype(np.float32),
        rmatvec=lambda r: A.rmatvec(r).astype(np.float32),
        dtype=np.float32,
    )
    found = hf.recover(single, (A @ x).astype(np.float32))
    assert (found.status.name, found.x.dtype) == ("EXACT", np.float32)
    np.testing.assert_allclose(found.x, x, atol=1e-4)
    assert len(found.support()) < 200


def test_uniqueness_is_proved_where_that_costs_no_more_than_the_answer():
    A = cosines()
    few, many = hf.recover(A, A @ sparse(20, "gauss")), hf.recover(A, A @ sparse(400, "signs"))
    assert few.certificate.unique
    assert not many.certificate.unique
    assert hf.certify(many.problem, many.x, many.dual).unique
    assert not hf.certify(many.problem, many.x, many.dual, most_columns=399).unique


def test_past_the_threshold_the_answer_is_a_solution_with_an_honest_gap():
    A, x = cosines(share=0.3), sparse(700, "gauss")
    unit = to_unit(hf.Problem(A, A @ x))
    end, _ = leap(unit, most_products=600)
    assert unit.meter.passes < 700
    found = hf.certify(hf.Problem(A, A @ x), unit.original_x(end.x), unit.original_dual(end.nu))
    assert found.residual < 1e-10
    assert 1e-6 < found.gap < 0.5
    assert not found.unique


def test_measurements_out_of_range_are_left_to_the_walk():
    rng = np.random.default_rng(0)
    A = rng.standard_normal((40, 20))
    found = hf.recover(aslinearoperator(A), rng.standard_normal(40))
    assert found.status.name == "LEAST_SQUARES"


def test_no_admissible_direction():
    """Every column points away from y: non-negative x can only be zero."""
    A = np.abs(np.random.default_rng(0).standard_normal((10, 30)))
    found = hf.recover(aslinearoperator(A), -A.sum(axis=1), positive=True)
    assert found.status.name == "LEAST_SQUARES"
    assert not found.x.any()


def test_zero_and_repeated_columns():
    rng = np.random.default_rng(2)
    A = rng.standard_normal((60, 200))
    A[:, 5], A[:, 7] = 0.0, A[:, 6]
    x = np.zeros(200)
    x[[6, 20, 90]] = 1.0, -2.0, 0.5
    found = hf.recover(aslinearoperator(A), A @ x)
    assert found.status.name == "EXACT"
    assert not found.certificate.unique
    assert found.certificate.l1_norm == pytest.approx(3.5)


def test_matrices_are_walked_as_before():
    rng = np.random.default_rng(0)
    A = rng.standard_normal((40, 100))
    y = A[:, :3].sum(axis=1)
    assert hf.recover(A, y).stats.method == "saddles"
    assert hf.recover(sp.csr_array(A), y).stats.method == "saddles"


def test_progress_and_cost_are_told():
    A, x = cosines(), sparse(50, "gauss")
    reports = []
    found = hf.recover(A, A @ x, progress=reports.append)
    assert {report.stage for report in reports} == {"leaps"}
    assert len(reports) == found.stats.events > 1


# ---- descent -----------------------------------------------------------------------------------------------


@pytest.fixture
def descent():
    return Descent(as_operator(np.random.default_rng(0).standard_normal((30, 60))), L1())


def start(descent, y):
    return Point(np.zeros(60), y, descent.operator.rmatvec(y))


def test_descent_meets_the_conditions_of_the_lasso(descent):
    y = np.random.default_rng(1).standard_normal(30)
    penalty = 0.1 * descent.gauge.dual(descent.operator.rmatvec(y))
    end = descent.settle(start(descent, y), penalty, 1e-10)
    on = end.x != 0
    g = descent.operator.rmatvec(y - descent.operator.matvec(end.x))
    np.testing.assert_allclose(g[on], penalty * np.sign(end.x[on]), rtol=1e-7)
    assert np.abs(g[~on]).max() <= penalty * (1 + 1e-8)
    np.testing.assert_allclose(end.g, g, atol=1e-10)


def test_descent_from_far_away_never_rises(descent):
    rng = np.random.default_rng(2)
    y, x = rng.standard_normal(30), 1e3 * rng.standard_normal(60)
    r = y - descent.operator.matvec(x)
    end = descent.settle(Point(x, r, descent.operator.rmatvec(r)), 1.0, 1e-6)
    direct = descent.settle(start(descent, y), 1.0, 1e-6)
    values = [0.5 * p.r @ p.r + np.abs(p.x).sum() for p in (end, direct)]
    assert values[0] == pytest.approx(values[1], rel=1e-8)


def test_descent_stops_when_its_products_are_spent(descent):
    y = np.random.default_rng(1).standard_normal(30)
    descent.allow(10)
    descent.settle(start(descent, y), 1e-3, 1e-12)
    assert descent.spent
    assert descent.products <= 14


def test_fit_gives_up_on_a_support_too_small(descent):
    y = np.random.default_rng(1).standard_normal(30)
    _, fitted = descent.fit(start(descent, y), np.arange(60) < 5, 1e-12)
    assert not fitted
    assert descent.products < 40
    end, fitted = descent.fit(start(descent, descent.operator.matvec(np.eye(60)[3])), np.arange(60) < 5, 1e-12)
    assert fitted
    np.testing.assert_allclose(end.x, np.eye(60)[3], atol=1e-11)


def test_large_operators_stop_at_the_noise_level():
    """Sparse wavelet coefficients from noisy cosine samples: better than their constrained l1 norm, by a refit."""
    rng = np.random.default_rng(0)
    n, kept = 128 * 128, np.sort(rng.choice(128 * 128, 6000, replace=False))

    def sample(x):
        return dctn(x.reshape(128, 128), norm="ortho").ravel()[kept]

    def back(r):
        spectrum = np.zeros(n)
        spectrum[kept] = r
        return idctn(spectrum.reshape(128, 128), norm="ortho").ravel()

    operator = LinearOperator((6000, n), matvec=sample, rmatvec=back, dtype=np.float64)
    x = np.zeros(n)
    x[rng.choice(n, 300, replace=False)] = rng.choice([-1.0, 1.0], 300) * rng.uniform(0.5, 2, 300)
    noise = 0.02 * rng.standard_normal(6000)
    level = float(np.linalg.norm(noise))
    r = hf.recover(operator, sample(x) + noise, noise_level=level)
    assert r.status is hf.Status.NOISE_LEVEL
    assert np.linalg.norm(sample(r.x) - sample(x) - noise) <= 1.0000001 * level
    assert r.stats.passes < 300
    assert set(np.flatnonzero(x)) <= set(r.support())
    oracle = np.linalg.norm(noise) * (300 / 6000) ** 0.5  # about what least squares on the true support leaves
    assert np.linalg.norm(r.x - x) < 4 * oracle

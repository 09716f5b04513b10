import math
from fractions import Fraction

import numpy as np
import pytest
from conftest import basis_pursuit, minimal_l1, planted
from scipy.optimize import linprog
from scipy.sparse import csr_array
from scipy.sparse.linalg import aslinearoperator

import hadaflow as hf
from hadaflow.certificates._accurate import accurate_products

SETTINGS = {
    "signed": {},
    "positive": {"positive": True},
    "weighted": {"weights": np.linspace(0.5, 3, 12)},
    "weighted positive": {"positive": True, "weights": np.linspace(3, 0.5, 12)},
}
each_setting = pytest.mark.parametrize("setting", SETTINGS)


def small(seed, *, positive=False):
    """5 x 12, integer-valued for odd seeds, with a feasible point."""
    rng = np.random.default_rng(seed)
    A = rng.integers(-2, 3, (5, 12)).astype(float) if seed % 2 else rng.standard_normal((5, 12))
    x = rng.integers(0 if positive else -2, 3, 12).astype(float)
    return rng, A, A @ x


def dual_optimum(A, y, *, positive=False, weights=None):
    """An optimal dual vector: max <y, nu> subject to |A^T nu| <= w."""
    w = np.ones(A.shape[1]) if weights is None else weights
    matrix, bound = (A.T, w) if positive else (np.vstack([A.T, -A.T]), np.concatenate([w, w]))
    result = linprog(-y, A_ub=matrix, b_ub=bound, bounds=(None, None), method="highs")
    assert result.status == 0
    return result.x


# ---- the bound -----------------------------------------------------------------------------------------------


@each_setting
def test_bound_is_the_minimum_for_an_optimal_dual_and_never_above_it(setting):
    """Whatever x and dual: random ones, good ones, and good ones disturbed."""
    options = SETTINGS[setting]
    for seed in range(8):
        rng, A, y = small(seed, positive="positive" in options)
        problem, best = hf.Problem(A, y), dual_optimum(A, y, **options)
        x, minimum = basis_pursuit(A, y, **options)
        certificate = hf.certify(problem, x, best, **options)
        assert certificate.lower_bound == pytest.approx(minimum, rel=1e-9), seed
        assert certificate.l1_norm == pytest.approx(certificate.lower_bound, rel=1e-9), seed
        assert certificate.proves(gap=1e-8, residual=1e-9), seed
        duals = [
            best,
            *rng.standard_normal((10, 5)),
            *(best + 10.0 ** -np.arange(1.0, 13)[:, None] * rng.standard_normal(5)),
        ]
        for dual in [sign * scale * dual for dual in duals for sign in (1, -1) for scale in (1, 1e-9)]:
            certificate = hf.certify(problem, rng.standard_normal(12), dual, **options)
            assert 0 <= certificate.lower_bound <= minimum * (1 + 1e-13), seed


def test_bound_is_below_its_exact_value():
    """<y, dual> / max |A_i^T dual| in rational arithmetic: rounding never lifts the computed bound above it."""
    for seed in range(8):
        rng = np.random.default_rng(seed)
        A, y = rng.standard_normal((5, 12)), rng.standard_normal(5)
        dual = rng.standard_normal(5)
        dual *= np.sign(y @ dual)
        exact = [Fraction(float(d)) for d in dual]
        largest = max(abs(sum(Fraction(float(a)) * d for a, d in zip(column, exact, strict=True))) for column in A.T)
        value = sum(Fraction(float(b)) * d for b, d in zip(y, exact, strict=True)) / largest
        bound = Fraction(hf.certify(hf.Problem(A, y), np.zeros(12), dual).lower_bound)
        assert value * (1 - Fraction(1, 10**12)) < bound <= value, seed


@pytest.mark.parametrize("penalty", [0.05, 0.3, 1.0])
def test_bound_within_the_noise(penalty):
    """A lasso solution has the least l1 norm among all points of its residual, and its residual is the dual proof."""
    linear_model = pytest.importorskip("sklearn.linear_model")
    lasso = linear_model.Lasso(alpha=penalty / 5, fit_intercept=False, tol=1e-15, max_iter=100_000)
    for seed in range(0, 8, 2):
        rng, A, y = small(seed)
        x = lasso.fit(A, y).coef_
        problem, residual = hf.Problem(A, y), y - A @ x
        noise_level = float(np.linalg.norm(residual))
        assert hf.certify(problem, x, residual, noise_level=noise_level).gap < 1e-7, seed
        for dual in rng.standard_normal((50, 5)):
            bound = hf.certify(problem, x, dual, noise_level=noise_level).lower_bound
            assert bound <= np.abs(x).sum() * (1 + 1e-7), seed


def test_bound_within_the_noise_is_attained_on_the_identity():
    """min ||z||_1 subject to ||z - y|| <= e: all entries shrink alike while none vanishes."""
    y, e = np.array([3.0, -2.0, 4.0]), 0.6
    x = y - np.sign(y) * e / math.sqrt(3)
    certificate = hf.certify(hf.Problem(np.eye(3), y), x, np.sign(y), noise_level=e)
    assert certificate.gap < 1e-14
    assert certificate.residual == pytest.approx(e / np.linalg.norm(y))


def test_bound_for_least_squares_points():
    """For y outside the range the minimum is taken over all least-squares points."""
    rng = np.random.default_rng(2)
    A = rng.standard_normal((6, 3)) @ rng.standard_normal((3, 9))
    y = rng.standard_normal(6)
    fit = A @ np.linalg.lstsq(A, y, rcond=None)[0]
    basis = np.linalg.svd(A)[0][:, :3].T
    minimum = minimal_l1(basis @ A, basis @ fit)
    result = hf.recover(A, y)
    problem = hf.Problem(A, y)
    good = hf.certify(problem, result.x, result.dual, least_squares=True)
    assert good.lower_bound == pytest.approx(minimum, rel=1e-9)
    assert good.gap < 1e-9
    for dual in rng.standard_normal((20, 6)):
        assert hf.certify(problem, result.x, dual, least_squares=True).lower_bound <= minimum * (1 + 1e-12)


def test_certificate_is_free_of_units():
    _, A, y = small(0)
    x, dual = basis_pursuit(A, y)[0], dual_optimum(A, y)
    plain = hf.certify(hf.Problem(A, y), x, dual)
    for scaled in [
        certificate
        for size in (1e-150, 1e-30, 1e30, 1e150)
        for certificate in (
            hf.certify(hf.Problem(size * A, size * y), x, dual),
            hf.certify(hf.Problem(A, y), x, size * dual),
            hf.certify(hf.Problem(A, size * y), size * x, dual / size),
        )
    ]:
        assert scaled.gap == pytest.approx(plain.gap, abs=1e-12)
        assert scaled.margin == pytest.approx(plain.margin)
        assert scaled.unique == plain.unique
        assert scaled.residual == pytest.approx(plain.residual, abs=1e-14)


# ---- fields --------------------------------------------------------------------------------------------------


def test_fields_by_hand():
    """A = [1, 1/2], y = 1: x = (1, 0) is the minimiser, dual 1 proves it, nothing else does as well."""
    problem = hf.Problem([[1.0, 0.5]], [1.0])
    right = hf.certify(problem, [1.0, 0.0], [1.0])
    assert (right.residual, right.l1_norm, right.margin, right.unique) == (0.0, 1.0, 0.5, True)
    assert 1 - 1e-14 < right.lower_bound <= 1
    wasteful = hf.certify(problem, [0.0, 2.0], [1.0])
    assert (wasteful.l1_norm, wasteful.margin, wasteful.unique) == (2.0, 0.0, False)
    assert wasteful.gap == pytest.approx(0.5)
    infeasible = hf.certify(problem, [0.5, 0.0], [1.0])
    assert (infeasible.residual, infeasible.unique) == (0.5, False)
    shifted = hf.certify(hf.Problem(np.eye(2), [1.0, 1.0]), [0.5, 1.5], [1.0, 1.0])
    assert shifted.gap < 1e-14
    assert (shifted.residual, shifted.unique) == (0.5, False)
    backwards = hf.certify(problem, [1.0, 0.0], [-1.0])
    assert (backwards.lower_bound, backwards.gap, backwards.unique) == (0.0, 1.0, False)
    no_dual = hf.certify(problem, [1.0, 0.0], [0.0])
    assert (no_dual.lower_bound, no_dual.gap, no_dual.unique) == (0.0, 1.0, False)


def test_weights_by_hand():
    """With weights (3, 1) the second coordinate is the cheaper one."""
    certificate = hf.certify(hf.Problem([[1.0, 0.5]], [1.0]), [0.0, 2.0], [2.0], weights=[3.0, 1.0])
    assert certificate.l1_norm == 2.0
    assert certificate.gap < 1e-14
    assert certificate.margin == pytest.approx(1 / 3)
    assert certificate.unique


def test_zero_measurements():
    certificate = hf.certify(hf.Problem(np.eye(2), np.zeros(2)), np.zeros(2), np.zeros(2))
    assert (certificate.residual, certificate.l1_norm, certificate.gap, certificate.unique) == (0.0, 0.0, 0.0, True)
    assert hf.certify(hf.Problem(np.eye(2), np.zeros(2)), [1.0, 0.0], np.ones(2)).unique is False
    assert hf.certify(hf.Problem(np.ones((1, 2)), [0.0]), [0.0, 0.0], [0.0]).unique  # the only point of norm zero


def test_no_coordinate_off_the_support():
    assert hf.certify(hf.Problem(np.eye(2), [1.0, -2.0]), [1.0, -2.0], [1.0, -1.0]).margin == 1.0


def test_negative_entries_prove_nothing_for_positive_x():
    certificate = hf.certify(hf.Problem(np.eye(2), [1.0, -1.0]), [1.0, -1.0], [1.0, -1.0], positive=True)
    assert not certificate.proves()
    assert not certificate.unique


def test_given_support():
    """The end of a flow is nowhere zero: its support is given, and what lies off it forbids uniqueness."""
    problem = hf.Problem([[1.0, 0.5]], [1.0])
    x = [1 - 5e-11, 1e-10]
    certificate = hf.certify(problem, x, [1.0], support=np.array([0]))
    assert certificate.margin == 0.5
    assert not certificate.unique
    assert hf.certify(problem, x, [1.0]).margin == 1.0


def test_proves():
    certificate = hf.Certificate(
        1e-11, 1.0, 1.0, 1e-9, 0.5, backward_error=1e-11, scaled_residual=1e-11, fit_gap=0.0, unique=True
    )
    assert certificate.proves()
    assert not certificate.proves(gap=1e-10)
    assert not certificate.proves(residual=1e-12)


def test_every_kind_of_operator():
    data = planted(20, 50, 3)
    A = data.A.astype(np.float32).astype(float)
    result = hf.recover(A, A @ data.x)
    for kind in (np.asfortranarray, csr_array, aslinearoperator, lambda A: A.astype(np.float32)):
        certificate = hf.certify(hf.Problem(kind(A), A @ data.x), result.x, result.dual)
        assert certificate.unique, kind
        assert certificate.gap < 1e-10, kind


# ---- uniqueness ----------------------------------------------------------------------------------------------


def linprog_says_unique(A, y, x):
    """Whether every coordinate of a minimiser is pinned: no minimal point moves along any of them."""
    n = A.shape[1]
    matrix = np.vstack([np.hstack([A, -A]), np.ones(2 * n)])
    right = np.append(y, np.abs(x).sum())
    for i in range(n):
        for sign in (1, -1):
            cost = np.zeros(2 * n)
            cost[i], cost[n + i] = sign, -sign
            found = linprog(cost, A_eq=matrix, b_eq=right, method="highs")
            if found.status != 0 or abs(sign * found.fun - x[i]) > 1e-6:
                return False
    return True


def test_unique_where_linear_programming_says_so():
    for seed in range(6):
        data = planted(6, 10, 1 + seed % 2, seed=seed)
        result = hf.recover(data.A, data.y)
        assert linprog_says_unique(data.A, data.y, result.x), seed
        assert result.certificate.unique, seed


def test_not_unique_with_duplicate_columns():
    data = planted(10, 20, 2, seed=1)
    for copy in (1.0, -1.0):
        A = np.column_stack([data.A, copy * data.A[:, np.flatnonzero(data.x)[0]]])
        result = hf.recover(A, data.y)
        assert result.status is hf.Status.EXACT
        assert not result.certificate.unique
        one_of_many = hf.certify(hf.Problem(A, data.y), np.append(data.x, 0.0), result.dual)
        assert one_of_many.gap < 1e-10
        assert one_of_many.margin == pytest.approx(0, abs=1e-9)
        assert not one_of_many.unique


def test_not_unique_with_dependent_columns_on_the_support():
    A = np.array([[1.0, 0.0, 0.5], [0.0, 1.0, 0.5]])
    certificate = hf.certify(hf.Problem(A, [1.0, 1.0]), [0.5, 0.5, 1.0], [1.0, 1.0])
    assert certificate.gap < 1e-14
    assert certificate.margin == 1.0
    assert not certificate.unique


@pytest.mark.parametrize(("dtype", "size"), [(np.float64, 5e-9), (np.float32, 1e-5)])
def test_not_unique_when_the_dual_only_nearly_meets_its_bounds(dtype, size):
    """A support with the third column has a smaller l1 norm, by a share too small for the gap to tell."""
    A = np.array([[1.0, 0.0, -5 - 3 * size], [0.0, 1 - size, 6]], dtype=dtype)
    y = np.ones(2, dtype=dtype)
    x = np.append(np.linalg.solve(A[:, :2].astype(float), y), 0)
    better = np.linalg.solve(A[:, [0, 2]].astype(float), y)
    assert np.abs(better).sum() < np.abs(x).sum() * (1 - size / 5)
    assert not hf.certify(hf.Problem(A, y), x, [1.0, 1.0]).unique


# ---- nothing wrong gets a good certificate -------------------------------------------------------------------


def test_wrong_answers_get_no_proof():
    for seed in range(5):
        rng, data = np.random.default_rng(seed), planted(20, 50, 3, seed=seed)
        problem, dual = hf.Problem(data.A, data.y), hf.recover(data.A, data.y).dual
        kernel = np.linalg.svd(data.A)[2][20:]
        for size in 10.0 ** np.arange(-6.0, 2):
            feasible = data.x + size * rng.standard_normal(30) @ kernel
            infeasible = data.x * (1 + size)
            for wrong in (feasible, infeasible):
                certificate = hf.certify(problem, wrong, dual)
                assert not certificate.proves()
                assert not certificate.unique
            spoilt = dual + size * np.abs(dual).max() * rng.standard_normal(20)
            assert not hf.certify(problem, data.x, spoilt).proves()


# ---- float32 -------------------------------------------------------------------------------------------------


def test_float32():
    data = planted(20, 60, 3)
    A, y = data.A.astype(np.float32), data.y.astype(np.float32)
    result = hf.recover(A, y)
    certificate = hf.certify(hf.Problem(A, y), result.x, result.dual)
    assert certificate == result.certificate
    assert certificate.unique
    assert certificate.gap < 1e-6
    assert certificate.residual < 1e-6
    assert certificate.lower_bound <= minimal_l1(A.astype(float), y.astype(float)) * (1 + 1e-12)


# ---- lasso ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("positive", [False, True])
def test_lasso_on_the_identity(positive):
    """Soft thresholding solves it, so its certificate is tight; the objective is the one of the formula."""
    y, w = np.array([3.0, -2.0, 0.4, 0.0]), np.array([1.0, 2.0, 0.5, 1.0])
    for penalty in (0.01, 0.5, 1.0, 10.0):
        x = np.sign(y) * np.maximum(np.abs(y) - penalty * w, 0)
        if positive:
            x = np.maximum(x, 0)
        certificate = hf.certify_lasso(hf.Problem(np.eye(4), y), x, penalty, weights=w, positive=positive)
        objective = 0.5 * ((x - y) ** 2).sum() + penalty * (w * np.abs(x)).sum()
        assert certificate.objective == pytest.approx(objective, rel=1e-14)
        assert certificate.lower_bound == pytest.approx(objective, rel=1e-13)
        assert certificate.penalty == penalty
        assert abs(certificate.gap) < 1e-14


@pytest.mark.parametrize("positive", [False, True])
@pytest.mark.parametrize("weighted", [False, True])
def test_lasso_against_scikit_learn(positive, weighted):
    """The bound stays below its optimum for any x, and meets it at its solution."""
    linear_model = pytest.importorskip("sklearn.linear_model")
    rng = np.random.default_rng(4)
    data = planted(30, 60, 5, seed=4)
    y = data.y + 0.1 * rng.standard_normal(30)
    w = np.linspace(0.5, 2, 60) if weighted else np.ones(60)
    penalty = 0.1
    lasso = linear_model.Lasso(alpha=penalty / 30, fit_intercept=False, tol=1e-14, max_iter=100_000, positive=positive)
    x = lasso.fit(data.A / w, y).coef_ / w
    optimum = 0.5 * ((data.A @ x - y) ** 2).sum() + penalty * (w * np.abs(x)).sum()
    problem = hf.Problem(data.A, y)
    options = {"positive": positive, "weights": w if weighted else None}
    best = hf.certify_lasso(problem, x, penalty, **options)
    assert best.objective == pytest.approx(optimum, rel=1e-13)
    assert abs(best.gap) < 1e-9
    for size in 10.0 ** np.arange(-4.0, 2):
        z = x + size * rng.standard_normal(60)
        other = hf.certify_lasso(problem, np.abs(z) if positive else z, penalty, **options)
        assert other.lower_bound <= optimum * (1 + 1e-12) <= other.objective * (1 + 2e-12)
        assert other.gap > 0


def test_lasso_needs_non_negative_x_where_it_was_promised():
    certificate = hf.certify_lasso(hf.Problem(np.eye(2), [1.0, 1.0]), [1.0, -0.1], 0.5, positive=True)
    assert certificate.objective == math.inf
    assert certificate.gap == math.inf


def test_lasso_of_zero_measurements():
    certificate = hf.certify_lasso(hf.Problem(np.eye(2), np.zeros(2)), np.zeros(2), 1.0)
    assert (certificate.objective, certificate.lower_bound, certificate.gap) == (0.0, 0.0, 0.0)


def test_lasso_above_the_largest_penalty():
    """At x = 0 the gap closes once the penalty reaches max |A^T y|."""
    data = planted(10, 20, 2)
    problem, top = hf.Problem(data.A, data.y), np.abs(data.A.T @ data.y).max()
    assert abs(hf.certify_lasso(problem, np.zeros(20), top).gap) < 1e-14
    assert hf.certify_lasso(problem, np.zeros(20), 0.9 * top).gap > 1e-3


def test_lasso_float32():
    A, y = np.eye(3, dtype=np.float32), np.array([3.0, -2.0, 0.1], dtype=np.float32)
    assert hf.certify_lasso(hf.Problem(A, y), np.array([2.0, -1.0, 0.0], dtype=np.float32), 1.0).gap < 1e-7


@pytest.mark.parametrize("m", [1, 2, 7, 100])
def test_products_in_twice_the_precision(m):
    rng = np.random.default_rng(m)
    columns = rng.standard_normal((m, 6)) * 10.0 ** rng.integers(-12, 12, (m, 6))
    v = rng.standard_normal(m) * 10.0 ** rng.integers(-12, 12, m)
    values, bounds = accurate_products(columns, v)
    for value, bound, column in zip(values, bounds, columns.T, strict=True):
        exact = sum(Fraction(a) * Fraction(b) for a, b in zip(column, v, strict=True))
        assert abs(Fraction(value) - exact) <= Fraction(bound)
        assert bound <= 1e-15 * abs(exact) + 1e-25 * np.abs(column * v).sum()
    assert np.isinf(accurate_products(np.array([[1e200]]), np.array([1e200]))[1]).all()

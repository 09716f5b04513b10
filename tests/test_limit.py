import itertools

import numpy as np
import pytest
from conftest import planted
from scipy.integrate import solve_ivp
from scipy.linalg import null_space
from scipy.sparse.linalg import aslinearoperator

import hadaflow as hf
from hadaflow.solvers.newton import normal as _normal

# Limits for A = [1, r], y = 1, at product scale w0: (r, w0, depth, x1, x2).
SIGNED = [
    (0.5, 1e-2, 2, 0.9517314398, 0.09653712032),
    (0.5, 1e-2, 3, 0.9796525349, 0.04069493019),
    (0.5, 1e-2, 4, 0.9858673402, 0.02826531952),
    (0.5, 1e-2, 6, 0.9895786489, 0.02084270212),
    (0.5, 1e-4, 2, 0.9950129843, 0.009974031304),
    (0.5, 1e-4, 3, 0.9996664316, 6.671367767e-4),
    (0.5, 1e-4, 4, 0.9998263122, 3.473755924e-4),
    (0.5, 1e-6, 2, 0.9995001255, 9.997490313e-4),
    (0.5, 1e-6, 3, 0.9999962673, 7.46544178e-6),
    (0.9, 1e-2, 2, 0.6270441031, 0.414395441),
    (0.9, 1e-2, 3, 0.7177017452, 0.3136647275),
    (0.9, 1e-4, 2, 0.7300609683, 0.2999322574),
    (0.9, 1e-4, 3, 0.9687265488, 0.03474827912),
    (0.9, 1e-4, 4, 0.9924547776, 0.008383580472),
    (0.9, 1e-6, 2, 0.8124705877, 0.2083660137),
    (0.9, 1e-6, 4, 0.9999118480, 9.794666369e-5),
]
# The same for x = u^D and A = [1, 0.5], at factor scale a: (a, depth, x1, x2).
POSITIVE = [
    (0.1, 2, 0.9512343774, 0.09753124512),
    (0.01, 2, 0.9950124844, 0.00997503125),
    (0.1, 3, 0.9969955631, 0.006008873755),
    (0.01, 3, 0.9999961176, 7.764720885e-6),
    (0.1, 4, 0.9998039412, 3.921176585e-4),
]


def end(A, y, depth, a, *, sign="both", **options):
    return hf.limit(hf.Problem(A, y), hf.HadamardPower(depth, sign), init_scale=a, **options)


def test_reference_vectors():
    for r, w0, depth, *x in SIGNED:
        found = end([[1.0, r]], [1.0], depth, w0 ** (1 / depth))
        assert found.status is hf.Status.LIMIT
        np.testing.assert_allclose(found.x, x, rtol=1e-8)
    for a, depth, *x in POSITIVE:
        np.testing.assert_allclose(end([[1.0, 0.5]], [1.0], depth, a, sign="positive").x, x, rtol=1e-8)


def integrated_limit(A, y, depth, a, *, signed):
    """The factors themselves, followed by a stiff ODE solver until they stand still."""
    n = A.shape[1]

    def velocity(_, w):
        u, v = (w[:n], w[n:]) if signed else (w, None)
        g = A.T @ (A @ (u**depth - v**depth if signed else u**depth) - y)
        du = -depth * g * u ** (depth - 1)
        return np.concatenate([du, depth * g * v ** (depth - 1)]) if signed else du

    start = np.full(2 * n if signed else n, a)
    w = solve_ivp(velocity, (0, 1e5), start, method="LSODA", rtol=1e-11, atol=1e-14).y[:, -1]
    return w[:n] ** depth - w[n:] ** depth if signed else w**depth


@pytest.mark.parametrize("signed", [True, False])
@pytest.mark.parametrize(("depth", "a"), [(2, 0.1), (3, 0.3), (4, 0.4), (2.5, 0.2)])
def test_agrees_with_integration_of_the_factors(depth, a, signed):
    case = planted(4, 8, 2, seed=3, positive=not signed)
    found = end(case.A, case.y, depth, a, sign="both" if signed else "positive")
    np.testing.assert_allclose(found.x, integrated_limit(case.A, case.y, depth, a, signed=signed), atol=2e-7)


@pytest.mark.parametrize("sign", ["both", "positive"])
@pytest.mark.parametrize("depth", [2, 3, 4, 8])
def test_gradient_of_the_potential_is_orthogonal_to_the_kernel(depth, sign):
    case = planted(10, 24, 3, seed=5, positive=sign == "positive")
    model = hf.HadamardPower(depth, sign)
    for w0 in (1e-1, 1e-3):
        a = w0 ** (1 / depth)
        found = hf.limit(hf.Problem(case.A, case.y), model, init_scale=a)
        theta = model.inverse(found.x, a)
        assert np.abs(null_space(case.A).T @ theta).max() <= 1e-8 * np.abs(theta).max()
        np.testing.assert_allclose(case.A @ found.x, case.y, atol=1e-11)
        np.testing.assert_allclose(model.mirror_map(case.A.T @ found.dual, a), found.x, rtol=1e-7, atol=1e-12)


def test_ties_are_broken_by_depth():
    # All of (2t, 1 - 3t, t), 0 <= t <= 1/3, have the minimal norm 1.
    for depth, t in [(2, 0.217988), (3, 0.219359), (4, 0.220063)]:
        found = end([[1.0, 1, 1], [0, 1, 3]], [1.0, 1], depth, 1e-7 ** (1 / depth))
        assert found.x[2] == pytest.approx(t, abs=6e-7)
        assert np.abs(found.x).sum() == pytest.approx(1, abs=1e-5)


@pytest.mark.parametrize("sign", ["both", "positive"])
def test_start_per_coordinate_gives_weighted_norm(sign):
    A, y, c = np.array([[1.0, 1.2]]), np.array([1.0]), np.array([1.0, 0.5])
    # Weights c^-(D-2) = (1, 2) at depth 3: the first coordinate is cheaper. Plain norm at depth 2: the second is.
    deep = end(A, y, 3, 0.01 * c, sign=sign).x
    np.testing.assert_allclose(deep, [0.999998, 1.9e-6], atol=4e-7)
    shallow = end(A, y, 2, 1e-16 * c, sign=sign).x
    np.testing.assert_allclose(shallow, [1.3e-5, 0.83332], rtol=0.05, atol=1e-5)


def test_equal_starts_given_as_vector_are_the_same():
    case = planted(10, 24, 3)
    np.testing.assert_allclose(
        end(case.A, case.y, 3, np.full(24, 0.05)).x, end(case.A, case.y, 3, 0.05).x, rtol=1e-9, atol=1e-14
    )


@pytest.mark.parametrize("s", [25, 80])
def test_few_newton_steps_at_small_scale(s):
    case = planted(250, 1000, s)
    for depth in (2, 3, 4, 8):
        found = end(case.A, case.y, depth, 1e-8 ** (1 / depth))
        assert found.status is hf.Status.LIMIT
        assert np.linalg.norm(case.A @ found.x - case.y) <= 1e-10 * np.linalg.norm(case.y)
        assert found.stats.newton_steps <= 40


@pytest.mark.parametrize("depth", [2, 3, 8])
def test_extreme_scales(easy, depth):
    nearest = np.linalg.pinv(easy.A) @ easy.y
    for w0 in (1e-300, 1e-100, 1e-30, 1e3, 1e6):
        found = end(easy.A, easy.y, depth, w0 ** (1 / depth))
        assert found.status is hf.Status.LIMIT
        np.testing.assert_allclose(easy.A @ found.x, easy.y, atol=1e-9)
        if w0 > 1:  # a large start is the kernel regime: the solution of minimal Euclidean norm
            np.testing.assert_allclose(found.x, nearest, atol=1e-3 * 1e3 / w0)
        else:
            np.testing.assert_allclose(found.x, easy.x, atol=1e-6 if w0 == 1e-30 and depth == 2 else 1e-9)


def test_smaller_scale_is_nearer_to_the_minimal_norm(easy):
    excess = [np.abs(end(easy.A, easy.y, 3, w0 ** (1 / 3)).x).sum() - np.abs(easy.x).sum() for w0 in (1e-2, 1e-4, 1e-6)]
    assert excess[0] > 30 * excess[1] > 30 * 30 * excess[2] > 0


@pytest.mark.parametrize("sign", ["both", "positive"])
def test_depth_one_is_the_nearest_solution(sign):
    case = planted(5, 9, 2)
    start = 0.3 if sign == "positive" else 0.0
    expected = start + np.linalg.pinv(case.A) @ (case.y - case.A @ np.full(9, start))
    np.testing.assert_allclose(end(case.A, case.y, 1, 0.3, sign=sign).x, expected, atol=1e-12)


@pytest.mark.parametrize("sign", ["both", "positive"])
def test_dual_is_the_state_of_the_mirror_map_whatever_the_units(sign):
    case = planted(5, 9, 2, positive=sign == "positive")
    for depth, size in itertools.product((1, 2, 3), (1.0, 3e6)):
        A, y = size * case.A, case.y / 7
        a = (0.1 / size) ** (1 / depth)
        found = end(A, y, depth, a, sign=sign)
        expected = hf.HadamardPower(depth, sign).mirror_map(A.T @ found.dual, a)
        np.testing.assert_allclose(expected, found.x, rtol=1e-8, atol=1e-10 / size)


def test_non_negative_vectors_that_are_the_only_solution():
    """Near the threshold hardly any other x >= 0 fits y: its zeros are reached at nu -> inf alone."""
    steps, errors = [], []
    for seed in range(60):
        rng = np.random.default_rng(seed)
        A, x = rng.standard_normal((130, 200)) / 12, np.zeros(200)
        x[rng.choice(200, 50, replace=False)] = np.abs(rng.standard_normal(50))
        end = hf.limit(hf.Problem(A, A @ x), hf.HadamardPower(2, "positive"), init_scale=1e-3)
        assert end.status is hf.Status.LIMIT
        assert np.linalg.norm(A @ end.x - A @ x) <= 1e-9 * np.linalg.norm(A @ x)
        steps.append(end.stats.newton_steps)
        errors.append(np.abs(end.x - x).max())
    assert max(steps) <= 120
    assert np.median(errors) < 1e-8


def test_rank_deficient_in_range_and_out_of_it():
    rng = np.random.default_rng(0)
    A = rng.standard_normal((8, 3)) @ rng.standard_normal((3, 12))
    y = rng.standard_normal(8)
    for depth in (1, 2, 3):
        found = end(A, y, depth, 0.1)
        assert found.status is hf.Status.LEAST_SQUARES
        np.testing.assert_allclose(A.T @ (A @ found.x - y), 0, atol=1e-9)
    y = A @ rng.standard_normal(12)
    found = end(A, y, 3, 0.1)
    assert found.status is hf.Status.LIMIT
    np.testing.assert_allclose(A @ found.x, y, atol=1e-9)


def test_non_negative_out_of_reach_ends_in_least_squares():
    from scipy.optimize import nnls

    rng = np.random.default_rng(2)
    A, y = rng.uniform(0, 1, (6, 4)), rng.standard_normal(6)
    found = end(A, y, 3, 0.01, sign="positive")
    assert found.status is hf.Status.LEAST_SQUARES
    np.testing.assert_allclose(found.x, nnls(A, y)[0], atol=1e-8)


def test_without_matrices(monkeypatch, easy):
    factored = {depth: end(easy.A, easy.y, depth, 1e-4 ** (1 / depth)) for depth in (1, 2, 3, 8)}
    monkeypatch.setattr(_normal, "LARGEST_FACTOR", 1)
    for depth, expected in factored.items():
        krylov = end(aslinearoperator(easy.A), easy.y, depth, 1e-4 ** (1 / depth))
        assert krylov.status is hf.Status.LIMIT
        np.testing.assert_allclose(krylov.x, expected.x, rtol=1e-6, atol=1e-10)


def test_without_matrices_out_of_range(monkeypatch):
    monkeypatch.setattr(_normal, "LARGEST_FACTOR", 1)
    A, y = np.vstack([np.eye(3, 6), np.zeros((1, 6))]), np.array([1.0, -2.0, 0.5, 1.0])
    found = end(A, y, 2, 0.01)
    assert found.status is hf.Status.LEAST_SQUARES
    np.testing.assert_allclose(A.T @ (A @ found.x - y), 0, atol=1e-8)


@pytest.mark.parametrize("sign", ["both", "positive"])
@pytest.mark.parametrize("a", [1e-6, 1e-9, 1e-11])
def test_the_dual_belongs_to_x_at_tiny_scales(sign, a):
    """Entries that are negligible say nothing of nu: it must not be left behind where they stop to matter."""
    model = hf.HadamardPower(2, sign)
    for seed in range(60):
        rng = np.random.default_rng(seed)
        m = int(rng.integers(2, 12))
        n = int(rng.integers(m + 1, 3 * m + 2))
        A, x = rng.integers(-3, 4, (m, n)).astype(float), np.zeros(n)
        chosen = rng.choice(n, rng.integers(1, max(2, m // 2)))
        x[chosen] = np.abs(rng.standard_normal(len(chosen)))
        if (A @ x).any():
            found = hf.limit(hf.Problem(A, A @ x), model, init_scale=a)
            of_dual = model.mirror_map(A.T @ found.dual, a)
            np.testing.assert_allclose(of_dual, found.x, rtol=1e-4, atol=1e-6 * x.max())


def test_out_of_reach_without_matrices_blames_nobody():
    for depth in (2, 2.5, 4):
        model = hf.HadamardPower(depth, "positive")
        free = hf.limit(hf.Problem(aslinearoperator(np.ones((2, 1))), [-1.0, -1.0]), model, init_scale=0.1)
        dense = hf.limit(hf.Problem(np.ones((2, 1)), [-1.0, -1.0]), model, init_scale=0.1)
        assert free.status is dense.status is hf.Status.LEAST_SQUARES
        np.testing.assert_array_equal(free.x, dense.x)


@pytest.mark.filterwarnings("ignore::hadaflow.ConvergenceWarning")
def test_too_few_steps_is_said():
    case = planted(10, 24, 3)
    assert end(case.A, case.y, 3, 1e-3, max_steps=3).status is hf.Status.NOT_CONVERGED


def test_progress_is_reported(easy):
    seen = []
    found = end(easy.A, easy.y, 3, 1e-2, progress=seen.append)
    assert len(seen) == found.stats.newton_steps
    assert seen[-1].stage == "limit"
    assert seen[0].fraction <= seen[-1].fraction <= 1


def test_float32_stays_float32(easy):
    found = end(easy.A.astype(np.float32), easy.y.astype(np.float32), 3, 1e-2)
    assert found.x.dtype == np.float32
    np.testing.assert_allclose(found.x, end(easy.A, easy.y, 3, 1e-2).x, atol=1e-5)


@pytest.mark.parametrize("sign", ["both", "positive"])
def test_columns_that_are_nearly_alike(sign):
    """Both coordinates are large for a long while, so that x is not settled when all others are negligible."""
    A = np.array([[1.0, 0.997]])
    for depth, product_scale in itertools.product((2.5, 3, 4, 8), (1e-6, 1e-12, 1e-18, 1e-60)):
        scale = product_scale ** (1 / depth)
        found = end(A, [1.0], depth, scale, sign=sign)
        assert found.status is hf.Status.LIMIT
        error = hf.theory.limit_error(A, [1.0, 0.0], depth=depth, init_scale=scale, sign=sign).error
        np.testing.assert_allclose(found.x, np.array([1.0, 0.0]) + error, atol=1e-9)


def test_excess_of_nearly_coherent_matrices_obeys_its_bound():
    seen = 0
    for seed in range(60):
        rng = np.random.default_rng(seed)
        m, n = rng.integers(1, 4), rng.integers(5, 9)
        A, x = 1 + 1e-3 * rng.standard_normal((m, n)), np.zeros(n)
        x[rng.choice(n, m, replace=False)] = rng.uniform(0.5, 1, m)
        problem = hf.Problem(A, A @ x)
        least = hf.recover(A, problem.y, positive=True)
        end = hf.limit(problem, hf.HadamardPower(3, "positive"), init_scale=1e-5)
        if least.status is not hf.Status.EXACT or not end.status.ok:
            continue
        seen += 1
        l1_norm = float(least.x.sum())
        bound = hf.theory.l1_excess_bound(depth=3, init_scale=1e-5, l1_norm=l1_norm, n=int(n), sign="positive")
        assert end.x.sum() - l1_norm <= bound + 1e-8 * l1_norm, seed
    assert seen >= 50

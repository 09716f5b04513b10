"""Gradient flow in continuous time, against independent integrations, invariants and its own end."""

import itertools
import sys
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
import scipy.sparse as sp
from scipy.integrate import solve_ivp
from scipy.sparse.linalg import LinearOperator, aslinearoperator
from sklearn.linear_model import Lasso
from threadpoolctl import threadpool_info, threadpool_limits

import hadaflow as hf

DEPTHS = [1, 2, 2.5, 3, 4, 5, 6]
SIGNS = ["both", "positive"]


def small(sign="both", seed=3):
    rng = np.random.default_rng(seed)
    A = rng.standard_normal((5, 12)) / np.sqrt(5)
    x = np.zeros(12)
    x[[2, 7]] = [1.0, 0.6 if sign == "positive" else -0.6]
    return hf.Problem(A, A @ x), x


@pytest.fixture
def problem():
    return small()[0]


def flow(problem, model, init_scale, **options):
    """The flow of a model, or of that of a depth."""
    model = model if isinstance(model, hf.HadamardPower) else hf.HadamardPower(model)
    return hf.flow(problem, model, init_scale=init_scale, **options)


def integrated_factors(problem, model, scale, times):
    """u and v of the flow on the factors themselves, by an explicit method of order 8."""
    n, D = problem.shape[1], model.depth
    share = D if model.factors == "shared" else 1.0

    def field(_, z):
        u, v = z[:n], z[n:]
        x = u**D - v**D if model.signed else u**D
        g = problem.A.T @ (problem.y - problem.A @ x)
        return share * np.concatenate([g * u ** (D - 1), -g * v ** (D - 1) if model.signed else 0 * v])

    start = np.full(2 * n, scale)
    solution = solve_ivp(field, (0, times[-1]), start, "DOP853", times, rtol=1e-12, atol=1e-14)
    return solution.y[:n].T, solution.y[n:].T


@pytest.mark.parametrize("depth", DEPTHS)
def test_it_is_the_flow_of_the_factors(depth):
    for sign in SIGNS:
        problem, _ = small(sign)
        model, scale, times = hf.HadamardPower(depth, sign), 0.2, np.linspace(0, 8, 30)
        path = hf.flow(problem, model, init_scale=scale, t_end=8.0, tolerance=1e-10)
        u, v = integrated_factors(problem, model, scale, times)
        x = u**depth - v**depth if sign == "both" else u**depth
        np.testing.assert_allclose(path(times), x, atol=2e-9)
        if sign == "both":  # what the factors conserve is what ties them to the dual state
            conserved = (
                u * v / scale**2 if depth == 2 else (u ** (2 - depth) + v ** (2 - depth)) / (2 * scale ** (2 - depth))
            )
            np.testing.assert_allclose(conserved, 1, atol=1e-8)


def test_separate_factors_are_slower_by_the_depth(problem):
    for depth in (2, 3, 4):
        shared = flow(problem, depth, 0.1, t_end=2.0, tolerance=1e-9)
        model = hf.HadamardPower(depth, factors="separate")
        separate = flow(problem, model, 0.1, t_end=2.0 * depth, tolerance=1e-9)
        np.testing.assert_allclose(separate(1.3 * depth), shared(1.3), atol=1e-8)
        np.testing.assert_allclose(separate.dual(1.3 * depth), depth * shared.dual(1.3), atol=1e-7)


@pytest.mark.parametrize("sign", SIGNS)
@pytest.mark.parametrize("depth", [1, 2, 3, 4, 5, 6])
def test_the_bregman_divergence_falls_at_the_rate_of_the_squared_residual(depth, sign):
    problem, z = small(sign)
    model, scale = hf.HadamardPower(depth, sign), 0.3
    path = flow(problem, model, scale, t_end=4.0, tolerance=1e-11)

    def divergence(t):
        x, theta = path(t), problem.A.T @ path.dual(t)
        return float(np.sum(model.potential(z, scale) - model.potential(x, scale) - theta * (z - x)))

    nodes, weights = np.polynomial.legendre.leggauss(6)
    for start, end in [(0.0, 0.5), (0.5, 1.5), (1.5, 4.0)]:
        edges = np.array([start, *path.times[(path.times > start) & (path.times < end)], end])
        spans = np.diff(edges)[:, None]
        times = (edges[:-1, None] + spans * (nodes + 1) / 2).ravel()
        squares = np.sum((path(times) @ problem.A.T - problem.y) ** 2, axis=1)
        fallen = float(squares @ (spans * weights / 2).ravel())
        assert divergence(start) - divergence(end) == pytest.approx(fallen, abs=1e-8)


@pytest.mark.parametrize(
    ("depth", "product"), [(1, 0.1), (2, 1e-6), (2.5, 1e-3), (3, 1e-6), (4, 1e-4), (6, 1e-3), (10, 1e-2)]
)
def test_it_arrives_at_the_limit(depth, product):
    for sign in SIGNS:
        problem, _ = small(sign)
        model, scale = hf.HadamardPower(depth, sign), product ** (1 / depth)
        path = hf.flow(problem, model, init_scale=scale, tolerance=5e-9)
        end = hf.limit(problem, model, init_scale=scale)
        assert path.status is hf.Status.LIMIT
        assert path.t_end == np.inf
        np.testing.assert_array_equal(path(np.inf), end.x)
        np.testing.assert_allclose(path(path.times[-1]), end.x, atol=1e-8)  # the state of the integrator itself


def test_the_barrier_is_never_overstepped(problem):
    for depth in (3, 4, 8):
        scale = 1e-6 ** (1 / depth)
        path = flow(problem, depth, scale, tolerance=1e-4)
        theta = np.abs(path.dual(np.geomspace(1e-3, path.times[-1], 3000)) @ problem.A)
        assert depth * (depth - 2) * scale ** (depth - 2) * theta.max() < 1
        assert np.abs(path(path.times)).max() < 1.2


def test_the_tolerance_is_that_of_x(problem):
    times = np.geomspace(0.1, 1e4, 400)
    exact, *found = (flow(problem, 4, 0.03, t_end=1e4, tolerance=t)(times) for t in (1e-9, 1e-4, 1e-5, 1e-7))
    errors = np.abs(np.array(found) - exact).max(axis=(1, 2))
    assert (errors < 100 * np.array([1e-4, 1e-5, 1e-7])).all()  # some hundred steps, each with an error of its own
    assert errors[0] > errors[1] > errors[2]


@pytest.mark.parametrize("depth", [2, 3])
def test_the_average_has_the_gradient_of_the_dual_state(problem, depth):
    path = flow(problem, depth, 1e-2, t_end=300.0, tolerance=1e-9)
    times = np.array([1.0, 300.0, 20.0])
    left = path.average(times) @ problem.A.T
    right = problem.y - path.dual(times) / times[:, None]
    np.testing.assert_allclose(left, right, atol=1e-8)
    np.testing.assert_array_equal(path.average(0.0), path(0.0))
    np.testing.assert_array_equal(path.average(np.inf) if path.t_end == np.inf else path.x, path.x)


def test_the_average_is_a_lasso_solution_and_its_certificate_holds():
    rng = np.random.default_rng(0)
    A = rng.standard_normal((30, 60)) / np.sqrt(30)
    y = A[:, :3] @ [1.0, -2.0, 1.5] + 0.05 * rng.standard_normal(30)
    path = flow(hf.Problem(A, y), 2, 1e-10, t_end=200.0)
    for t in (5.0, 20.0, 80.0, 200.0):
        snapshot, penalty = path.snapshot(t), path.penalty(t)
        lasso = Lasso(penalty / 30, fit_intercept=False, tol=1e-12, max_iter=100_000).fit(A, y).coef_

        def objective(x, penalty=penalty):
            return 0.5 * np.sum((A @ x - y) ** 2) + penalty * np.abs(x).sum()

        true_gap = (objective(snapshot.average) - objective(lasso)) / (0.5 * y @ y)
        assert -1e-9 <= true_gap <= snapshot.lasso_gap + 1e-9
        assert true_gap < 3e-3


def test_the_stop_is_exact_in_time(problem):
    path = flow(problem, 3, 0.05, stop=hf.stopping.Residual(0.1))
    assert path.status is hf.Status.STOPPED
    assert "0.1" in path.reason
    residual = np.linalg.norm(problem.A @ path.x - problem.y) / np.linalg.norm(problem.y)
    assert residual == pytest.approx(0.1, rel=1e-9)
    for t in (-1.0, np.nan, [[1.0]], 1e9):
        with pytest.raises(ValueError, match="t must"):
            path(t)
    with pytest.raises(ValueError, match="between 0 and t_end"):
        path(1.1 * path.t_end)


def test_a_rule_with_memory_returns_the_snapshot_it_chose():
    rng = np.random.default_rng(5)
    A = rng.standard_normal((40, 60))
    y = A[:, 0] + 0.5 * rng.standard_normal(40)
    held_out = hf.stopping.Validation(A[30:], y[30:], patience=3.0)
    path = flow(hf.Problem(A[:30], y[:30]), 2, 1e-3, stop=held_out)
    whole = flow(hf.Problem(A[:30], y[:30]), 2, 1e-3, t_end=2 * path.curve.knots[-1])
    errors = np.linalg.norm(whole(whole.times) @ A[30:].T - y[30:], axis=1)
    assert np.linalg.norm(A[30:] @ path.x - y[30:]) < 1.05 * errors.min()
    assert path.times[-2] < path.t_end == path.times[-1] < path.curve.knots[-1]
    assert path(path.times).shape == path.average(path.times).shape == (len(path.times), 60)
    np.testing.assert_array_equal(path(path.times[-1]), path.x)


def test_the_first_time_of_a_condition(problem):
    path = flow(problem, 3, 0.05, t_end=1e3)
    hit = path.first(lambda snapshot: snapshot.x[2] > 0.5)
    assert path(hit)[2] == pytest.approx(0.5, abs=1e-9)
    assert path.first(lambda snapshot: snapshot.x[2] > 5) == np.inf
    assert path.first(lambda snapshot: snapshot.x[2] > 0.5, after=2 * hit) == 2 * hit


def test_snapshots_are_recorded_at_the_times_asked_for(problem):
    times = np.array([0.0, 0.3, 7.0, 40.0])
    record = hf.Recorder(times=times, x=True, average=True, metrics={"first": lambda snapshot: snapshot.x[0]})
    path = flow(problem, 2, 0.05, t_end=100.0, record=record)
    np.testing.assert_array_equal(path.history.times, [*times, 100.0])
    np.testing.assert_allclose(path.history.x, path(path.history.times), atol=1e-12)
    np.testing.assert_array_equal(path.history["first"], path.history.x[:, 0])
    np.testing.assert_allclose(path.history.average, path.average(path.history.times), atol=1e-10)


@pytest.mark.parametrize("depth", [2, 4])
def test_sparse_data_and_operators(problem, depth):
    times = np.geomspace(0.1, 1e4, 50)
    problems = [problem, *(hf.Problem(kind(problem.A), problem.y) for kind in (sp.csr_array, aslinearoperator))]
    dense, *others = (flow(p, depth, 0.03, t_end=1e4, tolerance=1e-8)(times) for p in problems)
    for other in others:
        np.testing.assert_allclose(other, dense, atol=2e-6)


@pytest.mark.parametrize(("depth", "product"), [(2, 1e-100), (3, 1e-100), (4, 1e-100), (10, 1e-100), (3, 1e-30)])
def test_tiny_scales_end_where_the_saddle_path_ends(problem, depth, product):
    path = flow(problem, depth, product ** (1 / depth))
    saddles = hf.saddles(problem)
    assert path.status is hf.Status.LIMIT
    np.testing.assert_allclose(path.x, saddles.final, atol=1e-8)
    middle = path(0.5 * path.times[-1])
    assert np.isfinite(middle).all()
    if depth > 2:  # half-way between two jumps the flow is where the saddle path is
        rate = depth * (depth - 2) * product ** ((depth - 2) / depth)
        for before, after in zip(saddles.times, saddles.times[1:], strict=False):
            tau = 0.5 * (before + after)
            np.testing.assert_allclose(path(tau / rate), saddles(tau), atol=1e-8)
            np.testing.assert_allclose(path.dual(tau / rate) * rate, saddles.dual_at(tau), rtol=1e-6)


def test_both_descriptions_agree_where_they_meet(problem):
    scales = np.array([1e-9, 1e-13])
    sharp, sharper = (flow(problem, 8, w ** (1 / 8), tolerance=1e-6) for w in scales)
    assert len(sharp.times) > 100 > len(sharper.times)  # integrated, and saddle by saddle
    one, other = np.linspace(0.05, 5, 100) / (48 * scales[:, None] ** (6 / 8))
    assert np.median(np.abs(sharp(one) - sharper(other)).max(axis=1)) < 1e-5


def test_large_scales(problem):
    for depth in (1, 2, 3):
        path = flow(problem, depth, 1e3)
        assert path.status is hf.Status.LIMIT
        assert np.linalg.norm(problem.A @ path.x - problem.y) < 1e-6


def hard_data():
    rng = np.random.default_rng(0)
    A = rng.standard_normal((8, 20))
    y = A[:, 3] - A[:, 5]
    zero_column, twins, twin_rows = A.copy(), A.copy(), A.copy()
    zero_column[:, 4] = 0
    twins[:, 4] = twins[:, 3]
    twin_rows[1] = twin_rows[0]
    return {
        "zero column": (zero_column, y, hf.Status.LIMIT),
        "twin columns": (twins, y, hf.Status.LIMIT),
        "inconsistent": (twin_rows, y, hf.Status.LEAST_SQUARES),
        "tall": (rng.standard_normal((30, 6)), rng.standard_normal(30), hf.Status.LEAST_SQUARES),
        "y = 0": (A, 0 * y, hf.Status.LIMIT),
        "one entry": (np.array([[2.0]]), np.array([-1.0]), hf.Status.LIMIT),
        "A = 0": (0 * A, y, hf.Status.LEAST_SQUARES),
    }


@pytest.mark.parametrize("depth", [1, 2, 3])
def test_data_with_a_catch(depth):
    for name, (A, y, status) in hard_data().items():
        path = flow(hf.Problem(A, y), depth, 0.05)
        assert path.status is status, name
        assert np.isfinite(path.x).all()
        gradient = A.T @ (A @ path.x - y)
        assert np.abs(gradient).max() <= 1e-5 * max(1e-300, np.abs(A.T @ y).max(), 1), name
        assert np.isfinite(path.average(min(path.times[-1], 1e6))).all()


def test_units_do_not_matter(problem):
    path = flow(problem, 2, 0.05, t_end=50.0, tolerance=1e-8)
    for a, b in [(1e6, 1.0), (1.0, 1e-6), (1e-5, 1e4)]:  # x is b / a times as large, time a^-2 (b / a)^-1 as long
        scaled = hf.Problem(a * problem.A, b * problem.y)
        other = flow(scaled, 2, 0.05 * (b / a) ** 0.5, t_end=50.0 / (a * b), tolerance=1e-8)
        np.testing.assert_allclose(other(other.t_end / 7) * a / b, path(50.0 / 7), atol=1e-6)


def test_float32_data_and_a_start_for_each_coordinate(problem):
    single = hf.Problem(problem.A.astype(np.float32), problem.y.astype(np.float32))
    path = flow(single, 3, 0.05)
    assert path.x.dtype == path(1.0).dtype == np.float32
    np.testing.assert_allclose(path(1.0), flow(problem, 3, 0.05)(1.0), atol=1e-5)
    scale = np.where(np.arange(12) == 4, 0.3, 0.05)
    path = flow(problem, 3, scale, tolerance=1e-8)
    np.testing.assert_allclose(path(0.0), 0, atol=1e-15)
    end = hf.limit(problem, hf.HadamardPower(3), init_scale=scale)
    np.testing.assert_allclose(path(path.times[-1]), end.x, atol=1e-7)


def test_an_interrupted_run_returns_what_is_done():
    rng = np.random.default_rng(0)
    A = rng.standard_normal((60, 200))
    problem = hf.Problem(A, A[:, :10].sum(axis=1) + rng.standard_normal(60))

    def interrupt(progress):
        if progress.stage == "flow":
            raise KeyboardInterrupt

    path = flow(problem, 4, 0.02, tolerance=1e-9, progress=interrupt)
    assert path.status is hf.Status.INTERRUPTED
    assert 0 < path.t_end == path.times[-1]
    assert np.isfinite(path(path.t_end)).all()


@pytest.mark.parametrize("product", [1e-3, 1e-100])
def test_interrupted_before_the_first_step(problem, monkeypatch, product):
    """While the limit is computed, or the saddle path."""

    def interrupt(*args, **kwargs):
        raise KeyboardInterrupt

    for stage in ("limit", "saddles"):
        monkeypatch.setattr(sys.modules["hadaflow.dynamics.flow"], stage, interrupt)
    path = flow(problem, 3, product ** (1 / 3))
    assert path.status is hf.Status.INTERRUPTED
    assert path.t_end == 0
    np.testing.assert_array_equal(path.x, 0)


@pytest.mark.parametrize("product", [1e-3, 1e-100])
def test_every_product_is_counted(problem, product):
    """Those of the limit, of the saddle path, of rules and of records."""
    count = []

    def counted(matrix):
        return lambda v: count.append(1) or matrix @ v

    A = LinearOperator(problem.shape, counted(problem.A), rmatvec=counted(problem.A.T), dtype=float)
    record = hf.Recorder(metrics={"size": lambda snapshot: np.abs(snapshot.gradient).max()})
    problem = hf.Problem(A, problem.y)
    count.clear()
    path = flow(problem, 3, product ** (1 / 3), record=record, stop=hf.stopping.Residual(1e-12))
    assert path.stats.passes == len(count)


@pytest.mark.filterwarnings("ignore::hadaflow.ConvergenceWarning")
def test_budgets(problem):
    for options, reason in (
        ({"max_steps": 10}, "10 steps"),
        ({"record": hf.Recorder(max_bytes=5000)}, "max_bytes"),
        ({"stop": hf.stopping.Residual(1e-6) | hf.stopping.MaxSteps(5)}, "5 steps"),
    ):
        path = flow(problem, 3, 0.05, **options)
        assert path.status is hf.Status.NOT_CONVERGED
        assert reason in path.reason


def test_bad_arguments(problem):
    for change, error in (
        ({"t_end": -1.0}, ValueError),
        ({"t_end": "soon"}, TypeError),
        ({"t_end": np.nan}, ValueError),
        ({"tolerance": 0.0}, ValueError),
        ({"tolerance": 10.0}, ValueError),
        ({"init_scale": 0.0}, ValueError),
        ({"init_scale": [0.1, 0.2]}, ValueError),
        ({"stop": 5}, TypeError),
        ({"record": "all"}, TypeError),
        ({"max_steps": 0}, ValueError),
        ({"progress": 1}, TypeError),
    ):
        with pytest.raises(error, match=next(iter(change))):
            flow(problem, 2, **{"init_scale": 0.1, **change})


# ---- long implicit steps -------------------------------------------------------------------------------------


def test_short_implicit_steps_follow_the_flow(problem):
    model = hf.HadamardPower(3)
    path = hf.flow(problem, model, init_scale=0.2, t_end=0.4)
    rough = hf.flow(problem, model, init_scale=0.2, t_end=0.4, method="proximal")
    assert np.abs(rough.x - path.x).max() < 0.25 * np.abs(path.x).max()  # one order in some five steps
    np.testing.assert_array_equal(rough(0.0), path(0.0))


@pytest.mark.parametrize("depth", [1, 2, 2.5, 3, 4, 6])
def test_long_implicit_steps_reach_the_noise_level(depth):
    rng = np.random.default_rng(2)
    A = rng.standard_normal((40, 120)) / np.sqrt(40)
    noise = 0.05 * rng.standard_normal(40)
    problem, level = hf.Problem(aslinearoperator(A), A[:, [5, 50]] @ [1.0, 2.0] + noise), float(np.linalg.norm(noise))
    for sign in SIGNS:
        stop = hf.stopping.Discrepancy(level)
        path = flow(problem, hf.HadamardPower(depth, sign), 0.1, method="proximal", stop=stop)
        assert path.status is hf.Status.STOPPED
        assert np.linalg.norm(A @ path.x - problem.y) == pytest.approx(level, rel=1e-6)
        assert path.stats.passes < 250
        times = np.linspace(0, path.t_end, 7)[1:]
        image = path.average(times) @ A.T  # the dual state is the integral of the residual along this very path
        np.testing.assert_allclose(image, problem.y - path.dual(times) / times[:, None], atol=1e-9)


def test_long_implicit_steps_need_a_place_to_stop(problem):
    for scale, options, message in (
        (0.1, {"method": "proximal"}, "does not end at the limit"),
        (1e-30, {"method": "proximal", "t_end": 1.0}, "too small"),
        (0.1, {"method": "euler"}, "method"),
    ):
        with pytest.raises(ValueError, match=message):
            flow(problem, 3, scale, **options)


def test_a_start_from_the_data(problem):
    for depth in (2, 3):
        scale = hf.start_from_data(problem, hf.HadamardPower(depth), fraction=0.2)
        size = np.abs(problem.A.T @ problem.y)
        np.testing.assert_allclose(scale**depth / scale.max() ** depth, size / size.max(), rtol=1e-9)
        assert scale.max() ** depth == pytest.approx(0.2 * size.max() / np.linalg.norm(problem.A, 2) ** 2, rel=0.4)
    floor = hf.start_from_data(problem, hf.HadamardPower(2), noise_level=1e3)
    assert np.ptp(floor) == 0
    with pytest.raises(ValueError, match="A\\^T y = 0"):
        hf.start_from_data(hf.Problem(problem.A, 0 * problem.y), hf.HadamardPower(2))
    with pytest.raises(ValueError, match="depth"):
        hf.start_from_data(problem, hf.HadamardPower(1))


# ---- edges ---------------------------------------------------------------------------------------------------


def test_beyond_its_last_step_a_path_stays_where_it_is(problem):
    path = flow(problem, 3, 0.1)
    last = path.times[-1]
    for t in (10 * last, 1e6 * last):
        np.testing.assert_array_equal(path(t), path(last))
        left = problem.A @ path.average(t)
        np.testing.assert_allclose(left, problem.y - path.dual(t) / t, atol=1e-9)
        assert path.snapshot(t).relative_residual < 1e-5
    assert path.first(lambda snapshot: True, after=10 * last) == 10 * last


def test_the_last_stretch_of_a_path_counts(problem):
    path = flow(problem, 3, 0.1, stop=hf.stopping.Residual(1e-3))
    assert path.times[-2] < path.t_end == path.history.times[-1] < path.curve.knots[-1]
    hit = path.first(lambda snapshot: snapshot.relative_residual <= 1.0001e-3)
    assert path.times[-2] < hit <= path.t_end
    assert path.first(lambda snapshot: True, after=2 * path.t_end) == np.inf
    with pytest.raises(TypeError, match="condition"):
        path.first(None)


def test_a_fine_grid_is_recorded_whole(problem):
    grid = np.linspace(0, 20, 501)
    for method in ("bdf", "proximal"):
        path = flow(problem, 3, 0.1, t_end=20.0, method=method, record=hf.Recorder(times=grid))
        np.testing.assert_array_equal(path.history.times, grid)


def test_a_clamped_end_does_not_disturb_long_steps():
    rng = np.random.default_rng(0)
    A = rng.standard_normal((40, 100))
    problem = hf.Problem(A, A @ (rng.standard_normal(100) / np.arange(1, 101)))
    scale = hf.start_from_data(problem, hf.HadamardPower(4))
    times = flow(problem, 4, scale, method="proximal", stop=hf.stopping.MaxSteps(20)).times
    path = flow(problem, 4, scale, method="proximal", t_end=times[-2] * 1.001)
    sizes = [path.snapshot(t).residual_norm for t in (path.times[-3], path.times[-2], path.t_end)]
    assert sizes[0] > sizes[1] > sizes[2]


@pytest.mark.filterwarnings("ignore::hadaflow.ConvergenceWarning")
def test_positive_models_with_negative_data():
    data = hf.Problem([[1.0]], [-1.0]), hf.Problem([[1.0], [0.0]], [-1.0, 1.0])
    for depth, problem, method in itertools.product((1, 2, 3), data, ("bdf", "proximal")):
        stop = hf.stopping.MaxSteps(100)
        path = flow(problem, hf.HadamardPower(depth, "positive"), 0.3, stop=stop, method=method)
        assert np.isfinite(path.x).all()
        assert len(path.times) <= 102


@pytest.mark.filterwarnings("ignore::hadaflow.ConvergenceWarning")
def test_units_at_the_edge_of_doubles_are_told(problem):
    huge = flow(problem, 1000, 1.5)
    assert huge.status is hf.Status.NOT_CONVERGED
    assert "less time" in huge.reason
    with pytest.raises(ValueError, match="overflows"):
        flow(hf.Problem(1e160 * problem.A, 1e160 * problem.y), 2, 0.1)
    with pytest.raises(ValueError, match="divide A and y"):
        hf.start_from_data(hf.Problem(1e-170 * problem.A, problem.y), hf.HadamardPower(2))
    for f in (hf.descend, lambda *args, **kwargs: hf.descend_batch(*args, **kwargs)[0]):
        with pytest.raises(ValueError, match="overflow"):
            f(hf.Problem(np.float32([[1e15, 1e14]]), np.float32([1e25])), hf.HadamardPower(2), init_scale=1e-2)
    rest = flow(problem, 3, 0.1, t_end=1e100)
    assert rest.status is hf.Status.STOPPED
    np.testing.assert_allclose(rest(1e99), hf.limit(problem, hf.HadamardPower(3), init_scale=0.1).x, atol=1e-5)


def test_blas_keeps_its_threads_when_flows_run_side_by_side(problem):
    with threadpool_limits(2, user_api="blas"), ThreadPoolExecutor(6) as pool:
        before = [library["num_threads"] for library in threadpool_info()]
        paths = list(pool.map(lambda _: flow(problem, 3, 0.05, t_end=20.0), range(12)))
        assert [library["num_threads"] for library in threadpool_info()] == before
        assert max(before) > 1
    assert all(np.array_equal(path.x, paths[0].x) for path in paths)


def test_a_limit_of_zero_is_reached():
    for depth in (2, 2.5, 3, 4):
        path = flow(hf.Problem([[-1.0], [-1.0]], [0.0, 0.0]), hf.HadamardPower(depth, "positive"), 0.1)
        assert path.status is hf.Status.LIMIT
        assert path.x[0] < 1e-6 * 0.1**depth
        assert len(path.times) < 2000

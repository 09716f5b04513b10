import numpy as np
import pytest
from conftest import minimal_l1, planted
from scipy.integrate import solve_ivp
from scipy.optimize import nnls
from scipy.sparse.linalg import aslinearoperator

import hadaflow as hf


def textbook_path(A, y, *, positive=False, w=None):
    """The event loop as one would write it on paper: sign-constrained least squares from scratch at every event."""
    n = A.shape[1]
    w = np.ones(n) if w is None else w
    q, b, tau = np.zeros(n), np.zeros(n), 0.0
    times, points = [0.0], [b]
    while True:
        c = A.T @ (y - A @ b)
        c[(np.abs(c) < 1e-10) | ((np.abs(np.abs(q) - w) < 1e-9) & (q * c > 0))] = 0
        c_hit = np.where(c > 0, c, 0) if positive else c
        if not c_hit.any():
            return np.array(times), np.array(points)
        wait = np.full(n, np.inf)
        np.divide(w - q * np.sign(c_hit), np.abs(c_hit), out=wait, where=c_hit != 0)
        tau += wait.min()
        q = q + wait.min() * c
        face = np.flatnonzero((q if positive else np.abs(q)) > w - 1e-9)
        signs = np.sign(q[face])
        b = np.zeros(n)
        b[face] = signs * nnls(A[:, face] * signs, y)[0]
        times.append(tau)
        points.append(b)


def path_of(case, **options):
    return hf.saddles(hf.Problem(case.A, case.y), **options)


@pytest.mark.parametrize("positive", [False, True])
@pytest.mark.parametrize("s", [3, 9])
def test_whole_path_agrees_with_the_textbook(positive, s):
    for seed in range(4):
        case = planted(12, 30, s, seed=seed, positive=positive)
        path = path_of(case, positive=positive)
        times, points = textbook_path(case.A, case.y, positive=positive)
        assert path.status is hf.Status.EXACT
        np.testing.assert_allclose(path.times, times, rtol=1e-8)
        np.testing.assert_allclose(path.x.toarray(), points, atol=1e-8)


def test_whole_path_with_weights():
    case = planted(12, 30, 4, seed=1)
    w = np.random.default_rng(0).uniform(0.5, 2, 30)
    path = path_of(case, weights=w)
    times, points = textbook_path(case.A, case.y, w=w)
    np.testing.assert_allclose(path.times, times, rtol=1e-8)
    np.testing.assert_allclose(path.x.toarray(), points, atol=1e-8)
    assert w @ np.abs(path.final) == pytest.approx(minimal_l1(case.A, case.y, weights=w), rel=1e-9)


@pytest.mark.parametrize("s", [5, 20, 40])
def test_many_blocks_give_the_same_path(monkeypatch, s):
    # A tiny working set and short blocks force every kind of look, retreat and extension.
    from hadaflow.solvers.path import policy, walk

    case = planted(40, 150, s, seed=2)
    expected = path_of(case)
    monkeypatch.setattr(walk, "_BLOCK", 5)
    monkeypatch.setattr(policy.Policy, "_wanted", lambda self, at: 2)
    path = path_of(case)
    np.testing.assert_allclose(path.times, expected.times, rtol=1e-7)
    np.testing.assert_allclose(path.x.toarray(), expected.x.toarray(), atol=1e-7)


def test_every_plateau_solves_its_face(easy):
    path = path_of(easy)
    x = path.x.toarray()
    for k in range(1, len(path.times)):
        q = easy.A.T @ path.dual_at(path.times[k])
        c = easy.A.T @ (easy.y - easy.A @ x[k])
        on = x[k] != 0
        assert np.abs(q).max() <= 1 + 1e-9
        np.testing.assert_allclose(q[on], np.sign(x[k][on]), atol=1e-9)
        np.testing.assert_allclose(c[on], 0, atol=1e-10)


def test_end_is_minimal_with_exact_zeros(easy, hard):
    for case in (easy, hard):
        path = path_of(case)
        assert np.abs(path.final).sum() == pytest.approx(minimal_l1(case.A, case.y), rel=1e-9)
        np.testing.assert_allclose(case.A @ path.final, case.y, atol=1e-12)
        assert np.count_nonzero(path.final) <= 40
        np.testing.assert_allclose(path(1e300), path.x.toarray()[-1])
    np.testing.assert_allclose(path_of(easy).final, easy.x, atol=1e-12)


@pytest.mark.parametrize(("depth", "w0"), [(2, 1e-80), (3, 1e-12), (4, 1e-10)])
def test_flow_follows_the_path_in_rescaled_time(depth, w0):
    """The flow itself, integrated in its dual state, is on the plateau in the middle of each."""
    case = planted(5, 10, 2, seed=0)
    path = path_of(case)
    model = hf.HadamardPower(depth)
    a = w0 ** (1 / depth)
    rate = 4 / np.log(1 / w0) if depth == 2 else depth * (depth - 2) * a ** (depth - 2)
    wall = 60 * rate if depth == 2 else 1 - 1e-7  # trial steps of the integrator must not cross the barrier

    def mirror(nu):
        return model.mirror_map(np.clip(case.A.T @ nu, -wall, wall) / rate, a)

    wide = np.diff(path.times) > 0.05 * path.times[-1]
    middles = ((path.times[:-1] + path.times[1:]) / 2)[wide]
    # Rescaled time: nu is measured in units of 1 / rate.
    run = solve_ivp(
        lambda _, nu: case.y - case.A @ mirror(nu),
        (0, middles[-1]),
        np.zeros(5),
        method="LSODA",
        t_eval=middles,
        rtol=1e-10,
        atol=1e-12,
    )
    assert len(middles) >= 2
    for k, tau in enumerate(middles):
        np.testing.assert_allclose(mirror(run.y[:, k]), path(tau), atol=5e-3)


def test_average_is_near_the_lasso_solution(easy):
    path = path_of(easy)
    problem = hf.Problem(easy.A, easy.y)
    gaps = [hf.certify_lasso(problem, path.average(tau), 1 / tau).gap for tau in path.times[1:]]
    assert min(gaps) >= -1e-12
    assert max(gaps) < 0.05


def test_average_and_dual_are_integrals(easy):
    path = path_of(easy)
    tau = 0.7 * path.times[-1]
    grid = (np.arange(5000) + 0.5) * tau / 5000
    mean = np.mean([path(t) for t in grid], axis=0)
    np.testing.assert_allclose(path.average(tau), mean, atol=1e-3)
    np.testing.assert_allclose(path.dual_at(tau) / tau, easy.y - easy.A @ path.average(tau), atol=1e-12)


def test_any_dual_start_ends_at_a_minimiser(hard):
    start = np.random.default_rng(0).standard_normal(40)
    path = path_of(hard, start=start)
    assert path.status is hf.Status.EXACT
    assert np.abs(path.final).sum() == pytest.approx(minimal_l1(hard.A, hard.y), rel=1e-9)


def test_noise_level_stops_on_the_first_plateau_within(easy):
    y = easy.y + 0.01 * np.random.default_rng(0).standard_normal(40)
    problem = hf.Problem(easy.A, y)
    whole, stopped = hf.saddles(problem), hf.saddles(problem, noise_level=0.1)
    left = np.linalg.norm(whole.x.toarray() @ easy.A.T - y, axis=1)
    first = int(np.flatnonzero(left <= 0.1)[0])
    assert stopped.status is hf.Status.NOISE_LEVEL
    np.testing.assert_allclose(stopped.final, whole.x.toarray()[first], atol=1e-10)


def test_out_of_range_ends_in_least_squares():
    rng = np.random.default_rng(0)
    A = rng.standard_normal((8, 3)) @ rng.standard_normal((3, 12))
    y = rng.standard_normal(8)
    path = hf.saddles(hf.Problem(A, y))
    fit = A @ np.linalg.pinv(A) @ y
    assert path.status is hf.Status.LEAST_SQUARES
    np.testing.assert_allclose(A @ path.final, fit, atol=1e-10)
    assert np.abs(path.final).sum() == pytest.approx(minimal_l1(A, fit), rel=1e-7)


def test_non_negative_end_is_nnls_where_out_of_reach():
    rng = np.random.default_rng(1)
    A, y = rng.uniform(0, 1, (20, 8)), rng.standard_normal(20)
    path = hf.saddles(hf.Problem(A, y), positive=True)
    assert path.status is hf.Status.LEAST_SQUARES
    np.testing.assert_allclose(path.final, nnls(A, y)[0], atol=1e-10)


@pytest.mark.parametrize("consistent", [True, False])
@pytest.mark.filterwarnings("ignore::hadaflow.ConvergenceWarning")
def test_signs_last_on_columns_that_are_nearly_dependent(consistent):
    """The refined end must not turn a sign: non-negative answers are non-negative."""
    ends = []
    for seed in range(300):
        rng = np.random.default_rng(seed)
        m = int(rng.integers(4, 14))
        A = np.vander(np.sort(rng.random(2 * m)), m, increasing=True).T
        x = np.where(rng.random(2 * m) < 0.3, rng.random(2 * m), 0.0)
        y = A @ x if consistent else A @ x + 1e-3 * rng.standard_normal(m)
        if not x.any():
            continue
        path = hf.saddles(hf.Problem(A, y), positive=True)
        last = path(float(path.times[-1]))
        assert path.final.min() >= 0
        assert np.linalg.norm(A @ path.final - y) <= np.linalg.norm(A @ last - y) + 1e-12
        ends.append(path.status)
    assert set(ends) & {hf.Status.EXACT, hf.Status.LEAST_SQUARES}


def test_exact_ties_are_taken_together():
    # Three coordinates meet their bound at once, one of them a copy of another.
    A = np.array([[1.0, 0, 1, 0], [0, 1, 0, 0.5]])
    path = hf.saddles(hf.Problem(A, [1.0, 1.0]))
    assert path.status is hf.Status.EXACT
    assert np.abs(path.final).sum() == pytest.approx(2)
    np.testing.assert_allclose(path.times, [0, 1])


def test_operator_gives_the_same_path(easy):
    path, other = path_of(easy), hf.saddles(hf.Problem(aslinearoperator(easy.A), easy.y))
    np.testing.assert_allclose(other.times, path.times, rtol=1e-9)
    np.testing.assert_allclose(other.final, path.final, atol=1e-13)


@pytest.mark.filterwarnings("ignore::hadaflow.ConvergenceWarning")
def test_event_limit_is_said(hard):
    path = path_of(hard, max_events=10)
    assert path.status is hf.Status.NOT_CONVERGED
    assert path.stats.events == 10


def test_factorisation_is_updated_not_redone(monkeypatch, hard):
    from hadaflow.solvers.path import face as _face

    made = []
    plain = _face._inverse
    monkeypatch.setattr(_face, "_inverse", lambda gram: made.append(len(gram)) or plain(gram))
    path = path_of(hard)
    assert path.stats.events > 40
    assert len(made) < path.stats.events / 4

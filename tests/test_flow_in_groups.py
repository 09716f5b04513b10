"""The flow in time where coordinates count together: groups, complex numbers, rows of several columns."""

import numpy as np
import pytest
import scipy.sparse as sp
from scipy.integrate import solve_ivp
from scipy.sparse.linalg import aslinearoperator

import hadaflow as hf
from hadaflow import stopping
from hadaflow.groups import Groups
from hadaflow.losses import Logistic
from hadaflow.recording import entries, error_to, largest_outside
from hadaflow.solvers.flow.field import Field

DEPTHS = [1, 2, 2.5, 3, 4, 6]
LABELS = np.repeat(np.arange(6), [1, 2, 3, 4, 2, 4])  # sizes of all kinds


def data(seed=0, m=8):
    rng = np.random.default_rng(seed)
    A = rng.standard_normal((m, len(LABELS))) / m**0.5
    x = np.where(np.isin(LABELS, [2, 4]), rng.standard_normal(len(LABELS)), 0.0)
    return A, A @ x, x


def grouped(seed=0, m=8):
    A, y, _ = data(seed, m)
    return hf.Problem(A, y, groups=LABELS)


def complex_data(m=10, n=24, s=2, seed=1):
    rng = np.random.default_rng(seed)
    A = (rng.standard_normal((m, n)) + 1j * rng.standard_normal((m, n))) / (2 * m) ** 0.5
    x = np.zeros(n, dtype=complex)
    x[:s] = [1 + 2j, -0.5j, 1.0][:s]
    return A, A @ x, x


def embedded(A):
    """A complex matrix as a real one on interleaved parts."""
    return np.stack([np.stack([A.real, -A.imag], -1), np.stack([A.imag, A.real], -1)], 1).reshape(
        2 * A.shape[0], 2 * A.shape[1]
    )


def parts(z):
    return np.ascontiguousarray(z).view(np.float64)


def scale(depth, product=1e-3):
    return product ** (1 / depth)


def norms(theta):
    return np.sqrt(np.bincount(LABELS, theta**2))


def radial(theta, mirror):
    """B(theta) as it is defined."""
    radius = norms(theta)
    return theta * (mirror.x(radius) / radius)[LABELS]


# ---- the flow is the radial mirror flow -----------------------------------------------------------------------


@pytest.mark.parametrize(
    ("depth", "x", "along", "across"),
    [
        (2, [0.006253143665925, 0.0083375248879], 0.022552519304128, 0.02084381221975),
        (3, [0.046222222222222, 0.06162962962963], 0.48592592592593, 0.15407407407407),
        (4, [0.021333333333333, 0.028444444444444], 0.16592592592593, 0.071111111111111),
    ],
)
def test_the_map_and_its_derivative(depth, x, along, across):
    """Values in 40 digits, at theta = (0.3, 0.4) in units of the barrier and a product scale of 0.01."""
    field = Field(hf.Problem(np.eye(2), [1.0, 1.0], groups=2), hf.HadamardPower(depth), scale(depth, 1e-2))
    rate = field.mirror.branches[0].rate
    theta = np.array([0.3, 0.4]) / rate
    np.testing.assert_allclose(field.mapped(theta), x, rtol=1e-12)
    metric = field.metric(theta)
    np.testing.assert_allclose([metric.radial[0] / rate, metric.tangential[0] / rate], [along, across], rtol=1e-12)
    step = 1e-6 / rate * np.eye(2)
    differences = [(field.mapped(theta + d) - field.mapped(theta - d)) / (2e-6 / rate) for d in step]
    np.testing.assert_allclose(metric.times(np.array([1.0, 0.0])), differences[0], rtol=1e-7)
    np.testing.assert_allclose(metric.times(np.array([0.0, 1.0])), differences[1], rtol=1e-7)
    np.testing.assert_allclose(metric.root_times(metric.root_times(theta)), metric.times(theta), rtol=1e-12)


@pytest.mark.parametrize("depth", DEPTHS)
def test_it_is_the_equation_integrated_by_others(depth):
    A, y, _ = data()
    model, a = hf.HadamardPower(depth), scale(depth, 1e-2)
    mirror = model.mirror(a, 6)
    times = np.array([0.3, 3.0, 30.0])
    with np.errstate(all="ignore"):  # trial steps beyond the barrier
        solved = solve_ivp(
            lambda _, nu: y - A @ radial(A.T @ nu, mirror), (1e-9, 30), 1e-9 * y, "Radau", times, rtol=1e-9, atol=1e-12
        )
    path = hf.flow(grouped(), model, init_scale=a, t_end=30.0, tolerance=1e-9)
    np.testing.assert_allclose(path.dual(times), solved.y.T, atol=1e-6 * np.abs(solved.y).max())
    expected = np.array([radial(A.T @ nu, mirror) for nu in solved.y.T])
    np.testing.assert_allclose(path(times), expected, atol=1e-6 * np.abs(expected).max())


@pytest.mark.parametrize("product", [1e-2, 1e-6])
@pytest.mark.parametrize("depth", DEPTHS)
def test_it_ends_at_the_limit(depth, product):
    model, a = hf.HadamardPower(depth), scale(depth, product)
    path = hf.flow(grouped(), model, init_scale=a, tolerance=1e-10)
    end = hf.limit(grouped(), model, init_scale=a)
    assert path.status is hf.Status.LIMIT
    np.testing.assert_array_equal(path.x, end.x)
    last = path(path.curve.knots[-1])  # integrated
    np.testing.assert_allclose(last, end.x, atol=1e-9 * np.abs(end.x).max())


def test_reference_ends():
    """Values in 40 digits."""
    A, y = np.array([[1, 0, 0.5, 0.2], [0, 1, -0.3, 0.6]]), np.array([1, 0.5])
    problem = hf.Problem(A, y, groups=2)
    expected = {
        2: (0.94299789476514, 0.46069782258239, 0.073168965714988, 0.10208811188684),
        3: (0.97695306871847, 0.48384478472752, 0.029436432540066, 0.041643575057508),
        4: (0.98441081246879, 0.48903194180352, 0.019888613553968, 0.028224403771113),
    }
    for depth, x in expected.items():
        path = hf.flow(problem, hf.HadamardPower(depth), init_scale=scale(depth, 1e-2), tolerance=1e-11)
        np.testing.assert_allclose(path(path.curve.knots[-1]), x, rtol=1e-9)


@pytest.mark.parametrize("depth", DEPTHS)
def test_the_bregman_divergence_falls_at_the_rate_of_the_squared_residual(depth):
    A, y, z = data()
    model, a = hf.HadamardPower(depth), scale(depth, 1e-2)
    mirror = model.mirror(a, 6)
    path = hf.flow(grouped(), model, init_scale=a, t_end=40.0, tolerance=1e-10)

    def divergence(t):
        x, theta = path(t), A.T @ path.dual(t)
        potentials = mirror.potential(norms(z)).sum() - mirror.potential(norms(x)).sum()
        return potentials - theta @ (z - x)

    nodes, weights = np.polynomial.legendre.leggauss(24)
    for start, end in ((0.0, 0.2), (0.5, 1.0), (3.0, 5.0), (20.0, 30.0)):
        times = 0.5 * (end - start) * nodes + 0.5 * (end + start)
        fallen = 0.5 * (end - start) * weights @ np.sum((path(times) @ A.T - y) ** 2, axis=1)
        assert divergence(start) - divergence(end) == pytest.approx(fallen, rel=1e-6, abs=1e-9 * divergence(0.0))


def test_the_average_has_the_gradient_of_the_dual_state():
    A, y, _ = complex_data()
    path = hf.flow(hf.Problem(A, y), hf.HadamardPower(3), init_scale=0.1, t_end=20.0)
    average, dual = path.average(10.0), path.dual(10.0)
    np.testing.assert_allclose(A.conj().T @ (y - A @ average), A.conj().T @ dual / 10.0, atol=1e-6)
    assert path.penalty(10.0) == pytest.approx(np.abs(A.conj().T @ dual).max() / 10.0)
    lasso = hf.certify_lasso(path.problem, average, path.penalty(10.0))
    assert lasso.gap == pytest.approx(path.snapshot(10.0).lasso_gap, abs=1e-5)


# ---- groups of one, and changes of coordinates -----------------------------------------------------------------


@pytest.mark.parametrize("depth", [1, 2, 3, 4])
def test_groups_of_one_change_nothing(depth):
    A, y, _ = data()
    model, a = hf.HadamardPower(depth), scale(depth)
    plain = hf.flow(hf.Problem(A, y), model, init_scale=a)
    by_size = hf.flow(hf.Problem(A, y, groups=1), model, init_scale=a)
    np.testing.assert_array_equal(by_size.curve.knots, plain.curve.knots)
    labelled = hf.flow(hf.Problem(A, y, groups=Groups(np.arange(16))), model, init_scale=a)  # goes the way of groups
    assert abs(labelled.stats.events - plain.stats.events) <= 2
    times = np.geomspace(0.1, plain.curve.knots[-1], 7)
    np.testing.assert_allclose(labelled(times), plain(times), atol=2e-6 * np.abs(plain.x).max())
    np.testing.assert_allclose(labelled.x, plain.x, rtol=1e-10)


@pytest.mark.parametrize("depth", [2, 3])
def test_complex_numbers_are_groups_of_two(depth):
    A, y, x = complex_data()
    model, a = hf.HadamardPower(depth), np.linspace(0.5, 1, 24) * scale(depth, 1e-4)
    path = hf.flow(hf.Problem(A, y), model, init_scale=a, record=hf.Recorder(times=[1.0, 5.0], x=True, average=True))
    real = hf.flow(hf.Problem(embedded(A), parts(y), groups=2), model, init_scale=a)
    np.testing.assert_allclose(parts(path.x), real.x, atol=1e-12)
    for t in (0.5, 5.0, 50.0):
        np.testing.assert_allclose(parts(path(t)), real(t), atol=1e-5)
        np.testing.assert_allclose(parts(path.average(t)), real.average(t), atol=1e-5)
        np.testing.assert_allclose(parts(path.dual(t)), real.dual(t), atol=1e-4)
    assert path([1.0, 2.0]).shape == (2, 24)
    assert path([]).shape == (0, 24)
    assert path.x.dtype == path.history.x.dtype == path.average(1.0).dtype == path.dual(1.0).dtype == np.complex128
    np.testing.assert_array_equal(path.history.x[1], path(1.0))
    np.testing.assert_array_equal(path.history.average[1], path.average(1.0))
    assert set(path.support()) >= set(np.flatnonzero(x))
    assert 0 <= path.certificate.gap < 0.2
    assert repr(path).startswith("FlowPath(10 x 24, LIMIT")


def test_joint_columns_are_groups_of_a_repeated_matrix():
    A, _, _ = data()
    X = np.zeros((16, 3))
    X[2], X[9] = [1.0, -1.0, 0.5], [0.2, 2.0, 0.0]
    Y, model = A @ X, hf.HadamardPower(3)
    path = hf.flow(hf.Problem(A, Y, joint=True), model, init_scale=0.1)
    long = hf.flow(hf.Problem(np.kron(A, np.eye(3)), Y.ravel(), groups=3), model, init_scale=0.1)
    np.testing.assert_allclose(path.x.ravel(), long.x, atol=1e-12)
    np.testing.assert_allclose(path([1.0, 9.0]).reshape(2, -1), long([1.0, 9.0]), atol=1e-5)
    assert path.x.shape == path(1.0).shape == path.average(1.0).shape == (16, 3)
    assert path.dual(1.0).shape == (8, 3)
    assert path.dual([1.0, 2.0]).shape == (2, 8, 3)
    assert list(path.support()) == [2, 9]
    assert path.active_groups().tolist() == [2, 9]


def test_a_real_x_of_complex_data():
    A, _, x = complex_data()
    path = hf.flow(hf.Problem(A, A @ x.real, real=True), hf.HadamardPower(3), init_scale=0.1)
    stacked = np.vstack([A.real, A.imag])
    other = hf.flow(hf.Problem(stacked, stacked @ x.real), hf.HadamardPower(3), init_scale=0.1)
    np.testing.assert_allclose(path.x, other.x, atol=1e-10)
    assert path.dual(1.0).dtype == np.complex128
    assert path.certificate.gap == pytest.approx(other.certificate.gap, rel=1e-2)


def test_paths_of_a_real_x_have_complex_dual_states():
    A, _, x = complex_data()
    problem, stacked = hf.Problem(A, A @ x.real, real=True), np.vstack([A.real, A.imag])
    path = hf.saddles(problem)
    np.testing.assert_allclose(path.final, hf.saddles(hf.Problem(stacked, stacked @ x.real)).final, atol=1e-12)
    for dual in (path.dual, path.dual_at(path.times[-1]), hf.select(problem).path.dual):
        assert dual.dtype == np.complex128
        assert hf.certify(problem, path.final, dual).gap < 1e-10
    assert hf.saddles(problem, start=0.5 * path.dual).status is hf.Status.EXACT
    tiny = hf.flow(problem, hf.HadamardPower(4), init_scale=1e-10)  # along the saddle path
    assert tiny.certificate.gap < 1e-10
    run = hf.descend(problem, hf.HadamardPower(3), init_scale=0.1, stop=stopping.Residual(1e-3))
    assert run.dual.dtype == np.complex128
    np.testing.assert_allclose(run.x, x.real, atol=0.02)


def test_turning_a_group_turns_its_x():
    A, y, _ = data()
    rotation = np.eye(16)
    for g in range(6):
        index = np.flatnonzero(g == LABELS)
        basis, _ = np.linalg.qr(np.random.default_rng(g).standard_normal((len(index), len(index))))
        rotation[np.ix_(index, index)] = basis
    order = np.random.default_rng(0).permutation(16)
    model = hf.HadamardPower(3)
    path = hf.flow(grouped(), model, init_scale=0.1)
    turned = hf.flow(hf.Problem((A @ rotation)[:, order], y, groups=LABELS[order]), model, init_scale=0.1)
    for t in (1.0, 10.0, np.inf):
        np.testing.assert_allclose(turned(t), (rotation.T @ path(t))[order], atol=1e-5)


def test_units_do_not_matter():
    A, y, _ = data()
    model = hf.HadamardPower(2)
    path = hf.flow(grouped(), model, init_scale=1e-2)
    other = hf.flow(hf.Problem(1e90 * A, 1e30 * y, groups=LABELS), model, init_scale=1e-2 * 1e-30)
    np.testing.assert_allclose(other.x, 1e-60 * path.x, rtol=1e-9)
    assert abs(other.stats.events - path.stats.events) <= 2


# ---- data of all kinds, losses, ways to follow -----------------------------------------------------------------


@pytest.mark.parametrize("depth", [2, 4])
def test_sparse_data_and_operators(depth):
    A, y, _ = data()
    path = hf.flow(grouped(), hf.HadamardPower(depth), init_scale=0.1)
    for other in (sp.csr_array(A), aslinearoperator(A)):
        same = hf.flow(hf.Problem(other, y, groups=LABELS), hf.HadamardPower(depth), init_scale=0.1)
        np.testing.assert_allclose(same.x, path.x, atol=1e-7)
        np.testing.assert_allclose(same(5.0), path(5.0), atol=1e-5)
    A, y, _ = complex_data()
    path = hf.flow(hf.Problem(A, y), hf.HadamardPower(depth), init_scale=0.1)
    for other in (sp.csr_array(A), aslinearoperator(A)):
        same = hf.flow(hf.Problem(other, y), hf.HadamardPower(depth), init_scale=0.1)
        np.testing.assert_allclose(same(5.0), path(5.0), atol=1e-5)


def test_single_precision():
    A, y, _ = complex_data()
    single = hf.flow(hf.Problem(A.astype(np.complex64), y.astype(np.complex64)), hf.HadamardPower(3), init_scale=0.1)
    assert single.x.dtype == np.complex64
    np.testing.assert_allclose(single.x, hf.flow(hf.Problem(A, y), hf.HadamardPower(3), init_scale=0.1).x, atol=1e-5)


def test_other_losses():
    A, _, x = data()
    labels = np.sign(A @ x)
    problem = hf.Problem(A, labels, Logistic(), groups=LABELS)
    path = hf.flow(problem, hf.HadamardPower(3), init_scale=0.2, t_end=20.0, tolerance=1e-9)
    mirror = hf.HadamardPower(3).mirror(0.2, 6)
    solved = solve_ivp(
        lambda _, nu: labels / (1 + np.exp(labels * (A @ radial(A.T @ nu, mirror)))),
        (1e-9, 20),
        0.5e-9 * labels,
        "Radau",
        rtol=1e-9,
        atol=1e-12,
    )
    np.testing.assert_allclose(path.x, radial(A.T @ solved.y[:, -1], mirror), atol=1e-6 * np.abs(path.x).max())


def test_long_implicit_steps():
    A, y, _ = complex_data(m=20)
    rng = np.random.default_rng(5)
    noise = 0.02 * (rng.standard_normal(20) + 1j * rng.standard_normal(20))
    problem, stop = hf.Problem(A, y + noise), stopping.Discrepancy(np.linalg.norm(noise))
    options = {"init_scale": 0.05, "stop": stop}
    path = hf.flow(problem, hf.HadamardPower(3), method="proximal", **options)
    assert path.status is hf.Status.STOPPED
    assert path.stats.events < 80
    assert np.linalg.norm(A @ path.x - problem.layout.y(problem.y)) == pytest.approx(np.linalg.norm(noise), rel=1e-6)
    early = stopping.Residual(0.97)
    near, flow = (
        hf.flow(problem, hf.HadamardPower(3), method=m, init_scale=0.05, stop=early) for m in ("proximal", "bdf")
    )
    np.testing.assert_allclose(near.x, flow.x, atol=0.1 * np.abs(flow.x).max())


# ---- rules, metrics, snapshots ---------------------------------------------------------------------------------

A_HELD, Y_HELD, _ = complex_data(m=12, seed=2)
RULES = {
    "Residual": stopping.Residual(0.1),
    "Discrepancy": stopping.Discrepancy(0.1),
    "CertificateGap": stopping.CertificateGap(0.3),
    "LassoGap": stopping.LassoGap(0.05, 0.1),
    "MaxTime": stopping.MaxTime(3.0),
    "MaxSteps": stopping.MaxSteps(20),
    "MaxSeconds": stopping.MaxSeconds(60.0),
    "When": stopping.When(lambda snapshot: abs(snapshot.x[0]) > 0.5),
    "StableSupport": stopping.StableSupport(2.0),
    "Plateau": stopping.Plateau(),
    "Validation": stopping.Validation(A_HELD, Y_HELD),
}


@pytest.mark.parametrize("name", RULES)
def test_every_rule_works_on_complex_data(name):
    A, y, _ = complex_data()
    y = y + 0.1 * A[:, 20] if name == "Validation" else y  # what is learned of it in the end is of no use
    path = hf.flow(hf.Problem(A, y), hf.HadamardPower(3), init_scale=0.05, stop=RULES[name])
    assert path.status is (hf.Status.LIMIT if name == "MaxSeconds" else hf.Status.STOPPED)
    if name == "Residual":
        assert np.linalg.norm(A @ path.x - y) == pytest.approx(0.1 * np.linalg.norm(y), rel=1e-6)
    if name == "When":
        assert abs(path.x[0]) == pytest.approx(0.5, rel=1e-6)


def test_held_out_data_have_to_be_of_the_same_kind():
    A, y, _ = complex_data()
    for wrong in (stopping.Validation(np.ones((2, 24)), np.ones(2)), stopping.Validation(A[:, :5], y)):
        with pytest.raises(ValueError, match="validation data"):
            hf.flow(hf.Problem(A, y), hf.HadamardPower(3), init_scale=0.05, stop=wrong)
    X, Y = data()[0], np.ones((8, 2))
    joint = hf.flow(
        hf.Problem(X, Y, joint=True),
        hf.HadamardPower(3),
        init_scale=0.05,
        stop=stopping.Validation(X, Y) | stopping.MaxTime(1.0),
    )
    assert joint.status is hf.Status.STOPPED


def test_metrics_and_snapshots():
    A, y, x = complex_data()
    own = {
        "error": error_to(x),
        "outside": largest_outside([0, 1]),
        "first": entries(0),
        **{name: hf.recording.METRICS[name] for name in ("residual", "l1_norm", "support_size", "l1_gap", "lasso_gap")},
    }
    path = hf.flow(hf.Problem(A, y), hf.HadamardPower(3), init_scale=0.05, t_end=9.0, record=hf.Recorder(metrics=own))
    found = {name: path.history[name][-1] for name in own}
    end, nu = path.x, path.dual(9.0)
    theta = A.conj().T @ nu
    assert found["error"] == pytest.approx(np.linalg.norm(end - x))
    assert found["outside"] == pytest.approx(np.abs(end[2:]).max())
    assert found["first"] == pytest.approx(end[0])
    assert found["residual"] == pytest.approx(np.linalg.norm(A @ end - y) / np.linalg.norm(y))
    assert found["l1_norm"] == pytest.approx(np.abs(end).sum())
    assert found["support_size"] == len(path.support())
    bound = np.vdot(y, nu).real / np.abs(theta).max()
    assert found["l1_gap"] == pytest.approx(abs(np.abs(end).sum() - bound) / max(np.abs(end).sum(), bound))
    snapshot = path.snapshot(4.0)
    np.testing.assert_allclose(snapshot.theta, A.conj().T @ snapshot.dual)
    np.testing.assert_allclose(snapshot.residual, A @ snapshot.x - y, atol=1e-14)
    np.testing.assert_allclose(snapshot.gradient, A.conj().T @ snapshot.residual, atol=1e-14)
    assert snapshot.loss == pytest.approx(0.5 * np.linalg.norm(snapshot.residual) ** 2)
    np.testing.assert_array_equal(snapshot.average, path.average(4.0))
    assert path.first(lambda s: abs(s.x[0]) > 0.5) < 9.0
    assert path.state_at(4.0).dtype == path.state_at(4.0, "average").dtype == np.complex128
    with pytest.raises(ValueError, match="truth must have the shape of x"):
        hf.flow(
            hf.Problem(A, y), hf.HadamardPower(3), init_scale=0.05, record=hf.Recorder(metrics={"e": error_to([1.0])})
        )


def test_a_matrix_for_a_truth():
    X, W = data()[0], np.ones((16, 2))
    record = hf.Recorder(metrics={"error": error_to(W), "outside": largest_outside([0])})
    path = hf.flow(hf.Problem(X, X @ W, joint=True), hf.HadamardPower(2), init_scale=0.1, record=record)
    assert path.history["error"][-1] == pytest.approx(np.linalg.norm(path.x - W), rel=1e-5)


@pytest.mark.parametrize("depth", [2, 3, 8])
def test_limits_of_small_random_problems(depth):
    """Few rows and large starts: on the way the two sides of a branch cross."""
    for seed in (0, 1, 4, 5, 13, 17, 27, 28, 31, 47):
        rng = np.random.default_rng(seed)
        m, sizes = rng.integers(3, 14), rng.integers(1, 5, rng.integers(2, 12))
        labels = np.repeat(np.arange(len(sizes)), sizes)
        A, x = rng.standard_normal((m, len(labels))), rng.standard_normal(len(labels))
        for product in (1e-1, 1e-4, 1e-8):
            problem = hf.Problem(A, A @ x, groups=labels)
            end = hf.limit(problem, hf.HadamardPower(depth), init_scale=scale(depth, product))
            assert end.status is hf.Status.LIMIT

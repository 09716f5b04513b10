"""Training a scalar and a vector for each group: what it conserves, where it is a mirror flow, and that it is none."""

import numpy as np
import pytest
from scipy.integrate import quad, solve_ivp

import hadaflow as hf
from hadaflow.losses import Logistic
from hadaflow.models import Factors, GroupProduct
from hadaflow.steps import Auto
from hadaflow.stopping import Discrepancy, MaxSteps, Residual

LABELS = np.repeat(np.arange(5), [1, 2, 3, 4, 2])


def data(m=7, seed=0):
    rng = np.random.default_rng(seed)
    A = rng.standard_normal((m, len(LABELS))) / m**0.5
    x = np.where(np.isin(LABELS, [2, 4]), rng.standard_normal(len(LABELS)), 0.0)
    return A, A @ x, x


def integrated(problem, model, a, times):
    """The gradient flow of the factors, by an explicit method of order 8: u, v, x and theta at these times."""
    A, y = problem.operator.columns(np.arange(problem.shape[1])), problem.y
    model = model.for_groups(problem.groups)
    n = problem.shape[1]
    start = model.start(a, np.zeros(n))
    count = len(start.u)

    def split(z):
        return Factors(z[:count], z[count : count + n])

    def rhs(_, z):
        gradient = A.T @ (A @ model.forward(split(z)) - y)
        down = model.pull_back(split(z), gradient)
        return -np.concatenate([down.u, down.v, gradient])

    z = np.concatenate([start.u, start.v, np.zeros(n)])
    solved = solve_ivp(rhs, (0, times[-1]), z, "DOP853", times, rtol=1e-12, atol=1e-14).y.T
    u, v, theta = np.split(solved, [count, count + n], axis=1)
    return u, v, np.array([model.forward(split(z)) for z in solved]), theta


def norms(z):
    return np.sqrt(np.bincount(LABELS, z**2))


@pytest.mark.parametrize("depth", [2, 2.5, 3, 4])
def test_the_gradient_is_that_of_the_factors(depth):
    rng = np.random.default_rng(1)
    model = GroupProduct(depth).for_groups(hf.Problem(np.ones((1, 12)), [1.0], groups=LABELS).groups)
    factors, g = Factors(rng.uniform(0.5, 1, 5), rng.standard_normal(12)), rng.standard_normal(12)
    found = model.pull_back(factors, g)
    for name in ("u", "v"):
        for i, slope in enumerate(getattr(found, name)):
            step = np.zeros(len(getattr(found, name)))
            step[i] = 1e-6
            ends = [
                model.forward(Factors(factors.u + s * step, factors.v))
                if name == "u"
                else model.forward(Factors(factors.u, factors.v + s * step))
                for s in (1, -1)
            ]
            assert (ends[0] - ends[1]) @ g / 2e-6 == pytest.approx(slope, rel=1e-7, abs=1e-9)


@pytest.mark.parametrize("depth", [2, 2.5, 3, 4])
def test_what_is_conserved(depth):
    A, y, _ = data()
    u, v, _, _ = integrated(hf.Problem(A, y, groups=LABELS), GroupProduct(depth), 0.3, np.linspace(0, 30, 7))
    drift = [
        u_ @ u_ * 0 + np.abs(u_**2 - (depth - 1) * norms(v_) ** 2 - 0.09).max() for u_, v_ in zip(u, v, strict=True)
    ]
    assert max(drift) < 1e-10
    assert np.abs(v[-1]).max() > 0.3
    run = hf.descend(
        hf.Problem(A, y, groups=LABELS), GroupProduct(depth), init_scale=0.3, step=Auto(1e-3), stop=MaxSteps(3000)
    )
    kept = run.factors.u**2 - (depth - 1) * norms(run.factors.v) ** 2
    np.testing.assert_allclose(kept, 0.09, rtol=2e-2)


def radial(depth, a, radius):
    """The map that the flow follows while a group keeps its direction."""
    if depth == 2:
        return a**2 / 2 * np.sinh(2 * radius)
    if depth == 3:
        angle = np.sqrt(2) * a * radius
        return a**3 / np.sqrt(2) * np.tan(angle) / np.cos(angle) ** 2
    p = depth - 1
    low, high = 0.0, 10.0  # of |v|
    for _ in range(200):
        s = 0.5 * (low + high)
        far = quad(lambda t: (a**2 + p * t**2) ** (-p / 2), 0, s, epsabs=1e-13, epsrel=1e-13)[0] > radius
        low, high = (low, s) if far else (s, high)
    return (a**2 + p * s**2) ** (p / 2) * s


@pytest.mark.parametrize("depth", [2, 3, 4])
def test_with_orthogonal_columns_it_is_a_radial_mirror_flow(depth):
    """``A_g^T A_h = c I`` for g = h and 0 else: theta keeps its direction, and x is a function of its length."""
    rng = np.random.default_rng(2)
    Q = 1.3 * np.linalg.qr(rng.standard_normal((14, 12)))[0]
    y, a = Q @ rng.standard_normal(12), 0.2
    problem = hf.Problem(Q, y, groups=LABELS)
    _, _, x, theta = integrated(problem, GroupProduct(depth), a, np.array([0.3, 1.0, 3.0, 10.0]))
    for x_, theta_ in zip(x, theta, strict=True):
        expected = [radial(depth, a, radius) for radius in norms(theta_)]
        np.testing.assert_allclose(norms(x_), expected, rtol=1e-7)
        np.testing.assert_allclose(x_ * norms(theta_)[LABELS], theta_ * norms(x_)[LABELS], atol=1e-9)
    run = hf.descend(problem, GroupProduct(depth), init_scale=a, step=Auto(1e-3), stop=Residual(0.9))
    for size, radius in zip(norms(run.x), norms(Q.T @ run.dual), strict=True):  # by steps: theta to one per cent
        assert radial(depth, a, 0.99 * radius) < size < radial(depth, a, 1.001 * radius)


def test_a_group_of_one_is_a_mirror_flow():
    """``x = u v`` from (a, 0) is ``x = u^2 - v^2`` from ``a / 2``, on half the clock."""
    A, y, _ = data()
    _, _, x, theta = integrated(hf.Problem(A, y), GroupProduct(2), 0.3, np.linspace(0, 20, 5))
    np.testing.assert_allclose(x, 0.045 * np.sinh(2 * theta), rtol=1e-8, atol=1e-12)
    run = hf.descend(hf.Problem(A, y), GroupProduct(2), init_scale=0.3, step=Auto(1e-2))
    end = hf.limit(hf.Problem(A, y), hf.HadamardPower(2), init_scale=np.sqrt(0.045 / 2))
    np.testing.assert_allclose(run.x, end.x, atol=5e-3)


def test_its_end_is_another_one():
    """The sum of norms of groups is far from its minimum however small the start; that of the mirror flow is near."""
    rng = np.random.default_rng(7)
    A, y = rng.standard_normal((4, 10)), rng.standard_normal(4)
    problem = hf.Problem(A, y, groups=2)
    least = hf.recover(A, y, groups=2).certificate
    assert least.gap < 1e-9
    excess = []
    for a in (1e-2, 1e-4):
        run = hf.descend(problem, GroupProduct(2), init_scale=a, stop=Residual(1e-5) | MaxSteps(200_000))
        excess.append(np.linalg.norm(run.x.reshape(-1, 2), axis=1).sum() / least.l1_norm - 1)
    end = hf.limit(problem, hf.HadamardPower(3), init_scale=1e-2)
    assert min(excess) > 5e-3
    assert np.linalg.norm(end.x.reshape(-1, 2), axis=1).sum() / least.l1_norm - 1 < 1e-3


def test_it_has_no_mirror():
    A, y, _ = data()
    problem, model = hf.Problem(A, y, groups=LABELS), GroupProduct(3)
    assert not model.has_mirror
    for call in (hf.flow, hf.limit):
        with pytest.raises(TypeError, match=r"only hadaflow\.descend can train it"):
            call(problem, model, init_scale=0.1)


@pytest.mark.filterwarnings("ignore::hadaflow.ConvergenceWarning")
def test_complex_data_are_groups_of_two():
    rng = np.random.default_rng(0)
    A = (rng.standard_normal((8, 12)) + 1j * rng.standard_normal((8, 12))) / 4
    x = np.zeros(12, dtype=complex)
    x[[1, 5]] = [2 - 1j, 1j]
    B = np.stack([np.stack([A.real, -A.imag], -1), np.stack([A.imag, A.real], -1)], 1).reshape(16, 24)
    options = {"init_scale": 0.05, "step": 0.05, "stop": MaxSteps(2000)}
    record = hf.Recorder(every=100, x=True, average=True, metrics={"error": hf.recording.error_to(x)})
    run = hf.descend(hf.Problem(A, A @ x), GroupProduct(3), record=record, **options)
    real = hf.descend(hf.Problem(B, (A @ x).view(float), groups=2), GroupProduct(3), **options)
    for mine, other in ((run.x, real.x), (run.average, real.average), (run.dual, real.dual)):
        assert mine.dtype == np.complex128
        np.testing.assert_allclose(mine.view(float), other, rtol=1e-8, atol=1e-10)
    np.testing.assert_array_equal(run.history.x[-1], run.x)
    np.testing.assert_array_equal(run.history.average[-1], run.average)
    assert run.history["error"][-1] == pytest.approx(np.linalg.norm(run.x - x))
    assert run.factors.u.shape == (12,)
    assert run.factors.v.shape == (24,)
    assert set(run.support()) >= {1, 5}
    assert run.certificate.gap == pytest.approx(real.certificate.gap, rel=1e-6)
    assert run.lasso_certificate.gap == pytest.approx(real.lasso_certificate.gap, rel=1e-6)
    joint = hf.descend(hf.Problem(A.real, A.real[:, :3], joint=True), GroupProduct(2), **options)
    assert joint.x.shape == joint.average.shape == (12, 3)
    assert joint.dual.shape == (8, 3)


@pytest.mark.parametrize("dtype", [np.float64, np.float32])
def test_a_run_goes_on_and_a_batch_is_its_runs(dtype):
    A, y, _ = data()
    problem = hf.Problem(A.astype(dtype), y.astype(dtype), groups=LABELS)
    model, starts = GroupProduct(3), np.linspace(0.1, 0.2, 5)
    whole = hf.descend(problem, model, init_scale=starts, step=0.05, stop=MaxSteps(200))
    half = hf.descend(problem, model, init_scale=starts, step=0.05, stop=MaxSteps(100))
    rest = hf.descend(problem, model, start=half, step=0.05, stop=MaxSteps(200))
    for name in ("x", "average", "dual"):
        np.testing.assert_allclose(
            getattr(rest, name), getattr(whole, name), atol=1e-5 if dtype is np.float32 else 1e-12
        )
    assert whole.x.dtype == whole.factors.u.dtype == whole.factors.v.dtype == dtype
    with pytest.raises(ValueError, match="other groups"):
        hf.descend(hf.Problem(A.astype(dtype), y.astype(dtype), groups=2), model, start=half)
    batch = hf.descend_batch(
        problem,
        model,
        init_scale=np.stack([starts, 2 * starts], 1),
        y=np.stack([y, -y], 1),
        step=0.05,
        stop=MaxSteps(200),
    )
    np.testing.assert_allclose(batch[0].x, whole.x, atol=1e-5 if dtype is np.float32 else 1e-12)
    assert batch[1].problem.groups.count == 5


def test_it_recovers_groups_and_takes_other_losses():
    rng = np.random.default_rng(3)
    A, x = rng.standard_normal((30, 60)) / 30**0.5, np.zeros(60)
    x[:3], x[30:33] = [1.0, -1.0, 2.0], [0.5, 1.0, 1.0]
    noise = 0.01 * rng.standard_normal(30)
    stop = Discrepancy(np.linalg.norm(noise))
    run = hf.descend(hf.Problem(A, A @ x + noise, groups=3), GroupProduct(3), init_scale=0.02, stop=stop)
    assert run.active_groups().tolist() == [0, 10]
    assert np.linalg.norm(run.x - x) < 0.1
    labels = np.sign(A @ x)
    fitted = hf.descend(
        hf.Problem(A, labels, Logistic(), groups=3),
        GroupProduct(2),
        init_scale=0.05,
        stop=Residual(0.5) | MaxSteps(5000),
    )
    assert fitted.status is hf.Status.STOPPED
    assert (np.sign(A @ fitted.x) == labels).mean() > 0.9


def test_a_depth_below_two_is_refused():
    for wrong in (1, np.inf, "2"):
        with pytest.raises((ValueError, TypeError), match="depth"):
            GroupProduct(wrong)
    assert GroupProduct(2) == GroupProduct(2.0) != GroupProduct(3)
    assert GroupProduct(3).describe() == "scalar times vector, depth 3"
    assert GroupProduct(3).product_scale(0.1, 5) == pytest.approx(1e-3)

"""The loss as an axis of its own: its maths, and what the dynamics make of a loss that is not the squared one."""

import math
from dataclasses import dataclass

import array_api_strict as xs
import numpy as np
import pytest
import scipy.sparse as sp
from array_api_compat import array_namespace
from hypothesis import given
from hypothesis import strategies as st
from scipy.integrate import solve_ivp
from scipy.sparse.linalg import aslinearoperator
from sklearn.linear_model import LogisticRegression

import hadaflow as hf
from hadaflow._sweep import sweep_of
from hadaflow.groups import Metric
from hadaflow.losses import Logistic, Loss, Squared
from hadaflow.recording import Recorder
from hadaflow.solvers.flow.field import Field
from hadaflow.solvers.flow.stiff import ActiveColumns, KrylovSystems
from hadaflow.stopping import MaxSteps, MaxTime, Residual


@dataclass(frozen=True)
class Twin(Loss):
    """The squared loss by the way that all others take."""

    curvature_bound = 1.0

    def terms(self, p, y):
        return 0.5 * (p - y) ** 2

    def gradient(self, p, y):
        return p - y

    def curvature(self, p, y):
        return array_namespace(p).ones_like(p)


@dataclass(frozen=True)
class Poisson(Loss):
    """Counts: unbounded curvature, values that may be negative."""

    def terms(self, p, y):
        return array_namespace(p).exp(p) - y * p

    def gradient(self, p, y):
        return array_namespace(p).exp(p) - y

    def curvature(self, p, y):
        return array_namespace(p).exp(p)


FORMATS = {"dense": np.asarray, "Fortran": np.asfortranarray, "sparse": sp.csr_array, "operator": aslinearoperator}


def labelled(m=12, n=30, seed=0, *, flipped=0.0):
    """Labels of a sparse x, some of them flipped."""
    rng = np.random.default_rng(seed)
    A = rng.standard_normal((m, n))
    x = np.zeros(n)
    x[:3] = [2.0, -2.0, 1.0]
    y = np.where(A @ x > 0, 1.0, -1.0)
    return A, np.where(rng.random(m) < flipped, -y, y)


def logistic(A, y):
    return hf.Problem(A, y, loss=Logistic())


# ---- the maths of a loss ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("loss", [Squared(), Logistic(), Twin(), Poisson()])
@given(p=st.floats(-20, 20), up=st.booleans())
def test_derivatives_are_those_of_differences(loss, p, up):
    h = 1e-5
    p, y = np.array([p]), np.array([1.0 if up else -1.0])
    slope = (loss.terms(p + h, y) - loss.terms(p - h, y)) / (2 * h)
    bend = (loss.gradient(p + h, y) - loss.gradient(p - h, y)) / (2 * h)
    size = 1 + loss.terms(p, y)
    np.testing.assert_allclose(loss.gradient(p, y), slope, atol=1e-9 * float(size[0]) + 1e-9, rtol=1e-6)
    np.testing.assert_allclose(loss.curvature(p, y), bend, atol=1e-9, rtol=1e-6)
    assert 0 <= loss.curvature(p, y)[0] <= loss.curvature_bound * (1 + 1e-15)


def test_the_logistic_bound_is_met_at_zero():
    assert Logistic().curvature(np.zeros(1), np.ones(1))[0] == Logistic().curvature_bound == 0.25
    assert Squared().curvature_bound == 1
    assert Poisson().curvature_bound == math.inf
    assert (Squared().name, Logistic().name, Poisson().name) == ("squared", "logistic", "poisson")


def test_the_logistic_loss_keeps_its_tails():
    p = np.array([-1e4, -700.0, -40.0, 40.0, 700.0, 1e4])
    y = np.ones(6)
    np.testing.assert_allclose(Logistic().terms(p, y), [1e4, 700.0, 40.0, math.exp(-40), math.exp(-700), 0], rtol=1e-14)
    np.testing.assert_allclose(Logistic().gradient(p, y), [-1, -1, -1, *-np.exp(-p[3:])], rtol=1e-14)
    np.testing.assert_allclose(Logistic().curvature(p, y), np.exp(-np.abs(p)), rtol=1e-14)


@pytest.mark.parametrize("loss", [Squared(), Logistic()])
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_any_namespace_and_precision(loss, dtype):
    rng = np.random.default_rng(0)
    p, y = rng.standard_normal((5, 3)), rng.choice([-1.0, 1.0], (5, 3))
    strict = [xs.asarray(values, dtype=getattr(xs, dtype)) for values in (p, y)]
    for method in (loss.terms, loss.gradient, loss.curvature):
        found = method(*strict)
        assert found.dtype == getattr(xs, dtype)
        np.testing.assert_allclose(np.asarray(found), method(p, y), rtol=2e-5 if dtype == "float32" else 1e-14)
    total = loss.value(*strict)
    assert total.dtype == xs.float64
    np.testing.assert_allclose(np.asarray(total), [loss.value(p[:, j], y[:, j]) for j in range(3)], rtol=1e-6)
    assert isinstance(loss.value(p[:, 0], y[:, 0]), float)


# ---- problems --------------------------------------------------------------------------------------------------------


def test_a_problem_carries_its_loss():
    A, y = labelled()
    assert hf.Problem(A, y).loss == Squared()
    assert hf.Problem(A, y).squared
    assert repr(hf.Problem(A, y)) == "Problem(12 x 30, float64, ndarray)"
    assert repr(logistic(A, y)) == "Problem(12 x 30, float64, ndarray, Logistic())"
    np.testing.assert_array_equal(hf.Problem(A, y).negative_gradient_at_zero, y)
    np.testing.assert_array_equal(logistic(A, y).negative_gradient_at_zero, y / 2)
    with pytest.raises(TypeError, match=r"loss must be a loss out of hadaflow\.losses, such as Logistic\(\), got 'log"):
        hf.Problem(A, y, loss="logistic")


def test_a_subclass_of_the_squared_loss_is_not_the_squared_loss():
    class Halved(Squared):
        def gradient(self, p, y):
            return 0.5 * (p - y)

    A, y = labelled()
    problem = hf.Problem(A, y, loss=Halved())
    assert not problem.squared
    run = hf.descend(problem, hf.HadamardPower(1), init_scale=1.0, step=0.01, stop=MaxSteps(1))
    np.testing.assert_allclose(run.dual, 0.01 * 0.5 * y)


def test_labels_are_checked():
    A, y = labelled()
    wrong = np.where(np.arange(12) == 4, 0.0, y)
    message = (
        r"y must hold labels -1 and \+1 for the logistic loss, but entry 4 is 0; labels 0 and 1 become .* 2 \* y - 1"
    )
    with pytest.raises(ValueError, match=message):
        logistic(A, wrong)
    with pytest.raises(ValueError, match=message):
        hf.descend(
            logistic(A, y), hf.HadamardPower(2), init_scale=0.1, stop=hf.stopping.Validation(A, wrong) | MaxSteps(3)
        )
    with pytest.raises(ValueError, match=message):
        hf.descend_batch(logistic(A, y), hf.HadamardPower(2), init_scale=0.1, y=np.column_stack([y, wrong]))


# ---- the squared loss stays what it was ------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", FORMATS)
@pytest.mark.parametrize("depth", [1, 2, 3])
def test_the_general_way_agrees_with_that_of_squares(kind, depth):
    A, y = labelled()
    model, make = hf.HadamardPower(depth), FORMATS[kind]
    plain, general = hf.Problem(make(A), y), hf.Problem(make(A), y, loss=Twin())
    for step in (0.001, "auto"):
        one, other = (
            hf.descend(p, model, init_scale=0.3, step=step, stop=MaxSteps(100), record=Recorder(metrics=["residual"]))
            for p in (plain, general)
        )
        np.testing.assert_allclose(other.x, one.x, atol=1e-12)
        np.testing.assert_allclose(other.dual, one.dual, atol=1e-11)
        np.testing.assert_allclose(other.history["residual"], one.history["residual"], rtol=1e-10)
    for method in ("bdf", "proximal"):
        one, other = (hf.flow(p, model, init_scale=0.3, t_end=2.0, method=method) for p in (plain, general))
        times = np.linspace(0, 2, 9)
        np.testing.assert_allclose(other(times), one(times), atol=2e-5)
        np.testing.assert_allclose(other.dual(times), one.dual(times), atol=2e-5)


def test_the_squared_loss_is_computed_as_ever(easy):
    problem = hf.Problem(easy.A, easy.y)
    seen = []
    stop = hf.stopping.When(lambda snapshot: seen.append(snapshot) or snapshot.step == 20)
    hf.descend(problem, hf.HadamardPower(2), init_scale=0.1, stop=stop, loss_scale=2 / len(easy.y))
    for snapshot in seen:
        np.testing.assert_array_equal(snapshot.residual, easy.A @ snapshot.x - easy.y)
        assert snapshot.loss == pytest.approx(0.5 * np.sum(snapshot.residual**2), rel=1e-14)
    snapshot = hf.flow(problem, hf.HadamardPower(2), init_scale=0.1, t_end=1.0).snapshot(0.7)
    np.testing.assert_array_equal(snapshot.residual, easy.A @ snapshot.x - easy.y)
    assert snapshot.loss == pytest.approx(0.5 * np.sum(snapshot.residual**2), rel=1e-14)


def test_squares_take_the_fused_pass_and_others_two():
    A, y = labelled(200, 800)
    counts = []
    for problem in (hf.Problem(A, y), logistic(A, y)):
        short, long = (
            hf.descend(problem, hf.HadamardPower(2), init_scale=0.1, step=1e-4, stop=MaxSteps(steps)).stats.passes
            for steps in (10, 20)
        )
        counts.append((long - short) / 10)
    assert counts == [sweep_of(A).passes, 2.0]


def test_a_step_counts_for_the_loss_as_scaled():
    A, y = labelled()
    model, stop = hf.HadamardPower(2), MaxSteps(50)
    mean = hf.descend(logistic(A, y), model, init_scale=0.3, step=0.12, loss_scale=1 / 12, stop=stop)
    half = hf.descend(logistic(A, y), model, init_scale=0.3, step=0.01, stop=stop)
    np.testing.assert_allclose(mean.x, half.x, atol=1e-13)
    assert mean.time == pytest.approx(half.time)
    squares = [
        hf.descend(hf.Problem(A, y, loss=loss), model, init_scale=0.3, step=0.01, loss_scale=2 / 12, stop=stop).x
        for loss in (Squared(), Twin())
    ]
    np.testing.assert_allclose(*squares, atol=1e-13)


# ---- logistic: descent, flow, and each other -------------------------------------------------------------------------


@pytest.mark.parametrize("sign", ["both", "positive"])
@pytest.mark.parametrize("depth", [2, 3])
def test_the_flow_is_that_of_the_factors(depth, sign):
    A, y = labelled()
    model, a, times = hf.HadamardPower(depth, sign), 0.3, np.linspace(0, 3, 13)
    path = hf.flow(logistic(A, y), model, init_scale=a, t_end=3.0, tolerance=1e-9)

    def field(_, z):
        u, v = z[:30], z[30:]
        x = u**depth - v**depth if sign == "both" else u**depth
        g = depth * (A.T @ (y / (1 + np.exp(y * (A @ x)))))
        return np.concatenate([g * u ** (depth - 1), -g * v ** (depth - 1) if sign == "both" else 0 * v])

    factors = solve_ivp(field, (0, 3), np.full(60, a), "DOP853", times, rtol=1e-11, atol=1e-13).y.T
    u, v = factors[:, :30], factors[:, 30:]
    np.testing.assert_allclose(path(times), u**depth - (v**depth if sign == "both" else 0), atol=5e-7)
    assert np.abs(path.x).max() > 1  # it has moved
    if sign == "both":
        conserved = u * v / a**2 if depth == 2 else (u**-1.0 + v**-1.0) * a / 2
        np.testing.assert_allclose(conserved, 1, atol=1e-7)


@pytest.mark.parametrize("sign", ["both", "positive"])
@pytest.mark.parametrize("depth", [2, 3])
def test_short_steps_follow_the_flow(depth, sign):
    A, y = labelled(flipped=0.2)
    model = hf.HadamardPower(depth, sign)
    path = hf.flow(logistic(A, y), model, init_scale=0.3, t_end=1.0, tolerance=1e-9)
    off = []
    for step in (1e-3, 5e-4):
        run = hf.descend(logistic(A, y), model, init_scale=0.3, step=step, stop=MaxSteps(round(1 / step)))
        off.append(np.abs(run.x - path.x).max())
        np.testing.assert_allclose(run.dual, path.dual(1.0), atol=5e-3)
        np.testing.assert_allclose(run.average, path.average(1.0), atol=3e-2)
    assert off[0] < 0.05 * np.abs(path.x).max()
    assert off[1] == pytest.approx(off[0] / 2, rel=0.1)  # of first order


@pytest.mark.parametrize("depth", [2, 3])
def test_descent_conserves_what_flow_conserves(depth):
    A, y = labelled()
    model, a, step = hf.HadamardPower(depth), 0.3, 1e-4
    factors = model.start(a, np.zeros(30))
    for _ in range(5000):
        pull = model.pull_back(factors, A.T @ Logistic().gradient(A @ model.forward(factors), y))
        factors = type(factors)(factors.u - step * pull.u, factors.v - step * pull.v)
    run = hf.descend(logistic(A, y), model, init_scale=a, step=step, stop=MaxSteps(5000))
    np.testing.assert_allclose(run.x, model.forward(factors), atol=1e-12)
    theta = A.T @ run.dual  # and with it the dual state tells x
    np.testing.assert_allclose(run.x, model.mirror_map(theta, a), atol=5e-3 * np.abs(run.x).max())


@pytest.mark.parametrize(("m", "n", "scale"), [(12, 30, 0.1), (12, 30, 1.0), (40, 8, 0.3)])
def test_all_kinds_of_operators_agree(m, n, scale):
    """Wide and tall, few columns active and all of them: each has linear algebra of its own."""
    A, y = labelled(m, n, flipped=0.1)
    A = A * (np.abs(A) > 0.3)
    model, times = hf.HadamardPower(3), np.linspace(0, 5, 6)
    paths = {k: hf.flow(logistic(f(A), y), model, init_scale=scale, t_end=5.0) for k, f in FORMATS.items()}
    runs = {k: hf.descend(logistic(f(A), y), model, init_scale=scale, stop=MaxSteps(60)) for k, f in FORMATS.items()}
    for kind in FORMATS:
        np.testing.assert_allclose(paths[kind](times), paths["dense"](times), atol=1e-4)
        np.testing.assert_allclose(runs[kind].x, runs["dense"].x, atol=1e-10)
        snapshot = paths[kind].snapshot(2.0)
        np.testing.assert_allclose(snapshot.residual, Logistic().gradient(A @ snapshot.x, y), atol=1e-12)
        np.testing.assert_allclose(snapshot.gradient, A.T @ snapshot.residual, atol=1e-12)
        assert snapshot.loss == pytest.approx(Logistic().value(A @ snapshot.x, y))


@pytest.mark.parametrize("kind", FORMATS)
@pytest.mark.parametrize("active", [0, 5, 30])
def test_implicit_steps_know_the_curvature(kind, active):
    """The linear systems of the integrator, ``I + H A diag(w) A^T``: few active columns, all of them, or none."""
    A, y = labelled()
    field = Field(logistic(FORMATS[kind](A), y), hf.HadamardPower(2), 0.1)
    weight, bend, right = np.zeros(30), np.linspace(0, 0.25, 12), np.cos(np.arange(12))
    weight[:active] = np.geomspace(1, 10, active) if active else 0
    system = np.eye(12) + bend[:, None] * ((A * weight) @ A.T)
    systems = (KrylovSystems if kind == "operator" else ActiveColumns)(field)
    found = systems.solver(Metric.of_diagonal(weight), bend)(right)
    np.testing.assert_allclose(system @ found, right, atol=5e-2 if kind == "operator" else 1e-10)
    assert (active == 0) == np.array_equal(found, right)


@pytest.mark.parametrize("kind", FORMATS)
def test_a_batch_is_its_runs(kind):
    A, y = labelled(flipped=0.1)
    problem, model = logistic(FORMATS[kind](A), y), hf.HadamardPower(2)
    sides = np.column_stack([y, -y, np.roll(y, 1)])
    starts, steps, stop = [0.1, 0.2, 0.3], ["auto", 0.01, hf.steps.Increasing()], MaxSteps(80)
    batch = hf.descend_batch(problem, model, init_scale=starts, step=steps, y=sides, stop=stop)
    for run, a, step, side in zip(batch, starts, steps, sides.T, strict=True):
        single = hf.descend(logistic(FORMATS[kind](A), side), model, init_scale=a, step=step, stop=stop)
        np.testing.assert_allclose(run.x, single.x, atol=1e-11)
        np.testing.assert_allclose(run.dual, single.dual, atol=1e-11)
        assert run.problem.loss == Logistic()
        assert run.steps == single.steps


@pytest.mark.parametrize("kind", FORMATS)
def test_single_precision_stays(kind):
    A, y = labelled(flipped=0.2)
    narrow = logistic(FORMATS[kind](A.astype(np.float32)), y.astype(np.float32))
    run = hf.descend(narrow, hf.HadamardPower(2), init_scale=0.3, step=0.01, stop=MaxSteps(200))
    wide = hf.descend(logistic(A, y), hf.HadamardPower(2), init_scale=0.3, step=0.01, stop=MaxSteps(200))
    assert run.x.dtype == run.average.dtype == np.float32
    np.testing.assert_allclose(run.x, wide.x, atol=2e-5 * np.abs(wide.x).max())
    path = hf.flow(narrow, hf.HadamardPower(2), init_scale=0.3, t_end=1.0)
    assert path.x.dtype == np.float32
    np.testing.assert_allclose(
        path.x, hf.flow(logistic(A, y), hf.HadamardPower(2), init_scale=0.3, t_end=1.0).x, atol=1e-4
    )


# ---- where it ends ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("depth", [2, 3])
@pytest.mark.filterwarnings("ignore::hadaflow.ConvergenceWarning")
def test_it_ends_at_the_maximum_of_the_likelihood(depth):
    A, y = labelled(80, 8, flipped=0.2)
    wanted = LogisticRegression(C=np.inf, fit_intercept=False, tol=1e-12, max_iter=1000).fit(A, y).coef_[0]
    run = hf.descend(logistic(A, y), hf.HadamardPower(depth), init_scale=0.1)
    np.testing.assert_allclose(run.x, wanted, atol=1e-6)
    assert run.status is hf.Status.STOPPED
    assert run.reason.endswith("the gradient has vanished")
    path = hf.flow(logistic(A, y), hf.HadamardPower(depth), init_scale=0.1, t_end=100.0)
    np.testing.assert_allclose(path.x, wanted, atol=1e-6)
    rest = hf.flow(logistic(A, y), hf.HadamardPower(depth), init_scale=0.1, stop=MaxTime(1e9))
    assert "of that at x = 0" in rest.reason
    np.testing.assert_allclose(rest.x, wanted, atol=1e-5)


def test_of_many_minima_it_takes_that_of_the_smallest_potential():
    """Two equal columns: any split of their sum is a minimum, and the larger start takes the larger share."""
    A, y = labelled(80, 8, flipped=0.2)
    A = np.column_stack([A, A[:, 0]])
    model, a = hf.HadamardPower(2, "positive"), np.full(9, 0.1)
    a[8] = 0.2
    x = hf.flow(logistic(A, y), model, init_scale=a, t_end=200.0, tolerance=1e-8).x
    assert x[8] / x[0] == pytest.approx(4.0, rel=1e-5)  # x = a^2 exp(4 theta), with the same theta
    gradient = A.T @ Logistic().gradient(A @ x, y)
    assert gradient.min() > -1e-6  # x >= 0: at rest, or pushed down
    assert np.abs(x * gradient).max() < 1e-6
    assert x[0] > 0.1


def test_the_loss_falls_as_the_bregman_distance_says():
    """F(x(t)) and F of the average stay below F(z) + D(z, x(0)) / t, for any z: also where there is no minimum."""
    A, y = labelled()
    model, problem = hf.HadamardPower(2), logistic(A, y)
    path = hf.flow(problem, model, init_scale=0.05, t_end=1e4)
    z = np.zeros(30)
    z[:3] = [2.0, -2.0, 1.0]
    for size in (1.0, 5.0, 20.0):
        distance = float(model.potential(size * z, 0.05).sum())
        for t in (0.1, 1.0, 100.0, 1e4):
            bound = Logistic().value(size * (A @ z), y) + distance / t
            assert path.snapshot(t).loss <= bound
            assert Logistic().value(A @ path.average(t), y) <= bound


def test_separable_labels_are_followed_for_as_long_as_asked():
    A, y = labelled()
    path = hf.flow(logistic(A, y), hf.HadamardPower(2), init_scale=0.05, t_end=1e13)
    for t in (1e6, 1e13):  # the loss falls like 1 / t, however small it has become
        assert 1e-3 < path.snapshot(t).loss * t < 10
    margins = [float((y * (A @ x)).min() / np.abs(x).sum()) for x in path([1e2, 1e6, 1e13])]
    assert margins == sorted(margins)
    run = hf.descend(logistic(A, y), hf.HadamardPower(2), init_scale=0.05)
    assert run.history["residual"][-1] <= 1e-8
    assert "relative residual" in run.reason


# ---- a loss without bounds -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", FORMATS)
@pytest.mark.filterwarnings("ignore::hadaflow.ConvergenceWarning")
def test_counts(kind):
    """Unbounded curvature, negative values, trial steps that overflow: none of that disturbs the run."""
    rng = np.random.default_rng(2)
    A = rng.standard_normal((60, 4))
    y = rng.poisson(np.exp(A @ [2.0, -1.0, 0.5, 0.0] + 1)).astype(float)
    A = np.column_stack([A, np.ones(60)])
    problem = hf.Problem(FORMATS[kind](A), y, loss=Poisson())
    seen = []
    stop = hf.stopping.When(lambda snapshot: seen.append(snapshot.loss) and False)
    run = hf.descend(problem, hf.HadamardPower(2), init_scale=0.1, stop=stop | MaxSteps(100_000))
    assert run.reason.endswith("the gradient has vanished")
    assert seen[-1] < 0
    assert np.max(np.diff(seen)) <= 1e-14 * abs(seen[-1])  # never up, but for rounding
    np.testing.assert_allclose(A.T @ np.exp(A @ run.x), A.T @ y, rtol=1e-5)
    path = hf.flow(problem, hf.HadamardPower(2), init_scale=0.1, t_end=10.0)
    np.testing.assert_allclose(path.x, run.x, atol=1e-5)
    wild = hf.descend(problem, hf.HadamardPower(2), init_scale=1.0, step=10.0, stop=MaxSteps(100))
    assert wild.status is hf.Status.DIVERGED
    assert np.isfinite(wild.x).all()


def test_what_needs_a_bound_says_so():
    problem, model = hf.Problem(*labelled(), loss=Poisson()), hf.HadamardPower(2)
    with pytest.raises(
        ValueError, match=r'"proximal" needs a loss with a finite curvature_bound, got Poisson\(\): take'
    ):
        hf.flow(problem, model, init_scale=0.1, t_end=1.0, method="proximal")
    with pytest.raises(ValueError, match='this one has no finite curvature_bound: take step="auto"'):
        hf.descend(problem, model, init_scale=0.1, step=hf.steps.Increasing())


def test_long_steps_follow_the_flow_at_first():
    A, y = labelled()
    path = hf.flow(logistic(A, y), hf.HadamardPower(2), init_scale=1e-3, t_end=0.15)
    long = hf.flow(logistic(A, y), hf.HadamardPower(2), init_scale=1e-3, t_end=0.15, method="proximal")
    np.testing.assert_allclose(long.dual(0.1), path.dual(0.1), atol=0.02 * np.abs(path.dual(0.1)).max())
    end = hf.flow(logistic(A, y), hf.HadamardPower(2), init_scale=1e-3, stop=Residual(1e-2), method="proximal")
    assert end.status is hf.Status.STOPPED
    assert (y * (A @ end.x)).min() > 0


@pytest.mark.filterwarnings("ignore::hadaflow.ConvergenceWarning")
def test_auto_never_lets_the_loss_rise():
    A, y = labelled(flipped=0.3)
    losses = []
    stop = hf.stopping.When(lambda snapshot: losses.append(snapshot.loss) or False) | MaxSteps(300)
    hf.descend(logistic(A, y), hf.HadamardPower(3), init_scale=0.05, stop=stop, loss_scale=1 / 12)
    assert losses[0] == pytest.approx(12 * math.log(2))
    assert np.max(np.diff(losses)) <= 1e-14 * losses[0]
    assert losses[-1] < 0.5 * losses[0]


# ---- what rests on squares -------------------------------------------------------------------------------------------


def path_of(problem):
    return hf.flow(problem, hf.HadamardPower(2), init_scale=0.1, t_end=1.0)


def run_of(problem):
    return hf.descend(problem, hf.HadamardPower(2), init_scale=0.1, stop=MaxSteps(5))


def stopped_by(rule):
    return lambda problem: hf.descend(problem, hf.HadamardPower(2), init_scale=0.1, stop=rule | MaxSteps(5))


SQUARES_ONLY = {
    "limit": lambda p: hf.limit(p, hf.HadamardPower(2), init_scale=0.1),
    "saddles": hf.saddles,
    "start_from_data": lambda p: hf.start_from_data(p, hf.HadamardPower(2)),
    "estimate_window_inputs": hf.theory.estimate_window_inputs,
    "explain": lambda p: hf.theory.explain(run_of(p)),
    "certify": lambda p: hf.certify(p, np.zeros(30), np.zeros(40)),
    "certify_lasso": lambda p: hf.certify_lasso(p, np.zeros(30), 1.0),
    "stopping.Discrepancy": stopped_by(hf.stopping.Discrepancy(0.1)),
    "stopping.CertificateGap": stopped_by(hf.stopping.CertificateGap()),
    "stopping.LassoGap": stopped_by(MaxTime(1e9) & hf.stopping.LassoGap(0.1)),
    "l1_gap": lambda p: path_of(p).snapshot(0.5).l1_gap,
    "lasso_gap": lambda p: run_of(p) and stopped_by(hf.stopping.When(lambda snapshot: snapshot.lasso_gap < 0))(p),
}


@pytest.mark.parametrize("name", SQUARES_ONLY)
@pytest.mark.filterwarnings("ignore::hadaflow.ConvergenceWarning")
def test_what_rests_on_squares_says_so(name):
    message = rf"^{name} works for the squared loss only, but the problem has loss=Logistic\(\): pass Problem\(A, y\)"
    with pytest.raises(ValueError, match=message):
        SQUARES_ONLY[name](logistic(*labelled(40)))
    SQUARES_ONLY[name](hf.Problem(*labelled(40)))  # and only then


@pytest.mark.parametrize("result", [run_of, path_of])
def test_paths_have_no_certificate(result):
    with pytest.raises(ValueError, match="certify works for the squared loss only"):
        result(logistic(*labelled())).certificate  # noqa: B018
    with pytest.raises(ValueError, match="certify_lasso works for the squared loss only"):
        run_of(logistic(*labelled())).lasso_certificate  # noqa: B018


def test_a_flow_without_a_limit_needs_an_end():
    problem = logistic(*labelled())
    with pytest.raises(
        ValueError, match=r"the limit need not exist for loss=Logistic\(\): give a finite t_end, or a st"
    ):
        hf.flow(problem, hf.HadamardPower(2), init_scale=0.1)
    with pytest.raises(
        ValueError, match=r"flow from an init_scale so small for this depth \(take a larger one\) works f"
    ):
        hf.flow(problem, hf.HadamardPower(4), init_scale=1e-12, t_end=1.0)


# ---- rules -----------------------------------------------------------------------------------------------------------


def test_the_residual_is_the_pull_on_the_predictions():
    A, y = labelled()
    path = hf.flow(logistic(A, y), hf.HadamardPower(2), init_scale=0.1, stop=Residual(0.05))
    pull = Logistic().gradient(A @ path.x, y)
    assert np.linalg.norm(pull) == pytest.approx(0.05 * np.linalg.norm(y / 2), rel=1e-6)
    assert path.penalty(path.t_end) == pytest.approx(np.abs(A.T @ path.dual(path.t_end)).max() / path.t_end)


def test_null_gradient_knows_the_noise_of_labels():
    """Labels by coin: nothing to learn, and the rule says so at once; real ones are learned for a while."""
    rng = np.random.default_rng(5)
    A = rng.standard_normal((100, 30))
    coin = hf.flow(
        logistic(A, rng.choice([-1.0, 1.0], 100)),
        hf.HadamardPower(2),
        init_scale=1e-3,
        stop=hf.stopping.NullGradient(0.5),
    )
    assert coin.t_end == 0
    A, y = labelled(100, 30, seed=5)
    real = hf.flow(logistic(A, y), hf.HadamardPower(2), init_scale=1e-3, stop=hf.stopping.NullGradient(0.5))
    assert real.t_end > 0
    assert np.argmax(np.abs(real.x)) < 3


def test_validation_takes_the_loss_of_the_problem():
    A, y = labelled(60, 100, seed=3, flipped=0.2)
    held, train = slice(0, 20), slice(20, None)
    rule = hf.stopping.Validation(A[held], y[held], patience=5.0)
    record = Recorder(metrics={"held": lambda snapshot: Logistic().value(A[held] @ snapshot.x, y[held])})
    run = hf.descend(
        logistic(A[train], y[train]), hf.HadamardPower(2), init_scale=1e-3, step=0.002, stop=rule, record=record
    )
    found = Logistic().value(A[held] @ run.x, y[held])
    assert f"smallest validation error {found:.4g}" in run.reason
    assert found <= run.history["held"].min() + 1e-12
    assert found < 20 * math.log(2)


def test_memory_rules_work_for_labels():
    A, y = labelled(60, 100, flipped=0.1)
    for rule in (hf.stopping.StableSupport(1.3), hf.stopping.Plateau(1.1, 0.1)):
        run = hf.descend(logistic(A, y), hf.HadamardPower(2), init_scale=1e-4, stop=rule)
        assert run.status is hf.Status.STOPPED
        assert run.time > 0
        assert "since time" in run.reason


def test_increasing_steps_reach_what_auto_reaches():
    A, y = labelled(80, 8, flipped=0.2)
    long = hf.descend(
        logistic(A, y), hf.HadamardPower(2), init_scale=1e-3, step=hf.steps.Increasing(), stop=MaxSteps(5000)
    )
    auto = hf.descend(logistic(A, y), hf.HadamardPower(2), init_scale=1e-3)
    np.testing.assert_allclose(long.x, auto.x, atol=1e-3)

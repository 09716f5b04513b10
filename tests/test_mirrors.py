"""Mirrors: every kind of branch against 40 digits, sums of them, and the dynamics of models with a mirror alone."""

import math

import mpmath as mp
import numpy as np
import pytest
from conftest import planted
from scipy.integrate import solve_ivp

import hadaflow as hf
from hadaflow.gauges import L1
from hadaflow.models import Exponential, Linear, Mirror, Power

H = hf.HadamardPower


class Sum(hf.Model):
    """A sum of models with factors of their own, and a linear part."""

    def __init__(self, *models, linear=None):
        self.models, self.linear = models, linear

    def bind(self, init_scale):
        return Mirror(*(b for model in self.models for b in model.bind(init_scale).branches), linear=self.linear)


MODELS = {
    "2 + 3": (Sum(H(2), H(3)), 0.1),
    "2 + 3, small": (Sum(H(2), H(3)), 1e-4),
    "3 + 6": (Sum(H(3), H(6)), 1e-2),
    "2 + linear": (Sum(H(2), linear=Linear(0.1)), 1e-2),
    "3 + 4 + linear": (Sum(H(3), H(4), linear=Linear(1.0)), 0.3),
    "2 + 3, positive": (Sum(H(2, "positive"), H(3, "positive")), 1e-2),
}
every_model = pytest.mark.parametrize(("model", "a"), MODELS.values(), ids=MODELS)


@pytest.mark.parametrize("signed", [True, False])
@pytest.mark.parametrize("size", [1e-30, 1e-3, 2.0])
@pytest.mark.parametrize("t", [-0.7, -1e-8, 0.3, 0.999])
def test_infinite_depth_against_40_digits(t, size, signed):
    """``p / (1 - t)``: the power with exponent 1, whose potential has a logarithm."""
    branch = Power(math.log(size), 0.25, signed, 1.0)
    with mp.workdps(40):
        z = mp.mpf(t)
        x = mp.mpf(size) * (1 / (1 - z) - (1 / (1 + z) if signed else 0))
        slope = mp.mpf(size) / 4 * (1 / (1 - z) ** 2 + (1 / (1 + z) ** 2 if signed else 0))
        area = 4 * mp.mpf(size) * (-mp.log(1 - z) - (mp.log(1 + z) if signed else 0))
        theta = 4 * z
        expected = [float(value) for value in (x, slope, area, theta * x - area)]
    theta = np.array([4 * t])
    found = [branch.x(theta), branch.slope(theta), branch.conjugate(theta), branch.potential(branch.x(theta))]
    for value, truth in zip(found, expected, strict=True):
        assert value[0] == pytest.approx(truth, rel=1e-11)
    assert branch.theta(branch.x(theta))[0] == pytest.approx(4 * t, rel=1e-11)


@every_model
def test_a_sum_is_the_sum_and_its_inverse_undoes_it(model, a):
    mirror = model.mirror(a, 9)
    x = np.array([1e-9, 1e-3, 0.5, 1.0, 30.0])
    x = np.concatenate([-x, [0.0], x]) if mirror.signed else x
    theta = mirror.theta(x)
    np.testing.assert_allclose(mirror.x(theta), x, rtol=1e-9, atol=1e-22)
    np.testing.assert_array_equal(mirror.x(theta), sum(part.x(theta) for part in mirror.parts))
    h = 1e-6 * np.maximum(np.abs(theta), 1e-6)
    climb = (mirror.conjugate(theta + h) - mirror.conjugate(theta - h)) / (2 * h)
    np.testing.assert_allclose(climb, x, rtol=1e-4, atol=1e-9)
    np.testing.assert_allclose(mirror.potential(x) + mirror.conjugate(theta), theta * x, rtol=1e-9, atol=1e-20)


@every_model
@pytest.mark.parametrize("spread", [1.0, 3.0])
def test_the_limit_of_a_sum_is_its_mirror_of_a_dual_state(model, a, spread):
    case = planted(15, 40, 3, seed=4)
    y = case.y if model.mirror(a, 1).signed else case.A @ np.abs(case.x)
    scale = a * np.linspace(1, spread, 40)
    end = hf.limit(hf.Problem(case.A, y), model, init_scale=scale)
    assert end.status is hf.Status.LIMIT
    np.testing.assert_allclose(case.A @ end.x, y, atol=1e-11)
    np.testing.assert_allclose(model.mirror(scale, 40).x(case.A.T @ end.dual), end.x, rtol=1e-7, atol=1e-9)


@every_model
def test_the_flow_of_a_sum_meets_its_limit_and_an_ode_solver(model, a):
    case = planted(8, 14, 2, seed=6)
    y = case.y if model.mirror(a, 1).signed else case.A @ np.abs(case.x)
    problem, mirror = hf.Problem(case.A, y), model.mirror(a, 14)
    path = hf.flow(problem, model, init_scale=a, tolerance=1e-8)
    end = hf.limit(problem, model, init_scale=a)
    np.testing.assert_allclose(path(path.times[-1]), end.x, atol=1e-6)
    t = 0.5 * path.times[-1]

    def velocity(_, nu):
        return y - case.A @ mirror.x(case.A.T @ nu)

    nu = solve_ivp(velocity, (0, t), np.zeros(8), method="LSODA", rtol=1e-9, atol=1e-11).y[:, -1]
    np.testing.assert_allclose(path(t), mirror.x(case.A.T @ nu), atol=1e-5)


def test_two_equal_models_are_one_of_a_larger_start():
    case = planted(15, 40, 3, seed=4)
    problem = hf.Problem(case.A, case.y)
    together = hf.limit(problem, Sum(H(2), H(2)), init_scale=0.1).x
    np.testing.assert_allclose(together, hf.limit(problem, H(2), init_scale=0.1 * math.sqrt(2)).x, atol=1e-10)


@pytest.mark.parametrize("scale", [1e-3, 1e-8])
def test_infinite_depth_tends_to_the_smallest_l1_norm_linearly_in_its_scale(documented, scale):
    """Finite depths above 2 do, too; this is where they lead as the depth grows at one product scale."""
    case = planted(20, 50, 3, seed=2)
    problem, model = hf.Problem(case.A, case.y), documented["InfiniteDepth"]()
    end = hf.limit(problem, model, init_scale=scale)
    assert end.status is hf.Status.LIMIT
    assert end.support().tolist() == np.flatnonzero(case.x).tolist()
    assert np.abs(end.x - case.x).max() < 20 * scale
    deep = H(4000.0)
    near = hf.limit(problem, deep, init_scale=scale ** (1 / deep.depth)).x
    np.testing.assert_allclose(near, end.x, atol=5e-3 * scale)


def test_a_sum_on_the_page(documented):
    """``u^2 - v^2`` plus a dense part: as r grows the answer moves from a sparse solution to the shortest one."""
    case = planted(20, 50, 3, seed=2)
    problem, model = hf.Problem(case.A, case.y), documented["SparsePlusDense"]
    ends = [hf.limit(problem, model(r), init_scale=1e-3).x for r in (1e-4, 30.0)]
    assert np.abs(ends[0] - case.x).max() < 1e-2
    np.testing.assert_allclose(ends[1], np.linalg.pinv(case.A) @ case.y, atol=1e-2)


def test_the_gauge_of_a_start_is_what_the_potential_tends_to():
    """``Q(x) / bound`` against ``w |x|``, ever nearer as the start vanishes, with a start per coordinate."""
    x = np.array([0.5, -1.0, 2.0])
    for depth, power in ((2, 1e-1), (3, 1e-4), (5, 1e-4)):
        errors = []
        for scale in (1e-6, 1e-12):
            a = scale ** (1 / depth) * np.array([1.0, 0.5, 0.7])
            mirror = H(depth).mirror(a, 3)
            errors.append(abs(mirror.potential(x).sum() * mirror.rate / mirror.gauge.value(x) - 1))
        assert errors[1] < errors[0]
        assert errors[1] < power
    assert isinstance(H(3, "positive").mirror(0.1, 3).gauge, L1)
    assert not H(3, "positive").mirror(0.1, 3).gauge.finite


def test_what_a_mirror_is_made_of_is_checked():
    with pytest.raises(ValueError, match="at least one branch"):
        Mirror()
    with pytest.raises(ValueError, match="all signed, or none"):
        Mirror(Exponential(0.0, 1.0), Exponential(0.0, 1.0, signed=False))


def test_a_model_with_one_side_alone_says_what_it_lacks():
    class FactorsOnly(hf.Model):
        def start(self, init_scale, like):
            return H(2).start(init_scale, like)

        def forward(self, factors):
            return H(2).forward(factors)

        def pull_back(self, factors, gradient):
            return H(2).pull_back(factors, gradient)

    problem = hf.Problem(np.eye(3), np.ones(3))
    for function in (hf.limit, hf.flow):
        with pytest.raises(TypeError, match="has no mirror map"):
            function(problem, FactorsOnly(), init_scale=0.1)
    with pytest.raises(TypeError, match="has no factors"):
        hf.descend(problem, Sum(H(2)), init_scale=0.1)
    stop = hf.stopping.MaxSteps(50)
    run = hf.descend(problem, FactorsOnly(), init_scale=0.1, stop=stop)
    np.testing.assert_array_equal(run.x, hf.descend(problem, H(2), init_scale=0.1, stop=stop).x)

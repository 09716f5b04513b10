import itertools
import math
from functools import partial

import array_api_strict as xs
import mpmath as mp
import numpy as np
import pytest
from conftest import planted
from scipy.integrate import solve_ivp

import hadaflow as hf
from hadaflow.models import Factors

EPS = np.finfo(float).eps
DEPTHS = [2, 2.5, 3, 4, 6, 10]
SIGNS = ["both", "positive"]
PRODUCT_SCALES = [1e-300, 1e-100, 1e-20, 1e-8, 1e-2, 1.0, 1e6]

every_model = pytest.mark.parametrize(("depth", "sign"), list(itertools.product(DEPTHS, SIGNS)))


def scales(depth, product_scales):
    """Values of the entries with these product scales."""
    return [size ** (1 / depth) for size in product_scales]


def rate(depth, a):
    """k of the map, t = k theta, as the paper writes it; 4 at depth 2."""
    return 4 if depth == 2 else depth * (depth - 2) * mp.mpf(a) ** (depth - 2)


def exact_map(theta, depth, a, sign):
    """B(theta) by its textbook formula, for mpmath numbers."""
    depth, a = mp.mpf(depth), mp.mpf(a)
    t = rate(depth, a) * theta
    if depth == 2:
        return a**2 * (mp.exp(t) - mp.exp(-t) if sign == "both" else mp.exp(t))
    power = -depth / (depth - 2)
    return a**depth * ((1 - t) ** power - (1 + t) ** power if sign == "both" else (1 - t) ** power)


def thetas(depth, a, sign):
    """Dual states from tiny to far up, and down, the map."""
    small = 10.0 ** np.array([-200.0, -40, -8, -3, -1])
    if depth == 2:
        t = np.concatenate([small, [0.9, 3, 20, 300]])
    else:
        t = np.concatenate([small, [0.5, 0.9], 1 - 10.0 ** np.array([-2.0, -5, -10, -14])])
    down = [-10.0, -1e3, -1e8] if sign == "positive" and depth > 2 else []
    return np.concatenate([[0.0], t, -t, down]) / float(rate(depth, a))


def digits(t):
    """Working precision at which 1 - t and 1 + t differ by 60 digits."""
    return 60 - (int(mp.log10(abs(t))) if t else 0)


@every_model
def test_mirror_map_and_slope_against_60_digits(depth, sign):
    for a in scales(depth, PRODUCT_SCALES):
        model, theta = hf.HadamardPower(depth, sign), thetas(depth, a, sign)
        found, slope = model.mirror_map(theta, a), model.slope(theta, a)
        exact = partial(exact_map, depth=depth, a=a, sign=sign)
        compared = 0
        for k, point in enumerate(theta):
            with mp.workdps(digits(rate(depth, a) * mp.mpf(point))):
                expected = exact(mp.mpf(point))
                if isinstance(expected, mp.mpc) or not 1e-306 < abs(expected) < 1e306:
                    continue
                step = mp.mpf(10) ** (-mp.mp.dps // 3) / rate(depth, a)
                rise = mp.diff(exact, mp.mpf(point), h=step)
                # What rounding theta and log(a^D) by an ulp does to the result.
                blur = 8 * EPS * (4 + abs(depth * math.log(a)) + abs(float(point * rise / expected)) + abs(point * 4))
                compared += 1
                assert abs(float((found[k] - expected) / expected)) < blur, a
                if 1e-306 < rise < 1e306:
                    assert abs(float((slope[k] - rise) / rise)) < 4 * blur, a
        assert compared >= 5, a


def of_the_sign(x, sign):
    return np.concatenate([-x, [0.0], x]) if sign == "both" else x


@every_model
def test_angle_round_trip(depth, sign):
    model = hf.HadamardPower(depth, sign)
    for product_scale in PRODUCT_SCALES:
        a = product_scale ** (1 / depth)
        x = np.concatenate([10.0 ** np.linspace(-290, 290, 117), product_scale * 10.0 ** np.linspace(-3, 3, 49)])
        x = of_the_sign(x, sign)
        np.testing.assert_allclose(model.from_angle(model.angle(x, a), a), x, rtol=1e-12, atol=0)


@every_model
def test_inverse_undoes_the_map(depth, sign):
    model = hf.HadamardPower(depth, sign)
    for product_scale in PRODUCT_SCALES[2:]:
        a = product_scale ** (1 / depth)
        x = of_the_sign(product_scale * np.array([1e-6, 1e-2, 0.5, 1.0, 2.0, 10.0, 300.0]), sign)
        theta = model.inverse(x, a)
        # Conditioning of the map at theta: an ulp of theta moves x by so much.
        blur = np.abs(theta) * model.slope(theta, a) + np.abs(x) * (4 + abs(math.log(product_scale)))
        assert (np.abs(model.mirror_map(theta, a) - x) <= 8 * EPS * blur).all(), product_scale


@every_model
def test_potential_and_conjugate_against_integrals(depth, sign):
    """Q* is the integral of B from 0, Q its Legendre transform, and theta the derivative of Q."""
    model = hf.HadamardPower(depth, sign)
    for a, t in itertools.product(scales(depth, [1e-20, 1e-2, 1e6]), [-0.7, -1e-2, 0.3, 0.95]):
        exact = partial(exact_map, depth=depth, a=a, sign=sign)
        with mp.workdps(40):
            theta = mp.mpf(float(t / rate(depth, a)))
            area = mp.quad(exact, mp.linspace(0, theta, 5))
            value = exact(theta)
        x = np.array([float(value)])
        size = abs(float(theta * value)) + abs(float(area))
        assert abs(float(model.conjugate(np.array([float(theta)]), a)[0] - area)) < 1e-13 * size
        assert abs(float(model.potential(x, a)[0] - (theta * value - area))) < 1e-13 * size
        h = 1e-4 * x
        climb = (model.potential(x + h, a) - model.potential(x - h, a)) / (2 * h)
        np.testing.assert_allclose(climb, float(theta), rtol=1e-5)
        np.testing.assert_allclose(model.inverse(x, a), float(theta), rtol=1e-12)


@every_model
def test_fenchel_equality(depth, sign):
    """Q(x) + Q*(theta) = theta x along the map; at theta = 0 both vanish, for positive x too."""
    model = hf.HadamardPower(depth, sign)
    for a in scales(depth, [1e-300, 1e-8, 1.0, 1e6]):
        theta = np.linspace(-0.9, 0.9, 19) / float(rate(depth, a))
        x = model.mirror_map(theta, a)
        both = model.potential(x, a) + model.conjugate(theta, a)
        np.testing.assert_allclose(both, theta * x, rtol=1e-12, atol=1e-12 * np.abs(theta * x).max())
        assert model.potential(model.mirror_map(np.zeros(1), a), a) == pytest.approx(0, abs=1e-14 * np.abs(both).max())


@every_model
def test_map_rises_to_its_barrier_and_potential_is_convex(depth, sign):
    model, a = hf.HadamardPower(depth, sign), 0.3
    theta = np.linspace(-0.99, 0.99, 201) / float(rate(depth, a))
    x = model.mirror_map(theta, a)
    assert (np.diff(x) > 0).all()
    assert (model.slope(theta, a) > 0).all()
    chords = np.diff(model.potential(x, a)) / np.diff(x)
    assert (np.diff(chords) > 0).all()
    assert (model.potential(x, a) >= 0).all()

    # Beyond k theta = 1 the flow has diverged; depth 2 has no barrier.
    beyond = np.array([1.001, 5.0]) / float(rate(depth, a))
    if depth == 2:
        assert np.isfinite(model.mirror_map(beyond, a)).all()
        return
    assert (model.mirror_map(beyond, a) == np.inf).all()
    assert (model.slope(beyond, a) == np.inf).all()
    assert (model.conjugate(beyond, a) == np.inf).all()
    below = model.mirror_map(-beyond, a)
    assert (below == -np.inf).all() if sign == "both" else ((below > 0) & (below < a**depth)).all()


def test_signed_map_is_odd_and_vanishes_at_rest():
    for depth in DEPTHS:
        model, theta = hf.HadamardPower(depth), np.linspace(0, 0.9, 7) / float(rate(depth, 0.5))
        np.testing.assert_array_equal(model.mirror_map(-theta, 0.5), -model.mirror_map(theta, 0.5))
        assert model.mirror_map(np.zeros(1), 0.5) == 0


def test_start_is_where_the_map_starts():
    a = np.array([0.1, 0.5, 2.0])
    for model in (hf.HadamardPower(depth, sign) for depth in DEPTHS for sign in SIGNS):
        x = model.forward(model.start(a, np.zeros(3)))
        np.testing.assert_allclose(x, model.mirror_map(np.zeros(3), a), rtol=1e-14, atol=0, err_msg=str(model))


def test_array_of_scales_equals_scale_by_scale():
    a = np.array([1e-2, 0.3, 1.0])
    for depth in (2, 3, 6):
        model, theta = hf.HadamardPower(depth), np.array([0.5, -0.7, 0.9]) / depth**2
        for function in (model.mirror_map, model.slope, model.inverse, model.potential, model.conjugate):
            single = [function(theta[[i]], float(a[i]))[0] for i in range(3)]
            np.testing.assert_allclose(function(theta, a), single, rtol=1e-13)


@pytest.mark.parametrize("sign", SIGNS)
def test_pull_back_against_finite_differences(sign):
    """For the loss <g, x>, along any direction of the factors."""
    u, v, du, dv, g = np.random.default_rng(5).uniform(0.5, 1.5, (5, 6))
    v, dv = (v, dv) if sign == "both" else (None, None)

    def loss(model, step):
        return g @ model.forward(Factors(u + step * du, None if v is None else v + step * dv))

    for model in (hf.HadamardPower(depth, sign) for depth in (1, *DEPTHS)):
        back = model.pull_back(Factors(u, v), g)
        slope = back.u @ du + (0.0 if v is None else back.v @ dv)
        assert (loss(model, 1e-5) - loss(model, -1e-5)) / 2e-5 == pytest.approx(slope, rel=1e-8), model
        assert (back.v is None) == (sign == "positive")


@pytest.mark.parametrize("sign", SIGNS)
@pytest.mark.parametrize("depth", [1, 2, 2.5, 3, 4])
def test_factor_flow_is_the_mirror_flow(depth, sign):
    """Gradient flow on u and v: x = B(A^T int (y - A x)), and the conservation law of each coordinate."""
    rng = np.random.default_rng(11)
    m, n, a = 3, 5, 0.6
    A, y = rng.standard_normal((m, n)), rng.standard_normal(m)
    model = hf.HadamardPower(depth, sign)
    begin = model.start(a, np.zeros(n))
    two = sign == "both"

    def split(state):
        return Factors(state[m : m + n], state[m + n :] if two else None)

    def velocity(_, state):
        residual = y - A @ model.forward(split(state))
        back = model.pull_back(split(state), -A.T @ residual)
        return np.concatenate([residual, -back.u, -back.v if two else []])

    start = np.concatenate([np.zeros(m), begin.u, begin.v if two else []])
    end = solve_ivp(velocity, (0, 0.4), start, method="DOP853", rtol=1e-12, atol=1e-12).y[:, -1]
    found = split(end)
    x = model.forward(found)
    assert np.abs(x - model.forward(begin)).max() > 0.05
    np.testing.assert_allclose(x, model.mirror_map(A.T @ end[:m], a), rtol=1e-9, atol=1e-10)
    if two and depth == 2:
        np.testing.assert_allclose(found.u * found.v, a**2, rtol=1e-9)
    elif two and depth > 2:
        np.testing.assert_allclose(found.u ** (2 - depth) + found.v ** (2 - depth), 2 * a ** (2 - depth), rtol=1e-9)


@pytest.mark.parametrize(("sign", "start", "grade"), [("both", 0.0, 2.0), ("positive", 0.7, 1.0)])
def test_depth_one_is_affine(sign, start, grade):
    model, theta, a = hf.HadamardPower(1, sign), np.array([-2.0, 0.0, 3.0]), 0.7
    x = start + grade * theta
    np.testing.assert_allclose(model.mirror_map(theta, a), x)
    np.testing.assert_allclose(model.slope(theta, a), grade)
    np.testing.assert_allclose(model.inverse(x, a), theta)
    np.testing.assert_allclose(model.conjugate(theta, a), start * theta + grade * theta**2 / 2)
    np.testing.assert_allclose(model.potential(x, a), grade * theta**2 / 2)
    assert model.mirror(a, 3).affine


@pytest.mark.parametrize("depth", [1, 2, 3, 4])
def test_array_api(depth):
    for sign, dtype in itertools.product(SIGNS, ("float32", "float64")):
        for scale in (0.5, np.array([0.5, 0.4, 0.3, 0.6], dtype)):
            is_as_in_numpy(hf.HadamardPower(depth, sign), dtype, scale)


def is_as_in_numpy(model, dtype, scale):
    """The strict namespace allows nothing that is not in the standard; the values are those of NumPy."""
    theta, g = np.array([-0.1, 0.0, 0.05, 0.2], dtype), np.array([1.0, -2.0, 0.5, 3.0], dtype)
    strict_scale = xs.asarray(scale) if np.ndim(scale) else scale
    x = model.mirror_map(theta, scale)
    functions = [(model.mirror_map, theta), (model.slope, theta), (model.conjugate, theta)]
    functions += [(model.inverse, x), (model.potential, x)]
    for function, argument in functions:
        found, expected = function(xs.asarray(argument), strict_scale), function(argument, scale)
        assert found.dtype == getattr(xs, dtype)
        assert expected.dtype == dtype
        np.testing.assert_array_equal(np.asarray(found), expected)
    start, strict_start = model.start(scale, theta), model.start(strict_scale, xs.asarray(theta))
    found, expected = model.pull_back(strict_start, xs.asarray(g)), model.pull_back(start, g)
    np.testing.assert_array_equal(np.asarray(model.forward(strict_start)), model.forward(start))
    np.testing.assert_array_equal(np.asarray(found.u), expected.u)
    assert found.u.dtype == getattr(xs, dtype)
    assert expected.u.dtype == dtype


def test_float32_is_as_good_as_its_digits():
    for depth in DEPTHS:
        model, theta = hf.HadamardPower(depth), np.linspace(-0.9, 0.9, 13) / float(rate(depth, 0.3))
        narrow = theta.astype(np.float32)
        wide = narrow.astype(np.float64)
        np.testing.assert_allclose(model.mirror_map(narrow, 0.3), model.mirror_map(wide, 0.3), rtol=1e-4, atol=1e-9)


def test_bad_depth_and_sign():
    for depth, error, message in [
        (0.5, ValueError, r"depth must be a finite number >= 1, got 0\.5"),
        (0, ValueError, "depth must be a finite number >= 1, got 0"),
        (1.5, ValueError, r"depth must be 1 or at least 2, got 1\.5"),
        (math.inf, ValueError, "depth must be a finite number >= 1, got inf"),
        (math.nan, ValueError, "depth must be a finite number >= 1, got nan"),
        (2**2000, ValueError, "depth must be a finite number >= 1"),
        ("3", TypeError, "depth must be a number, got '3'"),
        (True, TypeError, "depth must be a number, got True"),
        (None, TypeError, "depth must be a number, got None"),
        ([3], TypeError, r"depth must be a number, got \[3\]"),
        (3j, TypeError, "depth must be a number, got 3j"),
    ]:
        with pytest.raises(error, match=message) as caught:
            hf.HadamardPower(depth)
        assert caught.type is error
    for sign in ("negative", 1, None, ["both"]):
        with pytest.raises(ValueError, match="sign must be one of 'both', 'positive', got"):
            hf.HadamardPower(3, sign)


def test_depth_is_a_float_and_models_compare_by_value():
    assert hf.HadamardPower(3) == hf.HadamardPower(3.0)
    assert isinstance(hf.HadamardPower(np.int64(3)).depth, float)


# ---- models of the user's own --------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def models(documented):
    """Those that the page on adding one writes."""
    return documented["HadamardProduct"](), documented["ScaledCube"](2.0)


def test_the_product_scale_is_that_of_the_model(models):
    for depth, sign in itertools.product(DEPTHS, SIGNS):
        for a in (1e-30, 0.3, np.array([0.1, 0.2, 0.7])):
            expected = np.exp(depth * np.log(a).mean())
            assert hf.HadamardPower(depth, sign).product_scale(a, 3) == pytest.approx(expected, rel=1e-12)
    for sign in SIGNS:  # without branches it is the start
        assert hf.HadamardPower(1, sign).product_scale(0.2, 3) == pytest.approx(0.2)
        assert hf.HadamardPower(1, sign).product_scale(np.array([0.1, 0.4]), 2) == pytest.approx(0.2)
    product, cube = models
    assert product.product_scale(0.1, 4) == pytest.approx(0.1**2 / 2)
    assert cube.product_scale(0.1, 4) == pytest.approx(2 * 0.1**3)
    assert cube.product_scale(np.array([0.1, 0.2]), 2) == pytest.approx(2 * 0.02**1.5)


@pytest.mark.parametrize("which", [0, 1])
def test_the_support_of_a_model_of_ones_own(models, which):
    """Entries as small as 2 % of the largest one stand out of a start of 1e-9 of it (descent: 1e-6, in fewer steps)."""
    case, model = planted(20, 40, 0, seed=3), models[which]
    x = np.zeros(40)
    x[[1, 2, 3]] = [5.0, 0.1, 0.1]
    problem, a = hf.Problem(case.A, case.A @ x), (1e-9) ** (1 / (2 + which))
    results = {"limit": hf.limit(problem, model, init_scale=a), "flow": hf.flow(problem, model, init_scale=a)}
    if which == 1:  # the steps of u v from v = 0 lose the small one of u + v and u - v to rounding
        results["descend"] = hf.descend(problem, model, init_scale=0.01, stop=hf.stopping.Residual(1e-3))
    for name, result in results.items():
        assert result.support().tolist() == [1, 2, 3], name


@pytest.mark.parametrize("which", [0, 1])
def test_a_start_per_coordinate_of_a_model_of_ones_own(models, which):
    """As with one number where all are equal; and the limit meets the flow where they differ."""
    case, model = planted(6, 12, 2), models[which]
    problem = hf.Problem(case.A, case.y)
    same = hf.limit(problem, model, init_scale=np.full(12, 0.1)).x
    np.testing.assert_allclose(same, hf.limit(problem, model, init_scale=0.1).x, atol=1e-11)
    a = 0.1 * 2.0 ** np.linspace(-1, 1, 12)
    path = hf.flow(problem, model, init_scale=a, tolerance=1e-8)
    np.testing.assert_allclose(path(path.times[-1]), hf.limit(problem, model, init_scale=a).x, atol=1e-7)


DOORS = (hf.limit, hf.flow, hf.descend, hf.descend_batch)


@pytest.mark.parametrize("which", [0, 1, 2])
def test_an_init_scale_that_is_none_is_refused_by_every_model_and_door(models, which):
    problem, model = hf.Problem(np.eye(3), np.ones(3)), [*models, hf.HadamardPower(3)][which]
    none = [-0.1, 0.0, math.inf, math.nan, [0.1, -0.1, 0.2], [0.1, math.nan, 0.2]]
    for door, scale in itertools.product(DOORS, none):
        given = np.array([scale]).T if door is hf.descend_batch and np.ndim(scale) else scale
        with pytest.raises(ValueError, match="init_scale"):
            door(problem, model, init_scale=given)


def test_an_init_scale_of_another_kind_or_length_is_refused(models):
    problem = hf.Problem(np.eye(3), np.ones(3))
    for model, door in itertools.product(models, DOORS[:3]):
        with pytest.raises(ValueError, match=r"one entry per column of A \(3\), got 2"):
            door(problem, model, init_scale=[0.1, 0.2])
        with pytest.raises(TypeError, match="init_scale must be a number"):
            door(problem, model, init_scale="small")
        with pytest.raises(ValueError, match="init_scale"):
            door(problem, model, init_scale=1e-200)  # whose product scale is no double

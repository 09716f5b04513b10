"""Gauges: the library's own and one of a user's, held to what the engines rely on, and followed to exact answers."""

import numpy as np
import pytest
import scipy.sparse as sp
from scipy.optimize import linprog
from scipy.sparse.linalg import aslinearoperator

import hadaflow as hf
from hadaflow.gauges import L1, Gauge, Separable

N = 30
WEIGHTS = np.random.default_rng(0).uniform(0.3, 4, N)
FREE = np.where(np.arange(N) < 3, 0.0, WEIGHTS)


class SignedAfterIntercepts(Separable):
    """A gauge of one's own: the first coordinates cost nothing, the others are non-negative or non-positive in turn."""

    def __init__(self, n: int, intercepts: int) -> None:
        upper, lower = np.ones(n), -np.ones(n)
        upper[1::2], lower[::2] = np.inf, -np.inf
        upper[:intercepts] = lower[:intercepts] = 0.0
        super().__init__(lower, upper)


GAUGES = {
    "l1": L1(),
    "positive": L1(sign="positive"),
    "weights": L1(WEIGHTS),
    "positive weights": L1(WEIGHTS, sign="positive"),
    "free": L1(FREE),
    "positive, some at no cost": L1(FREE, sign="positive"),
    "dearer below": Separable(-2.0, 1.0),
    "each sign at its price": Separable(-WEIGHTS, WEIGHTS[::-1].copy()),
    "of the user's own": SignedAfterIntercepts(N, 3),
}
every_gauge = pytest.mark.parametrize("gauge", GAUGES.values(), ids=GAUGES)


def allowed(gauge: Gauge, rng: np.random.Generator) -> np.ndarray:
    """A sparse x of finite gauge."""
    x = np.where(rng.random(N) < 0.3, rng.standard_normal(N), 0.0)
    return gauge.signs(x) * np.abs(x)


def boxed(gauge: Gauge, theta: np.ndarray) -> np.ndarray:
    """The nearest dual state inside the dual set."""
    ones = np.ones(N)
    return np.clip(theta, gauge.meets(-ones), gauge.meets(ones))


@every_gauge
@pytest.mark.parametrize("seed", range(5))
def test_value_is_the_support_function_of_the_dual_set(gauge, seed):
    rng = np.random.default_rng(seed)
    x, theta = allowed(gauge, rng), boxed(gauge, 3 * rng.standard_normal(N))
    assert gauge.allows(x)
    face = gauge.face(x)
    assert face @ x == pytest.approx(gauge.value(x))
    assert gauge.dual(face) <= 1 + 1e-15
    assert theta @ x <= gauge.value(x) + 1e-14
    assert gauge.dual(theta) <= 1 + 1e-15
    assert (gauge.beyond(theta) <= 1e-15).all()
    assert gauge.value(2.5 * x) == pytest.approx(2.5 * gauge.value(x))
    assert not face[x == 0].any()


@every_gauge
def test_sizes_say_by_how_much_a_dual_state_is_outside(gauge):
    theta = 3 * np.random.default_rng(1).standard_normal(N)
    sizes, beyond = gauge.sizes(theta), gauge.beyond(theta)
    priced = np.setdiff1d(np.arange(N), gauge.costless)
    np.testing.assert_array_equal(sizes[priced] > 1, beyond[priced] > 0)
    finite = np.flatnonzero(np.isfinite(sizes) & (sizes > 0))
    shrunk = np.where(np.isfinite(sizes) & (sizes > 0), theta / np.where(sizes > 0, sizes, 1), 0.0)
    np.testing.assert_allclose(gauge.beyond(shrunk)[finite], 0, atol=1e-14)
    np.testing.assert_array_equal(gauge.sizes(theta, np.abs(theta)), 0)  # all of it may be rounding
    assert (gauge.sizes(theta, -0.1) >= sizes).all()
    columns = np.column_stack([theta, -theta])
    np.testing.assert_array_equal(gauge.beyond(columns)[:, 0], beyond)


@every_gauge
@pytest.mark.parametrize("step", [0.1, 0.7])
def test_prox_meets_its_optimality_condition(gauge, step):
    x = 2 * np.random.default_rng(2).standard_normal(N)
    z = gauge.prox(x, step)
    assert gauge.allows(z)
    subgradient = (x - z) / step
    assert gauge.dual(subgradient, 1e-14) <= 1 + 1e-13
    assert subgradient @ z == pytest.approx(gauge.value(z), abs=1e-12)


@every_gauge
def test_a_moving_dual_state_meets_its_bound_after_the_wait(gauge):
    rng = np.random.default_rng(3)
    theta, speed = boxed(gauge, 0.2 * rng.standard_normal(N)), rng.standard_normal(N)
    moving = np.arange(N) % 5 > 0
    wait = gauge.wait(theta, speed, moving)
    assert np.isposinf(wait[~moving]).all()
    met = np.isfinite(wait)
    assert (wait >= 0).all()
    np.testing.assert_array_equal(met, moving & gauge.opens(speed))
    then = theta + np.where(met, wait, 0) * speed
    np.testing.assert_allclose(gauge.beyond(then)[met], 0, atol=1e-14)
    np.testing.assert_allclose(then[met], gauge.meets(speed)[met], atol=1e-14)
    np.testing.assert_array_equal(gauge.outward(speed), np.where(gauge.opens(speed), np.abs(speed), 0))


@every_gauge
def test_parts_and_units(gauge):
    rng = np.random.default_rng(4)
    x, theta, index = allowed(gauge, rng), rng.standard_normal(N), np.array([1, 2, 7, 20])
    np.testing.assert_array_equal(gauge.on(index).sizes(theta[index]), gauge.sizes(theta)[index])
    np.testing.assert_array_equal(gauge.on(index).face(x[index]), gauge.face(x)[index])
    weights, unit = gauge.unit()
    scaled = x if weights is None else weights * x
    assert unit.value(scaled) == pytest.approx(gauge.value(x))
    np.testing.assert_array_equal(unit.costless, gauge.costless)
    np.testing.assert_array_equal(unit.free, gauge.free)
    assert unit.finite == gauge.finite
    assert gauge.finite == all(gauge.allows(sign * np.ones(N)) for sign in (1, -1))


def smallest(A: np.ndarray, y: np.ndarray, gauge: Gauge) -> float:
    """The smallest gauge of all solutions, by a linear programme."""
    ones = np.ones(A.shape[1])
    up, down = gauge.meets(ones), -gauge.meets(-ones)
    cost = np.where(np.isfinite([up, down]), [up, down], 0.0).ravel()
    bounds = [(0, None if np.isfinite(bound) else 0) for bound in np.concatenate([up, down])]
    found = linprog(cost, A_eq=np.hstack([A, -A]), b_eq=y, bounds=bounds, method="highs")
    assert found.status == 0
    return float(found.fun)


@every_gauge
@pytest.mark.parametrize("seed", [0, 1])
def test_recover_finds_the_smallest_gauge_of_all_solutions(gauge, seed):
    rng = np.random.default_rng(10 + seed)
    A, x = rng.standard_normal((12, N)), allowed(gauge, rng)
    y = A @ x
    least = smallest(A, y, gauge)
    for data in (A, sp.csc_array(A), aslinearoperator(A)):
        r = hf.recover(data, y, gauge=gauge)
        assert r.status is hf.Status.EXACT
        assert gauge.allows(r.x)
        assert r.certificate.gap < 1e-11
        assert r.certificate.l1_norm == pytest.approx(gauge.value(r.x))
        assert gauge.value(r.x) == pytest.approx(least, rel=1e-9, abs=1e-9)
    path = hf.saddles(hf.Problem(A, y), gauge=gauge)
    assert path.status is hf.Status.EXACT
    assert gauge.value(path.final) == pytest.approx(least, rel=1e-9, abs=1e-9)
    for plateau in path.x.toarray():
        assert gauge.allows(plateau)


@every_gauge
def test_data_out_of_reach_get_the_least_squares_point(gauge):
    """More rows than columns: the nearest point of the cone of all that the gauge allows."""
    rng = np.random.default_rng(5)
    A, y = rng.standard_normal((50, N)), rng.standard_normal(50)
    r = hf.recover(A, y, gauge=gauge)
    assert r.status is hf.Status.LEAST_SQUARES
    assert gauge.allows(r.x)
    gradient = A.T @ (y - A @ r.x)
    assert np.abs(gradient[r.x != 0]).max(initial=0) < 1e-11
    assert gauge.outward(gradient).max() < 1e-11


@every_gauge
def test_a_certificate_of_a_gauge_is_never_too_good(gauge):
    """Whatever the dual vector, the bound it gives is below the smallest gauge."""
    rng = np.random.default_rng(6)
    A, x = rng.standard_normal((12, N)), allowed(gauge, rng)
    problem = hf.Problem(A, A @ x)
    least = smallest(A, problem.y, gauge)
    duals = rng.standard_normal((20, 12))
    if len(gauge.free):  # others prove nothing at all
        basis, _ = np.linalg.qr(A[:, gauge.free])
        duals -= duals @ basis @ basis.T
    for dual in duals:
        assert hf.certify(problem, x, dual, gauge=gauge).lower_bound <= least * (1 + 1e-12)
    if len(gauge.free):
        assert hf.certify(problem, x, np.ones(12), gauge=gauge).lower_bound == 0


@every_gauge
def test_the_lasso_certificate_of_a_gauge(gauge):
    """Closed at the minimiser, which is one prox step for an orthogonal A, and open elsewhere."""
    y = 2 * np.random.default_rng(7).standard_normal(N)
    problem = hf.Problem(np.eye(N), y)
    x = gauge.prox(y, 0.5)
    certificate = hf.certify_lasso(problem, x, 0.5, gauge=gauge)
    if not len(gauge.costless):
        assert abs(certificate.gap) < 1e-13
    assert hf.certify_lasso(problem, 0 * x, 0.5, gauge=gauge).gap > 1e-3 or not x.any()


def test_the_gauge_of_arguments_and_what_excludes_what():
    A, y = np.random.default_rng(8).standard_normal((5, 12)), np.ones(5)
    w = np.arange(1.0, 13)
    same = hf.recover(A, y, weights=w, positive=False).x
    np.testing.assert_array_equal(hf.recover(A, y, gauge=L1(w)).x, same)
    for extra in ({"weights": w}, {"positive": True}):
        with pytest.raises(ValueError, match="weights and positive describe an l1 norm"):
            hf.recover(A, y, gauge=L1(), **extra)
    with pytest.raises(TypeError, match="gauge must be"):
        hf.recover(A, y, gauge="l1")
    with pytest.raises(ValueError, match="belong to the scale -> 0 solution"):
        hf.recover(A, y, gauge=L1(), depth=2, init_scale=0.1)


def test_free_coordinates_stand_on_the_first_plateau():
    """They are fitted before anything is asked to pay: least squares on them alone at time 0."""
    rng = np.random.default_rng(9)
    A, y = rng.standard_normal((20, N)), rng.standard_normal(20)
    path = hf.saddles(hf.Problem(A, y), gauge=L1(np.where(np.arange(N) < 3, 0.0, 1.0)))
    first = path.x.toarray()[0]
    np.testing.assert_allclose(first[:3], np.linalg.lstsq(A[:, :3], y, rcond=None)[0], atol=1e-12)
    assert not first[3:].any()


def test_a_gauge_that_is_none_is_refused():
    def recovered(gauge):
        return hf.recover(np.eye(3), np.ones(3), gauge=gauge)

    for make, error, message in (
        (lambda: L1(np.array([1.0, -1.0])), ValueError, "finite and not negative"),
        (lambda: L1(np.array([1.0, np.nan])), ValueError, "finite and not negative"),
        (lambda: L1(np.ones((2, 2))), ValueError, "weights"),
        (lambda: L1(sign="negative"), ValueError, "sign must be one of"),
        (lambda: Separable(0.5, 1.0), ValueError, "lower <= 0 <= upper"),
        (lambda: Separable(-1.0, np.nan), ValueError, "lower <= 0 <= upper"),
        (lambda: Separable(-np.ones(2), np.ones(3)), ValueError, "one length, got 2 and 3"),
        (lambda: Separable(-np.ones((2, 2))), ValueError, "shape"),
        (lambda: Separable("low"), TypeError, "lower must be a number"),
        (lambda: recovered(L1(np.ones(2))), ValueError, "2 weights, but A has 3 columns"),
        (lambda: recovered(Separable(-1, np.ones(2))), ValueError, "2 bounds, but A has 3 columns"),
    ):
        with pytest.raises(error, match=message):
            make()

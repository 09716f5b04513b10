"""What early stopping needs in practice: steps that are safe, and the inputs of a window from data alone."""

import math

import mpmath
import numpy as np
import pytest

import hadaflow as hf
from hadaflow.theory.early_stopping import stopping_window
from hadaflow.theory.early_stopping_practice import estimate_window_inputs, safe_step


def test_a_safe_step_never_raises_the_loss():
    """Random problems; the loss falls at each step by what is proved, as long as x stays below the given size."""
    rng = np.random.default_rng(5)
    for _ in range(60):
        depth, m, n = rng.choice([2, 2.5, 3, 4, 6]), rng.integers(2, 6), rng.integers(2, 9)
        sign = str(rng.choice(["both", "positive"]))
        A = rng.standard_normal((m, n)) * 10 ** rng.uniform(-1, 1)
        y = A @ rng.uniform(-1 if sign == "both" else 0, 1, n) + 0.1 * rng.standard_normal(m)
        model, a, loss = hf.HadamardPower(depth, sign), 10 ** rng.uniform(-1.5, 0), str(rng.choice(["half", "mean"]))
        start = model.forward(model.start(a, np.zeros(n)))
        gradient = np.linalg.norm(A, axis=0).max() * np.linalg.norm(A @ start - y)
        largest = max(2.0, start.max())
        step = safe_step(
            depth=depth,
            init_scale=a,
            largest=largest,
            norm=np.linalg.norm(A, 2),
            gradient=gradient,
            loss=loss,
            rows=m,
            sign=sign,
        ).along
        s, factors = (1.0 if loss == "half" else 2 / m), model.start(a, np.zeros(n))
        for _ in range(200):
            x = model.forward(factors)
            assert np.abs(x).max() <= largest
            residual = A @ x - y
            slopes = model.pull_back(factors, s * A.T @ residual)
            square = sum(np.sum(f**2) for f in (slopes.u, slopes.v) if f is not None)
            moved = type(factors)(
                factors.u - step * slopes.u, None if factors.v is None else factors.v - step * slopes.v
            )
            fall = s / 2 * (np.sum(residual**2) - np.sum((A @ model.forward(moved) - y) ** 2))
            assert fall >= step * square / 2 * (1 - 1e-9) - 1e-13 * np.sum(y**2)
            factors = moved


def test_descent_never_enlarges_the_effective_scale():
    """``u^(2-D) + v^(2-D)`` rises and ``u v`` falls, whatever the steps: what bounds the factors by x."""
    rng = np.random.default_rng(6)
    for depth in (2, 2.5, 3, 5):
        u, v = np.full(50, 0.3), np.full(50, 0.3)
        for _ in range(100):
            pull = rng.uniform(-1, 1, 50) * 0.9 / np.maximum(u, v) ** (depth - 2)
            before = u * v if depth == 2 else -(u ** (2 - depth) + v ** (2 - depth))
            u, v = u * (1 + pull * u ** (depth - 2)), v * (1 - pull * v ** (depth - 2))
            after = u * v if depth == 2 else -(u ** (2 - depth) + v ** (2 - depth))
            assert (after <= before + 1e-12 * np.abs(before)).all()
            u, v = np.clip(u, 1e-3, 3), np.clip(v, 1e-3, 3)


@pytest.mark.parametrize("depth", [2, 3, 5])
def test_beyond_the_end_step_a_solution_repels(depth):
    """One coordinate, so that all of the norm falls on it."""
    problem, a = hf.Problem(np.array([[2.0]]), np.array([2.0])), 0.1
    steps = safe_step(depth=depth, init_scale=a, largest=1.0, norm=2.0, gradient=4.0)
    assert steps.along < steps.end

    def distance(step):
        stop = hf.stopping.MaxSteps(4000)
        run = hf.descend(problem, hf.HadamardPower(depth), init_scale=a, step=step, stop=stop)
        return abs(run.x[0] - 1)

    assert distance(0.97 * steps.end) < 1e-6
    assert distance(1.03 * steps.end) > 1e-2


def test_the_hinted_step_is_far_shorter_than_the_published_ones():
    """``w0 / (8 N^2 w_max^(3 - 2/N))``: below the safe one by about w0, unless the start is as large as the signal."""
    for depth, product_scale, used in [(2, 1e-6, 0.05), (3, 1e-6, 0.2 / 9), (5, 1e-6, 0.008), (4, 0.005**4, 0.01)]:
        hinted = product_scale / (8 * depth**2)
        steps = safe_step(depth=depth, init_scale=product_scale ** (1 / depth), largest=1.0, norm=1.0, gradient=1.0)
        assert hinted < 1e-4 * used
        assert hinted < 1e-3 * steps.along
        # A design with ||A||^2 = m, as with orthogonal columns: the published steps are safe in the end.
        mean = safe_step(
            depth=depth,
            init_scale=product_scale ** (1 / depth),
            largest=1.0,
            norm=10,
            gradient=1,
            loss="mean",
            rows=100,
        )
        assert used < mean.end
    large = safe_step(depth=3, init_scale=3.0, largest=1.0, norm=1.0, gradient=1.0)
    assert large.along < 27 / (8 * 9)  # there the hint is the longer one: no rule for large starts


@pytest.mark.parametrize(
    ("depth", "a", "largest", "norm", "gradient"),
    [
        (2, 0.1, 1.0, 1e150, 1e-150),
        (2, 0.1, 1e-150, 1e-150, 1.0),
        (2, 0.1, 1.0, 1e-150, 1e140),
        (3, 1e-3, 1e100, 1.0, 1.0),
        (50, 1e-5, 1e60, 1e20, 1e-20),
        (3, 1e-3, 1e-200, 1e100, 1e-100),
    ],
)
def test_safe_step_against_its_formula_in_many_digits(depth, a, largest, norm, gradient):
    with mpmath.workdps(50):
        D, a, x = mpmath.mpf(depth), mpmath.mpf(a), mpmath.mpf(largest)
        c = D / (D - 2) if depth > 2 else mpmath.inf
        if depth == 2:
            d = mpmath.asinh(x / (2 * a**2))
            large, small = a * mpmath.exp(d / 2), a * mpmath.exp(-d / 2)
        else:
            low, high = mpmath.mpf(0), mpmath.mpf(1000)  # of -log(1 - t)
            for _ in range(170):
                w = (low + high) / 2
                low, high = (w, high) if a**D * (mpmath.exp(c * w) - (2 - mpmath.exp(-w)) ** -c) < x else (low, w)
            large, small = a * mpmath.exp(low / (D - 2)), a * (2 - mpmath.exp(-low)) ** (-1 / (D - 2))
        curvature = mpmath.mpf(norm) ** 2 * D**2 * (large ** (2 * D - 2) + small ** (2 * D - 2))
        rate = D * gradient * large ** (D - 2)
    steps = safe_step(depth=depth, init_scale=float(a), largest=largest, norm=norm, gradient=gradient)
    assert steps.end == pytest.approx(float(2 / curvature), rel=1e-9)
    with mpmath.workdps(50):
        g = steps.along * rate
        bound = curvature * (1 + g) ** (2 * D - 2) + (D - 1) * rate * (1 + g) ** (D - 2)
        assert float(steps.along * bound) == pytest.approx(1, rel=1e-8)


def test_steps_beyond_all_doubles_are_infinite():
    assert safe_step(depth=2, init_scale=0.1, largest=1.0, norm=5e-324, gradient=5e-324).along == math.inf
    assert safe_step(depth=2, init_scale=0.1, largest=1.0, norm=1e300, gradient=1.0).end == 0


def data(kind, m, n, k, sigma, seed):
    """Design, noise, truth; entries between 1 and 2 in size."""
    rng = np.random.default_rng([seed, m])
    A = rng.choice([-1.0, 1.0], (m, n)) if kind == "signs" else rng.standard_normal((m, n))
    correlation = kind if isinstance(kind, float) else 0.0
    for j in range(1, n if correlation else 0):
        A[:, j] = correlation * A[:, j - 1] + math.sqrt(1 - correlation**2) * A[:, j]
    x = np.zeros(n)
    x[rng.choice(n, k, replace=False)] = rng.choice([-1, 1], k) * rng.uniform(1, 2, k)
    e = sigma * rng.standard_normal(m)
    return A, e, x


@pytest.mark.parametrize("sigma", [0.5, 1.5])
@pytest.mark.parametrize(("m", "n", "k"), [(100, 200, 5), (200, 600, 8)])
@pytest.mark.parametrize(("kind", "right"), [("signs", 0.9), ("normal", 0.9), (0.5, 0.9), (0.9, 0.2)])
def test_inputs_from_data(kind, right, m, n, k, sigma):
    """Honest numbers: how often the support is right, and how far off the estimates are in 8 of 10 draws."""
    hits, ratios = [], []
    for seed in range(10):
        A, e, x = data(kind, m, n, k, sigma, seed)
        found = estimate_window_inputs(hf.Problem(A, A @ x + e))
        hits.append(np.array_equal(found.support, np.flatnonzero(x)))
        squares = (A**2).sum(axis=0)
        noise = np.abs((A.T @ e) / squares)[x == 0].max()
        ratios.append([found.sigma / sigma, found.noise / noise, found.signal / np.abs(x[x != 0]).min()])
        assert found.column_square == pytest.approx(squares.mean())
        assert found.sparsity == len(found.support)
    assert np.mean(hits) >= right
    low, high = np.quantile(ratios, [0.1, 0.9], axis=0)
    if kind == 0.9:
        assert (low > [0.9, 0.7, 0.4]).all()
        assert (high < [2.0, 2.6, 1.3]).all()
    else:
        assert (low > [0.85, 0.84, 0.7]).all()
        assert (high < [1.15, 1.15, 1.3]).all()


@pytest.mark.parametrize("seed", range(5))
def test_a_window_from_data_alone_holds_for_the_flow(seed):
    """Stop in the geometric middle of the estimated window: support found, the rest small, error near the oracle's."""
    A, e, x = data("signs", 200, 400, 5, 0.5, seed)
    problem = hf.Problem(A, A @ x + e)
    found = estimate_window_inputs(problem)
    a = 1e-6 ** (1 / 3)
    window = stopping_window(
        depth=3, init_scale=a, signal=found.signal, noise=found.noise, column_square=found.column_square
    )
    assert window.open
    path = hf.flow(problem, hf.HadamardPower(3), init_scale=a, t_end=math.sqrt(window.start * window.stop))
    on = x != 0
    oracle = np.linalg.lstsq(A[:, on], problem.y, rcond=None)[0]
    assert np.abs(path.x[~on]).max() < window.level
    assert np.linalg.norm(path.x - x) < 1.5 * np.linalg.norm(oracle - x[on]) + 0.02


def test_inputs_of_easy_cases():
    """No signal; no noise; a column of zeros; non-negative x; single precision; many entries."""
    rng = np.random.default_rng(11)
    A, e = rng.standard_normal((60, 90)), rng.standard_normal(60)
    nothing = estimate_window_inputs(hf.Problem(A, e))
    assert nothing.sparsity == 0
    assert nothing.signal == 0
    assert nothing.sigma == pytest.approx(1, abs=0.3)
    A[:, 3] = 0
    x = np.zeros(90)
    x[[1, 5]] = 1, 2
    exact = estimate_window_inputs(hf.Problem(A, A @ x))
    assert exact.support.tolist() == [1, 5]
    assert exact.noise < 1e-12
    positive = estimate_window_inputs(hf.Problem(A, A @ x + 0.1 * e), positive=True)
    assert positive.support.tolist() == [1, 5]
    single = estimate_window_inputs(hf.Problem(A.astype(np.float32), (A @ x + 0.1 * e).astype(np.float32)))
    assert single.support.tolist() == [1, 5]
    many = rng.standard_normal((400, 500))
    z = np.zeros(500)
    z[:80] = rng.choice([-1, 1], 80) * rng.uniform(1, 2, 80)
    assert estimate_window_inputs(hf.Problem(many, many @ z + 0.3 * rng.standard_normal(400))).sparsity == 80


def test_dense_data_are_taken_for_noise():
    """No sparse x to be found: nothing is claimed, and all is noise."""
    rng = np.random.default_rng(12)
    A, x = rng.standard_normal((40, 200)), rng.standard_normal(200)
    found = estimate_window_inputs(hf.Problem(A, A @ x))
    assert found.sparsity <= 2
    assert found.sigma == pytest.approx(np.linalg.norm(x), rel=0.35)


def test_window_inputs_follow_the_units_of_the_data():
    """Powers of two, so that all comes out the same to the last digit."""
    rng = np.random.default_rng(0)
    A = rng.choice([-1.0, 1.0], (60, 80))
    y = A[:, :4].sum(axis=1) + 0.5 * rng.standard_normal(60)
    one = estimate_window_inputs(hf.Problem(A, y))
    for power_a, power_y in ((-530, 0), (515, 0), (-530, -500), (515, 1000), (1000, 800), (-1000, -800)):
        other = estimate_window_inputs(hf.Problem(np.ldexp(A, power_a), np.ldexp(y, power_y)))
        np.testing.assert_array_equal(other.support, one.support)
        assert other.sigma == pytest.approx(math.ldexp(one.sigma, power_y), rel=1e-12)
        assert other.noise == pytest.approx(math.ldexp(one.noise, power_y - power_a), rel=1e-12)
        assert other.signal == pytest.approx(math.ldexp(one.signal, power_y - power_a), rel=1e-12)
    assert estimate_window_inputs(hf.Problem(A * 1e155, y)).column_square == math.inf
    assert estimate_window_inputs(hf.Problem(A * 1e-170, y)).column_square == 0


def test_bad_input_is_named():
    with pytest.raises(ValueError, match="gradient must be"):
        safe_step(depth=3, init_scale=0.1, largest=1.0, norm=1.0, gradient=0.0)
    with pytest.raises(TypeError, match="problem must be"):
        estimate_window_inputs(np.eye(3))
    with pytest.raises(ValueError, match="too few rows"):
        estimate_window_inputs(hf.Problem(np.ones((8, 20)), np.ones(8)))

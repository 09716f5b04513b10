"""The runs of paper B (depth and early stopping) by plain gradient descent, beside the numbers of another code."""

import numpy as np
import pytest

import hadaflow as hf
from hadaflow.recording import entries
from hadaflow.stopping import MaxSteps

# Reference numbers: an independent NumPy implementation on the same designs with another draw of the noise. The scatter
# between draws decides how well times, errors and medians can agree; where the noise decides (when the entries off the
# support come up), the prediction from this very noise is the reference instead.
slow = pytest.mark.slow


def measurements(seed, n, p, w, noise, dtype=np.float64):
    """Rademacher design and noisy measurements of w, from one legacy stream."""
    rng = np.random.RandomState(seed)
    X = (2.0 * rng.binomial(1, 0.5, (n, p)) - 1).astype(dtype)
    return hf.Problem(X, (X @ w + noise * rng.standard_normal(n)).astype(dtype))


def ones_first(p, k):
    return np.r_[np.ones(k), np.zeros(p - k)]


def train(problem, w, k, depth, product_scale, step, steps, every=1):
    """The history of one run: leading coordinates, signed maximum of the others, squared error."""
    metrics = {
        "leading": entries(np.arange(k)),
        "largest": lambda snapshot: snapshot.x[k:].max(initial=-np.inf),
        "error": lambda snapshot: np.sum((snapshot.x.astype(np.float64) - w) ** 2),
    }
    run = hf.descend(
        problem,
        hf.HadamardPower(depth),
        init_scale=product_scale ** (1 / depth),
        step=step,
        loss_scale=2 / problem.shape[0],
        stop=MaxSteps(steps),
        record=hf.Recorder(every=every, metrics=metrics),
    )
    assert run.status is hf.Status.STOPPED
    assert run.steps == steps
    return run.history


def first(condition, history):
    """Step at which a condition first holds."""
    assert condition.any()
    return history.steps[condition.argmax()]


def on_support(history):
    """Whether all leading entries are within 0.1 of 1."""
    return np.abs(history["leading"] - 1).max(axis=1) < 0.1


# ---- convergence --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("depth", "steps", "start", "overfit"),
    [
        pytest.param(2, 300, 46, (0.02, 0.1)),
        pytest.param(3, 5000, 817, (0, 5e-5), marks=slow),
        pytest.param(5, 30000, 18011, (0, 5e-5), marks=slow),
    ],
)
def test_convergence(depth, steps, start, overfit):
    """500 x 3000 in single precision, five ones: found after as many steps; only depth 2 overfits within the run."""
    w = ones_first(3000, 5)
    problem = measurements(42, 500, 3000, w, 0.5, np.float32)
    history = train(problem, w, 5, depth, 1e-6, 0.2 / depth**2, steps)
    assert first(on_support(history), history) == pytest.approx(start, rel=0.05)
    assert history["error"].min() < 0.25 / 500 * 20.5  # noise alone on five entries, 99.9 per cent quantile
    low, high = overfit
    assert low <= history["largest"][-1] < high
    if depth == 2:
        assert history["error"][-1] == pytest.approx(6.2e-3, rel=0.4)


# ---- initialisation -----------------------------------------------------------------------------------------------


def initialisation(depth, step, steps):
    w = ones_first(3000, 5)
    return train(measurements(42, 500, 3000, w, 0.5, np.float32), w, 5, depth, 2e-3, step, steps)


@pytest.mark.parametrize(
    ("depth", "step", "steps", "reached", "best_at", "level", "best", "last"),
    [
        pytest.param(2, 0.1 / 4, 1000, False, 87, 0.83, 0.177, 0.23),
        pytest.param(3, 0.2 / 9, 2000, True, 85, 0.94, 0.023, 0.095, marks=slow),
        pytest.param(10, 0.2 / 100, 5000, True, 531, 0.98, 0.0031, 0.010, marks=slow),
    ],
)
def test_larger_depth_tolerates_a_larger_start(depth, step, steps, reached, best_at, level, best, last):
    history = initialisation(depth, step, steps)
    i = history["error"].argmin()
    assert on_support(history).any() == reached
    assert i == pytest.approx(best_at, rel=0.1)
    assert history["leading"][i].mean() == pytest.approx(level, abs=0.04)
    assert np.sqrt(history["error"][i]) == pytest.approx(np.sqrt(best), abs=0.06)
    assert history["error"][-1] == pytest.approx(last, rel=0.9)


# ---- the window for early stopping --------------------------------------------------------------------------------


def predicted_stop(problem, w, depth, product_scale, step):
    """Steps until the entry off the support that the noise pulls most comes up to w0^(1/4)."""
    m = problem.shape[0]
    pull = (problem.A.T @ (problem.y - problem.A @ w))[np.flatnonzero(w == 0)].max()
    level = product_scale**0.25
    if depth == 2:
        time = np.log(level / product_scale) / (4 * pull)
    else:
        power = (depth - 2) / depth
        time = (product_scale**-power - level**-power) / (depth * (depth - 2) * pull)
    return time * m / (2 * step)


@pytest.mark.parametrize(
    ("depth", "seed", "steps", "every", "start"),
    [
        pytest.param(2, 42, 3000, 1, 232),
        pytest.param(2, 0, 3000, 1, 232),
        pytest.param(2, 1000, 3000, 1, 232),
        pytest.param(3, 42, 50_000, 1, 4249, marks=slow),
        pytest.param(3, 0, 50_000, 1, 4249, marks=slow),
        pytest.param(3, 1000, 50_000, 1, 4249, marks=slow),
        pytest.param(4, 42, 3_200_000, 20, 318_020, marks=slow),
    ],
)
def test_window_of_single_coordinates(depth, seed, steps, every, start):
    """It opens after as many steps, and closes about when theory has it for this noise."""
    w, product_scale = ones_first(200, 5), 0.005**depth
    problem = measurements(seed, 100, 200, w, 0.5)
    history = train(problem, w, 5, depth, product_scale, 0.01, steps, every)
    opens = first(on_support(history), history)
    closes = first(history["largest"] > product_scale**0.25, history)
    assert opens == pytest.approx(start, rel=0.12)
    assert closes == pytest.approx(predicted_stop(problem, w, depth, product_scale, 0.01), rel=0.25)
    assert closes > 2 * opens
    assert history["error"].min() < 0.04
    assert history["error"][-1] > 4 * history["error"].min()


@slow
@pytest.mark.parametrize(
    ("depth", "steps", "best", "first_step", "size", "last"),
    [
        (2, 3000, -5.63, 221, 409, -2.06),
        (3, 10_000, -6.21, 1062, 2543, -2.79),
        (4, 25_000, -6.21, 2704, 6901, -2.84),
    ],
)
def test_window_of_the_error(depth, steps, best, first_step, size, last):
    """Median over 30 data sets of the squared error: its minimum, and where it is within half a bit of it.

    Five draws of the noise gave -6.05 to -6.34 as the minimum at depth 2.
    """
    w = ones_first(200, 5)
    errors = [
        train(measurements(1000 * r, 100, 200, w, 0.5), w, 5, depth, 1e-5, 0.01, steps)["error"] for r in range(30)
    ]
    median = np.median(np.log2(errors), axis=0)
    assert median[0] == pytest.approx(np.log2(5), abs=1e-3)
    window = np.flatnonzero(median < median.min() + 0.5)
    assert median.min() == pytest.approx(best, abs=0.6)
    assert window[0] == pytest.approx(first_step, rel=0.15)
    assert window[-1] - window[0] == pytest.approx(size, rel=0.4)
    assert median[-1] == pytest.approx(last, abs=0.25)


# ---- one entry after the other ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("depth", "steps", "half_way", "width", "overfit"),
    [
        pytest.param(2, 2500, (1334, 584, 406, 327), 562, 4e-3),
        pytest.param(3, 6000, (3913, 1638, 1098, 861), 329, 3e-4, marks=slow),
        pytest.param(5, 15_000, (9470, 3935, 2629, 2055), 158, 2e-4, marks=slow),
    ],
)
def test_larger_entries_are_learned_first(depth, steps, half_way, width, overfit):
    """Times at which 1, 2, 3, 4 are half-way, and how long the first takes from a tenth to nine tenths."""
    w = np.r_[1.0, 2, 3, 4, np.zeros(2996)]
    problem = measurements(42, 500, 3000, w, 0.5, np.float32)
    history = train(problem, w, 4, depth, 1e-4, 1e-3, steps)
    leading = history["leading"]
    times = [first(leading[:, i] >= w[i] / 2, history) for i in range(4)]
    np.testing.assert_allclose(times, half_way, rtol=0.04)
    assert sorted(times, reverse=True) == times
    spent = first(leading[:, 0] >= 0.9, history) - first(leading[:, 0] >= 0.1, history)
    assert spent == pytest.approx(width, rel=0.12)
    np.testing.assert_allclose(leading[-1], w[:4], atol=0.5 / np.sqrt(500) * 4)  # noise alone
    assert overfit / 2 < history["largest"][-1] < 2 * overfit


# ---- the kernel regime --------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("depth", "steps", "best", "best_at", "last"),
    [
        pytest.param(2, 5000, 5.665, 312, 7.22, marks=slow),
        pytest.param(3, 300, 5.666, 14, 7.25),
        pytest.param(4, 100, 5.685, 2, 7.26),
    ],
)
def test_from_a_large_start_the_path_is_that_of_ridge(depth, steps, best, best_at, last):
    """Median error over 30 data sets: as low as ridge, 5.70, on the way; least squares, 7.26, in the end."""
    w = np.random.RandomState(42).standard_normal(100)
    errors, least_squares = [], []
    for repeat in range(30):
        problem = measurements(1000 * repeat, 500, 100, w, 25.0)
        errors.append(train(problem, w, 0, depth, 1000.0, 1e-7, steps)["error"])
        least_squares.append(np.sum((np.linalg.lstsq(problem.A, problem.y, rcond=None)[0] - w) ** 2))
    median = np.median(np.log2(errors), axis=0)
    assert median[0] == pytest.approx(6.370, abs=1e-3)
    assert median.min() == pytest.approx(best, abs=0.05)
    assert median.argmin() == pytest.approx(best_at, abs=max(1, 0.05 * best_at))
    assert median[-1] == pytest.approx(last, abs=0.05)
    assert median[-1] == pytest.approx(np.median(np.log2(least_squares)), abs=0.04)

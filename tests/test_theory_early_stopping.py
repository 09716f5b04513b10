"""Windows, times and scales for early stopping, against paper B's runs, the flow, and plain descent."""

import math
from itertools import product

import mpmath
import numpy as np
import pytest

import hadaflow as hf
from hadaflow.theory.early_stopping import (
    StoppingWindow,
    largest_useful_scale,
    noise_time,
    signal_time,
    stopping_window,
)
from hadaflow.theory.early_stopping_practice import safe_step

DEPTHS = [2, 2.5, 3, 4, 7]


# ---- reference numbers: predicted from one coordinate, in steps of paper B's loss ------------------------------------


def paper_b(depth, product_scale, step, **options):
    """The window of a design of m rows of signs, in steps; m cancels."""
    inputs = {"signal": 1.0, "noise": 0.1} | options
    window = stopping_window(depth=depth, init_scale=product_scale ** (1 / depth), column_square=100, **inputs)
    return window.in_steps(step, loss="mean", rows=100)


@pytest.mark.parametrize(
    ("depth", "product_scale", "step", "start"),
    [
        (2, 1e-6, 0.2 / 4, 40),
        (3, 1e-6, 0.2 / 9, 750),
        (5, 1e-6, 0.2 / 25, 16594),
        (2, 0.005**2, 0.01, 160),
        (3, 0.005**3, 0.01, 3333),
        (4, 0.005**4, 0.01, 250005),
    ],
)
def test_start_of_paper_b(depth, product_scale, step, start):
    assert round(paper_b(depth, product_scale, step).start) == start


@pytest.mark.parametrize(("depth", "stop", "level"), [(2, 510, 0.0707), (3, 16790, 0.0188), (4, 1282914, 0.005)])
def test_stop_of_paper_b(depth, stop, level):
    """The noise of that draw, 0.195 in three digits, is the same number behind all three."""
    window = paper_b(depth, 0.005**depth, 0.01, noise=0.1948)
    assert window.stop == pytest.approx(stop, abs=0.5)
    assert window.stop_asymptotic == pytest.approx(stop, abs=0.5)
    assert window.level == pytest.approx(level, rel=2e-3)


@pytest.mark.parametrize(("depth", "half_way"), [(3, (3449, 1739, 1164, 875)), (5, (8367, 4185, 2790, 2093))])
def test_half_way_times_of_paper_b(depth, half_way):
    """Entries of size 1 to 4, learned one after the other."""
    times = [paper_b(depth, 1e-4, 1e-3, signal=size, reach=0.5).start for size in (1.0, 2.0, 3.0, 4.0)]
    np.testing.assert_allclose(times, half_way, atol=0.6)


def test_one_branch_alone_gives_the_same_numbers():
    """The signed model starts at x = 0 with a second factor that soon no longer matters."""
    for depth in (2, 3, 5):
        both, one = (
            signal_time(depth=depth, init_scale=1e-6 ** (1 / depth), signal=1.0, sign=sign)
            for sign in ("both", "positive")
        )
        assert both < one < both * (1 + 1e-6)


# ---- exactness -------------------------------------------------------------------------------------------------------


def integral(sign, depth, product_scale, signal, reach):
    """``int dtheta / (signal - B)`` in 25 digits: in log x for one branch, over the angle of x for two."""
    with mpmath.workdps(25):
        w, D, S = mpmath.mpf(product_scale), mpmath.mpf(depth), mpmath.mpf(signal)
        end, low = reach * S, mpmath.mpf(0)
        if sign == "positive":
            low, high = mpmath.log(w), mpmath.log(end)

            def rate(z):
                return 1 / ((S - mpmath.exp(z)) * D**2 * mpmath.exp(z * (1 - 2 / D)))
        elif depth == 2:
            high = mpmath.asinh(end / (2 * w))

            def rate(d):
                return 1 / (4 * (S - 2 * w * mpmath.sinh(d)))
        else:
            c = D / (D - 2)
            k = D * (D - 2) * w ** (1 / c)
            high = mpmath.asinh(end / (2 * w))
            for _ in range(200):  # x(d) = 2 w cosh(d/c)^c sinh(d) is at least 2 w sinh(d): from above
                high -= (c * mpmath.log(mpmath.cosh(high / c)) + mpmath.log(2 * w * mpmath.sinh(high) / end)) / (
                    mpmath.tanh(high / c) + mpmath.coth(high)
                )

            def rate(d):
                x = 2 * w * mpmath.cosh(d / c) ** c * mpmath.sinh(d)
                return mpmath.sech(d / c) ** 2 / (c * k) / (S - x)

        if low >= high:
            return 0.0
        return float(mpmath.quad(rate, [high - (high - low) * mpmath.mpf(2) ** -k for k in range(30)] + [high]))


@pytest.mark.parametrize(
    ("product_scale", "signal", "reach"),
    [(1e-80, 1.0, 0.9), (1e-6, 0.02, 0.9999), (1e-3, 1.0, 0.5), (50.0, 0.02, 0.9), (50.0, 30.0, 0.7)],
)
def test_signal_time_is_the_integral(product_scale, signal, reach):
    for sign, depth in product(("both", "positive"), (2, 2.3, 6)):
        a = product_scale ** (1 / depth)
        found = signal_time(depth=depth, init_scale=a, signal=signal, reach=reach, sign=sign)
        assert found == pytest.approx(integral(sign, depth, product_scale, signal, reach), rel=1e-10)


def orthogonal(rng, rows, columns, square):
    """Columns at right angles, each with ``||A_i||^2 = square``."""
    return math.sqrt(square) * np.linalg.qr(rng.standard_normal((rows, columns)))[0]


@pytest.mark.parametrize("sign", ["both", "positive"])
@pytest.mark.parametrize("depth", DEPTHS)
def test_times_are_those_of_the_flow(depth, sign):
    """Columns at right angles: each coordinate reaches nine tenths of its end exactly when it should."""
    rng = np.random.default_rng(int(10 * depth))
    ends, c, a = np.array([1.0, 0.4, 2.0, 0.15]), 3.7, 0.01 ** (1 / depth)
    if sign == "both":
        ends = ends * [1, -1, -1, 1]
    A = orthogonal(rng, 6, 4, c)
    path = hf.flow(hf.Problem(A, A @ ends), hf.HadamardPower(depth, sign), init_scale=a, tolerance=1e-9)
    for i, end in enumerate(ends):
        at = path.first(lambda snapshot, i=i, end=end: abs(snapshot.x[i]) >= 0.9 * abs(end))
        exact = signal_time(depth=depth, init_scale=a, signal=abs(end), column_square=c, sign=sign)
        assert at == pytest.approx(exact, rel=2e-6)


@pytest.mark.parametrize("depth", DEPTHS)
def test_noise_time_is_that_of_a_constant_gradient(depth):
    """The time is later where the gradient fades because the coordinate nears ``noise``, and the same far from it."""
    a, noise = 1e-3 ** (1 / depth), 0.1
    options = {"depth": depth, "init_scale": a, "column_square": 2.0}
    constant = noise_time(noise=noise, level=0.05, **options)
    exact = signal_time(signal=noise, reach=0.5, **options)
    assert constant < exact < 2 * constant
    assert noise_time(noise=noise, level=1e-5, **options) == pytest.approx(
        signal_time(signal=noise, reach=1e-4, **options), rel=1e-4
    )
    theta = 2.0 * noise * constant
    assert hf.HadamardPower(depth).mirror_map(np.array(theta), a) == pytest.approx(0.05, rel=1e-9)


def check_orthogonal_window(seed):
    """Inside the window the support has come its way and the rest is below the level: as proved, on random data."""
    rng = np.random.default_rng(seed)
    depth, sign = rng.choice([2, 2.5, 3, 4, 6]), str(rng.choice(["both", "positive"]))
    product_scale, reach, c = 10 ** rng.uniform(-8, -3), rng.uniform(0.5, 0.95), rng.uniform(0.5, 20)
    ends = np.r_[rng.uniform(0.5, 3, 3), rng.uniform(-0.2, 0.2, 4)]
    if sign == "both":
        ends[:3] *= rng.choice([-1, 1], 3)
    A = orthogonal(rng, 9, 7, c)
    e = rng.standard_normal(9)
    e -= A @ (A.T @ e) / c  # what no column sees
    a = product_scale ** (1 / depth)
    window = stopping_window(
        depth=depth,
        init_scale=a,
        signal=np.abs(ends[:3]).min(),
        noise=np.abs(ends[3:]).max(),
        sign=sign,
        column_square=c,
        reach=reach,
    )
    assert isinstance(window, StoppingWindow)
    assert window.start_asymptotic == pytest.approx(window.start, rel=0.5)
    if not window.open:
        return
    path = hf.flow(hf.Problem(A, A @ ends + e), hf.HadamardPower(depth, sign), init_scale=a, t_end=1.001 * window.stop)
    inside = path(np.linspace(window.start, window.stop, 7))
    slack = 2e-4  # of the integrator, relative to the largest entry
    assert (np.abs(inside[:, :3] - ends[:3]) <= (1 - reach + slack) * np.abs(ends[:3])).all()
    assert (np.abs(inside[:, 3:]) <= window.level + slack * 3).all()
    # And it is sharp where it opens: the weakest entry of the support is only just there.
    weakest = np.abs(ends[:3]).argmin()
    early = path(0.9 * window.start)[weakest]
    assert abs(early) < reach * abs(ends[weakest])


@pytest.mark.parametrize("seeds", [range(40), pytest.param(range(40, 500), marks=pytest.mark.slow)], ids=str)
def test_windows_are_never_wrong_for_orthogonal_designs(seeds):
    for seed in seeds:
        check_orthogonal_window(seed)


def test_a_stronger_signal_is_earlier():
    """What makes the weakest entry of the support decide."""
    rng = np.random.default_rng(7)
    for _ in range(200):
        options = {"depth": rng.uniform(2, 8), "init_scale": 10 ** rng.uniform(-4, 0), "reach": rng.uniform(0.05, 0.99)}
        weak, strong = np.sort(10 ** rng.uniform(-3, 2, 2))
        assert signal_time(signal=strong, **options) < signal_time(signal=weak, **options)


# ---- for small scales ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("depth", DEPTHS)
def test_the_closed_forms_are_the_leading_terms(depth):
    gaps = []
    for product_scale in (1e-4, 1e-12, 1e-60):
        window = stopping_window(depth=depth, init_scale=product_scale ** (1 / depth), signal=0.7, noise=0.1)
        gaps.append(max(abs(window.start_asymptotic / window.start - 1), abs(window.stop_asymptotic / window.stop - 1)))
    assert gaps[0] < 0.3
    assert gaps[2] <= gaps[1] + 1e-12 <= gaps[0] + 2e-12
    assert gaps[2] < (1e-3 if depth > 2.6 else 0.01)
    limit = 7.0 if depth > 2 else 0.75 * 7.0
    assert window.ratio == pytest.approx(limit, rel=0.05 if depth < 3 else 1e-3)


def test_the_window_grows_with_depth_and_as_the_start_shrinks():
    def size(depth, product_scale):
        window = stopping_window(depth=depth, init_scale=product_scale ** (1 / depth), signal=1.0, noise=0.2)
        return window.size

    for product_scale in (1e-3, 1e-5, 1e-9):
        sizes = [size(depth, product_scale) for depth in (2, 3, 4, 5)]
        assert sizes == sorted(sizes)
    for depth in DEPTHS:
        sizes = [size(depth, product_scale) for product_scale in (1e-3, 1e-5, 1e-9)]
        assert sizes == sorted(sizes)


# ---- steps of gradient descent ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(("loss", "rows"), [("half", None), ("mean", 6)])
@pytest.mark.parametrize("depth", [2, 3])
def test_steps_are_those_of_descent(depth, loss, rows):
    """With short steps descent is there after as many of them as predicted."""
    A = orthogonal(np.random.default_rng(0), 6, 3, 6.0)
    problem, a = hf.Problem(A, A @ [1.0, 0.0, 0.0]), 0.02
    step = 1e-4 if loss == "half" else 3e-4
    window = stopping_window(depth=depth, init_scale=a, signal=1.0, noise=0.1, column_square=6.0)
    predicted = window.in_steps(step, loss=loss, rows=rows)
    assert predicted.unit == "steps"
    assert predicted.ratio == pytest.approx(window.ratio)
    there = hf.stopping.When(lambda snapshot: snapshot.x[0] >= 0.9)
    stop = there | hf.stopping.MaxSteps(200_000)
    run = hf.descend(
        problem,
        hf.HadamardPower(depth),
        init_scale=a,
        step=step,
        loss_scale=1.0 if loss == "half" else 2 / rows,
        stop=stop,
    )
    assert run.steps == pytest.approx(predicted.start, rel=2e-3)


# ---- scales ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("sign", ["both", "positive"])
def test_the_largest_useful_scale_is_the_edge(sign):
    rng = np.random.default_rng(3)
    for _ in range(40):
        depth, signal, reach = rng.uniform(2, 8), rng.uniform(0.3, 3), rng.uniform(0.5, 0.95)
        noise = signal * rng.uniform(0.02, 0.9)
        level = min(noise, reach * signal) * rng.uniform(0.1, 1)
        options = {"depth": depth, "signal": signal, "noise": noise, "sign": sign, "reach": reach, "level": level}
        edge = largest_useful_scale(**options)
        assert 0 < edge**depth <= level
        assert stopping_window(init_scale=0.999 * edge, **options).open
        if edge**depth < 0.999 * level:
            assert not stopping_window(init_scale=1.001 * edge, **options).open


def test_larger_depth_tolerates_a_larger_start():
    """In product scales, whatever noise and level; and strictly so unless the level itself is in the way."""
    rng = np.random.default_rng(4)
    for _ in range(30):
        noise, level = rng.uniform(0.02, 0.95), 10 ** rng.uniform(-3, 0)
        level = min(level, noise, 0.9)
        scales = [
            largest_useful_scale(depth=depth, signal=1.0, noise=noise, level=level) ** depth
            for depth in (2, 2.5, 3, 5, 10)
        ]
        assert scales == sorted(scales) or np.diff(scales).min() > -1e-6 * level
        assert scales[0] < scales[-1] * (1 + 1e-9)


def test_no_scale_helps_where_noise_is_stronger():
    assert largest_useful_scale(depth=3, signal=1.0, noise=1.05) == 0.0
    assert largest_useful_scale(depth=2, signal=1.0, noise=2.0, level=0.5) == 0.0
    assert not stopping_window(depth=3, init_scale=1e-3, signal=1.0, noise=1.05).open
    closed = stopping_window(depth=3, init_scale=1e-3, signal=1.0, noise=1.05)
    assert closed.size == 0
    assert closed.ratio < 1


def test_without_noise_the_window_stays_open():
    window = stopping_window(depth=3, init_scale=1e-3, signal=1.0, noise=0)
    assert window.stop == math.inf == window.size == window.in_steps(0.1).stop
    already = stopping_window(depth=2, init_scale=1.0, signal=1.0, noise=0.1, level=0.5, sign="positive")
    assert (already.start, already.stop, already.open, already.ratio) == (0.0, 0.0, False, math.inf)


# ---- bad input -------------------------------------------------------------------------------------------------------

GOOD = {"depth": 3, "init_scale": 0.1, "signal": 1.0, "noise": 0.1}


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"depth": 1.5}, "depth must be a finite number >= 2"),
        ({"depth": "3"}, "depth must be a number"),
        ({"init_scale": 0.0}, "init_scale must be"),
        ({"init_scale": 1e-200}, "between 1e-300 and 1e300"),
        ({"signal": -1.0}, "signal must be"),
        ({"noise": -0.1}, "noise must be"),
        ({"noise": math.nan}, "noise must be"),
        ({"reach": 1.0}, "reach is a fraction"),
        ({"level": 0.0}, "level must be"),
        ({"sign": "negative"}, "sign must be one of"),
        ({"column_square": 0.0}, "column_square must be"),
    ],
)
def test_bad_input_names_the_argument(change, message):
    with pytest.raises((TypeError, ValueError), match=message):
        stopping_window(**GOOD | change)


def test_bad_input_of_the_others():
    window = stopping_window(**GOOD)
    with pytest.raises(ValueError, match="rows must be given"):
        window.in_steps(0.1, loss="mean")
    with pytest.raises(ValueError, match="loss must be one of"):
        window.in_steps(0.1, loss="sum")
    with pytest.raises(ValueError, match="in steps already"):
        window.in_steps(0.1).in_steps(0.1)
    with pytest.raises(ValueError, match="noise must be"):
        largest_useful_scale(depth=3, signal=1.0, noise=0.0)
    with pytest.raises(ValueError, match="level must be at most"):
        largest_useful_scale(depth=3, signal=1.0, noise=0.1, level=0.95)


# ---- sizes at the ends of the range ------------------------------------------------------------------------------


def linear_window(depth, a, signal, noise, c, level):
    """Start and stop where all sizes are far below the start: B is its slope there; 700 digits of exponent."""
    a, c = mpmath.mpf(a), mpmath.mpf(c)
    slope = 2 * depth**2 * a ** (2 * depth - 2)
    return -mpmath.log(1 - mpmath.mpf(0.9)) / (c * slope), mpmath.mpf(level) / (slope * c * noise)


@pytest.mark.parametrize(("depth", "a", "signal"), [(50, 1e3, 1e-250), (3, 1e90, 1e-300), (2, 10.0, 1e-200)])
def test_windows_of_sizes_far_below_the_start(depth, a, signal):
    for c, noise in ((1.0, 1e-3), (1e-200, 1e-150), (1e200, 1e-307), (1e-250, 1e-250)):
        window = stopping_window(depth=depth, init_scale=a, signal=signal, noise=noise, column_square=c, level=signal)
        start, stop = linear_window(depth, a, signal, noise, c, signal)
        assert window.start == pytest.approx(float(start), rel=1e-10)
        assert window.stop == pytest.approx(float(stop), rel=1e-10)


def test_times_beyond_all_doubles_are_infinite():
    window = stopping_window(depth=50, init_scale=1e-5, signal=1e-150, noise=0, column_square=1e-150)
    assert window.start == window.start_asymptotic == window.stop == math.inf
    assert not window.open
    # Factors that leave the range one by one, and not as a product.
    assert noise_time(depth=2, init_scale=0.1, noise=1e200, column_square=1e-200, level=1.0) == pytest.approx(
        noise_time(depth=2, init_scale=0.1, noise=1.0, level=1.0)
    )
    assert noise_time(depth=2, init_scale=1e-1, noise=1e-170, column_square=1e-170, level=0.1) == math.inf


def test_windows_and_steps_are_numbers_over_the_whole_range():
    """And no step that never raises the loss is beyond the one that repels."""
    rng = np.random.default_rng(0)
    for _ in range(300):
        depth, sign = float(rng.choice([2, 2.5, 3, 7, 50])), str(rng.choice(["both", "positive"]))
        sizes = 10.0 ** rng.uniform(-307, 307, 4)
        a = math.exp(rng.uniform(-690, 690) / depth)
        window = stopping_window(
            depth=depth, init_scale=a, signal=sizes[0], noise=sizes[1], column_square=sizes[2], sign=sign
        )
        assert not any(map(math.isnan, (window.start, window.stop, window.start_asymptotic, window.stop_asymptotic)))
        steps = safe_step(depth=depth, init_scale=a, largest=sizes[0], norm=sizes[2], gradient=sizes[3], sign=sign)
        assert 0 <= steps.along <= steps.end * (1 + 1e-9)


@pytest.mark.parametrize("sign", ["both", "positive"])
def test_largest_useful_scale_is_free_of_units(sign):
    for depth, noise in product((2, 3, 50, 1e9), (0.3, 1e-3)):
        one = depth * math.log(largest_useful_scale(depth=depth, signal=1.0, noise=noise, sign=sign))
        for unit in (1e-300, 1e-100, 1e100, 1e307):
            found = largest_useful_scale(depth=depth, signal=unit, noise=unit * noise, sign=sign)
            assert depth * math.log(found) - math.log(unit) == pytest.approx(one, rel=1e-6)


@pytest.mark.parametrize("sign", ["both", "positive"])
def test_faintest_noise_has_a_useful_scale(sign):
    """Any product scale below the noise will do: the signal is 300 orders above it."""
    found = largest_useful_scale(depth=2, signal=1.0, noise=1e-300, sign=sign)
    assert found**2 == pytest.approx(1e-300, rel=1e-6)
    assert largest_useful_scale(depth=2, signal=1e300, noise=1e-307, sign=sign) == 0  # beyond what is looked for

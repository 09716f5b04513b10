"""Paper A: how near the flow comes to the smallest l1 norm, from how small a start."""

import itertools
import math

import mpmath
import numpy as np
import pytest
from conftest import minimal_l1, planted
from scipy.optimize import linprog

import hadaflow as hf
from hadaflow.theory.l1_bounds import (
    l1_excess_bound,
    largest_init_scale,
    log10_largest_init_scale,
    recovery_error_bound,
    start_weights,
)


def sum_of_branches(x, depth, a):
    """``||u^D||_1 + ||v^D||_1`` at a point of the signed model: ``u^D + v^D = x / tanh(d)`` with its angle d."""
    d = hf.HadamardPower(depth).angle(x, a)
    return float((x / np.tanh(d)).sum())


# ---- how small the start has to be -------------------------------------------------------------------------------

# (Q, N, excess) and the scales of depths 2, 3, 4, 6, 10; depth 2 as decimal logarithm.
TABLE = [
    ((1, 100, 0.1), -81.8, 6.6e-4, 0.022, 0.135, 0.344),
    ((5, 1000, 0.5), -170, 3.3e-4, 0.016, 0.113, 0.316),
    ((10, 10000, 1), -820, 6.7e-5, 0.0071, 0.076, 0.259),
]


def test_table_of_scales():
    for (q, n, excess), two, *scales in TABLE:
        given = {"excess": excess, "l1_norm": q, "n": n, "sign": "positive"}
        smallest = log10_largest_init_scale(depth=2, form="recalled", **given)
        assert smallest == pytest.approx(two, abs=0.5 if two < -99 else 0.05)
        for depth, scale in zip((3, 4, 6, 10), scales, strict=True):
            digits = len(f"{scale:.3g}".lstrip("0.").split("e")[0].replace(".", ""))
            assert f"{largest_init_scale(depth=depth, **given):.{digits}g}" == f"{scale:.{digits}g}"
    # Scales below the smallest double live on as logarithms.
    assert largest_init_scale(depth=2, **given) == 0.0
    assert smallest == pytest.approx(-820.4, abs=0.1)


def test_the_two_forms_differ_by_a_factor_e_at_depth_two_alone():
    given = {"excess": 0.1, "l1_norm": 1.0, "n": 20}
    ratio = largest_init_scale(depth=2, form="recalled", **given) / largest_init_scale(depth=2, **given)
    assert ratio == pytest.approx(math.e, rel=1e-9)
    assert largest_init_scale(depth=3, form="recalled", **given) == largest_init_scale(depth=3, **given)


@pytest.mark.parametrize("sign", ["both", "positive"])
@pytest.mark.parametrize("depth", [2, 2.5, 3, 4, 7.3])
def test_scale_and_excess_are_each_other_solved(depth, sign):
    for q, n, excess in itertools.product((0.03, 1.0, 20.0), (3, 50), (0.5, 4.0)):
        setting = {"depth": depth, "l1_norm": q, "n": n, "sign": sign}
        a = largest_init_scale(excess=excess, **setting)
        if a == 0:
            continue
        bound = l1_excess_bound(init_scale=a, **setting)
        # At depth 2 the excess has Q log Q where the scale has Q^2.
        spare = (
            0.0 if depth > 2 else excess * q * (q - math.log(q)) / (q**2 + (2 if sign == "both" else 1) * n / math.e)
        )
        assert bound == pytest.approx(excess - spare, rel=1e-9)


def test_where_the_bound_says_nothing_it_is_infinite():
    assert l1_excess_bound(depth=2, init_scale=math.exp(-0.5), l1_norm=1.0, n=3) == math.inf
    assert l1_excess_bound(depth=2, init_scale=0.6, l1_norm=1.0, n=3) < math.inf
    assert l1_excess_bound(depth=4, init_scale=math.sqrt(0.5), l1_norm=1.0, n=3) == math.inf
    assert l1_excess_bound(depth=40, init_scale=1e300, l1_norm=1.0, n=3) == math.inf


def worst_ratio(sign, seeds, depths=(2, 2.5, 3, 4, 6)):
    """Largest excess over its bound, for x and for the sum of both branches, over random instances."""
    ratios = []
    for seed in seeds:
        rng = np.random.default_rng([seed, 24])
        n = int(rng.integers(2, 9))
        m = int(rng.integers(1, n))
        case = planted(m, n, int(rng.integers(1, n)), seed=seed, positive=sign == "positive")
        size = 10 ** rng.uniform(-2, 1.5)
        y = size * case.y
        q = minimal_l1(case.A, y, positive=sign == "positive")
        for depth in depths:
            a = 10 ** rng.uniform(-4, -0.25) if depth > 2 else 10 ** rng.uniform(-12, -0.25)
            bound = l1_excess_bound(depth=depth, init_scale=a, l1_norm=q, n=n, sign=sign)
            if bound == math.inf:
                continue
            end = hf.limit(hf.Problem(case.A, y), hf.HadamardPower(depth, sign), init_scale=a)
            if end.status is not hf.Status.LIMIT:
                continue  # rare; what counts is how many are left
            both = sum_of_branches(end.x, depth, a) if sign == "both" else end.x.sum()
            ratios.append(((np.abs(end.x).sum() - q) / bound, (both - q) / bound))
    return len(ratios), *np.max(ratios, axis=0)


@pytest.mark.parametrize("sign", ["both", "positive"])
@pytest.mark.parametrize(
    ("seeds", "least"), [(range(60), 298), pytest.param(range(60, 560), 2450, marks=pytest.mark.slow)]
)
def test_bound_is_never_violated(sign, seeds, least):
    count, x, both = worst_ratio(sign, seeds)
    assert count >= least
    assert 0.02 < x <= both + 1e-9
    assert both < 1


def test_both_branches_need_twice_the_coordinates():
    """With N = n the bound fails for ||u^2|| + ||v^2|| of the signed model, already for one coordinate."""
    A, y, a = np.array([[1.0]]), np.array([1 / math.e]), 0.5
    end = hf.limit(hf.Problem(A, y), hf.HadamardPower(2), init_scale=a)
    both = sum_of_branches(end.x, 2, a)
    assert both == pytest.approx(math.sqrt(y[0] ** 2 + 4 * a**4))  # u^2 v^2 = a^4 is conserved
    setting = {"depth": 2, "init_scale": a, "l1_norm": y[0]}
    assert both - y[0] > 0.2
    assert l1_excess_bound(n=1, sign="positive", **setting) == pytest.approx(0, abs=1e-12)
    assert both - y[0] < l1_excess_bound(n=1, sign="both", **setting)
    # The recalled scale needs it as well.
    a = largest_init_scale(excess=0.22, depth=2, l1_norm=0.3, n=1, sign="positive", form="recalled")
    assert math.sqrt(0.3**2 + 4 * a**4) - 0.3 > 2 * 0.22


# ---- the recalled form ---------------------------------------------------------------------------------------------


def test_recalled_form_holds_in_its_range():
    for seed in range(40):
        rng = np.random.default_rng([seed, 7])
        n = int(rng.integers(2, 9))
        case = planted(max(1, n // 2), n, 1, seed=seed, positive=True)
        y = case.y * 10 ** rng.uniform(-1, 1)
        q = minimal_l1(case.A, y, positive=True)
        excess = q * (q - math.log(q)) / 2 * rng.uniform(0.2, 1)
        a = largest_init_scale(excess=excess, depth=2, l1_norm=q, n=n, sign="positive", form="recalled")
        if a < 1e-140:
            continue
        end = hf.limit(hf.Problem(case.A, y), hf.HadamardPower(2, "positive"), init_scale=a)
        assert end.x.sum() - q <= excess


def test_recalled_form_fails_beyond_its_range_and_is_refused_there():
    """A = (1, -1), y = Q: solutions (Q + t, t), and u1^2 u2^2 = a^4 is conserved. With excess > Q it is exceeded."""
    q, excess = 0.01, 0.36
    a = min(math.exp(-0.5), math.exp(0.5 - (q**2 + 2 / math.e) / (2 * excess)))
    end = hf.limit(hf.Problem(np.array([[1.0, -1.0]]), [q]), hf.HadamardPower(2, "positive"), init_scale=a)
    assert end.x[0] * end.x[1] == pytest.approx(a**4)
    assert end.x.sum() - q > 1.8 * excess
    given = {"excess": excess, "depth": 2, "l1_norm": q, "n": 2, "sign": "positive"}
    with pytest.raises(
        ValueError, match=r"excess <= Q \(Q - log Q\) / 2 = 0\.0230759 at l1_norm Q = 0\.01, got excess 0\.36"
    ):
        largest_init_scale(form="recalled", **given)
    a = largest_init_scale(**given)
    end = hf.limit(hf.Problem(np.array([[1.0, -1.0]]), [q]), hf.HadamardPower(2, "positive"), init_scale=a)
    assert end.x.sum() - q < excess


def test_half_the_norm_is_always_within_the_range():
    for q in np.geomspace(1e-6, 1e6, 49):
        assert log10_largest_init_scale(excess=q / 2, depth=2, l1_norm=q, n=5, form="recalled") < 0


# ---- recovery --------------------------------------------------------------------------------------------------------


def null_space_constant_of(A, support):
    """max ||z_S||_1 over A z = 0, ||z_C||_1 <= 1: a linear programme per pattern of signs on S."""
    m, n = A.shape
    rest = np.setdiff1d(np.arange(n), support)
    best = 0.0
    for signs in itertools.product([1, -1], repeat=len(support)):
        cost = np.zeros(2 * n)
        cost[support], cost[support + n] = signs, -np.array(signs)
        on_rest = np.zeros((1, 2 * n))
        on_rest[0, np.concatenate([rest, rest + n])] = 1
        bounds = [(0, None) if i % n in rest else (0, 1e3) for i in range(2 * n)]
        found = linprog(-cost, A_ub=on_rest, b_ub=[1.0], A_eq=np.hstack([A, -A]), b_eq=np.zeros(m), bounds=bounds)
        assert found.status == 0
        best = max(best, -found.fun)
    return best


def test_error_bound_holds_with_tail_and_noise():
    ratios = []
    for seed in range(30):
        rng = np.random.default_rng([seed, 25])
        m, n, s = 9, 16, 2
        A = rng.standard_normal((m, n)) / math.sqrt(m)
        truth = 10 ** rng.uniform(-5, -1) * rng.standard_normal(n)
        support = rng.choice(n, s, replace=False)
        truth[support] = rng.choice([-1, 1], s)
        rho = null_space_constant_of(A, support)
        if rho >= 1:
            continue
        noise = 10 ** rng.uniform(-5, -1) * rng.standard_normal(m)
        y = A @ truth + noise
        depth = float(rng.choice([2, 3, 4]))
        end = hf.limit(hf.Problem(A, y), hf.HadamardPower(depth), init_scale=10 ** rng.uniform(-3, -0.5))
        bound = recovery_error_bound(
            excess=np.abs(end.x).sum() - minimal_l1(A, y),
            null_space_constant=rho,
            tail=np.abs(np.delete(truth, support)).sum(),
            noise=minimal_l1(A, noise),
        )
        sure = math.sqrt(n) * np.linalg.norm(noise) / np.linalg.svd(A, compute_uv=False)[-1]
        assert minimal_l1(A, noise) <= sure
        ratios.append(np.abs(end.x - truth).sum() / bound)
    assert len(ratios) >= 10
    assert 0.05 < max(ratios) <= 1


def test_error_bound_cannot_be_smaller():
    """Kernel spanned by (-r, 1), x = (1, 0): the solution x + t (-r, 1) has excess (1 - r) t and error (1 + r) t."""
    r, t = 0.6, 0.2
    assert recovery_error_bound(excess=(1 - r) * t, null_space_constant=r) == pytest.approx((1 + r) * t)


# ---- starts ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("depth", [2.5, 3, 4])
def test_start_in_proportion_minimises_the_weighted_norm(depth):
    case = planted(8, 20, 6, seed=2)
    c = np.random.default_rng(0).uniform(0.5, 1, 20)
    weights = start_weights(c, depth=depth)
    exact = hf.recover(case.A, case.y, weights=weights)
    assert exact.certificate.unique
    end = hf.limit(hf.Problem(case.A, case.y), hf.HadamardPower(depth), init_scale=1e-20 ** (1 / depth) * c)
    np.testing.assert_allclose(end.x, exact.x, atol=1e-5)
    assert np.abs(hf.recover(case.A, case.y).x - exact.x).max() > 0.05  # another one than the plain norm's
    start = 1e-20 ** (1 / depth) * weights ** (-1 / (depth - 2))
    same = hf.limit(hf.Problem(case.A, case.y), hf.HadamardPower(depth), init_scale=start)
    np.testing.assert_allclose(same.x, exact.x, atol=1e-5)


def test_depth_two_minimises_the_plain_norm_from_any_start_in_proportion():
    A, y, c = np.array([[1.0, 1.2]]), np.array([1.0]), np.array([1.0, 0.5])
    np.testing.assert_array_equal(start_weights(c, depth=3), [1, 2])
    np.testing.assert_array_equal(start_weights(c, depth=2), [1, 1])
    shallow = hf.limit(hf.Problem(A, y), hf.HadamardPower(2), init_scale=1e-16 * c).x
    np.testing.assert_allclose(shallow, hf.recover(A, y).x, atol=2e-5)
    deep = hf.limit(hf.Problem(A, y), hf.HadamardPower(3), init_scale=0.01 * c).x
    np.testing.assert_allclose(deep, hf.recover(A, y, weights=start_weights(c, depth=3)).x, atol=5e-6)
    # Weights at depth 2 are exponents of the start.
    steep = hf.limit(hf.Problem(A, y), hf.HadamardPower(2), init_scale=1e-40 ** np.array([1.0, 2.0])).x
    np.testing.assert_allclose(steep, [1, 0], atol=1e-6)


# ---- input -----------------------------------------------------------------------------------------------------------

GOOD = {
    "l1_excess_bound": {"depth": 3, "init_scale": 0.1, "l1_norm": 1.0, "n": 10},
    "largest_init_scale": {"excess": 0.1, "depth": 3, "l1_norm": 1.0, "n": 10},
    "recovery_error_bound": {"excess": 0.1, "null_space_constant": 0.5},
    "start_weights": {"init_scale": [0.1, 0.2], "depth": 3},
}


def test_bad_input_is_named():
    for function, wrong, message in (
        (l1_excess_bound, {"depth": 1.5}, "depth must be at least 2, got 1.5"),
        (l1_excess_bound, {"init_scale": 0.0}, "init_scale must be a finite number > 0"),
        (l1_excess_bound, {"init_scale": "small"}, "init_scale must be a number"),
        (l1_excess_bound, {"l1_norm": -1.0}, "l1_norm must be a finite number >= 0"),
        (l1_excess_bound, {"n": 2.5}, "n must be a whole number"),
        (l1_excess_bound, {"sign": "negative"}, "sign must be one of"),
        (largest_init_scale, {"excess": 0.0}, "excess must be a finite number > 0"),
        (largest_init_scale, {"form": "paper"}, "form must be one of 'proved', 'recalled'"),
        (largest_init_scale, {"depth": math.nan}, "depth must be a finite number"),
        (recovery_error_bound, {"null_space_constant": 1.0}, r"null_space_constant must lie in \[0, 1\)"),
        (recovery_error_bound, {"tail": -1.0}, "tail must be a finite number >= 0"),
        (recovery_error_bound, {"noise": math.inf}, "noise must be a finite number"),
        (start_weights, {"init_scale": [0.1, -0.2]}, "init_scale must be positive, but entry 1 is -0.2"),
        (start_weights, {"init_scale": [0.1, math.nan]}, "init_scale contains nan"),
        (start_weights, {"init_scale": None}, "init_scale must be an array"),
        (start_weights, {"init_scale": [1e-200, 1.0], "depth": 5}, "weights beyond 1e300"),
    ):
        error = TypeError if message.endswith(("must be a number", "must be an array")) else ValueError
        with pytest.raises(error, match=message):
            function(**GOOD[function.__name__] | wrong)


def test_no_tail_and_an_empty_support_are_fine():
    assert recovery_error_bound(excess=0.0, null_space_constant=0.0) == 0.0
    assert l1_excess_bound(depth=3, init_scale=0.01, l1_norm=0.0, n=5) > 0
    assert l1_excess_bound(depth=2, init_scale=0.01, l1_norm=0.0, n=5) > 0
    with pytest.raises(ValueError, match="recalled"):
        largest_init_scale(excess=1e-9, depth=2, l1_norm=0.0, n=5, form="recalled")


# ---- sizes at the ends of the range ------------------------------------------------------------------------------


@pytest.mark.parametrize("depth", [2, 2.5, 3, 50])
def test_logarithms_of_scales_at_all_sizes(depth):
    """Against 60 digits; what no double holds is minus infinity."""
    with mpmath.workdps(60):
        for excess, q, n in itertools.product(
            (1e-320, 1e-300, 1e-3, 1e150, 1e308), (0, 1e-200, 1, 1e150, 1e308), (1, 10**9)
        ):
            e, total = mpmath.mpf(excess), mpmath.mpf(q) + n + mpmath.mpf(excess)
            if depth == 2:
                log = -0.5 - (mpmath.mpf(q) ** 2 + n / mpmath.e) / (2 * e)
            else:
                log = mpmath.log(2 * e / (depth * total)) / (depth - 2)
            found = log10_largest_init_scale(excess=excess, depth=depth, l1_norm=q, n=n, sign="positive")
            assert found == pytest.approx(float(log / mpmath.log(10)), rel=1e-12, abs=1e-12)


def test_bounds_of_huge_norms_are_reached_without_overflow():
    setting = {"l1_norm": 1e306, "n": 5}
    assert l1_excess_bound(depth=2, init_scale=1e-8, **setting) == pytest.approx(
        1e306 * (math.log(1e306) / (16 * math.log(10) - 1))
    )
    assert l1_excess_bound(depth=3, init_scale=1e-3, l1_norm=1.7e308, n=10**308) > 4e305
    assert log10_largest_init_scale(excess=1, depth=2, form="recalled", l1_norm=1e308, n=5) == -math.inf
    assert largest_init_scale(excess=1, depth=2, l1_norm=1e308, n=5) == 0

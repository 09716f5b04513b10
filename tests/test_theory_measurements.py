"""Paper A: how many Gaussian measurements recovery takes."""

import itertools
import math

import mpmath
import numpy as np
import pytest
from conftest import planted
from scipy.optimize import brentq

import hadaflow as hf
from hadaflow.theory import _descent_cone, measurements
from hadaflow.theory.measurements import (
    measurements_needed,
    recovery_probability,
    recovery_probability_bounds,
    transition_sparsity,
)

SIGNS = ["both", "positive"]


def binomial(probability, trials, width=3.0):
    """How far a frequency may be from its probability: ``width`` standard deviations and half a trial."""
    return width * math.sqrt(probability * (1 - probability) / trials) + 0.5 / trials


def sampled_cone(n, s, sign, trials, seed=0):
    """Squared distances of normal vectors from the polar of the descent cone, each minimised over its own tau."""
    rng = np.random.default_rng(seed)
    squares = np.empty(trials)
    for k in range(trials):
        g = rng.standard_normal(n)
        off = np.sort(np.abs(g[s:]) if sign == "both" else g[s:])[::-1]
        # The slope in tau is piecewise linear: its zero with the j largest entries off the support in action.
        taus = (g[:s].sum() + np.append(0, np.cumsum(off))) / (s + np.arange(n - s + 1))
        edges = np.concatenate([[np.inf], off, [-np.inf]])
        tau = max(0.0, taus[(edges[:-1] >= taus) & (taus >= edges[1:])][0])
        squares[k] = ((g[:s] - tau) ** 2).sum() + (np.maximum(off - tau, 0) ** 2).sum()
    return squares


@pytest.mark.parametrize("sign", SIGNS)
@pytest.mark.parametrize(("n", "s"), [(100, 1), (100, 5), (100, 20), (20, 2), (100, 50)])
def test_cone_against_samples(n, s, sign):
    squares = sampled_cone(n, s, sign, 12_000)
    needed = measurements_needed(n, s, sign=sign)
    mean, error = squares.mean(), squares.std() / math.sqrt(len(squares))
    assert needed.at_least - 3 * error <= mean <= needed.at_most + 3 * error
    assert abs(needed.transition - mean) <= 0.1 + 3 * error
    # Var ||projection||^2 = Var V + 2 delta for the conic intrinsic volumes V.
    assert needed.spread == pytest.approx(math.sqrt(squares.var() - 2 * mean), rel=0.1)


@pytest.mark.parametrize(("sign", "threshold"), [("both", 0.3857), ("positive", 0.5582)])
def test_half_the_measurements_recover_donoho_and_tanners_share(sign, threshold):
    n = 1_000_000
    share = brentq(
        lambda r: measurements_needed(n, round(r * n / 2), sign=sign).transition - n / 2, 0.1, 0.9, xtol=1e-7
    )
    assert share == pytest.approx(threshold, abs=1e-4)


def test_few_nonzeros_follow_two_logarithms():
    """delta ~ 2 s log(n / s) for s << n (Donoho and Tanner), for either sign."""
    for sign in SIGNS:
        ratios = [measurements_needed(10**k, 1, sign=sign).transition / (2 * math.log(10**k)) for k in (3, 6, 9)]
        assert ratios == sorted(ratios)
        assert 0.55 < ratios[0] < ratios[-1] < 1


# Basis pursuit, n = 100, s = 5, 25 trials.
@pytest.mark.parametrize(("m", "successes"), [(10, 0), (15, 0.16), (20, 0.56), (25, 0.92), (30, 1), (40, 1)])
def test_probability_against_recorded_basis_pursuit(m, successes):
    probability = recovery_probability(m, 100, 5)
    assert abs(successes - probability) <= binomial(probability, 25)


@pytest.mark.parametrize(("sign", "m"), [("both", 11), ("both", 14), ("both", 13), ("positive", 8), ("positive", 11)])
def test_probability_against_recovery(sign, m):
    n, s, trials = 40, 3, 200
    positive = sign == "positive"
    hits = 0
    for seed in range(trials):
        case = planted(m, n, s, seed=1000 * m + seed, positive=positive)
        found = hf.recover(case.A, case.y, positive=positive).x
        hits += bool(np.linalg.norm(found - case.x) <= 1e-6 * np.linalg.norm(case.x))
    probability = recovery_probability(m, n, s, sign=sign)
    assert 0.05 < probability < 0.95
    assert abs(hits / trials - probability) <= binomial(probability, trials)
    bounds = recovery_probability_bounds(m, n, s, sign=sign)
    assert (
        bounds.lower - binomial(bounds.lower, trials) <= hits / trials <= bounds.upper + binomial(bounds.upper, trials)
    )


@pytest.mark.parametrize("sign", SIGNS)
@pytest.mark.parametrize(("n", "s"), [(10, 1), (100, 5), (100, 40), (1000, 3), (2000, 900)])
def test_bounds_enclose_the_estimate(n, s, sign):
    previous = 0.0
    for m in range(0, n + 1, max(1, n // 50)):
        probability = recovery_probability(m, n, s, sign=sign)
        bounds = recovery_probability_bounds(m, n, s, sign=sign)
        assert 0 <= bounds.lower <= probability + 0.01
        assert probability - 0.01 <= bounds.upper <= 1
        assert probability >= previous
        previous = probability
    needed = measurements_needed(n, s, sign=sign)
    assert needed.at_least <= needed.transition <= needed.at_most


def test_bounds_close_in_on_the_transition():
    """Recovery is all but sure, or all but impossible, a few sqrt(n) away from it."""
    for sign in SIGNS:
        n, s = 100_000, 5_000
        delta = measurements_needed(n, s, sign=sign).transition
        far = 7 * math.sqrt(n)
        assert recovery_probability_bounds(round(delta + far), n, s, sign=sign).lower > 0.99
        assert recovery_probability_bounds(round(delta - far), n, s, sign=sign).upper < 0.01


@pytest.mark.parametrize("sign", SIGNS)
@pytest.mark.parametrize("probability", [0.01, 0.5, 0.9, 0.999])
def test_count_is_the_smallest_with_the_probability(probability, sign):
    for n, s in [(1, 1), (2, 1), (5, 4), (100, 5), (100, 97), (1000, 20)]:
        count = measurements_needed(n, s, sign=sign, probability=probability).count
        assert recovery_probability(count, n, s, sign=sign) >= probability
        assert count == s or recovery_probability(count - 1, n, s, sign=sign) < probability


def test_certain_and_impossible_cases():
    assert recovery_probability(4, 100, 5) == 0  # five columns in four dimensions are dependent
    assert recovery_probability(100, 100, 100) == recovery_probability(120, 100, 5) == 1
    assert recovery_probability(99, 100, 100) == 0
    assert recovery_probability_bounds(4, 100, 5).upper == 0
    assert recovery_probability_bounds(100, 100, 5).lower == 1
    assert measurements_needed(7, 7).count == 7


def test_positive_needs_fewer_and_the_rule_is_of_the_right_size():
    for n, share in itertools.product((100, 10_000, 10**8), (0.001, 0.01, 0.1, 0.4)):
        s = max(1, round(share * n))
        both, positive = measurements_needed(n, s), measurements_needed(n, s, sign="positive")
        assert positive.transition < both.transition
        for needed in (both, positive):
            assert 0.67 <= needed.rule / needed.transition <= 1.28
    assert measurements_needed(10**8, 1).rule / measurements_needed(10**8, 1).transition >= 0.66


@pytest.mark.parametrize("sign", SIGNS)
@pytest.mark.parametrize(("n", "s"), [(10**9, 3), (10**12, 10**9), (10**15, 2), (10**15, 5 * 10**14)])
def test_bounds_enclose_the_estimate_at_any_length(n, s, sign):
    """Near the transition lengths agree in all but a few digits."""
    needed = measurements_needed(n, s, sign=sign)
    for width in (-30, -8, -3, -1, 0, 1, 3, 8, 30):
        m = min(n - 1, max(s, round(needed.transition + width * needed.spread)))
        bounds, probability = recovery_probability_bounds(m, n, s, sign=sign), recovery_probability(m, n, s, sign=sign)
        assert bounds.lower <= probability + 1e-3
        assert probability <= bounds.upper + 1e-3
        assert bounds.lower <= bounds.upper
    # The bounds close in on the transition, at the width sqrt(delta (1 - delta / n)) that they need at least.
    far = 7 * math.sqrt(n)
    if needed.transition + far < n - 1:
        assert recovery_probability_bounds(round(needed.transition + far), n, s, sign=sign).lower > 0.99


@pytest.mark.parametrize("k", [1, 7, 399, 400, 10**5, 10**9, 10**15])
def test_lead_of_a_mean_length_against_mpmath(k):
    with mpmath.workdps(60):
        half = mpmath.mpf(k) / 2
        length = mpmath.sqrt(2) * mpmath.exp(mpmath.loggamma(half + 0.5) - mpmath.loggamma(half))
        true = {a: max(0.0, float(length - mpmath.sqrt(k - mpmath.mpf(a)))) for a in (-3.0, 0.4, 5.0) if a <= k}
    for ahead, lead in true.items():
        assert measurements._lead(k, k - ahead, ahead) == pytest.approx(lead, rel=1e-7, abs=1e-12)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: measurements_needed(10, 11), "sparsity must be at most n = 10, got 11"),
        (lambda: measurements_needed(10, 0), "sparsity must be a finite number >= 1"),
        (lambda: measurements_needed(0, 1), "n must be a finite number >= 1"),
        (lambda: measurements_needed(10, 2, probability=1.0), "probability must lie between 0 and 1"),
        (lambda: measurements_needed(10, 2, probability=0.0), "probability must be a finite number > 0"),
        (lambda: measurements_needed(10, 2, sign="any"), "sign must be one of 'both', 'positive', got 'any'"),
        (lambda: recovery_probability(-1, 10, 2), "m must be a finite number >= 0"),
        (lambda: recovery_probability(2.5, 10, 2), "m must be a whole number"),
        (lambda: recovery_probability_bounds(2, 10, 2, sign=None), "sign must be one of"),
    ],
)
def test_bad_input_is_named(call, message):
    with pytest.raises(ValueError, match=message):
        call()


@pytest.mark.parametrize("sign", SIGNS)
@pytest.mark.parametrize("n", [1, 2, 10, 57])
def test_transition_sparsity_inverts_the_transition(n, sign):
    for m in range(n + 2):
        s = transition_sparsity(m, n, sign=sign)
        if m >= n:
            assert s == n
        elif s == 0:
            assert measurements_needed(n, 1, sign=sign).transition > m
        else:
            below, above = (measurements_needed(n, k, sign=sign).transition for k in (int(s), int(s) + 1))
            assert below + (s - int(s)) * (above - below) == pytest.approx(m)
            assert recovery_probability(m, n, math.ceil(s), sign=sign) <= 0.5


def test_transition_sparsity_complains():
    with pytest.raises(ValueError, match="m must be a finite number >= 0, got -1"):
        transition_sparsity(-1, 10)
    with pytest.raises(ValueError, match="sign must be one of"):
        transition_sparsity(1, 10, sign="negative")


# ---- groups ----------------------------------------------------------------------------------------------------------


def by_incomplete_gamma(tau, d):
    """P(X > 0), E X, E X^2 and E X^4 of X = (chi_d - tau)_+, in 60 digits."""
    with mpmath.workdps(60):
        tau, half = mpmath.mpf(tau), mpmath.mpf(d) / 2
        beyond = [
            mpmath.sqrt(2) ** j * mpmath.gammainc(half + mpmath.mpf(j) / 2, tau**2 / 2) / mpmath.gamma(half)
            for j in range(5)
        ]
        return [
            float(sum(mpmath.binomial(p, j) * (-tau) ** (p - j) * beyond[j] for j in range(p + 1)))
            for p in (0, 1, 2, 4)
        ]


@pytest.mark.parametrize("d", [1, 2, 3, 10, 400])
def test_excesses_of_lengths_to_twelve_digits(d):
    for tau in (0.0, 0.3, 2.0, math.sqrt(d), math.sqrt(d) + 4, math.sqrt(d) + 12):
        found = _descent_cone.exceedance(tau, d)
        digits = 1e-12 if d > 1 or tau < 3 else 1e-8  # the elementary formulas of numbers cancel far out
        expected = pytest.approx(by_incomplete_gamma(tau, d), rel=digits)
        assert [found.probability, found.mean, found.square, found.fourth] == expected


def test_pairs_have_a_closed_form():
    for tau in (0.0, 0.5, 1.7, 4.0):
        tail = math.sqrt(2 * math.pi) * 0.5 * math.erfc(tau / math.sqrt(2))
        found = _descent_cone.exceedance(tau, 2)
        assert found.probability == pytest.approx(math.exp(-(tau**2) / 2), rel=1e-12)
        assert found.mean == pytest.approx(tail, rel=1e-12)
        assert found.square == pytest.approx(2 * (math.exp(-(tau**2) / 2) - tau * tail), rel=1e-11)


@pytest.mark.parametrize("d", [1, 2, 4, 30])
@pytest.mark.parametrize(("n", "s"), [(1, 1), (7, 1), (60, 6), (60, 40), (1000, 3)])
def test_the_bound_is_the_least_over_all_thresholds(n, s, d):
    needed = measurements_needed(n, s, group_size=d)
    grid = np.linspace(0, math.sqrt(d) + 5, 400)
    values = [s * (d + tau**2) + (n - s) * _descent_cone.exceedance(tau, d).square for tau in grid]
    assert needed.at_most <= min(values) + 1e-9
    assert n == s or needed.at_most == pytest.approx(min(values), rel=1e-3)
    assert needed.at_least <= needed.transition <= needed.at_most <= n * d


def test_groups_of_one_are_numbers():
    for n, s in ((10, 1), (100, 5), (1000, 900), (7, 7)):
        one = measurements_needed(n, s, group_size=1, probability=0.9)
        assert one == measurements_needed(n, s, probability=0.9)
    # As before there were groups.
    needed = measurements_needed(100, 5)
    assert [needed.transition, needed.spread, needed.at_least, needed.at_most] == pytest.approx(
        [19.89473769, 4.03193223, 18.37036596, 20.38998563], rel=1e-9
    )


def test_larger_groups_need_more_measurements_and_fewer_per_coordinate():
    needed = [measurements_needed(100, 8, group_size=d).transition for d in (1, 2, 3, 4, 8, 16, 64, 256)]
    assert needed == sorted(needed)
    share = [number / d for number, d in zip(needed, (1, 2, 3, 4, 8, 16, 64, 256), strict=True)]
    assert share == sorted(share, reverse=True)
    assert share[-1] > 8  # never fewer than coordinates that are not zero
    assert [measurements_needed(100, s, group_size=3).transition for s in range(1, 101)] == sorted(
        measurements_needed(100, s, group_size=3).transition for s in range(1, 101)
    )
    whole = [measurements_needed(60, 6, group_size=4), measurements_needed(240, 24)]
    assert whole[0].transition < 0.75 * whole[1].transition  # knowing the groups helps


@pytest.mark.parametrize("d", [2, 5])
def test_group_cone_against_samples(d):
    n, s, trials = 40, 5, 6000
    rng = np.random.default_rng(3)
    taus = np.linspace(0, math.sqrt(d) + 4, 300)
    lengths = np.sqrt(rng.chisquare(d, (trials, n - s)))
    along, across = rng.standard_normal((trials, s)), rng.chisquare(d - 1, (trials, s))
    squares = np.full(trials, np.inf)
    for tau in taus:
        inner = ((along - tau) ** 2 + across).sum(axis=1)
        squares = np.minimum(squares, inner + (np.maximum(lengths - tau, 0) ** 2).sum(axis=1))
    needed = measurements_needed(n, s, group_size=d)
    assert needed.transition == pytest.approx(squares.mean(), abs=0.1 + 3 * squares.std() / math.sqrt(trials))
    assert needed.spread == pytest.approx(math.sqrt(squares.var() - 2 * squares.mean()), rel=0.1)


def test_groups_are_recovered_where_predicted():
    n, s, d, trials = 60, 6, 4, 30
    most = measurements_needed(n, s, group_size=d).at_most
    for share in (0.8, 1.25):
        m, hits = round(share * most), 0
        for seed in range(trials):
            rng = np.random.default_rng([seed, m])
            A, x = rng.standard_normal((m, n * d)), np.zeros((n, d))
            x[rng.choice(n, s, replace=False)] = rng.standard_normal((s, d))
            found = hf.recover(A, A @ x.ravel(), groups=d).x
            hits += bool(np.linalg.norm(found - x.ravel()) <= 1e-6 * np.linalg.norm(x))
        probability = recovery_probability(m, n, s, group_size=d)
        assert abs(hits / trials - probability) <= binomial(probability, trials)
        assert (hits / trials > 0.9) if share > 1 else (hits / trials < 0.2)


def test_transition_of_groups_is_inverted():
    for m in (5, 40, 150, 239, 240):
        s = transition_sparsity(m, 60, group_size=4)
        if s and m < 240:
            low, high = (measurements_needed(60, k, group_size=4).transition for k in (int(s), int(s) + 1))
            assert low + (s - int(s)) * (high - low) == pytest.approx(m)
    assert transition_sparsity(240, 60, group_size=4) == 60
    assert transition_sparsity(3, 1, group_size=4) == 0
    assert recovery_probability(239, 60, 60, group_size=4) == 0  # no group is zero: the norm is smooth
    assert recovery_probability(240, 60, 60, group_size=4) == 1


def test_groups_have_no_sign():
    with pytest.raises(ValueError, match="sign must be 'both' for groups, got group_size=2 with sign='positive'"):
        measurements_needed(10, 2, sign="positive", group_size=2)
    with pytest.raises(ValueError, match="counts groups that are not zero, among n groups"):
        measurements_needed(10, 11, group_size=2)
    with pytest.raises(ValueError, match="group_size must be a finite number >= 1"):
        measurements_needed(10, 1, group_size=0)

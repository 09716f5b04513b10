"""Paper A: how many Gaussian measurements recovery takes."""

import itertools
import math

import mpmath
import numpy as np
import pytest
from conftest import planted
from scipy.optimize import brentq

import hadaflow as hf
from hadaflow.theory import measurements
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


def test_half_the_measurements_recover_donoho_and_tanners_fraction():
    n = 1_000_000
    for sign, threshold in ("both", 0.3857), ("positive", 0.5582):

        def excess(ratio, sign=sign):
            return measurements_needed(n, round(ratio * n / 2), sign=sign).transition - n / 2

        assert brentq(excess, 0.1, 0.9, xtol=1e-7) == pytest.approx(threshold, abs=1e-4)


def test_few_nonzeros_follow_two_logarithms():
    """delta ~ 2 s log(n / s) for s << n (Donoho and Tanner), for either sign."""
    for sign in SIGNS:
        ratios = [measurements_needed(10**k, 1, sign=sign).transition / (2 * math.log(10**k)) for k in (3, 6, 9)]
        assert ratios == sorted(ratios)
        assert 0.55 < ratios[0] < ratios[-1] < 1


# Basis pursuit, n = 100, s = 5, 25 trials.
def test_probability_against_recorded_basis_pursuit():
    """n = 100, s = 5, 25 trials."""
    for m, successes in (10, 0), (15, 0.16), (20, 0.56), (25, 0.92), (30, 1), (40, 1):
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
def test_count_is_the_smallest_with_the_probability(sign):
    sizes = [(1, 1), (2, 1), (5, 4), (100, 5), (100, 97), (1000, 20)]
    for probability, (n, s) in itertools.product([0.01, 0.5, 0.9, 0.999], sizes):
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


def test_lead_of_a_mean_length_against_mpmath():
    for k, ahead in itertools.product([1, 7, 399, 400, 10**5, 10**9, 10**15], [-3.0, 0.4, 5.0]):
        if ahead > k:
            continue
        with mpmath.workdps(60):
            half = mpmath.mpf(k) / 2
            length = mpmath.sqrt(2) * mpmath.exp(mpmath.loggamma(half + 0.5) - mpmath.loggamma(half))
            true = max(0.0, float(length - mpmath.sqrt(k - mpmath.mpf(ahead))))
        assert measurements._lead(k, k - ahead, ahead) == pytest.approx(true, rel=1e-7, abs=1e-12)


def test_bad_input_is_named():
    for call, message in (
        (lambda: measurements_needed(10, 11), "sparsity must be at most n = 10, got 11"),
        (lambda: measurements_needed(10, 0), "sparsity must be a finite number >= 1"),
        (lambda: measurements_needed(0, 1), "n must be a finite number >= 1"),
        (lambda: measurements_needed(10, 2, probability=1.0), "probability must lie between 0 and 1"),
        (lambda: measurements_needed(10, 2, probability=0.0), "probability must be a finite number > 0"),
        (lambda: measurements_needed(10, 2, sign="any"), "sign must be one of 'both', 'positive', got 'any'"),
        (lambda: recovery_probability(-1, 10, 2), "m must be a finite number >= 0"),
        (lambda: recovery_probability(2.5, 10, 2), "m must be a whole number"),
        (lambda: recovery_probability_bounds(2, 10, 2, sign=None), "sign must be one of"),
        (lambda: transition_sparsity(-1, 10), "m must be a finite number >= 0, got -1"),
        (lambda: transition_sparsity(1, 10, sign="negative"), "sign must be one of"),
    ):
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

"""Null-space constants: published numbers, both sides of the linear programme, bounds around enumeration."""

import math

import numpy as np
import pytest
import scipy.sparse as sp
from scipy.linalg import null_space
from scipy.sparse.linalg import aslinearoperator

import hadaflow as hf
from hadaflow.theory import Interval, _sign_patterns, null_space_constants, smallest_dual_certificate

# seed: (m, n, s), 1 - rho, 1 - rho_tilde; the matrix is standard normal over sqrt(m), then signs, then sizes.
TABLE = {
    100: ((5, 10, 2), 0.2735, 0.2735),
    101: ((5, 10, 2), 0.6352, 0.3619),
    102: ((5, 10, 2), 0.5660, 0.5117),
    103: ((5, 10, 2), 0.4761, 0.4761),
    105: ((5, 10, 2), 0.2575, 0.2575),
    106: ((5, 10, 2), 0.2949, 0.2949),
    0: ((8, 20, 3), 0.1535, -0.5835),
    1: ((8, 20, 3), 0.3938, 0.3202),
    3: ((8, 20, 3), 0.0186, 0.0186),
    5: ((8, 20, 3), 0.1109, -0.1668),
}


def planted_case(seed, m, n, s):
    """Matrix, support and a vector with entries of size 0.5 to 2."""
    rng = np.random.default_rng(seed)
    A = rng.standard_normal((m, n)) / np.sqrt(m)
    signs, x = rng.choice([-1.0, 1.0], s), np.zeros(n)
    x[:s] = signs * rng.uniform(0.5, 2, s)
    return A, x


def signed_case(seed, m, n, s):
    A, x = planted_case(seed, m, n, s)
    return A, np.arange(s), np.sign(x[:s])


@pytest.mark.parametrize("seed", TABLE)
def test_reference_constants(seed):
    shape, one_minus_rho, one_minus_tilde = TABLE[seed]
    c = null_space_constants(*signed_case(seed, *shape))
    assert 1 - c.rho == pytest.approx(one_minus_rho, abs=5.1e-5)
    assert 1 - c.rho_tilde.upper == pytest.approx(one_minus_tilde, abs=5.1e-5)
    assert c.exact
    assert abs(c.duality_gap) < 1e-13


@pytest.mark.parametrize(("seed", "one_minus_rho", "one_minus_tilde"), [(2, 0.1601, -7.99), (4, 0.1272, -4.75)])
def test_where_the_minimiser_is_not_the_planted_vector(seed, one_minus_rho, one_minus_tilde):
    A, x = planted_case(seed, 8, 20, 3)
    r = hf.recover(A, A @ x)
    assert len(r.support()) == 8
    c = null_space_constants(A, r.support(), np.sign(r.x[r.support()]))
    assert 1 - c.rho == pytest.approx(one_minus_rho, abs=5.1e-5)
    assert 1 - c.rho_tilde.upper == pytest.approx(one_minus_tilde, abs=5.1e-3)


@pytest.mark.parametrize("sign", ["both", "positive"])
def test_both_forms_of_the_programme_agree_and_are_what_they_claim(sign):
    for seed in range(20):
        rng = np.random.default_rng(seed)
        m, n, s = (int(k) for k in (rng.integers(4, 16), rng.integers(18, 40), rng.integers(1, 4)))
        A, support, signs = signed_case(seed, m, n, s)
        signs = np.ones(s) if sign == "positive" else signs
        c = null_space_constants(A, support, signs, sign=sign, method="bounds")
        d = smallest_dual_certificate(A, support, signs, sign=sign)
        if c.rho == -math.inf:
            continue
        assert d.size == pytest.approx(c.rho, rel=1e-10, abs=1e-12)
        others = np.arange(s, n)
        for dual in (d.vector, c.certificate):
            np.testing.assert_allclose(A[:, support].T @ dual, signs, atol=1e-10)
            reach = A[:, others].T @ dual
            assert (reach if sign == "positive" else np.abs(reach)).max() == pytest.approx(c.rho, rel=1e-9, abs=1e-10)
        np.testing.assert_allclose(A @ c.maximiser, 0, atol=1e-10)
        assert np.abs(c.maximiser[others]).sum() == pytest.approx(1)
        assert -signs @ c.maximiser[support] == pytest.approx(c.rho, rel=1e-10, abs=1e-12)
        assert sign == "both" or c.maximiser[others].min() > -1e-12


def test_order_of_the_constants():
    for seed in range(15):
        c = null_space_constants(*signed_case(seed, 8, 18, 3))
        minus, tilde = c.rho_minus.upper, c.rho_tilde.upper
        assert c.rho_plus == c.rho_minus
        assert -1e-12 <= c.rho <= minus + 1e-12
        assert minus <= tilde + 1e-12 <= 2 * minus + 2e-12
        assert minus <= (c.rho + tilde) / 2 + 1e-12


def kernel_samples(A, s, rng, *, one_sided):
    """Random kernel vectors with ``||n_C||_1 = 1``; one-sided: those among them with ``n_C >= 0``."""
    directions = null_space(A) @ rng.standard_normal((A.shape[1] - A.shape[0], 4000))
    if one_sided:
        directions = directions[:, (directions[s:] >= 0).all(axis=0)]
    return directions / np.abs(directions[s:]).sum(axis=0)


@pytest.mark.parametrize("sign", ["both", "positive"])
def test_no_kernel_vector_beats_the_constants(sign):
    rng = np.random.default_rng(1)
    seen = 0
    for seed in range(30):
        A, support, signs = signed_case(seed, 4, 8, 2)
        if sign == "positive":
            A[:, 2:] = np.abs(A[:, 2:]) * np.array([1, -1] * 3)  # so that there are non-negative kernel vectors
            signs = np.ones(2)
        c = null_space_constants(A, support, signs, sign=sign)
        on = signs[:, None] * kernel_samples(A, 2, rng, one_sided=sign == "positive")[:2]
        seen += on.shape[1]
        if on.shape[1]:
            assert (-on.sum(axis=0)).max() <= c.rho + 1e-12
            assert np.maximum(-on, 0).sum(axis=0).max() <= c.rho_minus.upper + 1e-12
            assert np.maximum(on, 0).sum(axis=0).max() <= c.rho_plus.upper + 1e-12
            assert np.abs(on).sum(axis=0).max() <= c.rho_tilde.upper + 1e-12
    assert seen > 1000


@pytest.mark.parametrize("sign", ["both", "positive"])
@pytest.mark.parametrize(("m", "n", "s"), [(6, 14, 4), (8, 16, 6), (12, 20, 7)])
def test_branch_and_bound_equals_enumeration(m, n, s, sign):
    for seed in range({4: 3, 6: 2, 7: 1}[s]):
        A, support, signs = signed_case(seed, m, n, s)
        signs = np.ones(s) if sign == "positive" else signs
        every = null_space_constants(A, support, signs, sign=sign, method="enumerate")
        found = null_space_constants(A, support, signs, sign=sign, method="branch")
        around = null_space_constants(A, support, signs, sign=sign, method="bounds")
        for name in ("rho_minus", "rho_plus", "rho_tilde"):
            value = getattr(every, name)
            assert value.upper - value.lower < 1e-11
            assert getattr(found, name).exact
            assert getattr(found, name).lower == pytest.approx(value.upper, rel=1e-9, abs=1e-9)
            assert 0 <= getattr(found, name).upper - value.upper + 1e-10 < 3e-5
            assert getattr(around, name).lower <= value.upper + 1e-10
            assert getattr(around, name).upper >= value.lower - 1e-10


def unequal_case(seed, m, n, decades):
    """A matrix whose column lengths differ by up to twice so many powers of ten."""
    rng = np.random.default_rng(seed)
    return rng.standard_normal((m, n)) * 10.0 ** rng.uniform(-decades, decades, n)


@pytest.mark.parametrize("sign", ["both", "positive"])
@pytest.mark.parametrize("decades", [3, 6])
def test_constants_whatever_the_column_lengths(decades, sign):
    for seed in (40, *range(3)):
        A = unequal_case(seed, 7, 12, decades)
        every = null_space_constants(A, range(4), np.ones(4), sign=sign, method="enumerate")
        found = null_space_constants(A, range(4), np.ones(4), sign=sign, method="branch")
        if decades == 3:
            assert every.duality_gap <= 1e-9 * max(abs(every.rho), 1e-3)
            assert found.exact
        for name in ("rho_minus", "rho_plus", "rho_tilde"):
            value, other = getattr(every, name), getattr(found, name)
            assert other.lower <= value.upper * (1 + 1e-9)
            assert other.upper >= value.lower * (1 - 1e-9)
            if decades == 3:
                assert other.lower == pytest.approx(value.upper, rel=1e-8)
        assert every.rho <= max(found.rho_minus.upper, 0) * (1 + 1e-9)
        if decades == 6 and sign == "both":  # five digits at least
            assert every.duality_gap <= 1e-5 * every.rho


def test_branch_and_bound_prints_nothing(capfd):
    null_space_constants(unequal_case(25, 7, 12, 1), range(6), np.ones(6))
    assert capfd.readouterr().out == ""


@pytest.mark.slow
def test_branch_and_bound_equals_enumeration_at_twelve():
    A, support, signs = signed_case(0, 16, 24, 12)
    every = null_space_constants(A, support, signs, method="enumerate")
    found = null_space_constants(A, support, signs, method="branch")
    for name in ("rho_minus", "rho_tilde"):
        assert getattr(found, name).lower == pytest.approx(getattr(every, name).upper, rel=1e-9)


@pytest.mark.parametrize(("m", "n", "s"), [(18, 26, 13), (20, 28, 16), (26, 34, 20)])
def test_branch_and_bound_beyond_enumeration(m, n, s):
    A, support, signs = signed_case(1, m, n, s)
    found = null_space_constants(A, support, signs)
    around = null_space_constants(A, support, signs, method="bounds")
    assert found.exact
    for name in ("rho_minus", "rho_tilde"):
        assert getattr(around, name).lower <= getattr(found, name).upper
        assert getattr(found, name).lower <= getattr(around, name).upper + 1e-9


def test_a_budget_leaves_an_open_interval_that_is_still_true():
    A, support, signs = signed_case(0, 40, 100, 9)
    exact = null_space_constants(A, support, signs)
    hasty = null_space_constants(A, support, signs, method="branch", node_limit=1, time_limit=0.01)
    assert exact.exact
    assert not hasty.exact
    for name in ("rho_minus", "rho_tilde"):
        assert getattr(hasty, name).lower <= getattr(exact, name).upper
        assert getattr(hasty, name).upper >= getattr(exact, name).lower
    assert " to " in repr(hasty)
    assert " to " not in repr(exact)


def test_large_supports_have_true_and_useful_bounds():
    """Every kernel vector is below the upper ends; the plain left inverse is improved on; ends are not far apart."""
    A, support, signs = signed_case(0, 100, 200, 50)
    c = null_space_constants(A, support, signs)
    on, others = null_space(A)[:50], null_space(A)[50:]
    rng = np.random.default_rng(0)
    sample = rng.standard_normal((100, 2000))
    share = np.abs(on @ sample).sum(axis=0) / np.abs(others @ sample).sum(axis=0)
    assert share.max() <= c.rho_tilde.upper
    plain = np.abs(np.linalg.pinv(A[:, :50]) @ A[:, 50:]).sum(axis=0).max()
    assert c.rho_tilde.upper < 0.75 * plain
    assert c.rho <= c.rho_minus.lower <= c.rho_minus.upper < 2.2 * c.rho_minus.lower
    assert c.rho_tilde.upper < 2.5 * c.rho_tilde.lower


@pytest.mark.parametrize("factor", [1e-150, 3.0, 1e150])
def test_only_the_kernel_matters(factor):
    A, support, signs = signed_case(7, 6, 14, 3)
    plain = null_space_constants(A, support, signs)
    mixed = null_space_constants(factor * A, support, signs)
    rows = null_space_constants(np.random.default_rng(0).standard_normal((6, 6)) @ A, support, signs)
    twice = null_space_constants(np.vstack([A, A]), support, signs)
    for other in (mixed, rows, twice):
        assert other.rho == pytest.approx(plain.rho, rel=1e-9)
        assert other.rho_minus.upper == pytest.approx(plain.rho_minus.upper, rel=1e-9)
        assert other.rho_tilde.upper == pytest.approx(plain.rho_tilde.upper, rel=1e-9)
    np.testing.assert_allclose(mixed.certificate * factor, plain.certificate, rtol=1e-8, atol=1e-10)


def test_the_data_are_not_written_to():
    A, support, signs = signed_case(7, 6, 14, 3)
    copies = A.copy(), support.copy(), signs.copy()
    null_space_constants(A, support, signs)
    for now, before in zip((A, support, signs), copies, strict=True):
        np.testing.assert_array_equal(now, before)


def test_empty_and_full_support_and_trivial_kernel():
    A = np.random.default_rng(0).standard_normal((4, 9))
    empty = null_space_constants(A, np.array([], dtype=int), [])
    assert (empty.rho, empty.rho_minus.upper, empty.rho_tilde.upper) == (0, 0, 0)
    assert empty.unique
    square = np.random.default_rng(0).standard_normal((5, 4))
    full = null_space_constants(square, np.arange(4), np.ones(4))
    assert (full.rho, full.rho_tilde.upper, full.unique) == (0, 0, True)
    trivial = null_space_constants(square, [0, 2], [1.0, -1.0])
    assert (trivial.rho, trivial.rho_tilde.upper) == (0, 0)
    np.testing.assert_array_equal(trivial.maximiser, 0)
    np.testing.assert_allclose(square[:, [0, 2]].T @ trivial.certificate, [1, -1], atol=1e-12)
    for support in (np.arange(4), np.array([0, 2])):
        assert smallest_dual_certificate(square, support, np.ones(len(support))).size == pytest.approx(0, abs=1e-9)


def test_dependent_columns_have_no_finite_constant():
    A = np.array([[1.0, 2, 0, 1], [0, 0, 1, 1]])
    c = null_space_constants(A, [0, 1], [1.0, 1.0])
    assert c.rho == math.inf
    assert not c.unique
    assert c.rho_tilde.upper == math.inf
    np.testing.assert_allclose(A @ c.maximiser, 0, atol=1e-15)
    np.testing.assert_array_equal(c.maximiser[2:], 0)
    assert np.abs(c.maximiser).sum() == pytest.approx(1)
    with pytest.raises(ValueError, match="dependent"):
        smallest_dual_certificate(A, [0, 1], [1.0, 1.0])


def test_rho_at_least_one_means_another_minimiser():
    c = null_space_constants(np.array([[1.0, 2.0]]), [0], [1.0])
    assert c.rho == pytest.approx(2)
    assert not c.unique
    x = np.array([1.0, 0.0])
    assert np.abs(x + 0.25 * c.maximiser).sum() < np.abs(x).sum()


def test_a_rho_of_one_is_not_below_one_whatever_rounding_says():
    walsh = np.array([[-1.0, -1, -1, -1], [-1, -1, 1, 1]])
    assert not null_space_constants(walsh, [0], [1.0]).unique
    for seed in range(20):
        A = np.random.default_rng(seed).standard_normal((4, 6))
        A[:, 5] = A[:, 0]
        assert not null_space_constants(A, [0], [1.0], method="bounds").unique
    assert null_space_constants([[1.0, 1 - 1e-8]], [0], [1.0]).unique


@pytest.mark.parametrize("factor", [1e200, 1e-310, 5e-324])
def test_entries_at_the_ends_of_the_range(factor):
    A = np.array([[1.0, 2, 0, 1], [0, 0, 1, 1]]) * factor
    dependent = null_space_constants(A, [0, 1], [1.0, 1.0])
    np.testing.assert_allclose(dependent.maximiser, [-2 / 3, 1 / 3, 0, 0], atol=1e-15)
    assert null_space_constants(A, [0, 3], [1.0, 1.0]).rho == pytest.approx(2)
    with pytest.raises(ValueError, match="differ in length"):
        null_space_constants([[1e-200, 1e200]], [0], [1.0])


def test_only_dense_matrices():
    with pytest.raises(TypeError, match=r"np\.eye"):
        null_space_constants(aslinearoperator(np.eye(3)), [0], [1.0])
    with pytest.raises(TypeError, match="toarray"):
        null_space_constants(sp.eye_array(3), [0], [1.0])


def test_kernel_orthogonal_to_the_signs_has_rho_zero_with_a_true_maximiser():
    A = null_space(np.array([[0.0, 0.0, 1.0, 2.0]])).T
    c = null_space_constants(A, [0, 1], [1.0, -1.0])
    assert c.rho == pytest.approx(0, abs=1e-12)
    np.testing.assert_allclose(A @ c.maximiser, 0, atol=1e-12)
    assert np.abs(c.maximiser[2:]).sum() == pytest.approx(1)


def test_positive_model_has_its_own_constants():
    """Kernel (-2, 1, 1): one-sided rho 1 = 2 / 2. Kernel (2, 1, 1): x can only grow, so rho is -1."""
    down = null_space_constants(null_space(np.array([[-2.0, 1, 1]])).T, [0], [1.0], sign="positive")
    up = null_space_constants(null_space(np.array([[2.0, 1, 1]])).T, [0], [1.0], sign="positive")
    assert (down.rho, down.rho_minus.upper, down.rho_plus.upper) == (pytest.approx(1), pytest.approx(1), 0)
    assert (up.rho, up.rho_minus.upper, up.rho_plus.upper) == (pytest.approx(-1), 0, pytest.approx(1))
    none = null_space_constants(null_space(np.array([[2.0, 1, -1]])).T, [0], [1.0], sign="positive")
    assert none.rho == -math.inf
    assert none.unique
    np.testing.assert_array_equal(none.maximiser, 0)
    assert smallest_dual_certificate(null_space(np.array([[2.0, 1, -1]])).T, [0], [1.0], sign="positive").size <= 1e-9
    assert null_space_constants(np.eye(3), [0], [1.0], sign="positive").rho == -math.inf


def test_positive_constants_are_below_the_signed_ones():
    for seed in range(8):
        A, support, _ = signed_case(seed, 6, 15, 3)
        one = null_space_constants(A, support, np.ones(3), sign="positive")
        both = null_space_constants(A, support, np.ones(3))
        assert one.rho <= both.rho + 1e-12
        assert one.rho_minus.upper <= both.rho_minus.upper + 1e-12
        assert one.rho_tilde.upper <= both.rho_tilde.upper + 1e-12


def test_flattening_keeps_what_it_carries():
    from hadaflow.theory._support_split import split

    A, support, _ = signed_case(3, 12, 30, 5)
    kernel = split(A, support)
    matrix = _sign_patterns.flattened(kernel)
    vectors = null_space(A)
    np.testing.assert_allclose(matrix @ vectors[5:], vectors[:5], atol=1e-12)
    assert np.abs(matrix).sum(axis=0).max() < np.abs(kernel.carry).sum(axis=0).max()


def test_intervals_say_whether_they_are_exact():
    assert Interval(1.0, 1.0 + 1e-7).exact
    assert not Interval(1.0, 1.1).exact
    assert Interval(math.inf, math.inf).exact


def test_bad_input_is_named():
    for change, message in (
        ({"signs": [1.0]}, "one entry per coordinate"),
        ({"signs": [1.0, 0.5]}, "-1 or 1"),
        ({"signs": [1.0, -1.0], "sign": "positive"}, "all be 1"),
        ({"support": [1, 0]}, "ascending"),
        ({"support": [1, 1]}, "once"),
        ({"support": [1, 9]}, "coordinates from 0 to 3"),
        ({"sign": "any"}, "sign must be one of"),
        ({"method": "guess"}, "method must be one of"),
        ({"node_limit": 0}, "node_limit"),
        ({"time_limit": 0}, "time_limit"),
        ({"A": [[1.0, np.nan, 0, 0]]}, "A contains nan"),
        ({"A": np.zeros((0, 4))}, "at least one row"),
    ):
        given = {"A": np.ones((2, 4)), "support": [0, 1], "signs": [1.0, -1.0]} | change
        with pytest.raises(ValueError, match=message):
            null_space_constants(given.pop("A"), given.pop("support"), given.pop("signs"), **given)

"""Coherence, restricted isometry and dual certificates against brute force and linear programmes."""

from itertools import combinations

import numpy as np
import pytest
import scipy.sparse as sp
from conftest import planted
from scipy.optimize import linprog
from scipy.sparse.linalg import aslinearoperator

import hadaflow as hf
from hadaflow.theory.dual_certificates import dual_certificate
from hadaflow.theory.matrix_properties import coherence, rip_estimate
from hadaflow.theory.null_space import null_space_constants

RNG = np.random.default_rng
#: The unit vectors and the Walsh functions of length 16.
TWO_BASES = np.hstack(
    [np.eye(16), np.array([[(-1.0) ** (i & j).bit_count() for j in range(16)] for i in range(16)]) / 4]
)


def brute_coherence(A):
    unit = A / np.linalg.norm(A, axis=0)
    gram = np.abs(unit.T @ unit)
    np.fill_diagonal(gram, 0)
    return gram


def kinds(A):
    return {"dense": A, "fortran": np.asfortranarray(A), "sparse": sp.csr_array(A), "operator": aslinearoperator(A)}


# ---- coherence -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["dense", "fortran", "sparse", "operator"])
@pytest.mark.parametrize("block", [1, 300, 1 << 22])
def test_coherence_is_that_of_the_whole_gram_matrix(kind, block, monkeypatch):
    monkeypatch.setattr("hadaflow.theory._rip_search._BLOCK", block)
    A = RNG(0).standard_normal((12, 40)) * RNG(1).uniform(0.1, 3, 40)
    gram = brute_coherence(A)
    found = coherence(kinds(A)[kind])
    assert found.value == pytest.approx(gram.max(), rel=1e-12)
    assert gram[found.pair] == pytest.approx(gram.max(), rel=1e-12)
    assert found.pair[0] < found.pair[1]
    length = np.linalg.norm(A, axis=0)
    assert found.one_sided == pytest.approx((gram * length / length[:, None]).max(), rel=1e-12)


def test_coherence_of_known_matrices():
    found = coherence(TWO_BASES)
    assert found.value == pytest.approx(0.25, abs=1e-15)
    assert found.recoverable == 2  # 2.5 is the bound
    fifth = np.array([[1.0, 0.2], [0.0, np.sqrt(0.96)]])
    assert coherence(fifth).recoverable == 2  # all there are
    third = np.linalg.cholesky(np.full((4, 4), 1 / 3) + np.diag([2 / 3] * 4)).T
    assert coherence(third).recoverable == 1  # 2 is not below 2, whatever rounding says


def test_coherence_of_degenerate_columns():
    assert coherence(np.ones((3, 1))) == coherence(5 * np.ones((3, 1)))
    assert coherence(np.ones((3, 1))).value == 0
    assert coherence(np.ones((3, 1))).recoverable == 1
    assert coherence(np.eye(3)).recoverable == 3
    zero = coherence(np.array([[1.0, 0.0, 0.0], [0.0, 0.0, 1.0]]))
    assert (zero.value, zero.pair, zero.recoverable, zero.one_sided) == (1.0, (0, 1), 0, np.inf)
    assert coherence(np.zeros((2, 1))).recoverable == 0
    twins = coherence(np.array([[1.0, 2.0, 0.0], [1.0, 2.0, 1.0]]))
    assert twins.value == pytest.approx(1.0, abs=1e-15)
    assert twins.value <= 1
    assert (twins.pair, twins.recoverable) == ((0, 1), 0)


def test_coherence_does_not_depend_on_the_scale():
    A = RNG(3).standard_normal((8, 20))
    for factor in (1e-160, 1e160):
        assert coherence(factor * A).value == pytest.approx(coherence(A).value, rel=1e-13)


def test_guaranteed_sparsity_is_recovered_whatever_the_column_lengths():
    """Normalised coherence alone would promise too much here: the l1 norm favours long columns."""
    lengths = RNG(0).uniform(1, 1.2, 32)
    for matrix in (TWO_BASES, TWO_BASES * lengths):
        assert coherence(matrix).recoverable == 2
        for support in list(combinations(range(32), 2))[::8]:
            x = np.zeros(32)
            x[list(support)] = RNG(support[0]).choice([-1.0, 1.0], 2)
            np.testing.assert_allclose(hf.recover(matrix, matrix @ x).x, x, atol=1e-9)
    stretched = TWO_BASES * np.repeat([1.0, 10.0], 16)
    assert coherence(stretched).value == pytest.approx(0.25)
    assert coherence(stretched).recoverable == 0
    assert np.abs(hf.recover(stretched, stretched[:, 0]).x).sum() < 0.5  # not the first unit vector


# ---- restricted isometry ---------------------------------------------------------------------------------------------


def brute_rip(A, order):
    values = [np.linalg.svd(A[:, s], compute_uv=False)[[0, -1]] ** 2 for s in combinations(range(A.shape[1]), order)]
    return min(v[1] for v in values), max(v[0] for v in values)


@pytest.mark.parametrize("kind", ["dense", "sparse", "operator"])
@pytest.mark.parametrize("order", [1, 2, 3])
def test_enumeration_is_exact(kind, order):
    A = RNG(order).standard_normal((7, 12)) / np.sqrt(7)
    low, high = brute_rip(A, order)
    found = rip_estimate(kinds(A)[kind], order, scaling="none")
    assert found.exact
    assert found.supports == len(list(combinations(range(12), order)))
    assert found.lower_bound == pytest.approx(max(high - 1, 1 - low), rel=1e-10)
    best = rip_estimate(kinds(A)[kind], order)
    assert best.lower_bound == pytest.approx((high - low) / (high + low), rel=1e-10)
    scaled = rip_estimate(best.factor * A, order, scaling="none")
    assert scaled.lower_bound == pytest.approx(best.lower_bound, rel=1e-10)
    assert np.linalg.svd(A[:, best.strongest], compute_uv=False)[0] ** 2 == pytest.approx(high, rel=1e-10)
    assert np.linalg.svd(A[:, best.weakest], compute_uv=False)[-1] ** 2 == pytest.approx(low, rel=1e-10)


def test_normalised_columns_of_order_two_give_the_coherence():
    A = RNG(5).standard_normal((6, 15)) * RNG(6).uniform(0.1, 2, 15)
    assert rip_estimate(A, 2, scaling="columns").lower_bound == pytest.approx(coherence(A).value, rel=1e-12)


def test_sampling_stays_below_the_truth_and_climbing_helps():
    for seed in range(10):
        A = RNG(seed).standard_normal((10, 18))
        truth, sampled = rip_estimate(A, 3), rip_estimate(A, 3, most_supports=0, samples=20, rng=seed)
        assert truth.exact
        assert not sampled.exact
        assert 0.95 * truth.lower_bound < sampled.lower_bound <= truth.lower_bound * (1 + 1e-12)
        supports = [RNG(seed).choice(18, 3, replace=False) for _ in range(40)]
        sizes = np.array([np.linalg.svd(A[:, s], compute_uv=False)[[0, -1]] ** 2 for s in supports])
        high, low = sizes[:, 0].max(), sizes[:, 1].min()
        assert sampled.lower_bound >= (high - low) / (high + low)


def test_estimates_are_reproducible_and_scale_free():
    A = RNG(0).standard_normal((20, 60))
    first, again = rip_estimate(A, 5, samples=5), rip_estimate(A, 5, samples=5, rng=RNG(0))
    assert first.lower_bound == again.lower_bound
    assert rip_estimate(2.0**600 * A, 5, samples=5).lower_bound == pytest.approx(first.lower_bound, rel=1e-12)


def test_degenerate_isometry():
    assert rip_estimate(np.zeros((3, 4)), 2).lower_bound == 1
    assert rip_estimate(np.eye(4), 4).lower_bound == pytest.approx(0, abs=1e-15)
    assert rip_estimate(RNG(0).standard_normal((3, 6)), 4).lower_bound == pytest.approx(1)  # more columns than rows
    assert rip_estimate(np.hstack([np.eye(3), np.eye(3)]), 2).lower_bound == pytest.approx(1)
    assert rip_estimate(3 * np.eye(2), 1, scaling="none").lower_bound == pytest.approx(8)


# ---- dual certificates -----------------------------------------------------------------------------------------------


def rho_by_programme(A, support, signs, positive):
    """min t with A_S^T nu = sigma, -t <= A_C^T nu <= t (positive: the upper side, t >= 0)."""
    m, n = A.shape
    off = np.setdiff1d(np.arange(n), support)
    rows = np.hstack([A[:, off].T, -np.ones((len(off), 1))])
    if not positive:
        rows = np.vstack([rows, np.hstack([-A[:, off].T, -np.ones((len(off), 1))])])
    found = linprog(
        np.append(np.zeros(m), 1),
        A_ub=rows,
        b_ub=np.zeros(len(rows)),
        A_eq=np.hstack([A[:, support].T, np.zeros((len(support), 1))]),
        b_eq=signs,
        bounds=[(None, None)] * m + [(0, None)],
    )
    assert found.status == 0
    return found.fun


@pytest.mark.parametrize("positive", [False, True])
def test_the_smallest_certificate_is_that_of_the_linear_programme(positive):
    sign = "positive" if positive else "both"
    for seed in range(12):
        rng = RNG(seed)
        A = rng.standard_normal((9, 20))
        support = np.sort(rng.choice(20, 3, replace=False))
        signs = np.ones(3) if positive else rng.choice([-1.0, 1.0], 3)
        shortest, smallest = (dual_certificate(A, support, signs, sign=sign, minimal=m) for m in (False, True))
        rho = rho_by_programme(A, support, signs, positive)
        assert smallest.method == "linear programme"
        assert max(smallest.size, 0) == pytest.approx(rho, abs=1e-9)
        constants = null_space_constants(A, support, signs, sign=sign, method="bounds")
        assert smallest.size == pytest.approx(constants.rho, abs=1e-9)
        assert smallest.size <= shortest.size + 1e-9
        assert shortest.mismatch < 1e-12 or shortest.method == "linear programme"
        assert shortest.proves_unique == smallest.proves_unique == (rho < 1)
        x = np.zeros(20)
        x[support] = signs * rng.uniform(0.5, 2, 3)
        found = hf.recover(A, A @ x, positive=positive)
        assert (np.abs(found.x - x).max() < 1e-8) == (rho < 1)


def test_the_shortest_certificate_is_tried_first_and_is_the_shortest():
    data = planted(40, 120, 3)
    support = np.flatnonzero(data.x)
    signs = np.sign(data.x[support])
    found = dual_certificate(data.A, support, signs)
    assert found.method == "least squares"
    assert found.proves_unique
    np.testing.assert_allclose(found.vector, np.linalg.pinv(data.A[:, support].T) @ signs, atol=1e-12)
    certificate = hf.certify(hf.Problem(data.A, data.y), data.x, found.vector)
    assert certificate.unique
    assert certificate.margin == pytest.approx(found.margin, abs=1e-12)
    for kind in ("sparse", "operator"):
        twin = dual_certificate(kinds(data.A)[kind], support, signs, minimal=True)
        assert twin.size == pytest.approx(dual_certificate(data.A, support, signs, minimal=True).size, abs=1e-9)


def test_a_failed_search_is_final():
    data = planted(40, 120, 25, seed=1)  # beyond the threshold
    support = np.flatnonzero(data.x)
    found = dual_certificate(data.A, support, np.sign(data.x[support]))
    assert found.method == "linear programme"
    assert found.size > 1
    assert not found.proves_minimal
    assert np.abs(hf.recover(data.A, data.y).x).sum() < np.abs(data.x).sum()


def test_dependent_columns():
    A = np.array([[1.0, 1.0, 0.5, 0.0], [0.0, 0.0, 0.2, 1.0]])
    same = dual_certificate(A, [0, 1], [1, 1], minimal=True)
    assert same.proves_minimal
    assert not same.proves_unique
    assert not same.independent
    assert same.size == pytest.approx(rho_by_programme(A, [0, 1], [1, 1], False), abs=1e-9)
    opposite = dual_certificate(A, [0, 1], [1, -1])
    assert opposite.mismatch == pytest.approx(1)
    assert not opposite.proves_minimal
    zero = dual_certificate(np.array([[0.0, 1.0]]), [0], [1])
    assert not zero.proves_minimal
    assert not zero.independent


@pytest.mark.parametrize("decades", [3, 5, 6])
def test_the_smallest_certificate_whatever_the_column_lengths(decades):
    for seed in range(12):
        rng = RNG(seed)
        A = rng.standard_normal((7, 12)) * 10.0 ** rng.uniform(-decades, decades, 12)
        found = dual_certificate(A, range(4), np.ones(4), minimal=True)
        rho = null_space_constants(A, range(4), np.ones(4), method="bounds").rho
        assert found.method == "linear programme"
        assert found.size == pytest.approx(rho, rel=1e-6)
        assert decades == 6 or found.proves_unique == dual_certificate(A, range(4), np.ones(4)).proves_unique == (
            rho < 1
        )


def test_signs_that_tiny_dependent_columns_cannot_meet():
    found = dual_certificate([[-3.8e-156, -2.7e-153]], [0, 1], [1.0, 1.0])
    assert not found.independent
    assert not found.proves_minimal


def test_empty_and_full_supports():
    empty = dual_certificate(np.eye(2), np.array([], dtype=int), [])
    assert (empty.size, empty.proves_unique) == (0.0, True)
    full = dual_certificate(np.eye(2), [0, 1], [1, -1])
    assert (full.size, full.margin, full.proves_unique) == (0.0, 1.0, True)


def test_a_negative_size_is_possible_for_non_negative_vectors():
    found = dual_certificate(np.array([[1.0, -0.5]]), [0], [1], sign="positive")
    assert found.size == pytest.approx(-0.5)
    assert found.proves_unique
    assert dual_certificate(np.array([[1.0, -1.5]]), [0], [1]).size == pytest.approx(1.5)


def test_nothing_is_written_to():
    A = RNG(0).standard_normal((5, 9))
    before = A.copy()
    support, signs = np.array([1, 4]), np.array([1.0, -1.0])
    coherence(A), rip_estimate(A, 2, most_supports=0, samples=3), dual_certificate(A, support, signs, minimal=True)
    np.testing.assert_array_equal(A, before)
    np.testing.assert_array_equal(support, [1, 4])


def test_bad_input_is_named():
    for call, error, message in (
        (lambda A: coherence(A[0]), ValueError, "A must be two-dimensional"),
        (lambda A: coherence(A + 1j), TypeError, "A is complex"),
        (lambda A: coherence(A * np.nan), ValueError, "A contains nan"),
        (lambda A: rip_estimate(A, 10), ValueError, "order must be at most the number of columns"),
        (lambda A: rip_estimate(A, 0), ValueError, "order must be"),
        (lambda A: rip_estimate(A, 1.5), ValueError, "order must be a whole number"),
        (lambda A: rip_estimate(A, 2, samples=0), ValueError, "samples must be"),
        (lambda A: rip_estimate(A, 2, scaling="rows"), ValueError, "scaling must be one of 'best', 'none', 'columns'"),
        (lambda A: rip_estimate(A * 0, 2, scaling="columns"), ValueError, r"zero column \(0\)"),
        (lambda A: dual_certificate(A, [0, 9], [1, 1]), ValueError, "support must hold coordinates from 0 to 8"),
        (lambda A: dual_certificate(A, [1, 0], [1, 1]), ValueError, "ascending"),
        (lambda A: dual_certificate(A, [0, 1], [1]), ValueError, "one entry per coordinate of support"),
        (lambda A: dual_certificate(A, [0, 1], [1, 0.5]), ValueError, "signs must be -1 or 1"),
        (lambda A: dual_certificate(A, [0, 1], [1, -1], sign="positive"), ValueError, "signs must all be 1"),
        (lambda A: dual_certificate(A, [0], [1], sign="negative"), ValueError, "sign must be one of"),
        (lambda A: dual_certificate(A, [0], [1], minimal=1), TypeError, "minimal must be True or False"),
    ):
        with pytest.raises(error, match=message):
            call(RNG(0).standard_normal((5, 9)))


# ---- restricted isometry: any size, any source of supports -----------------------------------------------------------


@pytest.mark.parametrize("kind", ["dense", "sparse", "operator"])
@pytest.mark.parametrize("most_supports", [0, 10_000])
@pytest.mark.parametrize("scaling", ["best", "columns"])
def test_rip_of_any_size(scaling, most_supports, kind):
    """Entries up to the largest double: lengths of columns, and sums of their entries, exceed it."""
    A = RNG(0).uniform(-1, 1, (12, 20))
    options = {"scaling": scaling, "most_supports": most_supports, "samples": 5}
    one = rip_estimate(A, 2, **options)
    for power in (-1000, -530, 515, 1023):
        found = rip_estimate(kinds(np.ldexp(A, power))[kind], 2, **options)
        assert found.lower_bound == pytest.approx(one.lower_bound, rel=1e-9)
        np.testing.assert_array_equal(found.strongest, one.strongest)
        np.testing.assert_array_equal(found.weakest, one.weakest)
        assert found.factor == pytest.approx(np.ldexp(one.factor, -power if scaling == "best" else 0), rel=1e-9)
    assert rip_estimate(np.ldexp(A, 1023), 2, scaling="none").largest == np.inf


@pytest.mark.parametrize(("rng", "error"), [("a", TypeError), (-1, ValueError), (1.5, TypeError)])
def test_rip_names_a_bad_rng(rng, error):
    with pytest.raises(error, match="rng must be a whole number >= 0 or a numpy Generator"):
        rip_estimate(np.eye(3), 2, rng=rng)

import itertools

import numpy as np
import pytest
import scipy.sparse as sp
from conftest import minimal_l1, planted, random_sparse
from scipy.fft import dct
from scipy.sparse.linalg import LinearOperator

import hadaflow as hf


def ensembles(m=60, n=200, s=8):
    """Matrices of many kinds, each with a sparse vector: name -> (A, x)."""
    rng = np.random.default_rng(7)
    x = np.zeros(n)
    x[rng.choice(n, s, replace=False)] = rng.standard_normal(s)
    decades = np.where(x != 0, np.sign(x) * 10.0 ** rng.uniform(-4, 0, n), 0)
    gauss = rng.standard_normal((m, n))
    markov = gauss.copy()
    for j in range(1, n):
        markov[:, j] = 0.9 * markov[:, j - 1] + np.sqrt(1 - 0.81) * gauss[:, j]
    u, _, vt = np.linalg.svd(gauss, full_matrices=False)
    crowd = np.zeros(n)
    crowd[rng.choice(n, m // 2, replace=False)] = rng.standard_normal(m // 2)
    xi = rng.uniform(size=(m, 1))
    return {
        "gaussian": (gauss, x),
        "dynamic range": (gauss, decades),
        "signs": (gauss, np.sign(x)),
        "beyond the threshold": (gauss, crowd),
        "oversampled cosine": (np.cos(2 * np.pi * xi * np.arange(n) / 10), np.where(np.arange(n) % 40 == 10, 1.0, 0)),
        "autoregressive": (markov, x),
        "bernoulli": (rng.choice([-1.0, 1.0], (m, n)), x),
        "sparse": (random_sparse((m, n), 0.1, rng, "csc"), x),
        "two orthobases": (np.hstack([np.eye(m), dct(np.eye(m), norm="ortho")]), x[: 2 * m]),
        "ill-conditioned": ((u * np.logspace(0, -6, m)) @ vt, x),
        "badly scaled columns": (gauss * 10.0 ** rng.uniform(-2, 2, n), x),
        "rank-deficient": (gauss[:, :20] @ gauss[:20], x),
        "non-negative entries": (np.abs(gauss), x),
    }


@pytest.mark.parametrize("name", list(ensembles()))
def test_every_ensemble_against_the_linear_programme(name):
    A, signed = ensembles()[name]
    for positive in (False, True):
        x = np.abs(signed) if positive else signed
        y = A @ x
        optimum = minimal_l1(A.toarray() if sp.issparse(A) else A, y, positive=positive)
        for method in ("saddles", "limit"):
            found = hf.recover(A, y, positive=positive, method=method)
            certificate = found.certificate
            assert found.status is hf.Status.EXACT, method
            assert np.linalg.norm(A @ found.x - y) <= 1e-10 * np.linalg.norm(y)
            # The programme meets its equations to 1e-7 only; the dual vector says what that is worth in the objective.
            slack = 1e-7 * np.abs(found.dual).sum()
            assert np.abs(found.x).sum() == pytest.approx(optimum, rel=1e-9, abs=slack)
            assert certificate.gap <= 1e-8
            assert certificate.lower_bound <= certificate.l1_norm
            assert certificate.l1_norm == pytest.approx(np.abs(found.x).sum(), rel=1e-14)
            assert not positive or found.x.min() >= 0


def test_exact_at_and_beyond_the_threshold():
    for m, n, s in [(250, 1000, 80), (400, 1600, 130)]:
        case = planted(m, n, s)
        found = hf.recover(case.A, case.y)
        assert found.status is hf.Status.EXACT
        assert found.certificate.gap <= 1e-10
        assert found.certificate.residual <= 1e-12
        assert found.certificate.unique


def test_data_too_ill_conditioned_for_double_precision_are_called_so():
    # Neighbouring columns that differ in the seventh digit: rounding of y alone moves the minimal norm visibly.
    rng = np.random.default_rng(7)
    A = np.cos(2 * np.pi * rng.uniform(size=(60, 1)) * np.arange(200) / 10)
    x = np.zeros(200)
    x[rng.choice(200, 8, replace=False)] = rng.standard_normal(8)
    found = hf.recover(A, A @ x)
    assert found.certificate.residual <= 1e-9
    assert found.certificate.lower_bound <= np.abs(x).sum()
    assert found.certificate.gap <= 1e-3
    assert (found.status is hf.Status.EXACT) == (found.certificate.gap <= 1e-8)


def test_auto_changes_over_to_the_central_path(monkeypatch, hard):
    from hadaflow.recovery import _strategies as strategies

    plain = hf.recover(hard.A, hard.y)
    monkeypatch.setattr(strategies, "_VECTOR_WORK", 1e9)
    changed = hf.recover(hard.A, hard.y)
    assert (plain.stats.method, plain.stats.newton_steps) == ("saddles", 0)
    assert changed.stats.method == "central path"
    assert changed.stats.newton_steps > 0
    np.testing.assert_allclose(changed.x, plain.x, atol=1e-9)


def test_operator_with_a_wrong_adjoint_is_refused(easy):
    wrong = LinearOperator(easy.A.shape, matvec=lambda v: easy.A @ v, rmatvec=lambda r: 2 * easy.A.T @ r, dtype=float)
    for options in ({}, {"depth": 1, "init_scale": 0.1}, {"depth": 3, "init_scale": 0.1}):
        with pytest.raises(ValueError, match=r"not adjoint to each other: see hadaflow\.dot_test"):
            hf.recover(wrong, easy.y, **options)


def test_pylops_operator(easy):
    pylops = pytest.importorskip("pylops")
    found = hf.recover(pylops.MatrixMult(easy.A), easy.y)
    np.testing.assert_allclose(found.x, easy.x, atol=1e-12)


def test_memory_mapped_and_read_only_input_is_untouched(tmp_path, easy):
    np.save(tmp_path / "A.npy", easy.A)
    mapped = np.load(tmp_path / "A.npy", mmap_mode="r")
    y = easy.y.copy()
    y.flags.writeable = False
    np.testing.assert_allclose(hf.recover(mapped, y).x, easy.x, atol=1e-12)
    np.testing.assert_array_equal(mapped, easy.A)


def test_scale_invariance(easy):
    plain, sizes = hf.recover(easy.A, easy.y), (1e-150, 1e-20, 1e20, 1e150)
    for c, d in itertools.product(sizes, sizes):
        scaled = hf.recover(c * easy.A, d * easy.y)
        assert scaled.status is hf.Status.EXACT
        np.testing.assert_allclose(scaled.x / d * c, plain.x, rtol=1e-12, atol=1e-14)
        assert scaled.certificate.gap <= 1e-10
        assert scaled.certificate.unique
        assert scaled.certificate.margin == pytest.approx(plain.certificate.margin, abs=1e-6)
    for size in (1e-250, 1e-200, 1e200):  # units that square to nothing
        scaled = hf.recover(size * easy.A, size * easy.y)
        np.testing.assert_allclose(scaled.x, plain.x, rtol=1e-12, atol=1e-14)
        assert scaled.certificate.unique


def test_powers_of_two_change_no_bit(hard):
    plain, scaled = hf.recover(hard.A, hard.y), hf.recover(2.0**40 * hard.A, 2.0**-33 * hard.y)
    np.testing.assert_array_equal(scaled.x, plain.x * 2.0**-73)


def test_permutations_and_signs_move_along(hard):
    rng = np.random.default_rng(0)
    columns, rows, signs = rng.permutation(120), rng.permutation(40), rng.choice([-1.0, 1.0], 120)
    plain = hf.recover(hard.A, hard.y).x
    moved = hf.recover((hard.A * signs)[rows][:, columns], hard.y[rows]).x
    np.testing.assert_allclose(moved, (plain * signs)[columns], atol=1e-11)


def test_float32_in_float32_out(easy):
    found = hf.recover(easy.A.astype(np.float32), easy.y.astype(np.float32))
    assert found.x.dtype == np.float32
    assert found.status is hf.Status.EXACT
    assert found.certificate.unique
    np.testing.assert_array_equal(found.support(), np.flatnonzero(easy.x))
    np.testing.assert_allclose(found.x, easy.x, atol=1e-5)


def test_weighted_norm(hard):
    w = np.random.default_rng(0).uniform(0.2, 5, 120)
    found = hf.recover(hard.A, hard.y, weights=w)
    assert found.certificate.l1_norm == pytest.approx(minimal_l1(hard.A, hard.y, weights=w), rel=1e-9)
    assert found.certificate.gap <= 1e-10
    assert found.certificate.unique


def test_weights_are_the_limit_of_unequal_starts(hard):
    c = np.random.default_rng(0).uniform(0.5, 2, 120)
    near = hf.recover(hard.A, hard.y, depth=3, init_scale=1e-6 * c).x
    np.testing.assert_allclose(near, hf.recover(hard.A, hard.y, weights=1 / c).x, atol=1e-4)


def test_from_a_start(easy):
    near, far = (hf.recover(easy.A, easy.y, depth=3, init_scale=a) for a in (1e-3, 0.3))
    assert near.status is far.status is hf.Status.LIMIT
    assert near.x.all()
    np.testing.assert_array_equal(near.support(), np.flatnonzero(easy.x))
    np.testing.assert_allclose(near.refit(), easy.x, atol=1e-12)
    # The certificate says how far the limit is from the minimal norm, rightly.
    optimum = np.abs(easy.x).sum()
    for found in (near, far):
        excess = 1 - optimum / np.abs(found.x).sum()
        assert excess - 1e-12 <= found.certificate.gap
        assert found.certificate.lower_bound <= optimum * (1 + 1e-12)
    assert near.certificate.gap < 1e-5
    assert far.certificate.gap > 1e-2


def test_the_answer_remembers_what_was_asked(easy):
    w = np.linspace(1, 2, 120)
    weighted = hf.recover(easy.A, easy.y, weights=w)
    np.testing.assert_array_equal(weighted.weights, w)
    assert not weighted.positive
    assert hf.recover(easy.A, easy.A @ np.abs(easy.x), positive=True).positive
    assert len(repr(weighted)) < 120


def test_depth_one_has_no_support_to_speak_of(easy):
    assert len(hf.recover(easy.A, easy.y, depth=1, init_scale=10.0).support()) == 120


def test_support_threshold_and_refit(easy):
    found = hf.recover(easy.A, easy.y)
    large = found.support(threshold=np.sort(np.abs(easy.x))[-2] * 0.999)
    assert set(large) == set(np.argsort(-np.abs(easy.x))[:2])
    refit = found.refit(threshold=np.sort(np.abs(easy.x))[-2] * 0.999)
    assert set(np.flatnonzero(refit)) == set(large)
    np.testing.assert_allclose(easy.A[:, large].T @ (easy.A @ refit - easy.y), 0, atol=1e-12)


def test_noise_level(easy):
    noise = 0.02 * np.random.default_rng(0).standard_normal(40)
    found = hf.recover(easy.A, easy.y + noise, noise_level=np.linalg.norm(noise) * 1.01)
    assert found.status is hf.Status.NOISE_LEVEL
    assert np.linalg.norm(found.x - easy.x) < 0.1
    # The bound is for all points within the noise level, the planted vector among them.
    assert found.certificate.lower_bound <= np.abs(easy.x).sum()


def test_stats_and_progress(easy):
    seen = []
    found = hf.recover(easy.A, easy.y, progress=seen.append)
    assert seen
    assert all(isinstance(report, hf.Progress) for report in seen)
    assert 3 <= found.stats.passes < 30
    assert found.stats.seconds > 0
    assert found.stats.events >= 5


def test_degenerate_data_are_defined():
    for A, y, x, status in [
        ([[1.0, 0, 2]], [1.0], [0, 0, 0.5], "EXACT"),
        ([[2.0]], [-4.0], [-2], "EXACT"),
        ([[1.0, 2, 3], [2, 4, 6]], [1.0, 2], [0, 0, 1 / 3], "EXACT"),
        ([[1.0, 0], [0, 1], [1, 1]], [1.0, 2, 3], [1, 2], "EXACT"),
        ([[1.0, 0], [0, 1], [1, 1]], [1.0, 2, 4], [4 / 3, 7 / 3], "LEAST_SQUARES"),
        ([[1.0, 0.5], [0, 0]], [1.0, 1], [1, 0], "LEAST_SQUARES"),
        ([[0.0, 0], [0, 0]], [1.0, 1], [0, 0], "LEAST_SQUARES"),
        ([[1.0, 2, 3]], [0.0], [0, 0, 0], "EXACT"),
    ]:
        found = hf.recover(A, y)
        np.testing.assert_allclose(found.x, x, atol=1e-14)
        assert found.status is hf.Status[status]
        assert found.status.ok


@pytest.mark.filterwarnings("ignore::hadaflow.ConvergenceWarning")
def test_certificate_decides_the_status(monkeypatch, easy):
    """A finish that goes wrong is not called exact."""
    from hadaflow.solvers.path import finish as _finish

    honest = _finish.finish

    def spoilt(walk, status):
        end = honest(walk, status)
        return type(end)(end.x, end.nu + 0.1 * np.arange(40), end.status)

    monkeypatch.setattr(_finish, "finish", spoilt)
    found = hf.recover(easy.A, easy.y, method="saddles")
    assert found.status is hf.Status.INEXACT
    assert not found.status.ok


@pytest.mark.parametrize("method", ["auto", "saddles"])
def test_walks_are_not_led_astray_between_two_looks(method):
    """Columns may cross their bound within a block of jumps and be back inside at its end."""
    for seed in range(200):
        rng = np.random.default_rng(seed)
        m = int(rng.integers(3, 14))
        n = int(rng.integers(m + 1, 3 * m + 2))
        A, x = rng.integers(-5, 6, (m, n)).astype(float), np.maximum(rng.integers(-3, 4, n), 0)
        w = np.exp(rng.uniform(np.log(0.1), np.log(10), n))
        if (A @ x).any():
            assert hf.recover(A, A @ x, positive=True, weights=w, method=method).status is hf.Status.EXACT


@pytest.mark.filterwarnings("ignore::hadaflow.ConvergenceWarning")
def test_what_rounding_ends_is_no_least_squares():
    """The columns differ in the seventh digit; what is left of y could be met."""
    A = np.array([[1.0, 2, 3], [1e-7, -1e-7, 2e-7]])
    found = hf.recover(A, A @ [1.0, 1, 0])
    assert found.status in (hf.Status.EXACT, hf.Status.INEXACT, hf.Status.NOT_CONVERGED)


def test_refit_of_sizes_whose_squares_overflow():
    assert hf.recover(np.ones((2, 1)), [1e200, 1.1e200]).refit() == pytest.approx([1.05e200])

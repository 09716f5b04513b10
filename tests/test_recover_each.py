"""recover_each: the answers of recover, for many right-hand sides of one A."""

import warnings

import numpy as np
import pytest
import scipy.sparse as sp
from scipy.optimize import nnls
from scipy.sparse.linalg import aslinearoperator

import hadaflow as hf

NUMBERS = ("residual", "gap", "backward_error", "scaled_residual", "fit_gap")


def sparse_columns(n, k, most, rng, *, positive=False):
    X = np.zeros((n, k))
    for j in range(k):
        on = rng.choice(n, rng.integers(1, most + 1), replace=False)
        X[on, j] = np.abs(rng.standard_normal(len(on))) if positive else rng.standard_normal(len(on))
    return X


def gaussian(m=40, n=120, k=12, most=6, seed=0, **options):
    rng = np.random.default_rng(seed)
    A = rng.standard_normal((m, n))
    return A, A @ sparse_columns(n, k, most, rng, **options)


def decays(k=8, noise=0.005, seed=0):
    """Exponential decays, whose condition number is beyond all digits, and sums of them with noise."""
    rng = np.random.default_rng(seed)
    t, rates = np.arange(1, 33) * 0.01, np.geomspace(0.01, 2, 60)
    A = np.exp(-t[:, None] / rates)
    X = np.array([np.exp(-0.5 * ((np.arange(60) - centre) / 2) ** 2) for centre in rng.uniform(5, 55, k)]).T
    Y = A @ X
    return A, Y + noise * Y.max(axis=0) * rng.standard_normal(Y.shape)


def check(A, Y, *, noise_level=0.0, tolerance=1e-11, **options):
    """Each column as recover has it, and as well proved; returns what was found."""
    found = hf.recover_each(A, Y, noise_level=noise_level, **options)
    k = np.shape(Y)[1]
    assert len(found) == k
    assert found.statuses.shape == (k,)
    assert len(found.certificates) == k
    for j, level in enumerate(np.broadcast_to(noise_level, (k,))):
        one, mine = hf.recover(A, Y[:, j], noise_level=float(level), **options), found[j]
        assert mine.status is one.status is found.statuses[j]
        assert np.abs(mine.x - one.x).max() <= tolerance * max(np.abs(one.x).max(), 1e-300)
        assert np.array_equal(found.x[:, j], mine.x)
        assert np.array_equal(found.dual[:, j], mine.dual)
        assert np.array_equal(mine.support(), one.support())
        assert mine.x.dtype == one.x.dtype
        assert mine.dual.dtype == one.dual.dtype
        assert mine.certificate.unique == one.certificate.unique
        assert mine.certificate.gap <= 10 * one.certificate.gap + 1e-9
        assert mine.certificate.backward_error <= 10 * one.certificate.backward_error + 1e-15
        assert repr(mine.problem) == repr(one.problem)
        confirm(mine)
    return found


def confirm(recovery):
    """The certificate is the one that certify gives to x and the dual vector."""
    level = recovery.noise_level if recovery.status is hf.Status.NOISE_LEVEL else 0.0
    least_squares = recovery.status is hf.Status.LEAST_SQUARES
    again = hf.certify(
        recovery.problem,
        recovery.x,
        recovery.dual,
        gauge=recovery.gauge,
        noise_level=level,
        least_squares=least_squares,
    )
    given = recovery.certificate
    assert again.unique == given.unique
    assert again.l1_norm == pytest.approx(given.l1_norm, rel=1e-13)
    assert again.lower_bound == pytest.approx(given.lower_bound, rel=1e-9, abs=1e-300)
    assert again.margin == pytest.approx(given.margin, abs=1e-9)
    for name in NUMBERS:
        assert getattr(again, name) == pytest.approx(getattr(given, name), rel=1e-6, abs=1e-11)


# ---- the answers of recover ----------------------------------------------------------------------------------


def test_sparse_vectors():
    found = check(*gaussian())
    assert set(found.statuses) == {hf.Status.EXACT}
    assert found.certificates.unique.all()
    assert found.stats.events == sum(stats.events for stats in found.each_stats) > 0
    assert found.stats.passes == pytest.approx(sum(stats.passes for stats in found.each_stats))


def test_non_negative_vectors():
    assert check(*gaussian(positive=True), positive=True).positive


@pytest.mark.parametrize("positive", [False, True])
def test_weights(positive):
    A, Y = gaussian(positive=positive)
    weights = np.random.default_rng(1).uniform(0.2, 5, 120)
    assert np.array_equal(check(A, Y, weights=weights, positive=positive)[0].weights, weights)


def test_many_non_zeros():
    """As many as there are rows: long paths, on which coordinates come and go."""
    A, _ = gaussian()
    check(A, np.random.default_rng(2).standard_normal((40, 6)), tolerance=1e-9)


@pytest.mark.parametrize("units", ["rows", "columns"])
def test_uneven_units(units):
    A, _ = gaussian()
    rng = np.random.default_rng(3)
    A = A * 10.0 ** rng.uniform(-4, 4, (40, 1) if units == "rows" else 120)
    check(A, A @ sparse_columns(120, 6, 5, rng), tolerance=1e-8)


def test_uneven_right_hand_sides():
    A, Y = gaussian()
    check(A, Y * 10.0 ** np.linspace(-200, 200, 12))


def test_ties_and_dependent_columns():
    A, _ = gaussian()
    check(np.hstack([A[:, :60], A[:, :60]]), A @ sparse_columns(120, 5, 3, np.random.default_rng(4)))
    signs = np.random.default_rng(5).choice([-1.0, 1.0], (30, 80))
    check(signs, signs @ np.sign(sparse_columns(80, 8, 4, np.random.default_rng(6))))


def test_dependent_rows():
    rng = np.random.default_rng(7)
    A = rng.standard_normal((40, 15)) @ rng.standard_normal((15, 60))
    check(A, A @ sparse_columns(60, 5, 2, rng))
    check(A, rng.standard_normal((40, 4)), tolerance=1e-9)


@pytest.mark.parametrize("kind", ["csc", "csr", "float32", "list", "fortran"])
def test_kinds_of_matrices(kind):
    A, Y = gaussian()
    A = np.where(np.abs(A) > 1, A, 0.0)
    Y = A @ sparse_columns(120, 5, 3, np.random.default_rng(8))
    if kind == "float32":
        assert check(A.astype(np.float32), Y.astype(np.float32)).x.dtype == np.float32
    else:
        given = {"list": A.tolist(), "fortran": np.asfortranarray(A)}.get(kind)
        check(sp.coo_array(A).asformat(kind) if given is None else given, Y)


def test_linear_operator():
    A, Y = gaussian(k=3)
    check(aslinearoperator(A), Y, tolerance=1e-9)


@pytest.mark.parametrize("kind", ["matrix", "right-hand sides", "real x"])
def test_complex_data(kind):
    rng = np.random.default_rng(9)
    A, X = rng.standard_normal((20, 40)), sparse_columns(40, 3, 3, rng)
    if kind != "right-hand sides":
        A = A + 1j * rng.standard_normal((20, 40))
    if kind != "real x":
        X = X * np.exp(2j * rng.uniform(size=(1, 3)))
    found = check(A, A @ X, real=kind == "real x", tolerance=1e-9)
    assert np.iscomplexobj(found.x) == (kind != "real x")
    assert np.iscomplexobj(found.dual)


def test_groups():
    A, _ = gaussian()
    X = np.repeat(sparse_columns(60, 3, 3, np.random.default_rng(10)), 2, axis=0)
    check(A, A @ X, groups=2, tolerance=1e-9)


def test_a_gauge():
    A, Y = gaussian(k=4)
    lower = np.where(np.arange(120) % 2, -1.0, -2.0)
    check(A, Y, gauge=hf.gauges.Separable(lower, 1.0))
    check(A, Y, gauge=hf.gauges.L1(np.r_[0.0, np.ones(119)]))


@pytest.mark.parametrize("method", ["saddles", "limit"])
def test_methods(method):
    check(*gaussian(k=4), method=method)


# ---- least squares and noise ---------------------------------------------------------------------------------


def test_least_squares():
    rng = np.random.default_rng(11)
    found = check(rng.standard_normal((40, 10)), rng.standard_normal((40, 6)), tolerance=1e-9)
    assert set(found.statuses) == {hf.Status.LEAST_SQUARES}


def test_exact_and_least_squares_together():
    rng = np.random.default_rng(12)
    A = rng.standard_normal((40, 10))
    Y = A @ sparse_columns(10, 6, 4, rng)
    Y[:, ::2] += rng.standard_normal((40, 3))
    found = check(A, Y, tolerance=1e-9)
    assert [status.name for status in found.statuses] == ["LEAST_SQUARES", "EXACT"] * 3


def test_non_negative_least_squares_of_decays():
    A, Y = decays()
    found = check(A, Y, positive=True, tolerance=1e-5)
    assert set(found.statuses) == {hf.Status.LEAST_SQUARES}
    for j in range(len(found)):
        assert np.linalg.norm(A @ found.x[:, j] - Y[:, j]) <= nnls(A, Y[:, j])[1] * (1 + 1e-10)


def test_non_negative_least_squares_off_the_cone():
    rng = np.random.default_rng(13)
    A = np.abs(rng.standard_normal((30, 80)))
    Y = A @ sparse_columns(80, 6, 4, rng, positive=True) + 0.1 * rng.standard_normal((30, 6))
    check(A, Y, positive=True, tolerance=1e-9)


@pytest.mark.parametrize("positive", [False, True])
def test_a_row_so_short_that_others_drown_it_counts(positive):
    """What the long row rounds is more than all that the short one says."""
    A = np.array([[1.0, 0.0, 0.0], [1.0, -1.0, 1.0]]) * [[1e-7], [1e7]]
    Y = np.array([[1e-7, 2e-7, 5e-7], [0.0, 0.0, 0.0]])
    found = hf.recover_each(A, Y, positive=positive)
    assert set(found.statuses) == {hf.Status.EXACT}
    np.testing.assert_allclose(found.certificates.l1_norm, [2.0, 4.0, 10.0])


def test_noise_levels_among_ties():
    """Of two equal columns the path takes one, and which is for recover to say."""
    A, Y = gaussian(m=6, n=12, k=6)
    check(np.hstack([A, A]), Y + 0.1, noise_level=0.3)


def test_noise_levels():
    A, Y = gaussian()
    noise = 0.05 * np.random.default_rng(14).standard_normal(Y.shape)
    assert set(check(A, Y + noise, noise_level=0.4).statuses) == {hf.Status.NOISE_LEVEL}
    levels = np.linalg.norm(noise, axis=0)
    levels[:2] = 0.0, 1e3
    found = check(A, Y + noise, noise_level=levels)
    assert found.statuses[0] is hf.Status.EXACT
    assert not found.support_mask[:, 1].any()
    assert found[2].noise_level == levels[2]
    assert np.array_equal(found.noise_levels, levels)


# ---- shapes and edges ----------------------------------------------------------------------------------------


def test_zero_columns():
    A, Y = gaussian()
    Y[:, [0, 5]] = 0.0
    found = check(A, Y)
    assert not found.x[:, 5].any()
    assert found.statuses[5] is hf.Status.EXACT
    assert found[5].certificate.unique


def test_a_column_that_nothing_correlates_with():
    A = np.vstack([np.random.default_rng(15).standard_normal((20, 40)), np.zeros((1, 40))])
    Y = np.zeros((21, 4))
    Y[20] = 1.0
    for positive in (False, True):
        assert set(check(A, Y, positive=positive).statuses) == {hf.Status.LEAST_SQUARES}


@pytest.mark.parametrize("complex_too", [False, True])
def test_no_column(complex_too):
    A, Y = gaussian()
    A, Y = (A + 1j, Y + 0j) if complex_too else (A, Y)
    found = hf.recover_each(A, Y[:, :0])
    assert found.x.shape == (120, 0)
    assert found.dual.shape == (40, 0)
    assert len(found) == 0
    assert not list(found)
    assert np.iscomplexobj(found.x) == complex_too
    assert found.status is hf.Status.EXACT
    assert found.counts() == {}
    assert "0 columns" in repr(found)
    assert found._repr_html_()
    assert found.support_mask.shape == (120, 0)
    assert len(found.certificates) == 0


def test_one_column_and_two():
    A, Y = gaussian()
    check(A, Y[:, :1])
    check(A, Y[:, :2])


def test_small_shapes():
    A, Y = gaussian()
    check(A[:1], Y[:1])
    check(A[:, :1], Y, tolerance=1e-9)
    check(np.eye(40), Y)


def test_data_stay_as_they_are():
    A, Y = gaussian()
    before = A.copy(), Y.copy()
    A.setflags(write=False)
    Y.setflags(write=False)
    hf.recover_each(A, Y)
    assert np.array_equal(A, before[0])
    assert np.array_equal(Y, before[1])


@pytest.mark.parametrize("n_threads", [1, 2])
def test_threads_change_nothing(n_threads):
    A, Y = gaussian(k=40)
    A, Y = np.hstack([A, A[:, :1]]), np.hstack([Y, A[:, :1]])  # and a tie, which is left to a search of its own
    assert np.array_equal(hf.recover_each(A, Y, n_threads=n_threads).x, hf.recover_each(A, Y).x)


def test_progress():
    A, Y = gaussian(k=40)
    seen = []
    hf.recover_each(A, Y, progress=seen.append)
    hf.recover_each(aslinearoperator(A), Y[:, :3], progress=seen.append)
    assert {one.stage for one in seen} == {"recover_each"}
    assert seen[-1].message == "3 of 3 columns"
    assert seen[-1].fraction == 1.0
    assert any(one.message == "40 of 40 columns" for one in seen)


# ---- what is told --------------------------------------------------------------------------------------------


def test_result():
    A, Y = gaussian()
    found = hf.recover_each(A, Y)
    assert repr(found).startswith("Recoveries(40 x 120, 12 columns: 12 EXACT, gap up to")
    assert "12 of 12, proved" in found._repr_html_()
    assert np.array_equal(found.support_mask, found.x != 0)
    assert found.ok.all()
    assert found.counts() == {hf.Status.EXACT: 12}
    assert (found.statuses == hf.Status.EXACT).all()
    assert np.array_equal(found[-1].x, found.x[:, 11])
    assert len(list(found)) == 12
    assert found[3].certificate == found.certificates[3]
    assert "12" in repr(found.certificates)
    with pytest.raises(IndexError):
        found[12]


def test_one_bad_column_is_named():
    A, _ = decays(noise=0.0)
    Y = np.zeros((32, 5))
    Y[:, 2] = 1e6 * np.random.default_rng(16).standard_normal(32)
    with pytest.warns(hf.ConvergenceWarning) as caught:
        found = hf.recover_each(A, Y)  # signed sums of decays: no digits are left
    assert len(caught) == 1
    assert list(np.flatnonzero(~found.ok)) == [2]
    message = str(caught[0].message)
    assert message.startswith("recover_each: NOT_CONVERGED")
    assert "1 of 5 columns are not ok: column 2" in message
    assert caught[0].filename == __file__
    assert found.status is hf.Status.NOT_CONVERGED


def test_many_bad_columns_are_one_warning():
    A, _ = decays(noise=0.0)
    Y = np.random.default_rng(17).standard_normal((32, 5))
    with pytest.warns(
        hf.ConvergenceWarning, match="5 of 5 columns are not ok.*columns not ok: 0, 1, 2, 3, 4"
    ) as caught:
        hf.recover_each(A, Y)
    assert len(caught) == 1


def test_good_answers_do_not_warn():
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        hf.recover_each(*gaussian())
        hf.recover_each(*decays(), positive=True)


@pytest.mark.parametrize(
    ("change", "kind", "message"),
    [
        ({"Y": np.array([[1.0, np.nan]] * 3)}, ValueError, r"Y contains nan \(first at index \(0, 1\)\)"),
        ({"Y": np.ones(3)}, ValueError, "Y must be two-dimensional.*hadaflow.recover"),
        ({"Y": np.ones((4, 2))}, ValueError, "one entry per row of A"),
        ({"Y": [["a", "b"]] * 3}, TypeError, "Y must hold real numbers"),
        ({"A": np.full((3, 5), np.inf)}, ValueError, "A contains inf"),
        ({"noise_level": [1.0]}, ValueError, "one for each of the 2 columns of Y, got 1"),
        ({"noise_level": [1.0, -1.0]}, ValueError, "entry 1 is -1"),
        ({"noise_level": -1.0}, ValueError, "noise_level"),
        ({"noise_level": 1.0, "method": "limit"}, ValueError, "noise_level stops along the saddle path"),
        ({"n_threads": 0}, ValueError, "n_threads"),
        ({"positive": 1}, TypeError, "positive"),
        ({"weights": np.ones(4)}, ValueError, "weights"),
        ({"progress": 1}, TypeError, "progress"),
        ({"method": "other"}, ValueError, "method"),
    ],
)
def test_bad_input(change, kind, message):
    given = {"A": np.ones((3, 5)), "Y": np.ones((3, 2))} | change
    with pytest.raises(kind, match=message):
        hf.recover_each(**given)


def test_recover_names_recover_each():
    with pytest.raises(ValueError, match=r"hadaflow\.recover_each"):
        hf.recover(np.ones((3, 5)), np.ones((3, 2)))

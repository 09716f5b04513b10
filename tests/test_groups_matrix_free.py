"""recover() in groups where A is known by its products: complex data, groups= and joint=True with a LinearOperator."""

import numpy as np
import pytest
import scipy.fft
from scipy.sparse.linalg import LinearOperator, aslinearoperator

import hadaflow as hf
from hadaflow.gauges import L1, GroupNorm
from hadaflow.groups import Groups
from hadaflow.operators import ComplexOperator, as_operator
from hadaflow.recovery import _strategies
from hadaflow.solvers.implicit.faces import Descent, Point
from hadaflow.solvers.implicit.leaps import leap
from hadaflow.solvers.newton import normal
from hadaflow.units import to_unit


def gaussian(m, n, seed=0, *, imaginary=False):
    rng = np.random.default_rng(seed)
    A = rng.standard_normal((m, n))
    return A + 1j * rng.standard_normal((m, n)) if imaginary else A


def in_groups(n, size, k, seed=1):
    """A vector of which k groups of consecutive coordinates are not zero."""
    rng = np.random.default_rng(seed)
    x = np.zeros((n // size, size))
    x[rng.choice(n // size, k, replace=False)] = rng.standard_normal((k, size))
    return x.ravel()


def complex_sparse(n, k, seed=1):
    return in_groups(2 * n, 2, k, seed).view(np.complex128)


def fourier(m, n, seed=0):
    """Some samples of the discrete Fourier transform."""
    kept = np.sort(np.random.default_rng(seed).choice(n, m, replace=False))

    def adjoint(r):
        spectrum = np.zeros(n, dtype=complex)
        spectrum[kept] = np.ravel(r)
        return scipy.fft.ifft(spectrum, norm="ortho")

    return LinearOperator(
        (m, n), matvec=lambda v: scipy.fft.fft(np.ravel(v), norm="ortho")[kept], rmatvec=adjoint, dtype=complex
    )


def cosines(m, n, seed=0):
    """Some samples of the cosine transform of a vector with random signs."""
    rng = np.random.default_rng(seed)
    kept, signs = np.sort(rng.choice(n, m, replace=False)), rng.choice([-1.0, 1.0], n)

    def adjoint(r):
        spectrum = np.zeros(n)
        spectrum[kept] = np.ravel(r)
        return signs * scipy.fft.idct(spectrum, norm="ortho")

    return LinearOperator(
        (m, n), matvec=lambda v: scipy.fft.dct(signs * np.ravel(v), norm="ortho")[kept], rmatvec=adjoint, dtype=float
    )


def too_large(monkeypatch):
    """Let no operator be small enough for a matrix, nor its columns be asked for."""
    monkeypatch.setattr(normal, "LARGEST_COPY", 0)


# ---- by products -------------------------------------------------------------------------------------------


def test_complex_data():
    A, x = fourier(400, 1600), complex_sparse(1600, 50)
    found = hf.recover(A, A @ x)
    assert (found.status.name, found.stats.tried, found.x.dtype) == ("EXACT", ("leaps",), np.complex128)
    assert found.certificate.proves()
    np.testing.assert_allclose(found.x, x, atol=1e-11)
    np.testing.assert_array_equal(found.support(), np.flatnonzero(x))
    assert found.stats.passes < 400
    checked = hf.certify(found.problem, found.x, found.dual)
    assert checked.gap < 1e-8
    assert checked.unique


@pytest.mark.parametrize("size", [2, 8])
def test_groups(size):
    A, x = cosines(400, 1600), in_groups(1600, size, 100 // size)
    found = hf.recover(A, A @ x, groups=size)
    assert (found.status.name, found.stats.tried) == ("EXACT", ("leaps",))
    np.testing.assert_allclose(found.x, x, atol=1e-11)
    assert found.stats.passes < 400


def test_groups_of_all_sizes_in_any_order_with_weights():
    rng = np.random.default_rng(0)
    labels = rng.permutation(np.repeat(np.arange(400), np.tile([1, 2, 5, 8], 100)))
    weights = rng.uniform(0.5, 2, 400)
    A = cosines(500, 1600)
    x = np.where(np.isin(labels, rng.choice(400, 20, replace=False)), rng.standard_normal(1600), 0.0)
    found = hf.recover(A, A @ x, groups=labels, weights=weights)
    assert (found.status.name, found.stats.tried) == ("EXACT", ("leaps",))
    np.testing.assert_allclose(found.x, x, atol=1e-11)


@pytest.mark.parametrize("imaginary", [False, True])
def test_joint_columns(imaginary):
    A = fourier(200, 1200) if imaginary else cosines(300, 1200)
    X = in_groups(3600, 3, 25).reshape(1200, 3) * (1 + 2j if imaginary else 1)
    Y = np.column_stack([A @ column for column in X.T])
    found = hf.recover(A, Y, joint=True)
    assert (found.status.name, found.stats.tried) == ("EXACT", ("leaps",))
    np.testing.assert_allclose(found.x, X, atol=1e-11)


@pytest.mark.parametrize(
    ("A", "x", "options"),
    [
        (gaussian(60, 150, imaginary=True), complex_sparse(150, 8), {}),
        (gaussian(60, 160), in_groups(160, 4, 4), {"groups": 4}),
        (gaussian(60, 160), in_groups(160, 4, 4), {"groups": 4, "weights": np.linspace(0.5, 2, 40)}),
        (gaussian(60, 160), in_groups(160, 4, 14), {"groups": 4}),  # past the threshold
        (gaussian(40, 90, imaginary=True), complex_sparse(90, 25), {}),
        (gaussian(40, 100), in_groups(300, 3, 8).reshape(100, 3), {"joint": True}),
        (gaussian(40, 100), in_groups(300, 3, 30).reshape(100, 3), {"joint": True}),
    ],
)
def test_an_operator_gives_the_answer_of_its_matrix(A, x, options):
    by_products, by_columns = hf.recover(aslinearoperator(A), A @ x, **options), hf.recover(A, A @ x, **options)
    assert by_products.status.name == by_columns.status.name == "EXACT"
    size = by_columns.certificate.l1_norm
    np.testing.assert_allclose(by_products.x, by_columns.x, atol=1e-8 * size)
    assert by_products.certificate.l1_norm == pytest.approx(size, rel=1e-9)


@pytest.mark.parametrize("scale", [1e-150, 1e150])
def test_units_do_not_matter(scale):
    A, x = fourier(200, 800), complex_sparse(800, 20)
    found = hf.recover(A, scale * (A @ x))
    assert found.status.name == "EXACT"
    np.testing.assert_allclose(found.x, scale * x, atol=1e-11 * scale)


def test_single_precision():
    A, x = gaussian(100, 400, imaginary=True), complex_sparse(400, 10)
    found = hf.recover(aslinearoperator(A.astype(np.complex64)), (A @ x).astype(np.complex64))
    assert (found.status.name, found.x.dtype) == ("EXACT", np.complex64)
    np.testing.assert_allclose(found.x, x, atol=1e-4)


def test_steps_from_dual_state_to_dual_state_find_an_end_with_few_groups():
    """On the way there leaps have more entries than y."""
    A, x = gaussian(250, 1000, 0, imaginary=True), complex_sparse(1000, 75)
    unit = to_unit(hf.Problem(aslinearoperator(A), A @ x), GroupNorm(Groups.of(2, 2000)))
    end, _ = leap(unit, most_products=4000)
    np.testing.assert_allclose(unit.original_x(end.x).view(np.complex128), x, atol=1e-10)


# ---- past the threshold ------------------------------------------------------------------------------------


def test_past_the_threshold_a_small_operator_is_copied():
    A, x = gaussian(60, 160), in_groups(160, 4, 14)
    found = hf.recover(aslinearoperator(A), A @ x, groups=4)
    assert (found.status.name, found.stats.method) == ("EXACT", "central path")
    assert found.stats.tried[0] == "leaps"
    assert found.certificate.unique
    assert found.stats.passes < 3 * 160
    assert isinstance(found.problem.A, LinearOperator)


@pytest.mark.filterwarnings("ignore::hadaflow.ConvergenceWarning")
def test_a_large_one_is_handed_over_with_its_gap(monkeypatch):
    too_large(monkeypatch)
    monkeypatch.setattr(_strategies, "_MOST_PRODUCTS", 1000)
    A, x = gaussian(60, 160), in_groups(160, 4, 14)
    exact = hf.recover(A, A @ x, groups=4).certificate.l1_norm
    with pytest.warns(hf.ConvergenceWarning):
        found = hf.recover(aslinearoperator(A), A @ x, groups=4)
    assert (found.status.name, found.stats.tried) == ("INEXACT", ("leaps",))
    assert found.certificate.residual < 1e-10
    assert 1e-8 < found.certificate.gap < 0.5
    assert found.certificate.lower_bound <= exact <= found.certificate.l1_norm
    assert found.stats.passes <= 1020


@pytest.mark.parametrize("method", ["auto", "limit"])
def test_columns_of_a_large_one_are_not_asked_for(monkeypatch, method):
    too_large(monkeypatch)
    A, x = fourier(400, 1600), complex_sparse(1600, 50)
    asked, columns = [], ComplexOperator.columns
    monkeypatch.setattr(ComplexOperator, "columns", lambda self, index: asked.extend(index) or columns(self, index))
    y = A @ x
    found = hf.recover(A, y, method=method)
    assert len(set(asked)) <= 2 * 50 + 2  # to prove uniqueness, and to measure the longest
    assert (found.status.name, found.stats.tried) == ("EXACT", ("leaps",))
    nothing = hf.recover(A, 0 * y, method=method)
    assert nothing.status.name == "EXACT"
    assert not nothing.x.any()


def test_measurements_out_of_range():
    A, y = gaussian(40, 16, imaginary=True), gaussian(40, 1, 1, imaginary=True)[:, 0]
    found = hf.recover(aslinearoperator(A), y)
    assert found.status.name == "LEAST_SQUARES"
    np.testing.assert_allclose(found.x, np.linalg.lstsq(A, y)[0], atol=1e-10)


def test_a_product_per_complex_column():
    asked = []
    A = gaussian(6, 9, imaginary=True)
    operator = LinearOperator(
        A.shape, matvec=lambda v: asked.append(v) or A @ v, rmatvec=lambda r: A.conj().T @ r, dtype=complex
    )
    by_products, matrix = hf.Problem(operator, A[:, 0]).operator, hf.Problem(A, A[:, 0]).operator
    index = np.array([3, 2, 4, 17])
    np.testing.assert_array_equal(by_products.columns(index), matrix.columns(index))
    assert len(asked) == 3


# ---- descent -----------------------------------------------------------------------------------------------


def descents(gauge, seed=0):
    descent = Descent(as_operator(gaussian(30, 60, seed)), gauge)
    y = gaussian(30, 1, seed + 1)[:, 0]
    return descent, Point(np.zeros(60), y, descent.operator.rmatvec(y))


@pytest.mark.parametrize("size", [2, 3, 10])
def test_descent_meets_the_conditions_of_the_group_lasso(size):
    groups = Groups.of(size, 60)
    descent, start = descents(GroupNorm(groups))
    penalty = 0.5 * descent.gauge.dual(start.g)
    end = descent.settle(start, penalty, 1e-10)
    on = groups.norms(end.x) > 0
    g = descent.operator.rmatvec(start.r - descent.operator.matvec(end.x))
    expected = penalty * groups.polar(end.x)[1]
    np.testing.assert_allclose(np.where(groups.spread(on), g - expected, 0.0), 0, atol=1e-7 * penalty)
    assert 0 < np.count_nonzero(on) < groups.count
    assert groups.norms(g)[~on].max() <= penalty * (1 + 1e-8)


@pytest.mark.parametrize("accuracy", [0.1, 1e-9])
def test_groups_of_one_are_single_coordinates(accuracy):
    penalty = 2.0
    ends = []
    for gauge in (L1(), GroupNorm(Groups(np.arange(60)))):
        descent, start = descents(gauge)
        ends.append((descent.settle(start, penalty, accuracy), descent.products))
    np.testing.assert_allclose(ends[0][0].x, ends[1][0].x, atol=1e-12)
    assert ends[0][1] == ends[1][1]


@pytest.mark.parametrize("labels", [np.arange(24) // 3, np.arange(24) % 8, np.repeat(np.arange(4), [1, 5, 8, 10])])
def test_sums_and_parts_of_a_partition(labels):
    groups, z = Groups(labels), np.random.default_rng(0).standard_normal(24)
    count = labels.max() + 1
    np.testing.assert_allclose(groups.sums(z), [z[labels == g].sum() for g in range(count)])
    np.testing.assert_array_equal(groups.spread(np.arange(count)), labels)
    np.testing.assert_array_equal(groups.spread(np.eye(count)), np.eye(count)[labels])
    index = np.flatnonzero((labels == 1) | (labels == 3))
    np.testing.assert_array_equal(groups.of_coordinates(index), [1, 3])
    np.testing.assert_array_equal(groups.whole(index[:1]), np.flatnonzero(labels == labels[index[0]]))
    np.testing.assert_array_equal(groups.on(index).labels, (labels[index] == 3).astype(int))

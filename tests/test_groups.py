"""Groups, complex data and joint columns: reference values to many digits, invariances, and answers that are proved."""

import warnings

import numpy as np
import pytest
import scipy.sparse as sp
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.sparse.linalg import LinearOperator, aslinearoperator

import hadaflow as hf
from hadaflow.gauges import GroupNorm
from hadaflow.groups import Groups
from hadaflow.operators import Metered, Repeated, Scaled, as_operator
from hadaflow.operators.block import dense
from hadaflow.operators.making import complex_operator

TWO = np.array([[1.0, 0.0, 0.5, 0.2], [0.0, 1.0, -0.3, 0.6]])
ROUND = np.array([[1.0, 0.2, 0.6, 0.1], [0.0, 0.6, -0.1, 1.0]])  # more coordinates on the support than rows
Y = np.array([1.0, 0.5])
COMPLEX = np.array([[1, 0.5 + 0.5j, 0.2 - 0.7j], [0.3j, 1, -0.6]])
Y_COMPLEX = np.array([1 + 1j, 0.5 - 0.2j])
SEVERAL = np.array([[1, 0.5, -0.4], [0.2, 1, 0.8]])
Y_SEVERAL = np.array([[1, 0.3], [-0.5, 0.9]])
UNEQUAL = np.array([[1, 0.2, 0.5, 0.9, -0.3, 0.4], [0.1, 1, -0.6, 0.2, 0.8, 0.1], [-0.4, 0.3, 0.7, 0.5, 0.2, 1]])
LISTS = [[0], [1, 2], [3, 4, 5]]

# Computed with 40 digits.
LIMITS = [
    (TWO, 2, 1e-2, (0.94299789476514, 0.46069782258239, 0.073168965714988, 0.10208811188684)),
    (TWO, 2, 1e-6, (0.99909775109143, 0.49936051500149, 0.0011484787373329, 0.0016400476995088)),
    (TWO, 3, 1e-2, (0.97695306871847, 0.48384478472752, 0.029436432540066, 0.041643575057508)),
    (TWO, 3, 1e-4, (0.99960157781633, 0.49971753931518, 0.00050711437011007, 0.00072432499308966)),
    (TWO, 4, 1e-2, (0.98441081246879, 0.48903194180352, 0.019888613553968, 0.028224403771113)),
    (TWO, 4, 1e-4, (0.99980536214885, 0.49986199764191, 0.0002477284418639, 0.00035386815107604)),
    (ROUND, 2, 1e-2, (0.76960138416165, 0.43588357914226, 0.1956965815712, 0.25803951067176)),
    (ROUND, 2, 1e-100, (0.83185296585896, 0.7226906286965, 0.027820239546762, 0.069167646736776)),
    (ROUND, 3, 1e-8, (0.8323670921162, 0.73435018894644, 0.024301444969338, 0.061820031129072)),
    (ROUND, 4, 1e-8, (0.83252458157986, 0.73843259200398, 0.023106320556685, 0.05925107685328)),
]


@pytest.mark.parametrize(("A", "depth", "scale", "expected"), LIMITS)
def test_limits_in_groups(A, depth, scale, expected):
    end = hf.limit(hf.Problem(A, Y, groups=2), hf.HadamardPower(depth), init_scale=scale ** (1 / depth))
    assert end.status.name == "LIMIT"
    np.testing.assert_allclose(end.x, expected, rtol=0, atol=3e-13)


def test_limits_of_complex_and_joint_data():
    end = hf.limit(hf.Problem(COMPLEX, Y_COMPLEX), hf.HadamardPower(3), init_scale=0.1)
    expected = [
        0.47051641113182 + 0.54084650104924j,
        0.5077875822688 - 0.10640323522055j,
        -0.25744394674328 + 0.39125281353166j,
    ]
    np.testing.assert_allclose(end.x, expected, rtol=0, atol=3e-13)
    end = hf.limit(hf.Problem(SEVERAL, Y_SEVERAL, joint=True), hf.HadamardPower(4), init_scale=0.1)
    expected = [
        (0.68730190139163, 0.33563177430144),
        (-0.0060320915307934, 0.38080504826842),
        (-0.78928536093442, 0.56508574608912),
    ]
    np.testing.assert_allclose(end.x, expected, rtol=0, atol=3e-13)
    assert end.dual.shape == (2, 2)


def test_limit_with_a_start_per_group():
    problem = hf.Problem(UNEQUAL, [1, -0.5, 0.8], groups=LISTS)
    start = 0.1 * np.array([1, 1.5, 2]) ** -0.5
    # At depth 4 the barrier of a group is at a_g^-2; its product scale is a_g^4.
    end = hf.limit(problem, hf.HadamardPower(4), init_scale=start)
    theta = UNEQUAL.T @ end.dual
    for group, a in zip(LISTS, start, strict=True):
        rho = np.linalg.norm(theta[group])
        mirror = hf.HadamardPower(4).mirror(a, 1)
        np.testing.assert_allclose(end.x[group], mirror.x(np.array([rho])) * theta[group] / rho, rtol=1e-9)
    np.testing.assert_allclose(UNEQUAL @ end.x, [1, -0.5, 0.8], atol=1e-13)


def test_ties_are_broken_by_the_depth():
    A, turn = np.array([[1.0, 1, 1], [0, 1, 3]]) + 0j, np.exp(1j)
    for depth, t in ((2, 0.217988), (3, 0.219359), (4, 0.220063)):
        end = hf.limit(hf.Problem(A, np.ones(2) * turn), hf.HadamardPower(depth), init_scale=1e-7 ** (1 / depth))
        shares = end.x * np.conj(turn)
        assert abs(shares[2] - t) < 2e-6
        assert np.abs(shares.imag).max() < 1e-12
    assert not hf.recover(A, np.ones(2) * turn).certificate.unique


@pytest.mark.parametrize("depth", [2, 3, 4])
def test_phases_turn_with_the_data(depth):
    """A = (1, r e^{i phi}), y = e^{i psi} has the limits of the real problem, turned."""
    r, phi, psi = 0.6, 0.9, -1.3
    real = hf.limit(hf.Problem(np.array([[1.0, r]]), [1.0]), hf.HadamardPower(depth), init_scale=0.1).x
    A, y = np.array([[1.0, r * np.exp(1j * phi)]]), np.array([np.exp(1j * psi)])
    end = hf.limit(hf.Problem(A, y), hf.HadamardPower(depth), init_scale=0.1)
    np.testing.assert_allclose(end.x, real * np.exp(1j * np.array([psi, psi - phi])), atol=1e-11)


def test_minimisers_to_many_digits():
    r = hf.recover(ROUND, Y, groups=2)
    expected = (0.832540099981401198, 0.738851617083353809, 0.0229847108638184739, 0.0589875008363695622)
    np.testing.assert_allclose(r.x, expected, rtol=0, atol=1e-14)
    np.testing.assert_allclose(r.dual, (0.747937267692367311, 0.856969944943372963), rtol=0, atol=1e-14)
    assert r.certificate.l1_norm == pytest.approx(1.17642224016405379, rel=1e-14)
    assert (r.status.name, r.certificate.unique, list(r.active_groups())) == ("EXACT", True, [0, 1])

    r = hf.recover(COMPLEX, Y_COMPLEX)
    expected = [
        0.4701480783139843 + 0.5535385646820001j,
        0.5190883757556099 - 0.1178795435780304j,
        -0.244955322748317 + 0.3719414665269414j,
    ]
    np.testing.assert_allclose(r.x, expected, rtol=0, atol=1e-14)
    np.testing.assert_allclose(np.abs(COMPLEX.conj().T @ r.dual), 1, atol=1e-13)
    assert r.certificate.l1_norm == pytest.approx(1.703916035032032, rel=1e-14)

    r = hf.recover(SEVERAL, Y_SEVERAL, joint=True)
    expected = [
        (0.68685007139036, 0.3388860170512482),
        (-0.005535078529395961, 0.3772253812436269),
        (-0.789793669685845, 0.5687467691826543),
    ]
    np.testing.assert_allclose(r.x, expected, rtol=0, atol=1e-14)
    assert r.certificate.l1_norm == pytest.approx(2.116434675431504, rel=1e-14)

    r = hf.recover(UNEQUAL, [1, -0.5, 0.8], groups=LISTS, weights=[1, 1.5, 2])
    expected = (
        0.2144682883684936,
        -0.03827252662180639,
        0.750666006104635,
        0.3040466288949691,
        -0.1481563843494575,
        0.2494108314831018,
    )
    np.testing.assert_allclose(r.x, expected, rtol=0, atol=1e-14)
    assert r.certificate.l1_norm == pytest.approx(2.182406912321292, rel=1e-14)


def test_the_smallest_group_certificate():
    r = hf.recover(TWO, Y, groups=2)
    np.testing.assert_allclose(r.x, [1, 0.5, 0, 0], atol=1e-15)
    assert r.certificate.margin == pytest.approx(1 - 0.5458937625582472, abs=1e-9)


# ---- one idea: each is a special case of groups -------------------------------------------------------------------


def planted(rng, m, n, width, count, *, dtype=float, columns=None):
    """A Gaussian matrix and an x of so many groups of consecutive rows."""
    shape = (n,) if columns is None else (n, columns)
    A, x = rng.standard_normal((m, n)).astype(dtype), np.zeros(shape, dtype)
    values = rng.standard_normal(shape)
    if dtype is complex:
        A, values = A + 1j * rng.standard_normal((m, n)), values + 1j * rng.standard_normal(shape)
    for g in rng.permutation(n // width)[:count]:
        x[g * width : (g + 1) * width] = values[g * width : (g + 1) * width]
    return A, x


def embedded(A):
    """A complex matrix as a real one of pairs."""
    m, n = A.shape
    real = np.empty((2 * m, 2 * n))
    real[0::2, 0::2], real[0::2, 1::2], real[1::2, 0::2], real[1::2, 1::2] = A.real, -A.imag, A.imag, A.real
    return real


seeds = st.integers(0, 2**31)


@given(seeds, st.integers(1, 12))
@settings(max_examples=25, deadline=None)
def test_complex_data_are_their_real_embedding_in_pairs(seed, count):
    A, x = planted(np.random.default_rng(seed), 10, 24, 1, count, dtype=complex)
    one = hf.recover(A, A @ x)
    two = hf.recover(embedded(A), (A @ x).view(float), groups=2)
    assert (one.status, one.certificate.unique) == (two.status, two.certificate.unique)
    np.testing.assert_allclose(one.x.view(float), two.x, atol=1e-9 * np.abs(x).max())
    a = 1e-2
    ends = [hf.limit(p, hf.HadamardPower(3), init_scale=a) for p in (one.problem, two.problem)]
    np.testing.assert_allclose(ends[0].x.view(float), ends[1].x, atol=1e-10 * np.abs(x).max())


@given(seeds, st.integers(1, 8), st.sampled_from([float, complex]))
@settings(max_examples=25, deadline=None)
def test_joint_columns_are_groups_of_the_kronecker_form(seed, count, dtype):
    A, X = planted(np.random.default_rng(seed), 8, 16, 1, count, dtype=dtype, columns=3)
    one = hf.recover(A, A @ X, joint=True)
    two = hf.recover(np.kron(A, np.eye(3)), (A @ X).ravel(), groups=np.repeat(np.arange(16), 3))
    assert one.status is two.status
    assert one.certificate.l1_norm == pytest.approx(two.certificate.l1_norm, rel=1e-9)
    if one.certificate.unique:
        np.testing.assert_allclose(one.x.ravel(), two.x, atol=1e-8 * np.abs(X).max())
        np.testing.assert_array_equal(one.support(), two.active_groups())
    ends = [hf.limit(p, hf.HadamardPower(4), init_scale=0.1).x.ravel() for p in (one.problem, two.problem)]
    np.testing.assert_allclose(ends[0], ends[1], atol=1e-9 * np.abs(X).max())


@given(seeds, st.integers(1, 6))
@settings(max_examples=25, deadline=None)
def test_turning_a_group_turns_the_answer_and_order_does_not_matter(seed, count):
    rng = np.random.default_rng(seed)
    A, x = planted(rng, 12, 30, 3, count)
    plain = hf.recover(A, A @ x, groups=3)
    turns = [np.linalg.qr(rng.standard_normal((3, 3)))[0] for _ in range(10)]
    turned = np.hstack([A[:, 3 * g : 3 * g + 3] @ turn for g, turn in enumerate(turns)])
    order = rng.permutation(30)
    other = hf.recover(turned[:, order], A @ x, groups=np.repeat(np.arange(10), 3)[order])
    back = np.empty(30)
    back[order] = other.x
    back = np.concatenate([turn @ back[3 * g : 3 * g + 3] for g, turn in enumerate(turns)])
    assert plain.status is other.status
    assert plain.certificate.l1_norm == pytest.approx(other.certificate.l1_norm, rel=1e-10)
    if plain.certificate.unique:
        np.testing.assert_allclose(plain.x, back, atol=1e-8 * np.abs(x).max())


def test_groups_of_one_are_no_groups():
    A, x = planted(np.random.default_rng(0), 40, 80, 1, 6)
    plain = hf.recover(A, A @ x)
    for groups in (1, np.arange(80)[::-1], [[j] for j in range(80)]):
        r = hf.recover(A, A @ x, groups=groups)
        np.testing.assert_array_equal(r.x, plain.x)
        assert r.problem.groups.single
    single = GroupNorm(np.arange(80))  # the engine of groups, made to do it
    r = hf.recover(A, A @ x, gauge=single)
    np.testing.assert_allclose(r.x, plain.x, atol=1e-13)
    assert r.stats.method == "leaps"


@pytest.mark.parametrize("factor", [2.0**-60, 3e40])
def test_units_do_not_matter(factor):
    A, x = planted(np.random.default_rng(1), 20, 60, 3, 4)
    one, two = hf.recover(A, A @ x, groups=3), hf.recover(A * factor, A @ x, groups=3)
    np.testing.assert_allclose(two.x * factor, one.x, atol=1e-13 * np.abs(x).max())
    assert two.certificate.proves(gap=1e-11, residual=1e-12)


# ---- answers that are proved --------------------------------------------------------------------------------------

KINDS = {
    "groups": {"width": 4, "count": 4},
    "more coordinates than rows": {"width": 4, "count": 20},
    "complex": {"width": 1, "count": 12, "dtype": complex},
    "complex past the threshold": {"width": 1, "count": 40, "dtype": complex},
    "joint": {"width": 1, "count": 20, "columns": 5},
    "joint past the threshold": {"width": 1, "count": 40, "columns": 5},
    "complex joint": {"width": 1, "count": 15, "dtype": complex, "columns": 3},
    "complex groups": {"width": 3, "count": 4, "dtype": complex},
}


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("kind", KINDS)
def test_answers_are_exact_and_unique(kind, seed):
    options = KINDS[kind]
    A, x = planted(np.random.default_rng(seed), 60, 168, **options)
    width = options["width"]
    r = hf.recover(A, A @ x, groups=width if width > 1 else None, joint="columns" in options)
    assert r.status.name == "EXACT"
    assert r.certificate.proves(gap=1e-11, residual=1e-12)
    assert r.certificate.unique
    assert r.x.dtype == x.dtype
    assert r.x.shape == x.shape
    if "past" not in kind and "more" not in kind:
        np.testing.assert_allclose(r.x, x, atol=1e-12)
        np.testing.assert_array_equal(r.support(), np.flatnonzero(np.abs(x.reshape(len(x), -1)).sum(axis=1)))
        np.testing.assert_allclose(r.refit(), x, atol=1e-12)


def test_nothing_wrong_is_certified():
    A, x = planted(np.random.default_rng(3), 20, 60, 3, 4)
    r = hf.recover(A, A @ x, groups=3)
    longer = r.x + np.linalg.svd(A)[2][-1]  # fits as well
    wrong = hf.certify(r.problem, longer, r.dual)
    assert wrong.gap > 1e-3
    assert not wrong.unique
    assert hf.certify(r.problem, 1.01 * r.x, r.dual).residual > 1e-3
    assert hf.certify(r.problem, r.x, np.ones(20)).gap > 1e-2
    lower = hf.certify(r.problem, r.x, np.random.default_rng(0).standard_normal(20)).lower_bound
    assert lower < r.certificate.l1_norm


def test_degenerate_problems():
    A = np.sign(np.random.default_rng(5).standard_normal((4, 48))) + 0j  # many groups meet their bounds at once
    A[:, ::7] = 0
    x = np.zeros(48, complex)
    x[:40] = np.random.default_rng(6).standard_normal(40)
    r = hf.recover(A, A @ x)
    assert r.status.ok
    assert r.certificate.gap < 1e-8
    equal = np.hstack([TWO, TWO])
    r = hf.recover(equal, Y, groups=2)
    assert r.status.ok
    assert not r.certificate.unique
    r = hf.recover(TWO, np.zeros(2), groups=2)
    assert not r.x.any()
    tall = np.random.default_rng(7).standard_normal((20, 6))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        r = hf.recover(tall, np.arange(20.0), groups=3)
    np.testing.assert_allclose(r.x, np.linalg.lstsq(tall, np.arange(20.0))[0], atol=1e-12)
    assert r.status.name == "LEAST_SQUARES"


@pytest.mark.parametrize("kind", [np.asarray, sp.csc_array, sp.csr_array])
@pytest.mark.parametrize("dtype", [np.complex64, np.complex128, np.float32])
def test_kinds_and_precisions_of_data(kind, dtype):
    A, x = planted(np.random.default_rng(8), 30, 60, 3, 3, dtype=complex if dtype(0).dtype.kind == "c" else float)
    A = kind(A.astype(dtype))
    y = (A @ x.astype(dtype)).astype(dtype)
    r = hf.recover(A, y, groups=3)
    assert r.status.name == "EXACT"
    assert r.x.dtype == dtype
    assert np.abs(r.x - x).max() < (2e-5 if dtype in (np.complex64, np.float32) else 1e-12)


def test_real_unknown_behind_complex_rows():
    rng = np.random.default_rng(9)
    A, x = planted(rng, 20, 60, 1, 6, dtype=complex)
    x = x.real
    r = hf.recover(A, A @ x, real=True)
    np.testing.assert_allclose(r.x, x, atol=1e-12)
    stacked = hf.recover(np.vstack([A.real, A.imag]), np.concatenate([(A @ x).real, (A @ x).imag]))
    np.testing.assert_allclose(r.x, stacked.x, atol=1e-12)
    assert r.x.dtype == float
    assert hf.recover(A, A @ np.abs(x), real=True, positive=True).x.min() >= 0
    with pytest.raises(ValueError, match="real=True asks for a real x, but A is real and y complex"):
        hf.recover(A.real, A @ x, real=True)


def test_complex_measurements_through_a_real_matrix():
    A, x = planted(np.random.default_rng(10), 30, 60, 1, 6)
    x = x * np.exp(1j * np.arange(60))
    r = hf.recover(A, A @ x)
    np.testing.assert_allclose(r.x, x, atol=1e-12)
    assert r.problem.operator.repeats == 2


# ---- words ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("groups", "error", "message"),
    [
        (7, ValueError, "groups=7 must divide the 4 coordinates"),
        (0, ValueError, "groups=0 must divide"),
        (True, TypeError, "groups must be a size, labels of shape"),
        ("ab", TypeError, "groups must be a size, labels of shape"),
        ([0, 1, 2], ValueError, r"labels of shape \(4,\) or lists of coordinates, got an array of shape \(3,\)"),
        ([[0, 1], [1, 2, 3]], ValueError, "coordinate 1 is in groups 0 and 1 of groups: groups must not overlap"),
        ([[0, 1], [3]], ValueError, "coordinate 2 is in no group of groups"),
        ([[0, 1], [2, 3, 4]], ValueError, "group 1 of groups holds coordinate 4, but x has 0 to 3"),
        ([[0, 0], [1, 2, 3]], ValueError, "group 0 of groups holds a coordinate twice"),
        ([[0, 1, 2, 3], []], ValueError, "group 1 of groups must be a list of coordinates, not empty"),
        ([0.0, np.nan, 1.0, 1.0], ValueError, "groups contain NaN or infinity"),
    ],
)
def test_groups_that_are_none(groups, error, message):
    with pytest.raises(error, match=message):
        hf.recover(TWO, Y, groups=groups)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: hf.recover(TWO, Y, groups=2, positive=True), "signs are no matter of a group"),
        (lambda: hf.recover(COMPLEX, Y_COMPLEX, positive=True), "complex numbers have no sign"),
        (lambda: hf.recover(TWO, Y, groups=2, noise_level=0.1), "noise_level stops along the saddle path"),
        (lambda: hf.recover(TWO, Y, groups=2, method="saddles"), "method='saddles' walks a piecewise constant path"),
        (lambda: hf.recover(SEVERAL, Y_SEVERAL), "pass joint=True where the x of its columns have one support"),
        (lambda: hf.recover(TWO, Y, groups=2, weights=[1, 2, 3]), "one entry per group"),
        (lambda: hf.saddles(hf.Problem(COMPLEX, Y_COMPLEX)), "saddles works coordinate by coordinate, but the problem"),
        (
            lambda: hf.limit(hf.Problem(TWO, Y, groups=2), hf.HadamardPower(3, "positive"), init_scale=0.1),
            "knows one sign, but a group",
        ),
        (lambda: hf.certify(hf.Problem(COMPLEX, Y_COMPLEX), np.ones(2), Y_COMPLEX), r"x must have shape \(3,\)"),
        (
            lambda: hf.Problem(COMPLEX, Y_COMPLEX, hf.losses.Logistic()),
            "complex data and joint=True are for the squared",
        ),
        (lambda: hf.recover(SEVERAL, np.zeros((2, 0)), joint=True), "y has no columns"),
        (lambda: hf.recover(SEVERAL, Y, joint=True), "y must be two-dimensional"),
    ],
)
def test_what_excludes_each_other(call, message):
    with pytest.raises(ValueError, match=message):
        call()


def test_answers_speak_of_the_data_as_they_were_given():
    r = hf.recover(COMPLEX, Y_COMPLEX)
    assert repr(r).startswith("Recovery(2 x 3, EXACT, 3 non-zeros")
    assert repr(r.problem) == "Problem(2 x 3, complex128, ndarray, 3 groups)"
    r = hf.recover(SEVERAL, Y_SEVERAL, joint=True)
    assert repr(r).startswith("Recovery(2 x 3, 2 columns, EXACT")
    again = hf.certify(r.problem, r.x, r.dual)
    assert again.gap < 1e-12
    assert again.unique


# ---- operators ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["complex", "real unknown", "repeated", "complex repeated", "scaled repeated"])
@pytest.mark.parametrize("kind", [np.asarray, sp.csc_array, aslinearoperator])
def test_operators_are_the_matrix_that_is_meant(name, kind):
    rng = np.random.default_rng(0)
    A = rng.standard_normal((3, 4)) + (1j * rng.standard_normal((3, 4)) if name != "repeated" else 0)
    operator, matrix = {
        "complex": lambda: (complex_operator(kind(A)), embedded(A)),
        "real unknown": lambda: (complex_operator(kind(A), real=True), embedded(A)[:, ::2]),
        "repeated": lambda: (Repeated(as_operator(kind(A)), 2), np.kron(A, np.eye(2))),
        "complex repeated": lambda: (Repeated(complex_operator(kind(A)), 2), np.kron(embedded(A), np.eye(2))),
        "scaled repeated": lambda: (
            Metered(
                Scaled(
                    Repeated(complex_operator(kind(A)), 2), 0.5, np.repeat([1.0, 2, 3, 4], 4), np.repeat([1.0, 2, 3], 4)
                )
            ),
            np.kron(
                np.diag(np.repeat([1.0, 2, 3], 2)) @ embedded(A) @ np.diag(np.repeat([0.5, 1, 1.5, 2], 2)), np.eye(2)
            ),
        ),
    }[name]()
    m, n = matrix.shape
    v, r, index = rng.standard_normal(n), rng.standard_normal(m), np.array([2, 0, 3])
    assert operator.shape == (m, n)
    exact = {
        "matvec": (operator.matvec(v), matrix @ v),
        "rmatvec": (operator.rmatvec(r), matrix.T @ r),
        "matmat": (operator.matmat(np.column_stack([v, 2 * v])), matrix @ np.column_stack([v, 2 * v])),
        "rmatmat": (operator.rmatmat(np.column_stack([r, 2 * r])), matrix.T @ np.column_stack([r, 2 * r])),
        "columns": (dense(operator.columns(index)), matrix[:, index]),
        "base": (
            np.kron(dense(operator.base_columns(np.arange(2))), np.eye(operator.repeats)),
            matrix[:, : 2 * operator.repeats],
        ),
        "pair": (np.concatenate(operator.matvec_and_gram(v)), np.concatenate([matrix @ v, matrix.T @ (matrix @ v)])),
    }
    if kind is not aslinearoperator:  # else lengths are estimates
        exact |= {
            "row lengths": (operator.row_lengths, np.linalg.norm(matrix, axis=1)),
            "column lengths": (operator.column_lengths, np.linalg.norm(matrix, axis=0)),
            "absolute": (operator.abs_matvec(np.abs(v)), np.abs(matrix) @ np.abs(v)),
        }
    for member, (found, expected) in exact.items():
        np.testing.assert_allclose(found, expected, atol=1e-13, err_msg=member)
    assert operator.size_bound >= np.linalg.norm(matrix, axis=0).max() * (1 - 1e-12) or kind is aslinearoperator


def test_adjoints_of_complex_operators_are_tested():
    assert hf.dot_test(aslinearoperator(COMPLEX)).passed
    wrong = LinearOperator(COMPLEX.shape, COMPLEX.dot, COMPLEX.T.dot, dtype=complex)  # not conjugated
    assert not hf.dot_test(wrong).passed
    with pytest.raises(ValueError, match="not adjoint to each other"):
        hf.recover(wrong, Y_COMPLEX)


# ---- the parts ------------------------------------------------------------------------------------------------------


def test_questions_about_groups():
    groups = Groups.of(np.array(["b", "a", "b", "c", "a"]), 5)
    z = np.array([3.0, 0.0, 4.0, -2.0, 1.0])
    np.testing.assert_array_equal(groups.labels, [0, 1, 0, 2, 1])
    np.testing.assert_allclose(groups.norms(z), [5, 1, 2])
    radius, e = groups.polar(z)
    np.testing.assert_allclose(groups.spread(radius) * e, z)
    np.testing.assert_array_equal(groups.whole(np.array([2])), [0, 2])
    np.testing.assert_allclose(
        groups.fold(np.eye(5), e), np.eye(5) @ np.where(groups.labels[:, None] == [0, 1, 2], e[:, None], 0)
    )
    assert groups.norms(np.full(5, 1e200))[0] == pytest.approx(2**0.5 * 1e200)
    assert groups.norms(np.full(5, 1e-200))[0] == pytest.approx(2**0.5 * 1e-200)


@given(seeds, st.floats(0.01, 3))
@settings(max_examples=25, deadline=None)
def test_the_gauge_and_its_dual(seed, step):
    rng = np.random.default_rng(seed)
    gauge = GroupNorm(np.array([0, 1, 1, 2, 2, 2]), np.array([0.5, 1.0, 2.0]))
    x, theta = rng.standard_normal((2, 6))
    assert x @ theta <= gauge.value(x) * gauge.dual(theta) * (1 + 1e-12)
    assert x @ gauge.face(x) == pytest.approx(gauge.value(x))
    assert gauge.dual(gauge.face(x)) == pytest.approx(1)
    z = gauge.prox(x, step)
    assert gauge.dual((x - z) / step) <= 1 + 1e-12  # a subgradient at z
    assert (x - z) @ z == pytest.approx(step * gauge.value(z))
    weights, unit = gauge.unit()
    assert unit.value(weights * x) == pytest.approx(gauge.value(x))
    assert gauge.beyond(theta).max() == pytest.approx(
        (gauge.sizes(theta) * [0.5, 1, 1, 2, 2, 2] - [0.5, 1, 1, 2, 2, 2]).max()
    )

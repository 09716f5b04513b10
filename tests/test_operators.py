import numpy as np
import pytest
import scipy.sparse as sp
from scipy.sparse.linalg import LinearOperator, aslinearoperator

import hadaflow as hf
from hadaflow import operators
from hadaflow.operators import Operator, Scaled, as_operator

M, N = 5, 8


def values(seed=0):
    """Small integers with zeros among them: exact in every dtype and format."""
    return np.random.default_rng(seed).integers(-3, 4, (M, N)).astype(float)


def read_only(A):
    A = A.copy()
    A.flags.writeable = False
    return A


def by_hand(A):
    return LinearOperator(A.shape, matvec=lambda v: A @ v, rmatvec=lambda r: A.T @ r, dtype=float)


def with_duplicates(A):
    """A coordinate matrix that holds each entry in two halves, unsorted."""
    i, j = np.nonzero(A)
    twice = np.concatenate([i, i[::-1]]), np.concatenate([j, j[::-1]])
    return sp.coo_array((np.concatenate([A[i, j] / 2, A[i, j][::-1] / 2]), twice), shape=A.shape)


KINDS = {
    "C order": lambda A: A,
    "Fortran order": np.asfortranarray,
    "strided": lambda A: np.repeat(np.repeat(A, 2, axis=0), 3, axis=1)[::2, ::3],
    "reversed": lambda A: A[::-1, ::-1].copy()[::-1, ::-1],
    "read-only": read_only,
    "float32": lambda A: A.astype(np.float32),
    "float32 Fortran": lambda A: np.asfortranarray(A, dtype=np.float32),
    "float16": lambda A: A.astype(np.float16),
    "int": lambda A: A.astype(np.int64),
    "int8": lambda A: A.astype(np.int8),
    "big-endian": lambda A: A.astype(">f8"),
    "long double": lambda A: A.astype(np.longdouble),
    "list": lambda A: A.tolist(),
    "csr_array": sp.csr_array,
    "csc_array": sp.csc_array,
    "coo_array": sp.coo_array,
    "csr_matrix": sp.csr_matrix,
    "csc_matrix": sp.csc_matrix,
    "coo_matrix": sp.coo_matrix,
    "sparse float32": lambda A: sp.csr_array(A.astype(np.float32)),
    "sparse int": lambda A: sp.csr_array(A.astype(np.int32)),
    "sparse duplicates": with_duplicates,
    "LinearOperator": aslinearoperator,
    "LinearOperator by hand": by_hand,
    "LinearOperator of sparse": lambda A: aslinearoperator(sp.csr_array(A)),
}
each_kind = pytest.mark.parametrize("kind", KINDS)


def dense(columns):
    return columns.toarray() if sp.issparse(columns) else columns


def check_products(operator, A):
    """Vectors, blocks and columns, all in float64."""
    rng = np.random.default_rng(1)
    v, r, block = (rng.integers(-9, 10, shape).astype(float) for shape in (N, M, (M, 3)))
    index = np.array([6, 0, 3])
    products = [
        (operator.matvec(v), A @ v),
        (operator.rmatvec(r), A.T @ r),
        (operator.rmatmat(block), A.T @ block),
        (dense(operator.columns(index)), A[:, index]),
        (dense(operator.columns(index[:0])), A[:, :0]),
    ]
    assert operator.shape == (M, N)
    for found, expected in products:
        assert found.dtype == np.float64
        assert found.shape == expected.shape
        np.testing.assert_allclose(found, expected, rtol=1e-15, atol=0)


def test_contiguous_arrays_are_not_copied(tmp_path):
    for kind in ("C order", "Fortran order", "read-only", "float32"):
        A = KINDS[kind](values())
        assert np.shares_memory(as_operator(A)._array, A)
    for dtype in (np.float32, np.float64):
        np.save(tmp_path / "A.npy", values().astype(dtype))
        A = np.load(tmp_path / "A.npy", mmap_mode="r")
        operator = as_operator(A)
        check_products(operator, values())
        assert np.shares_memory(operator._array, A)


def test_dtype_is_that_of_the_data():
    of_kind = {
        "float32": "f4",
        "sparse float32": "f4",
        "C order": "f8",
        "int": "f8",
        "float16": "f8",
        "sparse int": "f8",
    }
    for kind, dtype in of_kind.items():
        assert as_operator(KINDS[kind](values())).dtype == np.dtype(dtype)
    assert as_operator(values().astype(">f4")).dtype == np.float32  # whatever the order of bytes


def test_float32_slabs(monkeypatch):
    for slab in (1, 7, 16, 10_000):
        monkeypatch.setattr(operators.dense, "SLAB", slab)
        check_products(as_operator(values().astype(np.float32)), values())
        check_products(as_operator(np.asfortranarray(values(), np.float32)), values())


def test_float32_products_are_summed_in_float64():
    A = np.full((1, 1000), 0.1, dtype=np.float32)
    exact = 1000 * float(np.float32(0.1))
    assert as_operator(A).matvec(np.ones(1000))[0] == pytest.approx(exact, rel=1e-14)


@each_kind
def test_recover_gives_the_same_answer_for_every_kind(kind, easy):
    A = values(3)
    x = np.zeros(N)
    x[2] = 2.0
    start = {"depth": 3, "init_scale": 0.05}
    if "float16" not in kind and "int" not in kind:  # a matrix of size, and a limit
        A32 = easy.A.astype(np.float32).astype(float)
        for options in ({}, start):
            one, other = (hf.recover(B, easy.y, **options).x for B in (KINDS[kind](A32), A32))
            np.testing.assert_allclose(one, other, atol=1e-12 if "float32" not in kind else 1e-5)
    found = hf.recover(KINDS[kind](A), A @ x)
    assert found.status is hf.Status.EXACT
    reference = hf.recover(A, A @ x)
    np.testing.assert_allclose(found.x, reference.x, rtol=1e-12, atol=1e-12)
    assert found.certificate.gap < 1e-10


@each_kind
def test_inputs_are_not_written_to(kind):
    A, y = KINDS[kind](values(4)), values(4) @ np.eye(N)[1]
    arrays = [y]
    if isinstance(A, np.ndarray):
        arrays.append(A)
    elif sp.issparse(A):
        arrays += [A.data] + [getattr(A, name) for name in ("indices", "indptr", "row", "col") if hasattr(A, name)]
    before = [array.copy() for array in arrays]
    for array in arrays:
        array.flags.writeable = False
    hf.recover(A, y, method="saddles")
    hf.recover(A, y, method="limit")
    hf.recover(A, y, depth=3, init_scale=0.1, positive=True)
    assert as_operator(A).shape == (M, N)
    for array, old in zip(arrays, before, strict=True):
        np.testing.assert_array_equal(array, old)


@each_kind
def test_products_and_their_adjoint(kind):
    """As they are, and scaled by one factor and by one per column."""
    A, factors = values(), 2.0 ** np.arange(N)
    inner = as_operator(KINDS[kind](A))
    check_products(inner, A)
    check_products(Scaled(inner, 0.25), 0.25 * A)
    check_products(Scaled(inner, 0.5, factors), 0.5 * A * factors)
    check_products(Scaled(Scaled(inner, 0.5, factors), 4.0), 2.0 * A * factors)
    check_products(inner, A)
    outcome = hf.dot_test(KINDS[kind](A))
    assert outcome
    assert outcome.passed
    assert outcome.error <= outcome.tolerance


def test_operators_pass_through_unchanged():
    operator = as_operator(values())
    assert as_operator(operator) is operator
    assert hf.Problem(operator, np.ones(M)).operator is operator


def test_an_operator_of_ones_own():
    class Doubled(Operator):
        shape, dtype = (M, N), np.dtype(float)

        def matvec(self, v):
            return 2 * values() @ v

        def rmatvec(self, r):
            return 2 * values().T @ r

        def columns(self, index):
            return 2 * values()[:, index]

    check_products(Doubled(), 2 * values())
    assert hf.dot_test(Doubled())
    x = hf.recover(Doubled(), 2 * values()[:, 0]).x
    np.testing.assert_allclose(x, hf.recover(2 * values(), 2 * values()[:, 0]).x, atol=1e-12)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_pylops(dtype):
    pylops = pytest.importorskip("pylops")
    A = values().astype(dtype)
    operator = as_operator(pylops.MatrixMult(A, dtype=dtype))
    check_products(operator, values())
    assert operator.dtype == dtype
    assert hf.dot_test(pylops.FirstDerivative(40, dtype=dtype))


# ---- dot test ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "adjoint",
    [
        lambda r: -values().T @ r,
        lambda r: (values().T @ r)[::-1].copy(),
        lambda r: values().T @ r + 1e-8 * np.sum(r),
        lambda r: np.zeros(N),
    ],
    ids=["sign", "order", "slightly off", "zero"],
)
def test_dot_test_fails_for_a_wrong_adjoint(adjoint):
    A = values()
    outcome = hf.dot_test(LinearOperator((M, N), matvec=lambda v: A @ v, rmatvec=adjoint, dtype=float))
    assert not outcome
    assert outcome.error > outcome.tolerance


def test_dot_test_draws_from_the_given_generator():
    A = values() + 1e-3
    assert hf.dot_test(A, rng=1) == hf.dot_test(A, rng=np.random.default_rng(1))
    assert hf.dot_test(A, trials=1, rng=3).error <= hf.dot_test(A, trials=20, rng=3).error


def test_dot_test_of_a_zero_operator():
    assert hf.dot_test(np.zeros((2, 3))).error == 0


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({"trials": 0}, ValueError, "trials must be a finite number >= 1, got 0"),
        ({"trials": 1.5}, ValueError, r"trials must be a whole number, got 1\.5"),
        ({"trials": "3"}, TypeError, "trials must be a number, got '3'"),
        ({"tolerance": -1.0}, ValueError, "tolerance must be a finite number > 0"),
        ({"tolerance": "tight"}, TypeError, "tolerance must be a number, got 'tight'"),
    ],
)
def test_dot_test_bad_options(options, error, message):
    with pytest.raises(error, match=message) as caught:
        hf.dot_test(np.eye(2), **options)
    assert caught.type is error


# ---- operators that misbehave --------------------------------------------------------------------------------


def misbehaving(*, matvec=lambda v: values() @ v, rmatvec=lambda r: values().T @ r):
    return LinearOperator((M, N), matvec=matvec, rmatvec=rmatvec, dtype=float)


BAD_OPERATORS = [
    ({"matvec": lambda v: np.full(M, np.nan)}, ValueError, r"A returned NaN or infinity from A @ v; .*dot_test"),
    ({"rmatvec": lambda r: np.full(N, np.inf)}, ValueError, r"A returned NaN or infinity from A\.T @ r"),
    ({"matvec": lambda v: values() @ v + 1j}, TypeError, r"A returned complex128 values from A @ v"),
    ({"rmatvec": lambda r: values().T @ r + 0j}, TypeError, r"A returned complex128 values from A\.T @ r"),
    ({"matvec": lambda v: np.array(["a"] * M)}, TypeError, r"A returned <U1 values from A @ v"),
    ({"rmatvec": None}, TypeError, r"A has no adjoint: give it an rmatvec"),
]


@pytest.mark.parametrize(("products", "error", "message"), BAD_OPERATORS)
def test_misbehaving_operators(products, error, message):
    for call in (hf.dot_test, lambda A: hf.recover(A, np.ones(M))):
        with pytest.raises(error, match=message) as caught:
            call(misbehaving(**products))
        assert caught.type is error


def test_errors_of_a_users_operator_come_through():
    def broken(_):
        raise RuntimeError("the scanner is off")

    with pytest.raises(RuntimeError, match="the scanner is off"):
        hf.recover(misbehaving(rmatvec=broken), np.ones(M))

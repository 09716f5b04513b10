"""Odd but legal data of every shape: always an answer, and a truthful one."""

import numpy as np
import pytest
from conftest import minimal_l1
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from scipy.optimize import linprog, nnls

import hadaflow as hf

# Data as they come need not be solved; what counts is that the status says so.
pytestmark = pytest.mark.filterwarnings("ignore::hadaflow.ConvergenceWarning")

steady = settings(derandomize=True, deadline=None, database=None, max_examples=150)

SMALL = st.integers(-2, 2)


@st.composite
def data(draw):
    """A and y: integers or Gaussian floats, often rank-deficient, with zero or repeated columns, y in range or not."""
    m, n = draw(st.integers(1, 8)), draw(st.integers(1, 12))
    kind = draw(st.sampled_from(["integer", "binary", "low rank", "float"]))
    if kind == "float":
        A = np.random.default_rng(draw(st.integers(0, 2**16))).standard_normal((m, n))
    elif kind == "low rank":
        rank = draw(st.integers(0, min(m, n)))
        A = draw(arrays(float, (m, rank), elements=SMALL)) @ draw(arrays(float, (rank, n), elements=SMALL))
    else:
        A = draw(arrays(float, (m, n), elements=SMALL if kind == "integer" else st.integers(0, 1)))
    for _ in range(draw(st.integers(0, 2))):
        A[:, draw(st.integers(0, n - 1))] = draw(st.sampled_from([0, 1, -1, 2])) * A[:, draw(st.integers(0, n - 1))]
    y = draw(arrays(float, m, elements=SMALL))
    if draw(st.booleans()):
        y = A @ draw(arrays(float, n, elements=SMALL))
    dtype, order = draw(st.sampled_from(["float64", "float64", "float32"])), draw(st.sampled_from("CF"))
    return np.asarray(A, dtype, order=order), y.astype(dtype)


def reachable(A, y, positive):
    """Whether A x = y has a solution, by an independent linear programme."""
    bounds = (0, None) if positive else (None, None)
    found = linprog(np.zeros(A.shape[1]), A_eq=A, b_eq=y, bounds=bounds, method="highs")
    return found.status == 0


def check_least_squares(A, y, x, positive, tolerance):
    """x is as near as any point, and the normal equations hold."""
    best = nnls(A, y)[1] if positive else np.linalg.norm(y - A @ np.linalg.lstsq(A, y, rcond=None)[0])
    gradient = A.T @ (A @ x - y)
    size = 1 + np.linalg.norm(A, axis=0) * (np.linalg.norm(y) + np.linalg.norm(A) * np.linalg.norm(x))
    assert np.linalg.norm(A @ x - y) <= best + tolerance * (1 + np.linalg.norm(y))
    assert (np.abs(gradient[(x != 0) | (not positive)]) <= tolerance * size[(x != 0) | (not positive)]).all()
    assert (gradient >= -tolerance * size).all()


def check_answer(x, dual, A, y, positive):
    """What holds whatever the status says."""
    assert (x.shape, x.dtype) == ((A.shape[1],), A.dtype)
    assert np.isfinite(x).all()
    assert np.isfinite(dual).all()
    assert not positive or (x >= 0).all()


@pytest.mark.parametrize("method", ["auto", "saddles", "limit"])
@pytest.mark.parametrize("positive", [False, True])
@steady
@given(data(), st.booleans())
def test_recover(method, positive, drawn, weighted):
    A, y = drawn
    before = A.copy(), y.copy()
    weights = np.linspace(0.5, 2, A.shape[1]) if weighted else np.ones(A.shape[1])
    result = hf.recover(A, y, positive=positive, method=method, weights=weights if weighted else None)
    np.testing.assert_array_equal(A, before[0])
    np.testing.assert_array_equal(y, before[1])
    check_answer(result.x, result.dual, A, y, positive)
    single, A, y, x = A.dtype == np.float32, A.astype(float), y.astype(float), result.x.astype(float)
    if not single:  # rounding the data may put y in the range of A or out of it
        assert result.status is (hf.Status.EXACT if reachable(A, y, positive) else hf.Status.LEAST_SQUARES)
    if result.status is hf.Status.EXACT:
        assert np.linalg.norm(A @ x - y) <= (1e-3 if single else 1e-9) * np.linalg.norm(y)
        if not single:
            minimum = minimal_l1(A, y, positive=positive, weights=weights)
            assert weights @ np.abs(x) == pytest.approx(minimum, rel=1e-7, abs=1e-7)
    else:
        assert result.status is hf.Status.LEAST_SQUARES
        check_least_squares(A, y, x, positive, 1e-4 if single else 1e-9)


@pytest.mark.parametrize("depth", [2, 3, 4])
@pytest.mark.parametrize("sign", ["both", "positive"])
@steady
@given(data(), st.sampled_from([10.0, 0.1, 1e-2, 1e-4, 1e-8, 1e-16]))
def test_limit(depth, sign, drawn, product_scale):
    A, y = drawn
    end = hf.limit(hf.Problem(A, y), hf.HadamardPower(depth, sign), init_scale=product_scale ** (1 / depth))
    check_answer(end.x, end.dual, A, y, sign == "positive")
    single, A, y, x = A.dtype == np.float32, A.astype(float), y.astype(float), end.x.astype(float)
    if end.status is hf.Status.LIMIT:
        assert np.linalg.norm(A @ x - y) <= (1e-3 if single else 1e-9) * (1 + np.linalg.norm(y))
    elif end.status is hf.Status.LEAST_SQUARES:
        assert single or not reachable(A, y, sign == "positive")
        check_least_squares(
            A, y, np.where(x > 1e-9, x, 0) if sign == "positive" else x, sign == "positive", 1e-4 if single else 1e-7
        )
    else:
        assert sign == "positive"  # where some entry of every solution is zero, the flow creeps


def test_least_squares_of_positive_x_is_not_negative_by_rounding():
    A = np.ones((6, 3))
    A[2, 1] = 0
    result = hf.recover(A, [1.0, 0, 0, 0, 0, 0], positive=True)
    assert result.status is hf.Status.LEAST_SQUARES
    assert (result.x >= 0).all()
    np.testing.assert_allclose(result.x.sum(), 0.2)


@pytest.mark.parametrize(
    "method",
    [
        "saddles",
        "limit",
        "auto",
    ],
)
def test_consistent_data_are_not_called_inconsistent(method):
    """After the jumps the residual was 7e-13, above rounding, with no speed left to reduce it."""
    A = np.array([[0.0, -1, 1, 2], [0, 0, 1, -1], [-2, 1, -1, 1], [-2, 0, 2, 2]])
    result = hf.recover(A, [-1.0, 1, -1, -2], method=method)
    assert result.status is hf.Status.EXACT
    np.testing.assert_allclose(result.x, [-2, -4, -1, -2], rtol=1e-12)


@pytest.mark.parametrize("y", [[1.0, 0, 0], [1.0, 0, 1]])
def test_limit_of_unreachable_y_with_a_zero_column(y):
    A = np.ones((3, 7))
    A[:, 0] = A[0, 1] = 0
    end = hf.limit(hf.Problem(A, y), hf.HadamardPower(3, "positive"), init_scale=10 ** (1 / 3))
    assert end.status is hf.Status.LEAST_SQUARES
    assert end.x[0] == pytest.approx(10)
    check_least_squares(A, np.array(y), np.where(np.arange(7) == 0, 0, end.x), True, 1e-9)


def test_limit_of_positive_float32_on_the_boundary():
    A = np.array([[-1, 2], [-4, 0], [-3, 2]], dtype=np.float32)
    y = (A @ [1.4527904, 0.0]).astype(np.float32)
    result = hf.recover(A, y, depth=4, init_scale=0.3, positive=True)
    np.testing.assert_allclose(result.x, [1.4527904, 0], atol=1e-4)

"""Bad input is refused with one clear message."""

import math
from itertools import product

import numpy as np
import pytest
import scipy.sparse as sp
from scipy.sparse.linalg import aslinearoperator

import hadaflow as hf

M, N = 3, 4
A = np.arange(12.0).reshape(M, N) % 5
Y = np.array([1.0, -2.0, 0.5])
X = np.array([0.5, 0.0, -1.0, 2.0])


def refuses(call, error, message):
    """``call`` raises exactly ``error``, not a class derived from it, and its message matches."""
    with pytest.raises(error, match=message) as caught:
        call()
    assert caught.type is error


def with_entry(array, value):
    changed = np.array(array, dtype=np.result_type(array, value) if value is not None else object)
    changed[(-1,) * changed.ndim] = value
    return changed


# ---- A and y, wherever a problem is made -----------------------------------------------------------------------

MAKERS = {
    "Problem": hf.Problem,
    "recover": hf.recover,
    "recover a limit": lambda A, y: hf.recover(A, y, depth=3, init_scale=0.1),
}

BAD_MATRICES = {
    "nan": (with_entry(A, np.nan), ValueError, r"A contains nan \(first at index \(2, 3\)\)"),
    "inf": (with_entry(A, np.inf), ValueError, r"A contains inf \(first at index \(2, 3\)\)"),
    "-inf, float32": (with_entry(A, -np.inf).astype("f4"), ValueError, r"A contains -inf \(first at index \(2, 3\)\)"),
    "nan, strided": (np.repeat(with_entry(A, np.nan), 2, axis=1)[:, ::2], ValueError, r"A contains nan .*\(2, 3\)"),
    "no rows": (np.empty((0, N)), ValueError, r"A is empty \(shape \(0, 4\)\)"),
    "no columns": (np.empty((M, 0)), ValueError, r"A is empty \(shape \(3, 0\)\)"),
    "empty list": ([], ValueError, r"A must be two-dimensional, of shape \(m, n\), got shape \(0,\)"),
    "one-dimensional": (Y, ValueError, r"A must be two-dimensional, of shape \(m, n\), got shape \(3,\)"),
    "three-dimensional": (np.ones((M, N, 1)), ValueError, r"A must be two-dimensional.* got shape \(3, 4, 1\)"),
    "number": (3.0, ValueError, r"A must be two-dimensional.* got shape \(\)"),
    "None": (None, TypeError, "A must be an array of real numbers, got NoneType"),
    "text": ("A.npy", TypeError, "A must be an array of real numbers, got str"),
    "bytes": (b"A", TypeError, "A must be an array of real numbers, got bytes"),
    "strings": ([["1", "2"]] * M, TypeError, "A must hold real numbers, got dtype <U1"),
    "objects": (A.astype(object), TypeError, "A must hold real numbers, got dtype object"),
    "None inside": (with_entry(A, None), TypeError, "A must hold real numbers, got dtype object"),
    "dates": (A.astype("M8[s]"), TypeError, r"A must hold real numbers, got dtype datetime64\[s\]"),
    "dict": ({"A": A}, TypeError, "A must hold real numbers, got dtype object"),
    "ragged": ([[1.0, 2.0], [1.0], [3.0]], ValueError, "A is ragged"),
    "masked": (np.ma.array(A, mask=A > 3), ValueError, "A has masked entries; remove or fill them"),
    "beyond floats": (np.full((M, N), np.longdouble("1e400")), ValueError, "A contains inf"),
    "sparse nan": (sp.csr_array(with_entry(A, np.nan)), ValueError, r"A\.data contains nan"),
    "sparse empty": (sp.csc_array((M, 0)), ValueError, "A is empty"),
    "sparse one-dimensional": (sp.coo_array(Y), ValueError, "A must be two-dimensional"),
    "empty operator": (aslinearoperator(np.empty((M, 0))), ValueError, "A is empty"),
}

BAD_MEASUREMENTS = {
    "nan": (with_entry(Y, np.nan), ValueError, r"y contains nan \(first at index 2\); remove or replace"),
    "-inf": (with_entry(Y, -np.inf), ValueError, r"y contains -inf \(first at index 2\)"),
    "column": (Y[:, None], ValueError, r"y must be one-dimensional, got shape \(3, 1\); pass y\.ravel\(\)"),
    "row": (Y[None], ValueError, r"y must be one-dimensional, got shape \(1, 3\); pass y\.ravel\(\)"),
    "matrix": (np.ones((M, 2)), ValueError, r"y must be one-dimensional, got shape \(3, 2\)(: pass joint=True|$)"),
    "number": (1.0, ValueError, r"y must be one-dimensional, got shape \(\)"),
    "short": (Y[1:], ValueError, r"one entry per row of A: A has shape \(3, 4\), y has length 2"),
    "long": (np.ones(N), ValueError, r"one entry per row of A: A has shape \(3, 4\), y has length 4"),
    "empty": ([], ValueError, "one entry per row of A: .* y has length 0"),
    "None": (None, TypeError, "y must be an array of real numbers, got NoneType"),
    "text": ("abc", TypeError, "y must be an array of real numbers, got str"),
    "strings": (["1", "2", "3"], TypeError, "y must hold real numbers, got dtype <U1"),
    "objects": (Y.astype(object), TypeError, "y must hold real numbers, got dtype object"),
    "None inside": ([1.0, None, 2.0], TypeError, "y must hold real numbers, got dtype object"),
    "ragged": ([[1.0], [1.0, 2.0], [1.0]], ValueError, "y is ragged"),
    "masked": (np.ma.array(Y, mask=Y < 0), ValueError, "y has masked entries"),
    "sparse": (sp.csr_array(Y[:, None]), TypeError, r"y must be a dense array, got a sparse one; pass y\.toarray\(\)"),
}


@pytest.mark.parametrize(("matrix", "error", "message"), BAD_MATRICES.values(), ids=BAD_MATRICES)
def test_bad_matrix(matrix, error, message):
    for make in MAKERS.values():
        refuses(lambda make=make: make(matrix, Y), error, message)


@pytest.mark.parametrize(("y", "error", "message"), BAD_MEASUREMENTS.values(), ids=BAD_MEASUREMENTS)
def test_bad_measurements(y, error, message):
    for make, kind in product(MAKERS.values(), (np.asarray, sp.csr_array, aslinearoperator)):
        refuses(lambda make=make, kind=kind: make(kind(A), y), error, message)


def test_bad_entry_is_found_far_into_a_large_matrix():
    for where in (0, 1_000_003, 2_000_001):
        large = np.zeros((3, 1_000_000))
        large[np.unravel_index(where, large.shape)] = np.nan
        message = r"A contains nan \(first at index \({}, {}\)\)".format(*divmod(where, 1_000_000))
        refuses(lambda large=large: hf.Problem(large, Y), ValueError, message)


def test_entries_whose_squares_overflow_are_legal():
    assert hf.Problem([[1e300, -1e300]], [1e200]).shape == (1, 2)


# ---- numbers, vectors and words --------------------------------------------------------------------------------


def problem():
    return hf.Problem(A, Y)


def limit(**options):
    return hf.limit(problem(), hf.HadamardPower(3), **{"init_scale": 0.1, **options})


def certify(**options):
    return hf.certify(problem(), X, Y, **options)


def value_at(tau):
    return hf.saddles(problem())(tau)


NUMBERS = {
    "recover depth": ("depth", lambda v: hf.recover(A, Y, depth=v, init_scale=0.1)),
    "recover init_scale": ("init_scale", lambda v: hf.recover(A, Y, depth=3, init_scale=v)),
    "recover noise_level": ("noise_level", lambda v: hf.recover(A, Y, noise_level=v)),
    "support threshold": ("threshold", lambda v: hf.recover(A, Y).support(v)),
    "limit init_scale": ("init_scale", lambda v: limit(init_scale=v)),
    "limit init_scale, depth 2": ("init_scale", lambda v: hf.limit(problem(), hf.HadamardPower(2), init_scale=v)),
    "limit tolerance": ("tolerance", lambda v: limit(tolerance=v)),
    "limit max_steps": ("max_steps", lambda v: limit(max_steps=v)),
    "saddles noise_level": ("noise_level", lambda v: hf.saddles(problem(), noise_level=v)),
    "saddles max_events": ("max_events", lambda v: hf.saddles(problem(), max_events=v)),
    "saddles tau": ("tau", value_at),
    "saddles average tau": ("tau", lambda v: hf.saddles(problem()).average(v)),
    "saddles dual_at tau": ("tau", lambda v: hf.saddles(problem()).dual_at(v)),
    "certify noise_level": ("noise_level", lambda v: certify(noise_level=v)),
    "certify_lasso penalty": ("penalty", lambda v: hf.certify_lasso(problem(), X, v)),
}


BAD_NUMBERS = {
    ValueError: [-1, -0.5, np.float32(-1), math.nan, math.inf, -math.inf, 10**400, np.array(-1.0)],
    TypeError: ["1", True, np.True_, 1j, {}, b"1"],
}


@pytest.mark.parametrize("key", NUMBERS)
def test_numbers_out_of_range_and_of_the_wrong_kind(key):
    name, call = NUMBERS[key]
    for value in BAD_NUMBERS[ValueError]:
        refuses(lambda value=value: call(value), ValueError, f"{name} must be a finite number >=? ")
    for value in BAD_NUMBERS[TypeError]:
        refuses(lambda value=value: call(value), TypeError, f"{name} must be a number, got ")
    if not key.endswith(("noise_level", "threshold", "saddles tau", "dual_at tau")):  # where 0 is a number like others
        refuses(lambda: call(0), ValueError, f"{name} must be a finite number >=? ")


def test_depth_below_one():
    for depth in (0.5, 0.999, 0):
        call = NUMBERS["recover depth"][1]
        refuses(lambda call=call, depth=depth: call(depth), ValueError, "depth must be a finite number >= 1")


def test_depth_between_one_and_two():
    refuses(lambda: NUMBERS["recover depth"][1](1.5), ValueError, r"depth must be 1 or at least 2, got 1\.5")


VECTORS = {
    "recover weights": ("weights", N, lambda v: hf.recover(A, Y, weights=v)),
    "recover init_scale": ("init_scale", N, lambda v: hf.recover(A, Y, depth=3, init_scale=v)),
    "limit init_scale": ("init_scale", N, lambda v: limit(init_scale=v)),
    "saddles weights": ("weights", N, lambda v: hf.saddles(problem(), weights=v)),
    "saddles start": ("start", M, lambda v: hf.saddles(problem(), start=v)),
    "certify x": ("x", N, lambda v: hf.certify(problem(), v, Y)),
    "certify dual": ("dual", M, lambda v: hf.certify(problem(), X, v)),
    "certify weights": ("weights", N, lambda v: certify(weights=v)),
    "certify_lasso x": ("x", N, lambda v: hf.certify_lasso(problem(), v, 1.0)),
    "certify_lasso weights": ("weights", N, lambda v: hf.certify_lasso(problem(), X, 1.0, weights=v)),
}


@pytest.mark.parametrize("key", VECTORS)
def test_bad_vectors(key):
    name, length, call = VECTORS[key]
    ones, may_be_number = np.ones(length), name == "init_scale"
    for wrong in (length - 1, length + 1, 0):
        refuses(lambda wrong=wrong: call(np.ones(wrong)), ValueError, rf"{name} must have .*{length}\)?, got {wrong}")
    for wrong in (np.ones((length, 1)), np.ones((1, length))):
        refuses(lambda wrong=wrong: call(wrong), ValueError, rf"{name} must be one-dimensional.*pass {name}\.ravel\(\)")
    for value in (np.nan, np.inf, -np.inf) if name != "start" else ():
        refuses(lambda value=value: call(with_entry(ones, value)), ValueError, f"{name} contains {value}")
    for value in (0.0, -2.0) if name in ("weights", "init_scale") else ():
        message = rf"{name} must be positive, but entry {length - 1} is {value:g}"
        refuses(lambda value=value: call(with_entry(ones, value)), ValueError, message)
    refuses(lambda: call(with_entry(ones, 1j)), TypeError, f"{name} is complex")
    refuses(lambda: call(with_entry(ones, None)), TypeError, f"{name} must hold real numbers, got dtype object")
    refuses(lambda: call(["1"] * length), TypeError, f"{name} must hold real numbers, got dtype <U1")
    refuses(lambda: call(np.ma.array(ones, mask=ones > 0)), ValueError, f"{name} has masked entries")
    if may_be_number:
        return
    refuses(lambda: call([[1.0], [1.0, 2.0]]), ValueError, f"{name} is ragged")
    refuses(lambda: call(1.0), ValueError, rf"{name} must be one-dimensional, got shape \(\)")
    refuses(lambda: call("abc"), TypeError, f"{name} must be an array of real numbers, got str")
    refuses(lambda: call(sp.csr_array(np.ones((1, N)))), TypeError, f"{name} must be a dense array, got a sparse one")


def test_unknown_method():
    for method in ("lasso", "Auto", "", None, 1, ["auto"]):
        message = "method must be one of 'auto', 'saddles', 'limit', got "
        refuses(lambda method=method: hf.recover(A, Y, method=method), ValueError, message)


TOGETHER = {
    "depth alone": ({"depth": 3}, "depth needs init_scale as well"),
    "init_scale alone": ({"init_scale": 0.1}, "init_scale needs depth as well"),
    "weights": ({"depth": 3, "init_scale": 0.1, "weights": np.ones(N)}, "weights, .* leave out depth and init_scale"),
    "noise_level": ({"depth": 3, "init_scale": 0.1, "noise_level": 1}, "noise_level .* leave out depth and init_scale"),
    "method": ({"depth": 3, "init_scale": 0.1, "method": "limit"}, "method belong .* leave out depth and init_scale"),
    "limit with noise": ({"method": "limit", "noise_level": 0.1}, "noise_level .*use method='saddles' or 'auto'"),
}


@pytest.mark.parametrize(("options", "message"), TOGETHER.values(), ids=TOGETHER)
def test_options_that_exclude_each_other(options, message):
    refuses(lambda: hf.recover(A, Y, **options), ValueError, message)


UNUSUAL = {
    "init_scale, depth 1": (lambda: hf.recover(A, Y, depth=1, init_scale=-1.0), ValueError, "init_scale must be"),
    "limit init_scale, depth 1": (
        lambda: hf.limit(problem(), hf.HadamardPower(1), init_scale="a"),
        TypeError,
        "init_scale must be a number",
    ),
    "init_scale ragged": (lambda: limit(init_scale=[[1.0], [1.0, 2.0]]), ValueError, "init_scale is ragged"),
    "init_scale too small": (lambda: limit(init_scale=1e-320), ValueError, "init_scale"),
    "init_scale too large": (lambda: hf.recover(A, Y, depth=3, init_scale=1e300), ValueError, "init_scale"),
    "limit problem": (
        lambda: hf.limit(A, hf.HadamardPower(3), init_scale=0.1),
        TypeError,
        "problem must be a .*Problem",
    ),
    "limit model": (lambda: hf.limit(problem(), "power", init_scale=0.1), TypeError, "model must be a .*Model"),
    "limit max_steps": (lambda: limit(max_steps=1.5), ValueError, "max_steps must be a whole number"),
    "saddles problem": (lambda: hf.saddles((A, Y)), TypeError, "problem must be a .*Problem"),
    "saddles start": (lambda: hf.saddles(problem(), start=[0.0, np.nan, 0.0]), ValueError, "start contains nan"),
    "saddles max_events": (
        lambda: hf.saddles(problem(), max_events=1.5),
        ValueError,
        "max_events must be a whole number",
    ),
    "certify problem": (lambda: hf.certify(A, X, Y), TypeError, "problem must be a .*Problem"),
    "certify_lasso problem": (lambda: hf.certify_lasso(A, X, 1.0), TypeError, "problem must be a .*Problem"),
    "certify support index": (lambda: certify(support=[4]), ValueError, "support"),
    "certify support negative": (lambda: certify(support=[-1]), ValueError, "support"),
    "certify support mask": (lambda: certify(support=[True, False, True, False]), TypeError, "support"),
    "certify support float": (lambda: certify(support=[0.5]), TypeError, "support"),
    "recover progress": (lambda: hf.recover(A, Y, progress="bar"), TypeError, "progress must be callable"),
    "recover positive": (lambda: hf.recover(A, Y, positive="no"), TypeError, "positive must be"),
}


@pytest.mark.parametrize(("call", "error", "message"), UNUSUAL.values(), ids=UNUSUAL)
def test_unusual_arguments(call, error, message):
    refuses(call, error, message)

"""The fused pass: residual and gradient of a dense matrix, against plain products."""

import itertools
import os
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

import hadaflow as hf
from hadaflow import _sweep
from hadaflow._sweep import compiled, sweep_of

DTYPES = [np.float64, np.float32]
ORDERS = ["C", "F"]
TINY = [(1, 1), (1, 2), (2, 1), (1, 7), (7, 1), (1, 40), (40, 1), (2, 2), (3, 3), (5, 8), (5, 9), (4, 31), (9, 17)]
LARGE = [(1, 280_000), (280_000, 1), (2, 140_001), (601, 513), (512, 640), (100, 3001), (3001, 100), (37, 8191)]


@pytest.fixture(params=["compiled", "numpy"])
def path(request, monkeypatch):
    """Each of the two paths in turn."""
    if request.param == "numpy":
        monkeypatch.setattr(_sweep, "_library", lambda: None)
    elif not compiled():
        pytest.skip("no compiled kernel here")
    return request.param


@pytest.fixture
def always_fused(monkeypatch):
    """Even the smallest matrix takes the fused pass, on as many threads as are asked for."""
    monkeypatch.setattr(_sweep, "_CACHED", -1)
    monkeypatch.setattr(_sweep, "_WORTH_A_THREAD", 1)


def data(m, n, dtype, *block, seed=0):
    rng = np.random.default_rng(seed)
    return tuple(rng.standard_normal(shape).astype(dtype) for shape in ((m, n), (n, *block), (m, *block)))


def check(sweep, A, x, y):
    """Against long-double products: within a few roundings of the sizes that are summed up."""
    got = sweep(x, y)
    A, x, y = (array.astype(np.longdouble) for array in (A, x, y))
    residual = A @ x - y
    gradient = A.T @ residual
    eps = np.finfo(got[0].dtype).eps
    m, n = A.shape
    size = np.abs(A) @ np.abs(x) + np.abs(y)
    # Each sum of k terms errs by at most k roundings of the sum of sizes; the residual's error goes through A^T.
    bounds = (n + 2) * size, np.abs(A).T @ ((m + 2) * np.abs(residual) + (n + 2) * size)
    # Sums in several lanes and blocks do better: as a whole, a few roundings of the sizes.
    whole = np.linalg.norm(size.astype(float)), np.linalg.norm(A.astype(float)) * np.linalg.norm(size.astype(float))
    for found, wanted, bound, total in zip(got, (residual, gradient), bounds, whole, strict=True):
        assert found.shape == wanted.shape
        assert (np.abs(found - wanted) <= 2 * eps * bound).all()
        assert np.linalg.norm((found - wanted).astype(float)) <= 8 * eps * total
    return got


@pytest.mark.parametrize("dtype", DTYPES)
def test_tiny_shapes(path, always_fused, dtype):
    for shape, order, threads in itertools.product(TINY, ORDERS, (1, 3)):
        A, x, y = data(*shape, dtype)
        sweep = sweep_of(np.asarray(A, order=order), threads)
        assert sweep.passes == (2 if path == "numpy" and threads > 1 else 1)  # BLAS shares whole products among threads
        residual, gradient = check(sweep, A, x, y)
        assert residual.dtype == gradient.dtype == dtype


@pytest.mark.parametrize("dtype", DTYPES)
def test_every_small_shape(always_fused, dtype):
    """All remainders of row pairs and of packs, in both precisions."""
    for m in range(1, 6):
        for n in range(1, 36):
            A, x, y = data(m, n, dtype, seed=100 * m + n)
            check(sweep_of(A), A, x, y)


@pytest.mark.parametrize("dtype", DTYPES)
def test_large_shapes(path, dtype):
    for shape in LARGE:
        A, x, y = data(*shape, dtype)
        sweep = sweep_of(A)
        assert (sweep.passes == 1) == (A.nbytes > _sweep._CACHED)
        check(sweep, A, x, y)


@pytest.mark.parametrize("dtype", DTYPES)
def test_column_order_above_the_cache_is_copied(path, dtype):
    A, x, y = data(520, 640, dtype)
    sweep = sweep_of(np.asfortranarray(A))
    assert sweep.passes == 1
    check(sweep, A, x, y)


def test_column_order_too_large_to_copy_is_read_twice(monkeypatch):
    monkeypatch.setattr(_sweep, "_MOST_COPIED", 1 << 20)
    A, x, y = data(520, 640, np.float64)
    sweep = sweep_of(np.asfortranarray(A))
    assert sweep.passes == 2
    check(sweep, A, x, y)


@pytest.mark.parametrize("entries", [_sweep._CACHED // 8, _sweep._CACHED // 8 + 1])
def test_threshold_between_two_products_and_one_pass(entries):
    A, x, y = data(1, entries, np.float64)
    sweep = sweep_of(A)
    assert sweep.passes == (2 if entries * 8 <= _sweep._CACHED else 1)
    check(sweep, A, x, y)


@pytest.mark.parametrize("dtype", DTYPES)
def test_threads_share_the_rows(path, monkeypatch, dtype):
    monkeypatch.setattr(_sweep, "_WORTH_A_THREAD", 1000)
    A, x, y = data(527, 1099, dtype)
    alone = sweep_of(A)(x, y)
    for threads in (2, 3, 4, 7):
        for one, other in zip(check(sweep_of(A, threads), A, x, y), alone, strict=True):
            assert np.linalg.norm(one - other) <= 4 * np.finfo(dtype).eps * np.linalg.norm(other)


def test_more_threads_than_rows(path, always_fused):
    A, x, y = data(3, 50, np.float64)
    check(sweep_of(A, 8), A, x, y)


def test_calls_from_many_threads_at_once(path):
    from concurrent.futures import ThreadPoolExecutor

    A, x, y = data(600, 2000, np.float64)
    sweep = sweep_of(A, 2)
    wanted = sweep(x, y)
    with ThreadPoolExecutor(4) as pool:
        for got in pool.map(lambda _: sweep(x, y), range(24)):
            np.testing.assert_array_equal(got[0], wanted[0])
            np.testing.assert_array_equal(got[1], wanted[1])


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("shape", [(5, 9), (520, 640)])
def test_blocks(path, shape, dtype):
    A, x, y = data(*shape, dtype, 3)
    residual, gradient = check(sweep_of(A), A, x, y)
    assert residual.dtype == gradient.dtype == dtype


@pytest.mark.parametrize("dtype", DTYPES)
def test_strided_vectors(path, dtype):
    A, x, y = data(520, 640, dtype)
    wide_x, wide_y = np.full((640, 3), np.nan, dtype), np.full(2 * 520, np.nan, dtype)
    wide_x[:, 1], wide_y[::-2] = x, y
    check(sweep_of(A), A, wide_x[:, 1], wide_y[::-2])


def test_vectors_of_another_precision_are_converted(path):
    """Never read as what they are not."""
    A, x, y = data(520, 640, np.float32)
    wide = sweep_of(A)(x.astype(np.float64), y.astype(np.float64))
    for got, wanted in zip(wide, sweep_of(A)(x, y), strict=True):
        assert got.dtype == np.float32
        np.testing.assert_array_equal(got, wanted)


VIEWS = {
    "strided": np.s_[::2, ::3],
    "rows reversed": np.s_[::-1],
    "columns reversed": np.s_[:, ::-1],
    "corner": np.s_[3:, 5:],
}


@pytest.mark.parametrize("view", VIEWS)
def test_non_contiguous_matrices(path, view):
    A = data(1100, 1300, np.float64)[0][VIEWS[view]]
    assert not A.flags.c_contiguous
    m, n = A.shape
    _, x, y = data(m, n, np.float64)
    check(hf.Problem(A, y).operator.sweep(np.dtype(float)), A, x, y)


@pytest.mark.parametrize("threads", [1, 2])
def test_inputs_are_only_read(path, threads):
    A, x, y = data(1100, 1300, np.float64)
    before = [array.copy() for array in (A, x, y)]
    for array in (A, x, y):
        array.flags.writeable = False
    first = sweep_of(A, threads)(x, y)
    second = sweep_of(A, threads)(x, y)
    for array, copy in zip((A, x, y), before, strict=True):
        np.testing.assert_array_equal(array, copy)
    for one, other in zip(first, second, strict=True):  # nothing left over from the call before
        np.testing.assert_array_equal(one, other)
        assert not np.shares_memory(one, other)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("depth", [2, 3])
def test_both_paths_give_the_same_run(monkeypatch, dtype, depth):
    if not compiled():
        pytest.skip("no compiled kernel here")
    A, x, _ = data(400, 1000, dtype)
    problem = hf.Problem(A, (A[:, :3] @ x[:3]).astype(dtype))

    def run():
        stop = hf.stopping.MaxSteps(60)
        return hf.descend(problem, hf.HadamardPower(depth), init_scale=0.3, step=1e-4, stop=stop).x

    fast = run()
    monkeypatch.setattr(_sweep, "_library", lambda: None)
    slow = run()
    assert np.abs(fast - slow).max() <= 200 * np.finfo(dtype).eps * np.abs(fast).max()
    assert np.abs(fast).max() > 0.01  # it has moved


@pytest.mark.parametrize("kind", [np.float64, np.float32, float])
def test_start_of_any_type_keeps_single_precision(kind):
    A = data(600, 640, np.float32)[0]
    problem = hf.Problem(A, A[:, 0].copy())
    stop = hf.stopping.MaxSteps(20)
    run = hf.descend(problem, hf.HadamardPower(2), init_scale=kind(0.125), step=1e-4, stop=stop)
    assert run.x.dtype == run.average.dtype == np.float32
    wanted = hf.descend(problem, hf.HadamardPower(2), init_scale=0.125, step=1e-4, stop=stop)
    np.testing.assert_array_equal(run.x, wanted.x)


def test_overflow_on_several_threads_is_silent(path):
    A = data(1100, 1300, np.float64)[0]
    with np.errstate(all="ignore"):
        residual, _ = sweep_of(A, 2)(np.full(1300, 1e308), np.zeros(1100))
    assert not np.isfinite(residual).all()


# ---- the library file ---------------------------------------------------------------------------------------------


def told(command, **environment):
    """What a process of its own prints."""
    done = subprocess.run(
        command, check=False, capture_output=True, text=True, timeout=60, env=os.environ | environment
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


ASK = """
import numpy as np
from hadaflow import _sweep
A = np.random.default_rng(0).standard_normal((400, 500))
residual, gradient = _sweep.sweep_of(A)(np.ones(500), np.zeros(400))
assert np.allclose(residual, A.sum(axis=1)) and np.allclose(gradient, A.T @ A.sum(axis=1))
print(_sweep.compiled())
"""


@pytest.fixture
def loading(monkeypatch):
    """The library is looked for anew, in the test and after it."""
    _sweep._library.cache_clear()
    yield monkeypatch
    monkeypatch.undo()
    _sweep._library.cache_clear()


def test_kernel_is_used_unless_the_environment_says_no(loading):
    for choice, expected in ((None, compiled()), ("1", compiled()), ("0", False)):
        _sweep._library.cache_clear()
        loading.delenv("HADAFLOW_COMPILED", raising=False)
        if choice is not None:
            loading.setenv("HADAFLOW_COMPILED", choice)
        assert compiled() is expected


def test_missing_or_broken_library_falls_back(tmp_path, loading):
    loading.setattr(_sweep, "__file__", str(tmp_path / "_sweep.py"))
    A, x, y = data(400, 500, np.float64)
    for content in (None, b"", b"not a library", b"\x7fELF" + bytes(200)):
        if content is not None:
            (tmp_path / "_sweep_kernel.so").write_bytes(content)
        _sweep._library.cache_clear()
        assert not compiled()
        check(sweep_of(A), A, x, y)


def test_foreign_library_falls_back(tmp_path):
    """It loads, but knows none of the functions: in a process of its own."""
    import _ctypes

    shutil.copytree(Path(_sweep.__file__).parent, tmp_path / "hadaflow", ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copy(_ctypes.__file__, tmp_path / "hadaflow" / "_sweep_kernel.so")
    assert told([sys.executable, "-W", "error", "-c", ASK], PYTHONPATH=str(tmp_path)) == "False"


FORK = """
import os, numpy as np
from hadaflow import _sweep
A = np.random.default_rng(0).standard_normal((1100, 1300))
sweep = _sweep.sweep_of(A, 2)
x, y = np.ones(1300), np.zeros(1100)
before = sweep(x, y)
child = os.fork()
if child == 0:
    after = sweep(x, y)
    os._exit(0 if all(np.allclose(a, b, rtol=1e-10) for a, b in zip(before, after)) else 1)  # one thread: other sums
assert os.waitpid(child, 0)[1] == 0
print(all(np.array_equal(a, b) for a, b in zip(before, sweep(x, y))))
"""


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork here")
@pytest.mark.parametrize("choice", ["0", "1"])
def test_works_after_fork(choice):
    """Threads do not survive a fork: the child goes on with one."""
    command = [sys.executable, "-W", "ignore", "-c", FORK]  # newer Pythons warn of every fork beside threads
    assert told(command, HADAFLOW_COMPILED=choice, OPENBLAS_NUM_THREADS="1") == "True"

"""A in blocks of rows that Dask holds: the same answers as in memory, and one pass for each pair of products."""

import os
import signal
from types import SimpleNamespace

import dask
import dask.array as da
import numpy as np
import pytest
from conftest import random_sparse
from distributed import Client, LocalCluster

import hadaflow as hf
from hadaflow.operators import DenseOperator, PartitionedOperator, as_operator


@pytest.fixture(scope="module")
def cluster():
    """Two worker processes that Dask uses while the module runs."""
    with LocalCluster(n_workers=2, threads_per_worker=1, memory_limit="1GB", dashboard_address=":0") as workers:
        yield workers


@pytest.fixture
def client(cluster):
    with Client(cluster) as connected:
        connected.wait_for_workers(2, timeout=60)
        yield connected


@pytest.fixture(autouse=True)
def _threads(request):
    """Threads of this process, unless a test asks for a cluster."""
    if "client" in request.fixturenames:
        yield
    else:
        with dask.config.set(scheduler="threads", num_workers=2):
            yield


def instance(m=60, n=200, s=6, seed=0, dtype=np.float64):
    rng = np.random.default_rng(seed)
    A = rng.standard_normal((m, n)).astype(dtype)
    x = np.zeros(n)
    x[rng.choice(n, s, replace=False)] = rng.standard_normal(s)
    return A, (A @ x).astype(dtype), x


@pytest.fixture
def counted(monkeypatch):
    """How many passes over the blocks are really made."""
    calls, before = [], PartitionedOperator._pass

    def count(self, kernel, *operands):
        calls.append(kernel.__name__)
        return before(self, kernel, *operands)

    monkeypatch.setattr(PartitionedOperator, "_pass", count)
    return calls


# ---- products -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("dtype", [np.float32, np.float64, np.int64, np.float16, ">f8"])
def test_products_are_those_of_the_whole_matrix(dtype, counted):
    for chunks in ((7, -1), (60, -1), (1, 50), ((10, 0, 50), -1), ((1, 2, 57), (199, 1))):
        counted.clear()
        check_members(dtype, chunks)
        assert len(counted) == 9  # a pass each


def check_members(dtype, chunks):
    """All products of a partitioned matrix are those of one in memory."""
    A = (10 * np.random.default_rng(0).standard_normal((60, 200))).astype(dtype)
    far, near = as_operator(da.from_array(A, chunks)), as_operator(A)
    rng = np.random.default_rng(1)
    v, r, block = rng.standard_normal(200), rng.standard_normal(60), rng.standard_normal((60, 3))
    assert (far.shape, far.dtype) == (near.shape, near.dtype)
    pairs = [
        (far.matvec(v), near.matvec(v)),
        (far.rmatvec(r), near.rmatvec(r)),
        (far.rmatmat(block), near.rmatmat(block)),
        (far.columns(np.array([3, 0, 199])), near.columns(np.array([3, 0, 199]))),
        (far.column_squares(), near.column_squares()),
        *zip(far.residual(v, r), near.residual(v, r), strict=True),
        *zip(far.matvec_and_rmatvec(v, r), near.matvec_and_rmatvec(v, r), strict=True),
        *zip(far.matvec_and_gram(v), near.matvec_and_gram(v), strict=True),
        *zip(far.sweep(near.dtype)(v.astype(near.dtype), r.astype(near.dtype)), near.residual(v, r), strict=True),
    ]
    pairs[-2:] = [(first, -second) for first, second in pairs[-2:]]
    rough = near.dtype == np.float32
    for k, (first, second) in enumerate(pairs):
        loose = 1e-4 if rough and k >= len(pairs) - 2 else 1e-12
        np.testing.assert_allclose(first, second, rtol=loose, atol=loose * np.abs(second).max())


def test_fused_products_of_a_large_float32_block():
    A = np.random.default_rng(0).standard_normal((300, 2000)).astype(np.float32)
    x, r = np.random.default_rng(1).standard_normal(2000), np.random.default_rng(2).standard_normal(300)
    left, pull = DenseOperator(A).residual(x, r)
    wide = A.astype(np.float64)
    np.testing.assert_allclose(left, r - wide @ x, rtol=1e-12, atol=1e-10)
    np.testing.assert_allclose(pull, wide.T @ (r - wide @ x), rtol=1e-12, atol=1e-9)


def test_sparse_blocks(counted):
    A = random_sparse((60, 200), 0.1, np.random.default_rng(0))
    blocks = [da.from_delayed(dask.delayed(A[i : i + 20]), (20, 200), dtype=float) for i in range(0, 60, 20)]
    far, near = as_operator(da.concatenate(blocks)), as_operator(A)
    v = np.random.default_rng(1).standard_normal(200)
    np.testing.assert_allclose(far.matvec(v), near.matvec(v), atol=1e-13)
    assert (far.columns(np.arange(5)) != near.columns(np.arange(5))).nnz == 0


def test_many_small_blocks_are_joined_and_large_ones_left_alone():
    assert len(as_operator(da.ones((1000, 50), chunks=(1, 10)))._blocks) == 1
    assert len(as_operator(da.ones((30, 50), chunks=(1, -1)))._blocks) == 30


def test_blocks_are_kept_only_if_there_is_room(monkeypatch):
    reads = []

    def load(block):
        reads.append(len(block))
        return block

    A = da.ones((60, 200), chunks=(20, -1)).map_blocks(load, dtype=float, meta=np.empty((0, 0)))
    with dask.config.set(scheduler="synchronous"):
        for persist, expected in (("always", 3), ("auto", 3), ("never", 6)):
            reads.clear()
            operator = PartitionedOperator(A, persist=persist)
            operator.matvec(np.ones(200))
            operator.rmatvec(np.ones(60))
            assert len(reads) == expected
        monkeypatch.setattr("hadaflow.operators.partitioned._HERE_FRACTION", 1e-9)
        reads.clear()
        operator = PartitionedOperator(A)
        operator.matvec(np.ones(200))
        operator.matvec(np.ones(200))
        assert len(reads) == 6


# ---- what runs on it ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize(
    "options",
    [
        {},
        {"positive": True},
        {"noise_level": 0.3},
        {"weights": np.linspace(1, 2, 200)},
        {"method": "saddles"},
        {"method": "limit"},
        {"depth": 3, "init_scale": 1e-2},
    ],
    ids=["plain", "positive", "noise", "weights", "saddles", "limit", "from-a-start"],
)
def test_recover_as_in_memory(options, dtype, counted):
    A, y, _ = instance(dtype=dtype)
    if options.get("positive"):
        y = (A @ np.abs(instance()[2])).astype(dtype)
    far, near = hf.recover(da.from_array(A, (13, -1)), y, **options), hf.recover(A, y, **options)
    assert far.status is near.status
    assert far.x.dtype == near.x.dtype
    np.testing.assert_array_equal(far.support(), near.support())
    tight = 1e-9 if dtype == np.float64 else 1e-5
    np.testing.assert_allclose(far.x, near.x, rtol=tight, atol=tight)
    assert far.certificate.unique == near.certificate.unique
    # What cannot be seen from outside an operator: how far its passes are shared.
    assert far.stats.passes <= len(counted) <= far.stats.passes + 1


def test_recover_asks_for_few_passes():
    A, y, x = instance(m=200, n=2000, s=20)
    r = hf.recover(da.from_array(A, (10, -1)), y)
    assert r.certificate.proves()
    np.testing.assert_allclose(r.x, x, atol=1e-12)
    assert r.stats.passes <= 17  # one of them measures the rows


def test_leaps_finish_where_a_walk_would_take_too_long(monkeypatch):
    A, y, x = instance(m=100, n=300, s=20)
    monkeypatch.setattr("hadaflow.recovery._strategies._FAR_WORK", 1.0)
    monkeypatch.setattr("hadaflow.recovery._strategies._FAR_PASSES", 1e-3)
    r = hf.recover(da.from_array(A, (30, -1)), y)
    assert (r.stats.method, r.status.name) == ("leaps", "EXACT")
    np.testing.assert_allclose(r.x, x, atol=1e-9)


@pytest.mark.parametrize("depth", [2, 3])
def test_limit_by_conjugate_gradients_takes_one_pass_each(depth, monkeypatch, counted):
    A, y, _ = instance()
    model, init_scale = hf.HadamardPower(depth), 1e-4 ** (1 / depth)
    near = hf.limit(hf.Problem(A, y), model, init_scale=init_scale)
    monkeypatch.setattr("hadaflow.solvers.newton.normal.LARGEST_COPY", 0)
    far = hf.limit(hf.Problem(da.from_array(A, (13, -1)), y), model, init_scale=init_scale)
    assert far.status is near.status
    np.testing.assert_allclose(far.x, near.x, atol=1e-9 * np.abs(near.x).max())
    assert counted.count("_residual") > 0.5 * len(counted)  # a pair of products each; no lone one per iteration
    assert len(counted) == far.stats.passes


def test_descend_and_flow_as_in_memory(counted):
    A, y, _ = instance()
    far, near = hf.Problem(da.from_array(A, (13, -1)), y), hf.Problem(A, y)
    model = hf.HadamardPower(2)
    stop = hf.stopping.MaxSteps(30)
    first, second = (hf.descend(p, model, init_scale=1e-2, step=1e-3, stop=stop) for p in (far, near))
    np.testing.assert_allclose(first.x, second.x, rtol=1e-10)
    assert 30 <= counted.count("_swept") <= 32
    counted.clear()
    first, second = (hf.flow(p, model, init_scale=1e-2, t_end=0.02) for p in (far, near))
    np.testing.assert_allclose(first.x, second.x, atol=1e-4 * np.abs(second.x).max())
    counted.clear()
    first, second = (hf.flow(p, model, init_scale=1e-2, t_end=0.02, method="proximal") for p in (far, near))
    np.testing.assert_allclose(first.x, second.x, rtol=1e-6, atol=1e-9)
    steps = first.stats.events
    assert steps <= counted.count("_residual") <= steps + 20  # one pair a step, and the norm of A


# ---- clusters -------------------------------------------------------------------------------------------------------


def test_answers_do_not_depend_on_where_the_blocks_are(client):
    A, y, _ = instance(m=120, n=400, s=12)
    array = da.from_array(A, (17, -1))
    there = hf.recover(array, y)
    with dask.config.set(scheduler="synchronous"):
        here = hf.recover(array, y)
    assert there.x.tobytes() == here.x.tobytes()
    assert there.dual.tobytes() == here.dual.tobytes()
    assert there.certificate == here.certificate


def test_the_loss_of_a_worker_changes_nothing(client, cluster):
    A, y, _ = instance(m=120, n=400, s=40)
    array = da.from_array(A, (5, -1))
    with dask.config.set(scheduler="synchronous"):
        undisturbed = hf.recover(array, y)
    lost = []

    def kill(progress):
        if not lost:
            lost.append(next(iter(cluster.workers.values())).pid)
            os.kill(lost[0], signal.SIGKILL)

    disturbed = hf.recover(array, y, progress=kill)
    assert lost
    assert disturbed.x.tobytes() == undisturbed.x.tobytes()
    assert disturbed.dual.tobytes() == undisturbed.dual.tobytes()
    assert lost[0] not in {worker.pid for worker in cluster.workers.values()}


# ---- bad input ------------------------------------------------------------------------------------------------------


def test_what_is_no_matrix_is_told():
    with pytest.raises(TypeError, match="A is complex"):
        as_operator(da.ones((3, 4), dtype=complex))
    with pytest.raises(TypeError, match="A must hold real numbers"):
        as_operator(da.from_array(np.array([["a"]])))
    with pytest.raises(ValueError, match="A must be two-dimensional"):
        as_operator(da.ones(3))
    with pytest.raises(ValueError, match="A is empty"):
        as_operator(da.ones((0, 4)))
    rows = da.ones((6, 2), chunks=(3, 2))
    with pytest.raises(ValueError, match=r"chunks of unknown size: call A\.compute_chunk_sizes\(\)"):
        as_operator(rows[rows[:, 0] > 0])
    with pytest.raises(ValueError, match="y must have one entry per row of A"):
        hf.recover(rows, np.ones(5))
    with pytest.raises(ValueError, match="persist must be one of"):
        PartitionedOperator(rows, persist="sometimes")
    with pytest.raises(TypeError, match=r"A must be a dask\.array\.Array, got ndarray"):
        PartitionedOperator(np.ones((3, 4)))
    with pytest.raises(TypeError, match=r"got Delayed.*; see dask\.array\.from_delayed"):
        hf.recover(dask.delayed(np.ones((3, 4))), np.ones(3))
    with pytest.raises(TypeError, match=r"got DataFrame; A\.to_dask_array\(lengths=True\) is one"):
        hf.recover(pytest.importorskip("dask.dataframe").from_dict({"a": [1.0]}, npartitions=1), [1.0])
    with pytest.raises(ValueError, match="A has masked entries"):
        as_operator(da.ma.masked_greater(rows, 1.0))


def test_blocks_that_are_not_what_was_declared_are_told():
    def declared(block, dtype=float):
        return as_operator(da.from_delayed(dask.delayed(block), (3, 4), dtype=dtype, meta=np.empty((0, 0), dtype)))

    with pytest.raises(ValueError, match=r"a block of A has shape \(2, 4\), where an array of shape \(3, 4\)"):
        declared(np.ones((2, 4))).matvec(np.ones(4))
    with pytest.raises(ValueError, match="a block of A is a NoneType, where an array"):
        declared(None).matvec(np.ones(4))
    with pytest.raises(TypeError, match="a block of A is complex"):
        declared(np.ones((3, 4), dtype=complex)).matvec(np.ones(4))
    with pytest.raises(ValueError, match="A has masked entries"):
        declared(np.ma.masked_greater(np.eye(3, 4), 0.5)).matvec(np.ones(4))


def test_what_is_not_finite_is_told_whichever_block_it_is_in():
    A, y, _ = instance()
    for bad in (np.nan, np.inf, -np.inf):
        A[41, 7] = bad
        with pytest.raises(ValueError, match="A contains NaN or infinity"):
            hf.recover(da.from_array(A, (13, -1)), y)


def test_an_error_of_a_worker_comes_through():
    def fail(block):
        raise OSError("disk gone")

    A = da.ones((6, 4), chunks=(3, 4)).map_blocks(fail, dtype=float, meta=np.empty((0, 0)))
    with pytest.raises(OSError, match="disk gone"):
        hf.recover(A, np.ones(6))


def test_a_cluster_without_workers_is_told(monkeypatch):
    monkeypatch.setattr("hadaflow.operators.partitioned._PATIENCE", 0.2)
    empty = LocalCluster(n_workers=0, threads_per_worker=1, dashboard_address=":0")
    with empty, Client(empty), dask.config.set(scheduler=None):
        operator = PartitionedOperator(da.ones((6, 4)), persist="never")
        with pytest.raises(OSError, match="the cluster has had no workers for 0 s: start some"):
            operator.matvec(np.ones(4))


def test_workers_that_die_are_told():
    from distributed.scheduler import KilledWorker

    from hadaflow.operators.partitioned import _explained

    died = KilledWorker("task", SimpleNamespace(address="tcp://there"), 3)
    with pytest.raises(
        OSError, match="the workers of the cluster died on a pass over A, whose blocks take up to 1 MiB"
    ):
        raise _explained(died, PartitionedOperator(da.ones((128, 1024))))


def test_blocks_that_were_on_a_cluster_that_is_closed_are_told():
    A, y, _ = instance()
    with LocalCluster(n_workers=1, threads_per_worker=1, dashboard_address=":0") as cluster, Client(cluster):
        problem = hf.Problem(da.from_array(A, (13, -1)), y)
        problem.operator.matvec(np.ones(A.shape[1]))
    with pytest.raises(
        OSError, match="blocks of A were kept on a Dask cluster, which is closed: make the problem again"
    ):
        hf.limit(problem, hf.HadamardPower(2), init_scale=1e-3)

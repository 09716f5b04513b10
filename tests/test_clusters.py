"""Getting hold of a cluster, working on it from the command line, and planning for one."""

import json

import numpy as np
import pytest
from distributed import Client, LocalCluster, default_client

from hadaflow import planning
from hadaflow.blocks import open_matrix
from hadaflow.cli import main
from hadaflow.clusters import connected
from hadaflow.operators import as_operator


@pytest.fixture(scope="module")
def cluster():
    with LocalCluster(n_workers=2, threads_per_worker=1, memory_limit="1GB", dashboard_address=":0") as workers:
        yield workers


@pytest.fixture
def files(tmp_path):
    rng = np.random.default_rng(0)
    A = rng.standard_normal((40, 90))
    np.save(tmp_path / "A.npy", A)
    np.save(tmp_path / "y.npy", A[:, 3] - 2 * A[:, 50])
    return str(tmp_path / "A.npy"), str(tmp_path / "y.npy")


# ---- connecting ---------------------------------------------------------------------------------------------------


def test_connected_to_a_scheduler(cluster):
    with connected(cluster.scheduler_address) as client:
        assert default_client() is client
        assert client.submit(sum, (1, 2)).result() == 3
    with pytest.raises(ValueError, match="No clients found"):
        default_client()


def test_workers_of_this_machine():
    with connected("local") as client:
        workers = client.scheduler_info(n_workers=-1)["workers"]
        assert {worker["nthreads"] for worker in workers.values()} == {1}
        assert client.submit(sum, (1, 2)).result() == 3


def test_what_is_no_address():
    message = "is no address of a scheduler; give one such as tcp://host:8786, or local"
    unknown = ("", "nonsense", "LOCAL", "ftp://host:1")
    for address in (*unknown, *(f"tcp://{rest}" for rest in ("", "host", "host:port", ":1", "host:99999"))):
        with pytest.raises(ValueError, match=message), connected(address):
            pass


def test_nobody_answers():
    told = r"no scheduler answers at tcp://127\.0\.0\.1:9 within 0\.3 s"
    with pytest.raises(OSError, match=told), connected("tcp://127.0.0.1:9", timeout=0.3):
        pass
    with pytest.raises(ValueError, match="No clients found"):  # nothing is left behind
        default_client()


def test_a_scheduler_without_workers():
    told = r"has no workers after 0\.2 s; start some with: dask worker tcp://"
    empty = LocalCluster(n_workers=0, threads_per_worker=1, dashboard_address=":0")
    with empty, pytest.raises(OSError, match=told), connected(empty.scheduler_address, timeout=0.2):
        pass


# ---- the command line ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "command",
    [["recover"], ["descend", "--depth", "2", "--max-steps", "3"], ["flow", "--depth", "2", "--t-end", "0.001"]],
    ids=["recover", "descend", "flow"],
)
def test_commands_on_a_cluster(command, files, cluster, capsys):
    main([*command, *files, "--json", "-"])
    here = json.loads(capsys.readouterr().out)
    main([*command, *files, "--json", "-", "--scheduler", cluster.scheduler_address])
    there = json.loads(capsys.readouterr().out)
    assert there["status"] == here["status"]
    assert there["certificate"]["l1_norm"] == pytest.approx(here["certificate"]["l1_norm"], rel=1e-4)


def test_one_line_if_nobody_answers(files, capsys, monkeypatch):
    monkeypatch.setattr("hadaflow.cli._job.connected", lambda address: connected(address, timeout=0.3))
    assert main(["recover", *files, "--scheduler", "tcp://127.0.0.1:9"]) == 2
    told = capsys.readouterr().err
    assert told.startswith("hadaflow: error: no scheduler answers at tcp://127.0.0.1:9")
    assert told.count("\n") == 1


def test_a_folder_of_blocks_needs_no_scheduler(tmp_path, files, capsys):
    import zarr

    zarr.create_array(str(tmp_path / "A.zarr"), data=np.load(files[0]), chunks=(10, 90))
    assert main(["recover", str(tmp_path / "A.zarr"), files[1], "--json", "-"]) == 0
    assert json.loads(capsys.readouterr().out)["solution"]["support_size"] == 2


# ---- planning -----------------------------------------------------------------------------------------------------


def test_plan_cuts_as_the_blocks_are_cut(tmp_path):
    np.save(tmp_path / "A.npy", np.zeros((100, 50), dtype=np.float32))
    plan = planning.plan((100, 50), np.float32, workers=2, block_bytes=3000)
    assert plan.blocks == open_matrix(tmp_path / "A.npy", block_bytes=3000).numblocks[0] == 7
    assert plan.rows_per_block == 15
    assert plan.nbytes == 20_000


def test_plan_counts_the_tasks_of_a_pass(cluster):
    with Client(cluster) as client:
        import dask.array as da

        operator = as_operator(da.random.default_rng(0).standard_normal((100, 50), chunks=(2, -1)).rechunk((2, -1)))
        before = client.run_on_scheduler(lambda dask_scheduler: dask_scheduler.transition_counter)
        operator.matvec(np.ones(50))
        after = client.run_on_scheduler(lambda dask_scheduler: dask_scheduler.transition_counter)
    blocks = len(operator._blocks)
    plan = planning.plan((100, 50), np.float64, workers=2, block_bytes=100 * 50 * 8 // blocks)
    assert plan.blocks == blocks
    assert plan.persisted
    assert after - before >= plan.messages_per_pass


def test_plan_of_what_fits_and_what_does_not():
    small, large = (planning.plan((10_000, 100_000), workers=4, memory_limit=limit) for limit in (4e9, 1e9))
    assert small.persisted
    assert not large.persisted
    assert large.seconds_per_pass > small.seconds_per_pass
    assert large.worker_bytes < 1e9 < small.worker_bytes < 4e9
    assert large.seconds(10) == 10 * large.seconds_per_pass
    twice = planning.plan((10_000, 100_000), workers=8, memory_limit=1e9)
    assert twice.seconds_per_pass < large.seconds_per_pass
    told = str(
        planning.plan((10**6, 10**8), workers=1000, threads_per_worker=32, memory_limit=1e12, block_bytes=4 * 10**9)
    )
    assert "1000000 x 100000000, 400 TB, in the workers' memory" in told
    assert "recover, well below the threshold" in told


def test_costs_are_positive():
    for name in ("product", "reading", "network", "task"):
        for value in (0.0, -1.0, float("nan")):
            with pytest.raises(ValueError, match=name):
                planning.Costs(**{name: value})


def test_plan_says_what_cannot_be():
    small = planning.plan((300, 2000))
    assert small.fits
    assert "limit                              3 passes" in str(small)
    lacking = planning.plan((10**6, 10**5), workers=2, memory_limit=1e8)
    assert not lacking.fits
    assert "but has 100 MB: it does not fit, take smaller blocks or larger workers" in str(lacking)
    assert "note                               more rows than columns" in str(lacking)
    assert str(planning.plan((1000, 10**9), workers=4)).count("it does not fit, take larger workers\n") == 1


def test_plan_for_a_cluster_that_is_not_there(cluster):
    with Client(cluster) as client:
        pass
    with pytest.raises(ValueError, match="client must be open, but it is closed"):
        planning.plan((5, 5), client=client)
    empty = LocalCluster(n_workers=0, threads_per_worker=1, dashboard_address=":0")
    with empty, Client(empty) as client, pytest.raises(OSError, match="the cluster has no workers"):
        planning.plan((5, 5), client=client)


def test_plan_measures_a_cluster(cluster, files):
    with Client(cluster) as client:
        client.wait_for_workers(2, timeout=60)
        costs = planning.Costs.measure(client, files[0])
        assert min(costs.product, costs.reading, costs.network, costs.task) > 0
        plan = planning.plan((40, 90), np.float64, client=client, costs=costs)
    assert (plan.workers, plan.threads, plan.persisted) == (2, 2, True)


def test_plan_refuses_what_is_wrong():
    for arguments, message in [
        ({"shape": (0, 5)}, "shape"),
        ({"shape": (5, 2.5)}, "shape"),
        ({"workers": 0}, "workers"),
        ({"threads_per_worker": -1}, "threads_per_worker"),
        ({"memory_limit": 0.0}, "memory_limit"),
        ({"block_bytes": 0}, "block_bytes"),
        ({"shape": 3}, "shape must be"),
        ({"shape": (1, 2, 3)}, "shape must be"),
        ({"dtype": complex}, "dtype is complex"),
        ({"dtype": "nonsense"}, "dtype must be one of NumPy's"),
        ({"shape": ((1, 2), (3,))}, "shape must be a number"),
        ({"dtype": "U4"}, "dtype must hold real numbers"),
        ({"costs": {}}, "costs"),
        ({"path": "A.npy"}, "path needs client"),
        ({"client": "tcp://host:1"}, "client must be a distributed.Client"),
    ]:
        with pytest.raises((ValueError, TypeError), match=message):
            planning.plan(**{"shape": (5, 5)} | arguments)

"""Sweeps: what is measured is kept, whatever happens, and depends on the seed alone."""

import asyncio
import errno
import functools
import importlib
import json
import linecache
import os
import pickle
import re
import resource
import shutil
import subprocess
import sys
import threading
import time
import warnings
from concurrent.futures import Future
from contextlib import contextmanager
from functools import partial
from pathlib import Path

import joblib
import numpy as np
import pandas as pd
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pandas.testing import assert_frame_equal

import hadaflow as hf
from hadaflow._threads import one_thread
from hadaflow.experiments import Skip, Step, Store, Sweep, WorkerLostError, sweep, sweep_arguments
from hadaflow.experiments.finding import parcel_of
from hadaflow.experiments.identity import fingerprint
from hadaflow.experiments.journal import Contents, Entry, Journal, canonical, entry_of, line_of
from hadaflow.experiments.on_dask import Cluster
from hadaflow.experiments.transport import Pace, Pool

pytestmark = pytest.mark.filterwarnings("ignore:.* repetitions failed:RuntimeWarning")  # asked of two tests

GRID = {"m": [3, 5], "depth": [2.0, 3.0]}


def draw(rng, *, m, depth):
    """Some numbers, some of them odd, and a product that depends on the number of threads."""
    A = rng.standard_normal((40 * m, 40 * m))
    return [
        {"part": part, "mean": rng.standard_normal(m).mean() * depth, "none": None, "good": bool(rng.random() < 0.5)}
        | {"odd": [np.inf, -np.inf, np.nan, -0.0][rng.integers(4)], "product": (A @ A)[0, 0]}
        for part in ("a", "b")
    ]


def normal(rng, *, m, depth):
    return {"x": rng.standard_normal()}


def broken(rng, *, m, depth):
    if m == 5 and depth == 3.0:
        raise ArithmeticError("no such\nsquare")
    if m == 3 and depth == 3.0:
        raise Skip("too deep")
    return {"x": m * depth}


def dying(rng, *, m, depth):
    if m == 5:
        os._exit(1)
    return {"x": 1}


def lines(folder):
    return [line for path in folder.glob("*.jsonl") for line in path.read_bytes().splitlines()]


# ------------------------------------------------------------------------------------------------------ records
def test_records_are_in_the_order_of_the_grid(tmp_path):
    result = sweep(draw, GRID, repeats=2, folder=tmp_path, jobs=1)
    records = result.records
    assert list(records.columns) == ["m", "depth", "repeat", "part", "mean", "none", "good", "odd", "product"]
    cells = [(m, d, r, p) for m in (3, 5) for d in (2.0, 3.0) for r in (0, 1) for p in "ab"]
    assert list(records[["m", "depth", "repeat", "part"]].itertuples(index=False, name=None)) == cells
    assert (result.finished, result.ran, len(result.failures), len(result.skipped)) == (True, 8, 0, 0)
    assert_frame_equal(records, sweep(draw, GRID, repeats=2, jobs=1).records)
    assert_frame_equal(records, pd.read_parquet(result.path), check_dtype=False)
    about = Store(tmp_path, result.sweep).provenance()
    assert about.config["grid"] == GRID
    assert about.config_hash in result.path.name
    assert about.seconds == result.seconds > 0


def test_fixed_parameters_are_no_columns():
    result = sweep(draw, {"m": [3]}, fixed={"depth": 2.0}, jobs=1)
    assert "depth" not in result.records
    assert_frame_equal(result.records, sweep(draw, {"m": [3], "depth": [2.0]}, jobs=1).records.drop(columns="depth"))


def test_random_numbers_are_those_that_spawning_gives():
    sequence = np.random.SeedSequence(7)
    study = Sweep.of(normal, GRID, seed=7)
    first, other = study.rng({"m": 3, "depth": 2.0}, 4), study.rng({"m": 5, "depth": 2.0}, 4)
    words = first.bit_generator.seed_seq.spawn_key
    child = np.random.SeedSequence(sequence.entropy, spawn_key=words[:-1])
    child.spawn(4)
    assert child.spawn(1)[0].generate_state(4).tolist() == first.bit_generator.seed_seq.generate_state(4).tolist()
    assert words[-1] == 4
    assert len(words) == 5
    assert other.bit_generator.seed_seq.spawn_key[:4] != words[:4]


def test_pinned_seeds():
    """Another release of the library may not draw other numbers."""
    assert Sweep.of(normal, GRID, seed=7).rng({"m": 3, "depth": 2.0}, 4).random() == PINNED


PINNED = 0.9579234889341568


def test_paired_cells_share_their_random_numbers():
    apart = sweep(normal, GRID, repeats=3, jobs=1).records
    assert apart.x.nunique() == 12
    paired = sweep(normal, GRID, repeats=3, paired=["depth"], jobs=1).records
    assert paired.x.nunique() == 6
    assert (paired.groupby(["m", "repeat"]).x.nunique() == 1).all()


def test_records_do_not_depend_on_what_else_is_in_the_grid():
    wide = sweep(draw, {"depth": [1.0, 3.0, 2.0], "m": [5, 4, 3]}, repeats=3, jobs=1).records
    narrow = sweep(draw, GRID, repeats=2, jobs=1).records
    wide = wide[wide.m.isin([3, 5]) & wide.depth.isin([2.0, 3.0]) & (wide.repeat < 2)]
    wide = wide.sort_values(["m", "depth", "repeat", "part"], ignore_index=True)[narrow.columns]
    assert_frame_equal(narrow, wide)


# ------------------------------------------------------------------------------------------------------ workers
@pytest.fixture(scope="module")
def undisturbed():
    return sweep(draw, GRID, repeats=4, jobs=1).records


@pytest.mark.parametrize("batch", [None, 1, 3])
def test_loky_changes_nothing(undisturbed, tmp_path, batch):
    result = sweep(draw, GRID, repeats=4, jobs=2, batch=batch, folder=tmp_path)
    assert_frame_equal(result.records, undisturbed, check_exact=True)


@pytest.mark.parametrize("backend", ["threading", "multiprocessing", "sequential"])
def test_the_callers_backend_changes_nothing(undisturbed, tmp_path, backend):
    steps = []
    with joblib.parallel_config(backend, n_jobs=2):
        result = sweep(draw, GRID, repeats=4, folder=tmp_path, progress=steps.append)
    assert_frame_equal(result.records, undisturbed, check_exact=True)
    assert [step.done for step in steps] == list(range(1, 17))


def test_the_callers_number_of_workers_counts():
    assert Pool(3).workers == 3
    assert Pool(None).workers == os.cpu_count()
    with joblib.parallel_config("threading", n_jobs=3):
        assert Pool(None).workers == 3
        assert Pool(2).workers == 2
    with joblib.parallel_config(n_jobs=3):
        assert Pool(None).workers == 3
    with joblib.parallel_config("threading"):
        assert Pool(None).workers == joblib.effective_n_jobs(-1)
    assert Pool(1000, most=3).workers == 3
    assert not Pool(1000, most=3).here
    assert Pool(1000, most=1).here


def test_lambdas_closures_and_partials_reach_the_workers():
    def measure(rng, *, a, b=1):
        return {"x": a * b * factor}

    factor = 3
    for function in (measure, lambda rng, a: {"x": 3 * a}, partial(measure, b=1)):
        assert sweep(function, {"a": [1, 2]}, jobs=2).records.x.tolist() == [3, 6]


ORPHANS = r"""
import os, time
from hadaflow.experiments import sweep, transport

def measure(rng, *, m):
    os.write(1, b"<%d>\n" % os.getpid())
    time.sleep(0.1)
    return {"x": 1}

transport._IDLE = 3600  # seconds that its workers would wait for more
sweep(measure, {"m": list(range(10_000))}, jobs=2, batch=1)
"""


def test_workers_end_with_the_process_that_was_killed(tmp_path):
    """So that a pipe behind it ends, too."""
    (tmp_path / "run.py").write_text(ORPHANS)
    command, at_work = [sys.executable, tmp_path / "run.py"], set()
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL) as child:
        try:
            while len(at_work) < 2 and child.poll() is None:
                # Two workers share the pipe: a line may come in parts, or two of them as one.
                at_work.update(re.findall(rb"<(\d+)>", child.stdout.readline()))
            assert len(at_work) == 2
            child.kill()
            child.communicate(timeout=120)  # until nobody has the output open
        finally:
            child.kill()


def test_workers_with_another_version_are_refused(tmp_path, monkeypatch):
    theirs = hf.__version__
    monkeypatch.setattr(hf, "__version__", "0.0.1")
    with pytest.raises(
        ImportError, match=f"a worker has hadaflow {theirs}, the process that runs the sweep 0.0.1: inst"
    ):
        sweep(normal, GRID, folder=tmp_path, jobs=2)


@pytest.fixture(scope="module")
def cluster():
    distributed = pytest.importorskip("distributed")
    with (
        pytest.importorskip("dask").config.set({"distributed.scheduler.allowed-failures": 0}),
        distributed.LocalCluster(n_workers=2, threads_per_worker=1, processes=True, dashboard_address=":0") as cluster,
        distributed.Client(cluster) as client,
    ):
        yield client


@pytest.mark.filterwarnings("ignore")  # Dask's own
def test_dask_changes_nothing(undisturbed, tmp_path, cluster):
    with joblib.parallel_config("dask"):
        assert Pool(None).workers == 2
        result = sweep(draw, GRID, repeats=4, folder=tmp_path)
    assert_frame_equal(result.records, undisturbed, check_exact=True)


class Dask:
    """A client of as many threads as are left to say, on which calls run at once, or never."""

    def __init__(self, *threads, status="running"):
        self.threads, self.status, self.cancelled, self.sent = list(threads), status, [], 0

    def ncores(self):
        return {"worker": self.threads.pop(0) if len(self.threads) > 1 else self.threads[0]}

    def submit(self, function, *arguments, pure):
        self.sent += 1
        future = Future()
        if any(self.threads):
            future.set_result(function(*arguments))
        return future

    def cancel(self, futures):
        self.cancelled = futures


def test_a_cluster_without_workers_is_told(monkeypatch):
    pytest.importorskip("distributed")
    monkeypatch.setattr("hadaflow.experiments.on_dask._LOOK", 0.001)
    monkeypatch.setattr("hadaflow.experiments.on_dask._PATIENCE", 0.01)
    client = Dask(0)
    with pytest.raises(WorkerLostError, match=r"the Dask cluster has had no workers for 0\.01 s"):
        list(Cluster(client, 1).run([(abs, -1), (abs, -2)]))
    assert len(client.cancelled) == 2
    with pytest.raises(WorkerLostError, match="the scheduler of Dask is gone"):
        list(Cluster(Dask(0, status="closed"), 1).run([(abs, -1)]))


def test_workers_that_join_later_are_used(monkeypatch):
    pytest.importorskip("distributed")
    monkeypatch.setattr("hadaflow.experiments.on_dask._LOOK", 0.0)
    client = Dask(1, 5)
    outcomes = Cluster(client, 1).run((abs, -k) for k in range(100))
    sent = []
    for _ in range(4):
        next(outcomes)
        sent.append(client.sent)
    assert sent[0] == 2
    assert sent[-1] >= 10
    assert max(outcomes) == 99


@pytest.mark.parametrize(("backend", "here"), [("dask", False), ("threading", True), ("loky", True)])
def test_a_single_worker_elsewhere_is_used(monkeypatch, cluster, backend, here):
    monkeypatch.setattr(type(cluster), "ncores", lambda *_: {"worker": 1})
    with joblib.parallel_config(backend, n_jobs=1):
        assert (Pool(None).workers, Pool(None).here) == (1, here)
        assert Pool(1).here


@pytest.mark.filterwarnings("ignore")
def test_a_worker_of_dask_that_dies_is_told(tmp_path, cluster):
    with (
        joblib.parallel_config("dask"),
        pytest.raises(WorkerLostError, match=r"Dask lost its workers.*of 4 repetitions are done and kept in"),
    ):
        sweep(dying, GRID, folder=tmp_path, batch=1)


def test_a_worker_that_dies_is_told_and_the_rest_is_kept(tmp_path):
    done = []
    with pytest.raises(WorkerLostError, match=r"a worker process died.*the same call goes on, with jobs=1 alone"):
        sweep(dying, {"depth": [2.0, 3.0], "m": [3, 5]}, folder=tmp_path, jobs=2, batch=1, progress=done.append)
    assert len(lines(tmp_path)) == len(done)


def test_trials_compute_with_one_thread(monkeypatch):
    from threadpoolctl import threadpool_info, threadpool_limits

    def threads():
        return [library["num_threads"] for library in threadpool_info() if library["user_api"] == "blas"]

    for variable in ("OPENBLAS_NUM_THREADS", "OMP_NUM_THREADS", "MKL_NUM_THREADS"):
        monkeypatch.delenv(variable, raising=False)  # of `make test`; new processes would inherit it
    with threadpool_limits(2, user_api="blas"):
        assert set(threads()) == {2}
        with one_thread(), one_thread():
            assert set(threads()) == {1}
        assert set(threads()) == {2}
        for jobs in (1, 2):
            result = sweep(lambda rng, a: {"threads": max(threads())}, {"a": [1]}, jobs=jobs)
            assert result.records.threads.tolist() == [1]


def test_batches_follow_the_seconds_that_tasks_take():
    quick, slow = Pace(2, None), Pace(2, None)
    assert quick.size(1000) == slow.size(1000) == 1
    quick.learn([(0, Entry([], 1e-5))])
    slow.learn([(0, Entry([], 1.0))])
    assert [quick.size(10_000) for _ in range(6)] == [4, 16, 64, 256, 1000, 1000]
    assert slow.size(1000) == 1
    medium = Pace(2, None)
    medium.learn([(0, Entry([], 0.01))])
    assert [medium.size(left) for left in (1000, 1000, 1000, 100, 10)] == [4, 16, 30, 12, 2]
    assert Pace(2, 5).size(1000) == 5


# ----------------------------------------------------------------------------------------------------- going on
def test_only_what_is_new_is_run(tmp_path):
    first = sweep(draw, GRID, repeats=2, folder=tmp_path, jobs=1)
    assert sweep(draw, GRID, repeats=2, folder=tmp_path, jobs=1).ran == 0
    kept = lines(tmp_path)
    more = sweep(draw, GRID | {"m": [3, 4, 5]}, repeats=3, folder=tmp_path, jobs=1)
    assert more.ran == 18 - 8
    assert lines(tmp_path)[:8] == kept
    assert_frame_equal(more.records, sweep(draw, GRID | {"m": [3, 4, 5]}, repeats=3, jobs=1).records)
    assert len({more.path, first.path}) == len(list(tmp_path.glob("*.parquet"))) == 2
    assert len(list(tmp_path.glob("*.jsonl"))) == 1
    # Fixed values are part of the cell.
    assert sweep(draw, {"m": [3, 5]}, fixed={"depth": 2.0}, repeats=2, folder=tmp_path, jobs=1).ran == 0
    assert sweep(draw, {"m": [3, 5]}, fixed={"depth": 9.0}, repeats=2, folder=tmp_path, jobs=1).ran == 4
    # Another seed or pairing, or a fresh start.
    assert sweep(draw, GRID, seed=1, folder=tmp_path, jobs=1).ran == 4
    assert sweep(draw, GRID, paired=["m"], folder=tmp_path, jobs=1).ran == 4
    assert sweep(draw, GRID, folder=tmp_path, jobs=1, fresh=True).ran == 4
    assert len(lines(tmp_path)) == 4


def test_an_edited_function_starts_anew(tmp_path):
    file = tmp_path / "file.py"
    file.write_text("def f(rng, a):\n    return {'x': a}\n")
    call = partial(sweep, f"{file}:f", {"a": [1, 2]}, folder=tmp_path / "out")
    assert call(jobs=2).records.x.tolist() == [1, 2]
    assert call(jobs=1).ran == 0
    file.write_text("def f(rng, a):\n    return {'x': 2 * a}\n")
    assert call(jobs=2).records.x.tolist() == [2, 4]  # by workers that know the former file
    file.write_text("def f(rng, a):\n    return {'x': 2 * a}\nf.revision = 2\n")
    assert call(jobs=1).ran == 2
    file.write_text("def f(rng, a):\n    return {'x': a + a}\nf.revision = 2\n")
    assert call(jobs=1).ran == 0


def test_a_function_is_known_by_the_code_that_runs_and_not_by_the_file(tmp_path, monkeypatch):
    file = tmp_path / "edited_while_it_runs.py"
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setattr(sys, "dont_write_bytecode", True)
    file.write_text("def f(rng, a):\n    return {'x': a}\n")
    module = importlib.import_module(file.stem)
    file.write_text("def f(rng, a):\n    return {'x': 22 * a}\n")
    call = partial(sweep, grid={"a": [1, 2]}, folder=tmp_path / "out", jobs=1)
    assert call(module.f).records.x.tolist() == [1, 2]
    linecache.clearcache()
    assert call(importlib.reload(module).f).records.x.tolist() == [22, 44]
    monkeypatch.delitem(sys.modules, file.stem)


def test_a_file_that_is_edited_while_it_runs_is_the_same_for_all_workers(tmp_path):
    file = tmp_path / "file.py"
    file.write_text("def f(rng, a):\n    return {'x': 1}\n")
    study = Sweep.of(f"{file}:f", {"a": [1]})
    file.write_text("def f(rng, a):\n    return {'x': 2}\n")
    opened = pickle.loads(pickle.dumps(parcel_of(study.function))).open()
    assert opened(None, 1) == {"x": 1}


class Times:
    def __init__(self, factor):
        self.factor = factor

    def __call__(self, rng, *, a):
        return {"x": self.factor * a}

    def method(self, rng, *, a):
        return {"x": self.factor * a}


def times(rng, *, a, factor, words=frozenset("abcdefgh")):
    return {"x": np.sum(factor) * a}


def around(inner):
    return lambda rng, a: inner(rng, a) | {"y": 1}


def closure(factor):
    return lambda rng, a: {"x": factor * a}


def test_what_a_function_carries_is_part_of_it(tmp_path):
    made = [
        lambda k: partial(times, factor=np.full(10_000, k)),
        lambda k: partial(Times(k)),
        closure,
        lambda k: closure(np.float32(k)),
        lambda k: around(closure(k)),
        Times,
        lambda k: Times(k).method,
        lambda k: (lambda rng, a: {"x": a}, lambda rng, a: {"x": 2 * a})[k - 1],
        lambda k: functools.cache(closure(k)),
        lambda k: lambda rng, a, factor=k: {"x": factor * a},
    ]
    for number, make in enumerate(made):
        call = partial(sweep, grid={"a": [1]}, folder=tmp_path / str(number), jobs=1)
        assert [call(make(k)).ran for k in (1, 2, 1, 2)] == [1, 1, 0, 0], number


def test_a_function_is_known_by_the_same_digits_in_every_process():
    script = "from test_sweeps import *; print(*(fingerprint(f) for f in (times, Times(3), partial(times, factor=2))))"
    seed = "2" if os.environ.get("PYTHONHASHSEED") == "1" else "1"  # another one than here
    there = subprocess.run(
        [sys.executable, "-c", script],
        env=os.environ | {"PYTHONHASHSEED": seed},
        cwd=Path(__file__).parent,
        capture_output=True,
        text=True,
        check=True,
    )
    assert there.stdout.split() == [fingerprint(f) for f in (times, Times(3), partial(times, factor=2))]


def test_what_cannot_be_read_needs_a_revision(tmp_path):
    lock = threading.Lock()

    def locked(rng, *, a):
        with lock:
            return {"x": a}

    with pytest.raises(TypeError, match="locked carries a lock, which cannot be told from another one: give values in"):
        sweep(locked, {"a": [1]}, folder=tmp_path, jobs=1)
    locked.revision = 1
    assert [sweep(locked, {"a": [1]}, folder=tmp_path, jobs=1).ran for _ in range(2)] == [1, 0]


def test_failures_are_kept_with_their_reason(tmp_path):
    steps = []
    result = sweep(broken, GRID, repeats=2, folder=tmp_path, jobs=1, progress=steps.append)
    assert not result.finished
    assert list(result.failures.columns) == ["m", "depth", "repeat", "error", "traceback"]
    assert result.failures.error.tolist() == ["ArithmeticError: no such square"] * 2
    assert 'raise ArithmeticError("no such\\nsquare")' in result.failures.traceback[0]
    assert result.skipped.to_dict("records") == [
        {"m": 3, "depth": 3.0, "repeat": repeat, "reason": "too deep"} for repeat in (0, 1)
    ]
    assert result.records.x.tolist() == [6.0, 6.0, 10.0, 10.0]
    assert pd.read_parquet(result.path).x.tolist() == result.records.x.tolist()
    assert (steps[-1].done, steps[-1].total, steps[-1].failed, steps[-1].finished) == (8, 8, 2, True)
    again = sweep(broken, GRID, repeats=2, folder=tmp_path, jobs=1)
    assert (again.ran, len(again.failures)) == (0, 2)
    again = sweep(broken, GRID, repeats=2, folder=tmp_path, jobs=1, retry_failed=True)
    assert (again.ran, len(again.failures)) == (2, 2)
    about = Store(tmp_path, result.sweep).provenance()
    assert (about.failed, about.skipped) == (2, 2)


def test_what_failed_and_then_succeeds_gets_into_the_records(tmp_path):
    def measure(rng, *, a):
        if a == 2 and not (tmp_path / "mended").exists():
            raise OSError("not yet")
        return {"x": a}

    call = partial(sweep, measure, {"a": [1, 2, 3]}, folder=tmp_path / "out", jobs=1)
    assert call().records.x.tolist() == [1, 3]
    (tmp_path / "mended").touch()
    assert call().records.x.tolist() == [1, 3]
    result = call(retry_failed=True)
    assert (result.ran, result.records.x.tolist()) == (1, [1, 2, 3])
    assert pd.read_parquet(result.path).x.tolist() == [1, 2, 3]
    assert call().finished


def test_nothing_but_failures_gives_an_empty_table(tmp_path):
    result = sweep(broken, {"m": [5], "depth": [3.0]}, folder=tmp_path, jobs=1)
    assert list(result.records.columns) == ["m", "depth", "repeat"]
    assert len(pd.read_parquet(result.path)) == 0


def test_steps_tell_how_long_it_goes_on():
    steps: list[Step] = []
    sweep(normal, GRID, jobs=1, progress=steps.append)
    assert [step.done for step in steps] == [1, 2, 3, 4]
    for step in steps:
        assert step.remaining == pytest.approx(step.seconds / step.done * (4 - step.done))
        assert step.seconds > 0
    assert [step.finished for step in steps] == [False, False, False, True]


def test_what_is_no_scalar_and_no_row_is_a_failure():
    values = [1j, [1], 2**63]
    result = sweep(lambda rng, kind: {"x": values[kind]}, {"kind": range(3)}, jobs=1)
    assert result.failures.error.tolist() == [
        "TypeError: 'x' must be a plain scalar, got complex; record one row per number",
        "TypeError: 'x' must be a plain scalar, got list; record one row per number",
        f"ValueError: 'x' must fit into 64 bits, got {2**63}; record it as a float or a string",
    ]
    rows = [3.0, "word", [1], [], None, {"kind": 1}, {1: 2}]
    assert len(sweep(lambda rng, kind: rows[kind], {"kind": range(7)}, jobs=1).failures) == 7


def test_one_name_is_one_kind_of_values(tmp_path):
    for kept in [True, False]:
        folder = tmp_path if kept else None
        with pytest.raises(TypeError, match="'x' was recorded as float and as str; record one kind"):
            sweep(lambda rng, a: {"x": "many" if a else 1.0}, {"a": [0, 1]}, folder=folder, jobs=1)
        with pytest.raises(TypeError, match="'x' was recorded as bool and as int; record one kind"):
            sweep(lambda rng, a: {"x": True if a else 1}, {"a": [0, 1]}, folder=folder, jobs=1)
        with pytest.raises(ValueError, match="'x' was recorded as 9007199254740993 and as floats, which cannot hold"):
            sweep(lambda rng, a: {"x": 2**53 + 1 if a else 0.5}, {"a": [0, 1]}, folder=folder, jobs=1)
        missing = sweep(lambda rng, a: {"x": "many" if a else None}, {"a": [0, 1]}, folder=folder, jobs=1)
        assert missing.records.x.isna().tolist() == [True, False]


def test_a_parameter_may_be_called_self():
    def measure(rng, **parameters):
        return {"x": parameters["self"]}

    assert sweep(measure, {"self": [1, 2]}, jobs=1).records.x.tolist() == [1, 2]


def test_numpy_scalars_are_plain():
    def measure(rng, *, a):
        return {"f": np.float32(0.1), "i": np.int8(3), "b": np.bool_(True), "s": np.str_("s")}

    row = sweep(measure, {"a": np.array([1, 2])}, jobs=1).records.iloc[0].to_dict()
    assert row == {"a": 1, "repeat": 0, "f": float(np.float32(0.1)), "i": 3, "b": True, "s": "s"}


@pytest.mark.parametrize("table", ["in memory", "on disk"])
def test_whole_numbers_keep_all_digits_beside_missing_values(tmp_path, table):
    result = sweep(lambda rng, a: {"x": 2**62 + a if a else None}, {"a": [0, 1, 2]}, folder=tmp_path, jobs=1)
    records = result.records if table == "in memory" else pd.read_parquet(result.path)
    assert str(records.x.dtype) == "Int64"
    assert records.x.dropna().tolist() == [2**62 + 1, 2**62 + 2]
    assert records.x.isna().tolist() == [True, False, False]


class Wordless(Exception):
    def __str__(self):
        raise ValueError("no words")


@pytest.mark.parametrize("jobs", [1, 2])
def test_whatever_a_trial_raises_the_others_go_on(tmp_path, jobs):
    errors = {
        "Wordless: (its message cannot be had)": Wordless,
        "GeneratorExit: ": GeneratorExit,
        "CancelledError: ": asyncio.CancelledError,
        "SystemExit: 3": partial(SystemExit, 3),
        "OSError: \\ud800": partial(OSError, "\ud800"),
    }

    def raising(rng, *, a, kind):
        if a == 2:
            error = list(errors.values())[kind]
            raise error()
        return {"x": a}

    result = sweep(raising, {"kind": range(5), "a": [1, 2, 3]}, folder=tmp_path, jobs=jobs)
    assert result.records.x.tolist() == [1, 3] * 5
    assert result.failures.error.tolist() == list(errors)


@pytest.mark.parametrize("row", [{"x": "\ud800"}, {"\ud800": 1}], ids=["value", "name"])
def test_what_is_no_text_is_a_failure(tmp_path, row):
    result = sweep(lambda rng, a: row if a else {"x": "text"}, {"a": [0, 1]}, folder=tmp_path, jobs=1)
    assert "half a surrogate pair is missing" in result.failures.error[0]
    assert result.records.x.tolist() == ["text"]


# ------------------------------------------------------------------------------------------------------ mistakes
def test_mistakes_are_told_before_any_work(tmp_path, monkeypatch):
    assert sweep_arguments.MOST == 10_000_000
    monkeypatch.setattr(sweep_arguments, "MOST", 10_000)  # as many are looked at
    for arguments, words in [
        ({"grid": {}}, "grid is empty"),
        ({"grid": {"m": []}}, "grid.m is empty"),
        ({"grid": {"m": 3}}, r"grid.m must be a list of values, got 3; give \[3\] or put it into fixed"),
        ({"grid": {"m": "abc"}}, "grid.m must be a list"),
        ({"grid": {"m": [1, {}]}}, "grid.m must hold numbers, strings or bools, got a nested table"),
        ({"grid": {"m": [1, [2]]}}, "grid.m must hold numbers, strings or bools, got a list"),
        ({"grid": {"m": [1, None]}}, "got None"),
        ({"grid": {"m": [np.nan]}}, "must not be NaN"),
        ({"grid": {"m": [1, 2, 1.0]}}, "grid.m holds 1.0 twice"),
        ({"grid": {"m": [1, True]}}, "grid.m holds True twice"),
        ({"grid": {"m": [2, "a"]}}, r"grid.m holds values of several kinds \(int and str\)"),
        ({"grid": {"m": [-(2**63) - 1]}}, "grid.m must fit into 64 bits"),
        ({"grid": {"m": ["\ud800"]}}, "grid.m has .*, which is no text"),
        ({"grid": {"m": range(10**9)}}, "grid.m holds more than 10,000 values"),
        ({"grid": {"m": range(4000), "depth": range(4000)}}, r"make 16,000,000 repetitions \(16,000,000 cells, 1 of"),
        ({"repeats": 10**9}, "make 4,000,000,000 repetitions"),
        ({"folder": "a\0b"}, "folder cannot be called"),
        ({"grid": {"a b": [1]}}, "'a b', which cannot be the name"),
        ({"grid": {"repeat": [1]}}, "'repeat', which is the number of the repetition"),
        ({"grid": {"error": [1]}}, "'error', which is a column of what failed or was skipped"),
        ({"grid": {"m": np.array(3)}}, r"grid.m must be a list of values, got 3; give \[3\]"),
        ({"folder": 5}, "folder must be a path, got 5"),
        ({"grid": [1]}, "grid must map names"),
        ({"fixed": {"m": 1}}, "'m' is in grid and in fixed"),
        ({"fixed": [1]}, "fixed must map names"),
        ({"fixed": {"n": [1]}}, "fixed.n must hold"),
        ({"paired": "m"}, "paired must be a list of names"),
        ({"paired": ["n"]}, "paired names 'n', which is no parameter of the sweep"),
        ({"repeats": 0}, "repeats must be"),
        ({"repeats": 1.5}, "repeats must be a whole number"),
        ({"seed": -1}, "seed must be at least 0"),
        ({"seed": 1.0}, "seed must be a whole number"),
        ({"jobs": 0}, "jobs must be"),
        ({"batch": 0}, "batch must be"),
        ({"fresh": 1}, "fresh must be True or False"),
        ({"progress": 1}, "progress must be callable"),
        ({"experiment": 3}, "experiment must be a function or a string"),
        ({"grid": {"m": [1], "dept": [1]}}, r"normal takes no parameter 'dept'; did you mean 'depth'\?"),
        ({"grid": {"m": [1]}}, "normal needs 'depth': give its values in grid"),
        ({"experiment": lambda: None}, "must take a random generator first"),
        ({"experiment": "no.such.module:f"}, "'no.such.module' cannot be imported.*for a file give 'file.py:f'"),
        ({"experiment": "os.path:joyn"}, "os.path has no function 'joyn'; it has 'join'"),
    ]:

        def never(*_):
            raise AssertionError

        call = {"experiment": normal, "grid": GRID, "folder": tmp_path / "out", "jobs": 1, "progress": never}
        with pytest.raises((ValueError, TypeError), match=words):
            sweep(**(call | arguments))
        assert list(tmp_path.iterdir()) == []


def test_folders_that_cannot_be_used_are_told(tmp_path):
    (tmp_path / "file").touch()
    for folder in (tmp_path / "file", tmp_path / "file" / "below"):
        with pytest.raises(OSError, match=r"nothing can be kept in .*file.*: choose another folder"):
            sweep(normal, GRID, folder=folder, jobs=1)


def test_a_folder_that_is_read_only_is_told(tmp_path, monkeypatch):
    def refuse(self, *_, **__):
        raise PermissionError(errno.EACCES, "Permission denied")

    monkeypatch.setattr(Path, "mkdir", refuse)
    with pytest.raises(OSError, match=r"nothing can be kept in .*\(Permission denied\): choose another folder"):
        sweep(normal, GRID, folder=tmp_path, jobs=1)


def test_a_function_may_change_the_working_directory(tmp_path, monkeypatch):
    def measure(rng, *, a):
        os.chdir("/")
        return {"x": a}

    monkeypatch.chdir(tmp_path)
    result = sweep(measure, {"a": [1, 2]}, folder="out", jobs=1)
    assert sorted(path.suffix for path in (tmp_path / "out").glob("[!.]*")) == [".jsonl", ".parquet"]
    assert result.path.exists()


def test_nobody_claims_that_a_deleted_folder_keeps_anything(tmp_path):
    folder = tmp_path / "out"
    with pytest.raises(OSError, match=r"the journal was deleted; .*jsonl is gone from there.*begins anew"):
        sweep(normal, GRID, folder=folder, jobs=1, progress=lambda _: shutil.rmtree(folder))


@pytest.mark.parametrize("kind", ["directory", "dangling symlink"])
def test_a_journal_that_cannot_be_used_is_told(tmp_path, kind):
    path = Store(tmp_path, Sweep.of(normal, GRID)).journal
    path.mkdir() if kind == "directory" else path.symlink_to(tmp_path / "no" / "such")
    with pytest.raises(OSError, match=r"the journal .* cannot be used \(.*\): move it away, or choose another folder"):
        sweep(normal, GRID, folder=tmp_path, jobs=1)


def test_two_sweeps_do_not_share_a_folder(tmp_path):
    def second(step):
        with pytest.raises(OSError, match="another run is at work in"):
            sweep(normal, GRID, folder=tmp_path, jobs=1)

    assert sweep(normal, GRID, folder=tmp_path, jobs=1, progress=second).ran == 4


# ------------------------------------------------------------------------------------------------------ journal
scalars = st.none() | st.booleans() | st.integers(-(2**63), 2**63 - 1) | st.floats() | st.text()


@given(row=st.dictionaries(st.text(), scalars), task=st.dictionaries(st.text(), scalars), error=st.text())
def test_lines_give_back_what_was_written(row, task, error):
    key = canonical(task)
    line = line_of(key, Entry([row], 0.5, error))
    assert line.count(b"\n") == 1
    found, entry = entry_of(line[:-1])
    assert found == key
    assert (entry.error, entry.seconds, entry.rows[0].keys()) == (error, 0.5, row.keys())
    for name, value in row.items():
        assert type(entry.rows[0][name]) is type(value)
        assert repr(entry.rows[0][name]) == repr(value)  # NaN, and the sign of zero


@given(at=st.integers(0, 400), bit=st.integers(0, 7))
def test_no_flipped_bit_goes_unseen(at, bit):
    key = canonical({"m": 3, "repeat": 1})
    line = bytearray(line_of(key, Entry([{"x": 0.1, "y": "text" * 20}], 0.5))[:-1])
    line[at % len(line)] ^= 1 << bit
    assert entry_of(bytes(line)) is None


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(cut=st.integers(0, 10_000))
def test_a_torn_journal_loses_nothing_else(tmp_path, cut):
    path = tmp_path / "journal.jsonl"
    path.unlink(missing_ok=True)
    journal = Journal(path)
    journal.open()
    entries = {canonical({"k": k}): Entry([{"x": k}], 0.1) for k in range(6)}
    journal.append(entries)
    journal.close()
    whole = path.read_bytes()
    cut %= len(whole) + 1
    path.write_bytes(whole[:cut])
    complete = whole[:cut].count(b"\n")
    again = Journal(path)
    again.open()
    assert list(again.entries) == list(entries)[:complete]
    again.append(entries)
    again.close()
    contents = Contents.of(path)
    assert contents.entries == entries
    assert (contents.damaged, contents.torn) == ([], False)


def test_an_intact_line_that_is_none_of_ours_is_damaged():
    import zlib

    for text in (b"3", b"[]", b'{"task":1}', b'{"rows":[]}', b"{", b'{"task":{},"rows":[],"seconds":1,"more":1}'):
        assert entry_of(b"%08x %b" % (zlib.crc32(text), text)) is None
    for about in (
        '"rows":{},"seconds":1',
        '"rows":[3],"seconds":1',
        '"rows":[{"x":[]}],"seconds":1',
        '"rows":[],"seconds":""',
    ):
        text = f'{{"task":{{}},{about}}}'.encode()
        assert entry_of(b"%08x %b" % (zlib.crc32(text), text)) is None


@contextmanager
def files_of_at_most(size):
    """Stands for a disk that is full."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


@pytest.mark.parametrize("jobs", [1, 2])
def test_a_full_disk_is_told_and_loses_nothing(tmp_path, jobs):
    """The limit on the size of files stands for the disk: what fits is written, the rest refused."""
    told = r"cannot write in .*(\d) of 12 tasks are kept: make room, and the same call"
    with files_of_at_most(700), pytest.raises(OSError, match=told):
        sweep(normal, GRID, repeats=3, folder=tmp_path, jobs=jobs, batch=1)
    (path,) = tmp_path.glob("*.jsonl")
    contents = Contents.of(path)
    kept = len(contents.entries)
    assert 0 < kept < 12
    assert (contents.damaged, contents.torn) == ([], False)
    result = sweep(normal, GRID, repeats=3, folder=tmp_path, jobs=1)
    assert result.ran == 12 - kept
    assert_frame_equal(result.records, sweep(normal, GRID, repeats=3, jobs=1).records)


def test_failures_are_told_once():
    with pytest.warns(
        RuntimeWarning, match=r"^2 of 8 repetitions failed, first with 'ArithmeticError: no such square'"
    ) as told:
        result = sweep(broken, GRID, repeats=2, jobs=1)
    assert len(told) == 1
    assert told[0].filename == __file__
    assert repr(result) == "SweepResult(broken: 4 cells x 2, 4 records, 2 failed, 2 skipped)"


def test_giving_up_while_joblib_takes_in_a_result_prints_nothing(tmp_path, monkeypatch):
    """Its thread is held up where it then misses the batch that was sent last (joblib 1.6)."""
    from joblib.externals.loky.process_executor import _ExecutorManagerThread as Manager

    shutting_down, hand_out, seen = Manager.is_shutting_down, Manager.add_call_item_to_queue, []

    def held_up(self):
        time.sleep(0.1)
        return shutting_down(self)

    def watched(self):
        try:
            hand_out(self)
        except KeyError:
            seen.append("missed")
            raise

    def give_up(step=None):
        if step:
            thread = threading.Thread(target=give_up)
            thread.start()
            thread.join()
        raise ArithmeticError("enough")

    monkeypatch.setattr(Manager, "is_shutting_down", held_up)
    monkeypatch.setattr(Manager, "add_call_item_to_queue", watched)
    monkeypatch.setattr(threading, "excepthook", told := lambda failure: seen.append("printed"))
    with pytest.raises(ArithmeticError, match="enough"):
        sweep(normal, GRID, repeats=3, folder=tmp_path, jobs=2, batch=1, progress=give_up)
    assert seen[0] == "printed"  # what other threads have to say
    assert threading.excepthook is told
    if seen == ["printed"]:
        pytest.skip("this version of joblib misses nothing")
    assert seen == ["printed", "missed"]


def test_nobody_waits_for_workers_that_nobody_manages(tmp_path, monkeypatch):
    """Whatever ends joblib's thread: it would hand on nothing, for ever."""
    from joblib.externals.loky.process_executor import _ExecutorManagerThread as Manager

    taken, take = [], Manager.process_result_item

    def failing(self, item):
        taken.append(item)
        if len(taken) == 3:
            raise ArithmeticError("of the thread")
        take(self, item)

    monkeypatch.setattr(Manager, "process_result_item", failing)
    with pytest.raises(WorkerLostError, match=r"what manages the workers ended with ArithmeticError; \d of 12 rep"):
        sweep(normal, GRID, repeats=3, folder=tmp_path, jobs=2, batch=1)
    monkeypatch.undo()
    assert sweep(normal, GRID, repeats=3, folder=tmp_path, jobs=2).finished


def test_a_worker_that_is_started_anew_is_no_error(tmp_path, monkeypatch):
    """On a slow machine one may be idle for long; warnings are errors here, in the thread that starts it, too."""
    from joblib.externals.loky.process_executor import _ExecutorManagerThread as Manager

    take = Manager.process_result_item

    def warning(self, item):
        warnings.warn("A worker stopped while some jobs were given to the executor.", UserWarning, stacklevel=1)
        take(self, item)

    monkeypatch.setattr(Manager, "process_result_item", warning)
    assert sweep(normal, GRID, folder=tmp_path, jobs=2, batch=1).finished


def test_a_disk_too_full_for_the_table_is_told(tmp_path):
    with files_of_at_most(1500), pytest.raises(OSError, match=r"cannot write in .*; 4 of 4 tasks are kept: make room"):
        sweep(normal, GRID, folder=tmp_path, jobs=1)
    assert [path.suffix for path in tmp_path.glob("[!.]*")] == [".jsonl"]
    result = sweep(normal, GRID, folder=tmp_path, jobs=1)
    assert result.ran == 0
    assert_frame_equal(pd.read_parquet(result.path), result.records)


def test_a_disk_too_full_for_a_table_that_is_missing_is_told(tmp_path):
    result = sweep(normal, GRID, folder=tmp_path, jobs=1)
    result.path.unlink()
    with files_of_at_most(1500), pytest.raises(OSError, match=r"cannot write in .*; 4 of 4 tasks are kept: make room"):
        sweep(normal, GRID, folder=tmp_path, jobs=1)


def test_a_damaged_line_is_told_once_and_run_again(tmp_path):
    result = sweep(normal, GRID, repeats=3, folder=tmp_path, jobs=1)
    (path,) = tmp_path.glob("*.jsonl")
    text = path.read_bytes()
    at = text.index(b'"x":', 300) + 6
    path.write_bytes(text[:at] + b"?" + text[at + 1 :])
    number = text[:at].count(b"\n") + 1
    with pytest.warns(RuntimeWarning, match=rf"{path.name} is damaged in line {number}: set aside") as told:
        again = sweep(normal, GRID, repeats=3, folder=tmp_path, jobs=1)
    assert len(told) == 1
    assert again.ran == 1
    assert_frame_equal(again.records, result.records)
    assert sweep(normal, GRID, repeats=3, folder=tmp_path, jobs=1).ran == 0


def test_a_damaged_parquet_file_is_made_again(tmp_path):
    result = sweep(normal, GRID, folder=tmp_path, jobs=1)
    result.path.write_bytes(result.path.read_bytes()[:-30])
    assert sweep(normal, GRID, folder=tmp_path, jobs=1).ran == 0
    assert_frame_equal(pd.read_parquet(result.path), result.records)


# --------------------------------------------------------------------------------------------------------- kills
KILLS = """
import os, random, signal, sys, time
from pathlib import Path
import joblib, pandas, pyarrow.parquet, filelock
from hadaflow.experiments import sweep

def measure(rng, *, m, depth):
    time.sleep(pause * rng.uniform(0.001, 0.004))
    return {"x": rng.standard_normal()}

GRID = {"m": list(range(20)), "depth": list(range(20))}

def run():
    return sweep(measure, GRID, repeats=6, folder=folder, jobs=2, batch=batch)

folder, backend, kills = Path(sys.argv[1]), sys.argv[2], int(sys.argv[3])
batch = 5 if backend == "threading" else None
chance = random.Random(0)

def lines():
    return [line for path in folder.glob("*.jsonl") for line in path.read_bytes().split(b"\\n")[:-1]]

seen, pause = [], 1
for _ in range(kills):
    child = os.fork()  # this process has no threads, and has imported everything
    if not child:
        os.setsid()
        with joblib.parallel_config(backend):
            run()
        os._exit(0)
    give_up = time.monotonic() + 30
    while len(lines()) == len(seen) and time.monotonic() < give_up:
        time.sleep(0.002)
    time.sleep(chance.uniform(0, 0.15))
    os.killpg(child, signal.SIGKILL) if backend == "threading" else os.kill(child, signal.SIGKILL)
    status = os.waitpid(child, 0)[1]
    now = lines()
    assert os.WIFSIGNALED(status), "it ended before it was killed"
    assert now[:len(seen)] == seen, "something that was there is gone"
    assert len(now) > len(seen), "nothing got done"
    seen = now
pause = 0
with joblib.parallel_config(backend):
    result = run()
assert lines()[:len(seen)] == seen
assert len(set(lines())) == len(lines()) == 2400
assert result.ran == 2400 - len(seen)
assert result.finished
folder = None
pandas.testing.assert_frame_equal(result.records, sweep(measure, GRID, repeats=6, jobs=1).records, check_exact=True)
pandas.testing.assert_frame_equal(result.records, pandas.read_parquet(result.path), check_exact=True)
print(len(seen))
"""


def killed(tmp_path, backend, kills):
    script = tmp_path / "kills.py"
    script.write_text(KILLS)
    done = subprocess.run(
        [sys.executable, str(script), str(tmp_path / "out"), backend, str(kills)],
        capture_output=True,
        text=True,
        check=False,
        timeout=300,
    )
    assert done.returncode == 0, done.stderr
    assert 0 < int(done.stdout) < 2400


def test_ten_kills_lose_nothing(tmp_path):
    killed(tmp_path, "threading", 10)


@pytest.mark.slow
def test_ten_kills_of_a_run_with_processes_lose_nothing(tmp_path):
    killed(tmp_path, "loky", 10)


def test_the_journal_is_plain_text(tmp_path):
    sweep(normal, GRID, folder=tmp_path, jobs=1)
    checksum, _, text = lines(tmp_path)[0].decode().partition(" ")
    assert len(checksum) == 8
    assert json.loads(text)["task"] == {"m": 3, "depth": 2.0, "repeat": 0}

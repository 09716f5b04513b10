"""What is kept of a run, when, and at what cost."""

import tracemalloc

import numpy as np
import pytest

import hadaflow as hf
from hadaflow.recording import METRICS, entries, error_to, largest_outside
from hadaflow.stopping import MaxSteps, MaxTime


@pytest.fixture(scope="module")
def problem():
    rng = np.random.default_rng(0)
    A = rng.standard_normal((10, 25)) / np.sqrt(10)
    return hf.Problem(A, A[:, 3] - A[:, 7])


def go(problem, record=None, *, steps=100, step=0.01, stop=None):
    stop = stop or MaxSteps(steps)
    return hf.descend(problem, hf.HadamardPower(2), init_scale=0.3, step=step, stop=stop, record=record)


# ---- which snapshots ------------------------------------------------------------------------------------------------


def test_every(problem):
    for every in (1, 7, 50, 1000):
        history = go(problem, hf.Recorder(every=every)).history
        wanted = sorted({*range(0, 101, every), 100})  # the last one always
        np.testing.assert_array_equal(history.steps, wanted)
        np.testing.assert_allclose(history.times, 0.01 * np.array(wanted), rtol=1e-12)
        assert len(history) == len(wanted)


def test_times(problem):
    """The first step at or after each; several times within one step count once."""
    history = go(problem, hf.Recorder(times=[0.0, 0.015, 0.2, 0.2001, 0.2002, 0.5, 5.0])).history
    np.testing.assert_array_equal(history.steps, [0, 2, 20, 21, 50, 100])
    late = go(problem, hf.Recorder(times=[0.555])).history
    np.testing.assert_array_equal(late.steps, [0, 56, 100])  # the first one always


def test_per_decade(problem):
    """Evenly in log-time, as far as steps allow."""
    for per_decade in (1, 5, 40):
        history = go(problem, hf.Recorder(per_decade=per_decade), steps=1000).history
        assert history.steps[0] == 0
        assert history.steps[-1] == 1000
        ratio = 10 ** (1 / per_decade)
        times = history.times[1:-1]
        assert (np.diff(history.steps) > 0).all()
        assert (times[1:] >= ratio * times[:-1] * (1 - 1e-12)).all()
        assert (
            times[1:] - 0.01 <= ratio * times[:-1] * (1 + 1e-12)
        ).all()  # one step earlier would have been too early


def test_default_is_forty_per_decade(problem):
    one, two = go(problem, None, steps=500).history, go(problem, hf.Recorder(per_decade=40), steps=500).history
    np.testing.assert_array_equal(one.steps, two.steps)
    assert set(one.metrics) == {"residual", "l1_norm", "support_size"}
    assert one.x is None
    assert one.average is None


def test_a_run_of_no_steps_keeps_its_start(problem):
    for record in (hf.Recorder(every=64), hf.Recorder(times=[0.3]), hf.Recorder(per_decade=1)):
        np.testing.assert_array_equal(go(problem, record, steps=0).history.steps, [0])


# ---- what of them -------------------------------------------------------------------------------------------------


def test_iterates_and_averages(problem):
    record = hf.Recorder(every=10, x=True, average=True)
    run = go(problem, record)
    history = run.history
    assert history.x.shape == history.average.shape == (11, 25)
    assert history.x.dtype == np.float64
    np.testing.assert_array_equal(history.x[-1], run.x)
    np.testing.assert_array_equal(history.average[-1], run.average)
    for k in (0, 3, 7):
        single = go(problem, steps=10 * k)
        np.testing.assert_array_equal(history.x[k], single.x)
        np.testing.assert_array_equal(history.average[k], single.average)


def test_single_precision_is_kept_in_single_precision(problem):
    small = hf.Problem(problem.A.astype(np.float32), problem.y.astype(np.float32))
    history = go(small, hf.Recorder(every=50, x=True)).history
    assert history.x.dtype == np.float32


def test_metrics_by_name(problem):
    record = hf.Recorder(every=20, x=True, average=True, metrics=list(METRICS))
    run = go(problem, record)
    history = run.history
    A, y = problem.A, problem.y
    size = np.linalg.norm(y)
    np.testing.assert_allclose(history["residual"], np.linalg.norm(history.x @ A.T - y, axis=1) / size, rtol=1e-12)
    np.testing.assert_allclose(history["l1_norm"], np.abs(history.x).sum(axis=1), rtol=1e-12)
    level = np.sqrt(0.3**2 * np.abs(history.x).max(axis=1))
    np.testing.assert_array_equal(history["support_size"], (level < np.abs(history.x).T).sum(axis=0))
    assert history["lasso_penalty"][0] == np.inf
    assert history["lasso_penalty"][-1] == run.penalty
    assert history["lasso_gap"][-1] == pytest.approx(run.lasso_certificate.gap, rel=1e-6)
    assert history["l1_gap"][-1] == pytest.approx(run.certificate.gap, rel=1e-6)
    assert (np.diff(history["seconds"]) > 0).all()
    assert history["seconds"][-1] <= run.stats.seconds


def test_one_metric_by_name_alone(problem):
    assert set(go(problem, hf.Recorder(metrics="residual")).history.metrics) == {"residual"}
    assert not go(problem, hf.Recorder(metrics=())).history.metrics


def test_metrics_by_function(problem):
    truth = np.zeros(25)
    truth[[3, 7]] = 1, -1
    metrics = {
        "error": error_to(truth),
        "outside": largest_outside([3, 7]),
        "on": entries([7, 3]),
        "step": lambda snapshot: snapshot.step,
    }
    history = go(problem, hf.Recorder(every=25, x=True, metrics=metrics)).history
    np.testing.assert_allclose(history["error"], np.linalg.norm(history.x - truth, axis=1), rtol=1e-12)
    np.testing.assert_array_equal(history["outside"], np.abs(np.delete(history.x, [3, 7], axis=1)).max(axis=1))
    np.testing.assert_array_equal(history["on"], history.x[:, [7, 3]])
    np.testing.assert_array_equal(history["step"], history.steps)
    assert repr(history) == "History(5 snapshots: x, error, outside, on, step)"


def test_a_metric_may_begin_with_a_whole_number(problem):
    """No value is cut to the type of the first one."""
    metrics = {"half": lambda snapshot: 0 if snapshot.step == 0 else snapshot.step / 2}
    np.testing.assert_array_equal(
        go(problem, hf.Recorder(every=25, metrics=metrics)).history["half"] * 2, range(0, 101, 25)
    )


def test_a_metric_must_keep_its_shape(problem):
    with pytest.raises(ValueError, match=r"on.*shape"):
        go(problem, hf.Recorder(every=1, metrics={"on": lambda snapshot: snapshot.x[: 1 + snapshot.step // 2]}))


def test_kept_arrays_are_copies(problem):
    record = hf.Recorder(every=1, x=True, metrics={"x": lambda at: at.x, "sum": lambda at: at.x.sum()})
    history = go(problem, record, steps=20).history
    np.testing.assert_array_equal(history["x"], history.x)
    assert not np.shares_memory(history["x"], history.x)
    np.testing.assert_allclose(history["sum"], history.x.sum(axis=1))
    assert len(np.unique(history.x, axis=0)) == 21


def test_one_recorder_serves_many_runs(problem):
    record = hf.Recorder(every=10)
    one, two = go(problem, record).history, go(problem, record).history
    np.testing.assert_array_equal(one.steps, two.steps)
    runs = hf.descend_batch(
        problem, hf.HadamardPower(2), init_scale=[0.3, 0.2], step=0.01, stop=MaxSteps(100), record=record
    )
    for run in runs:
        np.testing.assert_array_equal(run.history.steps, one.steps)
    np.testing.assert_allclose(runs[0].history["l1_norm"], one["l1_norm"], rtol=1e-10)


# ---- memory -------------------------------------------------------------------------------------------------------


def used(history):
    arrays = [history.steps, history.times, history.x, history.average, *history.metrics.values()]
    return sum(array.nbytes for array in arrays if array is not None)


def test_stated_memory_is_the_memory_used(problem):
    for kwargs in ({}, {"x": True}, {"x": True, "average": True, "metrics": ("residual",)}):
        for dtype in (np.float64, np.float32):
            small = hf.Problem(problem.A.astype(dtype), problem.y.astype(dtype))
            record = hf.Recorder(every=3, **kwargs)
            history = go(small, record).history
            assert used(history) == record.bytes_per_snapshot(small) * len(history)
            assert record.most_snapshots(small) == record.max_bytes // record.bytes_per_snapshot(small)


@pytest.mark.parametrize("rule", [{"every": 1}, {"every": 3}, {"per_decade": 1000}])
def test_thinning_keeps_within_the_bound(problem, rule):
    """Every second one goes, as often as needed; what stays is as evenly spread as before."""
    for metrics in (("residual",), {"some": entries(np.arange(20))}):
        bound = 8000
        record = hf.Recorder(**rule, metrics=metrics, max_bytes=bound)
        full = hf.Recorder(every=1, metrics=metrics)
        run, whole = go(problem, record, steps=3000), go(problem, full, steps=3000)
        history = run.history
        size = used(history) / len(history)
        assert used(whole.history) > 2 * bound
        assert bound / 3 < used(history) <= bound + size  # the last snapshot comes on top
        assert history.steps[0] == 0
        assert history.steps[-1] == 3000
        gaps = np.diff(history.steps)[:-1]
        if "every" in rule:
            assert len(set(gaps)) == 1
            assert np.log2(gaps[0] / rule["every"]).is_integer()
        else:
            assert (gaps > 0).all()
        name = next(iter(history.metrics))
        same = np.isin(whole.history.steps, history.steps)
        np.testing.assert_array_equal(whole.history[name][same], history[name])
        np.testing.assert_array_equal(run.x, whole.x)


def test_at_least_sixteen_snapshots(problem):
    history = go(problem, hf.Recorder(every=1, x=True, max_bytes=1), steps=1000).history
    assert 8 <= len(history) <= 17


def test_memory_of_a_long_run_stays_near_the_bound(problem):
    """Traced, not stated: lists of small objects would take many times as much."""
    bound = 100_000
    record = hf.Recorder(every=1, max_bytes=bound)
    go(problem, record, steps=10)
    tracemalloc.start()
    try:
        run = go(problem, record, steps=8000, step=1e-4)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert bound / 3 < used(run.history) <= bound + record.bytes_per_snapshot(problem)
    assert peak < 4 * bound


def test_too_many_times_are_refused_before_the_run(problem):
    record = hf.Recorder(times=np.linspace(0, 1, 100), x=True, max_bytes=10_000)
    with pytest.raises(ValueError, match="max_bytes=10000"):
        go(problem, record)


# ---- bad arguments ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("kwargs", "error"),
    [
        ({"every": 0}, ValueError),
        ({"every": 1.5}, ValueError),
        ({"every": "1"}, TypeError),
        ({"per_decade": 0}, ValueError),
        ({"per_decade": True}, TypeError),
        ({"every": 1, "times": [1.0]}, ValueError),
        ({"every": 1, "per_decade": 5}, ValueError),
        ({"times": []}, ValueError),
        ({"times": [2.0, 1.0]}, ValueError),
        ({"times": [1.0, 1.0]}, ValueError),
        ({"times": [-1.0, 1.0]}, ValueError),
        ({"times": [0.0, np.nan]}, ValueError),
        ({"times": [[1.0]]}, ValueError),
        ({"times": "now"}, TypeError),
        ({"x": 1}, TypeError),
        ({"average": "yes"}, TypeError),
        ({"metrics": ["size"]}, ValueError),
        ({"metrics": "size"}, ValueError),
        ({"metrics": 5}, TypeError),
        ({"metrics": {"size": 5}}, TypeError),
        ({"metrics": {"size": None}}, TypeError),
        ({"max_bytes": 0}, ValueError),
        ({"max_bytes": None}, TypeError),
    ],
)
def test_refuses_bad_arguments(kwargs, error):
    with pytest.raises(error):
        hf.Recorder(**kwargs)


def test_refuses_bad_targets():
    with pytest.raises(ValueError, match="truth"):
        error_to([1.0, np.nan])
    with pytest.raises(ValueError, match="truth"):
        error_to([[1.0]])


def test_exception_of_a_metric_comes_through(problem):
    with pytest.raises(ZeroDivisionError):
        go(problem, hf.Recorder(metrics={"bad": lambda snapshot: 1 / 0}))


def test_with_steps_of_different_length(problem):
    history = go(problem, hf.Recorder(times=np.linspace(0, 2, 9)), stop=MaxTime(2.0), step="auto").history
    for wanted in np.linspace(0, 2, 9):
        later = history.times[history.times >= wanted]
        assert len(later)
    assert (np.diff(history.times) > 0).all()

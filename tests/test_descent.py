"""Gradient descent on the factors: against loops written by hand, the flow, the lasso, and bad luck."""

import itertools
import signal

import numpy as np
import pytest
import scipy.sparse as sp
from scipy.sparse.linalg import aslinearoperator

import hadaflow as hf
from hadaflow.losses import Logistic
from hadaflow.stopping import MaxSteps, MaxTime, Residual, When

EPS = np.finfo(float).eps
RULES = [*itertools.product([0.002, "auto"], [2, 3, 4]), (hf.steps.Increasing(), 2)]


def by_hand(A, y, depth, a, step, steps, *, sign="both", factors="shared", scaling=1.0):
    """Plain loop; iterate, average, dual and flow time."""
    m, n = A.shape
    factor = depth if factors == "shared" else 1.0
    u = np.zeros(n) + a
    v = np.zeros(n) + (a if sign == "both" else 0.0)
    total, dual, time = np.zeros(n), np.zeros(m), 0.0
    for _ in range(steps):
        x = u**depth - v**depth if sign == "both" else u**depth
        r = A @ x - y
        g = scaling * factor * (A.T @ r)
        span = scaling * step
        total, dual, time = total + span * x, dual - span * r, time + span
        u = u - step * g * u ** (depth - 1)
        if sign == "both":
            v = v + step * g * v ** (depth - 1)
    x = u**depth - v**depth if sign == "both" else u**depth
    return x, total / time, dual, time


def planted(m=12, n=30, k=3, seed=0, positive=False):
    rng = np.random.default_rng(seed)
    A = rng.standard_normal((m, n)) / np.sqrt(m)
    x = np.zeros(n)
    x[rng.choice(n, k, replace=False)] = rng.uniform(0.5, 1.5, k) * (1 if positive else rng.choice([-1, 1], k))
    return A, A @ x, x


def assert_agrees(run, other, tolerance):
    """Two runs are the same to rounding."""
    assert run.steps == other.steps
    assert run.status is other.status
    for name in ("x", "average", "dual", "time", "penalty"):
        one, two = getattr(run, name), getattr(other, name)
        np.testing.assert_allclose(one, two, rtol=0, atol=tolerance * np.abs(two).max(), err_msg=name)


# ---- against a loop -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("sign", ["both", "positive"])
@pytest.mark.parametrize("depth", [1, 2, 3, 5])
def test_equals_the_loop_by_hand(depth, sign):
    for factors, scaling in itertools.product(["shared", "separate"], [1.0, 2 / 12]):
        A, y, _ = planted(positive=sign == "positive")
        step = 0.03 / depth / scaling
        model = hf.HadamardPower(depth, sign, factors)
        run = hf.descend(hf.Problem(A, y), model, init_scale=0.5, step=step, loss_scale=scaling, stop=MaxSteps(400))
        x, average, dual, time = by_hand(A, y, depth, 0.5, step, 400, sign=sign, factors=factors, scaling=scaling)
        assert run.steps == 400
        assert run.status is hf.Status.STOPPED
        np.testing.assert_allclose(run.x, x, rtol=0, atol=1e-13)
        np.testing.assert_allclose(run.average, average, rtol=0, atol=1e-13)
        np.testing.assert_allclose(run.dual, dual, rtol=0, atol=1e-12 * np.abs(dual).max())
        assert run.time == pytest.approx(time, rel=1e-12)
        correlation = A.T @ dual if sign == "positive" else np.abs(A.T @ dual)
        assert run.penalty == pytest.approx(correlation.max() / time, rel=1e-11)
        assert np.abs(x - (0.5**depth if sign == "positive" else 0)).max() > 0.1  # it has moved


@pytest.mark.parametrize(
    ("kind", "model"),
    [
        (np.asarray, hf.HadamardPower(3)),
        (np.asarray, hf.HadamardPower(2, "positive")),
        (np.asarray, hf.HadamardPower(3, factors="separate")),
        (aslinearoperator, hf.HadamardPower(2)),
    ],
)
def test_a_resumed_run_equals_one_that_never_stopped(kind, model):
    """A constant step; with steps of its own the clock goes on, too."""
    A, y, _ = planted(positive=not model.signed)
    problem, args = hf.Problem(kind(A), y), {"step": 0.01, "loss_scale": 2 / 12}
    whole = hf.descend(problem, model, init_scale=0.3, stop=MaxSteps(800), **args)
    half = hf.descend(problem, model, init_scale=0.3, stop=MaxSteps(400), **args)
    kept = half.factors.u.copy()
    again = hf.descend(problem, model, start=half, stop=MaxSteps(800), **args)
    assert_agrees(again, whole, 1e-12)
    assert np.abs(whole.x - half.x).max() > 1e-3  # it had not ended
    np.testing.assert_array_equal(half.factors.u, kept)  # what is resumed stays as it is
    assert again.history.steps[0] == 400
    assert again.product_scale == whole.product_scale
    free = hf.descend(problem, model, start=half, stop=Residual(1e-6))
    assert free.status is hf.Status.STOPPED
    assert free.time > half.time
    assert free.steps > half.steps


def test_a_run_of_a_batch_is_resumed_alone():
    A, y, _ = planted()
    problem, model = hf.Problem(A, y), hf.HadamardPower(2)
    runs = hf.descend_batch(problem, model, init_scale=[0.3, 0.1], step=0.01, stop=MaxSteps(200))
    for run, scale in zip(runs, [0.3, 0.1], strict=True):
        whole = hf.descend(problem, model, init_scale=scale, step=0.01, stop=MaxSteps(500))
        assert_agrees(hf.descend(problem, model, start=run, step=0.01, stop=MaxSteps(500)), whole, 1e-12)


@pytest.mark.parametrize(
    ("change", "error", "message"),
    [
        ({"start": None}, TypeError, "needs init_scale, or start"),
        ({"init_scale": 0.1}, TypeError, "init_scale or start, not both"),
        ({"start": 3}, TypeError, "start"),
        ({"model": hf.HadamardPower(3)}, ValueError, "cannot go on with"),
        ({"problem": hf.Problem(np.eye(3), np.ones(3))}, ValueError, "start is a run on data of shape"),
    ],
)
def test_refuses_to_resume_what_does_not_fit(change, error, message):
    problem, model = hf.Problem(np.eye(2), np.ones(2)), hf.HadamardPower(2)
    run = hf.descend(problem, model, init_scale=0.1, step=0.01, stop=MaxSteps(5))
    args = {"problem": problem, "model": model, "start": run} | change
    with pytest.raises(error, match=message):
        hf.descend(args.pop("problem"), args.pop("model"), **args)


def test_single_precision_follows_double():
    for depth in (2, 3, 5):
        A, y, _ = planted()
        problem = hf.Problem(A.astype(np.float32), y.astype(np.float32))
        run = hf.descend(problem, hf.HadamardPower(depth), init_scale=0.5, step=0.01, stop=MaxSteps(300))
        x, average, dual, _ = by_hand(A, y, depth, 0.5, 0.01, 300)
        assert run.x.dtype == run.average.dtype == np.float32
        assert run.dual.dtype == np.float64
        for found, wanted in ((run.x, x), (run.average, average), (run.dual, dual)):
            assert np.abs(found - wanted).max() <= 1e-5 * np.abs(wanted).max()


def test_single_precision_data_with_double_precision_measurements():
    A, y, _ = planted()
    A = A.astype(np.float32)
    run = hf.descend(hf.Problem(A, y), hf.HadamardPower(2), init_scale=0.5, step=0.01, stop=MaxSteps(300))
    x = by_hand(A.astype(float), y, 2, 0.5, 0.01, 300)[0]
    assert run.x.dtype == np.float64
    np.testing.assert_allclose(run.x, x, rtol=0, atol=1e-13)


def test_a_start_for_each_coordinate():
    A, y, _ = planted()
    a = np.geomspace(1e-3, 1, 30)
    run = hf.descend(hf.Problem(A, y), hf.HadamardPower(3), init_scale=a, step=0.01, stop=MaxSteps(500))
    np.testing.assert_allclose(run.x, by_hand(A, y, 3, a, 0.01, 500)[0], rtol=0, atol=1e-13)
    assert run.product_scale == pytest.approx(np.exp(3 * np.log(a).mean()))


FORMATS = {
    "Fortran order": np.asfortranarray,
    "strided": lambda A: np.repeat(A, 2, axis=1)[:, ::2],
    "csr": sp.csr_array,
    "csc": sp.csc_array,
    "coo": sp.coo_array,
    "LinearOperator": aslinearoperator,
}


@pytest.mark.parametrize("kind", FORMATS)
def test_every_format_gives_the_same_run(kind):
    A, y, _ = planted()
    A[np.abs(A) < 0.1] = 0
    y = A[:, 0] - A[:, 1]
    model, stop = hf.HadamardPower(2), MaxSteps(300)

    for scaling in (1.0, 2 / 12):
        one, other = (
            hf.descend(hf.Problem(data, y), model, init_scale=0.1, step=0.02, loss_scale=scaling, stop=stop)
            for data in (FORMATS[kind](A), A)
        )
        assert_agrees(one, other, 1e-11)


def test_passes_count_what_is_read():
    A, y, _ = planted()
    run = hf.descend(hf.Problem(A, y), hf.HadamardPower(2), init_scale=0.1, step=0.01, stop=MaxSteps(50))
    assert run.stats.passes == 1 + 2 * 51  # A^T y; a small matrix takes two products a step, and one pair at the start
    wide = np.random.default_rng(0).standard_normal((300, 500))
    problem = hf.Problem(wide, wide[:, 0])
    run = hf.descend(problem, hf.HadamardPower(2), init_scale=0.1, step=1e-5, stop=MaxSteps(50))
    assert run.stats.passes == 1 + 51
    runs = hf.descend_batch(problem, hf.HadamardPower(2), init_scale=[0.1, 0.2], step=1e-5, stop=MaxSteps(50))
    assert [run.stats.passes for run in runs] == [1 + 2 * 51] * 2  # blocks take two products


# ---- batches ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("depth", "scaling"), list(itertools.product([2, 3], [1.0, 2 / 12])))
@pytest.mark.filterwarnings("ignore::hadaflow.ConvergenceWarning")
def test_batch_equals_single_runs(depth, scaling):
    """Different starts, steps and right-hand sides, stopping at different times; one of them diverges."""
    A, y, _ = planted()
    sides = np.column_stack([y, 2 * y, A[:, 3], -y, y])
    scales = np.array([0.1, 0.3, 0.2, 0.4, 0.5])
    steps = np.array([0.02, 0.01, 0.03, 0.015, 1e6]) / scaling
    model, stop = hf.HadamardPower(depth), Residual(1e-5) | MaxSteps(1500)
    kwargs = {"loss_scale": scaling, "stop": stop, "record": hf.Recorder(every=100)}
    problem = hf.Problem(A, y)
    runs = hf.descend_batch(problem, model, init_scale=scales, step=list(steps), y=sides, **kwargs)
    singles = [
        hf.descend(hf.Problem(A, sides[:, j]), model, init_scale=scales[j], step=steps[j], **kwargs) for j in range(5)
    ]
    for run, single in zip(runs, singles, strict=True):
        assert_agrees(run, single, 1e-9)
        assert run.reason == single.reason or run.status is hf.Status.STOPPED
        assert run.product_scale == pytest.approx(single.product_scale)
        np.testing.assert_array_equal(run.history.steps, single.history.steps)
        np.testing.assert_allclose(run.history["l1_norm"], single.history["l1_norm"], rtol=1e-9, atol=1e-13)
        np.testing.assert_array_equal(run.problem.y, single.problem.y)
        assert run.certificate.gap == pytest.approx(single.certificate.gap, rel=1e-6, abs=1e-10)
    assert runs[4].status is hf.Status.DIVERGED
    assert len({run.steps for run in runs}) >= 3  # they did end at different steps


def test_batch_equals_single_runs_where_steps_are_taken_back():
    A, y, _ = planted()
    model, scales = hf.HadamardPower(2), [1e-3, 1e-2, 0.3, 2.0]
    stop = Residual(1e-3) | MaxSteps(2000)
    runs = hf.descend_batch(hf.Problem(A, y), model, init_scale=scales, step="auto", stop=stop)
    rejected = []
    for run, scale in zip(runs, scales, strict=True):
        single = hf.descend(hf.Problem(A, y), model, init_scale=scale, step="auto", stop=stop)
        assert_agrees(run, single, 1e-6)
        assert run.stats.passes == single.stats.passes
        rejected.append((run.stats.passes - 3) / 2 - run.steps)
    assert min(rejected) >= 1
    assert len(set(rejected)) > 1


def test_batch_of_different_rules():
    A, y, _ = planted()
    model, stop = hf.HadamardPower(2), MaxSteps(150)
    rules = ["auto", 0.02, hf.steps.Increasing(phase=2), hf.steps.Auto(max_change=0.01)]
    runs = hf.descend_batch(hf.Problem(A, y), model, init_scale=0.05, step=rules, stop=stop)
    for run, rule in zip(runs, rules, strict=True):
        assert_agrees(run, hf.descend(hf.Problem(A, y), model, init_scale=0.05, step=rule, stop=stop), 1e-8)


def test_batch_takes_starts_of_every_shape():
    for shape in [(), (1,), (3,), (30, 1), (30, 3)]:
        A, y, _ = planted()
        scales = np.broadcast_to(np.random.default_rng(0).uniform(0.1, 0.5, shape), shape)
        full = np.broadcast_to(scales, (30, 3))
        model, steps = hf.HadamardPower(3), [0.01, 0.02, 0.03]
        runs = hf.descend_batch(hf.Problem(A, y), model, init_scale=scales, step=steps, stop=MaxSteps(100))
        for j, run in enumerate(runs):
            wanted = by_hand(A, y, 3, full[:, j], steps[j], 100)[0]
            np.testing.assert_allclose(run.x, wanted, rtol=0, atol=1e-13)


@pytest.mark.parametrize(
    "bad",
    [
        {"init_scale": [0.1, 0.2], "step": [0.1, 0.1, 0.1]},
        {"init_scale": [0.1, 0.2, 0.3], "step": [0.1]},
        {"init_scale": [0.1, -0.2]},
        {"init_scale": np.full((29, 2), 0.1)},
        {"init_scale": []},
        {"init_scale": 0.1, "step": []},
        {"init_scale": 0.1, "y": np.ones((11, 2))},
        {"init_scale": 0.1, "y": np.full((12, 2), np.nan)},
        {"init_scale": [0.1, 0.2], "y": np.ones((12, 3))},
    ],
)
def test_batch_refuses_what_does_not_fit(bad):
    A, y, _ = planted()
    with pytest.raises(ValueError, match=r"\w"):
        hf.descend_batch(hf.Problem(A, y), hf.HadamardPower(2), **bad)


@pytest.mark.parametrize(
    ("bad", "error"),
    [
        ({"init_scale": 0.0}, ValueError),
        ({"init_scale": -1.0}, ValueError),
        ({"init_scale": np.nan}, ValueError),
        ({"init_scale": "a"}, TypeError),
        ({"init_scale": None}, TypeError),
        ({"init_scale": np.ones(29)}, ValueError),
        ({"init_scale": np.zeros(30)}, ValueError),
        ({"init_scale": 1e200}, ValueError),
        ({"step": 0.0}, ValueError),
        ({"step": -1.0}, ValueError),
        ({"step": np.inf}, ValueError),
        ({"step": "fast"}, ValueError),
        ({"step": True}, TypeError),
        ({"loss_scale": 0.0}, ValueError),
        ({"stop": 100}, TypeError),
        ({"record": 100}, TypeError),
        ({"progress": 100}, TypeError),
    ],
)
def test_refuses_bad_arguments(bad, error):
    A, y, _ = planted()
    with pytest.raises(error, match=next(iter(bad)).split("_")[0]):
        hf.descend(hf.Problem(A, y), hf.HadamardPower(2), **({"init_scale": 0.1} | bad))


def test_the_old_form_of_the_scale_of_the_loss_warns():
    A, y, _ = planted()
    logistic = hf.Problem(A, np.where(y > 0, 1.0, -1.0), loss=Logistic())
    shared = {"init_scale": 0.1, "step": 0.02, "stop": MaxSteps(50)}
    model = hf.HadamardPower(2)
    for problem, loss, scaling in (
        (hf.Problem(A, y), "mean", 2 / 12),
        (logistic, "mean", 1 / 12),
        (logistic, "half", 1),
    ):
        new = hf.descend(problem, model, loss_scale=scaling, **shared)
        with pytest.warns(FutureWarning, match="loss_scale=") as caught:
            old = [
                hf.descend(problem, model, loss=loss, **shared),
                *hf.descend_batch(problem, model, loss=loss, **shared),
            ]
        assert {warning.filename for warning in caught} == {__file__}
        for run in old:
            assert_agrees(run, new, 1e-12)
    with pytest.raises(TypeError, match="give loss_scale alone"):
        hf.descend(logistic, model, loss="mean", loss_scale=0.5, **shared)
    with pytest.raises(ValueError, match="loss must be one of"):
        hf.descend(logistic, model, loss="sum", **shared)


# ---- against the flow ---------------------------------------------------------------------------------------------


class Watched(hf.HadamardPower):
    """A model that keeps the factors it is asked about."""

    seen = []  # noqa: RUF012

    def forward(self, factors):
        self.seen.append((factors.u, factors.v))
        return super().forward(factors)


def drift(depth, step):
    """Change of what the flow conserves, at the end of a run of fixed flow time."""
    A, y, _ = planted()
    Watched.seen.clear()
    hf.descend(hf.Problem(A, y), Watched(depth), init_scale=0.3, step=step, stop=MaxTime(20.0))
    u, v = Watched.seen[-1]
    if depth == 2:
        return np.abs(np.log(u * v / 0.3**2)).max()
    return np.abs(0.5 * 0.3 ** (depth - 2) * (u ** (2.0 - depth) + v ** (2.0 - depth)) - 1).max()


def test_conserved_quantities_drift_in_proportion_to_the_step():
    for depth in (2, 3, 5):
        drifts = np.array([drift(depth, 0.01 / 2**k) for k in range(4)])
        assert 0 < drifts[0] < 0.5
        np.testing.assert_allclose(np.log2(drifts[:-1] / drifts[1:])[-2:], 1, atol=0.1)


NARROW = np.array([[1.0, 0.5]])
FIRST_STEPS = [  # A, y, depth, sign, longest step
    (*planted(6, 15, 2, seed=3)[:2], 2, "both", 0.04),
    (*planted(6, 15, 2, seed=4)[:2], 2, "both", 0.04),
    (*planted(6, 15, 2, seed=3)[:2], 3, "both", 0.04),
    (NARROW, np.ones(1), 2, "positive", 0.04),
    (NARROW, np.ones(1), 3, "positive", 0.04),
    (NARROW, np.ones(1), 4, "both", 0.02),
]


@pytest.mark.parametrize("case", range(len(FIRST_STEPS)))
def test_halving_the_step_halves_the_distance_to_the_limit_of_the_flow(case):
    A, y, depth, sign, step = FIRST_STEPS[case]
    model, a, problem = hf.HadamardPower(depth, sign), 1e-3 ** (1 / depth), hf.Problem(A, y)
    end = hf.limit(problem, model, init_scale=a).x
    gaps = []
    for k in range(3):
        run = hf.descend(problem, model, init_scale=a, step=step / 2**k, stop=Residual(1e-6) | MaxSteps(30_000))
        assert run.status is hf.Status.STOPPED
        gaps.append(np.abs(run.x - end).sum())
    np.testing.assert_allclose(np.log2(np.divide(gaps[:-1], gaps[1:])), 1, atol=0.1)
    assert 1e-5 < gaps[0] < 0.1


def test_small_changes_follow_the_flow_more_closely():
    A, y, _ = planted(6, 15, 2, seed=3)
    model, problem = hf.HadamardPower(2), hf.Problem(A, y)
    end = hf.limit(problem, model, init_scale=0.03).x
    gaps = []
    for change in (0.1, 0.01, 0.001):
        run = hf.descend(problem, model, init_scale=0.03, step=hf.steps.Auto(change), stop=Residual(1e-5))
        gaps.append(np.abs(run.x - end).max())
    assert gaps[0] > gaps[1] > gaps[2]


# ---- "auto" -------------------------------------------------------------------------------------------------------


def ensembles():
    rng = np.random.default_rng(1)
    gauss = rng.standard_normal((20, 50)) / np.sqrt(20)
    spread = 10.0 ** rng.uniform(-2, 2, 50)
    return {
        "Gaussian": gauss,
        "badly scaled": gauss * spread,
        "coherent": rng.standard_normal((20, 1)) + 0.2 * gauss,
        "rank-deficient": rng.standard_normal((20, 5)) @ rng.standard_normal((5, 50)) / 10,
        "heavy-tailed": rng.standard_t(1.5, (20, 50)) / np.sqrt(20),
        "non-negative": rng.random((20, 50)),
        "tall": rng.standard_normal((50, 20)) / 7,
        "zero and duplicate columns": np.hstack([gauss[:, :20], gauss[:, :20], np.zeros((20, 10))]),
        "tiny": 1e-8 * gauss,
        "huge": 1e8 * gauss,
    }


ENSEMBLES = ensembles()


def known(A, positive, seed=0):
    """y of a sparse vector."""
    rng = np.random.default_rng(seed)
    x = np.zeros(A.shape[1])
    x[rng.choice(A.shape[1], 3, replace=False)] = rng.uniform(0.5, 2, 3) * (1 if positive else rng.choice([-1, 1], 3))
    return hf.Problem(A, A @ x)


@pytest.mark.parametrize("ensemble", ENSEMBLES)
@pytest.mark.filterwarnings("ignore::hadaflow.ConvergenceWarning")
def test_auto_never_raises_the_loss_and_never_changes_a_sign(ensemble):
    record = hf.Recorder(every=1, metrics={"loss": lambda snapshot: 0.5 * snapshot.residual @ snapshot.residual})
    for sign, depth in itertools.product(("both", "positive"), (2, 3, 4, 8)):
        for product_scale in (1e-100, 1e-6, 1e-2, 1e3):
            Watched.seen.clear()
            a = product_scale ** (1 / depth)
            problem = known(ENSEMBLES[ensemble], sign == "positive")
            run = hf.descend(
                problem, Watched(depth, sign), init_scale=a, stop=Residual(1e-6) | MaxSteps(100), record=record
            )
            assert run.status in (hf.Status.STOPPED, hf.Status.NOT_CONVERGED)
            losses = run.history["loss"]
            assert len(losses) == run.steps + 1
            assert (losses[1:] <= losses[:-1] * (1 + 8 * EPS)).all()
            assert losses[-1] < losses[0] or product_scale < 1e-50
            assert all((u > 0).all() and (v is None or (v > 0).all()) for u, v in Watched.seen)
            assert np.isfinite(run.x).all()
            assert np.isfinite(run.average).all()


REACHED = [  # residual, ensembles that get there within 5000 steps from the product scale 1e-2
    (1e-4, ["Gaussian", "rank-deficient", "tiny", "huge"]),
    (1e-2, ["coherent", "heavy-tailed", "non-negative", "tall", "zero and duplicate columns"]),
    (1e-1, ["badly scaled"]),
]


@pytest.mark.parametrize(("tolerance", "ensemble"), [(level, name) for level, names in REACHED for name in names])
def test_auto_gets_there(tolerance, ensemble):
    problem, stop = known(ENSEMBLES[ensemble], positive=False), Residual(tolerance) | MaxSteps(5000)
    for depth in (2, 3, 4):
        run = hf.descend(problem, hf.HadamardPower(depth), init_scale=1e-2 ** (1 / depth), stop=stop)
        assert run.status is hf.Status.STOPPED
        fit = np.linalg.norm(problem.A @ run.x - problem.y) / np.linalg.norm(problem.y)
        assert fit <= tolerance * (1 + 1e-9)


def test_auto_ends_near_the_limit_of_the_flow():
    for depth in (2, 3):
        problem, model = known(ENSEMBLES["Gaussian"], positive=False), hf.HadamardPower(depth)
        a = 1e-2 ** (1 / depth)
        run = hf.descend(problem, model, init_scale=a, stop=Residual(1e-6))
        end = hf.limit(problem, model, init_scale=a).x
        assert np.linalg.norm(run.x - end) < 0.05 * np.linalg.norm(end)


def test_auto_does_not_depend_on_the_units():
    """Scaling A and y by powers of two changes the clock only."""
    A, y, _ = planted()
    model, stop = hf.HadamardPower(3), MaxSteps(200)
    run = hf.descend(hf.Problem(A, y), model, init_scale=0.1, stop=stop)
    scaled = hf.descend(hf.Problem(2.0**20 * A, 2.0**20 * y), model, init_scale=0.1, stop=stop)
    np.testing.assert_array_equal(scaled.x, run.x)
    assert scaled.time * 2.0**40 == run.time


def test_data_that_contradict_each_other():
    """The mean of what the data say; the run comes to rest there, and says so."""
    for step in ("auto", 0.01):
        A = np.vstack([np.eye(2), np.eye(2)])
        problem = hf.Problem(A, np.array([1.0, 1.0, 3.0, 1.0]))
        run = hf.descend(
            problem, hf.HadamardPower(2), init_scale=0.1, step=step, stop=MaxSteps(20_000 if step == 0.01 else 3000)
        )
        np.testing.assert_allclose(run.x, [2, 1], atol=1e-6)
        assert run.status is hf.Status.LEAST_SQUARES
        assert "nothing changes any more" in run.reason


# ---- bad luck -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("step", [1e4, 1e6, 1e60, 1e300])
@pytest.mark.filterwarnings("ignore::hadaflow.ConvergenceWarning")
def test_steps_far_too_long_end_as_diverged(step):
    A, y, _ = planted(positive=True)
    kinds = (np.asarray, sp.csr_array, aslinearoperator, lambda A: A.astype(np.float32))
    for kind, depth, sign, scaling in itertools.product(kinds, (2, 3, 5), ("both", "positive"), (1.0, 2 / 12)):
        model = hf.HadamardPower(depth, sign)
        run = hf.descend(hf.Problem(kind(A), y), model, init_scale=0.5, step=step, loss_scale=scaling)
        assert run.status is hf.Status.DIVERGED
        assert not run.status.ok
        assert 'step="auto"' in run.reason
        assert np.isfinite(run.x).all()
        assert np.isfinite(run.average).all()
        assert np.isfinite(run.dual).all()
        assert run.steps < 20


@pytest.mark.parametrize("threads", [1, 2])
@pytest.mark.filterwarnings("ignore::hadaflow.ConvergenceWarning")
def test_divergence_of_a_large_matrix_in_single_precision(threads, monkeypatch):
    from hadaflow.dynamics import descent

    monkeypatch.setattr(descent, "blas_threads", lambda: threads)
    A = np.random.default_rng(0).standard_normal((1100, 1300)).astype(np.float32)
    run = hf.descend(hf.Problem(A, A[:, 0].copy()), hf.HadamardPower(3), init_scale=0.5, step=1e30)
    assert run.status is hf.Status.DIVERGED
    assert np.isfinite(run.x).all()


@pytest.mark.parametrize(("step", "depth"), RULES)
def test_no_signal(depth, step):
    """y = 0: nothing to do, by any rule."""
    A, _, _ = planted()
    run = hf.descend(hf.Problem(A, np.zeros(12)), hf.HadamardPower(depth), init_scale=0.1, step=step)
    assert run.status is hf.Status.STOPPED
    assert run.steps == 0
    np.testing.assert_array_equal(run.x, 0)
    stay = hf.descend(
        hf.Problem(A, np.zeros(12)), hf.HadamardPower(depth), init_scale=0.1, step=step, stop=MaxSteps(1000)
    )
    np.testing.assert_array_equal(stay.x, 0)
    assert stay.status is hf.Status.STOPPED


def test_no_signal_for_the_positive_model():
    for depth in (2, 3):
        A, _, _ = planted()
        A = np.abs(A)
        problem = hf.Problem(A, np.zeros(12))
        run = hf.descend(problem, hf.HadamardPower(depth, "positive"), init_scale=0.5, stop=MaxSteps(3000))
        assert run.status is hf.Status.STOPPED
        assert 0 <= run.x.min() <= run.x.max() < 1e-2 * 0.5**depth


def test_zero_and_duplicate_columns():
    for depth, step in itertools.product((2, 3, 4), ("auto", 0.01)):
        A, y, _ = planted(12, 10)
        A = np.hstack([A, A[:, :4], np.zeros((12, 2))])
        y = A[:, 0] - 0.5 * A[:, 5]
        run = hf.descend(hf.Problem(A, y), hf.HadamardPower(depth), init_scale=0.5, step=step, stop=MaxSteps(1000))
        np.testing.assert_array_equal(run.x[-2:], 0)
        np.testing.assert_allclose(run.x[10:14], run.x[:4], rtol=1e-8, atol=1e-14)
        assert np.linalg.norm(A @ run.x - y) < 0.1 * np.linalg.norm(y)


def test_a_zero_column_does_not_move_in_the_positive_model():
    A = np.array([[1.0, 0.0]])
    run = hf.descend(hf.Problem(A, np.ones(1)), hf.HadamardPower(3, "positive"), init_scale=0.5, stop=Residual(1e-6))
    assert run.x[1] == 0.5**3
    assert run.x[0] == pytest.approx(1, abs=1e-5)


def test_every_shape():
    """One row, one column, more rows than columns."""
    for shape, depth in itertools.product([(1, 1), (1, 5), (5, 1), (40, 10)], (2, 3)):
        rng = np.random.default_rng(3)
        A = rng.standard_normal(shape) / np.sqrt(shape[0])
        truth = rng.uniform(0.5, 1, shape[1])
        run = hf.descend(hf.Problem(A, A @ truth), hf.HadamardPower(depth), init_scale=0.3, stop=Residual(1e-7))
        assert run.status is hf.Status.STOPPED
        if shape[0] >= shape[1]:
            np.testing.assert_allclose(run.x, truth, atol=1e-5)


def test_y_outside_the_range_of_the_positive_model():
    """The coordinate that would have to be negative decays, the other one fits."""
    for depth in (2, 3):
        problem = hf.Problem(np.eye(2), np.array([1.0, -1.0]))
        run = hf.descend(problem, hf.HadamardPower(depth, "positive"), init_scale=0.5, stop=MaxTime(100.0))
        assert run.status is hf.Status.STOPPED
        np.testing.assert_allclose(run.x, [1, 0], atol=1e-4)
        assert run.x[1] >= 0


def test_rest_at_the_bound_of_the_positive_model_is_a_least_squares_point():
    """The factor underflows in the end; the gradient there does not vanish, and need not."""
    problem = hf.Problem(np.eye(2), np.array([1.0, -1.0]))
    run = hf.descend(problem, hf.HadamardPower(2, "positive"), init_scale=0.5, stop=MaxTime(1e6) | MaxSteps(50_000))
    assert run.status is hf.Status.LEAST_SQUARES
    np.testing.assert_allclose(run.x, [1, 0], atol=1e-12)


# ---- Ctrl-C -------------------------------------------------------------------------------------------------------


def interrupt(*_):
    raise KeyboardInterrupt


def test_interrupt_from_the_progress_callback(monkeypatch):
    from hadaflow.solvers.descent import loop as _descent_loop

    monkeypatch.setattr(_descent_loop, "_REPORT_EVERY", -1.0)
    A, y, _ = planted()
    calls = []

    def report(progress):
        calls.append(progress)
        if len(calls) == 40:
            raise KeyboardInterrupt

    run = hf.descend(hf.Problem(A, y), hf.HadamardPower(2), init_scale=0.3, step=0.01, progress=report)
    assert run.status is hf.Status.INTERRUPTED
    assert not run.status.ok
    assert run.steps == 39
    np.testing.assert_allclose(run.x, by_hand(A, y, 2, 0.3, 0.01, 39)[0], rtol=0, atol=1e-14)
    assert run.history.steps[-1] == 39
    assert calls[0].stage == "descend"
    assert "residual" in calls[0].message


def test_interrupt_from_a_stopping_rule():
    A, y, _ = planted()
    stop = When(lambda snapshot: interrupt() if snapshot.step == 25 else False)
    run = hf.descend(hf.Problem(A, y), hf.HadamardPower(2), init_scale=0.3, step=0.01, stop=stop)
    assert run.status is hf.Status.INTERRUPTED
    assert run.steps == 25
    x, average, dual, time = by_hand(A, y, 2, 0.3, 0.01, 25)
    np.testing.assert_allclose(run.x, x, rtol=0, atol=1e-14)
    np.testing.assert_allclose(run.average, average, rtol=0, atol=1e-14)
    np.testing.assert_allclose(run.dual, dual, rtol=1e-12)
    assert run.time == pytest.approx(time)


def test_interrupt_of_a_batch_keeps_the_runs_that_are_over():
    A, y, _ = planted()
    scales = [0.1, 0.2, 0.3, 0.4]

    def condition(snapshot):
        if snapshot.setting.init_scale == 0.4 and snapshot.step == 30:
            raise KeyboardInterrupt
        return snapshot.step == {0.1: 10, 0.2: 30}.get(snapshot.setting.init_scale, -1)

    runs = hf.descend_batch(hf.Problem(A, y), hf.HadamardPower(2), init_scale=scales, step=0.01, stop=When(condition))
    assert [run.status.name for run in runs] == ["STOPPED", "STOPPED", "INTERRUPTED", "INTERRUPTED"]
    assert [run.steps for run in runs] == [10, 30, 30, 30]
    for run, scale in zip(runs, scales, strict=True):
        wanted = by_hand(A, y, 2, scale, 0.01, run.steps)[0]
        np.testing.assert_allclose(run.x, wanted, rtol=0, atol=1e-14)


@pytest.mark.skipif(not hasattr(signal, "setitimer"), reason="no timers here")
def test_interrupt_at_any_snapshot_leaves_what_belongs_together():
    """In the middle of a step too: iterate, average, dual and clock are those of one step."""
    A, y, _ = planted()
    before = signal.signal(signal.SIGALRM, interrupt)
    try:
        for wait in np.random.default_rng(0).uniform(1e-4, 3e-3, 100):
            armed = []

            def arm(snapshot):
                if snapshot.step == 3 and not armed:  # noqa: B023
                    armed.append(signal.setitimer(signal.ITIMER_REAL, wait))  # noqa: B023
                return snapshot.step >= 10**9

            runs = hf.descend_batch(
                hf.Problem(A, y), hf.HadamardPower(2), init_scale=[0.3, 0.2], step=0.01, stop=When(arm)
            )
            for run, a in zip(runs, (0.3, 0.2), strict=True):
                assert run.status is hf.Status.INTERRUPTED
                x, average, dual, time = by_hand(A, y, 2, a, 0.01, run.steps)
                np.testing.assert_allclose(run.x, x, rtol=0, atol=1e-13)
                np.testing.assert_allclose(run.average, average, rtol=0, atol=1e-13)
                np.testing.assert_allclose(run.dual, dual, rtol=0, atol=1e-12)
                assert run.time == pytest.approx(time, rel=1e-10)
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)


# ---- the average and the lasso ------------------------------------------------------------------------------------


def lasso_value(A, y, x, penalty):
    return 0.5 * np.sum((A @ x - y) ** 2) + penalty * np.abs(x).sum()


def lasso_minimum(A, y, penalty, positive=False):
    """From scikit-learn, whose objective is 1/m times ours."""
    from sklearn.linear_model import Lasso

    m = len(y)
    model = Lasso(penalty / m, fit_intercept=False, tol=1e-12, max_iter=100_000, positive=positive)
    return lasso_value(A, y, model.fit(A, y).coef_, penalty)


@pytest.fixture(scope="module")
def noisy():
    """Measurements of five ones in noise of standard deviation 0.5."""
    rng = np.random.default_rng(0)
    A = rng.standard_normal((100, 200))
    x = np.zeros(200)
    x[:5] = 1
    return A, A @ x + 0.5 * rng.standard_normal(100)


@pytest.mark.parametrize(("a", "most"), [(1e-3, 8e-3), (1e-8, 3e-3), (1e-20, 1.4e-3)])
def test_average_is_nearly_a_lasso_solution(noisy, a, most):
    """At the penalty log(1 / (4 a^2)) / (8 step T), for the loss 1/m: known to within 0.8, 0.3 and 0.14 per cent."""
    A, y = noisy
    m, step = 100, 0.005
    gaps = []
    for penalty in (0.1, 0.2, 0.4, 0.8):
        steps = round(np.log(1 / (4 * a**2)) / (8 * step * penalty))
        run = hf.descend(
            hf.Problem(A, y), hf.HadamardPower(2), init_scale=a, step=step, loss_scale=2 / len(y), stop=MaxSteps(steps)
        )
        least = lasso_minimum(A, y, m * penalty)
        gaps.append(lasso_value(A, y, run.average, m * penalty) / least - 1)
        assert run.penalty / m == pytest.approx(penalty, rel=0.35 if a == 1e-3 else 0.1)
    assert min(gaps) >= -1e-12
    assert max(gaps) <= most


@pytest.mark.parametrize(("step", "depth"), RULES)
@pytest.mark.filterwarnings("ignore::hadaflow.ConvergenceWarning")
def test_lasso_certificate_is_valid_in_every_run(noisy, step, depth):
    """Certified gap >= true gap >= 0, at the start of the path, in the middle and beyond."""
    A, y = noisy
    problem = hf.Problem(A, y)
    for sign, steps in itertools.product(("both", "positive"), (1, 10, 100, 1000)):
        seen, model = [], hf.HadamardPower(depth, sign)
        stop = MaxSteps(steps) | When(lambda snapshot: seen.append(snapshot.lasso_gap) is not None)  # noqa: B023
        run = hf.descend(problem, model, init_scale=1e-4 ** (1 / depth), step=step, loss_scale=2 / len(y), stop=stop)
        least = lasso_minimum(A, y, run.penalty, positive=sign == "positive")
        half = 0.5 * y @ y
        true = (lasso_value(A, y, run.average, run.penalty) - least) / half
        certificate = run.lasso_certificate
        assert certificate.penalty == run.penalty
        assert true >= -1e-10
        assert certificate.gap >= true - 1e-10
        assert seen[-1] >= true - 1e-10
        assert seen[-1] >= certificate.gap - 1e-10 or seen[-1] == pytest.approx(certificate.gap, abs=1e-9)


def test_certificate_bounds_the_minimal_l1_norm():
    A, y, _ = planted()
    run = hf.descend(hf.Problem(A, y), hf.HadamardPower(2), init_scale=1e-3, stop=Residual(1e-6) | MaxSteps(20_000))
    least = np.abs(hf.recover(A, y).x).sum()
    assert run.certificate.lower_bound <= least * (1 + 1e-12)
    assert run.certificate.l1_norm >= least * (1 - 1e-5)
    assert 0 < run.certificate.gap < 0.1


def test_no_lasso_certificate_at_the_start():
    A, y, _ = planted()
    run = hf.descend(hf.Problem(A, y), hf.HadamardPower(2), init_scale=1e-3, stop=MaxSteps(0))
    assert run.penalty == np.inf
    np.testing.assert_array_equal(run.average, run.x)
    with pytest.raises(ValueError, match="start"):
        _ = run.lasso_certificate


def test_support_and_refit():
    A, y, x = planted(20, 30)
    run = hf.descend(hf.Problem(A, y), hf.HadamardPower(3), init_scale=1e-2, stop=Residual(1e-2))
    np.testing.assert_array_equal(run.support(), np.flatnonzero(x))
    np.testing.assert_allclose(run.refit(), x, atol=1e-12)


def test_snapshots_are_read_only():
    A, y, _ = planted()

    def meddle(snapshot):
        snapshot.x[:] = 0

    with pytest.raises(ValueError, match="read-only"):
        hf.descend(hf.Problem(A, y), hf.HadamardPower(2), init_scale=0.1, stop=When(meddle))


@pytest.mark.filterwarnings("ignore::hadaflow.ConvergenceWarning")
def test_no_run_is_without_a_budget(monkeypatch):
    from hadaflow.dynamics import descent

    monkeypatch.setattr(descent, "_MOST_STEPS", 50)
    A, y, _ = planted()
    problem, model = hf.Problem(A, y), hf.HadamardPower(3)
    run = hf.descend(problem, model, init_scale=1e-3, stop=Residual(1e-300))
    assert run.status is hf.Status.NOT_CONVERGED
    assert run.steps == 50
    assert hf.descend(problem, model, init_scale=1e-3, stop=Residual(1e-300) | MaxSteps(70)).steps == 70

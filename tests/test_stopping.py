"""When runs stop, why, and with which snapshot."""

import numpy as np
import pytest

import hadaflow as hf
from hadaflow import stopping
from hadaflow.stopping import (
    CertificateGap,
    Discrepancy,
    LassoGap,
    MaxSeconds,
    MaxSteps,
    MaxTime,
    NullGradient,
    Plateau,
    Residual,
    Rule,
    StableSupport,
    Validation,
    When,
)

Status = hf.Status


@pytest.fixture(scope="module")
def easy():
    """Noiseless measurements of three entries."""
    rng = np.random.default_rng(0)
    A = rng.standard_normal((32, 40)) / np.sqrt(32)
    x = np.zeros(40)
    x[[3, 10, 30]] = 1, -1.5, 0.7
    return hf.Problem(A, A @ x)


@pytest.fixture(scope="module")
def noisy():
    """Measurements in noise, others held out, and the standard deviation."""
    rng = np.random.default_rng(1)
    A, B = rng.standard_normal((2, 40, 80))
    x = np.zeros(80)
    x[:4] = 1, -1, 1, -1
    return hf.Problem(A, A @ x + 0.3 * rng.standard_normal(40)), B, B @ x + 0.3 * rng.standard_normal(40), x


def in_bounds(snapshot):
    """No run here is meant to take so many steps."""
    assert snapshot.step < 60_000
    return snapshot.step


def go(problem, stop, *, step=0.01, a=0.05, every=1, depth=2, **metrics):
    record = hf.Recorder(every=every, metrics=metrics | {"guard": in_bounds})
    return hf.descend(problem, hf.HadamardPower(depth), init_scale=a, step=step, stop=stop, record=record)


def met_first(run, condition):
    """Recorded at every step, the condition holds at the last one and at none before."""
    assert len(condition) == run.steps + 1
    return bool(condition[-1]) and not condition[:-1].any()


# ---- one rule -----------------------------------------------------------------------------------------------------


def test_steps(easy):
    for steps in (0, 1, 37):
        run = go(easy, MaxSteps(steps))
        assert run.steps == steps
        assert run.status is Status.STOPPED  # nothing else was asked for
        assert run.reason == ("one step was taken" if steps == 1 else f"{steps} steps were taken")


def test_seconds(easy):
    run = go(easy, MaxSeconds(0.05), step=1e-6, every=1000, seconds=lambda snapshot: snapshot.seconds)
    assert run.status is Status.STOPPED
    assert 0.05 <= run.history["seconds"][-1] <= run.stats.seconds < 5
    assert run.steps > 10
    assert "0.05 seconds" in run.reason


def test_flow_time(easy):
    run = go(easy, MaxTime(1.0), step=0.03)
    assert run.status is Status.STOPPED
    assert run.steps == 34
    assert run.time == pytest.approx(1.02)
    assert "flow time 1 " in run.reason


def test_flow_time_counts_the_loss(easy):
    """A step of size s on the loss 1/m lasts 2 s / m."""
    run = hf.descend(easy, hf.HadamardPower(2), init_scale=0.1, step=0.3, loss_scale=2 / len(easy.y), stop=MaxTime(1.0))
    assert run.steps == 54
    assert run.time == pytest.approx(54 * 2 * 0.3 / 32)


def test_residual(easy):
    run = go(easy, Residual(0.01), r=lambda snapshot: np.linalg.norm(easy.A @ snapshot.x - easy.y))
    assert met_first(run, run.history["r"] <= 0.01 * np.linalg.norm(easy.y))
    assert run.status is Status.STOPPED
    assert "residual" in run.reason
    assert "0.01" in run.reason


def test_discrepancy(noisy):
    problem = noisy[0]
    level = 0.3 * np.sqrt(40)
    run = go(problem, Discrepancy(level, 1.1), step=1e-3, r=lambda snapshot: np.linalg.norm(snapshot.residual))
    assert met_first(run, run.history["r"] <= 1.1 * level)
    assert "noise level" in run.reason


def test_certificate_gap(easy):
    run = go(easy, CertificateGap(0.05), step=0.02, a=1e-6, r=lambda m: m.relative_residual, gap=lambda m: m.l1_gap)
    assert met_first(run, (run.history["r"] <= 0.05) & (run.history["gap"] <= 0.05))
    assert run.certificate.gap == pytest.approx(run.history["gap"][-1], rel=1e-6)
    assert run.certificate.residual <= 0.05


def test_lasso_gap(noisy):
    problem = noisy[0]
    rule = LassoGap(4.0, 1e-2)
    run = go(problem, rule, step=1e-4, a=1e-4, penalty=lambda m: m.penalty, gap=lambda m: m.lasso_gap)
    assert met_first(run, (run.history["penalty"] <= 4) & (run.history["gap"] <= 1e-2))
    assert run.penalty <= 4
    assert run.lasso_certificate.gap <= 1e-2 * (1 + 1e-9)


def test_null_gradient(noisy):
    problem = noisy[0]
    lengths = np.linalg.norm(problem.A, axis=0)
    level = 0.3 * np.sqrt(2 * np.log(80))
    run = go(problem, NullGradient(0.3), step=1e-3, g=lambda m: (np.abs(m.gradient) / lengths).max())
    assert met_first(run, run.history["g"] <= level)
    assert "gradient" in run.reason
    given = go(problem, NullGradient(0.3, column_norms=lengths), step=1e-3)
    assert given.steps == run.steps


def test_null_gradient_of_a_linear_operator_needs_the_lengths(noisy):
    from scipy.sparse.linalg import aslinearoperator

    problem = hf.Problem(aslinearoperator(noisy[0].A), noisy[0].y)
    with pytest.raises(ValueError, match="column_norms"):
        go(problem, NullGradient(0.3))
    lengths = np.linalg.norm(noisy[0].A, axis=0)
    assert go(problem, NullGradient(0.3, lengths), step=1e-3).steps == go(noisy[0], NullGradient(0.3), step=1e-3).steps
    with pytest.raises(ValueError, match="80"):
        go(problem, NullGradient(0.3, lengths[:-1]))


def test_null_gradient_with_zero_columns():
    A = np.array([[1.0, 0.0], [0.0, 0.0]])
    run = go(hf.Problem(A, np.array([1.0, 0.0])), NullGradient(0.01), step=0.1)
    assert run.status is Status.STOPPED
    assert run.x[0] == pytest.approx(1, abs=0.02)


def test_condition(easy):
    run = go(easy, When(lambda snapshot: snapshot.l1_norm > 1, name="a norm above one"), l1=lambda m: np.abs(m.x).sum())
    assert met_first(run, run.history["l1"] > 1)
    assert run.reason == "a norm above one holds"
    assert go(easy, When(lambda snapshot: snapshot.step == 5)).reason == "the given condition holds"


def test_stable_support(easy):
    metrics = {"s": lambda m: np.isin(np.arange(40), m.support), "r": lambda m: m.residual_norm}
    run = go(easy, StableSupport(3.0), step=0.05, a=1e-4, **metrics)
    masks, times, norms = run.history["s"], run.history.times, run.history["r"]
    assert masks[-1].any()
    changed = np.flatnonzero((masks != masks[-1]).any(axis=1))[-1] + 1  # the first snapshot of this support
    since = max(times[changed], times[norms > 0.99 * norms[0]][-1])
    assert times[-2] < 3 * since <= times[-1]
    assert f"support ({masks[-1].sum()} coordinates)" in run.reason


@pytest.mark.parametrize("a", [1e-2, 1e-4, 1e-8])
def test_stable_support_does_not_mistake_the_escape_from_the_start_for_the_end(easy, a):
    """While all entries grow from nothing, the largest of them are the same for long."""
    run = go(easy, StableSupport(), step=0.05, a=a)
    assert run.status is Status.STOPPED
    assert np.linalg.norm(easy.A @ run.x - easy.y) < 0.5 * np.linalg.norm(easy.y)


def test_plateau(easy):
    run = go(easy, Plateau(2.0, 0.01), step=0.05, a=1e-3, x=lambda m: m.x)
    x, times = run.history["x"], run.history.times
    half = times >= times[-1] / 2
    moves = np.abs(x[half] - x[half][0]).max()
    assert moves <= 2 * 0.01 * np.abs(x[-1]).max()
    assert run.status is Status.STOPPED
    assert "moved" in run.reason
    assert np.linalg.norm(easy.A @ run.x - easy.y) < 0.1 * np.linalg.norm(easy.y)


def test_validation_returns_the_best_snapshot(noisy):
    problem, B, z, truth = noisy
    rule = Validation(B, z, patience=3.0)
    run = go(problem, rule, step=1e-3, error=lambda snapshot: np.linalg.norm(B @ snapshot.x - z), x=lambda m: m.x)
    errors, times, steps = run.history["error"], run.history.times, run.history.steps
    best = errors.argmin()
    assert run.steps == steps[best]
    np.testing.assert_array_equal(run.x, run.history["x"][best])
    assert run.time == times[best]
    assert errors[best] == pytest.approx(np.linalg.norm(B @ run.x - z))
    assert times[-1] >= 3 * times[best] > times[-2]
    assert (np.diff(steps) == 1).all()  # what came after it is kept too, in order
    assert "validation" in run.reason
    assert np.linalg.norm(run.x - truth) < 0.5
    # The rest of the result belongs to that snapshot too.
    again = go(problem, MaxSteps(run.steps), step=1e-3)
    np.testing.assert_array_equal(run.average, again.average)
    np.testing.assert_array_equal(run.dual, again.dual)
    assert run.penalty == again.penalty


def test_validation_in_a_batch(noisy):
    problem, B, z, _ = noisy
    steps = [1e-3, 5e-4, "auto"]
    stop = Validation(B, z, patience=2.0)
    runs = hf.descend_batch(problem, hf.HadamardPower(2), init_scale=0.05, step=steps, stop=stop)
    for run, step in zip(runs, steps, strict=True):
        single = hf.descend(problem, hf.HadamardPower(2), init_scale=0.05, step=step, stop=stop)
        assert run.steps == single.steps
        np.testing.assert_allclose(run.x, single.x, atol=1e-8)


def test_validation_puts_the_best_snapshot_in_its_place_in_the_history(noisy):
    problem, B, z, _ = noisy
    run = go(problem, Validation(B, z), step=1e-3, every=50)
    assert run.steps % 50 > 0
    assert run.steps in run.history.steps
    assert (np.diff(run.history.steps) > 0).all()
    assert run.history.steps[-1] > run.steps


# ---- combinations and status --------------------------------------------------------------------------------------


def test_either(easy):
    assert go(easy, MaxTime(0.5) | MaxTime(0.2)).time == pytest.approx(0.2)
    first = go(easy, Residual(1e-2) | MaxTime(0.1))
    assert "flow time" in first.reason
    second = go(easy, Residual(0.99) | MaxTime(1e9))
    assert "residual" in second.reason


def test_both(easy):
    run = go(easy, MaxTime(0.5) & Residual(0.9), r=lambda m: m.relative_residual)
    assert met_first(run, (run.history.times >= 0.5) & (run.history["r"] <= 0.9))
    assert " and " in run.reason
    assert "flow time" in run.reason
    assert "residual" in run.reason


@pytest.mark.filterwarnings("ignore::hadaflow.ConvergenceWarning")
def test_both_and_either_nest(easy):
    rule = (MaxTime(0.5) & Residual(0.9)) | MaxSteps(3)
    assert go(easy, rule).steps == 3
    rule = (MaxTime(0.5) | MaxSteps(3)) & When(lambda snapshot: snapshot.step >= 7)
    assert go(easy, rule).steps == 7
    rule = MaxTime(0.5) & (MaxSteps(3) | Residual(1e-9))
    assert go(easy, rule).time == pytest.approx(0.5)


@pytest.mark.parametrize(
    ("rule", "status"),
    [
        (MaxSteps(5), Status.STOPPED),
        (MaxSteps(5) | MaxSteps(9), Status.STOPPED),
        (MaxSteps(5) & MaxSeconds(1e-9), Status.STOPPED),
        (MaxSteps(5) | MaxSeconds(100.0), Status.STOPPED),
        (MaxSteps(5) | Residual(1e-9), Status.NOT_CONVERGED),
        (Residual(1e-9) | MaxSteps(5), Status.NOT_CONVERGED),
        (MaxSeconds(1e-9) | MaxTime(1e9), Status.NOT_CONVERGED),
        (MaxTime(0.05) | MaxSteps(5), Status.STOPPED),  # both at once: the goal counts
        (MaxSteps(5) | MaxTime(0.05), Status.STOPPED),
        (MaxSteps(5) & MaxTime(0.01), Status.STOPPED),
        (MaxSteps(5) | StableSupport() | Plateau(), Status.NOT_CONVERGED),
        (MaxSteps(5) | Validation(np.ones((1, 40)), np.ones(1)), Status.NOT_CONVERGED),
        (MaxSteps(5) | When(lambda snapshot: False), Status.NOT_CONVERGED),
    ],
)
@pytest.mark.filterwarnings("ignore::hadaflow.ConvergenceWarning")
def test_a_budget_that_runs_out_beside_a_goal_means_not_converged(easy, rule, status):
    run = go(easy, rule)
    assert run.status is status
    assert run.status.ok == (status is Status.STOPPED)


def test_the_default_stops_at_a_fit(easy):
    run = hf.descend(easy, hf.HadamardPower(2), init_scale=0.3)
    assert run.status is Status.STOPPED
    assert np.linalg.norm(easy.A @ run.x - easy.y) <= 1e-8 * np.linalg.norm(easy.y) * (1 + 1e-6)


def test_kinds_of_rules():
    """Whether a rule is about the present snapshot only, and whether it limits effort, add up in combinations."""
    instant, patient, budget = Residual(), Plateau(), MaxSteps(1)
    assert [rule.instant for rule in (instant, patient, budget)] == [True, False, True]
    assert [rule.budget for rule in (instant, patient, budget)] == [False, False, True]
    assert (instant | budget).instant
    assert not (instant | patient).instant
    assert not (instant & patient).instant
    assert not (instant | budget).budget
    assert (budget & MaxSeconds(1)).budget


def test_rules_keep_nothing_from_run_to_run(easy, noisy):
    problem, B, z, _ = noisy
    for rule, data, step in ((StableSupport(), easy, 0.05), (Plateau(), easy, 0.05), (Validation(B, z), problem, 1e-3)):
        one, two = (go(data, rule, step=step, a=1e-4, every=100) for _ in range(2))
        assert one.steps == two.steps
        np.testing.assert_array_equal(one.x, two.x)


def test_a_rule_of_ones_own(easy):
    class Third(Rule):
        def watch(self, problem):
            seen = []

            def look(snapshot):
                seen.append(snapshot)
                return stopping.Verdict("third") if len(seen) == 3 else None

            return look

    run = go(easy, Third() | MaxSteps(100))
    assert (run.steps, run.reason, run.status) == (2, "third", Status.STOPPED)


def test_repr_is_readable():
    assert repr(Residual(1e-3)) == "Residual(tolerance=0.001)"
    assert "MaxSteps(steps=5)" in repr(Residual() | MaxSteps(5))


# ---- bad arguments ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("rule", "arguments"),
    [
        (MaxSteps, (-1,)),
        (MaxSteps, (1.5,)),
        (MaxSeconds, (0,)),
        (MaxSeconds, (np.inf,)),
        (MaxTime, (0,)),
        (MaxTime, (np.nan,)),
        (Residual, (0,)),
        (Discrepancy, (0,)),
        (Discrepancy, (1, 0)),
        (CertificateGap, (-1,)),
        (LassoGap, (0,)),
        (LassoGap, (1, 0)),
        (NullGradient, (0,)),
        (StableSupport, (1,)),
        (Plateau, (1,)),
        (Plateau, (2, 0)),
        (Validation, (np.ones((2, 3)), np.ones(3))),
        (Validation, (np.ones((2, 3)), np.ones(2), 1.0)),
        (Validation, (np.ones((2, 3)), np.array([1, np.nan]))),
        (Validation, (np.full((2, 3), np.inf), np.ones(2))),
    ],
)
def test_refuses_values_out_of_range(rule, arguments):
    with pytest.raises(ValueError, match=r"\w"):
        rule(*arguments)


@pytest.mark.parametrize(
    ("rule", "arguments"),
    [
        (MaxSteps, ("5",)),
        (MaxSteps, (None,)),
        (MaxSteps, (True,)),
        (MaxSeconds, (None,)),
        (Residual, ("small",)),
        (When, (None,)),
        (When, (5,)),
        (NullGradient, (None,)),
        (Validation, (np.ones((2, 3)), None)),
    ],
)
def test_refuses_values_of_another_kind(rule, arguments):
    with pytest.raises(TypeError):
        rule(*arguments)


def test_validation_data_must_fit_the_problem(easy):
    with pytest.raises(ValueError, match=r"39.*40|40.*39"):
        go(easy, Validation(np.ones((2, 39)), np.ones(2)))


@pytest.mark.parametrize("other", [None, 5, "steps", lambda snapshot: True])
def test_rules_combine_with_rules_only(other):
    for combine in (lambda rule: rule | other, lambda rule: rule & other):
        with pytest.raises(TypeError, match=r"rule|unsupported"):
            combine(Residual())


@pytest.mark.filterwarnings("ignore::hadaflow.ConvergenceWarning")
def test_the_best_snapshot_is_returned_whichever_rule_ends_the_run():
    rng = np.random.default_rng(5)
    A = rng.standard_normal((40, 60))
    y = A[:, 0] + 0.5 * rng.standard_normal(40)
    problem = hf.Problem(A[:30], y[:30])
    errors = {"held out": lambda snapshot: np.linalg.norm(A[30:] @ snapshot.x - y[30:])}
    record = hf.Recorder(every=1, metrics=errors)
    for budget in (60, 400):
        stop = hf.stopping.Validation(A[30:], y[30:], patience=1e6) | hf.stopping.MaxSteps(budget)
        run = hf.descend(problem, hf.HadamardPower(2), init_scale=1e-2, stop=stop, record=record)
        assert run.status is hf.Status.NOT_CONVERGED
        assert np.linalg.norm(A[30:] @ run.x - y[30:]) == pytest.approx(run.history["held out"].min())

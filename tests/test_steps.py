"""Step rules: how long the steps are, and what longer ones gain."""

from itertools import pairwise

import numpy as np
import pytest

import hadaflow as hf
from hadaflow.models import Factors
from hadaflow.steps import Auto, Constant, Increasing, StepRule
from hadaflow.stopping import MaxSteps


def measurements(n, m=250, flip=None, dtype=np.float64, seed=0):
    """Rademacher measurements of 1, -2, 4, ..., 64, without noise."""
    w = np.zeros(n)
    w[:7] = 2.0 ** np.arange(7) * (-1) ** np.arange(7)
    A = np.random.default_rng(seed).choice([-1.0, 1.0], (m, n)).astype(dtype)
    if flip is not None:
        A, w = A * flip, w * flip
    return hf.Problem(A, (A @ w).astype(dtype)), w


def stepper(rule, problem, *, depth=2, sign="both", a=1e-6, scaling=1.0):
    speed = problem.operator.rmatvec(problem.y)
    return rule.stepper(problem.operator, speed, hf.HadamardPower(depth, sign), a, scaling)


# ---- Increasing ---------------------------------------------------------------------------------------------------


def test_small_means_that_both_factors_are_small():
    """Large negative coordinates are as large as positive ones."""
    problem, _ = measurements(20)
    rule = stepper(Increasing(phase=1), problem)
    pull = Factors(np.zeros(20), np.zeros(20))
    u, v = np.full(20, 1e-6), np.full(20, 1e-6)
    u[0], v[1] = 8.0, 8.0  # learned, of either sign
    first = np.array(rule.size(Factors(u, v), pull))
    assert len(set(first)) == 1
    for _ in range(8 * rule.phase):
        last = rule.size(Factors(u, v), pull)
    np.testing.assert_array_equal(last[:2], first[:2])
    growth = last[2:] / first[2:]
    assert len(set(growth)) == 1
    assert growth[0] == 2.0**7  # eight phases ended since, of which the first does not count


def test_threshold_halves_from_phase_to_phase():
    problem, _ = measurements(20)
    rule = stepper(Increasing(phase=1), problem)
    x = 2.0 ** -np.arange(20.0)
    factors, pull = Factors(np.sqrt(x), np.full(20, 1e-9)), Factors(np.zeros(20), np.zeros(20))
    first = np.array(rule.size(factors, pull))
    for taken in range(1, 12 * rule.phase):
        lengths = rule.size(factors, pull)
        phase = taken // rule.phase
        doublings = [sum(xi <= 2.0 ** (-1 - c) * rule.largest * (1 + 1e-12) for c in range(2, phase + 1)) for xi in x]
        np.testing.assert_array_equal(lengths, first * 2.0 ** np.array(doublings))


def test_first_step_and_estimate_of_the_largest_entry():
    """2 / (20 h X) with X within a factor of two of max |x|, on either loss."""
    problem = measurements(500)[0]
    for scaling in (1.0, 2 / 250):
        rule = stepper(Increasing(), problem, scaling=scaling)
        assert 32 <= rule.largest <= 128
        curvature = scaling * np.sum(problem.A**2) / 500
        assert rule.lengths[0] == pytest.approx(2 / (20 * curvature * rule.largest))


@pytest.mark.parametrize("sign", ["both", "positive"])
def test_phases_are_as_long_as_it_takes_to_grow(sign):
    problem, _ = measurements(50)
    short, long = (stepper(Increasing(), problem, sign=sign, a=a) for a in (1e-3, 1e-12))
    assert long.phase > 2 * short.phase
    half = stepper(Increasing(phase=5.0), problem, sign=sign, a=1e-12)
    assert half.phase == pytest.approx(long.phase / 2, abs=1)


@pytest.mark.parametrize("loss_scale", [1.0, 2 / 250])
def test_flipped_signs_give_the_flipped_run(loss_scale):
    """Data of the sign-flipped vector: exactly the sign-flipped run, step for step."""
    flip = np.random.default_rng(5).choice([-1.0, 1.0], 60)
    (one, _), (other, _) = measurements(60, 120), measurements(60, 120, flip=flip)
    np.testing.assert_array_equal(one.y, other.y)
    runs = []
    for problem in (one, other):
        run = hf.descend(
            problem,
            hf.HadamardPower(2),
            init_scale=1e-2,
            step=Increasing(phase=3),
            loss_scale=loss_scale,
            stop=MaxSteps(400),
            record=hf.Recorder(every=1, x=True),
        )
        runs.append((run, run.history.x))
    np.testing.assert_array_equal(runs[1][1], flip * runs[0][1])
    assert np.abs(runs[0][0].x).max() > 10


def test_negated_data_give_exactly_the_negated_run():
    problem, _ = measurements(60, 40)
    opposite = hf.Problem(problem.A, -problem.y)
    for step in (Increasing(phase=3), "auto", 1e-5):
        one, other = (
            hf.descend(data, hf.HadamardPower(2), init_scale=1e-3, step=step, stop=MaxSteps(300))
            for data in (problem, opposite)
        )
        np.testing.assert_array_equal(one.x, -other.x)
        np.testing.assert_array_equal(one.average, -other.average)
        assert one.time == other.time


def steps_until(run, error):
    """Recorded step from which on the squared error stays below a bound; infinite if it never does."""
    above = np.flatnonzero(run.history["error"] >= error)
    return run.history.steps[above[-1] + 1] if above[-1] + 1 < len(run.history) else np.inf


def convergence(n, step, steps, dtype=np.float64):
    problem, w = measurements(n, dtype=dtype)
    record = hf.Recorder(every=50, metrics={"error": lambda snapshot: np.sum((snapshot.x.astype(float) - w) ** 2)})
    stop, scaling = MaxSteps(steps), 2 / problem.shape[0]
    return hf.descend(
        problem, hf.HadamardPower(2), init_scale=1e-12, step=step, loss_scale=scaling, stop=stop, record=record
    )


def first_step(n, dtype=np.float64):
    problem, _ = measurements(n, dtype=dtype)
    return stepper(Increasing(), problem, a=1e-12, scaling=2 / 250).lengths[0]


def test_seven_entries_over_two_decades():
    """Longer steps for what is small: four times fewer than with the first step throughout, at the same end."""
    fast, slow = convergence(500, Increasing(), 2500), convergence(500, first_step(500), 10_000)
    assert steps_until(fast, 1e-6) <= 2000
    assert steps_until(slow, 1e-6) >= 3.5 * steps_until(fast, 1e-6)
    assert slow.history["error"][-1] < 1e-12
    assert fast.history["error"][-1] < 1e-12


@pytest.mark.slow
def test_seven_entries_among_ten_thousand():
    """Of Vaskevicius, Kanade and Rebeschini, who show 2500 of these steps beside 40000 constant ones."""
    fast = convergence(10_000, Increasing(), 2500, np.float32)
    slow = convergence(10_000, first_step(10_000, np.float32), 10_000, np.float32)
    assert steps_until(fast, 1e-6) <= 2000
    assert steps_until(slow, 1e-6) >= 3.5 * steps_until(fast, 1e-6)


def test_estimate_for_a_linear_operator():
    """Sixteen products instead of all columns: within a third, for coherent columns too."""
    from scipy.sparse.linalg import aslinearoperator

    rng = np.random.default_rng(0)
    for A in (rng.standard_normal((40, 60)), rng.standard_normal((40, 1)) + 0.5 * rng.standard_normal((40, 60))):
        exact, estimated = (
            stepper(Increasing(), hf.Problem(kind(A), A[:, 0])).lengths[0] for kind in (np.asarray, aslinearoperator)
        )
        assert 2 / 3 < estimated / exact < 3 / 2


@pytest.mark.parametrize("depth", [1, 3, 4])
def test_increasing_needs_depth_two(depth):
    problem, _ = measurements(20)
    with pytest.raises(ValueError, match="depth 2"):
        hf.descend(problem, hf.HadamardPower(depth), init_scale=0.1, step=Increasing())


# ---- Auto ---------------------------------------------------------------------------------------------------------


def test_auto_changes_no_factor_by_more_than_its_share():
    problem, _ = measurements(60, 40)
    for change in (0.01, 0.1, 0.5):
        seen = []

        class Watched(hf.HadamardPower):
            def forward(self, factors):
                seen.append((factors.u, factors.v))  # noqa: B023
                return super().forward(factors)

        # One step at a time: what is tried from the start, and after it.
        hf.descend(problem, Watched(2), init_scale=1e-4, step=Auto(change), stop=MaxSteps(25))
        ratios = [
            max(np.abs(new / old - 1).max() for new, old in zip(two, one, strict=True)) for one, two in pairwise(seen)
        ]
        assert ratios[0] == pytest.approx(change, rel=1e-9)
        assert max(ratios[:10]) <= change * (1 + 1e-9)


def test_auto_takes_back_a_step_that_does_not_lower_the_loss_enough():
    rule = stepper(Auto(), measurements(20)[0])
    factors, pull = Factors(np.ones(20), np.ones(20)), Factors(np.full(20, 0.1), np.full(20, -0.1))
    length = rule.size(factors, pull)
    assert length == pytest.approx(0.1 / 0.1)
    slope = 0.4
    assert not rule.accept(1.0, 1.0 - 0.75 * slope, slope)
    assert rule.size(factors, pull) == length / 2
    assert not rule.accept(1.0, np.nan, slope)
    assert not rule.accept(1.0, np.inf, slope)
    assert rule.size(factors, pull) == length / 8
    assert rule.accept(1.0, 1.0 - 0.8 * slope, slope)
    assert rule.size(factors, pull) == pytest.approx(1.1 * length / 8)


# ---- rules as such ------------------------------------------------------------------------------------------------


def test_a_number_is_a_constant_step():
    problem, _ = measurements(30, 20)
    runs = [
        hf.descend(problem, hf.HadamardPower(2), init_scale=0.1, step=step, stop=MaxSteps(20))
        for step in (1e-4, Constant(1e-4), np.float64(1e-4))
    ]
    np.testing.assert_array_equal(runs[0].x, runs[1].x)
    np.testing.assert_array_equal(runs[0].x, runs[2].x)


@pytest.mark.parametrize("step", ["auto", Increasing(phase=1)])
def test_rules_keep_nothing_from_run_to_run(step):
    problem, _ = measurements(30, 20)
    one, two = (
        hf.descend(problem, hf.HadamardPower(2), init_scale=0.1, step=step, stop=MaxSteps(60)) for _ in range(2)
    )
    np.testing.assert_array_equal(one.x, two.x)
    assert one.time == two.time


def test_a_rule_of_ones_own():
    """Harmonic steps: flow time is their sum."""

    class Harmonic(StepRule):
        def stepper(self, operator, speed, model, init_scale, scaling):
            class Stepper:
                taken = 0

                def size(self, factors, pull):
                    self.taken += 1
                    return 1e-4 / self.taken

                def accept(self, before, after, slope):
                    return True

            return Stepper()

    problem, _ = measurements(30, 20)
    run = hf.descend(problem, hf.HadamardPower(2), init_scale=0.1, step=Harmonic(), stop=MaxSteps(50))
    assert run.time == pytest.approx(1e-4 * (1 / np.arange(1, 51)).sum())


class Fixed(StepRule):
    """Hands out a stepper that subclasses nothing."""

    def __init__(self, **members):
        self.members = members

    def stepper(self, operator, speed, model, init_scale, scaling):
        return type("Plain", (), {"size": lambda self, factors, pull: 1e-3, **self.members})()


def test_judges_is_the_old_name_of_adaptive():
    """Without ``accept``: it is not called."""
    problem, _ = measurements(30, 20)
    new = hf.descend(problem, hf.HadamardPower(2), init_scale=0.1, step=Fixed(adaptive=False), stop=MaxSteps(5))
    with pytest.warns(FutureWarning, match=r"Stepper.judges is now called Stepper.adaptive"):
        old = hf.descend(problem, hf.HadamardPower(2), init_scale=0.1, step=Fixed(judges=False), stop=MaxSteps(5))
    assert old.time == new.time == pytest.approx(5e-3)
    np.testing.assert_array_equal(old.x, new.x)


@pytest.mark.parametrize(
    ("rule", "value", "error"),
    [
        (Constant, 0, ValueError),
        (Constant, np.inf, ValueError),
        (Constant, "long", TypeError),
        (Auto, 0, ValueError),
        (Auto, 1, ValueError),
        (Auto, None, TypeError),
        (Increasing, 0, ValueError),
        (Increasing, -1, ValueError),
        (Increasing, True, TypeError),
    ],
)
def test_refuses_bad_arguments(rule, value, error):
    with pytest.raises(error):
        rule(value)

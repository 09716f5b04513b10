"""The solution that training ends at as its start vanishes: strategies in turn, and what their ends prove."""

from __future__ import annotations

import time
from dataclasses import replace

import numpy as np

from hadaflow._types import Float, Vector
from hadaflow.certificates import MOST_COLUMNS, exact_within
from hadaflow.operators.around import drowning
from hadaflow.operators.making import in_memory
from hadaflow.problems import Problem
from hadaflow.recovery._strategies import MOST_ROWS, Options, strategies, worth_copying
from hadaflow.results import Recovery, Stats, Status
from hadaflow.solvers.judge import judged
from hadaflow.solvers.nearest import nearest, start_dual, within_rounding
from hadaflow.solvers.path.finish import End, follow
from hadaflow.solvers.path.walk import Terms, Walk
from hadaflow.units import UnitProblem, to_unit

_MOST_PROVED = 500  # columns asked of it to prove uniqueness; never more than the products that the answer took
_SMALL = 1 << 15  # entries of an A for which non-negative least squares come before long ways
_MOST_RESTARTS = 8  # of a walk whose end is not proved minimal, from its own dual state


def vanishing_start(problem: Problem, options: Options, *, reachable: bool = False) -> Recovery:
    """The scale -> 0 solution, by the first strategy whose end its certificate confirms; else the best of them.

    ``reachable`` says that some x carries y, so that no least-squares point is to be looked for.
    """
    began = time.perf_counter()
    unit = to_unit(problem, options.gauge, even=options.noise_level == 0)
    found: list[Recovery] = []
    tried: list[Stats] = []
    walked = False
    for strategy in strategies(unit, options):
        if strategy.exhausts and walked:
            break  # to the end, without a proof
        end, newton_steps, events, name = strategy.run(unit, options)
        stats = Stats(time.perf_counter() - began, 0.0, newton_steps, events, name)
        found.append(_certified(problem, unit, options, end, stats))
        unproved = end.status is Status.EXACT and not found[-1].status.ok
        walked |= unproved and name == "saddles"
        if unproved and strategy.refines:
            found.append(_refined(problem, unit, options, end, found[-1]))
        tried.append(found[-1].stats)
        if found[-1].status.ok or (unproved and problem.shape[0] > MOST_ROWS):
            break
        gave_up = end.status is Status.NOT_CONVERGED and _nearest_is_at_hand(unit, options)
        if (end.status is Status.LEAST_SQUARES or gave_up) and not reachable:
            reachable = True
            found.extend(_least_squares(problem, options, min(found, key=_rank), tried))
            if found[-1].status.ok:
                break
    if worth_copying(unit) and not any(recovery.status.ok for recovery in found):
        found.append(_on_a_copy(problem, options, reachable))
        tried.append(found[-1].stats)
        reachable = True  # or looked into already
    failed = not any(recovery.status.ok for recovery in found)
    lost = failed and not any(_feasible(recovery) for recovery in found)
    if failed and options.noise_level > 0:  # so small a level that rounding hid it: the end of the path is within it
        exact = vanishing_start(problem, replace(options, noise_level=0.0), reachable=reachable)
        tried.append(exact.stats)
        found += [exact] if exact.status is Status.EXACT else []
    elif lost and not reachable:
        found.extend(_least_squares(problem, options, min(found, key=_rank), tried))
    best = min(found, key=_rank)
    seconds, passes = time.perf_counter() - began, unit.meter.passes + sum(stats.passes for stats in tried)
    return replace(best, stats=_in_all(best.stats.method, tried, seconds, passes))


def _on_a_copy(problem: Problem, options: Options, reachable: bool) -> Recovery:
    """The same with a matrix in place of a linear operator: a product for each column."""
    operator = problem.operator
    here = vanishing_start(problem.with_data(in_memory(operator), problem.y), options, reachable=reachable)
    products = operator.costs.of_columns(operator.shape[1] // operator.repeats) / operator.repeats
    return replace(here, problem=problem, stats=replace(here.stats, passes=products))


def _nearest_is_at_hand(unit: UnitProblem, options: Options) -> bool:
    """Whether a point nearest to y takes less than another way: signs of x are fixed, and A is small.

    Not of rows much longer than others, whose rounding would hide what the others say.
    """
    m, n = unit.operator.shape
    if unit.gauge.finite or options.noise_level > 0 or drowning(unit.row_factors):
        return False
    return unit.operator.costs.cheap_columns and m * n <= _SMALL


def _in_all(method: str, tried: list[Stats], seconds: float, passes: float) -> Stats:
    """What all strategies took together that were tried, and which they were; ``method`` gave the answer."""
    newton_steps, events = sum(stats.newton_steps for stats in tried), sum(stats.events for stats in tried)
    names = tuple(name for stats in tried for name in stats.tried or (stats.method,))
    return Stats(seconds, passes, newton_steps, events, method, names)


def _least_squares(problem: Problem, options: Options, best: Recovery, tried: list[Stats]) -> list[Recovery]:
    """Candidates for the least-squares point of smallest norm; what they took is added to what was tried.

    Where the nearest point turns out to be y itself, an x that carries y: it tells that what was found is wrong.
    """
    unit = to_unit(problem, options.gauge)  # rows keep their weight
    near = nearest(unit, problem.layout.real_x(best.x).astype(np.float64))
    if near is None:
        return []
    x = np.zeros(problem.shape[1])
    x[near.index] = near.values
    carried = within_rounding(unit, x)
    end = End(x, start_dual(unit, near), Status.EXACT if carried else Status.LEAST_SQUARES)
    found = [_certified(problem, unit, options, end, Stats(method="least squares"))]
    if not carried and not found[0].status.ok:  # of all points with this A x, the one of smallest norm
        fitted = problem.with_data(problem.operator, near.target * unit.size_y)
        sparse = vanishing_start(fitted, replace(options, noise_level=0.0), reachable=True)
        tried.append(sparse.stats)
        minimal, dual = _real(sparse)
        minimal = minimal.astype(problem.dtype)
        found.append(_judged(problem, unit, options, minimal, dual, Status.LEAST_SQUARES, sparse.stats))
    tried.append(Stats(passes=unit.meter.passes, method="least squares"))
    return found


def _real(recovery: Recovery) -> tuple[Float, Vector]:
    """x and the dual vector as real ones."""
    layout = recovery.problem.layout
    return layout.real_x(recovery.x), layout.real_y(recovery.dual).astype(np.float64)


def _refined(problem: Problem, unit: UnitProblem, options: Options, end: End, recovery: Recovery) -> Recovery:
    """Walk again from the dual state of the end while that helps.

    The path that is left is short, and so is what the rounding of ill-conditioned data adds to the dual state on it.
    """
    events = recovery.stats.events
    for _ in range(_MOST_RESTARTS):
        walk = Walk(unit, Terms(progress=options.progress))
        walk.start_from(end.nu)
        end = follow(walk)
        events += walk.events
        trial = _certified(problem, unit, options, end, replace(recovery.stats, events=events))
        if trial.status.ok or trial.certificate.gap > 0.5 * recovery.certificate.gap:
            best = min(recovery, trial, key=_rank)
            return replace(best, stats=trial.stats)
        recovery = trial
    return recovery


def _feasible(recovery: Recovery) -> bool:
    """Whether x carries y, row by row, up to what rounding explains."""
    return exact_within(recovery.problem).fits(recovery.certificate)


def _rank(recovery: Recovery) -> tuple[bool, bool, float]:
    """The smaller the better: what is proved, then what fits with the smaller norm, then what fits better."""
    certificate, feasible = recovery.certificate, _feasible(recovery)
    return not recovery.status.ok, not feasible, certificate.gap if feasible else certificate.residual


def _certified(problem: Problem, unit: UnitProblem, options: Options, end: End, stats: Stats) -> Recovery:
    """The end of a search in the units and dtype of the data, called what its certificate proves."""
    x = unit.original_x(end.x).astype(problem.dtype)
    return _judged(problem, unit, options, x, unit.original_dual(end.nu), end.status, stats)


def _judged(
    problem: Problem, unit: UnitProblem, options: Options, x: Float, dual: Vector, status: Status, stats: Stats
) -> Recovery:
    """An x with its certificate and a status that this proves."""
    certificate, status = judged(
        problem.with_data(unit.meter, problem.y),  # so that its passes are counted too
        options.gauge,
        x,
        dual,
        status,
        noise_level=options.noise_level,
        most_columns=min(_MOST_PROVED, int(unit.meter.passes)) if stats.method == "leaps" else MOST_COLUMNS,
    )
    return Recovery(
        problem.layout.x(x),
        problem.layout.y(dual),
        certificate,
        status,
        stats,
        problem,
        positive=options.positive,
        weights=options.weights,
        noise_level=options.noise_level,
        gauge=options.gauge,
    )

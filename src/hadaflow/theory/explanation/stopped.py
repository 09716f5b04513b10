"""The rows about early stops: the lasso of the average, and the stopping window."""

from __future__ import annotations

import math
from collections.abc import Iterator

import numpy as np

from hadaflow._validation import norm, power_of_two
from hadaflow.certificates import certify_lasso
from hadaflow.convergence import quietly
from hadaflow.dynamics.saddles import saddles
from hadaflow.problems import Problem
from hadaflow.results import Recovery
from hadaflow.theory._coordinate import over
from hadaflow.theory.early_stopping import stopping_window
from hadaflow.theory.early_stopping_practice import WindowInputs, estimate_window_inputs
from hadaflow.theory.explanation.case import Case
from hadaflow.theory.explanation.promise import BEYOND, Comparison, Promise


def lasso(case: Case) -> Iterator[Promise]:
    """The average as an approximate lasso solution."""
    if isinstance(case.result, Recovery):
        return
    time = case.result.last_time
    average, penalty = case.result.average_at(time), case.result.penalty_at(time)
    if not 0 < penalty < math.inf:
        case.left_out.append("The lasso at the penalty of the average: at the start of a run there is none.")
        return
    # Judged for a y of about unit size, whose square is in range; a power of two adds no rounding.
    unit = max(2.0**-1000, float(power_of_two(norm(case.problem.y))))
    scaled = Problem(case.problem.operator, case.problem.y / unit)
    found = certify_lasso(scaled, average / unit, penalty / unit, positive=case.positive)
    if not math.isfinite(found.objective * unit * unit):
        case.left_out.append(f"The lasso at the penalty of the average: {BEYOND}.")
        return
    yield Promise.of(
        "lasso",
        "lasso objective of the average",
        Comparison(
            ">=",
            found.lower_bound * unit * unit,
            found.objective * unit * unit,
            allowance=1e-9 * found.objective * unit * unit,
        ),
        unit="y²",
        source="proved: duality",
        note=f"at the penalty {penalty:.4g}. The average is within {found.gap:.2g} of the minimum, relative to the "
        "objective at 0; that vanishes with the start where the lasso path is monotone.",
    )


def window(case: Case) -> Iterator[Promise]:
    """The stop of a flow or a descent against the window of its start."""
    if case.depth is None or case.depth < 2 or case.init_scale is None:
        case.left_out.append("The stopping window: it is for one start and HadamardPower models of depth 2 and more.")
        return
    inputs = _window_inputs(case)
    if inputs is None or isinstance(case.result, Recovery):
        return
    window = stopping_window(
        depth=case.depth,
        init_scale=case.init_scale,
        signal=inputs.signal,
        noise=inputs.noise,
        sign=case.sign,
        column_square=inputs.column_square,
    )
    stop = case.clock * case.result.last_time
    names = ("stop, after the window opens", "stop, before the window closes")
    other = np.delete(np.abs(case.x), inputs.support)
    grown = f"In x itself, {int((other > window.level).sum())} other entries exceed the level {window.level:.3g}."
    yield from _between(names, "flow time", (window.start, stop), (window.stop, stop), inputs, grown)


def plateau(case: Case) -> Iterator[Promise]:
    """The plateau that the saddle path stopped on against the window of the vanishing start, in rescaled time."""
    if case.weights is not None:
        case.left_out.append("The stopping window: it is for the plain l1 norm.")
        return
    inputs = _window_inputs(case)
    if inputs is None:
        return
    start = over(1.0, inputs.column_square, inputs.signal)
    stop = over(1.0, inputs.column_square, inputs.noise) if inputs.noise > 0 else math.inf
    if not 0 < start < math.inf:
        case.left_out.append(f"The stopping window: {BEYOND}.")
        return
    path = quietly(saddles, case.problem, positive=case.positive)
    ends = np.append(path.times[1:], math.inf)
    at = int(np.argmin([np.abs(case.x - path(tau)).max() for tau in path.times]))
    names = ("end of plateau, after the window opens", "its begin, before the window closes")
    grown = f"x itself has {np.count_nonzero(np.delete(case.x, inputs.support))} other entries."
    yield from _between(names, "τ", (start, float(ends[at])), (stop, float(path.times[at])), inputs, grown)


def _window_inputs(case: Case) -> WindowInputs | None:
    if not case.affords(case.programme_seconds, "The stopping window"):
        return None
    try:
        inputs = estimate_window_inputs(case.problem, positive=case.positive)
    except ValueError as error:
        case.left_out.append(f"The stopping window: {error}.")
        return None
    if inputs.signal <= 0:
        case.left_out.append("The stopping window: nothing stands out of the noise.")
        return None
    if not 0 < inputs.column_square < math.inf or not inputs.signal < math.inf:
        case.left_out.append(f"The stopping window: {BEYOND}.")
        return None
    return inputs


def _between(
    names: tuple[str, str],
    unit: str,
    start: tuple[float, float],
    stop: tuple[float, float],
    inputs: WindowInputs,
    grown: str,
) -> Iterator[Promise]:
    """Two rows from pairs (promise, measured); ``grown`` tells what x itself has besides the estimated support."""
    note = (
        f"when to stop, for nearly orthogonal columns; a guess for others. Estimated from the data: {inputs.sparsity} "
        f"entries, the smallest {inputs.signal:.3g}; noise up to {inputs.noise:.3g}."
    )
    for key, name, compared in (
        ("window_start", names[0], Comparison(">=", *start)),
        ("window_stop", names[1], Comparison("<=", *stop)),
    ):
        yield Promise.of(
            key,
            name,
            compared,
            unit=unit,
            source="estimate: paper B",
            note=note if key == "window_start" else grown,
            condition=True,
        )

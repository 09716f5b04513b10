"""The rows of an explanation, by what kind of answer it is about."""

from __future__ import annotations

import math
from collections.abc import Iterator

import numpy as np

from hadaflow._types import Float
from hadaflow._validation import norm, power_of_two
from hadaflow.certificates import certify_lasso
from hadaflow.convergence import quietly
from hadaflow.dynamics.saddles import saddles
from hadaflow.paths import FlowPath, Trajectory
from hadaflow.problems import Problem
from hadaflow.results import Recovery, Status
from hadaflow.theory._coordinate import over
from hadaflow.theory.approximation_error import certified_error_bound, error_lower_bound, predicted_exponent
from hadaflow.theory.early_stopping import stopping_window
from hadaflow.theory.early_stopping_practice import WindowInputs, estimate_window_inputs
from hadaflow.theory.explanation.case import PROVED_GAP, Case
from hadaflow.theory.explanation.promise import Promise
from hadaflow.theory.l1_bounds import l1_excess_bound
from hadaflow.theory.matrix_properties import coherence
from hadaflow.theory.measurements import measurements_needed, recovery_probability
from hadaflow.theory.null_space import null_space_constants

_FIT = 1e-9  # relative residual
_MET, _BELOW = 1e-6, 1e-8  # how exactly a dual vector meets its bounds, and how far below counts as below
_BOUNDS = 15  # linear programmes that all bounds of the distance cost
_BEYOND = "its numbers are beyond the range of doubles; divide A and y by their sizes"
_GRAM = 2e-10  # seconds per m n^2 of a Gram matrix, as in the module of the case


def promises(case: Case) -> Iterator[Promise]:
    """All rows that apply."""
    if not case.reached:
        case.left_out.append(f"Everything: {case.result.status}.")
    elif case.kind == "stopped":
        yield from _lasso(case)
        yield from _window(case)
    elif case.kind == "noise":
        yield _fit(case)
        yield _norm_within_noise(case)
        yield from _plateau(case)
    else:
        yield _fit(case)
        yield from _minimality(case) if case.kind == "vanishing" else _nearness(case)
        yield from _uniqueness(case)
        yield from _measurements(case)
        yield from _coherence(case)


def _fit(case: Case) -> Promise:
    fits = case.result.status in (Status.EXACT, Status.LIMIT, Status.INEXACT)
    notes = {
        Status.NOISE_LEVEL: "the run ended on the first plateau within the noise level that it was given.",
        Status.LEAST_SQUARES: "y is outside the range of the model; what follows is about all points with this A x.",
    }
    return Promise.of(
        "residual",
        "residual ‖Ax − y‖ / ‖y‖",
        "<=",
        max(_FIT, case.rounding) if fits else None,
        case.certificate.residual,
        unit="",
        source="definition",
        note=notes.get(case.result.status, ""),
    )


def _minimality(case: Case) -> Iterator[Promise]:
    certificate = case.certificate
    yield Promise.of(
        "l1_norm",
        "ℓ1 norm, smallest possible" if case.weights is None else "weighted ℓ1 norm, smallest possible",
        "=",
        certificate.lower_bound,
        certificate.l1_norm,
        unit="x",
        source="proved: its own dual",
        note=f"a lower bound from duality, and reached up to {certificate.gap:.1e}."
        if case.minimiser is not None
        else "the lower bound of this run's dual is not reached: the answer is not proved minimal.",
        allowance=max(PROVED_GAP, case.rounding) * certificate.l1_norm,
        condition=True,
    )


def _norm_within_noise(case: Case) -> Promise:
    return Promise.of(
        "l1_norm",
        "ℓ1 norm" if case.weights is None else "weighted ℓ1 norm",
        ">=",
        case.certificate.lower_bound,
        case.certificate.l1_norm,
        unit="x",
        source="proved: its own dual",
        note="nothing within the noise level has a smaller norm than the bound. A plateau of the saddle path is close "
        "to least squares on its support, not a minimiser of the norm.",
        allowance=case.rounding * case.certificate.l1_norm,
    )


def _uniqueness(case: Case) -> Iterator[Promise]:
    if case.minimiser is None:
        case.left_out.append("Uniqueness, and all that needs the minimal solution: none was proved minimal.")
        return
    found, certificate = case.smallest_certificate, case.minimiser.certificate
    if found is not None:
        yield Promise.of(
            "separation",
            "1 − ρ of the ℓ1 minimiser",
            ">",
            0.0,
            found.margin if found.independent else -math.inf,
            unit="",
            source="proved: duality",
            note="positive exactly if the minimiser is the only one; ρ also governs how fast limits approach it.",
            allowance=_BELOW,
            condition=True,
        )
        yield Promise.of(
            "margin",
            "margin of the dual found",
            "<=",
            found.margin,
            certificate.margin,
            unit="",
            source="proved: duality",
            note="no dual vector separates the support better than 1 − ρ.",
            allowance=_MET,
        )
    elif certificate.unique:
        yield Promise.of(
            "margin",
            "margin of the dual found",
            ">",
            0.0,
            certificate.margin,
            unit="",
            source="proved: duality",
            note="the minimiser is the only one. A lower bound of 1 − ρ, which would take a linear programme.",
        )


def _nearness(case: Case) -> Iterator[Promise]:
    """A limit beside the minimal solution."""
    if case.depth is None or case.depth < 2:
        case.left_out.append("Bounds on the l1 norm: they are for HadamardPower models of depth 2 and more.")
        return
    if case.minimiser is None:
        return
    if case.init_scale is None:
        case.left_out.append("Bounds on the l1 norm: the start differs by coordinate, see theory.start_weights.")
        return
    least = case.minimiser.certificate.l1_norm
    yield Promise.of(
        "l1_excess",
        "excess of the ℓ1 norm",
        "<=",
        l1_excess_bound(
            depth=case.depth, init_scale=case.init_scale, l1_norm=least, n=case.problem.shape[1], sign=case.sign
        ),
        float(np.abs(case.x).sum()) - least,
        unit="x",
        source="proved here",
        note=f"over the smallest ℓ1 norm, {least:.6g}, which is certified. For every matrix, and far from sharp.",
        allowance=case.resolution,
    )
    yield from _distance(case, case.depth, case.init_scale, case.minimiser)


def _distance(case: Case, depth: float, init_scale: float, minimiser: Recovery) -> Iterator[Promise]:
    """Bounds from both sides of the distance between the limit and the minimal solution, which is not zero."""
    what = "Bounds of the distance from the minimal solution"
    if not len(case.support) or not case.affords(_BOUNDS * case.programme_seconds, what):
        return
    target = np.asarray(minimiser.x, dtype=np.float64)
    distance = float(np.abs(case.x - target).sum())
    upper = certified_error_bound(case.matrix, target, depth=depth, init_scale=init_scale, sign=case.sign)
    if upper.total == 0:
        case.left_out.append(f"{what}: no other point within reach has this A x, and any distance is rounding.")
        return
    yield Promise.of(
        "error_upper",
        "distance from the ℓ1 minimiser, at most",
        "<=",
        upper.total,
        distance,
        unit="x",
        source="proved: paper C",
        note="ℓ1 norm of the difference. Infinite where the start is too large for a statement.",
        allowance=case.resolution,
    )
    signs, on_support = np.sign(target[case.support]), case.x[case.support]
    if not on_support.all() or (case.positive and on_support.min() <= 0):
        return  # so far away that there is no lower bound
    constants = null_space_constants(case.matrix, case.support, signs, sign=case.sign, method="bounds")
    yield Promise.of(
        "error_lower",
        "distance from the ℓ1 minimiser, at least",
        ">=",
        error_lower_bound(case.x, constants, depth=depth, init_scale=init_scale),
        distance,
        unit="x",
        source="proved: paper C",
        note=f"as the product scale w vanishes, like w to the power {predicted_exponent(depth, constants.rho):.4g}."
        if constants.unique
        else "zero where the minimiser is not the only one.",
        allowance=case.resolution,
    )


def _measurements(case: Case) -> Iterator[Promise]:
    if case.minimiser is None or len(case.support) == 0 or case.weights is not None:
        return
    if case.result.status is Status.LEAST_SQUARES:
        return
    m, n = case.problem.shape
    s = len(case.support)
    needed = measurements_needed(n, s, sign=case.sign)
    chance = recovery_probability(m, n, s, sign=case.sign)
    yield Promise.of(
        "measurements",
        f"measurements for {s} non-zeros",
        ">=",
        needed.transition,
        float(m),
        unit="rows",
        source="Gaussian A only",
        note=f"that many recover half of all vectors with {s} non-zeros as the start vanishes; {m} recover a share of "
        f"{chance:.3g}. For Gaussian A: a rule of thumb for others.",
        condition=True,
    )


def _coherence(case: Case) -> Iterator[Promise]:
    m, n = case.problem.shape
    if case.minimiser is None or not case.affords(_GRAM * m * n**2 + 2 * case.columns_seconds, "Coherence"):
        return
    found = coherence(case.operator)
    yield Promise.of(
        "coherence",
        "non-zeros that coherence allows",
        "<=",
        float(found.recoverable),
        float(len(case.support)),
        unit="",
        source="proved: coherence",
        note=f"coherence {found.value:.3g}: every vector with at most {found.recoverable} non-zeros is recovered. "
        "Sufficient only, and far from necessary.",
        condition=True,
    )


def _lasso(case: Case) -> Iterator[Promise]:
    if isinstance(case.result, FlowPath):
        average: Float = case.result.average(case.result.t_end)
        penalty = case.result.penalty(case.result.t_end)
    elif isinstance(case.result, Trajectory):
        average, penalty = case.result.average, case.result.penalty
    else:
        return
    if not 0 < penalty < math.inf:
        case.left_out.append("The lasso at the penalty of the average: at the start of a run there is none.")
        return
    # Judged for a y of about unit size, whose square is in range; a power of two adds no rounding.
    unit = max(2.0**-1000, float(power_of_two(norm(case.problem.y))))
    scaled = Problem(case.problem.operator, case.problem.y / unit)
    found = certify_lasso(scaled, average / unit, penalty / unit, positive=case.positive)
    if not math.isfinite(found.objective * unit * unit):
        case.left_out.append(f"The lasso at the penalty of the average: {_BEYOND}.")
        return
    yield Promise.of(
        "lasso",
        "lasso objective of the average",
        ">=",
        found.lower_bound * unit * unit,
        found.objective * unit * unit,
        unit="y²",
        source="proved: duality",
        note=f"at the penalty {penalty:.4g}. The average is within {found.gap:.2g} of the minimum, relative to the "
        "objective at 0; that vanishes with the start where the lasso path is monotone.",
        allowance=1e-9 * found.objective * unit * unit,
    )


def _window(case: Case) -> Iterator[Promise]:
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
    stop = case.clock * (case.result.t_end if isinstance(case.result, FlowPath) else case.result.time)
    names = ("stop, after the window opens", "stop, before the window closes")
    other = np.delete(np.abs(case.x), inputs.support)
    grown = f"In x itself, {int((other > window.level).sum())} other entries exceed the level {window.level:.3g}."
    yield from _between(names, "flow time", (window.start, stop), (window.stop, stop), inputs, grown)


def _plateau(case: Case) -> Iterator[Promise]:
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
        case.left_out.append(f"The stopping window: {_BEYOND}.")
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
        case.left_out.append(f"The stopping window: {_BEYOND}.")
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
    for key, name, relation, (promise, measured) in (
        ("window_start", names[0], ">=", start),
        ("window_stop", names[1], "<=", stop),
    ):
        yield Promise.of(
            key,
            name,
            relation,  # type: ignore[arg-type]
            promise,
            measured,
            unit=unit,
            source="estimate: paper B",
            note=note if key == "window_start" else grown,
            condition=True,
        )

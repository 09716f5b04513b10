"""The rows of an explanation, by what kind of answer it is about."""

from __future__ import annotations

import math
from collections.abc import Iterator

import numpy as np

from hadaflow.results import Recovery, Status
from hadaflow.theory.approximation_error import certified_error_bound, error_lower_bound, predicted_exponent
from hadaflow.theory.explanation.case import PROVED_GAP, Case
from hadaflow.theory.explanation.promise import Comparison, Promise
from hadaflow.theory.explanation.stopped import lasso, plateau, window
from hadaflow.theory.l1_bounds import l1_excess_bound
from hadaflow.theory.matrix_properties import coherence
from hadaflow.theory.measurements import measurements_needed, recovery_probability
from hadaflow.theory.null_space import null_space_constants

_FIT = 1e-9  # relative residual
_MET, _BELOW = 1e-6, 1e-8  # how exactly a dual vector meets its bounds, and how far below counts as below
_BOUNDS = 15  # linear programmes that all bounds of the distance cost
_GRAM = 2e-10  # seconds per m n^2 of a Gram matrix, as in the module of the case


def promises(case: Case) -> Iterator[Promise]:
    """All rows that apply."""
    if not case.reached:
        case.left_out.append(f"Everything: {case.result.status}.")
    elif case.kind == "stopped":
        yield from lasso(case)
        yield from window(case)
    elif case.kind == "noise":
        yield _fit(case)
        yield _norm_within_noise(case)
        yield from plateau(case)
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
        Comparison("<=", max(_FIT, case.rounding) if fits else None, case.certificate.residual),
        unit="",
        source="definition",
        note=notes.get(case.result.status, ""),
    )


def _minimality(case: Case) -> Iterator[Promise]:
    certificate = case.certificate
    yield Promise.of(
        "l1_norm",
        "ℓ1 norm, smallest possible" if case.weights is None else "weighted ℓ1 norm, smallest possible",
        Comparison(
            "=",
            certificate.lower_bound,
            certificate.l1_norm,
            allowance=max(PROVED_GAP, case.rounding) * certificate.l1_norm,
        ),
        unit="x",
        source="proved: its own dual",
        note=f"a lower bound from duality, and reached up to {certificate.gap:.1e}."
        if case.minimiser is not None
        else "the lower bound of this run's dual is not reached: the answer is not proved minimal.",
        condition=True,
    )


def _norm_within_noise(case: Case) -> Promise:
    return Promise.of(
        "l1_norm",
        "ℓ1 norm" if case.weights is None else "weighted ℓ1 norm",
        Comparison(
            ">=",
            case.certificate.lower_bound,
            case.certificate.l1_norm,
            allowance=case.rounding * case.certificate.l1_norm,
        ),
        unit="x",
        source="proved: its own dual",
        note="nothing within the noise level has a smaller norm than the bound. A plateau of the saddle path is close "
        "to least squares on its support, not a minimiser of the norm.",
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
            Comparison(">", 0.0, found.margin if found.independent else -math.inf, allowance=_BELOW),
            unit="",
            source="proved: duality",
            note="positive exactly if the minimiser is the only one; ρ also governs how fast limits approach it.",
            condition=True,
        )
        yield Promise.of(
            "margin",
            "margin of the dual found",
            Comparison("<=", found.margin, certificate.margin, allowance=_MET),
            unit="",
            source="proved: duality",
            note="no dual vector separates the support better than 1 − ρ.",
        )
    elif certificate.unique:
        yield Promise.of(
            "margin",
            "margin of the dual found",
            Comparison(">", 0.0, certificate.margin),
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
        Comparison(
            "<=",
            l1_excess_bound(
                depth=case.depth, init_scale=case.init_scale, l1_norm=least, n=case.problem.shape[1], sign=case.sign
            ),
            float(np.abs(case.x).sum()) - least,
            allowance=case.resolution,
        ),
        unit="x",
        source="proved here",
        note=f"over the smallest ℓ1 norm, {least:.6g}, which is certified. For every matrix, and far from sharp.",
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
        Comparison("<=", upper.total, distance, allowance=case.resolution),
        unit="x",
        source="proved: paper C",
        note="ℓ1 norm of the difference. Infinite where the start is too large for a statement.",
    )
    signs, on_support = np.sign(target[case.support]), case.x[case.support]
    if not on_support.all() or (case.positive and on_support.min() <= 0):
        return  # so far away that there is no lower bound
    constants = null_space_constants(case.matrix, case.support, signs, sign=case.sign, method="bounds")
    yield Promise.of(
        "error_lower",
        "distance from the ℓ1 minimiser, at least",
        Comparison(
            ">=",
            error_lower_bound(case.x, constants, depth=depth, init_scale=init_scale),
            distance,
            allowance=case.resolution,
        ),
        unit="x",
        source="proved: paper C",
        note=f"as the product scale w vanishes, like w to the power {predicted_exponent(depth, constants.rho):.4g}."
        if constants.unique
        else "zero where the minimiser is not the only one.",
    )


def _measurements(case: Case) -> Iterator[Promise]:
    if case.minimiser is None or len(case.support) == 0 or case.weights is not None:
        return
    if case.result.status is Status.LEAST_SQUARES:
        return
    m, n = case.problem.shape
    s = len(case.support)
    needed = measurements_needed(n, s, sign=case.sign)
    fraction = recovery_probability(m, n, s, sign=case.sign)
    yield Promise.of(
        "measurements",
        f"measurements for {s} non-zeros",
        Comparison(">=", needed.transition, float(m)),
        unit="rows",
        source="Gaussian A only",
        note=f"that many recover half of all vectors with {s} non-zeros as the start vanishes; {m} recover a "
        f"fraction of {fraction:.3g}. For Gaussian A: a rule of thumb for others.",
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
        Comparison("<=", float(found.recoverable), float(len(case.support))),
        unit="",
        source="proved: coherence",
        note=f"coherence {found.value:.3g}: every vector with at most {found.recoverable} non-zeros is recovered. "
        "Sufficient only, and far from necessary.",
        condition=True,
    )

"""The rows of an explanation, by what kind of answer it is about."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import cached_property
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from hadaflow._validation import Index
from hadaflow.certificates import Certificate, certify_lasso
from hadaflow.dynamics import limit, saddles
from hadaflow.models import HadamardPower, Model
from hadaflow.operators import Operator, Scaled
from hadaflow.paths import FlowPath, Trajectory
from hadaflow.problems import Problem
from hadaflow.recovery import recover
from hadaflow.results import Recovery, Status
from hadaflow.theory._promise import Promise
from hadaflow.theory.early_stopping import stopping_window
from hadaflow.theory.early_stopping_practice import WindowInputs, estimate_window_inputs
from hadaflow.theory.l1_bounds import l1_excess_bound
from hadaflow.theory.matrix_properties import CertificateSearch, coherence, dual_certificate
from hadaflow.theory.measurements import measurements_needed, recovery_probability

Vector = NDArray[np.float64]
Sign = Literal["both", "positive"]
Kind = Literal["vanishing", "limit", "noise", "stopped"]

_PROVED_GAP = 1e-8  # relative, up to which a certificate counts as proof of the smallest l1 norm
_FIT = 1e-9  # relative residual
# Seconds per m^2 n of a linear programme, and per m n^2 of a Gram matrix, on one core of a current machine.
_PROGRAMME, _GRAM = 5e-8, 2e-10


@dataclass
class Case:
    """What there is to explain, whatever kind of result it came from."""

    result: Recovery | FlowPath | Trajectory
    kind: Kind
    model: Model | None
    positive: bool
    weights: Vector | None
    time_limit: float
    left_out: list[str] = field(default_factory=list)

    @classmethod
    def of(cls, result: object, time_limit: float) -> Case:
        """Sort a result into its kind."""
        if isinstance(result, Recovery):
            kind: Kind = "limit" if result.model is not None else "vanishing"
            if result.status is Status.NOISE_LEVEL:
                kind = "noise"
            return cls(result, kind, result.model, result.positive, result.weights, time_limit)
        if isinstance(result, (FlowPath, Trajectory)):
            ended = isinstance(result, FlowPath) and math.isinf(result.t_end)
            return cls(result, "limit" if ended else "stopped", result.model, not result.model.signed, None, time_limit)
        raise TypeError(
            f"result must be a Recovery, FlowPath or Trajectory (of recover, flow or descend), got "
            f"{type(result).__name__}; for the limit from a given start ask hadaflow.recover(A, y, depth=, init_scale=)"
        )

    @property
    def problem(self) -> Problem:
        return self.result.problem

    @property
    def x(self) -> Vector:
        return self.result.x.astype(np.float64)

    @property
    def sign(self) -> Sign:
        return "positive" if self.positive else "both"

    @property
    def depth(self) -> float | None:
        """D, where there is one."""
        return self.model.depth if isinstance(self.model, HadamardPower) else None

    @property
    def subject(self) -> str:
        """One line on the result."""
        m, n = self.problem.shape
        end = {"vanishing": "as the start vanishes", "noise": "within the noise level", "stopped": "stopped early"}
        start = f"{self.model}, product scale {self.result.product_scale:.3g}"
        about = end.get(self.kind, "the limit")
        if self.model is not None:
            about = f"{about}, {start}"
        return f"{m} x {n}, {self.result.status.name}: {about}"

    @property
    def certificate(self) -> Certificate:
        return self.result.certificate

    @property
    def operator(self) -> Operator:
        """A for which the plain l1 norm is what the weighted one is for the given A."""
        operator = self.problem.operator
        return operator if self.weights is None else Scaled(operator, 1.0, 1 / self.weights)

    @property
    def rounding(self) -> float:
        """Relative accuracy of x that its dtype allows."""
        return 1e3 * float(np.finfo(self.problem.dtype).eps)

    def affords(self, seconds: float, what: str) -> bool:
        """Whether a row of that cost is within the limit; if not, this is noted."""
        if seconds > self.time_limit:
            self.left_out.append(f"{what} would take about {seconds:.0f} s; raise time_limit.")
        return seconds <= self.time_limit

    @cached_property
    def init_scale(self) -> float | None:
        """The start a of every factor entry; None where it differs by coordinate, or cannot be told."""
        if self.depth is None or self.result.product_scale <= 0:
            return None
        scale = self.result.product_scale ** (1 / self.depth)
        if isinstance(self.result, FlowPath):
            starts = np.asarray(self.result.setting.init_scale)
            return float(starts.flat[0]) if np.ptp(starts) == 0 else None
        if isinstance(self.result, Recovery) and self.affords(self.result.stats.seconds, "Telling a uniform start"):
            again = limit(self.problem, HadamardPower(self.depth, self.sign), init_scale=scale)
            size = max(1e-6, self.rounding) * float(np.abs(self.x).max(initial=0.0))
            return scale if np.abs(again.x - self.x).max(initial=0.0) <= size else None
        return scale if isinstance(self.result, Trajectory) else None

    @cached_property
    def minimiser(self) -> Recovery | None:
        """A certified solution of smallest l1 norm; None where there is no proof."""
        found = self.result
        if self.kind == "limit":
            if not self.affords(3 * self.result.stats.seconds, "The minimal l1 norm"):
                return None
            found = recover(self.problem.A, self.problem.y, positive=self.positive)
        if not isinstance(found, Recovery) or self.kind in ("noise", "stopped"):
            return None
        proved = found.status.ok and found.certificate.gap <= max(_PROVED_GAP, self.rounding)
        return found if proved else None

    @cached_property
    def support(self) -> Index:
        """Support of the minimiser."""
        return np.flatnonzero(self.minimiser.x) if self.minimiser is not None else np.arange(0)

    @cached_property
    def smallest_certificate(self) -> CertificateSearch | None:
        """That of the minimiser."""
        m, n = self.problem.shape
        if self.minimiser is None or not self.affords(_PROGRAMME * m**2 * n, "The smallest dual certificate"):
            return None
        signs = np.sign(self.minimiser.x[self.support])
        return dual_certificate(self.operator, self.support, signs, sign=self.sign, minimal=True)


def promises(case: Case) -> Iterator[Promise]:
    """All rows that apply."""
    if case.kind == "stopped":
        yield from _lasso(case)
        yield from _window(case)
        return
    yield from _fit(case)
    if case.kind == "noise":
        yield from _norm_within_noise(case)
        yield from _plateau(case)
        return
    if case.kind == "vanishing":
        yield from _minimality(case)
    elif case.depth is not None and case.depth >= 2:
        yield from _excess(case)
        yield from _error(case)
    else:
        case.left_out.append("Bounds on the l1 norm: they are for HadamardPower models of depth 2 and more.")
    yield from _uniqueness(case)
    yield from _measurements(case)
    yield from _coherence(case)


def _fit(case: Case) -> Iterator[Promise]:
    fits = case.result.status in (Status.EXACT, Status.LIMIT, Status.INEXACT)
    notes = {
        Status.NOISE_LEVEL: "the run ended on the first plateau within the noise level that it was given.",
        Status.LEAST_SQUARES: "y is outside the range of the model; what follows is about all points with this A x.",
    }
    yield Promise.of(
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
        "ℓ1 norm (smallest possible)" if case.weights is None else "weighted ℓ1 norm (smallest possible)",
        "=",
        certificate.lower_bound,
        certificate.l1_norm,
        unit="x",
        source="proved: its own dual",
        note=f"a lower bound from duality, and reached up to {certificate.gap:.1e}."
        if case.minimiser is not None
        else "the lower bound of this run's dual is not reached: the answer is not proved minimal.",
        allowance=max(_PROVED_GAP, case.rounding) * certificate.l1_norm,
        condition=True,
    )


def _norm_within_noise(case: Case) -> Iterator[Promise]:
    yield Promise.of(
        "l1_norm",
        "ℓ1 norm" if case.weights is None else "weighted ℓ1 norm",
        ">=",
        case.certificate.lower_bound,
        case.certificate.l1_norm,
        unit="x",
        source="proved: its own dual",
        note="nothing within the noise level has a smaller norm than the bound. A plateau of the saddle path is close to "
        "least squares on its support, not a minimiser of the norm.",
        allowance=case.rounding * case.certificate.l1_norm,
    )


def _uniqueness(case: Case) -> Iterator[Promise]:
    found = case.smallest_certificate
    if case.minimiser is None or found is None:
        if case.minimiser is None:
            case.left_out.append("Uniqueness, and all that needs the minimal solution: none was proved minimal.")
        return
    yield Promise.of(
        "separation",
        "1 − ρ of the ℓ1 minimiser",
        ">",
        0.0,
        found.margin if found.independent else -math.inf,
        unit="",
        source="proved: duality",
        note="positive exactly if the minimiser is the only one; ρ also governs how fast limits approach it.",
        condition=True,
    )
    if case.kind == "vanishing":
        yield Promise.of(
            "margin",
            "margin of the dual found",
            "<=",
            found.margin,
            case.certificate.margin,
            unit="",
            source="proved: duality",
            note="no dual vector separates the support better than 1 − ρ.",
            allowance=1e-6,
        )


def _excess(case: Case) -> Iterator[Promise]:
    if case.minimiser is None or case.depth is None:
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
        source="proved: paper A",
        note=f"over the smallest ℓ1 norm, {least:.6g}, which is certified. Any matrix; far from sharp.",
        allowance=max(1e-9, case.rounding) * least,
    )


def _error(case: Case) -> Iterator[Promise]:
    yield from ()


def _measurements(case: Case) -> Iterator[Promise]:
    if case.minimiser is None or len(case.support) == 0 or case.weights is not None:
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
    if case.minimiser is None or not case.affords(_GRAM * m * n**2, "Coherence"):
        return
    found = coherence(case.operator)
    yield Promise.of(
        "coherence",
        "non-zeros that coherence guarantees",
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
        average = case.result.average(case.result.t_end)
        penalty = case.result.penalty(case.result.t_end)
    elif isinstance(case.result, Trajectory):
        average, penalty = case.result.average, case.result.penalty
    else:
        return
    if not 0 < penalty < math.inf:
        case.left_out.append("The lasso at the penalty of the average: at the start of a run there is none.")
        return
    found = certify_lasso(case.problem, average, penalty, positive=case.positive)
    yield Promise.of(
        "lasso",
        f"lasso objective of the average, λ = {penalty:.3g}",
        ">=",
        found.lower_bound,
        found.objective,
        unit="y²",
        source="proved: duality",
        note=f"the average is within {found.gap:.2g} of the minimum, relative to the objective at 0; that vanishes with "
        "the start where the lasso path is monotone.",
        allowance=1e-9 * found.objective,
    )


def _window(case: Case) -> Iterator[Promise]:
    if case.depth is None or case.depth < 2 or case.init_scale is None:
        case.left_out.append("The stopping window: it is for one start and HadamardPower models of depth 2 and more.")
        return
    inputs = _window_inputs(case)
    if inputs is None:
        return
    window = stopping_window(
        depth=case.depth,
        init_scale=case.init_scale,
        signal=inputs.signal,
        noise=inputs.noise,
        sign=case.sign,
        column_square=inputs.column_square,
    )
    stop = case.result.t_end if isinstance(case.result, FlowPath) else case.result.time
    yield from _between(window.start, window.stop, stop, stop, inputs, unit="flow time")


def _window_inputs(case: Case) -> WindowInputs | None:
    m, n = case.problem.shape
    if not case.affords(_PROGRAMME * m**2 * n, "The stopping window"):
        return None
    try:
        inputs = estimate_window_inputs(case.problem, positive=case.positive)
    except ValueError as error:
        case.left_out.append(f"The stopping window: {error}.")
        return None
    if inputs.signal <= 0:
        case.left_out.append("The stopping window: nothing stands out of the noise.")
        return None
    return inputs


def _between(
    start: float, stop: float, reached: float, begun: float, inputs: WindowInputs, *, unit: str
) -> Iterator[Promise]:
    guess = (
        f"for nearly orthogonal columns; from the data: smallest of {inputs.sparsity} entries {inputs.signal:.3g}, noise "
        f"{inputs.noise:.3g}."
    )
    yield Promise.of(
        "window_start",
        "time at which the support has grown",
        ">=",
        start,
        reached,
        unit=unit,
        source="estimate: paper B",
        note=guess,
        condition=True,
    )
    yield Promise.of(
        "window_stop",
        "time before noise has grown",
        "<=",
        stop,
        begun,
        unit=unit,
        source="estimate: paper B",
        condition=True,
    )


def _plateau(case: Case) -> Iterator[Promise]:
    """The plateau that the saddle path stopped on, in rescaled time, against the window of the vanishing start."""
    if case.weights is not None:
        case.left_out.append("The stopping window: it is for the plain l1 norm.")
        return
    inputs = _window_inputs(case)
    if inputs is None:
        return
    path = saddles(case.problem, positive=case.positive)
    begins, ends = path.times, np.append(path.times[1:], math.inf)
    residuals = [float(np.abs(case.x - path(tau)).max()) for tau in begins]
    at = int(np.argmin(residuals))
    c = inputs.column_square
    stop = 1 / (c * inputs.noise) if inputs.noise > 0 else math.inf
    yield from _between(1 / (c * inputs.signal), stop, float(ends[at]), float(begins[at]), inputs, unit="rescaled time")

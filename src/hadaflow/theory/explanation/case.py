"""What is to be explained, whatever kind of result it came from."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from functools import cached_property
from typing import Literal

import numpy as np

from hadaflow._types import Index, Sign, Vector
from hadaflow.certificates import Certificate
from hadaflow.convergence import quietly
from hadaflow.dynamics.limit import limit
from hadaflow.models import HadamardPower, Model
from hadaflow.operators import Operator, Scaled
from hadaflow.paths import PathFromStart
from hadaflow.problems import Problem, require_single, require_squared
from hadaflow.recovery import recover
from hadaflow.results import Recovery, Status
from hadaflow.theory._rip_search import dense_columns
from hadaflow.theory.dual_certificates import CertificateSearch, dual_certificate

Kind = Literal["vanishing", "limit", "noise", "stopped"]

PROVED_GAP = 1e-8  # relative, up to which a certificate counts as proof of the smallest l1 norm
_MAGNIFIED = 1e4
# Seconds on one core of a current machine: work is counted, never timed, so that the same rows come out everywhere.
_PROGRAMME = 5e-8  # per m^2 n of a linear programme
_PRODUCT = 1e-9  # per m n of a product with A, whatever A is
_SOLVE = 5e-10  # per m^2 n of a Newton step
_WALK = 1e-9  # per m^2 n of a saddle path with as many jumps as it may take
_PRODUCTS = 300  # that a saddle path takes where there are only products


@dataclass
class Case:
    """A result, sorted, and what its rows have in common; computed when first asked for."""

    result: Recovery | PathFromStart
    kind: Kind
    model: Model | None
    positive: bool
    weights: Vector | None
    time_limit: float
    left_out: list[str] = field(default_factory=list)

    @classmethod
    def of(cls, result: object, time_limit: float) -> Case:
        """Sort a result into its kind."""
        if isinstance(result, (Recovery, PathFromStart)):
            require_single(result.problem, "explain", "read its certificate, or ask hadaflow.certify")
        if isinstance(result, Recovery):
            kind: Kind = "limit" if result.model is not None else "vanishing"
            if result.status is Status.NOISE_LEVEL:
                kind = "noise"
            return cls(result, kind, result.model, result.positive, result.weights, time_limit)
        if isinstance(result, PathFromStart):
            require_squared(result.problem, "explain")
            kind, positive = "limit" if result.ended else "stopped", not result.model.signed
            return cls(result, kind, result.model, positive, None, time_limit)
        raise TypeError(
            f"result must be a Recovery, FlowPath or Trajectory (of recover, flow or descend), got "
            f"{type(result).__name__}; for the limit from a given start ask hadaflow.recover(A, y, depth=, init_scale=)"
        )

    @property
    def problem(self) -> Problem:
        """The data."""
        return self.result.problem

    @property
    def x(self) -> Vector:
        """The answer."""
        return np.asarray(self.result.x, dtype=np.float64)

    @property
    def sign(self) -> Sign:
        """Of the model."""
        return "positive" if self.positive else "both"

    @property
    def reached(self) -> bool:
        """Whether the run came to something that theory speaks of."""
        status = self.result.status
        return status.ok or status is Status.INEXACT or (self.kind == "stopped" and status is not Status.DIVERGED)

    @property
    def depth(self) -> float | None:
        """D, where there is one."""
        return self.model.depth if isinstance(self.model, HadamardPower) else None

    @property
    def subject(self) -> str:
        """One line on the result."""
        m, n = self.problem.shape
        about = {"vanishing": "as the start vanishes", "noise": "within the noise level", "stopped": "a stopped path"}
        start = ""
        if self.model is not None:
            model = type(self.model).__name__ if self.depth is None else f"depth {self.depth:g}, {self.sign}"
            start = f" ({model}, product scale {self.result.product_scale:.3g})"
        return f"{m} x {n}, {self.result.status.name}: {about.get(self.kind, 'the limit')}{start}"

    @property
    def certificate(self) -> Certificate:
        """How far x is from the smallest l1 norm."""
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

    @property
    def resolution(self) -> float:
        """Smaller differences, in units of x and in the l1 norm, are due to rounding or to the residual."""
        return max(1e-8, self.rounding, self.magnification * self.certificate.residual) * float(np.abs(self.x).sum())

    @cached_property
    def magnification(self) -> float:
        """Relative l1 error of x per relative residual: ``sqrt(n) ||A|| / sigma``, sigma the smallest non-zero one.

        At least 1e4, and that where singular values would take too long.
        """
        if self.programme_seconds > self.time_limit:
            return _MAGNIFIED
        values = np.linalg.svd(self.matrix, compute_uv=False)
        values = values[values > max(self.matrix.shape) * np.finfo(np.float64).eps * values[0]]
        ratio = float(values[0] / values[-1]) if len(values) else 1.0
        return max(_MAGNIFIED, math.sqrt(self.matrix.shape[1]) * ratio)

    @cached_property
    def matrix(self) -> Vector:
        """All of A as an array."""
        return dense_columns(self.operator, np.arange(self.operator.shape[1]))

    @property
    def product_seconds(self) -> float:
        """What a product with A costs: as one with an array of its shape."""
        m, n = self.problem.shape
        return _PRODUCT * m * n

    @property
    def columns_seconds(self) -> float:
        """What all columns of A cost, where each is a product."""
        return self.problem.shape[1] * self.product_seconds if self.problem.operator.costs.matrix_free else 0.0

    @property
    def rerun_seconds(self) -> float:
        """What the result itself costs, by what it counted."""
        m, n = self.problem.shape
        stats = self.result.stats
        return stats.passes * self.product_seconds + stats.newton_steps * _SOLVE * m**2 * n

    @property
    def recovery_seconds(self) -> float:
        """What the smallest l1 norm costs."""
        m, n = self.problem.shape
        return _PRODUCTS * self.product_seconds if self.problem.operator.costs.matrix_free else _WALK * m**2 * n

    @property
    def programme_seconds(self) -> float:
        """What a linear programme with all of A costs."""
        m, n = self.problem.shape
        return _PROGRAMME * m**2 * n + self.columns_seconds

    def affords(self, seconds: float, what: str) -> bool:
        """Whether a row of that cost is within the limit; if not, this is noted."""
        if seconds > self.time_limit:
            self.left_out.append(f"{what} would take about {seconds:.0f} s; raise time_limit.")
        return seconds <= self.time_limit

    @property
    def clock(self) -> float:
        """Flow time of shared factors per unit of this run's."""
        return (
            1 / self.model.depth if isinstance(self.model, HadamardPower) and self.model.factors == "separate" else 1.0
        )

    @cached_property
    def init_scale(self) -> float | None:
        """The start a of every factor entry; None where it differs by coordinate, or cannot be derived."""
        if self.depth is None or self.result.product_scale <= 0:
            return None
        if not isinstance(self.result, Recovery):
            starts = np.asarray(self.result.init_scale)
            return float(starts.flat[0]) if np.ptp(starts) == 0 else None
        if not self.affords(self.rerun_seconds, "Telling a uniform start"):
            return None
        scale = self.result.product_scale ** (1 / self.depth)
        again = quietly(limit, self.problem, HadamardPower(self.depth, self.sign), init_scale=scale)
        size = max(1e-6, self.rounding) * float(np.abs(self.x).max(initial=0.0))
        return scale if np.abs(again.x - self.x).max(initial=0.0) <= size else None

    @cached_property
    def minimiser(self) -> Recovery | None:
        """A certified solution of smallest l1 norm; None where there is no proof."""
        found = self.result
        if self.kind == "limit":
            if not self.affords(self.recovery_seconds, "The minimal l1 norm"):
                return None
            found = quietly(recover, self.problem.A, self.problem.y, positive=self.positive)
        if not isinstance(found, Recovery):
            return None
        proved = found.status.ok and found.certificate.gap <= max(PROVED_GAP, self.rounding)
        return found if proved else None

    @cached_property
    def support(self) -> Index:
        """Support of the minimiser."""
        return np.flatnonzero(self.minimiser.x) if self.minimiser is not None else np.arange(0)

    @cached_property
    def smallest_certificate(self) -> CertificateSearch | None:
        """That of the minimiser."""
        if self.minimiser is None or not self.affords(self.programme_seconds, "The smallest dual certificate"):
            return None
        signs = np.sign(self.minimiser.x[self.support])
        return dual_certificate(self.operator, self.support, signs, sign=self.sign, minimal=True)

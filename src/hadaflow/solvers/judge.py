"""What the end of a search is called: as much as its certificate proves."""

from __future__ import annotations

import numpy as np

from hadaflow._span import Span
from hadaflow._types import Float, Vector
from hadaflow._validation import norm
from hadaflow.certificates import CLOSEST, MOST_COLUMNS, Certificate, certificate_of, exact_within, prove_fit
from hadaflow.gauges import Gauge
from hadaflow.operators.block import at_work
from hadaflow.problems import Problem
from hadaflow.results import Status
from hadaflow.solvers.path.finish import End
from hadaflow.units import UnitProblem

_EPS = float(np.finfo(np.float64).eps)


def judged(
    problem: Problem,
    gauge: Gauge,
    x: Float,
    dual: Vector,
    status: Status,
    *,
    noise_level: float = 0.0,
    most_columns: int = MOST_COLUMNS,
) -> tuple[Certificate, Status]:
    """The certificate of x, and a status that it proves, whatever x was thought to be.

    Parameters
    ----------
    problem : Problem
        The data as real numbers, in their own units; its operator may be metered.
    gauge : Gauge
        What x is thought to minimise.
    x, dual : ndarrays of shapes (n,) and (m,)
        The end of a search.
    status : Status
        What the search took it for.
    noise_level : float
        Of a status ``NOISE_LEVEL``.
    most_columns : int
        How many columns may be asked of a LinearOperator to prove uniqueness.
    """
    on = np.flatnonzero(x)
    certificate = certificate_of(
        problem,
        x.astype(np.float64),
        dual,
        gauge,
        noise_level=noise_level if status is Status.NOISE_LEVEL else 0.0,
        least_squares=status is Status.LEAST_SQUARES,
        on=np.union1d(on, gauge.free) if len(gauge.free) else on,
        measured=True,
        most_columns=most_columns,
    )
    exact = exact_within(problem)
    fits, minimal = exact.fits(certificate), certificate.gap <= exact.gap or certificate.unique
    if status is Status.LEAST_SQUARES:
        if fits:
            return judged(problem, gauge, x, dual, Status.EXACT, most_columns=most_columns)  # it fits after all
        if certificate.fit_gap > CLOSEST or not (minimal or _determined(problem, x)):
            # Then its gauge is compared with those of all x that carry y.
            return judged(problem, gauge, x, dual, Status.NOT_CONVERGED, most_columns=most_columns)
    if status in (Status.EXACT, Status.NOT_CONVERGED) and fits:  # given up, perhaps, but not before the end
        return certificate, Status.EXACT if minimal else Status.INEXACT
    return certificate, Status.NOT_CONVERGED if status is Status.EXACT else status


def proved(problem: Problem, unit: UnitProblem, end: End) -> Status:
    """The status of the end of a path, if it proves it, from four products: rows are not measured, nor uniqueness.

    The criterion is that of :func:`judged`, with rows as they are.
    """
    if end.status not in (Status.EXACT, Status.LEAST_SQUARES):
        return end.status
    operator, y, x, gauge, exact = unit.operator, unit.y, end.x, unit.gauge, exact_within(problem)
    fit, dual = operator.matvec_and_rmatvec(x, end.nu)
    terms = operator.abs_matvec(np.abs(x)) + np.abs(y)
    fits = bool((np.abs(fit - y) <= exact.backward_error * terms).all())
    fits = fits and norm(fit - y) <= exact.residual * norm(y)
    total, doubt = gauge.value(x), unit.doubt(norm(end.nu))
    minimal = total - float(fit @ end.nu) / max(1.0, gauge.dual(dual, doubt)) <= exact.gap * total
    if end.status is Status.EXACT or fits:
        return Status.EXACT if fits and minimal else Status.INEXACT
    eps = max(_EPS, unit.data_rounding)
    proof = prove_fit(operator, x, y, gauge, eps=eps, most_columns=MOST_COLUMNS)
    return Status.LEAST_SQUARES if proof.holds and minimal else Status.NOT_CONVERGED


def _determined(problem: Problem, x: Float) -> bool:
    """Whether no other vector has the same A x: all columns are on the support, and independent."""
    m, n = problem.shape
    if not problem.operator.costs.cheap_columns or not np.count_nonzero(x) == n <= m:
        return False
    return Span(at_work(problem.operator.columns(np.arange(n)))).rank == n

"""Where does gradient flow end? At the start's own notion of the simplest solution of A x = y."""

from __future__ import annotations

import math
import time
from contextlib import nullcontext
from dataclasses import dataclass, replace
from typing import NamedTuple

import numpy as np

from hadaflow._threads import one_blas_thread
from hadaflow._types import Float, Index, Vector
from hadaflow._validation import callback, instance, norm, positive_number, whole_number
from hadaflow.certificates import prove_fit
from hadaflow.convergence import told
from hadaflow.models import Branches, Model
from hadaflow.models.base import Scale, started
from hadaflow.problems import Problem, require_squared
from hadaflow.results import Limit, ProgressCallback, Stats, Status
from hadaflow.solvers.newton.continuation import Effort, Flow, Outcome, follow_scale
from hadaflow.solvers.newton.normal import FactoredEquations, NormalEquations, normal_equations
from hadaflow.solvers.path.finish import follow
from hadaflow.solvers.path.walk import Walk
from hadaflow.units import UnitProblem, to_unit

_FITTED, _ROUNDING = 1e-8, 1e3  # relative residual up to which y is carried, also in units of coarser data
_SMALL = 600  # rows below which a second BLAS thread has too little to do


def limit(
    problem: Problem,
    model: Model,
    *,
    init_scale: Scale,
    tolerance: float = 1e-12,
    max_steps: int = 200,
    progress: ProgressCallback | None = None,
) -> Limit:
    """The end point, t -> infinity, of gradient flow on ``1/2 ||A x - y||^2`` from the given start.

    It is ``x = B(A^T nu)`` with ``A x = y``; equivalently the minimiser of the model's potential ``sum_i Q(x_i)``
    over all solutions. For y outside the range of the model the flow ends at a least-squares point, found likewise.

    Parameters
    ----------
    problem : Problem
        Data, A of shape (m, n).
    model : Model
        Overparameterised model, for example ``HadamardPower(depth=3)``.
    init_scale : float or array_like of shape (n,)
        Starting value a > 0 of every factor entry, in units of ``x^(1/depth)``; one per coordinate for a non-uniform
        start.
    tolerance : float, default 1e-12
        Relative: both ``||A x - y|| / ||y||`` and the mismatch ``|x - B(A^T nu)|`` relative to the largest entry
        of x must fall below it.
    max_steps : int, default 200
        Newton steps allowed.
    progress : callable, optional
        Called with a :class:`hadaflow.Progress` after every Newton step.

    Returns
    -------
    Limit
        ``status`` is ``LIMIT``, ``LEAST_SQUARES`` or ``NOT_CONVERGED``.

    Raises
    ------
    TypeError, ValueError
        If an argument has the wrong kind or range.

    Warns
    -----
    ConvergenceWarning
        If the status is ``NOT_CONVERGED``.

    Notes
    -----
    Primal-dual Newton with continuation in the scale. Each of typically 20 to 40 steps forms and factors an m x m
    matrix, O(m^2 n + m^3); where that is too large, conjugate gradients with products only. Slacks to the barrier
    are variables of their own, so that tiny scales cost large entries no digits. Entries off the support are accurate
    beside the largest entry, not beside themselves: below product scales of about 1e-9 ask
    ``hadaflow.theory.limit_error`` for them. Source: docs/mathematics.md, "The limit"; papers A and C.

    Examples
    --------
    >>> import numpy as np, hadaflow as hf
    >>> problem = hf.Problem(np.array([[1.0, 0.5]]), np.array([1.0]))
    >>> end = hf.limit(problem, hf.HadamardPower(depth=3), init_scale=1e-2 ** (1 / 3))
    >>> np.round(end.x, 8)
    array([0.97965253, 0.04069493])
    """
    began = time.perf_counter()
    instance(problem, Problem, "problem")
    require_squared(problem, "limit")
    instance(model, Model, "model")
    callback(progress, "progress")
    tolerance = positive_number(tolerance, "tolerance")
    max_steps = whole_number(max_steps, "max_steps")
    init_scale, branches = started(model, init_scale, problem.shape[1])
    with one_blas_thread() if problem.shape[0] < _SMALL else nullcontext():
        end = _end(problem, model, init_scale, branches, Effort(tolerance, max_steps, progress), began)
    return told(end, f"{tolerance:.2g} of both")


def _end(
    problem: Problem, model: Model, init_scale: Scale, branches: Branches | None, effort: Effort, began: float
) -> Limit:
    unit = to_unit(problem, even=True)
    passes = 0.0
    found = _solved(unit, model, init_scale, branches, effort)
    if found.status is not Status.LIMIT and unit.row_factors is not None:  # out of reach rows count as they are
        passes, unit = unit.meter.passes, to_unit(problem)
        found = _solved(unit, model, init_scale, branches, effort)
    x, nu = unit.original_x(found.x).astype(problem.dtype), unit.original_dual(found.nu)
    product_scale = 0.0 if branches is None else model.product_scale(init_scale, problem.shape[1])
    size = norm(x) if problem.y.any() else product_scale  # a limit of zero is small relative to the start
    status = _checked(unit, problem, x, found.status, branches is not None and not model.signed, effort.tolerance, size)
    stats = Stats(time.perf_counter() - began, passes + unit.meter.passes, found.steps, 0, "limit", ("limit",))
    return Limit(x, nu, status, stats, found.residual, found.mismatch, problem, product_scale)


class _Found(NamedTuple):
    """The end of one run of the solver, in units of the scaled problem."""

    x: Vector
    nu: Vector
    status: Status
    steps: int
    residual: float
    mismatch: float


def _solved(unit: UnitProblem, model: Model, init_scale: Scale, branches: Branches | None, effort: Effort) -> _Found:
    if branches is None:
        x, nu, residual, status, steps = _affine_limit(unit, model, init_scale)
        return _Found(x, nu, status, steps, residual, 0.0)
    x, outcome, status = _Solver(unit, branches, effort).solve()
    return _Found(x, outcome.nu * branches.dual_scale, status, outcome.steps, outcome.residual, outcome.mismatch)


def _checked(
    unit: UnitProblem, problem: Problem, x: Float, status: Status, positive: bool, tolerance: float, size: float
) -> Status:
    """The status, if x proves it: every row fits, or nothing fits better."""
    wide, eps = x.astype(np.float64), float(np.finfo(problem.dtype).eps)
    y = problem.y.astype(np.float64)
    if status is Status.LIMIT:
        terms = unit.meter.row_lengths * size + np.abs(y)
        allowed = max(_FITTED, tolerance, _ROUNDING * eps)
        return status if (np.abs(unit.meter.matvec(wide) - y) <= allowed * terms).all() else Status.NOT_CONVERGED
    if status is Status.LEAST_SQUARES:
        proof = prove_fit(unit.meter, wide, y, positive=positive, eps=eps)
        return status if proof.holds else Status.NOT_CONVERGED
    return status


@dataclass
class _Solver:
    """Newton on the scaled problem, and what to do where it has no solution."""

    unit: UnitProblem
    branches: Branches
    effort: Effort

    def solve(self) -> tuple[Vector, Outcome, Status]:
        equations = normal_equations(self.unit.operator, self.unit.data_rounding)
        target, inconsistent = equations.project(self.unit.y)
        outcome = self._newton(equations, target, None)
        if outcome.converged and inconsistent:
            return outcome.x, outcome, Status.LEAST_SQUARES
        outcome = self._confirmed(outcome)
        if outcome.converged:
            return outcome.x, outcome, Status.LIMIT
        if self.branches.signed and np.isfinite(outcome.x).all():
            return outcome.x, outcome, Status.NOT_CONVERGED
        return self._constrained(outcome, isinstance(equations, FactoredEquations))

    def _confirmed(self, outcome: Outcome) -> Outcome:
        """The outcome with its residual in the data, which decides whether it is what was asked for."""
        residual = norm(self.unit.operator.matvec(outcome.x) - self.unit.y) / (norm(self.unit.y) or 1.0)
        allowed = max(_FITTED, self.effort.tolerance, _ROUNDING * self.unit.data_rounding)
        return replace(outcome, residual=residual, converged=outcome.converged and residual <= allowed)

    def _constrained(self, failed: Outcome, columns_at_hand: bool) -> tuple[Vector, Outcome, Status]:
        """Where Newton's method found no solution: there may be none, above all for non-negative x.

        The saddle path ends at the nearest point within reach. There the columns that point away from the residual are
        forced to zero; the flow drives them there, and what remains can be solved.
        """
        unit = self.unit
        walk = Walk(unit, positive=not self.branches.signed, verify_all=False)
        end = follow(walk)
        if self.branches.signed or end.status is not Status.LEAST_SQUARES or not columns_at_hand:
            if not np.isfinite(failed.x).all():
                failed = replace(failed, x=end.x, nu=end.nu / self.branches.dual_scale)
            return failed.x, failed, Status.NOT_CONVERGED
        columns = unit.operator.columns(np.arange(unit.operator.shape[1]))
        length = np.sqrt(np.asarray((columns * columns).sum(axis=0)).ravel())
        allowed = max(1e-9, 1e2 * unit.data_rounding)
        kept = np.flatnonzero(walk.speed >= -allowed * norm(walk.residual) * length)
        x = np.zeros(unit.operator.shape[1])
        nothing = replace(failed, x=x, nu=np.zeros_like(unit.y), residual=0.0, mismatch=0.0)
        if len(kept) == 0:
            return nothing.x, nothing, Status.LEAST_SQUARES
        part = FactoredEquations(columns[:, kept], unit.data_rounding)
        target, _ = part.project(unit.operator.matvec(end.x))
        outcome = self._newton(part, target, kept)
        if not outcome.converged:
            return end.x, replace(nothing, x=end.x), Status.NOT_CONVERGED
        x[kept] = outcome.x
        return x, outcome, Status.LEAST_SQUARES

    def _newton(self, equations: NormalEquations, target: Vector, kept: Index | None) -> Outcome:
        """Run the continuation, in the units of the scaled problem."""
        b = self.branches
        rest = b.rest if kept is None else b.rest[kept]
        shift = math.log(self.unit.size_a) - math.log(self.unit.size_y)
        flow = Flow(b.exponent, b.level + shift, rest, b.signed)
        return follow_scale(equations, target, flow, self.effort)


def _affine_limit(unit: UnitProblem, model: Model, init_scale: Scale) -> tuple[Vector, Vector, float, Status, int]:
    """Depth 1: the solution nearest to the start, ``x0 + A^T z`` with ``A A^T z = y - A x0``."""
    n = unit.operator.shape[1]
    origin: Vector = np.asarray(model.mirror_map(np.zeros(n), init_scale), dtype=np.float64)
    slope = float(np.max(model.slope(np.zeros(1), 1.0)))
    x0: Vector = origin * unit.size_a / unit.size_y
    equations = normal_equations(unit.operator, unit.data_rounding)
    target, inconsistent = equations.project(unit.y)
    x, nu = x0, equations.zero_dual()
    size = norm(target)
    for _ in range(10):  # refinement
        gap = target - equations.forward(x)
        if norm(gap) <= 1e-14 * size:
            break
        nu = nu + equations.solve(np.ones(n), gap)
        x = x0 + equations.backward(nu)
    residual = norm(target - equations.forward(x)) / size if size > 0 else norm(equations.forward(x))
    status = Status.LEAST_SQUARES if inconsistent else Status.LIMIT
    if residual > 1e-9:
        status = Status.NOT_CONVERGED
    dual = equations.lift(nu) * (unit.size_y / unit.size_a / slope)
    return x, dual, residual, status, 1

"""The end of a flow: Newton on the scaled problem, and what to do where it has no solution."""

from __future__ import annotations

import math
import time
from contextlib import nullcontext
from dataclasses import dataclass, replace
from typing import NamedTuple

import numpy as np

from hadaflow._threads import one_blas_thread
from hadaflow._types import Float, Index, Vector
from hadaflow._validation import norm
from hadaflow.certificates import prove_fit
from hadaflow.gauges import GroupNorm
from hadaflow.gauges.l1 import l1
from hadaflow.groups import Metric
from hadaflow.models import Mirror
from hadaflow.operators.block import lengths_of
from hadaflow.problems import Problem
from hadaflow.results import Limit, Stats, Status
from hadaflow.solvers.newton.continuation import Effort, Outcome, follow_scale
from hadaflow.solvers.newton.normal import FactoredEquations, NormalEquations, normal_equations
from hadaflow.solvers.newton.sides import Target
from hadaflow.solvers.path.finish import follow
from hadaflow.solvers.path.walk import Terms, Walk
from hadaflow.units import UnitProblem, to_unit

_FITTED, _ROUNDING = 1e-8, 1e3  # relative residual up to which y is carried, also in units of coarser data
_SMALL = 600  # rows below which a second BLAS thread has too little to do


def end_of_flow(problem: Problem, mirror: Mirror, effort: Effort) -> Limit:
    """The limit of the flow with this mirror map, checked on the answer itself."""
    began = time.perf_counter()
    groups = problem.groups
    with one_blas_thread() if problem.shape[0] < _SMALL else nullcontext():
        gauge = l1(None, not mirror.signed) if groups.single else GroupNorm(groups)
        unit = to_unit(problem, gauge, even=True)
        passes = 0.0
        found = _solved(unit, mirror, effort)
        if found.status is not Status.LIMIT and unit.row_factors is not None:  # out of reach rows count as they are
            passes, unit = unit.meter.passes, to_unit(problem, gauge)
            found = _solved(unit, mirror, effort)
        x, nu = unit.original_x(found.x).astype(problem.dtype), unit.original_dual(found.nu)
        product_scale = mirror.product_scale
        size = norm(x) if problem.y.any() else product_scale  # a limit of zero is small relative to the start
        status = _checked(unit, problem, x, found.status, effort.tolerance, size)
        x, nu = problem.layout.x(x), problem.layout.y(nu)
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


def _solved(unit: UnitProblem, mirror: Mirror, effort: Effort) -> _Found:
    if mirror.affine:
        return _affine_limit(unit, mirror)
    x, outcome, status = _Solver(unit, mirror, effort).solve()
    return _Found(x, outcome.nu * mirror.unit, status, outcome.steps, outcome.residual, outcome.mismatch)


def _checked(unit: UnitProblem, problem: Problem, x: Float, status: Status, tolerance: float, size: float) -> Status:
    """The status, if x proves it: every row fits, or nothing fits better."""
    wide, eps = x.astype(np.float64), float(np.finfo(problem.dtype).eps)
    y = problem.y.astype(np.float64)
    if status is Status.LIMIT:
        terms = unit.meter.row_lengths * size + np.abs(y)
        allowed = max(_FITTED, tolerance, _ROUNDING * eps)
        return status if (np.abs(unit.meter.matvec(wide) - y) <= allowed * terms).all() else Status.NOT_CONVERGED
    if status is Status.LEAST_SQUARES:
        proof = prove_fit(unit.meter, wide, y, unit.gauge, eps=eps)
        return status if proof.holds else Status.NOT_CONVERGED
    return status


@dataclass
class _Solver:
    """Newton on the scaled problem, and what to do where it has no solution."""

    unit: UnitProblem
    mirror: Mirror
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
        finite = bool(np.isfinite(outcome.x).all())
        if not self.unit.gauge.polyhedral and not finite:
            outcome = replace(outcome, x=np.zeros_like(outcome.x), nu=np.zeros_like(self.unit.y))
        if not self.unit.gauge.polyhedral or (self.mirror.signed and finite):
            return outcome.x, outcome, Status.NOT_CONVERGED
        if not self.unit.gauge.groups.single:  # no saddle path of steps to start anew from
            x, nu = (np.where(np.isfinite(each), each, 0.0) for each in (outcome.x, outcome.nu))
            return x, replace(outcome, nu=nu), Status.NOT_CONVERGED
        return self._constrained(outcome, equations.factored)

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
        walk = Walk(unit, Terms())
        end = follow(walk)
        if self.mirror.signed or end.status is not Status.LEAST_SQUARES or not columns_at_hand:
            if not np.isfinite(failed.x).all():
                failed = replace(failed, x=end.x, nu=end.nu / self.mirror.unit)
            return failed.x, failed, Status.NOT_CONVERGED
        columns = unit.operator.columns(np.arange(unit.operator.shape[1]))
        length = lengths_of(columns)
        allowed = max(1e-9, 1e2 * unit.data_rounding)
        kept = np.flatnonzero(walk.at.correlation >= -allowed * norm(walk.at.residual) * length)
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
        """Run the continuation, in units of the scaled problem and of the mirror."""
        mirror, n, groups = self.mirror, self.unit.operator.shape[1], self.unit.gauge.groups
        log_x = math.log(self.unit.size_y) - math.log(self.unit.size_a)
        branches = [branch.in_units(mirror.unit, log_x, groups.count or n) for branch in mirror.branches]
        grade, origin = np.zeros(n), np.zeros(n)
        if mirror.linear is not None:
            grade += np.asarray(mirror.linear.grade) * mirror.unit / math.exp(log_x)
            origin += np.asarray(mirror.linear.origin) / math.exp(log_x)
        if kept is not None:
            branches, grade, origin = [branch.on(kept) for branch in branches], grade[kept], origin[kept]
        return follow_scale(equations, Target(target, tuple(branches), grade, origin, groups), self.effort)


def _affine_limit(unit: UnitProblem, mirror: Mirror) -> _Found:
    """Depth 1: the solution nearest to the start, ``x0 + A^T z`` with ``A A^T z = y - A x0``."""
    n = unit.operator.shape[1]
    groups = unit.gauge.groups
    rest = np.zeros(groups.count or n)
    grade: Vector = np.asarray(groups.spread(np.asarray(mirror.slope(rest))))
    x0: Vector = np.asarray(groups.spread(np.asarray(mirror.x(rest), dtype=np.float64))) * unit.size_a / unit.size_y
    equations = normal_equations(unit.operator, unit.data_rounding)
    target, inconsistent = equations.project(unit.y)
    x, nu = x0, equations.zero_dual()
    size, relative = norm(target), grade / grade.max()
    solve = equations.system(Metric.of_diagonal(relative))
    for _ in range(10):  # refinement
        gap = target - equations.forward(x)
        if norm(gap) <= 1e-14 * size:
            break
        nu = nu + solve(gap)
        x = x0 + relative * equations.backward(nu)
    residual = norm(target - equations.forward(x)) / size if size > 0 else norm(equations.forward(x))
    status = Status.LEAST_SQUARES if inconsistent else Status.LIMIT
    if residual > 1e-9:
        status = Status.NOT_CONVERGED
    dual = equations.lift(nu) * (unit.size_y / unit.size_a / float(grade.max()))
    return _Found(x, dual, status, 1, residual, 0.0)

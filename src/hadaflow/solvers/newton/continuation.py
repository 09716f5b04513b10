"""Primal-dual Newton with continuation in the scale: the engine of :mod:`hadaflow.dynamics.limit`.

Unknowns are the values p (and q, if signed) of each branch, with ``x = p - q``, the dual state nu, and the slacks ``s =
rest -/+ theta`` of ``theta = A^T nu``. Newton's method is applied to ``A (p - q) = y`` and to the *logarithms* of ``p =
phi(s)``::

    dp / p = steepness(s) dtheta + e,     e = log phi(s) - log p,     steepness = -d log phi / ds

which leaves one m x m system, ``A diag(p steepness + q steepness) A^T dnu = y - A x - A (p e - q e)``. Unlike
Newton on nu alone it neither overshoots where x is large (there log phi is nearly linear in log p) nor loses digits
near a barrier (slacks are carried, never recomputed).

In groups theta is a radius times a direction in each of them, and the values are those of the radius. As the direction
turns the radius grows: what that takes from a slack, the ``slack_error``, is an unknown of its own, which Newton's
method closes like any other mismatch. Single coordinates have none. docs/mathematics.md, "The limit" and "Groups".
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

import numpy as np

from hadaflow._types import Vector
from hadaflow._validation import norm
from hadaflow.groups import Metric
from hadaflow.models import Branch
from hadaflow.results import Progress, ProgressCallback
from hadaflow.solvers.newton.normal import NormalEquations
from hadaflow.solvers.newton.sides import Side, Target

_SHRINK = math.log(1e-1)  # of the scale in the first stage; a stage that goes well makes the next one bolder
_BOLDEST = math.log(1e-3)
_LOOSE = 0.1  # accuracy that a stage needs before the next begins
_MISSED = 1e-7  # fraction of the slacks of large entries that no nu gives, if their columns are independent
_BENT = 6.0  # square of a move across, relative to the radius, that a step without a barrier may take
_TURNABLE = 0.05  # of the way to a barrier, that has to be left for a slack to be taken from a new direction
_NEGLIGIBLE = 1e-18  # relative size below which an entry of x changes no digit of A x


@dataclass(frozen=True)
class Effort:
    """How far to go: see :func:`hadaflow.limit`."""

    tolerance: float
    max_steps: int
    progress: ProgressCallback | None


@dataclass(frozen=True)
class Outcome:
    """End of the continuation, in the units of the scaled problem."""

    x: Vector
    nu: Vector
    residual: float
    mismatch: float
    steps: int
    converged: bool


class Continuation:
    """The state of the solver and its moves."""

    def __init__(self, equations: NormalEquations, target: Target) -> None:
        self.equations, self.target = equations, target
        n, self.groups = len(target.grade), target.groups
        self.size_y = norm(target.y) or 1.0
        guess = equations.backward(equations.system(Metric.of_diagonal(np.ones(n)))(target.y))
        self.size_x = float(self.groups.norms(guess).max(initial=0.0)) or 1.0
        # Begin where the start is as large as x.
        largest = max(float(branch.log_phi(branch.rest).max(initial=-np.inf)) for branch in target.branches)
        self.first = self.raised = max(0.0, math.log(self.size_x) - largest)
        self.branches = self._raised_branches()
        self.families = [Side.all_of(branch, self.groups) for branch in self.branches]
        self.sides = [side for sides in self.families for side in sides]
        self.theta = np.zeros(n)
        self.radius, self.direction = self.groups.polar(self.theta)
        self.slack_error = np.zeros_like(self.radius)
        self.nu = equations.zero_dual()
        self.length = 1.0
        self.measure()

    def _raised_branches(self) -> list[Branch]:
        """The branches at the scale of the present stage."""
        return [branch.raised(self.raised) for branch in self.target.branches]

    @property
    def last(self) -> bool:
        return self.raised == 0.0

    @property
    def fraction(self) -> float:
        """How much of the continuation is done."""
        return 1 - self.raised / self.first if self.first > 0 else 1.0

    def measure(self) -> None:
        """x, its residual, and how far the values are from their slacks."""
        radial = np.zeros_like(self.radius)
        for branch, sides in zip(self.branches, self.families, strict=True):
            # With a start larger than x the two sides nearly cancel: there x is taken from the dual state instead.
            gentle = np.zeros(len(self.radius), dtype=bool)
            if branch.signed and self.raised >= self.first:
                gentle = branch.gentle(self.radius)
            for side in sides:
                side.weigh(gentle)
            part = sum((side.sign * side.value for side in sides), np.zeros_like(self.radius))
            radial = radial + np.where(gentle, branch.x(np.where(gentle, self.radius, 0.0)), part)
        self.radial = radial
        self.x = self.target.origin + self.target.grade * self.theta + self.groups.spread(radial) * self.direction
        self.gap = self.target.y - self.equations.forward(self.x)
        self.residual = norm(self.gap) / self.size_y
        self.mismatch = max(side.mismatch() for side in self.sides) / self.size_x
        if not self.groups.single:
            missing = np.abs(self.slack_error) * self._stiffness()
            self.mismatch = max(self.mismatch, float(missing.max(initial=0.0)) / self.size_x)

    def _stiffness(self) -> Vector:
        """Slope of x along the radius, shape (G,)."""
        return sum((side.value * side.branch.steepness(side.slack) for side in self.sides), np.zeros_like(self.radius))

    def outcome(self) -> Outcome:
        """Where it stands, nu not lifted yet."""
        return Outcome(self.x, self.nu, self.residual, self.mismatch, 0, converged=False)

    def lower(self, shrink: float) -> None:
        """Begin the next stage."""
        self._rescale(max(0.0, self.raised + shrink))
        self.measure()

    def _rescale(self, raised: float) -> None:
        """Count the values at another scale; they and their slacks stay."""
        self.raised = raised
        self.branches = self._raised_branches()
        for branch, sides in zip(self.branches, self.families, strict=True):
            for side in sides:
                side.branch = branch

    def step(self) -> None:
        """One Newton step on all unknowns."""
        stiffness, shift = self._stiffness(), np.zeros_like(self.radius)
        for side in self.sides:
            shift += side.sign * side.value * side.branch.secant(side.error, side.slack)
        shift = self.groups.spread(shift - stiffness * self.slack_error) * self.direction
        direction = self.equations.system(self._metric(stiffness))(self.gap - self.equations.forward(shift))
        moved = self.equations.backward(direction)
        along = self.groups.along(moved, self.direction)
        growth = along - self.slack_error
        self.length = min(side.longest(growth, _NEGLIGIBLE * self.size_x) for side in self.sides)
        across = self._across(moved, along)
        for side in self.sides:
            side.move(self.length, growth, math.log(1e3 * self.size_x))
        self.nu = self.nu + self.length * direction
        self.theta = self.theta + self.length * moved
        ahead = self.radius + self.length * along
        self.radius, self.direction = self.groups.polar(self.theta)
        if not self.groups.single:
            self._turn(ahead, across)
        self.measure()

    def _metric(self, stiffness: Vector) -> Metric:
        """How x answers to a small move of theta."""
        if self.groups.single:
            return Metric.of_diagonal(self.target.grade + stiffness)
        grade = self.groups.sums(self.target.grade) / self.groups.sizes
        known = (self.radius > 1e-8) & (self.radial > 0)  # values far from their slacks may have the other sign
        across = np.divide(self.radial, self.radius, out=stiffness.copy(), where=known)
        return Metric(self.groups, grade + stiffness, grade + across, self.direction)

    def _across(self, moved: Vector, along: Vector) -> Vector:
        """Square length of a move of theta across its direction; shortens the step where x would turn too far."""
        if self.groups.single:
            return along
        across = np.maximum(self.groups.norms(moved) ** 2 - along**2, 0.0)
        if not self.target.barrier:
            alive = np.abs(self.radial) > _NEGLIGIBLE * self.size_x
            room = np.sqrt(_BENT * np.maximum(self.radius, 1.0) / np.maximum(across, 1e-300))
            self.length = min(self.length, float(room[alive].min(initial=np.inf)))
        return across

    def _turn(self, ahead: Vector, across: Vector) -> None:
        """What turning took from the slacks; they are taken from the radius anew where that costs no digits."""
        self.slack_error = (1 - self.length) * self.slack_error - self.length**2 * across / np.maximum(
            self.radius + np.abs(ahead), 1e-300
        )
        turned = ahead < 0
        for branch in self.branches:
            if branch.barrier:
                turned &= branch.rest - self.radius > _TURNABLE * branch.rest
        renewed = turned | np.logical_and.reduce([branch.gentle(self.radius) for branch in self.branches])
        for side in self.sides:
            side.renew(turned, self.radius, math.log(self.size_x))
        self.slack_error = np.where(renewed, 0.0, self.slack_error)

    def jump(self) -> bool:
        """Go to the last scale at once if no entry of x would change any more; False if some would.

        With a barrier, once all entries away from it are negligible and the columns of the others are independent, x is
        settled: what remains is to shrink the slacks of its large entries to their new values and to move nu along.
        """
        if (
            not self.groups.single
            or not self.target.barrier
            or self.last
            or len(self.target.branches) > 1
            or self.target.grade.any()
        ):
            return False
        near = [side.slack < 1e-2 * side.branch.rest for side in self.sides]
        tiny = _NEGLIGIBLE * self.size_x
        if any(float(side.value[~mask].max(initial=0.0)) > tiny for side, mask in zip(self.sides, near, strict=True)):
            return False
        (branch,) = self.target.branches
        wanted, weight = np.zeros_like(self.theta), np.full_like(self.theta, 1e-10)
        shrunk = []
        for side, mask in zip(self.sides, near, strict=True):
            shrunk.append(branch.slack_of(np.log(side.value))[mask])
            wanted[mask] = side.sign * (side.slack[mask] - shrunk[-1])
            weight[mask] = 1.0
        direction = self.equations.system(Metric.of_diagonal(weight))(self.equations.forward(weight * wanted))
        moved = self.equations.backward(direction)
        missed = float(np.abs((moved - wanted)[weight == 1.0]).max(initial=0.0))
        if missed > _MISSED * float(np.abs(wanted).max()):
            return False  # dependent columns: how they share x changes with the scale
        self._rescale(0.0)
        for side, mask, slack in zip(self.sides, near, shrunk, strict=True):
            side.slack = np.maximum(side.slack - side.sign * moved, 1e-3 * branch.rest)
            side.slack[mask] = slack
            side.value = np.where(mask, side.value, np.exp(branch.log_phi(side.slack)))
        self.nu = self.nu + direction
        self.theta = self.theta + moved
        self.measure()
        return True


def follow_scale(equations: NormalEquations, target: Target, effort: Effort) -> Outcome:
    """Solve the system, coming from the scale at which x fills all coordinates alike."""
    with np.errstate(all="ignore"):  # a run out of the range of floats is caught below
        return _follow(Continuation(equations, target), effort)


def _follow(state: Continuation, effort: Effort) -> Outcome:
    steps = in_stage = stalled = 0
    shrink, best, end = _SHRINK, math.inf, state.outcome()
    while True:
        worst, finite = max(state.residual, state.mismatch), math.isfinite(state.residual + state.mismatch)
        stalled = stalled + 1 if state.last and worst > 0.5 * best else 0
        if worst < best or not finite:
            best, end = worst, state.outcome()
        # Below 1e-9 a state that no longer improves has met the rounding of A x.
        converged = finite and state.last and (worst <= effort.tolerance or (stalled >= 3 and best <= 1e-9))
        if converged or steps >= effort.max_steps or not finite:
            return replace(end, nu=state.equations.lift(end.nu), steps=steps, converged=converged)
        if not state.last:
            best = math.inf  # other scales do not count
        if not state.last and worst < _LOOSE and state.length > 0.5 and not state.jump():
            shrink = _next_shrink(shrink, in_stage)
            state.lower(shrink)
            in_stage = 0
        state.step()
        steps += 1
        in_stage += 1
        if effort.progress is not None:
            message = f"Newton step {steps}, residual {state.residual:.1e}"
            effort.progress(Progress("limit", 0.9 * state.fraction, message))


def _next_shrink(shrink: float, steps: int) -> float:
    """How much to lower the scale after a stage of so many steps."""
    if steps > 6:
        return shrink / 1.3
    return max((1.5 if steps <= 3 else 1.2) * shrink, _BOLDEST)

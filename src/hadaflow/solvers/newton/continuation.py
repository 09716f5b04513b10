"""Primal-dual Newton with continuation in the scale: the engine of :mod:`hadaflow.dynamics.limit`.

Unknowns are the values p (and q, if signed) of each branch, with ``x = p - q``, the dual state nu, and the slacks ``s =
rest -/+ theta`` of ``theta = A^T nu``. Newton's method is applied to ``A (p - q) = y`` and to the *logarithms* of ``p =
phi(s)``::

    dp / p = steepness(s) dtheta + e,     e = log phi(s) - log p,     steepness = -d log phi / ds

which leaves one m x m system, ``A diag(p steepness + q steepness) A^T dnu = y - A x - A (p e - q e)``. Unlike
Newton on nu alone it neither overshoots where x is large (there log phi is nearly linear in log p) nor loses digits
near a barrier (slacks are carried, never recomputed).

In groups theta is a radius times a direction in each of them, and the values are those of the radius. It bends as the
direction turns: what that takes from a slack is an unknown of its own, the ``bend``, which Newton's method closes like
any other mismatch. Single coordinates have no bend. docs/mathematics.md, "The limit" and "Groups".
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field, replace

import numpy as np

from hadaflow._types import Mask, Vector
from hadaflow._validation import norm
from hadaflow.groups import Groups, Metric
from hadaflow.models import Branch
from hadaflow.results import Progress, ProgressCallback
from hadaflow.solvers.newton.normal import NormalEquations

_SHRINK = math.log(1e-1)  # of the scale in the first stage; a stage that goes well makes the next one bolder
_BOLDEST = math.log(1e-3)
_BOUNDARY = 0.95  # fraction of the way to a barrier that a step may go
_KEEP = 0.1  # a branch that would shrink below this fraction is taken from its slack instead
_LOOSE = 0.1  # accuracy that a stage needs before the next begins
_MISSED = 1e-7  # fraction of the slacks of large entries that no nu gives, if their columns are independent
_BENT = 6.0  # square of a move across, relative to the radius, that a step without a barrier may take
_NEGLIGIBLE = 1e-18  # relative size below which an entry of x changes no digit of A x


@dataclass(frozen=True)
class Target:
    """The system ``A B(A^T nu) = y`` in units in which its numbers are of order one.

    Attributes
    ----------
    y : ndarray of shape (m,)
        The right-hand side, within the range of A.
    branches : tuple of Branch
        The curved parts of B, for all G groups.
    grade, origin : ndarray of shape (n,)
        Its linear part, ``origin + grade theta``.
    groups : Groups
        The coordinates whose theta is a radius and a direction; by default each for itself.
    """

    y: Vector
    branches: tuple[Branch, ...]
    grade: Vector
    origin: Vector
    groups: Groups = field(default_factory=Groups)

    @property
    def barrier(self) -> bool:
        return all(branch.barrier for branch in self.branches)


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


@dataclass
class _Side:
    """One sign of one branch: its values, their slacks, how far both are apart, and how it enters x."""

    branch: Branch
    sign: float
    value: Vector
    slack: Vector
    error: Vector
    follows: bool

    @classmethod
    def all_of(cls, branch: Branch, groups: Groups) -> list[_Side]:
        """Both signs. A radius of a group is never negative: there the second side only shrinks, and follows."""
        log_start = branch.log_phi(branch.rest)
        signs = (1.0, -1.0) if branch.signed else (1.0,)
        return [
            cls(branch, sign, np.exp(log_start), branch.rest.copy(), np.zeros_like(log_start), _follows(sign, groups))
            for sign in signs
        ]

    def weigh(self, gentle: Mask) -> None:
        """Compare the values with their slacks; where a value is safe to be taken from its slack, take it."""
        log_phi = self.branch.log_phi(self.slack)
        error = log_phi - np.log(self.value)
        # Below its size at rest a value is bounded by its slack, so that it may be raised to it at no risk.
        bound = gentle | ((self.slack >= self.branch.rest) & (error > 0)) | self.follows
        self.value = np.where(bound, np.exp(np.minimum(log_phi, 700.0)), self.value)
        self.error = np.where(bound, 0.0, error)

    def mismatch(self) -> float:
        """Largest error, in units of x."""
        # What a slack says of its value counts where that is the larger one, too: else nu would be left behind.
        size = np.where(self.error > 0, np.expm1(np.minimum(self.error, 100.0)), -self.error)
        return float((size * self.value).max(initial=0.0))

    def move(self, length: float, moved: Vector, most: float) -> None:
        """Take a Newton step of this length along ``moved``, a change of theta; the log of x stays below ``most``."""
        growth = self.branch.steepness(self.slack) * self.sign * moved + self.branch.secant(self.error, self.slack)
        value = self.value * (1 + length * growth)
        self.slack = self.slack - length * self.sign * moved
        curved = np.exp(np.minimum(self.branch.log_phi(self.slack), most))
        self.value = np.where(value < _KEEP * self.value, np.minimum(curved, self.value), value)

    def renew(self, turned: Mask, radius: Vector, most: float) -> None:
        """Take slacks from the radius, where that costs no digits; and values, where a group has turned round."""
        slack = self.branch.rest - self.sign * radius
        near = self.branch.gentle(radius) | turned
        self.slack = np.where(near, slack, self.slack)
        fresh = np.exp(np.minimum(self.branch.log_phi(self.slack), most))
        self.value = np.where(turned, np.minimum(fresh, self.value), self.value)

    def longest(self, moved: Vector, negligible: float) -> float:
        """The longest step, at most 1, that stays inside the barrier, or without one within twenty powers of e."""
        growth = self.sign * moved
        if self.branch.barrier:
            towards = growth > 0
            return min(1.0, _BOUNDARY * float((self.slack[towards] / growth[towards]).min(initial=np.inf)))
        growth = self.branch.steepness(self.slack) * growth
        room = math.log(negligible) - np.log(self.value)  # entries that are and stay negligible do not count
        free = np.where(growth > 0, np.maximum(room, 20.0), np.where(room > 0, np.inf, 20.0))
        return min(1.0, float((free / np.maximum(np.abs(growth), 1e-300)).min()))


def _follows(sign: float, groups: Groups) -> bool:
    return sign < 0 and not groups.single


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
        self.families = [_Side.all_of(branch, self.groups) for branch in self.branches]
        self.sides = [side for sides in self.families for side in sides]
        self.theta = np.zeros(n)
        self.radius, self.direction = self.groups.polar(self.theta)
        self.bend = np.zeros_like(self.radius)
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
            bent = np.abs(self.bend) * self._stiffness()
            self.mismatch = max(self.mismatch, float(bent.max(initial=0.0)) / self.size_x)

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
        shift = self.groups.spread(shift - stiffness * self.bend) * self.direction
        direction = self.equations.system(self._metric(stiffness))(self.gap - self.equations.forward(shift))
        moved = self.equations.backward(direction)
        along = self.groups.along(moved, self.direction)
        growth = along - self.bend
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
        safe = (self.radius > 1e-8) & (self.radial > 0)  # on the way its two sides may have crossed
        across = np.divide(self.radial, self.radius, out=stiffness.copy(), where=safe)
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
        self.bend = (1 - self.length) * self.bend - self.length**2 * across / np.maximum(
            self.radius + np.abs(ahead), 1e-300
        )
        turned = ahead < 0
        renewed = turned | np.logical_and.reduce([branch.gentle(self.radius) for branch in self.branches])
        for side in self.sides:
            side.renew(turned, self.radius, math.log(self.size_x))
        self.bend = np.where(renewed, 0.0, self.bend)

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

"""Primal-dual Newton with continuation in the scale: the engine of :mod:`hadaflow.dynamics.limit`.

Unknowns are the branches p (and q, if signed) with ``x = p - q``, the dual state nu, and the slacks ``s = rest -/+
z`` of ``z = A^T nu``. Newton's method is applied to ``A (p - q) = y`` and to the *logarithms* of ``p = phi(s)``::

    dp / p = rate(s) dz + e,     e = log phi(s) - log p,     rate = -d log phi / ds

which leaves one m x m system, ``A diag(p rate + q rate) A^T dnu = y - A x - A (p e - q e)``. Unlike Newton on nu
alone it neither overshoots where x is large (there log phi is nearly linear in log p) nor loses digits near a
barrier (slacks are carried, never recomputed). docs/mathematics.md, "The limit".
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from hadaflow._types import Vector
from hadaflow._validation import norm
from hadaflow.results import Progress, ProgressCallback
from hadaflow.solvers.newton.normal import NormalEquations

_SHRINK = math.log(1e-1)  # of the scale in the first stage; a stage that goes well makes the next one bolder
_BOLDEST = math.log(1e-3)
_BOUNDARY = 0.95  # share of the way to a barrier that a step may go
_KEEP = 0.1  # a branch that would shrink below this share is taken from its slack instead
_LOOSE = 0.1  # accuracy that a stage needs before the next begins
_GENTLE = 0.8  # share of the way to the barrier (depth 2: of a factor e) up to which B is nearly linear
_MISSED = 1e-7  # share of the slacks of large entries that no nu gives, if their columns are independent
_NEGLIGIBLE = 1e-18  # relative size below which an entry of x changes no digit of A x


@dataclass(frozen=True)
class Flow:
    """The branches of a model in the units of the scaled problem; see :class:`hadaflow.models.Branches`."""

    exponent: float
    level: float
    rest: Vector
    signed: bool

    @property
    def has_barrier(self) -> bool:
        return math.isfinite(self.exponent)

    def log_size(self, slack: Vector, level: float) -> Vector:
        """log phi(s)."""
        return level - self.exponent * np.log(slack) if self.has_barrier else level - slack

    def slack_of(self, log_size: Vector, level: float) -> Vector:
        """The s with log phi(s) = log_size."""
        return np.exp((level - log_size) / self.exponent) if self.has_barrier else level - log_size

    def rate(self, slack: Vector) -> Vector:
        """-d log phi / ds."""
        return self.exponent / slack if self.has_barrier else np.ones_like(slack)

    def secant(self, error: Vector, slack: Vector) -> Vector:
        """The mismatch as Newton should see it, exact along the unknown that will take it up.

        A branch that is too large for its slack (error < 0, as when the level has just been lowered) closes the
        mismatch by its slack alone near the barrier, by its value alone far from it.
        """
        falling = np.minimum(error, 0.0)
        by_value = np.expm1(falling)
        by_slack = self.exponent * np.expm1(falling / self.exponent) if self.has_barrier else np.maximum(falling, -50.0)
        near = slack < 0.5 * self.rest if self.has_barrier else slack < self.rest - 1
        return np.where(error < 0, np.where(near, by_slack, by_value), np.minimum(error, 50.0))

    def gentle(self, z: Vector) -> NDArray[np.bool_]:
        """Where B is nearly linear, so that Newton on nu alone is safe and x = B(z) is exact."""
        return np.abs(z) < (_GENTLE * self.rest if self.has_barrier else _GENTLE)

    def difference(self, z: Vector, level: float) -> Vector:
        """phi(rest - z) - phi(rest + z) without cancellation, for gentle z."""
        if not self.has_barrier:
            return np.asarray(2 * np.exp(level - self.rest) * np.sinh(z))
        ratio = z / self.rest
        lift = level - self.exponent * np.log(self.rest) - self.exponent / 2 * np.log1p(-ratio * ratio)
        return np.asarray(2 * np.exp(lift) * np.sinh(self.exponent * np.arctanh(ratio)))


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
class _Branch:
    """One sign: its values, their slacks, and the sign with which it enters x."""

    sign: float
    value: Vector
    slack: Vector


class Continuation:
    """The state of the solver and its moves."""

    def __init__(self, equations: NormalEquations, target: Vector, flow: Flow) -> None:
        self.equations, self.target, self.flow = equations, target, flow
        self.size_y = norm(target) or 1.0
        guess = equations.backward(equations.solve(np.ones(len(flow.rest)), target))
        self.size_x = float(np.abs(guess).max(initial=0.0)) or 1.0
        # Begin where the start is as large as x. Without a barrier a level is counted from the slack at rest.
        self.first = math.log(self.size_x) + (0.0 if flow.has_barrier else float(flow.rest.min()))
        self.level = max(flow.level, self.first)
        start = np.exp(flow.log_size(flow.rest, self.level))
        signs = (1.0, -1.0) if flow.signed else (1.0,)
        self.branches = [_Branch(sign, start.copy(), flow.rest.copy()) for sign in signs]
        self.z = np.zeros(len(flow.rest))
        self.nu = equations.zero_dual()
        self.length = 1.0
        self.measure()

    @property
    def last(self) -> bool:
        return self.level == self.flow.level

    @property
    def share(self) -> float:
        """How much of the continuation is done."""
        whole = self.first - self.flow.level
        return min(1.0, (self.first - self.level) / whole) if whole > 0 else 1.0

    def measure(self) -> None:
        """x, what it leaves of the target, and how far the branches are from their slacks."""
        flow = self.flow
        # With a start larger than x the branches nearly cancel: there x is taken from the dual state instead.
        gentle = np.zeros(len(self.z), dtype=bool)
        if flow.signed and self.level >= self.first:
            gentle = flow.gentle(self.z)
        self.errors = []
        for branch in self.branches:
            log_size = flow.log_size(branch.slack, self.level)
            error = log_size - np.log(branch.value)
            # Below its size at rest a branch is bounded by its slack, so that it may be raised to it at no risk.
            bound = gentle | ((branch.slack >= flow.rest) & (error > 0))
            branch.value = np.where(bound, np.exp(np.minimum(log_size, 700.0)), branch.value)
            self.errors.append(np.where(bound, 0.0, error))
        self.x = self.branches[0].value
        if flow.signed:
            plain = self.x - self.branches[1].value
            self.x = np.where(gentle, flow.difference(np.where(gentle, self.z, 0.0), self.level), plain)
        self.gap = self.target - self.equations.forward(self.x)
        self.residual = norm(self.gap) / self.size_y
        # What a slack says of its branch counts, too, where that is the larger one: else nu would be left behind.
        told = (np.where(e > 0, np.expm1(np.minimum(e, 100.0)), -e) for e in self.errors)
        worst = max(float((e * b.value).max()) for e, b in zip(told, self.branches, strict=True))
        self.mismatch = worst / self.size_x

    def outcome(self) -> Outcome:
        """Where it stands, nu not lifted yet."""
        return Outcome(self.x, self.nu, self.residual, self.mismatch, 0, converged=False)

    def lower(self, shrink: float) -> None:
        """Begin the next stage."""
        self.level = max(self.flow.level, self.level + shrink)
        self.measure()

    def step(self) -> None:
        """One Newton step on all unknowns."""
        flow, equations = self.flow, self.equations
        rates = [flow.rate(b.slack) for b in self.branches]
        errors = [flow.secant(e, b.slack) for e, b in zip(self.errors, self.branches, strict=True)]
        weight, pulled = np.zeros_like(self.z), np.zeros_like(self.z)
        for branch, rate, error in zip(self.branches, rates, errors, strict=True):
            weight += branch.value * rate
            pulled += branch.sign * branch.value * error
        direction = equations.solve(weight, self.gap - equations.forward(pulled))
        moved = equations.backward(direction)
        self.length = self._longest(moved)
        for branch, rate, error in zip(self.branches, rates, errors, strict=True):
            value = branch.value * (1 + self.length * (rate * branch.sign * moved + error))
            branch.slack = branch.slack - self.length * branch.sign * moved
            bent = np.exp(np.minimum(flow.log_size(branch.slack, self.level), math.log(1e3 * self.size_x)))
            branch.value = np.where(value < _KEEP * branch.value, np.minimum(bent, branch.value), value)
        self.nu = self.nu + self.length * direction
        self.z = self.z + self.length * moved
        self.measure()

    def _longest(self, moved: Vector) -> float:
        """The longest step, at most 1, that stays inside every barrier (depth 2: within twenty powers of e)."""
        if not self.flow.has_barrier:
            return min(1.0, *(self._within_powers(branch, branch.sign * moved) for branch in self.branches))
        length = 1.0
        for branch in self.branches:
            towards = branch.sign * moved > 0
            if towards.any():
                room = branch.slack[towards] / np.abs(moved[towards])
                length = min(length, _BOUNDARY * float(room.min()))
        return length

    def _within_powers(self, branch: _Branch, growth: Vector) -> float:
        """The share of a step within twenty powers of e, where entries that are and stay negligible do not count."""
        room = math.log(_NEGLIGIBLE * self.size_x) - np.log(branch.value)
        free = np.where(growth > 0, np.maximum(room, 20.0), np.where(room > 0, np.inf, 20.0))
        return float((free / np.maximum(np.abs(growth), 1e-300)).min())

    def jump(self) -> bool:
        """Go to the last level at once if no entry of x would change any more; False if some would.

        With a barrier, once all entries away from it are negligible and the columns of the others are independent, x is
        settled: what is left is to shrink the slacks of its large entries to their new values and to move nu along.
        """
        flow = self.flow
        if not flow.has_barrier or self.last:
            return False
        near = [b.slack < 1e-2 * flow.rest for b in self.branches]
        tiny = _NEGLIGIBLE * self.size_x
        if any(float(b.value[~mask].max(initial=0.0)) > tiny for b, mask in zip(self.branches, near, strict=True)):
            return False
        wanted, weight = np.zeros_like(self.z), np.full_like(self.z, 1e-10)
        slacks = []
        for branch, mask in zip(self.branches, near, strict=True):
            slacks.append(flow.slack_of(np.log(branch.value[mask]), flow.level))
            wanted[mask] = branch.sign * (branch.slack[mask] - slacks[-1])
            weight[mask] = 1.0
        direction = self.equations.solve(weight, self.equations.forward(weight * wanted))
        moved = self.equations.backward(direction)
        large = weight == 1.0
        missed = float(np.abs((moved - wanted)[large]).max(initial=0.0))
        if missed > _MISSED * float(np.abs(wanted).max()):
            return False  # dependent columns: how they share x changes with the scale
        self.level = flow.level
        for branch, mask, shrunk in zip(self.branches, near, slacks, strict=True):
            slack = np.maximum(branch.slack - branch.sign * moved, 1e-3 * flow.rest)
            slack[mask] = shrunk
            branch.slack = slack
            branch.value = np.where(mask, branch.value, np.exp(flow.log_size(branch.slack, self.level)))
        self.nu = self.nu + direction
        self.z = self.z + moved
        self.measure()
        return True


def follow_scale(equations: NormalEquations, target: Vector, flow: Flow, effort: Effort) -> Outcome:
    """Solve ``A x = target`` at the level of ``flow``, coming from the level where x fills all coordinates alike."""
    with np.errstate(all="ignore"):  # a run out of the range of floats is caught below
        return _follow(Continuation(equations, target, flow), effort)


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
            effort.progress(Progress("limit", 0.9 * state.share, f"Newton step {steps}, residual {state.residual:.1e}"))


def _next_shrink(shrink: float, steps: int) -> float:
    """How much to lower the scale after a stage of so many steps."""
    if steps > 6:
        return shrink / 1.3
    return max((1.5 if steps <= 3 else 1.2) * shrink, _BOLDEST)

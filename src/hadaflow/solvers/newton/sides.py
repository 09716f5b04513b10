"""The system of a limit, and its unknowns besides the dual state: values of branches with their slacks."""

from __future__ import annotations

import math
from dataclasses import dataclass, field

import numpy as np

from hadaflow._types import Mask, Vector
from hadaflow.groups import Groups
from hadaflow.models import Branch

_BOUNDARY = 0.95  # fraction of the way to a barrier that a step may go
_KEEP = 0.1  # a branch that would shrink below this fraction is taken from its slack instead


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


@dataclass
class Side:
    """One sign of one branch: its values, their slacks, how far both are apart, and how it enters x."""

    branch: Branch
    sign: float
    value: Vector
    slack: Vector
    error: Vector
    follows: bool

    @classmethod
    def all_of(cls, branch: Branch, groups: Groups) -> list[Side]:
        """Both signs. A radius of a group is never negative: there the second side only shrinks, and follows."""
        log_start = branch.log_phi(branch.rest)
        signs = (1.0, -1.0) if branch.signed else (1.0,)
        return [
            cls(
                branch,
                sign,
                np.exp(log_start),
                branch.rest.copy(),
                np.zeros_like(log_start),
                sign < 0 and not groups.single,
            )
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

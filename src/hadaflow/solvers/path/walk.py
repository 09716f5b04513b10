"""The saddle path over a whole problem, block by block on a working set."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from hadaflow._types import Vector
from hadaflow._validation import norm
from hadaflow.results import Progress, ProgressCallback, Status
from hadaflow.solvers.path.block import Block
from hadaflow.solvers.path.face import Face
from hadaflow.solvers.path.policy import Policy
from hadaflow.solvers.path.position import Position
from hadaflow.solvers.path.record import Record
from hadaflow.solvers.working_set import WorkingSet
from hadaflow.units import UnitProblem

_EPS = float(np.finfo(np.float64).eps)
_FEASIBLE = 1e-10  # residual at which data that leave the path nowhere to go count as consistent
_LOST = 1e-2  # how far beyond its bound a dual coordinate may be found before the path counts as lost
_UNMOVED = 1e-8  # cosine of the angle between the residual and a column that counts as a right one
_BLOCK = 256  # jumps between two looks at the whole of A


@dataclass(frozen=True)
class Terms:
    """How far a walk goes, and what it checks on the way.

    Attributes
    ----------
    verify_all : bool
        Whether every jump is held against all of A; else the last of a block is, which is enough for the end.
    noise_level : float
        Residual at which to stop, in units of the scaled y.
    max_events : int
        Jumps allowed; 0 for more than any path should need.
    work_limit : float
        Operations allowed.
    """

    verify_all: bool = False
    noise_level: float = 0.0
    max_events: int = 0
    work_limit: float = np.inf
    progress: ProgressCallback | None = None


class Walk:
    """The saddle path over a scaled problem.

    Between two looks at A the path runs on a working set: the active coordinates and those expected to meet their
    bounds next. Each look computes the dual state and the correlations of all coordinates. If one outside the working
    set has crossed its bound meanwhile, the path goes back to before that and goes on with it inside.

    Attributes
    ----------
    at : Position
        Where the walk is.
    record : Record
        The jumps that led there.
    lost : bool
        Whether rounding of ill-conditioned data led the path astray; ``at`` is the last good position then.
    best_nu, best_bound : ndarray of shape (m,), float
        The dual state that bounds the gauge best, and the bound.
    """

    def __init__(self, unit: UnitProblem, terms: Terms) -> None:
        self.unit, self.terms = unit, terms
        self.at, self.record = Position.origin(unit), Record()
        self.working = WorkingSet(unit.operator)
        self.policy = Policy(unit, self.working)
        self.max_events = terms.max_events or 1000 + 50 * min(unit.operator.shape)
        self.work = 0.0
        self.best_nu, self.best_bound = self.at.nu, 0.0
        self.lost = False

    @property
    def events(self) -> int:
        return len(self.record)

    def start_from(self, nu: Vector) -> None:
        """Begin at a dual state, pulled into the dual set."""
        dual = self.unit.operator.rmatvec(nu)
        shrink = 1 / (1 + max(0.0, self._overshoot(nu, dual)))
        self.at = replace(self.at, nu=nu * shrink, dual=dual * shrink)

    def run(self) -> Status:
        """Walk, block by block, until the residual vanishes, meets the noise level or can fall no further."""
        stuck = moved = False
        if not self.unit.operator.costs.local:  # where the first look may take its time
            self._report()
        while not (self._arrived() or stuck or self._exhausted() or self.lost):
            grown, horizon = self.policy.widen(self.at, narrow=moved)
            good, before = self.at, self.events
            still = self._advance(horizon)
            moved = self.events > before
            stuck = still and not moved and grown == 0
            if stuck and not self.policy.measured:  # columns much shorter than others may have looked at rest
                self.policy.measured, stuck = True, False
            if moved and self._overshoot(self.at.nu, self.at.dual) > _LOST:
                self.lost = True
                self.at = good
                self.record.cut(before)
            self._report()
        return self._status(stuck)

    # ---- one block -----------------------------------------------------------------------------------------

    def _advance(self, horizon: float) -> bool:
        """Run on the working set, look at all of A; where it was too small go back and run again.

        Returns whether nothing moved in the end.
        """
        while len(self.working):
            block = self._run_face(horizon)
            if isinstance(block, str):
                return block == "still"
            seen, correlation = self._look(block)
            over = block.over(seen)
            if not over.any():
                self._accept(block, len(block), seen[:, -1], correlation)
                return block.segment.reason == "still"
            good = block.sound_jumps(np.flatnonzero(over.any(axis=1)), all_seen=self.terms.verify_all)
            start = self.at.tau
            self._accept(block, good)
            horizon -= self.at.tau - start
        return True

    def _run_face(self, horizon: float) -> Block | str:
        """A block of jumps; if there is none, the reason."""
        working, at, gauge = self.working, self.at, self.unit.gauge
        face = Face(
            working.gram,
            gauge.on(working.index),
            at.correlation[working.index],
            at.dual[working.index],
            working.positions_of(at.index),
            at.values,
            self.unit.operator.shape[0],
        )
        segment = face.run(
            floor=self.policy.at_rest(at) * np.sqrt(face.diagonal),
            residual=norm(at.residual),
            horizon=horizon,
            target=max(self.terms.noise_level, self.rounding()),
            most=min(_BLOCK, self.max_events - self.events),
        )
        self.work += segment.work
        return Block(self.unit, working, at, face, segment) if segment.times else segment.reason

    def _look(self, block: Block) -> tuple[Vector, Vector | None]:
        """Dual states of all coordinates, after each jump or the last; and their correlations, if they share the pass.

        In memory they do not: a product with two columns takes longer than two with one.
        """
        operator, jumps = self.unit.operator, len(block)
        nus = block.nus() if self.terms.verify_all else block.nu(jumps)
        if operator.costs.pair < 2:
            seen = operator.rmatmat(np.column_stack([nus, block.residual(jumps)]))
            return seen[:, :-1], seen[:, -1]
        return (operator.rmatmat(nus) if self.terms.verify_all else operator.rmatvec(nus)[:, None]), None

    def _accept(self, block: Block, jumps: int, dual: Vector | None = None, correlation: Vector | None = None) -> None:
        """Move behind so many jumps; with the dual state that A was looked at with, if it was looked at there."""
        for k in range(1, jumps + 1):
            self.record.add(self.at.tau + block.segment.times[k - 1], *block.plateau(k))
        at = block.position(jumps) if jumps else self.at
        if dual is None:
            self.at = self._on_working_set(at, at.dual.copy(), at.correlation.copy())
            return
        at = self._straightened(block.face, at)
        if correlation is None:
            correlation = self.unit.operator.rmatvec(at.residual)
        self.at = self._on_working_set(at, dual, correlation)
        bound = self.bound(self.at.nu, self.at.dual)
        if bound > self.best_bound:  # near the end rounding may make it worse again
            self.best_nu, self.best_bound = self.at.nu, bound

    def _straightened(self, face: Face, at: Position) -> Position:
        """nu put back on the bounds of the active coordinates, from which rounding makes it drift."""
        positions = self.working.positions_of(at.index)
        drift = self._bounds(at) - self.working.correlate(at.nu)[positions]
        if float(np.abs(drift).max(initial=0.0)) <= 1e-13:
            return at
        return replace(at, nu=at.nu + self.working.combine(positions, face.shortest_dual(drift)))

    def _on_working_set(self, at: Position, dual: Vector, correlation: Vector) -> Position:
        """Dual state and correlations afresh on the working set; on the active coordinates the dual is at its bound."""
        index = self.working.index
        dual[index] = self.working.correlate(at.nu)
        correlation[index] = self.working.correlate(at.residual)
        dual[at.index] = self._bounds(at)
        return at.seen(dual, correlation)

    def _bounds(self, at: Position) -> Vector:
        """The bounds at which the dual state of the active coordinates is."""
        return self.unit.gauge.on(at.index).face(at.values)

    # ---- measures ------------------------------------------------------------------------------------------

    def bound(self, nu: Vector, dual: Vector) -> float:
        """What nu, with ``dual = A^T nu``, proves of the smallest gauge."""
        return float(self.unit.y @ nu) / (1 + max(0.0, self._overshoot(nu, dual)))

    def _overshoot(self, nu: Vector, dual: Vector) -> float:
        """How far the farthest dual coordinate is beyond its bound, rounding aside."""
        return float((self.unit.gauge.beyond(dual) - self.unit.doubt(norm(nu))).max())

    def rounding(self) -> float:
        """Size of the rounding in y - A x: that of the arithmetic, or of the data where they are coarser."""
        at = self.at
        lengths = np.sqrt(self.working.gram.diagonal()[self.working.positions_of(at.index)])
        terms = 1 + float(lengths @ np.abs(at.values))
        return max(1e-14, 8 * _EPS * terms, self.unit.data_rounding * terms)

    def _arrived(self) -> bool:
        return self.unit.zero or norm(self.at.residual) <= max(self.terms.noise_level, self.rounding())

    def _exhausted(self) -> bool:
        """Whether the walk used up what it was allowed."""
        return self.events >= self.max_events or self.work >= self.terms.work_limit

    def _status(self, stuck: bool) -> Status:
        size = norm(self.at.residual)
        if size <= self.rounding() or ((stuck or self.lost) and size <= _FEASIBLE):
            return Status.EXACT
        if size <= self.terms.noise_level:
            return Status.NOISE_LEVEL
        return Status.LEAST_SQUARES if self.unit.zero or (stuck and self._stationary()) else Status.NOT_CONVERGED

    def _stationary(self) -> bool:
        """Whether no column that is at hand could take the residual any further down.

        One may be kept out for being nearly dependent on the active ones: then rounding ends the path, not the data.
        """
        if len(self.working) == 0:
            return True
        cosines = self.working.correlate(self.at.residual) / np.sqrt(self.working.gram.diagonal())
        cosines[self.working.positions_of(self.at.index)] = 0.0
        most = float(self.unit.gauge.on(self.working.index).outward(cosines).max(initial=0.0))
        return most <= _UNMOVED * norm(self.at.residual) + self.rounding() / 10

    def _report(self) -> None:
        if self.terms.progress is not None:
            passes = f", {self.unit.meter.passes:.0f} passes over A" if not self.unit.operator.costs.local else ""
            message = f"{self.events} jumps, residual {norm(self.at.residual):.1e}{passes}"
            self.terms.progress(Progress("saddles", None, message))

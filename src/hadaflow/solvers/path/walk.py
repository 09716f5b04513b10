"""The saddle path over a whole problem, block by block on a working set."""

from __future__ import annotations

from dataclasses import dataclass, field, replace

import numpy as np
import scipy.sparse as sp
from numpy.typing import NDArray

from hadaflow._types import Index, Vector
from hadaflow._validation import norm
from hadaflow.operators import Operator
from hadaflow.results import Progress, ProgressCallback, Status
from hadaflow.solvers.path.face import Face, Segment
from hadaflow.solvers.working_set import WorkingSet
from hadaflow.units import UnitProblem

_EPS = float(np.finfo(np.float64).eps)
_OVERSHOOT = 1e-9  # how far beyond its bound a dual coordinate may be found before the path is taken back
_FEASIBLE = 1e-10  # residual at which data that leave the path nowhere to go count as consistent
_LOST = 1e-2  # how far beyond its bound one may be found before the path counts as lost
_UNMOVED = 1e-8  # cosine of the angle between the residual and a column that counts as a right one
_BLOCK = 256  # jumps between two looks at the whole of A
_FETCHED = 1 << 25  # entries of an A elsewhere that are brought here at a time


@dataclass(frozen=True)
class State:
    """A point of the path; everything else follows from it.

    ``positions`` are the active coordinates, counted in the working set.
    """

    nu: Vector
    positions: Index
    values: Vector
    tau: float = 0.0

    @property
    def signs(self) -> Vector:
        return np.sign(self.values)


@dataclass
class Walk:
    """The saddle path over a scaled problem.

    Between two looks at A the path runs on a working set: the active coordinates and those expected to meet their bound
    next. Each look computes dual state and speed of all coordinates; if one outside the working set has crossed its
    bound meanwhile, the path goes back to before that and goes on with it inside. With ``verify_all`` every jump is
    looked at; without, only the last of a block, which is enough for the end to be right.
    """

    unit: UnitProblem
    positive: bool
    verify_all: bool
    progress: ProgressCallback | None = None
    noise_level: float = 0.0
    max_events: int = 0
    work_limit: float = np.inf
    work: float = 0.0
    times: list[float] = field(default_factory=list)
    plateaus: list[tuple[Index, Vector]] = field(default_factory=list)

    def __post_init__(self) -> None:
        m, n = self.operator.shape
        self.state = State(np.zeros(m), np.empty(0, dtype=np.intp), np.empty(0))
        self.working = WorkingSet(self.operator)
        self.max_events = self.max_events or 1000 + 50 * min(m, n)
        self.dual, self.speed, self.residual = np.zeros(n), self.unit.speed.copy(), self.unit.y
        self.best_nu, self.best_bound = self.state.nu, 0.0
        self.measured = False  # whether each column is held against its own length
        self.lost = False  # rounding of ill-conditioned data led the path astray; the state is the last good one

    @property
    def operator(self) -> Operator:
        return self.unit.operator

    @property
    def events(self) -> int:
        return len(self.times)

    def start_from(self, nu: Vector) -> None:
        """Begin at a dual state, pulled into the box."""
        dual = self.operator.rmatvec(nu)
        shrink = 1 / (1 + max(0.0, self._overshoot(dual)))
        self.state = replace(self.state, nu=nu * shrink)
        self.dual = dual * shrink

    def run(self) -> Status:
        """Walk, block by block, until the residual vanishes, meets the noise level or can fall no further."""
        stuck = moved = False
        if not self.operator.costs.local:  # where the first look may take its time
            self._tell()
        while not (self._arrived() or stuck or self.exhausted or self.lost):
            grown, horizon = self._widen(narrow=moved)
            before, good = self.events, (self.state, self.residual, self.dual, self.speed)
            segment = self._advance(horizon)
            moved = self.events > before
            stuck = segment.reason == "still" and not moved and grown == 0
            if stuck and not self.measured:  # columns much shorter than others may have looked at rest
                self.measured, stuck = True, False
            if moved and self._overshoot(self.dual) > _LOST:
                self.lost = True
                self._go_back(before, *good)
            self._tell()
        return self._status(stuck)

    def _go_back(self, events: int, state: State, residual: Vector, dual: Vector, speed: Vector) -> None:
        """To an earlier point of the path; what was recorded since then is forgotten, too."""
        self.state, self.residual, self.dual, self.speed = state, residual, dual, speed
        del self.times[events:], self.plateaus[events:]

    def _tell(self) -> None:
        if self.progress is not None:
            passes = f", {self.unit.meter.passes:.0f} passes over A" if not self.operator.costs.local else ""
            message = f"{self.events} jumps, residual {norm(self.residual):.1e}{passes}"
            self.progress(Progress("saddles", None, message))

    def _status(self, stuck: bool) -> Status:
        left = norm(self.residual)
        if left <= self.rounding() or ((stuck or self.lost) and left <= _FEASIBLE):
            return Status.EXACT
        if left <= self.noise_level:
            return Status.NOISE_LEVEL
        return Status.LEAST_SQUARES if self.unit.zero or (stuck and self._stationary()) else Status.NOT_CONVERGED

    def _stationary(self) -> bool:
        """Whether no column that is at hand could take the residual any further down.

        One may be kept out for being nearly dependent on the active ones: then rounding ends the path, not the data.
        """
        if len(self.working) == 0:
            return True
        pull = self.working.correlate(self.residual) / np.sqrt(self.working.gram.diagonal())
        pull[self.state.positions] = 0.0
        most = float((pull if self.positive else np.abs(pull)).max(initial=0.0))
        return most <= _UNMOVED * norm(self.residual) + self.rounding() / 10

    @property
    def exhausted(self) -> bool:
        """Whether the walk used up what it was allowed."""
        return self.events >= self.max_events or self.work >= self.work_limit

    def record(self) -> tuple[Vector, sp.csr_array]:
        """Start and value of every plateau, in units of the original problem."""
        n = self.operator.shape[1]
        times = np.array([0.0, *self.times]) / self.unit.size_a / self.unit.size_y
        plateaus = [(np.empty(0, dtype=np.intp), np.empty(0)), *self.plateaus]
        last = np.append(np.diff(times) > 0, True)  # of jumps at one time, the last
        kept = [plateau for plateau, keep in zip(plateaus, last, strict=True) if keep]
        starts = np.cumsum([0, *(len(index) for index, _ in kept)])
        columns = np.concatenate([index for index, _ in kept])
        values = np.concatenate([values for _, values in kept])
        if self.unit.weights is not None:
            values = values / self.unit.weights[columns]
        rows = sp.csr_array((values / self.unit.size_a * self.unit.size_y, columns, starts), shape=(len(kept), n))
        rows.sort_indices()
        return times[last], rows

    def end_at(self, x: Vector) -> None:
        """Let the path end at this x, in units of the scaled problem, which the last plateau is up to rounding."""
        index = np.flatnonzero(x)
        self.plateaus[-1] = index, x[index]

    # ---- one block -----------------------------------------------------------------------------------------

    def _widen(self, *, narrow: bool) -> tuple[int, float]:
        """Add the coordinates expected next to the working set; if asked to, drop the idle once they are many.

        Returns how many were added, and the time up to which the others are expected to stay inside their bounds.
        """
        size = np.abs(self.speed)
        lengths = self.unit.lengths if self.measured else None
        moving = size > self._floor() * (self.working.longest() if lengths is None else lengths)
        if self.positive:
            moving &= self.speed > 0
        wait = np.full(len(size), np.inf)
        np.divide(1 - self.dual * np.sign(self.speed), size, out=wait, where=moving)
        want = self._wanted()
        if narrow:
            self._narrow(wait, want)
        wait[self.working.index] = np.inf
        count = int(np.count_nonzero(wait < np.inf))
        if want >= count:
            self.working.extend(np.flatnonzero(wait < np.inf))
            return count, np.inf
        nearest = np.argpartition(wait, want)
        self.working.extend(nearest[:want])
        return want, float(wait[nearest[want]])

    def _narrow(self, wait: Vector, want: int) -> None:
        """Keep the active coordinates and those that wait least, once the working set has grown to twice as many."""
        active, size = len(self.state.positions), len(self.working)
        if size <= 2 * (active + want) or self.operator.costs.matrix_free:
            return
        idle = np.ones(size, dtype=bool)
        idle[self.state.positions] = False
        others = np.flatnonzero(idle)
        nearest = others[np.argsort(wait[self.working.index[others]], kind="stable")[:want]]
        self.working.keep(np.concatenate([self.state.positions, nearest]))
        self.state = replace(self.state, positions=np.arange(active))

    def _wanted(self) -> int:
        """How many columns to add: few where each costs a product, a block of them where any number costs one pass."""
        active, m = len(self.state.positions), self.operator.shape[0]
        if self.operator.costs.matrix_free:
            return max(8, active // 4)
        if not self.operator.costs.local:
            return max(8, min(max(256, m // 8, active), _FETCHED // m))
        return max(32, m // 16, active // 3)

    def _advance(self, horizon: float) -> Segment:
        """Run on the working set, look at all of A; where it was too small go back and run again."""
        if len(self.working) == 0:  # nothing can move
            return Segment([], [], [], [], "still", 0.0)
        while True:
            face, segment = self._run_face(horizon)
            jumps = len(segment.times)
            if jumps == 0:
                return segment
            integrals = self._integrals(segment)
            looked, speed = self._look(segment, integrals)
            doubt = self.unit.doubt(norm(self.state.nu) + segment.times[-1] * norm(self.residual))
            over = self._over(looked, doubt) & ~self.working.inside[:, None]
            if not over.any():
                self._accept(segment, integrals, jumps)
                self._straighten(face)
                self.dual = looked[:, -1]
                self.speed = self.operator.rmatvec(self.residual) if speed is None else speed
                self._refresh_inside()
                self._remember()
                return segment
            newcomers = np.flatnonzero(over.any(axis=1))
            old = len(self.working)
            self.working.extend(newcomers)
            good = self._sound_jumps(segment, integrals, old, doubt)
            start = self.state.tau
            if good:
                self._accept(segment, integrals, good)
            self._refresh_inside()
            horizon -= self.state.tau - start

    def _look(self, segment: Segment, integrals: Vector) -> tuple[Vector, Vector | None]:
        """Dual states of all coordinates, after each jump or the last one; and their speed, where it shares the pass.

        In memory it does not: a product with two columns takes longer than two with one.
        """
        jumps = len(segment.times)
        duals = self._duals(segment, integrals) if self.verify_all else self._dual_after(segment, integrals, jumps)
        if self.operator.costs.pair < 2:
            seen = self.operator.rmatmat(np.column_stack([duals, self._residual_after(segment, jumps)]))
            return seen[:, :-1], seen[:, -1]
        return (self.operator.rmatmat(duals) if self.verify_all else self.operator.rmatvec(duals)[:, None]), None

    def _run_face(self, horizon: float) -> tuple[Face, Segment]:
        working, state = self.working, self.state
        speed, dual = self.speed[working.index], self.dual[working.index]
        rows = self.operator.shape[0]
        face = Face(working.gram, speed, dual, state.positions, state.values, state.signs, rows)
        segment = face.run(
            bounded_below=not self.positive,
            floor=self._floor() * np.sqrt(face.diagonal),
            residual=norm(self.residual),
            horizon=horizon,
            target=max(self.noise_level, self.rounding()),
            most=min(_BLOCK, self.max_events - self.events),
        )
        self.work += segment.work
        return face, segment

    def _integrals(self, segment: Segment) -> Vector:
        """``int (b - b_start)`` up to each jump, on the working set, shape (w, jumps)."""
        pieces = np.column_stack([np.zeros(len(self.working)), *segment.moved[:-1]])
        pieces[:, 1:] *= np.diff(segment.times)
        return np.asarray(pieces.cumsum(axis=1))

    def _duals(self, segment: Segment, integrals: Vector) -> Vector:
        """nu at each jump, shape (m, jumps)."""
        straight: Vector = self.state.nu[:, None] + np.outer(self.residual, segment.times)
        bent: Vector = self.working.columns[:, : len(integrals)] @ integrals
        return straight - bent

    def _dual_after(self, segment: Segment, integrals: Vector, jumps: int) -> Vector:
        """nu at one jump."""
        straight: Vector = self.state.nu + segment.times[jumps - 1] * self.residual
        bent: Vector = self.working.columns[:, : len(integrals)] @ integrals[:, jumps - 1]
        return straight - bent

    def _residual_after(self, segment: Segment, jumps: int) -> Vector:
        """The residual at one jump."""
        moved = segment.moved[jumps - 1]
        change: Vector = self.working.columns[:, : len(moved)] @ moved
        return self.residual - change

    def _sound_jumps(self, segment: Segment, integrals: Vector, old: int, doubt: Vector | float) -> int:
        """How many jumps there were before a newcomer crossed its bound, with nobody else beyond it after them.

        Others may have crossed theirs on the way and be back inside where all of A was looked at: they join.
        """
        while True:
            good = self._good_jumps(segment, integrals, old, doubt)
            if good == 0 or self.verify_all:
                return good
            dual = self.operator.rmatvec(self._dual_after(segment, integrals, good))
            over = self._over(dual, doubt) & ~self.working.inside
            if not over.any():
                return good
            self.working.extend(np.flatnonzero(over))

    def _good_jumps(self, segment: Segment, integrals: Vector, old: int, doubt: Vector | float) -> int:
        """How many jumps were made before a newcomer to the working set crossed its bound."""
        new = self.working.columns[:, old:]
        start, speed = np.asarray(new.T @ self.state.nu), np.asarray(new.T @ self.residual)
        dual = start[:, None] + np.outer(speed, segment.times) - self.working.gram[old:, :old] @ integrals
        known = doubt if isinstance(doubt, float) else doubt[self.working.index[old:]]
        crossed = np.flatnonzero(self._over(dual, known).any(axis=0))
        return int(crossed[0]) if len(crossed) else len(segment.times)  # none: on the edge, seen with other rounding

    def _accept(self, segment: Segment, integrals: Vector, jumps: int) -> None:
        """Move the state behind so many jumps.

        The residual is moved too, not taken afresh from the data: as it vanishes, it keeps its digits.
        """
        for k in range(jumps):
            self.times.append(self.state.tau + segment.times[k])
            self.plateaus.append((self.working.index[segment.active[k]], segment.values[k]))
        positions, values = segment.active[jumps - 1], segment.values[jumps - 1]
        nu = self._dual_after(segment, integrals, jumps)
        self.residual = self._residual_after(segment, jumps)
        self.state = State(nu, positions, values, self.state.tau + segment.times[jumps - 1])

    def _remember(self) -> None:
        """Keep the dual state that bounds the minimal norm best: near the end rounding may make it worse again."""
        bound = self.bound(self.state.nu, self.dual)
        if bound > self.best_bound:
            self.best_nu, self.best_bound = self.state.nu, bound

    def bound(self, nu: Vector, dual: Vector) -> float:
        """What nu, with ``dual = A^T nu``, proves of the minimal norm."""
        return float(self.unit.y @ nu) / (1 + max(0.0, self._overshoot(dual)))

    def _straighten(self, face: Face) -> None:
        """Put nu back on the bounds of the active coordinates, from which rounding makes it drift."""
        positions = self.state.positions
        drift = self.state.signs - self.working.correlate(self.state.nu)[positions]
        if float(np.abs(drift).max(initial=0.0)) > 1e-13:
            nu = self.state.nu + self.working.combine(positions, face.shortest_dual(drift))
            self.state = replace(self.state, nu=nu)

    def _refresh_inside(self) -> None:
        """Dual state and speed on the working set; on the active coordinates the dual is at its bound, exactly."""
        index = self.working.index
        self.dual[index] = self.working.correlate(self.state.nu)
        self.speed[index] = self.working.correlate(self.residual)
        self.dual[index[self.state.positions]] = self.state.signs

    # ---- measures ------------------------------------------------------------------------------------------

    def _overshoot(self, dual: Vector) -> float:
        """How far the farthest dual coordinate is beyond its bound, rounding aside."""
        return float(((dual if self.positive else np.abs(dual)) - self.unit.doubt(norm(self.state.nu))).max()) - 1

    def _over(self, dual: Vector, doubt: Vector | float) -> NDArray[np.bool_]:
        """Which dual coordinates are beyond their bound, rounding aside; dual of shape (n,) or (n, jumps)."""
        reach = dual if self.positive else np.abs(dual)
        limit = np.asarray(1 + _OVERSHOOT + doubt)
        return np.asarray(reach > (limit[:, None] if limit.ndim < reach.ndim and limit.ndim else limit))

    def rounding(self) -> float:
        """Size of the rounding in y - A b: that of the arithmetic, or of the data where they are coarser."""
        lengths = np.sqrt(self.working.gram.diagonal()[self.state.positions])
        terms = 1 + float(lengths @ np.abs(self.state.values))
        return max(1e-14, 8 * _EPS * terms, self.unit.data_rounding * terms)

    def _floor(self) -> float:
        """Speeds below this, per unit of column length, are rounding."""
        return 1e-11 * norm(self.residual)

    def _arrived(self) -> bool:
        return self.unit.zero or norm(self.residual) <= max(self.noise_level, self.rounding())

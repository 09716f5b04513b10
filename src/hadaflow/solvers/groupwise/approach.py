"""The minimiser of a group norm along the central path: close to the end, and from there exactly.

On the way the groups that carry x are told from the others by comparing their sizes with their slacks. Once they stay
the same, the end on them is computed; the certificate decides.
"""

from __future__ import annotations

import numpy as np

from hadaflow._types import Index, Vector
from hadaflow._validation import norm
from hadaflow.groups import Metric
from hadaflow.results import Progress, ProgressCallback, Status
from hadaflow.solvers.groupwise.ends import Ending, Flat, stationary
from hadaflow.solvers.groupwise.frame import Face, Frame
from hadaflow.solvers.newton.central import CentralPoint, central_path
from hadaflow.solvers.newton.normal import NormalEquations, normal_equations
from hadaflow.solvers.path.finish import End
from hadaflow.units import UnitProblem

_STEADY = 0.02  # of the groups, that may come and go between two points of the path where there are more than rows
_NEAR = 0.3  # complementarity, relative to the norm, from which on ends are tried
_INSIDE = 1 + 1e-11  # bound, with its rounding, off the face
_CROSSOVERS = 5  # rounds in which groups beyond their bounds join a face
_JOINING = 0.1  # of the groups of a face, that may join it
_REFINED = 3  # rounds that bring the last point of the path to y
_CARRIED = 1e-9  # relative residual up to which it is said to carry y
_NEWCOMER = 1e-2  # size of such a group, relative to the median of the others


def approach(unit: UnitProblem, progress: ProgressCallback | None) -> tuple[End, int]:
    """Follow the central path until its end can be computed; returns that and the number of Newton steps.

    ``EXACT`` says that x carries y with a dual state that proves it minimal, as far as rounding lets this be told.
    ``NOT_CONVERGED`` comes with the last point of the path.
    """
    frame = Frame(unit)
    n = unit.operator.shape[1]
    equations = normal_equations(unit.operator, unit.data_rounding)
    target, foreign = equations.project(unit.y)
    nowhere = End(np.zeros(n), unit.y, Status.NOT_CONVERGED)
    if foreign:
        return nowhere, 0
    steps, last = 0, None
    with np.errstate(all="ignore"):
        search = _Ends(frame, equations)
        for point in central_path(equations, target, unit.gauge.groups, n):
            steps += 1
            if progress is not None:
                progress(Progress("limit", None, f"Newton step {steps}, gap {point.complementarity:.1e}"))
            ending = search.try_at(point)
            if ending is not None:
                nu = np.ascontiguousarray(ending.nu).ravel()
                return End(frame.whole(ending.face, ending.values), nu, Status.EXACT), steps
            if np.isfinite(point.x).all():
                last = point
        return (nowhere if last is None else _carried(last, equations, target, unit)), steps


def _carried(point: CentralPoint, equations: NormalEquations, target: Vector, unit: UnitProblem) -> End:
    """A point of the path moved to where it carries y to rounding, each group by as much as its size allows."""
    x, groups = point.x, unit.gauge.groups
    size = np.maximum(point.sizes, 1e-12 * float(point.sizes.max(initial=0.0)))
    metric = Metric(groups, size, size, groups.polar(x)[1])
    solve = equations.system(metric)
    for _ in range(_REFINED):
        x = x + metric.times(equations.backward(solve(target - equations.forward(x))))
    left = norm(unit.operator.matvec(x) - unit.y)
    return End(x, equations.lift(point.nu), Status.EXACT if left <= _CARRIED * norm(unit.y) else Status.NOT_CONVERGED)


class _Ends:
    """Ends tried so far along the path."""

    def __init__(self, frame: Frame, equations: NormalEquations) -> None:
        self.frame, self.equations = frame, equations
        self.before: Index = np.empty(0, dtype=np.intp)
        self.flat: dict[bytes, Flat | None] = {}
        self.failed: set[bytes] = set()

    def try_at(self, point: CentralPoint) -> Ending | None:
        """The end on the groups of a point, if these are steady; None if there is none, or it is not minimal yet."""
        top = float(point.sizes.max(initial=0.0))
        active = np.flatnonzero(point.sizes > point.slacks * top)
        changed, self.before = len(np.setxor1d(active, self.before)), active
        if len(active) == 0 or point.complementarity > _NEAR:
            return None
        many = len(self.frame.rows_of(active)) > self.frame.shape[0]
        if changed > (_STEADY * len(active) if many else 0):
            return None
        nu = self.equations.lift(point.nu).reshape(self.frame.target.shape)
        key = active.tobytes()
        if key not in self.flat:
            self.flat = {key: None if many else Flat.of(self.frame.face(active))}
        flat = self.flat[key]
        if flat is not None:  # X is known; the dual state may come inside its bounds later on
            ending = Ending(flat.face, flat.values, flat.on_bounds(nu))
            return ending if len(self._beyond(ending)) == 0 else None
        if key in self.failed:
            return None
        face = self.frame.face(active)
        found = self._stationary(face, point.x.reshape(-1, self.frame.columns)[face.index], nu)
        if found is None:
            self.failed.add(key)
        return found

    def _stationary(self, face: Face, values: Vector, nu: Vector) -> Ending | None:
        """Newton's method on the face, which groups beyond their bounds join."""
        for _ in range(_CROSSOVERS):
            ending = stationary(face, values, nu)
            if ending is None:
                return None
            beyond = self._beyond(ending)
            if len(beyond) == 0:
                return ending
            face, values, nu = ending.face, ending.values, ending.nu
            if len(beyond) > _JOINING * len(face.chosen) + 2:
                return None
            wider = face.with_groups(beyond)
            correlation = wider.block.T @ nu
            start = wider.directions(correlation) * (_NEWCOMER * float(np.median(face.norms(values))))
            start[: len(values)] = values
            face, values = wider, start
        return None

    def _beyond(self, ending: Ending) -> Index:
        norms = self.frame.dual_norms(ending.nu)
        norms[ending.face.chosen] = 0.0
        return np.flatnonzero(norms > _INSIDE)

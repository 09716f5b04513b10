"""How the solution of a vanishing start may be found: what to try, in turn."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from hadaflow._types import Vector
from hadaflow.convergence import quietly
from hadaflow.dynamics.limit import limit
from hadaflow.models import HadamardPower
from hadaflow.problems import Problem
from hadaflow.results import ProgressCallback
from hadaflow.solvers.implicit.leaps import leap
from hadaflow.solvers.path.finish import End, follow
from hadaflow.solvers.path.walk import Walk
from hadaflow.units import UnitProblem

#: Depth and product scale of the limit that hard instances are brought close with.
_APPROACH_DEPTH, _APPROACH_SCALE = 4.0, 1e-7
#: Operations of a Newton step (matrix work) in the time of one of a saddle walk (vector work); decision 0002.
_VECTOR_WORK = 4.0
#: Operations of a walk, in all or per entry of an A elsewhere, that are worth the passes that leaps would take.
_FAR_WORK, _FAR_PASSES = 1e12, 1000.0
_MOST_PRODUCTS = 4000  # of leaps with an A that is known by products alone; never more than it has columns
MOST_ROWS = 5000  # of such an A up to which a walk can be hoped to prove what leaps did not


@dataclass(frozen=True)
class Options:
    """What :func:`hadaflow.recover` was asked for, checked."""

    positive: bool
    weights: Vector | None
    noise_level: float
    method: str
    progress: ProgressCallback | None


class Attempt(NamedTuple):
    """Where a strategy ended and what it took."""

    end: End
    newton_steps: int
    events: int
    method: str


Strategy = Callable[[UnitProblem, Options], Attempt]


def strategies(unit: UnitProblem, options: Options) -> tuple[Strategy, ...]:
    """What to try, in turn."""
    if not unit.operator.costs.local:
        return _far_strategies(unit, options)
    by_products = unit.operator.costs.matrix_free and options.method == "auto" and not unit.zero
    if options.noise_level > 0 and unit.operator.shape[0] <= MOST_ROWS:
        by_products = False  # a walk sees every plateau, and is affordable
    leaps = (by_leaps,) if by_products else ()
    if options.method == "saddles" or options.noise_level > 0 or unit.zero:
        return (*leaps, by_walk)
    if options.method == "limit":
        return (_approach, by_walk)
    return (*leaps, _walk_while_cheap, _approach, by_walk)


def _far_strategies(unit: UnitProblem, options: Options) -> tuple[Strategy, ...]:
    """The same for an A elsewhere: a walk asks it for columns now and then, leaps for one pass each iteration."""
    if options.method == "limit":
        return (_approach, by_walk)
    if options.method == "saddles" or options.noise_level > 0 or unit.zero:
        return (by_walk,)
    return (_walk_while_near, by_leaps, by_walk)


def by_leaps(unit: UnitProblem, options: Options) -> Attempt:
    """Implicit steps: where A is known by products, its columns would cost more than the answer does without them."""
    most = min(unit.operator.shape[1], _MOST_PRODUCTS)
    noise_level = options.noise_level / unit.size_y
    end, leaps = leap(
        unit, positive=options.positive, most_products=most, noise_level=noise_level, progress=options.progress
    )
    return Attempt(end, 0, leaps, "leaps")


def by_walk(unit: UnitProblem, options: Options, work_limit: float = math.inf) -> Attempt:
    """The saddle path from the start."""
    walk = Walk(unit, options.positive, verify_all=False, progress=options.progress, work_limit=work_limit)
    walk.noise_level = options.noise_level / unit.size_y
    end = follow(walk)
    return Attempt(end, 0, walk.events, "saddles")


def _walk_while_cheap(unit: UnitProblem, options: Options) -> Attempt:
    """The same, given up once it has taken as long as a limit would."""
    m, n = unit.operator.shape
    newton_work = 30.0 * (float(m) * m * n + float(m) ** 3 / 3)  # about 30 systems formed and factored
    return by_walk(unit, options, newton_work / _VECTOR_WORK)


def _walk_while_near(unit: UnitProblem, options: Options) -> Attempt:
    """The same for an A elsewhere, given up once its own work has taken as long as some hundred passes would."""
    m, n = unit.operator.shape
    return by_walk(unit, options, max(_FAR_WORK, _FAR_PASSES * float(m) * n))


def _approach(unit: UnitProblem, options: Options) -> Attempt:
    """Follow the scale down to near zero, then walk from the dual state found there: a short way to the exact end."""
    scaled = Problem(unit.operator, unit.y)
    model = HadamardPower(_APPROACH_DEPTH, "positive" if options.positive else "both")
    size = 1.0 / max(float(np.abs(unit.speed).max()), 1e-300)
    init_scale = (_APPROACH_SCALE * size) ** (1 / _APPROACH_DEPTH)
    near = quietly(limit, scaled, model, init_scale=init_scale, tolerance=1e-6, progress=options.progress)
    walk = Walk(unit, options.positive, verify_all=False, progress=options.progress)
    rate = _APPROACH_DEPTH * (_APPROACH_DEPTH - 2) * (_APPROACH_SCALE * size) ** (1 - 2 / _APPROACH_DEPTH)
    if np.isfinite(near.dual).all():
        walk.start_from(near.dual * rate)
    end = follow(walk)
    return Attempt(end, near.stats.newton_steps, walk.events, "limit + saddles")

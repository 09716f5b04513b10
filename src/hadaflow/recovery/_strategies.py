"""How the solution of a vanishing start may be found: a table of strategies, to be tried in order."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Literal, NamedTuple

import numpy as np

from hadaflow._types import Vector
from hadaflow.convergence import quietly
from hadaflow.dynamics.limit import limit
from hadaflow.gauges import Gauge
from hadaflow.models import HadamardPower
from hadaflow.problems import Problem
from hadaflow.results import ProgressCallback
from hadaflow.solvers.groupwise.approach import approach
from hadaflow.solvers.groupwise.leaps import leap as leap_in_groups
from hadaflow.solvers.implicit.leaps import leap
from hadaflow.solvers.newton.normal import factorable
from hadaflow.solvers.path.finish import End, follow
from hadaflow.solvers.path.walk import Terms, Walk
from hadaflow.units import UnitProblem

#: Depth and product scale of the limit that hard instances are brought close with.
_APPROACH_DEPTH, _APPROACH_SCALE = 4.0, 1e-7
#: Systems that a limit, and the central path, form and factor as a rule.
_LIMIT_SYSTEMS, _CENTRAL_SYSTEMS = 30.0, 16.0
#: Operations of a Newton step (matrix work) in the time of one of a saddle walk (vector work); decision 0002.
_VECTOR_WORK = 4.0
#: Operations of a walk, in all or per entry of an A elsewhere, that are worth the passes that leaps would take.
_FAR_WORK, _FAR_PASSES = 1e12, 1000.0
_MOST_PRODUCTS = 4000  # of leaps with an A that is known by products alone; never more than it has columns
MOST_ROWS = 5000  # of such an A up to which a walk can be hoped to prove what leaps did not


@dataclass(frozen=True)
class Options:
    """What :func:`hadaflow.recover` was asked for, checked."""

    gauge: Gauge
    noise_level: float
    method: str
    progress: ProgressCallback | None
    positive: bool = False
    weights: Vector | None = None


class Attempt(NamedTuple):
    """Where a strategy ended and what it took."""

    end: End
    newton_steps: int
    events: int
    method: str


@dataclass(frozen=True)
class Strategy:
    """One way to the end.

    Attributes
    ----------
    run : callable
        Goes it.
    applies : callable
        Whether it is to be tried.
    refines : bool
        Whether an end without a proof is worth walking on from.
    exhausts : bool
        Whether it repeats a walk that went to the end already.
    """

    run: Callable[[UnitProblem, Options], Attempt]
    applies: Callable[[UnitProblem, Options], bool]
    refines: bool = True
    exhausts: bool = False


def worth_copying(unit: UnitProblem) -> bool:
    """Whether the engines for groups, which need a matrix, may have one of all the columns of a linear operator."""
    return unit.operator.costs.matrix_free and not unit.gauge.polyhedral and factorable(unit.operator)


def strategies(unit: UnitProblem, options: Options) -> Iterator[Strategy]:
    """What to try, in order; whether one applies is asked when its turn comes."""
    table = _TABLE if unit.gauge.polyhedral else _IN_GROUPS
    return (strategy for strategy in table if strategy.applies(unit, options))


# ---- the ways ----------------------------------------------------------------------------------------------


def _by_leaps(unit: UnitProblem, options: Options) -> Attempt:
    """Implicit steps: where A is known by products, its columns would cost more than the answer does without them."""
    noise_level, most = options.noise_level / unit.size_y, _most_products(unit)
    end, leaps = leap(unit, most_products=most, noise_level=noise_level, progress=options.progress)
    return Attempt(end, 0, leaps, "leaps")


def _most_products(unit: UnitProblem) -> int:
    """Of leaps: never more than all columns cost, where these are another way."""
    operator, columns = unit.operator, float(unit.operator.shape[1])
    if worth_copying(unit):
        columns = operator.costs.of_columns(operator.shape[1] // operator.repeats) / operator.repeats
    elif not unit.gauge.polyhedral:
        columns = math.inf
    return math.ceil(min(columns, _MOST_PRODUCTS))


def _by_walk(unit: UnitProblem, options: Options, work_limit: float = math.inf) -> Attempt:
    """The saddle path from the start."""
    noise_level = options.noise_level / unit.size_y
    walk = Walk(unit, Terms(noise_level=noise_level, work_limit=work_limit, progress=options.progress))
    end = follow(walk)
    return Attempt(end, 0, walk.events, "saddles")


def _by_cheap_walk(unit: UnitProblem, options: Options) -> Attempt:
    """The same, given up once it has taken as long as a limit would."""
    m, n = unit.operator.shape
    systems = _CENTRAL_SYSTEMS if _may_take_central_path(unit, options) else _LIMIT_SYSTEMS
    newton_work = systems * (float(m) * m * n + float(m) ** 3 / 3)
    return _by_walk(unit, options, newton_work / _VECTOR_WORK)


def _by_near_walk(unit: UnitProblem, options: Options) -> Attempt:
    """The same for an A elsewhere, given up once its own work has taken as long as some hundred passes would."""
    m, n = unit.operator.shape
    return _by_walk(unit, options, max(_FAR_WORK, _FAR_PASSES * float(m) * n))


def _by_approach(unit: UnitProblem, options: Options) -> Attempt:
    """Follow the scale down to near zero, then walk from the dual state found there: a short way to the exact end."""
    model = HadamardPower(_APPROACH_DEPTH, _sign(unit) or "both")
    size = 1.0 / max(float(np.abs(unit.correlation).max()), 1e-300)
    init_scale = (_APPROACH_SCALE * size) ** (1 / _APPROACH_DEPTH)
    scaled = Problem(unit.operator, unit.y)
    near = quietly(limit, scaled, model, init_scale=init_scale, tolerance=1e-6, progress=options.progress)
    walk = Walk(unit, Terms(progress=options.progress))
    if np.isfinite(near.dual).all():
        walk.start_from(near.dual * model.mirror(init_scale, unit.operator.shape[1]).rate)
    end = follow(walk)
    return Attempt(end, near.stats.newton_steps, walk.events, "limit + saddles")


def _by_group_leaps(unit: UnitProblem, options: Options) -> Attempt:
    """Implicit steps on a working set of groups: the fastest way to an x of few groups."""
    end, leaps = leap_in_groups(unit, options.progress)
    return Attempt(end, 0, leaps, "leaps")


def _by_central_path(unit: UnitProblem, options: Options) -> Attempt:
    """Ends of flows of infinite depth, down to a small scale, and Newton's method on the groups found."""
    end, steps = approach(unit, options.progress)
    return Attempt(end, steps, 0, "central path")


# ---- when they apply ---------------------------------------------------------------------------------------


def _open(unit: UnitProblem, options: Options) -> bool:
    """Whether the choice is left to us, and the way long."""
    return options.method == "auto" and options.noise_level == 0 and not unit.zero


def _known_by_products(unit: UnitProblem, options: Options) -> bool:
    """Whether leaps come first; with noise a walk sees every plateau, where it is affordable."""
    if not (unit.operator.costs.matrix_free and unit.operator.costs.local and options.method == "auto") or unit.zero:
        return False
    affordable = options.noise_level > 0 and unit.operator.shape[0] <= MOST_ROWS
    return not affordable and len(unit.gauge.costless) == 0


def _may_walk(unit: UnitProblem, options: Options) -> bool:
    return unit.operator.costs.local and _open(unit, options)


def _may_take_central_path(unit: UnitProblem, options: Options) -> bool:
    """Whether x may have any sign, and systems are factored."""
    return factorable(unit.operator) and _may_walk(unit, options) and _sign(unit) == "both"


def _may_walk_from_afar(unit: UnitProblem, options: Options) -> bool:
    return not unit.operator.costs.local and _open(unit, options)


def _may_leap_from_afar(unit: UnitProblem, options: Options) -> bool:
    return _may_walk_from_afar(unit, options) and len(unit.gauge.costless) == 0


def _always(_unit: UnitProblem, _options: Options) -> bool:
    return True


def _may_approach(unit: UnitProblem, options: Options) -> bool:
    near = unit.operator.costs.local
    asked = options.method == "limit" and not (near and unit.zero)
    return (asked or (near and _open(unit, options))) and _sign(unit) is not None


def _sign(unit: UnitProblem) -> Literal["both", "positive"] | None:
    """The sign of a model with this gauge; None if no power has it."""
    ones = np.ones(unit.operator.shape[1])
    if not (unit.gauge.meets(ones) == 1).all():
        return None
    down = unit.gauge.meets(-ones)
    return "both" if (down == -1).all() else "positive" if np.isneginf(down).all() else None


def _may_leap(unit: UnitProblem, options: Options) -> bool:
    return options.method == "auto" and not unit.zero


def _may_leap_by_products(unit: UnitProblem, options: Options) -> bool:
    """In groups; there is no other way if A is too large for a matrix."""
    return unit.operator.costs.matrix_free and (_may_leap(unit, options) or not factorable(unit.operator))


def _may_leap_on_columns(unit: UnitProblem, options: Options) -> bool:
    return not unit.operator.costs.matrix_free and _may_leap(unit, options)


def _has_columns(unit: UnitProblem, _options: Options) -> bool:
    return not unit.operator.costs.matrix_free


#: Where the dual set is no polytope: the path bends, and is not walked.
_IN_GROUPS = (
    Strategy(_by_leaps, _may_leap_by_products, refines=False),
    Strategy(_by_group_leaps, _may_leap_on_columns, refines=False),
    Strategy(_by_central_path, _has_columns, refines=False),  # of small operators a copy has
)
_TABLE = (
    Strategy(_by_leaps, _known_by_products, refines=False),
    Strategy(_by_cheap_walk, _may_walk),
    Strategy(_by_near_walk, _may_walk_from_afar),
    Strategy(_by_central_path, _may_take_central_path),
    Strategy(_by_approach, _may_approach),
    Strategy(_by_leaps, _may_leap_from_afar, refines=False),
    Strategy(_by_walk, _always, exhausts=True),
)

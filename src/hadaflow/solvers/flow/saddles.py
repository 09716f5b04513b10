"""The flow from a start that double precision cannot tell from zero: the saddle path, on the clock of the flow."""

from __future__ import annotations

import math
from collections.abc import Callable

from hadaflow.paths import FlowPath, SaddlePath
from hadaflow.results import Status
from hadaflow.solvers.flow.curves import Integrated, Plateaus
from hadaflow.solvers.flow.field import SHARPEST
from hadaflow.solvers.flow.run import Ending, FlowRun, interrupted


def follow_saddles(run: FlowRun, find_saddles: Callable[..., SaddlePath]) -> FlowPath:
    """The path that ``find_saddles(gauge=...)`` gives."""
    field, t_end = run.field, run.request.t_end
    factor = 1 / field.mirror.rate
    try:
        path = find_saddles(gauge=field.mirror.gauge)
    except KeyboardInterrupt:
        start = Integrated(field)
        return run.path(start, interrupted(start), 1 / SHARPEST)
    curve = Plateaus(path, factor, path.times * factor)
    last = t_end if math.isfinite(t_end) else 2 * float(curve.knots[-1]) + 1.0
    jumps = curve.knots[(curve.knots > 0) & (curve.knots < t_end)]
    seen, before = None, 0.0
    try:
        for now in [0.0, *jumps.tolist(), last]:
            seen = seen or run.look(curve, before, now)
            before = now
    except KeyboardInterrupt:
        seen = Ending(before, Status.INTERRUPTED, "interrupted by the user")
    return run.path(curve, seen or _end(run, path), 1 / SHARPEST)


def _end(run: FlowRun, path: SaddlePath) -> Ending:
    if math.isfinite(run.request.t_end):
        return run.end_time()
    status = Status.LIMIT if path.status is Status.EXACT else path.status
    reason = "the end of the saddle path, which the flow follows at this scale"
    return Ending(math.inf, status, reason, path.final)

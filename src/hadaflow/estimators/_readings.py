"""Where on its path a regression is read off: one small function per way to stop."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from hadaflow import stopping
from hadaflow._types import Float, Vector
from hadaflow._validation import norm
from hadaflow.certificates import Certificate, certify
from hadaflow.convergence import quietly
from hadaflow.dynamics.descent import descend
from hadaflow.dynamics.flow import flow
from hadaflow.dynamics.saddles import saddles
from hadaflow.estimators._starts import typical_size, weighted_start
from hadaflow.models import HadamardPower
from hadaflow.paths import FlowPath, SaddlePath, Trajectory
from hadaflow.problems import Problem
from hadaflow.recording import Recorder
from hadaflow.results import ProgressCallback, Status
from hadaflow.selection import Selection, select
from hadaflow.selection.criterion import CriterionName
from hadaflow.stopping import Rule

Path = SaddlePath | FlowPath | Trajectory

#: What ``stop`` may be called, by dynamics.
SADDLE_STOPS = ("auto", "criterion", "discrepancy", "null_gradient", "plateau", "end")
TRAINING_STOPS = ("auto", "discrepancy", "null_gradient", "plateau", "end")

_SLACK = 1 + 1e-9  # a model without entries leaves exactly the noise that is estimated from it
_NOTHING = 1e-6  # of y: below, in either precision, rounding is left
_MOST_STEPS = 100_000  # of descent, as hadaflow.descend takes by default
_STEEPEST_PATH = 64  # jumps of the first piece of a path whose end is not known


@dataclass(frozen=True)
class ReadingOptions:
    """What a regressor was asked for, checked; see :class:`hadaflow.estimators.SparseFlowRegressor`."""

    dynamics: str
    depth: float
    init_scale: float | None
    stop: str | Rule
    sigma: float | None
    criterion: CriterionName
    chance: float
    positive: bool
    progress: ProgressCallback | None


@dataclass(frozen=True, eq=False)
class Reading:
    """Coefficients read off a path.

    Attributes
    ----------
    x : ndarray of shape (n,)
        With exact zeros.
    path : SaddlePath, FlowPath or Trajectory
        What it was read off.
    time : float
        When: rescaled time of a saddle path, else flow time.
    status : Status
        What happened.
    reason : str
        Why there.
    sigma : float or None
        Standard deviation of the noise, given or estimated.
    steps : int
        Jumps, or steps of the integrator or of descent.
    dual : ndarray of shape (m,)
        Dual state at that time.
    """

    x: Float
    path: Path
    time: float
    status: Status
    reason: str
    sigma: float | None
    steps: int
    dual: Vector

    def certificate(self, problem: Problem, weights: Vector, positive: bool) -> Certificate:
        """How far the weighted l1 norm of x is from the smallest of all fits as close to the data."""
        left = norm(problem.operator.matvec(self.x.astype(np.float64)) - problem.y)
        return certify(problem, self.x, self.dual, weights=weights, positive=positive, noise_level=left)


def read(problem: Problem, weights: Vector, rows: int, options: ReadingOptions) -> Reading:
    """Follow the dynamics that was asked for, and read x off."""
    if options.dynamics == "saddles":
        return _SADDLES[str(options.stop)](problem, weights, rows, options)
    return _trained(problem, weights, rows, options)


# ---- saddle path ----------------------------------------------------------------------------------------------


def _selected(problem: Problem, weights: Vector, rows: int, options: ReadingOptions) -> Reading:
    read_out = "auto" if options.stop == "auto" else "model"
    chosen = _choice(problem, weights, rows, options, read_out)
    status = Status.STOPPED
    return _reading(chosen.path, chosen.x, chosen.time, status, chosen.reason, chosen.sigma)


def _within_noise(problem: Problem, weights: Vector, rows: int, options: ReadingOptions) -> Reading:
    sigma, message = _sigma(problem, weights, rows, options)
    level = sigma * math.sqrt(rows) * _SLACK
    path = quietly(
        saddles, problem, weights=weights, positive=options.positive, noise_level=level, progress=options.progress
    )
    reason = f"||A x - y|| within the noise, {level:.4g}, for sigma = {sigma:.4g} ({message})"
    if path.status in (Status.NOISE_LEVEL, Status.EXACT):
        reason = f"first plateau with {reason}"
    else:
        reason = f"the end of the path, without {reason}"
    return _reading(path, path.final, float(path.times[-1]), path.status, reason, sigma)


def _no_gradient(problem: Problem, weights: Vector, rows: int, options: ReadingOptions) -> Reading:
    sigma, message = _sigma(problem, weights, rows, options)
    n = problem.shape[1]
    lengths = np.sqrt(problem.operator.column_squares())
    level = sigma * math.sqrt(2 * math.log(max(2, n))) * _SLACK
    events = _STEEPEST_PATH
    while True:
        path = quietly(
            saddles, problem, weights=weights, positive=options.positive, max_events=events, progress=options.progress
        )
        pulls = problem.operator.rmatmat(_residuals(path)) / np.where(lengths > 0, lengths, np.inf)[:, None]
        largest = (pulls if options.positive else np.abs(pulls)).max(axis=0)  # what a bound keeps at 0 may be pulled
        quiet = np.flatnonzero(largest <= level)
        if len(quiet) or path.status is not Status.NOT_CONVERGED or path.stats.events < events:
            break
        events *= 2
    k = int(quiet[0]) if len(quiet) else len(path.times) - 1
    where = (
        "first plateau whose largest gradient is"
        if len(quiet)
        else "the end of the path, whose largest gradient is not"
    )
    reason = f"{where} within what noise makes: {largest[k]:.4g} and {level:.4g}, for sigma = {sigma:.4g} ({message})"
    status = Status.STOPPED if len(quiet) else path.status
    return _reading(path, _plateau(path, k), float(path.times[k]), status, reason, sigma)


def _longest(problem: Problem, weights: Vector, rows: int, options: ReadingOptions) -> Reading:
    path = _choice(problem, weights, rows, options, "model").path
    lasts = path.times[2:] / path.times[1:-1]
    if len(path.times) > 1 and path.status is Status.EXACT and np.count_nonzero(path.final) < rows:
        lasts = np.append(lasts, np.inf)  # not where it fits y with as many entries as fit any y
    if len(lasts) == 0:
        message = "the path has no plateau but its end"
        return _reading(path, path.final, float(path.times[-1]), path.status, message, None)
    k = 1 + int(lasts.argmax())
    message = f"a factor {lasts[k - 1]:.3g}" if lasts[k - 1] < np.inf else "for ever: it leaves nothing of y"
    reason = f"plateau that lasts longest in log-time, {message} from time {path.times[k]:.4g}"
    return _reading(path, _plateau(path, k), float(path.times[k]), Status.STOPPED, reason, None)


def _end(problem: Problem, weights: Vector, _rows: int, options: ReadingOptions) -> Reading:
    path = quietly(saddles, problem, weights=weights, positive=options.positive, progress=options.progress)
    reason = f"the end of the path: {path.status}"
    return _reading(path, path.final, float(path.times[-1]), path.status, reason, None)


_SADDLES: dict[str, Callable[[Problem, Vector, int, ReadingOptions], Reading]] = {
    "auto": _selected,
    "criterion": _selected,
    "discrepancy": _within_noise,
    "null_gradient": _no_gradient,
    "plateau": _longest,
    "end": _end,
}


def _reading(path: SaddlePath, x: Float, time: float, status: Status, reason: str, sigma: float | None) -> Reading:
    dual = path.dual if time == math.inf else path.dual_at(time)
    return Reading(x, path, time, status, reason, sigma, path.stats.events, dual)


def _plateau(path: SaddlePath, k: int) -> Float:
    return np.asarray(path.x[[k]].toarray().ravel())


def _residuals(path: SaddlePath) -> Vector:
    """``y - A x`` on every plateau, shape (m, K)."""
    visited = np.unique(path.x.indices)
    fitted = path.problem.operator.columns(visited) @ path.x[:, visited].toarray().T.astype(np.float64)
    return np.asarray(path.problem.y.astype(np.float64)[:, None] - fitted)


def _choice(problem: Problem, weights: Vector, rows: int, options: ReadingOptions, read_out: Any) -> Selection:
    chosen = select(
        problem,
        criterion=options.criterion,
        chance=options.chance,
        read_out=read_out,
        positive=options.positive,
        weights=weights,
        rows=rows,
        progress=options.progress,
    )
    return _on_a_line(chosen, problem, rows)


def _on_a_line(chosen: Selection, problem: Problem, rows: int) -> Selection:
    """The end of the path, if it leaves nothing of y with one entry less than degrees of freedom.

    No criterion considers so many, as hardly anything would be left to tell the noise from. But noise does not lie on a
    line: three such rows show that there is none.
    """
    path, size = chosen.path, norm(problem.y)
    model = np.flatnonzero(path.final)
    if path.status is not Status.EXACT or not len(chosen.model) < len(model) == rows - 1:
        return chosen
    left = norm(problem.operator.matvec(path.final.astype(np.float64)) - problem.y)
    if left > _NOTHING * size:
        return chosen
    return replace(
        chosen,
        x=path.final,
        read_out="model",
        time=float(path.times[-1]),
        reason=f"the end of the path leaves nothing of y, with {len(model)} features and {rows} degrees of freedom",
        sigma=left,
        model=model,
    )


def _sigma(problem: Problem, weights: Vector, rows: int, options: ReadingOptions) -> tuple[float, str]:
    """Standard deviation of the noise, and where it comes from."""
    if options.sigma is not None:
        return options.sigma, "given"
    return _choice(problem, weights, rows, options, "model").sigma, "estimated along the saddle path"


# ---- training -------------------------------------------------------------------------------------------------


def _trained(problem: Problem, weights: Vector, rows: int, options: ReadingOptions) -> Reading:
    """Training by flow or descent from a small start."""
    model = HadamardPower(options.depth, "positive" if options.positive else "both")
    squares = problem.operator.column_squares()
    size = typical_size(problem, squares)
    start = weighted_start(options.depth, options.init_scale, weights, size)
    stop, sigma = _rule(problem, weights, rows, options)
    if options.dynamics == "descend" and not isinstance(options.stop, Rule):
        stop = (stop or stopping.Residual(1e-8)) | stopping.MaxSteps(_MOST_STEPS)
    path: FlowPath | Trajectory
    if options.dynamics == "flow":
        path = quietly(flow, problem, model, init_scale=start, stop=stop, progress=options.progress)
        time, steps = path.t_end, path.stats.events
        dual = path.dual(min(time, float(path.times[-1])))
    else:
        # With x, so that the path can be drawn.
        record = Recorder(x=True)
        path = quietly(descend, problem, model, init_scale=start, stop=stop, record=record, progress=options.progress)
        time, steps, dual = path.time, path.steps, path.dual
    x = np.zeros_like(path.x)
    support = path.support()
    if options.init_scale is None:  # next to nothing: an entry that is still there has not been selected
        support = support[np.abs(path.x[support]) > 2 * start[support] ** options.depth]
    elif len(support) == 0:  # a start as large as what came of it: nothing tells the entries apart
        support = np.flatnonzero(path.x)
    support = support[squares[support] > 0]  # a column of zeros leaves its entry where it starts
    x[support] = path.x[support]
    return Reading(x, path, time, path.status, path.reason, sigma, steps, dual)


def _rule(problem: Problem, weights: Vector, rows: int, options: ReadingOptions) -> tuple[Rule | None, float | None]:
    """The stopping rule, and sigma if it needs one."""
    if isinstance(options.stop, Rule):
        return options.stop, options.sigma
    if options.stop == "end":
        return None, options.sigma
    if options.stop == "plateau":
        return stopping.Plateau(), options.sigma
    sigma, _ = _sigma(problem, weights, rows, options)
    if options.stop == "null_gradient":
        lengths = np.sqrt(problem.operator.column_squares())
        return stopping.NullGradient(max(sigma, 1e-300), lengths), sigma
    return stopping.Discrepancy(max(sigma, 1e-300) * math.sqrt(rows) * _SLACK), sigma

"""What is not ok is said: one warning class, one criterion, one place."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Sequence
from contextvars import ContextVar
from typing import NamedTuple, ParamSpec, TypeVar

import numpy as np

from hadaflow._types import Float
from hadaflow._validation import norm
from hadaflow.certificates import Certificate
from hadaflow.paths import FlowPath, SaddlePath, Trajectory
from hadaflow.problems import Problem
from hadaflow.results import Limit, Recovery, Status

P = ParamSpec("P")
R = TypeVar("R")
Result = TypeVar("Result", bound=Recovery | Limit | SaddlePath | FlowPath | Trajectory)

_quiet: ContextVar[bool] = ContextVar("quiet", default=False)
_MOST_TOLD = 3  # runs of a batch

_NOISE = "if y has noise, pass noise_level= to hadaflow.recover, or ask hadaflow.select(hadaflow.Problem(A, y))"
_REMEDIES = {
    ("recover", Status.INEXACT): (
        "look whether certificate.gap does for you: it bounds how far the l1 norm is from its minimum",
        "pass float64 data without nearly equal columns, or more measurements",
        _NOISE,
    ),
    ("recover", Status.NOT_CONVERGED): (_NOISE, 'try another method= ("saddles", "limit")'),
    ("limit", Status.NOT_CONVERGED): ("raise max_steps=, or tolerance=", "take a larger init_scale=", _NOISE),
    ("saddles", Status.NOT_CONVERGED): ("raise max_events=", _NOISE),
    ("flow", Status.NOT_CONVERGED): (
        "give a stop= or a finite t_end= that is met earlier, or raise max_steps=",
        "take a larger init_scale=",
        _NOISE,
    ),
    ("descend", Status.NOT_CONVERGED): (
        "allow more steps, stop=hadaflow.stopping.Residual(r) | hadaflow.stopping.MaxSteps(k), or a larger r",
        "take a larger init_scale=",
        _NOISE,
    ),
    ("descend", Status.DIVERGED): ('take step="auto"', "take a shorter step"),
}
_FROM_START = ("take a larger init_scale=, or smaller depth=", "leave both out: the scale -> 0 solution", _NOISE)


class ConvergenceWarning(UserWarning):
    """An answer is not what was asked for: its ``status.ok`` is False.

    Raised, as a warning, by :func:`recover`, :func:`limit`, :func:`saddles`, :func:`flow`, :func:`descend` and
    :func:`descend_batch` where the status is ``INEXACT``, ``DIVERGED`` or ``NOT_CONVERGED``; not where the user
    interrupted the run. Its message names the status, how far the answer got beside what was asked for, and what to do.
    Estimators, sweeps, experiments and the command line, which keep the status themselves, do not raise it.

    Examples
    --------
    >>> import warnings, numpy as np, hadaflow as hf
    >>> problem = hf.Problem(np.eye(2), np.array([1.0, 0.5]))
    >>> with warnings.catch_warnings():
    ...     warnings.simplefilter("error", hf.ConvergenceWarning)
    ...     hf.saddles(problem, max_events=1)
    Traceback (most recent call last):
    ...
    hadaflow.convergence.ConvergenceWarning: saddles: NOT_CONVERGED...
    """


def quietly(function: Callable[P, R], *args: P.args, **kwargs: P.kwargs) -> R:
    """Call a function in which nothing warns that an answer is not ok: for callers that look at the status."""
    token = _quiet.set(True)
    try:
        return function(*args, **kwargs)
    finally:
        _quiet.reset(token)


class Exact(NamedTuple):
    """Up to which numbers of its certificate an answer counts as exact, all relative."""

    gap: float
    residual: float
    backward_error: float

    def fits(self, certificate: Certificate) -> bool:
        """Whether x carries y, as a whole and row by row."""
        return certificate.scaled_residual <= self.residual and certificate.backward_error <= self.backward_error


def exact_within(problem: Problem) -> Exact:
    """Up to what an answer to this problem counts as exact.

    A row may be off by 1e3 units of its rounding. What a row of a LinearOperator rounds is not known: there it may be
    off by 1e-12 of a bound on its terms.
    """
    rounding = 1e3 * float(np.finfo(problem.dtype).eps)
    return Exact(
        max(1e-8, rounding),
        max(1e-9, rounding),
        max(1e-12, rounding) if problem.operator.costs.matrix_free else rounding,
    )


def told(result: Result, asked: str = "") -> Result:
    """The result; if it is not ok, a warning on the line that called the public function which calls this one.

    Parameters
    ----------
    result : Recovery, Limit, SaddlePath, FlowPath or Trajectory
        What was found.
    asked : str
        What it should have met.
    """
    if not _silent(result.status):
        call, reached = _reached(result, asked)
        message = _message(call, result.status, reached, _remedies(call, result))
        warnings.warn(message, ConvergenceWarning, stacklevel=3)
    return result


def told_of_all(results: tuple[Trajectory, ...], asked: str) -> tuple[Trajectory, ...]:
    """The same for the runs of a batch, in one warning."""
    failed = [k for k, result in enumerate(results) if not _silent(result.status)]
    if failed:
        runs = "; ".join(
            f"run {k} {results[k].status.name}, {_reached(results[k], asked)[1]}" for k in failed[:_MOST_TOLD]
        )
        more = f"; {len(failed) - _MOST_TOLD} more" if len(failed) > _MOST_TOLD else ""
        first = results[failed[0]].status
        reached = f"{len(failed)} of {len(results)} runs are not ok: {runs}{more}"
        message = _message("descend_batch", first, reached, _remedies("descend", results[failed[0]]))
        warnings.warn(message, ConvergenceWarning, stacklevel=3)
    return results


def _silent(status: Status) -> bool:
    return status.ok or status is Status.INTERRUPTED or _quiet.get()


def _remedies(call: str, result: Recovery | Limit | SaddlePath | FlowPath | Trajectory) -> Sequence[str]:
    if isinstance(result, Recovery) and result.model is not None:
        return _FROM_START
    remedies = _REMEDIES.get((call, result.status), (_NOISE,))
    return [remedy for remedy in remedies if result.problem.squared or remedy is not _NOISE]  # calls for squares alone


def _message(call: str, status: Status, reached: str, remedies: Sequence[str]) -> str:
    numbered = "; ".join(f"({k}) {remedy}" for k, remedy in enumerate(remedies, 1))
    return f"{call}: {status.name}, {status}. Reached: {reached}. What may help: {numbered}."


def _reached(result: Recovery | Limit | SaddlePath | FlowPath | Trajectory, asked: str) -> tuple[str, str]:
    """Which call it was, and how far it got beside what was asked for."""
    if isinstance(result, Recovery):
        c = result.certificate
        residual = f"relative residual ||A x - y|| / ||y|| = {c.scaled_residual:.2g}"
        if result.model is not None:
            return "recover", f"{residual} (asked for: {asked})"
        exact = exact_within(result.problem)
        ways = f", by {', then '.join(dict.fromkeys(result.stats.tried))}" if result.stats.tried else ""
        noise = f", or noise_level = {result.noise_level:g} in units of y" if result.noise_level > 0 else ""
        gap = f"relative gap of the l1 norm {c.gap:.2g} (asked for: {exact.gap:.2g})"
        worst = f"of the worst row |A x - y| / (|A| |x| + |y|) = {c.backward_error:.2g} ({exact.backward_error:.2g})"
        return "recover", f"{residual} (asked for: {exact.residual:.2g}{noise}), {worst}, {gap}{ways}"
    if isinstance(result, Limit):
        found = f"relative residual ||A x - y|| / ||y|| = {result.residual:.2g}, mismatch {result.mismatch:.2g}"
        return "limit", f"{found} of max |x| (asked for: {asked}), in {result.stats.newton_steps} Newton steps"
    if isinstance(result, SaddlePath):
        residual = _relative_residual(result.problem, result.final)
        return "saddles", f"{residual} (asked for: {asked}), in {result.stats.events} jumps"
    call = "flow" if isinstance(result, FlowPath) else "descend"
    residual = _relative_residual(result.problem, result.x)
    return call, f"{result.reason}; {residual} (asked for: {asked})"


def _relative_residual(problem: Problem, x: Float) -> str:
    """``||dF/dp||`` at x beside that at 0, in words; of the squared loss that is the relative residual."""
    if not np.isfinite(x).all():
        return "x out of the range of doubles"
    with np.errstate(all="ignore"):
        p = problem.operator.matvec(x.astype(np.float64))
        left = norm(np.asarray(problem.loss.gradient(p, problem.y.astype(np.float64))))
    name = "||A x - y|| / ||y||" if problem.squared else "||dF/dp|| beside that at x = 0"
    return f"relative residual {name} = {left / (norm(problem.negative_gradient_at_zero) or 1.0):.2g}"

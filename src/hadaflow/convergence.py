"""What is not ok is said: one warning class, one criterion, one place."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Sequence
from contextvars import ContextVar
from typing import ParamSpec, TypeVar

from hadaflow.results import Outcome, Recoveries, Recovery, Status

P = ParamSpec("P")
R = TypeVar("R")
Result = TypeVar("Result", bound=Outcome)

_quiet: ContextVar[bool] = ContextVar("quiet", default=False)
_MOST_NAMED = 3  # runs of a batch
_MOST_LISTED = 20  # columns, by number

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

    Raised, as a warning, by :func:`recover`, :func:`recover_each`, :func:`limit`, :func:`saddles`, :func:`flow`,
    :func:`descend` and :func:`descend_batch` where the status is ``INEXACT``, ``DIVERGED`` or ``NOT_CONVERGED``; not
    where the user interrupted the run. Its message names the status, how far the answer got compared with what was
    asked for, and what to do. Estimators, sweeps, experiments and the command line, which keep the status themselves,
    do not raise it.

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


def reported(result: Result, asked: str = "") -> Result:
    """The result; if it is not ok, a warning on the line that called the public function which calls this one.

    Parameters
    ----------
    result : Recovery, Limit, SaddlePath, FlowPath or Trajectory
        What was found.
    asked : str
        What it should have met.
    """
    if not _silent(result.status):
        message = _message(result.call, result.status, result.progress_made(asked), _remedies(result))
        warnings.warn(message, ConvergenceWarning, stacklevel=3)
    return result


def all_reported(results: tuple[Result, ...], asked: str) -> tuple[Result, ...]:
    """The same for the runs of a batch, in one warning."""
    failed = [k for k, result in enumerate(results) if not _silent(result.status)]
    if failed:
        runs = "; ".join(
            f"run {k} {results[k].status.name}, {results[k].progress_made(asked)}" for k in failed[:_MOST_NAMED]
        )
        more = f"; {len(failed) - _MOST_NAMED} more" if len(failed) > _MOST_NAMED else ""
        first = results[failed[0]]
        reached = f"{len(failed)} of {len(results)} runs are not ok: {runs}{more}"
        message = _message("descend_batch", first.status, reached, _remedies(first))
        warnings.warn(message, ConvergenceWarning, stacklevel=3)
    return results


def columns_reported(results: Recoveries) -> Recoveries:
    """The same for the columns of a block: one warning, which names them."""
    failed = [j for j, status in enumerate(results.statuses) if not _silent(status)]
    if failed:
        first = results[failed[0]]
        columns = "; ".join(
            f"column {j} {results.statuses[j].name}, {results[j].progress_made('')}" for j in failed[:_MOST_NAMED]
        )
        more = f"; columns not ok: {', '.join(map(str, failed[:_MOST_LISTED]))}" if len(failed) > _MOST_NAMED else ""
        more += f" and {len(failed) - _MOST_LISTED} more" if len(failed) > _MOST_LISTED else ""
        reached = f"{results.progress_made('')}: {columns}{more}"
        message = _message("recover_each", results.status, reached, _remedies(first))
        warnings.warn(message, ConvergenceWarning, stacklevel=3)
    return results


def _silent(status: Status) -> bool:
    return status.ok or status is Status.INTERRUPTED or _quiet.get()


def _remedies(result: Outcome) -> Sequence[str]:
    if isinstance(result, Recovery) and result.model is not None:
        return _FROM_START
    remedies = _REMEDIES.get((result.call, result.status), (_NOISE,))
    return [remedy for remedy in remedies if result.problem.squared or remedy is not _NOISE]  # calls for squares alone


def _message(call: str, status: Status, reached: str, remedies: Sequence[str]) -> str:
    numbered = "; ".join(f"({k}) {remedy}" for k, remedy in enumerate(remedies, 1))
    return f"{call}: {status.name}, {status}. Reached: {reached}. What may help: {numbered}."

"""Where is training at time t? Gradient flow as a stiff equation in the dual state."""

from __future__ import annotations

import math
from contextlib import nullcontext
from functools import partial
from typing import Literal

import numpy as np

from hadaflow._rules import check_rule
from hadaflow._threads import one_blas_thread
from hadaflow._validation import callback, instance, one_of, positive_number, whole_number
from hadaflow.convergence import quietly, reported
from hadaflow.dynamics.limit import check_signs, limit
from hadaflow.dynamics.saddles import saddles
from hadaflow.models import Model
from hadaflow.models.branches import Scale
from hadaflow.paths import FlowPath
from hadaflow.problems import Problem, require_squared
from hadaflow.recording import Recorder, as_recorder
from hadaflow.results import ProgressCallback
from hadaflow.solvers.flow.field import Field
from hadaflow.solvers.flow.integrated import follow_integrated
from hadaflow.solvers.flow.proximal import follow_proximal
from hadaflow.solvers.flow.run import FlowRun, Request
from hadaflow.solvers.flow.saddles import follow_saddles
from hadaflow.stopping import Rule

_SMALL = 600  # rows below which a second BLAS thread has too little to do
_SHORTEST = 1e-300  # flow time


def flow(
    problem: Problem,
    model: Model,
    *,
    init_scale: Scale,
    t_end: float = math.inf,
    tolerance: float = 1e-6,
    method: Literal["bdf", "proximal"] = "bdf",
    stop: Rule | None = None,
    record: Recorder | None = None,
    max_steps: int = 100_000,
    progress: ProgressCallback | None = None,
) -> FlowPath:
    """Gradient flow on ``1/2 ||A x - y||^2``, or the loss of the problem, in the factors of a model over time.

    All 2n factors follow from the dual state ``nu' = y - A B(A^T nu)`` in m unknowns (in general ``nu' = -dF/dp`` at
    ``p = A B(A^T nu)``): a trajectory takes a few hundred steps of a stiff integrator, where descent takes millions.

    Parameters
    ----------
    problem : Problem
        Data, A of shape (m, n), and the loss, by default the squared one.
    model : Model
        Overparameterised model, for example ``HadamardPower(depth=3)``.
    init_scale : float or array_like of shape (n,), or (G,) for G groups
        Starting value a > 0 of every factor entry, in units of ``x^(1/depth)``.
    t_end : float, default inf
        Flow time to stop at. With inf the flow is followed until it is within ``tolerance`` of its limit, which
        :func:`hadaflow.limit` computes beforehand, and ends there. Other losses than the squared one need not have
        a limit, and none is computed: there inf needs a ``stop``.
    tolerance : float, default 1e-6
        Error allowed per step in any entry of x, relative to the largest one ("bdf"); nearness to the limit at which
        ``t_end=inf`` ends.
    method : {"bdf", "proximal"}, default "bdf"
        "bdf" follows the flow accurately. "proximal" takes implicit steps of two products each, 40 % longer each time:
        a few dozen from start to stop, for large operators, compressible x and early stopping. It follows the flow
        while its steps are short compared with how fast x can change; later its path is its own, with a larger l1 norm,
        so that it needs a ``stop`` or ``t_end``; and a loss with a finite ``curvature_bound``.
    stop : rule out of ``hadaflow.stopping``, optional
        Stop earlier: at the exact time for rules about the present snapshot, at the end of a step for the others.
    record : Recorder, optional
        What to keep at which times. The path itself can be evaluated at any time as well; ``record.max_bytes`` bounds
        its memory too.
    max_steps : int, default 100_000
        Steps of the integrator allowed.
    progress : callable, optional
        Called some times a second with a :class:`hadaflow.Progress`.

    Returns
    -------
    FlowPath
        ``path(t)``, ``path.average(t)``, ``path.dual(t)``, ``path.x`` at the end, ``status``, ``reason``. Ctrl-C
        returns what was done with status ``INTERRUPTED``.

    Raises
    ------
    TypeError, ValueError
        If an argument has the wrong kind or range, or asks of another loss, or in groups, what only the squared one, or
        single coordinates, have.

    Warns
    -----
    ConvergenceWarning
        If the status is ``NOT_CONVERGED``.

    See Also
    --------
    descend : the same in steps, as training runs it.
    limit : only the end.
    saddles : the path as the start vanishes.

    Notes
    -----
    Numerical differentiation formulas (orders 1 to 5) with the Jacobian ``-A diag(B') A^T`` (``d2F/dp2`` times that)
    restricted to its active columns: per step about five passes over A and O(m k + k^3) for k active columns (conjugate
    gradients with products only where A is an operator). Beyond the barrier of depth > 2, where trial steps may land,
    the mirror map goes on along its tangent; accepted steps of "bdf" stay inside. Where the scale is so small that
    rounding of nu decides over x (relative condition of B beyond 1e8: depth > 2 only), the flow cannot be told from the
    saddle path in doubles, and that is followed, on the clock of the flow.

    Where the problem has groups, complex data or joint columns B acts on the norm of each group and keeps its direction
    ("groups"): a mirror flow, though of no network of scalars and vectors (:class:`hadaflow.models.GroupProduct` is
    one). Paths then hold vectors of the user: complex ones, or matrices. Starts so small that rounding decides are
    refused there, since no saddle path takes over. Source: docs/mathematics.md, "One state, one map", "The flow in
    time", "Groups".

    Examples
    --------
    >>> import numpy as np, hadaflow as hf
    >>> problem = hf.Problem(np.eye(2), np.array([1.0, 0.5]))
    >>> path = hf.flow(problem, hf.HadamardPower(3), init_scale=0.1, t_end=50.0)
    >>> path([0.5, 5.0, 50.0]).round(3)
    array([[0.001, 0.   ],
           [1.   , 0.055],
           [1.   , 0.5  ]])
    """
    instance(problem, Problem, "problem")
    instance(model, Model, "model")
    callback(progress, "progress")
    if t_end != math.inf:
        t_end = max(positive_number(t_end, "t_end"), _SHORTEST)
    tolerance = positive_number(tolerance, "tolerance")
    if tolerance >= 1:
        raise ValueError(f"tolerance is relative to the size of x and must lie below 1, got {tolerance:g}")
    one_of(method, "method", ("bdf", "proximal"))
    max_steps = whole_number(max_steps, "max_steps")
    if stop is not None:
        check_rule(stop)
    _check_loss(problem, method, t_end, stop)
    record = as_recorder(record)
    check_signs(problem, model)
    scale = model.checked(init_scale, problem.groups.count or problem.shape[1])
    request = Request(t_end, tolerance, max_steps, stop, record, progress)
    with one_blas_thread() if problem.shape[0] < _SMALL else nullcontext(), np.errstate(all="ignore"):
        path = _followed(Field(problem, model, scale), request, method)
    return reported(path, _asked(t_end, tolerance, stop))


def _followed(field: Field, request: Request, method: str) -> FlowPath:
    """The path, in the way that the method and the start ask for."""
    run = FlowRun(field, request)
    if method == "proximal":
        return follow_proximal(run)
    if field.like_saddles:
        require_squared(field.problem, "flow from an init_scale so small for this depth (take a larger one)")
        _require_steps(field.problem)
        return follow_saddles(run, partial(quietly, saddles, field.counted, progress=request.progress))
    start = field.init_scale
    end = partial(quietly, limit, field.counted, field.model, init_scale=start, progress=request.progress)
    return follow_integrated(run, end)


def _require_steps(problem: Problem) -> None:
    """Raise ValueError where the saddle path, which a flow from so small a start follows, is not made of steps."""
    if not problem.groups.single:
        raise ValueError(
            "init_scale is so small for this depth that rounding of the dual state decides over x, and in groups no "
            "saddle path takes over: take a larger one, or ask hadaflow.limit or hadaflow.recover for the end"
        )


def _asked(t_end: float, tolerance: float, stop: Rule | None) -> str:
    """When a flow ends, in words."""
    end = f"time {t_end:g}" if math.isfinite(t_end) else f"within {tolerance:g} of the limit"
    return end if stop is None else f"{stop!r}, or {end}"


def _check_loss(problem: Problem, method: str, t_end: float, stop: Rule | None) -> None:
    """Raise ValueError where a loss other than the squared one lacks what is asked for."""
    if t_end == math.inf and stop is None and not problem.squared:
        raise ValueError(f"the limit need not exist for loss={problem.loss!r}: give a finite t_end, or a stop")
    if method == "proximal" and not math.isfinite(problem.loss.curvature_bound):
        raise ValueError(
            f'method="proximal" needs a loss with a finite curvature_bound, got {problem.loss!r}: take "bdf"'
        )

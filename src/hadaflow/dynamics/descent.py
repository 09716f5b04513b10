"""What does training do, step by step? Gradient descent on the factors, one run or many at once."""

from __future__ import annotations

import time
from collections.abc import Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from hadaflow._renamed import renamed
from hadaflow._rules import check_rule, has_budget
from hadaflow._threads import blas_threads, one_blas_thread
from hadaflow._validation import (
    callback,
    check_finite,
    instance,
    one_of,
    positive_number,
    real_array,
    reject_kind,
)
from hadaflow.convergence import all_reported, reported
from hadaflow.models import Model
from hadaflow.models.branches import Scale
from hadaflow.paths import Trajectory
from hadaflow.problems import Problem
from hadaflow.recording import RecordBuffer, Recorder, as_recorder
from hadaflow.results import ProgressCallback
from hadaflow.snapshots import Setting
from hadaflow.solvers.descent.loop import Run, follow
from hadaflow.solvers.descent.state import Sums, Sweeps, of_loss, of_squares
from hadaflow.steps import StepRule, as_rule, as_stepper
from hadaflow.stopping import MaxSteps, Residual, Rule
from hadaflow.units import correlation_at_zero

_MOST_STEPS = 1_000_000  # where no other budget is given

Scaling = Literal["half", "mean"]
Step = float | Literal["auto"] | StepRule


def descend(
    problem: Problem,
    model: Model,
    *,
    init_scale: Scale | None = None,
    start: Trajectory | None = None,
    step: Step = "auto",
    loss_scale: float = 1.0,
    stop: Rule | None = None,
    record: Recorder | None = None,
    progress: ProgressCallback | None = None,
    loss: Scaling | None = None,
) -> Trajectory:
    """Gradient descent on the factors of a model, as papers A and B run it.

    From ``u = v = init_scale`` it takes steps ``u <- u - step * dL/du``, ``v <- v - step * dL/dv`` on
    ``L = loss_scale * F(x)``, F the loss of the problem, by default ``1/2 ||A x - y||^2``, with ``x = u^D - v^D`` (or
    whatever the model makes of its factors).

    Parameters
    ----------
    problem : Problem
        Data, A of shape (m, n), and the loss F, by default ``1/2 ||A x - y||^2``.
    model : Model
        Overparameterised model, for example ``HadamardPower(depth=3)``; ``HadamardPower(3, factors="separate")`` trains
        D separate factors. Groups, complex data and joint columns take :class:`hadaflow.models.GroupProduct`.
    init_scale : float or array_like of shape (n,), or (G,) for G groups
        Starting value a > 0 of every factor entry, in units of ``x^(1/depth)``. Needed unless ``start`` is given.
    start : Trajectory, optional
        A run to resume, of the same model on a problem of the same shape. Its factors, steps, time, dual state and
        average go on: ``MaxSteps(200)`` ends 100 steps after a run of 100. The step rule and the record begin afresh,
        and so does a stopping rule that looks back. With a constant step a run that is resumed equals one that never
        stopped, to rounding.
    step : float, "auto" or a rule out of ``hadaflow.steps``, default "auto"
        A number is a constant step, for the loss as scaled. "auto" takes steps as long as is safe
        (:class:`hadaflow.steps.Auto`); :class:`hadaflow.steps.Increasing` lengthens those of small coordinates.
    loss_scale : float, default 1
        What F is multiplied by, > 0: ``2 / m`` for ``(1/m) ||A x - y||^2`` as in paper B (no factor 1/2), ``1 / m`` for
        the mean over the rows of another loss.
    stop : rule out of ``hadaflow.stopping``, optional
        When to stop; rules combine with ``|`` and ``&``. Default ``Residual(1e-8) | MaxSteps(100_000)``; where a rule
        holds no budget of steps or seconds, a million steps are one. A run in which nothing moves any more ends anyway.
    record : Recorder, optional
        What to keep on the way; by default residual, l1 norm and support size at 40 snapshots per decade of flow time.
    progress : callable, optional
        Called some times a second with a :class:`hadaflow.Progress`.
    loss : {"half", "mean"}, optional
        The old form of ``loss_scale``; warns. "half" is 1, "mean" is ``2 / m`` for the squared loss, else ``1 / m``.

    Returns
    -------
    Trajectory
        ``x``, ``average``, ``status``, ``reason``, ``history``, ``certificate``. A run that diverges returns the last
        point before with status ``DIVERGED``; Ctrl-C returns what was done with status ``INTERRUPTED``.

    Raises
    ------
    TypeError, ValueError
        If an argument has the wrong kind or range.

    Warns
    -----
    ConvergenceWarning
        If the status is ``NOT_CONVERGED`` or ``DIVERGED``.

    See Also
    --------
    descend_batch : many starts, steps or right-hand sides in one run.
    flow : the same in continuous time.

    Notes
    -----
    One pass over a dense A per step (two over sparse A and operators, and for other losses than the squared one) and
    O(n). Time runs as for gradient flow on F: a step lasts its length times the scaling. Arithmetic is that of
    ``problem.dtype``, criteria are float64. Source: papers A and B; docs/mathematics.md, "Gradient descent".

    Examples
    --------
    >>> import numpy as np, hadaflow as hf
    >>> problem = hf.Problem(np.array([[1.0, 0.5]]), np.array([1.0]))
    >>> run = hf.descend(problem, hf.HadamardPower(2), init_scale=0.1, step=0.01, stop=hf.stopping.MaxSteps(1000))
    >>> run.x.round(3), run.status.name
    (array([0.951, 0.097]), 'STOPPED')
    """
    model = _checked(problem, model, progress)
    scaling = _scaling(problem, loss_scale, loss)
    n = problem.shape[1]
    scale = model.checked(_scale_of(problem, model, init_scale, start), problem.groups.count or n)
    rule, stop, record = as_rule(step), _stop(stop), as_recorder(record)
    threads = blas_threads()
    # The fused pass has threads of its own; those of BLAS, left awake by a product, would be in their way.
    with one_blas_thread() if problem.squared and problem.operator.own_threads else nullcontext():
        shared = _Shared(problem, model, stop, record, scaling)
        run = shared.run(scale, rule, shared.correlation)
        sweeps = shared.sweeps(problem.y, threads)
        if start is None:
            factors = model.start(np.asarray(scale, dtype=problem.dtype), np.zeros(n, dtype=problem.dtype))
            path = follow([run], factors, sweeps, single=True, progress=progress)[0]
        else:
            sums = shared.resume(run, start)
            factors = start.factors
            path = follow([run], factors, sweeps, single=True, progress=progress, sums=sums)[0]
    return reported(path, repr(stop))


def descend_batch(
    problem: Problem,
    model: Model,
    *,
    init_scale: Any,
    step: Step | Sequence[Step] = "auto",
    y: Any = None,
    loss_scale: float = 1.0,
    stop: Rule | None = None,
    record: Recorder | None = None,
    progress: ProgressCallback | None = None,
    loss: Scaling | None = None,
) -> tuple[Trajectory, ...]:
    """Many runs of :func:`descend` on one A, side by side: each pass over A serves all of them.

    Parameters
    ----------
    problem : Problem
        Data, A of shape (m, n).
    model : Model
        The model of all runs.
    init_scale : float or array_like of shape (k,) or (n, k)
        Start of each run: one number for all, one per run, or a column per run.
    step : float, "auto", rule, or sequence of k of these, default "auto"
        Step rule, for all runs or one for each.
    y : array_like of shape (m, k), optional
        Right-hand sides, one column per run; default ``problem.y`` for all.
    loss_scale, stop, record, progress, loss
        As in :func:`descend`. Every run stops by itself; those that have stopped cost nothing more.

    Returns
    -------
    tuple of k Trajectory
        In the order of the runs; ``problem`` of each holds its own right-hand side.

    Raises
    ------
    TypeError, ValueError
        If an argument has the wrong kind or range, or the numbers of runs disagree.

    Warns
    -----
    ConvergenceWarning
        If the status is ``NOT_CONVERGED`` or ``DIVERGED`` in one of the runs; one warning for all.

    Examples
    --------
    >>> import numpy as np, hadaflow as hf
    >>> problem = hf.Problem(np.array([[1.0, 0.5]]), np.array([1.0]))
    >>> runs = hf.descend_batch(problem, hf.HadamardPower(2), init_scale=[0.1, 0.01], step=0.01)
    >>> [run.x.round(3) for run in runs]
    [array([0.951, 0.097]), array([0.995, 0.01 ])]
    """
    model = _checked(problem, model, progress)
    if not problem.layout.plain:
        raise ValueError("descend_batch works on real vectors: call descend for each run on complex or joint data")
    scaling = _scaling(problem, loss_scale, loss)
    m, n = problem.shape
    scale = np.asarray(init_scale)
    reject_kind(scale.dtype, "init_scale")
    scale = scale.astype(np.float64)
    steps = list(step) if isinstance(step, (list, tuple)) else None
    sides = None if y is None else real_array(y, "y", 2)
    k = _count(scale, steps, sides)
    columns = np.broadcast_to(scale, (problem.groups.count or n, k))
    if sides is not None and sides.shape != (m, k):
        raise ValueError(f"y must have shape ({m}, {k}): a row per row of A, a column per run; got {sides.shape}")
    targets = np.repeat(problem.y[:, None], k, axis=1) if sides is None else sides.astype(problem.dtype)
    check_finite(targets, "y")
    stop, record = _stop(stop), as_recorder(record)
    shared = _Shared(problem, model, stop, record, scaling)
    runs = []
    for j in range(k):
        each = (
            problem if sides is None else Problem(problem.operator, targets[:, j], problem.loss, groups=problem.groups)
        )
        own = shared if sides is None else _Shared(each, model, stop, record, scaling)
        rule = as_rule(step if steps is None else steps[j])
        runs.append(own.run(float(columns[0, j]) if scale.ndim < 2 else columns[:, j], rule, own.correlation))
    factors = model.start(columns.astype(problem.dtype, order="F"), np.zeros((n, k), dtype=problem.dtype, order="F"))
    sweeps = shared.sweeps(np.asfortranarray(targets))
    return all_reported(tuple(follow(runs, factors, sweeps, single=False, progress=progress)), repr(stop))


@dataclass
class _Shared:
    """What the runs on one right-hand side have in common."""

    problem: Problem
    model: Model
    stop: Rule
    record: Recorder
    scaling: float

    def __post_init__(self) -> None:
        self.began = time.perf_counter()
        self.correlation = correlation_at_zero(self.problem)

    def run(self, init_scale: Scale, rule: StepRule, correlation: NDArray[np.float64]) -> Run:
        """A run from ``init_scale``."""
        problem, model = self.problem, self.model
        init_scale = model.checked(init_scale, problem.groups.count or problem.shape[1])
        if np.min(init_scale) < np.finfo(problem.dtype).tiny:
            raise ValueError(f"init_scale {np.min(init_scale):.3g} is zero in {problem.dtype}: pass float64 data")
        setting = Setting.of(problem, model, init_scale)
        bound = problem.loss.curvature_bound  # what the loss stays below is a squared one, this much larger
        stepper = as_stepper(
            rule.stepper(problem.operator, correlation / bound, model, init_scale, self.scaling * bound)
        )
        buffer = RecordBuffer(self.record, problem)
        return Run(setting, stepper, self.stop, self.stop.watch(problem), buffer, self.began, rule, self.scaling)

    def resume(self, run: Run, start: Trajectory) -> Sums:
        """Set the clock of a run to where ``start`` stopped; its integrals until then. One pass over A."""
        run.step, run.time, run.passes = start.steps, start.time, 1.0
        run.start_gradient = float(
            np.abs(self.correlation).max(initial=0.0)
        )  # "at rest" is relative to the first start
        dtype, layout = self.problem.dtype, self.problem.layout
        dual, average = layout.real_y(start.dual).astype(np.float64), layout.real_x(start.average)
        theta = self.problem.operator.rmatvec(dual).astype(dtype)
        return Sums(dual, theta, average * dtype.type(start.time))

    def sweeps(self, y: NDArray[np.floating[Any]], threads: int = 1) -> Sweeps:
        """The products that all steps take."""
        dtype = self.problem.dtype
        problem = self.problem
        y = y.astype(dtype, copy=False)
        if not problem.squared:
            return Sweeps(of_loss(problem.operator, problem.loss, dtype), 2.0, y, self.scaling)
        sweep = problem.operator.sweep(dtype, threads)
        return Sweeps(of_squares(sweep), sweep.passes, y, self.scaling)


def _checked(problem: Problem, model: Model, progress: ProgressCallback | None) -> Model:
    """The model with factors for the groups of the problem."""
    instance(problem, Problem, "problem")
    instance(model, Model, "model")
    callback(progress, "progress")
    return model.for_groups(problem.groups)


def _scaling(problem: Problem, loss_scale: float, loss: Scaling | None) -> float:
    """What the loss is multiplied by, from the argument of today or from the old one."""
    scaling = positive_number(loss_scale, "loss_scale")
    if loss is None:
        return scaling
    if scaling != 1.0:
        raise TypeError("give loss_scale alone: loss is its old form")
    one_of(loss, "loss", ("half", "mean"))
    factor, words = (1.0, "1") if loss == "half" else (2.0, "2 / m") if problem.squared else (1.0, "1 / m")
    scaling = factor if loss == "half" else factor / problem.shape[0]
    return renamed(f'the argument loss="{loss}"', f"loss_scale={words}", scaling, stacklevel=4)


def _scale_of(problem: Problem, model: Model, init_scale: Scale | None, start: Trajectory | None) -> Scale:
    """The init scale of a run: the one given, or that of the run that it resumes."""
    if start is None:
        if init_scale is None:
            raise TypeError("descend needs init_scale, or start: a trajectory to resume")
        return init_scale
    instance(start, Trajectory, "start")
    if init_scale is not None:
        raise TypeError("give init_scale or start, not both: a run that is resumed keeps its init scale")
    if start.model != model:
        raise ValueError(f"start is a run of {start.model!r}, and cannot go on with {model!r}")
    if start.problem.shape != problem.shape or start.problem.dtype != problem.dtype:
        old = f"shape {start.problem.shape} and {start.problem.dtype}"
        raise ValueError(f"start is a run on data of {old}, the problem has shape {problem.shape} and {problem.dtype}")
    if start.problem.layout != problem.layout or not start.problem.groups.same(problem.groups):
        raise ValueError("start is a run in other groups, or on data of another kind")
    return start.init_scale


def _stop(stop: Rule | None) -> Rule:
    if stop is None:
        return Residual(1e-8) | MaxSteps(100_000)
    check_rule(stop)
    return stop if has_budget(stop) else stop | MaxSteps(_MOST_STEPS)


def _count(scale: NDArray[np.float64], steps: list[Any] | None, sides: NDArray[Any] | None) -> int:
    """The number of runs that the arguments agree on."""
    counts = {
        "init_scale": scale.shape[-1] if scale.ndim else 1,
        "step": 1 if steps is None else len(steps),
        "y": 1 if sides is None else sides.shape[1],
    }
    k = max(counts.values())
    if any(count not in (1, k) for count in counts.values()) or 0 in counts.values():
        raise ValueError(f"the numbers of runs disagree: {', '.join(f'{name} has {c}' for name, c in counts.items())}")
    if steps is not None and len(steps) != k:
        raise ValueError(f"step has {len(steps)} entries for {k} runs: give one rule, or one per run")
    return k
